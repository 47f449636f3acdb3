"""Labels of figures are names that can be drawn, short and each another; the caption says what they stand for."""

import warnings
from itertools import pairwise

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from ammgraph.report import labels as module
from ammgraph.report.curve_figures import DASHES, draw_curves
from ammgraph.report.curves import Curve, Curves, Panel
from ammgraph.report.figures import MARKERS, POINTS, draw
from ammgraph.report.labels import fonts, labels, width
from ammgraph.report.plates import LINES, Plate, legend, told_apart
from ammgraph.report.views import EmbeddingView, MatrixView

LONG = ("golden retriever (female)", "tabby", "golden retriever (male)")


@pytest.fixture(autouse=True)
def base_font_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine has."""
    module._characters.cache_clear()
    monkeypatch.setattr(module, "fonts", lambda: (module.BASE,))


@pytest.mark.parametrize(
    ("names", "texts", "note"),
    [
        (("cat", "0", "é"), ("cat", "0", "é"), ""),
        (LONG, ("golden ret… (female)", "tabby", "golden ret…er (male)"),
         " golden ret… (female) is golden retriever (female); golden ret…er (male) is golden retriever (male)."),
        (("x" * 15 + "1" + "y" * 15, "x" * 15 + "2" + "y" * 15), ("#0", "#1"),
         f" #0 is {'x' * 15}1{'y' * 15}; #1 is {'x' * 15}2{'y' * 15}."),
        (("日本", "cat"), ("#0", "cat"), " #0 is 日本."),
        (("_a", "$x$"), (" _a", r"\$x\$"), ""),
        (("\x1b[2J", "a\nb", "caf\udce9"), ("\\x1b[2J", "a\\nb", "caf\\udce9"), ""),
    ],
)  # fmt: skip
def test_labels(names: tuple[str, ...], texts: tuple[str, ...], note: str) -> None:
    found = labels(names)
    assert (found.texts, found.note) == (texts, note)
    assert found.longest <= 20


def test_letters_of_east_asia_are_wide() -> None:
    assert (width("cat"), width("日本"), width("日a")) == (3, 4, 3)
    assert width(module._shortened("日" * 30, 20)) <= 20


def test_only_fonts_that_are_there_are_asked_for() -> None:
    assert fonts.__wrapped__()[0] == "DejaVu Sans"
    assert set(fonts.__wrapped__()) <= set(font_manager.get_font_names())


def matrix(classes: tuple[str, ...], supervised: bool) -> Plate:
    counts = np.arange(len(classes) ** 2).reshape(len(classes), -1)
    return draw(MatrixView("matrix_y", "y", "q(y|x)", False, supervised, counts, classes))


def embedding(classes: tuple[str, ...]) -> Plate:
    count = 4 * len(classes)
    points = np.random.default_rng(0).normal(size=(count, 2))
    none = np.zeros(0, np.int64)
    labelled = np.arange(count) % len(classes)
    return draw(
        EmbeddingView("embedding_z", "z", "q(z|x)", points, labelled, classes, np.zeros((0, 2)), "", 0, none, 0)
    )


@pytest.mark.parametrize(
    "classes", [LONG, ("日本", "中文"), tuple(f"class {place:03d}" for place in range(40)), ("a",)], ids=len
)
def test_whatever_classes_are_called_the_whole_of_every_label_is_seen(classes: tuple[str, ...]) -> None:
    for plate in (matrix(classes, True), matrix(classes, False), embedding(classes)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plate.figure.draw_without_rendering()
        (axes,) = plate.figure.axes
        edge = plate.figure.bbox
        texts = [
            *axes.get_xticklabels(),
            *axes.get_yticklabels(),
            *(t for it in plate.figure.legends for t in it.texts),
        ]
        assert texts
        for text in texts:
            box = text.get_window_extent()
            assert box.x0 >= edge.x0
            assert box.x1 <= edge.x1
            assert box.y0 >= edge.y0
            assert box.y1 <= edge.y1
        along = [text.get_window_extent().y0 for text in axes.get_yticklabels()]
        assert all(abs(first - second) > 8 for first, second in pairwise(along))
        assert ("日本" in plate.caption) == ("日本" in classes)


def test_beyond_all_marks_there_is_nolegend() -> None:
    plate = embedding(tuple(map(str, range(61))))
    assert not plate.figure.legends
    assert plate.caption.endswith(" Of 61 classes those 60 apart look alike.")


def test_long_names_of_curves_fit_the_figure() -> None:
    steps = np.arange(3)
    curves = tuple(Curve("n" * 60 + str(place), steps, steps * 1.0) for place in range(4))
    (plate,) = draw_curves(Curves((Panel("losses", "Losses", "nats", curves, level=(1.0, "chance")),)))
    plate.figure.draw_without_rendering()
    (legend,) = plate.figure.legends
    assert legend.get_window_extent().x1 <= plate.figure.bbox.x1
    assert f"{'n' * 20}…{'n' * 18}3 is {'n' * 60}3" in plate.caption


def test_classes_and_curves_differ_in_shape_where_a_colour_may_not_be_seen() -> None:
    """Every class has a colour and a mark of its own, and of ten no mark is of more than four."""
    told = [told_apart(index, POINTS, MARKERS, 4) for index in range(len(POINTS) * len(MARKERS))]
    assert len(set(told)) == len(told)
    assert [marker for _, marker in told[:10]] == [*"oooo", *"^^^^", *"ss"]
    lines = [told_apart(index, LINES, DASHES, 3) for index in range(len(LINES) * len(DASHES))]
    assert len(set(lines)) == len(lines)


def test_a_legend_is_read_by_rows() -> None:
    figure = Figure()
    axes = figure.subplots()
    for name in "abcdefg":
        axes.plot([0, 1], label=name)
    legend(figure, axes, 3)
    (drawn,) = figure.legends
    assert [text.get_text() for text in drawn.texts] == [*"adg", *"be", *"cf"]  # columns; the rows are abc, def, g
