"""Weights as functions of what learns: against `torch.nn.utils.parametrizations`, values and gradients."""

from collections.abc import Callable

import pytest
import torch
from small_encoder import close, compute, encoder, normal, row
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ammgraph.nn.networks import Mode, Network

ROWS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "conv": ("channels: 3, width: 3, stride: 2, padding: 1", lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1)),
    "conv that is a product": ("channels: 3, width: 4", lambda: nn.Conv2d(2, 3, 4)),
    "linear": ("op: linear, channels: 3", lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 3))),
    "conv_transpose": (
        "op: conv_transpose, channels: 3, width: 4, stride: 2, padding: 1",
        lambda: nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1),
    ),
}
every_row = pytest.mark.parametrize("name", ROWS)


def network_of(name: str, norm: str) -> tuple[Network, nn.Module]:
    """Ours, and a layer of torch with the same v and bias; by output channel also where torch asks for `dim`."""
    columns, make = ROWS[name]
    network = encoder(f"h: {{input: x, {columns}, {norm}: true}}")
    torch_s = make().double()
    layer = list(torch_s.modules())[-1]
    layer.weight.data, layer.bias.data = row(network, "h").weight.data.clone(), row(network, "h").bias.data.clone()
    wrap = parametrizations.weight_norm if norm == "weightnorm" else parametrizations.spectral_norm
    wrap(layer, dim=1 if isinstance(layer, nn.ConvTranspose2d) else 0)
    return network, torch_s


def twice(out: Tensor, x: Tensor, weights: list[Tensor]) -> list[Tensor]:
    """Gradients of a loss, and of the squared norm of its gradient in x, as a penalty has it."""
    first = torch.autograd.grad(torch.tanh(out).sum(), [x, *weights], create_graph=True)
    return [*first, *torch.autograd.grad(first[0].square().sum(), weights[:-1])]


@every_row
def test_weight_norm_is_torch_s_by_output_channel(name: str) -> None:
    network, torch_s = network_of(name, "weightnorm")
    own = row(network, "h")
    layer = next(part for part in torch_s.modules() if hasattr(part, "parametrizations"))
    assert own.length.shape == layer.parametrizations.weight.original0.shape
    factor = 0.5 + torch.rand(own.length.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        own.length.mul_(factor)
        layer.parametrizations.weight.original0.mul_(factor)
    x = normal(6, 2, 4, 4).requires_grad_()
    found, expected = compute(network, x)["h"], torch_s(x)
    assert close(found.flatten(1), expected.flatten(1), 1e-10)
    g, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    ours = twice(found, x, [own.length, own.weight, own.bias])
    theirs = twice(expected.reshape(found.shape), x, [g, v, layer.bias])
    assert all(close(a, b, 1e-10) for a, b in zip(ours, theirs, strict=True))


@every_row
def test_weight_norm_starts_as_the_initializer_draws(name: str) -> None:
    columns, _ = ROWS[name]
    x = normal(6, 2, 4, 4)
    plain, normed = (encoder(f"h: {{input: x, {columns}{norm}}}") for norm in ("", ", weightnorm: true"))
    assert close(compute(plain, x)["h"], compute(normed, x)["h"])


def test_its_gradient_is_orthogonal_to_v() -> None:
    network = encoder("h: {input: x, channels: 3, width: 3, weightnorm: true}")
    out = compute(network, normal(6, 2, 4, 4))["h"]
    v = row(network, "h").weight
    (gradient,) = torch.autograd.grad(torch.tanh(out).sum(), v)
    assert gradient.norm() > 1
    assert close((gradient * v).sum((1, 2, 3)), torch.zeros(3, dtype=torch.float64), 1e-10)


@every_row
def test_spectral_norm_is_torch_s_with_one_iteration_before_each_turn(name: str) -> None:
    network, torch_s = network_of(name, "spectralnorm")
    own = row(network, "h")
    layer = next(part for part in torch_s.modules() if hasattr(part, "parametrizations"))
    norm = layer.parametrizations.weight[0]
    norm._u.copy_(own.left)
    norm._v.copy_(own.right)
    x = normal(6, 2, 4, 4).requires_grad_()
    for _ in range(3):
        network.step()
        found, expected = compute(network, x)["h"], torch_s.train()(x)  # torch iterates in each training pass
        assert close(found.flatten(1), expected.flatten(1), 1e-10)
        assert close(own.left, norm._u, 1e-10)
        assert close(own.right, norm._v, 1e-10)
        v = layer.parametrizations.weight.original
        ours = twice(found, x, [own.weight, own.bias])
        theirs = twice(expected.reshape(found.shape), x, [v, layer.bias])
        assert all(close(a, b, 1e-10) for a, b in zip(ours, theirs, strict=True))
        with torch.no_grad():
            change = 0.1 * normal(*v.shape, seed=5)
            own.weight.add_(change)
            v.add_(change)
    torch_s.eval()
    assert close(compute(network, x, mode=Mode.EVAL)["h"].flatten(1), torch_s(x).flatten(1), 1e-10)


@every_row
def test_spectral_norm_starts_near_the_largest_singular_value(name: str) -> None:
    columns, _ = ROWS[name]
    own = row(encoder(f"h: {{input: x, {columns}, spectralnorm: true}}"), "h")
    axis = 1 if "transpose" in name else 0
    values = [torch.linalg.svdvals(w.movedim(axis, 0).flatten(1)) for w in (own.weight, own.applied)]
    assert close(values[1], values[0] / values[0][0], 1e-2)


def test_passes_of_one_turn_apply_the_same_weights() -> None:
    network, x = encoder("h: {input: x, channels: 3, width: 3, spectralnorm: true}"), normal(6, 2, 4, 4)
    before = network.state_dict()["rows.row_h.left"].clone()
    first, second = compute(network, x)["h"], compute(network, x)["h"]
    assert torch.equal(first, second)
    assert torch.equal(before, row(network, "h").left)
    network.step()
    assert not torch.equal(before, row(network, "h").left)
