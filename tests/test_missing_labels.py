"""A model of records of which some have no label: who draws which, and what is scored."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from tiny import CPU, LABELED, TINY

from ammgraph import cli
from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import load_data
from ammgraph.evaluation.evaluate import ask
from ammgraph.evaluation.loading import load_run
from ammgraph.evaluation.metrics import ASSIGNMENTS, classification_error, cluster_table
from ammgraph.runs.run import Place
from ammgraph.spec.load import load_spec
from ammgraph.train.streams import Feed

DIGITS = load_digits()
KNOWN = np.arange(len(DIGITS.target)) % 3 == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits, of which every third has a label; the last 300 are the test split."""
    folder = tmp_path_factory.mktemp("missing")
    images, labels = (16 * DIGITS.images - (DIGITS.images > 0)).astype(np.uint8), np.where(KNOWN, DIGITS.target, -1)
    splits = {"x_train": images[:-300], "y_train": labels[:-300], "x_test": images[-300:], "y_test": labels[-300:]}
    np.savez(folder / "digits.npz", **splits)
    return folder


def overrides(folder: Path, *more: str) -> list[str]:
    return ["data.dataset=npz", f"data.path={folder / 'digits.npz'}", "data.validation=100", *more]


def run_of(spec: Path, folder: Path, *more: str) -> Path:
    run = folder / spec.stem
    sets = [part for text in overrides(folder, *more) for part in ("--set", text)]
    assert cli.main(["train", str(spec), *sets, "--run-dir", str(run), "--log-every", "5"]) == 0
    return run


def results(run: Path) -> list[dict]:
    return json.loads((run / "evaluation.json").read_text())["results"]


def test_the_labelled_draw_takes_the_labelled_and_the_other_takes_all(folder: Path) -> None:
    plan = compile_spec(load_spec(LABELED, overrides(folder, "data.labeled={count: all}")))
    dataset = load_data(plan.data, None)
    feed = Feed(plan, dataset, 0, CPU, torch.float32)
    labeled = plan.draw("q_labeled").factor_of("y").origin
    taken = torch.cat([part["y"] for part in feed.in_order(labeled, 64)]).flatten(1)
    expected = dataset.train.labels[dataset.train.labels >= 0]
    assert torch.equal(taken.argmax(1), expected)
    assert len(taken) + (dataset.train.labels < 0).sum() == len(dataset.train) == len(DIGITS.target) - 400


def test_errors_are_of_the_test_images_that_have_a_label(folder: Path) -> None:
    run = run_of(TINY, folder)
    loaded = load_run(run, Place(CPU))
    known, labels = KNOWN[-300:], DIGITS.target[-300:]
    chosen = ask(loaded.model, loaded.plan, loaded.dataset.test).scores["y", "posterior"].argmax(1)
    assignment = ASSIGNMENTS["one-to-one"](cluster_table(chosen[known], labels[known], 10, 10))
    expected = classification_error(assignment[chosen[known]], labels[known])
    found = [
        result
        for result in results(run)
        if (result["name"], result["rule"], result["protocol"]) == ("clustering_error", "posterior", "one-to-one")
        and result["fitted_on"] == "test"
    ]
    assert [result["value"] for result in found] == [pytest.approx(expected)]
    assert [result["examples"] for result in found] == [known.sum()]
    use = next(r for r in results(run) if (r["name"], r["rule"]) == ("component_use", "posterior"))
    assert use["examples"] == 300
    assert use["value"] == pytest.approx((np.bincount(chosen, minlength=10) / 300).tolist())
    baseline = next(r for r in results(run) if r["rule"] == "k-means" and r["name"] == "nmi")
    assert baseline["examples"] == known.sum()


def test_a_report_shows_records_without_labels(folder: Path) -> None:
    run = run_of(LABELED, folder, "data.labeled={count: 100, choice: balanced}")
    assert cli.main(["report", str(run), "--no-map"]) == 0
    error = next(r for r in results(run) if (r["name"], r["rule"]) == ("classification_error", "posterior"))
    assert error["examples"] == KNOWN[-300:].sum()


def test_labels_of_all_records_are_refused_where_some_have_none(folder: Path, ammgraph) -> None:
    text = "distributions.q_labeled={'q(x,y)': data, 'q(z|x)': encoder.z}"
    sets = [part for one in overrides(folder, text) for part in ("--set", one)]
    code, _, error = ammgraph("train", LABELED, *sets, "--run-dir", folder / "refused")
    assert code == 1
    assert re.search(r"`q_labeled` draws `y` from data, and 9\d\d of its 1,397 examples have no label", error)
    assert "draw from `data.labeled`" in error


@pytest.mark.parametrize("unlabelled", ["train", "test", "all", "absent"])
def test_where_no_scored_example_has_a_label_that_is_the_reason(unlabelled: str, tmp_path: Path) -> None:
    images, labels = DIGITS.images.astype(np.uint8) * 15, DIGITS.target
    none = np.full(len(labels), -1)
    arrays = {"x_train": images[:-300], "x_test": images[-300:]}
    if unlabelled != "absent":
        arrays["y_train"] = (labels if unlabelled == "test" else none)[:-300]
        arrays["y_test"] = (labels if unlabelled == "train" else none)[-300:]
    np.savez(tmp_path / "digits.npz", **arrays)
    run = run_of(TINY, tmp_path, "evaluation.features=encoder.h")
    names = ("clustering_error", "nmi", "ari", "knn_error", "probe_error")
    found = [r for r in results(run) if r["name"] in names]
    assert {r["name"] for r in found} >= {"clustering_error", "nmi", "ari"}
    fits = {r.get("fitted_on", "") for r in found}
    if unlabelled == "train":
        assert all(r["value"] is not None for r in found)
        assert fits == {"", "test"}  # and not by validation examples without a label
    else:
        assert {(r["value"], r["void"]) for r in found} == {(None, "none of the examples has a label")}


@pytest.mark.parametrize("labels", [True, False])
def test_figures_tell_of_classes_where_there_are_some(labels: bool, tmp_path: Path) -> None:
    images, targets = DIGITS.images.astype(np.uint8) * 15, DIGITS.target
    known = {"y_train": targets[:-300], "y_test": targets[-300:]} if labels else {}
    np.savez(tmp_path / "digits.npz", x_train=images[:-300], x_test=images[-300:], **known)
    run = run_of(TINY, tmp_path)
    assert cli.main(["report", str(run), "--figures", str(tmp_path / "figures")]) == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert (tmp_path / "figures" / "matrix_y.svg").exists() == labels
    for words in (", of different classes", "coloured by class"):
        assert (words in page) == labels
    assert labels or "Beside each: its class" not in page
