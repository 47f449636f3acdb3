"""What Parquet has that text has not: types, missing numbers, lists, nested columns."""

import datetime
import decimal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest

from ammgraph.data.records import Records
from ammgraph.data.table_files import read_parquet
from ammgraph.data.tables import read_records
from ammgraph.diagnostics import RunError

LISTS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def stored(folder: Path, **columns: Any) -> Path:
    path = folder / "mine.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def read(path: Path, columns: tuple[str, ...] | None = None, label: str | None = None) -> Records:
    return read_records(read_parquet(path), columns, label)


def values(records: Records) -> list[list[float]]:
    return records.train.images.flatten(1).tolist()


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (pyarrow.array([True, False, True]), [1, 0, 1]),
        (pyarrow.array([1, 2, 255], pyarrow.uint8()), [1, 2, 255]),
        (pyarrow.array([0.5, 1.5, -2], pyarrow.float16()), [0.5, 1.5, -2]),
        (pyarrow.array([0.1, 0.2, 0.3], pyarrow.float32()), np.float32([0.1, 0.2, 0.3]).tolist()),
        (pyarrow.array([decimal.Decimal("1.25"), decimal.Decimal("2.50"), decimal.Decimal("0")]), [1.25, 2.5, 0]),
        (pyarrow.array([2**60, 1, 0]), [2.0**60, 1, 0]),
        (pyarrow.array([7, 8, 7]).dictionary_encode(), [7, 8, 7]),
        (pyarrow.array(["1.5", "2", "-3e1"]), [1.5, 2, -30]),  # as in CSV
    ],
)
def test_every_type_of_numbers_is_read(cells: pyarrow.Array, expected: list[float], tmp_path: Path) -> None:
    assert values(read(stored(tmp_path, **{"a.b": cells}))) == [[number] for number in expected]


@pytest.mark.parametrize(
    ("cells", "classes", "labels"),
    [
        (pyarrow.array(["u", None, "t"]).dictionary_encode(), ("t", "u"), [1, -1, 0]),
        (pyarrow.array([10.0, None, 9.0]), ("9", "10"), [1, -1, 0]),  # as pandas has whole numbers of which some miss
        (pyarrow.array([10.0, np.nan, 9.0]), ("9", "10"), [1, -1, 0]),
        (pyarrow.array([10, None, 9]), ("9", "10"), [1, -1, 0]),
        (pyarrow.array([True, None, False]), ("False", "True"), [1, -1, 0]),
        (
            pyarrow.array([datetime.date(2024, 5, 2), None, datetime.date(2024, 5, 1)]),
            ("2024-05-01", "2024-05-02"),
            [1, -1, 0],
        ),
        (pyarrow.array([2**60 + 1, 2**60, None]), (str(2**60), str(2**60 + 1)), [1, 0, -1]),
    ],
)
def test_labels_are_the_texts_of_their_cells(
    cells: pyarrow.Array, classes: tuple[str, ...], labels: list[int], tmp_path: Path
) -> None:
    records = read(stored(tmp_path, a=[1, 2, 3], y=cells), None, "y")
    assert records.classes == classes
    assert records.train.labels.tolist() == labels


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.list_(pyarrow.float32()),
        pyarrow.large_list(pyarrow.float64()),
        pyarrow.list_(pyarrow.float32(), 2),
        pyarrow.fixed_shape_tensor(pyarrow.float32(), (2,)),
    ],
)
def test_a_list_of_numbers_is_a_number_each(kind: pyarrow.DataType, tmp_path: Path) -> None:
    storage = getattr(kind, "storage_type", kind)
    cells = pyarrow.array(LISTS, storage)
    cells = pyarrow.ExtensionArray.from_storage(kind, cells) if storage is not kind else cells
    path = stored(tmp_path, a=[7, 8, 9], embedding=cells, y=["u", "v", "u"])
    records = read(path, None, "y")
    assert records.columns == ("a", "embedding_0", "embedding_1")
    assert values(records) == [[7, 1, 2], [8, 3, 4], [9, 5, 6]]
    assert values(read(path, ("embedding",))) == LISTS
    assert values(read(path, ("embedding_1", "a"))) == [[2, 7], [4, 8], [6, 9]]


def test_what_pandas_writes(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": [1.5, 2.5, 0, 3.5], "kind": pandas.Categorical([*"uvvu"]), "e": [np.ones(2)] * 4})
    frame[frame.a > 0].to_parquet(tmp_path / "mine.parquet")  # its row numbers, 0, 1 and 3, are stored too
    assert "__index_level_0__" in pyarrow.parquet.read_schema(tmp_path / "mine.parquet").names
    records = read(tmp_path / "mine.parquet", None, "kind")
    assert records.columns == ("a", "e_0", "e_1")
    assert values(records) == [[1.5, 1, 1], [2.5, 1, 1], [3.5, 1, 1]]
    assert records.classes == ("u", "v")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "lists of several lengths": (
        {"e": [[1, 2], [3], [4, 5]]},
        "record 2: the list in column `e` has 1 number, and record 1 2 numbers; expected lists of one length",
    ),
    "no list": ({"e": [[1, 2], None, [4, 5]]}, "record 2: the list in column `e` is empty, and record 1 2 numbers"),
    "empty lists": ({"e": pyarrow.array([[], []], pyarrow.list_(pyarrow.float32()))}, "record 1: .* `e` has 0 numbers"),
    "a gap in a list": ({"e": [[1, 2], [3, None]]}, "record 2: column `e_1` is empty, expected a number"),
    "nan in a list": ({"e": [[1, 2], [3, np.nan]]}, "record 2: column `e_1` is NaN or infinite"),
    "records in a record": (
        {"e": [{"u": 1}]},
        "`e` is nested, struct<u: int64>; .*or lists of numbers; leave the column out",
    ),
    "lists of lists": ({"e": [[[1]]]}, "column `e` is nested, list<.*list"),
    "lists of words": ({"e": [["u"]]}, "column `e` is nested, list<.*string"),
    "dates": ({"e": [datetime.date(2024, 5, 1)]}, "record 1: column `e` is `2024-05-01`, expected a number"),
    "null alone": ({"e": [None]}, "record 1: column `e` is empty, expected a number"),
    "a name twice": ({"e": [[1, 2]], "e_1": [1]}, "two columns are named `e_1`, one for a number of `e`; rename one"),
    "no record": ({"e": pyarrow.array([], pyarrow.float32())}, "names of columns and no records"),
    "no column": ({}, "mine.parquet has no columns"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_vector_is_told_with_its_record(case: str, tmp_path: Path) -> None:
    columns, message = WRONG[case]
    with pytest.raises(RunError, match=message):
        read(stored(tmp_path, **columns))


def test_what_nobody_asks_for_may_be_anything(tmp_path: Path) -> None:
    path = stored(tmp_path, a=[1, 2], e=[{"u": 1}, None], f=[[1], [2, 3]], when=[None, "x"])
    assert values(read(path, ("a",))) == [[1], [2]]


@pytest.mark.parametrize(
    ("label", "message"), [("e", "label `e` holds lists of numbers"), ("f", "column `f` is nested")]
)
def test_a_label_is_one_value(label: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=message):
        read(stored(tmp_path, a=[1, 2], e=[[1], [2]], f=[{"u": 1}, {"u": 2}]), ("a",), label)


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"", b"PAR1", b"PAR1 and something else PAR1"])
def test_other_files_are_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.parquet").write_bytes(content)
    with pytest.raises(RunError, match="expected a whole Parquet file"):
        read_parquet(tmp_path / "mine.parquet")


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = stored(tmp_path, a=np.arange(1000.0))
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"column `a`.*expected a whole Parquet file"):
        read(path)


def test_a_number_of_a_list_is_in_it_already(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"`data.columns` has column `e_0` twice, of which a list is several"):
        read(stored(tmp_path, e=[[1, 2], [3, 4]]), ("e", "e_0"))


def test_a_folder_of_parts_is_told(tmp_path: Path) -> None:
    (tmp_path / "parts.parquet").mkdir()
    with pytest.raises(RunError, match=r"is a folder; expected one file: .*to_parquet\(G\)` joins its parts"):
        read_parquet(tmp_path / "parts.parquet")


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, a=[1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as where it is not installed
    with pytest.raises(RunError, match=r"needs `pyarrow`, not installed here; `pip install 'ammgraph\[parquet\]'`"):
        read_parquet(path)
