"""The plan of turns: games, terms, the losses that both become, and in which passes they are taken."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

from ammgraph.formulas.expression import Expression, Leaf, Logit, Scored, Slope, Support, Value, Vat, parts
from ammgraph.plan.draws import DrawPlan, EvaluationPlan, ScorePlan, Site
from ammgraph.plan.metric import Metric
from ammgraph.spec.notation import Reference
from ammgraph.spec.schema import Schedule

SideName: TypeAlias = Literal["real", "fake"]
PassKind: TypeAlias = Literal["drawn", "asked", "moved", "scored", "between"]


def direction_name(evaluation: str, variable: str) -> str:
    """The random tensor from which the direction begins in which a variable is moved."""
    return f"{evaluation}/vat/{variable}"


@dataclass(frozen=True)
class PassPlan:
    """One pass of a network in a turn: which rows it computes, and at whose samples.

    drawn    within a draw: what a factor's sample needs and no earlier factor of the same evaluation computes
    asked    at a draw's samples: what terms need beyond that; `stopped` where no gradient flows through it, and `kept`
             where it leaves running statistics as they are
    moved    an asked or drawn one with one variable moved, twice: at the start of the direction, and at its end, with
             the noise of the first and statistics kept
    scored   a discriminator over the samples of several draws, joined along the batch
    between  a discriminator between the i-th sample of the first and the i-th of the second draw, statistics kept

    `sides` are the sides of games whose logits a scored pass gives, as (game, "real" | "fake"). It is `within` an asked
    pass where terms ask the same network at the same samples: that one computes the rows of both.

    What does not depend on an enumerated variable is computed once for each example. An asked pass over a variable
    `takes` it from the evaluation beneath, repeated for every value, or `chooses` from it. A scored one computes the
    rows that are `shared` at its `examples`, and what the others read of these is repeated.
    """

    kind: PassKind
    evaluation: EvaluationPlan
    row: str
    rows: tuple[str, ...]
    draws: tuple[str, ...]
    batch: int
    sides: tuple[tuple[str, SideName], ...] = ()
    every: int = 1  # taken in every so many steps
    raw: tuple[str, ...] = ()  # rows that are computed up to their activation
    stopped: bool = False
    kept: bool = False
    moves: str = ""  # the variable that is moved
    takes: tuple[str, ...] = ()
    chooses: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    examples: int = 0
    within: str = ""  # an evaluation that is asked

    @property
    def computed(self) -> tuple[str, ...]:
        """The rows that it computes itself."""
        return () if self.within else self.rows

    @property
    def alone(self) -> bool:
        """Whether it is taken at the values of a variable, and at nobody's samples."""
        return bool(self.evaluation.over) and not any(self.draws)

    def batch_of(self, row: str) -> int:
        """At how many examples a row is computed."""
        return self.examples if row in self.shared else self.batch

    @property
    def times(self) -> int:
        """How often it is taken."""
        return 2 if self.kind == "moved" else 1


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
    enumerated: tuple[Support, ...] = ()  # of the sides' draws that have every value of what the discriminator reads

    @property
    def supports(self) -> dict[str, Support]:
        """Draw -> the probabilities of the values that it enumerates."""
        return {support.draw: support for support in self.enumerated}

    @property
    def draws(self) -> tuple[str, ...]:
        """The distributions on both sides, each once."""
        return tuple(dict.fromkeys(draw for _, draw in self.real + self.fake))


@dataclass(frozen=True)
class TermPlan:
    """A term: a number made of distributions and values at the samples of draws, and whom its gradient reaches."""

    name: str
    value: Expression
    weight: Schedule
    draws: tuple[str, ...]  # those whose samples it is taken at
    scores: tuple[ScorePlan, ...]
    paths: tuple[tuple[str, tuple[str, ...]], ...]  # network -> samples (`q.z`) and scores (`c(y|x)`)

    def score(self, leaf: Scored | Value | Vat) -> ScorePlan | None:
        """What a leaf of the value stands for; nothing where it is a variable's sample."""
        name = leaf.name if isinstance(leaf, Value) else leaf.factor
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

    def weight(self, epoch: float, step: float = 0.0) -> float:
        """W n at an epoch and a step."""
        return math.prod((schedule.at(epoch, step) for schedule in self.weights), start=float(self.every))

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
    partial: tuple[DrawPlan, ...] = ()  # distributions of which it draws less than other turns
    taken: tuple[tuple[str, str], ...] = ()  # evaluations of terms, and those of drawing at the same samples

    def drawn(self, draw: DrawPlan) -> DrawPlan:
        """A distribution of the plan with what this turn needs of it."""
        return next((found for found in self.partial if found.name == draw.name), draw)

    def loss(self, name: str) -> LossPlan:
        """The loss of that name."""
        return next(loss for loss in self.losses if loss.name == name)

    @cached_property
    def walks(self) -> tuple[tuple[ObjectivePlan, ...], ...]:
        """The objectives through samples, those together whose gradients one backward pass takes."""
        walks: list[list[ObjectivePlan]] = []
        for new in (objective for objective in self.objectives if objective.through == "samples"):
            walk = next((found for found in walks if all(self._agree(new, other) for other in found)), None)
            if walk is None:
                walks.append([new])
            else:
                walk.append(new)
        return tuple(map(tuple, walks))

    def _agree(self, one: ObjectivePlan, other: ObjectivePlan) -> bool:
        """Whether one backward pass of both gives no network the gradient of a loss that does not train it."""
        both = {*one.networks, *other.networks}
        return all(
            both & {network for network, _ in self.loss(name).paths} <= {*objective.networks}
            for objective in (one, other)
            for name in objective.losses
        )

    @cached_property
    def shares(self) -> tuple[ObjectivePlan, ...]:
        """The objectives as they are minimised: the networks of one that minimise the same of its losses together.

        A game's loss through samples does not train the networks through whose passes it is taken.
        """
        passed = {found.evaluation.name: found.evaluation.network for found in self.passes}
        found: list[ObjectivePlan] = []
        for objective in self.objectives:
            shares: dict[tuple[str, ...], list[str]] = {}
            for network in objective.networks:
                losses = tuple(
                    loss.name
                    for loss in map(self.loss, objective.losses)
                    if network in dict(loss.paths) or network not in {passed[name] for name in loss.passes}
                )
                shares.setdefault(losses, []).append(network)
            found += [replace(objective, losses=losses, networks=tuple(own)) for losses, own in shares.items()]
        return tuple(found)

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

    def passes_of(self, kind: PassKind) -> tuple[PassPlan, ...]:
        """The passes of a kind."""
        return tuple(found for found in self.passes if found.kind == kind)


@dataclass(frozen=True)
class FitPlan:
    """What is fitted before a phase: the components of a factor, to the values that a distribution infers.

    `mean` and `log_variance` are the layers whose kth columns hold what a component is; no `log_variance` where all
    have the variance that the table says.
    """

    factor: str  # `p(z|y)`, with the full name of its distribution
    network: str
    mean: str
    log_variance: str
    variable: str  # z
    categories: int
    to: str  # the distribution that infers z
    full: bool = False  # `log_variance` holds triangles of covariances


@dataclass(frozen=True)
class PhasePlan:
    """A part of training: which of the plan's turns a step takes, how long, and what is fitted before it begins."""

    first: int  # of the plan's turns
    count: int
    epochs: float | None = None
    steps: int | None = None
    fits: tuple[FitPlan, ...] = ()
