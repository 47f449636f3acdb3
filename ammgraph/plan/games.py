"""What the players of a game minimise, as formulas of the logits of both sides."""

from collections.abc import Mapping

from ammgraph.formulas.expression import Expression, Logit, enumerated, times
from ammgraph.formulas.objectives import Role, Share, loss
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.plan.turns import GamePlan, PenaltyPlan, SideName
from ammgraph.spec.schema import Schedule

Sides = tuple[list[Share], list[Share]]


def game_value(game: GamePlan, role: Role, sides: Sides | None = None) -> Expression:
    """What a role minimises in a game, before its weight: a function of the logits of both sides."""
    return enumerated(loss(game.objective, role, *(sides or shares(game))), game.supports)


def penalty_value(game: GamePlan, penalty: PenaltyPlan, sides: Sides | None = None) -> Expression:
    """A penalty before its weight: a function of logits and of their slopes."""
    return enumerated(PENALTIES[penalty.kind].value(*(sides or shares(game)), between_name(game)), game.supports)


def weighed(weight: Schedule, value: Expression) -> tuple[bool, Expression]:
    """Whether a weight changes and stands before a formula; and the formula, a constant weight multiplied into it."""
    return weight.changes, value if weight.changes else times(weight.ends, value)


def shares(game: GamePlan, evaluations: Mapping[SideName, str] | None = None) -> Sides:
    """(REAL, FAKE), each summand its weight and the logits of its draw, in the evaluation of its side where given."""
    at: Mapping[SideName, str] = evaluations or {}
    real = [(weight, Logit(draw, at.get("real", ""))) for weight, draw in game.real]
    fake = [(weight, Logit(draw, at.get("fake", ""))) for weight, draw in game.fake]
    return real, fake


def between_name(game: GamePlan) -> str:
    """The evaluation of a game's discriminator between REAL and FAKE."""
    return f"{game.name}.penalty/{game.discriminator.call}"
