"""The image sets of torchvision, by name: what is known without reading them. One entry each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ammgraph.layers.operations import Shape


@dataclass(frozen=True)
class ImageSet:
    """A class of `torchvision.datasets`.

    Args:
        kind: its name.
        shape: of an image, (channels, height, width), in pixels.
        classes: their number; 0 where it has no classes.
        train: number of training examples.
        test: number of test examples; 0 where it has none.
        asked: what its training split is asked for by.
        asked_test: what its test split is asked for by.
        resized: its images are of several sizes, and made of this one unless `data.resize` names another.
        fetched: torchvision can download it.
    """

    kind: str
    shape: Shape
    classes: int
    train: int
    test: int = 0
    asked: Mapping[str, object] = field(default_factory=dict)
    asked_test: Mapping[str, object] = field(default_factory=dict)
    resized: bool = False
    fetched: bool = True


_GREY, _SMALL, _SEVERAL = (1, 28, 28), (3, 32, 32), (3, 64, 64)
_FLAG = ({"train": True}, {"train": False})
_SPLIT = ({"split": "train"}, {"split": "test"})
_TRAINVAL = ({"split": "trainval"}, {"split": "test"})
_VAL = ({"split": "train"}, {"split": "val"})


def _emnist(part: str, classes: int, train: int, test: int) -> ImageSet:
    asked, asked_test = ({"split": part, **flag} for flag in _FLAG)
    return ImageSet("EMNIST", _GREY, classes, train, test, asked, asked_test)


IMAGE_SETS: dict[str, ImageSet] = {
    "fashion_mnist": ImageSet("FashionMNIST", _GREY, 10, 60_000, 10_000, *_FLAG),
    "kmnist": ImageSet("KMNIST", _GREY, 10, 60_000, 10_000, *_FLAG),
    "qmnist": ImageSet("QMNIST", _GREY, 10, 60_000, 60_000, *_FLAG),
    "emnist/balanced": _emnist("balanced", 47, 112_800, 18_800),
    "emnist/byclass": _emnist("byclass", 62, 697_932, 116_323),
    "emnist/bymerge": _emnist("bymerge", 47, 697_932, 116_323),
    "emnist/digits": _emnist("digits", 10, 240_000, 40_000),
    "emnist/letters": _emnist("letters", 26, 124_800, 20_800),
    "usps": ImageSet("USPS", (1, 16, 16), 10, 7_291, 2_007, *_FLAG),
    "semeion": ImageSet("SEMEION", (1, 16, 16), 10, 1_593),
    "omniglot": ImageSet("Omniglot", (1, 105, 105), 964, 19_280),
    "cifar10": ImageSet("CIFAR10", _SMALL, 10, 50_000, 10_000, *_FLAG),
    "cifar100": ImageSet("CIFAR100", _SMALL, 100, 50_000, 10_000, *_FLAG),
    "stl10": ImageSet("STL10", (3, 96, 96), 10, 5_000, 8_000, *_SPLIT),
    "stl10/unlabeled": ImageSet(
        "STL10", (3, 96, 96), 10, 105_000, 8_000, {"split": "train+unlabeled"}, {"split": "test"}
    ),
    "eurosat": ImageSet("EuroSAT", (3, 64, 64), 10, 27_000),
    "fer2013": ImageSet("FER2013", (1, 48, 48), 7, 28_709, asked={"split": "train"}, fetched=False),
    "pcam": ImageSet("PCAM", (3, 96, 96), 2, 262_144, 32_768, *_SPLIT),
    "rendered_sst2": ImageSet("RenderedSST2", (3, 448, 448), 2, 6_920, 1_821, *_SPLIT),
    "celeba": ImageSet("CelebA", (3, 218, 178), 0, 162_770, 19_962, *_SPLIT),
    "lfw": ImageSet("LFWPeople", (3, 250, 250), 5_749, 13_233, asked={"split": "10fold"}),
    "caltech101": ImageSet("Caltech101", _SEVERAL, 101, 8_677, resized=True),
    "caltech256": ImageSet("Caltech256", _SEVERAL, 257, 30_607, resized=True),
    "country211": ImageSet("Country211", _SEVERAL, 211, 31_650, 21_100, *_SPLIT, resized=True),
    "dtd": ImageSet("DTD", _SEVERAL, 47, 1_880, 1_880, *_SPLIT, resized=True),
    "fgvc_aircraft": ImageSet("FGVCAircraft", _SEVERAL, 100, 6_667, 3_333, *_TRAINVAL, resized=True),
    "flowers102": ImageSet("Flowers102", _SEVERAL, 102, 1_020, 6_149, *_SPLIT, resized=True),
    "food101": ImageSet("Food101", _SEVERAL, 101, 75_750, 25_250, *_SPLIT, resized=True),
    "gtsrb": ImageSet("GTSRB", _SEVERAL, 43, 26_640, 12_630, *_SPLIT, resized=True),
    "imagenet": ImageSet("ImageNet", _SEVERAL, 1_000, 1_281_167, 50_000, *_VAL, resized=True, fetched=False),
    "imagenette": ImageSet("Imagenette", _SEVERAL, 10, 9_469, 3_925, *_VAL, resized=True),
    "oxford_iiit_pet": ImageSet("OxfordIIITPet", _SEVERAL, 37, 3_680, 3_669, *_TRAINVAL, resized=True),
    "stanford_cars": ImageSet("StanfordCars", _SEVERAL, 196, 8_144, 8_041, *_SPLIT, resized=True, fetched=False),
    "sun397": ImageSet("SUN397", _SEVERAL, 397, 108_754, resized=True),
}
