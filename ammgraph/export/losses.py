"""What every network of every turn minimises, as code: passes of the discriminators, then the losses' formulas."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ammgraph.export.calls import Call, Function, moved_call, pass_call, posteriors, score_calls, scoring_calls
from ammgraph.export.code import (
    TAKEN,
    WIDTH,
    Names,
    arguments_of,
    call,
    docstring,
    is_call,
    listed,
    number,
    spelling,
    text,
)
from ammgraph.export.densities import Densities
from ammgraph.export.enumeration import Every
from ammgraph.export.model import Posterior, turn_names
from ammgraph.export.networks import attributes
from ammgraph.formulas.expression import (
    Batch,
    Expression,
    Floor,
    Functional,
    Leaf,
    Logit,
    Minus,
    Number,
    Product,
    Slope,
    Sum,
    Support,
    Vat,
    times,
)
from ammgraph.formulas.functions import FUNCTIONALS
from ammgraph.formulas.notation import PRODUCT, written
from ammgraph.plan.draws import ScorePlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import LossPlan, PassPlan, TurnPlan, direction_name
from ammgraph.show.text import formula_text
from ammgraph.spec.notation import side_text
from ammgraph.spec.schedules import Schedule

_INDENT = " " * 8
_OWN = {"self", "noise", "losses", "loss", "epoch", "step", "v", "draw", "scored"}


@dataclass(frozen=True)
class _Scope:
    """The turn that is written, and what its code calls things: methods by function, networks, logits of samples."""

    plan: Plan
    turn: TurnPlan
    methods: Mapping[Function, str]
    networks: Mapping[str, str]
    constants: Mapping[str, str]
    local: Names

    @property
    def passes(self) -> tuple[PassPlan, ...]:
        return discriminator_passes(self.turn)

    def samples(self, draw: str) -> str:
        """The samples of a distribution."""
        return self.local.of(draw)

    @property
    def every(self) -> Every:
        """What has every value of an enumerated variable."""
        return Every(self.plan, self.turn, self.local, self.samples)

    def read(self, draw: str, variables: Sequence[str]) -> str:
        """The samples of a distribution for a pass that reads these variables."""
        factor = self.plan.draw(draw).enumerated
        over = next((name for name in variables if factor is not None and name in factor.variables), "")
        return self.every.samples(draw, over) if over else self.samples(draw)

    def of(self, what: str, evaluation: str, draw: str = "") -> str:
        """What belongs to a pass, or to the samples of one distribution in it: `d`, `d_q`, `slope_q_joint`."""
        index = next(index for index, found in enumerate(self.passes) if found.evaluation.name == evaluation)
        between = self.passes[index].kind == "between"
        name = "_".join([what, *([draw] if draw else []), *(["between"] if between else [])]) + self._suffix(index)
        return self.local.of(f"{what} of {draw} in {index}", name)

    def leaf(self, leaf: Leaf) -> str:
        """A logit or a norm of slopes; the probabilities of enumerated values."""
        if isinstance(leaf, Support):
            return self.every.probabilities(leaf)
        assert isinstance(leaf, Logit | Slope), "games read logits"
        return self.of("d" if isinstance(leaf, Logit) else "slope", leaf.evaluation, leaf.draw)

    def _suffix(self, index: int) -> str:
        """What tells the names of one pass from those of others of its kind: its game, or its number."""
        alike = [found for found in self.passes if found.kind == self.passes[index].kind]
        if len(alike) == 1:
            return ""
        games = [{game for game, _ in found.sides} for found in alike]
        own = {game for game, _ in self.passes[index].sides}
        return f"_{next(iter(own))}" if len(own) == 1 and games.count(own) == 1 else f"_{index + 1}"


def discriminator_passes(turn: TurnPlan) -> tuple[PassPlan, ...]:
    """The passes of discriminators in a turn."""
    return (*turn.passes_of("scored"), *turn.passes_of("between"))


def critic_calls(plan: Plan) -> list[Call]:
    """Every pass of a discriminator."""
    return [pass_call(plan, found) for turn in plan.turns for found in discriminator_passes(turn)]


def losses_code(
    plan: Plan, names: Mapping[Function, str], networks: Mapping[str, str], constants: Mapping[str, str]
) -> list[str]:
    """A function of losses for every turn of a step."""
    lines: list[str] = []
    for index, turn in enumerate(plan.turns):
        local = Names(TAKEN | _OWN, turn.draws)
        lines += ["", *_turn(_Scope(plan, turn, names, networks, constants, local), turn_names(plan)[index])]
    return lines


def posterior_code(
    plan: Plan, names: Mapping[Function, str], networks: Mapping[str, str], constants: Mapping[str, str]
) -> Posterior:
    """How a posterior is written beside the losses, at samples that are called by the names of their variables."""

    def written_posterior(score: ScorePlan, given: Sequence[str], local: Names) -> tuple[list[str], str]:
        whole = plan.draw(score.draw)
        factors = tuple(replace(f, needed=set(f.variables) <= set(given)) for f in whole.factors)
        drawn = replace(whole, factors=factors)
        turn = replace(plan.turns[0], passes=(), draws=(score.draw,), partial=(drawn,))
        scope = _Scope(plan, turn, names, networks, constants, local)
        samples = ", ".join(f"{text(name)}: {local.of(name)}" for name in given)
        lines = [f"{_INDENT}{scope.samples(score.draw)} = {{{samples}}}", *_every(scope, score.draw, score.rule)]
        for step in scoring_calls(plan, [score]):
            lines += _scores(scope, step)
        return [*lines, *_posterior(scope, score)], scope.every.logits(score.name, score.draw)

    return written_posterior


def _every(scope: _Scope, draw: str, over: str) -> list[str]:
    """The samples of a draw with every value of a variable."""
    arguments = [scope.samples(draw), text(over), str(scope.every.size(over))]
    return call(f"{scope.every.samples(draw, over)} = with_every", arguments, _INDENT)


def _turn(scope: _Scope, name: str) -> list[str]:
    turn = scope.turn
    changing = {weight.by for loss in turn.losses for weight in loss.weights if not _is_constant(weight)}
    parameters = ["self", *(f"{scope.samples(draw)}: dict[str, Tensor]" for draw in turn.draws), "noise: Noise"]
    parameters += ["epoch: float = 0.0"] if "epochs" in changing else []
    parameters += ["step: int = 0"] if "steps" in changing else []
    lines = call(f"def {name}", parameters, "    ", " -> dict[str, Tensor]:")
    minimised: dict[str, list[str]] = {}
    for loss, network in turn.minimised:
        minimised.setdefault(network, []).append(loss.name)
    who = "\n".join(f"- {network}: {' + '.join(losses)}" for network, losses in minimised.items())
    draws = ", ".join(f"`{draw}`" for draw in turn.draws)
    lines += docstring(f"The losses at the samples of {draws}. Each network minimises:\n\n{who}", _INDENT)
    lines.append(f"{_INDENT}losses: dict[str, Tensor] = {{}}")
    for draw, over in scope.every.needed:
        lines += _every(scope, draw, over)
    for step in score_calls(scope.plan, turn):
        lines += ["", *_scores(scope, step)]
    for score in posteriors(scope.plan, turn):
        lines += ["", *_posterior(scope, score)]
    for found in scope.passes:
        lines += ["", *(_scored(scope, found) if found.kind == "scored" else _between(scope, found))]
    for game in map(scope.plan.game, turn.games):
        sides = f"{side_text(game.real)} (REAL) against {side_text(game.fake)} (FAKE)"
        lines += ["", f"{_INDENT}# Game {game.name}: {sides}, {game.objective}"]
        for loss in turn.losses:
            lines += _loss(scope, loss) if loss.owner == game.name else []
    for term in map(scope.plan.term, turn.terms):
        lines += ["", f"{_INDENT}# Term {term.name}: {formula_text(term.value)}"]
        loss = turn.loss(f"{term.name}/value")
        for leaf in (leaf for leaf in loss.leaves if isinstance(leaf, Vat)):
            lines += _moved(scope, loss, leaf)
        lines += _loss(scope, loss)
    return [*lines, f"{_INDENT}return losses"]


def _scored(scope: _Scope, found: PassPlan) -> list[str]:
    """One batch through a discriminator: `at` are its inputs, `d` its logits, `d_q` those of q's samples."""
    step, name = pass_call(scope.plan, found), found.evaluation.name
    sides = ", ".join(f"{game} {side.upper()}" for game, side in found.sides)
    sloped = _is_sloped(scope, found)
    draws = [scope.read(draw, step.arguments) for draw in found.draws]
    value = f"{draws[0]}[v]" if len(draws) == 1 else f"torch.cat([{', '.join(f'{draw}[v]' for draw in draws)}])"
    at, d = scope.of("at", name), scope.of("d", name)
    lines = [f"{_INDENT}# d = {found.evaluation.network}.{found.row}({', '.join(step.arguments)}) of {sides}"]
    variables = [text(argument) for argument in step.arguments]
    lines += _comprehension(at, f"tracked({value})" if sloped else value, "v", variables)
    lines += _critic(scope, step, d, f"*{at}")
    values = {"d": d} | ({"slope": f"slopes({d}, {at})"} if sloped else {})
    if len(draws) == 1:
        return [*lines, *(f"{_INDENT}{scope.of(what, name, found.draws[0])} = {of}" for what, of in values.items())]
    sizes = scope.of("sizes", name)
    lines += _comprehension(sizes, f"len(draw[{variables[0]}])", "draw", draws)
    for what, of in values.items():
        parts = ", ".join(scope.of(what, name, draw) for draw in found.draws)
        if len(f"{_INDENT}{parts} = {of}.split({sizes})") > WIDTH and what != of:
            joined = scope.of("slopes", name)
            lines.append(f"{_INDENT}{joined} = {of}")
            of = joined
        lines += _closed(f"{_INDENT}{parts} = {of}.split", sizes)
    return lines


def _between(scope: _Scope, found: PassPlan) -> list[str]:
    """A pass between the i-th samples of two distributions."""
    step, name = pass_call(scope.plan, found), found.evaluation.name
    start, end = (scope.samples(draw) for draw in found.draws)
    a, at, d = scope.of("a", name), scope.of("at", name), scope.of("d", name)
    lines = [f"{_INDENT}# The same between the i-th of {' and the i-th of '.join(found.draws)}"]
    lines.append(f"{_INDENT}{a} = noise[{text(f'{name}/coefficient')}]")
    variables = [text(argument) for argument in step.arguments]
    lines += _comprehension(at, f"interpolated({start}[v], {end}[v], {a})", "v", variables)
    passed = _critic(scope, step, d, f"*{at}")
    if any(row.batchnorm for row in scope.plan.network(step.function.network).rows):
        critic = scope.networks[step.function.network]
        passed = [f"{_INDENT}with statistics_kept(self.{critic}):", *(f"    {line}" for line in passed)]
    return [*lines, *passed, f"{_INDENT}{scope.of('slope', name)} = slopes({d}, {at})"]


def _scores(scope: _Scope, step: Call) -> list[str]:
    """What terms score of one evaluation of a network."""
    draw, _, over = step.evaluation.partition("/")[0].partition(".")
    results = ", ".join(_result(scope, name) for name in step.results)
    samples = scope.every.samples(draw, over) if over else scope.samples(draw)
    inputs = [f"{samples}[{text(name)}]" for name in step.arguments]
    if scope.every.is_alone(step.evaluation):
        inputs = [scope.every.values(draw, over) for _ in step.arguments]
    inputs = inputs or [f"examples(self, {_count(scope, draw)})"]
    lines = _method(scope, step, results, inputs)
    if len(lines[0]) > WIDTH:
        line = f"{_INDENT}{results} = scored"
        unpacked = listed(f"{_INDENT}(", results.split(", "), ") = scored", _INDENT) if len(line) > WIDTH else [line]
        lines = [*_method(scope, step, "scored", inputs), *unpacked]
    kept = any(found.evaluation.name == step.evaluation and found.kept for found in scope.turn.passes_of("asked"))
    return _with_statistics_kept(_norms(scope, step) if kept else _repeated_norms(scope, step), lines)


def _with_statistics_kept(norms: Sequence[str], lines: list[str]) -> list[str]:
    return [*_keeping(norms), *(f"    {line}" for line in lines)] if norms else lines


def _keeping(norms: Sequence[str]) -> list[str]:
    return call("with statistics_kept", norms, _INDENT, ":")


def _moved(scope: _Scope, loss: LossPlan, leaf: Vat) -> list[str]:
    """A function of what is moved, how far the factor is from itself there, and its value at the end of the move."""
    term, place = scope.plan.term(loss.owner), f"{loss.owner} {leaf}"
    step, score = moved_call(scope.plan, term, leaf), term.score(leaf)
    assert score is not None
    assert score.density is not None
    argument = scope.local.of(f"{leaf.variable} of {place}", f"{leaf.variable}_moved")
    own = {name: _result(scope, f"{name}.moved") for name in step.results} | {leaf.variable: argument}
    spoken = _densities(scope, loss)
    moved = Densities(scope.plan, loss, scope.constants, own.__getitem__, scope.every, leaf.variable)
    inputs = [
        argument if name == leaf.variable else f"{scope.samples(leaf.draw)}[{text(name)}]" for name in step.arguments
    ]
    target, function = ", ".join(own[name] for name in step.results), scope.local.of(f"moved {place}", "moved")
    divergence = FUNCTIONALS["KL"].torch.format(score.density.kind)
    compared = [*spoken.parameters(score, stopped=True), *moved.parameters(score)]
    lines = [f"{_INDENT}def {function}({argument}: Tensor) -> Tensor:"]
    lines += [f"    {line}" for line in _method(scope, step, target, inputs)]
    lines += call(f"return {divergence}", compared, f"{_INDENT}    ")
    radius = number(leaf.radius)
    if leaf.times:
        radius = f"{radius} * {scope.samples(leaf.draw)}[{text(leaf.times)}].detach()"
    noise = f"noise[{text(direction_name(step.evaluation, leaf.variable))}]"
    arguments = [function, f"{scope.samples(leaf.draw)}[{text(leaf.variable)}]", noise, radius, number(leaf.xi)]
    result, norms = _result(scope, f"{formula_text(leaf)} {leaf.draw}"), _norms(scope, step)
    end = call(f"{result} = {FUNCTIONALS['vat'].torch}", arguments, f"{_INDENT}    " if norms else _INDENT)
    return ["", *lines, "", *(_keeping(norms) if norms else []), *end]


def _posterior(scope: _Scope, score: ScorePlan) -> list[str]:
    """The logits of Bayes' rule: log densities of all parts, added; an example a row, a value a column."""
    spoken = _densities(scope, scope.turn.losses[0])
    target = scope.every.logits(score.name, score.draw)
    parts = " ".join(part.name for part in score.computed)
    lines = [f"{_INDENT}# {score.name} is proportional to {parts}"]
    for index, (variable, part) in enumerate(score.parts):
        before = f"{target} = " if index == 0 else f"{target} = {target} + "
        lines += _closed_call(f"{_INDENT}{before}", spoken.log_density(variable, part, score))
    return [*lines, f"{_INDENT}{target} = {target}.view(-1, {scope.every.size(score.rule)})"]


def _closed_call(head: str, inner: str) -> list[str]:
    """`head` and a call, on one line or with an argument a line."""
    helper, _, rest = inner.partition("(")
    return (
        [head + inner] if len(head + inner) <= WIDTH else call(f"{head.strip()} {helper}", arguments_of(rest), _INDENT)
    )


def _densities(scope: _Scope, loss: LossPlan) -> Densities:
    return Densities(scope.plan, loss, scope.constants, lambda name: _result(scope, name), scope.every)


def _repeated_norms(scope: _Scope, step: Call) -> list[str]:
    """The batch norms that a call takes as drawing has taken them: they count once."""
    passes = [found for found in scope.turn.passes_of("drawn") if found.evaluation.name == step.evaluation]
    drawn, network = {row for found in passes for row in found.rows}, scope.plan.network(step.function.network)
    rows = [row for row in step.function.rows if network.row(row).batchnorm and row in drawn]
    return [f"self.{scope.networks[network.name]}.{attributes(network)[f'{row}/norm']}" for row in rows]


def _norms(scope: _Scope, step: Call) -> list[str]:
    """The batch norms that a call takes."""
    network = scope.plan.network(step.function.network)
    rows = [row for row in step.function.rows if network.row(row).batchnorm]
    return [f"self.{scope.networks[network.name]}.{attributes(network)[f'{row}/norm']}" for row in rows]


def _result(scope: _Scope, name: str) -> str:
    return scope.local.of(name, re.sub(r"\W+", "_", name))


def _count(scope: _Scope, draw: str) -> str:
    """How many examples a draw has; one of no draw."""
    return f"len({scope.every.some(draw)})" if draw in scope.turn.draws else "1"


def _is_sloped(scope: _Scope, found: PassPlan) -> bool:
    return any(found.evaluation.name in loss.sloped for loss in scope.turn.losses)


def _comprehension(name: str, value: str, variable: str, over: Sequence[str]) -> list[str]:
    """`name = [value for variable in (over)]` on one line, or three, or four."""
    loop = f"for {variable} in ({', '.join(over)}{',' if len(over) == 1 else ''})"
    line, inner = f"{_INDENT}{name} = [{value} {loop}]", f"{_INDENT}    "
    if len(line) <= WIDTH:
        return [line]
    body = [f"{inner}{value} {loop}"]
    return [f"{_INDENT}{name} = [", *(body if len(body[0]) <= WIDTH else [inner + value, inner + loop]), f"{_INDENT}]"]


def _critic(scope: _Scope, step: Call, target: str, inputs: str) -> list[str]:
    return _method(scope, step, target, [inputs], ".flatten()")


def _method(scope: _Scope, step: Call, target: str, inputs: Sequence[str], tail: str = "") -> list[str]:
    method = scope.methods[step.function]
    head = f"self.{scope.networks[step.function.network]}" + ("" if method == "forward" else f".{method}")
    return call(f"{target} = {head}", [*inputs, f"part(noise, {text(step.evaluation)})"], _INDENT, tail)


def _loss(scope: _Scope, loss: LossPlan) -> list[str]:
    """`losses["joint/discriminator"] = ...`, on one line if it fits, else summand by summand."""
    spoken = _densities(scope, loss)
    python = spelling(scope.leaf if loss.owner in scope.turn.games else spoken.leaf, spoken.mean, spoken.functional)
    changing = [_scheduled(weight) for weight in loss.weights if not _is_constant(weight)]
    value = loss.value
    for weight in loss.weights:
        value = times(weight.at(0), value) if _is_constant(weight) else value
    target = f"{_INDENT}losses[{text(loss.name)}] = "
    whole = written(value, python, PRODUCT if changing else 0)
    line = target + "".join(changing) + whole
    if len(line) <= WIDTH:
        return [line]
    factor, terms = _summands(value)
    lines: list[str] = []
    for index, term in enumerate(terms):
        positive = term.argument if isinstance(term, Minus) else term
        sign = (
            ("-" if isinstance(term, Minus) else "") if index == 0 else f"loss {'-' if positive is not term else '+'} "
        )
        lines += _on_lines(f"{_INDENT}loss = {sign}{written(positive, python, PRODUCT)}")
    weighted = f"{''.join(changing)}{'' if factor == 1 else f'{number(factor)} * '}loss"
    return [*lines, *([target + weighted] if len(target + weighted) <= WIDTH else _closed(target, weighted))]


def _summands(value: Expression) -> tuple[float, tuple[Expression, ...]]:
    """A factor, and the terms of the sum that it multiplies."""
    match value:
        case Product((Number(factor), Sum(terms))):
            return factor, terms
        case Product((Number(factor), Functional() | Batch() | Floor() as pooled)):
            return factor, (pooled,)
        case Sum(terms):
            return 1.0, terms
        case _:
            return 1.0, (value,)


def _closed(head: str, inner: str) -> list[str]:
    """`head(inner)` on one line, on three, or a factor or an argument of it a line."""
    line, deeper = f"{head}({inner})", f"{_INDENT}    "
    if len(line) <= WIDTH:
        return [line]
    first, *factors = inner.split(" * ")
    body = [deeper + inner]
    if len(body[0]) > WIDTH and is_call(inner):
        helper, _, rest = inner.partition("(")
        body = call(helper, arguments_of(rest), deeper)
    elif len(body[0]) > WIDTH:
        body = [deeper + first, *(f"{deeper}* {factor}" for factor in factors)]
    return [f"{head}(", *body, f"{_INDENT})"]


def _on_lines(line: str) -> list[str]:
    """`... torch.mean(value)`, or `... functional(value).sum()` of a pooled value, on one line, or on three."""
    if len(line) <= WIDTH:
        return [line]
    if (one := re.fullmatch(r"(.*?[ -])(\w+)\((.*\))", line)) and is_call(f"{one[2]}({one[3]}"):
        return call(one[1].removeprefix(_INDENT) + one[2], arguments_of(one[3]), _INDENT)
    if pooled := re.fullmatch(r"([^(]*\()(.*)(\)\.sum\(\))", line):
        return [pooled[1], f"{_INDENT}    {pooled[2]}", f"{_INDENT}{pooled[3]}"]
    head, _, value = line.removesuffix(")").partition("torch.mean(")
    return _closed(f"{head}torch.mean", value)


def _scheduled(schedule: Schedule) -> str:
    points = ", ".join(f"({number(time)}, {number(value)})" for time, value in schedule.points)
    helper, now = "by_cosine" if schedule.cosine else "scheduled", "epoch" if schedule.by == "epochs" else "step"
    return f"{helper}({now}, [{points}]) * "


def _is_constant(schedule: Schedule) -> bool:
    return not schedule.changes
