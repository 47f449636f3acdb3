"""The phases of a run in steps: where each begins and ends, its turns, how many steps make an epoch of it."""

from dataclasses import dataclass

from ammgraph.plan.cost import forward_cost
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import PhasePlan
from ammgraph.train.streams import Feed


@dataclass(frozen=True)
class Stage:
    """A phase as it is trained: from step `first`, which it begins at, to step `last`, after which it has ended."""

    phase: PhasePlan
    first: int
    last: int
    began: float  # epochs before it
    steps_per_epoch: int
    cost: int  # multiply-adds of a step, by which the times of phases compare

    def epoch(self, step: int) -> float:
        """Passes through the data, those of earlier phases included."""
        return self.began + (step - self.first) / self.steps_per_epoch


def stages_of(plan: Plan, feed: Feed) -> tuple[Stage, ...]:
    """Every phase of a plan, one after another."""
    found: list[Stage] = []
    for phase in plan.stages:
        turns = plan.turns_of(phase)
        per_epoch = feed.steps_per_epoch(turns)
        steps = phase.steps or max(1, round((phase.epochs or 0) * per_epoch))
        first, began = (found[-1].last, found[-1].epoch(found[-1].last)) if found else (0, 0.0)
        cost = max(1, sum(forward_cost(plan, turns).values()))
        found.append(Stage(phase, first, first + steps, began, per_epoch, cost))
    return tuple(found)


def at_step(stages: tuple[Stage, ...], step: int) -> int:
    """The phase in which a step was the last one: at the end of a phase that one, for the next has not begun."""
    return next((index for index, stage in enumerate(stages) if step <= stage.last), len(stages) - 1)
