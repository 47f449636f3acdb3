"""A network with `trainable: false`: its weights stay, it is evaluated as after training, gradients go through it."""

from pathlib import Path

import pytest
import torch
from one_step import Step
from small_specs import plan_of, problem_of
from tiny import TINY, data_of, differences, trainer_of

from ammgraph.evaluation.evaluate import evaluate
from ammgraph.nn.model import critic_logits, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.cost import memory
from ammgraph.train.trainer import fit

STILL = ("networks.encoder.trainable=false", "networks.decoder.trainable=false")


def test_it_draws_as_after_training_without_dropout_by_running_statistics() -> None:
    still, learning = Step(*STILL), Step()
    assert not any(name.endswith("z_mu.mask") for name in still.noise)
    for name in ("q", "p"):
        data = still.data[name] if name == "q" else {}
        found = sample_draw(still.model, still.plan.draw(name), data, still.noise, Mode.TRAIN).samples
        expected = sample_draw(learning.model, learning.plan.draw(name), data, still.noise, Mode.EVAL).samples
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[variable], expected[variable]) for variable in found)


def test_gradients_go_through_it_and_not_to_it() -> None:
    step = Step(*STILL)
    plan, model, noise = step.plan, step.model, step.noise
    q = sample_draw(model, plan.draw("q"), step.data["q"], noise, Mode.TRAIN)
    p = sample_draw(model, plan.draw("p"), {}, noise, Mode.TRAIN)
    joined = {name: torch.cat([q.samples[name], p.samples[name]]) for name in "xyz"}
    on_p = critic_logits(model, plan.turns[0].passes_of("scored")[0], joined, noise, Mode.TRAIN)[5:]
    loss = torch.nn.functional.softplus(-on_p).mean()
    expected = torch.autograd.grad(loss, list(model.network("components").parameters()))
    found = step.take().gradients
    assert found.keys() == {"components", "critic"}
    for gradient, right in zip(found["components"], expected, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-10, atol=1e-12)
    assert any(float(gradient.abs().max()) > 1e-6 for gradient in expected)


def test_training_leaves_all_of_it_as_it_was(tmp_path: Path) -> None:
    spectral = "networks.decoder.layers.h.spectralnorm=true"
    it = trainer_of(TINY, *STILL, spectral, "training.ema={default: 0.3}")
    before = {name: {k: v.clone() for k, v in it.model.network(name).state_dict().items()} for name in it.optimizers}
    kept = {k: v.clone() for k, v in it.model.network("decoder").state_dict().items()}
    assert set(it.optimizers) == {"components", "critic"}
    fit(it, tmp_path, lambda model: evaluate(model, it.plan, data_of(TINY).train.at(torch.arange(9))))
    assert differences(kept, it.model.network("decoder").state_dict()) == []
    assert it.averaged is not None
    assert differences(kept, it.averaged.network("decoder").state_dict()) == []
    assert all(differences(before[name], it.model.network(name).state_dict()) for name in before)


def test_what_nobody_else_would_minimise_is_refused() -> None:
    assert problem_of("", "networks.critic.trainable=false") == "impossible-game: `critic.d` can learn nothing"
    term = "terms.own={minimize: 'E[q] H(q(y|x))'}"
    alone = problem_of("", "networks.encoder.trainable=false", term)
    assert alone == "no-gradient: `own` depends on no network with parameters"


def test_a_setting_of_what_stands_still_has_no_effect() -> None:
    own = "training.optimizers.encoder={learning_rate: 1}"
    (warning,) = plan_of("", "networks.encoder.trainable=false", own).warnings
    assert (warning.code, warning.message) == ("no-effect", "`encoder` has `trainable: false`")


@pytest.mark.parametrize("network", ["encoder", "decoder"])
def test_it_needs_no_optimizers_memory(network: str) -> None:
    learned, still = memory(plan_of()).weights, memory(plan_of("", f"networks.{network}.trainable=false")).weights
    assert learned - still == 3 * 4 * plan_of().network(network).parameters  # its gradient, and Adam's two numbers
