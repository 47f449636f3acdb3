"""One backward pass through a discriminator for both players finds what two find, also where it is sure."""

from collections.abc import Mapping

import pytest
import torch
from one_step import GENERATORS, SPEC, Step
from plain_objectives import OBJECTIVES, gradient_penalty, squared_norms
from torch import Tensor

from ammgraph.nn.model import critic_logits, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.turns import GamePlan
from ammgraph.train.legs import away_from_zero

PENALTIES = ["none", "gradient_penalty", "roth_penalty", "r1_penalty"]
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
TWO_DISCRIMINATORS = SPEC.replace(
    "  critic:\n",
    """  second:
    layers:
      h: {input: x | z, op: linear, channels: 5, activation: leaky_relu 0.2}
      d: {input: h, op: linear, channels: 1, dropout: 0.25}
  critic:
""",
).replace(
    "training:\n", "  of_xz: {match: [q, p], discriminator: second.d, objective: least_squares, weight: 2}\ntraining:\n"
)


def with_penalty(kind: str, game: str = "joint") -> list[str]:
    return (
        [] if kind == "none" else [f"games.{game}.{kind}={{{'lambda' if kind == 'gradient_penalty' else 'gamma'}: 3}}"]
    )


def two_passes(step: Step) -> dict[str, list[Tensor]]:
    """The same gradients as people write them: each player's whole loss, differentiated from end to end."""
    model, plan = step.model, step.plan
    draws = {}
    for draw in plan.draws:
        draws[draw.name] = sample_draw(model, draw, step.data.get(draw.name, {}), step.noise, Mode.TRAIN, draws)
    against: dict[str, list[Tensor]] = {}
    sides = []
    for game in plan.games:
        reads = dict(game.reads)
        real, fake = ({n: draws[side[0][1]].samples[v] for n, v in reads.items()} for side in (game.real, game.fake))
        objective, weight = OBJECTIVES[game.objective], game.weight.at(0)
        held = [{name: value.detach() for name, value in side.items()} for side in (real, fake)]
        d_real, d_fake = logits(step, game, *held)
        loss = objective.discriminator_real(d_real).mean() + objective.discriminator_fake(d_fake).mean()
        for penalty in game.penalties:
            loss = loss + penalty.weight.at(0) * penalty_of(step, game, penalty.kind, *held)
        against.setdefault(game.discriminator.owner, []).append(weight * loss)
        d_real, d_fake = logits(step, game, real, fake)
        sides.append(weight * (objective.generator_real(d_real).mean() + objective.generator_fake(d_fake).mean()))
    gradients = {}
    for name, losses in against.items():
        gradients[name] = list(torch.autograd.grad(torch.stack(losses).sum(), step.parameters([name])))
    for name in GENERATORS:
        found = torch.autograd.grad(torch.stack(sides).sum(), step.parameters([name]), retain_graph=True)
        gradients[name] = list(found)
    return gradients


def logits(step: Step, game: GamePlan, real: Mapping[str, Tensor], fake: Mapping[str, Tensor]) -> list[Tensor]:
    """Every discriminator's pass of the test specs joins q and p, in this order."""
    critic = next(critic for critic in step.plan.turns[0].passes if (game.name, "real") in critic.sides)
    inputs = {name: torch.cat([real[name], fake[name]]) for name in real}
    joint = critic_logits(step.model, critic, inputs, step.noise, Mode.FROZEN)
    return list(joint.chunk(2))


def penalty_of(step: Step, game: GamePlan, kind: str, real: Mapping[str, Tensor], fake: Mapping[str, Tensor]) -> Tensor:
    if kind == "gradient_penalty":
        turn = step.plan.turns[0]
        places = turn.loss(f"{game.name}/gradient_penalty").sloped
        (between,) = (found for found in turn.passes_of("between") if found.evaluation.name in places)
        a = step.noise[f"{between.evaluation.name}/coefficient"]
        inputs = {name: (real[name] + a * (fake[name] - real[name])).requires_grad_() for name in real}
        d = critic_logits(step.model, between, inputs, step.noise, Mode.FROZEN)
        return gradient_penalty(torch.autograd.grad(d.sum(), list(inputs.values()), create_graph=True))
    leaves = [value.requires_grad_() for side in (real, fake) for value in side.values()]
    d_real, d_fake = logits(step, game, real, fake)
    found = torch.autograd.grad(d_real.sum() + d_fake.sum(), leaves, create_graph=True)
    of_real, of_fake = squared_norms(found[: len(real)]), squared_norms(found[len(real) :])
    if kind == "r1_penalty":
        return 0.5 * of_real.mean()
    sure = (torch.sigmoid(-d_real) ** 2 * of_real).mean() + (torch.sigmoid(d_fake) ** 2 * of_fake).mean()
    return 0.5 * sure


def deviation(found: Mapping[str, list[Tensor]], expected: Mapping[str, list[Tensor]]) -> float:
    """The largest error of a tensor, relative to the tensor's largest element."""
    assert set(found) == set(expected)
    pairs = [(a, b) for name in expected for a, b in zip(found[name], expected[name], strict=True)]
    return max(((a - b).abs().max() / b.abs().max().clamp(min=1e-30)).item() for a, b in pairs)


def made_sure(step: Step, factor: float) -> None:
    """Multiply the discriminator's logits."""
    with torch.no_grad():
        for parameter in step.model.network("critic").rows["row_p"].parameters():
            parameter.mul_(factor)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", PENALTIES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_one_pass_for_both_players_finds_what_two_passes_find(objective: str, kind: str, dtype: torch.dtype) -> None:
    step = Step(f"games.joint.objective={objective}", *with_penalty(kind), dtype=dtype)
    assert deviation(step.take().gradients, two_passes(step)) < TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("kind", PENALTIES)
def test_two_discriminators_of_the_same_samples(kind: str, dtype: torch.dtype) -> None:
    step = Step(*with_penalty(kind), *with_penalty(kind, "of_xz"), text=TWO_DISCRIMINATORS, dtype=dtype)
    assert deviation(step.take().gradients, two_passes(step)) < TOLERANCE[dtype]


@pytest.mark.parametrize("kind", PENALTIES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_batch_statistics_in_the_discriminator_take_a_pass_for_each_player(objective: str, kind: str) -> None:
    overrides = ("networks.critic.layers.of_x.batchnorm=true", f"games.joint.objective={objective}")
    step = Step(*overrides, *with_penalty(kind))
    assert deviation(step.take().gradients, two_passes(step)) < 1e-10


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("factor", [1e1, 1e2, 1e3, 1e5])
@pytest.mark.parametrize("kind", PENALTIES)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_discriminator_that_is_sure_still_tells_the_others_everything(
    objective: str, kind: str, factor: float, dtype: torch.dtype
) -> None:
    """Its own dL/dd underflows to 0 at logits of a hundred, while the others' is 1."""
    step = Step(f"games.joint.objective={objective}", *with_penalty(kind), dtype=dtype)
    made_sure(step, factor)
    found, expected = step.take().gradients, two_passes(step)
    assert all(gradient.isfinite().all() for owned in found.values() for gradient in owned)
    assert deviation(found, expected) < TOLERANCE[dtype]


def test_a_cotangent_of_zero_is_moved_by_less_than_rounding() -> None:
    for dtype in TOLERANCE:
        cotangent = torch.tensor([0.5, -0.5, 0.0, -0.0, 1e-30], dtype=dtype)
        moved = away_from_zero(cotangent)
        assert torch.equal(moved[:2], cotangent[:2])
        assert torch.equal(moved.sign(), torch.tensor([1, -1, 1, -1, 1], dtype=dtype))
        assert torch.equal(1 + moved[2:], torch.ones(3, dtype=dtype))
        assert torch.isfinite(1 / moved).all()
