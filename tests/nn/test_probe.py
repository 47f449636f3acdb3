"""Whether a model still computes numbers is asked of every network, whatever its rows draw."""

from pathlib import Path

import pytest
import torch
from tiny import plan_of

from ammgraph.nn.model import Model, build
from ammgraph.nn.probe import not_finite
from ammgraph.plan.plan import Plan

BASE = Path(__file__).parents[2] / "ammgraph" / "docs" / "base.yaml"


def built(*overrides: str) -> tuple[Plan, Model]:
    plan = plan_of(BASE, *overrides)
    return plan, build(plan, torch.Generator().manual_seed(0), torch.full((10,), 0.1, dtype=torch.float64))


@pytest.mark.parametrize(
    "overrides",
    [
        ("networks.critic.layers.v={input: x, activation: random_affine 0.1}", "networks.critic.layers.hx.input=v"),
        ("networks.critic.layers.h1.activation=gumbel_softmax 1",),
        ("networks.critic.layers.h1.activation=expn",),
        ("networks.critic.layers.h1.noise=0.3", "networks.encoder.layers.h.dropout=0.5"),
    ],
    ids=lambda overrides: overrides[0].partition("=")[2],
)
def test_a_discriminator_may_draw_on_its_way(overrides: tuple[str, ...]) -> None:
    plan, model = built(*overrides)
    assert not_finite(plan, model) == ""
    with torch.no_grad():
        next(model.network("critic").parameters()).fill_(torch.nan)
    assert not_finite(plan, model) == "`p` of `critic`"


def test_what_gives_no_number_is_named_by_its_factor() -> None:
    plan, model = built()
    with torch.no_grad():
        next(model.network("components").parameters()).fill_(torch.inf)
    assert not_finite(plan, model) == "`z` of `p(z|y)`"


def test_rows_that_the_values_of_a_category_share_draw_once_for_each_image() -> None:
    plan = plan_of(
        BASE.parents[2] / "specs" / "triple_gan_mnist.yaml",
        "networks.critic.layers.v={input: x, activation: random_affine 0.1}",
        "networks.critic.layers.x1.input=v",
        "networks.critic.layers.h3.activation=gumbel_softmax 1",
    )
    model = build(plan, torch.Generator().manual_seed(0), torch.full((10,), 0.1, dtype=torch.float64))
    (scored,) = {found.shared for turn in plan.turns for found in turn.passes_of("scored") if found.shared}
    assert "v" in scored
    assert "h3" not in scored
    assert not_finite(plan, model) == ""
