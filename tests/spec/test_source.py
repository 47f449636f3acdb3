import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from work import calls_at_most

from ammgraph.diagnostics import Diagnostic, Span
from ammgraph.spec.source import (
    LARGEST_FILE,
    Node,
    SourceMap,
    decode,
    parse,
    part_of,
    plain,
    printable,
    scalar,
    source_map,
)


def tree_of(text: str) -> Node:
    tree, problems = parse(text, "a.yaml")
    assert not problems
    assert tree is not None
    return tree


def places(text: str) -> SourceMap:
    return source_map(tree_of(text), {"a.yaml": text})


def problems_of(text: str) -> list[tuple[str, int, int]]:
    return [(problem.code, problem.span.line, problem.span.column) for problem in parse(text, "a.yaml")[1]]


def marked(text: str, span: Span) -> str:
    return text.split("\n")[span.line - 1][span.column - 1 : span.end_column - 1]


# ------------------------------------------------------------------------------------------------------------ scalars


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("10", 10),
        ("-3", -3),
        ("+3", 3),
        ("0", 0),
        ("1e-4", 1e-4),
        ("2.5E+3", 2500.0),
        (".5", 0.5),
        ("1.", 1.0),
    ],
)
def test_words_and_numbers_of_yaml_1_2(text: str, value: object):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        *("yes", "no", "on", "off", "y", "n", "True", "NULL", "~", "", "010", "00", "0x10", "0o7", "1_000", "12:30"),
        *("2026-01-01", ".inf", ".nan", "1e", "e4", ".", "-", "1.5.2", "K", "9" * 201, "1e999", "٣"),
    ],
)
def test_everything_else_is_text(text: str):
    assert scalar(text) == text
    assert isinstance(scalar(text), str)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30))
def test_printed_number_is_that_number(number: float):
    assert scalar(repr(number)) == number


def test_quoted_scalars_are_texts():
    assert plain(tree_of("""{a: "1", b: 'true', c: "", d: 'null'}""")) == {"a": "1", "b": "true", "c": "", "d": "null"}


def test_keys_are_texts_as_written():
    assert list(plain(tree_of("{on: 1, y: 2, 010: 3, 1: 4, 1.0: 5, true: 6, null: 7, 'q': 8}"))) == [
        *("on", "y", "010", "1", "1.0", "true", "null", "q")
    ]


# ------------------------------------------------------------------------------------------------------------- places


def test_keys_and_values_know_their_places():
    text = "games:\n  joint: {match: [q, p], weight: 1/2}   # a game\n"
    source = places(text)
    assert str(source.key("games", "joint", "weight")) == "a.yaml:2:26"
    assert marked(text, source.value("games", "joint", "weight")) == "1/2"
    assert marked(text, source.value("games", "joint", "match")) == "[q, p]"
    assert marked(text, source.value("games", "joint", "match", 1)) == "p"
    assert marked(text, source.value("games", "joint")) == "{match: [q, p], weight: 1/2}"


def test_value_of_several_lines_is_marked_on_its_first():
    text = "a: [1, 2,\n  3]\nb:\n  c: {d: 1}  # end\n  e: 2\nf: >-  # folded\n  one\ng: two\n  words\nh: 'three\n  b'\n"
    source = places(text)
    expected = {"a": "[1, 2", "b": "c: {d: 1}", "f": ">-", "g": "two", "h": "'three"}
    assert {key: marked(text, source.value(key)) for key in expected} == expected


def test_path_that_was_not_written_stands_at_its_parent():
    source = places("training: {epochs: 3}\n")
    assert source.key("training", "optimizers", "default") == source.key("training")
    assert source.value("training", "steps") == source.key("training")
    assert source.key("games") == Span("a.yaml", 1, 1, 22)


def test_columns_within_a_text_are_found_behind_its_quotes():
    text = (
        """a: y1 + z1\nb: 'y1 + z1'\nc: "y1 + z1"\nd: "y1 \\x2b z1"\ne: 'y1 ''+ z1'\nf: |\n  y1 + z1\ng: y1 +\n  z1\n"""
    )
    source = places(text)
    inner = {key: marked(text, source.within(key, start=5, end=7)) for key in "abc"}
    assert inner == dict.fromkeys("abc", "z1")
    whole = {key: source.within(key, start=5, end=7) for key in "defg"}
    assert whole == {key: source.value(key) for key in "defg"}
    assert marked(text, source.within("g", start=0, end=2)) == "y1"


def test_place_after_the_end_of_a_text_is_a_place():
    texts = {"a.yaml": "a: 'y1 +'"}
    span = Span("a.yaml", 1, 4, 10)
    assert part_of(span, texts, 4, 5) == Span("a.yaml", 1, 9, 10)
    assert part_of(span, texts, 5, 6) == span


# ------------------------------------------------------------------------------------------------- what is refused


def test_duplicate_key_names_both_places():
    (problem,) = parse("a: 1\nb: 2\n'a': 3\n", "a.yaml")[1]
    assert (problem.code, problem.message) == ("duplicate-key", "`a` is written twice")
    assert (str(problem.span), str(problem.notes[0].span)) == ("a.yaml:3:1", "a.yaml:1:1")


def test_nothing_is_not_null():
    assert problems_of("a: null\nb: {c: null}\n") == []
    assert problems_of("a:\nb: {c: }\nd:\n  - \n") == [
        ("empty-value", 1, 1),
        ("empty-value", 2, 5),
        ("empty-value", 4, 4),
    ]


def test_comma_inside_a_parenthesis_is_named_and_not_its_consequences():
    assert problems_of("q: {q(x): data, q(z|x,y): e.z, q(w|x,y): e.w}\n") == [
        ("split-by-comma", 1, 17),
        ("split-by-comma", 1, 32),
    ]
    assert problems_of("p: {p(z): uniform(-1, 1)}\n") == [("split-by-comma", 1, 11)]
    assert problems_of("p: {'p(z|x,y)': 'uniform(-1, 1)', a: zeros(3)}\n") == []
    assert problems_of("q(z|x: a (b\n") == [], "outside of braces a comma ends nothing"


def test_features_that_are_not_part_of_a_spec_are_refused_all_at_once():
    text = "a: &n 1\nb: *n\nc: !!int 3\n<<: {d: 4}\n? [e]\n: 5\n? *n\n: 6\nf: ! 7\n"
    assert problems_of(text) == [
        *(("yaml-feature", line, column) for line, column in ((1, 4), (2, 4), (3, 4), (4, 1), (5, 3), (7, 3), (9, 4)))
    ]
    assert problems_of("%YAML 1.2\n---\na: 1\n") == [("yaml-feature", 1, 1)]
    assert problems_of("a: 1\n---\nb: 2\n") == [("yaml-feature", 2, 1)]
    assert problems_of("---\na: 1\n...\n") == []


def test_characters_that_no_line_holds_are_refused():
    assert problems_of("a: 1\nb: \x00\x1b\n") == [("yaml-syntax", 2, 4), ("yaml-syntax", 2, 5)]
    assert problems_of("a: b\u2028c\ufeff") == [("yaml-syntax", 1, 5), ("yaml-syntax", 1, 7)]
    for escape in (r'"\0"', r'"\e"', r'"\ud800"', r'"\u2028"'):
        assert problems_of(f"a: {escape}\n") == [("yaml-syntax", 1, 4)]
    assert problems_of(r'a: "\UFFFFFFFF"')[0][0] == "yaml-syntax"
    assert printable("a\x1b\tb\n") == "a\ufffd\tb\n"


def test_nesting_has_a_bound_and_never_a_recursion_error():
    assert problems_of("[" * 40 + "1" + "]" * 40) == []
    assert problems_of("[" * 42 + "1" + "]" * 42) == [("yaml-feature", 1, 42)]
    assert problems_of("[" * 100_000) == [("yaml-feature", 1, 42)]
    assert problems_of("{a: " * 100_000)[-1][0] == "yaml-feature"


def test_bytes_are_decoded_with_their_line_ends_made_one():
    assert decode(b"\xef\xbb\xbfa: 1\r\nb: 2\rc: 3\n", "a.yaml") == ("a: 1\nb: 2\nc: 3\n", [])
    (problem,) = decode(b"a: 1\r\nb: \xc3\xa9 \xff\n", "a.yaml")[1]
    assert problem == Diagnostic(
        "unreadable-spec", "byte 0xff is not UTF-8", Span("a.yaml", 2, 6, 7), expected="a text in UTF-8"
    )
    assert decode(b"#" * LARGEST_FILE, "a.yaml")[1] == []
    assert decode(b"#" * (LARGEST_FILE + 1), "a.yaml")[1][0].message == "the file is larger than 128 KiB"


def test_long_spec_is_read_with_little_work():
    text = "rows:\n" + "".join(f"  r{row}: {{input: x, channels: 32, width: 3, stride: 2}}\n" for row in range(140))
    with calls_at_most(1_000_000):
        tree_of(text)


@given(st.text(alphabet="ab:{}[],- \n\t'\"#&*!|>%@`?\\0(é\x00", max_size=60))
def test_any_text_gives_a_tree_or_problems_with_places(text: str):
    tree, problems = parse(text, "a.yaml")
    assert tree is not None or problems or not text.strip() or "#" in text
    lines = text.split("\n")
    for problem in problems:
        assert 1 <= problem.span.line <= len(lines)
        assert 1 <= problem.span.column <= len(lines[problem.span.line - 1]) + 1
        assert problem.message != "this is not YAML"


# ---------------------------------------------------------------------------------------- libyaml and PyYAML's own


WRITTEN = [path.read_text() for path in sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))]
PIECES = (
    "\t",
    "?",
    "|#",
    "|",
    ">",
    " ",
    "#",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "-",
    "'",
    '"',
    "\\",
    "\n",
    "&",
    "*",
    "%",
    "e",
)


def without_libyaml(text: str, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as changed:
        changed.delattr(yaml, "CSafeLoader", raising=False)
        return parse.__wrapped__(text, "spec.yaml")


@pytest.mark.parametrize("seed", range(8))
def test_a_text_is_the_same_tree_with_and_without_libyaml(seed: int, monkeypatch: pytest.MonkeyPatch):
    chosen, same = random.Random(seed), 0
    for _ in range(25):
        text = chosen.choice(WRITTEN)
        start = text.find("\n", chosen.randrange(len(text) // 2)) + 1
        letters = list(text[start : start + 900])
        for _ in range(chosen.randrange(3)):
            letters[chosen.randrange(len(letters))] += chosen.choice(PIECES)
        text = "".join(letters)
        found = parse.__wrapped__(text, "spec.yaml")
        assert found == without_libyaml(text, monkeypatch), text
        same += not found[1]
    assert 0 < same < 25


@pytest.mark.parametrize("text", ["a: |# b\n  c", "{a: b?}\n", "a:\tb\n", "- {a: b} ", "{a: b}#"])
def test_what_one_of_them_alone_takes_is_told_as_pyyaml_does(text: str, monkeypatch: pytest.MonkeyPatch):
    assert parse.__wrapped__(text, "spec.yaml") == without_libyaml(text, monkeypatch)
