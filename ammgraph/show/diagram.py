"""What a drawing of a plan shows, as plain data: the graphical model of each distribution, and the flow of a step.

`drawing` sets it as SVG, `markup` as Mermaid and DOT.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ammgraph.diagnostics import counted
from ammgraph.formulas.expression import Scored, Value, Vat
from ammgraph.plan.draws import DrawPlan, FromData, FromNetwork
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import LossPlan, ObjectivePlan, PassPlan, TurnPlan
from ammgraph.show.text import asked_text, formula_text, often_text, phase_text, shared_text
from ammgraph.spec.schema import Schedule


@dataclass(frozen=True)
class Node:
    """A variable of a graphical model."""

    variable: str
    source: str  # what draws it: a network, a prior, data; `given` where nothing does
    observed: bool


@dataclass(frozen=True)
class Model:
    """The graphical model of a distribution: its plate holds every variable, once for each of N examples."""

    name: str
    role: str  # as in `real in joint`
    batch: int
    factors: tuple[str, ...]
    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]  # condition -> variable


@dataclass(frozen=True)
class Box:
    """One thing that happens in a step."""

    stage: Literal["draw", "ask", "pass", "loss", "update"]
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Flow:
    """A turn of a step: draws -> what terms ask for, passes of the discriminator -> losses -> updates.

    `edges` are indices of boxes.
    """

    title: str
    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int], ...]


def same_model(first: DrawPlan, second: DrawPlan) -> bool:
    """Whether two distributions are one factorization, drawn twice."""
    return [(f.text, f.value) for f in first.written] == [(f.text, f.value) for f in second.written]


def pairs(plan: Plan) -> tuple[tuple[Model, ...], ...]:
    """The distributions that are matched with each other, REAL first; then those that no game names, each alone."""
    matched = dict.fromkeys(game.draws for game in plan.games)
    named = {name for names in matched for name in names}
    alone = [(draw.name,) for draw in plan.draws if draw.name not in named]
    return tuple(
        tuple(model_of(plan, plan.draw(name), _role(plan, names, name)) for name in names)
        for names in [*matched, *alone]
    )


def model_of(plan: Plan, draw: DrawPlan, role: str = "") -> Model:
    """The graphical model of a distribution, variables in the order of the spec."""
    factors = {name: factor for factor in draw.written for name in factor.variables}
    given = {name for factor in draw.written for name in factor.given}
    nodes = []
    for variable in plan.variables:
        factor = factors.get(variable.name)
        if factor is not None:
            source = factor.origin.evaluation.network if isinstance(factor.origin, FromNetwork) else factor.value
            nodes.append(Node(variable.name, source, isinstance(factor.origin, FromData)))
        elif variable.name in given:
            nodes.append(Node(variable.name, "given", True))
    edges = [(parent, name) for factor in draw.written for name in factor.variables for parent in factor.given]
    return Model(draw.name, role, draw.batch_size, tuple(f.text for f in draw.written), tuple(nodes), tuple(edges))


def flows(plan: Plan) -> tuple[Flow, ...]:
    """Every turn of a step."""
    found = []
    for number, phase in enumerate(plan.stages):
        turns, head = plan.turns_of(phase), ""
        if plan.phases:
            fitted = [f"after fitting {fit.factor} to {fit.to}" for fit in phase.fits]
            head = ", ".join([f"Phase {phase_text(plan, number).removeprefix('phase ')}", *fitted]) + ". "
        found += [_flow(plan, turn, head + _turn_title(turn, place, len(turns))) for place, turn in enumerate(turns, 1)]
    return tuple(found)


def _role(plan: Plan, names: tuple[str, ...], name: str) -> str:
    """On which side of which games a distribution stands, among the games of one pair."""
    sides = []
    for title, attribute in (("real", "real"), ("fake", "fake")):
        games = [
            game.name
            for game in plan.games
            if game.draws == names
            and any(game.name in turn.games for turn in plan.turns)
            and any(draw == name for _, draw in getattr(game, attribute))
        ]
        if games:
            sides.append(f"{title} in {', '.join(games)}")
    return "; ".join(sides)


def _flow(plan: Plan, turn: TurnPlan, title: str) -> Flow:
    boxes: list[Box] = []
    edges: list[tuple[int, int]] = []
    draws: dict[str, int] = {}
    passes: dict[str, int] = {}
    for name in turn.draws:
        draw = turn.drawn(plan.draw(name))
        lines = [f"{factor.text}: {factor.value}" for factor in draw.written if factor.needed]
        draws[name] = len(boxes)
        boxes.append(Box("draw", f"{name}, {counted(draw.batch_size, 'example')}", tuple(lines)))
    for found in (*_passes_of_terms(turn), *turn.passes_of("scored"), *turn.passes_of("between")):
        edges += [(draws[name], len(boxes)) for name in found.draws if name]
        passes[found.evaluation.name] = len(boxes)
        boxes.append(_pass_box(turn, found))
    losses: list[tuple[ObjectivePlan, int]] = []
    drawn = _as_drawn(plan, turn)
    for name, rows in drawn.items():
        edges.append((draws[name], len(boxes)))
        passes[name] = len(boxes)
        boxes.append(Box("ask", f"as drawn in {name}", (" ".join(rows),)))
    for objective in turn.shares:
        minimised = [turn.loss(name) for name in objective.losses]
        edges += [(passes[name], len(boxes)) for loss in minimised for name in _read(plan, turn, loss)]
        losses.append((objective, len(boxes)))
        boxes.append(Box("loss", _loss_title(plan, minimised), tuple(_losses(minimised))))
    for networks, places in _updates(turn, losses):
        rates = dict.fromkeys(_optimizer(plan, name) for name in networks)
        edges += [(place, len(boxes)) for place in places]
        alike = len(rates) == 1
        lines = [name if alike else f"{name}: {_optimizer(plan, name)}" for name in networks]
        boxes.append(Box("update", next(iter(rates)) if alike else "updates", tuple(lines)))
    return Flow(title, tuple(boxes), tuple(dict.fromkeys(edges)))


def _passes_of_terms(turn: TurnPlan) -> list[PassPlan]:
    """One of each evaluation: that at moved samples where no other is asked for."""
    passes = (*turn.passes_of("moved"), *turn.passes_of("asked"))
    return list({found.evaluation.name: found for found in passes}.values())


def _pass_box(turn: TurnPlan, found: PassPlan) -> Box:
    network = found.evaluation.network
    if found.kind in ("asked", "moved"):
        where = [f"at {found.draws[0]}, {counted(found.batch, 'example')}"] if found.draws[0] else []
        moved = [move.moves for move in turn.passes_of("moved") if move.evaluation.name == found.evaluation.name]
        told = [f"twice more with {name} moved" for name in dict.fromkeys(moved)]
        return Box("ask", network, (*([asked_text(found)] if found.kind == "asked" else []), *where, *told))
    if found.kind == "scored":
        lines = [" | ".join(found.draws), f"{counted(found.batch, 'example')}, one batch"]
        lines += [shared_text(found)] if found.shared else []
    else:
        lines = [f"between {' and '.join(found.draws)}", *([often_text(found.every)] if found.every > 1 else [])]
    return Box("pass", f"{network}.{found.row}", tuple(lines))


def _read(plan: Plan, turn: TurnPlan, loss: LossPlan) -> list[str]:
    """Where a loss takes its numbers: passes by evaluation, and draws of which it reads what is drawn in any case."""
    if loss.owner not in turn.terms:
        return sorted(loss.passes)
    asked = {found.evaluation.name: found for found in _passes_of_terms(turn)}
    scores = plan.term(loss.owner).scores
    read = [found for s in scores if s.evaluation for found in (s.evaluation, s.evaluation.beneath)]
    passes = dict.fromkeys(evaluation.name for evaluation in read if evaluation.name in asked)
    reached = {draw for name in passes for draw in asked[name].draws}
    return [*passes, *(draw for draw in plan.term(loss.owner).draws if draw not in reached)]


def _as_drawn(plan: Plan, turn: TurnPlan) -> dict[str, list[str]]:
    """Draw -> the scores and variables that terms take as the draw has computed them, of what `_read` finds."""
    found: dict[str, dict[str, None]] = {}
    for loss in (loss for loss in turn.losses if loss.owner in turn.terms):
        direct = {name for name in _read(plan, turn, loss) if name in turn.draws}
        for leaf in loss.leaves:
            if isinstance(leaf, Scored | Value | Vat) and leaf.draw in direct:
                found.setdefault(leaf.draw, {})[leaf.name if isinstance(leaf, Value) else leaf.factor] = None
    return {name: list(names) for name, names in found.items()}


def _updates(turn: TurnPlan, losses: Sequence[tuple[ObjectivePlan, int]]) -> list[tuple[list[str], tuple[int, ...]]]:
    """Networks that are updated by the same losses, in the order of these."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name in turn.update:
        groups.setdefault(tuple(place for objective, place in losses if name in objective.networks), []).append(name)
    return [(names, places) for places, names in sorted(groups.items())]


def _optimizer(plan: Plan, name: str) -> str:
    optimizer = plan.network(name).optimizer
    return f"{optimizer.name}, rate {schedule_text(optimizer.learning_rate)}"


def _loss_title(plan: Plan, minimised: Sequence[LossPlan]) -> str:
    """`discriminator loss of joint`; of the only game, `discriminator loss`; with terms, `... and term prior`."""
    owned, known = dict.fromkeys(loss.owner for loss in minimised), {term.name for term in plan.terms}
    games, terms = ([name for name in owned if (name in known) == is_term] for is_term in (False, True))
    which = f" of {', '.join(games)}" if len(plan.games) > 1 else ""
    told = [f"{minimised[0].what} loss{which}"] if games else []
    told += [f"term{'s' if len(terms) > 1 else ''} {', '.join(terms)}"] if terms else []
    return " and ".join(told)


def _losses(minimised: Sequence[LossPlan]) -> list[str]:
    """A line a loss; a penalty by its name."""
    texts = [_loss_text(loss) for loss in minimised]
    return [*texts[:1], *(f"- {text[1:]}" if text.startswith("-") else f"+ {text}" for text in texts[1:])]


def _loss_text(loss: LossPlan) -> str:
    weights = [schedule_text(weight) for weight in loss.weights if str(weight) != "1"]
    value = loss.what.replace("_", " ") if loss.sloped else formula_text(loss.value)
    inner = value if loss.sloped or not weights else f"({value})"
    return " ".join([*weights, inner])


def _turn_title(turn: TurnPlan, index: int, count: int) -> str:
    if count == 1 and turn.steps == 1:
        return "One step: all gradients at the same point, then every update"
    times = "" if turn.steps == 1 else f", {turn.steps} times"
    return f"Turn {index} of {count}{times}: draws {'anew' if turn.redraw else 'as before'}"


def schedule_text(schedule: Schedule) -> str:
    """`0.0002`, or `0.001 .. 0` for one that changes, `0 .. 0.001 .. 0` for one that rises before."""
    values = [value for _, value in schedule.points]
    first, most, last = values[0], max(values), values[-1]
    course = [first, *([most] if most > max(first, last) else []), last]
    return f"{first:g}" if not schedule.changes else " .. ".join(f"{value:g}" for value in course)
