"""A plan as LaTeX: formulas by hand, true to the objectives, and whole for every spec."""

import math
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from matplotlib.mathtext import MathTextParser
from plain_objectives import OBJECTIVES, discriminator_loss, generator_loss
from tiny import LABELED, TERMS, TINY, plan_of

from ammgraph.plan.games import penalty_value
from ammgraph.plan.turns import GamePlan
from ammgraph.show import latex as module
from ammgraph.show.as_json import as_json
from ammgraph.show.latex import latex
from ammgraph.show.text import step_text, weighted_text

SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))
# What mathtext calls by another name.
TRANSLATIONS = {r"\lVert": r"\Vert", r"\rVert": r"\Vert", r"\tfrac": r"\frac"}


def formulas(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("%")]


def game_of(objective: str, more: str = "") -> GamePlan:
    game = f"{{match: [q, 1/4 p + 3/4 r], discriminator: critic.p, objective: {objective}{more}}}"
    return plan_of(TINY, "distributions.r=p", f"games.joint={game}").game("joint")


# ------------------------------------------------------------------------------------------------ by hand


def test_the_formulas_of_a_plan_by_hand() -> None:
    assert formulas(latex(plan_of(TINY))) == [
        r"q(x, y, z) = q(x) \, q(y \mid x) \, q(z \mid x)",
        r"p(y, z, x) = p(y) \, p(z \mid y) \, p(x \mid y, z)",
        r"V_{\mathrm{joint}}(D, G) = \mathbb{E}_{q}\left[\log D(x, y, z)\right]"
        r" + \mathbb{E}_{p}\left[\log(1 - D(x, y, z))\right], \quad D = \sigma(d)",
        r"\mathcal{L}^{D}_{\mathrm{joint}} = \mathbb{E}_{q}\left[\zeta(-d(x, y, z))\right]"
        r" + \mathbb{E}_{p}\left[\zeta(d(x, y, z))\right]"
        r" + \mathbb{E}\left[\left(\lVert \nabla_{\hat{x}, \hat{y}, \hat{z}} d(\hat{x}, \hat{y}, \hat{z}) \rVert_2"
        r" - 1\right)^2\right]",
        r"\mathcal{L}^{G}_{\mathrm{joint}} = \mathbb{E}_{q}\left[\zeta(d(x, y, z))\right]"
        r" + \mathbb{E}_{p}\left[\zeta(-d(x, y, z))\right]",
        r"\min_{\theta_{\mathrm{critic}}} \; \mathcal{L}^{D}_{\mathrm{joint}}",
        r"\min_{\theta_{\mathrm{encoder}}, \theta_{\mathrm{components}}, \theta_{\mathrm{decoder}}} \;"
        r" \mathcal{L}^{G}_{\mathrm{joint}}",
    ]


def test_a_network_that_two_gradients_train_minimises_one_sum() -> None:
    path = Path(__file__).parent.parent.parent / "specs" / "infogan_mnist.yaml"
    terms = r"\mathcal{T}_{\mathrm{information\_c}} + \mathcal{T}_{\mathrm{information\_s}}"
    assert formulas(latex(plan_of(path)))[-2:] == [  # Chen et al., eq. 6: Q lies on D's trunk
        rf"\min_{{\theta_{{\mathrm{{critic}}}}}} \; \mathcal{{L}}^{{D}}_{{g}} + {terms}",
        rf"\min_{{\theta_{{\mathrm{{generator}}}}}} \; \mathcal{{L}}^{{G}}_{{g}} + {terms}",
    ]


def test_a_discriminator_that_terms_train_does_not_minimise_what_its_game_asks_of_the_others() -> None:
    """Odena et al. 2017: the classifier lies on D's trunk, and all learn in one turn."""
    plan = plan_of(
        TINY,
        "distributions.c={c(y|x): critic.y}",
        "networks.critic.layers.a={input: hx, channels: K, width: 1}",
        "networks.critic.layers.y={input: a, activation: softmax}",
        "terms.fake={minimize: '-E[p] log c(y|x)'}",
    )
    (turn,) = plan.turns
    assert {network for network, _ in turn.loss("joint/generator").paths}.isdisjoint({"critic"})
    said = [line for line in formulas(latex(plan)) if line.startswith(r"\min")]
    losses = {line.partition(r" \; ")[2] for line in said if "critic" in line}
    assert losses == {r"\mathcal{L}^{D}_{\mathrm{joint}} + \mathcal{T}_{\mathrm{fake}}"}
    lines = [line.split() for line in step_text(plan).splitlines() if line.split()[:1] == ["gradient"]]
    of_critic = [line[line.index("of") :] for line in lines if "critic" in " ".join(line[: line.index("of")])]
    assert not any("joint/generator" in line for line in of_critic)
    assert ["of", "fake/value"] in of_critic
    (told,) = as_json(plan)["turns"]
    assert all("joint/generator" not in part["losses"] for part in told["objectives"] if "critic" in part["networks"])


def test_constants_moved_samples_floors_and_batches_have_formulas_of_their_own() -> None:
    def shown(term: str) -> str:
        plan = plan_of(TERMS, f"terms.one.minimize={term}")
        return module.term_formula(plan.term("one")).removeprefix(r"\mathcal{T}_{\mathrm{one}} = ")

    divergence = r"\mathrm{KL}\left(\mathrm{sg}\left[c(y \mid x)\right] \,\|\, c(y \mid x + r)\right)"
    assert shown("E[q] vat(c(y|x), x, 4, 10)") == (
        r"\mathbb{E}_{q}\left[\max_{\lVert r \rVert_2 \leq 4} " + divergence + r"\right]"
    )
    assert shown("E[q] l2(stop x, decoder.x)") == (
        r"\mathbb{E}_{q}\left[\lVert \mathrm{sg}\left[x\right] - \mathrm{decoder}_{x}(y, z) \rVert_2^2\right]"
    )
    assert shown("max(E[q] H(c(y|x)), 0.25)") == (
        r"\max\left(\mathbb{E}_{q}\left[\mathrm{H}\left[c(y \mid x)\right]\right], 0.25\right)"
    )
    h = r"\mathrm{classifier}_{h}(x)"
    assert shown("pull_away[p](classifier.h)") == (
        rf"\mathbb{{E}}_{{p, \, i \ne j}}\left[\cos^2\left({h}_i, {h}_j\right)\right]"
    )
    assert shown("balance[q](classifier.h, 2)") == rf"\mathrm{{balance}}_{{q}}\left({h}, 2\right)"


def test_names_with_tails_become_subscripts() -> None:
    found = formulas(latex(plan_of(LABELED)))
    assert found[0] == (
        r"q_{\mathrm{unlabeled}}(x, y, z) = q_{\mathrm{unlabeled}}(x) \, q_{\mathrm{unlabeled}}(y \mid x)"
        r" \, q_{\mathrm{unlabeled}}(z \mid x)"
    )
    assert found[1] == (r"q_{\mathrm{labeled}}(x, y, z) = q_{\mathrm{labeled}}(x, y) \, q_{\mathrm{labeled}}(z \mid x)")
    assert [module._variable(name) for name in ("x", "x2", "z10", "style", "x_hat", "y_2")] == [
        "x",
        "x_{2}",
        "z_{10}",
        r"\mathrm{style}",
        r"\mathrm{x\_hat}",
        r"\mathrm{y\_}_{2}",
    ]


def test_small_numbers_are_powers_of_ten() -> None:
    loss = module.discriminator_loss(game_of("hinge", ", weight: 2e-5"))
    assert loss.startswith(r"\mathcal{L}^{D}_{\mathrm{joint}} = 2 \cdot 10^{-5} \left(")


def test_weights_that_change_with_time_are_functions_of_it() -> None:
    loss = module.discriminator_loss(
        plan_of(
            TINY,
            "games.joint={match: [q, p], discriminator: critic.p, objective: hinge, weight: [[0, 1], [1, 2]], "
            "gradient_penalty: {lambda: [[0, 1], [1, 2]]}}",
        ).game("joint")
    )
    assert r"= w(t) \left(" in loss
    assert r"+ \lambda(t) \, \mathbb{E}" in loss


@pytest.mark.parametrize("value", ["1", "0.5"])
def test_breakpoints_of_one_value_are_that_number(value: str) -> None:
    games = (
        "games.joint={match: [q, p], discriminator: critic.p, objective: hinge, weight: %s, r1_penalty: {gamma: %s}}"
    )
    as_number, as_points = (plan_of(TINY, games % (w, w)) for w in (value, f"[[0, {value}], [5, {value}]]"))
    assert latex(as_points) == latex(as_number)
    assert "(t)" not in latex(as_points)
    (penalty,), (other,) = (plan.game("joint").penalties for plan in (as_number, as_points))
    texts = [weighted_text(p.weight, penalty_value(as_number.game("joint"), p)) for p in (penalty, other)]
    assert texts[0] == texts[1]


def test_a_value_function_stands_where_there_is_one() -> None:
    for objective in OBJECTIVES:
        plan = plan_of(TINY, f"games.joint.objective={objective}")
        has_value = objective in ("jensen_shannon", "minimax", "wasserstein")
        assert any(formula.startswith("V_") for formula in formulas(latex(plan))) == has_value


# ------------------------------------------------------------------------------------------------ numbers


EXPECTATION = re.compile(r"(-?) ?([\d.]*)(?: \\, )?\\mathbb\{E\}_\{(\w+)\}\\left\[(.+?)\\right\]")


def value_of(formula: str, logits: dict[str, float]) -> float:
    """`... = w \\left(\\mathbb{E}_{q}[...] + 0.25 \\, \\mathbb{E}_{p}[...]\\right)` at one logit a distribution."""
    right = formula.partition(" = ")[2]
    weighted = re.fullmatch(r"([\d.]+) \\left\((.*)\\right\)", right)
    weight, total = (float(weighted[1]), weighted[2]) if weighted else (1.0, right)
    assert set(EXPECTATION.sub("", total)) <= set(" +")  # nothing else stands there
    return weight * sum(
        float(f"{sign}{factor or 1}") * loss_of(inner, logits[draw])
        for sign, factor, draw, inner in EXPECTATION.findall(total)
    )


def loss_of(text: str, d: float) -> float:
    python = text.replace("d(x, y, z)", "d").replace(r"\tfrac{1}{2} \, ", "0.5 * ").replace("^", "**")
    python = python.replace(r"\left", "").replace(r"\right", "")
    python = python.replace(r"\zeta", "zeta").replace(r"\max", "max")
    return float(eval(python, {"d": d, "max": max, "zeta": lambda v: max(v, 0.0) + math.log1p(math.exp(-abs(v)))}))


@pytest.mark.parametrize("weight", [1, 3])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_printed_losses_are_those_that_run(objective: str, weight: int) -> None:
    game = game_of(objective, f", weight: {weight}")
    for logits in ({"q": 0.7, "p": -1.3, "r": 0.4}, {"q": -4.0, "p": 3.0, "r": 0.0}):
        tensors = {name: torch.tensor([value], dtype=torch.float64) for name, value in logits.items()}
        real = [(share, tensors[draw]) for share, draw in game.real]
        fake = [(share, tensors[draw]) for share, draw in game.fake]
        against = weight * float(discriminator_loss(OBJECTIVES[objective], real, fake))
        sides = weight * float(generator_loss(OBJECTIVES[objective], real, fake))
        assert value_of(module.discriminator_loss(game), logits) == pytest.approx(against, abs=1e-12)
        assert value_of(module.generator_loss(game), logits) == pytest.approx(sides, abs=1e-12)


# ------------------------------------------------------------------------------------------------ well-formed


def test_a_lazy_penalty_says_when_it_is_taken() -> None:
    lazy, often = (
        plan_of(TINY, f"games.joint.gradient_penalty={{lambda: 3, every: {every}}}").game("joint") for every in (16, 1)
    )
    assert module.discriminator_loss(lazy) == module.discriminator_loss(often).replace(
        r" + 3 \, ", r" + 16 \, 1_{16 \mid t} \, 3 \, "
    )


PENALTIES = ("gradient_penalty: {lambda: 0.01, every: 4}", "roth_penalty: {gamma: 2e-6}", "r1_penalty: {gamma: 3}")
PARSER = MathTextParser("path")
VARIANTS = [
    *((path, ()) for path in SPECS),
    *((TINY, (f"games.joint.objective={objective}",)) for objective in OBJECTIVES),
    *(
        (TINY, (f"games.joint={{match: [q, p], discriminator: critic.p, objective: hinge, {penalty}}}",))
        for penalty in PENALTIES
    ),
    (LABELED, ()),
]


@pytest.mark.parametrize(("path", "overrides"), VARIANTS)
def test_every_formula_is_laid_out_by_mathtext(path: Path, overrides: tuple[str, ...]) -> None:
    found = formulas(latex(plan_of(path, *overrides)))
    assert len(found) >= 4
    for formula in found:
        is_laid_out(formula)


@cache  # specs share most of theirs
def is_laid_out(formula: str) -> None:
    depth = 0
    for character in formula.replace(r"\{", "").replace(r"\}", ""):
        depth += (character == "{") - (character == "}")
        assert depth >= 0, formula
    assert depth == 0, formula
    assert formula.count(r"\left") == formula.count(r"\right"), formula
    for word, known in TRANSLATIONS.items():
        formula = formula.replace(word, known)
    width, *_ = PARSER.parse(f"${formula}$")
    assert width > 0
