"""Random images in the shape and number of a data set that is not at hand, to try out what a step does and costs."""

import torch

from ammgraph.data.dataset import Dataset, split_data
from ammgraph.data.records import Records, Split, checked_records, shape_text
from ammgraph.spec.data_sets import DATA_SETS
from ammgraph.spec.schema import Data

DIFFERENT = 4096  # images, which are then repeated


def synthetic_data(data: Data, shape: tuple[int, int, int], classes: int, least: int) -> Dataset:
    """Pixels uniform in 0..255, labels 0, 1, ..., classes - 1, 0, 1, ...; split and labelled as the spec says.

    Args:
        data: the spec's `data:` section.
        shape: of an image.
        classes: number of classes.
        least: training examples where the data set's number is not known, beside those that are held out.
    """
    known = DATA_SETS.get(data.dataset)
    train, test = (least + data.validation, 0) if known is None else (known.train, known.test)
    generator = torch.Generator().manual_seed(0)
    source = f"synthetic images of {shape_text(shape)} in place of `{data.dataset}`"
    names = tuple(str(label) for label in range(classes))
    records = Records(_split(train, shape, classes, generator), None, names, source)
    if test:
        records = checked_records(records.train, _split(test, shape, classes, generator), names, source)
    return split_data(data, records)


def _split(count: int, shape: tuple[int, int, int], classes: int, generator: torch.Generator) -> Split:
    images = torch.randint(0, 256, (min(count, DIFFERENT), *shape), dtype=torch.uint8, generator=generator)
    positions = torch.arange(count)
    return Split(images[positions % DIFFERENT], positions % classes)
