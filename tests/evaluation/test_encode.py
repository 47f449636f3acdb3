"""A user's own images get labels, posteriors and embeddings, the same as in an evaluation."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_loading import fingerprint
from tiny import CPU, HERE, TINY, data_of, plan_of

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.files import read_images
from ammgraph.diagnostics import RunError
from ammgraph.evaluation.encode import encode, encode_run
from ammgraph.evaluation.evaluate import ask, infer
from ammgraph.evaluation.loading import load_model
from ammgraph.evaluation.results import write
from ammgraph.evaluation.score import evaluate_run
from ammgraph.nn.model import build
from ammgraph.spec.load import load_spec

SPECS = Path(__file__).parents[2] / "specs"
CYCLE = Path(__file__).parents[1] / "tiny_cycle.yaml"
NAMES = tuple(map(str, range(12)))


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path):
    return load_model(tiny_folder, CPU)


@pytest.fixture(scope="module")
def few():
    return data_of(TINY).train.at(torch.arange(12))


def test_the_same_as_an_evaluation_says(loaded, few) -> None:
    encoding = encode(loaded.model, loaded.plan, few.images, NAMES)
    answers = ask(loaded.model, loaded.plan, few)
    for name, rule in (("y", "posterior"), ("y_bayes", "bayes")):
        scores = torch.from_numpy(answers.scores["y", rule])
        assert np.allclose(encoding.values[f"{name}_posterior"], scores.softmax(1).numpy())
        assert encoding.values[name].tolist() == scores.argmax(1).tolist()
    z = infer(loaded.model, loaded.plan, loaded.plan.draw("q"), {"z"}, few).samples["z"]
    assert np.array_equal(encoding.values["z"], z.flatten(1).numpy())
    assert encoding.by == {
        "y": "q(y|x)",
        "y_posterior": "q(y|x)",
        "y_bayes": "p(y|z)",
        "y_bayes_posterior": "p(y|z)",
        "z": "q(z|x)",
    }
    assert encoding.images == NAMES


def test_posteriors_are_probabilities(loaded, few) -> None:
    values = encode(loaded.model, loaded.plan, few.images, NAMES).values
    assert np.allclose(values["y_posterior"].sum(1), 1)
    assert np.allclose(values["y_bayes_posterior"].sum(1), 1)


def test_floats_are_images_as_well(loaded, few) -> None:
    stored = encode(loaded.model, loaded.plan, few.images, NAMES).values["z"]
    floats = encode(loaded.model, loaded.plan, few.images.float() / 255, NAMES).values["z"]
    assert np.allclose(stored, floats, atol=1e-5)


def test_an_npz_gives_an_npz(tiny_run: Path, few, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("ammgraph.data.dataset._read", lambda *_: pytest.fail("the data set was read"))
    before = fingerprint(tiny_run)
    np.savez(tmp_path / "mine.npz", images=few.images[:, 0].numpy())
    encoding = encode_run(tiny_run, tmp_path / "mine.npz", tmp_path / "out.npz", CPU)
    with np.load(tmp_path / "out.npz") as arrays:
        assert set(arrays.files) == {"image", "y", "y_posterior", "y_bayes", "y_bayes_posterior", "z"}
        assert arrays["image"].tolist() == list(NAMES)
        assert np.array_equal(arrays["z"], encoding.values["z"])
    assert fingerprint(tiny_run) == before


def test_a_folder_gives_a_table(tiny_run: Path, few, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "more").mkdir(parents=True)
    for place, name in enumerate(["b.png", "a.png", "more/c.png"]):
        Image.fromarray(few.images[place, 0].numpy()).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    encoding = encode_run(tiny_run, folder, tmp_path / "out.csv", CPU)
    with (tmp_path / "out.csv").open(newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0][:3] == ["image", "y", "y_posterior_0"]
    assert lines[0][-1] == "z_3"
    assert len(lines[0]) == 1 + 2 * (1 + 10) + 4
    assert [line[0] for line in lines[1:]] == ["a.png", "b.png", "more/c.png"]
    assert [int(line[1]) for line in lines[1:]] == encoding.values["y"].tolist()
    assert float(lines[1][-1]) == pytest.approx(float(encoding.values["z"][0, 3]), rel=1e-6)


def test_one_image_file(tiny_run: Path, few, tmp_path: Path) -> None:
    Image.fromarray(few.images[0, 0].numpy()).save(tmp_path / "one.png")
    encoding = encode_run(tiny_run, tmp_path / "one.png", tmp_path / "out.npz", CPU)
    assert encoding.images == ("one.png",)
    assert encoding.values["z"].shape == (1, 4)


@pytest.mark.parametrize(
    ("mode", "size", "message"),
    [
        ("L", (9, 8), "the images are 1x8x9, but `x` is 1x8x8 .*; convert them to 8x8 pixels"),
        ("RGB", (8, 8), r"the images are 3x8x8, but `x` is 1x8x8 .*; convert them to grey \(mode L\) images of 8x8"),
        ("RGBA", (8, 8), "has mode RGBA, expected L"),
    ],
)
def test_images_of_another_size_or_mode(tiny_run: Path, tmp_path: Path, mode: str, size, message: str) -> None:
    Image.new(mode, size).save(tmp_path / "one.png")
    with pytest.raises(RunError, match=message):
        encode_run(tiny_run, tmp_path / "one.png", tmp_path / "out.npz", CPU)
    assert not (tmp_path / "out.npz").exists()


def test_a_model_of_vectors_asks_for_vectors_and_not_for_images_of_one_pixel(tmp_path: Path) -> None:
    layers = ("networks.encoder.layers.h.width=1", "networks.critic.layers.hx.width=1")
    shape = ("variables.x.shape=[5, 1, 1]", "data={dataset: npz, path: vectors.npz}")
    decoder = ("networks.decoder.layers.x={input: h, channels: 5, width: 1, activation: sigmoid}",)
    plan = plan_of(TINY, *shape, *layers, *decoder)
    expected = r'expected vectors, in an \.npz as 5 channels: \(N, 5, 1, 1\), with layout="NCHW"'
    with pytest.raises(RunError, match=expected):
        encode(build(plan, torch.Generator()), plan, torch.zeros(3, 1, 8, 8), NAMES[:3])


def test_files_that_are_no_images(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK")
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 8, 8), np.uint8), b=np.zeros(2))
    np.savez(tmp_path / "integers.npz", images=np.zeros((2, 8, 8), np.int64))
    for name, message in (
        ("nowhere", "there is no .*nowhere"),
        ("broken.npz", "neither an image nor an .npz file"),
        ("empty", "has no images"),
        ("two.npz", "which array holds images\\? found a, b"),
        ("integers.npz", "`images` is int64, expected uint8"),
    ):
        with pytest.raises(RunError, match=message):
            encode_run(tiny_run, tmp_path / name, tmp_path / "out.npz", CPU)


def test_the_only_array_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "any.npz", pictures=np.zeros((2, 1, 8, 8), np.uint8), layout="NCHW")
    images, names = read_images(tmp_path / "any.npz")
    assert (tuple(images.shape), names) == ((2, 1, 8, 8), ("0", "1"))


def test_a_name_that_is_no_table(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"expected a name that ends in \.npz, \.csv or \.parquet"):
        encode_run(tiny_run, tmp_path, tmp_path / "out.txt", CPU)


@pytest.mark.parametrize(("spec", "values"), [("ali_mnist", {"z"}), ("samm_mnist", {"y", "y_posterior", "z"})])
def test_what_a_model_infers_from_an_image_alone(spec: str, values: set[str]) -> None:
    plan = compile_spec(load_spec(SPECS / f"{spec}.yaml", ()))
    model = build(plan, torch.Generator().manual_seed(0), torch.full((10,), 0.1))
    encoding = encode(model, plan, torch.zeros(2, 1, 28, 28, dtype=torch.uint8), ("a", "b"))
    assert values <= encoding.values.keys()


def test_a_model_that_needs_labels_infers_nothing_from_an_image_alone() -> None:
    plan = compile_spec(load_spec(SPECS / "conditional_ali_mnist.yaml", ()))
    model = build(plan, torch.Generator().manual_seed(0), torch.full((10,), 0.1))
    with pytest.raises(RunError, match="infers nothing from an image alone"):
        encode(model, plan, torch.zeros(2, 1, 28, 28, dtype=torch.uint8), ("a", "b"))


@pytest.mark.parametrize(("variable", "source", "drawn"), [(None, "q", "x2"), ("x1", "q", "x2"), ("x2", "p", "x1")])
def test_a_model_that_draws_images_of_images_says_how_to_ask_for_them(
    variable: str | None, source: str, drawn: str
) -> None:
    plan = compile_spec(load_spec(CYCLE, ()))
    model = build(plan, torch.Generator().manual_seed(0), torch.ones(1))
    said = f"; `ammgraph sample RUN --from {source} --variable {drawn} --examples FILE` draws `{drawn}` given one$"
    with pytest.raises(RunError, match=said):
        encode(model, plan, torch.zeros(2, 1, 4, 4, dtype=torch.uint8), ("a", "b"), variable)


def test_clusters_get_the_names_of_classes_where_the_run_was_evaluated(tiny_run: Path, few, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", images=few.images[:, 0].numpy())
    assert "y_class" not in encode_run(tiny_run, tmp_path / "mine.npz", tmp_path / "out.csv", CPU).values
    evaluation = evaluate_run(tiny_run, HERE, baseline=False)
    encoding = encode_run(tiny_run, tmp_path / "mine.npz", tmp_path / "out.csv", CPU)
    fit = evaluation.find("clustering_error", rule="bayes", protocol="majority", fitted_on="validation")
    assert len(fit.assignment) == 10
    expected = [str(fit.assignment[k]) if fit.assignment[k] >= 0 else "" for k in encoding.values["y_bayes"]]
    assert encoding.values["y_bayes_class"].tolist() == expected
    assert encoding.by["y_class"] == "q(y|x), majority on 197 validation images"
    with (tmp_path / "out.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["y_bayes_class"] for line in lines] == expected


def test_a_supervised_category_is_a_class(labeled_run: Path, few, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", images=few.images[:, 0].numpy())
    evaluate_run(labeled_run, HERE, baseline=False)
    values = encode_run(labeled_run, tmp_path / "mine.npz", tmp_path / "out.npz", CPU).values
    assert values["y_class"].tolist() == [str(k) for k in values["y"]]


def test_an_evaluation_of_other_weights_names_nothing(tiny_run: Path, few, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", images=few.images[:, 0].numpy())
    write(tiny_run, replace(evaluate_run(tiny_run, HERE, baseline=False), step=2))
    assert "y_class" not in encode_run(tiny_run, tmp_path / "mine.npz", tmp_path / "out.npz", CPU).values
    (tiny_run / "evaluation.json").write_text("{")
    assert "y_class" not in encode_run(tiny_run, tmp_path / "mine.npz", tmp_path / "out.npz", CPU).values
