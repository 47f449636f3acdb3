"""The curves of a run: the lines of `metrics.jsonl` come in, panels of curves as arrays go out.

What a line holds decides what there is: losses and accuracies of games, terms, penalties, gradient norms of networks,
learning rates that change, entropy and use of categorical rows, errors of evaluations. A `null` is a gap.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ammgraph.evaluation.metrics import Array
from ammgraph.formulas.expression import Batch, Functional, Vat, parts
from ammgraph.formulas.functions import FUNCTIONALS
from ammgraph.formulas.objectives import OBJECTIVES
from ammgraph.plan.metric import ACCURACY, ENTROPY, GRADIENT, RATE, USE, Metric
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import GamePlan, TermPlan
from ammgraph.runs.record import training_clock

Record = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Curve:
    """Values over steps."""

    label: str
    steps: Array
    values: Array


@dataclass(frozen=True, eq=False)
class Panel:
    """Curves with one pair of axes; `level` is a value to compare with."""

    name: str
    title: str
    unit: str
    curves: tuple[Curve, ...]
    note: str = ""
    level: tuple[float, str] | None = None
    logarithmic: bool = False
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class UsePanel:
    """How often each category is chosen, over steps: `shares` (K, T)."""

    name: str
    title: str
    variable: str
    steps: Array
    shares: Array


@dataclass(frozen=True, eq=False)
class Curves:
    """Everything that a run's metrics draw, and how many steps make an epoch."""

    panels: tuple[Panel, ...] = ()
    uses: tuple[UsePanel, ...] = ()
    steps_per_epoch: float = field(default=1.0)
    phases: tuple[int, ...] = ()  # the steps after which the second, the third, ... have begun
    clock: tuple[tuple[int, float], ...] = ()  # (step, seconds), as `record.training_clock`

    def unit(self, last: int) -> tuple[float, str]:
        """(how much of it a step is, `epoch` or `step`): epochs where the last step is two of them in, else steps."""
        epochs = last >= 2 * self.steps_per_epoch and not self.phases
        return (1 / self.steps_per_epoch, "epoch") if epochs else (1.0, "step")


def collect_curves(plan: Plan, records: Sequence[Record]) -> Curves:
    """The curves of a run, in the order in which one looks at them: errors, losses, accuracy, categories, gradients."""
    training = [record for record in records if "evaluation" not in record]
    evaluations = [{**record["evaluation"], "step": record["step"]} for record in records if "evaluation" in record]
    panels = (
        *_errors(evaluations),
        *(panel for game in plan.games for panel in _losses(plan, game, training)),
        *(_term(term, training) for term in plan.terms),
        _accuracy(plan, training),
        *_entropies(plan, training),
        _gradients(plan, training),
        _rates(plan, training),
        *_penalties(plan, training),
    )
    ends = {record["phase"]: record["step"] for record in training if isinstance(record.get("phase"), int)}
    epochs = [(record["step"], record["epoch"]) for record in records if record.get("epoch") and record["step"]]
    return Curves(
        panels=tuple(panel for panel in panels if panel.curves),
        uses=tuple(_uses(plan, training)),
        steps_per_epoch=epochs[-1][0] / epochs[-1][1] if epochs else 1.0,
        phases=tuple(ends.values())[:-1],
        clock=training_clock(records),
    )


def as_arrays(curves: Curves) -> dict[str, Array]:
    """Every array, by `curves/panel/label`."""
    found = {}
    for panel in curves.panels:
        for curve in panel.curves:
            found[f"curves/{panel.name}/{curve.label}/steps"] = curve.steps
            found[f"curves/{panel.name}/{curve.label}/values"] = curve.values
    for use in curves.uses:
        found[f"curves/{use.name}/steps"] = use.steps
        found[f"curves/{use.name}/shares"] = use.shares
    return found


def _losses(plan: Plan, game: GamePlan, records: Sequence[Record]) -> list[Panel]:
    curves = _curves(
        records, {Metric(game.name, "discriminator"): "discriminator", Metric(game.name, "generator"): "networks"}
    )
    objective = OBJECTIVES[game.objective]
    blind = objective.blind
    which = f" of game {game.name}" if len(plan.games) > 1 else ""
    return [
        Panel(
            f"losses_{game.name}",
            f"Losses{which}",
            "nats" if objective.in_nats else "loss",
            curves,
            note="Without penalties and the game's weight; means over the steps between two lines.",
            level=None if blind is None else (blind[0], f"{blind[1]}: cannot tell"),
        )
    ]


def _term(term: TermPlan, records: Sequence[Record]) -> Panel:
    functionals = [part.function for part in parts(term.value) if isinstance(part, Functional | Batch)]
    functionals += ["vat" for part in parts(term.value) if isinstance(part, Vat)]
    return Panel(
        f"term_{term.name}",
        f"Term {term.name}",
        "nats" if all(FUNCTIONALS[name].in_nats for name in functionals) else "value",
        _curves(records, {Metric(term.name, "value"): term.name}),
        note="Before its weight; means over the steps between two lines.",
    )


def _accuracy(plan: Plan, records: Sequence[Record]) -> Panel:
    names = {
        Metric(game.name, ACCURACY): game.name if len(plan.games) > 1 else str(game.discriminator)
        for game in plan.games
    }
    return Panel(
        "accuracy",
        "Accuracy of the discriminator",
        "%",
        _curves(records, names, 100),
        note="Share of examples on the right side of 0, both sides of the game counted alike.",
        level=(50, "chance"),
        bounds=(0, 100),
    )


def _penalties(plan: Plan, records: Sequence[Record]) -> list[Panel]:
    kinds = dict.fromkeys(penalty.kind for game in plan.games for penalty in game.penalties)
    return [
        Panel(
            kind,
            kind.replace("_", " ").capitalize(),
            "penalty",
            _curves(records, {Metric(game.name, kind): game.name for game in plan.games}),
            note="Before its weight.",
        )
        for kind in kinds
    ]


def _gradients(plan: Plan, records: Sequence[Record]) -> Panel:
    names = {Metric(network.name, GRADIENT): network.name for network in plan.networks}
    return Panel(
        "gradients", "Norm of the gradient of each network", "L2 norm", _curves(records, names), logarithmic=True
    )


def _rates(plan: Plan, records: Sequence[Record]) -> Panel:
    names = {Metric(network.name, RATE): network.name for network in plan.networks}
    return Panel("rates", "Learning rates that change", "rate", _curves(records, names))


def _entropies(plan: Plan, records: Sequence[Record]) -> list[Panel]:
    categories = _categories(plan, records, ENTROPY)
    names, sizes = {metric: metric.owner for metric in categories}, set(categories.values())
    level = (math.log(size := next(iter(sizes))), f"ln {size}: uniform") if len(sizes) == 1 else None
    note = "Mean entropy of each posterior; 0 is certain."
    return [Panel("entropy", "Entropy of the categories", "nats", _curves(records, names), note=note, level=level)]


def _uses(plan: Plan, records: Sequence[Record]) -> list[UsePanel]:
    found = []
    for metric, size in _categories(plan, records, USE).items():
        shares = [(record["step"], record.get(str(metric))) for record in records]
        kept = [(step, share) for step, share in shares if isinstance(share, list) and len(share) == size]
        if len(kept) < 2:
            continue
        steps, table = np.array([step for step, _ in kept]), np.array([_numbers(share) for _, share in kept]).T
        place = metric.owner
        found.append(UsePanel(f"use_{place}", f"Use of the categories of {place}", metric.variable, steps, table))
    return found


def _categories(plan: Plan, records: Sequence[Record], what: str) -> dict[Metric, int]:
    """What is recorded of draws' categories, and how many of them there are."""
    sizes = {variable.name: variable.shape[0] for variable in plan.variables if variable.kind == "categorical"}
    found = [metric for metric in _metrics(records) if metric.what == what]
    return {metric: sizes[metric.variable] for metric in found if metric.variable in sizes}


def _errors(evaluations: Sequence[Record]) -> list[Panel]:
    errors = [metric for metric in _metrics(evaluations) if metric.what.endswith("_error")]
    shares = {metric: _error_label(metric) for metric in errors if metric.what != "reconstruction_error"}
    rebuilt = {metric: metric.owner for metric in errors if metric not in shares}
    examples = {int(record["examples"]) for record in evaluations if isinstance(record.get("examples"), int)}
    note = f"On {', '.join(f'{count:,}' for count in sorted(examples))} images." if examples else ""
    return [
        Panel("errors", "Errors while training", "%", _curves(evaluations, shares, 100), note=note),
        Panel("reconstruction", "Reconstruction error", "mean square", _curves(evaluations, rebuilt), note=note),
    ]


def _error_label(metric: Metric) -> str:
    variable, _, rule = metric.owner.partition("/")
    return f"{variable}, {metric.what.removesuffix('_error').replace('_', '-')}{', Bayes rule' if rule else ''}"


def _curves(records: Sequence[Record], labels: Mapping[Metric, str], factor: float = 1.0) -> tuple[Curve, ...]:
    found = []
    for metric, label in labels.items():
        name = str(metric)
        kept = [record for record in records if name in record and not isinstance(record[name], list)]
        values = factor * np.array(_numbers([record[name] for record in kept]))
        if np.isfinite(values).sum() > 1:  # one point is no curve
            found.append(Curve(label, np.array([record["step"] for record in kept]), values))
    return tuple(found)


def _metrics(records: Sequence[Record]) -> list[Metric]:
    return [Metric.of(name) for name in dict.fromkeys(name for record in records for name in record)]


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]
