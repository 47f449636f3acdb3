r"""Expressions as text: one walk over a tree, and a table of spellings for each notation.

text    0.25 E_p sp(-d) + 1/2 E_q |grad d|^2        LaTeX   \mathbb{E}_{q}\left[\zeta(-d)\right]
code    torch.mean(F.softplus(-d_q))
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ammgraph.formulas.expression import (
    Apply,
    Expression,
    Logit,
    Mean,
    Minus,
    Number,
    Product,
    Slope,
    Square,
    Sum,
)

Leaf: TypeAlias = Callable[[Logit | Slope], str]


@dataclass(frozen=True)
class Spelling:
    """How a notation writes each kind of node, `{}` its parts."""

    number: Callable[[float], str]
    leaf: Leaf
    function: Callable[[str, str], str]  # name, argument
    mean: Callable[[str, str], str]  # draw, argument
    times: str  # between factors
    power: str  # behind a base
    brackets: str = "({})"


# How tightly a written expression holds together: a sum, a product, a power, one thing.
_SUM, _PRODUCT, _POWER, _ATOM = range(4)


def written(expression: Expression, spelling: Spelling) -> str:
    """The expression in a notation."""
    return _written(expression, spelling)[0]


def _written(expression: Expression, spelling: Spelling) -> tuple[str, int]:
    match expression:
        case Number(value):
            return (spelling.number(value), _ATOM) if value >= 0 else (f"-{spelling.number(-value)}", _SUM)
        case Logit() | Slope():
            return spelling.leaf(expression), _ATOM
        case Minus(argument):
            return f"-{_within(argument, spelling, _PRODUCT)}", _SUM
        case Sum(terms):
            return _sum([_written(term, spelling)[0] for term in terms]), _SUM
        case Product(factors):
            return spelling.times.join(_within(factor, spelling, _PRODUCT) for factor in factors), _PRODUCT
        case Square(argument):
            return spelling.power.format(_within(argument, spelling, _ATOM)), _POWER
        case Apply(function, argument):
            return spelling.function(function, written(argument, spelling)), _ATOM
        case Mean(draw, argument):
            return spelling.mean(draw, written(argument, spelling)), _ATOM


def _within(expression: Expression, spelling: Spelling, least: int) -> str:
    text, holds = _written(expression, spelling)
    return text if holds >= least else spelling.brackets.format(text)


def _sum(terms: list[str]) -> str:
    """`a + b - c`: a term that begins with a minus lends it."""
    signed = [f" - {term[1:]}" if term.startswith("-") else f" + {term}" for term in terms[1:]]
    return "".join([terms[0], *signed])
