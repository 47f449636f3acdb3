"""A small model with a prior of every kind, for the tests of sampling and of densities."""

import pytest
import torch

from ammgraph.compiler.compile import compile_spec
from ammgraph.nn.model import Model, build
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_text

SMALL = """
ammgraph: 1
data: {dataset: npz, path: images.npz}
variables:
  x: {type: image, shape: [1, 2, 2]}
  y: {type: categorical, size: 3}
  z: {type: real, size: 2}      # p(z|y) by a network
  w: {type: real, size: 2}      # p(w|y,z) by a network
  v: {type: real, size: 2}      # p(v|y) a fixed mixture
  u: {type: real, size: 2}      # uniform
  n: {type: real, size: 2}      # normal
networks:
  encoder:
    layers:
      h: {input: x, op: linear, channels: 5, activation: tanh}
      y_logits: {input: h, op: linear, channels: 3}
      y: {input: y_logits, activation: gumbel_softmax 0.1}
      z_mu: {input: h | y, op: linear, channels: 2}
      z_sigma: {input: h, op: linear, channels: 2, activation: expn}
      z: {input: z_mu + z_sigma}
      w: {input: h, op: linear, channels: 2}
      v: {input: h, op: linear, channels: 2}
      u: {input: h, op: linear, channels: 2}
      n: {input: h, op: linear, channels: 2}
  components:
    layers:
      k1: {input: y, op: linear, channels: 4, batchnorm: true, activation: tanh}
      k2: {input: k1, op: linear, channels: 4, dropout: 0.2, activation: tanh}
      z_mu: {input: k2, op: linear, channels: 2}
      z_sigma: {input: k2, op: linear, channels: 2, activation: expn}
      z: {input: z_mu + z_sigma}
  second:
    layers:
      w_mu: {input: y | z, op: linear, channels: 2}
      w_sigma: {input: zeros(2), activation: expn}
      w: {input: w_mu + w_sigma}
  decoder:
    layers:
      x: {input: y | z | w | v | u | n, op: conv_transpose, channels: 1, width: 2, activation: sigmoid}
  critic:
    layers:
      of_x: {input: x, op: linear, channels: 5}
      p: {input: of_x | y | z | w | v | u | n, op: linear, channels: 1}
distributions:
  q:
    q(x): data
    q(y|x): encoder.y
    "q(z|x,y)": encoder.z
    q(w|x): encoder.w
    q(v|x): encoder.v
    q(u|x): encoder.u
    q(n|x): encoder.n
  p:
    p(y): [0.5, 0.3, 0.2]
    p(z|y): components.z
    "p(w|y,z)": second.w
    p(v|y): {mixture: {means: [[0, 1], [2, -1], [-3, 0.5]], scale: 0.5}}
    p(u): uniform(-1, 3)
    p(n): normal(2, 0.5)
    "p(x|y,z,w,v,u,n)": decoder.x
games:
  joint: {match: [q, p], discriminator: critic.p, objective: jensen_shannon}
training:
  batch_size: 4
  epochs: 1
  optimizers: {default: {name: adam, learning_rate: 1e-3}}
  initializer: {weights: {normal: 0.8}, biases: 0.3}
"""


@pytest.fixture(scope="session")
def small_plan() -> Plan:
    return compile_spec(load_text(SMALL))


@pytest.fixture
def small_model(small_plan: Plan) -> Model:
    """With running statistics that are not those of any batch."""
    model = build(small_plan, torch.Generator().manual_seed(3)).double()
    norm = model.network("components").rows["row_k1"]
    norm.running_mean.copy_(torch.tensor([0.5, -0.5, 0.2, 0.0]))
    norm.running_variance.copy_(torch.tensor([0.5, 2.0, 1.0, 0.3]))
    return model
