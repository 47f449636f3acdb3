"""The texts of columns of a row: activations, normalisations, poolings, each a word and perhaps a number."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, InstanceOf, ValidationInfo, WithJsonSchema

from ammgraph.layers.activations import ACTIVATIONS, ActivationKind
from ammgraph.layers.norms import NORMS, NormKind
from ammgraph.layers.operations import POOLS, UPSAMPLES, Sides, sides_text
from ammgraph.spec.notation import LARGEST_COUNT, Named, number_text, parse_name
from ammgraph.spec.said import hint_of_word
from ammgraph.spec.values import (
    ARITHMETIC,
    ARITHMETIC_SCHEMA,
    NAME_PATTERN,
    describe,
    entries_of,
    in_notation,
    integer_of,
    number_of,
    problem,
    text_of,
    text_schema,
)


@dataclass(frozen=True)
class Activation:
    """An activation by name, with its number where it takes one: `leaky_relu 0.2`."""

    name: str
    parameter: float | None = None

    def __str__(self) -> str:
        return self.name if self.parameter is None else f"{self.name} {number_text(self.parameter)}"

    @property
    def kind(self) -> ActivationKind:
        """What it computes."""
        return ACTIVATIONS[self.name]


def _activation(value: object, info: ValidationInfo) -> Activation:
    text = text_of(value, "a text, as in `leaky_relu 0.2`")
    name, parameter, offset = _word_and_number(text)
    if name not in ACTIVATIONS:
        hint = hint_of_word("activation", name)
        details = {"hint": hint} if hint else {"name": name, "valid": tuple(map(_example, ACTIVATIONS))}
        expected = f"one of {', '.join(f'`{_example(known)}`' for known in ACTIVATIONS)}"
        raise problem("unknown-value", f"`{name}` is not an activation", **details, expected=expected, end=len(name))
    takes = ACTIVATIONS[name].parameter
    if takes is None:
        if parameter:
            raise problem("notation", f"`{name}` takes no number", start=offset, end=len(text), expected=f"`{name}`")
        return Activation(name)
    if not parameter:
        raise problem("notation", f"`{name}` needs a number", expected=f"as in `{_example(name)}`")
    number = number_of(parameter, info, offset)
    if takes.whole and number != int(number):
        message = f"the number of `{name}` is no whole one"
        raise problem("out-of-range", message, start=offset, end=len(text), expected=f"as in `{_example(name)}`")
    if number < 0 or (takes.positive and number == 0):
        expected = "more than 0" if takes.positive else "at least 0"
        raise problem(
            "out-of-range", f"the number of `{name}` is out of range", start=offset, end=len(text), expected=expected
        )
    return Activation(name, int(number) if takes.whole else number)


def _example(name: str) -> str:
    takes = ACTIVATIONS[name].parameter
    return name if takes is None else f"{name} {takes.example:g}"


def _word_and_number(text: str) -> tuple[str, str, int]:
    """`leaky_relu 0.2` -> the word, the rest, and the column where the rest begins."""
    word = text.strip().partition(" ")[0]
    rest = text.strip()[len(word) :].strip()
    return word, rest, text.rindex(rest) if rest else len(text)


@dataclass(frozen=True)
class Pool:
    """`max 2`, `avg 6 by 4`: pooling over windows that do not overlap."""

    kind: str  # of `layers.operations`
    size: Sides

    def __str__(self) -> str:
        return f"{self.kind} {sides_text(self.size, ' by ')}"


@dataclass(frozen=True)
class Upsample:
    """`nearest 2`, `nearest 2 by 3`: every position repeated, down and to the right."""

    kind: str  # of `layers.operations`
    size: Sides

    def __str__(self) -> str:
        return f"{self.kind} {sides_text(self.size, ' by ')}"


def _pool(value: object, info: ValidationInfo) -> Pool:
    return Pool(*_kind_and_sides(text_of(value, "a text, as in `max 2` or `avg 6`"), info, POOLS, "a pooling"))


def _upsample(value: object, info: ValidationInfo) -> Upsample:
    return Upsample(*_kind_and_sides(text_of(value, "a text, as in `nearest 2`"), info, UPSAMPLES, "an upsampling"))


def _kind_and_sides(text: str, info: ValidationInfo, known: Collection[str], what: str) -> tuple[str, Sides]:
    """`max 2`, `avg 6 by 4` -> the word and the sides of its windows."""
    kind, size, offset = _word_and_number(text)
    if kind not in known:
        expected = f"as in {' or '.join(f'`{name} 2`' for name in known)}"
        raise problem("unknown-value", f"`{kind}` is not {what}", expected=expected)
    if not size:
        raise problem("notation", f"`{kind}` needs the window's width", expected=f"as in `{kind} 2`")
    high, by, wide = size.partition(" by ")
    texts = [(high, offset), (wide, offset + len(high) + len(by)) if by else (high, offset)]
    sides = [integer_of(side, info, start) for side, start in texts]
    for number in sides:
        if not 1 <= number <= LARGEST_COUNT:
            message, found = f"the window of `{kind}` is out of range", f"`{number}`"
            raise problem("out-of-range", message, start=offset, end=len(text), found=found, expected="at least 1")
    return kind, _as_sides(sides)


def _as_sides(numbers: Sequence[int]) -> Sides:
    """One number where both are the same."""
    down, right = numbers
    return down if down == right else (down, right)


def _sides(least: int) -> BeforeValidator:
    """A whole number, or two: down and to the right."""

    def side(value: object, info: ValidationInfo) -> int:
        number = integer_of(value, info)
        if not least <= number <= LARGEST_COUNT:
            expected = f"at least {least}" if number < least else f"at most {LARGEST_COUNT}"
            raise problem("out-of-range", "{place} is out of range", found=f"`{number}`", expected=expected)
        return number

    def check(value: object, info: ValidationInfo) -> Sides:
        if not isinstance(value, list):
            return side(value, info)
        if len(value) != 2:
            raise problem("wrong-type", "{place} is not a whole number or [down, right]", found=describe(value))
        return _as_sides(entries_of(value, lambda number: side(number, info)))

    return BeforeValidator(check)


def _sides_schema(least: int) -> WithJsonSchema:
    number = {"type": "integer", "minimum": least, "maximum": LARGEST_COUNT}
    two = {"type": "array", "items": {"anyOf": [number, ARITHMETIC_SCHEMA]}, "minItems": 2, "maxItems": 2}
    return WithJsonSchema({"anyOf": [number, ARITHMETIC_SCHEMA, two]})


@dataclass(frozen=True)
class Norm:
    """`layer`, `instance`, `group 8`: what an example's numbers are brought to mean 0 and variance 1 among."""

    name: str
    groups: int | None = None

    def __str__(self) -> str:
        return self.name if self.groups is None else f"{self.name} {self.groups}"

    @property
    def kind(self) -> NormKind:
        """What it computes."""
        return NORMS[self.name]

    def groups_of(self, channels: int) -> int:
        """The groups of consecutive channels that are normalised apart."""
        return self.kind.groups(channels, self.groups or 1)


def _name(value: object) -> Named:
    return in_notation(lambda: parse_name(text_of(value, "the name of a row or a variable")))


def _norm(value: object, info: ValidationInfo) -> Norm:
    text = text_of(value, "a text, as in `layer` or `group 8`")
    name, groups, offset = _word_and_number(text)
    if name not in NORMS:
        details = {"name": name, "valid": tuple(NORMS), "end": len(name)}
        known = (f"`{norm} 8`" if kind.counted else f"`{norm}`" for norm, kind in NORMS.items())
        expected = f"one of {', '.join(known)}, or the column `batchnorm: true`"
        raise problem("unknown-value", f"`{name}` is not a normalisation", **details, expected=expected)
    if not NORMS[name].counted:
        if groups:
            raise problem("notation", f"`{name}` takes no number", start=offset, end=len(text), expected=f"`{name}`")
        return Norm(name)
    if not groups:
        raise problem("notation", f"`{name}` needs a number of groups", expected=f"as in `{name} 8`")
    number = integer_of(groups, info, offset)
    if not 1 <= number <= LARGEST_COUNT:
        message = f"the number of `{name}` is out of range"
        raise problem("out-of-range", message, start=offset, end=len(text), found=f"`{number}`", expected="at least 1")
    return Norm(name, number)


_ACTIVATION_SCHEMA = text_schema(
    rf"^\s*(?:(?:{'|'.join(name for name, kind in ACTIVATIONS.items() if kind.parameter is None)})\s*"
    rf"|(?:{'|'.join(name for name, kind in ACTIVATIONS.items() if kind.parameter is not None)}) {ARITHMETIC})$",
    words=[_example(name) for name in ACTIVATIONS],
    meanings=[kind.meaning for kind in ACTIVATIONS.values()],
)
_POOL_SCHEMA, _UPSAMPLE_SCHEMA = (
    text_schema(rf"^\s*(?:{'|'.join(kinds)}) {ARITHMETIC}(?: by {ARITHMETIC})?$", words=[f"{kind} 2" for kind in kinds])
    for kinds in (POOLS, UPSAMPLES)
)
_NORM_SCHEMA = text_schema(
    rf"^\s*(?:(?:{'|'.join(name for name, kind in NORMS.items() if not kind.counted)})\s*"
    rf"|(?:{'|'.join(name for name, kind in NORMS.items() if kind.counted)}) {ARITHMETIC})$",
    words=[f"{name} 8" if kind.counted else name for name, kind in NORMS.items()],
    meanings=[kind.meaning for kind in NORMS.values()],
)

ActivationText = Annotated[InstanceOf[Activation], BeforeValidator(_activation), _ACTIVATION_SCHEMA]
NameText = Annotated[InstanceOf[Named], BeforeValidator(_name), text_schema(NAME_PATTERN)]
NormText = Annotated[InstanceOf[Norm], BeforeValidator(_norm), _NORM_SCHEMA]
PoolText = Annotated[InstanceOf[Pool], BeforeValidator(_pool), _POOL_SCHEMA]
AtLeastOne = Annotated[int | tuple[int, int], _sides(1), _sides_schema(1)]
AtLeastZero = Annotated[int | tuple[int, int], _sides(0), _sides_schema(0)]
UpsampleText = Annotated[InstanceOf[Upsample], BeforeValidator(_upsample), _UPSAMPLE_SCHEMA]
