"""`ammgraph schema`: print the JSON Schema of specs."""

from dataclasses import dataclass

EXAMPLE = "ammgraph schema > ammgraph.schema.json"


@dataclass(frozen=True)
class Options:
    """Nothing is typed."""


def run(_: Options) -> int:
    """Always 0."""
    from ammgraph.start.json_schema import schema_text

    print(schema_text(), end="")
    return 0
