"""Arrays in files of their own, `.npy`; what `.npz` has of its own is in `test_files`."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ammgraph.data.dataset import changed_splits, fingerprints, load_data
from ammgraph.data.on_disk import OnDisk
from ammgraph.data.stored import read_npy
from ammgraph.diagnostics import RunError
from ammgraph.spec.schema import Data, Labeled

RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.normal(5, [1, 2, 30], (40, 3))
LABELS = np.arange(40) % 4 - 1
BYTES = RANDOM.integers(0, 256, (40, 6, 6, 3), np.uint8)
KINDS = {
    "vectors": VECTORS,
    "of single precision": VECTORS.astype(np.float32),
    "big-endian": VECTORS.astype(">f8"),
    "whole numbers": BYTES[:, 0, :, 0].astype(np.int16),
    "grey images": BYTES[..., 0],
    "images in colour": BYTES,
    "channels first": BYTES.transpose(0, 3, 1, 2).copy(),
    "float images": BYTES / 255,
}


def store(folder: Path, examples: np.ndarray, **more: np.ndarray) -> Path:
    """The same arrays as a folder and as an .npz beside it."""
    arrays = {"x_train": examples[:30], "x_test": examples[30:], "y_train": LABELS[:30], "y_test": LABELS[30:], **more}
    (folder / "arrays").mkdir()
    for name, array in arrays.items():
        np.save(folder / "arrays" / f"{name}.npy", array)
    np.savez(folder / "arrays.npz", **arrays)
    return folder / "arrays"


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_arrays_gives_what_an_npz_gives(kind: str, tmp_path: Path) -> None:
    store(tmp_path, KINDS[kind])
    section = {"validation": 5, "labeled": Labeled(count="all")}
    on_disk = load_data(Data(dataset="npy", path="arrays", **section), tmp_path)
    held = load_data(Data(dataset="npz", path="arrays.npz", **section), tmp_path)
    assert isinstance(on_disk.train.images, OnDisk)
    for one, other in ((on_disk.train, held.train), (on_disk.validation, held.validation), (on_disk.test, held.test)):
        assert torch.equal(one.held(), other.images)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.points, other.points)
        assert (one.kind, one.images.dtype) == (other.kind, other.images.dtype)
    assert changed_splits(fingerprints(held), on_disk) == []
    assert on_disk.classes == held.classes
    assert on_disk.scaling == held.scaling


def test_statistics_in_blocks_are_those_of_all_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ammgraph.data.on_disk._BLOCK", 21)
    store(tmp_path, VECTORS)
    for scale, shift, unit in (
        ("standardize", VECTORS[:30].mean(0), VECTORS[:30].std(0)),
        ("minmax", VECTORS[:30].min(0), np.ptp(VECTORS[:30], 0)),
        ("none", np.zeros(3), np.ones(3)),
    ):
        scaling = load_data(Data(dataset="npy", path="arrays", scale=scale), tmp_path).scaling
        assert scaling.shift == pytest.approx(shift, rel=1e-12)
        assert scaling.scale == pytest.approx(unit, rel=1e-12)


def test_one_file_is_training_examples_without_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VECTORS)
    records = read_npy(tmp_path / "x.npy")
    assert np.array_equal(records.train.held().flatten(1), VECTORS)
    assert (records.test, records.labelled) == (None, False)


def test_a_layout_is_a_file_too(tmp_path: Path) -> None:
    images = RANDOM.integers(0, 256, (40, 3, 5, 3), np.uint8)
    folder = store(tmp_path, images)
    with pytest.raises(
        RunError, match=r'both axis 1 and axis 3 could be channels; say `numpy.save\("layout.npy", "NHWC"'
    ):
        read_npy(folder)
    np.save(folder / "layout.npy", "NHWC")
    assert read_npy(folder).train.images.shape == (30, 3, 3, 5)


WRONG = {
    "no vectors": ({"x_train.npy": None}, "no array `x_train`; found"),
    "no labels": ({"y_train.npy": None, "y_trian.npy": LABELS}, "no array `y_train`.*rename `y_trian` to `y_train`"),
    "NaN": (
        {"x_train.npy": np.where(np.eye(30, 3) == 1, np.nan, 1.0)},
        r"`x_train\[0\]`: column `x_0` is NaN or infinite, the first of 3 such numbers",
    ),
    "texts": ({"x_train.npy": np.full((30, 3), "a")}, "`x_train` is <U1, expected numbers"),
    "objects": ({"x_train.npy": np.full((30, 3), None)}, "`x_train` holds Python objects, which are not read"),
    "object labels": (
        {"y_train.npy": np.full(30, None)},
        r"`y_train` holds Python objects.* in y_train\]\)`",
    ),
    "empty": ({"x_train.npy": np.zeros((0, 3))}, "`x_train` is empty"),
    "columns": ({"x_train.npy": np.asfortranarray(VECTORS[:30])}, r"do not lie one after another; store `x_train.copy"),
    "number": ({"x_train.npy": np.zeros(())}, r"`x_train` has shape \(\)"),
    "too few": ({"x_train.npy": VECTORS[:20]}, "20 training vectors but 30 labels"),
    "no file": ({"x_train.npy": b"PK.."}, "x_train.npy is not an .npy file"),
    "cut": ({"x_train.npy": b"\x93NUMPY\x01\x00"}, "cannot read .*x_train.npy"),
    "pickle": ({"x_train.npy": pickle.dumps(1)}, "x_train.npy is not an .npy file"),
    "other test": ({"x_test.npy": VECTORS[30:, :2]}, "training vectors are 3x1x1 float64, but the test vectors 2x1x1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_errors_that_say_why(case: str, tmp_path: Path) -> None:
    changed, message = WRONG[case]
    folder = store(tmp_path, VECTORS)
    for name, content in changed.items():
        (folder / name).unlink(missing_ok=True)
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        elif content is not None:
            np.save(folder / name, content)
    with pytest.raises(RunError, match=message):
        read_npy(folder)


def test_a_file_that_was_cut_is_told(tmp_path: Path) -> None:
    folder = store(tmp_path, VECTORS)
    content = (folder / "x_train.npy").read_bytes()
    (folder / "x_train.npy").write_bytes(content[:-100])
    with pytest.raises(RunError, match=r"cannot read .*x_train.npy .*expected a whole .npy file"):
        read_npy(folder)


def test_a_wrong_number_in_a_later_part_of_a_file_is_told_with_its_place(tmp_path: Path) -> None:
    vectors = np.zeros((3000, 1000), np.float32)
    vectors[2500, 7] = np.nan
    folder = store(tmp_path, VECTORS)
    np.save(folder / "x_train.npy", vectors)
    np.save(folder / "y_train.npy", np.zeros(3000, int))
    with pytest.raises(RunError, match=r"`x_train\[2500\]`: column `x_7` is NaN or infinite; leave"):
        read_npy(folder)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e38])
def test_a_number_that_is_none_is_told_with_its_row(value: float, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("ammgraph.data.on_disk._BLOCK", 30)
    values = VECTORS.copy()
    values[27, 1] = value
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(RunError, match=r"x\.npy: `x(_train)?\[27\]`: column `x_1` is "):
        read_npy(tmp_path / "x.npy")


def test_a_number_that_was_changed_later_is_told_with_its_row_in_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VECTORS)
    data = load_data(Data(dataset="npy", path="x.npy", validation=5), tmp_path)
    changed = np.load(tmp_path / "x.npy", mmap_mode="r+")
    changed[11, 2] = np.nan
    changed.flush()
    batch = torch.arange(len(data.train)).flip(0)  # which row 11 is of a batch is another number
    with pytest.raises(RunError, match=r"`x_train\[11\]`: column `x_2` is NaN or infinite"):
        [split.images[at] for split, at in ((data.train, batch), (data.validation, torch.arange(5)))]


def test_a_number_far_from_those_of_training_is_told_with_its_row_in_the_file(tmp_path: Path) -> None:
    test = np.zeros((9, 3))
    test[6, 0] = 1e30
    store(tmp_path, VECTORS * 1e-20)
    np.save(tmp_path / "arrays" / "x_test.npy", test)
    np.save(tmp_path / "arrays" / "y_test.npy", np.zeros(9, np.int64))
    with pytest.raises(
        RunError, match=r"record 6 counted from 0: column `x_0` is 1e\+30, and as the training data are"
    ):
        load_data(Data(dataset="npy", path="arrays"), tmp_path).test.images[torch.tensor([2, 8, 6])]
