"""A small classifier, trained on the spot on labelled images: what stands in for Inception where its weights are not.

It is kept in the user's cache, named by the data it was trained on, its seed and `VERSION`: raise `VERSION` with every
change that changes its features, for the scores that rest on them change too.
"""

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ammgraph.data.dataset import fingerprint
from ammgraph.data.records import Split, scale_images

VERSION = 1
FEATURES = 64
STEPS = 2500
STANDARD = 10_000  # images that standardise the features
BATCH = 128
RATE = 2e-3


class Classifier(nn.Module):
    """Images (B, C, H, W) in [0, 1] -> (features (B, 64), logits (B, classes)). Takes any size of at least 4 x 4.

    Features are standardised by their mean and standard deviation over the training images, so that distances have one
    scale whatever the data: of 64 features with variance 1.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 16, 5, stride=2, padding=2)
        self.second = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.third = nn.Conv2d(32, 64, 3, padding=1)
        self.features = nn.Linear(64 * 9, FEATURES)
        self.logits = nn.Linear(FEATURES, classes)
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features after their ReLU, standardised; and the logits, linear in them."""
        x = F.relu(self.first(images - 0.5))
        x = F.relu(self.second(x))
        x = F.adaptive_avg_pool2d(F.relu(self.third(x)), 3)
        features = F.relu(self.features(x.flatten(1)))
        return (features - self.get_buffer("mean")) / self.get_buffer("scale"), self.logits(features)

    @torch.no_grad()
    def standardise(self, images: Tensor) -> None:
        """Take mean and standard deviation from these images; one that hardly moves keeps a tenth of the others'."""
        features = torch.cat([self(part)[0] for part in images.split(1000)])
        deviation = features.std(0)
        self.get_buffer("mean").copy_(features.mean(0))
        self.get_buffer("scale").copy_(deviation.clamp(min=0.1 * float(deviation.mean()) + 1e-12))


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained classifier, the file that holds it, and how well it does on which images."""

    path: Path
    network: Classifier
    error: float
    examples: int
    split: str


def cached_classifier(
    train: Split, classes: int, held_out: tuple[str, Split], seed: int, folder: Path, device: torch.device
) -> Trained:
    """The classifier of these training images from the cache; trained, measured and put there first if need be.

    Args:
        train: labelled images.
        classes: number of classes.
        held_out: name of a split, and the split: what its error is measured on.
        seed: of initialisation and order.
        folder: the cache; `cache_folder("classifiers")` unless a test says otherwise.
        device: where it is trained; the result is on the CPU.
    """
    path = folder / f"classifier-{digest(train, held_out[1])}-{seed}-v{VERSION}.pt"
    stored = _load(path, train.images.shape[1], classes)
    if stored is None:
        network = train_classifier(train, classes, seed, device)
        split, examples = held_out
        error = error_of(network, examples)
        stored = {"network": network.state_dict(), "error": error, "examples": len(examples), "split": split}
        _save(path, stored)
    network = Classifier(train.images.shape[1], classes)
    network.load_state_dict(stored["network"])
    network.eval().requires_grad_(False)
    return Trained(path, network, stored["error"], stored["examples"], stored["split"])


def train_classifier(train: Split, classes: int, seed: int, device: torch.device) -> Classifier:
    """Adam on the cross-entropy for a fixed number of steps, its rate a half cosine to 0; the result on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(train.images.shape[1], classes).to(device)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(train), generator=generator)
    batch, position = min(BATCH, len(train)), 0
    for step in range(STEPS):
        if position + batch > len(order):
            order, position = torch.randperm(len(train), generator=generator), 0
        chosen = train.at(order[position : position + batch]).to(device)
        position += batch
        optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        loss = F.cross_entropy(network(scale_images(chosen.held(), 0.0, 1.0))[1], chosen.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network = network.cpu()
    network.standardise(scale_images(train.images[order[:STANDARD]], 0.0, 1.0))
    return network


@torch.no_grad()
def error_of(network: Classifier, examples: Split) -> float:
    """The share of examples that the classifier gets wrong."""
    wrong = 0
    for start in range(0, len(examples), 1000):
        images = scale_images(examples.images[start : start + 1000], 0.0, 1.0)
        wrong += int((network(images)[1].argmax(1) != examples.labels[start : start + 1000]).sum())
    return wrong / len(examples)


def digest(*splits: Split) -> str:
    """A name for the content of splits: 16 hexadecimal digits."""
    return hashlib.sha256("".join(map(fingerprint, splits)).encode()).hexdigest()[:16]


def _load(path: Path, channels: int, classes: int) -> dict[str, Any] | None:
    """What the cache holds; None where it holds nothing that can be used, which is then trained anew."""
    if not path.exists():
        return None
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        Classifier(channels, classes).load_state_dict(stored["network"])
        usable = {"error", "examples", "split"} <= stored.keys()
    except Exception:  # whatever a damaged file makes the reader do: it is only a cache
        return None
    return dict(stored) if usable else None


def _save(path: Path, content: dict[str, Any]) -> None:
    """Written aside and renamed, so that two processes do no harm to each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.new")
    try:
        torch.save(content, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
