"""Layer tables as modules: a `Network` owns the weights of its rows and computes rows on request.

Axes: B batch, C channels, H height, W width. Every tensor is B x C x H x W; a vector of n is B x n x 1 x 1.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ammgraph.layers.initializers import INITIALIZERS
from ammgraph.layers.norms import EPSILON
from ammgraph.layers.operations import POOLS, UPSAMPLES
from ammgraph.nn.functions import chosen, function, groups
from ammgraph.nn.own import built, passed
from ammgraph.nn.second import operation
from ammgraph.plan.networks import NetworkPlan, RowPlan
from ammgraph.spec.columns import Activation
from ammgraph.spec.notation import Input, Named, Times, Zeros, factors_of


class Mode(Enum):
    """How batch norm, dropout and noise on inputs behave in an evaluation (R13)."""

    TRAIN = "batch statistics, which move the running ones; masks and noise on inputs"
    FROZEN = "batch statistics, which move nothing; masks and noise on inputs"
    EVAL = "running statistics; neither of these; without noise `expn` is 0, Gumbel noise 0, an affine map the identity"


class Row(nn.Module):
    """The weights of one row, and its normalisation."""

    running_mean: Tensor | None
    running_variance: Tensor | None

    def __init__(self, plan: RowPlan) -> None:
        super().__init__()
        out_channels = plan.inner_shape[0]
        self.weight = None if plan.linear is None else nn.Parameter(torch.empty(plan.weight_shape))
        self.bias = nn.Parameter(torch.empty(plan.units)) if plan.bias else None
        self.gain = nn.Parameter(torch.ones(out_channels)) if plan.normalised else None
        self.shift = nn.Parameter(torch.zeros(out_channels)) if plan.normalised else None
        self.register_buffer("running_mean", torch.zeros(out_channels) if plan.batchnorm else None)
        self.register_buffer("running_variance", torch.ones(out_channels) if plan.batchnorm else None)
        for name, shape in plan.learned.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))
        for name, shape in plan.kept.items():
            self.register_buffer(name, torch.empty(shape))
        self.module = None if plan.own is None else built(plan.own, plan.in_shape, 0)
        self._norm, self._own = plan.normed, [*plan.learned, *plan.kept]
        self._axis = 0 if plan.linear is None else plan.linear.axis

    @property
    def applied(self) -> Tensor | None:
        """The weight that a pass applies: as it learns, or what its norm makes of it."""
        if self._norm is None or self.weight is None:
            return self.weight
        applied: Tensor = function(self._norm.torch)(self.weight, self._axis, *self._tensors)
        return applied

    @torch.no_grad()
    def begin(self, generator: torch.Generator) -> None:
        """Let the tensors of its weight norm start, after the weight."""
        if self._norm is not None:
            self._set(function(self._norm.begin)(self.weight, self._axis, generator))

    @torch.no_grad()
    def step(self) -> None:
        """Bring what its weight norm keeps up to the weight as it is now."""
        if self._norm is not None and self._norm.step:
            self._set(function(self._norm.step)(self.weight, self._axis, *self._tensors))

    @property
    def _tensors(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._own]

    def _set(self, values: Iterable[Tensor]) -> None:
        for tensor, value in zip(self._tensors, values, strict=True):
            tensor.copy_(value)


@dataclass(frozen=True)
class _Running:
    """An evaluation that is going on: see `Network.compute`."""

    values: MutableMapping[str, Tensor]
    batch: int
    noise: Mapping[str, Tensor]
    prefix: str
    mode: Mode
    folded: Collection[str]
    batch_norm: Callable[..., Tensor]


class Network(nn.Module):
    """A layer table. Rows are stored as `row_NAME`, so that a row may have any name."""

    zero: Tensor  # of the kind and place of `zeros(n)`, also where a network reads nothing else

    def __init__(self, plan: NetworkPlan, momentum: float, epsilon: float) -> None:
        super().__init__()
        self.plan, self.momentum, self.epsilon = plan, momentum, epsilon
        self.plans = {row.name: row for row in plan.rows}
        self.rows = nn.ModuleDict({f"row_{row.name}": Row(row) for row in plan.rows})
        self.batch_norm: Callable[..., Tensor] = F.batch_norm
        self.whole_batch_norm: Callable[..., Tensor] = F.batch_norm  # of examples that each of several processes has
        self.register_buffer("zero", torch.zeros(1, 1, 1, 1), persistent=False)
        self._folded = _folded(plan)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw every weight as its row says; biases are constants, batch norm starts as the identity."""
        for plan in self.plan.rows:
            row = self.row(plan.name)
            if row.weight is not None:
                name, number = plan.weights.chosen
                begin = INITIALIZERS[name]
                function(begin.torch)(row.weight, **begin.arguments(number, plan.fan_in), generator=generator)
                row.begin(generator)
            if plan.own is not None:
                row.module = built(plan.own, plan.in_shape, int(torch.randint(2**62, (), generator=generator)))
            if row.bias is not None:
                nn.init.constant_(row.bias, plan.biases)

    def step(self) -> None:
        """Bring what weight norms keep up to the weights, before a turn of training."""
        for plan in self.plan.rows if self.plan.trainable else ():
            self.row(plan.name).step()

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
        *,
        whole: bool = False,
    ) -> None:
        """Compute rows in the order given, each once, into `values`.

        Args:
            names: rows in computing order.
            values: local name -> tensor; holds what the rows read from outside. A row with an activation that carries a
                density also leaves its value before the activation, by its name in `raw`; a row whose activation is
                folded into its only reader leaves nothing else.
            batch: number of examples.
            noise: random tensors by site name. In `Mode.EVAL` a site that is absent counts as 0 (mean mode).
            prefix: the evaluation's name, the first part of its sites' names.
            mode: batch norm, dropout and noise on inputs.
            raw: rows that are computed up to their activation, and leave `NAME.raw` alone.
            whole: of several processes each has all of these examples, and not its part of them.
        """
        computed, mode = tuple(names), mode if self.plan.trainable else Mode.EVAL
        folded = {row for row, reader in self._folded.items() if reader in computed and mode is not Mode.EVAL}
        folded |= {*raw}
        batch_norm = self.whole_batch_norm if whole else self.batch_norm
        running = _Running(values, batch, noise, prefix, mode, folded, batch_norm)
        for name in computed:
            self._compute_row(self.plans[name], running)

    def value_of(self, name: str, values: Mapping[str, Tensor]) -> Tensor:
        """The value of a row that is computed, also where its activation is folded into its reader."""
        plan = self.plans[name]
        if name in values or plan.activation is None:
            return values[name]
        return _activate(plan.activation, values[raw(name)], {}, "", Mode.TRAIN)

    def _compute_row(self, plan: RowPlan, running: _Running) -> None:
        row, site = self.row(plan.name), f"{running.prefix}/{plan.name}"
        values, noise, mode = running.values, running.noise, running.mode
        source = plan.reads[0] if len(plan.reads) == 1 else ""
        if source in running.folded and source not in values:
            x = values[raw(source)]
            x = x * _leaky_mask(self.plans[source], x, _scaled(noise[f"{site}.mask"], plan.dropout, x.dtype))
        else:
            x = _combine(plan.input, values, plan.in_shape, self.zero.expand(running.batch, -1, -1, -1))
            if plan.noise and mode is not Mode.EVAL:
                x = torch.add(x, noise[f"{site}.noise"].to(x.dtype), alpha=plan.noise)
            if plan.dropout and mode is not Mode.EVAL:
                x = x * _scaled(noise[f"{site}.mask"], plan.dropout, x.dtype)
        if plan.choose:
            x = chosen(x, values[plan.choose])
        if row.module is not None:
            x = passed(row.module, x, mode is not Mode.EVAL, moving=mode is not Mode.FROZEN)
        elif plan.operation is not None and plan.linear is None:
            of = function(plan.operation.torch)
            x = of(x, **plan.columns) if plan.columns else of(groups(x, plan.inner_shape[0]), dim=2)
        elif plan.operation is not None:
            if plan.flattens and x.requires_grad:
                x = _AsItLies.apply(x)
            columns = {name: value for name, value in plan.columns.items() if name != "width"}
            x = operation(plan.operation.torch)(x, row.applied, row.bias, **columns)
            x = x.reshape(-1, *plan.inner_shape) if plan.shaped else x
        if plan.normalised:
            x = self._normalised(plan, x, running)
        if plan.activation is not None:
            if plan.activation.kind.density or plan.name in running.folded:
                values[raw(plan.name)] = x
            if plan.name in running.folded:
                return
            x = _activate(plan.activation, x, noise, site, mode)
        if plan.pool is not None:
            x = function(POOLS[plan.pool.kind])(x, plan.pool.size)
        if plan.upsample is not None:
            x = function(UPSAMPLES[plan.upsample.kind])(x, scale_factor=plan.upsample.size)
        values[plan.name] = x

    def _normalised(self, plan: RowPlan, x: Tensor, running: _Running) -> Tensor:
        row, mode = self.row(plan.name), running.mode
        if plan.batchnorm:
            moving = mode is not Mode.FROZEN
            x = running.batch_norm(
                x,
                row.running_mean if moving else None,
                row.running_variance if moving else None,
                row.gain,
                row.shift,
                training=mode is not Mode.EVAL,
                momentum=self.momentum,
                eps=self.epsilon,
            )
        if plan.norm is not None:
            x = F.group_norm(x, plan.norm.groups_of(x.shape[1]), row.gain, row.shift, EPSILON)
        return x


class _AsItLies(torch.autograd.Function):
    """The same tensor, whose gradient lies in memory as itself: what flattens it gives one with channels first.

    The derivatives of activations and of batch norm are several times slower where the two lie differently.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else None
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient if ctx.layout is None else gradient.contiguous(memory_format=ctx.layout)


@contextmanager
def without_graph() -> Iterator[None]:
    """No gradient; and autocast forgets the weights that it has cast meanwhile, which have none either."""
    with torch.no_grad():
        yield
    torch.clear_autocast_cache()


def raw(row: str) -> str:
    """The name of a row's value before its activation, among the values of rows."""
    return f"{row}.raw"


def evaluate_input(read: Input, values: Mapping[str, Tensor]) -> Tensor:
    """The value of an expression of rows that are already computed."""
    like = next(iter(values.values()))
    return _combine(read, values, (1, 1, 1), like.new_zeros(like.shape[0], 1, 1, 1))


def _combine(read: Input, values: Mapping[str, Tensor], shape: tuple[int, int, int], zero: Tensor) -> Tensor:
    """Products, then sums, then concatenation along channels; a B x C x 1 x 1 tensor is repeated over height and width.

    Args:
        read: the expression.
        values: what its names stand for.
        shape: of the result, for one example.
        zero: B x 1 x 1 x 1, of the batch, kind and place of `zeros(n)`.
    """
    parts = []
    for part in read.parts:
        total = _summand(part[0], values, zero)
        for summand in part[1:]:
            total = total + _summand(summand, values, zero)
        parts.append(total)
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part.expand(-1, -1, *shape[1:]) for part in parts], dim=1)


def _summand(summand: Named | Zeros | Times, values: Mapping[str, Tensor], zero: Tensor) -> Tensor:
    first, *others = factors_of(summand)
    product = _atom(first, values, zero)
    for factor in others:
        product = product * _atom(factor, values, zero)
    return product


def _atom(atom: Named | Zeros, values: Mapping[str, Tensor], zero: Tensor) -> Tensor:
    return zero.new_zeros(len(zero), atom.channels, 1, 1) if isinstance(atom, Zeros) else values[atom.name]


def _folded(plan: NetworkPlan) -> dict[str, str]:
    """Rows whose leaky ReLU is one multiplication with the dropout of their only reader -> that reader."""
    readers: dict[str, list[RowPlan]] = {}
    for row in plan.rows:
        for name in [*(atom.name for atom in row.input.names), row.choose]:
            readers.setdefault(name, []).append(row)
    folded = {}
    for row in plan.rows:
        found = readers.get(row.name, [])
        leaky = row.activation is not None and row.activation.name == "leaky_relu" and not row.resized
        reader = found[0] if leaky and len(found) == 1 else None
        if reader and reader.dropout and not reader.noise and reader.op and reader.input.single:
            folded[row.name] = reader.name
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


def _activate(activation: Activation, x: Tensor, noise: Mapping[str, Tensor], site: str, mode: Mode) -> Tensor:
    kind = activation.kind
    arguments = [] if activation.parameter is None else [activation.parameter]
    if kind.noise is None:
        return function(kind.torch)(x, *arguments, **dict(kind.keywords))
    name = f"{site}.{kind.noise.name}"
    drawn = noise.get(name) if mode is Mode.EVAL else noise[name]
    return function(kind.torch)(x, *arguments, drawn, **dict(kind.keywords))
