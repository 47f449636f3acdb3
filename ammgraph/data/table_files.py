"""Readers of tables: CSV by the standard library, Parquet by pyarrow, which is an extra. Nothing in them is run."""

import codecs
import csv
import io
import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ammgraph.data.labels import is_number
from ammgraph.data.records import reading, refuse_other_than_a_file
from ammgraph.data.tables import Column, Table, check_names
from ammgraph.data.vectors import Array
from ammgraph.diagnostics import RunError, counted

_SEPARATORS = (",", ";", "\t")
_MAGIC = b"PAR1"  # what a Parquet file begins with
_TABLE = "expected a table in UTF-8 with a first line of names"
_WHOLE = "expected a whole Parquet file, as pandas or pyarrow write it"
# What a spreadsheet takes for the first letter of a formula, full-width ones among them.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def read_table(path: Path) -> Table:
    """The table of a file, as the end of its name says.

    Raises:
        RunError: as its reader.
    """
    return TABLE_READERS[path.suffix.lower()](path)


# --------------------------------------------------------------------------------------------------- CSV


def no_formula(text: str) -> str:
    """The text with an apostrophe before what a spreadsheet would compute.

    Reference:
        OWASP, CSV Injection.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def _without_apostrophe(text: str) -> str:
    """The text before `no_formula`."""
    return text[1:] if text.startswith(tuple(f"'{letter}" for letter in _FORMULA)) else text


def read_csv(path: Path) -> Table:
    """The cells of a CSV file in UTF-8: a line of names, a record a line; commas, semicolons or tabs between cells.

    Raises:
        RunError: it is no such file, has no line of names or no records, or a line has another number of cells.
    """
    refuse_other_than_a_file(path)
    with reading(str(path), _TABLE):
        text = _decoded(path, path.read_bytes())
    head = re.sub('"[^"]*"', "", text).lstrip("\r\n").partition("\n")[0]  # without what names hold in quotes
    separator = max(_SEPARATORS, key=head.count)
    with reading(str(path), "expected a table, as spreadsheets write it"):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    if not rows:
        raise RunError(f"{path} is empty; expected a first line of names, and a record in each line below")
    names = [_without_apostrophe(name.strip()) for name in rows[0][1]]
    if all(map(is_number, names)):
        raise RunError(f"{path}: the first line holds numbers; expected the names of the columns")
    check_names(path, names)
    if len(rows) == 1:
        raise RunError(f"{path} has a line of names and no records")
    for line, row in rows[1:]:
        if len(row) != len(names):
            raise RunError(
                f"{path}, line {line}: {counted(len(row), 'cell')}, but the first line names "
                f"{counted(len(names), 'column')}; a cell that holds `{separator}` stands in quotes"
            )
    cells = zip(*(row for _, row in rows[1:]), strict=True)
    columns = {name: _written(column) for name, column in zip(names, cells, strict=True)}
    return Table(path, columns, tuple(line for line, _ in rows[1:]))


_FORMATS = {  # by what a file begins with
    _MAGIC: "a Parquet file; `dataset: parquet` reads it, and it ends in .parquet",
    b"PK\x03\x04": "a zip archive, as an .npz or a spreadsheet's .xlsx is; `dataset: npz` reads an .npz, and a "
    "sheet is saved as CSV in UTF-8",
    b"\x93NUMPY": "an array of numpy's; `dataset: npy` reads it",
    b"\x1f\x8b": "compressed; unpack it, `gzip -d`",
    codecs.BOM_UTF16_LE: "in UTF-16; save it in UTF-8, as `iconv -f UTF-16 -t UTF-8` does",
    codecs.BOM_UTF16_BE: "in UTF-16; save it in UTF-8, as `iconv -f UTF-16 -t UTF-8` does",
}


def _decoded(path: Path, content: bytes) -> str:
    """The text of a table.

    Raises:
        RunError: it is none, or in no UTF-8.
    """
    if found := next((told for start, told in _FORMATS.items() if content.startswith(start)), None):
        raise RunError(f"{path} is {found}; {_TABLE}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RunError(
            f"{path}, line {line}: a letter is not in UTF-8, but in Latin-1 or another encoding; save the table in "
            f"UTF-8, as `iconv -f LATIN1 -t UTF-8` does; {_TABLE}"
        ) from error
    if (place := text.find("\0")) >= 0:
        raise RunError(f"{path}, line {text.count(chr(10), 0, place) + 1}: a NUL, which is no text; {_TABLE}")
    return text


def _written(cells: tuple[str, ...]) -> Column:
    return Column(lambda: cells)


# --------------------------------------------------------------------------------------------------- Parquet


def needs_pyarrow(what: str) -> None:
    """Refuse what is Parquet where nothing can read or write it.

    Raises:
        RunError: pyarrow is not installed.
    """
    if find_spec("pyarrow") is None:
        raise RunError(f"{what} needs `pyarrow`, not installed here; `pip install 'ammgraph[parquet]'` brings it")


def read_parquet(path: Path) -> Table:
    """The columns of a Parquet file, each read when it is asked for; a list of n numbers is n columns.

    Cells that are null are empty. What pandas keeps there of its row numbers, `__index_level_0__`, is no column.

    Raises:
        RunError: pyarrow is not installed; it is no such file, has no columns or no records, or two of one name.
    """
    file = _opened(path)
    fields = [field for field in file.schema_arrow if not field.name.startswith("__index_level_")]
    check_names(path, [field.name for field in fields])
    if not fields or not file.metadata.num_rows:
        raise RunError(f"{path} has {'names of columns and no records' if fields else 'no columns'}")

    @cache
    def values(name: str) -> Any:
        with reading(f"{path}, column `{name}`", _WHOLE):
            return _plain(file.read(columns=[name]).column(name).combine_chunks())

    columns, lists = dict[str, Column](), dict[str, tuple[str, ...]]()
    for field in fields:
        found = _column_or_columns(path, field, values)
        if isinstance(found, Column):
            columns[field.name] = found
            continue
        lists[field.name] = tuple(f"{field.name}_{place}" for place in range(len(found)))
        for part, column in zip(lists[field.name], found, strict=True):
            if part in columns or part in file.schema_arrow.names:
                raise RunError(
                    f"{path}: two columns are named `{part}`, one for a number of `{field.name}`; rename one"
                )
            columns[part] = column
    return Table(path, columns, range(1, file.metadata.num_rows + 1), "record", lists)


def _opened(path: Path) -> Any:
    refuse_other_than_a_file(path)
    if path.is_dir():
        raise RunError(f"{path} is a folder; expected one file: `pandas.read_parquet(F).to_parquet(G)` joins its parts")
    with reading(str(path), _WHOLE), path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise RunError(
                f"{path} is not a Parquet file; {_WHOLE}; a table as text is `dataset: csv`, and ends in .csv"
            )
    needs_pyarrow(str(path))
    import pyarrow.parquet  # an extra

    with reading(str(path), _WHOLE):
        return pyarrow.parquet.ParquetFile(path)


def _column_or_columns(path: Path, field: Any, values: Callable[[str], Any]) -> Column | list[Column]:
    """A field's column, or of lists of numbers those of their numbers; what is nested otherwise says so when asked."""
    from pyarrow import compute, types

    name, kind = field.name, getattr(field.type, "storage_type", field.type)
    if not types.is_nested(kind):
        return _column(f"{path}, column `{name}`", lambda: values(name))

    def refused(what: str) -> Column:
        def told() -> Any:
            raise RunError(f"{path}{what}; leave the column out of `data.columns`, or store a column for each number")

        return Column(told, told)

    if types.is_map(kind) or not hasattr(kind, "value_type") or not _is_number(kind.value_type):
        return refused(f": column `{name}` is nested, {kind}; expected numbers or texts, or lists of numbers")
    found = values(name)
    lengths = compute.list_value_length(found).fill_null(-1).to_numpy(zero_copy_only=False)
    expected = lengths[0]
    if (wrong := np.flatnonzero((lengths != expected) | (lengths < 1))).size:
        at = int(wrong[0])
        has = f"has {counted(int(lengths[at]), 'number')}" if lengths[at] >= 0 else "is empty"
        before = f", and record 1 {counted(int(expected), 'number')}" if at else ""
        return refused(f", record {at + 1}: the list in column `{name}` {has}{before}; expected lists of one length")
    flat = found.flatten()

    def part(place: int) -> Callable[[], Any]:
        return lambda: flat.take(np.arange(place, len(flat), expected))

    return [_column(f"{path}, column `{name}`", part(place)) for place in range(expected)]


def _plain(values: Any) -> Any:
    """Values of a type of their own as they are stored, and words for numbers of words."""
    values = getattr(values, "storage", values)
    return values.dictionary_decode() if hasattr(values, "dictionary_decode") else values


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)


def _numbers(values: Any) -> Array | None:
    """Float64, where they are numbers and none is missing."""
    if values.null_count or not _is_number(values.type):
        return None
    return np.asarray(values.cast("float64", safe=False).to_numpy(zero_copy_only=False))


def _column(what: str, values: Callable[[], Any]) -> Column:
    def texts() -> list[str]:
        with reading(what, "leave the column out, or store it as texts"):
            return [_text(value) for value in values().to_pylist()]

    return Column(texts, lambda: _numbers(values()))


def _text(value: object) -> str:
    """What a CSV file would hold; whole numbers, which pandas stores as floats where one is missing, as such."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


TABLE_READERS: dict[str, Callable[[Path], Table]] = {".csv": read_csv, ".parquet": read_parquet}
