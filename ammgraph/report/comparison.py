"""The page of several runs: of the trials of one model, or of whatever `compare` is given.

A number of each run, mean and standard deviation, as `compare` shows them; of trials with links to the pages of each.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from ammgraph import __version__
from ammgraph.diagnostics import counted
from ammgraph.evaluation import compare
from ammgraph.evaluation.chief import ASKED_FIRST
from ammgraph.evaluation.compare import Group, faults, is_chief, legend, measure_of, measured, rows, spread_of, unit_of
from ammgraph.evaluation.results import number
from ammgraph.folders import REPORT
from ammgraph.report.page import Table, is_page, rendered
from ammgraph.report.report import ReportOptions, report_run
from ammgraph.runs.outputs import check_output, make_output_folder, write_output
from ammgraph.runs.run import Place


def report_trials(
    folders: Sequence[Path], page: Path, place: Place, options: ReportOptions, force: bool = False
) -> list[Path]:
    """Write a page for each trial, in its run directory, and one of all of them.

    Args:
        folders: the trials.
        page: the page of all.
        place: their device and their data.
        options: what is shown of each.
        force: whether files that are there are replaced whatever they are; else only those of a report.

    Returns:
        The pages, that of all last.

    Raises:
        RunError: as `report_run`.
    """
    check_output(page, is_page, force)
    if options.figures is not None:
        make_output_folder(options.figures)
    pages = [report_run(folder, place, options=_own(options, folder), force=force) for folder in folders]
    groups = compare.compare_runs(folders, place, options.split)
    links = {folder: quote(os.path.relpath(folder / REPORT, page.parent)) for folder in folders}
    write_output(page, comparison_page(groups, links).encode("utf-8"))
    return [*pages, page]


def _own(options: ReportOptions, folder: Path) -> ReportOptions:
    """What is shown of one trial: its figures go into a folder of its own."""
    return options if options.figures is None else replace(options, figures=options.figures / folder.name)


def comparison_page(groups: Sequence[Group], links: Mapping[Path, str] | None = None) -> str:
    """The page of groups of runs; `links` are where the pages of runs are, seen from it."""
    return rendered(
        "comparison.html.jinja",
        title=" and ".join(dict.fromkeys(group.name for group in groups)),
        groups=[
            {
                "name": group.name,
                "notes": [line.strip() for line in legend(groups, place)[1:]],
                "runs": counted(len(group.runs), "run"),
                "data": group.data,
                "headline": _headline(group),
                "seeds": _seeds(group),
                "table": _table(group),
                "health": _health(group),
                "pages": [(run.evaluation.seed, (links or {}).get(run.folder), str(run.folder)) for run in group.runs],
            }
            for place, group in enumerate(groups)
        ],
        version=__version__,
    )


def _headline(group: Group) -> list[tuple[str, str]]:
    """The numbers that one looks for first, of clusters by one assignment, and k-means' beside them."""
    found = [row for row in rows(group) if row.result.name in ASKED_FIRST]
    chief = [row for row in found if row.result.protocol in ("", group.protocol_of(row.result.variable))]
    in_use = [row for row in rows(group) if row.result.name == "components_in_use" and row.result.rule == "posterior"]
    return [(_cell(row), ", ".join(filter(None, measure_of(row.result)))) for row in (*chief, *in_use)]


def _cell(row: compare.Row) -> str:
    mean, std = spread_of(row)
    return f"{mean}{f' ± {std}' if std else ''}{unit_of(row.result)}"


def _seeds(group: Group) -> Table:
    """A column for each run, of the measures that one looks for."""
    shown = [row for row in rows(group) if is_chief(row.result)]
    head = ("", *(f"seed {run.evaluation.seed}" for run in group.runs), "mean")
    cells = (
        (
            ", ".join(filter(None, measure_of(row.result))),
            *(
                f"{number(value, row.result.unit)}{unit_of(row.result) if value is not None else ''}"
                for value in row.values
            ),
            _cell(row),
        )
        for row in shown
    )
    return Table(head, tuple(cells), kind="results")


def _table(group: Group) -> Table:
    """Every number that is one number."""
    found = tuple((*names, _cell(row), f"{len(row.known)}") for names, row in measured(group).items())
    return Table(("Measure", "Rule", "Mean", "Runs"), found, right=(2, 3), kind="how")


def _health(group: Group) -> Table:
    """Each fault, and in how many of the runs."""
    judged = sum(run.faults is not None for run in group.runs)
    found = tuple((code, f"{count} of {counted(judged, 'run')}") for code, count in faults(group).items())
    return Table(("Fault", "In"), found, right=(1,))
