"""Checkpoints: written aside, flushed, renamed, with a checksum; the newest valid one is found by itself.

A checkpoint is `step-N.pt` with `step-N.sha256` beside it, which is written last: without it the file does not count.
Only tensors and plain data are in it, and nothing else is ever loaded from it.
"""

import contextlib
import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any

import torch

from ammgraph.diagnostics import RunError

KEPT = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write a checkpoint, then remove all but the newest ones, and later ones: they were passed over.

    Raises:
        RunError: the disk refuses; what was there before is untouched.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = folder / f"step-{step:09d}.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, content)
        _write(path.with_suffix(".sha256"), hashlib.sha256(content).hexdigest().encode())
    except OSError as error:
        raise RunError(
            f"cannot write the checkpoint {path}: {error.strerror or error}; earlier checkpoints are untouched"
        ) from error
    kept = {f"step-{old:09d}" for old in [old for old in _steps(folder) if old <= step][-KEPT:]}
    # The checksum goes first: without it the rest does not count, and if this is cut short it goes the next time.
    for suffix in (".sha256", ".pt", ".new"):
        for other in folder.glob(f"step-*{suffix}"):
            if other.name.partition(".")[0] not in kept:
                with contextlib.suppress(OSError):
                    other.unlink()
    return path


def load_newest(folder: Path) -> tuple[int, dict[str, Any], list[str]]:
    """(step, state, what was wrong with newer ones) of the newest valid checkpoint; tensors on the CPU.

    Raises:
        RunError: there is none.
    """
    passed_over: list[str] = []
    for step in reversed(_steps(folder)):
        path = folder / f"step-{step:09d}.pt"
        problem, state = _load(path)
        if state is not None:
            return step, state, passed_over
        passed_over.append(f"{path.name} {problem}")
    reason = "; ".join(passed_over) or "there is none"
    raise RunError(f"no usable checkpoint in {folder}: {reason}")


def has_checkpoint(folder: Path) -> bool:
    """Whether any checkpoint was ever finished here."""
    return bool(_steps(folder))


def _load(path: Path) -> tuple[str, dict[str, Any] | None]:
    try:
        content = path.read_bytes()
        expected = path.with_suffix(".sha256").read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        return f"cannot be read: {error.strerror}", None
    if hashlib.sha256(content).hexdigest() != expected:
        return "is damaged: its checksum differs", None
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a foreign file makes the reader do, it is not a checkpoint of ours
        return f"is no checkpoint: {type(error).__name__}", None
    return ("", state) if isinstance(state, dict) else ("is no checkpoint", None)


def _steps(folder: Path) -> list[int]:
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    matches = [re.fullmatch(r"step-(\d{9,})\.sha256", name) for name in names]
    return sorted(int(match.group(1)) for match in matches if match)


def _write(path: Path, content: bytes) -> None:
    """Write aside, flush to the disk, rename: the file is there whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
