"""The losses of a turn, from its games: what each player minimises, at which passes, and whom its gradient reaches."""

from collections.abc import Sequence

from ammgraph.plan.games import game_value, penalty_value, shares
from ammgraph.plan.plan import GamePlan, LossPlan, ObjectivePlan, PassPlan
from ammgraph.spec.schema import Spec


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
