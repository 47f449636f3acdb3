"""The data of every figure: a trained model and images come in, arrays go out. Nothing is drawn here.

Everything is found in the plan, for any factorization; what does not apply is absent. Axes: R rows of a figure,
n images in a row, C channels, H height, W width, K categories. Images are float32 in [0, 1].
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ammgraph.data.on_disk import OnDisk
from ammgraph.data.records import Split, evenly
from ammgraph.evaluation.evaluate import (
    Answers,
    ask,
    askable,
    batches,
    classes_of,
    infer,
    labels_of,
    reconstruct,
    rule_text,
)
from ammgraph.evaluation.metrics import NO_CLASS, Array, cluster_table, labels_tell, told
from ammgraph.evaluation.synthesis import (
    component_means,
    data_images,
    generated,
    latent_path,
    unit,
)
from ammgraph.nn.model import Model
from ammgraph.plan.evaluation_cost import FIGURE_COLUMNS, FIGURE_ROWS
from ammgraph.plan.plan import Plan, ReconstructionPlan
from ammgraph.plan.queries import field_name, fields_of, inferring_draw, label_name, sampling_draw
from ammgraph.report import matching
from ammgraph.report.over_time import StripsView

CategoryPath: TypeAlias = Literal["linear", "switch"]


@dataclass(frozen=True)
class ViewOptions:
    """How much is shown. Every random choice follows from `seed`."""

    seed: int = 0
    columns: int = FIGURE_COLUMNS // 2  # samples in a row, beside as many images
    pairs: int = 48
    interpolations: int = 8
    steps: int = 9  # images between the two originals of an interpolation
    category_path: CategoryPath = "linear"
    embedded: int = 1000  # examples on the map of t-SNE; 0 leaves it out


@dataclass(frozen=True, eq=False)
class SamplesView:
    """Images from the synthesis side, a row for each category, beside images of the split that belong to it.

    Of more than `FIGURE_ROWS` categories those with the most images, in the order of the rows of the rule's matrix.
    Without a categorical prior there is no `category`, and the rows mean nothing.
    """

    name: str
    variable: str
    draw: str
    category: str
    rule: str  # how images were assigned: a factor such as `q(y|x)`, `label`, or "" for not at all
    generated: Array  # (R, n, C, H, W)
    assigned: Array  # (R, n, C, H, W), black where there are fewer
    shown: Array  # (R,), how many of `assigned` are images
    sizes: Array  # (R,), how many images of the split belong to the row
    examples: int
    categories: Array  # (R,), the category of the row
    num_categories: int  # K
    classes: tuple[str, ...] = ()  # none without labels
    matched: Array = field(default_factory=lambda: np.zeros(0, np.int64))  # (R,), the row's class, or `NO_CLASS`
    protocol: str = ""  # by which assignment `matched` is; "" where categories are classes


@dataclass(frozen=True, eq=False)
class MatrixView:
    """How often each category meets each class: T[k, c] for clusters; T[true class, prediction] under supervision."""

    name: str
    variable: str
    rule: str  # `q(y|x)`, or `p(y|z)` for the Bayes rule
    bayes: bool
    supervised: bool
    counts: Array
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PairsView:
    """Images beside their reconstructions from mean-mode latents."""

    name: str
    variable: str
    infer: str
    generate: str
    originals: Array  # (n, C, H, W)
    rebuilt: Array
    examples: int


@dataclass(frozen=True, eq=False)
class InterpolationView:
    """Images generated along a path between the latents of two images, with those two images at its ends."""

    name: str
    variable: str
    paths: tuple[tuple[str, str], ...]  # latent -> `linear` or `switch`
    classes: bool  # whether the two images are of different classes
    images: Array  # (R, steps + 2, C, H, W)


@dataclass(frozen=True, eq=False)
class EmbeddingView:
    """Inferred values of a real variable on a plane, with the means of the mixture's components where it has some."""

    name: str
    variable: str
    factor: str
    points: Array  # (n, 2)
    labels: Array  # (n,)
    classes: tuple[str, ...]
    means: Array  # (k, 2), k = 0 without components; of more than `FIGURE_ROWS` those with the most images
    category: str
    seed: int
    components: Array  # (k,), which these are
    num_components: int  # K


View: TypeAlias = SamplesView | MatrixView | PairsView | InterpolationView | EmbeddingView | StripsView


def collect_views(
    model: Model,
    plan: Plan,
    split: Split,
    classes: tuple[str, ...],
    options: ViewOptions | None = None,
    answers: Answers | None = None,
) -> tuple[View, ...]:
    """The data of every figure that applies, in the order of the paper's Figure 2.

    Args:
        model: the weights to show; they run in eval mode.
        plan: the compiled spec.
        split: images with labels; labels colour and count, and serve where the model itself takes them.
        classes: names of the labels.
        options: how much is shown.
        answers: what the model says about these images, where that is known already.
    """
    options = options or ViewOptions()
    split = askable(plan, "shown", split)
    scores = (answers or ask(model, plan, split, reconstructions=False)).scores
    split = split.to(next(model.parameters()).device)
    pictures = [item for item in plan.reconstructions if plan.variable(item.variable).kind == "image"]
    matrices = tuple(_matrices(plan, split, scores, classes))
    with torch.no_grad():
        samples = tuple(_samples(model, plan, split, scores, options))
        labels = {view.category: classes_of(plan, view.category, split, classes) for view in samples if view.rule}
        return (
            *(_with_classes(view, labels.get(view.category, ()), matrices) for view in samples),
            *matrices,
            *(_pairs(model, plan, item, split, options) for item in pictures),
            *(_interpolation(model, plan, item, split, options) for item in pictures),
            *_embeddings(model, plan, split, scores, classes, options),
        )


def as_arrays(views: tuple[View, ...]) -> dict[str, Array]:
    """Every array of every view, by `view/field`: what goes into an `.npz`."""
    return {
        f"{view.name}/{field.name}": getattr(view, field.name)
        for view in views
        for field in fields(view)
        if isinstance(getattr(view, field.name), np.ndarray)
    }


# --------------------------------------------------------------------------------------------------- categories


def _matrices(
    plan: Plan, split: Split, scores: dict[tuple[str, str], Array], classes: tuple[str, ...]
) -> Iterator[MatrixView]:
    for readout in plan.readouts:
        if label_name(plan, readout.variable) is None:
            continue
        labels = labels_of(plan, readout.variable, split)
        names = classes_of(plan, readout.variable, split, classes)
        for rule, suffix in (("posterior", ""), ("bayes", "_bayes")):
            values = scores.get((readout.variable, rule))
            if values is None:
                continue
            chosen, known = told(values.argmax(1), labels)
            if not labels_tell(known):
                continue
            table = cluster_table(chosen, known, values.shape[1], len(names))
            counts = table.T if readout.supervised else table
            text = rule_text(plan, readout, rule)
            name = f"matrix_{readout.variable}{suffix}"
            yield MatrixView(name, readout.variable, text, rule == "bayes", readout.supervised, counts, names)


# --------------------------------------------------------------------------------------------------- samples


def _samples(
    model: Model, plan: Plan, split: Split, scores: dict[tuple[str, str], Array], options: ViewOptions
) -> Iterator[SamplesView]:
    for variable in plan.variables:
        sampled = sampling_draw(plan, variable.name)
        if variable.kind != "image" or sampled is None:
            continue
        draw, category = sampled
        members, rule = _members(plan, category, split, scores)
        size = plan.variable(category).shape[0] if category else 5
        sizes = np.bincount(members[members >= 0], minlength=size)
        categories = largest(sizes[:size])
        rows = len(categories)
        fixed = {category: torch.from_numpy(categories).repeat_interleave(options.columns)} if category else {}
        images = generated(model, plan, draw, variable.name, fixed, rows * options.columns, options.seed)
        positions = (
            _chosen(members, categories, options.columns)
            if category
            else _some(np.arange(len(split)), rows * options.columns).reshape(rows, options.columns)
        )
        shown, examples = rule or not category, split.of("image", field_name(plan, variable.name))
        yield SamplesView(
            name=f"samples_{variable.name}",
            variable=variable.name,
            draw=draw.name,
            category=category,
            rule=rule,
            generated=_grid(images, rows),
            assigned=_at(examples, positions) if shown else np.zeros((rows, 0, *variable.shape), np.float32),
            shown=(positions >= 0).sum(1),
            sizes=sizes[categories],
            examples=len(split),
            categories=categories,
            num_categories=size,
        )


def _with_classes(view: SamplesView, classes: tuple[str, ...], matrices: tuple[MatrixView, ...]) -> SamplesView:
    """Rows with the classes that they stand for, in the order of the matrix of the rule that assigned the images."""
    own = (matrix for matrix in matrices if (matrix.variable, matrix.rule) == (view.category, view.rule))
    matrix = next(own, None)
    if view.rule == "label" or (matrix is not None and matrix.supervised):
        matched = np.where(view.categories < len(classes), view.categories, NO_CLASS)
        return replace(view, classes=classes, matched=matched)
    if matrix is None:
        return view
    place = np.argsort(matching.cluster_order(matrix.counts))
    rows = np.argsort(place[view.categories])
    moved = {name: getattr(view, name)[rows] for name in ("generated", "assigned", "shown", "sizes", "categories")}
    matched = matching.classes_of_clusters(matrix.counts)[moved["categories"]]
    protocol = matching.protocol(matrix.counts)
    return replace(view, **moved, classes=matrix.classes, matched=matched, protocol=protocol)


def largest(sizes: Array) -> Array:
    """The positions of the `FIGURE_ROWS` largest sizes, ascending; of equal ones the first."""
    return np.sort(np.argsort(-sizes, kind="stable")[:FIGURE_ROWS])


def _members(plan: Plan, category: str, split: Split, scores: dict[tuple[str, str], Array]) -> tuple[Array, str]:
    """(the category of every image, by which rule): inferred, else the label that the model takes, else nothing."""
    for readout in plan.readouts:
        if readout.variable == category and (category, "posterior") in scores:
            return scores[category, "posterior"].argmax(1), rule_text(plan, readout, "posterior")
    if any(fields_of(draw.factors).get(category) == "label" for draw in plan.draws):
        return labels_of(plan, category, split), "label"
    return np.zeros(0, np.int64), ""


def _chosen(members: Array, categories: Array, columns: int) -> Array:
    """Positions of images of every row, chosen `evenly`; -1 where there are fewer. (R, n)."""
    return np.stack([_some(np.flatnonzero(members == category), columns) for category in categories])


def _some(positions: Array, count: int) -> Array:
    """So many of the positions, chosen `evenly`, and -1 in the place of those that there are not. (n,)."""
    chosen = positions[evenly(len(positions), count).numpy()]
    return np.pad(chosen, (0, count - len(chosen)), constant_values=-1)


def _at(images: Tensor | OnDisk, positions: Array) -> Array:
    """Images at positions, black at -1: (R, n, C, H, W)."""
    chosen = torch.from_numpy(np.maximum(positions, 0).reshape(-1)).to(images.device)
    found = data_images(images[chosen])
    found[torch.from_numpy(positions.reshape(-1) < 0).to(found.device)] = 0
    return _grid(found, len(positions))


# --------------------------------------------------------------------------------------------------- latents


def _pairs(model: Model, plan: Plan, item: ReconstructionPlan, split: Split, options: ViewOptions) -> PairsView:
    shown = split.at(_positions(split, options.pairs, options.seed))
    rebuilt, originals = reconstruct(model, plan, item, shown)
    return PairsView(
        name=f"pairs_{item.variable}",
        variable=item.variable,
        infer=item.infer,
        generate=item.generate,
        originals=_numpy(unit(plan, item.variable, originals)),
        rebuilt=_numpy(unit(plan, item.variable, rebuilt)),
        examples=len(split),
    )


def _interpolation(
    model: Model, plan: Plan, item: ReconstructionPlan, split: Split, options: ViewOptions
) -> InterpolationView:
    first, last, classes = _ends(split, options)
    images, paths = latent_path(model, plan, item, first, last, options.steps, options.category_path)
    name = field_name(plan, item.variable)
    ends = [data_images(end.of("image", name)[:])[:, None] for end in (first, last)]
    return InterpolationView(
        name=f"interpolation_{item.variable}",
        variable=item.variable,
        paths=paths,
        classes=classes,
        images=_numpy(torch.cat([ends[0], images, ends[1]], dim=1)),
    )


def _ends(split: Split, options: ViewOptions) -> tuple[Split, Split, bool]:
    """Random pairs of images, of different classes where labels tell of two; and whether they do."""
    tell = labels_tell(_numpy(split.told().labels))
    split = split.told() if tell else split
    order = _positions(split, len(split), options.seed + 1)
    labels = split.labels[order] if tell else torch.arange(len(order))
    count = min(options.interpolations, len(order))
    first, last = [], []
    for place in range(count):
        others = (labels != labels[place]).nonzero().squeeze(1).tolist() or [place]  # one image alone is itself
        first.append(place)
        last.append(others[(place * 7) % len(others)])
    return split.at(order[first]), split.at(order[last]), tell


def _embeddings(
    model: Model,
    plan: Plan,
    split: Split,
    scores: dict[tuple[str, str], Array],
    classes: tuple[str, ...],
    options: ViewOptions,
) -> Iterator[EmbeddingView]:
    """t-SNE of each real variable that is inferred from images, together with the components' means."""
    if options.embedded == 0 or len(split) < 5:
        return
    shown = split.at(_positions(split, options.embedded, options.seed))
    tell = labels_tell(_numpy(split.told().labels))
    for variable in plan.variables:
        draw = inferring_draw(plan, variable.name) if variable.kind == "real" else None
        if draw is None:
            continue
        values = [
            _numpy(infer(model, plan, draw, {variable.name}, examples).samples[variable.name].flatten(1))
            for examples in batches(shown, split.labels.device)
        ]
        category, means = component_means(model, plan, variable.name)
        members, _ = _members(plan, category, split, scores)
        components = largest(np.bincount(members[members >= 0], minlength=len(means))[: len(means)])
        plane = _t_sne(np.concatenate([*values, _numpy(means)[components]]), options.seed)
        yield EmbeddingView(
            name=f"embedding_{variable.name}",
            variable=variable.name,
            factor=draw.factor_of(variable.name).text,
            points=plane[: len(shown)],
            labels=_numpy(shown.labels) if tell else np.full(len(shown), -1),
            classes=classes if tell else (),
            means=plane[len(shown) :],
            category=category,
            seed=options.seed,
            components=components,
            num_components=len(means),
        )


def _t_sne(values: Array, seed: int) -> Array:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(values) - 1) / 3)
    # Half of scikit-learn's iterations: the second half moves no point to other neighbours.
    made = TSNE(perplexity=perplexity, init="pca", max_iter=500, random_state=seed)
    return np.asarray(made.fit_transform(values))


# --------------------------------------------------------------------------------------------------- arrays


def _positions(split: Split, count: int, seed: int) -> Tensor:
    """Random positions in a split, without repetition."""
    order = np.random.default_rng(seed).permutation(len(split))[:count]
    return torch.from_numpy(order).to(split.labels.device)


def _grid(images: Tensor, rows: int) -> Array:
    return _numpy(images.unflatten(0, (rows, -1)))


def _numpy(values: Tensor) -> Array:
    return values.detach().cpu().numpy()
