"""What every reader returns: examples and labels as checked tensors. Knows no data set, no split and no spec."""

import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from ammgraph.data.on_disk import OnDisk, blocks
from ammgraph.diagnostics import RunError, counted, nearest
from ammgraph.spec.data_sets import ExampleKind

logger = logging.getLogger(__name__)

# Where a container's limit stands: version 2 and version 1 of control groups.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


UNKNOWN = -1  # in place of the label of an example that has none


class DataAbsent(RunError):
    """The files of a data set are not there; nothing else is known to be wrong."""


class FileAbsent(DataAbsent):
    """The file or the folder that a spec names by its path is not there."""


@dataclass(frozen=True, eq=False)
class Split:
    """N examples with their labels (N,), int64 in 0..classes - 1, or `UNKNOWN`.

    Images (N, C, H, W) are uint8 in 0..255, or float32 in [0, 1] where the source holds floats; `scale_images` takes
    both. Vectors (N, D, 1, 1) are what the source holds, float64, and then float32 as they are scaled. Either may stay
    in a file: then `images[positions]` reads it.
    """

    images: Tensor | OnDisk
    labels: Tensor
    kind: ExampleKind = "image"
    others: Mapping[str, Tensor | OnDisk] = field(default_factory=dict)  # further fields, by their names
    other_classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of those that are labels

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, indices: Tensor) -> "Split":
        """The examples at these positions, in this order."""
        return self._each(lambda values: values.at(indices) if isinstance(values, OnDisk) else values[indices])

    def some(self, most: int) -> "Split":
        """At most so many examples, `evenly` from first to last: files are often in the order of their classes."""
        return self.at(evenly(len(self), most))

    def part(self, start: int, end: int) -> "Split":
        """The examples from one position to another, in memory."""
        return self._each(lambda values: values[start:end])

    def held(self) -> Tensor:
        """The images or vectors in memory."""
        return self.images[:]

    @property
    def with_label(self) -> Tensor:
        """The positions of the examples that have a label, ascending."""
        return (self.labels >= 0).nonzero().squeeze(1)

    def told(self) -> "Split":
        """The examples that have a label."""
        known = self.with_label
        return self if len(known) == len(self) else self.at(known)

    def to(self, device: torch.device | str) -> "Split":
        """The same examples on a device."""
        return self._each(lambda values: values.to(device))

    def of(self, kind: str, name: str = "") -> Tensor | OnDisk:
        """What a record has by its type, `label` or another; or further, by its name."""
        if name in self.others:
            return self.others[name]
        return self.labels if kind == "label" else self.images

    def _each(self, function: Callable[[Tensor | OnDisk], Tensor | OnDisk]) -> "Split":
        labels = function(self.labels)
        assert isinstance(labels, Tensor)
        others = {name: function(values) for name, values in self.others.items()}
        return replace(self, images=function(self.images), labels=labels, others=others)

    @property
    def points(self) -> Tensor:
        """Each example as one point: the pixels of an image in [0, 1], or a vector; (N, n)."""
        return (scale_images(self.held(), 0.0, 1.0) if self.kind == "image" else self.held()).flatten(1)


@dataclass(frozen=True, eq=False)
class Records:
    """A data set as its source has it, before anything is held out; `test` is None where the source has none.

    `columns` are the names of a vector's numbers. Where the source is not `labelled`, every label is 0.
    """

    train: Split
    test: Split | None
    classes: tuple[str, ...]
    source: str
    columns: tuple[str, ...] = ()
    labelled: bool = True


def evenly(count: int, most: int) -> Tensor:
    """At most so many positions of `count`, from the first to the last and as far from each other as they can be."""
    return torch.linspace(0, count - 1, min(count, most), dtype=torch.float64).round().long()


def scale_images(images: Tensor, low: float, high: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """`low + (high - low) u / 255` for uint8 images u; `low + (high - low) u` for floats u in [0, 1].

    Args:
        images: a `Split`'s images, any shape.
        low: the value of black.
        high: the value of white.
        dtype: of the result; below float32 the arithmetic is float32's, rounded once.
    """
    unit = images.to(torch.promote_types(dtype, torch.float32))
    if images.dtype == torch.uint8:
        unit = unit / 255
    return (low + (high - low) * unit).to(dtype)


def checked_records(
    train: Split, test: Split | None, classes: tuple[str, ...], source: str, columns: tuple[str, ...] = ()
) -> Records:
    """The records, if every label is a class or none, and test examples look like training examples.

    Raises:
        RunError: which of this does not hold.
    """
    for name, split in (("training", train), ("test", test)):
        if split is None:
            continue
        if not len(split.images):
            raise RunError(f"{source} has no {name} {train.kind}s")
        if len(split.images) != len(split.labels):
            found = counted(len(split.images), f"{name} {train.kind}")
            raise RunError(f"{source}: {found} but {counted(len(split.labels), 'label')}; expected one each")
        lowest, highest = int(split.labels.min()), int(split.labels.max())
        if lowest < UNKNOWN or highest >= len(classes):
            raise RunError(f"{source}: {name} labels run from {lowest} to {highest}, expected 0 to {len(classes) - 1}")
    if test is not None and (test.images.shape[1:], test.images.dtype) != (train.images.shape[1:], train.images.dtype):
        raise RunError(
            f"{source}: the training {train.kind}s are {_look(train.images)}, but the test {train.kind}s "
            f"{_look(test.images)}; "
            "store both alike"
        )
    if train.kind == "image":
        _warn_of_the_dark(train.images, source)
    return Records(train, test, classes, source, columns)


def _warn_of_the_dark(images: Tensor | OnDisk, source: str) -> None:
    """Values of few bits, or of 0 and 1, that nobody has scaled; of a file its first ones are looked at."""
    images = next(blocks(images))
    brightest, white = images.max().item(), 255 if images.dtype == torch.uint8 else 1
    if brightest < white / 4:
        logger.warning(
            f"{source}: no pixel of the training images is above {brightest:.4g}, and white is {white}: they are "
            f"nearly black; if {brightest:.4g} is their white, store them scaled to {white}"
        )


@contextmanager
def reading(what: str, advice: str) -> Iterator[None]:
    """Turn whatever a parser raises over a damaged or unreadable file into a `RunError` that says what to do."""
    try:
        yield
    except RunError:
        raise
    except PermissionError as error:
        raise RunError(f"no permission to read {error.filename or what}; change its permissions or copy it") from error
    # zlib.error, AssertionError, MemoryError over a damaged header: parsers of foreign files raise almost anything.
    except Exception as error:
        raise RunError(f"cannot read {what} ({_one_line(error)}); {advice}") from error


def refuse_other_than_a_file(path: Path) -> None:
    """Who reads a pipe waits for its writer, and a device may never end.

    Raises:
        RunError: it is one of these.
    """
    with reading(str(path), "give a file"):
        mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise RunError(f"{path} is {kind}, and is not read; remove it, or give a file")


def machine_memory() -> int:
    """Bytes that the machine has, or that its container may use."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [path.read_text().strip() for path in _LIMITS if path.exists()]
    return min([physical, *(int(limit) for limit in limits if limit.isdecimal())])


def shape_text(shape: tuple[int, ...] | torch.Size) -> str:
    """A shape as the specs write it: `1x28x28`."""
    return "x".join(str(size) for size in shape)


def entries(path: Path) -> list[Path]:
    """What is in a folder, in the order of names, without hidden files."""
    with reading(f"the folder {path}", "give a folder that can be listed"):
        return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))


def name_beside(path: Path) -> str:
    """A hint with the name beside a missing file that is nearest to its own; empty where none is near."""
    try:
        hint = nearest(path.name, sorted(os.listdir(path.parent)))
    except OSError:
        return ""
    return f"; {hint}" if hint else ""


def _look(images: Tensor | OnDisk) -> str:
    return f"{shape_text(images.shape[1:])} {str(images.dtype).removeprefix('torch.')}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
