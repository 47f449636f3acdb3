"""Expressions evaluated by torch: the one place where a formula meets tensors."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

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
from ammgraph.formulas.functions import FUNCTIONS
from ammgraph.nn.functions import function

# Logits and norms of slopes of each example, shape (B,); a squared norm by the `Square` of its slope.
Leaves: TypeAlias = Mapping[Logit | Slope | Square, Tensor]
_Value: TypeAlias = Tensor | float


def value(expression: Expression, leaves: Leaves) -> Tensor:
    """The number that an expression is, a scalar with a gradient to its leaves."""
    return _tensor(_value(expression, leaves))


def squared_norms(gradients: Sequence[Tensor]) -> Tensor:
    """||g_b||_2^2 of each example's gradient over all inputs jointly, shape (B,)."""
    return torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0)


def norms(gradients: Sequence[Tensor]) -> Tensor:
    """||g_b||_2 of each example's gradient over all inputs jointly, shape (B,); its own gradient is 0 at 0."""
    joint = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)
    return torch.linalg.vector_norm(joint, dim=1)  # a square root of a sum of squares has no gradient at 0


def _value(expression: Expression, leaves: Leaves) -> _Value:
    match expression:
        case Number(number):
            return number
        case Logit() | Slope() | Square(Slope()):
            return leaves[expression]
        case Square(argument):
            return _value(argument, leaves) ** 2
        case Minus(argument):
            return -_value(argument, leaves)
        case Apply(name, argument):
            return function(FUNCTIONS[name].torch)(_tensor(_value(argument, leaves)))
        case Mean(_, argument):
            return _tensor(_value(argument, leaves)).mean()
        case Product(factors):
            return math.prod((_value(factor, leaves) for factor in factors[1:]), start=_value(factors[0], leaves))
        case Sum(terms):
            total = _value(terms[0], leaves)
            for term in terms[1:]:
                total = (
                    total - _value(term.argument, leaves) if isinstance(term, Minus) else total + _value(term, leaves)
                )
            return total


def _tensor(found: _Value) -> Tensor:
    assert isinstance(found, Tensor), "an expression without leaves is no loss"
    return found
