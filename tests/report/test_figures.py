"""Views become figures: every kind is drawn, labelled, and the same bytes for the same data."""

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
import scipy
from matplotlib.axes import Axes
from matplotlib.text import Text
from shown import images, untrained, write_spec

from ammgraph.report import curve_figures, figures, plates
from ammgraph.report.curve_figures import draw_curves
from ammgraph.report.curves import Curve, Curves, Panel, UsePanel
from ammgraph.report.figures import draw
from ammgraph.report.plates import STYLE, Plate
from ammgraph.report.views import MatrixView, SamplesView, ViewOptions, collect_views

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
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
        data = plate.inline("figure-1-")
        assert plate.title
        assert plate.caption
        assert plate.alt
        assert "validation image" in plate.caption
        root = ElementTree.fromstring(data)
        assert (root.tag, root.get("role"), root.get("aria-label")) == ("svg", "img", plate.alt)
        assert ElementTree.fromstring(plate.alone()).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_same_data_give_the_same_bytes() -> None:
    first, again = ([plate.inline("a") for plate in draw_curves(CURVES)] for _ in range(2))
    assert first == again


def test_drawing_leaves_no_global_state() -> None:
    before = dict(mpl.rcParams)
    draw_curves(CURVES)
    assert dict(mpl.rcParams) == before
    assert STYLE["font.size"] != mpl.rcParams["font.size"]
    for module in (figures, curve_figures, plates):
        assert "pyplot import" not in (source := Path(module.__file__).read_text())
        assert "import matplotlib.pyplot" not in source


def test_colours_with_three_channels_and_rows_without_members() -> None:
    generated = np.random.default_rng(0).random((3, 2, 3, 5, 7), dtype=np.float32)
    empty = np.zeros(3, np.int64)
    view = SamplesView("samples_x", "x", "p", "y", "q(y|x)", generated, generated, empty, empty, 0, np.arange(3), 3)
    ElementTree.fromstring(draw(view).inline("a"))


def test_of_many_categories_those_with_the_most_images_are_drawn(tmp_path: Path) -> None:
    model, plan = untrained(write_spec(tmp_path, "amm", "constants: {K: 2000}\n"))
    split, classes = images()
    views = collect_views(model, plan, split, classes, ViewOptions(columns=2, pairs=4, interpolations=2, embedded=20))
    drawn = {view.name: draw(view) for view in views}
    assert all(len(plate.inline("a")) < 2_000_000 for plate in drawn.values())
    for name in ("samples_x", "matrix_y", "matrix_y_bayes", "embedding_z"):
        assert "Of 2,000 the 50 with the most images." in drawn[name].caption
    assert "50 by 10 table" in drawn["matrix_y"].alt


@pytest.mark.parametrize("shape", [(30, 10), (2, 10), (1, 1)])
def test_a_matrix_of_any_shape_with_empty_clusters(shape: tuple[int, int]) -> None:
    counts = np.zeros(shape, np.int64)
    counts[0, 0] = 5
    view = MatrixView("matrix_y", "y", "q(y|x)", False, False, counts, tuple(map(str, range(shape[1]))))
    plate = draw(view)
    ElementTree.fromstring(plate.inline("a"))
    assert "5 test images" in plate.caption


def test_the_shade_of_a_cell_is_its_share_of_all_images() -> None:
    counts = np.array([[60, 20], [0, 1]])
    plate = draw(MatrixView("matrix_y", "y", "q(y|x)", False, False, counts, ("a", "b")))
    drawn = plate.figure.axes[0].images[0]
    np.testing.assert_allclose(drawn.get_array(), counts / 81)
    darkest = drawn.norm(drawn.get_array())
    np.testing.assert_allclose(darkest, counts / 60)  # a row of one image is nearly white
    assert "the shade is the share of all of them" in plate.caption


def ticks(axes: Axes) -> tuple[list[str], list[str]]:
    """What stands below and beside."""
    return tuple([text.get_text() for text in found] for found in (axes.get_xticklabels(), axes.get_yticklabels()))


def test_a_matched_class_stands_over_its_cluster_though_another_is_unused() -> None:
    counts = np.array([[0, 0, 7], [0, 0, 0], [1, 9, 2]])  # class `a` has no cluster, cluster 1 no image
    plate = draw(MatrixView("matrix_y", "y", "q(y|x)", False, False, counts, ("a", "b", "c")))
    assert ticks(plate.figure.axes[0]) == (["b", "c", "a"], ["2", "0", "1"])
    np.testing.assert_allclose(plate.figure.axes[0].images[0].get_array() * 19, [[9, 2, 1], [0, 7, 0], [0, 0, 0]])
    assert plate.caption.endswith("one-to-one assignment gives them. Classes that no cluster has come last.")


def test_of_more_clusters_than_classes_those_of_a_class_stand_together_the_largest_first() -> None:
    counts = np.array([[5, 0], [1, 8], [6, 1]])
    plate = draw(MatrixView("matrix_y", "y", "q(y|x)", False, False, counts, ("a", "b")))
    assert ticks(plate.figure.axes[0]) == (["a", "b"], ["2", "0", "1"])
    assert plate.caption.endswith("in the order of the classes that majority assignment gives them.")


def test_samples_say_which_class_each_component_is_in_the_order_of_the_matrix(tmp_path: Path) -> None:
    model, plan = untrained(write_spec(tmp_path, "amm"))
    split, _ = images()
    views = {view.name: view for view in collect_views(model, plan, split, NAMES, ViewOptions(columns=2, embedded=0))}
    samples, matrix = draw(views["samples_x"]), draw(views["matrix_y"])
    _, clusters = ticks(matrix.figure.axes[0])
    (_, left), (_, right) = map(ticks, samples.figure.axes)
    assert right == clusters
    assert isinstance(views["matrix_y"], MatrixView)
    counts = views["matrix_y"].counts
    rows, columns = scipy.optimize.linear_sum_assignment(counts, maximize=True)
    class_of = {row: NAMES[column] for row, column in zip(rows, columns, strict=True) if counts[row].sum()}
    assert len(class_of) > 1
    for text, cluster in zip(left, map(int, clusters), strict=True):
        known = f"{cluster} is {class_of[cluster]}" if cluster in class_of else str(cluster)
        assert text == f"{known}  ({counts[cluster].sum()})"
    assert "Beside each: its class by one-to-one assignment; rows stand in the order of classes." in samples.caption


def test_samples_of_labels_are_named_by_class_and_those_without_labels_by_number(tmp_path: Path) -> None:
    for kind in ("samm", "conditional"):
        model, plan = untrained(write_spec(tmp_path, kind))
        views = collect_views(model, plan, images()[0], NAMES, ViewOptions(columns=2, embedded=0))
        _, left = ticks(draw(views[0]).figure.axes[0])
        assert [text.partition("  ")[0] for text in left] == list(NAMES)
    generated = np.zeros((2, 2, 1, 5, 5), np.float32)
    empty = np.zeros(2, np.int64)
    view = SamplesView("samples_x", "x", "p", "y", "q(y|x)", generated, generated, empty, empty, 0, np.arange(2), 2)
    assert ticks(draw(view).figure.axes[0])[1] == ["0  (0)", "1  (0)"]
    assert "Beside" not in draw(view).caption


def test_curves_have_the_time_of_training_on_top() -> None:
    clock = ((0, 0.0), (100, 60.0), (200, 360.0))  # a second phase takes steps of five times as long
    panel = Panel("p", "P", "nats", (Curve("a", np.array([10.0, 200.0]), np.ones(2)),))
    curves = Curves(panels=(panel,), steps_per_epoch=50.0, clock=clock)
    (plate,) = draw_curves(curves)
    (top,) = plate.figure.axes[0].child_axes
    assert plate.figure.axes[0].get_xlabel() == "epoch"
    assert top.get_xlabel() == "minutes of training"
    assert [text.get_text() for text in top.get_xticklabels()] == ["0", "2", "4", "6"]
    np.testing.assert_allclose(top.get_xticks(), [0, 120 / 50, 160 / 50, 200 / 50])


@pytest.mark.parametrize("clock", [(), ((0, 0.0), (9, -1.0)), ((0, 0.0), (0, 5.0)), ((0, 0.0), (2**63, 1e99))])
def test_without_a_time_that_a_run_can_take_there_is_no_such_axis(clock: tuple[tuple[int, float], ...]) -> None:
    (plate, *_) = draw_curves(replace(CURVES, clock=clock))
    assert plate.figure.axes[0].child_axes == []


def test_class_names_with_dollars_and_angle_brackets_are_names() -> None:
    view = MatrixView("matrix_y", "y", "q(y|x)", False, True, np.eye(2, dtype=np.int64), ("$\\x_{$", "_<b>"))
    ElementTree.fromstring(draw(view).inline("a"))


def letters_of(plate: Plate) -> list[float]:
    """The sizes of all its texts, in points."""
    texts = [found for found in plate.figure.findobj(Text) if found.get_text().strip() and found.get_visible()]
    return [found.get_fontsize() for found in texts]


def test_letters_are_nine_pixels_high_where_a_figure_is_at_its_narrowest(tmp_path: Path) -> None:
    model, plan = untrained(write_spec(tmp_path, "amm"))
    split, classes = images()
    views = collect_views(model, plan, split, classes, ViewOptions(columns=2, pairs=4, interpolations=2, embedded=20))
    plates = [*map(draw, views), *draw_curves(CURVES)]
    for plate in plates:
        pixels = plate.narrowest / plate.figure.get_figwidth() / 72
        assert all(size * pixels >= 9 for size in letters_of(plate)), plate.name
    assert sum(bool(letters_of(plate)) for plate in plates) > 5
    # A phone of 390 pixels has 358 beside its margins.
    assert all(plate.narrowest <= 358 for plate in plates if not plate.name.startswith("matrix"))


def test_a_figure_has_no_background_and_light_ink_on_a_dark_page() -> None:
    css = Path(figures.__file__).with_name("page.css").read_text()
    dark = next(part for part in css.split("@media ") if part.startswith("(prefers-color-scheme:dark){.drawn svg{fill"))
    drawn = draw_curves(CURVES)[0].inline("a")
    for colour in ("stroke: #000000", "stroke: #dddddd", "stroke: #666666"):  # what is exchanged is what is written
        assert f'"{colour}' in drawn or f"; {colour}" in drawn
        assert f'[style*="{colour}"]{{stroke:' in dark
    background = next(g for g in ElementTree.fromstring(drawn).iter("g") if g.get("id") == "apatch_1")
    assert "fill: none" in str(background[0].get("style"))


def test_texts_of_figures_are_texts_in_the_fonts_of_the_page_or_any_without_serifs() -> None:
    plate = draw_curves(CURVES)[0]
    texts = list(ElementTree.fromstring(plate.inline("a")).iter("text"))
    assert {"a", "b", "one", "nats", "epoch"} < {text.text for text in texts}
    assert not [text for text in texts if "font-family" in str(text.get("style"))]
    alone = list(ElementTree.fromstring(plate.alone()).iter("{http://www.w3.org/2000/svg}text"))
    assert [text.text for text in alone] == [text.text for text in texts]
    families = {part for text in alone for part in str(text.get("style")).split("; ") if "font-family" in part}
    assert len(families) == 1
    assert families.pop().startswith("font-family: 'DejaVu Sans'")
    assert all("sans-serif" in str(text.get("style")) for text in alone)


def test_two_figures_in_a_page_share_no_id_and_each_refers_to_its_own() -> None:
    plate = draw_curves(CURVES)[0]
    found = []
    for place in ("figure-1-", "figure-2-"):
        svg = plate.inline(place)
        ids = {str(element.get("id")) for element in ElementTree.fromstring(svg).iter() if element.get("id")}
        references = {*re.findall(r"url\(#([^)]+)\)", svg), *re.findall(r'href="#([^"]+)"', svg)}
        assert len(references) > 1
        assert references < ids
        found.append(ids)
    assert not found[0] & found[1]
    assert "<style" not in plate.inline("a")  # it would be one of the whole page


def test_where_a_row_has_fewer_images_nothing_is_drawn() -> None:
    tiles = np.full((2, 2, 1, 28, 28), 0.5, np.float32)
    tiles[1, 1] = np.nan
    mosaic, _ = figures._mosaic(tiles, [False, False])
    assert mosaic.shape == (58, 58, 4)
    assert (mosaic[:28, :28] == [0.5, 0.5, 0.5, 1]).all()
    assert (mosaic[30:, 30:] == 0).all()
    assert (mosaic[28:30] == 0).all()
