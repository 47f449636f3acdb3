"""Games: players, paths of gradients, objectives, what is drawn for them."""

import pytest
from small_specs import AGAIN, TWO_GAMES, origin_of, plan_of, problem_of, problems_of

from ammgraph.plan.turns import ObjectivePlan

OTHER = "networks: {other: {layers: {d: {input: z, op: linear, channels: 1}}}}\n"


# ------------------------------------------------------------------------------------------------ players (R5, R6)


def test_the_discriminator_plays_against_all_networks_that_draw_what_it_reads() -> None:
    assert plan_of().turns[0].objectives == (
        ObjectivePlan("passes", ("joint/discriminator",), ("critic",)),
        ObjectivePlan("samples", ("joint/generator",), ("encoder", "components", "decoder")),
    )


def test_the_paths_name_the_samples_through_which_a_gradient_reaches_a_network() -> None:
    paths = dict(plan_of().game("joint").paths)
    assert {network: set(samples) for network, samples in paths.items()} == {
        "encoder": {"q.y", "q.z"},
        "decoder": {"p.x"},
        "components": {"p.z"},
    }


def test_a_gradient_flows_through_a_sample_that_the_discriminator_does_not_read() -> None:
    """The critic reads x alone; p(z|y) is reached through p(x|y,z)."""
    text = """
        networks: {critic: {layers: {h: {input: hx, channels: 6}}}, encoder: null}
        distributions:
          q:
            q(x): data
        """
    assert dict(plan_of(text).game("joint").paths) == {"decoder": ("p.x",), "components": ("p.z",)}


def test_a_gradient_flows_through_the_category_that_chooses_a_component() -> None:
    text = """
        networks:
          components: null
          encoder: {layers: {z: null, z_mu: null, z_sigma: null}}
          critic: {layers: {h: {input: hx | z, channels: 10}}}
        distributions:
          q:
            q(x): data
            q(y|x): encoder.y
            q(z|y): {mixture: {means: {normal: 1}}}
          p:
            p(y): uniform
            p(z): normal
            p(x|y,z): decoder.x
        """
    assert dict(plan_of(text).game("joint").paths)["encoder"] == ("q.y",)


def test_a_gradient_flows_through_a_sample_taken_from_another_distribution() -> None:
    text = "distributions:\n  p:\n    p(y): q.y\n    p(z|y): components.z\n    p(x|y,z): decoder.x\n"
    assert set(dict(plan_of(text).game("joint").paths)["encoder"]) == {"q.y", "q.z"}


def test_real_is_the_first_side_whatever_its_name() -> None:
    game = plan_of("games: {joint: {match: [p, q], discriminator: critic.d, objective: hinge}}").game("joint")
    assert (game.real, game.fake) == (((1.0, "p"),), ((1.0, "q"),))


def test_a_side_may_be_a_weighted_sum() -> None:
    text = "distributions:\n" + AGAIN
    text += "games: {joint: {match: [q, 1/4 p + 3/4 p_again], discriminator: critic.d, objective: hinge},"
    text += " second: {match: [q_again, p], discriminator: critic.d, objective: hinge}}"
    plan = plan_of(text)
    assert plan.game("joint").fake == ((0.25, "p"), (0.75, "p_again"))
    assert plan.turns[0].draws == ("q", "p", "q_again", "p_again")


def test_the_same_summand_twice_is_one_with_both_weights() -> None:
    game = plan_of("games: {joint: {match: [q, 1/2 p + p], discriminator: critic.d, objective: hinge}}").game("joint")
    assert game.fake == ((1.5, "p"),)


def test_games_with_the_same_players_add_up_to_one_objective() -> None:
    objectives = plan_of(TWO_GAMES).turns[0].objectives
    assert [(objective.through, objective.losses) for objective in objectives] == [
        ("passes", ("joint/discriminator", "second/discriminator")),
        ("samples", ("joint/generator", "second/generator")),
    ]


def test_a_game_may_train_fewer_networks_than_it_reaches() -> None:
    only = (
        "games: {second: {match: [q_again, p_again], discriminator: critic.d, objective: hinge, trains: [encoder]}}\n"
    )
    assert plan_of("distributions:\n" + AGAIN + only).turns[0].objectives == (
        ObjectivePlan("passes", ("joint/discriminator",), ("critic",)),
        ObjectivePlan("samples", ("joint/generator",), ("encoder", "components", "decoder")),
        ObjectivePlan("samples", ("second/generator",), ("encoder",)),
    )


def test_one_network_may_play_both_roles() -> None:
    """A classifier that draws y and judges images of p gets both gradients."""
    text = """
        networks:
          critic: null
          encoder:
            layers:
              e: {input: z, op: linear, channels: 2}
              c: {input: h | e | y}
              d: {input: c, channels: 1, width: 1}
        games: {joint: {match: [q, p], discriminator: encoder.d, objective: hinge}}
        """
    objectives = plan_of(text).turns[0].objectives
    assert objectives[0].networks == ("encoder",)
    assert objectives[1].networks == ("encoder", "components", "decoder")


def test_a_discriminator_may_bind_its_names() -> None:
    text = """
        variables: {w: {type: real, size: 4}}
        distributions:
          r:
            r(x): data
            r(y): uniform
            r(w): normal
          s:
            s(w): normal
            s(y): uniform
            s(x|y,w): decoder(z=w).x
        games: {second: {match: [r, s], discriminator: critic(z=w).d, objective: hinge}}
        """
    plan = plan_of(text)
    assert plan.game("second").reads == (("x", "x"), ("y", "y"), ("z", "w"))
    assert {critic.evaluation.name for critic in plan.turns[0].passes_of("scored")} == {
        "joint/critic",
        "second/critic(z=w)",
    }


# ------------------------------------------------------------------------------------------------ needed (R19)

# The adversarial autoencoder's aggregate posterior: the critic reads z; p(x|y,z) is there for sampling.
AAE = """
networks:
  decoder: null
  components: null
  encoder: {layers: {y: null, a: null}}
  critic: {layers: {hx: null, h: {input: z, channels: 4}}}
distributions:
  q:
    q(x): data
    q(z|x): encoder.z
  p:
    p(y): uniform
    p(z): normal
"""


def test_only_what_a_discriminator_depends_on_is_drawn() -> None:
    plan = plan_of(AAE)
    assert {factor.text: factor.needed for draw in plan.draws for factor in draw.factors} == {
        "q(x)": True,
        "q(z|x)": True,
        "p(y)": False,
        "p(z)": True,
    }
    assert [site.name for site in plan.turns[0].sites] == ["q/encoder/z_sigma.eps", "p/z"]


def test_a_factor_that_is_not_drawn_leaves_its_rows_to_the_next() -> None:
    text = """
        networks:
          encoder: {layers: {y: {input: a}}}
          critic: {layers: {h: {input: hx | z, channels: 10}}}
          other: {layers: {d: {input: y, op: linear, channels: 1}}}
        distributions: {q_again: q, p_again: p}
        games: {second: {match: [q_again, p_again], discriminator: other.d, objective: hinge}}
        """
    plan = plan_of(text)
    assert not plan.draw("q").factor_of("y").needed
    assert origin_of(plan.draw("q"), "z").rows == ("h", "z_mu", "z_sigma", "z")


def test_a_network_that_no_gradient_reaches_is_an_error() -> None:
    text = AAE.replace("  decoder: null\n", "").replace("p(z): normal", "p(z): normal\n    p(x|y,z): decoder.x")
    problem = problems_of(text)[0]
    assert (problem.code, problem.message) == ("no-gradient", "no gradient reaches `decoder`")
    assert problem.found == "it draws nothing that a discriminator reads, and no term depends on it"


def test_a_network_without_parameters_needs_no_gradient() -> None:
    text = "networks: {components: {layers: {z_mu: {input: zeros(4), channels: null, width: null}}}}\n"
    text += "distributions:\n  p:\n    p(y): uniform\n    p(z): components.z\n    p(x|y,z): decoder.x\n"
    plan = plan_of(text)
    assert plan.network("components").parameters == 0
    assert plan.turns[0].update == ("encoder", "decoder", "critic")


# ------------------------------------------------------------------------------------------------ impossible games


def game(columns: str) -> str:
    return "games: {joint: {objective: hinge, " + columns + "}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (game("match: [q, q], discriminator: critic.d"), "both sides of `joint` are `q`"),
        (
            game("match: [1/2 q + 1/2 p, 1/2 p + 1/2 q], discriminator: critic.d"),
            "both sides of `joint` are `0.5 q + 0.5 p`",
        ),
        (game("match: [q, r], discriminator: critic.d"), "`r` is not a distribution"),
        (game("match: [q, 0 p], discriminator: critic.d"), "`p` has weight 0"),
        (game("match: [q, p], discriminator: judge.d"), "`judge` is not a network"),
        (game("match: [q, p], discriminator: critic.e"), "`critic` has no row `e`"),
        (
            game("match: [q, p], discriminator: critic.h") + "networks: {critic: {layers: {d: null}}}",
            "`critic.h` is no logit",
        ),
        ("networks: {critic: {layers: {d: {activation: sigmoid}}}}", "`critic.d` is a logit and has an activation"),
        (
            game("match: [q, 1/2 p + 1/2 q], discriminator: critic.d, gradient_penalty: {lambda: 1}"),
            "`gradient_penalty` pairs the i-th REAL with the i-th FAKE example, and a weighted sum has no i-th example",
        ),
        (game("match: [q, p], discriminator: critic.d, trains: [judge]"), "`judge` is not a network"),
        (
            "networks: {judge: {layers: {d: {input: x, pool: avg 8}}}}\n"
            "games: {second: {match: [q, p], discriminator: judge.d, objective: hinge}}\n",
            "`judge.d` can learn nothing",
        ),
    ],
)
def test_a_game_that_cannot_be_played_is_an_error(text: str, message: str) -> None:
    assert problem_of(text).partition(": ")[2] == message


def test_eq_18_pairs_batches_of_one_size() -> None:
    text = game("match: [q, p], discriminator: critic.d, gradient_penalty: {lambda: 1}")
    problem = problems_of(text, "training.batch_size={q: 4, p: 8}")[0]
    assert (problem.code, problem.found) == ("impossible-game", "4 and 8 examples")
    text = text.replace("gradient_penalty: {lambda: 1}", "roth_penalty: {gamma: 1}")
    assert plan_of(text, "training.batch_size={q: 4, p: 8}").draw("p").batch_size == 8


def test_a_logit_that_reads_no_variable_judges_nothing() -> None:
    text = "networks: {critic: {layers: {hx: null, h: {input: zeros(20)}}}}"
    assert "`critic.d` reads no variable" in [problem.message for problem in problems_of(text)]


def test_a_game_trains_no_network_that_it_does_not_reach() -> None:
    text = OTHER
    text += TWO_GAMES.replace("critic.d", "other.d").replace("objective:", "trains: [other, decoder], objective:")
    problem = problems_of(text)[0]
    assert problem.message == "no gradient of `second` reaches `decoder`"
    assert problem.expected == "one of `components`, `encoder`, `other`"
