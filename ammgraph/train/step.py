"""One turn of training: draw, pass the discriminators, take every gradient at that point. Pure: all noise is handed in.

The chain rule is cut at a discriminator's logits and at the samples that it reads: losses -> logits, logits -> samples
and the discriminator's parameters (`ammgraph.train.legs`), samples -> the parameters of the networks that drew them.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError
from ammgraph.formulas.expression import Leaf, Logit, Slope, Square, Support
from ammgraph.nn.densities import Distribution
from ammgraph.nn.enumeration import (
    with_probabilities,
)
from ammgraph.nn.functions import categorical_entropy, weighted
from ammgraph.nn.losses import Leaves, norms, squared_norms, value
from ammgraph.nn.model import Draw, Model, Tensors, critic_logits, sample_draw
from ammgraph.nn.networks import Mode, without_graph
from ammgraph.nn.second import sloped
from ammgraph.plan.draws import DrawPlan, FromBayes, FromNetwork
from ammgraph.plan.metric import ACCURACY, ENTROPY, GRADIENT, USE, Metric
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import (
    GamePlan,
    LossPlan,
    ObjectivePlan,
    PassPlan,
    TurnPlan,
)
from ammgraph.train.legs import Pass, Reached, pass_critic, pass_within, pull_back, sent_back
from ammgraph.train.terms import Asked, Now, rows_of, take_terms

Gradients = dict[str, list[Tensor]]


@dataclass(frozen=True)
class Outcome:
    """What a turn found: gradients by network, in the order of its parameters, and values to log, all on the device."""

    gradients: Gradients
    values: dict[str, Tensor]


@dataclass(frozen=True)
class _Found:
    """What a turn has so far: samples, rows of terms, and what goes on from there."""

    draws: Mapping[str, Draw]
    asked: Asked
    terms: dict[str, tuple[Tensor, Tensor]]  # a term's value and its weight, by loss; those that nobody has taken yet
    reached: dict[ObjectivePlan, Reached]
    gradients: Gradients
    values: dict[str, Tensor]


def take_turn(
    model: Model,
    plan: Plan,
    turn: TurnPlan,
    data: Mapping[str, Tensors],
    noise: Tensors,
    epoch: float,
    step: int = 0,
    *,
    weights: Mapping[str, float | Tensor] | None = None,
) -> Outcome:
    """The gradients of one turn, all taken at the same point (Algorithm 1).

    Args:
        model: the networks; only their running statistics are changed.
        plan: the compiled spec.
        turn: the turn to take.
        data: draw -> variable -> tensor, for the factors that come from data.
        noise: random tensors by site, every site of the turn that is due at this step.
        epoch: for weights that change with time.
        step: for penalties that are not taken in every step, and weights that change with steps.
        weights: those of the losses that do not weigh 0, by name, in place of what they are now.
    """
    if weights is None:
        every = {loss.name: loss.weight(epoch, step) for loss in turn.losses}
        weights = {name: weight for name, weight in every.items() if weight}
    now = Now(model, plan, turn, noise, weights, step)
    values: dict[str, Tensor] = {}
    asked: Asked = {}
    draws = _draw(now, data, asked, values)
    terms = take_terms(now, draws, asked, values) if turn.terms else {}
    found = _Found(draws, asked, terms, {objective: [] for objective in now.objectives("samples")}, {}, values)
    for owner in dict.fromkeys(scored.evaluation.network for scored in turn.passes_of("scored")):
        _play(now, owner, found)
    for objective, ends in found.reached.items():
        ends += [found.terms[name] for name in objective.losses if name in found.terms]
    _pull_through(now, found.reached, found.gradients)
    for objective in now.objectives("passes"):
        _between(now, objective, draws, found.gradients, values)
    values |= _still(now, found.gradients) | gradient_norms(found.gradients)
    return Outcome(found.gradients, {name: value.detach() for name, value in values.items()})


def _pull_through(now: Now, reached: Mapping[ObjectivePlan, Reached], gradients: Gradients) -> None:
    """From what samples and terms got to the networks behind them, in one backward pass where objectives allow it."""
    walks = [[(objective, reached[objective]) for objective in walk] for walk in now.turn.walks]
    walks = [walk for walk in walks if any(ends for _, ends in walk)]  # a term whose weight is 0 has no ends
    while walks:
        walk = walks.pop()
        objectives = [objective for objective, _ in walk]
        networks = list(dict.fromkeys(name for objective in objectives for name in objective.networks))
        found = sent_back((end for _, ends in walk for end in ends), now.parameters(networks), retain=bool(walks))
        _add(now, gradients, [name for objective in objectives for name in objective.losses], networks, found)


def gradient_norms(gradients: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """||g||_2 of each network's gradient over all of its parameters."""
    return {
        str(Metric(network, GRADIENT)): torch.linalg.vector_norm(torch.stack(torch._foreach_norm(found)))
        for network, found in gradients.items()
    }


def _still(now: Now, gradients: Gradients) -> dict[str, Tensor]:
    """The norm 0 of the gradient of each network that stands still, all of whose losses weigh 0 now."""
    names = {name for objective in now.turn.objectives for name in objective.networks if now.parameters([name])}
    zero = next(now.model.parameters()).new_zeros(())
    return {str(Metric(name, GRADIENT)): zero for name in sorted(names - set(gradients))}


def _draw(now: Now, data: Mapping[str, Tensors], asked: Asked, values: dict[str, Tensor]) -> dict[str, Draw]:
    """Every draw of the turn, without the rows that it computed on the way: what no gradient needs is freed."""
    draws: dict[str, Draw] = {}
    scores = [part for name in now.turn.terms for score in now.plan.term(name).scores for part in score.computed]
    asked_of = [score.evaluation for score in scores if score.evaluation is not None]
    kept = {found.name for evaluation in asked_of for found in (evaluation, evaluation.beneath)}
    kept |= {drawn for _, drawn in now.turn.taken}
    with nullcontext() if now.objectives("samples") else without_graph():
        for name in now.turn.draws:
            plan = now.turn.drawn(now.plan.draw(name))
            draw = sample_draw(now.model, plan, data.get(name, {}), now.noise, Mode.TRAIN, draws)
            if plan.enumerated is not None and plan.enumerated.needed:
                rows = partial(rows_of, now, draw, asked)
                draw = with_probabilities(now.model, now.plan, plan, draw, rows)
            values |= _uses(plan, draw)
            computed = {key: rows for key, rows in draw.rows.items() if key in kept}
            others = {own: draws[of].rows[drawn] for own, of, drawn in _taken(now.turn) if own.startswith(f"{name}/")}
            draws[name] = replace(draw, rows=computed | others)
    return draws


def _taken(turn: TurnPlan) -> list[tuple[str, str, str]]:
    """An evaluation of terms, the draw whose samples it is at, and the evaluation of drawing that has its rows."""
    return [(own, drawn.partition("/")[0], drawn) for own, drawn in turn.taken]


def _play(now: Now, owner: str, turn: _Found) -> None:
    """The losses at one discriminator's samples: its gradient, and what the samples get from the others' losses."""
    draws, values = turn.draws, turn.values
    scored = [found for found in now.turn.passes_of("scored") if found.evaluation.network == owner]
    here = {found.evaluation.name for found in scored}
    losses = {loss.name: loss for loss in now.turn.losses if loss.owner in now.turn.games and loss.passes <= here}
    due = {name for name, loss in losses.items() if now.step % loss.every == 0}
    sloped = any(losses[name].sloped for name in due)  # then of all passes: the slopes serve the other losses too
    passes = [_pass(now, found, turn, sloped and not found.shared) for found in scored]  # no penalty takes shared rows
    games = [game for game in map(now.plan.game, now.turn.games) if game.discriminator.owner == owner]
    supports = _supports(games, draws)
    weights = {support: found.detach().requires_grad_() for support, found in supports.items()}
    cut, whole = _leaves(passes, weights, False), _leaves(passes, weights, True) if sloped else {}
    weighted = {
        name: _weighted(loss, None if name not in due else whole if loss.sloped else cut, now, values)
        for name, loss in losses.items()
    }
    for game in games:
        values[str(Metric(game.name, ACCURACY))] = _accuracy(game, passes, supports)
    learns = next((found for found in now.objectives("passes") if owner in found.networks), None)
    own = [] if learns is None else [losses[name] for name in learns.losses if name in losses]
    against = [weighted[loss.name] for loss in own if not loss.sloped]
    penalties = [weighted[loss.name] for loss in own if loss.sloped and weighted[loss.name].requires_grad]
    sides = {
        objective: torch.stack([weighted[name] for name in objective.losses if name in weighted]).sum()
        for objective in turn.reached
        if any(name in weighted for name in objective.losses)
    }
    parameters = [] if learns is None else now.parameters([owner])
    total = torch.stack(against).sum() if against else None
    found, ends = pull_back(
        passes, parameters, total, list(sides.values()), [*penalties, *_own_terms(owner, turn, passes)]
    )
    weighed = [_weighing(side, supports, weights) for side in sides.values()]
    if learns is not None:
        _add(now, turn.gradients, learns.losses, learns.networks, found)
    for objective, more, others in zip(sides, ends, weighed, strict=True):
        turn.reached[objective].extend([*more, *others])


def _pass(now: Now, found: PassPlan, turn: _Found, sloped: bool) -> Pass:
    """A discriminator's pass, of its own or within that of a term."""
    if not found.within:
        return pass_critic(now.model, found, turn.draws, now.noise, sloped)
    asked = next(other.evaluation for other in now.turn.passes_of("asked") if other.evaluation.name == found.within)
    draw = turn.draws[found.draws[0]]
    return pass_within(found, rows_of(now, draw, turn.asked, asked), draw.batch)


def _own_terms(owner: str, turn: _Found, passes: Sequence[Pass]) -> list[Tensor]:
    """Terms that the discriminator alone minimises, weighted, where its own backward pass takes them too."""
    if not any(found.plan.within for found in passes):
        return []
    alone = [name for objective in turn.reached if objective.networks == (owner,) for name in objective.losses]
    taken = [turn.terms.pop(name) for name in alone if name in turn.terms]
    return [value * weight for value, weight in taken]


def _supports(games: Sequence[GamePlan], draws: Mapping[str, Draw]) -> dict[Support, Tensor]:
    """The probabilities of the values that sides of games enumerate."""
    found: dict[Support, Tensor] = {}
    for support in (support for game in games for support in game.enumerated):
        enumerated = draws[support.draw].enumerated
        assert enumerated is not None
        found[support] = enumerated.probabilities
    return found


def _weighing(side: Tensor, supports: Mapping[Support, Tensor], weights: Mapping[Support, Tensor]) -> Reached:
    """What the probabilities of enumerated values get from a loss of the sides, whose `weights` they are."""
    if not weights:
        return []
    found = torch.autograd.grad(side, list(weights.values()), retain_graph=True, allow_unused=True)
    pairs = zip(supports.values(), found, strict=True)
    return [(support, gradient) for support, gradient in pairs if gradient is not None and support.requires_grad]


def _leaves(passes: Sequence[Pass], weights: Mapping[Support, Tensor], sloped: bool) -> Leaves:
    """Logits of every draw in every pass: cut off from what they depend on, or whole with the norms of their slopes.

    Beside them the `weights` of enumerated values.
    """
    leaves: dict[Leaf | Square, Tensor | Distribution] = dict(weights.items())
    for found in passes:
        name = found.plan.evaluation.name
        leaves |= {
            Logit(draw, name): part for draw, part in found.split(found.joint if sloped else found.logits).items()
        }
        if sloped and found.slopes:
            norms = found.split(squared_norms(found.slopes))
            leaves |= {Square(Slope(draw, name)): part for draw, part in norms.items()}
    return leaves


def _weighted(loss: LossPlan, leaves: Leaves | None, now: Now, values: dict[str, Tensor]) -> Tensor:
    """What networks minimise of a loss in this step; its value before the weight is logged. 0 where it is not due."""
    if leaves is None:
        values[loss.name] = next(now.model.parameters()).new_zeros(())
        return values[loss.name]
    found = value(loss.value, leaves)
    values[loss.name] = found if loss.every == 1 else loss.every * found
    return now.weights.get(loss.name, 0.0) * found


def _accuracy(game: GamePlan, passes: Sequence[Pass], supports: Mapping[Support, Tensor]) -> Tensor:
    """The share of logits on their side of 0, the distributions of both sides counted alike."""
    at = {side: found.split(found.logits) for found in passes for name, side in found.plan.sides if name == game.name}
    hits = [(draw, (at["real"][draw] > 0).float()) for _, draw in game.real]
    hits += [(draw, (at["fake"][draw] < 0).float()) for _, draw in game.fake]
    of = game.supports
    shares = [weighted(supports[of[draw]].detach(), hit) if draw in of else hit for draw, hit in hits]
    return torch.stack([share.mean() for share in shares]).mean()


def _between(
    now: Now, objective: ObjectivePlan, draws: Mapping[str, Draw], gradients: Gradients, values: dict[str, Tensor]
) -> None:
    """Add the gradients of the losses at points between samples, each of which takes a pass of its own."""
    passes = {found.evaluation.name: found for found in now.turn.passes_of("between")}
    parameters = now.parameters(objective.networks)
    for loss in map(now.turn.loss, objective.losses):
        places = loss.sloped & set(passes)
        if not places:
            continue
        (place,) = places
        due = now.step % loss.every == 0
        leaves: Leaves | None = {Slope("", place): _slope_between(now, passes[place], draws)} if due else None
        total = _weighted(loss, leaves, now, values)
        if total.requires_grad:  # else the slope of the logit is the same whatever the weights
            slopes = torch.autograd.grad(total, parameters, materialize_grads=True)
            _add(now, gradients, objective.losses, objective.networks, slopes)


def _slope_between(now: Now, found: PassPlan, draws: Mapping[str, Draw]) -> Tensor:
    """||grad d||_2 at a + u (b - a), one coefficient u an example for all inputs, a and b the i-th samples; (B,)."""
    coefficient = now.noise[f"{found.evaluation.name}/coefficient"]
    start, end = (draws[name].samples for name in found.draws)
    inputs = {
        local: torch.lerp(
            start[variable].detach().to(coefficient.dtype), end[variable].detach().to(coefficient.dtype), coefficient
        ).requires_grad_()
        for local, variable in found.evaluation.bindings
    }
    with sloped():
        logits = critic_logits(now.model, found, inputs, now.noise, Mode.FROZEN)
    return norms(torch.autograd.grad(logits.sum(), list(inputs.values()), create_graph=True))


def _add(
    now: Now, gradients: Gradients, losses: Sequence[str], networks: Sequence[str], found: Sequence[Tensor | None]
) -> None:
    """Add the gradients of a sum of losses, listed for all of these networks, to those of each network."""
    rest = iter(found)
    for name in networks:
        owned = now.parameters([name])
        new = [next(rest) for _ in owned]
        if not owned:
            continue
        if all(gradient is None for gradient in new):
            reaching = [loss for loss in map(now.turn.loss, losses) if name in dict(loss.paths)]
            if not all(loss.name in now.weights for loss in reaching):
                continue  # what reaches it weighs 0 now
            raise RunError(
                f"no gradient of {', '.join(losses)} reaches `{name}`, although the plan has a path; this is a bug"
            )
        filled = [torch.zeros_like(p) if g is None else g for p, g in zip(owned, new, strict=True)]
        gradients[name] = list(torch._foreach_add(gradients[name], filled)) if name in gradients else filled


def _uses(plan: DrawPlan, draw: Draw) -> dict[str, Tensor]:
    """How often each category is the most probable, and the mean entropy in nats, of every categorical row drawn.

    Of learned weights, which are one distribution for all examples, the probability of each in place of how often.
    """
    values = {}
    for factor in plan.factors:
        drawn = isinstance(factor.origin, FromNetwork | FromBayes) and factor.needed
        if not (drawn and factor.density.kind == "categorical"):
            continue
        logits = draw.logits(factor).detach().float()
        most_probable = torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
        chosen = most_probable if factor.given else torch.softmax(logits, 1)
        place = f"{plan.name}.{factor.variables[0]}"
        values[str(Metric(place, USE))] = chosen.mean(0)
        values[str(Metric(place, ENTROPY))] = categorical_entropy(logits).mean()
    return values
