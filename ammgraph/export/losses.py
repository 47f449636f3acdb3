"""What every network of every turn minimises, as code: passes of the discriminators, then the losses' formulas."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ammgraph.export.calls import (
    Call,
    Function,
    moved_call,
    posteriors,
    score_calls,
    scores_of,
    scoring_calls,
)
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
from ammgraph.export.critics import between_code, scored_code
from ammgraph.export.densities import Densities
from ammgraph.export.model import Posterior, turn_names
from ammgraph.export.networks import attributes
from ammgraph.export.scope import INDENT, Scope, closed, method, result_name
from ammgraph.formulas.expression import (
    Batch,
    Expression,
    Floor,
    Functional,
    Minus,
    Number,
    Product,
    Sum,
    Vat,
    times,
)
from ammgraph.formulas.functions import FUNCTIONALS
from ammgraph.formulas.notation import PRODUCT, written
from ammgraph.plan.draws import ScorePlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import LossPlan, direction_name
from ammgraph.show.text import formula_text
from ammgraph.spec.notation import side_text
from ammgraph.spec.schedules import Schedule

_OWN = {"self", "noise", "losses", "loss", "epoch", "step", "v", "draw", "scored"}


def losses_code(
    plan: Plan, names: Mapping[Function, str], networks: Mapping[str, str], constants: Mapping[str, str]
) -> list[str]:
    """A function of losses for every turn of a step."""
    lines: list[str] = []
    for index, turn in enumerate(plan.turns):
        local = Names(TAKEN | _OWN, turn.draws)
        scope = Scope(plan, turn, names, networks, constants, local, scores_of(plan, turn))
        lines += ["", *_turn(scope, turn_names(plan)[index])]
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
        scope = Scope(plan, turn, names, networks, constants, local, (score,))
        samples = ", ".join(f"{text(name)}: {local.of(name)}" for name in given)
        lines = [f"{INDENT}{scope.samples(score.draw)} = {{{samples}}}", *_every(scope, score.draw, score.rule)]
        for step in scoring_calls(plan, [score]):
            lines += _scores(scope, step)
        return [*lines, *_posterior(scope, score)], scope.every.logits(score.name, score.draw)

    return written_posterior


def _every(scope: Scope, draw: str, over: str) -> list[str]:
    """The samples of a draw with every value of a variable."""
    arguments = [scope.samples(draw), text(over), str(scope.every.size(over))]
    return call(f"{scope.every.samples(draw, over)} = with_every", arguments, INDENT)


def _turn(scope: Scope, name: str) -> list[str]:
    turn = scope.turn
    changing = {weight.by for loss in turn.losses for weight in loss.weights if weight.changes}
    parameters = ["self", *(f"{scope.samples(draw)}: dict[str, Tensor]" for draw in turn.draws), "noise: Noise"]
    parameters += ["epoch: float = 0.0"] if "epochs" in changing else []
    parameters += ["step: int = 0"] if "steps" in changing else []
    lines = call(f"def {name}", parameters, "    ", " -> dict[str, Tensor]:")
    minimised: dict[str, list[str]] = {}
    for loss, network in turn.minimised:
        minimised.setdefault(network, []).append(loss.name)
    who = "\n".join(f"- {network}: {' + '.join(losses)}" for network, losses in minimised.items())
    draws = ", ".join(f"`{draw}`" for draw in turn.draws)
    lines += docstring(f"The losses at the samples of {draws}. Each network minimises:\n\n{who}", INDENT)
    lines.append(f"{INDENT}losses: dict[str, Tensor] = {{}}")
    for draw, over in scope.every.needed:
        lines += _every(scope, draw, over)
    for step in score_calls(scope.plan, turn):
        lines += ["", *_scores(scope, step)]
    for score in posteriors(scope.plan, turn):
        lines += ["", *_posterior(scope, score)]
    for found in scope.passes:
        lines += ["", *(scored_code(scope, found) if found.kind == "scored" else between_code(scope, found))]
    for game in map(scope.plan.game, turn.games):
        sides = f"{side_text(game.real)} (REAL) against {side_text(game.fake)} (FAKE)"
        lines += ["", f"{INDENT}# Game {game.name}: {sides}, {game.objective}"]
        for loss in turn.losses:
            lines += _loss(scope, loss) if loss.owner == game.name else []
    for term in map(scope.plan.term, turn.terms):
        lines += ["", f"{INDENT}# Term {term.name}: {formula_text(term.value)}"]
        loss = turn.loss(f"{term.name}/value")
        for leaf in (leaf for leaf in loss.leaves if isinstance(leaf, Vat)):
            lines += _moved(scope, loss, leaf)
        lines += _loss(scope, loss)
    return [*lines, f"{INDENT}return losses"]


def _scores(scope: Scope, step: Call) -> list[str]:
    """What terms score of one evaluation of a network."""
    draw, _, over = step.evaluation.partition("/")[0].partition(".")
    results = ", ".join(result_name(scope, name) for name in step.results)
    samples = scope.every.samples(draw, over) if over else scope.samples(draw)
    inputs = [_argument(scope, step, name, samples, over) for name in step.arguments]
    if scope.every.is_alone(step.evaluation):
        inputs = [scope.every.values(draw, over) for _ in step.arguments]
    inputs = inputs or [f"examples(self, {_count(scope, draw)})"]
    lines = method(scope, step, results, inputs)
    if len(lines[0]) > WIDTH:
        line = f"{INDENT}{results} = scored"
        unpacked = listed(f"{INDENT}(", results.split(", "), ") = scored", INDENT) if len(line) > WIDTH else [line]
        lines = [*method(scope, step, "scored", inputs), *unpacked]
    kept = any(found.evaluation.name == step.evaluation and found.kept for found in scope.turn.passes_of("asked"))
    return _with_statistics_kept(_norms(scope, step) if kept else _repeated_norms(scope, step), lines)


def _argument(scope: Scope, step: Call, name: str, samples: str, over: str) -> str:
    """A sample; a row, as it is where every value chooses from it, else repeated."""
    if "/" not in name:
        return f"{samples}[{text(name)}]"
    result = result_name(scope, name)
    return result if name in step.chooses else f"each({result}, {scope.every.size(over)})"


def _with_statistics_kept(norms: Sequence[str], lines: list[str]) -> list[str]:
    return [*_keeping(norms), *(f"    {line}" for line in lines)] if norms else lines


def _keeping(norms: Sequence[str]) -> list[str]:
    return call("with statistics_kept", norms, INDENT, ":")


def _moved(scope: Scope, loss: LossPlan, leaf: Vat) -> list[str]:
    """A function of what is moved, how far the factor is from itself there, and its value at the end of the move."""
    term, place = scope.plan.term(loss.owner), f"{loss.owner} {leaf}"
    step, score = moved_call(scope.plan, term, leaf), term.score(leaf)
    assert score is not None
    assert score.density is not None
    argument = scope.local.of(f"{leaf.variable} of {place}", f"{leaf.variable}_moved")
    own = {name: result_name(scope, f"{name}.moved") for name in step.results} | {leaf.variable: argument}
    spoken = _densities(scope, loss)
    moved = Densities(scope.plan, loss, scope.constants, own.__getitem__, scope.every, leaf.variable)
    inputs = [
        argument if name == leaf.variable else f"{scope.samples(leaf.draw)}[{text(name)}]" for name in step.arguments
    ]
    target, function = ", ".join(own[name] for name in step.results), scope.local.of(f"moved {place}", "moved")
    divergence = FUNCTIONALS["KL"].torch.format(score.density.kind)
    compared = [*spoken.parameters(score, stopped=True), *moved.parameters(score)]
    lines = [f"{INDENT}def {function}({argument}: Tensor) -> Tensor:"]
    lines += [f"    {line}" for line in method(scope, step, target, inputs)]
    lines += call(f"return {divergence}", compared, f"{INDENT}    ")
    radius = number(leaf.radius)
    if leaf.times:
        radius = f"{radius} * {scope.samples(leaf.draw)}[{text(leaf.times)}].detach()"
    noise = f"noise[{text(direction_name(step.evaluation, leaf.variable))}]"
    arguments = [function, f"{scope.samples(leaf.draw)}[{text(leaf.variable)}]", noise, radius, number(leaf.xi)]
    result, norms = result_name(scope, f"{formula_text(leaf)} {leaf.draw}"), _norms(scope, step)
    end = call(f"{result} = {FUNCTIONALS['vat'].torch}", arguments, f"{INDENT}    " if norms else INDENT)
    return ["", *lines, "", *(_keeping(norms) if norms else []), *end]


def _posterior(scope: Scope, score: ScorePlan) -> list[str]:
    """The logits of Bayes' rule: log densities of all parts, added; an example a row, a value a column."""
    spoken = _densities(scope, scope.turn.losses[0])
    target = scope.every.logits(score.name, score.draw)
    parts = " ".join(part.name for part in score.computed)
    lines = [f"{INDENT}# {score.name} is proportional to {parts}"]
    for index, (variable, part) in enumerate(score.parts):
        before = f"{target} = " if index == 0 else f"{target} = {target} + "
        lines += _closed_call(f"{INDENT}{before}", spoken.log_density(variable, part, score))
    return [*lines, f"{INDENT}{target} = {target}.view(-1, {scope.every.size(score.rule)})"]


def _closed_call(head: str, inner: str) -> list[str]:
    """`head` and a call, on one line or with an argument a line."""
    helper, _, rest = inner.partition("(")
    return (
        [head + inner] if len(head + inner) <= WIDTH else call(f"{head.strip()} {helper}", arguments_of(rest), INDENT)
    )


def _densities(scope: Scope, loss: LossPlan) -> Densities:
    return Densities(scope.plan, loss, scope.constants, lambda name: result_name(scope, name), scope.every)


def _repeated_norms(scope: Scope, step: Call) -> list[str]:
    """The batch norms that a call takes as drawing has taken them: they count once."""
    passes = [found for found in scope.turn.passes_of("drawn") if found.evaluation.name == step.evaluation]
    drawn, network = {row for found in passes for row in found.rows}, scope.plan.network(step.function.network)
    rows = [row for row in step.function.rows if network.row(row).batchnorm and row in drawn]
    return [f"self.{scope.networks[network.name]}.{attributes(network)[f'{row}/norm']}" for row in rows]


def _norms(scope: Scope, step: Call) -> list[str]:
    """The batch norms that a call takes."""
    network = scope.plan.network(step.function.network)
    rows = [row for row in step.function.rows if network.row(row).batchnorm]
    return [f"self.{scope.networks[network.name]}.{attributes(network)[f'{row}/norm']}" for row in rows]


def _count(scope: Scope, draw: str) -> str:
    """How many examples a draw has; one of no draw."""
    return f"len({scope.every.some(draw)})" if draw in scope.turn.draws else "1"


def _loss(scope: Scope, loss: LossPlan) -> list[str]:
    """`losses["joint/discriminator"] = ...`, on one line if it fits, else summand by summand."""
    spoken = _densities(scope, loss)
    python = spelling(scope.leaf if loss.owner in scope.turn.games else spoken.leaf, spoken.mean, spoken.functional)
    changing = [_scheduled(weight) for weight in loss.weights if weight.changes]
    value = loss.value
    for weight in loss.weights:
        value = value if weight.changes else times(weight.ends, value)
    target = f"{INDENT}losses[{text(loss.name)}] = "
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
        lines += _on_lines(f"{INDENT}loss = {sign}{written(positive, python, PRODUCT)}")
    weighted = f"{''.join(changing)}{'' if factor == 1 else f'{number(factor)} * '}loss"
    return [*lines, *([target + weighted] if len(target + weighted) <= WIDTH else closed(target, weighted))]


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


def _on_lines(line: str) -> list[str]:
    """`... torch.mean(value)`, or `... functional(value).sum()` of a pooled value, on one line, or on three."""
    if len(line) <= WIDTH:
        return [line]
    if (one := re.fullmatch(r"(.*?[ -])(\w+)\((.*\))", line)) and is_call(f"{one[2]}({one[3]}"):
        return call(one[1].removeprefix(INDENT) + one[2], arguments_of(one[3]), INDENT)
    if pooled := re.fullmatch(r"([^(]*\()(.*)(\)\.sum\(\))", line):
        return [pooled[1], f"{INDENT}    {pooled[2]}", f"{INDENT}{pooled[3]}"]
    head, _, value = line.removesuffix(")").partition("torch.mean(")
    return closed(f"{head}torch.mean", value)


def _scheduled(schedule: Schedule) -> str:
    points = ", ".join(f"({number(time)}, {number(value)})" for time, value in schedule.points)
    helper, now = "by_cosine" if schedule.cosine else "scheduled", "epoch" if schedule.by == "epochs" else "step"
    return f"{helper}({now}, [{points}]) * "
