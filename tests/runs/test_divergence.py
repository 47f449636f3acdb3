"""That a run has diverged is kept until it goes on."""

from pathlib import Path

from tiny import TINY
from tiny_runs import Run

from ammgraph.api.run import compare
from ammgraph.runs import divergence


def test_what_was_kept_is_told_on_a_line_until_it_is_forgotten(tmp_path: Path) -> None:
    assert divergence.told(tmp_path) == ""
    divergence.keep(tmp_path, "`h` is inf;\nlower `x`")
    assert divergence.told(tmp_path) == "`h` is inf; lower `x`"
    divergence.forget(tmp_path)
    divergence.forget(tmp_path)
    assert divergence.told(tmp_path) == ""


def test_a_folder_that_cannot_be_written_says_nothing(tmp_path: Path) -> None:
    divergence.keep(tmp_path / "absent", "`h` is inf")
    divergence.forget(tmp_path / "absent")
    assert divergence.told(tmp_path / "absent") == ""


def test_a_single_run_that_has_diverged_is_told_as_such(ammgraph: Run) -> None:
    huge = "training.optimizers.default.learning_rate=1e30"
    code, _, first = ammgraph("train", TINY, "--run-dir", "run", "--set", huge)
    assert code == 1
    told = divergence.told(Path("run"))
    where, _, advice = told.partition("; ")
    assert first.endswith(f"error: {where}; no checkpoint was written yet; {advice}\n")
    assert ammgraph("evaluate", "run") == (1, "", f"error: no usable checkpoint in run/checkpoints: {told}\n")


def test_a_trial_that_has_diverged_later_is_shown_at_its_last_good_checkpoint(ammgraph: Run) -> None:
    assert ammgraph("train", TINY, "--trials", 2, "--run-dir", "t", "--set", "training.steps=2")[0] == 0
    divergence.keep(Path("t/seed-1"), "`h` is inf")
    told = "t/seed-1 is shown at its last good checkpoint: `h` is inf"
    for form in ("text", "json", "latex", "markdown", "html"):
        code, out, err = ammgraph("compare", "t", "--format", form)
        assert (code, err, out.replace("<code>", "`").replace("</code>", "`").count(told)) == (0, "", 1), form
    warned = f"warning: tiny: {told}\n"
    assert ammgraph("compare", "t", "--format", "csv")[::2] == (0, warned)
    assert ammgraph("compare", "--summary", "t")[::2] == (0, warned)
    assert compare("t").to_dict()["groups"][0]["warnings"] == [told]
    assert ammgraph("evaluate", "t")[::2] == (0, "shown at its last good checkpoint, t/seed-1: `h` is inf\n")


def test_it_is_told_too_where_its_folder_is_named_alone(ammgraph: Run) -> None:
    assert ammgraph("train", TINY, "--trials", 2, "--run-dir", "t", "--set", "training.steps=2")[0] == 0
    divergence.keep(Path("t/seed-0"), "`h` is inf")
    told = "shown at its last good checkpoint, t/seed-0: `h` is inf\n"
    code, out, err = ammgraph("compare", "t/seed-0", "t/seed-1")
    assert (code, err) == (0, "")
    assert "warning: t/seed-0 is shown at its last good checkpoint: `h` is inf" in out
    assert ammgraph("evaluate", "t/seed-0")[::2] == (0, told)
    assert ammgraph("sample", "t", "--output", "t.png")[2].endswith(told)  # the first of the trials
    assert ammgraph("evaluate", "t/seed-1")[::2] == (0, "")
