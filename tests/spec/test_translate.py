from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ammgraph.diagnostics import CODES, Diagnostic, SpecError
from ammgraph.spec.load import load_spec
from ammgraph.spec.schema import Spec
from ammgraph.spec.source import SourceMap
from ammgraph.spec.translate import SENTENCES, called, diagnostics_of, written_path

BASE = Path(__file__).parent.parent / "bad_specs" / "_base.yaml"
JUNK = (None, -1, 1.5, 10**12, True, "", "junk / 0", [], [1], [[]], {}, {"junk": 1}, {"type": []})
PYDANTIC_WORDS = ("Input should", "validation error", "pydantic", "Field required", "Extra inputs", "tag using")


def base() -> tuple[dict[str, Any], SourceMap]:
    spec = load_spec(BASE)
    return spec.written, spec.source


def paths(data: object) -> Iterator[tuple[str | int, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (key,)
        yield from ((key, *path) for path in paths(value))


def replaced(data: Any, path: tuple[str | int, ...], value: object) -> Any:
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


def diagnostics(data: object, source: SourceMap) -> list[Diagnostic]:
    try:
        Spec.model_validate(data, context={"constants": {"K": Fraction(10)}})
    except ValidationError as error:
        return diagnostics_of(error, data, source)
    return []


def test_junk_at_any_place_is_said_in_our_words_at_that_place():
    data, source = base()
    for path in paths(data):
        for junk in JUNK:
            for problem in diagnostics(replaced(data, path, junk), source):
                text = f"{problem.message} {problem.found} {problem.expected} {problem.hint}"
                assert not [words for words in PYDANTIC_WORDS if words in text], text
                assert "{place}" not in text
                assert problem.code in CODES
                assert not problem.message.endswith(".")


def test_every_kind_of_value_in_the_schema_has_its_sentences():
    errors = {
        "model": {"model_type"},
        "model-fields": {"missing"},
        "dict": {"dict_type", "too_short"},
        "tuple": {"tuple_type", "too_short"},
        "str": {"string_type", "string_too_short"},
        "bool": {"bool_type"},
        "literal": {"literal_error"},
        "tagged-union": {"union_tag_invalid", "union_tag_not_found", "model_attributes_type"},
        "float": {"greater_than", "greater_than_equal", "less_than", "less_than_equal"},
        "int": {"greater_than", "greater_than_equal", "less_than", "less_than_equal"},
    }
    wrappers = {"definitions", "definition-ref", "default", "nullable", "any", "json-or-python"}
    functions = {"function-before", "function-after", "function-wrap", "is-instance", "union", "model-field"}
    # For JSON input, which there is none of.
    behind_is_instance = {"dataclass", "dataclass-args", "dataclass-field", "fraction"}
    kinds = set(schema_kinds(Spec.__pydantic_core_schema__))
    assert kinds <= set(errors) | wrappers | functions | behind_is_instance
    assert set().union(*errors.values()) == set(SENTENCES)


def schema_kinds(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema["type"]
        for key, value in schema.items():
            if key not in ("metadata", "serialization", "cls", "function", "json_schema"):
                yield from schema_kinds(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from schema_kinds(value)


def test_unknown_key_is_marked_and_compared_with_the_keys_of_its_place():
    data, source = base()
    network = data["networks"]["critic"]
    wrong = replaced(data, ("networks", "critic"), {**network, "layer": {}, "stride": 1})
    first, second = diagnostics(wrong, source)
    assert (first.message, first.hint) == ("unknown key `layer`", "did you mean `layers`?")
    assert second.message == "unknown key `stride`"
    assert second.hint == "valid here: `defaults`, `from`, `trainable`, `layers`"


def test_missing_key_stands_at_the_key_of_its_mapping():
    data, source = base()
    (problem,) = diagnostics(replaced(data, ("networks", "critic", "layers", "p"), {"width": 1}), source)
    assert (problem.code, problem.message) == ("missing-key", "`p` has no `input`")
    assert problem.span == source.key("networks", "critic", "layers", "p")


def test_tag_of_a_union_is_no_part_of_the_path():
    data = {"variables": {"x": {"type": "image", "shape": [1, 2]}}}
    assert written_path(("variables", "x", "image", "shape", 1), data) == ("variables", "x", "shape", 1)
    assert written_path(("variables", "x", "image", "range"), data) == ("variables", "x")


@pytest.mark.parametrize(
    ("path", "name"),
    [(("training", "epochs"), "`epochs`"), (("betas", 1), "entry 2 of `betas`"), ((), "the spec")],
)
def test_value_is_called_by_its_key_or_its_number(path: tuple[str | int, ...], name: str):
    assert called(path) == name


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("networks.encoder.layers.h.activation=lrelu", "did you mean `leaky_relu 0.2`?"),
        ("networks.encoder.layers.h.activation=leaky_relu(0.2)", "did you mean `leaky_relu 0.2`?"),  # with its number
        ("networks.encoder.layers.h.op=dense", "did you mean `linear`?"),
        ("distributions.p.p(y)=gaussian", "did you mean `normal`?"),
        ("distributions.p.p(y)=N(0, 1)", "did you mean `normal`?"),
        ("distributions.p.p(y)=foo(0, 1)", ""),  # no row of a network: rows take no numbers
        ("distributions.p.p(y)=n", "a row of a network is written `n.NAME`"),
    ],
)
def test_words_of_other_libraries_are_told_as_they_are_written_here(override: str, meant: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(BASE, [override])
    assert caught.value.diagnostics[0].hint == meant
