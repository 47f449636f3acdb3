"""A run directory is read back whole, or the reader says what is wrong; either way it stays as it is."""

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny import CPU, EMA, HERE, LABELED, TINY, data_of, trainer_of
from tiny_runs import Run, make_run

from ammgraph.data import dataset as dataset_module
from ammgraph.diagnostics import RunError, SpecError
from ammgraph.evaluation.loading import load_model, load_run
from ammgraph.runs import checkpoint


def fingerprint(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def newest(folder: Path) -> Path:
    return max((folder / "checkpoints").glob("*.pt"))


def test_the_weights_of_the_newest_checkpoint_come_back(tiny_run: Path) -> None:
    before = fingerprint(tiny_run)
    loaded = load_run(tiny_run, HERE)
    trainer = trainer_of(TINY)
    for _ in range(3):
        trainer.advance()
    expected = trainer.model.state_dict()
    assert loaded.step == 3
    assert loaded.weights == "last"
    assert (loaded.title, loaded.warnings) == ("tiny", ())
    assert all(torch.equal(expected[name], value) for name, value in loaded.model.state_dict().items())
    assert torch.equal(loaded.dataset.train.images, data_of(TINY).train.images)
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert fingerprint(tiny_run) == before


def test_averaged_weights_are_those_that_are_evaluated(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", TINY, EMA, "evaluation.weights=ema")
    state = checkpoint.load_newest(folder / "checkpoints")[1]
    loaded = load_model(folder, CPU)
    name = "networks.network_encoder.rows.row_h.weight"
    assert loaded.weights == "ema"
    assert torch.equal(loaded.model.state_dict()[name], state["averaged"][name])
    assert not torch.equal(loaded.model.state_dict()[name], state["model"][name])


def test_a_model_needs_no_data_set_not_even_for_an_empirical_prior(
    labeled_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frequencies = load_run(labeled_run, HERE).model.constant("p_unlabeled/y")
    monkeypatch.setattr(dataset_module, "_read", lambda *_: pytest.fail("the data set was read"))
    assert torch.equal(load_model(labeled_run, CPU).model.constant("p_unlabeled/y"), frequencies)
    assert float(frequencies.sum()) == pytest.approx(1)


def test_a_damaged_newest_checkpoint_is_passed_over_with_a_warning(tiny_run: Path) -> None:
    path = newest(tiny_run)
    path.write_bytes(path.read_bytes()[:1000])
    before = fingerprint(tiny_run)
    loaded = load_run(tiny_run, HERE)
    assert loaded.step == 2
    assert loaded.warnings == ("step-000000003.pt is damaged: its checksum differs; an older checkpoint is used",)
    assert fingerprint(tiny_run) == before


def test_no_run_directory(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no run directory: it has no run\.json"):
        load_model(tmp_path, CPU)


def test_a_run_without_its_spec(tiny_run: Path) -> None:
    (tiny_run / "spec.json").unlink()
    with pytest.raises(RunError, match=r"is no whole run directory: it has no spec\.json"):
        load_model(tiny_run, CPU)


def test_a_spec_that_is_no_longer_one(tiny_run: Path) -> None:
    (tiny_run / "spec.json").write_text('{"ammgraph": 1, "variables": {}}')
    with pytest.raises(SpecError):
        load_model(tiny_run, CPU)


def test_a_run_that_has_no_checkpoint_yet(tiny_run: Path) -> None:
    for path in (tiny_run / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(RunError, match=r"no usable checkpoint in .*: there is none"):
        load_model(tiny_run, CPU)


def test_checkpoints_that_are_all_truncated(tiny_run: Path) -> None:
    for path in (tiny_run / "checkpoints").glob("*.pt"):
        path.write_bytes(b"")
    with pytest.raises(RunError, match=r"step-000000003\.pt is damaged: its checksum differs; step-000000002\.pt is"):
        load_model(tiny_run, CPU)


def test_a_spec_that_was_edited_since_is_told_with_the_difference(tiny_run: Path) -> None:
    written = json.loads((tiny_run / "spec.json").read_text())
    written["games"]["joint"]["gradient_penalty"]["lambda"] = 7
    (tiny_run / "spec.json").write_text(json.dumps(written))
    before = fingerprint(tiny_run)
    with pytest.raises(
        RunError, match=r"spec\.json, what `--set` says, or ammgraph itself, has changed since .*7"
    ) as error:
        load_model(tiny_run, CPU)
    assert "The first difference: plan.txt, line " in str(error.value)
    assert fingerprint(tiny_run) == before


def test_a_new_title_changes_no_plan(tiny_run: Path) -> None:
    written = json.loads((tiny_run / "spec.json").read_text())
    (tiny_run / "spec.json").write_text(json.dumps(written | {"title": "renamed"}))
    assert load_model(tiny_run, CPU).title == "renamed"


def test_a_checkpoint_of_another_run(tiny_run: Path, labeled_run: Path) -> None:
    content = newest(labeled_run).read_bytes()
    newest(tiny_run).write_bytes(content)
    newest(tiny_run).with_suffix(".sha256").write_text(hashlib.sha256(content).hexdigest())
    with pytest.raises(RunError, match=r"are of another run: their plan is not that of its spec\.json"):
        load_model(tiny_run, CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"weights": torch.zeros(2)}, "holds a checkpoint that ammgraph did not write"),
        (lambda state: {"plan": state["plan"]}, "does not hold this model's weights"),
        (lambda state: {**state, "step": 4, "model": {"a": torch.zeros(1)}}, "does not hold this model's weights"),
    ],
)
def test_a_checkpoint_of_another_program(tiny_run: Path, change, message: str) -> None:
    state = checkpoint.load_newest(tiny_run / "checkpoints")[1]
    checkpoint.save(tiny_run / "checkpoints", 4, change(state))
    with pytest.raises(RunError, match=message):
        load_model(tiny_run, CPU)


def saved_with(folder: Path, change, step: int = 4) -> None:
    state = checkpoint.load_newest(folder / "checkpoints")[1]
    for name, value in state["model"].items():
        if name.endswith("weight"):
            change(value)
    checkpoint.save(folder / "checkpoints", step, {**state, "step": step})


def test_weights_that_are_not_finite_are_passed_over(tiny_run: Path) -> None:
    saved_with(tiny_run, lambda weight: weight.fill_(math.nan))
    loaded = load_model(tiny_run, CPU)
    assert loaded.step == 3
    assert "step-000000004.pt holds numbers that are not finite (`model/networks" in loaded.warnings[0]
    assert loaded.warnings[0].endswith("training had diverged; an older checkpoint is used")


def test_weights_that_are_finite_and_give_no_numbers_are_told(tiny_run: Path) -> None:
    saved_with(tiny_run, lambda weight: weight.mul_(1e30))
    with pytest.raises(RunError) as error:
        load_model(tiny_run, CPU)
    assert str(error.value) == (
        f"the newest checkpoint in {tiny_run}, of step 4, gives no numbers: `x` of `p(x|y,z)` is not finite; "
        "training has diverged: begin a new run with lower learning rates, as by `--set "
        "'training.optimizers.default.learning_rate=0.0001' (now 0.001)`"
    )


@pytest.mark.parametrize(
    "words",
    [("evaluate",), ("report", "--no-map"), ("sample",), ("encode", "one.png"), ("export",), ("train", "--resume")],
    ids=lambda words: words[0],
)
def test_every_command_that_reads_weights_says_that_they_give_no_numbers(
    words: tuple[str, ...], tiny_run: Path, ammgraph: Run
) -> None:
    saved_with(tiny_run, lambda weight: weight.mul_(1e30))
    Image.new("L", (8, 8)).save("one.png")
    before = fingerprint(tiny_run)
    arguments = [words[0], *(words[1:] if words[0] == "train" else ()), tiny_run]
    arguments += words[1:] if words[0] != "train" else ()
    code, out, err = ammgraph(*arguments)
    assert (code, out) == (1, "")
    assert "`x` of `p(x|y,z)` is not finite; training has diverged: begin a new run with" in err.splitlines()[-1]
    assert {name: found for name, found in fingerprint(tiny_run).items() if name != "lock"} == before


def test_other_data_than_the_model_s(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = data_of(TINY)
    images = other.train.images[:, :, :7]
    broken = type(other)(
        other.name, type(other.train)(images, other.train.labels), None, None, other.labeled, other.classes, "cut"
    )
    monkeypatch.setattr("ammgraph.evaluation.loading.read_data", lambda *_, **__: broken)
    with pytest.raises(RunError, match=r"`x` has shape \[1, 8, 8\], but the images"):
        load_run(tiny_run, HERE)


def test_labels_of_the_spec_are_loaded_with_the_run(labeled_run: Path) -> None:
    assert len(load_run(labeled_run, HERE).dataset.labeled) == len(data_of(LABELED).labeled)
