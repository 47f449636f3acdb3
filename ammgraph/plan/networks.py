"""The plan of variables and networks: rows with their shapes and cost, in an order in which they can be computed."""

from dataclasses import dataclass
from typing import Literal

from ammgraph.layers.activations import ACTIVATIONS
from ammgraph.layers.operations import OPERATIONS, Kernel, Operation, Shape
from ammgraph.spec.notation import Input
from ammgraph.spec.schema import Activation, Pool
from ammgraph.spec.training import Optimizer, Weights

# A row's random tensor -> its kind of site.
NOISE = {kind.noise.name: kind.noise.kind for kind in ACTIVATIONS.values() if kind.noise is not None}


def shape_text(shape: Shape) -> str:
    """(32, 27, 27) -> `32x27x27`."""
    return "x".join(str(size) for size in shape)


@dataclass(frozen=True)
class VariablePlan:
    """A variable of the model. Real and categorical ones are vectors, (size, 1, 1)."""

    name: str
    kind: Literal["image", "categorical", "real"]
    shape: Shape
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class RowPlan:
    """A row of a layer table with its shapes and cost. Order: dropout, op, batch norm, activation, pool."""

    name: str
    input: Input
    in_shape: Shape
    inner_shape: Shape  # before the pool
    out_shape: Shape
    op: str | None  # of `layers.operations`
    width: int
    stride: int
    padding: int
    bias: bool
    dropout: float
    batchnorm: bool
    activation: Activation | None
    pool: Pool | None
    weights: Weights
    biases: float
    parameters: int
    multiply_adds: int  # of one forward pass of one example

    @property
    def noise(self) -> str:
        """The name of the random tensor that its activation takes, or nothing."""
        noise = None if self.activation is None else self.activation.kind.noise
        return "" if noise is None else noise.name

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of that random tensor for one example."""
        noise = None if self.activation is None else self.activation.kind.noise
        return self.inner_shape if noise is None or not noise.shape else noise.shape

    @property
    def operation(self) -> Operation | None:
        """What it does with weights of its own."""
        return None if self.op is None else OPERATIONS[self.op]

    @property
    def columns(self) -> dict[str, int]:
        """Width, stride and padding, as far as its operation has such."""
        return {} if self.op is None else {name: getattr(self, name) for name in OPERATIONS[self.op].columns}

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of its weight; of none where it has no operation."""
        return () if self.op is None else OPERATIONS[self.op].weight(self.in_shape, self.inner_shape[0], self.width)

    @property
    def fan_in(self) -> float:
        """Numbers of its input that reach one number of its output through its weights."""
        assert self.op is not None
        kernel = Kernel(self.width, self.stride, self.padding)
        return OPERATIONS[self.op].mean_fan_in(self.in_shape, self.inner_shape, kernel)

    @property
    def reads(self) -> tuple[str, ...]:
        """The names it reads, each once, in order."""
        return tuple(dict.fromkeys(atom.name for atom in self.input.names))


@dataclass(frozen=True)
class NetworkPlan:
    """A network: its rows in an order in which they can be computed, and what trains it."""

    name: str
    inputs: tuple[tuple[str, Shape], ...]  # names it reads that are not rows
    rows: tuple[RowPlan, ...]
    optimizer: Optimizer
    ema: float | None

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
