"""`ammgraph explain`: what a code of a diagnostic or of *Health* means, by their pages, and what a word of specs is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ammgraph.commands.arguments import positional
from ammgraph.diagnostics import CODES, WARNINGS, RunError, did_you_mean
from ammgraph.formulas.functions import FUNCTIONALS
from ammgraph.formulas.objectives import OBJECTIVES
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.layers.activations import ACTIVATIONS
from ammgraph.layers.initializers import INITIALIZERS
from ammgraph.layers.norms import NORMS
from ammgraph.layers.operations import OPERATIONS
from ammgraph.layers.weights import WEIGHT_NORMS
from ammgraph.spec.faults import FAULTS
from ammgraph.spec.measures import MEASURES

EXAMPLE = "ammgraph explain condition-mismatch"
PAGE, FAULTS_PAGE = "docs/diagnostics.md", "docs/when-it-does-not-work.md"


@dataclass(frozen=True)
class Options:
    """What is typed."""

    code: str | None = positional("as in the brackets of a message", "CODE", nargs="?")


def run(options: Options) -> int:
    """0 where there is such a code."""
    print(explain(options.code) if options.code else listing())
    return 0


@cache
def explanations(of: str = PAGE) -> dict[str, str]:
    """Code -> its section of a page: what it means, why, a wrong example with its message, a right one."""
    page = files("ammgraph").joinpath(of).read_text(encoding="utf-8")
    found = re.findall(r"^### `([a-z-]+)`\n+(.*?)(?=^##|\Z)", page, flags=re.MULTILINE | re.DOTALL)
    return {code: text.rstrip() for code, text in found}


def explain(code: str) -> str:
    """The section of a code, which may be written as printed, `error[CODE]` or `CODE:`; what a word of specs means.

    Raises:
        RunError: there is no such code.
    """
    name = re.sub(r"^(?:error|warning|health)?\[(.*)\]$", r"\1", code.strip().removesuffix(":"))
    if name in FAULTS:
        return f"health: {name}\n\n{explanations(FAULTS_PAGE)[name]}"
    if name not in CODES and (meanings := meanings_of(name)):
        return "\n".join([*meanings, "", "The language's page, docs/language.md, has more."])
    if name not in CODES:
        hint = did_you_mean(name, [*CODES, *FAULTS]) or "`ammgraph explain` lists them"
        raise RunError(f"no diagnostic has the code `{name}`; {hint}")
    return f"{'warning' if name in WARNINGS else 'error'}[{name}]\n\n{explanations()[name]}"


def meanings_of(word: str) -> list[str]:
    """What a word of the language's tables means, a line for each table that has it."""
    tables: dict[str, Mapping[str, Any]] = {
        "function of a term": FUNCTIONALS,
        "activation": ACTIVATIONS,
        "objective": OBJECTIVES,
        "penalty": PENALTIES,
        "operation": OPERATIONS,
        "norm": NORMS,
        "norm of weights": WEIGHT_NORMS,
        "distribution of initial weights": INITIALIZERS,
        "measure": MEASURES,
    }
    return [f"{word}, {what}: {table[word].meaning}" for what, table in tables.items() if word in table]


def listing() -> str:
    """Every code with its meaning, a line each."""
    known = CODES | FAULTS
    width = max(map(len, known))
    return "\n".join(f"{code:<{width}}  {meaning}" for code, meaning in known.items())
