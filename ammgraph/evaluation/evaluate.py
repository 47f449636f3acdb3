"""What a trained model says about images, and how right it is: all of it follows from what its variables are.

Networks run in eval mode with mean-mode inference: batch norm by running statistics, no masks, every `expn` 0 (R17).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ammgraph.data.records import UNKNOWN, Split
from ammgraph.diagnostics import RunError
from ammgraph.evaluation import metrics
from ammgraph.evaluation.metrics import Array
from ammgraph.nn.densities import log_joint
from ammgraph.nn.enumeration import in_evaluation
from ammgraph.nn.functions import scale_matrix, variances
from ammgraph.nn.model import Draw, Model, record_tensors, sample_draw
from ammgraph.nn.networks import Mode, raw
from ammgraph.plan.draws import DrawPlan, FactorPlan, FromDraw, FromNetwork
from ammgraph.plan.evaluation_cost import BATCH
from ammgraph.plan.metric import Metric
from ammgraph.plan.plan import BayesPlan, Plan, ReadoutPlan, ReconstructionPlan
from ammgraph.plan.queries import ancestry, fields_of, inferring_draw, label_name, names_of, needed_of, read_of_record
from ammgraph.spec.measures import MEASURES, first_protocol
from ammgraph.spec.notation import head_and_rest

Key = TypeVar("Key")


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says about the images of a split, in float64 on the CPU.

    `scores` are log p(y = k | ...) up to a constant of each image, (N, K), by (variable, rule): `posterior`, the logits
    of q(y|x); `bayes`, log p(y = k, evidence) of eq. 19. `errors` are mean squared errors of reconstructions, (N,).
    `latents` are by the readout's variable, one for each variable of the evidence of eq. 19, where q infers all of it
    with a known mean and variance;
    `pixels` by the reconstructed variable.
    """

    scores: dict[tuple[str, str], Array]
    errors: dict[str, Array]
    latents: dict[str, list["Latents"]] = field(default_factory=dict)
    pixels: dict[str, "Pixels"] = field(default_factory=dict)


@dataclass(eq=False)
class Latents:
    """Sums over the images that q(y|x) gives to each category, of an inferred variable z of the evidence of eq. 19.

    Mean and variance of q's z given y = k are `total / count` and `squares / count - mean^2`; where p(z|y) has
    covariances, so has it: squares are of every two dimensions.
    """

    count: Array  # (K,)
    total: Array  # sum of E z, (K, n)
    squares: Array  # sum of E z^2 = mean^2 + variance, (K, n), or of E zz', (K, n, n)

    def add(self, chosen: Array, mean: Array, spread: Array) -> None:
        """Count a batch, (B,), (B, n), and variances (B, n) or covariances (B, n, n)."""
        of_two = self.squares.ndim == 3
        np.add.at(self.count, chosen, 1)
        np.add.at(self.total, chosen, mean)
        np.add.at(self.squares, chosen, spread + (mean[:, :, None] * mean[:, None] if of_two else mean**2))


@dataclass(eq=False)
class Pixels:
    """Sums over images x and their reconstructions r: what errors would be without knowing which is whose."""

    count: int = 0
    images: Array | float = 0.0  # sum of x, (pixels,)
    rebuilt: Array | float = 0.0  # sum of r, (pixels,)
    images_squared: float = 0.0  # sum of x^2 over images and pixels
    rebuilt_squared: float = 0.0

    def add(self, images: Array, rebuilt: Array) -> None:
        """Count a batch, (B, pixels) each."""
        self.count += len(images)
        self.images, self.rebuilt = self.images + images.sum(0), self.rebuilt + rebuilt.sum(0)
        self.images_squared += float((images**2).sum())
        self.rebuilt_squared += float((rebuilt**2).sum())

    @property
    def mean_image_error(self) -> float:
        """Mean over images i and pixels of (x_i - mean x)^2: E x^2 - (E x)^2."""
        mean = np.asarray(self.images) / self.count
        return (self.images_squared / self.count - float((mean**2).sum())) / mean.size

    @property
    def exchanged_error(self) -> float:
        """Mean over all pairs i, j and pixels of (x_i - r_j)^2: E x^2 + E r^2 - 2 E x E r."""
        image, rebuilt = np.asarray(self.images) / self.count, np.asarray(self.rebuilt) / self.count
        squares = (self.images_squared + self.rebuilt_squared) / self.count
        return (squares - 2 * float((image * rebuilt).sum())) / image.size


@torch.no_grad()
def ask(model: Model, plan: Plan, split: Split, reconstructions: bool = True) -> Answers:
    """Every readout, and unless left out every reconstruction, of every image; each network passes an image once.

    Args:
        model: the weights to ask.
        plan: the compiled spec.
        split: images, and labels for models that take them as data.
        reconstructions: whether images are drawn again from their latents.
    """
    device = next(model.parameters()).device
    items = plan.reconstructions if reconstructions else ()
    answers = Answers({}, {})
    done = 0
    for examples in batches(split, device):
        drawn = _infer_all(model, plan, items, examples)
        for readout in plan.readouts:
            scores = category_scores(model, plan, readout, examples, drawn.get(readout.draw))
            for rule, part in scores.items():
                _keep(answers.scores, (readout.variable, RULES[rule]), part, done, len(split))
            _count_latents(answers.latents, plan, readout, drawn[readout.draw], scores[""])
        for item in items:
            rebuilt, original = reconstruct(model, plan, item, examples, drawn.get(item.infer))
            errors = (rebuilt - original).square().flatten(1).mean(1)
            _keep(answers.errors, item.variable, errors, done, len(split))
            pixels = answers.pixels.setdefault(item.variable, Pixels())
            pixels.add(_flat(original), _flat(rebuilt))
        done += len(examples)
    return answers


RULES = {"": "posterior", "/bayes": "bayes"}
ERRORS = ("one_to_one_error", "majority_error", "classification_error")  # what `evaluate` has of a category


@torch.no_grad()
def evaluate(model: Model, plan: Plan, split: Split) -> dict[str, Any]:
    """The measures to watch while training, by name: `y/one_to_one_error`, `y/bayes/majority_error`, ...

    For a variable that no label supervises (clustering): errors of eq. 17 by one-to-one and by majority assignment,
    fitted on these examples, the one by `first_protocol` before the other, NMI (arithmetic mean) and ARI; for one that
    labels supervise: the classification error. Each from q(y|x), and under `bayes` from the Bayes rule of eq. 19 where
    the factorization has one. Errors are fractions, None where all labels are alike. `score.measure` says more, and
    more exactly.

    Args:
        model: the weights to evaluate.
        plan: the compiled spec.
        split: images with their labels, which serve for nothing but the score.
    """
    split = askable(plan, "train", split)
    answers = ask(model, plan, split)
    result: dict[str, Any] = {"examples": len(split)}
    for readout in plan.readouts:
        for prefix, rule in RULES.items():
            if (readout.variable, rule) in answers.scores:
                labels = labels_of(plan, readout.variable, split)
                measures = _measures(answers.scores[readout.variable, rule], labels, readout.supervised)
                result |= {str(Metric(readout.name + prefix, what)): value for what, value in measures.items()}
    errors = {str(Metric(name, "reconstruction_error")): errors.mean() for name, errors in answers.errors.items()}
    return result | {name: float(error) for name, error in errors.items()}


def first_errors(look: Mapping[str, Any]) -> dict[str, Any]:
    """Of what `evaluate` has found, the error of each category and rule that is told first, by its name."""
    found: dict[str, str] = {}
    for name in look:
        owner, _, what = name.rpartition("/")
        if what in ERRORS:
            found.setdefault(owner, name)
    return {name: look[name] for name in found.values()}


def category_scores(
    model: Model, plan: Plan, readout: ReadoutPlan, examples: Split, drawn: Draw | None = None
) -> dict[str, Tensor]:
    """Logits of q(y|x), shape (B, K), under the empty name; log p(y, evidence) of eq. 19 under `/bayes`.

    `drawn` spares inferring what is already inferred: a draw of the readout's distribution that holds what it reads.
    """
    draw = plan.draw(readout.draw)
    drawn = drawn or infer(model, plan, draw, read_by(plan, readout), examples)
    scores = {"": drawn.logits(draw.factor_of(readout.variable))}
    if readout.bayes is not None:
        scores["/bayes"] = log_joint(model, plan, readout.bayes, drawn.samples)
    return scores


def reconstruct(
    model: Model, plan: Plan, item: ReconstructionPlan, examples: Split, drawn: Draw | None = None
) -> tuple[Tensor, Tensor]:
    """(the images drawn from their own inferred latents, the images themselves), in the variable's range.

    `drawn` spares inferring what is already inferred: a draw of the inferring distribution that holds the latents.
    """
    generate = plan.draw(item.generate)
    given = generate.factor_of(item.variable).given
    latents = (drawn or infer(model, plan, plan.draw(item.infer), set(given), examples)).samples
    rebuilt = sample_draw(
        model,
        generate,
        {},
        {},
        Mode.EVAL,
        given={name: latents[name] for name in given},
        batch=len(examples),
        only=frozenset({item.variable}),
    )
    data = _taken(model, plan, plan.draw(item.infer).factors, examples)
    return rebuilt.samples[item.variable], data[item.variable]


def infer(model: Model, plan: Plan, draw: DrawPlan, wanted: set[str], examples: Split) -> Draw:
    """Mean-mode samples of `wanted` and all they depend on, from records of the data in memory."""
    factors = ancestry(draw, *wanted)
    elsewhere: dict[str, set[str]] = {}  # distribution -> samples of it that this one takes
    for factor in factors:
        if isinstance(factor.origin, FromDraw):
            elsewhere.setdefault(factor.origin.draw, set()).add(factor.origin.variable)
    needed = needed_of(factors, wanted)
    others = {name: infer(model, plan, plan.draw(name), names, examples) for name, names in elsewhere.items()}
    data = _taken(model, plan, factors, examples, needed)
    found = sample_draw(model, draw, data, {}, Mode.EVAL, others, batch=len(examples), only=needed)
    enumerated = draw.enumerated is not None and needed.issuperset(draw.enumerated.variables)
    return in_evaluation(model, plan, draw, found) if enumerated else found


def _taken(
    model: Model, plan: Plan, factors: Sequence[FactorPlan], examples: Split, needed: Collection[str] | None = None
) -> dict[str, Tensor]:
    """What factors take from records of the data; of that only what is needed, where that is given."""
    fields, names = fields_of(factors), names_of(factors)
    fields = {name: field for name, field in fields.items() if needed is None or name in needed}
    return record_tensors(plan, fields, examples, _dtype(model), names=names)


def labels_of(plan: Plan, variable: str, examples: Split) -> Array:
    """The labels that tell about a category; of one whose record's label is another variable's, none."""
    name = label_name(plan, variable)
    if name is None:
        return np.full(len(examples), UNKNOWN)
    labels = examples.of("label", name)
    return labels[:].cpu().numpy()


def classes_of(plan: Plan, variable: str, examples: Split, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The names of these labels; `classes` are those of the record's label. Empty where there are none."""
    name = label_name(plan, variable)
    return () if name is None else examples.other_classes.get(name, classes)


def components_of(plan: Plan, readout: ReadoutPlan) -> tuple[FactorPlan, ...]:
    """The factors p(z|y) of the evidence of eq. 19, where the category is their one condition; else none."""
    if readout.bayes is None:
        return ()
    factors = [plan.draw(readout.bayes.draw).factor_of(name) for name in readout.bayes.evidence]
    return tuple(factors) if all(factor.given == (readout.variable,) for factor in factors) else ()


def _count_latents(
    found: dict[str, list[Latents]], plan: Plan, readout: ReadoutPlan, drawn: Draw, posterior: Tensor
) -> None:
    """Add a batch to the sums of a readout, if all evidence has components, and a mean and variance where inferred."""
    parts = [
        _mean_and_spread(plan.draw(readout.draw).factor_of(component.variables[0]), drawn, component.density.full)
        for component in components_of(plan, readout)
    ]
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return
    if readout.variable not in found:
        size = posterior.shape[1]
        found[readout.variable] = [
            Latents(np.zeros(size), *(np.zeros((size, *values.shape[1:])) for values in part)) for part in known
        ]
    chosen = posterior.argmax(1).cpu().numpy()
    for latents, (mean, spread) in zip(found[readout.variable], known, strict=True):
        latents.add(chosen, mean, spread)


def _mean_and_spread(factor: FactorPlan, drawn: Draw, full: bool) -> tuple[Array, Array] | None:
    """Of a factor that a network draws as a normal one, or without noise: (B, n), and (B, n) or, if full, (B, n, n)."""
    sample = drawn.samples[factor.variables[0]]
    mean = _flat(sample)
    none = np.zeros((*mean.shape, mean.shape[1]) if full else mean.shape)
    if not isinstance(factor.origin, FromNetwork):
        return None
    if factor.density.kind == "normal":
        rows = drawn.rows[factor.origin.evaluation.name]
        spread = rows[raw(factor.density.log_variance)]
        if not full:
            return mean, _flat(variances(sample, spread)) + none
        scale = scale_matrix(sample, spread).double()
        return mean, (scale @ scale.mT).cpu().numpy() + none
    return (mean, none) if factor.density.kind == "deterministic" else None


def rule_text(plan: Plan, readout: ReadoutPlan, rule: str) -> str:
    """A rule in the spec's notation: `posterior` is a factor such as `q(y|x)`, `bayes` is `p(y|z)`, by eq. 19."""
    if rule == "posterior":
        return plan.draw(readout.draw).factor_of(readout.variable).text
    assert readout.bayes is not None
    head, _ = head_and_rest(readout.bayes.draw)
    return f"{head}({readout.variable}|{','.join(_known(plan, readout.bayes))})"


def read_by(plan: Plan, readout: ReadoutPlan) -> set[str]:
    """The variables that a readout's rules look at: itself, and what eq. 19 takes as known."""
    return {readout.variable, *(_known(plan, readout.bayes) if readout.bayes is not None else ())}


def _known(plan: Plan, bayes: BayesPlan) -> tuple[str, ...]:
    """The evidence of eq. 19, and the conditions beside the category that its densities have."""
    draw = plan.draw(bayes.draw)
    given = [name for evidence in bayes.evidence for name in draw.factor_of(evidence).given if name != bayes.variable]
    return tuple(dict.fromkeys([*bayes.evidence, *given]))


def _infer_all(model: Model, plan: Plan, items: Sequence[ReconstructionPlan], examples: Split) -> dict[str, Draw]:
    """One mean-mode draw of every distribution that a readout or a reconstruction infers from."""
    wanted = _wanted(plan, items)
    return {name: infer(model, plan, plan.draw(name), names, examples) for name, names in wanted.items()}


def _wanted(plan: Plan, items: Sequence[ReconstructionPlan]) -> dict[str, set[str]]:
    """What readouts and reconstructions look at: distribution -> variables."""
    wanted: dict[str, set[str]] = {}
    for readout in plan.readouts:
        wanted.setdefault(readout.draw, set()).update(read_by(plan, readout))
    for item in items:
        wanted.setdefault(item.infer, set()).update(plan.draw(item.generate).factor_of(item.variable).given)
    return wanted


def _measures(scores: np.ndarray, labels: np.ndarray, supervised: bool) -> dict[str, float | None]:
    chosen, num_clusters = scores.argmax(1), scores.shape[1]
    compared, labels = metrics.told(chosen, labels)
    agreement = _agreement(compared, labels, num_clusters, supervised)
    found: dict[str, float | None] = {**(agreement if metrics.labels_tell(labels) else dict.fromkeys(agreement))}
    if not supervised:
        found["components_in_use"] = metrics.components_in_use(metrics.component_use(chosen, num_clusters))
    return found


def _agreement(chosen: np.ndarray, labels: np.ndarray, num_clusters: int, supervised: bool) -> dict[str, float]:
    found = {}
    for name, measure in MEASURES.items():
        if measure.of == ("classes" if supervised else "clusters"):
            found[name] = metrics.measured(name, chosen, labels)
        elif measure.of == "assigned" and not supervised:
            num_classes = int(labels.max()) + 1
            table = metrics.cluster_table(chosen, labels, num_clusters, num_classes)
            first = first_protocol(num_clusters, num_classes)
            for protocol in sorted(metrics.ASSIGNMENTS, key=lambda protocol: protocol != first):
                assignment = metrics.ASSIGNMENTS[protocol](table)
                error = f"{protocol.replace('-', '_')}_{name.removeprefix('clustering_')}"
                found[error] = metrics.measured(name, chosen, labels, assignment)
    return found


def askable(plan: Plan, name: str, split: Split) -> Split:
    """The examples of a split that the model infers from: where it reads labels, those that have one.

    Raises:
        RunError: there are none.
    """
    if not any(_reads_labels(plan, plan.draw(draw), names) for draw, names in _inferred(plan).items()):
        return split
    examples = split.told()
    if not len(examples):
        raise RunError(f"the model infers from an example and its label, and no {name} example has one")
    return examples


def _reads_labels(plan: Plan, draw: DrawPlan, names: Collection[str]) -> bool:
    factors = ancestry(draw, *names)
    taken = [factor.origin for factor in factors if isinstance(factor.origin, FromDraw)]
    return "label" in read_of_record(draw, *names).values() or any(
        _reads_labels(plan, plan.draw(origin.draw), (origin.variable,)) for origin in taken
    )


def _inferred(plan: Plan) -> dict[str, set[str]]:
    """What an evaluation, its figures among it, infers: distribution -> variables."""
    wanted = _wanted(plan, plan.reconstructions)
    for variable in plan.variables:
        draw = inferring_draw(plan, variable.name) if variable.kind == "real" else None
        if draw is not None:
            wanted.setdefault(draw.name, set()).add(variable.name)
    if plan.features is not None:
        wanted.setdefault(plan.features.draw, set()).update(plan.features.reads)
    return wanted


def batches(split: Split, device: torch.device) -> Iterator[Split]:
    """The examples, `BATCH` at a time, in order, on the device."""
    for start in range(0, len(split), BATCH):
        yield split.part(start, start + BATCH).to(device)


def _keep(tables: dict[Key, Array], key: Key, part: Tensor, start: int, count: int) -> None:
    """Write a batch's answers in their place among those of all `count` images: nothing is held twice."""
    if key not in tables:
        tables[key] = np.empty((count, *part.shape[1:]))
    tables[key][start : start + len(part)] = part.cpu().numpy()


def _flat(values: Tensor) -> Array:
    return values.flatten(1).double().cpu().numpy()


def _dtype(model: Model) -> torch.dtype:
    return next(model.parameters()).dtype
