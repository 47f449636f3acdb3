"""Views become figures: every kind is drawn, labelled, and the same bytes for the same data."""

from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from shown import images, untrained, write_spec

from ammgraph.report import figures
from ammgraph.report.curves import Curve, Curves, Panel, UsePanel
from ammgraph.report.figures import STYLE, draw, draw_curves
from ammgraph.report.views import MatrixView, SamplesView, ViewOptions, collect_views

STEPS = np.array([1.0, 2.0, 3.0])
CURVES = Curves(
    panels=(
        Panel(
            "losses", "Losses", "nats", (Curve("a", STEPS, STEPS), Curve("b", STEPS, STEPS * np.nan)), level=(1, "one")
        ),
        Panel("norms", "Norms", "L2", (Curve("a", STEPS, STEPS),), logarithmic=True),
    ),
    uses=(UsePanel("use", "Use", "y", STEPS, np.full((3, 3), 1 / 3)),),
)


def test_every_view_of_a_model_is_drawn_with_words_for_those_who_cannot_see_it(tmp_path: Path) -> None:
    model, plan = untrained(write_spec(tmp_path, "amm"))
    split, classes = images()
    views = collect_views(model, plan, split, classes, ViewOptions(columns=2, pairs=4, interpolations=2, embedded=20))
    for view in views:
        plate = draw(view, "validation images")
        data = plate.encoded()
        assert plate.title
        assert plate.caption
        assert plate.alt
        assert "validation image" in plate.caption
        assert data.startswith(b"\x89PNG" if plate.form == "png" else b"<?xml")


def test_the_same_data_give_the_same_bytes() -> None:
    first, again = ([plate.encoded() for plate in draw_curves(CURVES)] for _ in range(2))
    assert first == again


def test_drawing_leaves_no_global_state() -> None:
    before = dict(mpl.rcParams)
    draw_curves(CURVES)
    assert dict(mpl.rcParams) == before
    assert STYLE["font.size"] != mpl.rcParams["font.size"]
    assert "pyplot import" not in (source := Path(figures.__file__).read_text())
    assert "import matplotlib.pyplot" not in source


def test_colours_with_three_channels_and_rows_without_members() -> None:
    generated = np.random.default_rng(0).random((3, 2, 3, 5, 7), dtype=np.float32)
    empty = np.zeros(3, np.int64)
    view = SamplesView("samples_x", "x", "p", "y", "q(y|x)", generated, generated, empty, empty, 0, np.arange(3), 3)
    assert draw(view).encoded().startswith(b"\x89PNG")


def test_of_many_categories_those_with_the_most_images_are_drawn(tmp_path: Path) -> None:
    model, plan = untrained(write_spec(tmp_path, "amm", "constants: {K: 2000}\n"))
    split, classes = images()
    views = collect_views(model, plan, split, classes, ViewOptions(columns=2, pairs=4, interpolations=2, embedded=20))
    drawn = {view.name: draw(view) for view in views}
    assert all(len(plate.encoded()) < 2_000_000 for plate in drawn.values())
    for name in ("samples_x", "matrix_y", "matrix_y_bayes", "embedding_z"):
        assert "Of 2,000 the 50 with the most images." in drawn[name].caption
    assert "50 by 10 table" in drawn["matrix_y"].alt


@pytest.mark.parametrize("shape", [(30, 10), (2, 10), (1, 1)])
def test_a_matrix_of_any_shape_with_empty_clusters(shape: tuple[int, int]) -> None:
    counts = np.zeros(shape, np.int64)
    counts[0, 0] = 5
    view = MatrixView("matrix_y", "y", "q(y|x)", False, False, counts, tuple(map(str, range(shape[1]))))
    plate = draw(view)
    ElementTree.fromstring(plate.encoded())
    assert "5 test images" in plate.caption


def test_class_names_with_dollars_and_angle_brackets_are_names() -> None:
    view = MatrixView("matrix_y", "y", "q(y|x)", False, True, np.eye(2, dtype=np.int64), ("$\\x_{$", "_<b>"))
    ElementTree.fromstring(draw(view).encoded())
