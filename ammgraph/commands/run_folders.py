"""Folders that are named where runs are asked for: a run directory, a folder of trials, a sweep, or none of these."""

from collections.abc import Sequence
from pathlib import Path

from ammgraph.diagnostics import RunError, SpecError, counted
from ammgraph.evaluation import results
from ammgraph.folders import SPEC
from ammgraph.runs import divergence
from ammgraph.runs.run import read_options
from ammgraph.runs.sweeps import best_run, is_sweep, tried_runs
from ammgraph.runs.trials import has_results, is_trials, runs_of
from ammgraph.spec.load import load_spec
from ammgraph.terminal import command, one_line, say


def one_run(folder: Path) -> Path:
    """The run directory itself; of a sweep the best one, of trials the first one that has begun, which is told.

    So is that it has diverged, and is taken at its last good checkpoint.

    Raises:
        RunError: none of the trials has anything to show yet.
    """
    if is_sweep(folder):
        best = best_run(folder)
        say(one_line(f"{folder} holds a sweep: this is of {best}, its best trial; name another for its own"))
        return best
    if not is_trials(folder):
        _tell_diverged(folder)
        return folder
    found = runs_of(folder)
    count = len({*found.begun, *found.waiting, *found.diverged})
    say(one_line(f"{folder} holds {counted(count, 'trial')}: this is of {found.begun[0]}; name another for its own"))
    _tell_diverged(found.begun[0])
    return found.begun[0]


def _tell_diverged(run: Path) -> None:
    """Where a run that is shown has diverged after a checkpoint; without one it is refused, for that reason."""
    if has_results(run) and (told := divergence.told(run)):
        say(one_line(f"shown at its last good checkpoint, {run}: {told}"))


def all_trials(folder: Path) -> tuple[Path, ...]:
    """The trials of a folder of trials that have something to show; which have not, or have diverged, is told.

    Raises:
        RunError: none has.
    """
    begun = _begun(folder)
    for run in begun:
        _tell_diverged(run)
    return begun


def _begun(folder: Path) -> tuple[Path, ...]:
    """The same, and of those that have diverged the ones that have nothing to show are told alone."""
    found = runs_of(folder)
    if found.waiting:
        names = ", ".join(run.name for run in found.waiting)
        were = "it was" if len(found.waiting) == 1 else "they were"
        again = command("train", "--resume", folder)
        stopped = f"{were} stopped before the first checkpoint; go on with `{again}`"
        say(one_line(f"passed over {names} of {folder}: {stopped}"))
    for run, told in found.diverged.items():
        if run not in found.begun:
            say(one_line(f"passed over {run.name} of {folder}: {told}"))
    return found.begun


def all_runs(folders: Sequence[Path]) -> list[Path]:
    """The run directories that are named, or in folders of trials and sweeps.

    What is no run, or damaged, is told and passed over where another one is not. Which have diverged says the
    comparison.

    Raises:
        RunError: there is no run among them.
    """
    runs: list[Path] = []
    refused: list[str] = []
    for folder in folders:
        if is_trials(folder):
            runs += _begun(folder)
        elif is_sweep(folder):
            runs += tried_runs(folder)
        elif has_results(folder) or len(folders) == 1:
            runs.append(folder)
        else:
            refused.append(_why_not(folder))
    if not runs and refused:
        raise RunError(refused[0])
    damaged = {run: reason for run in runs if (reason := _damage(run))}
    if len(damaged) < len(runs):
        runs, refused = [run for run in runs if run not in damaged], [*refused, *damaged.values()]
    for reason in refused:
        say(one_line(f"passed over: {reason}"))
    return runs


def _damage(folder: Path) -> str:
    """What is wrong with the files of a run that are read before anything is asked of its model."""
    try:
        read_options(folder)
        load_spec(folder / SPEC)
        results.read(folder)
    except RunError as error:
        return str(error)
    except SpecError as error:
        return f"{folder / SPEC} is damaged: {error.diagnostics[0].message}"
    return ""


def _why_not(folder: Path) -> str:
    try:
        read_options(folder)
    except RunError as error:
        return str(error)
    return f"{folder} has no checkpoint yet: {divergence.told(folder) or 'it was stopped before the first one'}"
