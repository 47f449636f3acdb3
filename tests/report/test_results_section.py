"""The chief numbers of a page: what the model decided, then k-means and what was published, then what else one asks."""

from pathlib import Path

from shown import write_spec

from ammgraph.compiler.compile import compile_spec
from ammgraph.evaluation.results import Evaluation, Result
from ammgraph.report.results_section import headline
from ammgraph.spec.load import load_spec

PUBLISHED = "published: [{metric: clustering_error, value: 3.32, std: 0.39, trials: 10, source: Table 1}]\n"


def error(value: float, rule: str, by: str, protocol: str = "one-to-one", on: str = "train") -> Result:
    part = "baseline" if rule == "k-means" else "model"
    return Result("clustering_error", "y", value, "fraction", 50, "train", rule, by, protocol, on, 50, part=part)


def test_the_readout_then_k_means_then_what_was_published(tmp_path: Path) -> None:
    plan = compile_spec(load_spec(write_spec(tmp_path, "amm", PUBLISHED), allow_outside=True))
    found = (
        error(0.2, "k-means", "k-means on pixels"),
        error(0.1, "posterior", "q(y|x)"),
        error(0.05, "posterior", "q(y|x)", "majority"),
        error(0.15, "posterior", "q(y|x)", on="validation"),
        error(0.12, "bayes", "p(y|z)"),
        Result("components_in_use", "y", 9.0, "components", 50, "train", "posterior", "q(y|x)", "of 10"),
        Result("reconstruction_error", "x", 0.02, "squared intensity", 50, "train"),
    )
    evaluation = Evaluation("amm", "amm", "abc", 0, 3, "last", "digits", "train", found)
    assert headline(plan, evaluation, "train") == [
        ("10.00 %", "clustering error by q(y|x), one-to-one, 50 training images"),
        ("12.00 %", "clustering error by p(y|z), one-to-one, 50 training images"),
        ("20.00 %", "k-means on the same images, one-to-one"),
        ("3.32 ± 0.39 %", "published clustering error, Table 1, 10 trials"),
        ("9", "components in use by q(y|x), of 10; 50 training images"),
        ("0.02", "mean squared reconstruction error of x; 50 training images"),
    ]
