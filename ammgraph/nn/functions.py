"""Functions that `layers` names and torch has not. Exported programs bring along, as they stand here, those they call.

x is B x C x H x W; a vector of n is B x n x 1 x 1.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ammgraph.layers.operations import Sides
from ammgraph.nn import moves

OWN: dict[str, Callable[..., Any]] = {}  # what a program adds
_ROOMS = {"F": F, "torch": torch, "nn": nn, "nn.init": nn.init}


@cache
def function(name: str) -> Callable[..., Any]:
    """What a table names: `F.softplus` is `torch.nn.functional.softplus`, `expn` stands here or in `moves`."""
    room, _, own = name.rpartition(".")
    if room == "own":
        return OWN[own]
    found: Callable[..., Any] = getattr(_ROOMS[room], own) if room else {**vars(moves), **globals()}[own]
    return found


# A kernel that meets its input at one position is a matrix product, and much faster as one, above all in the second
# derivative that a penalty takes.


def conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sides, padding: Sides, of: Callable[..., Tensor] = F.conv2d
) -> Tensor:
    """A convolution."""
    if not padding and x.shape[2:] == weight.shape[2:]:
        return F.linear(x.flatten(1), weight.flatten(1), bias)[:, :, None, None]
    return of(x, weight, bias, stride=stride, padding=padding)


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sides,
    padding: Sides,
    of: Callable[..., Tensor] = F.conv_transpose2d,
) -> Tensor:
    """The transpose of a convolution."""
    if not padding and x.shape[2:] == (1, 1):
        out = (x.flatten(1) @ weight.flatten(1)).unflatten(1, weight.shape[1:])
        return out if bias is None else out + bias[:, None, None]
    return of(x, weight, bias, stride=stride, padding=padding)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """W x + b of the flattened input."""
    return F.linear(x.flatten(1), weight, bias)[:, :, None, None]


# What layers make of their weights, `layers.weights`: v, the axis of output channels, the layer's own tensors.


def lengths(v: Tensor, axis: int, _generator: torch.Generator) -> list[Tensor]:
    """|v| by output channel, with which the weights are v."""
    return [torch.linalg.vector_norm(v, dim=_others(v, axis), keepdim=True)]


def length_times_direction(v: Tensor, axis: int, g: Tensor) -> Tensor:
    """Give g v / |v| by output channel."""
    return v * (g / torch.linalg.vector_norm(v, dim=_others(v, axis), keepdim=True))


def _others(v: Tensor, axis: int) -> list[int]:
    return [place for place in range(v.dim()) if place != axis]


def singular_vectors(v: Tensor, axis: int, generator: torch.Generator) -> list[Tensor]:
    """Unit vectors near those of the largest singular value, by 15 iterations."""
    starts = [torch.randn(size, generator=generator, dtype=v.dtype) for size in as_matrix(v, axis).shape]
    vectors = [F.normalize(start, dim=0, eps=1e-12) for start in starts]
    for _ in range(15):
        vectors = power_iteration(v, axis, *vectors)
    return vectors


def power_iteration(v: Tensor, axis: int, _left: Tensor, right: Tensor) -> list[Tensor]:
    """Left = v right, right = v^T left, each of length 1, v as a matrix."""
    matrix = as_matrix(v, axis)
    left = F.normalize(matrix @ right, dim=0, eps=1e-12)
    return [left, F.normalize(matrix.T @ left, dim=0, eps=1e-12)]


def over_largest_singular_value(v: Tensor, axis: int, left: Tensor, right: Tensor) -> Tensor:
    """V / (left^T v right), which near the vectors of the largest singular value is that."""
    # Not `@`: under autocast it would round to bfloat16.
    return v / ((as_matrix(v, axis) * right).sum(1) * left).sum()


def as_matrix(v: Tensor, axis: int) -> Tensor:
    """V as a matrix, a row for each output channel."""
    return v.movedim(axis, 0).flatten(1)


def groups(x: Tensor, n: int) -> Tensor:
    """The channels of x as n groups of consecutive ones, B x n x C/n x H x W."""
    return x.unflatten(1, (n, -1))


def lse(x: Tensor, dim: int) -> Tensor:
    """log(sum(exp(x))) along an axis, of numbers of 32 bits or more."""
    return torch.logsumexp(x.to(torch.promote_types(x.dtype, torch.float32)), dim)


def attention(x: Tensor, heads: int) -> Tensor:
    """softmax(q^T k / sqrt(d)) v over positions, q, k, v thirds of the channels of x; d channels to a head.

    Reference:
        Vaswani et al., Attention Is All You Need, arXiv:1706.03762.
    """
    # Not `F.scaled_dot_product_attention`: its fast forms have one derivative, and a penalty takes two.
    q, k, v = x.flatten(2).unflatten(1, (3, heads, -1)).unbind(1)
    weights = torch.softmax(q.transpose(2, 3) @ k / math.sqrt(q.shape[2]), dim=3)
    return (v @ weights.transpose(2, 3)).flatten(1, 2).unflatten(2, x.shape[2:])


def expn(log_variance: Tensor, eps: Tensor | None) -> Tensor:
    """Give exp(x / 2) eps, eps ~ N(0, 1): noise of log-variance x; 0 without eps."""
    if eps is None:
        return torch.zeros_like(log_variance)
    return torch.exp(0.5 * log_variance) * eps


def cholesky(x: Tensor, eps: Tensor | None) -> Tensor:
    """A eps, eps ~ N(0, 1), A of x: noise of covariance A A'; 0 without eps."""
    # In 32 bits or more, as the density has it: far from a rounded A e, A^-1 of what is left is large.
    a = triangle(x.flatten(1).to(torch.promote_types(x.dtype, torch.float32)))
    if eps is None:
        return a.new_zeros(len(x), a.shape[1], 1, 1)
    eps = eps.flatten(1).to(a.dtype)
    if torch.is_autocast_enabled(a.device.type):  # which rounds products of matrices
        return (a * eps[:, None]).sum(2)[:, :, None, None]
    return (a @ eps[:, :, None])[..., None]


def triangle(x: Tensor) -> Tensor:
    """The lower triangular A of n (n + 1) / 2 numbers, row by row, log A_ii^2."""
    size = math.isqrt(2 * x.shape[1])
    row, column = torch.tril_indices(size, size, device=x.device)
    a = x.new_zeros(len(x), size, size)
    a[:, row, column] = torch.where(row == column, torch.exp(0.5 * x), x)
    return a


def straight_through(logits: Tensor) -> Tensor:
    """A one-hot vector of the largest logit, with the gradient of the softmax.

    Reference:
        Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons,
        arXiv:1308.3432.
    """
    soft = torch.softmax(logits, dim=1)
    largest = soft.argmax(dim=1, keepdim=True)
    hard = torch.zeros_like(soft).scatter(1, largest, 1.0)
    return hard + (soft - soft.detach())


def gumbel_softmax(logits: Tensor, temperature: float, gumbel: Tensor | None) -> Tensor:
    """softmax((logits + gumbel) / temperature); without noise gumbel is 0."""
    noisy = logits if gumbel is None else logits + gumbel
    return torch.softmax(noisy / temperature, dim=1)


def gumbel_straight_through(logits: Tensor, t: float, g: Tensor | None) -> Tensor:
    """A one-hot sample at temperature t with noise g, with the softmax's gradient."""
    return straight_through((logits if g is None else logits + g) / t)


# Distributions by their parameters, mean and spread or logits: numbers of each example, (B,), in nats.
# The spread of a normal one is n log-variances, or the n (n + 1) / 2 numbers of a triangle.


def triangles(covariances: Tensor) -> Tensor:
    """The lower triangles A of covariances A A', (K, n, n): (K, n (n + 1) / 2), row by row, log A_ii^2."""
    size = covariances.shape[1]
    row, column = torch.tril_indices(size, size)
    found = torch.linalg.cholesky(covariances)[:, row, column]
    return torch.where(row == column, 2 * found.abs().log(), found)


def is_full(mean: Tensor, spread: Tensor) -> bool:
    """Whether a spread is a triangle; of one dimension both are the same."""
    return mean[0].numel() != spread[0].numel()


def normal_log(mean: Tensor, spread: Tensor, x: Tensor) -> Tensor:
    """Log N(x; mean, exp(spread)) or N(x; mean, A A'); -n/2 log 2 pi at N(0, 1)'s mean."""
    mean, spread = mean.flatten(1), spread.flatten(1)
    far, logs = x.flatten(1) - mean, log_variances(mean, spread)
    if is_full(mean, spread):
        squares = solved(triangle(spread), far[:, :, None])[:, :, 0].square()
    else:
        squares = far.square() * torch.exp(-spread)
    return -0.5 * (squares + logs + math.log(2 * math.pi)).sum(1)


def normal_entropy(mean: Tensor, spread: Tensor) -> Tensor:
    """n/2 log 2 pi e + 1/2 sum log s^2, s^2 the variances or A_ii^2."""
    return 0.5 * (1 + math.log(2 * math.pi) + log_variances(mean, spread)).sum(1)


def normal_divergence(m: Tensor, v: Tensor, n: Tensor, w: Tensor) -> Tensor:
    """KL(N(m, exp v) || N(n, exp w)), or of N(m, A A') and N(n, C C'), whichever is full.

    1/2 (|C^-1 A|^2 + |C^-1 (n - m)|^2 - dimensions + log |C C'| - log |A A'|)
    """
    if is_full(m, v) or is_full(n, w):
        a, c = scale_matrix(m, v), scale_matrix(n, w)
        across, far = solved(c, a), solved(c, (n - m).flatten(1)[:, :, None])
        squares = across.square().sum((1, 2)) + far.square().sum((1, 2))
        ratio = (log_variances(m, v) - log_variances(n, w)).sum(1)
        return 0.5 * (squares - ratio - a.shape[1])
    ratio = (v - w).flatten(1)
    squares = ((m - n).square() * torch.exp(-w)).flatten(1)
    return 0.5 * (torch.exp(ratio) - ratio + squares - 1).sum(1)


def log_variances(mean: Tensor, spread: Tensor) -> Tensor:
    """Log s_i^2 or log A_ii^2, (B, n): their sum is log |covariance|."""
    spread = spread.flatten(1)
    if not is_full(mean, spread):
        return spread
    places = torch.arange(1, mean[0].numel() + 1, device=spread.device)
    return spread[:, places * (places + 1) // 2 - 1]


def variances(mean: Tensor, spread: Tensor) -> Tensor:
    """s_i^2, or the diagonal of A A', (B, n)."""
    spread = spread.flatten(1)
    return triangle(spread).square().sum(2) if is_full(mean, spread) else torch.exp(spread)


def scale_matrix(mean: Tensor, spread: Tensor) -> Tensor:
    """A of a covariance A A', (B, n, n)."""
    spread = spread.flatten(1)
    if is_full(mean, spread):
        return triangle(spread)
    return torch.diag_embed(torch.exp(0.5 * spread))


def solved(a: Tensor, x: Tensor) -> Tensor:
    """A^-1 x, A lower triangular, (B, n, m)."""
    return torch.linalg.solve_triangular(a, x, upper=False)


def log_softmax(logits: Tensor) -> Tensor:
    """Log p_k, (B, K)."""
    return torch.log_softmax(logits.flatten(1), dim=1)


def weighted(probabilities: Tensor, x: Tensor) -> Tensor:
    """sum_k p_k x_k, (B,), of probabilities (B, K) and numbers (B, K) or (B K,); 0 log 0 = 0."""
    x = x.view(-1, probabilities.shape[1])
    never = (probabilities == 0) & ~torch.isfinite(x)
    return (probabilities * x.masked_fill(never, 0)).sum(1)


def categorical_log(logits: Tensor, x: Tensor) -> Tensor:
    """sum_k x_k log p_k, x one-hot."""
    return weighted(x.flatten(1), log_softmax(logits))


def categorical_entropy(logits: Tensor) -> Tensor:
    """-sum_k p_k log p_k."""
    return -weighted(log_softmax(logits).exp(), log_softmax(logits))


def categorical_divergence(logits: Tensor, other: Tensor) -> Tensor:
    """KL(p || r) = sum_k p_k (log p_k - log r_k)."""
    log_p = log_softmax(logits)
    return weighted(log_p.exp(), log_p - log_softmax(other))


def bernoulli_log(logits: Tensor, x: Tensor) -> Tensor:
    """Minus the cross entropy of x in [0, 1] and sigmoid(logits)."""
    x, p = x.flatten(1), logits.flatten(1)
    return -F.binary_cross_entropy_with_logits(p, x, reduction="none").sum(1)


def pooled(logits: Tensor) -> Tensor:
    """Logits of the mean of categorical distributions over the batch."""
    mean = log_softmax(logits).exp().mean(0, keepdim=True)
    return torch.log(mean.clamp(min=torch.finfo(mean.dtype).tiny))


# Every value of an enumerated variable: example b with the k-th of K values stands at place b K + k.


def each(x: Tensor, size: int) -> Tensor:
    """Every example so often as there are values, (B K, ...)."""
    return x.repeat_interleave(size, 0)


def every_value(size: int, examples: int, like: Tensor) -> Tensor:
    """All K one-hot vectors for each of B examples, (B K, K, 1, 1), of the kind of `like`."""
    values = torch.eye(size, dtype=like.dtype, device=like.device)
    return values.repeat(examples, 1)[:, :, None, None]


def repeated_parts(x: Tensor, sizes: Sequence[int], times: Sequence[int]) -> Tensor:
    """Parts of the batch, of these sizes, each example of a part so often as is said."""
    pairs = zip(x.split(list(sizes)), times, strict=True)
    return torch.cat([each(part, count) for part, count in pairs])


def distance_1(x: Tensor, y: Tensor | float = 0.0) -> Tensor:
    """Sum |x - y|."""
    return (x - y).flatten(1).abs().sum(1)


def distance_2(x: Tensor, y: Tensor | float = 0.0) -> Tensor:
    """Sum (x - y)^2."""
    return (x - y).flatten(1).square().sum(1)


def total(x: Tensor) -> Tensor:
    """Sum x."""
    return x.flatten(1).sum(1)


def total_exp(x: Tensor) -> Tensor:
    """Sum exp x."""
    return x.flatten(1).exp().sum(1)


def total_softplus(x: Tensor) -> Tensor:
    """Sum log(1 + exp x)."""
    return F.softplus(x.flatten(1)).sum(1)


def at_least(x: Tensor, n: float) -> Tensor:
    """max(x, n), without a gradient where x is not above n."""
    return torch.where(x > n, x, n)


def pull_away(f: Tensor) -> Tensor:
    """sum_{i != j} cos^2(f_i, f_j) / (B (B - 1)); the cosine with 0 is 0.

    Reference:
        Zhao et al., Energy-Based Generative Adversarial Networks, arXiv:1609.03126.
    """
    f = F.normalize(f.flatten(1).to(torch.promote_types(f.dtype, torch.float32)), dim=1)
    # No product of matrices, which autocast would round.
    squares = (f[:, None] * f).sum(2).square()
    pairs = squares.sum() - squares.diagonal().sum()
    return pairs / max(1, len(f) * (len(f) - 1))


def affinity(f: Tensor, n: int = 1) -> Tensor:
    """(sum N - tr N) / ((k - 1) tr N), N = a'a over the batch, a = relu(f): n groups of k numbers, their mean.

    0 where each example has one active number in a group, and of a group without any.

    Reference:
        Kilinc & Uysal, Learning Latent Representations in Neural Networks for Clustering, arXiv:1702.08648.
    """
    exact = f.flatten(1).to(torch.promote_types(f.dtype, torch.float32))
    a = torch.relu(exact).unflatten(1, (n, -1))
    return _beside_the_diagonal((a[:, :, :, None] * a[:, :, None]).sum(0)).mean()


def balance(f: Tensor, n: int = 1) -> Tensor:
    """(sum V - tr V) / ((k - 1) tr V), V = v'v, v = sum a^2 over the batch: 1 where all k are active alike."""
    exact = f.flatten(1).to(torch.promote_types(f.dtype, torch.float32))
    a = torch.relu(exact).unflatten(1, (n, -1))
    v = a.square().sum(0)
    return _beside_the_diagonal(v[:, :, None] * v[:, None]).mean()


def _beside_the_diagonal(m: Tensor) -> Tensor:
    """(sum M - tr M) / ((k - 1) tr M) of each of n x k x k; 0 where M is 0."""
    trace = m.diagonal(dim1=1, dim2=2).sum(1)
    whole = (m.shape[1] - 1) * trace
    return (m.sum((1, 2)) - trace) / torch.where(whole > 0, whole, 1)


def unit(g: Tensor) -> Tensor:
    """The direction g / ||g||_2 of each example, however small g is; 0 where it is 0."""
    largest = g.flatten(1).abs().amax(1).clamp(min=torch.finfo(g.dtype).tiny)
    scaled = g / largest.view(-1, *[1] * (g.dim() - 1))
    norm = torch.linalg.vector_norm(scaled.flatten(1), dim=1).clamp(min=1)
    return scaled / norm.view(-1, *[1] * (g.dim() - 1))


def vat(
    f: Callable[[Tensor], Tensor],
    x: Tensor,
    u: Tensor,
    radius: Tensor | float,
    xi: float,
) -> Tensor:
    """f(x + r), r = radius g / ||g||, g the gradient of f at x + xi u / ||u||; r a constant.

    Args:
        f: numbers (B,), the divergence of what x gives from what it would give moved.
        x: B x C x H x W.
        u: of x's shape, a direction.
        radius: length of r in every example, or (B, 1, 1, 1).
        xi: at which distance from x the gradient is taken.

    Reference:
        Miyato et al., Virtual Adversarial Training, arXiv:1704.03976.
    """
    with torch.enable_grad():
        v = (xi * unit(u)).requires_grad_()
        (g,) = torch.autograd.grad(f(x.detach() + v).sum(), v)
    return f(x + (radius * unit(g)).detach())


def chosen(x: Tensor, y: Tensor) -> Tensor:
    """sum_k y_k x_k, x_1 ... x_K consecutive runs of the channels of x, y B x K x 1 x 1.

    Where y has every value for each example of x, these are the runs themselves, B K of them.
    """
    runs = groups(x, y.shape[1])
    return runs.flatten(0, 1) if len(x) < len(y) else (runs * y[:, :, None]).sum(1)
