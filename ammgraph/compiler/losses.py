"""The losses of a turn, from games and terms: what is minimised, at which passes, and whom its gradient reaches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ammgraph.plan.games import game_value, penalty_value, shares
from ammgraph.plan.turns import GamePlan, LossPlan, ObjectivePlan, PassPlan, TermPlan
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


def term_losses(terms: Sequence[TermPlan]) -> tuple[LossPlan, ...]:
    """Every term as a loss of those whom it reaches."""
    return tuple(LossPlan(term.name, "value", term.value, (term.weight,), term.paths) for term in terms)


@dataclass(frozen=True)
class _Learns:
    """A loss, the networks of a turn's update that its gradient reaches, and those of them that it trains."""

    loss: LossPlan
    reached: frozenset[str]
    trained: tuple[str, ...]

    def agrees(self, other: "_Learns") -> bool:
        """Whether one backward pass of both gives no network the gradient of a loss that does not train it."""
        both = {*self.trained, *other.trained}
        return both & self.reached <= {*self.trained} and both & other.reached <= {*other.trained}


def plan_objectives(spec: Spec, losses: Sequence[LossPlan], update: Sequence[str]) -> tuple[ObjectivePlan, ...]:
    """One sum of losses for each set of networks that minimise the same, discriminators first.

    A term joins a sum where that trains nobody whom it shall not train.
    """
    groups: list[list[_Learns]] = []
    for loss in losses:
        owner = spec.terms.get(loss.owner) or spec.games[loss.owner]
        reached = frozenset(update) & {name for name, _ in loss.paths}
        trained = tuple(name for name in update if name in reached and (owner.trains is None or name in owner.trains))
        if trained:
            new = _Learns(loss, reached, trained)
            found = next((group for group in groups if _joins(spec, new, group)), None)
            if found is None:
                groups.append([new])
            else:
                found.append(new)
    ordered = sorted(groups, key=lambda group: _through(group[0].loss) == "samples")
    return tuple(
        ObjectivePlan(
            _through(group[0].loss),
            tuple(learns.loss.name for learns in group),
            tuple(name for name in update if any(name in learns.trained for learns in group)),
        )
        for group in ordered
    )


def _joins(spec: Spec, new: _Learns, group: Sequence[_Learns]) -> bool:
    first = group[0]
    if _through(new.loss) != _through(first.loss):
        return False
    if new.loss.owner in spec.terms or any(learns.loss.owner in spec.terms for learns in group):
        return all(new.agrees(learns) for learns in group)
    return new.trained == first.trained


def _through(loss: LossPlan) -> Literal["passes", "samples"]:
    return "samples" if any(samples for _, samples in loss.paths) else "passes"
