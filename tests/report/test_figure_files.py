"""`report --figures`: every figure of the page as SVG, and what is drawn in it as CSV."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from shown import images, untrained, write_spec
from tiny_runs import Run, files_of

from ammgraph.evaluation.metrics import NO_CLASS
from ammgraph.report.curve_figures import draw_curves
from ammgraph.report.curves import Curve, Curves, Panel, UsePanel
from ammgraph.report.figure_files import Data, data_of_curves, data_of_view
from ammgraph.report.figures import draw
from ammgraph.report.views import (
    EmbeddingView,
    InterpolationView,
    MatrixView,
    PairsView,
    SamplesView,
    ViewOptions,
    collect_views,
)

STEPS = np.array([1.0, 2.0])


def rows_of(data: Data) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.csv().decode())))


def pixels_of(row: dict[str, str]) -> list[float]:
    return [float(value) for name, value in row.items() if name.startswith("c") and "_y" in name]


def test_every_view_of_a_model_has_a_line_for_each_thing_that_is_drawn(tmp_path: Path) -> None:
    model, plan = untrained(write_spec(tmp_path, "amm"))
    split, classes = images()
    views = collect_views(model, plan, split, classes, ViewOptions(columns=2, pairs=4, interpolations=2, embedded=20))
    kinds = {type(view) for view in views}
    assert {MatrixView, PairsView, InterpolationView, EmbeddingView} < kinds
    for view in views:
        rows = rows_of(data_of_view(view))
        if isinstance(view, MatrixView):
            assert sum(int(row["count"]) for row in rows) == view.counts.sum()
            assert [int(row["count"]) for row in rows] == view.counts.ravel().tolist()
        elif isinstance(view, PairsView):
            assert [row["kind"] for row in rows] == ["original"] * 4 + ["reconstruction"] * 4
            np.testing.assert_allclose(pixels_of(rows[5]), view.rebuilt[1].ravel(), rtol=1e-7)
        elif isinstance(view, InterpolationView):
            assert len(rows) == view.images.shape[0] * view.images.shape[1]
            np.testing.assert_allclose(pixels_of(rows[-1]), view.images[-1, -1].ravel(), rtol=1e-7)
        elif isinstance(view, EmbeddingView):
            found = [[float(row["x"]), float(row["y"])] for row in rows]
            np.testing.assert_allclose(found, np.concatenate([view.points, view.means]), rtol=1e-7)
            assert [row["kind"] for row in rows] == ["example"] * 20 + ["mean"] * len(view.means)
        else:
            assert sum(row["kind"] == "generated" for row in rows) == view.generated.shape[0] * view.generated.shape[1]
            assert sum(row["kind"] == "assigned" for row in rows) == view.shown.sum()
        assert draw(view).name == view.name


def test_a_line_of_samples_has_the_class_that_stands_beside_its_row() -> None:
    pixels, none = np.zeros((3, 1, 1, 1, 1), np.float32), np.zeros(3, np.int64)
    view = SamplesView("samples_x", "x", "p", "y", "q(y|x)", pixels, pixels, none + 1, none, 9, np.array([2, 0, 1]), 3)
    named = replace(view, classes=("cat, big", "dog"), matched=np.array([1, 0, NO_CLASS]), protocol="one-to-one")
    kinds = [("generated", "0"), ("assigned", "1")]
    for shown, classes in ((named, ("dog", "cat, big", "")), (view, ("", "", ""))):
        found = rows_of(data_of_view(shown))
        expected = [(category, name, *kind) for category, name in zip("201", classes, strict=True) for kind in kinds]
        assert [(row["category"], row["class"], row["kind"], row["column"]) for row in found] == expected


def test_curves_have_a_line_for_each_point_and_gaps_stay_empty() -> None:
    use = UsePanel("use", "Use", "y", STEPS, np.array([[0.25, 0.5], [0.75, 0.5]]))
    curves = Curves(
        panels=(Panel("p", "P", "nats", (Curve("a", STEPS, np.array([0.5, np.nan])), Curve("b", STEPS, STEPS))),),
        uses=(use,),
    )
    panel, shares = data_of_curves(curves)
    assert panel.csv() == b"curve,step,value\na,1,0.5\na,2,\nb,1,1\nb,2,2\n"
    assert shares.csv() == b"category,step,share\n0,1,0.25\n0,2,0.5\n1,1,0.75\n1,2,0.5\n"
    assert [plate.name for plate in draw_curves(curves)] == ["curve_p", "use"]


def test_a_report_writes_its_figures_as_files(ammgraph: Run, copied: Path) -> None:
    words = ("report", copied, "--no-map", "--figures")
    code, out, err = ammgraph(*words, "figures")
    assert (code, out) == (0, f"{copied / 'report.html'}\n"), err
    found = files_of(Path("figures"))
    page = (copied / "report.html").read_text()
    names = {name.rpartition(".")[0] for name in found}
    assert len(names) == page.count("<figure ")
    assert set(found) == {f"{name}.{kind}" for name in names for kind in ("svg", "csv")}
    assert {"samples_x", "matrix_y", "pairs_x", "use_q.y"} < names
    for name in names:
        assert ElementTree.fromstring(found[f"{name}.svg"]).tag.endswith("}svg")
        assert b"prefers-color-scheme" not in found[f"{name}.svg"]  # black, whatever it is put into
        head, *lines = found[f"{name}.csv"].decode().splitlines()
        assert lines
        assert all(line.count(",") == head.count(",") for line in lines)
    assert ammgraph(*words, "figures")[0] == 0  # its own it replaces
    assert files_of(Path("figures")) == found


@pytest.mark.parametrize("name", ["mine.svg", "mine.csv"])
def test_figures_are_written_over_no_other_files_unless_told(name: str, ammgraph: Run, copied: Path) -> None:
    Path("figures").mkdir()
    Path("figures", name).write_text("mine")
    before = files_of(copied)
    words = ("report", copied, "--no-map", "--figures")
    code, out, err = ammgraph(*words, "figures")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: figures holds files that no report has written ({name}); name a folder that is new")
    assert files_of(copied) == before
    assert ammgraph(*words, "no/such/folder")[2] == (
        "error: cannot write figures to no/such/folder: there is no folder no/such\n"
    )
    assert ammgraph(*words, "figures", "--force")[0] == 0
    assert Path("figures", name).read_text() == "mine"
