"""The commands that read runs: evaluate, report, compare, sample, encode; what they print, and what they refuse."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY, differences
from tiny_runs import Run, files_of, state_of

from ammgraph.evaluation import classifier, quality
from ammgraph.spec.faults import FAULTS

# ------------------------------------------------------------------------------------------------ evaluate


def test_evaluate_as_json(ammgraph: Run, finished: Path) -> None:
    before = files_of(finished)
    code, out, err = ammgraph("evaluate", finished, "--format", "json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["step"], found["split"], found["seed"]) == (13, "train", 2)
    assert {"clustering_error", "nmi", "reconstruction_error"} <= {result["name"] for result in found["results"]}
    assert all(result["examples"] == 1600 for result in found["results"])
    assert {finding["code"] for finding in found.pop("health")} <= set(FAULTS)
    assert found == json.loads((finished / "evaluation.json").read_text())
    assert files_of(finished) == before


def test_evaluate_of_another_split(ammgraph: Run, copied: Path) -> None:
    code, out, _ = ammgraph("evaluate", copied, "--split", "validation")
    assert code == 0
    assert out.startswith(f"{copied} at step 13\non 197 validation images:\n")


def test_an_evaluation_with_the_quality_of_samples(
    ammgraph: Run, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(quality, "QualityOptions", partial(quality.QualityOptions, count=40))
    monkeypatch.setattr(classifier, "STEPS", 20)
    assert "FID" not in ammgraph("evaluate", copied)[1]
    code, out, err = ammgraph("evaluate", copied, "--quality")
    assert (code, err) == (0, "")
    assert "  FID(classifier) of x" in out


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"width": 8', '"width": 7', "error["),
        ('"channels": 16', '"channels": 17', "are of another plan"),
        ('"validation": 197', '"validation": 198', "are of another plan"),
        ('"ammgraph": 1', '"ammgraph": 1,', "error[yaml-syntax]"),
    ],
)
def test_an_edited_spec_is_noticed_and_nothing_changed(
    before: str, after: str, message: str, ammgraph: Run, finished: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished, tmp_path / "edited")
    path = folder / "spec.json"
    path.write_text(path.read_text().replace(before, after, 1))
    files = files_of(folder)
    for arguments in (("evaluate", folder), ("train", "--resume", folder)):
        code, out, err = ammgraph(*arguments)
        assert (code, out) == (1, "")
        assert message in err
        assert "Traceback" not in err
    assert files_of(folder) == files


def test_averaged_weights_are_evaluated_where_the_spec_says_so(ammgraph: Run) -> None:
    more = ("--set", "training.ema={default: 0.5}", "--set", "evaluation.weights=ema")
    _, trained, _ = ammgraph("train", TINY, "--run-dir", "run", *more)
    assert trained.splitlines()[0].endswith(" %, on 1,600 training images, averaged weights")
    assert ammgraph("evaluate", "run")[1].startswith("run at step 13\non 1,600 training images, averaged weights:\n")
    state = state_of(Path("run"))
    assert differences(state["model"], state["averaged"])


# ------------------------------------------------------------------------------------------------ what is made of a run


VERBS_OF_A_RUN = (
    ("evaluate", "{run}"),
    ("report", "{run}", "--no-map"),
    ("compare", "{run}"),
    ("sample", "{run}"),
    ("encode", "{run}", "one.png"),
)


def test_report_prints_the_path_of_the_page(ammgraph: Run, copied: Path) -> None:
    code, out, err = ammgraph("report", copied, "--no-map", "--split", "validation")
    assert (code, out, err) == (0, f"{copied / 'report.html'}\n", "")
    page = (copied / "report.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "t-SNE" not in page


def test_compare_prints_a_table(ammgraph: Run, finished: Path, copied: Path) -> None:
    before = files_of(finished)
    code, out, err = ammgraph("compare", finished, copied)
    assert (code, err) == (0, "")
    head, warning, *_ = out.splitlines()
    assert head == "[1] tiny: 2 runs, seeds 2, 2; step 13; 1,600 training images"
    assert warning == "    warning: a seed occurs twice: these runs are no independent trials"
    assert out.endswith("\nmean +- standard deviation of the sample (n - 1)\n")
    assert files_of(finished) == before


def test_compare_as_json(ammgraph: Run, copied: Path) -> None:
    code, out, err = ammgraph("compare", copied, "--format", "json", "--split", "validation", "--again")
    assert (code, err) == (0, "")
    (group,) = json.loads(out)["groups"]
    assert [(run["folder"], run["split"]) for run in group["runs"]] == [(str(copied), "validation")]
    assert {measure["examples"] for measure in group["measures"]} == {197}


def test_compare_of_one_run_twice(ammgraph: Run, finished: Path) -> None:
    assert ammgraph("compare", finished, finished) == (
        1,
        "",
        f"error: {finished} is named twice; a run counts once\n",
    )


def test_sample_prints_the_path_of_the_images(ammgraph: Run, finished: Path) -> None:
    before = files_of(finished)
    assert ammgraph("sample", finished) == (0, "samples.png\n", "")
    with Image.open("samples.png") as image:
        assert image.size[1] == 10 * 34 - 2  # 8 x 8 pixels, each four wide
    more = ("--component", 3, "--count", 2, "--interpolate", 5, "--seed", 7, "--output", "line.npz")
    assert ammgraph("sample", finished, *more) == (0, "line.npz\n", "")
    with np.load("line.npz") as arrays:
        assert arrays["x"].shape == (10, 1, 8, 8)
        assert set(arrays["y"].tolist()) == {3}
    assert files_of(finished) == before


def test_encode_prints_the_path_of_the_table(ammgraph: Run, finished: Path) -> None:
    before = files_of(finished)
    Image.new("L", (8, 8)).save("one.png")
    assert ammgraph("encode", finished, "one.png") == (0, "encoded.csv\n", "")
    head, line = Path("encoded.csv").read_text().splitlines()
    assert head.startswith("image,y,y_posterior_0,")
    assert line.startswith("one.png,")
    assert ammgraph("encode", finished, "one.png", "--output", "one.npz") == (0, "one.npz\n", "")
    assert files_of(finished) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample", "{run}", "--component", 10), "there is no component 10: `y` has 10, from 0 to 9"),
        (("sample", "{run}", "--interpolate", 1), "`interpolate` is 1, expected at least 2"),
        (("sample", "{run}", "--output", "a.jpg"), "`a.jpg`: expected a name that ends in .png (a grid) or .npz (arr"),
        (("sample", "{run}", "--output", "no/a.png"), "cannot write no/a.png: there is no folder no"),
        (("encode", "{run}", "absent.png"), "there is no absent.png"),
        (("encode", "{run}", "big.png"), "the images are 1x9x9, but `x` is 1x8x8 (channels, height, width)"),
        (
            ("encode", "{run}", "big.png", "--output", "a.txt"),
            "`a.txt`: expected a name that ends in .npz, .csv or .par",
        ),
        (("evaluate", "{run}", "--weights", "a.pth"), "`--weights` serves `--quality`, which is not asked for"),
        (("evaluate", "{run}", "--quality", "--weights", "a.pth"), "cannot read"),
        (("evaluate", "{run}", "--inception"), "`--inception` serves `--quality`, which is not asked for"),
        (("evaluate", "{run}", "--quality", "--inception", "--weights", "a"), "`--weights` and `--inception` both say"),
        (("evaluate", "{run}", "--device", "cpu,cpu"), "`cpu,cpu` is no device; expected `auto`, `cpu`, `cuda` or"),
        *(
            ((verb, "{run}", "--split", "test"), "digits has no split `test` here, only `train`, `validation`: ")
            for verb in ("evaluate", "report", "compare")
        ),
    ],
)
def test_what_cannot_be_done_with_a_run_says_why(
    arguments: tuple[object, ...], message: str, ammgraph: Run, finished: Path
) -> None:
    before = files_of(finished)
    Image.new("L", (9, 9)).save("big.png")
    code, out, err = ammgraph(*(finished if word == "{run}" else word for word in arguments))
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {message}"), err
    assert len(err.splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == ["big.png"]
    assert files_of(finished) == before


@pytest.mark.parametrize("arguments", VERBS_OF_A_RUN, ids=lambda arguments: arguments[0])
def test_a_foreign_folder_is_no_run(arguments: tuple[str, ...], ammgraph: Run, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "run.json").write_text('{"steps": 3}')
    Image.new("L", (8, 8)).save("one.png")
    before = files_of(tmp_path)
    for folder, message in (
        (".", "error: . is no run directory: it has no run.json; of what lies in it foreign is one\n"),
        ("foreign", f"error: {Path('foreign/run.json')} is damaged: `name`: Field required\n"),
        ("one.png", "error: one.png is no run directory: it is a file\n"),
        ("foreign/run.json", "error: foreign/run.json is no run directory: it is a file; the folder foreign is one\n"),
        ("nowhere", "error: nowhere is no run directory: there is nothing of that name\n"),
    ):
        assert ammgraph(*(word.format(run=folder) for word in arguments)) == (1, "", message)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("arguments", VERBS_OF_A_RUN, ids=lambda arguments: arguments[0])
def test_every_verb_warns_of_a_damaged_checkpoint(arguments: tuple[str, ...], ammgraph: Run, copied: Path) -> None:
    newest = copied / "checkpoints" / "step-000000013.pt"
    for suffix in (".pt", ".sha256"):
        shutil.copy(newest.with_suffix(suffix), newest.with_name(f"step-000000014{suffix}"))
    damaged = newest.with_name("step-000000014.pt")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (copied / "evaluation.json").unlink()
    Image.new("L", (8, 8)).save("one.png")
    code, _, err = ammgraph(*(word.format(run=copied) for word in arguments))
    warning = "warning: step-000000014.pt is damaged: its checksum differs; an older checkpoint is used\n"
    assert (code, err) == (0, warning)


def test_torch_is_told_nothing_about_threads(ammgraph: Run) -> None:
    threads = torch.get_num_threads()
    ammgraph("train", TINY, "--set", "training.steps=1")
    assert torch.get_num_threads() == threads
