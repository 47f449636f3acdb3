"""Plain PyTorch loops of a plan's model, as people write them by hand: what `bench.py` compares with.

`idiomatic`  as in public ALI code: nn.Conv2d, nn.Dropout, nn.BatchNorm2d; the generators' samples are detached for the
             discriminator's step and computed again for the generators' step; q and p pass it one by one.
`shared`     better: one forward pass for both players, gradients by torch.autograd.grad.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ammgraph.formulas.expression import Logit
from ammgraph.formulas.objectives import Role
from ammgraph.formulas.objectives import loss as loss_of
from ammgraph.layers.operations import POOLS
from ammgraph.nn.functions import function, groups
from ammgraph.nn.losses import value
from ammgraph.plan.draws import DrawPlan, FromData, FromDraw, FromNetwork, FromPrior
from ammgraph.plan.networks import NetworkPlan, RowPlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import GamePlan
from ammgraph.spec.notation import Zeros
from ammgraph.spec.schema import Mixture, Normal, Uniform

Batches = dict[str, dict[str, Tensor]]


class PlainRow(nn.Module):
    def __init__(self, row: RowPlan) -> None:
        super().__init__()
        self.plan = row
        self.dropout = nn.Dropout(row.dropout) if row.dropout else None
        channels, out = row.in_shape[0], row.inner_shape[0]
        self.layer: nn.Module | None = None
        if row.linear is not None:
            inside = channels if row.columns else math.prod(row.in_shape)
            self.layer = getattr(nn, row.linear.module)(inside, out, *row.columns.values(), bias=row.bias)
        self.norm = nn.BatchNorm2d(out) if row.batchnorm else None

    def forward(self, x: Tensor) -> Tensor:
        row = self.plan
        if row.noise and self.training:
            x = x + row.noise * torch.randn_like(x)
        if self.dropout is not None:
            x = self.dropout(x)
        if row.operation is not None and self.layer is None:
            x = function(row.operation.torch)(groups(x, row.inner_shape[0]), dim=2)
        if self.layer is not None:
            x = self.layer(x) if row.columns else self.layer(x.flatten(1))[:, :, None, None]
        if self.norm is not None:
            x = self.norm(x)
        if row.activation is not None:
            x = _activate(row, x)
        if row.pool is not None:
            x = function(POOLS[row.pool.kind])(x, row.pool.size)
        return x


def _activate(row: RowPlan, x: Tensor) -> Tensor:
    kind, arguments = row.activation.kind, [row.activation.parameter] if row.activation.kind.parameter else []
    if kind.noise is not None and kind.noise.kind == "gumbel":
        return F.gumbel_softmax(x, *arguments, hard=row.activation.name == "gumbel_straight_through", dim=1)
    if kind.noise is not None:
        arguments.append(torch.randn(len(x), *row.tensors[-1].shape, dtype=x.dtype, device=x.device))
    return function(kind.torch)(x, *arguments, **dict(kind.keywords))


class PlainNetwork(nn.Module):
    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.rows = nn.ModuleDict({f"row_{row.name}": PlainRow(row) for row in plan.rows})
        for row in plan.rows:
            layer = self.rows[f"row_{row.name}"].layer
            if layer is not None:
                nn.init.normal_(layer.weight, std=0.02)

    def forward(self, rows: tuple[str, ...], values: dict[str, Tensor], batch: int) -> None:
        for name in rows:
            module = self.rows[f"row_{name}"]
            parts = []
            for part in module.plan.input.parts:
                atoms = [
                    torch.zeros(batch, atom.channels, 1, 1) if isinstance(atom, Zeros) else values[atom.name]
                    for atom in part
                ]
                total = atoms[0]
                for atom in atoms[1:]:
                    total = total + atom
                parts.append(total)
            size = module.plan.in_shape[1:]
            x = parts[0] if len(parts) == 1 else torch.cat([part.expand(-1, -1, *size) for part in parts], 1)
            values[name] = module(x)


class PlainModel:
    """The networks of a plan and their optimizers, one for the discriminators and one for the rest."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.networks = {network.name: PlainNetwork(network) for network in plan.networks}
        critics = {game.discriminator.owner for game in plan.games}
        self.critic_parameters = [p for name in critics for p in self.networks[name].parameters()]
        self.generator_parameters = [
            p for name, network in self.networks.items() if name not in critics for p in network.parameters()
        ]
        self.critic_optimizer = torch.optim.Adam(self.critic_parameters, lr=2e-4, betas=(0.5, 0.999))
        self.generator_optimizer = torch.optim.Adam(self.generator_parameters, lr=2e-4, betas=(0.5, 0.999))

    def draw_all(self, data: Batches) -> dict[str, dict[str, Tensor]]:
        samples: dict[str, dict[str, Tensor]] = {}
        for draw in self.plan.draws:
            samples[draw.name] = self._draw(draw, data.get(draw.name, {}), samples)
        return samples

    def _draw(self, draw: DrawPlan, data: dict[str, Tensor], others: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
        samples: dict[str, Tensor] = {}
        evaluations: dict[str, dict[str, Tensor]] = {}
        for factor in draw.factors:
            origin, name = factor.origin, factor.variables[0]
            if not factor.needed:
                continue
            if isinstance(origin, FromData):
                samples |= {variable: data[variable] for variable in factor.variables}
            elif isinstance(origin, FromDraw):
                samples[name] = others[origin.draw][origin.variable]
            elif isinstance(origin, FromPrior):
                samples[name] = self._prior(origin, name, draw.batch_size, samples)
            elif isinstance(origin, FromNetwork):
                values = evaluations.setdefault(origin.evaluation.name, {})
                for local, variable in origin.evaluation.bindings:
                    if variable in samples:
                        values.setdefault(local, samples[variable])
                self.networks[origin.evaluation.network](origin.rows, values, draw.batch_size)
                samples[name] = values[origin.row]
        return samples

    def _prior(self, origin: FromPrior, name: str, batch: int, samples: dict[str, Tensor]) -> Tensor:
        variable = self.plan.variable(name)
        if isinstance(origin.prior, Normal):
            return torch.randn(batch, *variable.shape)
        if isinstance(origin.prior, Mixture):
            return torch.randn(batch, *variable.shape) + samples[origin.given].sum()
        if isinstance(origin.prior, Uniform) and origin.prior.bounds is not None:
            return torch.rand(batch, *variable.shape)
        labels = torch.randint(0, variable.shape[0], (batch,))
        return F.one_hot(labels, variable.shape[0]).float()[:, :, None, None]

    def logit(self, game: GamePlan, rows: tuple[str, ...], inputs: dict[str, Tensor]) -> Tensor:
        values = dict(inputs)
        self.networks[game.discriminator.owner](rows, values, len(next(iter(inputs.values()))))
        return values[game.discriminator.name].flatten()

    def penalty(
        self, game: GamePlan, rows: tuple[str, ...], real: dict[str, Tensor], fake: dict[str, Tensor]
    ) -> Tensor:
        total = torch.zeros(())
        for penalty in game.penalties:
            if penalty.kind == "gradient_penalty":
                alpha = torch.rand(len(next(iter(real.values()))), 1, 1, 1)
                inputs = {
                    name: (alpha * fake[name].detach() + (1 - alpha) * real[name].detach()).requires_grad_()
                    for name in real
                }
                gradients = torch.autograd.grad(
                    self.logit(game, rows, inputs).sum(), list(inputs.values()), create_graph=True
                )
                norm = torch.cat([gradient.flatten(1) for gradient in gradients], 1).norm(dim=1)
                total = total + penalty.weight.at(0) * ((norm - 1) ** 2).mean()
                continue
            for side, on_real in ((real, True), (fake, False)):
                if penalty.kind == "r1_penalty" and not on_real:
                    continue
                inputs = {name: value.detach().requires_grad_() for name, value in side.items()}
                logits = self.logit(game, rows, inputs)
                gradients = torch.autograd.grad(logits.sum(), list(inputs.values()), create_graph=True)
                norms = sum(gradient.flatten(1).square().sum(1) for gradient in gradients)
                phi = torch.sigmoid(logits)
                weight = 1.0 if penalty.kind == "r1_penalty" else ((1 - phi) if on_real else phi).square()
                total = total + 0.5 * penalty.weight.at(0) * (weight * norms).mean()
        return total


def idiomatic(model: PlainModel, data: Batches) -> None:
    plan = model.plan
    samples = model.draw_all(data)
    loss = torch.zeros(())
    for game, rows in games(plan):
        real, fake = _sides(game, samples, detach=True)
        d_real, d_fake = model.logit(game, rows, real), model.logit(game, rows, fake)
        against = _paid(game, "discriminator", d_real, d_fake)
        loss = loss + game.weight.at(0) * (against + model.penalty(game, rows, real, fake))
    model.critic_optimizer.zero_grad()
    loss.backward()
    model.critic_optimizer.step()
    samples = model.draw_all(data)
    loss = torch.zeros(())
    for game, rows in games(plan):
        real, fake = _sides(game, samples, detach=False)
        d_real, d_fake = model.logit(game, rows, real), model.logit(game, rows, fake)
        loss = loss + game.weight.at(0) * _paid(game, "generator", d_real, d_fake)
    model.generator_optimizer.zero_grad()
    loss.backward()
    model.generator_optimizer.step()


def shared(model: PlainModel, data: Batches) -> None:
    plan = model.plan
    samples = model.draw_all(data)
    against, sides = torch.zeros(()), torch.zeros(())
    for game, rows in games(plan):
        real, fake = _sides(game, samples, detach=False)
        d_real, d_fake = model.logit(game, rows, real), model.logit(game, rows, fake)
        weight, loss = game.weight.at(0), _paid(game, "discriminator", d_real, d_fake)
        against = against + weight * (loss + model.penalty(game, rows, real, fake))
        sides = sides + weight * _paid(game, "generator", d_real, d_fake)
    for loss, parameters, optimizer, last in (
        (against, model.critic_parameters, model.critic_optimizer, False),
        (sides, model.generator_parameters, model.generator_optimizer, True),
    ):
        gradients = torch.autograd.grad(loss, parameters, retain_graph=not last, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        del optimizer, gradients
    model.critic_optimizer.step()
    model.generator_optimizer.step()


LOOPS: dict[str, Callable[[PlainModel, Batches], None]] = {"idiomatic": idiomatic, "shared": shared}


def _paid(game: GamePlan, role: Role, d_real: Tensor, d_fake: Tensor) -> Tensor:
    real, fake = Logit("real"), Logit("fake")
    return value(loss_of(game.objective, role, [(1, real)], [(1, fake)]), {real: d_real, fake: d_fake})


def games(plan: Plan) -> list[tuple[GamePlan, tuple[str, ...]]]:
    rows = {name: critic.rows for turn in plan.turns for critic in turn.passes_of("scored") for name, _ in critic.sides}
    return [(game, rows[game.name]) for game in plan.games]


def _sides(
    game: GamePlan, samples: dict[str, dict[str, Tensor]], detach: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    sides = []
    for side in (game.real, game.fake):
        (_, draw), *more = side
        assert not more, "a plain loop of a weighted side is not written"
        values = {local: samples[draw][variable] for local, variable in game.reads}
        sides.append({name: value.detach() for name, value in values.items()} if detach else values)
    return sides[0], sides[1]
