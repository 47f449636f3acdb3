"""One turn of training: draw, pass the discriminators, take every gradient at that point. Pure: all noise is handed in.

The chain rule is cut at a discriminator's logits and at the samples that it reads: losses -> logits, logits -> samples
and the discriminator's parameters (`ammgraph.train.legs`), samples -> the parameters of the networks that drew them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError
from ammgraph.graph.plan import FromNetwork, GamePlan, ObjectivePlan, PenaltyPlan, Plan, TurnPlan
from ammgraph.nn.model import Draw, Model, Tensors, critic_logits, sample_draw
from ammgraph.nn.networks import Mode, evaluate_input
from ammgraph.nn.objectives import (
    OBJECTIVES,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1_penalty,
    roth_penalty,
    squared_norms,
)
from ammgraph.train.legs import Pass, Reached, pass_critic, pull_back

Gradients = dict[str, list[Tensor]]


@dataclass(frozen=True)
class Outcome:
    """What a turn found: gradients by network, in the order of its parameters, and values to log, all on the device."""

    gradients: Gradients
    values: dict[str, Tensor]


@dataclass(frozen=True)
class _Moment:
    """What every part of a turn looks up."""

    model: Model
    plan: Plan
    turn: TurnPlan
    noise: Tensors
    epoch: float
    step: int

    def parameters(self, networks: Sequence[str]) -> list[Tensor]:
        return [parameter for name in networks for parameter in self.model.network(name).parameters()]

    def objectives(self, role: str) -> list[ObjectivePlan]:
        return [objective for objective in self.turn.objectives if objective.role == role]


def take_turn(
    model: Model, plan: Plan, turn: TurnPlan, data: Mapping[str, Tensors], noise: Tensors, epoch: float, step: int = 0
) -> Outcome:
    """The gradients of one turn, all taken at the same point (Algorithm 1).

    Args:
        model: the networks; only their running statistics are changed.
        plan: the compiled spec.
        turn: the turn to take.
        data: draw -> variable -> tensor, for the factors that come from data.
        noise: random tensors by site, every site of the turn that is due at this step.
        epoch: for weights that change with time.
        step: for penalties that are not taken in every step.
    """
    now = _Moment(model, plan, turn, noise, epoch, step)
    values: dict[str, Tensor] = {}
    draws = _draw(now, data, values)
    gradients: Gradients = {}
    reached: dict[ObjectivePlan, Reached] = {objective: [] for objective in now.objectives("generator")}
    for owner in dict.fromkeys(critic.evaluation.network for critic in turn.passes):
        _play(now, owner, draws, gradients, reached, values)
    while reached:
        objective, ends = reached.popitem()
        samples, cotangents = map(list, zip(*ends, strict=True))
        flat = now.parameters(objective.networks)
        found = torch.autograd.grad(samples, flat, cotangents, retain_graph=bool(reached), allow_unused=True)
        _add(now, gradients, objective, found)
    for objective in now.objectives("discriminator"):
        _penalize_between(now, objective, draws, gradients, values)
    values |= gradient_norms(gradients)
    return Outcome(gradients, {name: value.detach() for name, value in values.items()})


def gradient_norms(gradients: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """||g||_2 of each network's gradient over all of its parameters."""
    return {
        f"{network}/gradient_norm": torch.linalg.vector_norm(torch.stack(torch._foreach_norm(found)))
        for network, found in gradients.items()
    }


def _draw(now: _Moment, data: Mapping[str, Tensors], values: dict[str, Tensor]) -> dict[str, Draw]:
    """Every draw of the turn, without the rows that it computed on the way: what no gradient needs is freed."""
    draws: dict[str, Draw] = {}
    with torch.set_grad_enabled(bool(now.objectives("generator"))):
        for name in now.turn.draws:
            plan = now.plan.draw(name)
            draw = sample_draw(now.model, plan, data.get(name, {}), now.noise, Mode.TRAIN, draws)
            values |= _uses(now.plan, name, draw)
            draws[name] = replace(draw, rows={})
    return draws


def _play(
    now: _Moment,
    owner: str,
    draws: Mapping[str, Draw],
    gradients: Gradients,
    reached: Mapping[ObjectivePlan, Reached],
    values: dict[str, Tensor],
) -> None:
    """The games of one discriminator: its gradient, and what its samples get from each of the other players' losses."""
    games = [game for game in map(now.plan.game, now.turn.games) if game.discriminator.owner == owner]
    learns = next((objective for objective in now.objectives("discriminator") if owner in objective.networks), None)
    own = [(game, penalty) for game, penalty in _penalties(now, learns) if penalty.evaluation is None]
    due = [(game, penalty) for game, penalty in own if now.step % penalty.every == 0]
    critics = [critic for critic in now.turn.passes if critic.evaluation.network == owner]
    passes = [pass_critic(now.model, critic, draws, now.noise, sloped=bool(due)) for critic in critics]
    losses = {game.name: _losses(game, passes, now.epoch, values) for game in games}
    values |= {f"{game.name}/{penalty.kind}": losses[game.name][0].new_zeros(()) for game, penalty in own}
    penalties = []
    for game, penalty in due:
        value = _own_penalty(game, penalty, passes)
        values[f"{game.name}/{penalty.kind}"] = penalty.every * value
        if value.requires_grad:  # else the slope of the logit is the same whatever the weights
            penalties.append(_weight(game, penalty, now.epoch) * value)
    against = None if learns is None else torch.stack([losses[name][0] for name in learns.games]).sum()
    sides = {
        objective: torch.stack([losses[game.name][1] for game in games if game.name in objective.games]).sum()
        for objective in reached
        if any(game.name in objective.games for game in games)
    }
    parameters = [] if learns is None else now.parameters([owner])
    found, ends = pull_back(passes, parameters, against, list(sides.values()), penalties)
    if learns is not None:
        _add(now, gradients, learns, found)
    for objective, more in zip(sides, ends, strict=True):
        reached[objective].extend(more)


def _losses(game: GamePlan, passes: Sequence[Pass], epoch: float, values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(what the discriminator minimises, what the sides' networks minimise), the game's weight included."""
    found = {
        side: critic.split(critic.logits) for critic in passes for name, side in critic.plan.sides if name == game.name
    }
    real = [(weight, found["real"][draw]) for weight, draw in game.real]
    fake = [(weight, found["fake"][draw]) for weight, draw in game.fake]
    objective = OBJECTIVES[game.objective]
    against = discriminator_loss(objective, real, fake)
    sides = generator_loss(objective, real, fake)
    values[f"{game.name}/discriminator"] = against
    values[f"{game.name}/generator"] = sides
    hits = [(logits > 0).float().mean() for _, logits in real] + [(logits < 0).float().mean() for _, logits in fake]
    values[f"{game.name}/accuracy"] = torch.stack(hits).mean()
    weight = game.weight.at(epoch)
    return weight * against, weight * sides


def _penalties(now: _Moment, objective: ObjectivePlan | None) -> list[tuple[GamePlan, PenaltyPlan]]:
    """The penalties that a discriminator minimises: none where it does not learn."""
    games = [] if objective is None else [now.plan.game(name) for name in objective.games]
    return [(game, penalty) for game in games for penalty in game.penalties]


def _weight(game: GamePlan, penalty: PenaltyPlan, epoch: float) -> float:
    return game.weight.at(epoch) * penalty.weight.at(epoch) * penalty.every


def _own_penalty(game: GamePlan, penalty: PenaltyPlan, passes: Sequence[Pass]) -> Tensor:
    """Roth's or R1, at the samples of the loss's own passes."""
    terms: dict[str, dict[str, tuple[Tensor, Tensor]]] = {}
    for critic in passes:
        logits, norms = critic.split(critic.joint), critic.split(squared_norms(critic.slopes))
        for name, side in critic.plan.sides:
            if name == game.name:
                terms[side] = {draw: (logits[draw], norms[draw]) for draw in critic.plan.draws}
    if penalty.kind == "r1_penalty":
        return r1_penalty([(weight, terms["real"][draw][1]) for weight, draw in game.real])
    return roth_penalty(
        [(weight, *terms["real"][draw]) for weight, draw in game.real],
        [(weight, *terms["fake"][draw]) for weight, draw in game.fake],
    )


def _penalize_between(
    now: _Moment, objective: ObjectivePlan, draws: Mapping[str, Draw], gradients: Gradients, values: dict[str, Tensor]
) -> None:
    """Add the gradients of the penalties that take a pass of their own."""
    parameters = now.parameters(objective.networks)
    for game, penalty in _penalties(now, objective):
        if penalty.evaluation is None:
            continue
        name = f"{game.name}/{penalty.kind}"
        if now.step % penalty.every:
            values[name] = values[f"{game.name}/discriminator"].new_zeros(())
            continue
        value = _interpolated_penalty(now.model, game, penalty, draws, now.noise)
        values[name] = penalty.every * value
        if value.requires_grad:
            loss = _weight(game, penalty, now.epoch) * value
            _add(now, gradients, objective, torch.autograd.grad(loss, parameters, materialize_grads=True))


def _interpolated_penalty(
    model: Model, game: GamePlan, penalty: PenaltyPlan, draws: Mapping[str, Draw], noise: Tensors
) -> Tensor:
    """Eq. 18 at real + a (fake - real), one coefficient a an example for all inputs."""
    assert penalty.evaluation is not None
    coefficient = noise[f"{penalty.evaluation.name}/coefficient"]
    real, fake = draws[game.real[0][1]].samples, draws[game.fake[0][1]].samples
    dtype = coefficient.dtype
    inputs = {}
    for local, variable in game.reads:
        start, end = real[variable].detach().to(dtype), fake[variable].detach().to(dtype)
        inputs[local] = torch.lerp(start, end, coefficient).requires_grad_()
    row = game.discriminator.name
    logits = critic_logits(model, penalty.evaluation, row, penalty.rows, inputs, noise, Mode.FROZEN)
    return gradient_penalty(torch.autograd.grad(logits.sum(), list(inputs.values()), create_graph=True))


def _add(now: _Moment, gradients: Gradients, objective: ObjectivePlan, found: Sequence[Tensor | None]) -> None:
    """Add one objective's gradients, listed for all its networks, to those of each network."""
    rest = iter(found)
    for name in objective.networks:
        owned = now.parameters([name])
        new = [next(rest) for _ in owned]
        if not owned:
            continue
        if all(gradient is None for gradient in new):
            raise RunError(
                f"no gradient of {', '.join(objective.games)} reaches `{name}`, although the plan has a path; "
                "this is a bug"
            )
        filled = [torch.zeros_like(p) if g is None else g for p, g in zip(owned, new, strict=True)]
        gradients[name] = list(torch._foreach_add(gradients[name], filled)) if name in gradients else filled


def _uses(plan: Plan, name: str, draw: Draw) -> dict[str, Tensor]:
    """How often each category is the most probable, and the mean entropy in nats, of every categorical row drawn."""
    values = {}
    for factor in plan.draw(name).factors:
        origin = factor.origin
        if not (isinstance(origin, FromNetwork) and factor.needed and factor.density.kind == "categorical"):
            continue
        rows = draw.rows[origin.evaluation.name]
        mean = factor.density.mean
        logits = (rows[f"{origin.row}.raw"] if mean is None else evaluate_input(mean, rows)).detach().flatten(1).float()
        log_probabilities = torch.log_softmax(logits, dim=1)
        chosen = torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
        values[f"{name}.{factor.variables[0]}/use"] = chosen.mean(0)
        values[f"{name}.{factor.variables[0]}/entropy"] = -(log_probabilities.exp() * log_probabilities).sum(1).mean()
    return values
