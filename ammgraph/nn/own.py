"""Modules that a program adds: how one is built from a seed, how it is asked, and what is seen of it beforehand.

A vector of n is (B, n) to such a module, an image (B, C, H, W); so is what it gives.
"""

import torch
from torch import Tensor, nn

from ammgraph.layers.operations import Own, Seen, Shape

EXAMPLES = 3  # of a trial


class _Unfit(ValueError):
    """What is seen to be wrong here, and not raised by the module."""


def built(own: Own, shape: Shape, seed: int) -> nn.Module:
    """The module for inputs of a shape, its weights by that seed; torch's own generator stands as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            module = own.build(shape)
        except Exception as error:  # whatever a stranger's code raises
            raise ValueError(f"what builds it raises {_said(error)}") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"what builds it gives {type(module).__name__}, expected a torch.nn.Module")
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.momentum is not None:
            part.num_batches_tracked = None  # counts what nothing reads
    return module


def passed(module: nn.Module, x: Tensor, training: bool, moving: bool = True) -> Tensor:
    """What a module makes of examples, B x C x H x W; its buffers stay as they are where they are not `moving`."""
    module.train(training)
    given = x.flatten(1) if x.shape[2:] == (1, 1) else x
    if moving:
        found: Tensor = module(given)
    else:
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        found = torch.func.functional_call(module, buffers, (given,))
    if not isinstance(found, Tensor):
        raise _Unfit(f"it gives {type(found).__name__}, expected a tensor")
    return found[:, :, None, None] if found.dim() == 2 else found


def seen(own: Own, shape: Shape) -> Seen:
    """What a module does with inputs of a shape: it is built and tried on random examples.

    Raises:
        ValueError: it raises an error, gives another number of examples or no numbers, draws random numbers, or a
            parameter or its input gets no gradient.
    """
    module = built(own, shape, 0)
    for name, buffer in module.named_buffers():
        if not buffer.is_floating_point():
            raise ValueError(f"its buffer `{name}` is {_kind(buffer)}; expected floats")
    frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
    if frozen:
        raise ValueError(
            f"its parameter `{frozen[0]}` does not learn; let it, and say `trainable: false` of its network"
        )
    x = torch.randn(EXAMPLES, *shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    held: list[int] = []
    hooks = [
        part.register_forward_hook(lambda _part, _given, out: held.append(out.numel() if torch.is_tensor(out) else 0))
        for part in module.modules()
        if not list(part.children())
    ]
    from torch.utils.flop_counter import FlopCounterMode  # looks for Triton, which takes a tenth of a second

    with FlopCounterMode(display=False) as counter:
        out = _tried(module, x, training=True)
    for hook in hooks:
        hook.remove()
    if out.dim() != 4 or out.shape[0] != EXAMPLES:
        raise ValueError(f"{EXAMPLES} examples {_text(x)} give {_text(out)}, expected (B, n) or (B, C, H, W)")
    if out.dtype != x.dtype:
        raise ValueError(f"it gives {_kind(out)} of {_kind(x)}; expected the same")
    _check_numbers(module, x, out)
    return Seen(
        shape=(out.shape[1], out.shape[2], out.shape[3]),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        multiply_adds=counter.get_total_flops() // (2 * EXAMPLES),
        held=max(0, sum(held) - out.numel()) // EXAMPLES,
    )


def _check_numbers(module: nn.Module, x: Tensor, out: Tensor) -> None:
    """It gives the same numbers each time, finite ones, in evaluation too, and gradients reach all that learns."""
    if not torch.isfinite(out).all() or not torch.isfinite(still := _tried(module, x, training=False)).all():
        raise ValueError("it gives numbers that are not finite, of normal ones")
    if not torch.equal(_tried(module, x, training=True, seed=0), out):
        raise ValueError("it gives other numbers the second time, by what it keeps; a row depends on its input alone")
    if not torch.equal(_tried(module, x, training=True, seed=1), out):
        raise ValueError("it draws random numbers; let the row have them, by `dropout` or `noise`")
    if still.shape != out.shape:
        raise ValueError(f"it gives {_text(out)} in training and {_text(still)} in evaluation")
    named = {"its input": x, **{f"its parameter `{name}`": value for name, value in module.named_parameters()}}
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    if not out.requires_grad:
        raise ValueError("no gradient reaches its input")
    gradients = torch.autograd.grad((weights * out).sum(), list(named.values()), allow_unused=True)
    for name, gradient in zip(named, gradients, strict=True):
        if gradient is None or not torch.isfinite(gradient).all():
            raise ValueError(f"{'no' if gradient is None else 'an infinite'} gradient reaches {name}")


def _tried(module: nn.Module, x: Tensor, training: bool, seed: int = 0) -> Tensor:
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return passed(module, x, training, moving=False)
    except _Unfit:
        raise
    except Exception as error:  # whatever a stranger's code raises
        raise ValueError(f"it raises {_said(error)}") from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _text(values: Tensor) -> str:
    return f"({', '.join(map(str, values.shape))})"


def _kind(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")
