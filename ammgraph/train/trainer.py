"""The loop: executes the plan's turns, step after step. It knows players, games, draws and schedules, and no model."""

import copy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ammgraph.data.dataset import Dataset
from ammgraph.diagnostics import RunError
from ammgraph.folders import BEST, CHECKPOINTS, METRICS
from ammgraph.nn import probe, synchronized
from ammgraph.nn.model import Model
from ammgraph.plan.changes import slowest
from ammgraph.plan.cost import Precision
from ammgraph.plan.draws import FromData
from ammgraph.plan.identity import of_another_version, plan_hash
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import ancestry
from ammgraph.plan.turns import FitPlan
from ammgraph.runs import checkpoint, divergence, record
from ammgraph.runs.states import NotFinite, all_finite, mismatch, same_text
from ammgraph.train import kept, memory
from ammgraph.train.act import Act, Moment, use_arithmetic
from ammgraph.train.fitting import Columns, inferred, mixture_columns, set_columns
from ammgraph.train.graphs import CudaGraphs, Graphs
from ammgraph.train.optimizers import changing_rates, load_slots, optimizer_of, slots
from ammgraph.train.ranks import ALONE, Ranks, shard
from ammgraph.train.stages import Stage, at_step, stages_of
from ammgraph.train.streams import Feed, Noise, initial_model, stream_seed

Evaluate = Callable[[Model], dict[str, Any]]
Report = Callable[[dict[str, Any]], None]

FITTED = 500  # examples of a batch in which values to be fitted to are inferred


class Trainer:
    """Everything that changes while a plan is trained: weights, optimizers, averages, streams, the step."""

    def __init__(
        self,
        plan: Plan,
        dataset: Dataset,
        seed: int,
        device: torch.device,
        precision: Precision = "float32",
        ranks: Ranks = ALONE,
    ) -> None:
        self.plan, self.seed, self.device, self.precision, self.ranks = plan, seed, device, precision, ranks
        self._part = shard(plan, ranks.size)
        use_arithmetic(device, precision)
        if device.type == "cpu":
            memory.keep_pages()
        dtype = dtype_of(precision)
        model = initial_model(plan, seed, dataset).to(device=device, dtype=dtype)
        # Channels last: a step of Tables 3-6 takes a fifth less on a CPU, and tensor cores want it on a GPU.
        self.model = memory.matrices_in_rows(plan, model.to(memory_format=torch.channels_last))
        self.averaged = copy.deepcopy(self.model).requires_grad_(False) if any(n.ema for n in plan.networks) else None
        self.optimizers = {
            network.name: optimizer_of(network, list(self.model.network(network.name).parameters()))
            for network in plan.networks
            if network.learns
        }
        if ranks.size > 1 and plan.statistics == "batch":
            for network in plan.networks:
                self.model.network(network.name).batch_norm = synchronized.batch_norm
                self.model.network(network.name).whole_batch_norm = synchronized.whole_batch_norm
        self.feed = Feed(plan, dataset, seed, device, dtype, ranks)
        self.noise = Noise(plan, seed, device, dtype, ranks)
        self.recorder = record.Recorder()
        self._act = Act(plan, self._part, precision, ranks, self.model, self.averaged, self.optimizers, self.feed)
        self.graphs: Graphs | None = None  # steps are taken one operation at a time
        if device.type == "cuda" and ranks.size == 1 and not self.feed.reads_files:
            self.graphs = Graphs(next(self.model.parameters()), CudaGraphs([*self.noise.generators.values()]))
        self.step = 0
        self.stages = stages_of(plan, self.feed)
        self.phase = 0  # from 0
        self.last_step = self.stages[-1].last

    @property
    def models(self) -> tuple[Model, ...]:
        """The weights, and their averages if there are any."""
        return (self.model,) if self.averaged is None else (self.model, self.averaged)

    @property
    def stage(self) -> Stage:
        """The phase that has begun and not been left for the next one."""
        return self.stages[self.phase]

    @property
    def epoch(self) -> float:
        """Passes through the data so far."""
        return self.stage.epoch(self.step)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of a pass through the data in this phase."""
        return self.stage.steps_per_epoch

    @property
    def between_phases(self) -> bool:
        """Whether a phase has ended and the next one has not begun."""
        return self.step >= self.stage.last and self.phase + 1 < len(self.stages)

    @property
    def steps_left(self) -> float:
        """Steps to the end, those of later phases counted by what they cost beside one of this phase."""
        later = sum((stage.last - stage.first) * stage.cost for stage in self.stages[self.phase + 1 :])
        return max(0, self.stage.last - self.step) + later / self.stage.cost

    @property
    def rates(self) -> dict[str, float]:
        """The learning rates of the last step, of those networks whose rate changes."""
        last = max(self.step - 1, self.stage.first)
        return changing_rates(self.plan.networks, self.stage.epoch(last), last)

    @property
    def evaluated(self) -> Model:
        """The weights that are evaluated: the averaged or the last ones, as the spec says."""
        return self.averaged if self.plan.evaluation.weights == "ema" and self.averaged is not None else self.model

    def advance(self) -> None:
        """One step, the first of a phase after what is fitted before it."""
        if self.between_phases:
            self.begin_phase()
        self.take_step()

    def begin_phase(self) -> None:
        """Leave a phase that has ended: set what is fitted before the next one.

        What is set depends on the weights, the data and the seed alone, so that it is the same however often a run is
        stopped at the end of a phase.

        Raises:
            RunError: a factor cannot be fitted.
        """
        self.phase += 1
        self.recorder.clear()
        if self.graphs is not None:
            self.graphs.clear()
        earlier = sum(len(stage.phase.fits) for stage in self.stages[: self.phase])
        for index, fit in enumerate(self.stage.phase.fits, start=earlier):
            found = self._fitted(fit, index) if self.ranks.first else None
            columns = found if self.ranks.size == 1 else self.ranks.from_first(found)
            assert columns is not None
            network = self.plan.network(fit.network)
            for model in self.models:
                set_columns(model, network, columns)
            if network.learns:
                self.optimizers[fit.network] = optimizer_of(network, [*self.model.parameters_of[fit.network]])

    def _fitted(self, fit: FitPlan, index: int) -> Columns:
        draw = self.plan.draw(fit.to)
        (origin,) = (f.origin for f in ancestry(draw, fit.variable) if isinstance(f.origin, FromData))
        values = inferred(self.model, draw, fit.variable, self.feed.in_order(origin, FITTED))
        return mixture_columns(fit, values, stream_seed(self.seed, "fit", index))

    def take_step(self) -> None:
        """Every turn of the phase, each as often as it says."""
        turns = tuple(turn for turn in self.plan.turns_of(self.stage.phase) for _ in range(turn.steps))
        now = Moment(self.phase, turns, self.epoch, self.step)
        positions = [self.feed.positions(turn) if turn.redraw else {} for turn in turns]
        numbers = now.numbers(self.plan)
        if self.graphs is None:
            values = self._act(now, positions, self._noises(now), numbers)
        else:
            values = self.graphs.take(
                now.kind, lambda *of: self._act(now, of[0], self._noises(now), of[1]), positions, numbers
            )
        self.step += 1
        self.recorder.add(self.step, values)

    def _noises(self, now: Moment) -> Iterator[dict[str, torch.Tensor]]:
        """The random tensors of every turn of a step: new ones, or those of the turn before and what it lacks."""
        noise: dict[str, torch.Tensor] = {}
        for turn in now.turns:
            known = {} if turn.redraw else noise
            noise = known | self.noise.of(turn, now.step, known)
            yield noise

    def check(self) -> None:
        """Raise where a value of the last steps, or a weight, or what the weights give, is not finite.

        Raises:
            NotFinite: naming the game and player, or the term, or the network, or the variable, and the step.
        """
        self.recorder.check()
        for plan in self.plan.networks:
            for what, tensors in self._numbers_of(plan.name).items():
                if not all_finite(tensors):
                    raise NotFinite(f"{what} of network `{plan.name}` is not finite after step {self.step}")
        for what, model in (("weights", self.model), ("averaged weights", self.averaged)):
            found = "" if model is None else probe.not_finite(self.plan, model)
            if found:
                raise NotFinite(f"with the {what} after step {self.step} {found} is not finite")

    def _numbers_of(self, network: str) -> dict[str, list[torch.Tensor]]:
        """What decides the steps to come of a network."""
        optimizer = self.optimizers.get(network)
        slots = optimizer.state.values() if optimizer is not None else ()
        averaged = [] if self.averaged is None else list(self.averaged.network(network).state_dict().values())
        return {
            "a weight": list(self.model.network(network).state_dict().values()),
            "an averaged weight": averaged,
            "the optimizer's state": [value for slot in slots for value in slot.values()],
        }

    def state_dict(self) -> dict[str, Any]:
        """Every state there is."""
        return {
            "plan": plan_hash(self.plan),
            "step": self.step,
            "precision": self.precision,
            "model": self.model.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "feed": self.feed.state_dict(),
            "noise": self.noise.state_dict(),
            "recorder": self.recorder.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the trainer that gave `state` stood.

        Raises:
            RunError: the state is of another plan or precision, or is not one of a trainer.
        """
        made_by = state.get("plan")
        if isinstance(made_by, str) and (reason := of_another_version(made_by)):
            raise RunError(f"the checkpoint cannot be resumed: {reason}")
        if not same_text(made_by, plan_hash(self.plan)):
            raise RunError("the checkpoint was made by another plan: the spec, or ammgraph itself, has changed since")
        if not same_text(state.get("precision"), self.precision):
            raise RunError(f"the run began in {state.get('precision')!s:.20}, not {self.precision}")
        try:
            problem = self._mismatch(state)
            if not problem:
                self._load(state)
        except _MALFORMED as error:
            problem = " ".join(str(error).split())[:200]
        if problem:
            raise RunError(
                f"the checkpoint does not hold the state of this run: {problem}; it was changed, or another program "
                "wrote it: remove it, and the one before it is used"
            )

    def _mismatch(self, state: dict[str, Any]) -> str:
        """What has another shape, type or structure than this trainer's own; streams and records check themselves."""
        optimizers = {name: state["optimizers"][name]["state"] for name in self.optimizers}
        averaged = None if self.averaged is None else self.averaged.state_dict()
        own = {
            "step": self.step,
            "model": self.model.state_dict(),
            "averaged": averaged,
            "optimizers": {
                name: slots(self.plan.network(name), optimizer) if optimizers[name] else {}
                for name, optimizer in self.optimizers.items()
            },
        }
        found = mismatch({**{name: state[name] for name in own}, "optimizers": optimizers}, own)
        return found or ("" if state["step"] >= 0 else "`step` is negative")

    def _load(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.phase = at_step(self.stages, self.step)
        self.model.load_state_dict(state["model"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        for name, optimizer in self.optimizers.items():
            load_slots(optimizer, state["optimizers"][name]["state"])
        self.feed.load_state_dict(state["feed"])
        self.noise.load_state_dict(state["noise"])
        if self.graphs is not None:
            self.graphs.clear()
        self.recorder.load_state_dict(state["recorder"], self.device)


def fit(
    trainer: Trainer,
    folder: Path,
    evaluate: Evaluate | None = None,
    *,
    report: Report | None = None,
    glimpse: Report | None = None,
    stop: Callable[[], bool] = lambda: False,
    log_every: int = 50,
    checkpoint_seconds: float = 60.0,
) -> bool:
    """Train to the end of the plan, or until `stop`; whether the end was reached.

    Args:
        trainer: at any step, new or loaded.
        folder: the run directory; gets `metrics.jsonl` and `checkpoints/`.
        evaluate: called with the evaluated weights every `evaluation.every_epochs` and at the end.
        report: called with every line of the metrics.
        glimpse: called after the first step with what a line would say then; it is written nowhere.
        stop: asked after every step.
        log_every: steps between two lines.
        checkpoint_seconds: least time between two checkpoints; one is written at the end in any case.

    Raises:
        RunError: a value is not finite, or the disk refuses. The last good checkpoint is untouched.
    """
    loop = _Loop(trainer, folder, evaluate, report, log_every)
    first = trainer.step + 1
    checkpoints = folder / CHECKPOINTS
    divergence.forget(folder)
    saved = time.monotonic()
    while trainer.step < trainer.last_step:
        try:
            loop.advance()
            if glimpse is not None and trainer.step == first and trainer.recorder.begun:
                glimpse(loop.line(loop.timed() | trainer.recorder.means()))
            stopped = trainer.ranks.any(stop())
            if loop.ended or stopped or time.monotonic() - saved > checkpoint_seconds:
                trainer.check()
                checkpoint.save(checkpoints, trainer.step, trainer.state_dict())
                saved = time.monotonic()
        except RunError as error:
            saved_before = checkpoint.has_checkpoint(checkpoints)
            kept = "the last good checkpoint is untouched" if saved_before else "no checkpoint was written yet"
            advice = f"; {diverged(trainer.plan, error.at_once)}" if isinstance(error, NotFinite) else ""
            if advice:
                divergence.keep(folder, f"{error}{advice}")
            raise RunError(f"{error}; {kept}{advice}") from error
        if stopped and trainer.step < trainer.last_step:
            return False
    return True


class _Loop:
    """A step after another, each with what is written about it."""

    def __init__(
        self, trainer: Trainer, folder: Path, evaluate: Evaluate | None, report: Report | None, log_every: int
    ) -> None:
        self.trainer, self.path, self.log_every = trainer, folder / METRICS, log_every
        self.evaluate, self.report = evaluate, report
        self.first, self.started = trainer.step, time.monotonic()  # of what is timed: this phase, in this session

    @property
    def ended(self) -> bool:
        """Whether the step at hand was the last one of its phase."""
        return self.trainer.step == self.trainer.stage.last

    def advance(self) -> None:
        """A step, its line where one is due, an evaluation where one is due, and between phases what is fitted."""
        trainer = self.trainer
        if trainer.between_phases:
            self._begin_phase()
        with memory.explained(trainer.plan, trainer.precision, f"training step {trainer.step + 1}"):
            trainer.advance()
        if trainer.step % self.log_every == 0 or self.ended:
            values = trainer.recorder.flush()
            self._write(self.timed() | trainer.rates | values)
        between = max(1, round(trainer.plan.evaluation.every_epochs * trainer.steps_per_epoch))
        if (trainer.step - trainer.stage.first) % between == 0 or self.ended:
            self._look()

    def _begin_phase(self) -> None:
        trainer = self.trainer
        with memory.explained(trainer.plan, trainer.precision, f"fitting after step {trainer.step}"):
            trainer.begin_phase()
        if trainer.stage.phase.fits:
            self._look()
        self.first, self.started = trainer.step, time.monotonic()

    def _look(self) -> None:
        trainer = self.trainer
        if self.evaluate is None:
            return
        trainer.check()
        with memory.explained(trainer.plan, trainer.precision, f"evaluating step {trainer.step}"):
            found = self.evaluate(trainer.evaluated)
        look = {"evaluation": found}
        best = self.path.parent / BEST
        if kept.is_best(trainer.plan.evaluation.keep, self.line(look), self.path, checkpoint.steps(best)):
            checkpoint.save(best, trainer.step, trainer.state_dict())
        self._write(look)

    def timed(self) -> dict[str, Any]:
        """The mean time of a step of this phase, in this session."""
        rate = (self.trainer.step - self.first) / (time.monotonic() - self.started)
        return {"seconds_per_step": round(1 / rate, 5)}

    def line(self, values: dict[str, Any]) -> dict[str, Any]:
        """A line of the metrics at this step."""
        trainer = self.trainer
        phase = {"phase": trainer.phase + 1} if len(trainer.stages) > 1 else {}
        return {"step": trainer.step, "epoch": round(trainer.epoch, 4), **phase, **values}

    def _write(self, values: dict[str, Any]) -> None:
        line = self.line(values)
        record.append(self.path, line)
        if self.report is not None:
            self.report(line)


def follow(trainer: Trainer, stop: Callable[[], bool], log_every: int) -> bool:
    """Take the steps of `fit` in a process that is not the first one; whether the end was reached.

    Raises:
        RunError: a value is not finite, or another process has ended.
    """
    while trainer.step < trainer.last_step:
        with memory.explained(trainer.plan, trainer.precision, f"training step {trainer.step + 1}"):
            trainer.advance()
        if trainer.step % log_every == 0 or trainer.step == trainer.stage.last:
            trainer.recorder.flush()
        if trainer.ranks.any(stop()) and trainer.step < trainer.last_step:
            return False
    return True


# What a dictionary that is no trainer's state makes torch and us raise.
_MALFORMED = (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError)


def dtype_of(precision: str) -> torch.dtype:
    """Of a model's weights in training."""
    return torch.float64 if precision == "float64" else torch.float32


def diverged(plan: Plan, at_once: bool = False) -> str:
    """What to do where numbers have left the range of numbers: `at_once`, or by what training has changed."""
    if at_once and len(plan.turns) == 1:
        return (
            "no weight has changed yet, so that no learning rate is to blame: begin a new run with smaller weights of "
            "losses and penalties, or of networks, by `training.initializer`"
        )
    return f"training has diverged: begin a new run with lower learning rates, as by `{slowest(plan, 0.1)}`"
