"""`evaluation.keep`: whether a look at the validation images found the best that a run has found."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ammgraph.plan.metric import Metric
from ammgraph.runs import record
from ammgraph.spec.measures import MEASURES


def is_best(keep: str | None, found: Mapping[str, Any], metrics: Path) -> bool:
    """Whether no look before, by the lines of `metrics.jsonl`, found as good a value of the measure that is kept by."""
    if keep is None:
        return False
    name = keep.removeprefix("best ")
    now = _mean(name, found)
    before = [_mean(name, line["evaluation"]) for line in record.read(metrics) if "evaluation" in line]
    sign = -1 if MEASURES[name].better == "higher" else 1
    return math.isfinite(now) and all(sign * now < sign * other for other in before if math.isfinite(other))


def _mean(name: str, found: Mapping[str, Any]) -> float:
    """The measure's mean over variables."""
    values = [value for metric, value in found.items() if Metric.of(metric).what == name]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return sum(numbers) / len(numbers) if numbers else math.nan
