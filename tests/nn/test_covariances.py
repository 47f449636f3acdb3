"""Normal distributions with covariances against `torch.distributions`: values, gradients and samples, in float64."""

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from ammgraph.nn.functions import (
    cholesky,
    is_full,
    normal_divergence,
    normal_entropy,
    normal_log,
    scale_matrix,
    triangle,
    variances,
)

B, N = 5, 4


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(numbers: Tensor) -> Tensor:
    """A of ten numbers, entry by entry: row by row, exp(x / 2) on the diagonal."""
    a = torch.zeros(len(numbers), N, N, dtype=torch.float64)
    place = 0
    for row in range(N):
        for column in range(row + 1):
            number = numbers[:, place]
            a[:, row, column] = torch.exp(number / 2) if row == column else number
            place += 1
    return a


def full(seed: int, count: int = B) -> tuple[Tensor, Tensor, MultivariateNormal]:
    mean, numbers = random(count, N, seed=seed), random(count, 10, seed=seed + 1).requires_grad_()
    return mean, numbers, MultivariateNormal(mean, scale_tril=by_hand(numbers))


def diagonal(seed: int, count: int = B) -> tuple[Tensor, Tensor, MultivariateNormal]:
    mean, numbers = random(count, N, seed=seed), random(count, N, seed=seed + 1).requires_grad_()
    return mean, numbers, MultivariateNormal(mean, scale_tril=torch.diag_embed(torch.exp(numbers / 2)))


def agree(found: Tensor, expected: Tensor, *numbers: Tensor) -> None:
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)
    pairs = zip(
        *(torch.autograd.grad(value.sum(), numbers, retain_graph=True) for value in (found, expected)), strict=True
    )
    assert all(torch.allclose(own, other, rtol=0, atol=1e-10) for own, other in pairs)


def test_a_triangle_is_read_row_by_row_with_logs_of_squares_on_its_diagonal() -> None:
    assert torch.allclose(triangle(random(B, 10)), by_hand(random(B, 10)), rtol=0, atol=1e-14)


def test_the_log_density_and_the_entropy_are_those_of_a_normal_distribution_with_that_covariance() -> None:
    mean, numbers, expected = full(1)
    x = random(B, N, seed=7)
    agree(normal_log(mean, numbers, x), expected.log_prob(x), numbers)
    agree(normal_entropy(mean, numbers), expected.entropy(), numbers)


@pytest.mark.parametrize("first", [full, diagonal])
@pytest.mark.parametrize("second", [full, diagonal])
@pytest.mark.parametrize("counts", [(B, B), (B, 1), (1, B)])
def test_the_divergence_is_closed_whichever_of_the_two_has_covariances(first, second, counts) -> None:  # type: ignore[no-untyped-def]
    m, v, p = first(1, counts[0])
    n, w, q = second(4, counts[1])
    agree(normal_divergence(m, v, n, w), kl_divergence(p, q).expand(B), v, w)


def test_a_triangle_without_entries_off_its_diagonal_is_diagonal() -> None:
    mean, logs, x = random(B, N), random(B, N, seed=1), random(B, N, seed=2)
    numbers = torch.zeros(B, 10, dtype=torch.float64)
    numbers[:, [0, 2, 5, 9]] = logs
    assert (is_full(mean, numbers), is_full(mean, logs)) == (True, False)
    assert torch.allclose(normal_log(mean, numbers, x), normal_log(mean, logs, x), rtol=0, atol=1e-12)
    assert torch.allclose(scale_matrix(mean, numbers), scale_matrix(mean, logs), rtol=0, atol=1e-14)
    assert torch.allclose(variances(mean, numbers), logs.exp(), rtol=0, atol=1e-14)


def test_in_one_dimension_both_are_one() -> None:
    mean, log_variance, x = random(B, 1), random(B, 1, seed=1), random(B, 1, seed=2)
    assert torch.allclose(triangle(log_variance).square().flatten(), log_variance.exp().flatten())
    expected = torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(x).sum(1)
    assert torch.allclose(normal_log(mean, log_variance, x), expected, rtol=0, atol=1e-12)


def test_samples_have_the_covariance_and_none_in_mean_mode() -> None:
    numbers, eps = random(1, 10), random(200_000, N, 1, 1, seed=3)
    a = by_hand(numbers)[0]
    noise = cholesky(numbers.expand(len(eps), -1)[:, :, None, None], eps)
    assert torch.allclose(noise.flatten(1), eps.flatten(1) @ a.T, rtol=0, atol=1e-12)
    assert torch.allclose(torch.cov(noise.flatten(1).T), a @ a.T, rtol=0.03, atol=0.03)
    assert cholesky(numbers[:, :, None, None], None).shape == (1, N, 1, 1)
    assert not cholesky(numbers[:, :, None, None], None).any()
    assert torch.allclose(variances(eps[:1], numbers)[0], (a @ a.T).diagonal(), rtol=0, atol=1e-12)


def test_a_sample_in_bfloat16_is_one_of_the_covariance_that_its_density_has() -> None:
    numbers, eps = (4 * random(200, 10)).bfloat16(), random(200, N, 1, 1, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = cholesky(numbers[:, :, None, None], eps)
    expected = (by_hand(numbers.double()) @ eps.double().flatten(1)[:, :, None]).flatten(1)
    assert torch.allclose(found.flatten(1).double(), expected, rtol=1e-5, atol=1e-5)
