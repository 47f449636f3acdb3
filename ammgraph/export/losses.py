"""What every player of every game minimises, as code: passes of the discriminators, objectives, penalties."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ammgraph.export.calls import Call, Function, critic_call, pass_call
from ammgraph.export.code import TAKEN, WIDTH, Names, call, docstring, number, text
from ammgraph.export.model import turn_names
from ammgraph.graph.plan import CriticPass, GamePlan, PenaltyPlan, Plan, TurnPlan
from ammgraph.spec.values import Schedule

_INDENT = " " * 8
_OWN = {
    "self",
    "noise",
    "losses",
    "epoch",
    "discriminator",
    "generator",
    "penalty",
    "a",
    "between",
    "d_between",
    "v",
    "draw",
}
# objective -> what an example with logit d costs: the discriminator on REAL and on FAKE, the sides on REAL and on FAKE
_COSTS = {
    "jensen_shannon": ("F.softplus(-{d})", "F.softplus({d})", "F.softplus({d})", "F.softplus(-{d})"),
    "minimax": ("F.softplus(-{d})", "F.softplus({d})", "-F.softplus(-{d})", "-F.softplus({d})"),
    "wasserstein": ("-{d}", "{d}", "{d}", "-{d}"),
    "least_squares": ("0.5 * ({d} - 1) ** 2", "0.5 * {d}**2", "0.5 * {d}**2", "0.5 * ({d} - 1) ** 2"),
    "hinge": ("F.relu(1 - {d})", "F.relu(1 + {d})", "{d}", "-{d}"),
}


@dataclass(frozen=True)
class _Scope:
    """The turn that is written, and what its code calls things: methods by function, networks, logits of samples."""

    plan: Plan
    turn: TurnPlan
    methods: Mapping[Function, str]
    networks: Mapping[str, str]
    local: Names

    @property
    def games(self) -> list[GamePlan]:
        return [self.plan.game(game) for game in self.turn.games]

    def penalties(self, game: GamePlan) -> tuple[PenaltyPlan, ...]:
        """A discriminator pays none where it does not learn."""
        return game.penalties if game.name in self.turn.penalized else ()

    def pass_of(self, game: GamePlan, side: str) -> int:
        """Which pass has the logits of a side of a game."""
        sides = [critic.sides for critic in self.turn.passes]
        return next(index for index, found in enumerate(sides) if (game.name, side) in found)

    def logits(self, game: GamePlan, side: str, draw: str) -> str:
        return self.of("d", self.pass_of(game, side), draw)

    def samples(self, draw: str) -> str:
        """The samples of a distribution."""
        return self.local.of(draw)

    def of(self, what: str, index: int, draw: str = "") -> str:
        """What belongs to a pass, or to the samples of one distribution in it: `d`, `d_q`, `norm_q_joint`."""
        name = "_".join((what, draw) if draw else (what,)) + self.suffix(index)
        return self.local.of(f"{what} of {draw} in {index}", name)

    def suffix(self, index: int) -> str:
        """What tells the names of one pass from those of another: its game, or its number."""
        if len(self.turn.passes) == 1:
            return ""
        games = [{game for game, _ in critic.sides} for critic in self.turn.passes]
        alone = len(games[index]) == 1 and games.count(games[index]) == 1
        return f"_{next(iter(games[index]))}" if alone else f"_{index + 1}"


def critic_calls(plan: Plan) -> list[Call]:
    """Every pass of a discriminator, those of penalties included."""
    found = []
    for turn in plan.turns:
        found += [pass_call(plan, critic) for critic in turn.passes]
        for game in (plan.game(name) for name in turn.penalized):
            for penalty in game.penalties:
                if penalty.evaluation is not None:
                    found.append(_penalty_call(plan, game, penalty))
    return found


def minimised_by(plan: Plan, turn: TurnPlan) -> dict[str, list[str]]:
    """Network -> the losses whose sum it minimises in a turn."""
    found: dict[str, list[str]] = {}
    for objective in turn.objectives:
        for network in objective.networks:
            found.setdefault(network, []).extend(f"{game}/{objective.role}" for game in objective.games)
    return found


def losses_code(plan: Plan, names: Mapping[Function, str], networks: Mapping[str, str]) -> list[str]:
    """A function of losses for every turn of a step."""
    lines: list[str] = []
    for index, turn in enumerate(plan.turns):
        local = Names(TAKEN | _OWN, turn.draws)
        lines += ["", *_turn(_Scope(plan, turn, names, networks, local), turn_names(plan)[index])]
    return lines


def _turn(scope: _Scope, name: str) -> list[str]:
    plan, turn, games = scope.plan, scope.turn, scope.games
    weights = [game.weight for game in games] + [p.weight for game in games for p in scope.penalties(game)]
    changing = not all(map(_is_constant, weights))
    parameters = ["self", *(f"{scope.samples(draw)}: dict[str, Tensor]" for draw in turn.draws), "noise: Noise"]
    parameters += ["epoch: float = 0.0"] if changing else []
    lines = call(f"def {name}", parameters, "    ", " -> dict[str, Tensor]:")
    who = "\n".join(f"- {network}: {' + '.join(losses)}" for network, losses in minimised_by(plan, turn).items())
    draws = ", ".join(f"`{draw}`" for draw in turn.draws)
    lines += docstring(f"The losses at the samples of {draws}. Each network minimises:\n\n{who}", _INDENT)
    lines.append(f"{_INDENT}losses: dict[str, Tensor] = {{}}")
    for index, critic in enumerate(turn.passes):
        lines += ["", *_pass(scope, critic, index)]
    for game in games:
        lines += ["", *_game(scope, game)]
    return [*lines, f"{_INDENT}return losses"]


def _pass(scope: _Scope, critic: CriticPass, index: int) -> list[str]:
    """One batch through a discriminator: `at` are its inputs, `d` its logits, `d_q` those of q's samples."""
    step, own = pass_call(scope.plan, critic), {game for game, _ in critic.sides}
    tracked = any(p.evaluation is None for game in scope.games if game.name in own for p in scope.penalties(game))
    sides = ", ".join(f"{game} {side.upper()}" for game, side in critic.sides)
    variables = [text(name) for name in step.arguments]
    draws = [scope.samples(draw) for draw in critic.draws]
    joined = [f"{draw}[v]" for draw in draws]
    value = joined[0] if len(joined) == 1 else f"torch.cat([{', '.join(joined)}])"
    value = f"tracked({value})" if tracked else value
    at, d = scope.of("at", index), scope.of("d", index)
    lines = [f"{_INDENT}# d = {critic.evaluation.network}.{critic.row}({', '.join(step.arguments)}) of {sides}"]
    lines += _comprehension(at, value, "v", variables)
    lines += _critic(scope, step, d, f"*{at}")
    if len(draws) == 1:
        return [*lines, f"{_INDENT}{scope.of('d', index, critic.draws[0])} = {d}"]
    parts, sizes = ", ".join(scope.of("d", index, draw) for draw in critic.draws), scope.of("sizes", index)
    lines += _comprehension(sizes, f"len(draw[{text(step.arguments[0])}])", "draw", draws)
    return [*lines, f"{_INDENT}{parts} = {d}.split({sizes})"]


def _comprehension(name: str, value: str, variable: str, over: Sequence[str]) -> list[str]:
    """`name = [value for variable in (over)]` on one line, or three, or four."""
    loop = f"for {variable} in ({', '.join(over)}{',' if len(over) == 1 else ''})"
    line, inner = f"{_INDENT}{name} = [{value} {loop}]", f"{_INDENT}    "
    if len(line) <= WIDTH:
        return [line]
    body = [f"{inner}{value} {loop}"]
    return [f"{_INDENT}{name} = [", *(body if len(body[0]) <= WIDTH else [inner + value, inner + loop]), f"{_INDENT}]"]


def _critic(scope: _Scope, step: Call, target: str, inputs: str) -> list[str]:
    method = scope.methods[step.function]
    head = f"self.{scope.networks[step.function.network]}" + ("" if method == "forward" else f".{method}")
    return call(f"{target} = {head}", [inputs, f"part(noise, {text(step.evaluation)})"], _INDENT, ".flatten()")


def _game(scope: _Scope, game: GamePlan) -> list[str]:
    costs = _COSTS[game.objective]
    sides = [(weight, scope.logits(game, "real", draw)) for weight, draw in game.real]
    others = [(weight, scope.logits(game, "fake", draw)) for weight, draw in game.fake]

    def mean(cost_real: str, cost_fake: str) -> list[str]:
        terms = [(weight, cost_real.format(d=d)) for weight, d in sides]
        terms += [(weight, cost_fake.format(d=d)) for weight, d in others]
        return [f"{_times(weight)}torch.mean({cost})" for weight, cost in terms]

    real, fake = _side(game.real), _side(game.fake)
    lines = [f"{_INDENT}# Game {game.name}: {real} (REAL) against {fake} (FAKE), {game.objective}"]
    lines += _assign("discriminator", mean(costs[0], costs[1]))
    for penalty in scope.penalties(game):
        lines += _penalty(scope, game, penalty)
        factor = _weight(penalty.weight)
        lines.append(f"{_INDENT}discriminator = discriminator + {factor}penalty")
    lines += _assign("generator", mean(costs[2], costs[3]))
    weight = _weight(game.weight)
    for player in ("discriminator", "generator"):
        target, value = f'{_INDENT}losses["{game.name}/{player}"] = ', f"{weight}{player}"
        fits = len(target + value) <= WIDTH
        lines += [target + value] if fits else [f"{target}(", f"{_INDENT}    {value}", f"{_INDENT})"]
    return lines


def _assign(name: str, terms: Sequence[str]) -> list[str]:
    """A sum; summand by summand where it does not fit into a line."""
    line = f"{_INDENT}{name} = {' + '.join(terms)}"
    if len(line) <= WIDTH:
        return [line]
    sums = [f"{_INDENT}{name} = {terms[0]}", *(f"{_INDENT}{name} = {name} + {term}" for term in terms[1:])]
    return [part for line in sums for part in _mean_on_lines(line)]


def _mean_on_lines(line: str) -> list[str]:
    """`... torch.mean(value)` on one line, or three."""
    if len(line) <= WIDTH:
        return [line]
    head, _, value = line.removesuffix(")").partition("torch.mean(")
    return [f"{head}torch.mean(", f"{_INDENT}    {value}", f"{_INDENT})"]


def _penalty(scope: _Scope, game: GamePlan, penalty: PenaltyPlan) -> list[str]:
    if penalty.evaluation is not None:
        return _interpolated(scope, game, penalty)
    where = {side: scope.pass_of(game, side) for side in ("real", "fake")}
    lines: list[str] = []
    norms: dict[tuple[int, str], str] = {}
    for index in sorted(set(where.values())):
        draws = scope.turn.passes[index].draws
        if penalty.kind == "r1_penalty" and index != where["real"]:
            continue
        norms |= {(index, draw): scope.of("norm", index, draw) for draw in draws}
        parts = ", ".join(norms[index, draw] for draw in draws)
        tail = f".split({scope.of('sizes', index)})" if len(draws) > 1 else ""
        value = f"squared_norms({scope.of('d', index)}, {scope.of('at', index)})"
        if len(f"{_INDENT}{parts} = {value}{tail}") > WIDTH:
            lines.append(f"{_INDENT}{scope.of('norms', index)} = {value}")
            value = scope.of("norms", index)
        lines.append(f"{_INDENT}{parts} = {value}{tail}")
    if penalty.kind == "r1_penalty":
        terms = [f"{_times(weight / 2)}torch.mean({norms[where['real'], draw]})" for weight, draw in game.real]
        return [*lines, *_assign("penalty", terms)]
    terms = []
    for side, share in (("real", "(1 - torch.sigmoid({d})) ** 2"), ("fake", "torch.sigmoid({d}) ** 2")):
        for weight, draw in game.real if side == "real" else game.fake:
            factor = share.format(d=scope.logits(game, side, draw))
            terms.append(f"{_times(weight / 2)}torch.mean({factor} * {norms[where[side], draw]})")
    return [*lines, *_assign("penalty", terms)]


def _interpolated(scope: _Scope, game: GamePlan, penalty: PenaltyPlan) -> list[str]:
    """Eq. 18 between the i-th REAL and the i-th FAKE."""
    step = _penalty_call(scope.plan, game, penalty)
    real, fake = scope.samples(game.real[0][1]), scope.samples(game.fake[0][1])
    evaluation = step.evaluation
    variables = [text(name) for name in step.arguments]
    critic = scope.networks[step.function.network]
    lines = [f"{_INDENT}a = noise[{text(f'{evaluation}/coefficient')}]"]
    lines += _comprehension("between", f"interpolated({real}[v], {fake}[v], a)", "v", variables)
    if any(row.batchnorm for row in scope.plan.network(step.function.network).rows):
        lines.append(f"{_INDENT}with statistics_kept(self.{critic}):")
        lines += [f"    {line}" for line in _critic(scope, step, "d_between", "*between")]
    else:
        lines += _critic(scope, step, "d_between", "*between")
    return [*lines, f"{_INDENT}penalty = gradient_penalty(d_between, between)"]


def _penalty_call(plan: Plan, game: GamePlan, penalty: PenaltyPlan) -> Call:
    assert penalty.evaluation is not None
    return critic_call(penalty.evaluation, game.discriminator.name, penalty.rows, plan)


def _side(side: Sequence[tuple[float, str]]) -> str:
    return " + ".join(f"{_times(weight).replace('*', '').replace('  ', ' ')}{draw}" for weight, draw in side)


def _times(weight: float) -> str:
    return "" if weight == 1 else f"{number(weight)} * "


def _weight(schedule: Schedule) -> str:
    if _is_constant(schedule):
        return _times(schedule.at(0))
    points = ", ".join(f"({number(epoch)}, {number(value)})" for epoch, value in schedule.points)
    return f"scheduled(epoch, [{points}]) * "


def _is_constant(schedule: Schedule) -> bool:
    return len({value for _, value in schedule.points}) == 1
