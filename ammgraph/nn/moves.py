"""Images moved: turned, shifted, sheared and zoomed. Exported programs bring along, as they stand here, what they call.

x is B x C x H x W.
"""

from typing import Any

import torch
from torch import Tensor


def quarter_turn(x: Tensor, n: float) -> Tensor:
    """X turned anticlockwise by n quarter turns."""
    return torch.rot90(x, int(n), (2, 3))


def random_affine(x: Tensor, scale: float, eps: Tensor | None) -> Tensor:
    """x'(u) = x(u + scale (A u + b)), (A | b) = eps ~ N(0, 1)^(2x3): every image shifted, turned, sheared and zoomed.

    Places u = (right, down) run over [-1, 1]^2; between pixels x is bilinear, outside it is its border. x itself
    without eps. Linear in x, and differentiable as often as asked.

    Args:
        x: B x C x H x W.
        scale: standard deviation of every entry. A shift of 0.1 is a twentieth of the width.
        eps: B x 2 x 3.
    """
    if eps is None:
        return x
    affine = (torch.eye(2, 3, device=eps.device, dtype=eps.dtype) + scale * eps)[:, None, None]
    down, right = (_places(size, eps) for size in x.shape[2:])
    # Not `F.affine_grid`: under autocast it multiplies matrices in bfloat16, which is a tenth of a pixel.
    places = affine[..., 0] * right[:, None] + affine[..., 1] * down[:, None, None] + affine[..., 2]
    return _Resample.apply(x.to(eps.dtype), places).to(x.dtype)


def _places(size: int, like: Tensor) -> Tensor:
    """The centres of pixels on [-1, 1]."""
    return (2 * torch.arange(size, device=like.device, dtype=like.dtype) + 1) / size - 1


_BILINEAR, _BORDER = 0, 1


class _Resample(torch.autograd.Function):
    """x at the places of a grid: linear in x, so that its derivatives are it and its transpose, in turn.

    PyTorch's own sampler has a first derivative alone, and a penalty takes two.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(x, grid)
        return torch.ops.aten.grid_sampler_2d(x, grid, _BILINEAR, _BORDER, False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Spread.apply(gradient, *ctx.saved_tensors), None


class _Spread(torch.autograd.Function):
    """The transpose of `_Resample`; of x it uses the shape."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, x: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        wanted = (True, False)
        return torch.ops.aten.grid_sampler_2d_backward(gradient, x, grid, _BILINEAR, _BORDER, False, wanted)[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Resample.apply(gradient, *ctx.saved_tensors), None, None
