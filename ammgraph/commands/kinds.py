"""Kinds of values that are typed: each takes a text, and says what it expected where that is none."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from ammgraph.commands.loggers import LOGGERS, NONE
from ammgraph.diagnostics import nearest
from ammgraph.spec.shipped import spec_path
from ammgraph.spec.vary import Axis, parse_axis


def image(text: str) -> tuple[str, tuple[int, int, int]]:
    """NAME:CxHxW, or the sizes alone: a name, "" without one, and the sizes."""
    of, _, sizes = text.rpartition(":")
    found = tuple(int(size) for size in sizes.split("x") if size.isdecimal() and 0 < int(size) < 10**5)
    if len(found) != 3 or sizes.count("x") != 2:
        message = f"`{text}`: expected channels, height and width, as in 1x28x28 or photo:3x32x32"
        raise ArgumentTypeError(message)
    return of, (found[0], found[1], found[2])


def vector(text: str) -> tuple[str, int]:
    """NAME:D, or the size alone: a name, "" without one, and the size."""
    of, _, size = text.rpartition(":")
    if not size.isdecimal() or not 0 < int(size) < 10**9:
        raise ArgumentTypeError(f"`{text}`: expected how many numbers a vector has, as in 13 or x:13")
    return of, int(size)


def sized(text: str) -> tuple[str, int]:
    """NAME:N: a variable and its size."""
    variable, _, size = text.partition(":")
    if not variable or not size.isdecimal() or not 0 < int(size) < 10**9:
        raise ArgumentTypeError(f"`{text}`: expected a variable and its size, as in y:10")
    return variable, int(size)


def category(text: str) -> tuple[str, int]:
    """Y=K: a variable and one of its categories, from 0."""
    variable, _, value = text.partition("=")
    if not variable.strip() or not value.strip().isdecimal() or int(value) >= 10**9:
        raise ArgumentTypeError(f"`{text}`: expected a variable and its category, counted from 0, as in y=3")
    return variable.strip(), int(value)


def name(text: str) -> str:
    """What names a file, as it is typed: no empty text."""
    if not text:
        raise ArgumentTypeError("expected a path, found an empty text")
    return text


def path(text: str) -> Path:
    """A path."""
    return Path(name(text))


def spec(text: str) -> str:
    """The file of a spec, or of a shipped one by its bare name."""
    return spec_path(name(text))


def spec_name(text: str) -> str:
    """A spec, as it is typed."""
    return name(text)


SPECS = (spec, spec_name)  # what a shell completes by the specs that ship


def seed(text: str) -> int:
    """A whole number from 0 to 2^63 - 1."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise ArgumentTypeError(f"`{text}` is no seed: expected a whole number from 0 to 2^63 - 1")
    return int(text)


def whole(least: int) -> Callable[[str], int]:
    """A whole number, at least so much."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise ArgumentTypeError(f"`{text}`: expected a whole number, at least {least}")
        return int(text)

    return read


positive, count = whole(1), whole(0)


def seconds(text: str) -> float:
    """A number of seconds, at least 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise ArgumentTypeError(f"`{text}`: expected a number of seconds, at least 0")
    return seconds


def axis(text: str) -> Axis:
    """What a sweep varies."""
    try:
        return parse_axis(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def loggers(text: str) -> str:
    """Names of loggers, with commas; or that there are none."""
    names = [part.strip() for part in text.split(",")]
    if names == [NONE]:
        return NONE
    if NONE in names:
        message = f"`{text}`: `{NONE}` stands alone; expected {NONE}, or some of {', '.join(LOGGERS)}, with commas"
        raise ArgumentTypeError(message)
    for found in names:
        if found not in LOGGERS:
            hint = nearest(found, [*LOGGERS, NONE])
            known = f"expected some of {', '.join(LOGGERS)}, with commas, or {NONE}"
            raise ArgumentTypeError(f"`{found}` is no logger: {known}{f'; {hint}' if hint else ''}")
    return ",".join(dict.fromkeys(names))
