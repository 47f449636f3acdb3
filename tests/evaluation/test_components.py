"""How far inferred latents are from the components: against `torch.distributions`, with and without covariances."""

import numpy as np
import pytest
import torch
from tiny import TINY, plan_of
from torch.distributions import MultivariateNormal, kl_divergence

from ammgraph.evaluation.components import measure_components
from ammgraph.evaluation.evaluate import Answers, Latents
from ammgraph.nn.densities import component_parameters
from ammgraph.nn.functions import scale_matrix
from ammgraph.nn.model import build
from ammgraph.plan.plan import Plan

COVARIANCES = "networks.components.layers.z_sigma={input: y, activation: cholesky}"


@torch.no_grad()
def components(plan: Plan) -> tuple[torch.nn.Module, MultivariateNormal]:
    """A model of random weights, and its p(z|y)."""
    model = build(plan, torch.Generator().manual_seed(0)).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(1))
    factor, size = plan.draw("p").factor_of("z"), plan.variable("y").shape[0]
    mean, spread = component_parameters(model, factor, size, torch.device("cpu"), torch.float64)
    return model, MultivariateNormal(mean, scale_tril=scale_matrix(mean, spread))


@pytest.mark.parametrize("full", [False, True])
def test_the_mismatch_is_the_divergence_of_normal_distributions_with_the_moments_of_latents(full: bool) -> None:
    plan = plan_of(TINY, *((COVARIANCES,) if full else ()))
    model, generated = components(plan)
    size, n = generated.loc.shape
    rng = np.random.default_rng(0)
    chosen, mean = rng.integers(0, size - 1, 300), rng.normal(size=(300, n)) @ rng.normal(size=(n, n))
    variance = rng.uniform(0.1, 2, (300, n))
    spread = variance[:, :, None] * np.eye(n) if full else variance
    latents = Latents(np.zeros(size), np.zeros((size, n)), np.zeros((size, *spread.shape[1:])))
    for part in np.split(np.arange(300), 3):
        latents.add(chosen[part], mean[part], spread[part])
    answers = Answers({("y", "posterior"): np.zeros((300, size))}, {}, {"y": [latents]})
    (found,) = (
        result
        for result in measure_components(model, plan, plan.readouts[0], "test", answers)
        if result.name == "latent_mismatch"
    )
    expected = 0.0
    for category in range(size - 1):  # the last one has no image
        own = chosen == category
        covariance = np.cov(mean[own].T, bias=True) + np.diag(variance[own].mean(0))
        covariance = covariance if full else np.diag(np.diag(covariance))
        inferred = MultivariateNormal(*map(torch.from_numpy, (mean[own].mean(0), covariance)))
        one = MultivariateNormal(generated.loc[category], generated.covariance_matrix[category])
        expected += own.mean() * float(kl_divergence(inferred, one)) / n
    assert found.value == pytest.approx(expected, rel=1e-8)
