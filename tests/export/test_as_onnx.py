"""ONNX files of exported functions: what onnxruntime computes from them is what ammgraph infers and generates."""

import re
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from answers import generated, generating, inferred, untrained
from tiny import TINY
from tiny_runs import Run, files_of, make_run
from torch import Tensor

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import RunError
from ammgraph.evaluation.loading import load_model
from ammgraph.export.as_onnx import onnx_programs
from ammgraph.export.export import exported_weights
from ammgraph.export.source import model_source
from ammgraph.nn.model import Model
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_spec, load_text

SPECS = Path(__file__).parent.parent.parent / "specs"


def programs(plan: Plan, model: Model) -> dict[str, torch.onnx.ONNXProgram]:
    source = model_source(plan, model, plan.title, "Its weights are random.")
    return onnx_programs(plan, source, exported_weights(plan, model))


def answered(path: Path, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(found.name, found.shape[1:]) for found in session.get_inputs()] == [
        (name, list(value.shape[1:])) for name, value in inputs.items()
    ]
    assert {found.shape[0] for found in (*session.get_inputs(), *session.get_outputs())} == {"batch"}
    values = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    names = [found.name for found in session.get_outputs()]
    return {name: torch.from_numpy(value) for name, value in zip(names, values, strict=True)}


def compare(folder: Path, model: Model, plan: Plan) -> None:
    """For one example and for several, none of which is the number at which the files were traced."""
    generator = torch.Generator().manual_seed(1)
    for batch in (1, 7):
        images = torch.rand(batch, *plan.variable("x").shape, generator=generator)
        latents = {
            name: torch.rand(batch, plan.variable(name).shape[0], generator=generator)
            for name in generating(plan).factor_of("x").given
        }
        found = answered(folder / "infer.onnx", {"x": images})
        torch.testing.assert_close(found, inferred(model, plan, images), rtol=1e-5, atol=1e-5)
        image = answered(folder / "generate_x.onnx", latents)["x"]
        torch.testing.assert_close(image, generated(model, plan, list(latents.values())), rtol=1e-5, atol=1e-5)


# Every operation, pool and activation that inference and generation can have.
EVERYTHING = (
    *("variables.x.shape=[1, 8, 8]", "networks.critic.layers.hx.input=x"),
    "networks.encoder.layers={u: {input: x, activation: random_affine 0.1}, "
    "a: {input: u, channels: 3, width: 3, padding: 1, batchnorm: true, activation: elu, pool: max 2}, "
    "b: {input: a, channels: 4, width: 3, stride: 1, padding: 1, activation: relu, pool: avg 2}, "
    "h: {input: b | zeros(2), op: linear, channels: 12, dropout: 0.2, activation: softplus}, "
    "g: {input: h, op: max, channels: 6, noise: 0.1}, l: {input: h, op: lse, channels: 4}, "
    "y_a: {input: g | l, channels: K, width: 1}, y: {input: y_a, activation: gumbel_straight_through 0.5}, "
    "z_mu: {input: h | y, channels: 4, width: 1}, z_sigma: {input: h, channels: 4, width: 1, activation: expn}, "
    "z: {input: z_mu + z_sigma}}",
    "distributions.q={q(x): data, q(y|x): encoder.y, 'q(z|x,y)': encoder.z}",
    "networks.decoder.layers={s: {input: y, activation: straight_through}, t: {input: z, activation: tanh}, "
    "m: {input: s | t, activation: softmax}, n: {input: m, op: conv_transpose, channels: 3, width: 4, "
    "activation: leaky_relu 0.1}, v: {input: n | y + zeros(10), channels: 4, width: 1, activation: sigmoid}, "
    "x: {input: v, op: conv_transpose, channels: 1, width: 2, stride: 2, activation: sigmoid}}",
)
MODELS = {"a mixture": (SPECS / "amm_mnist.yaml",), "every operation": (TINY, *EVERYTHING)}


@pytest.mark.parametrize("name", MODELS)
def test_onnx_files_give_the_means_and_probabilities_of_the_model(name: str, tmp_path: Path) -> None:
    path, *overrides = MODELS[name]
    plan = compile_spec(load_spec(path, overrides))
    model = untrained(plan)
    for question, program in programs(plan, model).items():
        program.save(tmp_path / f"{question}.onnx")
        onnx.checker.check_model(tmp_path / f"{question}.onnx", full_check=True)
    compare(tmp_path, model, plan)


def test_variables_may_be_called_like_operations(tmp_path: Path) -> None:
    names = {"y": "cat", "z": "conv2d"}
    spec = load_text(re.sub(r"\b[yz]\b", lambda found: names[found[0]], TINY.read_text(encoding="utf-8")))
    plan = compile_spec(spec)
    assert {variable.name for variable in plan.variables} == {"x", "cat", "conv2d"}
    model = untrained(plan)
    for question, program in programs(plan, model).items():
        program.save(tmp_path / f"{question}.onnx")
    compare(tmp_path, model, plan)


def test_a_model_of_which_nothing_can_be_asked_is_refused() -> None:
    overrides = (
        "data.labeled.count=20",
        "distributions.q={'q(x,y)': data.labeled, 'q(z|x,y)': encoder.z}",
        "distributions.p={p(x): q.x, p(y): q.y, p(z): normal}",
        *("networks.components=null", "networks.decoder=null"),
        "networks.encoder.layers={h: {input: x, channels: 9, width: 8}, z: {input: h | y, channels: 4, width: 1}}",
    )
    plan = compile_spec(load_spec(TINY, overrides))
    with pytest.raises(RunError, match="infers nothing from an image alone, and draws no image from other variables"):
        programs(plan, untrained(plan))


def test_the_command_writes_them_beside_the_program(ammgraph: Run, tmp_path: Path) -> None:
    folder, output = make_run(tmp_path / "run", TINY), tmp_path / "out"
    before = files_of(folder)
    code, out, err = ammgraph("export", folder, "-o", output, "--onnx")
    assert (code, err) == (0, "")
    assert out.split() == [str(output / name) for name in ("model.py", "weights.pt", "infer.onnx", "generate_x.onnx")]
    assert files_of(folder) == before
    loaded = load_model(folder, torch.device("cpu"))
    compare(output, loaded.model, loaded.plan)
    for name in ("model.py", "weights.pt", "infer.onnx"):
        (output / name).unlink()
    code, out, err = ammgraph("export", folder, "-o", output, "--onnx")
    assert (code, out) == (1, "")
    assert "generate_x.onnx exists" in err


def test_what_is_not_installed_is_said_before_anything_is_written(
    ammgraph: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    code, out, err = ammgraph("export", make_run(tmp_path / "run", TINY), "-o", tmp_path / "out", "--onnx")
    assert (code, out) == (1, "")
    assert err == "error: `--onnx` needs `onnxscript`, not installed here; `pip install 'ammgraph[onnx]'` brings them\n"
    assert not (tmp_path / "out").exists()
