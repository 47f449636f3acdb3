"""Variables that have every value: the probabilities of the values, and what is computed at each of them.

Example b with the k-th of K values stands at place b K + k of B K examples. What reads the variable alone is computed
at its K values, and repeated.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import torch
from torch import Tensor

from ammgraph.nn.densities import factor_distribution
from ammgraph.nn.distributions import Distribution
from ammgraph.nn.functions import each, every_value, function
from ammgraph.nn.model import Draw, Enumerated, Model, one_hot
from ammgraph.nn.networks import Mode
from ammgraph.plan.draws import DrawPlan, EvaluationPlan, FromBayes, ScorePlan
from ammgraph.plan.enumeration import Needed, evaluations_of
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import PassPlan

Rows: TypeAlias = Callable[[EvaluationPlan], Mapping[str, Tensor]]  # what an evaluation of a network has computed


def inputs_over(
    draw: Draw, found: PassPlan | Needed, size: int, like: Tensor, beneath: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What an evaluation over a variable reads: the K values, (K, ...), or each example with each of them, (B K, ...).

    Args:
        draw: the samples.
        found: what is evaluated.
        size: K.
        like: of whose kind the values are.
        beneath: the rows of the evaluation at the examples themselves.
    """
    evaluation = found.evaluation
    values = every_value(size, 1 if found.alone else draw.batch, like)
    inputs = {local: values for local, variable in evaluation.bindings if variable == evaluation.over}
    if found.alone:
        return inputs
    samples = {local: draw.samples[variable] for local, variable in evaluation.bindings if variable in draw.samples}
    inputs |= {name: each(samples[name] if name in samples else beneath[name], size) for name in found.takes}
    return inputs | {name: beneath[name] for name in found.chooses}


def aligned_distribution(found: Distribution, score: ScorePlan, size: int, examples: int) -> Distribution:
    """Distributions of each example with each value; see `aligned`."""
    second = None if found.second is None else aligned(found.second, score, size, examples)
    return replace(found, first=aligned(found.first, score, size, examples), second=second)


def aligned(found: Tensor, score: ScorePlan, size: int, examples: int) -> Tensor:
    """What is of each example, or of each value, or of neither, as of each example with each value: (B K, ...)."""
    if score.over or score.prior is not None:
        return found.repeat(size * examples // len(found), *[1] * (found.ndim - 1))
    return each(found, size)


def bayes_distribution(model: Model, score: ScorePlan, draw: Draw, size: int, rows: Rows) -> Distribution:
    """p(y|..) = p(y) prod_v p(v|.., y) / sum_y p(y) prod_v p(v|.., y), categorical; its logits are the log numerators.

    Args:
        model: the networks, and the constants of priors.
        score: of a factor by Bayes' rule.
        draw: the samples at which the parts are scored.
        size: the number K of values of y.
        rows: gives what the evaluations of its parts have computed.
    """
    like = next(model.parameters())
    total: list[Tensor] = []
    for variable, part in score.parts:
        samples = draw.over(score.rule, size, {variable, *given_of(part)}, like)
        values = {} if part.evaluation is None else rows(part.evaluation)
        given = factor_distribution(model, part, values, samples)
        given = aligned_distribution(given, part, size, draw.batch)
        log_density = function(f"{given.kind}_log")(*given.parameters, samples[variable].to(given.first.dtype))
        total.append(log_density.view(draw.batch, size))
    return Distribution("categorical", torch.stack(total).sum(0))


def with_probabilities(model: Model, plan: Plan, draw_plan: DrawPlan, draw: Draw, rows: Rows) -> Draw:
    """The draw with the probabilities of the values of what it enumerates, where that is needed."""
    factor = draw_plan.enumerated
    assert factor is not None
    (variable,) = factor.variables
    if isinstance(factor.origin, FromBayes):
        size = plan.variable(variable).shape[0]
        logits = bayes_distribution(model, factor.origin.score, draw, size, rows).first
    else:
        logits = draw.logits(factor)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return replace(draw, enumerated=Enumerated(variable, logits))


def in_evaluation(model: Model, plan: Plan, draw_plan: DrawPlan, draw: Draw) -> Draw:
    """The same in eval mode, with the most probable value as the variable's sample."""
    factor = draw_plan.enumerated
    assert factor is not None
    score = factor.origin.score if isinstance(factor.origin, FromBayes) else None
    rows = _rows_in_evaluation(model, plan, draw, score) if score is not None else _no_rows
    found = with_probabilities(model, plan, draw_plan, draw, rows)
    assert found.enumerated is not None
    logits = found.enumerated.logits
    like = next(model.parameters())
    sample = one_hot(logits.argmax(1), logits.shape[1], like.dtype)
    return replace(found, samples={**draw.samples, found.enumerated.variable: sample})


def _no_rows(_: EvaluationPlan) -> Mapping[str, Tensor]:
    return {}


def given_of(score: ScorePlan) -> tuple[str, ...]:
    """The variable whose samples the parameters of a prior are made of."""
    return (score.prior.given,) if score.prior is not None and score.prior.given else ()


def _rows_in_evaluation(model: Model, plan: Plan, draw: Draw, score: ScorePlan) -> Rows:
    """Rows of the parts of a posterior, computed in eval mode at a draw's samples."""
    networks = {network.name: network for network in plan.networks}
    needed = {found.evaluation: found for found in evaluations_of(networks, score.computed)}

    def rows(evaluation: EvaluationPlan) -> Mapping[str, Tensor]:
        found, network, like = needed[evaluation], model.network(evaluation.network), next(model.parameters())
        names = [row.name for row in network.plan.rows if row.name in found.rows]
        batch = draw.batch
        if evaluation.over:
            size = plan.variable(evaluation.over).shape[0]
            beneath = rows(evaluation.beneath) if evaluation.beneath in needed else {}
            values = inputs_over(draw, found, size, like, beneath)
            batch = size * (1 if found.alone else draw.batch)
        else:
            values = {local: draw.samples[v] for local, v in evaluation.bindings if v in draw.samples}
        network.compute(names, values, batch, {}, evaluation.name, Mode.EVAL, found.rows - found.whole)
        return values

    return rows
