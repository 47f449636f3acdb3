"""What ammgraph itself answers, for comparison with an export: a model that has learned nothing, and its answers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ammgraph.data.records import Split
from ammgraph.evaluation.evaluate import category_scores, infer
from ammgraph.nn.model import Model, build, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.draws import DrawPlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import inferring_draw


def untrained(plan: Plan) -> Model:
    """Random weights, and running statistics and gains that are not those of the beginning."""
    generator = torch.Generator().manual_seed(0)
    model = build(plan, generator, torch.full((10,), 0.1))
    for name, value in model.state_dict().items():
        if name.rpartition(".")[2] in ("gain", "shift", "running_mean", "running_variance"):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return model


def generating(plan: Plan) -> DrawPlan:
    """The distribution whose network draws x from other variables."""
    return next(draw for draw in plan.draws if draw.produces("x") and draw.factor_of("x").given)


@torch.no_grad()
def inferred(model: Model, plan: Plan, images: Tensor) -> dict[str, Tensor]:
    """Probabilities of categories and means of the real variables that are inferred from an image alone."""
    examples = Split(images, torch.zeros(len(images), dtype=torch.int64))
    found = {}
    for readout in plan.readouts:
        scores = category_scores(model, plan, readout, examples)[""]
        found[readout.variable] = torch.softmax(scores, dim=1)
    for variable in plan.variables:
        draw = inferring_draw(plan, variable.name)
        if variable.kind == "real" and draw is not None:
            samples = infer(model, plan, draw, {variable.name}, examples).samples
            found[variable.name] = samples[variable.name].flatten(1)
    return found


@torch.no_grad()
def generated(model: Model, plan: Plan, latents: Sequence[Tensor]) -> Tensor:
    """The mean image of latents, each B x n, in the order of the factor's conditions."""
    draw = generating(plan)
    given = draw.factor_of("x").given
    conditions = {name: value[:, :, None, None] for name, value in zip(given, latents, strict=True)}
    only = frozenset({"x"})
    return sample_draw(model, draw, {}, {}, Mode.EVAL, given=conditions, batch=len(latents[0]), only=only).samples["x"]
