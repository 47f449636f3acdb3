"""Distributions: is each one a factorization, and in which order it is sampled.

A distribution's factors form a directed acyclic graph over the variables.
"""

import re
from collections.abc import Iterator, Sequence

import networkx as nx

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
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(factors)))
    graph.add_edges_from(
        (producer[name], index)
        for index, declared in enumerate(factors)
        for name in declared.factor.given
        if name in producer
    )
    return tuple(factors[index] for index in nx.lexicographical_topological_sort(graph))


def draw_order(resolved: Resolved) -> tuple[str, ...]:
    """The distributions in an order in which one may take another's samples."""
    position = {name: index for index, name in enumerate(resolved.declared)}
    return tuple(nx.lexicographical_topological_sort(_takers(resolved), key=position.__getitem__))


def check_draws(resolved: Resolved) -> Iterator[Diagnostic]:
    """Distributions do not take each other's samples in a circle."""
    graph = _takers(resolved)
    if nx.is_directed_acyclic_graph(graph):
        return
    cycle = [edge[0] for edge in nx.find_cycle(graph)]
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


def _takers(resolved: Resolved) -> nx.DiGraph:
    """Distribution -> those that take its samples."""
    graph = nx.DiGraph()
    graph.add_nodes_from(resolved.declared)
    references = ((f.draw, f.reference) for factors in resolved.declared.values() for f in factors)
    graph.add_edges_from(
        (found.owner, draw) for draw, found in references if found and found.owner in resolved.declared
    )
    return graph


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
    graph = nx.DiGraph()
    for factor in factors:
        graph.add_edges_from(
            (given, name) for given in factor.factor.given for name in factor.factor.variables if given in producer
        )
    try:
        cycle = [edge[0] for edge in nx.find_cycle(graph)]
    except nx.NetworkXNoCycle:
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
