"""Draws: what draws each factor of a distribution, in which order, and which rows that computes."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from ammgraph.compiler.derive import density_of
from ammgraph.compiler.factors import sampling_order
from ammgraph.compiler.games import needed_variables
from ammgraph.compiler.origins import field_of, names_in, prior_origin
from ammgraph.compiler.resolved import Call, Declared, Resolved
from ammgraph.compiler.terms import bayes_score, uses_of, wanted_by
from ammgraph.plan.draws import (
    Density,
    DrawPlan,
    FactorPlan,
    FromBayes,
    FromData,
    FromDraw,
    FromNetwork,
    Origin,
)
from ammgraph.plan.queries import EXAMPLES
from ammgraph.spec.notation import Factor
from ammgraph.spec.sources import BayesRule, DataSource


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
    """The examples of the data on which a distribution is conditional: it is never drawn, and asked in evaluation."""
    factors = resolved.declared[draw]
    produced = {name for declared in factors for name in declared.factor.variables}
    given = dict.fromkeys(name for declared in factors for name in declared.factor.given if name not in produced)
    sources = {name: DataSource("all", resolved.data_set_of(name)) for name in given}
    taken = {name: _from_data(resolved, source, (name,)) for name, source in sources.items()}
    if {field for origin in taken.values() for _, field in origin.fields} <= EXAMPLES:
        for name, origin in taken.items():
            text = str(Factor(factors[0].factor.head, (name,)))
            yield FactorPlan(text, (name,), (), str(origin.source), origin, Density("data"), needed=False, implied=True)


def _origin(resolved: Resolved, declared: Declared, computed: dict[str, set[str]]) -> tuple[Origin, Density]:
    """What draws a factor; the rows that it computes are added to those of its evaluation."""
    source, factor, draw, reference = declared.source, declared.factor, declared.draw, declared.reference
    if isinstance(source, DataSource):
        return _from_data(resolved, source, factor.variables), Density("data")
    if isinstance(source, BayesRule):
        return FromBayes(source.distribution, bayes_score(resolved, declared, draw)), Density("categorical")
    if reference is not None and reference.owner in resolved.networks:
        call = resolved.call(draw, reference)
        stops = frozenset(call.bound) - {reference.name}
        rows = {row.name: row for row in resolved.networks[reference.owner].rows}
        found = replace(_from_network(call, computed), enumerated=declared.enumerated)
        return found, density_of(reference.name, rows, stops)
    if reference is not None:
        return FromDraw(reference.owner, reference.name), Density("deterministic")
    return prior_origin(resolved, declared), Density("prior")


def _from_data(resolved: Resolved, source: DataSource, variables: tuple[str, ...]) -> FromData:
    data = resolved.spec.data_sets[source.of]
    fields = tuple((name, field_of(data, resolved.variables[name]) or "") for name in variables)
    return FromData(source, fields, names_in(data, variables))


def _from_network(call: Call, computed: dict[str, set[str]]) -> FromNetwork:
    done = computed.get(call.evaluation.name, set())
    rows = tuple(row for row in call.rows if row not in done)
    computed[call.evaluation.name] = done | set(rows)
    return FromNetwork(call.evaluation, call.reference.name, rows, call.rows)
