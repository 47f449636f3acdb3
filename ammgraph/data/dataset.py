"""A spec's `data:` section comes in, a `Dataset` goes out: all splits, and which training examples are labelled.

What is held out and what is labelled depends on `data.seed` alone: never on torch's generators, nor on each other.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from ammgraph.data.fields import read_fields, scale_others
from ammgraph.data.files import read_folder
from ammgraph.data.given import Given
from ammgraph.data.look import look_of, looked_at
from ammgraph.data.on_disk import blocks
from ammgraph.data.records import DataAbsent, FileAbsent, Records, Split, name_beside, shape_text
from ammgraph.data.standard import read_named
from ammgraph.data.stored import read_npy, read_npz
from ammgraph.data.table_files import read_csv, read_parquet
from ammgraph.data.tables import Table, read_records
from ammgraph.data.vectors import Scaling, fit_scaling
from ammgraph.diagnostics import RunError, counted
from ammgraph.spec.data_sets import DATA_SETS, GIVEN, held_out
from ammgraph.spec.schema import Data

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Dataset:
    """The examples of a run.

    `train` is what remains after `validation` was held out. `labeled` are the positions in `train` of `data.labeled`,
    ascending; empty if the spec declares none.
    """

    name: str
    train: Split
    validation: Split | None
    test: Split | None
    labeled: Tensor
    classes: tuple[str, ...]
    description: str
    scaling: Scaling | None = None  # of vectors, which are scaled
    labelled: bool = True  # else the source has no labels, and all are 0
    named: Mapping[str, "Dataset"] = field(default_factory=dict)  # where there are several: all of them

    @property
    def by_name(self) -> Mapping[str, "Dataset"]:
        """Every data set; one that has no name is named ""."""
        return self.named or {"": self}

    @property
    def scalings(self) -> Mapping[str, Scaling]:
        """How vectors are scaled, by data set."""
        return {name: found.scaling for name, found in self.by_name.items() if found.scaling is not None}

    @property
    def told(self) -> str:
        """What there is, of every data set."""
        return "; ".join(
            f"{name} = {found.description}" if name else found.description for name, found in self.by_name.items()
        )

    @property
    def unlabeled(self) -> Tensor:
        """The positions in `train` of `data.unlabeled`, the complement of `labeled`, ascending."""
        return _complement(self.labeled, len(self.train))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width); of a vector (D, 1, 1)."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def scored(self) -> tuple[str, Split]:
        """What an evaluation scores, with its name: the test or, where there is none, the training split."""
        return ("train", self.train) if self.test is None else ("test", self.test)


def load_data(
    data: Data,
    directory: Path | None,
    download: bool = True,
    scaling: Scaling | None = None,
    given: Given | None = None,
    fields: Sequence[tuple[str, str]] = (),
) -> Dataset:
    """The data set of a spec.

    Args:
        data: the spec's `data:` section.
        directory: `--data-dir`: where files of data sets with a name are or go to (else a folder of the user's cache),
            and what a relative `data.path` starts from (else the current folder).
        download: whether absent files of data sets with a name may be fetched.
        scaling: how vectors are scaled, where that is known already; else as their training examples say.
        given: the data themselves, where they are given in Python.
        fields: (kind, name) of what is taken of a record, where arrays or columns have names of their own.

    Raises:
        RunError: the data are not there, not readable or not what the spec says.
    """
    records = _read(data, directory, download, fields) if given is None else looked_at(given.records, look_of(data))
    return split_data(data, records, scaling)


def together(named: Mapping[str, Dataset]) -> Dataset:
    """Data sets by their names as one value, which is the first of them; a single one without a name is itself."""
    first, *_ = named.values()
    return first if "" in named else replace(first, named=named)


def split_data(data: Data, records: Records, scaling: Scaling | None = None) -> Dataset:
    """Records with what the spec holds out and what it has labelled; vectors as they are scaled.

    Raises:
        RunError: there are fewer examples than that takes.
    """
    held_out = _held_out(data, len(records.train))
    train = records.train.at(_complement(held_out, len(records.train))) if len(held_out) else records.train
    validation = records.train.at(held_out) if len(held_out) else None
    labeled = _labeled(data, records, train.labels)
    description = _description(records, train, validation, labeled)
    test = records.test
    _warn_of_one_class(records)
    if train.kind == "vector":
        scaling = scaling or fit_scaling(data.scale, records.columns, train.images, records.source)
        if len(scaling.columns) != len(records.columns):
            raise RunError(
                f"{records.source} has vectors of {len(records.columns)}, and the run began with vectors of "
                f"{len(scaling.columns)}; give the data that it began with"
            )
        train = scaling.scaled(train, f"{records.source}: training")
        validation, test = (
            None if split is None else scaling.scaled(split, f"{records.source}: {name}")
            for name, split in (("validation", validation), ("test", test))
        )
    if train.others:
        scaled = scale_others(data.scale, train, records.source)
        train = scaled(train)
        validation, test = (None if split is None else scaled(split) for split in (validation, test))
    return Dataset(
        name=data.dataset,
        train=train,
        validation=validation,
        test=test,
        labeled=labeled,
        classes=records.classes,
        description=description,
        scaling=scaling,
        labelled=records.labelled,
    )


def _warn_of_one_class(records: Records) -> None:
    labels = {name: classes for name, classes in records.train.other_classes.items() if len(classes) == 1}
    if records.labelled and len(records.classes) == 1:
        labels = {"": records.classes} | labels
    for name, (only,) in labels.items():
        of = f" of `{name}`" if name else ""
        logger.warning(
            f"{records.source}: every label{of} is `{only}`, and there is nothing to tell apart: errors, NMI and ARI "
            "will be void; give each class its label, or none"
        )


def fingerprints(dataset: Dataset) -> dict[str, str]:
    """Split -> SHA-256 of its examples and labels: what a run was begun with, to be told from anything else.

    Of several data sets a split is named as in `faces/train`.
    """
    if dataset.named:
        return {f"{of}/{name}": sha for of, each in dataset.named.items() for name, sha in fingerprints(each).items()}
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {name: fingerprint(split) for name, split in splits.items() if split is not None}


def changed_splits(before: Mapping[str, str] | None, dataset: Dataset) -> list[str]:
    """The splits that are not what their fingerprints `before` say; none where nothing is known of before."""
    if before is None:
        return []
    now = fingerprints(dataset)
    return [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]


def split_text(name: str, words: Mapping[str, str] = MappingProxyType({})) -> str:
    """The split of a fingerprint as a person reads it: `train`, or `train (of data.faces)`; in other `words`."""
    of, _, split = name.rpartition("/")
    return words.get(split, split) + (f" (of data.{of})" if of else "")


def class_frequencies(dataset: Dataset, label: str = "") -> Tensor:
    """p(y = k) = n_k / n over the n labelled examples: the `empirical` prior, float64, shape (classes,).

    Of several data sets it is the one that has labelled examples. Examples without this label count for nothing.

    Args:
        dataset: what is trained on.
        label: the name of the label, where it is not a record's only one.

    Raises:
        RunError: the spec declares no labelled subset, or none of it has this label.
    """
    dataset = next((found for found in dataset.named.values() if len(found.labeled)), dataset)
    if not len(dataset.labeled):
        raise RunError("the prior `empirical` counts the labelled examples, but `data.labeled` is not declared; add it")
    labels = dataset.train.of("label", label)[dataset.labeled]
    if not (known := labels >= 0).any():
        raise RunError(f"the prior `empirical` counts the labelled examples, and none of them has a `{label}`")
    classes = dataset.train.other_classes.get(label, dataset.classes)
    return torch.bincount(labels[known], minlength=len(classes)).double() / int(known.sum())


def fingerprint(split: Split) -> str:
    """SHA-256 of the examples and labels of a split, with their types and shapes."""
    found = hashlib.sha256()
    for values in (split.images, split.labels, *split.others.values()):
        found.update(f"{values.dtype} {list(values.shape)}".encode())
        for block in blocks(values):
            found.update(block.contiguous().numpy().data)
    return found.hexdigest()


# Of a path, the section `data`, the names of the example and the label where these have their own, those of all labels.
_OWN_READERS: dict[str, Callable[[Path, Data, str, str, Collection[str]], Records]] = {
    "npz": lambda path, data, x, y, _labels: looked_at(read_npz(path, x, y), look_of(data)),
    "npy": lambda path, data, x, y, _labels: looked_at(read_npy(path, x, y), look_of(data)),
    "folder": lambda path, data, x, y, _labels: read_folder(path, look_of(data)),
    "csv": lambda path, data, x, y, labels: _of_table(read_csv(path), data, x, y, labels),
    "parquet": lambda path, data, x, y, labels: _of_table(read_parquet(path), data, x, y, labels),
}


def _of_table(table: Table, data: Data, example: str, label: str, labels: Collection[str]) -> Records:
    columns = example.split(", ") if example else data.columns
    return read_records(table, columns, label or data.label, "data.fields" if example else "data.columns", labels)


def _read(data: Data, directory: Path | None, download: bool, fields: Sequence[tuple[str, str]]) -> Records:
    if data.dataset == GIVEN:
        raise DataAbsent(f"`data.dataset: {GIVEN}` is given in Python: `ammgraph.fit(spec, data=(x, y))`")
    if data.dataset in DATA_SETS:
        return read_named(data.dataset, _root(directory), download, look_of(data))
    path, read = _given_path(data, directory), _OWN_READERS[data.dataset]
    labels = {name for kind, name in fields if kind == "label"} | ({data.label} if data.label else set())
    return read_fields(lambda example, label: read(path, data, example, label, labels), fields)


def cache_folder(kind: str) -> Path:
    """Where files of a kind are kept unless it is said where: in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "ammgraph" / kind


def _root(directory: Path | None) -> Path:
    return cache_folder("data") if directory is None else Path(os.path.expanduser(directory))


def _given_path(data: Data, directory: Path | None) -> Path:
    assert data.path is not None  # the schema asks for it with `npz` and `folder`
    given = Path(data.path).expanduser()
    path = given if directory is None else directory.expanduser() / given
    if not os.path.exists(path):
        start = (
            "" if given.is_absolute() else f" (a relative path starts from {'--data-dir' if directory else Path.cwd()})"
        )
        nearby = f"; {given} exists: leave out --data-dir" if directory and os.path.exists(given) else ""
        raise FileAbsent(f"`data.path`: there is no {path}{start}{nearby or name_beside(path)}")
    return path


# --------------------------------------------------------------------------------------------------- choices by seed

_VALIDATION, _LABELED = 0, 1


def _held_out(data: Data, count: int) -> Tensor:
    """Positions of the validation examples, ascending."""
    if data.validation >= count:
        raise RunError(
            f"`data.validation` holds out {data.validation:,} of {count:,} training examples and leaves none; lower it"
        )
    if held_out(data.dataset) == "last":
        return torch.arange(count - data.validation, count)
    return _permutation(count, data.seed, _VALIDATION)[: data.validation].sort().values


def _labeled(data: Data, records: Records, labels: Tensor) -> Tensor:
    """Positions of the labelled examples, ascending. Of one seed, a smaller subset is part of a larger one."""
    labeled = data.labeled
    if labeled is None:
        return torch.empty(0, dtype=torch.int64)
    order = _permutation(len(labels), data.seed, _LABELED)
    order = order[labels[order] >= 0]
    if not records.labelled or not len(order):
        raise RunError(
            f"`data.labeled` takes labelled examples, and none of the {len(labels):,} training examples has a label: "
            f"{records.source}; give some of them one, or leave `labeled` out with what draws from it"
        )
    count = len(order) if labeled.count == "all" else labeled.count
    if count > len(order):
        there = f"there are {len(labels):,} training examples"
        there += f", {len(order):,} of them with a label" if len(order) < len(labels) else ""
        raise RunError(f"`data.labeled.count` is {count:,}, but {there}; lower it")
    chosen = order[:count] if labeled.choice == "random" else _balanced(order, labels, records.classes, count)
    return chosen.sort().values


def _balanced(order: Tensor, labels: Tensor, classes: tuple[str, ...], count: int) -> Tensor:
    """The first count / classes examples of each class, in the given order."""
    if count % len(classes):
        raise RunError(
            f"{counted(count, 'labelled example')} cannot be balanced over {counted(len(classes), 'class')}; "
            f"let `data.labeled.count` be a multiple of {len(classes)}"
        )
    each = count // len(classes)
    sizes = torch.bincount(labels[order], minlength=len(classes)).tolist()
    for name, size in zip(classes, sizes, strict=True):
        if size < each:
            most = min(sizes) * len(classes)
            advice = f"`data.labeled.count` can be {most:,} at most" if most else "take `data.labeled.choice` `random`"
            raise RunError(
                f"{counted(count, 'labelled example')}, balanced, need {each:,} of each class, but class `{name}` has "
                f"{size:,}; {advice}"
            )
    ordered = labels[order]
    return torch.cat([order[ordered == label][:each] for label in range(len(classes))])


def _permutation(count: int, seed: int, purpose: int) -> Tensor:
    """A random permutation of 0..count - 1, its own for each purpose."""
    # numpy promises the raw words of a bit generator for ever, but not what Generator.permutation makes of them.
    words = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(purpose,))).random_raw(count)
    return torch.from_numpy(np.argsort(words, kind="stable").astype(np.int64))


def _complement(positions: Tensor, count: int) -> Tensor:
    rest = torch.ones(count, dtype=torch.bool)
    rest[positions] = False
    return rest.nonzero().squeeze(1)


def _description(records: Records, train: Split, validation: Split | None, labeled: Tensor) -> str:
    known = len(train.with_label)
    told = [f"{known:,} with a label"] if known < len(train) else []
    told += [f"{len(labeled):,} labelled"] if len(labeled) else []
    counts = [f"{len(train):,} training" + (f" ({', '.join(told)})" if told else "")]
    counts += [] if validation is None else [f"{len(validation):,} validation"]
    counts += ["no test" if records.test is None else f"{len(records.test):,} test"]
    shape = train.images.shape[1:]
    kind = f"images of {shape_text(shape)}" if train.kind == "image" else f"vectors of {shape[0]}"
    classes = counted(len(records.classes), "class") if records.labelled else "no labels"
    return f"{records.source}: {kind}, {classes}; {', '.join(counts)}"
