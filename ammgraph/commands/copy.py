"""`ammgraph copy`: copy a spec that ships."""

from dataclasses import dataclass
from pathlib import Path

from ammgraph.commands import kinds
from ammgraph.commands.arguments import positional

EXAMPLE = "ammgraph copy amm_mnist_q1 mine.yaml"


@dataclass(frozen=True)
class Options:
    """What is typed."""

    name: str = positional("as `ammgraph specs` lists it", "NAME", type=kinds.spec_name)
    path: Path | None = positional("the new file, or a folder (default: NAME.yaml)", "PATH", nargs="?", type=kinds.path)


def run(options: Options) -> int:
    """0 where it is copied."""
    from ammgraph.start.copies import copy_spec, write_schema

    copied = copy_spec(options.name, options.path)
    for path in (*copied, write_schema(copied[0].parent)):
        if path is not None:
            print(path)
    return 0
