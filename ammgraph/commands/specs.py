"""`ammgraph specs`: list the specs that ship."""

import json
from dataclasses import dataclass

from ammgraph.commands.arguments import option

EXAMPLE = "ammgraph specs --format json"


@dataclass(frozen=True)
class Options:
    """What is typed."""

    format: str = option(None, choices=("text", "markdown", "json"), default="text")


def run(options: Options) -> int:
    """Always 0."""
    from ammgraph.start.listing import listed, listing_json, listing_markdown, listing_text

    found = listed()
    if options.format == "json":
        print(json.dumps(listing_json(found), indent=1))
    else:
        print(listing_markdown(found) if options.format == "markdown" else listing_text(found))
    return 0
