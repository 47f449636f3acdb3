"""Phases: how long each is, what it trains; a run that is stopped anywhere in them gives the same bits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import PHASES, TINY, data_of, differences, plan_of, trainer_of
from tiny_runs import lines_of

from ammgraph.evaluation.evaluate import evaluate
from ammgraph.nn.model import Model
from ammgraph.plan.identity import plan_hash
from ammgraph.runs import checkpoint, record
from ammgraph.train.trainer import Trainer, fit


def advanced(it: Trainer, steps: int) -> Trainer:
    for _ in range(steps):
        it.advance()
    return it


def folders(parent: Path) -> tuple[Path, Path]:
    whole, cut = parent / "whole", parent / "cut"
    whole.mkdir()
    cut.mkdir()
    return whole, cut


def look(model: Model) -> dict[str, Any]:
    return evaluate(model, plan_of(PHASES), data_of(PHASES).train.at(torch.arange(50)))


# ------------------------------------------------------------------------------------------------ lengths


def test_a_phase_has_its_own_steps_of_an_epoch_and_epochs_go_on() -> None:
    it = trainer_of(PHASES)
    # 1,600 images in batches of 40; a step of the second phase takes two of them
    assert [(s.first, s.last, s.steps_per_epoch) for s in it.stages] == [(0, 6, 40), (6, 13, 20), (13, 18, 40)]
    assert [s.epoch(s.last) for s in it.stages] == pytest.approx([6 / 40, 6 / 40 + 7 / 20, 6 / 40 + 7 / 20 + 5 / 40])
    assert (it.phase, it.last_step) == (0, 18)


def test_an_epoch_of_a_phase_is_a_pass_by_the_draw_that_the_phase_takes() -> None:
    encoder = "{update: [encoder], terms: [sure]}"
    it = trainer_of(
        TINY,
        'distributions.r={"r(x)": data, "r(y|x)": encoder.y}',
        'terms.sure={minimize: "E[r] H(r(y|x))"}',
        "training.batch_size={default: 40, r: 16}",
        "training.steps=null",
        f"training.phases=[{{epochs: 1, schedule: [{encoder}]}}, {{epochs: 2}}, {{steps: 1, schedule: [{encoder}]}}]",
    )
    # 1,600 images: the first and the last phase take r alone, 16 at a time; the second q and r, of which q counts
    assert [s.steps_per_epoch for s in it.stages] == [100, 40, 100]
    assert [s.last for s in it.stages] == [100, 180, 181]


def test_a_spec_without_phases_has_one() -> None:
    it = trainer_of(TINY)
    assert [(s.first, s.last) for s in it.stages] == [(0, 13)]
    assert not it.between_phases
    assert it.plan.phases == ()
    assert advanced(it, 7).epoch == 7 / 40


def test_rates_follow_the_epochs_of_all_phases() -> None:
    it = advanced(trainer_of(PHASES), 8)
    rate = it.plan.network("components").optimizer.learning_rate
    # what was set for the last step: that of step 7, the second of the second phase
    assert it.optimizers["components"].param_groups[0]["lr"] == rate.at(6 / 40 + 1 / 20)


def test_steps_left_are_counted_by_what_they_cost() -> None:
    it = trainer_of(PHASES)
    costs = [stage.cost for stage in it.stages]
    assert it.steps_left == pytest.approx(6 + (7 * costs[1] + 5 * costs[2]) / costs[0])
    advanced(it, 15)
    assert it.steps_left == 3


# ------------------------------------------------------------------------------------------------ what is trained


def test_a_phase_trains_its_own_networks_alone() -> None:
    it = trainer_of(PHASES)
    names = [network.name for network in it.plan.networks]
    before = {name: [p.detach().clone() for p in it.model.network(name).parameters()] for name in names}
    advanced(it, 6)
    moved = {
        n for n in names for p, q in zip(it.model.network(n).parameters(), before[n], strict=True) if (p != q).any()
    }
    assert moved == {"encoder", "decoder"}
    assert {name for name in names if it.optimizers[name].state} == {"encoder", "decoder"}


def test_optimizers_go_on_from_phase_to_phase() -> None:
    it = advanced(trainer_of(PHASES), 18)
    steps = {
        name: {int(slot["step"]) for slot in optimizer.state.values()} for name, optimizer in it.optimizers.items()
    }
    # `components` is new from the fit on: two turns in each of 7 steps, then one in each of 5
    assert steps == {"encoder": {18}, "decoder": {18}, "classifier": {19}, "components": {19}}


# ------------------------------------------------------------------------------------------------ going on


def test_a_run_that_is_resumed_anywhere_gives_the_same_bits() -> None:
    whole, states = trainer_of(PHASES), {}
    for step in range(18):
        states[step] = _copy(whole.state_dict())
        whole.advance()
    for step in (0, 5, 6, 7, 12, 13, 14, 17):
        it = trainer_of(PHASES, seed=0)
        it.load_state_dict(states[step])
        assert differences(advanced(it, 18 - step).state_dict(), whole.state_dict()) == [], step


def _copy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: _copy(entry) for key, entry in value.items()}
    return [_copy(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize("stop_at", [3, 6, 7, 13])
def test_a_run_that_is_stopped_writes_the_same_lines(tmp_path: Path, stop_at: int) -> None:
    whole, cut = folders(tmp_path)
    assert fit(trainer_of(PHASES), whole, look, log_every=4)
    it = trainer_of(PHASES)
    assert not fit(it, cut, look, log_every=4, stop=lambda: it.step == stop_at)
    step, state, _ = checkpoint.load_newest(cut / "checkpoints")
    assert step == stop_at
    again = trainer_of(PHASES)
    again.load_state_dict(state)
    record.cut(cut / "metrics.jsonl", again.step, again.phase + 1)
    assert fit(again, cut, look, log_every=4)
    assert lines_of(cut) == lines_of(whole)


def test_a_kill_between_two_phases_loses_nothing(tmp_path: Path) -> None:
    whole, cut = folders(tmp_path)
    assert fit(trainer_of(PHASES), whole, look)

    def killed(line: dict[str, Any]) -> None:
        if line["phase"] == 2:  # the components are set, and that they are is written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(trainer_of(PHASES), cut, look, report=killed, checkpoint_seconds=1e9)
    assert lines_of(cut)[-1]["phase"] == 2
    step, state, _ = checkpoint.load_newest(cut / "checkpoints")
    assert step == 6, "the end of a phase is saved"
    again = trainer_of(PHASES)
    again.load_state_dict(state)
    assert again.between_phases
    record.cut(cut / "metrics.jsonl", again.step, again.phase + 1)
    assert fit(again, cut, look)
    assert lines_of(cut) == lines_of(whole)


def test_a_line_says_its_phase_and_a_phase_has_lines_of_its_own(tmp_path: Path) -> None:
    fit(trainer_of(PHASES), tmp_path, look, log_every=4)
    lines = lines_of(tmp_path)
    assert [(line["step"], line["phase"]) for line in lines if "evaluation" not in line] == [
        *[(4, 1), (6, 1), (8, 2), (12, 2), (13, 2), (16, 3), (18, 3)]
    ]
    assert "codes/value" not in lines[0]
    assert all("codes/value" in line for line in lines if line["phase"] > 1 and "evaluation" not in line)
    # every 0.1 epochs, that is 4 steps, 2 steps and 4 steps; at the end of each phase; and after what was fitted
    assert [(line["step"], line["phase"]) for line in lines if "evaluation" in line] == [
        *[(4, 1), (6, 1), (6, 2), (8, 2), (10, 2), (12, 2), (13, 2), (17, 3), (18, 3)]
    ]


# ------------------------------------------------------------------------------------------------ identity


def test_a_run_goes_on_with_a_longer_last_phase_and_with_no_other_change_of_phases() -> None:
    own = plan_hash(plan_of(PHASES))
    assert plan_hash(plan_of(PHASES, "training.phases.4.steps=50")) == own
    assert plan_hash(plan_of(PHASES, "training.phases.3.steps=50")) != own
    assert plan_hash(plan_of(PHASES, "training.phases.2=null")) != own
    longer = trainer_of(PHASES, "training.phases.4.steps=50")
    longer.load_state_dict(advanced(trainer_of(PHASES), 18).state_dict())
    assert (longer.step, longer.phase, longer.last_step) == (18, 2, 63)
