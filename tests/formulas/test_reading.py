"""Formulas of d as a person writes them."""

import math
import re

import pytest
import torch

from ammgraph.formulas.expression import Logit
from ammgraph.formulas.functions import FUNCTIONS
from ammgraph.formulas.reading import read_formula
from ammgraph.nn.losses import value
from ammgraph.show.text import formula_text


@pytest.mark.parametrize(
    ("text", "expected", "printed"),
    [
        ("d", lambda d: d, "d"),
        ("-d", lambda d: -d, "-d"),
        ("softplus(-d)", lambda d: (1 + (-d).exp()).log(), "sp(-d)"),
        ("softplus(-d)**2", lambda d: (1 + (-d).exp()).log() ** 2, "sp(-d)^2"),
        ("(d - 1)**2 / 2", lambda d: (d - 1) ** 2 / 2, "1/2 (d - 1)^2"),
        ("d**3 + 0.1 * tanh(d)", lambda d: d**3 + 0.1 * d.tanh(), "d^2 d + 0.1 tanh(d)"),
        ("2 * 3 * relu(1 + d)", lambda d: 6 * (1 + d).clamp(min=0), "6 relu(1 + d)"),
        ("d * sigmoid(d) - exp(-d)", lambda d: d / (1 + (-d).exp()) - (-d).exp(), "d s(d) - exp(-d)"),
        ("log(1 + exp(+d))", lambda d: (1 + d.exp()).log(), "log(1 + exp(d))"),
        ("-(-d)", lambda d: d, "d"),
    ],
)
def test_a_formula_is_computed_and_printed(text: str, expected: object, printed: str) -> None:
    d = torch.linspace(-2, 2, 9, dtype=torch.float64)
    torch.testing.assert_close(value(read_formula(text), {Logit(): d}), expected(d), atol=1e-12, rtol=0)
    assert formula_text(read_formula(text)) == printed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("softplus(", "no formula"),
        ("x", "`x` is not known"),
        ("__import__('os')", "is not known"),
        ("d.real", "`d.real` is not known"),
        ("sin(d)", "`sin(d)` is not known"),
        ("1 / d", "divides by `d`, expected a number other than 0"),
        ("d / 0", "divides by `0`"),
        ("d ** 0.5", "is not known"),
        ("d ** -1", "is not known"),
        ("softplus(d, 1)", "is not known"),
        ("True", "`True` is not known"),
        ("d if d else 1", "is not known"),
        ("d; d", "no formula"),
    ],
)
def test_what_is_no_formula_is_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        read_formula(text)


def test_every_function_of_the_table_can_be_written() -> None:
    for name in FUNCTIONS:
        assert math.isfinite(float(value(read_formula(f"{name}(d + 3)"), {Logit(): torch.zeros(())})))
