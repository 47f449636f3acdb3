import io
import os
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ammgraph.data.dataset import load_data
from ammgraph.data.files import read_folder, read_images
from ammgraph.data.stored import read_npz
from ammgraph.diagnostics import RunError
from ammgraph.spec.schema import Data

# --------------------------------------------------------------------------------------------------- npz


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def arrays(images, labels=None, **more):
    return {"x_train": images, "y_train": np.arange(len(images)) % 2 if labels is None else labels, **more}


@pytest.mark.parametrize(
    ("shape", "to_channels_first", "expected"),
    [
        ((4, 6, 7), lambda x: x[:, None], (1, 6, 7)),
        ((4, 6, 7, 1), lambda x: x.transpose(0, 3, 1, 2), (1, 6, 7)),
        ((4, 6, 7, 3), lambda x: x.transpose(0, 3, 1, 2), (3, 6, 7)),
        ((4, 1, 6, 7), lambda x: x, (1, 6, 7)),
        ((4, 3, 6, 7), lambda x: x, (3, 6, 7)),
        ((4, 3, 3, 8), lambda x: x, (3, 3, 8)),
        ((4, 1, 1, 1), lambda x: x, (1, 1, 1)),
    ],
)
def test_the_layout_follows_from_the_shape(shape, to_channels_first, expected, tmp_path):
    images = pixels(*shape)
    records = read_npz(save(tmp_path / "a.npz", **arrays(images)))
    assert records.train.images.shape[1:] == expected
    assert np.array_equal(records.train.images.numpy(), to_channels_first(images))
    assert records.train.images.is_contiguous()
    assert records.test is None


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ((4, 3, 6, 3), "both axis 1 and axis 3 could be channels"),
        ((4, 6, 7, 8), "neither axis 1 nor axis 3"),
    ],
)
def test_an_unclear_layout_is_an_error_until_it_is_stored(shape, why, tmp_path):
    images = pixels(*shape)
    with pytest.raises(RunError, match=why) as caught:
        read_npz(save(tmp_path / "a.npz", **arrays(images)))
    assert 'layout="NHWC"' in str(caught.value)
    last = read_npz(save(tmp_path / "b.npz", **arrays(images), layout="NHWC"))
    first = read_npz(save(tmp_path / "c.npz", **arrays(images), layout="NCHW"))
    assert np.array_equal(last.train.images.numpy(), images.transpose(0, 3, 1, 2))
    assert np.array_equal(first.train.images.numpy(), images)


def test_floats_stay_floats(tmp_path):
    images = np.random.default_rng(0).random((4, 5, 6))
    records = read_npz(save(tmp_path / "a.npz", **arrays(images)))
    assert records.train.images.dtype == torch.float32
    assert np.array_equal(records.train.images.numpy()[:, 0], images.astype(np.float32))


DARK = "no pixel of the training images is above"


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.arange(100, dtype=np.uint8).reshape(4, 5, 5) % 17, f"{DARK} 16, and white is 255"),
        (np.arange(100, dtype=np.uint8).reshape(4, 5, 5) % 2, f"{DARK} 1, and white is 255"),
        (np.full((4, 5, 5), 16 / 255), f"{DARK} 0.06275, and white is 1"),
        (np.full((4, 5, 5), 64, np.uint8), None),
        (np.full((4, 5, 5), 0.25), None),
    ],
)
def test_images_that_nobody_has_scaled_are_told(images, told, tmp_path, caplog):
    read_npz(save(tmp_path / "a.npz", **arrays(images)))
    said = [record.getMessage() for record in caplog.records]
    assert [message.partition(": ")[2].partition(": they")[0] for message in said] == ([told] if told else [])


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (np.array([7, -2, 7, 100]), ("-2", "7", "100"), [1, 0, 1, 2]),
        (np.array(["dog", "cat", "dog", "dog"]), ("cat", "dog"), [1, 0, 1, 1]),
        (np.array([3, 3, 3, 3], np.uint8), ("3",), [0, 0, 0, 0]),
        (np.array([2, 1, 2, 1], ">i4"), ("1", "2"), [1, 0, 1, 0]),
    ],
)
def test_labels_become_positions_among_the_sorted_classes(labels, classes, expected, tmp_path):
    test = {"x_test": pixels(2, 5, 5), "y_test": labels[:2]}
    records = read_npz(save(tmp_path / "a.npz", **arrays(pixels(4, 5, 5), labels), **test))
    assert records.classes == classes
    assert records.train.labels.tolist() == expected
    assert records.test.labels.tolist() == expected[:2]
    assert records.train.labels.dtype == records.test.labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array([7, -1, 2, -1]), ("2", "7")),
        (np.array(["dog", "", "cat", ""]), ("cat", "dog")),
        (np.array([7, -1, 2, -1], ">i2"), ("2", "7")),
    ],
)
def test_minus_one_and_the_empty_text_are_no_label(labels, classes, tmp_path):
    test = {"x_test": pixels(2, 5, 5), "y_test": labels[:2]}
    records = read_npz(save(tmp_path / "a.npz", **arrays(pixels(4, 5, 5), labels), **test))
    assert records.classes == classes
    assert records.train.labels.tolist() == [1, -1, 0, -1]
    assert records.test.labels.tolist() == [1, -1]
    assert records.labelled


def test_test_examples_alone_may_have_labels(tmp_path):
    test = {"x_test": pixels(3, 5, 5), "y_test": np.array([5, -1, 3])}
    records = read_npz(save(tmp_path / "a.npz", **arrays(pixels(4, 5, 5), np.full(4, -1)), **test))
    assert records.classes == ("3", "5")
    assert records.train.labels.tolist() == [-1] * 4
    assert records.test.labels.tolist() == [1, -1, 0]


def test_a_file_in_which_no_example_has_a_label_is_one_without_labels(tmp_path):
    records = read_npz(save(tmp_path / "a.npz", **arrays(pixels(4, 5, 5), np.full(4, -1))))
    without = read_npz(save(tmp_path / "b.npz", x_train=pixels(4, 5, 5)))
    assert (records.labelled, records.classes) == (without.labelled, without.classes) == (False, ("0",))
    assert records.train.labels.tolist() == without.train.labels.tolist()


GOOD = pixels(4, 5, 5)
NAN = np.where(np.eye(5) == 1, np.nan, 0.5) * np.ones((4, 1, 1))
WRONG_NPZ = {
    "no x_train": ({"y_train": np.arange(4)}, "no array `x_train`; found y_train"),
    "misspelled": ({"x_train": GOOD, "y_trian": np.arange(4)}, "no array `y_train`.*rename `y_trian` to `y_train`"),
    "no y_test": (arrays(GOOD, x_test=GOOD), "no array `y_test`"),
    "no x_test": (arrays(GOOD, y_test=np.arange(4)), "no array `x_test`"),
    "nothing": ({}, "no array `x_train`; found nothing"),
    "one number each": (arrays(pixels(4)), r"`x_train` has shape \(4,\), expected \(N, H, W\).* vectors \(N, D\)"),
    "empty": (arrays(pixels(0, 5, 5)), "`x_train` is empty"),
    "no pixels": (arrays(pixels(4, 5, 0)), "`x_train` is empty"),
    "integers": (arrays(GOOD.astype(np.int64)), "`x_train` is int64, expected uint8"),
    "booleans": (arrays(GOOD > 9), "`x_train` is bool, expected uint8"),
    "complex": (arrays(GOOD * 1j), "`x_train` is complex128"),
    "text": (arrays(GOOD.astype(str)), "`x_train` is <U3"),
    "not a number": (
        arrays(NAN),
        "`x_train\\[0\\]` has pixels that are NaN or infinite, the first of 4 such images; leave",
    ),
    "infinite": (arrays(np.full((4, 5, 5), np.inf)), "NaN or infinite"),
    "floats to 255": (arrays(GOOD.astype(float)), r"`x_train` has floats from .* to 2\d\d.0, expected \[0, 1\]"),
    "negative floats": (arrays(GOOD / 255 - 0.5), r"floats from -0.5"),
    "objects": (arrays(np.array([GOOD, None], object)), "`x_train` holds Python objects"),
    "object labels": (arrays(GOOD, np.array(["a", None, "b", 3], object)), "`y_train` holds Python objects"),
    "too few labels": (arrays(GOOD, np.arange(3)), "4 training images but 3 labels"),
    "column of labels": (arrays(GOOD, np.arange(4)[:, None]), r"`y_train` has shape \(4, 1\).*reshape\(-1\)"),
    "one-hot labels": (arrays(GOOD, np.eye(4)), r"`y_train` has shape \(4, 4\).*argmax\(1\)"),
    "one label": (arrays(GOOD, np.array(3)), r"`y_train` has shape \(\)"),
    "float labels": (arrays(GOOD, np.arange(4.0)), "`y_train` is float64, expected integers or strings"),
    "classes -1 and 1": (arrays(GOOD, np.array([1, -1, 1, -1])), "-1 is no class.*store `y_train == 1` as integers"),
    "bad layout": (arrays(pixels(4, 5, 5, 3), layout="HWC"), '`layout` is "HWC", expected "NHWC" or "NCHW"'),
    "unknown test label": (
        arrays(GOOD, x_test=GOOD, y_test=np.array([0, 5, 1, 6])),
        "`y_test` has `5`, `6`, which `y_train` has not; its classes are `0`, `1`",
    ),
    "labels of two kinds": (arrays(GOOD, x_test=GOOD, y_test=np.array(list("abab"))), "`y_test` is <U1 but `y_train`"),
    "test of other size": (
        arrays(GOOD, x_test=pixels(4, 5, 6), y_test=np.arange(4) % 2),
        "training images are 1x5x5 uint8, but the test images 1x5x6 uint8",
    ),
    "test of other type": (
        arrays(GOOD, x_test=GOOD / 255, y_test=np.arange(4) % 2),
        "training images are 1x5x5 uint8, but the test images 1x5x5 float32",
    ),
}


@pytest.mark.parametrize("case", WRONG_NPZ)
def test_a_wrong_npz_file_is_an_error_that_says_why(case, tmp_path):
    content, message = WRONG_NPZ[case]
    path = save(tmp_path / "wrong.npz", **content)
    with pytest.raises(RunError, match=message) as caught:
        read_npz(path)
    assert str(path) in str(caught.value)


def test_files_that_are_no_whole_npz_are_errors(tmp_path):
    whole = save(tmp_path / "whole.npz", **arrays(pixels(50, 8, 8))).read_bytes()
    single = tmp_path / "single.npy"
    np.save(single, GOOD)
    cases = {"empty": b"", "text": b"x_train: 3", "cut": whole[: len(whole) // 2], "single": single.read_bytes()}
    for name, content in cases.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"is not an \.npz file, or not all of one"):
            read_npz(path)


def test_damaged_bytes_inside_an_npz_are_an_error(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **arrays(pixels(50, 8, 8)))
    content = bytearray(path.read_bytes())
    content[300:900] = bytes(600)
    path.write_bytes(content)
    with pytest.raises(RunError, match="cannot read"):
        read_npz(path)


def test_no_traceback_on_any_single_damaged_byte(tmp_path):
    """A flipped byte gives the records or a `RunError`, never anything else."""
    path = save(tmp_path / "a.npz", **arrays(pixels(2, 2, 2)))
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_npz(path)
            except RunError as error:
                assert "\n" not in str(error)  # noqa: PT017


def test_an_array_larger_than_the_memory_is_an_error(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**15, 9, 9)})
    path = save(tmp_path / "a.npz", y_train=np.arange(4))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("x_train.npy", header.getvalue())
    with pytest.raises(RunError, match=r"`x_train` is .* of uint8, 75,437,128\.5 GiB, and the machine has"):
        read_npz(path)


def test_a_folder_in_place_of_an_npz_file_is_an_error(tmp_path):
    with pytest.raises(RunError, match="IsADirectoryError"):
        read_npz(tmp_path)


# --------------------------------------------------------------------------------------------------- folder


def save_image(path, value=7, size=(4, 3), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def test_images_by_class(tmp_path):
    save_image(tmp_path / "dog" / "1.png", 1)
    save_image(tmp_path / "cat" / "1.png", 2)
    save_image(tmp_path / "cat" / "0.PNG", 3)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / ".hidden.png").write_text("no image")
    (tmp_path / ".git").mkdir()
    records = read_folder(tmp_path)
    assert records.classes == ("cat", "dog")
    assert records.train.images.shape == (3, 1, 3, 4)
    assert records.train.images[:, 0, 0, 0].tolist() == [3, 2, 1]
    assert records.train.labels.tolist() == [0, 0, 1]
    assert records.test is None


def test_train_and_test_folders_and_colour(tmp_path):
    save_image(tmp_path / "train" / "cat" / "a.png", (1, 2, 3), mode="RGB")
    save_image(tmp_path / "train" / "dog" / "a.png", (4, 5, 6), mode="RGB")
    save_image(tmp_path / "test" / "dog" / "b.png", (7, 8, 9), mode="RGB")
    records = read_folder(tmp_path)
    assert records.train.images[:, :, 2, 3].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert records.test.images.shape == (1, 3, 3, 4)
    assert records.test.labels.tolist() == [1]


def test_a_class_may_be_called_train(tmp_path):
    save_image(tmp_path / "train" / "a.png")
    save_image(tmp_path / "bus" / "a.png")
    assert read_folder(tmp_path).classes == ("bus", "train")


def test_images_of_two_sizes_name_both_files(tmp_path):
    save_image(tmp_path / "cat" / "a.png")
    save_image(tmp_path / "dog" / "b.png", size=(5, 3))
    with pytest.raises(RunError, match=r"dog/b\.png is 1x3x5, but .*cat/a\.png is 1x3x4.*one size"):
        read_folder(tmp_path)


def test_images_of_two_modes_name_both_files(tmp_path):
    save_image(tmp_path / "train" / "cat" / "a.png")
    save_image(tmp_path / "test" / "cat" / "b.png", (0, 0, 0), mode="RGB")
    with pytest.raises(RunError, match=r"test/cat/b\.png is 3x3x4, but .*train/cat/a\.png is 1x3x4"):
        read_folder(tmp_path)


@pytest.mark.parametrize("mode", ["RGBA", "P", "1", "LA"])
def test_other_modes_are_errors(mode, tmp_path):
    save_image(tmp_path / "cat" / "a.png", 0 if mode in "P1" else None, mode=mode)
    with pytest.raises(RunError, match=f"a.png has mode {mode}, expected L .* or RGB; convert"):
        read_folder(tmp_path)


def test_a_damaged_image_is_named(tmp_path):
    save_image(tmp_path / "cat" / "a.png", size=(40, 40))
    path = tmp_path / "cat" / "b.png"
    path.write_bytes((tmp_path / "cat" / "a.png").read_bytes()[:60])
    with pytest.raises(RunError, match=r"cannot read .*cat/b\.png \("):
        read_folder(tmp_path)


def test_folders_without_classes_or_images_are_errors(tmp_path):
    with pytest.raises(RunError, match="has no folders of images"):
        read_folder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(RunError, match="cat has no images"):
        read_folder(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file is not a folder"):
        read_folder(tmp_path / "file")


def test_test_folders_must_be_classes_with_images(tmp_path):
    save_image(tmp_path / "train" / "cat" / "a.png")
    (tmp_path / "test").mkdir()
    with pytest.raises(RunError, match="test has no images"):
        read_folder(tmp_path)
    save_image(tmp_path / "test" / "cow" / "a.png")
    with pytest.raises(RunError, match="test/cow is no class of the training images; these are `cat`"):
        read_folder(tmp_path)


def test_a_folder_that_must_not_be_listed_is_an_error(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    save_image(tmp_path / "cat" / "a.png")
    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(RunError, match=f"no permission to read {re.escape(str(tmp_path))}"):
        read_folder(tmp_path)


# --------------------------------------------------------------------------------------------------- data.path


def test_a_relative_path_starts_from_the_data_folder_or_the_current_one(tmp_path, monkeypatch):
    save(tmp_path / "a.npz", **arrays(GOOD))
    data = Data(dataset="npz", path="a.npz")
    assert len(load_data(data, tmp_path).train) == 4
    monkeypatch.chdir(tmp_path)
    assert len(load_data(data, None).train) == 4
    with pytest.raises(
        RunError, match=r"there is no .*elsewhere/a\.npz .*--data-dir.*a\.npz exists: leave out --data-dir"
    ):
        load_data(data, tmp_path / "elsewhere")


@pytest.mark.parametrize("dataset", ["npz", "folder"])
def test_a_path_to_nothing_is_an_error(dataset, tmp_path):
    with pytest.raises(RunError, match=r"there is no .*nowhere"):
        load_data(Data(dataset=dataset, path="nowhere"), tmp_path)


# ------------------------------------------------------------------------------------------------ a stranger's file


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("exploded",))


def test_an_npz_with_python_objects_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("bomb.npz", x_train=np.array([Bomb()], dtype=object), y_train=np.zeros(1, np.int64))
    for read in (read_npz, read_images):
        with pytest.raises(RunError, match=r"holds Python objects, which are not read because they may run code"):
            read(Path("bomb.npz"))
    Path("pickle.npz").write_bytes(pickle.dumps(Bomb()))
    for read in (read_npz, read_images):
        with pytest.raises(RunError, match=r"an \.npz file"):
            read(Path("pickle.npz"))
    assert not (tmp_path / "exploded").exists()


def claims(path: Path, shape: tuple[int, ...]) -> Path:
    """An .npz whose arrays say that they have a shape, and hold nothing."""
    with zipfile.ZipFile(path, "w") as archive:
        for key in ("x_train", "y_train"):
            with archive.open(f"{key}.npy", "w") as file:
                np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
                file.write(b"\0" * 100)
    return path


def test_an_npz_that_claims_a_trillion_numbers_is_refused_before_they_are_allocated(tmp_path: Path) -> None:
    path = claims(tmp_path / "huge.npz", (10**12,))
    for read in (read_npz, read_images):
        with pytest.raises(
            RunError, match=r"`x_train` is \(1000000000000,\) of uint8, 931\.3 GiB, and the machine has"
        ):
            read(path)
    with pytest.raises(RunError, match="cannot read"):
        read_npz(claims(tmp_path / "false.npz", (10**6,)))


def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    """A PNG of 200,000 x 200,000 pixels, none of which are there."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(RunError, match="decompression bomb"):
        read_images(tmp_path / "huge.png")


def test_a_folder_with_test_images_alone_says_that_train_is_missing(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "test" / name).mkdir(parents=True)
        Image.fromarray(GOOD[0]).save(tmp_path / "test" / name / "0.png")
    with pytest.raises(RunError, match="has a folder `test` with classes and none `train` beside it; expected CLASS/"):
        read_folder(tmp_path)


def test_an_array_that_is_nearly_one_that_is_read_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_npz(save(tmp_path / "a.npz", **arrays(GOOD), x_tset=GOOD, notes=GOOD))
    assert "`x_tset` is no array that is read; did you mean `x_test`?" in caplog.text
    assert "notes" not in caplog.text
