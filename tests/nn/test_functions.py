"""Functions of categories at probability 0, where 0 log 0 = 0: values and gradients."""

import pytest
import torch
from torch import Tensor

from ammgraph.nn.functions import categorical_divergence, categorical_entropy, categorical_log, weighted

PROBABILITIES = [[0.5, 0.5, 0.0], [0.1, 0.9, 0.0]]


def logits_of(probabilities: list[list[float]]) -> Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).log().requires_grad_()


def other() -> Tensor:
    return torch.tensor([[0.3, -0.2, 1.0], [0.0, 0.7, -1.0]], dtype=torch.float64, requires_grad=True)


def agree(found: Tensor, expected: Tensor, *of: Tensor) -> None:
    """Values and gradients, as of what `expected` is without the category of probability 0."""
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    own = torch.autograd.grad(found.sum(), of)
    for gradient, wanted in zip(own, torch.autograd.grad(expected.sum(), of, materialize_grads=True), strict=True):
        assert torch.allclose(gradient, wanted, rtol=0, atol=1e-12)


def test_a_category_of_probability_0_counts_nothing_in_an_entropy() -> None:
    logits = logits_of(PROBABILITIES)
    p = logits[:, :2].softmax(1)
    agree(categorical_entropy(logits), -(p * p.log()).sum(1), logits)


@pytest.mark.parametrize("rows", [PROBABILITIES, PROBABILITIES[:1]])
def test_nor_in_a_divergence_from_it(rows: list[list[float]]) -> None:
    logits, second = logits_of(rows), other()
    p = logits[:, :2].softmax(1)
    expected = (p * (p.log() - second.log_softmax(1)[:, :2])).sum(1)
    agree(categorical_divergence(logits, second), expected, logits, second)


def test_nor_in_a_divergence_between_two_that_both_give_it_0() -> None:
    first, second = logits_of(PROBABILITIES), logits_of([[0.2, 0.8, 0.0]])
    p, r = first[:, :2].softmax(1), second[:, :2].softmax(1)
    agree(categorical_divergence(first, second), (p * (p.log() - r.log())).sum(1), first, second)


def test_a_divergence_of_what_gives_it_more_is_infinite() -> None:
    assert categorical_divergence(other(), logits_of(PROBABILITIES)).tolist() == [torch.inf, torch.inf]


def test_the_log_of_the_category_that_was_drawn_is_finite() -> None:
    logits, x = logits_of(PROBABILITIES), torch.eye(3, dtype=torch.float64)[:2, :, None, None].requires_grad_()
    found = categorical_log(logits, x)
    assert torch.allclose(found, torch.tensor([0.5, 0.9], dtype=torch.float64).log(), rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    expected = torch.tensor([[0.5, 0.5], [0.1, 0.9]], dtype=torch.float64).log()
    assert torch.allclose(gradient[:, :2, 0, 0], expected, rtol=0, atol=1e-12)  # that of what was not drawn, too
    assert gradient[:, 2].tolist() == [[[0.0]], [[0.0]]]


def test_a_sum_over_every_value_leaves_out_what_is_infinite_where_its_probability_is_0() -> None:
    p = torch.tensor([[0.25, 0.75, 0.0]], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([2.0, 4.0, -torch.inf], dtype=torch.float64, requires_grad=True)
    agree(weighted(p, x), (p[:, :2] * x[:2]).sum(1), p, x)
