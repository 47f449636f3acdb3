"""Training that calls back: after every step, after every evaluation, and to ask whether it should stop."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ammgraph.api import steps
from ammgraph.api.model import Model
from ammgraph.api.steps import Training
from ammgraph.diagnostics import RunError
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

    An exception of a callback goes on once the step at hand is evaluated, if that is due, and saved.

    Raises:
        KeyboardInterrupt: a signal came, be it in the last step; the run is saved.
    """
    guard, in_main = _Guard(), threading.current_thread() is threading.main_thread()
    state = State(training)

    def report(line: dict[str, Any]) -> None:
        guard.call(callbacks.report, line)
        if "evaluation" in line:
            guard.call(callbacks.after_evaluation, state, line["evaluation"])

    with ExitStack() as stack:
        stopped = stack.enter_context(steps.stop_signals()) if in_main else []

        def stop() -> bool:
            guard.call(callbacks.after_step, state)
            return bool(guard.call(callbacks.stop, state)) or guard.failed is not None or bool(stopped)

        with guard.raised():
            finished = steps.train(training, report, stop)
    if stopped:
        run, step = f"ammgraph.Run({str(training.folder)!r})", f"step {training.trainer.step:,}"
        raise KeyboardInterrupt(
            f"trained to its end, {step}: {run}" if finished else f"saved at {step}; go on with {run}.resume()"
        )


class _Guard:
    """The first exception of a callback, after which none is called any more."""

    def __init__(self) -> None:
        self.failed: BaseException | None = None

    def call(self, callback: Callable[..., object] | None, *arguments: object) -> object:
        """What a callback gives; None where there is none, or it or one before it has failed."""
        if callback is None or self.failed is not None:
            return None
        try:
            return callback(*arguments)
        except BaseException as error:  # whatever it is, it is the caller's, who gets it after the run is saved
            self.failed = error
            return None

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Let the exception go on at the end; what kept the run from being saved is said beside it."""
        try:
            yield
        except RunError as error:
            if self.failed is None:
                raise
            self.failed.add_note(str(error))
        if self.failed is not None:
            raise self.failed
