"""No log is taken where there is none: of a probability 0 that something else gives, of Bernoulli outside of [0, 1]."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ammgraph.compiler.moves import place_of
from ammgraph.compiler.resolved import Declared, Resolved
from ammgraph.compiler.terms import Use, blanket_factors, factor_of, kind_of
from ammgraph.diagnostics import Diagnostic, Note, Span
from ammgraph.plan.finite import SCORED
from ammgraph.plan.networks import VariablePlan
from ammgraph.spec.notation import number_text
from ammgraph.spec.priors import Prior, Probabilities
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
    """The factor that decides what a variable may be: a posterior's prior, that from which a sample is taken."""
    source, (variable,) = factor.source, factor.factor.variables
    if isinstance(source, BayesRule):
        return _deciding(resolved, _factor(resolved, source.distribution, variable))
    reference = factor.reference
    if reference is not None and reference.owner in resolved.declared:
        return _deciding(resolved, _factor(resolved, reference.owner, reference.name))
    return factor


def _factor(resolved: Resolved, draw: str, variable: str) -> Declared:
    """What draws a variable, as of that variable alone."""
    found = next(factor for factor in resolved.declared[draw] if variable in factor.factor.variables)
    return replace(found, factor=replace(found.factor, variables=(variable,)))


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


def check_posteriors(resolved: Resolved) -> Iterator[Diagnostic]:
    """So it is where a distribution has a posterior of its own, whether or not a term names it."""
    for draw, factors in resolved.written.items():
        drawn = {name for factor in factors for name in factor.factor.variables}
        for factor in factors:
            if isinstance(factor.source, BayesRule):
                span = resolved.spec.source.value(*factor.path, "bayes")
                for found in blanket_factors(resolved, factor.source.distribution, *factor.factor.variables):
                    if drawn.issuperset(found.factor.variables):
                        yield from _lies_in_unit(resolved, found, draw, span)


def is_within(resolved: Resolved, function: Of, uses: Sequence[Use]) -> Iterator[Diagnostic]:
    """What a Bernoulli density is taken of lies in [0, 1]: elsewhere it is none, and its log is not bounded."""
    for use in uses:
        factor = factor_of(resolved, use.of) if isinstance(use.of, FactorUse) else None
        if factor is None or not use.draw:
            continue
        if isinstance(factor.source, BayesRule) and use.draw == factor.draw:
            continue  # `check_posteriors` tells it
        if isinstance(factor.source, BayesRule):
            (variable,) = factor.factor.variables
            scored = blanket_factors(resolved, factor.source.distribution, variable)
        else:
            scored = [factor] if function.function == "log" else []
        for found in scored:
            yield from _lies_in_unit(resolved, found, use.draw, place_of(resolved, use.term, use.of))


def _lies_in_unit(resolved: Resolved, scored: Declared, draw: str, span: Span) -> Iterator[Diagnostic]:
    if kind_of(resolved, scored) != "bernoulli":
        return
    (variable,) = scored.factor.variables
    found = _outside(resolved, _deciding(resolved, _factor(resolved, draw, variable)))
    if found:
        place, mended = found
        yield Diagnostic(
            "impossible-term",
            f"`{scored.factor}` is Bernoulli, of numbers in [0, 1], and `{variable}` of `{draw}` has others",
            span,
            found=place,
            expected=f"{mended}, or a normal row, `a + expn(b)`, as `{scored.source}`",
            notes=(Note(f"`{scored.factor}` stands here", resolved.spec.source.key(*scored.path)),),
        )


def _outside(resolved: Resolved, drawn: Declared) -> tuple[str, str] | None:
    """By what a factor is known to draw numbers outside of [0, 1], and what would draw none."""
    source, variable = drawn.source, resolved.variables[drawn.factor.variables[0]]
    if isinstance(source, DataSource):
        return _data_outside(resolved, source, variable)
    if isinstance(source, Prior):
        assert source.place is not None, "a category is not Bernoulli"
        low, width = source.lowest, source.place[1]
        return None if low >= 0 and low + width <= 1 else (f"`{drawn.factor}: {source}`", "`uniform(0, 1)`")
    reference = drawn.reference
    if reference is None:
        return None
    if kind_of(resolved, drawn) == "normal":
        return f"`{reference}` is normal", "a row with `sigmoid`"
    activation = resolved.networks[reference.owner].row(reference.name).activation
    bounds = "" if activation is None else activation.kind.range
    if isinstance(bounds, tuple) and (bounds[0] < 0 or bounds[1] > 1):
        return f"`{reference}` ends in `{activation}`", "a row with `sigmoid`"
    return None


def _data_outside(resolved: Resolved, source: DataSource, variable: VariablePlan) -> tuple[str, str] | None:
    if variable.vector:
        path = ".".join(resolved.spec.data_path(source.of))
        standard = resolved.spec.data_sets[source.of].scale == "standardize"
        return (f"`scale: standardize` of `{path}`", f"`scale: minmax` of `{path}`") if standard else None
    low, high = variable.range or (0.0, 1.0)
    if low >= 0 and high <= 1:
        return None
    name = variable.name
    return f"`range: [{number_text(low)}, {number_text(high)}]` of `{name}`", f"`range: [0, 1]` of `{name}`"
