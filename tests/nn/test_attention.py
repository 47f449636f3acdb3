"""Attention over positions: against torch's own, values and both derivatives, and by hand for one example."""

import pytest
import torch
from small_encoder import close, compute, encoder, normal, row
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ammgraph.nn.functions import attention


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_torch_s_and_has_two_derivatives(heads: int) -> None:
    x = normal(3, 24, 3, 2).requires_grad_()
    q, k, v = (part.unflatten(1, (heads, -1)).flatten(3).transpose(2, 3) for part in x.chunk(3, 1))
    with sdpa_kernel(SDPBackend.MATH):
        expected = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(3, 8, 3, 2)
        found = attention(x, heads)
        assert close(found, expected, 1e-10)
        slopes = [torch.autograd.grad(y.tanh().sum(), x, create_graph=True)[0] for y in (found, expected)]
        assert close(*slopes, 1e-10)
        assert close(*(torch.autograd.grad(slope.square().sum(), x)[0] for slope in slopes), 1e-10)


def test_with_projections_it_is_torch_s_layer_of_many_heads() -> None:
    network = encoder(
        "c: {input: x, channels: 8, width: 2}",
        "p: {input: c, channels: 24, width: 1}",
        "a: {input: p, op: attention, channels: 8, heads: 4}",
        "o: {input: a, channels: 8, width: 1}",
    )
    layer = nn.MultiheadAttention(8, 4, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        layer.in_proj_weight.copy_(row(network, "p").weight.flatten(1))
        layer.in_proj_bias.copy_(row(network, "p").bias)
        layer.out_proj.weight.copy_(row(network, "o").weight.flatten(1))
        layer.out_proj.bias.copy_(row(network, "o").bias)
    values = compute(network, normal(5, 2, 4, 4))
    places = values["c"].flatten(2).transpose(1, 2)
    expected = layer(places, places, places)[0].transpose(1, 2).reshape(values["o"].shape)
    assert close(values["o"], expected, 1e-10)
    weights = [row(network, "p").weight, row(network, "o").weight]
    ours = torch.autograd.grad(values["o"].tanh().sum(), weights, retain_graph=True)
    theirs = torch.autograd.grad(expected.tanh().sum(), [layer.in_proj_weight, layer.out_proj.weight])
    assert all(close(a.flatten(1), b, 1e-10) for a, b in zip(ours, theirs, strict=True))


def test_it_learns_nothing_and_costs_two_products_of_all_pairs_of_positions() -> None:
    network = encoder("p: {input: x, channels: 24, width: 1}", "a: {input: p, op: attention, channels: 8, heads: 2}")
    plan = network.plan.row("a")
    assert (plan.parameters, plan.inner_shape) == (0, (8, 4, 4))
    assert plan.multiply_adds == 2 * 8 * 16 * 16
