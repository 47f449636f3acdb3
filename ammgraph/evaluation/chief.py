"""The number that one looks for first: what the spec's readout got wrong, k-means beside it, and what was published."""

from dataclasses import dataclass

from ammgraph.evaluation.results import Evaluation, Result
from ammgraph.plan.plan import Plan
from ammgraph.spec.published import Published
from ammgraph.start.listing import published_source

# In this order, after what was published; of clusters by `first_protocol`.
ASKED_FIRST = ("classification_error", "clustering_error", "knn_error", "probe_error", "reconstruction_error")


@dataclass(frozen=True)
class Chief:
    """A number, what it is compared with on the same images, and what the literature has of the same measure."""

    result: Result
    baseline: Result | None
    published: tuple[Published, ...]


def chief(plan: Plan, evaluation: Evaluation) -> Chief | None:
    """The chief number of an evaluation, on the split that was scored last; None where it has none of its kind."""
    results = [result for result in evaluation.of(evaluation.split) if not isinstance(result.value, tuple)]
    own = [result for result in results if _is_own(result, evaluation)]
    asked = [r for number in plan.published for r in own if r.name == number.metric]
    # Features are judged by their neighbours, unless what was published is of clusters.
    others = [r for name in ASKED_FIRST for r in own if r.name == name and r.rule != "k-means"]
    told = [*asked, *others, *(r for r in own if r.name == "clustering_error")]
    if not told:
        return None
    known = (result for result in told if result.variable == told[0].variable and result.value is not None)
    found = next(known, told[0])
    published = tuple(number for number in plan.published if number.metric == found.name)
    return Chief(found, next((r for r in results if _is_baseline(r, found)), None), published)


def rows(plan: Plan, evaluation: Evaluation) -> list[tuple[str, str]]:
    """The number, k-means' and what was published: what it is, and its value; none where there is no number."""
    found = chief(plan, evaluation)
    if found is None:
        return []
    result, baseline = found.result, found.baseline
    weights = ", averaged weights" if evaluation.weights == "ema" else ""
    on = f"on {result.on}{weights}{_kept(plan, evaluation)}"
    by = f", by {'k-means' if result.rule == 'k-means' else result.by}" if result.rule else ""
    told = [(f"{result.label}{by}", f"{result.shown}, {on}")]
    if baseline is not None:
        told.append(("k-means" if baseline.rule else baseline.measure, baseline.shown))
    if found.published:
        told.append(("published", "; ".join(published_source(number) for number in found.published)))
    return told


def _kept(plan: Plan, evaluation: Evaluation) -> str:
    """Of which step the state is, where it need not be the last one."""
    return "" if plan.evaluation.keep is None else f", of the best state, step {evaluation.step:,}"


def lines(plan: Plan, evaluation: Evaluation) -> list[str]:
    """The same, three lines at most, for a terminal; and why there is no value, where there is none."""
    told = rows(plan, evaluation)
    width = max((len(label) for label, _ in told), default=0)
    found = chief(plan, evaluation)
    void = found.result.void if found is not None and found.result.value is None else ""
    return [*(f"{label:<{width}}  {value}" for label, value in told), *([f"  void: {void}"] if void else [])]


def _is_own(result: Result, evaluation: Evaluation) -> bool:
    """Whether the model decided, on the very images that are scored."""
    if result.part != "model" or result.fitted_on not in ("", result.split):
        return False
    return result.name != "clustering_error" or result.protocol == evaluation.protocol_of(result.variable)


def _is_baseline(result: Result, of: Result) -> bool:
    """Whether a result is what k-means, or the mean image, has in the place of another."""
    if of.name == "reconstruction_error":
        return result.name == "mean_image_error" and result.variable == of.variable
    same = (result.name, result.variable, result.protocol) == (of.name, of.variable, of.protocol)
    return same and result.part == "baseline" and result.fitted_on in ("", result.split)
