"""A small model with everything that a turn can have, one batch of data and one set of noise."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ammgraph.compiler.compile import compile_spec
from ammgraph.nn.model import Model, build, draw_noise
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_text
from ammgraph.train.step import Outcome, take_turn

SPEC = """
ammgraph: 1
data: {dataset: npz, path: images.npz}
variables:
  x: {type: image, shape: [1, 2, 2]}
  y: {type: categorical, size: 3}
  z: {type: real, size: 2}
networks:
  encoder:
    layers:
      h: {input: x, op: linear, channels: 6, batchnorm: true, activation: tanh}
      y: {input: h, op: linear, channels: 3, activation: softmax}
      z_mu: {input: h | y, op: linear, channels: 2, dropout: 0.25}
      z_sigma: {input: h, op: linear, channels: 2, activation: expn}
      z: {input: z_mu + z_sigma}
  components:
    layers:
      z_mu: {input: y, op: linear, channels: 2}
      z_sigma: {input: y, op: linear, channels: 2, activation: expn}
      z: {input: z_mu + z_sigma}
  decoder:
    layers:
      h: {input: y | z, op: linear, channels: 6, batchnorm: true, activation: tanh}
      x: {input: h, op: conv_transpose, channels: 1, width: 2, activation: sigmoid}
  critic:
    layers:
      of_x: {input: x, op: linear, channels: 6, activation: tanh}
      h: {input: of_x | y | z, op: linear, channels: 6, dropout: 0.25, activation: tanh}
      p: {input: h, op: linear, channels: 1}
distributions:
  q:
    q(x): data
    q(y|x): encoder.y
    "q(z|x,y)": encoder.z
  p:
    p(y): [0.5, 0.3, 0.2]
    p(z|y): components.z
    "p(x|y,z)": decoder.x
games:
  joint: {match: [q, p], discriminator: critic.p, objective: jensen_shannon}
training:
  batch_size: 5
  epochs: 1
  optimizers: {default: {name: adam, learning_rate: 1e-3}}
  initializer: {weights: {normal: 0.8}, biases: 0.1}
"""
NETWORKS = ("encoder", "components", "decoder", "critic")
GENERATORS = ("encoder", "components", "decoder")


class Step:
    """A model with one batch and one set of noise for every turn of its plan."""

    def __init__(self, *overrides: str, text: str = SPEC, seed: int = 0, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.plan: Plan = compile_spec(load_text(text, overrides=overrides))
        self.model: Model = build(self.plan, generator).to(dtype)
        batch = self.plan.draws[0].batch_size
        image = torch.rand(batch, 1, 2, 2, generator=generator, dtype=torch.float64).to(dtype)
        self.data = {draw.name: {"x": image} for draw in self.plan.draws}
        self.noise: dict[str, Tensor] = {}
        for turn in self.plan.turns:
            for site in turn.sites:
                if site.name not in self.noise:
                    drawn = draw_noise(site, generator, torch.device("cpu"), torch.float64)
                    self.noise[site.name] = drawn if site.kind == "mask" else drawn.to(dtype)

    def take(self, turn: int = 0, epoch: float = 0.0, step: int = 0) -> Outcome:
        return take_turn(self.model, self.plan, self.plan.turns[turn], self.data, self.noise, epoch, step)

    def parameters(self, networks: Sequence[str]) -> list[Tensor]:
        return [parameter for name in networks for parameter in self.model.network(name).parameters()]

    def move(self, networks: Sequence[str], direction: Sequence[Tensor], length: float) -> None:
        with torch.no_grad():
            for parameter, part in zip(self.parameters(networks), direction, strict=True):
                parameter.add_(part, alpha=length)


def flat(outcome: Outcome, networks: Sequence[str]) -> list[Tensor]:
    return [gradient for name in networks for gradient in outcome.gradients[name]]


def same(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float = 1e-12) -> bool:
    return all(torch.allclose(a, b, rtol=tolerance, atol=tolerance) for a, b in zip(found, expected, strict=True))
