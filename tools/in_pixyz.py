"""The step of a plan of games in pixyz (`pip install pixyz==0.3.3 ipython`), as its documentation writes one.

Each network is a `Deterministic` distribution in `plain.py`'s modules, data an `EmpiricalDistribution`, priors pixyz's
own; `AdversarialJensenShannon(q, p, d)` samples both sides once for its discriminator and once more for their step. It
has no penalties, and no weights of games.
"""

import torch
from pixyz.distributions import Categorical, Deterministic, Distribution, EmpiricalDistribution, Normal
from pixyz.losses import AdversarialJensenShannon
from plain import Batches, PlainModel, games
from torch import Tensor

from ammgraph.plan.draws import DrawPlan, FactorPlan, FromData, FromNetwork
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import GamePlan
from ammgraph.spec.schema import Normal as NormalPrior

CRITIC = {"optimizer": torch.optim.Adam, "optimizer_params": {"lr": 2e-4, "betas": (0.5, 0.999)}}


class Network(Deterministic):
    """The factors of one evaluation of a network: q(y,z|x)."""

    def __init__(self, model: PlainModel, factors: list[FactorPlan]) -> None:
        origins = [factor.origin for factor in factors if isinstance(factor.origin, FromNetwork)]
        self.local = {variable: local for origin in origins for local, variable in origin.evaluation.bindings}
        drawn = [factor.variables[0] for factor in factors]
        super().__init__(var=drawn, cond_var=[name for name in self.local if name not in drawn])
        self.rows = [(factor.variables[0], origin) for factor, origin in zip(factors, origins, strict=True)]
        self.module = model.networks[origins[0].evaluation.network]

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        values = {
            self.local[name]: value.reshape(*value.shape, *[1] * (4 - value.ndim)) for name, value in given.items()
        }
        found = {}
        for name, origin in self.rows:
            self.module(origin.rows, values, len(next(iter(given.values()))))
            found[name] = values[origin.row]
            values.setdefault(self.local.get(name, name), found[name])
        return found


class Discriminator(Deterministic):
    """d(t|x,y,z), the probability of q."""

    def __init__(self, model: PlainModel, game: GamePlan, rows: tuple[str, ...]) -> None:
        super().__init__(var=["t"], cond_var=[variable for _, variable in game.reads], name="d")
        self.game, self.rows, self.model = game, rows, model
        self.module = model.networks[game.discriminator.owner]

    def forward(self, **given: Tensor) -> dict[str, Tensor]:
        inputs = {local: given[variable] for local, variable in self.game.reads}
        inputs = {name: value.reshape(*value.shape, *[1] * (4 - value.ndim)) for name, value in inputs.items()}
        return {"t": torch.sigmoid(self.model.logit(self.game, self.rows, inputs))[:, None]}


class Step:
    """One step of both players. pixyz cannot train a sum of games, so that each samples its sides for itself."""

    def __init__(self, plan: Plan, data: Batches) -> None:
        self.model = model = PlainModel(plan)
        self.losses = [
            (
                AdversarialJensenShannon(*sides(model, game), Discriminator(model, game, rows), **CRITIC),
                data[game.real[0][1]],
            )
            for game, rows in games(plan)
        ]

    def __call__(self) -> None:
        for loss, data in self.losses:
            loss.loss_train(data)
        self.model.generator_optimizer.zero_grad()
        for loss, data in self.losses:
            loss.eval(data).backward()
        self.model.generator_optimizer.step()


def sides(model: PlainModel, game: GamePlan) -> list[Distribution]:
    """REAL and FAKE."""
    return [joint(model, model.plan.draw(name)) for ((_, name),) in (game.real, game.fake)]


def joint(model: PlainModel, draw: DrawPlan) -> Distribution:
    """The product of a draw's factors; pixyz samples it in the order of its conditions."""
    parts: list[Distribution] = []
    evaluations: dict[str, list[FactorPlan]] = {}
    for factor in draw.factors:
        origin, name = factor.origin, factor.variables[0]
        if isinstance(origin, FromData):
            parts.append(EmpiricalDistribution(list(factor.variables)))
        elif isinstance(origin, FromNetwork):
            evaluations.setdefault(origin.evaluation.name, []).append(factor)
        else:
            parts.append(prior(model.plan, name, isinstance(origin.prior, NormalPrior)))
    parts += [Network(model, factors) for factors in evaluations.values()]
    found = parts[-1]
    for part in reversed(parts[:-1]):
        found = found * part
    return found


def prior(plan: Plan, name: str, normal: bool) -> Distribution:
    """N(0, 1) or the uniform categorical distribution."""
    size = plan.variable(name).shape[0]
    if normal:
        return Normal(loc=torch.zeros(size), scale=torch.ones(size), var=[name], name="p")
    return Categorical(probs=torch.full((size,), 1 / size), var=[name], name="p")
