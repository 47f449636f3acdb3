"""The tutorial's models train: every spec that its reader has at the end takes a few steps on the digits."""

import re
from pathlib import Path

import pytest
import torch
from documents import DOCS, refreshed
from tiny import trainer_of

STEPS = 3
MODELS = ("ali", "conditional", "amm", "samm", "labels", "bigan", "two", "deep", "pairs", "generate", "vae", "infogan")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has who has written everything that the tutorial says, and not yet trained."""
    path = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
        refreshed(re.sub(r"^ammgraph (train|report|sample) .*\n", "", page, flags=re.MULTILINE), path)
    return path


def test_every_spec_of_the_tutorial_is_trained_here(folder: Path) -> None:
    """But the base of all pages, the mistake, and what it should have been."""
    assert {path.stem for path in folder.glob("*.yaml")} == {*MODELS, "base", "wrong", "right"}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_the_tutorial_trains(name: str, folder: Path) -> None:
    trainer = trainer_of(folder / f"{name}.yaml")
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    for _ in range(STEPS):
        trainer.advance()
    after = trainer.model.state_dict()
    still = [key for key, value in trainer.model.named_parameters() if torch.equal(value, before[key])]
    assert still == [], "weights that no step moved"
    assert all(torch.isfinite(value).all() for value in after.values() if value.is_floating_point())
