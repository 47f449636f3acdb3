"""What the page says of how a run came about: facts, whether it has ended, what differs from a shipped spec."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import RunError, counted
from ammgraph.evaluation.loading import LoadedRun
from ammgraph.folders import BEST, CHECKPOINTS, tried_folder
from ammgraph.report.curves import Record
from ammgraph.report.sweep import measure_words
from ammgraph.runs import checkpoint, divergence, record
from ammgraph.runs.run import read_environment
from ammgraph.runs.sweeps import Sweep, Tried, is_sweep, read_sweep, read_tried
from ammgraph.show.difference import difference_text, differences
from ammgraph.spec.load import load_spec
from ammgraph.spec.shipped import shipped_specs
from ammgraph.terminal import command
from ammgraph.train.stages import stages_of
from ammgraph.train.streams import Feed


@dataclass(frozen=True)
class Unfinished:
    """A run that stands at a step before its last one."""

    step: int
    last: int
    resume: str  # the command that goes on
    pruned: str = ""  # that a sweep has pruned it, by which measure
    sweep: str = ""  # the command that shows that sweep
    diverged: str = ""  # that it has diverged after that step, and what to lower


def unfinished(loaded: LoadedRun) -> Unfinished | None:
    """Where a run was interrupted; None of one that has ended, or whose data no longer say how long it is."""
    try:
        feed = Feed(loaded.plan, loaded.dataset, loaded.settings.seed, torch.device("cpu"), torch.float32)
    except RunError:
        return None
    last = stages_of(loaded.plan, feed)[-1].last
    step = trained(loaded)
    if not 0 < step < last:
        return None
    pruned, sweep = _pruned(loaded.folder), command("report", loaded.folder.parent)
    return Unfinished(
        step,
        last,
        resume=command("train", "--resume", loaded.folder),
        pruned=pruned,
        sweep=sweep if pruned else "",
        diverged=divergence.told(loaded.folder),
    )


def _pruned(folder: Path) -> str:
    """By which sweep a trial was pruned, at which look; empty of a run that is no such trial."""
    parent = folder.resolve().parent
    try:
        if not is_sweep(parent):
            return ""
        sweep, tried = read_sweep(parent), read_tried(parent)
    except RunError:  # what is damaged of a sweep is told by its own page
        return ""
    own = (one for one in tried if one.state == "pruned" and tried_folder(parent, one.number) == folder.resolve())
    return next((f"pruned by the sweep {parent.name}{_at_look(sweep, one)}" for one in own), "")


def _at_look(sweep: Sweep, one: Tried) -> str:
    if not one.looks:
        return ""
    (look, value), measure = one.looks[-1], measure_words(sweep.metric)
    return f" at look {look}, where its {measure} was {value:.5g}, worse than half of the trials before it"


def changes_of_shipped(loaded: LoadedRun) -> list[str]:
    """What differs from the shipped spec of the run's name, as `ammgraph diff` says it; nothing without such a one."""
    path = shipped_specs().get(loaded.settings.name)
    if path is None:
        return []
    spec = load_spec(path, ())
    plan = compile_spec(spec)
    changes = differences((spec, plan), (loaded.spec, loaded.plan))
    return difference_text(changes, plan, loaded.plan) if changes else []


def trained(loaded: LoadedRun) -> int:
    """The steps of the run, of which the state that is shown may be an earlier one."""
    states = loaded.folder / CHECKPOINTS
    return loaded.step if loaded.state == states else checkpoint.newest_step(states)


def weights(loaded: LoadedRun) -> str:
    """Which weights are shown."""
    averaged = "averaged" if loaded.weights == "ema" else ""
    return f"best {averaged}".rstrip() if loaded.state.name == BEST else averaged or "last"


def facts(loaded: LoadedRun, records: Sequence[Record]) -> list[tuple[str, str]]:
    """Names and values; empty ones are not shown."""
    plan, settings = loaded.plan, loaded.settings
    environment = read_environment(loaded.folder)
    epoch = records[-1].get("epoch") if records else None
    epochs = f", {epoch:.4g} epochs" if isinstance(epoch, int | float) else ""
    device = f"{environment.get('device', '')}, {environment.get('threads', '?')} threads" if environment else ""
    versions = [f"{name} {environment[name]}" for name in ("ammgraph", "torch", "python") if name in environment]
    return [
        ("Seed", str(settings.seed)),
        ("Trained", f"{counted(trained(loaded), 'step')}{epochs}"),
        ("Batch", ", ".join(dict.fromkeys(str(draw.batch_size) for draw in plan.draws))),
        ("Duration", _duration(records)),
        ("Precision", settings.precision),
        ("Weights", weights(loaded) + (f", of step {loaded.step:,}" if loaded.state.name == BEST else "")),
        ("Data", loaded.dataset.told),
        ("Device", device),
        ("Machine", str(environment.get("platform", ""))),
        ("Versions", ", ".join(versions)),
        ("Directory", str(loaded.folder)),
        ("Warnings", "; ".join(loaded.warnings)),
    ]


def _duration(records: Sequence[Record]) -> str:
    """Time of training, and of a step."""
    found = record.training_seconds(records)
    if found is None:
        return ""
    seconds = round(found)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    shown = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
    return f"about {shown}: {found / max(1, records[-1]['step']):.3g} s a step"
