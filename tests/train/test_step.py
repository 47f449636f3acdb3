"""One turn: whose gradient is whose, and what a turn leaves alone."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from one_step import GENERATORS, NETWORKS, SPEC, Step, flat, same
from plain_objectives import OBJECTIVES
from tiny import TINY, trainer_of

from ammgraph.train.step import Outcome, take_turn


def weighted(outcome: Outcome, terms: dict[str, float]) -> float:
    return sum(weight * outcome.values[name].item() for name, weight in terms.items())


def slope_and_gradient(step: Step, networks: Sequence[str], loss: dict[str, float]) -> tuple[float, float]:
    """The change of a loss along a direction by central differences, and by the turn's gradient."""
    generator = torch.Generator().manual_seed(7)
    parameters = step.parameters(networks)
    direction = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    gradient = flat(step.take(), networks)
    step.move(networks, direction, 1e-5)
    up = weighted(step.take(), loss)
    step.move(networks, direction, -2e-5)
    down = weighted(step.take(), loss)
    return (up - down) / 2e-5, sum((g * d).sum().item() for g, d in zip(gradient, direction, strict=True))


# --------------------------------------------------------------------------------------------------- gradient and loss

PENALTIES = ["gradient_penalty", "roth_penalty", "r1_penalty"]


def penalized(kind: str) -> str:
    return f"games.joint.{kind}={{{'lambda' if kind == 'gradient_penalty' else 'gamma'}: 3}}"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_player_s_gradient_is_the_slope_of_its_own_loss(objective: str) -> None:
    step = Step(f"games.joint.objective={objective}")
    for networks, loss in ((("critic",), "joint/discriminator"), (GENERATORS, "joint/generator")):
        slope, gradient = slope_and_gradient(step, networks, {loss: 1})
        assert gradient == pytest.approx(slope, rel=1e-6, abs=1e-8)
        assert abs(slope) > 1e-4


@pytest.mark.parametrize("kind", PENALTIES)
def test_the_discriminator_s_gradient_includes_its_penalty(kind: str) -> None:
    step = Step(penalized(kind))
    slope, gradient = slope_and_gradient(step, ("critic",), {"joint/discriminator": 1, f"joint/{kind}": 3})
    assert gradient == pytest.approx(slope, rel=1e-6)
    assert abs(slope - slope_and_gradient(step, ("critic",), {"joint/discriminator": 1})[0]) > 1e-3


@pytest.mark.parametrize("kind", PENALTIES)
def test_a_penalty_is_none_of_the_generators_business(kind: str) -> None:
    assert same(flat(Step(penalized(kind)).take(), GENERATORS), flat(Step().take(), GENERATORS))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_small_step_of_each_player_lowers_its_own_loss(objective: str) -> None:
    for networks, loss in ((("critic",), "joint/discriminator"), (GENERATORS, "joint/generator")):
        step = Step(f"games.joint.objective={objective}")
        before = step.take()
        step.move(networks, flat(before, networks), -1e-4)
        assert step.take().values[loss] < before.values[loss]


def test_a_step_of_the_discriminator_raises_the_value_of_eq_13_and_one_of_the_generators_lowers_it() -> None:
    step = Step("games.joint.objective=minimax")
    value = step.take().values["joint/generator"].item()  # E_q log D + E_p log(1 - D)
    step.move(("critic",), step.take().gradients["critic"], -1e-3)
    raised = step.take().values["joint/generator"].item()
    assert raised > value
    step.move(GENERATORS, flat(step.take(), GENERATORS), -1e-3)
    assert step.take().values["joint/generator"].item() < raised


# ---------------------------------------------------------------------------------------------------- weights and games


def test_a_game_s_weight_scales_both_players_and_the_penalty() -> None:
    plain, half = Step(penalized("gradient_penalty")), Step(penalized("gradient_penalty"), "games.joint.weight=1/2")
    expected = [0.5 * gradient for gradient in flat(plain.take(), NETWORKS)]
    assert same(flat(half.take(), NETWORKS), expected)


def test_a_scheduled_weight_is_taken_at_the_epoch() -> None:
    step, plain = Step("games.joint.weight=[[0, 0], [10, 1]]"), Step().take()
    assert same(flat(step.take(epoch=2.5), NETWORKS), [0.25 * gradient for gradient in flat(plain, NETWORKS)])
    assert same(flat(step.take(epoch=99), NETWORKS), flat(plain, NETWORKS))


def test_a_weight_that_changes_with_steps_is_taken_at_the_step() -> None:
    step = Step("games.joint.weight={points: [[0, 0], [10, 1]], by: steps}")
    plain = Step().take()
    assert same(flat(step.take(epoch=99, step=5), NETWORKS), [0.5 * gradient for gradient in flat(plain, NETWORKS)])


def test_a_scheduled_penalty_is_taken_at_the_epoch() -> None:
    kind = "games.joint.gradient_penalty={lambda: [[0, 0], [10, 3]]}"
    never, late = Step().take(), Step(kind)
    assert same(late.take(epoch=0).gradients["critic"], never.gradients["critic"])
    assert same(late.take(epoch=10).gradients["critic"], Step(penalized("gradient_penalty")).take().gradients["critic"])


TWO_GAMES = SPEC.replace(
    "training:\n",
    """  of_x: {match: [q, p], discriminator: second.d, objective: least_squares, weight: 2}
training:
""",
).replace(
    "  critic:\n",
    """  second:
    layers: {d_h: {input: x, op: linear, channels: 4, activation: tanh}, d: {input: d_h, op: linear, channels: 1}}
  critic:
""",
)


def test_games_add_up_and_each_discriminator_has_its_own() -> None:
    step = Step(text=TWO_GAMES)
    loss = {"joint/generator": 1, "of_x/generator": 2}
    slope, gradient = slope_and_gradient(step, GENERATORS, loss)
    assert gradient == pytest.approx(slope, rel=1e-6)
    slope, gradient = slope_and_gradient(step, ("second",), {"of_x/discriminator": 2})
    assert gradient == pytest.approx(slope, rel=1e-6)
    slope, gradient = slope_and_gradient(step, ("critic",), {"joint/discriminator": 1})
    assert gradient == pytest.approx(slope, rel=1e-6)


def test_a_game_that_trains_some_networks_gives_the_others_nothing() -> None:
    everyone, joint_only = Step(text=TWO_GAMES), Step(text=SPEC)
    limited = Step("games.of_x.trains=[second]", text=TWO_GAMES)
    for step in (joint_only, limited):  # the same weights and noise as `everyone`
        for name in NETWORKS:
            step.model.network(name).load_state_dict(everyone.model.network(name).state_dict())
        step.data = everyone.data
        step.noise = everyone.noise
    limited.model.network("second").load_state_dict(everyone.model.network("second").state_dict())
    alone, found = joint_only.take(), limited.take()
    assert same(flat(found, NETWORKS), flat(alone, NETWORKS))
    assert same(found.gradients["second"], everyone.take().gradients["second"])


def test_a_network_in_both_roles_adds_both_gradients() -> None:
    """The encoder draws y and z in one game, and its row `d` is the discriminator of another."""
    text = SPEC.replace(
        "      h: {input: x, op: linear, channels: 6, batchnorm: true, activation: tanh}\n      y:",
        "      h: {input: x, op: linear, channels: 6, activation: tanh}\n"
        "      d: {input: h, op: linear, channels: 1}\n      y:",
    ).replace(
        "training:\n",
        "  of_x: {match: [q, p], discriminator: encoder.d, objective: least_squares, weight: 2}\ntraining:\n",
    )
    step = Step(text=text)
    slope, gradient = slope_and_gradient(step, ("encoder",), {"joint/generator": 1, "of_x/discriminator": 2})
    assert gradient == pytest.approx(slope, rel=1e-6)
    slope, gradient = slope_and_gradient(step, ("decoder",), {"joint/generator": 1, "of_x/generator": 2})
    assert gradient == pytest.approx(slope, rel=1e-6)


def test_a_side_may_be_a_weighted_sum_of_distributions() -> None:
    text = SPEC.replace("games:\n", "  r:\n    r(x): q.x\n    r(y): p.y\n    r(z): normal\ngames:\n").replace(
        "match: [q, p]", "match: [q, 3/4 p + 1/4 r]"
    )
    step = Step(text=text)
    assert step.plan.game("joint").fake == ((0.75, "p"), (0.25, "r"))
    for networks, loss in ((("critic",), "joint/discriminator"), (GENERATORS, "joint/generator")):
        slope, gradient = slope_and_gradient(step, networks, {loss: 1})
        assert gradient == pytest.approx(slope, rel=1e-6)


def test_a_blind_discriminator_pays_two_ln_two_whatever_the_weights_of_a_side() -> None:
    text = SPEC.replace("games:\n", "  r:\n    r(x): q.x\n    r(y): p.y\n    r(z): normal\ngames:\n").replace(
        "match: [q, p]", "match: [q, 3/4 p + 1/4 r]"
    )
    step = Step(text=text)
    with torch.no_grad():
        for parameter in step.model.network("critic").parameters():
            parameter.zero_()
    assert step.take().values["joint/discriminator"].item() == pytest.approx(1.3862943611)
    assert step.take().values["joint/generator"].item() == pytest.approx(1.3862943611)


# ------------------------------------------------------------------------------------------------------ turns and draws

ALTERNATING = "training.schedule=[{update: [critic]}, {update: [encoder, components, decoder]}]"


def test_alternating_turns_take_the_gradients_that_one_turn_takes_at_the_same_point() -> None:
    together, apart = Step(penalized("gradient_penalty")), Step(penalized("gradient_penalty"), ALTERNATING)
    apart.data, apart.noise = together.data, together.noise
    expected = together.take()
    of_critic, of_generators = apart.take(turn=0), apart.take(turn=1)
    assert set(of_critic.gradients) == {"critic"}
    assert set(of_generators.gradients) == set(GENERATORS)
    assert same(of_critic.gradients["critic"], expected.gradients["critic"])
    assert same(flat(of_generators, GENERATORS), flat(expected, GENERATORS))


@pytest.mark.parametrize("kind", PENALTIES)
def test_a_discriminator_s_own_turn_takes_the_same_penalty(kind: str) -> None:
    together, apart = Step(penalized(kind)), Step(penalized(kind), ALTERNATING)
    apart.data, apart.noise = together.data, together.noise
    assert same(apart.take(turn=0).gradients["critic"], together.take().gradients["critic"])


@pytest.mark.parametrize("kind", PENALTIES)
def test_a_turn_of_the_generators_takes_no_penalty(kind: str) -> None:
    apart, plain = Step(penalized(kind), ALTERNATING), Step(ALTERNATING)
    apart.noise = {name: value for name, value in apart.noise.items() if ".penalty" not in name}
    plain.data, plain.noise = apart.data, apart.noise
    found = apart.take(turn=1)
    assert f"joint/{kind}" not in found.values
    assert same(flat(found, GENERATORS), flat(plain.take(turn=1), GENERATORS))


@pytest.mark.parametrize("kind", PENALTIES)
def test_a_lazy_penalty_is_taken_in_every_nth_step_n_times(kind: str) -> None:
    plain, always, lazy = Step(), Step(penalized(kind)), Step(penalized(kind), f"games.joint.{kind}.every=3")
    without, once = plain.take().gradients["critic"], always.take()
    expected = [a + 3 * (b - a) for a, b in zip(without, once.gradients["critic"], strict=True)]
    for step in (0, 3, 6):
        taken = lazy.take(step=step)
        assert same(taken.gradients["critic"], expected)
        assert taken.values[f"joint/{kind}"].item() == pytest.approx(3 * once.values[f"joint/{kind}"].item())
    for step in (1, 2, 4, 5):
        skipped = lazy.take(step=step)
        assert same(skipped.gradients["critic"], without)
        assert same(flat(skipped, GENERATORS), flat(once, GENERATORS))
        assert skipped.values[f"joint/{kind}"].item() == 0


@pytest.mark.parametrize("kind", PENALTIES)
@pytest.mark.parametrize("activation", ["", ", activation: tanh"])
def test_a_penalty_may_depend_on_a_bias_alone_or_on_nothing(activation: str, kind: str) -> None:
    """d = f(z) + b: its slope knows no weight, and so but Roth's penalty, which weighs by d, has gradient 0."""
    rows = f"{{a: {{input: z{activation}}}, b: {{input: zeros(1), channels: 1, width: 1}}, d: {{input: a + b}}}}"
    sizes = [f"networks.{name}.layers.{row}.channels=1" for name in GENERATORS[:2] for row in ("z_mu", "z_sigma")]
    game = "games.second={match: [q, p], discriminator: judge.d, objective: jensen_shannon}"
    overrides = ("variables.z.size=1", *sizes, f"networks.judge={{layers: {rows}}}", game)
    step, plain = Step(*overrides, penalized(kind).replace("joint", "second")), Step(*overrides)
    plain.model.load_state_dict(step.model.state_dict())
    plain.data, plain.noise = step.data, step.noise
    unmoved = same(step.take().gradients["judge"], plain.take().gradients["judge"])
    assert unmoved == (kind != "roth_penalty")


def test_joint_and_separate_batches_of_a_discriminator_without_batch_norm_are_the_same() -> None:
    joint = Step("networks.critic.layers.h.dropout=0")
    separate = Step("networks.critic.layers.h.dropout=0", "games.joint.batch=separate")
    assert [len(step.plan.turns[0].passes_of("scored")) for step in (joint, separate)] == [1, 2]
    assert same(flat(joint.take(), NETWORKS), flat(separate.take(), NETWORKS))


@pytest.mark.parametrize("batch", ["joint", "separate"])
def test_a_discriminator_s_batch_norm_sees_the_batch_that_the_game_says(batch: str) -> None:
    overrides = ("networks.critic.layers.of_x.batchnorm=true", f"games.joint.batch={batch}")
    step = Step(*overrides)
    for networks, loss in ((("critic",), "joint/discriminator"), (GENERATORS, "joint/generator")):
        slope, gradient = slope_and_gradient(step, networks, {loss: 1})
        assert gradient == pytest.approx(slope, rel=1e-5)
    joint, separate = (
        Step("networks.critic.layers.of_x.batchnorm=true", f"games.joint.batch={kind}").take()
        for kind in ("joint", "separate")
    )
    assert not torch.allclose(joint.values["joint/discriminator"], separate.values["joint/discriminator"])


@pytest.mark.parametrize("penalty", ["", ", r1_penalty: {gamma: 1}"])
def test_a_pass_of_its_own_over_a_prior_alone_has_nobody_to_teach(penalty: str) -> None:
    """The second game's FAKE is p(y), which no network draws; its REAL is q(y|x)."""
    sgd = "training.optimizers={default: {name: sgd, learning_rate: 0.1}}"  # Adam would blow rounding up
    trainers = []
    for batch in ("joint", "separate"):
        game = f"{{match: [q, p], discriminator: labels.d, objective: hinge, batch: {batch}{penalty}}}"
        network = "networks.labels.layers.d={input: y, channels: 1, width: 1}"
        trainers.append(trainer_of(TINY, network, f"games.second={game}", sgd, precision="float64"))
        trainers[-1].advance()
    joint, separate = (list(trainer.model.parameters()) for trainer in trainers)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(joint, separate, strict=True))


# --------------------------------------------------------------------------------------------- what a turn leaves alone


def test_a_turn_changes_no_parameter_and_leaves_no_gradient_behind() -> None:
    step = Step(penalized("gradient_penalty"))
    before = [parameter.detach().clone() for parameter in step.parameters(NETWORKS)]
    outcome = step.take()
    assert all(torch.equal(a, b) for a, b in zip(before, step.parameters(NETWORKS), strict=True))
    assert all(parameter.grad is None for parameter in step.parameters(NETWORKS))
    assert not any(tensor.requires_grad for tensor in [*outcome.values.values(), *flat(outcome, NETWORKS)])


def test_the_same_noise_gives_the_same_bits() -> None:
    first, second = Step(penalized("gradient_penalty")), Step(penalized("gradient_penalty"))
    assert all(
        torch.equal(a, b) for a, b in zip(flat(first.take(), NETWORKS), flat(second.take(), NETWORKS), strict=True)
    )


def test_a_turn_needs_every_site_of_its_plan_and_nothing_else() -> None:
    step = Step(penalized("gradient_penalty"))
    reference = flat(step.take(), NETWORKS)
    step.noise["q/another/row.mask"] = torch.zeros(1)
    assert same(flat(step.take(), NETWORKS), reference)
    for site in step.plan.turns[0].sites:
        kept = step.noise.pop(site.name)
        with pytest.raises(KeyError, match=site.name):
            step.take()
        step.noise[site.name] = kept


def test_every_site_matters() -> None:
    """No random tensor of the plan is drawn in vain."""
    step = Step(penalized("gradient_penalty"))
    reference = flat(step.take(), NETWORKS)
    for site in step.plan.turns[0].sites:
        kept = step.noise[site.name]
        step.noise[site.name] = ~kept if site.kind == "mask" else (kept + 0.37) % 1
        assert not same(flat(step.take(), NETWORKS), reference), site.name
        step.noise[site.name] = kept


def test_running_statistics_move_once_for_each_evaluation_and_not_for_the_penalty() -> None:
    step = Step(penalized("gradient_penalty"), "networks.critic.layers.of_x.batchnorm=true")
    weights = step.model.network("critic").rows["row_of_x"]
    encoder = step.model.network("encoder").rows["row_h"]
    x = step.data["q"]["x"].flatten(1)
    h = (x @ encoder.weight.T).detach()
    step.take()
    assert torch.allclose(encoder.running_mean, 0.1 * h.mean(0))
    assert torch.allclose(encoder.running_variance, 0.9 + 0.1 * h.var(0, unbiased=True))
    assert not torch.equal(weights.running_mean, torch.zeros(6, dtype=torch.float64))
    once = weights.running_mean.clone()
    without = Step("networks.critic.layers.of_x.batchnorm=true")
    without.take()
    assert torch.equal(without.model.network("critic").rows["row_of_x"].running_mean, once)


# --------------------------------------------------------------------------------------------------------------- values


def test_a_turn_reports_losses_accuracy_norms_and_the_use_of_each_component() -> None:
    outcome = Step(penalized("gradient_penalty")).take()
    assert set(outcome.values) == {
        "joint/discriminator",
        "joint/generator",
        "joint/accuracy",
        "joint/gradient_penalty",
        "q.y/use",
        "q.y/entropy",
        *(f"{network}/gradient_norm" for network in NETWORKS),
    }
    for network in NETWORKS:
        norm = torch.cat([gradient.flatten() for gradient in outcome.gradients[network]]).norm()
        assert outcome.values[f"{network}/gradient_norm"].item() == pytest.approx(norm.item())


@pytest.mark.parametrize("bias", [100.0, -100.0])
def test_a_discriminator_that_always_says_the_same_is_right_half_of_the_time(bias: float) -> None:
    step = Step()
    with torch.no_grad():
        step.model.network("critic").rows["row_p"].bias.fill_(bias)
    assert step.take().values["joint/accuracy"].item() == 0.5


def test_use_and_entropy_are_those_of_the_probabilities_of_y() -> None:
    step = Step()
    weights = step.model.network("encoder").rows["row_y"]
    with torch.no_grad():
        weights.weight.zero_()
        weights.bias.copy_(torch.log(torch.tensor([0.2, 0.7, 0.1])))
    values = step.take().values
    assert values["q.y/use"].tolist() == [0, 1, 0]
    expected = -sum(p * torch.log(torch.tensor(p)).item() for p in (0.2, 0.7, 0.1))
    assert values["q.y/entropy"].item() == pytest.approx(expected, rel=1e-6)


LEARNED = (
    "networks.weights={layers: {a: {input: zeros(1), op: linear, channels: 3},"
    " y: {input: a, activation: gumbel_straight_through 1}}}",
    "distributions.p={p(y): weights.y, p(z|y): components.z, 'p(x|y,z)': decoder.x}",
)


def test_learned_weights_are_used_as_often_as_they_say() -> None:
    step = Step(*LEARNED)  # one distribution for all examples: its most probable category would be the only one in use
    with torch.no_grad():
        step.model.network("weights").rows["row_a"].bias.copy_(torch.log(torch.tensor([0.2, 0.7, 0.1])))
    assert step.take().values["p.y/use"].tolist() == pytest.approx([0.2, 0.7, 0.1])


JUDGED = (
    "networks.judge={layers: {d: {input: x, op: linear, channels: 1}}}",
    "games.images={match: [q, p], discriminator: judge.d, objective: hinge}",
    "training.schedule=[{update: [judge], games: [images]}, {update: [critic, encoder, components, decoder, judge]}]",
)


def test_a_turn_that_draws_less_takes_the_gradient_that_it_takes_with_everything_drawn() -> None:
    step = Step(*JUDGED)
    first, second = step.plan.turns
    assert [draw.name for draw in first.partial] == ["q"]
    needed = {name: step.noise[name] for name in step.noise if name in {site.name for site in first.sites}}
    assert set(needed) < set(step.noise)
    own = take_turn(step.model, step.plan, first, step.data, needed, 0.0).gradients["judge"]
    whole = replace(first, partial=(), passes=second.passes, sites=second.sites)
    everything = take_turn(step.model, step.plan, whole, step.data, step.noise, 0.0).gradients["judge"]
    assert all(torch.equal(one, other) for one, other in zip(own, everything, strict=True))


def test_a_network_that_a_turn_does_not_need_is_not_run() -> None:
    step = Step(*JUDGED)
    before = step.model.network("encoder").row("h").running_mean.clone()
    take_turn(step.model, step.plan, step.plan.turns[0], step.data, step.noise, 0.0)
    assert torch.equal(step.model.network("encoder").row("h").running_mean, before)
