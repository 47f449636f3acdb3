"""`report --figures`: every figure of a page as a file of its own, SVG, and what is drawn in it as a table, CSV.

A table has a line for each thing that is drawn: a point of a curve, a cell, a point of a map, an image with its pixels.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

import numpy as np

from ammgraph.diagnostics import RunError
from ammgraph.evaluation.metrics import NO_CLASS, Array
from ammgraph.report.curves import Curves, Panel, UsePanel
from ammgraph.report.over_time import StripsView
from ammgraph.report.plates import CREATOR, Plate
from ammgraph.report.views import EmbeddingView, InterpolationView, MatrixView, PairsView, SamplesView, View
from ammgraph.runs.outputs import head_of, make_output_folder, write_output

Rows = Iterable[Sequence[object]]


@dataclass(frozen=True)
class Data:
    """What is drawn in a figure."""

    head: tuple[str, ...]
    rows: Rows

    def csv(self) -> bytes:
        """As CSV, in UTF-8; what is no number stays empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.head)
        writer.writerows([_cell(value) for value in row] for row in self.rows)
        return text.getvalue().encode()


def data_of_view(view: View) -> Data:
    """What is drawn of a view."""
    if isinstance(view, SamplesView):
        return _images(_samples(view), ("kind", "category", "class", "column"), view.generated)
    if isinstance(view, PairsView):
        pairs = zip(("original", "reconstruction"), (view.originals, view.rebuilt), strict=True)
        shown = ((kind, index, image) for kind, images in pairs for index, image in enumerate(images))
        return _images(shown, ("kind", "pair"), view.originals)
    if isinstance(view, InterpolationView):
        found = ((row, column, image) for row, images in enumerate(view.images) for column, image in enumerate(images))
        return _images(found, ("row", "column"), view.images)
    if isinstance(view, MatrixView):
        return _counts(view)
    if isinstance(view, EmbeddingView):
        return _points(view)
    if isinstance(view, StripsView):
        return _images(_strips(view), ("step", "category", "column"), view.images)
    assert_never(view)


def data_of_curves(curves: Curves) -> list[Data]:
    """What is drawn of each panel, in the order of `draw_curves`."""
    return [*map(_panel, curves.panels), *(_use(use) for use in curves.uses if use.shares.size)]


def check_figures(folder: Path, force: bool) -> None:
    """Refuse a folder that cannot take figures, or holds other files than those of a report.

    Raises:
        RunError: it does.
    """
    if not folder.parent.is_dir():
        raise RunError(f"cannot write figures to {folder}: there is no folder {folder.parent}")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise RunError(f"cannot write figures to {folder}: expected a folder, or the name of a new one")
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    foreign = [path.name for path in found if not is_figure(path.with_suffix(".svg"))]
    if foreign and not force:
        more = ", ..." if len(foreign) > 3 else ""
        raise RunError(
            f"{folder} holds files that no report has written ({', '.join(foreign[:3])}{more}); name a folder that is "
            "new or empty, or say `--force`"
        )


def is_figure(path: Path) -> bool:
    """Whether a file is a figure that was written here."""
    return path.suffix == ".svg" and f"<dc:title>{CREATOR}</dc:title>".encode() in head_of(path, 4096)


def write_figures(folder: Path, plates: Sequence[Plate], data: Sequence[Data]) -> None:
    """Write each figure and its data; those of an earlier report under other names go.

    Raises:
        RunError: the disk refuses.
    """
    make_output_folder(folder)
    try:
        for path in [path for path in folder.iterdir() if is_figure(path)]:
            path.with_suffix(".csv").unlink(missing_ok=True)
            path.unlink()
    except OSError as error:
        raise RunError(f"cannot write figures to {folder}: {error.strerror or error}") from error
    for plate, table in zip(plates, data, strict=True):
        write_output(folder / f"{plate.name}.svg", plate.alone())
        write_output(folder / f"{plate.name}.csv", table.csv())


# ------------------------------------------------------------------------------------------------ images


def _samples(view: SamplesView) -> Iterator[tuple[object, ...]]:
    for row, category in enumerate(view.categories):
        own = [("generated", image) for image in view.generated[row]]
        own += [("assigned", image) for image in view.assigned[row][: view.shown[row]]]
        of = category if view.category else ""
        name = view.classes[view.matched[row]] if view.classes and view.matched[row] != NO_CLASS else ""
        yield from ((kind, of, name, place, image) for place, (kind, image) in enumerate(own))


def _strips(view: StripsView) -> Iterator[tuple[object, ...]]:
    for step, row in zip(view.steps, view.images, strict=True):
        for column, image in enumerate(row):
            yield step, view.categories[column] if view.category else "", column, image


def _images(found: Iterable[tuple[object, ...]], head: tuple[str, ...], of: Array) -> Data:
    """A line for each image: what it is, then its numbers by channel, row and column."""
    channels, height, width = of.shape[-3:]
    pixels = [f"c{c}_y{y}_x{x}" for c in range(channels) for y in range(height) for x in range(width)]
    return Data((*head, *pixels), ((*place, *np.asarray(image).ravel()) for *place, image in found))


# ------------------------------------------------------------------------------------------------ tables, maps, curves


def _counts(view: MatrixView) -> Data:
    names = view.classes
    head = ("class", "predicted") if view.supervised else ("cluster", "class")
    rows = (
        (names[row] if view.supervised else row, names[column] if column < len(names) else column, int(count))
        for (row, column), count in np.ndenumerate(view.counts)
    )
    return Data((*head, "count"), rows)


def _points(view: EmbeddingView) -> Data:
    names = [view.classes[label] if label >= 0 else "" for label in view.labels]
    examples = (("example", name, *point) for name, point in zip(names, view.points, strict=True))
    means = (("mean", index, *point) for index, point in zip(view.components, view.means, strict=True))
    return Data(("kind", "class_or_component", "x", "y"), (*examples, *means))


def _panel(panel: Panel) -> Data:
    rows = (
        (curve.label, int(step), value)
        for curve in panel.curves
        for step, value in zip(curve.steps, curve.values, strict=True)
    )
    return Data(("curve", "step", "value"), rows)


def _use(use: UsePanel) -> Data:
    rows = ((index, int(use.steps[place]), share) for (index, place), share in np.ndenumerate(use.shares))
    return Data(("category", "step", "share"), rows)


def _cell(value: object) -> object:
    if isinstance(value, float | np.floating):
        return f"{value:.9g}" if np.isfinite(value) else ""
    return value
