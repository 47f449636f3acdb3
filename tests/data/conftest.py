"""Tiny files in the formats of MNIST and SVHN."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io


@pytest.fixture(scope="session")
def write_mnist() -> Callable[..., None]:
    """Image i of 4x5 pixels is filled with i; its label is i mod 10."""

    def write(root: Path, train: int = 30, test: int = 10) -> None:
        raw = root / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for prefix, count in (("train", train), ("t10k", test)):
            numbers = np.arange(count)
            write_idx(raw / f"{prefix}-images-idx3-ubyte", np.broadcast_to(numbers[:, None, None], (count, 4, 5)))
            write_idx(raw / f"{prefix}-labels-idx1-ubyte", numbers % 10)

    return write


@pytest.fixture
def write_svhn(monkeypatch) -> Callable[..., None]:
    """Digit i of 2x3 pixels has R = i, G = 100, B = row; its label is i mod 10, which SVHN writes as 10 for 0."""
    from torchvision.datasets import SVHN

    without_sums = {name: (address, file, None) for name, (address, file, _) in SVHN.split_list.items()}
    monkeypatch.setattr(SVHN, "split_list", without_sums)

    def write(root: Path, train: int = 30, test: int = 10) -> None:
        for name, count in (("train", train), ("test", test)):
            images = np.zeros((2, 3, 3, count), np.uint8)
            images[:, :, 0, :] = np.arange(count)
            images[:, :, 1, :] = 100
            images[1, :, 2, :] = 1
            labels = np.where(np.arange(count) % 10 == 0, 10, np.arange(count) % 10)
            scipy.io.savemat(root / f"{name}_32x32.mat", {"X": images, "y": labels[:, None].astype(np.uint8)})

    return write


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())
