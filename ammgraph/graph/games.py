"""Games: who plays against whom, through which samples each gradient flows, and what one turn consists of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from ammgraph.diagnostics import Diagnostic, Note, Span, did_you_mean
from ammgraph.graph.calls import Use, call_text, locals_of
from ammgraph.graph.factors import Declared, Variables, batch_size_of
from ammgraph.graph.plan import (
    NOISE,
    CriticPass,
    DrawPlan,
    EvaluationPlan,
    FromData,
    FromDraw,
    FromNetwork,
    FromPrior,
    GamePlan,
    NetworkPlan,
    ObjectivePlan,
    PenaltyPlan,
    RowPlan,
    Site,
    TurnPlan,
    shape_text,
)
from ammgraph.graph.rows import Table
from ammgraph.spec.merge import OVERRIDES
from ammgraph.spec.schema import Game, Side, Spec
from ammgraph.spec.training import Turn

Declarations = Mapping[str, Sequence[Declared]]


def check_sides(spec: Spec, declared: Declarations) -> Iterator[Diagnostic]:
    """Both sides of every game are distributions, and the discriminator is a row of a network."""
    for name, game in spec.games.items():
        for index, side in enumerate(game.match):
            for weight, draw in side.summands:
                span = spec.source.value("games", name, "match", index)
                if draw not in declared:
                    yield Diagnostic(
                        "unknown-distribution",
                        f"`{draw}` is not a distribution",
                        span,
                        hint=did_you_mean(draw, declared),
                    )
                if weight <= 0:
                    yield Diagnostic("out-of-range", f"`{draw}` has weight 0", span, expected="a positive weight")
        if sorted(_merged(game.match[0])) == sorted(_merged(game.match[1])):
            yield Diagnostic(
                "impossible-game",
                f"both sides of `{name}` are `{game.match[0]}`",
                spec.source.value("games", name, "match"),
                expected="two different distributions, [REAL, FAKE]",
                hint="`b: a` in `distributions` draws `a` again, independently",
            )
        span, reference = spec.source.value("games", name, "discriminator"), game.discriminator
        if reference.owner not in spec.networks:
            yield Diagnostic(
                "unknown-network",
                f"`{reference.owner}` is not a network",
                span,
                hint=_removed_too(spec, name, span) or did_you_mean(reference.owner, spec.networks),
            )
        elif reference.name not in spec.networks[reference.owner].layers:
            layers = spec.networks[reference.owner].layers
            yield Diagnostic(
                "unknown-row",
                f"`{reference.owner}` has no row `{reference.name}`",
                span,
                hint=_removed_too(spec, name, span) or did_you_mean(reference.name, layers),
            )


def _removed_too(spec: Spec, game: str, span: Span) -> str:
    """A hint for an inherited game, whose network or row the spec itself removes; nothing for a game of its own."""
    own = next(iter(spec.source.texts))
    if span.file in (own, OVERRIDES):
        return ""
    return f"`{game}` is inherited; `{game}: null` in `games` removes it too"


def critic_reads(game: Game, table: Table, uses: Sequence[Use], name: str, variables: Variables) -> dict[str, str]:
    """The discriminator's local name -> variable, for the names that its row depends on."""
    bound = locals_of(table, uses, name, game.discriminator, variables)
    given = frozenset(bound) & frozenset(table.rows) - {game.discriminator.name}
    reads = table.reads(game.discriminator.name, given)
    return {local: bound[local] for local in [*table.free, *table.rows] if local in reads and local in bound}


def check_games(
    spec: Spec,
    variables: Variables,
    declared: Declarations,
    tables: Mapping[str, Table],
    rows: Mapping[str, Mapping[str, RowPlan]],
    uses: Sequence[Use],
) -> Iterator[Diagnostic]:
    """The discriminator gives one logit, and both sides produce every variable that it reads."""
    for name, game in spec.games.items():
        reference = game.discriminator
        row, span = rows[reference.owner][reference.name], spec.source.value("games", name, "discriminator")
        note = Note(f"row `{row.name}` stands here", spec.source.key("networks", reference.owner, "layers", row.name))
        if row.out_shape != (1, 1, 1):
            yield Diagnostic(
                "impossible-game",
                f"`{reference}` is no logit",
                span,
                found=shape_text(row.out_shape),
                expected="1x1x1",
                notes=(note,),
            )
        elif row.activation is not None:
            yield Diagnostic(
                "impossible-game",
                f"`{reference}` is a logit and has an activation",
                span,
                found=f"`{row.activation}`",
                expected="no activation: the losses take the logit",
                notes=(note,),
            )
        reads = critic_reads(game, tables[reference.owner], uses, name, variables)
        if not reads:
            yield Diagnostic("impossible-game", f"`{reference}` reads no variable", span, notes=(note,))
        for index, side in enumerate(game.match):
            for _, draw in side.summands:
                yield from _side_can_be_drawn(spec, declared, draw, reads, name, index)
        yield from _penalties_can_be_taken(spec, game, name, declared)


def needed_variables(declared: Declarations, wanted: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Per distribution the variables that must be drawn, closed under conditions and samples from elsewhere (R19)."""
    needed: dict[str, set[str]] = {name: set() for name in declared}
    open_pairs = [(draw, variable) for draw, variables in wanted.items() for variable in variables]
    while open_pairs:
        draw, variable = open_pairs.pop()
        if variable in needed[draw]:
            continue
        needed[draw].add(variable)
        for factor in declared[draw]:
            if variable in factor.factor.variables:
                open_pairs += [(draw, given) for given in factor.factor.given]
                if factor.network is not None and factor.network.owner in declared:
                    open_pairs.append((factor.network.owner, factor.network.name))
    return needed


def gradient_paths(game: Game, reads: Mapping[str, str], draws: Mapping[str, DrawPlan]) -> dict[str, tuple[str, ...]]:
    """Network -> the samples (`q(z|x)`) through which the game's value for the sides depends on it.

    Every sampler of the language is differentiable, so a path is a chain of samples drawn by networks.
    """
    paths: dict[str, list[str]] = {}
    seen: set[tuple[str, str]] = set()
    open_pairs = [(draw, variable) for side in game.match for _, draw in side.summands for variable in reads.values()]
    while open_pairs:
        draw, variable = open_pairs.pop(0)
        if (draw, variable) in seen:
            continue
        seen.add((draw, variable))
        factor = draws[draw].factor_of(variable)
        if isinstance(factor.origin, FromNetwork):
            paths.setdefault(factor.origin.evaluation.network, []).append(f"{draw}.{variable}")
            open_pairs += [(draw, given) for given in factor.given]
        elif isinstance(factor.origin, FromPrior):  # a mixture's mean is linear in the one-hot that chooses it
            open_pairs += [(draw, given) for given in factor.given]
        elif isinstance(factor.origin, FromDraw):
            open_pairs.append((factor.origin.draw, factor.origin.variable))
    return {network: tuple(samples) for network, samples in paths.items()}


def plan_game(
    spec: Spec,
    name: str,
    tables: Mapping[str, Table],
    uses: Sequence[Use],
    variables: Variables,
    draws: Mapping[str, DrawPlan],
) -> GamePlan:
    """A game with its players and penalties decided."""
    game = spec.games[name]
    reference = game.discriminator
    reads = critic_reads(game, tables[reference.owner], uses, name, variables)
    rows = tables[reference.owner].needed(reference.name, frozenset(reads))
    penalties = []
    if game.gradient_penalty is not None:
        evaluation = EvaluationPlan(f"{name}.penalty/{call_text(reference)}", reference.owner, tuple(reads.items()))
        every = game.gradient_penalty.every
        penalties.append(PenaltyPlan("gradient_penalty", game.gradient_penalty.lambda_, evaluation, rows, every))
    if game.roth_penalty is not None:
        penalties.append(PenaltyPlan("roth_penalty", game.roth_penalty.gamma, every=game.roth_penalty.every))
    if game.r1_penalty is not None:
        penalties.append(PenaltyPlan("r1_penalty", game.r1_penalty.gamma, every=game.r1_penalty.every))
    paths = gradient_paths(game, reads, draws)
    return GamePlan(
        name=name,
        real=_merged(game.match[0]),
        fake=_merged(game.match[1]),
        objective=game.objective,
        weight=game.weight,
        discriminator=reference,
        reads=tuple(reads.items()),
        penalties=tuple(penalties),
        paths=tuple(paths.items()),
    )


def check_players(spec: Spec, games: Sequence[GamePlan], networks: Sequence[NetworkPlan]) -> Iterator[Diagnostic]:
    """`trains` and the schedule name networks and games that there are, and every network is trained."""
    known = True
    for game in games:
        reached = {game.discriminator.owner, *dict(game.paths)}
        for index, network in enumerate(spec.games[game.name].trains or ()):
            span = spec.source.value("games", game.name, "trains", index)
            if network not in spec.networks:
                known = False
                yield _unknown_network(spec, network, span)
            elif network not in reached:
                yield Diagnostic(
                    "no-gradient",
                    f"no gradient of `{game.name}` reaches `{network}`",
                    span,
                    expected=f"one of {_listing(reached)}",
                )
    for index, turn in enumerate(spec.training.schedule or ()):
        path = ("training", "schedule", index)
        for place, network in enumerate(turn.update):
            if network not in spec.networks:
                known = False
                yield _unknown_network(spec, network, spec.source.value(*path, "update", place))
        for place, name in enumerate(turn.games or ()):
            if name not in spec.games:
                known = False
                yield Diagnostic(
                    "unknown-game",
                    f"`{name}` is not a game",
                    spec.source.value(*path, "games", place),
                    hint=did_you_mean(name, spec.games),
                )
        if index == 0 and turn.draw == "same":
            yield Diagnostic(
                "impossible-schedule",
                "the first turn has no turn before it whose draw it could share",
                spec.source.value(*path, "draw"),
                expected="`draw: new`",
            )
    if known:
        yield from _every_turn_trains_what_it_updates(spec, games, networks)
        yield from _every_network_is_trained(spec, games, networks)


def check_turns(spec: Spec, turns: Sequence[TurnPlan], draws: Mapping[str, DrawPlan]) -> Iterator[Diagnostic]:
    """A turn that shares the data of an earlier one finds there all that it takes from data."""
    shared: set[str] = set()
    for index, turn in enumerate(turns):
        if turn.redraw:
            shared = set(turn.draws)
            continue
        for name in turn.draws:
            if name not in shared and any(isinstance(f.origin, FromData) and f.needed for f in draws[name].factors):
                yield Diagnostic(
                    "impossible-schedule",
                    f"this turn takes the data of the turn before, which does not draw `{name}`",
                    spec.source.value("training", "schedule", index, "draw"),
                    expected="`draw: new`, or the games of the turn before",
                )


def plan_turns(
    spec: Spec,
    games: Sequence[GamePlan],
    draws: Mapping[str, DrawPlan],
    networks: Mapping[str, NetworkPlan],
    tables: Mapping[str, Table],
) -> tuple[TurnPlan, ...]:
    """The turns of a step: as scheduled, or one in which every network takes its gradient at the same point."""
    schedule = spec.training.schedule or (Turn(update=tuple(networks)),)
    turns = []
    for turn in schedule:
        played = tuple(game for game in games if turn.games is None or game.name in turn.games)
        objectives = _objectives(spec, played, turn.update)
        active = tuple(game for game in played if any(game.name in objective.games for objective in objectives))
        used = _used_draws(active, draws)
        passes = _critic_passes(spec, active, networks, tables)
        order = tuple(name for name in draws if name in used)
        learning = {name for objective in objectives if objective.role == "discriminator" for name in objective.games}
        penalized = tuple(game for game in active if game.name in learning)
        turns.append(
            TurnPlan(
                update=turn.update,
                steps=turn.steps,
                redraw=turn.draw == "new",
                draws=order,
                passes=passes,
                games=tuple(game.name for game in active),
                objectives=objectives,
                sites=_sites(penalized, passes, [draws[name] for name in order], draws, networks),
            )
        )
    return tuple(turns)


def _side_can_be_drawn(
    spec: Spec, declared: Declarations, draw: str, reads: Mapping[str, str], game: str, index: int
) -> Iterator[Diagnostic]:
    span = spec.source.value("games", game, "match", index)
    place = Note(f"`{draw}` stands here", spec.source.key("distributions", draw))
    needed = needed_variables(declared, {draw: set(reads.values())})
    for name, variables in needed.items():
        produced = {variable for factor in declared[name] for variable in factor.factor.variables}
        for variable in sorted(variables - produced):
            readers = [str(factor.factor) for factor in declared[name] if variable in factor.factor.given]
            reason = f"`{readers[0]}` needs it" if readers else "the discriminator reads it"
            yield Diagnostic(
                "missing-factor",
                f"`{name}` has no factor for `{variable}`",
                span,
                found=reason,
                expected=f"a factor `{_head(name)}({variable})` or `{_head(name)}({variable}|...)`",
                notes=(place,),
            )


def _head(draw: str) -> str:
    return draw.partition("_")[0]


def _penalties_can_be_taken(spec: Spec, game: Game, name: str, declared: Declarations) -> Iterator[Diagnostic]:
    mixed = any(len(side.summands) > 1 for side in game.match)
    if game.gradient_penalty is None:
        return
    span = spec.source.key("games", name, "gradient_penalty")
    if mixed:
        yield Diagnostic(
            "impossible-game",
            "eq. 18 pairs the i-th REAL with the i-th FAKE example, and a weighted sum has no i-th example",
            span,
            expected="one distribution on each side",
        )
        return
    sizes = [batch_size_of(spec, side.summands[0][1]) for side in game.match]
    if sizes[0] != sizes[1]:
        yield Diagnostic(
            "impossible-game",
            "eq. 18 pairs the i-th REAL with the i-th FAKE example, and the batches differ",
            span,
            found=f"{sizes[0]} and {sizes[1]} examples",
            expected="equal batch sizes",
        )


def _unknown_network(spec: Spec, network: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "unknown-network", f"`{network}` is not a network", span, hint=did_you_mean(network, spec.networks)
    )


def _listing(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _every_turn_trains_what_it_updates(
    spec: Spec, games: Sequence[GamePlan], networks: Sequence[NetworkPlan]
) -> Iterator[Diagnostic]:
    counts = {network.name: network.parameters for network in networks}
    for index, turn in enumerate(spec.training.schedule or ()):
        played = [game for game in games if turn.games is None or game.name in turn.games]
        trained = {name for objective in _objectives(spec, played, turn.update) for name in objective.networks}
        for place, network in enumerate(turn.update):
            span = spec.source.value("training", "schedule", index, "update", place)
            if network in turn.update[:place]:
                yield Diagnostic("impossible-schedule", f"`{network}` is updated twice in one turn", span)
            elif network not in trained or not counts[network]:
                yield Diagnostic(
                    "no-gradient",
                    f"no game of this turn trains `{network}`",
                    span,
                    found=f"a turn of {_listing({game.name for game in played})}"
                    if counts[network]
                    else "no parameters",
                    expected="a discriminator of this turn's games, or a network that draws what one reads",
                )


def _every_network_is_trained(
    spec: Spec, games: Sequence[GamePlan], networks: Sequence[NetworkPlan]
) -> Iterator[Diagnostic]:
    schedule = spec.training.schedule or (Turn(update=tuple(spec.networks)),)
    trained = {
        network
        for turn in schedule
        for objective in _objectives(
            spec, [game for game in games if turn.games is None or game.name in turn.games], turn.update
        )
        for network in objective.networks
    }
    for network in networks:
        if network.parameters and network.name not in trained:
            in_game = any(network.name in {game.discriminator.owner, *dict(game.paths)} for game in games)
            yield Diagnostic(
                "no-gradient",
                f"no gradient reaches `{network.name}`",
                spec.source.key("networks", network.name),
                found="`trains` or the schedule leaves it out"
                if in_game
                else "it draws nothing that a discriminator reads",
                expected="a network that some game trains",
                hint="`null` removes a network that is inherited" if not in_game else "",
            )


def _objectives(spec: Spec, games: Sequence[GamePlan], update: Sequence[str]) -> tuple[ObjectivePlan, ...]:
    """One scalar for each set of networks that minimise the same sum of games."""
    roles: tuple[Literal["discriminator", "generator"], ...] = ("discriminator", "generator")
    objectives = []
    for role in roles:
        groups: dict[tuple[str, ...], list[str]] = {}
        for game in games:
            reached = (game.discriminator.owner,) if role == "discriminator" else tuple(dict(game.paths))
            allowed = spec.games[game.name].trains
            trained = tuple(name for name in update if name in reached and (allowed is None or name in allowed))
            if trained:
                groups.setdefault(trained, []).append(game.name)
        objectives += [ObjectivePlan(role, tuple(names), trained) for trained, names in groups.items()]
    return tuple(objectives)


def _used_draws(games: Sequence[GamePlan], draws: Mapping[str, DrawPlan]) -> set[str]:
    used: set[str] = set()
    open_names = [draw for game in games for draw in game.draws]
    while open_names:
        name = open_names.pop()
        if name not in used:
            used.add(name)
            open_names += [
                factor.origin.draw
                for factor in draws[name].factors
                if factor.needed and isinstance(factor.origin, FromDraw)
            ]
    return used


def _critic_passes(
    spec: Spec, games: Sequence[GamePlan], networks: Mapping[str, NetworkPlan], tables: Mapping[str, Table]
) -> tuple[CriticPass, ...]:
    """Which logits are computed as one batch (R14): a game's sides, and games whose critic has no batch statistics."""
    groups: dict[tuple[object, ...], list[tuple[GamePlan, tuple[Literal["real", "fake"], ...]]]] = {}
    for game in games:
        network = networks[game.discriminator.owner]
        rows = _critic_rows(game, tables)
        if spec.games[game.name].batch == "separate":
            groups[(game.name, "real")] = [(game, ("real",))]
            groups[(game.name, "fake")] = [(game, ("fake",))]
        elif any(network.row(row).batchnorm for row in rows):
            groups[(game.name,)] = [(game, ("real", "fake"))]
        else:
            groups.setdefault((game.discriminator.owner, game.discriminator.name, game.reads), []).append(
                (game, ("real", "fake"))
            )
    passes = []
    for members in groups.values():
        game, sides = members[0]
        suffix = "" if len(sides) == 2 else f".{sides[0]}"
        name = "+".join(member.name for member, _ in members) + f"{suffix}/{call_text(game.discriminator)}"
        summands = [getattr(member, side) for member, kinds in members for side in kinds]
        passes.append(
            CriticPass(
                evaluation=EvaluationPlan(name, game.discriminator.owner, game.reads),
                row=game.discriminator.name,
                rows=_critic_rows(game, tables),
                draws=tuple(dict.fromkeys(draw for side in summands for _, draw in side)),
                sides=tuple((member.name, side) for member, kinds in members for side in kinds),
            )
        )
    return tuple(passes)


def _critic_rows(game: GamePlan, tables: Mapping[str, Table]) -> tuple[str, ...]:
    return tables[game.discriminator.owner].needed(game.discriminator.name, frozenset(dict(game.reads)))


def _merged(side: Side) -> tuple[tuple[float, str], ...]:
    weights: dict[str, float] = {}
    for weight, draw in side.summands:
        weights[draw] = weights.get(draw, 0.0) + weight
    return tuple((weight, draw) for draw, weight in weights.items())


def _sites(
    penalized: Sequence[GamePlan],
    passes: Sequence[CriticPass],
    turn_draws: Sequence[DrawPlan],
    draws: Mapping[str, DrawPlan],
    networks: Mapping[str, NetworkPlan],
) -> tuple[Site, ...]:
    """Every random tensor of a turn, in the order of use (R8)."""
    sites: list[Site] = []
    for draw in turn_draws:
        for factor in draw.factors:
            if not factor.needed:
                continue
            if isinstance(factor.origin, FromPrior):
                sites.append(factor.origin.site)
            elif isinstance(factor.origin, FromNetwork):
                network = networks[factor.origin.evaluation.network]
                sites += _row_sites(factor.origin.evaluation, network, factor.origin.rows, draw.batch_size, "dropout")
    for critic in passes:
        batch = sum(draws[name].batch_size for name in critic.draws)
        sites += _row_sites(critic.evaluation, networks[critic.evaluation.network], critic.rows, batch, "dropout")
    for game in penalized:
        for penalty in game.penalties:
            if penalty.evaluation is not None:
                batch = draws[game.real[0][1]].batch_size
                found = [Site(f"{penalty.evaluation.name}/coefficient", "uniform", "penalty", batch, (1, 1, 1))]
                network = networks[penalty.evaluation.network]
                found += _row_sites(penalty.evaluation, network, penalty.rows, batch, "penalty")
                sites += [replace(site, every=penalty.every) for site in found]
    return tuple(sites)


def _row_sites(
    evaluation: EvaluationPlan,
    network: NetworkPlan,
    rows: Sequence[str],
    batch: int,
    masks: Literal["dropout", "penalty"],
) -> list[Site]:
    sites = []
    for name in rows:
        row = network.row(name)
        if row.dropout:
            sites.append(Site(f"{evaluation.name}/{name}.mask", "mask", masks, batch, row.in_shape, row.dropout))
        if row.noise:
            site = f"{evaluation.name}/{name}.{row.noise}"
            sites.append(Site(site, NOISE[row.noise], "sample", batch, row.noise_shape))
    return sites
