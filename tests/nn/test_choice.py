"""Rows that choose, multiply, turn and mirror: by hand and against torch, values and gradients."""

import pytest
import torch
from small_encoder import close, compute, encoder, normal
from torch import Tensor

from ammgraph.nn.networks import Mode

ROWS = ("k: {input: x, op: linear, channels: 3}", "t: {input: x, channels: 12, width: 3}")


def test_a_row_chooses_one_of_its_runs_of_channels() -> None:
    network, x = encoder(*ROWS, "c: {input: t, choose: k}"), normal(5, 2, 4, 4)
    values: dict[str, Tensor] = {"x": x, "k": torch.eye(3, dtype=torch.float64)[[0, 2, 1, 1, 0]][:, :, None, None]}
    network.compute(["t", "c"], values, 5, {}, "e", Mode.TRAIN)
    for example, k in enumerate([0, 2, 1, 1, 0]):
        assert close(values["c"][example], values["t"][example, 4 * k : 4 * k + 4])


def test_what_is_chosen_is_a_sum_weighted_by_what_chooses_and_passes_both_gradients() -> None:
    network, x = encoder(*ROWS, "c: {input: t, choose: k, activation: tanh}"), normal(5, 2, 4, 4)
    values = compute(network, x)
    expected = torch.einsum("bk,bkchw->bchw", values["k"].flatten(1), values["t"].reshape(5, 3, 4, 2, 2)).tanh()
    assert close(values["c"], expected)
    weights = list(network.parameters())[:4]
    pairs = [torch.autograd.grad(v.square().sum(), weights, retain_graph=True) for v in (values["c"], expected)]
    assert all(close(a, b) for a, b in zip(*pairs, strict=True))
    assert all(float(gradient.abs().max()) > 0 for gradient in pairs[0])


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_a_quarter_turn_is_rot90_and_four_of_them_are_none(n: int) -> None:
    x = normal(5, 2, 4, 4).requires_grad_()
    found = compute(encoder(f"h: {{input: x, activation: quarter_turn {n}}}"), x)["h"]
    assert torch.equal(found, torch.rot90(x, n, (2, 3)))
    assert torch.equal(torch.rot90(found, 8 - n, (2, 3)), x)
    direction = normal(5, 2, 4, 4, seed=2)
    (slope,) = torch.autograd.grad((found * direction).sum(), x)
    assert torch.equal(slope, torch.rot90(direction, -n, (2, 3)))


def test_a_quarter_turn_is_anticlockwise() -> None:
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=torch.float64)
    network = encoder("h: {input: x, activation: quarter_turn 1}", channels=1, size=2)
    assert compute(network, x)["h"].tolist() == [[[[2.0, 4.0], [1.0, 3.0]]]]


def test_flip_mirrors_left_for_right() -> None:
    x = normal(5, 2, 4, 4)
    found = compute(encoder("h: {input: x, activation: flip}"), x)["h"]
    assert torch.equal(found, x[..., [3, 2, 1, 0]])


def test_a_product_of_an_image_and_a_vector_is_a_gain_for_each_channel() -> None:
    rows = ("c: {input: x, channels: 3, width: 2}", "g: {input: x, op: linear, channels: 3}")
    network, x = encoder(*rows, "f: {input: c * g + g | c}"), normal(5, 2, 4, 4)
    values = compute(network, x)
    gain = values["g"].reshape(5, 3, 1, 1)
    expected = torch.cat([values["c"] * gain + gain, values["c"]], 1)
    assert close(values["f"], expected)
    weights = list(network.parameters())[:4]
    pairs = [torch.autograd.grad(v.square().sum(), weights, retain_graph=True) for v in (values["f"], expected)]
    assert all(close(a, b) for a, b in zip(*pairs, strict=True))


def test_a_product_of_vectors_is_repeated_beside_an_image() -> None:
    rows = ("c: {input: x, channels: 3, width: 2}", "g: {input: x, op: linear, channels: 3}")
    values = compute(encoder(*rows, "f: {input: c | g * g}"), normal(5, 2, 4, 4))
    assert close(values["f"][:, 3:], (values["g"] ** 2).expand(-1, -1, 3, 3))


def test_the_square_of_a_row_is_not_folded_into_a_dropout() -> None:
    rows = ("h: {input: x, activation: leaky_relu 0.3}", "g: {input: h * h, channels: 2, width: 2, dropout: 0.2}")
    network, x = encoder(*rows), normal(5, 2, 4, 4)
    found = compute(network, x, {"e/g.mask": torch.ones(5, 2, 4, 4, dtype=torch.bool)})
    expected = torch.where(x > 0, x, 0.3 * x) ** 2 / 0.8
    own = network.row("g")
    assert close(found["g"], torch.nn.functional.conv2d(expected, own.weight, own.bias))
