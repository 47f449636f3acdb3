"""Features of images: the values of a row of a network, and how well they part the classes."""

import numpy as np
import torch

from ammgraph.data.records import Split
from ammgraph.evaluation.evaluate import batches, infer
from ammgraph.evaluation.metrics import Array
from ammgraph.nn.model import Model
from ammgraph.nn.networks import Mode
from ammgraph.plan.plan import FeaturePlan, Plan


@torch.no_grad()
def features_of(model: Model, plan: Plan, found: FeaturePlan, split: Split) -> Array:
    """The row's values at every image, in mean mode: float32, (N, D), all of its elements in one row."""
    device = next(model.parameters()).device
    network = model.network(found.network)
    parts = []
    for examples in batches(split, device):
        samples = infer(model, plan, plan.draw(found.draw), set(found.reads), examples)
        values = {local: samples.samples[name] for local, name in found.evaluation.bindings if name in found.reads}
        network.compute(found.rows, values, len(examples), {}, found.evaluation.name, Mode.EVAL)
        parts.append(values[found.rows[-1]].flatten(1).float().cpu().numpy())
    return np.concatenate(parts)
