import re

import pytest

from ammgraph.diagnostics import (
    CODES,
    Diagnostic,
    Note,
    Span,
    SpecError,
    as_json,
    counted,
    did_you_mean,
    nearest,
    render,
    stop_if,
)

SOURCES = {"a.yaml": "data: x\n\tgames: [q, p]\r\n", "b.yaml": "one\ntwo\n" * 60}


def test_diagnostic_shows_the_line_and_marks_the_columns():
    diagnostic = Diagnostic(
        "wrong-type",
        "`data` is not a mapping",
        Span("a.yaml", 1, 7, 8),
        found="`x`",
        expected="a mapping",
        hint="look",
        notes=(Note("see also", Span("b.yaml", 101, 1, 4)),),
    )
    assert render(diagnostic, SOURCES).split("\n") == [
        "error[wrong-type]: `data` is not a mapping",
        "  --> a.yaml:1:7",
        "   |",
        "1  | data: x",
        "   |       ^",
        "   = found: `x`",
        "   = expected: a mapping",
        "   = hint: look",
        "note: see also",
        "    --> b.yaml:101:1",
        "     |",
        "101  | one",
        "     | ^^^",
    ]


def test_carets_stand_under_what_follows_a_tab_and_end_with_the_line():
    lines = render(Diagnostic("c", "m", Span("a.yaml", 2, 9, 99)), SOURCES).split("\n")
    assert lines[3:] == ["2  | \tgames: [q, p]", "   | \t       ^^^^^^"]


def test_place_outside_of_the_text_has_no_excerpt():
    assert render(Diagnostic("c", "m", Span("a.yaml", 9, 1, 2)), SOURCES).split("\n")[1:] == ["  --> a.yaml:9:1"]
    assert render(Diagnostic("c", "m", Span("nowhere", 1, 1, 2)), {}).split("\n")[1] == "  --> nowhere:1:1"


def test_error_holds_each_problem_once_in_the_order_of_place():
    late, early = (Diagnostic("c", "m", Span("a.yaml", line, 1, 2)) for line in (2, 1))
    error = SpecError([late, early, late], SOURCES)
    assert error.diagnostics == (early, late)
    assert str(error) == f"{render(early, SOURCES)}\n\n{render(late, SOURCES)}"


def test_stage_stops_only_if_there_are_problems():
    stop_if([], SOURCES)
    with pytest.raises(SpecError):
        stop_if([Diagnostic("c", "m", Span("a.yaml", 1, 1, 2))], SOURCES)


def test_hint_is_the_nearest_name_or_all_of_a_few():
    assert did_you_mean("kernal", ["kernel", "stride"]) == "did you mean `kernel`?"
    assert did_you_mean("x", ["width", "stride", "width"]) == "valid here: `width`, `stride`"
    assert did_you_mean("x", []) == ""
    assert did_you_mean("x", map(str, range(100, 200))) == ""
    assert nearest("x", ["width"]) == ""


def test_diagnostic_is_plain_data_for_tools():
    data = as_json(Diagnostic("c", "m", Span("a.yaml", 1, 2, 3), notes=(Note("n", Span("a.yaml", 4, 5, 6)),)))
    assert data["span"] == {"file": "a.yaml", "line": 1, "column": 2, "end_column": 3}
    assert data["notes"] == ({"message": "n", "span": {"file": "a.yaml", "line": 4, "column": 5, "end_column": 6}},)


def test_codes_are_kebab_case_and_each_is_explained_in_a_sentence():
    for code, sentence in CODES.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
        assert sentence[0].isupper()
        assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("count", "noun", "expected"),
    [(1, "image", "1 image"), (0, "image", "0 images"), (1000, "image", "1,000 images"), (1, "class", "1 class"),
     (2, "class", "2 classes"), (1, "category", "1 category"), (3, "category", "3 categories")],
)  # fmt: skip
def test_of_one_there_is_one(count: int, noun: str, expected: str) -> None:
    assert counted(count, noun) == expected


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    assert nearest("LeakyRelu", ["leaky_relu", "relu", "tanh"]) == "did you mean `leaky_relu`?"
    assert nearest("ENCODR", ["encoder", "decoder"]) == "did you mean `encoder`?"
    assert nearest("k", ["K", "L"]) == "did you mean `K`?"
