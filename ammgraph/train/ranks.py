"""Several processes that train one model: which one this is, its part of a batch, and what is averaged over all.

`torchrun` starts them and tells each who it is. Every process draws the whole batch and all of its noise, and takes its
part; gradients, values to log and running statistics are averaged over the parts. After that every process holds the
same numbers, so that each takes the same decisions by itself. The first one alone writes, evaluates and speaks.
"""

import contextlib
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from ammgraph.compiler.statistics import lone_rows
from ammgraph.diagnostics import RunError, SpecError
from ammgraph.formulas.expression import Batch, Expression, Floor, Mean, Pooled, parts
from ammgraph.nn.synchronized import add_up, exchange
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import PassPlan
from ammgraph.terminal import command

# As long as the others wait for the first one, which evaluates, saves and may fetch the data.
PATIENCE = timedelta(hours=1)
# As long as another process waits for the first one to tell an error that both have met.
COURTESY = timedelta(seconds=10)


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one model."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among those of this machine
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the run directory, evaluates and speaks."""
        return self.rank == 0

    def part(self, batch: Tensor, joined: Sequence[int]) -> Tensor:
        """This process's examples: its share of each of the batches, of so many examples, that are joined here."""
        if self.size == 1:
            return batch
        parts = [piece.chunk(self.size)[self.rank] for piece in batch.split(list(joined))]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def average(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The means over all processes, in the type of the first tensor: one exchange, the same bits everywhere."""
        flat = torch.cat([tensor.detach().reshape(-1).to(tensors[0].dtype) for tensor in tensors])
        parts = add_up(flat).div_(self.size).split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def any(self, said: bool) -> bool:
        """Whether any process says so."""
        return said if self.size == 1 else bool(add_up(torch.tensor(float(said))))

    def wait(self) -> None:
        """Go on when every process has come here."""
        self.any(False)

    def from_first(self, state: dict[str, Any] | None) -> dict[str, Any]:
        """The first process's state, in every process; tensors on the CPU."""
        buffer = io.BytesIO()
        if self.first:
            torch.save(state, buffer)
        content = [buffer.getvalue()]
        with exchange():
            distributed.broadcast_object_list(content, device=torch.device("cpu"))
        found: dict[str, Any] = torch.load(io.BytesIO(content[0]), map_location="cpu", weights_only=True)
        return found

    def check_same(self, found: Mapping[str, str]) -> None:
        """Raise unless every process has found the same, each by its name.

        Raises:
            RunError: what differs, between which processes.
        """
        if self.size == 1:
            return
        everyone: list[Mapping[str, str]] = [{}] * self.size
        with exchange():
            distributed.all_gather_object(everyone, dict(found))
        for rank, other in enumerate(everyone):
            for name, value in other.items():
                if value != everyone[0][name]:
                    raise RunError(
                        f"process {rank} has another {name} than process 0: {value}, not {everyone[0][name]}; "
                        "every machine needs the same spec, data and versions"
                    )

    @contextlib.contextmanager
    def first_on_each_machine(self) -> Iterator[None]:
        """The first process of each machine does this before the others do."""
        if self.local_rank:
            self.wait()
        yield
        if not self.local_rank:
            self.wait()

    def device(self, name: str) -> str:
        """The name of this process's device: of CUDA devices the one with its number on this machine.

        Raises:
            RunError: all processes would have the same one.
        """
        if self.size == 1 or name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
            return name
        if name not in ("auto", "cuda"):
            raise RunError(f"{self.size} processes cannot share the device `{name}`; leave it out, or say `cuda`")
        return f"cuda:{self.local_rank}"

    def command(self, *words: object) -> str:
        """An `ammgraph` command as so many processes are started with it; of several machines the user knows how."""
        if self.size == 1:
            return command(*words)
        how = f"--standalone --nproc-per-node={self.size}" if self.size == self.local_size else "..."
        return f"torchrun {how} -m {command(*words)}"


ALONE = Ranks()


def shard(plan: Plan, size: int) -> Plan:
    """The plan as each of `size` processes executes it: of every batch an equal part.

    Raises:
        RunError: a batch cannot be shared evenly; with numbers that can.
    """
    batches = [draw.batch_size for draw in plan.draws]
    for draw in plan.draws:
        if draw.batch_size % size:
            common = math.gcd(*batches)
            numbers = [number for number in range(1, common + 1) if common % number == 0]
            fewer = max(number for number in numbers if number < size)
            advice = f"start {fewer} process" + ("es" if fewer > 1 else "")
            if len(set(batches)) == 1:
                least = 2 if plan.statistics == "process" else 1  # examples that batch norm may need
                near = max(least, round(draw.batch_size / size)) * size
                advice += f", or take another batch with `--set training.batch_size={near}`"
            raise RunError(
                f"a batch of {draw.batch_size:,} (`{draw.name}`) cannot be shared evenly by {size} processes; {advice}"
            )
    part = replace(
        plan,
        draws=tuple(replace(draw, batch_size=draw.batch_size // size) for draw in plan.draws),
        turns=tuple(
            replace(
                turn,
                passes=tuple(_shared(found, size) for found in turn.passes),
                partial=tuple(replace(draw, batch_size=draw.batch_size // size) for draw in turn.partial),
            )
            for turn in plan.turns
        ),
    )
    if plan.statistics == "process":
        _every_process_has_statistics(part, size)
    return part


def _shared(found: PassPlan, size: int) -> PassPlan:
    """A pass as each process takes it; one at no draw's samples has one example, in each process the same."""
    if not any(found.draws):
        return found
    return replace(found, batch=found.batch // size, examples=found.examples // size)


def divided_means(plan: Plan, size: int) -> list[str]:
    """What is said of each term that asks something of means over a batch, of which each process has a part."""
    return [
        f"warning: term `{term.name}` takes means over a batch; each of {size} processes takes them over its own part"
        for term in plan.terms
        if any(map(_of_a_mean, parts(term.value)))
    ]


def _of_a_mean(part: Expression) -> bool:
    """Whether it is a function of a mean over examples: the mean of what parts give is not what the whole gives."""
    return isinstance(part, Pooled | Batch) or (isinstance(part, Floor) and isinstance(part.argument, Mean))


def _every_process_has_statistics(part: Plan, size: int) -> None:
    for network, row, draw in lone_rows(part):
        raise RunError(
            f"of a batch of {size:,} (`{draw}`) each of {size} processes takes one example, which has no variance for "
            f"batch norm of `{network}.{row}`; double the batch, or take statistics over all processes with "
            "`--set training.batchnorm.statistics=batch`"
        )


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that `torchrun` has started, connected; `ALONE` where it has not.

    Of an error that several processes meet the first one alone is told: a process that has nothing to add leaves by
    `SystemExit`.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if absent := [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]:
        raise RunError(f"WORLD_SIZE is {size}, but {', '.join(absent)} is not set; start with `torchrun`")
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", str(size)))
    ranks = Ranks(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")), local_size)
    on_cuda = torch.cuda.is_available() and distributed.is_nccl_available()
    store, _, _ = next(distributed.rendezvous("env://", ranks.rank, size, timeout=PATIENCE))
    told = distributed.PrefixStore("ammgraph", store)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if on_cuda else "gloo", store=store, rank=ranks.rank, world_size=size, timeout=PATIENCE
    )
    try:
        yield ranks
    except BaseException as error:
        speaks = _speaks(ranks, told)
        _leave()
        if not speaks:
            raise SystemExit(_exit_code(error)) from None
        if isinstance(error, RunError) and not ranks.first:
            raise RunError(f"process {ranks.rank} of {size}: {error}") from error
        raise
    distributed.destroy_process_group()


def refuse_several(why: str) -> None:
    """Raise where torchrun has started several processes.

    Raises:
        RunError: it has.
    """
    with joined() as ranks:
        if ranks.size > 1:
            raise RunError(f"{why}; start it without torchrun")


def _speaks(ranks: Ranks, told: distributed.Store) -> bool:
    """Whether this process is the one that tells what went wrong: the first one where it has met it, else any one."""
    try:
        if not ranks.first:
            with contextlib.suppress(distributed.DistStoreError):  # nobody has said anything
                told.wait(["told"], COURTESY)
                return False
        return bool(told.add("told", 1) == 1)
    except RuntimeError:  # whoever kept the store is gone
        return True


def _leave() -> None:
    """End what the connection keeps running, where that waits for nobody.

    Threads that are alive when Python ends, and hold tensors that it knows, end the process with SIGABRT. NCCL's are
    left alone: to end them it would wait for processes that may be gone.
    """
    if not torch.cuda.is_initialized():
        distributed.destroy_process_group()


def _exit_code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 1 if isinstance(error, RunError | SpecError) else 3
