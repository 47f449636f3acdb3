"""Readers of folders of images by class, and of examples alone, without labels. Never touches a network."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ammgraph.data.advice import as_vectors, mode_advice, upright
from ammgraph.data.arrays import Array, images_of, shown
from ammgraph.data.look import PLAIN, Look
from ammgraph.data.records import (
    Records,
    Split,
    checked_records,
    entries,
    name_beside,
    reading,
    refuse_other_than_a_file,
    shape_text,
)
from ammgraph.data.stored import npy, npz, npz_array
from ammgraph.data.table_files import TABLE_READERS, read_table
from ammgraph.data.tables import Table, vectors_in
from ammgraph.data.vectors import column_names, vectors_of
from ammgraph.diagnostics import RunError, counted

# --------------------------------------------------------------------------------------------------- folder

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_LAYOUT = "expected CLASS/IMAGE.png, or train/CLASS/IMAGE.png and test/CLASS/IMAGE.png"


def read_folder(path: Path, look: Look = PLAIN) -> Records:
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
    without_train = not any(entry.name.lower() == "train" for entry in _folders(path))
    if without_train and os.path.isdir(path / "test") and _folders(path / "test"):
        raise RunError(f"{path} has a folder `test` with classes and none `train` beside it; {_LAYOUT}")
    train_path = path / "train" if has_train else path
    test_path = path / "test" if has_train and os.path.isdir(path / "test") else None

    classes = tuple(folder.name for folder in _folders(train_path))
    if not classes:
        raise RunError(f"{train_path} has no folders of images, one per class; {_LAYOUT}")
    train_files = [(file, name) for name in classes for file in _image_files(train_path / name)]
    test_files = [] if test_path is None else _test_files(test_path, classes)
    example = train_files[0][0]
    train = _read_images(train_files, classes, example, look)
    test = _read_images(test_files, classes, example, look) if test_path is not None else None
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
    files = [entry for entry in entries(folder) if entry.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        name = folder.name.lower()
        hint = f"; did you mean `{name}`?" if folder.name != name and name in ("train", "test") else ""
        raise RunError(f"{folder} has no images ({', '.join(IMAGE_SUFFIXES)}); {_LAYOUT}{hint}")
    return files


def _read_images(files: Sequence[tuple[Path, str]], classes: tuple[str, ...], example: Path, look: Look) -> Split:
    expected = _read_image(example, None, look)
    images = np.empty((len(files), *expected.shape), np.uint8)
    for image, (file, _) in zip(images, files, strict=True):
        pixels = _read_image(file, len(expected) == 1, look)
        if pixels.shape != expected.shape:
            grey = ': the grey ones with Pillow, `image.convert("RGB")`' if len(pixels) != len(expected) else ""
            raise RunError(
                f"{file} is {shape_text(pixels.shape)}, but {example} is {shape_text(expected.shape)} "
                f"(channels, height, width); convert all images to one size and one mode{grey}; or let "
                "`data.resize` and `data.grayscale` do so"
            )
        image[:] = pixels
    place = {name: index for index, name in enumerate(classes)}
    return Split(torch.from_numpy(images), torch.tensor([place[name] for _, name in files], dtype=torch.int64))


def _read_image(file: Path, grey: bool | None, look: Look) -> Array:
    """The pixels of a file as one sees them, uint8 (C, H, W); whether the others are `grey`, where that is known."""
    refuse_other_than_a_file(file)
    with reading(str(file), "remove the file or save the image again"), Image.open(file) as image:
        if image.mode not in ("L", "RGB"):
            hint = mode_advice(image, grey)
            raise RunError(f"{file} has mode {image.mode}, expected L (grey) or RGB; {hint}")
        if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":  # a camera's previews
            raise RunError(f"{file} has {frames:,} frames, expected one image; save each frame as a file of its own")
        pixels = np.asarray(look.of_picture(upright(image)))
    return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


# --------------------------------------------------------------------------------------------------- images alone

# Names under which an .npz may hold images without labels, the likeliest first.
_IMAGE_KEYS = ("images", "x", "x_test", "x_train")


def read_images(path: Path, look: Look = PLAIN, name: str = "") -> tuple[torch.Tensor, tuple[str, ...]]:
    """Images without labels, (N, C, H, W) as in a `Split`, with that look, and a name for each.

    An `.npz`, or a folder of `.npy` files, with an array `images`, `x`, `x_test` or `x_train`, or with one array only;
    an `.npy`; one image file; or a folder of image files or of folders of them.

    Args:
        path: of these.
        look: what is made of each image.
        name: of the array in the run's data where it has one of its own, NAME, NAME_test or NAME_train.

    Raises:
        RunError: what is not so, with the file.
    """
    if os.path.isdir(path):
        files = _all_images(path)
        if not files and not _arrays_in(path):
            raise RunError(f"{path} has no images ({', '.join(IMAGE_SUFFIXES)})")
        if files:
            images = _read_images([(file, "") for file in files], ("",), files[0], look).held()
            return images, tuple(file.relative_to(path).as_posix() for file in files)
    elif not os.path.exists(path):
        raise RunError(f"there is no {path}{name_beside(path)}")
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        return _read_images([(path, "")], ("",), path, look).held(), (path.name,)
    keys = (*_names_of(name), *_IMAGE_KEYS)
    key, found, layout = _array_alone(path, keys, ("images", "images, a folder of images", "an image"))
    images = look.of(images_of(path, key, layout, found))
    return images, tuple(str(place) for place in range(len(images)))


def _all_images(path: Path) -> list[Path]:
    """The image files of a folder, and of the folders in it."""
    folders = [path, *(entry for entry in entries(path) if os.path.isdir(entry))]
    return [entry for folder in folders for entry in entries(folder) if entry.suffix.lower() in IMAGE_SUFFIXES]


def _arrays_in(path: Path) -> dict[str, Path]:
    """The `.npy` files of a folder, by the names of their arrays."""
    return {entry.stem: entry for entry in entries(path) if entry.suffix == ".npy"}


def _names_of(name: str) -> tuple[str, ...]:
    """Under which an array of a name of its own stands in a file."""
    return (name, f"{name}_test", f"{name}_train") if name else ()


def _array_alone(path: Path, known: Sequence[str], what: tuple[str, str, str]) -> tuple[str, Array, str | None]:
    """The name of the array that holds what is to be encoded, the array, and its layout where that is stored.

    Args:
        path: an `.npz`, an `.npy` or a folder of these.
        known: names of such an array, the likeliest first.
        what: what it holds, and where else that may be: several and one.
    """
    held, others, other = what
    if path.suffix.lower() == ".npy":
        return path.stem, npy(path), None
    advice = f"expected {others}, or an .npz with an array `{known[0]}`"

    def chosen(names: Sequence[str]) -> str:
        names = [name for name in names if name != "layout"]
        key = names[0] if len(names) == 1 else next((key for key in known if key in names), None)
        if key is None:
            raise RunError(f"{path}: which array holds {held}? found {', '.join(names) or 'nothing'}; {advice}")
        return key

    if os.path.isdir(path):
        files = _arrays_in(path)
        key = chosen(list(files))
        return key, npy(files[key]), str(npy(files["layout"])) if "layout" in files else None
    with npz(path, advice, f"neither {other} nor an .npz file") as file:
        key = chosen(file.files)
        layout = str(npz_array(path, file, "layout")) if "layout" in file.files else None
        return key, npz_array(path, file, key), layout


_VECTOR_KEYS = ("vectors", "x", "x_test", "x_train")


def read_vectors(path: Path, columns: Sequence[str], name: str = "") -> tuple[torch.Tensor, tuple[str, ...]]:
    """Vectors without labels, (N, D, 1, 1), and a name for each: its place.

    Args:
        path: a table, CSV or Parquet, that has these columns; or an `.npz` with an array `vectors`, `x`, `x_test` or
            `x_train` (N, D), or with one array only, or a folder of `.npy` files with one, or an `.npy`.
        columns: the names of the numbers, in the order of the vectors.
        name: of the array in the run's data, as for `read_images`.

    Raises:
        RunError: what is not so, with the file.
    """
    if not os.path.exists(path):
        raise RunError(f"there is no {path}{name_beside(path)}")
    if path.suffix.lower() in TABLE_READERS:
        table = read_table(path)
        vectors = vectors_in(*_of_a_run(table, tuple(columns)))
    else:
        keys = (*_names_of(name), *_VECTOR_KEYS)
        key, found, _ = _array_alone(path, keys, ("vectors", "a table, .csv or .parquet", "a .csv, a .parquet"))
        if found.ndim != 2 or found.shape[1] != len(columns):
            raise RunError(
                f"{path}: `{key}` has shape {shown(found.shape)}, and the model reads vectors of {len(columns)}; "
                f"expected (N, {len(columns)}){_reshaped(key, found.shape, len(columns))}"
            )
        vectors = vectors_of(str(path), key, found)
    return vectors, tuple(str(place) for place in range(len(vectors)))


def _reshaped(key: str, shape: tuple[int, ...], size: int) -> str:
    if len(shape) > 2 and math.prod(shape[1:]) == size:
        return f"; store `{as_vectors(key)}`"
    return f"; store `{key}[None]`, one record" if shape == (size,) else ""


def _of_a_run(table: Table, columns: tuple[str, ...]) -> tuple[Table, tuple[str, ...], str]:
    """The table, the names in it of a run's columns, and what to do where one of them holds no numbers."""
    size, there = len(columns), len(table.columns)
    if columns == column_names(size) and not set(columns) & {*table.columns, *table.lists}:
        if there != size:
            raise RunError(
                f"{table.path} has {counted(there, 'column')}, and the run was trained with vectors of {size} whose "
                f"numbers had no names; give a file with these {size} columns alone, in their order, or name them "
                f"`{columns[0]}` to `{columns[-1]}`"
            )
        return table, tuple(table.columns), "leave these records out"
    names = tuple(part for column in columns for part in table.expanded(column, ", which the run was trained with"))
    few = ", ".join(f"`{name}`" for name in columns[:8]) + (", ..." if size > 8 else "")
    return table, names, f"leave these records out; of the columns the run reads {few}, and others may be left out"
