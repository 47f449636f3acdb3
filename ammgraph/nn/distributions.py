"""Distributions by their parameters, and what terms measure of them and of values, in closed form."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Distribution:
    """Distributions of a batch, shape (B, ...), or one for all, (1, ...), by their parameters.

    normal       `first` the means, `second` the log-variances
    categorical  `first` the logits
    bernoulli    `first` the logits, one for each element
    """

    kind: str
    first: Tensor
    second: Tensor | None = None

    @property
    def log_probabilities(self) -> Tensor:
        """Of a categorical one, (B, K)."""
        return torch.log_softmax(self.first, dim=1)

    def pooled(self) -> "Distribution":
        """The mean of categorical distributions over the batch."""
        mean = self.log_probabilities.exp().mean(0, keepdim=True)
        return Distribution("categorical", torch.log(mean.clamp(min=torch.finfo(mean.dtype).tiny)))


def log_density(of: Distribution, value: Tensor) -> Tensor:
    """Log f(v), (B,), in nats; sum_k v_k log p_k of a categorical distribution, cross entropy with v of a Bernoulli."""
    value = value.flatten(1).to(of.first.dtype)
    if of.kind == "categorical":
        return (value * of.log_probabilities).sum(1)
    if of.kind == "bernoulli":
        return -F.binary_cross_entropy_with_logits(of.first, value, reduction="none").sum(1)
    assert of.second is not None
    return normal_log_density(value, of.first, of.second)


def entropy(of: Distribution) -> Tensor:
    """-sum p log p, or n/2 log 2 pi e + 1/2 sum log s^2; (B,), in nats."""
    if of.kind == "categorical":
        return -(of.log_probabilities.exp() * of.log_probabilities).sum(1)
    assert of.second is not None
    return 0.5 * (1 + math.log(2 * math.pi) + of.second).sum(1)


def divergence(of: Distribution, other: Distribution) -> Tensor:
    """KL(f || g) of two categorical or two normal distributions, (B,), in nats."""
    if of.kind == "categorical":
        return (of.log_probabilities.exp() * (of.log_probabilities - other.log_probabilities)).sum(1)
    assert of.second is not None
    assert other.second is not None
    ratio = of.second - other.second
    squares = (of.first - other.first).square() * torch.exp(-other.second)
    return 0.5 * (torch.exp(ratio) - ratio + squares - 1).sum(1)


def distance_1(value: Tensor, other: Tensor | None = None) -> Tensor:
    """Sum |a - b| over the elements of each example; (B,)."""
    return _difference(value, other).abs().sum(1)


def distance_2(value: Tensor, other: Tensor | None = None) -> Tensor:
    """Sum (a - b)^2 over the elements of each example; (B,)."""
    return _difference(value, other).square().sum(1)


def _difference(value: Tensor, other: Tensor | None) -> Tensor:
    return (value if other is None else value - other).flatten(1)


def normal_log_density(value: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log N(value; mean, exp(log_variance)), summed over dimensions, in nats: -n/2 log 2 pi at the mean of N(0, 1).

    Args:
        value: shape (B, n).
        mean: shape (B, n) or (1, n).
        log_variance: shape (B, n) or (1, n).

    Returns:
        Shape (B,).
    """
    squares = (value - mean).square() * torch.exp(-log_variance)
    return -0.5 * (squares + log_variance + math.log(2 * math.pi)).sum(1)
