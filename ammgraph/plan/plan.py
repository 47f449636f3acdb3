"""The plan: everything that was decided about a spec, frozen, in the order in which it happens.

A `Plan` holds no text to interpret and no tensor. `compile_spec` makes it, `text.plan_text` prints it, `nn` builds
modules from it, `train` executes it as it stands.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from ammgraph.diagnostics import Diagnostic
from ammgraph.formulas.expression import Expression, Leaf, Logit, Scored, Slope, Value, parts
from ammgraph.formulas.objectives import Role
from ammgraph.layers.activations import ACTIVATIONS
from ammgraph.layers.operations import OPERATIONS, Kernel, Operation, Shape
from ammgraph.plan.metric import Metric
from ammgraph.spec.notation import Input, Reference
from ammgraph.spec.schema import (
    Activation,
    Data,
    DataSource,
    Empirical,
    Evaluation,
    Mixture,
    Normal,
    Pool,
    Probabilities,
    Published,
    Schedule,
    Uniform,
)
from ammgraph.spec.training import Optimizer, Weights

Prior: TypeAlias = Uniform | Normal | Empirical | Probabilities | Mixture
Bindings: TypeAlias = tuple[tuple[str, str], ...]  # name inside a network -> variable of the distribution


# A row's random tensor -> its kind of site.
NOISE = {kind.noise.name: kind.noise.kind for kind in ACTIVATIONS.values() if kind.noise is not None}


def shape_text(shape: Shape) -> str:
    """(32, 27, 27) -> `32x27x27`."""
    return "x".join(str(size) for size in shape)


@dataclass(frozen=True)
class VariablePlan:
    """A variable of the model. Real and categorical ones are vectors, (size, 1, 1)."""

    name: str
    kind: Literal["image", "categorical", "real"]
    shape: Shape
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class RowPlan:
    """A row of a layer table with its shapes and cost. Order: dropout, op, batch norm, activation, pool."""

    name: str
    input: Input
    in_shape: Shape
    inner_shape: Shape  # before the pool
    out_shape: Shape
    op: str | None  # of `layers.operations`
    width: int
    stride: int
    padding: int
    bias: bool
    dropout: float
    batchnorm: bool
    activation: Activation | None
    pool: Pool | None
    weights: Weights
    biases: float
    parameters: int
    multiply_adds: int  # of one forward pass of one example

    @property
    def noise(self) -> str:
        """The name of the random tensor that its activation takes, or nothing."""
        noise = None if self.activation is None else self.activation.kind.noise
        return "" if noise is None else noise.name

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """The shape of that random tensor for one example."""
        noise = None if self.activation is None else self.activation.kind.noise
        return self.inner_shape if noise is None or not noise.shape else noise.shape

    @property
    def operation(self) -> Operation | None:
        """What it does with weights of its own."""
        return None if self.op is None else OPERATIONS[self.op]

    @property
    def columns(self) -> dict[str, int]:
        """Width, stride and padding, as far as its operation has such."""
        return {} if self.op is None else {name: getattr(self, name) for name in OPERATIONS[self.op].columns}

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """The shape of its weight; of none where it has no operation."""
        return () if self.op is None else OPERATIONS[self.op].weight(self.in_shape, self.inner_shape[0], self.width)

    @property
    def fan_in(self) -> float:
        """Numbers of its input that reach one number of its output through its weights."""
        assert self.op is not None
        kernel = Kernel(self.width, self.stride, self.padding)
        return OPERATIONS[self.op].mean_fan_in(self.in_shape, self.inner_shape, kernel)

    @property
    def reads(self) -> tuple[str, ...]:
        """The names it reads, each once, in order."""
        return tuple(dict.fromkeys(atom.name for atom in self.input.names))


@dataclass(frozen=True)
class NetworkPlan:
    """A network: its rows in an order in which they can be computed, and what trains it."""

    name: str
    inputs: tuple[tuple[str, Shape], ...]  # names it reads that are not rows
    rows: tuple[RowPlan, ...]
    optimizer: Optimizer
    ema: float | None

    def row(self, name: str) -> RowPlan:
        """The row of that name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one forward pass of one example through every row."""
        return sum(row.multiply_adds for row in self.rows)


SideName: TypeAlias = Literal["real", "fake"]
DensityKind: TypeAlias = Literal["normal", "categorical", "bernoulli", "implicit", "deterministic", "data", "prior"]
Stream: TypeAlias = Literal["prior", "sample", "dropout", "penalty"]


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


@dataclass(frozen=True)
class PassPlan:
    """One pass of a network in a turn: which rows it computes, and at whose samples.

    drawn    within a draw: what a factor's sample needs and no earlier factor of the same evaluation computes
    asked    at a draw's samples: what terms need beyond that
    scored   a discriminator over the samples of several draws, joined along the batch
    between  a discriminator between the i-th sample of the first and the i-th of the second draw, statistics kept

    `sides` are the sides of games whose logits a scored pass gives, as (game, "real" | "fake").
    """

    kind: Literal["drawn", "asked", "scored", "between"]
    evaluation: EvaluationPlan
    row: str
    rows: tuple[str, ...]
    draws: tuple[str, ...]
    batch: int
    sides: tuple[tuple[str, SideName], ...] = ()
    every: int = 1  # taken in every so many steps
    raw: tuple[str, ...] = ()  # rows that are computed up to their activation


@dataclass(frozen=True)
class PenaltyPlan:
    """A penalty of a game on its discriminator's logit."""

    kind: str  # of `formulas.penalties`
    weight: Schedule
    every: int = 1  # steps from one time that it is taken to the next; it then weighs so much more


@dataclass(frozen=True)
class GamePlan:
    """A game: REAL against FAKE, one scalar for the discriminator, one for the networks that draw what it reads."""

    name: str
    real: tuple[tuple[float, str], ...]  # weight, draw
    fake: tuple[tuple[float, str], ...]
    objective: str  # of `formulas.objectives`
    weight: Schedule
    discriminator: Reference
    reads: tuple[tuple[str, str], ...]  # the discriminator's local name -> variable
    penalties: tuple[PenaltyPlan, ...]
    paths: tuple[
        tuple[str, tuple[str, ...]], ...
    ]  # network -> the samples through which the game's gradient reaches it

    @property
    def draws(self) -> tuple[str, ...]:
        """The distributions on both sides, each once."""
        return tuple(dict.fromkeys(draw for _, draw in self.real + self.fake))


@dataclass(frozen=True)
class ScorePlan:
    """A factor's distribution, or a row's value, at the samples of a draw, as a term uses it.

    `rows` are what its network computes for it, stopping at variables; those in `raw` only up to the activation.
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


@dataclass(frozen=True)
class TermPlan:
    """A term: a number made of distributions and values at the samples of draws, and whom its gradient reaches."""

    name: str
    value: Expression
    weight: Schedule
    draws: tuple[str, ...]  # those whose samples it is taken at
    scores: tuple[ScorePlan, ...]
    paths: tuple[tuple[str, tuple[str, ...]], ...]  # network -> samples (`q.z`) and scores (`c(y|x)`)

    def score(self, leaf: Scored | Value) -> ScorePlan | None:
        """What a leaf of the value stands for; nothing where it is a variable's sample."""
        name = leaf.factor if isinstance(leaf, Scored) else leaf.name
        return next((score for score in self.scores if (score.name, score.draw) == (name, leaf.draw)), None)


@dataclass(frozen=True)
class LossPlan:
    """A number that networks minimise in a turn: w n value in every nth step; w the product of `weights`, n `every`.

    `paths` say through what its gradient reaches which network: through samples that the network has drawn, or, where
    none is named, through the pass of the network itself; a term's name the scores that the network gives, too.
    """

    owner: str  # the game, or the term
    what: str  # discriminator, generator, the kind of a penalty; `value` of a term
    value: Expression
    weights: tuple[Schedule, ...]
    paths: tuple[tuple[str, tuple[str, ...]], ...]
    every: int = 1

    @property
    def name(self) -> str:
        """`joint/discriminator`, `joint/generator`, `joint/roth_penalty`; what its value is logged as."""
        return str(Metric(self.owner, self.what))

    def weight(self, epoch: float) -> float:
        """W n at an epoch."""
        return math.prod((schedule.at(epoch) for schedule in self.weights), start=float(self.every))

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """What the value is a function of, each once."""
        return tuple(dict.fromkeys(part for part in parts(self.value) if isinstance(part, Leaf)))

    @cached_property
    def passes(self) -> frozenset[str]:
        """The evaluations of discriminators at which it is taken."""
        return frozenset(leaf.evaluation for leaf in self.leaves if isinstance(leaf, Logit | Slope))

    @cached_property
    def sloped(self) -> frozenset[str]:
        """The evaluations at whose samples it takes the gradient of the logit."""
        return frozenset(leaf.evaluation for leaf in self.leaves if isinstance(leaf, Slope))


@dataclass(frozen=True)
class ObjectivePlan:
    """The sum of losses that these networks minimise in a turn, through their own passes, or samples and terms."""

    through: Literal["passes", "samples"]
    losses: tuple[str, ...]  # by name
    networks: tuple[str, ...]


@dataclass(frozen=True)
class TurnPlan:
    """One turn: draw, pass the discriminators, take all gradients at that point, update."""

    update: tuple[str, ...]
    steps: int
    redraw: bool  # new data and new noise, or those of the turn before
    draws: tuple[str, ...]
    passes: tuple[PassPlan, ...]  # in the order in which they are taken
    games: tuple[str, ...]
    losses: tuple[LossPlan, ...]
    objectives: tuple[ObjectivePlan, ...]
    sites: tuple[Site, ...]
    terms: tuple[str, ...] = ()

    def loss(self, name: str) -> LossPlan:
        """The loss of that name."""
        return next(loss for loss in self.losses if loss.name == name)

    @property
    def minimised(self) -> tuple[tuple[LossPlan, str], ...]:
        """Every loss with every network that minimises it."""
        return tuple(
            (self.loss(name), network)
            for objective in self.objectives
            for name in objective.losses
            for network in objective.networks
            if network in dict(self.loss(name).paths)
        )

    def passes_of(self, kind: Literal["drawn", "asked", "scored", "between"]) -> tuple[PassPlan, ...]:
        """The passes of a kind."""
        return tuple(found for found in self.passes if found.kind == kind)


@dataclass(frozen=True)
class BayesPlan:
    """argmax_k p(z = z~ | y = k) p(y = k), eq. 19: a classifier that a factorization brings with it."""

    variable: str  # y
    draw: str  # the distribution whose densities are used
    evidence: tuple[str, ...]  # the variables whose densities given y are known


@dataclass(frozen=True)
class ReadoutPlan:
    """What can be read off a trained model: from which distribution, for which variable."""

    variable: str
    draw: str  # the distribution that infers it from the data
    supervised: bool  # some distribution takes the variable's labels from the data
    bayes: BayesPlan | None


@dataclass(frozen=True)
class ReconstructionPlan:
    """data -> latents by one distribution -> data by another."""

    variable: str
    infer: str
    generate: str


@dataclass(frozen=True)
class Plan:
    """Everything decided about a spec."""

    title: str
    variables: tuple[VariablePlan, ...]
    networks: tuple[NetworkPlan, ...]
    draws: tuple[DrawPlan, ...]
    games: tuple[GamePlan, ...]
    turns: tuple[TurnPlan, ...]
    readouts: tuple[ReadoutPlan, ...]
    reconstructions: tuple[ReconstructionPlan, ...]
    epoch_source: DataSource  # an epoch is one pass of it
    epoch_batch: int
    epochs: float | None
    steps: int | None
    momentum: float  # of batch norm
    epsilon: float
    statistics: Literal["batch", "process"]  # what batch norm takes them over, where several processes share a batch
    data: Data
    evaluation: Evaluation
    published: tuple[Published, ...]
    warnings: tuple[Diagnostic, ...]
    terms: tuple[TermPlan, ...] = ()

    def variable(self, name: str) -> VariablePlan:
        """The variable of that name."""
        return next(variable for variable in self.variables if variable.name == name)

    def network(self, name: str) -> NetworkPlan:
        """The network of that name."""
        return next(network for network in self.networks if network.name == name)

    def draw(self, name: str) -> DrawPlan:
        """The distribution of that name."""
        return next(draw for draw in self.draws if draw.name == name)

    def game(self, name: str) -> GamePlan:
        """The game of that name."""
        return next(game for game in self.games if game.name == name)

    def term(self, name: str) -> TermPlan:
        """The term of that name."""
        return next(term for term in self.terms if term.name == name)

    def players(self, owner: str, what: Role | Literal["value"]) -> tuple[str, ...]:
        """The networks that minimise a game's loss in a role, or a term, in some turn: by `trains` and the schedule."""
        found = [pair for turn in self.turns for pair in turn.minimised]
        return tuple(dict.fromkeys(network for loss, network in found if (loss.owner, loss.what) == (owner, what)))

    def __repr__(self) -> str:
        return f"Plan({self.title!r})"

    @property
    def parameters(self) -> int:
        """Number of trained numbers of the model."""
        return sum(network.parameters for network in self.networks)
