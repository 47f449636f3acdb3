"""Files that a user names: written whole or not at all, and never over what the same command has not written.

A command knows its own files: an `.npz` by the comment of its archive, a `.png` by its `Software`, a page by its
`generator`, a table in CSV by its columns, one in Parquet by its metadata.
"""

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ammgraph.data.files import IMAGE_SUFFIXES
from ammgraph.diagnostics import RunError
from ammgraph.runs import files

Array = np.ndarray[Any, np.dtype[Any]]
Known = Callable[[Path], bool]

_WRITTEN_BY = "written_by"


def check_output(path: Path, known: Known, force: bool) -> None:
    """Refuse a file that cannot be written, before anything is computed, or must not be.

    Args:
        path: the file to be written.
        known: whether what is there was written by the same command.
        force: whether another file may be replaced too.

    Raises:
        RunError: there is no such folder, it may not be written in, or what is there is not to be replaced.
    """
    if not path.parent.is_dir():
        raise RunError(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise RunError(
            f"cannot write {path}: the folder {path.parent} may not be written in; name another with `--output`"
        )
    if not os.path.lexists(path) or force:
        return
    if not path.is_file() or not known(path):
        raise RunError(
            f"{path} is there already, and is not what this command writes; name another with `--output`, or replace "
            "it with `--force`"
        )


def refuse_input(path: Path, given: Path) -> None:
    """What a command reads it does not replace.

    Raises:
        RunError: both are one file, or it is an image of the folder that is read.
    """
    if not os.path.exists(path):
        return
    inside = given.rglob("*") if given.is_dir() else ()  # of class folders too
    read = [given, *(entry for entry in inside if entry.suffix.lower() in IMAGE_SUFFIXES)]
    if any(entry.exists() and entry.samefile(path) for entry in read):
        raise RunError(f"{path} is what is read, and is never replaced; name another with `--output`")


def write_output(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        RunError: the disk refuses; what was there before is untouched.
    """
    try:
        files.write(path, content)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def make_output_folder(path: Path) -> None:
    """Make a folder that a user names, unless it is there.

    Raises:
        RunError: the disk refuses, or what is there is no folder.
    """
    try:
        files.refuse_link(path)
        files.make_folder(path)
    except OSError as error:
        raise RunError(f"cannot write to {path}: {error.strerror or error}") from error


def npz(arrays: Mapping[str, Array], command: str) -> bytes:
    """The content of an `.npz` that `is_npz` knows again as that command's."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.comment = _mark(command)
    return buffer.getvalue()


def is_npz(path: Path, command: str) -> bool:
    """Whether that command has written an `.npz`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == _mark(command)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


def parquet(columns: Mapping[str, Array], command: str) -> bytes:
    """The content of a Parquet file that `is_parquet` knows again as that command's."""
    import pyarrow.parquet  # an extra

    buffer = io.BytesIO()
    table = pyarrow.table({title: pyarrow.array(column) for title, column in columns.items()})
    pyarrow.parquet.write_table(table.replace_schema_metadata({_WRITTEN_BY: _mark(command)}), buffer)
    return buffer.getvalue()


def is_parquet(path: Path, command: str) -> bool:
    """Whether that command has written a Parquet file."""
    import pyarrow.parquet  # an extra

    try:
        return (pyarrow.parquet.read_metadata(path).metadata or {}).get(_WRITTEN_BY.encode()) == _mark(command)
    except (OSError, pyarrow.ArrowException):
        return False


def head_of(path: Path, size: int) -> bytes:
    """The first bytes of a file, where those that write say who they are; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def _mark(command: str) -> bytes:
    return f"ammgraph {command}".encode()
