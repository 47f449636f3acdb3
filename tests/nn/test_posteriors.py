"""Posteriors by Bayes' rule in evaluation mode, against enumeration by hand and against samples."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal
from torch.nn import functional as F

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.records import Split
from ammgraph.evaluation.evaluate import category_scores
from ammgraph.nn.enumeration import in_evaluation
from ammgraph.nn.model import Draw, Model, build, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_text

K = 4
SPEC = f"""
ammgraph: 1
data: {{dataset: npz, path: images.npz}}
variables:
  x: {{type: image, shape: [1, 2, 2], range: [0, 1]}}
  y: {{type: categorical, size: {K}}}
  z: {{type: real, size: 2}}
networks:
  encoder:
    layers:
      h: {{input: x, op: linear, channels: 4, dropout: 0.5, batchnorm: true, activation: tanh}}
      z_mu: {{input: h, op: linear, channels: 2}}
      z_sigma: {{input: h, op: linear, channels: 2, activation: expn}}
      z: {{input: z_mu + z_sigma}}
  components:
    layers:
      z_mu: {{input: y, op: linear, channels: 2}}
      z_sigma: {{input: y, op: linear, channels: 2, activation: expn}}
      z: {{input: z_mu + z_sigma}}
  weights:
    layers:
      logits: {{input: zeros(1), op: linear, channels: {K}}}
      y: {{input: logits, activation: gumbel_straight_through 1}}
  decoder:
    layers:
      v: {{input: y | z, op: linear, channels: 3}}
      x: {{input: v, op: conv_transpose, channels: 1, width: 2, activation: sigmoid}}
distributions:
  q:
    q(x): data
    q(z|x): encoder.z
    q(y|x,z): {{bayes: p}}
  p:
    p(y): weights.y
    p(z|y): components.z
    p(x|y,z): decoder.x
terms:
  likelihood: {{minimize: "-E[q] log p(x|y,z) + E[q] KL(q(z|x) || p(z|y))"}}
  category: {{minimize: "E[q] KL(q(y|x,z) || p(y))"}}
training:
  batch_size: 5
  steps: 10
  optimizers: {{default: {{name: adam, learning_rate: 0.01}}}}
  initializer: {{weights: {{normal: 0.8}}, biases: 0.3}}
"""


def linear(model: Model, network: str, row: str, value: Tensor) -> Tensor:
    own = model.network(network).row(row)
    assert own.weight is not None
    return F.linear(value.flatten(1), own.weight, own.bias)


def world(text: str = SPEC) -> tuple[Plan, Model]:
    plan = compile_spec(load_text(text))
    return plan, build(plan, torch.Generator().manual_seed(2)).double()


def log_joint(model: Model, x: Tensor, z: Tensor) -> Tensor:
    """log p(y) + log p(z|y) + log p(x|y,z), a value a column."""
    columns = []
    for k in range(K):
        y = F.one_hot(torch.full((len(z),), k), K).double()
        scale = (linear(model, "components", "z_sigma", y) / 2).exp()
        own = model.network("decoder").row("x")
        assert own.weight is not None
        assert own.bias is not None
        v = linear(model, "decoder", "v", torch.cat([y, z], 1))
        logits = torch.einsum("bc,cohw->bohw", v, own.weight) + own.bias
        log_prior = torch.log_softmax(linear(model, "weights", "logits", torch.zeros(1, 1).double()), 1)[:, k]
        log_z = Normal(linear(model, "components", "z_mu", y), scale).log_prob(z).sum(1)
        columns.append(log_prior + log_z + Bernoulli(logits=logits, validate_args=False).log_prob(x).flatten(1).sum(1))
    return torch.stack(columns, 1)


@torch.no_grad()
def test_a_readout_by_bayes_rule_is_the_exact_posterior_at_the_mean_of_z() -> None:
    plan, model = world()
    images = torch.rand(7, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (readout,) = plan.readouts
    assert readout.draw == "q"
    scores = category_scores(model, plan, readout, Split(images, torch.zeros(7, dtype=torch.int64)))
    h = torch.tanh(linear(model, "encoder", "h", images) / (1 + 1e-5) ** 0.5)
    expected = log_joint(model, images, linear(model, "encoder", "z_mu", h))
    assert torch.allclose(scores[""].softmax(1), expected.softmax(1), rtol=0, atol=1e-10)


@torch.no_grad()
def test_a_posterior_is_the_share_of_each_value_among_samples() -> None:
    text = SPEC.replace("y | z, op", "z, op").replace("p(x|y,z)", "p(x|z)").replace("q(y|x,z)", "q(y|z)")
    plan, model = world(text)
    generator, count = torch.Generator().manual_seed(3), 200_000
    uniform = torch.rand(count, K, 1, 1, generator=generator, dtype=torch.float64)
    noise = {
        "p/weights/y.gumbel": -torch.log(-torch.log(uniform)),
        "p/components/z_sigma.eps": torch.randn(count, 2, 1, 1, generator=generator, dtype=torch.float64),
    }
    drawn = sample_draw(model, plan.draw("p"), {}, noise, Mode.EVAL, batch=count, only=frozenset({"y", "z"})).samples
    weighed = in_evaluation(model, plan, plan.draw("q"), Draw({"z": drawn["z"]}, {}, count)).enumerated
    assert weighed is not None
    for place in (drawn["z"][:, 0].flatten() > 0.5, drawn["z"][:, 1].flatten() < 0):
        assert place.sum() > 10_000
        share = drawn["y"].flatten(1)[place].mean(0)
        assert weighed.probabilities[place].mean(0).tolist() == pytest.approx(share.tolist(), abs=0.01)
