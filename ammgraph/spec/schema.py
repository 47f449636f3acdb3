"""What a person wrote: the frozen pydantic models of a spec, one per section, every key with its meaning and range.

Texts in the notation (`y1 + z1`, `encoder.z`, `2 * K`) are parsed here, with the spec's constants as context, so that
behind this module there is no text left to interpret. Whether the parts fit together is the compiler's business.
Descriptions and examples are what `ammgraph schema` and the language reference say; units and ranges belong there.
What stands under `data`, `training` and `networks` is in the modules of these names.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    Tag,
    create_model,
    model_validator,
)

from ammgraph.formulas.objectives import OBJECTIVES
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.layers.activations import CATEGORICAL_ACTIVATIONS, ranges_text  # noqa: F401
from ammgraph.spec.columns import Activation, Pool  # noqa: F401
from ammgraph.spec.data import Data, DataSection, Labeled  # noqa: F401
from ammgraph.spec.data_sets import GIVEN
from ammgraph.spec.measures import MEASURES
from ammgraph.spec.networks import Network, Row  # noqa: F401
from ammgraph.spec.notation import LARGEST_COUNT
from ammgraph.spec.notebook import Shown
from ammgraph.spec.one_of import OneOf
from ammgraph.spec.priors import (  # noqa: F401  what the rooms behind take from here
    Empirical,
    Mixture,
    Normal,
    Probabilities,
    RandomMeans,
    Uniform,
)
from ammgraph.spec.published import Compared, Measured, Published
from ammgraph.spec.schedules import Schedule, Scheduled
from ammgraph.spec.source import SourceMap, Table
from ammgraph.spec.sources import DataSource, Source, SourceValue  # noqa: F401
from ammgraph.spec.training import Training
from ammgraph.spec.values import (  # noqa: F401
    ARITHMETIC_SCHEMA,
    Count,
    Model,
    NonNegative,
    Number,
    OrArithmetic,
    Positive,
    ReferenceText,
    Seed,
    Side,
    SideText,
    TermText,
    Whole,
    describe,
    integer_of,
    of_length,
    problem,
    require_one_of,
    text_of,
    text_schema,
    told_by_type,
)

# ---------------------------------------------------------------------------------------- variables


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise problem("out-of-range", "{place} is empty", expected="[low, high] with low < high")
    return bounds


class ImageVariable(Model):
    """An image of shape (channels, height, width)."""

    type: Literal["image"] = Field(description="An image.", examples=["image"])
    shape: Annotated[tuple[Count, Count, Count], of_length(3, "[channels, height, width]")] = Field(
        description="[channels, height, width], in pixels.", examples=[[1, 8, 8]]
    )
    range: Annotated[tuple[Number, Number], of_length(2, "[low, high]"), AfterValidator(_ascending)] = Field(
        (0.0, 1.0),
        description=f"Values of black and white, [low, high], low < high: {ranges_text()}.",
        examples=[[0, 1]],
    )


class CategoricalVariable(Model):
    """A categorical variable: one-hot vectors of length `size` (or softmax vectors, where a row draws them)."""

    type: Literal["categorical"] = Field(description="One of `size` categories.", examples=["categorical"])
    size: Annotated[int, Field(ge=2, le=LARGEST_COUNT), BeforeValidator(integer_of), OrArithmetic()] = Field(
        description="Number of categories K; of a label at least the number of classes.", examples=[10]
    )


class RealVariable(Model):
    """A real vector of length `size`."""

    type: Literal["real"] = Field(description="A real vector.", examples=["real"])
    size: Count = Field(description="Number of dimensions.", examples=[16])


Variable = Annotated[ImageVariable | CategoricalVariable | RealVariable, Field(discriminator="type")]

# ---------------------------------------------------------------------------------------- games


Every = Annotated[
    Count,
    Field(
        description="Take the penalty in every so many steps, multiplied by this number: the same on average at less "
        "cost (lazy regularization, Karras et al. 2020).",
        examples=[16],
    ),
]


class PenaltyKeys(Model):
    """A penalty's weight, which is written by the key that its formula has, and how often the penalty is taken."""

    weight: Scheduled
    every: Every = 1


def _keys(weight: str) -> type[PenaltyKeys]:
    example = next(penalty.example for penalty in PENALTIES.values() if penalty.weight == weight)
    described = Field(alias=weight, description="Weight of the penalty, as its formula has it.", examples=[example])
    name, meaning = f"{weight.capitalize()}Penalty", f"A penalty with a weight `{weight}`."
    return create_model(name, __base__=PenaltyKeys, __doc__=meaning, weight=(Scheduled, described))


_BY_WEIGHT = {weight: _keys(weight) for weight in dict.fromkeys(penalty.weight for penalty in PENALTIES.values())}

Objective = Annotated[str, OneOf(lambda: OBJECTIVES)]

if TYPE_CHECKING:

    class _Penalized(Model):
        """A game's penalties."""

else:  # what the tables of formulas hold
    _Penalized = create_model(
        "_Penalized",
        __base__=Model,
        **{
            kind: (
                _BY_WEIGHT[penalty.weight] | None,
                Field(None, description=penalty.meaning, examples=[{penalty.weight: penalty.example}]),
            )
            for kind, penalty in PENALTIES.items()
        },
    )


class Game(_Penalized):
    """A game between a discriminator and the networks that draw what it reads."""

    match: Annotated[tuple[SideText, SideText], of_length(2, "[REAL, FAKE]")] = Field(
        description="[REAL, FAKE], by position: the discriminator says 1 to the first. Each is a distribution or a "
        "weighted sum, `1/2 p + 1/2 r`.",
        examples=[["q", "p"]],
    )
    discriminator: ReferenceText = Field(
        description="The row that holds the logit: 1x1x1, no activation.", examples=["critic.p"]
    )
    objective: Objective = Field(
        description="What the players pay for a logit d, by formulas that stand under Games: "
        + ", ".join(f"`{name}`" for name in OBJECTIVES)
        + ".",
        examples=["jensen_shannon"],
    )
    weight: Scheduled = Field(
        default_factory=lambda: Schedule(((0.0, 1.0),)),
        description="Factor of both players' losses and of the penalties; 1 unless given.",
        examples=["1/2"],
    )
    batch: Literal["joint", "separate"] = Field(
        "joint",
        description="Whether REAL and FAKE pass the discriminator as one batch, which matters for its batch norm.",
        examples=["separate"],
    )
    trains: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Networks that this game trains, the discriminator among them; all it reaches unless given.",
        examples=[["critic", "decoder"]],
    )

    @property
    def penalties(self) -> dict[str, PenaltyKeys]:
        """Those that are written, by kind."""
        written = {kind: getattr(self, kind) for kind in PENALTIES}
        return {kind: penalty for kind, penalty in written.items() if penalty is not None}


class Term(Model):
    """A number that networks minimise beside games: made of densities, entropies, divergences and distances."""

    minimize: TermText = Field(
        description="What is minimised: a sum of means over the batch of a distribution, as the language page says.",
        examples=["-E[q] log p(x|z)"],
    )
    weight: Scheduled = Field(
        default_factory=lambda: Schedule(((0.0, 1.0),)),
        description="Factor of the term; 1 unless given. Where it is 0, the term is not computed.",
        examples=["1/784"],
    )
    trains: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Networks that this term trains; all that its gradient reaches unless given.",
        examples=[["encoder"]],
    )

    @model_validator(mode="before")
    @classmethod
    def _is_minimised(cls, value: object) -> object:
        if isinstance(value, str):
            raise problem("wrong-type", "{place} is not a mapping", found="a text", expected="`{minimize: ...}`")
        if isinstance(value, dict) and "maximize" in value:
            hint = "with a minus it is minimised, as in `minimize: -E[q] log p(x|z)`"
            raise problem("unknown-key", "unknown key `maximize`", at=("maximize",), stands_at="key", hint=hint)
        return value


# ---------------------------------------------------------------------------------------- the whole


# Measures that a look in training takes of the validation images without their labels.
KEPT_BY = ("reconstruction_error",)


def _kept(value: object) -> str:
    text = text_of(value, "a text, as in `best reconstruction_error`")
    word, _, name = text.strip().partition(" ")
    name = name.strip()
    expected = " or ".join(f"`best {known}`" for known in KEPT_BY)
    if word != "best":
        raise problem("notation", "{place} begins with `best`", found=f"`{text}`", expected=expected)
    if name not in KEPT_BY:
        start = text.find(name, text.find(word) + len(word)) if name else 0
        details = {"start": start, "end": len(text), "expected": expected}
        if not name:
            raise problem("unknown-value", "{place} names no measure", **details)
        if name in MEASURES and MEASURES[name].of in ("clusters", "classes", "assigned", "features"):
            hint = "labels only score the result; a state chosen by them would be scored too well"
            raise problem("unknown-value", f"`{name}` needs labels, and labels choose no state", **details, hint=hint)
        raise problem("unknown-value", f"`{name}` is not taken of the validation images in training", **details)
    return f"best {name}"


_KEPT_SCHEMA = text_schema(rf"^\s*best (?:{'|'.join(KEPT_BY)})\s*$", words=[f"best {name}" for name in KEPT_BY])
KeptText = Annotated[str, BeforeValidator(_kept), _KEPT_SCHEMA]


class Evaluation(Model):
    """How a run is evaluated."""

    weights: Literal["last", "ema"] = Field(
        "last",
        description="Which weights are evaluated: the last ones, or their average `training.ema`.",
        examples=["last"],
    )
    every_epochs: Positive = Field(
        1.0,
        description="Epochs between two looks in training at the validation images, else at some training images.",
        examples=[5],
    )
    keep: KeptText | None = Field(
        None,
        description="`best METRIC`: the state that is evaluated, sampled and exported is that of the look in training "
        "at which a measure of the validation images was best, kept beside the last one. A measure without labels: "
        "`reconstruction_error`.",
        examples=["best reconstruction_error"],
    )
    features: ReferenceText | None = Field(
        None,
        description="A row whose values at images are judged as features when a run is scored: by the nearest training "
        "image, by a linear classifier and by k-means.",
        examples=["encoder.h2"],
    )


Distribution = Annotated[
    Annotated[dict[str, SourceValue], Field(min_length=1), Tag("factors")] | Annotated[str, Tag("name")],
    told_by_type(factors="a mapping", name="a text"),
]
Notes = Annotated[
    Annotated[str, Tag("text")] | Annotated[tuple[str, ...], Tag("list")], told_by_type(text="a text", list="a list")
]


def _version(value: object) -> object:
    if isinstance(value, bool):  # which Python takes for 1
        raise problem("wrong-type", "{place} is not a number", found=describe(value), expected="`1`")
    if isinstance(value, str):
        raise problem("wrong-type", "{place} is a text, not a number", found=f'`"{value[:40]}"`', expected="`1`")
    return value


N = TypeVar("N", bound=Compared)


class Spec(Shown, Model):
    """A whole spec: data, variables, networks, distributions, games, terms, training."""

    ammgraph: Annotated[Literal[1], BeforeValidator(_version)] = Field(
        description="Version of the language.", examples=[1]
    )
    title: str = Field("", description="What a person calls the model; no meaning.", examples=["AMM on digits"])
    notes: Notes = Field("", description="Readings and remarks, a text or a list of them; no meaning.")
    constants: dict[str, Number] = Field(
        default_factory=dict,
        description="Numbers by name, for use wherever a number stands; one may use those before it.",
        examples=[{"K": 10}],
    )
    data: DataSection = Field(
        description="Where examples come from and how they are split: a data set, or several by their names.",
        examples=[{"dataset": "digits"}],
    )
    variables: dict[str, Variable] = Field(
        min_length=1,
        description="The variables of the model by name, with type and size.",
        examples=[{"z": {"type": "real", "size": 16}}],
    )
    networks: dict[str, Network] = Field(min_length=1, description="The layer tables by name.")
    distributions: dict[str, Distribution] = Field(
        min_length=1,
        description="The factorizations by name, each a mapping of factors, or the name of another to be drawn again.",
        examples=[{"q": {"q(x)": "data", "q(y|x)": "encoder.y", "q(z|x)": "encoder.z"}}],
    )
    games: dict[str, Game] = Field(
        default_factory=dict,
        description="The adversarial games by name.",
        examples=[{"joint": {"match": ["q", "p"], "discriminator": "critic.p", "objective": "jensen_shannon"}}],
    )
    terms: dict[str, Term] = Field(
        default_factory=dict,
        description="What is minimised beside the games, by name.",
        examples=[{"reconstruction": {"minimize": "-E[q] log p(x|z)"}}],
    )
    training: Training = Field(description="How the networks are trained.")
    evaluation: Evaluation = Field(
        default_factory=Evaluation, description="How a run is evaluated.", examples=[{"every_epochs": 5}]
    )
    published: tuple[Published, ...] = Field(
        (),
        description="Numbers from the literature, shown beside a run's own.",
        examples=[[{"metric": "clustering_error", "value": 3.32, "std": 0.39, "trials": 10, "source": "Table 1"}]],
    )
    measured: tuple[Measured, ...] = Field(
        (),
        description="What runs of this spec have reached, for whoever chooses one.",
        examples=[[{"metric": "clustering_error", "values": [14.2, 16.3, 13.1], "minutes": 0.5}]],
    )

    _source: SourceMap = PrivateAttr()
    _tree: Table = PrivateAttr()
    _written: dict[str, Any] = PrivateAttr()
    _used_constants: frozenset[str] = PrivateAttr()

    @property
    def source(self) -> SourceMap:
        """Path of a value -> its place in the files that it came from."""
        return self._source

    @property
    def tree(self) -> Table:
        """The spec as it was written, with what it extends merged in."""
        return self._tree

    @property
    def compared(self) -> tuple[tuple[str, int, Compared], ...]:
        """Every number that stands beside a run's own, with its section and its place there."""
        sections: dict[str, tuple[Compared, ...]] = {"published": self.published, "measured": self.measured}
        return tuple((name, i, number) for name, numbers in sections.items() for i, number in enumerate(numbers))

    def holding(self, numbers: tuple[N, ...]) -> tuple[N, ...]:
        """Those of the numbers that hold for the spec's constants."""
        return tuple(n for n in numbers if all(self.constants.get(name) == value for name, value in n.when.items()))

    @property
    def used_constants(self) -> frozenset[str]:
        """The constants that some number is written with."""
        return self._used_constants

    @property
    def data_sets(self) -> dict[str, Data]:
        """The data sets by name; one that has none is named ""."""
        return {"": self.data} if isinstance(self.data, Data) else self.data

    def data_path(self, name: str) -> tuple[str, ...]:
        """The path of a data set's keys."""
        return ("data", name) if name else ("data",)

    def given(self) -> "Spec":
        """The same with data that are given in Python in place of the one data set that it names."""
        assert isinstance(self.data, Data), "of several data sets none is given"
        gone = {"path": None, "columns": None, "label": None}
        found = self.model_copy(update={"data": self.data.model_copy(update={"dataset": GIVEN, **gone})})
        kept = {key: value for key, value in self._written["data"].items() if key not in gone}
        found._written = {**self._written, "data": {**kept, "dataset": GIVEN}}
        return found

    @property
    def written(self) -> dict[str, Any]:
        """The resolved spec as plain data: after `extends` and `--set`, before any default."""
        return self._written
