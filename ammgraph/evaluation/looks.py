"""The measure by which a sweep chooses: one of those that each look at the validation examples takes in training."""

from typing import Literal

import torch

from ammgraph.data.dataset import Dataset
from ammgraph.diagnostics import RunError
from ammgraph.evaluation.evaluate import evaluate, first_errors
from ammgraph.plan.metric import Metric
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import on_data_set
from ammgraph.spec.measures import MEASURES
from ammgraph.train.trainer import Trainer

OTHERS = {
    "test": ("test examples", "test labels choose nothing"),
    "train": ("training examples", "a model fits its own training examples"),
    "training": ("training examples", "a model fits its own training examples"),
}


def check_measures(plan: Plan) -> None:
    """A look measures something.

    Raises:
        RunError: it measures nothing, of no data set.
    """
    if not any(part.readouts or part.reconstructions for part in (on_data_set(plan, of) for of in plan.data_names)):
        raise RunError(
            "a look at the validation examples measures nothing of this model, which infers no category from them and "
            "reconstructs none: there is nothing that a sweep can choose by"
        )


def measured(asked: str, plan: Plan, dataset: Dataset, seed: int) -> str:
    """The whole name of a measure that each look at the validation examples takes, as an untrained model shows.

    Args:
        asked: as it is typed: a measure, or one of a variable, as in `y/nmi`.
        plan: the compiled spec.
        dataset: its data; of several data sets each has what can be asked about its records alone.
        seed: of the untrained model.

    Raises:
        RunError: a data set has no validation examples, the measure is of others, or there is no such measure, or none.
    """
    split, _, name = asked.partition("/")
    if name and split in OTHERS:
        examples, why = OTHERS[split]
        raise RunError(
            f"`{asked}` is of {examples}, and a sweep chooses by validation examples: {why}; write `--metric {name}`"
        )
    check_measures(plan)
    for of, one in dataset.by_name.items():
        if one.validation is None:
            data, named = (f"data.{of}", f"`data.{of}`") if of else ("data", one.name)
            raise RunError(
                f"a sweep chooses by validation examples, and {named} has none here: hold some out, as by `--set "
                f"{data}.validation={max(1, len(one.train) // 10)}`"
            )
    trainer = Trainer(plan, dataset, seed, torch.device("cpu"))
    found: dict[str, float | None] = {}
    for of, one in dataset.by_name.items():
        assert one.validation is not None
        look = evaluate(trainer.evaluated, on_data_set(plan, of), one.validation)
        found |= {key: value for key, value in look.items() if "/" in key}
    return _chosen(name if split == "validation" else asked, found)


def _chosen(asked: str, found: dict[str, float | None]) -> str:
    owner, _, what = asked.rpartition("/")
    keys = first_errors(found) if what == "clustering_error" else [key for key in found if Metric.of(key).what == what]
    fits = [key for key in keys if not owner or Metric.of(key).owner == owner]
    fits = [key for key in fits if "/" not in Metric.of(key).owner] or fits  # by q(y|x), before eq. 19
    if not fits:
        known = ", ".join(f"`{key}`" for key in found)
        raise RunError(f"no look at the validation examples finds `{asked}`; it finds {known}")
    if len(fits) > 1:
        raise RunError(f"`{asked}` is of several variables; name one: {', '.join(f'`{key}`' for key in fits)}")
    if found[fits[0]] is None:
        raise RunError(f"`{fits[0]}` is void: the labels of the validation examples are all alike")
    return fits[0]


def better(metric: str) -> Literal["lower", "higher"]:
    """Which way of a measure of the looks is better."""
    what = Metric.of(metric).what
    known = MEASURES.get(what)
    return "higher" if what == "components_in_use" or (known is not None and known.better == "higher") else "lower"


def reads_labels(metric: str) -> bool:
    """Whether a measure of the looks compares with labels."""
    known = MEASURES.get(Metric.of(metric).what)
    return known is None or known.agreement
