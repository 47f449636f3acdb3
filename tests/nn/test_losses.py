"""Formulas as torch evaluates them: at known points, by second formulas, their signs and symmetries."""

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from torch import Tensor

from ammgraph.formulas.expression import Functional, Logit, Mean, Pooled, Slope, Square, Value
from ammgraph.formulas.objectives import OBJECTIVES, Role, Share, loss
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.nn.losses import Leaves, norms, squared_norms, value

LN2 = math.log(2)
ZERO = torch.zeros(4, dtype=torch.float64)
D = torch.tensor([-2.0, -0.3, 0.4, 3.0], dtype=torch.float64)
Side = Sequence[tuple[float, Tensor]]
Loss = Callable[[str, Side, Side], Tensor]


def paid(role: Role, name: str, real: Side, fake: Side) -> Tensor:
    """What a role pays at logits, each with its weight on its side."""
    leaves: dict[Logit | Slope | Square, Tensor] = {}
    sides: list[list[Share]] = []
    for title, side in (("real", real), ("fake", fake)):
        sides.append([(weight, Logit(f"{title}_{index}")) for index, (weight, _) in enumerate(side)])
        leaves |= {logit: logits for (_, logit), (_, logits) in zip(sides[-1], side, strict=True)}
    return value(loss(name, role, *sides), leaves)


def discriminator_loss(name: str, real: Side, fake: Side) -> Tensor:
    return paid("discriminator", name, real, fake)


def generator_loss(name: str, real: Side, fake: Side) -> Tensor:
    return paid("generator", name, real, fake)


def penalized(name: str, sides: Mapping[str, Sequence[tuple[float, Tensor, Sequence[Tensor]]]]) -> Tensor:
    """A penalty at logits and their gradients, each with its weight on its side."""
    leaves: dict[Logit | Slope | Square, Tensor] = {}
    shares: dict[str, list[Share]] = {"real": [], "fake": []}
    for title, side in sides.items():
        for index, (weight, logits, gradients) in enumerate(side):
            draw = f"{title}_{index}"
            shares[title].append((weight, Logit(draw)))
            leaves |= {Logit(draw): logits, Square(Slope(draw)): squared_norms(gradients)}
    return value(PENALTIES[name].value(shares["real"], shares["fake"], ""), leaves)


def gradient_penalty(gradients: Sequence[Tensor]) -> Tensor:
    leaves: Leaves = {Slope("", "between"): norms(gradients)}
    return value(PENALTIES["gradient_penalty"].value([], [], "between"), leaves)


def r1_penalty(real: Sequence[tuple[float, Sequence[Tensor]]]) -> Tensor:
    return penalized("r1_penalty", {"real": [(weight, ZERO, gradients) for weight, gradients in real]})


def roth_penalty(
    real: Sequence[tuple[float, Tensor, Sequence[Tensor]]], fake: Sequence[tuple[float, Tensor, Sequence[Tensor]]]
) -> Tensor:
    return penalized("roth_penalty", {"real": real, "fake": fake})


def both(loss: Loss, name: str, real: Tensor, fake: Tensor) -> float:
    return loss(name, [(1, real)], [(1, fake)]).item()


# ------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("name", "discriminator_pays", "generator_pays"),
    [
        ("jensen_shannon", 2 * LN2, 2 * LN2),
        ("minimax", 2 * LN2, -2 * LN2),
        ("wasserstein", 0.0, 0.0),
        ("least_squares", 0.5, 0.5),
        ("hinge", 2.0, 0.0),
    ],
)
def test_what_a_blind_discriminator_and_its_generators_pay(
    name: str, discriminator_pays: float, generator_pays: float
) -> None:
    assert both(discriminator_loss, name, ZERO, ZERO) == pytest.approx(discriminator_pays, abs=1e-12)
    assert both(generator_loss, name, ZERO, ZERO) == pytest.approx(generator_pays, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "pays"),  # at d = 0: discriminator on REAL, on FAKE, generators on REAL, on FAKE
    [
        ("jensen_shannon", (LN2, LN2, LN2, LN2)),
        ("minimax", (LN2, LN2, -LN2, -LN2)),
        ("wasserstein", (0, 0, 0, 0)),
        ("least_squares", (0.5, 0, 0, 0.5)),
        ("hinge", (1, 1, 0, 0)),
    ],
)
def test_each_of_the_four_functions_has_its_documented_value_at_zero(name: str, pays: tuple[float, ...]) -> None:
    zero = torch.tensor(0.0, dtype=torch.float64)
    four = (*OBJECTIVES[name].discriminator, *OBJECTIVES[name].generator)
    assert [value(function, {Logit(): zero}).item() for function in four] == pytest.approx(pays, abs=1e-12)


def test_jensen_shannon_is_algorithm_1() -> None:
    rho = torch.sigmoid(D)
    expected_d = -torch.log(rho).mean() - torch.log(1 - rho.flip(0)).mean()
    expected_g = -torch.log(1 - rho).mean() - torch.log(rho.flip(0)).mean()
    assert both(discriminator_loss, "jensen_shannon", D, D.flip(0)) == pytest.approx(expected_d.item(), rel=1e-12)
    assert both(generator_loss, "jensen_shannon", D, D.flip(0)) == pytest.approx(expected_g.item(), rel=1e-12)


def test_minimax_is_the_value_function_of_eq_13() -> None:
    value = torch.log(torch.sigmoid(D)).mean() + torch.log(1 - torch.sigmoid(D.flip(0))).mean()
    assert both(discriminator_loss, "minimax", D, D.flip(0)) == pytest.approx(-value.item(), rel=1e-12)
    assert both(generator_loss, "minimax", D, D.flip(0)) == pytest.approx(value.item(), rel=1e-12)


def test_hinge_pays_nothing_beyond_the_margin() -> None:
    assert both(discriminator_loss, "hinge", torch.tensor([1.0, 7.0]), torch.tensor([-1.0, -3.0])) == 0
    assert both(discriminator_loss, "hinge", torch.tensor([0.25]), torch.tensor([-0.5])) == pytest.approx(0.75 + 0.5)


def test_least_squares_targets_are_one_and_zero() -> None:
    assert both(discriminator_loss, "least_squares", torch.ones(3), torch.zeros(3)) == 0
    assert both(generator_loss, "least_squares", torch.zeros(3), torch.ones(3)) == 0
    assert both(discriminator_loss, "least_squares", torch.tensor([3.0]), torch.tensor([-4.0])) == pytest.approx(2 + 8)


def test_losses_stay_finite_where_the_sigmoid_rounds_to_zero_or_one() -> None:
    far = torch.tensor([-1000.0, 1000.0], requires_grad=True)
    for name in OBJECTIVES:
        loss = discriminator_loss(name, [(1, far)], [(1, far)]) + generator_loss(name, [(1, far)], [(1, far)])
        (gradient,) = torch.autograd.grad(loss, far)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


# -------------------------------------------------------------------------------------------------- signs, symmetries


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_of_the_discriminator_raises_real_and_lowers_fake(name: str) -> None:
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    by_real, by_fake = torch.autograd.grad(discriminator_loss(name, [(1, real)], [(1, fake + 0.5)]), [real, fake])
    assert (by_real < 0).all()
    assert (by_fake > 0).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_of_the_generators_lowers_real_and_raises_fake(name: str) -> None:
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    by_real, by_fake = torch.autograd.grad(generator_loss(name, [(1, real + 0.5)], [(1, fake)]), [real, fake])
    assert (by_real > 0).all()
    assert (by_fake < 0).all()


@pytest.mark.parametrize("name", ["jensen_shannon", "minimax", "wasserstein", "hinge"])
def test_swapping_the_sides_and_the_sign_of_the_logit_changes_nothing(name: str) -> None:
    other = D.roll(1) + 0.1
    assert both(discriminator_loss, name, D, other) == pytest.approx(both(discriminator_loss, name, -other, -D))
    assert both(generator_loss, name, D, other) == pytest.approx(both(generator_loss, name, -other, -D))


def test_least_squares_is_symmetric_about_one_half() -> None:
    other = D.roll(1) + 0.1
    swapped = both(discriminator_loss, "least_squares", 1 - other, 1 - D)
    assert both(discriminator_loss, "least_squares", D, other) == pytest.approx(swapped)


@pytest.mark.parametrize("name", ["jensen_shannon", "least_squares"])
def test_generators_pay_what_the_discriminator_pays_with_the_labels_swapped(name: str) -> None:
    other = D.roll(1) + 0.1
    assert both(generator_loss, name, D, other) == pytest.approx(both(discriminator_loss, name, other, D))


@pytest.mark.parametrize("name", ["minimax", "wasserstein"])
def test_minimax_and_wasserstein_are_zero_sum(name: str) -> None:
    assert both(generator_loss, name, D, -D) == pytest.approx(-both(discriminator_loss, name, D, -D))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_weighted_side_is_the_weighted_sum_of_its_means(name: str) -> None:
    short = D[:2]
    found = discriminator_loss(name, [(0.25, D), (0.75, short)], [(1, D)])
    on_real, on_fake = OBJECTIVES[name].discriminator
    expected = (
        0.25 * value(on_real, {Logit(): D}).mean()
        + 0.75 * value(on_real, {Logit(): short}).mean()
        + value(on_fake, {Logit(): D}).mean()
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


# ---------------------------------------------------------------------------------------------------------- penalties


def gradients_of_two_inputs() -> tuple[Tensor, Tensor]:
    """Of two examples: joint norms 5 and 13."""
    return (
        torch.tensor([[3.0, 0.0], [5.0, 0.0]], dtype=torch.float64),
        torch.tensor([[[[0.0]], [[4.0]]], [[[12.0]], [[0.0]]]], dtype=torch.float64),
    )


def test_squared_norms_are_joint_over_all_inputs_and_by_example() -> None:
    assert squared_norms(gradients_of_two_inputs()).tolist() == [25, 169]
    assert norms(gradients_of_two_inputs()).tolist() == [5, 13]


def test_gradient_penalty_is_zero_at_norm_one_and_one_at_norm_zero() -> None:
    assert gradient_penalty([torch.full((5, 4), 0.5)]).item() == pytest.approx(0, abs=1e-12)
    assert gradient_penalty([torch.zeros(5, 4), torch.zeros(5, 3, 2, 2)]).item() == 1


def test_gradient_penalty_takes_one_norm_over_all_inputs() -> None:
    assert gradient_penalty(gradients_of_two_inputs()).item() == pytest.approx((4**2 + 12**2) / 2)


def test_gradient_penalty_has_a_finite_derivative_where_the_gradient_is_zero() -> None:
    zero = torch.zeros(3, 4, requires_grad=True)
    (derivative,) = torch.autograd.grad(gradient_penalty([zero]), zero)
    assert torch.equal(derivative, torch.zeros(3, 4))


def test_r1_is_half_the_mean_squared_norm() -> None:
    slopes = gradients_of_two_inputs()
    assert r1_penalty([(1, slopes)]).item() == pytest.approx((25 + 169) / 4)
    assert r1_penalty([(0.5, slopes), (0.5, slopes)]).item() == pytest.approx((25 + 169) / 4)


def test_roth_weighs_each_norm_by_how_wrong_the_discriminator_is() -> None:
    slopes = gradients_of_two_inputs()
    steeper = [gradient * math.sqrt(2) for gradient in slopes]
    three_to_one = torch.full((2,), math.log(3.0), dtype=torch.float64)  # sigmoid 3/4
    found = roth_penalty([(1, three_to_one, slopes)], [(1, three_to_one, steeper)])
    assert found.item() == pytest.approx(0.5 * (1 / 16 * 97 + 9 / 16 * 2 * 97))


def test_roth_forgives_steep_slopes_where_the_discriminator_is_right_and_sure() -> None:
    steep = [torch.full((2, 1), 10.0, dtype=torch.float64)]
    sure = torch.full((2,), 40.0, dtype=torch.float64)
    assert roth_penalty([(1, sure, steep)], [(1, -sure, steep)]).item() == pytest.approx(0, abs=1e-12)


def test_penalties_of_a_critic_agree_with_finite_differences_of_its_logit() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    x = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(4, 2, generator=generator, dtype=torch.float64)

    def logit(x: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(x @ weight).sum(1) * (1 + y[:, 0] * y[:, 1])

    numeric = []
    for inputs, which in ((x, 0), (y, 1)):
        columns = []
        for column in range(inputs.shape[1]):
            step = torch.zeros_like(inputs)
            step[:, column] = 1e-6
            up, down = [x, y], [x, y]
            up[which], down[which] = inputs + step, inputs - step
            columns.append((logit(*up) - logit(*down)) / 2e-6)
        numeric.append(torch.stack(columns, 1))
    x.requires_grad_()
    y.requires_grad_()
    exact = torch.autograd.grad(logit(x, y).sum(), [x, y])
    expected = ((torch.cat(numeric, 1) ** 2).sum(1).sqrt() - 1).square().mean()
    assert gradient_penalty(exact).item() == pytest.approx(expected.item(), rel=1e-7)


def test_values_of_8_bits_are_compared_in_32() -> None:
    """Means of 500 numbers near 1 that differ by 0.01: in bfloat16 a mean is 0.992, 1 or 1.008."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(500, 20, 1, 1, generator=generator).add(0.5).bfloat16() for _ in range(2))
    a, b = a.requires_grad_(), b + 0.0156
    p, q = Value("h", "p"), Value("h", "q")
    of_means = Functional("l2", (Pooled("p", p), Pooled("q", q)))
    of_each = Mean("p", Functional("l2", (p, q)))
    exact_a, exact_b = a.detach().double().requires_grad_(), b.double()
    for term, exact in (
        (of_means, (exact_a.mean(0) - exact_b.mean(0)).square().sum()),
        (of_each, (exact_a - exact_b).flatten(1).square().sum(1).mean()),
    ):
        found = value(term, {p: a, q: b})
        assert found.item() == pytest.approx(exact.item(), rel=1e-5)
        (own,), (other,) = (torch.autograd.grad(each, it) for each, it in ((found, a), (exact, exact_a)))
        assert torch.allclose(own.double(), other, rtol=1 / 128, atol=0)
