"""Copies of specs that ship, with what they extend, and the schema for editors beside them."""

import os
from collections.abc import Sequence
from pathlib import Path

from ammgraph.diagnostics import RunError, nearest, stop_if
from ammgraph.spec.merge import read_chain
from ammgraph.spec.shipped import shipped_specs
from ammgraph.start.json_schema import SCHEMA_FILE, schema_text


def copy_spec(name: str, target: Path | None = None) -> tuple[Path, ...]:
    """Copy a shipped spec, comments and all, and beside it the specs that it extends and the schema for editors.

    Args:
        name: the spec, as in `amm_mnist`.
        target: the new file, or a folder; `NAME.yaml` here unless given.

    Returns:
        The files written, the spec itself first. What lies there already, unchanged, is not written.

    Raises:
        RunError: there is no such spec, or a file of another content is in the way; then nothing is written.
    """
    specs = shipped_specs()
    if name not in specs:
        raise RunError(f"no spec `{name}` ships; {nearest(name, specs) or '`ammgraph specs` lists them'}")
    target = Path() if target is None else target
    first = target / f"{name}.yaml" if target.is_dir() else target
    chain = _chain(specs[name])
    schema = [beside for beside in [chain[0].parent / SCHEMA_FILE] if beside.exists()]
    places = {first: chain[0], **{first.parent / beside.name: beside for beside in [*chain[1:], *schema]}}
    if len(places) < len(chain) + len(schema):
        raise RunError(f"`{first}` has the name of a spec that `{name}` extends: give it another")
    new = [place for place, source in places.items() if place == first or not _same(place, source)]
    for place in new:
        if os.path.lexists(place):
            raise RunError(
                f"`{place}` is there already and is not overwritten; `ammgraph copy {name} PATH` writes elsewhere"
            )
    for place in new:
        write_new(place, places[place].read_bytes())
    return tuple(new)


def write_schema(folder: Path) -> Path | None:
    """Write `ammgraph.schema.json`, which a spec's first line names, beside specs; None where it lies there already.

    Raises:
        RunError: it cannot be written.
    """
    path = folder / SCHEMA_FILE
    if path.exists():
        return None
    write_new(path, schema_text().encode())
    return path


def write_new(path: Path, content: bytes) -> None:
    """Write a file that is not there yet, whole or not at all, and on the disk when this returns.

    Raises:
        RunError: it is there, or it cannot be written.
    """
    try:
        with path.open("xb") as stream:
            try:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:
                path.unlink()
                raise
    except FileExistsError:
        raise RunError(f"`{path}` is there already and is not overwritten; choose another name") from None
    except OSError as error:
        raise RunError(f"`{path}` cannot be written: {(error.strerror or str(error)).lower()}") from None


def _chain(path: Path) -> Sequence[Path]:
    """A spec and those that it extends, in that order."""
    written, problems = read_chain(os.fspath(path), ())
    stop_if(problems, written.texts)
    return [Path(file) for file in list(written.texts)[:-1]]  # the last text is that of the overrides


def _same(place: Path, source: Path) -> bool:
    return place.is_file() and place.read_bytes() == source.read_bytes()
