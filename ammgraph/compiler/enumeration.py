"""Enumerated variables: what weighs their values is there and has probabilities, and nothing asks for a sample."""

from collections.abc import Iterator

from ammgraph.compiler.resolved import Declared, Resolved
from ammgraph.compiler.terms import blanket_factors, kind_of, sharing_noise
from ammgraph.diagnostics import Diagnostic, Note
from ammgraph.formulas.functions import FUNCTIONALS
from ammgraph.layers.activations import CATEGORICAL_ACTIVATIONS
from ammgraph.spec.notation import Factor, head_and_rest
from ammgraph.spec.sources import BayesRule, Enumeration

_CODE = "impossible-enumeration"


def check_enumerations(resolved: Resolved) -> Iterator[Diagnostic]:
    """An enumerated variable is a category, the last and the only one of its distribution, and has probabilities."""
    for name, factors in resolved.written.items():
        found = [factor for factor in factors if factor.enumerated]
        for factor in found:
            problems = [*_is_last(resolved, factor), *_is_the_only_one(resolved, factor, found[0])]
            problems += _has_values(resolved, factor) or list(_has_probabilities(resolved, factor))
            yield from problems
        if found:
            yield from _nothing_takes_it(resolved, name, found[0])


def _is_last(resolved: Resolved, factor: Declared) -> Iterator[Diagnostic]:
    (variable,) = factor.factor.variables
    for other in resolved.declared[factor.draw]:
        if variable in other.factor.given:
            yield Diagnostic(
                _CODE,
                f"`{other.factor}` reads `{variable}`, which is enumerated, not sampled",
                resolved.spec.source.key(*other.path),
                expected="an enumerated variable that no other factor of its distribution reads",
                notes=(Note(f"`{variable}` is enumerated here", resolved.spec.source.key(*factor.path)),),
            )


def _is_the_only_one(resolved: Resolved, factor: Declared, first: Declared) -> Iterator[Diagnostic]:
    if factor is not first:
        variables = [found.factor.variables[0] for found in (first, factor)]
        yield Diagnostic(
            _CODE,
            f"`{factor.draw}` enumerates two variables, `{variables[0]}` and `{variables[1]}`",
            resolved.spec.source.key(*factor.path),
            expected="one in a distribution",
            notes=(Note(f"`{variables[0]}` is enumerated here", resolved.spec.source.key(*first.path)),),
        )


def _has_values(resolved: Resolved, factor: Declared) -> list[Diagnostic]:
    (name,) = factor.factor.variables
    variable = resolved.variables[name]
    if variable.kind == "categorical":
        return []
    message = f"`{name}` is {'an image' if variable.kind == 'image' else 'real'}: its values cannot be enumerated"
    return [Diagnostic(_CODE, message, resolved.spec.source.key(*factor.path), expected="a categorical variable")]


def _has_probabilities(resolved: Resolved, factor: Declared) -> Iterator[Diagnostic]:
    source = factor.source
    if isinstance(source, Enumeration) and kind_of(resolved, factor) != "categorical":
        yield Diagnostic(
            _CODE,
            f"`{source.row}` has no probabilities",
            resolved.spec.source.value(*factor.path, "enumerate"),
            expected="a row that ends in one of " + ", ".join(f"`{name}`" for name in CATEGORICAL_ACTIVATIONS),
        )
    elif isinstance(source, BayesRule):
        yield from _has_posterior(resolved, factor, source.distribution)


def _has_posterior(resolved: Resolved, factor: Declared, draw: str) -> Iterator[Diagnostic]:
    """The distribution has densities of y and of all that depends on y, and the conditions are what these read."""
    (variable,) = factor.factor.variables
    span = resolved.spec.source.value(*factor.path, "bayes")
    place = Note(f"`{draw}` stands here", resolved.spec.source.key("distributions", draw))
    parts = blanket_factors(resolved, draw, variable)
    own = next((found for found in parts if variable in found.factor.variables), None)
    if own is None:
        head, _ = head_and_rest(draw)
        message, expected = f"`{draw}` has no factor for `{variable}`", f"a factor `{head}({variable})`"
        yield Diagnostic("missing-factor", message, span, expected=expected, notes=(place,))
        return
    if isinstance(own.source, BayesRule):
        message = f"`{own.factor}` is itself a posterior, by Bayes' rule in `{own.source.distribution}`"
        yield Diagnostic(_CODE, message, span, expected="a distribution that draws it", notes=(place,))
        return
    for part in parts:
        kind = kind_of(resolved, part)
        shared = sharing_noise(resolved, part)
        if len(part.factor.variables) > 1 or kind not in FUNCTIONALS["log"].kinds or shared is not None:
            yield Diagnostic(
                "no-density",
                f"Bayes' rule needs the density of `{part.factor}`, which has none",
                span,
                found=f"`{part.factor}: {part.source}`"
                if shared is None
                else f"noise `{shared[0]}` of `{shared[1].factor}`",
                expected="normal, categorical and Bernoulli factors: `a + expn(b)`, `softmax`, `sigmoid`, priors",
                notes=(Note(f"`{part.factor}` stands here", resolved.spec.source.key(*part.path)),),
            )
    yield from _conditions_are_read(resolved, factor, parts)


def _conditions_are_read(resolved: Resolved, factor: Declared, parts: list[Declared]) -> Iterator[Diagnostic]:
    """The conditions are y's Markov blanket: its parents, its children and their other parents."""
    (variable,) = factor.factor.variables
    reads = {name for part in parts for name in (*part.factor.variables, *part.factor.given)} - {variable}
    written = set(factor.factor.given)
    if reads == written:
        return
    order = {name: index for index, name in enumerate(resolved.variables)}
    missing, unread = (", ".join(f"`{name}`" for name in sorted(names)) for names in (reads - written, written - reads))
    told = [*([f"never reads {unread}"] if unread else []), *([f"also reads {missing}"] if missing else [])]
    yield Diagnostic(
        "condition-mismatch",
        f"`{factor.factor}`: Bayes' rule {' and '.join(told)}",
        resolved.spec.source.key(*factor.path),
        found=", ".join(f"`{part.factor}`" for part in parts),
        expected="as conditions all other variables of these factors",
        hint=f"write `{Factor(factor.factor.head, factor.factor.variables, tuple(reads)).canonical(order)}`",
    )


def _nothing_takes_it(resolved: Resolved, draw: str, factor: Declared) -> Iterator[Diagnostic]:
    (variable,) = factor.factor.variables
    again = {name for name, found in resolved.declared.items() if found[0].path == resolved.declared[draw][0].path}
    for other in (found for factors in resolved.written.values() for found in factors):
        source = other.reference
        if source is not None and source.owner in again and source.name == variable:
            yield Diagnostic(
                _CODE,
                f"`{other.factor}` takes `{variable}` of `{source.owner}`, which is enumerated, not sampled",
                resolved.spec.source.value(*other.path),
                expected=f"a distribution that samples `{variable}`",
                notes=(Note(f"`{variable}` is enumerated here", resolved.spec.source.key(*factor.path)),),
            )
