"""Expressions: their normal form, and how one walk prints them."""

from ammgraph.formulas.expression import (
    Apply,
    Expression,
    Logit,
    Mean,
    Minus,
    Number,
    Product,
    Slope,
    Square,
    Sum,
    mean,
    minus,
    parts,
    plus,
    replaced,
    times,
)
from ammgraph.formulas.notation import Spelling, written

D, G = Logit("q", "critic"), Slope("q", "critic")
SPELLING = Spelling(
    number=lambda value: f"{value:g}",
    leaf=lambda leaf: "d" if isinstance(leaf, Logit) else "|g|",
    function=lambda name, argument: f"{name}({argument})",
    weighted=lambda support, argument: f"sum_{support.variable} {argument}",
    mean=lambda draw, argument: f"E_{draw}[{argument}]",
    functional=lambda name, arguments: f"{name}({', '.join(arguments)})",
    times=" ",
    power=lambda base: f"{base}^2",
)


def shown(expression: Expression) -> str:
    return written(expression, SPELLING)


def test_a_minus_comes_first_and_twice_is_nothing() -> None:
    assert minus(minus(D)) == D
    assert minus(Number(1.0)) == Number(-1.0)
    assert mean("q", Minus(D)) == Minus(Mean("q", D))
    assert times(0.25, Minus(Mean("q", D))) == Minus(Product((Number(0.25), Mean("q", D))))


def test_a_factor_of_one_is_not_written_and_numbers_are_multiplied() -> None:
    assert times(1, D) == D
    assert times(6, Product((Number(0.5), D))) == Product((Number(3.0), D))
    assert times(2, Product((Number(0.5), D))) == D
    assert times(2, Product((Number(0.5), D, G))) == Product((D, G))


def test_a_sum_of_one_term_is_the_term() -> None:
    assert plus(D) == D
    assert plus(D, G) == Sum((D, G))


def test_brackets_stand_where_a_part_holds_together_less_than_its_place_asks() -> None:
    assert shown(Square(Sum((D, Number(-1.0))))) == "(d - 1)^2"
    assert shown(Product((Number(0.5), Square(D)))) == "0.5 d^2"
    assert shown(Product((Number(0.5), Sum((D, G))))) == "0.5 (d + |g|)"
    assert shown(Minus(Sum((D, G)))) == "-(d + |g|)"
    assert shown(Sum((Minus(D), Minus(G), D))) == "-d - |g| + d"
    assert shown(Square(Product((D, G)))) == "(d |g|)^2"
    assert shown(Square(Square(G))) == "(|g|^2)^2"
    assert shown(Apply("softplus", Minus(D))) == "softplus(-d)"
    assert shown(plus(Mean("q", D), times(0.25, mean("p", Minus(D))))) == "E_q[d] - 0.25 E_p[d]"


def test_all_parts_are_found_and_leaves_are_replaced_everywhere() -> None:
    whole = plus(Mean("q", Product((Square(Apply("sigmoid", D)), Square(G)))), Minus(D))
    assert [part for part in parts(whole) if isinstance(part, Logit | Slope)] == [D, G, D]
    other = replaced(whole, lambda leaf: type(leaf)("p", leaf.evaluation))
    assert {part.draw for part in parts(other) if isinstance(part, Logit | Slope)} == {"p"}
    assert replaced(other, lambda leaf: type(leaf)("q", leaf.evaluation)) == whole
