"""Expressions evaluated by torch: the one place where a formula meets tensors."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

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
from ammgraph.formulas.functions import FUNCTIONALS, FUNCTIONS
from ammgraph.nn.distributions import Distribution
from ammgraph.nn.functions import at_least, function, weighted

# Logits and norms of slopes of each example, shape (B,); a squared norm by the `Square` of its slope.
# Distributions and values of terms, (B, ...); what moves a sample, (B,).
Leaves: TypeAlias = Mapping[Leaf | Square, Tensor | Distribution]
_Value: TypeAlias = Tensor | float | Distribution


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
        case Logit() | Slope() | Scored() | Vat() | Support() | Square(Slope()):
            return leaves[expression]
        case Value():
            return _in_single(_tensor(leaves[expression]))
        case Weighted(support, argument):
            return weighted(_tensor(leaves[support]), _tensor(_value(argument, leaves)))
        case Pooled(_, argument):
            found = _value(argument, leaves)
            return found.pooled() if isinstance(found, Distribution) else _tensor(found).mean(0, keepdim=True)
        case Functional(name, arguments):
            measured = _measured(FUNCTIONALS[name].torch, [_value(argument, leaves) for argument in arguments])
            return measured.sum() if all(map(_is_one, arguments)) else measured
        case Batch(name, _, argument, groups):
            numbers = [groups] if groups > 1 else []
            return _tensor(function(FUNCTIONALS[name].torch)(_tensor(_value(argument, leaves)), *numbers))
        case Floor(argument, least):
            return at_least(_tensor(_value(argument, leaves)), least)
        case Square(argument):
            return _number(_value(argument, leaves)) ** 2
        case Minus(argument):
            return -_number(_value(argument, leaves))
        case Apply(name, argument):
            return function(FUNCTIONS[name].torch)(_tensor(_value(argument, leaves)))
        case Mean(_, argument):
            return _tensor(_value(argument, leaves)).mean()
        case Product(factors):
            values = [_number(_value(factor, leaves)) for factor in factors]
            return math.prod(values[1:], start=values[0])
        case Sum(terms):
            total = _number(_value(terms[0], leaves))
            for term in terms[1:]:
                less = isinstance(term, Minus)
                more = _number(_value(term.argument if isinstance(term, Minus) else term, leaves))
                total = total - more if less else total + more
            return total


def _in_single(found: Tensor) -> Tensor:
    """In 32 bits or more: of means that differ by little, 8 bits would keep little of the difference."""
    return found.to(torch.promote_types(found.dtype, torch.float32))


def _is_one(argument: Expression) -> bool:
    """Whether it is of no example: the mean of a batch, or a distribution without conditions."""
    return isinstance(argument, Pooled) or (isinstance(argument, Scored) and not argument.draw)


def _tensor(found: _Value) -> Tensor:
    assert isinstance(found, Tensor), "an expression without leaves is no loss"
    return found


def _number(found: _Value) -> Tensor | float:
    assert not isinstance(found, Distribution), "a distribution is no number"
    return found


def _measured(name: str, found: Sequence[_Value]) -> Tensor:
    """`normal_log(mean, log_variance, x)`, `distance_2(x, y)`."""
    first, *others = found
    if not isinstance(first, Distribution):
        return _tensor(function(name)(*found))
    more: list[Tensor] = []
    for other in others:
        more += other.parameters if isinstance(other, Distribution) else [_tensor(other).to(first.first.dtype)]
    return _tensor(function(name.format(first.kind))(*first.parameters, *more))
