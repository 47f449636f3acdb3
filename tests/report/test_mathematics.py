"""Every formula that the compiler writes becomes MathML: its symbols in order, whatever else is text."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from shown import write_spec

from ammgraph.compiler.compile import compile_spec
from ammgraph.report.mathematics import formula, mathml, pieces_of
from ammgraph.show.latex import latex
from ammgraph.spec.load import load_spec

SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))


def symbols(markup: str) -> str:
    """What a reader sees of MathML that is well-formed."""
    return "".join(ElementTree.fromstring(f"<p>{markup.replace('<wbr>', '')}</p>").itertext())


def typeset(path: Path, *overrides: str) -> list[str]:
    lines = latex(compile_spec(load_spec(path, overrides, allow_outside=True))).splitlines()
    return [symbols(formula(line)) for line in lines if line and not line.startswith("%")]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_formula_of_every_spec_is_typeset(path: Path) -> None:
    found = typeset(path)
    assert len(found) >= 5
    assert not set("\\{}$&") & set("".join(found))


@pytest.mark.parametrize("kind", ["amm", "samm", "ali"])
@pytest.mark.parametrize("objective", ["jensen_shannon", "minimax", "wasserstein", "least_squares", "hinge"])
def test_every_formula_that_the_compiler_writes_is_typeset(tmp_path: Path, kind: str, objective: str) -> None:
    overrides = [] if kind == "samm" else [f"games.joint.objective={objective}"]
    assert not set("\\{}$&") & set("".join(typeset(write_spec(tmp_path, kind), *overrides)))


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        (r"q(x, y) = q(x) \, q(y \mid x)", "q(x,y)=q(x)q(y∣x)"),
        (
            r"\mathcal{L}^{D}_{\mathrm{joint}} = \mathbb{E}_{q}\left[\zeta(-d(x, y_{1}))\right]",
            "ℒjointD=𝔼q[ζ(−d(x,y1))]",
        ),
        (r"\tfrac{1}{2} \left(\lVert \nabla_{\hat{x}} d(\hat{x}) \rVert_2 - 1\right)^2", "12(‖∇x^d(x^)‖2−1)2"),
        (r"p_{\mathrm{unlabeled}}(\mathrm{y\_again}_{12}) \cdot 10^{-5}", "punlabeled(y_again12)·10−5"),
        (r"4 \, 1_{4 \mid t} \, \max(0, 1 - d(x)) + w(t) \, \log(1 - D(x))", "414∣tmax(0,1−d(x))+w(t)log(1−D(x))"),
        (r"\min_{\theta_{\mathrm{critic}}} \; \log D(x), \quad D = \sigma(d)", "minθcriticlogD(x),D=σ(d)"),
    ],
)
def test_a_formula_reads_as_it_was_written(written: str, seen: str) -> None:
    assert symbols(formula(written)) == seen


def test_formulas_are_cut_before_relations_and_terms_and_sums_lend_their_brackets() -> None:
    assert pieces_of("a(b + c) = d + e - f") == ["a(b + c)", "{} = d", "{} + e", "{} - f"]
    assert pieces_of(r"a = 2 \left(b(x + y) + c\right)") == ["a", "{} = 2 (b(x + y)", "{} + c)"]
    assert pieces_of(r"a, \quad b = \left[\left(c + d\right)^2\right]") == [
        r"a, \quad",
        "b",
        r"{} = \left[\left(c + d\right)^2\right]",
    ]


def test_what_would_be_html_is_text() -> None:
    for written in (r"\text{<b>}", r"\mathrm{<b>&lt;b>}", "<script>"):
        assert {element.tag for element in ElementTree.fromstring(mathml(written)).iter()} <= {
            *("math", "mrow", "mtext", "mi", "mo")
        }


def test_a_minus_is_a_sign_after_a_bracket_and_an_operator_after_a_term() -> None:
    assert [element.get("form") for element in ElementTree.fromstring(mathml("(-a) - b")).iter("mo")] == [
        *(None, "prefix", None, None)
    ]
