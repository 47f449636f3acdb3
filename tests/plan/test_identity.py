"""The identity of a plan changes with everything that is decided, and with nothing else, least of all its wording."""

import json

import pytest
from tiny import LABELED, TINY, plan_of

import ammgraph
from ammgraph.plan.identity import VERSION, identity, of_another_version, plan_hash
from ammgraph.show import text
from ammgraph.spec.load import load_spec

LOGIT = "networks.critic.layers.p={input: h, op: %s, channels: 1}"
ENCODER = "networks.encoder.layers."
ATTENTION = (
    "networks.critic.layers={hx: {input: x, channels: 12, width: 8}, p: {input: h | y | z, channels: 1, width: 1}, "
    "h: {input: hx, op: attention, channels: 4, heads: %s}}"
)
FLAT = ENCODER + "h={input: v, op: linear, channels: 16}"
LINEAR = ENCODER + "v={input: x, op: linear, shape: [%s]}"
COMPONENTS = "networks.components.layers."
CHOICES = (COMPONENTS + "k={input: y, activation: softmax}", COMPONENTS + "m={input: k, channels: 40, width: 1}")
POOLED = "networks.critic.layers.hx={input: x, channels: 1, %s}"
NPZ = "data={dataset: npz, path: %s}"
GAME = "games.joint={match: [%s, %s], discriminator: critic.%s, objective: jensen_shannon%s}"
P = "distributions.p={p(y): %s, p(z|y): %s, 'p(x|y,z)': decoder.x}"
MIXTURE = "{mixture: {means: %s, scale: %s}}"
MEANS = "[[0, 1, 2, 3], [4, 5, 6, %s]]"
TWO = ("constants.K=2", "networks.components=null", "data={dataset: npz, path: a.npz}")
TURNS = "training.schedule=[{update: [%s]%s}, {update: [%s]%s}]"
REST = "encoder, decoder, components"
OPTIMIZER = "training.optimizers={default: {name: %s, learning_rate: 1}}"
OTHER_P = "distributions.r=p"
TWENTY = ("data.labeled.count=20",)

# What both plans have, and what one has in the place of the other's.
CHANGES: list[tuple[tuple[str, ...], str, str]] = [
    # data and variables
    ((), "data.dataset=digits", "data={dataset: npz, path: a.npz, validation: 197, labeled: {count: 20}}"),
    ((), "data.validation=197", "data.validation=198"),
    ((), "data.seed=0", "data.seed=1"),
    ((), "data.labeled.count=20", "data.labeled.count=30"),
    (TWENTY, "data.labeled.choice=balanced", "data.labeled.choice=random"),
    ((), "data.labeled.count=20", "data.validation=197"),
    ((), "constants.K=10", "constants.K=11"),
    ((), "variables.x.range=[0, 1]", "variables.x.range=[0, 2]"),
    # the columns of a row
    ((), ENCODER + "h.input=x", ENCODER + "h.input=x + x"),
    ((), ENCODER + "h.input=x + x", ENCODER + "h.input=x * x"),
    ((), ENCODER + "h.op=conv", ENCODER + "h={input: x, channels: 16, op: linear, dropout: 0.2, activation: elu}"),
    ((), ENCODER + "h.channels=16", ENCODER + "h.channels=17"),
    ((), ENCODER + "h.dropout=0.2", ENCODER + "h.dropout=0.3"),
    ((), ENCODER + "h.dropout=0.2", ENCODER + "h.dropout=0"),
    ((), ENCODER + "h.dropout=0.2", ENCODER + "h.noise=0.1"),
    ((), ENCODER + "h.noise=0.1", ENCODER + "h.noise=0.2"),
    ((), LOGIT % "max", LOGIT % "lse"),
    ((), ENCODER + "h.batchnorm=false", ENCODER + "h.batchnorm=true"),
    ((), ENCODER + "h.norm=layer", ENCODER + "h.norm=group 1"),
    ((), ENCODER + "h.norm=group 2", ENCODER + "h.norm=group 4"),
    ((), ENCODER + "h.batchnorm=false", ENCODER + "h.norm=layer"),
    ((), POOLED % "width: [3, 2], pool: max 6 by 7", POOLED % "width: [2, 3], pool: max 7 by 6"),
    ((), POOLED % "width: [8, 1], stride: [1, 8]", POOLED % "width: [8, 2], stride: [1, 8]"),
    ((), POOLED % "width: 2, stride: [6, 2], pool: max 2 by 4", POOLED % "width: 2, stride: [2, 6], pool: max 4 by 2"),
    ((), POOLED % "width: 8", POOLED % "width: 8, upsample: nearest 1"),
    ((), ATTENTION % 1, ATTENTION % 2),
    ((FLAT,), LINEAR % "2, 2, 1", LINEAR % "4, 1, 1"),
    (CHOICES, COMPONENTS + "z_mu={input: m, choose: y}", COMPONENTS + "z_mu={input: m, choose: k}"),
    ((), ENCODER + "h.weightnorm=false", ENCODER + "h.weightnorm=true"),
    ((), ENCODER + "h.weightnorm=true", ENCODER + "h.spectralnorm=true"),
    ((), ENCODER + "h.activation=leaky_relu 0.2", ENCODER + "h.activation=leaky_relu 0.3"),
    ((), ENCODER + "h.activation=relu", ENCODER + "h.activation=elu"),
    ((), ENCODER + "h.bias=true", ENCODER + "h.bias=false"),
    ((), ENCODER + "y.activation=gumbel_softmax 0.5", ENCODER + "y.activation=gumbel_softmax 0.6"),
    ((), ENCODER + "y.activation=softmax", ENCODER + "y.activation=straight_through"),
    ((), POOLED % "width: 3, pool: max 6", POOLED % "width: 3, pool: avg 6"),
    ((), POOLED % "width: 3, pool: max 6", POOLED % "width: 3, padding: 1, pool: max 8"),
    ((), POOLED % "width: 2, stride: 2, pool: max 4", POOLED % "width: 2, stride: 6, pool: max 2"),
    ((), ENCODER + "h.initializer={weights: {normal: 0.02}}", ENCODER + "h.initializer={weights: {normal: 0.03}}"),
    ((), ENCODER + "h.initializer={weights: {normal: 1}}", ENCODER + "h.initializer={weights: {orthogonal: 1}}"),
    ((), ENCODER + "h.initializer={biases: 0}", ENCODER + "h.initializer={biases: 1}"),
    ((), "training.initializer={biases: 0}", "training.initializer={biases: 1}"),
    ((), "training.initializer.weights={normal: 1}", "training.initializer.weights={kaiming_normal: 1}"),
    # distributions
    (TWENTY, "distributions.q.q(x)=data", "distributions.q.q(x)=data.labeled"),
    (TWENTY, P % ("uniform", "components.z"), P % ("empirical", "components.z")),
    (TWO, P % ("[0.5, 0.5]", MIXTURE % (MEANS % 7, 1)), P % ("[0.4, 0.6]", MIXTURE % (MEANS % 7, 1))),
    (TWO, P % ("uniform", MIXTURE % (MEANS % 7, 1)), P % ("uniform", MIXTURE % (MEANS % 8, 1))),
    (TWO, P % ("uniform", MIXTURE % (MEANS % 7, 1)), P % ("uniform", MIXTURE % (MEANS % 7, 2))),
    (TWO, P % ("uniform", MIXTURE % ("{normal: 1}", 1)), P % ("uniform", MIXTURE % ("{normal: 2}", 1))),
    (TWO, P % ("uniform", MIXTURE % ("{normal: 1}", 1)), P % ("uniform", MIXTURE % ("{normal: 1, seed: 1}", 1))),
    # games
    ((), GAME % ("q", "p", "p", ""), GAME % ("p", "q", "p", "")),
    ((OTHER_P,), GAME % ("q", "1/2 p + 1/2 r", "p", ""), GAME % ("q", "1/4 p + 3/4 r", "p", "")),
    ((), GAME % ("q", "p", "p", ", weight: 1"), GAME % ("q", "p", "p", ", weight: 2")),
    ((), GAME % ("q", "p", "p", ", weight: [[0, 1], [2, 0]]"), GAME % ("q", "p", "p", ", weight: [[0, 1], [3, 0]]")),
    ((), GAME % ("q", "p", "p", ", batch: joint"), GAME % ("q", "p", "p", ", batch: separate")),
    *(
        ((), GAME % ("q", "p", "p", f", {penalty}: 1}}"), GAME % ("q", "p", "p", f", {penalty}: 2}}"))
        for penalty in ("gradient_penalty: {lambda", "roth_penalty: {gamma", "r1_penalty: {gamma")
    ),
    ((), GAME % ("q", "p", "p", ", roth_penalty: {gamma: 1}"), GAME % ("q", "p", "p", ", r1_penalty: {gamma: 1}")),
    ((), "games.joint.gradient_penalty.every=1", "games.joint.gradient_penalty.every=2"),
    *(
        ((), "games.joint.objective=jensen_shannon", f"games.joint.objective={objective}")
        for objective in ("minimax", "wasserstein", "least_squares", "hinge")
    ),
    # training
    ((), "training.batch_size=40", "training.batch_size=41"),
    ((), "training.ema={default: 0.9}", "training.ema={default: 0.99}"),
    ((), "training.ema={default: 0.9}", "training.ema={default: 0.9, critic: 0}"),
    ((), "training.batchnorm.momentum=0.1", "training.batchnorm.momentum=0.2"),
    ((), "training.batchnorm.epsilon=1e-5", "training.batchnorm.epsilon=1e-4"),
    ((), OPTIMIZER % "adam", OPTIMIZER % "sgd"),
    ((), OPTIMIZER % "sgd, momentum: 0.5", OPTIMIZER % "sgd"),
    ((), OPTIMIZER % "sgd, weight_decay: 0.5", OPTIMIZER % "sgd"),
    ((), OPTIMIZER % "adam, betas: [0.5, 0.9]", OPTIMIZER % "adam, betas: [0.6, 0.9]"),
    ((), OPTIMIZER % "adam, epsilon: 1e-8", OPTIMIZER % "adam, epsilon: 1e-7"),
    ((), OPTIMIZER % "rmsprop, decay: 0.9", OPTIMIZER % "rmsprop, decay: 0.8"),
    ((), OPTIMIZER % "rmsprop, epsilon: 1e-8", OPTIMIZER % "rmsprop, epsilon: 1e-7"),
    ((), "training.optimizers.default.learning_rate=1e-3", "training.optimizers.default.learning_rate=2e-3"),
    ((), "training.optimizers.critic={learning_rate: 1e-3}", "training.optimizers.critic={learning_rate: 2e-3}"),
    ((), TURNS % ("critic", "", REST, ""), TURNS % (REST, "", "critic", "")),
    ((), TURNS % ("critic", "", REST, ""), TURNS % ("critic", ", steps: 2", REST, "")),
    ((), TURNS % ("critic", "", REST, ""), TURNS % ("critic", "", REST, ", draw: same")),
    (("training.ema={default: 0.9}",), "evaluation.weights=last", "evaluation.weights=ema"),
]  # fmt: skip


@pytest.mark.parametrize(("common", "first", "second"), CHANGES)
def test_another_decision_is_another_hash(common: tuple[str, ...], first: str, second: str) -> None:
    assert plan_hash(plan_of(TINY, *common, first)) != plan_hash(plan_of(TINY, *common, second))


def test_the_games_of_a_turn_and_what_a_game_trains_are_decisions() -> None:
    turns = "training.schedule=[{update: [critic], games: [%s]}, {update: [encoder, decoder, components, critic]}]"
    assert plan_hash(plan_of(LABELED, turns % "labeled")) != plan_hash(plan_of(LABELED, turns % "unlabeled"))
    trains = "games.labeled.trains=[critic, %s]"
    assert plan_hash(plan_of(LABELED, trains % "encoder")) != plan_hash(plan_of(LABELED, trains % "decoder"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("title=one", "title=two"),
        ("notes=one", "notes=[two, three]"),
        ("published=[]", "published=[{metric: nmi, value: 1, source: Table 1}]"),
        ("training.steps=13", "training.steps=14"),
        ("evaluation.every_epochs=1", "evaluation.every_epochs=2"),
        (NPZ % "a.npz", NPZ % "b.npz"),
        # other ways to write the same
        ("constants.K=10", "constants.K=2 * 5"),
        ("training.batch_size=40", "training.batch_size={default: 40}"),
        (ENCODER + "h.stride=1", ENCODER + "h.padding=0"),
        ("games.joint.weight=1", "games.joint.batch=joint"),
        ("training.optimizers.default.epsilon=1e-8", "training.optimizers.encoder={learning_rate: 1e-3}"),
    ],
)
def test_what_decides_nothing_is_not_in_the_hash(first: str, second: str) -> None:
    assert plan_hash(plan_of(TINY, first)) == plan_hash(plan_of(TINY, second))


def test_wording_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before, printed = plan_hash(plan_of(TINY)), text.plan_text(plan_of(TINY))
    monkeypatch.setattr(text, "density_text", lambda density: "reworded")
    assert text.plan_text(plan_of(TINY)) != printed
    assert plan_hash(plan_of(TINY)) == before


def test_it_is_plain_data_that_survives_json_and_names_its_version() -> None:
    found = identity(plan_of(LABELED))
    assert json.loads(json.dumps(found)) == found
    assert found["version"] == VERSION
    assert plan_hash(plan_of(LABELED)).startswith(f"{VERSION}:")


def test_what_has_its_default_is_left_out_so_that_later_decisions_leave_older_plans_alone() -> None:
    plan = identity(plan_of(TINY))["plan"]
    assert all("dropout" not in site for turn in plan["turns"] for site in turn["sites"] if site["kind"] != "mask")
    assert "path" not in plan["data"]
    assert not [row for network in plan["networks"] for row in network["rows"] if "noise" in row]


@pytest.mark.parametrize(
    ("recorded", "told"),
    [("f" * 64, "plans as printed text"), (f"{VERSION + 1}:{'f' * 64}", f"identity {VERSION + 1}")],
)
def test_another_version_says_so_and_what_to_do(recorded: str, told: str) -> None:
    reason = of_another_version(recorded)
    assert f"compares {told}, and this one compares identity {VERSION}" in reason
    assert "train the run's spec.json anew" in reason
    assert of_another_version(plan_hash(plan_of(TINY))) == ""


def test_a_plan_that_shows_itself_is_the_same_plan() -> None:
    assert plan_hash(ammgraph.compile_spec(load_spec(TINY))) == plan_hash(plan_of(TINY))
