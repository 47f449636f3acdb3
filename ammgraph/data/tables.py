"""Reader of a user's own tables: CSV with a line of names, a record a line. Only the standard library reads it.

So every wrong cell is told with its line and its column, and nothing but numbers becomes numbers in silence.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ammgraph.data.records import UNKNOWN, Records, Split, checked_records, reading, refuse_other_than_a_file
from ammgraph.data.vectors import Array, vectors_of
from ammgraph.diagnostics import RunError, counted, nearest

_SEPARATORS = (",", ";", "\t")
_PARQUET = b"PAR1"
# What a spreadsheet takes for the first letter of a formula, full-width ones among them.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def no_formula(text: str) -> str:
    """The text with an apostrophe before what a spreadsheet would compute.

    Reference:
        OWASP, CSV Injection.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def _without_apostrophe(text: str) -> str:
    """The text before `no_formula`."""
    return text[1:] if text.startswith(tuple(f"'{letter}" for letter in _FORMULA)) else text


@dataclass(frozen=True, eq=False)
class Table:
    """Cells as they are written, column by column.

    Args:
        path: the file.
        columns: name -> the cells of its column, in the order of the file.
        lines: the line of the file that each record ends at.
    """

    path: Path
    columns: dict[str, tuple[str, ...]]
    lines: tuple[int, ...]

    def column(self, name: str, asked_by: str) -> tuple[str, ...]:
        """The cells of a column.

        Raises:
            RunError: there is none of that name; `asked_by` says who names it.
        """
        if name not in self.columns:
            hint = nearest(name, list(self.columns))
            known = ", ".join(f"`{known}`" for known in list(self.columns)[:12])
            more = ", ..." if len(self.columns) > 12 else ""
            raise RunError(f"{self.path} has no column `{name}`{asked_by}; {hint or f'it has {known}{more}'}")
        return self.columns[name]

    def numbers(self, name: str, advice: str) -> Array:
        """A column as numbers, float64.

        Raises:
            RunError: a cell is none.
        """
        cells = self.columns[name]
        try:
            return np.array([float(cell) for cell in cells])
        except ValueError:
            line, cell = next(
                (line, cell) for line, cell in zip(self.lines, cells, strict=True) if not _is_number(cell)
            )
        what = f"`{cell.strip()[:40]}`, expected a number" if cell.strip() else "empty, expected a number"
        raise RunError(f"{self.path}, line {line}: column `{name}` is {what}; {advice}")


def read_csv(path: Path, columns: Sequence[str] | None, label: str | None) -> Records:
    """A table's records: the vector of each line, and its label.

    Args:
        path: a text in UTF-8; cells are separated by commas, semicolons or tabs, the first line has the names.
        columns: those of the vector, in this order; all but the label's unless given.
        label: the column of labels, whose sorted values are the classes; a record whose cell is empty has none;
            without such a column all records have the same, 0.

    Raises:
        RunError: what is not so, with the line and the column.
    """
    table = read_table(path)
    labels = ("0",) * len(table.lines) if label is None else table.column(label, ", which `data.label` names")
    names = tuple(columns) if columns is not None else tuple(name for name in table.columns if name != label)
    if not names:
        raise RunError(f"{path} has no column beside the label `{label}`; a vector needs one or more")
    for name in names:
        table.column(name, ", which `data.columns` names")
    classes = sorted({cell for cell in labels if cell.strip()}, key=_order)
    if not classes:
        raise RunError(
            f"{path}: the label `{label}` is empty in every record; give some of them one, or leave `data.label` out"
        )
    places = {name: place for place, name in enumerate(classes)}
    targets = torch.tensor([places.get(cell, UNKNOWN) for cell in labels], dtype=torch.int64)
    split = Split(vectors_in(table, names, label), targets, "vector")
    records = checked_records(split, None, tuple(name.strip() for name in classes), str(path), names)
    return replace(records, labelled=label is not None)


def vectors_in(table: Table, names: Sequence[str], label: str | None = None) -> torch.Tensor:
    """The vectors (N, D, 1, 1) of these columns of a table, which are there.

    Raises:
        RunError: a cell is no number, or no finite one.
    """
    others = "" if label else ", or say that it is the label, `data.label`"
    advice = f"leave the column out of `data.columns`{others}"
    values = np.stack([table.numbers(name, advice) for name in names], axis=1)
    for name, column in zip(names, values.T, strict=True):
        if (wrong := np.flatnonzero(~np.isfinite(column))).size:
            line = table.lines[int(wrong[0])]
            raise RunError(f"{table.path}, line {line}: column `{name}` is NaN or infinite; leave these records out")
    return vectors_of(str(table.path), values)


def read_table(path: Path) -> Table:
    """The cells of a CSV file.

    Raises:
        RunError: it is no such file, has no line of names or no records, or a line has another number of cells.
    """
    refuse_other_than_a_file(path)
    with reading(str(path), "expected a table in UTF-8 with a first line of names"):
        content = path.read_bytes()
        if content.startswith(_PARQUET):
            raise RunError(
                f"{path} is a Parquet file; write it as a table: `pandas.read_parquet(F).to_csv(G, index=False)`"
            )
        text = content.decode("utf-8-sig")
    head = text.partition("\n")[0]
    separator = max(_SEPARATORS, key=head.count)
    with reading(str(path), "expected a table, as spreadsheets write it"):
        reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    if not rows:
        raise RunError(f"{path} is empty; expected a first line of names, and a record in each line below")
    names = [_without_apostrophe(name.strip()) for name in rows[0][1]]
    _check_names(path, names)
    if len(rows) == 1:
        raise RunError(f"{path} has a line of names and no records")
    for line, row in rows[1:]:
        if len(row) != len(names):
            raise RunError(
                f"{path}, line {line}: {counted(len(row), 'cell')}, but the first line names "
                f"{counted(len(names), 'column')}; a cell that holds `{separator}` stands in quotes"
            )
    cells = zip(*(row for _, row in rows[1:]), strict=True)
    return Table(path, dict(zip(names, map(tuple, cells), strict=True)), tuple(line for line, _ in rows[1:]))


def _check_names(path: Path, names: Sequence[str]) -> None:
    if all(map(_is_number, names)):
        raise RunError(f"{path}: the first line holds numbers; expected the names of the columns")
    for place, name in enumerate(names):
        if not name:
            raise RunError(f"{path}: column {place + 1} has no name in the first line")
        if name in names[:place]:
            raise RunError(f"{path}: two columns are named `{name}`; rename one")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _order(label: str) -> tuple[bool, float, str]:
    """Whole numbers by their value, then texts."""
    whole = label.strip().removeprefix("-").isdecimal()
    return not whole, int(label) if whole else 0, label
