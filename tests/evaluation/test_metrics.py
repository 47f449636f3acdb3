import math
import tracemalloc
from itertools import permutations, product
from math import comb, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from sklearn.metrics import confusion_matrix
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from ammgraph.evaluation import metrics
from ammgraph.evaluation.metrics import (
    adjusted_rand_index,
    assign,
    classification_error,
    cluster_table,
    clustering_error,
    component_distances,
    component_purity,
    component_use,
    components_in_use,
    exemplar,
    in_use,
    log_evidence,
    log_odds,
    majority,
    mean_entropy,
    normalized_mutual_information,
    one_to_one,
    posterior_entropy,
)

# Nine examples, K = C = 3. Table (rows clusters):   3 1 0
#                                                    2 2 0
#                                                    0 0 1
CLUSTERS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
LABELS = np.array([0, 0, 0, 1, 0, 0, 1, 1, 2])
TABLE = np.array([[3, 1, 0], [2, 2, 0], [0, 0, 1]])


@st.composite
def clusterings(draw, largest=5):
    """(clusters, labels, K, C) with any K and C, empty clusters and classes included."""
    sizes = st.integers(1, largest)
    num_clusters, num_classes, count = draw(sizes), draw(sizes), draw(st.integers(1, 40))
    clusters = draw(st.lists(st.integers(0, num_clusters - 1), min_size=count, max_size=count))
    labels = draw(st.lists(st.integers(0, num_classes - 1), min_size=count, max_size=count))
    return np.array(clusters), np.array(labels), num_clusters, num_classes


def best_injective(table):
    """The largest number of agreements over all injective maps, by trying each."""
    wide = table if table.shape[0] <= table.shape[1] else table.T
    rows = range(wide.shape[0])
    return max(
        sum(wide[r, c] for r, c in zip(rows, chosen, strict=True))
        for chosen in permutations(range(wide.shape[1]), len(rows))
    )


def best_of_all_maps(table):
    """The largest number of agreements over all maps, by trying each: eq. 17 as it is written."""
    clusters, classes = table.shape
    return max(sum(table[k, c] for k, c in enumerate(chosen)) for chosen in product(range(classes), repeat=clusters))


# --------------------------------------------------------------------------------------------------- tables


def test_the_table_counts_pairs():
    assert cluster_table(CLUSTERS, LABELS, 3, 3).tolist() == TABLE.tolist()
    assert cluster_table(CLUSTERS, LABELS, 4, 5).shape == (4, 5)


@settings(max_examples=50, deadline=None)
@given(clusterings())
def test_the_table_is_scikit_learns_confusion_matrix_transposed(case):
    clusters, labels, num_clusters, num_classes = case
    size = max(num_clusters, num_classes, 2)  # scikit-learn warns over a table of one cell
    table = cluster_table(clusters, labels, size, size)
    assert np.array_equal(table.T, confusion_matrix(labels, clusters, labels=range(size)))


def test_small_integer_types_do_not_overflow():
    table = cluster_table(np.full(3, 200, np.uint8), np.full(3, 200, np.uint8), 201, 201)
    assert table[200, 200] == 3


@pytest.mark.parametrize(
    ("clusters", "labels", "message"),
    [
        ([0, 3], [0, 0], "clusters run from 0 to 3, expected 0 to 2"),
        ([0, -1], [0, 0], "clusters run from -1 to 0"),
        ([0, 0], [0, 2], "labels run from 0 to 2, expected 0 to 1"),
        ([0, 0], [0], "2 examples against 1"),
        ([], [], "no examples"),
    ],
)
def test_values_outside_the_table_are_refused(clusters, labels, message):
    with pytest.raises(ValueError, match=message):
        cluster_table(np.array(clusters), np.array(labels), 3, 2)


# --------------------------------------------------------------------------------------------------- assignments


def test_by_hand():
    # One to one: 0 -> 0, 1 -> 1, 2 -> 2 agrees 3 + 2 + 1 = 6 times; 0 -> 1, 1 -> 0 only 1 + 2 + 1 = 4 times.
    assert one_to_one(TABLE).tolist() == [0, 1, 2]
    assert clustering_error(CLUSTERS, LABELS, one_to_one(TABLE)) == pytest.approx(3 / 9)
    # Majority: cluster 1 is undecided between classes 0 and 1 and takes the first; 3 + 2 + 1 agree.
    assert majority(TABLE).tolist() == [0, 0, 2]
    assert clustering_error(CLUSTERS, LABELS, majority(TABLE)) == pytest.approx(3 / 9)


def test_more_clusters_than_classes_by_hand():
    table = np.array([[5, 0], [4, 0], [1, 2]])
    assert one_to_one(table).tolist() == [0, -1, 1]
    assert majority(table).tolist() == [0, 0, 1]
    clusters, labels = np.repeat([0, 1, 2, 2], [5, 4, 1, 2]), np.repeat([0, 0, 0, 1], [5, 4, 1, 2])
    assert clustering_error(clusters, labels, one_to_one(table)) == pytest.approx(5 / 12)
    assert clustering_error(clusters, labels, majority(table)) == pytest.approx(1 / 12)


def test_thirty_perfect_clusters_of_ten_classes_score_a_third_one_to_one():
    clusters = np.repeat(np.arange(30), 4)
    labels = clusters % 10
    table = cluster_table(clusters, labels, 30, 10)
    assert clustering_error(clusters, labels, one_to_one(table)) == pytest.approx(2 / 3)
    assert clustering_error(clusters, labels, majority(table)) == 0


def test_fewer_clusters_than_classes_by_hand():
    table = np.array([[3, 2, 1], [4, 0, 1]])
    assert one_to_one(table).tolist() == [1, 0]
    assert majority(table).tolist() == [0, 0]


def test_empty_clusters_take_no_class():
    table = np.array([[0, 0], [4, 1], [0, 0]])
    assert one_to_one(table).tolist() == [-1, 0, -1]
    assert majority(table).tolist() == [-1, 0, -1]


def test_one_class_only():
    table = cluster_table(np.array([0, 1, 1]), np.array([0, 0, 0]), 2, 1)
    assert one_to_one(table).tolist() == [-1, 0]
    assert majority(table).tolist() == [0, 0]


@settings(max_examples=150, deadline=None)
@given(clusterings(largest=4))
def test_assignments_are_the_best_of_their_kind(case):
    clusters, labels, num_clusters, num_classes = case
    table = cluster_table(clusters, labels, num_clusters, num_classes)
    injective, free = one_to_one(table), majority(table)
    assert clustering_error(clusters, labels, injective) == pytest.approx(1 - best_injective(table) / len(labels))
    assert clustering_error(clusters, labels, free) == pytest.approx(1 - best_of_all_maps(table) / len(labels))
    taken = injective[injective >= 0]
    assert len(set(taken.tolist())) == len(taken)


@settings(max_examples=100, deadline=None)
@given(clusterings(), st.randoms(use_true_random=False))
def test_names_of_clusters_and_classes_do_not_matter(case, random):
    clusters, labels, num_clusters, num_classes = case
    new_clusters, new_classes = np.arange(num_clusters), np.arange(num_classes)
    random.shuffle(new_clusters)
    random.shuffle(new_classes)
    renamed = new_clusters[clusters], new_classes[labels]
    for fit in (one_to_one, majority):
        before = clustering_error(clusters, labels, fit(cluster_table(clusters, labels, num_clusters, num_classes)))
        after = clustering_error(*renamed, fit(cluster_table(*renamed, num_clusters, num_classes)))
        assert before == pytest.approx(after)
    for measure in (normalized_mutual_information, adjusted_rand_index):
        assert measure(clusters, labels) == pytest.approx(measure(*renamed), abs=1e-12)


def test_an_assignment_fitted_elsewhere_counts_unknown_clusters_as_errors():
    fitted = majority(cluster_table(np.array([0, 0, 1]), np.array([1, 1, 0]), 3, 2))
    assert fitted.tolist() == [1, 0, -1]
    assert assign(np.array([2, 1, 0, 0]), fitted).tolist() == [-1, 0, 1, 1]
    assert clustering_error(np.array([2, 1, 0, 0]), np.array([0, 0, 1, 0]), fitted) == 0.5
    with pytest.raises(ValueError, match="clusters run from 0 to 3"):
        assign(np.array([0, 3]), fitted)


def test_exemplars_by_hand():
    posteriors = np.array([[0.9, 0.1, 0.0], [0.6, 0.3, 0.1], [0.8, 0.0, 0.2], [0.3, 0.5, 0.2]])
    # Cluster 2 wins no example, and still takes a class: of the examples with 0.2 that of the first.
    assert exemplar(posteriors, np.array([4, 5, 6, 7])).tolist() == [4, 7, 6]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_exemplars_never_beat_the_majority(count, num_clusters, num_classes, seed):
    random = np.random.default_rng(seed)
    posteriors = random.dirichlet(np.ones(num_clusters), count)
    labels = random.integers(0, num_classes, count)
    clusters = posteriors.argmax(1)
    best = majority(cluster_table(clusters, labels, num_clusters, num_classes))
    error = clustering_error(clusters, labels, exemplar(posteriors, labels))
    assert error >= clustering_error(clusters, labels, best)


# --------------------------------------------------------------------------------------------------- other measures


def test_classification_error_is_a_fraction():
    assert classification_error(np.array([1, 2, 0, 0]), np.array([1, 2, 0, 1])) == 0.25
    assert classification_error(np.array([1]), np.array([1])) == 0
    with pytest.raises(ValueError, match="no examples"):
        classification_error(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="2 examples against 1"):
        classification_error(np.array([1, 1]), np.array([1]))


def test_normalized_mutual_information_by_hand():
    # Two even classes; cluster 0 has both halves mixed in part: joint (1/2, 0; 1/4, 1/4).
    clusters, labels = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1])
    information = 0.5 * log(0.5 / (0.5 * 0.75)) + 0.25 * log(0.25 / (0.5 * 0.75)) + 0.25 * log(0.25 / (0.5 * 0.25))
    entropies = log(2) - (0.75 * log(0.75) + 0.25 * log(0.25))
    assert normalized_mutual_information(clusters, labels) == pytest.approx(2 * information / entropies)


def test_adjusted_rand_index_by_hand():
    pairs = sum(comb(int(cell), 2) for cell in TABLE.flat)  # together in both: 3 + 1 + 1 = 5
    rows = sum(comb(int(size), 2) for size in TABLE.sum(1))  # 6 + 6 + 0
    columns = sum(comb(int(size), 2) for size in TABLE.sum(0))  # 10 + 3 + 0
    expected = rows * columns / comb(9, 2)
    assert adjusted_rand_index(CLUSTERS, LABELS) == pytest.approx(
        (pairs - expected) / ((rows + columns) / 2 - expected)
    )


def test_equal_partitions_agree_wholly_and_constant_ones_not_at_all():
    names = np.array([2, 0, 1])
    for measure in (normalized_mutual_information, adjusted_rand_index):
        assert measure(names[LABELS], LABELS) == pytest.approx(1)
        assert measure(np.zeros_like(LABELS), LABELS) == pytest.approx(0)
        assert measure(np.zeros(4, int), np.zeros(4, int)) == pytest.approx(1)


def test_component_use_is_the_share_of_each_component():
    assert component_use(np.array([0, 2, 2, 2]), 4).tolist() == [0.25, 0, 0.75, 0]
    with pytest.raises(ValueError, match="no examples"):
        component_use(np.array([], int), 4)
    with pytest.raises(ValueError, match="expected 0 to 1"):
        component_use(np.array([2]), 2)


def test_a_component_is_in_use_from_a_tenth_of_an_even_share_on():
    assert components_in_use([0.5, 0.5, 0.0, 0.0]) == 2
    assert components_in_use([0.951, 0.024, 0.025, 0.0]) == 2
    assert components_in_use(component_use(np.array([0] * 28 + [1, 2]), 3)) == 3  # 1/30 = 0.1 / 3
    assert components_in_use([float(f"{share:.6g}") for share in (28 / 30, 1 / 30, 1 / 30)]) == 3
    assert components_in_use(component_use(np.array([0] * 99 + [1]), 5)) == 1
    assert components_in_use([1.0]) == 1
    assert in_use([0.951, 0.024, 0.025, 0.0]).tolist() == [True, False, True, False]


def test_the_purity_of_a_component_is_the_share_of_its_commonest_class():
    assert component_purity(np.array([[3, 1], [0, 0], [0, 5]])).tolist() == [0.75, 0, 1]


def test_the_distance_of_components_is_in_standard_deviations_of_the_two():
    means, variances = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), np.ones((3, 2))
    assert component_distances([(means, variances)]).tolist() == [1, pytest.approx(18**0.5), 1]
    wide = np.array([[4.0, 4.0], [2.0, 2.0]])  # their mean variance is 3
    assert component_distances([(means[:2], wide)]).tolist() == pytest.approx([5 / 3**0.5] * 2)
    assert component_distances([(means[:1], variances[:1])]).tolist() == [math.inf]


def test_the_distance_of_components_with_covariances_is_that_along_their_difference():
    means = np.array([[0.0, 0.0], [1.0, 1.0], [3.0, -3.0]])
    along = np.array([[1.0, 0.5], [0.5, 1.0]])  # 3/2 along (1, 1), 1/2 along (1, -1)
    expected = [(2 / 1.5) ** 0.5, (2 / 1.5) ** 0.5, (18 / 0.5) ** 0.5]
    assert component_distances([(means, np.stack([along] * 3))]).tolist() == pytest.approx(expected)
    apart = [(means[:, :1], np.ones((3, 1))), (means[:, 1:], np.ones((3, 1)))]
    assert component_distances(apart).tolist() == component_distances([(means, np.ones((3, 2)))]).tolist()


def test_mean_entropy_is_in_nats():
    assert mean_entropy(np.eye(3)) == 0
    assert mean_entropy(np.full((5, 10), 0.1)) == pytest.approx(log(10))
    assert mean_entropy(np.array([[0.5, 0.5], [1.0, 0.0]], np.float32)) == pytest.approx(log(2) / 2)


# --------------------------------------------------------------------------------------------------- scores


def test_log_odds_by_hand():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    expected = np.log(probabilities / (1 - probabilities))
    assert log_odds(np.log(probabilities) + 7.0) == pytest.approx(expected)


def test_log_odds_tell_apart_posteriors_that_round_to_one():
    scores = np.array([[900.0, 0.0], [950.0, 0.0], [0.0, 800.0]])
    posteriors = softmax(scores, axis=1)
    assert posteriors[0, 0] == posteriors[1, 0] == 1
    labels = np.array([3, 5, 7])
    assert exemplar(posteriors, labels).tolist() == [3, 7]
    assert exemplar(log_odds(scores), labels).tolist() == [5, 7]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(2, 6), st.integers(0, 10**6))
def test_log_odds_order_examples_as_posteriors_do(count, num_clusters, seed):
    scores = np.random.default_rng(seed).normal(size=(count, num_clusters)).round(3)
    assert exemplar(log_odds(scores), np.arange(count)).tolist() == softmax(scores, axis=1).argmax(0).tolist()


def others_of_all(scores):
    """The same from a table (N, K, K) of all the others."""
    scores = scores.astype(np.float64)
    others = np.where(np.eye(scores.shape[1], dtype=bool), -np.inf, scores[:, np.newaxis, :])
    return scores - logsumexp(others, axis=2)


@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("size", [2, 3, 40])
def test_log_odds_are_those_of_a_table_of_all_the_others(size, spread):
    scores = spread * np.random.default_rng(size).normal(size=(50, size))
    scores[:5] = scores[:5, :1]  # all equal
    scores[5:10, 1] = scores[5:10].max(1)  # two are the largest
    scores = scores.astype(np.float32)
    assert log_odds(scores) == pytest.approx(others_of_all(scores), rel=1e-12, abs=1e-12 + 1e-15 * spread)
    before = scores.copy()
    log_odds(before.astype(np.float64))
    assert np.array_equal(before, scores)


def test_examples_are_worked_on_in_parts(monkeypatch):
    scores = np.random.default_rng(0).normal(size=(23, 7))
    whole = log_odds(scores), posterior_entropy(scores), log_evidence(scores), mean_entropy(softmax(scores, axis=1))
    monkeypatch.setattr(metrics, "_PART", 15)  # two examples at once
    parts = log_odds(scores), posterior_entropy(scores), log_evidence(scores), mean_entropy(softmax(scores, axis=1))
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("measure", [log_odds, posterior_entropy, log_evidence])
def test_what_is_computed_on_the_way_is_small_beside_the_scores(measure):
    scores = np.random.default_rng(0).normal(size=(1500, 1000))
    tracemalloc.start()
    measure(scores)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2.5 * scores.nbytes  # a table of all the others has 1,000 times as many numbers


def test_one_component_is_certain():
    assert np.isposinf(log_odds(np.array([[0.3], [-2.0]]))).all()
    assert posterior_entropy(np.array([[0.3], [-2.0]])) == 0


def test_the_posterior_s_entropy_is_that_of_its_probabilities():
    scores = np.log(np.array([[0.5, 0.5], [1.0, 1e-300]]))
    assert posterior_entropy(scores + 3) == pytest.approx(log(2) / 2)


def test_the_evidence_is_the_mixture_s_density():
    mixture = MixtureSameFamily(
        Categorical(torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)),
        Independent(
            Normal(torch.tensor([[0.0, 1.0], [2.0, -1.0], [-3.0, 0.5]]).double(), torch.tensor([0.5, 1.0]).double()), 1
        ),
    )
    z = torch.tensor([[0.1, 0.2], [2.0, 1.0], [-40.0, 30.0]], dtype=torch.float64)
    scores = mixture.component_distribution.log_prob(z[:, None]) + mixture.mixture_distribution.logits
    assert log_evidence(scores.numpy()) == pytest.approx(mixture.log_prob(z).numpy())


@pytest.mark.parametrize(("num_clusters", "num_classes"), [(2, 4), (4, 4), (5, 3), (6, 2)])
def test_protocols_against_every_map_there_is(num_clusters, num_classes):
    random = np.random.default_rng(num_clusters)
    clusters, labels = random.integers(0, num_clusters - 1, 40), random.integers(0, num_classes, 40)  # one is empty
    table = cluster_table(clusters, labels, num_clusters, num_classes)
    assert clustering_error(clusters, labels, one_to_one(table)) == pytest.approx(1 - best_injective(table) / 40)
    assert clustering_error(clusters, labels, majority(table)) == pytest.approx(1 - best_of_all_maps(table) / 40)
    assert majority(table)[-1] == one_to_one(table)[-1] == -1
