"""A formula of d as a person writes it, `softplus(-d) + 0.1 * d**2`, -> an expression."""

import ast

from ammgraph.formulas.expression import Apply, Expression, Logit, Number, Product, Square, minus, plus, times
from ammgraph.formulas.functions import FUNCTIONS


def read_formula(text: str) -> Expression:
    """The expression of a formula: numbers, `d`, `+ - *`, `/` by a number, `**` a whole number, and functions.

    Raises:
        ValueError: it is none; the message says what, and where.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"`{text}` is no formula: {error.msg}") from error
    return _expression(tree.body, text.strip())


def _expression(node: ast.expr, text: str) -> Expression:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return Number(float(number))
        case ast.Name(id="d"):
            return Logit()
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return minus(_expression(operand, text))
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _expression(operand, text)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return plus(_expression(left, text), _expression(right, text))
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return plus(_expression(left, text), minus(_expression(right, text)))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _product(_expression(left, text), _expression(right, text))
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            divisor = _expression(right, text)
            if not isinstance(divisor, Number) or divisor.value == 0:
                raise ValueError(f"`{text}` divides by `{ast.unparse(right)}`, expected a number other than 0")
            return _product(Number(1 / divisor.value), _expression(left, text))
        case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int() as power)) if power > 0:
            return _power(_expression(left, text), power)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            return Apply(name, _expression(argument, text))
    known = ", ".join(f"`{name}(...)`" for name in FUNCTIONS)
    found = ast.unparse(node)
    raise ValueError(f"`{text}`: `{found}` is not known; expected `d`, numbers, + - *, / by a number, **, {known}")


def _product(first: Expression, second: Expression) -> Expression:
    if isinstance(first, Number) and isinstance(second, Number):
        return Number(first.value * second.value)
    if isinstance(first, Number):
        return times(first.value, second)
    return times(second.value, first) if isinstance(second, Number) else Product((first, second))


def _power(base: Expression, power: int) -> Expression:
    squares: tuple[Expression, ...] = (Square(base),) * (power // 2)
    factors = squares + ((base,) if power % 2 else ())
    return factors[0] if len(factors) == 1 else Product(factors)
