"""The plan of variables and networks: rows with their shapes and cost, in an order in which they can be computed."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from ammgraph.layers.operations import OPERATIONS, Linear, Operation, Own, Shape, Sides, kernels, pair
from ammgraph.layers.weights import WEIGHT_NORMS, Sizes, WeightNorm
from ammgraph.spec.columns import Activation, Norm, Pool, Upsample
from ammgraph.spec.notation import Input
from ammgraph.spec.training import Optimizer, Weights


def shape_text(shape: Shape) -> str:
    """(32, 27, 27) -> `32x27x27`."""
    return "x".join(str(size) for size in shape)


@dataclass(frozen=True)
class VariablePlan:
    """A variable of the model. Real and categorical ones are vectors, (size, 1, 1).

    A real one may be the `vector` of a record of the data.
    """

    name: str
    kind: Literal["image", "categorical", "real"]
    shape: Shape
    range: tuple[float, float] | None = None
    vector: bool = False

    @property
    def observed(self) -> bool:
        """Whether it is an example of the data: an image, or a vector."""
        return self.kind == "image" or self.vector


@dataclass(frozen=True)
class RowTensor:
    """A random tensor that a row takes, of one example; its site is `EVALUATION/ROW.NAME`.

    Those that `disturb` the row's input are taken in training alone, the one of an activation always.
    """

    name: str
    kind: Literal["normal", "gumbel", "mask"]
    shape: tuple[int, ...]
    dropout: float = 0.0
    disturbs: bool = False


@dataclass(frozen=True)
class RowPlan:
    """A row of a layer table with its shapes and cost. Order: noise, dropout, op, (batch) norm, activation, pool."""

    name: str
    input: Input
    in_shape: Shape
    inner_shape: Shape  # before pool or upsample
    out_shape: Shape
    op: str | None  # of `layers.operations`
    width: Sides
    stride: Sides
    padding: Sides
    bias: bool
    dropout: float
    batchnorm: bool
    activation: Activation | None
    pool: Pool | None
    weights: Weights
    biases: float
    parameters: int
    multiply_adds: int  # of one forward pass of one example
    noise: float = 0.0  # standard deviation of what is added to its input in training
    weight_norm: str = ""  # of `layers.weights`
    norm: Norm | None = None
    upsample: Upsample | None = None
    heads: int = 1
    choose: str = ""  # what chooses one of the runs of channels that it reads

    @property
    def tensors(self) -> tuple[RowTensor, ...]:
        """The random tensors that it takes, in the order of use; the activation's comes last."""
        found = [RowTensor("noise", "normal", self.in_shape, disturbs=True)] if self.noise else []
        found += [RowTensor("mask", "mask", self.in_shape, self.dropout, disturbs=True)] if self.dropout else []
        own = None if self.activation is None else self.activation.kind.noise
        found += [RowTensor(own.name, own.kind, own.shape or self.noise_shape)] if own is not None else []
        return tuple(found)

    @property
    def undisturbed(self) -> "RowPlan":
        """The same without dropout and noise on its input."""
        return replace(self, dropout=0.0, noise=0.0) if self.dropout or self.noise else self

    @property
    def noise_shape(self) -> Shape:
        """What its activation's noise has the shape of, where that has none of its own."""
        packed = self.activation is not None and self.activation.kind.triangle
        return self.out_shape if packed else self.inner_shape

    @property
    def random(self) -> bool:
        """Whether its activation is random."""
        return not all(tensor.disturbs for tensor in self.tensors)

    @property
    def passes_on(self) -> bool:
        """Whether its activation acts on its input as it is, in training too."""
        return self.op is None and not self.choose and not self.normalised and not self.noise and not self.dropout

    @property
    def operation(self) -> Operation | None:
        """What it makes of its input."""
        return None if self.op is None else OPERATIONS[self.op]

    @property
    def linear(self) -> Linear | None:
        """The weights of its own, if its operation has such."""
        return None if self.operation is None else self.operation.weights

    @property
    def own(self) -> Own | None:
        """The module that it is, if a program has added it."""
        return None if self.operation is None else self.operation.own

    @property
    def columns(self) -> dict[str, Sides]:
        """Width, stride and padding, as far as its operation has such."""
        return {} if self.op is None else {name: getattr(self, name) for name in OPERATIONS[self.op].columns}

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of its weight, if it has one."""
        return () if self.linear is None else self.linear.shape(self.in_shape, self.units, self.width)

    @property
    def shaped(self) -> bool:
        """Whether its output is a vector that is taken as an image."""
        return self.operation is not None and self.operation.shaped and self.inner_shape[1:] != (1, 1)

    @property
    def units(self) -> int:
        """Numbers of its output with weights and a bias of their own: channels, or all of a vector."""
        return math.prod(self.inner_shape) if self.shaped else self.inner_shape[0]

    @property
    def resized(self) -> bool:
        """Whether something changes height and width after its activation."""
        return self.pool is not None or self.upsample is not None

    @property
    def normalised(self) -> bool:
        """Whether it has a normalisation, whose gain and shift learn."""
        return self.batchnorm or self.norm is not None

    @property
    def normed(self) -> WeightNorm | None:
        """What it makes of its weights before it applies them."""
        return WEIGHT_NORMS[self.weight_norm] if self.weight_norm else None

    @property
    def learned(self) -> dict[str, Sizes]:
        """The tensors that learn beside weight and bias to give its weights, by name."""
        return {} if self.normed is None or self.linear is None else self.normed.learns(*self._weight)

    @property
    def kept(self) -> dict[str, Sizes]:
        """The tensors that do not learn and give its weights too, which checkpoints hold."""
        return {} if self.normed is None or self.linear is None else self.normed.keeps(*self._weight)

    @property
    def applied(self) -> int:
        """Numbers of the weights that each pass makes of those that learn."""
        return math.prod(self.weight_shape) if self.normed is not None else 0

    @property
    def _weight(self) -> tuple[Sizes, int]:
        assert self.linear is not None
        return self.weight_shape, self.linear.axis

    @property
    def is_product(self) -> bool:
        """Whether its kernel meets the input at one position, so that it is a product with its weight as a matrix."""
        beside = (1, 1) if self.op == "conv_transpose" else pair(self.width)
        return self.linear is not None and bool(self.columns) and not self.padding and self.in_shape[1:] == beside

    @property
    def flattens(self) -> bool:
        """Whether it reads an image as one vector."""
        whole = self.is_product or (self.operation is not None and self.operation.size is None)
        return self.linear is not None and whole and self.in_shape[1:] != (1, 1)

    @property
    def fan_in(self) -> float:
        """Numbers of its input that reach one number of its output through its weights."""
        assert self.linear is not None
        kernel = kernels(self.width, self.stride, self.padding)
        return self.linear.mean_fan_in(self.in_shape, self.inner_shape, kernel)

    @property
    def reads(self) -> tuple[str, ...]:
        """The names it reads, each once, in order."""
        names = [*(atom.name for atom in self.input.names), self.choose]
        return tuple(dict.fromkeys(filter(None, names)))


@dataclass(frozen=True)
class NetworkPlan:
    """A network: its rows in an order in which they can be computed, and what trains it."""

    name: str
    inputs: tuple[tuple[str, Shape], ...]  # names it reads that are not rows
    rows: tuple[RowPlan, ...]
    optimizer: Optimizer
    ema: float | None
    start: str = ""  # the earlier run, or network of one, as which it begins
    trainable: bool = True

    @property
    def learns(self) -> bool:
        """Whether training changes it."""
        return self.trainable and self.parameters > 0

    def row(self, name: str) -> RowPlan:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one forward pass of one example through every row."""
        return sum(row.multiply_adds for row in self.rows)
