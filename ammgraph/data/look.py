"""Images as a spec wants them: grey, of another size."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ammgraph.data.on_disk import OnDisk
from ammgraph.data.records import Records, Split
from ammgraph.diagnostics import RunError
from ammgraph.spec.data import Data

_LUMA = (19595, 38470, 7471)  # of 2^16: Rec. 601, as Pillow has it


@dataclass(frozen=True)
class Look:
    """What is made of each image: first grey, then of another size, bilinear and without aliases, as Pillow does it.

    Args:
        grey: whether three channels become their luma, 0.299 R + 0.587 G + 0.114 B.
        size: (height, width), to which an image is stretched.
    """

    grey: bool = False
    size: tuple[int, int] | None = None

    def of_picture(self, image: Image.Image) -> Image.Image:
        """An image of mode L or RGB."""
        image = image.convert("L") if self.grey else image
        return image if self.size is None else image.resize(self.size[::-1], Image.Resampling.BILINEAR)

    def of(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), uint8 or floats in [0, 1].

        Raises:
            RunError: they are to be grey and have two or four channels.
        """
        if self.grey and images.shape[1] not in (1, 3):
            raise RunError(f"`data.grayscale` makes one channel of three, and the images have {images.shape[1]}")
        if self.grey and images.shape[1] == 3:
            images = _luma(images)
        if self.size is None or tuple(images.shape[2:]) == self.size:
            return images
        planes = images.reshape(-1, *images.shape[2:]).cpu().numpy()
        size = self.size[::-1]
        resized = [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)) for plane in planes]
        return torch.from_numpy(np.stack(resized)).reshape(*images.shape[:2], *self.size)


PLAIN = Look()


def looked_at(records: Records, look: Look) -> Records:
    """Records whose images have that look; those that stay on disk get it as they are taken.

    Raises:
        RunError: they are vectors, or have two or four channels that cannot become grey.
    """
    if look == PLAIN:
        return records
    if records.train.kind != "image":
        raise RunError(f"`data.resize` and `data.grayscale` are of images, and {records.source} has vectors")

    def seen(split: Split) -> Split:
        images = split.images
        return replace(
            split,
            images=images.through(lambda taken, _: look.of(taken)) if isinstance(images, OnDisk) else look.of(images),
        )

    return replace(records, train=seen(records.train), test=None if records.test is None else seen(records.test))


def look_of(data: Data) -> Look:
    """What a spec's `data:` section says."""
    return Look(data.grayscale, data.resize)


def _luma(images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        weights = torch.tensor(_LUMA)[:, None, None]
        return ((images.int() * weights).sum(1, keepdim=True) + 2**15 >> 16).to(torch.uint8)
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=images.dtype)[:, None, None]
    return (images * weights).sum(1, keepdim=True)
