"""What ships: every spec by name, what it is, what was published for it, and what it has reached."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import counted
from ammgraph.plan.plan import Plan
from ammgraph.show.text import table
from ammgraph.spec.data_sets import DATA_SETS
from ammgraph.spec.load import load_spec
from ammgraph.spec.measures import MAJORITY, first_protocol, words
from ammgraph.spec.notation import number_text
from ammgraph.spec.published import Measured, Published
from ammgraph.spec.shipped import shipped_specs
from ammgraph.terminal import one_line

COLUMNS = ("spec", "K", "data", "labels", "published", "measured", "minutes a seed")


@dataclass(frozen=True)
class Listed:
    """A spec that ships: its model in a line, its size, its data, what was published for it and what it has reached."""

    name: str
    path: str
    title: str
    factorizations: tuple[str, ...]
    parameters: int
    categories: tuple[int, ...]  # how many each variable has that it infers: K; none where features are clustered
    data: str
    labels: str  # how many examples have one; empty where the model reads none
    augmented: bool
    protocol: str  # by which clustering errors are told
    published: tuple[Published, ...]
    measured: tuple[Measured, ...]


def listed() -> list[Listed]:
    """Every spec that ships, by name."""
    return [listed_spec(name, path) for name, path in shipped_specs().items()]


def listed_spec(name: str, path: str | Path) -> Listed:
    """A spec of a name, with what it says that it has reached.

    Raises:
        SpecError: it is none, or no model.
    """
    spec = load_spec(path)
    plan = compile_spec(spec)
    categories = () if plan.evaluation.features else tuple(plan.variable(r.variable).shape[0] for r in plan.readouts)
    known = DATA_SETS.get(plan.data.dataset) if len(plan.data_names) == 1 else None
    sides = dict.fromkeys(" ".join(factor.text for factor in draw.written) for draw in plan.draws)
    return Listed(
        name,
        str(path),
        plan.title,
        tuple(sides),
        plan.parameters,
        categories,
        ", ".join(data.dataset for data in spec.data_sets.values()),
        _labels(plan),
        _augmented(plan),
        first_protocol(max(categories, default=0), known.classes if known else 0),
        plan.published,
        spec.holding(spec.measured),
    )


def _labels(plan: Plan) -> str:
    """`100`, `all`; nothing where no factor takes labels."""
    if not any(readout.supervised for readout in plan.readouts):
        return ""
    labeled = plan.data.labeled
    return "all" if labeled is None or labeled.count == "all" else f"{labeled.count:,}"


def _augmented(plan: Plan) -> bool:
    """Whether a network makes other images of what it reads, or a term moves it: Table 1's asterisk, IMSAT's too."""
    activations = (row.activation for network in plan.networks for row in network.rows if row.activation is not None)
    moved = any(turn.passes_of("moved") for turn in plan.turns)
    return moved or any(activation.kind.augments for activation in activations)


def listing_text(found: Sequence[Listed]) -> str:
    """A paragraph a spec, and how to copy one."""
    lines = []
    for spec in found:
        lines.append(f"{spec.name}: {spec.title}")
        rows = [(side, "") for side in spec.factorizations]
        rows[0] = (rows[0][0], counted(spec.parameters, "parameter"))
        lines += table(rows)
        lines += [f"  published: {published_text(number)}" for number in spec.published]
        lines += [f"  measured: {measured_text(number, spec.augmented)}" for number in spec.measured]
        lines.append("")
    name = found[0].name if found else "NAME"
    return "\n".join([*lines, f"`ammgraph train {name}` trains one, `ammgraph copy {name} mine.yaml` copies it."])


def listing_markdown(found: Sequence[Listed]) -> str:
    """A row a spec; (*) marks what was reached with augmented or moved images, as in Table 1 of the AMM paper."""
    cells = [[one_line(cell).replace("|", "\\|") for cell in listing_row(spec)] for spec in found]
    rows = [COLUMNS, ("---",) * len(COLUMNS), *((f"`{name}`", *others) for name, *others in cells)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def listing_row(spec: Listed) -> tuple[str, ...]:
    """What stands in `COLUMNS`."""
    mark = " (*)" if spec.augmented else ""
    return (
        spec.name,
        ", ".join(map(str, spec.categories)),
        spec.data,
        spec.labels,
        "; ".join(f"{_measure(spec, number)} {published_value(number)}" for number in spec.published),
        "; ".join(f"{_measure(spec, number)} {_reached(number)}{mark}{_options(number)}" for number in spec.measured),
        "; ".join(dict.fromkeys(_minutes(number) for number in spec.measured)),
    )


def _measure(spec: Listed, number: Published | Measured) -> str:
    """`clustering error by majority`; `classification error`."""
    by = " by majority" if number.metric == "clustering_error" and spec.protocol == MAJORITY else ""
    return f"{words(number.metric)}{by}"


def _options(number: Measured) -> str:
    return f" ({number.options})" if number.options else ""


def published_text(number: Published) -> str:
    """`clustering error 3.32 +- 0.39 %, 10 trials (Table 1)`."""
    return f"{words(number.metric)} {published_source(number)}"


def published_source(number: Published) -> str:
    """`3.32 +- 0.39 %, 10 trials (Table 1)`."""
    trials = "" if number.trials is None else f", {counted(number.trials, 'trial')}"
    return f"{published_value(number)}{trials} ({number.source})"


def measured_text(number: Measured, augmented: bool) -> str:
    """`clustering error 1.99 +- 0.63 %, 5 seeds, 13 minutes each, augmented, by --precision bfloat16`."""
    parts = [f"{words(number.metric)} {_reached(number)}", f"{_minutes(number)} minutes each"]
    parts += ["augmented or moved images"] if augmented else []
    return ", ".join(parts) + _options(number)


def _reached(number: Measured) -> str:
    """`1.99 +- 0.63 %, 5 seeds`."""
    return f"{published_value(number)}, {counted(len(number.values), 'seed')}"


def _minutes(number: Measured) -> str:
    """Whole ones, or half and less."""
    return number_text(round(number.minutes, 0 if number.minutes >= 1 else 1))


def published_value(number: Published | Measured) -> str:
    """`3.32 +- 0.39 %`."""
    digits, unit = (".2f", " %") if number.unit == "percent" else ("g", "")
    spread = "" if number.std is None else f" +- {number.std:{digits}}"
    return f"{number.value:{digits}}{spread}{unit}"


def listing_json(found: Sequence[Listed]) -> list[dict[str, object]]:
    """The list for tools: one object a spec, `published` and `measured` as they stand in the spec."""
    return [
        asdict(spec)
        | {
            "published": [number.model_dump() for number in spec.published],
            "measured": [number.model_dump() for number in spec.measured],
        }
        for spec in found
    ]
