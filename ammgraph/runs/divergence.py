"""That a run has diverged, written down for whoever comes later: without it, it looks like one that was stopped."""

import contextlib
from pathlib import Path

from ammgraph.folders import DIVERGED
from ammgraph.runs import files


def keep(folder: Path, told: str) -> None:
    """Write down where a run has diverged, and what to do; what a disk refuses is told by the error at hand alone."""
    with contextlib.suppress(OSError):
        files.write(folder / DIVERGED, f"{told}\n".encode())


def forget(folder: Path) -> None:
    """The run goes on."""
    with contextlib.suppress(OSError):
        (folder / DIVERGED).unlink(missing_ok=True)


def told(folder: Path) -> str:
    """Where a run has diverged, and what to do; empty where it has not."""
    try:
        found = files.read(folder / DIVERGED).decode(errors="replace")
    except OSError:
        return ""
    return " ".join(found.split())[:1000]
