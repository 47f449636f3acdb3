"""What draws a factor: data, a prior, a row of a network, a sample of another distribution; or what enumerates it.

The value behind a factor comes in (`data.labeled`, `uniform(-1, 1)`, `[0.2, 0.8]`, `encoder.z`), a frozen one goes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    InstanceOf,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ammgraph.diagnostics import alternatives, counted, nearest
from ammgraph.spec.notation import Call, Reference, parse_source
from ammgraph.spec.priors import Mixture, Prior, Probabilities, prior_words
from ammgraph.spec.said import hint_of_word
from ammgraph.spec.values import (
    ARITHMETIC,
    ARITHMETIC_SCHEMA,
    DATA_PATTERN,
    REFERENCE_PATTERN,
    Model,
    ReferenceText,
    at_least_zero,
    constants_of,
    entries_of,
    in_notation,
    number_of,
    problem,
    require_one_of,
    text_of,
)


@dataclass(frozen=True)
class DataSource:
    """`data`, `data.labeled` or `data.unlabeled`; `data.faces`, `data.faces.labeled`, ... of the data set of a name."""

    part: Literal["all", "labeled", "unlabeled"]
    of: str = ""  # the data set, where it has a name

    def __str__(self) -> str:
        return ".".join(["data", *([self.of] if self.of else []), *([] if self.part == "all" else [self.part])])


@dataclass(frozen=True)
class Enumeration:
    """`{enumerate: NETWORK.ROW}`: every value of a categorical variable, weighed by a row's probabilities."""

    row: Reference

    def __str__(self) -> str:
        return f"{{enumerate: {self.row}}}"


@dataclass(frozen=True)
class BayesRule:
    """`{bayes: DISTRIBUTION}`: every value of a categorical variable, weighed by its posterior in a distribution."""

    distribution: str

    def __str__(self) -> str:
        return f"{{bayes: {self.distribution}}}"


class SourceMapping(Model):
    """What stands behind a factor as a mapping: exactly one of the keys."""

    mixture: Mixture | None = Field(
        None,
        description="A fixed mixture: N(mu_k, scale^2) in every dimension, k the factor's one categorical condition.",
        examples=[{"means": {"normal": 2}}],
    )
    enumerate: ReferenceText | None = Field(
        None,
        description="A categorical row. The variable is not sampled: a step has all of its values, each with its "
        "probability.",
        examples=["encoder.y"],
    )
    bayes: str | None = Field(
        None,
        description="A distribution with densities. The variable is not sampled: a step has all of its values, each "
        "with its posterior probability in that distribution.",
        examples=["p"],
    )

    @field_validator("enumerate", mode="before")
    @classmethod
    def _is_a_row(cls, value: object) -> object:
        word = value.partition("(")[0].strip() if isinstance(value, str) else ""
        if word in prior_words():
            raise problem(
                "notation",
                f"`{word}` is a prior, which samples; what is enumerated is weighed by a row's probabilities",
                expected="a categorical row, as in `encoder.y`",
                hint="a row `y: {input: zeros(K), activation: softmax}` weighs all K values alike",
                end=len(word),
            )
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        require_one_of(tuple(type(self).model_fields), dict(self))
        return self

    @property
    def source(self) -> Mixture | Enumeration | BayesRule:
        """What the one key says."""
        if self.enumerate is not None:
            return Enumeration(self.enumerate)
        if self.bayes is not None:
            return BayesRule(self.bayes)
        assert self.mixture is not None, "one of the keys is there"
        return self.mixture


Source = DataSource | Prior | Reference | Enumeration | BayesRule
SOURCE_MEANINGS: dict[str, str] = {
    "data": "a training example",
    "data.labeled": "an example of the labelled subset",
    "data.unlabeled": "a training example that is not in the labelled subset",
    **{word: kind.meaning for word, kind in prior_words().items()},
}
SOURCE_WORDS = tuple(SOURCE_MEANINGS)


def _source(value: object, info: ValidationInfo) -> Source:
    if isinstance(value, list):
        return Probabilities(entries_of(value, lambda item: at_least_zero(number_of(item, info))))
    if isinstance(value, dict):
        return SourceMapping.model_validate(value, context=info.context).source
    text = text_of(value, "`data`, a prior, or a row as in `encoder.z`")
    parsed = in_notation(lambda: parse_source(text, constants_of(info)))
    return parsed if isinstance(parsed, Reference) else _word(parsed, (info.context or {}).get("data_sets", ("",)))


def _word(call: Call, data_sets: Sequence[str]) -> Source:
    numbers = tuple(float(value) for value in call.arguments)
    if (taken := _data(call.word, data_sets)) is not None:
        return taken
    if call.word not in SOURCE_WORDS:
        expected = "`data`, a prior, or a row as in `encoder.z`"
        prior = hint_of_word("prior", call.word) if numbers or len(call.word) > 1 else ""  # `n` may be a network
        row = "" if numbers else f"a row of a network is written `{call.word}.NAME`"  # and a row takes no numbers
        raise problem(
            "unknown-value",
            f"`{call.word}` draws nothing",
            expected=expected,
            hint=prior or row,
            name=call.word,
            valid=SOURCE_WORDS,
            end=len(call.word),
        )
    kind = prior_words()[call.word]
    if numbers and len(numbers) != len(kind.numbers):
        message = f"`{call.word}` does not take {counted(len(numbers), 'number')}"
        raise problem("notation", message, found=f"`{call}`", expected=kind.form)
    refused = kind.refused(*numbers) if numbers else None
    if refused is not None:
        written = f"`{call.word}({', '.join(kind.numbers)})`"
        raise problem("out-of-range", refused[0], found=f"`{call}`", expected=f"{written} with {refused[1]}")
    assert kind.read is not None, "a prior that has a word is read from its numbers"
    return kind.read(*numbers)


def _data(word: str, data_sets: Sequence[str]) -> DataSource | None:
    """`data.faces.labeled` -> its part and its data set; nothing where the word means something else."""
    head, *names = word.split(".")
    if head != "data":
        return None
    parts: dict[str, Literal["labeled", "unlabeled"]] = {"labeled": "labeled", "unlabeled": "unlabeled"}
    part = parts[names.pop()] if names and names[-1] in parts else "all"
    name = ".".join(names)
    if name in data_sets:
        return DataSource(part, name)
    if "" in data_sets:  # the one there is has no name
        return None
    there = [str(DataSource(part, known)) for known in data_sets]
    message = f"there is no data set `{name}`" if name else f"`{word}` does not say which data set"
    hint = nearest(word, there) if name else ""
    raise problem("unknown-data-set", message, expected=alternatives(there), hint=hint, end=len(word))


def _with_spaces() -> JsonSchemaValue:
    """Words as the notation takes them: spaces mean nothing."""
    words = "|".join(word.replace(".", r"\s*\.\s*") for word in SOURCE_WORDS)
    return {"type": "string", "pattern": rf"^\s*(?:{words})\s*$", "description": "What a word draws."}


def _with_numbers() -> list[JsonSchemaValue]:
    """`uniform(-1, 1)`: the words that take numbers, by how many."""
    words: dict[int, list[str]] = {}
    for word, kind in prior_words().items():
        words.setdefault(len(kind.numbers), []).append(word)
    patterns = [
        rf"^\s*(?:{'|'.join(own)})\s*\({','.join([ARITHMETIC] * count)}\)\s*$" for count, own in words.items() if count
    ]
    return [{"type": "string", "pattern": own, "description": "A prior with its numbers."} for own in patterns]


class _SourceSchema:
    """In the JSON schema: a word, a prior with numbers, a row, a list of probabilities or a mapping."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        probability = {"anyOf": [{"type": "number", "minimum": 0}, ARITHMETIC_SCHEMA]}
        return {
            "anyOf": [
                {"enum": list(SOURCE_MEANINGS), "enumDescriptions": list(SOURCE_MEANINGS.values())},
                _with_spaces(),
                *_with_numbers(),
                {
                    "type": "string",
                    "pattern": DATA_PATTERN,
                    "description": "An example of the data set of that name, of its labelled subset, or of the rest.",
                },
                {
                    "type": "string",
                    "pattern": rf"^(?!\s*data\s*\.){REFERENCE_PATTERN.removeprefix('^')}",
                    "description": "`network.row`, or `distribution.variable`: that distribution's sample.",
                },
                {"type": "array", "items": probability, "description": "Probabilities of the categories, sum 1."},
                handler(SourceMapping.__pydantic_core_schema__),
            ]
        }


SourceValue = Annotated[
    InstanceOf[DataSource]
    | InstanceOf[Prior]
    | InstanceOf[Reference]
    | InstanceOf[Enumeration]
    | InstanceOf[BayesRule],
    BeforeValidator(_source),
    _SourceSchema(),
]
