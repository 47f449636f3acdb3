"""Features of a row: against the layers written out, and errors counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_score import only
from tiny import HERE, TINY, plan_of
from tiny_runs import make_run

from ammgraph.evaluation import score
from ammgraph.evaluation.features import features_of
from ammgraph.evaluation.loading import LoadedRun, load_run
from ammgraph.evaluation.metrics import linear_probe_error, nearest_neighbor_error
from ammgraph.evaluation.score import evaluate_loaded


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedRun:
    folder = tmp_path_factory.mktemp("features") / "run"
    return load_run(make_run(folder, TINY, "evaluation.features=encoder.h"), HERE)


def by_hand(loaded: LoadedRun) -> torch.Tensor:
    """Row `h` of tiny.yaml: a convolution over the whole image and a leaky ReLU; no mask in evaluation."""
    images = loaded.dataset.validation.images.float() / 255
    row = loaded.model.network("encoder").row("h")
    with torch.no_grad():
        flat = images.flatten(1) @ row.weight.flatten(1).T + row.bias
    return torch.where(flat > 0, flat, 0.2 * flat)


def test_features_are_the_row_s_values_in_mean_mode(loaded: LoadedRun) -> None:
    plan = loaded.plan
    assert plan.features is not None
    found = features_of(loaded.model, plan, plan.features, loaded.dataset.validation)
    torch.testing.assert_close(torch.from_numpy(found), by_hand(loaded), rtol=1e-5, atol=1e-6)


def test_the_nearest_neighbor_error_is_that_of_all_distances(loaded: LoadedRun) -> None:
    evaluation = evaluate_loaded(loaded, "validation", baseline=False)
    assert loaded.plan.features is not None
    train, held_out = loaded.dataset.train, loaded.dataset.validation
    known = features_of(loaded.model, loaded.plan, loaded.plan.features, train)
    distances = torch.cdist(by_hand(loaded).double(), torch.from_numpy(known).double())
    expected = (train.labels[distances.argmin(1)] != held_out.labels).double().mean()
    result = only(list(evaluation.results), "knn_error", variable="encoder.h")
    assert result.value == pytest.approx(float(expected), abs=1e-3)  # float32 may part a tie another way
    assert (result.examples, result.by) == (197, "by 1,600 training images")
    assert 0 < only(list(evaluation.results), "probe_error").value < 0.9
    assert only(list(evaluation.results), "nmi", variable="encoder.h").rule == "k-means"


def test_training_images_are_not_their_own_neighbors(loaded: LoadedRun) -> None:
    searched = "the images that are searched are the scored ones; "
    found = {result.name: result for result in evaluate_loaded(loaded, "train", baseline=False).results}
    assert found["clustering_error"].value is not None
    for name in ("knn_error", "probe_error"):
        assert (found[name].value, found[name].shown) == (None, "void")
        assert found[name].void == searched + "`evaluate --split validation` scores others"
    alone = replace(loaded, dataset=replace(loaded.dataset, validation=None))  # no split is left to score
    found = {result.name: result for result in evaluate_loaded(alone, "train", baseline=False).results}
    held_out = "`data.validation` of a new run holds out others, which `evaluate --split validation` scores"
    assert found["knn_error"].void == searched + held_out


def test_errors_by_hand() -> None:
    known, labels = np.array([[0.0], [1.0], [4.0], [5.0]]), np.array([0, 0, 1, 1])
    features = np.array([[0.4], [2.4], [2.6], [9.0]])
    # The nearest of 2.4 is 1, of class 0; of 2.6 it is 4, of class 1. A line parts them at 2.5, too.
    for error in (nearest_neighbor_error, linear_probe_error):
        assert error(known, labels, features, np.array([0, 0, 1, 1])) == 0
        assert error(known, labels, features, np.array([0, 1, 1, 0])) == 0.5


def test_a_row_of_two_variables_is_judged_where_one_distribution_infers_both() -> None:
    features = plan_of(TINY, "evaluation.features=critic.h").features
    assert features is not None
    assert (features.draw, features.reads, features.rows) == ("q", ("x", "y", "z"), ("hx", "h"))


def test_a_row_named_like_a_variable_reads_what_it_is_drawn_from() -> None:
    features = plan_of(TINY, "evaluation.features=encoder.z").features
    assert features is not None
    assert (features.name, features.reads) == ("encoder.z", ("x",))


def test_a_probe_says_of_how_many_images_it_is(loaded: LoadedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "BASELINE", 300)
    found = list(evaluate_loaded(loaded, "validation", baseline=False).results)
    assert only(found, "probe_error").by == "by 300 training images"
    assert only(found, "knn_error").by == "by 1,600 training images"
