"""Loggers beside `metrics.jsonl`: each is given the same numbers, by its own library, without any network."""

import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import TINY
from tiny_runs import Run, lines_of

from ammgraph.commands.loggers import LOGGERS, Logged, Logger, Written, installed
from ammgraph.runs import record

SHORT = ("--log-every", 5, "--run-dir", "run")
MORE = ("--resume", "run", "--set", "training.steps=20", "--log-every", 5)
Numbers = dict[tuple[str, int], float]


def numbers_of(folder: Path) -> Numbers:
    """By name and step, what a run's lines hold beside vectors."""
    return {
        (name, line["step"]): value
        for line in record.read(folder / "metrics.jsonl")
        for name, value in {**line, **line.get("evaluation", {})}.items()
        if isinstance(value, int | float) and name != "step"
    }


def of_tensorboard(folder: Path) -> Numbers:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    return {(name, one.step): one.value for name in board.Tags()["scalars"] for one in board.Scalars(name)}


def of_mlflow(folder: Path) -> Numbers:
    from mlflow import MlflowClient

    client = MlflowClient()
    (experiment,) = [one for one in client.search_experiments() if one.name == "tiny"]
    (found,) = client.search_runs([experiment.experiment_id])  # what went on is the same run
    assert found.info.status == "FINISHED"
    assert (found.data.params["seed"], found.info.run_name) == ("0", "run")
    assert [one.path for one in client.list_artifacts(found.info.run_id)] == ["samples", "spec.json"]
    history = [client.get_metric_history(found.info.run_id, name) for name in found.data.metrics]
    return {(one.key, one.step): one.value for of_one in history for one in of_one}


def of_wandb(folder: Path) -> Numbers:
    """What lies in the files that `wandb sync` would send; sessions that went on have the same identity."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: Numbers = {}
    files = sorted((folder / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    assert len({file.stem for file in files}) == 1
    for content in (content for file in files for content in records_of(file.read_bytes())):
        one = Record.FromString(content)
        if one.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in one.history.item}
            step = items.get("_step", one.history.step.num)
            own = {name for name in items if not name.startswith(("_", "samples/"))}  # and what a picture is
            found |= {(name, step): items[name] for name in own}
    return found


def records_of(content: bytes) -> Iterator[bytes]:
    """The records of a log of LevelDB behind its head of seven bytes: blocks of 32 KiB, of parts with seven bytes each
    before them, checksum (4), length (2) and kind: whole, first, middle, last.
    """
    place, found = 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        found += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):
            yield found
            found = b""


def pictures_of_tensorboard(folder: Path) -> int:
    from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator

    board = EventAccumulator(str(folder / "tensorboard"), size_guidance={IMAGES: 0})
    board.Reload()
    assert board.Tags()["images"] == ["samples/x"]
    steps = [one.step for one in board.Images("samples/x")]
    assert steps == [int(path.stem.rpartition("-")[2]) for path in sorted((folder / "samples").iterdir())]
    return len(steps)


def pictures_of_mlflow(folder: Path) -> int:
    from mlflow import MlflowClient

    client = MlflowClient()
    (experiment,) = [one for one in client.search_experiments() if one.name == "tiny"]
    (found,) = client.search_runs([experiment.experiment_id])
    names = {Path(one.path).name for one in client.list_artifacts(found.info.run_id, "samples")}
    assert names == {path.name for path in (folder / "samples").iterdir()}
    return len(names)


def pictures_of_wandb(folder: Path) -> int:
    return len(list((folder / "wandb").glob("offline-run-*/files/media/images/samples/x_*.png")))


PICTURES: dict[str, Callable[[Path], int]] = {
    "tensorboard": pictures_of_tensorboard,
    "mlflow": pictures_of_mlflow,
    "wandb": pictures_of_wandb,
}
READERS: dict[str, Callable[[Path], Numbers]] = {
    "tensorboard": of_tensorboard,
    "mlflow": of_mlflow,
    "wandb": of_wandb,
}


@pytest.mark.parametrize("name", LOGGERS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_a_logger_is_given_every_number_and_goes_on_with_the_run(
    name: str, ammgraph: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed(name):
        pytest.skip(f"{LOGGERS[name].package} is not installed: pip install 'ammgraph[{name}]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    code, _, err = ammgraph("train", TINY, *SHORT, "--log", name)
    assert code == 0
    assert "is not written" not in err
    assert len(numbers_of(Path("run"))) > 40
    assert READERS[name](Path("run")) == pytest.approx(numbers_of(Path("run")))
    code, _, err = ammgraph("train", *MORE)  # it is not said again
    assert code == 0
    assert "is not written" not in err
    assert READERS[name](Path("run")) == pytest.approx(numbers_of(Path("run")))
    assert PICTURES[name](Path("run")) == len(list(Path("run/samples").iterdir())) > 1


# ------------------------------------------------------------------------------------------------ the table


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What two loggers are told that are entries of the table as any other."""
    told: list[Any] = []

    def begin(run: Logged) -> Written:
        told.append(("begin", run.step, run.known_as))
        return Written(lambda numbers, step: told.append((step, sorted(numbers))), lambda: told.append("close"), "me")

    def broken(run: Logged) -> Written:
        def write(*_: object) -> None:
            told.append("broken")
            raise ConnectionError("no network")

        return Written(write, lambda: None)

    monkeypatch.setitem(LOGGERS, "list", Logger("json", "json", begin))
    monkeypatch.setitem(LOGGERS, "broken", Logger("json", "json", broken))
    return told


def test_a_logger_is_one_entry_of_a_table(ammgraph: Run, written: list[Any]) -> None:
    assert ammgraph("train", TINY, *SHORT, "--log", "list")[0] == 0
    begin, *lines, close = written
    assert (begin, close) == (("begin", 0, ""), "close")
    assert [step for step, _ in lines] == [line["step"] for line in lines_of(Path("run"))]
    assert all("joint/discriminator" in names for _, names in lines[:-1])
    assert "x/reconstruction_error" in lines[-1][1]
    assert json.loads(Path("run/logged.json").read_text()) == {"list": "me"}
    written.clear()
    assert ammgraph("train", *MORE)[0] == 0
    assert written[0] == ("begin", 13, "me")
    written.clear()
    assert ammgraph("train", "--resume", "run", "--set", "training.steps=25", "--log", "none")[0] == 0
    assert ammgraph("train", "--resume", "run", "--set", "training.steps=30")[0] == 0
    assert written == []


def test_a_logger_that_fails_is_told_once_and_ends_no_run(ammgraph: Run, written: list[Any]) -> None:
    code, _, err = ammgraph("train", TINY, *SHORT, "--log", "broken,list")
    assert code == 0
    assert err.count("warning: broken is not written any more: no network\n") == 1
    assert written.count("broken") == 1
    assert written[-1] == "close"
    assert len(lines_of(Path("run"))) == 4


def test_what_is_not_installed_is_told_before_anything_is_trained(
    ammgraph: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOGGERS, "mlflow", Logger("no_such_module", "mlflow-skinny", LOGGERS["mlflow"].begin))
    code, out, err = ammgraph("train", TINY, *SHORT, "--log", "mlflow")
    assert (code, out) == (1, "")
    assert err == "error: `--log mlflow` needs mlflow-skinny: pip install 'ammgraph[mlflow]'\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_logger_is_a_wrong_usage(ammgraph: Run) -> None:
    code, _, err = ammgraph("train", TINY, "--log", "tensorbord")
    assert code == 2
    assert "`tensorbord` is no logger: expected some of tensorboard, mlflow, wandb, with commas, or none" in err
    assert "did you mean `tensorboard`?" in err
    code, _, err = ammgraph("train", TINY, "--log", "tensorboard,none")
    assert code == 2
    assert (
        "`tensorboard,none`: `none` stands alone; expected none, or some of tensorboard, mlflow, wandb, with commas"
        in err
    )


def test_a_logger_that_cannot_begin_is_told_as_one_that_is_not_written_with_what_helps(
    ammgraph: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(_: Logged) -> Written:
        raise PermissionError("no key")

    monkeypatch.setitem(LOGGERS, "locked", Logger("json", "json", begin, "`KEY=none` does without"))
    code, _, err = ammgraph("train", TINY, *SHORT, "--log", "locked")
    assert code == 0
    assert "warning: locked is not written: no key; `KEY=none` does without\n" in err
    assert "any more" not in err
    assert "WANDB_MODE=offline" in LOGGERS["wandb"].otherwise


def test_no_logger_is_loaded_before_it_is_asked_for(ammgraph: Run) -> None:
    before = set(sys.modules)
    assert ammgraph("train", TINY, *SHORT, "--log", "none")[0] == 0
    assert not {"mlflow", "wandb", "tensorboard"} & (set(sys.modules) - before)
