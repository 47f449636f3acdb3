"""Operations and poolings of rows: name -> shapes, weights, cost, what computes it. One entry each, read by everything.

An operation has weights, or it reduces groups of channels to one each. `torch` is `F.`, `torch.` or a function of
`nn.functions`. With weights it is called with x, the weight, the bias or None, and by name with the operation's columns
less the width; without, with x and its columns, or, where it has none, with the groups, B x n x C/n x H x W for n
channels, and `dim=2`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

Shape: TypeAlias = tuple[int, int, int]  # channels, height, width; a vector of n is (n, 1, 1)
Sides: TypeAlias = int | tuple[int, int]  # of a square, or down and to the right


def pair(sides: Sides) -> tuple[int, int]:
    """Down and to the right."""
    return (sides, sides) if isinstance(sides, int) else sides


def sides_text(sides: Sides, between: str = "x") -> str:
    """3 or 3x5."""
    return str(sides) if isinstance(sides, int) else between.join(map(str, sides))


@dataclass(frozen=True)
class Kernel:
    """The columns of a row that moves a window over its input, along one of its axes."""

    width: int
    stride: int
    padding: int


def kernels(width: Sides, stride: Sides, padding: Sides) -> tuple[Kernel, Kernel]:
    """Down and to the right."""
    down, right = zip(pair(width), pair(stride), pair(padding), strict=True)
    return Kernel(*down), Kernel(*right)


@dataclass(frozen=True)
class Linear:
    """The weights of a linear map, which may add a bias to each channel.

    Args:
        module: the class of `nn` that an exported program has in its place.
        shape: input, channels, width of the kernel -> shape of the weight.
        positions: input, output -> how often each weight is used for one example.
        fan_in: input, output, kernel -> numbers of the input that reach one of the output; the weight's for each
            channel unless given.
        axis: that of the weight's output channels.
    """

    module: str
    shape: Callable[[Shape, int, Sides], tuple[int, ...]]
    positions: Callable[[Shape, Shape], int]
    fan_in: Callable[[Shape, Shape, tuple[Kernel, Kernel]], float] | None = None
    axis: int = 0

    def mean_fan_in(self, inside: Shape, outside: Shape, kernel: tuple[Kernel, Kernel]) -> float:
        """Numbers of its input that reach one number of its output, He's fan-in; padding counts, as is usual.

        Reference:
            He et al., Delving Deep into Rectifiers, arXiv:1502.01852.
        """
        if self.fan_in is not None:
            return self.fan_in(inside, outside, kernel)
        high, wide = (along.width for along in kernel)
        return math.prod(self.shape(inside, outside[0], high if high == wide else (high, wide))) // outside[0]


@dataclass(frozen=True)
class Seen:
    """What a module makes of an example of one shape, as it was seen to do.

    Args:
        shape: of its output.
        parameters: numbers that learn.
        multiply_adds: of one example.
        held: numbers that its backward pass needs beside its input and output, of one example.
    """

    shape: Shape
    parameters: int
    multiply_adds: int
    held: int


@dataclass(frozen=True)
class Own:
    """A `torch.nn.Module` that a program adds.

    Args:
        build: the shape of an input -> the module, with weights of its own.
        look: the same -> what it does; ValueError, with why, where it cannot stand there.
    """

    build: Callable[[Shape], Any]
    look: Callable[[Shape], Seen]


def _same_size(size: int, kernel: Kernel) -> int:
    return size


@dataclass(frozen=True)
class Operation:
    """What a row makes of its input: `channels` channels.

    Args:
        torch: what computes it.
        meaning: what it is, for the language reference.
        weights: those of a linear map; without any, and without columns, channel k is a function of the k-th of as
            many groups of consecutive channels, at every position, and nothing learns.
        size: of an axis of the input, kernel -> of the output; None where the output is one vector.
        formula: `size` as a hint.
        columns: those of a kernel that it has.
        adds_padding: it adds rows of zeros to the input, and does not take rows of the output away.
        runs: how many times the channels of its output its input has; any multiple unless given.
        multiply_adds: input, output -> of one example, where it has no weights.
        held: input, output, heads -> numbers that its backward pass needs beside its input and output.
        shaped: its output may be given a `shape`, each number of which has weights of its own.
        own: the module that it is, in place of a function.
    """

    torch: str
    meaning: str
    weights: Linear | None = None
    size: Callable[[int, Kernel], int] | None = _same_size
    formula: str = "in"
    columns: tuple[str, ...] = ()
    adds_padding: bool = True
    runs: int | None = None
    multiply_adds: Callable[[Shape, Shape], int] = lambda inside, outside: 0
    held: Callable[[Shape, Shape, int], int] = lambda inside, outside, heads: 0
    shaped: bool = False
    own: Own | None = None


def conv_size(size: int, kernel: Kernel) -> int:
    """floor((size + 2 padding - width) / stride) + 1; below 1 where the kernel does not fit."""
    return (size + 2 * kernel.padding - kernel.width) // kernel.stride + 1


def conv_transpose_size(size: int, kernel: Kernel) -> int:
    """(size - 1) stride - 2 padding + width."""
    return (size - 1) * kernel.stride - 2 * kernel.padding + kernel.width


def _conv_transpose_fan_in(inside: Shape, outside: Shape, kernel: tuple[Kernel, Kernel]) -> float:
    """The mean over positions, some of which are reached by more of the kernel than others.

    C (W / stride)^2 far from borders, C where it starts from 1x1. PyTorch takes the output's channels times W^2.
    """

    def reaching(size: int, out: int, kernel: Kernel) -> float:
        """The mean number of inputs that reach one of `out` positions along an axis."""
        starts = [place * kernel.stride - kernel.padding for place in range(size)]
        return max(1, sum(max(0, min(start + kernel.width, out) - max(start, 0)) for start in starts)) / out

    return inside[0] * math.prod(map(reaching, inside[1:], outside[1:], kernel))


OPERATIONS: dict[str, Operation] = {
    "conv": Operation(
        "conv",
        "a convolution",
        Linear(
            "Conv2d",
            shape=lambda inside, channels, width: (channels, inside[0], *pair(width)),
            positions=lambda inside, outside: outside[1] * outside[2],
        ),
        size=conv_size,
        formula="(in + 2 * padding - width) // stride + 1",
        columns=("width", "stride", "padding"),
    ),
    "conv_transpose": Operation(
        "conv_transpose",
        "its transpose",
        Linear(
            "ConvTranspose2d",
            shape=lambda inside, channels, width: (inside[0], channels, *pair(width)),
            positions=lambda inside, outside: inside[1] * inside[2],
            fan_in=_conv_transpose_fan_in,
            axis=1,
        ),
        size=conv_transpose_size,
        formula="(in - 1) * stride - 2 * padding + width",
        columns=("width", "stride", "padding"),
        adds_padding=False,
    ),
    "linear": Operation(
        "linear",
        "on the flattened input, without a width",
        Linear(
            "Linear",
            shape=lambda inside, channels, width: (channels, math.prod(inside)),
            positions=lambda inside, outside: 1,
        ),
        size=None,
        formula="1",
        shaped=True,
    ),
    "attention": Operation(
        "attention",
        "of q, k and v, the thirds of the input's channels: softmax(q^T k / sqrt(d)) v over positions, for each of "
        "`heads` groups of d channels (Vaswani et al. 2017)",
        columns=("heads",),
        runs=3,
        multiply_adds=lambda inside, outside: 2 * outside[0] * (outside[1] * outside[2]) ** 2,
        held=lambda inside, outside, heads: 2 * heads * (outside[1] * outside[2]) ** 2,
    ),
    "lse": Operation("lse", "log(sum(exp(x))) over each of `channels` groups of consecutive channels"),
    "max": Operation("torch.amax", "the largest of each of `channels` groups of consecutive channels"),
}

UNSAID = {"width": 1, "stride": 1, "padding": 0, "heads": 1}  # columns where nothing is said

# Kind of a pooling -> what computes it, from x and the size of its windows.
POOLS: dict[str, str] = {"max": "F.max_pool2d", "avg": "F.avg_pool2d"}
# Kind of an enlargement -> what computes it, from x and how often each position is repeated, as `scale_factor`.
UPSAMPLES: dict[str, str] = {"nearest": "F.interpolate"}
