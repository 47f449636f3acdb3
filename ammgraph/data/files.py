"""Readers of a user's own data: `.npz` files and folders of images by class. Never touches a network."""

import math
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ammgraph.data.advice import (
    CHANNELS,
    examples_first,
    labels_advice,
    layout_advice,
    mode_advice,
    one_each_advice,
    pixels_advice,
    upright,
)
from ammgraph.data.records import (
    Records,
    Split,
    checked_records,
    entries,
    machine_memory,
    name_beside,
    reading,
    refuse_other_than_a_file,
    shape_text,
)
from ammgraph.data.tables import read_table, vectors_in
from ammgraph.data.vectors import column_names, vectors_of
from ammgraph.diagnostics import RunError, counted, nearest
from ammgraph.spec.data_sets import ExampleKind

Array = np.ndarray[Any, np.dtype[Any]]

# --------------------------------------------------------------------------------------------------- npz


def read_npz(path: Path) -> Records:
    """Arrays `x_train`, `y_train` and, if there, `x_test`, `y_test`; without any labels all have the same, 0.

    Vectors: (N, D), numbers of any type.

    Images: (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 to 4 channels, uint8 or floats in [0, 1]. Where both layouts
    are possible a further entry `layout`, "NHWC" or "NCHW", decides. Labels: integers or strings; the sorted values of
    `y_train` are the classes.

    Raises:
        RunError: what is not so, and what to store instead.
    """
    return records_of(path, _npz_arrays(path))


def records_of(path: Path, arrays: Mapping[str, Array]) -> Records:
    """The same of arrays that are read already; `path` is what messages call their source."""
    stored, arrays = set(arrays), _with_labels(arrays)
    layout = str(arrays["layout"]) if "layout" in arrays else None
    values, train_labels = np.unique(_npz_labels(path, "y_train", arrays), return_inverse=True)
    kind: ExampleKind = "vector" if arrays["x_train"].ndim == 2 else "image"
    examples = _npz_split(path, "train", arrays, layout)
    train = Split(examples, torch.from_numpy(train_labels.astype(np.int64)), kind)
    test = None
    if "x_test" in arrays:
        labels = _npz_labels(path, "y_test", arrays)
        test = Split(_npz_split(path, "test", arrays, layout), _positions(path, labels, values), kind)
    columns = column_names(examples.shape[1]) if kind == "vector" else ()
    records = checked_records(train, test, tuple(str(value) for value in values), str(path), columns)
    return replace(records, labelled="y_train" in stored)


_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test", "layout")


@contextmanager
def _npz(path: Path, advice: str, otherwise: str) -> Iterator[Any]:
    """The arrays of an .npz file, unpacked when they are asked for."""
    refuse_other_than_a_file(path)
    with reading(str(path), advice), path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            raise RunError(f"{path} is {otherwise}; {advice}")
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as file:
            yield file


def _npz_arrays(path: Path) -> dict[str, Array]:
    advice = "expected a whole .npz file with x_train, y_train, as numpy.savez writes it"
    with _npz(path, advice, "not an .npz file, or not all of one") as file:
        unlabeled = set(file.files) <= {"x_train", "x_test", "layout"}
        needed = ["x_train", "y_train"]
        if "x_test" in file.files or "y_test" in file.files:
            needed += ["x_test", "y_test"]
        needed = [key for key in needed if key[0] == "x" or not unlabeled]
        for key in needed:
            if key not in file.files:
                raise RunError(_missing_key(path, key, file.files))
        keys = [*needed, "layout"] if "layout" in file.files else needed
        return {key: _npz_array(path, file, key) for key in keys}


def _with_labels(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
    """Where the file has none, every label is 0."""
    if "y_train" in arrays:
        return arrays
    examples = [key for key in arrays if key.startswith("x")]
    none = {f"y{key.removeprefix('x')}": np.zeros(len(np.atleast_1d(arrays[key])), int) for key in examples}
    return {**arrays} | none


def _missing_key(path: Path, key: str, found: Sequence[str]) -> str:
    names = ", ".join(found) or "nothing"
    hint = nearest(key, [name for name in found if name not in _NPZ_KEYS])
    return (
        f"{path}: no array `{key}`; found {names}; expected x_train, y_train and, if there is a test split, both of "
        f"x_test, y_test{f'; {hint}' if hint else ''}"
    )


def _npz_array(path: Path, file: Any, key: str) -> Array:
    # Arrays may be compressed a thousandfold, and a header may claim what is not there: look before unpacking.
    with file.zip.open(f"{key}.npy" if f"{key}.npy" in file.zip.namelist() else key) as member:
        version = np.lib.format.read_magic(member)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(member)
    if (size := math.prod(shape) * dtype.itemsize) > machine_memory():
        raise RunError(
            f"{path}: `{key}` is {_tuple(shape)} of {dtype}, {size / 2**30:,.1f} GiB, "
            f"and the machine has {machine_memory() / 2**30:,.1f} GiB of memory"
        )
    try:
        return np.asarray(file[key])
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        stacked = f"`numpy.stack({key})`, all images of one size, or `{key}.astype(float)` if they are numbers"
        store = f"`{key}.astype(str)`" if key.startswith("y") else stacked
        raise RunError(
            f"{path}: `{key}` holds Python objects, which are not read because they may run code; store {store}"
        ) from None


def _npz_labels(path: Path, key: str, arrays: Mapping[str, Array]) -> Array:
    labels, images = arrays[key], arrays[f"x{key.removeprefix('y')}"]
    if not labels.size and images.size:
        raise RunError(f"{path}: `{key}` is empty, expected one label per example, or no labels at all: leave it out")
    if labels.ndim != 1:
        hint = one_each_advice(key, labels, len(np.atleast_1d(images)))
        raise RunError(f"{path}: `{key}` has shape {_tuple(labels.shape)}, expected one label per image, (N,); {hint}")
    if labels.dtype.kind not in "iuU":
        hint = labels_advice(key, labels)
        raise RunError(f"{path}: `{key}` is {labels.dtype}, expected integers or strings; {hint}")
    return labels


def _npz_split(path: Path, split: str, arrays: Mapping[str, Array], layout: str | None) -> torch.Tensor:
    key, count = f"x_{split}", len(arrays[f"y_{split}"])
    images = arrays[key]
    if arrays["x_train"].ndim == 2:
        return _npz_vectors(path, key, images, count)
    if hint := examples_first(key, images.shape, count):
        raise RunError(f"{path}: `{key}` has shape {_tuple(images.shape)}: {hint}")
    return _npz_images(path, key, images, layout)


def _positions(path: Path, labels: Array, values: Array) -> torch.Tensor:
    """The class of each test label."""
    if (labels.dtype.kind == "U") != (values.dtype.kind == "U"):
        raise RunError(f"{path}: `y_test` is {labels.dtype} but `y_train` {values.dtype}; store both alike")
    unknown = np.setdiff1d(labels, values)
    if unknown.size:
        raise RunError(f"{path}: `y_test` has {_few(unknown)}, which `y_train` has not; its classes are {_few(values)}")
    return torch.from_numpy(np.searchsorted(values, labels).astype(np.int64))


def _npz_vectors(path: Path, key: str, vectors: Array, count: int) -> torch.Tensor:
    shape = _tuple(vectors.shape)
    if vectors.ndim != 2:
        raise RunError(f"{path}: `{key}` has shape {shape}, but `x_train` holds vectors; expected (N, D)")
    if vectors.shape[0] != count and vectors.shape[1] == count:
        advice = f"its {counted(count, 'example')} stand last; store `{key}.T`"
        raise RunError(f"{path}: `{key}` has shape {shape}: {advice}")
    return vectors_of(f"{path}: `{key}`", vectors)


def _npz_images(path: Path, key: str, images: Array, layout: str | None) -> torch.Tensor:
    if 0 in images.shape:
        raise RunError(f"{path}: `{key}` is empty, shape {_tuple(images.shape)}")
    pixels = _pixels(path, key, images)
    return torch.from_numpy(np.ascontiguousarray(_channels_first(path, key, pixels, layout)))


def _pixels(path: Path, key: str, images: Array) -> Array:
    """Images as uint8, or as float32 in [0, 1]."""
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f":
        hint = pixels_advice(key, images)
        raise RunError(f"{path}: `{key}` is {images.dtype}, expected uint8 in 0..255 or floats in [0, 1]; {hint}")
    if not np.isfinite(images).all():
        raise RunError(
            f"{path}: `{key}` has {counted(int((~np.isfinite(images)).sum()), 'pixel')} that are NaN or "
            "infinite; leave these images out"
        )
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 1:
        hint = pixels_advice(key, images)
        raise RunError(f"{path}: `{key}` has floats from {low!r} to {high!r}, expected [0, 1]; {hint}")
    return images.astype(np.float32)


def _channels_first(path: Path, key: str, images: Array, layout: str | None) -> Array:
    if images.ndim == 3:
        return images[:, np.newaxis]
    shape = _tuple(images.shape)
    if images.ndim != 4:
        raise RunError(
            f"{path}: `{key}` has shape {shape}, expected (N, H, W), (N, H, W, C) or (N, C, H, W), or vectors (N, D)"
        )
    if layout is None:
        first, last = images.shape[1] in CHANNELS, images.shape[3] in CHANNELS
        if first == last and images.shape[1:] != (1, 1, 1):
            which = (
                "both axis 1 and axis 3 could be channels" if first else "neither axis 1 nor axis 3 is 1 to 4 channels"
            )
            hint = layout_advice(key, images.shape, first)
            raise RunError(f"{path}: `{key}` has shape {shape}: {which}; {hint}")
        layout = "NCHW" if first else "NHWC"
    if layout not in ("NHWC", "NCHW"):
        raise RunError(f'{path}: `layout` is "{layout}", expected "NHWC" or "NCHW"')
    return images if layout == "NCHW" else images.transpose(0, 3, 1, 2)


def _tuple(shape: tuple[int, ...]) -> str:
    return f"({', '.join(str(size) for size in shape)}{',' if len(shape) == 1 else ''})"


def _few(values: Array) -> str:
    shown = ", ".join(f"`{value}`" for value in values[:8])
    return shown + (f" and {len(values) - 8} more" if len(values) > 8 else "")


# --------------------------------------------------------------------------------------------------- folder

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_LAYOUT = "expected CLASS/IMAGE.png, or train/CLASS/IMAGE.png and test/CLASS/IMAGE.png"


def read_folder(path: Path) -> Records:
    """Images `CLASS/NAME.png`, or `train/CLASS/NAME.png` and, if there, `test/CLASS/NAME.png`.

    All images have one size and one mode: L is one channel, RGB three; they are turned as their EXIF orientation says.
    Classes are the sorted names of the training
    folders. Files that are no images by their suffix, and deeper folders, are passed over.

    Raises:
        RunError: what is not so, with the file.
    """
    if not os.path.isdir(path):
        raise RunError(f"{path} is not a folder; {_LAYOUT}")
    has_train = _folders(path / "train") if os.path.isdir(path / "train") else []
    train_path = path / "train" if has_train else path
    test_path = path / "test" if has_train and os.path.isdir(path / "test") else None

    classes = tuple(folder.name for folder in _folders(train_path))
    if not classes:
        raise RunError(f"{train_path} has no folders of images, one per class; {_LAYOUT}")
    train_files = [(file, name) for name in classes for file in _image_files(train_path / name)]
    test_files = [] if test_path is None else _test_files(test_path, classes)
    example = train_files[0][0]
    train = _read_images(train_files, classes, example)
    test = _read_images(test_files, classes, example) if test_path is not None else None
    return checked_records(train, test, classes, str(path))


def _folders(path: Path) -> list[Path]:
    return [entry for entry in entries(path) if os.path.isdir(entry)]


def _test_files(path: Path, classes: tuple[str, ...]) -> list[tuple[Path, str]]:
    folders = _folders(path)
    for folder in folders:
        if folder.name not in classes:
            known = ", ".join(f"`{name}`" for name in classes[:8])
            raise RunError(f"{folder} is no class of the training images; these are {known}")
    files = [(file, folder.name) for folder in folders for file in _image_files(folder)]
    if not files:
        raise RunError(f"{path} has no images; {_LAYOUT}; without a test split remove the folder")
    return files


def _image_files(folder: Path) -> list[Path]:
    files = [entry for entry in entries(folder) if entry.suffix.lower() in _SUFFIXES]
    if not files:
        name = folder.name.lower()
        hint = f"; did you mean `{name}`?" if folder.name != name and name in ("train", "test") else ""
        raise RunError(f"{folder} has no images ({', '.join(_SUFFIXES)}); {_LAYOUT}{hint}")
    return files


def _read_images(files: Sequence[tuple[Path, str]], classes: tuple[str, ...], example: Path) -> Split:
    expected = _read_image(example, None)
    images = np.empty((len(files), *expected.shape), np.uint8)
    for image, (file, _) in zip(images, files, strict=True):
        pixels = _read_image(file, grey=len(expected) == 1)
        if pixels.shape != expected.shape:
            grey = ': the grey ones with Pillow, `image.convert("RGB")`' if len(pixels) != len(expected) else ""
            raise RunError(
                f"{file} is {shape_text(pixels.shape)}, but {example} is {shape_text(expected.shape)} "
                f"(channels, height, width); convert all images to one size and one mode{grey}"
            )
        image[:] = pixels
    place = {name: index for index, name in enumerate(classes)}
    return Split(torch.from_numpy(images), torch.tensor([place[name] for _, name in files], dtype=torch.int64))


def _read_image(file: Path, grey: bool | None) -> Array:
    """The pixels of a file as one sees them, uint8 (C, H, W); whether the others are `grey`, where that is known."""
    refuse_other_than_a_file(file)
    with reading(str(file), "remove the file or save the image again"), Image.open(file) as image:
        if image.mode not in ("L", "RGB"):
            hint = mode_advice(image, grey)
            raise RunError(f"{file} has mode {image.mode}, expected L (grey) or RGB; {hint}")
        if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":  # a camera's previews
            raise RunError(f"{file} has {frames:,} frames, expected one image; save each frame as a file of its own")
        pixels = np.asarray(upright(image))
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


# --------------------------------------------------------------------------------------------------- images alone

# Names under which an .npz may hold images without labels, the likeliest first.
_IMAGE_KEYS = ("images", "x", "x_test", "x_train")


def read_images(path: Path) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Images without labels, (N, C, H, W) as in a `Split`, and a name for each.

    An `.npz` with an array `images`, `x`, `x_test` or `x_train`, or with one array only, as `read_npz` reads them; one
    image file; or a folder of image files or of folders of them.

    Raises:
        RunError: what is not so, with the file.
    """
    if os.path.isdir(path):
        files = _all_images(path)
        if not files:
            raise RunError(f"{path} has no images ({', '.join(_SUFFIXES)})")
        images = _read_images([(file, "") for file in files], ("",), files[0]).images
        return images, tuple(file.relative_to(path).as_posix() for file in files)
    if not os.path.exists(path):
        raise RunError(f"there is no {path}{name_beside(path)}")
    if path.suffix.lower() in _SUFFIXES:
        return _read_images([(path, "")], ("",), path).images, (path.name,)
    images = _npz_images_alone(path)
    return images, tuple(str(place) for place in range(len(images)))


def _all_images(path: Path) -> list[Path]:
    """The image files of a folder, and of the folders in it."""
    folders = [path, *(entry for entry in entries(path) if os.path.isdir(entry))]
    return [entry for folder in folders for entry in entries(folder) if entry.suffix.lower() in _SUFFIXES]


def _npz_images_alone(path: Path) -> torch.Tensor:
    advice = "expected images, a folder of images, or an .npz with an array `images`"
    with _npz(path, advice, "neither an image nor an .npz file") as file:
        key = _examples_key(path, file, _IMAGE_KEYS, advice)
        layout = str(_npz_array(path, file, "layout")) if "layout" in file.files else None
        return _npz_images(path, key, _npz_array(path, file, key), layout)


def _examples_key(path: Path, file: Any, known: Sequence[str], advice: str) -> str:
    """The array that holds what is to be encoded."""
    names = [name for name in file.files if name != "layout"]
    key = names[0] if len(names) == 1 else next((key for key in known if key in names), None)
    if key is None:
        raise RunError(f"{path}: which array holds {known[0]}? found {', '.join(names) or 'nothing'}; {advice}")
    return key


_VECTOR_KEYS = ("vectors", "x", "x_test", "x_train")


def read_vectors(path: Path, columns: Sequence[str]) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Vectors without labels, (N, D, 1, 1), and a name for each: its place.

    Args:
        path: a table in CSV that has these columns; or an `.npz` with an array `vectors`, `x`, `x_test` or `x_train`
            (N, D), or with one array only.
        columns: the names of the numbers, in the order of the vectors.

    Raises:
        RunError: what is not so, with the file.
    """
    if not os.path.exists(path):
        raise RunError(f"there is no {path}{name_beside(path)}")
    if path.suffix.lower() == ".csv":
        table = read_table(path)
        named = tuple(columns) == column_names(len(columns)) and len(table.columns) == len(columns)
        names = tuple(table.columns) if named else tuple(columns)
        for name in names:
            table.column(name, ", which the run was trained with")
        vectors = vectors_in(table, names)
    else:
        advice = "expected a table, .csv, or an .npz with an array `vectors`"
        with _npz(path, advice, "neither a .csv nor an .npz file") as file:
            key = _examples_key(path, file, _VECTOR_KEYS, advice)
            found = _npz_array(path, file, key)
        if found.ndim != 2 or found.shape[1] != len(columns):
            raise RunError(
                f"{path}: `{key}` has shape {_tuple(found.shape)}, and the model reads vectors of {len(columns)}; "
                f"expected (N, {len(columns)})"
            )
        vectors = vectors_of(f"{path}: `{key}`", found)
    return vectors, tuple(str(place) for place in range(len(vectors)))
