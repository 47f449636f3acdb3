"""`stop` and `vat` against plain torch, in float64: values, every gradient, running statistics, and random streams."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Normal, kl_divergence
from torch.nn import functional as F

from ammgraph.compiler.compile import compile_spec
from ammgraph.nn.functions import unit
from ammgraph.nn.model import build, draw_noise
from ammgraph.spec.load import load_text
from ammgraph.train.step import Outcome, take_turn
from ammgraph.train.streams import Noise

SPEC = """
ammgraph: 1
data: {dataset: npz, path: images.npz}
variables:
  x: {type: image, shape: [1, 2, 2], range: [0, 1]}
  y: {type: categorical, size: 3}
  z: {type: real, size: 2}
  e: {type: real, size: 1}
networks:
  decoder:
    layers:
      x: {input: z, op: conv_transpose, channels: 1, width: 2, activation: sigmoid}
  encoder:
    layers:
      h: {input: x, op: linear, channels: 4, activation: tanh}
      z_mu: {input: h, op: linear, channels: 2, dropout: 0.4}
      z_sigma: {input: h, op: linear, channels: 2, activation: expn}
      z: {input: z_mu + z_sigma}
  classifier:
    layers:
      h: {input: x, op: linear, channels: 5, noise: 0.3, dropout: 0.5, batchnorm: true, activation: tanh}
      y: {input: h, op: linear, channels: 3, activation: softmax}
distributions:
  q: {q(x): data, q(e): "uniform(1, 2)", q(z|x): encoder.z}
  p: {p(z): normal, p(x|z): decoder.x}
  c: {c(y|x): classifier.y}
terms:
  term: {minimize: "%s", weight: 0.7}
  rest: {minimize: "-E[q] log p(x|z) - E[p] H(c(y|x))"}
training:
  batch_size: 6
  steps: 10
  optimizers: {default: {name: adam, learning_rate: 0.01}}
  initializer: {weights: {normal: 0.9}, biases: 0.1}
"""
NETWORKS = ("decoder", "encoder", "classifier")


class World:
    """The model of one term, and the same by hand, at one batch and one set of noise."""

    def __init__(self, term: str, text: str = SPEC) -> None:
        self.plan = compile_spec(load_text(text % term))
        generator = torch.Generator().manual_seed(5)
        self.model = build(self.plan, generator).double()
        (self.turn,) = self.plan.turns
        cpu = torch.device("cpu")
        self.noise = {site.name: draw_noise(site, generator, cpu, torch.float64) for site in self.turn.sites}
        self.x = torch.rand(6, 1, 2, 2, generator=generator, dtype=torch.float64)
        self.e = 1 + self.noise["q/e"] if "q/e" in self.noise else torch.ones(6, 1, 1, 1).double()
        qz = self.q_of_z(self.x)
        self.z = qz.mean + qz.stddev * self.noise["q/encoder/z_sigma.eps"].flatten(1)
        if "p" in self.turn.draws:
            self.x_p = self.pixels(self.noise["p/z"].flatten(1)).sigmoid().view(6, 1, 2, 2)

    def take(self) -> Outcome:
        return take_turn(self.model, self.plan, self.turn, {"q": {"x": self.x}}, self.noise, 0.0)

    def parameters(self, network: str) -> list[Tensor]:
        return list(self.model.network(network).parameters())

    def linear(self, network: str, row: str, value: Tensor) -> Tensor:
        own = self.model.network(network).row(row)
        assert own.weight is not None
        return F.linear(value.flatten(1), own.weight, own.bias)

    def q_of_z(self, x: Tensor, site: str = "q/encoder") -> Normal:
        h = self.linear("encoder", "h", x).tanh()
        mask = self.noise[f"{site}/z_mu.mask"].flatten(1)
        return Normal(self.linear("encoder", "z_mu", h * mask / 0.6), (self.linear("encoder", "z_sigma", h) / 2).exp())

    def pixels(self, z: Tensor) -> Tensor:
        own = self.model.network("decoder").row("x")
        assert own.weight is not None
        assert own.bias is not None
        return (torch.einsum("bc,chw->bhw", z, own.weight[:, 0]) + own.bias).flatten(1)

    def c(self, x: Tensor, site: str = "q/classifier") -> Categorical:
        noisy = (x + 0.3 * self.noise[f"{site}/h.noise"]) * self.noise[f"{site}/h.mask"] / 0.5
        own = self.model.network("classifier").row("h")
        assert own.gain is not None
        assert own.shift is not None
        a = self.linear("classifier", "h", noisy)
        a = (a - a.mean(0)) / (a.var(0, unbiased=False) + 1e-5).sqrt() * own.gain + own.shift
        return Categorical(logits=self.linear("classifier", "y", a.tanh()))

    def rest(self) -> Tensor:
        pixels = -F.binary_cross_entropy_with_logits(self.pixels(self.z), self.x.flatten(1), reduction="none")
        return -pixels.sum(1).mean() - self.c(self.x_p, "p/classifier").entropy().mean()

    def vat(
        self, f: Callable[[Tensor], Distribution], x: Tensor, u: Tensor, radius: Tensor | float, xi: float
    ) -> Tensor:
        """Algorithm 1 of Miyato et al.: one power iteration, the radius exact."""

        def divergence(moved: Tensor) -> Tensor:
            with torch.no_grad():
                clean = f(x)
            found: Tensor = kl_divergence(clean, f(moved))
            return found.flatten(1).sum(1) if found.dim() > 1 else found

        d = (u / u.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).requires_grad_()
        (g,) = torch.autograd.grad(divergence(x.detach() + xi * d).sum(), d)
        r = radius * g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        return divergence(x + r.detach()).mean()


def still(distribution: Distribution) -> Distribution:
    if isinstance(distribution, Normal):
        return Normal(distribution.mean.detach(), distribution.stddev.detach())
    assert isinstance(distribution, Categorical)
    return Categorical(logits=distribution.logits.detach())


TERMS: dict[str, Callable[[World], Tensor]] = {
    "E[q] vat(c(y|x), x, 0.5, 10)": lambda w: w.vat(w.c, w.x, w.noise["q/classifier/vat/x"], 0.5, 10),
    "E[q] vat(c(y|x), x, 1/4 * e, 1e-6)": lambda w: w.vat(w.c, w.x, w.noise["q/classifier/vat/x"], w.e / 4, 1e-6),
    "E[q] vat(c(y|x), x, e, 1)": lambda w: w.vat(w.c, w.x, w.noise["q/classifier/vat/x"], w.e, 1),
    "E[q] vat(q(z|x), x, 2, 0.1)": lambda w: w.vat(w.q_of_z, w.x, w.noise["q/encoder/vat/x"], 2, 0.1),
    "E[p] vat(c(y|x), x, 2, 1)": lambda w: w.vat(
        lambda x: w.c(x, "p/classifier"), w.x_p, w.noise["p/classifier/vat/x"], 2, 1
    ),
    "E[q] vat(c(y|x), x, 0.5, 10) + 0.1 * E[q] H(c(y|x))": lambda w: (
        w.vat(w.c, w.x, w.noise["q/classifier/vat/x"], 0.5, 10) + 0.1 * w.c(w.x).entropy().mean()
    ),
    "E[q] l2(stop x, decoder.x)": lambda w: (w.x.flatten(1) - w.pixels(w.z).sigmoid()).square().sum(1).mean(),
    "E[q] l2(z, stop encoder.z_mu)": lambda w: (w.z - w.q_of_z(w.x).mean.detach()).square().sum(1).mean(),
    "E[q] l2(stop z, encoder.z_mu)": lambda w: (w.z.detach() - w.q_of_z(w.x).mean).square().sum(1).mean(),
    "l2(E[q] stop encoder.h, E[p] encoder.h)": lambda w: (
        (w.linear("encoder", "h", w.x).tanh().mean(0).detach() - w.linear("encoder", "h", w.x_p).tanh().mean(0))
        .square()
        .sum()
    ),
    "E[q] log stop q(z|x)": lambda w: still(w.q_of_z(w.x)).log_prob(w.z).sum(1).mean(),
}


def gradients(world: World, total: Tensor) -> dict[str, list[Tensor]]:
    return {
        name: list(torch.autograd.grad(total, world.parameters(name), retain_graph=True, materialize_grads=True))
        for name in NETWORKS
    }


@pytest.mark.parametrize("term", TERMS)
def test_a_term_has_the_value_and_the_gradients_of_its_formula(term: str) -> None:
    world = World(term)
    outcome, expected = world.take(), TERMS[term](world)
    assert outcome.values["term/value"].item() == pytest.approx(expected.item(), abs=1e-10)
    assert abs(expected.item()) > 1e-3 or "1e-6" in term
    for name, wanted in gradients(world, 0.7 * expected + world.rest()).items():
        for own, gradient in zip(outcome.gradients[name], wanted, strict=True):
            assert torch.allclose(own, gradient, rtol=0, atol=1e-10), name


def statistics(world: World) -> Tensor:
    own = world.model.network("classifier").row("h")
    assert own.running_mean is not None
    assert own.running_variance is not None
    return torch.cat([own.running_mean, own.running_variance])


def moved_once(world: World, *samples: tuple[Tensor, str]) -> Tensor:
    """Running statistics after these evaluations of the classifier in training."""
    mean, variance = torch.zeros(5).double(), torch.ones(5).double()
    for x, site in samples:
        noisy = (x + 0.3 * world.noise[f"{site}/h.noise"]) * world.noise[f"{site}/h.mask"] / 0.5
        a = world.linear("classifier", "h", noisy)
        mean, variance = 0.9 * mean + 0.1 * a.mean(0), 0.9 * variance + 0.1 * a.var(0)
    return torch.cat([mean, variance]).detach()


def test_moved_samples_leave_running_statistics_as_the_pass_at_the_sample_has_left_them() -> None:
    world = World("E[q] vat(c(y|x), x, 2, 10)")
    at_q, at_p = (world.x, "q/classifier"), (world.x_p.detach(), "p/classifier")
    world.take()
    found = [moved_once(world, at_p, at_q), moved_once(world, at_q, at_p)]
    assert min((statistics(world) - wanted).abs().max().item() for wanted in found) < 1e-12


def test_an_evaluation_all_of_whose_uses_are_stopped_moves_no_statistics_and_has_no_gradient() -> None:
    world = World("E[q] l2(stop classifier.h) + E[q] l2(encoder.h)")
    (found,) = [found for found in world.turn.passes_of("asked") if found.evaluation.name == "q/classifier"]
    assert (found.stopped, found.kept) == (True, True)
    world.take()
    assert torch.allclose(statistics(world), moved_once(world, (world.x_p, "p/classifier")), rtol=0, atol=1e-12)
    wanted = gradients(world, world.rest())["classifier"]
    assert all(map(torch.allclose, world.take().gradients["classifier"], wanted))


def test_one_use_that_is_not_stopped_is_enough_for_both() -> None:
    world = World("E[p] l2(stop classifier.h) + E[q] l2(encoder.h)")
    (found,) = [found for found in world.turn.passes_of("asked") if found.evaluation.name == "p/classifier"]
    assert (found.stopped, found.kept) == (False, False)


def test_what_is_flat_is_moved_nowhere() -> None:
    world = World("E[q] vat(c(y|x), x, 2, 10)")
    last = world.model.network("classifier").row("y").weight
    assert last is not None
    last.data.zero_()
    outcome = world.take()
    assert outcome.values["term/value"].item() == 0
    assert all(gradient.isfinite().all() for gradient in outcome.gradients["classifier"])


@pytest.mark.parametrize("size", [1.0, 1e-30, 1e-160, 1e300])
def test_a_direction_has_length_1_however_small_or_large_it_was(size: float) -> None:
    g = size * torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(unit(g).flatten(1).norm(dim=1), torch.ones(3).double(), rtol=0, atol=1e-14)
    assert torch.equal(unit(0 * g), 0 * g)


def test_the_direction_that_is_found_is_worse_than_the_one_it_began_with() -> None:
    world = World("E[q] vat(c(y|x), x, 0.01, 0.001)")
    found, u = world.take().values["term/value"], unit(world.noise["q/classifier/vat/x"])
    assert found > kl_divergence(world.c(world.x), world.c(world.x + 0.01 * u)).mean()


def test_it_has_random_numbers_of_its_own() -> None:
    """A run with `vat` has the same data, priors and masks as one without."""
    plain, smooth = World("E[q] H(c(y|x))").plan, World("E[q] vat(c(y|x), x, 2, 10)").plan
    noise = [Noise(plan, 7, torch.device("cpu"), torch.float32) for plan in (plain, smooth)]
    for _ in range(2):
        without, within = (drawn.of(plan.turns[0]) for drawn, plan in zip(noise, (plain, smooth), strict=True))
        assert set(within) - set(without) == {"q/classifier/vat/x"}
        assert all(torch.equal(value, within[name]) for name, value in without.items())
    assert set(noise[1].state_dict()) - set(noise[0].state_dict()) == {"perturbation"}


def test_two_terms_that_move_one_variable_begin_in_one_direction() -> None:
    world = World("E[q] vat(c(y|x), x, 2, 10) + E[q] vat(c(y|x), x, 1, 10)")
    assert [site.name for site in world.turn.sites if site.stream == "perturbation"] == ["q/classifier/vat/x"]
    first, second = (world.vat(world.c, world.x, world.noise["q/classifier/vat/x"], r, 10) for r in (2, 1))
    assert world.take().values["term/value"].item() == pytest.approx((first + second).item(), abs=1e-10)


def test_weights_that_autocast_has_cast_for_a_constant_learn_all_the_same() -> None:
    """In bfloat16 a pass without gradients must not leave its weights to the passes that follow."""
    world = World("E[q] vat(c(y|x), x, 2, 10)", SPEC.replace("- E[p] H(c(y|x))", ""))
    exact = world.take().gradients["classifier"]
    world.model.float()
    world.noise = {name: value.float() if value.is_floating_point() else value for name, value in world.noise.items()}
    world.x = world.x.float()
    with torch.autocast("cpu", torch.bfloat16):
        rough = world.take().gradients["classifier"]
    for name, own, other in zip(["weight", "gain", "shift", "weight", "bias"], exact, rough, strict=True):
        assert F.cosine_similarity(own.flatten().float(), other.flatten(), dim=0) > 0.9, name
