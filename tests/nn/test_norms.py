"""Normalisations of one example by itself: against torch's layers, values and gradients, and what they do not see."""

import pytest
import torch
from small_encoder import close, compute, encoder, normal, row
from torch import nn

from ammgraph.nn.networks import Mode

NORMS = {
    "layer": lambda: nn.GroupNorm(1, 6),
    "group 3": lambda: nn.GroupNorm(3, 6),
    "instance": lambda: nn.InstanceNorm2d(6, affine=True),
}


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_is_torch_s(norm: str) -> None:
    network = encoder(f"h: {{input: x, channels: 6, width: 3, norm: {norm}, activation: tanh}}")
    own, theirs = row(network, "h"), NORMS[norm]().double()
    with torch.no_grad():
        own.gain.add_(0.3 * normal(6, seed=2))
        own.shift.add_(0.3 * normal(6, seed=3))
    theirs.load_state_dict({"weight": own.gain.data, "bias": own.shift.data})
    x = normal(5, 2, 4, 4).requires_grad_()
    found = compute(network, x)["h"]
    expected = torch.tanh(theirs(torch.nn.functional.conv2d(x, own.weight, own.bias)))
    assert close(found, expected, 1e-10)
    weights = [[own.weight, own.gain, own.shift], [own.weight, theirs.weight, theirs.bias]]
    slopes = [torch.autograd.grad(v.square().sum(), x, create_graph=True)[0] for v in (found, expected)]
    firsts = [
        torch.autograd.grad(v.sum(), w, retain_graph=True) for v, w in zip((found, expected), weights, strict=True)
    ]
    seconds = [torch.autograd.grad(s.square().sum(), w) for s, w in zip(slopes, weights, strict=True)]
    for ours, torch_s in (slopes, *zip(*firsts, strict=True), *zip(*seconds, strict=True)):
        assert close(ours, torch_s, 1e-10)


def test_layer_norm_of_a_vector_is_torch_s_layer_norm() -> None:
    x = normal(5, 6, 1, 1)
    found = compute(encoder("h: {input: x, norm: layer}", channels=6, size=1), x)["h"]
    assert close(found.flatten(1), nn.LayerNorm(6, dtype=torch.float64)(x.flatten(1)), 1e-10)


@pytest.mark.parametrize("norm", NORMS)
def test_an_example_is_normalised_alike_whatever_stands_beside_it_and_in_every_mode(norm: str) -> None:
    network, x = encoder(f"h: {{input: x, channels: 6, width: 3, norm: {norm}}}"), normal(5, 2, 4, 4)
    whole = compute(network, x)["h"]
    assert close(whole[:1], compute(network, x[:1])["h"])
    assert close(whole, compute(network, x, mode=Mode.EVAL)["h"])
    assert set(dict(row(network, "h").named_buffers())) == set()


@pytest.mark.parametrize(("norm", "bias"), [("layer", True), ("group 3", True), ("instance", False)])
def test_a_layer_has_a_bias_unless_its_norm_subtracts_it_again(norm: str, bias: bool) -> None:
    network = encoder(f"h: {{input: x, channels: 6, width: 3, norm: {norm}}}")
    assert (row(network, "h").bias is not None) == bias
    assert network.plan.row("h").parameters == 6 * 2 * 9 + 2 * 6 + 6 * bias
