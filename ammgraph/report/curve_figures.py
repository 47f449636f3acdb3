"""Figures of a run's curves: panels come in, a plate of each goes out."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ammgraph.evaluation.metrics import Array
from ammgraph.report.curves import Curve, Curves, Panel, UsePanel
from ammgraph.report.labels import labels, width
from ammgraph.report.plates import LINES, WIDTH, Plate, blank, label_decades, legend, legend_columns, style, told_apart

UNITS = (("hours", 3600), ("minutes", 60), ("seconds", 1))
LONGEST = 1e9  # seconds
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)))


def draw_curves(curves: Curves) -> tuple[Plate, ...]:
    """One plate a panel; by epochs where the run saw two of them, else by steps, and by the time of training."""
    last = max((int(curve.steps[-1]) for panel in curves.panels for curve in panel.curves), default=0)
    scale, unit = curves.unit(last)
    with mpl.rc_context(style()):
        plates = (
            *(_panel(panel, scale, unit) for panel in curves.panels),
            *(_use(use, scale, unit) for use in curves.uses if use.shares.size),
        )
        for plate in plates:
            _add_clock(plate.figure.axes[0], curves.clock, scale)
        return tuple(_with_phases(plate, curves.phases) for plate in plates)


def _add_clock(axes: Axes, clock: Sequence[tuple[int, float]], scale: float) -> None:
    """The time of training as an axis on top; none where it is unknown, or is no time that a run can take."""
    steps, seconds = np.array(clock, dtype=float).reshape(-1, 2).T
    if len(clock) < 2 or (np.diff(steps) <= 0).any() or (np.diff(seconds) <= 0).any() or seconds[-1] > LONGEST:
        return
    unit, of_unit = next((unit, size) for unit, size in UNITS if seconds[-1] >= 2 * size or size == 1)
    ticks = np.asarray(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(0, seconds[-1] / of_unit))
    ticks = ticks[ticks * of_unit <= seconds[-1]]
    top = axes.secondary_xaxis("top")
    top.set_xticks(np.interp(ticks * of_unit, seconds, steps) * scale, [f"{tick:g}" for tick in ticks])
    top.set_xlabel(f"{unit} of training")


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


def _panel(panel: Panel, scale: float, unit: str) -> Plate:
    figure = blank(WIDTH, 2.7)
    axes = figure.subplots()
    names = labels([curve.label for curve in panel.curves], longest=40)
    for index, (curve, name) in enumerate(zip(panel.curves, names.texts, strict=True)):
        colour, dashes = told_apart(index, LINES, DASHES, 3)
        few = "o" if len(curve.steps) < 12 else None
        axes.plot(curve.steps * scale, curve.values, color=colour, ls=dashes, marker=few, ms=3, label=name)
    if panel.level is not None:
        axes.axhline(panel.level[0], color="#666666", lw=0.8, ls=(0, (4, 3)), zorder=0, label=panel.level[1])
    if panel.logarithmic and any(np.nanmax(curve.values, initial=0) > 0 for curve in panel.curves):
        axes.set_yscale("log")
        label_decades(axes.yaxis)
    if panel.bounds is not None:
        axes.set_ylim(panel.bounds)
    axes.set_xlabel(unit)
    axes.set_ylabel(panel.unit)
    axes.grid(axis="y")
    if unit == "step":
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(panel.curves) > 1 or panel.level is not None:
        widest = max(names.longest, width(panel.level[1]) if panel.level is not None else 0)
        ncols = legend_columns(widest, 3)
        legend(figure, axes, ncols, loc="outside upper center", handlelength=1.6)
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


def _last(curve: Curve) -> str:
    return f"{curve.values[-1]:.4g}"
