"""A run directory: what was asked for, and what came of it.

    spec.json         the resolved spec: after `extends` and `--set`
    plan.txt          the plan as text
    run.json          seed, precision, data folder, the command
    environment.json  versions, device, threads
    metrics.jsonl     one line a record
    checkpoints/      the newest states
"""

import contextlib
import fcntl
import json
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ammgraph import __version__
from ammgraph.diagnostics import RunError


@dataclass(frozen=True)
class RunOptions:
    """What a run was started with, beside its spec."""

    name: str
    seed: int
    precision: str
    data_dir: str | None
    command: str


def new_folder(parent: Path, name: str) -> Path:
    """`parent/name-N` with the first free number N."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"


def create(folder: Path, options: RunOptions, written: dict[str, Any], plan: str, device: torch.device) -> None:
    """Begin a run directory.

    Raises:
        RunError: the folder holds a run already, or cannot be written.
    """
    if (folder / "spec.json").exists():
        raise RunError(f"{folder} holds a run already; go on with `ammgraph train --resume {folder}`, or name another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spec.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
        (folder / "plan.txt").write_text(plan, encoding="utf-8")
        (folder / "run.json").write_text(json.dumps(asdict(options), indent=1) + "\n", encoding="utf-8")
        (folder / "environment.json").write_text(json.dumps(environment(device), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write the run directory {folder}: {error.strerror}") from error


def read_options(folder: Path) -> RunOptions:
    """What a run was started with.

    Raises:
        RunError: the folder is no run directory.
    """
    try:
        return RunOptions(**json.loads((folder / "run.json").read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise RunError(f"{folder} is no run directory: it has no {Path(error.filename).name}") from error
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{folder / 'run.json'} cannot be read: {error}") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run directory against a second process.

    Raises:
        RunError: another process trains there.
    """
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(f"another process is training in {folder}") from error
        yield


def choose_device(name: str) -> torch.device:
    """`auto` is the first CUDA device where there is one, else the CPU.

    Raises:
        RunError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RunError(f"`{name}` is no device; expected `auto`, `cpu`, `cuda` or `cuda:N`") from error
    if device.type not in ("cpu", "cuda"):
        raise RunError(f"device `{name}` is not supported; expected `auto`, `cpu`, `cuda` or `cuda:N`")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise RunError(f"there is no device `{name}`: {torch.cuda.device_count()} CUDA devices are visible")
    return device


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and hardware, for the record."""
    return {
        "ammgraph": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "executable": sys.executable,
    }
