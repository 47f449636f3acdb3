"""Which functions the classes of an export have, and who calls them with what: a plan comes in, calls go out.

Rows that are drawn from one evaluation one after another become one function of the network, so that they share masks
and batch statistics as in training. Where another factor comes between them, the second function is handed the rows of
the first that it reads.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ammgraph.export.code import ATTRIBUTES, Names
from ammgraph.formulas.expression import Vat
from ammgraph.plan.draws import DrawPlan, EvaluationPlan, FactorPlan, FromBayes, FromNetwork, ScorePlan
from ammgraph.plan.networks import NetworkPlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import PassPlan, TermPlan, TurnPlan


@dataclass(frozen=True)
class Function:
    """A function of a network: the rows that it computes, from which names, and which of them it returns.

    `probabilities` are categorical rows whose probabilities it returns after these; of the rows in `raw`, which a term
    scores, what stands before their activation.
    """

    network: str
    given: tuple[str, ...]
    rows: tuple[str, ...]
    returns: tuple[str, ...]
    probabilities: tuple[str, ...] = ()
    raw: tuple[str, ...] = ()
    scored: bool = False  # by terms; then a row that is given may be computed too, and nothing reads it


@dataclass(frozen=True)
class Call:
    """A function called within one evaluation: an argument for each name given, a name for each row returned.

    Names are variables; with a `/` in them what is no variable, `q/encoder/h` the row of an evaluation.
    """

    function: Function
    evaluation: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]


Step: TypeAlias = Call | FactorPlan  # a factor that no network draws


def draw_steps(plan: Plan, factors: Sequence[FactorPlan]) -> tuple[Step, ...]:
    """What draws these factors, in their order."""
    groups: list[tuple[EvaluationPlan, list[FactorPlan]] | FactorPlan] = []
    for factor in factors:
        if isinstance(factor.origin, FromBayes):  # its probabilities are told with the losses
            continue
        if not isinstance(factor.origin, FromNetwork):
            groups.append(factor)
            continue
        last = groups[-1] if groups else None
        if isinstance(last, tuple) and last[0].name == factor.origin.evaluation.name:
            last[1].append(factor)
        else:
            groups.append((factor.origin.evaluation, [factor]))
    steps: list[Step] = []
    computed: dict[tuple[str, str], int] = {}  # evaluation, row -> the step that computes it
    for group in groups:
        if isinstance(group, FactorPlan):
            steps.append(group)
            continue
        evaluation, drawn = group
        closure = dict.fromkeys(row for factor in drawn for row in _origin(factor).closure)
        rows = tuple(row for row in closure if (evaluation.name, row) not in computed)
        given = _given(plan, evaluation, rows)
        variables = dict(evaluation.bindings)
        for name in given:
            if name not in variables:
                _also_return(steps, computed[evaluation.name, name], name)
        computed |= {(evaluation.name, row): len(steps) for row in rows}
        sampled, weighed = ([f for f in drawn if f.enumerated == told] for told in (False, True))
        returns, told = (tuple(_origin(factor).row for factor in part) for part in (sampled, weighed))
        function = Function(evaluation.network, given, rows, returns, told)
        arguments = tuple(variables.get(name, f"{evaluation.name}/{name}") for name in given)
        results = tuple(factor.variables[0] for factor in (*sampled, *weighed))
        steps.append(Call(function, evaluation.name, arguments, results))
    return tuple(steps)


def pass_call(plan: Plan, found: PassPlan) -> Call:
    """A pass of a discriminator; the arguments are variables."""
    evaluation = found.evaluation
    given = _given(plan, evaluation, found.rows)
    function = Function(evaluation.network, given, found.rows, (found.row,))
    return Call(function, evaluation.name, tuple(dict(evaluation.bindings)[name] for name in given), ("d",))


def score_calls(plan: Plan, turn: TurnPlan) -> tuple[Call, ...]:
    """What terms score at the samples of draws, a call for each evaluation; results by `EVALUATION/ROW`.

    Rows that drawing has computed are computed once more, from the same noise.
    """
    wanted = [*posteriors(plan, turn), *(score for name in turn.terms for score in plan.term(name).scores)]
    return scoring_calls(plan, wanted)


def scoring_calls(plan: Plan, wanted: Iterable[ScorePlan]) -> tuple[Call, ...]:
    """What computes these scores, a call for each evaluation."""
    scores: dict[EvaluationPlan, list[ScorePlan]] = {}
    for part in (part for score in wanted for part in score.computed):
        if part.evaluation is not None:
            scores.setdefault(part.evaluation, []).append(part)
    return tuple(_score_call(plan, evaluation, found) for evaluation, found in scores.items())


def moved_calls(plan: Plan, turn: TurnPlan) -> tuple[Call, ...]:
    """What is computed once more at samples that terms move."""
    return tuple(
        moved_call(plan, plan.term(loss.owner), leaf)
        for loss in turn.losses
        for leaf in loss.leaves
        if isinstance(leaf, Vat)
    )


def moved_call(plan: Plan, term: TermPlan, leaf: Vat) -> Call:
    """What a factor needs of its network at a sample that is moved."""
    score = term.score(leaf)
    assert score is not None
    assert score.evaluation is not None
    return _score_call(plan, score.evaluation, [score])


def posteriors(plan: Plan, turn: TurnPlan) -> tuple[ScorePlan, ...]:
    """The scores by Bayes' rule that a turn needs, each once: of what its draws enumerate, and of its terms."""
    factors = [factor for name in turn.draws for factor in turn.drawn(plan.draw(name)).factors if factor.needed]
    found = [factor.origin.score for factor in factors if isinstance(factor.origin, FromBayes)]
    found += [score for name in turn.terms for score in plan.term(name).scores if score.rule]
    return tuple(dict.fromkeys(found))


def _score_call(plan: Plan, evaluation: EvaluationPlan, scores: Sequence[ScorePlan]) -> Call:
    draw, network = scores[0].draw, plan.network(evaluation.network)
    wanted = {row for score in scores for row in score.rows}
    rows = tuple(row.name for row in network.rows if row.name in wanted)
    over = evaluation.over
    variables = {local: v for local, v in evaluation.bindings if draw and (v == over or plan.draw(draw).produces(v))}
    given = tuple(dict.fromkeys(name for row in rows for name in network.row(row).reads if name in variables))
    whole = {score.row for score in scores if score.density is None}
    for mean in (score.density.mean for score in scores if score.density is not None):
        whole |= {atom.name for atom in mean.names if atom.name not in variables} if mean is not None else set()
    returns = tuple(row for row in rows if row in whole)
    raw = tuple(row for row in rows if any(row in score.raw for score in scores))
    function = Function(evaluation.network, given, rows, returns, raw=raw, scored=True)
    results = (*(f"{evaluation.name}/{row}" for row in returns), *(f"{evaluation.name}/{row}.raw" for row in raw))
    return Call(function, evaluation.name, tuple(variables[name] for name in given), results)


def needed_factors(draw: DrawPlan) -> tuple[FactorPlan, ...]:
    """The factors that a step of training draws."""
    return tuple(factor for factor in draw.factors if factor.needed)


def names_of(
    functions: Iterable[Function], discriminators: Iterable[str], attributes: Mapping[str, Iterable[str]]
) -> dict[Function, str]:
    """A name for every function: `forward` for a network's only one, else what it draws or infers.

    Args:
        functions: those of all networks.
        discriminators: networks that are one.
        attributes: network -> what the attributes of its class are called.
    """
    by_network: dict[str, list[Function]] = {}
    for function in dict.fromkeys(functions):
        by_network.setdefault(function.network, []).append(function)
    critics, names = set(discriminators), {}
    for network, found in by_network.items():
        if len(found) == 1:
            names[found[0]] = "forward"
            continue
        taken = Names(ATTRIBUTES, attributes[network])
        for function in found:
            verb = "infer" if function.probabilities else "logit" if network in critics else "draw"
            verb = "score" if function.scored else verb
            name = "_".join((verb, *function.returns, *function.probabilities, *function.raw))
            wanted = "_".join((name, "given", *function.given)) if name in taken else name
            names[function] = taken.of(f"function {len(names)}", wanted)
    return names


def _given(plan: Plan, evaluation: EvaluationPlan, rows: Sequence[str]) -> tuple[str, ...]:
    """The names that these rows read and do not compute: variables in the plan's order, then rows."""
    network = plan.network(evaluation.network)
    reads = dict.fromkeys(name for row in rows for name in network.row(row).reads if name not in rows)
    order = [variable.name for variable in plan.variables]
    variables = dict(evaluation.bindings)
    return tuple(sorted(reads, key=lambda name: order.index(variables[name]) if name in variables else len(order)))


def _also_return(steps: list[Step], index: int, row: str) -> None:
    call = steps[index]
    assert isinstance(call, Call)
    if row not in call.function.returns:
        function = replace(call.function, returns=(*call.function.returns, row))
        steps[index] = replace(call, function=function, results=(*call.results, f"{call.evaluation}/{row}"))


def _origin(factor: FactorPlan) -> FromNetwork:
    assert isinstance(factor.origin, FromNetwork)
    return factor.origin


def shape_of(network: NetworkPlan, name: str) -> tuple[int, int, int]:
    """The shape of a row, or of a name that the network reads from outside."""
    inputs = dict(network.inputs)
    return inputs[name] if name in inputs else network.row(name).out_shape
