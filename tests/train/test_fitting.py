"""What is fitted between phases, against scikit-learn on codes of a formula of its own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from tiny import PHASES, data_of, plan_of, trainer_of
from torch import Tensor
from torch.nn import functional as F

from ammgraph.diagnostics import RunError
from ammgraph.evaluation.evaluate import evaluate
from ammgraph.nn.enumeration import in_evaluation
from ammgraph.nn.model import sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.turns import FitPlan
from ammgraph.train.fitting import mixture_columns
from ammgraph.train.streams import stream_seed
from ammgraph.train.trainer import Trainer

ROOT = Path(__file__).parents[2]
FIT = FitPlan("p(z|y)", "components", "z_mu", "z_sigma", "z", 3, "q")


def codes_by_hand(it: Trainer) -> Tensor:
    """The means of q(z|x) at all training images, without dropout: W2 leaky_relu(W1 x + b1) + b2."""
    encoder, images = it.model.network("encoder"), data_of(PHASES).train.images
    x = images.double().flatten(1) / 255
    first, second = encoder.row("h"), encoder.row("z_mu")
    assert first.weight is not None
    assert first.bias is not None
    assert second.weight is not None
    assert second.bias is not None
    h = F.leaky_relu(x @ first.weight.flatten(1).T + first.bias, 0.2)
    return (h @ second.weight.flatten(1).T + second.bias).detach()


def value_of(it: Trainer, row: str, averaged: bool = False) -> Tensor:
    """W e_k + b for every k, (K, n)."""
    model = it.averaged if averaged else it.model
    assert model is not None
    found = model.network("components").row(row)
    assert found.weight is not None
    assert found.bias is not None
    weight = found.weight[:, :, 0, 0] if row == "z_sigma" else found.weight[:, :, 0, 0].T  # a transposed one's, K x n
    return (weight + found.bias).detach()


@pytest.fixture(scope="module")
def fitted() -> Trainer:
    it = trainer_of(PHASES, precision="float64")
    for _ in range(6):
        it.advance()
    it.begin_phase()
    return it


def test_components_are_those_of_the_mixture_of_the_codes(fitted: Trainer) -> None:
    mixture = GaussianMixture(10, covariance_type="diag", n_init=10, random_state=stream_seed(0, "fit") % 2**32)
    mixture.fit(codes_by_hand(fitted).numpy())
    for averaged in (False, True):
        assert np.allclose(value_of(fitted, "z_mu", averaged).numpy(), mixture.means_, rtol=0, atol=1e-8)
        assert np.allclose(
            value_of(fitted, "z_sigma", averaged).numpy(), np.log(mixture.covariances_), rtol=0, atol=1e-6
        )


def test_biases_are_zero_and_the_optimizer_is_new(fitted: Trainer) -> None:
    rows = [fitted.model.network("components").row(name) for name in ("z_mu", "z_sigma")]
    assert all(row.bias is not None and not row.bias.any() for row in rows)
    assert fitted.optimizers["components"].state == {}
    assert fitted.optimizers["encoder"].state


def test_a_variance_that_the_table_says_stays() -> None:
    fixed = "networks.components.layers.z_sigma={input: zeros(Z), activation: expn}"
    it = trainer_of(PHASES, fixed)
    (fit,) = it.plan.phases[1].fits
    assert (fit.mean, fit.log_variance) == ("z_mu", "")
    for _ in range(6):
        it.advance()
    before = value_of(it, "z_mu").clone()
    it.begin_phase()
    assert (value_of(it, "z_mu") != before).all()


def test_components_with_covariances_are_those_of_a_full_mixture() -> None:
    full = (
        "networks.components.layers.z_sigma={input: y, op: conv_transpose, channels: Z, width: 1, activation: cholesky}"
    )
    it = trainer_of(PHASES, full, precision="float64")
    (fit,) = it.plan.phases[1].fits
    assert (fit.log_variance, fit.full) == ("z_sigma", True)
    for _ in range(6):
        it.advance()
    it.begin_phase()
    mixture = GaussianMixture(10, covariance_type="full", n_init=10, random_state=stream_seed(0, "fit") % 2**32)
    mixture.fit(codes_by_hand(it).numpy())
    assert np.allclose(value_of(it, "z_mu").numpy(), mixture.means_, rtol=0, atol=1e-8)
    numbers, scale = value_of(it, "z_sigma"), torch.zeros(10, 4, 4).double()
    row, column = torch.tril_indices(4, 4)
    scale[:, row, column] = torch.where(row == column, (numbers / 2).exp(), numbers)
    assert np.allclose((scale @ scale.mT).numpy(), mixture.covariances_, rtol=0, atol=1e-8)
    for _ in range(3):
        it.advance()  # and the terms of the next phase learn them
    assert all(parameter.isfinite().all() for parameter in it.model.parameters())


def test_the_seed_of_a_run_is_the_seed_of_its_fits() -> None:
    values = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first, second = mixture_columns(FIT, values, 1), mixture_columns(FIT, values, 1)
    assert torch.equal(first["z_mu"], second["z_mu"])
    assert stream_seed(0, "fit") != stream_seed(1, "fit") != stream_seed(1, "fit", 1)


def test_a_posterior_by_bayes_rule_is_that_of_the_fitted_components_and_the_learned_weights() -> None:
    """VaDE: gamma_k = pi_k N(mu; mu_k, s_k^2) over its sum, where the fit leaves pi as it was learned."""
    small = [f"networks.{of}.layers.h{n}.channels={6 - n}" for of in ("encoder", "decoder") for n in (1, 2, 3)]
    small += ["data={dataset: digits, validation: 197}", "variables.x.shape=[1, 8, 8]", "constants.Z=2"]
    small += ["networks.decoder.layers.x.shape=[1, 8, 8]", "training.phases.1={steps: 6}"]
    it = trainer_of(ROOT / "specs" / "vade_mnist.yaml", *small, precision="float64")
    while not it.between_phases:
        it.advance()
    learned = [parameter.clone() for parameter in it.model.network("weights").parameters()]
    it.begin_phase()
    assert all(torch.equal(a, b) for a, b in zip(learned, it.model.network("weights").parameters(), strict=True))

    images = data_of(ROOT / "specs" / "vade_mnist.yaml", *small).train.images
    x = images.double() / 255
    q = it.plan.draw("q")
    with torch.no_grad():
        drawn = sample_draw(it.model, q, {"x": x}, {}, Mode.EVAL, batch=len(x))
        found = in_evaluation(it.model, it.plan, q, drawn).enumerated
    assert found is not None
    codes = drawn.samples["z"].flatten(1)
    mixture = GaussianMixture(10, covariance_type="diag", n_init=10, random_state=stream_seed(0, "fit") % 2**32)
    mixture.fit(codes.numpy())
    bias = it.model.network("weights").row("logits").bias
    assert bias is not None
    assert bias.abs().max() > 1e-3
    mixture.weights_ = bias.softmax(0).detach().numpy()
    assert np.allclose(found.probabilities.numpy(), mixture.predict_proba(codes.numpy()), rtol=0, atol=1e-8)


def test_three_clouds_are_found() -> None:
    noise = torch.randn(300, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], dtype=torch.float64).repeat(100, 1)
    found = mixture_columns(FIT, centres + 0.5 * noise, 0)
    means = sorted(map(tuple, found["z_mu"].T.round().abs().tolist()))
    assert means == [(0.0, 0.0), (0.0, 10.0), (10.0, 0.0)]
    assert torch.allclose(found["z_sigma"], torch.full((2, 3), 0.25, dtype=torch.float64).log(), atol=0.4)


def test_what_cannot_be_fitted_is_told() -> None:
    with pytest.raises(
        RunError, match=r"`p\(z\|y\)` has 3 components, and there are 2 training examples to fit them to"
    ):
        mixture_columns(FIT, torch.zeros(2, 2), 0)
    with pytest.raises(RunError, match="a `z` that `q` infers is not finite"):
        mixture_columns(FIT, torch.full((5, 2), torch.nan), 0)


def test_after_the_fit_components_are_classes() -> None:
    """Ten codes of the digits: without a label, Bayes' rule of the fitted components errs in a few of ten."""
    longer = ("constants.Z=10", "training.phases.1.epochs=15", "training.optimizers.default.learning_rate=5e-3")
    it = trainer_of(PHASES, *longer)
    plan, images = plan_of(PHASES, *longer), data_of(PHASES).train

    def error() -> float:
        return float(evaluate(it.model, plan, images)["y/bayes/one_to_one_error"])

    while not it.between_phases:
        it.advance()
    before = error()
    it.begin_phase()
    assert before > 0.6
    assert error() < 0.35
