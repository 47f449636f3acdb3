"""Tables of one's own: columns by name, and every wrong cell told with its place and its column."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch

from ammgraph.data.dataset import load_data
from ammgraph.data.labels import is_number
from ammgraph.data.records import Records
from ammgraph.data.table_files import read_csv, read_table
from ammgraph.data.tables import read_records
from ammgraph.diagnostics import RunError
from ammgraph.spec.schema import Data

KINDS = ("csv", "parquet")
WINES = "alcohol,ash,grower,hue\n13.2,2.1,b,1\n12.5,2.4,a,0.5\n\n14,2,b,0.75\n"


def cell(text: str, numbers: bool) -> float | str | None:
    return None if not text.strip() else float(text) if numbers else text


def table(folder: Path, text: str, kind: str = "csv") -> Path:
    """The same table as text, or as Parquet: numbers where a column has nothing else, empty cells are null."""
    path = folder / f"wines.{kind}"
    if kind == "csv":
        path.write_bytes(text.encode("utf-8"))
        return path
    names, *rows = (row for row in csv.reader(text.splitlines()) if row)
    columns = [[row[place] for row in rows] for place in range(len(names))]
    numbers = [all(is_number(text) for text in column if text.strip()) for column in columns]
    typed = [[cell(text, kind) for text in column] for column, kind in zip(columns, numbers, strict=True)]
    pyarrow.parquet.write_table(pyarrow.table(list(map(pyarrow.array, typed)), names=names), path)
    return path


def read(path: Path, columns: Sequence[str] | None, label: str | None) -> Records:
    return read_records(read_table(path), columns, label)


def values(records) -> list[list[float]]:
    return records.train.images.flatten(1).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_all_columns_but_the_label_are_the_vector(kind: str, tmp_path: Path) -> None:
    records = read(table(tmp_path, WINES, kind), None, "grower")
    assert records.columns == ("alcohol", "ash", "hue")
    assert values(records) == [[13.2, 2.1, 1], [12.5, 2.4, 0.5], [14, 2, 0.75]]
    assert records.classes == ("a", "b")
    assert records.train.labels.tolist() == [1, 0, 1]
    assert records.train.images.dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
def test_columns_may_be_chosen_and_their_order_is_as_written(kind: str, tmp_path: Path) -> None:
    records = read(table(tmp_path, WINES, kind), ("hue", "alcohol"), None)
    assert values(records) == [[1, 13.2], [0.5, 12.5], [0.75, 14]]
    assert not records.labelled


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_spreadsheets_separate_and_end_in_their_own_ways(separator: str, end: str, mark: str, tmp_path: Path) -> None:
    text = (
        mark
        + f'a{separator}"b{separator}c"{separator}y{end}1{separator} 2 {separator}no{end}3{separator}4{separator}yes'
    )
    records = read(table(tmp_path, text), None, "y")
    assert records.columns == ("a", f"b{separator}c")
    assert values(records) == [[1, 2], [3, 4]]
    assert records.classes == ("no", "yes")


@pytest.mark.parametrize("kind", KINDS)
def test_whole_numbers_are_classes_in_their_own_order(kind: str, tmp_path: Path) -> None:
    records = read(table(tmp_path, "a,y\n1,10\n2,9\n3,-1\n4,x\n", kind), None, "y")
    assert records.classes == ("-1", "9", "10", "x")
    assert records.train.labels.tolist() == [2, 1, 0, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_whose_label_is_empty_has_none(kind: str, tmp_path: Path) -> None:
    records = read(table(tmp_path, "a,y\n1,v\n2,\n3, \n4,u\n", kind), None, "y")
    assert records.classes == ("u", "v")
    assert records.train.labels.tolist() == [1, -1, -1, 0]
    assert values(records) == [[1], [2], [3], [4]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_is_read_without_space_and_equal_numbers_are_one(kind: str, tmp_path: Path) -> None:
    spaced = read(table(tmp_path, "a,y\n1,u \n2,u\n3, v\n", kind), None, "y")
    assert (spaced.classes, spaced.train.labels.tolist()) == (("u", "v"), [0, 0, 1])
    numbers = read(table(tmp_path, "a,y\n1,0\n2,0.0\n3, 0\n4,1\n", kind), None, "y")
    assert (numbers.classes, numbers.train.labels.tolist()) == (("0", "1"), [0, 0, 0, 1])


WRONG_TEXTS = {
    "nothing": ("", None, "is empty; expected a first line of names"),
    "names alone": ("a,b\n", None, "has a line of names and no records"),
    "no names": ("1,2\n3,4\n", None, "the first line holds numbers; expected the names of the columns"),
    "short line": ("a,b\n1,2\n3\n", None, "line 3: 1 cell, but the first line names 2 columns"),
    "long line": ("a,b\n1,2,3\n", None, "line 2: 3 cells, .* a cell that holds `,` stands in quotes"),
    "open quotes": ('a,b\n"1,2\n', None, "cannot read"),
    "parquet": ("PAR1....", None, "is a Parquet file; `dataset: parquet` reads it"),
}
# Columns, label, and the message, in which AT is the place of a record.
WRONG = {
    "a nameless column": ("a,\n1,2\n", None, None, "column 2 has no name"),
    "a name twice": ("a,a\n1,2\n", None, None, "two columns are named `a`"),
    "label": (WINES, None, "growers", "has no column `growers`, which `data.label` names; did you mean `grower`"),
    "column": (WINES, ("alkohol",), None, "no column `alkohol`, which `data.columns` names; did you mean `alcohol`"),
    "far column": (WINES, ("zinc",), None, "no column `zinc`.*; it has `alcohol`, `ash`, `grower`, `hue`"),
    "words": (
        WINES,
        None,
        None,
        "AT 1: column `grower` is `b`, expected a number; leave .* or say that it is the label",
    ),
    "empty": ("a,b\n1,2\n,3\n", None, None, "AT 2: column `a` is empty, expected a number"),
    "nan": ("a,b\n1,2\n1,nan\n", None, None, "AT 2: column `b` is NaN or infinite"),
    "huge": ("a,b\n1,2\n1,1e300\n", None, None, r"AT 2: column `b` is 1e\+300, beyond 1e\+37; leave these records out"),
    "a column twice": ("a,b\n1,2\n", ("a", "b", "a"), None, "`data.columns` has column `a` twice"),
    "a word for a missing label": (
        "a,y\n1,u\n1,NA\n",
        None,
        "y",
        "AT 2: the label `y` is `NA`, .* the cell empty",
    ),
    "another script": ("a,b\n1,2\n1,\uff11\uff12\n", None, None, "AT 2: column `b` is .*write `12` if it is a number"),
    "a decimal comma": ('a,b\n1,2\n1,"1,5"\n', None, None, "AT 2: .* write `1.5` if its comma stands before decimals"),
    "no label": ("a,y\n1,\n2, \n", None, "y", "the label `y` is empty in every record; .*leave `data.label` out"),
    "label alone": ("y\nu\n", None, "y", "no column beside the label `y`"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", WRONG)
def test_wrong_tables_are_errors_that_say_where(case: str, kind: str, tmp_path: Path) -> None:
    text, columns, label, message = WRONG[case]
    places = {"csv": lambda at: f"line {int(at[1]) + 1}", "parquet": lambda at: f"record {at[1]}"}
    with pytest.raises(RunError, match=re.sub(r"AT (\d)", places[kind], message)):
        read(table(tmp_path, text, kind), columns, label)


@pytest.mark.parametrize("case", WRONG_TEXTS)
def test_texts_that_are_no_table_are_told(case: str, tmp_path: Path) -> None:
    text, columns, message = WRONG_TEXTS[case]
    with pytest.raises(RunError, match=message):
        read(table(tmp_path, text), columns, None)


OTHER_FILES = {
    "UTF-16": ("a,y\n1,2\n".encode("utf-16"), r"is in UTF-16; save it in UTF-8.*expected a table in UTF-8"),
    "Latin-1": ("a,y\n1,é\n".encode("latin-1"), r", line 2: a letter is not in UTF-8, .*; save the table in UTF-8"),
    "an archive": (b"PK\x03\x04....", "is a zip archive, as an .npz .*`dataset: npz` reads an .npz"),
    "an array": (b"\x93NUMPY\x01\x00", "is an array of numpy's; `dataset: npy` reads it"),
    "compressed": (b"\x1f\x8b\x08", "is compressed; unpack it"),
    "NUL": (b"a,y\n1,u\n1,u\x00\n", ", line 3: a NUL, which is no text"),
}


@pytest.mark.parametrize("case", OTHER_FILES)
def test_files_of_another_kind_say_what_they_look_like(case: str, tmp_path: Path) -> None:
    content, message = OTHER_FILES[case]
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(RunError, match=message) as caught:
        read_csv(tmp_path / "a.csv")
    assert "Error" not in str(caught.value)


def test_a_table_without_names_says_so_where_a_column_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no column `kind`, .*; its first line holds numbers, expected the names"):
        read(table(tmp_path, "1.5,2,u\n1,2,v\n"), None, "kind")
    with pytest.raises(RunError, match=r"it has `a`, `y`$"):
        read(table(tmp_path, "a,y\n1,2\n"), None, "kind")


def test_other_bytes_than_utf8_are_told(tmp_path: Path) -> None:
    path = tmp_path / "wines.csv"
    path.write_bytes("größe,y\n1,2\n".encode("latin-1"))
    with pytest.raises(RunError, match="expected a table in UTF-8"):
        read_csv(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_a_data_set(kind: str, tmp_path: Path) -> None:
    table(tmp_path, WINES, kind)
    dataset = load_data(Data(dataset=kind, path=f"wines.{kind}", label="grower", scale="minmax"), tmp_path)
    assert dataset.description.endswith(f"wines.{kind}: vectors of 3, 2 classes; 3 training, no test")
    assert dataset.train.points.amin(0).tolist() == [0, 0, 0]
    assert dataset.train.points.amax(0).tolist() == [1, 1, 1]


def test_separators_within_quotes_separate_nothing(tmp_path: Path) -> None:
    path = table(tmp_path, '"length, cm";"width, cm";grower\n1;2;a\n3;4;b\n')
    records = read_records(read_csv(path), None, "grower")
    assert (records.columns, records.classes) == (("length, cm", "width, cm"), ("a", "b"))
    assert records.train.held().flatten(1).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("letter", ["\u2028", "\x85", "\x0c", "\x1c"])
def test_lines_end_at_a_line_s_end_alone(letter: str, tmp_path: Path) -> None:
    path = table(tmp_path, f"a,word\n1,one{letter}two\n3,z\nx,z\n")
    found = read_csv(path)
    assert found.columns["word"].texts() == (f"one{letter}two", "z", "z")
    with pytest.raises(RunError, match="line 4: column `a` is `x`"):
        read_records(found, ["a"], "word")
