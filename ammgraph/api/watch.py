"""Training that calls back: after every step, after every evaluation, and to ask whether it should stop."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ammgraph.api import steps
from ammgraph.api.model import Model
from ammgraph.api.steps import Training
from ammgraph.train.trainer import Report


@dataclass(frozen=True, eq=False)
class State:
    """Where a run stands: what callbacks are handed. It changes with every step; a model asks the weights of now."""

    training: Training

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.training.trainer.step

    @property
    def epoch(self) -> float:
        """Passes through the data."""
        return self.training.trainer.epoch

    @property
    def folder(self) -> Path:
        """The run directory."""
        return self.training.folder

    @property
    def model(self) -> Model:
        """The weights that are evaluated. What is asked of them changes no bit of the training."""
        trainer = self.training.trainer
        return Model(trainer.plan, trainer.evaluated, self.training.dataset.scalings)


@dataclass(frozen=True)
class Callbacks:
    """What is called while a run is trained.

    Args:
        report: with every line of the metrics.
        after_step: after every step, and what is written about it.
        after_evaluation: with what an evaluation in training found, by name, as `y/nmi`.
        stop: after every step; where it gives True the run is saved and left there.
    """

    report: Report | None = None
    after_step: Callable[[State], object] | None = None
    after_evaluation: Callable[[State, dict[str, Any]], object] | None = None
    stop: Callable[[State], bool] | None = None


def train(training: Training, callbacks: Callbacks) -> None:
    """Train to the end of the plan, or until `stop`; signals reach the main thread alone.

    Raises:
        KeyboardInterrupt: a signal came, be it in the last step; the run is saved.
    """
    state, in_main = State(training), threading.current_thread() is threading.main_thread()

    def report(line: dict[str, Any]) -> None:
        if callbacks.report is not None:
            callbacks.report(line)
        if callbacks.after_evaluation is not None and "evaluation" in line:
            callbacks.after_evaluation(state, line["evaluation"])

    with ExitStack() as stack:
        stopped = stack.enter_context(steps.stop_signals()) if in_main else []

        def stop() -> bool:
            if callbacks.after_step is not None:
                callbacks.after_step(state)
            return (callbacks.stop is not None and callbacks.stop(state)) or bool(stopped)

        finished = steps.train(training, report, stop)
    if stopped:
        run, step = f"ammgraph.Run({str(training.folder)!r})", f"{training.trainer.step:,}"
        raise KeyboardInterrupt(
            f"trained to its end, step {step}: {run}"
            if finished
            else f"saved at step {step}; go on with {run}.resume()"
        )
