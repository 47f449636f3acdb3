"""Nothing is read and ignored: a spec without one of its values is another plan, or none, or a warning less."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from language_tables import DEFINITIONS, SECTIONS

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import Span, SpecError
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_text
from ammgraph.spec.source import parse, plain

FOLDER = Path(__file__).parent


def written(name: str) -> Any:
    return plain(parse((FOLDER / name).read_text(encoding="utf-8"), name)[0])  # type: ignore[arg-type]


WRITTEN: dict[str, Any] = written("every_key.yaml")
# What a spec has in place of a length and a schedule.
PHASES: dict[str, Any] = written("every_phase.yaml")
TABLE: dict[str, Any] = {"data": {"dataset": "csv", "path": "mine.csv", "columns": ["a", "b"], "label": "kind"}}
# What describes and decides nothing, and what only says what holds anyway.
DESCRIBES: list[tuple[str | int, ...]] = [("notes",), ("notes", 0), ("notes", 1), ("measured",), ("measured", 0)]
DESCRIBES += [("measured", 0, *rest) for rest in (("when",), ("when", "K"), ("unit",), ("options",))]
HOLDS_ANYWAY = [
    ("networks", "encoder", "trainable"),
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


def without(path: tuple[str | int, ...], whole: dict[str, Any] = WRITTEN) -> str:
    spec = json.loads(json.dumps(whole))
    place = spec
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return json.dumps(spec)


@cache
def plan_of(text: str) -> Plan:
    """The plan without the places of its warnings."""
    plan = compile_spec(load_text(text))
    return replace(plan, warnings=tuple(replace(found, span=Span("", 1, 1, 1)) for found in plan.warnings))


@pytest.mark.parametrize("spec", [WRITTEN, PHASES], ids=["every key", "every phase"])
def test_the_spec_gives_no_warning(spec: dict[str, Any]) -> None:
    assert plan_of(json.dumps(spec)).warnings == ()


@pytest.mark.parametrize("path", list(paths(WRITTEN)), ids=lambda path: ".".join(map(str, path)))
def test_without_one_value_it_is_another_plan_or_none(path: tuple[str | int, ...]) -> None:
    try:
        same = plan_of(without(path)) == plan_of(json.dumps(WRITTEN))
    except SpecError:
        same = False
    assert same == (path in DESCRIBES + HOLDS_ANYWAY)


@pytest.mark.parametrize(
    "path", list(paths(PHASES["training"]["phases"], ("training", "phases"))), ids=lambda path: ".".join(map(str, path))
)
def test_without_a_part_of_the_phases_it_is_another_plan_or_none(path: tuple[str | int, ...]) -> None:
    try:
        same = plan_of(without(path, PHASES)) == plan_of(json.dumps(PHASES))
    except SpecError:
        same = False
    assert not same


def test_every_key_of_the_language_stands_in_a_spec() -> None:
    keys = {key for section in SECTIONS for key in DEFINITIONS[section]["properties"]}
    used = {step for spec in (WRITTEN, PHASES, TABLE) for path in paths(spec) for step in path}
    assert keys - used <= {"extends", "$schema"}
