"""Several fields of a record: arrays or columns of their own names beside the example and the label of its type."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from ammgraph.data.records import Records, Split
from ammgraph.data.vectors import column_names, fit_scaling, through
from ammgraph.diagnostics import RunError, counted

Read = Callable[[str, str], Records]  # of the names of an example and of a label; "" is what a record has by its type


def read_fields(read: Read, fields: Sequence[tuple[str, str]]) -> Records:
    """Records with all of their fields.

    The first example and the first label are `images` and `labels`, or those without a name where these are taken.

    Args:
        read: reads records of one example and one label.
        fields: (kind, name) of what is taken.

    Raises:
        RunError: as `read`; or a field has another number of records.
    """
    examples = [name for kind, name in fields if kind != "label"]
    labels = [name for kind, name in fields if kind == "label"]
    example = "" if "" in examples or not examples else examples[0]
    label = "" if "" in labels or not labels else labels[0]
    records = read(example, label)
    for name in dict.fromkeys(examples + labels):
        if name in (example, label):
            continue
        other = read(name, label) if name in examples else read(example, name)
        records = _with(records, other, (name, example or label), name in examples)
    return records


def _with(records: Records, other: Records, names: tuple[str, str], is_example: bool) -> Records:
    """The records with a further field; `names` are its own and that of the first one."""
    name, first = names

    def added(split: Split | None, of: Split | None) -> Split | None:
        if split is None or of is None:
            return split
        if len(of) != len(split):
            raise RunError(
                f"{records.source}: `{name}` has {counted(len(of), 'record')}, and "
                f"{f'`{first}`' if first else 'the example'} {len(split):,}; expected one each"
            )
        classes = {} if is_example else {name: other.classes}
        others = {**split.others, name: of.images if is_example else of.labels}
        return replace(split, others=others, other_classes={**split.other_classes, **classes})

    if not is_example and not other.labelled:
        raise RunError(f"{records.source}: no record has a label in `{name}`, which `data.fields` names")
    train = added(records.train, other.train)
    assert train is not None
    return replace(records, train=train, test=added(records.test, other.test))


def scale_others(kind: str, train: Split, source: str) -> Callable[[Split], Split]:
    """What scales further vectors, each by its own training examples."""
    scalings = {
        name: fit_scaling(kind, column_names(values.shape[1]), values, f"{source}: `{name}`")
        for name, values in train.others.items()
        if values.dtype == torch.float64  # images are bytes or of single precision
    }

    def scaled(split: Split) -> Split:
        vectors = {name: through(split.others[name], scaling.apply) for name, scaling in scalings.items()}
        return replace(split, others={**split.others, **vectors})

    return scaled
