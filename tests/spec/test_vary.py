"""`--vary`: intervals of whole and real numbers, ratios, and choices, which are written as `--set` takes them."""

import pytest

from ammgraph.spec.load import load_text
from ammgraph.spec.vary import parse_axis


@pytest.mark.parametrize(
    ("text", "extremes", "size"),
    [
        ("a=1..3", ("a=1", "a=3"), 3),
        ("a.b = 1.0..3", ("a.b=1.0", "a.b=3.0"), None),
        ("a=1e-4..1e-2:log", ("a=0.0001", "a=0.01"), None),
        ("a=8..64:log", ("a=8", "a=64"), 57),
        ("a=-2..2", ("a=-2", "a=2"), 5),
        ("a=.5..1.", ("a=0.5", "a=1.0"), None),
        ("a=relu,leaky_relu 0.2", ("a=relu", "a=leaky_relu 0.2"), 2),
        ("a=[0.5, 0.9],[0.9, 0.99]", ("a=[0.5, 0.9]", "a=[0.9, 0.99]"), 2),
        ("a={name: adam, learning_rate: 1},null", ("a={name: adam, learning_rate: 1}", "a=null"), 2),
        ("a='x, y','z'", ("a='x, y'", "a='z'"), 2),
    ],
)
def test_what_is_tried_is_written_as_set_takes_it(text: str, extremes: tuple[str, ...], size: int | None) -> None:
    axis = parse_axis(text)
    assert (axis.extremes, axis.size, str(axis)) == (extremes, size, text)
    if size is not None:
        assert len({axis.set(value) for value in axis.values}) == size


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a", "`a`: expected `KEY=LOW..HIGH`, `KEY=LOW..HIGH:log` or `KEY=A,B,C`"),
        ("=1,2", "`=1,2`: expected `KEY=LOW..HIGH`"),
        ("a=", "`a=`: expected `KEY=LOW..HIGH`"),
        ("a=1", "`a=1` varies nothing: expected two different values or more"),
        ("a=1,1", "`a=1,1` varies nothing"),
        ("a=1,,2", "`a=1,,2` varies nothing"),
        ("a=[1,2]", "`a=[1,2]` varies nothing"),
        ("a=3..1", "expected an interval whose first number is the smaller one, found 3..1"),
        ("a=2..2", "expected an interval whose first number is the smaller one, found 2..2"),
        ("a=0..1:log", "expected positive numbers, for `:log` tries ratios; found 0"),
        ("a=0..1:ratio", "`a=0..1:ratio` is no interval: found `:ratio`, expected `:log` or nothing after the "),
        ("a=50..100:lin", "found `:lin`, expected `:log` or nothing after the numbers; expected `KEY=LOW..HIGH`"),
        ("a=50..100:", "found `:`, expected `:log` or nothing"),
        ("a=8...12", "`a=8...12` is no interval: found `...`, expected two dots; expected `KEY=LOW..HIGH`"),
        ("a=8....12:log", "found `....`, expected two dots"),
        ("a=8..", "`a=8..` is no interval: the last number is missing; expected `KEY=LOW..HIGH`"),
        ("a=..8", "the first number is missing"),
        ("a=8..1O", "`1O` is no number"),
        ("a=eight..12:log", "`eight` is no number"),
        ("a=0..1e999", "expected an interval"),
    ],
)
def test_what_varies_nothing_is_refused_with_what_was_expected(text: str, told: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        parse_axis(text)
    assert told in str(refused.value)


def test_a_real_number_that_is_tried_has_few_digits_and_stays_between_the_ends() -> None:
    axis = parse_axis("a=0.00012345..0.01:log")
    assert axis.rounded(0.0023456789) == 0.002346
    assert axis.rounded(0.00012345) == 0.00012345  # 0.0001234 lies below
    assert axis.set(axis.rounded(1 / 3e4 * 10)) == "a=0.0003333"


def test_every_number_that_is_tried_is_one_of_the_language() -> None:
    for value in (1e-05, 1.5e-07, 123456789.0, 1e22):
        text = parse_axis("constants.c=1e-9..1e30:log").set(value).partition("=")[2]
        spec = load_text(f"ammgraph: 1\nextends: base.yaml\nconstants: {{c: {text}}}\n", "ammgraph/docs/own.yaml")
        assert spec.constants["c"] == value
