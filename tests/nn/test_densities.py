"""Densities of a factorization against torch.distributions, and eq. 19 against samples of the mixture itself."""

import dataclasses
import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, distributions

from ammgraph.nn.densities import factor_parameters, log_joint, log_prior
from ammgraph.nn.functions import normal_log
from ammgraph.nn.model import Model, draw_noise, one_hot, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.plan import BayesPlan, Plan

K = 3
PROBABILITIES = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([[0, 1], [2, -1], [-3, 0.5]], dtype=torch.float64)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def category(k: int, batch: int) -> Tensor:
    return one_hot(torch.full((batch,), k), K, torch.float64)


def bayes(*evidence: str) -> BayesPlan:
    return BayesPlan("y", "p", evidence)


def component(model: Model, k: int) -> distributions.Independent:
    """p(z|y = k), the components network by hand in eval mode."""
    rows = model.network("components").rows
    k1, k2, mu, sigma = (rows[f"row_{name}"] for name in ("k1", "k2", "z_mu", "z_sigma"))
    h = (k1.weight[:, k] - k1.running_mean) / torch.sqrt(k1.running_variance + 1e-5) * k1.gain + k1.shift
    h = torch.tanh(k2.weight @ torch.tanh(h) + k2.bias)
    mean, log_variance = mu.weight @ h + mu.bias, sigma.weight @ h + sigma.bias
    return distributions.Independent(distributions.Normal(mean.detach(), torch.exp(0.5 * log_variance).detach()), 1)


def second(model: Model, k: int, z: Tensor) -> distributions.Independent:
    """p(w|y = k, z), by hand; its variance is 1."""
    row = model.network("second").rows["row_w_mu"]
    read = torch.cat([torch.eye(K, dtype=torch.float64)[k].expand(len(z), K), z], 1)
    return distributions.Independent(distributions.Normal((read @ row.weight.T + row.bias).detach(), 1.0), 1)


def mixture(model: Model) -> distributions.MixtureSameFamily:
    """p(z) = sum_k p(y = k) p(z|y = k)."""
    parts = [component(model, k).base_dist for k in range(K)]
    means, scales = torch.stack([part.loc for part in parts]), torch.stack([part.scale for part in parts])
    components = distributions.Independent(distributions.Normal(means, scales), 1)
    return distributions.MixtureSameFamily(distributions.Categorical(PROBABILITIES), components)


# ------------------------------------------------------------------------------------------------------------ densities


def test_the_density_of_a_standard_normal_at_its_mean() -> None:
    zero = torch.zeros(2, 5)
    assert normal_log(zero, zero, zero).tolist() == pytest.approx([-2.5 * math.log(2 * math.pi)] * 2)


def test_the_normal_density_is_that_of_torch_distributions() -> None:
    value, mean, log_variance = normal(7, 3), normal(7, 3, seed=2), normal(7, 3, seed=3)
    expected = distributions.Normal(mean, torch.exp(0.5 * log_variance)).log_prob(value).sum(1)
    assert torch.allclose(normal_log(mean, log_variance, value), expected)
    assert torch.allclose(normal_log(mean[:1], log_variance[:1], value)[0], expected[0])


@pytest.mark.parametrize("k", range(K))
def test_a_network_s_factor_has_the_mean_and_log_variance_of_its_rows_in_eval_mode(
    small_plan: Plan, small_model: Model, k: int
) -> None:
    factor = small_plan.draw("p").factor_of("z")
    mean, log_variance = factor_parameters(small_model, factor, {"y": category(k, 2)}, 2)
    expected = component(small_model, k).base_dist
    assert torch.allclose(mean, expected.loc.expand(2, -1))
    assert torch.allclose(log_variance, 2 * torch.log(expected.scale).expand(2, -1))


def test_a_factor_given_two_variables_reads_both(small_plan: Plan, small_model: Model) -> None:
    z = normal(4, 2)
    given = {"y": category(1, 4), "z": z[:, :, None, None]}
    mean, log_variance = factor_parameters(small_model, small_plan.draw("p").factor_of("w"), given, 4)
    assert torch.allclose(mean, second(small_model, 1, z).mean)
    assert torch.equal(log_variance, torch.zeros(4, 2, dtype=torch.float64))


@pytest.mark.parametrize("k", range(K))
def test_a_fixed_mixture_s_factor_has_its_mean_and_scale(small_plan: Plan, small_model: Model, k: int) -> None:
    factor = small_plan.draw("p").factor_of("v")
    mean, log_variance = factor_parameters(small_model.float(), factor, {"y": category(k, 1).float()}, 1)
    assert mean.tolist() == [MEANS[k].tolist()]
    assert log_variance.tolist()[0] == pytest.approx([2 * math.log(0.5)] * 2)


def test_the_log_prior_is_the_log_of_the_probabilities(small_plan: Plan, small_model: Model) -> None:
    assert torch.allclose(log_prior(small_model, small_plan.draw("p"), "y"), torch.log(PROBABILITIES))


# --------------------------------------------------------------------------------------------------------------- eq. 19


def test_the_log_joint_is_log_likelihood_plus_log_prior(small_plan: Plan, small_model: Model) -> None:
    z = normal(6, 2)
    found = log_joint(small_model, small_plan, bayes("z"), {"z": z[:, :, None, None]})
    expected = [component(small_model, k).log_prob(z) + torch.log(PROBABILITIES[k]) for k in range(K)]
    assert torch.allclose(found, torch.stack(expected, 1))


def test_the_log_joint_sums_to_the_mixture_s_density(small_plan: Plan, small_model: Model) -> None:
    z = normal(6, 2)
    found = log_joint(small_model, small_plan, bayes("z"), {"z": z[:, :, None, None]}).logsumexp(1)
    assert torch.allclose(found, mixture(small_model).log_prob(z))


def test_evidence_of_several_variables_multiplies(small_plan: Plan, small_model: Model) -> None:
    z, w, v = normal(6, 2), normal(6, 2, seed=2), normal(6, 2, seed=3)
    values = {name: value[:, :, None, None] for name, value in (("z", z), ("w", w), ("v", v))}
    found = log_joint(small_model, small_plan, bayes("z", "w", "v"), values)
    for k in range(K):
        expected = (
            component(small_model, k).log_prob(z)
            + second(small_model, k, z).log_prob(w)
            + distributions.Normal(MEANS[k], 0.5).log_prob(v).sum(1)
            + torch.log(PROBABILITIES[k])
        )
        assert torch.allclose(found[:, k], expected)


def test_the_plan_finds_all_the_evidence_there_is(small_plan: Plan) -> None:
    (readout,) = small_plan.readouts
    assert readout.bayes is not None
    assert set(readout.bayes.evidence) == {"z", "w", "v"}


def sampled(plan: Plan, model: Model, count: int) -> Mapping[str, Tensor]:
    """Many samples of p with networks in eval mode: exactly the mixture that eq. 19 speaks of."""
    generator, cpu = torch.Generator().manual_seed(0), torch.device("cpu")
    sites = [dataclasses.replace(site, batch=count) for site in plan.turns[0].sites if site.name.startswith("p/")]
    noise = {site.name: draw_noise(site, generator, cpu, torch.float64) for site in sites}
    with torch.no_grad():
        return sample_draw(model, plan.draw("p"), {}, noise, Mode.EVAL, batch=count).samples


@pytest.mark.parametrize("evidence", [("z",), ("v",), ("z", "w"), ("z", "w", "v")], ids=",".join)
def test_the_posterior_is_calibrated_on_samples_of_the_mixture(
    small_plan: Plan, small_model: Model, evidence: tuple[str, ...]
) -> None:
    """Where the posterior says p, category k was drawn with frequency p: in every fifth of the samples, for every k."""
    samples = sampled(small_plan, small_model, 20_000)
    posterior = torch.softmax(log_joint(small_model, small_plan, bayes(*evidence), samples), 1).detach()
    y = samples["y"].flatten(1)
    for k in range(K):
        for group in posterior[:, k].argsort().chunk(5):
            said, was = posterior[group, k], y[group, k]
            error = (said * (1 - said)).sum().sqrt() / len(group)
            assert abs((said - was).mean()) < 4 * error + 1e-3


def test_the_classifier_of_eq_19_errs_as_often_as_bayes_rule_must(small_plan: Plan, small_model: Model) -> None:
    samples = sampled(small_plan, small_model, 20_000)
    joint = log_joint(small_model, small_plan, bayes("v"), samples)
    right = (joint.argmax(1) == samples["y"].flatten(1).argmax(1)).double().mean().item()
    assert right == pytest.approx(torch.softmax(joint, 1).amax(1).mean().item(), abs=0.01)
    assert right > 0.9  # means at distances of 2.8 and more, scale 0.5


def test_densities_leave_running_statistics_and_need_no_noise(small_plan: Plan, small_model: Model) -> None:
    before = {name: tensor.clone() for name, tensor in small_model.named_buffers()}
    log_joint(small_model, small_plan, bayes("z"), {"z": normal(6, 2)[:, :, None, None]})
    assert all(torch.equal(before[name], tensor) for name, tensor in small_model.named_buffers())
