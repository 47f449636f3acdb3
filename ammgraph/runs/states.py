"""States that are read back: a stranger's may hold anything, and torch writes beyond a tensor that is too small."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ammgraph.diagnostics import RunError

# What optimizers and batch norm remember that is a mean of squares, or counts.
NEVER_NEGATIVE = ("exp_avg_sq", "square_avg", "step", "running_variance")


class NotFinite(RunError):
    """Training has come to a number that is none; `at_once` where that is in the first step."""

    def __init__(self, message: str, at_once: bool = False) -> None:
        super().__init__(message)
        self.at_once = at_once


def mismatch(found: Any, expected: Any, place: str = "") -> str:
    """Where a state has another structure, shape or type than one that would do; empty where it has the same.

    Values are not compared, but for texts and truth values, of which there are none that may differ.
    """
    at = f"`{place}`: " if place else ""
    if isinstance(expected, Tensor):
        return _tensor_mismatch(found, expected, at)
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            return f"{at}found {_kind(found)}, expected a mapping"
        for name in [*expected, *found]:
            if name not in found or name not in expected:
                return f"{at}{f'`{name}` is missing' if name in expected else f'unknown entry {_short(name)}'}"
        below = (mismatch(found[name], expected[name], f"{place}/{name}".lstrip("/")) for name in expected)
    elif isinstance(expected, list | tuple):
        if type(found) is not type(expected) or len(found) != len(expected):
            return f"{at}found {_kind(found)}, expected {len(expected)} entries"
        pairs = enumerate(zip(found, expected, strict=True))
        below = (mismatch(one, other, f"{place}/{index}") for index, (one, other) in pairs)
    elif type(found) is not type(expected):
        return f"{at}found {_kind(found)}, expected {_kind(expected)}"
    elif isinstance(expected, str | bool):
        return "" if found == expected else f"{at}found {_short(found)}, expected {expected!r}"
    else:
        return ""
    return next((problem for problem in below if problem), "")


def impossible(state: Any, place: str = "") -> tuple[str, str]:
    """What no number of a state may be, and where one is: not finite, or a mean of squares or a count below 0."""
    if isinstance(state, Tensor):
        name = re.split(r"[/.]", place)[-1]
        below = name in NEVER_NEGATIVE and state.is_floating_point() and bool((state < 0).any())
        return ("negative", place) if below else ("", "") if all_finite([state]) else ("not finite", place)
    entries: Iterable[tuple[Any, Any]] = ()
    if isinstance(state, Mapping):
        entries = state.items()
    elif isinstance(state, list | tuple):
        entries = enumerate(state)
    found = (impossible(value, f"{place}/{name}".lstrip("/")) for name, value in entries)
    return next((problem for problem in found if problem[0]), ("", ""))


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number is finite; waits for the device."""
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def same_text(found: object, expected: str) -> bool:
    """Whether a value is this text; a tensor cannot even be asked."""
    return isinstance(found, str) and found == expected


def _tensor_mismatch(found: Any, expected: Tensor, at: str) -> str:
    if not isinstance(found, Tensor):
        return f"{at}found {_kind(found)}, expected a tensor"
    kinds = [f"{tensor.dtype} {list(tensor.shape)}".removeprefix("torch.") for tensor in (found, expected)]
    return "" if kinds[0] == kinds[1] else f"{at}found {kinds[0]}, expected {kinds[1]}"


def _short(value: object) -> str:
    return repr(value)[:60]


def _kind(value: Any) -> str:
    return "a tensor" if isinstance(value, Tensor) else type(value).__name__
