"""Several seeds of one spec: run after run, or side by side on several devices, and at the end mean and spread."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ammgraph.api.steps import STOPPING, self_contained, stop_signals
from ammgraph.commands.arguments import spelled
from ammgraph.commands.loggers import check_loggers
from ammgraph.commands.session import check_precision, new_settings, train_trial
from ammgraph.commands.train_options import TrainOptions
from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import RunError
from ammgraph.evaluation import compare
from ammgraph.folders import LOCK, OPTIONS, SPECS, TRIALS, trial_folder, trial_log
from ammgraph.runs import divergence, files
from ammgraph.runs.data import read_data
from ammgraph.runs.run import (
    Place,
    RunOptions,
    choose_device,
    is_run,
    locked,
    new_folder,
    options_text,
    refuse_foreign,
    spec_text,
)
from ammgraph.runs.trials import Trials, has_results, is_trials, read_trials
from ammgraph.spec.load import load_spec
from ammgraph.terminal import command, print_lines, say
from ammgraph.train.ranks import refuse_several
from ammgraph.train.trainer import Trainer

MOST = 10_000
# What a trial that begins after `--resume` is asked for as those before it, which have `--log` too.
KEPT = ("precision", "log_every", "checkpoint_seconds")
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Ended:
    """What has come of trials: the seeds of those that have failed, and the exit code where they were stopped."""

    failed: tuple[int, ...] = ()
    stopped: int = 0


def train_trials(options: TrainOptions) -> int:
    """Train every seed, going on where each one stands, then print mean and standard deviation over them.

    A trial that fails is reported, and keeps the others neither from being trained nor from being told of together.

    Returns:
        0 when all have come to their end; 1 where one has failed; 129, 130 or 143 where they were stopped.

    Raises:
        RunError: nothing was trained, for the reason told.
        SpecError: the spec is wrong.
    """
    refuse_several("trials are trained by one process each, side by side with `--device cuda:0,cuda:1`")
    check_loggers(options.log)
    devices = options.device.split(",")
    chosen = [choose_device(name) for name in devices]
    folder, trials = _begun(options, options.resume) if options.resume else _begin(options, str(options.spec))
    options = _kept(options, trials.options)
    train = _one_after_another if len(devices) == 1 else _side_by_side
    with locked(folder):
        try:
            ended = train(options, folder, trials)
        except KeyboardInterrupt:
            ended = Ended(stopped=128 + signal.SIGINT)
        whole = [trial_folder(folder, seed) for seed in trials.seeds if seed not in ended.failed]
        whole = [run for run in whole if has_results(run)]
        if whole and not ended.stopped:
            groups = compare.compare_runs(whole, Place(chosen[0], options.data_dir, options.download))
            print_lines([*compare.lines(groups), f"Next: {command('report', folder)}"])
    _advise(options, folder, ended)
    return ended.stopped or (1 if ended.failed else 0)


def _advise(options: TrainOptions, folder: Path, ended: Ended) -> None:
    """What to do about trials that have not come to their end; one that has diverged would do so again."""
    diverged = {seed: told for seed in ended.failed if (told := divergence.told(trial_folder(folder, seed)))}
    what_to_do = {seed: told.partition("; ")[2] for seed, told in diverged.items()}
    for advice in dict.fromkeys(what_to_do.values()):
        seeds = [str(seed) for seed, own in what_to_do.items() if own == advice]
        say(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}: {advice}")
    if ended.stopped or len(diverged) < len(ended.failed):
        again = command("train", *spelled(TrainOptions(resume=folder, device=options.device)))
        say(f"go on with all trials by\n  {again}")


def _kept(options: TrainOptions, begun: RunOptions) -> TrainOptions:
    """The options with what the trials began with, where this session asks for nothing else."""
    kept = {name: getattr(begun, name) for name in KEPT if getattr(options, name) is None}
    directory = options.data_dir or (Path(begun.data_dir) if begun.data_dir else None)
    return replace(options, data_dir=directory, **kept)


def _begin(options: TrainOptions, source: str) -> tuple[Path, Trials]:
    """A new folder, made once everything is known to be trainable."""
    if (options.trials or 0) > MOST:
        raise RunError(f"`--trials` is {options.trials:,}, expected at most {MOST:,}")
    of_each = replace(options, seed=None, trials=None, run_dir=None, force=False, device="auto")
    settings = replace(new_settings(options, source), command=command("train", *spelled(of_each)))
    seeds = range(settings.seed, settings.seed + (options.trials or 0))
    if seeds.stop > 2**63:
        raise RunError(f"{options.trials} seeds from {settings.seed} on go beyond 2^63 - 1")
    named = options.run_dir
    if named is not None:
        _refuse_taken(named, options.force)
    spec = load_spec(source, options.set, allow_outside=options.allow_outside)
    plan = compile_spec(spec)
    directory = Path(settings.data_dir) if settings.data_dir else None
    dataset = read_data(plan, directory, options.download)
    Trainer(plan, dataset, settings.seed, torch.device("cpu"), settings.precision)  # raises what each trial would
    trials = Trials(tuple(seeds), settings, options.force, options.log)
    folder = named or new_folder(Path("runs"), settings.name)
    path = _spec_of(folder, trials)
    try:
        files.make_folder(folder)
        with locked(folder):  # which marks the folder as begun
            files.refuse_link(path.parent)
            files.make_folder(path.parent)
            files.write(path, spec_text(self_contained(spec, settings.data_dir)))
            files.write(folder / TRIALS, options_text(trials))
    except OSError as error:
        raise RunError(f"cannot write the folder of trials {folder}: {error.strerror or error}") from error
    return folder, trials


def _refuse_taken(folder: Path, force: bool) -> None:
    """New trials are begun where there are none, nor a run, nor other files unless told."""
    if is_trials(folder) or is_run(folder):
        raise RunError(f"{folder} is not empty; go on with `{command('train', '--resume', folder)}`, or name another")
    if not force:
        refuse_foreign(folder, (LOCK, SPECS), may_force=True)


def _begun(options: TrainOptions, folder: Path) -> tuple[Path, Trials]:
    try:
        trials = read_trials(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{folder} holds no trials: it has no {TRIALS}; `--resume` takes no `--trials`") from error
    if options.set or options.trials or options.seed is not None or options.run_dir:
        raise RunError(
            "trials keep their spec, number, seeds and directory; "
            "`--resume` takes no `--set`, `--trials`, `--seed` or `--run-dir`"
        )
    check_precision("trials", trials.options, options.precision)
    return folder, trials


def _one_after_another(options: TrainOptions, folder: Path, trials: Trials) -> Ended:
    failed: tuple[int, ...] = ()
    for place, seed in enumerate(trials.seeds):
        say(f"trial {place + 1} of {len(trials.seeds)}, seed {seed}")
        try:
            code = train_trial(_trial(options, folder, trials, seed))
        except RunError as error:
            failed = (*failed, seed)
            say(f"error: seed {seed}: {error}")
            continue
        if code:
            return Ended(failed, code)
    return Ended(failed)


def _side_by_side(options: TrainOptions, folder: Path, trials: Trials) -> Ended:
    """A process for each trial, as many at once as there are devices; what each prints goes to `seed-N.log`.

    A signal to this process is passed on to them, once, so that they save; they stand in sessions of their own, so
    that Ctrl-C does not reach them twice.
    """
    free, waiting = options.device.split(","), list(trials.seeds)
    running: dict[int, tuple[subprocess.Popen[bytes], str]] = {}
    codes: dict[int, int] = {}
    told = False
    with stop_signals() as stopped:
        try:
            while running or (waiting and not stopped):
                while free and waiting and not stopped:
                    seed, device = waiting.pop(0), free.pop(0)
                    trial = _trial(replace(options, device=device), folder, trials, seed)
                    running[seed] = _start(["train", *spelled(trial)], trial_log(folder, seed)), device
                    say(f"seed {seed} on {device}; see {trial_log(folder, seed)}")
                time.sleep(POLL_SECONDS)
                if stopped and not told:
                    told = True
                    _signal([process for process, _ in running.values()], stopped[0])
                for seed, (process, device) in list(running.items()):
                    if process.poll() is not None:
                        del running[seed]
                        free.append(device)
                        codes[seed] = process.returncode
                        _report(folder, seed, codes[seed])
        finally:
            _signal([process for process, _ in running.values()], signal.SIGTERM)
            for process, _ in running.values():
                process.wait()
    failed = tuple(seed for seed in trials.seeds if codes.get(seed))
    return Ended(failed, 128 + stopped[0] if stopped and (waiting or failed) else 0)


def _start(words: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    try:
        with files.opened(log, os.O_WRONLY | os.O_APPEND) as file:
            return subprocess.Popen(
                [sys.executable, "-m", "ammgraph", *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise RunError(f"cannot write {log}: {error.strerror or error}") from error


def _signal(processes: Sequence["subprocess.Popen[bytes]"], number: int) -> None:
    for process in processes:
        process.send_signal(number)


def _report(folder: Path, seed: int, code: int) -> None:
    if not code:
        say(f"seed {seed} has come to its end")
        return
    log = trial_log(folder, seed)
    if code in [shown for number in STOPPING for shown in (-number, 128 + number)]:
        say(f"seed {seed} was stopped; see {log}")
        return
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    say(f"seed {seed} ended with exit code {code}; see {log}" + (f"\n  {said[-1].strip()}" if said else ""))


def _trial(options: TrainOptions, folder: Path, trials: Trials, seed: int) -> TrainOptions:
    """What one trial is asked for: a new run, or the one that stands there."""
    run = trial_folder(folder, seed)
    if run.is_symlink():
        raise RunError(f"{run} is a link, and nothing is written through links: remove it")
    one = replace(
        options, spec=None, resume=None, set=(), allow_outside=False, trials=None, seed=None, run_dir=None, force=False
    )
    if (run / OPTIONS).exists():
        return replace(one, resume=run)
    device = "" if options.device == "auto" else f" --device {options.device}"
    known_as = f"{trials.options.command} --seed {seed}{device}"
    spec = str(_spec_of(folder, trials))
    begins = replace(one, log=one.log or trials.log, force=trials.force)
    return replace(begins, spec=spec, run_dir=run, seed=seed, known_as=known_as)


def _spec_of(folder: Path, trials: Trials) -> Path:
    """The spec under its own name, which its runs take over."""
    return folder / SPECS / f"{trials.options.name}.json"
