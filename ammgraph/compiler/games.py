"""Games: who plays against whom, and through which samples each gradient flows."""

from collections.abc import Iterator, Mapping, Sequence

from ammgraph.compiler.calls import Use, locals_of
from ammgraph.compiler.factors import Declared, Variables, batch_size_of
from ammgraph.compiler.rows import Table
from ammgraph.diagnostics import Diagnostic, Note, Span, did_you_mean
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.plan.plan import (
    DrawPlan,
    FromDraw,
    FromNetwork,
    FromPrior,
    GamePlan,
    NetworkPlan,
    PenaltyPlan,
    RowPlan,
    shape_text,
)
from ammgraph.spec.merge import OVERRIDES
from ammgraph.spec.schema import Game, Side, Spec

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
        needed = tables[reference.owner].needed(reference.name, frozenset(reads))
        if not reads:
            yield Diagnostic("impossible-game", f"`{reference}` reads no variable", span, notes=(note,))
        elif not any(rows[reference.owner][row_name].parameters for row_name in needed):
            yield Diagnostic(
                "impossible-game",
                f"`{reference}` can learn nothing",
                span,
                found="no row with parameters on the way to it",
                expected="at least one layer, as `op: linear, channels: 1`",
                notes=(note,),
            )
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


def gradient_paths(
    game: Game, reads: Mapping[str, str], draws: Mapping[str, DrawPlan], networks: Mapping[str, NetworkPlan]
) -> dict[str, tuple[str, ...]]:
    """Network -> the samples (`q(z|x)`) through which the game's value for the sides depends on its parameters.

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
    return {network: tuple(samples) for network, samples in paths.items() if networks[network].parameters}


def plan_game(
    spec: Spec,
    name: str,
    tables: Mapping[str, Table],
    uses: Sequence[Use],
    variables: Variables,
    draws: Mapping[str, DrawPlan],
    networks: Mapping[str, NetworkPlan],
) -> GamePlan:
    """A game with its players and penalties decided."""
    game = spec.games[name]
    reference = game.discriminator
    reads = critic_reads(game, tables[reference.owner], uses, name, variables)
    penalties = [PenaltyPlan(kind, penalty.weight, penalty.every) for kind, penalty in game.penalties.items()]
    paths = gradient_paths(game, reads, draws, networks)
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
    for kind in game.penalties:
        if not PENALTIES[kind].between:
            continue
        span, pairs = spec.source.key("games", name, kind), f"`{kind}` pairs the i-th REAL with the i-th FAKE example"
        if any(len(side.summands) > 1 for side in game.match):
            yield Diagnostic(
                "impossible-game",
                f"{pairs}, and a weighted sum has no i-th example",
                span,
                expected="one distribution on each side",
            )
            continue
        sizes = [batch_size_of(spec, side.summands[0][1]) for side in game.match]
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
