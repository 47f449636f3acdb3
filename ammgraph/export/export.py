"""A run directory comes in; `model.py`, `weights.pt` and, if asked for, ONNX files go out. The run is not changed."""

import io
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError, counted
from ammgraph.evaluation.loading import load_model
from ammgraph.export.as_onnx import onnx_programs
from ammgraph.export.model import askings, constant_attributes, network_attributes
from ammgraph.export.networks import attributes
from ammgraph.export.source import model_source
from ammgraph.nn.model import Model
from ammgraph.plan.plan import Plan
from ammgraph.runs import files

SOURCE, WEIGHTS = "model.py", "weights.pt"


def export_run(folder: Path, output: Path, *, onnx: bool = False) -> tuple[Path, ...]:
    """Write the newest checkpoint of a run as a program that needs PyTorch alone; the files written.

    Args:
        folder: the run directory.
        output: the folder of the export, which is made if need be.
        onnx: whether what can be asked of the model is written as ONNX too.

    Raises:
        RunError: as `load_model` and `onnx_programs`; an export stands there already; the files cannot be written, and
            none is.
    """
    loaded = load_model(folder, torch.device("cpu"))
    asked = [f"{asking.name}.onnx" for asking in askings(loaded.plan)] if onnx else []
    kept = [name for name in (SOURCE, WEIGHTS, *asked) if os.path.lexists(output / name)]
    if kept:
        raise RunError(f"{output / kept[0]} exists, and may have been edited; name another folder with `--output`")
    averaged = ", averaged" if loaded.weights == "ema" else ""
    origin = (
        f"Its weights are those of a run of `{loaded.settings.name}` after {counted(loaded.step, 'step')}{averaged}."
    )
    source = model_source(loaded.plan, loaded.model, loaded.title, origin, loaded.settings.every_scaling)
    weights = exported_weights(loaded.plan, loaded.model)
    programs = onnx_programs(loaded.plan, source, weights) if onnx else {}
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    contents = {SOURCE: source.encode("utf-8"), WEIGHTS: buffer.getvalue()}
    contents |= {f"{name}.onnx": program.model_proto.SerializeToString() for name, program in programs.items()}
    _write(folder, output, contents)
    return tuple(output / name for name in (SOURCE, WEIGHTS, *asked))


def _write(folder: Path, output: Path, contents: Mapping[str, bytes]) -> None:
    """Write all files of an export, or none; a run may come from a stranger, with a link where the export goes."""
    written = []
    try:
        if output.parent == folder:
            files.refuse_link(output)
        files.make_folder(output)
        for name, content in contents.items():
            files.write(output / name, content)
            written.append(output / name)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise RunError(f"cannot write the export to {output}: {error.strerror or error}") from error


def exported_weights(plan: Plan, model: Model) -> dict[str, Tensor]:
    """The weights by the names that the exported classes give them."""
    weights: dict[str, Tensor] = {}
    for network in plan.networks:
        own, prefix = attributes(network), network_attributes(plan)[network.name]
        for row in network.rows:
            source = model.network(network.name).row(row.name)
            layer, norm = f"{prefix}.{own.get(row.name)}", f"{prefix}.{own.get(f'{row.name}/norm')}"
            found = {
                f"{layer}.weight": source.weight if row.normed is None else None,
                f"{layer}.bias": source.bias,
                f"{norm}.weight": source.gain,
                f"{norm}.bias": source.shift,
                f"{norm}.running_mean": source.running_mean,
                f"{norm}.running_var": source.running_variance,
                f"{norm}.num_batches_tracked": torch.tensor(0) if row.batchnorm else None,
            }
            if row.normed is not None:
                found |= {f"{layer}.{name}": getattr(source, own) for own, name in row.normed.stored.items()}
            weights |= {name: value.detach().clone().contiguous() for name, value in found.items() if value is not None}
    constants = constant_attributes(plan, model).items()
    return weights | {attribute: model.constant(site).clone() for site, (attribute, _) in constants}
