"""Turns: discriminator passes, random tensors, schedules, and that every network is trained."""

import pytest
from small_specs import TWO_GAMES, plan_of, problem_of, problems_of

from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import PassPlan

OTHER = "networks: {other: {layers: {d: {input: z, op: linear, channels: 1}}}}\n"
NORMALISED = "networks: {critic: {layers: {hx: {batchnorm: true}}}}\n"


def passes_of(plan: Plan) -> dict[str, PassPlan]:
    return {critic.evaluation.name: critic for critic in plan.turns[0].passes_of("scored")}


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


def test_noise_on_an_input_is_a_site_of_its_own_of_the_stream_of_the_masks() -> None:
    text = """
        networks:
          encoder: {layers: {h: {noise: 0.1, dropout: 0.2}, y: {noise: 1, activation: gumbel_softmax 0.5}}}
          critic: {layers: {h: {noise: 0.3}}}
        games: {joint: {match: [q, p], discriminator: critic.d, objective: hinge, gradient_penalty: PENALTY}}
        """.replace("PENALTY", "{lambda: 1, every: 3}")
    sites = {s.name: (s.kind, s.stream, s.batch, s.shape, s.every) for s in plan_of(text).turns[0].sites}
    assert list(sites)[:4] == ["q/encoder/h.noise", "q/encoder/h.mask", "q/encoder/y.noise", "q/encoder/y.gumbel"]
    assert sites["q/encoder/h.noise"] == ("normal", "dropout", 4, (1, 8, 8), 1)
    assert sites["q/encoder/y.noise"] == ("normal", "dropout", 4, (10, 1, 1), 1)
    assert sites["q/encoder/y.gumbel"] == ("gumbel", "sample", 4, (10, 1, 1), 1)
    assert sites["joint/critic/h.noise"] == ("normal", "dropout", 8, (20, 1, 1), 1)  # an example's own, both sides
    assert sites["joint.penalty/critic/h.noise"] == ("normal", "penalty", 4, (20, 1, 1), 3)


def test_noise_on_an_input_moves_no_other_stream() -> None:
    plain, noisy = (plan_of("", *more).turns[0].sites for more in ((), ("networks.encoder.layers.h.noise=0.1",)))
    assert [site for site in noisy if site.name != "q/encoder/h.noise"] == list(plain)


def test_a_turn_in_which_no_discriminator_learns_takes_no_penalty_and_draws_none_of_its_noise() -> None:
    text = """
        games: {joint: {match: [q, p], discriminator: critic.d, objective: hinge, gradient_penalty: {lambda: 1}}}
        training: {schedule: [{update: [critic]}, {update: [encoder, components, decoder]}]}
        """
    of_critic, of_generators = plan_of(text).turns
    assert [loss.what for loss in of_critic.losses] == ["discriminator", "generator", "gradient_penalty"]
    assert [loss.what for loss in of_generators.losses] == ["discriminator", "generator"]
    assert [len(turn.passes_of("between")) for turn in (of_critic, of_generators)] == [1, 0]
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


# ------------------------------------------------------------------------------------------------ schedules (R20)


def scheduled(*turns: str) -> str:
    return "training:\n  schedule:\n" + "".join(f"    - {turn}\n" for turn in turns)


N_TO_1 = scheduled("{update: [critic], steps: 5}", "{update: [encoder, components, decoder]}")


def test_without_a_schedule_every_network_takes_its_gradient_at_the_same_point() -> None:
    assert [turn.update for turn in plan_of().turns] == [("encoder", "components", "decoder", "critic")]


def test_a_schedule_takes_turns_each_with_one_players_objective() -> None:
    turns = plan_of(N_TO_1).turns
    assert [(turn.steps, turn.redraw, [o.through for o in turn.objectives]) for turn in turns] == [
        (5, True, ["passes"]),
        (1, True, ["samples"]),
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
    assert problem_of(text) == "no-gradient: nothing in this turn trains `other`"


def test_a_network_that_the_schedule_leaves_out_is_an_error() -> None:
    problem = problems_of(scheduled("{update: [critic, encoder, decoder]}"))[0]
    assert problem.message == "no gradient reaches `components`"
    assert problem.found == "`trains` or the schedule leaves it out"


def test_a_turn_that_shares_a_draw_finds_all_its_data_there() -> None:
    everything = "{update: [critic, encoder, components, decoder], draw: same}"
    assert not plan_of(scheduled("{update: [critic]}", everything)).turns[1].redraw
    message = problem_of(TWO_GAMES + scheduled("{update: [critic], games: [joint]}", everything))
    assert message == "impossible-schedule: this turn takes the data of the turn before, which does not draw `q_again`"


# ------------------------------------------------------------------------------------------------ needs by turn

IMAGES = (
    "networks: {judge: {layers: {d: {input: x, op: linear, channels: 1}}}}\n"
    "games: {images: {match: [q, p], discriminator: judge.d, objective: hinge}}\n"
)
ALL = "{update: [critic, encoder, components, decoder]}"


def test_a_turn_draws_no_more_than_its_own_losses_read() -> None:
    first, second = plan_of(IMAGES + scheduled("{update: [judge], games: [images]}", ALL)).turns
    assert {draw.name: [f.text for f in draw.factors if f.needed] for draw in first.partial} == {"q": ["q(x)"]}
    assert [found.evaluation.name for found in first.passes_of("drawn")] == ["p/components", "p/decoder"]
    assert not any(site.name.startswith("q/") for site in first.sites)
    assert second.partial == ()
    assert any(site.name.startswith("q/") for site in second.sites)


def test_rows_that_an_earlier_factor_would_have_computed_are_computed_all_the_same() -> None:
    # `encoder.h` serves y and z; where z alone is read, it is z's.
    codes = IMAGES.replace("input: x", "input: z").replace("images", "codes")
    first, _ = plan_of(codes + scheduled("{update: [judge], games: [codes]}", ALL)).turns
    (drawn,) = [found for found in first.passes_of("drawn") if found.evaluation.name == "q/encoder"]
    assert "h" in drawn.rows
    assert "y" not in drawn.rows


def test_a_turn_that_shares_its_draw_finds_the_variables_that_it_needs_there() -> None:
    other = "variables: {w: {type: image, shape: [1, 8, 8]}}\n"
    other += "distributions: {q: {q(x): data, 'q(y|x)': encoder.y, 'q(z|x)': encoder.z, q(w): data}}\n"
    other += "terms: {small: {minimize: 'E[q] l2(encoder(x=w).h)'}}\n"
    turns = ("{update: [judge], games: [images]}", ALL.replace("}", ", draw: %s}"))
    assert plan_of(IMAGES + other + scheduled(*turns) % "new").turns[0].partial[0].name == "q"
    problem = problem_of(IMAGES + other + scheduled(*turns) % "same")
    assert problem == "impossible-schedule: this turn takes the data of the turn before, which does not draw `q`"
