"""Games: players, paths of gradients, objectives, discriminator passes, schedules."""

import pytest
from small_specs import origin_of, plan_of, problem_of, problems_of

from ammgraph.graph.plan import CriticPass, ObjectivePlan, Plan

AGAIN = "  q_again: q\n  p_again: p\n"
SECOND = "games: {second: {match: [q_again, p_again], discriminator: critic.d, objective: jensen_shannon}}\n"
TWO_GAMES = "distributions:\n" + AGAIN + SECOND
OTHER = "networks: {other: {layers: {d: {input: z, op: linear, channels: 1}}}}\n"
NORMALISED = "networks: {critic: {layers: {hx: {batchnorm: true}}}}\n"


def passes_of(plan: Plan) -> dict[str, CriticPass]:
    return {critic.evaluation.name: critic for critic in plan.turns[0].passes}


# ------------------------------------------------------------------------------------------------ players (R5, R6)


def test_the_discriminator_plays_against_all_networks_that_draw_what_it_reads() -> None:
    assert plan_of().turns[0].objectives == (
        ObjectivePlan("discriminator", ("joint",), ("critic",)),
        ObjectivePlan("generator", ("joint",), ("encoder", "components", "decoder")),
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
    assert [(objective.role, objective.games) for objective in objectives] == [
        ("discriminator", ("joint", "second")),
        ("generator", ("joint", "second")),
    ]


def test_a_game_may_train_fewer_networks_than_it_reaches() -> None:
    only = (
        "games: {second: {match: [q_again, p_again], discriminator: critic.d, objective: hinge, trains: [encoder]}}\n"
    )
    assert plan_of("distributions:\n" + AGAIN + only).turns[0].objectives == (
        ObjectivePlan("discriminator", ("joint",), ("critic",)),
        ObjectivePlan("generator", ("joint",), ("encoder", "components", "decoder")),
        ObjectivePlan("generator", ("second",), ("encoder",)),
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
    assert set(passes_of(plan)) == {"joint/critic", "second/critic(z=w)"}


# ------------------------------------------------------------------------------------------------ passes (R13, R14)


def test_both_sides_pass_the_discriminator_as_one_batch() -> None:
    plan = plan_of()
    critic = passes_of(plan)["joint/critic"]
    assert critic.draws == ("q", "p")
    assert critic.sides == (("joint", "real"), ("joint", "fake"))
    assert critic.rows == ("hx", "h", "d")


def test_games_with_one_discriminator_without_batch_norm_pass_it_together() -> None:
    critic = passes_of(plan_of(TWO_GAMES))["joint+second/critic"]
    assert critic.draws == ("q", "p", "q_again", "p_again")
    assert len(critic.sides) == 4


def test_a_draw_in_two_games_passes_their_discriminator_once() -> None:
    text = "distributions:\n  p_again: p\n"
    text += "games: {second: {match: [q, p_again], discriminator: critic.d, objective: jensen_shannon}}\n"
    plan = plan_of(text)
    assert passes_of(plan)["joint+second/critic"].draws == ("q", "p", "p_again")
    assert plan.turns[0].draws == ("q", "p", "p_again")


def test_games_whose_discriminator_has_batch_norm_pass_it_apart() -> None:
    passes = passes_of(plan_of(NORMALISED + TWO_GAMES))
    assert {name: critic.draws for name, critic in passes.items()} == {
        "joint/critic": ("q", "p"),
        "second/critic": ("q_again", "p_again"),
    }


def test_the_sides_of_a_game_pass_apart_where_the_spec_says_so() -> None:
    passes = passes_of(
        plan_of("games: {joint: {match: [q, p], discriminator: critic.d, objective: hinge, batch: separate}}")
    )
    assert {name: (critic.draws, critic.sides) for name, critic in passes.items()} == {
        "joint.real/critic": (("q",), (("joint", "real"),)),
        "joint.fake/critic": (("p",), (("joint", "fake"),)),
    }


def test_games_with_different_discriminators_pass_them_apart() -> None:
    text = (
        TWO_GAMES.replace("critic.d", "other.d")
        + "networks: {other: {layers: {d: {input: z, op: linear, channels: 1}}}}"
    )
    plan = plan_of(text)
    assert set(passes_of(plan)) == {"joint/critic", "second/other"}
    assert passes_of(plan)["second/other"].evaluation.bindings == (("z", "z"),)


def test_every_random_tensor_of_a_step_is_a_site_with_a_name_of_its_own() -> None:
    text = "networks: {critic: {layers: {h: {dropout: 0.2}}}}\n"
    text += "games: {joint: {match: [q, p], discriminator: critic.d, objective: hinge, gradient_penalty: {lambda: 1}}}"
    sites = {site.name: (site.kind, site.stream, site.batch, site.shape) for site in plan_of(text).turns[0].sites}
    assert sites == {
        "q/encoder/z_sigma.eps": ("normal", "sample", 4, (4, 1, 1)),
        "p/y": ("uniform", "prior", 4, ()),
        "p/components/z_sigma.eps": ("normal", "sample", 4, (4, 1, 1)),
        "joint/critic/h.mask": ("mask", "dropout", 8, (20, 1, 1)),
        "joint.penalty/critic/coefficient": ("uniform", "penalty", 4, (1, 1, 1)),
        "joint.penalty/critic/h.mask": ("mask", "penalty", 4, (20, 1, 1)),
    }


def test_a_turn_in_which_no_discriminator_learns_takes_no_penalty_and_draws_none_of_its_noise() -> None:
    text = """
        games: {joint: {match: [q, p], discriminator: critic.d, objective: hinge, gradient_penalty: {lambda: 1}}}
        training: {schedule: [{update: [critic]}, {update: [encoder, components, decoder]}]}
        """
    of_critic, of_generators = plan_of(text).turns
    assert (of_critic.penalized, of_generators.penalized) == (("joint",), ())
    assert {site.name for site in of_critic.sites if site.stream == "penalty"} == {"joint.penalty/critic/coefficient"}
    assert not [site.name for site in of_generators.sites if site.stream == "penalty"]


def test_a_lazy_penalty_s_noise_is_drawn_when_it_is_taken() -> None:
    penalty = "gradient_penalty: {lambda: 1, every: 4}"
    text = f"games: {{joint: {{match: [q, p], discriminator: critic.d, objective: hinge, {penalty}}}}}"
    (turn,) = plan_of(text).turns
    assert {site.every for site in turn.sites if site.stream == "penalty"} == {4}
    assert {site.every for site in turn.sites if site.stream != "penalty"} == {1}


def test_gumbel_noise_is_a_site_and_a_noise_shared_by_two_factors_is_one() -> None:
    text = """
        networks:
          encoder:
            layers:
              h: {dropout: 0.2}
              y: {activation: gumbel_softmax 0.5}
        """
    names = [site.name for site in plan_of(text).turns[0].sites]
    assert names[:3] == ["q/encoder/h.mask", "q/encoder/y.gumbel", "q/encoder/z_sigma.eps"]
    assert len(names) == len(set(names))


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
        """
    plan = plan_of(text)
    assert not plan.draw("q").factor_of("y").needed
    assert origin_of(plan.draw("q"), "z").rows == ("h", "z_mu", "z_sigma", "z")


def test_a_network_that_no_gradient_reaches_is_an_error() -> None:
    text = AAE.replace("  decoder: null\n", "").replace("p(z): normal", "p(z): normal\n    p(x|y,z): decoder.x")
    problem = problems_of(text)[0]
    assert (problem.code, problem.message) == ("no-gradient", "no gradient reaches `decoder`")
    assert problem.found == "it draws nothing that a discriminator reads"


def test_a_network_without_parameters_needs_no_gradient() -> None:
    text = "networks: {components: {layers: {z_mu: {input: zeros(4), channels: null, width: null}}}}\n"
    text += "distributions:\n  p:\n    p(y): uniform\n    p(z): components.z\n    p(x|y,z): decoder.x\n"
    assert plan_of(text).network("components").parameters == 0


# ------------------------------------------------------------------------------------------------ schedules (R20)


def scheduled(*turns: str) -> str:
    return "training:\n  schedule:\n" + "".join(f"    - {turn}\n" for turn in turns)


N_TO_1 = scheduled("{update: [critic], steps: 5}", "{update: [encoder, components, decoder]}")


def test_without_a_schedule_every_network_takes_its_gradient_at_the_same_point() -> None:
    assert [turn.update for turn in plan_of().turns] == [("encoder", "components", "decoder", "critic")]


def test_a_schedule_takes_turns_each_with_one_players_objective() -> None:
    turns = plan_of(N_TO_1).turns
    assert [(turn.steps, turn.redraw, [o.role for o in turn.objectives]) for turn in turns] == [
        (5, True, ["discriminator"]),
        (1, True, ["generator"]),
    ]


def test_a_turn_draws_for_its_own_games_only() -> None:
    turns = plan_of(
        TWO_GAMES
        + scheduled(
            "{update: [critic], games: [second]}", "{update: [critic, encoder, components, decoder], draw: new}"
        )
    ).turns
    assert turns[0].draws == ("q_again", "p_again")
    assert turns[0].games == ("second",)
    assert turns[1].games == ("joint", "second")


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        (("{update: [critic], draw: same}",), "the first turn has no turn before it whose draw it could share"),
        (("{update: [critic, critic]}",), "`critic` is updated twice in one turn"),
        (("{update: [critic], games: [nothing]}",), "`nothing` is not a game"),
        (("{update: [nothing]}",), "`nothing` is not a network"),
    ],
)
def test_a_schedule_names_what_there_is(turns: tuple[str, ...], message: str) -> None:
    text = scheduled(*turns, "{update: [critic, encoder, components, decoder]}")
    assert problem_of(text).partition(": ")[2] == message


def test_a_turn_updates_only_what_its_games_train() -> None:
    text = (
        TWO_GAMES.replace("critic.d", "other.d")
        + "networks: {other: {layers: {d: {input: z, op: linear, channels: 1}}}}\n"
    )
    text += scheduled("{update: [other, critic], games: [joint]}", "{update: [other, encoder, components, decoder]}")
    assert problem_of(text) == "no-gradient: no game of this turn trains `other`"


def test_a_network_that_the_schedule_leaves_out_is_an_error() -> None:
    problem = problems_of(scheduled("{update: [critic, encoder, decoder]}"))[0]
    assert problem.message == "no gradient reaches `components`"
    assert problem.found == "`trains` or the schedule leaves it out"


def test_a_turn_that_shares_a_draw_finds_all_its_data_there() -> None:
    everything = "{update: [critic, encoder, components, decoder], draw: same}"
    assert not plan_of(scheduled("{update: [critic]}", everything)).turns[1].redraw
    message = problem_of(TWO_GAMES + scheduled("{update: [critic], games: [joint]}", everything))
    assert message == "impossible-schedule: this turn takes the data of the turn before, which does not draw `q_again`"


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
            "eq. 18 pairs the i-th REAL with the i-th FAKE example, and a weighted sum has no i-th example",
        ),
        (game("match: [q, p], discriminator: critic.d, trains: [judge]"), "`judge` is not a network"),
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
