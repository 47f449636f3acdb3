"""Changes of a spec that may help: a plan comes in, values come out as `--set` takes them, in the spec's words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ammgraph.formulas.objectives import OBJECTIVES
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.plan.draws import DrawPlan, FactorPlan, FromNetwork, FromPrior, ScorePlan
from ammgraph.plan.networks import NetworkPlan
from ammgraph.plan.plan import Plan, ReconstructionPlan
from ammgraph.plan.turns import GamePlan, PhasePlan
from ammgraph.spec.schema import Mixture, RandomMeans, Schedule, Spec

ONE_HOT = "gumbel_straight_through 1"


@dataclass(frozen=True)
class Change:
    """A value of a spec to try instead of the one it has now."""

    path: str
    value: str
    now: str = ""

    @property
    def override(self) -> str:
        """What stands after `--set`."""
        return f"{self.path}={self.value}"

    def __str__(self) -> str:
        return f"--set '{self.override}'" + (f" (now {self.now})" if self.now else "")


def agreeing(tried: Iterable[tuple[Change, ...]]) -> list[tuple[Change, ...]]:
    """The changes for each of several faults, without those that contradict an earlier one for the same key."""
    told: dict[str, str] = {}
    return [tuple(c for c in found if told.setdefault(c.path, c.value) == c.value) for found in tried]


def slower(network: NetworkPlan, factor: float) -> Change:
    """A learning rate `factor` times that of the network, at every epoch."""
    return _scaled(f"training.optimizers.{network.name}.learning_rate", network.optimizer.learning_rate, factor)


def slowest(plan: Plan, factor: float, names: Iterable[str] = ()) -> Change:
    """`slower` of the network with the largest rate, of those named or of all; of the default where all have one."""
    trained = [network for network in plan.networks if network.learns]
    if len({network.optimizer.model_dump_json() for network in trained}) == 1:
        return _scaled("training.optimizers.default.learning_rate", trained[0].optimizer.learning_rate, factor)
    chosen = [network for network in trained if network.name in set(names)] or trained
    return slower(max(chosen, key=lambda network: max(rate for _, rate in _points(network))), factor)


def longer(plan: Plan) -> tuple[Change, ...]:
    """Twice the phases whose latents components are fitted to, which decide what clusters a fit finds; and twice the
    training, or its last phase, if not every rate is 0 at its end, after which more would change nothing.
    """
    found = [
        _twice(before, f"training.phases.{_entries(plan.phases[:place])}")
        for place, (before, phase) in enumerate(pairwise(plan.phases), start=1)
        if phase.fits
    ]
    known = [phase.epochs for phase in plan.stages if phase.epochs]
    end = sum(known) if len(known) == len(plan.stages) else None
    if any(rate.at(end) if end and rate.by == "epochs" else rate.ends for _, rate in _rates(plan)):
        path = f"training.phases.{_entries(plan.phases)}" if plan.phases else "training"
        found.append(_twice(plan.stages[-1], path))
    return tuple(change for change in found if change is not None)


def _twice(phase: PhasePlan, path: str) -> Change | None:
    name, length = ("steps", phase.steps) if phase.steps else ("epochs", phase.epochs)
    return None if length is None else Change(f"{path}.{name}", f"{2 * length:g}", f"{length:g}")


def penalised(game: GamePlan, factor: float) -> tuple[Change, ...]:
    """A game's penalties, weighted `factor` times; where there is none and more is asked for, the usual one."""
    found = [
        _scaled(f"games.{game.name}.{penalty.kind}.{PENALTIES[penalty.kind].weight}", penalty.weight, factor)
        for penalty in game.penalties
    ]
    if not found and factor > 1:
        bounded = (
            OBJECTIVES[game.objective].value != "d"
        )  # else d itself is what is paid, and its slope must be bounded
        kind, weight = ("roth_penalty", "{gamma: 1}") if bounded else ("gradient_penalty", "{lambda: 10}")
        found = [Change(f"games.{game.name}.{kind}", weight, "none")]
    return tuple(found)


def weightier(plan: Plan, owner: str, factor: float) -> tuple[Change, ...]:
    """A game or a term that weighs `factor` times, beside another one; alone its weight changes nothing."""
    if len(plan.games) + len(plan.terms) < 2:
        return ()
    of_game = any(game.name == owner for game in plan.games)
    weight = plan.game(owner).weight if of_game else plan.term(owner).weight
    if not any(value for _, value in weight.points):
        return ()
    return (_scaled(f"{'games' if of_game else 'terms'}.{owner}.weight", weight, factor),)


def surer_categories(plan: Plan, factor: FactorPlan) -> tuple[Change, ...]:
    """Batch norm of a category's logits, so that each is large for some image; and a category drawn as a one-hot."""
    if not isinstance(factor.origin, FromNetwork):
        return ()
    network = plan.network(factor.origin.evaluation.network)
    table = {row.name: row for row in network.rows}
    mean = factor.density.mean
    names = [factor.origin.row] if mean is None else [atom.name for atom in mean.names]
    found = [
        Change(f"networks.{network.name}.layers.{name}.batchnorm", "true", "false")
        for name in names
        if name in table and not table[name].batchnorm and table[name].op is not None
    ]
    drawn = table[factor.origin.row].activation
    if factor.needed and drawn is not None and "straight_through" not in drawn.name:
        found.append(Change(f"networks.{network.name}.layers.{factor.origin.row}.activation", ONE_HOT, str(drawn)))
    return tuple(found)


def fewer_categories(plan: Plan, variable: str, used: int) -> tuple[Change, ...]:
    """As many categories as are in use, where that is two or more."""
    size = plan.variable(variable).shape[0]
    return (Change(f"variables.{variable}.size", str(used), str(size)),) if 2 <= used < size else ()


def by_constant(spec: Spec, change: Change) -> Change:
    """A number's change, where it is written as a constant, as one of that."""
    span = spec.source.value(*change.path.split("."))
    line = spec.source.texts[span.file].split("\n")[span.line - 1]
    written = line[span.column - 1 : span.end_column - 1].strip("\"'")
    return replace(change, path=f"constants.{written}") if written in spec.constants else change


def wider_components(plan: Plan, draw: DrawPlan, factor: FactorPlan) -> tuple[Change, ...]:
    """Means of components that begin, or of a fixed mixture that stand, further apart."""
    origin = factor.origin
    if isinstance(origin, FromPrior) and isinstance(origin.prior, Mixture):
        place = f"distributions.{draw.name}.{factor.text}.mixture"
        scale, means = origin.prior.scale, origin.prior.means
        found = [Change(f"{place}.scale", f"{scale / 4:g}", f"{scale:g}")]
        if isinstance(means, RandomMeans):
            found.append(Change(f"{place}.means.normal", f"{4 * means.normal:g}", f"{means.normal:g}"))
        return tuple(found)
    if not isinstance(origin, FromNetwork) or factor.density.mean is None:
        return ()
    network = plan.network(origin.evaluation.network)
    means_of = {atom.name for atom in factor.density.mean.names}
    return tuple(
        Change(f"networks.{network.name}.layers.{row.name}.initializer", "{weights: {normal: 1.5}}", str(row.weights))
        for row in network.rows
        if row.name in means_of and row.op is not None
    )


def matched(plan: Plan, variables: Iterable[str]) -> tuple[Change, ...]:
    """What lets the sides of a game, or the factors of a term, agree about variables: more weight, less penalty."""
    wanted = set(variables)
    found: list[Change] = []
    for game in plan.games:
        if wanted & {variable for _, variable in game.reads}:
            found += [*weightier(plan, game.name, 3), *penalised(game, 1 / 3)]
    for term in plan.terms:
        if any(wanted & _drawn_by(plan, score.name) for score in term.scores):
            found += weightier(plan, term.name, 3)
    return tuple(found)


def rebuilding(plan: Plan, item: ReconstructionPlan) -> tuple[Change, ...]:
    """A term that asks for reconstructions; or a longer training, and more weight of those that score the images."""
    factor = plan.draw(item.generate).factor_of(item.variable)
    scoring = [term.name for term in plan.terms if any(_rebuilds(score, item, factor) for score in term.scores)]
    if scoring:
        return (*longer(plan), *(change for name in scoring for change in weightier(plan, name, 10)))
    asked = f"-E[{item.infer}] log {factor.text}"
    if isinstance(factor.origin, FromNetwork) and factor.density.kind in ("deterministic", "implicit"):  # no density
        asked = f"E[{item.infer}] l2({item.variable}, {_called(factor.origin)})"
    return (Change("terms.reconstruction.minimize", asked, "none"),)


def _rebuilds(score: ScorePlan, item: ReconstructionPlan, factor: FactorPlan) -> bool:
    """Whether a term scores the factor that draws an image again, or names its row at what is inferred of the image."""
    origin = factor.origin
    if score.name == factor.text or not isinstance(origin, FromNetwork) or score.density is not None:
        return score.name == factor.text
    return (score.draw, score.network, score.row) == (item.infer, origin.evaluation.network, origin.row)


def _called(origin: FromNetwork) -> str:
    """The row as a term names it: `decoder.x`, or `decoder(z=w).x` where a name stands for another variable."""
    bindings = origin.evaluation.bindings
    bound = ", ".join(f"{local}={variable}" for local, variable in bindings)
    others = any(local != variable for local, variable in bindings)
    return f"{origin.evaluation.network}{f'({bound})' if others else ''}.{origin.row}"


def _drawn_by(plan: Plan, text: str) -> set[str]:
    return {name for draw in plan.draws for factor in draw.factors if factor.text == text for name in factor.variables}


def _entries(phases: Sequence[PhasePlan]) -> int:
    """How many entries of `training.phases` they are, the fits among them."""
    return sum(1 + len(phase.fits) for phase in phases)


def _rates(plan: Plan) -> list[tuple[NetworkPlan, Schedule]]:
    return [(network, network.optimizer.learning_rate) for network in plan.networks if network.learns]


def _points(network: NetworkPlan) -> tuple[tuple[float, float], ...]:
    return network.optimizer.learning_rate.points


def _scaled(path: str, schedule: Schedule, factor: float) -> Change:
    return Change(path, schedule.times(factor).written, str(schedule))
