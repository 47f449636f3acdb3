"""`ammgraph compare`: a table of runs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ammgraph.commands import kinds
from ammgraph.commands.arguments import OfScores, option, positional, switch
from ammgraph.diagnostics import RunError, nearest
from ammgraph.terminal import one_line, print_lines, say

if TYPE_CHECKING:
    from ammgraph.api.run import Comparison
    from ammgraph.evaluation.compare import Group
    from ammgraph.evaluation.summary import Summary

EXAMPLE = "ammgraph compare runs/*"


FORMATS = ("text", "json", "csv", "latex", "markdown", "html")


@dataclass(frozen=True)
class Options(OfScores):
    """What is typed."""

    run_dirs: tuple[Path, ...] = positional(
        "run directories, and folders of trials; what is neither is passed over; with --summary specs too",
        "RUN",
        nargs="+",
        type=kinds.path,
    )
    summary: bool = switch(
        "a row for each model: what was published, and what its runs, or those that its spec names, have reached"
    )
    again: bool = switch("evaluate every run anew")
    format: str = option(
        "text; json, csv: every number of every run; latex: a table for booktabs; markdown; html: a page",
        choices=FORMATS,
        default="text",
    )


def run(options: Options) -> int:
    """0 where every run has its numbers."""
    from ammgraph.commands.run_folders import all_runs

    if options.summary and options.format == "html":
        raise RunError(
            "`--summary` is text, JSON, CSV, LaTeX or Markdown; the page of `--format html` has every number"
        )
    if not options.summary and all(map(spec_file, options.run_dirs)):
        raise RunError(f"{options.run_dirs[0]} is a spec and no run; `--summary` shows what was published for it")
    found = _summary(options) if options.summary else _table(options, all_runs(options.run_dirs))
    if options.format == "text":
        print_lines(str(found).split("\n"))
    elif options.format == "json":
        print(json.dumps(found.to_dict(), indent=1))
    else:
        print(getattr(found, f"to_{options.format}")(), end="")
    return 0


def _table(options: Options, runs: Sequence[Path]) -> "Comparison":
    found = _compared(options, runs)
    if options.format == "csv":  # which has no place for them
        _warn(found.groups)
    return found


def _warn(groups: "Sequence[Group]") -> None:
    from ammgraph.evaluation.compare import warnings

    for group in groups:
        for text in warnings(group):
            say(one_line(f"warning: {group.name}: {text}"))


def _compared(options: Options, runs: Sequence[Path]) -> "Comparison":
    from ammgraph.api.run import compare

    return compare(
        runs,
        split=options.split,
        again=options.again,
        device=options.device,
        data_dir=options.data_dir,
        download=options.download,
    )


def _summary(options: Options) -> "Summary":
    from ammgraph.commands.run_folders import all_runs
    from ammgraph.evaluation.summary import summary
    from ammgraph.spec.shipped import shipped_specs

    specs = {path: spec_file(path) for path in options.run_dirs}
    folders = [path for path, spec in specs.items() if spec is None]
    if unknown := next((path for path in folders if not path.exists()), None):
        hint = nearest(str(unknown), shipped_specs())
        raise RunError(f"{unknown} is no run directory, and no spec that ships{f'; {hint}' if hint else ''}")
    runs = all_runs(folders) if folders else []
    sources: list[Path] = []
    for path, spec in specs.items():
        sources += [spec] if spec else [run for run in runs if path in (run, *run.parents)]
    groups = _compared(options, runs).groups if runs else ()
    _warn(groups)
    return summary(sources, groups)


def spec_file(path: Path) -> Path | None:
    """The spec that is named, as a file or by the name of one that ships; None of what may be a run."""
    from ammgraph.spec.shipped import shipped_specs

    if path.suffix in (".yaml", ".yml"):
        return path
    return None if path.exists() else shipped_specs().get(str(path))
