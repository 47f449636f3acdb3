"""A folder of a sweep: what is varied and measured, and what was tried. Optuna is in `study`, and nowhere else."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from ammgraph.diagnostics import RunError, counted
from ammgraph.folders import EVALUATION, SWEEP, TRIED, tried_folder
from ammgraph.runs import files
from ammgraph.runs.run import RunOptions, options_text
from ammgraph.runs.trials import has_results
from ammgraph.spec.vary import Axis, combinations, parse_axis
from ammgraph.terminal import command

State: TypeAlias = Literal["finished", "pruned", "failed", "begun"]


@dataclass(frozen=True)
class Sweep:
    """The content of `sweep.json`."""

    vary: Annotated[tuple[str, ...], Field(min_length=1)]
    metric: str  # of the looks at validation examples, as `y/one_to_one_error`
    better: Literal["lower", "higher"]
    trials: Annotated[int, Field(ge=1, le=10_000)]
    prune: bool
    study: str  # its name in Optuna's storage
    storage: str | None  # a database's address without its password; None: a file of the folder
    log: str | None
    options: RunOptions

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What is varied."""
        return tuple(map(parse_axis, self.vary))

    @property
    def most(self) -> int:
        """How many trials there can be, which what is varied may make fewer than were asked for."""
        points = combinations(self.axes)
        return self.trials if points is None else min(self.trials, points)


@dataclass(frozen=True)
class Tried:
    """A trial: what it was trained with, and what came of it.

    Args:
        number: from 0, as in the name of its folder.
        values: of each axis.
        state: `begun` is one that is being trained, or was stopped.
        value: of the measure, at the end or, where it was pruned, at the last look.
        looks: the measure at each look at the validation examples, which are counted from 1.
        reason: why it failed.
    """

    number: int
    values: tuple[str | float, ...]
    state: State
    value: float | None
    looks: tuple[tuple[int, float], ...] = ()
    reason: str = ""


def is_sweep(folder: Path) -> bool:
    """Whether the folder holds a sweep."""
    return (folder / SWEEP).is_file()


def read_sweep(folder: Path) -> Sweep:
    """The content of the folder's `sweep.json`.

    Raises:
        RunError: there is none, or it is damaged.
    """
    try:
        sweep = files.read_as(Sweep, folder / SWEEP)
        assert sweep.axes
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{folder} holds no sweep: it has no {SWEEP}") from error
    except ValueError as error:
        raise RunError(f"{folder / SWEEP} is damaged: {error}") from error
    return sweep


@dataclass(frozen=True)
class _AllTried:
    """The content of `tried.json`."""

    trials: tuple[Tried, ...]


def write_tried(folder: Path, tried: tuple[Tried, ...]) -> None:
    """Write down what was tried, for whoever reads it without Optuna.

    Raises:
        RunError: the disk refuses.
    """
    try:
        files.write(folder / TRIED, options_text(_AllTried(tried)))
    except OSError as error:
        raise RunError(f"cannot write {folder / TRIED}: {error.strerror or error}") from error


def read_tried(folder: Path) -> tuple[Tried, ...]:
    """What was tried when the last trial had ended; nothing before the first one has.

    Raises:
        RunError: what is written there is damaged.
    """
    try:
        return files.read_as(_AllTried, folder / TRIED).trials
    except FileNotFoundError:
        return ()


def best_run(folder: Path) -> Path:
    """The run directory of the best trial.

    Raises:
        RunError: none has come to its end yet, or the folder holds no sweep.
    """
    best = best_of(read_sweep(folder), read_tried(folder))
    if best is None:
        raise RunError(_none_yet(folder))
    return tried_folder(folder, best.number)


def ranked(sweep: Sweep, tried: tuple[Tried, ...]) -> tuple[Tried, ...]:
    """The trials from the best on; those that were pruned after those that have come to their end, then the others."""
    sign = -1 if sweep.better == "higher" else 1
    place = {"finished": 0, "pruned": 1, "begun": 2, "failed": 3}

    def key(one: Tried) -> tuple[int, float, int]:
        return place[one.state], 0.0 if one.value is None else sign * one.value, one.number

    return tuple(sorted(tried, key=key))


def best_of(sweep: Sweep, tried: tuple[Tried, ...]) -> Tried | None:
    """The trial with the best value of those that have come to their end."""
    first = next(iter(ranked(sweep, tried)), None)
    return first if first is not None and first.state == "finished" else None


def tried_runs(folder: Path) -> tuple[Path, ...]:
    """The run directories of a sweep's trials that have come to their end, in the order in which they were begun.

    Raises:
        RunError: there is none yet.
    """
    numbers = [path.name.partition("-")[2] for path in folder.glob(tried_folder(Path(), 0).name[:-1] + "*")]
    runs = [tried_folder(folder, number) for number in sorted(int(text) for text in numbers if text.isdecimal())]
    found = tuple(run for run in runs if has_results(run) and (run / EVALUATION).is_file())
    if not found:
        raise RunError(_none_yet(folder))
    return found


def all_failed(folder: Path, sweep: Sweep, tried: tuple[Tried, ...]) -> str:
    """That every trial has failed, why, and what to do; empty where it is not so, or trials are left to try."""
    if len(tried) < sweep.most or any(one.state != "failed" for one in tried):
        return ""
    ((reason, count),) = Counter(one.reason for one in tried).most_common(1)
    often = "" if count == len(tried) else f", most often ({count} of {len(tried)})"
    return (
        f"{folder} holds a sweep of which every trial has failed ({counted(len(tried), 'trial')}){often}: {reason}; "
        f"vary other values in a new sweep; `{command('report', folder)}` shows why each failed"
    )


def refuse_change(folder: Path, overrides: Sequence[str]) -> None:
    """A trial of a sweep goes on as the sweep began it, or the sweep's table would not be true of it.

    Raises:
        RunError: it is to be trained with other values.
    """
    sweep = folder.resolve().parent
    if not overrides or not is_sweep(sweep):
        return
    copy = f"{folder.resolve().name}-longer"
    raise RunError(
        f"{folder} is a trial of the sweep {sweep.name}, whose table says what it was trained with, and stays as it "
        f"is; copy the folder, and go on with the copy: `{shlex.join(('cp', '-r', str(folder), copy))}`, then "
        f"`{command('train', '--resume', copy)}` with the same `--set`"
    )


def _none_yet(folder: Path) -> str:
    if failed := all_failed(folder, read_sweep(folder), read_tried(folder)):
        return failed
    again = command("sweep", "--resume", folder)
    return f"{folder} holds a sweep, of which no trial has come to its end yet; `{again}` trains them"
