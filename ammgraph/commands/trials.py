"""Several seeds of one spec: run after run, or side by side on several devices, and at the end mean and spread.

spec/NAME.json  the resolved spec
trials.json     the seeds, and what all trials are trained with
seed-N/         a run directory for each
seed-N.log      what a trial has to say that is trained beside others
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from ammgraph.api import STOPPING, self_contained, stop_signals
from ammgraph.commands.session import new_settings, say, train_run
from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import load_data
from ammgraph.diagnostics import RunError
from ammgraph.evaluation import compare
from ammgraph.runs import files
from ammgraph.runs.run import (
    TRIALS,
    RunOptions,
    choose_device,
    is_run,
    locked,
    new_folder,
    options_text,
    refuse_foreign,
    spec_text,
)
from ammgraph.spec.load import load_spec
from ammgraph.terminal import print_lines
from ammgraph.train.ranks import refuse_several
from ammgraph.train.trainer import Trainer

MOST = 10_000
# What stands in `trials.json`, so that a trial that begins after `--resume` is trained as those before it.
KEPT = ("precision", "data_dir", "log_every", "checkpoint_seconds")
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Trials:
    """The content of `trials.json`."""

    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...]
    options: RunOptions
    force: bool = False  # the folders of trials may hold other files


def is_trials(folder: Path) -> bool:
    """Whether the folder holds trials, not a single run."""
    return (folder / TRIALS).is_file()


def train_trials(options: argparse.Namespace) -> int:
    """Train every seed, going on where each one stands, then print mean and standard deviation over them.

    A trial that fails is reported and does not keep the others from being trained.

    Returns:
        0 when all have come to their end; 1 where one has failed; 129, 130 or 143 where they were stopped.

    Raises:
        RunError: nothing was trained, for the reason told.
        SpecError: the spec is wrong.
    """
    refuse_several("trials are trained by one process each, side by side with `--device cuda:0,cuda:1`")
    devices = options.device.split(",")
    chosen = [choose_device(name) for name in devices]
    folder, trials = (_begun if options.resume else _begin)(options)
    kept = {name: getattr(trials.options, name) for name in KEPT if getattr(options, name) is None}
    options = argparse.Namespace(**{**vars(options), **kept})
    train = _one_after_another if len(devices) == 1 else _side_by_side
    with locked(folder):
        try:
            code = train(options, folder, trials)
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        if code:
            again = ["ammgraph", "train", "--resume", str(folder)]
            again += ["--device", options.device] if options.device != "auto" else []
            say(f"go on with all trials by\n  {shlex.join(again)}")
            return code
        folders = [_folder_of(folder, seed) for seed in trials.seeds]
        download = not options.no_download
        groups = compare.compare_runs(folders, chosen[0], data_dir=options.data_dir, download=download)
    print_lines(compare.lines(groups))
    return 0


def _begin(options: argparse.Namespace) -> tuple[Path, Trials]:
    """A new folder, made once everything is known to be trainable."""
    settings = new_settings(options)
    if options.trials > MOST:
        raise RunError(f"`--trials` is {options.trials:,}, expected at most {MOST:,}")
    if settings.seed + options.trials > 2**63:
        raise RunError(f"{options.trials} seeds from {settings.seed} on go beyond 2^63 - 1")
    named = Path(options.run_dir) if options.run_dir else None
    if named is not None:
        _refuse_taken(named, options.force)
    spec = load_spec(Path(options.spec), options.set, allow_outside=options.allow_outside)
    plan = compile_spec(spec)
    directory = Path(settings.data_dir) if settings.data_dir else None
    dataset = load_data(plan.data, directory, download=not options.no_download)
    Trainer(plan, dataset, settings.seed, torch.device("cpu"), settings.precision)  # raises what each trial would
    trials = Trials(tuple(range(settings.seed, settings.seed + options.trials)), settings, options.force)
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
        raise RunError(
            f"{folder} is not empty; go on with `ammgraph train --resume {shlex.quote(str(folder))}`, or name another"
        )
    if not force:
        refuse_foreign(folder, ("lock", "spec"))


def _begun(options: argparse.Namespace) -> tuple[Path, Trials]:
    folder = Path(options.resume)
    try:
        trials = files.read_as(Trials, folder / TRIALS)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{folder} holds no trials: it has no {TRIALS}; `--resume` takes no `--trials`") from error
    if not trials.seeds:
        raise RunError(f"{folder / TRIALS} is damaged: it names no seed")
    if options.set or options.trials or options.seed is not None or options.run_dir:
        raise RunError(
            "trials keep their spec, number, seeds and directory; "
            "`--resume` takes no `--set`, `--trials`, `--seed` or `--run-dir`"
        )
    if options.precision not in (None, trials.options.precision):
        began = trials.options.precision
        raise RunError(f"the trials began in {began}; `--resume` cannot change it to {options.precision}")
    return folder, trials


def _one_after_another(options: argparse.Namespace, folder: Path, trials: Trials) -> int:
    failed = 0
    for place, seed in enumerate(trials.seeds):
        say(f"trial {place + 1} of {len(trials.seeds)}, seed {seed}")
        try:
            code = train_run(argparse.Namespace(**{**vars(options), **_trial(folder, trials, seed)}))
        except RunError as error:
            failed = 1
            say(f"error: seed {seed}: {error}")
            continue
        if code:
            return code
    return failed


def _side_by_side(options: argparse.Namespace, folder: Path, trials: Trials) -> int:
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
                    running[seed] = _start(_words(options, folder, trials, seed, device), _log_of(folder, seed)), device
                    say(f"seed {seed} on {device}; see {_log_of(folder, seed)}")
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
    if stopped and (waiting or any(codes.values())):
        return 128 + stopped[0]
    return 1 if any(codes.values()) else 0


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
    log = _log_of(folder, seed)
    if code in [shown for number in STOPPING for shown in (-number, 128 + number)]:
        say(f"seed {seed} was stopped; see {log}")
        return
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    say(f"seed {seed} ended with exit code {code}; see {log}" + (f"\n  {said[-1].strip()}" if said else ""))


def _trial(folder: Path, trials: Trials, seed: int) -> dict[str, object]:
    """The options that differ from trial to trial: a new run, or the one that stands there."""
    run = _folder_of(folder, seed)
    if run.is_symlink():
        raise RunError(f"{run} is a link, and nothing is written through links: remove it")
    if (run / "run.json").exists():
        return {"resume": str(run), "spec": None, "run_dir": None, "seed": None, "set": [], "force": False}
    path = str(_spec_of(folder, trials))
    return {"resume": None, "spec": path, "run_dir": str(run), "seed": seed, "set": [], "force": trials.force}


def _words(options: argparse.Namespace, folder: Path, trials: Trials, seed: int, device: str) -> list[str]:
    """The command line of one trial."""
    trial = _trial(folder, trials, seed)
    words = ["train", *(["--resume", str(trial["resume"])] if trial["resume"] else [str(trial["spec"])])]
    words += ["--run-dir", str(trial["run_dir"]), "--seed", str(seed)] if trial["run_dir"] else []
    words += ["--device", device]
    for name in KEPT:
        if getattr(options, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    return words + (["--no-download"] if options.no_download else [])


def _spec_of(folder: Path, trials: Trials) -> Path:
    """The spec under its own name, which its runs take over."""
    return folder / "spec" / f"{trials.options.name}.json"


def _folder_of(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed}"


def _log_of(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed}.log"
