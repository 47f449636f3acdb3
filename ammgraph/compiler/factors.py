"""Distributions: is each one a factorization, and in which order it is sampled.

A distribution's factors form a directed acyclic graph over the variables.
"""

import re
from collections.abc import Iterator, Sequence

from ammgraph.compiler.order import in_order
from ammgraph.compiler.resolved import Declared, Resolved
from ammgraph.diagnostics import Diagnostic, Note, Span, did_you_mean
from ammgraph.spec.schema import Spec


def check_factors(resolved: Resolved) -> Iterator[Diagnostic]:
    """Each distribution is a factorization of declared variables."""
    for factors in resolved.written.values():
        yield from _variables_exist(resolved, factors)
        yield from _variables_are_produced_once(resolved.spec, factors)
        yield from _factors_are_acyclic(resolved.spec, factors)


def sampling_order(factors: Sequence[Declared]) -> tuple[Declared, ...]:
    """The factors in the order of sampling: topological, ties by position in the spec."""
    producer = {name: index for index, declared in enumerate(factors) for name in declared.factor.variables}
    edges = (
        (producer[name], index)
        for index, declared in enumerate(factors)
        for name in declared.factor.given
        if name in producer
    )
    order, _ = in_order(range(len(factors)), edges)
    return tuple(factors[index] for index in order)


def draw_order(resolved: Resolved) -> tuple[str, ...]:
    """The distributions in an order in which one may take another's samples."""
    return _draws_in_order(resolved)[0]


def check_draws(resolved: Resolved) -> Iterator[Diagnostic]:
    """Distributions do not take each other's samples in a circle."""
    _, cycle = _draws_in_order(resolved)
    if not cycle:
        return
    first = next(
        factor
        for name, factors in resolved.declared.items()
        for factor in factors
        if name in cycle and factor.reference is not None and factor.reference.owner in cycle
    )
    yield Diagnostic(
        "factor-cycle",
        "distributions take each other's samples in a circle",
        resolved.spec.source.value(*first.path),
        found=" -> ".join(f"`{name}`" for name in [*cycle, cycle[0]]),
        expected="an order in which every distribution is drawn before its samples are taken",
    )


def _draws_in_order(resolved: Resolved) -> tuple[tuple[str, ...], list[str]]:
    """The distributions, each after those whose samples it takes; or a circle of them."""
    found = ((factor.draw, factor.reference) for factors in resolved.declared.values() for factor in factors)
    taken = ((source.owner, draw) for draw, source in found if source is not None and source.owner in resolved.declared)
    return in_order(tuple(resolved.declared), taken)


def _variables_exist(resolved: Resolved, factors: Sequence[Declared]) -> Iterator[Diagnostic]:
    for factor in factors:
        for name in dict.fromkeys(factor.factor.variables + factor.factor.given):
            if name not in resolved.variables:
                yield Diagnostic(
                    "unknown-variable",
                    f"`{factor.factor}` names `{name}`, which is not a variable",
                    _name_in_key(resolved.spec, factor, name),
                    hint=did_you_mean(name, resolved.variables),
                )


def _name_in_key(spec: Spec, factor: Declared, name: str) -> Span:
    """The place of a variable's name in a factor as it is written."""
    span = spec.source.key(*factor.path)
    written = spec.source.texts[span.file].split("\n")[span.line - 1][span.column - 1 : span.end_column - 1]
    opening = written.find("(")
    found = re.search(rf"\b{name}\b", written[opening:])
    if found is None:
        return span
    start = span.column + opening + found.start()
    return Span(span.file, span.line, start, start + len(name))


def _variables_are_produced_once(spec: Spec, factors: Sequence[Declared]) -> Iterator[Diagnostic]:
    first: dict[str, Declared] = {}
    for factor in factors:
        for name in factor.factor.variables:
            if name in first:
                yield Diagnostic(
                    "variable-drawn-twice",
                    f"`{name}` is drawn twice in `{factor.draw}`",
                    spec.source.key(*factor.path),
                    found=f"`{first[name].factor}` and `{factor.factor}`",
                    expected="one factor for each variable",
                    notes=(Note("drawn first here", spec.source.key(*first[name].path)),),
                )
            first.setdefault(name, factor)


def _factors_are_acyclic(spec: Spec, factors: Sequence[Declared]) -> Iterator[Diagnostic]:
    producer = {name: factor for factor in factors for name in factor.factor.variables}
    edges = (
        (given, name)
        for factor in factors
        for given in factor.factor.given
        for name in factor.factor.variables
        if given in producer
    )
    _, cycle = in_order(tuple(producer), edges)
    if not cycle:
        return
    first = min((producer[name] for name in cycle), key=lambda factor: spec.source.key(*factor.path))
    start = next(index for index, name in enumerate(cycle) if producer[name] is first)
    texts = dict.fromkeys(str(producer[name].factor) for name in cycle[start:] + cycle[:start])
    yield Diagnostic(
        "factor-cycle",
        f"the factors of `{first.draw}` depend on each other in a circle",
        spec.source.key(*first.path),
        found=", ".join(f"`{text}`" for text in texts),
        expected="an order in which every condition is drawn before it is needed",
    )
