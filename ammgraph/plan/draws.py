"""The plan of draws: what each factor produces, from what, and from which random tensors."""

from dataclasses import dataclass, replace
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
    over: str = ""  # the variable whose every value it takes, each with every example, as `q.y/components`

    @property
    def beneath(self) -> "EvaluationPlan":
        """The evaluation at the examples themselves, `q/components`."""
        draw, _, call = self.name.partition("/")
        return replace(self, name=f"{draw.removesuffix(f'.{self.over}')}/{call}", over="")


@dataclass(frozen=True)
class FromData:
    """The factor's variables are fields of one record of the data."""

    source: DataSource
    fields: tuple[tuple[str, str], ...]  # variable -> image | vector | label
    named: tuple[tuple[str, str], ...] = ()  # variable -> the array or the column that it is, where that has a name

    @property
    def texts(self) -> dict[str, str]:
        """Variable -> what it takes, as a person names it."""
        return {name: f"`{self.names[name]}`" if name in self.names else kind for name, kind in self.fields}

    @property
    def names(self) -> dict[str, str]:
        """Variable -> the name of its field."""
        return dict(self.named)


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
    enumerated: bool = False  # not sampled: every value, with the probabilities of the row


@dataclass(frozen=True)
class Density:
    """What a drawn row says about its variable's distribution (language rule R16).

    normal       N(sum of `mean`, exp(`log_variance`)), log_variance a row before its `expn`; `full`: N(.., A A'), the
                 triangle A of that row before its `cholesky`
    categorical  softmax of the sum of `mean`, the logits without noise
    bernoulli    sigmoid of the row before its activation, per element
    implicit     a random row of none of these kinds: it can be drawn, and has no density that is known
    """

    kind: DensityKind
    mean: Input | None = None
    log_variance: str = ""
    full: bool = False


@dataclass(frozen=True)
class ScorePlan:
    """A factor's distribution, or a row's value, at the samples of a draw, as a term uses it.

    `rows` are what its network computes for it, stopping at variables; those in `raw` only up to the activation. One
    that is `over` a variable is taken at every value of it. A posterior by Bayes' rule, whose `rule` is the variable,
    has `parts`, each a variable and the distribution of it whose log density is added. `stopped` where the term gives
    it no gradient, `moved` where it is compared with what it is at a moved sample.
    """

    name: str  # `c(y|x)`, `decoder.x`
    draw: str  # "" where a factor has no conditions
    network: str = ""  # nothing for a prior
    evaluation: EvaluationPlan | None = None
    row: str = ""
    rows: tuple[str, ...] = ()
    raw: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()  # the variables it depends on
    density: Density | None = None  # nothing for a value
    prior: FromPrior | None = None
    stopped: bool = False
    moved: bool = False
    over: str = ""
    rule: str = ""
    parts: tuple[tuple[str, "ScorePlan"], ...] = ()

    @property
    def computed(self) -> tuple["ScorePlan", ...]:
        """Those that a network or a prior gives: itself, or its parts."""
        return tuple(score for _, score in self.parts) or (self,)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks by which it is computed; a prior has none."""
        return tuple(dict.fromkeys(part.network for part in self.computed if part.network))


@dataclass(frozen=True)
class FromBayes:
    """The factor's variable is not sampled: every value, with its posterior probability in a distribution."""

    distribution: str
    score: ScorePlan


Origin: TypeAlias = FromData | FromPrior | FromDraw | FromNetwork | FromBayes


@dataclass(frozen=True)
class FactorPlan:
    """A factor of a distribution: what it draws, from what, and whether a step needs it."""

    text: str
    variables: tuple[str, ...]
    given: tuple[str, ...]
    value: str
    origin: Origin
    density: Density
    needed: bool
    implied: bool = False  # the data of a distribution that is conditional on them, where it is asked in evaluation

    @property
    def enumerated(self) -> bool:
        """Whether its variable is not sampled, and has every value."""
        return isinstance(self.origin, FromBayes) or (isinstance(self.origin, FromNetwork) and self.origin.enumerated)


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

    @property
    def enumerated(self) -> FactorPlan | None:
        """The factor whose variable has every value, if one has."""
        return next((factor for factor in self.factors if factor.enumerated), None)

    def produces(self, variable: str) -> bool:
        """Whether some factor produces the variable."""
        return any(variable in factor.variables for factor in self.factors)
