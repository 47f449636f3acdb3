"""The networks of a plan as a PyTorch module that answers for itself: what it infers, what it generates.

Examples are images (N, C, H, W), uint8 or floats in [0, 1], or vectors (N, D) in the units of the data.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from ammgraph.api import arguments
from ammgraph.data.given import read_examples
from ammgraph.data.vectors import Scaling
from ammgraph.diagnostics import RunError, counted, nearest
from ammgraph.evaluation.encode import encode
from ammgraph.evaluation.examples import check_shape, example_of
from ammgraph.evaluation.metrics import Array
from ammgraph.evaluation.sample import generating
from ammgraph.evaluation.synthesis import generate, unit
from ammgraph.nn import model as networks
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import ancestry, data_set_of
from ammgraph.show.text import network_text


class Model(networks.Model):
    """The networks of a plan, which know it; weights are shared with the model that they are of.

    Args:
        plan: the compiled spec.
        model: its networks and the constants of its priors.
        scalings: how vectors of the data were scaled, by data set; "" is the name of one without.
    """

    def __init__(
        self, plan: Plan, model: networks.Model, scalings: Mapping[str, Scaling] = MappingProxyType({})
    ) -> None:
        super().__init__(plan)
        self.networks = model.networks
        for name, constant in model.named_buffers(recurse=False):
            self.register_buffer(name, constant)
        self.plan, self.scalings = plan, scalings

    @property
    def scaling(self) -> Scaling | None:
        """How vectors of the first data set were scaled."""
        return self.scalings.get(self.plan.data_names[0])

    def __repr__(self) -> str:
        head = f"Model: {self.plan.title}" if self.plan.title else "Model"
        parts = [network_text(network) for network in self.plan.networks]
        return "\n\n".join([f"{head}, {counted(self.plan.parameters, 'parameter')}", *parts])

    def infer(self, x: Tensor | Array) -> dict[str, Tensor]:
        """What is inferred from examples alone, by variable, in mean mode: no noise, dropout or batch statistics.

        q(y|x) of a categorical y, (N, K); E[z|x] of a real z, (N, n). A model that takes labels has none of what
        depends on them.

        Args:
            x: images (N, C, H, W), uint8 or floats in [0, 1], or vectors (N, D) in the units of the data.

        Raises:
            RunError: the examples have another shape than the model's, or nothing is inferred from them alone.
        """
        examples = self.stored(x)
        values = encode(self, self.plan, examples, ("",) * len(examples)).values
        names = [variable.name for variable in self.plan.variables if variable.name in values]
        return {name: torch.from_numpy(values.get(f"{name}_posterior", values[name])) for name in names}

    def generate(self, n: int, *, seed: int | None = None, **given: int | Sequence[int] | Tensor) -> Tensor:
        """Samples of the first observed variable that p draws from priors, and from what is given, alone.

        Args:
            n: how many.
            seed: of the noise; unless given torch's own generator decides, so that `torch.manual_seed` does.
            given: categories, by the name of their variable: one for all samples, or n of them, from 0. What is not
                given is drawn; a label that p takes from data must be given.

        Returns:
            Images (n, C, H, W) in [0, 1], or vectors (n, D) in the units of the data, float64.

        Raises:
            RunError: nothing can be sampled, an argument is none, or there is no such variable or category.
        """
        n, seed = arguments.whole("n", n, 1), arguments.maybe_whole("seed", seed)
        name, draw = generating(self.plan, None, given=given)
        known = {
            factor.variables[0]: self.plan.variable(factor.variables[0]).shape[0]
            for factor in ancestry(draw, name)
            if self.plan.variable(factor.variables[0]).kind == "categorical"
        }
        fixed = {variable: _categories(variable, value, n, known) for variable, value in given.items()}
        seed = int(torch.randint(2**62, ())) if seed is None else seed
        with torch.no_grad():
            drawn = generate(self, self.plan, draw, name, fixed, n, seed)[name]
        if not self.plan.variable(name).vector:
            return unit(self.plan, name, drawn)
        scaling = self.scalings.get(data_set_of(self.plan, name))
        return (drawn.cpu().double() if scaling is None else scaling.undo(drawn)).flatten(1)

    def stored(self, x: Tensor | Array) -> Tensor:
        """As they are stored, vectors as they were scaled."""
        examples, example = read_examples(x), example_of(self.plan)
        check_shape(example, examples, of_arrays=True)
        scaling = self.scalings.get(example.of)
        return examples if scaling is None else scaling.apply(examples)


def _categories(name: str, value: int | Sequence[int] | Tensor, n: int, known: Mapping[str, int]) -> Tensor:
    """The category of each of n samples."""
    if name not in known:
        hint = nearest(name, known)
        names = " or ".join(f"`{other}`" for other in known) or "none: this model draws no category"
        raise RunError(f"`{name}` cannot be given, expected {names}{f'; {hint}' if hint else ''}")
    categories = arguments.wholes(name, value)
    if categories.ndim == 0:
        categories = categories.expand(n)
    if categories.shape != (n,):
        raise RunError(f"`{name}` has shape {tuple(categories.shape)}, expected one category, or {n}: one a sample")
    if int(categories.min()) < 0 or int(categories.max()) >= known[name]:
        raise RunError(f"`{name}` has {known[name]} categories, from 0 to {known[name] - 1}")
    return categories
