"""What `vat` moves: a condition that has a neighbourhood, by a length; and where a part of a term stands."""

from collections.abc import Iterator
from typing import TypeAlias

from ammgraph.compiler.resolved import Resolved
from ammgraph.compiler.terms import Use
from ammgraph.diagnostics import Diagnostic, Note, Span, did_you_mean
from ammgraph.plan.networks import shape_text
from ammgraph.spec.priors import Prior
from ammgraph.spec.terms import Expected, FactorUse, Move, Of, ValueUse

Part: TypeAlias = FactorUse | ValueUse | Of | Expected | Move


def place_of(resolved: Resolved, term: str, part: Part) -> Span:
    """Where a part of a term's text stands."""
    return resolved.spec.source.within("terms", term, "minimize", start=part.start, end=part.end)


def is_moved(resolved: Resolved, use: Use, move: Move) -> Iterator[Diagnostic]:
    """The factor reads the variable that is moved, and how far is a number of each example."""
    assert isinstance(use.of, FactorUse)
    span, conditions = place_of(resolved, use.term, move), [other for _, other in use.of.given]
    for name in dict.fromkeys((move.variable, *([move.times] if move.times else []))):
        if name not in resolved.variables:
            hint = did_you_mean(name, resolved.variables)
            yield Diagnostic("unknown-variable", f"`{name}` is not a variable", span, hint=hint)
            return
    if move.variable not in conditions:
        valid = ("one of " if len(conditions) > 1 else "") + ", ".join(f"`{name}`" for name in conditions)
        yield Diagnostic(
            "impossible-term",
            f"`{use.of}` does not read `{move.variable}`, which shall be moved",
            span,
            expected=valid or "a factor with a condition, and that condition",
        )
    if resolved.variables[move.variable].kind == "categorical":
        yield Diagnostic(
            "impossible-term",
            f"`{move.variable}` is a category, and cannot be moved: nothing is a little way from a one-hot vector",
            span,
            expected="an image, or a real variable",
        )
    if move.times:
        yield from _is_length(resolved, use, move, span)
    if move.times and resolved.variables[move.times].shape != (1, 1, 1):
        message = f"`{move.times}` is no number of each example"
        found = shape_text(resolved.variables[move.times].shape)
        yield Diagnostic("shape-mismatch", message, span, found=found, expected="1x1x1")


def _is_length(resolved: Resolved, use: Use, move: Move, span: Span) -> Iterator[Diagnostic]:
    """What says how far a variable is moved is not below 0, as far as a prior tells."""
    drawn = [f for f in resolved.declared.get(use.draw, ()) if move.times in f.factor.variables]
    for factor in drawn:
        low = factor.source.lowest if isinstance(factor.source, Prior) else 0.0
        if low < 0:
            yield Diagnostic(
                "impossible-term",
                f"`{move.times}` may be negative, and says how far `{move.variable}` is moved",
                span,
                found=f"`{factor.factor}: {factor.source}`",
                expected="a variable that is 0 or more, as of `uniform(0, 1)`",
                notes=(Note(f"`{factor.factor}` stands here", resolved.spec.source.key(*factor.path)),),
            )
