"""Arguments of calls from Python: each is what its place takes, or is refused before anything is done.

Whole numbers of numpy and torch are whole numbers; texts, truth values and numbers with a fraction are none.
"""

from collections.abc import Mapping, Sequence
from numbers import Real
from operator import index
from typing import Any

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError, alternatives, nearest

ENDLESS = 1e9  # seconds; what a run's record takes is less


def whole(name: str, value: Any, least: int | None = 0) -> int:
    """A whole number, at least so much, if that is said, and less than 2^63.

    Raises:
        RunError: it is none.
    """
    try:
        number = None if isinstance(value, bool) else index(value)
    except TypeError:
        number = None
    if number is None:
        raise RunError(f"`{name}` is {_told(value)}, expected a whole number")
    if least is not None and number < least:
        raise RunError(f"`{name}` is {number}, expected at least {least}")
    if number >= 2**63:
        raise RunError(f"`{name}` is {number}, expected less than 2^63")
    return number


def maybe_whole(name: str, value: Any, least: int | None = 0) -> int | None:
    """The same, or None.

    Raises:
        RunError: it is neither.
    """
    return None if value is None else whole(name, value, least)


def wholes(name: str, value: Any) -> Tensor:
    """A whole number, or an array of them, int64.

    Raises:
        RunError: it is neither.
    """
    try:
        found = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        found = None
    if found is None or found.is_floating_point() or found.is_complex() or found.dtype == torch.bool:
        raise RunError(f"`{name}` is {_told(value)}, expected {'a whole number' if _alone(value) else 'whole numbers'}")
    return found.to(torch.int64)


def seconds(name: str, value: Any) -> float:
    """A number of seconds.

    Raises:
        RunError: it is none, below 0 or so many that they never come.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < ENDLESS:
        raise RunError(f"`{name}` is {_told(value)}, expected a number of seconds, at least 0 and less than 1e9")
    return float(value)


def functions(**given: Any) -> None:
    """Each is a function, or None.

    Raises:
        RunError: one is neither.
    """
    for name, value in given.items():
        if value is not None and not callable(value):
            raise RunError(f"`{name}` is {_told(value)}, expected a function")


def mapping(name: str, value: Any) -> Mapping[Any, Any]:
    """A mapping.

    Raises:
        RunError: it is none.
    """
    if not isinstance(value, Mapping):
        raise RunError(f"`{name}` is {_told(value)}, expected a mapping")
    return value


def texts(name: str, value: Any, example: str) -> Sequence[str]:
    """Texts, several of them: one alone would be taken letter by letter.

    Raises:
        RunError: it is none.
    """
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(one, str) for one in value):
        raise RunError(f"`{name}` is {_told(value)}, expected a list of texts, as {example}")
    return value


def word(name: str, value: Any, known: Sequence[str]) -> str:
    """One of some words.

    Raises:
        RunError: it is none of them.
    """
    if value not in known:
        hint = nearest(value, known) if isinstance(value, str) else ""
        raise RunError(f"`{name}` is {_told(value)}, expected {alternatives(known)}{f'; {hint}' if hint else ''}")
    return str(value)


def _alone(value: Any) -> bool:
    return isinstance(value, str) or not hasattr(value, "__len__")


def _told(value: Any) -> str:
    """A value on a line."""
    return " ".join(repr(value).split())[:60]
