"""The JSON Schema: it takes every right spec, and refuses the keys and kinds of values that the compiler refuses."""

import copy
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import SpecError
from ammgraph.spec.load import load_spec, load_text
from ammgraph.spec.notation import LARGEST_COUNT
from ammgraph.spec.source import parse, plain
from ammgraph.start.json_schema import SCHEMA_FILE, SCHEMA_LINE, json_schema, schema_text

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
EVERY_KEY = Path(__file__).parent / "schema_keys.yaml"
BAD = ROOT / "tests" / "bad_specs"
DEFINITIONS = json_schema()["definitions"]
PLACES = tuple[str | int, ...]


@cache
def validator() -> Draft7Validator:
    return Draft7Validator(json_schema())


def accepts(data: object) -> bool:
    return validator().is_valid(data)


def written(path: Path) -> Any:
    tree, problems = parse(path.read_text(encoding="utf-8"), str(path))
    assert not problems
    assert tree is not None
    return plain(tree)


def loads(data: object) -> bool:
    """Whether the spec, written as JSON, which is YAML, passes the stages up to the schema."""
    try:
        load_text(json.dumps(data))
    except SpecError:
        return False
    return True


# ------------------------------------------------------------------------------------------------ what ships


def test_the_schema_is_one_and_the_shipped_one_is_it() -> None:
    Draft7Validator.check_schema(json_schema())
    hint = f"ammgraph schema > specs/{SCHEMA_FILE}"
    assert (ROOT / "specs" / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text(), hint


def test_the_command_prints_it(ammgraph: Any) -> None:
    assert ammgraph("schema") == (0, schema_text(), "")


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_shipped_spec_is_valid_as_written_and_resolved_and_names_the_schema(path: Path) -> None:
    assert path.read_text(encoding="utf-8").splitlines()[0] == SCHEMA_LINE
    assert (path.parent / SCHEMA_FILE).is_file()
    assert list(validator().iter_errors(written(path))) == []
    assert list(validator().iter_errors(load_spec(path).written)) == []


def test_the_resolved_spec_of_a_run_is_valid(ammgraph: Any, tmp_path: Path) -> None:
    spec = ROOT / "tests" / "tiny.yaml"
    assert ammgraph("train", spec, "--set", "training.steps=1", "--run-dir", tmp_path / "run")[0] == 0
    resolved = json.loads((tmp_path / "run" / "spec.json").read_text())
    assert list(validator().iter_errors(resolved)) == []


# ------------------------------------------------------------------------------------------------ what it says


def keys_of(definition: dict[str, Any]) -> dict[str, Any]:
    return definition.get("properties", {})


def test_every_key_has_a_meaning_and_an_example() -> None:
    for name, definition in DEFINITIONS.items():
        if name.endswith("Variant") or name == "Extending":
            continue  # the same keys once more
        for key, schema in keys_of(definition).items():
            parts = [*schema.get("allOf", []), *([schema] if "$ref" in schema else [])]
            referred = [DEFINITIONS[part["$ref"].rpartition("/")[2]] for part in parts]
            assert any("description" in part for part in [schema, *referred]), f"{name}.{key}"
            large = (name, key) in {("Spec", key) for key in ("notes", "networks", "training")}
            assert large or "examples" in schema, f"{name}.{key}"


def test_numbers_have_their_ranges() -> None:
    row, variable = keys_of(DEFINITIONS["Row"]), keys_of(DEFINITIONS["CategoricalVariable"])
    assert row["width"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": LARGEST_COUNT}
    assert row["dropout"]["anyOf"][0] == {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
    assert variable["size"]["anyOf"][0] == {"type": "integer", "minimum": 2, "maximum": LARGEST_COUNT}
    assert row["width"]["anyOf"][1] == {"$ref": "#/definitions/Arithmetic"}


# ------------------------------------------------------------------------------------------------ what it refuses


def places(data: Any, path: PLACES = ()) -> Iterator[PLACES]:
    """Every value of a spec."""
    yield path
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(value, (*path, key))


def at(data: Any, path: PLACES) -> Any:
    for step in path:
        data = data[step]
    return data


def replaced(data: Any, path: PLACES, value: object) -> Any:
    found = copy.deepcopy(data)
    at(found, path[:-1])[path[-1]] = value
    return found


RIGHT = written(EVERY_KEY)
PHASES: Any = [
    {"epochs": 1, "schedule": [{"update": ["critic"]}]},
    {"fit": "p(z|y)", "to": "q"},
    {"steps": 2},
]
_PLAIN = {key: value for key, value in RIGHT["training"].items() if key not in ("steps", "schedule")}
PHASED = {**RIGHT, "training": {**_PLAIN, "phases": PHASES}}
PLACES_OF_VALUES = [path for path in places(RIGHT) if path]
# Mappings by name. Whether a name is one of the spec's is said by the compiler's later stages.
BY_NAME = {
    *(("constants",), ("variables",), ("networks",), ("distributions",), ("games",), ("terms",), ("data", "fields")),
    *(("training", "batch_size"), ("training", "optimizers"), ("training", "ema"), ("published", 0, "when")),
    ("measured", 0, "when"),
    *(("networks", "encoder", "layers"), ("networks", "critic", "layers")),
    *(("distributions", name) for name in ("q", "p", "r", "s")),
}
LEVELS = [path for path in places(RIGHT) if isinstance(at(RIGHT, path), dict) and path not in BY_NAME]


def test_the_right_spec_has_every_key_of_the_schema() -> None:
    images = replaced(RIGHT, ("data",), {"dataset": "npz", "path": "x.npz", "resize": [8, "K"], "grayscale": True})
    assert accepts(RIGHT)
    assert loads(RIGHT)
    assert accepts(images)
    assert loads(images)
    seen = {path[-1] for spec in (PHASED, images) for path in [*PLACES_OF_VALUES, *list(places(spec))[1:]]}
    every = {key for definition in DEFINITIONS.values() for key in keys_of(definition)}
    assert every - seen == {"extends"}


def with_phases(*phases: Any) -> Any:
    return replaced(PHASED, ("training", "phases"), list(phases))


def test_phases_stand_in_place_of_a_length_and_a_schedule() -> None:
    first, fitted, last = PHASES
    assert accepts(PHASED)
    assert loads(PHASED)
    right = [(first,), (last,), (first, last), (first, fitted, fitted | {"to": "r"}, last)]
    assert [accepts(with_phases(*phases)) for phases in right] == [True] * 4
    wrong = [(), ({},), (first | {"steps": 3},), (first, {"fit": "p(z|y)"}, last), (first, fitted | {"steps": 1}, last)]
    for phases in wrong:
        assert not accepts(with_phases(*phases)), phases
        assert not loads(with_phases(*phases)), phases
    for key, value in (("epochs", 1), ("steps", 1)):
        assert not accepts({**PHASED, "training": PHASED["training"] | {key: value}})
        assert not loads({**PHASED, "training": PHASED["training"] | {key: value}})


@pytest.mark.parametrize("path", LEVELS, ids=lambda path: ".".join(map(str, path)) or "spec")
def test_a_misspelled_key_is_refused_by_both(path: PLACES) -> None:
    level = at(RIGHT, path)
    for key in list(level)[:1]:
        wrong = copy.deepcopy(RIGHT)
        added = at(wrong, path)
        added[f"{key}s"] = added[key]
        assert not accepts(wrong), key
        assert not loads(wrong), key


@pytest.mark.parametrize("path", PLACES_OF_VALUES, ids=lambda path: ".".join(map(str, path)))
def test_a_value_of_another_kind_is_refused_by_both(path: PLACES) -> None:
    value = at(RIGHT, path)
    kinds: list[object] = [{"nothing": {}} if not isinstance(value, dict) else [[{}]]]
    kinds += [True] * (len(path) < 3 and not isinstance(value, bool))
    for kind in kinds:
        wrong = replaced(RIGHT, path, kind)
        assert not loads(wrong), kind
        assert not accepts(wrong), kind


ODD = (None, -1, 0.5, 3, "", "a b", "K", "q(x)", "a.b", "relu", [1], [[0, 1]], {})


@pytest.mark.parametrize("path", PLACES_OF_VALUES[::7], ids=lambda path: ".".join(map(str, path)))
def test_the_schema_refuses_nothing_that_the_compiler_takes(path: PLACES) -> None:
    for value in ODD:
        odd = replaced(RIGHT, path, value)
        assert accepts(odd) or not loads(odd), value


@pytest.mark.parametrize(
    "value", [" uniform ", "normal ", " empirical", " data ", "data . labeled", " uniform ( 0 , 1 ) ", " encoder . z "]
)
def test_spaces_around_what_draws_a_factor_mean_nothing_to_both(value: str) -> None:
    odd = replaced(RIGHT, ("distributions", "p", "p(y)"), value)
    assert loads(odd)
    assert accepts(odd)


def test_spaces_around_what_chooses_mean_nothing_to_both() -> None:
    odd = replaced(RIGHT, ("networks", "critic", "layers", "e", "choose"), " y ")
    assert loads(odd)
    assert accepts(odd)


SAID_BY_THE_SCHEMA = {"unknown-key", "missing-key", "wrong-type", "unknown-value", "out-of-range", "bad-name"}
# Wrong specs that a schema takes: what is wrong is a relation between sections, or shows in arithmetic or merging.
NOT_EXPRESSIBLE = {
    "measured_beyond_its_unit",
    "inherited_for_another_kind",  # a key of the spec that is extended
    "average_that_is_not_kept",  # `evaluation.weights` against `training.ema`
    "data_path_missing",  # in a spec that extends, the path may be inherited
    "game_of_unknown_players",  # a weight of 0 within a text
    "neither_epochs_nor_steps",  # in a spec that extends, they may be inherited
    "optimizer_without_name",  # the default that would give it is removed
    "settings_of_unknown_names",  # a batch size for every distribution
    "states_chosen_by_nothing",  # `evaluation.keep` against `data.validation`
    "weight_norm_of_weights_of_zero",  # a weight norm against the initial weights
}


def codes_of(case: str) -> set[str]:
    try:
        compile_spec(load_spec(f"{case}.yaml"))
    except SpecError as error:
        return {diagnostic.code for diagnostic in error.diagnostics}
    return set()


def test_wrong_specs_are_refused_where_a_schema_can_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    taken, refused = set(), set()
    for path in sorted(BAD.glob("*.yaml")):
        if path.stem.startswith("_"):
            continue
        codes = codes_of(path.stem)
        tree, problems = parse(path.read_bytes().decode("utf-8", "replace"), path.name)
        if problems or not codes & SAID_BY_THE_SCHEMA:
            continue
        (taken if accepts(plain(tree)) else refused).add(path.stem)
    assert taken == NOT_EXPRESSIBLE
    assert len(refused) >= 25


def test_a_spec_that_extends_writes_parts_and_removes() -> None:
    part = {"extends": "base.yaml", "networks": {"critic": {"layers": {"h": {"dropout": None}, "p": None}}}}
    assert accepts(part)
    assert accepts(part | {"training": {"epochs": None, "steps": 100, "optimizers": {"default": {"learning_rate": 1}}}})
    assert accepts(part | {"variables": {"y": {"size": 20}}, "games": {"joint": None}})
    # A game, a distribution and a column are units: nothing in them is inherited, removed or left out.
    assert not accepts(part | {"games": {"joint": {"match": ["q", "p"]}}})
    assert not accepts(part | {"distributions": {"p": {"p(y)": None}}})
    assert not accepts(part | {"networks": {"critic": {"layers": {"h": {"initializer": {"weights": None}}}}}})
    # Without `extends` there is nothing to remove and nothing to leave out.
    alone = {key: value for key, value in part.items() if key != "extends"}
    assert not accepts(alone)
    assert not accepts(replaced(RIGHT, ("title",), None))
    assert not accepts({key: value for key, value in RIGHT.items() if key != "data"})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("training", "epochs"), 3),  # beside `steps`
        (("data",), {"dataset": "npz"}),
        (("data",), {"dataset": "mnist", "path": "mnist.npz"}),
        (("training", "initializer", "weights"), {"normal": 1, "uniform": 1}),
        (("training", "initializer", "weights"), {}),
    ],
    ids=lambda value: str(value),
)
def test_keys_that_need_or_exclude_each_other(path: PLACES, value: object) -> None:
    wrong = replaced(RIGHT, path, value)
    assert not accepts(wrong)
    assert not loads(wrong)


def test_an_optimizer_of_a_network_takes_from_the_default_what_it_leaves_out() -> None:
    optimizers = {"default": {"name": "adam", "learning_rate": 1e-3}, "critic": {"learning_rate": 1e-4}}
    right = replaced(RIGHT, ("training", "optimizers"), optimizers)
    assert accepts(right)
    assert loads(right)
    wrong = replaced(RIGHT, ("training", "optimizers"), {"default": {"learning_rate": 1e-4}})
    assert not accepts(wrong)
    assert not loads(wrong)


def test_a_copy_and_a_new_spec_find_the_schema_beside_them(ammgraph: Any, tmp_path: Path) -> None:
    ammgraph("copy", "amm_digits", tmp_path / "copied.yaml")
    ammgraph("new", tmp_path / "new.yaml", "--q", "q(x) q(z|x)", "--p", "p(z) p(x|z)", "--image", "1x8x8")
    for name in ("copied.yaml", "new.yaml"):
        assert (tmp_path / name).read_text(encoding="utf-8").splitlines()[0] == SCHEMA_LINE
        assert list(validator().iter_errors(written(tmp_path / name))) == []
    assert (tmp_path / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text()
    # A schema of their own is left alone.
    (tmp_path / SCHEMA_FILE).write_text("{}", encoding="utf-8")
    ammgraph("copy", "ali_mnist", tmp_path)
    assert (tmp_path / SCHEMA_FILE).read_text(encoding="utf-8") == "{}"
