"""The values that a spec is made of: numbers, inputs, references, sides of a game.

Columns are in `columns`, numbers that change in `schedules`.

Here pydantic meets the notation: a text is parsed with the spec's constants as context, and what is wrong with it
becomes a `problem`, a pydantic error that carries our code and columns. `Model` is the base of the schema's sections.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    InstanceOf,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from ammgraph.diagnostics import counted
from ammgraph.spec.notation import (
    LARGEST_COUNT,
    LARGEST_NUMBER,
    Input,
    Reference,
    number_text,
    parse_input,
    parse_number,
    parse_reference,
    parse_side,
    side_text,
)
from ammgraph.spec.said import hint_of_key, hint_of_section
from ammgraph.spec.terms import Term, parse_term
from ammgraph.spec.tokens import NUMBERS, NotationError

T = TypeVar("T")


def problem(code: str, message: str, **details: object) -> PydanticCustomError:
    """A pydantic error whose type is our diagnostic code; `{place}` in the message is the key or entry that it means.

    Details: found, expected, hint; valid and name for a did-you-mean; start and end, columns of the text; at, a path
    further down; stands_at="key" to point at the key and not at the value.
    """
    return PydanticCustomError(code, "{message}", {"message": message, **details})


def constants_of(info: ValidationInfo) -> Mapping[str, Fraction]:
    """The constants of the spec that is being validated."""
    return (info.context or {}).get("constants", {})


def wrong_type(value: object, what: str) -> PydanticCustomError:
    """A value of another kind than its place asks for."""
    return problem("wrong-type", f"{{place}} is not {what}", found=describe(value))


def text_of(value: object, what: str) -> str:
    """A text, as written."""
    if not isinstance(value, str):
        raise wrong_type(value, what)
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


def in_notation(parse: Callable[[], T], offset: int = 0) -> T:
    """The result of a parser; its error becomes a problem at its columns, `offset` further right in the whole text."""
    try:
        return parse()
    except NotationError as error:
        start, end = error.start + offset, error.end + offset
        details = {"start": start, "end": end, "expected": error.expected, "hint": error.hint}
        raise problem(error.code, error.message, **details) from None


def entries_of(values: list[object], parse: Callable[[object], T]) -> tuple[T, ...]:
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
        return in_notation(lambda: parse_number(value, constants_of(info)), offset)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(value, what)
    if abs(value) > LARGEST_NUMBER:
        raise problem("out-of-range", "{place} is out of range", found=describe(value), expected=NUMBERS)
    return Fraction(repr(value))


def number_of(value: object, info: ValidationInfo, offset: int = 0) -> float:
    """A number or arithmetic of constants; the text begins `offset` columns into the whole value."""
    return float(_exact(value, info, "a number or arithmetic of constants", offset))


def integer_of(value: object, info: ValidationInfo, offset: int = 0) -> int:
    """A whole number or arithmetic of constants that gives one."""
    exact = _exact(value, info, "a whole number or arithmetic of constants", offset)
    if exact.denominator != 1:
        raise problem("wrong-type", "{place} is not a whole number", found=f"`{number_text(exact)}`")
    return int(exact)


# Regular expressions of the notation for the JSON schema: they let through all that `notation` takes, and little more.
_NAME = "[A-Za-z][A-Za-z0-9_]*"
_NUMERAL = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_OPERAND = rf"[-(\s]*(?:{_NUMERAL}|{_NAME})[)\s]*"
ARITHMETIC = rf"{_OPERAND}(?:[-+*/]{_OPERAND})*"
_ATOM = rf"\s*(?:zeros\s*\({ARITHMETIC}\)|{_NAME})\s*"
_BINDING = rf"\s*{_NAME}\s*=\s*{_NAME}\s*"
_SUMMAND = rf"\s*(?:{_NUMERAL}(?:\s*/\s*{_NUMERAL})?\s*\*?)?\s*{_NAME}\s*"
_NAMES = rf"\s*{_NAME}\s*(?:,\s*{_NAME}\s*)*"
REFERENCE_PATTERN = rf"^\s*{_NAME}\s*(?:\({_BINDING}(?:,{_BINDING})*\))?\s*\.\s*{_NAME}\s*$"
FACTOR_PATTERN = rf"^\s*{_NAME}\s*\({_NAMES}(?:\|{_NAMES})?\)\s*$"
DATA_PATTERN = rf"^\s*data\s*\.\s*(?!(?:un)?labeled\b){_NAME}\s*(?:\.\s*(?:un)?labeled\s*)?$"  # by its name
IDENTIFIER_PATTERN = f"^{_NAME}$"
NAME_PATTERN = rf"^\s*{_NAME}\s*$"  # where spaces mean nothing
ARITHMETIC_SCHEMA: dict[str, Any] = {"type": "string", "pattern": f"^{ARITHMETIC}$"}


class OrArithmetic:
    """In the JSON schema: a number with its range, or a text with arithmetic of constants."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        number = handler(schema)
        if not number.keys() & {"minimum", "exclusiveMinimum"}:
            number["minimum"] = -float(LARGEST_NUMBER)
        if not number.keys() & {"maximum", "exclusiveMaximum"}:
            number["maximum"] = float(LARGEST_NUMBER)
        return {"anyOf": [number, ARITHMETIC_SCHEMA]}


Number = Annotated[float, BeforeValidator(number_of), OrArithmetic()]
Count = Annotated[int, Field(ge=1, le=LARGEST_COUNT), BeforeValidator(integer_of), OrArithmetic()]
Positive = Annotated[float, Field(gt=0), BeforeValidator(number_of), OrArithmetic()]
Share = Annotated[float, Field(ge=0, lt=1), BeforeValidator(number_of), OrArithmetic()]
Seed = Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(integer_of), OrArithmetic()]
Whole = Annotated[int, Field(ge=0, le=LARGEST_COUNT), BeforeValidator(integer_of), OrArithmetic()]
NonNegative = Annotated[float, Field(ge=0), BeforeValidator(number_of), OrArithmetic()]


def at_least_zero(value: float) -> float:
    """The number, if it is not negative."""
    if value < 0:
        raise problem("out-of-range", "{place} is negative", found=f"`{number_text(value)}`", expected="at least 0")
    return value


def _input(value: object, info: ValidationInfo) -> Input:
    return in_notation(lambda: parse_input(text_of(value, "a text, as in `x` or `y1 + z1`"), constants_of(info)))


def _reference(value: object) -> Reference:
    return in_notation(lambda: parse_reference(text_of(value, "a text, as in `critic.p`")))


@dataclass(frozen=True)
class Side:
    """One side of a game: distributions with their weights, `1/2 p + 1/2 r`."""

    summands: tuple[tuple[float, str], ...]

    def __str__(self) -> str:
        return side_text(self.summands)


def _side(value: object) -> Side:
    summands = in_notation(lambda: parse_side(text_of(value, "a distribution, as in `q`, or a weighted sum of them")))
    return Side(tuple((float(weight), name) for weight, name in summands))


def _term(value: object, info: ValidationInfo) -> Term:
    return in_notation(lambda: parse_term(text_of(value, "a text, as `-E[q] log p(x|z)`"), constants_of(info)))


def text_schema(pattern: str, *, words: Sequence[str] = (), meanings: Sequence[str] = ()) -> WithJsonSchema:
    """A text of a pattern; the words are what an editor proposes."""
    any_text: dict[str, Any] = {"type": "string", "pattern": pattern}
    if not words:
        return WithJsonSchema(any_text)
    proposed: dict[str, Any] = {"enum": list(words)}
    if meanings:
        proposed["enumDescriptions"] = list(meanings)
    return WithJsonSchema({"anyOf": [proposed, any_text]})


_INPUT_SCHEMA = text_schema(rf"^{_ATOM}(?:[*+|]{_ATOM})*$")
_SIDE_SCHEMA = text_schema(rf"^{_SUMMAND}(?:\+{_SUMMAND})*$")

Expression = Annotated[InstanceOf[Input], BeforeValidator(_input), _INPUT_SCHEMA]
ReferenceText = Annotated[InstanceOf[Reference], BeforeValidator(_reference), text_schema(REFERENCE_PATTERN)]
TermText = Annotated[InstanceOf[Term], BeforeValidator(_term), text_schema(r"\S")]
SideText = Annotated[InstanceOf[Side], BeforeValidator(_side), _SIDE_SCHEMA]


class Model(BaseModel):
    """The base of every section: frozen, unknown keys refused."""

    # Built when it is asked for: most are parts of `Spec`, which is the one that is.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

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
            if any(_is_unknown_key(line) and hint_of_section(str(line["loc"][0])) for line in lines):
                lines = [line for line in lines if line["type"] != "missing" or len(line["loc"]) > 1]
            raise ValidationError.from_exception_data(cls.__name__, [_again(line, keys) for line in lines]) from None


def _is_unknown_key(line: Mapping[str, Any]) -> bool:
    return line["type"] == "extra_forbidden" and len(line["loc"]) == 1


def _again(line: Mapping[str, Any], keys: tuple[str, ...]) -> InitErrorDetails:
    """A line of a validation error once more, with the valid keys if it is an unknown key of this model."""
    kind, context = line["type"], line.get("ctx", {})
    if _is_unknown_key(line):
        name = str(line["loc"][0])
        own, hint = hint_of_key(name, line["input"], keys), hint_of_section(name)
        known = {"hint": own or hint} if own or (hint and "minimize" not in keys) else {"name": name, "valid": keys}
        error: str | PydanticCustomError = problem("unknown-key", f"unknown key `{name}`", **known, stands_at="key")
    elif "message" in context:
        error = PydanticCustomError(kind, "{message}", context)
    else:
        error = kind
    return InitErrorDetails(type=error, loc=line["loc"], input=line["input"], ctx=context)


def require_one_of(keys: Sequence[str], written: Mapping[str, object], path: str = "") -> None:
    """Of these keys, which stand at `path`, exactly one is written."""
    present = [key for key in keys if written.get(key) is not None]
    expected = "exactly one of " + ", ".join(f"`{key}`" for key in keys)
    if not present:
        raise problem("missing-key", f"{{place}} needs {expected}", stands_at="key")
    if len(present) > 1:
        found = " and ".join(f"`{key}`" for key in present)
        hint = " or ".join(f"`{key}: null`" for key in present) + " removes the one that is inherited"
        removing = " or ".join(f"`--set {path}.{key}=null`" for key in present)
        hint += f", {removing} for one run" if path else ""
        raise problem("conflicting-keys", f"{{place}} has {found}", stands_at="key", expected=expected, hint=hint)


def of_length(count: int, what: str) -> BeforeValidator:
    """A list has exactly `count` entries."""

    def check(value: object) -> object:
        if isinstance(value, list) and len(value) != count:
            entries = counted(len(value), "entry")
            raise problem("wrong-type", "{place} has the wrong number of entries", found=entries, expected=what)
        return value

    return BeforeValidator(check)


_KINDS: dict[str, tuple[type, ...]] = {"a mapping": (dict, BaseModel), "a list": (list, tuple), "a text": (str,)}


def told_by_type(**alternatives: str) -> Discriminator:
    """Tells the alternatives of a union apart by what was written, so that only one is reported on."""

    def tag(value: object) -> str | None:
        return next((name for name, kind in alternatives.items() if isinstance(value, _KINDS[kind])), None)

    context: dict[str, int | str | float] = {"message": f"{{place}} is not {' or '.join(alternatives.values())}"}
    return Discriminator(
        tag, custom_error_type="wrong-type", custom_error_message="{message}", custom_error_context=context
    )
