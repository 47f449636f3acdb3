"""The losses of a turn, from its games: what each player minimises, at which passes, and whom its gradient reaches."""

from collections.abc import Mapping, Sequence

from ammgraph.formulas.expression import Expression, Logit
from ammgraph.formulas.objectives import Role, Share, loss
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.graph.passes import SideName, between_name
from ammgraph.graph.plan import GamePlan, LossPlan, ObjectivePlan, PassPlan, PenaltyPlan
from ammgraph.spec.schema import Spec

Sides = tuple[list[Share], list[Share]]


def game_value(game: GamePlan, role: Role, sides: Sides | None = None) -> Expression:
    """What a role minimises in a game, before its weight: a function of the logits of both sides."""
    return loss(game.objective, role, *(sides or shares(game)))


def penalty_value(game: GamePlan, penalty: PenaltyPlan, sides: Sides | None = None) -> Expression:
    """A penalty before its weight: a function of logits and of their slopes."""
    return PENALTIES[penalty.kind].value(*(sides or shares(game)), between_name(game))


def shares(game: GamePlan, evaluations: Mapping[SideName, str] | None = None) -> Sides:
    """(REAL, FAKE), each summand its weight and the logits of its draw, in the evaluation of its side where given."""
    at: Mapping[SideName, str] = evaluations or {}
    real = [(weight, Logit(draw, at.get("real", ""))) for weight, draw in game.real]
    fake = [(weight, Logit(draw, at.get("fake", ""))) for weight, draw in game.fake]
    return real, fake


def plan_losses(games: Sequence[GamePlan], passes: Sequence[PassPlan] = ()) -> tuple[LossPlan, ...]:
    """Of every game the discriminator's loss, the sides' and the penalties, at the logits of these passes."""
    losses = []
    for game in games:
        at = {side: found.evaluation.name for found in passes for name, side in found.sides if name == game.name}
        sides, own = shares(game, at), ((game.discriminator.owner, ()),)
        value = game_value(game, "discriminator", sides)
        losses.append(LossPlan(game.name, "discriminator", value, (game.weight,), own))
        value = game_value(game, "generator", sides)
        losses.append(LossPlan(game.name, "generator", value, (game.weight,), game.paths))
        for penalty in game.penalties:
            value, weights = penalty_value(game, penalty, sides), (game.weight, penalty.weight)
            losses.append(LossPlan(game.name, penalty.kind, value, weights, own, penalty.every))
    return tuple(losses)


def plan_objectives(spec: Spec, losses: Sequence[LossPlan], update: Sequence[str]) -> tuple[ObjectivePlan, ...]:
    """One sum of losses for each set of networks that minimise the same, discriminators first."""
    groups: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for loss_plan in losses:
        reached, allowed = dict(loss_plan.paths), spec.games[loss_plan.owner].trains
        trained = tuple(name for name in update if name in reached and (allowed is None or name in allowed))
        if trained:
            groups.setdefault((any(reached.values()), trained), []).append(loss_plan.name)
    ordered = sorted(groups.items(), key=lambda group: group[0][0])
    return tuple(
        ObjectivePlan("samples" if through else "passes", tuple(names), networks)
        for (through, networks), names in ordered
    )
