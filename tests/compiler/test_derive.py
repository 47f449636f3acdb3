"""What a factorization brings with it: densities, the Bayes classifier, readouts, reconstructions."""

from pathlib import Path

import pytest
import tiny
from small_specs import plan_of

from ammgraph.plan.draws import Density
from ammgraph.plan.plan import BayesPlan, Plan, ReadoutPlan, ReconstructionPlan
from ammgraph.spec.notation import parse_input

SPECS = Path(__file__).parent.parent.parent / "specs"


def density(plan: Plan, draw: str, variable: str) -> Density:
    return plan.draw(draw).factor_of(variable).density


def encoder(rows: str) -> Plan:
    return plan_of(f"networks: {{encoder: {{layers: {{{rows}}}}}}}")


# ------------------------------------------------------------------------------------------------ densities (R16)


def test_a_sum_with_expn_is_normal() -> None:
    assert density(plan_of(), "q", "z") == Density("normal", parse_input("z_mu", {}), "z_sigma")
    assert density(plan_of(), "p", "z") == Density("normal", parse_input("z_mu", {}), "z_sigma")


def test_the_mean_is_the_sum_of_all_the_rest() -> None:
    plan = encoder("z: {input: z_mu + z_sigma + b}, b: {input: h, op: linear, channels: 4}")
    assert density(plan, "q", "z").mean == parse_input("z_mu + b", {})


def test_noise_alone_has_mean_zero() -> None:
    assert density(encoder("z: {input: z_sigma}, z_mu: null"), "q", "z").mean == parse_input("zeros(4)", {})


@pytest.mark.parametrize(
    "rows",
    [
        "z: {input: z_mu + z_sigma, activation: tanh}",  # not normal after an activation,
        "z: {input: z_mu + z_sigma, batchnorm: true}",  # a batch norm,
        "z: {input: z_mu + z_sigma, dropout: 0.2}",  # a mask
        "z: {input: z_mu + z_sigma, noise: 0.2}",  # noise in training alone
        "z: {input: z_mu + z_sigma, op: linear, channels: 4}",  # or a layer
        "z: {input: z_mu + z_sigma + s}, s: {input: h, op: linear, channels: 4, activation: expn}",  # two noises
        "z_mu: {input: s}, s: {input: h, op: linear, channels: 4, activation: expn}",  # noise below the mean
        "z_sigma: {input: s}, s: {input: h, op: linear, channels: 4, activation: expn}",  # or below the variance
    ],
)
def test_nothing_else_is_normal(rows: str) -> None:
    assert density(encoder(rows), "q", "z").kind == "implicit"


def test_a_row_without_noise_is_deterministic() -> None:
    assert density(encoder("z: {input: z_mu}, z_sigma: null"), "q", "z").kind == "deterministic"


def test_noise_of_a_variable_that_is_given_does_not_count() -> None:
    """q(z|y) is normal given y, although y is drawn with noise by the same network."""
    plan = plan_of(
        """
        networks:
          encoder:
            layers:
              s: {input: h, op: linear, channels: K, activation: expn}
              y: {input: a + s}
              z_mu: {input: y}
        distributions:
          q:
            q(x): data
            q(y|x): encoder.y
            q(z|x,y): encoder.z
        """
    )
    assert density(plan, "q", "z").kind == "normal"


@pytest.mark.parametrize(
    "activation", ["softmax", "straight_through", "gumbel_softmax 0.5", "gumbel_straight_through 1"]
)
def test_a_choice_is_categorical_by_its_logits_without_noise(activation: str) -> None:
    plan = encoder(
        f"s: {{input: h, op: linear, channels: K, activation: expn}}, y: {{input: a + s, activation: {activation}}}"
    )
    assert density(plan, "q", "y") == Density("categorical", parse_input("a", {}))


def test_logits_that_are_no_plain_sum_are_read_off_the_row_itself() -> None:
    for column in ("op: linear, channels: K", "batchnorm: true", "dropout: 0.2", "noise: 0.2"):
        assert density(encoder(f"y: {{input: a, {column}}}"), "q", "y") == Density("categorical", None)


def test_a_sigmoid_is_bernoulli_and_its_sample_the_mean() -> None:
    assert density(plan_of(), "p", "x") == Density("bernoulli")


def test_data_and_priors_have_densities_of_their_own() -> None:
    assert density(plan_of(), "q", "x") == Density("data")
    assert density(plan_of(), "p", "y") == Density("prior")


# ------------------------------------------------------------------------------------------------ Bayes (eq. 19)


def test_a_category_with_a_prior_and_a_normal_variable_below_it_is_classified_by_bayes() -> None:
    assert plan_of().readouts == (ReadoutPlan("y", "q", False, BayesPlan("y", "p", ("z",))),)


def test_a_fixed_mixture_is_classified_by_bayes() -> None:
    text = """
        networks: {components: null}
        distributions:
          p:
            p(y): uniform
            p(z|y): {mixture: {means: {normal: 1}}}
            p(x|y,z): decoder.x
        """
    assert plan_of(text).readouts[0].bayes == BayesPlan("y", "p", ("z",))


def test_without_a_density_that_depends_on_the_category_there_is_no_bayes() -> None:
    text = """
        networks: {components: null}
        distributions:
          p:
            p(y): uniform
            p(z): normal
            p(x|y,z): decoder.x
        """
    assert plan_of(text).readouts[0].bayes is None


HIERARCHY = """
variables: {w: {type: real, size: 3}}
networks:
  components: {layers: {z_mu: {input: y | w}}}
  critic: {layers: {h: {input: hx | y | z | w, channels: 23}}}
  top: {layers: {m: {input: z, op: linear, channels: 3}, s: {input: zeros(3), activation: expn}, w: {input: m + s}}}
distributions:
  q:
    q(x): data
    q(y|x): encoder.y
    q(z|x): encoder.z
    q(w|z): top.w
  p:
    p(y): uniform
    p(w): normal
    p(z|y,w): components.z
    p(x|y,z): decoder.x
"""


def test_evidence_may_have_other_conditions_that_are_inferred() -> None:
    assert plan_of(HIERARCHY).readouts[0].bayes == BayesPlan("y", "p", ("z",))


def test_evidence_whose_other_conditions_are_not_inferred_is_none() -> None:
    text = HIERARCHY.replace("    q(w|z): top.w\n", "").replace(
        "h: {input: hx | y | z | w, channels: 23}", "h: {input: hx | y | z}"
    )
    text = "\n".join(line for line in text.splitlines() if "top:" not in line)
    assert plan_of(text).readouts[0].bayes is None


AUXILIARY = """
variables: {w: {type: real, size: 3}}
networks:
  critic: {layers: {h: {input: hx | y | z | w, channels: 23}}}
  top: {layers: {m: {input: x, op: linear, channels: 3}, s: {input: zeros(3), activation: expn}, w: {input: m + s}}}
  low:
    layers:
      h: {input: READ, op: linear, channels: 16}
      m: {input: h | y, channels: 3, width: 1}
      s: {input: zeros(3), activation: expn}
      w: {input: m + s}
distributions:
  q:
    q(x): data
    q(y|x): encoder.y
    q(z|x): encoder.z
    q(w|x): top.w
  p:
    p(y): uniform
    p(z|y): components.z
    p(x|y,z): decoder.x
    p(w|READ,y): low.w
"""


@pytest.mark.parametrize(("read", "evidence"), [("x", ("z",)), ("z", ("z", "w"))])
def test_evidence_given_what_depends_on_the_category_itself_is_none(read: str, evidence: tuple[str, ...]) -> None:
    """p(y|w,x) is p(y) p(x|y) p(w|x,y) over its sum, and p(x|y) is not known; p(y|z,w) is p(y) p(z|y) p(w|z,y)."""
    text = AUXILIARY.replace("READ", read)
    assert plan_of(text).readouts[0].bayes == BayesPlan("y", "p", evidence)


def test_a_condition_that_nothing_draws_says_nothing_of_the_category() -> None:
    terms = '{codes: {minimize: "E[q] KL(q(z|x) || p(z|y,w)) + E[q] KL(q(w|z) || n(w)) - E[q] log p(x|y,z)"}}'
    text = HIERARCHY.replace("  critic: {layers: {h: {input: hx | y | z | w, channels: 23}}}\n", "  critic: null\n")
    text = text.replace("    p(w): normal\n", "") + f"  n: {{n(w): normal}}\ngames: {{joint: null}}\nterms: {terms}\n"
    assert plan_of(text).readouts[0].bayes == BayesPlan("y", "p", ("z",))


# ------------------------------------------------------------------------------------------------ readouts


def test_labels_in_training_make_it_classification() -> None:
    text = """
        data: {labeled: {count: 100}}
        distributions:
          q_labeled:
            q(x,y): data.labeled
            q(z|x): encoder.z
        games: {labeled: {match: [q_labeled, p], discriminator: critic.d, objective: hinge}}
        """
    (readout,) = plan_of(text).readouts
    assert (readout.draw, readout.supervised) == ("q", True)


def test_a_category_that_nothing_infers_is_not_read_off() -> None:
    text = """
        data: {labeled: {count: all}}
        networks: {encoder: {layers: {a: null, y: null}}}
        distributions:
          q:
            q(x,y): data.labeled
            q(z|x): encoder.z
        """
    assert plan_of(text).readouts == ()


def test_a_category_that_is_drawn_beside_the_data_says_nothing_of_them() -> None:
    plan = tiny.plan_of(SPECS / "lalnets_mnist.yaml")
    assert [factor.text for factor in plan.draw("c").written] == ["c(t|x)"]
    assert plan.readouts == ()
    named = tiny.plan_of(SPECS / "lalnets_mnist.yaml", "data={dataset: npz, path: t.npz, fields: {t: turn}}")
    assert [readout.variable for readout in named.readouts] == ["t"]


# ------------------------------------------------------------------------------------------------ reconstructions


def test_an_encoder_and_a_decoder_reconstruct() -> None:
    assert plan_of().reconstructions == (ReconstructionPlan("x", "q", "p"),)


def test_the_distribution_that_infers_all_that_the_decoder_reads_reconstructs() -> None:
    text = """
        networks:
          other: {layers: {d: {input: x | z, op: linear, channels: 1}}}
        distributions:
          q: null
          half:
            half(x): data
            half(z|x): encoder.z
          q:
            q(x): data
            q(y|x): encoder.y
            q(z|x): encoder.z
        games:
          second: {match: [half, p], discriminator: other.d, objective: hinge}
        """
    text = text.replace("          q: null\n", "")
    assert plan_of(text).reconstructions == (ReconstructionPlan("x", "q", "p"),)


def test_without_inference_nothing_is_reconstructed() -> None:
    text = """
        networks: {critic: {layers: {h: {input: hx, channels: 6}}}, encoder: null}
        distributions:
          q:
            q(x): data
        """
    assert plan_of(text).reconstructions == ()
    assert plan_of(text).readouts == ()
