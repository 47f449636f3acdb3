"""What a person wrote: the frozen pydantic models of a spec, one per section, every key with its meaning and range.

Texts in the notation (`y1 + z1`, `encoder.z`, `2 * K`) are parsed here, with the spec's constants as context, so that
behind this module there is no text left to interpret. Whether the parts fit together is the compiler's business.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    InstanceOf,
    ModelWrapValidatorHandler,
    PrivateAttr,
    StrictBool,
    Tag,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from ammgraph.spec.notation import (
    Call,
    Input,
    NotationError,
    Reference,
    number_text,
    parse_input,
    parse_number,
    parse_reference,
    parse_side,
    parse_source,
)
from ammgraph.spec.source import SourceMap

# ------------------------------------------------------------------------------------------ values in the notation


def problem(code: str, message: str, **details: object) -> PydanticCustomError:
    """A pydantic error whose type is our diagnostic code; `{place}` in the message is the key or entry that it means.

    Details: found, expected, hint; valid and name for a did-you-mean; start and end, columns of the text; at, a path
    further down; stands_at="key" to point at the key and not at the value.
    """
    return PydanticCustomError(code, "{message}", {"message": message, **details})


def _constants(info: ValidationInfo) -> Mapping[str, Fraction]:
    return (info.context or {}).get("constants", {})


def _wrong_type(value: object, what: str) -> PydanticCustomError:
    return problem("wrong-type", f"{{place}} is not {what}", found=describe(value), expected=what)


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(value, what)
    return value


def describe(value: object) -> str:
    """What was found, for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = number_text(value) if isinstance(value, float) else str(value)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


T = TypeVar("T")


def _notation(parse: Callable[[], T], offset: int = 0) -> T:
    """The result of a parser; its error becomes a problem at its columns, `offset` further right in the whole text."""
    try:
        return parse()
    except NotationError as error:
        start, end = error.start + offset, error.end + offset
        details = {"start": start, "end": end, "expected": error.expected, "hint": error.hint}
        raise problem("notation", error.message, **details) from None


def _entries(values: list[object], parse: Callable[[object], T]) -> tuple[T, ...]:
    """Every entry of a list parsed; a problem stands at its entry."""
    parsed = []
    for index, value in enumerate(values):
        try:
            parsed.append(parse(value))
        except PydanticCustomError as error:
            context = dict(error.context or {})
            path = (index, *context.pop("at", ()))
            raise problem(error.type, context.pop("message"), **context, at=path) from None
    return tuple(parsed)


def _exact(value: object, info: ValidationInfo, what: str, offset: int = 0) -> Fraction:
    if isinstance(value, str):
        return _notation(lambda: parse_number(value, _constants(info)), offset)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(value, what)
    return Fraction(repr(value))


def _number(value: object, info: ValidationInfo, offset: int = 0) -> float:
    return float(_exact(value, info, "a number or arithmetic of constants", offset))


def _integer(value: object, info: ValidationInfo, offset: int = 0) -> int:
    exact = _exact(value, info, "a whole number or arithmetic of constants", offset)
    if exact.denominator != 1:
        raise problem(
            "wrong-type", "{place} is not a whole number", found=f"`{number_text(exact)}`", expected="a whole number"
        )
    return int(exact)


_NUMBER_SCHEMA = WithJsonSchema({"type": ["number", "string"]})
_INTEGER_SCHEMA = WithJsonSchema({"type": ["integer", "string"]})
Number = Annotated[float, BeforeValidator(_number), _NUMBER_SCHEMA]
Integer = Annotated[int, BeforeValidator(_integer), _INTEGER_SCHEMA]
Count = Annotated[int, Field(ge=1, le=10**9), BeforeValidator(_integer), _INTEGER_SCHEMA]
Positive = Annotated[float, Field(gt=0), BeforeValidator(_number), _NUMBER_SCHEMA]
NonNegative = Annotated[float, Field(ge=0), BeforeValidator(_number), _NUMBER_SCHEMA]


@dataclass(frozen=True)
class Schedule:
    """A number that may change with the epoch: linear between breakpoints (epoch, value), constant outside them."""

    points: tuple[tuple[float, float], ...]

    def at(self, epoch: float) -> float:
        """The value at a (fractional) epoch; at two breakpoints of one epoch the later one counts."""
        earlier = [point for point in self.points if point[0] <= epoch]
        later = [point for point in self.points if point[0] > epoch]
        if not earlier or not later:
            return (earlier[-1] if earlier else later[0])[1]
        (start, first), (end, last) = earlier[-1], later[0]
        return first + (last - first) * (epoch - start) / (end - start)

    def __str__(self) -> str:
        if len(self.points) == 1:
            return number_text(self.points[0][1])
        return " -> ".join(f"{number_text(value)} @{number_text(epoch)}" for epoch, value in self.points)


def _schedule(value: object, info: ValidationInfo) -> Schedule:
    if not isinstance(value, list):
        return Schedule(((0.0, _at_least_zero(_number(value, info))),))
    if not value or not all(isinstance(point, list) and len(point) == 2 for point in value):
        raise _wrong_type(value, "a number, or a list of [epoch, value] pairs")
    points = _entries(value, lambda point: _breakpoint(point, info))
    if any(first[0] > second[0] for first, second in pairwise(points)):
        raise problem("out-of-range", "the epochs of {place} do not increase", expected="epochs in ascending order")
    return Schedule(points)


def _breakpoint(point: Any, info: ValidationInfo) -> tuple[float, float]:
    epoch, value = _entries(point, lambda number: _at_least_zero(_number(number, info)))
    return epoch, value


def _at_least_zero(value: float) -> float:
    if value < 0:
        raise problem("out-of-range", "{place} is negative", found=f"`{number_text(value)}`", expected="at least 0")
    return value


Scheduled = Annotated[
    InstanceOf[Schedule], BeforeValidator(_schedule), WithJsonSchema({"type": ["number", "string", "array"]})
]


@dataclass(frozen=True)
class Activation:
    """An activation by name, with its number where it takes one: `leaky_relu 0.2`."""

    name: str
    parameter: float | None = None

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name} {number_text(self.parameter)}"


# name -> whether it takes a number
ACTIVATIONS: dict[str, bool] = {
    "elu": False,
    "expn": False,
    "gumbel_softmax": True,
    "leaky_relu": True,
    "relu": False,
    "sigmoid": False,
    "softmax": False,
    "softplus": False,
    "straight_through": False,
    "tanh": False,
}
CATEGORICAL_ACTIVATIONS = ("softmax", "straight_through", "gumbel_softmax")


def _activation(value: object, info: ValidationInfo) -> Activation:
    text = _text(value, "an activation, as in `leaky_relu 0.2`")
    name, parameter, offset = _word_and_number(text)
    if name not in ACTIVATIONS:
        raise problem("unknown-value", f"`{name}` is not an activation", name=name, valid=tuple(ACTIVATIONS))
    if not ACTIVATIONS[name]:
        if parameter:
            raise problem("notation", f"`{name}` takes no number", start=offset, end=len(text), expected=f"`{name}`")
        return Activation(name)
    if not parameter:
        example = {"leaky_relu": "0.2", "gumbel_softmax": "0.5"}[name]
        raise problem("notation", f"`{name}` needs a number", expected=f"as in `{name} {example}`")
    number = _number(parameter, info, offset)
    if number < 0 or (name == "gumbel_softmax" and number == 0):
        expected = "at least 0" if name == "leaky_relu" else "more than 0"
        raise problem(
            "out-of-range", f"the number of `{name}` is out of range", start=offset, end=len(text), expected=expected
        )
    return Activation(name, number)


def _word_and_number(text: str) -> tuple[str, str, int]:
    """`leaky_relu 0.2` -> the word, the rest, and the column where the rest begins."""
    word = text.strip().partition(" ")[0]
    rest = text.strip()[len(word) :].strip()
    return word, rest, text.rindex(rest) if rest else len(text)


@dataclass(frozen=True)
class Pool:
    """`max 2`, `avg 6`: pooling over windows of size x size that do not overlap."""

    kind: Literal["max", "avg"]
    size: int

    def __str__(self) -> str:
        return f"{self.kind} {self.size}"


def _pool(value: object, info: ValidationInfo) -> Pool:
    text = _text(value, "a pooling, as in `max 2` or `avg 6`")
    kind, size, offset = _word_and_number(text)
    if kind not in ("max", "avg"):
        raise problem("unknown-value", f"`{kind}` is not a pooling", expected="as in `max 2` or `avg 6`")
    if not size:
        raise problem("notation", f"`{kind}` needs the window's width", expected=f"as in `{kind} 2`")
    number = _integer(size, info, offset)
    if not 1 <= number <= 10**9:
        message = f"the window of `{kind}` is out of range"
        raise problem("out-of-range", message, start=offset, end=len(text), found=f"`{number}`", expected="at least 1")
    return Pool(kind, number)  # type: ignore[arg-type]


def _input(value: object, info: ValidationInfo) -> Input:
    return _notation(lambda: parse_input(_text(value, "an input, as in `x` or `y1 + z1`"), _constants(info)))


def _reference(value: object) -> Reference:
    return _notation(lambda: parse_reference(_text(value, "a row of a network, as in `critic.p`")))


@dataclass(frozen=True)
class Side:
    """One side of a game: distributions with their weights, `1/2 p + 1/2 r`."""

    summands: tuple[tuple[float, str], ...]

    def __str__(self) -> str:
        return " + ".join(name if weight == 1 else f"{number_text(weight)} {name}" for weight, name in self.summands)


def _side(value: object) -> Side:
    summands = _notation(lambda: parse_side(_text(value, "a distribution, as in `q`, or a weighted sum of them")))
    return Side(tuple((float(weight), name) for weight, name in summands))


Expression = Annotated[InstanceOf[Input], BeforeValidator(_input), WithJsonSchema({"type": "string"})]
ActivationText = Annotated[InstanceOf[Activation], BeforeValidator(_activation), WithJsonSchema({"type": "string"})]
PoolText = Annotated[InstanceOf[Pool], BeforeValidator(_pool), WithJsonSchema({"type": "string"})]
ReferenceText = Annotated[InstanceOf[Reference], BeforeValidator(_reference), WithJsonSchema({"type": "string"})]
SideText = Annotated[InstanceOf[Side], BeforeValidator(_side), WithJsonSchema({"type": "string"})]


class Model(BaseModel):
    """The base of every section: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_valid_keys(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Unknown keys are refused with the keys that are valid here, which pydantic does not tell."""
        try:
            return handler(value)
        except ValidationError as error:
            lines = error.errors(include_url=False)
            if not any(_is_unknown_key(line) for line in lines):
                raise
            keys = tuple(field.alias or name for name, field in cls.model_fields.items())
            raise ValidationError.from_exception_data(cls.__name__, [_again(line, keys) for line in lines]) from None


def _is_unknown_key(line: Mapping[str, Any]) -> bool:
    return line["type"] == "extra_forbidden" and len(line["loc"]) == 1


def _again(line: Mapping[str, Any], keys: tuple[str, ...]) -> InitErrorDetails:
    """A line of a validation error once more, with the valid keys if it is an unknown key of this model."""
    kind, context = line["type"], line.get("ctx", {})
    if _is_unknown_key(line):
        name = line["loc"][0]
        error: str | PydanticCustomError = problem(
            "unknown-key", f"unknown key `{name}`", name=name, valid=keys, stands_at="key"
        )
    elif "message" in context:
        error = PydanticCustomError(kind, "{message}", context)
    else:
        error = kind
    return InitErrorDetails(type=error, loc=line["loc"], input=line["input"], ctx=context)


def _one_of(keys: Sequence[str], written: Mapping[str, object], hint: str = "") -> None:
    """Of these keys exactly one is written."""
    present = [key for key in keys if written.get(key) is not None]
    expected = "exactly one of " + ", ".join(f"`{key}`" for key in keys)
    if not present:
        raise problem("missing-key", f"{{place}} needs {expected}", stands_at="key")
    if len(present) > 1:
        found = " and ".join(f"`{key}`" for key in present)
        hint = f"`{present[0]}: null` removes it if it is inherited"
        raise problem("conflicting-keys", f"{{place}} has {found}", stands_at="key", expected=expected, hint=hint)


def _of_length(count: int, what: str) -> BeforeValidator:
    """A list has exactly `count` entries."""

    def check(value: object) -> object:
        if isinstance(value, list) and len(value) != count:
            entries = "1 entry" if len(value) == 1 else f"{len(value)} entries"
            raise problem("wrong-type", "{place} has the wrong number of entries", found=entries, expected=what)
        return value

    return BeforeValidator(check)


def _kind(**types: type) -> Discriminator:
    """Tells the alternatives of a union apart by the type of what was written, so that only one is reported on."""

    def kind(value: object) -> str | None:
        return next((tag for tag, expected in types.items() if isinstance(value, expected)), None)

    words: dict[type, str] = {dict: "a mapping", list: "a list", str: "a text"}
    what = " or ".join(words[expected] for expected in types.values())
    context: dict[str, int | str | float] = {"message": f"{{place}} is not {what}", "expected": what}
    return Discriminator(
        kind, custom_error_type="wrong-type", custom_error_message="{message}", custom_error_context=context
    )


# --------------------------------------------------------------------------------------------------- data and variables


def _labeled_count(value: object, info: ValidationInfo) -> int | str:
    count = value if value == "all" else _integer(value, info)
    if isinstance(count, int) and count < 1:
        raise problem("out-of-range", "{place} is out of range", found=describe(count), expected="at least 1, or `all`")
    return count


LabeledCount = Annotated[int | Literal["all"], BeforeValidator(_labeled_count), _INTEGER_SCHEMA]


class Labeled(Model):
    """The labelled subset of the training data, `data.labeled`."""

    count: LabeledCount = Field(description="Number of labelled training examples, or `all`.")
    choice: Literal["random", "balanced"] = Field(
        "random", description="`random`: drawn at random; `balanced`: the same number of each class."
    )


class Data(Model):
    """Where examples come from and how they are split."""

    dataset: Literal["digits", "mnist", "svhn", "npz", "folder"] = Field(
        description="`digits` (scikit-learn, no download), `mnist`, `svhn` (torchvision), `npz`, `folder` (images by class)."
    )
    path: str | None = Field(
        None, min_length=1, description="The `.npz` file or the folder; for `npz` and `folder` only."
    )
    validation: Annotated[int, Field(ge=0), BeforeValidator(_integer), _INTEGER_SCHEMA] = Field(
        0,
        description="Training examples held out: at random by `seed`; of `svhn` the last in file order, as ALI does.",
    )
    labeled: Labeled | None = Field(
        None, description="The labelled subset, chosen from the training examples by `seed`."
    )
    fields: dict[str, Literal["image", "label"]] = Field(
        default_factory=dict, description="Which field of a record a variable takes; by default its type decides."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(_integer), _INTEGER_SCHEMA] = Field(
        0, description="Seed of the splits and of the labelled subset; independent of the run's seed."
    )

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
    shape: Annotated[tuple[Count, Count, Count], _of_length(3, "[channels, height, width]")] = Field(
        description="[channels, height, width]"
    )
    range: Annotated[tuple[Number, Number], _of_length(2, "[low, high]"), AfterValidator(_ascending)] = Field(
        (0.0, 1.0), description="Pixel values of black and white, [low, high]."
    )


class CategoricalVariable(Model):
    """A categorical variable: one-hot vectors of length `size` (or softmax vectors, where a row draws them)."""

    type: Literal["categorical"]
    size: Annotated[int, Field(ge=2, le=10**9), BeforeValidator(_integer), _INTEGER_SCHEMA] = Field(
        description="Number of categories K."
    )


class RealVariable(Model):
    """A real vector of length `size`."""

    type: Literal["real"]
    size: Count = Field(description="Number of dimensions.")


Variable = Annotated[ImageVariable | CategoricalVariable | RealVariable, Field(discriminator="type")]

# --------------------------------------------------------------------------------------------------- networks

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
        _one_of(tuple(type(self).model_fields), dict(self))
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
    padding: Annotated[int, Field(ge=0), BeforeValidator(_integer), _INTEGER_SCHEMA] | None = Field(
        None, description="Zeros added on every side (for `conv_transpose`: taken away); 0 unless given."
    )
    pool: PoolText | None = Field(None, description="`max 2`, `avg 6`: after the activation, windows must tile.")
    dropout: Annotated[float, Field(ge=0, lt=1), BeforeValidator(_number), _NUMBER_SCHEMA] | None = Field(
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

    op: Operation = Field("conv", description="The operation of the rows that have a width.")


class Network(Model):
    """A layer table: rows by name, a directed acyclic graph; the order of rows means nothing."""

    defaults: TableDefaults = Field(default_factory=TableDefaults)
    layers: dict[str, Row] = Field(min_length=1)


# --------------------------------------------------------------------------------------------------- distributions


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
    seed: Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(_integer), _INTEGER_SCHEMA] = 0


class Mixture(Model):
    """A fixed mixture: N(mu_k, scale^2) in every dimension, k the factor's one categorical condition."""

    means: Annotated[
        Annotated[RandomMeans, Tag("random")] | Annotated[tuple[tuple[Number, ...], ...], Tag("lists")],
        _kind(random=dict, lists=list),
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
        return Probabilities(_entries(value, lambda item: _at_least_zero(_number(item, info))))
    if isinstance(value, dict):
        return MixtureSource.model_validate(value, context=info.context).mixture
    text = _text(value, "`data`, a prior, or a row as in `encoder.z`")
    parsed = _notation(lambda: parse_source(text, _constants(info)))
    return parsed if isinstance(parsed, Reference) else _word(parsed)


def _word(call: Call) -> Source:
    numbers = tuple(float(value) for value in call.arguments)
    if call.word not in SOURCE_WORDS:
        expected = "`data`, a prior, or a row as in `encoder.z`"
        raise problem(
            "unknown-value",
            f"`{call.word}` draws nothing",
            expected=expected,
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

# --------------------------------------------------------------------------------------------------- games


class GradientPenalty(Model):
    """lambda E[(||grad d(x^, y^, z^)||_2 - 1)^2] between i-th REAL and i-th FAKE, eq. 18, on the logit."""

    lambda_: Scheduled = Field(alias="lambda", description="Weight of the penalty.")


class Regularizer(Model):
    """A penalty with a weight gamma, at the loss's own points."""

    gamma: Scheduled = Field(description="Weight; the term enters as gamma / 2.")


Objective = Literal["jensen_shannon", "minimax", "wasserstein", "least_squares", "hinge"]


class Game(Model):
    """A game between a discriminator and the networks that draw what it reads."""

    match: Annotated[tuple[SideText, SideText], _of_length(2, "[REAL, FAKE]")] = Field(
        description="[REAL, FAKE]: the discriminator says 1 to the first."
    )
    discriminator: ReferenceText = Field(description="The row that holds the logit, as in `critic.p`.")
    objective: Objective = Field(
        description="`jensen_shannon` (label swap: Algorithm 1), `minimax` (eq. 13), `wasserstein`, `least_squares`, `hinge`."
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


# --------------------------------------------------------------------------------------------------- training


Fraction01 = Annotated[float, Field(ge=0, lt=1), BeforeValidator(_number), _NUMBER_SCHEMA]


class Adam(Model):
    """Adam (Kingma & Ba 2014)."""

    name: Literal["adam"]
    learning_rate: Scheduled
    betas: Annotated[tuple[Fraction01, Fraction01], _of_length(2, "[beta1, beta2]")] = (0.9, 0.999)
    epsilon: Positive = 1e-8
    weight_decay: NonNegative = 0.0


class Sgd(Model):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: Scheduled
    momentum: Annotated[float, Field(ge=0, lt=1), BeforeValidator(_number), _NUMBER_SCHEMA] = 0.0
    weight_decay: NonNegative = 0.0


class RmsProp(Model):
    """RMSprop (Tieleman & Hinton 2012)."""

    name: Literal["rmsprop"]
    learning_rate: Scheduled
    decay: Annotated[float, Field(ge=0, lt=1), BeforeValidator(_number), _NUMBER_SCHEMA] = 0.99
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

    momentum: Annotated[float, Field(gt=0, le=1), BeforeValidator(_number), _NUMBER_SCHEMA] = Field(
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
    ema: dict[str, Annotated[float, Field(ge=0, lt=1), BeforeValidator(_number), _NUMBER_SCHEMA]] = Field(
        default_factory=dict, description="Decay of averaged weights: `default`, and networks by name."
    )
    schedule: tuple[Turn, ...] | None = Field(
        None, min_length=1, description="Alternating turns; absent: every network at once."
    )

    @model_validator(mode="after")
    def _epochs_or_steps(self) -> Self:
        _one_of(("epochs", "steps"), dict(self))
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
    _kind(factors=dict, name=str),
]
Notes = Annotated[Annotated[str, Tag("text")] | Annotated[tuple[str, ...], Tag("list")], _kind(text=str, list=list)]


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
