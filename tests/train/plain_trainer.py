"""Training as people write it by hand: each player's whole loss, differentiated from end to end, and `torch.optim`.

It shares with ammgraph what draws samples and numbers, and the forward pass; no plan of passes, no legs, no step.
"""

import copy
from collections.abc import Mapping, Sequence

import torch
from plain_objectives import OBJECTIVES
from tiny import CPU
from torch import Tensor

from ammgraph.data.dataset import Dataset
from ammgraph.nn.model import Draw, Model, critic_logits, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.draws import EvaluationPlan
from ammgraph.plan.games import between_name
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import GamePlan, PassPlan, PenaltyPlan, TurnPlan
from ammgraph.spec.training import Adam, Sgd
from ammgraph.train.streams import Feed, Noise, initial_model

# What an example pays: the discriminator on REAL and on FAKE, the sides on REAL and on FAKE.
COSTS = {
    name: (o.discriminator_real, o.discriminator_fake, o.generator_real, o.generator_fake)
    for name, o in OBJECTIVES.items()
}


class PlainTrainer:
    """The weights of a plan, in float64.

    Args:
        plan: of a spec whose discriminators have no dropout and whose sides are one distribution each.
        dataset: the data.
        trains: game -> networks, where a game trains some networks alone.
        joint: whether both sides pass a discriminator as one batch.
    """

    def __init__(self, plan: Plan, dataset: Dataset, trains: Mapping[str, Sequence[str]], joint: bool) -> None:
        self.plan, self.trains, self.joint, self.step = plan, trains, joint, 0
        self.model: Model = initial_model(plan, 0, dataset).to(torch.float64)
        self.averaged = copy.deepcopy(self.model)
        self.feed = Feed(plan, dataset, 0, CPU, torch.float64)
        self.noise = Noise(plan, 0, CPU, torch.float64)
        self.optimizers = {network.name: self._optimizer(network.name) for network in plan.networks}

    def advance(self) -> None:
        """One step."""
        noise: dict[str, Tensor] = {}
        data: dict[str, dict[str, Tensor]] = {}
        for turn in self.plan.turns:
            for _ in range(turn.steps):
                if turn.redraw:
                    data, noise = self.feed.batches(turn), self.noise.of(turn, self.step)
                else:
                    noise = noise | self.noise.of(turn, self.step, noise)
                self._turn(turn, data, noise)
        with torch.no_grad():
            for network in self.plan.networks:
                pairs = zip(
                    self.averaged.network(network.name).parameters(), self._parameters(network.name), strict=True
                )
                for mean, current in pairs:
                    mean.copy_((network.ema or 0) * mean + (1 - (network.ema or 0)) * current)
        self.step += 1

    def _optimizer(self, network: str) -> torch.optim.Optimizer:
        how, parameters = self.plan.network(network).optimizer, self._parameters(network)
        if isinstance(how, Adam):
            betas = (how.betas[0], how.betas[1])
            return torch.optim.Adam(parameters, how.learning_rate.at(0), betas, how.epsilon, foreach=False)
        assert isinstance(how, Sgd)
        return torch.optim.SGD(parameters, how.learning_rate.at(0), how.momentum, foreach=False)

    def _parameters(self, network: str) -> list[Tensor]:
        return list(self.model.network(network).parameters())

    def _turn(self, turn: TurnPlan, data: Mapping[str, dict[str, Tensor]], noise: dict[str, Tensor]) -> None:
        draws: dict[str, Draw] = {}
        for name in turn.draws:
            draws[name] = sample_draw(self.model, self.plan.draw(name), data.get(name, {}), noise, Mode.TRAIN, draws)
        for network in turn.update:
            losses = [
                self._against(game, draws, noise) if network == game.discriminator.owner else self._sides(game, draws)
                for game in self.plan.games
                if network in self.trains.get(game.name, [network])
                and network in (game.discriminator.owner, *dict(game.paths))
            ]
            found = torch.autograd.grad(
                torch.stack(losses).sum(), self._parameters(network), retain_graph=True, materialize_grads=True
            )
            for parameter, gradient in zip(self._parameters(network), found, strict=True):
                parameter.grad = gradient
        for network in turn.update:
            self.optimizers[network].step()

    def _sides(self, game: GamePlan, draws: Mapping[str, Draw]) -> Tensor:
        d_real, d_fake = self._logits(game, *self._inputs(game, draws))
        _, _, on_real, on_fake = COSTS[game.objective]
        return game.weight.at(0) * (on_real(d_real).mean() + on_fake(d_fake).mean())

    def _against(self, game: GamePlan, draws: Mapping[str, Draw], noise: Mapping[str, Tensor]) -> Tensor:
        held = [{n: v.detach().requires_grad_() for n, v in side.items()} for side in self._inputs(game, draws)]
        d_real, d_fake = self._logits(game, *held)
        on_real, on_fake, _, _ = COSTS[game.objective]
        loss = on_real(d_real).mean() + on_fake(d_fake).mean()
        for penalty in game.penalties:
            if self.step % penalty.every == 0:
                weight = penalty.every * penalty.weight.at(0)
                if penalty.kind == "gradient_penalty":
                    loss = loss + weight * self._between(game, penalty, *held, noise)
                else:
                    loss = loss + weight * _at_the_samples(penalty, *held, d_real, d_fake)
        return game.weight.at(0) * loss

    def _inputs(self, game: GamePlan, draws: Mapping[str, Draw]) -> list[dict[str, Tensor]]:
        ((_, real),), ((_, fake),) = game.real, game.fake
        return [{local: draws[name].samples[variable] for local, variable in game.reads} for name in (real, fake)]

    def _logits(self, game: GamePlan, real: dict[str, Tensor], fake: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        if not self.joint:
            return self._logit(game, real), self._logit(game, fake)
        joined = {name: torch.cat([real[name], fake[name]]) for name in real}
        d_real, d_fake = self._logit(game, joined).chunk(2)
        return d_real, d_fake

    def _logit(self, game: GamePlan, inputs: dict[str, Tensor]) -> Tensor:
        """The whole of the discriminator's table, by batch statistics that move nothing."""
        network = game.discriminator.owner
        rows = tuple(row.name for row in self.plan.network(network).rows)
        whole = PassPlan("scored", EvaluationPlan("", network, game.reads), game.discriminator.name, rows, (), 0)
        return critic_logits(self.model, whole, inputs, {}, Mode.FROZEN)

    def _between(
        self,
        game: GamePlan,
        penalty: PenaltyPlan,
        real: dict[str, Tensor],
        fake: dict[str, Tensor],
        noise: Mapping[str, Tensor],
    ) -> Tensor:
        """E (|grad d| - 1)^2 at real + a (fake - real)."""
        a = noise[f"{between_name(game)}/coefficient"]
        inputs = {name: ((1 - a) * real[name] + a * fake[name]).detach().requires_grad_() for name in real}
        return ((_squares(self._logit(game, inputs), inputs).sqrt() - 1) ** 2).mean()


def _at_the_samples(
    penalty: PenaltyPlan, real: dict[str, Tensor], fake: dict[str, Tensor], d_real: Tensor, d_fake: Tensor
) -> Tensor:
    d = d_real.sum() + d_fake.sum()  # in one batch, each example's slope is that of every logit
    on_real = _squares(d, real)
    if penalty.kind == "r1_penalty":
        return on_real.mean() / 2
    sure = (1 - torch.sigmoid(d_real)) ** 2 * on_real
    return (sure.mean() + (torch.sigmoid(d_fake) ** 2 * _squares(d, fake)).mean()) / 2


def _squares(d: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
    slopes = torch.autograd.grad(d.sum(), list(inputs.values()), create_graph=True)
    return torch.stack([slope.flatten(1).square().sum(1) for slope in slopes]).sum(0)
