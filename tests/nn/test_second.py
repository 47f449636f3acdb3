"""Second derivatives of convolutions: those of torch, by other kernels."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ammgraph.nn import functions, second

CASES = [
    ("conv", (4, 3, 7, 9), (5, 3, 3, 2), 1, 0),
    ("conv", (4, 3, 8, 8), (5, 3, 3, 3), 2, 1),
    ("conv", (4, 3, 8, 9), (5, 3, 2, 3), (2, 1), (0, 1)),
    ("conv", (4, 3, 5, 5), (6, 3, 5, 5), 1, 0),  # a matrix product
    ("conv_transpose", (4, 3, 4, 5), (3, 5, 3, 3), 2, 1),
    ("conv_transpose", (4, 3, 4, 4), (3, 2, 2, 3), (1, 2), 0),
    ("conv_transpose", (4, 3, 1, 1), (3, 5, 4, 4), 1, 0),  # a matrix product
]


def penalised(of: Callable[..., Tensor], leaves: list[Tensor], stride: object, padding: object) -> list[Tensor]:
    """Gradients of sum d + sum |grad_x d|^2 / 2, d a smooth function of two layers, by weights, bias and what x is."""
    start, weight, bias, last = leaves
    x = torch.tanh(start)
    d = (torch.tanh(of(x, weight, bias, stride, padding)) * last).sum((1, 2, 3))
    (slope,) = torch.autograd.grad(d.sum(), x, create_graph=True)
    return list(torch.autograd.grad(d.sum() + slope.square().sum() / 2, leaves))


@pytest.mark.parametrize(("name", "shape", "kernel", "stride", "padding"), CASES)
def test_a_penalty_has_the_gradients_that_torch_finds(
    name: str, shape: tuple[int, ...], kernel: tuple[int, ...], stride: object, padding: object
) -> None:
    torch.manual_seed(0)
    out = kernel[0 if name == "conv" else 1]
    drawn = [torch.randn(shape), torch.randn(kernel), torch.randn(out), torch.randn(out, 1, 1)]
    leaves = [leaf.double().requires_grad_() for leaf in drawn]
    wanted = penalised(functions.function(name), leaves, stride, padding)
    with second.sloped():
        own = second.operation(name)
    assert own is not functions.function(name)
    for found, expected in zip(penalised(own, leaves, stride, padding), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_with_a_graph_weights_have_no_slope_and_whoever_asks_sees_it() -> None:
    x, *parameters = (torch.randn(n, requires_grad=True) for n in ((2, 2, 5, 5), (3, 2, 3, 3), (3,)))
    with second.sloped():
        own = second.operation("conv")
    out = own(x, *parameters, 1, 0).square().sum()
    slope, *unknown = torch.autograd.grad(out, [x, *parameters], create_graph=True)
    assert slope.isfinite().all()
    assert all(part.isnan().all() for part in unknown)
    assert all(part.isfinite().all() for part in torch.autograd.grad(out, parameters))


def test_autocast_rounds_as_it_does_for_torch_s_own() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 2, 5, 5).requires_grad_(), torch.randn(3, 2, 3, 3).requires_grad_(), torch.randn(3)
    with second.sloped():
        own = second.operation("conv")
    found = []
    for of in (own, functions.function("conv")):
        with torch.autocast("cpu", torch.bfloat16):
            out = of(x, weight, bias, 1, 0)
        (slope,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        found.append((out, slope, *torch.autograd.grad(slope.square().sum(), weight)))
    assert [part.dtype for part in found[0]] == [torch.bfloat16, torch.float32, torch.float32]
    for own_part, torch_part in zip(*found, strict=True):
        torch.testing.assert_close(own_part, torch_part, rtol=2e-2, atol=2e-2 * torch_part.detach().abs().max().item())


def test_elsewhere_operations_are_torch_s_own() -> None:
    assert second.operation("conv") is functions.function("conv")
    with pytest.raises(ZeroDivisionError), second.sloped():
        raise ZeroDivisionError
    assert second.operation("conv") is functions.function("conv")
