"""What a turn's terms are taken at: samples, rows and distributions, each computed once for all that ask."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ammgraph.formulas.expression import Leaf, Scored, Support, Value, Vat
from ammgraph.formulas.functions import FUNCTIONALS
from ammgraph.nn.densities import Distribution, factor_distribution
from ammgraph.nn.enumeration import aligned, aligned_distribution, bayes_distribution, given_of, inputs_over
from ammgraph.nn.functions import function
from ammgraph.nn.losses import Leaves, value
from ammgraph.nn.model import Draw, Model, Tensors
from ammgraph.nn.networks import Mode, raw, without_graph
from ammgraph.plan.draws import EvaluationPlan, ScorePlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import ObjectivePlan, TermPlan, TurnPlan, direction_name

Asked = dict[str, dict[str, Tensor]]  # rows that are computed beyond what drawing needs, by evaluation


@dataclass(frozen=True)
class Now:
    """What every part of a turn looks up."""

    model: Model
    plan: Plan
    turn: TurnPlan
    noise: Tensors
    weights: Mapping[str, float | Tensor]  # of the losses that do not weigh 0
    step: int

    def parameters(self, networks: Sequence[str]) -> list[Tensor]:
        """What these networks learn, one after another."""
        return [parameter for name in networks for parameter in self.model.parameters_of[name]]

    def objectives(self, through: str) -> list[ObjectivePlan]:
        """Those of the turn through passes, or through samples."""
        return [objective for objective in self.turn.objectives if objective.through == through]


def take_terms(
    now: Now, draws: Mapping[str, Draw], asked: Asked, values: dict[str, Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Each term that a turn takes, and its weight; one of weight 0 is not computed."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for term in map(now.plan.term, now.turn.terms):
        loss = now.turn.loss(f"{term.name}/value")
        if loss.name not in now.weights:
            values[loss.name] = next(now.model.parameters()).new_zeros(())
            continue
        leaves: Leaves = {leaf: _leaf(now, term, leaf, draws, asked) for leaf in loss.leaves}
        values[loss.name] = value(loss.value, leaves)
        found[loss.name] = values[loss.name], torch.ones_like(values[loss.name]) * now.weights[loss.name]
    return found


def _leaf(now: Now, term: TermPlan, leaf: Leaf, draws: Mapping[str, Draw], asked: Asked) -> Tensor | Distribution:
    """A sample, a row or a distribution; what it needs of its evaluation is computed once for all terms."""
    draw = draws.get(leaf.draw)
    if isinstance(leaf, Support):
        assert draw is not None
        assert draw.enumerated is not None
        return draw.enumerated.probabilities
    assert isinstance(leaf, Scored | Value | Vat), "a term reads no logits"
    score = term.score(leaf)
    if score is None:
        assert isinstance(leaf, Value), "every factor has a score"
        assert draw is not None
        sample = draw.read({leaf.name, leaf.over} - {""})[leaf.name]
        return sample.detach() if leaf.stopped else sample
    found = _scored(now, leaf, score, draw, asked)
    if isinstance(leaf, Vat):
        assert draw is not None
        assert isinstance(found, Distribution)
        return _moved(now, leaf, score, found.stopped(), draw)
    if leaf.stopped:
        found = found.stopped() if isinstance(found, Distribution) else found.detach()
    if not leaf.over:
        return found
    assert draw is not None
    size = now.plan.variable(leaf.over).shape[0]
    if isinstance(found, Distribution):
        return aligned_distribution(found, score, size, draw.batch)
    return aligned(found, score, size, draw.batch)


def _scored(
    now: Now, leaf: Scored | Value | Vat, score: ScorePlan, draw: Draw | None, asked: Asked
) -> Tensor | Distribution:
    """A row or a distribution, of as many examples as its evaluation has."""
    if score.parts:
        assert draw is not None
        size = now.plan.variable(score.rule).shape[0]
        return bayes_distribution(now.model, score, draw, size, partial(rows_of, now, draw, asked))
    rows = rows_of(now, draw, asked, score.evaluation) if score.evaluation is not None else {}
    if isinstance(leaf, Value):
        return now.model.network(score.network).value_of(score.row, rows)
    samples: Tensors = {} if draw is None else draw.samples
    if score.over and draw is not None:
        samples = draw.read(given_of(score))
    return factor_distribution(now.model, score, rows, samples)


def rows_of(now: Now, draw: Draw | None, asked: Asked, evaluation: EvaluationPlan) -> dict[str, Tensor]:
    """What an evaluation has computed, once for all that ask."""
    if evaluation.name not in asked:
        asked[evaluation.name] = _ask(now, evaluation, draw, asked)
    return asked[evaluation.name]


def _moved(now: Now, leaf: Vat, score: ScorePlan, clean: Distribution, draw: Draw) -> Tensor:
    """How far a factor is from itself where a variable is moved against it, in nats; (B,)."""
    evaluation = score.evaluation
    assert evaluation is not None
    divergence = function(FUNCTIONALS["KL"].torch.format(clean.kind))

    def moved(x: Tensor) -> Tensor:
        samples = {**draw.samples, leaf.variable: x}
        values = {local: samples[variable] for local, variable in evaluation.bindings if variable in samples}
        network = now.model.network(evaluation.network)
        network.compute(score.rows, values, draw.batch, now.noise, evaluation.name, Mode.FROZEN, score.raw)
        return divergence(*clean.parameters, *factor_distribution(now.model, score, values, samples).parameters)

    u = now.noise[direction_name(evaluation.name, leaf.variable)]
    x = draw.samples[leaf.variable].to(u.dtype)
    radius = leaf.radius * (draw.samples[leaf.times].detach() if leaf.times else 1)
    found: Tensor = function(FUNCTIONALS["vat"].torch)(moved, x, u, radius, leaf.xi)
    return found


def _ask(now: Now, evaluation: EvaluationPlan, draw: Draw | None, asked: Asked) -> dict[str, Tensor]:
    """The rows of one evaluation at a draw's samples: those that drawing computed, and those that terms ask for.

    What reads a variable reads the draw's sample; a row of that name is computed all the same where a term asks for it.
    """
    values = {} if draw is None else dict(draw.rows.get(evaluation.name, {}))
    samples = {} if draw is None else draw.samples
    values |= {local: samples[variable] for local, variable in evaluation.bindings if variable in samples}
    batch = 1 if draw is None else draw.batch
    network = now.model.network(evaluation.network)
    for found in now.turn.passes_of("asked"):
        if found.evaluation.name != evaluation.name:
            continue
        if evaluation.over:
            assert draw is not None
            size = now.plan.variable(evaluation.over).shape[0]
            taken = [name for name in (*found.takes, *found.chooses) if name not in values]
            rows = rows_of(now, draw, asked, evaluation.beneath) if taken else {}
            beneath = {name: rows[name] if name in rows else network.value_of(name, rows) for name in taken}
            values = inputs_over(draw, found, size, next(now.model.parameters()), beneath)
            batch = size * (1 if found.alone else draw.batch)
        given = [row for row in found.rows if row in values]
        rest = [row for row in found.rows if row not in given]
        mode, whole = Mode.FROZEN if found.kept else Mode.TRAIN, not any(found.draws)
        with without_graph() if found.stopped else nullcontext():
            network.compute(rest, values, batch, now.noise, evaluation.name, mode, found.raw, whole=whole)
            computed: dict[str, Tensor] = {}
            for row in given:
                own = {name: held for name, held in values.items() if name != row}
                network.compute([row], own, batch, now.noise, evaluation.name, mode, found.raw, whole=whole)
                computed |= {name: own[name] for name in (row, raw(row)) if name in own}
        values |= computed
    return values
