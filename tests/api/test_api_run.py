"""A run in Python: it is asked as the commands ask it, and shows itself in a notebook."""

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from tiny import TINY
from tiny_runs import lines_of

import ammgraph
from ammgraph.cli import main

SHORT = ("training.steps=3",)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ammgraph.Run:
    run = ammgraph.fit(ammgraph.load_spec(TINY, SHORT), run_dir=tmp_path_factory.mktemp("api") / "run", log_every=2)
    run.evaluate(device="cpu")
    return run


def command(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def test_a_run_is_its_folder() -> None:
    assert ammgraph.Run("a/b") == ammgraph.Run(Path("a/b"))
    assert repr(ammgraph.Run("a/b")) == "Run('a/b')"


def test_a_run_is_found_from_any_folder(run: ammgraph.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.folder.parent)
    there = ammgraph.Run("run")
    assert there.folder == Path("run")
    assert there == run
    monkeypatch.chdir(tmp_path)
    assert there.folder == run.folder
    assert there.spec.training.steps == 3
    assert there == run != ammgraph.Run("run")


def test_samples_are_those_of_the_command_and_nothing_is_written_unasked(
    run: ammgraph.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    samples = run.sample(component=3, count=4, seed=7, device="cpu")
    assert samples.images.shape == (4, 1, 8, 8)
    assert list(tmp_path.iterdir()) == []
    assert samples.save() == Path("samples.png")
    command(
        capsys,
        "sample",
        run.folder,
        "--component",
        3,
        "--count",
        4,
        "--seed",
        7,
        "--output",
        "b.png",
        "--device",
        "cpu",
    )
    assert Path("samples.png").read_bytes() == Path("b.png").read_bytes() == samples._repr_png_()
    with pytest.raises(ammgraph.RunError, match=r"expected a name that ends in \.png"):
        samples.save("a.jpg")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"given": {"y": 1.5}}, "`y` is 1.5, expected a whole number"),
        ({"given": {"y": "1"}}, "`y` is '1', expected a whole number"),
        ({"given": {"y": 10}}, "`y` has 10 categories, from 0 to 9, not 10"),
        ({"seed": None}, "`seed` is None, expected a whole number"),
        ({"seed": 2**63}, "`seed` is 9223372036854775808, expected less than 2^63"),
        ({"component": "3"}, "`component` is '3', expected a whole number"),
        ({"count": True}, "`count` is True, expected a whole number"),
        ({"interpolate": 2.5}, "`interpolate` is 2.5, expected a whole number"),
    ],
)
def test_what_is_no_whole_number_is_refused_before_anything_is_drawn(
    asked: dict[str, Any], said: str, run: ammgraph.Run
) -> None:
    with pytest.raises(ammgraph.RunError) as raised:
        run.sample(device="cpu", **asked)
    assert str(raised.value) == said


def test_whole_numbers_of_numpy_are_taken(run: ammgraph.Run) -> None:
    expected = run.sample(count=2, seed=7, given={"y": 3}, device="cpu")
    found = run.sample(count=np.int64(2), seed=np.int64(7), given={"y": np.int64(3)}, device="cpu")
    assert np.array_equal(expected.images, found.images)


def test_codes_are_those_of_the_command(run: ammgraph.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "mine.npz", images=np.random.default_rng(0).integers(0, 256, (5, 8, 8), np.uint8))
    encoding = run.encode(tmp_path / "mine.npz", device="cpu")
    assert encoding.save(tmp_path / "a.csv") == tmp_path / "a.csv"
    command(capsys, "encode", run.folder, tmp_path / "mine.npz", "--output", tmp_path / "b.csv", "--device", "cpu")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_an_export_is_that_of_the_command(
    run: ammgraph.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = run.export(tmp_path / "a")
    assert [path.name for path in written] == ["model.py", "weights.pt"]
    command(capsys, "export", run.folder, "--output", tmp_path / "b")
    assert (tmp_path / "a" / "model.py").read_bytes() == (tmp_path / "b" / "model.py").read_bytes()


def test_a_page_is_written(run: ammgraph.Run, tmp_path: Path) -> None:
    page = run.report(tmp_path / "page.html", tsne=False, device="cpu")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / "page.npz").exists()


def test_an_evaluation_is_that_of_the_command(run: ammgraph.Run, capsys: pytest.CaptureFixture[str]) -> None:
    found = run.evaluate(split="validation", device="cpu")
    printed = command(capsys, "evaluate", run.folder, "--split", "validation", "--device", "cpu")
    assert str(found) in printed


def test_the_metrics_are_a_frame_and_without_pandas_its_rows(
    run: ammgraph.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = run.metrics()
    assert isinstance(frame, pd.DataFrame)
    lines = lines_of(run.folder)
    assert frame["step"].tolist() == [line["step"] for line in lines] == [2, 3, 3]
    assert frame["evaluation/y/nmi"].dropna().tolist() == [lines[-1]["evaluation"]["y/nmi"]]
    monkeypatch.setitem(sys.modules, "pandas", None)  # as where it is not installed
    rows = run.metrics()
    assert [row["step"] for row in rows] == [2, 3, 3]
    assert [set(row) for row in rows] == [set(frame.iloc[place].dropna().index) for place in range(3)]


def test_a_folder_that_is_no_run_has_no_metrics(tmp_path: Path) -> None:
    with pytest.raises(ammgraph.RunError, match="nope is no run directory: there is nothing of that name"):
        ammgraph.Run(tmp_path / "nope").metrics()


def test_a_comparison_is_that_of_the_command(run: ammgraph.Run, capsys: pytest.CaptureFixture[str]) -> None:
    compared = ammgraph.compare([run], device="cpu")
    assert command(capsys, "compare", run.folder, "--device", "cpu") == f"{compared}\n"
    for form, found in {"csv": compared.to_csv(), "latex": compared.to_latex(), "html": compared.to_html()}.items():
        assert command(capsys, "compare", run.folder, "--format", form, "--device", "cpu") == found
    assert json.loads(command(capsys, "compare", run.folder, "--format", "json")) == json.loads(
        json.dumps(compared.to_dict())
    )
    with pytest.raises(ammgraph.RunError, match="nothing to compare"):
        ammgraph.compare([])


def test_a_notebook_shows_runs_evaluations_and_comparisons_as_tables(run: ammgraph.Run) -> None:
    found = run.evaluate(device="cpu")
    for shown in (run._repr_html_(), found._repr_html_(), ammgraph.compare([run])._repr_html_()):
        cells = [cell.text for cell in ElementTree.fromstring(shown).iter("td")]
        assert any("clustering error of y" in (cell or "") for cell in cells)


def test_what_a_stranger_s_run_says_is_no_markup(tmp_path: Path) -> None:
    spec = ammgraph.load_spec(TINY, ["training.steps=1", "title=<script>alert(1)</script>"])
    run = ammgraph.fit(spec, run_dir=tmp_path / "<b>", log_every=1)
    for shown in (run._repr_html_(), run.evaluate(device="cpu")._repr_html_(), ammgraph.compare([run])._repr_html_()):
        assert {element.tag for element in ElementTree.fromstring(shown).iter()}.isdisjoint({"script", "b"})
