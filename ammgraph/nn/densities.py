"""Densities of a factorization in closed form, and the Bayes classifier that follows from them (eq. 19)."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ammgraph.formulas.expression import Number
from ammgraph.nn.distributions import Distribution
from ammgraph.nn.functions import normal_log
from ammgraph.nn.model import Model, Tensors, given_means, one_hot
from ammgraph.nn.networks import Mode, evaluate_input, raw
from ammgraph.plan.draws import Density, DrawPlan, FactorPlan, FromNetwork, FromPrior, Origin, ScorePlan
from ammgraph.plan.evaluation_cost import COMPONENTS
from ammgraph.plan.plan import BayesPlan, Plan


def factor_distribution(model: Model, score: ScorePlan, values: Tensors, samples: Tensors) -> Distribution:
    """The distribution that a term scores, in float32 at least.

    Args:
        model: the networks, and the constants of priors.
        score: which.
        values: the rows of its evaluation.
        samples: the samples of the draw, by variable.
    """
    density = score.density
    assert density is not None
    if score.prior is not None:
        return _prior_distribution(model, score.prior, samples)
    if density.kind == "normal":
        return Distribution("normal", *map(_float, _mean_and_spread(density, values)))
    first = values[raw(score.row)] if density.mean is None else evaluate_input(density.mean, values)
    return Distribution(density.kind, _float(first.flatten(1)))


def _prior_distribution(model: Model, origin: FromPrior, samples: Tensors) -> Distribution:
    like, place = next(model.parameters()), origin.prior.place
    if place is None:
        return Distribution("categorical", torch.log(model.constant(origin.site.name).to(like.dtype))[None])
    location, scale = place
    if isinstance(location, Number):
        mean = like.new_full((1, math.prod(origin.site.shape)), location.value)
    else:
        mean = given_means(model, origin, samples, like.dtype)
    return Distribution("normal", mean, torch.full_like(mean, 2 * math.log(scale)))


def _mean_and_spread(density: Density, values: Tensors) -> tuple[Tensor, Tensor]:
    """The parameters of a normal row, each number of which has a mean, also where all positions share one."""
    assert density.mean is not None
    mean, spread = evaluate_input(density.mean, values), values[raw(density.log_variance)]
    whole = mean if density.full else mean.expand(-1, *spread.shape[1:])
    return whole.flatten(1), spread.flatten(1)


def _float(value: Tensor) -> Tensor:
    return value.to(torch.promote_types(value.dtype, torch.float32))


def factor_parameters(
    model: Model, factor: FactorPlan, given: Mapping[str, Tensor], batch: int
) -> tuple[Tensor, Tensor]:
    """Mean and spread of a normal factor given its conditions, of a batch; networks in eval mode (R17).

    The spread is n log-variances, or the n (n + 1) / 2 numbers of a triangle.
    """
    origin = factor.origin
    if isinstance(origin, FromPrior):
        found = _prior_distribution(model, origin, given)
        assert found.second is not None
        return found.first, found.second
    mean, spread = _mean_and_spread(factor.density, _rows_below(model, origin, given, batch))
    return mean, spread.expand(len(mean), -1)


def _rows_below(model: Model, origin: Origin, given: Mapping[str, Tensor], batch: int) -> dict[str, Tensor]:
    """The row that a factor draws and all before it, given its conditions; in eval mode."""
    assert isinstance(origin, FromNetwork)
    network = model.network(origin.evaluation.network)
    values = {local: given[variable] for local, variable in origin.evaluation.bindings if variable in given}
    below = _below(network, origin.row, values)
    rows = [row.name for row in network.plan.rows if row.name not in values and row.name in below]
    network.compute(rows, values, batch, {}, origin.evaluation.name, Mode.EVAL)
    return values


def component_parameters(
    model: Model, factor: FactorPlan, size: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Mean (K, n) and spread of a normal factor whose one condition is a category, for all K of these."""
    parts = []
    for labels in torch.arange(size, device=device).split(COMPONENTS):
        given = {factor.given[0]: one_hot(labels, size, dtype)}
        parts.append(factor_parameters(model, factor, given, len(labels)))
    means, spreads = zip(*parts, strict=True)
    return torch.cat(means), torch.cat(spreads)


def log_joint(model: Model, plan: Plan, bayes: BayesPlan, inferred: Mapping[str, Tensor]) -> Tensor:
    """Log p(y = k) + sum over the evidence v of log p(v | ..., y = k), shape (B, K), in nats.

    Its argmax over k is the classifier of eq. 19, its softmax the posterior p(y | evidence).

    Args:
        model: networks; they run in eval mode.
        plan: the compiled spec.
        bayes: which densities are used.
        inferred: variable -> values (B, n, 1, 1), at least the evidence and its other conditions.
    """
    draw = plan.draw(bayes.draw)
    size = plan.variable(bayes.variable).shape[0]
    terms = [_log_evidence(model, draw.factor_of(name), bayes.variable, inferred, size) for name in bayes.evidence]
    return torch.stack(terms).sum(0) + log_prior(model, draw, bayes.variable)


def log_prior(model: Model, draw: DrawPlan, variable: str) -> Tensor:
    """Log p(y = k), shape (K,); of learned weights in eval mode."""
    factor = draw.factor_of(variable)
    if isinstance(factor.origin, FromPrior):
        return torch.log(model.constant(factor.origin.site.name))
    assert isinstance(factor.origin, FromNetwork)
    values, mean = _rows_below(model, factor.origin, {}, 1), factor.density.mean
    logits = values[raw(factor.origin.row)] if mean is None else evaluate_input(mean, values)
    return torch.log_softmax(logits.flatten(), dim=0)


def _log_evidence(model: Model, factor: FactorPlan, category: str, inferred: Mapping[str, Tensor], size: int) -> Tensor:
    """Log p(v | ..., y = k), shape (B, K)."""
    value = inferred[factor.variables[0]].flatten(1)
    if factor.given == (category,):  # its parameters are the same for every example
        components = component_parameters(model, factor, size, value.device, value.dtype)
        pairs = zip(*(part.split(1) for part in components), strict=True)
        return torch.stack([normal_log(mean, variance, value) for mean, variance in pairs], dim=1)
    given = {name: inferred[name] for name in factor.given if name != category}
    columns = []
    for label in torch.arange(size, device=value.device):
        given[category] = one_hot(label.expand(len(value)), size, value.dtype)
        columns.append(normal_log(*factor_parameters(model, factor, given, len(value)), value))
    return torch.stack(columns, dim=1)


def _below(network: object, row: str, given: Mapping[str, Tensor]) -> set[str]:
    plans = network.plans  # type: ignore[attr-defined]
    found: set[str] = set()
    open_rows = [row]
    while open_rows:
        name = open_rows.pop()
        if name in plans and name not in found and name not in given:
            found.add(name)
            open_rows += plans[name].reads
    return found
