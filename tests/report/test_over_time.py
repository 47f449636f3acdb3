"""Samples over time: when each row was, and what stands above a column."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from tiny import FOLDER, PHASES, TINY, plan_of

from ammgraph.report.curves import Curves
from ammgraph.report.figures import draw
from ammgraph.report.over_time import StripsView, collect_strips
from ammgraph.runs import strips

IMAGES = np.zeros((10, 1, 8, 8), np.uint8)


def labels(axes: Axes) -> tuple[list[str], list[str]]:
    return [tick.get_text() for tick in axes.get_xticklabels()], [tick.get_text() for tick in axes.get_yticklabels()]


@pytest.mark.parametrize(
    ("curves", "unit", "times"),
    [
        (Curves(steps_per_epoch=600.0), "epoch", ["0.5", "1", "2.5"]),
        (Curves(steps_per_epoch=1000.0), "step", ["300", "600", "1,500"]),
        (Curves(steps_per_epoch=600.0, phases=(500,)), "step", ["300", "600", "1,500"]),  # of other lengths
    ],
)
def test_rows_say_when_they_were_as_the_axes_of_curves_do(
    curves: Curves, unit: str, times: list[str], tmp_path: Path
) -> None:
    for step in (300, 600, 1500):
        strips.keep(tmp_path, step, {"x": IMAGES})
    (view,) = collect_strips(plan_of(TINY), tmp_path, curves, 10**9)
    (axes,) = draw(view).figure.axes
    assert (axes.get_ylabel(), labels(axes)) == (unit, ([*map(str, range(10))], times))


def test_without_categories_nothing_stands_above_a_column() -> None:
    none = np.zeros(0, np.int64)
    steps, shown = np.array([1, 2]), np.stack([IMAGES, IMAGES]) / 255
    view = StripsView("strips_x", "x", "p", "", none, steps, steps, "step", shown)
    plate = draw(view)
    assert labels(plate.figure.axes[0])[0] == []
    assert "Above each" not in plate.caption


def test_a_category_stands_in_the_middle_of_its_column(tmp_path: Path) -> None:
    for step in (1, 2):
        strips.keep(tmp_path, step, {"x": np.full_like(IMAGES, 255)})
    (view,) = collect_strips(plan_of(TINY), tmp_path, Curves(), 10**9)
    axes = draw(view).figure.axes[0]
    (mosaic,) = (np.asarray(image.get_array()) for image in axes.get_images())
    opaque = mosaic[0, :, 3] > 0
    starts = np.flatnonzero(np.diff(np.concatenate([[0], opaque.astype(int)])) == 1)
    ends = np.flatnonzero(np.diff(np.concatenate([opaque.astype(int), [0]])) == -1)
    np.testing.assert_allclose(axes.get_xticks(), (starts + ends) / 2)


def test_of_fewer_than_two_looks_and_of_vectors_there_is_no_figure(tmp_path: Path) -> None:
    assert collect_strips(plan_of(TINY), tmp_path, Curves(), 10**9) == ()
    strips.keep(tmp_path, 1, {"x": IMAGES})
    assert collect_strips(plan_of(TINY), tmp_path, Curves(), 10**9) == ()
    strips.keep(tmp_path, 2, {"x": IMAGES})
    assert len(collect_strips(plan_of(PHASES), tmp_path, Curves(), 10**9)) == 1
    assert collect_strips(plan_of(FOLDER / "tiny_vectors.yaml"), tmp_path, Curves(), 10**9) == ()
