"""What a run's strips show: samples of the same noise, a row for each look in training that was kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ammgraph.evaluation.metrics import Array
from ammgraph.evaluation.synthesis import columns_of
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import sampling_draw
from ammgraph.report.curves import Curves
from ammgraph.runs import strips


@dataclass(frozen=True, eq=False)
class StripsView:
    """Samples of the same noise at R looks: every column is one noise, of one category where there is one."""

    name: str
    variable: str
    draw: str
    category: str
    categories: Array  # (n,), or (0,) without a category
    steps: Array  # (R,)
    times: Array  # (R,), in the unit
    unit: str  # `epoch` or `step`
    images: Array  # (R, n, C, H, W), float32 in [0, 1]


def collect_strips(plan: Plan, folder: Path, curves: Curves, last: int) -> tuple[StripsView, ...]:
    """One for each variable of which a run has kept two strips, up to its last step."""
    views = []
    for variable in plan.variables:
        sampled = sampling_draw(plan, variable.name)
        found = strips.read(folder, variable.name, variable.shape, last) if sampled is not None else {}
        if sampled is None or len(found) < 2:
            continue
        draw, category = sampled
        scale, unit = curves.unit(max(found))
        columns = columns_of(plan, category)
        steps = np.array(list(found))
        views.append(
            StripsView(
                name=f"strips_{variable.name}",
                variable=variable.name,
                draw=draw.name,
                category=next(iter(columns), ""),
                categories=next((values.numpy() for values in columns.values()), np.zeros(0, np.int64)),
                steps=steps,
                times=steps * scale,
                unit=unit,
                images=np.stack(list(found.values())).astype(np.float32) / 255,
            )
        )
    return tuple(views)
