"""A folder of trials serves wherever a run does: all of them where numbers are asked for, the first for images."""

import json
import os
import re
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import TINY
from tiny_runs import Run

from ammgraph import cli

READOUT = "clustering error of y, one-to-one"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trials of three: the last one was stopped before its first checkpoint."""
    folder = tmp_path_factory.mktemp("trials") / "t"
    words = ("train", TINY, "--trials", 3, "--run-dir", folder, "--set", "training.steps=3")
    assert cli.main([str(word) for word in words]) == 0
    for path in (*(folder / "seed-2" / "checkpoints").iterdir(), folder / "seed-2" / "evaluation.json"):
        path.unlink()
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy, named `t` from where commands run."""
    return Path(os.path.relpath(shutil.copytree(trained, tmp_path / "t"), tmp_path))


PASSED_OVER = (
    "passed over seed-2 of t: it was stopped before the first checkpoint; go on with `ammgraph train --resume t`\n"
)
FIRST = "t holds 3 trials: this is of t/seed-0; name another for its own\n"


def errors(folder: Path) -> list[float]:
    """The readout's error in each trial, in percent."""
    found = [json.loads((folder / f"seed-{seed}" / "evaluation.json").read_text())["results"] for seed in (0, 1)]
    wanted = ("clustering_error", "posterior", "one-to-one", "train")
    keys = ("name", "rule", "protocol", "fitted_on")
    return [100 * next(r["value"] for r in of if tuple(r.get(key) for key in keys) == wanted) for of in found]


def test_evaluate_shows_every_trial_and_the_mean(ammgraph: Run, folder: Path) -> None:
    code, out, err = ammgraph("evaluate", folder)
    assert (code, err) == (0, PASSED_OVER)
    values = errors(folder)
    shown = re.findall(rf"^{READOUT}, by q\(y\|x\)  ([\d.]+) %, on 1,600 training images$", out, re.MULTILINE)
    assert shown == [f"{value:.2f}" for value in values]
    assert [line for line in out.splitlines() if line.startswith("run: ")] == ["run: t/seed-0", "run: t/seed-1"]
    mean, std = statistics.fmean(values), statistics.stdev(values)
    assert re.search(rf"^{READOUT}  +posterior  +{mean:.2f} \+- {std:.2f} %$", out, re.MULTILINE)


def test_evaluate_as_json_has_every_trial_and_the_comparison(ammgraph: Run, folder: Path) -> None:
    code, out, _ = ammgraph("evaluate", folder, "--format", "json")
    content = json.loads(out)
    assert code == 0
    assert [run["seed"] for run in content["runs"]] == [0, 1]
    assert all(run["health"] for run in content["runs"])
    assert [run["folder"] for run in content["comparison"]["groups"][0]["runs"]] == ["t/seed-0", "t/seed-1"]


def test_report_writes_a_page_of_each_trial_and_one_of_all(ammgraph: Run, folder: Path) -> None:
    code, out, err = ammgraph("report", folder, "--no-map")
    assert (code, out, err) == (0, "t/seed-0/report.html\nt/seed-1/report.html\nt/report.html\n", PASSED_OVER)
    page = (folder / "report.html").read_text()
    values = errors(folder)
    assert f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f} %" in page
    assert all(f"<td>{value:.2f} %</td>" in page for value in values)
    links = re.findall(r'<a href="(.*?)">', page)
    assert links == ["seed-0/report.html", "seed-1/report.html"]
    assert all((folder / link).is_file() for link in links)
    assert ammgraph("report", folder, "--no-map")[0] == 0  # it knows its own page again
    (folder / "report.html").write_text("mine")
    assert ammgraph("report", folder, "--no-map")[0] == 1
    assert (folder / "report.html").read_text() == "mine"


def test_compare_takes_trials_beside_runs_and_passes_over_what_is_none(
    ammgraph: Run, folder: Path, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    code, out, err = ammgraph("compare", folder, finished, "notes.txt")
    assert code == 0
    assert err == f"{PASSED_OVER}passed over: notes.txt is no run directory: it is a file\n"
    heads = [line for line in out.split("\n\n")[0].split("\n")]
    assert heads == [
        "[1] tiny: 2 runs, seeds 0, 1; step 3; 1,600 training images",
        "    t/seed-0: training.steps=3",
        "[2] tiny: 1 run, seed 2; step 13; 1,600 training images",
        f"    {finished}: training.steps=13",
    ]
    (each,) = re.findall(r"^\[1\] each run, seeds 0, 1\n(.*)", out, re.MULTILINE)
    assert each.startswith(READOUT)
    assert [word for word in each.split() if word != "%"][-2:] == [f"{value:.2f}" for value in errors(folder)]
    assert ammgraph("compare", "notes.txt", ".") == (
        1,
        "",
        "error: notes.txt is no run directory: it is a file\n",
    )


def test_compare_passes_over_a_damaged_run_beside_another(ammgraph: Run, folder: Path, finished: Path) -> None:
    for name, said in (("run.json", "damaged"), ("spec.json", "damaged"), ("evaluation.json", "damaged")):
        broken = Path(shutil.copytree(finished, f"broken-{name}"))
        (broken / name).write_text("{")
        code, out, err = ammgraph("compare", broken, finished)
        assert code == 0
        assert err.startswith(f"passed over: {broken / name} is ")
        assert said in err
        assert out.startswith("[1] tiny: 1 run, seed 2; step 13;")
        code, out, err = ammgraph("compare", broken)
        assert (code, out) == (1, "")


def test_images_are_of_the_first_trial_which_is_told(ammgraph: Run, folder: Path) -> None:
    for words, written in (
        (("sample", folder, "--output", "all.npz"), "all.npz\n"),
        (("sample", folder / "seed-0", "--output", "first.npz"), "first.npz\n"),
        (("sample", folder / "seed-1", "--output", "second.npz"), "second.npz\n"),
    ):
        code, out, err = ammgraph(*words)
        assert (code, out, err) == (0, written, FIRST if words[1] == folder else "")
    images = {name: np.load(f"{name}.npz")["x"] for name in ("all", "first", "second")}
    assert (images["all"] == images["first"]).all()
    assert (images["all"] != images["second"]).any()
    Image.new("L", (8, 8)).save("one.png")
    assert ammgraph("encode", folder, "one.png") == (0, "encoded.csv\n", FIRST)
    code, out, err = ammgraph("export", folder)
    assert (code, err) == (0, FIRST)
    assert all(Path(line).parent == folder / "seed-0" / "export" for line in out.splitlines())


@pytest.mark.parametrize("verb", ["evaluate", "report", "compare", "sample", "export"])
def test_trials_that_have_not_begun_are_told_as_that(verb: str, ammgraph: Run, folder: Path) -> None:
    for seed in (0, 1):
        shutil.rmtree(folder / f"seed-{seed}")
    assert ammgraph(verb, folder) == (
        1,
        "",
        "error: t holds trials, of which none has anything to show yet; `ammgraph train --resume t` trains them\n",
    )
