"""What a person wrote: the frozen pydantic models of a spec, one per section, every key with its meaning and range.

Texts in the notation (`y1 + z1`, `encoder.z`, `2 * K`) are parsed here, with the spec's constants as context, so that
behind this module there is no text left to interpret. Whether the parts fit together is the compiler's business.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    InstanceOf,
    PrivateAttr,
    StrictBool,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from ammgraph.spec.notation import LARGEST_COUNT, Call, Reference, number_text, parse_source
from ammgraph.spec.source import SourceMap
from ammgraph.spec.values import (
    ACTIVATIONS as ACTIVATIONS,
)
from ammgraph.spec.values import (
    CATEGORICAL_ACTIVATIONS as CATEGORICAL_ACTIVATIONS,
)
from ammgraph.spec.values import (
    INTEGER_SCHEMA,
    NUMBER_SCHEMA,
    ActivationText,
    Count,
    Expression,
    Model,
    NonNegative,
    Number,
    PoolText,
    Positive,
    ReferenceText,
    Schedule,
    Scheduled,
    Seed,
    Share,
    SideText,
    Whole,
    at_least_zero,
    constants_of,
    describe,
    entries_of,
    in_notation,
    integer_of,
    number_of,
    of_length,
    problem,
    require_one_of,
    text_of,
    told_by_type,
)
from ammgraph.spec.values import (
    Activation as Activation,
)
from ammgraph.spec.values import (
    Pool as Pool,
)
from ammgraph.spec.values import (
    Side as Side,
)

# ---------------------------------------------------------------------------------------- data and variables


def _labeled_count(value: object, info: ValidationInfo) -> int | str:
    count = value if value == "all" else integer_of(value, info)
    if isinstance(count, int) and count < 1:
        raise problem("out-of-range", "{place} is out of range", found=describe(count), expected="at least 1, or `all`")
    return count


LabeledCount = Annotated[int | Literal["all"], BeforeValidator(_labeled_count), INTEGER_SCHEMA]


class Labeled(Model):
    """The labelled subset of the training data, `data.labeled`."""

    count: LabeledCount = Field(description="Number of labelled training examples, or `all`.")
    choice: Literal["random", "balanced"] = Field(
        "random", description="`random`: drawn at random; `balanced`: the same number of each class."
    )


class Data(Model):
    """Where examples come from and how they are split."""

    dataset: Literal["digits", "mnist", "svhn", "npz", "folder"] = Field(
        description="`digits` (scikit-learn, no download), `mnist`, `svhn` (torchvision), `npz`, `folder` (by class)."
    )
    path: str | None = Field(
        None, min_length=1, description="The `.npz` file or the folder; for `npz` and `folder` only."
    )
    validation: Whole = Field(
        0,
        description="Training examples held out: at random by `seed`; of `svhn` the last in file order, as ALI does.",
    )
    labeled: Labeled | None = Field(
        None, description="The labelled subset, chosen from the training examples by `seed`."
    )
    fields: dict[str, Literal["image", "label"]] = Field(
        default_factory=dict, description="Which field of a record a variable takes; by default its type decides."
    )
    seed: Seed = Field(0, description="Seed of the splits and of the labelled subset; independent of the run's seed.")

    @model_validator(mode="after")
    def _path_goes_with_the_dataset(self) -> Self:
        if self.dataset in ("npz", "folder") and self.path is None:
            message = f"{{place}} has no `path`, which `dataset: {self.dataset}` needs"
            raise problem("missing-key", message, stands_at="key")
        if self.dataset not in ("npz", "folder") and self.path is not None:
            message = f"`dataset: {self.dataset}` takes no `path`"
            raise problem(
                "conflicting-keys",
                message,
                at=("path",),
                stands_at="key",
                hint="a run's `--data-dir` says where it lies",
            )
        return self


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise problem("out-of-range", "{place} is empty", expected="[low, high] with low < high")
    return bounds


class ImageVariable(Model):
    """An image, shape (channels, height, width)."""

    type: Literal["image"]
    shape: Annotated[tuple[Count, Count, Count], of_length(3, "[channels, height, width]")] = Field(
        description="[channels, height, width]"
    )
    range: Annotated[tuple[Number, Number], of_length(2, "[low, high]"), AfterValidator(_ascending)] = Field(
        (0.0, 1.0), description="Pixel values of black and white, [low, high]."
    )


class CategoricalVariable(Model):
    """A categorical variable: one-hot vectors of length `size` (or softmax vectors, where a row draws them)."""

    type: Literal["categorical"]
    size: Annotated[int, Field(ge=2, le=LARGEST_COUNT), BeforeValidator(integer_of), INTEGER_SCHEMA] = Field(
        description="Number of categories K."
    )


class RealVariable(Model):
    """A real vector of length `size`."""

    type: Literal["real"]
    size: Count = Field(description="Number of dimensions.")


Variable = Annotated[ImageVariable | CategoricalVariable | RealVariable, Field(discriminator="type")]

# ---------------------------------------------------------------------------------------- networks

Operation = Literal["conv", "conv_transpose", "linear"]


class Weights(Model):
    """How weights are drawn at initialisation: exactly one of the keys."""

    normal: NonNegative | None = Field(None, description="N(0, s^2), s given.")
    uniform: NonNegative | None = Field(None, description="U(-a, a), a given.")
    xavier_normal: Positive | None = Field(None, description="Glorot's normal, gain given.")
    xavier_uniform: Positive | None = Field(None, description="Glorot's uniform, gain given.")
    kaiming_normal: NonNegative | None = Field(None, description="He's normal for a leaky ReLU of the slope given.")
    orthogonal: Positive | None = Field(None, description="Orthogonal, gain given.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        require_one_of(tuple(type(self).model_fields), dict(self))
        return self


class Initializer(Model):
    """Initial weights and biases."""

    weights: Weights = Field(default_factory=lambda: Weights(normal=0.02), description="As in `{normal: 0.02}`.")
    biases: Number = Field(0.0, description="The constant that every bias starts from.")


class RowInitializer(Model):
    """A row's own initial weights or biases; what is absent comes from `training.initializer`."""

    weights: Weights | None = None
    biases: Number | None = None


class Row(Model):
    """A row of a layer table. In this order: dropout on the input, op, batch norm, activation, pool."""

    input: Expression = Field(
        description="What it reads: `x`, `y1 + z1` (sum), `x5 | y2` (channels joined), `zeros(64)`."
    )
    op: Operation | None = Field(
        None, description="The layer's operation; `conv` unless the table's defaults say otherwise."
    )
    channels: Count | None = Field(
        None, description="Output channels; without `width` it only states what must come out."
    )
    width: Count | None = Field(None, description="Kernel width (square). A row with a width is a layer.")
    stride: Count | None = Field(None, description="Stride of the kernel; 1 unless given.")
    padding: Whole | None = Field(
        None, description="Zeros added on every side (for `conv_transpose`: taken away); 0 unless given."
    )
    pool: PoolText | None = Field(None, description="`max 2`, `avg 6`: after the activation, windows must tile.")
    dropout: Share | None = Field(
        None, description="Probability that an element of the row's input is dropped, in [0, 1)."
    )
    batchnorm: StrictBool | None = Field(None, description="Batch normalisation after the operation.")
    activation: ActivationText | None = Field(
        None, description="`leaky_relu 0.2`, `sigmoid`, `expn`, `straight_through`, ..."
    )
    bias: StrictBool | None = Field(
        None, description="A layer has a bias unless batch norm follows first; `true`/`false` decide."
    )
    initializer: RowInitializer | None = Field(None, description="This row's own initial weights and biases.")


class TableDefaults(Model):
    """Columns that a table's rows take where they say nothing."""

    op: Literal["conv", "conv_transpose"] = Field("conv", description="The operation of the rows that have a width.")


class Network(Model):
    """A layer table: rows by name, a directed acyclic graph; the order of rows means nothing."""

    defaults: TableDefaults = Field(default_factory=TableDefaults)
    layers: dict[str, Row] = Field(min_length=1)


# ---------------------------------------------------------------------------------------- distributions


@dataclass(frozen=True)
class DataSource:
    """`data`, `data.labeled` or `data.unlabeled`."""

    part: Literal["all", "labeled", "unlabeled"]

    def __str__(self) -> str:
        return "data" if self.part == "all" else f"data.{self.part}"


@dataclass(frozen=True)
class Uniform:
    """Uniform over the categories, or U(low, high) on a real variable."""

    bounds: tuple[float, float] | None = None

    def __str__(self) -> str:
        return (
            "uniform"
            if self.bounds is None
            else f"uniform({number_text(self.bounds[0])}, {number_text(self.bounds[1])})"
        )


@dataclass(frozen=True)
class Normal:
    """N(mean, scale^2) in every dimension."""

    mean: float = 0.0
    scale: float = 1.0

    def __str__(self) -> str:
        standard = (self.mean, self.scale) == (0, 1)
        return "normal" if standard else f"normal({number_text(self.mean)}, {number_text(self.scale)})"


@dataclass(frozen=True)
class Empirical:
    """The class frequencies of `data.labeled`."""

    def __str__(self) -> str:
        return "empirical"


@dataclass(frozen=True)
class Probabilities:
    """Explicit probabilities of the categories."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        return f"[{', '.join(number_text(value) for value in self.values)}]"


class RandomMeans(Model):
    """Means of a fixed mixture, drawn once from N(0, s^2) by a seed of their own."""

    normal: Positive = Field(description="Standard deviation s of the means.")
    seed: Seed = 0


class Mixture(Model):
    """A fixed mixture: N(mu_k, scale^2) in every dimension, k the factor's one categorical condition."""

    means: Annotated[
        Annotated[RandomMeans, Tag("random")] | Annotated[tuple[tuple[Number, ...], ...], Tag("lists")],
        told_by_type(random="a mapping", lists="a list"),
    ] = Field(description="`{normal: s, seed: n}`, or K lists of numbers.")
    scale: Positive = Field(1.0, description="Standard deviation of every component.")

    def __str__(self) -> str:
        if isinstance(self.means, RandomMeans):
            means = f"{{normal: {number_text(self.means.normal)}, seed: {self.means.seed}}}"
        else:
            means = f"{len(self.means)} means"
        return f"{{mixture: {{means: {means}, scale: {number_text(self.scale)}}}}}"


class MixtureSource(Model):
    """`{mixture: {means: ..., scale: ...}}`."""

    mixture: Mixture


Source = DataSource | Uniform | Normal | Empirical | Probabilities | Mixture | Reference
SOURCE_WORDS = ("data", "data.labeled", "data.unlabeled", "uniform", "normal", "empirical")


def _source(value: object, info: ValidationInfo) -> Source:
    if isinstance(value, list):
        return Probabilities(entries_of(value, lambda item: at_least_zero(number_of(item, info))))
    if isinstance(value, dict):
        return MixtureSource.model_validate(value, context=info.context).mixture
    text = text_of(value, "`data`, a prior, or a row as in `encoder.z`")
    parsed = in_notation(lambda: parse_source(text, constants_of(info)))
    return parsed if isinstance(parsed, Reference) else _word(parsed)


def _word(call: Call) -> Source:
    numbers = tuple(float(value) for value in call.arguments)
    if call.word not in SOURCE_WORDS:
        expected = "`data`, a prior, or a row as in `encoder.z`"
        raise problem(
            "unknown-value",
            f"`{call.word}` draws nothing",
            expected=expected,
            hint=f"a row of a network is written `{call.word}.NAME`",
            name=call.word,
            valid=SOURCE_WORDS,
            end=len(call.word),
        )
    if numbers and (call.word not in ("uniform", "normal") or len(numbers) != 2):
        forms = {"uniform": "`uniform` or `uniform(low, high)`", "normal": "`normal` or `normal(mean, scale)`"}
        message = f"`{call.word}` does not take {len(numbers)} number{'s' if len(numbers) > 1 else ''}"
        raise problem("notation", message, found=f"`{call}`", expected=forms.get(call.word, f"`{call.word}`"))
    if call.word == "uniform":
        if numbers and numbers[0] >= numbers[1]:
            raise problem(
                "out-of-range",
                "the interval is empty",
                found=f"`{call}`",
                expected="`uniform(low, high)` with low < high",
            )
        return Uniform((numbers[0], numbers[1]) if numbers else None)
    if call.word == "normal":
        if numbers and numbers[1] <= 0:
            raise problem(
                "out-of-range",
                "the scale is not positive",
                found=f"`{call}`",
                expected="`normal(mean, scale)` with scale > 0",
            )
        return Normal(*numbers)
    if call.word == "empirical":
        return Empirical()
    part = call.word.partition(".")[2] or "all"
    return DataSource(part)  # type: ignore[arg-type]


SourceValue = Annotated[
    InstanceOf[DataSource]
    | InstanceOf[Uniform]
    | InstanceOf[Normal]
    | InstanceOf[Empirical]
    | InstanceOf[Probabilities]
    | InstanceOf[Mixture]
    | InstanceOf[Reference],
    BeforeValidator(_source),
    WithJsonSchema({"type": ["string", "array", "object"]}),
]

# ---------------------------------------------------------------------------------------- games


class GradientPenalty(Model):
    """lambda E[(||grad d(x^, y^, z^)||_2 - 1)^2] between i-th REAL and i-th FAKE, eq. 18, on the logit."""

    lambda_: Scheduled = Field(alias="lambda", description="Weight of the penalty.")


class Regularizer(Model):
    """A penalty with a weight gamma, at the loss's own points."""

    gamma: Scheduled = Field(description="Weight; the term enters as gamma / 2.")


Objective = Literal["jensen_shannon", "minimax", "wasserstein", "least_squares", "hinge"]


class Game(Model):
    """A game between a discriminator and the networks that draw what it reads."""

    match: Annotated[tuple[SideText, SideText], of_length(2, "[REAL, FAKE]")] = Field(
        description="[REAL, FAKE]: the discriminator says 1 to the first."
    )
    discriminator: ReferenceText = Field(description="The row that holds the logit, as in `critic.p`.")
    objective: Objective = Field(
        description="`jensen_shannon` (label swap), `minimax` (eq. 13), `wasserstein`, `least_squares`, `hinge`."
    )
    weight: Scheduled = Field(
        default_factory=lambda: Schedule(((0.0, 1.0),)), description="Weight of both players' losses."
    )
    batch: Literal["joint", "separate"] = Field(
        "joint", description="Whether REAL and FAKE pass the discriminator as one batch."
    )
    gradient_penalty: GradientPenalty | None = Field(None, description="Eq. 18 (Gulrajani et al. 2017).")
    roth_penalty: Regularizer | None = Field(None, description="The Jensen-Shannon regulariser of Roth et al. 2017.")
    r1_penalty: Regularizer | None = Field(
        None, description="R1 (Mescheder et al. 2018): the squared gradient norm at REAL."
    )
    trains: tuple[str, ...] | None = Field(
        None, min_length=1, description="Networks that this game trains; all it reaches unless given."
    )


# ---------------------------------------------------------------------------------------- training


class Adam(Model):
    """Adam (Kingma & Ba 2014)."""

    name: Literal["adam"]
    learning_rate: Scheduled
    betas: Annotated[tuple[Share, Share], of_length(2, "[beta1, beta2]")] = (0.9, 0.999)
    epsilon: Positive = 1e-8
    weight_decay: NonNegative = 0.0


class Sgd(Model):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: Scheduled
    momentum: Share = 0.0
    weight_decay: NonNegative = 0.0


class RmsProp(Model):
    """RMSprop (Tieleman & Hinton 2012)."""

    name: Literal["rmsprop"]
    learning_rate: Scheduled
    decay: Share = 0.99
    epsilon: Positive = 1e-8
    weight_decay: NonNegative = 0.0


Optimizer = Annotated[Adam | Sgd | RmsProp, Field(discriminator="name")]


class Turn(Model):
    """One entry of an alternating schedule: which networks are updated, how often, in which games."""

    update: tuple[str, ...] = Field(min_length=1, description="Networks updated in this turn.")
    games: tuple[str, ...] | None = Field(None, min_length=1, description="Games whose losses count; all unless given.")
    steps: Count = Field(1, description="How often the turn is taken in one step of training.")
    draw: Literal["new", "same"] = Field("new", description="`same`: the data and noise of the turn before.")


class BatchNorm(Model):
    """Batch normalisation (Ioffe & Szegedy 2015)."""

    momentum: Annotated[float, Field(gt=0, le=1), BeforeValidator(number_of), NUMBER_SCHEMA] = Field(
        0.1, description="Weight of the new batch in the running statistics."
    )
    epsilon: Positive = Field(1e-5, description="Added to the variance.")


def _is_mapping(value: object) -> str:
    return "by distribution" if isinstance(value, dict) else "one"


BatchSize = Annotated[
    Annotated[Count, Tag("one")] | Annotated[dict[str, Count], Field(min_length=1), Tag("by distribution")],
    Discriminator(_is_mapping),
]


class Training(Model):
    """How the networks are trained."""

    batch_size: BatchSize = Field(description="Examples per batch; by distribution as `{default: 100, q_labeled: 50}`.")
    epochs: Positive | None = Field(None, description="Length in passes through `data`; this or `steps`.")
    steps: Count | None = Field(None, description="Length in steps; this or `epochs`.")
    optimizers: dict[str, Optimizer] = Field(
        min_length=1, description="`default`, and networks by name, merged over the default."
    )
    initializer: Initializer = Field(default_factory=Initializer)
    batchnorm: BatchNorm = Field(default_factory=BatchNorm)
    ema: dict[str, Share] = Field(
        default_factory=dict, description="Decay of averaged weights: `default`, and networks by name."
    )
    schedule: tuple[Turn, ...] | None = Field(
        None, min_length=1, description="Alternating turns; absent: every network at once."
    )

    @model_validator(mode="after")
    def _epochs_or_steps(self) -> Self:
        require_one_of(("epochs", "steps"), dict(self))
        return self


class Evaluation(Model):
    """How a run is evaluated."""

    weights: Literal["last", "ema"] = Field("last", description="Which weights are evaluated.")
    every_epochs: Positive = Field(1.0, description="Epochs between two evaluations during training.")


class Published(Model):
    """A number from the literature, shown beside a run's own."""

    when: dict[str, Number] = Field(default_factory=dict, description="Values of constants for which the number holds.")
    metric: Literal["clustering_error", "classification_error", "nmi", "ari"]
    value: Number
    std: NonNegative | None = None
    unit: Literal["percent", "fraction"] = "percent"
    trials: Count | None = None
    source: str = Field(min_length=1, description="Where it stands, as in `Table 1`.")


Distribution = Annotated[
    Annotated[dict[str, SourceValue], Field(min_length=1), Tag("factors")] | Annotated[str, Tag("name")],
    told_by_type(factors="a mapping", name="a text"),
]
Notes = Annotated[
    Annotated[str, Tag("text")] | Annotated[tuple[str, ...], Tag("list")], told_by_type(text="a text", list="a list")
]


class Spec(Model):
    """A whole spec. `source` tells where every value was written."""

    ammgraph: Literal[1] = Field(description="Version of the language.")
    title: str = ""
    notes: Notes = Field("", description="Readings and remarks; no meaning.")
    constants: dict[str, Number] = Field(default_factory=dict, description="Numbers by name, for use in arithmetic.")
    data: Data
    variables: dict[str, Variable] = Field(min_length=1)
    networks: dict[str, Network] = Field(min_length=1)
    distributions: dict[str, Distribution] = Field(min_length=1)
    games: dict[str, Game] = Field(min_length=1)
    training: Training
    evaluation: Evaluation = Field(default_factory=Evaluation)
    published: tuple[Published, ...] = ()

    _source: SourceMap = PrivateAttr()
    _written: dict[str, Any] = PrivateAttr()

    @property
    def source(self) -> SourceMap:
        """Path of a value -> its place in the files that it came from."""
        return self._source

    @property
    def written(self) -> dict[str, Any]:
        """The resolved spec as plain data: after `extends` and `--set`, before any default."""
        return self._written
