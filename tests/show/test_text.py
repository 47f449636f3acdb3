"""Plans as text: golden for every spec, and true to the objectives."""

import difflib
import math
import os
import re
from pathlib import Path

import pytest
import torch
from plain_objectives import OBJECTIVES, discriminator_loss, generator_loss
from tiny import TINY, plan_of

from ammgraph.compiler.compile import compile_spec
from ammgraph.formulas import objectives
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import GamePlan
from ammgraph.show.text import formula_text, game_text, plan_text, table
from ammgraph.spec.load import load_spec

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs").glob("*.yaml"))
GOLDEN = ROOT / "tests" / "golden" / "plans"
LOGITS = (-30.0, -2.0, -0.5, 0.0, 0.5, 2.0, 30.0)

# ------------------------------------------------------------------------------------------------ golden plans


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_the_plan_of_every_spec_is_its_golden_text(path: Path) -> None:
    found = plan_text(plan_of(path))
    golden = GOLDEN / f"{path.stem}.txt"
    if os.environ.get("AMMGRAPH_UPDATE_GOLDEN") == "1":
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(found, encoding="utf-8")
    expected = golden.read_text(encoding="utf-8") if golden.exists() else ""
    names = (str(golden.relative_to(ROOT)), "now")
    diff = "\n".join(difflib.unified_diff(expected.splitlines(), found.splitlines(), *names, lineterm=""))
    advice = "If the change is meant: AMMGRAPH_UPDATE_GOLDEN=1 pytest tests/show/test_text.py, then review it in git."
    assert found == expected, f"the plan has changed:\n{diff}\n\n{advice}"


def test_no_golden_plan_is_without_its_spec() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {path.stem for path in SPECS}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_plan_text_holds_no_tabs_trailing_spaces_or_object_ids(path: Path) -> None:
    for line in plan_text(plan_of(path)).splitlines():
        assert line == line.rstrip()
        assert "\t" not in line
        assert " at 0x" not in line


def test_a_plan_text_is_the_same_every_time() -> None:
    assert plan_text(compile_spec(load_spec(TINY))) == plan_text(compile_spec(load_spec(TINY)))


def test_noise_and_groups_of_channels_are_shown() -> None:
    plan = plan_of(
        TINY, "networks.critic.layers.h.noise=0.1", "networks.critic.layers.p={input: h, op: lse, channels: 1}"
    )
    found = plan_text(plan)
    assert "noise 0.1 dropout 0.2 conv 16 w1 s1 p0 (normal 0.02, biases 0) leaky_relu 0.2" in found
    assert re.search(r"p  +h  +lse of 1 group  +1x1x1  +- +-\n", found)
    assert "2 of them dropout masks" not in found
    assert "3 of them dropout masks, 2 added to inputs" in found  # the critic's, of the game and of its penalty


# ------------------------------------------------------------------------------------------------ losses


def value_of(text: str, d: float) -> float:
    """A printed loss as the function of the logit that it says."""
    python = re.sub(r"1/2 ", "0.5 * ", text.replace("^", "**"))
    functions = {"sp": lambda v: max(v, 0.0) + math.log1p(math.exp(-abs(v)))}
    return float(eval(python, {"d": d, "relu": lambda v: max(v, 0.0), **functions}))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_printed_losses_are_those_that_run(name: str) -> None:
    objective = OBJECTIVES[name]
    functions = (
        objective.discriminator_real,
        objective.discriminator_fake,
        objective.generator_real,
        objective.generator_fake,
    )
    four = (*objectives.OBJECTIVES[name].discriminator, *objectives.OBJECTIVES[name].generator)
    for printed, function in zip(map(formula_text, four), functions, strict=True):
        for d in LOGITS:
            assert value_of(printed, d) == pytest.approx(float(function(torch.tensor(d).double())), abs=1e-12), printed


def test_every_objective_has_its_second_formula() -> None:
    assert set(objectives.OBJECTIVES) == set(OBJECTIVES)


TERM = re.compile(r"([-+]?) ?([\d./]*) ?E_(\w+) (.+?)(?= [-+] [\d./]* ?E_|$)")


def total_of(text: str, logits: dict[str, float]) -> float:
    """`-E_q sp(-d) - 0.25 E_p sp(d)` at one logit a distribution."""
    total = 0.0
    for sign, factor, draw, loss in TERM.findall(text):
        total += (-1 if sign == "-" else 1) * float(factor or 1) * value_of(loss, logits[draw])
    read = "".join("".join(term) for term in TERM.findall(text))
    assert read.replace(" ", "") == text.replace("E_", "").replace(" ", "")  # nothing was left unread
    return total


def game_of(objective: str) -> tuple[Plan, GamePlan]:
    """A plan and its game, one side of which is a weighted sum, so that every weight shows."""
    game = f"{{match: [q, 1/4 p + 3/4 r], discriminator: critic.p, objective: {objective}, weight: 3}}"
    plan = plan_of(TINY, "distributions.r=p", f"games.joint={game}")
    return plan, plan.game("joint")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_printed_players_minimise_what_runs(objective: str) -> None:
    plan, game = game_of(objective)
    logits = {"q": 0.7, "p": -1.3, "r": 0.4}
    tensors = {name: torch.tensor([value], dtype=torch.float64) for name, value in logits.items()}
    real = [(weight, tensors[draw]) for weight, draw in game.real]
    fake = [(weight, tensors[draw]) for weight, draw in game.fake]
    lines = [line.split(" minimises ") for line in game_text(plan, game).splitlines() if " minimises " in line]
    printed = {player.strip(): text.split(" through ")[0] for player, text in lines}
    assert set(printed) == {"critic", "encoder", "decoder", "components"}
    against = float(discriminator_loss(OBJECTIVES[objective], real, fake))
    sides = float(generator_loss(OBJECTIVES[objective], real, fake))
    assert total_of(printed.pop("critic"), logits) == pytest.approx(against, abs=1e-12)
    for text in printed.values():
        assert total_of(text, logits) == pytest.approx(sides, abs=1e-12)


def test_a_game_text_by_hand() -> None:
    assert game_text(*game_of("wasserstein")) == (
        "game joint: q (REAL) against 0.25 p + 0.75 r (FAKE), weight 3, wasserstein\n"
        "  critic.p reads x, y, z\n"
        "  critic      minimises -E_q d + 0.25 E_p d + 0.75 E_r d\n"
        "  encoder     minimises E_q d - 0.25 E_p d - 0.75 E_r d through q.y, q.z\n"
        "  decoder     minimises E_q d - 0.25 E_p d - 0.75 E_r d through p.x, r.x\n"
        "  components  minimises E_q d - 0.25 E_p d - 0.75 E_r d through p.z, r.z"
    )


def test_a_table_is_aligned() -> None:
    rows = [("a", "10", "x"), ("long", "5", "")]
    assert table(rows, right=(1,)) == ["  a     10  x", "  long   5"]
    assert table([]) == []
