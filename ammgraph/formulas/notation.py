r"""Expressions as text: one walk over a tree, and a table of spellings for each notation.

text    0.25 E_p sp(-d) + 1/2 E_q |grad d|^2        LaTeX   \mathbb{E}_{q}\left[\zeta(-d)\right]
code    torch.mean(F.softplus(-d_q))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ammgraph.formulas.expression import (
    Apply,
    Batch,
    Expression,
    Floor,
    Functional,
    Leaf,
    Logit,
    Mean,
    Minus,
    Number,
    Pooled,
    Product,
    Scored,
    Slope,
    Square,
    Sum,
    Support,
    Value,
    Vat,
    Weighted,
)
from ammgraph.formulas.functions import functional_text

# How tightly a written expression holds together: a sum, a product, a power, one thing.
SUM, PRODUCT, POWER, ATOM = range(4)


@dataclass(frozen=True)
class Spelling:
    """How a notation writes each kind of node, `{}` its parts."""

    number: Callable[[float], str]
    leaf: Callable[[Leaf], str]
    function: Callable[[str, str], str]  # name, argument
    weighted: Callable[[Support, str], str]  # over the values of a variable, argument
    mean: Callable[[str, str], str]  # draw, argument
    functional: Callable[[str, Sequence[str]], str]  # name, arguments
    times: str  # between factors
    power: Callable[[str], str]  # the square of a base
    brackets: str = "({})"
    batch: Callable[[str, str, Sequence[str]], str] = (  # name, draw, arguments
        lambda name, draw, arguments: functional_text(name, arguments, draw)
    )
    floor: Callable[[str, str], str] = "max({}, {})".format  # argument, number
    mean_holds: int = SUM  # how tightly the argument of a mean must hold: SUM where the notation closes it itself


def written(expression: Expression, spelling: Spelling, holds: int = SUM) -> str:
    """The expression in a notation, in brackets where it holds together less tightly than `holds`."""
    return _within(expression, spelling, holds)


def _written(expression: Expression, spelling: Spelling) -> tuple[str, int]:
    match expression:
        case Number(value):
            return (spelling.number(value), ATOM) if value >= 0 else (f"-{spelling.number(-value)}", SUM)
        case Logit() | Slope() | Scored() | Value() | Vat() | Support():
            return spelling.leaf(expression), ATOM
        case Weighted(support, argument):
            return spelling.weighted(support, _within(argument, spelling, PRODUCT)), PRODUCT
        case Pooled(draw, argument):
            return spelling.mean(draw, _within(argument, spelling, spelling.mean_holds)), ATOM
        case Functional(function, arguments):
            return spelling.functional(function, [written(argument, spelling) for argument in arguments]), ATOM
        case Batch(function, draw, argument, groups):
            more = [spelling.number(groups)] if groups > 1 else []
            return spelling.batch(function, draw, [spelling.leaf(argument), *more]), ATOM
        case Floor(argument, least):
            return spelling.floor(written(argument, spelling), written(Number(least), spelling)), ATOM
        case Minus(argument):
            return f"-{_within(argument, spelling, PRODUCT)}", SUM
        case Sum(terms):
            return _sum([_written(term, spelling)[0] for term in terms]), SUM
        case Product(factors):
            return spelling.times.join(_within(factor, spelling, PRODUCT) for factor in factors), PRODUCT
        case Square(argument):
            return spelling.power(_within(argument, spelling, ATOM)), POWER
        case Apply(function, argument):
            return spelling.function(function, written(argument, spelling)), ATOM
        case Mean(draw, argument):
            return spelling.mean(draw, _within(argument, spelling, spelling.mean_holds)), ATOM


def _within(expression: Expression, spelling: Spelling, least: int) -> str:
    text, holds = _written(expression, spelling)
    return text if holds >= least else spelling.brackets.format(text)


def _sum(terms: list[str]) -> str:
    """`a + b - c`: a term that begins with a minus lends it."""
    signed = [f" - {term[1:]}" if term.startswith("-") else f" + {term}" for term in terms[1:]]
    return "".join([terms[0], *signed])
