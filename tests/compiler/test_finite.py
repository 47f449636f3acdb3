"""The log of a probability 0 is refused where something else may give that category more, and nowhere else."""

import pytest
from small_specs import plan_of, problem_of

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
