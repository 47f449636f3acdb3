"""A sweep's trials in Optuna's storage: which one is next, what each look at the validation examples has found.

Any number of processes may share one. A trial is written into the storage with all its values at once, and taken by a
lock that ends with the process: a trial that has no end and whose lock is free was stopped or killed, and is taken by
the next process that comes. No values are tried twice.
"""

import fcntl
import itertools
import os
import random
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ammgraph.diagnostics import RunError
from ammgraph.folders import DATABASE, LOCK, tried_claim
from ammgraph.runs import files
from ammgraph.runs.sweeps import State, Sweep, Tried, read_sweep
from ammgraph.spec.vary import Axis, combinations
from ammgraph.terminal import command

INSTALL = "pip install 'ammgraph[sweep]'"
POSTGRESQL = "`pip install 'ammgraph[postgresql]'` brings that of `postgresql+psycopg://`"
PATIENCE = 60  # seconds that a process waits for another one's writing
ATTEMPTS = 50  # draws until a point of a finite space is looked for in order
FIRST_PRUNED, FIRST_LOOK = 5, 2  # after so many trials that have come to their end, at such a look or later
Values: TypeAlias = tuple[str | float, ...]


@dataclass(frozen=True)
class Claimed:
    """A trial that this process trains."""

    number: int
    values: Values


class Study:
    """The trials of one sweep."""

    def __init__(self, folder: Path, sweep: Sweep, storage: str | None = None) -> None:
        self.folder, self.axes = folder, sweep.axes
        self._optuna = _imported()
        with _told():
            self._storage = _storage(self._optuna, folder, sweep, storage)
            self._study = self._optuna.create_study(
                storage=self._storage,
                study_name=sweep.study,
                load_if_exists=True,
                direction="minimize" if sweep.better == "lower" else "maximize",
                pruner=self._pruner(sweep),
            )

    def tried(self) -> tuple[Tried, ...]:
        """Every trial, in the order in which they were begun."""
        with _told():
            return tuple(map(self._tried, self._study.get_trials(deepcopy=False)))

    @contextmanager
    def claimed(self) -> Iterator[Claimed | None]:
        """One that nobody trains and that has no end, else a new one; None where none is left to take.

        No other process is given it before the body ends.
        """
        with alone_in(self.folder):
            sweep, tried = read_sweep(self.folder), self.tried()
            claim = next(filter(None, map(self._taken, tried)), None)
            if claim is None and len(tried) < sweep.trials:
                values = self._untried(tried, sweep.options.seed)
                claim = None if values is None else self._taken(self._begun(values))
        if claim is None:
            yield None
            return
        one, lock = claim
        try:
            yield Claimed(one.number, one.values)
        finally:
            os.close(lock)

    def report(self, number: int, look: int, value: float) -> bool:
        """Write what a look has found, unless it was written before; whether the trial is to be pruned there."""
        with _told():
            one = self._of(number)
            if look not in one.intermediate_values:
                self._storage.set_trial_intermediate_value(one._trial_id, look, value)
                one = self._of(number)
            return bool(self._study.pruner.prune(self._study, one))

    def end(self, number: int, state: State, value: float | None = None, reason: str = "") -> None:
        """Say what has come of a trial."""
        states = self._optuna.trial.TrialState
        told = {"finished": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[state]
        with _told():
            if reason:
                self._storage.set_trial_user_attr(self._of(number)._trial_id, "reason", reason[:1000])
            self._study.tell(number, value if state == "finished" else None, state=told)

    # ------------------------------------------------------------------------------------------------ within

    def _of(self, number: int) -> Any:
        return self._storage.get_trial(self._storage.get_trial_id_from_study_id_trial_number(self._id, number))

    @property
    def _id(self) -> int:
        return int(self._storage.get_study_id_from_name(self._study.study_name))

    def _pruner(self, sweep: Sweep) -> Any:
        pruners = self._optuna.pruners
        return pruners.MedianPruner(FIRST_PRUNED, FIRST_LOOK) if sweep.prune else pruners.NopPruner()

    def _tried(self, one: Any) -> Tried:
        states = self._optuna.trial.TrialState
        names: dict[Any, State] = {states.COMPLETE: "finished", states.PRUNED: "pruned", states.FAIL: "failed"}
        looks = tuple(sorted(one.intermediate_values.items()))
        value = one.value if one.value is not None else (looks[-1][1] if looks else None)
        values = tuple(one.params[axis.key] for axis in self.axes)
        return Tried(
            one.number, values, names.get(one.state, "begun"), value, looks, str(one.user_attrs.get("reason", ""))
        )

    def _taken(self, one: Tried) -> tuple[Tried, int] | None:
        """The trial with its lock, where it has no end and nobody holds it."""
        if one.state != "begun":
            return None
        lock = _lock(tried_claim(self.folder, one.number), wait=False)
        return None if lock is None else (one, lock)

    def _begun(self, values: Values) -> Tried:
        """A new trial, in the storage with all its values or not at all."""
        created = self._optuna.trial.create_trial(
            params=dict(zip((axis.key for axis in self.axes), values, strict=True)),
            distributions=self._distributions(),
            state=self._optuna.trial.TrialState.RUNNING,
        )
        with _told():
            self._study.add_trial(created)
        return next(one for one in reversed(self.tried()) if one.values == values)

    def _distributions(self) -> dict[str, Any]:
        kinds = self._optuna.distributions

        def of(axis: Axis) -> Any:
            if axis.choices:
                return kinds.CategoricalDistribution(axis.choices)
            if axis.whole:
                return kinds.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
            return kinds.FloatDistribution(axis.low, axis.high, log=axis.log)

        return {axis.key: of(axis) for axis in self.axes}

    def _untried(self, tried: Sequence[Tried], seed: int) -> Values | None:
        """Values that no trial has, as Optuna's sampler proposes them from all that is known; None where none is left.

        The sampler works on a copy of the trials, so that what it proposes twice is in no storage.
        """
        seed = zlib.crc32(f"{seed} {len(tried)}".encode())
        sampler = self._optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        with _told():
            copy = self._optuna.create_study(direction=self._study.direction, sampler=sampler)
            copy.add_trials(self._study.get_trials(deepcopy=False))
        known = {one.values for one in tried}
        for _ in range(ATTEMPTS):
            proposed = copy.ask(self._distributions())
            values = tuple(axis.rounded(proposed.params[axis.key]) for axis in self.axes)
            if values not in known:
                return values
            copy.tell(proposed, state=self._optuna.trial.TrialState.FAIL)
        return self._left(known, seed)

    def _left(self, known: set[Values], seed: int) -> Values | None:
        """Any point of a finite space that is not known."""
        points = combinations(self.axes)
        if points is None or points <= len(known):
            return None
        orders = [random.Random(seed).sample(axis.values, axis.size or 0) for axis in self.axes]
        return next((values for values in itertools.product(*orders) if values not in known), None)


def _imported() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise RunError(f"a sweep needs Optuna, which is not installed: {INSTALL}") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def without_password(address: str) -> str:
    """A database's address as it may be written down; `***` stands for a password.

    Raises:
        RunError: it is none.
    """
    _imported()
    from sqlalchemy.engine import make_url

    with _told():
        return str(make_url(address).render_as_string(hide_password=True))


def _storage(optuna: Any, folder: Path, sweep: Sweep, given: str | None) -> Any:
    address = given or sweep.storage
    if address is not None and "***" in address:
        again = command("sweep", "--resume", folder, "--storage", sweep.storage)
        raise RunError(f"the sweep's database has a password, which is not kept; say it again, as by `{again}`")
    if address is not None and sweep.storage is not None and without_password(address) != sweep.storage:
        raise RunError(f"the sweep's trials are in {sweep.storage}, not in {without_password(address)}")
    if address is not None and sweep.storage is None:
        raise RunError(f"the sweep's trials are in {folder / DATABASE}; `--storage` is for a new sweep")
    address = address or f"sqlite:///{folder / DATABASE}"
    waiting = {"connect_args": {"timeout": PATIENCE}} if address.startswith("sqlite") else {"pool_pre_ping": True}
    try:
        return optuna.storages.RDBStorage(address, engine_kwargs=waiting)
    except ImportError as error:
        from sqlalchemy.engine import make_url

        driver = make_url(address).get_driver_name()
        theirs = f"; {POSTGRESQL}" if address.startswith("postgresql") else ""
        raise RunError(
            f"`{without_password(address)}` needs the driver `{driver}`, not installed here{theirs}"
        ) from error


@contextmanager
def _told() -> Iterator[None]:
    """What a database refuses, as an error of the run.

    Raises:
        RunError: it did.
    """
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, OptunaError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(f"the sweep's database cannot be used: {reason}") from error


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a sweep's folder for a moment, after other processes that do.

    Raises:
        RunError: it cannot be written, or locked.
    """
    lock = _lock(folder / LOCK, wait=True)
    assert lock is not None
    try:
        yield
    finally:
        os.close(lock)


def _lock(path: Path, wait: bool) -> int | None:
    """The descriptor of a file that is locked until it is closed; None where another process holds it."""
    try:
        with files.opened(path, os.O_RDWR) as opened:
            number = os.dup(opened)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(number)
        return None
    except OSError as error:
        os.close(number)
        raise RunError(f"cannot lock {path}: {error.strerror}; a sweep needs a file system that has locks") from error
    return number
