"""Which class a cluster stands for, and in which order clusters and classes stand: the same in every figure.

T[k, c] counts images of class c in cluster k. Axes: K clusters, C classes.
"""

import numpy as np

from ammgraph.evaluation.metrics import NO_CLASS, Array, majority, one_to_one
from ammgraph.spec.measures import MAJORITY, first_protocol


def protocol(table: Array) -> str:
    """By which assignment clusters get their classes: that by which their error is told first."""
    return first_protocol(*table.shape)


def classes_of_clusters(table: Array) -> Array:
    """(K,) the class of each cluster by `protocol`; `NO_CLASS` of those that have none, as of empty ones."""
    return majority(table) if protocol(table) == MAJORITY else one_to_one(table)


def cluster_order(table: Array) -> Array:
    """(K,) clusters by class, the largest first; those without one come after, by commonest class; empty ones last."""
    classes = classes_of_clusters(table)
    place = np.where(classes == NO_CLASS, table.shape[1] + table.argmax(1), classes)
    sizes = table.sum(1)
    return np.lexsort((-sizes, np.where(sizes == 0, 2 * table.shape[1], place)))


def class_order(classes: Array, size: int) -> Array:
    """(C,) classes that a cluster of these stands for, then the others: what is matched is a diagonal."""
    return np.argsort(~np.isin(np.arange(size), classes), kind="stable")
