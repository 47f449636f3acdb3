"""A user's own examples, from a file or from Python, as a run's model reads them: with its looks and its scales."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from ammgraph.data.advice import other_layout
from ammgraph.data.files import read_images, read_vectors
from ammgraph.data.look import look_of
from ammgraph.data.records import shape_text
from ammgraph.data.vectors import Scaling
from ammgraph.diagnostics import RunError, alternatives, nearest
from ammgraph.evaluation.loading import LoadedModel
from ammgraph.plan.draws import FromData
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import (
    EXAMPLES,
    field_name,
    fields_of,
    main_example,
    names_of,
    on_data_set,
    record_kind,
)


@dataclass(frozen=True)
class Example:
    """What a user gives: an example of a data set.

    Args:
        plan: as it can be asked about that data set alone.
        of: the name of the data set; "" of one without.
        name: of the array or the columns that it is; "" of the one that a record has by its type.
        kind: an `image` or a `vector`.
    """

    plan: Plan
    of: str
    name: str
    kind: Literal["image", "vector"]


def example_of(plan: Plan, variable: str | None = None) -> Example:
    """The example that a variable takes from data; the first image or vector of the first data set unless given.

    Raises:
        RunError: the variable takes none.
    """
    if variable is None:
        of = plan.data_names[0]
        part = on_data_set(plan, of)
        return Example(part, of, main_example(part), record_kind(part))
    fields = {name: field for draw in plan.draws for name, field in fields_of(draw.factors).items()}
    there = [found.name for found in plan.variables if fields.get(found.name) in EXAMPLES]
    if variable not in there:
        hint = nearest(variable, there)
        expected = f"expected {alternatives(there)}" if there else "and neither does another"
        raise RunError(f"`{variable}` takes no image or vector from data, {expected}{f'; {hint}' if hint else ''}")
    return example_on(plan, _asked_about(plan, variable), variable)


def _asked_about(plan: Plan, variable: str) -> str:
    """Of the data sets that a variable is taken from the first one on which a category is read off, else the first."""
    taken = {
        factor.origin.source.of: None
        for draw in plan.draws
        for factor in draw.factors
        if isinstance(factor.origin, FromData) and variable in factor.variables
    }
    return next((of for of in taken if on_data_set(plan, of).readouts), next(iter(taken)))


def example_on(plan: Plan, of: str, variable: str) -> Example:
    """The example that a variable takes from a data set."""
    part = on_data_set(plan, of)
    return Example(part, of, field_name(part, variable), "vector" if plan.variable(variable).vector else "image")


def read_given(loaded: LoadedModel, examples: Path | Tensor, example: Example) -> tuple[Tensor, tuple[str, ...]]:
    """Examples as the model reads them, see `Split`, and a name for each.

    Args:
        loaded: the model, and how its vectors were scaled.
        examples: an image, a folder of images, or an `.npz` with an array `images`; see `read_images`. Of vectors a
            table, or an `.npz`; see `read_vectors`. Or the examples as they are stored, see `Split`.
        example: which examples they are.

    Raises:
        RunError: they cannot be read, or are not the model's.
    """
    scaling, look, name = scaling_of(loaded, example), look_of(example.plan.data), example.name
    if isinstance(examples, Tensor):
        values, names = look.of(examples) if scaling is None else examples, tuple(map(str, range(len(examples))))
    elif scaling is not None:
        values, names = read_vectors(examples, scaling.columns, name)
    else:
        values, names = read_images(examples, look, name)
    check_shape(example, values, of_arrays=isinstance(examples, Tensor) or examples.suffix in (".npz", ".npy"))
    if scaling is None:
        return values, names
    return scaling.apply(values, "the vectors" if isinstance(examples, Tensor) else str(examples)), names


def scaling_of(loaded: LoadedModel, example: Example) -> Scaling | None:
    """How vectors of the data were scaled; none of images."""
    if example.kind == "image":
        return None
    if example.name != main_example(example.plan):
        raise RunError(f"`{example.name}` has scales of its own, which a run does not keep; give another variable")
    return loaded.settings.scaling_of(example.of)


def check_shape(example: Example, pixels: Tensor, of_arrays: bool = False) -> None:
    """The examples have the shape of every variable that they are bound to; `of_arrays`, not of files."""
    found, plan = tuple(pixels.shape[1:]), example.plan
    for draw in plan.draws:
        names = names_of(draw.factors)
        for name, field in fields_of(draw.factors).items():
            if names.get(name, "") != example.name:
                continue
            expected = plan.variable(name).shape
            if field == "vector" and expected != found:
                raise RunError(_other_vectors(name, found, expected[0]))
            if field in EXAMPLES and expected != found:
                hint = other_layout("images", found, expected) if of_arrays else ""
                raise RunError(
                    f"the images are {shape_text(found)}, but `{name}` is {shape_text(expected)} (channels, "
                    f"height, width); {hint or _conversion(found, expected)}"
                )


def _other_vectors(name: str, found: tuple[int, ...], size: int) -> str:
    numbers = f"vectors of {found[0]}" if found[1:] == (1, 1) else f"images of {shape_text(found)}"
    return f"the examples are {numbers}, but `{name}` is a vector of {size}; expected {size} numbers each, (N, {size})"


def _conversion(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    channels, height, width = expected
    if found[1:] == (1, 1) and (height, width) != (1, 1):
        return f"expected images, (N, {', '.join(map(str, expected))}), and not vectors (N, D)"
    if (height, width) == (1, 1):
        return f'expected vectors, in an .npz as {channels} channels: (N, {channels}, 1, 1), with layout="NCHW"'
    grey = "grey (mode L)" if channels == 1 else "RGB" if channels == 3 else ""
    mode = f" {grey} images of" if grey and found[0] != channels else ""
    return f"convert them to{mode} {height}x{width} pixels"
