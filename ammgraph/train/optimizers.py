"""Optimizers of a plan's networks: how each is made, and what one remembers when a run goes on."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import torch

from ammgraph.plan.metric import RATE, Metric
from ammgraph.plan.networks import NetworkPlan


def optimizer_of(plan: NetworkPlan, parameters: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
    """One state for each network (R21); the learning rate is set before every update."""
    how, of = plan.optimizer, _uncompiled(getattr(torch.optim, plan.optimizer.function))
    on_cuda = bool(parameters) and parameters[0].device.type == "cuda"
    # Its count of steps is then the device's too, as a captured graph needs it.
    capturable = {"capturable": True} if on_cuda and "capturable" in inspect.signature(of).parameters else {}
    made = of(parameters, how.learning_rate.at(0), **how.arguments, **capturable)
    if capturable:
        made._warned_capturable_if_run_uncaptured = True  # the first steps run as they are
    return made


@cache
def _uncompiled(of: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """The same without the wrappers that keep torch's compiler out: they import it, which takes a second."""
    inside = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    bare = {name: inspect.unwrap(getattr(of, name)) for name in inside}
    return type(of.__name__, (of,), {**bare, "step": torch.no_grad()(inspect.unwrap(of.step))})


def changing_rates(networks: Iterable[NetworkPlan], epoch: float, step: int) -> dict[str, float]:
    """The learning rates at a step, by the names under which they are logged, of those networks whose rate changes."""
    changing = ((n.name, n.optimizer.learning_rate) for n in networks if n.learns and n.optimizer.learning_rate.changes)
    return {str(Metric(name, RATE)): float(f"{rate.at(epoch, step):.6g}") for name, rate in changing}


def slots(plan: NetworkPlan, optimizer: torch.optim.Optimizer) -> dict[int, dict[str, torch.Tensor]]:
    """What an optimizer that has made a step remembers of each parameter, by the shapes; values do not count."""
    parameters = optimizer.param_groups[0]["params"]
    small = torch.zeros(2, dtype=parameters[0].dtype, requires_grad=True)
    small.grad = torch.zeros_like(small)
    tried = optimizer_of(plan, [small])
    tried.step()
    return {
        index: {name: parameter if value.shape == small.shape else value for name, value in tried.state[small].items()}
        for index, parameter in enumerate(parameters)
    }


def load_slots(optimizer: torch.optim.Optimizer, slots: dict[int, dict[str, torch.Tensor]]) -> None:
    """Let an optimizer go on with what one remembered, in the memory layout of its parameters; the rest is the plan's.

    A fused optimizer trusts that what it remembers lies in memory as the parameters do.
    """
    parameters = optimizer.param_groups[0]["params"]
    laid_out = {
        index: {name: laid_out_as(parameters[index], value) if value.dim() else value for name, value in slot.items()}
        for index, slot in slots.items()
    }
    optimizer.load_state_dict({"state": laid_out, "param_groups": optimizer.state_dict()["param_groups"]})


@torch.no_grad()
def clipped(gradients: list[torch.Tensor], longest: float | None) -> Sequence[torch.Tensor]:
    """G min(1, c / (|g| + 1e-6)), |g| the norm of all parts together (Pascanu et al. 2013); as it is without a c."""
    if longest is None:
        return gradients
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return torch._foreach_mul(gradients, (longest / (norm + 1e-6)).clamp(max=1.0))


def laid_out_as(parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The same numbers in the parameter's memory layout: a fused optimizer walks both as they lie in memory."""
    return gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)
