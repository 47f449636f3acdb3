"""What a program adds to the language: one call, one entry of a table that parsing, shapes, cost and torch read.

A name that ammgraph has cannot be given again; one that a program has added is replaced. What a name means is not kept
in a run: whoever asks a run adds the same first.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ammgraph.diagnostics import RunError
from ammgraph.formulas.expression import Expression, Logit
from ammgraph.formulas.objectives import OBJECTIVES, Objective
from ammgraph.formulas.reading import read_formula
from ammgraph.layers.activations import ACTIVATIONS, ActivationKind, Parameter
from ammgraph.layers.operations import OPERATIONS, Operation, Own, Seen, Shape
from ammgraph.nn.functions import OWN, function
from ammgraph.nn.losses import value
from ammgraph.nn.own import seen
from ammgraph.spec.values import IDENTIFIER_PATTERN

_SHIPPED = frozenset({*ACTIVATIONS, *OBJECTIVES, *OPERATIONS})
LARGE = 30.0  # of the numbers on which a range is checked


def register_activation(
    name: str,
    of: Callable[..., Tensor],
    *,
    parameter: float | None = None,
    range: tuple[float, float] | None = None,
    meaning: str = "given in Python",
) -> None:
    """Add an activation, for `activation: NAME` or, with a parameter, `activation: NAME 0.5`.

    Args:
        name: a letter followed by letters, digits and `_`.
        of: a function of every element: a tensor of any shape -> one of that shape; with a parameter of both.
        parameter: an example of the number behind the name, at least 0, where it takes one.
        range: between what its values lie, so that it can draw an image of that range.
        meaning: for whoever asks.

    Raises:
        RunError: the name is ammgraph's own, or the function is none of every element, draws random numbers, leaves
            its range, gives no finite numbers or no gradient.
    """
    _check_name("activation", name)
    _check_activation(name, of, () if parameter is None else (parameter,), range)
    torch_name = next((f"{room}.{of.__name__}" for room, there in _ROOMS if _is(there, of)), f"own.{name}")
    OWN[name] = of
    function.cache_clear()
    number = None if parameter is None else Parameter("a", parameter)
    ACTIVATIONS[name] = ActivationKind(torch_name, meaning, number, range="" if range is None else range)


def register_objective(
    name: str,
    *,
    discriminator: tuple[str, str],
    generator: tuple[str, str],
    meaning: str = "given in Python",
) -> None:
    """Add an objective of games, for `objective: NAME`; it is printed, drawn and exported as those of ammgraph are.

    Args:
        name: a letter followed by letters, digits and `_`.
        discriminator: what the discriminator pays on REAL and on FAKE: formulas of its logit d, as `softplus(-d)`,
            `d**2 / 2`; see `formulas.functions.FUNCTIONS`.
        generator: what the networks of both sides pay there.
        meaning: for whoever asks.

    Raises:
        RunError: the name is ammgraph's own, a formula is none, gives no finite numbers or no gradient.
    """
    _check_name("objective", name)
    pairs = {"discriminator": discriminator, "generator": generator}
    found: dict[str, tuple[Expression, Expression]] = {}
    for player, texts in pairs.items():
        if isinstance(texts, str) or len(texts) != 2:
            raise RunError(f"objective `{name}`: `{player}` has two formulas, on REAL and on FAKE")
        real, fake = (_formula(name, text) for text in texts)
        found[player] = real, fake
    OBJECTIVES[name] = Objective(found["discriminator"], found["generator"], meaning)


def register_module(name: str, build: Callable[[Shape], nn.Module], *, meaning: str = "given in Python") -> None:
    """Add an operation of rows that is a module, for `{input: x, op: NAME}`; each such row has weights of its own.

    To a module a vector of n is (B, n), an image (B, C, H, W), and so is what it gives. It is tried when a spec is
    compiled, on random examples of the shape that its row reads: a spec in which it cannot stand is refused there.

    Args:
        name: a letter followed by letters, digits and `_`.
        build: the shape of an input, (C, H, W), of a vector (n, 1, 1) -> the module, initialised as it pleases by
            torch's own generator.
        meaning: for whoever asks.

    Raises:
        RunError: the name is ammgraph's own.
    """
    _check_name("operation", name)

    @cache
    def look(shape: Shape) -> Seen:
        return seen(own, shape)

    own = Own(build, look)
    OPERATIONS[name] = Operation(
        "",
        meaning,
        multiply_adds=lambda inside, outside: look(inside).multiply_adds,
        held=lambda inside, outside, heads: look(inside).held,
        own=own,
    )


_ROOMS: tuple[tuple[str, Any], ...] = (("F", F), ("torch", torch))


def _is(room: Any, of: Callable[..., Tensor]) -> bool:
    """Whether a function is torch's own, so that an export knows it."""
    return getattr(room, getattr(of, "__name__", ""), None) is of


def _check_name(kind: str, name: str) -> None:
    if not re.fullmatch(IDENTIFIER_PATTERN, name):
        raise RunError(f"`{name}` is no name of an {kind}; expected a letter followed by letters, digits and `_`")
    if name in _SHIPPED:
        raise RunError(f"ammgraph has `{name}` itself; give the {kind} another name")


def _check_activation(
    name: str, of: Callable[..., Tensor], arguments: tuple[float, ...], range: tuple[float, float] | None
) -> None:
    x = (torch.linspace(-3, 3, 24, dtype=torch.float64) + 0.05).reshape(3, 4, 2, 1).requires_grad_()
    some = x.detach().flatten()[::3]
    try:
        with torch.random.fork_rng(devices=[]):
            out, again, alone = of(x, *arguments), of(x, *arguments), of(some, *arguments)
            far = of(LARGE * some, *arguments)
    except Exception as error:  # whatever a stranger's code raises
        raise RunError(f"activation `{name}` raises {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(out, Tensor) or out.shape != x.shape:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise RunError(f"activation `{name}` gives {shape} of {tuple(x.shape)}; expected the same shape")
    if not torch.isfinite(out).all():
        raise RunError(f"activation `{name}` gives numbers that are not finite between -3 and 3")
    if not torch.equal(out, again):
        raise RunError(f"activation `{name}` draws random numbers; let a row have them, by `noise`")
    if not torch.allclose(out.flatten()[::3], alone):
        raise RunError(f"activation `{name}` is no function of every element by itself")
    (slope,) = torch.autograd.grad(out.sum(), x, allow_unused=True) if out.requires_grad else (None,)
    if slope is None or not torch.isfinite(slope).all() or not slope.any():
        raise RunError(f"activation `{name}` gives no gradient, or no finite one, between -3 and 3")
    values = torch.cat([out.detach().flatten(), far])
    if range is not None and not (values.ge(range[0]) & values.le(range[1])).all():
        low, high = float(values.min()), float(values.max())
        raise RunError(f"activation `{name}` gives {low:.4g} to {high:.4g}, which is not within {list(range)}")


def _formula(name: str, text: str) -> Expression:
    try:
        expression = read_formula(text)
        d = torch.linspace(-3, 3, 13, dtype=torch.float64).requires_grad_()
        paid = value(expression, {Logit(): d})
    except (ValueError, AssertionError) as error:
        raise RunError(f"objective `{name}`: {error}") from error
    (slope,) = torch.autograd.grad(paid.sum(), d, allow_unused=True)
    if slope is None or not slope.any() or not (torch.isfinite(paid).all() and torch.isfinite(slope).all()):
        raise RunError(f"objective `{name}`: `{text}` has no finite number or no gradient at d between -3 and 3")
    return expression
