"""Where an enumerated variable matters: what is computed at every value of it, and what at each example once."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ammgraph.plan.draws import EvaluationPlan, ScorePlan
from ammgraph.plan.networks import NetworkPlan, RowPlan
from ammgraph.plan.turns import PassPlan


@dataclass(frozen=True)
class Needed:
    """What scores need of one evaluation of a network.

    One that is over a variable computes those rows alone that depend on it. What these read of the examples themselves
    it takes as the evaluation `beneath` has it: `takes` is repeated for every value, from `chooses` each value chooses
    its own. `alone`: it reads nothing but the variable, and is taken at its values.
    """

    evaluation: EvaluationPlan
    scores: tuple[ScorePlan, ...]  # with those rows of theirs that it computes
    takes: tuple[str, ...] = ()
    chooses: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()  # to the one over a variable
    alone: bool = False

    @property
    def whole(self) -> frozenset[str]:
        """The rows whose values are needed; of the others what stands before their activation."""
        return frozenset(row for score in self.scores for row in score.rows if row not in score.raw)

    @property
    def rows(self) -> frozenset[str]:
        """Whatever it computes."""
        return frozenset(row for score in self.scores for row in score.rows)


def evaluations_of(networks: Mapping[str, NetworkPlan], scores: Sequence[ScorePlan]) -> tuple[Needed, ...]:
    """Every evaluation that gives the scores; one over a variable comes after the one beneath it."""
    found: dict[EvaluationPlan, Needed] = {}
    for evaluation in dict.fromkeys(score.evaluation for score in scores if score.evaluation is not None):
        own = tuple(score for score in scores if score.evaluation == evaluation)
        alone = bool(evaluation.over) and all(score.reads == (evaluation.over,) for score in own)
        if not evaluation.over or alone:
            _add(found, Needed(evaluation, own, alone=alone))
            continue
        network = networks[evaluation.network]
        every = depending(network, evaluation, {evaluation.over}, {row for score in own for row in score.rows})
        over = tuple(_part(score, evaluation, every) for score in own)
        takes, chooses = _taken(network, evaluation, over)
        given = tuple(name for name in (*takes, *chooses) if name not in dict(evaluation.bindings))
        if given:
            lower = tuple(_part(score, evaluation.beneath, {*score.rows} - every) for score in own)
            _add(found, Needed(evaluation.beneath, lower, gives=given))
        _add(found, Needed(evaluation, over, takes, chooses))
    return tuple(found.values())


def depending(
    network: NetworkPlan, evaluation: EvaluationPlan, variables: Collection[str], rows: Collection[str]
) -> set[str]:
    """Those of some rows that depend on one of these variables."""
    bound, found = dict(evaluation.bindings), set[str]()
    for row in (row for row in network.rows if row.name in rows):
        if any(bound[name] in variables if name in bound else name in found for name in row.reads):
            found.add(row.name)
    return found


def repeated(network: NetworkPlan, found: PassPlan) -> tuple[str, ...]:
    """What a pass reads of each example and repeats for every value: rows, and names from outside."""
    if not found.shared:
        return found.takes
    rest = [network.row(row) for row in found.rows if row not in found.shared]
    return tuple(dict.fromkeys(name for row in rest for name in row.reads if name in found.shared))


def _add(found: dict[EvaluationPlan, Needed], new: Needed) -> None:
    """What is needed of an evaluation beneath others, it may be needed of for itself."""
    old = found.get(new.evaluation)
    if old is not None:
        gives = tuple(dict.fromkeys((*old.gives, *new.gives)))
        new = replace(old, scores=(*old.scores, *new.scores), gives=gives)
    found[new.evaluation] = new


def _part(score: ScorePlan, evaluation: EvaluationPlan, rows: Collection[str]) -> ScorePlan:
    """The score with those of its rows alone that an evaluation computes."""
    own, raw = (tuple(row for row in held if row in rows) for held in (score.rows, score.raw))
    return replace(score, evaluation=evaluation, rows=own, raw=raw)


def _taken(
    network: NetworkPlan, evaluation: EvaluationPlan, scores: Sequence[ScorePlan]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What rows and parameters read of the examples themselves: all of it, but that which is chosen from, and that."""
    bound, computed = dict(evaluation.bindings), {row for score in scores for row in score.rows}
    rows = [row for row in network.rows if row.name in computed]
    told = [name for score in scores for name in _parameters(score)]
    names = dict.fromkeys([*(name for row in rows for name in row.reads), *told])
    outer = [
        name
        for name in names
        if (bound[name] != evaluation.over if name in bound else name.removesuffix(".raw") not in computed)
    ]
    chosen = [
        name
        for name in outer
        if name not in told
        and name not in bound
        and all(_only_chooses(row, bound, evaluation.over) for row in rows if name in row.reads)
    ]
    return tuple(name for name in outer if name not in chosen), tuple(chosen)


def _parameters(score: ScorePlan) -> Iterator[str]:
    """The values that the parameters of a score's distribution are made of."""
    if score.density is not None and score.density.mean is not None:
        yield from (atom.name for atom in score.density.mean.names)
        if score.density.log_variance:
            yield f"{score.density.log_variance}.raw"


def _only_chooses(row: RowPlan, bound: Mapping[str, str], over: str) -> bool:
    """Whether a row gives every value a run of channels of its own, of a row that it takes as it is."""
    return bound.get(row.choose) == over and row.input.single and not row.noise and not row.dropout
