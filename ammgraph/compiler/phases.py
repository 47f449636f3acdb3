"""Phases: which turns each takes, and what is fitted between two: the components of a factor, to whose values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ammgraph.compiler.resolved import Resolved
from ammgraph.diagnostics import Diagnostic, did_you_mean
from ammgraph.plan.draws import DrawPlan, FactorPlan, FromData, FromNetwork
from ammgraph.plan.networks import NetworkPlan, RowPlan, VariablePlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import ancestry, drawn_by_network, from_image_alone
from ammgraph.plan.turns import FitPlan, PhasePlan
from ammgraph.spec.notation import Named
from ammgraph.spec.phases import Phase
from ammgraph.spec.schema import Spec


@dataclass(frozen=True)
class _Refusal:
    """Why a factor cannot be fitted; `key` is the one of the phase that is wrong."""

    code: str
    message: str
    key: str = "fit"
    found: str = ""
    expected: str = ""
    hint: str = ""


def plan_phases(resolved: Resolved, draws: Mapping[str, DrawPlan]) -> tuple[PhasePlan, ...]:
    """The phases as they are written; what cannot be fitted is left out here, and told by `check_fits`."""
    found: list[PhasePlan] = []
    fits: list[FitPlan] = []
    first = 0
    for phase in resolved.spec.training.phases or ():
        if phase.fit is not None:
            fit = _fit(phase, draws, resolved.networks, resolved.variables)
            fits += [fit] if isinstance(fit, FitPlan) else []
            continue
        count = len(phase.schedule or (None,))
        found.append(PhasePlan(first, count, phase.epochs, phase.steps, tuple(fits)))
        first, fits = first + count, []
    return tuple(found)


def check_fits(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """What is fitted is normal given one category, by a layer of it, and its values are inferred from images."""
    draws = {draw.name: draw for draw in plan.draws}
    networks = {network.name: network for network in plan.networks}
    variables = {variable.name: variable for variable in plan.variables}
    for index, phase in enumerate(spec.training.phases or ()):
        why = None if phase.fit is None else _fit(phase, draws, networks, variables)
        if isinstance(why, _Refusal):
            span = spec.source.value("training", "phases", index, why.key)
            yield Diagnostic(why.code, why.message, span, why.found, why.expected, why.hint)


def _fit(
    phase: Phase,
    draws: Mapping[str, DrawPlan],
    networks: Mapping[str, NetworkPlan],
    variables: Mapping[str, VariablePlan],
) -> FitPlan | _Refusal:
    """What a phase asks to be fitted, or why it cannot be."""
    wanted, to = phase.fit, phase.to
    assert wanted is not None
    assert to is not None
    for name, key in ((wanted.head, "fit"), (to, "to")):
        if name not in draws:
            hint = did_you_mean(name, draws)
            return _Refusal("unknown-distribution", f"`{name}` is not a distribution", key, hint=hint)
    written = draws[wanted.head].written
    factor = next((f for f in written if _same(f, wanted.variables, wanted.given)), None)
    if factor is None:
        told = ("one of " if len(written) > 1 else "") + ", ".join(f"`{other.text}`" for other in written)
        return _Refusal("unknown-factor", f"`{wanted.head}` has no factor `{wanted}`", expected=told)
    category = next((name for name in factor.variables if variables[name].kind != "real"), "")
    if category:
        what = "a category" if variables[category].kind == "categorical" else "an image"
        expected = "a factor of a real variable given a category, as `p(z|y)`"
        return _Refusal("impossible-fit", f"`{wanted}` is no mixture: `{category}` is {what}", expected=expected)
    if [variables[name].kind for name in factor.given] != ["categorical"]:
        found, expected = f"{_listed(factor.given)} as conditions", "one condition, which is categorical"
        return _Refusal("impossible-fit", f"`{wanted}` is no mixture", found=found, expected=expected)
    why = _not_components(factor, str(wanted), networks)
    if why is not None:
        return why
    variable, origin, density = factor.variables[0], factor.origin, factor.density
    if (why := _not_inferred(draws[to], to, variable)) is not None:
        return why
    assert isinstance(origin, FromNetwork)
    assert density.mean is not None
    network = networks[origin.evaluation.network]
    noise = network.row(density.log_variance)
    categories = network.row(density.mean.names[0].name).in_shape[0]
    learned = "" if noise.op is None else noise.name
    mean = density.mean.names[0].name
    full = bool(learned) and density.full
    return FitPlan(str(wanted), network.name, mean, learned, variable, categories, to, full)


def _not_inferred(infers: DrawPlan, to: str, variable: str) -> _Refusal | None:
    """Why a distribution does not say what a variable is of an image."""
    taken = [f for f in ancestry(infers, variable) if isinstance(f.origin, FromData)]
    drawn = all(isinstance(f.origin, FromData | FromNetwork) for f in ancestry(infers, variable))
    by_network = drawn_by_network(infers, variable) and from_image_alone(infers, variable)
    if by_network and drawn and len(taken) <= 1:
        return None
    return _Refusal(
        "impossible-fit",
        f"`{to}` does not infer `{variable}` from an image alone",
        "to",
        found=f"`{infers.factor_of(variable).text}`" if infers.produces(variable) else f"no factor of `{variable}`",
        expected=f"a distribution whose `{variable}` a network draws from `data`, and from nothing else",
    )


def _same(factor: FactorPlan, variables: Sequence[str], given: Sequence[str]) -> bool:
    return (set(factor.variables), set(factor.given)) == (set(variables), set(given))


def _not_components(factor: FactorPlan, name: str, networks: Mapping[str, NetworkPlan]) -> _Refusal | None:
    """Why the factor's components, one for each category, are not columns of one layer for means, one for variances."""
    origin, density = factor.origin, factor.density
    message = f"`{name}` has no components that could be set"
    if not isinstance(origin, FromNetwork) or density.kind != "normal" or density.mean is None:
        expected = (
            "a normal factor of a network, `z: {input: z_mu + z_sigma}` where `z_sigma` ends in `expn` or `cholesky`"
        )
        return _Refusal("impossible-fit", message, found=f"`{factor.value}`", expected=expected)
    network = networks[origin.evaluation.network]
    read = next(own for own, variable in origin.evaluation.bindings if variable == factor.given[0])
    one = f"one layer that reads `{read}` alone"
    means = density.mean.parts
    if len(means) != 1 or len(means[0]) != 1 or not isinstance(means[0][0], Named):
        return _Refusal("impossible-fit", message, found=f"the mean `{density.mean}`", expected=f"a mean that is {one}")
    rows = {row.name: row for row in network.rows}
    mean, noise = rows.get(means[0][0].name), rows[density.log_variance]
    for row, what in ((mean, "mean"), (noise, "log-variance")):
        constant = row is not None and what == "log-variance" and not row.reads and row.passes_on
        if row is None or not (constant or _is_layer_of(row, read, what)):
            of = f"row `{row.name}` reads `{row.input}`" if row is not None else f"`{density.mean}` is no row"
            return _Refusal(
                "impossible-fit",
                f"the {what} of `{name}` cannot be set",
                found=of + ("" if row is None or str(row.input) != read else ", and is more than a layer"),
                expected=f"{one}, without noise, dropout, a norm, pool"
                + (" and activation" if what == "mean" else "; or `zeros`"),
            )
    return None


def _is_layer_of(row: RowPlan, read: str, what: str) -> bool:
    """Whether a row is W e + b of a one-hot e, of which each column of W belongs to one category."""
    alone = [str(row.input)] == [read] == list(row.reads)
    plain = not (row.noise or row.dropout or row.normalised or row.weight_norm or row.choose) and row.pool is None
    ends = row.activation is None if what == "mean" else True
    vector = row.in_shape[1:] == row.out_shape[1:] == (1, 1)
    return alone and plain and ends and vector and row.linear is not None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
