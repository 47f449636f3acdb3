"""Two specs as models: what one has and the other has not, by the values that take effect.

Comments, order, titles, notes, published numbers, constants that lead to the same numbers, and whether a value is
inherited, written or a default make no difference.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from pydantic import BaseModel

from ammgraph.diagnostics import counted
from ammgraph.layers.operations import sides_text
from ammgraph.plan.draws import DrawPlan, FactorPlan, FromData, FromDraw, FromNetwork, FromPrior
from ammgraph.plan.networks import NetworkPlan, RowPlan, VariablePlan, shape_text
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import GamePlan, TurnPlan
from ammgraph.show.text import formula_text, layer_text, range_text
from ammgraph.spec.notation import Input, factors_of, number_text, side_text
from ammgraph.spec.schema import Spec

K = TypeVar("K")
T = TypeVar("T")
Part: TypeAlias = tuple[str, str, str]  # name (or ""), before, after
Values: TypeAlias = Mapping[str, str]
COMMON = 4  # rows that change alike in how they begin are told in one line


@dataclass(frozen=True)
class Change:
    """One thing that is only in one of the models, or differs; `parts` say in what."""

    kind: Literal["added", "removed", "changed"]
    what: str  # as in `variable y`, `row encoder.z`; empty for a factor, whose part says all
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        head = f"{self.what}: " if self.what else ""
        if self.kind == "added":
            return f"+ {head}{', '.join(after for _, _, after in self.parts)}"
        if self.kind == "removed":
            return f"- {head}{', '.join(before for _, before, _ in self.parts)}"
        parts = [f"{name} {before} -> {after}".lstrip() for name, before, after in self.parts]
        return f"~ {head}{', '.join(parts)}"


def differences(first: tuple[Spec, Plan], second: tuple[Spec, Plan]) -> tuple[Change, ...]:
    """What changes from the first model to the second: data, variables, distributions, networks, games, terms..."""
    (spec, plan), (other_spec, other) = first, second
    found = [
        *_data(spec, other_spec),
        *_named("variable", _variables(plan), _variables(other)),
        *_distributions(plan, other),
        *_networks(plan, other),
        *_named("game", _games(spec, plan), _games(other_spec, other)),
        *_named("term", _terms(spec, plan), _terms(other_spec, other)),
        *_section("training", _training(plan), _training(other)),
        *_section("evaluation", _values(spec.evaluation), _values(other_spec.evaluation)),
    ]
    return tuple(found)


def difference_text(changes: Sequence[Change], first: Plan, second: Plan) -> list[str]:
    """A line a change, and the parameters before and after."""
    before, after = _by_name(first.networks), _by_name(second.networks)
    own = [
        f"{name} {before[name].parameters:,} -> {after[name].parameters:,}"
        for name in before
        if name in after and before[name].parameters != after[name].parameters
    ]
    count = f"{first.parameters:,}"
    if first.parameters != second.parameters:
        count += f" -> {second.parameters:,}"
    return [*map(str, changes), f"  parameters: {count}" + (f" ({', '.join(own)})" if own else "")]


def difference_json(changes: Sequence[Change], first: Plan, second: Plan) -> dict[str, object]:
    """`same`, `changes` as [{kind, what, parts: [{name, before, after}]}], and the `parameters`."""
    listed = [
        {
            "kind": change.kind,
            "what": change.what,
            "parts": [
                {"name": name, "before": before or None, "after": after or None} for name, before, after in change.parts
            ],
        }
        for change in changes
    ]
    parameters = {"before": first.parameters, "after": second.parameters}
    return {"same": not changes, "changes": listed, "parameters": parameters}


# ------------------------------------------------------------------------------------------------ variables and factors


def _data(spec: Spec, other: Spec) -> Iterable[Change]:
    """The section or, where data sets have names, each of them."""
    if "" in spec.data_sets and "" in other.data_sets:
        return _section("data", _values(spec.data_sets[""]), _values(other.data_sets[""]))
    before, after = ({name or "without a name": _values(d) for name, d in s.data_sets.items()} for s in (spec, other))
    return _named("data set", before, after)


def _variables(plan: Plan) -> dict[str, Values]:
    return {variable.name: {"": _variable(variable)} for variable in plan.variables}


def _variable(variable: VariablePlan) -> str:
    if variable.kind != "image":
        return f"{variable.kind}({variable.shape[0]})"
    return f"image {shape_text(variable.shape)} in {range_text(variable)}"


def _distributions(first: Plan, second: Plan) -> Iterator[Change]:
    before, after = _by_name(first.draws), _by_name(second.draws)
    yield from _compared(before, after, "distribution {}".format, _product, lambda _, *both: _factors(*both))


def _factors(first: DrawPlan, second: DrawPlan) -> Iterator[Change]:
    place = f"in {first.name}" if "_" in first.name else ""
    before = {factor.variables: factor for factor in first.written}
    after = {factor.variables: factor for factor in second.written}
    yield from _compared(before, after, lambda _: place, _told, lambda _, *both: _factor(place, *both))
    if first.batch_size != second.batch_size:
        batch = ("", str(first.batch_size), str(second.batch_size))
        yield Change("changed", f"batch of {first.name}", (batch,))


def _told(factor: FactorPlan) -> str:
    return f"{factor.text}: {_source(factor)}"


def _factor(place: str, old: FactorPlan, new: FactorPlan) -> Iterator[Change]:
    texts, sources = (old.text, new.text), (_source(old), _source(new))
    priors = [origin.prior for origin in (old.origin, new.origin) if isinstance(origin, FromPrior)]
    if texts[0] == texts[1] and sources[0] == sources[1]:
        if len(priors) == 2 and priors[0] != priors[1]:
            yield Change("changed", place, (("", _told(old), "other means"),))
    elif sources[0] == sources[1]:
        yield Change("changed", place, (("", *texts),))
    elif texts[0] == texts[1]:
        role = f"prior of {old.variables[0]}" if priors else old.text
        yield Change("changed", f"{place}, {role}".removeprefix(", "), (("", *sources),))
    else:
        yield Change("changed", place, (("", _told(old), _told(new)),))


def _product(draw: DrawPlan) -> str:
    return f"{' '.join(factor.text for factor in draw.written)}, batch {draw.batch_size}"


def _source(factor: FactorPlan) -> str:
    if isinstance(factor.origin, FromNetwork) and not factor.enumerated:
        return f"network {factor.value}"
    if isinstance(factor.origin, FromDraw):
        return f"sample {factor.value}"
    if isinstance(factor.origin, FromData):
        fields = [f"{name} its {field}" for name, field in sorted(factor.origin.texts.items())]
        kinds = {"image", "label"}
        plain = len(fields) == len(set(factor.origin.texts.values()) & kinds)
        return str(factor.origin.source) if plain else f"{factor.origin.source} ({', '.join(fields)})"
    return factor.value


# ------------------------------------------------------------------------------------------------ networks


def _networks(first: Plan, second: Plan) -> Iterator[Change]:
    before, after = _by_name(first.networks), _by_name(second.networks)
    yield from _compared(before, after, "network {}".format, _size, lambda _, *both: _only_here(*both))
    shared = [name for name in before if name in after]
    yield from _grouped([row for name in shared for row in _changed_rows(before[name], after[name])])
    changed: dict[tuple[Part, ...], list[str]] = {}
    for name in shared:
        if parts := _optimizer(before[name], after[name]):
            changed.setdefault(parts, []).append(name)
    for parts, names in changed.items():
        yield Change("changed", f"optimizer of {', '.join(names)}", parts)


def _size(network: NetworkPlan) -> str:
    return f"{counted(len(network.rows), 'row')}, {counted(network.parameters, 'parameter')}"


def _only_here(before: NetworkPlan, after: NetworkPlan) -> Iterator[Change]:
    old, new = _by_name(before.rows), _by_name(after.rows)
    yield from _compared(old, new, f"row {before.name}.{{}}".format, _row, lambda *_: iter(()))


def _row(row: RowPlan) -> str:
    return f"input {_input(row.input)}, {layer_text(row)}".rstrip(", ")


def _changed_rows(before: NetworkPlan, after: NetworkPlan) -> list[tuple[str, list[Part]]]:
    old, new = _by_name(before.rows), _by_name(after.rows)
    found = []
    for name in old:
        if name in new:
            parts = _parts(_columns(old[name]), _columns(new[name]))
            if "channels" in [part[0] for part in parts] and old[name].out_shape[1:] == new[name].out_shape[1:]:
                parts = [part for part in parts if part[0] != "output"]
            found.append((f"row {before.name}.{name}", parts))
    return [(what, parts) for what, parts in found if parts]


def _grouped(rows: Sequence[tuple[str, list[Part]]]) -> Iterator[Change]:
    """A change of how weights begin that many rows share in one line, everything else row by row."""
    counts = Counter(part for _, parts in rows for part in parts if part[0] in ("weights", "biases"))
    common = {part for part, count in counts.items() if count >= COMMON}
    for part in sorted(common):
        yield Change("changed", f"initial {part[0]} of {counted(counts[part], 'row')}", (("", part[1], part[2]),))
    for what, parts in rows:
        if own := tuple(part for part in parts if part not in common):
            yield Change("changed", what, own)


def _columns(row: RowPlan) -> Values:
    """What a row does, column by column; what follows from its input alone is left to `output`."""
    values = {"input": _input(row.input), "op": row.op or "none", "chosen by": row.choose or "nothing"}
    values |= {"channels": str(row.inner_shape[0])} if row.op is not None else {}
    if row.linear is not None:
        values |= {"bias": _yes(row.bias), "weights": str(row.weights), "weight norm": row.weight_norm or "none"}
        values |= {"biases": number_text(row.biases)} if row.bias else {}
    values |= {name: sides_text(value) for name, value in row.columns.items()}
    values |= {"noise": number_text(row.noise), "dropout": number_text(row.dropout)}
    values |= {"batchnorm": _yes(row.batchnorm), "norm": str(row.norm or "none")}
    values |= {"activation": str(row.activation or "none")}
    values |= {"pool": str(row.pool or "none"), "upsample": str(row.upsample or "none")}
    return values | {"output": shape_text(row.out_shape)}


def _input(read: Input) -> str:
    """The input with its products and sums in one order: `b + a` is `a + b`."""
    parts = [[" * ".join(sorted(map(str, factors_of(summand)))) for summand in part] for part in read.parts]
    return " | ".join(" + ".join(sorted(part)) for part in parts)


def _optimizer(before: NetworkPlan, after: NetworkPlan) -> tuple[Part, ...]:
    old, new = before.optimizer, after.optimizer
    parts = [("", str(old), str(new))] if type(old) is not type(new) else _parts(_values(old), _values(new))
    averages = tuple("none" if ema is None else number_text(ema) for ema in (before.ema, after.ema))
    trained = ["yes" if network.trainable else "no" for network in (before, after)]
    told = [
        ("ema", averages[0], averages[1]),
        ("from", before.start or "none", after.start or "none"),
        ("trainable", trained[0], trained[1]),
    ]
    return (*parts, *(part for part in told if part[1] != part[2]))


# ------------------------------------------------------------------------------------------------ games and training


def _games(spec: Spec, plan: Plan) -> dict[str, Values]:
    return {game.name: _game(game, spec) for game in plan.games}


def _game(game: GamePlan, spec: Spec) -> Values:
    written = spec.games[game.name]
    penalties = {
        penalty.kind: f"{penalty.weight}" + ("" if penalty.every == 1 else f" every {penalty.every} steps")
        for penalty in game.penalties
    }
    return {
        "match": " against ".join(side_text(sorted(side, key=str)) for side in (game.real, game.fake)),
        "discriminator": str(game.discriminator),
        "reads": ", ".join(sorted(variable for _, variable in game.reads)),
        "objective": game.objective,
        "weight": str(game.weight),
        "batch": written.batch,
        **penalties,
        **_trains(written.trains),
    }


def _terms(spec: Spec, plan: Plan) -> dict[str, Values]:
    return {
        term.name: {"": formula_text(term.value), "weight": str(term.weight), **_trains(spec.terms[term.name].trains)}
        for term in plan.terms
    }


def _trains(names: Sequence[str] | None) -> Values:
    return {"trains": ", ".join(sorted(names))} if names else {}


def _line(values: Values) -> str:
    usual = {"weight": "1", "batch": "joint"}
    told = {name: value for name, value in values.items() if usual.get(name) != value}
    return ", ".join(f"{name} {value}".lstrip() for name, value in told.items())


def _training(plan: Plan) -> Values:
    found: dict[str, str] = {}
    for index, phase in enumerate(plan.stages, start=1):
        prefix, turns = f"phase {index}: " if plan.phases else "", plan.turns_of(phase)
        length = {"epochs": phase.epochs, "steps": phase.steps}
        found |= {f"{prefix}{name}": number_text(value) for name, value in length.items() if value is not None}
        found |= {f"{prefix}fit": "; ".join(f"{fit.factor} to {fit.to}" for fit in phase.fits)} if phase.fits else {}
        plain = len(turns) == 1 and _is_plain(plan, turns[0])
        found[f"{prefix}schedule"] = "all at once" if plain else "; ".join(_turn(turn) for turn in turns)
    return found | {
        "batchnorm.momentum": number_text(plan.momentum),
        "batchnorm.epsilon": number_text(plan.epsilon),
    }


def _is_plain(plan: Plan, turn: TurnPlan) -> bool:
    told, whole = (turn.update, turn.games, turn.terms), (plan.networks, plan.games, plan.terms)
    everything = all(set(names) == set(_by_name(items)) for names, items in zip(told, whole, strict=True))
    return turn.steps == 1 and turn.redraw and everything


def _turn(turn: TurnPlan) -> str:
    times = "" if turn.steps == 1 else f" x {turn.steps}"
    owners = ", ".join((*sorted(turn.games), *sorted(turn.terms)))
    return f"{', '.join(sorted(turn.update))}{times} in {owners}{'' if turn.redraw else ', same draw'}"


# ------------------------------------------------------------------------------------------------ in general


def _compared(
    before: Mapping[K, T],
    after: Mapping[K, T],
    what: Callable[[K], str],
    told: Callable[[T], str],
    changed: Callable[[K, T, T], Iterable[Change]],
) -> Iterator[Change]:
    """What only one side has, as it is told, and what changed of that which both have; by `before`, then `after`."""
    for name in {**before, **after}:
        if name not in after:
            yield Change("removed", what(name), (("", told(before[name]), ""),))
        elif name not in before:
            yield Change("added", what(name), (("", "", told(after[name])),))
        else:
            yield from changed(name, before[name], after[name])


def _named(what: str, before: Mapping[str, Values], after: Mapping[str, Values]) -> Iterator[Change]:
    head = f"{what} {{}}".format
    return _compared(before, after, head, _line, lambda name, *both: _section(head(name), *both))


def _section(what: str, before: Values, after: Values) -> list[Change]:
    parts = _parts(before, after)
    return [Change("changed", what, tuple(parts))] if parts else []


def _parts(before: Values, after: Values) -> list[Part]:
    """What differs by name, `none` where one side has nothing of that name."""
    names = [*before, *(name for name in after if name not in before)]
    pairs = [(name, before.get(name, "none"), after.get(name, "none")) for name in names]
    return [pair for pair in pairs if pair[1] != pair[2]]


def _values(model: BaseModel, prefix: str = "") -> dict[str, str]:
    """Every leaf of a section with its default, as text; nothing is said of what is not there."""
    found: dict[str, str] = {}
    for name, value in model:
        if isinstance(value, BaseModel):
            found |= _values(value, f"{prefix}{name}.")
        elif isinstance(value, dict):
            found |= {f"{prefix}{name}.{key}": str(entry) for key, entry in value.items()}
        elif isinstance(value, float):
            found[prefix + name] = number_text(value)
        elif isinstance(value, tuple):
            found[prefix + name] = ", ".join(
                number_text(item) if isinstance(item, float) else str(item) for item in value
            )
        elif value is not None:
            found[prefix + name] = str(value)
    return found


def _by_name(items: Sequence[Any]) -> dict[str, Any]:
    return {item.name: item for item in items}


def _yes(value: bool) -> str:
    return "yes" if value else "no"
