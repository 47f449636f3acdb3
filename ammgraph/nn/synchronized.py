"""Sums over processes, and batch norm over the whole batch where several processes hold a part of it each.

Every process must come here in the same order with tensors of the same shapes. Parts are of equal size.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from ammgraph.diagnostics import RunError


class LostProcess(RunError):
    """Another process of the run has ended, so that this one cannot go on."""


@contextmanager
def exchange() -> Iterator[None]:
    """What torch raises where it cannot reach another process is an error of the run.

    Raises:
        LostProcess: it cannot.
    """
    try:
        yield
    except RuntimeError as error:
        raise LostProcess("another process of this run has ended") from error


def add_up(tensor: Tensor) -> Tensor:
    """The sum of every process's tensor, in its place; the same bits in every process."""
    with exchange():
        distributed.all_reduce(tensor)
    return tensor


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_variance: Tensor | None,
    gain: Tensor,
    shift: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """(x - E[x]) / sqrt(Var[x] + eps) * gain + shift, mean and variance over the parts of all processes.

    Takes what `torch.nn.functional.batch_norm` takes, and gives what that gives on the parts joined along the batch:
    the value, the running statistics, and, averaged over processes, every derivative.
    """
    if not training:
        return F.batch_norm(x, running_mean, running_variance, gain, shift, False, momentum, eps)
    with torch.no_grad():
        mean, variance = _statistics(x, gain)
        if running_mean is not None and running_variance is not None:
            count = _count(x)
            running_mean.lerp_(mean, momentum)
            running_variance.lerp_(variance * (count / (count - 1)), momentum)
    normalized: Tensor = _BatchNorm.apply(x, gain, shift, mean, variance, eps)
    return normalized


def whole_batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_variance: Tensor | None,
    gain: Tensor,
    shift: Tensor,
    *,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """`torch.nn.functional.batch_norm` of examples that every process has, all of them: its statistics are theirs."""
    if not training or running_mean is None or running_variance is None:
        return F.batch_norm(x, running_mean, running_variance, gain, shift, training, momentum, eps)
    # autograd keeps what torch moves, and would not have it moved again by `batch_norm`
    mean, variance = running_mean.clone(), running_variance.clone()
    found = F.batch_norm(x, mean, variance, gain, shift, training, momentum, eps)
    with torch.no_grad():
        running_mean.copy_(mean)
        running_variance.copy_(variance)
    return found


def _count(x: Tensor) -> int:
    return x.numel() // x.shape[1] * distributed.get_world_size()


def _statistics(x: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the parts together: E[x] = E[m_r], Var[x] = E[v_r] + Var[m_r], no difference of squares."""
    # Running statistics of no weight decide the precision: half precision is summed in single.
    part = torch.batch_norm_update_stats(x, torch.zeros_like(like), torch.zeros_like(like), 0.0)
    own = torch.stack(part)
    table = own.new_zeros(distributed.get_world_size(), *own.shape)
    table[distributed.get_rank()] = own
    means, variances = add_up(table).unbind(1)
    return means.mean(0), variances.mean(0) + means.var(0, correction=0)


class _BatchNorm(torch.autograd.Function):
    """Normalises by given statistics, and takes their derivatives into account."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, gain, shift, mean, variance)
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, gain, shift, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, shift, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative will be asked for
            wanted = [part for part, needed in zip((x, gain, shift), ctx.needs_input_grad, strict=False) if needed]
            found = iter(torch.autograd.grad(_plain(x, gain, shift, ctx.eps), wanted, outer, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:3]), None, None, None
        # x^ = (x - mean) / s:  dx = gain / s (dy - E[dy] - x^ E[dy x^]), the first term with mean and s constant.
        constant, gains, shifts = torch.ops.aten.native_batch_norm_backward(
            outer[0], x, gain, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        if not ctx.needs_input_grad[0]:
            return None, gains, shifts, None, None, None
        scale = -gain * torch.rsqrt(variance + ctx.eps) / _count(x)
        weight, bias = (add_up(torch.stack((gains, shifts))) * scale).unbind(0)
        moved = F.batch_norm(x, mean, variance, weight, bias, False, 0.0, ctx.eps)
        return constant + moved, gains, shifts, None, None, None


def _plain(x: Tensor, gain: Tensor, shift: Tensor, eps: float) -> Tensor:
    """The same from parts that torch can differentiate as often as one likes."""
    dimensions, count = [0, *range(2, x.dim())], _count(x)
    wide = x.to(gain.dtype)
    centered = wide - _along(_Sum.apply(wide.sum(dimensions)) / count, x)
    variance = _Sum.apply(centered.square().sum(dimensions)) / count
    return torch.addcmul(_along(shift, x), centered, _along(gain * torch.rsqrt(variance + eps), x)).to(x.dtype)


def _along(channels: Tensor, x: Tensor) -> Tensor:
    return channels.view(-1, *[1] * (x.dim() - 2))


class _Sum(torch.autograd.Function):
    """The sum over processes; a change here changes it in every process, so that derivatives are summed as well."""

    @staticmethod
    def forward(_ctx: Any, part: Tensor) -> Tensor:
        return add_up(part.clone())

    @staticmethod
    def backward(_ctx: Any, *outer: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(outer[0])
        return total
