"""`ammgraph explain`: what a diagnostic's code means, from the page of all codes."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ammgraph.commands.arguments import positional
from ammgraph.diagnostics import CODES, WARNINGS, RunError, did_you_mean

EXAMPLE = "ammgraph explain condition-mismatch"
PAGE = "docs/diagnostics.md"


@dataclass(frozen=True)
class Options:
    """What is typed."""

    code: str | None = positional("as in the brackets of a message", "CODE", nargs="?")


def run(options: Options) -> int:
    """0 where there is such a code."""
    print(explain(options.code) if options.code else listing())
    return 0


@cache
def explanations() -> dict[str, str]:
    """Code -> its section of the page: what it means, why, a wrong example with its message, and a right one."""
    page = files("ammgraph").joinpath(PAGE).read_text(encoding="utf-8")
    found = re.findall(r"^### `([a-z-]+)`\n+(.*?)(?=^##|\Z)", page, flags=re.MULTILINE | re.DOTALL)
    return {code: text.rstrip() for code, text in found}


def explain(code: str) -> str:
    """The section of a code, which may be written as printed, `error[CODE]`.

    Raises:
        RunError: there is no such code.
    """
    name = re.sub(r"^(?:error|warning)?\[(.*)\]:?$", r"\1", code.strip())
    if name not in CODES:
        hint = did_you_mean(name, CODES) or "`ammgraph explain` lists them"
        raise RunError(f"no diagnostic has the code `{name}`; {hint}")
    return f"{'warning' if name in WARNINGS else 'error'}[{name}]\n\n{explanations()[name]}"


def listing() -> str:
    """Every code with its meaning, a line each."""
    width = max(map(len, CODES))
    return "\n".join(f"{code:<{width}}  {meaning}" for code, meaning in CODES.items())
