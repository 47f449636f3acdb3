"""Terms against formulas written by hand with torch.distributions: values and every gradient, in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence
from torch.nn import functional as F

from ammgraph.compiler.compile import compile_spec
from ammgraph.nn.functions import affinity, balance, pull_away
from ammgraph.nn.model import build, draw_noise
from ammgraph.spec.load import load_text
from ammgraph.train.step import Outcome, take_turn

SPEC = """
ammgraph: 1
data: {dataset: npz, path: images.npz}
variables:
  x: {type: image, shape: [1, 2, 2], range: [0, 1]}
  w: {type: image, shape: [1, 2, 2], range: [0, 1]}
  y: {type: categorical, size: 3}
  z: {type: real, size: 2}
networks:
  encoder:
    layers:
      h: {input: x, op: linear, channels: 4, activation: tanh}
      z_mu: {input: h, op: linear, channels: 2}
      z_sigma: {input: h, op: linear, channels: 2, activation: expn}
      z: {input: z_mu + z_sigma}
      y: {input: h, op: linear, channels: 3, activation: softmax}
  components:
    layers:
      m: {input: y, op: linear, channels: 2}
      s: {input: zeros(1), op: linear, channels: 2, activation: expn}
      z: {input: m + s}
  decoder:
    layers:
      x: {input: z, op: conv_transpose, channels: 1, width: 2, activation: sigmoid}
  classifier:
    layers:
      h: {input: x, op: linear, channels: 3, dropout: 0.5, activation: tanh}
      y: {input: h, op: linear, channels: 3, activation: softmax}
distributions:
  q: {q(x): data, q(y|x): encoder.y, q(z|x): encoder.z, q(w): data}
  p: {p(y): uniform, p(z|y): components.z, p(x|z): decoder.x}
  n: {n(z): "normal(0.5, 2)"}
  c: {c(y|x): classifier.y}
terms:
  term: {minimize: "%s", weight: 0.7}
  rest: {minimize: "-E[q] log p(x|z) - E[q] log c(y|x=w) - E[q] log p(z|y) - E[q] log n(z)"}
training:
  batch_size: 5
  steps: 10
  optimizers: {default: {name: adam, learning_rate: 0.01}}
  initializer: {weights: {normal: 0.8}, biases: 0.1}
"""
NETWORKS = ("encoder", "components", "decoder", "classifier")


class World:
    """The model of one term, and the same by hand: its networks at one batch and one set of noise."""

    def __init__(self, term: str, *options: str) -> None:
        self.plan = compile_spec(load_text(SPEC % term, overrides=options))
        generator = torch.Generator().manual_seed(3)
        self.model = build(self.plan, generator).double()
        (self.turn,) = self.plan.turns
        cpu = torch.device("cpu")
        self.noise = {site.name: draw_noise(site, generator, cpu, torch.float64) for site in self.turn.sites}
        self.x, self.w = torch.rand(2, 5, 1, 2, 2, generator=generator, dtype=torch.float64)
        self.h = self.encoded(self.x)
        self.y = self.linear("encoder", "y", self.h).softmax(1)
        self.qz = self.q_of_z(self.h)
        self.z = self.qz.mean + self.qz.stddev * self.noise["q/encoder/z_sigma.eps"].flatten(1)
        if "p" in self.turn.draws:
            self.y_p = F.one_hot((self.noise["p/y"] * 3).long(), 3).double()
            p = self.p_of_z(self.y_p)
            self.z_p = p.mean + p.stddev * self.noise["p/components/s.eps"].flatten(1)
            self.x_p = self.logits(self.z_p).sigmoid().view(5, 1, 2, 2)

    def take(self, epoch: float = 0.0) -> Outcome:
        return take_turn(self.model, self.plan, self.turn, {"q": {"x": self.x, "w": self.w}}, self.noise, epoch)

    def linear(self, network: str, row: str, value: Tensor) -> Tensor:
        own = self.model.network(network).row(row)
        assert own.weight is not None
        return F.linear(value.flatten(1), own.weight, own.bias)

    def encoded(self, x: Tensor) -> Tensor:
        return self.linear("encoder", "h", x).tanh()

    def q_of_z(self, h: Tensor) -> Normal:
        return Normal(self.linear("encoder", "z_mu", h), (self.linear("encoder", "z_sigma", h) / 2).exp())

    def p_of_z(self, y: Tensor) -> Normal:
        scale = (self.linear("components", "s", torch.zeros(1, 1).double()) / 2).exp()
        return Normal(self.linear("components", "m", y), scale)

    def logits(self, z: Tensor) -> Tensor:
        own = self.model.network("decoder").row("x")
        assert own.weight is not None
        assert own.bias is not None
        return (torch.einsum("bc,chw->bhw", z, own.weight[:, 0]) + own.bias).flatten(1)

    def c(self, x: Tensor, site: str) -> Categorical:
        kept = x * self.noise[f"{site}/h.mask"] / 0.5
        return Categorical(logits=self.linear("classifier", "y", self.linear("classifier", "h", kept).tanh()))

    def q_of_y(self) -> Categorical:
        return Categorical(logits=self.linear("encoder", "y", self.h))

    def rest(self) -> Tensor:
        c = self.c(self.w, "q/classifier(x=w)")
        terms = [
            drawn_as(self.logits(self.z), self.x).sum(1),
            (self.y * c.logits).sum(1),
            self.p_of_z(self.y).log_prob(self.z).sum(1),
            Normal(torch.tensor(0.5).double(), torch.tensor(2.0).double()).log_prob(self.z).sum(1),
        ]
        return -torch.stack(terms).sum(0).mean()


def drawn_as(logits: Tensor, x: Tensor) -> Tensor:
    """Log density of pixels, which may be grey."""
    return Bernoulli(logits=logits, validate_args=False).log_prob(x.flatten(1))


def n() -> Normal:
    return Normal(torch.full((2,), 0.5).double(), torch.full((2,), 2.0).double())


def pooled(distribution: Categorical) -> Categorical:
    return Categorical(probs=distribution.probs.mean(0))


def squared(a: Tensor) -> Tensor:
    return a.flatten(1).square().sum(1)


def floored(numbers: Tensor, least: float) -> Tensor:
    assert (numbers > least).any()
    assert (numbers < least).any()
    return torch.stack([number if number > least else torch.tensor(least).double() for number in numbers])


def alike(f: Tensor) -> Tensor:
    """Squared cosines of all pairs, one after the other."""
    pairs = [(i, j) for i in range(len(f)) for j in range(len(f)) if i != j]
    return torch.stack([F.cosine_similarity(f[i], f[j], dim=0) ** 2 for i, j in pairs]).mean()


def correlated(f: Tensor) -> Tensor:
    return f.relu().T @ f.relu()


def outer(f: Tensor) -> Tensor:
    v = correlated(f).diagonal()
    return torch.outer(v, v)


def beside(m: Tensor) -> Tensor:
    """What stands beside the diagonal, against the diagonal (Kilinc & Uysal, eqs. 4 and 6)."""
    return (m.sum() - m.trace()) / ((len(m) - 1) * m.trace())


TERMS: dict[str, Callable[[World], Tensor]] = {
    "-E[q] log p(x|z)": lambda w: -drawn_as(w.logits(w.z), w.x).sum(1).mean(),
    "-E[q] log p(x|z) + 0.5 * E[q] log n(z)": lambda w: (
        -drawn_as(w.logits(w.z), w.x).sum(1).mean() + 0.5 * n().log_prob(w.z).sum(1).mean()
    ),
    "E[q] KL(q(z|x) || n(z))": lambda w: kl_divergence(w.qz, n()).sum(1).mean(),
    "E[q] KL(q(z|x) || p(z|y))": lambda w: kl_divergence(w.qz, w.p_of_z(w.y)).sum(1).mean(),
    "E[q] KL(q(z|x) || q(z|x=w))": lambda w: kl_divergence(w.qz, w.q_of_z(w.encoded(w.w))).sum(1).mean(),
    "E[q] H(q(z|x))": lambda w: w.qz.entropy().sum(1).mean(),
    "E[q] log q(z|x)": lambda w: w.qz.log_prob(w.z).sum(1).mean(),
    "E[q] H(q(y|x))": lambda w: w.q_of_y().entropy().mean(),
    "E[q] H(c(y|x)) - H(E[q] c(y|x))": lambda w: (
        w.c(w.x, "q/classifier").entropy().mean() - pooled(w.c(w.x, "q/classifier")).entropy()
    ),
    "E[q] KL(c(y|x) || q(y|x))": lambda w: kl_divergence(w.c(w.x, "q/classifier"), w.q_of_y()).mean(),
    "E[q] KL(q(y|x) || p(y))": lambda w: kl_divergence(w.q_of_y(), Categorical(probs=torch.ones(3).double())).mean(),
    "KL(E[q] c(y|x) || p(y))": lambda w: kl_divergence(
        pooled(w.c(w.x, "q/classifier")), Categorical(probs=torch.ones(3).double())
    ),
    "KL(p(y) || E[q] c(y|x))": lambda w: kl_divergence(
        Categorical(probs=torch.ones(3).double()), pooled(w.c(w.x, "q/classifier"))
    ),
    "KL(E[p] c(y|x) || E[q] q(y|x))": lambda w: kl_divergence(pooled(w.c(w.x_p, "p/classifier")), pooled(w.q_of_y())),
    "-E[p] log c(y|x)": lambda w: -(w.y_p * w.c(w.x_p, "p/classifier").logits).sum(1).mean(),
    "E[p] log p(z|y)": lambda w: w.p_of_z(w.y_p).log_prob(w.z_p).sum(1).mean(),
    "E[q] l2(x, decoder.x)": lambda w: squared(w.x.flatten(1) - w.logits(w.z).sigmoid()).mean(),
    "1/4 * E[q] l1(x, decoder.x)": lambda w: (w.x.flatten(1) - w.logits(w.z).sigmoid()).abs().sum(1).mean() / 4,
    "E[p] l2(z, encoder.z_mu)": lambda w: squared(w.z_p - w.q_of_z(w.encoded(w.x_p)).mean).mean(),
    "E[q] l2(encoder.h)": lambda w: squared(w.h).mean(),
    "E[q] l2(y, encoder.y)": lambda w: 0 * w.y.sum(),
    "l2(E[q] encoder.h, E[p] encoder.h)": lambda w: (w.h.mean(0) - w.encoded(w.x_p).mean(0)).square().sum(),
    "l1(E[q] x, E[p] x)": lambda w: (w.x.mean(0) - w.x_p.mean(0)).abs().sum(),
    "E[q] sum(encoder.h) - 1/2 * E[p] sum(stop encoder.h)": lambda w: (
        w.h.sum(1).mean() - w.encoded(w.x_p).detach().sum(1).mean() / 2
    ),
    "E[q] exp(encoder.h) - 3 * exp(E[p] encoder.h)": lambda w: (
        (math.e**w.h).sum(1).mean() - 3 * (math.e ** w.encoded(w.x_p).mean(0)).sum()
    ),
    "E[p] softplus(encoder.z_mu)": lambda w: (
        (1 + math.e ** w.q_of_z(w.encoded(w.x_p)).mean).log().flatten(1).sum(1).mean()
    ),
    "E[q] max(sum(encoder.z_mu), 1)": lambda w: floored(w.qz.mean.flatten(1).sum(1), 1.0).mean(),
    "max(E[q] KL(q(z|x) || n(z)), 0.1)": lambda w: kl_divergence(w.qz, n()).sum(1).mean(),
    "max(E[q] KL(q(z|x) || n(z)), 100)": lambda w: 100 + 0 * w.h.sum(),
    "2 * E[q] max(H(c(y|x)), 0.5)": lambda w: 2 * floored(w.c(w.x, "q/classifier").entropy(), 0.5).mean(),
    "-max(H(E[q] c(y|x)), 0.2) + E[q] l2(encoder.h)": lambda w: (
        -pooled(w.c(w.x, "q/classifier")).entropy() + squared(w.h).mean()
    ),
    "E[q] max(log q(z|x), -3)": lambda w: floored(w.qz.log_prob(w.z).sum(1), -3.0).mean(),
    "pull_away[p](encoder.h)": lambda w: alike(w.encoded(w.x_p)),
    "0.8 * pull_away[q](encoder.h) + affinity[p](encoder.h)": lambda w: (
        0.8 * alike(w.h) + beside(correlated(w.encoded(w.x_p)))
    ),
    "affinity[q](encoder.h, 2) - balance[q](encoder.h, 2)": lambda w: torch.stack(
        [beside(correlated(part)) - beside(outer(part)) for part in w.h.split(2, 1)]
    ).mean(),
    "balance[q](encoder.h)": lambda w: beside(outer(w.h)),
    "2 * E[q] l2(x, decoder.x) - 1/3 * E[p] H(c(y|x))": lambda w: (
        2 * squared(w.x.flatten(1) - w.logits(w.z).sigmoid()).mean() - w.c(w.x_p, "p/classifier").entropy().mean() / 3
    ),
}


@pytest.mark.parametrize("term", TERMS)
def test_a_term_has_the_value_and_the_gradients_of_its_formula(term: str) -> None:
    world = World(term)
    outcome, expected = world.take(), TERMS[term](world)
    assert outcome.values["term/value"].item() == pytest.approx(expected.item(), abs=1e-10)
    assert outcome.values["rest/value"].item() == pytest.approx(world.rest().item(), abs=1e-10)
    total = 0.7 * expected + world.rest()
    for name in NETWORKS:
        parameters = list(world.model.network(name).parameters())
        found = torch.autograd.grad(total, parameters, retain_graph=True, materialize_grads=True)
        for own, gradient in zip(outcome.gradients[name], found, strict=True):
            assert torch.allclose(own, gradient, rtol=0, atol=1e-10), name


def agrees(world: World, expected: Tensor, *more: str) -> None:
    """The value of the term, and every gradient of it and of the rest; `more` networks than usual."""
    outcome, total = world.take(), 0.7 * expected + world.rest()
    assert outcome.values["term/value"].item() == pytest.approx(expected.item(), abs=1e-10)
    for name in (*NETWORKS, *more):
        parameters = list(world.model.network(name).parameters())
        found = torch.autograd.grad(total, parameters, retain_graph=True, materialize_grads=True)
        for own, gradient in zip(outcome.gradients[name], found, strict=True):
            assert torch.allclose(own, gradient, rtol=0, atol=1e-10), name


def test_a_row_of_a_variable_is_computed_where_the_draw_has_another_sample_of_it() -> None:
    world = World("E[r] l2(encoder.y, y) + E[p] log p(z|y)", "distributions.r={r(x): q.x, r(y): p.y}")
    assert world.turn.taken == ()
    agrees(world, squared(world.y - world.y_p).mean() + world.p_of_z(world.y_p).log_prob(world.z_p).sum(1).mean())


def test_what_is_scored_at_another_sample_of_its_variable_is_taken_as_drawn() -> None:
    world = World("-E[r] log q(y|x) + E[p] log p(z|y)", "distributions.r={r(x): q.x, r(y): p.y}")
    assert world.turn.taken == (("r/encoder", "q/encoder"),)
    scored = -(world.y_p * world.q_of_y().logits).sum(1).mean()
    agrees(world, scored + world.p_of_z(world.y_p).log_prob(world.z_p).sum(1).mean())


SECOND = "variables.y2={type: categorical, size: 3}"


@pytest.mark.parametrize("also", ["", ", r(y): uniform"])
def test_a_mixture_is_scored_at_the_category_that_stands_for_its_own(also: str) -> None:
    means = [[0.5, -1.0], [2.0, 0.3], [-0.7, 1.5]]
    world = World(
        "E[r] KL(q(z|x) || m(z|y=y2))",
        SECOND,
        f"distributions.r={{r(x): q.x, r(y2): uniform{also}}}",
        f"distributions.m={{m(z|y): {{mixture: {{means: {means}, scale: 0.5}}}}}}",
    )
    chosen = torch.tensor(means).double()[(world.noise["r/y2"] * 3).long()]
    agrees(world, kl_divergence(world.qz, Normal(chosen, torch.tensor(0.5).double())).sum(1).mean())


@pytest.mark.parametrize("also", ["", ", s(y): uniform, s(z): normal"])
def test_a_factor_that_draws_under_other_names_is_scored_at_these(also: str) -> None:
    """The network `both` reads its own y, which is y2 of e: at samples of s it is y2 too, whether s has a y or none."""
    world = World(
        "-E[s] log e(z2|w,y2) - E[s] log e(y2|w)",
        SECOND,
        "variables.z2={type: real, size: 2}",
        "networks.both={layers: {h: {input: x, op: linear, channels: 4, activation: tanh}, "
        "y: {input: h, op: linear, channels: 3, activation: softmax}, z_mu: {input: h | y, op: linear, channels: 2}, "
        "z_sigma: {input: h, op: linear, channels: 2, activation: expn}, z: {input: z_mu + z_sigma}}}",
        'distributions.e={"e(y2|w)": both(x=w).y, "e(z2|w,y2)": both(x=w).z}',
        f"distributions.s={{s(w): q.w, s(y2): uniform, s(z2): normal{also}}}",
    )
    y, z = F.one_hot((world.noise["s/y2"] * 3).long(), 3).double(), world.noise["s/z2"].flatten(1)
    h = world.linear("both", "h", world.w).tanh()
    scale = (world.linear("both", "z_sigma", h) / 2).exp()
    given = Normal(world.linear("both", "z_mu", torch.cat([h, y], 1)), scale)
    category = Categorical(logits=world.linear("both", "y", h))
    agrees(world, -(given.log_prob(z).sum(1) + (y * category.logits).sum(1)).mean(), "both")


def test_what_a_network_reads_of_itself_is_no_loss() -> None:
    assert World("E[q] l2(y, encoder.y)").take().values["term/value"].item() == 0


def test_a_term_of_weight_0_is_not_computed_and_its_networks_stand_still() -> None:
    world = World("-E[q] log p(x|z)")
    text = (SPEC % "-E[p] log c(y|x)").replace("weight: 0.7", "weight: [[0, 0], [1, 0], [1, 2]]")
    text = text.replace(" - E[q] log c(y|x=w)", "")
    world.plan = compile_spec(load_text(text))
    (world.turn,) = world.plan.turns
    generator, cpu = torch.Generator().manual_seed(3), torch.device("cpu")
    world.noise |= {site.name: draw_noise(site, generator, cpu, torch.float64) for site in world.turn.sites}
    before, after = world.take(0.5), world.take(1.0)
    assert before.values["term/value"].item() == 0
    assert "classifier" not in before.gradients
    assert after.values["term/value"].item() > 0
    assert sum(float(gradient.abs().sum()) for gradient in after.gradients["classifier"]) > 0


@pytest.mark.parametrize("term", ["E[q] l2(encoder.h)", "l2(E[q] encoder.h, E[p] encoder.h)"])
def test_a_row_that_is_folded_into_its_reader_has_its_value_all_the_same(term: str) -> None:
    world = World(term)
    text = (SPEC % term).replace("channels: 4, activation: tanh", "channels: 4, activation: leaky_relu 0.2")
    # A leaky ReLU and the dropout of its only reader are computed as one product, which leaves no row `h`.
    text = text.replace(
        "      z_mu: {input: h,", "      g: {input: h, op: linear, channels: 4, dropout: 0.5}\n      z_mu: {input: g,"
    )
    text = text.replace("z_sigma: {input: h,", "z_sigma: {input: g,").replace("y: {input: h,", "y: {input: g,", 1)
    world.plan = compile_spec(load_text(text))
    (world.turn,) = world.plan.turns
    generator, cpu = torch.Generator().manual_seed(3), torch.device("cpu")
    world.model = build(world.plan, generator).double()
    world.noise = {site.name: draw_noise(site, generator, cpu, torch.float64) for site in world.turn.sites}
    h = F.leaky_relu(world.linear("encoder", "h", world.x), 0.2)
    expected = squared(h).mean()
    if "p" in world.turn.draws:
        p = world.p_of_z(F.one_hot((world.noise["p/y"] * 3).long(), 3).double())
        image = world.logits(p.mean + p.stddev * world.noise["p/components/s.eps"].flatten(1)).sigmoid()
        expected = (h.mean(0) - F.leaky_relu(world.linear("encoder", "h", image), 0.2).mean(0)).square().sum()
    assert world.take().values["term/value"].item() == pytest.approx(expected.item(), abs=1e-10)


@pytest.mark.parametrize("n", [1, 2])
def test_what_is_not_active_counts_0(n: int) -> None:
    f = torch.zeros(3, 4, 1, 1, dtype=torch.float64, requires_grad=True)
    for measure in (lambda f: pull_away(f), lambda f: affinity(f, n), lambda f: balance(f, n)):
        value = measure(f)
        assert value.item() == 0
        (gradient,) = torch.autograd.grad(value, f)
        assert torch.equal(gradient, torch.zeros_like(f))


def test_one_active_number_an_example_has_affinity_0_and_equal_use_balance_1() -> None:
    f = torch.eye(4).repeat(3, 1)[:, :, None, None].double()
    assert affinity(f).item() == 0
    assert balance(f).item() == pytest.approx(1)
    assert affinity(torch.ones_like(f)).item() == pytest.approx(1)
    assert balance(f * torch.tensor([1.0, 0, 0, 0])[:, None, None]).item() == 0
    assert pull_away(f[:4]).item() == 0
    assert pull_away(torch.ones_like(f)).item() == pytest.approx(1)
