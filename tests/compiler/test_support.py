"""The log of a probability 0 that something else gives, and Bernoulli outside of [0, 1], are refused; else nothing."""

import pytest
from small_specs import plan_of, problem_of, problems_of

SPEC = """
constants: {K: 3}
data: {dataset: npz, path: data.npz}
networks:
  critic: null
  decoder: {layers: {h: {channels: 7}}}
distributions:
  p: {p(y): [0.5, 0.5, 0], p(z|y): components.z, "p(x|y,z)": decoder.x}
  m: {m(y): [0, 0.5, 0.5]}
  n: {n(y): [0, 1, 0]}
  t: {t(y): p.y}
  u: {u(y): uniform}
  b:
    b(x): data
    b(z|x): encoder.z
    b(y|x,z): {bayes: p}
games: {joint: null}
terms:
  term:
    minimize: >-
      %s + E[m] l2(y) + E[n] l2(y) + E[t] l2(y) + E[b] H(b(y|x,z)) + E[q] KL(q(y|x) || u(y))
      + E[b] KL(b(z|x) || p(z|y)) - E[q] log p(x|y,z)
"""


@pytest.mark.parametrize(
    "term",
    [
        "KL(p(y) || E[q] q(y|x))",
        "KL(n(y) || p(y))",
        "E[p] log p(y) + E[t] log p(y) + E[n] log m(y)",
        "E[b] KL(b(y|x,z) || p(y)) + E[b] H(b(y|x,z)) - E[b] log p(y)",
        "E[q] KL(q(y|x) || u(y)) + E[q] log q(y|x)",
    ],
)
def test_what_has_0_log_0_alone_is_finite(term: str) -> None:
    plan_of(SPEC % term)


@pytest.mark.parametrize(
    ("term", "function", "factor"),
    [
        ("E[q] KL(q(y|x) || p(y))", "KL(q(y|x) || p(y))", "p(y)"),
        ("KL(E[q] q(y|x) || p(y))", "KL(E[q] q(y|x) || p(y))", "p(y)"),
        ("KL(p(y) || m(y))", "KL(p(y) || m(y))", "m(y)"),
        ("KL(E[b] b(y|x,z) || p(y))", "KL(E[b] b(y|x,z) || p(y))", "p(y)"),
        ("E[b] KL(b(y|x,z) || m(y))", "KL(b(y|x,z) || m(y))", "m(y)"),
        ("E[b] KL(q(y|x) || b(y|x,z))", "KL(q(y|x) || b(y|x,z))", "p(y)"),
        ("-E[q] log p(y)", "log p(y)", "p(y)"),
        ("-E[u] log m(y)", "log m(y)", "m(y)"),
        ("-E[t] log m(y)", "log m(y)", "m(y)"),
        ("-E[b] log m(y)", "log m(y)", "m(y)"),
    ],
)
def test_what_may_be_infinite_is_refused(term: str, function: str, factor: str) -> None:
    message = f"impossible-term: `{function}` is infinite: `{factor}` gives a category probability 0"
    assert problem_of(SPEC % term) == message


BERNOULLI = """
data: {dataset: npz, path: data.npz}
networks:
  encoder: {layers: {h: {op: linear, width: null}}}
  decoder: {layers: {v: {input: z, channels: 4, width: 1, activation: sigmoid}}}
  critic: null
variables:
  x: {%s}
  v: {type: real, size: 4}
distributions:
  q: {%s, q(y|x): encoder.y, q(z|x): encoder.z}
  p: {p(y): uniform, p(z|y): components.z, "p(x|y,z)": decoder.x, p(v|z): decoder.v}
games: {joint: null}
terms:
  term: {minimize: "-E[q] log p(x|y,z) - E[q] log p(v|z)"}
  code: {minimize: "E[q] KL(q(z|x) || p(z|y)) + E[q] H(q(y|x))"}
"""


def bernoulli(image: str = "range: [0, 1]", v: str = "uniform(0, 1)") -> str:
    return BERNOULLI % (image, f"q(x): data, q(v): {v!r}")


@pytest.mark.parametrize("given", [{}, {"image": "range: [0, 0.5]"}, {"v": "uniform(0.25, 0.5)"}])
def test_a_bernoulli_density_of_numbers_between_0_and_1_is_one(given: dict[str, str]) -> None:
    plan_of(bernoulli(**given))


@pytest.mark.parametrize(
    ("given", "scored", "variable"),
    [
        ({"image": "range: [-1, 1]"}, "p(x|y,z)", "x"),
        ({"image": "range: [0, 255]"}, "p(x|y,z)", "x"),
        ({"v": "normal"}, "p(v|z)", "v"),
        ({"v": "uniform(0, 2)"}, "p(v|z)", "v"),
    ],
)
def test_one_of_other_numbers_is_refused(given: dict[str, str], scored: str, variable: str) -> None:
    message = f"impossible-term: `{scored}` is Bernoulli, of numbers in [0, 1], and `{variable}` of `q` has others"
    assert problem_of(bernoulli(**given)) == message


@pytest.mark.parametrize(("scale", "refused"), [("standardize", True), ("minmax", False), ("none", False)])
def test_a_vector_of_the_data_is_scored_where_it_is_scaled_to_that_or_not_at_all(scale: str, refused: bool) -> None:
    text = BERNOULLI % ("range: [0, 1]", '"q(x,v)": data')
    text = text.replace("path: data.npz", f"path: data.npz, fields: {{v: vector}}, scale: {scale}")
    if not refused:
        plan_of(text)
        return
    (problem,) = problems_of(text)
    assert (problem.code, problem.found) == ("impossible-term", "`scale: standardize` of `data`")
    assert problem.expected.startswith("`scale: minmax` of `data`, or a normal row")


def test_rows_that_are_known_to_give_others_are_refused() -> None:
    text = bernoulli().replace("q(v): 'uniform(0, 1)'", "q(v|x): encoder.v")
    rows = "  encoder: {layers: {h: {op: linear, width: null}, v: {input: h, channels: 4, width: 1, activation: %s}}}"
    text = text.replace("  encoder: {layers: {h: {op: linear, width: null}}}", rows)
    plan_of(text % "sigmoid")
    (problem,) = problems_of(text % "tanh")
    assert (problem.found, problem.expected.partition(",")[0]) == ("`encoder.v` ends in `tanh`", "a row with `sigmoid`")


@pytest.mark.parametrize(("image", "refused"), [("[0, 1]", False), ("[-1, 1]", True)])
def test_a_posterior_by_a_bernoulli_density_is_of_such_numbers_though_no_term_names_it(
    image: str, refused: bool
) -> None:
    text = f"""
        variables: {{x: {{range: {image}}}}}
        networks: {{encoder: {{layers: {{y: null, a: null}}}}}}
        distributions:
          q: {{q(x): data, q(z|x): encoder.z, "q(y|x,z)": {{bayes: p}}}}
        """
    if not refused:
        plan_of(text)
        return
    (problem,) = problems_of(text)
    assert problem.message == "`p(x|y,z)` is Bernoulli, of numbers in [0, 1], and `x` of `q` has others"
