"""Figures: views and panels of curves come in, matplotlib figures with their captions go out.

No pyplot, hence no global state and nothing to close. Figures are drawn about four inches wide, so that a phone shows
them nearly at the size they were made for. The palettes are safe for the colour-blind. A figure has no background, and
its ink is light where the page is dark.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, assert_never

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ammgraph.diagnostics import counted
from ammgraph.evaluation.metrics import NO_CLASS, Array, one_to_one
from ammgraph.report.curves import Curve, Curves, Panel, UsePanel
from ammgraph.report.labels import fonts, labels, width
from ammgraph.report.views import (
    EmbeddingView,
    InterpolationView,
    MatrixView,
    PairsView,
    SamplesView,
    View,
    largest,
)

S = TypeVar("S")

WIDTH, WIDEST = 4.2, 14.0  # inches
LETTER, LINE, HANDLE = 0.075, 0.17, 0.4  # inches that a letter, a line, and what stands before a label in a legend take
COLUMN_SPACING = 0.9
MOST_COUNTED = 40  # columns of a table that have room for numbers
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)))
POINTS = (  # Petroff, arXiv:2107.02270
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
MARKERS = ("o", "^", "s", "D", "v", "P")
STYLE: Any = {
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "svg.fonttype": "path",
    "svg.hashsalt": "ammgraph",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
TILE = 28  # least pixels of an image in a mosaic
GAP = 2
PIXELS = 82  # of a screen, at least, for an inch of a figure: its smallest letters, of 8 points, are 9 pixels high
SMALLEST = 8  # points
CREATOR = "ammgraph report"
# What matplotlib writes of black and grey, and what stands there on a dark page. Texts on a colour keep theirs.
DARK = """<style>@media (prefers-color-scheme:dark){svg{fill:#e4e8ec}
[style*="stroke: #000000"]{stroke:#e4e8ec!important}[style*="fill: #000000"]{fill:#e4e8ec!important}
[style*="stroke: #dddddd"]{stroke:#2e363e!important}[style*="stroke: #666666"]{stroke:#9aa5b0!important}}</style>"""


@dataclass(frozen=True, eq=False)
class Plate:
    """A figure with what stands under it, and what is said in its place."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure
    wide: bool = False  # better over the whole width of a page than beside another

    @property
    def narrowest(self) -> int:
        """Pixels of a screen that it needs for its letters to be read."""
        return math.ceil(PIXELS * self.figure.get_figwidth())

    def encoded(self) -> bytes:
        """The figure as SVG, the same bytes for the same data; light on a dark page."""
        return self._svg(None).replace(b"<defs>", DARK.encode() + b"<defs>", 1)

    def alone(self) -> bytes:
        """The figure as an SVG file of its own, which `is_figure` knows again: black whatever stands around it."""
        return self._svg(CREATOR)

    def _svg(self, creator: str | None) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(style()):
            self.figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": creator})
        return buffer.getvalue()


def draw(view: View, images: str = "test images") -> Plate:
    """The plate of a view; `images` says what the images of its split are."""
    with mpl.rc_context(style()):
        if isinstance(view, SamplesView):
            return _samples(view, images)
        if isinstance(view, MatrixView):
            return _matrix(view, images)
        if isinstance(view, PairsView):
            return _pairs(view, images)
        if isinstance(view, InterpolationView):
            return _interpolation(view, images)
        if isinstance(view, EmbeddingView):
            return _embedding(view, images)
        assert_never(view)


def draw_curves(curves: Curves) -> tuple[Plate, ...]:
    """One plate a panel; by epochs where the run saw two of them, else by steps."""
    per_epoch = curves.steps_per_epoch
    last = max((int(curve.steps[-1]) for panel in curves.panels for curve in panel.curves), default=0)
    scale, unit = (1 / per_epoch, "epoch") if last >= 2 * per_epoch and not curves.phases else (1.0, "step")
    with mpl.rc_context(style()):
        plates = (
            *(_panel(panel, scale, unit) for panel in curves.panels),
            *(_use(use, scale, unit) for use in curves.uses if use.shares.size),
        )
        return tuple(_with_phases(plate, curves.phases) for plate in plates)


def _with_phases(plate: Plate, phases: Sequence[int]) -> Plate:
    """A line where each phase after the first has begun; steps of phases may be of other lengths in epochs."""
    if not phases:
        return plate
    for step in phases:
        plate.figure.axes[0].axvline(step, color="#666666", lw=0.8, ls=(0, (1, 2)), zorder=0)
    told = f"Dotted: {'a phase begins' if len(phases) == 1 else 'phases begin'} after step {_listed(phases)}."
    return replace(plate, caption=f"{plate.caption} {told}".strip())


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(f"{step:,}" for step in steps)


# --------------------------------------------------------------------------------------------------- images


def _samples(view: SamplesView, images: str) -> Plate:
    rows = len(view.generated)
    given = f" for each value of {view.category}" if view.category else ""
    caption = f"{view.variable} drawn from {view.draw}{given}: eval mode, fresh noise, no selection."
    if view.rule:
        how = "with that label" if view.rule == "label" else f"assigned by {view.rule}"
        caption += f" Left: the first {images} {how}; the number is how many of {view.examples:,}."
        caption += _of_more(view.categories, view.num_categories)
    elif view.assigned.size:
        caption += f" Left: the first {images}."
    both = bool(view.assigned.size)
    columns = view.generated.shape[1] * (2 if both else 1) + (1 if both else 0)
    figure = blank(WIDTH, (WIDTH - 0.7) * rows / columns * view.generated.shape[3] / view.generated.shape[4] + 0.35)
    axes = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
    names = list(map(str, view.categories)) if view.category else []
    sizes = [f"{name}  ({size:,})" for name, size in zip(names, view.sizes, strict=True)] if view.rule else []
    if both:
        absent = np.arange(view.assigned.shape[1]) >= view.shown[:, None]
        _show(axes[0], np.where(absent[..., None, None, None], np.nan, view.assigned), images, sizes)
    _show(axes[-1], view.generated, "generated", names)
    title = f"Samples for each value of {view.category}" if view.category else f"Samples of {view.variable}"
    alt = f"{counted(rows, 'row')} of images generated by {view.draw}" + (f", beside {images}" if both else "")
    return Plate(view.name, title, caption, alt, figure, wide=True)


def _pairs(view: PairsView, images: str) -> Plate:
    columns = 6
    count = len(view.originals) // columns * columns or len(view.originals)
    columns = min(columns, count)
    pairs = np.concatenate([view.originals[:count, None], view.rebuilt[:count, None]], axis=1)
    tiles = pairs.reshape(-1, columns * 2, *pairs.shape[2:])
    figure = blank(WIDTH, WIDTH * len(tiles) / (columns * 2) * tiles.shape[3] / tiles.shape[4] + 0.1)
    _show(figure.subplots(), tiles, "", [], pairs=True)
    caption = (
        f"Random {images}, each beside its reconstruction on the right: latents from {view.infer} in mean mode "
        f"(every noise 0), then {view.variable} from {view.generate}."
    )
    alt = f"{count} pairs of an image and its reconstruction"
    return Plate(view.name, f"Reconstructions of {view.variable}", caption, alt, figure)


def _interpolation(view: InterpolationView, images: str) -> Plate:
    rows, columns = view.images.shape[:2]
    figure = blank(WIDTH, WIDTH * rows / columns * view.images.shape[3] / view.images.shape[4] + 0.1)
    _show(figure.subplots(), view.images, "", [], ends=True)
    words = {"linear": "moves on a straight line", "switch": "jumps at the middle"}
    paths = "; ".join(f"{name} {words[path]}" for name, path in view.paths)
    caption = (
        f"The first and the last column are {images}, of different classes; between them is {view.variable} generated "
        f"from latents on the way from one to the other, both ends included: {paths}."
    )
    alt = f"{counted(rows, 'row')} of images that change from one {images.removesuffix('s')} into another"
    return Plate(view.name, "Interpolation", caption, alt, figure)


def _show(axes: Axes, tiles: Array, title: str, labels: Sequence[str], pairs: bool = False, ends: bool = False) -> None:
    """A mosaic of (R, n, C, H, W), with a label for each row; wider gaps between `pairs`, or inside both `ends`."""
    columns = tiles.shape[1]
    wide = [(pairs and index % 2 == 1) or (ends and index in (0, columns - 2)) for index in range(columns)]
    mosaic, centres = _mosaic(tiles, wide)
    axes.imshow(mosaic, interpolation="nearest")
    axes.set_title(title, pad=3)
    axes.set_xticks([])
    axes.set_yticks(centres if labels else [], labels if labels else [])
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)


def _mosaic(tiles: Array, wide: Sequence[bool]) -> tuple[Array, list[float]]:
    """(an RGBA image in [0, 1], transparent between tiles and at NaN; the height of each row's middle)."""
    rows, columns, channels, height, width = tiles.shape
    zoom = max(1, math.ceil(TILE / max(height, width)))
    height, width = height * zoom, width * zoom
    big = tiles.repeat(zoom, axis=3).repeat(zoom, axis=4)
    colour = np.broadcast_to(big.mean(2, keepdims=True), (rows, columns, 3, height, width)) if channels != 3 else big
    widths = [width + (5 * GAP if gap else GAP) for gap in wide]
    mosaic = np.zeros((rows * (height + GAP) - GAP, sum(widths) - (widths[-1] - width), 4), dtype=np.float32)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + GAP), sum(widths[:column])
            mosaic[top : top + height, left : left + width, :3] = colour[row, column].transpose(1, 2, 0)
            mosaic[top : top + height, left : left + width, 3] = 1
    mosaic[np.isnan(mosaic).any(2)] = 0
    return mosaic, [row * (height + GAP) + height / 2 for row in range(rows)]


# --------------------------------------------------------------------------------------------------- tables and maps


def _matrix(view: MatrixView, images: str) -> Plate:
    order = np.arange(len(view.counts)) if view.supervised else _by_class(view.counts)
    order = order[np.isin(order, largest(view.counts.sum(1)))]
    counts = view.counts[order]
    shares = counts / max(1, view.counts.sum())
    darkest = max(shares.max(), 1e-9)
    rows, columns = counts.shape
    classes = labels(view.classes)
    names = classes.texts if view.supervised else tuple(map(str, range(len(view.counts))))
    across = classes.texts if len(view.classes) == columns else tuple(map(str, range(columns)))
    margin = 0.9 + LETTER * max(0, *(width(names[row]) - 2 for row in order))
    upright = max(map(width, across)) < 4
    across_all = min(margin + 0.33 * columns, WIDEST)
    wide = across_all > WIDTH + 1
    figure = blank(
        across_all,
        min(0.75 + 0.27 * rows + (0 if upright else LETTER * max(map(width, across))), WIDEST),
    )
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=darkest, aspect="auto", interpolation="nearest")
    if columns <= MOST_COUNTED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            ink = "white" if shares[row, column] > 0.55 * darkest else "#222222"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=SMALLEST, color=ink)
    every = -(-columns // MOST_COUNTED)
    axes.set_xticks(range(0, columns, every), across[::every], rotation=0 if upright else 90 if wide else 60)
    axes.set_yticks(range(rows), [names[row] for row in order])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_ylabel("class" if view.supervised else f"cluster {view.variable}")
    axes.set_xlabel("predicted" if view.supervised else "class")
    kind = "Confusion matrix" if view.supervised else "Cluster matrix"
    about = (
        "" if view.supervised else " Clusters stand in the order of the classes that one-to-one assignment gives them."
    )
    bayes = ", the Bayes rule of eq. 19" if view.bayes else ""
    count = f"{view.counts.sum():,}"
    caption = f"Predictions by {view.rule}{bayes}, of {count} {images}; the shade is the share of all of them.{about}"
    caption += _of_more(order, len(view.counts)) + classes.note
    axis = "true against predicted class" if view.supervised else "clusters against classes"
    alt = f"{rows} by {columns} table of counts: {axis}"
    return Plate(view.name, f"{kind} of {view.rule}", caption, alt, figure, wide)


def _by_class(counts: Array) -> Array:
    """Clusters by the class of one-to-one assignment; those without come after, by commonest class; empty ones last."""
    assigned = one_to_one(counts)
    place = np.where(assigned == NO_CLASS, counts.shape[1] + counts.argmax(1), assigned)
    return np.argsort(np.where(counts.sum(1) == 0, 2 * counts.shape[1], place), kind="stable")


def _embedding(view: EmbeddingView, images: str) -> Plate:
    classes = labels(view.classes)
    marks = len(POINTS) * len(MARKERS)
    named = len(view.classes) <= marks
    ncols = _legend_columns(classes.longest, min(10, len(view.classes)))
    figure = blank(WIDTH, WIDTH * 0.94 + (LINE * (-(-len(view.classes) // ncols) - 1) if named else 0))
    axes = figure.subplots()
    unknown = view.points[view.labels < 0]
    if len(unknown):
        axes.scatter(unknown[:, 0], unknown[:, 1], s=4, color="#dddddd", linewidths=0, rasterized=True)
    for index, name in enumerate(classes.texts):
        chosen = view.points[view.labels == index]
        colour, marker = _told_apart(index, POINTS, MARKERS, 4)
        plain: dict[str, Any] = {"color": colour, "marker": marker, "alpha": 0.75, "linewidths": 0, "rasterized": True}
        axes.scatter(chosen[:, 0], chosen[:, 1], s=7, label=name, **plain)
    for index, (x, y) in zip(view.components, view.means, strict=True):
        axes.scatter(x, y, s=135, color="#111111", edgecolors="white", linewidths=1, zorder=3)
        middle: dict[str, Any] = {"ha": "center", "va": "center_baseline", "weight": "bold", "zorder": 4}
        axes.text(x, y, str(index), color="white", fontsize=SMALLEST, **middle)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if named:
        _legend(figure, axes, ncols, loc="outside lower center", markerscale=2.4, handletextpad=0.1)
    means = (
        f" Black: the means of {view.variable} for each {view.category}, placed together with them."
        f"{_of_more(view.components, view.num_components)}"
        if len(view.means)
        else ""
    )
    caption = (
        f"t-SNE of {view.variable} from {view.factor} in mean mode, for {len(view.points):,} random {images}, coloured "
        f"by class (scikit-learn, PCA start, seed {view.seed}).{means}"
        + (classes.note if named else f" Of {len(view.classes):,} classes those {marks} apart look alike.")
    )
    alt = f"Map of {counted(len(view.points), 'point')} in {counted(len(view.classes), 'colour')}"
    return Plate(view.name, f"Map of {view.variable}", caption, alt, figure)


# --------------------------------------------------------------------------------------------------- curves


def _panel(panel: Panel, scale: float, unit: str) -> Plate:
    figure = blank(WIDTH, 2.7)
    axes = figure.subplots()
    names = labels([curve.label for curve in panel.curves], longest=40)
    for index, (curve, name) in enumerate(zip(panel.curves, names.texts, strict=True)):
        colour, dashes = _told_apart(index, LINES, DASHES, 3)
        few = "o" if len(curve.steps) < 12 else None
        axes.plot(curve.steps * scale, curve.values, color=colour, ls=dashes, marker=few, ms=3, label=name)
    if panel.level is not None:
        axes.axhline(panel.level[0], color="#666666", lw=0.8, ls=(0, (4, 3)), zorder=0, label=panel.level[1])
    if panel.logarithmic and any(np.nanmax(curve.values, initial=0) > 0 for curve in panel.curves):
        axes.set_yscale("log")
    if panel.bounds is not None:
        axes.set_ylim(panel.bounds)
    axes.set_xlabel(unit)
    axes.set_ylabel(panel.unit)
    axes.grid(axis="y")
    if unit == "step":
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(panel.curves) > 1 or panel.level is not None:
        widest = max(names.longest, width(panel.level[1]) if panel.level is not None else 0)
        ncols = _legend_columns(widest, 3)
        _legend(figure, axes, ncols, loc="outside upper center", handlelength=1.6)
    alt = f"{panel.title} over {unit}s: " + "; ".join(f"{curve.label} ends at {_last(curve)}" for curve in panel.curves)
    return Plate(f"curve_{panel.name}", panel.title, panel.note + names.note, alt, figure)


def _use(use: UsePanel, scale: float, unit: str) -> Plate:
    size = len(use.shares)
    figure = blank(WIDTH, min(1.1 + 0.16 * size, 6))
    axes = figure.subplots()
    steps = use.steps * scale
    middle = (steps[1:] + steps[:-1]) / 2
    edges = np.concatenate([[0.0], middle, steps[-1:]])
    mesh = axes.pcolormesh(edges, np.arange(size + 1) - 0.5, use.shares, cmap="viridis", vmin=0, rasterized=True)
    figure.colorbar(mesh, ax=axes, label="share", pad=0.02, aspect=15)
    axes.set_xlabel(unit)
    axes.set_ylabel(use.variable)
    axes.yaxis.set_major_locator(MaxNLocator(10, integer=True))
    alt = f"{use.title} over {unit}s; at the end from {_last_share(use, min)} to {_last_share(use, max)} %"
    caption = (
        "The share of the batch for which each category is the most probable one, in training. An even share is "
        f"{1 / size:.3g}; which categories are in use is said of the evaluated images."
    )
    return Plate(use.name, use.title, caption, alt, figure)


def _last_share(use: UsePanel, which: Callable[[Array], float]) -> str:
    return f"{100 * which(use.shares[:, -1]):.3g}"


def _of_more(shown: Array, size: int) -> str:
    """What is said where not all are shown."""
    return f" Of {size:,} the {len(shown):,} with the most images." if len(shown) < size else ""


def _last(curve: Curve) -> str:
    return f"{curve.values[-1]:.4g}"


def _told_apart(index: int, colours: Sequence[str], shapes: Sequence[S], alike: int) -> tuple[str, S]:
    """Of the index-th of many: a colour, and a shape that changes every few of them, for who sees fewer colours."""
    place = index % len(colours)
    return colours[place], shapes[(index // len(colours) + place // alike) % len(shapes)]


def _legend(figure: Figure, axes: Axes, ncols: int, **how: Any) -> None:
    """A legend that is read by rows: matplotlib fills columns."""
    entries = list(zip(*axes.get_legend_handles_labels(), strict=True))
    by_rows = [entry for column in range(ncols) for entry in entries[column::ncols]]
    handles, names = zip(*by_rows, strict=True)
    figure.legend(handles, names, ncols=ncols, columnspacing=COLUMN_SPACING, **how)


def _legend_columns(letters: int, most: int) -> int:
    """How many entries of so many letters stand side by side within the width of a figure."""
    return max(1, min(most, int(WIDTH / (HANDLE + LETTER * letters))))


def style() -> Any:
    """Of every figure, as matplotlib's `rc`."""
    return {**STYLE, "font.family": fonts()}


def blank(across: float, height: float) -> Figure:
    """A figure of so many inches."""
    return Figure(figsize=(across, height), layout="constrained")
