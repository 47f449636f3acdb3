"""`compile_spec`: Spec -> Plan, one stage after another; each tells all its problems, then stops."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal

from ammgraph.compiler.calls import check_calls, check_conditions, check_inputs
from ammgraph.compiler.derive import density_of, plan_readouts, plan_reconstructions
from ammgraph.compiler.effect import check_rows_learn, check_samples_differ, data_are_read, without_effect
from ammgraph.compiler.extent import check_extent
from ammgraph.compiler.factors import check_draws, check_factors, draw_order, sampling_order
from ammgraph.compiler.features import check_feature_names, check_features, plan_features
from ammgraph.compiler.games import check_games, check_sides, needed_variables, plan_game
from ammgraph.compiler.idle import idle_settings
from ammgraph.compiler.lint import check_settings, check_unused, lint
from ammgraph.compiler.origins import check_origins, field_of
from ammgraph.compiler.resolved import Call, Declared, Resolved
from ammgraph.compiler.statistics import check_statistics
from ammgraph.compiler.tables import check_names, check_shapes, check_tables, check_variable_rows
from ammgraph.compiler.term_rules import check_objectives, check_terms, term_warnings
from ammgraph.compiler.terms import plan_term, uses_of, wanted_by
from ammgraph.compiler.turns import check_players, check_turns, plan_turns
from ammgraph.diagnostics import Diagnostic, Problems, stop_if
from ammgraph.plan.cost import check_memory
from ammgraph.plan.draws import Density, DrawPlan, FactorPlan, FromData, FromDraw, FromNetwork, FromPrior, Site
from ammgraph.plan.networks import VariablePlan
from ammgraph.plan.plan import Plan
from ammgraph.spec.notation import Factor, Reference
from ammgraph.spec.priors import Prior
from ammgraph.spec.schema import DataSource, Spec

# The rules of each stage; a later one takes for granted what an earlier one has found in order.
NAMES: tuple[tuple[Callable[[Resolved], Iterable[Diagnostic]], ...], ...] = (
    (check_extent,),
    (check_tables, check_factors, check_origins, check_sides, check_settings, check_draws, check_feature_names),
    (check_calls, check_inputs, check_names),
    (check_shapes, check_variable_rows, check_conditions),
    (check_objectives, check_games, check_terms),
    (check_unused,),
)
STEPS: tuple[tuple[Callable[[Spec, Plan], Iterable[Diagnostic]], ...], ...] = (
    (check_samples_differ, check_players, check_features),
    (check_turns, check_rows_learn, check_statistics),
)
WARNINGS: tuple[Callable[[Spec, Plan], Iterable[Diagnostic]], ...] = (
    lint,
    data_are_read,
    without_effect,
    idle_settings,
)


def compile_spec(spec: Spec) -> Plan:
    """The plan of a spec.

    Raises:
        SpecError: the spec is not a model; every problem of the first stage that found one.
    """
    resolved = Resolved(spec)
    for names in NAMES:
        _stop_if(spec, chain.from_iterable(rule(resolved) for rule in names))
    plan = _plan(resolved)
    for steps in STEPS:
        _stop_if(spec, chain.from_iterable(rule(spec, plan) for rule in steps))
    warnings = chain(*(rule(spec, plan) for rule in WARNINGS), term_warnings(resolved, plan))
    plan = replace(plan, warnings=tuple(warnings))
    _stop_if(spec, check_memory(spec, plan))
    return plan


def _stop_if(spec: Spec, found: Iterable[Diagnostic]) -> None:
    problems = Problems(spec.source.texts)
    problems += found
    stop_if(problems, spec.source.texts)


def _plan(resolved: Resolved) -> Plan:
    spec, training = resolved.spec, resolved.spec.training
    calls = [resolved.call(name, game.discriminator) for name, game in spec.games.items()]
    wanted = [
        (draw, variable)
        for call in calls
        for side in spec.games[call.scope].match
        for _, draw in side.summands
        for variable in call.reads.values()
    ]
    wanted += [pair for name in spec.terms for use in uses_of(resolved, name) for pair in wanted_by(resolved, use)]
    needed = needed_variables(resolved, wanted)
    draws = {name: _plan_draw(resolved, name, needed[name]) for name in draw_order(resolved)}
    games = tuple(plan_game(resolved, name, draws) for name in spec.games)
    terms = tuple(plan_term(resolved, name, draws) for name in spec.terms)
    epoch_source, epoch_batch = _epoch(list(draws.values()))
    return Plan(
        title=spec.title,
        variables=tuple(resolved.variables.values()),
        networks=tuple(resolved.networks.values()),
        draws=tuple(draws.values()),
        games=games,
        turns=plan_turns(resolved, games, terms, draws),
        readouts=plan_readouts(list(draws.values()), resolved.variables),
        reconstructions=plan_reconstructions(list(draws.values()), resolved.variables),
        epoch_source=epoch_source,
        epoch_batch=epoch_batch,
        epochs=training.epochs,
        steps=training.steps,
        momentum=training.batchnorm.momentum,
        epsilon=training.batchnorm.epsilon,
        statistics=training.batchnorm.statistics,
        data=spec.data,
        evaluation=spec.evaluation,
        published=tuple(
            number
            for number in spec.published
            if all(spec.constants.get(name) == value for name, value in number.when.items())
        ),
        warnings=(),
        terms=terms,
        features=plan_features(resolved, draws),
    )


def _plan_draw(resolved: Resolved, name: str, needed: set[str]) -> DrawPlan:
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


def _epoch(draws: Sequence[DrawPlan]) -> tuple[DataSource, int]:
    """An epoch is one pass of `data`; of its unlabelled or labelled part where no distribution takes the whole."""
    parts = {
        factor.origin.source.part: draw.batch_size
        for draw in reversed(draws)
        for factor in draw.factors
        if isinstance(factor.origin, FromData) and factor.needed
    }
    parts_by_size: tuple[Literal["all", "unlabeled", "labeled"], ...] = ("all", "unlabeled", "labeled")
    for part in parts_by_size:
        if part in parts:
            return DataSource(part), parts[part]
    return DataSource("all"), max(draw.batch_size for draw in draws)
