"""`--vary KEY=VALUES`: what a sweep tries for one value of a spec, and how each is written as `--set` takes it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_NUMBER = r"[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(:log)?")
_LIKE_RANGE = re.compile(r"(.*?)(\.{2,})(.*?)(?::(.*))?")
_WHOLE = re.compile(r"[-+]?\d+")
_SHUT = {"[": "]", "{": "}", "(": ")", '"': '"', "'": "'"}
EXAMPLES = "`KEY=LOW..HIGH`, `KEY=LOW..HIGH:log` or `KEY=A,B,C`, as in `training.batch_size=32,64,128`"
DIGITS = 4  # of a real number that is tried


@dataclass(frozen=True)
class Axis:
    """What one key is tried with: some texts, or the numbers of an interval.

    Args:
        text: as it was typed, `KEY=VALUES`.
        key: where the value stands in the spec, as for `--set`.
        choices: the texts; empty for an interval.
        low: the least number.
        high: the largest number.
        whole: whether the numbers are whole.
        log: whether equal ratios are as likely, instead of equal differences.
    """

    text: str
    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    log: bool = False

    def __str__(self) -> str:
        return self.text

    @property
    def size(self) -> int | None:
        """How many values there are; None where nobody counts them."""
        return len(self.choices) or (int(self.high) - int(self.low) + 1 if self.whole else None)

    @property
    def values(self) -> list[str | int]:
        """All of them, where they can be counted."""
        return list(self.choices) if self.choices else list(range(int(self.low), int(self.high) + 1))

    @property
    def extremes(self) -> tuple[str, ...]:
        """The `--set`s of every choice, or of both ends."""
        return tuple(map(self.set, self.choices or (self.low, self.high)))

    def rounded(self, value: str | float) -> str | float:
        """A value as it is tried: real numbers have a few digits, and lie between the ends."""
        if self.choices or self.whole:
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def set(self, value: str | float) -> str:
        """`KEY=VALUE`."""
        number = str(int(value)) if self.whole else repr(value)
        return f"{self.key}={value if self.choices else number}"


def parse_axis(text: str) -> Axis:
    """What is typed after `--vary`.

    Raises:
        ValueError: with what is wrong with it, and what was expected.
    """
    key, equals, values = (part.strip() for part in text.partition("="))
    if not equals or not key or not values:
        raise ValueError(f"`{text}`: expected {EXAMPLES}")
    found = _RANGE.fullmatch(values)
    if found is None or "..." in values:
        choices = tuple(_split(values))
        if len(choices) == 1 and ".." in values:
            raise ValueError(f"`{text}` is no interval: {_wrong_interval(values)}; expected {EXAMPLES}")
        if len(choices) < 2 or not all(choices) or len(set(choices)) < len(choices):
            raise ValueError(f"`{text}` varies nothing: expected two different values or more, {EXAMPLES}")
        return Axis(text, key, choices)
    low, high, log = float(found[1]), float(found[2]), found[3] is not None
    if not low < high or not math.isfinite(high - low):
        raise ValueError(f"`{text}`: expected an interval whose first number is the smaller one, found {values}")
    if log and low <= 0:
        raise ValueError(f"`{text}`: expected positive numbers, for `:log` tries ratios; found {found[1]}")
    whole = all(_WHOLE.fullmatch(end) for end in (found[1], found[2]))
    return Axis(text, key, (), low, high, whole, log)


def _wrong_interval(values: str) -> str:
    """What is wrong with the notation of an interval."""
    found = _LIKE_RANGE.fullmatch(values)
    assert found is not None
    low, dots, high, suffix = found.groups()
    if dots != "..":
        return f"found `{dots}`, expected two dots"
    for end, which in ((low, "first"), (high, "last")):
        if not end.strip():
            return f"the {which} number is missing"
        if not re.fullmatch(_NUMBER, end):
            return f"`{end}` is no number"
    return f"found `:{suffix}`, expected `:log` or nothing after the numbers"


def combinations(axes: Sequence[Axis]) -> int | None:
    """How many points several axes have together; None where nobody counts them."""
    sizes = [axis.size for axis in axes]
    return None if None in sizes else math.prod(size or 0 for size in sizes)


def _split(text: str) -> list[str]:
    """At commas that stand in no brackets and no quotes."""
    parts, open_ = [""], list[str]()
    for letter in text:
        if letter == "," and not open_:
            parts.append("")
            continue
        if open_ and letter == open_[-1]:
            open_.pop()
        elif letter in _SHUT and not (open_ and open_[-1] in "\"'"):
            open_.append(_SHUT[letter])
        parts[-1] += letter
    return [part.strip() for part in parts]
