"""What a spec says is what happens: whatever changes nothing, or something else than it says, is told."""

import pytest
import tiny
from small_specs import TWO_GAMES, plan_of, problem_of, problems_of

from ammgraph.show.as_json import as_json
from ammgraph.show.diagram import flows, pairs
from ammgraph.show.latex import latex
from ammgraph.show.notebook import plan_html, plan_summary
from ammgraph.show.text import game_text, step_text

MORE = "games: {more: {match: [q, p], discriminator: critic.d, objective: wasserstein, %s}}\n"
ALL = "[critic, encoder, components, decoder]"


def warnings_of(text: str = "", *overrides: str) -> list[str]:
    """What is told of the base with sections merged over it, as `code: message`."""
    return [f"{warning.code}: {warning.message}" for warning in plan_of(text, *overrides).warnings]


# ------------------------------------------------------------------------------------------------ rows that learn


def test_a_row_that_no_discriminator_sees_is_refused_though_its_network_learns() -> None:
    found = problems_of("networks: {critic: {layers: {h: {input: hx | z, channels: null}}}}")
    assert [(problem.code, problem.message) for problem in found] == [
        ("no-gradient", "no gradient reaches row `a` of `encoder`")
    ]
    assert found[0].found == "it serves `q(y|x)`, and nothing trains it through that"


def test_a_row_that_only_a_game_reads_which_does_not_train_its_network_is_refused() -> None:
    text = """
        networks: {encoder: {layers: {z_mu: {input: h | y}}}}
        data: {labeled: {count: 100}}
        distributions:
          q: {q(x): data, q(y|x): encoder.y, "q(z|x,y)": encoder.z}
          q_labeled: {"q(x,y)": data.labeled, "q(z|x,y)": encoder.z}
          p_labeled: p
        games:
          joint: {match: [q, p], discriminator: critic.d, objective: hinge, trains: %s}
          labeled: {match: [q_labeled, p_labeled], discriminator: critic.d, objective: hinge}
        """
    assert problem_of(text % "[critic, decoder, components]") == "no-gradient: no gradient reaches row `a` of `encoder`"
    assert plan_of(text % ALL).warnings == ()


# ------------------------------------------------------------------------------------------------ games


def test_a_step_reads_the_data() -> None:
    text = """
        networks: {encoder: null, decoder: null, critic: {layers: {hx: null, h: {input: y | z, channels: null}}}}
        distributions:
          q: {q(y): uniform, q(z): normal}
          p: {p(y): uniform, p(z|y): components.z}
        """
    assert problem_of(text).startswith("unused: ")  # `x` is a variable that nothing draws
    removed = text + "variables: {x: null}"
    assert "no-data: a step reads nothing of the data" in warnings_of(removed)


def test_a_game_between_the_same_samples_is_refused_whatever_they_are_called() -> None:
    text = """
        distributions:
          r: {r(x): q.x, r(y): q.y, r(z): q.z}
        games: {same: {match: [q, r], discriminator: critic.d, objective: hinge}}
        """
    assert problem_of(text) == "impossible-game: both sides of `same` are the same samples"
    assert warnings_of(text.replace("r(z): q.z", "r(z): normal")) == []


@pytest.mark.parametrize(
    "penalty", ["roth_penalty: {gamma: 1}", "r1_penalty: {gamma: 1}", "gradient_penalty: {lambda: 1}"]
)
def test_a_penalty_on_a_discriminator_that_does_not_learn_from_the_game_is_never_taken(penalty: str) -> None:
    kind = penalty.partition(":")[0]
    told = [f"no-effect: the `{kind}` of `more` is never taken"]
    assert warnings_of(MORE % f"{penalty}, trains: [encoder]") == told
    assert warnings_of(MORE % f"{penalty}, trains: [encoder, critic]") == []


def test_a_game_that_no_turn_plays_is_told_and_shown_as_such() -> None:
    text = MORE % "weight: 1" + f"training: {{schedule: [{{update: {ALL}, games: [joint]}}]}}"
    assert warnings_of(text) == ["no-effect: no turn plays `more`"]
    plan = plan_of(text)
    assert game_text(plan, plan.game("more")).split("\n")[2:] == ["  no turn plays it"]
    assert warnings_of("games: {joint: null, again: {match: [q, p], discriminator: critic.d, objective: hinge}}") == []


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("weight: 0", "the weight of `more` is 0 all through the training"),
        ("weight: [[0, 0], [10, 0]]", "the weight of `more` is 0 all through the training"),
        ("r1_penalty: {gamma: 0}", "the `r1_penalty` of `more` weighs 0 all through the training"),
        ("gradient_penalty: {lambda: 0}", "the `gradient_penalty` of `more` weighs 0 all through the training"),
        ("r1_penalty: {gamma: 1, every: 20}", "the `r1_penalty` of `more` is taken in the first step alone"),
    ],
)
def test_what_weighs_nothing_is_told(key: str, message: str) -> None:
    assert warnings_of(MORE % key, "training.steps=20") == [f"no-effect: {message}"]


def test_what_begins_to_weigh_after_the_end_is_told() -> None:
    late = MORE % "weight: [[0, 0], [10, 0], [20, 1]]"
    epochs = ("training.steps=null", "training.epochs=%d")
    assert warnings_of(late, epochs[0], epochs[1] % 10) == [
        "no-effect: the weight of `more` is 0 all through the training"
    ]
    assert warnings_of(late, epochs[0], epochs[1] % 11) == []
    assert warnings_of(MORE % "r1_penalty: {gamma: 1, every: 19}", "training.steps=20") == []


@pytest.mark.parametrize(
    ("weight", "zero"),
    [
        ("[[0, 0], [10, 0], [10, 1]]", True),
        ("[[10, 0], [10, 1]]", True),
        ("[[0, 0], [10, 1]]", False),  # it rises all the time
        ("[[0, 0], [9, 0], [9, 1]]", False),
        ("[[20, 1]]", False),  # constant before
        ("{points: [[0, 0], [100, 0], [100, 1]], by: steps}", True),
        ("{points: [[0, 0], [99, 0], [99, 1]], by: steps}", False),
    ],
)
def test_what_begins_to_weigh_when_all_is_over_is_told(weight: str, zero: bool) -> None:
    length = ("training.steps=100",) if "steps" in weight else ("training.steps=null", "training.epochs=10")
    told = ["no-effect: the weight of `more` is 0 all through the training"] if zero else []
    plan = plan_of(MORE % f"weight: {weight}", *length)
    assert [f"{warning.code}: {warning.message}" for warning in plan.warnings] == told
    found = plan.game("more").weight
    assert any(found.at(step / 10, step) for step in range(100)) is not zero  # 10 steps an epoch


def test_sides_weigh_one_each() -> None:
    sides = "distributions: {p_2: p}\ngames: {joint: {match: [q, %s], discriminator: critic.d, objective: hinge}}"
    assert warnings_of(sides % "1/4 p + 1/2 p_2") == ["uneven-game: the weights of `0.25 p + 0.5 p_2` do not sum to 1"]
    assert warnings_of(sides % "p + p_2") == ["uneven-game: the weights of `p + p_2` do not sum to 1"]
    assert warnings_of(sides % "1/3 p + 2/3 p_2") == []


def test_a_game_that_nobody_plays_against_its_discriminator_is_told() -> None:
    still = "networks: {encoder: {trainable: false}, components: {trainable: false}, decoder: {trainable: %s}}"
    told = ["uneven-game: nobody plays `joint` against `critic`"]
    assert warnings_of(still % "false") == told
    assert warnings_of(still % "true") == []
    again = "distributions: {p: null, r: {r(x): q.x, r(y): uniform, r(z): normal}}\n"
    again += "networks: {encoder: {trainable: false}, components: null, decoder: null}\n"
    again += "games: {joint: {match: [q, r], discriminator: critic.d, objective: hinge}}"
    assert warnings_of(again) == told
    assert warnings_of(again.replace("{trainable: false}", "{trainable: true}")) == []


def test_the_networks_of_a_posterior_play_and_its_priors_do_not() -> None:
    text = """
        networks: {encoder: {%s, layers: {a: null, y: null}}, components: {%s}, decoder: {%s}}
        distributions:
          q: {q(x): data, q(z|x): encoder.z, "q(y|x,z)": {bayes: p}}
          p: {p(y): uniform, p(z|y): components.z, "p(x|y,z)": decoder.x}
        """
    learns, still = "trainable: true", "trainable: false"
    assert warnings_of(text % (learns, learns, learns)) == []
    assert warnings_of(text % (still, still, learns)) == []
    assert warnings_of(text % (still, still, still)) == ["uneven-game: nobody plays `joint` against `critic`"]


def test_two_games_that_ask_one_discriminator_for_opposite_answers_are_told() -> None:
    opposite = "games: {more: {match: [p, q], discriminator: critic.d, objective: %s, trains: %s}}"
    told = ["uneven-game: `more` asks `critic.d` for the opposite of what `joint` does"]
    assert warnings_of(opposite % ("jensen_shannon", ALL)) == told
    assert warnings_of(opposite % ("jensen_shannon", "[encoder]")) == []  # the sides alone play it


def test_entries_of_trains_and_of_turns_that_train_nobody_are_told() -> None:
    text = (
        MORE % f"trains: {ALL}"
        + "training: {schedule: [{update: [critic], games: [joint, more]}, "
        + "{update: [encoder, components, decoder], games: [joint]}]}"
    )
    assert warnings_of(text) == [
        f"no-effect: `more` trains `{name}` in no turn" for name in ("encoder", "components", "decoder")
    ]
    text = (
        MORE % "trains: [critic]"
        + "training: {schedule: [{update: [critic]}, {update: [encoder, components, decoder], games: [joint, more]}]}"
    )
    assert warnings_of(text) == ["no-effect: `more` trains none of the networks that this turn updates"]


def test_what_a_prior_draws_and_nothing_reads_is_told() -> None:
    text = """
        distributions:
          r: {r(x): q.x, r(z): normal, r(y): uniform}
        networks: {other: {layers: {d: {input: x | z, op: linear, channels: 1}}}}
        games: {more: {match: [r, q], discriminator: other.d, objective: hinge}}
        """
    assert warnings_of(text) == ["no-effect: `r(y)` of `r` is never drawn"]


# ------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("constants: {L: 3}", "nothing uses the constant `L`"),
        ("training: {ema: {default: 0.9}}", "nothing uses the averages of weights"),
        ("training: {batchnorm: {momentum: 0.5}}", "no row is batch-normalised"),
        (
            "training: {optimizers: {default: {learning_rate: 0}}}\n",
            "the learning rate of `encoder` is 0 all through the training: it never changes",
        ),
        ("data: {fields: {y: label}}", "`y` takes no field of a record: no factor of it is drawn by `data`"),
        ("data: {labeled: {count: 10}}", "nothing uses the labelled subset"),
        (
            "data: {labeled: {count: 10}}\n"
            "networks: {encoder: {layers: {y: null, a: null}}}\n"
            "distributions: {q: {'q(x,y)': data, 'q(z|x)': encoder.z}}",
            "nothing uses the labelled subset",
        ),
        ("data: {seed: 3}", "nothing is split at random: no example is held out or labelled"),
        (
            "networks: {critic: {layers: {d: {bias: false, initializer: {biases: 3}}}}}",
            "row `d` of `critic` has no bias",
        ),
        (
            "networks: {critic: {defaults: {op: conv_transpose}, layers: {hx: {op: conv}, d: {op: conv}}}}",
            "no row of `critic` takes the default `op`",
        ),
        (
            "published: [{metric: classification_error, value: 1, source: a paper}]",
            "no evaluation of this model gives a `classification_error` to compare with",
        ),
        (
            "measured: [{metric: classification_error, values: [1], minutes: 1}]",
            "no evaluation of this model gives a `classification_error` to compare with",
        ),
        (
            "games: {joint: {match: [q, p], discriminator: critic.d, objective: hinge,"
            " trains: [critic, encoder, components, decoder, critic]}}",
            "`critic` stands twice in `trains`",
        ),
        (
            "training: {schedule: [{update: [critic, encoder, components, decoder], games: [joint, joint]}]}",
            "`joint` stands twice in `games`",
        ),
        (
            "training:\n  steps: null\n  phases: [{steps: 5}, {steps: 5, schedule: "
            "[{update: [critic, encoder, components, decoder], games: [joint, joint]}]}]",
            "`joint` stands twice in `games`",
        ),
        (
            "training: {batch_size: {default: 4, q: 4, p: 4}}",
            "nothing takes the `default` of `batch_size`",
        ),
        (
            "evaluation: {weights: ema}\n"
            "training: {ema: {default: 0, critic: 0, encoder: 0, components: 0, decoder: 0.9}}",
            "nothing takes the `default` of `ema`",
        ),
        ("evaluation: {weights: ema}\ntraining: {ema: {critic: 0.9}}", "nothing uses the averages of weights"),
        ("evaluation: {weights: ema}\ntraining: {ema: {default: 0}}", "nothing uses the averages of weights"),
        (
            "evaluation: {weights: ema}\ntraining: {ema: {decoder: 0.9, critic: 0.9}}",
            "no evaluation uses the average of `critic`, which draws no variable",
        ),
    ],
)
def test_settings_without_effect_are_told(text: str, message: str) -> None:
    assert warnings_of(text)[0] == f"no-effect: {message}"


def test_an_initializer_that_no_row_takes_is_told() -> None:
    initializer = "initializer: {weights: {normal: 1}, biases: 1}"
    layers = {
        "encoder": ("h", "a", "z_mu", "z_sigma"),
        "components": ("z_mu",),
        "decoder": ("x",),
        "critic": ("hx", "d"),
    }
    own = ", ".join(
        f"{name}: {{layers: {{{', '.join(f'{row}: {{{initializer}}}' for row in rows)}}}}}"
        for name, rows in layers.items()
    )
    text = f"networks: {{{own}}}\ntraining: {{initializer: {{biases: 0}}}}"
    assert warnings_of(text) == ["no-effect: no row takes the `biases` of `training.initializer`"]
    assert warnings_of("training: {initializer: {biases: 1, weights: {normal: 1}}}") == []


def test_an_optimizer_that_no_network_takes_is_told() -> None:
    own = ", ".join(f"{name}: {{name: sgd, learning_rate: 1}}" for name in ("critic", "encoder", "components"))
    text = f"training: {{optimizers: {{{own}, decoder: %s}}}}"
    told = ["no-effect: no network takes a key of the `default` optimizer"]
    assert warnings_of(text % "{name: sgd, learning_rate: 1}") == told
    assert warnings_of(text % "{name: adam, learning_rate: 1}") == told
    assert warnings_of(text % "{name: adam}") == []


def test_a_key_of_the_default_optimizer_that_no_network_takes_is_told() -> None:
    own = ", ".join(f"{name}: {{learning_rate: 1e-2}}" for name in ("critic", "encoder", "components"))
    text = f"training: {{optimizers: {{{own}%s}}}}"
    told = ["no-effect: no network takes the `learning_rate` of the `default` optimizer"]
    assert warnings_of(text % "") == []
    assert warnings_of(text % ", decoder: {learning_rate: 1e-2}") == told
    assert warnings_of(text % ", decoder: {name: rmsprop, learning_rate: 1e-2}") == told


def test_averages_and_labels_that_serve_are_no_warning() -> None:
    averages = "evaluation: {weights: ema}\ntraining: {ema: {default: 0.9, critic: 0}}"
    assert warnings_of(averages) == []
    labels = "data: {labeled: {count: 10}}\ndistributions: {p: {p(y): empirical, 'p(z|y)': components.z, %s}}"
    assert warnings_of(labels % "'p(x|y,z)': decoder.x") == []


def test_a_field_by_which_a_category_is_scored_is_no_warning() -> None:
    """The label is y's, so that c is scored by it only where the spec says so."""
    text = """
        data: {labeled: {count: all}, fields: {c: label}}
        variables: {c: {type: categorical, size: 3}}
        networks:
          encoder: {layers: {a: {input: h | y, channels: 3, width: 1}, c: {input: a, activation: softmax}, y: null}}
          critic: {layers: {h: {input: hx | y | z | c, channels: 23}}}
        distributions:
          q:
            q(x,y): data.labeled
            q(c|x,y): encoder.c
            q(z|x): encoder.z
          p:
            p(y): uniform
            p(c): uniform
            p(z|y): components.z
            p(x|y,z): decoder.x
        """
    assert warnings_of(text) == []


def test_what_says_what_holds_anyway_is_no_warning() -> None:
    text = """
        data: {validation: 0}
        games: {joint: {match: [q, p], discriminator: critic.d, objective: hinge, weight: 1, batch: joint}}
        evaluation: {weights: last, every_epochs: 1}
        constants: {M: 4}
        published: [{when: {M: 4}, metric: nmi, value: 1, source: here}]
        """
    assert warnings_of(text) == []


# ------------------------------------------------------------------------------------------------ what is shown


def test_the_players_of_a_game_are_those_that_learn_from_it() -> None:
    plan = plan_of(MORE % "roth_penalty: {gamma: 100}, trains: [encoder]")
    assert game_text(plan, plan.game("more")).split("\n")[2:] == ["  encoder  minimises E_q d - E_p d through q.y, q.z"]
    assert game_text(plan, plan.game("joint")).count("minimises") == 4


def test_two_games_of_one_discriminator_have_all_players() -> None:
    plan = plan_of(TWO_GAMES)
    assert [game_text(plan, game).count("minimises") for game in plan.games] == [4, 4]


def test_formulas_and_data_for_tools_name_what_somebody_minimises() -> None:
    plan = plan_of(MORE % "roth_penalty: {gamma: 100}, trains: [encoder]")
    (more,) = [game for game in as_json(plan)["games"] if game["name"] == "more"]
    assert [found["network"] for found in more["gradients"]] == ["encoder"]
    assert more["penalties"] == []
    assert more["latex"]["discriminator"] is None
    assert more["latex"]["generator"] in latex(plan)
    assert latex(plan).count(r"\mathcal{L}^{D}_{\mathrm{more}}") == 0
    idle = plan_of(MORE % "weight: 1" + f"training: {{schedule: [{{update: {ALL}, games: [joint]}}]}}")
    assert "% game more, which no turn plays\n" in latex(idle)
    assert "more" not in "".join(model.role for pair in pairs(idle) for model in pair)
    assert "no turn plays it" in plan_summary(idle)


def test_a_side_and_an_ordinal_read_alike_wherever_they_stand() -> None:
    game = "{match: [q, 1/4 p + 3/4 p_2], discriminator: critic.d, objective: hinge}"
    plan = plan_of(f"distributions: {{p_2: p}}\ngames: {{joint: {game}}}")
    for shown in (game_text(plan, plan.games[0]), plan_summary(plan), plan_html(plan)):
        assert "0.25 p + 0.75 p_2" in shown
    lazy = plan_of(MORE % "gradient_penalty: {lambda: 1, every: 2}", "training.steps=9")
    lines = [line for flow in flows(lazy) for box in flow.boxes for line in box.lines]
    assert "in every 2nd step, 2 times" in lines
    assert "in every 2nd step, 2 times" in step_text(lazy)


def test_a_drawing_has_no_pass_of_a_penalty_that_is_not_taken() -> None:
    turns = "[{update: [critic]}, {update: [encoder, components, decoder]}]"
    plan = plan_of(MORE % "gradient_penalty: {lambda: 1}", f"training.schedule={turns}")
    lines = [[line for box in flow.boxes if box.stage == "pass" for line in box.lines] for flow in flows(plan)]
    assert [sum("between" in line for line in found) for found in lines] == [1, 0]


def test_a_schedule_that_rises_only_after_the_last_step_is_0_all_through_the_training() -> None:
    weight = "games.joint.weight=[[50, 0], [100, 1]]"
    rate = "training.optimizers.default.learning_rate=[[50, 0], [100, 1e-3]]"
    found = [warning.message for warning in tiny.plan_of(tiny.TINY, weight, rate).warnings]
    assert "the weight of `joint` is 0 all through the training" in found
    assert "the learning rate of `critic` is 0 all through the training: it never changes" in found
    assert not tiny.plan_of(tiny.TINY, "games.joint.weight=[[0, 0], [1, 1]]").warnings
