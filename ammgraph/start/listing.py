"""What ships: every spec by name, what it is, and what was published for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import counted
from ammgraph.show.text import table
from ammgraph.spec.load import load_spec
from ammgraph.spec.measures import words
from ammgraph.spec.schema import Published
from ammgraph.spec.shipped import shipped_specs


@dataclass(frozen=True)
class Listed:
    """A spec that ships: its model in a line, its size, and the numbers that were published for it as it stands."""

    name: str
    path: str
    title: str
    factorizations: tuple[str, ...]
    parameters: int
    published: tuple[Published, ...]


def listed() -> list[Listed]:
    """Every spec that ships, by name."""
    found = []
    for name, path in shipped_specs().items():
        plan = compile_spec(load_spec(path))
        sides = dict.fromkeys(" ".join(factor.text for factor in draw.written) for draw in plan.draws)
        found.append(Listed(name, str(path), plan.title, tuple(sides), plan.parameters, plan.published))
    return found


def listing_text(found: Sequence[Listed]) -> str:
    """A paragraph a spec, and how to copy one."""
    lines = []
    for spec in found:
        lines.append(f"{spec.name}: {spec.title}")
        rows = [(side, "") for side in spec.factorizations]
        rows[0] = (rows[0][0], counted(spec.parameters, "parameter"))
        lines += table(rows)
        lines += [f"  published: {published_text(number)}" for number in spec.published]
        lines.append("")
    name = found[0].name if found else "NAME"
    return "\n".join([*lines, f"`ammgraph train {name}` trains one, `ammgraph copy {name} mine.yaml` copies it."])


def published_text(number: Published) -> str:
    """`clustering error 3.32 +- 0.39 %, 10 trials (Table 1)`."""
    trials = "" if number.trials is None else f", {counted(number.trials, 'trial')}"
    return f"{words(number.metric)} {published_value(number)}{trials} ({number.source})"


def published_value(number: Published) -> str:
    """`3.32 +- 0.39 %`."""
    digits, unit = (".2f", " %") if number.unit == "percent" else ("g", "")
    spread = "" if number.std is None else f" +- {number.std:{digits}}"
    return f"{number.value:{digits}}{spread}{unit}"


def listing_json(found: Sequence[Listed]) -> list[dict[str, object]]:
    """The list for tools: one object a spec, `published` as it stands in the spec."""
    return [
        {
            "name": spec.name,
            "path": spec.path,
            "title": spec.title,
            "factorizations": list(spec.factorizations),
            "parameters": spec.parameters,
            "published": [number.model_dump() for number in spec.published],
        }
        for spec in found
    ]
