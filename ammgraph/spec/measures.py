"""Measures: what an evaluation finds, by name. One entry each, read by everything that computes, prints or compares."""

from dataclasses import dataclass
from typing import Literal

ONE_TO_ONE, MAJORITY = "one-to-one", "majority"  # assignments of clusters to classes, eq. 17


@dataclass(frozen=True)
class Measure:
    """A number of an evaluation, and its meaning.

    Args:
        meaning: what it is, for the reference.
        unit: `fraction`, `nats`, ...; empty where it has none.
        better: which way is better, where one is.
        of: what `function`, of `evaluation.metrics` or by its whole dotted name, is called with: `clusters` and labels;
            `assigned` clusters, labels and an assignment of classes; predicted `classes` and labels; `features` and
            labels of training images, then of the scored ones; or `samples`, of which it is torch-fidelity's key. Empty
            where the evaluation has a way of its own.
        words: how people write it; the name unless given.
        protocol: what one must know beside the name.
    """

    meaning: str
    unit: str = ""
    better: Literal["", "lower", "higher"] = ""
    of: Literal["", "clusters", "assigned", "classes", "features", "samples"] = ""
    function: str = ""
    words: str = ""
    protocol: str = ""

    @property
    def agreement(self) -> bool:
        """Whether it says how well a variable agrees with labels, as published numbers do."""
        return self.of in ("clusters", "assigned", "classes", "features")


MEASURES: dict[str, Measure] = {
    "clustering_error": Measure(
        "share of images whose cluster stands for another class, by a one-to-one, majority or exemplar assignment",
        "fraction",
        "lower",
        "assigned",
        "clustering_error",
    ),
    "classification_error": Measure(
        "share of images with another class, of a variable that labels supervise",
        "fraction",
        "lower",
        "classes",
        "classification_error",
    ),
    "nmi": Measure(
        "normalised mutual information of clusters and labels",
        better="higher",
        of="clusters",
        function="normalized_mutual_information",
        words="NMI",
        protocol="arithmetic mean",
    ),
    "ari": Measure(
        "adjusted Rand index of clusters and labels: 0 by chance, 1 if equal",
        better="higher",
        of="clusters",
        function="adjusted_rand_index",
        words="ARI",
    ),
    "knn_error": Measure(
        "share of images of another class than the training image with the nearest features, in Euclidean distance",
        "fraction",
        "lower",
        "features",
        "nearest_neighbor_error",
        words="1-NN error",
    ),
    "probe_error": Measure(
        "share of images that a linear classifier of the features, fitted on training images, gets wrong",
        "fraction",
        "lower",
        "features",
        "linear_probe_error",
        words="linear probe's error",
        protocol="logistic regression of standardised features, L2 penalty 1",
    ),
    "components_in_use": Measure("categories with at least a tenth of an even share of the images", "components"),
    "component_use": Measure("share of the images in each category", "fraction"),
    "component_purity": Measure("share of the commonest class among the images in each category", "fraction"),
    "posterior_entropy": Measure("mean entropy of the rule's probabilities: 0 where it is sure", "nats"),
    "rule_disagreement": Measure(
        "share of images for which the posterior and the Bayes rule choose different categories", "fraction", "lower"
    ),
    "component_distance": Measure(
        "distance of each component's mean from the nearest other, in standard deviations of the two", better="higher"
    ),
    "latent_mismatch": Measure(
        "KL of inferred latents, by their mean and variance, or covariance, for each category, from the latents it "
        "generates from, divided by their dimensions",
        "nats",
        "lower",
    ),
    "log_density": Measure("mean log p(z) of inferred z under the mixture of eq. 19", "nats", "higher"),
    "log_density_per_dimension": Measure("the same, divided by the dimensions of z", "nats", "higher"),
    "reconstruction_error": Measure(
        "mean square over pixels of an image less its reconstruction", "squared intensity", "lower"
    ),
    "mean_image_error": Measure("the same of an image less the mean of all images", "squared intensity"),
    "exchanged_error": Measure("the same of an image less the reconstruction of another one", "squared intensity"),
    "FID": Measure(
        "Frechet distance of features of samples and images", "", "lower", "samples", "frechet_inception_distance"
    ),
    "KID": Measure(
        "kernel distance of features of samples and images", "", "lower", "samples", "kernel_inception_distance_mean"
    ),
    "IS": Measure("inception score of samples", "", "higher", "samples", "inception_score_mean"),
    "precision": Measure("share of samples among the images", "fraction", "higher", "samples", "precision"),
    "recall": Measure("share of images among the samples", "fraction", "higher", "samples", "recall"),
}


def first_protocol(components: int, classes: int) -> str:
    """By which assignment a clustering error is told first: one-to-one, or majority where components outnumber classes.

    Of more components than classes a one-to-one assignment leaves some without a class, and all their examples wrong.
    Where nobody says how many classes there are, 0, or where one is no class beside others, it is one-to-one.
    """
    return MAJORITY if 1 < classes < components else ONE_TO_ONE


def words(name: str) -> str:
    """A measure as people write it: `clustering error`, `NMI`; of features by name, `FID(classifier)`, as it stands."""
    return (MEASURES[name].words if name in MEASURES else "") or name.replace("_", " ")
