"""Priors, distributions that nothing learns: how each is written, what it draws. One entry each, read by everything.

A real variable's sample is location + scale * standard, `standard` a function of noise; a category is drawn by its
probabilities. The locations of a mixture are its means, one for each category that it is given.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, Tag

from ammgraph.formulas.expression import Expression, Number, Value, plus, times
from ammgraph.spec.notation import number_text
from ammgraph.spec.values import Model, Positive, Seed, told_by_type
from ammgraph.spec.values import Number as NumberValue

NOISE = Value("noise", "")  # N(0, 1) or U(0, 1) in every dimension
CENTRE = Value("centre", "")  # the mean of the component that is given
Place: TypeAlias = tuple[Number | Value, float]  # location and scale


class Prior:
    """The numbers of a prior; `PRIORS` has what they mean."""

    @property
    def kind(self) -> "PriorKind":
        """Its entry."""
        return PRIORS[type(self)]

    @property
    def place(self) -> Place | None:
        """Location and scale on a real variable, nothing on a categorical one."""
        return self.kind.place(self)

    @property
    def density(self) -> str:
        """What its density is: `normal`, `categorical`, or its own word where none is known in closed form."""
        if self.place is None:
            return "categorical"
        return "normal" if (self.kind.noise, self.kind.standard) == ("normal", NOISE) else self.kind.word

    @property
    def lowest(self) -> float:
        """What no sample of it is below."""
        if self.place is None:
            return 0.0
        location, _ = self.place
        return location.value if self.kind.noise == "uniform" and isinstance(location, Number) else -math.inf

    def sample(self) -> Expression:
        """Location + scale * standard, of `NOISE` and `CENTRE`."""
        assert self.place is not None, "a category is drawn by its probabilities"
        location, scale = self.place
        spread = times(scale, self.kind.standard)
        return spread if location == Number(0) else plus(location, spread)

    def __str__(self) -> str:
        """`normal`, `normal(0, 2)`."""
        numbers = ", ".join(map(number_text, astuple(self)))  # type: ignore[call-overload]
        return self.kind.word if self == type(self)() else f"{self.kind.word}({numbers})"


@dataclass(frozen=True)
class Uniform(Prior):
    """Uniform over the categories, or U(low, high) on a real variable."""

    bounds: tuple[float, float] | None = None

    def __str__(self) -> str:
        return "uniform" if self.bounds is None else f"uniform({', '.join(map(number_text, self.bounds))})"


@dataclass(frozen=True)
class Normal(Prior):
    """N(mean, scale^2) in every dimension."""

    mean: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Empirical(Prior):
    """The class frequencies of `data.labeled`."""


@dataclass(frozen=True)
class Probabilities(Prior):
    """Explicit probabilities of the categories."""

    values: tuple[float, ...]

    def __str__(self) -> str:
        return f"[{', '.join(number_text(value) for value in self.values)}]"


class RandomMeans(Model):
    """Means of a fixed mixture, drawn once from N(0, s^2) by a seed of their own."""

    normal: Positive = Field(description="Standard deviation s of the means.", examples=[2])
    seed: Seed = Field(0, description="Seed of the means; independent of the run's `--seed`.", examples=[0])


class Mixture(Model, Prior):
    """A fixed mixture: N(mu_k, scale^2) in every dimension, k the factor's one categorical condition."""

    means: Annotated[
        Annotated[RandomMeans, Tag("random")] | Annotated[tuple[tuple[NumberValue, ...], ...], Tag("lists")],
        told_by_type(random="a mapping", lists="a list"),
    ] = Field(
        description="`{normal: s, seed: n}`, drawn once, or K lists of numbers.",
        examples=[{"normal": 2}],
    )
    scale: Positive = Field(1.0, description="Standard deviation of every component.", examples=[1])

    def __str__(self) -> str:
        if isinstance(self.means, RandomMeans):
            means = f"{{normal: {number_text(self.means.normal)}, seed: {self.means.seed}}}"
        else:
            means = f"{len(self.means)} means"
        return f"{{mixture: {{means: {means}, scale: {number_text(self.scale)}}}}}"


@dataclass(frozen=True)
class PriorKind:
    """What a prior means, as functions of its numbers."""

    word: str
    meaning: str
    stands: Mapping[str, str]  # kind of variable -> how it is written there; a mixture stands under a category
    numbers: tuple[str, ...] = ()  # behind the word in brackets, all or none
    read: Callable[..., Prior] | None = None  # from the numbers; nothing where it is not written as a word
    refused: Callable[..., tuple[str, str] | None] = lambda *_: None  # what is wrong with the numbers, what is right
    place: Callable[[Any], Place | None] = lambda _: None
    noise: Literal["normal", "uniform"] = "uniform"
    standard: Expression = NOISE
    bounded: bool = False  # some number is never drawn
    probabilities: Callable[[Any, int, Sequence[float]], Sequence[float]] | None = None  # of so many; of the labels'
    counts_labels: bool = False
    means: Callable[[Any], RandomMeans | tuple[tuple[float, ...], ...]] | None = None

    @property
    def form(self) -> str:
        """`normal` or `normal(mean, scale)`."""
        return f"`{self.word}`" + (f" or `{self.word}({', '.join(self.numbers)})`" if self.numbers else "")


PRIORS: dict[type[Prior], PriorKind] = {
    Uniform: PriorKind(
        "uniform",
        "every category alike; `uniform(low, high)` on a real variable",
        {"categorical": "`uniform`", "real": "`uniform(low, high)`"},
        numbers=("low", "high"),
        read=lambda *bounds: Uniform(bounds or None),
        refused=lambda low, high: None if low < high else ("the interval is empty", "low < high"),
        place=lambda prior: prior.bounds and (Number(prior.bounds[0]), prior.bounds[1] - prior.bounds[0]),
        bounded=True,
        probabilities=lambda _, size, __: [1 / size] * size,
    ),
    Normal: PriorKind(
        "normal",
        "N(0, 1) in every dimension; `normal(mean, scale)` for N(mean, scale^2)",
        {"real": "`normal`"},
        numbers=("mean", "scale"),
        read=Normal,
        refused=lambda _, scale: None if scale > 0 else ("the scale is not positive", "scale > 0"),
        place=lambda prior: (Number(prior.mean), prior.scale),
        noise="normal",
    ),
    Empirical: PriorKind(
        "empirical",
        "the class frequencies of the labelled subset",
        {"categorical": "`empirical`"},
        read=Empirical,
        probabilities=lambda _, size, frequencies: [*frequencies, *[0.0] * (size - len(frequencies))],
        counts_labels=True,
    ),
    Probabilities: PriorKind(
        "probabilities",
        "probabilities of the categories; as many as there are, with sum 1",
        {"categorical": "a list of probabilities"},
        probabilities=lambda prior, _, __: prior.values,
    ),
    Mixture: PriorKind(
        "mixture",
        "N(mu_k, scale^2), k a categorical condition: `p(z|y)`",
        {},
        place=lambda prior: (CENTRE, prior.scale),
        noise="normal",
        means=lambda prior: prior.means,
    ),
}


def prior_words() -> dict[str, PriorKind]:
    """The priors that are written as a word."""
    return {kind.word: kind for kind in PRIORS.values() if kind.read is not None}


def forms_on(variable: str) -> str:
    """What may stand on a variable of a kind: `normal` or `uniform(low, high)`; what needs no numbers first."""
    forms = [kind.stands[variable] for kind in PRIORS.values() if variable in kind.stands]
    *others, last = sorted(forms, key=lambda form: "(" in form)
    return f"{', '.join(others)} or {last}" if others else last
