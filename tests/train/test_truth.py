"""What theory says of a game of known densities, reached by training: log 4 for equal sides, else log 4 - 2 JSD.

q = N(0, 1) and p = N(m, 1): the best logit is d*(z) = log q(z) / p(z) = m^2 / 2 - m z, which a linear row can be.
"""

import math

import pytest
import torch
from plain_objectives import JENSEN_SHANNON, MINIMAX, discriminator_loss, generator_loss
from tiny import CPU, TINY, data_of, plan_of, trainer_of
from torch import Tensor

from ammgraph.compiler.compile import compile_spec
from ammgraph.nn.model import Model, build, draw_noise
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_text
from ammgraph.train.step import take_turn
from ammgraph.train.streams import PURPOSES, Feed, Noise, stream_seed

SAMPLES = 200_000
SPEC = """
ammgraph: 1
data: {dataset: digits}
variables: {z: {type: real, size: 1}}
networks: {critic: {layers: {d: {input: z, channels: 1, width: 1}}}}
distributions:
  q: {q(z): normal}
  p: {p(z): "normal(MEAN, 1)"}
games: {joint: {match: [q, p], discriminator: critic.d, objective: jensen_shannon}}
training:
  batch_size: 2000
  steps: 1
  optimizers: {default: {name: adam, learning_rate: 0.05}}
"""


def density_plan(mean: float, batch: int) -> Plan:
    return compile_spec(load_text(SPEC.replace("MEAN", str(mean)), overrides=[f"training.batch_size={batch}"]))


def jensen_shannon_divergence(mean: float) -> float:
    """Of N(0, 1) and N(mean, 1), in nats, by the trapezoid rule."""
    z = torch.linspace(-12, 12 + mean, 200_001, dtype=torch.float64)
    q, p = (torch.exp(-0.5 * (z - m) ** 2) / math.sqrt(2 * math.pi) for m in (0.0, mean))
    middle = (q + p) / 2
    terms = [torch.xlogy(side, side) - torch.xlogy(side, middle) for side in (q, p)]
    return 0.5 * float(torch.trapezoid(terms[0] + terms[1], z))


def samples(mean: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    q, p = torch.randn(2, SAMPLES, generator=generator, dtype=torch.float64)
    return q, p + mean


def trained(mean: float) -> Model:
    """The discriminator after 400 of its steps, each on new samples."""
    plan, generator = density_plan(mean, 2000), torch.Generator().manual_seed(0)
    model = build(plan, generator)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 400)
        gradients = step_of(plan, model, generator)[1]
        for parameter, gradient in zip(model.parameters(), gradients["critic"], strict=True):
            parameter.grad = gradient
        optimizer.step()
    return model


def step_of(plan: Plan, model: Model, generator: torch.Generator) -> tuple[float, dict[str, list[Tensor]]]:
    (turn,) = plan.turns
    noise = {site.name: draw_noise(site, generator, CPU, torch.float32) for site in turn.sites}
    outcome = take_turn(model, plan, turn, {}, noise, epoch=0.0)
    return float(outcome.values["joint/discriminator"]), outcome.gradients


@pytest.mark.parametrize("mean", [0.0, 0.5, 1.5])
def test_a_trained_discriminator_reaches_log_4_minus_twice_the_divergence(mean: float) -> None:
    model = trained(mean)
    value, _ = step_of(density_plan(mean, SAMPLES), model, torch.Generator().manual_seed(7))
    expected = math.log(4) - 2 * jensen_shannon_divergence(mean)
    # A loss of one example has a standard deviation below 1 on either side; four standard errors of their sum.
    assert abs(value - expected) < 4 * math.sqrt(2 / SAMPLES)
    weight, bias = (float(parameter.detach()) for parameter in model.parameters())
    assert abs(weight + mean) < 0.05
    assert abs(bias - mean**2 / 2) < 0.05


def test_identical_sides_give_log_4_and_their_optimum_tells_nothing() -> None:
    value, gradients = step_of(density_plan(0.0, SAMPLES), trained(0.0), torch.Generator().manual_seed(3))
    assert abs(value - math.log(4)) < 0.001
    assert max(float(gradient.abs().max()) for gradient in gradients["critic"]) < 4 / math.sqrt(SAMPLES)


@pytest.mark.parametrize("mean", [0.0, 1.0, 3.0])
def test_at_the_optimal_logit_the_value_is_the_divergence_and_any_other_logit_pays_more(mean: float) -> None:
    q, p = samples(mean)

    def best(z: Tensor) -> Tensor:
        return mean**2 / 2 - mean * z

    def pays(change: float, scale: float) -> float:
        sides = ([(1.0, scale * best(side) + change)] for side in (q, p))
        return float(discriminator_loss(JENSEN_SHANNON, *sides))

    errors = [torch.nn.functional.softplus(sign * best(side)).std() for sign, side in ((-1, q), (1, p))]
    tolerance = 4 * float(torch.stack(errors).norm()) / math.sqrt(SAMPLES) + 1e-9
    assert abs(pays(0, 1) - (math.log(4) - 2 * jensen_shannon_divergence(mean))) < tolerance
    assert min(pays(0.3, 1), pays(-0.3, 1)) > pays(0, 1) + 0.001
    assert mean == 0 or min(pays(0, 0.5), pays(0, 1.5)) > pays(0, 1) + 0.001
    value = -float(generator_loss(MINIMAX, [(1.0, best(q))], [(1.0, best(p))]))
    assert value == pytest.approx(pays(0, 1))  # what the sides minimise is 2 JSD - log 4


def test_the_divergence_of_the_tests_is_right_where_it_is_known() -> None:
    assert jensen_shannon_divergence(0.0) == pytest.approx(0, abs=1e-12)
    assert jensen_shannon_divergence(20.0) == pytest.approx(math.log(2), abs=1e-9)


# ------------------------------------------------------------------------------------------------ streams


def test_another_order_of_data_leaves_weights_and_noise_as_they_are() -> None:
    plan, turn = plan_of(TINY), plan_of(TINY).turns[0]
    first, other = trainer_of(TINY, seed=3), trainer_of(TINY, seed=3)
    other.feed = Feed(plan, data_of(TINY), 4, CPU, torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), other.model.parameters(), strict=True))
    assert not torch.equal(first.feed.batches(turn)["q"]["x"], other.feed.batches(turn)["q"]["x"])
    noise, again = first.noise.of(turn), other.noise.of(turn)
    assert all(torch.equal(noise[name], again[name]) for name in noise)


def test_other_noise_leaves_the_order_of_data_as_it_is() -> None:
    turn = plan_of(TINY).turns[0]
    first, other = trainer_of(TINY, seed=3), trainer_of(TINY, seed=3)
    other.noise = Noise(plan_of(TINY), 4, CPU, torch.float32)
    for trainer in (first, other):
        trainer.advance()
    assert torch.equal(first.feed.batches(turn)["q"]["x"], other.feed.batches(turn)["q"]["x"])
    noise, others = first.noise.of(turn), other.noise.of(turn)
    assert not any(torch.equal(noise[name], others[name]) for name in noise)


def test_the_size_of_a_batch_moves_no_initial_weight_and_no_seed() -> None:
    small, large = trainer_of(TINY, "training.batch_size=10"), trainer_of(TINY, "training.batch_size=50")
    assert all(torch.equal(a, b) for a, b in zip(small.model.parameters(), large.model.parameters(), strict=True))
    shuffled = [trainer.feed._samplers["q/0"] for trainer in (small, large)]
    taken = [torch.cat([next(sampler) for _ in range(count)]) for sampler, count in zip(shuffled, (5, 1), strict=True)]
    assert torch.equal(*taken)  # the same permutation in smaller pieces


def test_streams_of_neighbouring_seeds_and_purposes_are_uncorrelated() -> None:
    drawn = [
        torch.randn(4000, generator=torch.Generator().manual_seed(stream_seed(seed, purpose)))
        for seed in (0, 1, 2)
        for purpose in PURPOSES
    ]
    correlations = torch.corrcoef(torch.stack(drawn)) - torch.eye(len(drawn))
    assert float(correlations.abs().max()) < 5 / math.sqrt(4000)


def test_a_resumed_trainer_takes_the_batches_and_the_noise_that_were_next() -> None:
    turn = plan_of(TINY).turns[0]
    through, stopped = trainer_of(TINY, seed=1), trainer_of(TINY, seed=1)
    for trainer in (through, stopped):
        for _ in range(3):
            trainer.advance()
    resumed = trainer_of(TINY, seed=99)
    resumed.load_state_dict(stopped.state_dict())
    assert torch.equal(through.feed.batches(turn)["q"]["x"], resumed.feed.batches(turn)["q"]["x"])
    noise, again = through.noise.of(turn), resumed.noise.of(turn)
    assert all(torch.equal(noise[name], again[name]) for name in noise)
