"""Adam, SGD and RMSprop: torch's own steps, in functions.

The classes of `torch.optim` load torch's compiler when the first of them is made, which takes as long as torch itself.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from ammgraph.spec.training import Adam, RmsProp, Sgd


class Optimizer:
    """One network's (R21), and what it remembers of each parameter since its first step, by the parameter's number."""

    def __init__(self, how: Adam | Sgd | RmsProp, parameters: Sequence[Tensor]) -> None:
        self.how, self.parameters = how, list(parameters)
        self.state: dict[int, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """Update every parameter in place."""
        if not self.state:
            fresh = {
                index: {name: torch.zeros_like(value) for name, value in slots.items()}
                for index, slots in self.remembered().items()
            }
            self.load(fresh)
        pairs = zip(self.parameters, gradients, strict=True)
        laid_out = [_laid_out_as(parameter, gradient) for parameter, gradient in pairs]
        slots = {name: [slots[name] for slots in self.state.values()] for name in self._names()}
        how, decay = self.how, self.how.weight_decay
        if isinstance(how, Adam):
            self._adam(how, laid_out, slots, rate)
        elif isinstance(how, Sgd):
            sgd(
                self.parameters,
                laid_out,
                slots.get("momentum_buffer", []),  # type: ignore[arg-type]
                fused=True,
                weight_decay=decay,
                momentum=how.momentum,
                lr=rate,
                dampening=0,
                nesterov=False,
                maximize=False,
            )
        else:
            rmsprop(
                self.parameters,
                laid_out,
                slots["square_avg"],
                [],
                [],
                slots["step"],
                foreach=True,
                lr=rate,
                alpha=how.decay,
                eps=how.epsilon,
                weight_decay=decay,
                momentum=0,
                centered=False,
            )

    def _adam(self, how: Adam, gradients: list[Tensor], slots: Mapping[str, list[Tensor]], rate: float) -> None:
        adam(
            self.parameters,
            gradients,
            slots["exp_avg"],
            slots["exp_avg_sq"],
            [],
            slots["step"],
            fused=True,
            amsgrad=False,
            beta1=how.betas[0],
            beta2=how.betas[1],
            lr=rate,
            weight_decay=how.weight_decay,
            eps=how.epsilon,
            maximize=False,
        )

    def remembered(self) -> dict[int, dict[str, Tensor]]:
        """Tensors of the types and shapes of all that it remembers."""
        number, names = torch.zeros(()), self._names()
        own = [{name: number if name == "step" else parameter for name in names} for parameter in self.parameters]
        return dict(enumerate(own)) if names else {}

    def load(self, state: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Go on with what one remembered; a fused step counts where its parameters are, any other on the CPU."""
        counts_at_home = isinstance(self.how, Adam)
        self.state = {}
        for index, slots in state.items():
            parameter = self.parameters[index]
            self.state[index] = {
                name: _laid_out_as(parameter, value.to(parameter.device))
                if value.dim()
                else value.to(parameter.device if counts_at_home else "cpu")
                for name, value in slots.items()
            }

    def _names(self) -> tuple[str, ...]:
        if isinstance(self.how, Sgd):
            return ("momentum_buffer",) if self.how.momentum else ()
        return ("step", "exp_avg", "exp_avg_sq") if isinstance(self.how, Adam) else ("step", "square_avg")


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """The same numbers in the parameter's memory layout: a fused step walks both as they lie in memory."""
    return value if value.stride() == parameter.stride() else torch.empty_like(parameter).copy_(value)
