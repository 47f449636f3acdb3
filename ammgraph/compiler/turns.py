"""Turns: what one consists of: whom it updates, what it draws, the passes it takes, the losses it minimises."""

from collections.abc import Iterator, Mapping, Sequence

from ammgraph.compiler.draws import needed_by, plan_draw
from ammgraph.compiler.losses import plan_losses, plan_objectives, term_losses
from ammgraph.compiler.passes import plan_passes, plan_sites
from ammgraph.compiler.resolved import Resolved
from ammgraph.diagnostics import Diagnostic, Note, Span, did_you_mean
from ammgraph.plan.draws import DrawPlan, FromData
from ammgraph.plan.networks import NetworkPlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import GamePlan, LossPlan, TermPlan, TurnPlan
from ammgraph.spec.phases import Turn
from ammgraph.spec.schema import Spec
from ammgraph.spec.source import Path


def check_learners(resolved: Resolved) -> Iterator[Diagnostic]:
    """Some network learns."""
    networks, source = resolved.networks, resolved.spec.source
    if any(network.learns for network in networks.values()):
        return
    still = [source.key("networks", name, "trainable") for name, network in networks.items() if not network.trainable]
    span, *others = still or [source.key("networks")]
    yield Diagnostic(
        "no-gradient",
        "nothing is left to train",
        span,
        found="every network with parameters has `trainable: false`" if still else "no network has parameters",
        expected="a network that learns",
        notes=tuple(Note("and here", place) for place in others),
    )


def check_players(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """`trains` and the schedule name networks and games that there are, and every network is trained."""
    problems = [*_trains_rightly(spec, plan), *_schedule_fits(spec)]
    yield from problems
    still = {network.name for network in plan.networks if not network.trainable}
    frozen = f"`trainable: false` at {_listing(still)}" if still else ""
    for term in plan.terms:
        if not term.paths:
            yield Diagnostic(
                "no-gradient",
                f"`{term.name}` depends on no network with parameters",
                spec.source.value("terms", term.name, "minimize"),
                found="`stop` keeps every gradient out" if any(score.stopped for score in term.scores) else frozen,
                expected="a factor, a row or a sample of a network that learns",
            )
    if not any(found.code.startswith("unknown-") for found in problems):
        yield from _every_turn_trains_what_it_updates(spec, plan)
        yield from _every_network_is_trained(spec, plan)


def _trains_rightly(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """`trains` of games and terms names networks that their gradients reach."""
    reaches = [("games", game.name, {game.discriminator.owner, *dict(game.paths)}) for game in plan.games]
    reaches += [("terms", term.name, {*dict(term.paths)}) for term in plan.terms]
    for section, owner, reached in reaches:
        trains = spec.games[owner].trains if section == "games" else spec.terms[owner].trains
        for index, network in enumerate(trains or ()):
            span = spec.source.value(section, owner, "trains", index)
            if network not in spec.networks:
                yield _unknown_network(spec, network, span)
            elif network not in reached:
                yield Diagnostic(
                    "no-gradient",
                    f"no gradient of `{owner}` reaches `{network}`",
                    span,
                    found="" if spec.networks[network].trainable else f"`{network}` has `trainable: false`",
                    expected=f"{'one of ' if len(reached) > 1 else ''}{_listing(reached)}",
                )


def _schedule_fits(spec: Spec) -> Iterator[Diagnostic]:
    """Turns name networks, games and terms that there are; the first one draws anew."""
    for path, turn in written_turns(spec):
        for place, network in enumerate(turn.update):
            if network not in spec.networks:
                yield _unknown_network(spec, network, spec.source.value(*path, "update", place))
        for key, names, valid in (("game", turn.games, spec.games), ("term", turn.terms, spec.terms)):
            for place, name in enumerate(names or ()):
                if name not in valid:
                    yield Diagnostic(
                        f"unknown-{key}",
                        f"`{name}` is not a {key}",
                        spec.source.value(*path, f"{key}s", place),
                        hint=did_you_mean(name, valid),
                    )
        if path[-1] == 0 and turn.draw == "same":
            yield Diagnostic(
                "impossible-schedule",
                "the first turn has no turn before it whose draw it could share",
                spec.source.value(*path, "draw"),
                expected="`draw: new`",
            )


def check_turns(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """A turn that shares the data of an earlier one finds there all that it takes from data."""
    shared: set[tuple[str, str]] = set()
    paths = [path for path, _ in turns_with_places(spec)]
    for path, turn in zip(paths, plan.turns, strict=True):
        taken = {
            (name, factor.text)
            for name in turn.draws
            for factor in turn.drawn(plan.draw(name)).factors
            if isinstance(factor.origin, FromData) and factor.needed
        }
        if turn.redraw:
            shared = taken
            continue
        for name in turn.draws:
            if any(draw == name for draw, _ in taken - shared):
                yield Diagnostic(
                    "impossible-schedule",
                    f"this turn takes the data of the turn before, which does not draw `{name}`",
                    spec.source.value(*path, "draw"),
                    expected="`draw: new`, or the games of the turn before",
                )


def turns_with_places(spec: Spec) -> list[tuple[Path, Turn]]:
    """Every turn of every phase; where a phase has no schedule, one that updates all at the phase's own place."""
    everything = Turn(update=tuple(spec.networks))
    found: list[tuple[Path, Turn]] = []
    for path, phase in spec.training.stages:
        found += _numbered((*path, "schedule"), phase.schedule) if phase.schedule else [(path, everything)]
    return found


def written_turns(spec: Spec) -> list[tuple[Path, Turn]]:
    """The turns of schedules, each with its place, whose last part is the position in its schedule."""
    stages = spec.training.stages
    return [found for path, phase in stages for found in _numbered((*path, "schedule"), phase.schedule or ())]


def plan_turns(
    resolved: Resolved, games: Sequence[GamePlan], terms: Sequence[TermPlan], draws: Mapping[str, DrawPlan]
) -> tuple[TurnPlan, ...]:
    """The turns of every phase: as scheduled, or one in which every network takes its gradient at the same point."""
    learners = tuple(name for name, network in resolved.networks.items() if network.learns)
    whole = (Turn(update=learners),)
    turns = [turn for _, phase in resolved.spec.training.stages for turn in phase.schedule or whole]
    return tuple(_plan_turn(resolved, turn, games, terms, draws) for turn in turns)


def _numbered(path: Path, schedule: Sequence[Turn]) -> list[tuple[Path, Turn]]:
    return [((*path, index), turn) for index, turn in enumerate(schedule)]


def _plan_turn(
    resolved: Resolved,
    turn: Turn,
    games: Sequence[GamePlan],
    terms: Sequence[TermPlan],
    draws: Mapping[str, DrawPlan],
) -> TurnPlan:
    wanted = _losses_of(turn, games, terms)
    objectives = plan_objectives(resolved.spec, wanted, turn.update)
    minimised = {name for objective in objectives for name in objective.losses}
    owners = {loss.owner for loss in wanted if loss.name in minimised}
    active, taken = [g for g in games if g.name in owners], [t for t in terms if t.name in owners]
    needed = needed_by(resolved, [game.name for game in active], [term.name for term in taken])
    named = {draw for game in active for draw in game.draws} | {draw for term in taken for draw in term.draws}
    used = [draw for name, draw in draws.items() if name in named or needed[name]]
    drawn = [_narrowed(resolved, draw, needed[draw.name]) for draw in used]
    passes, as_drawn = plan_passes(resolved, drawn, active, taken, minimised, turn.update)
    losses = (*plan_losses(active, passes), *term_losses(taken))
    return TurnPlan(
        update=turn.update,
        steps=turn.steps,
        redraw=turn.draw == "new",
        draws=tuple(draw.name for draw in drawn),
        passes=passes,
        games=tuple(game.name for game in active),
        # A loss of logits alone costs nothing more and is logged; one of slopes is taken where something minimises it.
        losses=tuple(loss for loss in losses if loss.name in minimised or not loss.sloped),
        objectives=objectives,
        sites=plan_sites(drawn, passes, resolved.networks),
        terms=tuple(term.name for term in taken),
        partial=tuple(draw for draw in drawn if draw not in used),
        taken=as_drawn,
    )


def _narrowed(resolved: Resolved, draw: DrawPlan, needed: set[str]) -> DrawPlan:
    """The distribution with those variables needed alone; itself where these are all that any turn needs."""
    whole = {variable for factor in draw.factors if factor.needed for variable in factor.variables}
    return draw if whole <= needed else plan_draw(resolved, draw.name, needed)


def _losses_of(turn: Turn, games: Sequence[GamePlan], terms: Sequence[TermPlan]) -> tuple[LossPlan, ...]:
    """What a turn may minimise."""
    played = plan_losses([game for game in games if turn.plays(game.name)])
    return (*played, *term_losses([term for term in terms if turn.takes(term.name)]))


def _unknown_network(spec: Spec, network: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "unknown-network", f"`{network}` is not a network", span, hint=did_you_mean(network, spec.networks)
    )


def _why_not(network: NetworkPlan) -> str:
    return "no parameters" if network.trainable else "`trainable: false`"


def _listing(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _every_turn_trains_what_it_updates(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    networks = {network.name: network for network in plan.networks}
    for path, turn in written_turns(spec):
        losses = _losses_of(turn, plan.games, plan.terms)
        trained = {name for objective in plan_objectives(spec, losses, turn.update) for name in objective.networks}
        for place, network in enumerate(turn.update):
            span = spec.source.value(*path, "update", place)
            if network in turn.update[:place]:
                yield Diagnostic("impossible-schedule", f"`{network}` is updated twice in one turn", span)
            elif network not in trained or not networks[network].learns:
                yield Diagnostic(
                    "no-gradient",
                    f"nothing in this turn trains `{network}`",
                    span,
                    found=f"a turn of {_listing({loss.owner for loss in losses})}"
                    if networks[network].learns
                    else _why_not(networks[network]),
                    expected="a discriminator of this turn's games, or a network that one of them or a term depends on",
                )


def _every_network_is_trained(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    trained = {
        network
        for _, turn in turns_with_places(spec)
        for objective in plan_objectives(spec, _losses_of(turn, plan.games, plan.terms), turn.update)
        for network in objective.networks
    }
    for network in plan.networks:
        if network.learns and network.name not in trained:
            in_game = any(network.name in {game.discriminator.owner, *dict(game.paths)} for game in plan.games)
            in_game = in_game or any(network.name in dict(term.paths) for term in plan.terms)
            yield Diagnostic(
                "no-gradient",
                f"no gradient reaches `{network.name}`",
                spec.source.key("networks", network.name),
                found="`trains` or the schedule leaves it out"
                if in_game
                else "it draws nothing that a discriminator reads, and no term depends on it",
                expected="a network that some game or term trains",
                hint="`null` removes a network that is inherited" if not in_game else "",
            )
