"""Samples of a declared distribution have its declared conditionals; how draws are shared, given and joined."""

import dataclasses
import math

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from ammgraph.nn.model import Draw, Model, critic_inputs, critic_logits, draw_noise, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.draws import DrawPlan, FromNetwork
from ammgraph.plan.plan import Plan

COUNT = 40_000


def noise_for(plan: Plan, draw: DrawPlan, count: int, seed: int = 0) -> dict[str, Tensor]:
    """The random tensors of a draw, `count` examples of each."""
    generator = torch.Generator().manual_seed(seed)
    sites = [site for site in plan.turns[0].sites if site.name.startswith(f"{draw.name}/")]
    resized = [dataclasses.replace(site, batch=count) for site in sites]
    return {site.name: draw_noise(site, generator, torch.device("cpu"), torch.float64) for site in resized}


def sampled(plan: Plan, model: Model, name: str, mode: Mode = Mode.EVAL, x: Tensor | None = None) -> Draw:
    """A large draw, with noise; in eval mode its networks are fixed functions."""
    draw = plan.draw(name)
    data = {} if x is None else {"x": x}
    with torch.no_grad():
        return sample_draw(model, draw, data, noise_for(plan, draw, COUNT), mode, batch=COUNT)


def flat(draw: Draw, variable: str) -> Tensor:
    return draw.samples[variable].flatten(1)


def is_normal(sample: Tensor) -> bool:
    """Every column, by Kolmogorov and Smirnov; and no two columns are correlated."""
    columns = all(stats.kstest(column.numpy(), "norm").pvalue > 1e-4 for column in sample.T)
    correlation = torch.corrcoef(sample.T) - torch.eye(sample.shape[1])
    return columns and bool((correlation.abs() < 4.5 / math.sqrt(len(sample))).all())


@pytest.fixture
def p(small_plan: Plan, small_model: Model) -> Draw:
    return sampled(small_plan, small_model, "p")


def linear(model: Model, network: str, row: str, read: Tensor) -> Tensor:
    """A linear row by hand."""
    weights = model.network(network).rows[f"row_{row}"]
    return (read @ weights.weight.T + weights.bias).detach()


# ----------------------------------------------------------------------------------------------------------- synthesis


def test_every_variable_of_a_draw_has_one_sample_of_its_shape(small_plan: Plan, p: Draw) -> None:
    assert set(p.samples) == {variable.name for variable in small_plan.variables}
    for variable in small_plan.variables:
        assert p.samples[variable.name].shape == (COUNT, *variable.shape)


def test_categories_come_as_often_as_declared(p: Draw) -> None:
    counts = flat(p, "y").sum(0).numpy()
    assert stats.chisquare(counts, [0.5 * COUNT, 0.3 * COUNT, 0.2 * COUNT]).pvalue > 1e-3


def test_a_network_s_normal_has_its_mean_and_variance_in_every_component(p: Draw, small_model: Model) -> None:
    norm = small_model.network("components").rows["row_k1"]
    for k in range(3):
        k1 = norm.weight[:, k]  # no bias before batch norm
        k1 = torch.tanh((k1 - norm.running_mean) / torch.sqrt(norm.running_variance + 1e-5) * norm.gain + norm.shift)
        k2 = torch.tanh(linear(small_model, "components", "k2", k1[None]))
        mean = linear(small_model, "components", "z_mu", k2)
        deviation = torch.exp(0.5 * linear(small_model, "components", "z_sigma", k2))
        z = flat(p, "z")[flat(p, "y")[:, k] == 1]
        assert is_normal((z - mean) / deviation)


def test_a_normal_given_two_variables_has_the_mean_that_both_decide(p: Draw, small_model: Model) -> None:
    mean = linear(small_model, "second", "w_mu", torch.cat([flat(p, "y"), flat(p, "z")], 1))
    assert is_normal(flat(p, "w") - mean)  # w_sigma is ExpN of zeros: variance 1


def test_a_fixed_mixture_has_its_means_and_its_scale(p: Draw) -> None:
    means = torch.tensor([[0, 1], [2, -1], [-3, 0.5]], dtype=torch.float64)
    assert is_normal((flat(p, "v") - flat(p, "y") @ means) / 0.5)


def test_real_priors_have_their_distribution(p: Draw) -> None:
    assert all(stats.kstest(column.numpy(), "uniform", (-1, 4)).pvalue > 1e-4 for column in flat(p, "u").T)
    assert is_normal((flat(p, "n") - 2) / 0.5)


def test_a_deterministic_factor_is_its_network_at_the_drawn_samples(p: Draw, small_model: Model) -> None:
    weights = small_model.network("decoder").rows["row_x"]
    read = torch.cat([p.samples[name] for name in "yzwvun"], 1)
    assert torch.allclose(p.samples["x"], torch.sigmoid(F.conv_transpose2d(read, weights.weight, weights.bias)))


# ----------------------------------------------------------------------------------------------------------- inference


@pytest.fixture
def one_image() -> Tensor:
    x = torch.tensor([0.1, 0.9, 0.4, 0.7], dtype=torch.float64)
    return x.reshape(1, 1, 2, 2).expand(COUNT, -1, -1, -1)


def test_the_largest_of_a_gumbel_softmax_is_a_sample_of_the_softmax(
    small_plan: Plan, small_model: Model, one_image: Tensor
) -> None:
    q = sampled(small_plan, small_model, "q", Mode.TRAIN, one_image)
    h = torch.tanh(linear(small_model, "encoder", "h", one_image[:1].flatten(1)))
    probabilities = torch.softmax(linear(small_model, "encoder", "y_logits", h), 1)[0]
    counts = torch.bincount(flat(q, "y").argmax(1), minlength=3).numpy()
    assert stats.chisquare(counts, COUNT * probabilities.numpy()).pvalue > 1e-3


def test_z_of_q1_is_normal_about_a_mean_that_reads_the_sampled_y(
    small_plan: Plan, small_model: Model, one_image: Tensor
) -> None:
    q = sampled(small_plan, small_model, "q", Mode.TRAIN, one_image)
    h = torch.tanh(linear(small_model, "encoder", "h", one_image.flatten(1)))
    mean = linear(small_model, "encoder", "z_mu", torch.cat([h, flat(q, "y")], 1))
    deviation = torch.exp(0.5 * linear(small_model, "encoder", "z_sigma", h))
    assert is_normal((flat(q, "z") - mean) / deviation)


def test_data_is_passed_on_as_it_is(small_plan: Plan, small_model: Model, one_image: Tensor) -> None:
    assert sampled(small_plan, small_model, "q", Mode.TRAIN, one_image).samples["x"] is one_image


def test_without_noise_inference_gives_the_mean(small_plan: Plan, small_model: Model, one_image: Tensor) -> None:
    q = sample_draw(small_model, small_plan.draw("q"), {"x": one_image[:1]}, {}, Mode.EVAL, batch=1)
    h = torch.tanh(linear(small_model, "encoder", "h", one_image[:1].flatten(1)))
    y = torch.softmax(linear(small_model, "encoder", "y_logits", h) / 0.1, 1)
    assert torch.allclose(flat(q, "y"), y)
    assert torch.allclose(flat(q, "z"), linear(small_model, "encoder", "z_mu", torch.cat([h, y], 1)))


# ------------------------------------------------------------------------------------------------- given, only, shared


def test_a_given_variable_is_not_drawn_and_everything_after_it_reads_it(small_plan: Plan, small_model: Model) -> None:
    draw = small_plan.draw("p")
    noise = noise_for(small_plan, draw, 2)
    y = torch.eye(3, dtype=torch.float64)[[2, 2]][:, :, None, None]
    given = sample_draw(small_model, draw, {}, noise, Mode.EVAL, given={"y": y}, batch=2)
    assert given.samples["y"] is y
    noise["p/y"] = torch.tensor([0.9, 0.9], dtype=torch.float64)  # the same category, by lot
    by_lot = sample_draw(small_model, draw, {}, noise, Mode.EVAL, batch=2)
    assert all(torch.equal(given.samples[name], by_lot.samples[name]) for name in "yzwvunx")


def test_only_the_variables_asked_for_are_drawn(small_plan: Plan, small_model: Model) -> None:
    draw = small_plan.draw("p")
    noise = noise_for(small_plan, draw, 2)
    found = sample_draw(small_model, draw, {}, noise, Mode.EVAL, only=frozenset("yz"), batch=2)
    assert set(found.samples) == {"y", "z"}


def test_factors_of_one_network_share_one_evaluation(small_plan: Plan) -> None:
    """`h` is computed once for y, z, w, v, u and n: rows already there are in no later factor's list."""
    origins = [factor.origin for factor in small_plan.draw("q").factors]
    rows = [row for origin in origins if isinstance(origin, FromNetwork) for row in origin.rows]
    assert sorted(rows) == sorted(set(rows))
    assert rows.count("h") == 1


def test_the_gradient_goes_through_a_sample_to_whatever_drew_it(small_plan: Plan, small_model: Model) -> None:
    draw = small_plan.draw("p")
    x = sample_draw(small_model, draw, {}, noise_for(small_plan, draw, 4), Mode.TRAIN).samples["x"]
    for network in ("components", "second", "decoder"):
        for gradient in torch.autograd.grad(
            x.sum(), list(small_model.network(network).parameters()), retain_graph=True
        ):
            assert gradient.abs().sum() > 0


def test_a_discriminator_reads_its_draws_one_after_another(
    small_plan: Plan, small_model: Model, one_image: Tensor
) -> None:
    plan, (critic,) = small_plan, small_plan.turns[0].passes_of("scored")
    draws = {}
    for name, data in (("q", {"x": one_image[:4]}), ("p", {})):
        draw = plan.draw(name)
        draws[name] = sample_draw(small_model, draw, data, noise_for(plan, draw, 4), Mode.FROZEN)
    joint = critic_inputs(critic, draws)
    assert critic.draws == ("q", "p")
    assert all(torch.equal(joint[v], torch.cat([draws["q"].samples[v], draws["p"].samples[v]])) for v in joint)
    logits = critic_logits(small_model, critic, joint, {}, Mode.TRAIN)
    assert logits.shape == (8,)
    of_x = linear(small_model, "critic", "of_x", joint["x"].flatten(1))
    read = torch.cat([of_x, *(joint[v].flatten(1) for v in "yzwvun")], 1)
    assert torch.allclose(logits, linear(small_model, "critic", "p", read).flatten())


def test_every_random_tensor_of_a_draw_is_a_site_of_the_step(small_plan: Plan) -> None:
    names = [site.name for site in small_plan.turns[0].sites]
    assert sorted(names) == sorted(
        [
            "q/encoder/y.gumbel",
            "q/encoder/z_sigma.eps",
            "p/y",
            "p/components/k2.mask",
            "p/components/z_sigma.eps",
            "p/second/w_sigma.eps",
            "p/v",
            "p/u",
            "p/n",
        ]
    )
