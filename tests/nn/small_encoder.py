"""A network of a few rows, as an encoder of a whole model, and its rows at an image."""

import torch
from torch import Tensor, nn

from ammgraph.compiler.compile import compile_spec
from ammgraph.nn.networks import Mode, Network
from ammgraph.spec.load import load_text

SPEC = """
ammgraph: 1
data: {{dataset: npz, path: images.npz}}
variables:
  x: {{type: image, shape: [{channels}, {size}, {size}]}}
  z: {{type: real, size: 3}}
networks:
  encoder:
    layers:
{rows}
      z: {{input: {last}, op: linear, channels: 3}}
  decoder: {{layers: {{x: {{input: z, op: conv_transpose, channels: {channels}, width: {size}, activation: sigmoid}}}}}}
  critic: {{layers: {{of_x: {{input: x, op: linear, channels: 3}}, p: {{input: of_x + z, op: linear, channels: 1}}}}}}
distributions:
  q: {{q(x): data, q(z|x): encoder.z}}
  p: {{p(z): normal, p(x|z): decoder.x}}
games:
  joint: {{match: [q, p], discriminator: critic.p, objective: jensen_shannon}}
training:
  batch_size: 6
  epochs: 1
  optimizers: {{default: {{name: adam, learning_rate: 1e-3}}}}
  initializer: {{weights: {weights}, biases: 0.25}}
"""


def encoder(*rows: str, channels: int = 2, size: int = 4, weights: str = "{normal: 0.5}") -> Network:
    """The network of some rows; the last of them is read by a linear `z`."""
    last = rows[-1].partition(":")[0]
    text = "\n".join(f"      {row}" for row in rows)
    spec = load_text(SPEC.format(rows=text, last=last, channels=channels, size=size, weights=weights))
    plan = compile_spec(spec)
    network = Network(plan.network("encoder"), plan.momentum, plan.epsilon).double()
    network.initialize(torch.Generator().manual_seed(0))
    return network


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def row(network: Network, name: str) -> nn.Module:
    return network.rows[f"row_{name}"]


def compute(
    network: Network, x: Tensor, noise: dict[str, Tensor] | None = None, mode: Mode = Mode.TRAIN
) -> dict[str, Tensor]:
    values = {"x": x}
    names = [plan.name for plan in network.plan.rows if plan.name != "z"]
    network.compute(names, values, len(x), noise or {}, "e", mode)
    return values


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-12) -> bool:
    return torch.allclose(found, expected, rtol=tolerance, atol=tolerance)
