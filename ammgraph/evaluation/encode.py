"""`ammgraph encode`: what a run's model says about a user's own examples.

Written as arrays, `.npz`, or as a table, `.csv` or `.parquet`.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import scipy  # loads its own parts where they are used
import torch
from torch import Tensor

from ammgraph.data.records import Split
from ammgraph.data.table_files import needs_pyarrow
from ammgraph.diagnostics import RunError
from ammgraph.evaluation import results
from ammgraph.evaluation.as_table import csv_text, table_columns
from ammgraph.evaluation.conditional import chain_of, starts_of
from ammgraph.evaluation.evaluate import RULES, batches, category_scores, infer, read_by, rule_text
from ammgraph.evaluation.examples import Example, check_shape, example_of, read_given
from ammgraph.evaluation.loading import LoadedModel, load_model
from ammgraph.evaluation.metrics import Array
from ammgraph.evaluation.results import Evaluation
from ammgraph.nn.model import Model
from ammgraph.plan.draws import DrawPlan
from ammgraph.plan.identity import plan_hash
from ammgraph.plan.plan import Plan, ReadoutPlan
from ammgraph.plan.queries import from_example, inferring_draws
from ammgraph.runs.outputs import check_output, head_of, is_npz, is_parquet, npz, parquet, refuse_input, write_output
from ammgraph.terminal import command, one_line

_LONGEST_HEADER = 2**20


@dataclass(frozen=True, eq=False)
class Encoding:
    """What was inferred about N images or vectors.

    Args:
        images: a name for each.
        values: name -> array: for a categorical `y` the most probable category by q(y|x), `y` (N,), all probabilities,
            `y_posterior` (N, K), and by the Bayes rule of eq. 19 `y_bayes` and `y_bayes_posterior`; for a real `z` its
            mean, `z` (N, n). Where the run was evaluated also `y_class` and `y_bayes_class`, names of classes.
        by: name -> where it comes from, in the spec's notation.
        example: what was encoded, an `image` or a `vector`.
    """

    images: tuple[str, ...]
    values: dict[str, Array]
    by: dict[str, str]
    example: Literal["image", "vector"] = "image"

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write it as `encode_run` does, to a `.csv`, a `.parquet` or an `.npz`.

        Raises:
            RunError: the file cannot be written, or is not to be replaced.
        """
        _check_output(Path(path), force)
        write_encoding(self, Path(path))
        return Path(path)


def encode_run(
    folder: Path,
    images: Path | Tensor,
    output: Path | None,
    device: torch.device,
    force: bool = False,
    variable: str | None = None,
) -> Encoding:
    """Encode images by a run's newest checkpoint; needs no labels and not the run's data set.

    Args:
        folder: the run directory.
        images: what `read_given` reads.
        output: where it is written, an `.npz`, a `.csv` or a `.parquet`; nothing is unless given.
        device: where the model runs.
        force: whether an output that is there is replaced whatever it is; else only one of the same columns.
        variable: which variable the examples are; the first image or vector of the data unless given.

    Raises:
        RunError: as `load_model`; the images are not the model's; it infers nothing from an image; the file cannot be
            written, or is not to be replaced.
    """
    if output is not None:
        if isinstance(images, Path):
            refuse_input(output, images)
        _check_output(output, force)
    loaded = load_model(folder, device)
    example = example_of(loaded.plan, variable)
    examples, names = read_given(loaded, images, example)
    found = encode(loaded.model, loaded.plan, examples, names, variable)
    encoding = with_classes(found, loaded, example.plan.readouts)
    if output is not None:
        write_encoding(encoding, output)
    return encoding


@torch.no_grad()
def encode(model: Model, plan: Plan, pixels: Tensor, names: tuple[str, ...], variable: str | None = None) -> Encoding:
    """The values of every variable that the model infers from an image or a vector alone, at their means.

    Args:
        model: the weights to ask.
        plan: the compiled spec.
        pixels: images (N, C, H, W), uint8 or floats in [0, 1]; or vectors (N, D, 1, 1), scaled as in training.
        names: a name for each.
        variable: which variable the examples are; see `example_of`.

    Raises:
        RunError: nothing is inferred from them alone, or what is inferred is NaN or infinite.
    """
    example = example_of(plan, variable)
    check_shape(example, pixels)
    device, whole, plan, kind = next(model.parameters()).device, plan, example.plan, example.kind
    readouts = [
        readout
        for readout in plan.readouts
        if from_example(plan.draw(readout.draw), example.name, *read_by(plan, readout))
    ]
    latents = _latents(example)
    if not readouts and not latents:
        what = f"{'an' if kind == 'image' else 'a'} {kind}"
        why = f"what it infers takes a label, or what is drawn beside the {kind}, or no {kind}"
        raise RunError(f"this model infers nothing from {what} alone: {why}{_by_sampling(whole, example)}")
    by: dict[str, str] = {}
    found: dict[str, list[Array]] = {}
    split = Split(pixels, torch.zeros(len(pixels), dtype=torch.int64), kind)  # labels that no factor reads
    for examples in batches(split, device):
        for readout in readouts:
            for rule, scores in category_scores(model, plan, readout, examples).items():
                name = f"{readout.variable}{'_bayes' if RULES[rule] == 'bayes' else ''}"
                with np.errstate(invalid="ignore"):  # what is no number is told below
                    posterior = scipy.special.softmax(scores.double().cpu().numpy(), axis=1)
                found.setdefault(name, []).append(posterior.argmax(1))
                found.setdefault(f"{name}_posterior", []).append(posterior)
                by[name] = by[f"{name}_posterior"] = rule_text(plan, readout, RULES[rule])
        for name, draw in latents.items():
            values = infer(model, plan, draw, {name}, examples).samples[name]
            found.setdefault(name, []).append(values.flatten(1).cpu().numpy())
            by[name] = draw.factor_of(name).text
    inferred = {name: np.concatenate(parts) for name, parts in found.items()}
    _check_finite(inferred, names, kind)
    return Encoding(names, inferred, by, kind)


def _check_finite(values: dict[str, Array], names: tuple[str, ...], kind: str) -> None:
    """What is not a number says nothing, and its most probable category would be the first one."""
    for name, array in values.items():
        wrong = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
        if len(wrong):
            first, others = (
                names[wrong[0]] or str(wrong[0]),
                f", and of {len(wrong) - 1:,} more" if wrong[1:].size else "",
            )
            raise RunError(
                f"the model infers no finite `{name}` of {kind} `{first}`{others}: what it is asked about lies too far "
                f"from what it was trained with, or its training has diverged; leave such {kind}s out"
            )


def with_classes(encoding: Encoding, loaded: LoadedModel, readouts: Sequence[ReadoutPlan]) -> Encoding:
    """Categories by the names of their classes, where `evaluation.json` of the same weights knows these.

    `readouts` say from where they were read.

    A supervised category is a class. A cluster has the class that most of its examples had, on validation images if
    there were some; "" if it had none.
    """
    try:
        evaluation = results.read(loaded.folder)
    except RunError:
        return encoding
    state = (plan_hash(loaded.plan), loaded.step, loaded.weights)
    if evaluation is None or (evaluation.plan, evaluation.step, evaluation.weights) != state:
        return encoding
    values, by = dict(encoding.values), dict(encoding.by)
    for readout in readouts:
        for name, rule in ((readout.variable, "posterior"), (f"{readout.variable}_bayes", "bayes")):
            if name in encoding.values:
                names, source = _class_names(evaluation, readout, rule, encoding.values[f"{name}_posterior"].shape[1])
                if names:
                    values[f"{name}_class"] = np.array(names)[encoding.values[name]]
                    by[f"{name}_class"] = f"{encoding.by[name]}, {source}"
    return replace(encoding, values=values, by=by)


def _class_names(evaluation: Evaluation, readout: ReadoutPlan, rule: str, size: int) -> tuple[list[str], str]:
    """The class of each category, and how it was found."""
    classes = evaluation.classes_of(readout.name)
    if not classes:
        return [], ""
    if readout.supervised:
        return [*classes, *[""] * (size - len(classes))], "a class each"
    fits = [
        result
        for result in evaluation.results
        if (result.variable, result.rule, result.protocol) == (readout.name, rule, "majority")
        and len(result.assignment) == size
        and max(result.assignment) < len(classes)
        and result.fitted_on
    ]
    if not fits:
        return [], ""
    fit = min(fits, key=lambda result: result.fitted_on != "validation")
    names = [classes[label] if label >= 0 else "" for label in fit.assignment]
    return names, f"majority on {fit.fitted}"


def write_encoding(encoding: Encoding, output: Path) -> None:
    """Arrays and `image` or `vector`, the names (`.npz`); or a record an image and a column a number (`.csv`,
    `.parquet`).

    Raises:
        RunError: the file cannot be written; what was there before is untouched.
    """
    names = [one_line(name) for name in encoding.images]
    if output.suffix.lower() == ".npz":
        write_output(output, npz({encoding.example: np.array(names), **encoding.values}, "encode"))
        return
    columns = table_columns(encoding.example, names, encoding.values, {})
    is_csv = output.suffix.lower() == ".csv"
    write_output(output, csv_text(columns).encode("utf-8") if is_csv else parquet(columns, "encode"))


def _check_output(output: Path, force: bool) -> None:
    if output.suffix.lower() not in (".csv", ".parquet", ".npz"):
        raise RunError(f"`{output}`: expected a name that ends in .npz, .csv or .parquet")
    if output.suffix.lower() == ".parquet":
        needs_pyarrow(str(output))
    check_output(output, _is_encoding, force)


def _is_encoding(path: Path) -> bool:
    """Whether `encode` has written a file: a table by its columns, of any model."""
    if path.suffix.lower() == ".npz":
        return is_npz(path, "encode")
    if path.suffix.lower() == ".parquet":
        return is_parquet(path, "encode")
    line, end, _ = head_of(path, _LONGEST_HEADER).partition(b"\r\n")
    first, *others = line.decode("utf-8", errors="replace").split(",")
    known = (re.fullmatch(r"\w+_(\d+|class)", column) or f"{column}_posterior_0" in others for column in others)
    return first in ("image", "vector") and bool(end and others) and all(known)


def _by_sampling(plan: Plan, example: Example) -> str:
    """What is drawn from such an example, and by which command; "" where nothing is."""
    for start in starts_of(plan):
        try:
            found = chain_of(start, {}).example
        except RunError:  # it reads more than one example
            continue
        if (found.of, found.name) == (example.of, example.name):
            what = command("sample", "RUN", "--from", start.source, "--variable", start.variable, "--examples", "FILE")
            return f"; `{what}` draws `{start.variable}` given one"
    return ""


def _latents(example: Example) -> dict[str, DrawPlan]:
    """The real variables that are inferred from an example alone, and from which distribution."""
    plan, of = example.plan, example.name
    names = [variable.name for variable in plan.variables if variable.kind == "real"]
    draws = {name: [draw for draw in inferring_draws(plan, name) if from_example(draw, of, name)] for name in names}
    return {name: found[0] for name, found in draws.items() if found}
