"""Data given in Python: arrays, tensors and `torch.utils.data.Dataset`s come in, records go out, as of an `.npz`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from ammgraph.data.advice import objects_advice
from ammgraph.data.arrays import KEYS, Array, keys_of, records_of
from ammgraph.data.records import Records
from ammgraph.diagnostics import RunError, counted

SOURCE = Path("data given in Python")
EXAMPLES = "examples given in Python"


@dataclass(frozen=True, eq=False)
class Given:
    """Data given in Python, and what they were: `x_train (1797, 8, 8) uint8, y_train (1797,) int64`."""

    records: Records
    shapes: str


def read_given(data: Any) -> Given:
    """What a person hands over.

    Args:
        data: `(x, y)`, or x alone; a `torch.utils.data.Dataset` of pairs or of examples, read whole; or a mapping of
            the arrays of an `.npz`, `x_train`, `y_train`, `x_test`, `y_test`. x are vectors (N, D), or images
            (N, H, W), (N, C, H, W) or (N, H, W, C), uint8 or floats in [0, 1]; y labels (N,), integers or texts.
            Examples that are memory-mapped stay in their file.

    Raises:
        RunError: what is not so.
    """
    if isinstance(data, TorchDataset):
        data = _stacked(data)
    if not isinstance(data, Mapping):
        parts = data if isinstance(data, tuple) else (data,)
        _check_parts(len(parts), "the tuple has")
        data = dict(zip(("x_train", "y_train"), parts, strict=False))
    arrays = {key: _array(key, values) for key, values in data.items() if values is not None}
    read = keys_of(SOURCE, list(map(str, arrays)))
    _check_read([key for key in arrays if key not in KEYS])
    arrays = {key: arrays[key] for key in read}
    if "layout" not in arrays and any(isinstance(values, Tensor) for values in data.values()):
        arrays["layout"] = np.array("NCHW")  # as torch has images
    shapes = ", ".join(f"{key} {array.shape} {array.dtype}" for key, array in arrays.items() if key != "layout")
    return Given(records_of(SOURCE, arrays), shapes)


def read_examples(x: Any) -> Tensor:
    """Examples without labels, as they are stored: images (N, C, H, W), or vectors (N, D, 1, 1).

    Raises:
        RunError: as `read_given`.
    """
    if isinstance(x, Mapping):
        names = ", ".join(f"`{name}`" for name in x)
        raise RunError(f"{EXAMPLES}: a mapping of {names or 'nothing'}, expected one array of images or of vectors")
    try:
        return read_given((x,)).records.train.held()
    except RunError as error:  # which speaks of training examples
        told = error.lines[0].replace(str(SOURCE), EXAMPLES).replace("x_train", "x")
        raise RunError(told.replace(", of every split alike", ""), error.details) from error


def _stacked(data: TorchDataset[Any]) -> tuple[Any, ...]:
    """(x, y) of a data set's items, or (x,)."""
    count = getattr(data, "__len__", None)
    items: Iterable[Any] = data if count is None else (data[place] for place in range(count()))  # type: ignore[assignment]
    pairs = [item if isinstance(item, tuple | list) else (item,) for item in items]
    if not pairs:
        raise RunError(f"{SOURCE}: the data set is empty")
    _check_parts(len(pairs[0]), "an item of the data set has")
    columns = []
    for column in zip(*pairs, strict=False):
        parts = [value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value)) for value in column]
        if len({part.shape for part in parts}) > 1:
            sizes = " and ".join(sorted({str(tuple(part.shape)) for part in parts})[:2])
            raise RunError(f"{SOURCE}: items of the data set have different shapes, as {sizes}; transform them to one")
        columns.append(torch.stack(parts))
    return tuple(columns)


def _check_parts(count: int, what: str) -> None:
    if not 1 <= count <= 2:
        raise RunError(
            f"{SOURCE}: {what} {counted(count, 'part')}, expected (x, y), or x alone; a test split has names, as in "
            "`{'x_train': x, 'y_train': y, 'x_test': ..., 'y_test': ...}`"
        )


def _check_read(unread: Sequence[str]) -> None:
    """Unlike a file, which may hold more, a mapping is handed over to be read."""
    if unread:
        names = " and ".join(f"`{key}`" for key in unread)
        are = "is no array that is read" if len(unread) == 1 else "are no arrays that are read"
        raise RunError(
            f"{SOURCE}: {names} {are}, expected some of {', '.join(KEYS)}; validation examples are some of x_train, as "
            "many as `data.validation` says"
        )


def _array(key: str, values: Any) -> Array:
    try:
        if isinstance(values, np.memmap):
            return values
        found = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        if found.dtype == object:
            if key.startswith("y") and any(value is None or value != value for value in found.flat):
                advice = objects_advice(key, found.ndim, is_label=True)
                raise RunError(f"{SOURCE}: `{key}` has labels that are None or NaN; {advice}")
            found = np.array(found.tolist())
        return found if found.flags.writeable else found.copy()  # of others torch makes no tensor
    except (TypeError, ValueError) as error:
        raise RunError(f"{SOURCE}: `{key}` is no array: {' '.join(str(error).split())[:200]}") from error
