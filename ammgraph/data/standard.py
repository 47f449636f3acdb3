"""Readers of the data sets with a name, which stand in `spec.data_sets`. No network unless files are absent."""

import os
import pkgutil
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ammgraph.data.image_sets import read_image_set
from ammgraph.data.look import PLAIN, Look, looked_at
from ammgraph.data.records import DataAbsent, Records, Split, checked_records, reading
from ammgraph.data.vectors import vectors_of
from ammgraph.diagnostics import RunError
from ammgraph.spec.data_sets import DATA_SETS

# The imports inside the readers are seconds of start-up that no other data set should pay.

DIGITS = "sklearn/datasets/data/digits.csv.gz"
_DIGIT_NAMES = tuple("0123456789")


def read_named(name: str, root: Path, download: bool, look: Look = PLAIN) -> Records:
    """The data set of that name.

    Args:
        name: in `DATA_SETS`.
        root: the folder for files.
        download: whether absent ones may be fetched.
        look: what is made of each image.

    Raises:
        RunError: files are absent and not to be had, or damaged.
    """
    if DATA_SETS[name].image_set is not None:
        return read_image_set(name, root, download, look)
    reader = DATA_SETS[name].reader
    records: Records = pkgutil.resolve_name(reader if "." in reader else f"{__name__}.{reader}")(root, download)
    return looked_at(records, look)


def read_digits(root: Path, download: bool) -> Records:
    """`u = round(255 v / 16)` for scikit-learn's pixels v in 0..16, so that v = round(16 u / 255).

    1,797 images of 1x8x8 that ship with scikit-learn, so that no folder is read. There is no test split.
    """
    table = _digits(DIGITS)
    images = torch.from_numpy(np.rint(table[:, :64] * (255 / 16)).astype(np.uint8)).view(-1, 1, 8, 8)
    train = Split(images, torch.from_numpy(table[:, 64].astype(np.int64)))
    return checked_records(train, None, _DIGIT_NAMES, "scikit-learn's digits")


@cache
def _digits(file: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """64 pixels and a label for each image, from the file in scikit-learn, which takes a second to import."""
    try:
        return np.loadtxt(str(distribution("scikit-learn").locate_file(file)), delimiter=",")
    except (PackageNotFoundError, OSError):  # installed in another way
        from sklearn.datasets import load_digits

        return np.column_stack(load_digits(return_X_y=True))


def _scikit_table(name: str) -> Records:
    """A table of scikit-learn's, which ships with it: a vector for each row, and names of columns and classes."""
    from sklearn import datasets

    table = getattr(datasets, f"load_{name}")()
    labels = torch.from_numpy(table.target.astype(np.int64))
    train = Split(vectors_of(f"scikit-learn's {name}", "data", table.data), labels, "vector")
    classes, columns = (tuple(map(str, names)) for names in (table.target_names, table.feature_names))
    return checked_records(train, None, classes, f"scikit-learn's {name}", columns)


def read_wine(root: Path, download: bool) -> Records:
    """13 measurements of 178 wines of three growers."""
    return _scikit_table("wine")


def read_breast_cancer(root: Path, download: bool) -> Records:
    """30 measurements of the cells of 569 tumours, malignant or benign."""
    return _scikit_table("breast_cancer")


def read_iris(root: Path, download: bool) -> Records:
    """4 measurements of 150 flowers of three species."""
    return _scikit_table("iris")


def read_mnist(root: Path, download: bool) -> Records:
    """MNIST's 60,000 training and 10,000 test images of 1x28x28, from `<root>/MNIST/raw`.

    Raises:
        RunError: files are absent and not to be had, or damaged.
    """
    from torchvision.datasets import MNIST

    archives = [name for name, _ in MNIST.resources]
    _have_files(
        "MNIST",
        root / "MNIST" / "raw",
        [name.removesuffix(".gz") for name in archives],
        advice=f"Download {', '.join(archives)} from {MNIST.mirrors[0]} elsewhere, "
        "put them, unpacked, into FOLDER/MNIST/raw and give `--data-dir FOLDER`",
        fetch=(lambda: MNIST(str(root), download=True)) if download else None,
    )

    def split(train: bool) -> Split:
        part = MNIST(str(root), train=train)
        return Split(part.data.unsqueeze(1), part.targets)

    with reading(f"MNIST in {root / 'MNIST' / 'raw'}", _DAMAGED):
        train, test = split(True), split(False)
    return checked_records(train, test, _DIGIT_NAMES, "MNIST")


def read_svhn(root: Path, download: bool) -> Records:
    """SVHN's 73,257 training and 26,032 test digits of 3x32x32, from `<root>/*_32x32.mat`; without `extra`.

    Raises:
        RunError: files are absent and not to be had, or damaged.
    """
    from torchvision.datasets import SVHN

    parts = [SVHN.split_list[name] for name in ("train", "test")]
    _have_files(
        "SVHN",
        root,
        [file for _, file, _ in parts],
        advice=f"Download {' and '.join(address for address, _, _ in parts)} elsewhere, "
        "put them into FOLDER and give `--data-dir FOLDER`",
        fetch=(lambda: [SVHN(str(root), name, download=True) for name in ("train", "test")]) if download else None,
    )

    def split(name: str) -> Split:
        part = SVHN(str(root), name)
        return Split(_contiguous(part.data), torch.from_numpy(part.labels))

    with reading(f"SVHN in {root}", _DAMAGED):
        train, test = split("train"), split("test")
    return checked_records(train, test, _DIGIT_NAMES, "SVHN")


_DAMAGED = "a file there is damaged or not the official one: move it away, then it is downloaded again"


def _have_files(name: str, folder: Path, files: Sequence[str], advice: str, fetch: Callable[[], object] | None) -> None:
    """Fetch the data set unless all its files are there: a complete one never meets the network."""
    missing = [file for file in files if not os.path.isfile(folder / file)]
    if not missing:
        return
    absent = f"{name} is not in {folder} (no {', '.join(missing)})"
    if fetch is None:
        raise DataAbsent(f"{absent}. {advice}")
    try:
        fetch()
    # Without a network, on a full disk, behind a proxy: torchvision lets pass what urllib, ssl and the system raise.
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"{absent}, and the download failed ({reason}). {advice}") from error


def _contiguous(images: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(images))
