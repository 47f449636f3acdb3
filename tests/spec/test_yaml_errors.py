import inspect
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from yaml import parser, scanner

from ammgraph.spec.source import parse
from ammgraph.spec.yaml_errors import SENTENCES, in_plain_words


def raised_by_pyyaml() -> list[tuple[str, str]]:
    """(context, problem) of every error in the source of PyYAML's scanner and parser, with `%r` and the like filled."""
    call = re.compile(r'^ *raise (?:Scanner|Parser)Error\(("[^"]*"|None)[^,]*,[^,]*,\s*("(?:[^"\\]|\\.)*")', re.M)
    found = call.findall(inspect.getsource(scanner) + inspect.getsource(parser))
    return [(context.strip('"').replace("None", ""), problem.strip('"')) for context, problem in found]


def test_every_error_of_the_parser_has_a_sentence():
    errors = raised_by_pyyaml()
    assert len(errors) > 30
    filled = [(context.replace("an %s", "an alias").replace("%s", "tag"), problem) for context, problem in errors]
    texts = [f"{context}: {problem}" for context, problem in filled]
    assert [text for text in texts if not any(re.search(pattern, text) for pattern in SENTENCES)] == []


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a:\n\tb: 1\n", "2:1", "a tab cannot indent or separate"),
        ("a: [1, 2\n", "1:9", "a `[` is not closed with `]`, or a comma is missing"),
        ("a: {b: 1\nc: 2}\n", "2:2", "a `{` is not closed with `}`, or a comma is missing"),
        ("a: b: c\n", "1:5", "a `:` stands where no key can be"),
        ("a: 1\nb\n", "2:2", "a line is neither `key: value` nor part of a value"),
        ("a: @b\n", "1:4", "a value cannot begin with this character"),
        ("a: - b\n", "1:4", "a `-` stands where no list can begin"),
        ("- a\nb: 1\n", "2:1", "this line's indentation fits no line above"),
        ("a: 'b\n", "1:6", "a quoted text is not closed"),
        ('a: "\\q"\n', "1:6", "an escape in a quoted text is wrong"),
        ("a: &\n", "1:5", "`&` and `*` are not part of a spec's YAML"),
        ("a: !b!c d\n", "1:4", "a tag is not part of a spec's YAML"),
        ("a: |0\n b\n", "1:5", "after `|` or `>` the text begins on the next line"),
        ("a: 1\n...\nb: 2\n", "3:1", "the document has ended before this"),
        ("%YAML 2.0\n---\na: 1\n", "1:1", "a `%` directive is not part of a spec's YAML"),
    ],
)
def test_error_is_one_sentence_at_its_place(text: str, place: str, message: str):
    _, (problem,) = parse(text, "a.yaml")
    assert (problem.code, str(problem.span), problem.message) == ("yaml-syntax", f"a.yaml:{place}", message)


def test_what_is_open_is_noted():
    _, (problem,) = parse("a:\n  b: [1,\n  2\n", "a.yaml")
    (note,) = problem.notes
    assert (note.message, str(note.span)) == ("the list begins here", "a.yaml:2:6")


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_word_of_an_unknown_error_passes(context: str, problem: str):
    error = yaml.scanner.ScannerError(context, None, f"qqq {problem}", None)
    diagnostic = in_plain_words(error, ["a: 1"], "a.yaml")
    assert "qqq" not in diagnostic.message + diagnostic.hint
