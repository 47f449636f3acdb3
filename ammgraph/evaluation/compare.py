"""`ammgraph compare`: what several runs found, side by side; runs of one model with several seeds as mean and spread.

The standard deviation is the sample's, divided by n - 1, as in the tables of papers over n trials; one run has none.
"""

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ammgraph.diagnostics import RunError, counted
from ammgraph.evaluation import health, results
from ammgraph.evaluation.results import Evaluation, Result, number
from ammgraph.evaluation.score import evaluate_run
from ammgraph.folders import METRICS, SPEC
from ammgraph.runs import divergence, record
from ammgraph.runs.run import Place, read_options
from ammgraph.spec.load import load_spec
from ammgraph.spec.measures import MEASURES
from ammgraph.spec.merge import NOT_INHERITED

MOST_PLACES = 6  # after the point
PRECISION, KEEP = "precision", "evaluation.keep"
MOST_SETTINGS, LONGEST_SETTING = 4, 40  # that are told of a column, and characters of a value


@dataclass(frozen=True)
class ComparedRun:
    """One run: its evaluation, and the evaluations that were made while it trained."""

    folder: Path
    evaluation: Evaluation
    last_step: int  # of metrics.jsonl: later than the evaluation's where training went on
    curves: tuple[dict[str, Any], ...]  # step, epoch, and a number for each measure
    trained_on: Mapping[str, str] | None = None  # `data_sha256` of the run; None where it was not recorded
    faults: tuple[str, ...] | None = None  # the codes that *Health* names; None where it has nothing to judge by
    diverged: str = ""  # where it has diverged after the checkpoint that was evaluated, and what to lower
    settings: Mapping[str, str] = field(default_factory=dict)  # the precision, and all that the spec says, by its path

    @property
    def keeps(self) -> bool:
        """Whether what is evaluated is the best state, by `evaluation.keep`, of whichever step, and not the last."""
        return self.settings.get(KEEP, "null") != "null"

    @property
    def trained(self) -> int:
        """The steps of training that were behind what is evaluated, or among which it was chosen."""
        return self.last_step if self.keeps else self.evaluation.step

    def alike(self, other: "ComparedRun") -> bool:
        """Whether both are trials of one experiment: equal plans, weights, steps and precisions, the same data.

        Data are the same where the fingerprints that both have are equal, of what they were trained on and of what was
        scored; without any, where their descriptions are.
        """
        mine, theirs = self.evaluation, other.evaluation
        pairs = ((self.trained_on, other.trained_on), (mine.data_sha256, theirs.data_sha256))
        known = [(one, two) for one, two in pairs if one is not None and two is not None]
        same_data = all(one == two for one, two in known) if known else mine.data == theirs.data
        precisions = (run.settings.get(PRECISION) for run in (self, other))
        equal = (mine.plan, mine.weights, self.trained) == (theirs.plan, theirs.weights, other.trained)
        return same_data and equal and len(set(precisions)) == 1


@dataclass(frozen=True)
class Group:
    """Trials of one experiment: they differ in their seeds alone."""

    name: str
    plan: str
    runs: tuple[ComparedRun, ...]

    def protocol_of(self, variable: str) -> str:
        """By which assignment to classes the error of a category is told first."""
        return self.runs[0].evaluation.protocol_of(variable)

    @property
    def data(self) -> str:
        """What the first run was scored on, with the fingerprint of its training images."""
        first = self.runs[0]
        found = first.trained_on or first.evaluation.data_sha256 or {}
        return first.evaluation.data + (f" (SHA-256 {found['train'][:12]})" if "train" in found else "")


@dataclass(frozen=True)
class Row:
    """One measure over one group: the values of its runs, None where a run has none."""

    result: Result  # of the first run that has it
    values: tuple[float | None, ...]

    @property
    def known(self) -> list[float]:
        """The values that are there."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        """(1/n) sum of the values."""
        return statistics.fmean(self.known) if self.known else None

    @property
    def std(self) -> float | None:
        """sqrt(sum (v - mean)^2 / (n - 1)); None for fewer than two."""
        return statistics.stdev(self.known) if len(self.known) > 1 else None


def compare_runs(
    folders: Sequence[Path], place: Place, split: str | None = None, again: bool = False
) -> tuple[Group, ...]:
    """Groups of runs with equal plans and data, in the order in which the runs are given.

    Args:
        folders: run directories.
        place: where runs without an `evaluation.json` are evaluated, which writes it.
        split: what is compared, and scored where it was not; unless given test, or train where there is no test split,
            or validation where that alone was scored, as of the trials of a sweep.
        again: evaluate every run, also those that were.

    Raises:
        RunError: as `evaluate_run`; no runs, or one twice.
    """
    return compare_placed([(folder, place) for folder in folders], split, again)


def compare_placed(
    runs: Sequence[tuple[Path, Place]], split: str | None = None, again: bool = False
) -> tuple[Group, ...]:
    """As `compare_runs`, of run directories that have each a place of their own."""
    folders = [folder for folder, _ in runs]
    if not folders:
        raise RunError("nothing to compare: name one run directory or more")
    resolved = [folder.resolve() for folder in folders]
    twice = next((folder for folder, full in zip(folders, resolved, strict=True) if resolved.count(full) > 1), None)
    if twice is not None:
        raise RunError(f"{twice} is named twice; a run counts once")
    groups: list[list[ComparedRun]] = []
    splits: dict[str, str] = {}  # data -> what is compared of runs on them
    for folder, place in runs:
        found = _read(folder, place, split, again)
        wanted = splits.setdefault(found.evaluation.data, found.evaluation.split)
        if found.evaluation.split != wanted:
            found = _read(folder, place, wanted, again)
        group = next((runs for runs in groups if found.alike(runs[0])), None)
        if group is None:
            groups.append([found])
        else:
            group.append(found)
    return tuple(Group(runs[0].evaluation.title, runs[0].evaluation.plan, tuple(runs)) for runs in groups)


def rows(group: Group) -> tuple[Row, ...]:
    """Every scalar measure that some run of the group has on the split that it scored, in the order of evaluation."""
    tables = [{r.key: r for r in run.evaluation.of(run.evaluation.split)} for run in group.runs]
    keys = dict.fromkeys(key for table in tables for key, result in table.items() if _is_scalar(result))
    found = []
    for key in keys:
        of_runs = [table.get(key) for table in tables]
        first = next(result for result in of_runs if result is not None)
        found.append(Row(first, tuple(None if result is None else _scalar(result) for result in of_runs)))
    return tuple(found)


def measured(group: Group) -> dict[tuple[str, ...], Row]:
    """The rows by label and rule, as `measure_of` has them; what is alike in these, by what tells it apart."""
    found = rows(group)
    alike = Counter(measure_of(row.result) for row in found)
    return {
        _told_apart(row.result) if alike[measure_of(row.result)] > 1 else measure_of(row.result): row for row in found
    }


def faults(group: Group) -> dict[str, int]:
    """In how many of the group's runs *Health* names each code."""
    return dict(Counter(code for run in group.runs for code in run.faults or ()))


def as_json(groups: Sequence[Group]) -> dict[str, Any]:
    """Everything, for tools: values by run, mean and standard deviation (n - 1), curves."""
    return {
        "standard_deviation": "of the sample, divided by n - 1",
        "groups": [
            {
                "name": group.name,
                "plan": group.plan,
                "data": group.data,
                "warnings": warnings(group),
                "runs": [_run_json(run) for run in group.runs],
                "measures": [_row_json(row) for row in rows(group)],
            }
            for group in groups
        ],
    }


def table(groups: Sequence[Group]) -> list[list[str]]:
    """A head, and a row for each measure, a column for each group, mean +- standard deviation; then *Health*."""
    columns = [measured(group) for group in groups]
    names = list(dict.fromkeys(place for column in columns for place in column))
    found = [["", "", *(f"[{place}]" for place in range(1, len(groups) + 1))]]
    for name in names:
        found.append([*name, *(_cell(column[name]) if name in column else "-" for column in columns)])
    return found + _health_rows(groups)


def lines(groups: Sequence[Group]) -> list[str]:
    """The same for a terminal, with what the columns are, and what each run reached."""
    shown = table(groups)
    widths = [max(len(line[place]) for line in shown) for place in range(len(shown[0]))]
    heads = [line for place in range(len(groups)) for line in legend(groups, place)]
    body = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in shown]
    spread = any(len(group.runs) > 1 for group in groups)
    note = [*_each(groups), "", "mean +- standard deviation of the sample (n - 1)"] if spread else []
    void = dict.fromkeys(row.result.void for group in groups for row in rows(group) if row.result.void)
    return [*heads, "", *body, *note, *(f"void: {why}" for why in void)]


def _each(groups: Sequence[Group]) -> list[str]:
    """What each run reached by the measures that one looks for, in the order of the seeds that the legend names."""
    told: list[str] = []
    for place, group in enumerate(groups):
        shown = [row for row in rows(group) if is_chief(row.result)]
        if len(group.runs) < 2 or not shown:
            continue
        seeds = ", ".join(str(run.evaluation.seed) for run in group.runs)
        cells = [[number(value, row.result.unit) for value in row.values] for row in shown]
        widest = max(len(cell) for line in cells for cell in line)
        first, second = (max(len(measure_of(row.result)[column]) for row in shown) for column in (0, 1))
        told += ["", f"[{place + 1}] each run, seeds {seeds}"]
        for row, line in zip(shown, cells, strict=True):
            label, rule = measure_of(row.result)
            values = "  ".join(f"{cell:>{widest}}" for cell in line)
            told.append(f"{label:<{first}}  {rule:<{second}}  {values}{unit_of(row.result)}")
    return told


def is_chief(result: Result) -> bool:
    """Whether it is a number of the model that one looks for run by run."""
    if result.part != "model":
        return False
    known = MEASURES.get(result.name)
    return (known is not None and known.agreement) or result.name in ("components_in_use", "reconstruction_error")


def _health_rows(groups: Sequence[Group]) -> list[list[str]]:
    """A row for each fault that some run has; one row in all where there is none."""
    found = [faults(group) for group in groups]
    if not (codes := dict.fromkeys(code for of_group in found for code in of_group)):
        judged = ["-" if all(run.faults is None for run in group.runs) else "no fault" for group in groups]
        return [["health", "", *judged]] if "no fault" in judged else []
    return [[f"health: {code}", "", *map(_share(code), groups)] for code in codes]


def _share(code: str) -> Callable[[Group], str]:
    def of(group: Group) -> str:
        count, judged = faults(group).get(code, 0), sum(run.faults is not None for run in group.runs)
        return ("fault" if judged == 1 else f"{count} of {counted(judged, 'run')}") if count else "-"

    return of


def _read(folder: Path, place: Place, split: str | None, again: bool) -> ComparedRun:
    options = read_options(folder)  # a folder that is no run is told so before anything is evaluated
    evaluation = None if again else results.read(folder)
    if evaluation is not None:
        scored = next((name for name in ("test", "train") if evaluation.of(name)), evaluation.split)
        evaluation = replace(evaluation, split=split or scored)
    if evaluation is None or not evaluation.of(evaluation.split):
        evaluation = evaluate_run(folder, place, split)
    history = record.read(folder / METRICS)
    evaluation = replace(evaluation, split=split or evaluation.split)
    verdict = health.findings_of_run(folder, evaluation, history)
    return ComparedRun(
        folder=folder,
        evaluation=evaluation,
        last_step=max((line["step"] for line in history), default=evaluation.step),
        curves=tuple(_curve_point(line) for line in history if "evaluation" in line),
        trained_on=options.data_sha256,
        faults=verdict.codes if verdict.findings else None,
        diverged=divergence.told(folder),
        settings={PRECISION: options.precision, **dict(_settings(load_spec(folder / SPEC).written))},
    )


def _settings(written: Any, *path: str) -> Iterator[tuple[str, str]]:
    """Every value of a spec that changes what is trained, and its path."""
    if not isinstance(written, dict):
        yield ".".join(path), written if isinstance(written, str) else json.dumps(written)
        return
    for key, value in written.items():
        if path or key not in NOT_INHERITED:
            yield from _settings(value, *path, key)


def _curve_point(line: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: value for name, value in line["evaluation"].items() if isinstance(value, int | float)}
    return {"step": line["step"], "epoch": line.get("epoch"), **numbers}


def _is_scalar(result: Result) -> bool:
    return not isinstance(result.value, tuple)


def _scalar(result: Result) -> float | None:
    return None if isinstance(result.value, tuple) else result.value


def measure_of(result: Result) -> tuple[str, ...]:
    """What makes two groups' measures one row. Of the rule only its kind: `q(y|x)` of one is `q_u(y|x)` of another."""
    rule = {"posterior": "posterior", "bayes": "Bayes rule, eq. 19"}.get(result.rule, result.rule)
    unit = "" if result.unit in ("", "fraction", "components") else f" ({result.unit})"
    return f"{result.label}{unit}", rule


def _told_apart(result: Result) -> tuple[str, ...]:
    """With the distributions themselves: two that infer z, each from its data set, have each a mismatch of it."""
    label, _ = measure_of(result)
    return label, "; ".join(filter(None, [result.by, result.protocol]))


def _cell(row: Row) -> str:
    if row.mean is None:
        return "void" if row.result.void else "-"
    mean, std = spread_of(row)
    spread = f" +- {std}" if std else ""
    fewer = f" (n = {len(row.known)})" if len(row.known) < len(row.values) else ""
    return f"{mean}{spread}{unit_of(row.result)}{fewer}"


def unit_of(result: Result) -> str:
    """` %` of what is shown in percent."""
    return " %" if result.unit == "fraction" else ""


def spread_of(row: Row) -> tuple[str, str]:
    """Mean and standard deviation as text, rounded to the same place: the second digit of the deviation."""
    if row.mean is None or row.std is None:
        return number(row.mean, row.result.unit), ""
    if row.result.unit == "fraction":
        return number(row.mean, "fraction"), number(row.std, "fraction")
    if row.std == 0:
        return number(row.mean, row.result.unit), "0"
    places = min(max(0, 1 - math.floor(math.log10(row.std))), MOST_PLACES)
    return f"{row.mean:.{places}f}", f"{row.std:.{places}f}"


def legend(groups: Sequence[Group], place: int) -> list[str]:
    """What a column is of, and what to beware of."""
    group = groups[place]
    evaluations = [run.evaluation for run in group.runs]
    seeds = ", ".join(str(evaluation.seed) for evaluation in evaluations)
    scored = sorted({_scored_on(e) for e in evaluations})
    runs = "1 run, seed" if len(group.runs) == 1 else f"{len(group.runs)} runs, seeds"
    found = [f"[{place + 1}] {group.name}: {runs} {seeds}; {_steps(group)}; {' and '.join(scored)}"]
    twins = [
        other
        for other, twin in enumerate(groups)
        if other != place and _weights(twin) == _weights(group) and twin.data != group.data
    ]
    if twins:
        heads = ", ".join(f"[{twin + 1}]" for twin in twins)
        found.append(f"    warning: the model of {heads} on other data, hence apart; here {group.data}")
    if differing := apart(groups, place):
        found.append(f"    {group.runs[0].folder}: {differing}")
    return [*found, *(f"    warning: {text}" for text in warnings(group))]


def apart(groups: Sequence[Group], place: int) -> str:
    """The settings of a column by which another one of the same title is not the same; "" where there is none."""
    own = groups[place].runs[0].settings
    others = [group.runs[0].settings for group in groups if group.name == groups[place].name]
    keys = [key for key in dict.fromkeys(key for of in others for key in of) if len({of.get(key) for of in others}) > 1]
    told = [f"{key}={_cut(own[key])}" if key in own else f"no {key}" for key in keys]
    more = f", and {counted(len(told) - MOST_SETTINGS, 'more setting')}" if len(told) > MOST_SETTINGS else ""
    return ", ".join(told[:MOST_SETTINGS]) + more


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST_SETTING else f"{value[: LONGEST_SETTING - 1]}…"


def warnings(group: Group) -> list[str]:
    """Why its runs may be no trials of one experiment, and which of them have diverged."""
    evaluations = [run.evaluation for run in group.runs]
    found = []
    if len({evaluation.seed for evaluation in evaluations}) < len(evaluations):
        found.append("a seed occurs twice: these runs are no independent trials")
    found += [
        f"{run.folder} is shown at its last good checkpoint: {run.diverged}" for run in group.runs if run.diverged
    ]
    return found + [
        f"{run.folder} was evaluated at step {run.evaluation.step:,} and is at step {run.last_step:,} now"
        for run in group.runs
        if run.last_step > run.evaluation.step and not run.keeps
    ]


def _steps(group: Group) -> str:
    """Of which step its runs are."""
    first = group.runs[0]
    found = ", ".join(f"{run.evaluation.step:,}" for run in group.runs)
    return f"best states of {first.last_step:,} steps: {found}" if first.keeps else f"step {first.evaluation.step:,}"


def _weights(group: Group) -> tuple[str, str]:
    """What tells models apart, whatever their data."""
    return group.plan, group.runs[0].evaluation.weights


def _scored_on(evaluation: Evaluation) -> str:
    found = evaluation.of(evaluation.split)
    most = max(found, key=lambda result: result.examples, default=None)
    return "nothing is scored" if most is None else most.on


def _run_json(run: ComparedRun) -> dict[str, Any]:
    evaluation = run.evaluation
    return {
        "folder": str(run.folder),
        "seed": evaluation.seed,
        "step": evaluation.step,
        "last_step": run.last_step,
        "split": evaluation.split,
        "health": run.faults,
        "curves": list(run.curves),
    }


def _row_json(row: Row) -> dict[str, Any]:
    result = row.result
    names = ("name", "variable", "rule", "by", "protocol", "unit", "examples", "split", "fitted_on", "void")
    described = {name: getattr(result, name) for name in names}
    return {**described, "values": list(row.values), "mean": row.mean, "std": row.std, "n": len(row.known)}
