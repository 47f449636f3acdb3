"""Models that people bring, each written from the documentation alone: they are valid, train, and are asked.

Every spec that changes `base.yaml` stands beside the base of the documentation; others are what `ammgraph new` writes.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from documents import DOCS
from PIL import Image
from tiny import differences

from ammgraph import cli
from ammgraph.compiler.compile import compile_spec
from ammgraph.evaluation import results
from ammgraph.runs import checkpoint
from ammgraph.spec.load import load_spec

SHORT = ("--set", "training.steps=2", "--log-every", "1")
SIDES = ("--q", "q(x) q(z|x) q(y|z)", "--p", "p(y) p(z|y) p(x|z)")
AMM = ("--q", "q(x) q(y|x) q(z|x,y)", "--p", "p(y) p(z|y) p(x|y,z)")

ALICE = """
extends: base.yaml
constants: {K: null}
variables:
  y: null
  z_same: {type: real, size: 16}
  x_again: {type: image, shape: [1, 8, 8]}
networks:
  components: null
  encoder: {layers: {a: null, y: null}}
  decoder: {layers: {h: null, h1: {input: z}}}
  critic: {layers: {h: {input: hx | z}}}
  critic_x:
    layers:
      h: {input: x | x_again, op: linear, channels: 64, activation: leaky_relu 0.2}
      p: {input: h, channels: 1, width: 1}
distributions:
  q:
    q(x): data
    q(z|x): encoder.z
  p:
    p(z): normal
    p(x|z): decoder.x
  s:
    s(x): q.x
    s(x_again): q.x
  r:
    r(x): q.x
    r(z_same): q.z
    r(x_again|z_same): decoder(z=z_same).x
games:
  joint: {match: [q, p], discriminator: critic.p, objective: jensen_shannon, roth_penalty: {gamma: 0.1}}
  cycle: {match: [s, r], discriminator: critic_x.p, objective: jensen_shannon}
"""
THREE_LATENTS = """
ammgraph: 1
constants: {K: 3}
data: {dataset: digits}
variables:
  x: {type: image, shape: [1, 8, 8]}
  y1: {type: categorical, size: K}
  y2: {type: categorical, size: K + 1}
  y3: {type: categorical, size: K + 2}
  z1: {type: real, size: 4}
  z2: {type: real, size: 5}
  z3: {type: real, size: 6}
networks:
  encoder:
    layers:
      h: {input: x, op: linear, channels: 64, activation: relu}
      y1: {input: h, channels: K, width: 1, activation: gumbel_straight_through 1}
      y2: {input: h, channels: K + 1, width: 1, activation: gumbel_straight_through 1}
      y3: {input: h, channels: K + 2, width: 1, activation: gumbel_straight_through 1}
      z1: {input: h | y1, channels: 4, width: 1}
      z2: {input: h | y2, channels: 5, width: 1}
      z3: {input: h | y3, channels: 6, width: 1}
  components:
    layers:
      m1: {input: y1, channels: 4, width: 1}
      s1: {input: zeros(4), activation: expn}
      z1: {input: m1 + s1}
      m2: {input: y2, channels: 5, width: 1}
      s2: {input: zeros(5), activation: expn}
      z2: {input: m2 + s2}
      m3: {input: y3, channels: 6, width: 1}
      s3: {input: zeros(6), activation: expn}
      z3: {input: m3 + s3}
  decoder:
    layers:
      h: {input: z1 | z2 | z3, channels: 64, width: 1, activation: relu}
      x: {input: h, op: conv_transpose, channels: 1, width: 8, activation: sigmoid}
  critic:
    layers:
      hx: {input: x, op: linear, channels: 64, activation: relu}
      h: {input: hx | y1 | y2 | y3 | z1 | z2 | z3, channels: 64, width: 1, activation: relu}
      p: {input: h, channels: 1, width: 1}
distributions:
  q:
    q(x): data
    q(y1|x): encoder.y1
    q(y2|x): encoder.y2
    q(y3|x): encoder.y3
    q(z1|x,y1): encoder.z1
    q(z2|x,y2): encoder.z2
    q(z3|x,y3): encoder.z3
  p:
    p(y1): uniform
    p(y2): uniform
    p(y3): uniform
    p(z1|y1): components.z1
    p(z2|y2): components.z2
    p(z3|y3): components.z3
    p(x|z1,z2,z3): decoder.x
games:
  joint: {match: [q, p], discriminator: critic.p, objective: jensen_shannon}
training:
  batch_size: 100
  epochs: 1
  optimizers: {default: {name: adam, learning_rate: 1e-3}}
"""
TWO_CATEGORIES = """
extends: base.yaml
data: {labeled: {count: 50, choice: balanced}}
variables: {w: {type: categorical, size: 4}}
networks:
  encoder:
    layers:
      b: {input: h, channels: 4, width: 1}
      w: {input: b, activation: straight_through}
  decoder: {layers: {h: {input: y | w | z, channels: K + 20}}}
  critic: {layers: {h: {input: hx | y | w | z}}}
distributions:
  q:
    q(x): data
    q(y|x): encoder.y
    q(w|x): encoder.w
    q(z|x): encoder.z
  q_labeled:
    q(x,y): data.labeled
    q(w|x): encoder.w
    q(z|x): encoder.z
  p:
    p(y): uniform
    p(w): uniform
    p(z|y): components.z
    p(x|y,w,z): decoder.x
games:
  labeled: {match: [q_labeled, p], discriminator: critic.p, objective: jensen_shannon}
"""
FROZEN = """
extends: base.yaml
networks: {encoder: {from: first, trainable: false}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(DOCS / "base.yaml", tmp_path)
    return tmp_path


def trained(spec: str | Path, run: str, *overrides: str) -> Path:
    """A run of two steps of a spec, in a text or in a file."""
    if isinstance(spec, str):
        Path("mine.yaml").write_text(spec, encoding="utf-8")
        spec = Path("mine.yaml")
    epochs = [] if "steps" in load_spec(spec).written["training"] else ["--set", "training.epochs=null"]
    changes = [word for override in overrides for word in ("--set", override)]
    assert cli.main(["train", str(spec), *epochs, *SHORT, *changes, "--run-dir", run]) == 0
    return Path(run)


def test_alice_is_a_game_of_pairs_beside_that_of_ali() -> None:
    """arXiv 1709.01215, eq. 8: (x, x) against (x, x~), x~ from p(x~|z) at the z that q infers from x."""
    run = trained(ALICE, "run")
    plan = compile_spec(load_spec(run / "spec.json"))
    assert set(plan.players("cycle", "generator")) == {"encoder", "decoder"}
    assert {critic.discriminator.owner for critic in plan.games} == {"critic", "critic_x"}
    found = [result.variable for result in results.read(run).results if result.name == "reconstruction_error"]
    assert found == ["x"]


def test_three_latents_each_with_a_category_of_its_own() -> None:
    run = trained(THREE_LATENTS, "run")
    plan = compile_spec(load_spec(run / "spec.json"))
    evidence = {readout.variable: readout.bayes.evidence for readout in plan.readouts if readout.bayes}
    assert evidence == {"y1": ("z1",), "y2": ("z2",), "y3": ("z3",)}
    assert cli.main(["sample", str(run), "--set", "y2=3", "--set", "y3=0", "--count", "2", "--output", "x.npz"]) == 0
    with np.load("x.npz") as drawn:
        assert drawn["x"].shape == (6, 1, 8, 8)  # a row for each category of y1
        assert set(drawn["y2"]) == {3}
        assert set(drawn["y3"]) == {0}


def test_of_two_categories_one_is_classified_and_the_other_clustered() -> None:
    found = {(r.name, r.variable) for r in results.read(trained(TWO_CATEGORIES, "run")).results}
    assert ("classification_error", "y") in found
    assert ("clustering_error", "y") not in found
    assert ("components_in_use", "w") in found


def test_images_that_are_not_square() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 20, 28), np.uint8)
    np.savez("images.npz", x_train=images, y_train=np.arange(40) % 4)
    assert cli.main(["new", "wide.yaml", *SIDES, "--image", "1x20x28", "--categorical", "y:4"]) == 0
    run = trained(Path("wide.yaml"), "run", "training.batch_size=20", "data.validation=0")
    assert cli.main(["sample", str(run), "--component", "1", "--count", "3", "--output", "x.npz"]) == 0
    with np.load("x.npz") as drawn:
        assert drawn["x"].shape == (3, 1, 20, 28)


def test_pictures_of_64x64_from_a_folder() -> None:
    random = np.random.default_rng(0)
    for place in range(24):
        file = Path(f"faces/{'train' if place < 20 else 'test'}/{'ab'[place % 2]}/{place}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (64, 64, 3), np.uint8)).save(file)
    sizes = ["--image", "3x64x64", "--categorical", "y:2", "--data", "folder"]
    assert cli.main(["new", "faces.yaml", *SIDES, *sizes]) == 0
    run = trained(Path("faces.yaml"), "run", "data.path=faces", "training.batch_size=10", "data.validation=0")
    assert cli.main(["encode", str(run), "faces/test", "--output", "codes.csv"]) == 0
    assert len(Path("codes.csv").read_text().splitlines()) == 1 + 4


def test_embeddings_of_512_numbers_in_files_of_their_own() -> None:
    random, folder = np.random.default_rng(0), Path("embeddings")
    folder.mkdir()
    for split, count in (("train", 400), ("test", 50)):
        np.save(folder / f"x_{split}.npy", random.normal(size=(count, 512)).astype(np.float32))
        np.save(folder / f"y_{split}.npy", np.arange(count) % 10)
    sizes = ["--vector", "512", "--categorical", "y:10", "--data", "npy"]
    assert cli.main(["new", "embeddings.yaml", *AMM, *sizes]) == 0
    run = trained(Path("embeddings.yaml"), "run", "data.path=embeddings", "data.validation=0")
    assert cli.main(["encode", str(run), str(folder / "x_test.npy"), "--output", "codes.csv"]) == 0
    assert len(Path("codes.csv").read_text().splitlines()) == 1 + 50


def test_a_frozen_encoder_of_an_earlier_run_stays_as_it_was() -> None:
    first = trained(Path("base.yaml"), "first")
    second = trained(FROZEN, "second")
    before, after = (checkpoint.load_newest(run / "checkpoints")[1]["model"] for run in (first, second))
    own = {name for name in before if "encoder" in name}
    assert own
    assert differences({name: before[name] for name in own}, {name: after[name] for name in own}) == []
    assert any(not torch.equal(before[name], after[name]) for name in set(before) - own)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sides"), [("breast_cancer", SIDES), ("iris", SIDES), ("wine", AMM), ("breast_cancer", AMM)]
)
def test_a_small_table_is_clustered_no_worse_than_by_k_means(name: str, sides: tuple[str, ...]) -> None:
    """Mean of three seeds, one-to-one, as `ammgraph new` writes the spec."""
    assert cli.main(["new", "table.yaml", *sides, "--data", name]) == 0
    errors: dict[str, list[float]] = {"posterior": [], "k-means": []}
    for seed in range(3):
        assert cli.main(["train", "table.yaml", "--seed", str(seed), "--run-dir", f"run{seed}"]) == 0
        for rule, found in errors.items():
            result = results.read(Path(f"run{seed}")).find("clustering_error", rule=rule, protocol="one-to-one")
            found.append(result.value)
    assert np.mean(errors["posterior"]) <= np.mean(errors["k-means"])
