"""Records that are vectors: numbers that are checked, and how each of them is scaled. Knows no file format.

A vector of D numbers is a tensor (D, 1, 1), as inside a network.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ammgraph.data.on_disk import OnDisk, blocks
from ammgraph.data.records import Split
from ammgraph.diagnostics import RunError, counted
from ammgraph.spec.notation import LARGEST_NUMBER

logger = logging.getLogger(__name__)

LARGEST = float(LARGEST_NUMBER)

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Scaling:
    """How numbers are scaled, each by its own constants: (x - shift) / scale.

    Args:
        columns: the names of the numbers, in their order; `x_0`, `x_1`, ... where the source has none.
        shift: what becomes 0: the mean, or the least value.
        scale: what becomes 1: the standard deviation, or largest less least value; 1 where a number never changes.
    """

    columns: tuple[str, ...]
    shift: tuple[float, ...]
    scale: tuple[float, ...]

    def apply(self, vectors: Tensor, source: str = "the vectors", places: Array | None = None) -> Tensor:
        """Vectors (N, D, 1, 1) as a model sees them, float32.

        Args:
            vectors: in the units of the source.
            source: where they are, as a message names it.
            places: of them in a file, (N,), where they are some of it.

        Raises:
            RunError: a number is so far from those of training that single precision does not hold it.
        """
        scaled = (vectors.double() - _column(self.shift)) / _column(self.scale)
        if (wrong := ~(scaled.abs() <= LARGEST)).any():
            record, column, *_ = wrong.nonzero()[0].tolist()
            found, after = vectors[record, column].item(), scaled[record, column].item()
            raise RunError(
                f"{source}, record {place_of(places, record):,} counted from 0: column `{self.columns[column]}` is "
                f"{found:g}, and as the training data are scaled {after:g}, beyond {LARGEST:.0e}; leave these records "
                "out"
            )
        return scaled.float()

    def undo(self, vectors: Tensor) -> Tensor:
        """What a model draws, in the units of the source, float64."""
        return vectors.cpu().double() * _column(self.scale) + _column(self.shift)

    def scaled(self, split: Split, source: str) -> Split:
        """The same records as a model sees them; see `apply`."""
        return replace(split, images=through(split.images, partial(self.apply, source=source)))


def through(values: Tensor | OnDisk, apply: Callable[..., Tensor]) -> Tensor | OnDisk:
    """Vectors as `Scaling.apply` gives them, those in a file as they are taken."""
    if isinstance(values, OnDisk):
        return values.through(lambda taken, places: apply(taken, places=places))
    return apply(values)


def fit_scaling(kind: str, columns: Sequence[str], vectors: Tensor | OnDisk, source: str = "the data") -> Scaling:
    """The constants of the training vectors.

    standardize   mean and standard deviation sqrt(E (x - E x)^2)
    minmax        least value, and largest less least value
    none          0 and 1

    Vectors that stay in a file pass once, in blocks: two sets of numbers, a share s of them in the second, with means
    a and b and variances v and w, have the mean a + s (b - a) and the variance (1 - s) v + s w + s (1 - s) (b - a)^2.

    Args:
        kind: one of these.
        columns: a name for each number.
        vectors: (N, D, 1, 1).
        source: where they are, as a message names it.

    Raises:
        RunError: a number changes by less than single precision tells.
    """
    size = vectors.shape[1]
    count, mean, variance = 0, torch.zeros(size).double(), torch.zeros(size).double()
    low, high = torch.full((size,), torch.inf).double(), torch.full((size,), -torch.inf).double()
    for block in blocks(vectors):
        values = block.double().flatten(1)
        share, apart = len(values) / (count + len(values)), values.mean(0) - mean
        variance = (1 - share) * variance + share * (values.var(0, correction=0) + (1 - share) * apart.square())
        count, mean = count + len(values), mean + share * apart
        low, high = torch.minimum(low, values.amin(0)), torch.maximum(high, values.amax(0))
    _check_spread(source, columns, low, high)
    _warn_of_scales(source, kind, columns, low, high)
    kinds = {"standardize": (mean, variance.sqrt()), "minmax": (low, high - low)}
    shift, scale = kinds.get(kind, (torch.zeros(size), torch.ones(size)))
    constant = high == low
    return Scaling(tuple(columns), tuple(shift.tolist()), tuple(scale.masked_fill(constant, 1.0).tolist()))


_AS_IT_IS = 1e4  # numbers beyond it are far from what networks begin with


def _check_spread(source: str, columns: Sequence[str], low: Tensor, high: Tensor) -> None:
    spread = high - low
    for place in ((spread > 0) & (spread < 1 / LARGEST)).nonzero().flatten().tolist():
        raise RunError(
            f"{source}: column `{columns[place]}` runs from {low[place].item():g} to {high[place].item():g}, and its "
            f"numbers differ by less than {1 / LARGEST:.0e}; divide the column by its largest magnitude"
        )


def _warn_of_scales(source: str, kind: str, columns: Sequence[str], low: Tensor, high: Tensor) -> None:
    if bool((low == high).all()):
        logger.warning(f"{source}: all training vectors are the same, and there is nothing to tell apart")
    largest = torch.maximum(low.abs(), high.abs())
    if kind == "none" and largest.max() > _AS_IT_IS:
        place = int(largest.argmax())
        least, most = low[place].item(), high[place].item()
        logger.warning(
            f"{source}: column `{columns[place]}` runs from {least:.10g} to {most:.10g}, and with `data.scale: none` "
            "networks take it as it is: training may stand still or diverge; "
            "`data.scale: standardize` scales each column"
        )


def column_names(size: int) -> tuple[str, ...]:
    """Names where the source has none."""
    return tuple(f"x_{place}" for place in range(size))


def vectors_of(path: str, key: str, values: Array, places: Array | None = None) -> Tensor:
    """Numbers (N, D) as vectors (N, D, 1, 1), float64.

    Args:
        path: where they are.
        key: the name of the array, as a message has it.
        values: of any type and order of bytes.
        places: of them in the array, (N,), where they are some of it.

    Raises:
        RunError: they are no numbers, or some are NaN, infinite or beyond what single precision holds.
    """
    if 0 in values.shape:
        raise RunError(f"{path}: `{key}` is empty, shape ({', '.join(map(str, values.shape))})")
    if values.dtype.kind not in "biuf":
        advice = "store numbers: a column of words as columns of 0 and 1, one for each word, or leave it out"
        raise RunError(f"{path}: `{key}` is {values.dtype}, expected numbers; {advice}")
    numbers = values.astype(np.float64)  # of the machine's own order of bytes
    check_range(numbers, column_names(numbers.shape[1]), lambda record: f"{path}: `{key}[{place_of(places, record)}]`")
    return torch.from_numpy(numbers)[:, :, None, None]


def place_of(places: Array | None, record: int) -> int:
    """Where a record stands: at its own place, or at one of some `places`."""
    return record if places is None else int(places[record])


def check_range(values: Array, names: Sequence[str], where: Callable[[int], str]) -> None:
    """Every number (N, D) is finite, and single precision holds it.

    Args:
        values: float64.
        names: of the columns.
        where: a record stands.

    Raises:
        RunError: one is not so, the first of them.
    """
    if not (wrong := ~(np.abs(values) <= LARGEST)).any():
        return
    record, column = divmod(int(wrong.argmax()), values.shape[1])
    value, store = values[record, column], "store numbers in their place"
    what = "NaN or infinite"
    if np.isfinite(value):
        what, store = f"{value:g}, beyond {LARGEST:.0e}", "divide the column by a constant"
    records, columns = counted(int(wrong.any(1).sum()), "record"), counted(int(wrong.any(0).sum()), "column")
    others = f", the first of {int(wrong.sum()):,} such numbers in {records} and {columns}" if wrong.sum() > 1 else ""
    raise RunError(f"{where(record)}: column `{names[column]}` is {what}{others}; leave these records out, or {store}")


@cache
def _column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None]
