"""`compile_spec`: Spec -> Plan, one stage after another; each tells all its problems, then stops."""

from collections.abc import Mapping, Sequence
from typing import Literal

from ammgraph.compiler.calls import (
    Use,
    check_conditions,
    check_uses,
    locals_of,
    network_inputs,
    outputs_of,
    uses_of,
)
from ammgraph.compiler.derive import density_of, plan_readouts, plan_reconstructions
from ammgraph.compiler.effect import check_rows_learn, check_samples_differ, data_are_read, without_effect
from ammgraph.compiler.extent import check_extent
from ammgraph.compiler.factors import (
    Declared,
    Variables,
    batch_size_of,
    check_factors,
    declared_factors,
    order_draws,
    plan_variables,
    sampling_order,
)
from ammgraph.compiler.games import check_games, check_sides, critic_reads, needed_variables, plan_game
from ammgraph.compiler.idle import idle_settings
from ammgraph.compiler.lint import check_settings, check_unused, check_variable_rows, lint
from ammgraph.compiler.origins import check_origins, field_of
from ammgraph.compiler.rows import Table, check_columns, infer_rows, order_rows, unknown_names
from ammgraph.compiler.statistics import check_statistics
from ammgraph.compiler.turns import check_players, check_turns, plan_turns
from ammgraph.diagnostics import Problems, stop_if
from ammgraph.plan.cost import check_memory
from ammgraph.plan.plan import (
    Density,
    DrawPlan,
    EvaluationPlan,
    FactorPlan,
    FromData,
    FromDraw,
    FromNetwork,
    FromPrior,
    NetworkPlan,
    Plan,
    RowPlan,
    Site,
    VariablePlan,
)
from ammgraph.spec.notation import Reference
from ammgraph.spec.schema import DataSource, Mixture, Normal, Spec


def compile_spec(spec: Spec) -> Plan:
    """The plan of a spec.

    Raises:
        SpecError: the spec is not a model; every problem of the first stage that found one.
    """
    texts = spec.source.texts
    problems = Problems(texts)

    problems += check_extent(spec)
    stop_if(problems, texts)

    variables = plan_variables(spec)
    found = {name: order_rows(spec, name, problems) for name in spec.networks}
    tables = {name: table for name, table in found.items() if table is not None}
    for table in tables.values():
        problems += check_columns(spec, table)
    declared = declared_factors(spec)
    problems += check_factors(spec, variables, declared)
    problems += check_origins(spec, variables, declared)
    problems += check_sides(spec, declared)
    problems += check_settings(spec)
    draw_order, cycles = order_draws(spec, declared)
    stop_if(problems + cycles, texts)

    uses = uses_of(declared, spec)
    problems += check_uses(spec, variables, tables, uses)
    inputs = {}
    for name, table in tables.items():
        inputs[name] = network_inputs(spec, variables, table, uses, problems)
        problems += unknown_names(spec, table, frozenset(inputs[name]) | frozenset(variables))
    stop_if(problems, texts)

    rows: dict[str, dict[str, RowPlan]] = {}
    for name, table in tables.items():
        rows[name] = {row.name: row for row in infer_rows(spec, table, inputs[name], outputs_of(uses, name), problems)}
        problems += check_variable_rows(spec, variables, table, rows[name], uses)
    problems += check_conditions(spec, variables, declared, tables, uses)
    stop_if(problems, texts)

    problems += check_games(spec, variables, declared, tables, rows, uses)
    problems += check_unused(spec, variables, declared, tables, uses)
    stop_if(problems, texts)

    networks = {name: _plan_network(spec, name, inputs[name], rows[name]) for name in spec.networks}
    wanted: dict[str, set[str]] = {name: set() for name in declared}
    for name, game in spec.games.items():
        reads = critic_reads(game, tables[game.discriminator.owner], uses, name, variables)
        for side in game.match:
            for _, draw in side.summands:
                wanted[draw] |= set(reads.values())
    needed = needed_variables(declared, wanted)
    draws = {
        name: _plan_draw(spec, name, declared[name], needed[name], tables, rows, uses, variables) for name in draw_order
    }
    games = [plan_game(spec, name, tables, uses, variables, draws, networks) for name in spec.games]
    problems += check_samples_differ(spec, games, draws)
    problems += check_players(spec, games, tuple(networks.values()))
    stop_if(problems, texts)

    turns = plan_turns(spec, games, draws, networks, tables)
    problems += check_turns(spec, turns, draws)
    problems += check_rows_learn(spec, networks, draws, turns)
    problems += check_statistics(spec, turns, networks)
    stop_if(problems, texts)
    readouts = plan_readouts(list(draws.values()), variables)
    warnings = [
        *lint(spec, variables, networks, draws),
        *data_are_read(spec, draws),
        *without_effect(spec, draws, games, turns),
        *idle_settings(spec, networks, draws, readouts),
    ]
    epoch_source, epoch_batch = _epoch(list(draws.values()))
    plan = Plan(
        title=spec.title,
        variables=tuple(variables.values()),
        networks=tuple(networks.values()),
        draws=tuple(draws.values()),
        games=tuple(games),
        turns=turns,
        readouts=readouts,
        reconstructions=plan_reconstructions(list(draws.values()), variables),
        epoch_source=epoch_source,
        epoch_batch=epoch_batch,
        epochs=spec.training.epochs,
        steps=spec.training.steps,
        momentum=spec.training.batchnorm.momentum,
        epsilon=spec.training.batchnorm.epsilon,
        statistics=spec.training.batchnorm.statistics,
        data=spec.data,
        evaluation=spec.evaluation,
        published=tuple(
            number
            for number in spec.published
            if all(spec.constants.get(name) == value for name, value in number.when.items())
        ),
        warnings=tuple(warnings),
    )
    stop_if(check_memory(spec, plan), texts)
    return plan


def _plan_network(
    spec: Spec, name: str, inputs: Mapping[str, tuple[int, int, int]], rows: Mapping[str, RowPlan]
) -> NetworkPlan:
    training = spec.training
    return NetworkPlan(
        name=name,
        inputs=tuple(inputs.items()),
        rows=tuple(rows.values()),
        optimizer=training.optimizers.get(name) or training.optimizers["default"],
        ema=training.ema.get(name, training.ema.get("default")),
    )


def _plan_draw(
    spec: Spec,
    name: str,
    factors: Sequence[Declared],
    needed: set[str],
    tables: Mapping[str, Table],
    rows: Mapping[str, Mapping[str, RowPlan]],
    uses: Sequence[Use],
    variables: Variables,
) -> DrawPlan:
    batch_size = batch_size_of(spec, name)
    computed: dict[str, set[str]] = {}  # evaluation -> rows that an earlier needed factor computes
    plans = []
    for declared in sampling_order(factors):
        first = declared.factor.variables[0]
        is_needed = any(variable in needed for variable in declared.factor.variables)
        origin: FromData | FromPrior | FromDraw | FromNetwork
        if isinstance(declared.source, DataSource):
            fields = tuple(
                (variable, field_of(spec, variables[variable]) or "") for variable in declared.factor.variables
            )
            origin, density = FromData(declared.source, fields), Density("data")
        elif isinstance(declared.source, Reference) and declared.source.owner in spec.networks:
            origin = _from_network(name, declared.source, tables, uses, variables, computed, is_needed)
            stops = frozenset(local for local, _ in origin.evaluation.bindings) - {declared.source.name}
            density = density_of(declared.source.name, rows[declared.source.owner], stops)
        elif isinstance(declared.source, Reference):
            origin, density = FromDraw(declared.source.owner, declared.source.name), Density("deterministic")
        else:
            given = declared.factor.given[0] if isinstance(declared.source, Mixture) else ""
            site = _prior_site(f"{name}/{first}", declared.source, variables[first], batch_size)
            origin, density = FromPrior(declared.source, site, given), Density("prior")
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
    return DrawPlan(name, batch_size, tuple(plans))


def _from_network(
    draw: str,
    reference: Reference,
    tables: Mapping[str, Table],
    uses: Sequence[Use],
    variables: Variables,
    computed: dict[str, set[str]],
    needed: bool,
) -> FromNetwork:
    table = tables[reference.owner]
    bound = locals_of(table, uses, draw, reference, variables)
    given = frozenset(bound) & frozenset(table.rows)
    name = f"{draw}/{reference.call}"
    closure = table.needed(reference.name, given)
    rows = tuple(row for row in closure if row not in computed.get(name, set()))
    if needed:
        computed.setdefault(name, set()).update(rows)
    return FromNetwork(
        EvaluationPlan(name, reference.owner, tuple(sorted(bound.items()))), reference.name, rows, closure
    )


def _prior_site(name: str, prior: object, variable: VariablePlan, batch_size: int) -> Site:
    """A categorical draw takes one uniform number, by inverse distribution function; a real one takes one each."""
    if variable.kind == "categorical":
        return Site(name, "uniform", "prior", batch_size, ())
    kind = "normal" if isinstance(prior, Normal | Mixture) else "uniform"
    return Site(name, kind, "prior", batch_size, variable.shape)  # type: ignore[arg-type]


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
