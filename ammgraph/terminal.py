"""What a terminal is given: streams that may be closed or take few characters, and texts that strangers wrote.

A name of a folder or a line of a foreign file may hold sequences that move a terminal's cursor, rename its window or
turn the direction of writing. They are shown, and never sent.
"""

import io
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, TextIO, cast

from ammgraph.diagnostics import RunError

# C0 and C1 but line feed and tabulator, what ends a line or turns its direction, bytes of names that are not UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escaped(text: str) -> str:
    r"""The text with control characters written out, as `\x1b`; lines and tabulators stay."""
    return _CONTROL.sub(lambda found: _written_out(found[0]), text)


def one_line(text: str) -> str:
    r"""The text as one line: `escaped`, and `\n` and `\t` written out too."""
    return re.sub("[\n\t]", lambda found: _written_out(found[0]), escaped(text))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines to stdout; no name within one begins another."""
    print("\n".join(one_line(line) for line in lines))


def say(text: str) -> None:
    """A line to stderr, if anyone still reads it: training goes on without."""
    print(text, file=sys.stderr, flush=True)


def command(*words: object) -> str:
    """An `ammgraph` command as a shell takes it."""
    return shlex.join(["ammgraph", *map(str, words)])


def overrides_of(line: str) -> list[str]:
    """What follows each `--set` of a command line; nothing of a line that a shell would not take."""
    try:
        words = shlex.split(line)
    except ValueError:
        return []
    pairs = ((word, after) for word, after in pairwise([*words, ""]) if word == "--set" or word.startswith("--set="))
    return [after if word == "--set" else word.removeprefix("--set=") for word, after in pairs]


def _written_out(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


# ------------------------------------------------------------------------------------------------ streams


def open_streams() -> None:
    """A closed stream is as /dev/null: else the next file that is opened would get its number, and what is printed.

    What a stream has no character for is written out.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
    for file in (sys.stdout, sys.stderr):
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="backslashreplace")


@contextmanager
def guarded() -> Iterator[None]:
    """Stdout and stderr take any text and send no control character; Python's warnings are one line each.

    Raises:
        RunError: stdout takes no more, and its reader has not gone away.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast(TextIO, _Results(sys.stdout)), cast(TextIO, _Escaping(screen(sys.stderr)))
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        sys.stdout, sys.stderr = before


def as_it_is(file: TextIO) -> TextIO:
    """The stream below a guarded one, for control sequences of our own."""
    return file.file if isinstance(file, _Escaping) else file


def screen(file: TextIO) -> TextIO:
    """A stream that nobody may read any more: a pipe without a reader, a closed terminal, a full disk.

    From the first line that cannot be written on, all goes nowhere; what a buffer kept would spoil the exit code.
    """
    return cast(TextIO, _Screen(as_it_is(file)))


def close_output() -> None:
    """What is still to be written to stdout goes nowhere, so that Python has nothing to complain about at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Stream:
    """A text file, changed in what `write` and `flush` do."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, text: str) -> int:
        self.file.write(text)
        return len(text)

    def flush(self) -> None:
        self.file.flush()


class _Screen(_Stream):
    def write(self, text: str) -> int:
        with self._given_up():
            self.file.write(text)
        return len(text)

    def flush(self) -> None:
        with self._given_up():
            self.file.flush()

    @contextmanager
    def _given_up(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())


class _Escaping(_Stream):
    def write(self, text: str) -> int:
        return super().write(escaped(text))


class _Results(_Escaping):
    """Stdout: a result that is not written is an error, unless nobody waits for it."""

    def write(self, text: str) -> int:
        with self._told():
            return super().write(text)

    def flush(self) -> None:
        with self._told():
            super().flush()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            close_output()
            raise RunError(f"cannot write the output: {error.strerror or error}") from error


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"warning: {one_line(str(message))}", file=sys.stderr)
