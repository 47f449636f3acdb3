"""The loop: optimizers, schedules, averages by hand; what it does where a value is not finite."""

import copy
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import ALTERNATING, EMA, LABELED, TERMS, TINY, data_of, differences, trainer_of
from torch import Tensor

from ammgraph.diagnostics import RunError
from ammgraph.evaluation.evaluate import evaluate
from ammgraph.runs import checkpoint, record
from ammgraph.runs.states import NotFinite
from ammgraph.train import act
from ammgraph.train import trainer as trainer_module
from ammgraph.train.step import Outcome, take_turn
from ammgraph.train.streams import initial_model
from ammgraph.train.trainer import Trainer, fit

NETWORKS = ("encoder", "components", "decoder", "critic")


def parameters_of(it: Trainer) -> dict[str, list[Tensor]]:
    return {name: [p.detach().clone() for p in it.model.network(name).parameters()] for name in NETWORKS}


def with_gradients(monkeypatch: pytest.MonkeyPatch, *steps: float) -> None:
    """Every parameter's gradient is the step's number in every element."""
    numbers = iter(steps)

    def turn(model: Any, *_: object, **__: object) -> Outcome:
        number = next(numbers)
        found = {name: [torch.full_like(p, number) for p in model.network(name).parameters()] for name in NETWORKS}
        return Outcome(found, {"value": torch.tensor(0.0)})

    monkeypatch.setattr(act, "take_turn", turn)


def moved(it: Trainer, steps: int) -> dict[str, float]:
    """By how much every element of every network moves in so many steps; it must be the same for all of a network."""
    before = parameters_of(it)
    for _ in range(steps):
        it.advance()
    after = parameters_of(it)
    differences = {
        name: torch.cat([(b - a).flatten() for a, b in zip(before[name], after[name], strict=True)]) for name in before
    }
    return {name: float(found.mean()) for name, found in differences.items() if float(found.std()) < 1e-12}


def optimizer(text: str) -> str:
    return f"training.optimizers={{default: {text}}}"


# ------------------------------------------------------------------------------------------------ optimizers


def test_adam_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = optimizer("{name: adam, learning_rate: 0.1, betas: [0.5, 0.75], epsilon: 0.01}")
    with_gradients(monkeypatch, 1.0, 3.0)
    # m = 1/2, v = 1/4, both corrected to 1; then m = 1/4 + 3/2 = 7/4, v = 3/16 + 9/4 = 39/16, corrected by 3/4 and 7/16
    first = -0.1 * 1 / (1 + 0.01)
    second = -0.1 * (7 / 4 / (3 / 4)) / (math.sqrt(39 / 16 / (7 / 16)) + 0.01)
    found = moved(trainer_of(TINY, spec, precision="float64"), 2)
    assert found == {name: pytest.approx(first + second, abs=1e-12) for name in NETWORKS}


def test_sgd_with_momentum_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gradients(monkeypatch, 1.0, 3.0, -1.0)
    # velocities 1, 1/2 + 3 = 7/2, 7/4 - 1 = 3/4
    it = trainer_of(TINY, optimizer("{name: sgd, learning_rate: 0.1, momentum: 0.5}"), precision="float64")
    assert moved(it, 3) == {name: pytest.approx(-0.1 * (1 + 7 / 2 + 3 / 4), abs=1e-12) for name in NETWORKS}


def test_rmsprop_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gradients(monkeypatch, 2.0, 1.0)
    # squares (1 - 3/4) 4 = 1, then 3/4 + 1/4 = 1
    it = trainer_of(
        TINY, optimizer("{name: rmsprop, learning_rate: 0.1, decay: 0.75, epsilon: 0.5}"), precision="float64"
    )
    assert moved(it, 2) == {name: pytest.approx(-0.1 * (2 + 1) / 1.5, abs=1e-12) for name in NETWORKS}


def test_a_weight_that_is_used_as_a_matrix_lies_row_by_row_and_a_kernel_by_channels() -> None:
    rows = "networks.encoder.layers={h: {input: x, channels: 3, width: 3}, h2: {input: h, channels: 16, width: 6}, "
    rows += "y: {input: h2, channels: K, width: 1, activation: softmax}, z: {input: h2, channels: 4, width: 1}}"
    it = trainer_of(TINY, rows)
    encoder, begun = it.model.network("encoder"), initial_model(it.plan, 0, None).network("encoder")
    strides = {}
    for name in ("h", "h2", "y"):
        weight, first = encoder.row(name).weight, begun.row(name).weight
        assert weight is not None
        assert first is not None
        assert torch.equal(weight, first)
        strides[name] = weight.stride()
    assert strides == {"h": (9, 1, 3, 1), "h2": (108, 36, 6, 1), "y": (16, 1, 1, 1)}
    it.advance()


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_an_update_moves_each_weight_by_its_own_gradient_wherever_it_lies(
    name: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fused optimizer that is given another layout takes the gradient of another weight, and says nothing."""
    rows = "networks.encoder.layers={h: {input: x, channels: 3, width: 3}, h2: {input: h, channels: 16, width: 6}, "
    rows += "y: {input: h2, channels: K, width: 1, activation: softmax}, z: {input: h2, channels: 4, width: 1}}"
    spec = optimizer(f"{{name: {name}, learning_rate: 0.1, weight_decay: 0}}")
    it = trainer_of(TINY, rows, spec, precision="float64")
    weight = it.model.network("encoder").row("h2").weight
    assert weight is not None
    assert weight.shape == (16, 3, 6, 6)
    signs = torch.where(torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5, -1.0, 1.0).double()

    def turn(model: Any, *_: object, **__: object) -> Outcome:
        parameters = list(model.network("encoder").parameters())
        found = [signs.to(memory_format=layout) if p is weight else torch.zeros_like(p) for p in parameters]
        return Outcome({"encoder": found}, {"value": torch.tensor(0.0)})

    monkeypatch.setattr(act, "take_turn", turn)
    before = weight.detach().clone()
    it.advance()
    moves = (weight.detach() - before) * signs  # all equal: the first move depends on the gradient's sign alone
    assert float(moves.max()) < 0
    assert float(moves.std()) < 1e-9


@pytest.mark.parametrize("name", ["adam", "sgd", "rmsprop"])
def test_weight_decay_adds_the_weights_to_the_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{{name: {name}, learning_rate: 0.1, weight_decay: {decay}}}" for decay in (0, 0.5)]
    plain, decayed = (trainer_of(TINY, optimizer(text), precision="float64") for text in texts)
    gradients = {key: [0.5 * p for p in found] for key, found in parameters_of(plain).items()}
    monkeypatch.setattr(act, "take_turn", lambda *_, **__: Outcome(gradients, {"value": torch.tensor(0.0)}))
    plain.advance()
    nothing = {key: [torch.zeros_like(p) for p in found] for key, found in gradients.items()}
    monkeypatch.setattr(act, "take_turn", lambda *_, **__: Outcome(nothing, {"value": torch.tensor(0.0)}))
    decayed.advance()
    for first, second in zip(plain.model.parameters(), decayed.model.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


def test_each_network_has_its_own_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gradients(monkeypatch, 1.0)
    spec = "training.optimizers={default: {name: sgd, learning_rate: 0.1}, critic: {learning_rate: 0.4}}"
    found = moved(trainer_of(TINY, spec, precision="float64"), 1)
    rates = {"encoder": -0.1, "components": -0.1, "decoder": -0.1, "critic": -0.4}
    assert found == {name: pytest.approx(rate, abs=1e-12) for name, rate in rates.items()}


def test_a_learning_rate_follows_its_breakpoints_by_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gradients(monkeypatch, 1.0, 1.0, 1.0, 1.0)
    # 1,600 images in batches of 400: 4 steps an epoch; rates at epochs 0, 1/4, 1/2, 3/4 of 4 -> 0 @1/2, then 8
    it = trainer_of(
        TINY,
        optimizer("{name: sgd, learning_rate: [[0, 4], [1/2, 0], [1/2, 8]]}"),
        "training.batch_size=400",
        precision="float64",
    )
    assert it.steps_per_epoch == 4
    assert moved(it, 4) == {name: pytest.approx(-(4 + 2 + 8 + 8), abs=1e-12) for name in NETWORKS}


def test_a_learning_rate_follows_its_cosine_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gradients(monkeypatch, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    rate = "{cosine: [4, 0], over: 4, warmup: 2, by: steps}"
    it = trainer_of(TINY, optimizer(f"{{name: sgd, learning_rate: {rate}}}"), precision="float64")
    # 0 and 2 while it rises, 4 and 2 of the cosine at steps 2 and 3, then 0
    assert moved(it, 6) == {name: pytest.approx(-(0 + 2 + 4 + 2 + 0 + 0), abs=1e-12) for name in NETWORKS}


def test_a_rate_that_changes_is_written_in_every_line_of_the_log(tmp_path: Path) -> None:
    own = "training.optimizers.critic.learning_rate={linear: [1e-3, 0], over: 10, by: steps}"
    fit(trainer_of(TINY, own), tmp_path, log_every=5)
    lines = [line for line in record.read(tmp_path / "metrics.jsonl") if "evaluation" not in line]
    # those of the last step before the line: steps 4, 9 and 12 from 0
    assert [line["critic/learning_rate"] for line in lines] == [0.0006, 0.0001, 0.0]
    assert not any("encoder/learning_rate" in line for line in lines)


def test_adamw_decays_weights_beside_their_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    it = trainer_of(TINY, optimizer("{name: adamw, learning_rate: 0.1, weight_decay: 0.5}"), precision="float64")
    expected = {name: [p.clone().requires_grad_() for p in found] for name, found in parameters_of(it).items()}
    gradients = {name: [0.5 * p.detach() for p in found] for name, found in expected.items()}
    for name, found in expected.items():  # w - 0.1 * 0.5 w, then Adam's first move of 0.1 by the gradient's sign
        for p, gradient in zip(found, gradients[name], strict=True):
            p.data = 0.95 * p.data - 0.1 * gradient / (gradient.abs() + 1e-8)
    monkeypatch.setattr(act, "take_turn", lambda *_, **__: Outcome(gradients, {"value": torch.tensor(0.0)}))
    it.advance()
    for name, found in parameters_of(it).items():
        for p, q in zip(found, expected[name], strict=True):
            assert torch.allclose(p, q, rtol=0, atol=1e-12)


def test_a_clipped_gradient_is_that_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = "training.optimizers.critic={name: sgd, learning_rate: 1, gradient_clip: 0.25}"
    it = trainer_of(TINY, optimizer("{name: sgd, learning_rate: 1}"), clip, precision="float64")
    before = parameters_of(it)
    generator = torch.Generator().manual_seed(1)
    gradients = {n: [torch.rand(p.shape, generator=generator).double() for p in ps] for n, ps in before.items()}
    monkeypatch.setattr(act, "take_turn", lambda *_, **__: Outcome(gradients, {"value": torch.tensor(0.0)}))
    it.advance()
    moves = {n: [b - a for b, a in zip(before[n], ps, strict=True)] for n, ps in parameters_of(it).items()}
    leaves = [torch.zeros_like(p).requires_grad_() for p in before["critic"]]
    for leaf, gradient in zip(leaves, gradients["critic"], strict=True):
        leaf.grad = gradient.clone()
    torch.nn.utils.clip_grad_norm_(leaves, 0.25)
    for move, leaf in zip(moves["critic"], leaves, strict=True):
        assert leaf.grad is not None
        assert torch.allclose(move, leaf.grad, rtol=0, atol=1e-12)
    assert math.hypot(*(float(move.norm()) for move in moves["critic"])) == pytest.approx(0.25, abs=1e-5)
    for name in ("encoder", "decoder", "components"):  # which have no bound
        assert all(torch.allclose(m, g, rtol=0, atol=1e-12) for m, g in zip(moves[name], gradients[name], strict=True))


def test_a_short_gradient_is_not_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gradients(monkeypatch, 1e-3)
    it = trainer_of(TINY, optimizer("{name: sgd, learning_rate: 1, gradient_clip: 1}"), precision="float64")
    assert moved(it, 1) == {name: pytest.approx(-1e-3, abs=1e-15) for name in NETWORKS}


# ------------------------------------------------------------------------------------------------ turns


def spied(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every call of a turn: its update list, the weights, data and noise it began with."""
    calls: list[dict[str, Any]] = []

    def turn(model: Any, plan: Any, turn: Any, data: Any, noise: Any, epoch: float, step: int, **of: Any) -> Outcome:
        weights = {name: [p.detach().clone() for p in model.network(name).parameters()] for name in NETWORKS}
        outcome = take_turn(copy.deepcopy(model), plan, turn, data, noise, epoch, step, **of)
        calls.append(
            {
                "update": turn.update,
                "weights": weights,
                "data": data,
                "noise": noise,
                "epoch": epoch,
                "step": step,
                "gradients": outcome.gradients,
            }
        )
        return take_turn(model, plan, turn, data, noise, epoch, step, **of)

    monkeypatch.setattr(act, "take_turn", turn)
    return calls


def test_an_alternating_schedule_updates_exactly_the_networks_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spied(monkeypatch)
    it = trainer_of(TINY, ALTERNATING)
    it.advance()
    it.advance()
    one_step = [("critic",), ("critic",), ("encoder", "decoder"), ("components",)]
    assert [call["update"] for call in calls] == 2 * one_step
    for call, following in zip(calls, [*(later["weights"] for later in calls[1:]), parameters_of(it)], strict=True):
        changed = {name for name in NETWORKS if differences(call["weights"][name], following[name])}
        assert changed == set(call["update"])
        assert set(call["gradients"]) == set(call["update"])


def test_a_turn_draws_anew_unless_it_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spied(monkeypatch)
    trainer_of(TINY, ALTERNATING).advance()
    images = [call["data"]["q"]["x"] for call in calls]
    prior = [call["noise"]["p/y"] for call in calls]
    for values in (images, prior):
        assert not torch.equal(values[0], values[1])
        assert not torch.equal(values[1], values[2])
        assert torch.equal(values[2], values[3])


def test_simultaneous_updates_take_all_gradients_at_the_same_point(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spied(monkeypatch)
    it = trainer_of(TINY, optimizer("{name: sgd, learning_rate: 0.25}"))
    it.advance()
    (call,) = calls
    after = parameters_of(it)
    for name in NETWORKS:
        for before, gradient, now in zip(call["weights"][name], call["gradients"][name], after[name], strict=True):
            assert gradient.abs().sum() > 0
            torch.testing.assert_close(now, before - 0.25 * gradient)


def test_a_turn_is_told_its_step_and_the_epoch_in_which_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = spied(monkeypatch)
    it = trainer_of(TINY, "training.batch_size=400")
    for _ in range(5):
        it.advance()
    assert [call["epoch"] for call in calls] == [0, 0.25, 0.5, 0.75, 1]
    assert [call["step"] for call in calls] == [0, 1, 2, 3, 4]


def test_gradients_do_not_stay_in_the_weights() -> None:
    it = trainer_of(TINY)
    it.advance()
    assert all(parameter.grad is None for parameter in it.model.parameters())


def test_steps_of_an_epoch_and_of_the_training() -> None:
    assert trainer_of(TINY).steps_per_epoch == 1600 // 40
    assert trainer_of(TINY).last_step == 13
    assert trainer_of(TINY, "training.steps=null", "training.epochs=5/2").last_step == 100
    assert trainer_of(TINY, "training.steps=null", "training.epochs=1/1000").last_step == 1
    assert trainer_of(TINY, "training.batch_size=300").steps_per_epoch == 5
    assert trainer_of(TINY, ALTERNATING).steps_per_epoch == 40 // 3  # three of the four turns take a batch


def test_turns_that_do_not_draw_the_data_do_not_count_in_its_epoch() -> None:
    schedule = (
        "training.schedule=[{update: [critic, encoder, components, decoder], games: [unlabeled]},"
        " {update: [critic], games: [labeled], steps: 3}]"
    )
    assert trainer_of(LABELED, schedule).steps_per_epoch == 40


def test_a_step_leaves_torchs_own_generator_alone() -> None:
    before = torch.get_rng_state()
    it = trainer_of(TINY)
    it.advance()
    evaluate(it.evaluated, it.plan, data_of(TINY).train.at(torch.arange(10)))
    assert torch.equal(torch.get_rng_state(), before)


# ------------------------------------------------------------------------------------------------ averages


def test_averaged_weights_and_running_statistics_by_hand() -> None:
    it = trainer_of(TINY, EMA, precision="float64")
    expected = {name: value.clone() for name, value in it.model.state_dict().items()}
    for _ in range(3):
        it.advance()
        for name, value in it.model.state_dict().items():
            decay = 0.0 if "network_critic" in name else 0.9
            expected[name] = decay * expected[name] + (1 - decay) * value
    assert it.averaged is not None
    found = it.averaged.state_dict()
    assert any("running_mean" in name for name in found)
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-12, msg=name)
    critic = it.averaged.network("critic").state_dict()
    assert differences(dict(critic), dict(it.model.network("critic").state_dict())) == []


def test_the_weights_that_are_evaluated_are_those_the_spec_says() -> None:
    averaged = trainer_of(TINY, EMA, "evaluation.weights=ema")
    averaged.advance()
    assert averaged.evaluated is averaged.averaged
    last = trainer_of(TINY, EMA)
    assert last.evaluated is last.model
    assert trainer_of(TINY).averaged is None


def test_averaging_changes_nothing_of_the_training() -> None:
    plain, averaged = trainer_of(TINY), trainer_of(TINY, EMA)
    for _ in range(3):
        plain.advance()
        averaged.advance()
    assert differences(dict(plain.model.state_dict()), dict(averaged.model.state_dict())) == []


# ------------------------------------------------------------------------------------------------ precision


def test_float64_is_double_precision_throughout() -> None:
    it = trainer_of(TINY, EMA, precision="float64")
    it.advance()
    assert {tensor.dtype for tensor in it.model.state_dict().values()} == {torch.float64}
    single = trainer_of(TINY, EMA)
    single.advance()
    for name, value in it.model.state_dict().items():  # the same start and data; noise is another in another precision
        if "running" not in name:
            torch.testing.assert_close(value.float(), single.model.state_dict()[name], rtol=0, atol=2.1e-3)


def test_bfloat16_keeps_weights_in_single_precision_and_trains() -> None:
    it = trainer_of(TINY, precision="bfloat16")
    before = parameters_of(it)
    for _ in range(3):
        it.advance()
    it.check()
    assert {tensor.dtype for tensor in it.model.state_dict().values()} == {torch.float32}
    assert all(differences(before[name], found) for name, found in parameters_of(it).items())


# ------------------------------------------------------------------------------------------------ not finite


def finite(state: dict[str, Any]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in state["model"].values())


# An epoch has 40 steps: the sixth one's update is beyond all reason, and finite.
EXPLODING = "training.optimizers.default={name: sgd, learning_rate: [[0, 1e-3], [1/8, 1e-3], [1/8, 1e+15]]}"


def test_weights_that_are_finite_and_give_no_numbers_are_never_saved(tmp_path: Path) -> None:
    it = trainer_of(TINY, EXPLODING)
    with pytest.raises(RunError) as error:
        fit(it, tmp_path, checkpoint_seconds=0)
    # Which of the samples overflows first depends on how a processor rounds.
    named = re.sub("`x` of `p\\(x\\|y,z\\)`|`z` of `q\\(z\\|x\\)`", "SAMPLE", str(error.value))
    assert named == (
        "with the weights after step 6 SAMPLE is not finite; the last good checkpoint is untouched; "
        "training has diverged: begin a new run with lower learning rates, as by `--set "
        "'training.optimizers.default.learning_rate=[[0, 0.0001], [0.125, 0.0001], [0.125, 1e+14]]' "
        "(now 0.001 @0 -> 0.001 @0.125 -> 1000000000000000 @0.125)`"
    )
    assert finite(it.state_dict())
    assert checkpoint.load_newest(tmp_path / "checkpoints")[::2] == (5, [])


def test_lower_rates_are_what_helps_a_training_that_has_diverged(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"begin a new run with lower learning rates, as by `--set "):
        fit(trainer_of(TINY, optimizer("{name: sgd, learning_rate: 1e+15}")), tmp_path / "diverged")
    assert fit(trainer_of(TINY, optimizer("{name: sgd, learning_rate: 1e-3}")), tmp_path)


@pytest.mark.parametrize("what", ["a weight", "an averaged weight", "the optimizer's state"])
def test_everything_that_decides_the_steps_to_come_is_checked_before_it_is_saved(what: str, tmp_path: Path) -> None:
    it = trainer_of(TINY, EMA)
    it.advance()
    it._numbers_of("critic")[what][-1].fill_(math.inf)
    with pytest.raises(NotFinite, match=f"^{what} of network `critic` is not finite after step 1$"):
        it.check()


def test_a_loss_that_is_not_finite_stops_the_run_and_leaves_a_good_checkpoint(tmp_path: Path) -> None:
    it = trainer_of(TINY, EXPLODING)
    assert not fit(it, tmp_path, stop=lambda: it.step == 5)
    with pytest.raises(RunError) as error:
        fit(it, tmp_path)
    assert "at step 7; the last good checkpoint is untouched; training has diverged: begin a new run with " in str(
        error.value
    )
    assert any(f"{what} of game `joint`" in str(error.value) for what in ("discriminator's loss", "generator's loss"))
    found, state, passed_over = checkpoint.load_newest(tmp_path / "checkpoints")
    assert (found, passed_over) == (5, [])
    assert finite(state)
    trainer_of(TINY, EXPLODING).load_state_dict(state)
    assert record.read(tmp_path / "metrics.jsonl") == []


def test_what_is_not_finite_before_a_weight_has_changed_is_no_fault_of_a_rate(tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        fit(trainer_of(TINY, "training.initializer={weights: {normal: 1e20}}"), tmp_path)
    assert "at step 1; no checkpoint was written yet; no weight has changed yet" in str(error.value)
    assert "by `training.initializer`" in str(error.value)
    assert "learning_rate" not in str(error.value)


def test_a_gradient_that_is_not_finite_is_named_by_its_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it = trainer_of(TINY)

    def turn(*arguments: Any, **weights: Any) -> Outcome:
        outcome = take_turn(*arguments, **weights)
        if it.step == 6:
            outcome.values["decoder/gradient_norm"] = torch.tensor(math.inf)
        return outcome

    monkeypatch.setattr(act, "take_turn", turn)
    with pytest.raises(
        RunError, match=r"^the gradient of network `decoder` is inf at step 7; no checkpoint was written"
    ):
        fit(it, tmp_path)


def test_a_weight_that_is_not_finite_is_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step's values were all finite; its update was not."""
    it = trainer_of(TINY)

    def turn(*arguments: Any, **weights: Any) -> Outcome:
        outcome = take_turn(*arguments, **weights)
        if it.step == 4:
            outcome.gradients["encoder"][0][0] = math.nan
        return outcome

    monkeypatch.setattr(act, "take_turn", turn)
    message = "^a weight of network `encoder` is not finite after step 5; the last good checkpoint is untouched; "
    with pytest.raises(RunError, match=message):
        fit(it, tmp_path, checkpoint_seconds=0)
    step, state, _ = checkpoint.load_newest(tmp_path / "checkpoints")
    assert step == 4
    assert finite(state)


def test_nothing_is_evaluated_after_a_value_that_is_not_finite(tmp_path: Path) -> None:
    it = trainer_of(TINY, optimizer("{name: sgd, learning_rate: 1e+15}"), "evaluation.every_epochs=1/8")
    evaluated: list[int] = []
    with pytest.raises(RunError, match=r"is (nan|inf) at step"):
        fit(it, tmp_path, evaluate=lambda _: evaluated.append(it.step) or {})
    assert evaluated == []


def test_a_disk_that_refuses_the_metrics_is_an_error_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl: Is a directory; no checkpoint was written yet"):
        fit(trainer_of(TINY), tmp_path)


# ------------------------------------------------------------------------------------------------ the loop


def test_what_is_reported_is_what_is_written(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    it = trainer_of(TINY)
    assert fit(it, tmp_path, evaluate=lambda _: {"error": 0.25}, report=lines.append, log_every=4)
    assert record.read(tmp_path / "metrics.jsonl") == lines
    assert [line["step"] for line in lines] == [4, 8, 12, 13, 13]
    assert [line["epoch"] for line in lines] == [0.1, 0.2, 0.3, 0.325, 0.325]
    assert lines[-1]["evaluation"] == {"error": 0.25}
    names = {
        *(f"joint/{what}" for what in ("discriminator", "generator", "accuracy", "gradient_penalty")),
        *(f"{network}/gradient_norm" for network in NETWORKS),
        *("q.y/use", "q.y/entropy", "step", "epoch", "seconds_per_step"),
    }
    assert set(lines[0]) == names
    assert sum(lines[0]["q.y/use"]) == pytest.approx(1, abs=1e-5)
    assert 0 < lines[0]["q.y/entropy"] <= math.log(10)


def test_checkpoints_keep_their_distance_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    clock = iter(range(1000))
    monkeypatch.setattr(checkpoint, "save", lambda _folder, step, _state: saved.append(step))
    monkeypatch.setattr(trainer_module.time, "monotonic", lambda: float(next(clock)))
    fit(trainer_of(TINY), tmp_path, checkpoint_seconds=1e9)
    assert saved == [13]
    saved.clear()
    fit(trainer_of(TINY), tmp_path, checkpoint_seconds=0)
    assert saved == list(range(1, 14))


def test_a_stop_at_the_last_step_is_the_end(tmp_path: Path) -> None:
    it = trainer_of(TINY)
    assert fit(it, tmp_path, stop=lambda: it.step == 13)


def test_the_plan_of_a_turn_is_executed_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    it = trainer_of(TINY)
    turn = replace(it.plan.turns[0], steps=3)
    it.plan = replace(it.plan, turns=(turn,))
    calls = spied(monkeypatch)
    it.advance()
    assert len(calls) == 3
    assert it.step == 1


def test_a_network_whose_losses_weigh_0_at_first_stands_still_and_is_logged(tmp_path: Path) -> None:
    late = "terms.reconstruction.weight=[[0, 0], [1/8, 0], [1/8, 1]]"
    it = trainer_of(TERMS, late)
    before = [parameter.detach().clone() for parameter in it.model.network("decoder").parameters()]
    assert fit(it, tmp_path, log_every=50)
    (line,) = [line for line in record.read(tmp_path / "metrics.jsonl") if "reconstruction/value" in line]
    assert line["decoder/gradient_norm"] > 0  # the mean of zeros, and of what came later
    after = list(it.model.network("decoder").parameters())
    assert not all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_the_rate_to_lower_is_the_one_that_is_written(tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        fit(trainer_of(TINY, optimizer("{name: sgd, learning_rate: 1e+15}")), tmp_path)
    assert "as by `--set 'training.optimizers.default.learning_rate=1e+14'" in str(error.value)
    own = "training.optimizers.critic={name: sgd, learning_rate: 1e+15}"
    with pytest.raises(RunError, match=r"optimizers\.critic\.learning_rate=1e"):
        fit(trainer_of(TINY, optimizer("{name: sgd, learning_rate: 1e-3}"), own), tmp_path / "own")


def test_what_a_spectral_norm_keeps_moves_once_a_turn_and_is_held_by_checkpoints() -> None:
    place = "networks.critic.layers.h.spectralnorm=true"
    first = trainer_of(TINY, place, EMA)
    began = first.model.network("critic").row("h").left.clone()
    first.advance()
    assert not torch.equal(began, first.model.network("critic").row("h").left)
    for model in (first.model, first.averaged):
        assert model is not None
        own = model.network("critic").row("h")
        assert float(own.left.norm()) == pytest.approx(1, abs=1e-6)
    again = trainer_of(TINY, place, EMA)
    again.load_state_dict(copy.deepcopy(first.state_dict()))
    for it in (first, again):
        it.advance()
    assert differences(first.state_dict(), again.state_dict()) == []


def test_tf32_is_refused_where_there_is_none() -> None:
    with pytest.raises(RunError, match=r"^tf32 is an arithmetic of NVIDIA GPUs, and the device is cpu; `--precision "):
        trainer_of(TINY, precision="tf32")
