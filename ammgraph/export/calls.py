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
from ammgraph.plan.enumeration import Needed, evaluations_of, repeated
from ammgraph.plan.networks import NetworkPlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import PassPlan, TermPlan, TurnPlan


@dataclass(frozen=True)
class Function:
    """A function of a network: the rows that it computes, from which names, and which of them it returns.

    `probabilities` are categorical rows whose probabilities it returns after these; of the rows in `raw`, which a term
    scores, what stands before their activation. Rows that are `shared` by all values of an enumerated variable are of
    each example once; what others read of them, and of such inputs, it `repeats`.
    """

    network: str
    given: tuple[str, ...]
    rows: tuple[str, ...]
    returns: tuple[str, ...]
    probabilities: tuple[str, ...] = ()
    raw: tuple[str, ...] = ()
    scored: bool = False  # by terms; then a row that is given may be computed too, and nothing reads it
    shared: tuple[str, ...] = ()
    repeats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """A function called within one evaluation: an argument for each name given, a name for each row returned.

    Names are variables; with a `/` in them what is no variable, `q/encoder/h` the row of an evaluation. Of arguments
    that are rows those in `chooses` are as they are, the others repeated for every value of a variable.
    """

    function: Function
    evaluation: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    chooses: tuple[str, ...] = ()


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
    """A pass of a discriminator; the arguments are variables, those that it reads with every value last."""
    evaluation, network = found.evaluation, plan.network(found.evaluation.network)
    bound, over = dict(evaluation.bindings), enumerated_by(plan, found)
    given = tuple(sorted(_given(plan, evaluation, found.rows), key=lambda name: bound[name] in over))
    once = tuple(name for name in given if bound[name] not in over and name in _read_at_every_value(network, found))
    shared = (found.shared, (*once, *repeated(network, found))) if found.shared else ((), ())
    function = Function(evaluation.network, given, found.rows, (found.row,), shared=shared[0], repeats=shared[1])
    return Call(function, evaluation.name, tuple(bound[name] for name in given), ("d",))


def enumerated_by(plan: Plan, found: PassPlan) -> frozenset[str]:
    """The variables that draws of a pass enumerate, where it shares rows; else none."""
    factors = [plan.draw(name).enumerated for name in found.draws] if found.shared else []
    return frozenset(name for factor in factors if factor is not None for name in factor.variables)


def _read_at_every_value(network: NetworkPlan, found: PassPlan) -> set[str]:
    return {name for row in found.rows if row not in found.shared for name in network.row(row).reads}


def score_calls(plan: Plan, turn: TurnPlan) -> tuple[Call, ...]:
    """What terms score at the samples of draws, a call for each evaluation; results by `EVALUATION/ROW`.

    Rows that drawing has computed are computed once more, from the same noise.
    """
    return scoring_calls(plan, scores_of(plan, turn))


def scores_of(plan: Plan, turn: TurnPlan) -> tuple[ScorePlan, ...]:
    """What a turn scores: for the probabilities of what it enumerates, and for its terms."""
    return (*posteriors(plan, turn), *(score for name in turn.terms for score in plan.term(name).scores))


def needed_of(plan: Plan, wanted: Iterable[ScorePlan]) -> tuple[Needed, ...]:
    """Every evaluation that these scores ask for."""
    networks = {network.name: network for network in plan.networks}
    return evaluations_of(networks, [part for score in wanted for part in score.computed])


def scoring_calls(plan: Plan, wanted: Iterable[ScorePlan]) -> tuple[Call, ...]:
    """What computes these scores, a call for each evaluation."""
    return tuple(_score_call(plan, needed) for needed in needed_of(plan, wanted))


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
    return _score_call(plan, Needed(score.evaluation, (score,)))


def posteriors(plan: Plan, turn: TurnPlan) -> tuple[ScorePlan, ...]:
    """The scores by Bayes' rule that a turn needs, each once: of what its draws enumerate, and of its terms."""
    factors = [factor for name in turn.draws for factor in turn.drawn(plan.draw(name)).factors if factor.needed]
    found = [factor.origin.score for factor in factors if isinstance(factor.origin, FromBayes)]
    found += [score for name in turn.terms for score in plan.term(name).scores if score.rule]
    return tuple(dict.fromkeys(found))


def _score_call(plan: Plan, needed: Needed) -> Call:
    evaluation, scores = needed.evaluation, needed.scores
    draw, network, over = scores[0].draw, plan.network(evaluation.network), evaluation.over
    rows = tuple(row.name for row in network.rows if row.name in needed.rows)
    variables = {local: v for local, v in evaluation.bindings if draw and (v == over or plan.draw(draw).produces(v))}
    known = {name: f"{evaluation.beneath.name}/{name}" for name in (*needed.takes, *needed.chooses)} | variables
    reads = dict.fromkeys(name for row in rows for name in network.row(row).reads if name in known)
    given = tuple(sorted(reads, key=lambda name: name in needed.chooses))  # the first one has as many examples as rows
    whole = {score.row for score in scores if score.density is None} | {*needed.gives}
    for mean in (score.density.mean for score in scores if score.density is not None):
        whole |= {atom.name for atom in mean.names if atom.name not in variables} if mean is not None else set()
    returns = tuple(row for row in rows if row in whole)
    raw = tuple(row for row in rows if any(row in score.raw for score in scores))
    function = Function(evaluation.network, given, rows, returns, raw=raw, scored=True)
    results = (*(f"{evaluation.name}/{row}" for row in returns), *(f"{evaluation.name}/{row}.raw" for row in raw))
    chooses = tuple(known[name] for name in needed.chooses)
    return Call(function, evaluation.name, tuple(known[name] for name in given), results, chooses)


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
