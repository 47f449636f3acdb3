"""Vectors of one's own: which arrays are vectors, how they are scaled, and what is told of wrong ones."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from ammgraph.data.dataset import fingerprints, load_data, split_data
from ammgraph.data.files import read_vectors
from ammgraph.data.records import Split, checked_records
from ammgraph.data.stored import read_npz
from ammgraph.data.vectors import Scaling, column_names, fit_scaling
from ammgraph.diagnostics import RunError
from ammgraph.spec.data_sets import DATA_SETS
from ammgraph.spec.schema import Data

GOOD = np.array([[1.0, 10, 5], [3, 30, 5], [5, 20, 5], [7, 60, 5]])


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("kind", ["float32", "float64", "int16", "uint8", ">f8", ">i4", "bool"])
def test_two_axes_are_vectors_whatever_the_type_and_the_order_of_bytes(kind: str, tmp_path: Path) -> None:
    records = read_npz(save(tmp_path / "a.npz", x_train=GOOD.astype(kind), y_train=np.arange(4) % 2))
    assert records.train.kind == "vector"
    assert records.train.images.shape == (4, 3, 1, 1)
    assert records.train.images.flatten(1).tolist() == GOOD.astype(kind).astype(float).tolist()
    assert records.columns == ("x_0", "x_1", "x_2")


def test_without_labels_there_are_none(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=GOOD, x_test=GOOD[:2])
    dataset = load_data(Data(dataset="npz", path=str(path)), None)
    assert not dataset.labelled
    assert dataset.train.labels.tolist() == [0, 0, 0, 0]
    assert dataset.description.endswith("a.npz: vectors of 3, no labels; 4 training, 2 test")
    assert load_data(
        Data(dataset="npz", path=str(save(tmp_path / "b.npz", x_train=GOOD, y_train=[1] * 4))), None
    ).labelled


WRONG = {
    "words": ({"x_train": GOOD.astype(str)}, r"`x_train` is <U32, expected numbers; store numbers: a column of words"),
    "complex": ({"x_train": GOOD.astype(complex)}, "`x_train` is complex128, expected numbers"),
    "nan": (
        {"x_train": np.where(GOOD == 30, np.nan, GOOD)},
        r"a.npz: `x_train\[1\]`: column `x_1` is NaN or infinite; leave these records out, or store numbers in their",
    ),
    "infinite": (
        {"x_train": np.where(GOOD == 5, np.inf, GOOD)},
        r"`x_train\[0\]`: column `x_2` is NaN or infinite, the first of 5 such numbers in 4 records and 2 columns;",
    ),
    "beyond single precision": (
        {"x_train": np.where(GOOD == 30, 1e39, GOOD)},
        r"`x_train\[1\]`: column `x_1` is 1e\+39, beyond 1e\+37; leave these records out, or divide the column by",
    ),
    "test beyond it": ({"x_train": GOOD, "x_test": GOOD * 1e300}, r"`x_test\[0\]`: column `x_0` is 1e\+300, beyond"),
    "objects": ({"x_train": GOOD.astype(object)}, r"`x_train` holds Python objects.* `x_train.astype\(float\)` if"),
    "no records": ({"x_train": GOOD[:0]}, r"`x_train` is empty, shape \(0, 3\)"),
    "no numbers": ({"x_train": GOOD[:, :0]}, r"`x_train` is empty, shape \(4, 0\)"),
    "no labels in it": ({"x_train": GOOD, "y_train": np.zeros(0, int)}, "`y_train` is empty, expected one label"),
    "fewer labels": ({"x_train": GOOD, "y_train": np.zeros(2, int)}, "4 training vectors but 2 labels"),
    "across": ({"x_train": GOOD.T, "y_train": np.zeros(4, int)}, "its 4 examples stand last; store `x_train.T`"),
    "other test": (
        {"x_train": GOOD, "x_test": GOOD[:, :2]},
        "the training vectors are 3x1x1 float64, but the test vectors",
    ),
    "test of images": (
        {"x_train": GOOD, "x_test": np.zeros((4, 2, 2))},
        r"`x_test` has shape \(4, 2, 2\), but `x_train` holds vectors; expected \(N, D\)",
    ),
    "labels elsewhere": ({"x_train": GOOD, "labels": np.zeros(4, int)}, "no array `y_train`; found x_train, labels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_vectors_are_errors_that_say_why(case: str, tmp_path: Path) -> None:
    arrays, message = WRONG[case]
    with pytest.raises(RunError, match=message):
        read_npz(save(tmp_path / "a.npz", **arrays))


# ---------------------------------------------------------------------------------------- scales


def test_the_constants_are_those_of_the_training_vectors() -> None:
    vectors = torch.from_numpy(GOOD)[:, :, None, None]
    standard = fit_scaling("standardize", "abc", vectors)
    assert standard.shift == pytest.approx((4, 30, 5))
    assert standard.scale == pytest.approx((5**0.5, 350**0.5, 1))  # one that never changes keeps its unit
    assert fit_scaling("minmax", "abc", vectors) == Scaling(("a", "b", "c"), (1.0, 10.0, 5.0), (6.0, 50.0, 1.0))
    assert fit_scaling("none", "abc", vectors) == Scaling(("a", "b", "c"), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_scaled_vectors_come_back() -> None:
    vectors = torch.from_numpy(GOOD)[:, :, None, None]
    for kind in ("standardize", "minmax", "none"):
        scaling = fit_scaling(kind, "abc", vectors)
        assert torch.allclose(scaling.undo(scaling.apply(vectors)), vectors, rtol=1e-6)


@pytest.mark.parametrize("kind", ["standardize", "minmax", "none"])
def test_only_training_vectors_say_how_all_are_scaled(kind: str) -> None:
    random = np.random.default_rng(0)
    train, test = (torch.from_numpy(random.normal(3, 2, (count, 2, 1, 1))) for count in (20, 10))
    labels = torch.zeros(20, dtype=torch.int64)
    records = checked_records(
        Split(train, labels, "vector"), Split(test, labels[:10], "vector"), ("0",), "here", ("a", "b")
    )
    dataset = split_data(Data(dataset="npz", path="-", validation=5, scale=kind), records)
    held = dataset.scaling.undo(dataset.validation.images).flatten(1).numpy()
    left = np.array([row for row in train.flatten(1).numpy() if not np.isclose(held, row).all(1).any()])
    shift, scale = {
        "standardize": (left.mean(0), left.std(0)),
        "minmax": (left.min(0), np.ptp(left, axis=0)),
        "none": (np.zeros(2), np.ones(2)),
    }[kind]
    assert len(left) == 15
    assert np.allclose(dataset.train.images.flatten(1).numpy(), (left - shift) / scale, atol=1e-6)
    assert np.allclose(dataset.test.images.flatten(1).numpy(), (test.flatten(1).numpy() - shift) / scale, atol=1e-6)


def test_a_run_keeps_its_constants_where_the_data_have_changed(tmp_path: Path) -> None:
    began = load_data(Data(dataset="npz", path=str(save(tmp_path / "a.npz", x_train=GOOD))), None)
    other = Data(dataset="npz", path=str(save(tmp_path / "b.npz", x_train=GOOD[:3])))
    again = load_data(other, None, scaling=began.scaling)
    assert again.scaling == began.scaling
    assert torch.equal(again.train.images, began.train.images[:3])
    assert fingerprints(again) != fingerprints(began)
    wide = Data(dataset="npz", path=str(save(tmp_path / "c.npz", x_train=np.ones((4, 5)))))
    with pytest.raises(RunError, match="has vectors of 5, and the run began with vectors of 3"):
        load_data(wide, None, scaling=began.scaling)


@pytest.mark.parametrize("kind", ["standardize", "minmax", "none"])
def test_numbers_that_single_precision_does_not_tell_apart_are_out_of_range(kind: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.npz", x_train=GOOD * [1, 1e-300, 1])
    with pytest.raises(RunError, match=r"a.npz: column `x_1` runs from 1e-299 to 6e-299, .*divide the column by its"):
        load_data(Data(dataset="npz", path=str(path), scale=kind), None)
    divided = save(tmp_path / "b.npz", x_train=GOOD * [1, 1e-300, 1] / [1, 6e-299, 1])
    assert load_data(Data(dataset="npz", path=str(divided), scale=kind), None).train.images.isfinite().all()


def test_a_test_vector_far_from_those_of_training_is_out_of_range(tmp_path: Path) -> None:
    far = np.where(GOOD == 30, 1e30, GOOD)
    path = save(tmp_path / "a.npz", x_train=GOOD * [1, 1e-30, 1], x_test=far)
    with pytest.raises(
        RunError,
        match=r"a.npz: test, record 1 counted from 0: column `x_1` is 1e\+30, and as .* scaled .*e\+58, beyond",
    ):
        load_data(Data(dataset="npz", path=str(path)), None)


def test_large_numbers_as_they_are_have_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(save(tmp_path / "a.npz", x_train=GOOD + np.array([0, 1e9, 0])))
    load_data(Data(dataset="npz", path=path, scale="none"), None)
    assert "column `x_1` runs from 1000000010 to 1000000060, and with `data.scale: none`" in caplog.text
    assert "`data.scale: standardize` scales each column" in caplog.text
    caplog.clear()
    load_data(Data(dataset="npz", path=path), None)
    load_data(Data(dataset="npz", path=str(save(tmp_path / "b.npz", x_train=GOOD)), scale="none"), None)
    assert not caplog.text


def test_vectors_that_are_all_the_same_have_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_data(Data(dataset="npz", path=str(save(tmp_path / "a.npz", x_train=GOOD * 0 + 5))), None)
    assert "a.npz: all training vectors are the same, and there is nothing to tell apart" in caplog.text
    caplog.clear()
    load_data(Data(dataset="npz", path=str(save(tmp_path / "b.npz", x_train=GOOD * [0, 0, 1] + [0, 0, 1]))), None)
    load_data(Data(dataset="npz", path=str(save(tmp_path / "c.npz", x_train=GOOD))), None)
    assert caplog.text.count("all training vectors are the same") == 1


# ---------------------------------------------------------------------------------------- with a name


@pytest.mark.parametrize(
    ("name", "load"), [("wine", load_wine), ("breast_cancer", load_breast_cancer), ("iris", load_iris)]
)
def test_tables_of_scikit_learn_are_what_is_known_of_them(name: str, load) -> None:
    dataset, table, known = load_data(Data(dataset=name, scale="none"), None), load(), DATA_SETS[name]
    assert dataset.image_shape == known.shape
    assert (len(dataset.train), dataset.test, len(dataset.classes)) == (known.train, None, known.classes)
    assert np.array_equal(dataset.train.points.numpy(), table.data.astype(np.float32))
    assert dataset.train.labels.tolist() == table.target.tolist()
    assert dataset.classes == tuple(table.target_names)
    assert dataset.scaling.columns == tuple(table.feature_names)


# ---------------------------------------------------------------------------------------- vectors alone


def test_vectors_to_encode_come_from_an_npz_or_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("c,unknown,a,b\n5,x,1,10\n5,y,3,30\n")
    (tmp_path / "plain.csv").write_text("u,v,w\n1,10,5\n3,30,5\n")
    paths = [
        (save(tmp_path / "one.npz", whatever=GOOD[:2]), "abc"),
        (save(tmp_path / "x.npz", x=GOOD[:2], other=GOOD), "abc"),
        (tmp_path / "a.csv", "abc"),
        (tmp_path / "plain.csv", column_names(3)),
    ]
    for path, columns in paths:
        vectors, names = read_vectors(path, columns)
        assert vectors.flatten(1).tolist() == GOOD[:2].tolist(), path
        assert names == ("0", "1")


@pytest.mark.parametrize("shape", [(4, 3, 1), (4, 1, 1, 3), (3,)])
def test_vectors_to_encode_of_another_shape_are_told_with_what_to_store(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = GOOD[: 4 if len(shape) > 1 else 1].reshape(shape)
    with pytest.raises(RunError, match=r"`x` has shape .*; expected \(N, 3\); store `") as caught:
        read_vectors(save(tmp_path / "a.npz", x=x), column_names(3))
    stored = eval(str(caught.value).split("store `")[1].split("`")[0], {"x": x})
    vectors, _ = read_vectors(save(tmp_path / "b.npz", x=stored), column_names(3))
    assert vectors.flatten(1).tolist() == GOOD[: len(vectors)].tolist()


def test_numbers_without_names_are_told_from_a_table_with_more_columns(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text("a,b,kind\n1,10,u\n")
    with pytest.raises(RunError, match=r"has 3 columns, .* vectors of 2 .* these 2 columns alone, .*`x_0` to `x_1`"):
        read_vectors(tmp_path / "wide.csv", column_names(2))
    (tmp_path / "alone.csv").write_text("a,b\n1,10\n")
    (tmp_path / "named.csv").write_text("x_1,kind,x_0\n10,u,1\n")
    for name in ("alone.csv", "named.csv"):
        assert read_vectors(tmp_path / name, column_names(2))[0].flatten(1).tolist() == [[1, 10]]


def test_what_cannot_be_encoded_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("alcohl,ash\n1,2\n")
    cases = {
        save(
            tmp_path / "a.npz", x=GOOD
        ): r"`x` has shape \(4, 3\), and the model reads vectors of 2; expected \(N, 2\)",
        save(tmp_path / "b.npz", p=GOOD, q=GOOD): "which array holds vectors. found p, q",
        tmp_path / "a.csv": "no column `alcohol`, which the run was trained with; did you mean `alcohl`",
        tmp_path / "none.csv": "there is no ",
    }
    for path, message in cases.items():
        with pytest.raises(RunError, match=message):
            read_vectors(path, ("alcohol", "ash"))
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(RunError, match=re.escape("neither a .csv, a .parquet nor an .npz file")):
        read_vectors(tmp_path / "text.npz", ("a",))
