"""Settings of every test, a command in this process, and a run."""

import gc
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ammgraph import cli
from ammgraph.formulas.objectives import OBJECTIVES
from ammgraph.layers.activations import ACTIVATIONS
from ammgraph.layers.operations import OPERATIONS

# A busy machine is slow, and a failure that nobody can repeat helps nobody.
settings.register_profile("ammgraph", deadline=None, derandomize=True)
settings.load_profile("ammgraph")
# Small tensors on shared cores: several threads wait for each other longer than they compute. Read when torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests started in the background, or under nohup, inherit ignored signals, which ammgraph would respect.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


# Modules with tests of many seconds each, which begin first, so that no core waits for the last of them.
LONG = ("test_readme", "test_many_gpus", "test_docs", "test_tools", "test_faults", "test_fuzz", "test_graphs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


def pytest_collection_finish() -> None:
    """What is imported stays to the end: Python need not look through it for cycles again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture(autouse=True)
def _nothing_stays_registered() -> Iterator[None]:
    """What a test adds to the language is gone after it."""
    before = [(table, dict(table)) for table in (ACTIVATIONS, OBJECTIVES, OPERATIONS)]
    yield
    for table, content in before:
        table.clear()
        table.update(content)


@pytest.fixture
def ammgraph(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One command in this process, in an empty folder: exit code, stdout, stderr. A `tiny_runs.Run`."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as error:  # argparse
            code = int(error.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 13 steps that came to its end; tests leave it as it is."""
    folder, spec = tmp_path_factory.mktemp("finished") / "run", Path(__file__).parent / "tiny.yaml"
    assert cli.main(["train", str(spec), "--run-dir", str(folder), "--log-every", "5", "--seed", "2"]) == 0
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to write in."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny import TINY  # torch, which must not load before the settings above
    from tiny_runs import make_run

    return make_run(tmp_path_factory.mktemp("runs") / "tiny", TINY)


@pytest.fixture(scope="session")
def labeled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny import LABELED
    from tiny_runs import make_run

    return make_run(tmp_path_factory.mktemp("runs") / "labeled", LABELED)


@pytest.fixture
def tiny_run(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy to write in."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "run"))


@pytest.fixture
def labeled_run(labeled_folder: Path, tmp_path: Path) -> Path:
    """A copy to write in."""
    return Path(shutil.copytree(labeled_folder, tmp_path / "labeled"))
