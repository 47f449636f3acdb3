"""`train --dry-run`: a few steps of a spec that leave no file, and what they show of gradients, memory and time."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ammgraph.api.steps import PathLike
from ammgraph.commands.progress import clock
from ammgraph.commands.session import tell_warnings
from ammgraph.commands.train_options import TrainOptions
from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import Dataset, load_data, together
from ammgraph.data.records import DataAbsent
from ammgraph.data.synthetic import synthetic_data
from ammgraph.diagnostics import RunError, counted
from ammgraph.evaluation.starting import begin_from
from ammgraph.plan.cost import bytes_text, memory, memory_text
from ammgraph.plan.draws import FromData
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import on_data_set, record_fields
from ammgraph.runs.run import Precision, choose_device
from ammgraph.show.text import fit_text, phase_text, table
from ammgraph.spec.data_sets import DATA_SETS, ExampleKind
from ammgraph.spec.load import load_spec
from ammgraph.spec.schema import Spec
from ammgraph.terminal import print_lines
from ammgraph.train.memory import check_memory, explained
from ammgraph.train.ranks import refuse_several
from ammgraph.train.rehearsal import Rehearsal, rehearse
from ammgraph.train.stages import Stage
from ammgraph.train.trainer import Trainer


@dataclass(frozen=True, eq=False)
class DryRun:
    """What a dry run has shown, and on what."""

    plan: Plan
    device: str
    precision: Precision
    data: str
    absent: str  # why the data are synthetic; empty where they are real
    stages: tuple[Stage, ...]
    found: tuple[Rehearsal, ...]  # of every phase


def dry_run(options: TrainOptions) -> int:
    """`ammgraph train --dry-run`: 0 where every network would learn, else 1."""
    refuse_several("`--dry-run` takes one process")
    kept = ("resume", "trials", "run_dir", "log", "log_every", "checkpoint_seconds")
    wrong = next((f"--{name.replace('_', '-')}" for name in kept if getattr(options, name) is not None), None)
    if wrong is not None:
        raise RunError(f"`--dry-run` tries a spec and keeps nothing; it takes no `{wrong}`")
    spec = load_spec(str(options.spec), options.set, allow_outside=options.allow_outside)
    tell_warnings(spec)
    shown = try_spec(
        spec,
        seed=options.seed or 0,
        device=options.device,
        precision=options.precision or "float32",
        data_dir=options.data_dir,
    )
    print_lines(lines(shown))
    return 1 if any(found.problems for found in shown.found) else 0


def try_spec(
    spec: Spec | PathLike,
    *,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "float32",
    data_dir: PathLike | None = None,
) -> DryRun:
    """A few steps of a spec that leave no file: gradients measured against the plan, time, memory.

    Data that are not at hand are not fetched; random images take their place.

    Args:
        spec: a spec, or the path of one.
        seed: as for `fit`.
        device: as for `fit`.
        precision: as for `fit`.
        data_dir: as for `fit`.

    Raises:
        RunError: the data are not the model's; a weight is not finite after the steps.
        SpecError: the spec is wrong.
    """
    plan = compile_spec(spec if isinstance(spec, Spec) else load_spec(spec))
    dataset, absent = _at_hand(plan, None if data_dir is None else Path(data_dir))
    chosen = choose_device(device)
    check_memory(plan, chosen, precision)
    with explained(plan, precision, "trying some steps"):
        found = []
        for phase, _ in enumerate(plan.stages):
            trainer = Trainer(plan, dataset, seed, chosen, precision)
            begin_from(plan, trainer.models)
            found.append((trainer.stages, rehearse(trainer, phase)))
    stages, rehearsals = found[0][0], tuple(rehearsal for _, rehearsal in found)
    return DryRun(plan, str(chosen), precision, dataset.told, absent, stages, rehearsals)


def lines(shown: DryRun) -> list[str]:
    """What a dry run has shown, for a person."""
    plan, several = shown.plan, len(shown.found) > 1
    told: list[str] = []
    for index, found in enumerate(shown.found):
        told += [phase_text(plan, index)] if several else []
        told += [f"before it, not here: {fit_text(fit)}" for fit in plan.stages[index].fits]
        told += [""] if several else []
        told += [*_gradients(shown, found), "", *_costs(shown, index), *([""] if several else [])]
    seconds = [found.seconds_per_step * (s.last - s.first) for found, s in zip(shown.found, shown.stages, strict=True)]
    return [
        f"{plan.title or 'dry run'}",
        f"  data    {shown.data}",
        *([f"          {shown.absent}"] if shown.absent else []),
        f"  device  {shown.device}, {shown.precision}",
        "",
        *told,
        *([f"all phases: {clock(sum(seconds))} for {shown.stages[-1].last:,} steps"] if several else []),
        "nothing was written",
    ]


def _gradients(shown: DryRun, found: Rehearsal) -> list[str]:
    """What each loss gives to each network in a phase's first step, and the sums."""
    plan = shown.plan
    many, games, terms = max(reach.turn for reach in found.reaches) > 1, bool(plan.games), bool(plan.terms)
    owner = " or ".join([*(["game"] if games else []), *(["term"] if terms else [])])
    head = ("turn", owner, "player", "network", "gradient norm", "through")
    reaches = [
        (
            str(reach.turn),
            reach.game,
            "-" if reach.player == "value" else reach.player,
            reach.network,
            f"{reach.norm:.3g}",
            ", ".join(reach.through) or "its own logit",
        )
        for reach in found.reaches
    ]
    columns = [column for column in range(6) if (many or column) and (games or column != 2)]
    rows = [[row[column] for column in columns] for row in (head, *reaches)]
    told = [*(["each player's loss in each game"] if games else []), *(["each term"] if terms else [])]
    sums = [("network", "parameters", "gradient norm")]
    sums += [(name, f"{plan.network(name).parameters:,}", f"{norm:.3g}") for name, norm in found.norms.items()]
    return [
        f"gradients of the first step: {', '.join(told)}, along the paths that the plan says",
        *table(rows, right=(columns.index(4),)),
        "",
        "gradients that the optimizers get",
        *table(sums, right=(1, 2)),
        *[f"error: {problem}" for problem in found.problems],
    ]


def _costs(shown: DryRun, index: int) -> list[str]:
    """Memory and time of a phase's steps."""
    found, stage = shown.found[index], shown.stages[index]
    per_step, steps, count = found.seconds_per_step, stage.last - stage.first, len(found.seconds)
    timed = f"the median of {count} steps after a first one" if count > 1 else "measured on the second one"
    kind = "in all in the process" if shown.device == "cpu" else "allocated in all"
    estimate = memory(shown.plan, shown.precision)
    return [
        f"memory  {bytes_text(estimate.total)} expected for a step ({memory_text(estimate)});",
        f"        measured {bytes_text(found.peak - found.resident)} for the steps, {bytes_text(found.peak)} {kind}",
        f"time    {per_step:.3g} s a step, {timed}; without evaluations {clock(per_step * stage.steps_per_epoch)} an "
        f"epoch of {counted(stage.steps_per_epoch, 'step')}, {clock(per_step * steps)} in all for {steps:,}",
    ]


def _at_hand(plan: Plan, directory: Path | None) -> tuple[Dataset, str]:
    """The data sets, and why some are synthetic; empty where all are real."""
    found, absent = {}, []
    for name in plan.data_names:
        part = on_data_set(plan, name)
        try:
            found[name] = load_data(part.data, directory, False, fields=record_fields(part))
        except DataAbsent as error:
            absent.append(str(error).partition(". ")[0])
            found[name] = _synthetic(part)
    return together(found), "; ".join(absent)


def _synthetic(plan: Plan) -> Dataset:
    """Random examples of the shape that the plan takes from data, enough for some steps."""
    origins = [f.origin for draw in plan.draws for f in draw.factors if isinstance(f.origin, FromData)]
    fields = [(plan.variable(name).shape, field) for origin in origins for name, field in origin.fields]
    examples = [(shape, field) for shape, field in fields if field != "label"]
    labels = [shape[0] for shape, field in fields if field == "label"]
    shape, field = examples[0] if examples else ((1, 1, 1), "image")
    kind: ExampleKind = "vector" if field == "vector" else "image"
    classes = min(labels, default=10)
    if (known := DATA_SETS.get(plan.data.dataset)) is not None:
        shape, classes, kind = plan.data.example_shape or known.shape, max(1, known.classes), known.kind
    labeled = plan.data.labeled.count if plan.data.labeled is not None and plan.data.labeled.count != "all" else 0
    least = 10 * max(draw.batch_size for draw in plan.draws) + labeled
    dataset = synthetic_data(plan.data, shape, classes, least, kind)
    named = [
        (name, plan.variable(of).shape, dict(origin.fields)[of]) for origin in origins for of, name in origin.named
    ]
    others = {name: _random(kind, shape, len(dataset.train)) for name, shape, kind in named}
    classes_of = {name: tuple(map(str, range(shape[0]))) for name, shape, kind in named if kind == "label"}
    return replace(dataset, train=replace(dataset.train, others=others, other_classes=classes_of))


def _random(kind: str, shape: tuple[int, int, int], count: int) -> torch.Tensor:
    """So many records of a field that has a name: labels in turn, or examples."""
    if kind == "label":
        return torch.arange(count) % shape[0]
    return torch.rand((count, *shape), generator=torch.Generator().manual_seed(0))
