"""*Health*: what is wrong with a trained model, by numbers that an evaluation and the training have left behind.

check          plan, results and records in -> what each check has measured, and whether that is a fault
health_of_run  the same of a run directory, with changes of its spec that compile
lines          the words that terminal and report share

A check is an entry of `CHECKS`. It says nothing where the model, or the evaluation, has not what it looks at.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import counted
from ammgraph.evaluation.advice import possible
from ammgraph.evaluation.metrics import in_use
from ammgraph.evaluation.results import Evaluation, Result
from ammgraph.folders import METRICS, SPEC
from ammgraph.formulas.expression import Logit
from ammgraph.formulas.objectives import loss
from ammgraph.nn import losses
from ammgraph.plan import changes
from ammgraph.plan.changes import Change
from ammgraph.plan.draws import FromData
from ammgraph.plan.metric import ACCURACY, Metric
from ammgraph.plan.plan import Plan, ReadoutPlan
from ammgraph.plan.turns import GamePlan
from ammgraph.runs import record
from ammgraph.spec.load import load_spec, load_text
from ammgraph.spec.measures import first_protocol

Record: TypeAlias = Mapping[str, Any]

RIGHT = 0.8  # of a discriminator's answers, from which on it may have won
SURE = 0.5  # of the loss of a blind one: paying less, it has
ALL_BUT_RIGHT = 0.95  # from which on it has won, however unsure a penalty keeps it
GROWN = 5.0  # times its first value, or a blind discriminator's loss: a loss that is out of proportion
FEWEST_LINES = 8  # of a log, two a quarter, to speak of growth
NEAR = 1.0  # standard deviations between two means: the better guess between them is wrong in 31 % of the cases
FAR = 0.5  # nats a dimension: as much as means one standard deviation apart in each
BLIND = 0.95  # of the mean image's error, and of another image's reconstruction's
DISAGREE = 1 / 3  # of the images
HALF = 0.5  # of a component's images of one class; of the components that are so; of a loss's growth at first
ERRORS = 2.0  # standard errors by which k-means has to be better


@dataclass(frozen=True)
class Finding:
    """What a check has measured about one thing; where it is a `fault`, with changes of the spec to try."""

    code: str  # of `spec.faults.FAULTS`
    measured: str  # a clause in the spec's words
    fault: bool
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Case:
    """What checks look at: the plan, results on one split, the lines of the log, how many classes a category has."""

    plan: Plan
    results: tuple[Result, ...] = ()
    records: tuple[Record, ...] = ()
    classes: Callable[[str], int] = lambda _: 0

    def of(self, name: str, **wanted: Any) -> list[Result]:
        """The model's results of that name that have a value, whose fields are as wanted."""
        wanted = {"part": "model", **wanted}
        found = [result for result in self.results if result.name == name and result.value is not None]
        return [result for result in found if all(getattr(result, key) == value for key, value in wanted.items())]

    @property
    def clustered(self) -> tuple[ReadoutPlan, ...]:
        """The categories that no label supervises."""
        return tuple(readout for readout in self.plan.every_readout if not readout.supervised)

    def curve(self, name: Metric) -> list[float]:
        """What training has logged under a name, line after line."""
        values = [line.get(str(name)) for line in self.records]
        return [float(value) for value in values if isinstance(value, int | float)]

    def last_epoch(self, name: Metric) -> float | None:
        """The mean over the lines that begin within the last epoch; the last line where none does."""
        known = [line for line in self.records if isinstance(line.get(str(name)), int | float)]
        begins = [0.0, *(line.get("epoch", 0.0) for line in known)]
        values = [
            float(line[str(name)])
            for line, begin in zip(known, begins, strict=False)
            if line is known[-1] or begin >= begins[-1] - 1
        ]
        return statistics.fmean(values) if values else None


@dataclass(frozen=True)
class Health:
    """What every check that applies has found."""

    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that are faults."""
        return tuple(finding for finding in self.findings if finding.fault)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the faults, each once."""
        return tuple(dict.fromkeys(finding.code for finding in self.faults))


def check(
    plan: Plan, results: Sequence[Result], records: Sequence[Record], classes: Callable[[str], int] = lambda _: 0
) -> Health:
    """What every check finds, in the order of `CHECKS`.

    Args:
        plan: the compiled spec.
        results: of an evaluation, on one split.
        records: the lines of training.
        classes: how many classes a category is compared with; 0 where nobody says.
    """
    case = Case(plan, tuple(results), tuple(records), classes)
    return Health(tuple(finding for found in CHECKS.values() for finding in found(case)))


def health_of_run(folder: Path, evaluation: Evaluation, records: Sequence[Record] | None = None) -> Health:
    """The health of a run, on the split that was scored last; changes to try are those with which its spec compiles.

    Args:
        folder: the run directory.
        evaluation: what was found out about it.
        records: the lines of its log, where they are read already.
    """
    found = findings_of_run(folder, evaluation, records)
    written = (folder / SPEC).read_text(encoding="utf-8")
    spec = load_text(written)
    tried = changes.agreeing([possible(spec, written, each.changes if each.fault else ()) for each in found.findings])
    return Health(tuple(replace(each, changes=of) for each, of in zip(found.findings, tried, strict=True)))


def findings_of_run(folder: Path, evaluation: Evaluation, records: Sequence[Record] | None = None) -> Health:
    """The same with changes that nobody has tried to compile."""
    plan = compile_spec(load_spec(folder / SPEC))
    known = record.read(folder / METRICS) if records is None else records
    return check(plan, evaluation.of(evaluation.split), known, lambda variable: len(evaluation.classes_of(variable)))


def lines(health: Health) -> list[str]:
    """A verdict, then each fault with what was measured and what to try."""
    if not health.findings:
        return []
    if not health.faults:
        return [f"health: nothing is wrong by {counted(len(health.findings), 'check')}"]
    found = [f"health: {counted(len(health.faults), 'fault')}"]
    for fault in health.faults:
        found += [f"  {fault.code}: {fault.measured}", *(f"      try {change}" for change in fault.changes)]
    return [*found, f"  `ammgraph explain {health.codes[0]}` says more"]


def verdict(health: Health) -> list[str]:
    """The same in a line at most, of one of several runs."""
    return [f"{line}: {', '.join(health.codes)}" if health.faults else line for line in lines(health)[:1]]


def as_json(health: Health) -> list[dict[str, Any]]:
    """Every finding, for tools."""
    return [
        {
            "code": finding.code,
            "fault": finding.fault,
            "measured": finding.measured,
            "try": [change.override for change in finding.changes],
        }
        for finding in health.findings
    ]


# ------------------------------------------------------------------------------------------------ categories


def _unused(case: Case) -> list[Finding]:
    """#{k: u_k < 0.1 / K} by q(y|x), of variables that no label supervises."""
    found = []
    for readout in case.clustered:
        for result in case.of("component_use", variable=readout.name, rule="posterior"):
            used = in_use(_numbers(result))
            without = [str(k) for k in range(len(used)) if not used[k]]
            measured = f"`{result.by}` uses {int(used.sum())} of {len(used)} components of `{result.variable}`"
            if without:
                measured += (
                    f"; the others ({_some(without)}) are the most probable one for less than "
                    f"{_percent(0.1 / len(used))} of {result.on}"
                )
            factor = case.plan.draw(readout.draw).factor_of(readout.variable)
            tries = changes.surer_categories(case.plan, factor)
            least = max(int(used.sum()), case.classes(readout.name))  # fewer than classes cannot tell them apart
            tries += changes.fewer_categories(case.plan, readout.variable, least)
            found.append(Finding("unused-components", measured, bool(without), tries))
    return found


def _k_means(case: Case) -> list[Finding]:
    """E > e + 2 sqrt(e (1 - e) / n): clustering errors of q(y|x), and of k-means with as many clusters."""
    found = []
    for readout in case.clustered:
        size = case.plan.variable(readout.variable).shape[0]
        protocol = first_protocol(size, case.classes(readout.name))
        wanted = {"variable": readout.name, "protocol": protocol}
        own = case.of("clustering_error", rule="posterior", **wanted)
        others = case.of("clustering_error", rule="k-means", part="baseline", **wanted)
        if not own or not others:
            continue
        error, other = _number(own[0]), _number(others[0])
        margin = ERRORS * math.sqrt(other * (1 - other) / others[0].examples)
        measured = (
            f"clustering error of `{own[0].by}`, {protocol}, is {_percent(error)}; k-means on the {_values(own[0])} "
            f"has {_percent(other)}"
        )
        found.append(Finding("worse-than-k-means", measured, error > other + margin, changes.longer(case.plan)))
    return found


def _mixed(case: Case) -> list[Finding]:
    """#{k in use: max_c T[k, c] < half of sum_c T[k, c]}: components without a class that most of their images have.

    A component between two classes occurs in good models; a fault is that half of the components are so. Fewer
    categories than classes have to share.
    """
    found = []
    for readout in case.clustered:
        wanted = {"variable": readout.name, "rule": "posterior"}
        for purity, use in zip(case.of("component_purity", **wanted), case.of("component_use", **wanted), strict=False):
            kept = [share for share, used in zip(_numbers(purity), in_use(_numbers(use)), strict=True) if used]
            if case.classes(readout.name) > len(_numbers(use)) or not kept:
                continue
            pure = sum(share >= HALF for share in kept)
            measured = (
                f"{pure} of {counted(len(kept), 'component')} in use of `{readout.name}` hold mostly one class, by "
                f"`{purity.by}` on {purity.on}"
            )
            found.append(Finding("mixed-components", measured, pure < HALF * len(kept), changes.longer(case.plan)))
    return found


def _disagree(case: Case) -> list[Finding]:
    """(1/N) sum_i 1{argmax q(y|x_i) != argmax p(y|z_i)}."""
    found = []
    for readout in case.plan.every_readout:
        for result in case.of("rule_disagreement", variable=readout.name):
            rules = " and ".join(f"`{rule}`" for rule in result.by.split(" against "))
            measured = f"{rules}, by eq. 19, choose different categories for {_percent(_number(result))} of {result.on}"
            evidence = readout.bayes.evidence if readout.bayes is not None else ()
            tries = changes.matched(case.plan, evidence)
            found.append(Finding("rules-disagree", measured, _number(result) > DISAGREE, tries))
    return found


# ------------------------------------------------------------------------------------------------ latents and images


def _coincide(case: Case) -> list[Finding]:
    """#{k: d_k < 1}, d_k the distance of the mean of p(z|y = k) from the nearest other in standard deviations."""
    found = []
    for readout in case.plan.readouts:
        if readout.bayes is None:
            continue
        draw = case.plan.draw(readout.bayes.draw)
        factors = [draw.factor_of(name) for name in readout.bayes.evidence]
        for result in case.of("component_distance", by=" ".join(factor.text for factor in factors)):
            distances = _numbers(result)
            near = sum(distance < NEAR for distance in distances)
            measured = (
                f"{near} of {len(distances)} means of `{result.by}` are nearer to another one than their scale; the "
                f"nearest are {min(distances):.2g} scales apart"
            )
            tries = [change for factor in factors for change in changes.wider_components(case.plan, draw, factor)]
            found.append(Finding("components-coincide", measured, near > 0, tuple(tries)))
    return found


def _mismatch(case: Case) -> list[Finding]:
    """KL(N(m_k, v_k) || p(z|y = k)) / n, m_k and v_k mean and (co)variance of q's z given k, over images."""
    found = []
    for result in case.of("latent_mismatch"):
        rules = " and ".join(f"`{text}`" for text in result.by.split(" against "))
        measured = f"{rules} are {_number(result):.2g} nats a dimension apart, category by category, on {result.on}"
        tries = changes.matched(case.plan, result.variable.split(", "))
        found.append(Finding("latent-mismatch", measured, _number(result) > FAR, tries))
    return found


def _rebuilt(case: Case) -> list[Finding]:
    """E (x - r)^2 against E (x - E x)^2 and E (x_i - r_j)^2: a sharp image of the right kind may lose to the mean image
    alone, and is still nearer to its own image than to others.
    """
    found = []
    for item in case.plan.reconstructions:
        names = ("reconstruction_error", "mean_image_error", "exchanged_error")
        by_name = [case.of(name, variable=item.variable) for name in names]
        if not all(by_name):
            continue
        error, mean_image, exchanged = (_number(results[0]) for results in by_name)
        example = by_name[0][0].example
        measured = (
            f"reconstruction error of `{item.variable}` is {error:.3g}; that of the mean {example} is "
            f"{mean_image:.3g}, that of another {example}'s reconstruction {exchanged:.3g}"
        )
        fault = error > BLIND * mean_image and error > BLIND * exchanged
        found.append(Finding("blind-reconstruction", measured, fault, changes.rebuilding(case.plan, item)))
    return found


# ------------------------------------------------------------------------------------------------ training


def _wins(case: Case) -> list[Finding]:
    """Right in more than 80 % of the last epoch, and paying less than half of what a blind discriminator pays.

    Neither alone: the learning rate falls, generators stand still, and a discriminator that has seen hardly any
    difference is right in 80 % without being sure. One that is right in 95 % has won even where a penalty keeps it
    unsure. Not asked are games of labelled examples, which are few enough to be known by heart, those against which
    nobody learns, nor those whose logit has no zero, as Wasserstein's.
    """
    found = []
    for game in case.plan.games:
        right, pays = (case.last_epoch(Metric(game.name, what)) for what in (ACCURACY, "discriminator"))
        blind = _blind_loss(game)
        nobody = _of_few(case.plan, game) or not case.plan.players(game.name, "generator")
        if right is None or pays is None or blind <= 0 or nobody:
            continue
        measured = (
            f"`{game.discriminator}` is right in {_percent(right)} of the last epoch's examples of game "
            f"`{game.name}`, and pays {pays:.3g} where one that cannot tell pays {blind:.3g}"
        )
        fault = right > ALL_BUT_RIGHT or (right > RIGHT and pays < SURE * blind)
        network = case.plan.network(game.discriminator.owner)
        tries = (*changes.penalised(game, 5), changes.slower(network, 0.3))
        found.append(Finding("discriminator-wins", measured, fault, tries))
    return found


def _diverges(case: Case) -> list[Finding]:
    """m_1 < m_2 < m_3 < m_4, m_4 - m_3 >= (m_2 - m_1) / 2, m_4 > 5 s: medians of a loss over the quarters of training.

    s is the largest of |m_1| and what a blind discriminator pays, or for a term the sum of its |m_1| and of the largest
    |m_i| of each other term. Of a game it is the player who pays more that diverges; of a term only growth counts, for
    a likelihood has no bound below.
    """
    found = []
    terms = {term.name: _medians(case.curve(Metric(term.name, "value"))) for term in case.plan.terms}
    largest = {name: max(map(abs, medians), default=0.0) for name, medians in terms.items()}
    curves = [
        (f"term `{name}`", name, medians, sum(largest.values()) - largest[name] + (abs(medians[0]) if medians else 0.0))
        for name, medians in terms.items()
    ]
    for game in case.plan.games:
        for role in ("discriminator", "generator"):
            medians = _medians(case.curve(Metric(game.name, role)))
            what = f"the {role}'s loss of game `{game.name}`"
            curves.append((what, game.name, medians, max(_blind_loss(game), 1.0)))
    for what, owner, medians, scale in curves:
        if not medians:
            continue
        grows = all(one < two for one, two in pairwise(medians))
        fault = grows and medians[3] - medians[2] >= HALF * (medians[1] - medians[0])
        fault = fault and medians[3] > GROWN * max(abs(medians[0]), scale)
        shown = " -> ".join(f"{median:.3g}" for median in medians)
        penalties = [change for game in case.plan.games if game.name == owner for change in changes.penalised(game, 5)]
        tries = (*penalties, changes.slowest(case.plan, 0.1, _players(case.plan, owner)))
        found.append(Finding("diverging-loss", f"{what} over the quarters of training: {shown}", fault, tries))
    return found


CHECKS: dict[str, Callable[[Case], list[Finding]]] = {
    "unused-components": _unused,
    "worse-than-k-means": _k_means,
    "mixed-components": _mixed,
    "rules-disagree": _disagree,
    "components-coincide": _coincide,
    "latent-mismatch": _mismatch,
    "blind-reconstruction": _rebuilt,
    "discriminator-wins": _wins,
    "diverging-loss": _diverges,
}


def _medians(values: Sequence[float]) -> tuple[float, ...]:
    """Of each quarter; nothing of a log that is too short."""
    if len(values) < FEWEST_LINES:
        return ()
    ends = [round(len(values) * quarter / 4) for quarter in range(5)]
    return tuple(statistics.median(values[start:end]) for start, end in pairwise(ends))


def _blind_loss(game: GamePlan) -> float:
    """What the discriminator pays with every logit 0."""
    logits = {name: Logit(name) for _, name in game.real + game.fake}
    sides = [[(weight, logits[name]) for weight, name in side] for side in (game.real, game.fake)]
    zeros: losses.Leaves = {logit: torch.zeros(1) for logit in logits.values()}
    return float(losses.value(loss(game.objective, "discriminator", *sides), zeros))


def _of_few(plan: Plan, game: GamePlan) -> bool:
    """Whether a side of the game takes labelled examples."""
    origins = [factor.origin for name in game.draws for factor in plan.draw(name).factors]
    return any(isinstance(origin, FromData) and origin.source.part == "labeled" for origin in origins)


def _players(plan: Plan, owner: str) -> tuple[str, ...]:
    roles: tuple[Literal["discriminator", "generator", "value"], ...] = ("discriminator", "generator", "value")
    return tuple(dict.fromkeys(name for role in roles for name in plan.players(owner, role)))


def _numbers(result: Result) -> tuple[float, ...]:
    return result.value if isinstance(result.value, tuple) else ()


def _number(result: Result) -> float:
    assert isinstance(result.value, float)
    return result.value


def _values(result: Result) -> str:
    return "pixels" if result.example == "image" else "vectors"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _some(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
