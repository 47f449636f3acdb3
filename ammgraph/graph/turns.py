"""Turns: what one consists of: whom it updates, what it draws, which logits are one batch, every random tensor."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from ammgraph.diagnostics import Diagnostic, Span, did_you_mean
from ammgraph.graph.calls import call_text
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
    Site,
    TurnPlan,
)
from ammgraph.graph.rows import Table
from ammgraph.spec.schema import Spec
from ammgraph.spec.training import Turn


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
    learners = tuple(name for name, network in networks.items() if network.parameters)
    schedule = spec.training.schedule or (Turn(update=learners),)
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
