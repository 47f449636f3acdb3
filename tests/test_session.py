"""What a run shows at its beginning and end: results with their protocol, the command that goes on."""

import signal
from pathlib import Path

import pytest
from tiny import TINY

from ammgraph import cli
from ammgraph.api import steps
from ammgraph.commands import session
from ammgraph.commands.train_options import TrainOptions
from ammgraph.evaluation.results import Evaluation, Result, lines
from ammgraph.runs.run import spec_text
from ammgraph.spec.load import load_spec


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


def test_a_first_signal_asks_and_a_second_stops_at_once() -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with steps.stop_signals() as received:
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
        found = steps.self_contained(spec, session.new_settings(options, "a.yaml").data_dir)
        assert found["data"] == {"dataset": "npz", "path": stored}
        settings = session.new_settings(asked("a.yaml", "--data-dir", "folder"), "a.yaml")
        assert settings.data_dir == str(tmp_path / "folder")
        assert steps.self_contained(spec, settings.data_dir)["data"]["path"] == written


def test_a_runs_spec_finds_what_its_networks_begin_as_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = load_spec(TINY, ["networks.encoder.from=runs/a/trunk"])
    for data_dir in (None, "/data"):
        found = steps.self_contained(spec, data_dir)
        assert found["networks"]["encoder"]["from"] == str(tmp_path / "runs" / "a" / "trunk")
        del found["networks"]["encoder"]["from"]
        assert found["networks"] == load_spec(TINY).written["networks"]


def test_a_new_run_has_the_documented_defaults() -> None:
    settings = session.new_settings(asked("specs/a.yaml"), "specs/a.yaml")
    assert (settings.name, settings.seed, settings.precision) == ("a", 0, "float32")
    assert (settings.log_every, settings.checkpoint_seconds, settings.data_dir) == (50, 60.0, None)
    settings = session.new_settings(asked("a.yaml", "--checkpoint-seconds", "0"), "a.yaml")
    assert settings.checkpoint_seconds == 0
