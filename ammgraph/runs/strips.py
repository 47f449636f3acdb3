"""Strips: samples of the same noise at looks in training, from which one sees how they have changed.

A strip is `samples/VARIABLE-step-N.png`, `COLUMNS` images (C, H, W) side by side, pixel for pixel. The first look is
kept, and the first one of each tenth of a run, so that a folder is small however long a run is.
"""

import io
import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ammgraph.diagnostics import RunError
from ammgraph.folders import SAMPLES
from ammgraph.runs import files
from ammgraph.runs.outputs import Array

logger = logging.getLogger(__name__)

COLUMNS = 10
PARTS = 10  # of a run
CHANNELS = 4  # of a PNG, at most
_NAME = re.compile(r"(?P<variable>\w+)-step-(?P<step>\d{9,18})\.png", re.ASCII)


def due(folder: Path, step: int, last: int) -> bool:
    """Whether the look at a step of a run, which ends at its `last` one, is the first of its part of the run.

    None is where a file has the folder's name: no picture is worth a run.
    """
    if _is_file(folder):
        return False
    before = max((step for _, step in _there(folder)), default=None)
    return _begins(before, step, last)


def keep(folder: Path, step: int, strips: Mapping[str, Array]) -> None:
    """Write the strip of each variable, uint8 (COLUMNS, C, H, W).

    Raises:
        RunError: the disk refuses.
    """
    place = folder / SAMPLES
    for variable, images in strips.items():
        path = place / f"{variable}-step-{step:09d}.png"
        try:
            files.refuse_link(place)
            files.make_folder(place)
            files.write(path, _png(images))
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def at(folder: Path, step: int) -> dict[str, Path]:
    """The strip of each variable at a step, if any."""
    return {path.name.rpartition("-step-")[0]: path for path, found in _there(folder) if found == step}


def cut(folder: Path, step: int) -> None:
    """Forget the strips after a step: a run that resumes there writes them again.

    Raises:
        RunError: the disk refuses.
    """
    if _is_file(folder):
        logger.warning(f"{folder / SAMPLES} is a file, where samples over time would go: none are kept; remove it")
    for path, at in _there(folder):
        try:
            if at > step:
                path.unlink()
        except OSError as error:
            raise RunError(f"cannot remove {path}: {error.strerror or error}") from error


def read(folder: Path, variable: str, shape: tuple[int, ...], last: int) -> dict[int, Array]:
    """The strips of a variable whose images are of a shape (C, H, W), up to a last step, by their steps in order.

    A run that was made longer has kept more at its beginning: of its strips too the first one of each part is read.
    What is no strip of the variable is left out with a warning.
    """
    found, before = {}, None
    there = [(path, step) for path, step in _there(folder) if step <= last]
    paths = {step: path for path, step in there if path.name.rpartition("-step-")[0] == variable}
    for step in sorted(paths):
        if not _begins(before, step, max(paths)):
            continue
        try:
            found[step], before = _images(files.read(paths[step]), shape), step
        except Exception as error:  # whatever a foreign file makes the reader do, it is no strip of ours
            logger.warning(f"{paths[step]} is left out: {str(error) or type(error).__name__}")
    return found


def _begins(before: int | None, step: int, last: int) -> bool:
    """Whether a step is in a later part of a run than the one before it."""
    return before is None or before * PARTS // last < step * PARTS // last


def _is_file(folder: Path) -> bool:
    place = folder / SAMPLES
    return place.exists() and not place.is_dir()


def _there(folder: Path) -> list[tuple[Path, int]]:
    """The strips in a run directory, and their steps."""
    place = folder / SAMPLES
    found = [(path, _NAME.fullmatch(path.name)) for path in place.iterdir()] if place.is_dir() else []
    return [(path, int(match["step"])) for path, match in found if match]


def _png(images: Array) -> bytes:
    from PIL import Image

    count, channels, height, width = images.shape
    sheet = images.transpose(2, 0, 3, 1).reshape(height, count * width, channels)
    buffer = io.BytesIO()
    Image.fromarray(sheet[:, :, 0] if channels == 1 else sheet).save(buffer, format="PNG")
    return buffer.getvalue()


def _images(content: bytes, shape: tuple[int, ...]) -> Array:
    """The images of a strip.

    Raises:
        ValueError: it is of another size, or of no images of that shape.
    """
    from PIL import Image

    channels, height, width = shape
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        if (image.width, image.height, len(image.getbands())) != (COLUMNS * width, height, channels):
            raise ValueError(f"it holds no {COLUMNS} images of {channels}x{height}x{width}")
        sheet = np.asarray(image)
    return sheet.reshape(height, COLUMNS, width, channels).transpose(1, 3, 0, 2)
