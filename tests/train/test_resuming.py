"""A run that was stopped and resumed has the bits of one that never stopped."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ALTERNATING, EMA, LABELED, TINY, data_of, differences, trainer_of

from ammgraph.diagnostics import RunError
from ammgraph.evaluation.evaluate import evaluate
from ammgraph.runs import checkpoint, record
from ammgraph.train.trainer import Trainer, fit

KINDS = {
    "simultaneous": (TINY, ()),
    "alternating and averaged": (TINY, (ALTERNATING, EMA, "evaluation.weights=ema")),
    "labelled stream smaller than its batch": (LABELED, ("evaluation.every_epochs=1/8",)),
    "a penalty that is not taken in every step": (TINY, ("games.joint.gradient_penalty.every=3",)),
    "noise on inputs, and groups of channels": (
        TINY,
        (
            *("networks.encoder.layers.h.noise=0.3", "networks.critic.layers.h.noise=0.3"),
            "networks.critic.layers.p={input: h, op: lse, channels: 1}",
        ),
    ),
    "a turn that draws less": (
        TINY,
        (
            "networks.judge={layers: {d: {input: x, op: linear, channels: 1}}}",
            "games.images={match: [q, p], discriminator: judge.d, objective: hinge}",
            "training.schedule=[{update: [judge], games: [images]}, {update: [critic, encoder, components, decoder]}]",
        ),
    ),
    "weights and rates that change with steps, and a bound of gradients": (
        TINY,
        (
            "games.joint.weight={linear: [1, 2], over: 9, by: steps}",
            "training.optimizers.default.name=adamw",
            "training.optimizers.default.learning_rate={cosine: [1e-3, 0], over: 12, warmup: 6, by: steps}",
            "training.optimizers.default.gradient_clip=0.1",
        ),
    ),
    "weights that change with time": (
        TINY,
        ("games.joint.weight=[[0, 1], [1/4, 2]]", "training.optimizers.default.learning_rate=[[0, 1e-3], [1/4, 1e-4]]"),
    ),
}


def run_to_the_end(trainer: Trainer, folder: Path, stop_after: int | None = None) -> bool:
    folder.mkdir(exist_ok=True)
    validation = data_of(TINY).validation
    assert validation is not None
    glance = validation.at(torch.arange(30))
    return fit(
        trainer,
        folder,
        evaluate=lambda model: evaluate(model, trainer.plan, glance),
        stop=lambda: trainer.step == stop_after,
        log_every=5,
    )


def resumed(path: Path, overrides: tuple[str, ...], folder: Path) -> Trainer:
    """As the command does it, with other numbers in every place before the state is loaded."""
    trainer = trainer_of(path, *overrides, seed=99)
    step, state, _ = checkpoint.load_newest(folder / "checkpoints")
    trainer.load_state_dict(state)
    record.cut(folder / "metrics.jsonl", step)
    return trainer


def records_of(folder: Path) -> list[dict[str, Any]]:
    lines = record.read(folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if not key.startswith("seconds")} for line in lines]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_stopped_anywhere_and_resumed_has_the_same_bits(kind: str, tmp_path: Path) -> None:
    path, overrides = KINDS[kind]
    whole = trainer_of(path, *overrides)
    assert run_to_the_end(whole, tmp_path / "whole")
    expected, lines = whole.state_dict(), records_of(tmp_path / "whole")
    for stop in (1, 5, 7, 12):  # 5 at a line of the log, the others between two
        folder = tmp_path / f"stopped-{stop}"
        assert not run_to_the_end(trainer_of(path, *overrides), folder, stop_after=stop)
        trainer = resumed(path, overrides, folder)
        assert trainer.step == stop
        assert run_to_the_end(trainer, folder)
        assert differences(expected, trainer.state_dict()) == []
        assert records_of(folder) == lines


def test_a_run_stopped_after_every_step_has_the_same_bits(tmp_path: Path) -> None:
    whole = trainer_of(LABELED, EMA)
    run_to_the_end(whole, tmp_path / "whole")
    folder = tmp_path / "stopped"
    trainer = trainer_of(LABELED, EMA)
    for step in range(1, 14):
        run_to_the_end(trainer, folder, stop_after=step)
        trainer = resumed(LABELED, (EMA,), folder)
    assert differences(whole.state_dict(), trainer.state_dict()) == []
    assert records_of(folder) == records_of(tmp_path / "whole")


def test_a_killed_run_goes_on_from_its_last_checkpoint_and_writes_no_step_twice(tmp_path: Path) -> None:
    whole = trainer_of(TINY)
    run_to_the_end(whole, tmp_path / "whole")
    folder = tmp_path / "killed"
    run_to_the_end(trainer_of(TINY), folder, stop_after=4)
    trainer = resumed(TINY, (), folder)

    def killed() -> bool:
        if trainer.step == 11:
            raise KeyboardInterrupt  # after the lines of step 5 and 10, without a new checkpoint
        return False

    with pytest.raises(KeyboardInterrupt):
        fit(trainer, folder, stop=killed, log_every=5)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 11, "epo')  # a line that was cut off
    trainer = resumed(TINY, (), folder)
    assert trainer.step == 4
    run_to_the_end(trainer, folder)
    assert differences(whole.state_dict(), trainer.state_dict()) == []
    assert records_of(folder) == records_of(tmp_path / "whole")


def test_lines_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    trainer = trainer_of(TINY)
    run_to_the_end(trainer, tmp_path)
    lines = records_of(tmp_path)
    assert [line["step"] for line in lines if "evaluation" not in line] == [5, 10, 13]
    assert [line["step"] for line in lines if "evaluation" in line] == [13]  # an epoch has 40 steps
    assert all(first["step"] <= second["step"] for first, second in itertools.pairwise(lines))


def test_a_finished_run_that_is_resumed_does_nothing(tmp_path: Path) -> None:
    whole = trainer_of(TINY)
    run_to_the_end(whole, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    trainer = resumed(TINY, (), tmp_path)
    assert run_to_the_end(trainer, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_longer_training_goes_on_with_the_same_run(tmp_path: Path) -> None:
    run_to_the_end(trainer_of(TINY), tmp_path)
    longer = resumed(TINY, ("training.steps=16",), tmp_path)
    assert run_to_the_end(longer, tmp_path)
    assert longer.step == 16
    whole = trainer_of(TINY, "training.steps=16")
    run_to_the_end(whole, tmp_path / "whole")
    assert differences(whole.model.state_dict(), longer.model.state_dict()) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("networks.encoder.layers.h.dropout=0.3",), "was made by another plan"),
        (("training.batch_size=41",), "was made by another plan"),
        (("data.seed=1",), "was made by another plan"),
        (("data.labeled.count=30",), "was made by another plan"),
    ],
)
def test_another_plan_cannot_resume(overrides: tuple[str, ...], message: str) -> None:
    state = trainer_of(TINY).state_dict()
    with pytest.raises(RunError, match=message):
        trainer_of(TINY, *overrides).load_state_dict(state)


def test_a_checkpoint_whose_plan_was_identified_by_its_text_says_so() -> None:
    state = trainer_of(TINY).state_dict() | {"plan": "f" * 64}
    with pytest.raises(
        RunError, match="cannot be resumed: it was written by an ammgraph that compares plans as printed"
    ):
        trainer_of(TINY).load_state_dict(state)


def test_another_precision_cannot_resume() -> None:
    state = trainer_of(TINY).state_dict()
    with pytest.raises(RunError, match="the run began in float32, not float64"):
        trainer_of(TINY, precision="float64").load_state_dict(state)


@pytest.mark.parametrize("key", ["model", "optimizers", "feed", "noise", "recorder", "step"])
def test_a_state_without_one_of_its_parts_is_refused(key: str) -> None:
    state = trainer_of(TINY).state_dict()
    del state[key]
    with pytest.raises(RunError, match="does not hold the state of this run"):
        trainer_of(TINY).load_state_dict(state)


def test_a_state_of_no_trainer_is_refused() -> None:
    with pytest.raises(RunError, match="another plan"):
        trainer_of(TINY).load_state_dict({"weights": torch.zeros(3)})
