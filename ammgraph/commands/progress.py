"""What is seen of a training: two lines that stay in their place on a terminal, a line after another elsewhere.

A terminal shows a bar with the step, the rate and the time that is left; below it the components in use, losses and
entropies, as many as there is room for.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeAlias

from ammgraph.diagnostics import counted
from ammgraph.evaluation.evaluate import first_errors
from ammgraph.evaluation.metrics import components_in_use
from ammgraph.plan.metric import ACCURACY, ENTROPY, USE, Metric
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import on_data_set, record_kind
from ammgraph.terminal import say, screen
from ammgraph.train.trainer import Report, Trainer

if TYPE_CHECKING:
    from rich.console import RenderableType

NARROWEST_BAR = 10
REFRESHES = 8  # a second
GAP = "  "
# Of every line of the metrics; of the first step, which is in none.
Shown: TypeAlias = tuple[Report, Report]


@contextmanager
def display(trainer: Trainer) -> Iterator[Shown]:
    """What is called with every line of the metrics, and what with those of the first step."""
    with _on_terminal(trainer) if _moves(sys.stderr) else _plain(trainer) as show:
        yield show, show


def _moves(file: Any) -> bool:
    """Whether a line can be written again."""
    return bool(file.isatty()) and os.environ.get("TERM") != "dumb"


# ------------------------------------------------------------------------------------------------ a terminal


class _Lines:
    """The two lines at any moment: they are drawn several times a second, whenever a step was taken."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.line: dict[str, Any] = {}  # the last one of training

    def __rich__(self) -> "RenderableType":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        trainer = self.trainer
        bar = Table.grid(expand=True, padding=(0, len(GAP), 0, 0))
        bar.add_column(ratio=1, min_width=NARROWEST_BAR)
        bar.add_column(no_wrap=True, overflow="crop")
        head = Text(GAP.join(_head(trainer, self.line)), no_wrap=True, overflow="crop")
        bar.add_row(ProgressBar(total=trainer.last_step, completed=trainer.step, width=None), head)
        return Group(bar, _Fitted(told(trainer, self.line, digits=2)))


class _Fitted:
    """A line of as many parts as there is room for."""

    def __init__(self, parts: Sequence[str]) -> None:
        self.parts = parts

    def __rich_console__(self, console: Any, options: Any) -> Iterator["RenderableType"]:
        from rich.text import Text

        yield Text(fitted(self.parts, options.max_width), no_wrap=True, overflow="crop")


def fitted(parts: Sequence[str], width: int) -> str:
    """The first parts as a line of at most `width` columns; `…` stands for the others."""
    lines = (GAP.join(parts[:count]) + (" …" if count < len(parts) else "") for count in range(len(parts), 0, -1))
    return next((line for line in lines if len(line) <= width), GAP.join(parts)[:width])


@contextmanager
def _on_terminal(trainer: Trainer) -> Iterator[Report]:
    from rich.console import Console
    from rich.live import Live

    console, lines = Console(file=screen(sys.stderr)), _Lines(trainer)
    with Live(lines, console=console, auto_refresh=False) as live, _again_and_again(live.refresh):

        def show(line: dict[str, Any]) -> None:
            if "evaluation" in line:
                if text := evaluation_text(line, trainer.plan):
                    console.print(text, highlight=False)
            else:
                lines.line = line
                live.refresh()

        yield show


@contextmanager
def _again_and_again(draw: Callable[[], object]) -> Iterator[None]:
    """Draw several times a second until the end, and not a moment longer: Python aborts where a thread still writes
    when it shuts down, and rich does not wait for its own.
    """
    ended = Event()

    def work() -> None:
        while not ended.wait(1 / REFRESHES):
            draw()

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _head(trainer: Trainer, line: dict[str, Any]) -> list[str]:
    """The step at hand, in which phase, how fast, and for how long."""
    phase = [f"phase {trainer.phase + 1}/{len(trainer.stages)}"] if len(trainer.stages) > 1 else []
    seconds = line.get("seconds_per_step")
    timed = ["-:-- left"] if seconds is None else [_rate(trainer, line), f"{clock(trainer.steps_left * seconds)} left"]
    return [f"step {trainer.step:,}/{trainer.last_step:,}", *phase, *timed]


# ------------------------------------------------------------------------------------------------ lines


@contextmanager
def _plain(trainer: Trainer) -> Iterator[Report]:
    def show(line: dict[str, Any]) -> None:
        if "evaluation" in line:
            if text := evaluation_text(line, trainer.plan):
                say(text)
            return
        left = clock(trainer.steps_left * line["seconds_per_step"])
        phase = [f"phase {line['phase']}/{len(trainer.stages)}"] if "phase" in line else []
        head = [f"step {line['step']:,}/{trainer.last_step:,}", f"epoch {line['epoch']:.1f}", *phase]
        say(GAP.join([*head, *told(trainer, line), _rate(trainer, line), f"{left} left"]))

    yield show


def told(trainer: Trainer, line: dict[str, Any], digits: int = 3) -> list[str]:
    """What a line of training says, most looked for first: components in use, games, terms, entropies."""
    found = [(Metric.of(name), value) for name, value in line.items()]
    used = [
        f"{metric.owner}: {components_in_use(value)}/{len(value)} in use"
        for metric, value in found
        if metric.what == USE and isinstance(value, list)
    ]
    games = [
        f"{name}: D {line[f'{name}/discriminator']:.{digits}f} G {line[f'{name}/generator']:.{digits}f} "
        f"{100 * line[f'{name}/{ACCURACY}']:.0f} % right"
        for name in (game.name for game in trainer.plan.games)
        if f"{name}/discriminator" in line
    ]
    values = [(term.name, line.get(f"{term.name}/value")) for term in trainer.plan.terms]
    terms = [f"{name} {value:.{digits}f}" for name, value in values if value is not None]
    entropies = [f"{metric.owner}: entropy {value:.2f}" for metric, value in found if metric.what == ENTROPY]
    return [*used, *games, *terms, *entropies]


def evaluation_text(line: dict[str, Any], plan: Plan) -> str:
    """What a line of an evaluation says; nothing where nothing is measured."""
    shown = [
        f"{name} void" if value is None else f"{name} {100 * value:.2f} %"
        for name, value in first_errors(line["evaluation"]).items()
    ]
    shown += [
        f"{name} {value:.5f}" for name, value in line["evaluation"].items() if name.endswith("reconstruction_error")
    ]
    shown += [f"{name} {value:g}" for name, value in line["evaluation"].items() if name.endswith("components_in_use")]
    on = counted(line["evaluation"]["examples"], _example(plan))
    return f"  epoch {line['epoch']:.1f}: {GAP.join(shown)}  ({on})" if shown else ""


def _example(plan: Plan) -> str:
    """What an example is called: of data sets of images and of vectors just that."""
    kinds = {record_kind(on_data_set(plan, name)) for name in plan.data_names}
    return kinds.pop() if len(kinds) == 1 else "example"


def _rate(trainer: Trainer, line: dict[str, Any]) -> str:
    return f"{trainer.plan.epoch_batch / line['seconds_per_step']:,.0f} examples/s"


def clock(seconds: float) -> str:
    """3661 -> `1:01:01`, 59.6 -> `1:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
