"""Small specs for the tests of the compiler: `small_base.yaml` with a few sections written anew."""

from pathlib import Path
from textwrap import dedent

import pytest

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import Diagnostic, SpecError
from ammgraph.plan.draws import DrawPlan, FromNetwork
from ammgraph.plan.networks import NetworkPlan
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_text

FOLDER = Path(__file__).parent

# Both sides of the base's game a second time, and a second game between them with the same discriminator.
AGAIN = "  q_again: q\n  p_again: p\n"
SECOND = "games: {second: {match: [q_again, p_again], discriminator: critic.d, objective: jensen_shannon}}\n"
TWO_GAMES = "distributions:\n" + AGAIN + SECOND


def plan_of(text: str = "", *overrides: str) -> Plan:
    """The plan of the base with sections merged over it."""
    written = "ammgraph: 1\nextends: small_base.yaml\n" + dedent(text)
    return compile_spec(load_text(written, str(FOLDER / "case.yaml"), overrides))


def problems_of(text: str = "", *overrides: str) -> tuple[Diagnostic, ...]:
    """What is wrong with the base when sections are merged over it."""
    with pytest.raises(SpecError) as caught:
        plan_of(text, *overrides)
    return caught.value.diagnostics


def problem_of(text: str = "", *overrides: str) -> str:
    """The one problem, as `code: message`."""
    problems = problems_of(text, *overrides)
    assert len(problems) == 1, [problem.message for problem in problems]
    return f"{problems[0].code}: {problems[0].message}"


def network_of(layers: str, *overrides: str) -> NetworkPlan:
    """A network `net` with the rows given, whose row `d` is the logit of a second game; it reads x, y and z."""
    rows = "\n".join("      " + line for line in dedent(layers).strip().splitlines())
    text = f"networks:\n  net:\n    layers:\n{rows}\n"
    text += "games:\n  second: {match: [q, p], discriminator: net.d, objective: hinge}\n"
    return plan_of(text, *overrides).network("net")


def origin_of(draw: DrawPlan, variable: str) -> FromNetwork:
    """What draws a variable, which is a network."""
    origin = draw.factor_of(variable).origin
    assert isinstance(origin, FromNetwork)
    return origin
