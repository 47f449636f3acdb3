"""A step never waits for the device: no value that a tensor holds decides what the host does next."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tiny import ALTERNATING, EMA, LABELED, TINY, data_of, plan_of, trainer_of
from torch.utils._python_dispatch import TorchDispatchMode

from ammgraph.train.trainer import Trainer

GAME = "games.joint={match: [q, p], discriminator: critic.p, objective: %s, %s}"
KINDS = {
    "simultaneous": (TINY, ()),
    "two games, labels": (LABELED, ()),
    "alternating and averaged": (TINY, (ALTERNATING, EMA)),
    "Roth's penalty, a category without gradient": (
        TINY,
        (
            GAME % ("hinge", "roth_penalty: {gamma: 1}"),
            "networks.encoder.layers.y.activation=gumbel_straight_through 1",
        ),
    ),
    "R1, batch statistics": (
        TINY,
        (GAME % ("least_squares", "r1_penalty: {gamma: 1, every: 2}"), "networks.critic.layers.hx.batchnorm=true"),
    ),
    "momentum": (TINY, ("training.optimizers={default: {name: sgd, learning_rate: 0.1, momentum: 0.9}}",)),
}

# What hands a value to the host, or has a shape that depends on values.
WAITING = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select", "unique", "_unique2"}


class Waits(TorchDispatchMode):
    """Collects the operations that would make the host wait."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        by_mask = name in ("index", "index_put_") and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in WAITING or by_mask:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


def test_waiting_is_noticed() -> None:
    values = torch.tensor([0.0, 1.0])
    with Waits() as waits:
        bool(values[1] > 0)
        values[values > 0]
        values.nonzero()
        torch.nn.functional.one_hot(torch.tensor([1]), 2)
    assert waits.found == ["_local_scalar_dense", "index", "nonzero", "_local_scalar_dense", "_local_scalar_dense"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_waits_for_the_device(kind: str) -> None:
    path, overrides = KINDS[kind]
    trainer = trainer_of(path, *overrides)
    with Waits() as waits:
        for _ in range(3):
            trainer.advance()
    assert waits.found == []


@contextmanager
def synchronization_forbidden() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: torch counts synchronising calls there")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_step_synchronises_a_cuda_device(kind: str, precision: Any) -> None:
    path, overrides = KINDS[kind]
    trainer = Trainer(plan_of(path, *overrides), data_of(path, *overrides), 0, torch.device("cuda"), precision)
    trainer.advance()  # libraries choose their algorithms
    with synchronization_forbidden():
        for _ in range(3):
            trainer.advance()
    trainer.check()
