"""A model of vectors from its spec to its export: what it takes, what is scored and drawn, in the right units."""

import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_wine
from tiny import CPU
from tiny_runs import Run

from ammgraph import cli
from ammgraph.compiler.compile import compile_spec
from ammgraph.evaluation.encode import encode_run
from ammgraph.evaluation.loading import load_model, load_run
from ammgraph.evaluation.metrics import ASSIGNMENTS, classification_error, cluster_table
from ammgraph.evaluation.sample import draw_samples, sample_run
from ammgraph.plan.identity import plan_hash
from ammgraph.runs.data import read_data
from ammgraph.runs.run import Place, read_options
from ammgraph.spec.load import load_spec

VECTORS = Path(__file__).parent / "tiny_vectors.yaml"
WINE = load_wine()
STANDARD = (WINE.data - WINE.data.mean(0)) / WINE.data.std(0)


@pytest.fixture(scope="module")
def vectors_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors") / "run"
    assert cli.main(["train", str(VECTORS), "--run-dir", str(folder), "--log-every", "5", "--seed", "1"]) == 0
    return folder


def results(run: Path) -> list[dict]:
    return json.loads((run / "evaluation.json").read_text())["results"]


def value(run: Path, name: str, **wanted: str) -> float:
    return next(r["value"] for r in results(run) if r["name"] == name and all(r.get(k) == v for k, v in wanted.items()))


def test_a_step_takes_standardised_vectors(vectors_run: Path) -> None:
    loaded = load_run(vectors_run, Place(CPU))
    assert np.allclose(loaded.dataset.train.points.numpy(), STANDARD, atol=1e-5)
    assert read_options(vectors_run).scaling.shift == pytest.approx(WINE.data.mean(0))
    assert read_options(vectors_run).scaling.scale == pytest.approx(WINE.data.std(0))
    assert read_options(vectors_run).scaling.columns == tuple(WINE.feature_names)


def test_k_means_on_the_same_vectors_is_the_comparison(vectors_run: Path) -> None:
    # In float32, as the data set holds them.
    clusters = KMeans(3, n_init=10, random_state=0).fit_predict(STANDARD.astype(np.float32))
    table = cluster_table(clusters, WINE.target, 3, 3)
    expected = classification_error(ASSIGNMENTS["one-to-one"](table)[clusters], WINE.target)
    assert value(vectors_run, "clustering_error", rule="k-means", protocol="one-to-one") == pytest.approx(expected)


def test_the_reconstruction_error_is_that_of_scaled_numbers(vectors_run: Path) -> None:
    loaded = load_run(vectors_run, Place(CPU))
    model, x = loaded.model.eval(), loaded.dataset.train.images

    def row(network: str, name: str, values: torch.Tensor) -> torch.Tensor:
        layer = model.network(network).row(name)
        out = torch.nn.functional.conv2d(values, layer.weight, layer.bias)
        if layer.running_mean is None:
            return out
        mean, variance = (part[:, None, None] for part in (layer.running_mean, layer.running_variance))
        gain, shift = (part[:, None, None] for part in (layer.gain, layer.shift))
        return gain * (out - mean) / (variance + 1e-5).sqrt() + shift

    h = torch.nn.functional.leaky_relu(row("encoder", "h", x), 0.2)
    y = torch.eye(3)[row("encoder", "a", h).flatten(1).argmax(1)][:, :, None, None]
    z = row("encoder", "z_mu", torch.cat([h, y], 1))
    rebuilt = row("decoder", "x", torch.nn.functional.leaky_relu(row("decoder", "h1", torch.cat([y, z], 1)), 0.2))
    assert value(vectors_run, "reconstruction_error") == pytest.approx(float((rebuilt - x).square().mean()), rel=1e-5)
    assert value(vectors_run, "mean_image_error") == pytest.approx(1)  # the variance of what is standardised


def test_what_is_said_of_vectors_says_so(vectors_run: Path, ammgraph: Run) -> None:
    code, out, err = ammgraph("evaluate", vectors_run)
    assert (code, err) == (0, "")
    assert "\non 178 training vectors:\n" in out
    assert "  mean vector error of x " in out
    assert "mean over numbers, scaled by `standardize`, latents at their means" in out
    assert "k-means on vectors, 10 restarts, seed 0, K = 3" in out
    assert "image" not in out
    assert "pixel" not in out


def test_samples_are_a_table_in_the_units_of_the_data(vectors_run: Path, ammgraph: Run) -> None:
    assert ammgraph("sample", vectors_run, "--count", 2, "--seed", 3) == (0, "samples.csv\n", "")
    with Path("samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    loaded = load_model(vectors_run, CPU)
    drawn = draw_samples(loaded.model, loaded.plan, count=2, seed=3).images
    expected = drawn * WINE.data.std(0) + WINE.data.mean(0)
    found = [[float(row[name]) for name in WINE.feature_names] for row in rows]
    assert np.allclose(found, expected, rtol=1e-5)
    assert [row["y"] for row in rows] == list("001122")
    assert list(rows[0])[-8:] == [f"z_{place}" for place in range(8)]
    assert ammgraph("sample", vectors_run, "--output", "again.npz", "--count", 2, "--seed", 3)[0] == 0
    with np.load("again.npz") as file:
        assert np.allclose(file["x"], expected, rtol=1e-5)
        assert file["columns"].tolist() == WINE.feature_names
        assert "layout" not in file


def test_tables_of_samples_and_of_codes_may_be_parquet(vectors_run: Path, ammgraph: Run) -> None:
    for _ in range(2):  # what the command has written it writes again
        assert ammgraph("sample", vectors_run, "--output", "drawn.parquet", "--count", 2) == (0, "drawn.parquet\n", "")
    drawn = pyarrow.parquet.read_table("drawn.parquet")
    assert drawn.column_names == ["sample", *WINE.feature_names, "y", *(f"z_{place}" for place in range(8))]
    assert drawn["y"].to_pylist() == [0, 0, 1, 1, 2, 2]
    assert ammgraph("sample", vectors_run, "--output", "drawn.csv", "--count", 2)[0] == 0
    with Path("drawn.csv").open(newline="") as file:
        for row, record in zip(csv.DictReader(file), drawn.to_pylist(), strict=True):
            assert all(float(row[name]) == pytest.approx(record[name], rel=1e-6) for name in WINE.feature_names)
    for table in ("drawn.csv", "drawn.parquet"):
        assert ammgraph("encode", vectors_run, table, "--output", "codes.parquet") == (0, "codes.parquet\n", "")
        codes = pyarrow.parquet.read_table("codes.parquet")
        assert codes.column_names[:3] == ["vector", "y", "y_posterior_0"]
        assert codes["vector"].to_pylist() == list("012345")
    for verb, table in (("sample", "codes.parquet"), ("encode", "drawn.parquet")):
        words = (verb, vectors_run, *(("drawn.csv",) if verb == "encode" else ()), "--output", table)
        code, _, err = ammgraph(*words)
        assert (code, f"{table} is there already, and is not what this command writes" in err) == (1, True)


def test_a_table_is_replaced_by_another_and_a_foreign_one_is_not(vectors_run: Path, ammgraph: Run) -> None:
    for _ in range(2):
        assert ammgraph("sample", vectors_run, "--count", 1)[0] == 0
    Path("samples.csv").write_text("samples of mine")
    code, _, err = ammgraph("sample", vectors_run, "--count", 1)
    assert code == 1
    assert "samples.csv is there already, and is not what this command writes" in err


def test_a_grid_holds_no_vectors_and_a_table_no_images(vectors_run: Path, finished: Path, ammgraph: Run) -> None:
    code, _, err = ammgraph("sample", vectors_run, "--output", "grid.png")
    assert (code, "`grid.png`: a grid holds images; expected .csv or .npz" in err) == (1, True)
    code, _, err = ammgraph("sample", finished, "--output", "table.csv")
    assert (code, "`table.csv`: a table holds vectors; expected .png or .npz" in err) == (1, True)


def test_what_is_encoded_is_scaled_as_in_training(vectors_run: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=WINE.data[:20])
    with (tmp_path / "mine.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        order = [*reversed(range(13))]
        writer.writerow([WINE.feature_names[place] for place in order] + ["remark"])
        writer.writerows([*(repr(float(row[place])) for place in order), "-"] for row in WINE.data[:20])
    embedding = pyarrow.table({"before": WINE.data[:20, :5].tolist(), "words": ["-"] * 20})
    for place, name in enumerate(WINE.feature_names):
        embedding = embedding.append_column(name, pyarrow.array(WINE.data[:20, place]))
    pyarrow.parquet.write_table(embedding, tmp_path / "mine.parquet")
    by_array = encode_run(vectors_run, tmp_path / "mine.npz", tmp_path / "a.csv", CPU)
    for table in ("mine.csv", "mine.parquet"):
        by_table = encode_run(vectors_run, tmp_path / table, tmp_path / "b.npz", CPU)
        for name, values in by_array.values.items():
            assert np.array_equal(values, by_table.values[name]), name
    loaded = load_run(vectors_run, Place(CPU))
    scored = next(r for r in results(vectors_run) if r["name"] == "component_use" and r["rule"] == "posterior")
    everything = encode_run(vectors_run, _whole(tmp_path), tmp_path / "c.npz", CPU)
    shares = np.bincount(everything.values["y"], minlength=3) / len(loaded.dataset.train)
    assert shares.tolist() == pytest.approx(scored["value"])
    assert (tmp_path / "a.csv").read_text().startswith("vector,y,y_posterior_0,")


def _whole(folder: Path) -> Path:
    np.savez(folder / "all.npz", x=WINE.data)
    return folder / "all.npz"


def test_the_page_has_no_pictures_of_vectors(vectors_run: Path, tmp_path: Path, ammgraph: Run) -> None:
    assert ammgraph("report", vectors_run, "--no-map", "--output", tmp_path / "page.html")[0] == 0
    page = (tmp_path / "page.html").read_text()
    assert "On 178 training vectors" in page
    with np.load(tmp_path / "page.npz") as file:
        assert not [name for name in file.files if name.startswith(("samples", "pairs", "interpolation"))]


def test_the_export_knows_the_units(vectors_run: Path, tmp_path: Path, ammgraph: Run) -> None:
    assert ammgraph("export", vectors_run, "--output", tmp_path / "program")[0] == 0
    spec = importlib.util.spec_from_file_location("program", tmp_path / "program" / "model.py")
    program = importlib.util.module_from_spec(spec)
    sys.modules["program"] = program
    spec.loader.exec_module(program)
    model = program.load()
    with torch.no_grad():
        inferred = model.infer(program.scaled(torch.from_numpy(WINE.data[:20])))
        drawn = program.in_units(model.generate_x(torch.eye(3), torch.zeros(3, 8))["x"])
    np.savez(tmp_path / "mine.npz", x=WINE.data[:20])
    encoded = encode_run(vectors_run, tmp_path / "mine.npz", tmp_path / "a.npz", CPU).values
    assert np.allclose(inferred["y"].numpy(), encoded["y_posterior"], atol=1e-6)
    assert np.allclose(inferred["z"].numpy(), encoded["z"], atol=1e-5)
    with torch.no_grad():
        row = load_model(vectors_run, CPU).model.network("decoder").row("x")
        hidden = model.decoder.h1_norm(
            model.decoder.h1(torch.cat([torch.eye(3), torch.zeros(3, 8)], 1)[..., None, None])
        )
        x = torch.nn.functional.leaky_relu(hidden, 0.2).flatten(1) @ row.weight.flatten(1).T + row.bias
    assert np.allclose(drawn.numpy(), x.numpy() * WINE.data.std(0) + WINE.data.mean(0), rtol=1e-5)
    program.main()


def test_other_data_are_scaled_by_the_run_s_constants(vectors_run: Path, tmp_path: Path) -> None:
    samples = sample_run(vectors_run, tmp_path / "a.npz", CPU, count=1)
    codes = encode_run(vectors_run, tmp_path / "a.npz", tmp_path / "codes.npz", CPU)
    assert len(codes.images) == len(samples.images) == 3


def test_a_dry_run_without_the_file_draws_vectors(ammgraph: Run) -> None:
    code, out, err = ammgraph("train", VECTORS, "--dry-run", "--set", "data={dataset: npz, path: none.npz}")
    assert (code, err) == (0, "")
    assert "synthetic vectors of 13 in place of `npz`" in out


def test_a_vector_of_another_size_or_kind_is_told_before_the_first_step(ammgraph: Run) -> None:
    np.savez("narrow.npz", x_train=np.ones((60, 5)))
    np.savez("images.npz", x_train=np.ones((60, 8, 8)))
    narrow = ammgraph("train", VECTORS, "--set", "data={dataset: npz, path: narrow.npz}")
    assert narrow[0] == 1
    assert (
        "`x` has size 13, but the vectors of npz have 5; write `size: 5` and the networks that read or draw it"
        in narrow[2]
    )
    images = ammgraph("train", VECTORS, "--set", "data={dataset: npz, path: images.npz}")
    assert images[0] == 1
    assert "`x` takes the vector of a record, but npz has images" in images[2]
    assert "declare `x: {type: image, shape: [1, 8, 8]}` and the networks" in images[2]
    code = images[2].split("or if they are vectors, store `")[1].split("`")[0]
    assert eval(code, {"x_train": np.ones((60, 8, 8))}).shape == (60, 64)


def test_labels_that_are_not_there_are_asked_for(ammgraph: Run) -> None:
    np.savez("plain.npz", x_train=np.ones((60, 13)))
    asked = ["--set", "data={dataset: npz, path: plain.npz, labeled: {count: 50}}"]
    asked += ["--set", "distributions.q={'q(x,y)': data.labeled, 'q(z|x,y)': encoder.z}"]
    asked += ["--set", "networks.encoder.layers.a=null", "--set", "networks.encoder.layers.y=null"]
    code, _, err = ammgraph("train", VECTORS, *asked)
    assert code == 1
    assert "`data.labeled` takes labelled examples, and none of the 60 training examples has a label: plain.npz" in err


def test_a_plan_says_which_variable_is_a_vector_and_how_it_is_scaled() -> None:
    with_images = compile_spec(load_spec(VECTORS.parent / "tiny.yaml"))
    assert not any(variable.vector for variable in with_images.variables)
    vectors = compile_spec(load_spec(VECTORS))
    assert [variable.name for variable in vectors.variables if variable.vector] == ["x"]
    scaled = compile_spec(load_spec(VECTORS, ["data.scale=minmax"]))
    assert plan_hash(scaled) != plan_hash(vectors)
    assert plan_hash(compile_spec(load_spec(VECTORS, ["data.scale=standardize"]))) == plan_hash(vectors)


def test_a_table_of_samples_has_each_title_once_and_is_encoded_whatever_the_columns_are_named(
    ammgraph: Run, tmp_path: Path
) -> None:
    titles = ("sample", "y", "z_0", "=\u5e45")
    rows = np.random.default_rng(0).normal(size=(60, 4)).round(3)
    with Path("mine.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([(*titles, "tree"), *((*row, "ab"[place % 2]) for place, row in enumerate(rows))])
    spec = VECTORS.read_text().replace("D: 13", "D: 4")
    data = "data: {dataset: csv, path: mine.csv, label: tree}"
    Path("mine.yaml").write_text(spec.replace("data: {dataset: wine}", data))
    assert ammgraph("train", "mine.yaml", "--run-dir", "run", "--log", "none")[0] == 0
    for _ in range(2):  # what the command has written it writes again
        assert ammgraph("sample", "run", "--count", 3, "--output", "drawn.csv")[::2] == (0, "")
    with Path("drawn.csv").open(newline="", encoding="utf-8") as file:
        head, *lines = list(csv.reader(file))
    assert head == ["sample_2", "sample", "y", "z_0", "'=\u5e45", "y_2", *(f"z_2_{place}" for place in range(8))]
    assert len(lines) == 9  # of each component
    assert all(int(line[5]) in range(3) for line in lines)
    code, _, err = ammgraph("encode", "run", "drawn.csv", "--output", "codes.npz")
    assert code == 0, err
    np.savez("drawn.npz", x=np.array([line[1:5] for line in lines], float))
    assert ammgraph("encode", "run", "drawn.npz", "--output", "again.npz")[0] == 0
    with np.load("codes.npz") as one, np.load("again.npz") as other:
        assert np.array_equal(one["y"], other["y"])
        assert np.array_equal(one["z"], other["z"])


def test_a_vector_that_gives_no_number_is_told_and_not_encoded(ammgraph: Run, vectors_run: Path) -> None:
    for column, message in {
        1e300: r"x.npz: `x[2]`: column `x_0` is 1e+300, beyond 1e+37",
        1e36: "the model infers no finite `y_bayes_posterior` of vector `2`, and of 1 more",
    }.items():
        vectors = WINE.data[:5].copy()
        vectors[[2, 4], 0] = column
        np.savez("x.npz", x=vectors)
        code, _, err = ammgraph("encode", vectors_run, "x.npz", "--output", "codes.csv")
        assert code == 1
        assert message in err
        assert not Path("codes.csv").exists()


def test_a_table_to_encode_has_the_columns_of_the_run(ammgraph: Run, vectors_run: Path) -> None:
    names = WINE.feature_names
    rows = [",".join(map(str, row)) for row in WINE.data[:3]]
    Path("words.csv").write_text("\n".join([",".join(names), rows[0], f"big,{rows[1].partition(',')[2]}"]))
    code, _, err = ammgraph("encode", vectors_run, "words.csv", "--output", "codes.csv")
    assert code == 1
    assert "words.csv, line 3: column `alcohol` is `big" in err
    assert "leave these records out; of the columns the run reads `alcohol`, `malic_acid`" in err
    assert "data." not in err


@pytest.mark.parametrize(("scale", "told"), [("none", True), ("minmax", False)])
def test_a_bernoulli_density_of_other_numbers_is_told_when_they_are_read(
    scale: str, told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.savez(tmp_path / "v.npz", x_train=np.linspace(-1, 3, 60).reshape(20, 3))
    plan = compile_spec(load_spec(BERNOULLI, [f"data={{dataset: npz, path: v.npz, scale: {scale}}}"]))
    read_data(plan, tmp_path)
    said = "`p(x|z)` is Bernoulli, of numbers in [0, 1], and those of `x` run from -1 to 3"
    assert [said in record.message for record in caplog.records] == [True] * told
    caplog.clear()
    np.savez(tmp_path / "v.npz", x_train=np.linspace(0, 1, 60).reshape(20, 3))
    read_data(plan, tmp_path)
    assert not caplog.records


BERNOULLI = """
ammgraph: 1
title: numbers in [0, 1]
data: {dataset: npz, path: v.npz}
variables: {x: {type: real, size: 3}, z: {type: real, size: 2}}
networks:
  encoder:
    layers:
      m: {input: x, channels: 2, width: 1}
      s: {input: zeros(2), activation: expn}
      z: {input: m + s}
  decoder:
    layers:
      x: {input: z, channels: 3, width: 1, activation: sigmoid}
distributions:
  q: {q(x): data, q(z|x): encoder.z}
  p: {p(z): normal, p(x|z): decoder.x}
terms:
  reconstruction: {minimize: "-E[q] log p(x|z)"}
training: {batch_size: 10, steps: 2, optimizers: {default: {name: adam, learning_rate: 1e-3}}}
"""
