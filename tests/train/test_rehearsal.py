"""A dry run's numbers: each player's gradient in each game against autograd, sums against what the trainer applies."""

import math
from dataclasses import replace

import pytest
import torch
from tiny import ALTERNATING, CPU, INFORMED, LABELED, PHASES, TERMS, TINY, data_of, plan_of, trainer_of

from ammgraph.data.dataset import load_data
from ammgraph.data.synthetic import synthetic_data
from ammgraph.nn.model import critic_logits, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.train.rehearsal import STEPS, Rehearsal, rehearse
from ammgraph.train.trainer import Trainer

NO_PENALTY = "games.joint.gradient_penalty=null"


def test_a_reach_is_the_norm_of_that_losss_gradient() -> None:
    """The generator's side of Algorithm 1, E_q softplus(d) + E_p softplus(-d), written out and differentiated."""
    it = trainer_of(TINY, NO_PENALTY, seed=1)
    turn, plan, model = it.plan.turns[0], it.plan, it.model
    batches, noise = it.feed.batches(turn), it.noise.of(turn)
    q = sample_draw(model, plan.draw("q"), batches["q"], noise, Mode.TRAIN)
    p = sample_draw(model, plan.draw("p"), {}, noise, Mode.TRAIN)
    inputs = {name: torch.cat([q.samples[name], p.samples[name]]) for name in "xyz"}
    found = turn.passes_of("scored")[0]
    logits = critic_logits(model, found, inputs, noise, Mode.TRAIN)
    on_q, on_p = logits.split(40)
    loss = torch.nn.functional.softplus(on_q).mean() + torch.nn.functional.softplus(-on_p).mean()
    expected = {}
    for name in ("encoder", "components", "decoder"):
        gradients = torch.autograd.grad(loss, list(model.network(name).parameters()), retain_graph=True)
        expected[name] = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    reaches = [reach for reach in rehearse(trainer_of(TINY, NO_PENALTY, seed=1)).reaches if reach.player == "generator"]
    assert {reach.network: reach.norm for reach in reaches} == pytest.approx(expected, rel=1e-4)
    assert {reach.network: reach.through for reach in reaches} == {
        "encoder": ("q.y", "q.z"), "components": ("p.z",), "decoder": ("p.x",)
    }  # fmt: skip


def test_a_weight_that_changes_with_steps_is_that_of_the_step_at_hand() -> None:
    weight = "games.joint.weight={points: [[0, 1], [10, 3]], by: steps}"
    first = rehearse(trainer_of(TINY, weight, "games.joint.gradient_penalty.every=4"))
    assert {reach.weight for reach in first.reaches} == {1}
    trainer = trainer_of(PHASES, "terms.codes.weight={points: [[0, 1], [40, 3]], by: steps}")
    late, begins = rehearse(trainer, 1), trainer.stages[1].first
    assert 0 < begins < 40
    (weight_then,) = {reach.weight for reach in late.reaches if reach.game == "codes"}
    assert weight_then == pytest.approx(1 + begins / 20)


def test_every_game_and_player_has_its_line_and_the_sums_are_the_trainers() -> None:
    found = rehearse(trainer_of(LABELED, ALTERNATING, seed=2))
    assert [(reach.turn, reach.game, reach.player, reach.network) for reach in found.reaches] == [
        (1, "unlabeled", "discriminator", "critic"),
        (1, "labeled", "discriminator", "critic"),
        (2, "unlabeled", "generator", "encoder"),
        (2, "unlabeled", "generator", "decoder"),
        (2, "labeled", "generator", "encoder"),
        (2, "labeled", "generator", "decoder"),
        (3, "unlabeled", "generator", "components"),
        (3, "labeled", "generator", "components"),
    ]
    assert {reach.weight for reach in found.reaches} == {0.5}
    assert set(found.norms) == {"encoder", "components", "decoder", "critic"}
    assert found.problems == ()
    assert len(found.seconds) == STEPS
    assert found.seconds_per_step > 0
    assert found.peak >= found.resident > 0
    it = trainer_of(TINY, seed=3)
    norms = rehearse(trainer_of(TINY, seed=3)).norms
    it.advance()
    first = it.recorder.flush()
    assert norms == pytest.approx({name: first[f"{name}/gradient_norm"] for name in norms}, rel=1e-5)


def test_a_term_has_its_line_alone_or_beside_a_game() -> None:
    found = rehearse(trainer_of(TERMS))
    assert [(reach.game, reach.player, reach.network, reach.through, reach.weight) for reach in found.reaches] == [
        ("reconstruction", "value", "encoder", ("q.y", "q.z"), 1),
        ("reconstruction", "value", "decoder", ("p(x|y,z)",), 1),
        ("prior", "value", "encoder", ("q(z|x)", "q(y|x)"), 0),
        ("classes", "value", "classifier", ("c(y|x)",), 0.5),
    ]
    assert [bool(reach.norm) for reach in found.reaches] == [True, True, False, True]
    assert found.norms["decoder"] == pytest.approx(found.reaches[1].norm)
    assert found.problems == ()
    informed = rehearse(trainer_of(INFORMED))
    assert [(reach.turn, reach.game, reach.network) for reach in informed.reaches] == [
        *((1, name, "critic") for name in ("g", "information_c", "information_s")),
        *((2, name, "generator") for name in ("g", "information_c", "information_s", "features")),
    ]


def test_in_one_turn_each_loss_is_tried_on_the_networks_that_it_trains() -> None:
    """A term and a game's loss are minimised as one sum; what the game does not train, the term alone does."""
    once = "training.schedule=[{update: [critic, generator]}]"
    found = rehearse(trainer_of(INFORMED, once))
    assert {(reach.game, reach.player, reach.network) for reach in found.reaches if reach.game == "g"} == {
        ("g", "discriminator", "critic"),
        ("g", "generator", "generator"),
    }
    assert {reach.network for reach in found.reaches if reach.game == "information_c"} == {"critic", "generator"}
    assert found.problems == ()


def test_what_does_not_learn_is_said() -> None:
    found = rehearse(trainer_of(TINY, NO_PENALTY))
    silent = replace(found, norms={**found.norms, "decoder": 0.0, "encoder": math.nan})
    assert silent.problems == (
        "the gradient of network `encoder` is nan",
        "the gradient of network `decoder` is 0: a path from `joint` exists and nothing comes through it",
    )
    assert replace(found, values={"joint/generator": math.inf}).problems == ("`joint/generator` is inf",)


def test_a_game_that_begins_with_weight_0_is_no_problem() -> None:
    found = rehearse(trainer_of(TINY, NO_PENALTY, "games.joint.weight=[[0, 0], [1, 1]]"))
    assert {reach.norm for reach in found.reaches} == {0.0}
    assert found.problems == ()


def test_dead_units_give_a_gradient_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """A critic whose last layer is zero passes no gradient on to the sides."""
    it = trainer_of(TINY, NO_PENALTY, "networks.critic.layers.p.initializer={weights: {normal: 1e-30}}", seed=0)
    with torch.no_grad():
        it.model.network("critic").row("p").weight.zero_()
    found: Rehearsal = rehearse(it)
    assert [problem.split("`")[1] for problem in found.problems] == ["encoder", "components", "decoder"]


def test_synthetic_data_have_the_shape_the_number_and_the_labels_of_the_real_ones() -> None:
    data = plan_of(LABELED).data
    made, real = synthetic_data(data, (1, 8, 8), 10, 400), load_data(data, None)
    assert made.train.images.shape == real.train.images.shape
    assert made.train.images.dtype == real.train.images.dtype
    assert torch.bincount(made.train.labels[made.labeled]).tolist() == [2] * 10
    assert made.description.startswith("synthetic images of 1x8x8 in place of `digits`: ")
    other = synthetic_data(data.model_copy(update={"dataset": "folder"}), (3, 4, 5), 10, 400)
    assert other.train.images.shape == (400, 3, 4, 5)
    assert other.test is None
    assert Trainer(plan_of(LABELED), made, 0, CPU).steps_per_epoch == trainer_of(LABELED).steps_per_epoch
    assert len(data_of(LABELED).train) == len(made.train)
