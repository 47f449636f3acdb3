"""The specs that ship: found by name in a checkout and in an installed package."""

import os
from pathlib import Path

from ammgraph.folders import SPEC

_PACKAGE = Path(__file__).parent.parent
# In a wheel they lie in the package, in a checkout beside it.
FOLDERS = (_PACKAGE / "specs", _PACKAGE.parent / "specs")


def shipped_specs() -> dict[str, Path]:
    """Name -> file of every spec that ships, by name."""
    folder = next((folder for folder in FOLDERS if any(folder.glob("*.yaml"))), None)
    return {} if folder is None else {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def spec_path(text: str) -> str:
    """The file that SPEC means: that of a run, one that there is, a shipped one's bare name, else the text as it is."""
    of_run = os.path.join(text, SPEC)
    if os.path.isfile(of_run):
        return of_run
    if os.path.exists(text) or os.path.basename(text) != text:
        return text
    return os.fspath(shipped_specs().get(text, text))
