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
    from ammgraph.api.run import compare
    from ammgraph.commands.run_folders import all_runs

    compared = compare(
        all_runs(options.run_dirs),
        split=options.split,
        again=options.again,
        device=options.device,
        data_dir=options.data_dir,
        download=options.download,
    )
    if options.format == "text":
        print_lines(str(compared).split("\n"))
    elif options.format == "json":
        print(json.dumps(compared.to_dict(), indent=1))
    else:
        writers = {"csv": compared.to_csv, "latex": compared.to_latex, "html": compared.to_html}
        print(writers[options.format](), end="")
    return 0
