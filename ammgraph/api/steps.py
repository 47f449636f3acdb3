"""One run, step by step: it is opened at its first step or its newest checkpoint, trained, evaluated.

Training meets evaluation here and nowhere else. Nothing is printed; `session` is what a terminal shows beside it.
"""

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ammgraph import __version__
from ammgraph.data.dataset import Dataset, changed_splits, fingerprints, split_text
from ammgraph.data.records import Split
from ammgraph.diagnostics import RunError, counted
from ammgraph.evaluation import score
from ammgraph.evaluation.evaluate import askable
from ammgraph.evaluation.evaluate import evaluate as evaluate_weights
from ammgraph.evaluation.loading import check_plan, load_run
from ammgraph.evaluation.results import SPLITS, Evaluation
from ammgraph.evaluation.starting import begin_from
from ammgraph.evaluation.synthesis import strips_of
from ammgraph.folders import CHECKPOINTS, EVALUATION, METRICS, OPTIONS, SPEC
from ammgraph.nn import model as networks
from ammgraph.plan.identity import plan_hash
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import on_data_set
from ammgraph.runs import checkpoint, record, run, strips
from ammgraph.runs.data import may_have_moved, read_data
from ammgraph.runs.run import Place, RunOptions
from ammgraph.runs.states import NotFinite
from ammgraph.runs.sweeps import refuse_change
from ammgraph.show.notebook import compile_spec
from ammgraph.show.text import plan_text
from ammgraph.spec.load import load_spec
from ammgraph.spec.schema import Spec
from ammgraph.terminal import command
from ammgraph.train.memory import check_evaluation_memory, check_memory, explained
from ammgraph.train.ranks import ALONE, Ranks, shard
from ammgraph.train.trainer import Report, Trainer, diverged, follow
from ammgraph.train.trainer import fit as advance_to_the_end

logger = logging.getLogger(__name__)

# Without held-out images an evaluation during training looks at so many training images at most.
GLANCE = 2000
LOG_EVERY = 50
CHECKPOINT_SECONDS = 60.0
LENGTH = ("steps", "epochs")  # of training, or of a phase
# Ctrl-C, a supervisor's request, a terminal that is closed.
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Training:
    """What a run trains with, at any step; its directory is locked."""

    folder: Path
    settings: RunOptions
    trainer: Trainer
    dataset: Dataset


def evaluate_training(training: Training, device: str) -> Evaluation:
    """Score what a run has come to, on the data that it was trained with."""
    place = Place(run.choose_device(device))
    return score.evaluate_and_write(load_run(training.folder, place, training.dataset))


@contextmanager
def new_training(
    spec: Spec, settings: RunOptions, run_dir: Path | None, place: Place, ranks: Ranks = ALONE
) -> Iterator[Training]:
    """A run at its first step, in a folder that is made once everything is known to be trainable.

    Settings without a command get the one that trains the same again.
    """
    trainer, dataset = _trainer(spec, settings, replace(place, data_dir=_folder(settings.data_dir)), ranks)
    if not ranks.first:
        yield _following(run_dir, settings, trainer, dataset)
        return
    starts = begin_from(trainer.plan, trainer.models)
    folder = run_dir or run.new_folder(Path("runs"), settings.name)
    relative = {name: data.path for name, data in spec.data_sets.items() if data.path and not _is_absolute(data.path)}
    scalings = dict(dataset.scalings)
    settings = replace(
        settings,
        data_sha256=fingerprints(dataset),
        scaling=scalings.pop("", None),
        starts=starts or None,
        data_given=None if place.given is None else place.given.shapes,
        data_path=relative.pop("", None),
        scalings=scalings or None,
        data_paths=relative or None,
    )
    settings = replace(settings, command=settings.command or _again(folder, settings))
    with run.locked(folder):
        written = self_contained(spec, settings.data_dir)
        run.create(folder, settings, written, plan_text(trainer.plan), trainer.device, ranks.size)
        if starts:  # the run goes on without the earlier ones, also where it is stopped before its first checkpoint
            checkpoint.save(folder / CHECKPOINTS, trainer.step, trainer.state_dict())
        _hand_out(trainer)
        yield Training(folder, settings, trainer, dataset)


@contextmanager
def resumed_training(
    folder: Path, settings: RunOptions, overrides: Sequence[str], place: Place, ranks: Ranks = ALONE
) -> Iterator[Training]:
    """A run at its newest checkpoint, or at its first step where none was ever saved."""
    refuse_change(folder, overrides)
    run.needs_given(folder, settings, place)
    spec = load_spec(folder / SPEC, overrides)
    data_sets = run.moved_data(spec.data_sets, settings, place.data_dir)
    spec = spec.model_copy(update={"data": data_sets.get("", data_sets)})
    place = replace(place, data_dir=place.data_dir or _folder(settings.data_dir))
    with may_have_moved(settings):
        trainer, dataset = _trainer(spec, settings, place, ranks)
    if not ranks.first:
        yield _following(folder, settings, trainer, dataset)
        return
    with run.locked(folder):
        _go_on(folder, settings, trainer, dataset)
        if overrides and trainer.step < trainer.last_step:
            run.renew(folder, spec.written, plan_text(trainer.plan))
        elif overrides:
            _refuse_too_late(folder, spec, overrides, trainer.step)
        _hand_out(trainer)
        yield Training(folder, settings, trainer, dataset)


def _refuse_too_late(folder: Path, asked: Spec, overrides: Sequence[str], step: int) -> None:
    """A run at its end can be made longer; nothing else of it can be changed.

    Raises:
        RunError: something else is asked for.
    """
    if _but_for_length(asked.written) != _but_for_length(load_spec(folder / SPEC).written):
        said = ", ".join(f"`{override}`" for override in overrides)
        raise RunError(
            f"{folder} has come to its end, after {counted(step, 'step')}, and {said} "
            "would change nothing of it any more; let it be longer too, by `training.steps` or `training.epochs`, of "
            "phases by those of the last one, or begin a new run"
        )


def _but_for_length(written: dict[str, Any]) -> dict[str, Any]:
    """What a spec says beside how long it trains."""
    training = dict(written["training"])
    phases = [training, *training.pop("phases", ())]
    kept = [{key: value for key, value in phase.items() if key not in LENGTH} for phase in phases]
    return {**written, "training": kept}


def _again(folder: Path, settings: RunOptions) -> str:
    """The command, or call, that trains the same from its first step on."""
    if settings.data_given:
        return f"ammgraph.fit({str(folder / SPEC)!r}, data=..., seed={settings.seed})"
    words = ["train", folder / SPEC, "--seed", settings.seed, "--precision", settings.precision]
    words += ["--data-dir", settings.data_dir] if settings.data_dir else []
    words += ["--log-every", settings.log_every] if settings.log_every != LOG_EVERY else []
    return command(*words)


def _go_on(folder: Path, settings: RunOptions, trainer: Trainer, dataset: Dataset) -> None:
    state = None
    if checkpoint.has_checkpoint(folder / CHECKPOINTS):
        _, state, passed_over = checkpoint.load_newest(folder / CHECKPOINTS)
        for problem in passed_over:
            logger.warning(f"{problem}; an older checkpoint is used")
        check_plan(folder, trainer.plan, state)
    changed = changed_splits(settings.data_sha256, dataset)
    if changed:
        splits = " and ".join(split_text(name, SPLITS) for name in changed)
        raise RunError(
            f"the {splits} images are not those that {folder} began with (now {dataset.told}); give those with "
            "`--data-dir`, or begin a new run. To go on with other data all "
            f"the same, take `data_sha256` out of {folder / OPTIONS}"
        )
    began = run.processes_of(folder)
    if trainer.plan.statistics == "process" and began != trainer.ranks.size:
        raise RunError(
            f"the run began with {began} processes, each with its own statistics of batch norm; go on with as many"
        )
    if state is None:
        _refuse_without_checkpoints(folder, settings)
    else:
        trainer.load_state_dict(state)
        try:
            trainer.check()
        except NotFinite as error:
            raise RunError(f"{error}; {diverged(trainer.plan)}") from error
    for other in run.keep_up(folder, trainer.device, trainer.ranks.size):
        logger.warning(f"{folder} was trained with {other}: going on gives other bits than never having stopped")
    strips.cut(folder, trainer.step)
    damaged = record.cut(folder / METRICS, trainer.step, trainer.phase + 1)
    if damaged:
        logger.warning(f"{folder / METRICS}: damaged lines were left out: {damaged}")


def _refuse_without_checkpoints(folder: Path, settings: RunOptions) -> None:
    """A run that was stopped before its first checkpoint begins anew; one that was copied without them does not."""
    if not (folder / CHECKPOINTS).is_dir() or (folder / EVALUATION).exists():
        raise RunError(
            f"{folder} has lost its checkpoints, as a copy without them has: copy `{CHECKPOINTS}` too, or train it "
            f"anew, in another directory, by `{_again(folder, settings)}`"
        )


def train(training: Training, report: Report | None, stop: Callable[[], bool], glimpse: Report | None = None) -> bool:
    """Take the steps that are left, or those until `stop`; whether the end was reached. See `trainer.fit`."""
    plan, named = training.trainer.plan, training.dataset.by_name
    if not training.trainer.ranks.first:
        return follow(training.trainer, stop, training.settings.log_every)
    looks = [(on_data_set(plan, name), dataset) for name, dataset in named.items()]
    glances = [(part, _glance(part, dataset)) for part, dataset in looks]

    def look(model: networks.Model) -> dict[str, Any]:
        _keep_samples(training, model)
        return _looked_at(model, glances)

    return advance_to_the_end(
        training.trainer,
        training.folder,
        evaluate=look,
        report=report,
        glimpse=glimpse,
        stop=stop,
        log_every=training.settings.log_every,
        checkpoint_seconds=training.settings.checkpoint_seconds,
    )


def _glance(plan: Plan, dataset: Dataset) -> Split:
    """The validation examples, else some training examples."""
    train = askable(plan, "training", dataset.train)
    return dataset.validation or train.some(GLANCE)


def _keep_samples(training: Training, model: networks.Model) -> None:
    """What the weights at hand make of the same noise, where this part of the run has nothing of it yet."""
    trainer = training.trainer
    if strips.due(training.folder, trainer.step, trainer.last_step):
        strips.keep(training.folder, trainer.step, strips_of(model, trainer.plan))


def _looked_at(model: networks.Model, glances: Sequence[tuple[Plan, Split]]) -> dict[str, Any]:
    """What an evaluation in training finds on every data set; each variable is evaluated on one of them."""
    found = [evaluate_weights(model, plan, glance) for plan, glance in glances]
    every = {name: value for each in found for name, value in each.items()}
    told = [each for each in found if len(each) > 1] or found  # on others nothing was found but their number
    return every | {"examples": sum(each["examples"] for each in told)}


def self_contained(spec: Spec, data_dir: str | None) -> dict[str, Any]:
    """The resolved spec; from any folder a run must find its data and, to begin, the earlier runs that it begins as."""
    written = dict(spec.written)
    starts = {name: {"from": _absolute(network.start)} for name, network in spec.networks.items() if network.start}
    written["networks"] = {name: {**table, **starts.get(name, {})} for name, table in written["networks"].items()}
    if not data_dir:
        paths = {name: _absolute(d.path) for name, d in spec.data_sets.items() if d.path}
        if "" in paths:
            written["data"] = {**written["data"], "path": paths[""]}
        else:
            own = written["data"].items()
            written["data"] = {name: {**data, "path": paths[name]} if name in paths else data for name, data in own}
    return written


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _is_absolute(path: str) -> bool:
    return Path(path).expanduser().is_absolute()


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Ctrl-C, SIGTERM and a closed terminal ask for a stop after the step at hand; a second signal, if it is Ctrl-C,
    stops at once. `timeout` and batch systems send SIGTERM twice. What is ignored, as under `nohup`, stays ignored.
    """
    received: list[int] = []

    def ask(number: int, _frame: object) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    asking = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in asking}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _trainer(spec: Spec, settings: RunOptions, place: Place, ranks: Ranks) -> tuple[Trainer, Dataset]:
    plan = compile_spec(spec)
    if ranks.size > 1 and place.device.type == "cuda":
        torch.cuda.set_device(place.device)
    part = shard(plan, ranks.size)
    check_memory(part, place.device, settings.precision)
    with ranks.first_on_each_machine():
        # A run that goes on has learned from vectors as they were scaled when it began.
        known = settings.scaling_of
        dataset = read_data(plan, place.data_dir, place.download, given=place.given, scaling_of=known)
    for name, one in dataset.by_name.items():
        check_evaluation_memory(on_data_set(plan, name), len(one.scored()[1]), len(one.validation or ()))
    if ranks.size > 1:
        ranks.check_same(
            {
                "version of ammgraph": __version__,
                "version of torch": torch.__version__,
                "plan": plan_hash(plan),
                "length": str([(phase.steps, phase.epochs) for phase in plan.stages]),
                "data set": f"{dataset.told} {fingerprints(dataset)}",
                "seed": str(settings.seed),
                "precision": settings.precision,
                "kind of device": place.device.type,
            }
        )
    with explained(part, settings.precision, "building the networks"):
        return Trainer(plan, dataset, settings.seed, place.device, settings.precision, ranks), dataset


def _hand_out(trainer: Trainer) -> None:
    """Let the other processes begin where this one stands."""
    if trainer.ranks.size > 1:
        trainer.ranks.from_first(trainer.state_dict())


def _following(folder: Path | None, settings: RunOptions, trainer: Trainer, dataset: Dataset) -> Training:
    """A run in a process that writes nothing, at the step at which the first process stands."""
    trainer.load_state_dict(trainer.ranks.from_first(None))
    return Training(folder or Path(), settings, trainer, dataset)


def _folder(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)
