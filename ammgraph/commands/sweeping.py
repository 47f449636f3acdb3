"""A sweep at the terminal: trial after trial, each a run of its own, until all are tried.

Any number of processes may share a folder. What is best is decided by the looks at validation examples alone: no trial
is scored on others, so that test labels have chosen nothing.
"""

import contextlib
import secrets
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ammgraph.api import steps
from ammgraph.commands.arguments import spelled
from ammgraph.commands.loggers import check_loggers
from ammgraph.commands.session import check_precision, new_settings, opened, reported, stopped_by
from ammgraph.commands.sweep_options import SweepOptions
from ammgraph.commands.train_options import TrainOptions
from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import RunError, SpecError, counted, is_out_of_memory
from ammgraph.evaluation import score
from ammgraph.evaluation.loading import load_run
from ammgraph.evaluation.looks import better, check_measures, measured, reads_labels
from ammgraph.folders import DATABASE, LOCK, METRICS, OPTIONS, SPECS, SWEEP, tried_folder
from ammgraph.runs import files, record
from ammgraph.runs.data import read_data
from ammgraph.runs.run import Place, is_run, new_folder, options_text, refuse_foreign, refuse_trials
from ammgraph.runs.run import spec_text as spec_bytes
from ammgraph.runs.states import NotFinite
from ammgraph.runs.study import Claimed, Study, alone_in, without_password
from ammgraph.runs.sweeps import State, Sweep, Tried, all_failed, best_of, ranked, read_sweep, write_tried
from ammgraph.spec.load import load_spec
from ammgraph.spec.schema import Spec
from ammgraph.terminal import command, one_line, print_lines, say
from ammgraph.train.kept import best_look
from ammgraph.train.ranks import ALONE, refuse_several

TRIALS, MOST = 20, 10_000
SHOWN = 10  # trials of the table at the end
# What decides which examples trials are compared on, and when: the same for all of them.
SHARED = ("data", "evaluation.every_epochs")
MAY_VARY = "labeled"  # of a data set


@dataclass(frozen=True)
class Ended:
    """What has come of a trial in this session; without a state it was stopped, and goes on later."""

    state: State | None
    value: float | None = None
    reason: str = ""
    code: int = 0


def sweep(options: SweepOptions) -> int:
    """Try what is left to try, beside other processes that do, then print the best trials.

    Returns:
        0 when every trial has come to its end, or another process trains the last ones; 129, 130 or 143 where it was
        stopped: the trial at hand was saved.

    Raises:
        RunError: nothing was trained, every trial has failed, or the disk or the database refuses.
        SpecError: the spec is wrong, or what is varied is none of its values.
    """
    refuse_several("a sweep's trials are trained by one process each; begin `ammgraph sweep --resume` several times")
    check_loggers(options.log)
    if (options.trials or 0) > MOST:
        raise RunError(f"`--trials` is {options.trials:,}, expected at most {MOST:,}")
    folder = _more(options, options.resume) if options.resume else _begin(options)
    study = Study(folder, read_sweep(folder), options.storage)
    while True:
        with study.claimed() as claim:
            if claim is None:
                break
            try:
                ended = _trained(options, folder, study, claim)
            except KeyboardInterrupt:
                ended = Ended(None, code=128 + signal.SIGINT)
            if ended.state is None:
                again = spelled(SweepOptions(resume=folder, device=options.device))
                say(f"go on with the sweep by\n  {command('sweep', *again)}")
                return ended.code
            study.end(claim.number, ended.state, ended.value, ended.reason)
            _tell(read_sweep(folder), _kept_as_tried(folder, study), claim, ended)
    found, tried = read_sweep(folder), _kept_as_tried(folder, study)
    print_lines(_lines(folder, found, tried))
    if failed := all_failed(folder, found, tried):
        raise RunError(failed)
    return 0


def _kept_as_tried(folder: Path, study: Study) -> tuple[Tried, ...]:
    """What was tried, which is written down for whoever reads it without Optuna."""
    with alone_in(folder):
        tried = study.tried()
        write_tried(folder, tried)
    return tried


# ------------------------------------------------------------------------------------------------ the folder


def _begin(options: SweepOptions) -> Path:
    """A new folder, made once everything is known to be trainable, measured and varied."""
    source = str(options.spec)
    named = options.run_dir
    if named is not None:
        refuse_trials(named)
        if is_run(named):
            raise RunError(f"{named} holds a run; name another")
        refuse_foreign(named, (LOCK, SPECS, DATABASE))
    said = _said(options, source)
    spec = load_spec(source, said, allow_outside=options.allow_outside)
    plan = compile_spec(spec)
    check_measures(plan)
    if options.metric is None:
        of_labels = "classification_error" if all(found.supervised for found in plan.readouts) else "nmi"
        example = "reconstruction_error" if plan.reconstructions else of_labels
        raise RunError(f"say what is best, by `--metric`, as in `--metric {example}`")
    _check_axes(options, source, spec, said)
    settings = new_settings(_alone(options, spec=source), source)
    directory = Path(settings.data_dir) if settings.data_dir else None
    dataset = read_data(plan, directory, options.download)
    metric = measured(options.metric, plan, dataset, settings.seed)
    content = Sweep(
        vary=tuple(map(str, options.vary)),
        metric=metric,
        better=better(metric),
        trials=options.trials or TRIALS,
        prune=not options.no_prune,
        study=f"{settings.name}-{secrets.token_hex(4)}",
        storage=None if options.storage is None else without_password(options.storage),
        log=options.log,
        options=replace(settings, command=command("train", *spelled(_of_each(options, source)))),
    )
    if options.storage is not None:
        Study(named or Path("runs"), content, options.storage)  # a database that cannot be used is told first
    folder = named or new_folder(Path("runs"), settings.name)
    try:
        files.make_folder(folder / SPECS)
        with alone_in(folder):
            files.write(_spec_of(folder, content), spec_bytes(steps.self_contained(spec, settings.data_dir)))
            Study(folder, content, options.storage)
            files.write(folder / SWEEP, options_text(content))
    except OSError as error:
        raise RunError(f"cannot write the folder of the sweep {folder}: {error.strerror or error}") from error
    return folder


def _said(options: SweepOptions, source: str) -> tuple[str, ...]:
    """What is set in the spec of all trials: first values too, where it is no spec without what is varied.

    As where `--set training.steps=null` makes room for `--vary training.epochs=5,10`.

    Raises:
        SpecError: the spec is wrong, whatever is varied.
    """
    first = (*options.set, *(axis.extremes[0] for axis in options.vary))
    for said in (options.set, first):
        with contextlib.suppress(SpecError):
            load_spec(source, said, allow_outside=options.allow_outside)
            return said
    return options.set


def _of_each(options: SweepOptions, source: str) -> TrainOptions:
    """What all trials are trained with, but for their values, their seed and their data, as it is typed."""
    shared = _alone(options, spec=source, set=options.set, allow_outside=options.allow_outside)
    return replace(shared, data_dir=None, device="auto", seed=None)


def _more(options: SweepOptions, folder: Path) -> Path:
    """A sweep that goes on, with more trials where more are asked for; its data are here, or it is told before one."""
    sweep = read_sweep(folder)
    if options.allow_outside:
        raise RunError("a sweep keeps its spec, which has no `extends` any more; `--resume` takes no `--allow-outside`")
    if options.set or options.vary or options.metric or options.seed is not None or options.run_dir or options.no_prune:
        raise RunError(
            "a sweep keeps its spec, what it varies and measures, its seed and its folder; `--resume` takes no "
            "`--set`, `--vary`, `--metric`, `--seed`, `--run-dir` or `--no-prune`"
        )
    check_precision("sweep", sweep.options, options.precision)
    if options.trials is not None:
        with alone_in(folder):
            sweep = read_sweep(folder)
            if options.trials < sweep.trials:
                raise RunError(f"the sweep has {sweep.trials} trials; `--trials` can only give it more")
            files.write(folder / SWEEP, options_text(replace(sweep, trials=options.trials)))
    kept = _kept(options, sweep)
    read_data(compile_spec(load_spec(_spec_of(folder, sweep))), kept.data_dir, kept.download)
    return folder


def _check_axes(options: SweepOptions, source: str, spec: Spec, said: Sequence[str]) -> None:
    """Every value, alone, is one that the spec takes at that place.

    Raises:
        RunError: a key is varied twice, or is what trials must share.
        SpecError: there is no such key, or it takes no such value.
    """
    keys = [axis.key for axis in options.vary]
    written = [text.partition("=")[0].strip() for text in options.set]
    may_vary = [".".join((*spec.data_path(of), MAY_VARY)) for of in spec.data_sets]
    for key in keys:
        if keys.count(key) > 1 or key in written:
            raise RunError(f"`{key}` is said twice; `--vary` and `--set` say each value once")
        if _within(key, SHARED) and not _within(key, may_vary):
            raise RunError(
                f"`{key}` decides which examples trials are compared on, or when: it is the same for all; set it by "
                "`--set`"
            )
    for axis in options.vary:
        for value in axis.extremes:
            others = [text for text in said if text not in axis.extremes]
            load_spec(source, [*others, value], allow_outside=options.allow_outside)


def _within(key: str, sections: Sequence[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


# ------------------------------------------------------------------------------------------------ a trial


def _trained(options: SweepOptions, folder: Path, study: Study, claim: Claimed) -> Ended:
    """Train a trial to its end, or until it is pruned or stopped."""
    sweep = read_sweep(folder)
    asked = _asked(options, folder, sweep, claim)
    say(f"{_name(sweep, claim.number)}: {_values(sweep, claim.values)}{_again(asked)}")
    begins = asked.resume is None
    try:
        with opened(asked, ALONE) as training, steps.stop_signals() as stopped:
            begins = False
            looks = _Looks(study, sweep.metric, claim.number, training.trainer.last_step)
            for line in record.read(training.folder / METRICS):
                looks.see(line)
            if not looks.pruned:
                with _reported(training, asked.log, looks) as (show, glimpse):
                    steps.train(training, show, lambda: bool(stopped) or looks.pruned, glimpse)
            if looks.pruned:
                return Ended("pruned", looks.last)
            if stopped:
                return Ended(None, code=stopped_by(stopped))
            return _finished(training, sweep)
    except SpecError as error:
        return Ended("failed", reason=f"{error.diagnostics[0].code}: {error.diagnostics[0].message}")
    except RunError as error:
        if not _is_its_own(error, begins):
            raise
        return Ended("failed", reason=error.lines[0])


def _finished(training: steps.Training, sweep: Sweep) -> Ended:
    """What a trial that has come to its end is worth: the measure of the state that its spec says is evaluated."""
    loaded = load_run(training.folder, Place(training.trainer.device), training.dataset)
    score.evaluate_and_write(loaded, "validation", baseline=False)
    looks = [line for line in record.read(training.folder / METRICS) if line.get("evaluation")]
    keep = loaded.plan.evaluation.keep
    at = None if keep is None else best_look(keep, looks)
    value = (at or looks[-1])["evaluation"].get(sweep.metric)
    return Ended("failed", reason=f"`{sweep.metric}` is void") if value is None else Ended("finished", float(value))


def _is_its_own(error: RunError, begins: bool) -> bool:
    """Whether a trial has failed by what was tried, and not by a disk, a database or another process."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    if any(
        isinstance(cause, NotFinite) or (isinstance(cause, Exception) and is_out_of_memory(cause)) for cause in causes
    ):
        return True
    return begins and causes == [error]


class _Looks:
    """The measure at each look of a trial, as it is found; a line is counted whether or not it was reported before."""

    def __init__(self, study: Study, metric: str, number: int, last_step: int) -> None:
        self.study, self.metric, self.number, self.last_step = study, metric, number, last_step
        self.count, self.pruned = 0, False
        self.last: float | None = None

    def see(self, line: dict[str, Any]) -> None:
        """A line of the metrics."""
        if "evaluation" not in line:
            return
        self.count += 1
        value = line["evaluation"].get(self.metric)
        if value is not None:
            self.last = float(value)
            worse = self.study.report(self.number, self.count, self.last)
            self.pruned = worse and line["step"] < self.last_step


@contextmanager
def _reported(training: steps.Training, log: str | None, looks: _Looks) -> Iterator[Any]:
    with reported(training, log) as (show, glimpse):

        def both(line: dict[str, Any]) -> None:
            show(line)
            looks.see(line)

        yield both, glimpse


def _asked(options: SweepOptions, folder: Path, sweep: Sweep, claim: Claimed) -> TrainOptions:
    """What the trial is asked for: a new run, or the one that stands there."""
    run = tried_folder(folder, claim.number)
    if run.is_symlink():
        raise RunError(f"{run} is a link, and nothing is written through links: remove it")
    kept, seed = _kept(options, sweep), sweep.options.seed
    if (run / OPTIONS).exists():
        return replace(kept, resume=run, precision=None)
    values = tuple(axis.set(value) for axis, value in zip(sweep.axes, claim.values, strict=True))
    again = spelled(TrainOptions(set=values, seed=seed, data_dir=kept.data_dir))
    known_as = f"{sweep.options.command} {shlex.join(again)}"
    return replace(kept, spec=str(_spec_of(folder, sweep)), set=values, run_dir=run, seed=seed, known_as=known_as)


def _kept(options: SweepOptions, sweep: Sweep) -> TrainOptions:
    """What this session is asked for and, where it is not, what the sweep began with."""
    asked, began = _alone(options), sweep.options
    return replace(
        asked,
        log_every=asked.log_every or began.log_every,
        checkpoint_seconds=began.checkpoint_seconds if asked.checkpoint_seconds is None else asked.checkpoint_seconds,
        precision=began.precision,
        log=asked.log or sweep.log,
        data_dir=asked.data_dir or (Path(began.data_dir) if began.data_dir else None),
    )


def _alone(options: SweepOptions, **more: Any) -> TrainOptions:
    """What a sweep and a run are asked for alike."""
    shared = ("data_dir", "download", "device", "precision", "log_every", "checkpoint_seconds", "log", "seed")
    return TrainOptions(**{name: getattr(options, name) for name in shared}, **more)


def _spec_of(folder: Path, sweep: Sweep) -> Path:
    """The spec under its own name, which its runs take over."""
    return folder / SPECS / f"{sweep.options.name}.json"


# ------------------------------------------------------------------------------------------------ what is said


def _name(sweep: Sweep, number: int) -> str:
    return f"{tried_folder(Path(), number)} ({number + 1} of {sweep.trials})"


def _values(sweep: Sweep, values: Sequence[str | float]) -> str:
    return one_line("  ".join(axis.set(value) for axis, value in zip(sweep.axes, values, strict=True)))


def _again(asked: TrainOptions) -> str:
    return "" if asked.resume is None else f", which goes on in {asked.resume}"


def _tell(sweep: Sweep, tried: tuple[Tried, ...], claim: Claimed, ended: Ended) -> None:
    best = best_of(sweep, tried)
    head = _name(sweep, claim.number)
    if ended.state == "failed":
        say(one_line(f"{head} has failed: {ended.reason}"))
        return
    value = "" if ended.value is None else f" {sweep.metric} {ended.value:.5g}"
    how = ", pruned" if ended.state == "pruned" else ""
    first = ", the best so far" if best is not None and best.number == claim.number else ""
    say(f"{head}:{value}{how}{first}")


def _lines(folder: Path, sweep: Sweep, tried: tuple[Tried, ...]) -> list[str]:
    """The best trials, and what to type next."""
    shown = [one for one in ranked(sweep, tried) if one.state in ("finished", "pruned")]
    head = ("trial", sweep.metric, *(axis.key for axis in sweep.axes))
    body = [_row(sweep, one) for one in shown[:SHOWN]]
    widths = [max(len(row[place]) for row in (head, *body)) for place in range(len(head))]
    table = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in (head, *body)]  # fmt: skip
    found = [*table, f"... {len(shown) - SHOWN} more"] if len(shown) > SHOWN else table if shown else []
    by = "labels of validation examples" if reads_labels(sweep.metric) else "validation examples"
    found.append(f"{counted(len(tried), 'trial')}: {_counts(tried)}; {sweep.better} is better, by {by}")
    best, waiting = best_of(sweep, tried), [one for one in tried if one.state == "begun"]
    if waiting:
        again = command("sweep", "--resume", folder)
        them = "is" if len(waiting) == 1 else "are"
        found.append(f"{counted(len(waiting), 'trial')} {them} trained by other processes; where not, by {again}")
    if len(tried) < sweep.trials:
        found.append(f"what is varied has no more than {counted(len(tried), 'combination')}")
    if best is not None:
        found.append(f"best: {tried_folder(folder, best.number)}")
        found.append(f"Next: {command('report', folder)}")
    return found


def _row(sweep: Sweep, one: Tried) -> tuple[str, ...]:
    pruned = " (pruned)" if one.state == "pruned" else ""
    value = "-" if one.value is None else f"{one.value:.5g}{pruned}"
    values = (axis.set(value).partition("=")[2] for axis, value in zip(sweep.axes, one.values, strict=True))
    return (str(one.number), value, *map(one_line, values))


def _counts(tried: Sequence[Tried]) -> str:
    states = [one.state for one in tried]
    names = {"finished": "finished", "pruned": "pruned", "failed": "failed", "begun": "not at the end"}
    return ", ".join(f"{states.count(state)} {name}" for state, name in names.items() if state in states)
