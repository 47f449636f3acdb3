"""*Health*: every check on both sides of its threshold, specs made to fail, and good runs in which nothing is wrong."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import HERE, LABELED, PHASES, TERMS, TINY, plan_of
from tiny_runs import Run

import ammgraph
from ammgraph.commands.explain import FAULTS_PAGE
from ammgraph.evaluation import compare, health
from ammgraph.evaluation.evaluate import Pixels
from ammgraph.evaluation.health import CHECKS, Finding, Health, check, health_of_run, lines
from ammgraph.evaluation.results import Result
from ammgraph.evaluation.score import evaluate_run
from ammgraph.plan.changes import Change, agreeing, by_constant, fewer_categories, longer, slower
from ammgraph.plan.plan import Plan
from ammgraph.spec.faults import FAULTS
from ammgraph.spec.load import load_spec

ROOT = Path(__file__).parent.parent.parent
SPECS = ROOT / "specs"


def result(name: str, value: float | tuple[float, ...], variable: str = "y", rule: str = "", **more: Any) -> Result:
    by = {"posterior": "q(y|x)", "bayes": "p(y|z)"}.get(rule, "")
    return Result(**({"name": name, "variable": variable, "value": value, "unit": "", "examples": 100, "split": "test",
                      "rule": rule, "by": by} | more))  # fmt: skip


def log(**curves: list[float]) -> list[dict[str, Any]]:
    """Lines of training, ten an epoch."""
    length = len(next(iter(curves.values())))
    names = {name: name.replace("_", "/", 1) for name in curves}
    return [
        {"step": k + 1, "epoch": (k + 1) / 10, **{names[name]: values[k] for name, values in curves.items()}}
        for k in range(length)
    ]


def judged(code: str, *results: Result, plan: Plan | None = None, records: Any = (), classes: int = 10) -> list[bool]:
    """Whether each finding of a check is a fault."""
    found = check(plan or plan_of(TINY), results, records, lambda _: classes)
    return [finding.fault for finding in found.findings if finding.code == code]


def test_every_fault_has_a_check_under_its_code() -> None:
    assert list(CHECKS) == list(FAULTS)


def test_nothing_is_said_of_what_was_not_measured() -> None:
    for path in (TINY, LABELED, TERMS):
        assert check(plan_of(path), (), ()).findings == ()
    assert lines(Health(())) == []


# ------------------------------------------------------------------------------------------------ thresholds


@pytest.mark.parametrize(("share", "fault"), [(0.01, False), (0.0099, True)])  # 0.1 / K
def test_a_component_is_unused_below_a_tenth_of_an_even_share(share: float, fault: bool) -> None:
    use = result("component_use", (*[(1 - share) / 9] * 9, share), rule="posterior")
    assert judged("unused-components", use) == [fault]
    assert judged("unused-components", use, plan=plan_of(LABELED)) == []  # labels decide which classes there are


def test_of_unused_components_fewer_are_advised_by_the_constant_that_says_how_many(tmp_path: Path) -> None:
    use = result("component_use", (*[0.125] * 8, 0.0, 0.0), rule="posterior")
    (finding,) = (f for f in check(plan_of(TINY), (use,), ()).findings if f.code == "unused-components")
    (change,) = (change for change in finding.changes if "size" in change.path)
    assert str(change) == "--set 'variables.y.size=8' (now 10)"
    assert by_constant(load_spec(TINY), change).override == "constants.K=8"
    path = tmp_path / "plain.yaml"
    path.write_text(TINY.read_text().replace("y: {type: categorical, size: K}", "y: {type: categorical, size: 10}"))
    assert by_constant(load_spec(path), change) == change
    assert fewer_categories(plan_of(TINY), "y", 1) == ()


@pytest.mark.parametrize(("error", "fault"), [(0.59, False), (0.61, True)])  # 0.5 + 2 sqrt(0.25 / 100) = 0.6
def test_k_means_is_better_by_two_standard_errors(error: float, fault: bool) -> None:
    own = result("clustering_error", error, rule="posterior", protocol="one-to-one")
    other = result("clustering_error", 0.5, rule="k-means", protocol="one-to-one", part="baseline")
    assert judged("worse-than-k-means", own, other) == [fault]
    assert judged("worse-than-k-means", own) == []
    assert judged("worse-than-k-means", replace(own, value=None, void="one label"), other) == []
    # With fewer classes than components only an error by majority can be small.
    assert judged("worse-than-k-means", own, other, classes=5) == []
    by_majority = [replace(found, protocol="majority") for found in (own, other)]
    assert judged("worse-than-k-means", *by_majority, classes=5) == [fault]


@pytest.mark.parametrize(("pure", "fault"), [(5, False), (4, True)])
def test_components_are_mixed_if_most_of_them_have_no_class(pure: int, fault: bool) -> None:
    use = result("component_use", (0.1,) * 10, rule="posterior")
    purity = result("component_purity", (*[0.5] * pure, *[0.49] * (10 - pure)), rule="posterior")
    assert judged("mixed-components", purity, use) == [fault]
    assert judged("mixed-components", purity, use, classes=11) == []
    without = result("component_use", (*[1 / pure] * pure, *[0.0] * (10 - pure)), rule="posterior")
    assert judged("mixed-components", purity, without) == [False]  # those without images are not asked


@pytest.mark.parametrize(("share", "fault"), [(0.33, False), (0.34, True)])
def test_rules_disagree_about_more_than_a_third(share: float, fault: bool) -> None:
    both = result("rule_disagreement", share, by="q(y|x) against p(y|z)")
    assert judged("rules-disagree", both) == [fault]


@pytest.mark.parametrize(("distance", "fault"), [(1.01, False), (0.99, True)])
def test_components_coincide_within_a_standard_deviation(distance: float, fault: bool) -> None:
    assert judged("components-coincide", result("component_distance", (5.0, distance), "z", by="p(z|y)")) == [fault]


@pytest.mark.parametrize(("apart", "fault"), [(0.49, False), (0.51, True)])
def test_latents_are_those_of_the_components_up_to_half_a_nat_a_dimension(apart: float, fault: bool) -> None:
    found = result("latent_mismatch", apart, "z", by="q(z|x) against p(z|y)")
    assert judged("latent-mismatch", found) == [fault]


@pytest.mark.parametrize(
    ("error", "mean_image", "exchanged", "fault"),
    [
        (0.94, 1.0, 0.94, False),  # better than the mean image
        (0.96, 1.0, 0.96, True),  # the mean image itself
        (1.3, 1.0, 2.0, False),  # sharp, of the right kind
        (2.0, 1.0, 2.0, True),  # sharp, of any image
    ],
)
def test_a_reconstruction_is_blind_if_the_mean_image_and_another_one_are_as_good(
    error: float, mean_image: float, exchanged: float, fault: bool
) -> None:
    names = ("reconstruction_error", "mean_image_error", "exchanged_error")
    errors = (error, mean_image, exchanged)
    found = [result(name, value, "x") for name, value in zip(names, errors, strict=True)]
    assert judged("blind-reconstruction", *found) == [fault]
    assert judged("blind-reconstruction", found[0]) == []  # an evaluation of before


@pytest.mark.parametrize(
    ("spec", "overrides", "advised"),
    [
        (TINY, (), "terms.reconstruction.minimize=-E[q] log p(x|y,z)"),
        (TINY, ("networks.decoder.layers.x.activation=tanh",), "terms.reconstruction.minimize=E[q] l2(x, decoder.x)"),
        (
            TINY,
            ("networks.decoder.layers.x.activation=tanh", "distributions.p.p(x|y,z)=decoder(y=y,z=z).x"),
            "terms.reconstruction.minimize=E[q] l2(x, decoder.x)",
        ),
        (TERMS, ("terms.reconstruction={minimize: 'E[q] l1(x, decoder.x)'}",), "terms.reconstruction.weight=10"),
        (TERMS, ("terms.reconstruction={minimize: 'E[p] l1(x, decoder.x)'}",), "terms.reconstruction.minimize="),
    ],
)
def test_a_blind_model_is_advised_a_term_of_its_decoder_or_more_weight_of_the_one_it_has(
    spec: Path, overrides: tuple[str, ...], advised: str
) -> None:
    names = ("reconstruction_error", "mean_image_error", "exchanged_error")
    (finding,) = check(plan_of(spec, *overrides), [result(name, 1.0, "x") for name in names], ()).findings
    assert any(change.override.startswith(advised) for change in finding.changes)
    for change in finding.changes:
        plan_of(spec, *overrides, change.override)


BLIND = 2 * np.log(2)


@pytest.mark.parametrize(
    ("right", "pays", "fault"),
    [(0.81, 0.49, True), (0.81, 0.51, False), (0.79, 0.49, False), (0.94, 0.9, False), (0.96, 0.9, True)],
)
def test_a_discriminator_wins_by_being_right_and_sure(right: float, pays: float, fault: bool) -> None:
    # Before the last epoch it was the other way round.
    before = [0.5 if fault else 1.0] * 10
    records = log(joint_accuracy=[*before, *[right] * 10], joint_discriminator=[*before, *[pays * BLIND] * 10])
    assert judged("discriminator-wins", records=records) == [fault]


def test_a_discriminator_without_a_zero_or_of_few_examples_cannot_win() -> None:
    records = log(joint_accuracy=[1.0], joint_discriminator=[0.0])
    assert judged("discriminator-wins", plan=plan_of(TINY, "games.joint.objective=wasserstein"), records=records) == []
    alone = plan_of(
        TINY, "terms.x.minimize=-E[q] log p(x|y,z) + E[q] KL(q(z|x) || p(z|y))", "games.joint.trains=[critic]"
    )
    assert judged("discriminator-wins", plan=alone, records=records) == []
    both = {f"{game}_{what}": [value] for game in ("unlabeled", "labeled")
            for what, value in (("accuracy", 1.0), ("discriminator", 0.0))}  # fmt: skip
    found = check(plan_of(LABELED), (), log(**both)).faults
    assert [re.findall(r"game `(\w+)`", finding.measured) for finding in found] == [["unlabeled"]]


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ([2.0**k for k in range(12)], True),  # 2 -> 2^10
        ([k * 1.0 for k in range(12)], True),  # 1 -> 4 -> 7 -> 10 without an end
        ([k * 0.5 for k in range(12)], False),  # 5 is not out of proportion
        ([100 * (1 - 0.5**k) for k in range(12)], False),  # grows towards a bound
        ([2.0**k for k in range(7)], False),  # too short to tell
        ([(-1) ** k * 2.0**k for k in range(12)], False),  # no growth, a swing
        ([-(2.0**k) for k in range(12)], False),  # falls
    ],
)
def test_a_loss_diverges_if_it_grows_faster_and_faster(values: list[float], fault: bool) -> None:
    assert any(judged("diverging-loss", records=log(joint_generator=values))) == fault
    noise = np.random.default_rng(0).normal(1, 0.01, len(values))
    assert any(judged("diverging-loss", records=log(joint_generator=(noise * values).tolist()))) == fault


def test_a_term_diverges_beside_the_sum_of_all() -> None:
    growing = [1.0 + k for k in range(12)]  # a divergence from the prior, which grows while images get better
    plan = plan_of(TERMS)
    assert any(judged("diverging-loss", plan=plan, records=log(prior_value=growing)))
    records = log(prior_value=growing, reconstruction_value=[100.0 - k for k in range(12)])
    assert not any(judged("diverging-loss", plan=plan, records=records))


def test_sums_over_pixels_are_means_over_pairs() -> None:
    generator = np.random.default_rng(0)
    images, rebuilt = generator.random((7, 3)), generator.random((7, 3))
    pixels = Pixels()
    pixels.add(images[:4], rebuilt[:4])
    pixels.add(images[4:], rebuilt[4:])
    assert pixels.mean_image_error == pytest.approx(((images - images.mean(0)) ** 2).mean())
    pairs = [(image - other) ** 2 for image in images for other in rebuilt]
    assert pixels.exchanged_error == pytest.approx(np.mean(pairs))


# ------------------------------------------------------------------------------------------------ words


def test_the_page_shows_what_is_printed() -> None:
    plan = plan_of(TINY)
    good = Health(tuple(Finding(code, "", False) for code in [*CHECKS, *list(CHECKS)[:4]]))
    records = log(joint_accuracy=[0.93], joint_discriminator=[0.4])
    page = (ROOT / "ammgraph" / FAULTS_PAGE).read_text(encoding="utf-8")
    shown = re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL)
    assert shown == ["\n".join(lines(found)) + "\n" for found in (good, check(plan, (), records))]


def test_of_two_faults_the_second_contradicts_no_advice_of_the_first() -> None:
    first = (Change("games.joint.weight", "3"), Change("games.joint.roth_penalty.gamma", "2"))
    second = (Change("games.joint.roth_penalty.gamma", "30"), Change("games.joint.weight", "3"))
    assert agreeing([first, (), second]) == [first, (), second[1:]]


def test_more_training_is_advised_while_rates_are_not_0() -> None:
    falling = plan_of(TINY, "training.optimizers.default.learning_rate=[[0, 1e-3], [0.3, 0]]")
    assert [longer(plan) for plan in (plan_of(TINY), falling)] != [(), ()]
    assert (longer(plan_of(TINY))[0].override, longer(falling)) == ("training.steps=26", ())
    change = slower(falling.network("critic"), 0.5)
    assert change.override == "training.optimizers.critic.learning_rate=[[0, 0.0005], [0.3, 0]]"
    assert str(slower(plan_of(TINY).network("critic"), 0.5)).endswith("learning_rate=0.0005' (now 0.001)")


def test_more_training_of_what_components_are_fitted_to_is_advised_first() -> None:
    plan = plan_of(PHASES)
    assert [change.override for change in longer(plan)] == [
        "training.phases.1.epochs=0.3",
        "training.phases.4.steps=10",
    ]
    for change in longer(plan):
        plan_of(PHASES, change.override)


# ------------------------------------------------------------------------------------------------ faults on purpose

FROZEN = ("training.steps=80", "training.optimizers.default.learning_rate=1e-6",
          "training.optimizers.critic.learning_rate=1e-2", "games.joint.gradient_penalty=null")  # fmt: skip
ONE_FOR_ALL = "terms.prior={minimize: 'E[q] KL(q(z|x) || p(z)) + 100 * H(E[q] q(y|x))', weight: 1}"
WASTED = "networks.encoder.layers.z_mu.initializer={weights: {normal: 3}}"
FAULTY: dict[str, tuple[Path, tuple[str, ...]]] = {
    "unused-components": (TERMS, (ONE_FOR_ALL, "training.steps=40")),  # all images in one category pay least
    "worse-than-k-means": (TINY, ()),  # 13 steps
    "mixed-components": (TINY, ()),
    "rules-disagree": (TINY, (WASTED,)),
    "components-coincide": (TINY, ("networks.components.layers.z_mu.initializer={weights: {normal: 1e-3}}",)),
    "latent-mismatch": (TINY, (WASTED,)),  # z far outside of the components
    "blind-reconstruction": (TINY, ()),
    "discriminator-wins": (TINY, FROZEN),  # its opponents stand still
    "diverging-loss": (TINY, (*FROZEN, "games.joint.objective=wasserstein")),  # and nothing bounds what it pays
}


@pytest.mark.parametrize("code", FAULTY)
def test_a_fault_made_on_purpose_is_named_and_every_change_can_be_made(code: str, tmp_path: Path) -> None:
    spec, overrides = FAULTY[code]
    run = ammgraph.fit(load_spec(spec, overrides), run_dir=tmp_path / "run", device="cpu", log_every=5)
    found = health_of_run(run.folder, run.evaluate(device="cpu"))
    assert code in found.codes, lines(found)
    faults = [fault for fault in found.faults if fault.code == code]
    for fault in found.faults:
        for change in fault.changes:
            ammgraph.compile_spec(load_spec(run.folder / "spec.json", [change.override]))
            assert f"try {change}" in "\n".join(lines(found))
    assert all(fault.changes for fault in faults)


def test_every_shipped_spec_can_have_what_is_advised() -> None:
    """Changes are shown where they compile; here it is seen that this is no way to have none."""
    records = log(joint_accuracy=[1.0], joint_discriminator=[0.0])
    for name in ("amm_mnist", "amm_mnist_pairs", "amm_mnist_conv", "amm_mnist_inferred"):
        plan = plan_of(SPECS / f"{name}.yaml")
        for fault in check(plan, (), records).faults:
            for change in fault.changes:
                ammgraph.compile_spec(load_spec(SPECS / f"{name}.yaml", [change.override]))


# ------------------------------------------------------------------------------------------------ good runs

GOOD = ("amm_mnist_pairs-seed0", "amm_mnist_pairs-seed1", "amm_mnist_pairs-seed2", "amm_mnist_pairs-seed3",
        "amm_mnist_pairs-seed4", "amm_mnist_inferred-seed0", "samm_mnist_pairs-seed0", "samm_svhn_pairs-seed0",
        "vae_mnist-seed0")  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_nothing_is_wrong_with_the_runs_of_the_results(name: str) -> None:
    rows = [json.loads(line) for line in (SPECS / "results" / f"{name}.jsonl").read_text("utf-8").splitlines()]
    plan = plan_of(SPECS / f"{name.partition('-')[0]}.yaml")
    scored = next((row["results"] for row in rows if "results" in row), [])
    found = check(plan, [_recorded(entry) for entry in scored], [row for row in rows if "step" in row], lambda _: 10)
    assert found.codes == ()
    assert len(found.findings) >= (2 if name.startswith("vae") else 8)


def _recorded(entry: dict[str, Any]) -> Result:
    """A line of the records of RESULTS.md, which leave out what all have in common."""
    kind = "k-means" if entry["by"].startswith("k-means") else "bayes" if entry["by"][:4] == "p(y|" else "posterior"
    value = tuple(entry["value"]) if isinstance(entry["value"], list) else entry["value"]
    given = {key: entry[key] for key in ("name", "variable", "by", "protocol", "fitted_on") if key in entry}
    part = "baseline" if kind == "k-means" else "model"
    return Result(**given, value=value, unit="", examples=10_000, split="test", rule=kind, part=part)


@pytest.mark.slow
def test_nothing_is_wrong_with_the_quick_start(tmp_path: Path) -> None:
    run = ammgraph.fit(load_spec(SPECS / "amm_digits.yaml"), run_dir=tmp_path / "run", device="cpu")
    found = health_of_run(run.folder, run.evaluate(device="cpu"))
    assert found.codes == (), lines(found)
    assert {finding.code for finding in found.findings} == set(FAULTS)


# ------------------------------------------------------------------------------------------------ the same words


def test_terminal_page_and_comparison_name_the_same(finished: Path, copied: Path, ammgraph: Run) -> None:
    found = health_of_run(copied, evaluate_run(copied, HERE))
    assert found.codes
    code, out, _ = ammgraph("evaluate", copied)
    assert code == 0
    assert out.splitlines()[-len(lines(found)) :] == lines(found)
    assert ammgraph("report", copied, "--no-map")[0] == 0
    page = re.sub(r"<[^>]+>", "", (copied / "report.html").read_text(encoding="utf-8")).replace("&#39;", "'")
    page = page.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")
    for fault in found.faults:
        assert fault.measured in page
        assert all(f"try {change}" in page for change in fault.changes)
    _, out, _ = ammgraph("compare", copied)
    assert [line.split()[1] for line in out.splitlines() if line.startswith("health: ")] == list(found.codes)
    both = compare.compare_runs([copied, finished], HERE)
    rows = [line for line in compare.lines(both) if line.startswith("health: ")]
    assert all(row.endswith("2 of 2 runs") for row in rows)
    assert compare.as_json(both)["groups"][0]["runs"][0]["health"] == found.codes
    printed = json.loads(ammgraph("evaluate", copied, "--format", "json")[1])["health"]
    assert printed == health.as_json(found)
