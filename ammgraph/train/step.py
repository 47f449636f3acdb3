"""One turn of training: draw, pass the discriminators, take every gradient at that point. Pure: all noise is handed in.

The forward pass is shared by both players; each set of networks that minimises the same sum of games takes one backward
pass, in which only its own parameters' gradients are computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError
from ammgraph.graph.plan import CriticPass, FromNetwork, GamePlan, PenaltyPlan, Plan, TurnPlan
from ammgraph.nn.model import Draw, Model, Tensors, critic_inputs, critic_logits, sample_draw
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


@dataclass(frozen=True)
class Outcome:
    """What a turn found: gradients by network, in the order of its parameters, and values to log, all on the device."""

    gradients: dict[str, list[Tensor]]
    values: dict[str, Tensor]


@dataclass(frozen=True)
class _Pass:
    """Logits of one discriminator pass, by draw, and the inputs they came from where a penalty needs them."""

    plan: CriticPass
    logits: dict[str, Tensor]
    inputs: dict[str, Tensor]
    joint: Tensor


def take_turn(
    model: Model, plan: Plan, turn: TurnPlan, data: Mapping[str, Tensors], noise: Tensors, epoch: float
) -> Outcome:
    """The gradients of one turn, all taken at the same point (Algorithm 1).

    Args:
        model: the networks; only their running statistics are changed.
        plan: the compiled spec.
        turn: the turn to take.
        data: draw -> variable -> tensor, for the factors that come from data.
        noise: random tensors by site, every site of the turn.
        epoch: for weights that change with time.
    """
    moves_samples = any(objective.role == "generator" for objective in turn.objectives)
    draws: dict[str, Draw] = {}
    with torch.set_grad_enabled(moves_samples):
        for name in turn.draws:
            draws[name] = sample_draw(model, plan.draw(name), data.get(name, {}), noise, Mode.TRAIN, draws)
    games = [plan.game(name) for name in turn.games]
    passes = [_pass(model, critic, draws, noise, games) for critic in turn.passes]
    values: dict[str, Tensor] = {}
    scalars = {}
    for game in games:
        scalars[game.name] = _losses(model, game, passes, draws, noise, epoch, values)
    gradients = _gradients(model, turn, scalars)
    values |= gradient_norms(gradients)
    values |= _uses(plan, draws)
    return Outcome(gradients, {name: value.detach() for name, value in values.items()})


def gradient_norms(gradients: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    """||g||_2 of each network's gradient over all of its parameters."""
    return {
        f"{network}/gradient_norm": torch.linalg.vector_norm(torch.stack(torch._foreach_norm(found)))
        for network, found in gradients.items()
    }


def _pass(model: Model, critic: CriticPass, draws: Mapping[str, Draw], noise: Tensors, games: list[GamePlan]) -> _Pass:
    inputs = critic_inputs(critic, draws)
    names = {name for name, _ in critic.sides}
    if any(penalty.evaluation is None for game in games if game.name in names for penalty in game.penalties):
        inputs = {local: value if value.requires_grad else value.requires_grad_() for local, value in inputs.items()}
    joint = critic_logits(model, critic.evaluation, critic.row, critic.rows, inputs, noise, Mode.TRAIN)
    parts = joint.split([draws[name].batch for name in critic.draws])
    return _Pass(critic, dict(zip(critic.draws, parts, strict=True)), inputs, joint)


def _losses(
    model: Model,
    game: GamePlan,
    passes: list[_Pass],
    draws: Mapping[str, Draw],
    noise: Tensors,
    epoch: float,
    values: dict[str, Tensor],
) -> tuple[Tensor, Tensor]:
    """(what the discriminator minimises, what the sides' networks minimise), the game's weight included."""
    found: dict[str, _Pass] = {
        side: critic for critic in passes for name, side in critic.plan.sides if name == game.name
    }
    real = [(weight, found["real"].logits[draw]) for weight, draw in game.real]
    fake = [(weight, found["fake"].logits[draw]) for weight, draw in game.fake]
    objective = OBJECTIVES[game.objective]
    against = discriminator_loss(objective, real, fake)
    sides = generator_loss(objective, real, fake)
    values[f"{game.name}/discriminator"] = against
    values[f"{game.name}/generator"] = sides
    hits = [(logits > 0).float().mean() for _, logits in real] + [(logits < 0).float().mean() for _, logits in fake]
    values[f"{game.name}/accuracy"] = torch.stack(hits).mean()
    weight = game.weight.at(epoch)
    for penalty in game.penalties:
        value = _penalty(model, game, penalty, found, draws, noise)
        values[f"{game.name}/{penalty.kind}"] = value
        against = against + penalty.weight.at(epoch) * value
    return weight * against, weight * sides


def _penalty(
    model: Model,
    game: GamePlan,
    penalty: PenaltyPlan,
    passes: Mapping[str, _Pass],
    draws: Mapping[str, Draw],
    noise: Tensors,
) -> Tensor:
    if penalty.kind == "gradient_penalty":
        return _interpolated_penalty(model, game, penalty, draws, noise)
    real = _norms(passes["real"], [draw for _, draw in game.real])
    if penalty.kind == "r1_penalty":
        return r1_penalty([(weight, real[draw][1]) for weight, draw in game.real])
    fake = _norms(passes["fake"], [draw for _, draw in game.fake])
    return roth_penalty(
        [(weight, *real[draw]) for weight, draw in game.real], [(weight, *fake[draw]) for weight, draw in game.fake]
    )


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


def _norms(critic: _Pass, wanted: list[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Logits and squared gradient norms of the loss's own pass, by draw."""
    gradients = torch.autograd.grad(critic.joint.sum(), list(critic.inputs.values()), create_graph=True)
    sizes = [len(critic.logits[draw]) for draw in critic.plan.draws]
    norms = dict(zip(critic.plan.draws, squared_norms(gradients).split(sizes), strict=True))
    return {draw: (critic.logits[draw], norms[draw]) for draw in wanted}


def _gradients(model: Model, turn: TurnPlan, scalars: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, list[Tensor]]:
    gradients: dict[str, list[Tensor]] = {}
    for index, objective in enumerate(turn.objectives):
        loss = torch.stack([scalars[game][objective.role == "generator"] for game in objective.games]).sum()
        parameters = {name: list(model.network(name).parameters()) for name in objective.networks}
        flat = [parameter for owned in parameters.values() for parameter in owned]
        last = index == len(turn.objectives) - 1
        found = iter(torch.autograd.grad(loss, flat, retain_graph=not last, allow_unused=True))
        for name, owned in parameters.items():
            new = [next(found) for _ in owned]
            if owned and all(gradient is None for gradient in new):
                raise RunError(
                    f"no gradient of {', '.join(objective.games)} reaches `{name}`, although the plan has a path; "
                    "this is a bug"
                )
            filled = [torch.zeros_like(p) if g is None else g for p, g in zip(owned, new, strict=True)]
            earlier = gradients.get(name)
            gradients[name] = filled if earlier is None else [a + b for a, b in zip(earlier, filled, strict=True)]
    return {name: found for name, found in gradients.items() if found}


def _uses(plan: Plan, draws: Mapping[str, Draw]) -> dict[str, Tensor]:
    """How often each category is the most probable, and the mean entropy in nats, of every categorical row drawn."""
    values = {}
    for name, draw in draws.items():
        for factor in plan.draw(name).factors:
            origin = factor.origin
            if not (isinstance(origin, FromNetwork) and factor.needed and factor.density.kind == "categorical"):
                continue
            rows = draw.rows[origin.evaluation.name]
            mean = factor.density.mean
            logits = (
                (rows[f"{origin.row}.raw"] if mean is None else evaluate_input(mean, rows)).detach().flatten(1).float()
            )
            log_probabilities = torch.log_softmax(logits, dim=1)
            chosen = torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
            values[f"{name}.{factor.variables[0]}/use"] = chosen.mean(0)
            values[f"{name}.{factor.variables[0]}/entropy"] = (
                -(log_probabilities.exp() * log_probabilities).sum(1).mean()
            )
    return values
