"""What a program adds to the language: one call, one entry of a table that parsing, shapes, cost and torch read.

A name that ammgraph has cannot be given again; one that a program has added is replaced. What a name means is not kept
in a run: whoever asks a run adds the same first.
"""

import math
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
    _check_options(name, of, parameter, range)
    _check_activation(name, of, () if parameter is None else (parameter,), range)
    torch_name = next((f"{room}.{of.__name__}" for room, there in _ROOMS if _is(there, of)), f"own.{name}")
    OWN[name] = of
    function.cache_clear()
    number = None if parameter is None else Parameter("a", parameter)
    ACTIVATIONS[name] = ActivationKind(torch_name, meaning, number, range="" if range is None else (range[0], range[1]))


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
        if not isinstance(texts, tuple | list) or len(texts) != 2 or not all(isinstance(text, str) for text in texts):
            raise RunError(
                f"objective `{name}`: `{player}` has two formulas, on REAL and on FAKE, each a text, as `softplus(-d)`"
            )
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
        RunError: the name is ammgraph's own, or what builds modules is one itself, or cannot be called.
    """
    _check_name("operation", name)
    if isinstance(build, nn.Module) or not callable(build):
        found = type(build).__name__
        raise RunError(
            f"operation `{name}` is built by {found}, expected a function of the shape of its input that gives a new "
            f"module each time, as `lambda shape: {found if isinstance(build, nn.Module) else 'torch.nn.Linear'}(...)`"
        )

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
    if not isinstance(name, str) or not re.fullmatch(IDENTIFIER_PATTERN, name):
        raise RunError(f"`{name}` is no name of an {kind}; expected a letter followed by letters, digits and `_`")
    if name in _SHIPPED:
        raise RunError(f"ammgraph has `{name}` itself; give the {kind} another name")


def _check_options(name: str, of: Any, parameter: Any, range: Any) -> None:
    if not callable(of):
        raise RunError(f"activation `{name}` is {type(of).__name__}, expected a function of a tensor")
    if parameter is not None and not (_is_number(parameter) and 0 <= parameter < math.inf):
        raise RunError(f"activation `{name}`: `parameter` is {parameter!r}, expected an example of it, at least 0")
    pair = isinstance(range, tuple | list) and len(range) == 2 and all(map(_is_number, range))
    if range is not None and not (pair and range[0] < range[1]):
        raise RunError(f"activation `{name}`: `range` is {range!r}, expected two numbers, (low, high), low < high")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_activation(
    name: str, of: Callable[..., Tensor], arguments: tuple[float, ...], range: tuple[float, float] | None
) -> None:
    x = (torch.linspace(-3, 3, 24, dtype=torch.float64) + 0.05).reshape(3, 4, 2, 1).requires_grad_()
    some = x.detach().flatten()[::3]
    try:
        with torch.random.fork_rng(devices=[]):
            out, again, single = of(x, *arguments), of(x, *arguments), of(x.detach().float(), *arguments)
            alone, far = _of_some(name, of, some, arguments), _of_some(name, of, LARGE * some, arguments)
    except RunError:
        raise
    except Exception as error:  # whatever a stranger's code raises
        raise RunError(f"activation `{name}` raises {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not isinstance(out, Tensor) or out.shape != x.shape:
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise RunError(f"activation `{name}` gives {shape} of {tuple(x.shape)}; expected the same shape")
    for given, found in ((x.dtype, out.dtype), (torch.float32, single.dtype)):
        if given != found:
            raise RunError(f"activation `{name}` gives {_text(found)} of {_text(given)}; expected the same")
    if not torch.isfinite(out).all():
        raise RunError(f"activation `{name}` gives numbers that are not finite between -3 and 3")
    if not torch.equal(out, again):
        raise RunError(f"activation `{name}` draws random numbers; let a row have them, by `noise`")
    if alone.shape != some.shape or not torch.allclose(out.flatten()[::3], alone):
        raise RunError(f"activation `{name}` is no function of every element by itself")
    (slope,) = torch.autograd.grad(out.sum(), x, allow_unused=True) if out.requires_grad else (None,)
    if slope is None or not torch.isfinite(slope).all() or not slope.any():
        raise RunError(f"activation `{name}` gives no gradient, or no finite one, between -3 and 3")
    values = torch.cat([out.detach().flatten(), far])
    if range is not None and not (values.ge(range[0]) & values.le(range[1])).all():
        low, high = float(values.min()), float(values.max())
        raise RunError(f"activation `{name}` gives {low:.4g} to {high:.4g}, which is not within {list(range)}")


def _of_some(name: str, of: Callable[..., Tensor], some: Tensor, arguments: tuple[float, ...]) -> Tensor:
    """The activation of numbers in a row: one that needs channels or places is none of every element."""
    try:
        return of(some, *arguments)
    except Exception as error:  # whatever a stranger's code raises
        said = f"of numbers in a row it raises {type(error).__name__}"
        raise RunError(f"activation `{name}` is no function of every element by itself: {said}") from error


def _text(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _formula(name: str, text: str) -> Expression:
    try:
        expression = read_formula(text)
        d = torch.linspace(-3, 3, 13, dtype=torch.float64).requires_grad_()
        paid = value(expression, {Logit(): d})
    except AssertionError as error:
        raise RunError(f"objective `{name}`: `{text}` reads no d, and so has no gradient") from error
    except ValueError as error:
        raise RunError(f"objective `{name}`: {error}") from error
    (slope,) = torch.autograd.grad(paid.sum(), d, allow_unused=True)
    if slope is None or not slope.any() or not (torch.isfinite(paid).all() and torch.isfinite(slope).all()):
        raise RunError(f"objective `{name}`: `{text}` has no finite number or no gradient at d between -3 and 3")
    return expression
