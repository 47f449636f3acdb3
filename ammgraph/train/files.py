"""Files that survive a kill and a power cut: written aside, flushed, renamed, and so is the folder's entry of them."""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from ammgraph.diagnostics import RunError

T = TypeVar("T")


def read_as(kind: type[T], path: Path) -> T:
    """A dataclass from its JSON file.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none; what that means is the caller's to say.
        RunError: it cannot be read, or has other content than the dataclass's.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        place = "".join(f"`{part}`: " for part in problem["loc"])
        raise RunError(f"{path} is damaged: {place}{problem['msg']}") from error


def write(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, and on the disk when this returns.

    Raises:
        OSError: the disk refuses; what was there before is untouched.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, unless they are there; on the disk when this returns.

    Raises:
        OSError: the disk refuses, or a file is in the way.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries: without this a power cut forgets files that are on the disk themselves."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
