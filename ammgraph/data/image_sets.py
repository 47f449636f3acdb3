"""The one reader of torchvision's image sets, which stand in `spec.image_sets`. No network unless files are absent."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ammgraph.data.look import Look
from ammgraph.data.records import (
    UNKNOWN,
    DataAbsent,
    Records,
    Split,
    checked_records,
    machine_memory,
    reading,
    shape_text,
)
from ammgraph.diagnostics import RunError
from ammgraph.spec.image_sets import IMAGE_SETS, ImageSet

Array = np.ndarray[Any, np.dtype[Any]]
_DAMAGED = "a file there is damaged or not the official one: move it away, then it is downloaded again"


def read_image_set(name: str, root: Path, download: bool, look: Look) -> Records:
    """Images (N, C, H, W), uint8, and labels, from where torchvision keeps them in a folder.

    Args:
        name: in `IMAGE_SETS`.
        root: the folder for files.
        download: whether absent ones may be fetched.
        look: what is made of each image.

    Raises:
        RunError: files are absent and not to be had, damaged, or do not fit the memory.
    """
    known = IMAGE_SETS[name]
    look = replace(look, size=known.shape[1:]) if known.resized and look.size is None else look
    train, names = _split(name, known, known.asked, (root, download), look)
    test = _split(name, known, known.asked_test, (root, download), look)[0] if known.asked_test else None
    values = torch.unique(train.labels[train.labels >= 0])
    labelled = known.classes > 0 and len(values) > 0
    if not labelled:
        values, names = torch.zeros(1).long(), ("0",)
    splits = [split and replace(split, labels=_places(split.labels, values, labelled)) for split in (train, test)]
    assert splits[0] is not None
    classes = tuple(names[value] if value < len(names) else str(value) for value in values.tolist())
    return replace(checked_records(splits[0], splits[1], classes, f"torchvision's {known.kind}"), labelled=labelled)


def _places(labels: torch.Tensor, values: torch.Tensor, labelled: bool) -> torch.Tensor:
    """The place of each label among the sorted values; `UNKNOWN` where it is none of them."""
    if not labelled:
        return torch.zeros_like(labels)
    places = torch.searchsorted(values, labels).clamp(max=len(values) - 1)
    return torch.where(values[places] == labels, places, UNKNOWN)


def _split(
    name: str, known: ImageSet, asked: Mapping[str, object], files: tuple[Path, bool], look: Look
) -> tuple[Split, tuple[str, ...]]:
    """The examples of a split, and the names of the classes where torchvision has them."""
    source = _opened(name, known, asked, *files)
    channels = 1 if look.grey else known.shape[0]
    shape = (len(source), channels, *(look.size or known.shape[1:]))
    if (size := int(np.prod(shape, dtype=np.int64))) > machine_memory():
        raise RunError(
            f"`{name}` has {len(source):,} images of {shape_text(shape[1:])}, {size / 2**30:,.1f} GiB, and the machine "
            f"has {machine_memory() / 2**30:,.1f} GiB of memory; give a smaller `data.resize`"
        )
    images, labels = np.empty(shape, np.uint8), np.empty(len(source), np.int64)
    with reading(f"`{name}` in {files[0]}", _DAMAGED):
        for place in range(len(source)):
            picture, target = source[place]
            pixels = np.asarray(look.of_picture(picture.convert("L" if known.shape[0] == 1 else "RGB")))
            if pixels.shape[:2] != shape[2:]:
                found, expected = (shape_text(part) for part in (pixels.shape[:2], shape[2:]))
                raise RunError(f"image {place} of `{name}` is {found}, not {expected}; give `data.resize`")
            images[place] = pixels if channels == 1 else pixels.transpose(2, 0, 1)
            labels[place] = int(target) if known.classes and target is not None else UNKNOWN
    names = getattr(source, "classes", ())
    texts = tuple(names) if all(isinstance(text, str) for text in names) else ()
    return Split(torch.from_numpy(images), torch.from_numpy(labels)), texts


def _opened(name: str, known: ImageSet, asked: Mapping[str, object], root: Path, download: bool) -> Any:
    """What torchvision has of a split: fetched unless it is there, for a complete one never meets the network."""
    from torchvision import datasets  # seconds of start-up that no other data set should pay

    kind = getattr(datasets, known.kind)
    may = {"download": False} if known.fetched else {}
    advice = (
        f"Let `torchvision.datasets.{known.kind}('FOLDER', download=True)` fetch it and give `--data-dir FOLDER`"
        if known.fetched
        else f"Put it into FOLDER as torchvision.datasets.{known.kind} says, and give `--data-dir FOLDER`"
    )
    try:
        return kind(str(root), **asked, **may)
    except Exception as error:  # absent files and damaged ones are told by what a set's own reader raises
        absent = f"`{name}` is not in {root} ({' '.join(str(error).split())[:200]})"
        if not (download and known.fetched):
            raise DataAbsent(f"{absent}. {advice}") from error
    try:
        return kind(str(root), **asked, download=True)
    except Exception as error:  # torchvision lets pass what urllib, ssl, gdown and the system raise
        reason = " ".join(str(error).split())[:300]
        raise RunError(f"{absent}, and the download failed ({reason}). {advice}") from error
