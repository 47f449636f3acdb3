"""What games, terms and drawing pass through one network at the same samples passes once, with the same gradients."""

from pathlib import Path

import pytest
import torch
from tiny import INFORMED, plan_of

from ammgraph.compiler import passes
from ammgraph.compiler.compile import compile_spec
from ammgraph.nn.model import build, draw_noise
from ammgraph.plan.cost import forward_cost
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_spec
from ammgraph.train.step import Outcome, take_turn

SILENT = ("networks.critic.layers.h.dropout=0", "games.g.gradient_penalty=null", "games.g.batch=separate")
NORMED = (*SILENT, "networks.critic.layers.h.batchnorm=true")
OPTIONS = pytest.mark.parametrize("options", [SILENT, NORMED], ids=["plain", "batch norm"])


def in_two_passes(monkeypatch: pytest.MonkeyPatch, *options: str) -> Plan:
    """The plan of a compiler that keeps passes of terms and of games apart."""
    with monkeypatch.context() as patched:
        patched.setattr(passes, "_is_within", lambda *_: False)
        return compile_spec(load_spec(INFORMED, options))


def taken(plan: Plan) -> list[Outcome]:
    """Every turn, of the same weights, images and noise, in float64."""
    generator = torch.Generator().manual_seed(3)
    model = build(plan, generator).double()
    images = torch.rand(plan.draw("q").batch_size, 1, 8, 8, generator=generator, dtype=torch.float64)
    sites = sorted({site.name: site for turn in plan.turns for site in turn.sites}.values(), key=lambda site: site.name)
    noise = {site.name: draw_noise(site, generator, torch.device("cpu"), torch.float64) for site in sites}
    return [take_turn(model, plan, turn, {"q": {"x": images}}, noise, 0.0) for turn in plan.turns]


def agree(one: Plan, two: Plan) -> None:
    """Losses and gradients of every turn are the same."""
    for first, second in zip(taken(one), taken(two), strict=True):
        assert first.values.keys() == second.values.keys()
        for name, value in first.values.items():
            assert torch.allclose(value, second.values[name], rtol=1e-10, atol=0), name
        assert first.gradients.keys() == second.gradients.keys()
        for name, gradients in first.gradients.items():
            for gradient, other in zip(gradients, second.gradients[name], strict=True):
                assert torch.allclose(gradient, other, rtol=1e-9, atol=1e-14), name


def within(plan: Plan) -> list[list[str]]:
    """Of each turn the passes of games that terms compute."""
    return [[found.within for found in turn.passes_of("scored") if found.within] for turn in plan.turns]


@OPTIONS
def test_one_pass_gives_the_losses_and_gradients_of_two(
    monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    one, two = plan_of(INFORMED, *options), in_two_passes(monkeypatch, *options)
    assert within(one) == [["p/critic"], ["q/critic", "p/critic"]]
    assert within(two) == [[], []]
    agree(one, two)


def test_the_rows_that_both_read_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`h`: 8 x 8 x 16 multiply-adds an image, spared for 40 of p in the first turn, of q and of p in the second."""
    one, two = (
        forward_cost(plan, plan.turns) for plan in (plan_of(INFORMED, *SILENT), in_two_passes(monkeypatch, *SILENT))
    )
    assert two["critic"] - one["critic"] == 3 * 40 * 8 * 8 * 16
    assert two["generator"] == one["generator"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (SILENT[:2], "one batch of both sides has other statistics"),
        (SILENT[1:], "each pass has dropout masks of its own"),
        ((SILENT[0], SILENT[2]), "a penalty takes the slope at the samples of the game"),
        ((*SILENT, "training.schedule=[{update: [critic, generator]}]"), "what p learns is not for the critic"),
    ],
)
def test_where_it_would_change_something_both_pass(options: tuple[str, ...], why: str) -> None:
    assert not any(within(plan_of(INFORMED, *options))), why


def test_a_critic_that_draws_too_keeps_its_graph_for_what_it_has_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own backward pass goes through rows by which it has drawn c, on which a second game goes back later."""
    options = (
        *SILENT,
        "distributions.q={q(x): data, 'q(c|x)': critic.c}",
        "networks.pair={layers: {d: {input: c, channels: 1, width: 1}}}",
        "games.cs={match: [q, p], discriminator: pair.d, objective: jensen_shannon}",
        "terms.size={minimize: 'E[q] l2(critic.s_mu) - E[q] log r(c|x)', trains: [critic]}",
        "training.schedule=[{update: [pair], games: [cs]}, {update: [critic], games: [g, cs], terms: "
        "[information_c, information_s, size]}, {update: [generator]}]",
    )
    one, two = plan_of(INFORMED, *options), in_two_passes(monkeypatch, *options)
    assert within(one)[1] == ["q/critic", "p/critic"]
    (at_data,) = (found for found in one.turns[1].passes_of("asked") if found.evaluation.name == "q/critic")
    assert at_data.rows == ("d", "s_mu")  # `h` and `c` are drawn
    agree(one, two)


# ------------------------------------------------------------------------------------------------- as drawn

DIGITS = Path(__file__).parents[2] / "specs" / "amm_digits.yaml"
FEW = ("training.batch_size=20",)


def drawn_anew(monkeypatch: pytest.MonkeyPatch, *options: str) -> Plan:
    """The plan of a compiler whose terms take nothing from what another draw has computed."""
    with monkeypatch.context() as patched:
        patched.setattr(passes, "_taken", lambda *_: ())
        return compile_spec(load_spec(DIGITS, options))


def test_what_is_asked_at_samples_of_another_draw_is_taken_as_that_has_drawn_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """r(z) is q's z: q(y|z) is asked at it, and q has drawn y by it. Moves and Gumbel noise stay each its own."""
    one, two = plan_of(DIGITS, *FEW), drawn_anew(monkeypatch, *FEW)
    assert (one.turns[0].taken, two.turns[0].taken) == ((("r/classifier", "q/classifier"),), ())
    agree(one, two)
    saved = forward_cost(two, two.turns)["classifier"] - forward_cost(one, one.turns)["classifier"]
    assert saved == 20 * (64 * 128 + 128 * 128 + 128 * 10)


def test_dropout_masks_are_each_evaluation_s_own() -> None:
    assert plan_of(DIGITS, *FEW, "networks.classifier.layers.h2.dropout=0.3").turns[0].taken == ()


def test_a_term_trains_through_what_was_drawn_what_it_trained_before(monkeypatch: pytest.MonkeyPatch) -> None:
    options = (*FEW, "terms.again.trains=[classifier]")
    agree(plan_of(DIGITS, *options), drawn_anew(monkeypatch, *options))
