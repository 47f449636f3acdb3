"""What the page says of how a run came about: what differs from the shipped spec, and whether the run has ended."""

import shutil
from pathlib import Path

from shown import run_of, write_spec
from tiny import HERE, TINY
from tiny_runs import Run, make_run

from ammgraph.evaluation.loading import load_run
from ammgraph.report.run_section import changes_of_shipped, unfinished
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


def test_the_page_of_a_run_of_ones_own_that_has_ended_tells_neither(tmp_path: Path, ammgraph: Run) -> None:
    folder = run_of(tmp_path, write_spec(tmp_path, "ali"))
    assert ammgraph("report", folder, "--no-map")[0] == 0
    text = (folder / "report.html").read_text()
    assert "not finished" not in text
    assert "as it ships" not in text
