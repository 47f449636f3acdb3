"""The command that a run records trains the same run again, however the run was begun."""

import json
import shlex
from pathlib import Path

import pytest
from tiny import TINY, differences
from tiny_runs import Run, lines_of, state_of

import ammgraph as package

OVERRIDES = ("training.steps=2", "title=a 'quoted' title")
SETTINGS = [word for value in OVERRIDES for word in ("--set", value)]


def repeated(folder: Path, ammgraph: Run) -> str:
    """The command of a run, which trains the same again in another folder."""
    command = str(json.loads((folder / "run.json").read_text())["command"])
    first, *words = shlex.split(command)
    assert first == "ammgraph"
    before = set(Path("runs").glob("*"))
    code, _, err = ammgraph(*words)
    assert code == 0, err
    (again,) = set(Path("runs").glob("*")) - before
    assert differences(state_of(folder), state_of(again)) == []
    assert lines_of(folder) == lines_of(again)
    return command


def test_of_a_call_in_this_process(ammgraph: Run) -> None:
    words = ["train", str(TINY), *SETTINGS, "--seed", "3", "--log-every", "1"]
    assert ammgraph(*words)[0] == 0
    assert shlex.split(repeated(Path("runs/tiny-1"), ammgraph)) == ["ammgraph", *words]


def test_of_fit(ammgraph: Run) -> None:
    spec = package.load_spec(TINY, OVERRIDES)
    run = package.fit(spec, seed=3, precision="float64", log_every=1, device="cpu")
    assert "--seed 3 --precision float64 --log-every 1" in repeated(run.folder, ammgraph)


def test_of_each_trial_of_a_sweep(ammgraph: Run) -> None:
    pytest.importorskip("optuna", reason="a sweep needs Optuna: pip install 'ammgraph[sweep]'")
    Path("apart").mkdir()
    Path("apart/outside.yaml").write_text(f"extends: {TINY}\n")
    words = ["train", "apart/outside.yaml", *SETTINGS, "--allow-outside", "--precision", "float64", "--log-every", "1"]
    varied = ["--vary", "training.batch_size=40,50", "--metric", "reconstruction_error", "--trials", 1, "--seed", 3]
    code, _, err = ammgraph("sweep", *words[1:], *varied, "--run-dir", "s")
    assert code == 0, err
    found = shlex.split(repeated(Path("s/trial-0"), ammgraph))
    assert sorted(found[: len(words) + 1]) == sorted(["ammgraph", *words])


@pytest.mark.parametrize("device", ["auto", "cpu,cpu"])
def test_of_each_trial(device: str, ammgraph: Run) -> None:
    words = ["train", str(TINY), *SETTINGS, "--log-every", "1", "--device", device]
    assert ammgraph(*words, "--trials", 2, "--seed", 4, "--run-dir", "t")[0] == 0
    each = ["ammgraph", *words[:-2]]
    for seed in (4, 5):
        found = shlex.split(repeated(Path(f"t/seed-{seed}"), ammgraph))
        assert found == [*each, "--seed", str(seed), *(["--device", "cpu"] if device != "auto" else [])]
