"""Enumerated variables against loops over their values written by hand: values and every gradient, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence
from torch.nn import functional as F

from ammgraph.compiler.compile import compile_spec
from ammgraph.nn.model import build, draw_noise
from ammgraph.plan.cost import forward_cost
from ammgraph.spec.load import load_text
from ammgraph.train.step import Outcome, take_turn

B, K = 5, 3
PRIOR = torch.tensor([0.25, 0.125, 0.625]).double()
NETWORKS = """
networks:
  encoder:
    layers:
      h: {input: x, op: linear, channels: 4, activation: tanh}
      z_mu: {input: h, op: linear, channels: 2}
      z_sigma: {input: h, op: linear, channels: 2, activation: expn}
      z: {input: z_mu + z_sigma}
      w_mu: {input: h, op: linear, channels: 2}
      w_sigma: {input: h, op: linear, channels: 2, activation: expn}
      w: {input: w_mu + w_sigma}
  classifier:
    layers:
      h: {input: x, op: linear, channels: 4, dropout: 0.5, activation: tanh}
      y: {input: h, op: linear, channels: 3, activation: gumbel_straight_through 1}
  components:
    layers:
      h: {input: y, op: linear, channels: 3, activation: tanh}
      z_mu: {input: h | w, op: linear, channels: 2}
      z_sigma: {input: y, op: linear, channels: 2, activation: expn}
      z: {input: z_mu + z_sigma}
  weights:
    layers:
      logits: {input: zeros(1), op: linear, channels: 3}
      y: {input: logits, activation: gumbel_straight_through 1}
  decoder:
    layers:
      h: {input: y | z, op: linear, channels: 4, activation: tanh}
      x: {input: h, op: conv_transpose, channels: 1, width: 2, activation: sigmoid}
"""
SPEC = f"""
ammgraph: 1
data: {{dataset: npz, path: images.npz}}
variables:
  x: {{type: image, shape: [1, 2, 2], range: [0, 1]}}
  y: {{type: categorical, size: {K}}}
  z: {{type: real, size: 2}}
  w: {{type: real, size: 2}}
{NETWORKS}
distributions:
  q:
    q(x): data
    q(z|x): encoder.z
    q(w|x): encoder.w
    q(y|z,w): {{bayes: p}}
  c:
    c(x): data
    c(y|x): {{enumerate: classifier.y}}
    c(z|x): encoder.z
  r:
    r(x): data
    r(y|x): classifier.y
    r(z|x): encoder.z
    r(w|x): encoder.w
  n:
    n(y): [0.25, 0.125, 0.625]
    n(z): normal(0.5, 2)
  p:
    p(w): normal
    p(y): weights.y
    p(z|y,w): components.z
  d:
    d(x|y,z): decoder.x
terms:
  term: {{minimize: "%s", weight: 0.7}}
  rest:
    minimize: -E[q] log d(x|y,z) + E[q] KL(q(z|x) || p(z|y,w)) + E[q] KL(q(y|z,w) || p(y)) - E[c] log c(y|x)
  sampled:
    minimize: -E[r] log p(z|y,w) + E[r] KL(r(y|x) || q(y|z,w)) + E[q] KL(q(w|x) || p(w)) - E[q] log n(z)
training:
  batch_size: {B}
  steps: 10
  optimizers: {{default: {{name: adam, learning_rate: 0.01}}}}
  initializer: {{weights: {{normal: 0.8}}, biases: 0.1}}
"""


class Hand:
    """The networks of a model, called by hand at one batch and one set of noise."""

    def __init__(self, text: str) -> None:
        self.plan = compile_spec(load_text(text))
        generator = torch.Generator().manual_seed(3)
        self.model = build(self.plan, generator).double()
        (self.turn,) = self.plan.turns
        cpu = torch.device("cpu")
        self.noise = {site.name: draw_noise(site, generator, cpu, torch.float64) for site in self.turn.sites}
        self.data = {name: torch.rand(B, 1, 2, 2, generator=generator, dtype=torch.float64) for name in self.turn.draws}

    def take(self) -> Outcome:
        data = {name: {"x": x} for name, x in self.data.items()}
        return take_turn(self.model, self.plan, self.turn, data, self.noise, 0.0)

    def linear(self, network: str, row: str, value: Tensor) -> Tensor:
        own = self.model.network(network).row(row)
        assert own.weight is not None
        return F.linear(value.flatten(1), own.weight, own.bias)

    def latent(self, draw: str, name: str) -> tuple[Normal, Tensor]:
        h = self.linear("encoder", "h", self.data[draw]).tanh()
        given = Normal(self.linear("encoder", f"{name}_mu", h), (self.linear("encoder", f"{name}_sigma", h) / 2).exp())
        return given, given.mean + given.stddev * self.noise[f"{draw}/encoder/{name}_sigma.eps"].flatten(1)

    def c(self, draw: str) -> Categorical:
        kept = self.data[draw] * self.noise[f"{draw}/classifier/h.mask"] / 0.5
        return Categorical(logits=self.linear("classifier", "y", self.linear("classifier", "h", kept).tanh()))

    def y(self, k: int) -> Tensor:
        return F.one_hot(torch.full((B,), k), K).double()

    def p_of_y(self) -> Categorical:
        return Categorical(logits=self.linear("weights", "logits", torch.zeros(1, 1).double()))

    def p_of_z(self, y: Tensor, w: Tensor) -> Normal:
        h = self.linear("components", "h", y).tanh()
        scale = (self.linear("components", "z_sigma", y) / 2).exp()
        return Normal(self.linear("components", "z_mu", torch.cat([h, w], 1)), scale)

    def logits(self, y: Tensor, z: Tensor) -> Tensor:
        own = self.model.network("decoder").row("x")
        assert own.weight is not None
        assert own.bias is not None
        h = self.linear("decoder", "h", torch.cat([y, z], 1)).tanh()
        return (torch.einsum("bc,cohw->bohw", h, own.weight) + own.bias).flatten(1)

    def posterior(self, draw: str) -> Categorical:
        """p(y) p(z|y,w) over its sum, value by value."""
        (_, z), (_, w) = self.latent(draw, "z"), self.latent(draw, "w")
        joint = [self.p_of_y().probs[:, k] * self.p_of_z(self.y(k), w).log_prob(z).sum(1).exp() for k in range(K)]
        return Categorical(probs=torch.stack(joint, 1) / torch.stack(joint, 1).sum(1, keepdim=True))

    def over(self, given: Categorical, inner: Callable[[Tensor], Tensor]) -> Tensor:
        """The mean over examples of the sum over values of their probability times what is paid."""
        return torch.stack([given.probs[:, k] * inner(self.y(k)) for k in range(K)]).sum(0).mean()


def pixels(logits: Tensor, x: Tensor) -> Tensor:
    return Bernoulli(logits=logits, validate_args=False).log_prob(x.flatten(1)).sum(1)


def prior_of_z(world: Hand) -> Tensor:
    (given, _), (_, w) = world.latent("q", "z"), world.latent("q", "w")
    return world.over(world.posterior("q"), lambda y: kl_divergence(given, world.p_of_z(y, w)).sum(1))


def likelihood(world: Hand) -> Tensor:
    _, z = world.latent("q", "z")
    return world.over(world.posterior("q"), lambda y: pixels(world.logits(y, z), world.data["q"]))


def own_likelihood(world: Hand) -> Tensor:
    return world.over(world.c("c"), lambda y: (y * world.c("c").logits).sum(1))


def distance(world: Hand) -> Tensor:
    _, z = world.latent("c", "z")
    x = world.data["c"].flatten(1)
    return world.over(world.c("c"), lambda y: (x - world.logits(y, z).sigmoid()).square().sum(1))


def posterior_to_prior(world: Hand) -> Tensor:
    return kl_divergence(world.posterior("q"), world.p_of_y()).mean()


def n() -> Normal:
    return Normal(torch.full((2,), 0.5).double(), torch.full((2,), 2.0).double())


def pooled(given: Categorical) -> Categorical:
    return Categorical(probs=given.probs.mean(0))


def sampled(world: Hand) -> Tensor:
    (_, z), (_, w) = world.latent("r", "z"), world.latent("r", "w")
    c = world.c("r")
    noisy = torch.softmax(c.logits + world.noise["r/classifier/y.gumbel"].flatten(1), 1)
    y = F.one_hot(noisy.argmax(1), K).double() + noisy - noisy.detach()
    scored = -world.p_of_z(y, w).log_prob(z).sum(1) + kl_divergence(c, world.posterior("r"))
    prior = n().log_prob(world.latent("q", "z")[1]).sum(1).mean()
    return scored.mean() + kl_divergence(world.latent("q", "w")[0], Normal(0.0, 1.0)).sum(1).mean() - prior


TERMS: dict[str, Callable[[Hand], Tensor]] = {
    "E[q] KL(q(z|x) || p(z|y,w))": prior_of_z,
    "-E[q] log d(x|y,z)": lambda w: -likelihood(w),
    "E[q] KL(q(y|z,w) || p(y))": posterior_to_prior,
    "E[q] log q(y|z,w)": lambda w: -w.posterior("q").entropy().mean(),
    "-E[q] H(q(y|z,w))": lambda w: -w.posterior("q").entropy().mean(),
    "-E[q] log p(y)": lambda w: -(w.posterior("q").probs * w.p_of_y().logits).sum(1).mean(),
    "-E[q] log n(y)": lambda w: -(w.posterior("q").probs * PRIOR.log()).sum(1).mean(),
    "E[q] log n(y) - E[c] log n(y)": lambda w: ((w.posterior("q").probs - w.c("c").probs) * PRIOR.log()).sum(1).mean(),
    "E[q] KL(p(z|y,w) || n(z))": lambda w: w.over(
        w.posterior("q"), lambda y: kl_divergence(w.p_of_z(y, w.latent("q", "w")[1]), n()).sum(1)
    ),
    "E[q] H(p(z|y,w))": lambda w: w.over(
        w.posterior("q"), lambda y: w.p_of_z(y, w.latent("q", "w")[1]).entropy().sum(1)
    ),
    "E[q] l2(components.h)": lambda w: w.over(
        w.posterior("q"), lambda y: w.linear("components", "h", y).tanh().square().sum(1)
    ),
    "H(E[q] q(y|z,w))": lambda w: pooled(w.posterior("q")).entropy(),
    "E[c] H(c(y|x))": lambda w: w.c("c").entropy().mean(),
    "-E[c] log c(y|x)": lambda w: -own_likelihood(w),
    "KL(p(y) || E[c] c(y|x))": lambda w: kl_divergence(w.p_of_y(), pooled(w.c("c"))).sum(),
    "E[c] l2(x, decoder.x)": distance,
    "E[c] l1(y, classifier.y)": lambda w: w.over(
        w.c("c"),
        lambda y: (y - straight_through(w.c("c").logits + w.noise["c/classifier/y.gumbel"].flatten(1))).abs().sum(1),
    ),
    "0.5 * E[q] log p(z|y,w) - 2 * E[c] KL(c(y|x) || p(y))": lambda w: (
        0.5
        * w.over(w.posterior("q"), lambda y: w.p_of_z(y, w.latent("q", "w")[1]).log_prob(w.latent("q", "z")[1]).sum(1))
        - 2 * kl_divergence(w.c("c"), w.p_of_y()).mean()
    ),
}


def straight_through(logits: Tensor) -> Tensor:
    soft = logits.softmax(1)
    return F.one_hot(soft.argmax(1), K).double() + soft - soft.detach()


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_the_sum_over_the_values_weighed_by_their_probabilities(term: str) -> None:
    world = Hand(SPEC % term)
    outcome, expected = world.take(), TERMS[term](world)
    rest = -likelihood(world) + prior_of_z(world) + posterior_to_prior(world) - own_likelihood(world)
    assert outcome.values["term/value"].item() == pytest.approx(expected.item(), abs=1e-10)
    assert outcome.values["rest/value"].item() == pytest.approx(rest.item(), abs=1e-10)
    total = 0.7 * expected + rest + sampled(world)
    for name in ("encoder", "classifier", "components", "weights", "decoder"):
        parameters = list(world.model.network(name).parameters())
        found = torch.autograd.grad(total, parameters, retain_graph=True, materialize_grads=True)
        for own, gradient in zip(outcome.gradients[name], found, strict=True):
            assert torch.allclose(own, gradient, rtol=0, atol=1e-10), name


def test_a_value_of_probability_0_takes_no_part_in_a_posterior() -> None:
    rare = "[0.25, 0.75, 0]"
    text = SPEC.replace("p(y): weights.y", f"p(y): {rare}").replace("E[r] KL(r(y|x) || q(y|z,w))", "E[r] log c(y|x)")
    rows = text[text.index("  weights:\n") : text.index("  decoder:\n")]
    world = Hand(text.replace(rows, "") % "E[q] KL(q(y|z,w) || p(y)) - E[q] H(q(y|z,w)) + E[q] log q(y|z,w)")
    outcome, prior = world.take(), torch.tensor([0.25, 0.75], dtype=torch.float64)
    (z, _), (w, _) = world.latent("q", "z")[::-1], world.latent("q", "w")[::-1]
    logs = [world.p_of_z(world.y(k), w).log_prob(z).sum(1) for k in (0, 1)]
    posterior = Categorical(logits=torch.stack(logs, 1) + prior.log())
    expected = kl_divergence(posterior, Categorical(probs=prior)).mean() - 2 * posterior.entropy().mean()
    assert outcome.values["term/value"].item() == pytest.approx(expected.item(), abs=1e-7)  # a prior is in float32
    assert outcome.values["q.y/entropy"].item() == pytest.approx(posterior.entropy().mean().item(), abs=1e-6)
    assert all(gradient.isfinite().all() for found in outcome.gradients.values() for gradient in found)


# ------------------------------------------------------------------------------------------------ games

GAME = f"""
ammgraph: 1
data: {{dataset: npz, path: images.npz, labeled: {{count: 20}}}}
variables:
  x: {{type: image, shape: [1, 2, 2], range: [0, 1]}}
  y: {{type: categorical, size: {K}}}
  z: {{type: real, size: 2}}
networks:
  classifier:
    layers:
      h: {{input: x, op: linear, channels: 4, activation: tanh}}
      y: {{input: h, op: linear, channels: 3, activation: straight_through}}
  generator:
    layers:
      h: {{input: y | z, op: linear, channels: 4, activation: tanh}}
      x: {{input: h, op: conv_transpose, channels: 1, width: 2, activation: sigmoid}}
  critic:
    layers:
      h: {{input: x, op: linear, channels: 5}}
      h1: {{input: h | y, op: linear, channels: 6, dropout: 0.25, batchnorm: NORM, activation: tanh}}
      d: {{input: h1, op: linear, channels: 1}}
distributions:
  l: {{"l(x,y)": data.labeled}}
  c:
    c(x): data
    c(y|x): {{enumerate: classifier.y}}
  p:
    p(y): uniform
    p(z): normal
    p(x|y,z): generator.x
games:
  pairs: {{match: [l, 1/2 p + 1/2 c], discriminator: critic.d, objective: OBJECTIVE, weight: 0.7PENALTY}}
terms:
  labels: {{minimize: "-E[l] log c(y|x)", weight: 0.3}}
training:
  batch_size: {{default: {B}, c: 4}}
  steps: 10
  optimizers: {{default: {{name: adam, learning_rate: 0.01}}}}
  initializer: {{weights: {{normal: 0.8}}, biases: 0.1}}
"""


class Played(Hand):
    """A game between labelled pairs, generated ones, and images with every class that a classifier may give them."""

    game = "pairs"  # whose masks the critic takes

    def __init__(self, objective: str, norm: bool, penalty: str = "") -> None:
        super().__init__(
            GAME.replace("OBJECTIVE", objective).replace("NORM", str(norm).lower()).replace("PENALTY", penalty)
        )
        generator = torch.Generator().manual_seed(4)
        sizes = {"l": B, "p": B, "c": 4}
        self.norm = norm
        self.data = {n: torch.rand(sizes[n], 1, 2, 2, generator=generator, dtype=torch.float64) for n in ("l", "c")}
        self.label = F.one_hot(torch.randint(K, (B,), generator=generator), K).double()

    def take(self) -> Outcome:
        data = {"l": {"x": self.data["l"], "y": self.label[:, :, None, None]}, "c": {"x": self.data["c"]}}
        return take_turn(self.model, self.plan, self.turn, data, self.noise, 0.0)

    def classes(self, draw: str) -> Categorical:
        h = self.linear("classifier", "h", self.data[draw]).tanh()
        return Categorical(logits=self.linear("classifier", "y", h))

    def fakes(self) -> tuple[Tensor, Tensor]:
        y, z = F.one_hot((self.noise["p/y"] * K).long(), K).double(), self.noise["p/z"].flatten(1)
        own = self.model.network("generator").row("x")
        assert own.weight is not None
        assert own.bias is not None
        h = self.linear("generator", "h", torch.cat([y, z], 1)).tanh()
        return (torch.einsum("bc,cohw->bohw", h, own.weight) + own.bias).sigmoid().flatten(1), y

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Inputs of the critic in its batch: l, p, then every image of c with every class, image by image."""
        found = [(self.data["l"].flatten(1), self.label), self.fakes()]
        for image in self.data["c"].flatten(1):
            found += [(image[None], F.one_hot(torch.tensor([k]), K).double()) for k in range(K)]
        return found

    def critic(self, x: Tensor, y: Tensor) -> Tensor:
        """Logits of the whole batch at once."""
        mask = self.noise[f"{self.game}/critic/h1.mask"].flatten(1)
        h = torch.cat([self.linear("critic", "h", x), y], 1) * mask / 0.75
        row = self.model.network("critic").row("h1")
        h = self.linear("critic", "h1", h)
        if self.norm:
            assert row.gain is not None
            assert row.shift is not None
            h = (h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt() * row.gain + row.shift
        return self.linear("critic", "d", h.tanh()).flatten()

    def sides(self, on_real: Callable[[Tensor], Tensor], on_fake: Callable[[Tensor], Tensor], constant: bool) -> Tensor:
        x, y = (torch.cat(parts) for parts in zip(*self.pairs(), strict=True))
        logits = self.critic(x, y)
        weights = self.classes("c").probs
        weights = weights.detach() if constant else weights
        total = on_real(logits[:B]).mean() + on_fake(logits[B : 2 * B]).mean() / 2
        for b in range(4):
            for k in range(K):
                total = total + weights[b, k] * on_fake(logits[2 * B + K * b + k]) / 2 / 4
        return total


COSTS: dict[str, list[Callable[[Tensor], Tensor]]] = {
    "jensen_shannon": [lambda d: F.softplus(-d), F.softplus, F.softplus, lambda d: F.softplus(-d)],
    "minimax": [lambda d: F.softplus(-d), F.softplus, lambda d: -F.softplus(-d), lambda d: -F.softplus(d)],
    "wasserstein": [lambda d: -d, lambda d: d, lambda d: d, lambda d: -d],
    "least_squares": [
        lambda d: (d - 1).square() / 2,
        lambda d: d.square() / 2,
        lambda d: d.square() / 2,
        lambda d: (d - 1).square() / 2,
    ],
}


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("objective", COSTS)
def test_a_side_is_the_sum_over_every_class_weighed_by_its_probability(objective: str, norm: bool) -> None:
    world = Played(objective, norm)
    outcome = world.take()
    real, fake, beside_real, beside_fake = COSTS[objective]
    against = world.sides(real, fake, constant=True)
    beside = world.sides(beside_real, beside_fake, constant=False)
    labels = -(world.label * world.classes("l").logits).sum(1).mean()
    assert outcome.values["pairs/discriminator"].item() == pytest.approx(against.item(), abs=1e-10)
    assert outcome.values["pairs/generator"].item() == pytest.approx(beside.item(), abs=1e-10)
    for name, loss in (("critic", against), ("generator", beside), ("classifier", beside + 0.3 / 0.7 * labels)):
        parameters = list(world.model.network(name).parameters())
        found = torch.autograd.grad(0.7 * loss, parameters, retain_graph=True, materialize_grads=True)
        for own, gradient in zip(outcome.gradients[name], found, strict=True):
            assert torch.allclose(own, gradient, rtol=0, atol=1e-10), name


@pytest.mark.parametrize("kind", ["roth_penalty", "r1_penalty"])
def test_a_penalty_weighs_every_class_by_its_probability(kind: str) -> None:
    world = Played("jensen_shannon", False, f", {kind}: {{gamma: 2}}")
    outcome = world.take()
    x, y = (torch.cat(parts).detach().requires_grad_() for parts in zip(*world.pairs(), strict=True))
    d = world.critic(x, y)
    slopes = torch.autograd.grad(d.sum(), [x, y], create_graph=True)
    squares = torch.cat(slopes, 1).square().sum(1)
    weights = world.classes("c").probs.detach().flatten()
    s = d.sigmoid()
    expected = ((1 - s[:B]).square() * squares[:B]).mean() if kind == "roth_penalty" else squares[:B].mean()
    if kind == "roth_penalty":
        expected = expected + (s[B : 2 * B].square() * squares[B : 2 * B]).mean() / 2
        expected = expected + (weights * s[2 * B :].square() * squares[2 * B :]).sum() / 4 / 2
    assert outcome.values[f"pairs/{kind}"].item() == pytest.approx(expected.item() / 2, abs=1e-10)
    total = 0.7 * (world.sides(*COSTS["jensen_shannon"][:2], constant=True) + expected)
    found = torch.autograd.grad(total, list(world.model.network("critic").parameters()), materialize_grads=True)
    for own, gradient in zip(outcome.gradients["critic"], found, strict=True):
        assert torch.allclose(own, gradient, rtol=0, atol=1e-10)


def test_a_game_without_a_penalty_beside_one_with_reads_an_image_once() -> None:
    """Each has a pass of its own, as the discriminator has batch norm: slopes are of one of them alone."""
    more = "more: {match: [l, 1/2 p + 1/2 c], discriminator: critic.d, objective: jensen_shannon, weight: 0.5"
    world = Played("jensen_shannon", True, f", r1_penalty: {{gamma: 2}}}}\n  {more}")
    pairs, other = world.turn.passes_of("scored")
    assert (pairs.shared, other.shared) == ((), ("h",))
    outcome = world.take()
    x, y = (torch.cat(parts).detach().requires_grad_() for parts in zip(*world.pairs(), strict=True))
    slopes = torch.autograd.grad(world.critic(x, y).sum(), [x, y], create_graph=True)
    penalty = torch.cat(slopes, 1).square().sum(1)[:B].mean()
    real, fake, beside_real, beside_fake = COSTS["jensen_shannon"]
    against, beside = [], []
    for world.game in ("pairs", "more"):
        against.append(world.sides(real, fake, constant=True))
        beside.append(world.sides(beside_real, beside_fake, constant=False))
    assert outcome.values["more/discriminator"].item() == pytest.approx(against[1].item(), abs=1e-10)
    labels = -(world.label * world.classes("l").logits).sum(1).mean()
    sides = 0.7 * beside[0] + 0.5 * beside[1]
    losses = {
        "critic": 0.7 * (against[0] + penalty) + 0.5 * against[1],
        "generator": sides,
        "classifier": sides + 0.3 * labels,
    }
    for name, loss in losses.items():
        parameters = list(world.model.network(name).parameters())
        found = torch.autograd.grad(loss, parameters, retain_graph=True, materialize_grads=True)
        for own, gradient in zip(outcome.gradients[name], found, strict=True):
            assert torch.allclose(own, gradient, rtol=0, atol=1e-10), name


def test_batch_norm_counts_every_image_with_every_class_alike_whatever_their_probabilities() -> None:
    world = Played("jensen_shannon", True)
    (found,) = world.turn.passes_of("scored")
    assert found.batch == 2 * B + 4 * K
    row = world.model.network("critic").row("h1")
    world.take()
    x, y = (torch.cat(parts) for parts in zip(*world.pairs(), strict=True))
    h = torch.cat([world.linear("critic", "h", x), y], 1) * world.noise["pairs/critic/h1.mask"].flatten(1) / 0.75
    h = world.linear("critic", "h1", h)
    assert row.running_mean is not None
    assert row.running_variance is not None
    assert torch.allclose(row.running_mean, 0.1 * h.mean(0), atol=1e-12)
    assert torch.allclose(row.running_variance, 0.9 + 0.1 * h.var(0), atol=1e-12)


def test_a_classifier_learns_from_a_game_in_a_turn_of_its_own_by_its_probabilities_alone() -> None:
    text = GAME.replace("OBJECTIVE", "jensen_shannon").replace("NORM", "false").replace("PENALTY", "")
    text = text.replace(
        "training:", "training:\n  schedule: [{update: [classifier], games: [classify]}, {update: [critic, generator]}]"
    )
    text = text.replace("terms:", "  classify: {match: [l, c], discriminator: critic.d, objective: minimax}\nterms:")
    plan = compile_spec(load_text(text))
    world = Played("minimax", False)
    world.turn, world.plan = plan.turns[0], plan
    assert world.turn.draws == ("l", "c")
    generator, cpu = torch.Generator().manual_seed(5), torch.device("cpu")
    world.noise = {site.name: draw_noise(site, generator, cpu, torch.float64) for site in world.turn.sites}
    outcome = world.take()
    x = torch.cat([world.data["l"].flatten(1), world.data["c"].flatten(1).repeat_interleave(K, 0)])
    y = torch.cat([world.label, torch.eye(K).double().repeat(4, 1)])
    world.noise["pairs/critic/h1.mask"] = world.noise["classify/critic/h1.mask"]
    d = world.critic(x, y)
    paid = -(world.classes("c").probs * F.softplus(d[B:]).view(4, K)).sum(1).mean()
    found = torch.autograd.grad(paid, list(world.model.network("classifier").parameters()))
    for own, gradient in zip(outcome.gradients["classifier"], found, strict=True):
        assert torch.allclose(own, gradient, rtol=0, atol=1e-10)


# ------------------------------------------------------------------------------ what does not depend on the value

CHOOSING = """  components:
    layers:
      h: {input: w, op: linear, channels: 3, dropout: 0.5, batchnorm: true, activation: tanh}
      means: {input: h, op: linear, channels: 6}
      z_mu: {input: means, choose: y}
      z_sigma: {input: h, op: linear, channels: 2, activation: expn}
      z: {input: z_mu + z_sigma}
"""
TRUNK = """  classifier:
    layers:
      h: {input: x, op: linear, channels: 4, dropout: 0.5, activation: tanh}
      y: {input: h, op: linear, channels: 3, activation: gumbel_straight_through 1}
      t: {input: h | y | z, op: linear, channels: 4, dropout: 0.5}
"""


def shared_spec(term: str) -> str:
    """The spec with components whose layers read w alone, and a classifier that reads what it has told."""
    before, rest = SPEC.split("  classifier:\n")
    _, rest = rest.split("  components:\n")
    _, rest = rest.split("  weights:\n")
    return (before + TRUNK + CHOOSING + "  weights:\n" + rest) % term


class Shared(Hand):
    def trunk(self) -> Tensor:
        """h of the components at each w of q once, with one mask and one set of statistics."""
        _, w = self.latent("q", "w")
        kept = w * self.noise["q/components/h.mask"].flatten(1) / 0.5
        row = self.model.network("components").row("h")
        assert row.gain is not None
        assert row.shift is not None
        h = self.linear("components", "h", kept)
        return ((h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt() * row.gain + row.shift).tanh()

    def p_of_z(self, y: Tensor, w: Tensor) -> Normal:
        h = self.trunk()
        means = self.linear("components", "means", h).view(B, K, 2)
        return Normal((means * y[:, :, None]).sum(1), (self.linear("components", "z_sigma", h) / 2).exp())

    def told(self) -> Tensor:
        """sum_y c(y|x) |t(h, y, z)|^2, h as it gave c(y|x), with a mask for each image with each value."""
        kept = self.data["c"] * self.noise["c/classifier/h.mask"] / 0.5
        h, (_, z) = self.linear("classifier", "h", kept).tanh(), self.latent("c", "z")
        masks = self.noise["c.y/classifier/t.mask"].view(B, K, -1)
        found = torch.zeros((), dtype=torch.float64)
        for k in range(K):
            t = self.linear("classifier", "t", torch.cat([h, self.y(k), z], 1) * masks[:, k] / 0.5)
            found = found + (self.c("c").probs[:, k] * t.square().sum(1)).mean()
        return found


def test_rows_that_do_not_depend_on_the_value_are_computed_once_in_the_evaluation_of_the_draw() -> None:
    world = Shared(shared_spec("E[c] l2(classifier.t)"))
    asked = {found.evaluation.name: found for found in world.turn.passes_of("asked")}
    assert asked["q/components"].rows == ("h", "means", "z_sigma")
    assert (asked["q/components"].batch, asked["q.y/components"].batch) == (B, B * K)
    assert (asked["q.y/components"].rows, asked["q.y/components"].takes) == (("z_mu",), ("z_sigma.raw",))
    assert asked["q.y/components"].chooses == ("means",)
    assert (asked["c.y/classifier"].rows, asked["c.y/classifier"].takes) == (("t",), ("h", "z"))
    assert "c/classifier" not in asked  # c(y|x) has computed h


def test_what_is_computed_once_gives_the_values_and_gradients_of_the_loop() -> None:
    text = shared_spec("E[c] l2(classifier.t)")
    sampled = text.index("  sampled:"), text.index("training:")
    again = text.index("  r:\n"), text.index("  p:\n    p(w)")
    world = Shared(text[: again[0]] + text[again[1] : sampled[0]] + text[sampled[1] :])
    row = world.model.network("components").row("h")
    outcome = world.take()
    _, w = world.latent("q", "w")
    h = world.linear("components", "h", w * world.noise["q/components/h.mask"].flatten(1) / 0.5)
    assert row.running_variance is not None
    assert torch.allclose(row.running_variance, 0.9 + 0.1 * h.var(0), atol=1e-12)  # of B examples, not of K B
    told = world.told()
    rest = -likelihood(world) + prior_of_z(world) + posterior_to_prior(world) - own_likelihood(world)
    assert outcome.values["term/value"].item() == pytest.approx(told.item(), abs=1e-10)
    assert outcome.values["rest/value"].item() == pytest.approx(rest.item(), abs=1e-10)
    for name in ("encoder", "classifier", "components", "weights", "decoder"):
        parameters = list(world.model.network(name).parameters())
        found = torch.autograd.grad(0.7 * told + rest, parameters, retain_graph=True, materialize_grads=True)
        for own, gradient in zip(outcome.gradients[name], found, strict=True):
            assert torch.allclose(own, gradient, rtol=0, atol=1e-10), name


class Trunk(Played):
    """A critic that reads each image by rows with noise, dropout and batch norm of their own, before it reads y."""

    def __init__(self, objective: str) -> None:
        spec = GAME.replace("OBJECTIVE", objective).replace("NORM", "true").replace("PENALTY", "")
        row = "noise: 0.3, dropout: 0.5, batchnorm: true, activation: tanh"
        plain = "h: {input: x, op: linear, channels: 5}"
        spec = spec.replace(plain, plain.replace("}", f", {row}}}"))
        Hand.__init__(self, spec)
        generator = torch.Generator().manual_seed(4)
        sizes = {"l": B, "p": B, "c": 4}
        self.norm = True
        self.data = {n: torch.rand(sizes[n], 1, 2, 2, generator=generator, dtype=torch.float64) for n in ("l", "c")}
        self.label = F.one_hot(torch.randint(K, (B,), generator=generator), K).double()

    def normed(self, name: str, h: Tensor) -> Tensor:
        row = self.model.network("critic").row(name)
        assert row.gain is not None
        assert row.shift is not None
        return (h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt() * row.gain + row.shift

    def critic(self, x: Tensor, y: Tensor) -> Tensor:
        images = torch.cat([x[: 2 * B], x[2 * B :: K]])
        moved = images + 0.3 * self.noise["pairs/critic/h.noise"].flatten(1)
        moved = moved * self.noise["pairs/critic/h.mask"].flatten(1) / 0.5
        h = self.normed("h", self.linear("critic", "h", moved)).tanh()
        every = torch.cat([h[: 2 * B], *(image[None] for image in h[2 * B :] for _ in range(K))])
        kept = torch.cat([every, y], 1) * self.noise["pairs/critic/h1.mask"].flatten(1) / 0.75
        return self.linear("critic", "d", self.normed("h1", self.linear("critic", "h1", kept)).tanh()).flatten()


@pytest.mark.parametrize("objective", COSTS)
def test_a_discriminator_reads_an_image_once_for_all_of_its_classes(objective: str) -> None:
    world = Trunk(objective)
    (found,) = world.turn.passes_of("scored")
    assert (found.shared, found.examples, found.batch) == (("h",), 2 * B + 4, 2 * B + 4 * K)
    outcome = world.take()
    real, fake, beside_real, beside_fake = COSTS[objective]
    against = world.sides(real, fake, constant=True)
    beside = world.sides(beside_real, beside_fake, constant=False)
    labels = -(world.label * world.classes("l").logits).sum(1).mean()
    assert outcome.values["pairs/discriminator"].item() == pytest.approx(against.item(), abs=1e-10)
    assert outcome.values["pairs/generator"].item() == pytest.approx(beside.item(), abs=1e-10)
    for name, loss in (("critic", against), ("generator", beside), ("classifier", beside + 0.3 / 0.7 * labels)):
        parameters = list(world.model.network(name).parameters())
        found = torch.autograd.grad(0.7 * loss, parameters, retain_graph=True, materialize_grads=True)
        for own, gradient in zip(outcome.gradients[name], found, strict=True):
            assert torch.allclose(own, gradient, rtol=0, atol=1e-10), name


@pytest.mark.parametrize("kind", ["roth_penalty", "r1_penalty"])
def test_a_penalty_on_slopes_keeps_every_pair_apart(kind: str) -> None:
    world = Played("jensen_shannon", False, f", {kind}: {{gamma: 2}}")
    (found,) = world.turn.passes_of("scored")
    assert (found.shared, found.examples, found.batch) == ((), 0, 2 * B + 4 * K)


def test_what_is_computed_once_is_counted_once() -> None:
    world = Trunk("minimax")
    rows = {row.name: row.multiply_adds for row in world.plan.network("critic").rows}
    assert rows == {"h": 4 * 5, "h1": (5 + K) * 6, "d": 6}
    expected = (2 * B + 4) * rows["h"] + (2 * B + 4 * K) * (rows["h1"] + rows["d"])
    assert forward_cost(world.plan, world.plan.turns)["critic"] == expected
