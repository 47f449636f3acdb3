"""What the page says of how a run came about: what differs from the shipped spec, and whether the run has ended."""

import shutil
from pathlib import Path

import pytest
from shown import run_of, write_spec
from tiny import HERE, TINY
from tiny_runs import Run, make_run

from ammgraph.evaluation.loading import load_run
from ammgraph.folders import tried_folder
from ammgraph.report.run_section import changes_of_shipped, unfinished
from ammgraph.runs import divergence, files
from ammgraph.runs.run import RunOptions, options_text
from ammgraph.runs.sweeps import Sweep, Tried, write_tried
from ammgraph.spec.shipped import shipped_specs

DIGITS = shipped_specs()["amm_digits"]


def test_what_differs_from_the_shipped_spec_is_what_diff_says(tmp_path: Path, ammgraph: Run) -> None:
    folder = make_run(tmp_path / "run", DIGITS, "training.epochs=5", "constants.K=12")
    found = changes_of_shipped(load_run(folder, HERE))
    assert "~ variable y: categorical(10) -> categorical(12)" in found
    assert "~ training: epochs 100 -> 5" in found
    code, out, err = ammgraph("diff", "amm_digits", folder)
    assert (code, out.splitlines()) == (0, found), err


def test_nothing_differs_where_the_spec_is_the_shipped_one_or_none_has_its_name(tmp_path: Path) -> None:
    assert changes_of_shipped(load_run(make_run(tmp_path / "run", DIGITS), HERE)) == []
    mine = shutil.copy(DIGITS, tmp_path / "mine.yaml")
    folder = make_run(tmp_path / "other", Path(mine), "training.epochs=5")
    assert changes_of_shipped(load_run(folder, HERE)) == []


def test_an_interrupted_run_says_at_which_step_of_how_many_and_how_to_go_on(tmp_path: Path) -> None:
    # 1,797 digits in batches of 100 are 17 steps an epoch
    folder = make_run(tmp_path / "my run", DIGITS, "training.epochs=100", "training.batch_size=100", steps=16)
    found = unfinished(load_run(folder, HERE))
    assert found is not None
    assert (found.step, found.last) == (16, 1700)
    assert found.resume == f"ammgraph train --resume '{folder}'"


def test_a_run_that_has_ended_is_not_unfinished(tmp_path: Path) -> None:
    folder = run_of(tmp_path, write_spec(tmp_path, "ali"))
    assert unfinished(load_run(folder, HERE)) is None


def test_a_run_that_has_ended_is_not_unfinished_though_an_earlier_step_was_best(tmp_path: Path) -> None:
    keep = ("evaluation.keep=best reconstruction_error", "evaluation.every_epochs=1")
    folder = make_run(tmp_path / "run", TINY, "training.steps=3", *keep)
    (folder / "best").mkdir()
    for name in ("step-000000002.pt", "step-000000002.sha256"):
        shutil.copy(folder / "checkpoints" / name, folder / "best")
    loaded = load_run(folder, HERE)
    assert (loaded.state, loaded.step) == (folder / "best", 2)
    assert unfinished(loaded) is None


def test_the_page_tells_both(tmp_path: Path, ammgraph: Run) -> None:
    folder = make_run(tmp_path / "run", DIGITS, "training.epochs=5")
    assert ammgraph("report", folder, "--no-map")[0] == 0
    head, _, rest = (folder / "report.html").read_text().partition("</header>")
    assert f"<p>Step 3 of 85: not finished. <code>ammgraph train --resume {folder}</code> goes on.</p>" in head
    assert "<details><summary>What differs from amm_digits as it ships</summary>" in rest
    assert "~ training: epochs 100 -&gt; 5\n" in rest
    divergence.keep(folder, "the loss is nan at step 4; lower `training.optimizers.default.learning_rate`")
    assert ammgraph("report", folder, "--no-map")[0] == 0
    head = (folder / "report.html").read_text().partition("</header>")[0]
    assert "Step 3 of 85: the loss is nan at step 4; lower `training.optimizers.default.learning_rate`." in head
    assert "goes on" not in head


def test_beside_the_title_stands_what_was_set(tmp_path: Path, ammgraph: Run) -> None:
    folder = make_run(tmp_path / "run", DIGITS, "constants.K=12", "training.epochs=5", "data.seed=3")
    assert ammgraph("report", folder, "--no-map")[0] == 0
    head = (folder / "report.html").read_text().partition("</header>")[0]
    assert "<h1>AMM on digits, K = 10</h1>\n<p>with <code>constants.K=12</code>, <code>data.seed=3</code></p>" in head


def swept(folder: Path, one: Tried) -> Path:
    """A trial of a sweep that stands at step 3 of 13, and what the sweep says of it."""
    options = RunOptions("tiny", 0, "float32", None, 50, 60.0, "ammgraph sweep tiny.yaml")
    sweep = Sweep(("a=1..4",), "x/reconstruction_error", "lower", 9, True, "study", None, None, options)
    trial = make_run(tried_folder(folder, 3), TINY)
    files.write(folder / "sweep.json", options_text(sweep))
    write_tried(folder, (Tried(2, (2,), "pruned", 0.5, ((1, 0.5),)), one))
    return trial


def test_a_trial_that_a_sweep_has_pruned_says_so_at_which_step_and_why(tmp_path: Path, ammgraph: Run) -> None:
    trial = swept(tmp_path / "my sweep", Tried(3, (4,), "pruned", 0.25, ((1, 0.5), (2, 0.25))))
    assert ammgraph("report", trial, "--no-map")[0] == 0
    page = (trial / "report.html").read_text()
    assert (
        "<p>Step 3 of 13: pruned by the sweep my sweep at look 2, where its reconstruction error of x was 0.25, worse "
        f"than half of the trials before it. <code>ammgraph report &#39;{tmp_path / 'my sweep'}&#39;</code> shows all "
        "trials.</p>"
    ) in page
    assert "not finished" not in page


@pytest.mark.parametrize("one", [Tried(3, (4,), "begun", None), Tried(4, (4,), "pruned", 0.25, ((2, 0.25),))])
def test_a_trial_that_was_stopped_is_unfinished_as_any_run(one: Tried, tmp_path: Path) -> None:
    found = unfinished(load_run(swept(tmp_path / "s", one), HERE))
    assert found is not None
    assert found.pruned == found.sweep == ""


def test_the_page_of_a_run_of_ones_own_that_has_ended_tells_neither(tmp_path: Path, ammgraph: Run) -> None:
    folder = run_of(tmp_path, write_spec(tmp_path, "ali"))
    assert ammgraph("report", folder, "--no-map")[0] == 0
    text = (folder / "report.html").read_text()
    assert "not finished" not in text
    assert "as it ships" not in text
