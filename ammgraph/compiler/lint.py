"""Rules about a spec as a whole: nothing is written in vain, settings name what there is; and warnings."""

from collections.abc import Iterator, Mapping, Sequence

from ammgraph.compiler.calls import Use, locals_of
from ammgraph.compiler.factors import Declared, Variables
from ammgraph.compiler.rows import Table
from ammgraph.diagnostics import Diagnostic, Note, did_you_mean
from ammgraph.layers.activations import CATEGORICAL_ACTIVATIONS, ranges_text
from ammgraph.plan.plan import DrawPlan, FromNetwork, FromPrior, NetworkPlan, RowPlan, shape_text
from ammgraph.spec.notation import number_text
from ammgraph.spec.schema import Spec, Uniform


def check_settings(spec: Spec) -> Iterator[Diagnostic]:
    """Settings by name (batch sizes, optimizers, averages, fields, published numbers) name what there is."""
    training = spec.training
    if isinstance(training.batch_size, dict):
        yield from _names_exist(
            spec, ("training", "batch_size"), training.batch_size, spec.distributions, "distribution"
        )
        missing = [name for name in spec.distributions if name not in training.batch_size]
        if "default" not in training.batch_size and missing:
            yield Diagnostic(
                "missing-key",
                f"`{missing[0]}` has no batch size",
                spec.source.key("training", "batch_size"),
                expected=f"`default`, or `{missing[0]}`",
            )
    yield from _names_exist(spec, ("training", "optimizers"), training.optimizers, spec.networks, "network")
    missing = [name for name in spec.networks if name not in training.optimizers]
    if "default" not in training.optimizers and missing:
        yield Diagnostic(
            "missing-key",
            f"`{missing[0]}` has no optimizer",
            spec.source.key("training", "optimizers"),
            expected=f"`default`, or `{missing[0]}`",
        )
    yield from _names_exist(spec, ("training", "ema"), training.ema, spec.networks, "network")
    if spec.evaluation.weights == "ema" and not training.ema:
        yield Diagnostic(
            "missing-key",
            "averaged weights are evaluated, but no weights are averaged",
            spec.source.value("evaluation", "weights"),
            expected="`ema: {default: 0.999}` in `training`",
        )
    for name in spec.data.fields:
        if name not in spec.variables:
            yield Diagnostic(
                "unknown-variable",
                f"`{name}` is not a variable",
                spec.source.key("data", "fields", name),
                hint=did_you_mean(name, spec.variables),
            )
    for index, number in enumerate(spec.published):
        for name in number.when:
            if name not in spec.constants:
                yield Diagnostic(
                    "unknown-name",
                    f"`{name}` is not a constant",
                    spec.source.key("published", index, "when", name),
                    hint=did_you_mean(name, spec.constants),
                )


def check_variable_rows(
    spec: Spec, variables: Variables, table: Table, rows: Mapping[str, RowPlan], uses: Sequence[Use]
) -> Iterator[Diagnostic]:
    """A row named like a variable is that variable: it has its shape, and some distribution draws it (R9)."""
    own = [use for use in uses if use.reference.owner == table.network]
    drawn = {use.reference.name for use in own if use.variable}
    for name in rows:
        if name in variables and name not in drawn:
            span = spec.source.key("networks", table.network, "layers", name)
            yield Diagnostic(
                "row-is-no-variable",
                f"row `{name}` of `{table.network}` is named like a variable, but no distribution draws it",
                span,
                expected=f"a factor drawn by `{table.network}.{name}`, or another name",
                hint="rename the row",
            )
    for use in own:
        for name, local in locals_of(table, uses, use.scope, use.reference, variables).items():
            variable, row = variables[local], rows.get(name)
            if row is not None and row.out_shape != variable.shape:
                place = spec.source.key("networks", table.network, "layers", name)
                bound = (name, local) in use.reference.bindings
                yield Diagnostic(
                    "shape-mismatch",
                    f"row `{name}` of `{table.network}` is the variable `{local}`, but has another shape",
                    spec.source.value(*use.path) if bound else place,
                    found=shape_text(row.out_shape),
                    expected=shape_text(variable.shape),
                    notes=(Note(f"row `{name}` stands here", place),) if bound else (),
                )


def check_unused(
    spec: Spec,
    variables: Variables,
    declared: Mapping[str, Sequence[Declared]],
    tables: Mapping[str, Table],
    uses: Sequence[Use],
) -> Iterator[Diagnostic]:
    """Every row, network, variable and distribution serves something."""
    for name, table in tables.items():
        own = [use for use in uses if use.reference.owner == name]
        if not own:
            yield Diagnostic(
                "unused",
                f"no distribution and no game names `{name}`",
                spec.source.key("networks", name),
                hint="`null` removes a network that is inherited",
            )
            continue
        serving: set[str] = set()
        for use in own:
            given = frozenset(locals_of(table, uses, use.scope, use.reference, variables)) & frozenset(table.rows)
            serving |= set(table.needed(use.reference.name, given - {use.reference.name}))
        for row in table.order:
            if row not in serving:
                yield Diagnostic(
                    "unused",
                    f"row `{row}` of `{name}` serves nothing",
                    spec.source.key("networks", name, "layers", row),
                    found="no drawn row and no logit depends on it",
                    hint="`null` removes a row that is inherited",
                )
    matched = {draw for game in spec.games.values() for side in game.match for _, draw in side.summands}
    taken = {factor.network.owner for factors in declared.values() for factor in factors if factor.network is not None}
    for name in declared:
        if name not in matched | taken:
            yield Diagnostic("unused", f"no game matches `{name}`", spec.source.key("distributions", name))
    named = {name for factors in declared.values() for factor in factors for name in factor.factor.variables}
    for name in variables:
        if name not in named:
            yield Diagnostic("unused", f"no distribution draws `{name}`", spec.source.key("variables", name))


def lint(
    spec: Spec, variables: Variables, networks: Mapping[str, NetworkPlan], draws: Mapping[str, DrawPlan]
) -> Iterator[Diagnostic]:
    """Things that are legal and probably not meant."""
    seen = set()
    for draw in draws.values():
        for factor in draw.factors:
            if not isinstance(factor.origin, FromNetwork):
                continue
            variable = variables[factor.variables[0]]
            row = networks[factor.origin.evaluation.network].row(factor.origin.row)
            place = ("networks", factor.origin.evaluation.network, "layers", row.name)
            if place in seen:
                continue
            seen.add(place)
            bounds = _bounds(row, networks[place[1]], dict(factor.origin.evaluation.bindings), variables)
            if variable.kind == "image" and bounds != variable.range:
                yield Diagnostic(
                    "support-mismatch",
                    f"row `{row.name}` has not the range of `{variable.name}`: a discriminator sees that at once",
                    spec.source.key(*place),
                    found=_interval(bounds),
                    expected=f"{_interval(variable.range)}: {ranges_text()}",
                )
            elif variable.kind == "categorical" and factor.density.kind != "categorical":
                yield Diagnostic(
                    "support-mismatch",
                    f"row `{row.name}` draws the categorical `{variable.name}`, but does not end in a choice",
                    spec.source.key(*place),
                    expected="one of " + ", ".join(f"`{name}`" for name in CATEGORICAL_ACTIVATIONS),
                )
            elif variable.kind == "real" and factor.density.kind == "normal":
                yield from _bounded_prior(spec, variable.name, place, draws)


def _bounds(
    row: RowPlan, network: NetworkPlan, bindings: Mapping[str, str], variables: Variables
) -> tuple[float, float] | None:
    """Between what the values of a row lie: its activation says it, or the one thing that it passes on or moves."""
    bounds = "input" if row.activation is None else row.activation.kind.range
    if isinstance(bounds, tuple):
        return bounds
    passes_on = row.op is None and not row.batchnorm and not row.dropout and bounds == "input"
    if not passes_on or [str(row.input)] != list(row.reads):
        return None
    if str(row.input) in bindings:
        return variables[bindings[str(row.input)]].range
    return _bounds(network.row(str(row.input)), network, bindings, variables)


def _bounded_prior(
    spec: Spec, variable: str, place: tuple[str, ...], draws: Mapping[str, DrawPlan]
) -> Iterator[Diagnostic]:
    for draw in draws.values():
        if not draw.produces(variable):
            continue
        origin = draw.factor_of(variable).origin
        if isinstance(origin, FromPrior) and isinstance(origin.prior, Uniform):
            yield Diagnostic(
                "support-mismatch",
                f"`{variable}` is normal here and `{origin.prior}` in `{draw.name}`: a discriminator sees that at once",
                spec.source.key(*place),
                expected="a prior without bounds, or a bounded row",
            )


def _interval(bounds: tuple[float, float] | None) -> str:
    return "no bounds" if bounds is None else f"[{number_text(bounds[0])}, {number_text(bounds[1])}]"


def _names_exist(
    spec: Spec, path: tuple[str, ...], named: Mapping[str, object], known: Mapping[str, object], what: str
) -> Iterator[Diagnostic]:
    for name in named:
        if name != "default" and name not in known:
            yield Diagnostic(
                f"unknown-{what}",
                f"`{name}` is not a {what}",
                spec.source.key(*path, name),
                hint=did_you_mean(name, ["default", *known]),
            )
