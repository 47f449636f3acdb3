"""The functions that exported code brings along. They are copied as they stand here, those that are called.

So are those of `nn.functions`, unless one of the same name stands here, as where half the derivatives will do.
What is used without being defined here, as `NOISE`, stands in the export itself.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ammgraph.nn.functions import (
    as_matrix,
    each,
    every_value,
    over_largest_singular_value,
    power_iteration,
    repeated_parts,
)

Noise = dict[str, Tensor]
NOISE: dict[str, tuple[str, int, tuple[int, ...], float]] = {}


def draw_noise(prefix: str = "", batch: int = 0, masks: bool = True) -> Noise:
    """New random tensors for the sites that begin with `prefix`.

    Without `batch` in the numbers of a step of training; without `masks` nothing is
    dropped and no noise added, as samples of a trained model want it.
    """
    noise = {}
    for name, (kind, examples, shape, rate) in NOISE.items():
        if not name.startswith(prefix):
            continue
        if name.endswith((".mask", ".noise")) and not masks:
            continue
        uniform = torch.rand(batch or examples, *shape)
        if kind == "normal":
            noise[name] = torch.randn_like(uniform)
        elif kind == "gumbel":
            noise[name] = -torch.log(-torch.log(uniform.clamp(1e-30, 1 - 1e-7)))
        else:
            noise[name] = (uniform >= rate) if kind == "mask" else uniform
    return noise


def part(noise: Noise, evaluation: str) -> Noise:
    """The noise of one evaluation of a network, by row."""
    start = f"{evaluation}/"
    return {n.removeprefix(start): v for n, v in noise.items() if n.startswith(start)}


def vector(x: Tensor) -> Tensor:
    """(B, n) as B x n x 1 x 1."""
    return x[:, :, None, None]


def examples(model: nn.Module, count: int) -> Tensor:
    """So many examples of nothing, for a network that reads nothing."""
    return next(model.parameters()).new_zeros(count, 0)


def zeros(like: Tensor, channels: int) -> Tensor:
    """Zeros of B x channels x 1 x 1."""
    return like.new_zeros(like.shape[0], channels, 1, 1)


def disturbed(x: Tensor, scale: float, noise: Tensor | None) -> Tensor:
    """Give x + scale noise, noise ~ N(0, 1); x without it."""
    return x if noise is None else x + scale * noise


def dropout(x: Tensor, rate: float, mask: Tensor | None) -> Tensor:
    """Multiply by mask / (1 - rate); without a mask nothing is dropped."""
    return x if mask is None else x * (mask.to(x.dtype) / (1 - rate))


class SpectralNorm(nn.Module):
    """w = v / s(v), s the largest singular value, a row for each output channel.

    `left` and `right` are near the vectors of s; `step` brings them up to v, once before
    every step of training.
    """

    left: Tensor
    right: Tensor

    def __init__(self, v: Tensor, dim: int) -> None:
        super().__init__()
        self.dim = dim
        for name, size in zip(("left", "right"), as_matrix(v, dim).shape, strict=True):
            self.register_buffer(name, torch.ones(size) / size**0.5)

    def forward(self, v: Tensor) -> Tensor:
        """The weights that the layer applies."""
        return over_largest_singular_value(v, self.dim, self.left, self.right)

    @torch.no_grad()
    def step(self, v: Tensor) -> None:
        """One power iteration."""
        self.left, self.right = power_iteration(v, self.dim, self.left, self.right)


def spectral_norm(layer: nn.Module, dim: int) -> nn.Module:
    """The layer with normalised weights; `dim` is the axis of its output channels."""
    norm = SpectralNorm(layer.get_parameter("weight"), dim)
    nn.utils.parametrize.register_parametrization(layer, "weight", norm)
    return layer


def random_affine(x: Tensor, scale: float, eps: Tensor | None) -> Tensor:
    """Give x at u + scale (A u + b), (A | b) = eps, for every place u; x without eps."""
    if eps is None:
        return x
    affine = torch.eye(2, 3) + scale * eps
    places = F.affine_grid(affine, list(x.shape), align_corners=False)
    return F.grid_sample(x, places, padding_mode="border", align_corners=False)


def with_every(samples: Noise, variable: str, size: int) -> Noise:
    """Every example with every value of a categorical variable, by turns."""
    found = {n: each(x, size) for n, x in samples.items() if n != variable}
    first = next(iter(samples.values()))
    return {**found, variable: every_value(size, len(first), first)}


def as_often(x: Tensor, parts: tuple[list[int], list[int]] | None) -> Tensor:
    """Every example so often as its part of the batch says; x without parts."""
    return x if parts is None else repeated_parts(x, *parts)


def repeated(x: Tensor, like: Tensor) -> Tensor:
    """What was computed at every value once, for as many examples as `like` has."""
    return x.repeat(len(like) // len(x), 1, 1, 1)


def categorical(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """One-hot samples, B x K x 1 x 1, by the inverse distribution function."""
    size = len(probabilities)
    cumulated = probabilities.cumsum(0) / probabilities.sum()
    index = torch.searchsorted(cumulated, uniform.to(cumulated.dtype), right=True)
    return vector(F.one_hot(index.clamp(max=size - 1), size).to(uniform.dtype))


def interpolated(real: Tensor, fake: Tensor, coefficient: Tensor) -> Tensor:
    """Real + a (fake - real), one coefficient a for each example."""
    return torch.lerp(real.detach(), fake.detach(), coefficient).requires_grad_()


def slopes(logits: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """|grad d| of each example, one norm over all inputs."""
    gradients = torch.autograd.grad(logits.sum(), list(inputs), create_graph=True)
    joint = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)
    return torch.linalg.vector_norm(joint, dim=1)


def tracked(x: Tensor) -> Tensor:
    """The tensor as an input of its own, on which no other input depends."""
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()


@contextmanager
def statistics_kept(*modules: nn.Module) -> Iterator[None]:
    """Batch norm by batch statistics that leave the running ones as they are."""
    every = [found for module in modules for found in module.modules()]
    norms = [norm for norm in every if isinstance(norm, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum


def scheduled(now: float, points: Sequence[tuple[float, float]]) -> float:
    """A number by epoch or step: linear between points (time, value), constant outside."""
    earlier = [point for point in points if point[0] <= now]
    later = [point for point in points if point[0] > now]
    if not earlier or not later:
        return (earlier[-1] if earlier else later[0])[1]
    (start, first), (end, last) = earlier[-1], later[0]
    return first + (last - first) * (now - start) / (end - start)


def by_cosine(now: float, points: Sequence[tuple[float, float]]) -> float:
    """The same, with half a cosine between the last two points."""
    (start, first), (end, last) = points[-2:]
    if not start <= now < end:
        return scheduled(now, points)
    return last + (first - last) * (1 + math.cos(math.pi * (now - start) / (end - start))) / 2


def constant(like: Tensor, shape: tuple[int, ...], value: float) -> Tensor:
    """A number for each dimension of one example."""
    return like.new_full((1, *shape), value)


def in_characters(images: Tensor, low: float, high: float) -> str:
    """Images side by side, a character for each pixel."""
    shades = " .:-=+*#%@"
    grey = ((images.mean(1) - low) / (high - low)).clamp(0, 1)
    places = (grey * (len(shades) - 1)).round().int().tolist()
    lines = [["".join(shades[p] for p in row) for row in image] for image in places]
    return "\n".join("  ".join(parts) for parts in zip(*lines, strict=True))
