"""What draws a factor: data, a prior, a row of a network, a sample of another distribution.

The value behind a factor comes in (`data.labeled`, `uniform(-1, 1)`, `[0.2, 0.8]`, `encoder.z`), a frozen one goes out.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, InstanceOf, Tag, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ammgraph.diagnostics import counted
from ammgraph.spec.notation import Call, Reference, number_text, parse_source
from ammgraph.spec.values import (
    ARITHMETIC_SCHEMA,
    PRIOR_PATTERN,
    REFERENCE_PATTERN,
    Model,
    Number,
    Positive,
    Seed,
    at_least_zero,
    constants_of,
    entries_of,
    in_notation,
    number_of,
    problem,
    text_of,
    told_by_type,
)


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

    normal: Positive = Field(description="Standard deviation s of the means.", examples=[2])
    seed: Seed = Field(0, description="Seed of the means; independent of the run's `--seed`.", examples=[0])


class Mixture(Model):
    """A fixed mixture: N(mu_k, scale^2) in every dimension, k the factor's one categorical condition."""

    means: Annotated[
        Annotated[RandomMeans, Tag("random")] | Annotated[tuple[tuple[Number, ...], ...], Tag("lists")],
        told_by_type(random="a mapping", lists="a list"),
    ] = Field(
        description="`{normal: s, seed: n}`, drawn once, or K lists of numbers.",
        examples=[{"normal": 2}],
    )
    scale: Positive = Field(1.0, description="Standard deviation of every component.", examples=[1])

    def __str__(self) -> str:
        if isinstance(self.means, RandomMeans):
            means = f"{{normal: {number_text(self.means.normal)}, seed: {self.means.seed}}}"
        else:
            means = f"{len(self.means)} means"
        return f"{{mixture: {{means: {means}, scale: {number_text(self.scale)}}}}}"


class MixtureSource(Model):
    """`{mixture: {means: ..., scale: ...}}`."""

    mixture: Mixture = Field(
        description="A fixed mixture: N(mu_k, scale^2) in every dimension, k the factor's one categorical condition.",
        examples=[{"means": {"normal": 2}}],
    )


Source = DataSource | Uniform | Normal | Empirical | Probabilities | Mixture | Reference
SOURCE_MEANINGS: dict[str, str] = {
    "data": "a training example",
    "data.labeled": "an example of the labelled subset",
    "data.unlabeled": "a training example that is not in the labelled subset",
    "uniform": "every category alike; `uniform(low, high)` on a real variable",
    "normal": "N(0, 1) in every dimension; `normal(mean, scale)` for N(mean, scale^2)",
    "empirical": "the class frequencies of the labelled subset",
}
SOURCE_WORDS = tuple(SOURCE_MEANINGS)


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
        message = f"`{call.word}` does not take {counted(len(numbers), 'number')}"
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


class _SourceSchema:
    """In the JSON schema: a word, a prior with numbers, a row, a list of probabilities or a mixture."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        probability = {"anyOf": [{"type": "number", "minimum": 0}, ARITHMETIC_SCHEMA]}
        return {
            "anyOf": [
                {"enum": list(SOURCE_MEANINGS), "enumDescriptions": list(SOURCE_MEANINGS.values())},
                {"type": "string", "pattern": PRIOR_PATTERN, "description": "A prior with its numbers."},
                {
                    "type": "string",
                    "pattern": rf"^(?!\s*data\s*\.){REFERENCE_PATTERN.removeprefix('^')}",
                    "description": "`network.row`, or `distribution.variable`: that distribution's sample.",
                },
                {"type": "array", "items": probability, "description": "Probabilities of the categories, sum 1."},
                handler(MixtureSource.__pydantic_core_schema__),
            ]
        }


SourceValue = Annotated[
    InstanceOf[DataSource]
    | InstanceOf[Uniform]
    | InstanceOf[Normal]
    | InstanceOf[Empirical]
    | InstanceOf[Probabilities]
    | InstanceOf[Mixture]
    | InstanceOf[Reference],
    BeforeValidator(_source),
    _SourceSchema(),
]
