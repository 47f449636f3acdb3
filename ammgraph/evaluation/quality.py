"""How good samples are, by torch-fidelity: Frechet and kernel distances, inception score, precision and recall.

They mean something only with the feature extractor named, so that it is part of their name: `FID` is Inception's alone,
and the classifier that stands in for it gives `FID(classifier)`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ammgraph.data.dataset import Dataset, cache_folder
from ammgraph.data.records import Split
from ammgraph.diagnostics import RunError, counted
from ammgraph.evaluation.classifier import VERSION, cached_classifier
from ammgraph.evaluation.inception import PACKAGE, is_archive
from ammgraph.evaluation.results import SPLITS, Result, finite
from ammgraph.nn.model import Model
from ammgraph.plan.draws import DrawPlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import field_name, fields_of, generating_draw
from ammgraph.spec.measures import MEASURES

KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
NEIGHBORS = 3


@dataclass(frozen=True)
class QualityOptions:
    """How samples are scored.

    Args:
        count: the number of samples, and at most as many images of the split.
        seed: of the samples, the choice of images and subsets, and the classifier.
        weights: a file of Inception's weights, torch-fidelity's or `inception.installed_weights()`; without it a
            classifier is trained on the spot.
        cache: where trained classifiers are kept; the user's cache unless given.
    """

    count: int = 10_000
    seed: int = 0
    weights: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class _Extractor:
    """What torch-fidelity is told about a feature extractor, and what a person is told."""

    name: str
    path: Path
    suffix: str  # of the names of measures
    words: str
    rgb: bool
    logits: bool = True  # which the inception score needs


def measure_quality(
    model: Model, plan: Plan, dataset: Dataset, split: str, examples: Split, options: QualityOptions
) -> list[Result]:
    """FID, KID, inception score, precision and recall of every image variable that priors and networks generate.

    Each is compared with the images that it is in the data; one that data do not have is compared with nothing.

    Args:
        model: the weights that generate.
        plan: the compiled spec.
        dataset: what the classifier is trained on.
        split: the name of the records that samples are compared with.
        examples: these records.
        options: how many, by which features.

    Raises:
        RunError: `weights` are not Inception's; or there are too few images.
    """
    if min(options.count, len(examples)) < 2 * NEIGHBORS:
        raise RunError(f"the quality of samples needs at least {2 * NEIGHBORS} samples and as many images")
    extractors: dict[str, _Extractor] = {}  # by the field that the images are
    found: list[Result] = []
    for name, draw in _generated(plan).items():
        field = field_name(plan, name)
        if field not in extractors:
            extractors[field] = _extractor(dataset, field, options, next(model.parameters()).device)
        extractor = extractors[field]
        chosen = _images_of(examples, field).at(_choice(len(examples), options))
        numbers = _calculate(model, plan, draw, name, chosen, extractor, options)
        found += _results(numbers, name, draw, split, chosen, extractor, options)
    return found


def check_generates(plans: Iterable[Plan]) -> None:
    """Whether there are samples to score on one of the data sets.

    Raises:
        RunError: there are none.
    """
    if not any(map(_generated, plans)):
        what = "no distribution draws an image that data have by networks from priors alone"
        raise RunError(f"the quality of samples cannot be measured: {what}; leave `quality` out")


def _generated(plan: Plan) -> dict[str, DrawPlan]:
    """The image variables that data have and priors and networks generate, each with what draws it."""
    taken = fields_of(factor for draw in plan.draws for factor in draw.factors)
    draws = {v.name: generating_draw(plan, v.name) for v in plan.variables if taken.get(v.name) == "image"}
    return {name: draw for name, draw in draws.items() if draw is not None}


def _images_of(split: Split, field: str) -> Split:
    """The records with these images for their only ones."""
    return replace(split, images=split.of("image", field), others={})


def _choice(count: int, options: QualityOptions) -> torch.Tensor:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(options.seed))
    return order[: options.count].sort().values


def _extractor(dataset: Dataset, field: str, options: QualityOptions, device: torch.device) -> _Extractor:
    from ammgraph.evaluation import fidelity

    fidelity.use_extractors()
    every = _images_of(dataset.train, field)
    if options.weights is not None:
        archive = _is_archive(options.weights)
        name = fidelity.ARCHIVE if archive else fidelity.INCEPTION
        source = f" by the weights of {PACKAGE}" if archive else ""
        grey = every.images.shape[1] == 1
        suffix, words = ("(inception, grey as RGB)", ", grey images as RGB") if grey else ("", "")
        words = f"{fidelity.INCEPTION}{source}{words}"
        return _Extractor(name, options.weights, suffix, words, True, logits=not archive)
    tested, split = dataset.scored() if dataset.validation is None else ("validation", dataset.validation)
    folder = options.cache or cache_folder("classifiers")
    train, held_out = every.told(), (tested, _images_of(split, field).told())
    if not len(train) or not len(held_out[1]):
        raise RunError(f"no image of {dataset.name} to train or to test a classifier on has a label")
    trained = cached_classifier(train, len(dataset.classes), held_out, options.seed, folder, device)
    of = f"`{field}` of {dataset.name}" if field else dataset.name
    words = (
        f"classifier v{VERSION} of {of}, trained on {len(train):,} labelled images, seed "
        f"{options.seed}, error {100 * trained.error:.2f} % on "
        f"{counted(trained.examples, f'{SPLITS[trained.split]} image')}"
    )
    return _Extractor(fidelity.CLASSIFIER, trained.path, "(classifier)", words, False)


def _is_archive(path: Path) -> bool:
    """Whether these are the weights that a package carries. torch-fidelity unpickles others: nothing but tensors."""
    advice = "expected torch-fidelity's weights-inception-2015-12-05-6726825d.pth"
    try:
        if is_archive(path):
            return True
        names = torch.load(path, map_location="cpu", weights_only=True).keys()
    except OSError as error:
        raise RunError(f"cannot read the Inception weights {path}: {error.strerror or error}; {advice}") from error
    except Exception as error:  # whatever a foreign file makes the reader do
        raise RunError(f"{path} holds no weights ({type(error).__name__}); {advice}") from error
    if "Mixed_7c.branch_pool.conv.weight" not in names:
        raise RunError(f"{path} holds other weights than Inception's; {advice}")
    return False


def _calculate(
    model: Model,
    plan: Plan,
    draw: DrawPlan,
    variable: str,
    chosen: Split,
    extractor: _Extractor,
    options: QualityOptions,
) -> Mapping[str, Any]:
    from ammgraph.evaluation import fidelity

    channels = plan.variable(variable).shape[0]
    if extractor.rgb and channels not in (1, 3):
        raise RunError(f"Inception takes grey and RGB images, but `{variable}` has {channels} channels")
    smaller = min(options.count, len(chosen))
    numbers: Mapping[str, Any] = fidelity.calculate_metrics(
        input1=fidelity.Generator(model, plan, draw, variable, extractor.rgb),
        input1_model_num_samples=options.count,
        input2=fidelity.Images(chosen.held(), extractor.rgb),
        isc=extractor.logits,
        fid=True,
        kid=True,
        prc=True,
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, smaller),
        prc_neighborhood=NEIGHBORS,
        prc_batch_size=2000,
        feature_extractor=extractor.name,
        feature_extractor_weights_path=str(extractor.path),
        batch_size=200,
        rng_seed=options.seed,
        cuda=next(model.parameters()).device.type == "cuda",
        save_cpu_ram=True,  # also: no worker processes
        cache=False,
        verbose=False,
    )
    return numbers


def _results(
    numbers: Mapping[str, Any],
    variable: str,
    draw: DrawPlan,
    split: str,
    chosen: Split,
    extractor: _Extractor,
    options: QualityOptions,
) -> list[Result]:
    neighbors = f"{NEIGHBORS} neighbours"
    kid = f"{KID_SUBSETS} subsets of {min(KID_SUBSET_SIZE, options.count, len(chosen)):,}"
    protocols = {"KID": kid, "precision": neighbors, "recall": neighbors}
    factors = " ".join(factor.text for factor in draw.factors)
    tool = f"torch-fidelity {version('torch-fidelity')}"
    by = f"{options.count:,} samples of {factors}, seed {options.seed}, by {tool}; features: {extractor.words}"
    return [
        Result(
            name=f"{name}{extractor.suffix}",
            variable=variable,
            value=finite(numbers[measure.function]),
            unit=measure.unit,
            examples=len(chosen),
            split=split,
            part="quality",
            by=by,
            protocol=protocols.get(name, ""),
            std=finite(numbers[measure.function.removesuffix("mean") + "std"])
            if measure.function.endswith("_mean")
            else None,
        )
        for name, measure in MEASURES.items()
        if measure.of == "samples" and measure.function in numbers
    ]
