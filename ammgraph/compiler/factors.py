"""Distributions: is each one a factorization, and in which order it is sampled.

A distribution's factors form a directed acyclic graph over the variables.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ammgraph.compiler.order import in_order
from ammgraph.diagnostics import Diagnostic, Note, Span, did_you_mean
from ammgraph.plan.plan import VariablePlan
from ammgraph.spec.notation import Factor, Reference, parse_factor
from ammgraph.spec.schema import (
    ImageVariable,
    Source,
    Spec,
)

Variables = Mapping[str, VariablePlan]


@dataclass(frozen=True)
class Declared:
    """A factor as a distribution declares it; an alias shares its target's factors, places included."""

    draw: str
    factor: Factor
    source: Source
    path: tuple[str, ...]

    @property
    def network(self) -> Reference | None:
        """The row that draws the factor, if one does."""
        return self.source if isinstance(self.source, Reference) else None


def plan_variables(spec: Spec) -> dict[str, VariablePlan]:
    """The declared variables with their shapes; vectors are (size, 1, 1)."""
    plans = {}
    for name, variable in spec.variables.items():
        if isinstance(variable, ImageVariable):
            plans[name] = VariablePlan(name, "image", variable.shape, variable.range)
        else:
            plans[name] = VariablePlan(name, variable.type, (variable.size, 1, 1))
    return plans


def declared_factors(spec: Spec) -> dict[str, tuple[Declared, ...]]:
    """Every distribution's factors in the order of the spec."""
    declared = {}
    for name, value in spec.distributions.items():
        target = value if isinstance(value, str) else name
        factors = spec.distributions[target]
        assert not isinstance(factors, str), "an alias of an alias is refused while loading"
        declared[name] = tuple(
            Declared(name, parse_factor(text), source, ("distributions", target, text))
            for text, source in factors.items()
        )
    return declared


def check_factors(spec: Spec, variables: Variables, declared: Mapping[str, Sequence[Declared]]) -> Iterator[Diagnostic]:
    """Each distribution is a factorization of declared variables."""
    for name, factors in declared.items():
        if isinstance(spec.distributions[name], str):
            continue  # what is wrong with another draw is wrong with the distribution itself
        yield from _variables_exist(spec, variables, factors)
        yield from _variables_are_produced_once(spec, factors)
        yield from _factors_are_acyclic(spec, factors)


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


def order_draws(spec: Spec, declared: Mapping[str, Sequence[Declared]]) -> tuple[tuple[str, ...], list[Diagnostic]]:
    """The distributions in an order in which one may take another's samples."""
    taken = [
        (factor.source.owner, factor)
        for factors in declared.values()
        for factor in factors
        if isinstance(factor.source, Reference) and factor.source.owner in declared
    ]
    order, cycle = in_order(tuple(declared), ((owner, factor.draw) for owner, factor in taken))
    if cycle:
        first = next(factor for owner, factor in taken if factor.draw in cycle and owner in cycle)
        problem = Diagnostic(
            "factor-cycle",
            "distributions take each other's samples in a circle",
            spec.source.value(*first.path),
            found=" -> ".join(f"`{name}`" for name in [*cycle, cycle[0]]),
            expected="an order in which every distribution is drawn before its samples are taken",
        )
        return tuple(declared), [problem]
    return order, []


def batch_size_of(spec: Spec, draw: str) -> int:
    """The number of examples of one draw of a distribution."""
    sizes = spec.training.batch_size
    return sizes if isinstance(sizes, int) else sizes.get(draw, sizes.get("default", 0))


def _variables_exist(spec: Spec, variables: Variables, factors: Sequence[Declared]) -> Iterator[Diagnostic]:
    for factor in factors:
        for name in dict.fromkeys(factor.factor.variables + factor.factor.given):
            if name not in variables:
                yield Diagnostic(
                    "unknown-variable",
                    f"`{factor.factor}` names `{name}`, which is not a variable",
                    _name_in_key(spec, factor, name),
                    hint=did_you_mean(name, variables),
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
