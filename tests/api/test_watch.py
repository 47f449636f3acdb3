"""Callbacks of a training: when they are called, with what, and that they change no bit."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import TINY, differences
from tiny_runs import lines_of, state_of

import ammgraph
from ammgraph.runs import checkpoint


def test_they_are_called_after_every_step_and_evaluation(tmp_path: Path) -> None:
    told: list[tuple[object, ...]] = []
    spec = ammgraph.load_spec(TINY, ["training.steps=3", "evaluation.every_epochs=0.05"])  # two of 40 steps
    run = ammgraph.fit(
        spec,
        run_dir=tmp_path / "run",
        after_step=lambda state: told.append(("step", state.step, round(state.epoch, 3))),
        after_evaluation=lambda state, found: told.append(("evaluation", state.step, "y/nmi" in found)),
    )
    assert told == [
        ("step", 1, 0.025),
        ("evaluation", 2, True),
        ("step", 2, 0.05),
        ("evaluation", 3, True),
        ("step", 3, 0.075),
    ]
    assert run.folder == tmp_path / "run"


def test_a_training_is_stopped_saved_and_resumed_with_the_same_bits(tmp_path: Path) -> None:
    stopped = ammgraph.fit(TINY, run_dir=tmp_path / "a", stop=lambda state: state.step == 5)
    assert state_of(stopped.folder)["step"] == 5
    seen: list[int] = []
    stopped.resume(after_step=lambda state: seen.append(state.step))
    assert seen == list(range(6, 14))
    straight = ammgraph.fit(TINY, run_dir=tmp_path / "b")
    assert differences(state_of(stopped.folder), state_of(straight.folder)) == []


def test_asking_the_model_changes_no_bit(tmp_path: Path) -> None:
    found: list[torch.Tensor] = []

    def look(state: ammgraph.api.watch.State) -> None:
        assert state.folder == tmp_path / "a"
        found.append(state.model.infer(torch.zeros(1, 1, 8, 8))["z"])
        state.model.generate(2, y=1, seed=0)

    watched = ammgraph.fit(TINY, run_dir=tmp_path / "a", after_step=look)
    straight = ammgraph.fit(TINY, run_dir=tmp_path / "b")
    assert differences(state_of(watched.folder), state_of(straight.folder)) == []
    assert not torch.equal(found[0], found[-1])


@pytest.mark.parametrize("when", ["after_step", "after_evaluation"])
def test_an_interrupt_of_the_last_step_reaches_the_caller_of_a_run_that_is_whole(when: str, tmp_path: Path) -> None:
    def interrupt(state: ammgraph.api.watch.State, *_: object) -> None:
        if state.step == 3:
            signal.raise_signal(signal.SIGINT)

    spec = ammgraph.load_spec(TINY, ["training.steps=3"])
    with pytest.raises(KeyboardInterrupt, match=r"trained to its end, step 3: ammgraph\.Run"):
        ammgraph.fit(spec, run_dir=tmp_path / "a", **{when: interrupt})  # type: ignore[arg-type]
    straight = ammgraph.fit(spec, run_dir=tmp_path / "b")
    assert differences(state_of(tmp_path / "a"), state_of(straight.folder)) == []
    assert lines_of(tmp_path / "a") == lines_of(straight.folder)


def test_an_interrupt_before_the_end_says_how_to_go_on(tmp_path: Path) -> None:
    def interrupt(state: ammgraph.api.watch.State) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"saved at step 1; go on with ammgraph.Run\(.*\).resume\(\)"):
        ammgraph.fit(TINY, run_dir=tmp_path / "a", after_step=interrupt)
    assert state_of(tmp_path / "a")["step"] == 1


class Mine(Exception):
    """What only the caller knows, as Optuna's `TrialPruned`."""


def raising_at(step: int, told: list[int], kind: type[BaseException] = Mine) -> Callable[..., None]:
    def callback(state: ammgraph.api.watch.State, *_: object) -> None:
        told.append(state.step)
        if state.step == step:
            raise kind(f"at {step}")

    return callback


@pytest.mark.parametrize("when", ["after_step", "after_evaluation", "stop"])
@pytest.mark.parametrize(("step", "kind"), [(2, Mine), (3, Mine), (2, KeyboardInterrupt), (3, SystemExit)])
def test_an_exception_of_a_callback_goes_on_after_the_run_is_saved(
    when: str, step: int, kind: type[BaseException], tmp_path: Path
) -> None:
    spec = ammgraph.load_spec(TINY, ["training.steps=3", "evaluation.every_epochs=0.05"])  # looks at steps 2 and 3
    told: list[int] = []
    with pytest.raises(kind, match=f"^at {step}$"):
        ammgraph.fit(spec, run_dir=tmp_path / "a", **{when: raising_at(step, told, kind)})  # type: ignore[arg-type]
    assert told[-1] == step
    assert state_of(tmp_path / "a")["step"] == step
    resumed, straight = ammgraph.Run(tmp_path / "a").resume(), ammgraph.fit(spec, run_dir=tmp_path / "b")
    assert differences(state_of(resumed.folder), state_of(straight.folder)) == []
    assert lines_of(resumed.folder) == lines_of(straight.folder)


def test_an_exception_of_a_report_keeps_no_look_of_its_step_from_being_written(tmp_path: Path) -> None:
    def report(line: dict[str, object]) -> None:
        raise Mine(f"at {line['step']}")

    spec = ammgraph.load_spec(TINY, ["training.steps=3"])
    with pytest.raises(Mine, match=r"^at 3$"):
        ammgraph.fit(spec, run_dir=tmp_path / "a", report=report)
    assert lines_of(tmp_path / "a") == lines_of(ammgraph.fit(spec, run_dir=tmp_path / "b").folder)


def test_what_keeps_a_run_from_being_saved_is_said_beside_the_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ammgraph.RunError("the disk is full")

    monkeypatch.setattr(checkpoint, "save", refuse)
    with pytest.raises(Mine) as raised:
        ammgraph.fit(TINY, run_dir=tmp_path / "a", after_step=raising_at(1, []))
    assert raised.value.__notes__ == ["the disk is full; no checkpoint was written yet"]
