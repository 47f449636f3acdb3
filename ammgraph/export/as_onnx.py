"""What can be asked of an exported program, as ONNX: source and weights of the program come in, ONNX goes out.

Each function of the program that gives means and probabilities, as `infer` and `generate_x`, is traced from its code.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from ammgraph.diagnostics import RunError
from ammgraph.export.model import Asking, askings
from ammgraph.plan.plan import Plan


class _Asked(nn.Module):
    """A function of a model as a module: tensors in, a tuple of tensors out."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(getattr(self.model, self.name)(*inputs).values())


def onnx_programs(plan: Plan, source: str, weights: Mapping[str, Tensor]) -> dict[str, torch.onnx.ONNXProgram]:
    """`infer` and `generate_x` (with several, a name for each) -> the program, with a free number of examples.

    Inputs and outputs are named like the variables: an image is B x C x H x W, every other variable B x n.

    Args:
        plan: the compiled spec.
        source: the exported program.
        weights: by the names that its classes give them.

    Raises:
        RunError: a package is not installed; nothing can be asked of the model; ONNX has no form for what it computes.
    """
    missing = [package for package in ("onnx", "onnxscript") if find_spec(package) is None]
    if missing:
        packages = " and ".join(f"`{package}`" for package in missing)
        raise RunError(f"`--onnx` needs {packages}, not installed here; `pip install 'ammgraph[onnx]'` brings them")
    asked = askings(plan)
    if not asked:
        raise RunError(
            "`--onnx`: the model infers nothing from an image alone, and draws no image from other variables"
        )
    names: dict[str, Any] = {"__name__": "model", "__file__": "model.py"}
    exec(compile(source, "model.py", "exec"), names)
    model = names["Model"]()
    model.load_state_dict(weights)
    return {asking.name: _traced(plan, model.eval(), asking) for asking in asked}


def _traced(plan: Plan, model: nn.Module, asking: Asking) -> torch.onnx.ONNXProgram:
    variables = [plan.variable(name) for name in asking.given]
    shapes = [found.shape if found.kind == "image" else found.shape[:1] for found in variables]
    inputs = tuple(torch.zeros(2, *shape) for shape in shapes)
    # One name for an axis that all inputs share: PyTorch takes it from the first, and warns if another names it too.
    axes = tuple({0: torch.export.Dim.DYNAMIC if index else "batch"} for index in range(len(inputs)))
    try:
        program = torch.onnx.export(
            _Asked(model, asking.name).eval(),
            inputs,
            input_names=asking.given,
            output_names=asking.results,
            dynamic_shapes=(axes,),
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise RunError(f"`--onnx`: ONNX has no form for what `{asking.name}` computes: {reason}") from error
    assert program is not None
    graph = program.model.graph
    for value in [*graph.initializers.values(), *(value for node in graph for value in node.outputs)]:
        if value.name in (*asking.given, *asking.results) and not value.is_graph_output():
            value.name = f"_{value.name}"  # what PyTorch calls it, as `cat`, is the name of a variable
    return program
