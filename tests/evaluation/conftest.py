"""Trained tiny runs, made once."""

import shutil
from pathlib import Path

import pytest
from tiny import LABELED, TINY
from tiny_runs import make_run


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "tiny", TINY)


@pytest.fixture(scope="session")
def labeled_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "labeled", LABELED)


@pytest.fixture
def tiny_run(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy to write in."""
    return Path(shutil.copytree(tiny_folder, tmp_path / "run"))


@pytest.fixture
def labeled_run(labeled_folder: Path, tmp_path: Path) -> Path:
    """A copy to write in."""
    return Path(shutil.copytree(labeled_folder, tmp_path / "labeled"))
