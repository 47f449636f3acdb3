"""`ammgraph specs`: list the specs that ship."""

import json
from dataclasses import dataclass

from ammgraph.commands.arguments import form

EXAMPLE = "ammgraph specs --format json"


@dataclass(frozen=True)
class Options:
    """What is typed."""

    format: str = form()


def run(options: Options) -> int:
    """Always 0."""
    from ammgraph.start.listing import listed, listing_json, listing_text

    found = listed()
    print(json.dumps(listing_json(found), indent=1) if options.format == "json" else listing_text(found))
    return 0
