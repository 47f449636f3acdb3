"""Terms that are infinite by the class frequencies of the data: the log of 0 at a category that something gives."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import TypeAlias

from ammgraph.formulas.expression import Functional, Pooled, Scored, Value, parts
from ammgraph.plan.draws import FromBayes, FromData, FromDraw, FromPrior, ScorePlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import TermPlan

Frequencies: TypeAlias = Mapping[str, Sequence[float]]
SCORED = {"log": 0, "KL": 1}  # function -> which of its arguments it takes the log probabilities of


def infinite_terms(plan: Plan, frequencies: Frequencies) -> Iterator[tuple[str, str]]:
    """(term, variable) of each that takes the log of a frequency 0 at a category which may have more.

    Args:
        plan: the compiled spec, of which `compiler.support` has refused what it says by itself.
        frequencies: by variable, those of the classes of the labelled examples, which its `empirical` prior is.
    """
    for term in plan.terms:
        for part in parts(term.value):
            if not isinstance(part, Functional) or part.function not in SCORED:
                continue
            scored, first = part.arguments[SCORED[part.function]], part.arguments[0]
            score = term.score(scored) if isinstance(scored, Scored) else None
            prior = None if score is None else _prior(score)
            if prior is None or not prior.prior.kind.counts_labels:
                continue
            variable = prior.site.name.rpartition("/")[2]
            against = part.arguments[1] if scored is first else first
            own, may = _probabilities(plan, prior, frequencies), _possible(plan, term, against, frequencies)
            if any(likely and not value for likely, value in zip(may, own, strict=False)):
                yield term.name, variable


def _prior(score: ScorePlan) -> FromPrior | None:
    """The prior that decides which categories have a probability: of a posterior, that of its variable."""
    return dict(score.parts)[score.rule].prior if score.rule else score.prior


def _probabilities(plan: Plan, origin: FromPrior, frequencies: Frequencies) -> Sequence[float]:
    variable, probabilities = origin.site.name.rpartition("/")[2], origin.prior.kind.probabilities
    assert probabilities is not None, "of a category"
    return probabilities(origin.prior, plan.variable(variable).shape[0], frequencies.get(variable, ()))


def _possible(
    plan: Plan, term: TermPlan, argument: Scored | Value | Pooled, frequencies: Frequencies
) -> Iterable[float]:
    """Above 0 for the categories that a sample may be, or a distribution may give a probability."""
    if isinstance(argument, Value):
        return _drawn(plan, argument.draw, argument.name, frequencies)
    score = term.score(argument) if isinstance(argument, Scored) else None
    prior = None if score is None else _prior(score)
    return repeat(1.0) if prior is None else _probabilities(plan, prior, frequencies)


def _drawn(plan: Plan, draw: str, variable: str, frequencies: Frequencies) -> Iterable[float]:
    origin = plan.draw(draw).factor_of(variable).origin
    if isinstance(origin, FromDraw):
        return _drawn(plan, origin.draw, origin.variable, frequencies)
    if isinstance(origin, FromData):
        known = frequencies.get(variable, ())
        return known if origin.source.part == "labeled" else [1.0] * len(known)
    prior = origin if isinstance(origin, FromPrior) else _prior(origin.score) if isinstance(origin, FromBayes) else None
    return repeat(1.0) if prior is None else _probabilities(plan, prior, frequencies)
