"""Whether a model still computes numbers: weights may all be finite, and what they give is not."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ammgraph.nn.enumeration import in_evaluation
from ammgraph.nn.model import (
    Draw,
    Model,
    Parts,
    critic_inputs,
    critic_logits,
    critic_parts,
    draw_noise,
    one_hot,
    sample_draw,
)
from ammgraph.nn.networks import Mode
from ammgraph.plan.draws import DrawPlan, FromData, FromDraw
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import fields_of
from ammgraph.plan.turns import PassPlan

EXAMPLES = 2


@torch.no_grad()
def not_finite(plan: Plan, model: Model) -> str:
    """What a model gives that is no number: a variable's sample, or a discriminator's logit; empty where all is well.

    Distributions that need no data are drawn first; what they draw stands in for the data of the others.
    """
    like = next(model.parameters())
    generator = torch.Generator(like.device).manual_seed(0)
    sites = {site.name: site for turn in plan.turns for site in turn.sites if not site.disturbs}
    noise = {
        name: draw_noise(replace(site, batch=EXAMPLES), generator, like.device, like.dtype)
        for name, site in sites.items()
    }
    draws: dict[str, Draw] = {}
    for draw in sorted(plan.draws, key=lambda draw: _reads_data(plan, draw)):
        drawn = sample_draw(model, draw, _stand_in(plan, draw, draws, like), noise, Mode.EVAL, draws, batch=EXAMPLES)
        if draw.enumerated is not None and draw.enumerated.needed:
            drawn = in_evaluation(model, plan, draw, drawn)
        for variable, sample in drawn.samples.items():
            if not sample.isfinite().all():
                return f"`{variable}` of `{draw.factor_of(variable).text}`"
        draws[draw.name] = drawn
    for scored in (found for turn in plan.turns for found in turn.passes_of("scored")):
        inputs, parts = critic_inputs(scored, draws), critic_parts(scored, draws)
        for name, batch in _batches(scored, parts).items():  # those of all its draws
            for site in (site for site in sites.values() if site.name.rpartition(".")[0] == name):
                noise[site.name] = draw_noise(replace(site, batch=batch), generator, like.device, like.dtype)
        logits = critic_logits(model, scored, inputs, noise, Mode.EVAL, parts=parts)
        if not logits.isfinite().all():
            return f"`{scored.row}` of `{scored.evaluation.network}`"
    return ""


def _batches(scored: PassPlan, parts: Parts) -> dict[str, int]:
    """How many examples each row of a discriminator's pass has, by the first part of its noise's name."""
    once, every = sum(parts.sizes), sum(parts.logits)
    return {f"{scored.evaluation.name}/{row}": once if row in scored.shared else every for row in scored.rows}


def _reads_data(plan: Plan, draw: DrawPlan) -> bool:
    """Whether a draw, or one whose samples it takes, has a factor that comes from data."""
    origins = [factor.origin for factor in draw.factors]
    taken = [plan.draw(origin.draw) for origin in origins if isinstance(origin, FromDraw)]
    return any(isinstance(origin, FromData) for origin in origins) or any(_reads_data(plan, other) for other in taken)


def _stand_in(plan: Plan, draw: DrawPlan, drawn: Mapping[str, Draw], like: Tensor) -> dict[str, Tensor]:
    """For the data of a draw: samples of the same variables, else what is plain: grey, zeros, the first labels."""
    found = {}
    for name, field in fields_of(draw.factors).items():
        variable = plan.variable(name)
        samples = [other.samples[name] for other in drawn.values() if name in other.samples]
        if samples:
            found[name] = samples[0]
        elif field == "image":
            found[name] = like.new_full((EXAMPLES, *variable.shape), sum(variable.range or (0.0, 1.0)) / 2)
        elif field == "vector":
            found[name] = like.new_zeros((EXAMPLES, *variable.shape))
        else:
            labels = torch.arange(EXAMPLES, device=like.device) % variable.shape[0]
            found[name] = one_hot(labels, variable.shape[0], like.dtype)
    return found
