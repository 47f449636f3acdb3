from fractions import Fraction

import pytest

from ammgraph.spec.names import RESERVED, canonical_factors, check_names, constant_values, table_at
from ammgraph.spec.source import Table, parse, plain


def tree_of(text: str) -> Table:
    tree, problems = parse(text, "a.yaml")
    assert not problems
    assert isinstance(tree, Table)
    return tree


def names_refused(text: str) -> list[str]:
    return [f"{problem.span.line}: {problem.code}" for problem in check_names(tree_of(text))]


def factors(text: str) -> tuple[dict, list[str]]:
    tree, problems = canonical_factors(tree_of(text), {"a.yaml": text})
    return plain(tree)["distributions"], [f"{problem.span.line}: {problem.message}" for problem in problems]


@pytest.mark.parametrize("name", ["x", "Z2", "q_labeled", "K"])
def test_name_is_a_letter_then_letters_digits_and_underscores(name: str):
    assert names_refused(f"variables: {{{name}: 1}}") == []


@pytest.mark.parametrize("name", ["2x", "_x", "x-1", "x y", "é", "x.y", "''", "1"])
def test_other_names_are_refused_in_every_section(name: str):
    for section in ("constants", "variables", "networks", "distributions", "games"):
        assert names_refused(f"{section}: {{{name}: {{}}}}") == ["1: bad-name"]
    assert names_refused(f"networks: {{n: {{layers: {{{name}: {{}}}}}}}}") == ["1: bad-name"]


@pytest.mark.parametrize("word", RESERVED)
def test_words_of_the_language_name_no_variable_network_or_distribution(word: str):
    for section in ("variables", "networks", "distributions"):
        assert names_refused(f"{section}: {{{word}: {{}}}}") == ["1: bad-name"]
    assert names_refused(f"games: {{{word}: {{}}}}\nconstants: {{{word}: 1}}") == []


def test_only_zeros_is_refused_as_a_row():
    assert names_refused("networks:\n  n:\n    layers:\n      data: 1\n      zeros: 1\n") == ["5: bad-name"]


def test_one_name_has_one_meaning():
    assert names_refused("networks: {a: 1}\ndistributions: {a: 1}\n") == ["2: name-clash"]
    assert names_refused("constants: {a: 1}\nvariables: {a: 1}\n") == ["1: name-clash"]
    assert names_refused("games: {a: 1}\nvariables: {a: 1}\nnetworks: {b: {layers: {a: 1, b: 1}}}\n") == []


def test_factor_keys_become_canonical():
    text = "variables: {x: 1, y: 2, z: 3}\ndistributions:\n  q:\n    q( z,x | y ): data\n    'q(y)': data\n"
    assert factors(text) == ({"q": {"q(x,z|y)": "data", "q(y)": "data"}}, [])


def test_factor_twice_is_found_in_any_spelling():
    text = "distributions:\n  p:\n    p(x|y,z): a\n    p( x | z,y ): b\n"
    _, (problem,) = canonical_factors(tree_of(text), {"a.yaml": text})
    assert (problem.code, problem.message) == ("duplicate-factor", "`p(x|y,z)` is written twice")
    assert (str(problem.span), str(problem.notes[0].span)) == ("a.yaml:4:5", "a.yaml:3:5")


def test_letter_of_a_factor_is_the_distributions_name_up_to_the_first_underscore():
    text = "distributions:\n  q_a_b:\n    q(x): data\n    q_a(y): data\n  p:\n    q(x): data\n"
    assert factors(text)[1] == ["4: a factor of `q_a_b` begins with `q`", "6: a factor of `p` begins with `p`"]


def test_key_that_is_no_factor_is_marked_where_it_goes_wrong():
    text = "distributions:\n  q:\n    'q(x|)': data\n"
    _, (problem,) = canonical_factors(tree_of(text), {"a.yaml": text})
    assert (problem.code, problem.span.column, problem.span.end_column) == ("notation", 10, 11)


def test_other_draw_names_a_distribution_with_factors():
    text = "distributions:\n  p: {p(x): data}\n  p_a: p\n  p_b: p_a\n  p_c: p_c\n  p_d: r\n"
    assert factors(text)[1] == [
        "4: `p_a` is itself another draw",
        "5: `p_c` is drawn as itself",
        "6: there is no distribution `r`",
    ]


def test_constants_may_use_earlier_ones():
    text = "constants: {K: 10, L: 2 * K, M: 1/3, N: '4', O: 0.5}"
    values, problems = constant_values(tree_of(text), {"a.yaml": text})
    assert problems == []
    assert values == {"K": 10, "L": 20, "M": Fraction(1, 3), "N": 4, "O": Fraction(1, 2)}


def test_constants_may_not_use_later_ones():
    text = "constants: {K: 2 * L, L: 3, M: [1], N: true, O: 1 / 0}"
    values, problems = constant_values(tree_of(text), {"a.yaml": text})
    assert values == {"L": 3}
    assert [(problem.code, problem.span.column) for problem in problems] == [
        ("notation", 20),
        ("wrong-type", 32),
        ("wrong-type", 40),
        ("notation", 53),
    ]
    assert problems[0].hint == "`L` is not written before `K`"


def test_what_is_no_mapping_is_left_to_the_schema():
    for text in ("variables: [x]\ndistributions: q\nnetworks: 3\n", "distributions: {q: [1]}\n", "title: t\n"):
        tree = tree_of(text)
        assert list(check_names(tree)) == []
        assert canonical_factors(tree, {"a.yaml": text})[1] == []
        assert constant_values(tree, {"a.yaml": text}) == ({}, [])
        assert table_at(tree, "variables", "x").entries == {}
