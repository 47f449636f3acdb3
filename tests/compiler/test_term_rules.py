"""What is legal in terms and probably not meant is told, and what is meant is not."""

import pytest
from small_specs import plan_of, problems_of

CLASSIFIER = """
networks:
  classifier:
    layers:
      h: {input: x, op: linear, channels: 4}
      a: {input: h, channels: K, width: 1}
      y: {input: a, activation: softmax}
distributions:
  c: {c(y|x): classifier.y}
  n: {n(z): normal}
terms:
  all: {minimize: "-E[q] log c(y|x) + E[q] KL(q(z|x) || n(z)) - E[q] log p(x|y,z)"}
"""


def warnings_of(term: str, *overrides: str, more: str = "") -> list[str]:
    """What is told of a term, as `code: message`."""
    text = f"{CLASSIFIER}  one: {{minimize: '{term}'{more}}}\n"
    return [f"{warning.code}: {warning.message}" for warning in plan_of(text, *overrides).warnings]


SECOND = """
variables: {w: {type: real, size: 4}}
networks:
  encoder: {layers: {w_mu: {input: WHAT, channels: 4, width: 1}, w: {input: w_mu + NOISE}}}
distributions:
  q: {q(x): data, q(y|x): encoder.y, q(z|x): encoder.z, "FACTOR": encoder.w}
  m: {m(w): normal}
terms: {one: {minimize: "E[q] KL(FACTOR || m(w)) - E[q] log q(z|x)"}}
"""


def test_noise_serves_one_factor_or_none_has_a_density() -> None:
    own = "w_sigma}, w_sigma: {input: h, channels: 4, width: 1, activation: expn"
    text = SECOND.replace("WHAT", "h").replace("FACTOR", "q(w|x)")
    plan_of(text.replace("NOISE", own))
    found = problems_of(text.replace("NOISE", "z_sigma"))
    assert [(problem.code, problem.found) for problem in found] == [("no-density", "row `z_sigma` of both")] * 2
    through = SECOND.replace("WHAT", "h | z").replace("FACTOR", "q(w|x,z)")  # z's noise through z, which is given
    plan_of(through.replace("NOISE", own))


def test_bayes_rule_takes_no_density_of_factors_that_share_their_noise() -> None:
    text = """
        variables: {w: {type: real, size: 4}}
        networks:
          encoder: {layers: {a: null, y: null, w: {input: h, channels: 4, width: 1}}}
          components: {layers: {w: {input: z_mu + NOISE}, w_sigma: {input: zeros(4), activation: expn}}}
          critic: null
        distributions:
          q: {q(x): data, q(z|x): encoder.z, q(w|x): encoder.w, "q(y|z,w)": {bayes: p}}
          p: {p(y): uniform, p(z|y): components.z, p(w|y): components.w}
          d: {"d(x|y,z)": decoder.x}
        games: {joint: null}
        terms: {one: {minimize: "-E[q] log d(x|y,z)"}}
        """
    plan_of(text.replace("NOISE", "w_sigma"))
    found = problems_of(text.replace("NOISE", "z_sigma"))
    assert [(problem.message, problem.found) for problem in found] == [
        ("Bayes' rule needs the density of `p(z|y)`, which has none", "noise `z_sigma` of `p(w|y)`"),
        ("Bayes' rule needs the density of `p(w|y)`, which has none", "noise `z_sigma` of `p(z|y)`"),
    ]


@pytest.mark.parametrize(
    "term",
    [
        "-E[q] log p(x|y,z)",
        "E[q] log q(z|x)",  # minus the entropy of what is drawn
        "E[q] log q(z|x) - E[q] log n(z)",
        "E[p] log p(z|y) - E[p] log q(z|x)",
        "E[q] H(c(y|x)) - H(E[q] c(y|x))",
        "KL(E[p] c(y|x) || E[q] c(y|x))",
        "E[q] l2(z, encoder.z_mu)",
        "E[q] l2(x, decoder.x)",
        "l2(E[q] x, E[p] x)",
    ],
)
def test_a_term_that_is_meant_gives_no_warning(term: str) -> None:
    assert warnings_of(term) == []


@pytest.mark.parametrize(
    ("term", "factor"),
    [
        ("E[q] log p(x|y,z)", "p(x|y,z)"),
        ("2 * E[q] log c(y|x)", "c(y|x)"),
        ("E[q] H(c(y|x)) + E[p] log q(z|x)", "q(z|x)"),
        ("E[q] log q(z|x) + E[q] log n(z)", "n(z)"),
    ],
)
def test_a_log_that_is_minimised_is_told(term: str, factor: str) -> None:
    message = f"suspicious-sign: `log {factor}` is minimised: what is likely becomes unlikely"
    assert warnings_of(term) == [message]


@pytest.mark.parametrize(
    ("item", "what"),
    [
        ("E[q] l2(z, encoder.z)", "is 0 and has no gradient"),
        ("E[q] KL(q(z|x) || q(z|x))", "is 0 and has no gradient"),
        ("KL(E[q] c(y|x) || E[q] c(y|x))", "is 0 and has no gradient"),
        ("l1(E[p] x, E[p] decoder.x)", "is 0 and has no gradient"),
        ("E[q] l2(x)", "is a constant"),
        ("E[p] log p(y)", "is a constant"),
        ("H(p(y))", "is a constant"),
    ],
)
def test_an_item_without_a_gradient_is_told(item: str, what: str) -> None:
    assert warnings_of(f"E[q] H(c(y|x)) + {item}") == [f"no-effect: `{item}` {what}"]


def test_a_sample_that_is_taken_from_another_distribution_is_that_sample() -> None:
    text = CLASSIFIER.replace("terms:", "  d: {d(z): q.z}\nterms:") + "  one: {minimize: '%s'}\n"
    plan = plan_of(text % "E[q] H(c(y|x)) + l2(E[d] z, E[q] z)")
    assert [warning.message for warning in plan.warnings] == ["`l2(E[d] z, E[q] z)` is 0 and has no gradient"]


def test_weights_players_and_turns_of_terms_have_an_effect() -> None:
    assert warnings_of("E[q] H(c(y|x))", more=", weight: 0") == [
        "no-effect: the weight of `one` is 0 all through the training"
    ]
    turns = "{update: [critic]}, {update: [encoder, decoder, components, classifier], games: [joint], terms: %s}"
    schedule = f"training.schedule=[{turns}]"
    assert warnings_of("E[q] H(c(y|x))", schedule % "[all, one]") == []
    assert warnings_of("E[q] H(c(y|x))", schedule % "[all]") == ["no-effect: no turn takes `one`"]
    critic = schedule.replace("[critic]", "[critic], games: [joint], terms: [one]")
    assert warnings_of("E[q] H(c(y|x))", critic % "[all, one]") == [
        "no-effect: `one` trains none of the networks that this turn updates"
    ]
    both = "[{update: [critic, encoder, components, classifier]}, {update: [decoder], games: [joint]}]"
    assert warnings_of("-E[q] log p(x|y,z)", f"training.schedule={both}", more=", trains: [encoder, decoder]") == [
        "no-effect: `one` trains `decoder` in no turn"
    ]
