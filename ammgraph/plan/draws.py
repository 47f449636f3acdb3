"""The plan of draws: what each factor produces, from what, and from which random tensors."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ammgraph.spec.notation import Input
from ammgraph.spec.priors import Prior
from ammgraph.spec.sources import DataSource

Bindings: TypeAlias = tuple[tuple[str, str], ...]  # name inside a network -> variable of the distribution
DensityKind: TypeAlias = Literal["normal", "categorical", "bernoulli", "implicit", "deterministic", "data", "prior"]
Stream: TypeAlias = Literal["prior", "sample", "dropout", "penalty", "perturbation"]


@dataclass(frozen=True)
class Site:
    """A random tensor of a step, by name; shape of one example, and the number of examples.

    normal   N(0, 1)          gumbel   -log(-log u)         uniform  U(0, 1)
    mask     1 with probability 1 - `dropout`, else 0
    """

    name: str
    kind: Literal["normal", "gumbel", "uniform", "mask"]
    stream: Stream
    batch: int
    shape: tuple[int, ...]
    dropout: float = 0.0
    every: int = 1  # drawn in every so many steps

    @property
    def disturbs(self) -> bool:
        """Whether training alone takes it: masks and noise on the inputs of rows, what a penalty needs, directions."""
        return self.stream in ("dropout", "penalty", "perturbation")


@dataclass(frozen=True)
class EvaluationPlan:
    """One evaluation of a network: a network under one binding within one draw or critic pass (language rule R2)."""

    name: str  # as in `q/encoder`; the first part of the names of its random tensors
    network: str
    bindings: Bindings  # every local name that stands for a variable


@dataclass(frozen=True)
class FromData:
    """The factor's variables are fields of one record of the data."""

    source: DataSource
    fields: tuple[tuple[str, str], ...]  # variable -> image | label


@dataclass(frozen=True)
class FromPrior:
    """The factor's variable is drawn from a distribution without parameters."""

    prior: Prior
    site: Site
    given: str = ""  # a mixture's categorical variable


@dataclass(frozen=True)
class FromDraw:
    """The factor's variable is another distribution's sample, example by example."""

    draw: str
    variable: str


@dataclass(frozen=True)
class FromNetwork:
    """The factor's variable is a row of a network."""

    evaluation: EvaluationPlan
    row: str
    rows: tuple[str, ...]  # computed now in a step: those that no needed factor of the same evaluation computes earlier
    closure: tuple[str, ...]  # every row that the sample depends on, stopping at variables; the last one is the sample


@dataclass(frozen=True)
class Density:
    """What a drawn row says about its variable's distribution (language rule R16).

    normal       N(sum of `mean`, exp(`log_variance`)), log_variance a row before its `expn`
    categorical  softmax of the sum of `mean`, the logits without noise
    bernoulli    sigmoid of the row before its activation, per element
    implicit     a random row of none of these kinds: it can be drawn, and has no density that is known
    """

    kind: DensityKind
    mean: Input | None = None
    log_variance: str = ""


@dataclass(frozen=True)
class FactorPlan:
    """A factor of a distribution: what it draws, from what, and whether a step needs it."""

    text: str
    variables: tuple[str, ...]
    given: tuple[str, ...]
    value: str
    origin: FromData | FromPrior | FromDraw | FromNetwork
    density: Density
    needed: bool
    implied: bool = False  # the data of a distribution that is conditional on them, where it is asked in evaluation


@dataclass(frozen=True)
class DrawPlan:
    """A distribution, drawn once per step: its factors in the order of sampling."""

    name: str
    batch_size: int
    factors: tuple[FactorPlan, ...]

    @property
    def written(self) -> tuple[FactorPlan, ...]:
        """The factors that the spec declares."""
        return tuple(factor for factor in self.factors if not factor.implied)

    def factor_of(self, variable: str) -> FactorPlan:
        """The factor that produces a variable."""
        return next(factor for factor in self.factors if variable in factor.variables)

    def produces(self, variable: str) -> bool:
        """Whether some factor produces the variable."""
        return any(variable in factor.variables for factor in self.factors)
