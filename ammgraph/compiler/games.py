"""Games: who plays against whom, and through which samples each gradient flows."""

from collections.abc import Iterable, Iterator, Mapping

from ammgraph.compiler.resolved import Call, Resolved
from ammgraph.diagnostics import Diagnostic, Note, Span, did_you_mean
from ammgraph.formulas.expression import Support
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.plan.draws import DrawPlan, FromBayes, FromDraw, FromNetwork, FromPrior
from ammgraph.plan.networks import shape_text
from ammgraph.plan.turns import GamePlan, PenaltyPlan
from ammgraph.spec.merge import OVERRIDES
from ammgraph.spec.notation import Factor, head_and_rest
from ammgraph.spec.schema import Game, Side, Spec


def check_sides(resolved: Resolved) -> Iterator[Diagnostic]:
    """Both sides of every game are distributions, and the discriminator is a row of a network."""
    spec, declared = resolved.spec, resolved.declared
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


def check_games(resolved: Resolved) -> Iterator[Diagnostic]:
    """The discriminator gives one logit, and both sides produce every variable that it reads."""
    for name, game in resolved.spec.games.items():
        call = resolved.call(name, game.discriminator)
        yield from _discriminator_fits(resolved, call)
        for index, side in enumerate(game.match):
            for _, draw in side.summands:
                yield from _side_can_be_drawn(resolved, draw, call, index)
        yield from _penalties_can_be_taken(resolved, game, name)


def _discriminator_fits(resolved: Resolved, call: Call) -> Iterator[Diagnostic]:
    reference, network = call.reference, resolved.networks[call.reference.owner]
    row, source = network.row(reference.name), resolved.spec.source
    span = source.value(*call.path)
    notes = (Note(f"row `{row.name}` stands here", source.key("networks", network.name, "layers", row.name)),)
    if row.out_shape != (1, 1, 1):
        yield Diagnostic(
            "impossible-game",
            f"`{reference}` is no logit",
            span,
            found=shape_text(row.out_shape),
            expected="1x1x1",
            notes=notes,
        )
    elif row.activation is not None:
        yield Diagnostic(
            "impossible-game",
            f"`{reference}` is a logit and has an activation",
            span,
            found=f"`{row.activation}`",
            expected="no activation: the losses take the logit",
            notes=notes,
        )
    if not call.reads:
        yield Diagnostic("impossible-game", f"`{reference}` reads no variable", span, notes=notes)
    elif not network.trainable:
        yield Diagnostic(
            "impossible-game",
            f"`{reference}` can learn nothing",
            span,
            found=f"`{network.name}` has `trainable: false`",
            expected="a discriminator that learns; a network that stands still may be scored by a term",
        )
    elif not any(network.row(name).parameters for name in call.rows):
        yield Diagnostic(
            "impossible-game",
            f"`{reference}` can learn nothing",
            span,
            found="no row with parameters on the way to it",
            expected="at least one layer, as `op: linear, channels: 1`",
            notes=notes,
        )


def needed_variables(resolved: Resolved, wanted: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Per distribution the variables that must be drawn, closed under conditions and samples from elsewhere (R19).

    Args:
        resolved: the spec.
        wanted: (distribution, variable) of what is read.
    """
    declared = resolved.declared
    needed: dict[str, set[str]] = {name: set() for name in declared}
    open_pairs = list(wanted)
    while open_pairs:
        draw, variable = open_pairs.pop()
        if variable in needed[draw]:
            continue
        needed[draw].add(variable)
        for factor in declared[draw]:
            if variable in factor.factor.variables:
                open_pairs += [(draw, given) for given in factor.factor.given]
                if factor.reference is not None and factor.reference.owner in declared:
                    open_pairs.append((factor.reference.owner, factor.reference.name))
    return needed


def gradient_paths(
    resolved: Resolved, samples: Iterable[tuple[str, str]], draws: Mapping[str, DrawPlan]
) -> dict[str, tuple[str, ...]]:
    """Network -> the samples (`q.z`) through which what reads these samples depends on its parameters.

    Every sampler of the language is differentiable, so a path is a chain of samples drawn by networks.
    """
    paths: dict[str, list[str]] = {}
    seen: set[tuple[str, str]] = set()
    open_pairs = list(samples)
    while open_pairs:
        draw, variable = open_pairs.pop(0)
        if (draw, variable) in seen:
            continue
        seen.add((draw, variable))
        factor = draws[draw].factor_of(variable)
        if isinstance(factor.origin, FromNetwork | FromBayes):
            for network in _networks_of(factor.origin):
                paths.setdefault(network, []).append(f"{draw}.{variable}")
            open_pairs += [(draw, given) for given in factor.given]
        elif isinstance(factor.origin, FromPrior):  # a mixture's mean is linear in the one-hot that chooses it
            open_pairs += [(draw, given) for given in factor.given]
        elif isinstance(factor.origin, FromDraw):
            open_pairs.append((factor.origin.draw, factor.origin.variable))
    return {network: tuple(samples) for network, samples in paths.items() if resolved.networks[network].learns}


def _networks_of(origin: FromNetwork | FromBayes) -> tuple[str, ...]:
    """The networks that draw a variable, or give the densities by which its values are weighed."""
    return (origin.evaluation.network,) if isinstance(origin, FromNetwork) else origin.score.networks


def plan_game(resolved: Resolved, name: str, draws: Mapping[str, DrawPlan]) -> GamePlan:
    """A game with its players and penalties decided."""
    game = resolved.spec.games[name]
    reads = resolved.call(name, game.discriminator).reads
    penalties = [PenaltyPlan(kind, penalty.weight, penalty.every) for kind, penalty in game.penalties.items()]
    sides = (draw for side in game.match for _, draw in side.summands)
    paths = gradient_paths(resolved, ((draw, variable) for draw in sides for variable in reads.values()), draws)
    return GamePlan(
        name=name,
        real=_merged(game.match[0]),
        fake=_merged(game.match[1]),
        objective=game.objective,
        weight=game.weight,
        discriminator=game.discriminator,
        reads=tuple(reads.items()),
        penalties=tuple(penalties),
        paths=tuple(paths.items()),
        enumerated=tuple(
            support_of(resolved, draw)
            for draw in dict.fromkeys(draw for side in game.match for _, draw in side.summands)
            if resolved.enumerated(draw) in reads.values()
        ),
    )


def support_of(resolved: Resolved, draw: str) -> Support:
    """The probabilities of the values that a distribution enumerates."""
    factor = next(found.factor for found in resolved.declared[draw] if found.enumerated)
    return Support(factor.variables[0], str(Factor(draw, factor.variables, factor.given)), draw)


def _side_can_be_drawn(resolved: Resolved, draw: str, call: Call, index: int) -> Iterator[Diagnostic]:
    declared, source = resolved.declared, resolved.spec.source
    span = source.value("games", call.scope, "match", index)
    place = Note(f"`{draw}` stands here", source.key("distributions", draw))
    needed = needed_variables(resolved, ((draw, variable) for variable in call.reads.values()))
    for name, variables in needed.items():
        produced = {variable for factor in declared[name] for variable in factor.factor.variables}
        for variable in sorted(variables - produced):
            readers = [str(factor.factor) for factor in declared[name] if variable in factor.factor.given]
            reason = f"`{readers[0]}` needs it" if readers else "the discriminator reads it"
            head, _ = head_and_rest(name)
            yield Diagnostic(
                "missing-factor",
                f"`{name}` has no factor for `{variable}`",
                span,
                found=reason,
                expected=f"a factor `{head}({variable})` or `{head}({variable}|...)`",
                notes=(place,),
            )


_OF_EACH_SIDE = " or ".join(f"`{kind}`" for kind, penalty in PENALTIES.items() if not penalty.between)


def _penalties_can_be_taken(resolved: Resolved, game: Game, name: str) -> Iterator[Diagnostic]:
    read = resolved.call(name, game.discriminator).reads.values()
    for kind in game.penalties:
        if not PENALTIES[kind].between:
            continue
        span, pairs = (
            resolved.spec.source.key("games", name, kind),
            f"`{kind}` pairs the i-th REAL with the i-th FAKE example",
        )
        if any(len(side.summands) > 1 for side in game.match):
            yield Diagnostic(
                "impossible-game",
                f"{pairs}, and a weighted sum has no i-th example",
                span,
                expected="one distribution on each side",
            )
            continue
        over = [resolved.enumerated(side.summands[0][1]) for side in game.match]
        if any(name in read for name in over):
            yield Diagnostic(
                "impossible-enumeration",
                f"{pairs}, and an enumerated variable has every value in each",
                span,
                found=", ".join(
                    f"`{side}` enumerates `{name}`" for side, name in zip(game.match, over, strict=True) if name
                ),
                expected=f"no penalty, {_OF_EACH_SIDE}, which are means over each side",
            )
            continue
        sizes = [resolved.batch_size(side.summands[0][1]) for side in game.match]
        if sizes[0] != sizes[1]:
            yield Diagnostic(
                "impossible-game",
                f"{pairs}, and the batches differ",
                span,
                found=f"{sizes[0]} and {sizes[1]} examples",
                expected="equal batch sizes",
            )


def _merged(side: Side) -> tuple[tuple[float, str], ...]:
    weights: dict[str, float] = {}
    for weight, draw in side.summands:
        weights[draw] = weights.get(draw, 0.0) + weight
    return tuple((weight, draw) for draw, weight in weights.items())
