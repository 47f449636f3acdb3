"""Images come from the synthesis side, of the component asked for, the same for the same seed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_loading import fingerprint
from tiny import CPU, LABELS_ON_BOTH_SIDES, TINY, plan_of
from tiny_runs import make_run

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import RunError
from ammgraph.evaluation.loading import load_model
from ammgraph.evaluation.sample import Asked, draw_samples, sample_run
from ammgraph.evaluation.sample_files import enlarged, grid, numbered, write_samples
from ammgraph.nn.model import build
from ammgraph.spec.load import load_spec

SPECS = Path(__file__).parents[2] / "specs"
PARTS = ("weight", "bias")


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path):
    return load_model(tiny_folder, CPU)


def test_all_components_row_by_row(loaded) -> None:
    samples = draw_samples(loaded.model, loaded.plan)
    assert samples.images.shape == (100, 1, 8, 8)
    assert samples.images.dtype == np.uint8
    assert samples.columns == 10
    assert samples.latents["y"].tolist() == [k for k in range(10) for _ in range(10)]
    assert samples.latents["z"].shape == (100, 4)
    assert samples.by == "p(y) p(z|y) p(x|y,z)"
    assert len(np.unique(samples.latents["z"][:, 0])) == 100


def test_one_component_as_a_block(loaded) -> None:
    samples = draw_samples(loaded.model, loaded.plan, component=7, count=11)
    assert samples.images.shape == (11, 1, 8, 8)
    assert samples.columns == 4
    assert set(samples.latents["y"].tolist()) == {7}


def test_the_seed_decides(loaded) -> None:
    first, same, other = (draw_samples(loaded.model, loaded.plan, count=2, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(first.images, same.images)
    assert not np.array_equal(first.latents["z"], other.latents["z"])


def test_sampling_moves_no_global_generator(loaded) -> None:
    before = torch.get_rng_state()
    draw_samples(loaded.model, loaded.plan, count=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_interpolation_is_a_straight_line_of_z_with_one_y(loaded) -> None:
    samples = draw_samples(loaded.model, loaded.plan, interpolate=5)
    z = samples.latents["z"].reshape(10, 5, 4)
    y = samples.latents["y"].reshape(10, 5)
    assert samples.columns == 5
    assert np.allclose(np.diff(z, axis=1), ((z[:, -1] - z[:, 0]) / 4)[:, None], atol=1e-5)
    assert np.abs(z[:, -1] - z[:, 0]).min() > 0
    assert (y == np.arange(10)[:, None]).all()
    assert draw_samples(loaded.model, loaded.plan, component=2, interpolate=3, count=4).images.shape == (12, 1, 8, 8)
    many = draw_samples(loaded.model, loaded.plan, component=2, interpolate=2, count=101)  # more than pass at once
    assert many.images.shape == (202, 1, 8, 8)
    assert len(np.unique(many.latents["z"][:, 0])) == 202


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"component": 10}, "there is no component 10: `y` has 10, from 0 to 9"),
        ({"component": -1}, "there is no component -1"),
        ({"count": 0}, "`count` is 0, expected at least 1"),
        ({"count": 1.5}, "`count` is 1.5, expected a whole number"),
        ({"seed": -1}, "`seed` is -1, expected at least 0"),
        ({"interpolate": 1}, "`interpolate` is 1, expected at least 2"),
        (
            {"count": 10**12},
            r"10,000,000,000,000 images need about .* of memory, and the machine has .*; at most .* at once",
        ),
        ({"interpolate": 10**12}, "10,000,000,000,000 images need about "),
        ({"interpolate": 10**6, "count": 10**6, "component": 1}, "1,000,000,000,000 images need about "),
        ({"asked": Asked(variable="z")}, "`z` cannot be sampled; expected `x`"),
    ],
)
def test_what_cannot_be_sampled(loaded, options: dict, message: str) -> None:
    with pytest.raises(RunError, match=message):
        draw_samples(loaded.model, loaded.plan, **options)


def test_a_model_without_components_gives_one_block() -> None:
    plan = compile_spec(load_spec(SPECS / "ali_mnist.yaml", ()))
    model = build(plan, torch.Generator().manual_seed(0))
    samples = draw_samples(model, plan, count=5)
    assert samples.images.shape == (5, 1, 28, 28)
    assert list(samples.latents) == ["z"]
    assert draw_samples(model, plan, interpolate=3, count=2).images.shape == (6, 1, 28, 28)
    with pytest.raises(RunError, match="this model has no components"):
        draw_samples(model, plan, component=0)


def test_an_image_of_a_label_of_the_data_is_sampled_given_that_label() -> None:
    plan = plan_of(TINY, *LABELS_ON_BOTH_SIDES)
    model = build(plan, torch.Generator().manual_seed(0))
    samples = draw_samples(model, plan, count=30, asked=Asked(given={"y": 3}))
    assert samples.latents["y"].tolist() == [3] * 30
    weights = {name.removeprefix("network_"): value for name, value in model.state_dict().items()}
    (h_weight, h_bias), (x_weight, x_bias), (mean, shift) = (
        [next(v for n, v in weights.items() if network in n and n.endswith(f"{row}.{part}")) for part in PARTS]
        for network, row in (("decoder", "h"), ("decoder", "x"), ("components", "z_mu"))
    )
    y, z = torch.eye(10)[[3] * 30], torch.from_numpy(samples.latents["z"])
    hidden = torch.nn.functional.leaky_relu(torch.cat([y, z], 1) @ h_weight.flatten(1).T + h_bias, 0.2)
    images = torch.sigmoid(torch.einsum("bi,iohw->bohw", hidden, x_weight) + x_bias[:, None, None])
    assert np.abs(samples.images - images.numpy() * 255).max() <= 0.51
    noise = z - y @ mean.flatten(1).T - shift  # N(0, 1): 120 numbers
    assert abs(noise.mean()) < 0.3
    assert 0.8 < noise.std() < 1.2


def test_each_label_of_the_data_has_a_row_of_samples_where_none_is_given() -> None:
    plan = plan_of(TINY, *LABELS_ON_BOTH_SIDES)
    model = build(plan, torch.Generator().manual_seed(0))
    samples = draw_samples(model, plan, count=3)
    assert (samples.components, samples.columns) == (tuple(range(10)), 3)
    assert samples.latents["y"].tolist() == [label for label in range(10) for _ in range(3)]
    one = draw_samples(model, plan, component=7, count=3)
    assert one.latents["y"].tolist() == [7] * 3
    assert draw_samples(model, plan, interpolate=4).latents["y"].tolist() == [y for y in range(10) for _ in range(4)]
    with pytest.raises(RunError, match="`y` has 10 categories, from 0 to 9, not 12"):
        draw_samples(model, plan, asked=Asked(given={"y": 12}))


def test_of_two_labels_one_is_given_and_the_other_has_rows() -> None:
    plan = plan_of(
        *(TINY, "variables.w={type: categorical, size: 2}", "data.labeled={count: all}"),
        "distributions.q={'q(x,y)': data.labeled, q(w): uniform, q(z|x): encoder.z}",
        "distributions.p={p(y): q.y, p(w): q.w, p(z): normal, 'p(x|y,w,z)': decoder.x}",
        "networks.encoder.layers.y=null",
        "networks.decoder.layers.h.input=y | w | z",
        "networks.components=null",
    )
    model = build(plan, torch.Generator().manual_seed(0))
    with pytest.raises(RunError, match=r"`p` starts from labels \(`y`\): give a category, `--set y=K`$"):
        draw_samples(model, plan)
    samples = draw_samples(model, plan, count=2, asked=Asked(given={"y": 3}))
    assert (samples.latents["w"].tolist(), samples.latents["y"].tolist()) == ([0, 0, 1, 1], [3] * 4)


def test_a_label_that_is_given_does_not_choose_the_distribution() -> None:
    """`r` comes first and needs a label, `p` needs none: without `--from` it is `p`, whatever is given."""
    plan = plan_of(
        TINY,
        "data.labeled={count: all}",
        "distributions.a={'a(x,y)': data.labeled}",
        "distributions.r={r(y): a.y, r(z): normal, 'r(x|y,z)': decoder.x}",
        "games.more={match: [a, r], discriminator: critic2.p, objective: hinge}",
        "networks.critic2={layers: {p: {input: x, op: linear, channels: 1}}}",
    )
    model = build(plan, torch.Generator().manual_seed(0))
    given = {"y": 3}
    assert draw_samples(model, plan, asked=Asked(given=given)).by == "p(y) p(z|y) p(x|y,z)"
    assert draw_samples(model, plan, asked=Asked(source="r", given=given)).by == "r(y) r(z) r(x|y,z)"


def test_a_factor_that_is_scored_and_never_drawn_draws_no_samples() -> None:
    plan = plan_of(
        TINY,
        "networks.other={layers: {x: {input: z, op: conv_transpose, channels: 1, width: 8, activation: sigmoid}}}",
        "distributions={a: {a(x|z): other.x}, q: {q(x): data, q(y|x): encoder.y, q(z|x): encoder.z}, "
        "p: {p(y): uniform, p(z|y): components.z, 'p(x|y,z)': decoder.x}}",
        "terms.other={minimize: '-E[q] log a(x|z)'}",
    )
    model = build(plan, torch.Generator().manual_seed(0))
    assert draw_samples(model, plan, count=1).by == "p(y) p(z|y) p(x|y,z)"
    with pytest.raises(RunError, match=r"`a` starts from data \(`x`\): give them, `--examples FILE`"):
        draw_samples(model, plan, asked=Asked(source="a"))


def test_images_of_three_channels_are_written_in_colour(tmp_path: Path) -> None:
    plan = compile_spec(load_spec(SPECS / "amm_svhn.yaml", ()))
    model = build(plan, torch.Generator().manual_seed(0))
    samples = draw_samples(model, plan, component=1, count=2)
    write_samples(samples, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert (image.mode, image.size[1]) == ("RGB", 32)
        left = image.size[0] - 66
        assert np.array_equal(np.asarray(image)[:, left : left + 32].transpose(2, 0, 1), samples.images[0])


def test_the_grid_by_hand() -> None:
    images = np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
    grey = 128
    assert grid(images, 2)[0].tolist() == [
        [0, grey, grey, 1],
        [grey] * 4,
        [grey] * 4,
        [2, grey, grey, grey],
    ]


@pytest.mark.parametrize(
    ("size", "factor"), [((8, 8), 4), ((28, 28), 1), ((27, 20), 2), ((32, 32), 1), ((1, 2), 14), ((100, 3), 1)]
)
def test_images_are_enlarged_by_whole_pixels(size: tuple[int, int], factor: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, *size), dtype=np.uint8)
    expected = np.kron(images, np.ones((1, 1, factor, factor), np.uint8))
    assert np.array_equal(enlarged(images), expected)


def test_every_row_has_its_number_in_a_white_margin() -> None:
    sheet = np.full((3, 2 * 30 - 2, 40), 7, np.uint8)
    drawn = numbered(sheet, [3, 12])
    width = drawn.shape[2] - 40
    assert np.array_equal(drawn[:, :, width:], sheet)
    margin = drawn[:, :, :width]
    assert (margin == margin[:1]).all()
    ink = margin[0] < 128
    assert ink[:28].any()
    assert ink[30:].sum() > ink[:28].sum()  # two digits
    assert not ink[:, :3].any()
    assert np.array_equal(numbered(sheet, [3, 3])[0, 1:27, :width], numbered(sheet, [3, 3])[0, 31:57, :width])


@pytest.mark.parametrize(
    ("asked", "components"),
    [
        ({}, tuple(range(10))),
        ({"component": 7, "count": 11}, (7, 7, 7)),
        ({"interpolate": 3, "count": 2}, tuple(k for k in range(10) for _ in range(2))),
    ],
)
def test_the_component_of_each_row(asked: dict[str, int], components: tuple[int, ...], loaded) -> None:
    samples = draw_samples(loaded.model, loaded.plan, **asked)
    assert samples.components == components
    assert samples.latents["y"][:: samples.columns].tolist() == list(components)


def test_a_run_is_sampled_without_its_data_and_not_changed(tiny_run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("ammgraph.data.dataset._read", lambda *_: pytest.fail("the data set was read"))
    before = fingerprint(tiny_run)
    samples = sample_run(tiny_run, tmp_path / "grid.png", CPU, count=3)
    with Image.open(tmp_path / "grid.png") as image:
        # A pixel of an image of 8 x 8 is one of 4 x 4.
        assert (image.mode, image.size[1]) == ("L", 10 * 34 - 2)
        sheet = np.asarray(image)
        left = image.size[0] - (3 * 34 - 2)
        assert np.array_equal(sheet[34:66:4, left : left + 32 : 4], samples.images[3, 0])
        assert np.array_equal(sheet[37:66:4, left + 3 : left + 32 : 4], samples.images[3, 0])
    sample_run(tiny_run, tmp_path / "arrays.NPZ", CPU, count=3)
    with np.load(tmp_path / "arrays.NPZ") as arrays:
        assert np.array_equal(arrays["x"], samples.images)
        assert np.array_equal(arrays["y"], samples.latents["y"])
        assert str(arrays["layout"]) == "NCHW"
    assert fingerprint(tiny_run) == before


def test_files_that_cannot_be_written(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"expected a name that ends in \.png \(a grid\) or \.npz"):
        sample_run(tiny_run, tmp_path / "grid.jpg", CPU)
    with pytest.raises(RunError, match=r"cannot write .*nowhere/grid\.png: there is no folder .*nowhere"):
        sample_run(tiny_run, tmp_path / "nowhere" / "grid.png", CPU, count=1)


def test_the_range_of_the_variable_is_black_to_white(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", TINY, "variables.x.range=[-1, 1]", "networks.decoder.layers.x.activation=tanh")
    loaded = load_model(folder, CPU)
    images = draw_samples(loaded.model, loaded.plan, count=20).images
    assert 90 < images.mean() < 165
