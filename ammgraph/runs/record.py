"""The metrics of a run: values collected on the device, written to `metrics.jsonl`, one synchronisation an interval.

Every line is a JSON object with `step`, `epoch` and, where there are several, `phase`; vectors are lists. Lines of
training hold means over the steps since the line before; a line with the key `evaluation` what an evaluation found.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError
from ammgraph.formulas.objectives import Role
from ammgraph.plan.metric import GRADIENT, Metric
from ammgraph.runs import files
from ammgraph.runs.states import NotFinite

logger = logging.getLogger(__name__)

LARGEST = 1e100  # what no run computes is no record of one


class Recorder:
    """Collects each step's values without leaving the device, and averages them on request."""

    def __init__(self) -> None:
        self._names: list[tuple[str, int]] = []
        self._rows: list[Tensor] = []
        self._first_step = 0

    def add(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Keep one step's values: a scalar or a vector for each name, the same names every step until a flush.

        Raises:
            RunError: a checkpoint's rows are of other values.
        """
        found = {name: value.numel() for name, value in values.items()}
        if not self._rows:
            self._first_step, self._names = step, list(found.items())
        elif found != dict(self._names):
            raise RunError("the checkpoint holds other values to record than this run has; they cannot be averaged")
        self._rows.append(torch.cat([values[name].reshape(-1).float() for name, _ in self._names]))

    def check(self) -> None:
        """Raise where a value is not finite.

        Raises:
            NotFinite: naming the first step and the first value that is not finite.
        """
        if not self._rows:
            return
        table = torch.stack(self._rows).cpu()
        bad = (~table.isfinite()).nonzero()
        if not len(bad):
            return
        row, column = (int(index) for index in bad[0])
        for name, size in self._names:
            if column < size:
                value = float(table[row, int(bad[0][1])])
                step = self._first_step + row
                raise NotFinite(f"{_sentence(name)} is {value} at step {step}", at_once=step == 1)
            column -= size

    @property
    def begun(self) -> bool:
        """Whether there are steps that are not yet written."""
        return bool(self._rows)

    def flush(self) -> dict[str, Any]:
        """`means`, which begin anew."""
        self.check()
        record = self.means()
        self.clear()
        return record

    def means(self) -> dict[str, Any]:
        """The means since the last flush, by name; waits for the device."""
        means = torch.stack(self._rows).double().mean(0).tolist()
        record, place = {}, 0
        for name, size in self._names:
            part = [float(f"{value:.6g}") for value in means[place : place + size]]
            record[name] = part[0] if size == 1 else part
            place += size
        return record

    def clear(self) -> None:
        """Forget the steps that are not yet written: those to come may have other values."""
        self._rows = []

    def state_dict(self) -> dict[str, Any]:
        """The steps that are not yet written."""
        rows = torch.stack(self._rows).cpu() if self._rows else torch.zeros(0)
        return {"names": [[name, size] for name, size in self._names], "rows": rows, "first_step": self._first_step}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on where the recorder that gave `state` stood.

        Raises:
            RunError: the state is not one of a recorder.
        """
        names, rows, first_step = (state[name] for name in ("names", "rows", "first_step"))
        known = isinstance(names, list) and all(
            isinstance(entry, list) and [type(part) for part in entry] == [str, int] and entry[1] > 0 for entry in names
        )
        if not known or not isinstance(rows, Tensor) or type(first_step) is not int:
            raise RunError("the checkpoint holds no values to record")
        width = sum(size for _, size in names)
        if rows.dtype != torch.float32 or ((len(rows.shape) != 2 or rows.shape[1] != width) and rows.shape != (0,)):
            raise RunError(
                f"the checkpoint holds values to record of shape {list(rows.shape)}, {rows.dtype}, and names {width}"
            )
        self._names = [(name, size) for name, size in names]
        self._rows = list(rows.to(device))
        self._first_step = first_step


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Write one line; it is on the disk when this returns.

    Raises:
        RunError: the disk refuses.
    """
    try:
        files.append(path, (as_json(record) + "\n").encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def as_json(record: Mapping[str, Any], indent: int | None = None) -> str:
    """A record as JSON, which knows no number that is not finite: `null` stands for it."""
    return json.dumps(_finite(record), indent=indent, allow_nan=False)


def read(path: Path) -> list[dict[str, Any]]:
    """All lines of a metrics file; damaged ones are left out with a warning, a last one that was cut off without.

    Raises:
        RunError: it cannot be read.
    """
    lines = _lines(path)
    if None in lines[:-1]:
        logger.warning(f"{path}: damaged lines are left out: {lines[:-1].count(None)}")
    return [record for record in lines if record is not None]


def training_seconds(records: Sequence[Mapping[str, Any]]) -> float | None:
    """Time of training, as `training_clock` has it at the last step; None where no rate is recorded."""
    found = training_clock(records)
    return found[-1][1] if found else None


def training_clock(records: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, float], ...]:
    """(step, seconds of training until then) at the start and at the end of each phase; straight lines lie between.

    A phase took its steps at the mean rate of the last session that trained it. Empty where no rate is recorded.
    """
    last = {_phase(line): line for line in records if isinstance(line.get("seconds_per_step"), int | float)}
    found = [(0, 0.0)]
    for line in last.values():
        before, seconds = found[-1]
        found.append((line["step"], seconds + line["seconds_per_step"] * (line["step"] - before)))
    return tuple(found) if last else ()


def cut(path: Path, step: int, phase: int = 1) -> int:
    """Forget the lines after `step`, and those of phases after `phase`: a run that resumes there writes them again.

    Returns:
        How many lines before the last were damaged, and are forgotten too. A last line may have been cut off.

    Raises:
        RunError: the disk refuses; the lines are untouched.
    """
    lines = _lines(path)
    kept = [record for record in lines if record is not None and record["step"] <= step and not _phase(record) > phase]
    try:
        files.write(path, "".join(as_json(record) + "\n" for record in kept).encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    return lines[:-1].count(None)


def _phase(record: Mapping[str, Any]) -> float:
    """The phase that a line is of; the first where it does not say."""
    phase = record.get("phase", 1)
    return phase if isinstance(phase, int | float) else 1


def _lines(path: Path) -> list[dict[str, Any] | None]:
    """Every line, None where it is no record; JSON as it is written here is ASCII."""
    try:
        content = files.read(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    return [_record(line) for line in content.splitlines()]


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested beyond all use
        return None
    return found if _is_record(found) else None


def _is_record(found: Any) -> bool:
    """Whether it has a step, and under every name a number, none, or a list of them; under `evaluation` such names."""
    if not isinstance(found, dict):
        return False
    step, epoch, evaluation = found.get("step"), found.get("epoch", 0), found.get("evaluation", {})
    if type(step) is not int or not 0 <= step < 2**63 or not _is_number(epoch) or not isinstance(evaluation, dict):
        return False
    values = [*(value for name, value in found.items() if name != "evaluation"), *evaluation.values()]
    numbers = [entry for value in values for entry in (value if isinstance(value, list) else [value])]
    return all(entry is None or _is_number(entry) for entry in numbers)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= LARGEST


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sentence(name: str) -> str:
    found = Metric.of(name)
    if found.what == GRADIENT:
        return f"the gradient of network `{found.owner}`"
    if found.what in get_args(Role):
        return f"the {found.what}'s loss of game `{found.owner}`"
    if found.what == "value":
        return f"the value of term `{found.owner}`"
    return f"`{found.what}` of `{found.owner}`"
