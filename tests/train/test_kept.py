"""The best state by a measure of the validation images is kept beside the last one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_specs import problem_of
from tiny import CPU, TINY, differences, trainer_of
from tiny_runs import make_run

from ammgraph.evaluation.loading import load_model
from ammgraph.runs import checkpoint, record
from ammgraph.train.kept import best_look
from ammgraph.train.trainer import Trainer, fit

KEEP = ("evaluation.keep=best reconstruction_error", "evaluation.every_epochs=1/20")  # a look every 2 steps


def looked(trainer: Trainer, folder: Path, values: dict[int, float | None], stop: int = 99) -> dict[int, Any]:
    """Train with these values at these steps, and the weights at each look."""
    folder.mkdir(exist_ok=True)
    seen: dict[int, Any] = {}

    def evaluate(model: Any) -> dict[str, Any]:
        seen[trainer.step] = {name: value.clone() for name, value in model.state_dict().items()}
        return {"examples": 9, "x/reconstruction_error": values[trainer.step], "y/one_to_one_error": -trainer.step}

    fit(trainer, folder, evaluate, stop=lambda: trainer.step == stop)
    return seen


VALUES = {2: 0.5, 4: 0.3, 6: 0.4, 8: None, 10: 0.2, 12: 0.25, 13: 0.2}


def test_the_state_of_the_least_error_is_kept(tmp_path: Path) -> None:
    seen = looked(trainer_of(TINY, *KEEP), tmp_path, VALUES)
    step, state, _ = checkpoint.load_newest(tmp_path / "best")
    assert step == 10  # of two that are alike the first
    assert differences(seen[10], state["model"]) == []
    assert checkpoint.load_newest(tmp_path / "checkpoints")[0] == 13


def test_a_run_that_was_stopped_keeps_the_same(tmp_path: Path) -> None:
    whole = looked(trainer_of(TINY, *KEEP), tmp_path / "whole", VALUES)
    folder = tmp_path / "stopped"
    looked(trainer_of(TINY, *KEEP), folder, VALUES, stop=11)
    trainer = trainer_of(TINY, *KEEP, seed=5)
    step, state, _ = checkpoint.load_newest(folder / "checkpoints")
    trainer.load_state_dict(state)
    record.cut(folder / "metrics.jsonl", step)
    looked(trainer, folder, VALUES)
    step, state, _ = checkpoint.load_newest(folder / "best")
    assert step == 10
    assert differences(whole[10], state["model"]) == []


def test_a_run_that_is_asked_later_keeps_the_best_of_the_states_from_then_on(tmp_path: Path) -> None:
    looked(trainer_of(TINY, *KEEP[1:]), tmp_path, VALUES | {4: 0.1}, stop=5)
    trainer = trainer_of(TINY, *KEEP)
    step, state, _ = checkpoint.load_newest(tmp_path / "checkpoints")
    trainer.load_state_dict(state)
    assert (step, checkpoint.has_checkpoint(tmp_path / "best")) == (5, False)
    looked(trainer, tmp_path, VALUES)
    assert checkpoint.load_newest(tmp_path / "best")[0] == 10  # the state of step 4 is gone, of which 0.1 was


def look(step: int, **values: float | None) -> dict[str, Any]:
    return {"step": step, "evaluation": {f"{name}/reconstruction_error": value for name, value in values.items()}}


def test_of_the_looks_before_and_after_a_fit_that_are_alike_the_later_is_the_best() -> None:
    keep = "best reconstruction_error"
    looks = [look(10, x=0.4), look(20, x=0.3), look(30, x=0.3), look(30, x=0.3), look(40, x=0.31)]
    assert best_look(keep, looks) is looks[1]
    assert best_look(keep, looks[2:]) is looks[3]
    assert best_look(keep, [look(30, x=0.3), look(30, x=0.4)])["evaluation"] == {"x/reconstruction_error": 0.3}
    assert best_look(keep, [look(1, x=None), look(2, x=float("nan"))]) is None
    means = [look(1, x=0.1, v=0.9), look(2, x=0.4, v=0.4)]  # of several variables the mean
    assert best_look(keep, means) is means[1]


def test_without_the_key_nothing_is_kept(tmp_path: Path) -> None:
    looked(trainer_of(TINY, KEEP[1]), tmp_path, VALUES)
    assert not (tmp_path / "best").exists()


def test_what_is_asked_of_the_run_is_asked_of_the_best(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", TINY, KEEP[0])
    last = load_model(run, CPU)
    trainer = trainer_of(TINY, KEEP[0])
    checkpoint.save(run / "best", 0, trainer.state_dict())
    best = load_model(run, CPU)
    assert (last.step, best.step) == (3, 0)
    expected = trainer.model.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in best.model.state_dict().items())


@pytest.mark.parametrize("name", ["clustering_error", "nmi", "classification_error"])
def test_labels_choose_no_state(name: str) -> None:
    told = problem_of("", f"evaluation.keep=best {name}")
    assert told == f"unknown-value: `{name}` needs labels, and labels choose no state"


def test_there_must_be_images_to_choose_by() -> None:
    told = problem_of("", "evaluation.keep=best reconstruction_error", "data.validation=0")
    assert told == "missing-key: `keep` chooses by the validation images, and none are held out"
