"""Rules about a spec as a whole: nothing is written in vain, settings name what there is; and warnings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ammgraph.compiler.resolved import Declared, Resolved
from ammgraph.compiler.terms import bayes_score, plan_score, uses_of
from ammgraph.diagnostics import Diagnostic, did_you_mean
from ammgraph.layers.activations import CATEGORICAL_ACTIVATIONS, ranges_text
from ammgraph.plan.draws import FactorPlan, FromNetwork, FromPrior
from ammgraph.plan.networks import NetworkPlan, RowPlan
from ammgraph.plan.plan import Plan
from ammgraph.spec.notation import Named, number_text
from ammgraph.spec.schema import Spec
from ammgraph.spec.sources import BayesRule, DataSource
from ammgraph.spec.terms import FactorUse


def check_settings(resolved: Resolved) -> Iterator[Diagnostic]:
    """Settings by name (batch sizes, optimizers, averages, fields, published numbers) name what there is."""
    spec, training = resolved.spec, resolved.spec.training
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
    for of, data in spec.data_sets.items():
        for name in data.fields:
            if name not in spec.variables:
                yield Diagnostic(
                    "unknown-variable",
                    f"`{name}` is not a variable",
                    spec.source.key(*spec.data_path(of), "fields", name),
                    hint=did_you_mean(name, spec.variables),
                )
    for section, index, number in spec.compared:
        for name in number.when:
            if name not in spec.constants:
                yield Diagnostic(
                    "unknown-name",
                    f"`{name}` is not a constant",
                    spec.source.key(section, index, "when", name),
                    hint=did_you_mean(name, spec.constants),
                )


def check_unused(resolved: Resolved) -> Iterator[Diagnostic]:
    """Every row, network, variable and distribution serves something."""
    spec, factors = resolved.spec, [factor for factors in resolved.declared.values() for factor in factors]
    uses = [use for term in spec.terms for use in uses_of(resolved, term)]
    found = [score for score in (plan_score(resolved, use) for use in uses) if score is not None]
    posteriors = [factor for factor in factors if isinstance(factor.source, BayesRule)]
    found += [bayes_score(resolved, factor, factor.draw) for factor in posteriors]
    scored = [part for score in found for part in score.computed]
    for name, table in resolved.tables.items():
        calls = resolved.calls_of(name)
        scores = [score for score in scored if score.network == name]
        if not calls and not scores:
            yield Diagnostic(
                "unused",
                f"no distribution, game or term names `{name}`",
                spec.source.key("networks", name),
                hint="`null` removes a network that is inherited",
            )
            continue
        serving = {row for call in calls for row in call.rows} | {row for score in scores for row in score.rows}
        for row in table.order:
            if row not in serving:
                yield Diagnostic(
                    "unused",
                    f"row `{row}` of `{name}` serves nothing",
                    spec.source.key("networks", name, "layers", row),
                    found="no drawn row, no logit and no term depends on it",
                    hint="`null` removes a row that is inherited",
                )
    matched = {draw for game in spec.games.values() for side in game.match for _, draw in side.summands}
    taken = {factor.reference.owner for factor in factors if factor.reference is not None}
    taken |= {name for use in uses for name in (use.draw, use.of.draw if isinstance(use.of, FactorUse) else "")}
    fitted = {name for phase in spec.training.phases or () if phase.fit for name in (phase.fit.head, phase.to)}
    taken |= {factor.source.distribution for factor in posteriors if isinstance(factor.source, BayesRule)}
    for name in resolved.declared:
        if name not in matched | taken | fitted:
            yield Diagnostic(
                "unused", f"no game matches `{name}` and no term names it", spec.source.key("distributions", name)
            )
    yield from _data_sets_are_read(spec, factors)
    drawn = {name for factor in factors for name in factor.factor.variables}
    for name in resolved.variables:
        if name not in drawn:
            yield Diagnostic("unused", f"no distribution draws `{name}`", spec.source.key("variables", name))


def _data_sets_are_read(spec: Spec, factors: Sequence[Declared]) -> Iterator[Diagnostic]:
    read = {factor.source.of for factor in factors if isinstance(factor.source, DataSource)}
    for name in spec.data_sets:
        if name and name not in read:
            yield Diagnostic(
                "unused",
                f"no factor is drawn by `data.{name}`",
                spec.source.key("data", name),
                hint="`null` removes a data set that is inherited",
            )


def lint(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """Things that are legal and probably not meant."""
    seen = set()
    for draw in plan.draws:
        for factor in draw.factors:
            if not isinstance(factor.origin, FromNetwork) or not factor.needed:
                continue
            variable, network = plan.variable(factor.variables[0]), plan.network(factor.origin.evaluation.network)
            row = network.row(factor.origin.row)
            place = ("networks", network.name, "layers", row.name)
            if place in seen:
                continue
            seen.add(place)
            bounds = _bounds(row, network, dict(factor.origin.evaluation.bindings), plan)
            if variable.kind == "image" and bounds != variable.range and _is_bounded_elsewhere(factor, plan):
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
                yield from _bounded_prior(spec, variable.name, place, plan)


def _is_bounded_elsewhere(factor: FactorPlan, plan: Plan) -> bool:
    """Whether what else draws the variable lies between bounds, or nothing else does and its own row is not normal."""
    (variable,) = factor.variables
    others = [f for draw in plan.draws for f in draw.factors if variable in f.variables and f.text != factor.text]
    return not _is_unbounded(factor) if not others else not all(map(_is_unbounded, others))


def _is_unbounded(factor: FactorPlan) -> bool:
    if isinstance(factor.origin, FromPrior):
        return not factor.origin.prior.kind.bounded
    return factor.density.kind == "normal"


def _bounds(row: RowPlan, network: NetworkPlan, bindings: Mapping[str, str], plan: Plan) -> tuple[float, float] | None:
    """Between what the values of a row lie: its activation says it, or all that it passes on, moves or chooses from."""
    bounds = "input" if row.activation is None else row.activation.kind.range
    if isinstance(bounds, tuple):
        return bounds
    names = [str(part[0]) for part in row.input.parts if len(part) == 1 and isinstance(part[0], Named)]
    if bounds != "input" or not replace(row, choose="").passes_on or len(names) != len(row.input.parts):
        return None
    found = {
        plan.variable(bindings[name]).range if name in bindings else _bounds(network.row(name), network, bindings, plan)
        for name in names
    }
    return found.pop() if len(found) == 1 else None


def _bounded_prior(spec: Spec, variable: str, place: tuple[str, ...], plan: Plan) -> Iterator[Diagnostic]:
    for draw in plan.draws:
        if not draw.produces(variable):
            continue
        origin = draw.factor_of(variable).origin
        if isinstance(origin, FromPrior) and origin.prior.kind.bounded:
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
