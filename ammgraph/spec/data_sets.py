"""Data sets, by name: what is known without reading them, and what reads them. One entry each."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ammgraph.layers.operations import Shape
from ammgraph.spec.image_sets import IMAGE_SETS, ImageSet

HeldOut: TypeAlias = Literal["random", "last"]
ExampleKind: TypeAlias = Literal["image", "vector"]


@dataclass(frozen=True)
class DataSet:
    """Images or vectors with labels that a spec has for a name.

    Args:
        meaning: what it is, and whether it is fetched, for the reference.
        shape: of an image, (channels, height, width), in pixels; of a vector of D numbers, (D, 1, 1).
        classes: their number; labels are 0 to classes - 1.
        train: number of training examples, those held out for validation among them.
        test: number of test examples; 0 where it has none of its own.
        reader: what reads it, of `data.standard` or by its whole dotted name. It is called with the folder for files
            and whether absent ones may be fetched, and gives `Records`.
        held_out: which training examples are held out: `random` ones, by `data.seed`, or the `last` in file order.
        every_epochs: epochs between two evaluations that `ammgraph new` writes.
        kind: what an example is.
        image_set: what torchvision knows of it, where that reads it.
    """

    meaning: str
    shape: Shape
    classes: int
    train: int
    test: int
    reader: str
    held_out: HeldOut = "random"
    every_epochs: int = 1
    kind: ExampleKind = "image"
    image_set: ImageSet | None = None


# Where two have images of one shape, `ammgraph new` takes the first.
DATA_SETS: dict[str, DataSet] = {
    "digits": DataSet(
        "scikit-learn's 8x8 digits, no download",
        (1, 8, 8),
        10,
        train=1_797,
        test=0,
        reader="read_digits",
        every_epochs=10,
    ),
    "mnist": DataSet(
        "28x28 digits, fetched on first use", (1, 28, 28), 10, train=60_000, test=10_000, reader="read_mnist"
    ),
    "svhn": DataSet(
        "32x32 digits in colour, fetched on first use",
        (3, 32, 32),
        10,
        train=73_257,
        test=26_032,
        reader="read_svhn",
        held_out="last",  # ALI's split
    ),
    "wine": DataSet(
        "13 measurements of wines of three growers, no download",
        (13, 1, 1),
        3,
        train=178,
        test=0,
        reader="read_wine",
        every_epochs=20,
        kind="vector",
    ),
    "breast_cancer": DataSet(
        "30 measurements of cells, benign or malignant, no download",
        (30, 1, 1),
        2,
        train=569,
        test=0,
        reader="read_breast_cancer",
        every_epochs=20,
        kind="vector",
    ),
    "iris": DataSet(
        "4 measurements of flowers of three species, no download",
        (4, 1, 1),
        3,
        train=150,
        test=0,
        reader="read_iris",
        every_epochs=20,
        kind="vector",
    ),
}

DATA_SETS |= {
    name: DataSet(
        f"torchvision's {known.kind}",
        known.shape,
        known.classes,
        train=known.train,
        test=known.test,
        reader="read_image_set",
        image_set=known,
    )
    for name, known in IMAGE_SETS.items()
}

# A user's own data, at `data.path`: their format -> what lies there.
OWN_DATA = {
    "npz": "a file of arrays: images or vectors",
    "npy": "a folder with a file for each array, which stay on disk: images or vectors",
    "folder": "images in one sub-folder per class",
    "csv": "a table as text: vectors",
    "parquet": "a table as Parquet: vectors",
}
# Data that a program hands over, without a path.
GIVEN = "arrays"
TABLES = ("csv", "parquet")  # whose columns have names; a file of one ends in it
WITH_LISTS = ("parquet",)  # whose cells may be lists of numbers
MAIN_FIELDS = ("image", "label", "vector")  # what a record has by its type
NAMED_FIELDS = ("npz", "npy", *TABLES)  # whose arrays or columns may be fields too, by their names


_KINDS: dict[str, tuple[ExampleKind, ...]] = {
    **dict.fromkeys(("npz", "npy", GIVEN), ("image", "vector")),
    "folder": ("image",),
    **dict.fromkeys(TABLES, ("vector",)),
}


def names() -> tuple[str, ...]:
    """What `data.dataset` may be, in the order in which it is listed."""
    return (*(name for name in DATA_SETS if name not in IMAGE_SETS), *OWN_DATA, GIVEN, *IMAGE_SETS)


def held_out(name: str) -> HeldOut:
    """Which training images `data.validation` holds out; of a user's own random ones."""
    return DATA_SETS[name].held_out if name in DATA_SETS else "random"


def may_hold(name: str, kind: ExampleKind) -> bool:
    """Whether examples of a data set may be images, or vectors."""
    return kind in ((DATA_SETS[name].kind,) if name in DATA_SETS else _KINDS[name])


def meanings() -> str:
    """Every name with what it stands for, as the reference has them."""
    named = {name: known.meaning for name, known in DATA_SETS.items() if known.image_set is None}
    named |= OWN_DATA | {GIVEN: "images or vectors given in Python, by `fit(spec, data=(x, y))`"}
    texts = [f"`{name}` ({meaning})" for name, meaning in named.items()]
    return f"{', '.join(texts)}; or images that torchvision fetches: {', '.join(f'`{name}`' for name in IMAGE_SETS)}"
