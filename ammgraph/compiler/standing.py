"""What stands for a variable, in a call, in a term, as a sample that is taken: one of its type, rather of its range."""

from collections.abc import Iterator
from dataclasses import dataclass

from ammgraph.compiler.moves import place_of
from ammgraph.compiler.resolved import Resolved
from ammgraph.compiler.terms import Use, uses_of
from ammgraph.diagnostics import Diagnostic, Span
from ammgraph.plan.networks import VariablePlan
from ammgraph.spec.notation import number_text
from ammgraph.spec.terms import FactorUse


@dataclass(frozen=True)
class _Standing:
    """A variable in the place of another."""

    variable: str
    name: str  # what it stands for: a variable, or a name inside a network
    own: str  # the variable that this is elsewhere
    span: Span
    code: str  # of an error


def check_types(resolved: Resolved) -> Iterator[Diagnostic]:
    """No category is read as a real vector or an image, and none of these as another, though the shapes agree."""
    for found, variable, own in _standings(resolved):
        if variable.shape == own.shape and variable.kind != own.kind:
            yield Diagnostic(
                found.code,
                f"`{found.variable}` cannot stand for `{found.name}`",
                found.span,
                found=f"`{found.variable}` of type {variable.kind}",
                expected=f"type {own.kind}{'' if found.own == found.name else f', as of `{found.own}`'}",
            )


def warn_of_ranges(resolved: Resolved) -> Iterator[Diagnostic]:
    """Images that are read as others of another range: what is white in one is grey in the other."""
    for found, variable, own in _standings(resolved):
        if variable.range is not None and own.range is not None and variable.range != own.range:
            yield Diagnostic(
                "support-mismatch",
                f"`{found.variable}` stands for `{found.name}` and has another range",
                found.span,
                found=f"[{', '.join(map(number_text, variable.range))}]",
                expected=f"[{', '.join(map(number_text, own.range))}]",
                hint="samples are taken as they are: only data is scaled to a variable's range",
            )


def _standings(resolved: Resolved) -> Iterator[tuple[_Standing, VariablePlan, VariablePlan]]:
    """Each with its two variables; what is not there is told elsewhere."""
    uses = (use for term in resolved.spec.terms for use in uses_of(resolved, term))
    every = [*_samples(resolved), *_calls(resolved), *(found for use in uses for found in _in_term(resolved, use))]
    for found in dict.fromkeys(every):
        variable, own = resolved.variables.get(found.variable), resolved.variables.get(found.own)
        if variable is not None and own is not None:
            yield found, variable, own


def _samples(resolved: Resolved) -> Iterator[_Standing]:
    for factor in (factor for factors in resolved.declared.values() for factor in factors):
        if factor.reference is not None and factor.reference.owner in resolved.declared:
            (own,), span = factor.factor.variables, resolved.spec.source.value(*factor.path)
            yield _Standing(factor.reference.name, own, own, span, "wrong-origin")


def _calls(resolved: Resolved) -> Iterator[_Standing]:
    for call in resolved.calls:
        span, bound = resolved.spec.source.value(*call.path), dict(call.reference.bindings)
        for local, variable in call.reads.items():
            if local in bound or local in call.table.free:
                own = resolved.elsewhere(call.table.network, local)
                yield _Standing(variable, local, own, span, "bad-binding")


def _in_term(resolved: Resolved, use: Use) -> Iterator[_Standing]:
    span = place_of(resolved, use.term, use.of)
    if isinstance(use.of, FactorUse):
        yield from (_Standing(other, own, own, span, "bad-binding") for own, other in use.of.given)
    elif not isinstance(use.of.name, str) and use.of.name.owner in resolved.tables:
        owner = use.of.name.owner
        for local, variable in use.of.name.bindings:
            yield _Standing(variable, local, resolved.elsewhere(owner, local), span, "bad-binding")
