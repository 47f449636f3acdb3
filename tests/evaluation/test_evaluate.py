"""An evaluation finds what a model whose answers are known by hand gets wrong."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from tiny import LABELED, TINY, data_of, differences, trainer_of

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.records import Split
from ammgraph.evaluation import evaluate as module
from ammgraph.evaluation.evaluate import evaluate, first_errors
from ammgraph.evaluation.metrics import cluster_table, clustering_error, one_to_one
from ammgraph.evaluation.score import _k_means
from ammgraph.nn.model import Model, build
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_text

SPEC = """
ammgraph: 1
constants: {K: 4}
data: {dataset: npz, path: unused.npz}
variables:
  x: {type: image, shape: [1, 2, 2]}
  y: {type: categorical, size: K}
  z: {type: real, size: 1}
networks:
  encoder:
    layers:
      a: {input: x, channels: K, width: 2}
      y: {input: a, activation: straight_through}
      z_mu: {input: x, channels: 1, width: 2}
      z_sigma: {input: x, channels: 1, width: 2, activation: expn}
      z: {input: z_mu + z_sigma}
  components:
    layers:
      z_mu: {input: y, channels: 1, width: 1}
      z_sigma: {input: zeros(1), activation: expn}
      z: {input: z_mu + z_sigma}
  decoder:
    layers:
      x: {input: y | z, op: conv_transpose, channels: 1, width: 2, activation: sigmoid}
  critic:
    layers:
      h: {input: x, channels: 2, width: 2}
      p: {input: h | y | z, channels: 1, width: 1}
distributions:
  q:
    q(x): data
    q(y|x): encoder.y
    q(z|x): encoder.z
  p:
    p(y): uniform
    p(z|y): components.z
    p(x|y,z): decoder.x
games:
  joint: {match: [q, p], discriminator: critic.p, objective: jensen_shannon}
training: {batch_size: 2, steps: 1, optimizers: {default: {name: sgd, learning_rate: 1}}}
"""


@cache
def plan_of(*overrides: str) -> Plan:
    return compile_spec(load_text(SPEC, overrides=overrides))


def model_of(plan: Plan, **weights: list[float] | list[list[float]]) -> Model:
    """All weights 0 but those given, as `encoder_a=...`: one list per output channel."""
    model = build(plan, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for name, value in weights.items():
            network, row = name.split("_", 1)
            layer = model.network(network).row(row)
            part = layer.bias if isinstance(value[0], float) else layer.weight
            assert part is not None
            part.copy_(torch.tensor(value).view(part.shape))
    return model


def patterns(places: list[int]) -> torch.Tensor:
    """Images of 2x2, black but for one white pixel."""
    images = torch.zeros(len(places), 4, dtype=torch.uint8)
    images[torch.arange(len(places)), torch.tensor(places)] = 255
    return images.view(-1, 1, 2, 2)


# Cluster by cluster: 0 holds labels 0 0 0 1, 1 holds 1 1, 2 holds 0 0, 3 holds 2 2.
PLACES = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]
LABELS = [0, 0, 0, 1, 1, 1, 0, 0, 2, 2]
TEN = Split(patterns(PLACES), torch.tensor(LABELS))
IDENTITY = [[1.0 if row == column else 0.0 for column in range(4)] for row in range(4)]


def test_clustering_errors_by_hand() -> None:
    found = evaluate(model_of(plan_of(), encoder_a=IDENTITY), plan_of(), TEN)
    assert found["examples"] == 10
    assert found["y/one_to_one_error"] == pytest.approx(0.3)  # three classes: clusters 0, 1, 3 take one, 2 takes none
    assert found["y/majority_error"] == pytest.approx(0.1)  # only the one 1 in cluster 0 is wrong
    assert next(iter(first_errors(found))) == "y/majority_error"  # four clusters, three classes
    assert found["y/components_in_use"] == 4


def test_fewer_clusters_than_classes() -> None:
    plan = plan_of("constants.K=2")
    two = model_of(plan, encoder_a=[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    found = evaluate(two, plan, TEN)  # cluster 0 holds 0 0 0 1 1 1, cluster 1 holds 0 0 2 2
    assert found["y/one_to_one_error"] == pytest.approx(0.5)
    assert found["y/majority_error"] == pytest.approx(0.5)
    assert next(iter(first_errors(found))) == "y/one_to_one_error"
    assert found["y/components_in_use"] == 2


def test_more_clusters_than_are_used() -> None:
    plan = plan_of("constants.K=9")
    found = evaluate(model_of(plan, encoder_a=[*IDENTITY, *[[-1.0] * 4] * 5]), plan, TEN)
    assert found["y/one_to_one_error"] == pytest.approx(0.3)
    assert found["y/components_in_use"] == 4


def test_perfect_clusters_are_perfect_by_every_measure() -> None:
    split = Split(patterns([3, 1, 0, 3, 1, 0]), torch.tensor([0, 1, 2, 0, 1, 2]))
    found = evaluate(model_of(plan_of(), encoder_a=IDENTITY), plan_of(), split)
    assert found["y/one_to_one_error"] == found["y/majority_error"] == 0
    assert found["y/nmi"] == pytest.approx(1)
    assert found["y/ari"] == pytest.approx(1)


# z is 0, 1, 2 or 3 by the place of the white pixel; the components' means are 0.2, 1.4, 1.6 and 5, with variance 1.
Z = {"encoder_z_mu": [[0.0, 1.0, 2.0, 3.0]], "components_z_mu": [[0.2, 1.4, 1.6, 5.0]]}


@pytest.mark.parametrize(
    ("prior", "expected"),
    [
        ("uniform", [0, 1, 2, 2]),  # the nearest mean; 3 is 1.4 from 1.6 and 2 from 5
        ("[0.7, 0.1, 0.1, 0.1]", [0, 0, 0, 2]),  # ln 7 = 1.95 nats more for component 0
    ],
)
def test_the_bayes_rule_by_hand(prior: str, expected: list[int]) -> None:
    plan = plan_of(f"distributions.p={{p(y): {prior}, p(z|y): components.z, 'p(x|y,z)': decoder.x}}")
    every = Split(patterns([0, 1, 2, 3]), torch.tensor(expected))
    model = model_of(plan, encoder_a=IDENTITY, **Z)
    assert evaluate(model, plan, every)["y/bayes/majority_error"] == 0
    used = {0: 0.0, 1: 1.0, 2: 2.0}
    assert evaluate(model, plan, every)["y/bayes/components_in_use"] == len({used[k] for k in expected})


def test_the_scores_of_the_bayes_rule_are_log_densities() -> None:
    plan = plan_of()
    model = model_of(plan, **Z)
    scores = module.category_scores(model, plan, plan.readouts[0], Split(patterns([3]), torch.tensor([0])))["/bayes"]
    constant = math.log(1 / 4) - 0.5 * math.log(2 * math.pi)
    expected = [constant - 0.5 * (3 - mean) ** 2 for mean in (0.2, 1.4, 1.6, 5.0)]
    torch.testing.assert_close(scores, torch.tensor([expected]))


def test_the_two_rules_are_scored_apart() -> None:
    found = evaluate(model_of(plan_of(), encoder_a=IDENTITY, **Z), plan_of(), TEN)
    # by Bayes clusters 2 and 3 are one, with labels 0 0 2 2: 3 + 2 + 2 of 10 are right one-to-one and by majority
    assert found["y/bayes/one_to_one_error"] == pytest.approx(0.3)
    assert found["y/bayes/majority_error"] == pytest.approx(0.3)
    assert found["y/majority_error"] == pytest.approx(0.1)


def test_the_reconstruction_error_by_hand() -> None:
    found = evaluate(model_of(plan_of(), decoder_x=[math.log(3)]), plan_of(), TEN)
    assert found["x/reconstruction_error"] == pytest.approx((0.25**2 + 3 * 0.75**2) / 4)


def test_a_reconstruction_draws_from_the_inferred_category() -> None:
    """The decoder paints category k's pixel white: z adds nothing."""
    paint = [[20.0 if row == column else -20.0 for column in range(4)] for row in range(4)] + [[0.0] * 4]
    right = model_of(plan_of(), encoder_a=IDENTITY, decoder_x=paint)
    assert evaluate(right, plan_of(), TEN)["x/reconstruction_error"] < 1e-12
    shifted = model_of(plan_of(), encoder_a=IDENTITY[1:] + IDENTITY[:1], decoder_x=paint)
    assert evaluate(shifted, plan_of(), TEN)["x/reconstruction_error"] == pytest.approx(2 / 4)


def test_a_reconstruction_error_is_in_the_units_of_the_range() -> None:
    plan = plan_of(
        "variables.x={type: image, shape: [1, 2, 2], range: [-1, 1]}", "networks.decoder.layers.x.activation=tanh"
    )
    found = evaluate(model_of(plan), plan, TEN)  # tanh(0) = 0 against one 1 and three -1
    assert found["x/reconstruction_error"] == pytest.approx(1.0)


@pytest.mark.parametrize(("prior", "mean"), [("normal(0.5, 2)", 0.5), ("uniform(-3, 4)", 0.5), ("normal", 0.0)])
def test_noise_that_inference_reads_stands_at_its_mean(prior: str, mean: float) -> None:
    plan = plan_of(
        "variables.n={type: real, size: 1}",
        "networks.encoder.layers.z={input: z_mu + n}",
        "networks.encoder.layers.z_sigma=null",
        f"distributions.q={{q(x): data, q(n): '{prior}', q(y|x): encoder.y, 'q(z|x,n)': encoder.z}}",
    )
    model = model_of(plan, encoder_a=IDENTITY, **Z)
    scores = module.category_scores(model, plan, plan.readouts[0], Split(patterns([3, 0]), torch.tensor([0, 0])))[
        "/bayes"
    ]
    distances = [[(place + mean - center) ** 2 for center in (0.2, 1.4, 1.6, 5.0)] for place in (3, 0)]
    expected = math.log(1 / 4) - 0.5 * math.log(2 * math.pi) - 0.5 * torch.tensor(distances)
    torch.testing.assert_close(scores, expected)


def test_evidence_below_a_second_latent_is_scored_given_that_latent() -> None:
    plan = plan_of(
        "variables.w={type: real, size: 1}",
        "networks.top={layers: {w: {input: z, channels: 1, width: 1}}}",
        "networks.components.layers.z_mu.input=y | w",
        "networks.critic.layers.p.input=h | y | z | w",
        "distributions.q={q(x): data, q(y|x): encoder.y, q(z|x): encoder.z, q(w|z): top.w}",
        "distributions.p={p(y): uniform, p(w): normal, 'p(z|y,w)': components.z, 'p(x|y,z)': decoder.x}",
    )
    # z is the place of the white pixel, w = 2 z, and the components' means are c_k + w / 4.
    weights = Z | {"components_z_mu": [[*Z["components_z_mu"][0], 0.25]]}
    model = model_of(plan, encoder_a=IDENTITY, top_w=[[2.0]], **weights)
    scores = module.category_scores(model, plan, plan.readouts[0], Split(patterns([3, 0]), torch.tensor([0, 0])))[
        "/bayes"
    ]
    distances = [[(place - center - 2 * place / 4) ** 2 for center in (0.2, 1.4, 1.6, 5.0)] for place in (3, 0)]
    expected = math.log(1 / 4) - 0.5 * math.log(2 * math.pi) - 0.5 * torch.tensor(distances)
    torch.testing.assert_close(scores, expected)
    assert module.rule_text(plan, plan.readouts[0], "bayes") == "p(y|z,w)"
    assert "y/bayes/nmi" in evaluate(model, plan, TEN)


def test_samples_of_another_distribution_are_inferred_there() -> None:
    plan = plan_of(
        "distributions.r={r(x): data, r(z): q.z, r(y|x): encoder.y}",
        "distributions.q={q(x): data, q(z|x): encoder.z, q(y): p.y}",
        "games.other={match: [r, p], discriminator: critic.p, objective: jensen_shannon}",
    )
    (readout,) = plan.readouts
    assert readout.draw == "r"
    found = evaluate(model_of(plan, encoder_a=IDENTITY, **Z), plan, TEN)
    assert found["y/majority_error"] == pytest.approx(0.1)
    assert found["y/bayes/majority_error"] == pytest.approx(0.3)


@pytest.mark.parametrize("batch", [1, 3, 700, 1000])
def test_batches_are_joined_in_order(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    choose = np.random.default_rng(0)
    places, labels = choose.integers(0, 4, 700), choose.integers(0, 3, 700)
    table = np.array([[np.sum((places == k) & (labels == c)) for c in range(3)] for k in range(4)])
    split = Split(patterns(places.tolist()), torch.from_numpy(labels))
    model = model_of(plan_of(), encoder_a=IDENTITY, decoder_x=[0.0])
    whole = evaluate(model, plan_of(), split)
    monkeypatch.setattr(module, "BATCH", batch)
    found = evaluate(model, plan_of(), split)
    assert found["examples"] == 700
    assert found["y/majority_error"] == pytest.approx(1 - table.max(1).sum() / 700)
    assert found["x/reconstruction_error"] == pytest.approx(0.25)
    assert found == pytest.approx(whole)


def test_an_evaluation_changes_nothing() -> None:
    it = trainer_of(TINY)
    for _ in range(2):
        it.advance()
    before = {name: value.clone() for name, value in it.model.state_dict().items()}
    glance = data_of(TINY).train.at(torch.arange(100))
    first, second = evaluate(it.model, it.plan, glance), evaluate(it.model, it.plan, glance)
    assert first == second
    assert differences(before, dict(it.model.state_dict())) == []


def test_labels_serve_for_nothing_but_the_score() -> None:
    it = trainer_of(TINY)
    glance = data_of(TINY).train.at(torch.arange(100))
    wrong = Split(glance.images, torch.zeros_like(glance.labels))
    first, second = evaluate(it.model, it.plan, glance), evaluate(it.model, it.plan, wrong)
    unscored = ("examples", "x/reconstruction_error", "y/components_in_use", "y/bayes/components_in_use")
    assert all(first[name] == second[name] for name in unscored)
    assert first["y/majority_error"] > 0
    assert second["y/majority_error"] is None  # one label in all: 0 would say nothing


def test_a_supervised_variable_is_classified_and_not_clustered() -> None:
    it = trainer_of(LABELED)
    train = data_of(LABELED).train
    found = evaluate(it.model, it.plan, train.at(torch.arange(50)))
    assert set(found) == {
        "examples",
        "y/classification_error",
        "y/bayes/classification_error",
        "x/reconstruction_error",
    }
    with torch.no_grad():
        it.model.network("encoder").row("y").bias[7] = 100.0  # type: ignore[index]
    always_seven = evaluate(it.model, it.plan, train)["y/classification_error"]
    assert always_seven == pytest.approx(float((train.labels != 7).double().mean()))


def test_a_model_in_double_precision_is_evaluated_in_it() -> None:
    it = trainer_of(TINY, precision="float64")
    glance = data_of(TINY).train.at(torch.arange(40))
    double = evaluate(it.model, it.plan, glance)
    single = evaluate(it.model.float(), it.plan, glance)
    assert double == pytest.approx(single, rel=1e-5)
    assert double["x/reconstruction_error"] != single["x/reconstruction_error"]


def test_k_means_finds_separate_clusters() -> None:
    images = torch.zeros(30, 1, 2, 2, dtype=torch.uint8)
    images[10:20, 0, 0, 0] = torch.arange(200, 210, dtype=torch.uint8)
    images[20:, 0, 1, 1] = torch.arange(200, 210, dtype=torch.uint8)
    images[:10, 0, 0, 1] = torch.arange(10, dtype=torch.uint8)
    labels = torch.arange(3).repeat_interleave(10)
    for size, error in ((3, 0), (2, 1 / 3)):
        scored = _k_means("test", images.flatten(1).numpy(), labels.numpy(), size)
        assignment = one_to_one(cluster_table(scored.chosen, scored.labels, size, 3))
        assert clustering_error(scored.chosen, scored.labels, assignment) == pytest.approx(error)
    for size, error in ((3, 0), (2, pytest.approx(1 / 3))):
        found = _k_means("test", images.flatten(1).numpy(), labels.numpy(), size)
        table = cluster_table(found.chosen, found.labels, size, 3)
        assert clustering_error(found.chosen, found.labels, one_to_one(table)) == error
