"""What two processes do that `test_ranks.py` looks at: started by torchrun, each writes `rank-N.pt` into a folder."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny import ALTERNATING, CPU, EMA, ENUMERATED, LABELED, TERMS, TINY, data_of, plan_of
from torch import Tensor

from ammgraph.diagnostics import RunError
from ammgraph.nn import synchronized
from ammgraph.train.ranks import ALONE, Ranks, joined
from ammgraph.train.step import Outcome, take_turn
from ammgraph.train.trainer import Trainer

OWN = "training.batchnorm.statistics=process"
CRITIC_NORM = "networks.critic.layers.h.batchnorm=true"
ROTH = "games.joint.roth_penalty={gamma: 2}"
UNEQUAL = "training.batch_size={default: 40, q_labeled: 8, p_labeled: 8}"
LESS = (
    "networks.judge={layers: {d: {input: x, op: linear, channels: 1}}}",
    "games.images={match: [q, p], discriminator: judge.d, objective: hinge}",
    "training.schedule=[{update: [judge], games: [images]}, {update: [encoder, components, decoder, critic]}]",
)
STEPS = 4
KINDS = {
    "every kind of noise, a penalty's own pass": (TINY, ()),
    "alternating and averaged": (TINY, (ALTERNATING, EMA)),
    "a penalty in every other step": (TINY, ("games.joint.gradient_penalty.every=2",)),
    "two games, batches of different sizes": (LABELED, (UNEQUAL,)),
    "batch norm under penalties": (TINY, (CRITIC_NORM, ROTH)),
    "terms and no game": (TERMS, ("terms.classes.minimize=-E[p] log c(y|x)",)),
    "batch norm of each process": (TINY, (OWN, EMA)),
    "batch norm at every value of a category": (ENUMERATED, ()),
    "a turn that draws less than another": (TINY, LESS),
}


def trainer_of(kind: str, ranks: Ranks = ALONE, seed: int = 0) -> Trainer:
    path, overrides = KINDS[kind]
    return Trainer(plan_of(path, *overrides), data_of(path, *overrides), seed, CPU, "float64", ranks)


def trained(it: Trainer, steps: int = STEPS) -> dict[str, Any]:
    for _ in range(steps):
        it.advance()
    return it.state_dict()


def own_outcome(it: Trainer) -> Outcome:
    """What a process finds in its part of the first turn, before anything is exchanged."""
    turn = it.plan.turns[0]
    return take_turn(it.model, it._part, it._part.turns[0], it.feed.batches(turn), it.noise.of(turn), 0.0)


def normalized(batch_norm: Callable[..., Tensor], share: Callable[[Tensor], Tensor], *shape: int) -> dict[str, Tensor]:
    """Batch norm's value, running statistics, and its first and second derivatives, of this process's share."""
    generator = torch.Generator().manual_seed(len(shape))
    whole, weight = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    x, weight = share(3 * whole + 5).requires_grad_(), share(weight)
    parameters = torch.randn(2, shape[1], generator=generator, dtype=torch.float64)
    gain, shift = (parameter.clone().requires_grad_() for parameter in parameters)
    mean, variance = torch.zeros(shape[1], dtype=torch.float64), torch.ones(shape[1], dtype=torch.float64)
    y = batch_norm(x, mean, variance, gain, shift, training=True, momentum=0.1, eps=1e-3)
    loss = (weight * y.tanh()).flatten(1).sum(1).mean()
    first = torch.autograd.grad(loss, (x, gain, shift), retain_graph=True)
    (slope,) = torch.autograd.grad((weight * y.tanh()).sum(), x, create_graph=True)
    second = torch.autograd.grad(slope.square().flatten(1).sum(1).mean(), (x, gain, shift))
    names = ("x", "gain", "shift")
    return {"y": y.detach(), "mean": mean, "variance": variance} | {
        f"{order} {name}": value.detach()
        for order, found in (("first", first), ("second", second))
        for name, value in zip(names, found, strict=True)
    }


def poisoned(ranks: Ranks) -> str:
    """What a process says of a number that is finite in its own part, but not in that of the other one."""
    it = trainer_of("every kind of noise, a penalty's own pass", ranks)
    if not ranks.first:
        weight = it.model.network("encoder").row("h").weight
        assert weight is not None
        weight.register_hook(lambda gradient: gradient * float("nan"))
    it.advance()
    try:
        it.recorder.flush()
    except RunError as error:
        return str(error)
    return "nothing"


def differing(ranks: Ranks) -> str:
    try:
        ranks.check_same({"seed": "1", "plan": "a" if ranks.first else "b"})
    except RunError as error:
        return str(error)
    return "nothing"


def main(folder: Path) -> None:
    with joined() as ranks:
        share = lambda batch: ranks.part(batch, [len(batch)])  # noqa: E731
        found: dict[str, Any] = {"ranks": [ranks.rank, ranks.size, ranks.local_rank, ranks.local_size]}
        found["states"] = {kind: trained(trainer_of(kind, ranks)) for kind in KINDS}
        found["gradients"] = {}
        for kind in KINDS:
            it = trainer_of(kind, ranks)
            outcome = it._act._of_all(own_outcome(it))
            buffers = dict(it.model.named_buffers())
            found["gradients"][kind] = {"gradients": outcome.gradients, "values": outcome.values, "buffers": buffers}
        found["batch norm"] = {
            name: normalized(synchronized.batch_norm, share, *shape)
            for name, shape in (("image", (6, 3, 5, 4)), ("vector", (8, 2, 1, 1)), ("one example", (2, 3, 2, 2)))
        }
        resumed = trainer_of("alternating and averaged", ranks, seed=99)
        half = trained(trainer_of("alternating and averaged", ranks), STEPS // 2)
        resumed.load_state_dict(ranks.from_first(half if ranks.first else None))
        found["resumed"] = trained(resumed, STEPS - STEPS // 2)
        found["any"] = [ranks.any(False), ranks.any(ranks.rank == 1), ranks.any(True)]
        found["errors"] = [poisoned(ranks), differing(ranks)]
        torch.save(found, folder / f"rank-{ranks.rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert os.environ["WORLD_SIZE"] == "2"
    main(Path(sys.argv[1]))
