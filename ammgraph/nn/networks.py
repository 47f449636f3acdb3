"""Layer tables as modules: a `Network` owns the weights of its rows and computes rows on request.

Axes: B batch, C channels, H height, W width. Every tensor is B x C x H x W; a vector of n is B x n x 1 x 1.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ammgraph.plan.plan import NetworkPlan, RowPlan
from ammgraph.spec.notation import Input, Named, Zeros
from ammgraph.spec.values import CATEGORICAL_ACTIVATIONS, GUMBEL_ACTIVATIONS


class Mode(Enum):
    """How batch norm and dropout behave in an evaluation (R13)."""

    TRAIN = "batch statistics, which move the running ones; masks"
    FROZEN = "batch statistics, which move nothing; masks"
    EVAL = "running statistics; no masks; without noise `expn` is 0, Gumbel noise 0, an affine map the identity"


class Row(nn.Module):
    """The weights of one row, and its batch norm."""

    running_mean: Tensor | None
    running_variance: Tensor | None

    def __init__(self, plan: RowPlan) -> None:
        super().__init__()
        in_channels, out_channels = plan.in_shape[0], plan.inner_shape[0]
        shapes = {
            "conv": (out_channels, in_channels, plan.width, plan.width),
            "conv_transpose": (in_channels, out_channels, plan.width, plan.width),
            "linear": (out_channels, in_channels * plan.in_shape[1] * plan.in_shape[2]),
        }
        self.weight = nn.Parameter(torch.empty(shapes[plan.op])) if plan.op is not None else None
        self.bias = nn.Parameter(torch.empty(out_channels)) if plan.bias else None
        self.gain = nn.Parameter(torch.ones(out_channels)) if plan.batchnorm else None
        self.shift = nn.Parameter(torch.zeros(out_channels)) if plan.batchnorm else None
        self.register_buffer("running_mean", torch.zeros(out_channels) if plan.batchnorm else None)
        self.register_buffer("running_variance", torch.ones(out_channels) if plan.batchnorm else None)


class Network(nn.Module):
    """A layer table. Rows are stored as `row_NAME`, so that a row may have any name."""

    zero: Tensor  # of the kind and place of `zeros(n)`, also where a network reads nothing else

    def __init__(self, plan: NetworkPlan, momentum: float, epsilon: float) -> None:
        super().__init__()
        self.plan, self.momentum, self.epsilon = plan, momentum, epsilon
        self.plans = {row.name: row for row in plan.rows}
        self.rows = nn.ModuleDict({f"row_{row.name}": Row(row) for row in plan.rows})
        self.batch_norm: Callable[..., Tensor] = F.batch_norm
        self.register_buffer("zero", torch.zeros(1, 1, 1, 1), persistent=False)
        self._folded = _folded(plan)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw every weight as its row says; biases are constants, batch norm starts as the identity."""
        for plan in self.plan.rows:
            row = self.row(plan.name)
            if row.weight is not None:
                _initialize(row.weight, plan, generator)
            if row.bias is not None:
                nn.init.constant_(row.bias, plan.biases)

    def row(self, name: str) -> Row:
        """The weights of the row of that name."""
        row = self.rows[f"row_{name}"]
        assert isinstance(row, Row)
        return row

    def compute(
        self,
        names: Iterable[str],
        values: MutableMapping[str, Tensor],
        batch: int,
        noise: Mapping[str, Tensor],
        prefix: str,
        mode: Mode,
        raw: Collection[str] = (),
    ) -> None:
        """Compute rows in the order given, each once, into `values`.

        Args:
            names: rows in computing order.
            values: local name -> tensor; holds what the rows read from outside. A row with an activation that carries a
                density also leaves its value before the activation, as `NAME.raw`; a row whose activation is folded
                into its only reader leaves nothing else.
            batch: number of examples.
            noise: random tensors by site name. In `Mode.EVAL` a site that is absent counts as 0 (mean mode).
            prefix: the evaluation's name, the first part of its sites' names.
            mode: batch norm and dropout.
            raw: rows that are computed up to their activation, and leave `NAME.raw` alone.
        """
        computed = tuple(names)
        folded = {row for row, reader in self._folded.items() if reader in computed and mode is not Mode.EVAL}
        folded |= {*raw}
        for name in computed:
            self._compute_row(self.plans[name], self.row(name), values, batch, noise, f"{prefix}/{name}", mode, folded)

    def _compute_row(
        self,
        plan: RowPlan,
        row: Row,
        values: MutableMapping[str, Tensor],
        batch: int,
        noise: Mapping[str, Tensor],
        site: str,
        mode: Mode,
        folded: Collection[str],
    ) -> None:
        source = plan.reads[0] if len(plan.reads) == 1 else ""
        if source in folded and source not in values:
            x = values[f"{source}.raw"]
            x = x * _leaky_mask(self.plans[source], x, _scaled(noise[f"{site}.mask"], plan.dropout, x.dtype))
        else:
            x = _combine(plan.input, values, plan.in_shape, self.zero.expand(batch, -1, -1, -1))
            if plan.dropout and mode is not Mode.EVAL:
                x = x * _scaled(noise[f"{site}.mask"], plan.dropout, x.dtype)
        if row.weight is not None:
            x = _operate(plan, x, row.weight, row.bias)
        if plan.batchnorm:
            moving = mode is not Mode.FROZEN
            x = self.batch_norm(
                x,
                row.running_mean if moving else None,
                row.running_variance if moving else None,
                row.gain,
                row.shift,
                training=mode is not Mode.EVAL,
                momentum=self.momentum,
                eps=self.epsilon,
            )
        if plan.activation is not None:
            if plan.activation.name in _WITH_DENSITY or plan.name in folded:
                values[f"{plan.name}.raw"] = x
            if plan.name in folded:
                return
            x = _activate(plan, x, noise, site, mode)
        if plan.pool is not None:
            pool = F.max_pool2d if plan.pool.kind == "max" else F.avg_pool2d
            x = pool(x, plan.pool.size)
        values[plan.name] = x


_WITH_DENSITY = ("expn", "sigmoid", *CATEGORICAL_ACTIVATIONS)


def evaluate_input(read: Input, values: Mapping[str, Tensor]) -> Tensor:
    """The value of an expression of rows that are already computed."""
    like = next(iter(values.values()))
    return _combine(read, values, (1, 1, 1), like.new_zeros(like.shape[0], 1, 1, 1))


def _combine(read: Input, values: Mapping[str, Tensor], shape: tuple[int, int, int], zero: Tensor) -> Tensor:
    """Sums, then concatenation along channels; a B x C x 1 x 1 tensor is repeated over height and width.

    Args:
        read: the expression.
        values: what its names stand for.
        shape: of the result, for one example.
        zero: B x 1 x 1 x 1, of the batch, kind and place of `zeros(n)`.
    """
    parts = []
    for part in read.parts:
        total = _atom(part[0], values, zero)
        for atom in part[1:]:
            total = total + _atom(atom, values, zero)
        parts.append(total)
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part.expand(-1, -1, *shape[1:]) for part in parts], dim=1)


def _atom(atom: Named | Zeros, values: Mapping[str, Tensor], zero: Tensor) -> Tensor:
    return zero.new_zeros(len(zero), atom.channels, 1, 1) if isinstance(atom, Zeros) else values[atom.name]


def _folded(plan: NetworkPlan) -> dict[str, str]:
    """Rows whose leaky ReLU is one multiplication with the dropout of their only reader -> that reader."""
    readers: dict[str, list[RowPlan]] = {}
    for row in plan.rows:
        for atom in row.input.names:
            readers.setdefault(atom.name, []).append(row)
    folded = {}
    for row in plan.rows:
        found = readers.get(row.name, [])
        leaky = row.activation is not None and row.activation.name == "leaky_relu" and row.pool is None
        if leaky and len(found) == 1 and found[0].dropout and found[0].op and len(found[0].input.names) == 1:
            folded[row.name] = found[0].name
    return folded


def _leaky_mask(plan: RowPlan, x: Tensor, mask: Tensor) -> Tensor:
    """1 where x > 0, else the slope, times `mask`: dropout(leaky_relu(x)) is x times this, constant almost everywhere.

    Both derivatives are products with the same tensor, where two operations would pass over memory twice as often.
    """
    assert plan.activation is not None
    return torch.ops.aten.leaky_relu_backward(mask, x.detach(), plan.activation.parameter or 0.0, False)


def _scaled(mask: Tensor, dropout: float, dtype: torch.dtype) -> Tensor:
    """0 or 1 / (1 - p). Products with booleans, and their conversion, are several times slower than with bytes."""
    numbers = mask.view(torch.uint8) if mask.dtype is torch.bool else mask
    return numbers.to(dtype, copy=True).mul_(1 / (1 - dropout))


def _operate(plan: RowPlan, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # A kernel that meets its input at one position is a matrix product, and much faster as one, above all in the
    # second derivative that a penalty takes.
    if plan.op == "linear":
        return F.linear(x.flatten(1), weight, bias)[:, :, None, None]
    if plan.op == "conv":
        if plan.inner_shape[1:] == (1, 1) and not plan.padding and plan.in_shape[1:] == (plan.width, plan.width):
            return F.linear(x.flatten(1), weight.flatten(1), bias)[:, :, None, None]
        return F.conv2d(x, weight, bias, stride=plan.stride, padding=plan.padding)
    if plan.in_shape[1:] == (1, 1) and not plan.padding:
        out = (x.flatten(1) @ weight.flatten(1)).unflatten(1, plan.inner_shape)
        return out if bias is None else out + bias[:, None, None]
    return F.conv_transpose2d(x, weight, bias, stride=plan.stride, padding=plan.padding)


def _activate(plan: RowPlan, x: Tensor, noise: Mapping[str, Tensor], site: str, mode: Mode) -> Tensor:
    assert plan.activation is not None
    name, parameter = plan.activation.name, plan.activation.parameter or 0.0
    if name == "leaky_relu":
        return F.leaky_relu(x, parameter)
    if name == "expn":
        return expn(x, _noise(noise, f"{site}.eps", mode))
    if name == "random_affine":
        return random_affine(x, _noise(noise, f"{site}.affine", mode), parameter)
    if name == "softmax":
        return torch.softmax(x, dim=1)
    if name == "straight_through":
        return straight_through(x)
    if name in GUMBEL_ACTIVATIONS:
        gumbel = _noise(noise, f"{site}.gumbel", mode)
        logits = (x if gumbel is None else x + gumbel) / parameter
        return torch.softmax(logits, dim=1) if name == "gumbel_softmax" else straight_through(logits)
    return _PLAIN[name](x)


_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "elu": F.elu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
}


def _noise(noise: Mapping[str, Tensor], site: str, mode: Mode) -> Tensor | None:
    return noise.get(site) if mode is Mode.EVAL else noise[site]


def expn(log_variance: Tensor, eps: Tensor | None) -> Tensor:
    """ExpN(x) = exp(x / 2) * eps, eps ~ N(0, 1), eq. 20: zero-mean noise with log-variance x; 0 without eps."""
    return torch.zeros_like(log_variance) if eps is None else torch.exp(0.5 * log_variance) * eps


def random_affine(x: Tensor, eps: Tensor | None, scale: float) -> Tensor:
    """x'(u) = x(u + scale (A u + b)), (A | b) = eps ~ N(0, 1)^(2x3): every image shifted, turned, sheared and zoomed.

    Places u = (right, down) run over [-1, 1]^2; between pixels x is bilinear, outside it is its border. x itself
    without eps. Linear in x, and differentiable as often as asked.

    Args:
        x: B x C x H x W.
        eps: B x 2 x 3.
        scale: standard deviation of every entry. A shift of 0.1 is a twentieth of the width.
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


def straight_through(logits: Tensor) -> Tensor:
    """one_hot(argmax_k logits) in the value, softmax(logits) in the gradient; over channels.

    Reference:
        Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, arXiv:1308.3432.
    """
    soft = torch.softmax(logits, dim=1)
    hard = torch.zeros_like(soft).scatter_(1, soft.argmax(dim=1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())


def _initialize(weight: Tensor, plan: RowPlan, generator: torch.Generator) -> None:
    how = plan.weights
    if how.normal is not None:
        nn.init.normal_(weight, std=how.normal, generator=generator)
    elif how.uniform is not None:
        nn.init.uniform_(weight, -how.uniform, how.uniform, generator=generator)
    elif how.xavier_normal is not None:
        nn.init.xavier_normal_(weight, how.xavier_normal, generator=generator)
    elif how.xavier_uniform is not None:
        nn.init.xavier_uniform_(weight, how.xavier_uniform, generator=generator)
    elif how.kaiming_normal is not None:
        gain = nn.init.calculate_gain("leaky_relu", how.kaiming_normal)
        nn.init.normal_(weight, std=gain / math.sqrt(fan_in(plan)), generator=generator)
    else:
        nn.init.orthogonal_(weight, how.orthogonal or 1.0, generator=generator)


def fan_in(plan: RowPlan) -> float:
    """Numbers of its input that reach one number of a row's output, He's fan-in; padding counts, as is usual.

    A transposed convolution reaches some positions by more of its kernel than others: there it is the mean over them,
    C (W / stride)^2 far from borders, C where it starts from 1x1. PyTorch takes the output's channels times W^2.

    Reference:
        He et al., Delving Deep into Rectifiers, arXiv:1502.01852.
    """
    channels, *sizes = plan.in_shape
    if plan.op == "linear":
        return channels * math.prod(sizes)
    if plan.op == "conv":
        return channels * plan.width**2
    return channels * math.prod(_reaching(plan, *pair) for pair in zip(sizes, plan.inner_shape[1:], strict=True))


def _reaching(plan: RowPlan, size: int, out: int) -> float:
    """The mean number of inputs that reach one of `out` positions along an axis."""
    starts = [place * plan.stride - plan.padding for place in range(size)]
    return max(1, sum(max(0, min(start + plan.width, out) - max(start, 0)) for start in starts)) / out
