"""The plan: everything that was decided about a spec, frozen, in the order in which it happens.

A `Plan` holds no text to interpret and no tensor. `compile_spec` makes it, `text.plan_text` prints it, `nn` builds
modules from it, `train` executes it as it stands.
"""

from dataclasses import dataclass
from typing import Literal

from ammgraph.diagnostics import Diagnostic
from ammgraph.formulas.objectives import Role
from ammgraph.plan.draws import DrawPlan, EvaluationPlan
from ammgraph.plan.networks import NetworkPlan, VariablePlan
from ammgraph.plan.turns import GamePlan, PhasePlan, TermPlan, TurnPlan
from ammgraph.spec.published import Published
from ammgraph.spec.schema import Data, DataSource, Evaluation


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
    further: bool = False  # of another data set than the variable's first one

    @property
    def name(self) -> str:
        """By which its numbers are told: `y`, or `q2.y` where it is read off the records of a further data set."""
        return f"{self.draw}.{self.variable}" if self.further else self.variable


@dataclass(frozen=True)
class ReconstructionPlan:
    """data -> latents by one distribution -> data by another."""

    variable: str
    infer: str
    generate: str


@dataclass(frozen=True)
class FeaturePlan:
    """A row whose values at the data's images are judged as features."""

    name: str  # `encoder.h2`
    draw: str  # the distribution that infers what it reads
    evaluation: EvaluationPlan
    rows: tuple[str, ...]  # in computing order, itself the last
    reads: tuple[str, ...]  # variables

    @property
    def network(self) -> str:
        """The network that has it."""
        return self.evaluation.network


@dataclass(frozen=True)
class Plan:
    """Everything decided about a spec."""

    title: str
    variables: tuple[VariablePlan, ...]
    networks: tuple[NetworkPlan, ...]
    draws: tuple[DrawPlan, ...]
    games: tuple[GamePlan, ...]
    turns: tuple[TurnPlan, ...]  # of every phase, one after another
    readouts: tuple[ReadoutPlan, ...]
    reconstructions: tuple[ReconstructionPlan, ...]
    epoch_source: DataSource  # an epoch is one pass of it
    epoch_batch: int
    epochs: float | None
    steps: int | None
    momentum: float  # of batch norm
    epsilon: float
    statistics: Literal["batch", "process"]  # what batch norm takes them over, where several processes share a batch
    data: Data  # the data set; of several the first
    evaluation: Evaluation
    published: tuple[Published, ...]
    warnings: tuple[Diagnostic, ...]
    terms: tuple[TermPlan, ...] = ()
    features: FeaturePlan | None = None
    phases: tuple[PhasePlan, ...] = ()  # as they are written
    data_sets: tuple[tuple[str, Data], ...] = ()  # all of them, where they have names
    further_readouts: tuple[ReadoutPlan, ...] = ()  # of the same variables, from records of further data sets

    @property
    def data_names(self) -> tuple[str, ...]:
        """The names of the data sets; "" is that of one without a name."""
        return tuple(name for name, _ in self.data_sets) or ("",)

    @property
    def every_readout(self) -> tuple[ReadoutPlan, ...]:
        """Of every data set."""
        return self.readouts + self.further_readouts

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

    @property
    def stages(self) -> tuple[PhasePlan, ...]:
        """The phases of training; all of it as one where none is written."""
        return self.phases or (PhasePlan(0, len(self.turns), self.epochs, self.steps),)

    def turns_of(self, phase: PhasePlan) -> tuple[TurnPlan, ...]:
        """What a step of a phase takes."""
        return self.turns[phase.first : phase.first + phase.count]

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
