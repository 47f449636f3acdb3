"""A run from the terminal: what `train` and `evaluate` do, in the order in which they do it, and what they show.

Between the command line and `api`, which does the work.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ammgraph.api import steps
from ammgraph.commands.arguments import spelled
from ammgraph.commands.loggers import Logged, check_loggers, logged
from ammgraph.commands.progress import Shown, clock, display
from ammgraph.commands.train_options import TrainOptions
from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import RunError, counted, render
from ammgraph.evaluation import chief, health, results
from ammgraph.evaluation.results import Evaluation
from ammgraph.evaluation.score import scored_split
from ammgraph.folders import SPEC
from ammgraph.plan.identity import plan_hash
from ammgraph.runs import run
from ammgraph.spec.load import load_spec
from ammgraph.spec.schema import Spec
from ammgraph.spec.shipped import spec_path
from ammgraph.spec.source import printable
from ammgraph.start.listing import published_text
from ammgraph.terminal import command, print_lines, say
from ammgraph.train.ranks import ALONE, Ranks, divided_means, joined
from ammgraph.train.trainer import Trainer


def train_run(options: TrainOptions) -> int:
    """`ammgraph train`: 0 at the end of the plan; 129, 130 or 143 where it was stopped and saved."""
    return _train(options, result_lines)


def train_trial(options: TrainOptions) -> int:
    """The same of one of several, which are told of together at their end."""
    return _train(options, trial_lines)


def _train(options: TrainOptions, ending: Callable[[Path, Evaluation], list[str]]) -> int:
    with joined() as ranks, opened(options, ranks) as training:
        if not ranks.first:
            return _follow(training)
        trainer, folder, first = training.trainer, training.folder, training.trainer.step
        say(_headline(training))
        started = time.monotonic()
        with steps.stop_signals() as stopped:
            with reported(training, options.log) as (show, glimpse):
                finished = steps.train(training, show, lambda: bool(stopped), glimpse)
            if stopped or not finished:
                where = "before the evaluation" if finished else f"at step {trainer.step:,}"
                say(f"stopped {where}; go on with\n  {_resume_command(folder, options, ranks)}")
                if not finished:
                    ranks.wait()
                return stopped_by(stopped)
    say(f"trained {counted(trainer.step, 'step')}; this session took {clock(time.monotonic() - started)}")
    found = _evaluated(training) if first == trainer.step else None
    found = found or steps.evaluate_training(training, options.device)
    print_lines(ending(folder, found))
    return 0


@contextmanager
def reported(training: steps.Training, log: str | None) -> Iterator[Shown]:
    """What a run's metrics are shown and written by, as `display` gives it."""
    settings = training.settings
    values = {"seed": settings.seed, "precision": settings.precision, "command": settings.command}
    run = Logged(training.folder, training.trainer.step, settings.name, values)
    with logged(log, run) as write, display(training.trainer) as (show, glimpse):

        def written(line: dict[str, Any]) -> None:
            show(line)
            write(line)

        yield written, glimpse


def _follow(training: steps.Training) -> int:
    """The run in a process that is not the first one: its part of every step, until the first one has saved."""
    with steps.stop_signals() as stopped:
        if steps.train(training, None, stop=lambda: bool(stopped)):
            return 0
        training.trainer.ranks.wait()
        return stopped_by(stopped)


def stopped_by(received: Sequence[int]) -> int:
    """The exit code of a run that was asked to stop, be it by a signal to another one of its processes."""
    return 128 + (received[0] if received else signal.SIGTERM)


def opened(options: TrainOptions, ranks: Ranks) -> AbstractContextManager[steps.Training]:
    """The run that is asked for: a new one, or one that goes on."""
    check_loggers(options.log)
    if options.spec is not None:
        folder = options.run_dir
        if folder and ranks.first:
            run.refuse_trials(folder)
            if not options.force and not run.is_run(folder):
                run.refuse_foreign(folder, may_force=True)
        spec = load_spec(options.spec, options.set, allow_outside=options.allow_outside)
        if ranks.first:
            tell_warnings(spec)
            for line in divided_means(compile_spec(spec), ranks.size) if ranks.size > 1 else ():
                say(line)
        settings = new_settings(options, options.spec, ranks)
        return steps.new_training(spec, settings, folder, _place(options, ranks), ranks)
    assert options.resume is not None
    settings = _resumed_settings(options, options.resume)
    return steps.resumed_training(options.resume, settings, options.set, _place(options, ranks), ranks)


def _place(options: TrainOptions, ranks: Ranks) -> run.Place:
    return run.Place(run.choose_device(ranks.device(options.device)), options.data_dir, options.download)


def _evaluated(training: steps.Training) -> Evaluation | None:
    """What a run that had come to its end before was found to be, if it was evaluated there."""
    found, split = results.read(training.folder), scored_split(training.dataset, None)
    state = (training.trainer.step, plan_hash(training.trainer.plan))
    return replace(found, split=split) if found and found.of(split) and (found.step, found.plan) == state else None


def score_lines(folder: Path, found: Evaluation) -> list[str]:
    """What an evaluation found, each number with its protocol; what was published for the same constants; *Health*."""
    plan = compile_spec(load_spec(folder / SPEC, ()))
    published = [f"  {published_text(number)}" for number in plan.published]
    verdict = health.lines(health.health_of_run(folder, found))
    return [*results.lines(found), *(["published:", *published] if published else []), *verdict]


def result_lines(folder: Path, found: Evaluation) -> list[str]:
    """The number that one looks for first, k-means and what was published beside it; *Health*; what to type next."""
    plan = compile_spec(load_spec(folder / SPEC, ()))
    told = [*chief.lines(plan, found), *health.lines(health.health_of_run(folder, found))]
    return [*told, f"run: {folder}", f"Next: {command('report', folder)}"]


def trial_lines(folder: Path, found: Evaluation) -> list[str]:
    """The same of one of several runs, without what can be said of all together."""
    plan = compile_spec(load_spec(folder / SPEC, ()))
    return [*chief.lines(plan, found), *health.verdict(health.findings_of_run(folder, found)), f"run: {folder}"]


def new_settings(options: TrainOptions, spec: str, ranks: Ranks = ALONE) -> run.RunOptions:
    """What a new run of a spec is asked to be."""
    seconds = steps.CHECKPOINT_SECONDS if options.checkpoint_seconds is None else options.checkpoint_seconds
    return run.RunOptions(
        name=printable(Path(spec_path(spec)).stem),
        seed=options.seed or 0,
        precision=options.precision or "float32",
        data_dir=str(options.data_dir.absolute()) if options.data_dir else None,
        log_every=options.log_every or steps.LOG_EVERY,
        checkpoint_seconds=seconds,
        command=options.known_as or printable(ranks.command(*options.typed)),
    )


def check_precision(what: str, began: run.RunOptions, asked: str | None) -> None:
    """What goes on keeps its precision.

    Raises:
        RunError: another one is asked for.
    """
    if asked not in (None, began.precision):
        raise RunError(f"the {what} began in {began.precision}; `--resume` cannot change it to {asked}")


def _resumed_settings(options: TrainOptions, resumed: Path) -> run.RunOptions:
    """What a resumed run was asked to be, with how often it logs and saves from now on."""
    settings = run.read_options(resumed)
    if options.run_dir or (options.seed is not None and options.seed != settings.seed):
        raise RunError(f"a run keeps its directory and its seed ({settings.seed}); `--resume` takes neither")
    check_precision("run", settings, options.precision)
    changed = {name: getattr(options, name) for name in ("log_every", "checkpoint_seconds")}
    return replace(settings, **{name: value for name, value in changed.items() if value is not None})


def _resume_command(folder: Path, options: TrainOptions, ranks: Ranks = ALONE) -> str:
    """What goes on with a run as it was started; seed, precision and the like stand in the run directory."""
    again = TrainOptions(resume=folder, device=options.device, set=options.set if options.resume else ())
    return ranks.command("train", *spelled(again))


def tell_warnings(spec: Spec) -> None:
    """What `validate` warns of, before anything is trained."""
    for warning in compile_spec(spec).warnings:
        say(render(warning, spec.source.texts))


def _headline(training: steps.Training) -> str:
    trainer, settings = training.trainer, training.settings
    plan = trainer.plan
    processes = trainer.ranks.size
    where = str(trainer.device) if processes == 1 else f"{processes} processes on {trainer.device.type}"
    sides = "   ".join(f"{draw.name} = {' '.join(factor.text for factor in draw.written)}" for draw in plan.draws)
    beside = f", with {', '.join(settings.changes)}" if settings.changes else ""
    return (
        f"{plan.title or settings.name}{beside}\n"
        f"  model   {sides}\n"
        f"  size    {counted(plan.parameters, 'parameter')}\n"
        f"  data    {training.dataset.told}\n"
        f"  run     {training.folder}, seed {settings.seed}, {where}, {settings.precision}, "
        f"{_range(trainer)} ({trainer.steps_per_epoch:,} an epoch{_of_phases(trainer)})"
    )


def _of_phases(trainer: Trainer) -> str:
    """In which phase a run begins, where there are several."""
    count = len(trainer.stages)
    return f" of phase {trainer.phase + 1} of {count}" if count > 1 else ""


def _range(trainer: Trainer) -> str:
    if trainer.step < trainer.last_step:
        return f"steps {trainer.step:,} to {trainer.last_step:,}"
    return f"finished: it has trained {counted(trainer.step, 'step')}, and {trainer.last_step:,} are asked for"
