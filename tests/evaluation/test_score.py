"""Every number of an evaluation against an independent computation."""

import json
import math
import tracemalloc
from collections import Counter
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from test_loading import fingerprint
from tiny import HERE, LABELED, TINY, data_of
from tiny_runs import make_run
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from ammgraph.data.records import Split
from ammgraph.diagnostics import RunError
from ammgraph.evaluation import metrics, results, score
from ammgraph.evaluation.evaluate import ask, infer
from ammgraph.evaluation.loading import LoadedRun, load_run
from ammgraph.evaluation.results import Evaluation, Result
from ammgraph.evaluation.score import evaluate_loaded, evaluate_run, find_split, measure
from ammgraph.evaluation.synthesis import generate
from ammgraph.nn import densities
from ammgraph.nn.densities import factor_parameters, log_joint
from ammgraph.nn.model import one_hot
from ammgraph.plan.evaluation_cost import evaluation_memory

PROTOCOLS = ("one-to-one", "majority", "exemplar")


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> LoadedRun:
    return load_run(tiny_folder, HERE)


@pytest.fixture(scope="module")
def found(loaded: LoadedRun) -> list[Result]:
    return measure(loaded.model, loaded.plan, "train", loaded.dataset.train, loaded.dataset.validation)


def only(found: list[Result], name: str, **wanted: object) -> Result:
    matching = [r for r in found if r.name == name and all(getattr(r, key) == value for key, value in wanted.items())]
    assert len(matching) == 1, [(r.name, r.rule, r.protocol, r.fitted_on) for r in matching]
    return matching[0]


def assignment_by_hand(protocol: str, posteriors: np.ndarray, labels: np.ndarray) -> dict[int, int]:
    clusters = posteriors.argmax(1).tolist()
    if protocol == "exemplar":
        return {k: int(labels[posteriors[:, k].argmax()]) for k in range(posteriors.shape[1])}
    if protocol == "majority":
        votes = {k: Counter(int(c) for a, c in zip(clusters, labels, strict=True) if a == k) for k in set(clusters)}
        return {k: min(c for c in vote if vote[c] == max(vote.values())) for k, vote in votes.items()}
    used = sorted(set(clusters))
    pairs = Counter(zip(clusters, labels.tolist(), strict=True))
    best = max(
        permutations(range(10), len(used)), key=lambda to: sum(pairs[k, c] for k, c in zip(used, to, strict=True))
    )
    return dict(zip(used, best, strict=True))


@pytest.mark.parametrize("fitted_on", ["train", "validation"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("rule", ["posterior", "bayes"])
def test_clustering_errors_by_hand(loaded: LoadedRun, rule: str, protocol: str, fitted_on: str) -> None:
    # Few clusters are kept apart, so that trying all injective maps takes no time.
    train, validation = loaded.dataset.train, loaded.dataset.validation
    assert validation is not None
    found = measure(loaded.model, loaded.plan, "train", train, validation)
    fit = train if fitted_on == "train" else validation
    scores = torch.from_numpy(ask(loaded.model, loaded.plan, fit).scores["y", rule]).softmax(1).numpy()
    if protocol == "one-to-one" and len(set(scores.argmax(1).tolist())) > 5:
        pytest.skip("too many maps to try")
    to = assignment_by_hand(protocol, scores, fit.labels.numpy())
    chosen = ask(loaded.model, loaded.plan, train).scores["y", rule].argmax(1).tolist()
    wrong = sum(to.get(k, -1) != c for k, c in zip(chosen, train.labels.tolist(), strict=True))
    result = only(found, "clustering_error", rule=rule, protocol=protocol, fitted_on=fitted_on)
    ties = protocol == "one-to-one" and fitted_on == "validation"  # equally good maps may differ elsewhere
    assert result.value == pytest.approx(wrong / len(train), abs=0.05 if ties else 1e-12)
    assert (result.examples, result.fitted_examples, result.unit) == (len(train), len(fit), "fraction")


@pytest.mark.parametrize("rule", ["posterior", "bayes"])
def test_agreement_without_an_assignment_is_scikit_learn_s(loaded: LoadedRun, found: list[Result], rule: str) -> None:
    train = loaded.dataset.train
    chosen, labels = ask(loaded.model, loaded.plan, train).scores["y", rule].argmax(1), train.labels.numpy()
    nmi = normalized_mutual_info_score(labels, chosen, average_method="arithmetic")
    assert only(found, "nmi", rule=rule, protocol="arithmetic mean").value == pytest.approx(nmi)
    assert only(found, "ari", rule=rule).value == pytest.approx(adjusted_rand_score(labels, chosen))


def test_components_are_counted(loaded: LoadedRun, found: list[Result]) -> None:
    chosen = Counter(ask(loaded.model, loaded.plan, loaded.dataset.train).scores["y", "posterior"].argmax(1).tolist())
    use = only(found, "component_use", rule="posterior").value
    assert use == tuple(chosen[k] / 1600 for k in range(10))
    used = only(found, "components_in_use", rule="posterior")
    in_use = [k for k in range(10) if chosen[k] >= 16]  # 0.1 / 10 of 1,600
    assert (used.value, used.protocol, used.unit) == (len(in_use), "of 10", "components")
    assert len(in_use) < len(chosen)


def test_memory_does_not_grow_with_the_square_of_the_components(tmp_path: Path) -> None:
    size = 200
    loaded = load_run(make_run(tmp_path / "many", TINY, f"constants.K={size}", steps=1), HERE)
    train = loaded.dataset.train
    tracemalloc.start()
    measure(loaded.model, loaded.plan, "train", train, loaded.dataset.validation)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    needed = evaluation_memory(loaded.plan, len(train), 197)
    assert needed.scores / 2 < peak < needed.total + 8 * 8 * metrics._PART  # and what is worked on at once


def test_components_pass_through_the_networks_in_parts(loaded: LoadedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    train = loaded.dataset.train
    whole = ask(loaded.model, loaded.plan, train).scores["y", "bayes"]
    monkeypatch.setattr(densities, "COMPONENTS", 3)
    assert ask(loaded.model, loaded.plan, train).scores["y", "bayes"] == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("rule", ["posterior", "bayes"])
def test_the_entropy_is_torch_s(loaded: LoadedRun, found: list[Result], rule: str) -> None:
    scores = torch.from_numpy(ask(loaded.model, loaded.plan, loaded.dataset.train).scores["y", rule])
    expected = float(Categorical(logits=scores).entropy().mean())
    assert only(found, "posterior_entropy", rule=rule).value == pytest.approx(expected)


def mixture_of(loaded: LoadedRun) -> MixtureSameFamily:
    """p(y) p(z|y) as torch knows it."""
    draw = loaded.plan.draw("p")
    labels = one_hot(torch.arange(10), 10, torch.float32)
    mean, log_variance = factor_parameters(loaded.model, draw.factor_of("z"), {"y": labels}, 10)
    components = Independent(Normal(mean.double(), torch.exp(log_variance / 2).double()), 1)
    return MixtureSameFamily(Categorical(torch.full((10,), 0.1, dtype=torch.float64)), components)


def test_the_log_density_is_that_of_torch_distributions(loaded: LoadedRun, found: list[Result]) -> None:
    train = loaded.dataset.train
    z = infer(loaded.model, loaded.plan, loaded.plan.draw("q"), {"z"}, train).samples["z"]
    expected = float(mixture_of(loaded).log_prob(z.flatten(1).double()).mean())
    whole, each = only(found, "log_density", variable="z"), only(found, "log_density_per_dimension", variable="z")
    assert whole.value == pytest.approx(expected, abs=1e-5)
    assert each.value == pytest.approx(expected / 4, abs=1e-5)
    assert (whole.unit, whole.by) == ("nats", "sum over y of p(y) p(z|y)")
    assert whole.protocol == "at the mean of q(z|x)"


def test_eq_19_by_sampling_the_mixture(loaded: LoadedRun) -> None:
    """Among samples z of p(y) p(z|y) to which eq. 19 gives y = k with probability r, a share r was drawn from k.

    The components are moved apart until they just overlap. In each of ten bins of the posterior the share has a
    standard error of sqrt(mean r (1 - r) / n); of 100 bins one exceeds 4.5 of them in 1 of 1,500 trials; the seed is
    fixed.
    """
    count = 20_000
    model = load_run(loaded.folder, HERE).model
    with torch.no_grad():
        weight = model.network("components").row("z_mu").weight
        assert weight is not None
        weight.copy_(1.5 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    drawn = generate(model, loaded.plan, loaded.plan.draw("p"), "x", {}, count, seed=1)
    bayes = loaded.plan.readouts[0].bayes
    assert bayes is not None
    posterior = log_joint(model, loaded.plan, bayes, drawn).double().softmax(1)
    truth = drawn["y"].flatten(1)
    compared = 0
    for component in range(10):
        for bin_ in range(10):
            r = posterior[:, component]
            inside = (r >= bin_ / 10) & (r < (bin_ + 1) / 10)
            if inside.sum() >= 30:
                deviation = float((r[inside] * (1 - r[inside])).mean() / inside.sum()) ** 0.5
                share = float(truth[inside, component].double().mean())
                assert abs(share - float(r[inside].mean())) < 4.5 * deviation + 1e-9
                compared += 1
    assert compared > 50
    assert 0.05 < float((posterior.argmax(1) != truth.argmax(1)).double().mean()) < 0.9


def test_the_mixture_s_density_integrates_to_one(loaded: LoadedRun) -> None:
    """E_{z ~ N(0, 2 I)}[p(z) / N(z; 0, 2 I)] = 1, by 20,000 draws, within five of their standard errors."""
    wide = Independent(Normal(torch.zeros(4, dtype=torch.float64), math.sqrt(2)), 1)
    torch.manual_seed(0)
    z = wide.sample((20_000,))
    bayes = loaded.plan.readouts[0].bayes
    assert bayes is not None
    scores = log_joint(loaded.model, loaded.plan, bayes, {"z": z.float()[:, :, None, None]}).double()
    ratio = torch.exp(scores.logsumexp(1) - wide.log_prob(z))
    assert abs(float(ratio.mean()) - 1) < 5 * float(ratio.std()) / math.sqrt(len(z))


def test_the_reconstruction_error_states_its_range(found: list[Result]) -> None:
    result = only(found, "reconstruction_error", variable="x")
    assert 0 < result.value < 1
    assert (result.by, result.unit) == ("q, then p", "squared intensity")
    assert result.protocol == "mean over pixels, range [0, 1], latents at their means"


def test_every_result_says_of_how_many_examples_of_what_it_is(found: list[Result]) -> None:
    assert {(result.examples, result.split) for result in found} == {(1600, "train")}
    assert len({result.key for result in found}) == len(found)


def test_validation_images_are_fitted_on_themselves_alone(loaded: LoadedRun) -> None:
    validation = loaded.dataset.validation
    assert validation is not None
    found = measure(loaded.model, loaded.plan, "validation", validation, validation)
    assert {r.fitted_on for r in found if r.name == "clustering_error"} == {"validation"}
    assert len([r for r in found if r.name == "clustering_error"]) == 6


def test_images_of_one_class_only(loaded: LoadedRun) -> None:
    train = loaded.dataset.train
    chosen = train.at((train.labels == 3).nonzero().squeeze(1))
    found = measure(loaded.model, loaded.plan, "train", chosen, None)
    compared = [result for result in found if result.name in ("clustering_error", "nmi", "ari")]
    assert len(compared) == 2 * (3 + 2)
    assert {(result.value, result.shown, result.void) for result in compared} == {(None, "void", metrics.VOID)}
    assert set(only(found, "clustering_error", rule="posterior", protocol="majority").assignment) == {-1, 3}
    assert sum(only(found, "component_use", rule="posterior").value) == pytest.approx(1)


def test_a_supervised_variable_is_classified(labeled_folder: Path) -> None:
    loaded = load_run(labeled_folder, HERE)
    train = loaded.dataset.train
    found = measure(loaded.model, loaded.plan, "train", train, loaded.dataset.validation)
    chosen = ask(loaded.model, loaded.plan, train).scores["y", "bayes"].argmax(1)
    result = only(found, "classification_error", rule="bayes")
    assert result.value == pytest.approx((chosen != train.labels.numpy()).mean())
    assert (result.by, result.protocol, result.fitted_on) == ("p(y|z)", "", "")
    assert not [r for r in found if r.name in ("clustering_error", "nmi", "ari")]


# --------------------------------------------------------------------------------------------------- runs


def test_an_evaluation_is_written_and_changes_nothing_else(tiny_run: Path) -> None:
    before = fingerprint(tiny_run)
    evaluation = evaluate_run(tiny_run, HERE)
    after = fingerprint(tiny_run)
    assert results.read(tiny_run) == evaluation
    assert after.keys() - before.keys() == {"evaluation.json"}
    assert before.items() <= after.items()
    assert (evaluation.split, evaluation.step, evaluation.seed, evaluation.weights) == ("train", 3, 0, "last")
    assert evaluation.title == "tiny"
    content = json.loads((tiny_run / "evaluation.json").read_text())
    assert content["results"][0]["examples"] == 1600


def test_an_evaluation_twice_gives_the_same_bytes(tiny_run: Path) -> None:
    evaluate_run(tiny_run, HERE)
    first = (tiny_run / "evaluation.json").read_bytes()
    (tiny_run / "evaluation.json").unlink()
    evaluate_run(tiny_run, HERE)
    assert (tiny_run / "evaluation.json").read_bytes() == first


def test_another_split_joins_the_first(tiny_run: Path) -> None:
    evaluate_run(tiny_run, HERE, baseline=False)
    evaluation = evaluate_run(tiny_run, HERE, split="validation", baseline=False)
    assert evaluation.split == "validation"
    assert {result.split for result in evaluation.results} == {"train", "validation"}
    assert {result.examples for result in evaluation.of("validation")} == {197}


def test_a_damaged_evaluation_is_written_anew(tiny_run: Path) -> None:
    (tiny_run / "evaluation.json").write_text("{")
    assert results.read(tiny_run.parent) is None
    evaluate_run(tiny_run, HERE, baseline=False)
    assert results.read(tiny_run) is not None


def test_k_means_is_measured_once(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate_run(tiny_run, HERE)
    known = [result for result in first.results if result.part == "baseline"]
    assert [(r.name, r.protocol) for r in known] == [
        ("clustering_error", "one-to-one"),
        ("clustering_error", "majority"),
        ("nmi", "arithmetic mean"),
        ("ari", ""),
    ]
    assert known[0].by == "k-means on pixels, 10 restarts, seed 0, K = 10"
    assert known[0].value < 0.35
    monkeypatch.setattr(score, "_k_means", lambda *_: pytest.fail("k-means ran again"))
    assert [r for r in evaluate_run(tiny_run, HERE).results if r.part == "baseline"] == known


def test_what_was_measured_on_other_images_of_the_same_file_does_not_stay(tiny_run: Path) -> None:
    first = evaluate_run(tiny_run, HERE)
    changed = {name: "f" * 64 for name in first.data_sha256}
    wrong = [replace(r, value=0.123) if r.part == "baseline" else replace(r, split="validation") for r in first.results]
    results.write(tiny_run, replace(first, results=tuple(wrong), data_sha256=changed))
    assert evaluate_run(tiny_run, HERE) == first


def test_k_means_takes_an_even_choice_of_many_images(loaded: LoadedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "BASELINE", 100)
    found = evaluate_loaded(loaded)
    assert {r.examples for r in found.results if r.part == "baseline"} == {100}


def test_k_means_of_fewer_images_than_clusters(loaded: LoadedRun) -> None:
    few = loaded.dataset.train.at(torch.arange(4))
    small = replace(loaded, dataset=replace(loaded.dataset, train=few))
    found = evaluate_loaded(small)
    assert found.find("clustering_error", rule="k-means", protocol="one-to-one").value == 0


def test_a_split_that_is_not_there() -> None:
    with pytest.raises(RunError, match=r"digits has no split `test` here, only `train`, `validation`"):
        find_split(data_of(TINY), "test")
    assert find_split(data_of(LABELED), None)[0] == "train"
    assert isinstance(find_split(data_of(TINY), "validation")[1], Split)


def test_a_title_is_never_empty(loaded: LoadedRun) -> None:
    untitled = replace(loaded, plan=replace(loaded.plan, title=""))
    assert isinstance(evaluate_loaded(untitled, baseline=False), Evaluation)
    assert untitled.title == "tiny"
