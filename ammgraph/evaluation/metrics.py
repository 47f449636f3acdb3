"""How well clusters and predictions agree with labels: numpy arrays in, floats (or small arrays) out.

N examples, K clusters, C classes; clusters and labels are integers from 0. Errors are fractions in [0, 1]. An
assignment is an integer array (K,): the class that each cluster stands for, or -1 where it stands for none. To say
which examples it was fitted on, and which were scored, is the caller's duty: published protocols differ in just that.
"""

import math
import pkgutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy  # loads its own parts where they are used

from ammgraph.spec.measures import MAJORITY, MEASURES, ONE_TO_ONE

Array = np.ndarray[Any, np.dtype[Any]]

NO_CLASS = -1
VOID = "the images have one label in all, with which everything agrees"  # why there is no error, NMI or ARI
NO_LABELS = "none of the examples has a label"  # another reason

# --------------------------------------------------------------------------------------------------- tables


def cluster_table(clusters: Array, labels: Array, num_clusters: int, num_classes: int) -> Array:
    """T[k, c] = number of examples i with clusters_i = k and labels_i = c; integers (K, C).

    With predicted classes as `clusters` it is the transposed confusion matrix: rows are predictions.
    """
    _check_same_length(clusters, labels)
    _check_range("clusters", clusters, num_clusters)
    _check_range("labels", labels, num_classes)
    cells = clusters.astype(np.int64) * num_classes + labels.astype(np.int64)
    return np.bincount(cells, minlength=num_clusters * num_classes).reshape(num_clusters, num_classes)


# --------------------------------------------------------------------------------------------------- assignments


def one_to_one(table: Array) -> Array:
    """`argmax over injective n of sum_k T[k, n(k)]`: no two clusters take one class (the Hungarian method).

    With K > C only C clusters take a class. Empty clusters take none: T says nothing about them.

    Args:
        table: counts (K, C) of `cluster_table`.

    Returns:
        The assignment, (K,).

    Reference:
        Jiang et al., Variational Deep Embedding, arXiv:1611.05148 (with K = C).
    """
    clusters, classes = scipy.optimize.linear_sum_assignment(table, maximize=True)
    assignment = np.full(len(table), NO_CLASS)
    assignment[clusters] = classes
    return np.where(table.sum(1) > 0, assignment, NO_CLASS)


def majority(table: Array) -> Array:
    """n(k) = argmax_c T[k, c]: each cluster takes its most frequent class, of equally frequent ones the first.

    Any number of clusters may take one class; empty clusters take none. This is eq. 17 of the AMM paper read literally
    (the maximum over *all* mappings), and the only protocol under which K > C can score well.

    Args:
        table: counts (K, C) of `cluster_table`.

    Returns:
        The assignment, (K,).
    """
    return np.where(table.sum(1) > 0, table.argmax(1), NO_CLASS)


def exemplar(posteriors: Array, labels: Array) -> Array:
    """n(k) = labels_i with i = argmax_i q(y = k | x_i): each cluster takes the class of its surest example.

    Every cluster takes a class, even one that wins no example. Never better than `majority` on the same examples.

    Args:
        posteriors: q(y | x), or what orders the examples of each k in the same way, as `log_odds`; (N, K).
        labels: (N,).

    Returns:
        The assignment, (K,).

    Reference:
        Makhzani et al., Adversarial Autoencoders, arXiv:1511.05644 (fitted on validation examples).
    """
    _check_same_length(posteriors, labels)
    return labels[posteriors.argmax(0)]


def log_odds(scores: Array) -> Array:
    """l_ik = s_ik - log sum_{j != k} exp(s_ij) = log(p_ik / (1 - p_ik)) for p = softmax(s); float64 (N, K).

    Orders examples as p_ik does, but still tells apart those whose p_ik rounds to 1, as `exemplar` must: of eq. 19's
    posteriors in 64 dimensions nearly all do. With K = 1 it is infinite.

    Args:
        scores: log-probabilities up to a constant of each row, (N, K).
    """
    odds = np.empty(scores.shape)
    for part in _parts(scores):
        odds[part] = _log_odds(scores[part].astype(np.float64))
    return odds


def _log_odds(scores: Array) -> Array:
    # The sum without the largest term is taken by itself: subtracting that term from the whole would leave rounding.
    rows, top = np.arange(len(scores)), scores.argmax(1)
    largest = scores[rows, top]
    scores[rows, top] = -np.inf
    with np.errstate(divide="ignore"):
        others = scipy.special.logsumexp(scores, axis=1)
        terms = np.exp(scores - largest[:, np.newaxis])
        odds = scores - largest[:, np.newaxis] - np.log1p(terms.sum(1, keepdims=True) - terms)
    odds[rows, top] = largest - others
    return odds


def assign(clusters: Array, assignment: Array) -> Array:
    """n(clusters_i): the class of each example's cluster, -1 where that stands for none; (N,)."""
    _check_range("clusters", clusters, len(assignment))
    return assignment[clusters]


ASSIGNMENTS = {ONE_TO_ONE: one_to_one, MAJORITY: majority}  # of a table; `exemplar` asks for more


def measured(name: str, *given: Array) -> float:
    """The measure of that name, from what it is called with."""
    function = MEASURES[name].function
    return float(pkgutil.resolve_name(function if "." in function else f"{__name__}.{function}")(*given))


# --------------------------------------------------------------------------------------------------- errors


def clustering_error(clusters: Array, labels: Array, assignment: Array) -> float:
    """1 - (1/N) sum_i 1{labels_i = n(clusters_i)}, in [0, 1]: 1 - ACC of eq. 17 of the AMM paper, for the given n.

    An example whose cluster stands for no class counts as an error. Eq. 17 fits n on the scored examples themselves; an
    assignment fitted elsewhere, as on validation examples, is scored by the same function.

    Args:
        clusters: (N,), below K.
        labels: (N,).
        assignment: (K,), of `one_to_one`, `majority` or `exemplar`.
    """
    return classification_error(assign(clusters, assignment), labels)


def classification_error(predictions: Array, labels: Array) -> float:
    """(1/N) sum_i 1{predictions_i != labels_i}, in [0, 1]."""
    _check_same_length(predictions, labels)
    return float(np.mean(predictions != labels))


# --------------------------------------------------------------------------------------------------- other measures


def normalized_mutual_information(clusters: Array, labels: Array) -> float:
    """2 I(clusters; labels) / (H(clusters) + H(labels)), in [0, 1]: the arithmetic mean normalises.

    Needs no assignment, but falls as K exceeds C: only numbers with one K are comparable. 0 if only one of the two is
    constant, 1 if both are.
    """
    from sklearn.metrics import normalized_mutual_info_score

    _check_same_length(clusters, labels)
    return float(normalized_mutual_info_score(labels, clusters, average_method="arithmetic"))


def adjusted_rand_index(clusters: Array, labels: Array) -> float:
    """(R - E[R]) / (max R - E[R]), R the number of pairs together in both; 0 by chance, 1 for equal partitions.

    Reference:
        Hubert and Arabie, Comparing Partitions, Journal of Classification 2, 1985.
    """
    from sklearn.metrics import adjusted_rand_score

    _check_same_length(clusters, labels)
    return float(adjusted_rand_score(labels, clusters))


def nearest_neighbor_error(known: Array, known_labels: Array, features: Array, labels: Array) -> float:
    """(1/N) sum_i 1{known_labels_j(i) != labels_i}, j(i) = argmin_j ||known_j - features_i||_2; in [0, 1].

    Args:
        known: features of the images that are searched, (M, D).
        known_labels: (M,).
        features: (N, D).
        labels: (N,).
    """
    from sklearn.neighbors import KNeighborsClassifier

    _check_same_length(features, labels)
    found = KNeighborsClassifier(1, algorithm="brute").fit(known, known_labels)
    return classification_error(found.predict(features), labels)


def linear_probe_error(known: Array, known_labels: Array, features: Array, labels: Array) -> float:
    """(1/N) sum_i 1{argmax_k (W f_i + b)_k != labels_i}, W and b by logistic regression on the known; in [0, 1].

    Features are standardised by the known ones'; the penalty is scikit-learn's, C = 1. Arguments as those of
    `nearest_neighbor_error`.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _check_same_length(features, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it has 200 steps, whether or not it would move on
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)).fit(known, known_labels)
    return classification_error(probe.predict(features), labels)


def told(values: Array, labels: Array) -> tuple[Array, Array]:
    """(values, labels) of the examples that have a label, -1 being none; of all, with one label, where none has one."""
    known = labels >= 0
    if known.all():
        return values, labels
    return (values[known], labels[known]) if known.any() else (values, np.zeros_like(labels))


def labels_tell(labels: Array) -> bool:
    """Whether there are two labels: with one alone whatever is constant has no error, and NMI and ARI mean nothing."""
    return len(labels) > 0 and bool((labels != labels[0]).any())


def component_use(clusters: Array, num_clusters: int) -> Array:
    """u_k = (1/N) sum_i 1{clusters_i = k}: the share of the examples in each component, float64 (K,), summing to 1."""
    _check_same_length(clusters, clusters)
    _check_range("clusters", clusters, num_clusters)
    return np.bincount(clusters, minlength=num_clusters) / len(clusters)


def in_use(shares: Array | Sequence[float]) -> Array:
    """1{u_k >= 0.1 / K}: which components have at least a tenth of an even share; booleans (K,).

    Args:
        shares: `component_use`, which may be rounded to six digits; (K,).
    """
    return np.asarray(10 * len(shares) * np.asarray(shares) >= 1 - 1e-5)


def components_in_use(shares: Array | Sequence[float]) -> int:
    """The number of components that are `in_use`."""
    return int(in_use(shares).sum())


def component_purity(table: Array) -> Array:
    """P_k = max_c T[k, c] / sum_c T[k, c]: the share of each component's commonest class, 0 where it is empty; (K,).

    Args:
        table: counts (K, C) of `cluster_table`.
    """
    return table.max(1) / np.maximum(table.sum(1), 1)


def component_distances(parts: Sequence[tuple[Array, Array]]) -> Array:
    """min_{l != k} sqrt((m_k - m_l)' ((S_k + S_l) / 2)^-1 (m_k - m_l)), S the covariances; (K,).

    In standard deviations: of two equal normal components at distance d the better guess is wrong with probability
    Phi(-d / 2), 0.31 at d = 1 and 0.02 at d = 4. Infinite with K = 1.

    Args:
        parts: means (K, n) and covariances of independent variables: variances (K, n), or matrices (K, n, n).
    """
    nearest = np.full(len(parts[0][0]), np.inf)
    for place in range(len(nearest)):
        squares = np.sum([_squared_distances(means, spread, place) for means, spread in parts], axis=0)
        squares[place] = np.inf
        nearest[place] = math.sqrt(squares.min())
    return nearest


def _squared_distances(means: Array, spread: Array, place: int) -> Array:
    far, between = means - means[place], 0.5 * (spread + spread[place])
    if spread.ndim == 2:
        return (far**2 / between).sum(1)
    return (far * np.linalg.solve(between, far[:, :, None])[:, :, 0]).sum(1)


def mean_entropy(probabilities: Array) -> float:
    """-(1/N) sum_i sum_k p_ik ln p_ik, in nats, with 0 ln 0 = 0; between 0 (one-hot) and ln K (uniform).

    Args:
        probabilities: (N, K), rows summing to 1.
    """
    _check_same_length(probabilities, probabilities)
    entropies = [scipy.special.entr(probabilities[part].astype(np.float64)).sum(1) for part in _parts(probabilities)]
    return float(np.concatenate(entropies).mean())


def posterior_entropy(scores: Array) -> float:
    """`mean_entropy` of softmax(scores), in nats: how undecided the rule is, from 0 (never) to ln K (always).

    Args:
        scores: log-probabilities up to a constant of each row, (N, K).
    """
    _check_same_length(scores, scores)
    parts = (scipy.special.softmax(scores[part].astype(np.float64), axis=1) for part in _parts(scores))
    entropies = [scipy.special.entr(probabilities).sum(1) for probabilities in parts]
    return float(np.concatenate(entropies).mean())


def log_evidence(scores: Array) -> Array:
    """Log sum_k exp(s_ik): for eq. 19's s_ik = log p(y = k) + log p(z_i | y = k) it is log p(z_i), in nats; (N,)."""
    return np.concatenate([scipy.special.logsumexp(scores[part].astype(np.float64), axis=1) for part in _parts(scores)])


_PART = 1 << 18  # numbers worked on at once, so that what is computed on the way stays small beside the scores


def _parts(table: Array) -> Iterator[slice]:
    """Ranges of examples, one after the other."""
    rows = max(1, _PART // table.shape[1])
    return (slice(start, start + rows) for start in range(0, len(table), rows))


def _check_same_length(first: Array, second: Array) -> None:
    if len(first) != len(second):
        raise ValueError(f"{len(first)} examples against {len(second)}")
    if not len(first):
        raise ValueError("no examples to score")


def _check_range(name: str, values: Array, size: int) -> None:
    # A value outside would not fail further on: it would count in a neighbouring cell.
    if len(values) and not 0 <= values.min() <= values.max() < size:
        raise ValueError(f"{name} run from {values.min()} to {values.max()}, expected 0 to {size - 1}")
