"""What an evaluation finds: every measure that applies to a model, each with its rule, protocol and number of examples.

measure        a model and a split -> results
evaluate_run   a run directory -> `evaluation.json`
"""

import logging
import math
import warnings
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from ammgraph.data.dataset import Dataset, fingerprints
from ammgraph.data.records import Split, evenly
from ammgraph.diagnostics import RunError, counted
from ammgraph.evaluation import metrics, results
from ammgraph.evaluation.components import measure_components
from ammgraph.evaluation.evaluate import RULES, Answers, ask, askable, classes_of, labels_of, rule_text
from ammgraph.evaluation.features import features_of
from ammgraph.evaluation.loading import LoadedRun, load_run
from ammgraph.evaluation.metrics import Array
from ammgraph.evaluation.quality import QualityOptions, check_generates, measure_quality
from ammgraph.evaluation.results import Common, Evaluation, Result
from ammgraph.nn.model import Model
from ammgraph.plan.evaluation_cost import BASELINE
from ammgraph.plan.identity import plan_hash
from ammgraph.plan.plan import FeaturePlan, Plan, ReadoutPlan
from ammgraph.plan.queries import label_name
from ammgraph.runs.run import Place
from ammgraph.spec.measures import MEASURES
from ammgraph.train.memory import check_evaluation_memory

logger = logging.getLogger(__name__)

K_MEANS_RESTARTS = 10
_VALUES = {"image": "pixels", "vector": "vectors"}  # what k-means clusters


@dataclass(frozen=True, eq=False)
class _Scored:
    """What one rule chose for one variable on one split, with the labels: of the examples that have one.

    `exemplars` are the classes of the surest example of each component, where the rule says how sure it is.
    """

    split: str
    chosen: Array
    size: int  # K
    labels: Array
    exemplars: Array | None = None

    @classmethod
    def of(cls, split: str, scores: Array, labels: Array, supervised: bool) -> "_Scored":
        """From log-probabilities up to a constant of each row."""
        scores, labels = metrics.told(scores, labels)
        exemplars = None if supervised else metrics.exemplar(metrics.log_odds(scores), labels)
        return cls(split, scores.argmax(1), scores.shape[1], labels, exemplars)


def evaluate_run(
    folder: Path,
    place: Place,
    split: str | None = None,
    baseline: bool = True,
    quality: QualityOptions | None = None,
) -> Evaluation:
    """Score the newest checkpoint of a run and write its `evaluation.json`; nothing else in the run is changed.

    What was measured before on the same weights and is not measured now, as on another split, stays in the file. Where
    the file cannot be written, as in a run that may only be read, that is a warning.

    Args:
        folder: the run directory.
        place: its device and its data.
        split: `train`, `validation` or `test`; without it test or, where there is none, train.
        baseline: whether k-means on the same images is measured too.
        quality: how to measure the quality of samples; None leaves it out.

    Raises:
        RunError: as `load_run`; the split is not there.
    """
    return evaluate_and_write(load_run(folder, place), split, baseline, quality)


def evaluate_and_write(
    loaded: LoadedRun, split: str | None = None, baseline: bool = True, quality: QualityOptions | None = None
) -> Evaluation:
    """Score a run that is loaded, and write its `evaluation.json`; see `evaluate_run`."""
    before = _readable(loaded.folder)
    evaluation = evaluate_loaded(loaded, split, baseline, quality, before).merged(before)
    try:
        results.write(loaded.folder, evaluation)
    except RunError as error:
        logger.warning(f"{error}; what was found is not kept")
    return evaluation


def evaluate_loaded(
    loaded: LoadedRun,
    split: str | None = None,
    baseline: bool = True,
    quality: QualityOptions | None = None,
    before: Evaluation | None = None,
) -> Evaluation:
    """Score a run that is loaded; see `evaluate_run`. Writes nothing.

    A baseline that stands in an evaluation of the same data set `before` is taken from there.
    """
    if quality is not None:
        check_generates(part.plan for part in loaded.parts)
    name = scored_split(loaded.dataset, split)
    data_sha256 = fingerprints(loaded.dataset)
    if before is not None and not before.is_on(loaded.dataset.told, data_sha256):
        before = None
    found = [result for part in loaded.parts for result in _evaluated(part, name, baseline, quality, before)]
    of_data = {part.dataset.classes for part in loaded.parts}
    classes = of_data.pop() if len(of_data) == 1 else ()
    of_each = {
        readout.name: classes_of(part.plan, readout.variable, part.dataset.train, part.dataset.classes)
        for part in loaded.parts
        for readout in part.plan.readouts
    }
    return Evaluation(
        title=loaded.title,
        run=loaded.settings.name,
        plan=plan_hash(loaded.plan),
        seed=loaded.settings.seed,
        step=loaded.step,
        weights=loaded.weights,
        data=loaded.dataset.told,
        split=name,
        results=tuple(found),
        classes=classes,
        data_sha256=data_sha256,
        own_classes={variable: names for variable, names in of_each.items() if names != classes},
    )


def _evaluated(
    loaded: LoadedRun, name: str, baseline: bool, quality: QualityOptions | None, before: Evaluation | None
) -> list[Result]:
    """Every measure of what can be asked about the records of one data set."""
    _, examples = find_split(loaded.dataset, name)
    examples = askable(loaded.plan, name, examples)
    check_evaluation_memory(loaded.plan, len(examples), len(loaded.dataset.validation or ()))
    found = measure(loaded.model, loaded.plan, name, examples, loaded.dataset.validation)
    if baseline:
        for readout in loaded.plan.readouts:
            if not readout.supervised:
                found += _baseline(loaded, readout, name, examples, before)
    if loaded.plan.features is not None:
        found += _features(loaded, loaded.plan.features, name, examples)
    if quality is not None:
        found += measure_quality(loaded.model, loaded.plan, loaded.dataset, name, examples, quality)
    return [replace(_reasoned(loaded, examples, result), example=examples.kind) for result in found]


def scored_split(dataset: Dataset, wanted: str | None) -> str:
    """The name of the split that is scored: test or, where a data set has none, train.

    Raises:
        RunError: a data set has no split of that name.
    """
    without = [f"`data.{of}`" for of, found in dataset.named.items() if wanted not in (None, *splits_of(found))]
    if 0 < len(without) < len(dataset.named):
        there = [f"`data.{of}`" for of in dataset.named if f"`data.{of}`" not in without]
        raise RunError(
            f"{' and '.join(without)} {'has' if len(without) == 1 else 'have'} no split `{wanted}` here, and "
            f"{' and '.join(there)} {'has' if len(there) == 1 else 'have'} one; one split is scored, of every data set"
        )
    names = {find_split(found, wanted)[0] for found in dataset.by_name.values()}
    return names.pop() if len(names) == 1 else "train"


def splits_of(dataset: Dataset) -> dict[str, Split]:
    """The splits that there are, by name."""
    found = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
    return {name: split for name, split in found.items() if split is not None}


def find_split(dataset: Dataset, wanted: str | None) -> tuple[str, Split]:
    """The split of that name; without a name the test or, where there is none, the training split.

    Raises:
        RunError: the data set has no such split.
    """
    if wanted is None:
        return dataset.scored()
    found = splits_of(dataset)
    split = found.get(wanted)
    if split is None:
        known = ", ".join(f"`{name}`" for name in found)
        raise RunError(f"{dataset.name} has no split `{wanted}` here, only {known}: {dataset.description}")
    return wanted, split


def measure(model: Model, plan: Plan, split: str, examples: Split, validation: Split | None = None) -> list[Result]:
    """Every measure that applies to what the spec's variables are.

    A variable that no label supervises is clustered: errors of eq. 17 by the three protocols, each fitted on the scored
    examples and, where there are some, on the validation examples; NMI; ARI. One that labels supervise is classified:
    its error. Both from q(y|x) and from eq. 19. Also how components are used, log p(z) and the reconstruction error.

    Args:
        model: the weights to score.
        plan: the compiled spec.
        split: the name of the scored split.
        examples: the scored split; its labels serve for nothing but the score.
        validation: images on which assignments are fitted as well.
    """
    answers = ask(model, plan, examples)
    apart = askable(plan, "validation", validation) if validation is not None and split != "validation" else None
    clusters = any(not readout.supervised for readout in plan.readouts)
    fitting = ask(model, plan, apart, reconstructions=False) if apart is not None and clusters else None
    found: list[Result] = []
    for readout in plan.readouts:
        for rule in ("posterior", "bayes"):
            key = readout.variable, rule
            if key in answers.scores:
                labels = labels_of(plan, readout.variable, examples)
                scored = _Scored.of(split, answers.scores[key], labels, readout.supervised)
                fitted = [scored]
                if fitting is not None and apart is not None and not readout.supervised:
                    labels = labels_of(plan, readout.variable, apart)
                    if (labels >= 0).any():  # else there is nothing to fit an assignment on
                        fitted.append(_Scored.of("validation", fitting.scores[key], labels, False))
                common = Common(readout.name, rule, rule_text(plan, readout, rule), split, len(examples))
                category = _category(common, scored, fitted, answers.scores[key], readout.supervised)
                found += _without_labels(plan, readout, category)
        found += _rules(plan, readout, split, answers) + measure_components(model, plan, readout, split, answers)
    return found + _log_densities(plan, split, answers) + _reconstructions(plan, split, answers)


# --------------------------------------------------------------------------------------------------- categories


def _category(
    common: "Common", scored: _Scored, fitted: list[_Scored], scores: Array, supervised: bool
) -> list[Result]:
    compared = replace(common, examples=len(scored.labels))
    if supervised:
        found = [
            compared.result(name, metrics.measured(name, scored.chosen, scored.labels))
            for name, measure in MEASURES.items()
            if measure.of == "classes"
        ]
        agreement = _told_by(found, scored.labels)
    else:
        agreement = _agreement(common, scored, fitted)
    if not supervised:
        table = metrics.cluster_table(scored.chosen, scored.labels, scored.size, int(scored.labels.max()) + 1)
        purity = compared.result(
            "component_purity", tuple(metrics.component_purity(table).tolist()), "of each component"
        )
        agreement += _told_by([purity], scored.labels)
    use = metrics.component_use(scores.argmax(1), scored.size)
    return [
        *agreement,
        common.result("components_in_use", metrics.components_in_use(use), f"of {scored.size}"),
        common.result("component_use", tuple(use.tolist()), "of each component"),
        common.result("posterior_entropy", metrics.posterior_entropy(scores)),
    ]


def _agreement(common: Common, scored: _Scored, fitted: list[_Scored]) -> list[Result]:
    """How well clusters agree with labels: by every protocol and every fit, and without an assignment."""
    common = replace(common, examples=len(scored.labels))
    found = []
    for name, measure in MEASURES.items():
        if measure.of == "clusters":
            found.append(common.result(name, metrics.measured(name, scored.chosen, scored.labels)))
        if measure.of != "assigned":
            continue
        for protocol, fit in product((*metrics.ASSIGNMENTS, "exemplar"), fitted):
            assignment = _assignment(protocol, fit)
            if assignment is not None:
                error = metrics.measured(name, scored.chosen, scored.labels, assignment)
                result = common.result(name, error, protocol, (fit.split, len(fit.labels)))
                found.append(replace(result, assignment=tuple(assignment.tolist())))
    return _told_by(found, scored.labels)


def _without_labels(plan: Plan, readout: ReadoutPlan, found: list[Result]) -> list[Result]:
    """Results of a category about which no labels tell, with the reason."""
    if label_name(plan, readout.variable) is not None:
        return found
    void = f"the labels are another variable's; `data.fields: {{{readout.variable}: NAME}}` gives it its own"
    return [replace(result, void=void) if result.void == metrics.VOID else result for result in found]


def _reasoned(loaded: LoadedRun, examples: Split, result: Result) -> Result:
    """A result that says so where it is void because there are no labels."""
    if result.void != metrics.VOID:
        return result
    categories = {readout.name: readout.variable for readout in loaded.plan.readouts}
    category = categories.get(result.variable)
    labels = examples.labels if category is None else labels_of(loaded.plan, category, examples)
    told = loaded.dataset.labelled and bool((labels >= 0).any())
    return replace(result, void=metrics.VOID.replace("image", examples.kind) if told else metrics.NO_LABELS)


def _told_by(found: list[Result], labels: Array) -> list[Result]:
    """Agreements with labels, void where these tell nothing apart."""
    if metrics.labels_tell(labels):
        return found
    return [replace(result, value=None, void=metrics.VOID) for result in found]


def _assignment(protocol: str, fit: _Scored) -> Array | None:
    if protocol == "exemplar":
        return fit.exemplars
    table = metrics.cluster_table(fit.chosen, fit.labels, fit.size, int(fit.labels.max()) + 1)
    return metrics.ASSIGNMENTS[protocol](table)


# --------------------------------------------------------------------------------------------------- other measures


def _rules(plan: Plan, readout: ReadoutPlan, split: str, answers: Answers) -> list[Result]:
    """How often q(y|x) and eq. 19 choose different categories."""
    by_rule = [answers.scores.get((readout.variable, rule)) for rule in RULES.values()]
    chosen = [scores.argmax(1) for scores in by_rule if scores is not None]
    if len(chosen) < 2:
        return []
    both = " against ".join(rule_text(plan, readout, rule) for rule in RULES.values())
    common = Common(readout.name, "", both, split, len(chosen[0]))
    return [common.result("rule_disagreement", metrics.classification_error(*chosen))]


def _log_densities(plan: Plan, split: str, answers: Answers) -> list[Result]:
    """Log p(z) = log sum_k p(y = k) p(z | y = k) of inferred z, where eq. 19 applies."""
    found = []
    for readout in plan.readouts:
        scores = answers.scores.get((readout.variable, "bayes"))
        if scores is None or readout.bayes is None:
            continue
        evidence = readout.bayes.evidence
        mean = float(metrics.log_evidence(scores).mean())
        size = sum(int(np.prod(plan.variable(name).shape)) for name in evidence)
        draw, infer = plan.draw(readout.bayes.draw), plan.draw(readout.draw)
        factors = " ".join(draw.factor_of(name).text for name in (readout.variable, *evidence))
        inferred = " ".join(infer.factor_of(name).text for name in evidence)
        common = Common(", ".join(evidence), "", f"sum over {readout.variable} of {factors}", split, len(scores))
        protocol = f"at the mean of {inferred}"
        found.append(common.result("log_density", mean, protocol))
        found.append(common.result("log_density_per_dimension", mean / size, protocol))
    return found


def _reconstructions(plan: Plan, split: str, answers: Answers) -> list[Result]:
    found = []
    for item in plan.reconstructions:
        errors = answers.errors[item.variable]
        variable = plan.variable(item.variable)
        low, high = variable.range or (0.0, 1.0)
        scale = {"none": "as they are"}.get(plan.data.scale, f"scaled by `{plan.data.scale}`")
        over = f"numbers, {scale}" if variable.vector else f"pixels, range [{low:g}, {high:g}]"
        protocol = f"mean over {over}, latents at their means"
        common = Common(item.variable, "", f"{item.infer}, then {item.generate}", split, len(errors))
        values = {"reconstruction_error": float(errors.mean())}
        for name in ("mean_image_error", "exchanged_error"):
            values[name] = getattr(answers.pixels[item.variable], name)
        results = [common.result(name, value, protocol) for name, value in values.items()]
        found += [replace(result, unit="") for result in results] if variable.vector else results
    return found


def _baseline(
    loaded: LoadedRun, readout: ReadoutPlan, split: str, examples: Split, before: Evaluation | None
) -> list[Result]:
    """k-means with as many clusters: what clustering pixels gives, on the scored images or an even choice of 10,000."""
    size = loaded.plan.variable(readout.variable).shape[0]
    by = f"k-means on {_VALUES[examples.kind]}, {K_MEANS_RESTARTS} restarts, seed 0, K = {size}"
    if before is not None:
        known = [result for result in before.of(split) if (result.by, result.variable) == (by, readout.name)]
        if known:
            return known
    some = examples.some(BASELINE)
    scored = _k_means(split, _numpy(some.points), labels_of(loaded.plan, readout.variable, some), size)
    common = Common(readout.name, "k-means", by, split, len(scored.labels))
    found = [replace(result, part="baseline") for result in _agreement(common, scored, [scored])]
    return _without_labels(loaded.plan, readout, found)


def _features(loaded: LoadedRun, wanted: FeaturePlan, split: str, examples: Split) -> list[Result]:
    """How a row's values part the classes: by labelled training images, and by k-means with as many clusters."""
    train = askable(loaded.plan, "train", loaded.dataset.train).told()
    values, labels = metrics.told(features_of(loaded.model, loaded.plan, wanted, examples), _numpy(examples.labels))
    found = []
    if split == "train":
        void = f"the images that are searched are the scored ones; {_scores_others(loaded.dataset)}"
        common = Common(wanted.name, "", "", split, len(labels))
        found += [
            replace(common.result(name, math.nan), void=void) for name, m in MEASURES.items() if m.of == "features"
        ]
    elif metrics.labels_tell(_numpy(train.labels)):
        known = features_of(loaded.model, loaded.plan, wanted, train), _numpy(train.labels)
        for name, measure in MEASURES.items():
            if measure.of == "features":
                every = slice(None) if name == "knn_error" else evenly(len(train), BASELINE).numpy()
                some = tuple(part[every] for part in known)
                by = f"by {counted(len(some[0]), 'training image')}"
                common = Common(wanted.name, "", by, split, len(labels))
                found += _told_by([common.result(name, metrics.measured(name, *some, values, labels))], labels)
    chosen, size = evenly(len(labels), BASELINE).numpy(), len(np.unique(labels))
    scored = _k_means(split, values[chosen], labels[chosen], size)
    by = f"k-means on {wanted.name}, {K_MEANS_RESTARTS} restarts, seed 0, K = {size}"
    return found + _agreement(Common(wanted.name, "k-means", by, split, len(chosen)), scored, [scored])


def _scores_others(dataset: Dataset) -> str:
    """What scores other examples than those of training: a split that every data set has, else one to hold out."""
    for name in ("test", "validation"):
        if all(name in splits_of(found) for found in dataset.by_name.values()):
            return f"`evaluate --split {name}` scores others"
    return "`data.validation` of a new run holds out others, which `evaluate --split validation` scores"


def _k_means(split: str, points: Array, labels: Array, size: int) -> _Scored:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct images than clusters
        clusters = KMeans(min(size, len(points)), n_init=K_MEANS_RESTARTS, random_state=0).fit_predict(points)
    clusters, labels = metrics.told(clusters, labels)
    return _Scored(split, clusters, size, labels)


def _readable(folder: Path) -> Evaluation | None:
    """What was evaluated before; a file that cannot be read is written anew."""
    try:
        return results.read(folder)
    except RunError:
        return None


def _numpy(values: torch.Tensor) -> Array:
    return values.cpu().numpy()
