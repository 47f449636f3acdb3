"""A scikit-learn estimator over any spec that has a readout: clusters or classes, latents, samples of what X holds.

What the spec says of training holds; what it says of data does not, for `fit` is handed them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import ClassifierTags, Tags, TransformerTags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ammgraph.api import arguments
from ammgraph.api.fit import fit
from ammgraph.api.model import Model
from ammgraph.api.steps import PathLike
from ammgraph.compiler.compile import compile_spec
from ammgraph.data.labels import missing_word
from ammgraph.data.records import Split
from ammgraph.diagnostics import RunError
from ammgraph.evaluation import metrics
from ammgraph.evaluation.evaluate import batches, category_scores
from ammgraph.evaluation.examples import example_of
from ammgraph.evaluation.metrics import Array
from ammgraph.evaluation.sample import generating
from ammgraph.evaluation.synthesis import generate
from ammgraph.plan.plan import Plan, ReadoutPlan
from ammgraph.plan.queries import prior_category
from ammgraph.runs.data import refuse_given
from ammgraph.spec.load import load_spec
from ammgraph.spec.schema import Spec

UNLABELLED = -1
CPU = torch.device("cpu")


class Estimator(TransformerMixin, BaseEstimator):
    """A model of X by a spec, in the manner of scikit-learn.

    X are vectors (N, D) in their own units, or images, (N, H, W), (N, C, H, W) or each as one row (N, C H W), uint8 or
    floats in [0, 1]. Where the spec's category is supervised, y are classes, -1 or "" for no label, and the estimator
    is a classifier; else y serves for nothing but `score`, and it is a clusterer.

    Args:
        spec: a spec, or what `load_spec` takes; its `data` says how vectors are scaled and how many are labelled.
        overrides: changes of it, as `training.epochs=5`.
        features: the constant of the spec that is set to D, where it has one of that name.
        run_dir: the run directory, which must be new; a temporary one unless given.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        random_state: of initialisation, data order and noise.

    Attributes:
        model_: the trained `Model`, in float64 on the CPU.
        labels_: what `predict` says of the training X, (N,).
        classes_: of a classifier the sorted classes.
        n_features_in_: D, or the numbers of an image as one row.
    """

    def __init__(
        self,
        spec: Spec | PathLike | Mapping[str, Any],
        *,
        overrides: Sequence[str] = (),
        features: str = "D",
        run_dir: PathLike | None = None,
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.spec = spec
        self.overrides = overrides
        self.features = features
        self.run_dir = run_dir
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the spec on X, all of it, from its first step to its last.

        Args:
            X: examples, at least two.
            y: classes, where the spec's category is supervised.

        Raises:
            ValueError: X or y are no such arrays.
            RunError: they are not the model's, the spec has no readout, or training has diverged.
            SpecError: the spec is wrong.
        """
        X = self._checked(X, reset=True)
        spec = self._spec(X.shape)
        plan = compile_spec(spec)
        readout = _readout(plan)
        classes = self._classes(readout, y, len(X))
        labels = () if classes is None else (np.where(classes < 0, UNLABELLED, classes),)
        data = (_shaped(plan, X), *labels)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / "run" if self.run_dir is None else self.run_dir
            run = fit(spec, data=data, run_dir=folder, seed=seed, device=self.device)
            self.model_ = run.model("cpu").double()
        self.labels_ = self.predict(X)
        return self

    def fit_predict(self, X: Any, y: Any = None) -> Array:
        """`fit`, and what `predict` says of the same X."""
        return self.fit(X, y).labels_

    def predict_proba(self, X: Any) -> Array:
        """q(y|x) of every category, (N, K); of a classifier, of every class, given that it is one of them."""
        found: Array = self._inferred(X)[_readout(self.model_.plan).variable].numpy()
        if not self._is_classifier:
            return found
        of_classes = found[:, : len(self.classes_)]
        sums = of_classes.sum(1, keepdims=True)
        if not sums.all():  # all of them too small for a float, of which the logits still know the largest
            return self._of_classes(X)
        return np.asarray(of_classes / sums)

    def _of_classes(self, X: Any) -> Array:
        """Softmax of the logits of the classes alone."""
        model, example = self.model_, example_of(self.model_.plan)
        values = model.stored(_shaped(model.plan, self._checked(X, reset=False)))
        split = Split(values, torch.zeros(len(values), dtype=torch.int64), example.kind)  # labels that no factor reads
        readout = _readout(example.plan)
        with torch.no_grad():
            parts = [category_scores(model, example.plan, readout, part)[""] for part in batches(split, CPU)]
        return torch.cat(parts)[:, : len(self.classes_)].double().softmax(1).numpy()

    def predict(self, X: Any) -> Array:
        """The most probable category, (N,), from 0; of a classifier the class."""
        chosen = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_)[chosen] if self._is_classifier else chosen

    def transform(self, X: Any) -> Array:
        """The means of all real latents that are inferred from x, side by side, (N, n).

        Raises:
            RunError: the model has none.
        """
        found, plan = self._inferred(X), self.model_.plan
        latents = [values for name, values in found.items() if plan.variable(name).kind == "real"]
        if not latents:
            raise RunError("this model infers no real variable, and so has nothing to transform to")
        return torch.cat(latents, dim=1).numpy()

    def sample(self, n_samples: int = 1) -> tuple[Array, Array | None]:
        """Draw from p: (X, the category of each), None where p has none; the noise is that of `random_state`.

        Images come as (n_samples, C, H, W) in [0, 1], vectors in the units of X.
        """
        check_is_fitted(self, "model_")
        n_samples = arguments.whole("n_samples", n_samples, 1)
        model, plan = self.model_, self.model_.plan
        name, draw = generating(plan, None)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        category = prior_category(plan, draw, name)
        drawn = None
        if category:
            with torch.no_grad():
                drawn = generate(model, plan, draw, category, {}, n_samples, seed)[category].flatten(1).argmax(1)
        given = {} if drawn is None else {category: drawn}
        return model.generate(n_samples, seed=seed, **given).numpy(), None if drawn is None else drawn.numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """The share of examples whose class is right; of clusters, that of a one-to-one assignment fitted on them.

        It is the share of those that have a label: -1 and "" are none, as for `fit`.

        Raises:
            ValueError: y is not given, or has no label.
        """
        check_is_fitted(self, "model_")
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        chosen = self.predict(X)
        known, found = _known(y, len(chosen))
        if not known.any():
            raise ValueError('y has no label: each is -1 or ""')
        chosen = chosen[known]
        if self._is_classifier:
            return float(accuracy_score(found, chosen))
        classes, labels = np.unique(found, return_inverse=True)
        size = self.model_.plan.variable(_readout(self.model_.plan).variable).shape[0]
        assignment = metrics.ASSIGNMENTS["one-to-one"](metrics.cluster_table(chosen, labels, size, len(classes)))
        return 1 - float(metrics.classification_error(assignment[chosen], labels))

    @property
    def _is_classifier(self) -> bool:
        """Whether it was fitted, to classes."""
        return "classes_" in vars(self)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        classifier = self._is_classifier if "model_" in vars(self) else self._would_classify()
        tags.estimator_type = "classifier" if classifier else "clusterer"
        tags.classifier_tags = ClassifierTags() if classifier else None
        tags.target_tags.required = classifier
        tags.transformer_tags = TransformerTags(preserves_dtype=[])
        return tags

    def _would_classify(self) -> bool:
        """Whether its spec's category is supervised; what is wrong with a spec is told by `fit`."""
        try:
            plan = compile_spec(self._loaded())
        except Exception:  # a spec may be anything until it is fitted
            return False
        return bool(plan.readouts) and plan.readouts[0].supervised

    def _loaded(self) -> Spec:
        return load_spec(self.spec.written if isinstance(self.spec, Spec) else self.spec, self.overrides)

    def _checked(self, X: Any, reset: bool) -> Array:
        images = isinstance(getattr(X, "dtype", None), np.dtype) and X.dtype == np.uint8
        dtype = np.uint8 if images else [np.float64, np.float32]
        found = validate_data(self, X, dtype=dtype, reset=reset, allow_nd=True, ensure_min_samples=2 if reset else 1)
        return np.asarray(found)

    def _spec(self, shape: tuple[int, ...]) -> Spec:
        """The spec for so many examples of so many numbers, all of which are trained on."""
        spec = self._loaded()
        refuse_given(spec)
        if (keep := spec.evaluation.keep) is not None:
            raise RunError(
                f"`evaluation.keep: {keep}` chooses by held-out examples, and an Estimator trains on all of X; "
                "leave it out, as by `overrides=['evaluation.keep=null']`"
            )
        spec = spec.given()
        own = ["data.validation=0"]
        own += [f"constants.{self.features}={shape[1]}"] if self.features in spec.constants and len(shape) == 2 else []
        spec = load_spec(spec.written, own)
        most = max(draw.batch_size for draw in compile_spec(spec).draws)
        return load_spec(spec.written, [f"training.batch_size={shape[0]}"]) if most > shape[0] else spec

    def _classes(self, readout: ReadoutPlan, y: Any, count: int) -> Array | None:
        """The place of each label among the classes, where labels are learned from."""
        self.__dict__.pop("classes_", None)
        if not readout.supervised:
            return None
        if y is None:
            raise ValueError(f"requires y to be passed, but the target y is None: `{readout.variable}` is supervised")
        known, labels = _known(y, count)
        self.classes_ = np.unique(labels)
        places = np.full(count, UNLABELLED)
        places[known] = np.searchsorted(self.classes_, labels)
        return places

    def _inferred(self, X: Any) -> dict[str, torch.Tensor]:
        check_is_fitted(self, "model_")
        model: Model = self.model_
        return model.infer(_shaped(model.plan, self._checked(X, reset=False)))


def _readout(plan: Plan) -> ReadoutPlan:
    if not plan.readouts:
        raise RunError("this model has no category that is inferred from an example: it has no readout")
    return plan.readouts[0]


def _known(y: Any, count: int) -> tuple[Array, Array]:
    """Which of so many labels are one, (N,), and these.

    Raises:
        ValueError: they are not so many, one is NaN or a word for a missing one, or they are no classes of one kind.
    """
    labels = np.asarray(y, dtype=None if hasattr(y, "dtype") else object)  # of a list each stays what it is
    if labels.shape != (count,):
        raise ValueError(f"y has shape {labels.shape}, expected ({count},)")
    found = labels.tolist()
    if missing := missing_word([str(label) for label in found]):
        place, word = missing
        raise ValueError(f'y[{place}] is `{word}`, a missing label, expected -1 in its place or, among texts, ""')
    known = np.array([label not in ("", UNLABELLED) for label in found])
    classes = [label for label, is_one in zip(found, known, strict=True) if is_one]
    if len({isinstance(label, str) for label in classes}) > 1:
        raise ValueError("y has texts and numbers, expected classes of one kind, and -1 where there is no label")
    values = np.array(classes) if labels.dtype == object else labels[known]
    if len(values):
        check_classification_targets(values)
    return known, values


def _shaped(plan: Plan, X: Array) -> Array:
    """Images that are rows, as images."""
    variable = next(v for v in plan.variables if v.observed)
    fits = X.ndim == 2 and not variable.vector and X.shape[1] == int(np.prod(variable.shape))
    return X.reshape(len(X), *variable.shape) if fits else X
