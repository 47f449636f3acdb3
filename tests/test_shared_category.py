"""A category that is inferred from the records of two data sets is read off each, and told by its distribution."""

import html
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_several_data_sets import FACES, SOUNDS, dense
from tiny_runs import lines_of

from ammgraph import cli
from ammgraph.api.run import Run
from ammgraph.compiler.compile import compile_spec
from ammgraph.evaluation import results
from ammgraph.evaluation.compare import compare_runs, rows, table
from ammgraph.evaluation.health import health_of_run
from ammgraph.plan.identity import identity
from ammgraph.plan.queries import on_data_set
from ammgraph.runs.run import Place, read_options
from ammgraph.show.text import plan_text
from ammgraph.spec.load import load_spec

SPEC = Path(__file__).parent / "tiny_shared_category.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    np.savez(data / "faces.npz", **FACES)
    words = np.array(["low", "high"])
    np.savez(data / "sounds.npz", **{k: words[v] if k.startswith("y") else v for k, v in SOUNDS.items()})
    found = data / "run"
    assert cli.main(["train", str(SPEC), "--data-dir", str(data), "--run-dir", str(found), "--log", "none"]) == 0
    return found


@pytest.fixture(scope="module")
def posteriors(run: Path) -> dict[str, np.ndarray]:
    """Of the test records of each data set, by hand."""
    state, scaling = Run(run).model("cpu").state_dict(), read_options(run).scaling_of("sounds")
    x1 = torch.from_numpy(FACES["x_test"] / 255).flatten(1).float()
    x2 = scaling.apply(torch.from_numpy(SOUNDS["x_test"])[:, :, None, None]).flatten(1)
    logits = {
        f"q{k}.y": dense(state, f"encoder{k}", "y", torch.relu(dense(state, f"encoder{k}", "h", x)))
        for k, x in ((1, x1), (2, x2))
    }
    return {name: torch.softmax(found, 1).numpy() for name, found in logits.items()}


def test_each_data_set_has_its_readout() -> None:
    plan = compile_spec(load_spec(SPEC))
    faces, sounds = (on_data_set(plan, name) for name in ("faces", "sounds"))
    assert [(found.name, found.draw) for found in faces.readouts] == [("y", "q1")]
    assert [(found.name, found.draw) for found in sounds.readouts] == [("q2.y", "q2")]
    assert "reads y off q2 (clustering); Bayes rule in p from z" in plan_text(plan)
    assert "further_readouts" not in identity(plan)["plan"]


def test_each_is_scored_on_its_own_records(run: Path, posteriors: dict[str, np.ndarray]) -> None:
    found = json.loads((run / "evaluation.json").read_text())
    results = [result for result in found["results"] if result["split"] == "test" and result["rule"] == "posterior"]
    for name, labels, key in (("y", FACES["y_test"], "q1.y"), ("q2.y", SOUNDS["y_test"], "q2.y")):
        own = {result["name"]: result for result in results if result["variable"] == name}
        p, chosen = posteriors[key], posteriors[key].argmax(1)
        assert own["posterior_entropy"]["value"] == pytest.approx(float(-(p * np.log(p)).sum(1).mean()), abs=1e-5)
        assert own["posterior_entropy"]["examples"] == len(labels)
        assert own["component_use"]["value"] == pytest.approx(list(np.bincount(chosen, minlength=3) / len(labels)))
        majority = sum(np.bincount(labels[chosen == k]).max() for k in range(3) if (chosen == k).any())
        errors = [
            result["value"]
            for result in results
            if (result["variable"], result["name"]) == (name, "clustering_error")
            and result["protocol"] == "majority"
            and result.get("fitted_on") == "test"
        ]
        assert errors == [pytest.approx(1 - majority / len(labels))]


def test_health_looks_at_both(run: Path) -> None:
    evaluation = results.read(run)
    assert evaluation is not None
    found = health_of_run(run, evaluation)
    checked = [finding.measured for finding in found.findings]
    for code, name in (("components of", "y"), ("components of", "q2.y"), ("in use of", "y"), ("in use of", "q2.y")):
        assert [told for told in checked if f"{code} `{name}`" in told], (code, name)


def test_looks_in_training_tell_them_apart(run: Path) -> None:
    looks = [line["evaluation"] for line in lines_of(run) if "evaluation" in line]
    names = {name for name in looks[-1] if name.endswith("/nmi")}
    assert names == {"y/nmi", "y/bayes/nmi", "q2.y/nmi", "q2.y/bayes/nmi"}
    assert all(value is None or math.isfinite(value) for value in looks[-1].values())


def test_records_of_the_second_data_set_are_encoded_with_its_classes(
    run: Path, posteriors: dict[str, np.ndarray]
) -> None:
    encoding = Run(run).encode(SOUNDS["x_test"], variable="x2", device="cpu")
    assert np.allclose(encoding.values["y_posterior"], posteriors["q2.y"], atol=1e-5)
    assert set(encoding.values["y_class"].tolist()) <= {"low", "high", ""}
    assert set(Run(run).encode(FACES["x_test"], device="cpu").values["y_class"].tolist()) <= {"0", "1", "2", ""}


def test_the_page_the_export_and_a_comparison_have_both(run: Path, tmp_path: Path, capsys) -> None:
    assert cli.main(["report", str(run), "--no-map", "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "q2.y" in page
    told = re.findall(r"clustering error of ([\w.]+) by p\(y\|z\)", html.unescape(page))
    assert sorted(told) == ["q2.y", "y"]
    assert re.findall(r"Predictions by p\(y\|z\)[^;]* test \w+ of (\w+);", html.unescape(page)) == ["faces", "sounds"]
    with np.load(tmp_path / "page.npz") as arrays:
        assert {"matrix_y_faces/counts", "matrix_y_sounds/counts"} <= set(arrays.files)
        assert arrays["matrix_y_sounds/counts"].sum() == len(SOUNDS["y_test"])
    assert cli.main(["compare", str(run)]) == 0
    assert "of q2.y" in capsys.readouterr().out
    assert cli.main(["export", str(run), "--output", str(tmp_path / "out")]) == 0
    code = "import torch, model; print(sorted(model.load().infer_q2(torch.zeros(2, 3))))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True, check=True
    )
    assert done.stdout == "['y', 'z']\n"


def test_a_comparison_keeps_what_both_find_of_the_latent_that_they_share(run: Path) -> None:
    (group,) = compare_runs([run], Place(torch.device("cpu")))
    mismatch = [row.result for row in rows(group) if row.result.name == "latent_mismatch"]
    assert len(mismatch) == 2
    shown = {line[1]: line[2] for line in table([group]) if line[0].startswith("latent mismatch of z")}
    assert shown == {f"{one.by}; {one.protocol}": results.number(one.value, one.unit) for one in mismatch}
