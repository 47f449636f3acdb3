"""The passes of a turn: which rows every network computes, at whose samples, as one batch of how many; their noise."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ammgraph.compiler.resolved import Resolved
from ammgraph.formulas.expression import Vat, parts
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.plan.draws import (
    DrawPlan,
    EvaluationPlan,
    FromBayes,
    FromDraw,
    FromNetwork,
    FromPrior,
    ScorePlan,
    Site,
    Stream,
)
from ammgraph.plan.enumeration import Needed, depending, evaluations_of
from ammgraph.plan.games import between_name
from ammgraph.plan.networks import NetworkPlan
from ammgraph.plan.turns import GamePlan, PassPlan, SideName, TermPlan, direction_name


def plan_passes(
    resolved: Resolved,
    draws: Sequence[DrawPlan],
    games: Sequence[GamePlan],
    terms: Sequence[TermPlan],
    minimised: Collection[str],
    update: Collection[str],
) -> tuple[tuple[PassPlan, ...], tuple[tuple[str, str], ...]]:
    """Draws first, then what terms ask for, then discriminators at their samples, then between them for penalties.

    Args:
        resolved: the spec.
        draws: those of the turn, in the order of sampling.
        games: those that are played.
        terms: those that count.
        minimised: the names of the losses that some network minimises.
        update: the networks that the turn updates.

    Returns:
        The passes, and of evaluations that terms ask for which of drawing have what they need (`TurnPlan.taken`).
    """
    between = [found for game in games for found in _between(resolved, game, minimised)]
    drawn = tuple(_drawn(draws))
    needed = [factor.origin for draw in draws for factor in draw.factors if factor.needed]
    weighing = [origin.score for origin in needed if isinstance(origin, FromBayes)]
    scores = [*weighing, *(score for term in terms for score in term.scores)]
    parts_of_scores = _parts(scores)
    taken = tuple(_taken(resolved, draws, drawn, evaluations_of(resolved.networks, parts_of_scores)))
    done, stopped = _computed(drawn, dict(taken))
    asked = [*_asked(resolved, parts_of_scores, done, stopped)]
    whole = {name: rows - stopped[name] for name, rows in done.items()}
    asked, scored = _asked_within(resolved, games, asked, whole, update)
    return (*drawn, *asked, *_moved(resolved, terms), *scored, *between), taken


def plan_sites(
    draws: Sequence[DrawPlan], passes: Sequence[PassPlan], networks: Mapping[str, NetworkPlan]
) -> tuple[Site, ...]:
    """Every random tensor of a turn (R8), in the order of use."""
    rest, sites = iter(passes), []
    for origin in (factor.origin for draw in draws for factor in draw.factors if factor.needed):
        if isinstance(origin, FromPrior):
            sites.append(origin.site)
        elif isinstance(origin, FromNetwork):
            sites += _pass_sites(next(rest), networks[origin.evaluation.network])
    sites += [site for found in rest for site in _pass_sites(found, networks[found.evaluation.network])]
    return tuple(dict.fromkeys(sites))  # two moves of one variable begin in one direction


def _drawn(draws: Sequence[DrawPlan]) -> Iterator[PassPlan]:
    for draw in draws:
        for factor in draw.factors:
            origin = factor.origin
            if factor.needed and isinstance(origin, FromNetwork):
                raw = (origin.row,) if origin.enumerated else ()
                size = draw.batch_size
                yield PassPlan("drawn", origin.evaluation, origin.row, origin.rows, (draw.name,), size, raw=raw)


def _parts(scores: Sequence[ScorePlan]) -> list[ScorePlan]:
    """What networks and priors give of scores; the parts of a posterior are stopped and moved as it is."""
    return [
        replace(part, stopped=score.stopped, moved=score.moved) if score.rule else part
        for score in scores
        for part in score.computed
    ]


def _taken(
    resolved: Resolved, draws: Sequence[DrawPlan], drawn: Sequence[PassPlan], needed: Sequence[Needed]
) -> Iterator[tuple[str, str]]:
    """Evaluations at samples that another draw has drawn, and that draw's own evaluation at them.

    Both have the same values where no dropout and no noise is each one's own. A row that is asked for is computed; one
    of a variable whose sample the draw has from elsewhere is not that sample.
    """
    by_name = {draw.name: draw for draw in draws}
    for one in needed:
        evaluation, network = one.evaluation, resolved.networks[one.evaluation.network]
        if evaluation.over or one.scores[0].draw not in by_name:
            continue
        bound = dict(evaluation.bindings)
        sampled = {name for factor in by_name[one.scores[0].draw].factors if factor.needed for name in factor.variables}
        if any(bound.get(row) in sampled for row in one.whole):
            continue
        read = {name for row in one.rows for name in network.row(row).reads}
        origins = {name: by_name[one.scores[0].draw].factor_of(bound[name]).origin for name in read if name in bound}
        taken = {name: origin for name, origin in origins.items() if isinstance(origin, FromDraw)}
        if not taken or len(taken) < len(origins):
            continue
        for found in drawn:
            own = dict(found.evaluation.bindings)
            same = all(
                found.draws == (origin.draw,) and own.get(name) == origin.variable for name, origin in taken.items()
            )
            if found.evaluation.network != network.name or not same or read & {*own} != {*taken}:
                continue
            rows = [network.row(row) for row in one.rows]
            if not any(tensor.disturbs or row.name in one.whole for row in rows for tensor in row.tensors):
                yield evaluation.name, found.evaluation.name
                break


def _computed(drawn: Sequence[PassPlan], taken: Mapping[str, str]) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """The rows of each evaluation that drawing has, and those of them that it computes up to their activation."""
    done: dict[str, set[str]] = {}
    stopped: dict[str, set[str]] = {}
    for found in drawn:
        done.setdefault(found.evaluation.name, set()).update(found.rows)
        stopped.setdefault(found.evaluation.name, set()).update(found.raw)
    for name, other in taken.items():
        done[name], stopped[name] = done[other], stopped[other]
    return done, stopped


def _asked(
    resolved: Resolved, scores: Sequence[ScorePlan], done: dict[str, set[str]], stopped: Mapping[str, set[str]]
) -> Iterator[PassPlan]:
    """One pass for each evaluation of which scores need rows that drawing has not computed.

    An evaluation over a variable has K examples for each of the draw's, and K where it reads nothing else.
    """
    for needed in evaluations_of(resolved.networks, scores):
        evaluation, own = needed.evaluation, needed.scores
        computed = done.get(evaluation.name, set()) - (stopped.get(evaluation.name, set()) & needed.whole)
        wanted = needed.rows - computed
        if wanted:
            rows = tuple(row for row in resolved.tables[evaluation.network].order if row in wanted)
            raw = tuple(row for row in rows if row not in needed.whole)
            draw = "" if needed.alone else own[0].draw
            size = resolved.batch_size(draw) if draw else 1
            size *= resolved.variables[evaluation.over].shape[0] if evaluation.over else 1
            still = all(score.stopped for score in own)
            kept = still and not any(score.moved for score in own) and evaluation.name not in done
            takes, chooses = needed.takes, needed.chooses
            yield PassPlan(
                "asked",
                evaluation,
                "",
                rows,
                (draw,),
                size,
                raw=raw,
                stopped=still,
                kept=kept,
                takes=takes,
                chooses=chooses,
            )


def _moved(resolved: Resolved, terms: Sequence[TermPlan]) -> Iterator[PassPlan]:
    """The passes at samples of which terms move one variable."""
    for term in terms:
        for leaf in dict.fromkeys(part for part in parts(term.value) if isinstance(part, Vat)):
            score = term.score(leaf)
            assert score is not None
            assert score.evaluation is not None
            size, draws = resolved.batch_size(leaf.draw), (leaf.draw,)
            yield PassPlan(
                "moved", score.evaluation, "", score.rows, draws, size, raw=score.raw, kept=True, moves=leaf.variable
            )


def _scored(resolved: Resolved, games: Sequence[GamePlan]) -> Iterator[PassPlan]:
    """Which logits are computed as one batch (R14): a game's sides, and games whose critic has no batch statistics."""
    groups: dict[tuple[object, ...], list[tuple[GamePlan, tuple[SideName, ...]]]] = {}
    for game in games:
        network = resolved.networks[game.discriminator.owner]
        if resolved.spec.games[game.name].batch == "separate":
            groups[(game.name, "real")] = [(game, ("real",))]
            groups[(game.name, "fake")] = [(game, ("fake",))]
        elif any(network.row(row).batchnorm for row in _rows(resolved, game)):
            groups[(game.name,)] = [(game, ("real", "fake"))]
        else:
            key = (game.discriminator.owner, game.discriminator.name, game.reads)
            groups.setdefault(key, []).append((game, ("real", "fake")))
    for members in groups.values():
        game, sides = members[0]
        suffix = "" if len(sides) == 2 else f".{sides[0]}"
        name = "+".join(member.name for member, _ in members) + f"{suffix}/{game.discriminator.call}"
        summands = [getattr(member, side) for member, kinds in members for side in kinds]
        joined = tuple(dict.fromkeys(draw for side in summands for _, draw in side))
        variables = [variable for _, variable in game.reads]
        evaluation = EvaluationPlan(name, game.discriminator.owner, game.reads)
        shared = _shared(resolved, [member for member, _ in members], evaluation, joined)
        yield PassPlan(
            kind="scored",
            evaluation=evaluation,
            row=game.discriminator.name,
            rows=_rows(resolved, game),
            draws=joined,
            batch=sum(_examples(resolved, draw, variables) for draw in joined),
            sides=tuple((member.name, side) for member, kinds in members for side in kinds),
            shared=shared,
            examples=sum(map(resolved.batch_size, joined)) if shared else 0,
        )


def _asked_within(
    resolved: Resolved,
    games: Sequence[GamePlan],
    asked: list[PassPlan],
    whole: Mapping[str, set[str]],
    update: Collection[str],
) -> tuple[list[PassPlan], list[PassPlan]]:
    """Passes of terms and of games, one where both pass the same network at the samples of the same draw.

    A gradient that is cut nowhere is each loss's own where the discriminator learns alone, or not at all. Rows that
    are `whole`, by evaluation, drawing has.
    """
    scored = []
    for found in _scored(resolved, games):
        owner = found.evaluation.network
        same = next((place for place, other in enumerate(asked) if _is_within(resolved, games, found, other)), None)
        if same is not None and (owner not in update or set(update) == {owner}):
            other = asked[same]
            wanted = {*other.rows, *({*found.rows} - whole.get(other.evaluation.name, set()))}
            rows = tuple(row for row in resolved.tables[owner].order if row in wanted)
            raw = tuple(row for row in other.raw if row not in found.rows)
            asked[same] = replace(other, rows=rows, raw=raw)
            found = replace(found, within=other.evaluation.name)
        scored.append(found)
    return asked, scored


def _is_within(resolved: Resolved, games: Sequence[GamePlan], scored: PassPlan, asked: PassPlan) -> bool:
    """Whether a discriminator reads just what a term's pass reads, for a game without penalties and without noise."""
    network = resolved.networks[scored.evaluation.network]
    played = {name for name, _ in scored.sides}
    plain = not any(game.penalties for game in games if game.name in played) and not scored.shared
    still = asked.stopped or asked.kept or bool(asked.evaluation.over)
    silent = not any(network.row(row).tensors for row in scored.rows)
    there = dict(asked.evaluation.bindings)
    read = {local: there[local] for row in scored.rows for local in network.row(row).reads if local in there}
    same = (network.name, scored.draws) == (asked.evaluation.network, asked.draws)
    same = same and read == dict(scored.evaluation.bindings)
    return same and plain and silent and not still and scored.batch == asked.batch


def _shared(
    resolved: Resolved, games: Sequence[GamePlan], evaluation: EvaluationPlan, draws: Sequence[str]
) -> tuple[str, ...]:
    """The rows of a discriminator that do not depend on what its draws enumerate.

    None where a penalty takes the slope at each example with each value.
    """
    over = {resolved.enumerated(draw) for draw in draws} & {variable for _, variable in evaluation.bindings}
    sloped = any(not PENALTIES[penalty.kind].between for game in games for penalty in game.penalties)
    if not over or sloped:
        return ()
    rows = _rows(resolved, games[0])
    every = depending(resolved.networks[evaluation.network], evaluation, over, rows)
    return tuple(row for row in rows if row not in every)


def _examples(resolved: Resolved, draw: str, variables: Collection[str]) -> int:
    """How many examples of a draw a pass has that reads these variables: each with every value of one enumerated."""
    over = resolved.enumerated(draw)
    return resolved.batch_size(draw) * (resolved.variables[over].shape[0] if over in variables else 1)


def _between(resolved: Resolved, game: GamePlan, minimised: Collection[str]) -> Iterator[PassPlan]:
    for penalty in game.penalties:
        if PENALTIES[penalty.kind].between and f"{game.name}/{penalty.kind}" in minimised:
            yield PassPlan(
                kind="between",
                evaluation=EvaluationPlan(between_name(game), game.discriminator.owner, game.reads),
                row=game.discriminator.name,
                rows=_rows(resolved, game),
                draws=(game.real[0][1], game.fake[0][1]),
                batch=resolved.batch_size(game.real[0][1]),
                every=penalty.every,
            )


def _rows(resolved: Resolved, game: GamePlan) -> tuple[str, ...]:
    return resolved.call(game.name, game.discriminator).rows


def _pass_sites(found: PassPlan, network: NetworkPlan) -> Iterator[Site]:
    name = found.evaluation.name
    disturbing: Stream = "penalty" if found.kind == "between" else "dropout"
    if found.kind == "moved":  # all else is that of the pass which it repeats
        local = next(local for local, variable in found.evaluation.bindings if variable == found.moves)
        shape = dict(network.inputs).get(local) or network.row(local).out_shape
        yield Site(direction_name(found.evaluation.name, found.moves), "normal", "perturbation", found.batch, shape)
        return
    if found.kind == "between":
        yield Site(f"{name}/coefficient", "uniform", "penalty", found.batch, (1, 1, 1), every=found.every)
    for row in (network.row(row) for row in found.rows):
        for tensor in row.tensors:
            if tensor.disturbs or row.name not in found.raw:
                stream = disturbing if tensor.disturbs else "sample"
                site, batch = f"{name}/{row.name}.{tensor.name}", found.batch_of(row.name)
                yield Site(site, tensor.kind, stream, batch, tensor.shape, tensor.dropout, found.every)
