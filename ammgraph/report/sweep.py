"""The page of a sweep: its best trial, each value that was varied against the measure, a table of all trials."""

import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ammgraph import __version__
from ammgraph.diagnostics import RunError, counted
from ammgraph.evaluation.looks import reads_labels
from ammgraph.folders import REPORT, tried_folder
from ammgraph.plan.metric import Metric
from ammgraph.report.figure_files import Data, check_figures, write_figures
from ammgraph.report.labels import labels
from ammgraph.report.page import Table, is_page, rendered
from ammgraph.report.plates import LINES, WIDTH, Plate, blank, label_decades, style
from ammgraph.runs.outputs import check_output, write_output
from ammgraph.runs.run import read_options
from ammgraph.runs.sweeps import Sweep, Tried, best_of, ranked, read_sweep, read_tried
from ammgraph.spec.measures import words
from ammgraph.spec.vary import Axis

SHOWN = ("finished", "pruned")
LONGEST = 30  # letters of a choice


def report_sweep(folder: Path, output: Path | None = None, figures: Path | None = None, force: bool = False) -> Path:
    """Write the page of a sweep as it stands, also while it is under way.

    Args:
        folder: of the sweep.
        output: the page, `report.html` in the folder unless given.
        figures: a folder for each figure as SVG, and its data as CSV.
        force: whether files that are there are replaced whatever they are; else only those of a report.

    Returns:
        The page.

    Raises:
        RunError: the folder holds no sweep, or the files cannot be written, or are not to be replaced.
    """
    page = output or folder / REPORT
    sweep, tried = read_sweep(folder), read_tried(folder)
    check_output(page, is_page, force)
    if figures is not None:
        check_figures(figures, force)
    plates = _plates(sweep, tried)
    write_output(page, _page(folder, sweep, tried, plates).encode())
    if figures is not None:
        data = [_looks(tried), *(_axis_data(sweep, tried, axis) for axis in sweep.axes)]
        write_figures(figures, plates, data if plates else [])
    return page


def measure_words(metric: str) -> str:
    """`one-to-one error of y`, `NMI of y, eq. 19`."""
    found = Metric.of(metric)
    variable, _, rule = found.owner.partition("/")
    return f"{words(found.what).replace('one to one', 'one-to-one')} of {variable}{', eq. 19' if rule else ''}"


def _page(folder: Path, sweep: Sweep, tried: Sequence[Tried], plates: Sequence[Plate]) -> str:
    best = best_of(sweep, tuple(tried))
    states = [one.state for one in tried]
    return rendered(
        "sweep.html.jinja",
        title=sweep.options.name,
        measure=measure_words(sweep.metric),
        better=sweep.better,
        labels=reads_labels(sweep.metric),
        best=None if best is None else f"{best.value:.5g}",
        best_run=None if best is None else str(tried_folder(folder, best.number)),
        best_values=[] if best is None else _sets(sweep, best),
        has_test=best is not None and _has_test(tried_folder(folder, best.number)),
        folder=folder,
        tiles=[(f"{states.count(state)}", state) for state in ("finished", "pruned", "failed") if state in states],
        trials=counted(sweep.trials, "trial"),
        figures=plates,
        table_of_trials=_table(sweep, tried),
        failures=[(one.number, one.reason) for one in tried if one.reason],
        vary=sweep.vary,
        command=sweep.options.command,
        version=__version__,
    )


def _has_test(run: Path) -> bool:
    """Whether a run's data have test examples, as far as it says."""
    try:
        splits = [name.rpartition("/")[2] for name in read_options(run).data_sha256 or {}]
    except RunError:
        return False
    return 0 < splits.count("train") == splits.count("test")  # of every data set


def _sets(sweep: Sweep, one: Tried) -> list[str]:
    return [axis.set(value) for axis, value in zip(sweep.axes, one.values, strict=True)]


def _table(sweep: Sweep, tried: Sequence[Tried]) -> Table:
    head = ("Trial", measure_words(sweep.metric), "", "Looks", *(axis.key for axis in sweep.axes))
    rows = (
        (
            str(one.number),
            "" if one.value is None else f"{one.value:.5g}",
            "" if one.state == "finished" else one.state,
            str(len(one.looks)),
            *(text.partition("=")[2] for text in _sets(sweep, one)),
        )
        for one in ranked(sweep, tuple(tried))
    )
    return Table(head, tuple(rows), right=(0, 1, 3))


# ------------------------------------------------------------------------------------------------ figures


def _plates(sweep: Sweep, tried: Sequence[Tried]) -> tuple[Plate, ...]:
    """None before a trial has a value."""
    if not any(one.value is not None for one in tried if one.state in SHOWN):
        return ()
    with mpl.rc_context(style()):
        return (_curves(sweep, tried), *(_against(sweep, tried, axis) for axis in sweep.axes))


def _curves(sweep: Sweep, tried: Sequence[Tried]) -> Plate:
    """Every trial's looks; the best one stands out."""
    best = best_of(sweep, tuple(tried))
    figure = blank(WIDTH, 2.7)
    axes = figure.subplots()
    for one in tried:
        steps, values = zip(*one.looks, strict=True) if one.looks else ((), ())
        first = best is not None and one.number == best.number
        few = "o" if len(steps) < 3 else None
        colour = LINES[1] if first else "#666666"
        axes.plot(steps, values, color=colour, lw=1.6 if first else 0.6, marker=few, ms=3, zorder=3 if first else 2)
    axes.set_xlabel("look at the validation examples")
    axes.set_ylabel(measure_words(sweep.metric))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.grid(axis="y")
    told = "" if best is None else f" In colour: trial {best.number}, the best one."
    pruned = sum(one.state == "pruned" for one in tried)
    caption = f"Each line is a trial{f', of which {pruned} were pruned' if pruned else ''}.{told}"
    alt = f"{measure_words(sweep.metric)} at each look of {counted(len(tried), 'trial')}"
    return Plate("looks", "The trials while they trained", caption, alt, figure)


def _against(sweep: Sweep, tried: Sequence[Tried], axis: Axis) -> Plate:
    """A point for each trial: what the axis was, and what came of it."""
    figure = blank(WIDTH, 2.7)
    axes = figure.subplots()
    for state, marker, fill in (("finished", "o", LINES[0]), ("pruned", "v", "none")):
        own = [one for one in tried if one.state == state and one.value is not None]
        points = [(_place(sweep, axis, one), one.value) for one in own]
        if points:
            xs, ys = zip(*points, strict=True)
            axes.scatter(
                xs, ys, s=18, marker=marker, facecolors=fill, edgecolors=LINES[0], linewidths=0.8, label=state, zorder=3
            )
    _name_places(axes, axis)
    axes.set_xlabel(axis.key)
    axes.set_ylabel(measure_words(sweep.metric))
    axes.grid(axis="y")
    if any(one.state == "pruned" for one in tried):
        figure.legend(loc="outside upper center", ncols=2)
    caption = f"{sweep.better.capitalize()} is better; a trial that was pruned stands where it was then."
    alt = f"{measure_words(sweep.metric)} against {axis.key}, a point for each trial"
    place = [other.key for other in sweep.axes].index(axis.key) + 1
    name = re.sub(r"\W+", "_", f"axis_{place}_{axis.key}")
    return Plate(name, axis.key, caption, alt, figure)


def _name_places(axes: Axes, axis: Axis) -> None:
    if axis.choices:
        axes.set_xticks(range(len(axis.choices)), labels(axis.choices, longest=LONGEST).texts)
        axes.set_xlim(-0.5, len(axis.choices) - 0.5)
    elif axis.log:
        axes.set_xscale("log")
        label_decades(axes.xaxis)


def _place(sweep: Sweep, axis: Axis, one: Tried) -> float:
    value = one.values[[other.key for other in sweep.axes].index(axis.key)]
    return float(axis.choices.index(str(value)) if axis.choices else value)


def _looks(tried: Sequence[Tried]) -> Data:
    rows = ((one.number, one.state, look, value) for one in tried for look, value in one.looks)
    return Data(("trial", "state", "look", "value"), rows)


def _axis_data(sweep: Sweep, tried: Sequence[Tried], axis: Axis) -> Data:
    own = [other.key for other in sweep.axes].index(axis.key)
    rows = ((one.number, one.state, one.values[own], np.nan if one.value is None else one.value) for one in tried)
    return Data(("trial", "state", axis.key, "value"), rows)
