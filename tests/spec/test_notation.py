from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ammgraph.spec.notation import (
    Call,
    Factor,
    Input,
    Named,
    Reference,
    Times,
    Zeros,
    number_text,
    parse_factor,
    parse_input,
    parse_number,
    parse_reference,
    parse_side,
    parse_source,
)
from ammgraph.spec.tokens import NotationError

K = {"K": Fraction(10)}
names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,6}", fullmatch=True)
rows = names.filter(lambda name: name != "zeros")


def error(parse, text: str, *more: object) -> tuple[int, int, str]:
    with pytest.raises(NotationError) as caught:
        parse(text, *more)
    return caught.value.start, caught.value.end, caught.value.message


def refusal(parse, text: str, *more: object) -> NotationError | None:
    try:
        parse(text, *more)
    except NotationError as problem:
        return problem
    return None


def test_factor_has_a_letter_variables_and_conditions():
    assert parse_factor("q(z,y|x)") == Factor("q", ("z", "y"), ("x",))
    assert parse_factor(" p ( x | y , z ) ") == Factor("p", ("x",), ("y", "z"))
    assert str(parse_factor("p( y )")) == "p(y)"


def test_canonical_factor_has_variables_in_the_order_of_declaration():
    order = {"x": 0, "y": 1, "z": 2}
    assert str(parse_factor("q(z,y|x)").canonical(order)) == "q(y,z|x)"
    assert str(parse_factor("p(x|z,y)").canonical(order)) == "p(x|y,z)"
    assert str(parse_factor("p(b,a,x)").canonical(order)) == "p(x,a,b)", "undeclared names come last, by name"


@given(names, st.lists(names, min_size=2, max_size=6, unique=True), st.integers(1, 5))
def test_factor_is_what_its_text_says(head: str, variables: list[str], cut: int):
    factor = Factor(head, tuple(variables[:cut]), tuple(variables[cut:]))
    assert parse_factor(str(factor)) == factor
    assert parse_factor(str(factor).replace(",", " , ")) == factor


def test_errors_of_a_factor_point_into_it():
    assert error(parse_factor, "q(y|x") == (5, 6, "the factor's parenthesis is not closed")
    assert error(parse_factor, "q(y|)") == (4, 5, "unexpected `)`")
    assert error(parse_factor, "q(y|x;z)") == (5, 6, "unexpected character `;`")
    assert error(parse_factor, "q(y|y)") == (4, 5, "`y` stands twice in one factor")
    assert error(parse_factor, "q(y) r") == (5, 6, "unexpected `r`")
    assert error(parse_factor, "") == (0, 1, "the text ends too early")


def test_reference_names_a_row_under_a_binding():
    assert parse_reference("encoder.z") == Reference("encoder", "z")
    assert parse_reference("encoder(x=x2, y=y2).z") == Reference("encoder", "z", (("x", "x2"), ("y", "y2")))
    assert error(parse_reference, "critic") == (6, 7, "`critic` needs a row after it")
    assert error(parse_reference, "critic(x).p") == (8, 9, "unexpected `)`")


@given(names, names, st.lists(st.tuples(names, names), max_size=3))
def test_reference_is_what_its_text_says(owner: str, row: str, bindings: list[tuple[str, str]]):
    reference = Reference(owner, row, tuple(bindings))
    assert parse_reference(str(reference)) == reference


def test_source_is_a_word_or_a_reference():
    assert parse_source("data.labeled", {}) == Call("data.labeled")
    assert parse_source("uniform(-1, K / 4)", K) == Call("uniform", (Fraction(-1), Fraction(5, 2)))
    assert str(parse_source("uniform( -1,0.5 )", {})) == "uniform(-1, 0.5)"
    assert parse_source("encoder(x=x2).z", {}) == Reference("encoder", "z", (("x", "x2"),))
    assert parse_source("q.y", {}) == Reference("q", "y")
    assert error(parse_source, "data.", {}) == (5, 6, "the text ends too early")


def test_sum_binds_tighter_than_joining_channels():
    assert parse_input("a + b | c", {}) == Input(((Named("a", 0), Named("b", 4)), (Named("c", 8),)))
    product = Times((Named("a", 0), Named("b", 4)))
    assert parse_input("a * b + c | d", {}) == Input(((product, Named("c", 8)), (Named("d", 12),)))
    assert [name.name for name in parse_input("a * b * a + c", {}).names] == ["a", "b", "a", "c"]
    assert parse_input("zeros(2 * K + 4)", K) == Input(((Zeros(24),),))
    assert [name.start for name in parse_input("y1+z1|zeros(3)|x", {}).names] == [0, 3, 15]


@given(st.lists(st.lists(rows | st.integers(1, 999), min_size=1, max_size=3), min_size=1, max_size=3))
def test_input_is_what_its_text_says(parts: list[list[str | int]]):
    atoms = tuple(tuple(Named(atom) if isinstance(atom, str) else Zeros(atom) for atom in part) for part in parts)
    text = str(Input(atoms))
    assert str(parse_input(text, {})) == text


def test_zeros_are_a_whole_number_of_channels():
    for text, channels in {
        "zeros(0)": "0",
        "zeros(K / 3)": "10/3",
        "zeros(-1)": "-1",
        "zeros(1e36)": "1e+36",
    }.items():
        message = f"`zeros` takes a whole number of channels, not {channels}"
        assert error(parse_input, text, K) == (6, len(text) - 1, message)


def test_side_is_a_weighted_sum():
    assert parse_side("q") == ((Fraction(1), "q"),)
    assert parse_side("1/2 p + 0.5*r") == ((Fraction(1, 2), "p"), (Fraction(1, 2), "r"))
    assert error(parse_side, "1/0 p") == (2, 3, "division by zero")
    assert error(parse_side, "1/2") == (3, 4, "the text ends too early")


def test_arithmetic_is_exact():
    assert parse_number("1/3 + 1/6", {}) == Fraction(1, 2)
    assert parse_number("2 * (K + 1) - -K / 4", K) == Fraction(49, 2)
    assert parse_number("0.1 + 2e-1", {}) == Fraction(3, 10)
    assert parse_number("- -1", {}) == 1


def test_errors_of_arithmetic_point_into_it():
    assert error(parse_number, "2 * L", K) == (4, 5, "`L` is not a constant")
    assert error(parse_number, "1 / (2 - 2)", {}) == (4, 11, "division by zero")
    assert error(parse_number, "010", {}) == (0, 3, "a number has no leading zero")
    assert error(parse_number, "1e400", {}) == (0, 5, "the number is too large")
    assert error(parse_number, "2 + (1e-200 * 1e-200)", {}) == (5, 20, "the number is too small")
    assert error(parse_number, "1e99999", {}) == (0, 7, "the exponent 99999 is too large")
    assert error(parse_number, "(" * 300, {}) == (0, 300, "300 characters are too many here")
    assert error(parse_number, "٣", {}) == (0, 1, "unexpected character `٣`")


def test_deepest_nesting_that_fits_is_read():
    assert parse_number("(" * 99 + "1" + ")" * 99, {}) == 1
    assert parse_number("-" * 198 + "1", {}) == 1


@given(st.fractions(-(10**6), 10**6, max_denominator=10**5))
def test_printed_fraction_is_the_fraction(value: Fraction):
    assert parse_number(number_text(value), {}) == value


@given(st.floats(-1e37, 1e37).filter(lambda value: value == 0 or abs(value) > 1e-200))
def test_printed_float_is_the_float(value: float):
    assert float(parse_number(number_text(value), {})) == value


def test_numbers_print_as_a_person_writes_them():
    numbers = [Fraction(10), Fraction(1, 2), Fraction(1, 3), 0.2, 1e-4]
    assert [number_text(number) for number in numbers] == ["10", "0.5", "1/3", "0.2", "0.0001"]


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str):
    refusals = [refusal(parse, text) for parse in (parse_factor, parse_reference, parse_side)]
    refusals += [refusal(parse, text, K) for parse in (parse_source, parse_input, parse_number)]
    for problem in refusals:
        assert problem is None or 0 <= problem.start < problem.end <= len(text) + 1
