"""Records that are vectors: numbers that are checked, and how each of them is scaled. Knows no file format.

A vector of D numbers is a tensor (D, 1, 1), as inside a network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ammgraph.data.on_disk import OnDisk, blocks
from ammgraph.data.records import Split
from ammgraph.diagnostics import RunError, counted

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

    def apply(self, vectors: Tensor) -> Tensor:
        """Vectors (N, D, 1, 1) as a model sees them, float32."""
        return ((vectors.double() - _column(self.shift)) / _column(self.scale)).float()

    def undo(self, vectors: Tensor) -> Tensor:
        """What a model draws, in the units of the source, float64."""
        return vectors.cpu().double() * _column(self.scale) + _column(self.shift)

    def scaled(self, split: Split) -> Split:
        """The same records as a model sees them."""
        images = split.images
        return replace(split, images=images.through(self.apply) if isinstance(images, OnDisk) else self.apply(images))


def fit_scaling(kind: str, columns: Sequence[str], vectors: Tensor | OnDisk) -> Scaling:
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
    kinds = {"standardize": (mean, variance.sqrt()), "minmax": (low, high - low)}
    shift, scale = kinds.get(kind, (torch.zeros(size), torch.ones(size)))
    constant = high == low
    return Scaling(tuple(columns), tuple(shift.tolist()), tuple(scale.masked_fill(constant, 1.0).tolist()))


def column_names(size: int) -> tuple[str, ...]:
    """Names where the source has none."""
    return tuple(f"x_{place}" for place in range(size))


def vectors_of(place: str, values: Array) -> Tensor:
    """Numbers (N, D) as vectors (N, D, 1, 1), float64.

    Args:
        place: the file and the array, as a message names it.
        values: of any type and order of bytes.

    Raises:
        RunError: they are no numbers, or some are NaN or infinite.
    """
    if 0 in values.shape:
        raise RunError(f"{place} is empty, shape ({', '.join(map(str, values.shape))})")
    if values.dtype.kind not in "biuf":
        advice = "store numbers: a column of words as columns of 0 and 1, one for each word, or leave it out"
        raise RunError(f"{place} is {values.dtype}, expected numbers; {advice}")
    numbers = values.astype(np.float64)  # of the machine's own order of bytes
    if not (finite := np.isfinite(numbers)).all():
        rows, columns = (~finite).any(1), np.flatnonzero((~finite).any(0))
        named = ", ".join(map(str, columns[:8])) + (", ..." if len(columns) > 8 else "")
        raise RunError(
            f"{place} has {counted(int((~finite).sum()), 'number')} that are NaN or infinite, in "
            f"{counted(int(rows.sum()), 'record')} and {'column' if len(columns) == 1 else 'columns'} {named}; leave "
            "these records out, or store numbers in their place"
        )
    return torch.from_numpy(numbers)[:, :, None, None]


@cache
def _column(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None]
