"""Checkpoints: written aside, flushed, renamed, with a checksum; the newest valid one is found by itself.

A checkpoint is `step-N.pt` with its checksum `step-N.sha256`, which is written first: a kill between the two leaves a
checksum without a file, and a file without its checksum is damage. Only tensors and plain data are in it, and nothing
else is ever loaded from it.
"""

import contextlib
import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ammgraph.diagnostics import RunError
from ammgraph.runs import divergence, files, states

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
        files.refuse_link(folder)
        files.make_folder(folder)
        files.write(path.with_suffix(".sha256"), hashlib.sha256(content).hexdigest().encode())
        files.write(path, content)
    except OSError as error:
        raise RunError(
            f"cannot write the checkpoint {path}: {error.strerror or error}; earlier checkpoints are untouched"
        ) from error
    kept = {f"step-{old:09d}" for old in [old for old in _steps(folder, ".pt") if old <= step][-KEPT:]}
    # The checksum goes last: alone it is no checkpoint, and if this is cut short it goes the next time.
    for suffix in (".pt", ".sha256"):
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
    for step in sorted({*_steps(folder, ".pt"), *_steps(folder, ".sha256")}, reverse=True):
        path = folder / f"step-{step:09d}.pt"
        problem, state = _load(path, step)
        if state is not None:
            return step, state, passed_over
        passed_over.append(f"{path.name} {problem}")
    reason = "; ".join(passed_over) or divergence.told(folder.parent) or "there is none"
    raise RunError(f"no usable checkpoint in {folder}: {reason}")


def checksum(folder: Path, step: int) -> str:
    """That of the checkpoint of a step, which has been loaded."""
    return files.read(folder / f"step-{step:09d}.sha256").decode("ascii", "replace").strip().partition(" ")[0]


def has_checkpoint(folder: Path) -> bool:
    """Whether any checkpoint was ever finished here."""
    return bool(_steps(folder, ".pt"))


def steps(folder: Path) -> list[int]:
    """Those of the checkpoints that were finished here, whole or not."""
    return _steps(folder, ".pt")


def newest_step(folder: Path) -> int:
    """The step of the newest checkpoint that was finished here, whole or not; 0 without one."""
    return max(_steps(folder, ".pt"), default=0)


def _load(path: Path, step: int) -> tuple[str, dict[str, Any] | None]:
    try:
        content = files.read(path)
    except FileNotFoundError:
        return "was not finished, or was removed", None
    except OSError as error:
        return f"cannot be read: {error.strerror}", None
    checksum = path.with_suffix(".sha256")
    try:
        expected = files.read(checksum).decode("ascii", "replace").strip().partition(" ")[0]
    except FileNotFoundError:
        return (
            f"has no checksum: {checksum.name} is missing. Copy it too or, if the file is whole, write it in "
            f"{path.parent} by `sha256sum {path.name} > {checksum.name}`"
        ), None
    except OSError as error:
        return f"is damaged: its checksum cannot be read: {error.strerror}", None
    if hashlib.sha256(content).hexdigest() != expected:
        return "is damaged: its checksum differs", None
    try:
        _check_archive(content)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        _check_tensors(state, len(content))
        problem, place = states.impossible(state)
    except Exception as error:  # whatever a foreign file makes the reader do, it is not a checkpoint of ours
        return f"is no checkpoint: {type(error).__name__}", None
    if not isinstance(state, dict):
        return "is no checkpoint", None
    if type(state.get("step", step)) is not int or state.get("step", step) != step:
        return f"is no checkpoint of step {step}", None
    if problem == "negative":
        return (
            f"holds negative numbers where none can be (`{place}`): it was changed, or another program wrote it",
            None,
        )
    if problem:
        return f"holds numbers that are not finite (`{place}`): training had diverged", None
    return "", state


def _check_archive(content: bytes) -> None:
    """Nothing in the file grows when it is read: `torch.save` compresses nothing.

    Raises:
        ValueError: it would.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
    if sum(part.file_size for part in parts) > len(content) or any(part.compress_type for part in parts):
        raise ValueError("the archive holds more than the file")


def _check_tensors(value: object, size: int) -> None:
    """No tensor claims more than the file holds, as one with strides of 0 or a sparse one can.

    Raises:
        ValueError: one does.
    """
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided or value.device.type != "cpu" or value.nbytes > size:
            raise ValueError("a tensor is larger than the file")
    elif isinstance(value, Mapping):
        for entry in value.values():
            _check_tensors(entry, size)
    elif isinstance(value, list | tuple | set):
        for entry in value:
            _check_tensors(entry, size)


def _steps(folder: Path, suffix: str) -> list[int]:
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    matches = [re.fullmatch(rf"step-(\d{{9,}})\{suffix}", name) for name in names]
    return sorted(int(match.group(1)) for match in matches if match)
