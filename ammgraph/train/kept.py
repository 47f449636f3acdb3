"""`evaluation.keep`: whether a look at the validation images found the best of the states that a run has kept."""

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from ammgraph.plan.metric import Metric
from ammgraph.runs import record
from ammgraph.spec.measures import MEASURES


def is_best(keep: str | None, look: Mapping[str, Any], metrics: Path, states: Collection[int]) -> bool:
    """Whether a look, a line of `metrics.jsonl` to be, is better than those of this file whose states are kept.

    A look from before the run was asked to keep anything has no state that could be evaluated.

    Args:
        keep: the measure; nothing is kept without one.
        look: at the step at hand.
        metrics: the file.
        states: the steps of the states that are kept.
    """
    if keep is None:
        return False
    looks = [line for line in record.read(metrics) if "evaluation" in line and line["step"] in states]
    return best_look(keep, [*looks, look]) is look


def best_look(keep: str, looks: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The look with the best value: of several the first, of those at one step, before and after a fit, the last."""
    name = keep.removeprefix("best ")
    sign = -1 if MEASURES[name].better == "higher" else 1
    best, least = None, math.inf
    for look in looks:
        value = sign * _mean(name, look["evaluation"])
        again = best is not None and value == least and look["step"] == best["step"]
        if math.isfinite(value) and (value < least or again):
            best, least = look, value
    return best


def _mean(name: str, found: Mapping[str, Any]) -> float:
    """The measure's mean over variables."""
    values = [value for metric, value in found.items() if Metric.of(metric).what == name]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return sum(numbers) / len(numbers) if numbers else math.nan
