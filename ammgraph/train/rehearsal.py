"""A few steps that leave nothing behind: which networks each loss reaches, how strongly, in what time and memory.

The gradients are those of a phase's first step at the weights that training starts from, so that they can be held
against the paths that the compiler has planned.
"""

import math
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ammgraph.plan.metric import GRADIENT, Metric
from ammgraph.plan.turns import TurnPlan
from ammgraph.train.step import Outcome, take_turn
from ammgraph.train.trainer import Trainer

STEPS = 5  # that are timed, after one that is not
SECONDS = 30.0  # after which no further step is begun


@dataclass(frozen=True)
class Reach:
    """The gradient that one network gets from one player's loss in one game, or from a term, the weight included.

    `through` are the samples and scores through which the compiler says that it comes; none for a discriminator, which
    is reached by its own logit.
    """

    turn: int  # from 1
    game: str  # or the term
    player: str  # discriminator or generator; `value` of a term
    network: str
    through: tuple[str, ...]
    weight: float  # of the game or the term at the first step
    norm: float


@dataclass(frozen=True)
class Rehearsal:
    """What a few steps have shown.

    `peak` and `resident` are bytes: the most that the process held during the steps, and what it held before; on CUDA
    what torch had allocated.
    """

    reaches: tuple[Reach, ...]
    norms: dict[str, float]  # network -> norm of the gradient that its optimizer gets
    values: dict[str, float | list[float]]  # as the first line of `metrics.jsonl` would have them
    seconds: tuple[float, ...]  # of every timed step
    resident: int
    peak: int

    @property
    def seconds_per_step(self) -> float:
        """The median of the timed steps."""
        return statistics.median(self.seconds)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why these networks would not learn: a gradient that is zero or not finite. Empty where all is well."""
        found = []
        for name, norm in self.norms.items():
            games = [reach for reach in self.reaches if reach.network == name]
            if not math.isfinite(norm):
                found.append(f"the gradient of network `{name}` is {norm}")
            elif norm == 0 and any(reach.weight for reach in games):
                listed = ", ".join(dict.fromkeys(f"`{reach.game}`" for reach in games))
                found.append(
                    f"the gradient of network `{name}` is 0: a path from {listed} exists and nothing comes through it"
                )
        values = {name: value for name, value in self.values.items() if not name.endswith("gradient_norm")}
        return (*found, *(f"`{name}` is {value}" for name, value in values.items() if not _finite(value)))


def rehearse(trainer: Trainer, phase: int = 0) -> Rehearsal:
    """Audit the gradients of a phase's first step, then time some steps; the trainer is used up.

    What is fitted before the phase is not fitted here.

    Raises:
        RunError: a weight is not finite after the steps.
    """
    trainer.phase, trainer.step = phase, trainer.stages[phase].first
    epoch, step = trainer.epoch, _due(trainer)
    resident = _begin_peak(trainer.device)
    reaches: list[Reach] = []
    norms: dict[str, float] = {}
    values: dict[str, float | list[float]] = {}
    for index, turn in enumerate(trainer.plan.turns_of(trainer.stage.phase), start=1):
        batches, noise = trainer.feed.batches(turn), trainer.noise.of(turn)

        def outcome(turn: TurnPlan, batches: object = batches, noise: object = noise) -> Outcome:
            with torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.precision == "bfloat16"):
                return take_turn(trainer.model, trainer.plan, turn, batches, noise, epoch, step)  # type: ignore[arg-type]

        for single in _single_losses(turn):
            loss, found = single.loss(single.objectives[0].losses[0]), outcome(single)
            weight = loss.weights[0].at(epoch, step)
            for name in found.gradients or single.objectives[0].networks:  # a term of weight 0 gives none
                norm = float(found.values.get(str(Metric(name, GRADIENT)), 0.0))
                reaches.append(Reach(index, loss.owner, loss.what, name, dict(loss.paths)[name], weight, norm))
        whole = outcome(turn).values
        norms |= {found.owner: float(whole[str(found)]) for found in map(Metric.of, whole) if found.what == GRADIENT}
        values |= {name: value.tolist() for name, value in whole.items()}
    rehearsal = Rehearsal(tuple(reaches), norms, values, tuple(_timed(trainer)), resident, _peak(trainer.device))
    if not rehearsal.problems:
        trainer.check()
    return rehearsal


def _due(trainer: Trainer) -> int:
    """The last step, up to the one at hand, at which every loss is taken."""
    turns = trainer.plan.turns_of(trainer.stage.phase)
    return trainer.step - trainer.step % math.lcm(*(loss.every for turn in turns for loss in turn.losses))


def _single_losses(turn: TurnPlan) -> Iterator[TurnPlan]:
    """The turn with one player's losses in one game alone, its penalties among them, or with one term, for each."""
    for objective in turn.objectives:
        for owner in dict.fromkeys(turn.loss(name).owner for name in objective.losses):
            own = tuple(loss for loss in turn.losses if loss.owner == owner)
            names = tuple(loss.name for loss in own if loss.name in objective.losses)
            reached = {network for name in names for network, _ in turn.loss(name).paths}
            alone = replace(objective, losses=names, networks=tuple(n for n in objective.networks if n in reached))
            single = replace(turn, losses=own, objectives=(alone,))
            if owner in turn.terms:
                passes = tuple(found for found in turn.passes if found.kind in ("drawn", "asked", "moved"))
                yield replace(single, games=(), terms=(owner,), passes=passes)
            else:
                yield replace(single, games=(owner,), terms=())


def _timed(trainer: Trainer) -> Iterator[float]:
    """Seconds of each step after the first."""
    began = time.monotonic()
    for step in range(1 + STEPS):
        started = _now(trainer.device)
        trainer.take_step()
        seconds = _now(trainer.device) - started
        if step:
            yield seconds
        if step and time.monotonic() - began > SECONDS:
            return


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _begin_peak(device: torch.device) -> int:
    """Bytes held now; from here on the peak is measured."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with suppress(OSError):  # where the system cannot forget an earlier peak, the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")
    status = _status()
    return status["VmRSS"] if status else 0


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return _status().get("VmHWM") or unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _status() -> dict[str, int]:
    """Bytes of this process by Linux's names; empty on other systems."""
    path = Path("/proc/self/status")
    lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[-1] == "kB"}


def _finite(value: float | list[float]) -> bool:
    return all(map(math.isfinite, value)) if isinstance(value, list) else math.isfinite(value)
