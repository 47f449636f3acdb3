"""The number that one looks for first, what it is compared with, and when there is none."""

from dataclasses import replace

import pytest
from tiny import LABELED, TINY

from ammgraph.compiler.compile import compile_spec
from ammgraph.evaluation.chief import chief, lines
from ammgraph.evaluation.results import Evaluation, Result
from ammgraph.spec.load import load_spec

PUBLISHED = (
    "published=[{metric: clustering_error, value: 3.32, std: 0.39, trials: 10, source: Table 1},"
    " {metric: nmi, value: 0.9, unit: fraction, source: elsewhere}]"
)


def error(value: float | None, rule: str = "posterior", protocol: str = "one-to-one", on: str = "test") -> Result:
    by = {"posterior": "q(y|x)", "bayes": "p(y|z)"}.get(rule, "k-means on pixels")
    fraction = ("fraction", 500, "test")
    part = "baseline" if rule == "k-means" else "model"
    return Result("clustering_error", "y", value, *fraction, rule, by, protocol, on, 500, part=part)


REBUILT = Result("reconstruction_error", "x", 0.02, "squared intensity", 500, "test", by="q, then p")
RESULTS = (
    REBUILT,
    replace(REBUILT, name="mean_image_error", value=0.07),
    error(0.2, protocol="majority"),
    error(0.4, on="validation"),
    error(0.5, "k-means"),
    error(0.3),
    error(0.25, "bayes"),
)


def found(*results: Result, weights: str = "last") -> Evaluation:
    return Evaluation("tiny", "tiny", "abc", 0, 3, weights, "digits", "test", results)


def test_of_clusters_the_readout_stands_beside_k_means_and_what_was_published() -> None:
    assert lines(compile_spec(load_spec(TINY, (PUBLISHED,))), found(*RESULTS, weights="ema")) == [
        "clustering error of y, one-to-one, by q(y|x)  30.00 %, on 500 test images, averaged weights",
        "k-means                                       50.00 %",
        "published                                     3.32 +- 0.39 %, 10 trials (Table 1)",
    ]


def test_what_was_published_decides_which_number_is_chief() -> None:
    published = "published=[{metric: knn_error, value: 2.65, source: Table 2}]"
    nearest = Result("knn_error", "z", 0.0592, "fraction", 500, "test")
    assert lines(compile_spec(load_spec(TINY, (published,))), found(*RESULTS, nearest)) == [
        "1-NN error of z  5.92 %, on 500 test images",
        "published        2.65 % (Table 2)",
    ]


def test_without_classes_reconstructions_stand_beside_the_mean_image() -> None:
    assert lines(compile_spec(load_spec(TINY)), found(*RESULTS[:2])) == [
        "reconstruction error of x  0.02 squared intensity, on 500 test images",
        "mean image error           0.07 squared intensity",
    ]


def test_vectors_are_counted_as_vectors() -> None:
    rebuilt = [replace(result, example="vector") for result in RESULTS[:2]]
    shown, beside = lines(compile_spec(load_spec(TINY)), found(*rebuilt))
    assert shown.endswith(", on 500 test vectors")
    assert beside.startswith("mean vector error")


def test_under_labels_the_classification_error_is_chief() -> None:
    classified = Result("classification_error", "y", 0.1, "fraction", 500, "test", "posterior", "q(y|x)")
    shown = chief(compile_spec(load_spec(LABELED)), found(REBUILT, classified))
    assert shown is not None
    assert (shown.result, shown.baseline, shown.published) == (classified, None, ())


def test_a_number_that_the_images_could_not_give_says_why() -> None:
    void = replace(error(None), void="no image has a label")
    assert lines(compile_spec(load_spec(TINY)), found(void)) == [
        "clustering error of y, one-to-one, by q(y|x)  void, on 500 test images",
        "  void: no image has a label",
    ]


@pytest.mark.parametrize("results", [(), (error(0.2, protocol="majority"),), (error(0.5, "k-means"),)])
def test_where_nothing_is_chief_nothing_is_said(results: tuple[Result, ...]) -> None:
    assert lines(compile_spec(load_spec(TINY)), found(*results)) == []


def test_with_more_components_than_classes_the_chief_error_is_by_majority() -> None:
    """A one-to-one assignment would leave 20 of 30 components without a class; published numbers are by majority."""
    plan = compile_spec(load_spec(TINY, (PUBLISHED,)))
    mapped = [
        replace(result, assignment=tuple(range(30))) for result in (error(0.58), error(0.07, protocol="majority"))
    ]
    k_means = [error(0.7, "k-means"), error(0.23, "k-means", "majority")]
    evaluation = replace(found(*mapped, *k_means), classes=tuple("0123456789"))
    assert lines(plan, evaluation)[:2] == [
        "clustering error of y, majority, by q(y|x)  7.00 %, on 500 test images",
        "k-means                                     23.00 %",
    ]
    as_many = replace(evaluation, classes=tuple(map(str, range(30))))
    assert lines(plan, as_many)[0].endswith("58.00 %, on 500 test images")


@pytest.mark.parametrize(
    ("published", "told"),
    [
        ("published=[{metric: clustering_error, value: 1.68, source: Table 1}]", "clustering error of encoder.h"),
        ("published=[{metric: knn_error, value: 2.65, source: elsewhere}]", "1-NN error of encoder.h"),
        ("published=[]", "1-NN error of encoder.h"),
    ],
)
def test_of_features_it_is_what_was_published_of_them_or_else_their_neighbours_errors(
    published: str, told: str
) -> None:
    plan = compile_spec(load_spec(TINY, [published]))
    near = Result("knn_error", "encoder.h", 0.04, "fraction", 500, "test", by="by 1,000 training images")
    clusters = replace(error(0.2, "k-means"), variable="encoder.h", part="model")
    first = lines(plan, found(near, clusters))[0]
    assert first.startswith(told)
    void = replace(near, value=None, void="the images that are searched are the scored ones")
    assert (
        lines(plan, found(void, clusters))[0]
        == "clustering error of encoder.h, one-to-one, by k-means  20.00 %, on 500 test images"
    )
    assert first.endswith("20.00 %, on 500 test images" if "clustering" in told else "4.00 %, on 500 test images")
