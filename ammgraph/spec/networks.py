"""What a person wrote under `networks`, as `schema` is for the whole spec: layer tables and their rows."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StrictBool, create_model

from ammgraph.layers.norms import NORMS
from ammgraph.layers.operations import OPERATIONS
from ammgraph.layers.weights import WEIGHT_NORMS
from ammgraph.spec.columns import ActivationText, AtLeastOne, AtLeastZero, NameText, NormText, PoolText, UpsampleText
from ammgraph.spec.notation import Named
from ammgraph.spec.one_of import OneOf
from ammgraph.spec.training import Weights
from ammgraph.spec.values import Count, Expression, Model, Number, Positive, Share, of_length

OperationName = Annotated[str, OneOf(lambda: OPERATIONS)]
MovingName = Annotated[str, OneOf(lambda: (name for name, does in OPERATIONS.items() if "width" in does.columns))]


class RowInitializer(Model):
    """A row's own initial weights or biases; what is absent comes from `training.initializer`."""

    weights: Weights | None = Field(
        None, description="How this row's weights are drawn.", examples=[{"kaiming_normal": 0.2}]
    )
    biases: Number | None = Field(None, description="The constant that this row's biases start from.", examples=[-1])


class _Columns(Model):
    """The columns of a row that stand in no table."""

    input: Expression = Field(
        description="What it reads, rows and variables by name: `y1 + z1` adds, `gate * h` multiplies, `x5 | y2 | z2` "
        "joins channels (`*` binds tighter than `+`, and that than `|`), `zeros(64)` is 64 channels of zeros.",
        examples=["h | y | z"],
    )
    op: OperationName | None = Field(
        None,
        description="The layer's operation: "
        + ", ".join(f"`{name}` ({operation.meaning})" for name, operation in OPERATIONS.items())
        + ". A row with a width takes the table's default, else `conv`.",
        examples=["conv_transpose"],
    )
    choose: NameText | None = Field(
        None,
        description="Of a row without `op`: a vector of K that weighs K runs of consecutive channels of the input, "
        "sum_k y_k x_k; a one-hot chooses one of them. What is named is read, as the input is.",
        examples=["y"],
    )
    channels: Count | None = Field(
        None,
        description="Output channels of a layer, or groups of an `op` without weights, which divide the input's "
        "channels; without `width` and `op` it only states what must come out.",
        examples=[64],
    )
    shape: Annotated[tuple[Count, Count, Count], of_length(3, "[channels, height, width]")] | None = Field(
        None,
        description="[channels, height, width] of what `linear` puts out, in place of `channels`; each number has "
        "weights of its own.",
        examples=[[1, 28, 28]],
    )
    width: AtLeastOne | None = Field(
        None,
        description="Kernel width in pixels, of a square or [down, right]. A row with a width is a layer.",
        examples=[3],
    )
    stride: AtLeastOne | None = Field(
        None, description="Stride of the kernel in pixels, or [down, right]; 1 unless given.", examples=[2]
    )
    padding: AtLeastZero | None = Field(
        None,
        description="Rows of zeros added on every side, in pixels, or [above and below, left and right] (of "
        "`conv_transpose`: taken away); 0 unless given.",
        examples=[1],
    )
    heads: Count | None = Field(
        None, description="Heads of `attention`, which divide its channels; 1 unless given.", examples=[4]
    )
    pool: PoolText | None = Field(
        None,
        description="`max 2`, `avg 6 by 4`: pooling after the activation over windows of that width, or height "
        "by width, which must tile.",
        examples=["max 2"],
    )
    upsample: UpsampleText | None = Field(
        None,
        description="`nearest 2`, `nearest 2 by 3`: every position repeated so often, down and to the right, after the "
        "activation.",
        examples=["nearest 2"],
    )
    noise: Positive | None = Field(
        None,
        description="Standard deviation of the normal noise that is added to every element of the row's input in "
        "training, before dropout.",
        examples=[0.1],
    )
    dropout: Share | None = Field(
        None, description="Probability that an element of the row's input is dropped in training.", examples=[0.2]
    )
    batchnorm: StrictBool | None = Field(None, description="Batch normalisation after the operation.", examples=[True])
    norm: NormText | None = Field(
        None,
        description="Normalisation of each example by itself after the operation: "
        + ", ".join(f"`{name}{' n' if kind.counted else ''}` ({kind.meaning})" for name, kind in NORMS.items())
        + ".",
        examples=["group 8"],
    )
    activation: ActivationText | None = Field(
        None, description="A function of every element, a choice among channels, or noise.", examples=["leaky_relu 0.2"]
    )
    bias: StrictBool | None = Field(
        None,
        description="Whether a layer adds a bias; unless given it does where no batch or instance norm follows first.",
        examples=[False],
    )
    initializer: RowInitializer | None = Field(
        None, description="This row's own initial weights and biases.", examples=[{"weights": {"normal": 1.5}}]
    )


if TYPE_CHECKING:

    class _Row(_Columns):
        """The columns of a row."""
else:
    _Row = create_model(
        "_Row",
        __base__=_Columns,
        **{
            name: (StrictBool | None, Field(None, description=norm.meaning, examples=[True]))
            for name, norm in WEIGHT_NORMS.items()
        },
    )


class Row(_Row):
    """A row of a layer table. In this order: noise and dropout on the input, op, (batch) norm, activation, pool."""

    @property
    def names(self) -> tuple[Named, ...]:
        """The rows and variables that it reads, in order of reading, each as often as it is read."""
        return (*self.input.names, *(() if self.choose is None else (self.choose,)))

    @property
    def weight_norms(self) -> tuple[str, ...]:
        """What it makes of its weights; more than one contradict each other."""
        return tuple(name for name in WEIGHT_NORMS if getattr(self, name))


class TableDefaults(Model):
    """Columns that a table's rows take where they say nothing."""

    op: MovingName = Field(
        "conv", description="The operation of the rows that have a width.", examples=["conv_transpose"]
    )


class Network(Model):
    """A layer table: rows by name, a directed acyclic graph; the order of rows means nothing."""

    defaults: TableDefaults = Field(
        default_factory=TableDefaults,
        description="Columns that rows take where they say nothing.",
        examples=[{"op": "conv_transpose"}],
    )
    start: str = Field(
        "",
        alias="from",
        description="An earlier run whose network of the same name, or of the name behind it, this one begins as, "
        "`RUN` or `RUN/NETWORK`; relative to the current folder.",
        examples=["runs/ali_mnist-1/encoder"],
    )
    trainable: StrictBool = Field(
        True,
        description="Whether it is trained. One that is not keeps its weights, and is evaluated as after training: "
        "without dropout and noise on inputs, batch norm by its running statistics.",
        examples=[False],
    )
    layers: dict[str, Row] = Field(
        min_length=1,
        description="The rows by name. A row named like a variable is that variable.",
        examples=[{"h": {"input": "x", "channels": 64, "width": 8}}],
    )
