"""A plan's data sets, every one with what the plan takes of its records, read as one value."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from ammgraph.data.dataset import Dataset, load_data, together
from ammgraph.data.given import Given
from ammgraph.data.on_disk import blocks
from ammgraph.data.records import FileAbsent
from ammgraph.data.vectors import Scaling
from ammgraph.diagnostics import RunError
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import field_name, fields_of, on_data_set, record_fields
from ammgraph.runs.run import RunOptions
from ammgraph.spec.schema import Data, Spec

logger = logging.getLogger(__name__)


def read_data(
    plan: Plan,
    directory: Path | None,
    download: bool = True,
    *,
    given: Given | None = None,
    scaling_of: Callable[[str], Scaling | None] = lambda _: None,
    data_sets: Mapping[str, Data] = MappingProxyType({}),
) -> Dataset:
    """The data set of a plan; of several the first one, with all of them by their names.

    Args:
        plan: the compiled spec.
        directory: as for `load_data`, for all of them.
        download: whether absent files of data sets with a name may be fetched.
        given: the data themselves, where they are given in Python.
        scaling_of: how the vectors of the data set of a name are scaled, where that is known already.
        data_sets: what the spec says of them, where it is not what the plan has of them: where they have moved.

    Raises:
        RunError: as `load_data`; of several data sets it says which one.
    """
    found = {}
    for name in plan.data_names:
        part = on_data_set(plan, name)
        data = data_sets.get(name, part.data)
        try:
            found[name] = load_data(data, directory, download, scaling_of(name), given, record_fields(part))
            _warn_of_bounds(part, found[name])
        except RunError as error:
            if not name:
                raise
            raise type(error)(_of_data_set(name, error.lines[0]), error.details) from error
    return together(found)


@contextmanager
def may_have_moved(settings: RunOptions) -> Iterator[None]:
    """While the data of a run are read: where they are not, how it is said where they are now."""
    try:
        yield
    except FileAbsent as error:
        relative = list((settings.data_paths or {"": settings.data_path or ""}).values())
        what = f"`{relative[0]}` lies" if len(relative) == 1 and relative[0] else "they lie"
        raise FileAbsent(
            f"{error.lines[0]}; if the data have moved, `--data-dir DIR` names the folder in which {what} now",
            error.details,
        ) from error


def _warn_of_bounds(plan: Plan, dataset: Dataset) -> None:
    """Tell of a Bernoulli density of vectors that are taken as they are, and are not all in [0, 1]."""
    if plan.data.scale != "none":
        return
    factors = [factor for draw in plan.draws for factor in draw.factors]
    taken = fields_of(factors)
    for text, name in {f.text: f.variables[0] for f in factors if f.density.kind == "bernoulli"}.items():
        if taken.get(name) != "vector":
            continue
        ends = [block.aminmax() for block in blocks(dataset.train.of("vector", field_name(plan, name)))]
        low, high = min(float(end.min) for end in ends), max(float(end.max) for end in ends)
        if low < 0 or high > 1:
            logger.warning(
                f"`{text}` is Bernoulli, of numbers in [0, 1], and those of `{name}` run from {low:g} to {high:g} by "
                "`data.scale: none`: its log density has no bound, and its samples are never theirs; "
                "`data.scale: minmax` scales each column to [0, 1]"
            )


def _of_data_set(name: str, message: str) -> str:
    """What is said of one data set's keys, `data.KEY`, as the spec has them where it is one of several."""
    keys = "|".join(Data.model_fields)
    told = re.sub(rf"(?<=`)data\.(?=({keys})\b)", f"data.{name}.", message)
    return told if f"`data.{name}." in told else f"`data.{name}`: {told}"


def refuse_given(spec: Spec) -> None:
    """Data that are given in Python are those of a spec with one data set.

    Raises:
        RunError: it has several.
    """
    if "" not in spec.data_sets:
        names = ", ".join(f"`data.{name}`" for name in spec.data_sets)
        raise RunError(
            f"`data` gives one data set, and the spec has several: {names}; write each to a file, as "
            "`numpy.savez(F, x_train=x)`, and name it with `dataset: npz, path: F`"
        )
