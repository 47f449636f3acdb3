"""A run from the terminal: what `train` and `evaluate` do, in the order in which they do it, and what they show.

Between the command line and the rooms: here training meets evaluation, and nowhere else.
"""

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch

from ammgraph.data.dataset import Dataset, load_data
from ammgraph.diagnostics import RunError
from ammgraph.evaluation import results, score
from ammgraph.evaluation.evaluate import evaluate
from ammgraph.evaluation.results import Evaluation
from ammgraph.evaluation.runs import check_plan
from ammgraph.graph.compile import compile_spec
from ammgraph.graph.plan import Plan
from ammgraph.graph.text import plan_text
from ammgraph.spec.load import load_spec
from ammgraph.spec.schema import Spec
from ammgraph.train import checkpoint, record, run
from ammgraph.train.trainer import Trainer, fit

# Without held-out images an evaluation during training looks at so many training images at most.
GLANCE = 2000
LOG_EVERY = 50
CHECKPOINT_SECONDS = 60.0


def train_run(options: argparse.Namespace) -> int:
    """`ammgraph train`: 0 at the end of the plan, 130 or 143 where it was stopped and saved."""
    resumed = Path(options.resume) if options.resume else None
    settings = _resumed_settings(options, resumed) if resumed else new_settings(options)
    spec = load_spec(resumed / "spec.json" if resumed else Path(options.spec), options.set)
    plan = compile_spec(spec)
    device = run.choose_device(options.device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    directory = options.data_dir or settings.data_dir
    dataset = load_data(plan.data, Path(directory) if directory else None, download=not options.no_download)
    trainer = Trainer(plan, dataset, settings.seed, device, settings.precision)
    folder = resumed or (Path(options.run_dir) if options.run_dir else run.new_folder(Path("runs"), settings.name))
    with run.locked(folder):
        if resumed:
            _go_on(trainer, folder)
        else:
            run.create(folder, settings, self_contained(spec, settings.data_dir), plan_text(plan), device)
        say(_headline(plan, dataset, trainer, folder, settings))
        glance = dataset.validation or dataset.train.at(torch.arange(min(GLANCE, len(dataset.train))))
        started = time.monotonic()
        with stop_signals() as stopped, _display(trainer, folder) as show:
            finished = fit(
                trainer,
                folder,
                evaluate=lambda model: evaluate(model, plan, glance),
                report=show,
                stop=lambda: bool(stopped),
                log_every=settings.log_every,
                checkpoint_seconds=settings.checkpoint_seconds,
            )
    if not finished:
        say(f"stopped at step {trainer.step:,}; go on with\n  {_resume_command(folder, options)}")
        return 128 + stopped[0]
    say(f"trained {trainer.step:,} steps; this session took {_clock(time.monotonic() - started)}")
    found = score.evaluate_run(folder, device, data_dir=options.data_dir, download=not options.no_download)
    print("\n".join(score_lines(folder, found)))
    return 0


def score_lines(folder: Path, found: Evaluation) -> list[str]:
    """What an evaluation found, each number with its protocol, and what was published for the same constants."""
    plan = compile_spec(load_spec(folder / "spec.json", ()))
    published = [
        f"  {number.metric.replace('_', ' ')}, {number.source}: {number.value:g}"
        + ("" if number.std is None else f" +- {number.std:g}")
        + (" %" if number.unit == "percent" else "")
        for number in plan.published
    ]
    return [*results.lines(found), *(["published:", *published] if published else [])]


def new_settings(options: argparse.Namespace) -> run.RunOptions:
    """What a new run is asked to be."""
    return run.RunOptions(
        name=Path(options.spec).stem,
        seed=options.seed or 0,
        precision=options.precision or "float32",
        data_dir=str(Path(options.data_dir).absolute()) if options.data_dir else None,
        log_every=options.log_every or LOG_EVERY,
        checkpoint_seconds=CHECKPOINT_SECONDS if options.checkpoint_seconds is None else options.checkpoint_seconds,
        command=shlex.join(["ammgraph", *sys.argv[1:]]),
    )


def _resumed_settings(options: argparse.Namespace, resumed: Path) -> run.RunOptions:
    """What a resumed run was asked to be, with how often it logs and saves from now on."""
    settings = run.read_options(resumed)
    if options.run_dir or (options.seed is not None and options.seed != settings.seed):
        raise RunError(f"a run keeps its directory and its seed ({settings.seed}); `--resume` takes neither")
    if options.precision not in (None, settings.precision):
        raise RunError(f"the run began in {settings.precision}; `--resume` cannot change it to {options.precision}")
    changed = {name: getattr(options, name) for name in ("log_every", "checkpoint_seconds")}
    return replace(settings, **{name: value for name, value in changed.items() if value is not None})


def self_contained(spec: Spec, data_dir: str | None) -> dict[str, Any]:
    """The resolved spec; a run must find its data from any folder."""
    written = dict(spec.written)
    if spec.data.path and not data_dir:
        written["data"] = {**written["data"], "path": str(Path(spec.data.path).expanduser().absolute())}
    return written


def _resume_command(folder: Path, options: argparse.Namespace) -> str:
    """What goes on with a run as it was started; seed, precision and the like stand in the run directory."""
    words = ["ammgraph", "train", "--resume", str(folder)]
    if options.device != "auto":
        words += ["--device", options.device]
    for override in options.set if options.resume else ():
        words += ["--set", override]
    return shlex.join(words)


def _go_on(trainer: Trainer, folder: Path) -> None:
    if not checkpoint.has_checkpoint(folder / "checkpoints"):
        record.cut(folder / "metrics.jsonl", 0)
        return
    step, state, passed_over = checkpoint.load_newest(folder / "checkpoints")
    _warn([f"{problem}; an older checkpoint is used" for problem in passed_over])
    check_plan(folder, trainer.plan, state)
    trainer.load_state_dict(state)
    record.cut(folder / "metrics.jsonl", step)


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        say(f"warning: {warning}")


def say(text: str) -> None:
    """A line to stderr, if anyone still reads it: training goes on without."""
    try:
        print(text, file=sys.stderr, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _headline(plan: Plan, dataset: Dataset, trainer: Trainer, folder: Path, settings: run.RunOptions) -> str:
    sides = "   ".join(f"{draw.name} = {' '.join(factor.text for factor in draw.factors)}" for draw in plan.draws)
    return (
        f"{plan.title or settings.name}\n"
        f"  model   {sides}\n"
        f"  size    {plan.parameters:,} parameters\n"
        f"  data    {dataset.description}\n"
        f"  run     {folder}, seed {settings.seed}, {trainer.device}, {settings.precision}, "
        f"steps {trainer.step:,} to {trainer.last_step:,} ({trainer.steps_per_epoch:,} an epoch)"
    )


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM ask for a stop after the step at hand; a second Ctrl-C stops at once."""
    received: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Show(Protocol):
    """Takes every line of the metrics."""

    def __call__(self, line: dict[str, Any]) -> None: ...  # noqa: D102


@contextmanager
def _display(trainer: Trainer, folder: Path) -> Iterator[Show]:
    """A progress bar on a terminal, plain lines elsewhere; TensorBoard files where it is installed."""
    board = _tensorboard(folder)
    if not sys.stderr.isatty():
        yield lambda line: _show_plain(trainer, line, board)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=console, expand=True) as progress:
            task = progress.add_task("", total=trainer.last_step, completed=trainer.step)

            def show(line: dict[str, Any]) -> None:
                if "evaluation" in line:
                    progress.console.print(_evaluation_text(line), highlight=False)
                else:
                    progress.update(task, completed=line["step"], description=_losses_text(trainer, line))
                _write_board(board, line)

            yield show
    if board is not None:
        board.close()


def _show_plain(trainer: Trainer, line: dict[str, Any], board: Any) -> None:
    if "evaluation" in line:
        say(_evaluation_text(line))
    else:
        left = _clock((trainer.last_step - line["step"]) * line["seconds_per_step"])
        head = f"step {line['step']:,}/{trainer.last_step:,}  epoch {line['epoch']:.1f}"
        say(f"{head}  {_losses_text(trainer, line)}  {left} left")
    _write_board(board, line)


def _losses_text(trainer: Trainer, line: dict[str, Any]) -> str:
    games = [
        f"{game.name}: D {line[f'{game.name}/discriminator']:.3f} G {line[f'{game.name}/generator']:.3f} "
        f"accuracy {100 * line[f'{game.name}/accuracy']:.0f} %"
        for game in trainer.plan.games
        if f"{game.name}/discriminator" in line
    ]
    rate = trainer.plan.epoch_batch / line["seconds_per_step"]
    entropies = [
        f"{name.removesuffix('/entropy')}: entropy {value:.2f}, {_used(line[name.replace('/entropy', '/use')])}"
        for name, value in line.items()
        if name.endswith("/entropy")
    ]
    return "  ".join([*games, *entropies, f"{rate:,.0f} examples/s"])


def _used(use: list[float]) -> str:
    """A component counts as alive where it gets at least a tenth of its even share."""
    alive = sum(share >= 0.1 / len(use) for share in use)
    return f"{alive} of {len(use)} in use"


def _evaluation_text(line: dict[str, Any]) -> str:
    shown = [
        f"{name} {100 * value:.2f} %"
        for name, value in line["evaluation"].items()
        if name.rpartition("/")[2] in ("one_to_one_error", "classification_error")
    ]
    shown += [
        f"{name} {value:.5f}" for name, value in line["evaluation"].items() if name.endswith("reconstruction_error")
    ]
    return f"  epoch {line['epoch']:.1f}: {'  '.join(shown)}  ({line['evaluation']['examples']:,} images)"


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))


def _write_board(board: Any, line: dict[str, Any]) -> None:
    if board is None:
        return
    for name, value in (line | line.get("evaluation", {})).items():
        if isinstance(value, int | float):
            board.add_scalar(name, value, line["step"])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
