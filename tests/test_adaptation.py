"""Domain adaptation: an image that two data sets have, a label that one draws beside it, a category of the other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import lines_of

from ammgraph import cli
from ammgraph.api.run import Run

SPEC = Path(__file__).parent / "tiny_adaptation.yaml"
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (50, 4, 4), np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adaptation")
    np.savez(folder / "source.npz", x_train=IMAGES[:30], y_train=np.arange(30) % 3)
    np.savez(folder / "target.npz", x_train=IMAGES[30:], y_train=np.arange(20) % 3)
    words = ["train", str(SPEC), "--data-dir", str(folder), "--run-dir", str(folder / "run"), "--log", "none"]
    assert cli.main(words) == 0
    return folder / "run"


def test_a_look_counts_the_examples_that_it_is_of(run: Path) -> None:
    (look,) = [line["evaluation"] for line in lines_of(run) if "evaluation" in line][-1:]
    assert look["examples"] == 20  # those of the target, off which y is read; of the source nothing is


def test_a_category_is_read_off_the_data_set_that_infers_it(run: Path) -> None:
    found = Run(run).encode(IMAGES[30:], variable="x", device="cpu")
    assert set(found.values) == {"f", "y", "y_posterior", "y_class"}


def test_a_label_that_is_drawn_beside_an_image_is_not_what_features_take(run: Path) -> None:
    found = Run(run).encode(IMAGES[:30], device="cpu")  # as examples of the source, whose s(x,y) draws labels too
    state = Run(run).model("cpu").state_dict()
    weight, bias = (
        next(v for name, v in state.items() if "features." in name and name.endswith(f"f.{part}"))
        for part in ("weight", "bias")
    )
    by_hand = torch.relu(torch.from_numpy(IMAGES[:30] / 255).float().flatten(1) @ weight.flatten(1).T + bias)
    assert np.allclose(found.values["f"], by_hand.numpy(), atol=1e-5)
