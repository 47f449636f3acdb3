"""Nothing is read and ignored: a spec without one of its values is another plan, or none, or a warning less."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from language_tables import DEFINITIONS, SECTIONS

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import Span, SpecError
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_text
from ammgraph.spec.source import parse, plain

FILE = Path(__file__).parent / "every_key.yaml"
WRITTEN: dict[str, Any] = plain(parse(FILE.read_text(encoding="utf-8"), FILE.name)[0])  # type: ignore[arg-type]
# What describes and decides nothing, and what only says what holds anyway.
DESCRIBES = [("notes",), ("notes", 0), ("notes", 1)]
HOLDS_ANYWAY = [
    ("networks", "encoder", "defaults"),
    ("networks", "encoder", "defaults", "op"),
    ("networks", "encoder", "layers", "c", "op"),
    ("training", "schedule", 0, "draw"),
]


def paths(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every key, and every entry of a list."""
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield (*path, key)
        yield from paths(value, (*path, key))


def without(path: tuple[str | int, ...]) -> str:
    spec = json.loads(json.dumps(WRITTEN))
    place = spec
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return json.dumps(spec)


def plan_of(text: str) -> Plan:
    """The plan without the places of its warnings."""
    plan = compile_spec(load_text(text))
    return replace(plan, warnings=tuple(replace(found, span=Span("", 1, 1, 1)) for found in plan.warnings))


def test_the_spec_gives_no_warning() -> None:
    assert plan_of(json.dumps(WRITTEN)).warnings == ()


@pytest.mark.parametrize("path", list(paths(WRITTEN)), ids=lambda path: ".".join(map(str, path)))
def test_without_one_value_it_is_another_plan_or_none(path: tuple[str | int, ...]) -> None:
    try:
        same = plan_of(without(path)) == plan_of(json.dumps(WRITTEN))
    except SpecError:
        same = False
    assert same == (path in DESCRIBES + HOLDS_ANYWAY)


def test_every_key_of_the_language_stands_in_the_spec() -> None:
    keys = {key for section in SECTIONS for key in DEFINITIONS[section]["properties"]}
    assert keys - {step for path in paths(WRITTEN) for step in path} <= {"extends", "epochs", "$schema"}
