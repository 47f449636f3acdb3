"""What games and terms do: every row learns, sides differ, and nothing that is written of them is without effect."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Literal

from ammgraph.compiler.turns import turns_with_places
from ammgraph.diagnostics import Diagnostic, Note, counted
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.plan.draws import FromBayes, FromData, FromDraw, FromNetwork, ScorePlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import GamePlan, TermPlan, TurnPlan
from ammgraph.spec.notation import number_text, side_text
from ammgraph.spec.schema import Schedule, Spec
from ammgraph.spec.terms import factors_of

_UNEVEN = 1e-6  # from here on the weights of a side do not sum to 1


def data_are_read(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """Some distribution that a step draws takes an example of the data."""
    factors = [factor for draw in plan.draws for factor in draw.factors]
    if not any(factor.needed and isinstance(factor.origin, FromData) for factor in factors):
        yield Diagnostic(
            "no-data",
            "a step reads nothing of the data",
            spec.source.key("data"),
            found="no discriminator and no term reads what depends on a factor that is drawn by `data`",
            expected="a factor of an image, as `q(x): data`",
        )


def check_samples_differ(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """No game is played between samples and the same samples under another name."""
    for game in plan.games:
        real, fake = (
            sorted((weight, _origins(draw, game, plan)) for weight, draw in side) for side in (game.real, game.fake)
        )
        if real == fake:
            yield Diagnostic(
                "impossible-game",
                f"both sides of `{game.name}` are the same samples",
                spec.source.value("games", game.name, "match"),
                found=", ".join(f"`{variable}` of `{draw}`" for _, origins in real for draw, variable in origins),
                expected="two different distributions, [REAL, FAKE]",
            )


def check_rows_learn(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """A gradient reaches every row that has parameters."""
    learning = _learning_rows(plan)
    for network in (network for network in plan.networks if network.trainable):
        for row in network.rows:
            if row.parameters and (network.name, row.name) not in learning:
                serves = [
                    f"`{factor.text}`"
                    for draw in plan.draws
                    for factor in draw.factors
                    if isinstance(factor.origin, FromNetwork)
                    and factor.origin.evaluation.network == network.name
                    and row.name in factor.origin.closure
                ]
                yield Diagnostic(
                    "no-gradient",
                    f"no gradient reaches row `{row.name}` of `{network.name}`",
                    spec.source.key("networks", network.name, "layers", row.name),
                    found=f"it serves {', '.join(dict.fromkeys(serves))}, and nothing trains it through that",
                    expected="a game or a term that trains the network and depends on what the row leads to",
                )


def without_effect(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """Games, terms, penalties and players that change nothing, and games that ask for something else than they say."""
    taken = {name for turn in plan.turns for name in (*turn.games, *turn.terms)}
    owners: list[GamePlan | TermPlan] = [*plan.games, *plan.terms]
    for owner in owners:
        section = _section(owner)
        if owner.name not in taken:
            yield Diagnostic(
                "no-effect",
                f"no turn {'plays' if section == 'games' else 'takes'} `{owner.name}`",
                spec.source.key(section, owner.name),
                found="`trains` and the schedule leave nobody who learns from it",
                hint=f"`{owner.name}: null` in `{section}` removes a {section[:-1]} that is inherited",
            )
        elif is_zero(spec, owner.weight):
            span = spec.source.value(section, owner.name, "weight")
            yield Diagnostic("no-effect", f"the weight of `{owner.name}` is 0 all through the training", span)
    played = [game for game in plan.games if game.name in taken]
    for game in played:
        yield from _penalties(spec, game, plan)
    yield from _idle_players(spec, [owner for owner in owners if owner.name in taken], plan)
    yield from _idle_parts_of_turns(spec, plan.turns)
    yield from _uneven_sides(spec, plan.games)
    yield from _games_against_nobody(spec, played, plan)
    yield from _opposite_games(spec, played, plan)
    yield from _idle_factors(spec, plan)


def is_zero(spec: Spec, schedule: Schedule) -> bool:
    """Whether a number that may change is 0 all through the training: before N epochs, or N steps, are over."""
    training = spec.training
    end = training.most_epochs if schedule.by == "epochs" else float(training.known_steps or "inf")
    before = [value for time, value in schedule.points if time < end]
    towards = [value for time, value in schedule.points if time >= end][:1]
    return not any((*before, *towards))


def _origins(draw: str, game: GamePlan, plan: Plan) -> tuple[tuple[str, str], ...]:
    """For each variable that the discriminator reads, the distribution and the variable that the sample comes from."""
    found = []
    for _, variable in game.reads:
        place = (draw, variable)
        while isinstance(origin := plan.draw(place[0]).factor_of(place[1]).origin, FromDraw):
            place = (origin.draw, origin.variable)
        found.append(place)
    return tuple(found)


def _learning_rows(plan: Plan) -> set[tuple[str, str]]:
    """(network, row) of every row through which the gradient of some loss flows to a network that the loss trains."""
    found: set[tuple[str, str]] = set()
    for turn in plan.turns:
        rows = {passed.evaluation.name: passed.rows for passed in turn.passes}
        for loss, network in turn.minimised:
            samples = dict(loss.paths)[network]
            if not samples:  # the network itself is evaluated
                found |= {(network, row) for name in loss.passes for row in rows[name]}
            scores = plan.term(loss.owner).scores if loss.owner in turn.terms else ()
            found |= _scoring(network, [score for score in scores if score.name in samples])
            drawn = [sample for sample in samples if all(sample != score.name for score in scores)]
            for draw, _, variable in (sample.partition(".") for sample in drawn):
                origin = plan.draw(draw).factor_of(variable).origin
                if isinstance(origin, FromBayes):
                    found |= _scoring(network, [origin.score])
                    continue
                assert isinstance(origin, FromNetwork), "a path leads through samples of the network"
                found |= {(network, row) for row in origin.closure}
    return found


def _scoring(network: str, scores: Sequence[ScorePlan]) -> set[tuple[str, str]]:
    """The rows of a network by which these scores are computed."""
    parts = [part for score in scores for part in score.computed if part.network == network]
    return {(network, row) for part in parts for row in part.rows}


def _minimised(plan: Plan) -> set[tuple[str, str, str]]:
    """(game or term, what of its losses, network) of every loss that some turn minimises."""
    return {(loss.owner, loss.what, network) for turn in plan.turns for loss, network in turn.minimised}


def _section(owner: GamePlan | TermPlan) -> Literal["games", "terms"]:
    return "games" if isinstance(owner, GamePlan) else "terms"


def _penalties(spec: Spec, game: GamePlan, plan: Plan) -> Iterator[Diagnostic]:
    """Penalties that weigh 0 throughout, and those whose time never comes."""
    penalized = any(name == game.name and what == "discriminator" for name, what, _ in _minimised(plan))
    for penalty in game.penalties:
        path, key = ("games", game.name, penalty.kind), PENALTIES[penalty.kind].weight
        if not penalized:
            yield Diagnostic(
                "no-effect",
                f"the `{penalty.kind}` of `{game.name}` is never taken",
                spec.source.key(*path),
                found=f"`{game.discriminator.owner}` does not learn from `{game.name}`",
            )
        elif is_zero(spec, penalty.weight):
            message = f"the `{penalty.kind}` of `{game.name}` weighs 0 all through the training"
            yield Diagnostic("no-effect", message, spec.source.value(*path, key))
        elif (steps := spec.training.known_steps) is not None and 1 < penalty.every >= steps:
            yield Diagnostic(
                "no-effect",
                f"the `{penalty.kind}` of `{game.name}` is taken in the first step alone",
                spec.source.value(*path, "every"),
                found=f"every {counted(penalty.every, 'step')}, of {steps:,}",
            )


def _idle_players(spec: Spec, owners: Sequence[GamePlan | TermPlan], plan: Plan) -> Iterator[Diagnostic]:
    trained = {(name, network) for name, _, network in _minimised(plan)}
    for owner in owners:
        section = _section(owner)
        written = spec.games[owner.name] if section == "games" else spec.terms[owner.name]
        for place, network in enumerate(written.trains or ()):
            if (owner.name, network) not in trained:
                does = "plays the game" if section == "games" else "takes the term"
                yield Diagnostic(
                    "no-effect",
                    f"`{owner.name}` trains `{network}` in no turn",
                    spec.source.value(section, owner.name, "trains", place),
                    found=f"no turn of the schedule that {does} updates the network",
                )


def _idle_parts_of_turns(spec: Spec, turns: Sequence[TurnPlan]) -> Iterator[Diagnostic]:
    taken = [{*turn.games, *turn.terms} for turn in turns]
    for (path, turn), found in zip(turns_with_places(spec), taken, strict=True):
        for section, names in (("games", turn.games), ("terms", turn.terms)):
            for place, name in enumerate(names or ()):
                if name not in found and any(name in other for other in taken):
                    yield Diagnostic(
                        "no-effect",
                        f"`{name}` trains none of the networks that this turn updates",
                        spec.source.value(*path, section, place),
                    )


def _uneven_sides(spec: Spec, games: Sequence[GamePlan]) -> Iterator[Diagnostic]:
    for game in games:
        for index, side in enumerate((game.real, game.fake)):
            total = sum(weight for weight, _ in side)
            if abs(total - 1) > _UNEVEN:
                yield Diagnostic(
                    "uneven-game",
                    f"the weights of `{side_text(side)}` do not sum to 1",
                    spec.source.value("games", game.name, "match", index),
                    found=f"sum {number_text(float(f'{total:.6g}'))}",
                    expected="sum 1: so a side is one distribution; `weight` weighs a whole game",
                )


def _games_against_nobody(spec: Spec, games: Sequence[GamePlan], plan: Plan) -> Iterator[Diagnostic]:
    """Games whose samples are all drawn by networks that stand still, and whose discriminator serves nothing else."""
    everywhere = _drawing(plan, [draw.name for draw in plan.draws]) | {n for term in plan.terms for n, _ in term.paths}
    for game in games:
        drawing, owner = _drawing(plan, game.draws), game.discriminator.owner
        if not drawing or owner in everywhere or any(plan.network(name).trainable for name in drawing):
            continue
        yield Diagnostic(
            "uneven-game",
            f"nobody plays `{game.name}` against `{owner}`",
            spec.source.value("games", game.name, "match"),
            found=f"`trainable: false` at {', '.join(f'`{name}`' for name in sorted(drawing))}",
            expected="a side that is drawn by a network that learns",
        )


def _drawing(plan: Plan, draws: Sequence[str]) -> set[str]:
    """The networks by which these distributions, or those whose samples they take, draw what a step needs."""
    found: set[str] = set()
    waiting, seen = list(draws), set(draws)
    while waiting:
        for origin in [factor.origin for factor in plan.draw(waiting.pop()).factors if factor.needed]:
            if isinstance(origin, FromNetwork):
                found.add(origin.evaluation.network)
            elif isinstance(origin, FromBayes):
                found |= {*origin.score.networks}
            elif isinstance(origin, FromDraw) and origin.draw not in seen:
                waiting.append(origin.draw)
                seen.add(origin.draw)
    return found


def _opposite_games(spec: Spec, games: Sequence[GamePlan], plan: Plan) -> Iterator[Diagnostic]:
    """Two games in which one discriminator learns to say 1 to what it says 0 to in the other."""
    learns = {game for game, role, _ in _minimised(plan) if role == "discriminator"}
    for first, second in combinations([game for game in games if game.name in learns], 2):
        asked = (first.discriminator, first.reads) == (second.discriminator, second.reads)
        if asked and (first.real, first.fake) == (second.fake, second.real):
            yield Diagnostic(
                "uneven-game",
                f"`{second.name}` asks `{second.discriminator}` for the opposite of what `{first.name}` does",
                spec.source.value("games", second.name, "match"),
                expected="sides in the same order, or a discriminator for each game",
                notes=(Note(f"`{first.name}` stands here", spec.source.value("games", first.name, "match")),),
            )


def _idle_factors(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """What data or a prior draws and no step needs; a network's row may be there to be read off."""
    terms = [term.minimize for term in spec.terms.values()]
    scored = {(use.draw, use.variables) for term in terms for use in factors_of(term)}
    posteriors = [f.origin for draw in plan.draws for f in draw.factors if isinstance(f.origin, FromBayes)]
    scored |= {(origin.distribution, (name,)) for origin in posteriors for name, _ in origin.score.parts}
    for draw in plan.draws:
        if isinstance(spec.distributions[draw.name], str):
            continue
        given = {variable for factor in draw.factors for variable in factor.given}
        for factor in draw.written:
            inferred = isinstance(factor.origin, FromNetwork | FromBayes)
            idle = not factor.needed and not inferred and not given & {*factor.variables}
            idle = idle and (draw.name, factor.variables) not in scored
            if idle and not _is_taken(plan, draw.name, factor.variables):
                yield Diagnostic(
                    "no-effect",
                    f"`{factor.text}` of `{draw.name}` is never drawn",
                    spec.source.key("distributions", draw.name, factor.text),
                    found="no discriminator, no term and no other factor reads it",
                )


def _is_taken(plan: Plan, name: str, variables: Sequence[str]) -> bool:
    origins = [factor.origin for draw in plan.draws for factor in draw.factors]
    return any(isinstance(o, FromDraw) and o.draw == name and o.variable in variables for o in origins)
