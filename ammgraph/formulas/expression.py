"""Expressions: what is minimised, as trees of frozen values. No torch, no text.

A leaf names something that a step has: a discriminator's logit at a draw's samples, the norm of its gradient there, the
distribution that a factor gives each example of a draw, a sample, a row, the probabilities of enumerated values.
`nn.losses` evaluates a tree; `formulas.notation` prints it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TypeAlias


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Logit:
    """d, the discriminator's logit at each sample of a draw, in one evaluation of it; (B,)."""

    draw: str = ""
    evaluation: str = ""


@dataclass(frozen=True)
class Slope:
    """||grad d||_2 of each example over all inputs jointly, in one evaluation; (B,)."""

    draw: str = ""
    evaluation: str = ""


@dataclass(frozen=True)
class Scored:
    """The distribution that a factor gives each example of a draw; one for all where it has no conditions.

    `over` a variable that the draw enumerates, of each example with every value of it, (B K, ...).
    """

    factor: str
    draw: str = ""
    stopped: bool = False  # a constant
    over: str = ""


@dataclass(frozen=True)
class Value:
    """A variable's sample, or a row, of each example of a draw; B x C x H x W. `over` as in `Scored`."""

    name: str
    draw: str
    stopped: bool = False  # a constant
    over: str = ""


@dataclass(frozen=True)
class Vat:
    """KL(f(.|x) || f(.|x + r)) of each example of a draw, r as `nn.functions.vat` has it; (B,)."""

    factor: str
    draw: str
    variable: str  # x
    radius: float
    times: str  # a variable of size 1 that the radius is multiplied by, or nothing
    xi: float


@dataclass(frozen=True)
class Support:
    """The probabilities that a factor gives the K values of the variable that a draw enumerates; (B, K)."""

    variable: str
    factor: str
    draw: str


@dataclass(frozen=True)
class Pooled:
    """The mean over the batch of a draw: of categorical distributions, or of a value."""

    draw: str
    argument: Scored | Value


@dataclass(frozen=True)
class Functional:
    """A number of each example, by a function of `formulas.functions.FUNCTIONALS`; one number, where it is of means."""

    function: str
    arguments: tuple[Scored | Value | Pooled, ...]


@dataclass(frozen=True)
class Batch:
    """A number of the values of all examples of a draw, by a function `of_batch`."""

    function: str
    draw: str
    argument: Value
    groups: int = 1


@dataclass(frozen=True)
class Floor:
    """max(a, n), without a gradient where a is not above n."""

    argument: "Expression"
    least: float


@dataclass(frozen=True)
class Weighted:
    """sum_y c(y|x) a(y), (B,), over the values of an enumerated variable; a is of each example with every value."""

    support: Support
    argument: "Expression"


@dataclass(frozen=True)
class Minus:
    """-a."""

    argument: "Expression"


@dataclass(frozen=True)
class Sum:
    """a + b + ..., added from left to right."""

    terms: tuple["Expression", ...]


@dataclass(frozen=True)
class Product:
    """a b ..."""

    factors: tuple["Expression", ...]


@dataclass(frozen=True)
class Square:
    """a^2."""

    argument: "Expression"


@dataclass(frozen=True)
class Apply:
    """A function of `formulas.functions` at every element."""

    function: str
    argument: "Expression"


@dataclass(frozen=True)
class Mean:
    """E_draw[a], the mean over the batch of a draw; over an evaluation's own points where `draw` is empty."""

    draw: str
    argument: "Expression"


Leaf: TypeAlias = Logit | Slope | Scored | Value | Vat | Support
Expression: TypeAlias = (
    Number
    | Logit
    | Slope
    | Scored
    | Value
    | Vat
    | Support
    | Pooled
    | Functional
    | Batch
    | Floor
    | Weighted
    | Minus
    | Sum
    | Product
    | Square
    | Apply
    | Mean
)


def minus(argument: Expression) -> Expression:
    """-a; twice is nothing, and a number takes the sign itself."""
    if isinstance(argument, Minus):
        return argument.argument
    return Number(-argument.value) if isinstance(argument, Number) else Minus(argument)


def plus(*terms: Expression) -> Expression:
    """The sum, of one term the term itself."""
    return terms[0] if len(terms) == 1 else Sum(terms)


def times(factor: float, argument: Expression) -> Expression:
    """A number times an expression: 1 is not written, numbers are multiplied, and a minus comes first."""
    if isinstance(argument, Minus):
        return minus(times(factor, argument.argument))
    if isinstance(argument, Product) and isinstance(argument.factors[0], Number):
        rest = argument.factors[1:]
        return times(factor * argument.factors[0].value, rest[0] if len(rest) == 1 else Product(rest))
    return argument if factor == 1 else Product((Number(factor), argument))


def mean(draw: str, argument: Expression) -> Expression:
    """E_draw[a]; a minus comes first."""
    return minus(mean(draw, argument.argument)) if isinstance(argument, Minus) else Mean(draw, argument)


def parts(expression: Expression) -> Iterator[Expression]:
    """The expression and all below it, from left to right, each before its own parts."""
    yield expression
    for field in fields(expression):
        value = getattr(expression, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Expression):
                yield from parts(part)


def replaced(expression: Expression, leaf: Callable[[Logit | Slope], Expression]) -> Expression:
    """The same expression with other leaves."""
    match expression:
        case Logit() | Slope():
            return leaf(expression)
        case Number() | Scored() | Value() | Vat() | Support() | Pooled() | Functional() | Batch():
            return expression
        case Weighted(support, argument):
            return Weighted(support, replaced(argument, leaf))
        case Sum(terms):
            return Sum(tuple(replaced(term, leaf) for term in terms))
        case Product(factors):
            return Product(tuple(replaced(factor, leaf) for factor in factors))
        case Minus(argument):
            return minus(replaced(argument, leaf))
        case Floor(argument, least):
            return Floor(replaced(argument, leaf), least)
        case Square(argument):
            return Square(replaced(argument, leaf))
        case Apply(function, argument):
            return Apply(function, replaced(argument, leaf))
        case Mean(draw, argument):
            return mean(draw, replaced(argument, leaf))


def enumerated(expression: Expression, supports: Mapping[str, Support]) -> Expression:
    """The same, the mean over a draw that enumerates a variable being of the weighted sum over its values."""
    match expression:
        case Mean(draw, argument) if draw in supports:
            return Mean(draw, Weighted(supports[draw], argument))
        case Sum(terms):
            return Sum(tuple(enumerated(term, supports) for term in terms))
        case Product(factors):
            return Product(tuple(enumerated(factor, supports) for factor in factors))
        case Minus(argument):
            return minus(enumerated(argument, supports))
        case _:
            return expression
