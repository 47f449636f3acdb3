"""A folder of trials: what all of them are trained with, and which of them have something to show."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ammgraph.diagnostics import RunError
from ammgraph.folders import CHECKPOINTS, OPTIONS, TRIALS, trial_folder
from ammgraph.runs import checkpoint, divergence, files
from ammgraph.runs.run import RunOptions
from ammgraph.terminal import command


@dataclass(frozen=True)
class Trials:
    """The content of `trials.json`."""

    seeds: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...]
    options: RunOptions
    force: bool = False  # the folders of trials may hold other files
    log: str | None = None  # where the metrics of each are written too


@dataclass(frozen=True)
class TrialRuns:
    """The run directories of a folder of trials, by seed."""

    begun: tuple[Path, ...]  # with a checkpoint
    waiting: tuple[Path, ...]  # stopped before their first one, or not begun
    diverged: Mapping[Path, str]  # with a checkpoint or without; where, and what to do


def is_trials(folder: Path) -> bool:
    """Whether the folder holds trials, not a single run."""
    return (folder / TRIALS).is_file()


def read_trials(folder: Path) -> Trials:
    """The content of the folder's `trials.json`.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none.
        RunError: it is damaged.
    """
    trials = files.read_as(Trials, folder / TRIALS)
    if not trials.seeds:
        raise RunError(f"{folder / TRIALS} is damaged: it names no seed")
    return trials


def has_results(folder: Path) -> bool:
    """Whether the folder is a run directory with a checkpoint, which can be scored and shown."""
    return (folder / OPTIONS).is_file() and checkpoint.has_checkpoint(folder / CHECKPOINTS)


def runs_of(folder: Path) -> TrialRuns:
    """The trials of a folder, in the order of their seeds.

    Raises:
        RunError: `trials.json` is damaged, or no trial has anything to show yet.
    """
    runs = [trial_folder(folder, seed) for seed in read_trials(folder).seeds]
    diverged = {run: told for run in runs if (told := divergence.told(run))}
    begun = tuple(run for run in runs if has_results(run))
    waiting = tuple(run for run in runs if run not in begun and run not in diverged)
    if not begun and waiting:
        again = command("train", "--resume", folder)
        raise RunError(f"{folder} holds trials, of which none has anything to show yet; `{again}` trains them")
    if not begun:
        raise RunError(f"{folder} holds trials, of which none has anything to show: {diverged[runs[0]]}")
    return TrialRuns(begun, waiting, diverged)
