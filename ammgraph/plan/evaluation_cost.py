"""What an evaluation and a report hold at once: shapes and numbers of images come in, bytes go out."""

import math
from dataclasses import dataclass

from ammgraph.plan.draws import FromNetwork
from ammgraph.plan.plan import Plan, ReadoutPlan
from ammgraph.spec.data_sets import DATA_SETS

BATCH = 200  # images that pass through the networks at once
COMPONENTS = 1000  # the same of components: their one-hot vectors are a table of this by K
FIGURE_ROWS = 50  # of a figure: of more categories those with the most images
FIGURE_COLUMNS = 16  # images in a row of samples, those of the data beside them included
BASELINE = 10_000  # images that k-means sees at most
_NUMBER, _SCORE = 4, 8  # bytes: of networks and images in float32, of scores in float64


@dataclass(frozen=True)
class EvaluationMemory:
    """Bytes, with the variable whose scores take the most; "" where nothing is scored.

    scores  for each image and each rule a number for every category, and once more while one is worked on
    other   the largest of what comes and goes beside them: a batch in the networks, the components in theirs, the
            pixels for k-means, the images of a figure
    """

    variable: str
    scores: int
    other: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.scores + self.other


def evaluation_memory(plan: Plan, scored: int, fitted: int = 0) -> EvaluationMemory:
    """The memory of an evaluation, or of a report.

    Args:
        plan: the compiled spec.
        scored: images that are scored.
        fitted: images on which assignments are fitted as well.
    """
    tables = {readout.variable: _tables(plan, readout, scored, fitted) for readout in plan.readouts}
    working = max((_SCORE * _size(plan, readout.variable) * scored for readout in plan.readouts), default=0)
    largest = max(tables, key=lambda name: tables[name], default="")
    other = max(_batch(plan), _components(plan), _baseline(plan, scored), _figures(plan))
    return EvaluationMemory(largest, sum(tables.values()) + working, other)


def known_counts(plan: Plan) -> tuple[int, int]:
    """(images that are scored, images on which assignments are fitted as well) of one data set with a name, else 0."""
    known = DATA_SETS.get(plan.data.dataset)
    if known is None or plan.data_sets:
        return 0, 0
    return known.test or known.train - plan.data.validation, plan.data.validation


def _tables(plan: Plan, readout: ReadoutPlan, scored: int, fitted: int) -> int:
    rules = 1 if readout.bayes is None else 2
    return _SCORE * _size(plan, readout.variable) * rules * (scored + fitted)


def _batch(plan: Plan) -> int:
    rows = {
        (factor.origin.evaluation.network, row)
        for draw in plan.draws
        for factor in draw.factors
        if isinstance(factor.origin, FromNetwork)
        for row in factor.origin.rows
    }
    shapes = [(row.in_shape, row.inner_shape, row.out_shape) for row in (plan.network(n).row(name) for n, name in rows)]
    return _NUMBER * BATCH * sum(math.prod(shape) for three in shapes for shape in three)


def _components(plan: Plan) -> int:
    sizes = [_size(plan, readout.variable) for readout in plan.readouts if readout.bayes is not None]
    return max((_NUMBER * size * min(size, COMPONENTS) for size in sizes), default=0)


def _baseline(plan: Plan, scored: int) -> int:
    if all(readout.supervised for readout in plan.readouts):
        return 0
    return 3 * _NUMBER * min(scored, BASELINE) * max(_images(plan), default=0)


def _figures(plan: Plan) -> int:
    """An image in a row is held as it is drawn, in the mosaic, and in the colours of that."""
    sizes = [_size(plan, variable.name) for variable in plan.variables if variable.kind == "categorical"]
    rows = min(FIGURE_ROWS, max(sizes, default=5))
    return 3 * _NUMBER * rows * FIGURE_COLUMNS * max(_images(plan), default=0)


def _images(plan: Plan) -> list[int]:
    return [math.prod(variable.shape) for variable in plan.variables if variable.observed]


def _size(plan: Plan, variable: str) -> int:
    return plan.variable(variable).shape[0]
