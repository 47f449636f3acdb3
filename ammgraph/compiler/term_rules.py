"""Rules about terms: what is named is there, can be scored, and is taken at what is drawn; and warnings."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

from ammgraph.compiler.games import needed_variables
from ammgraph.compiler.moves import is_moved, place_of
from ammgraph.compiler.resolved import Declared, Resolved
from ammgraph.compiler.support import is_finite, is_within
from ammgraph.compiler.terms import (
    Use,
    factor_of,
    is_conditional,
    kind_of,
    learns_from,
    plan_score,
    reads_enumerated,
    shape_of,
    sharing_noise,
    uses_of,
    wanted_by,
)
from ammgraph.diagnostics import Diagnostic, Note, Span, counted, did_you_mean
from ammgraph.formulas.functions import FUNCTIONALS
from ammgraph.layers.operations import Shape
from ammgraph.plan.draws import FromBayes, FromDraw, FromNetwork
from ammgraph.plan.networks import shape_text
from ammgraph.plan.plan import Plan
from ammgraph.spec.notation import Factor, Reference
from ammgraph.spec.sources import BayesRule
from ammgraph.spec.terms import Expected, FactorUse, Of, Term, ValueUse

_NAMES = {"bernoulli": "Bernoulli"}


def check_objectives(resolved: Resolved) -> Iterator[Diagnostic]:
    """Something is minimised."""
    if not resolved.spec.games and not resolved.spec.terms:
        written = [section for section in ("games", "terms", "networks") if section in resolved.spec.written]
        yield Diagnostic(
            "no-objective",
            "there are neither games nor terms: nothing is minimised",
            resolved.spec.source.key(written[0]),
            expected="a section `games` or `terms`",
            hint='as `terms: {likelihood: {minimize: "-E[q] log p(x|z)"}}`',
        )


def check_terms(resolved: Resolved) -> Iterator[Diagnostic]:
    """Every factor and value of a term is there, has what its function asks for, and is taken at what is drawn."""
    for term in resolved.spec.terms:
        problems = [problem for _, _, uses in items_of(resolved, term) for problem in _uses_fit(resolved, uses)]
        yield from problems
        if not problems:
            yield from _pairs_fit(resolved, term)


def _uses_fit(resolved: Resolved, uses: Sequence[Use]) -> Iterator[Diagnostic]:
    """What one function takes; where an `E[...]` is missing around it, what it asks for is not known."""
    problems = [problem for use in uses for problem in _use_fits(resolved, use)]
    missing = [problem for problem in problems if problem.code == "needs-expectation"]
    yield from missing[:1] or problems


def _use_fits(resolved: Resolved, use: Use) -> Iterator[Diagnostic]:
    span, declared = place_of(resolved, use.term, use.of), resolved.declared
    at = span if use.expected is None else place_of(resolved, use.term, use.expected)
    if use.draw and use.draw not in declared:
        hint = did_you_mean(use.draw, declared)
        yield Diagnostic("unknown-distribution", f"`{use.draw}` is not a distribution", at, hint=hint)
        return
    if use.draw and is_conditional(resolved, use.draw):
        yield _is_only_scored(resolved, use.draw, at)
        return
    problems = list(
        _factor_fits(resolved, use, use.of, span)
        if isinstance(use.of, FactorUse)
        else _value_fits(resolved, use, use.of, span)
    )
    yield from problems
    if not problems and use.move is not None:
        problems = list(is_moved(resolved, use, use.move))
        yield from problems
    if not problems and use.draw:
        yield from _is_drawn(resolved, use, span)
        yield from _can_be_weighed(resolved, use, span)


def _is_only_scored(resolved: Resolved, draw: str, span: Span) -> Diagnostic:
    factors = resolved.declared[draw]
    produced = {name for factor in factors for name in factor.factor.variables}
    missing = next(name for factor in factors for name in factor.factor.given if name not in produced)
    return Diagnostic(
        "impossible-term",
        f"`{draw}` cannot be drawn: it has no factor for `{missing}`",
        span,
        expected=f"a distribution that draws `{missing}`; its samples, scored by a factor of `{draw}`",
        notes=(Note(f"`{draw}` stands here", resolved.spec.source.key("distributions", draw)),),
    )


def _factor_fits(resolved: Resolved, use: Use, of: FactorUse, span: Span) -> Iterator[Diagnostic]:
    if of.draw not in resolved.declared:
        factors = [f for found in resolved.declared.values() for f in found if f.factor.variables == of.variables]
        drawn = [f.factor for f in factors if f.reference is not None and f.reference.owner == of.draw]
        hint = f"that network draws `{drawn[0]}`" if drawn else did_you_mean(of.draw, resolved.declared)
        yield Diagnostic("unknown-distribution", f"`{of.draw}` is not a distribution", span, hint=hint)
        return
    factor = factor_of(resolved, of)
    if factor is None:
        known = {found.factor.variables: str(found.factor) for found in resolved.declared[of.draw]}
        message = f"`{of.draw}` has no factor `{Factor(of.draw, of.variables, tuple(own for own, _ in of.given))}`"
        same = next((text for variables, text in known.items() if {*variables} == {*of.variables}), "")
        valid = ("one of " if len(known) > 1 else "") + ", ".join(f"`{text}`" for text in known.values())
        yield Diagnostic("unknown-factor", message, span, expected=f"`{same}`" if same else valid)
        return
    for own, other in of.given:
        if other not in resolved.variables:
            hint = did_you_mean(other, resolved.variables)
            yield Diagnostic("unknown-variable", f"`{other}` is not a variable", span, hint=hint)
        elif resolved.variables[other].shape != resolved.variables[own].shape:
            yield _other_shape(resolved, other, own, resolved.variables[own].shape, span)
    kind = kind_of(resolved, factor)
    if of.given and not use.draw:
        yield Diagnostic(
            "needs-expectation",
            f"nothing says at whose samples `{of}` is taken",
            span,
            expected="`E[...]`, with the distribution that draws its conditions",
            hint=f"`E[q] {use.function}(...)` takes it of every example, `{use.function}(E[q] ...)` of the mean",
        )
    elif kind not in FUNCTIONALS["log"].kinds:
        yield _without_density(factor, kind, span)
    elif (shared := sharing_noise(resolved, factor)) is not None:
        yield _of_shared_noise(resolved, factor, *shared, span)
    elif kind not in (("categorical",) if use.pooled or not use.draw else FUNCTIONALS[use.function].kinds):
        yield _without_closed_form(use, kind, span)


def _without_closed_form(use: Use, kind: str, span: Span) -> Diagnostic:
    functional, own = FUNCTIONALS[use.function], _NAMES.get(kind, kind)
    allowed = functional.kinds
    hint, message = "", f"the {functional.noun} of a {own} distribution has no closed form here"
    if use.pooled or not use.draw:
        allowed = ("categorical",)
        message = f"`{use.function}` outside of `E[...]` is of means of a batch, and of categorical distributions alone"
        hint = f"`E[q] {use.function}(...)` takes it of every example"
    expected = " or ".join(_NAMES.get(name, name) for name in allowed)
    return Diagnostic("impossible-term", message, span, f"`{use.of}` is {own}", expected, hint)


def _without_density(factor: Declared, kind: str, span: Span) -> Diagnostic:
    reason = {
        "data": "data have none",
        "deterministic": "its row is deterministic",
        "implicit": "its row is random in a way whose density is not known",
        "uniform": "a uniform one is the same wherever it is not 0",
        "a sample": "it takes a sample of another distribution",
    }.get(kind, f"that of `{kind}` has no closed form here")
    hint = f"`l2({factor.factor.variables[0]}, {factor.source})` compares values" if kind == "deterministic" else ""
    expected = "a normal, categorical or Bernoulli factor: `a + expn(b)`, `softmax`, `sigmoid`"
    return Diagnostic("no-density", f"`{factor.factor}` has no density: {reason}", span, expected=expected, hint=hint)


def _of_shared_noise(resolved: Resolved, factor: Declared, row: str, other: Declared, span: Span) -> Diagnostic:
    return Diagnostic(
        "no-density",
        f"`{factor.factor}` has no density of its own: it shares noise with `{other.factor}`",
        span,
        found=f"row `{row}` of both",
        expected="noise of its own for each, or a row that reads the other's sample, which is then a condition",
        notes=(Note(f"`{other.factor}` stands here", resolved.spec.source.key(*other.path)),),
    )


def _value_fits(resolved: Resolved, use: Use, of: ValueUse, span: Span) -> Iterator[Diagnostic]:
    if isinstance(of.name, str):
        if of.name not in resolved.variables:
            hint = did_you_mean(of.name, resolved.variables)
            if of.name in resolved.networks:
                hint = f"a row of it is written `{of.name}.{resolved.networks[of.name].rows[-1].name}`"
            yield Diagnostic("unknown-variable", f"`{of.name}` is not a variable", span, hint=hint)
        return
    owner, name = of.name.owner, of.name.name
    if owner not in resolved.networks:
        hint = did_you_mean(owner, resolved.networks)
        if owner in resolved.declared:
            hint = f"samples of `{owner}` are meant by `E[{owner}]`, and one is written `{name}`"
        yield Diagnostic("unknown-network", f"`{owner}` is not a network", span, hint=hint)
    elif name not in resolved.tables[owner].rows:
        hint = did_you_mean(name, resolved.tables[owner].rows)
        yield Diagnostic("unknown-row", f"`{owner}` has no row `{name}`", span, hint=hint)
    else:
        problems = list(_bindings_fit(resolved, of.name, span))
        yield from problems or _names_are_bound(resolved, of.name, span)


def _bindings_fit(resolved: Resolved, reference: Reference, span: Span) -> Iterator[Diagnostic]:
    owner, inputs = reference.owner, resolved.inputs[reference.owner]
    shapes = {row.name: row.out_shape for row in resolved.networks[owner].rows} | inputs
    for index, (local, variable) in enumerate(reference.bindings):
        if variable not in resolved.variables:
            hint = did_you_mean(variable, resolved.variables)
            yield Diagnostic("unknown-variable", f"`{variable}` is not a variable", span, hint=hint)
        elif local not in shapes:
            hint = did_you_mean(local, inputs)
            yield Diagnostic("unknown-name", f"`{owner}` reads no `{local}`", span, hint=hint)
        elif local in dict(reference.bindings[:index]):
            yield Diagnostic("bad-binding", f"`{local}` is bound twice in `{reference}`", span)
        elif resolved.variables[variable].shape != shapes[local]:
            yield _other_shape(resolved, variable, local, shapes[local], span)


def _names_are_bound(resolved: Resolved, reference: Reference, span: Span) -> Iterator[Diagnostic]:
    table = resolved.tables[reference.owner]
    bound = dict(reference.bindings).keys() | resolved.variables.keys()
    names = table.reads(reference.name, frozenset(bound) & frozenset(table.rows))
    for local in sorted(name for name in names if name in table.free and name not in bound):
        yield Diagnostic(
            "bad-binding",
            f"`{reference}` reads `{local}`, which is no variable and not bound here",
            span,
            expected=f"`{Reference(reference.owner, reference.name, ((local, 'VARIABLE'),))}`",
        )


def _other_shape(resolved: Resolved, variable: str, own: str, expected: Shape, span: Span) -> Diagnostic:
    found = shape_text(resolved.variables[variable].shape)
    message = f"`{variable}` cannot stand for `{own}`"
    return Diagnostic("shape-mismatch", message, span, found=found, expected=shape_text(expected))


def _is_drawn(resolved: Resolved, use: Use, span: Span) -> Iterator[Diagnostic]:
    """The draw produces all that is read, down to the conditions of what is drawn for it."""
    wanted = wanted_by(resolved, use)
    for name, variables in needed_variables(resolved, wanted).items():
        produced = {variable for factor in resolved.declared[name] for variable in factor.factor.variables}
        for variable in sorted(variables - produced):
            readers = [str(f.factor) for f in resolved.declared[name] if variable in f.factor.given]
            yield Diagnostic(
                "missing-factor",
                f"`{name}` has no factor for `{variable}`",
                span,
                found=f"`{readers[0] if readers else use.of}` needs it",
                expected=f"a distribution that draws `{variable}`",
                notes=(Note(f"`{name}` stands here", resolved.spec.source.key("distributions", name)),),
            )


def _can_be_weighed(resolved: Resolved, use: Use, span: Span) -> Iterator[Diagnostic]:
    """What reads an enumerated variable is of each example; and a posterior is at its own conditions."""
    if (use.pooled or FUNCTIONALS[use.function].of_batch) and reads_enumerated(resolved, use):
        over = resolved.enumerated(use.draw)
        yield Diagnostic(
            "impossible-enumeration",
            f"`{use.of}` reads `{over}`, of which `{use.draw}` has every value; of that no mean of a batch is taken",
            span,
            expected=f"what does not read `{over}`, or a distribution that samples it",
        )
    factor = _declared(resolved, use)
    by_bayes = factor is not None and isinstance(factor.source, BayesRule)
    if use.move is not None and (by_bayes or reads_enumerated(resolved, use)):
        yield Diagnostic(
            "impossible-enumeration",
            f"`{use.of}` {'is a posterior' if by_bayes else 'reads an enumerated variable'}, and cannot be moved",
            span,
            expected="a factor drawn by a row that reads what is sampled",
        )
    elif by_bayes and isinstance(use.of, FactorUse):
        own = FactorUse(use.of.draw, use.of.variables, tuple((name, name) for name, _ in use.of.given))
        if use.of.given != own.given:
            yield Diagnostic(
                "impossible-enumeration",
                f"`{use.of}` is a posterior, whose conditions are what it scores: none stands for another",
                span,
                expected=f"`{own}`",
            )


def _pairs_fit(resolved: Resolved, term: str) -> Iterator[Diagnostic]:
    """Two distributions of a divergence are of one kind and variable; two values of a distance have one shape."""
    for _, item, own in items_of(resolved, term):
        if FUNCTIONALS[_of(item).function].of_batch:
            yield from _batch_fits(resolved, _of(item), own[0])
        yield from is_finite(resolved, _of(item), own)
        yield from is_within(resolved, _of(item), own)
        if len(own) < 2:
            continue
        shapes = [shape_of(resolved, use) for use in own]
        kinds = ["" if (f := _declared(resolved, use)) is None else kind_of(resolved, f) for use in own]
        if shapes[0] != shapes[1] or kinds[0] != kinds[1]:
            names = [
                f"`{use.of}` {kind}{' ' if kind else ''}{shape_text(s)}"
                for use, kind, s in zip(own, kinds, shapes, strict=True)
            ]
            what = "kind" if kinds[0] != kinds[1] else "shape"
            yield Diagnostic(
                "impossible-term" if what == "kind" else "shape-mismatch",
                f"`{_of(item).function}` compares two of different {what}s",
                place_of(resolved, term, own[1].of),
                found=" and ".join(names),
                expected=f"two of one {what}",
            )


def _batch_fits(resolved: Resolved, function: Of, use: Use) -> Iterator[Diagnostic]:
    """Two examples or more are compared, or two numbers or more of each group."""
    span, name, shape = place_of(resolved, use.term, function), function.function, shape_of(resolved, use)
    if FUNCTIONALS[name].shown == 1:
        if resolved.batch_size(use.draw) == 1:
            message = f"`{name}` compares examples, and a batch of `{use.draw}` has one"
            yield Diagnostic("impossible-term", message, span, expected="two or more")
    elif math.prod(shape) % function.groups or math.prod(shape) < 2 * function.groups:
        yield Diagnostic(
            "impossible-term",
            f"{math.prod(shape)} numbers make no {counted(function.groups, 'group')} of two or more",
            span,
            found=f"`{use.of}` {shape_text(shape)}",
            expected="groups of equal size",
        )


def _declared(resolved: Resolved, use: Use) -> Declared | None:
    return factor_of(resolved, use.of) if isinstance(use.of, FactorUse) else None


# ------------------------------------------------------------------------------------------------ warnings


def term_warnings(resolved: Resolved, plan: Plan) -> Iterator[Diagnostic]:
    """Parts of terms that are legal and probably not meant: that nothing learns from, or that ask for the opposite."""
    draws = {draw.name: draw for draw in plan.draws}
    for name in resolved.spec.terms:
        for coefficient, item, uses in items_of(resolved, name):
            learns = any(learns_from(resolved, use, draws) for use in uses)
            places = [_sample_of(resolved, plan, use) for use in uses]
            span = place_of(resolved, name, _of(item))
            if len(places) == 2 and places[0] == places[1]:
                yield Diagnostic("no-effect", f"`{item}` is 0 and has no gradient", span, f"both are {places[0]}")
            elif not learns:
                stopped = any(use.of.stopped for use in uses)
                found = "`stop` keeps every gradient out" if stopped else "it depends on no network with parameters"
                yield Diagnostic("no-effect", f"`{item}` is a constant", span, found)
            elif coefficient > 0 and _is_log(item) and not _is_entropy(plan, uses[0]):
                yield Diagnostic(
                    "suspicious-sign",
                    f"`{_of(item)}` is minimised: what is likely becomes unlikely",
                    span,
                    hint=f"what shall be likely is written `{Term(((-coefficient, item),))}`",
                )


def items_of(resolved: Resolved, term: str) -> Iterator[tuple[Fraction, Expected | Of, list[Use]]]:
    """The items of a term with their numbers and what they name."""
    uses = uses_of(resolved, term)
    for coefficient, item in resolved.spec.terms[term].minimize.parts:
        yield coefficient, item, [next(uses) for _ in _of(item).arguments]


def _of(item: Expected | Of) -> Of:
    function = item.of if isinstance(item, Expected) else item
    assert isinstance(function, Of), "the parser gives a function of one example inside, or one of means outside"
    return function


def _is_log(item: Expected | Of) -> bool:
    """Whether it is a log density, and no `max` is around it."""
    return _of(item).function == "log" and _of(item).least is None and item.least is None


def _is_entropy(plan: Plan, use: Use) -> bool:
    """Whether a log density is of what a network draws, at that very sample: its mean is minus its entropy."""
    assert isinstance(use.of, FactorUse)
    own = all(name == other for name, other in use.of.given)
    origin = plan.draw(use.draw).factor_of(use.of.variables[0]).origin if use.of.draw == use.draw else None
    return own and isinstance(origin, FromNetwork | FromBayes)


def _sample_of(resolved: Resolved, plan: Plan, use: Use) -> str:
    """What a use stands for, in words that are equal where it is: a sample that a row draws is that row's."""
    score = plan_score(resolved, use)
    if score is not None and isinstance(use.of, FactorUse):
        return f"`{score.name}`" + (f" at samples of `{score.draw}`" if score.draw else "")
    if score is not None:
        assert score.evaluation is not None
        return f"`{score.row}` of `{score.evaluation.name}`"
    draw, variable = use.draw, str(use.of.name)  # type: ignore[union-attr]
    while isinstance(origin := plan.draw(draw).factor_of(variable).origin, FromDraw):
        draw, variable = origin.draw, origin.variable
    if isinstance(origin, FromNetwork) and not origin.enumerated:
        return f"`{origin.row}` of `{origin.evaluation.name}`"
    return f"`{variable}` of `{draw}`"
