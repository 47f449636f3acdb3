"""What a step does on the device: a function of positions, noise and numbers, and of the state that it changes.

Nothing here waits for the device, and no value of a tensor decides what is done: what a step does is decided by its
`Kind`, so that two steps of one kind are the same operations on the same memory, with other numbers in it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError
from ammgraph.nn.model import Model, Tensors
from ammgraph.plan.cost import Precision
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import TurnPlan
from ammgraph.train.optimizers import clipped, laid_out_as
from ammgraph.train.ranks import Ranks
from ammgraph.train.step import Gradients, Outcome, gradient_norms, take_turn
from ammgraph.train.streams import Feed, Positions

Kind: TypeAlias = tuple[object, ...]


def use_arithmetic(device: torch.device, precision: Precision) -> None:
    """Let a CUDA device compute products as a precision says, by algorithms that give the same bits each time.

    Raises:
        RunError: the device has no such arithmetic.
    """
    if device.type != "cuda":
        if precision == "tf32":
            raise RunError(
                f"tf32 is an arithmetic of NVIDIA GPUs, and the device is {device}; `--precision float32` or "
                "`--precision bfloat16`"
            )
        return
    rounded = precision in ("tf32", "bfloat16")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = rounded
    torch.backends.cudnn.deterministic = True


@dataclass(frozen=True)
class Numbers:
    """What schedules give at a step, as the host's numbers or as tensors of the device."""

    weights: Mapping[str, float | Tensor]  # w n of the losses that do not weigh 0, by name
    rates: Mapping[str, float | Tensor]  # learning rates, by network


@dataclass(frozen=True)
class Moment:
    """A step as the host sees it: its phase, the turns that it takes, one after another, and when."""

    phase: int
    turns: tuple[TurnPlan, ...]  # each as often as it is taken
    epoch: float
    step: int

    @property
    def kind(self) -> Kind:
        """What decides which operations the step is made of, whatever the numbers."""
        losses = [loss for turn in self.turns for loss in turn.losses]
        sites = sorted({site.every for turn in self.turns for site in turn.sites})
        due = [self.step % loss.every == 0 for loss in losses] + [self.step % every == 0 for every in sites]
        return (self.phase, *due, *(bool(loss.weight(self.epoch, self.step)) for loss in losses))

    def numbers(self, plan: Plan) -> Numbers:
        """The weights and the learning rates of now."""
        losses = {loss.name: loss for turn in self.turns for loss in turn.losses}
        weights = {name: loss.weight(self.epoch, self.step) for name, loss in losses.items()}
        rates = {
            network.name: network.optimizer.learning_rate.at(self.epoch, self.step)
            for network in plan.networks
            if network.learns
        }
        return Numbers({name: weight for name, weight in weights.items() if weight}, rates)


@dataclass(frozen=True)
class Act:
    """The state that a step changes in place, and the step.

    `part` is the plan of what this process computes of every batch.
    """

    plan: Plan
    part: Plan
    precision: Precision
    ranks: Ranks
    model: Model
    averaged: Model | None
    optimizers: Mapping[str, torch.optim.Optimizer]
    feed: Feed

    def __call__(
        self, now: Moment, positions: Sequence[Positions], noises: Iterable[Tensors], numbers: Numbers
    ) -> dict[str, Tensor]:
        """Take every turn of a step; what it found, to log.

        Args:
            now: the step.
            positions: for each turn which records every draw takes; none where the turn draws as before.
            noises: for each turn its random tensors.
            numbers: weights and rates.
        """
        values: dict[str, Tensor] = {}
        batches: Mapping[str, Tensors] = {}
        device = next(self.model.parameters()).device.type
        for turn, places, noise in zip(now.turns, positions, noises, strict=True):
            batches = self.feed.records(places) if turn.redraw else batches
            for network in dict.fromkeys(found.evaluation.network for found in turn.passes):
                self.model.network(network).step()
            with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bfloat16"):
                outcome = take_turn(
                    self.model, self.part, self._own(turn), batches, noise, now.epoch, now.step, weights=numbers.weights
                )
            if self.ranks.size > 1:
                outcome = self._of_all(outcome)
            self._update(outcome.gradients, numbers.rates)
            values |= outcome.values
        self._average()
        return values

    def _own(self, turn: TurnPlan) -> TurnPlan:
        """A turn of the plan as this process takes it: of the draws that it narrows, too, a part of the batch."""
        if self.ranks.size == 1:
            return turn
        return next(own for whole, own in zip(self.plan.turns, self.part.turns, strict=True) if whole is turn)

    @torch.no_grad()
    def _of_all(self, outcome: Outcome) -> Outcome:
        """The means over the processes, each of which knows its part of the batch: the gradients of the whole batch."""
        gradients = [gradient for found in outcome.gradients.values() for gradient in found]
        own = self.plan.networks if self.plan.statistics == "process" else ()
        buffers = [buffer for plan in own for buffer in self.model.network(plan.name).buffers()]
        mean = iter(self.ranks.average([*gradients, *outcome.values.values(), *buffers]))
        averaged = {name: [next(mean) for _ in found] for name, found in outcome.gradients.items()}
        values = {name: next(mean) for name in outcome.values}
        for buffer in buffers:
            buffer.copy_(next(mean))
        return Outcome(averaged, values | gradient_norms(averaged))

    def _update(self, gradients: Gradients, rates: Mapping[str, float | Tensor]) -> None:
        for name, found in gradients.items():
            optimizer = self.optimizers[name]
            moves = clipped(found, self.plan.network(name).optimizer.gradient_clip)
            for parameter, gradient in zip(self.model.parameters_of[name], moves, strict=True):
                parameter.grad = laid_out_as(parameter, gradient)
            optimizer.param_groups[0]["lr"] = rates[name]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _average(self) -> None:
        if self.averaged is None:
            return
        for plan in self.plan.networks:
            network, average = self.model.network(plan.name), self.averaged.network(plan.name)
            current = [*network.parameters(), *network.buffers()]
            mean = [*average.parameters(), *average.buffers()]
            if current:
                torch._foreach_lerp_(mean, current, 1 - (plan.ema or 0.0))
            if plan.ema is not None:
                average.step()  # the mean of unit vectors is none
