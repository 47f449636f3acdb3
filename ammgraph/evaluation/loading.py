"""A run directory comes in, its trained model goes out, ready to be asked. Nothing in the directory is changed.

`load_model` is what a run has learned, without its data set: enough to sample and to encode. `load_run` is the same
with the data set: what an evaluation needs.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import Dataset, changed_splits, split_text
from ammgraph.diagnostics import RunError
from ammgraph.folders import BEST, CHECKPOINTS, PLAN, SPEC
from ammgraph.nn import probe
from ammgraph.nn.model import Model, build
from ammgraph.plan.identity import of_another_version, plan_hash
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import on_data_set
from ammgraph.runs import checkpoint, files
from ammgraph.runs.data import may_have_moved, read_data
from ammgraph.runs.run import Place, RunOptions, moved_data, needs_given, read_options
from ammgraph.runs.states import mismatch
from ammgraph.show.text import plan_text
from ammgraph.spec.load import load_spec
from ammgraph.spec.schema import Spec
from ammgraph.train.act import use_arithmetic
from ammgraph.train.streams import check_shapes
from ammgraph.train.trainer import diverged, dtype_of

logger = logging.getLogger(__name__)
_LONGEST = 240  # characters shown of a line


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """What a run has learned: `model` holds the weights that its spec says are evaluated, in float32, on the device."""

    folder: Path
    spec: Spec
    plan: Plan
    model: Model
    settings: RunOptions
    step: int
    state: Path  # the folder of the checkpoint
    weights: Literal["ema", "last"]
    warnings: tuple[str, ...]  # newer checkpoints that could not be used, data that are not those of the run

    @property
    def title(self) -> str:
        """The spec's title or, without one, its file's name."""
        return self.plan.title or self.settings.name


@dataclass(frozen=True, eq=False)
class LoadedRun(LoadedModel):
    """What a run has learned, and the data set that it learned from."""

    dataset: Dataset
    of: str = ""  # the data set that it is about, where the plan has several

    @property
    def parts(self) -> tuple["LoadedRun", ...]:
        """What can be asked about the records of each data set alone; itself where there is one."""
        found = self.dataset.by_name.items()
        return tuple(
            replace(self, plan=on_data_set(self.plan, name), dataset=dataset, of=name) for name, dataset in found
        )


def load_model(folder: Path, device: torch.device) -> LoadedModel:
    """The newest valid checkpoint of a run as a model; newer ones that cannot be used are logged as warnings.

    Where the spec says what is best, `evaluation.keep`, it is the newest one that was best when it was saved.

    Args:
        folder: a run directory.
        device: where the model goes.

    Raises:
        RunError: no run directory, no usable checkpoint, or checkpoints that are not of this spec.
        SpecError: `spec.json` is no valid spec.
    """
    use_arithmetic(device, "float32")
    settings = read_options(folder)
    path = folder / SPEC
    if not path.is_file():
        raise RunError(f"{folder} is no whole run directory: it has no {SPEC}")
    spec = load_spec(path, ())
    plan = compile_spec(spec)
    chosen = plan.evaluation.keep is not None and checkpoint.has_checkpoint(folder / BEST)
    states = folder / (BEST if chosen else CHECKPOINTS)
    step, state, passed_over = checkpoint.load_newest(states)
    check_plan(folder, plan, state)
    warnings = tuple(f"{problem}; an older checkpoint is used" for problem in passed_over)
    for warning in warnings:
        logger.warning(warning)
    averaged = plan.evaluation.weights == "ema" and state.get("averaged") is not None
    # Class frequencies are a constant of the model, so that they are in the checkpoint: any number holds their place.
    model = build(plan, torch.Generator(), torch.ones(1)).to(dtype_of(settings.precision))
    _load_weights(folder, model, state.get("averaged" if averaged else "model"))
    broken = probe.not_finite(plan, model.float())
    if broken:
        raise RunError(
            f"the newest checkpoint in {folder}, of step {step:,}, gives no numbers: {broken} is not finite; "
            f"{diverged(plan)}"
        )
    return LoadedModel(
        folder=folder,
        spec=spec,
        plan=plan,
        model=model.to(device).requires_grad_(False),
        settings=settings,
        step=step,
        state=states,
        weights="ema" if averaged else "last",
        warnings=warnings,
    )


def load_run(folder: Path, place: Place, dataset: Dataset | None = None) -> LoadedRun:
    """The newest valid checkpoint of a run as a model, with the run's data set.

    Args:
        folder: a run directory.
        place: its device and its data.
        dataset: the data set, where it is read already.

    Raises:
        RunError: as `load_model`; or the data are not there, or not of the model's shapes.
        SpecError: `spec.json` is no valid spec.
    """
    loaded = load_model(folder, place.device)
    if dataset is None:
        needs_given(folder, loaded.settings, place)
        began = loaded.settings.data_dir
        moved = moved_data(loaded.spec.data_sets, loaded.settings, place.data_dir)
        directory = place.data_dir or (Path(began) if began else None)
        scaling_of = loaded.settings.scaling_of
        with may_have_moved(loaded.settings):
            dataset = read_data(
                loaded.plan, directory, place.download, given=place.given, scaling_of=scaling_of, data_sets=moved
            )
    check_shapes(loaded.plan, dataset)
    fields = {name: getattr(loaded, name) for name in LoadedModel.__dataclass_fields__}
    for split in changed_splits(loaded.settings.data_sha256, dataset):
        fields["warnings"] += (f"the {split_text(split)} split is not the one that the run began with",)
        logger.warning(fields["warnings"][-1])
    return LoadedRun(**fields, dataset=dataset)


def check_plan(folder: Path, plan: Plan, state: Mapping[str, Any]) -> None:
    """The checkpoint is of the plan that `spec.json` compiles to now; where it is not, say what has changed."""
    written = state.get("plan")
    if isinstance(written, str) and written == plan_hash(plan):
        return
    if not isinstance(written, str):
        raise RunError(f"{folder / CHECKPOINTS} holds a checkpoint that ammgraph did not write")
    if reason := of_another_version(state["plan"]):
        raise RunError(f"the checkpoints in {folder} cannot be used: {reason}")
    try:
        before = files.read(folder / PLAN).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        before = ""
    now = plan_text(plan)
    if before in ("", now):
        raise RunError(f"the checkpoints in {folder} are of another run: their plan is not that of its {SPEC}")
    raise RunError(
        f"the checkpoints in {folder} are of another plan: {SPEC}, what `--set` says, or ammgraph itself, has "
        f"changed since they were written. {_first_difference(before, now)}"
    )


def _first_difference(before: str, now: str) -> str:
    old, new = before.splitlines(), now.splitlines()
    place = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    was, is_now = (lines[place].strip()[:_LONGEST] if place < len(lines) else "(nothing)" for lines in (old, new))
    return f"The first difference: {PLAN}, line {place + 1}, has `{was}`; {SPEC} now gives `{is_now}`"


def _load_weights(folder: Path, model: Model, weights: Any) -> None:
    problem = mismatch(weights, model.state_dict())
    if problem:
        raise RunError(f"the newest checkpoint in {folder} does not hold this model's weights: {problem}")
    model.load_state_dict(weights)
