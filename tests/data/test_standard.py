import os
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ammgraph.data import standard
from ammgraph.data.dataset import load_data
from ammgraph.data.standard import read_digits, read_mnist, read_svhn
from ammgraph.diagnostics import RunError
from ammgraph.spec.schema import Data


@pytest.fixture
def no_network(monkeypatch):
    """Every attempt to open an address fails as it does without a network, and is counted."""
    attempts = []

    def refuse(*args, **kwargs):
        attempts.append(args)
        raise URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    return attempts


def test_digits_are_scaled_to_bytes_that_give_the_original_back():
    records = read_digits(Path(), download=False)
    original = torch.from_numpy(load_digits().images)
    assert records.train.images.shape == (1797, 1, 8, 8)
    assert records.train.images.dtype == torch.uint8
    assert records.train.images.max() == 255
    assert torch.equal((records.train.images.squeeze(1) * (16 / 255)).round().double(), original)
    assert records.train.labels.tolist() == load_digits().target.tolist()
    assert records.test is None


def test_digits_are_the_same_where_scikit_learn_s_file_lies_elsewhere(monkeypatch):
    at_hand = read_digits(Path(), download=False).train
    monkeypatch.setattr(standard, "DIGITS", "sklearn/elsewhere.csv.gz")
    asked = read_digits(Path(), download=False).train
    assert torch.equal(at_hand.images, asked.images)
    assert torch.equal(at_hand.labels, asked.labels)


def test_mnist_is_read_from_idx_files(tmp_path, write_mnist, no_network):
    write_mnist(tmp_path)
    records = read_mnist(tmp_path, download=True)
    assert records.train.images.shape == (30, 1, 4, 5)
    assert records.train.images[:, 0, 3, 4].tolist() == list(range(30))
    assert records.train.labels.tolist() == [i % 10 for i in range(30)]
    assert len(records.test) == 10
    assert records.train.labels.dtype == torch.int64
    assert not no_network


def test_svhn_is_read_from_mat_files_with_zero_for_ten(tmp_path, write_svhn, no_network):
    write_svhn(tmp_path)
    records = read_svhn(tmp_path, download=True)
    assert records.train.images.shape == (30, 3, 2, 3)
    assert records.train.images.is_contiguous()
    assert records.train.images[7, :, 1, 0].tolist() == [7, 100, 1]
    assert records.train.labels.tolist() == [i % 10 for i in range(30)]
    assert len(records.test) == 10
    assert not no_network


def test_svhn_holds_out_the_last_images_in_file_order(tmp_path, write_svhn):
    write_svhn(tmp_path)
    dataset = load_data(Data(dataset="svhn", validation=8, seed=3), tmp_path)
    assert dataset.train.images[:, 0, 0, 0].tolist() == list(range(22))
    assert dataset.validation.images[:, 0, 0, 0].tolist() == list(range(22, 30))


@pytest.mark.parametrize(
    ("read", "names", "layout"),
    [
        (read_mnist, ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"], "FOLDER/MNIST/raw"),
        (read_svhn, ["train_32x32.mat", "test_32x32.mat"], "into FOLDER and"),
    ],
)
@pytest.mark.parametrize("download", [True, False])
def test_without_files_and_network_the_error_says_what_to_fetch_and_where_to_put_it(
    read, names, layout, download, tmp_path, no_network
):
    with pytest.raises(RunError) as caught:
        read(tmp_path, download)
    message = str(caught.value)
    assert str(tmp_path) in message
    assert all(name in message for name in [*names, layout, "--data-dir FOLDER"])
    assert ("no network in tests" in message) == download == bool(no_network)


def test_only_the_absent_files_are_named(tmp_path, write_mnist):
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(RunError, match=r"\(no t10k-labels-idx1-ubyte\)"):
        read_mnist(tmp_path, download=False)


def test_a_data_folder_that_is_a_file_is_an_error(tmp_path, no_network):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="download failed"):
        read_mnist(tmp_path / "file", download=True)


@pytest.mark.parametrize("length", [0, 3, 10, 200])
def test_a_truncated_idx_file_is_an_error_that_says_to_delete_it(length, tmp_path, write_mnist):
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(RunError, match=r"cannot read MNIST in .*MNIST/raw .*: move it away"):
        read_mnist(tmp_path, download=False)


def test_images_and_labels_of_mnist_must_be_equally_many(tmp_path, write_mnist):
    write_mnist(tmp_path / "a", train=30)
    write_mnist(tmp_path / "b", train=20)
    name = "MNIST/raw/train-labels-idx1-ubyte"
    os.replace(tmp_path / "b" / name, tmp_path / "a" / name)
    with pytest.raises(RunError, match="30 training images but 20 labels"):
        read_mnist(tmp_path / "a", download=False)


def test_a_damaged_mat_file_is_an_error_and_is_not_fetched_again(tmp_path, no_network):
    for name in ("train", "test"):
        (tmp_path / f"{name}_32x32.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(RunError, match=r"cannot read SVHN .* move it away"):
        read_svhn(tmp_path, download=True)
    assert not no_network


def test_without_a_data_folder_the_users_cache_is_used(tmp_path, monkeypatch, write_mnist):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_mnist(tmp_path / "ammgraph" / "data")
    assert len(load_data(Data(dataset="mnist"), None, download=False).train) == 30


@pytest.fixture(scope="module")
def real_data():
    folder = os.environ.get("AMMGRAPH_DATA")
    if not folder:
        pytest.skip("AMMGRAPH_DATA names no folder with real data")
    return Path(folder)


@pytest.mark.slow
def test_the_papers_split_of_the_real_mnist(real_data):
    dataset = load_data(Data(dataset="mnist", validation=5000), real_data, download=False)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (55_000, 5_000, 10_000)
    assert dataset.image_shape == (1, 28, 28)
    assert dataset.test.labels.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.slow
def test_the_real_svhn_subset_is_read_as_npz(real_data):
    dataset = load_data(Data(dataset="npz", path="svhn_subset.npz"), real_data)
    stored = np.load(real_data / "svhn_subset.npz")
    assert dataset.image_shape == (3, 32, 32)
    assert np.array_equal(dataset.test.images.numpy(), stored["x_test"].transpose(0, 3, 1, 2))
    assert dataset.test.labels.tolist() == stored["y_test"].tolist()
