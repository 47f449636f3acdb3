"""Where components lie: how far from each other, and how far from the latents that are inferred for each category."""

from dataclasses import replace

import torch
from torch import Tensor

from ammgraph.evaluation import metrics
from ammgraph.evaluation.evaluate import Answers, Latents, components_of, rule_text
from ammgraph.evaluation.metrics import Array
from ammgraph.evaluation.results import Common, Result
from ammgraph.nn import densities
from ammgraph.nn.functions import is_full, normal_divergence, triangle, triangles
from ammgraph.nn.model import Model
from ammgraph.plan.plan import Plan, ReadoutPlan

_LEAST_VARIANCE = 1e-12  # of a category with one image, or of latents that are all alike
_ROUNDING = 1e-10  # of a covariance whose images are fewer than its dimensions


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
    count = torch.from_numpy(latents[0].count)
    seen = count > 0
    apart = torch.zeros(int(seen.sum()), dtype=torch.float64)
    for own, (mean, spread) in zip(latents, parts, strict=True):
        apart += normal_divergence(*_inferred(own, seen), mean[seen], spread[seen])
    mismatch = float((count[seen] * apart).sum() / count.sum()) / sum(mean.shape[1] for mean, _ in parts)
    infer = " ".join(plan.draw(readout.draw).factor_of(factor.variables[0]).text for factor in factors)
    common = replace(common, by=f"{infer} against {generated}", examples=int(count.sum()))
    by = f"by categories of {rule_text(plan, readout, 'posterior')}"
    return [*found, common.result("latent_mismatch", mismatch, by)]


def _inferred(latents: Latents, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance, or triangle of a covariance, of the z that are inferred for each category with images."""
    count, total, squares = (torch.from_numpy(sums)[seen] for sums in (latents.count, latents.total, latents.squares))
    mean = total / count[:, None]
    if squares.ndim == 2:
        variance = squares / count[:, None] - mean.square()
        return mean, torch.log(variance.clamp(min=_LEAST_VARIANCE))
    covariance = squares / count[:, None, None] - mean[:, :, None] * mean[:, None]
    least = _LEAST_VARIANCE + _ROUNDING * covariance.diagonal(dim1=1, dim2=2).mean(1)
    return mean, triangles(covariance + least[:, None, None] * torch.eye(mean.shape[1], dtype=torch.float64))


def _covariance(mean: Tensor, spread: Tensor) -> Array:
    """The variances of components, (K, n), or where they have such their covariances, (K, n, n)."""
    if not is_full(mean, spread):
        return torch.exp(spread).numpy()
    scale = triangle(spread)
    return (scale @ scale.mT).numpy()
