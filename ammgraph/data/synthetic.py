"""Random examples in the shape and number of a data set that is not at hand, to try out what a step does and costs."""

import torch

from ammgraph.data.dataset import Dataset, split_data
from ammgraph.data.records import Records, Split, checked_records, shape_text
from ammgraph.data.vectors import column_names
from ammgraph.spec.data_sets import DATA_SETS, ExampleKind
from ammgraph.spec.schema import Data

DIFFERENT = 4096  # examples, which are then repeated


def synthetic_data(
    data: Data, shape: tuple[int, int, int], classes: int, least: int, kind: ExampleKind = "image"
) -> Dataset:
    """Pixels uniform in 0..255, or numbers of N(0, 1); labels 0, 1, ..., classes - 1, 0, 1, ...

    Split and labelled as the spec says.

    Args:
        data: the spec's `data:` section.
        shape: of an example.
        classes: number of classes.
        least: training examples where the data set's number is not known, beside those that are held out.
        kind: what an example is.
    """
    known = DATA_SETS.get(data.dataset)
    train, test = (least + data.validation, 0) if known is None else (known.train, known.test)
    generator = torch.Generator().manual_seed(0)
    what = f"images of {shape_text(shape)}" if kind == "image" else f"vectors of {shape[0]}"
    source = f"synthetic {what} in place of `{data.dataset}`"
    names = tuple(str(label) for label in range(classes))
    columns = column_names(shape[0]) if kind == "vector" else ()
    records = Records(_split(train, shape, classes, generator, kind), None, names, source, columns)
    if test:
        records = checked_records(records.train, _split(test, shape, classes, generator, kind), names, source, columns)
    return split_data(data, records)


def _split(
    count: int, shape: tuple[int, int, int], classes: int, generator: torch.Generator, kind: ExampleKind
) -> Split:
    size = (min(count, DIFFERENT), *shape)
    if kind == "image":
        examples = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
    else:
        examples = torch.randn(size, dtype=torch.float64, generator=generator)
    positions = torch.arange(count)
    return Split(examples[positions % DIFFERENT], positions % classes, kind)
