"""Samples given examples: what a distribution reads from data is the user's, the rest is drawn, by noise of a seed."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_loading import fingerprint
from tiny import CPU, TINY, plan_of
from tiny_runs import make_run
from torch import Tensor

from ammgraph import cli
from ammgraph.api.run import Run
from ammgraph.diagnostics import RunError
from ammgraph.evaluation.conditional import chain_of, start_of
from ammgraph.evaluation.sample import Asked, Samples, sample_run

SPEC = Path(__file__).parents[1] / "tiny_translation.yaml"
RANDOM = np.random.default_rng(3)
PHOTOS = RANDOM.integers(0, 256, (40, 4, 4), np.uint8)
SOUNDS = RANDOM.normal(5, 2, (40, 3))
SEED = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    np.savez(data / "photos.npz", x_train=PHOTOS, y_train=np.arange(40) % 3)
    np.savez(data / "drawings.npz", x_train=RANDOM.integers(0, 256, (40, 4, 4), np.uint8))
    np.savez(data / "sounds.npz", x_train=SOUNDS)
    found = data / "run"
    assert cli.main(["train", str(SPEC), "--data-dir", str(data), "--run-dir", str(found), "--log", "none"]) == 0
    return found


@pytest.fixture(scope="module")
def state(run: Path) -> Mapping[str, Tensor]:
    return Run(run).model("cpu").state_dict()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two images by their names."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, pixels in (("a", PHOTOS[0]), ("b", PHOTOS[1])):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def asked(run: Path, examples: object, count: int = 3, **what: object) -> Samples:
    return Run(run).sample(count=count, examples=examples, seed=SEED, device="cpu", **what)


# ------------------------------------------------------------------------------------------------------- by hand


def weights(state: Mapping[str, Tensor], network: str, row: str) -> tuple[Tensor, Tensor]:
    """W and b of a row, in double precision."""
    of_it = {name: value.double() for name, value in state.items() if f"network_{network}." in name}
    weight, bias = (
        next(v for name, v in of_it.items() if name.endswith(f"{row}.{part}")) for part in ("weight", "bias")
    )
    return weight, bias


def dense(state: Mapping[str, Tensor], network: str, row: str, x: Tensor) -> Tensor:
    weight, bias = weights(state, network, row)
    return x @ weight.flatten(1).T + bias


def decoded(state: Mapping[str, Tensor], row: str, y: Tensor, z: Tensor) -> Tensor:
    hidden = torch.relu(dense(state, "decoder", "h", torch.cat([y, z], 1)))
    weight, bias = weights(state, "decoder", row)
    # A transposed convolution of one position: a product with its weights, (in, out, 4, 4).
    return torch.sigmoid(torch.einsum("bi,iohw->bohw", hidden, weight) + bias[:, None, None])


def encoded(state: Mapping[str, Tensor], x: Tensor, y: Tensor | None, noise: tuple[Tensor, Tensor]) -> tuple:
    """(y, z) of q1, y by Gumbel's noise unless given."""
    gumbel, normal = noise
    hidden = torch.relu(dense(state, "encoder", "h", x))
    if y is None:
        y = one_hot((dense(state, "encoder", "y", hidden) + gumbel).argmax(1))
    read = torch.cat([hidden, y], 1)
    return y, dense(state, "encoder", "z_mu", read) + normal * torch.exp(dense(state, "encoder", "z_sigma", read) / 2)


def one_hot(labels: Tensor) -> Tensor:
    return torch.eye(3, dtype=torch.float64)[labels]


def noise_of_q1(count: int) -> tuple[Tensor, Tensor]:
    """What a generator of the seed gives for y and then for z."""
    generator = torch.Generator().manual_seed(SEED)
    uniform = torch.rand((count, 3, 1, 1), generator=generator)
    normal = torch.randn((count, 4, 1, 1), generator=generator)
    return -torch.log(-torch.log(uniform)).double().flatten(1), normal.double().flatten(1)


def each(images: np.ndarray, count: int) -> Tensor:
    return torch.from_numpy(images / 255).flatten(1).repeat_interleave(count, dim=0)


def nearly(found: np.ndarray, expected: Tensor) -> bool:
    return np.allclose(found, expected.numpy(), atol=1e-5)


# ------------------------------------------------------------------------------------------------------- what is drawn


def test_an_image_becomes_one_of_another_kind_by_its_own_latents(run: Path, state, photos: Path) -> None:
    samples = asked(run, photos, variable="x2", source="r")
    y, z = encoded(state, each(PHOTOS[:2], 3), None, noise_of_q1(6))
    assert samples.latents["y"].tolist() == y.argmax(1).tolist()
    assert nearly(samples.latents["z"], z)
    assert np.abs(samples.images - decoded(state, "x2", y, z).numpy() * 255).max() < 0.51
    assert samples.columns == 3
    assert samples.by == "q1(x1) q1(y|x1) q1(z|x1,y), r(y) r(z) r(x2|y,z)"
    assert set(samples.latents) == {"y", "z"}  # and not the image itself


def test_a_category_that_is_inferred_may_be_given(run: Path, state, photos: Path) -> None:
    samples = asked(run, photos, variable="x2", source="r", given={"y": 1})
    y, z = encoded(state, each(PHOTOS[:2], 3), one_hot(torch.ones(6, dtype=torch.int64)), noise_of_q1(6))
    assert samples.latents["y"].tolist() == [1] * 6
    assert nearly(samples.latents["z"], z)
    assert np.abs(samples.images - decoded(state, "x2", y, z).numpy() * 255).max() < 0.51


def test_a_category_of_the_distribution_itself_leaves_the_one_that_is_inferred(run: Path, state, photos: Path) -> None:
    samples = asked(run, photos, variable="x2", source="s", given={"y": 2})
    _, z = encoded(state, each(PHOTOS[:2], 3), None, noise_of_q1(6))  # by the image's own y
    assert samples.latents["y"].tolist() == [2] * 6
    assert nearly(samples.latents["z"], z)
    free = asked(run, photos, variable="x2", source="s")
    assert np.array_equal(free.latents["z"], samples.latents["z"])
    assert len(set(free.latents["y"].tolist())) > 1


def test_a_label_that_is_read_must_be_given(run: Path, state, photos: Path) -> None:
    with pytest.raises(RunError, match=r"`x2` of `t` depends on the label `y` of a record, .*; give it, `--set y=K`"):
        asked(run, photos, variable="x2", source="t")
    samples = asked(run, photos, variable="x2", source="t", given={"y": 0})
    generator = torch.Generator().manual_seed(SEED)
    normal = torch.randn((6, 4, 1, 1), generator=generator).double().flatten(1)
    y = one_hot(torch.zeros(6, dtype=torch.int64))
    _, z = encoded(state, each(PHOTOS[:2], 3), y, (torch.zeros(6, 3), normal))
    assert nearly(samples.latents["z"], z)
    assert np.abs(samples.images - decoded(state, "x2", y, z).numpy() * 255).max() < 0.51


def test_without_a_distribution_of_its_own_an_image_is_drawn_again_from_its_latents(run: Path, state) -> None:
    samples = asked(run, PHOTOS[:2], variable="x1", given={"y": 1})
    y, z = encoded(state, each(PHOTOS[:2], 3), one_hot(torch.ones(6, dtype=torch.int64)), noise_of_q1(6))
    assert samples.variable == "x1"
    assert samples.by == "q1(x1) q1(y|x1) q1(z|x1,y), p(x1|y,z)"
    assert nearly(samples.latents["z"], z)
    assert np.abs(samples.images - decoded(state, "x1", y, z).numpy() * 255).max() < 0.51
    assert np.array_equal(asked(run, PHOTOS[:2], source="p", given={"y": 1}).images, samples.images)


def test_latents_are_sampled_by_their_name(run: Path, state, tmp_path: Path) -> None:
    samples = asked(run, PHOTOS[:2], variable="z", source="q1", given={"y": 1})
    _, z = encoded(state, each(PHOTOS[:2], 3), one_hot(torch.ones(6, dtype=torch.int64)), noise_of_q1(6))
    assert nearly(samples.images, z)
    assert samples.save(tmp_path / "z.csv").read_text().splitlines()[0] == "sample,z_0,z_1,z_2,z_3,y,example"


def test_vectors_are_read_by_their_scales_and_given_in_their_units(run: Path, state, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=SOUNDS[:2])
    samples = asked(run, tmp_path / "mine.npz", variable="v", source="u", given={"y": 2})
    mean, deviation = (torch.from_numpy(found) for found in (SOUNDS.mean(0), SOUNDS.std(0)))
    scaled = ((torch.from_numpy(SOUNDS[:2]) - mean) / deviation).repeat_interleave(3, dim=0)
    normal = torch.randn((6, 4, 1, 1), generator=torch.Generator().manual_seed(SEED)).double().flatten(1)
    z = dense(state, "listener", "z_mu", scaled) + normal * torch.exp(dense(state, "listener", "z_sigma", scaled) / 2)
    y = one_hot(torch.full((6,), 2))
    hidden = torch.relu(dense(state, "decoder", "h", torch.cat([y, z], 1)))
    assert nearly(samples.images, dense(state, "decoder", "v", hidden) * deviation + mean)
    assert samples.originals is not None
    assert np.allclose(samples.originals, SOUNDS[:2], atol=1e-5)
    titles, *records = samples.save(tmp_path / "out.csv").read_text().splitlines()
    assert titles == "sample,x_0,x_1,x_2,y,z_0,z_1,z_2,z_3,example"
    assert [record.rsplit(",", 1)[1] for record in records] == ["0"] * 3 + ["1"] * 3


def test_networks_do_not_learn_and_are_not_disturbed(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", TINY)  # dropout and batch norm
    before = fingerprint(folder)
    image = RANDOM.integers(0, 256, (1, 8, 8), np.uint8)
    samples = asked(folder, image, count=150, given={"y": 3})  # more than pass at once
    again = asked(folder, image, count=150, given={"y": 3})
    assert np.array_equal(samples.images, again.images)
    assert fingerprint(folder) == before
    z = samples.latents["z"]
    means = Run(folder).encode(image, device="cpu").values["z"]
    assert np.abs(z.mean(0) - means[0]).max() < 5 * z.std(0).max() / math.sqrt(150)
    assert len(np.unique(z[:, 0])) == 150


ENUMERATED = (
    "networks.encoder.layers.y.activation=straight_through",
    "distributions.q.q(y|x)={enumerate: encoder.y}",
    "games.joint={match: [q, p], discriminator: critic.p, objective: jensen_shannon}",
)


def test_an_enumerated_category_is_drawn_with_its_probabilities(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", TINY, *ENUMERATED, steps=100)
    image = RANDOM.integers(0, 256, (1, 8, 8), np.uint8)
    samples = asked(folder, image, count=2000)
    expected = Run(folder).encode(image, device="cpu").values["y_posterior"][0]
    shares = np.bincount(samples.latents["y"], minlength=len(expected)) / 2000
    assert np.abs(shares - expected).max() < 4 * math.sqrt(0.25 / 2000)
    assert np.ptp(expected) > 0.1
    assert set(asked(folder, image, given={"y": 1}).latents["y"].tolist()) == {1}


# ----------------------------------------------------------------------------------------------------- what is written


def test_an_image_that_a_term_has_moved_is_drawn_where_it_is_asked_for() -> None:
    plan = plan_of(
        Path(__file__).parents[2] / "specs" / "amm_digits.yaml"
    )  # r(x_again|x): mover.x_again stands beside p(x|z)
    assert (start_of(plan, None, None).source, start_of(plan, None, None).variable) == ("p", "x")
    assert start_of(plan, "x_again", None).source == "r"
    assert start_of(plan, None, "r").variable == "x_again"


def test_a_row_of_the_grid_begins_with_its_example(run: Path, photos: Path, tmp_path: Path) -> None:
    samples = asked(run, photos, variable="x2", source="r", output=tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape[0] == 2 * 30 - 2  # each pixel is one of 7 x 7
    grid = sheet[:, sheet.shape[1] - (4 * 30 - 2) :]
    assert np.array_equal(grid[:28:7, :28:7], PHOTOS[0])
    assert np.array_equal(grid[30::7, :28:7], PHOTOS[1])
    assert np.array_equal(grid[30::7, 60:88:7], samples.images[4, 0])
    assert (sheet[:, : sheet.shape[1] - grid.shape[1]] < 128).any()  # the number of the row


def test_arrays_have_the_names_of_the_examples(run: Path, photos: Path, tmp_path: Path) -> None:
    asked(run, photos, count=2, variable="x2", source="r", output=tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        assert found["example"].tolist() == ["a.png", "a.png", "b.png", "b.png"]
        assert np.array_equal(found["examples"][:, 0], PHOTOS[:2])
        assert found["x2"].shape == (4, 1, 4, 4)


def test_an_example_of_another_kind_is_not_beside_what_is_drawn(run: Path, tmp_path: Path) -> None:
    samples = asked(run, PHOTOS[:2], variable="z", source="q1")
    assert samples.originals is None
    with np.load(samples.save(tmp_path / "z.npz")) as found:
        assert "examples" not in found.files


def test_the_command(run: Path, photos: Path, tmp_path: Path) -> None:
    words = ("--examples", photos, "--from", "r", "--variable", "x2", "--count", 2, "--set", "y=1", "--seed", SEED)
    assert cli.main(["sample", str(run), *map(str, words), "--output", str(tmp_path / "a.npz")]) == 0
    with np.load(tmp_path / "a.npz") as found:
        expected = asked(run, photos, count=2, variable="x2", source="r", given={"y": 1})
        assert np.array_equal(found["x2"], expected.images)


# ----------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"variable": "x2", "source": "r"}, "^`r` starts from data \\(`x1`\\): give them, `--examples FILE`$"),
        ({"source": "u"}, "^`u` starts from data \\(`v`\\): give them, `--examples FILE`$"),
        ({"variable": "z"}, "`z` cannot be sampled; expected .*; `q1` starts from data \\(`x1`\\): give them"),
    ],
)
def test_what_starts_from_data_needs_examples(run: Path, what: dict, message: str) -> None:
    with pytest.raises(RunError, match=message):
        Run(run).sample(device="cpu", **what)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"source": "w"}, "`x2` of `w` depends on `x1` and `v`, of several data sets, and `examples` are of one"),
        ({"source": "r", "component": 1}, "`component` is of samples from priors alone, .* give a category, `--set"),
        ({"source": "r", "interpolate": 3}, "`interpolate` is of samples from priors alone, and `examples` are given"),
        ({"source": "q2"}, "`q2` draws nothing by networks from an example; expected .*`r`"),
        ({"variable": "Z"}, "`Z` is drawn by no network from an example; expected `x2`, .*; did you mean `z`"),
        ({"variable": "x1", "source": "r"}, "`r` does not draw `x1` from an example; expected `p`"),
        ({"source": "r", "given": {"y": 3}}, "`y` has 3 categories, from 0 to 2, not 3"),
        ({"source": "r", "given": {"c": 0}}, "`c` cannot be given, expected `y`"),
        ({"source": "u", "given": {"y": 0}}, r"the examples are images of 1x4x4, but `v` is a vector of 3"),
        ({"source": "r", "count": 0}, "`count` is 0, expected at least 1"),
        ({"source": "r", "count": 10**12}, "2,000,000,000,000 images need about .* of memory"),
    ],
)
def test_what_is_refused(run: Path, what: dict, message: str) -> None:
    with pytest.raises(RunError, match=message):
        Run(run).sample(**{"count": 2, "examples": PHOTOS[:2], "device": "cpu", **what})


def test_two_fields_of_a_record_are_no_one_example() -> None:
    plan = plan_of(Path(__file__).parents[1] / "tiny_fields.yaml")
    with pytest.raises(
        RunError, match="`x2` of `p` depends on `x1` and `x2`, of several fields of a record, and `exam"
    ):
        chain_of(start_of(plan, "x2", "p"), {})


def test_the_examples_are_not_written_over(run: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=PHOTOS[:2])
    with pytest.raises(RunError, match=r"mine\.npz"):
        sample_run(run, tmp_path / "mine.npz", CPU, force=True, asked=Asked("x2", "r", {}, tmp_path / "mine.npz"))


def test_nor_is_an_image_of_their_folder(run: Path, photos: Path, tmp_path: Path) -> None:
    before = (photos / "a.png").read_bytes()
    (tmp_path / "link.png").symlink_to(photos / "a.png")
    for output in (photos / "a.png", tmp_path / "link.png"):
        with pytest.raises(RunError, match=r"is what is read, and is never replaced"):
            sample_run(run, output, CPU, force=True, asked=Asked("x2", "r", {}, photos))
    classes = tmp_path / "classes"
    classes.mkdir()
    photos.rename(classes / "one")
    with pytest.raises(RunError, match=r"is what is read, and is never replaced"):
        sample_run(run, classes / "one" / "a.png", CPU, force=True, asked=Asked("x2", "r", {}, classes))
    assert (classes / "one" / "a.png").read_bytes() == before


def test_nor_by_the_command_without_an_output(run: Path, ammgraph, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(PHOTOS[0]).save("samples.png")
    before = Path("samples.png").read_bytes()
    code, _, err = ammgraph("sample", run, "--examples", "samples.png", "--from", "r", "--force")
    assert code == 1
    assert "samples.png" in err
    assert Path("samples.png").read_bytes() == before
