"""What to store in place of an array or an image that cannot be read: expressions that keep its values.

Each is Python, of the array's own name or of Pillow's `image`, as it stands in a message. Knows no file.
"""

import re
from collections.abc import Collection
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ammgraph.spec.data_sets import MAIN_FIELDS

Array = np.ndarray[Any, np.dtype[Any]]

CHANNELS = range(1, 5)
_ORIENTATION = 0x112  # EXIF's tag

# --------------------------------------------------------------------------------------------------- arrays


_OVERSHOOT = 0.1  # by which resampling and rounding leave [0, 1]


def pixels_advice(key: str, images: Array) -> str:
    """How numbers of another type or range become uint8 in 0..255 or floats in [0, 1], as another array's do alike."""
    kind = images.dtype.kind
    if kind == "b":
        return f"store `255 * {key}.astype('uint8')`"
    if kind not in "iuf":
        return "store numbers of these types"
    low, high = images.min().item(), images.max().item()
    if images.dtype == np.int8 and low < 0:
        low, high = -128, 127
    if low >= 0 and kind in "iu":
        if high <= 1:
            return f"store `{key}.astype('float32')`, in which 1 is white"
        if high <= 255:
            return f"store `{key}.astype('uint8')`, in which 255 is white"
        white = (1 << int(high).bit_length()) - 1
        return f"store `({key} / {white}).astype('float32')` if {white} is white, of every split alike"
    if -_OVERSHOOT <= low <= high <= 1 + _OVERSHOOT:
        return f"store `numpy.clip({key}, 0, 1)`"
    if low >= 0 and 2 < high <= 255:
        return f"store `{key}.astype('float32') / 255` if 255 is white, of every split alike"
    if -1 <= low <= high <= 1:
        return f"store `({key}.astype('float32') + 1) / 2` if -1 is black and 1 is white, of every split alike"
    store = f"numpy.interp({key}, ({low!r}, {high!r}), (0, 1))"
    return f"store `{store}`, of every split alike; of vectors, (N, D), `{as_vectors(key)}`"


def labels_advice(key: str, labels: Array) -> str:
    """How labels of another type become integers or texts: different ones stay different."""
    kind = labels.dtype.kind
    if kind == "b":
        return f"store `{key}.astype(int)`"
    if kind == "f":
        known = labels[~np.isnan(labels)]
        whole = bool((known == np.floor(known)).all() and (np.abs(known) < 2.0**53).all())
        if missing := len(labels) - len(known):
            texts = f"numpy.where(numpy.isnan({key}), '', {key}.astype(str))"
            store = f"numpy.nan_to_num({key}, nan=-1).astype(int)" if whole else texts
            return f"{missing:,} of them are NaN; store `{store}`, in which these have no label"
        return f"store `{key}.astype({'int' if whole else 'str'})`"
    if kind == "S":
        return f"store `{key}.astype(str)`" if _decodes(labels, "ascii") else f"store `{_decoded(key, labels)}`"
    if kind == "O":
        return objects_advice(key, labels.ndim, is_label=True)
    return f"store `{key}.astype(str)`" if kind in "cmM" else "store integers or texts"


def objects_advice(key: str, axes: int, is_label: bool) -> str:
    """How an array of Python objects becomes one of numbers or texts; None and NaN among labels are no class."""
    if not is_label and axes > 1:
        return f"store `{key}.astype(float)` if they are numbers"
    if not is_label:
        return f"store `numpy.stack({key})`, all of one size"
    missing = "v is None or v != v"
    texts = f"numpy.array(['' if {missing} else str(v) for v in {key}])"
    numbers = f"numpy.array([-1 if {missing} else int(v) for v in {key}])"
    return f"store `{texts}`, or of integers `{numbers}`, in which None and NaN are no label"


def missing_advice(key: str, words: Collection[str]) -> str:
    """How texts that mean a missing label, as they are spelt, become none."""
    store = f"numpy.where(numpy.isin({key}, {sorted(words)}), '', {key})"
    return f"store `{store}`, in which these have no label, or give the class another name"


_COMMAS = re.compile(r"([+-]?)([1-9]\d{0,2}(?:,\d{3})+)(\.\d*)?")  # between thousands
_COMMA = re.compile(r"([+-]?)([1-9]\d{0,2}(?:\.\d{3})+|\d*),(\d+(?:[eE][+-]?\d+)?)")  # before decimals


def number_advice(cell: str) -> str:
    """How a number that is written in another way is written; empty where the cell looks like none."""
    ways = []
    if found := _COMMA.fullmatch(cell):
        ways.append((f"{found[1]}{found[2].replace('.', '') or 0}.{found[3]}", "its comma stands before decimals"))
    if found := _COMMAS.fullmatch(cell):
        ways.append((f"{found[1]}{found[2].replace(',', '')}{found[3] or ''}", "commas stand between thousands"))
    if not ways and (found := re.fullmatch(r"[+-]?[\d_]+(\.[\d_]*)?", cell)):
        ways.append((str(float(cell) if "." in cell else int(cell)), "it is a number"))
    if not ways:
        return ""
    written = ", or ".join(f"`{text}` if {meaning}" for text, meaning in ways)
    return f"write {written}, and so in every record: digits 0 to 9, a point before decimals, nothing between thousands"


def _decoded(key: str, labels: Array) -> str:
    encoding = "utf-8" if _decodes(labels, "utf-8") else "latin-1"
    return f"numpy.char.decode({key}, '{encoding}')"


def _decodes(labels: Array, encoding: str) -> bool:
    try:
        np.char.decode(labels, encoding)
    except UnicodeDecodeError:
        return False
    return True


def one_each_advice(key: str, labels: Array, count: int) -> str:
    """How labels of another shape become one for each of `count` images, where that is plain."""
    if labels.size == count:
        return f"store `{key}.reshape(-1)`"
    for axis in (1, 0):
        if labels.ndim == 2 and labels.shape[1 - axis] == count and _one_hot(labels, axis):
            return f"store `{key}.argmax({axis})`, for they are one-hot"
    return "each image has one class"


def _one_hot(labels: Array, axis: int) -> bool:
    if labels.dtype.kind not in "biuf":
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(axis) == 1).all())


def examples_first(key: str, shape: tuple[int, ...], count: int) -> str:
    """How images whose examples stand last, (H, W, N), (H, W, C, N) or (C, H, W, N), come to have them first.

    Empty where they do not stand last, as `count`, the number of labels, says.
    """
    if len(shape) not in (3, 4) or shape[0] == count or shape[-1] != count:
        return ""
    return f"its {count:,} examples stand last; store `{key}.transpose({_first(shape)})`"


def layout_advice(key: str, shape: tuple[int, ...], both: bool, of_files: bool = False) -> str:
    """What tells the axes of four-dimensional images apart, where `both` or neither of 1 and 3 could be channels.

    `of_files`: each array is a file of its own.
    """
    savez, save = (
        'add layout="NHWC" or layout="NCHW" to numpy.savez',
        'say `numpy.save("layout.npy", "NHWC")`, or "NCHW"',
    )
    store = save if of_files else savez
    if both or not (shape[2] in CHANNELS or shape[0] in CHANNELS):
        return store
    letters = "(H, W, C, N)" if shape[2] in CHANNELS else "(C, H, W, N)"
    return f"{store}, or if they are {letters} store `{key}.transpose({_first(shape)})`"


def _first(shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return "2, 0, 1"
    return "3, 0, 1, 2" if shape[0] in CHANNELS and shape[2] not in CHANNELS else "3, 2, 0, 1"


def other_layout(key: str, found: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """How an array that was read as images (C, H, W) is read as the expected ones, if the same numbers can be meant."""
    channels, height, width = found
    if (height, width, channels) == expected:
        sizes, layout = ", ".join(map(str, expected)), "NCHW"
    elif (width, channels, height) == expected:
        sizes, layout = ", ".join(map(str, found)), "NHWC"
    else:
        return ""
    return f'store `{key}.reshape(-1, {sizes})` with layout="{layout}"'


def vectors_advice(key: str, shape: tuple[int, ...]) -> str:
    """How an array that is no vectors (N, D) becomes that, where its shape is not plainly that of images."""
    if len(shape) == 1:
        return f"if each example is one number, store `{key}[:, None]`"
    if len(shape) > 4 or (len(shape) > 2 and sum(size > 1 for size in shape[1:]) < 2):
        return f"if they are vectors, store `{as_vectors(key)}`"
    return ""


def as_vectors(key: str) -> str:
    """The expression of all numbers of each example as a vector."""
    return f"{key}.reshape(len({key}), -1)"


# --------------------------------------------------------------------------------------------------- image files


def mode_advice(image: Image.Image, grey: bool | None) -> str:
    """How an image of another mode becomes L or RGB.

    Args:
        image: of any mode but these.
        grey: whether the images beside it are; None where nothing is known of them.
    """
    source = "image" if _upright(image) else "ImageOps.exif_transpose(image)"
    how = _converted(image, source, grey)
    return f"convert it with Pillow and save it as .png in its place: {how}" if how else "save it as one of these"


def _converted(image: Image.Image, source: str, grey: bool | None) -> str:
    mode = image.mode
    if mode.startswith("I;16"):
        return f'`Image.fromarray((numpy.asarray({source}) / 257).round().astype("uint8"))`, in which 65535 is white'
    if mode in ("I", "F"):
        return _numbers_converted(np.asarray(image), source)
    if mode == "1":
        return f'`{source}.convert("{"RGB" if grey is False else "L"}")`'
    if mode in ("CMYK", "YCbCr", "HSV", "RGBX"):
        return f'`{source}.convert("RGB")`{_all_in_colour(grey)}'
    if mode not in ("P", "PA", "LA", "RGBA"):
        return ""
    pixels = np.asarray(image.convert("RGBA"))
    has_colour = bool((pixels[..., :3] != pixels[..., :1]).any())
    to, note = ("RGB", _all_in_colour(grey)) if has_colour else ("RGB" if grey is False else "L", "")
    if (pixels[..., 3] == 255).all():
        return f'`{source}.convert("{to}")`{note}'
    on_white = f'Image.alpha_composite(Image.new("RGBA", {source}.size, "white"), {source}.convert("RGBA"))'
    return f'`{on_white}.convert("{to}")`, which puts white behind it{note}'


def _numbers_converted(values: Array, source: str) -> str:
    low, high = values.min().item(), values.max().item()
    white = 1 if values.dtype.kind == "f" else 65535 if high > 255 else 255
    if not 0 <= low <= high <= white:
        return ""
    scaled = f"255 * numpy.asarray({source}) / {white}"
    return f'`Image.fromarray(({scaled}).round().astype("uint8"))`, in which {white} is white'


def _all_in_colour(grey: bool | None) -> str:
    return ", and so the grey images beside it, for it has colours" if grey else ""


def _upright(image: Image.Image) -> bool:
    return image.getexif().get(_ORIENTATION, 1) == 1


def upright(image: Image.Image) -> Image.Image:
    """The image as cameras mean it to be seen, by its EXIF orientation, and as every viewer shows it."""
    return ImageOps.exif_transpose(image)


def word_advice(there: Collection[str]) -> str:
    """Of arrays whose names are words of `data.fields`, where these mean no array; empty where there are none."""
    found = " and ".join(f"`{word}`" for word in MAIN_FIELDS if word in there)
    if not found:
        return ""
    are = (
        "are words for what a record has by its type, and no names"
        if " and " in found
        else ("is a word for what a record has by its type, and no name")
    )
    return f"in `data.fields` {found} {are} of an array; store it under another name"
