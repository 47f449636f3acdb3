"""What was sampled, and how it is written: a grid of images, a table of vectors, arrays of both."""

import io
import itertools
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ammgraph.data.table_files import needs_pyarrow
from ammgraph.diagnostics import RunError
from ammgraph.evaluation.as_table import csv_text, table_columns
from ammgraph.evaluation.metrics import Array
from ammgraph.runs.outputs import check_output, head_of, is_npz, is_parquet, npz, parquet, write_output
from ammgraph.terminal import one_line

GAP = 2
GREY = 128
TILE = 28  # least pixels of the longer side of an image in a `.png`
LETTERS, SMALLEST, MARGIN = 14, 6, 6  # pixels: the height of a row's number at most and least, the space beside it
SOFTWARE = b"ammgraph sample"  # what a `.png` says it was written by
TABLE = "sample"  # the first column of a table
EXAMPLE = "example"  # what has the name of the example that a sample is drawn given
_TABLES = (".csv", ".parquet")


@dataclass(frozen=True, eq=False)
class Samples:
    """N = rows * columns samples at most, row by row, with all that they were drawn from.

    Args:
        variable: the variable of images or vectors.
        images: uint8 (N, C, H, W); vectors float64 (N, D), in the units of the data.
        latents: variable -> real values (N, n), or the categories (N,) of a categorical one.
        columns: of the grid.
        by: the factorization that was sampled.
        components: of each row; empty where the model has none.
        names: of a vector's numbers.
        examples: of each row the name of the example that it was drawn given; empty where there were none.
        originals: these examples, (rows, ...), where they are of the kind and the shape of what was sampled.
    """

    variable: str
    images: Array
    latents: dict[str, Array]
    columns: int
    by: str
    components: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    originals: Array | None = None

    @property
    def given(self) -> Array:
        """The name of the example of each sample, (N,); none where there were none."""
        return np.repeat(np.array([one_line(name) for name in self.examples], dtype=np.str_), self.columns)

    @property
    def example(self) -> Literal["image", "vector"]:
        """What was drawn."""
        return "vector" if self.images.ndim == 2 else "image"

    @property
    def default_path(self) -> Path:
        """Where it is written unless a path is given."""
        return Path("samples.csv" if self.example == "vector" else "samples.png")

    def save(self, path: str | os.PathLike[str] | None = None, *, force: bool = False) -> Path:
        """Write what was drawn; see `sample_run`. The path: `default_path` unless given.

        Raises:
            RunError: the file cannot be written, or is not to be replaced.
        """
        output = Path(path) if path is not None else self.default_path
        check_sample_output(output, self.example, force)
        write_samples(self, output)
        return output

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows of images that are grey or RGB."""
        return _png(self) if self.example == "image" and self.images.shape[1] in (1, 3) else None


def write_samples(samples: Samples, output: Path) -> None:
    """Write a grid (`.png`), a table (`.csv`, `.parquet`) or arrays named by their variables (`.npz`).

    Arrays of images are (N, C, H, W). In the grid every pixel of small images is a square of pixels, and a row has the
    number of its component or of its example beside it, and begins with that example where there is one of its shape.
    A table and arrays have the name of its example for each sample, `example`, and arrays these examples, `examples`.

    Raises:
        RunError: the file cannot be written, and what was there before is untouched; or the images are neither grey nor
            RGB.
    """
    values = {samples.variable: samples.images, **samples.latents}
    if output.suffix.lower() == ".npz":
        values |= {"columns": np.array(samples.names)} if samples.names else {"layout": np.array("NCHW")}
        values |= {_free(values, name): array for name, array in _given(samples).items()}
        write_output(output, npz(values, "sample"))
    elif output.suffix.lower() in _TABLES:
        places = [str(place) for place in range(len(samples.images))]
        if samples.examples:
            values[_free(values, EXAMPLE)] = samples.given
        columns = table_columns(TABLE, places, values, {samples.variable: samples.names})
        is_csv = output.suffix.lower() == ".csv"
        write_output(output, csv_text(columns).encode() if is_csv else parquet(columns, "sample"))
    else:
        write_output(output, _png(samples))


def _given(samples: Samples) -> dict[str, Array]:
    """What was sampled from: the name of its example for each sample, and the examples where they are shown."""
    found = {EXAMPLE: samples.given} if samples.examples else {}
    return found if samples.originals is None else found | {"examples": samples.originals}


def _free(taken: Collection[str], name: str) -> str:
    """The name, or with a number behind it where a variable has it."""
    numbered_names = (f"{name}_{number}" for number in itertools.count(2))
    return name if name not in taken else next(free for free in numbered_names if free not in taken)


def check_sample_output(output: Path, example: Literal["image", "vector"] | None, force: bool) -> None:
    """The file is one that holds such examples, as far as these are known, and may be written."""
    suffix = output.suffix.lower()
    if suffix not in (".png", ".npz", *_TABLES):
        raise RunError(
            f"`{output}`: expected a name that ends in .png (a grid) or .npz (arrays), or .csv or .parquet for vectors"
        )
    if suffix == ".parquet":
        needs_pyarrow(str(output))
    if example is not None and suffix in (_TABLES if example == "image" else (".png",)):
        held = "a table holds vectors; expected .png" if example == "image" else "a grid holds images; expected .csv"
        raise RunError(f"`{output}`: {held} or .npz")
    check_output(output, _is_sample, force)


def _is_sample(path: Path) -> bool:
    """Whether `sample` has written a file."""
    if path.suffix.lower() == ".npz":
        return is_npz(path, "sample")
    if path.suffix.lower() == ".parquet":
        return is_parquet(path, "sample")
    if path.suffix.lower() == ".csv":
        return re.match(rf"{TABLE}(_\d+)?,".encode(), head_of(path, len(TABLE) + 8)) is not None
    return b"tEXtSoftware\0" + SOFTWARE in head_of(path, 4096)


def grid(images: Array, columns: int) -> Array:
    """Images (N, C, H, W) side by side, row by row, two grey pixels apart: (C, height, width)."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.full((channels, rows * (height + GAP) - GAP, columns * (width + GAP) - GAP), GREY, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * (height + GAP), place % columns * (width + GAP)
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def enlarged(images: Array) -> Array:
    """Images (N, C, H, W), each pixel a square of as few whole pixels as make the longer side at least `TILE`."""
    factor = -(-TILE // max(images.shape[2:]))
    return images.repeat(factor, axis=2).repeat(factor, axis=3)


def numbered(sheet: Array, numbers: Sequence[int]) -> Array:
    """A sheet (C, height, width) of rows of equal height, with the number of each in a white margin at its left."""
    from PIL import Image, ImageDraw, ImageFont

    row = (sheet.shape[1] + GAP) / len(numbers)
    font = ImageFont.load_default(max(SMALLEST, min(LETTERS, row - GAP)))
    width = 2 * MARGIN + max(round(font.getlength(str(number))) for number in numbers)
    margin = Image.new("L", (width, sheet.shape[1]), 255)
    pen = ImageDraw.Draw(margin)
    for place, number in enumerate(numbers):
        pen.text((width - MARGIN, place * row + (row - GAP) / 2), str(number), fill=0, font=font, anchor="rm")
    beside = np.broadcast_to(np.asarray(margin), (len(sheet), *np.asarray(margin).shape))
    return np.concatenate([beside, sheet], axis=2)


def _png(samples: Samples) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    images, columns = samples.images, samples.columns
    if samples.originals is not None:
        rows = images.reshape(-1, columns, *images.shape[1:])
        images = np.concatenate([samples.originals[:, np.newaxis], rows], axis=1).reshape(-1, *images.shape[1:])
        columns += 1
    sheet = grid(enlarged(images), columns)
    numbers = samples.components or tuple(range(len(samples.examples)))
    if numbers:
        sheet = numbered(sheet, numbers)
    if len(sheet) not in (1, 3):
        raise RunError(f"a .png holds grey or RGB images, but `{samples.variable}` has {len(sheet)} channels; use .npz")
    origin = PngInfo()
    origin.add_text("Software", SOFTWARE.decode())
    buffer = io.BytesIO()
    image = Image.fromarray(sheet[0] if len(sheet) == 1 else sheet.transpose(1, 2, 0))
    image.save(buffer, format="PNG", pnginfo=origin)
    return buffer.getvalue()
