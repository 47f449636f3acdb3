"""`compile_spec`: Spec -> Plan, one stage after another; each tells all its problems, then stops."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal

from ammgraph.compiler.calls import check_calls, check_conditions, check_inputs
from ammgraph.compiler.derive import plan_further_readouts, plan_readouts, plan_reconstructions
from ammgraph.compiler.draws import needed_by, plan_draw
from ammgraph.compiler.effect import check_rows_learn, check_samples_differ, data_are_read, without_effect
from ammgraph.compiler.enumeration import check_enumerations
from ammgraph.compiler.extent import check_extent
from ammgraph.compiler.factors import check_draws, check_factors, draw_order
from ammgraph.compiler.features import check_feature_names, check_features, check_kept, plan_features
from ammgraph.compiler.games import check_games, check_sides, plan_game
from ammgraph.compiler.idle import idle_settings
from ammgraph.compiler.lint import check_settings, check_unused, lint
from ammgraph.compiler.origins import check_origins
from ammgraph.compiler.phases import check_fits, plan_phases
from ammgraph.compiler.resolved import Resolved
from ammgraph.compiler.standing import check_types, warn_of_ranges
from ammgraph.compiler.statistics import check_statistics
from ammgraph.compiler.support import check_posteriors
from ammgraph.compiler.tables import check_names, check_shapes, check_tables, check_variable_rows
from ammgraph.compiler.term_rules import check_objectives, check_terms, term_warnings
from ammgraph.compiler.terms import plan_term
from ammgraph.compiler.turns import check_learners, check_players, check_turns, plan_turns
from ammgraph.diagnostics import Diagnostic, Problems, stop_if
from ammgraph.plan.cost import check_memory
from ammgraph.plan.draws import DrawPlan, FromData
from ammgraph.plan.plan import Plan
from ammgraph.spec.schema import DataSource, Spec

# The rules of each stage; a later one takes for granted what an earlier one has found in order.
NAMES: tuple[tuple[Callable[[Resolved], Iterable[Diagnostic]], ...], ...] = (
    (check_extent,),
    (check_tables, check_factors, check_origins, check_sides, check_settings, check_draws, check_feature_names),
    (check_calls, check_inputs, check_names),
    (check_shapes, check_variable_rows, check_conditions),
    (check_enumerations,),
    (check_objectives, check_games, check_terms, check_posteriors, check_types),
    (check_unused, check_learners),
)
STEPS: tuple[tuple[Callable[[Spec, Plan], Iterable[Diagnostic]], ...], ...] = (
    (check_samples_differ, check_players, check_features, check_kept, check_fits),
    (check_turns, check_rows_learn, check_statistics),
)
WARNINGS: tuple[Callable[[Spec, Plan], Iterable[Diagnostic]], ...] = (
    lint,
    data_are_read,
    without_effect,
    idle_settings,
)


# What a spec of which parts are left out may have.
PARTIAL = frozenset({"unused", "row-is-no-variable", "no-objective"})


def compile_spec(spec: Spec, *, passed: Collection[str] = ()) -> Plan:
    """The plan of a spec.

    Args:
        spec: it.
        passed: codes of what is not told, as `PARTIAL` where a part is left out.

    Raises:
        SpecError: the spec is not a model; every problem of the first stage that found one.
    """
    resolved = Resolved(spec)
    for names in NAMES:
        found = chain.from_iterable(rule(resolved) for rule in names)
        _stop_if(spec, (problem for problem in found if problem.code not in passed))
    plan = _plan(resolved)
    for steps in STEPS:
        _stop_if(spec, chain.from_iterable(rule(spec, plan) for rule in steps))
    warnings = chain(*(rule(spec, plan) for rule in WARNINGS), term_warnings(resolved, plan), warn_of_ranges(resolved))
    plan = replace(plan, warnings=tuple(warnings))
    _stop_if(spec, check_memory(spec, plan))
    return plan


def _stop_if(spec: Spec, found: Iterable[Diagnostic]) -> None:
    problems = Problems(spec.source.texts)
    problems += found
    stop_if(problems, spec.source.texts, spec.tree)


def _plan(resolved: Resolved) -> Plan:
    spec, training = resolved.spec, resolved.spec.training
    needed = needed_by(resolved, spec.games, spec.terms)
    draws = {name: plan_draw(resolved, name, needed[name]) for name in draw_order(resolved)}
    games = tuple(plan_game(resolved, name, draws) for name in spec.games)
    terms = tuple(plan_term(resolved, name, draws) for name in spec.terms)
    epoch_source, epoch_batch = _epoch(spec, list(draws.values()))
    plan = Plan(
        title=spec.title,
        variables=tuple(resolved.variables.values()),
        networks=tuple(resolved.networks.values()),
        draws=tuple(draws.values()),
        games=games,
        turns=plan_turns(resolved, games, terms, draws),
        readouts=plan_readouts(
            list(draws.values()), resolved.variables, [name for data in spec.data_sets.values() for name in data.fields]
        ),
        reconstructions=plan_reconstructions(list(draws.values()), resolved.variables),
        epoch_source=epoch_source,
        epoch_batch=epoch_batch,
        epochs=training.epochs,
        steps=training.steps,
        momentum=training.batchnorm.momentum,
        epsilon=training.batchnorm.epsilon,
        statistics=training.batchnorm.statistics,
        data=next(iter(spec.data_sets.values())),
        data_sets=tuple(spec.data_sets.items()) if "" not in spec.data_sets else (),
        evaluation=spec.evaluation,
        published=spec.holding(spec.published),
        warnings=(),
        terms=terms,
        features=plan_features(resolved, draws),
        phases=plan_phases(resolved, draws),
    )
    return replace(plan, further_readouts=plan_further_readouts(plan))


def _epoch(spec: Spec, draws: Sequence[DrawPlan]) -> tuple[DataSource, int]:
    """An epoch is one pass of `data`; of its unlabelled or labelled part where no distribution takes the whole.

    Of several data sets it is one pass of the first one that a step draws from.
    """
    sources = {
        factor.origin.source: draw.batch_size
        for draw in reversed(draws)
        for factor in draw.factors
        if isinstance(factor.origin, FromData) and factor.needed
    }
    parts_by_size: tuple[Literal["all", "unlabeled", "labeled"], ...] = ("all", "unlabeled", "labeled")
    for source in (DataSource(part, of) for of in spec.data_sets for part in parts_by_size):
        if source in sources:
            return source, sources[source]
    return DataSource("all", next(iter(spec.data_sets))), max(draw.batch_size for draw in draws)
