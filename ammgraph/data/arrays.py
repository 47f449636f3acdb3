"""Arrays `x_train`, `y_train`, `x_test`, `y_test` become records, whichever file they come from."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ammgraph.data.advice import (
    CHANNELS,
    examples_first,
    labels_advice,
    layout_advice,
    missing_advice,
    one_each_advice,
    pixels_advice,
    vectors_advice,
)
from ammgraph.data.labels import missing_word
from ammgraph.data.on_disk import OnDisk
from ammgraph.data.records import UNKNOWN, Records, Split, checked_records
from ammgraph.data.vectors import column_names, place_of, vectors_of
from ammgraph.diagnostics import RunError, counted, nearest
from ammgraph.spec.data_sets import ExampleKind

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]

KEYS = ("x_train", "y_train", "x_test", "y_test", "layout")


def keys_of(path: Path, there: Collection[str], otherwise: str = "") -> list[str]:
    """Which of the arrays that are there records are made of: of labels and of a test split both parts or none.

    Args:
        path: where they are.
        there: their names.
        otherwise: the hint where one is missing and no name is near.

    Raises:
        RunError: one is missing.
    """
    unlabeled = set(there) <= {"x_train", "x_test", "layout"}
    needed = ["x_train", "y_train"]
    if "x_test" in there or "y_test" in there:
        needed += ["x_test", "y_test"]
    needed = [key for key in needed if key[0] == "x" or not unlabeled]
    for key in needed:
        if key not in there:
            raise RunError(_missing_key(path, key, there, otherwise))
    warn_of_near(path, there, [key for key in KEYS if key not in there], needed)
    return [*needed, "layout"] if "layout" in there else needed


def warn_of_near(path: Path, there: Collection[str], known: Collection[str], read: Collection[str]) -> None:
    """Tell of arrays that are not read, and whose names are nearly those of arrays that would be."""
    for name in there:
        if name not in known and name not in read and (hint := nearest(name, known)):
            logger.warning(f"{path}: `{name}` is no array that is read; {hint}")


def _missing_key(path: Path, key: str, found: Collection[str], otherwise: str) -> str:
    names = ", ".join(found) or "nothing"
    others = [name for name in found if name not in KEYS]
    hint = renamed(key, others) or otherwise
    if not hint and others and key == "y_train":
        unread = " and ".join(f"`{name}`" for name in others)
        are = "is no array that is read" if len(others) == 1 else "are no arrays that are read"
        hint = f"{unread} {are}: of examples without labels leave out what is no x_train or x_test"
    return (
        f"{path}: no array `{key}`; found {names}; expected x_train, y_train and, if there is a test split, both of "
        f"x_test, y_test{f'; {hint}' if hint else ''}"
    )


def renamed(key: str, others: Collection[str]) -> str:
    """What to do where one of the other arrays is the one that is missing; empty where none is near."""
    near = nearest(key, others)
    return f"rename {near.removeprefix('did you mean ').removesuffix('?')} to `{key}`" if near else ""


def records_of(path: Path, arrays: Mapping[str, Array]) -> Records:
    """Arrays `x_train`, `y_train` and, if there, `x_test`, `y_test`; without any labels all have the same, 0.

    Vectors: (N, D), numbers of any type.

    Images: (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 to 4 channels, uint8 or floats in [0, 1]. Where both layouts
    are possible a further entry `layout`, "NHWC" or "NCHW", decides. Labels: integers or strings; the sorted values of
    `y_train` are the classes, those of `y_test` where no training example has a label. -1 and "" are no label.

    Examples that are memory-mapped stay in their file.

    Raises:
        RunError: what is not so, and what to store instead.
    """
    arrays = _with_labels(arrays)
    labels: dict[str, Array] = {key: _labels(path, key, arrays) for key in ("y_train", "y_test") if key in arrays}
    values = _classes(path, labels)
    kind: ExampleKind = "vector" if arrays["x_train"].ndim == 2 else "image"
    splits = {
        key: Split(_examples(path, f"x{key[1:]}", arrays), _positions(path, key, labels, values), kind)
        for key in labels
    }
    columns = column_names(splits["y_train"].images.shape[1]) if kind == "vector" else ()
    classes = tuple(str(value) for value in values) or ("0",)
    records = checked_records(splits["y_train"], splits.get("y_test"), classes, str(path), columns)
    return replace(records, labelled=len(values) > 0)


def _with_labels(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Where the file has none, no example has a label."""
    if "y_train" in arrays:
        return dict(arrays)
    keys = [key for key in arrays if key.startswith("x")]
    none = {f"y{key.removeprefix('x')}": np.full(len(np.atleast_1d(arrays[key])), UNKNOWN) for key in keys}
    return dict(arrays) | none


def _examples(path: Path, key: str, arrays: Mapping[str, Array]) -> torch.Tensor | OnDisk:
    """What an array holds as images or vectors (N, C, H, W): in memory, or in the file that it is mapped from."""
    found, count = arrays[key], len(arrays[f"y{key[1:]}"])
    layout = str(arrays["layout"]) if "layout" in arrays else None
    if arrays["x_train"].ndim == 2:
        _check_vectors(path, key, found, count)
        convert = partial(vectors_of, str(path), key)
    else:
        if hint := examples_first(key, found.shape, count):
            raise RunError(f"{path}: `{key}` has shape {shown(found.shape)}: {hint}")
        convert = partial(images_of, path, key, layout)
    if not isinstance(found, np.memmap) or not found.ndim or 0 in found.shape:
        return convert(found)
    if found.flags.f_contiguous and not found.flags.c_contiguous:
        raise RunError(f"{path}: the examples of `{key}` do not lie one after another; store `{key}.copy(order='C')`")
    return OnDisk.of(found, convert)


def _check_vectors(path: Path, key: str, vectors: Array, count: int) -> None:
    shape = shown(vectors.shape)
    if vectors.ndim != 2:
        raise RunError(f"{path}: `{key}` has shape {shape}, but `x_train` holds vectors; expected (N, D)")
    if vectors.shape[0] != count and vectors.shape[1] == count:
        advice = f"its {counted(count, 'example')} stand last; store `{key}.T`"
        raise RunError(f"{path}: `{key}` has shape {shape}: {advice}")


def _labels(path: Path, key: str, arrays: Mapping[str, Array]) -> Array:
    labels, images = arrays[key], arrays[f"x{key.removeprefix('y')}"]
    if not labels.size and images.size:
        raise RunError(f"{path}: `{key}` is empty, expected one label per example, or no labels at all: leave it out")
    if labels.ndim != 1:
        hint = one_each_advice(key, labels, len(np.atleast_1d(images)))
        raise RunError(f"{path}: `{key}` has shape {shown(labels.shape)}, expected one label per image, (N,); {hint}")
    if labels.dtype.kind not in "iuU":
        hint = labels_advice(key, labels)
        raise RunError(f"{path}: `{key}` is {labels.dtype}, expected integers or strings; {hint}")
    return labels if labels.dtype.kind != "U" else _texts(path, key, labels)


def _texts(path: Path, key: str, labels: Array) -> Array:
    """Without space around them."""
    if found := missing_word(labels.tolist()):
        words = {str(label) for label in np.unique(labels) if missing_word([label])}
        raise RunError(
            f"{path}: `{key}[{found[0]}]` is `{found[1]}`, a word for a missing label; {missing_advice(key, words)}"
        )
    return np.char.strip(labels)


def _classes(path: Path, labels: Mapping[str, Array]) -> Array:
    """The sorted labels of `y_train`, or where none is there, of `y_test`."""
    train, test = labels["y_train"], labels.get("y_test")
    if test is not None and (train.dtype.kind == "U") != (test.dtype.kind == "U"):
        raise RunError(f"{path}: `y_test` is {test.dtype} but `y_train` {train.dtype}; store both alike")
    values = np.unique(train[_is_known(train)])
    if len(values) == 1 and len(values) < len(np.unique(train)) and train.dtype.kind != "U":
        raise RunError(
            f"{path}: `y_train` holds {UNKNOWN} and {values[0]} alone, and {UNKNOWN} is no class: it says that an "
            f"example has no label; store `y_train == {values[0]}` as integers if both are classes"
        )
    return values if len(values) or test is None else np.unique(test[_is_known(test)])


def _is_known(labels: Array) -> Array:
    return labels != ("" if labels.dtype.kind == "U" else UNKNOWN)


def _positions(path: Path, key: str, labels: Mapping[str, Array], values: Array) -> torch.Tensor:
    """The class of each label; 0 where there are no classes."""
    found = labels[key]
    if not len(values):
        return torch.zeros(len(found), dtype=torch.int64)
    known = _is_known(found)
    if (unknown := np.setdiff1d(found[known], values)).size:
        raise RunError(f"{path}: `{key}` has {_few(unknown)}, which `y_train` has not; its classes are {_few(values)}")
    return torch.from_numpy(np.where(known, np.searchsorted(values, found), UNKNOWN).astype(np.int64))


def images_of(path: Path, key: str, layout: str | None, images: Array, places: Array | None = None) -> torch.Tensor:
    """An array of images as (N, C, H, W), uint8 or float32 in [0, 1]; their `places` are told where one is wrong.

    Raises:
        RunError: it is none.
    """
    if 0 in images.shape:
        raise RunError(f"{path}: `{key}` is empty, shape {shown(images.shape)}")
    if images.ndim not in (3, 4):
        hint = vectors_advice(key, images.shape)
        raise RunError(
            f"{path}: `{key}` has shape {shown(images.shape)}, expected (N, H, W), (N, H, W, C) or (N, C, H, W), or "
            f"vectors (N, D){f'; {hint}' if hint else ''}"
        )
    if images.dtype.kind in "iuf" and images.dtype != np.uint8 and (hint := vectors_advice(key, images.shape)):
        low, high = images.min(), images.max()
        if low < 0 or high > 1:
            raise RunError(
                f"{path}: `{key}` has shape {shown(images.shape)}, that of images, and numbers from {low:g} to "
                f"{high:g}; {hint}, (N, D); of images expected uint8 in 0..255, or floats in [0, 1]"
            )
    pixels = _pixels(path, key, images, places)
    return torch.from_numpy(np.ascontiguousarray(_channels_first(path, key, pixels, layout)))


def _pixels(path: Path, key: str, images: Array, places: Array | None) -> Array:
    """Images as uint8, or as float32 in [0, 1]."""
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        hint = pixels_advice(key, images)
        raise RunError(f"{path}: `{key}` is {images.dtype}, expected uint8 in 0..255 or floats in [0, 1]; {hint}")
    if not (finite := np.isfinite(images)).all():
        wrong = np.flatnonzero(~finite.reshape(len(images), -1).all(1))
        others = f", the first of {counted(len(wrong), 'such image')}" if len(wrong) > 1 else ""
        raise RunError(
            f"{path}: `{key}[{place_of(places, int(wrong[0]))}]` has pixels that are NaN or infinite{others}; leave "
            "these images out"
        )
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        hint = pixels_advice(key, images)
        raise RunError(f"{path}: `{key}` has floats from {low!r} to {high!r}, expected [0, 1]; {hint}")
    return images.astype(np.float32)


def _channels_first(path: Path, key: str, images: Array, layout: str | None) -> Array:
    if images.ndim == 3:
        return images[:, np.newaxis]
    shape = shown(images.shape)
    if layout is None:
        first, last = images.shape[1] in CHANNELS, images.shape[3] in CHANNELS
        if first == last and images.shape[1:] != (1, 1, 1):
            which = (
                "both axis 1 and axis 3 could be channels" if first else "neither axis 1 nor axis 3 is 1 to 4 channels"
            )
            hint = layout_advice(key, images.shape, first, of_files=path.is_dir())
            raise RunError(f"{path}: `{key}` has shape {shape}: {which}; {hint}")
        layout = "NCHW" if first else "NHWC"
    if layout not in ("NHWC", "NCHW"):
        raise RunError(f'{path}: `layout` is "{layout}", expected "NHWC" or "NCHW"')
    return images if layout == "NCHW" else images.transpose(0, 3, 1, 2)


def shown(shape: tuple[int, ...]) -> str:
    """A shape as numpy writes it."""
    return f"({', '.join(str(size) for size in shape)}{',' if len(shape) == 1 else ''})"


def _few(values: Array) -> str:
    shown = ", ".join(f"`{value}`" for value in values[:8])
    return shown + (f" and {len(values) - 8} more" if len(values) > 8 else "")
