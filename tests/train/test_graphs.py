"""A captured step is a function of buffers: taken without a graph it gives the bits of the eager one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from test_syncs import KINDS, Waits
from tiny import (
    ALTERNATING,
    EMA,
    ENUMERATED,
    INFORMED,
    LABELED,
    PHASES,
    TERMS,
    TINY,
    data_of,
    differences,
    plan_of,
    trainer_of,
)
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ammgraph.train import graphs
from ammgraph.train.graphs import Graphs, Values
from ammgraph.train.step import take_turn
from ammgraph.train.trainer import Trainer

FALLING = "training.optimizers={default: {name: adam, learning_rate: [[0, 1.0e-3], [3, 1.0e-5]]}}"
STEPS = {
    "two turns, averaged": (TINY, (ALTERNATING, EMA)),
    "a penalty in every third step, whose weight grows, and a rate that falls": (
        TINY,
        (
            "games.joint={match: [q, p], discriminator: critic.p, objective: jensen_shannon, "
            "roth_penalty: {gamma: [[0, 0], [1, 0], [3, 2]], every: 3}, weight: [[0, 1], [2, 0.5]]}",
            FALLING,
        ),
    ),
    "two games, labels": (LABELED, (FALLING,)),
    "terms": (TERMS, ()),
    "a game and terms": (INFORMED, ()),
    "every value of a category": (ENUMERATED, ()),
    "phases and a fit": (PHASES, ()),
    "gradient descent with momentum": (
        TINY,
        ("training.optimizers={default: {name: sgd, learning_rate: [[0, 0.1], [2, 0.01]], momentum: 0.9}}",),
    ),
    "RMSprop": (TINY, ("training.optimizers={default: {name: rmsprop, learning_rate: [[0, 1e-3], [2, 1e-4]]}}",)),
}
LONG = ("training.steps=50",)


class Again:
    """Takes what it shall capture once more, as often as it is replayed: the host's part stays what it was."""

    def __init__(self) -> None:
        self.captured, self.cleared = 0, 0

    def first(self, step: Callable[[], Values]) -> Values:
        return step()

    def capture(self, step: Callable[[], Values]) -> Callable[[], Values]:
        self.captured += 1
        return step

    def clear(self) -> None:
        self.cleared += 1


def capturing(path: Path, *overrides: str, precision: str = "float32") -> tuple[Trainer, Again]:
    it, backend = trainer_of(path, *overrides, precision=precision), Again()
    it.graphs = Graphs(next(it.model.parameters()), backend)
    return it, backend


def long(path: Path) -> Sequence[str]:
    return () if path == PHASES else LONG


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", STEPS)
def test_captured_steps_give_the_bits_of_eager_ones(name: str, precision: str) -> None:
    path, overrides = STEPS[name]
    eager = trainer_of(path, *overrides, *long(path), precision=precision)
    captured, backend = capturing(path, *overrides, *long(path), precision=precision)
    for _ in range(min(50, eager.last_step)):
        eager.advance()
        captured.advance()
    assert differences(eager.state_dict(), captured.state_dict()) == []
    assert backend.captured


def test_steps_of_a_kind_are_captured_once() -> None:
    path, overrides = STEPS["a penalty in every third step, whose weight grows, and a rate that falls"]
    it, backend = capturing(path, *overrides, "training.steps=100")
    for _ in range(100):
        it.advance()
    assert backend.captured == 4  # the penalty is due or is not, and weighs nothing in the first epoch


def test_going_on_in_the_middle_gives_the_same_bits() -> None:
    path, overrides = STEPS["two turns, averaged"]
    whole, _ = capturing(path, *overrides, *LONG)
    first, _ = capturing(path, *overrides, *LONG)
    for _ in range(40):
        whole.advance()
    for _ in range(17):
        first.advance()
    second, _ = capturing(path, *overrides, *LONG)
    for _ in range(5):
        second.advance()  # what it has captured is forgotten
    second.load_state_dict(first.state_dict())
    for _ in range(23):
        second.advance()
    assert differences(whole.state_dict(), second.state_dict()) == []


def test_what_a_phase_has_captured_is_forgotten_when_it_ends() -> None:
    it, backend = capturing(PHASES)
    captured = []
    while it.step < it.last_step:
        it.advance()
        captured.append((it.phase, len(it.graphs._captured) if it.graphs is not None else 0, backend.cleared))
    assert {phase for phase, _, _ in captured} == {0, 1, 2}
    assert all(kinds == 1 and cleared == phase for phase, kinds, cleared in captured)


def test_what_cannot_be_captured_goes_on_one_operation_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    class Refuses(Again):
        def capture(self, step: Callable[[], Values]) -> Callable[[], Values]:
            raise RuntimeError("operation not permitted when\nstream is capturing")

    eager, it = trainer_of(TINY), trainer_of(TINY)
    it.graphs = Graphs(next(it.model.parameters()), Refuses())
    for _ in range(5):
        eager.advance()
        it.advance()
    assert differences(eager.state_dict(), it.state_dict()) == []
    assert it.graphs.problem == "operation not permitted when stream is capturing"
    assert [record.name for record in caplog.records] == [graphs.__name__]


# ------------------------------------------------------------------------------------------------ what may be captured


class Devices(TorchDispatchMode):
    """Collects operations that touch the CPU, and random numbers that come from no generator of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        if any(tensor.device.type == "cpu" for tensor in tensors):
            self.found.add(function.overloadpacket.__name__)
        return result


def to_meta(tensor: Any) -> Any:
    if not isinstance(tensor, torch.Tensor):
        return tensor
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


@pytest.mark.parametrize("name", STEPS)
def test_a_turn_makes_no_tensor_on_another_device(name: str) -> None:
    path, overrides = STEPS[name]
    it = trainer_of(path, *overrides)
    turns = it.plan.turns_of(it.stage.phase)
    taken = [pytree.tree_map(to_meta, (it.feed.batches(turn), it.noise.of(turn, 0))) for turn in turns]
    for module in it.model.modules():
        for key, parameter in module._parameters.items():
            module._parameters[key] = None if parameter is None else torch.nn.Parameter(to_meta(parameter))
        for key, buffer in module._buffers.items():
            module._buffers[key] = to_meta(buffer)
    vars(it.model).pop("parameters_of", None)
    noise: dict[str, Any] = {}
    with Devices() as devices:
        for turn, (data, drawn) in zip(turns, taken, strict=True):
            noise = drawn if turn.redraw else noise | drawn
            take_turn(it.model, it.plan, turn, data, noise, 0.0)
    assert devices.found == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_captured_step_waits_for_nothing_and_allocates_by_no_value(kind: str) -> None:
    path, overrides = KINDS[kind]
    it, _ = capturing(path, *overrides)
    with Waits() as waits:
        for _ in range(3):
            it.advance()
    assert waits.found == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", STEPS)
def test_cuda_graphs_give_what_eager_steps_give(name: str) -> None:
    path, overrides = STEPS[name]
    trainers = []
    for eager in (True, False):
        plan, data = plan_of(path, *overrides, *long(path)), data_of(path, *overrides, *long(path))
        it = Trainer(plan, data, 0, torch.device("cuda"))
        it.graphs = None if eager else it.graphs
        for _ in range(min(20, it.last_step)):
            it.advance()
        trainers.append(it)
    eager, captured = (it.state_dict() for it in trainers)
    assert trainers[1].graphs is not None
    assert trainers[1].graphs.problem == ""
    assert differences(eager["noise"], captured["noise"]) == []  # the generators stand where they would without
    torch.testing.assert_close(captured["model"], eager["model"], rtol=1e-3, atol=1e-5)
