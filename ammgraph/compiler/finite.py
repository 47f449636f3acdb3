"""No term takes the log of a probability 0 at a category that something else may give."""

from collections.abc import Iterator, Sequence

from ammgraph.compiler.moves import place_of
from ammgraph.compiler.resolved import Declared, Resolved
from ammgraph.compiler.terms import Use, factor_of
from ammgraph.diagnostics import Diagnostic, Note
from ammgraph.plan.finite import SCORED
from ammgraph.spec.priors import Probabilities
from ammgraph.spec.sources import BayesRule, DataSource
from ammgraph.spec.terms import FactorUse, Of


def is_finite(resolved: Resolved, function: Of, uses: Sequence[Use]) -> Iterator[Diagnostic]:
    """No log density, and no divergence, from a distribution that gives 0 to a category which may have more.

    What only the data can tell, the labels of examples and how often each is there, is told before a run's first step.
    """
    if function.function not in SCORED:
        return
    use = uses[SCORED[function.function]]
    scored = factor_of(resolved, use.of) if isinstance(use.of, FactorUse) else None
    if scored is None or use.pooled or not isinstance((deciding := _deciding(resolved, scored)).source, Probabilities):
        return
    may = _drawn(resolved, use) if use is uses[0] else _given(resolved, uses[0])
    if any(likely and not value for likely, value in zip(may, deciding.source.values, strict=False)):
        yield Diagnostic(
            "impossible-term",
            f"`{function}` is infinite: `{deciding.factor}` gives a category probability 0",
            place_of(resolved, use.term, use.of),
            found=f"`{deciding.factor}: {deciding.source}`",
            expected="probabilities above 0",
            notes=(Note(f"`{deciding.factor}` stands here", resolved.spec.source.key(*deciding.path)),),
        )


def _deciding(resolved: Resolved, factor: Declared) -> Declared:
    """The factor that decides which categories have a probability: a posterior's prior, what a sample is taken from."""
    source, (variable, *_) = factor.source, factor.factor.variables
    if isinstance(source, BayesRule):
        return _deciding(resolved, _factor(resolved, source.distribution, variable))
    reference = factor.reference
    if reference is not None and reference.owner in resolved.declared:
        return _deciding(resolved, _factor(resolved, reference.owner, reference.name))
    return factor


def _factor(resolved: Resolved, draw: str, variable: str) -> Declared:
    return next(factor for factor in resolved.declared[draw] if variable in factor.factor.variables)


def _drawn(resolved: Resolved, use: Use) -> tuple[bool, ...]:
    """Which categories the sample that a factor scores may be."""
    assert isinstance(use.of, FactorUse)
    (variable,) = use.of.variables
    return _possible(resolved, _factor(resolved, use.draw, variable))


def _given(resolved: Resolved, use: Use) -> tuple[bool, ...]:
    """To which categories a distribution may give a probability; a mean of a batch gives each at least a little."""
    assert isinstance(use.of, FactorUse)
    factor = factor_of(resolved, use.of)
    assert factor is not None, "checked before"
    if use.pooled:
        return (True,) * resolved.variables[factor.factor.variables[0]].shape[0]
    return _possible(resolved, factor)


def _possible(resolved: Resolved, factor: Declared) -> tuple[bool, ...]:
    deciding = _deciding(resolved, factor)
    if isinstance(deciding.source, Probabilities):
        return tuple(value > 0 for value in deciding.source.values)
    size = resolved.variables[factor.factor.variables[0]].shape[0]
    return (not isinstance(deciding.source, DataSource),) * size
