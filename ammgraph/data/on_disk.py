"""Examples that stay in their file: a batch of them is read where it is taken. Knows no file format."""

import math
import os
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ammgraph.diagnostics import RunError

Array = np.ndarray[Any, np.dtype[Any]]

_BLOCK = 2**20  # numbers that are read at once


class Rows:
    """The rows of an array (N, ...) in a file that is mapped.

    Each row is read by its place in the file, and no page of the map is touched: what was read of a map stays in the
    memory of the process, megabytes for a row where the system keeps files in large pages.
    """

    def __init__(self, array: np.memmap[Any, Any]) -> None:
        self._path, self._start = Path(str(array.filename)), int(array.offset)
        self._count, self._shape, self._dtype = len(array), array.shape[1:], array.dtype
        self._bytes = math.prod(self._shape) * self._dtype.itemsize
        self._file = os.open(self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return self._count

    @property
    def at_once(self) -> int:
        """How many rows are a block."""
        return max(1, _BLOCK // max(1, math.prod(self._shape)))

    def take(self, places: slice | Array) -> Array:
        """The rows at these places, in their order.

        Raises:
            RunError: the file has become shorter, or cannot be read any more.
        """
        if isinstance(places, slice):
            start, end, _ = places.indices(self._count)
            parts, count = [(start, max(0, end - start))], max(0, end - start)
        else:
            parts, count = [(place, 1) for place in places.tolist()], len(places)
        size, origin = self._bytes, self._start
        try:
            found = bytearray().join([os.pread(self._file, many * size, origin + at * size) for at, many in parts])
        except OSError as error:
            raise RunError(f"cannot read {self._path} any more ({error.strerror or error})") from error
        if len(found) != count * size:
            raise RunError(f"{self._path} has become shorter while it was read; let it be as it is until the run ends")
        return np.frombuffer(found, self._dtype).reshape(count, *self._shape)


@dataclass(frozen=True, eq=False)
class OnDisk:
    """N examples in a file, (N, C, H, W) as they are taken: what `on_disk[positions]` gives is in memory.

    Args:
        rows: of the file.
        convert: what makes tensors (B, C, H, W) of some of them, and is told which rows of the file they are, (B,).
        example: the shape of an example, (C, H, W).
        dtype: of what is taken.
        positions: which rows of the file, in which order; None for all as they stand.
        device: where what is taken goes.
    """

    rows: Rows
    convert: Callable[[Array, Array], Tensor]
    example: tuple[int, ...]
    dtype: torch.dtype
    positions: Tensor | None = None
    device: torch.device | str = "cpu"

    @classmethod
    def of(cls, array: np.memmap[Any, Any], convert: Callable[[Array, Array], Tensor]) -> "OnDisk":
        """All rows of a file, each converted once, to be checked."""
        rows = Rows(array)

        def converted(start: int) -> Tensor:
            end = min(start + rows.at_once, len(rows))
            return convert(rows.take(slice(start, end)), np.arange(start, end))

        first = converted(0)
        for start in range(rows.at_once, len(rows), rows.at_once):
            converted(start)
        return cls(rows, convert, tuple(first.shape[1:]), first.dtype)

    def __len__(self) -> int:
        return len(self.rows) if self.positions is None else len(self.positions)

    def __getitem__(self, at: Tensor | slice) -> Tensor:
        """The examples at these positions, read now."""
        at = at.cpu() if isinstance(at, Tensor) else at
        places = self.positions[at] if self.positions is not None else at
        if isinstance(places, Tensor):
            numbers = places.numpy()
            return self.convert(self.rows.take(numbers), numbers).to(self.device)
        return self.convert(self.rows.take(places), np.arange(*places.indices(len(self.rows)))).to(self.device)

    @property
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""
        return torch.Size((len(self), *self.example))

    def at(self, positions: Tensor) -> "OnDisk":
        """The examples at these positions, in this order; nothing is read."""
        positions = positions.cpu()
        return replace(self, positions=positions if self.positions is None else self.positions[positions])

    def to(self, device: torch.device | str) -> "OnDisk":
        """The same examples, which go to a device as they are taken."""
        return replace(self, device=device)

    def through(self, function: Callable[[Tensor, Array], Tensor]) -> "OnDisk":
        """The same examples, each of which a function changes as it is taken; it is told their rows as `convert` is."""
        convert = self.convert
        seen = function(torch.zeros((1, *self.example), dtype=self.dtype), np.zeros(1, np.int64))
        example = tuple(seen.shape[1:])
        return replace(
            self, convert=lambda rows, at: function(convert(rows, at), at), example=example, dtype=seen.dtype
        )


def blocks(examples: Tensor | OnDisk) -> Iterator[Tensor]:
    """All examples in their order, a part that fits the memory at a time; a tensor at once."""
    if isinstance(examples, Tensor):
        yield examples
        return
    size = examples.rows.at_once
    for start in range(0, len(examples), size):
        yield examples[start : start + size]
