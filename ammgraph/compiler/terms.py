"""Terms: what each factor and value in them stands for, what it needs of which network, and whom gradients reach."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

from ammgraph.compiler.derive import density_of, noise_below
from ammgraph.compiler.games import gradient_paths, support_of
from ammgraph.compiler.origins import prior_origin
from ammgraph.compiler.resolved import Declared, Resolved
from ammgraph.formulas.expression import (
    Batch,
    Expression,
    Floor,
    Functional,
    Mean,
    Pooled,
    Scored,
    Value,
    Vat,
    Weighted,
    minus,
    plus,
    times,
)
from ammgraph.formulas.functions import FUNCTIONALS
from ammgraph.layers.operations import Shape
from ammgraph.plan.draws import Density, DensityKind, DrawPlan, EvaluationPlan, ScorePlan
from ammgraph.plan.turns import TermPlan
from ammgraph.spec.notation import Reference
from ammgraph.spec.priors import Prior
from ammgraph.spec.sources import BayesRule, DataSource
from ammgraph.spec.terms import Expected, FactorUse, Move, Of, ValueUse


@dataclass(frozen=True)
class Use:
    """A factor or a value of a term, the draw at whose samples it stands, and the function that takes it."""

    term: str
    function: str
    of: FactorUse | ValueUse
    draw: str  # "" where none is written
    pooled: bool  # a mean over the batch is taken of it
    expected: Expected | None  # the `E[...]` that holds it
    move: Move | None = None  # what `vat` moves

    @property
    def stopped(self) -> bool:
        """Whether its value where it stands has no gradient; `vat` compares a constant with what it moves."""
        return self.of.stopped or self.move is not None


def uses_of(resolved: Resolved, term: str) -> Iterator[Use]:
    """Every factor and every value of a term, from left to right."""
    for _, item in resolved.spec.terms[term].minimize.parts:
        function = item.of if isinstance(item, Expected) else item
        assert isinstance(function, Of), "the parser gives a function of one example inside, or one of means outside"
        draw = item.draw if isinstance(item, Expected) else ""
        for argument in function.arguments:
            if isinstance(argument, Expected):
                assert not isinstance(argument.of, Of)
                yield Use(term, function.function, argument.of, argument.draw, True, argument)
            else:
                holder = item if isinstance(item, Expected) else None
                yield Use(term, function.function, argument, draw, False, holder, function.move)


def factor_of(resolved: Resolved, use: FactorUse) -> Declared | None:
    """The declared factor that is meant, whatever the order in which its variables are written."""
    wanted = set(use.variables), {own for own, _ in use.given}
    found = resolved.declared.get(use.draw, ())
    return next((f for f in found if (set(f.factor.variables), set(f.factor.given)) == wanted), None)


def kind_of(resolved: Resolved, factor: Declared) -> str:
    """What is known of a factor's distribution: the kind of its density, or why it has none."""
    source, reference = factor.source, factor.reference
    if isinstance(source, DataSource):
        return "data"
    if isinstance(source, BayesRule):
        return "categorical"
    if reference is not None:
        return _density(resolved, factor, reference).kind if reference.owner in resolved.networks else "a sample"
    assert isinstance(source, Prior)
    return source.density


def sharing_noise(resolved: Resolved, factor: Declared) -> tuple[str, Declared] | None:
    """A row of noise and another factor that is made of it too: the product of the two is no joint density."""
    own = _noise(resolved, factor)
    others = [other for other in resolved.declared[factor.draw] if other != factor] if own else []
    shared = ((own & _noise(resolved, other), other) for other in others)
    return next(((min(row for _, row in both), other) for both, other in shared if both), None)


def _noise(resolved: Resolved, factor: Declared) -> frozenset[tuple[str, str]]:
    """(call, row) of all noise by which a factor's sample is drawn, given its conditions."""
    reference = factor.reference
    if reference is None or reference.owner not in resolved.networks:
        return frozenset()
    rows = {row.name: row for row in resolved.networks[reference.owner].rows}
    stops = frozenset(resolved.call(factor.draw, reference).bound) - {reference.name}
    return frozenset((reference.call, row) for row in noise_below(reference.name, rows, stops))


def is_conditional(resolved: Resolved, draw: str) -> bool:
    """Whether a distribution has a factor whose condition it does not draw: it can be scored, and not drawn."""
    factors = resolved.declared[draw]
    produced = {name for factor in factors for name in factor.factor.variables}
    return any(name not in produced for factor in factors for name in factor.factor.given)


def shape_of(resolved: Resolved, use: Use) -> Shape:
    """The shape of a value, or of the variable of a factor."""
    if isinstance(use.of, FactorUse):
        return resolved.variables[use.of.variables[0]].shape
    if isinstance(use.of.name, str):
        return resolved.variables[use.of.name].shape
    return resolved.networks[use.of.name.owner].row(use.of.name.name).out_shape


def wanted_by(resolved: Resolved, use: Use) -> list[tuple[str, str]]:
    """(distribution, variable) of every sample that a use reads."""
    if not use.draw:
        return []
    score = plan_score(resolved, use)
    names = list(score.reads) if score is not None else [str(use.of.name)]  # type: ignore[union-attr]
    names += _sampled(use)
    names += [use.move.times] if use.move is not None and use.move.times else []
    return [(use.draw, name) for name in dict.fromkeys(names)]


def learns_from(resolved: Resolved, use: Use, draws: Mapping[str, DrawPlan]) -> dict[str, tuple[str, ...]]:
    """Network -> the score (`c(y|x)`) and the samples (`q.z`) through which the gradient of a use reaches it."""
    score, paths = plan_score(resolved, use), dict[str, tuple[str, ...]]()
    names = [name for _, name in wanted_by(resolved, use) if use.move is None or name != use.move.times]
    if use.of.stopped:
        names = _sampled(use)
    elif score is not None:
        paths = {name: (score.name,) for name in score.networks if resolved.networks[name].learns}
    for network, samples in gradient_paths(resolved, [(use.draw, name) for name in names], draws).items():
        paths[network] = (*paths.get(network, ()), *samples)
    return paths


def _sampled(use: Use) -> list[str]:
    """The variable whose sample is scored."""
    scored = FUNCTIONALS[use.function].at_sample
    return [use.of.variables[0]] if scored and isinstance(use.of, FactorUse) else []


def plan_score(resolved: Resolved, use: Use) -> ScorePlan | None:
    """What a factor or a row needs of its network; nothing for a variable's sample."""
    over = resolved.enumerated(use.draw)
    if isinstance(use.of, ValueUse):
        if isinstance(use.of.name, str):
            return None
        evaluation, given = _evaluation(resolved, use.draw, use.of.name)
        network, row = use.of.name.owner, use.of.name.name
        rows = resolved.tables[network].needed(row, given)
        reads = _reads(resolved, evaluation, (row,), given)
        return _over(ScorePlan(str(use.of.name), use.draw, network, evaluation, row, rows, (), reads), over)
    factor = factor_of(resolved, use.of)
    assert factor is not None, "checked before"
    if isinstance(factor.source, BayesRule):
        return bayes_score(resolved, factor, use.draw)
    return _over(_factor_score(resolved, factor, use.of, use.draw), over)


def bayes_score(resolved: Resolved, factor: Declared, draw: str) -> ScorePlan:
    """A posterior p(y|..) at a draw's samples: what a distribution says of y, and of all that depends on y in it."""
    assert isinstance(factor.source, BayesRule)
    (variable,) = factor.factor.variables
    parts = []
    for own in blanket_factors(resolved, factor.source.distribution, variable):
        of = FactorUse(own.draw, own.factor.variables, tuple((v, v) for v in own.factor.given))
        parts.append((own.factor.variables[0], _over(_factor_score(resolved, own, of, draw), variable)))
    name = str(FactorUse(factor.draw, factor.factor.variables, tuple((v, v) for v in factor.factor.given)))
    density = Density("categorical")
    return ScorePlan(name, draw, reads=factor.factor.given, density=density, rule=variable, parts=tuple(parts))


def blanket_factors(resolved: Resolved, draw: str, variable: str) -> list[Declared]:
    """The factors of a distribution in which a variable stands: its own, and those that read it."""
    factors = resolved.declared[draw]
    return [f for f in factors if variable in (*f.factor.variables, *f.factor.given)]


def reads_enumerated(resolved: Resolved, use: Use) -> bool:
    """Whether a use reads the variable that its draw enumerates: as a condition, as a sample, through a row."""
    over = resolved.enumerated(use.draw)
    if not over:
        return False
    score = plan_score(resolved, use)
    if FUNCTIONALS[use.function].at_sample:
        assert isinstance(use.of, FactorUse)
        return over in use.of.variables or (score is not None and bool(score.over))
    if score is None:
        return isinstance(use.of, ValueUse) and use.of.name == over
    return bool(score.over)


def _over(score: ScorePlan, variable: str) -> ScorePlan:
    """The score at every value of a variable, if it reads it: in an evaluation of its own."""
    if not variable or variable not in score.reads:
        return score
    evaluation = score.evaluation
    if evaluation is not None:
        _, _, call = evaluation.name.partition("/")
        evaluation = replace(evaluation, name=f"{score.draw}.{variable}/{call}", over=variable)
    return replace(score, evaluation=evaluation, over=variable)


def _factor_score(resolved: Resolved, factor: Declared, use: FactorUse, draw: str) -> ScorePlan:
    """What a factor of a prior or a network needs at a draw's samples."""
    name, rebound = _canonical(factor, use), dict(use.given)
    reference = factor.reference
    if reference is None:
        prior = prior_origin(resolved, factor)
        prior = replace(prior, given=rebound.get(prior.given, prior.given))
        density = Density(cast(DensityKind, kind_of(resolved, factor)))
        return ScorePlan(name, draw if rebound else "", reads=(*rebound.values(),), density=density, prior=prior)
    call = resolved.call(factor.draw, reference)
    wanted = {local: rebound.get(v, v) for local, v in call.reads.items()}
    evaluation, given = _evaluation(resolved, draw, reference)
    moved = {local: v for local, v in wanted.items() if dict(evaluation.bindings).get(local) != v}
    if moved:
        kept = [(local, v) for local, v in reference.bindings if local not in moved]
        reference = Reference(reference.owner, reference.name, (*kept, *moved.items()))
        evaluation, given = _evaluation(resolved, draw, reference)
    density = _density(resolved, factor, call.reference)
    rows, raw = _scored_rows(resolved, reference, density, given)
    reads = _reads(resolved, evaluation, rows, given)
    return ScorePlan(name, draw, reference.owner, evaluation, reference.name, rows, raw, reads, density)


def plan_term(resolved: Resolved, name: str, draws: Mapping[str, DrawPlan]) -> TermPlan:
    """A term with its scores and its paths decided."""
    uses, term = list(uses_of(resolved, name)), resolved.spec.terms[name]
    scores: dict[tuple[str, str], ScorePlan] = {}
    paths: dict[str, list[str]] = {}
    for use in uses:
        score = plan_score(resolved, use)
        if score is not None:
            key = score.name, score.draw
            held = scores.get(key, replace(score, stopped=True))
            scores[key] = replace(held, stopped=held.stopped and use.stopped, moved=held.moved or use.move is not None)
        for network, found in learns_from(resolved, use, draws).items():
            paths.setdefault(network, []).extend(found)
    return TermPlan(
        name=name,
        value=_value(resolved, name),
        weight=term.weight,
        draws=tuple(dict.fromkeys(use.draw for use in uses if use.draw)),
        scores=tuple(scores.values()),
        paths=tuple((network, tuple(dict.fromkeys(found))) for network, found in paths.items()),
    )


def evaluation_at(
    resolved: Resolved, draw: str, reference: Reference
) -> tuple[EvaluationPlan, frozenset[str], tuple[str, ...]]:
    """The evaluation that gives a row at a draw's samples, the rows that are given there, the variables it reads."""
    evaluation, given = _evaluation(resolved, draw, reference)
    return evaluation, given, _reads(resolved, evaluation, (reference.name,), given)


def _value(resolved: Resolved, term: str) -> Expression:
    """The term as an expression, its leaves named as its scores are."""
    uses = uses_of(resolved, term)
    items: list[Expression] = []
    for coefficient, item in resolved.spec.terms[term].minimize.parts:
        function = item.of if isinstance(item, Expected) else item
        assert isinstance(function, Of)
        own = [next(uses) for _ in function.arguments]
        value = _function(resolved, function, own)
        if isinstance(item, Expected):
            value = _floored(Mean(item.draw, value), item.least)
        weighed = times(float(abs(coefficient)), value)
        items.append(minus(weighed) if coefficient < 0 else weighed)
    return plus(*items)


def _function(resolved: Resolved, function: Of, uses: Sequence[Use]) -> Expression:
    """What a function takes is named as its scores are."""
    first = uses[0]
    over = resolved.enumerated(first.draw) if any(reads_enumerated(resolved, use) for use in uses) else ""
    found = [_leaf(resolved, use, over) for use in uses]
    value: Expression
    if FUNCTIONALS[function.function].of_batch:
        assert isinstance(found[0], Value)
        value = Batch(function.function, first.draw, found[0], function.groups)
    elif function.move is not None:
        assert isinstance(found[0], Scored)
        value = _moved(found[0], function.move)
    else:
        pairs = zip(uses, found, strict=True)
        leaves = [Pooled(use.draw, leaf) if use.pooled else leaf for use, leaf in pairs]
        value = Functional(
            function.function, (*leaves, *(Value(name, first.draw, over=over) for name in _sampled(first)))
        )
    value = _floored(value, function.least)
    return Weighted(support_of(resolved, first.draw), value) if over else value


def _floored(value: Expression, least: Fraction | None) -> Expression:
    return value if least is None else Floor(value, float(least))


def _leaf(resolved: Resolved, use: Use, over: str) -> Scored | Value:
    score = plan_score(resolved, use)
    if isinstance(use.of, ValueUse):
        return Value(str(use.of.name), use.draw, use.of.stopped, over)
    assert score is not None
    return Scored(score.name, score.draw, use.of.stopped, over if score.draw else "")  # one without conditions is one


def _moved(leaf: Scored, move: Move) -> Vat:
    return Vat(leaf.factor, leaf.draw, move.variable, float(move.radius), move.times, float(move.xi))


def _canonical(factor: Declared, use: FactorUse) -> str:
    """`c(y|x=v)`, in the order in which the factor is declared, with the distribution's whole name."""
    rebound = dict(use.given)
    given = tuple((own, rebound[own]) for own in factor.factor.given)
    return str(FactorUse(use.draw, factor.factor.variables, given))


def _evaluation(resolved: Resolved, draw: str, reference: Reference) -> tuple[EvaluationPlan, frozenset[str]]:
    """The evaluation of a network at a draw's samples, the draw's own where it has one; and the rows that are given."""
    table = resolved.tables[reference.owner]
    for call in resolved.calls:
        if (call.scope, call.reference.owner, call.reference.call) == (draw, reference.owner, reference.call):
            return call.evaluation, call.given
    same = {name: name for name in [*table.rows, *table.free] if name in resolved.variables}
    bound = same | dict(reference.bindings)
    evaluation = EvaluationPlan(f"{draw}/{reference.call}", reference.owner, tuple(sorted(bound.items())))
    return evaluation, frozenset(bound) & frozenset(table.rows)


def _density(resolved: Resolved, factor: Declared, reference: Reference) -> Density:
    call = resolved.call(factor.draw, reference)
    rows = {row.name: row for row in resolved.networks[reference.owner].rows}
    return density_of(reference.name, rows, frozenset(call.bound) - {reference.name})


def _scored_rows(
    resolved: Resolved, reference: Reference, density: Density, given: frozenset[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The rows that a density's parameters need, in computing order, and those to be stopped before the activation."""
    table = resolved.tables[reference.owner]
    if density.mean is None:
        return table.needed(reference.name, given), (reference.name,)
    names = [atom.name for atom in density.mean.names if atom.name in table.rows and atom.name not in given]
    raw = (density.log_variance,) if density.log_variance else ()
    found = {row for name in (*names, *raw) for row in table.needed(name, given)}
    return tuple(row for row in table.order if row in found), raw


def _reads(
    resolved: Resolved, evaluation: EvaluationPlan, rows: tuple[str, ...], given: frozenset[str]
) -> tuple[str, ...]:
    """The variables that rows depend on."""
    table, bound = resolved.tables[evaluation.network], dict(evaluation.bindings)
    names = {name for row in rows for name in table.reads(row, given)}
    return tuple(dict.fromkeys(bound[name] for name in [*table.free, *table.rows] if name in names and name in bound))
