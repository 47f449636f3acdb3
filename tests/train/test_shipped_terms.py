"""Every shipped spec with terms against its paper: the terms, and every network's gradient in every turn, in float64.

The formulas below are the papers', written in plain torch; of a plan only the layer tables are read (`Rows`), and of
the model its weights. Hidden layers are narrow, batches have five examples and all noise is handed to both.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from tiny import plan_of
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence
from torch.nn import functional as F

from ammgraph.compiler.compile import compile_spec
from ammgraph.formulas.expression import Vat, parts
from ammgraph.nn.model import build, draw_noise
from ammgraph.plan.draws import FromData
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import TurnPlan
from ammgraph.spec.load import load_spec
from ammgraph.spec.notation import Zeros
from ammgraph.train.step import Outcome, take_turn

SPECS = Path(__file__).parents[2] / "specs"
CLASSES = 10
AS_WIDE_AS_PRINTED = {  # layers of which a term takes the mean over channels, by a weight of 1 over their number
    "improved_gan_mnist": ["networks.classifier.layers.h5.channels=250"],
    "improved_gan_svhn": ["networks.classifier.layers.h9.channels=128"],
    "bad_gan_mnist": ["networks.classifier.layers.h5.channels=250"],
    "bad_gan_svhn": ["networks.classifier.layers.h9.channels=128"],
    # What is added to a layer that is narrow here.
    "samm_mnist_pairs": ["networks.encoder.layers.h_y.channels=4"],
    "samm_svhn_pairs": ["networks.encoder.layers.h_y.channels=4"],
}
LATE = {  # the epoch, after a phase of the classifier alone, in which every term and game counts
    "triple_gan_mnist": 15,
    "triple_gan_svhn": 250,
    "sgan_mnist": 18,
    "sgan_svhn": 450,
    "samm_svhn_pairs": 30,
}


class Rows:
    """The rows of one evaluation of a network by name, each computed when it is asked for.

    Order in a row: noise, dropout, operation, batch norm, activation, pool. `inputs` are what it reads from outside,
    and samples that stand in the place of rows of the same name.
    """

    def __init__(self, world: "World", network: str, evaluation: str, **inputs: Tensor) -> None:
        self.plan, self.weights = world.plan.network(network), world.model.network(network)
        self.noise, self.prefix, self.inputs = world.noise, evaluation, inputs
        self.values: dict[str, Tensor] = {}
        self.before: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.values:
            self.values[name] = self._compute(name)
        return self.values[name]

    def raw(self, name: str) -> Tensor:
        """A row before its activation, (B, everything): logits, a log-variance."""
        return self._before_activation(name).flatten(1)

    def _read(self, name: str) -> Tensor:
        return self.inputs[name] if name in self.inputs else self[name]

    def _before_activation(self, name: str) -> Tensor:
        if name in self.before:
            return self.before[name]
        row, own = self.plan.row(name), self.weights.row(name)
        weight = torch.empty(0) if own.weight is None else own.weight
        if row.weight_norm:  # Salimans & Kingma 2016, eq. 2, for each output channel
            across = (0, 2, 3)[: weight.dim() - 1] if row.op == "conv_transpose" else tuple(range(1, weight.dim()))
            weight = own.length * weight / weight.square().sum(across, keepdim=True).sqrt()
        batch = len(next(iter(self.inputs.values())))
        sums = []
        for part in row.input.parts:
            read = [
                torch.zeros(batch, atom.channels, 1, 1).double() if isinstance(atom, Zeros) else self._read(atom.name)
                for atom in part
            ]
            sums.append(torch.stack(read).sum(0))
        over = torch.broadcast_shapes(*(part.shape[2:] for part in sums))  # a vector stands at every place
        x = torch.cat([part.expand(-1, -1, *over) for part in sums], 1)
        if row.noise:
            x = x + row.noise * self.noise[f"{self.prefix}/{name}.noise"]
        if row.dropout:
            x = torch.where(self.noise[f"{self.prefix}/{name}.mask"], x / (1 - row.dropout), 0)
        if row.op == "conv":
            x = F.conv2d(x, weight, own.bias, row.stride, row.padding)
        elif row.op == "conv_transpose":
            x = F.conv_transpose2d(x, weight, own.bias, row.stride, row.padding)
        elif row.op == "linear":
            x = F.linear(x.flatten(1), weight, own.bias).view(-1, *row.inner_shape)
        elif row.op == "lse":
            x = x.exp().unflatten(1, (row.out_shape[0], -1)).sum(2).log()
        if row.batchnorm:
            mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
            assert own.gain is not None
            assert own.shift is not None
            x = (x - mean) / (variance + 1e-5).sqrt() * own.gain[:, None, None] + own.shift[:, None, None]
        self.before[name] = x
        return x

    def _compute(self, name: str) -> Tensor:
        row, x = self.plan.row(name), self._before_activation(name)
        if row.activation is not None:
            x = self._activate(row.activation.name, row.activation.parameter, x, name)
        if row.pool is not None:
            x = {"avg": F.avg_pool2d, "max": F.max_pool2d}[row.pool.kind](x, row.pool.size)
        return x

    def _activate(self, kind: str, number: float | None, x: Tensor, name: str) -> Tensor:
        match kind:
            case "relu":
                return x.clamp(min=0)
            case "leaky_relu":
                assert number is not None
                return torch.where(x > 0, x, number * x)
            case "sigmoid":
                return 1 / (1 + (-x).exp())
            case "softmax":
                return x.exp() / x.exp().sum(1, keepdim=True)
            case "straight_through":
                p = x.exp() / x.exp().sum(1, keepdim=True)
                return one_hot(p.flatten(1).argmax(1), p.shape[1]) + p - p.detach()
            case "gumbel_straight_through":
                assert number is not None
                p = ((x + self.noise[f"{self.prefix}/{name}.gumbel"]) / number).softmax(1)
                return one_hot(p.flatten(1).argmax(1), p.shape[1]) + p - p.detach()
            case "random_affine":  # x at x + number (A x + b), bilinear, the border beyond it
                assert number is not None
                places = torch.eye(2, 3) + number * self.noise[f"{self.prefix}/{name}.affine"]
                grid = F.affine_grid(places, list(x.shape), align_corners=False)
                return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
            case "softplus":
                return (1 + x.exp()).log()
            case "tanh":
                return x.tanh()
            case "expn":  # log-variance in, noise out
                return (x / 2).exp() * self.noise[f"{self.prefix}/{name}.eps"]
        raise AssertionError(kind)


class World:
    """A shipped spec with narrow layers, random weights, and one set of data and noise for a turn."""

    def __init__(self, spec: str, turn: int, *overrides: str, seed: int = 0) -> None:
        self.spec, self.index = spec, turn
        self.plan = narrow(spec, *overrides)
        self.turn: TurnPlan = self.plan.turns[turn]
        self.epoch = epoch_of(spec, turn)
        generator = torch.Generator().manual_seed(seed)
        self.model = build(self.plan, generator, torch.full((10,), 0.1, dtype=torch.float64)).double()
        for network in self.plan.networks:
            for row in network.rows:
                own = self.model.network(network.name).row(row.name)
                scales = {"weight": 1.3 * row.fan_in**-0.5 if row.linear else 0}
                for name, parameter in own.named_parameters():
                    drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.data = scales.get(name, 0.3) * drawn + (name in ("gain", "length"))
        cpu = torch.device("cpu")
        self.noise = {site.name: draw_noise(site, generator, cpu, torch.float64) for site in self.turn.sites}
        self.data: dict[str, dict[str, Tensor]] = {}
        for draw in self.plan.draws:
            for factor in draw.factors:
                if isinstance(factor.origin, FromData):
                    self.data[draw.name] = {
                        name: self._field(name, field, draw.batch_size, generator)
                        for name, field in factor.origin.fields
                    }

    def _field(self, name: str, field: str, batch: int, generator: torch.Generator) -> Tensor:
        variable = self.plan.variable(name)
        if field == "label":
            return one_hot(torch.randint(variable.shape[0], (batch,), generator=generator), variable.shape[0])
        low, high = variable.range or (0.0, 1.0)
        return low + (high - low) * torch.rand(batch, *variable.shape, generator=generator, dtype=torch.float64)

    def take(self) -> Outcome:
        return take_turn(self.model, self.plan, self.turn, self.data, self.noise, self.epoch)

    def rows(self, network: str, evaluation: str, **inputs: Tensor) -> Rows:
        return Rows(self, network, evaluation, **inputs)

    def x(self, draw: str) -> Tensor:
        return self.data[draw]["x"]

    def labels(self, draw: str) -> Tensor:
        return self.data[draw]["y"].flatten(1).argmax(1)

    def category(self, variable: str = "y") -> Tensor:
        """p's category, all K alike: floor(K u)."""
        size = self.plan.variable(variable).shape[0]
        return one_hot((size * self.noise[f"p/{variable}"].flatten()).long(), size)

    def parameters(self, network: str) -> list[Tensor]:
        return list(self.model.network(network).parameters())


@cache
def narrow(spec: str, *overrides: str) -> Plan:
    """A shipped spec with batches of five and four to six channels in every hidden layer, one with an activation."""
    whole = plan_of(SPECS / f"{spec}.yaml")
    variables = {variable.name for variable in whole.variables}
    shrunk = ["training.batch_size=5"]
    for network in whole.networks:
        hidden = [row for row in network.rows if row.linear and row.name not in variables]
        shrunk += [
            f"networks.{network.name}.layers.{row.name}.channels={4 + place % 3}"
            for place, row in enumerate(hidden)
            if row.activation is not None and row.activation.name not in ("expn", "cholesky")
        ]
    return compile_spec(load_spec(SPECS / f"{spec}.yaml", [*shrunk, *AS_WIDE_AS_PRINTED.get(spec, []), *overrides]))


def epoch_of(spec: str, turn: int) -> float:
    """An epoch in which a turn is taken: 0 in the first of several phases, a late one in the last."""
    plan = narrow(spec)
    last = plan.turns_of(plan.phases[-1]) if plan.phases else plan.turns
    return float(LATE.get(spec, 0)) if plan.turns[turn] in last else 0.0


def one_hot(labels: Tensor, size: int) -> Tensor:
    return F.one_hot(labels, size).double()[:, :, None, None]


# ------------------------------------------------------------------------------------------------- the papers' formulas

Losses = dict[str, Tensor]  # network -> what it minimises
Values = dict[str, Tensor]  # term -> its value
Paper = Callable[[World], tuple[Losses, Values]]
PAPERS: dict[str, Paper] = {}


def paper(*specs: str) -> Callable[[Paper], Paper]:
    def keep(formula: Paper) -> Paper:
        PAPERS.update(dict.fromkeys(specs, formula))
        return formula

    return keep


def called_real(logits: Tensor) -> Tensor:
    """-E log D, D the sigmoid of the logit."""
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def called_fake(logits: Tensor) -> Tensor:
    """-E log(1 - D)."""
    return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))


def entropy(logits: Tensor) -> Tensor:
    """-sum_k p_k log p_k of each example's softmax, in nats."""
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return -(p * p.log()).sum(1)


def entropy_of_mean(logits: Tensor) -> Tensor:
    """The entropy of the mean of the examples' softmaxes."""
    p = (logits.exp() / logits.exp().sum(1, keepdim=True)).mean(0)
    return -(p * p.log()).sum()


def halves(both: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of the REAL and of the FAKE samples, which passed a discriminator as one batch."""
    real, fake = both.flatten().chunk(2)
    return real, fake


@paper("vae_mnist")
def vae(world: World) -> tuple[Losses, Values]:
    """Kingma & Welling, eq. 10: -1/2 sum_j (1 + log s_j^2 - mu_j^2 - s_j^2) - log p(x|z), pixels Bernoulli."""
    x = world.x("q")
    encoder = world.rows("encoder", "q/encoder", x=x)
    mu, log_variance = encoder["z_mu"].flatten(1), encoder.raw("z_sigma")
    z = mu + (log_variance / 2).exp() * world.noise["q/encoder/z_sigma.eps"].flatten(1)
    pixels = world.rows("decoder", "q/decoder", z=z[:, :, None, None])["x"]
    reconstruction = -(x * pixels.log() + (1 - x) * (1 - pixels).log()).sum((1, 2, 3)).mean()
    prior = -(1 + log_variance - mu**2 - log_variance.exp()).sum(1).mean() / 2
    loss = reconstruction + prior
    return {"encoder": loss, "decoder": loss}, {"reconstruction": reconstruction, "prior": prior}


@paper("infogan_mnist")
def infogan(world: World) -> tuple[Losses, Values]:
    """Chen et al., eq. 6: min_{G,Q} max_D V(D, G) - L_I(G, Q), V with -log D(G) for G as in the code, lambda 1.

    L_I = E log Q(c|x) + constant, eq. 5: cross entropy of the category, normal density of scale 1 for the others.
    D's turn trains Q, which shares its layers.
    """
    z, s = (2 * world.noise[f"p/{name}"] - 1 for name in "zs")
    c = world.category("c")
    fake = world.rows("generator", "p/generator", z=z, c=c, s=s)["x"]
    on_fake = world.rows("critic", "p/critic", x=fake)
    information_c = F.cross_entropy(on_fake.raw("c"), c.flatten(1).argmax(1))
    squared = (s - on_fake["s_mu"]).flatten(1) ** 2
    information_s = (math.log(2 * math.pi) / 2 + squared / 2).sum(1).mean()
    information = {"information_c": information_c, "information_s": information_s}
    if world.index == 0:
        real = world.rows("critic", "", x=world.x("q"))["d"]
        adversarial = called_real(real) + called_fake(on_fake["d"])
        return {"critic": adversarial + information_c + information_s}, information
    return {"generator": called_real(on_fake["d"]) + information_c + information_s}, information


@paper("amm_mnist_info")
def amm_info(world: World) -> tuple[Losses, Values]:
    """Algorithm 1 of the AMM paper on (x, y, z), the same on x alone, and -E_p log q(y|x) (InfoGAN, eq. 5).

    D: -E_q log D - E_p log(1 - D); all others the same with the labels swapped.
    """
    x = world.x("q")
    y = world.rows("classifier", "q/classifier", x=x)["y"]
    z = world.rows("encoder", "q/encoder", x=x, y=y)["z"]
    y_p = world.category()
    z_p = world.rows("components", "p/components", y=y_p)["z"]
    x_p = world.rows("decoder", "p/decoder", y=y_p, z=z_p)["x"]
    both = {"x": torch.cat([x, x_p]), "y": torch.cat([y, y_p]), "z": torch.cat([z, z_p])}
    real, fake = halves(world.rows("critic", "joint/critic", **both)["p"])
    image_fake = world.rows("image_critic", "", x=x_p)["p"]
    if world.index == 0:
        image_real = world.rows("image_critic", "", x=x)["p"]
        critic = called_real(real) + called_fake(fake)
        return {"critic": critic, "image_critic": called_real(image_real) + called_fake(image_fake)}, {}
    information = F.cross_entropy(world.rows("classifier", "p/classifier", x=x_p).raw("y"), y_p.flatten(1).argmax(1))
    joint = called_fake(real) + called_real(fake)
    synthesis = joint + called_real(image_fake) + information
    losses = {"classifier": joint + information, "encoder": joint, "components": synthesis, "decoder": synthesis}
    return losses, {"information": information}


def roth(critic: Callable[..., Tensor], **inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The logits of REAL and of FAKE, and E_REAL (1 - D)^2 |grad d|^2 + E_FAKE D^2 |grad d|^2 (Roth et al., eq. 21)."""
    leaves = {name: value.detach().requires_grad_() for name, value in inputs.items()}
    logits = critic(**leaves)
    slopes = torch.autograd.grad(logits.sum(), list(leaves.values()), create_graph=True)
    real, fake = halves(logits)
    at_real, at_fake = halves(torch.stack([slope.flatten(1).square().sum(1) for slope in slopes]).sum(0))
    return real, fake, ((1 - real.sigmoid()) ** 2 * at_real).mean() + (fake.sigmoid() ** 2 * at_fake).mean()


@paper("amm_digits")
def amm_digits(world: World) -> tuple[Losses, Values]:
    """Algorithm 1 on (x, z) and (y, z), Roth's gamma 6; and 3 (KL + H - 3 H of the mean) of q(y|z) where x is moved."""
    x = world.x("q")
    z = world.rows("encoder", "q/encoder", x=x)["z"]
    on_data = world.rows("classifier", "q/classifier", z=z)
    z_p = world.rows("components", "p/components", y=world.category())["z"]
    x_p = world.rows("decoder", "p/decoder", z=z_p)["x"]
    xz = {"x": torch.cat([x, x_p]), "z": torch.cat([z, z_p])}
    yz = {"y": torch.cat([on_data["y"], world.category()]), "z": torch.cat([z, z_p])}
    critics = {"critic_xz": xz, "critic_yz": yz}
    losses, against = {}, {}
    for name, inputs in critics.items():
        real, fake, penalty = roth(lambda name=name, **leaves: world.rows(name, "", **leaves)["logit"], **inputs)
        losses[name] = called_real(real) + called_fake(fake) + 3 * penalty
        real, fake = halves(world.rows(name, "", **inputs)["logit"])
        against[name] = called_fake(real) + called_real(fake)
    moved = world.rows("mover", "r/mover", x=x)["x_again"]
    z_again = world.rows("encoder", "r/encoder(x=x_again)", x=moved)["z"]
    logits = world.rows("classifier", "r/classifier", z=z).raw("y")
    other = world.rows("classifier", "r/classifier(z=z_again)", z=z_again).raw("y")
    divergence = (logits.softmax(1) * (logits.log_softmax(1) - other.log_softmax(1))).sum(1).mean()
    again = divergence + entropy(logits).mean() - 3 * entropy_of_mean(logits)
    both = against["critic_xz"] + against["critic_yz"]
    losses |= {"encoder": both + 3 * again, "classifier": against["critic_yz"] + 3 * again}
    return losses | {"components": both, "decoder": against["critic_xz"]}, {"again": again}


@paper("amm_mnist_smooth")
def amm_smooth(world: World, *logits: Tensor) -> tuple[Losses, Values]:
    """Algorithm 1 on (x, y, z), on x alone and on labels inferred again, and IMSAT's terms, eqs. 3, 4, 8, of q(y|x).

    `logits` are those of the first game, where its critic takes more. REAL of the third game is a label twice, FAKE the
    label and what q(y|x) makes of its image; Roth's penalty, gamma 1.
    """
    x = world.x("q")
    on_data = world.rows("classifier", "q/classifier", x=x)
    z = world.rows("encoder", "q/encoder", x=x, y=on_data["y"])["z"]
    y_p = world.category()
    z_p = world.rows("components", "p/components", y=y_p)["z"]
    x_p = world.rows("decoder", "p/decoder", y=y_p, z=z_p)["x"]
    y_r = world.rows("classifier", "", x=x_p)["y"]
    both = {"x": torch.cat([x, x_p]), "y": torch.cat([on_data["y"], y_p]), "z": torch.cat([z, z_p])}
    real, fake = logits or halves(world.rows("critic", "joint/critic", **both)["p"])
    image_fake = world.rows("image_critic", "", x=x_p)["p"]
    if world.index == 0:
        pairs = {
            "y": torch.cat([y_p, y_p]).requires_grad_(),
            "y_again": torch.cat([y_p, y_r]).detach().requires_grad_(),
        }
        logits = world.rows("pair_critic", "", **pairs)["p"].flatten()
        slopes = torch.autograd.grad(logits.sum(), list(pairs.values()), create_graph=True)
        norms = torch.stack([slope.flatten(1).square().sum(1) for slope in slopes]).sum(0)
        same, inferred = halves(logits)
        at_same, at_inferred = halves(norms)
        roth = ((1 - same.sigmoid()) ** 2 * at_same).mean() + (inferred.sigmoid() ** 2 * at_inferred).mean()
        image_real = world.rows("image_critic", "", x=x)["p"]
        return {
            "critic": called_real(real) + called_fake(fake),
            "image_critic": called_real(image_real) + called_fake(image_fake),
            "pair_critic": called_real(same) + called_fake(inferred) + roth / 2,
        }, {}
    u = world.noise["q/classifier/vat/x"]
    smooth = smoothness(lambda image: world.rows("classifier", "q/classifier", x=image).raw("y"), x, u, 1.2, 5)
    information = entropy(on_data.raw("y")).mean() - 4 * entropy_of_mean(on_data.raw("y"))
    joint = called_fake(real) + called_real(fake)
    again = called_real(world.rows("pair_critic", "", y=y_p, y_again=y_r)["p"])
    synthesis = joint + called_real(image_fake) + again
    losses = {"classifier": joint + again + 2 * smooth + 0.2 * information, "encoder": joint}
    return losses | {"components": synthesis, "decoder": synthesis}, {"smooth": smooth, "information": information}


@paper("samm_mnist_smooth")
def samm_smooth(world: World) -> tuple[Losses, Values]:
    """`amm_mnist_smooth`, a fifth of Algorithm 2's labelled game, eq. 4, and the labels' cross-entropy.

    The critic of (x, y, z) takes the samples of both games as one batch, whose dropout masks are drawn together.
    """
    x, x_l, y_l = world.x("q"), world.x("q_labeled"), one_hot(world.labels("q_labeled"), 10)
    y = world.rows("classifier", "q/classifier", x=x)["y"]
    z = world.rows("encoder", "q/encoder", x=x, y=y)["z"]
    z_l = world.rows("encoder", "q_labeled/encoder", x=x_l, y=y_l)["z"]
    x_p, y_p, z_p = synthesised(world, "p")
    x_pl, y_pl, z_pl = synthesised(world, "p_labeled")
    every = {
        "x": torch.cat([x, x_p, x_l, x_pl]),
        "y": torch.cat([y, y_p, y_l, y_pl]),
        "z": torch.cat([z, z_p, z_l, z_pl]),
    }
    real, fake, real_l, fake_l = world.rows("critic", "joint+labeled/critic", **every)["p"].flatten().chunk(4)
    losses, values = amm_smooth(world, real, fake)
    if world.index == 0:
        losses["critic"] = losses["critic"] + (called_real(real_l) + called_fake(fake_l)) / 5
        return losses, values
    labelled = (called_fake(real_l) + called_real(fake_l)) / 5
    labels = F.cross_entropy(
        world.rows("classifier", "q_labeled/classifier", x=x_l).raw("y"), world.labels("q_labeled")
    )
    more = {"classifier": labels, "encoder": labelled, "components": labelled, "decoder": labelled}
    return {name: loss + more[name] for name, loss in losses.items()}, values | {"labels": labels}


@paper("samm_mnist_pairs", "samm_svhn_pairs")
def samm_pairs(world: World) -> tuple[Losses, Values]:
    """Algorithms 1 and 2 on (x, y, z), the second a fifth, a game of pairs of y, and the labels' cross-entropy.

    All networks at one point. Roth's penalties, gamma 2 of the critic, in one step of four, and 1 of the pairs'.
    """
    x, x_l, y_l = world.x("q"), world.x("q_labeled"), one_hot(world.labels("q_labeled"), 10)
    y = world.rows("classifier", "q/classifier", x=x)["y"]
    z = world.rows("encoder", "q/encoder", x=x, y=y)["z"]
    z_l = world.rows("encoder", "q_labeled/encoder", x=x_l, y=y_l)["z"]
    again = world.rows("classifier", "r/classifier(x=x_again)", x=x)["y"]
    x_p, y_p, z_p = synthesised(world, "p")
    x_pl, y_pl, z_pl = synthesised(world, "p_labeled")
    joint = sides(world, "critic", {"x": x, "y": y, "z": z}, {"x": x_p, "y": y_p, "z": z_p})
    labelled = sides(world, "critic", {"x": x_l, "y": y_l, "z": z_l}, {"x": x_pl, "y": y_pl, "z": z_pl})
    pair = sides(world, "pair_critic", {"y": y_p, "y_again": y_p}, {"y": y, "y_again": again})
    labels = F.cross_entropy(
        world.rows("classifier", "q_labeled/classifier", x=x_l).raw("y"), world.labels("q_labeled")
    )
    synthesis = joint.others + labelled.others / 5
    losses = {
        "classifier": joint.others + 5 * pair.others + labels,
        "encoder": synthesis,
        "components": synthesis,
        "decoder": synthesis,
        "critic": joint.critic + 4 * joint.roth + (labelled.critic + 4 * labelled.roth) / 5,
        "pair_critic": 5 * (pair.critic + pair.roth / 2),
    }
    return losses, {"labels": labels}


def synthesised(world: World, draw: str) -> tuple[Tensor, Tensor, Tensor]:
    """An image with its y and z, eq. 11."""
    y = one_hot((10 * world.noise[f"{draw}/y"].flatten()).long(), 10)
    z = world.rows("components", f"{draw}/components", y=y)["z"]
    return world.rows("decoder", f"{draw}/decoder", y=y, z=z)["x"], y, z


@dataclass(frozen=True)
class Sides:
    """What a critic minimises of a game, its penalty with gamma 2, and what the others minimise."""

    critic: Tensor
    roth: Tensor
    others: Tensor


def sides(world: World, critic: str, real: Mapping[str, Tensor], fake: Mapping[str, Tensor]) -> Sides:
    """E_real (1 - s(d))^2 |grad d|^2 + E_fake s(d)^2 |grad d|^2 beside the losses of a critic and of both sides."""
    held = {name: torch.cat([real[name], fake[name]]).detach().requires_grad_() for name in real}
    logits = world.rows(critic, "", **held)["p"].flatten()
    slopes = torch.autograd.grad(logits.sum(), list(held.values()), create_graph=True)
    norms = torch.stack([slope.flatten(1).square().sum(1) for slope in slopes]).sum(0)
    (on_real, on_fake), (at_real, at_fake) = halves(logits), halves(norms)
    roth = ((1 - on_real.sigmoid()) ** 2 * at_real).mean() + (on_fake.sigmoid() ** 2 * at_fake).mean()
    d_real, d_fake = halves(world.rows(critic, "", **{name: torch.cat([real[name], fake[name]]) for name in real})["p"])
    return Sides(called_real(on_real) + called_fake(on_fake), roth, called_fake(d_real) + called_real(d_fake))


@paper("aae_mnist", "aae_ssl_mnist", "aae_ssl_svhn")
def aae(world: World) -> tuple[Losses, Values]:
    """Makhzani et al., sections 2, 4 and 5, phase by phase: squared error; a GAN on y and one on z, whose
    REAL side is the prior and whose generator, the encoder, minimises -log D; cross entropy of the labels.
    """
    if world.index == 3:
        labels = F.cross_entropy(world.rows("encoder", "l/encoder", x=world.x("l")).raw("y"), world.labels("l"))
        return {"encoder": labels}, {"labels": labels}
    x = world.x("q")
    encoder = world.rows("encoder", "q/encoder", x=x)
    y, z = encoder["y"], encoder["z"]
    if world.index == 0:
        squares = (world.rows("decoder", "q/decoder", y=y, z=z)["x"] - x).square().sum() / len(x)
        weighed = squares / {784: 40, 3072: 160}[x[0].numel()]
        return {"encoder": weighed, "decoder": weighed}, {"reconstruction": squares}
    both_y, both_z = torch.cat([world.category(), y]), torch.cat([world.noise["p/z"], z])
    prior_y, on_y = halves(world.rows("critic_y", "y/critic_y", y=both_y)["d"])
    prior_z, on_z = halves(world.rows("critic_z", "z/critic_z", z=both_z)["d"])
    if world.index == 2:
        return {"encoder": called_real(on_y) + called_real(on_z)}, {}
    return {
        "critic_y": called_real(prior_y) + called_fake(on_y),
        "critic_z": called_real(prior_z) + called_fake(on_z),
    }, {}


@paper("catgan_mnist")
def catgan(world: World) -> tuple[Losses, Values]:
    """Springenberg, eqs. 7 and 8: max_D H[E_x p(y|x)] - E_x H[p(y|x)] + E_z H[p(y|G(z))], and
    min_G -H[E_z p(y|G(z))] + E_z H[p(y|G(z))].
    """
    fake = world.rows("generator", "p/generator", z=world.noise["p/z"])["x"]
    on_fake = world.rows("classifier", "p/classifier", x=fake).raw("y")
    if world.index == 1:
        sure, even = entropy(on_fake).mean(), -entropy_of_mean(on_fake)
        return {"generator": even + sure}, {"fakes_sure": sure, "fakes_even": even}
    on_real = world.rows("classifier", "q/classifier", x=world.x("q")).raw("y")
    maximised = entropy_of_mean(on_real) - entropy(on_real).mean() + entropy(on_fake).mean()
    values = {
        "data_sure": entropy(on_real).mean(),
        "data_even": -entropy_of_mean(on_real),
        "fakes_unsure": -entropy(on_fake).mean(),
    }
    return {"classifier": -maximised}, values


@paper("improved_gan_mnist", "improved_gan_svhn")
def improved_gan(world: World) -> tuple[Losses, Values]:
    """Salimans et al., section 5: D(x) = Z / (Z + 1), Z = sum_k exp l_k(x); -1/2 E log D - 1/2 E log(1 - D), and the
    labels' cross entropy over the K classes. Section 3.1: G matches the mean of a hidden layer, on MNIST by the mean
    squared, on SVHN by the mean absolute difference (the authors' code).
    """
    fake = world.rows("generator", "p/generator", z=world.noise["p/z"])["x"]
    if world.index == 0:
        labels = F.cross_entropy(
            world.rows("classifier", "l/classifier", x=world.x("l"))["logits"].flatten(1), world.labels("l")
        )
        both = world.rows("classifier", "g/classifier", x=torch.cat([world.x("q"), fake]))["logits"]
        total = both.flatten(1).exp().sum(1)
        real, unreal = halves(total / (total + 1))
        return {"classifier": labels - real.log().mean() / 2 - (1 - unreal).log().mean() / 2}, {"labels": labels}
    name = "h5" if world.spec == "improved_gan_mnist" else "h9"
    on_real = world.rows("classifier", "u/classifier", x=world.x("u"))[name].flatten(1)
    on_fake = world.rows("classifier", "p/classifier", x=fake)[name].flatten(1)
    difference = on_real.mean(0) - on_fake.mean(0)
    distance = difference**2 if name == "h5" else difference.abs()
    return {"generator": distance.mean()}, {"features": distance.sum()}


@paper("bad_gan_mnist", "bad_gan_svhn")
def bad_gan(world: World) -> tuple[Losses, Values]:
    """Dai et al., section 5 and the authors' code: D as in ImprovedGAN and 0.1 the entropy of unlabelled images; G the
    mean absolute difference of the features' means, and 0.8 the mean squared cosine of the features of two samples.
    """
    if world.index == 0:
        losses, values = improved_gan(world)
        sure = entropy(world.rows("classifier", "q/classifier", x=world.x("q"))["logits"].flatten(1)).mean()
        return {"classifier": losses["classifier"] + 0.1 * sure}, values | {"sure": sure}
    name = "h5" if world.spec == "bad_gan_mnist" else "h9"
    fake = world.rows("generator", "p/generator", z=world.noise["p/z"])["x"]
    on_real = world.rows("classifier", "u/classifier", x=world.x("u"))[name].flatten(1)
    on_fake = world.rows("classifier", "p/classifier", x=fake)[name].flatten(1)
    difference = (on_real.mean(0) - on_fake.mean(0)).abs()
    cosines = F.cosine_similarity(on_fake[:, None], on_fake[None], dim=2)
    others = ~torch.eye(len(on_fake), dtype=torch.bool)
    spread = (cosines[others] ** 2).mean()
    return {"generator": difference.mean() + 0.8 * spread}, {"features": difference.sum(), "spread": spread}


@paper("ali_ssl_mnist", "ali_ssl_svhn")
def ali_ssl(world: World) -> tuple[Losses, Values]:
    """Dumoulin et al.: a discriminator of (x, z) with K + 1 classes, the last one `fake`, whose logit is 0.

    D: -E_q log P(not fake) - E_p log P(fake) and, for labelled x, -log P(y | not fake); encoder and decoder: the first
    two with the classes swapped.
    """
    x = world.x("q")
    z = world.rows("encoder", "q/encoder", x=x)["z"]
    z_p = world.noise["p/z"]
    x_p = world.rows("decoder", "p/decoder", z=z_p)["x"]
    both = world.rows("critic", "joint/critic", x=torch.cat([x, x_p]), z=torch.cat([z, z_p]))["logits"].flatten(1)
    classes = torch.cat([both, torch.zeros(len(both), 1)], 1).softmax(1)
    genuine_q, genuine_p = halves(classes[:, :CLASSES].sum(1))
    fake_q, fake_p = halves(classes[:, CLASSES])
    z_l = world.rows("encoder", "l/encoder", x=world.x("l"))["z"]
    on_l = world.rows("critic", "l/critic", x=world.x("l"), z=z_l)["logits"].flatten(1)
    among = torch.cat([on_l, torch.zeros(len(on_l), 1)], 1).softmax(1)[:, :CLASSES]
    of_label = (among / among.sum(1, keepdim=True)).gather(1, world.labels("l")[:, None])
    labels = -of_label.log().mean()
    swapped = -fake_q.log().mean() - genuine_p.log().mean()
    critic = -genuine_q.log().mean() - fake_p.log().mean() + labels
    return {"critic": critic, "encoder": swapped, "decoder": swapped}, {"labels": labels}


@paper("bigan_regressor_mnist")
def bigan_regressor(world: World) -> tuple[Losses, Values]:
    """Donahue et al., the joint latent regressor: a GAN on x, E learns z from G(z) by the squared error per dimension,
    and G minimises a quarter of that beside the GAN's loss.

    Both parts of the GAN weigh 1/2, and data and samples pass the discriminator apart, so that REAL does not reach G.
    """
    z = 2 * world.noise["p/z"] - 1
    fake = world.rows("decoder", "p/decoder", z=z)["x"]
    real = world.rows("critic", "image.real/critic", x=world.x("q"))["d"]
    unreal = world.rows("critic", "image.fake/critic", x=fake)["d"]
    per_dimension = F.mse_loss(world.rows("encoder", "p/encoder", x=fake)["z"], z)
    losses = {
        "critic": (called_real(real) + called_fake(unreal)) / 2,
        "encoder": per_dimension,
        "decoder": called_real(unreal) / 2 + per_dimension / 4,
    }
    return losses, dict.fromkeys(("regress_encoder", "regress_decoder"), per_dimension * z[0].numel())


def smoothness(f: Callable[[Tensor], Tensor], x: Tensor, u: Tensor, radius: float, xi: float) -> Tensor:
    """KL[p(y|x) || p(y|x + r)] in the mean, by Algorithm 1 of Miyato et al. with one iteration; f gives logits."""

    def unit(d: Tensor) -> Tensor:
        return d / d.flatten(1).norm(dim=1)[:, None, None, None]

    def divergence(moved: Tensor) -> Tensor:
        p = f(x).softmax(1).detach()
        return (p * (p.log() - f(moved).log_softmax(1))).sum(1).mean()

    d = (xi * unit(u)).requires_grad_()
    (g,) = torch.autograd.grad(divergence(x + d), d)
    return divergence(x + radius * unit(g))


@paper("imsat_mnist", "imsat_svhn")
def imsat(world: World) -> tuple[Losses, Values]:
    """Hu et al., eqs. 3, 4 and 8: R_vat - lambda [mu H(Y) - H(Y|X)], mu 4, lambda 0.1, at one radius."""
    x, u = world.x("q"), world.noise["q/classifier/vat/x"]
    smooth = smoothness(lambda image: world.rows("classifier", "q/classifier", x=image).raw("y"), x, u, 2.4, 10)
    logits = world.rows("classifier", "q/classifier", x=x).raw("y")
    information = entropy(logits).mean() - 4 * entropy_of_mean(logits)
    return {"classifier": smooth + 0.1 * information}, {"smooth": smooth, "information": information}


@paper("vat_mnist", "vat_small_svhn", "vat_large_svhn")
def vat(world: World) -> tuple[Losses, Values]:
    """Miyato et al., eq. 8 with alpha 1: cross entropy of the labels, and the smoothness at unlabelled images; with
    their entropy, eq. 14, in the large networks.
    """
    labels = F.cross_entropy(world.rows("classifier", "l/classifier", x=world.x("l")).raw("y"), world.labels("l"))
    u = world.noise["q/classifier/vat/x"]
    x, radius = world.x("q"), 4 if world.spec == "vat_mnist" else 2.5
    smooth = smoothness(lambda image: world.rows("classifier", "q/classifier", x=image).raw("y"), x, u, radius, 1)
    values = {"labels": labels, "smooth": smooth}
    if world.spec == "vat_large_svhn":
        values["sure"] = entropy(world.rows("classifier", "q/classifier", x=x).raw("y")).mean()
    return {"classifier": torch.stack([*values.values()]).sum()}, values


def mixture(z: Tensor, mu: Tensor, log_variance: Tensor, over: tuple[Tensor, Tensor, Tensor]) -> Losses:
    """The losses of a code z ~ N(mu, s^2) under sum_y pi_y N(mu_y, s_y^2), by VaDE's eqs. 12 and 16.

    gamma_y = pi_y N(z; mu_y, s_y^2) / sum; code 1/2 sum_y gamma_y sum_j [log s_yj^2 + s_j^2 / s_yj^2 + (mu_j - mu_yj)^2
    / s_yj^2] - 1/2 sum_j (1 + log s_j^2); category sum_y gamma_y log gamma_y / pi_y. `over` are pi, (K,), and mu_y and
    log s_y^2 for every y, (B or 1, K, n).
    """
    pi, mu_y, log_variance_y = over
    variance_y = log_variance_y.exp()
    density = -((z[:, None] - mu_y) ** 2 / variance_y + log_variance_y + math.log(2 * math.pi)).sum(2) / 2
    joint = pi * density.exp()
    gamma = joint / joint.sum(1, keepdim=True)
    apart = log_variance_y + (log_variance.exp()[:, None] + (mu[:, None] - mu_y) ** 2) / variance_y
    code = (gamma * apart.sum(2)).sum(1) / 2 - (1 + log_variance).sum(1) / 2
    return {"code": code.mean(), "category": (gamma * (gamma / pi).log()).sum(1).mean()}


def likelihood(world: World, z: Tensor) -> Tensor:
    """-E log p(x|z), pixels Bernoulli, by their logits."""
    x, logits = world.x("q").flatten(1), world.rows("decoder", "q/decoder", z=z[:, :, None, None]).raw("x")
    return (x * F.softplus(-logits) + (1 - x) * F.softplus(logits)).sum(1).mean()


@paper("vade_mnist")
def vade(world: World) -> tuple[Losses, Values]:
    """Jiang et al., eq. 12, with q(c|x) = p(c|z) at the sampled code, eq. 16; before it the likelihood alone."""
    encoder = world.rows("encoder", "q/encoder", x=world.x("q"))
    mu, log_variance, z = encoder["z_mu"].flatten(1), encoder.raw("z_sigma"), encoder["z"].flatten(1)
    values = {"reconstruction": likelihood(world, z)}
    if world.index == 0:
        return dict.fromkeys(("encoder", "decoder"), values["reconstruction"]), values
    components = world.rows("components", "", y=one_hot(torch.arange(10), 10))
    bias = world.model.network("weights").row("logits").bias
    assert bias is not None
    over = (bias.exp() / bias.exp().sum(), components["z_mu"].flatten(1)[None], components.raw("z_sigma")[None])
    values |= mixture(z, mu, log_variance, over)
    loss = torch.stack([*values.values()]).sum()
    return dict.fromkeys(("encoder", "decoder", "components", "weights"), loss), values


@paper("vade_mnist_full")
def vade_with_covariances(world: World) -> tuple[Losses, Values]:
    """The same with p(z|c) = N(mu_c, A_c A_c'), by `MultivariateNormal`: eq. 12 as sums over c of gamma_c."""
    encoder = world.rows("encoder", "q/encoder", x=world.x("q"))
    mu, log_variance, z = encoder["z_mu"].flatten(1), encoder.raw("z_sigma"), encoder["z"].flatten(1)
    values = {"reconstruction": likelihood(world, z)}
    if world.index == 0:
        return dict.fromkeys(("encoder", "decoder"), values["reconstruction"]), values
    components = world.rows("components", "", y=one_hot(torch.arange(10), 10))
    size, numbers = mu.shape[1], components.raw("z_sigma")
    row, column = torch.tril_indices(size, size)
    scale = torch.zeros(10, size, size).double()
    scale[:, row, column] = torch.where(row == column, (numbers / 2).exp(), numbers)
    p_of_z = MultivariateNormal(components["z_mu"].flatten(1), scale_tril=scale)
    bias = world.model.network("weights").row("logits").bias
    assert bias is not None
    log_pi = bias.log_softmax(0)
    log_gamma = (log_pi + p_of_z.log_prob(z[:, None])).log_softmax(1)
    q_of_z = MultivariateNormal(mu[:, None], scale_tril=torch.diag_embed((log_variance / 2).exp())[:, None])
    values["code"] = (log_gamma.exp() * kl_divergence(q_of_z, p_of_z)).sum(1).mean()
    values["category"] = (log_gamma.exp() * (log_gamma - log_pi)).sum(1).mean()
    loss = torch.stack([*values.values()]).sum()
    return dict.fromkeys(("encoder", "decoder", "components", "weights"), loss), values


@paper("gmvae_mnist")
def gmvae(world: World) -> tuple[Losses, Values]:
    """Dilokthanakul et al., eq. 2 without the consistency term: p(x|w,z) is a mixture whose components, a layer each
    after one that reads w, are chosen by z; KL(q(z|x,w) || p(z)) is at least half a nat. Their x, z are z, y here.
    """
    encoder = world.rows("encoder", "q/encoder", x=world.x("q"))
    mu, log_variance, z = encoder["z_mu"].flatten(1), encoder.raw("z_sigma"), encoder["z"].flatten(1)
    w_mu, w_log_variance = encoder["w_mu"].flatten(1), encoder.raw("w_sigma")
    own = world.rows("components", "", w=encoder["w"])
    means, log_variances = (own[name].view(len(z), 30, -1) for name in ("means", "variances"))
    values = mixture(z, mu, log_variance, (torch.full((30,), 1 / 30, dtype=torch.float64), means, log_variances))
    values["category"] = values["category"].clamp(min=0.5)
    values["style"] = -(1 + w_log_variance - w_mu**2 - w_log_variance.exp()).sum(1).mean() / 2
    values["reconstruction"] = likelihood(world, z)
    loss = torch.stack([*values.values()]).sum()
    return dict.fromkeys(("encoder", "components", "decoder"), loss), values


def unlike_prior(logits: Tensor) -> Tensor:
    """KL of the uniform distribution from the mean of the examples' softmaxes."""
    mean = (logits.exp() / logits.exp().sum(1, keepdim=True)).mean(0)
    return (math.log(1 / CLASSES) - mean.log()).mean()


def with_noise_for_every_class(world: World, passed: str, before: int) -> str:
    """The noise of rows that read images alone is an image's own, the same for all of its classes."""
    for name, noise in world.noise.items():
        if name.startswith(f"{passed}/") and len(noise) == before + 5:
            world.noise[name] = torch.cat([noise[:before], noise[before:].repeat_interleave(CLASSES, 0)])
    return passed


@paper("triple_gan_mnist", "triple_gan_svhn")
def triple_gan(world: World) -> tuple[Losses, Values]:
    """Li et al., eqs. 3 to 5 as the authors' code has them, every class of c taken with its probability.

    D: REAL are labelled pairs and images with the classifier's likeliest class, FAKE to 1/2 each generated pairs and
    images with every class. G: -1/2 log D of its pairs. C: the cross entropies of labels and of generated pairs, its
    entropy, how far its mean is from even, and -1/2 alpha sum_y C(y|x) log D(x, y).
    """
    mnist = world.spec == "triple_gan_mnist"
    labelled, alpha, generated = (0.01, 1, 0.1) if mnist else (0.1, 0.01, 0.03)
    player = world.index if mnist else world.index + 1
    c = world.rows("classifier", "c/classifier", x=world.x("c")).raw("y")
    p_of_c = c.exp() / c.exp().sum(1, keepdim=True)
    values: Values = {}
    if player in (0, 3):
        even = 0.3 if player == 0 else 1e-3
        on_l = world.rows("classifier", "l/classifier", x=world.x("l")).raw("y")
        values = {
            "labels": F.cross_entropy(on_l, world.labels("l")),
            "sure": entropy(c).mean(),
            "even": unlike_prior(c),
        }
        loss = values["labels"] + 0.3 * values["sure"] + even * values["even"]
        if player == 0:
            return {"classifier": loss}, values
    every = one_hot(torch.arange(CLASSES).repeat(len(c)), CLASSES)
    y = world.category()
    fake = world.rows("generator", "p/generator", z=world.noise["p/z"], y=y)["x"]
    repeated = world.x("c").repeat_interleave(CLASSES, 0)
    if player == 3:
        values["pseudo"] = F.cross_entropy(
            world.rows("classifier", "p/classifier", x=fake).raw("y"), y.flatten(1).argmax(1)
        )
        x, of = torch.cat([world.x("r"), repeated]), torch.cat([world.data["r"]["y"], every])
        passed = with_noise_for_every_class(world, "classify/critic", 5)
        d = world.rows("critic", passed, x=x, y=of)["d"].flatten()[len(c) :].view_as(p_of_c)
        adversarial = -(p_of_c * d.sigmoid().log()).sum(1).mean() / 2
        return {"classifier": loss + generated * values["pseudo"] + alpha * adversarial}, values
    likeliest = one_hot(world.rows("classifier", "h/classifier", x=world.x("h")).raw("y").argmax(1), CLASSES)
    x = torch.cat([world.x("r"), world.x("h"), fake, repeated])
    of = torch.cat([world.data["r"]["y"], likeliest, y, every])
    d = world.rows("critic", with_noise_for_every_class(world, "pairs/critic", 15), x=x, y=of)["d"].flatten()
    on_r, on_h, on_p, on_c = d.split([5, 5, 5, 50])
    if player == 2:
        return {"generator": called_real(on_p) / 2}, {}
    real = labelled * called_real(on_r) + (1 - labelled) * called_real(on_h)
    unsure = (p_of_c.detach() * -(1 - on_c.sigmoid()).log().view_as(p_of_c)).sum(1).mean()
    return {"critic": real + called_fake(on_p) / 2 + unsure / 2}, {}


@paper("sgan_mnist", "sgan_svhn")
def sgan(world: World) -> tuple[Losses, Values]:
    """Deng et al., eqs. 3 to 7, with the weights of the authors' code; see the spec for REAL's moving mixture.

    D_xz tells (x, I(x)) from (G(y, z), z), D_xy labelled, pseudo-labelled and a few generated pairs from (G(y, z), y);
    I and G play D_xz with the labels swapped, G both, and R_z = |z - I(G)|^2 / 20, R_y = CE(C(G), y).
    """
    if world.index in (0, 1):
        return sgan_classifier(world)
    y, z, x = world.category(), world.noise["p/z"], world.x("q")
    fake = world.rows("generator", "p/generator", z=z, y=y)["x"]
    inferred = world.rows("inference", "q/inference", x=x)["z"]
    if world.spec == "sgan_mnist":
        both = {"x": torch.cat([x, fake]), "z": torch.cat([inferred, z])}
        real, unreal = halves(world.rows("critic_xz", "xz/critic_xz", **both)["d"])
    else:
        real = world.rows("critic_xz", "xz.real/critic_xz", x=x, z=inferred)["d"]
        unreal = world.rows("critic_xz", "xz.fake/critic_xz", x=fake, z=z)["d"]
    values: Values = {}
    if world.index > 2:
        again = world.rows("inference", "p/inference", x=fake)["z"]
        values["code_seen"] = (z - again).square().sum((1, 2, 3)).mean()
    if world.index == 3:
        return {"inference": called_fake(real) + values["code_seen"] / 20}, values
    likeliest = one_hot(world.rows("classifier", "q/classifier", x=x).raw("y").argmax(1), CLASSES)
    y_m = one_hot((CLASSES * world.noise["m/y"].flatten()).long(), CLASSES)
    x_m = world.rows("generator", "m/generator", z=world.noise["m/z"], y=y_m)["x"]
    pairs = torch.cat([world.x("l"), fake, x, x_m]), torch.cat([world.data["l"]["y"], y, likeliest, y_m])
    passed = "xy_labeled+xy_pseudo+xy_generated/critic"
    on_l, on_p, on_q, on_m = world.rows("critic", passed, x=pairs[0], y=pairs[1])["d"].flatten().split(5)
    shares = (0.2, 0.75, 0.05)
    if world.index == 2:
        critic = sum(share * called_real(on) for share, on in zip(shares, (on_l, on_q, on_m), strict=True))
        return {"critic_xz": called_real(real) + called_fake(unreal), "critic": critic + called_fake(on_p)}, {}
    on_fake = world.rows("classifier", "p/classifier", x=fake).raw("y")
    values["class_seen"] = F.cross_entropy(on_fake, y.flatten(1).argmax(1))
    passing = called_real(unreal) + called_real(on_p) + shares[2] * called_fake(on_m)
    return {"generator": passing + values["code_seen"] / 20 + values["class_seen"]}, values


def sgan_classifier(world: World) -> tuple[Losses, Values]:
    """CE of labels, 0.3 H, 1e-3 KL(even || mean), and later CE of generated pairs by a weight that grows to 0.02."""
    on_l = world.rows("classifier", "l/classifier", x=world.x("l")).raw("y")
    on_q = world.rows("classifier", "q/classifier", x=world.x("q")).raw("y")
    values = {
        "labels": F.cross_entropy(on_l, world.labels("l")),
        "sure": entropy(on_q).mean(),
        "even": unlike_prior(on_q),
    }
    loss = values["labels"] + 0.3 * values["sure"] + 1e-3 * values["even"]
    if world.index == 1:
        y = one_hot((CLASSES * world.noise["m/y"].flatten()).long(), CLASSES)
        x = world.rows("generator", "m/generator", z=world.noise["m/z"], y=y)["x"]
        on_m = world.rows("classifier", "m/classifier", x=x).raw("y")
        values["pseudo"] = F.cross_entropy(on_m, y.flatten(1).argmax(1))
        loss = loss + 0.01 * values["pseudo"]  # half way
    return {"classifier": loss}, values


@paper("lalnets_mnist", "lalnets_svhn")
def lalnets(world: World) -> tuple[Losses, Values]:
    """Kilinc & Uysal, eqs. 2 to 7: the cross entropy of which of 8 ways an image was turned, by the softmax over 160
    nodes summed in twenties; c1 = 0.1 the affinity and c2 = 1 minus the balance of each twenty, N = B'B of B = relu(Z);
    c4 = 1e-6 |Z|^2 of a batch of 400.
    """
    x, t = world.x("q"), (8 * world.noise["q/t"].flatten()).long()
    turned = torch.stack([one.rot90(int(k) % 4, (1, 2)) for one, k in zip(x, t, strict=True)])
    v = torch.where((t < 4)[:, None, None, None], turned, turned.flip(3))
    nodes = world.rows("classifier", "q/classifier(x=v)", x=v)["nodes"].flatten(1)
    of_answer = nodes.softmax(1).view(len(x), 8, 20).sum(2)
    affinities: list[Tensor] = []
    balances: list[Tensor] = []
    for twenty in nodes.relu().split(20, 1):
        n = twenty.T @ twenty
        outer = torch.outer(n.diag(), n.diag())
        for found, m in ((affinities, n), (balances, outer)):
            found.append((m.sum() - m.trace()) / (19 * m.trace()))
    values = {
        "turned": -of_answer.gather(1, t[:, None]).log().mean(),
        "affinity": torch.stack(affinities).mean(),
        "balance": -torch.stack(balances).mean(),
        "size": nodes.square().sum(1).mean(),
    }
    loss = values["turned"] + 0.1 * values["affinity"] + values["balance"] + 1e-6 * 400 * values["size"]
    return {"classifier": loss}, values


# --------------------------------------------------------------------------------------------------------------- tests


def test_every_shipped_spec_with_terms_has_its_paper_s_formulas() -> None:
    assert set(PAPERS) == {path.stem for path in SPECS.glob("*.yaml") if plan_of(path).terms}
    for spec in PAPERS:
        plan = narrow(spec)
        assert {term.name for term in plan.terms} == {name for turn in plan.turns for name in turn.terms}, spec


@pytest.mark.parametrize("spec", sorted(PAPERS))
def test_every_turn_has_the_terms_and_the_gradients_of_its_paper(spec: str) -> None:
    for turn in range(len(narrow(spec).turns)):
        world = World(spec, turn)
        outcome = world.take()
        losses, values = PAPERS[spec](world)
        assert {*values} == {*world.turn.terms}
        for name, value in values.items():
            assert abs(value.item()) > 1e-3
            found = outcome.values[f"{name}/value"].item()
            assert found == pytest.approx(value.item(), rel=1e-10, abs=1e-10), (turn, name)
        assert {*losses} == {*world.turn.update} == {*outcome.gradients}
        for network, loss in losses.items():
            compare(world, network, loss, outcome.gradients)


def compare(world: World, network: str, loss: Tensor, found: Mapping[str, list[Tensor]]) -> None:
    """Every parameter of a network: its gradient in the turn, and that of its loss."""
    expected = torch.autograd.grad(loss, world.parameters(network), retain_graph=True, materialize_grads=True)
    assert sum(float(gradient.abs().sum()) for gradient in expected) > 1e-3
    for own, gradient in zip(found[network], expected, strict=True):
        far = (own - gradient).abs().max().item()
        assert torch.allclose(own, gradient, rtol=1e-10, atol=1e-10), (world.index, network, far)


@pytest.mark.parametrize("spec", sorted(PAPERS))
def test_a_small_step_of_the_networks_that_a_term_trains_lowers_it(spec: str) -> None:
    """t(w - e g) = t(w) - e |g|^2 + O(e^2), g the gradient of the term t alone; e such that t falls by a millionth.

    Of those whose gradient is that of their value: `vat` compares constants with what it moves.
    """
    for term in narrow(spec).terms:
        if not any(isinstance(part, Vat) for part in parts(term.value)):
            is_lowered(spec, term.name)


def is_lowered(spec: str, term: str) -> None:
    plan = narrow(spec)
    later = f"weight=[[{LATE.get(spec, 0)}, 0], [{LATE.get(spec, 0) + 1}, 1]]"  # 0 until then
    alone = [f"games.{game.name}.{later}" for game in plan.games]
    alone += [f"terms.{other.name}.{later}" for other in plan.terms if other.name != term]
    loss, turns = f"{term}/value", [index for index, turn in enumerate(plan.turns) if term in turn.terms]
    for index in turns:
        world = World(spec, index, *alone)
        before = world.take()
        value, weight = before.values[loss].item(), world.turn.loss(loss).weight(world.epoch)
        assert weight, "a term of weight 0 is not computed"
        learning = [network for found, network in world.turn.minimised if found.name == loss]
        parameters = [parameter for network in learning for parameter in world.parameters(network)]
        gradient = [found / weight for network in learning for found in before.gradients[network]]
        squared = sum(float(part.square().sum()) for part in gradient)
        with torch.no_grad():
            for parameter, part in zip(parameters, gradient, strict=True):
                parameter -= 1e-6 * abs(value) / squared * part
        lowered = value - world.take().values[loss].item()
        assert lowered > 0, term
        assert lowered == pytest.approx(1e-6 * abs(value), rel=1e-2), term
