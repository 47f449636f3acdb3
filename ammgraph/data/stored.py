"""Files of arrays: an `.npz`, and `.npy` files whose examples stay on disk. Nothing in them is run."""

import math
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ammgraph.data.advice import objects_advice, word_advice
from ammgraph.data.arrays import Array, keys_of, records_of, shown, warn_of_near
from ammgraph.data.records import Records, entries, machine_memory, reading, refuse_other_than_a_file
from ammgraph.diagnostics import RunError, counted, nearest


def read_npz(path: Path, example: str = "", label: str = "") -> Records:
    """Records of the arrays in one file; see `records_of`. `example` and `label` are their names but for `x` and `y`.

    Raises:
        RunError: what is wrong with them.
    """
    advice = "expected a whole .npz file with x_train, y_train, as numpy.savez writes it"
    with npz(path, advice, "not an .npz file, or not all of one") as file:
        return _records(path, file.files, lambda key, example: npz_array(path, file, key, not example), example, label)


def read_npy(path: Path, example: str = "", label: str = "") -> Records:
    """Records of a folder with a file for each array, `x_train.npy`, ...; or of one such file, the training examples.

    Examples stay in their file; labels are read. `example` and `label` are their names but for `x` and `y`.

    Raises:
        RunError: what is wrong with them.
    """
    if not path.is_dir():
        return records_of(path, {"x_train": npy(path, mapped=True)})
    files = {entry.stem: entry for entry in entries(path) if entry.suffix == ".npy"}
    return _records(path, list(files), lambda key, example: npy(files[key], example, not example), example, label)


def _records(path: Path, there: Sequence[str], read: Callable[[str, bool], Array], example: str, label: str) -> Records:
    if not example and not label:
        return records_of(
            path, {key: read(key, key.startswith("x")) for key in keys_of(path, there, word_advice(there))}
        )
    keys = _own_keys(path, there, example or "x", label or "y")
    arrays = {key: read(own, key.startswith("x")) for key, own in keys.items()}
    for end in ("_train", "_test"):
        x, y = (arrays.get(f"{part}{end}") for part in "xy")
        if x is None or y is None or not x.ndim or y.ndim != 1 or len(y) in (0, len(x), x.shape[-1]):
            continue
        raise RunError(
            f"{path}: `{keys[f'x{end}']}` has {counted(len(x), 'record')}, and `{keys[f'y{end}']}` "
            f"{counted(len(y), 'label')}; expected one each"
        )
    try:
        return records_of(path, arrays)
    except RunError as error:  # which speaks of `x_train` and `y_train`
        text = re.sub(r"\b[xy]_(train|test)\b", lambda found: keys.get(found[0], found[0]), str(error))
        raise RunError(text) from error


def _own_keys(path: Path, there: Sequence[str], example: str, label: str) -> dict[str, str]:
    """`x_train`, `y_train`, ... -> the array that it is: NAME_train and NAME_test, or NAME where nothing is split."""
    split = f"{example}_train" in there or f"{label}_train" in there
    labelled = label != "y" or "y_train" in there
    tested = f"{example}_test" in there or (labelled and f"{label}_test" in there)
    ends = ("_train", "_test") if split and tested else ("_train",)
    keys = {f"x{end}": f"{example}{end if split else ''}" for end in ends}
    if labelled:
        keys |= {f"y{end}": f"{label}{end if split else ''}" for end in ends}
    for own in keys.values():
        if own not in there:
            names = f"expected `{own}`, as `data.fields` says" + ("" if split else f", or `{own}_train`")
            hint = nearest(own, list(there)) or word_advice(there)
            raise RunError(f"{path}: no array `{own}`; found {', '.join(there)}; {names}{f'; {hint}' if hint else ''}")
    if split and not tested:
        near = [f"{example}_test", *([f"{label}_test"] if labelled else [])]
        warn_of_near(path, there, near, [*keys.values(), "layout"])
    return keys | ({"layout": "layout"} if "layout" in there else {})


# --------------------------------------------------------------------------------------------------- npz


@contextmanager
def npz(path: Path, advice: str, otherwise: str) -> Iterator[Any]:
    """The arrays of an .npz file, unpacked when they are asked for."""
    refuse_other_than_a_file(path)
    with reading(str(path), advice), path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise RunError(f"{path} is {otherwise}; {advice}")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as file:
            yield file


def npz_array(path: Path, file: Any, key: str, is_label: bool = False) -> Array:
    """One array of an open file; whether it holds labels, for advice.

    Raises:
        RunError: it holds Python objects, or does not fit the machine.
    """
    # Arrays may be compressed a thousandfold, and a header may claim what is not there: look before unpacking.
    with file.zip.open(f"{key}.npy" if f"{key}.npy" in file.zip.namelist() else key) as member:
        shape, dtype = _header(member)
    if (size := math.prod(shape) * dtype.itemsize) > machine_memory():
        raise RunError(
            f"{path}: `{key}` is {shown(shape)} of {dtype}, {size / 2**30:,.1f} GiB, "
            f"and the machine has {machine_memory() / 2**30:,.1f} GiB of memory"
        )
    try:
        return np.asarray(file[key])
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise _objects(path, key, len(shape), is_label) from None


def _objects(path: Path, key: str, axes: int, is_label: bool) -> RunError:
    return RunError(
        f"{path}: `{key}` holds Python objects, which are not read because they may run code; "
        f"{objects_advice(key, axes, is_label)}"
    )


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape and the type of the array that begins here."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


# --------------------------------------------------------------------------------------------------- npy


def npy(file: Path, mapped: bool = False, is_label: bool = False) -> Array:
    """The array of a file, or a map of it; whether it holds labels, for advice.

    Raises:
        RunError: it is no such file, not all of it, or holds Python objects.
    """
    refuse_other_than_a_file(file)
    with reading(str(file), "expected a whole .npy file, as numpy.save writes it"):
        with file.open("rb") as stream:
            if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
                raise RunError(f"{file} is not an .npy file; expected one, as numpy.save writes it")
            stream.seek(0)
            shape, _ = _header(stream)
        try:
            return np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
        except ValueError as error:
            if "Python objects" in str(error) or "allow_pickle" in str(error):
                raise _objects(file, file.stem, len(shape), is_label) from None
            raise
