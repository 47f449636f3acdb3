"""Files that survive a kill and a power cut: written aside, flushed, renamed, and so is the folder's entry of them.

A folder may come from a stranger, with links where files are written: no write follows one.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from ammgraph.diagnostics import RunError

T = TypeVar("T")

_NO_FILE = "it is a device, a pipe or a socket, no file"
_LEFTOVER = re.compile(r"[0-9a-f]{16}\..+\.new", re.DOTALL)


def read_as(kind: type[T], path: Path) -> T:
    """A dataclass from its JSON file.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none; what that means is the caller's to say.
        RunError: it cannot be read, or has other content than the dataclass's.
    """
    try:
        return TypeAdapter(kind).validate_json(read(path))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except ValidationError as error:
        problem = error.errors()[0]
        place = "".join(f"`{part}`: " for part in problem["loc"])
        raise RunError(f"{path} is damaged: {place}{problem['msg']}") from error


def read(path: Path) -> bytes:
    """The content of a file.

    Raises:
        OSError: it cannot be read, or is a device, a pipe or a socket, which might never end.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, _NO_FILE)
        return file.read()


def write(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, and on the disk when this returns.

    It is written aside, under a name that nobody can know before, and renamed. A link in its place is replaced; what
    the link leads to is left alone.

    Raises:
        OSError: the disk refuses, or what is there is no file; what was there before is untouched.
    """
    _refuse_other_than_a_file(path)
    temporary = path.with_name(f"{secrets.token_hex(8)}.{path.name[-50:]}.new")
    try:
        with os.fdopen(_open(temporary, os.O_WRONLY | os.O_EXCL), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def append(path: Path, content: bytes) -> None:
    """Write at the end of a file, which is made if need be; on the disk when this returns.

    Raises:
        OSError: the disk refuses, or what is there is a link or another thing than a file.
    """
    new = not path.exists()
    with opened(path, os.O_WRONLY | os.O_APPEND) as number:
        with open(number, "ab", closefd=False) as file:
            file.write(content)
        os.fsync(number)
    if new:
        sync_folder(path.parent)


@contextlib.contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """The descriptor of a file that stays where it is and is made if need be; nothing in it is cut off.

    Raises:
        OSError: it cannot be opened, or what is there is a link or another thing than a file.
    """
    refuse_link(path)
    _refuse_other_than_a_file(path)
    number = _open(path, flags)
    try:
        yield number
    finally:
        os.close(number)


def is_leftover(name: str) -> bool:
    """Whether a file has the name of one that `write` has begun and not finished."""
    return _LEFTOVER.fullmatch(name) is not None


def remove_leftovers(folder: Path) -> None:
    """Remove what a kill has left half-written here, as far as the folder allows it."""
    with contextlib.suppress(OSError):
        for entry in list(folder.iterdir()):
            if is_leftover(entry.name):
                entry.unlink()


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


def refuse_link(path: Path) -> None:
    """Nothing is written into a folder within one of ours that is a link.

    Raises:
        OSError: it is one.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, f"{path.name} is a link, and nothing is written through links: remove it")


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)


def _refuse_other_than_a_file(path: Path) -> None:
    """No device and no pipe is written or replaced."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind) or stat.S_ISDIR(kind)):
        raise OSError(errno.EINVAL, _NO_FILE)
