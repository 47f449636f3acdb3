"""Every hint about data is followed here as it stands, on what could not be read, and the values are still there."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ammgraph.data.advice import number_advice, other_layout, pixels_advice
from ammgraph.data.files import read_folder, read_images
from ammgraph.data.records import Records, scale_images
from ammgraph.data.stored import read_npz
from ammgraph.diagnostics import RunError

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (6, 5, 7), dtype=np.uint8)
PIXELS[0, 0, :2] = 0, 255
LABELS = np.array([0, 1, 2, 0, 1, 2])


def code_in(message: str) -> str:
    found = re.search(r"(?:store|place:|Pillow,) `([^`]+)`", message)
    assert found is not None, message
    return found[1]


def followed(path: Path, **arrays: np.ndarray) -> tuple[Records, str]:
    """What is read after the one array at which reading stopped is stored as the message says; and the message."""
    np.savez(path, **arrays)
    with pytest.raises(RunError) as caught:
        read_npz(path)
    code = code_in(str(caught.value))
    key = re.search(r"[xy]_(?:train|test)", code)[0]
    layout = {"layout": found[1]} if (found := re.search(r'with layout="(\w+)"', str(caught.value))) else {}
    np.savez(path, **{**arrays, key: eval(code, {"numpy": np, **arrays}), **layout})
    return read_npz(path), str(caught.value)


def grey_of(records: Records) -> np.ndarray:
    """Images of one channel, in [0, 1], as training reads them."""
    return scale_images(records.train.images[:, 0], 0.0, 1.0, torch.float64).numpy()


# --------------------------------------------------------------------------------------------------- pixels

IMAGES = {
    "bool": (PIXELS > 127, PIXELS > 127),
    "wide integers": (PIXELS.astype(np.int64), PIXELS / 255),
    "whole numbers from 0 to 16": (PIXELS.astype(np.int32) // 16, PIXELS // 16 / 255),
    "integers that are 0 and 1": ((PIXELS > 127).astype(np.int64), PIXELS > 127),
    "12 bits": (PIXELS.astype(np.uint16) * 16 + 15, (PIXELS.astype(int) * 16 + 15) / 4095),
    "16 bits": (PIXELS.astype(np.uint16) * 257, PIXELS / 255),
    "signed bytes": ((PIXELS.astype(int) - 128).astype(np.int8), PIXELS / 255),
    "signed bytes that are positive": ((PIXELS // 2).astype(np.int8), PIXELS // 2 / 255),
    "signed integers": (PIXELS.astype(np.int16) * 4 - 500, PIXELS / 255),
    "-1 and 1 in integers": (np.where(PIXELS > 127, 1, -1), PIXELS > 127),
    "floats to 255": (PIXELS.astype(np.float64), PIXELS / 255),
    "half floats to 255": (PIXELS.astype(np.float16), PIXELS / 255),
    "floats from -1": (PIXELS / 127.5 - 1, PIXELS / 255),
    "floats of any range": (PIXELS / 50 - 2, PIXELS / 255),
    "floats above 255": (PIXELS * 2.0, PIXELS / 255),
}


@pytest.mark.parametrize("case", IMAGES)
def test_pixels_of_another_type_or_range_are_kept(case: str, tmp_path: Path) -> None:
    stored, meant = IMAGES[case]
    records, message = followed(tmp_path / "a.npz", x_train=stored, y_train=LABELS)
    assert grey_of(records) == pytest.approx(meant.astype(float), abs=1e-6)
    assert "x_train" in message


def test_both_splits_are_named_one_after_the_other(tmp_path: Path) -> None:
    arrays = {"x_train": PIXELS > 9, "y_train": LABELS, "x_test": PIXELS > 9, "y_test": LABELS}
    np.savez(tmp_path / "a.npz", **arrays)
    for key in ("x_train", "x_test"):
        with pytest.raises(RunError) as caught:
            read_npz(tmp_path / "a.npz")
        arrays[key] = eval(code_in(str(caught.value)), {"numpy": np, **arrays})
        np.savez(tmp_path / "a.npz", **arrays)
    assert torch.equal(read_npz(tmp_path / "a.npz").test.images, read_npz(tmp_path / "a.npz").train.images)


def test_images_in_objects_are_stacked(tmp_path: Path) -> None:
    images = np.empty(6, object)
    images[:] = list(PIXELS)
    records, _ = followed(tmp_path / "a.npz", x_train=images, y_train=LABELS)
    assert np.array_equal(records.train.images[:, 0].numpy(), PIXELS)


@pytest.mark.parametrize("stored", [PIXELS * 1j, PIXELS.astype(str), PIXELS.astype("M8[s]")])
def test_what_cannot_be_converted_gets_no_code(stored: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=stored, y_train=LABELS)
    with pytest.raises(RunError, match=r"expected uint8 .* or floats .*; store numbers of these types"):
        read_npz(tmp_path / "a.npz")


# --------------------------------------------------------------------------------------------------- labels

KINDS = {
    "objects": (np.array(["cat", 7, "dog", "cat", 7, "dog"], object), ["cat", "7", "dog"]),
    "bytes": (np.array([b"cat", b"dog", b"bee"])[LABELS], ["cat", "dog", "bee"]),
    "bytes of UTF-8": (np.array(["é".encode(), "ü".encode(), b"a"])[LABELS], ["é", "ü", "a"]),
    "bytes of Latin-1": (np.array([b"\xe9", b"\xfc", b"a"])[LABELS], ["é", "ü", "a"]),
    "whole floats": (np.array([3.0, -2.0, 12.0])[LABELS], ["3", "-2", "12"]),
    "other floats": (np.array([0.25, 0.5, 1.75])[LABELS], ["0.25", "0.5", "1.75"]),
    "bool": (LABELS > 0, ["0", "1", "1"]),
    "complex": (np.array([1j, 2, 3 + 1j])[LABELS], ["1j", "(2+0j)", "(3+1j)"]),
    "days": (np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "M8[D]")[LABELS], ["2020", "2021", "2022"]),
    "one-hot rows": (np.eye(3)[LABELS], ["0", "1", "2"]),
    "one-hot rows of bool": (np.eye(3, dtype=bool)[LABELS], ["0", "1", "2"]),
    "one-hot columns": (np.eye(3, dtype=int)[:, LABELS], ["0", "1", "2"]),
    "a column": (LABELS[:, None] + 4, ["4", "5", "6"]),
    "a row": (LABELS[None] + 4, ["4", "5", "6"]),
}


@pytest.mark.parametrize("case", KINDS)
def test_labels_of_another_type_or_shape_are_kept(case: str, tmp_path: Path) -> None:
    stored, names = KINDS[case]
    records, _ = followed(tmp_path / "a.npz", x_train=PIXELS, y_train=stored)
    found = [records.classes[label] for label in records.train.labels]
    assert [name.removesuffix("-01-01") for name in found] == [names[label] for label in LABELS]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.array([[1, 1, 0], [0, 1, 0]])[[0, 1, 0, 1, 0, 1]], "each image has one class"),
        (np.full((6, 3), 1 / 3), "each image has one class"),
    ],
)
def test_labels_that_no_code_mends_get_none(stored: np.ndarray, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=PIXELS, y_train=stored)
    with pytest.raises(RunError, match=message) as caught:
        read_npz(tmp_path / "a.npz")
    assert "store `" not in str(caught.value)


@pytest.mark.parametrize(("values", "classes"), [((4.0, 7.0), ("4", "7")), ((0.25, 0.5), ("0.25", "0.5"))])
def test_labels_that_are_nan_become_none(values: tuple[float, float], classes: tuple[str, ...], tmp_path: Path) -> None:
    records, _ = followed(tmp_path / "a.npz", x_train=PIXELS, y_train=np.array([*values, np.nan])[LABELS])
    assert records.classes == classes
    assert records.train.labels.tolist() == [label if label < 2 else -1 for label in LABELS]


MISSING = {
    "None among texts": (np.array(["a", "b", None], object), ("a", "b")),
    "NaN among texts": (np.array(["a", "b", np.nan], object), ("a", "b")),
    "None as a text": (np.array(["a", "b", "None"]), ("a", "b")),
    "several words, and space": (np.array(["a ", " a", " nan", "a", "NA", "a"]), ("a",)),
}


@pytest.mark.parametrize("case", MISSING)
def test_labels_that_are_missing_are_no_class(case: str, tmp_path: Path) -> None:
    stored, classes = MISSING[case]
    stored = stored if len(stored) == 6 else stored[LABELS]
    records, _ = followed(tmp_path / "a.npz", x_train=PIXELS, y_train=stored)
    assert records.classes == classes
    known = [str(label).strip() in classes for label in stored]
    assert (records.train.labels >= 0).tolist() == known


def test_whole_labels_in_objects_may_be_integers(tmp_path: Path) -> None:
    stored = np.array([10, None, 9], object)[LABELS]
    np.savez(tmp_path / "a.npz", x_train=PIXELS, y_train=stored)
    with pytest.raises(RunError, match="or of integers") as caught:
        read_npz(tmp_path / "a.npz")
    code = re.search("or of integers `([^`]+)`", str(caught.value))[1]
    np.savez(tmp_path / "a.npz", x_train=PIXELS, y_train=eval(code, {"numpy": np, "y_train": stored}))
    records = read_npz(tmp_path / "a.npz")
    assert records.classes == ("9", "10")
    assert records.train.labels.tolist() == [1, -1, 0, 1, -1, 0]


@pytest.mark.parametrize("axes", [1, 2])
def test_vectors_in_objects_become_numbers(axes: int, tmp_path: Path) -> None:
    vectors = RANDOM.normal(size=(6, 3))
    stored = vectors.astype(object)
    if axes == 1:
        stored = np.empty(6, object)
        stored[:] = list(vectors)
    records, _ = followed(tmp_path / "a.npz", x_train=stored, y_train=LABELS)
    assert np.array_equal(records.train.images.flatten(1).numpy(), vectors)


@pytest.mark.parametrize("shape", [(6,), (6, 3, 1), (6, 1, 3), (6, 1, 1, 3), (6, 2, 3, 1, 1)])
def test_vectors_of_another_shape(shape: tuple[int, ...], tmp_path: Path) -> None:
    vectors = RANDOM.normal(size=shape)
    records, message = followed(tmp_path / "a.npz", x_train=vectors, y_train=LABELS)
    assert f"`x_train` has shape {str(shape)[:-1]}" in message
    assert records.train.kind == "vector"
    assert np.array_equal(records.train.images.flatten(1).numpy(), vectors.reshape(6, -1))


NUMBERS = {
    "1,5": ["1.5"],
    "-0,25": ["-0.25"],
    ",5": ["0.5"],
    "0,126": ["0.126"],
    "1.234,5": ["1234.5"],
    "1,000": ["1.000", "1000"],
    "1,234,567.8": ["1234567.8"],
    "1_000": ["1000"],
    "\uff11\uff12": ["12"],
    "\u0661.\u0665": ["1.5"],
    "big": [],
    "2024-01-02": [],
    "1,2,3": [],
    "": [],
}


@pytest.mark.parametrize("cell", NUMBERS)
def test_a_number_that_is_written_in_another_way(cell: str) -> None:
    assert re.findall("`([^`]+)`", number_advice(cell)) == NUMBERS[cell]


# --------------------------------------------------------------------------------------------------- axes

COLOURED = RANDOM.integers(0, 256, (6, 3, 5, 7), dtype=np.uint8)


@pytest.mark.parametrize(
    ("stored", "meant"),
    [
        (COLOURED.transpose(2, 3, 1, 0), COLOURED),  # (H, W, C, N), as in SVHN's files
        (COLOURED.transpose(1, 2, 3, 0), COLOURED),  # (C, H, W, N)
        (PIXELS.transpose(1, 2, 0), PIXELS[:, None]),  # (H, W, N)
    ],
)
def test_examples_that_stand_last_come_first(stored: np.ndarray, meant: np.ndarray, tmp_path: Path) -> None:
    records, message = followed(tmp_path / "a.npz", x_train=stored, y_train=LABELS)
    assert "its 6 examples stand last" in message
    assert np.array_equal(records.train.images.numpy(), meant)


@pytest.mark.parametrize("axes", [(2, 3, 1, 0), (1, 2, 3, 0)])
def test_examples_that_stand_last_without_labels(axes: tuple[int, ...], tmp_path: Path) -> None:
    images = np.concatenate([COLOURED] * 2)
    np.savez(tmp_path / "a.npz", images=images.transpose(axes))
    with pytest.raises(RunError, match="or if they are") as caught:
        read_images(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", images=eval(code_in(str(caught.value)), {"images": images.transpose(axes)}))
    assert np.array_equal(read_images(tmp_path / "a.npz")[0].numpy(), images)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (RANDOM.random((6, 64, 1, 1)), (64, 1, 1)),
        (RANDOM.random((6, 64, 1)), (64, 1, 1)),
        (RANDOM.random((6, 3, 5, 8)), (8, 3, 5)),
    ],
)
def test_an_array_that_is_read_in_the_other_layout(
    stored: np.ndarray, expected: tuple[int, ...], tmp_path: Path
) -> None:
    arrays = {"x_train": stored, "y_train": LABELS}
    np.savez(tmp_path / "a.npz", **arrays)
    found = tuple(read_npz(tmp_path / "a.npz").train.images.shape[1:])
    assert found != expected
    hint = other_layout("x_train", found, expected)
    layout = re.search(r'with layout="(\w+)"', hint)[1]
    np.savez(tmp_path / "a.npz", **{**arrays, "x_train": eval(code_in(hint), arrays)}, layout=layout)
    images = read_npz(tmp_path / "a.npz").train.images
    assert images.shape[1:] == expected
    moved = stored.transpose(0, 3, 1, 2) if layout == "NHWC" else stored.reshape(6, *expected)
    assert np.array_equal(images.numpy(), moved.astype(np.float32))
    assert other_layout("x_train", (1, 8, 8), (3, 8, 8)) == ""


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (("X_train", "Y_train"), "rename `X_train` to `x_train`"),
        (("x_train", "Y_train"), "rename `Y_train` to `y_train`"),
        (("x_train", "y_train", "x_test", "Y_TEST"), "rename `Y_TEST` to `y_test`"),
        (("x_train", "y_train", "x_test"), "both of x_test, y_test"),
        (
            ("x_train", "labels"),
            "; found x_train, labels; expected x_train, y_train and, if there is a test split, both of x_test, y_test; "
            "`labels` is no array that is read: of examples without labels leave out what is no x_train or x_test",
        ),
        (
            ("x_train", "one", "two"),
            "; `one` and `two` are no arrays that are read: of examples without labels leave out "
            "what is no x_train or x_test",
        ),
    ],
)
def test_a_name_that_is_missing(names: tuple[str, ...], hint: str, tmp_path: Path) -> None:
    """A name that is right where it stands is none that was meant for another."""
    np.savez(tmp_path / "a.npz", **{name: PIXELS if name[0] in "xX" else LABELS for name in names})
    with pytest.raises(RunError) as caught:
        read_npz(tmp_path / "a.npz")
    assert str(caught.value).endswith(hint)


# --------------------------------------------------------------------------------------------------- image files

COLOURS = Image.fromarray(COLOURED[0].transpose(1, 2, 0))
GREY = Image.fromarray(PIXELS[0])
DEEP = Image.fromarray(PIXELS[0].astype(np.uint16) * 257)


def seen_through(image: Image.Image) -> Image.Image:
    image = image.convert("LA" if image.mode == "L" else "RGBA")
    image.putalpha(Image.fromarray(np.where(PIXELS[0] > 127, 255, 0).astype(np.uint8)))
    return image


def on_white(pixels: np.ndarray) -> np.ndarray:
    return np.where(PIXELS[0] > 127, pixels, 255)


MODES = {
    "16 bits": (DEEP, "png", PIXELS[0]),
    "16 bits in a TIFF": (DEEP, "tif", PIXELS[0]),
    "32 bits of 8": (GREY.convert("I"), "tif", PIXELS[0]),
    "32 bits of 16": (Image.fromarray(PIXELS[0].astype(np.int32) * 257), "tif", PIXELS[0]),
    "floats": (Image.fromarray((PIXELS[0] / 255).astype(np.float32)), "tif", PIXELS[0]),
    "black and white": (Image.fromarray(PIXELS[0] > 127), "png", np.where(PIXELS[0] > 127, 255, 0)),
    "a palette of greys": (GREY.convert("P"), "png", PIXELS[0]),
    "a palette of colours": (COLOURS.quantize(35), "png", None),
    "a GIF": (COLOURS.quantize(35), "gif", None),
    "opaque": (COLOURS.convert("RGBA"), "png", COLOURED[0]),
    "opaque grey": (GREY.convert("LA"), "png", PIXELS[0]),
    "opaque grey in four channels": (GREY.convert("RGBA"), "png", PIXELS[0]),
    "transparent": (seen_through(COLOURS), "png", on_white(COLOURED[0])),
    "transparent grey": (seen_through(GREY), "png", on_white(PIXELS[0])),
    "inks": (COLOURS.convert("CMYK"), "tif", COLOURED[0]),
}


def converted(path: Path, image: Image.Image, message: str) -> Path:
    """Follow a message about an image file."""
    code = code_in(message)
    new = eval(code, {"image": image, "Image": Image, "ImageOps": ImageOps, "numpy": np})
    path.unlink()
    new.save(path.with_suffix(".png"))
    return path.with_suffix(".png")


@pytest.mark.parametrize("case", MODES)
def test_images_of_another_mode_are_kept(case: str, tmp_path: Path) -> None:
    image, suffix, expected = MODES[case]
    (tmp_path / "cat").mkdir()
    path = tmp_path / "cat" / f"a.{suffix}"
    image.save(path)
    with pytest.raises(RunError, match=r"a\.\w+ has mode [\w;]+, expected L \(grey\) or RGB; convert it") as caught:
        read_folder(tmp_path)
    with Image.open(path) as stored:
        stored.load()
        colours = np.asarray(stored.convert("RGB")).transpose(2, 0, 1)
        converted(path, stored, str(caught.value))
    found = read_folder(tmp_path).train.images[0].numpy()
    assert np.array_equal(found, colours if expected is None else expected.reshape(-1, 5, 7))


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("case", ["a palette of greys", "a palette of colours", "opaque", "black and white", "inks"])
def test_an_image_of_another_mode_beside_good_ones(case: str, grey: bool, tmp_path: Path) -> None:
    """Followed until the folder is read: at the end every image has its values, in as many channels as they need."""
    image, suffix, _ = MODES[case]
    (tmp_path / "cat").mkdir()
    (GREY if grey else COLOURS).save(tmp_path / "cat" / "a.png")
    image.save(tmp_path / "cat" / f"b.{suffix}")
    stored = [np.asarray(Image.open(path).convert("RGB")) for path in sorted((tmp_path / "cat").iterdir())]
    for _ in range(3):
        try:
            records = read_folder(tmp_path)
            break
        except RunError as error:
            path = Path(str(error).split(" ")[0])
            if "Pillow, `" in str(error):  # the grey ones
                path = tmp_path / "cat" / "a.png"
            with Image.open(path) as wrong:
                wrong.load()
                converted(path, wrong, str(error))
    found = records.train.images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(found, np.stack(stored))


def test_modes_without_a_way_get_no_code(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for name, image in (
        ("a", Image.new("LAB", (5, 7))),
        ("b", Image.fromarray(np.full((5, 7), -3.0, np.float32))),
    ):
        image.save(tmp_path / "cat" / f"{name}.tif")
        with pytest.raises(RunError, match=r"expected L \(grey\) or RGB; save it as one of these"):
            read_images(tmp_path / "cat" / f"{name}.tif")


def sideways(image: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    image.save(path, exif=exif, **({"quality": 95} if path.suffix == ".jpg" else {}))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_images_are_read_as_cameras_mean_them_to_be_seen(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    sideways(COLOURS, path)
    pixels = read_images(path)[0][0].numpy()
    with Image.open(path) as image:
        assert image.getexif()[0x112] == 6
        stored = np.asarray(image if suffix in ("jpg", "webp") else COLOURS)  # Pillow turns a TIFF by itself
    assert pixels.shape == (3, 7, 5)
    assert np.array_equal(pixels.transpose(1, 2, 0), np.rot90(stored, -1))


def test_advice_keeps_the_orientation(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    sideways(COLOURS.convert("CMYK"), path)
    with pytest.raises(RunError, match="mode CMYK") as caught:
        read_images(path)
    with Image.open(path) as image:
        image.load()
        colours = np.asarray(image.convert("RGB"))
        new = converted(path, image, str(caught.value))
    assert np.array_equal(read_images(new)[0][0].numpy().transpose(1, 2, 0), np.rot90(colours, -1))


def test_of_several_frames_none_is_dropped_in_silence(tmp_path: Path) -> None:
    GREY.save(tmp_path / "a.tif", save_all=True, append_images=[GREY, GREY])
    with pytest.raises(RunError, match=r"a\.tif has 3 frames, expected one image; save each frame as a file"):
        read_images(tmp_path / "a.tif")
    (tmp_path / "cat").mkdir()
    with Image.open(tmp_path / "a.tif") as image:
        for frame in range(3):
            image.seek(frame)
            image.save(tmp_path / "cat" / f"{frame}.png")
    assert len(read_folder(tmp_path).train) == 3


@pytest.mark.parametrize("name", ["A.NPZ", "Cat"])
def test_the_case_of_a_file_s_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "Cat").mkdir()
    np.savez(tmp_path / "a.npz", images=PIXELS)
    with pytest.raises(RunError) as caught:
        read_images(tmp_path / name.swapcase().replace(".npz", ".Npz"))
    assert re.search(r"there is no .*; did you mean `(a\.npz|Cat)`\?$", str(caught.value))


def test_folders_called_train_and_test_in_capitals(tmp_path: Path) -> None:
    for split in ("Train", "Test"):
        (tmp_path / split / "cat").mkdir(parents=True)
        GREY.save(tmp_path / split / "cat" / "a.png")
    with pytest.raises(RunError, match=r"Test has no images .*; did you mean `test`\?"):
        read_folder(tmp_path)
    (tmp_path / "Test").rename(tmp_path / "test")
    with pytest.raises(RunError, match=r"Train has no images .*; did you mean `train`\?"):
        read_folder(tmp_path)
    (tmp_path / "Train").rename(tmp_path / "train")
    assert read_folder(tmp_path).test is not None


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0004), (-0.001, 0.999)])
def test_what_overshoots_the_range_a_little_is_cut_off_and_not_rescaled(low: float, high: float) -> None:
    images = np.linspace(low, high, 128).reshape(2, 8, 8)
    assert pixels_advice("x_train", images) == "store `numpy.clip(x_train, 0, 1)`"
