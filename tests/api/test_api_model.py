"""A model in Python: what it infers and generates is what the commands find, and it says its sizes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import LABELED, LABELS_ON_BOTH_SIDES, TINY

import ammgraph


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ammgraph.Run:
    spec = ammgraph.load_spec(TINY, ["training.steps=3"])
    return ammgraph.fit(spec, run_dir=tmp_path_factory.mktemp("model") / "run")


def test_it_infers_what_encode_finds(run: ammgraph.Run, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (5, 1, 8, 8), np.uint8)
    np.savez(tmp_path / "mine.npz", images=images)
    expected = run.encode(tmp_path / "mine.npz", device="cpu").values
    for x in (torch.from_numpy(images), torch.from_numpy(images) / 255):
        found = run.model("cpu").infer(x)
        assert list(found) == ["y", "z"]
        torch.testing.assert_close(found["y"], torch.from_numpy(expected["y_posterior"]), atol=1e-6, rtol=0)
        torch.testing.assert_close(found["z"], torch.from_numpy(expected["z"]), atol=1e-6, rtol=0)
    assert torch.allclose(found["y"].sum(1), torch.ones(5).double())


def test_it_refuses_examples_of_another_shape(run: ammgraph.Run) -> None:
    with pytest.raises(ammgraph.RunError, match="the images are 1x9x9, but `x` is 1x8x8"):
        run.model("cpu").infer(torch.zeros(2, 1, 9, 9))


def test_it_generates_as_sample_does(run: ammgraph.Run) -> None:
    samples = run.sample(component=3, count=4, seed=7, device="cpu").images
    found = run.model("cpu").generate(4, y=3, seed=7)
    assert np.array_equal((found * 255).round().to(torch.uint8).numpy(), samples)
    each = run.model("cpu").generate(2, y=[3, 3], seed=7)
    assert torch.equal(each, run.model("cpu").generate(2, y=torch.tensor([3, 3]), seed=7))


def test_without_a_seed_torch_decides(run: ammgraph.Run) -> None:
    model = run.model("cpu")
    torch.manual_seed(5)
    first, second = model.generate(2), model.generate(2)
    torch.manual_seed(5)
    assert torch.equal(model.generate(2), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"y": 10}, "`y` has 10 categories, from 0 to 9"),
        ({"y": -1}, "`y` has 10 categories, from 0 to 9"),
        ({"y": [1, 2]}, "`y` has shape .2,., expected one category, or 3: one a sample"),
        ({"Y": 1}, "`Y` cannot be given, expected `y`; did you mean `y`"),
        ({"z": 1}, "`z` cannot be given, expected `y`"),
        ({"y": 2.7}, "^`y` is 2.7, expected a whole number$"),
        ({"y": "1"}, "^`y` is '1', expected a whole number$"),
        ({"y": True}, "^`y` is True, expected a whole number$"),
        ({"y": None}, "^`y` is None, expected a whole number$"),
        ({"y": [1, 2.5, 3]}, r"^`y` is \[1, 2.5, 3\], expected whole numbers$"),
        ({"y": np.array([1.0, 2.0, 3.0])}, "^`y` is array.*, expected whole numbers$"),
        ({"seed": 1.5}, "^`seed` is 1.5, expected a whole number$"),
    ],
)
def test_it_refuses_categories_that_there_are_not(run: ammgraph.Run, given: dict[str, object], said: str) -> None:
    with pytest.raises(ammgraph.RunError, match=said):
        run.model("cpu").generate(3, **given)


def test_a_label_that_p_takes_from_data_is_given(tmp_path: Path) -> None:
    run = ammgraph.fit(
        ammgraph.load_spec(TINY, [*LABELS_ON_BOTH_SIDES, "training.steps=1"]), run_dir=tmp_path / "run", device="cpu"
    )
    model = run.model("cpu")
    found = (model.generate(4, y=3, seed=7) * 255).round().to(torch.uint8).numpy()
    assert np.array_equal(found, run.sample(given={"y": 3}, count=4, seed=7, device="cpu").images)
    assert torch.equal(model.generate(2, y=[3, 3], seed=7), model.generate(2, y=3, seed=7))
    assert not torch.equal(model.generate(2, y=[3, 4], seed=7), model.generate(2, y=3, seed=7))
    with pytest.raises(ammgraph.RunError, match=r"`p` starts from labels \(`y`\)"):
        model.generate(4)


def test_whole_numbers_of_numpy_are_categories(run: ammgraph.Run) -> None:
    model = run.model("cpu")
    expected = model.generate(2, y=[3, 4], seed=7)
    for y in (np.array([3, 4], np.uint8), [np.int64(3), np.int64(4)], torch.tensor([3, 4], dtype=torch.int32)):
        assert torch.equal(model.generate(np.int64(2), y=y, seed=np.int64(7)), expected)


def test_it_says_its_layers_and_their_sizes() -> None:
    plan = ammgraph.compile_spec(ammgraph.load_spec(LABELED))
    shown = repr(ammgraph.build(plan))
    assert shown.startswith(f"Model: {plan.title}" if plan.title else "Model, ")
    assert f"{plan.parameters:,} parameters" in shown.splitlines()[0]
    for network in plan.networks:
        assert f"network {network.name}: {network.parameters:,} parameters" in shown
        assert all(row.name in shown for row in network.rows)


def test_its_weights_are_those_of_a_module(run: ammgraph.Run) -> None:
    model = run.model("cpu")
    assert sum(parameter.numel() for parameter in model.parameters()) == run.plan.parameters
    assert model.infer(torch.zeros(1, 1, 8, 8))["z"].shape == (1, 4)
    assert model.double().generate(2, y=1, seed=0).dtype == torch.float64
