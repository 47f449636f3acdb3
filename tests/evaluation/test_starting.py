"""A network begins as one of an earlier run: its weights, statistics and hash, or what does not fit, row by row."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny import CPU, TINY, differences, trainer_of

import ammgraph
from ammgraph.diagnostics import RunError
from ammgraph.evaluation.loading import load_model
from ammgraph.evaluation.starting import begin_from
from ammgraph.spec.load import load_spec
from ammgraph.train.trainer import Trainer


def begun(*overrides: str) -> Trainer:
    return trainer_of(TINY, *overrides, seed=7)


def test_it_has_the_weights_and_statistics_that_the_run_evaluates_and_others_are_new(tiny_run: Path) -> None:
    trainer = begun(f"networks.decoder.from={tiny_run}", "training.ema={default: 0.9}")
    other = {name: value.clone() for name, value in trainer.model.network("encoder").state_dict().items()}
    starts = begin_from(trainer.plan, trainer.models)
    expected = load_model(tiny_run, CPU).model.network("decoder").state_dict()
    for model in trainer.models:
        assert differences(expected, model.network("decoder").state_dict()) == []
        assert differences(other, model.network("encoder").state_dict()) == []
    file = max((tiny_run / "checkpoints").glob("*.pt"))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    start = starts["decoder"]
    assert (start.run, start.network, start.step) == (str(tiny_run.absolute()), "decoder", 3)
    assert start.checkpoint_sha256 == digest


def test_it_may_be_a_network_of_another_name_and_have_fewer_rows(tiny_run: Path) -> None:
    table = "networks.trunk={layers: {h: {input: x, channels: 16, width: 8, activation: tanh}}, from: %s/encoder}"
    reads = "networks.critic.layers.h={input: hx | y | z | f, channels: 16, width: 1}"
    factors = ("distributions.q.q(f|x)=trunk.f", "distributions.p.p(f|x)=trunk.f")
    rows = table.replace("h: {", "f: {input: h}, h: {") % tiny_run
    trainer = begun(rows, reads, "variables.f={type: real, size: 16}", *factors)
    begin_from(trainer.plan, trainer.models)
    expected = load_model(tiny_run, CPU).model.network("encoder").row("h").weight
    found = trainer.model.network("trunk").row("h").weight
    assert expected is not None
    assert found is not None
    assert torch.equal(found, expected)


def test_every_row_that_does_not_fit_is_named(tiny_run: Path) -> None:
    rows = ("networks.encoder.layers.h={input: c, op: linear, channels: 16}",)
    rows += ("networks.encoder.layers.c={input: x, channels: 2, width: 3}",)
    trainer = begun(f"networks.encoder.from={tiny_run}", *rows)
    with pytest.raises(RunError) as caught:
        begin_from(trainer.plan, trainer.models)
    first, *lines = str(caught.value).splitlines()
    assert first == f"`encoder` cannot begin as `{tiny_run}`:"
    assert "  it has no row `c`; valid here: `h`, `y`, `z_mu`, `z_sigma`, `z`" in lines
    assert any(line.startswith("  row `h` has weight ") and line.endswith("16x1x8x8 there") for line in lines)
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("path", "said"),
    [("{run}/decodr", "that run has no network `decodr`; did you mean `decoder`?"), ("nowhere", "is no run directory")],
)
def test_what_is_not_there_is_said(path: str, said: str, tiny_run: Path) -> None:
    trainer = begun(f"networks.decoder.from={path.format(run=tiny_run)}")
    with pytest.raises(RunError, match=r"`decoder` cannot begin as ") as caught:
        begin_from(trainer.plan, trainer.models)
    assert said in str(caught.value)


def test_a_run_records_its_starts_and_goes_on_without_the_earlier_run(tmp_path: Path) -> None:
    earlier = ammgraph.fit(load_spec(TINY, ["training.steps=1"]), run_dir=tmp_path / "earlier", device="cpu")
    overrides = [f"networks.encoder.from={earlier.folder}", "networks.encoder.trainable=false", "training.steps=2"]
    whole = ammgraph.fit(load_spec(TINY, overrides), run_dir=tmp_path / "whole", device="cpu")
    recorded = json.loads((whole.folder / "run.json").read_text())["starts"]["encoder"]
    assert (recorded["run"], recorded["network"], recorded["step"]) == (str(earlier.folder), "encoder", 1)
    overrides[-1] = "training.steps=1"
    short = ammgraph.fit(load_spec(TINY, overrides), run_dir=tmp_path / "short", device="cpu")
    expected = earlier.model().network("encoder").state_dict()
    shutil.rmtree(earlier.folder)
    longer = short.resume(["training.steps=2"], device="cpu")
    assert differences(whole.model().state_dict(), longer.model().state_dict()) == []
    assert differences(expected, longer.model().network("encoder").state_dict()) == []


def test_a_run_without_a_start_records_none(tmp_path: Path) -> None:
    run = ammgraph.fit(load_spec(TINY, ["training.steps=1"]), run_dir=tmp_path / "run", device="cpu")
    assert json.loads((run.folder / "run.json").read_text())["starts"] is None


def test_it_begins_as_the_state_that_the_earlier_run_has_kept(tmp_path: Path) -> None:
    keep = ("evaluation.keep=best reconstruction_error", "evaluation.every_epochs=1/20", "training.steps=6")
    earlier = ammgraph.fit(load_spec(TINY, keep), run_dir=tmp_path / "earlier", device="cpu")
    shutil.rmtree(earlier.folder / "checkpoints")  # the last states are not asked for
    trainer = begun(f"networks.decoder.from={earlier.folder}")
    start = begin_from(trainer.plan, trainer.models)["decoder"]
    file = max((earlier.folder / "best").glob("*.pt"))
    assert start.checkpoint_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert file.name == f"step-{start.step:09d}.pt"
    kept = trainer_of(TINY)
    kept.model.load_state_dict(torch.load(file, weights_only=True)["model"])
    expected = kept.model.network("decoder").state_dict()
    assert differences(expected, trainer.model.network("decoder").state_dict()) == []
