"""`evaluation.features`: the row whose values are judged as features of the data's images."""

from collections.abc import Iterator, Mapping

from ammgraph.compiler.resolved import Resolved
from ammgraph.compiler.terms import evaluation_at
from ammgraph.diagnostics import Diagnostic, did_you_mean
from ammgraph.plan.draws import DrawPlan
from ammgraph.plan.plan import FeaturePlan, Plan
from ammgraph.plan.queries import from_image_alone
from ammgraph.spec.schema import Spec


def check_feature_names(resolved: Resolved) -> Iterator[Diagnostic]:
    """`evaluation.features` names a row of a network."""
    spec, wanted = resolved.spec, resolved.spec.evaluation.features
    if wanted is None:
        return
    span = spec.source.value("evaluation", "features")
    if wanted.owner not in spec.networks:
        hint = did_you_mean(wanted.owner, spec.networks)
        yield Diagnostic("unknown-network", f"`{wanted.owner}` is not a network", span, hint=hint)
    elif wanted.name not in spec.networks[wanted.owner].layers:
        hint = did_you_mean(wanted.name, spec.networks[wanted.owner].layers)
        yield Diagnostic("unknown-row", f"`{wanted.owner}` has no row `{wanted.name}`", span, hint=hint)


def check_kept(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """`evaluation.keep` has validation images to choose by, and a reconstruction to measure."""
    if spec.evaluation.keep is None:
        return
    span = spec.source.value("evaluation", "keep")
    for name, data in spec.data_sets.items():
        if not data.validation:
            message = "`keep` chooses by the validation images, and none are held out"
            expected = f"`validation: N` in `{'.'.join(spec.data_path(name))}`"
            yield Diagnostic("missing-key", message, span, expected=expected)
    if not plan.reconstructions:
        expected = "a distribution that infers all that another one draws an image from"
        yield Diagnostic("unknown-value", "this model reconstructs nothing", span, expected=expected)


def check_features(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """Some distribution infers all that the features' row reads from an image."""
    wanted = spec.evaluation.features
    if wanted is not None and plan.features is None:
        yield Diagnostic(
            "missing-factor",
            f"no distribution infers what `{wanted}` reads from an image alone",
            spec.source.value("evaluation", "features"),
            expected="a row of which one distribution has everything, from `data` on",
        )


def plan_features(resolved: Resolved, draws: Mapping[str, DrawPlan]) -> FeaturePlan | None:
    """The row at the first distribution that has what it reads, inferred from an image."""
    wanted = resolved.spec.evaluation.features
    if wanted is None:
        return None
    for name, draw in draws.items():
        evaluation, given, reads = evaluation_at(resolved, name, wanted)
        if reads and all(map(draw.produces, reads)) and from_image_alone(draw, *reads):
            rows = resolved.tables[wanted.owner].needed(wanted.name, given)
            return FeaturePlan(str(wanted), name, evaluation, rows, reads)
    return None
