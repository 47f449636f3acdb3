"""The random tensors of a step by name, and priors drawn from them by inverse distribution function."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from ammgraph.compiler.compile import compile_spec
from ammgraph.nn.model import Model, build, draw_noise, draw_prior, one_hot
from ammgraph.plan.draws import FromPrior, Site
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_text

CPU = torch.device("cpu")


def drawn(kind: str, batch: int, shape: tuple[int, ...], dropout: float = 0.0, seed: int = 0) -> Tensor:
    site = Site("q/network/row.noise", kind, "sample", batch, shape, dropout)
    return draw_noise(site, torch.Generator().manual_seed(seed), CPU, torch.float64)


def is_mean(sample: Tensor, mean: float, deviation: float) -> bool:
    """Within four and a half standard errors."""
    return abs(sample.mean().item() - mean) < 4.5 * deviation / math.sqrt(sample.numel())


# ------------------------------------------------------------------------------------------------------------- sites


@pytest.mark.parametrize("kind", ["normal", "gumbel", "uniform", "mask"])
@pytest.mark.parametrize("shape", [(), (3, 1, 1), (2, 5, 7)])
def test_a_site_has_its_shape_for_every_example(kind: str, shape: tuple[int, ...]) -> None:
    assert drawn(kind, 3, shape, 0.5).shape == (3, *shape)


def test_normal_noise_is_standard_normal() -> None:
    assert stats.kstest(drawn("normal", 20_000, ()).numpy(), "norm").pvalue > 1e-3


def test_uniform_noise_is_uniform_on_the_unit_interval() -> None:
    sample = drawn("uniform", 20_000, ())
    assert stats.kstest(sample.numpy(), "uniform").pvalue > 1e-3
    assert sample.min() >= 0
    assert sample.max() < 1


def test_gumbel_noise_is_gumbel() -> None:
    sample = drawn("gumbel", 20_000, ())
    assert stats.kstest(sample.numpy(), "gumbel_r").pvalue > 1e-3
    assert torch.isfinite(sample).all()


@pytest.mark.parametrize("dropout", [0.001, 0.1, 0.2, 0.5, 0.9])
def test_a_mask_keeps_an_element_with_probability_one_minus_dropout(dropout: float) -> None:
    mask = drawn("mask", 1000, (31, 17), dropout)
    assert mask.dtype == torch.bool
    assert is_mean(mask.double(), 1 - dropout, math.sqrt(dropout * (1 - dropout)))


def test_elements_of_a_mask_are_independent_of_their_neighbours() -> None:
    kept = drawn("mask", 200_000, (), 0.3).double() - 0.7
    for distance in (1, 2, 3, 4, 5, 8):
        assert is_mean(kept[distance:] * kept[:-distance], 0.0, 0.21)


@pytest.mark.parametrize("kind", ["normal", "gumbel", "uniform", "mask"])
def test_the_same_generator_gives_the_same_noise_and_goes_on(kind: str) -> None:
    assert torch.equal(drawn(kind, 50, (2,), 0.5), drawn(kind, 50, (2,), 0.5))
    assert not torch.equal(drawn(kind, 50, (2,), 0.5), drawn(kind, 50, (2,), 0.5, seed=1))
    generator = torch.Generator().manual_seed(0)
    site = Site("s", kind, "sample", 50, (2,), 0.5)
    first, second = (draw_noise(site, generator, CPU, torch.float64) for _ in range(2))
    assert not torch.equal(first, second)


# ------------------------------------------------------------------------------------------------------------- priors


def prior(plan: Plan, variable: str) -> FromPrior:
    origin = plan.draw("p").factor_of(variable).origin
    assert isinstance(origin, FromPrior)
    return origin


def with_prior(text: str, frequencies: Tensor | None = None, size: int = 4) -> tuple[Model, FromPrior]:
    """A model whose p(y), of 4 categories, is the given prior."""
    spec = f"""
ammgraph: 1
data: {{dataset: npz, path: images.npz, labeled: {{count: 10}}}}
variables: {{x: {{type: image, shape: [1, 2, 2]}}, y: {{type: categorical, size: {size}}}}}
networks:
  encoder: {{layers: {{y: {{input: x, op: linear, channels: {size}, activation: softmax}}}}}}
  decoder: {{layers: {{x: {{input: y, op: conv_transpose, channels: 1, width: 2, activation: sigmoid}}}}}}
  critic:
    layers: {{of_x: {{input: x, op: linear, channels: {size}}}, p: {{input: of_x + y, op: linear, channels: 1}}}}
distributions:
  q: {{q(x): data, q(y|x): encoder.y}}
  p: {{p(y): {text}, p(x|y): decoder.x}}
games: {{joint: {{match: [q, p], discriminator: critic.p, objective: hinge}}}}
training: {{batch_size: 2, epochs: 1, optimizers: {{default: {{name: adam, learning_rate: 1e-3}}}}}}
"""
    plan = compile_spec(load_text(spec))
    return build(plan, torch.Generator().manual_seed(0), frequencies), prior(plan, "y")


def labels(model: Model, origin: FromPrior, uniform: Tensor) -> list[int]:
    return draw_prior(model, origin, uniform, {}).argmax(1).flatten().tolist()


def test_a_category_is_the_one_whose_interval_of_the_cumulated_probabilities_holds_the_number() -> None:
    model, origin = with_prior("[0.5, 0.25, 0.125, 0.125]")
    uniform = torch.tensor([0.0, 0.499, 0.5, 0.749, 0.75, 0.874, 0.875, 1 - 2**-53], dtype=torch.float64)
    assert labels(model, origin, uniform) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_uniform_categories_divide_the_unit_interval_equally() -> None:
    model, origin = with_prior("uniform")
    assert labels(model, origin, torch.tensor([0.0, 0.2499, 0.25, 0.4999, 0.5, 0.75, 0.9999])) == [0, 0, 1, 1, 2, 3, 3]


def test_explicit_probabilities_sum_to_one_in_the_model() -> None:
    model, origin = with_prior("[0.5, 0.25, 0.125, 0.125]")
    assert model.constant(origin.site.name).tolist() == [0.5, 0.25, 0.125, 0.125]


def test_empirical_is_the_frequency_of_the_labels_and_missing_classes_never_come() -> None:
    model, origin = with_prior("empirical", torch.tensor([0.25, 0.0, 0.75]))
    assert model.constant(origin.site.name).tolist() == [0.25, 0, 0.75, 0]
    assert set(labels(model, origin, torch.linspace(0, 1 - 2**-24, 100_001))) == {0, 2}


def test_the_largest_uniform_number_belongs_to_a_category_that_can_come() -> None:
    # Rounded to float32, their shares add to 1 - 2^-24.
    counts = torch.tensor([163.0, 94.0, 178.0, 150.0, 118.0, 79.0, 174.0, 199.0, 191.0])
    model, origin = with_prior("empirical", counts, size=10)
    assert labels(model, origin, torch.tensor([1 - 2**-24])) == [8]


def test_samples_of_a_categorical_prior_are_exact_one_hots() -> None:
    model, origin = with_prior("uniform")
    sample = draw_prior(model, origin, torch.rand(50, generator=torch.Generator().manual_seed(0)), {})
    assert sample.shape == (50, 4, 1, 1)
    assert torch.equal(sample.sum(1), torch.ones(50, 1, 1))
    assert torch.equal(sample * sample, sample)


def test_frequencies_of_a_categorical_prior_pass_a_chi_square_test() -> None:
    probabilities = [0.4, 0.3, 0.2, 0.1]
    model, origin = with_prior(str(probabilities))
    uniform = drawn("uniform", 100_000, ())
    counts = torch.bincount(torch.tensor(labels(model, origin, uniform)), minlength=4).numpy()
    assert stats.chisquare(counts, [100_000 * p for p in probabilities]).pvalue > 1e-3


def test_real_priors_move_and_scale_their_noise(small_plan: Plan, small_model: Model) -> None:
    noise = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64).reshape(3, 1, 1, 1).expand(3, 2, 1, 1)
    uniform = draw_prior(small_model, prior(small_plan, "u"), noise, {})
    normal = draw_prior(small_model, prior(small_plan, "n"), noise, {})
    assert uniform[:, 0].flatten().tolist() == [-1, 0, 3]  # uniform(-1, 3)
    assert normal[:, 1].flatten().tolist() == [2, 2.125, 2.5]  # normal(2, 0.5)


def test_a_mixture_adds_scaled_noise_to_its_category_s_mean(small_plan: Plan, small_model: Model) -> None:
    y = one_hot(torch.tensor([2, 0]), 3, torch.float64)
    noise = torch.ones(2, 2, 1, 1, dtype=torch.float64)
    sample = draw_prior(small_model, prior(small_plan, "v"), noise, {"y": y})
    assert sample.flatten(1).tolist() == [[-3 + 0.5, 0.5 + 0.5], [0 + 0.5, 1 + 0.5]]


def test_priors_without_parameters_own_none_and_constants_are_buffers(small_model: Model, small_plan: Plan) -> None:
    trained = {name for name, _ in small_model.named_parameters()}
    assert not any(name.startswith("constant") for name in trained)
    assert sum(p.numel() for p in small_model.parameters()) == small_plan.parameters
    assert "constant_p__y" in small_model.state_dict()
    assert "constant_p__v" in small_model.state_dict()
