"""The section `data` of a spec: which records there are, which are held out and labelled, how vectors are scaled.

It describes one data set, or several by their names.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from ammgraph.diagnostics import alternatives
from ammgraph.layers.operations import Shape
from ammgraph.spec.data_sets import (
    DATA_SETS,
    GIVEN,
    MAIN_FIELDS,
    NAMED_FIELDS,
    OWN_DATA,
    TABLES,
    may_hold,
    meanings,
    names,
)
from ammgraph.spec.one_of import OneOf
from ammgraph.spec.values import (
    ARITHMETIC_SCHEMA,
    IDENTIFIER_PATTERN,
    Count,
    Model,
    Seed,
    Whole,
    describe,
    integer_of,
    of_length,
    problem,
    wrong_type,
)


def _labeled_count(value: object, info: ValidationInfo) -> int | str:
    count = value if value == "all" else integer_of(value, info)
    if isinstance(count, int) and count < 1:
        raise problem("out-of-range", "{place} is out of range", found=describe(count), expected="at least 1, or `all`")
    return count


LabeledCount = Annotated[
    int | Literal["all"],
    BeforeValidator(_labeled_count),
    WithJsonSchema({"anyOf": [{"enum": ["all"]}, {"type": "integer", "minimum": 1}, ARITHMETIC_SCHEMA]}),
]


class Labeled(Model):
    """The labelled subset of the training examples, for `data.labeled`, `data.unlabeled` and `empirical`."""

    count: LabeledCount = Field(
        description="Number of labelled training examples, or `all` that have a label.", examples=[100]
    )
    choice: Literal["random", "balanced"] = Field(
        "random",
        description="`random`: drawn at random; `balanced`: the same number of each class.",
        examples=["balanced"],
    )


def _field_name(value: object, info: ValidationInfo) -> str:
    columns = value if isinstance(value, list) and value else [value]
    if not all(isinstance(column, str) and column for column in columns):
        raise wrong_type(value, "a name, or a list of names of columns")
    name = ", ".join(map(str, columns))
    if name not in MAIN_FIELDS and info.data.get("dataset") not in NAMED_FIELDS:
        named = " or ".join(f"`dataset: {dataset}`" for dataset in NAMED_FIELDS)
        raise problem(
            "unknown-value",
            f"{{place}} cannot be `{name}`",
            expected="`image`, `label` or `vector`",
            hint=f"other names are of arrays and columns, {named}",
        )
    return name


FieldName = Annotated[
    str,
    BeforeValidator(_field_name),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
            ]
        }
    ),
]


def _both(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value, value]


Resize = Annotated[
    tuple[Count, Count],
    of_length(2, "[height, width]"),
    BeforeValidator(_both),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                ARITHMETIC_SCHEMA,
                {"type": "array", "items": {"anyOf": [{"type": "integer", "minimum": 1}, ARITHMETIC_SCHEMA]}},
            ]
        }
    ),
]

DataSetName = Annotated[str, OneOf(names)]
_OF_TABLES = " and ".join(f"`{name}`" for name in TABLES)
_LAST = " and ".join(f"`{name}`" for name, known in DATA_SETS.items() if known.held_out == "last")


_NO_PATH = (
    "a data set with a name needs none: one that is fetched lies in a run's `--data-dir`; data of your own have "
    f"`dataset` {alternatives(OWN_DATA)}"
)


class Data(Model):
    """Where examples come from and how they are split."""

    dataset: DataSetName = Field(description=f"{meanings()}.", examples=["digits"])
    path: str | None = Field(
        None,
        min_length=1,
        description=f"The file or the folder, for {', '.join(f'`{name}`' for name in OWN_DATA)} only; relative to "
        "`--data-dir`, else to the current folder.",
        examples=["images.npz"],
    )
    validation: Whole = Field(
        0,
        description="Number of training examples held out, chosen at random by `seed` "
        f"(of {_LAST} the last in file order).",
        examples=[5000],
    )
    labeled: Labeled | None = Field(
        None,
        description="The labelled subset, chosen from the training examples by `seed`; absent: no labels in training.",
        examples=[{"count": 100, "choice": "balanced"}],
    )
    fields: dict[str, FieldName] = Field(
        default_factory=dict,
        description="Which field of a record a variable takes: `image`, `label` or `vector`, as its type decides by "
        f"default; or, of `npz`, `npy`, {_OF_TABLES}, the array or the column of that name, of a vector a list of "
        "columns.",
        examples=[{"x1": "left", "x2": "right", "y1": "digit", "y2": "colour"}],
    )
    columns: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description=f"Names of a table's columns that are the vector, in this order, for {_OF_TABLES} only; all but "
        "`label` unless given.",
        examples=[["alcohol", "hue"]],
    )
    label: str | None = Field(
        None,
        min_length=1,
        description=f"Name of a table's column that is the label, for {_OF_TABLES} only; without it no record has one.",
        examples=["grower"],
    )
    scale: Literal["standardize", "minmax", "none"] = Field(
        "standardize",
        description="How each number of vectors is scaled, by the training examples alone: `standardize` to mean 0 and "
        "standard deviation 1, `minmax` to [0, 1], or `none`. Of vectors only.",
        examples=["minmax"],
    )
    resize: Resize | None = Field(
        None,
        description="Size that every image is made of, [height, width] or one number for both; images are stretched.",
        examples=[32],
    )
    grayscale: bool = Field(
        False, description="Whether images in colour become grey, one channel of three.", examples=[True]
    )
    seed: Seed = Field(
        0, description="Seed of the splits and of the labelled subset; independent of the run's `--seed`.", examples=[1]
    )

    @property
    def named_fields(self) -> dict[str, str]:
        """Variable -> the array or the columns that it is, where it is not what a record has by its type.

        A table has no images: there `image` is the name of a column.
        """
        table = self.dataset in NAMED_FIELDS and not may_hold(self.dataset, "image")
        words = [word for word in MAIN_FIELDS if word != "image" or not table]
        return {variable: name for variable, name in self.fields.items() if name not in words}

    @property
    def example_shape(self) -> Shape | None:
        """(channels, height, width) of an image or (D, 1, 1) of a vector, where the data set has a name."""
        if (known := DATA_SETS.get(self.dataset)) is None:
            return None
        if known.kind != "image":
            return known.shape
        return (1 if self.grayscale else known.shape[0], *(self.resize or known.shape[1:]))

    @model_validator(mode="after")
    def _path_goes_with_the_dataset(self) -> Self:
        if self.dataset in OWN_DATA and self.path is None:
            message = f"{{place}} has no `path`, which `dataset: {self.dataset}` needs"
            raise problem("missing-key", message, stands_at="key")
        where = "it is given in Python" if self.dataset == GIVEN else _NO_PATH
        hints = {"path": where} if self.dataset not in OWN_DATA else {}
        if self.dataset not in TABLES:
            hints |= dict.fromkeys(
                ("columns", "label"), f"columns have names in a table, `dataset: {TABLES[0]}` or `{TABLES[1]}`"
            )
        if not may_hold(self.dataset, "image"):
            hints |= dict.fromkeys(("resize", "grayscale"), "it has no images")
        for key, hint in hints.items():
            if getattr(self, key):
                message = f"`dataset: {self.dataset}` takes no `{key}`"
                raise problem("conflicting-keys", message, at=(key,), stands_at="key", hint=hint)
        for place, name in enumerate(self.columns or ()):
            if name == self.label or name in (self.columns or ())[:place]:
                message = f"`{name}` is the label too" if name == self.label else f"`{name}` stands twice in `columns`"
                raise problem("conflicting-keys", message, at=("columns", place))
        return self


# What no data set of several may be called: the keys of one, and the words of `data.unlabeled`.
NO_NAMES = (*Data.model_fields, "unlabeled")


def _written_as(value: object) -> str:
    """One data set, or a mapping of several: of what is written, one has a `dataset`, several are mappings by name."""
    if not isinstance(value, dict) or not isinstance(value.get("dataset", {}), dict):
        return "<one>"
    named = (name not in NO_NAMES or "dataset" in entry for name, entry in value.items() if isinstance(entry, dict))
    return "<several>" if any(named) else "<one>"


def names_of(section: object) -> tuple[str, ...]:
    """The names of the data sets of a section as it is written; "" of one without a name."""
    return tuple(section) if isinstance(section, dict) and _written_as(section) == "<several>" else ("",)


def _named(value: Mapping[str, object]) -> Mapping[str, object]:
    """Names of data sets stand behind `data.`, and so are none of the words that stand there."""
    for name in value:
        if name in NO_NAMES or not re.fullmatch(IDENTIFIER_PATTERN, name):
            what = "a key of a data set, and no name of one" if name in NO_NAMES else "not a name"
            expected = "a letter, then letters, digits and `_`, and no key of a data set"
            raise problem("bad-name", f"`{name}` is {what}", at=(name,), stands_at="key", expected=expected)
    return value


DataSets: TypeAlias = Annotated[dict[str, Data], BeforeValidator(_named)]
DataSection = Annotated[
    Annotated[Data, Tag("<one>")] | Annotated[DataSets, Tag("<several>")], Discriminator(_written_as)
]
