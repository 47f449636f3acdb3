"""Where components lie: how far from each other, and how far from the latents that are inferred for each category."""

from dataclasses import replace

import torch
from torch import Tensor

from ammgraph.evaluation import metrics
from ammgraph.evaluation.evaluate import Answers, components_of, rule_text
from ammgraph.evaluation.metrics import Array
from ammgraph.evaluation.results import Common, Result
from ammgraph.nn import densities
from ammgraph.nn.functions import is_full, normal_divergence, triangle
from ammgraph.nn.model import Model
from ammgraph.plan.plan import Plan, ReadoutPlan

_LEAST_VARIANCE = 1e-12  # of a category with one image, or of latents that are all alike


@torch.no_grad()
def measure_components(model: Model, plan: Plan, readout: ReadoutPlan, split: str, answers: Answers) -> list[Result]:
    """How far apart the components p(z|y) are, and how far from them the z that are inferred for each category."""
    factors, size = components_of(plan, readout), plan.variable(readout.variable).shape[0]
    if not factors:
        return []
    like = next(model.parameters())
    parts = [densities.component_parameters(model, factor, size, like.device, like.dtype) for factor in factors]
    parts = [(mean.double().cpu(), spread.double().cpu()) for mean, spread in parts]
    names = ", ".join(factor.variables[0] for factor in factors)
    generated = " ".join(factor.text for factor in factors)
    found = []
    common = Common(names, "", generated, split, len(answers.scores[readout.variable, "posterior"]))
    if size > 1:
        distances = metrics.component_distances([(mean.numpy(), _covariance(mean, spread)) for mean, spread in parts])
        found.append(common.result("component_distance", tuple(distances.tolist()), "of each component"))
    latents = answers.latents.get(readout.variable)
    if latents is None:
        return found
    seen = torch.from_numpy(latents.count) > 0
    count = torch.from_numpy(latents.count)[seen]
    mean = torch.from_numpy(latents.total)[seen] / count[:, None]
    variance = torch.from_numpy(latents.squares)[seen] / count[:, None] - mean.square()
    log_variance = torch.log(variance.clamp(min=_LEAST_VARIANCE))
    sizes = [own.shape[1] for own, _ in parts]
    pairs = zip(mean.split(sizes, 1), log_variance.split(sizes, 1), parts, strict=True)
    apart = torch.stack([normal_divergence(m, v, own[seen], spread[seen]) for m, v, (own, spread) in pairs]).sum(0)
    mismatch = float((count * apart).sum() / count.sum()) / sum(sizes)
    infer = " ".join(plan.draw(readout.draw).factor_of(factor.variables[0]).text for factor in factors)
    common = replace(common, by=f"{infer} against {generated}", examples=int(count.sum()))
    by = f"by categories of {rule_text(plan, readout, 'posterior')}"
    return [*found, common.result("latent_mismatch", mismatch, by)]


def _covariance(mean: Tensor, spread: Tensor) -> Array:
    """The variances of components, (K, n), or where they have such their covariances, (K, n, n)."""
    if not is_full(mean, spread):
        return torch.exp(spread).numpy()
    scale = triangle(spread)
    return (scale @ scale.mT).numpy()
