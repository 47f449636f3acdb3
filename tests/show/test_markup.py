"""Mermaid and DOT: every line is of the language's grammar, whatever the names and the title."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from random_factorizations import factorizations
from test_drawing import LONG
from tiny import LABELED, TINY, plan_of

from ammgraph.plan.plan import Plan
from ammgraph.show.markup import dot, mermaid
from ammgraph.start.sketch import new_spec
from ammgraph.start.typed import Typed

NASTY = 'a "b" \\ <c> & `d` #e; {f} [g] | end'
QUOTED = r'"(?:[^"\\]|\\.)*"'
DOT_LINES = (
    r"digraph \{",
    r"  \}",
    r"\}",
    rf"  label={QUOTED}; labelloc=t",
    r"  compound=true; newrank=true",
    r"  node \[fontname=Helvetica\]; graph \[fontname=Helvetica\]",
    r"  subgraph cluster_[ms]\d+ \{",
    rf"    label={QUOTED}; style=rounded(; node \[shape=box, style=rounded\])?",
    rf'    [ms]\d+[nb]\d+ \[label={QUOTED}(, style=filled, fillcolor="#\w+")?\]',
    r"    [ms]\d+[nb]\d+ -> [ms]\d+[nb]\d+( \[dir=back\])?",
)
TEXT = r'"[^"`<>&]*(?:<br/>[^"`<>&]*)*"'
MERMAID_LINES = (
    r"flowchart LR",
    rf"  subgraph [ms]\d+ \[{TEXT}\]",
    r"    direction (LR|TB|BT)",
    rf"    m\d+n\d+\(\({TEXT}\)\)(:::observed)?",
    rf"    s\d+b\d+\[{TEXT}\]",
    r"    [ms]\d+[nb]\d+ --> [ms]\d+[nb]\d+",
    r"  end",
    r"  classDef observed fill:#\w+",
)


def strangers(text: str, grammar: tuple[str, ...]) -> list[str]:
    """The lines that no rule of the grammar knows."""
    return [line for line in text.splitlines() if not any(re.fullmatch(rule, line) for rule in grammar)]


PLANS: list[tuple[str, Plan]] = [
    ("tiny", plan_of(TINY)),
    ("labeled", plan_of(LABELED)),
    ("long names", new_spec(LONG, "mine.yaml", "ammgraph new")[1]),
    ("nasty title", replace(plan_of(TINY), title=NASTY)),
]


@pytest.mark.parametrize("plan", [plan for _, plan in PLANS], ids=[name for name, _ in PLANS])
def test_every_line_is_of_the_grammar(plan: Plan) -> None:
    assert strangers(dot(plan), DOT_LINES) == []
    assert strangers(mermaid(plan), MERMAID_LINES) == []


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed; the grammar above is checked")
@pytest.mark.parametrize("plan", [plan for _, plan in PLANS], ids=[name for name, _ in PLANS])
def test_graphviz_reads_it(plan: Plan) -> None:
    result = subprocess.run(["dot", "-Tsvg"], input=dot(plan), capture_output=True, text=True, check=True, timeout=60)
    assert result.stderr == ""


@settings(max_examples=15, deadline=None)
@given(factorizations())
def test_any_legal_name_can_be_written(typed: Typed) -> None:
    plan = new_spec(typed, "mine.yaml", "ammgraph new")[1]
    assert strangers(dot(plan), DOT_LINES) == []
    assert strangers(mermaid(plan), MERMAID_LINES) == []


def test_the_models_of_a_small_spec_by_hand() -> None:
    assert mermaid(plan_of(TINY), steps=False) == (
        "flowchart LR\n"
        '  subgraph m0 ["q (real in joint): q(x) q(y|x) q(z|x), N = 40"]\n'
        "    direction BT\n"
        '    m0n0(("x<br/>data")):::observed\n'
        '    m0n1(("y<br/>encoder"))\n'
        '    m0n2(("z<br/>encoder"))\n'
        "    m0n0 --> m0n1\n"
        "    m0n0 --> m0n2\n"
        "  end\n"
        '  subgraph m1 ["p (fake in joint): p(y) p(z|y) p(x|y,z), N = 40"]\n'
        "    direction TB\n"
        '    m1n0(("x<br/>decoder"))\n'
        '    m1n1(("y<br/>uniform"))\n'
        '    m1n2(("z<br/>components"))\n'
        "    m1n1 --> m1n2\n"
        "    m1n1 --> m1n0\n"
        "    m1n2 --> m1n0\n"
        "  end\n"
        "  classDef observed fill:#cfd8e3\n"
    )


def test_edges_of_inference_are_turned_over_for_graphviz() -> None:
    lines = dot(plan_of(TINY), steps=False).splitlines()
    assert "    m0n1 -> m0n0 [dir=back]" in lines  # x -> y, y above
    assert "    m1n1 -> m1n2" in lines
