"""`ammgraph compare`: a table of runs."""

import json
from dataclasses import dataclass
from pathlib import Path

from ammgraph.commands import kinds
from ammgraph.commands.arguments import OfScores, form, positional, switch
from ammgraph.terminal import print_lines

EXAMPLE = "ammgraph compare runs/amm_mnist-* runs/amm_mnist_q1-*"


@dataclass(frozen=True)
class Options(OfScores):
    """What is typed."""

    run_dirs: tuple[Path, ...] = positional(None, "RUN", nargs="+", type=kinds.path)
    again: bool = switch("evaluate every run anew")
    format: str = form()


def run(options: Options) -> int:
    """0 where every run has its numbers."""
    from ammgraph.evaluation import compare

    groups = compare.compare_runs(options.run_dirs, options.place(), options.split, options.again)
    if options.format == "json":
        print(json.dumps(compare.as_json(groups), indent=1))
    else:
        print_lines(compare.lines(groups))
    return 0
