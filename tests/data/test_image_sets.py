"""Tiny files in torchvision's own formats, read by the one reader of its image sets."""

import bz2
import inspect
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from conftest import write_idx
from PIL import Image
from torchvision import datasets

from ammgraph.data.dataset import load_data
from ammgraph.diagnostics import RunError
from ammgraph.spec.image_sets import IMAGE_SETS
from ammgraph.spec.schema import Data

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def read(name: str, root: Path, **section: object):
    return load_data(Data(dataset=name, **section), root, download=False)


def write_grey(folder: Path, prefix: dict[str, str], labels: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for split, count in (("train", 30), ("test", 10)):
        images = np.broadcast_to(np.arange(count)[:, None, None], (count, 28, 28))
        write_idx(folder / f"{prefix[split]}-images-idx3-ubyte", images)
        write_idx(folder / f"{prefix[split]}-labels-idx1-ubyte", labels[:count])


@pytest.mark.parametrize(("name", "kind"), [("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")])
def test_sets_in_the_format_of_mnist(name: str, kind: str, tmp_path: Path) -> None:
    write_grey(tmp_path / kind / "raw", {"train": "train", "test": "t10k"}, np.arange(30) % 10)
    dataset = read(name, tmp_path)
    assert dataset.train.images.shape == (30, 1, 28, 28)
    assert dataset.train.images[:, 0, 3, 4].tolist() == list(range(30))
    assert dataset.train.labels.tolist() == [i % 10 for i in range(30)]
    assert len(dataset.test) == 10
    assert dataset.classes == tuple(getattr(datasets, kind).classes)


def test_letters_begin_with_a(tmp_path: Path) -> None:
    prefix = {split: f"emnist-letters-{split}" for split in ("train", "test")}
    write_grey(tmp_path / "EMNIST" / "raw", prefix, np.arange(30) % 26 + 1)
    dataset = read("emnist/letters", tmp_path)
    assert dataset.classes == tuple("abcdefghijklmnopqrstuvwxyz")
    assert dataset.train.labels.tolist() == [i % 26 for i in range(30)]


def test_usps(tmp_path: Path) -> None:
    values = RANDOM.uniform(-1, 1, (6, 256))
    lines = [f"{i % 3 + 1} " + " ".join(f"{k + 1}:{v:.4f}" for k, v in enumerate(row)) for i, row in enumerate(values)]
    for name in ("usps.bz2", "usps.t.bz2"):
        (tmp_path / name).write_bytes(bz2.compress("\n".join(lines).encode()))
    dataset = read("usps", tmp_path)
    assert dataset.train.images.shape == (6, 1, 16, 16)
    assert dataset.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    expected = ((values.reshape(6, 16, 16) + 1) / 2 * 255).astype(np.uint8)
    assert (dataset.train.images[:, 0].int() - torch.from_numpy(expected).int()).abs().max() <= 1


def test_cifar10_in_colour_and_smaller_and_grey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = RANDOM.integers(0, 256, (4, 3, 32, 32), np.uint8)
    names = [name for name, _ in datasets.CIFAR10.train_list + datasets.CIFAR10.test_list]
    for name in names:
        content = {"data": pixels.reshape(4, -1), "labels": [3, 0, 1, 2]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["plane", "car", "bird", "cat"]}))
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [[name, None] for name in names[:-1]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [[names[-1], None]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": None})
    dataset = read("cifar10", tmp_path)
    assert np.array_equal(dataset.train.images[:4].numpy(), pixels)
    assert (len(dataset.train), dataset.test.labels.tolist()) == (20, [3, 0, 1, 2])
    assert dataset.classes == ("plane", "car", "bird", "cat")
    small = read("cifar10", tmp_path, resize=8, grayscale=True)
    image = Image.fromarray(pixels[1].transpose(1, 2, 0)).convert("L").resize((8, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(small.train.images[1, 0].numpy(), np.asarray(image))


def test_images_without_labels_are_part_of_stl10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    for name, count in (("train", 5), ("test", 3), ("unlabeled", 7)):
        (folder / f"{name}_X.bin").write_bytes(bytes([count]) * (count * 3 * 96 * 96))
        if name != "unlabeled":
            (folder / f"{name}_y.bin").write_bytes(bytes(i % 2 + 1 for i in range(count)))
    (folder / "class_names.txt").write_text("bird\ncat\n")
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)
    dataset = read("stl10/unlabeled", tmp_path, labeled={"count": "all"})
    assert dataset.train.labels.tolist() == [0, 1, 0, 1, 0, *[-1] * 7]
    assert (len(dataset.labeled), len(dataset.unlabeled)) == (5, 7)
    assert dataset.classes == ("bird", "cat")


def test_images_of_several_sizes_are_made_of_one(tmp_path: Path) -> None:
    """EuroSAT's folders, whose images are of one size, stand for those of several: `dtd` and others read alike."""
    for place, name in enumerate(["AnnualCrop", "Forest"]):
        (tmp_path / "eurosat" / "2750" / name).mkdir(parents=True)
        for copy in range(2):
            pixels = np.full((40 + 9 * copy, 64, 3), 50 * place + copy, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "eurosat" / "2750" / name / f"{copy}.jpg", quality=100)
    with pytest.raises(RunError, match=r"image 0 of `eurosat` is 40x64, not 64x64; give `data.resize`"):
        read("eurosat", tmp_path)
    dataset = read("eurosat", tmp_path, resize=16)
    assert dataset.image_shape == (3, 16, 16)
    assert dataset.train.labels.tolist() == [0, 0, 1, 1]
    assert dataset.test is None


def test_what_is_absent_says_how_to_get_it(tmp_path: Path) -> None:
    message = r"`kmnist` is not in .*KMNIST\('FOLDER', download=True\)` fetch it and give `--data-dir FOLDER`"
    with pytest.raises(RunError, match=message):
        read("kmnist", tmp_path)
    with pytest.raises(RunError, match=r"and the download failed \(.*\)\. Let `torchvision"):
        load_data(Data(dataset="kmnist"), tmp_path, download=True)
    with pytest.raises(RunError, match=r"`fer2013` is not in .*Put it into FOLDER"):
        load_data(Data(dataset="fer2013"), tmp_path, download=True)


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_every_entry_is_a_class_that_takes_what_it_is_asked_by(name: str) -> None:
    known = IMAGE_SETS[name]
    kind = getattr(datasets, known.kind)
    parameters = inspect.signature(kind.__init__).parameters
    more = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    asked = {*known.asked, *known.asked_test, *(["download"] if known.fetched else [])}
    assert more or asked <= set(parameters)
    assert bool(known.test) == bool(known.asked_test)
