"""A user's own tables: columns by name in, records out. Knows no file format.

Every wrong cell is told with its place and its column, and nothing but numbers becomes numbers in silence.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from ammgraph.data.advice import number_advice
from ammgraph.data.labels import in_order, is_number, missing_word, one_spelling
from ammgraph.data.records import UNKNOWN, Records, Split, checked_records
from ammgraph.data.vectors import Array, check_range
from ammgraph.diagnostics import RunError, nearest


@dataclass(frozen=True, eq=False)
class Column:
    """The cells of a column, read when they are asked for.

    Args:
        texts: as they are written; empty where there is none.
        numbers: float64, where the file says that all of them are; else None, and the texts say it.
    """

    texts: Callable[[], Sequence[str]]
    numbers: Callable[[], Array | None] = lambda: None


@dataclass(frozen=True, eq=False)
class Table:
    """What a file has, column by column.

    Args:
        path: the file.
        columns: by name, in the order of the file.
        places: where each record stands, of the kind of `unit`.
        unit: `line` or `record`.
        lists: column whose cells are lists of n numbers -> its n columns, a number each.
    """

    path: Path
    columns: Mapping[str, Column]
    places: Sequence[int]
    unit: str = "line"
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def expanded(self, name: str, asked_by: str) -> tuple[str, ...]:
        """The columns of a name: itself, or one for each number of its lists.

        Raises:
            RunError: there is none of that name; `asked_by` says who names it.
        """
        if name in self.lists:
            return self.lists[name]
        if name not in self.columns:
            hint = nearest(name, [*self.lists, *self.columns])
            known = ", ".join(f"`{known}`" for known in list(self.columns)[:12])
            more = ", ..." if len(self.columns) > 12 else ""
            numbers = any(map(is_number, self.columns))
            head = "; its first line holds numbers, expected the names of the columns" if numbers and not hint else ""
            raise RunError(f"{self.path} has no column `{name}`{asked_by}; {hint or f'it has {known}{more}{head}'}")
        return (name,)

    def labels(self, name: str) -> Sequence[str]:
        """The cells of the column that `data.label` names.

        Raises:
            RunError: there is none of that name, or its cells are lists.
        """
        if len(self.expanded(name, ", which `data.label` names")) > 1 or name in self.lists:
            raise RunError(f"{self.path}: the label `{name}` holds lists of numbers; expected one class a record")
        return self.columns[name].texts()

    def numbers(self, name: str, advice: str) -> Array:
        """A column as numbers, float64.

        Raises:
            RunError: a cell is none.
        """
        if (numbers := self.columns[name].numbers()) is not None:
            return numbers
        cells = self.columns[name].texts()
        wrong = next(((place, cell.strip()) for place, cell in enumerate(cells) if not is_number(cell)), None)
        if wrong is None:
            return np.array([float(cell) for cell in cells])
        place, cell = wrong
        what = f"`{cell[:40]}`, expected a number" if cell else "empty, expected a number"
        raise RunError(f"{self.place(place)}: column `{name}` is {what}; {number_advice(cell) or advice}")

    def place(self, record: int) -> str:
        """Where a record stands."""
        return f"{self.path}, {self.unit} {self.places[record]}"


def read_records(
    table: Table,
    columns: Sequence[str] | None,
    label: str | None,
    key: str = "data.columns",
    labels: Collection[str] = (),
) -> Records:
    """A table's records: the vector of each, and its label.

    Args:
        table: what was read.
        columns: those of the vector, in this order; all but the label's and other `labels` unless given.
        label: the column of labels, whose sorted values are the classes; a record whose cell is empty has none;
            without such a column all records have the same, 0.
        key: what names the columns.
        labels: columns that other variables have as labels.

    Raises:
        RunError: what is not so, with the record and the column.
    """
    path = table.path
    found = ["0"] * len(table.places) if label is None else table.labels(label)
    rest = (name for name in table.columns if name not in (label, *labels))
    named = tuple(rest) if columns is None else tuple(columns)
    if not named:
        raise RunError(f"{path} has no column beside the label `{label}`; a vector needs one or more")
    names = tuple(part for name in named for part in table.expanded(name, f", which `{key}` names"))
    if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
        raise RunError(f"{path}: `{key}` has column `{twice}` twice, of which a list is several; name it once")
    if held := [name for name in (label, *labels) if name in names]:
        raise RunError(f"{path}: `{key}` has column `{held[0]}`, which is a label too; leave it out of the vector")
    if label is not None and (missing := missing_word(found)):
        raise RunError(
            f"{table.place(missing[0])}: the label `{label}` is `{missing[1]}`, a word for a missing one; leave the "
            "cell empty where a record has no label, or give the class another name"
        )
    found = one_spelling(found)
    classes = sorted(set(found) - {""}, key=in_order)
    if not classes:
        raise RunError(
            f"{path}: the label `{label}` is empty in every record; give some of them one, or leave `data.label` out"
        )
    places = {name: place for place, name in enumerate(classes)}
    targets = torch.tensor([places.get(cell, UNKNOWN) for cell in found], dtype=torch.int64)
    others = "" if label else ", or say that it is the label, `data.label`"
    advice = f"leave these records out, or the column, by `data.columns` with the others{others}"
    split = Split(vectors_in(table, names, advice), targets, "vector")
    records = checked_records(split, None, tuple(classes), str(path), names)
    return replace(records, labelled=label is not None)


def vectors_in(table: Table, names: Sequence[str], advice: str) -> torch.Tensor:
    """The vectors (N, D, 1, 1) of these columns of a table, which are there.

    Args:
        table: what was read.
        names: of the columns, in the order of the vectors.
        advice: what to do where a cell is no number.

    Raises:
        RunError: a cell is no number, or no finite one.
    """
    values = np.stack([table.numbers(name, advice) for name in names], axis=1)
    check_range(values, names, table.place)
    return torch.from_numpy(values)[:, :, None, None]


def check_names(path: Path, names: Sequence[str]) -> None:
    """Every column has a name of its own.

    Raises:
        RunError: one has none, or that of another.
    """
    for place, name in enumerate(names):
        if not name:
            raise RunError(f"{path}: column {place + 1} has no name")
    twice = next((name for place, name in enumerate(names) if name in set(names[:place])), None)
    if twice is not None:
        raise RunError(f"{path}: two columns are named `{twice}`; rename one")
