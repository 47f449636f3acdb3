"""Normal images against torch.distributions: one mean for all positions, none, a prior of every pixel; in float64."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from ammgraph.compiler.compile import compile_spec
from ammgraph.nn.model import Model, build, draw_noise
from ammgraph.spec.load import load_text
from ammgraph.train.step import take_turn

B = 4
SPEC = """
ammgraph: 1
data: {{dataset: npz, path: images.npz}}
variables:
  x: {{type: image, shape: [{shape}], range: [0, 1]}}
  n: {{type: image, shape: [{shape}], range: [-1, 1]}}
networks:
  encoder:
    layers:
      h: {{input: x, op: linear, channels: 3, activation: tanh}}
      n_mu: {{input: h, op: linear, shape: [{shape}]}}
      n_sigma: {{input: h, op: linear, shape: [{shape}], activation: expn}}
      n: {{input: n_mu + n_sigma}}
  decoder:
    layers:
      h: {{input: n, op: linear, channels: 3, activation: tanh}}
      {mean}
      s: {{input: h, op: linear, shape: [{shape}], activation: expn}}
      x: {{input: {read}}}
distributions:
  q: {{q(x): data, q(n|x): encoder.n}}
  p: {{p(n): "normal(0.5, 2)", p(x|n): decoder.x}}
terms:
  x: {{minimize: "-E[q] log p(x|n) + E[q] H(p(x|n))"}}
  n: {{minimize: "{noise}"}}
training:
  batch_size: 4
  steps: 10
  optimizers: {{default: {{name: adam, learning_rate: 0.01}}}}
  initializer: {{weights: {{normal: 0.8}}, biases: 0.1}}
"""
MEANS: dict[str, tuple[str, str]] = {
    "one for all positions": ("m: {input: h, op: linear, channels: CHANNELS}", "m + s"),
    "a product, one for all positions": ("m: {input: h, op: linear, channels: CHANNELS}", "s + m * m"),
    "none": ("", "s"),
    "every one its own": ("m: {input: h, op: linear, shape: [SHAPE]}", "m + s"),
}
NOISE: dict[str, Callable[[Normal, Normal, Tensor], Tensor]] = {
    "E[q] KL(q(n|x) || p(n))": lambda q, p, n: kl_divergence(q, p),
    "E[q] KL(p(n) || q(n|x))": lambda q, p, n: kl_divergence(p, q),
    "E[q] log q(n|x) - E[q] log p(n)": lambda q, p, n: q.log_prob(n) - p.log_prob(n),
    "E[q] H(p(n)) - E[q] H(q(n|x))": lambda q, p, n: p.entropy().expand_as(n) - q.entropy(),
}


def linear(model: Model, network: str, row: str, value: Tensor) -> Tensor:
    own = model.network(network).row(row)
    assert own.weight is not None
    return F.linear(value.flatten(1), own.weight, own.bias)


def decoded(model: Model, n: Tensor, mean: str, shape: tuple[int, ...]) -> Normal:
    h = linear(model, "decoder", "h", n).tanh()
    scale = (linear(model, "decoder", "s", h) / 2).exp().view(B, *shape)
    if mean == "none":
        return Normal(torch.zeros_like(scale), scale)
    m = linear(model, "decoder", "m", h)
    if mean.startswith("every"):
        return Normal(m.view(B, *shape), scale)
    m = m.square() if mean.startswith("a product") else m
    return Normal(m[:, :, None, None].expand(-1, *shape), scale)


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 2, 2), (5, 1, 3)], ids=str)  # 15 = 5 * 6 / 2, as of a triangle
@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("noise", NOISE)
def test_densities_of_normal_images_are_those_of_every_pixel(shape: tuple[int, ...], mean: str, noise: str) -> None:
    sizes = ", ".join(map(str, shape))
    row, read = MEANS[mean]
    row = row.replace("CHANNELS", str(shape[0])).replace("SHAPE", sizes)
    plan = compile_spec(load_text(SPEC.format(shape=sizes, mean=row, read=read, noise=noise)))
    assert [warning.code for warning in plan.warnings if warning.code != "no-effect"] == []
    generator = torch.Generator().manual_seed(3)
    model = build(plan, generator).double()
    (turn,) = plan.turns
    drawn = {site.name: draw_noise(site, generator, torch.device("cpu"), torch.float64) for site in turn.sites}
    x = torch.rand(B, *shape, generator=generator, dtype=torch.float64)
    outcome = take_turn(model, plan, turn, {"q": {"x": x}}, drawn, 0.0)
    h = linear(model, "encoder", "h", x).tanh()
    q = Normal(linear(model, "encoder", "n_mu", h), (linear(model, "encoder", "n_sigma", h) / 2).exp())
    n = q.mean + q.stddev * drawn["q/encoder/n_sigma.eps"].flatten(1)
    p = decoded(model, n, mean, shape)
    prior = Normal(torch.full((), 0.5, dtype=torch.float64), torch.full((), 2.0, dtype=torch.float64))
    expected: Mapping[str, Tensor] = {
        "x/value": (p.entropy() - p.log_prob(x)).flatten(1).sum(1).mean(),
        "n/value": NOISE[noise](q, prior, n).flatten(1).sum(1).mean(),
    }
    for name, value in expected.items():
        assert outcome.values[name].item() == pytest.approx(value.item(), abs=1e-10)
    for network in ("encoder", "decoder"):
        parameters = list(model.network(network).parameters())
        found = torch.autograd.grad(sum(expected.values()), parameters, retain_graph=True, materialize_grads=True)  # type: ignore[arg-type]
        for own, gradient in zip(outcome.gradients[network], found, strict=True):
            assert torch.allclose(own, gradient, rtol=0, atol=1e-10)
