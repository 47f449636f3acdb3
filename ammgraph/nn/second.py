"""Second derivatives of convolutions, by the kernels of first ones.

A penalty takes the slopes of a discriminator with respect to its inputs, and what it minimises is differentiated again.
With y = C(x, W), and g the slope at y, the slope at x is C'(g, W), C' the transpose of C. A cotangent v of that slope
sends C(v, W) to g, and to W the gradient that weights have where the input is v and the gradient at the output g. torch
finds that as a convolution of batch and channels exchanged, whose kernel is as large as an image: ten times as long.

Reference:
    Karras et al., Training Generative Adversarial Networks with Limited Data, arXiv:2006.06676, whose authors' program
    does the same on GPUs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ammgraph.layers.operations import Sides, pair
from ammgraph.nn import functions

_SLOPED: ContextVar[bool] = ContextVar("sloped", default=False)


@contextmanager
def sloped() -> Iterator[None]:
    """Evaluate networks whose slopes are differentiated again, those with respect to inputs alone."""
    token = _SLOPED.set(True)
    try:
        yield
    finally:
        _SLOPED.reset(token)


def operation(name: str) -> Callable[..., Any]:
    """What `functions.function` gives, or the same with second derivatives by the kernels of first ones."""
    return _TWICE[name] if _SLOPED.get() and name in _TWICE else functions.function(name)


@dataclass(frozen=True)
class _Form:
    stride: tuple[int, int]
    padding: tuple[int, int]
    transposed: bool

    def applied(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return torch.convolution(x, weight, bias, self.stride, self.padding, (1, 1), self.transposed, (0, 0), 1)

    def gradients(
        self, g: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Of x, the weight and the bias, where g is that of the output."""
        channels = weight.shape[1 if self.transposed else 0]
        form = (self.stride, self.padding, (1, 1), self.transposed, (0, 0), 1)
        found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(g, x, weight, [channels], *form, wanted)
        return found[0], found[1], found[2]


class _Convolution(torch.autograd.Function):
    """C(x, W) + b; with `create_graph` it has the slope with respect to x, and weights that ask for one get NaN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, form: _Form) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.form = form
        return form.applied(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            unknown = g.new_full((), torch.nan)
            bias = unknown.expand(weight.shape[1 if ctx.form.transposed else 0]) if ctx.needs_input_grad[2] else None
            return _Slope.apply(g, x, weight, ctx.form), unknown.expand_as(weight), bias, None
        return (*ctx.form.gradients(g, x, weight, ctx.needs_input_grad[:3]), None)


class _Slope(torch.autograd.Function):
    """C'(g, W), where x says the shape."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, weight: Tensor, form: _Form) -> Tensor | None:
        ctx.save_for_backward(g, weight)
        ctx.form = form
        return form.gradients(g, x, weight, (True, False, False))[0]

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        g, weight = ctx.saved_tensors
        of_g = ctx.form.applied(v, weight) if ctx.needs_input_grad[0] else None
        of_weight = ctx.form.gradients(g, v, weight, (False, True, False))[1] if ctx.needs_input_grad[2] else None
        return of_g, None, of_weight, None


def _convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sides, padding: Sides, transposed: bool
) -> Tensor:
    if torch.is_autocast_enabled(x.device.type):
        kind = torch.get_autocast_dtype(x.device.type)
        x, weight, bias = x.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
    found: Tensor = _Convolution.apply(x, weight, bias, _Form(pair(stride), pair(padding), transposed))
    return found


_TWICE = {
    "conv": partial(functions.conv, of=partial(_convolved, transposed=False)),
    "conv_transpose": partial(functions.conv_transpose, of=partial(_convolved, transposed=True)),
}
