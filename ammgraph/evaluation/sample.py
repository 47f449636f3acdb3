"""`ammgraph sample`: examples from the synthesis side p of a run.

Images as a grid in a `.png`, vectors as a table in a `.csv` or a `.parquet`, both as arrays in an `.npz`.
"""

import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ammgraph.data.records import machine_memory
from ammgraph.data.table_files import needs_pyarrow
from ammgraph.data.vectors import Scaling
from ammgraph.diagnostics import RunError, alternatives, counted, nearest
from ammgraph.evaluation.as_table import csv_text, table_columns
from ammgraph.evaluation.loading import load_model
from ammgraph.evaluation.metrics import Array
from ammgraph.evaluation.synthesis import generate, unit
from ammgraph.nn.model import Model, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.cost import bytes_text
from ammgraph.plan.draws import DrawPlan
from ammgraph.plan.evaluation_cost import BATCH
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import (
    ancestry,
    data_set_of,
    field_name,
    generating_draws,
    main_example,
    on_data_set,
    prior_category,
    record_kind,
)
from ammgraph.runs.outputs import check_output, head_of, is_npz, is_parquet, npz, parquet, write_output

PER_COMPONENT = 10
GAP = 2
GREY = 128
TILE = 28  # least pixels of the longer side of an image in a `.png`
LETTERS, SMALLEST, MARGIN = 14, 6, 6  # pixels: the height of a row's number at most and least, the space beside it
SOFTWARE = b"ammgraph sample"  # what a `.png` says it was written by
TABLE = "sample"  # the first column of a table
_TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class Asked:
    """What is sampled.

    Args:
        variable: an observed one; the first that priors and networks draw unless given.
        source: the distribution that draws it; the first that does unless given.
        given: categorical variable -> its category, from 0, in place of one that is drawn.
    """

    variable: str | None = None
    source: str | None = None
    given: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Samples:
    """N = rows * columns examples at most, row by row, with all that they were drawn from.

    Args:
        variable: the variable of images or vectors.
        images: uint8 (N, C, H, W); vectors float64 (N, D), in the units of the data.
        latents: variable -> real values (N, n), or the categories (N,) of a categorical one.
        columns: of the grid.
        by: the factorization that was sampled.
        components: of each row; empty where the model has none.
        names: of a vector's numbers.
    """

    variable: str
    images: Array
    latents: dict[str, Array]
    columns: int
    by: str
    components: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def example(self) -> Literal["image", "vector"]:
        """What was drawn."""
        return "vector" if self.images.ndim == 2 else "image"

    def save(self, path: str | os.PathLike[str] | None = None, *, force: bool = False) -> Path:
        """Write what was drawn; see `sample_run`. The path: `samples.png` or `samples.csv` unless given.

        Raises:
            RunError: the file cannot be written, or is not to be replaced.
        """
        output = Path(path) if path is not None else Path("samples.csv" if self.example == "vector" else "samples.png")
        _check_output(output, self.example, force)
        write_samples(self, output)
        return output

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows of images that are grey or RGB."""
        return _png(self) if self.example == "image" and self.images.shape[1] in (1, 3) else None


def sample_run(
    folder: Path,
    output: Path | None,
    device: torch.device,
    component: int | None = None,
    count: int | None = None,
    interpolate: int | None = None,
    seed: int = 0,
    force: bool = False,
    asked: Asked = Asked(),
) -> Samples:
    """Sample a run's newest checkpoint; the run itself is not changed, and needs no data set.

    Args:
        folder: the run directory.
        output: where it is written, of images a `.png`, a grid of them; of vectors a `.csv` or a `.parquet`; of both an
            `.npz` with them and their latents. Nothing is written unless given.
        device: where the model runs.
        component: the one component to sample. Without it all, a row each; a model without components gives one block.
        count: images of each component (10 unless given); with `interpolate` paths (one of each component, else 10).
        interpolate: images on a straight line between two draws of z with the same y, both ends included; a row each.
        seed: of the noise.
        force: whether a file that is there is replaced whatever it is; else only images of `sample`.
        asked: which variable, of which distribution, given which categories.

    Raises:
        RunError: as `load_model`; nothing to sample, no such component; the file cannot be written, or is not to be
            replaced.
    """
    if output is not None:
        _check_output(output, None, force)
    loaded = load_model(folder, device)
    name, _ = generating(loaded.plan, asked.variable, asked.source)
    if output is not None:
        _check_output(output, "vector" if loaded.plan.variable(name).vector else "image", force)
    scaling = loaded.settings.scaling_of(data_set_of(loaded.plan, name))
    samples = draw_samples(loaded.model, loaded.plan, component, count, interpolate, seed, asked, scaling=scaling)
    if output is not None:
        write_samples(samples, output)
    return samples


@torch.no_grad()
def draw_samples(
    model: Model,
    plan: Plan,
    component: int | None = None,
    count: int | None = None,
    interpolate: int | None = None,
    seed: int = 0,
    asked: Asked = Asked(),
    *,
    scaling: Scaling | None = None,
) -> Samples:
    """The examples of `sample_run`, from a model; see there. `scaling` is how vectors of the variable were scaled."""
    for name, value, least in (("count", count, 1), ("interpolate", interpolate, 2)):
        if value is not None and value < least:
            raise RunError(f"`{name}` is {value}, expected at least {least}")
    name, draw = generating(plan, asked.variable, asked.source)
    category = prior_category(plan, draw, name)
    given = checked_categories(plan, draw, name, asked.given)
    if component is not None and category in given:
        raise RunError(f"`{category}` is given twice: component {component}, and {given[category]}")
    rows = _rows(plan, category, given.get(category, component))
    each = count or (PER_COMPONENT if interpolate is None or len(rows) == 1 else 1)
    _check_memory(plan, draw, each * len(rows) * (interpolate or 1))
    fixed = {variable: torch.full((each * len(rows),), value) for variable, value in given.items()}
    fixed |= {category: torch.tensor(rows).repeat_interleave(each)} if category else {}
    if interpolate is None:
        columns = each if len(rows) > 1 else math.ceil(math.sqrt(each))
        drawn = generate(model, plan, draw, name, fixed, each * len(rows), seed)
    else:
        columns = interpolate
        drawn = _paths(model, plan, draw, name, fixed, each * len(rows), interpolate, seed)
    if plan.variable(name).vector:
        if scaling is not None and not _has_its_scales(plan, name):
            raise RunError(f"`{name}` has scales of its own, which a run does not keep; sample another variable")
        examples = (drawn[name].cpu().double() if scaling is None else scaling.undo(drawn[name])).flatten(1)
    else:
        examples = (unit(plan, name, drawn[name]) * 255).round().to(torch.uint8)
    return Samples(
        variable=name,
        images=examples.cpu().numpy(),
        latents={other: _plain(plan, other, values) for other, values in drawn.items() if other != name},
        columns=columns,
        by=" ".join(factor.text for factor in draw.factors),
        components=tuple(np.repeat(rows, each * (interpolate or 1))[::columns].tolist()) if category else (),
        names=() if scaling is None else scaling.columns,
    )


def write_samples(samples: Samples, output: Path) -> None:
    """Write a grid (`.png`), a table (`.csv`, `.parquet`) or arrays named by their variables (`.npz`).

    Arrays of images are (N, C, H, W). In the grid every pixel of small images is a square of pixels, and a row has the
    number of its component beside it.

    Raises:
        RunError: the file cannot be written, and what was there before is untouched; or the images are neither grey nor
            RGB.
    """
    if output.suffix.lower() == ".npz":
        arrays = {samples.variable: samples.images, **samples.latents}
        arrays |= {"columns": np.array(samples.names)} if samples.names else {"layout": np.array("NCHW")}
        write_output(output, npz(arrays, "sample"))
    elif output.suffix.lower() in _TABLES:
        places = [str(place) for place in range(len(samples.images))]
        values, titles = {samples.variable: samples.images, **samples.latents}, {samples.variable: samples.names}
        columns = table_columns(TABLE, places, values, titles)
        is_csv = output.suffix.lower() == ".csv"
        write_output(output, csv_text(columns).encode() if is_csv else parquet(columns, "sample"))
    else:
        write_output(output, _png(samples))


def _check_output(output: Path, example: Literal["image", "vector"] | None, force: bool) -> None:
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


def generating(plan: Plan, wanted: str | None, source: str | None = None) -> tuple[str, DrawPlan]:
    """The variable of images or vectors to sample, and the distribution that draws it from priors alone.

    Raises:
        RunError: no distribution draws such a variable so, or not the one of that name.
    """
    pairs = [(v.name, draw) for v in plan.variables if v.observed for draw in generating_draws(plan, v.name)]
    if not pairs:
        what = "a vector" if record_kind(plan) == "vector" else "an image"
        raise RunError(f"nothing to sample: no distribution draws {what} by networks from priors alone")
    names = list(dict.fromkeys(name for name, _ in pairs))
    if wanted is not None and wanted not in names:
        hint = nearest(wanted, names)
        raise RunError(f"`{wanted}` cannot be sampled; expected {alternatives(names)}{f'; {hint}' if hint else ''}")
    pairs = [(name, draw) for name, draw in pairs if wanted in (None, name)]
    found = next((pair for pair in pairs if source in (None, pair[1].name)), None)
    if found is None:
        there = list(dict.fromkeys(draw.name for _, draw in pairs))
        what = f"`{wanted}`" if wanted else "an image or a vector"
        hint = nearest(str(source), there)
        raise RunError(
            f"`{source}` does not draw {what} by networks from priors alone; expected {alternatives(there)}"
            f"{f'; {hint}' if hint else ''}"
        )
    return found


def checked_categories(plan: Plan, draw: DrawPlan, name: str, given: Mapping[str, int]) -> dict[str, int]:
    """Categories that a sample of a variable depends on, each one that there is.

    Raises:
        RunError: which is none.
    """
    variables = [plan.variable(factor.variables[0]) for factor in ancestry(draw, name)]
    sizes = {variable.name: variable.shape[0] for variable in variables if variable.kind == "categorical"}
    for variable, value in given.items():
        if variable not in sizes:
            hint = nearest(variable, sizes)
            there = alternatives(sizes) if sizes else f"none: `{name}` depends on no category"
            raise RunError(f"`{variable}` cannot be given, expected {there}{f'; {hint}' if hint else ''}")
        if not 0 <= value < sizes[variable]:
            raise RunError(
                f"`{variable}` has {sizes[variable]} categories, from 0 to {sizes[variable] - 1}, not {value}"
            )
    return dict(given)


def _has_its_scales(plan: Plan, name: str) -> bool:
    """Whether a run keeps how the vector was scaled: it is the main example of its data set."""
    part = on_data_set(plan, data_set_of(plan, name))
    return field_name(part, name) == main_example(part)


def _rows(plan: Plan, category: str, component: int | None) -> list[int]:
    """The components to sample, a row each; one row of no component where the model has none."""
    if not category:
        if component is not None:
            raise RunError("this model has no components: no categorical variable is drawn from a prior")
        return [0]
    size = plan.variable(category).shape[0]
    if component is not None and not 0 <= component < size:
        raise RunError(f"there is no component {component}: `{category}` has {size}, from 0 to {size - 1}")
    return list(range(size)) if component is None else [component]


def _paths(
    model: Model,
    plan: Plan,
    draw: DrawPlan,
    name: str,
    fixed: dict[str, Tensor],
    count: int,
    steps: int,
    seed: int,
) -> dict[str, Tensor]:
    """Images between two draws of the same categories: real latents on a straight line, the others as at its start."""
    doubled = {key: torch.cat([values, values]) for key, values in fixed.items()}
    ends = generate(model, plan, draw, name, doubled, 2 * count, seed)
    given = {}
    places = torch.linspace(0, 1, steps, device=ends[name].device).repeat(count)
    for parent in draw.factor_of(name).given:
        first, last = (end.repeat_interleave(steps, dim=0) for end in ends[parent].split(count))
        moves = plan.variable(parent).kind == "real"
        given[parent] = torch.lerp(first, last, places[:, None, None, None]) if moves else first
    parts = []
    for start in range(0, count * steps, BATCH):
        part = {key: values[start : start + BATCH] for key, values in given.items()}
        size = min(BATCH, count * steps - start)
        parts.append(
            sample_draw(model, draw, {}, {}, Mode.EVAL, given=part, batch=size, only=frozenset({name})).samples
        )
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def _check_memory(plan: Plan, draw: DrawPlan, count: int) -> None:
    """The machine has the memory for so many samples: each of every variable, as it is drawn and once more joined."""
    each = 2 * 4 * sum(math.prod(plan.variable(name).shape) for factor in draw.factors for name in factor.variables)
    needed, there = count * each, machine_memory()
    if needed > there:
        raise RunError(
            f"{counted(count, record_kind(plan))} need about {bytes_text(needed)} of memory, and the machine has "
            f"{bytes_text(there)}; at most {there // each:,} can be asked for at once"
        )


def _plain(plan: Plan, name: str, values: Tensor) -> Array:
    flat = values.flatten(1).cpu()
    return (flat.argmax(1) if plan.variable(name).kind == "categorical" else flat).numpy()


def _png(samples: Samples) -> bytes:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    sheet = grid(enlarged(samples.images), samples.columns)
    if samples.components:
        sheet = numbered(sheet, samples.components)
    if len(sheet) not in (1, 3):
        raise RunError(f"a .png holds grey or RGB images, but `{samples.variable}` has {len(sheet)} channels; use .npz")
    origin = PngInfo()
    origin.add_text("Software", SOFTWARE.decode())
    buffer = io.BytesIO()
    image = Image.fromarray(sheet[0] if len(sheet) == 1 else sheet.transpose(1, 2, 0))
    image.save(buffer, format="PNG", pnginfo=origin)
    return buffer.getvalue()
