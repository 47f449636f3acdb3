from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ammgraph.data.dataset import load_data
from ammgraph.data.files import read_images
from ammgraph.data.look import Look
from ammgraph.diagnostics import RunError
from ammgraph.spec.schema import Data

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (6, 20, 30, 3), np.uint8)


def by_pillow(pixels: np.ndarray, grey: bool, size: tuple[int, int] | None) -> np.ndarray:
    image = Image.fromarray(pixels)
    image = image.convert("L") if grey else image
    found = np.asarray(image if size is None else image.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return found[None] if found.ndim == 2 else found.transpose(2, 0, 1)


@pytest.mark.parametrize(("grey", "size"), [(True, None), (False, (8, 8)), (True, (8, 12)), (False, (40, 40))])
def test_arrays_look_as_pillow_makes_pictures_look(grey: bool, size: tuple[int, int] | None) -> None:
    expected = np.stack([by_pillow(pixels, grey, size) for pixels in COLOUR])
    found = Look(grey, size).of(torch.from_numpy(COLOUR).permute(0, 3, 1, 2))
    assert found.dtype == torch.uint8
    assert np.array_equal(found.numpy(), expected)


def test_floats_look_as_bytes_but_for_rounding() -> None:
    images = torch.from_numpy(COLOUR).permute(0, 3, 1, 2)
    look = Look(True, (8, 8))
    assert (look.of(images.float() / 255) * 255 - look.of(images).float()).abs().max() < 1.6


def test_grey_images_stay_as_they_are() -> None:
    grey = torch.from_numpy(COLOUR[:, None, :, :, 0])
    assert torch.equal(Look(True).of(grey), grey)


def test_two_channels_do_not_become_grey() -> None:
    with pytest.raises(RunError, match=r"`data.grayscale` makes one channel of three, and the images have 2"):
        Look(True).of(torch.zeros(1, 2, 3, 3))


@pytest.mark.parametrize("dataset", ["npz", "npy", "folder"])
def test_every_kind_of_own_images_gets_the_look(dataset: str, tmp_path: Path) -> None:
    labels = np.arange(6) % 2
    np.savez(tmp_path / "npz", x_train=COLOUR, y_train=labels)
    (tmp_path / "npy").mkdir()
    np.save(tmp_path / "npy" / "x_train.npy", COLOUR)
    np.save(tmp_path / "npy" / "y_train.npy", labels)
    for place, (pixels, label) in enumerate(zip(COLOUR, labels, strict=True)):
        (tmp_path / "folder" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "folder" / str(label) / f"{place}.png")
    path = "npz.npz" if dataset == "npz" else dataset
    dataset_found = load_data(Data(dataset=dataset, path=path, resize=8, grayscale=True), tmp_path)
    assert dataset_found.image_shape == (1, 8, 8)
    found = dataset_found.train
    order = np.argsort(labels, kind="stable") if dataset == "folder" else np.arange(6)
    assert np.array_equal(found.held().numpy(), np.stack([by_pillow(COLOUR[at], True, (8, 8)) for at in order]))


def test_pictures_of_several_sizes_become_one(tmp_path: Path) -> None:
    for place, size in enumerate([(20, 30), (8, 8), (50, 9)]):
        (tmp_path / "cat").mkdir(exist_ok=True)
        Image.fromarray(COLOUR[0]).resize(size).save(tmp_path / "cat" / f"{place}.png")
    with pytest.raises(RunError, match=r"or let `data.resize` and `data.grayscale` do so"):
        load_data(Data(dataset="folder", path="."), tmp_path)
    assert load_data(Data(dataset="folder", path=".", resize=[10, 12]), tmp_path).image_shape == (3, 10, 12)


def test_what_is_encoded_gets_the_look_of_the_run(tmp_path: Path) -> None:
    Image.fromarray(COLOUR[0]).save(tmp_path / "a.png")
    np.savez(tmp_path / "a.npz", images=COLOUR[:1])
    expected = by_pillow(COLOUR[0], True, (8, 8))[None]
    for name in ("a.png", "a.npz"):
        assert np.array_equal(read_images(tmp_path / name, Look(True, (8, 8)))[0].numpy(), expected)


def test_vectors_have_no_size(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=np.zeros((4, 3)))
    with pytest.raises(RunError, match=r"are of images, and .*a\.npz has vectors"):
        load_data(Data(dataset="npz", path="a.npz", resize=8), tmp_path)
