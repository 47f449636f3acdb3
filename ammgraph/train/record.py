"""The metrics of a run: values collected on the device, written to `metrics.jsonl`, one synchronisation an interval.

Every line is a JSON object with `step` and `epoch`; vectors are lists. Lines of training hold means over the steps
since the line before; a line with the key `evaluation` holds what an evaluation found.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError
from ammgraph.train import files


class Recorder:
    """Collects each step's values without leaving the device, and averages them on request."""

    def __init__(self) -> None:
        self._names: list[tuple[str, int]] = []
        self._rows: list[Tensor] = []
        self._first_step = 0

    def add(self, step: int, values: Mapping[str, Tensor]) -> None:
        """Keep one step's values: a scalar or a vector for each name, the same names every step."""
        if not self._rows:
            self._first_step = step
            self._names = [(name, value.numel()) for name, value in values.items()]
        self._rows.append(torch.cat([value.reshape(-1).float() for value in values.values()]))

    def check(self) -> None:
        """Raise where a value is not finite.

        Raises:
            RunError: naming the first step and the first value that is not finite.
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
                raise RunError(f"{_sentence(name)} is {value} at step {self._first_step + row}")
            column -= size

    def flush(self) -> dict[str, Any]:
        """The means since the last flush, by name; waits for the device."""
        self.check()
        means = torch.stack(self._rows).double().mean(0).tolist()
        record, place = {}, 0
        for name, size in self._names:
            part = [float(f"{value:.6g}") for value in means[place : place + size]]
            record[name] = part[0] if size == 1 else part
            place += size
        self._rows = []
        return record

    def state_dict(self) -> dict[str, Any]:
        """The steps that are not yet written."""
        rows = torch.stack(self._rows).cpu() if self._rows else torch.zeros(0)
        return {"names": [[name, size] for name, size in self._names], "rows": rows, "first_step": self._first_step}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on where the recorder that gave `state` stood."""
        self._names = [(name, size) for name, size in state["names"]]
        self._rows = list(state["rows"].to(device)) if len(state["rows"]) else []
        self._first_step = state["first_step"]


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
    """All lines of a metrics file; lines that are damaged, or were cut off, are left out."""
    return [record for record in _lines(path) if record is not None]


def cut(path: Path, step: int) -> int:
    """Forget the lines after `step`: a run that resumes there writes them again.

    Returns:
        How many lines before the last were damaged, and are forgotten too. A last line may have been cut off.

    Raises:
        RunError: the disk refuses; the lines are untouched.
    """
    lines = _lines(path)
    kept = [record for record in lines if record is not None and record["step"] <= step]
    try:
        files.write(path, "".join(as_json(record) + "\n" for record in kept).encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    return lines[:-1].count(None)


def _lines(path: Path) -> list[dict[str, Any] | None]:
    """Every line, None where it is no record; JSON as it is written here is ASCII."""
    found: list[dict[str, Any] | None] = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:  # no JSON, or no UTF-8
            record = None
        found.append(record if isinstance(record, dict) and isinstance(record.get("step"), int) else None)
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sentence(name: str) -> str:
    owner, _, what = name.rpartition("/")
    if what == "gradient_norm":
        return f"the gradient of network `{owner}`"
    if what in ("discriminator", "generator"):
        return f"the {what}'s loss of game `{owner}`"
    return f"`{what}` of `{owner}`"
