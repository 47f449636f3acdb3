"""What a trained model generates: samples for chosen categories, paths between latents, means of components.

Networks run in eval mode. Noise comes from a generator of its own seed, so that looking at a model changes no run.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ammgraph.data.records import Split, scale_images
from ammgraph.evaluation.evaluate import infer
from ammgraph.evaluation.metrics import Array
from ammgraph.nn.densities import component_parameters
from ammgraph.nn.model import Model, draw_noise, one_hot, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.draws import DrawPlan, FactorPlan, FromDraw, FromNetwork, FromPrior, Site
from ammgraph.plan.evaluation_cost import BATCH
from ammgraph.plan.plan import Plan, ReconstructionPlan
from ammgraph.plan.queries import ancestry, sampling_draw
from ammgraph.runs import strips
from ammgraph.spec.schema import Mixture

# --------------------------------------------------------------------------------------------------- sampling


def generated(
    model: Model, plan: Plan, draw: DrawPlan, variable: str, fixed: Mapping[str, Tensor], count: int, seed: int
) -> Tensor:
    """Samples of an image variable in [0, 1], (count, C, H, W); see `generate`."""
    return unit(plan, variable, generate(model, plan, draw, variable, fixed, count, seed)[variable])


def generate(
    model: Model, plan: Plan, draw: DrawPlan, variable: str, fixed: Mapping[str, Tensor], count: int, seed: int
) -> dict[str, Tensor]:
    """Samples of a variable and of everything that it depends on, by name, (count, C, H, W) each.

    Args:
        model: the networks.
        plan: the compiled spec.
        draw: a distribution of `generating_draw`.
        variable: what is drawn.
        fixed: categorical variable -> category of every sample, (count,); everything else is drawn.
        count: number of samples.
        seed: of the noise.
    """
    like = next(model.parameters())
    device, dtype = like.device, like.dtype
    generator = torch.Generator(device).manual_seed(seed)
    factors = ancestry(draw, variable, given=fixed)
    names = frozenset(name for factor in factors for name in factor.variables)
    parts: list[dict[str, Tensor]] = []
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        given = {
            name: one_hot(labels[start : start + size].to(device), plan.variable(name).shape[0], dtype)
            for name, labels in fixed.items()
        }
        sites = sampling_sites(plan, factors, size)
        noise = {site.name: draw_noise(site, generator, device, dtype) for site in sites}
        parts.append(sample_draw(model, draw, {}, noise, Mode.EVAL, given=given, batch=size, only=names).samples)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def sampling_sites(plan: Plan, factors: tuple[FactorPlan, ...], batch: int) -> list[Site]:
    """The random tensors of sampling: priors, and every random activation. Nothing disturbs the input of a row."""
    sites = []
    for factor in factors:
        origin = factor.origin
        if isinstance(origin, FromPrior):
            sites.append(Site(origin.site.name, origin.site.kind, "prior", batch, origin.site.shape))
        elif isinstance(origin, FromNetwork):
            network = plan.network(origin.evaluation.network)
            for name in origin.closure:
                prefix = f"{origin.evaluation.name}/{name}"
                sites += [
                    Site(f"{prefix}.{tensor.name}", tensor.kind, "sample", batch, tensor.shape)
                    for tensor in network.row(name).tensors
                    if not tensor.disturbs
                ]
    return sites


def strips_of(model: Model, plan: Plan) -> dict[str, Array]:
    """The same `strips.COLUMNS` samples of every image variable that is generated, uint8 (n, C, H, W), by its name.

    Their noise is that of seed 0, whatever the weights are.
    """
    found = {}
    for variable in plan.variables:
        found_draw = sampling_draw(plan, variable.name)
        if variable.kind == "image" and found_draw is not None and variable.shape[0] <= strips.CHANNELS:
            draw, category = found_draw
            fixed = columns_of(plan, category)
            images = generated(model, plan, draw, variable.name, fixed, strips.COLUMNS, seed=0)
            found[variable.name] = (images * 255).round().to(torch.uint8).cpu().numpy()
    return found


def columns_of(plan: Plan, category: str) -> dict[str, Tensor]:
    """The category of each column of a strip, by its name: all of them in their order, or as many, evenly chosen."""
    size = plan.variable(category).shape[0] if category else 0
    return {category: torch.arange(strips.COLUMNS) * size // strips.COLUMNS} if category else {}


# --------------------------------------------------------------------------------------------------- latents


def latent_path(
    model: Model, plan: Plan, item: ReconstructionPlan, first: Split, last: Split, steps: int, category_path: str
) -> tuple[Tensor, tuple[tuple[str, str], ...]]:
    """Images on the path between the mean-mode latents of two images each, both ends included.

    Real latents move on a straight line. Categorical ones move on the line between the two vectors (`linear`), which
    leaves the one-hots, or jump at the middle (`switch`).

    Returns:
        Images in [0, 1], (R, steps, C, H, W), and the path that each latent takes.
    """
    generate = plan.draw(item.generate)
    names = generate.factor_of(item.variable).given
    ends = [infer(model, plan, plan.draw(item.infer), set(names), end).samples for end in (first, last)]
    paths = {name: category_path if plan.variable(name).kind == "categorical" else "linear" for name in names}
    columns = []
    for place in torch.linspace(0, 1, steps).tolist():
        given = {
            name: torch.lerp(ends[0][name], ends[1][name], place if path == "linear" else float(place >= 0.5))
            for name, path in paths.items()
        }
        drawn = sample_draw(
            model, generate, {}, {}, Mode.EVAL, given=given, batch=len(first), only=frozenset({item.variable})
        )
        columns.append(unit(plan, item.variable, drawn.samples[item.variable]))
    return torch.stack(columns, dim=1), tuple(paths.items())


def component_means(model: Model, plan: Plan, variable: str) -> tuple[str, Tensor]:
    """(the category, the means (K, n) of p(variable | category = k)) where a distribution has such a normal factor."""
    for draw in plan.draws:
        for factor in draw.factors:
            if factor.variables != (variable,) or len(factor.given) != 1 or isinstance(factor.origin, FromDraw):
                continue
            category = plan.variable(factor.given[0])
            if category.kind != "categorical" or not _is_mixture(factor):
                continue
            size = category.shape[0]
            device = next(model.parameters()).device
            return category.name, component_parameters(model, factor, size, device, torch.float32)[0]
    return "", torch.zeros(0, plan.variable(variable).shape[0])


def _is_mixture(factor: FactorPlan) -> bool:
    origin = factor.origin
    return factor.density.kind == "normal" or (isinstance(origin, FromPrior) and isinstance(origin.prior, Mixture))


# --------------------------------------------------------------------------------------------------- images


def unit(plan: Plan, variable: str, images: Tensor) -> Tensor:
    """Images of a variable's range in [0, 1]; without a range they are taken to be there."""
    low, high = plan.variable(variable).range or (0.0, 1.0)
    return ((images - low) / (high - low)).clamp(0, 1)


def data_images(images: Tensor) -> Tensor:
    """Stored images as float32 in [0, 1]."""
    return scale_images(images, 0.0, 1.0)
