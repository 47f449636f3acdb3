"""The specs that ship: found by name in a checkout and in an installed package."""

import os
from pathlib import Path

from ammgraph.folders import SPEC, SPECS

_PACKAGE = Path(__file__).parent.parent
# In a wheel they lie in the package, in a checkout beside it.
FOLDERS = (_PACKAGE / "specs", _PACKAGE.parent / "specs")


def shipped_specs() -> dict[str, Path]:
    """Name -> file of every spec that ships, by name."""
    folder = next((folder for folder in FOLDERS if any(folder.glob("*.yaml"))), None)
    return {} if folder is None else {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def spec_path(text: str) -> str:
    """The file that SPEC means: of a run, of trials or a sweep, one that there is, a shipped one's, else the text."""
    of_run = os.path.join(text, SPEC)
    if os.path.isfile(of_run):
        return of_run
    of_all = sorted(Path(text, SPECS).glob("*.json")) if os.path.isdir(text) else []
    if len(of_all) == 1:
        return os.fspath(of_all[0])
    if os.path.exists(text) or os.path.basename(text) != text:
        return text
    return os.fspath(shipped_specs().get(text, text))
