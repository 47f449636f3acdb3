"""Rows of a layer table: what each column does, in which order, in every mode; initial weights."""

import math
from collections.abc import Callable

import pytest
import torch
from small_encoder import close, compute, encoder, normal, row
from torch import Tensor, nn
from torch.nn import functional as F

from ammgraph.compiler.compile import compile_spec
from ammgraph.nn.functions import expn, straight_through
from ammgraph.nn.moves import random_affine
from ammgraph.nn.networks import Mode, Network, evaluate_input
from ammgraph.spec.load import load_text
from ammgraph.spec.notation import LARGEST_NUMBER, parse_input

# -------------------------------------------------------------------------------------------------------- activations

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu 0.2": lambda h: torch.maximum(h, 0.2 * h),
    "leaky_relu 0": lambda h: h.clamp(min=0),
    "relu": lambda h: h.clamp(min=0),
    "elu": lambda h: torch.where(h > 0, h, torch.exp(h) - 1),
    "tanh": lambda h: (torch.exp(2 * h) - 1) / (torch.exp(2 * h) + 1),
    "sigmoid": lambda h: 1 / (1 + torch.exp(-h)),
    "softplus": lambda h: torch.log(1 + torch.exp(h)),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_is_its_formula(activation: str) -> None:
    x = 2 * normal(6, 2, 4, 4)
    found = compute(encoder(f"h: {{input: x, activation: {activation}}}"), x)["h"]
    assert close(found, ACTIVATIONS[activation](x))


FOLDED = (
    "h: {input: x, channels: 3, width: 1, activation: leaky_relu 0.3}",
    "g: {input: h, channels: 2, width: 2, dropout: 0.2}",
)


def test_a_leaky_relu_that_one_dropout_reads_is_one_product_with_it_and_has_the_same_derivatives() -> None:
    network, x = encoder(*FOLDED), normal(6, 2, 4, 4).requires_grad_()
    mask = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(3)) < 0.8
    found = compute(network, x, {"e/g.mask": mask})
    assert "h" not in found
    h = F.conv2d(x, row(network, "h").weight, row(network, "h").bias)
    assert close(found["h.raw"], h)
    expected = F.conv2d(F.leaky_relu(h, 0.3) * mask / 0.8, row(network, "g").weight, row(network, "g").bias)
    assert close(found["g"], expected)
    weights = list(network.parameters())[:4]
    slopes = [torch.autograd.grad(value.square().sum(), x, create_graph=True)[0] for value in (found["g"], expected)]
    assert close(*slopes)
    second = [torch.autograd.grad(slope.square().sum(), weights, retain_graph=True) for slope in slopes]
    assert all(close(a, b) for a, b in zip(*second, strict=True))


@pytest.mark.parametrize(
    "rows",
    [
        ("h: {input: x, activation: leaky_relu 0.3}", "g: {input: h, channels: 2, width: 2}"),
        ("h: {input: x, activation: leaky_relu 0.3}", "g: {input: h + x, channels: 2, width: 2, dropout: 0.2}"),
        ("h: {input: x, activation: tanh}", "g: {input: h, channels: 2, width: 2, dropout: 0.2}"),
        (
            "h: {input: x, activation: leaky_relu 0.3, pool: max 2}",
            "g: {input: h, channels: 2, width: 2, dropout: 0.2}",
        ),
        (
            "h: {input: x, activation: leaky_relu 0.3}",
            "g: {input: h, channels: 2, width: 2, dropout: 0.2}",
            "f: {input: h, channels: 2, width: 2}",
            "e: {input: f + g}",
        ),
    ],
    ids=["no dropout", "a sum", "another activation", "a pool", "two readers"],
)
def test_other_rows_keep_their_value(rows: tuple[str, ...]) -> None:
    network = encoder(*rows)
    shapes = {plan.name: plan.in_shape for plan in network.plan.rows}
    mask = torch.ones(6, *shapes["g"], dtype=torch.bool)
    assert "h" in compute(network, normal(6, 2, 4, 4), {"e/g.mask": mask})


def test_a_folded_row_keeps_its_value_where_its_reader_is_not_computed_or_nothing_is_dropped() -> None:
    network, x = encoder(*FOLDED), normal(6, 2, 4, 4)
    alone: dict[str, Tensor] = {"x": x}
    network.compute(["h"], alone, 6, {}, "e", Mode.TRAIN)
    evaluated = compute(network, x, mode=Mode.EVAL)
    assert close(alone["h"], evaluated["h"])
    network.compute(["g"], alone, 6, {"e/g.mask": torch.ones(6, 3, 4, 4, dtype=torch.bool)}, "e", Mode.TRAIN)
    assert "g" in alone


def test_softmax_is_over_channels() -> None:
    x = normal(6, 5, 1, 1)
    found = compute(encoder("h: {input: x, activation: softmax}", channels=5, size=1), x)["h"]
    assert close(found, torch.exp(x) / torch.exp(x).sum(1, keepdim=True))


def test_expn_is_eq_20() -> None:
    x, eps = normal(6, 2, 4, 4), normal(6, 2, 4, 4, seed=2)
    found = compute(encoder("h: {input: x, activation: expn}"), x, {"e/h.eps": eps})["h"]
    assert close(found, torch.exp(0.5 * x) * eps)


def test_expn_has_the_gradient_of_a_standard_deviation_to_its_log_variance() -> None:
    log_variance, eps = torch.tensor([0.0, math.log(4.0)], requires_grad=True), torch.tensor([3.0, -1.0])
    value = expn(log_variance, eps)
    assert value.tolist() == pytest.approx([3.0, -2.0])
    assert torch.autograd.grad(value.sum(), log_variance)[0].tolist() == pytest.approx([1.5, -1.0])


def test_expn_without_noise_is_zero_whatever_the_variance() -> None:
    assert torch.equal(expn(torch.tensor([1e3, -1e3]), None), torch.zeros(2))


def test_straight_through_is_one_hot_and_has_the_softmax_s_gradient() -> None:
    logits, direction = normal(6, 4, 1, 1).requires_grad_(), normal(6, 4, 1, 1, seed=2)
    hard = straight_through(logits)
    assert close(hard, F.one_hot(logits.argmax(1), 4).transpose(1, 3).to(hard))
    (found,) = torch.autograd.grad((hard * direction).sum(), logits)
    (expected,) = torch.autograd.grad((torch.softmax(logits, 1) * direction).sum(), logits)
    assert close(found, expected)


def test_straight_through_chooses_one_of_equals() -> None:
    assert straight_through(torch.zeros(3, 4, 1, 1)).sum(1).flatten().tolist() == pytest.approx([1, 1, 1])


def test_gumbel_softmax_is_the_softmax_of_the_noisy_logits_over_the_temperature() -> None:
    x, gumbel = normal(6, 5, 1, 1), normal(6, 5, 1, 1, seed=2)
    network = encoder("h: {input: x, activation: gumbel_softmax 0.5}", channels=5, size=1)
    found = compute(network, x, {"e/h.gumbel": gumbel})["h"]
    assert close(found, torch.softmax((x + gumbel) / 0.5, 1))


# ------------------------------------------------------------------------------------------------------- affine maps


def moved(x: Tensor, *rows: list[float], scale: float = 1.0) -> Tensor:
    """The same (A | b) for every image."""
    return random_affine(x, scale, torch.tensor(rows, dtype=x.dtype).expand(len(x), 2, 3))


def test_an_affine_map_moves_turns_and_zooms_an_image() -> None:
    x = torch.arange(32, dtype=torch.float64).reshape(2, 1, 4, 4)
    right = moved(x, [0, 0, 1], [0, 0, 0], scale=0.5)  # half of [-1, 1]'s half: one pixel of four
    assert close(right, x[..., [1, 2, 3, 3]])
    assert close(moved(x, [0, 0, 0], [0, 0, -0.5]), x[..., [0, 0, 1, 2], :])
    assert close(moved(x, [-1, -1, 0], [1, -1, 0]), torch.rot90(x, 1, (2, 3)))
    assert close(moved(x, [-2, 0, 0], [0, -2, 0]), x.flip(2, 3))
    assert close(moved(x, [-1, 0, 0], [0, -1, 0]), x.mean((2, 3), keepdim=True).expand_as(x)[..., :4])
    assert close(moved(x, [0, 0, 0.25], [0, 0, 0])[..., :3], (x[..., :3] + x[..., 1:]) / 2)


def test_every_image_has_an_affine_map_of_its_own_and_all_its_channels_the_same() -> None:
    x, eps = normal(5, 3, 6, 4), normal(5, 2, 3)
    found = random_affine(x, 0.3, eps)
    for index in range(5):
        for channel in range(3):
            alone = random_affine(x[index : index + 1, channel : channel + 1], 0.3, eps[index : index + 1])
            assert close(found[index, channel], alone[0, 0])


def test_an_affine_map_is_torch_s_own_resampling_and_has_two_derivatives() -> None:
    x, eps = normal(4, 2, 7, 5).requires_grad_(), normal(4, 2, 3)
    grid = F.affine_grid(torch.eye(2, 3) + 0.3 * eps, [4, 2, 7, 5], align_corners=False)
    assert close(random_affine(x, 0.3, eps), F.grid_sample(x, grid, padding_mode="border", align_corners=False))
    assert torch.autograd.gradcheck(lambda x: random_affine(x, 0.3, eps).tanh(), (x,))
    assert torch.autograd.gradgradcheck(lambda x: random_affine(x, 0.3, eps).tanh(), (x,))


def test_an_affine_map_is_as_exact_under_autocast() -> None:
    x, eps = normal(4, 2, 28, 28).float(), normal(4, 2, 3).float()
    with torch.autocast("cpu", torch.bfloat16):
        found, rounded = random_affine(x, 0.1, eps), random_affine(x.bfloat16(), 0.1, eps)
    assert close(found, random_affine(x, 0.1, eps), 1e-6)
    assert rounded.dtype is torch.bfloat16
    assert close(rounded.float(), found, 2e-2)


def test_a_row_with_an_affine_map_leaves_the_image_in_mean_mode() -> None:
    x, eps = normal(6, 2, 4, 4), normal(6, 2, 3)
    network = encoder("h: {input: x, activation: random_affine 0.2}")
    assert close(compute(network, x, {"e/h.affine": eps})["h"], random_affine(x, 0.2, eps))
    assert compute(network, x, mode=Mode.EVAL)["h"] is x
    assert close(compute(network, x, {"e/h.affine": eps}, Mode.EVAL)["h"], random_affine(x, 0.2, eps))


@pytest.mark.parametrize("activation", ["expn", "sigmoid", "softmax", "straight_through", "gumbel_softmax 0.5"])
def test_a_row_that_carries_a_density_keeps_its_value_before_the_activation(activation: str) -> None:
    x = normal(6, 5, 1, 1)
    network = encoder(f"h: {{input: x, activation: {activation}}}", channels=5, size=1)
    assert close(compute(network, x, mode=Mode.EVAL)["h.raw"], x)


# -------------------------------------------------------------------------------------------------------------- pools


def test_pools_take_the_largest_and_the_mean_of_windows_that_tile_the_row() -> None:
    x = torch.arange(32, dtype=torch.float64).reshape(1, 2, 4, 4)
    largest = compute(encoder("h: {input: x, pool: max 2}"), x)["h"]
    mean = compute(encoder("h: {input: x, pool: avg 4}"), x)["h"]
    assert largest.tolist() == [[[[5, 7], [13, 15]], [[21, 23], [29, 31]]]]
    assert mean.flatten().tolist() == [7.5, 23.5]


def test_upsampling_repeats_every_position_and_has_two_derivatives() -> None:
    x = normal(2, 2, 4, 4).requires_grad_()
    found = compute(encoder("h: {input: x, activation: tanh, upsample: nearest 2 by 3}"), x)["h"]
    expected = x.tanh().repeat_interleave(2, 2).repeat_interleave(3, 3)
    assert torch.equal(found, expected)
    slopes = [torch.autograd.grad(v.square().sum(), x, create_graph=True)[0] for v in (found, expected)]
    seconds = [torch.autograd.grad(slope.square().sum(), x)[0] for slope in slopes]
    assert close(*slopes)
    assert close(*seconds)


# --------------------------------------------------------------------------------------------------------- operations

OPERATIONS = {
    # A kernel as large as its input: a matrix product.
    "conv that meets its input once": (
        "channels: 3, width: 4",
        lambda x, w, b: F.conv2d(x, w, b),
    ),
    "conv that meets its input once, with a stride": (
        "channels: 3, width: 4, stride: 2",
        lambda x, w, b: F.conv2d(x, w, b, stride=2),
    ),
    "conv as large as its input, with padding": (
        "channels: 3, width: 4, padding: 1",
        lambda x, w, b: F.conv2d(x, w, b, padding=1),
    ),
    "conv whose stride leaves one position of many": (
        "channels: 3, width: 3, stride: 2",
        lambda x, w, b: F.conv2d(x, w, b, stride=2),
    ),
    "conv": ("channels: 3, width: 2, padding: 1", lambda x, w, b: F.conv2d(x, w, b, padding=1)),
    "conv of width 1": ("channels: 3, width: 1", lambda x, w, b: F.conv2d(x, w, b)),
    "linear": (
        "op: linear, channels: 3",
        lambda x, w, b: (x.flatten(1) @ w.T + (0 if b is None else b))[..., None, None],
    ),
    "conv of rectangles": (
        "channels: 3, width: [3, 2], stride: [2, 1], padding: [1, 0]",
        lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 0)),
    ),
    "conv_transpose of rectangles": (
        "op: conv_transpose, channels: 3, width: [3, 2], stride: [2, 1], padding: [1, 0]",
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=(2, 1), padding=(1, 0)),
    ),
    "linear of a shape": (
        "op: linear, shape: [3, 2, 5]",
        lambda x, w, b: (x.flatten(1) @ w.T + (0 if b is None else b)).unflatten(1, (3, 2, 5)),
    ),
    "conv_transpose": (
        "op: conv_transpose, channels: 3, width: 3, stride: 2, padding: 1",
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1),
    ),
}
FROM_ONE_POSITION = {
    "conv_transpose": (
        "op: conv_transpose, channels: 3, width: 4",
        lambda x, w, b: F.conv_transpose2d(x, w, b),
    ),
    "conv_transpose with a stride": (
        "op: conv_transpose, channels: 3, width: 4, stride: 2",
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2),
    ),
    "conv_transpose with padding": (
        "op: conv_transpose, channels: 3, width: 4, padding: 1",
        lambda x, w, b: F.conv_transpose2d(x, w, b, padding=1),
    ),
    "conv_transpose of width 1": (
        "op: conv_transpose, channels: 3, width: 1",
        lambda x, w, b: F.conv_transpose2d(x, w, b),
    ),
    "conv of width 1": ("channels: 3, width: 1", lambda x, w, b: F.conv2d(x, w, b)),
}
CASES = [(columns, operation, 4) for columns, operation in OPERATIONS.values()] + [
    (columns, operation, 1) for columns, operation in FROM_ONE_POSITION.values()
]
NAMES = [*OPERATIONS, *(f"{name}, from one position" for name in FROM_ONE_POSITION)]


def first_and_second_derivatives(out: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """Of sum(tanh(out)), and of the squared norm of its gradient in the first input, as a penalty takes it."""
    first = torch.autograd.grad(torch.tanh(out).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(first[0].square().sum(), inputs)
    return [*first, *second]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("columns", "operation", "size"), CASES, ids=NAMES)
def test_an_operation_and_its_derivatives_are_those_of_pytorch(
    columns: str, operation: Callable[..., Tensor], size: int, bias: bool
) -> None:
    network = encoder(f"h: {{input: x, {columns}, bias: {str(bias).lower()}}}", size=size)
    x = normal(6, 2, size, size).requires_grad_()
    weight = row(network, "h").weight
    inputs = [x, weight, row(network, "h").bias] if bias else [x, weight]
    found, expected = compute(network, x)["h"], operation(x, weight, row(network, "h").bias)
    assert found.shape[1:] == network.plans["h"].out_shape
    assert close(found, expected)
    for ours, theirs in zip(
        first_and_second_derivatives(found, inputs), first_and_second_derivatives(expected, inputs), strict=True
    ):
        assert close(ours, theirs, 1e-11)


GROUPS = {
    "lse": lambda x, n: torch.logsumexp(x.reshape(len(x), n, -1, *x.shape[2:]), 2),
    "max": lambda x, n: torch.stack([part.amax(1) for part in x.chunk(n, dim=1)], 1),
}


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
@pytest.mark.parametrize("op", GROUPS)
def test_an_operation_on_groups_of_channels_and_its_derivatives_are_those_of_pytorch(op: str, channels: int) -> None:
    network = encoder(f"h: {{input: x, op: {op}, channels: {channels}}}", channels=6)
    x = normal(5, 6, 4, 4).requires_grad_()
    found, expected = compute(network, x)["h"], GROUPS[op](x, channels)
    assert found.shape == (5, channels, 4, 4)
    assert not list(row(network, "h").parameters())
    assert close(found, expected)
    for ours, theirs in zip(
        first_and_second_derivatives(found, [x]), first_and_second_derivatives(expected, [x]), strict=True
    ):
        assert close(ours, theirs)


@pytest.mark.parametrize("op", GROUPS)
def test_batch_norm_activation_and_pool_follow_an_operation_on_groups(op: str) -> None:
    columns = f"op: {op}, channels: 3, batchnorm: true, activation: tanh, pool: max 2, dropout: 0.25"
    network, x, mask = encoder(f"h: {{input: x, {columns}}}", channels=6), normal(5, 6, 4, 4), normal(5, 6, 4, 4) > -0.5
    h = GROUPS[op](x * mask / 0.75, 3)
    h = batch_norm(h, h.mean((0, 2, 3)), h.var((0, 2, 3), unbiased=False), row(network, "h"))
    assert close(compute(network, x, {"e/h.mask": mask})["h"], F.max_pool2d(torch.tanh(h), 2))


def test_groups_are_of_consecutive_channels() -> None:
    x = torch.tensor([1.0, 5, 3, 2, 0, 4]).double()[None, :, None, None]
    largest = compute(encoder("h: {input: x, op: max, channels: 3}", channels=6, size=1), x)["h"]
    summed = compute(encoder("h: {input: x, op: lse, channels: 2}", channels=6, size=1), x)["h"]
    assert largest.flatten().tolist() == [5, 3, 4]
    by_hand = [math.log(math.exp(1) + math.exp(5) + math.exp(3)), math.log(math.exp(2) + 1 + math.exp(4))]
    assert summed.flatten().tolist() == pytest.approx(by_hand, abs=1e-12)


def test_log_sum_exp_overflows_nowhere_and_is_taken_in_single_precision_of_numbers_in_half() -> None:
    network = encoder("h: {input: x, op: lse, channels: 1}", channels=1000, size=1)
    x = torch.full((2, 1000, 1, 1), 700.0, dtype=torch.float64)
    assert compute(network, 2 * x)["h"].flatten().tolist() == pytest.approx([1400 + math.log(1000)] * 2, abs=1e-12)
    small = network.float()
    with torch.autocast("cpu", torch.bfloat16):
        found = compute(small, torch.zeros(2, 1000, 1, 1, dtype=torch.bfloat16))["h"]
    assert found.dtype == torch.float32
    assert found.flatten().tolist() == pytest.approx([math.log(1000)] * 2, abs=1e-6)  # 6.90625 in bfloat16


# ------------------------------------------------------------------------------------------------------------- inputs


def test_an_input_sums_first_then_joins_and_repeats_one_position_over_all() -> None:
    network = encoder(
        "a: {input: x, channels: 2, width: 1}",
        "b: {input: x, channels: 2, width: 4}",
        "h: {input: a + b | zeros(1) | b}",
    )
    values = compute(network, normal(6, 2, 4, 4))
    a, b = values["a"], values["b"]
    assert values["h"].shape == (6, 5, 4, 4)
    assert torch.equal(values["h"][:, :2], a + b)
    assert torch.equal(values["h"][:, 2], torch.zeros(6, 4, 4, dtype=torch.float64))
    assert torch.equal(values["h"][:, 3:], b.expand(-1, -1, 4, 4))


def test_an_expression_of_rows_is_evaluated_like_a_row_s_input() -> None:
    a, b = normal(6, 2, 1, 1), normal(6, 2, 1, 1, seed=2)
    assert torch.equal(evaluate_input(parse_input("a + b", {}), {"a": a, "b": b}), a + b)
    assert torch.equal(evaluate_input(parse_input("a * b + a", {}), {"a": a, "b": b}), a * b + a)
    assert torch.equal(
        evaluate_input(parse_input("zeros(3)", {}), {"a": a}), torch.zeros(6, 3, 1, 1, dtype=torch.float64)
    )


# ------------------------------------------------------------------------------------------------------ order and mode

FULL = (
    "h: {input: x, channels: 3, width: 3, padding: 1, dropout: 0.25, batchnorm: true, "
    "activation: leaky_relu 0.2, pool: max 2}"
)


def batch_norm(h: Tensor, mean: Tensor, variance: Tensor, of: nn.Module) -> Tensor:
    def per_channel(v: Tensor) -> Tensor:
        return v[None, :, None, None]

    normalised = (h - per_channel(mean)) / torch.sqrt(per_channel(variance) + 1e-5)
    return normalised * per_channel(of.gain) + per_channel(of.shift)


def full_network() -> Network:
    network = encoder(FULL)
    with torch.no_grad():
        row(network, "h").gain.copy_(torch.tensor([0.5, 1.5, 2.0]))
        row(network, "h").shift.copy_(torch.tensor([0.1, -0.2, 0.3]))
    return network


@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.FROZEN])
def test_a_row_is_dropout_then_operation_then_batch_norm_then_activation_then_pool(mode: Mode) -> None:
    network, x, mask = full_network(), normal(6, 2, 4, 4), normal(6, 2, 4, 4, seed=2) > -0.5
    h = F.conv2d(x * mask / 0.75, row(network, "h").weight, padding=1)
    mean, variance = h.mean((0, 2, 3)), h.var((0, 2, 3), unbiased=False)
    h = F.leaky_relu(batch_norm(h, mean, variance, row(network, "h")), 0.2)
    assert close(compute(network, x, {"e/h.mask": mask}, mode)["h"], F.max_pool2d(h, 2))


def test_in_training_running_statistics_move_by_the_momentum_with_the_unbiased_variance() -> None:
    network, x = encoder("h: {input: x, batchnorm: true}"), 3 + 2 * normal(6, 2, 4, 4)
    compute(network, x)
    compute(network, x)
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=True)
    assert close(row(network, "h").running_mean, (0.1 + 0.9 * 0.1) * mean)
    assert close(row(network, "h").running_variance, 0.9**2 + (0.1 + 0.9 * 0.1) * variance)


def test_frozen_moves_no_running_statistic() -> None:
    network = encoder("h: {input: x, batchnorm: true}")
    compute(network, 3 + normal(6, 2, 4, 4), mode=Mode.FROZEN)
    assert row(network, "h").running_mean.tolist() == [0, 0]
    assert row(network, "h").running_variance.tolist() == [1, 1]


def test_evaluation_uses_running_statistics_and_no_masks_and_moves_nothing() -> None:
    network, x = full_network(), normal(6, 2, 4, 4)
    mean = torch.tensor([0.5, -0.5, 0.1], dtype=torch.float64)
    variance = torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64)
    row(network, "h").running_mean.copy_(mean)
    row(network, "h").running_variance.copy_(variance)
    h = F.conv2d(x, row(network, "h").weight, padding=1)
    expected = F.max_pool2d(F.leaky_relu(batch_norm(h, mean, variance, row(network, "h")), 0.2), 2)
    assert close(compute(network, x, mode=Mode.EVAL)["h"], expected)
    assert torch.equal(row(network, "h").running_mean, mean)
    assert torch.equal(row(network, "h").running_variance, variance)


def test_in_evaluation_the_result_for_an_example_does_not_depend_on_its_batch() -> None:
    network, x = full_network(), normal(6, 2, 4, 4)
    alone, together = (compute(network, batch, mode=Mode.EVAL)["h"] for batch in (x[:1], x))
    assert close(alone, together[:1])


def test_the_mode_is_an_argument_and_pytorch_s_own_switch_means_nothing() -> None:
    network, x, mask = full_network(), normal(6, 2, 4, 4), normal(6, 2, 4, 4, seed=2) > -0.5
    training = compute(network.eval(), x, {"e/h.mask": mask}, Mode.FROZEN)["h"]
    assert torch.equal(training, compute(network.train(), x, {"e/h.mask": mask}, Mode.FROZEN)["h"])


@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.FROZEN])
@pytest.mark.parametrize(
    ("columns", "site"),
    [
        ("noise: 2", "e/h.noise"),
        ("dropout: 0.5", "e/h.mask"),
        ("activation: expn", "e/h.eps"),
        ("activation: gumbel_softmax 1", "e/h.gumbel"),
    ],
)
def test_in_training_noise_that_was_not_handed_in_is_an_error_that_names_it(
    columns: str, site: str, mode: Mode
) -> None:
    network = encoder(f"h: {{input: x, {columns}}}", size=1)
    with pytest.raises(KeyError, match=site):
        compute(network, normal(6, 2, 1, 1), mode=mode)


NOISY = "h: {input: x, channels: 3, width: 3, padding: 1, noise: 0.3, dropout: 0.25, batchnorm: true, activation: elu}"


@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.FROZEN])
def test_noise_is_added_before_dropout_and_the_gradient_passes_it(mode: Mode) -> None:
    network, x = encoder(NOISY), normal(6, 2, 4, 4).requires_grad_()
    eps, mask = normal(6, 2, 4, 4, seed=2), normal(6, 2, 4, 4, seed=3) > -0.5
    weight = row(network, "h").weight
    h = F.conv2d((x + 0.3 * eps) * mask / 0.75, weight, padding=1)
    expected = F.elu(batch_norm(h, h.mean((0, 2, 3)), h.var((0, 2, 3), unbiased=False), row(network, "h")))
    found = compute(network, x, {"e/h.noise": eps, "e/h.mask": mask}, mode)["h"]
    assert close(found, expected)
    ours, theirs = (first_and_second_derivatives(out, [x, weight]) for out in (found, expected))
    assert all(close(one, other, 1e-11) for one, other in zip(ours, theirs, strict=True))


def test_noise_is_added_to_a_sum_and_to_what_is_joined() -> None:
    network = encoder("a: {input: x, channels: 2, width: 4}", "h: {input: a + x | zeros(1), noise: 2}")
    x, eps = normal(6, 2, 4, 4), normal(6, 3, 4, 4, seed=2)
    values = compute(network, x, {"e/h.noise": eps})
    assert close(values["h"], torch.cat([values["a"] + x, torch.zeros(6, 1, 4, 4).double()], 1) + 2 * eps)


def test_evaluation_is_without_noise_on_inputs_even_where_some_is_handed_in() -> None:
    network, x = encoder("h: {input: x, noise: 0.3}"), normal(6, 2, 4, 4)
    assert torch.equal(compute(network, x, mode=Mode.EVAL)["h"], x)
    assert torch.equal(compute(network, x, {"e/h.noise": normal(6, 2, 4, 4)}, Mode.EVAL)["h"], x)


@pytest.mark.parametrize("activation", ["expn", "gumbel_softmax 0.5"])
def test_noise_on_an_input_and_that_of_an_activation_are_two_tensors(activation: str) -> None:
    network, x = encoder(f"h: {{input: x, noise: 0.5, activation: {activation}}}", size=1), normal(6, 2, 1, 1)
    names = [tensor.name for tensor in network.plans["h"].tensors]
    assert len({*names}) == 2
    eps, own = normal(6, 2, 1, 1, seed=2), normal(6, 2, 1, 1, seed=3)
    noisy = x + 0.5 * eps
    expected = torch.exp(noisy / 2) * own if activation == "expn" else torch.softmax((noisy + own) / 0.5, 1)
    assert close(compute(network, x, {"e/h.noise": eps, f"e/h.{names[1]}": own})["h"], expected)


def test_noise_between_a_leaky_relu_and_dropout_keeps_them_apart() -> None:
    network = encoder(FOLDED[0], "g: {input: h, channels: 2, width: 2, noise: 0.1, dropout: 0.2}")
    x, eps, mask = normal(6, 2, 4, 4), normal(6, 3, 4, 4, seed=2), normal(6, 3, 4, 4, seed=3) > -0.5
    h = F.leaky_relu(F.conv2d(x, row(network, "h").weight, row(network, "h").bias), 0.3)
    expected = F.conv2d((h + 0.1 * eps) * mask / 0.8, row(network, "g").weight, row(network, "g").bias)
    assert close(compute(network, x, {"e/g.noise": eps, "e/g.mask": mask})["g"], expected)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        ("h * zeros(3)", torch.zeros_like),
        ("h + zeros(3)", lambda h: h),
        ("h | zeros(2)", lambda h: torch.cat([h, h.new_zeros(6, 2, 4, 4)], 1)),
        ("zeros(1) | h", lambda h: torch.cat([h.new_zeros(6, 1, 4, 4), h], 1)),
        ("h * h", torch.square),
    ],
)
def test_dropout_of_a_leaky_relu_among_other_things_is_of_the_whole_input(
    read: str, value: Callable[[Tensor], Tensor]
) -> None:
    network = encoder(FOLDED[0], f"g: {{input: {read}, channels: 2, width: 2, dropout: 0.2}}")
    x = normal(6, 2, 4, 4)
    whole = value(F.leaky_relu(F.conv2d(x, row(network, "h").weight, row(network, "h").bias), 0.3))
    mask = normal(*whole.shape, seed=3) > -0.5
    expected = F.conv2d(whole * mask / 0.8, row(network, "g").weight, row(network, "g").bias)
    assert close(compute(network, x, {"e/g.mask": mask})["g"], expected)


def test_noise_keeps_numbers_in_half_in_half() -> None:
    network, x = encoder("h: {input: x, noise: 0.5}").bfloat16(), normal(6, 2, 4, 4).bfloat16()
    assert compute(network, x, {"e/h.noise": torch.ones(6, 2, 4, 4)})["h"].dtype == torch.bfloat16


def test_a_mask_may_be_of_booleans_or_of_numbers_and_is_left_as_it_was() -> None:
    network, x, mask = encoder("h: {input: x, dropout: 0.25}"), normal(6, 2, 4, 4), normal(6, 2, 4, 4, seed=2) > -0.5
    noise = {"e/h.mask": mask.double()}
    assert torch.equal(compute(network, x, noise)["h"], compute(network, x, {"e/h.mask": mask})["h"])
    assert torch.equal(noise["e/h.mask"], mask.double())


def test_mean_mode_leaves_expn_and_gumbel_noise_out() -> None:
    network = encoder(
        "mu: {input: x, channels: 4, width: 1}",
        "sigma: {input: x, channels: 4, width: 1, activation: expn}",
        "noisy: {input: mu + sigma}",
        "h: {input: noisy, activation: gumbel_softmax 0.5}",
        size=1,
    )
    values = compute(network, normal(6, 2, 1, 1), mode=Mode.EVAL)
    assert torch.equal(values["noisy"], values["mu"])
    assert close(values["h"], torch.softmax(values["mu"] / 0.5, 1))


def test_in_evaluation_noise_that_was_handed_in_counts() -> None:
    network, eps = encoder("h: {input: x, activation: expn}"), normal(6, 2, 4, 4, seed=2)
    x = normal(6, 2, 4, 4)
    assert close(compute(network, x, {"e/h.eps": eps}, Mode.EVAL)["h"], torch.exp(0.5 * x) * eps)


def test_a_row_that_is_given_is_not_computed() -> None:
    network = encoder("a: {input: x, activation: relu}", "h: {input: a, activation: tanh}")
    values = {"x": normal(6, 2, 4, 4), "a": normal(6, 2, 4, 4, seed=2)}
    network.compute(["h"], values, 6, {}, "e", Mode.TRAIN)
    assert close(values["h"], torch.tanh(values["a"]))


# ---------------------------------------------------------------------------------------------------- names, weights

NAMES_OF_MODULES = ["type", "values", "keys", "train", "forward", "rows", "items", "plan", "weight"]


def test_a_row_may_have_any_name() -> None:
    inputs = ["x", *NAMES_OF_MODULES]
    rows = [
        f"{name}: {{input: {read}, channels: 2, width: 1, batchnorm: true}}"
        for read, name in zip(inputs, NAMES_OF_MODULES, strict=False)
    ]
    network = encoder(*rows)
    values = compute(network, normal(6, 2, 4, 4))
    assert set(values) == {"x", *NAMES_OF_MODULES}
    assert {name.split(".")[1] for name in network.state_dict()} == {f"row_{name}" for name in [*NAMES_OF_MODULES, "z"]}
    again = encoder(*rows)
    again.load_state_dict(network.state_dict())


SPREAD = {  # of 16 -> 64 channels, width 3: fan in 144, fan out 576
    "{normal: 0.02}": 0.02,
    "{uniform: 0.3}": 0.3 / math.sqrt(3),
    "{xavier_normal: 1}": math.sqrt(2 / (144 + 576)),
    "{xavier_uniform: 2}": 2 * math.sqrt(2 / (144 + 576)),
    "{kaiming_normal: 0.2}": math.sqrt(2 / (1 + 0.2**2) / 144),
}


@pytest.mark.parametrize("weights", SPREAD)
def test_initial_weights_have_the_declared_spread(weights: str) -> None:
    network = encoder("h: {input: x, channels: 64, width: 3}", channels=16, weights=weights)
    weight = row(network, "h").weight
    assert weight.mean().item() == pytest.approx(0, abs=4 * SPREAD[weights] / math.sqrt(weight.numel()))
    assert weight.std().item() == pytest.approx(SPREAD[weights], rel=0.03)


# (size, width, stride, padding) of a transposed convolution; its first layer, as decoders have it, starts from 1x1.
TRANSPOSED = [(1, 4, 1, 0), (1, 7, 1, 0), (7, 4, 2, 1), (7, 5, 1, 0), (6, 5, 2, 2), (4, 2, 2, 0), (4, 2, 3, 0)]


@pytest.mark.parametrize(("size", "width", "stride", "padding"), TRANSPOSED)
def test_he_s_weights_keep_the_second_moment_through_a_transposed_convolution(
    size: int, width: int, stride: int, padding: int
) -> None:
    shape = f"width: {width}, stride: {stride}, padding: {padding}"
    how = "initializer: {weights: {kaiming_normal: 0.2}, biases: 0}"
    network = encoder(f"h: {{input: x, op: conv_transpose, channels: 64, {shape}, {how}}}", channels=64, size=size)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(50, 64, size, size, generator=generator, dtype=torch.float64)
    values = {"x": F.leaky_relu(x, 0.2)}  # of second moment (1 + 0.2^2) / 2
    network.compute(["h"], values, 50, {}, "q/encoder", Mode.EVAL)
    assert values["h"].square().mean().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("columns", ["width: 3, padding: 1", "width: 4, stride: 2", "op: linear"])
def test_he_s_weights_of_other_rows_are_pytorch_s(columns: str) -> None:
    how = "initializer: {weights: {kaiming_normal: 0.2}}"
    weight = row(encoder(f"h: {{input: x, channels: 8, {columns}, {how}}}", size=8), "h").weight
    expected = nn.init.kaiming_normal_(torch.empty_like(weight), 0.2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(weight, expected)


@pytest.mark.parametrize("how", ["xavier_normal", "xavier_uniform"])
def test_glorot_s_weights_of_a_transposed_convolution_have_both_fans_of_a_convolution(how: str) -> None:
    layer = f"h: {{input: x, op: conv_transpose, channels: 64, width: 3, initializer: {{weights: {{{how}: 2}}}}}}"
    weight = row(encoder(layer, channels=16), "h").weight
    assert weight.std().item() == pytest.approx(2 * math.sqrt(2 / ((16 + 64) * 9)), rel=0.03)


def test_uniform_initial_weights_stay_inside_their_bounds() -> None:
    weight = row(encoder("h: {input: x, channels: 64, width: 3}", weights="{uniform: 0.3}"), "h").weight
    assert weight.abs().max() <= 0.3
    assert weight.abs().max() > 0.29


def test_orthogonal_initial_weights_are_orthogonal_with_their_gain() -> None:
    network = encoder("h: {input: x, channels: 5, width: 2}", weights="{orthogonal: 1.5}")
    weight = row(network, "h").weight.flatten(1)
    assert close(weight @ weight.T, 1.5**2 * torch.eye(5, dtype=torch.float64), 1e-6)


def test_biases_start_at_their_constant_and_batch_norm_as_the_identity() -> None:
    network = encoder("a: {input: x, channels: 2, width: 1}", "h: {input: a, channels: 2, width: 1, batchnorm: true}")
    assert row(network, "a").bias.tolist() == [0.25, 0.25]
    assert row(network, "h").bias is None
    assert row(network, "h").gain.tolist() == [1, 1]
    assert row(network, "h").shift.tolist() == [0, 0]
    assert row(network, "h").running_mean.tolist() == [0, 0]
    assert row(network, "h").running_variance.tolist() == [1, 1]


def test_a_row_s_own_initializer_wins() -> None:
    network = encoder(
        "a: {input: x, channels: 64, width: 3, initializer: {weights: {normal: 2}}}",
        "h: {input: a, channels: 64, width: 1, initializer: {biases: -1}}",
    )
    assert row(network, "a").weight.std().item() == pytest.approx(2, rel=0.1)
    assert row(network, "a").bias.unique().tolist() == [0.25]
    assert row(network, "h").weight.std().item() == pytest.approx(0.5, rel=0.1)
    assert row(network, "h").bias.unique().tolist() == [-1]


@pytest.mark.parametrize(
    "kind", ["normal", "uniform", "xavier_normal", "xavier_uniform", "kaiming_normal", "orthogonal"]
)
def test_single_precision_holds_weights_of_the_largest_number_of_a_spec(kind: str) -> None:
    network = encoder(
        "h: {input: x, channels: 1, width: 1}", channels=1, size=1, weights=f"{{{kind}: {LARGEST_NUMBER}}}"
    )
    network.float().initialize(torch.Generator().manual_seed(0))
    assert row(network, "h").weight.dtype == torch.float32
    assert row(network, "h").weight.isfinite().all()


LEARNED_PRIOR = """
ammgraph: 1
data: {dataset: digits}
variables: {z: {type: real, size: 2}}
networks:
  prior:
    layers:
      z_mu: {input: zeros(1), channels: 2, width: 1}
      z_sigma: {input: zeros(2), activation: expn}
      z: {input: z_mu + z_sigma}
  critic: {layers: {p: {input: z, channels: 1, width: 1}}}
distributions: {q: {q(z): normal}, p: {p(z): prior.z}}
games: {joint: {match: [q, p], discriminator: critic.p, objective: jensen_shannon}}
training:
  batch_size: 4
  steps: 1
  optimizers: {default: {name: adam, learning_rate: 1e-3}}
  initializer: {weights: {normal: 1}, biases: 0.25}
"""


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_may_read_nothing(dtype: torch.dtype, batch: int) -> None:
    """A learned prior: z = b + eps, in a batch of any size; its mean without noise."""
    plan = compile_spec(load_text(LEARNED_PRIOR))
    network = Network(plan.network("prior"), plan.momentum, plan.epsilon).to(dtype)
    network.initialize(torch.Generator().manual_seed(0))
    eps = torch.randn(batch, 2, 1, 1, dtype=dtype)
    for noise, expected in (({"p/prior/z_sigma.eps": eps}, 0.25 + eps), ({}, torch.full_like(eps, 0.25))):
        values: dict[str, Tensor] = {}
        network.compute(["z_mu", "z_sigma", "z"], values, batch, noise, "p/prior", Mode.EVAL)
        assert torch.equal(values["z"], expected)


def test_the_generator_decides_the_initial_weights() -> None:
    first, second = encoder(FULL), encoder(FULL)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    second.initialize(torch.Generator().manual_seed(1))
    assert not torch.equal(row(first, "h").weight, row(second, "h").weight)


@pytest.mark.parametrize("columns", ["op: linear, channels: 3", "channels: 3, width: 4", "channels: 3, width: 1"])
def test_the_gradient_of_an_image_lies_in_memory_as_the_image_does(columns: str) -> None:
    """Also where a matrix product has flattened it; batch norm before it would take a slow way back otherwise."""
    network = encoder(f"h: {{input: x, {columns}}}")
    x = normal(6, 2, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    (gradient,) = torch.autograd.grad(torch.tanh(compute(network, x)["h"]).sum(), x)
    assert gradient.stride() == x.stride()
