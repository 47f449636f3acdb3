"""What a run shows: results with their protocol, progress in lines or as a bar, the command that goes on."""

import io
import signal
from pathlib import Path

import pytest
from tiny import ALTERNATING, LABELED, TINY, data_of, trainer_of

from ammgraph import api, cli
from ammgraph.commands import session
from ammgraph.commands.train_options import TrainOptions
from ammgraph.evaluation.evaluate import evaluate
from ammgraph.evaluation.results import Evaluation, Result, lines
from ammgraph.runs.run import spec_text
from ammgraph.spec.load import load_spec
from ammgraph.train.trainer import fit


def asked(*words: str) -> TrainOptions:
    _, options = cli.parsed(["train", *words])
    assert isinstance(options, TrainOptions)
    return options


def test_published_numbers_stand_beside_the_runs_own(tmp_path: Path) -> None:
    numbers = (
        "published=[{metric: clustering_error, value: 3.32, std: 0.39, source: Table 1},"
        " {metric: nmi, value: 0.9, unit: fraction, source: elsewhere}]"
    )
    result = Result("nmi", "y", 0.5, "", 50, "train", "posterior", "q(y|x)")
    found = Evaluation("tiny", "tiny", "abc", 0, 3, "last", "digits", "train", (result,))
    (tmp_path / "spec.json").write_bytes(spec_text(load_spec(TINY, (numbers,)).written))
    assert session.score_lines(tmp_path, found) == [
        *lines(found),
        "published:",
        "  clustering error 3.32 +- 0.39 % (Table 1)",
        "  NMI 0.9 (elsewhere)",
    ]
    (tmp_path / "spec.json").write_bytes(spec_text(load_spec(TINY).written))
    assert session.score_lines(tmp_path, found) == lines(found)


def test_a_clock() -> None:
    assert [session.clock(seconds) for seconds in (0, 59.4, 59.6, 3599, 3600, 36061)] == [
        "0:00",
        "0:59",
        "1:00",
        "59:59",
        "1:00:00",
        "10:01:01",
    ]


@pytest.mark.parametrize(("path", "overrides"), [(TINY, ()), (TINY, (ALTERNATING,)), (LABELED, ())])
@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_shown_on_a_terminal_and_in_a_file(
    path: Path, overrides: tuple[str, ...], terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    it = trainer_of(path, *overrides)
    with session._display(it, tmp_path) as show:
        fit(it, tmp_path, evaluate=lambda model: evaluate(model, it.plan, data_of(path).train), report=show)
    text = screen.getvalue()
    games = [game.name for game in it.plan.games]
    assert all(f"{game}: D " in text for game in games)
    assert "examples/s" in text
    assert "entropy" in text
    assert ("13/13" in text) == terminal or "step 13/13" in text
    measure = "y/classification_error" if path == LABELED else "y/one_to_one_error"
    assert f"  epoch {it.epoch:.1f}: {measure} " in text
    assert ("y/components_in_use " in text) == (path == TINY)
    assert "(1,600 images)" in text
    if not terminal:
        assert "\x1b" not in text
        assert text.splitlines()[0].startswith(f"step 13/13  epoch {it.epoch:.1f}  ")
        assert text.splitlines()[0].endswith("0:00 left")


def test_a_first_signal_asks_and_a_second_stops_at_once() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with api.stop_signals() as received:
        assert received == []
        signal.raise_signal(signal.SIGTERM)
        assert received == [signal.SIGTERM]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a.yaml"], "ammgraph train --resume 'my run'"),
        (["a.yaml", "--set", "constants.K=3"], "ammgraph train --resume 'my run'"),  # it stands in spec.json
        (["a.yaml", "--device", "cpu"], "ammgraph train --resume 'my run' --device cpu"),
        (["--resume", "my run", "--set", "training.epochs=2 * 3"],
         "ammgraph train --resume 'my run' --set 'training.epochs=2 * 3'"),
    ],
)  # fmt: skip
def test_the_command_that_goes_on(arguments: list[str], expected: str) -> None:
    assert session._resume_command(Path("my run"), asked(*arguments)) == expected


def test_a_runs_spec_finds_its_data_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    for written, stored in (
        ("some/x.npz", str(tmp_path / "some" / "x.npz")),
        ("/data/x.npz", "/data/x.npz"),
        ("~/x.npz", "/home/someone/x.npz"),
    ):
        options = asked("a.yaml")
        spec = load_spec(TINY, [f"data={{dataset: npz, path: {written}}}"])
        found = api.self_contained(spec, session.new_settings(options, "a.yaml").data_dir)
        assert found["data"] == {"dataset": "npz", "path": stored}
        settings = session.new_settings(asked("a.yaml", "--data-dir", "folder"), "a.yaml")
        assert settings.data_dir == str(tmp_path / "folder")
        assert api.self_contained(spec, settings.data_dir)["data"]["path"] == written


def test_a_new_run_has_the_documented_defaults() -> None:
    settings = session.new_settings(asked("specs/a.yaml"), "specs/a.yaml")
    assert (settings.name, settings.seed, settings.precision) == ("a", 0, "float32")
    assert (settings.log_every, settings.checkpoint_seconds, settings.data_dir) == (50, 60.0, None)
    settings = session.new_settings(asked("a.yaml", "--checkpoint-seconds", "0"), "a.yaml")
    assert settings.checkpoint_seconds == 0
