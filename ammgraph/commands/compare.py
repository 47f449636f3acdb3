"""`ammgraph compare`: a table of runs."""

import json
from dataclasses import dataclass
from pathlib import Path

from ammgraph.commands import kinds
from ammgraph.commands.arguments import OfScores, option, positional, switch
from ammgraph.terminal import print_lines

EXAMPLE = "ammgraph compare runs/*"


FORMATS = ("text", "json", "csv", "latex", "html")


@dataclass(frozen=True)
class Options(OfScores):
    """What is typed."""

    run_dirs: tuple[Path, ...] = positional(
        "run directories, and folders of trials; what is neither is passed over", "RUN", nargs="+", type=kinds.path
    )
    again: bool = switch("evaluate every run anew")
    format: str = option(
        "text; json, csv: every number of every run; latex: a table for booktabs; html: a page",
        choices=FORMATS,
        default="text",
    )


def run(options: Options) -> int:
    """0 where every run has its numbers."""
    from ammgraph.commands.run_folders import all_runs
    from ammgraph.evaluation import compare, compare_tables
    from ammgraph.report.comparison import comparison_page

    groups = compare.compare_runs(all_runs(options.run_dirs), options.place(), options.split, options.again)
    if options.format == "text":
        print_lines(compare.lines(groups))
    elif options.format == "json":
        print(json.dumps(compare.as_json(groups), indent=1))
    else:
        writers = {"csv": compare_tables.as_csv, "latex": compare_tables.as_latex, "html": comparison_page}
        print(writers[options.format](groups), end="")
    return 0
