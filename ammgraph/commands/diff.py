"""`ammgraph diff`: what changes from one model to another."""

import json
import os
import sys
from dataclasses import dataclass

from ammgraph.commands import kinds
from ammgraph.commands.arguments import OfSpec, form, positional, switch
from ammgraph.commands.compiled import compiled
from ammgraph.terminal import as_it_is, escaped

EXAMPLE = "ammgraph diff specs/ali_mnist.yaml specs/conditional_ali_mnist.yaml"


@dataclass(frozen=True)
class Options(OfSpec):
    """What is typed."""

    first: str = positional("a spec, or a run directory", "A", type=kinds.spec)
    second: str = positional(None, "B", type=kinds.spec)
    exit_code: bool = switch("exit with 1 where they differ; else 0 in any case")
    format: str = form()


def run(options: Options) -> int:
    """1 where the models differ and `--exit-code` is given, else 0."""
    from ammgraph.show.difference import difference_json, difference_text, differences

    (spec, plan), (other_spec, other) = compiled(options.first, options), compiled(options.second, options)
    changes = differences((spec, plan), (other_spec, other))
    if options.format == "json":
        print(json.dumps(difference_json(changes, plan, other), indent=1))
    elif not changes:
        print(f"{options.first} and {options.second} are the same model")
    else:
        colours = {"+": "32", "-": "31", "~": "33"} if sys.stdout.isatty() and "NO_COLOR" not in os.environ else {}
        for line in map(escaped, difference_text(changes, plan, other)):
            text = f"\033[{colours[line[0]]}m{line}\033[0m" if line[0] in colours else line
            print(text, file=as_it_is(sys.stdout))
    return 1 if changes and options.exit_code else 0
