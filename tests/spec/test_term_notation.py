"""The notation of terms: what is printed is read again as the same, numbers are exact, errors stand where they are."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ammgraph.formulas.functions import FUNCTIONALS
from ammgraph.spec.names import RESERVED
from ammgraph.spec.notation import Reference, number_text
from ammgraph.spec.terms import Expected, FactorUse, Move, NeedsExpectation, Of, Term, ValueUse, parse_term
from ammgraph.spec.tokens import NotationError

CONSTANTS = {"K": Fraction(10), "beta": Fraction(1, 2), "nothing": Fraction(0)}

names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,3}", fullmatch=True).filter(
    lambda name: name not in {*RESERVED, *FUNCTIONALS, "E", *CONSTANTS}
)
pairs = st.lists(st.tuples(names, names), max_size=2, unique_by=lambda pair: pair[0]).map(tuple)
factors = st.builds(
    FactorUse, names, st.lists(names, min_size=1, max_size=2, unique=True).map(tuple), pairs, st.booleans()
).filter(lambda factor: not set(factor.variables) & {own for own, _ in factor.given})
values = st.builds(ValueUse, names | st.builds(Reference, names, names, pairs), st.booleans())
sizes = st.integers(1, 10**6).map(lambda n: Fraction(n, 1000))
moves = st.builds(Move, names, sizes, names | st.just(""), sizes)


def functions(factor: st.SearchStrategy, value: st.SearchStrategy) -> st.SearchStrategy[Of]:
    return st.one_of(
        st.builds(Of, st.just("H"), st.tuples(factor)),
        st.builds(Of, st.just("KL"), st.tuples(factor, factor)),
        st.builds(Of, st.sampled_from(["l1", "l2"]), st.tuples(value, value)),
    )


inner = (
    functions(factors, values)
    | st.builds(Of, st.just("log"), st.tuples(factors))
    | st.builds(Of, st.sampled_from(["l1", "l2", "sum", "exp", "softplus"]), st.tuples(values))
    | st.builds(Of, st.just("vat"), st.tuples(factors.filter(lambda factor: not factor.stopped)), moves)
)
inner |= st.builds(lambda of, least: replace(of, least=least), inner, st.integers(-9, 9).map(Fraction))
outer = functions(factors | st.builds(Expected, names, factors), st.builds(Expected, names, values))
# What is printed with as many digits as it has.
numbers = st.integers(1, 10**6).map(lambda n: Fraction(n, 1000)) | st.integers(-(10**6), -1).map(
    lambda n: Fraction(n, 1000)
)
items = (
    st.builds(Expected, names, inner)
    | outer
    | st.builds(Of, st.just("pull_away"), st.tuples(st.builds(Expected, names, values)))
    | st.builds(
        Of,
        st.sampled_from(["affinity", "balance"]),
        st.tuples(st.builds(Expected, names, values)),
        st.none(),
        st.integers(1, 9),
    )
)
items |= st.builds(lambda item, least: replace(item, least=least), items, st.integers(-9, 9).map(Fraction))
terms = st.builds(Term, st.lists(st.tuples(numbers, items), min_size=1, max_size=3).map(tuple))


@given(terms)
def test_printing_and_parsing_again_is_the_identity(term: Term) -> None:
    text = str(term)
    if len(text) <= 200:
        assert parse_term(text, {}) == term
        assert str(parse_term(text, {})) == text


@given(terms)
def test_spaces_make_no_difference(term: Term) -> None:
    text = str(term).replace("(", " ( ").replace("|", " | ").replace(" |  | ", " || ").replace("[", " [ ")
    if len(text) <= 200:
        assert parse_term(text, {}) == term


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", 1),
        ("-", -1),
        ("2 * ", 2),
        ("-2 * ", -2),
        ("1/3 * ", Fraction(1, 3)),
        ("0.1 * ", Fraction(1, 10)),
        ("1e-3 * ", Fraction(1, 1000)),
        ("K * ", 10),
        ("-beta * ", Fraction(-1, 2)),
    ],
)
def test_a_number_is_exact(written: str, value: Fraction) -> None:
    ((coefficient, _),) = parse_term(f"{written}E[q] H(c(y|x))", CONSTANTS).parts
    assert coefficient == value


@pytest.mark.parametrize(
    ("by_name", "written"),
    [
        ("affinity[p](classifier.h, K)", "affinity[p](classifier.h, 10)"),
        ("max(E[q] H(c(y|x)), beta)", "max(E[q] H(c(y|x)), 0.5)"),
        ("E[q] vat(c(y|x), x, beta, K)", "E[q] vat(c(y|x), x, 1/2, 10)"),
    ],
)
def test_a_constant_stands_wherever_a_number_does(by_name: str, written: str) -> None:
    assert str(parse_term(by_name, CONSTANTS)) == str(parse_term(written, CONSTANTS))


def test_a_name_of_a_constant_is_a_name_behind_the_star() -> None:
    (_, first), (_, second) = parse_term("K * E[K] H(K(y|x)) - E[q] l2(K, beta.K)", CONSTANTS).parts
    assert str(first) == "E[K] H(K(y|x))"
    assert str(second) == "E[q] l2(K, beta.K)"


def test_parts_know_their_columns() -> None:
    text = "2 * E[q] KL(q(z|x) || p(z)) - l2(E[q] x, E[p] decoder(z=v).x)"
    first, second = (item for _, item in parse_term(text, {}).parts)
    assert isinstance(first, Expected)
    assert isinstance(first.of, Of)
    assert isinstance(second, Of)
    parts = [first, first.of, *first.of.arguments, second, *second.arguments, *(a.of for a in second.arguments)]
    assert [text[part.start : part.end] for part in parts] == [
        *("q", "KL(q(z|x) || p(z))", "q(z|x)", "p(z)"),
        *("l2(E[q] x, E[p] decoder(z=v).x)", "q", "p", "x", "decoder(z=v).x"),
    ]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", (0, 1), "the text ends too early"),
        ("E[q] log p(x|z) extra", (16, 21), "unexpected `extra`"),
        ("E[q] log p(x|z) * 2", (16, 17), "a number stands before what it multiplies"),
        ("2 E[q] log p(x|z)", (2, 3), "unexpected `E`"),
        ("0 * E[q] log p(x|z)", (0, 1), "the number is 0: what it multiplies has no effect"),
        ("nothing * E[q] log p(x|z)", (0, 7), "the number is 0: what it multiplies has no effect"),
        ("1/0 * E[q] log p(x|z)", (0, 3), "division by zero"),
        ("alpha * E[q] log p(x|z)", (0, 5), "`alpha` is neither a function of a term nor a constant"),
        ("E[q] E[p] log p(x|z)", (5, 6), "an expectation holds no other"),
        ("E[q, p] log p(x|z)", (3, 4), "unexpected `,`"),
        ("E[q] KL(q(z|x), p(z))", (14, 15), "unexpected `,`"),
        ("E[q] log p(x|z,z)", (15, 16), "`z` stands twice in one factor"),
        ("E[q] l2(x, y, z)", (12, 13), "unexpected `,`"),
        ("E[q] H(c(y|x)) # no", (15, 16), "unexpected character `#`"),
        ("E[q] stop H(c(y|x))", (5, 9), "unexpected `stop`"),
        ("stop E[q] H(c(y|x))", (0, 4), "`stop` is neither a function of a term nor a constant"),
        ("E[q] H(stop stop c(y|x))", (17, 18), "a factor is written `p(x|z)`"),
        ("E[q] max(H(c(y|x)))", (18, 19), "unexpected `)`"),
        ("max(max(E[q] H(c(y|x)), 1), 2)", (4, 7), "a `max` holds no other"),
        ("E[q] max(E[q] H(c(y|x)), 1)", (9, 10), "unexpected `E`"),
        ("max(H(c(y|x)), r)", (15, 16), "unexpected `r`"),
        ("pull_away(E[p] classifier.h)", (9, 10), "unexpected `(`"),
        ("E[p] pull_away(classifier.h)", (5, 14), "unexpected `pull_away`"),
        ("pull_away[p](classifier.h, 2)", (25, 26), "unexpected `,`"),
        ("affinity[p](classifier.h, 0.5)", (26, 29), "0.5 is no number of groups"),
        ("E[q] vat(stop c(y|x), x, 1, 1)", (9, 13), "`vat` under `stop` has no gradient"),
        ("E[q] vat(c(y|x))", (15, 16), "unexpected `)`"),
        ("E[q] vat(c(y|x), x, 1)", (21, 22), "unexpected `)`"),
        ("E[q] vat(c(y|x), x, 0.5 * 2, 1)", (26, 27), "unexpected `2`"),
        ("E[q] vat(c(y|x), x, nothing, 1)", (20, 27), "radius is 0: nothing is moved"),
        ("E[q] vat(c(y|x), x, 1, r)", (23, 24), "unexpected `r`"),
        ("E[q] vat(c(y|x), x, 1, 0/2)", (23, 26), "xi is 0: nothing is moved"),
    ],
)
def test_an_error_stands_where_it_is(text: str, columns: tuple[int, int], message: str) -> None:
    with pytest.raises(NotationError) as caught:
        parse_term(text, CONSTANTS)
    assert ((caught.value.start, caught.value.end), caught.value.message) == (columns, message)
    assert caught.value.code == "notation"


@pytest.mark.parametrize(
    ("text", "columns"),
    [("-log p(x|z)", (1, 11)), ("E[q] H(c(y|x)) + log p(y)", (17, 25)), ("l2(x, decoder.x)", (3, 4))],
)
def test_what_is_taken_at_no_samples_is_told_as_such(text: str, columns: tuple[int, int]) -> None:
    with pytest.raises(NeedsExpectation) as caught:
        parse_term(text, CONSTANTS)
    assert (caught.value.start, caught.value.end) == columns
    assert caught.value.code == "needs-expectation"


@pytest.mark.parametrize("function", ["sum", "exp", "softplus"])
def test_what_is_of_one_value_is_advised_with_one(function: str) -> None:
    with pytest.raises(NeedsExpectation) as caught:
        parse_term(f"{function}(critic.p)", CONSTANTS)
    assert caught.value.hint == f"`E[q] {function}(a)` is of each example, `{function}(E[q] a)` of the mean"
    for written in (f"E[q] {function}(critic.p)", f"{function}(E[q] critic.p)"):
        assert str(parse_term(written, CONSTANTS)) == written


def test_a_row_alone_is_advised_with_a_sum_that_can_be_written() -> None:
    with pytest.raises(NotationError) as caught:
        parse_term("E[q] critic.p", CONSTANTS)
    advised = caught.value.hint.partition("`")[2].rstrip("`")
    assert advised == "sum(critic.p)"
    assert str(parse_term(f"E[q] {advised}", CONSTANTS)) == "E[q] sum(critic.p)"
    for unfinished in ("E[q] critic.", "E[q] critic.)"):
        with pytest.raises(NotationError) as caught:
            parse_term(unfinished, CONSTANTS)
        assert caught.value.hint == ""


def test_numbers_are_printed_as_they_are_read() -> None:
    assert str(parse_term("1/3 * E[q] H(c(y|x))", {})) == f"{number_text(Fraction(1, 3))} * E[q] H(c(y|x))"


@pytest.mark.parametrize(
    ("radius", "factor", "times"),
    [("4", 4, ""), ("1/4 * e", Fraction(1, 4), "e"), ("e", 1, "e"), ("beta", Fraction(1, 2), ""), ("K * e", 10, "e")],
)
def test_how_far_a_variable_is_moved_is_a_number_a_constant_or_a_multiple_of_a_variable(
    radius: str, factor: Fraction, times: str
) -> None:
    ((_, item),) = parse_term(f"E[q] vat(c(y|x=v), v, {radius}, K)", CONSTANTS).parts
    assert isinstance(item, Expected)
    assert isinstance(item.of, Of)
    assert item.of.move == Move("v", Fraction(factor), times, Fraction(10))
