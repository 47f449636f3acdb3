"""Checkpoints with a matching checksum and a foreign content: refused in a sentence, or passed over for an older one.

torch trusts what it is given: a tensor that is too small is read and written beyond its end, which may end the process.
"""

import copy
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CPU, EMA, TINY, trainer_of
from tiny_runs import Run, make_run, state_of

from ammgraph.diagnostics import RunError
from ammgraph.evaluation.loading import load_model
from ammgraph.runs import checkpoint

OPTIMIZERS = {
    "adam": "{name: adam, learning_rate: 1e-3}",
    "sgd": "{name: sgd, learning_rate: 1e-3, momentum: 0.9}",
    "rmsprop": "{name: rmsprop, learning_rate: 1e-3}",
}


def overrides_of(optimizer: str) -> tuple[str, ...]:
    return (f"training.optimizers.default={OPTIMIZERS[optimizer]}", EMA, "evaluation.weights=ema")


def nested(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of everything in a state, containers included."""
    if place:
        yield place
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nested(below, (*place, key))


def holder_of(state: dict[str, Any], place: tuple[Any, ...]) -> Any:
    for key in place[:-1]:
        state = state[key]
    return state


# What may replace a value. Those of the first kind are never right; those of the second have the right form.
Change = Callable[[Any], Any]
WRONG_FORM: dict[str, Change] = {
    "one element": lambda v: v.flatten()[:1].clone() if torch.is_tensor(v) and v.dim() and v.numel() > 1 else None,
    "one more axis": lambda v: v[None].clone() if torch.is_tensor(v) else None,
    "another type": lambda v: v.double() if torch.is_tensor(v) else b"foreign",
    "whole numbers": lambda v: v.to(torch.int16) if torch.is_tensor(v) else torch.zeros(2),
    "nothing": lambda _: None,
    "a text": lambda _: "\x1b[31mforeign" * 1000,
    "a list": lambda _: [],
    "tensors of two": lambda _: torch.zeros(2),
}
RIGHT_FORM: dict[str, Change] = {
    "not finite": lambda v: torch.full_like(v, float("nan")) if torch.is_tensor(v) and v.is_floating_point() else v,
    "one number for all": lambda v: torch.zeros((), dtype=v.dtype).expand(v.shape) if torch.is_tensor(v) else v,
    "noise": lambda v: torch.randint(0, 255, v.shape).to(v.dtype) if torch.is_tensor(v) else v,
    "negative": lambda v: -v - 1 if torch.is_tensor(v) or isinstance(v, int) else v,
    "beyond all": lambda v: 2**62 if isinstance(v, int) else v,
}


def places_of(state: dict[str, Any], optimizer: str, choose: random.Random) -> list[tuple[Any, ...]]:
    """Some of what is loaded, which is all but what the plan decides; of the other optimizers what they remember."""
    loaded = [place for place in nested(state) if "param_groups" not in place]
    return choose.sample(loaded if optimizer == "adam" else [p for p in loaded if p[0] == "optimizers"], 20)


def used(folder: Path, overrides: tuple[str, ...], state: dict[str, Any], place: tuple[Any, ...]) -> str:
    """What is said where a checkpoint is resumed, and read by `evaluate`; empty where it was used."""
    checkpoint.save(folder / "checkpoints", 3, state)
    trainer = trainer_of(TINY, *overrides)
    try:
        if place[0] in ("model", "averaged"):
            load_model(folder, CPU)
        step, found, problems = checkpoint.load_newest(folder / "checkpoints")
        if problems:
            assert step == 2
            return problems[0]
        trainer.load_state_dict(found)
        trainer.check()
        for _ in range(2):
            trainer.advance()
        trainer.recorder.flush()
    except RunError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_state_is_used_that_has_another_form_than_the_runs(optimizer: str, tmp_path: Path) -> None:
    """A crash ends the test as well."""
    overrides, choose = overrides_of(optimizer), random.Random(optimizer)
    folder = make_run(tmp_path / "run", TINY, *overrides)
    whole = state_of(folder)
    assert whole["recorder"]["rows"].numel()
    for place in places_of(whole, optimizer, choose):
        kind = choose.choice(list(WRONG_FORM))
        state = copy.deepcopy(whole)
        holder = holder_of(state, place)
        holder[place[-1]] = WRONG_FORM[kind](holder[place[-1]])
        said = used(folder, overrides, state, place)
        assert 0 < len(said) < 1000, (place, kind)
        assert "\x1b" not in said, (place, kind)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_numbers_of_the_right_form_are_used_or_refused(optimizer: str, tmp_path: Path) -> None:
    overrides, choose = overrides_of(optimizer), random.Random(optimizer)
    folder = make_run(tmp_path / "run", TINY, *overrides)
    whole = state_of(folder)
    assert used(folder, overrides, whole, ("model",)) == ""
    for place in places_of(whole, optimizer, choose):
        state = copy.deepcopy(whole)
        holder = holder_of(state, place)
        kind = choose.choice([*RIGHT_FORM, "gone"])
        if kind == "gone":
            del holder[place[-1]]
        else:
            holder[place[-1]] = RIGHT_FORM[kind](holder[place[-1]])
        said = used(folder, overrides, state, place)
        assert len(said) < 1000, (place, kind)
        assert said or kind != "not finite" or not holds_floats(whole, place), (place, kind)


def holds_floats(state: dict[str, Any], place: tuple[Any, ...]) -> bool:
    """Whether there is a tensor that can hold a number that is not finite."""
    value = holder_of(state, place)[place[-1]]
    return torch.is_tensor(value) and value.is_floating_point()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_optimizers_tensor_of_one_element_is_told_and_the_older_checkpoint_is_used_without_it(
    optimizer: str, ammgraph: Run, tmp_path: Path
) -> None:
    folder = make_run(tmp_path / "run", TINY, *overrides_of(optimizer))
    state, slot = state_of(folder), "exp_avg" if optimizer == "adam" else "momentum_buffer"
    before = state["optimizers"]["critic"]["state"][0][slot]
    state["optimizers"]["critic"]["state"][0][slot] = before.flatten()[:1].clone()
    newest = checkpoint.save(folder / "checkpoints", 3, state)
    code, out, err = ammgraph("train", "--resume", folder, "--set", "training.steps=4")
    assert (code, out) == (1, "")
    assert err == (
        f"error: the checkpoint does not hold the state of this run: `optimizers/critic/0/{slot}`: found float32 [1], "
        f"expected float32 {list(before.shape)}; it was changed, or another program wrote it: remove it, and the one "
        "before it is used\n"
    )
    newest.unlink()  # as it says
    code, _, err = ammgraph("train", "--resume", folder, "--set", "training.steps=4")
    assert (code, "steps 2 to 4" in err) == (0, True)


def test_what_an_optimizer_remembers_is_laid_out_in_memory_as_its_parameters(tmp_path: Path) -> None:
    """A tensor of the right shape may lie over one number, which a fused optimizer would walk beyond."""
    trainer = trainer_of(TINY)
    trainer.advance()
    state = copy.deepcopy(trainer.state_dict())
    slots = state["optimizers"]["critic"]["state"][0]
    slots["exp_avg"] = torch.zeros(1).expand(slots["exp_avg"].shape)
    trainer.load_state_dict(state)
    parameter = next(trainer.model.network("critic").parameters())
    assert trainer.optimizers["critic"].state[0]["exp_avg"].stride() == parameter.stride()


def test_a_generator_that_reads_beyond_its_words_is_refused() -> None:
    trainer = trainer_of(TINY)
    state = copy.deepcopy(trainer.state_dict())
    state["noise"]["sample"][16:24].view(torch.int64)[0] = 600  # of 624, of which 624 are left
    state["noise"]["sample"][8:12].view(torch.int32)[0] = 624
    with pytest.raises(RunError, match="it reads beyond its words"):
        trainer.load_state_dict(state)
