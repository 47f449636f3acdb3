"""Draws: what draws each factor of a distribution, in which order, and which rows that computes."""

from collections.abc import Collection, Iterable, Iterator

from ammgraph.compiler.derive import density_of
from ammgraph.compiler.factors import sampling_order
from ammgraph.compiler.games import needed_variables
from ammgraph.compiler.origins import field_of
from ammgraph.compiler.resolved import Call, Declared, Resolved
from ammgraph.compiler.terms import uses_of, wanted_by
from ammgraph.plan.draws import Density, DrawPlan, FactorPlan, FromData, FromDraw, FromNetwork, FromPrior, Site
from ammgraph.plan.networks import VariablePlan
from ammgraph.spec.notation import Factor, Reference
from ammgraph.spec.priors import Prior
from ammgraph.spec.schema import DataSource


def needed_by(resolved: Resolved, games: Iterable[str], terms: Iterable[str]) -> dict[str, set[str]]:
    """Per distribution the variables that these games and terms read, and all that they depend on (R19)."""
    calls = [resolved.call(name, resolved.spec.games[name].discriminator) for name in games]
    wanted = [
        (draw, variable)
        for call in calls
        for side in resolved.spec.games[call.scope].match
        for _, draw in side.summands
        for variable in call.reads.values()
    ]
    wanted += [pair for name in terms for use in uses_of(resolved, name) for pair in wanted_by(resolved, use)]
    return needed_variables(resolved, wanted)


def plan_draw(resolved: Resolved, name: str, needed: Collection[str]) -> DrawPlan:
    """A distribution's factors in the order of sampling, those of the `needed` variables to be drawn."""
    computed: dict[str, set[str]] = {}  # evaluation -> rows that an earlier needed factor computes
    plans = list(_implied(resolved, name))
    for declared in sampling_order(resolved.declared[name]):
        is_needed = any(variable in needed for variable in declared.factor.variables)
        origin, density = _origin(resolved, declared, computed if is_needed else dict(computed))
        plans.append(
            FactorPlan(
                text=str(declared.factor),
                variables=declared.factor.variables,
                given=declared.factor.given,
                value=str(declared.source),
                origin=origin,
                density=density,
                needed=is_needed,
            )
        )
    return DrawPlan(name, resolved.batch_size(name), tuple(plans))


def _implied(resolved: Resolved, draw: str) -> Iterator[FactorPlan]:
    """The images of the data on which a distribution is conditional: it is never drawn, and asked in evaluation."""
    factors = resolved.declared[draw]
    produced = {name for declared in factors for name in declared.factor.variables}
    given = dict.fromkeys(name for declared in factors for name in declared.factor.given if name not in produced)
    if all(field_of(resolved.spec, resolved.variables[name]) == "image" for name in given):
        for name in given:
            origin = FromData(DataSource("all"), ((name, "image"),))
            text = str(Factor(factors[0].factor.head, (name,)))
            yield FactorPlan(text, (name,), (), "data", origin, Density("data"), needed=False, implied=True)


def _origin(
    resolved: Resolved, declared: Declared, computed: dict[str, set[str]]
) -> tuple[FromData | FromPrior | FromDraw | FromNetwork, Density]:
    """What draws a factor; the rows that it computes are added to those of its evaluation."""
    source, factor, draw = declared.source, declared.factor, declared.draw
    if isinstance(source, DataSource):
        fields = tuple((name, field_of(resolved.spec, resolved.variables[name]) or "") for name in factor.variables)
        return FromData(source, fields), Density("data")
    if isinstance(source, Reference) and source.owner in resolved.networks:
        call = resolved.call(draw, source)
        stops = frozenset(call.bound) - {source.name}
        rows = {row.name: row for row in resolved.networks[source.owner].rows}
        return _from_network(call, computed), density_of(source.name, rows, stops)
    if isinstance(source, Reference):
        return FromDraw(source.owner, source.name), Density("deterministic")
    given = factor.given[0] if source.kind.means is not None else ""
    variable = resolved.variables[factor.variables[0]]
    site = _prior_site(f"{draw}/{variable.name}", source, variable, resolved.batch_size(draw))
    return FromPrior(source, site, given), Density("prior")


def _from_network(call: Call, computed: dict[str, set[str]]) -> FromNetwork:
    done = computed.get(call.evaluation.name, set())
    rows = tuple(row for row in call.rows if row not in done)
    computed[call.evaluation.name] = done | set(rows)
    return FromNetwork(call.evaluation, call.reference.name, rows, call.rows)


def _prior_site(name: str, prior: Prior, variable: VariablePlan, batch_size: int) -> Site:
    """A categorical draw takes one uniform number, by inverse distribution function; a real one takes one each."""
    if variable.kind == "categorical":
        return Site(name, "uniform", "prior", batch_size, ())
    return Site(name, prior.kind.noise, "prior", batch_size, variable.shape)
