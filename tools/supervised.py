"""Trains the network of q(y|x) by cross-entropy on the labelled examples alone: what a semi-supervised model adds to.

    tools/supervised specs/samm_mnist.yaml --data-dir DIR --trials 3

The network, its noise (dropout, affine maps), initialisation and labelled examples are the spec's; all other networks
and all unlabelled images are unused. Adam with betas 0.9 and 0.999; the learning rate begins at the spec's first and
falls to 0 as half a cosine.
Prints the classification error on the test images, else on all images of training, at the last step.
"""

import argparse
import dataclasses
import math
import statistics
from pathlib import Path

import torch
from torch.nn import functional as F

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import Dataset, load_data
from ammgraph.data.records import scale_images
from ammgraph.data.sampler import Sampler
from ammgraph.evaluation.evaluate import category_scores, evaluate
from ammgraph.nn.model import Model, draw_noise, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.draws import EvaluationPlan, FromNetwork, Site
from ammgraph.plan.plan import Plan, ReadoutPlan
from ammgraph.spec.load import load_spec
from ammgraph.train.streams import initial_model, stream_seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=1)
    options = parser.parse_args()
    plan = compile_spec(load_spec(options.spec, options.set))
    readout = next((readout for readout in plan.readouts if readout.supervised), None)
    if readout is None:
        raise SystemExit(f"{options.spec}: no categorical variable is inferred and has labels; expected a SAMM")
    factor = plan.draw(readout.draw).factor_of(readout.variable)
    if drawn := [name for name in factor.given if not plan.variable(name).range]:
        raise SystemExit(f"{options.spec}: `{factor.text}` reads {' and '.join(drawn)}, which labels do not train")
    dataset = load_data(plan.data, options.data_dir)
    if not len(dataset.labeled):
        raise SystemExit(f"{options.spec}: no labelled examples; expected `labeled: {{count: N}}` in `data`")
    name, split = dataset.scored()
    print(f"{dataset.description}; {len(dataset.labeled):,} labelled, {options.steps:,} steps")
    errors = []
    for seed in range(options.seed, options.seed + options.trials):
        model = train(plan, readout, dataset, seed, options.steps, options.batch_size)
        errors.append(evaluate(model, plan, split)[f"{readout.variable}/classification_error"])
        print(f"seed {seed}: classification error {100 * errors[-1]:.2f} % on {len(split):,} {name} images", flush=True)
    if len(errors) > 1:
        print(f"mean +- std (n - 1): {100 * statistics.mean(errors):.2f} +- {100 * statistics.stdev(errors):.2f} %")


def train(plan: Plan, readout: ReadoutPlan, dataset: Dataset, seed: int, steps: int, batch_size: int) -> Model:
    """min E_(x,y) labelled [-log q(y|x)], in nats; the model at its last step."""
    draw = plan.draw(readout.draw)
    factor = draw.factor_of(readout.variable)
    assert isinstance(factor.origin, FromNetwork)
    image = next(variable for variable in plan.variables if variable.name in factor.given and variable.range)
    assert image.range is not None
    network = factor.origin.evaluation
    alone = dataclasses.replace(readout, bayes=None)
    model = initial_model(plan, seed, dataset)
    parameters = [p for row in factor.origin.closure for p in model.network(network.network).row(row).parameters()]
    optimizer = torch.optim.Adam(parameters, betas=(0.9, 0.999))
    rate = plan.network(network.network).optimizer.learning_rate.at(0)
    size = min(batch_size, draw.batch_size, len(dataset.labeled))
    sampler = Sampler(dataset.labeled, size, stream_seed(seed, "data"), torch.device("cpu"))
    generator = torch.Generator().manual_seed(stream_seed(seed, "dropout"))
    sites = _sites(plan, network)
    for step in range(steps):
        chosen = dataset.train.at(next(sampler))
        images = scale_images(chosen.images, *image.range)
        noise = {name: draw_noise(site, generator, images.device, images.dtype)[:size] for name, site in sites.items()}
        drawn = sample_draw(
            model,
            draw,
            {image.name: images},
            noise,
            Mode.TRAIN,
            batch=size,
            only=frozenset({*factor.given, readout.variable}),
        )
        scores = category_scores(model, plan, alone, chosen, drawn)[""]
        optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
        gradients = torch.autograd.grad(F.cross_entropy(scores, chosen.labels), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    return model


def _sites(plan: Plan, network: EvaluationPlan) -> dict[str, Site]:
    """The network's random tensors, by the names that the readout gives them.

    A conditional may be evaluated in no turn as the readout does: then they are those of another evaluation.
    """
    every = [(*site.name.rpartition("/")[::2], site) for turn in plan.turns for site in turn.sites]
    own = {f"{network.name}/{tensor}": site for evaluation, tensor, site in every if evaluation == network.name}
    passes = (found.evaluation for turn in plan.turns for found in turn.passes)
    others = {found.name for found in passes if found.network == network.network}
    return own or {f"{network.name}/{tensor}": site for evaluation, tensor, site in every if evaluation in others}


if __name__ == "__main__":
    main()
