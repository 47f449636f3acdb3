"""Terms: what a model minimises beside its games, as text and as frozen values; printing gives the canonical text back.

term      ['-'] product {('+' | '-') product}            product   [coefficient '*'] item
item      'E' '[' d ']' inner        a mean over the batch of a distribution d
        | ('pull_away' | 'affinity' | 'balance') '[' d ']' '(' value [',' number] ')'   of all its examples
        | 'max' '(' item ',' number ')'
        | 'H' '(' mix ')' | 'KL' '(' mix '||' mix ')'        of the mean distribution of a batch
        | ('l1' | 'l2') '(' mean ',' mean ')'                of two means
inner     'log' factor | 'H' '(' factor ')' | 'KL' '(' factor '||' factor ')' | ('l1' | 'l2') '(' value [',' value] ')'
        | 'vat' '(' factor ',' variable ',' radius ',' number ')' | 'max' '(' inner ',' number ')'
mix       'E' '[' d ']' factor | factor                  mean      'E' '[' d ']' value
factor    ['stop'] d '(' names ['|' argument {',' argument}] ')'         argument  variable ['=' variable]
value     ['stop'] (variable | network ['(' argument {',' argument} ')'] '.' row)
radius    number | [number '*'] variable
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TypeVar

from ammgraph.diagnostics import alternatives, nearest
from ammgraph.formulas.functions import FUNCTIONALS, FunctionalKind, functional_text
from ammgraph.spec.notation import Reference, number_text, reference_after
from ammgraph.spec.said import said_as
from ammgraph.spec.tokens import NotationError, Tokens

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z][A-Za-z0-9_]*)|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<mark>\|\||[-+*/|(),.=\[\]]))"
)
_ITEM = alternatives(
    [
        "E[...]",
        *(
            name + ("[...](...)" if kind.of_batch else "(...)")
            for name, kind in FUNCTIONALS.items()
            if not kind.of_one_example
        ),
        "max(...)",
    ]
)
_OF_EXAMPLES = [*(name for name, kind in FUNCTIONALS.items() if not kind.of_batch), "max"]
_INNER = f"{alternatives(_OF_EXAMPLES)}, as in `E[q] log p(x|z)`"
_AS_VAT = "as in `vat(c(y|x), x, 4, 10)`: how far x is moved, and xi, how far the direction is sought"


@dataclass(frozen=True)
class FactorUse:
    """`c(y|x=v)`: a factor of a distribution, where a condition may stand for another variable than its own."""

    draw: str
    variables: tuple[str, ...]
    given: tuple[tuple[str, str], ...] = ()  # condition -> the variable that it stands for
    stopped: bool = False  # without a gradient
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        given = ",".join(own if own == other else f"{own}={other}" for own, other in self.given)
        return _stopped(self.stopped, f"{self.draw}({','.join(self.variables)}{'|' + given if given else ''})")


@dataclass(frozen=True)
class ValueUse:
    """`x`, a variable's sample, or `decoder(z=v).x`, a row of a network."""

    name: str | Reference
    stopped: bool = False  # without a gradient
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return _stopped(self.stopped, str(self.name))


@dataclass(frozen=True)
class Move:
    """`x, 0.25 * radius, 10`: the variable that `vat` moves, how far, and how far the direction is sought."""

    variable: str
    radius: Fraction
    times: str  # a variable of size 1, or nothing
    xi: Fraction
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"{self.variable}, {scaled_text(self.radius, self.times)}, {number_text(self.xi)}"


@dataclass(frozen=True)
class Of:
    """A function of factors or values, of one example; or, of means, of a batch."""

    function: str  # of `formulas.functions.FUNCTIONALS`
    arguments: tuple["FactorUse | ValueUse | Expected", ...]
    move: Move | None = None  # of `vat`
    groups: int = 1
    least: Fraction | None = None  # at least this number, by `max`
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        more = [] if self.move is None else [str(self.move)]
        more += [str(self.groups)] if self.groups > 1 else []
        first = self.arguments[0]
        if FUNCTIONALS[self.function].of_batch and isinstance(first, Expected):
            return _floored(functional_text(self.function, [str(first.of), *more], first.draw), self.least)
        return _floored(functional_text(self.function, [*map(str, self.arguments), *more]), self.least)


@dataclass(frozen=True)
class Expected:
    """`E[d] v`: the mean over the batch of this step's draw of d."""

    draw: str
    of: Of | FactorUse | ValueUse
    least: Fraction | None = None  # at least this number, by `max`
    start: int = field(default=0, compare=False)  # of the draw's name
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return _floored(f"E[{self.draw}] {self.of}", self.least)


_Floored = TypeVar("_Floored", Of, Expected, Expected | Of)


@dataclass(frozen=True)
class Term:
    """A sum of items, each times a number."""

    parts: tuple[tuple[Fraction, Expected | Of], ...]

    def __str__(self) -> str:
        text = ""
        for coefficient, item in self.parts:
            sign = " - " if coefficient < 0 else " + "
            size = "" if abs(coefficient) == 1 else f"{number_text(abs(coefficient))} * "
            text += (sign if text else sign.strip().removeprefix("+")) + size + str(item)
        return text


class NeedsExpectation(NotationError):
    """Nothing says at whose samples a factor or a value is taken."""

    code = "needs-expectation"


def scaled_text(factor: Fraction | float, variable: str) -> str:
    """`4`, `0.25 * radius`, `radius`."""
    number = number_text(factor)
    return number if not variable else variable if factor == 1 else f"{number} * {variable}"


def _stopped(stopped: bool, text: str) -> str:
    return f"stop {text}" if stopped else text


def _floored(text: str, least: Fraction | None) -> str:
    return text if least is None else f"max({text}, {number_text(least)})"


def factors_of(term: Term) -> Iterator[FactorUse]:
    """Every factor that a term names."""
    for found in (argument for _, item in term.parts for argument in _arguments_of(item)):
        if isinstance(found, FactorUse):
            yield found


def rows_of(term: Term) -> Iterator[Reference]:
    """Every row of a network that a term names."""
    for found in (argument for _, item in term.parts for argument in _arguments_of(item)):
        if isinstance(found, ValueUse) and isinstance(found.name, Reference):
            yield found.name


def _arguments_of(item: Expected | Of) -> Iterator[FactorUse | ValueUse]:
    function = item.of if isinstance(item, Expected) else item
    assert isinstance(function, Of), "an item is a function, or a mean of one"
    for argument in function.arguments:
        found = argument.of if isinstance(argument, Expected) else argument
        assert not isinstance(found, Of), "a function holds factors and values"
        yield found


def parse_term(text: str, constants: Mapping[str, Fraction]) -> Term:
    """`-E[q] log p(x|z)`, `0.5 * H(E[q] c(y|x)) - E[q] H(c(y|x))` -> Term."""
    tokens = Tokens(text, _TOKEN)
    parts, sign = [], -1 if tokens.accept("-") else 1
    while True:
        coefficient = _coefficient(tokens, constants)
        parts.append((sign * coefficient, _item(tokens, constants)))
        if tokens.peek() not in ("+", "-"):
            break
        sign = 1 if tokens.take() == "+" else -1
    if tokens.peek() in ("*", "/"):
        tokens.fail("a number stands before what it multiplies", hint="as in `2 * E[q] log p(x|z)`")
    tokens.end()
    return Term(tuple(parts))


def _coefficient(tokens: Tokens, constants: Mapping[str, Fraction]) -> Fraction:
    start = tokens.start
    if tokens.kind() == "number":
        value = _quotient(tokens)
    elif tokens.kind() == "name" and tokens.peek() not in ("E", "max", *FUNCTIONALS):
        name = tokens.peek()
        if name not in constants:
            draw = name.removeprefix("E_")
            hint = f"the mean is written `E[{draw}]`" if draw != name else _as_in(name) or nearest(name, constants)
            hint = hint or (f"`{name}` in `constants` would be a number" if tokens.peek(1) == "*" else "")
            tokens.fail(f"`{name}` is neither a function of a term nor a constant", _ITEM, hint)
        value = constants[tokens.take()]
    else:
        return Fraction(1)
    if value == 0:
        raise NotationError("the number is 0: what it multiplies has no effect", start, tokens.last_end)
    if tokens.peek() != "*":
        tokens.fail(tokens.unexpected(), "`*`", "as in `2 * E[q] log p(x|z)`")
    tokens.take()
    return value


def _number(tokens: Tokens, constants: Mapping[str, Fraction], expected: str, hint: str = "") -> Fraction:
    """`0.1`, `1/3`, or a constant."""
    if tokens.kind() != "number" and tokens.peek() not in constants:
        tokens.fail(tokens.unexpected(), expected, nearest(tokens.peek(), constants) or hint)
    return _quotient(tokens) if tokens.kind() == "number" else constants[tokens.take()]


def _quotient(tokens: Tokens) -> Fraction:
    """`0.1`, `1/3`."""
    start, value = tokens.start, tokens.number()
    if tokens.accept("/"):
        divisor = tokens.number()
        if divisor == 0:
            raise NotationError("division by zero", start, tokens.last_end)
        value /= divisor
    return value


def _as_in(word: str) -> str:
    return f"as in `{said_as(word)}`" if said_as(word) else ""


def _item(tokens: Tokens, constants: Mapping[str, Fraction]) -> Expected | Of:
    word, start = tokens.peek(), tokens.start
    if word == "E":
        draw, first, last = _draw(tokens)
        if tokens.peek() == "E":
            tokens.fail("an expectation holds no other", _INNER, "its distribution draws all that is read")
        return Expected(draw, _inner(tokens, constants), start=first, end=last)
    if word == "max":
        return _max(tokens, constants, _item)
    if word not in FUNCTIONALS:
        tokens.fail(tokens.unexpected(), _ITEM, _as_in(word))
    kind = FUNCTIONALS[word]
    if kind.of_one_example:
        inner = _inner(tokens, constants)
        hint = f"as in `E[q] {inner}`, if `q` draws them"
        message = f"nothing says at whose samples `{inner.arguments[0]}` is scored"
        raise NeedsExpectation(message, start, tokens.last_end, "`E[...]`", hint)
    if kind.of_batch:
        return _of_batch(tokens, constants, kind)
    tokens.take()
    tokens.expect("(")
    arguments: list[FactorUse | ValueUse | Expected] = []
    while len(arguments) < kind.shown:
        if arguments:
            _joint(tokens, kind)
        arguments.append(_mix(tokens) if kind.kinds else _mean(tokens, word, kind.shown))
    tokens.expect(")")
    return Of(word, tuple(arguments), start=start, end=tokens.last_end)


def _max(
    tokens: Tokens, constants: Mapping[str, Fraction], of: Callable[[Tokens, Mapping[str, Fraction]], _Floored]
) -> _Floored:
    """`max(E[q] KL(q(z|x) || p(z)), 0.5)`, or one inside of `E[...]`."""
    tokens.take()
    tokens.expect("(")
    if tokens.peek() == "max":
        tokens.fail("a `max` holds no other", hint="the larger number says both")
    found = of(tokens, constants)
    if not tokens.accept(","):
        added = tokens.peek() in ("+", "-")
        hint = "`max` is of one item: `max(A, 0.5) + max(B, 0.5)` has a floor under each, and no floor is under a sum"
        tokens.fail(tokens.unexpected(), "`,`", hint if added else "as in `max(E[q] KL(q(z|x) || p(z)), 0.5)`")
    sign = -1 if tokens.accept("-") else 1
    least = _number(tokens, constants, "a number")
    tokens.expect(")")
    return replace(found, least=sign * least)


def _of_batch(tokens: Tokens, constants: Mapping[str, Fraction], kind: FunctionalKind) -> Of:
    """`pull_away[p](classifier.h)`, `affinity[q](classifier.h, 10)`."""
    start, word = tokens.start, tokens.peek()
    if tokens.peek(1) != "[":
        tokens.take()
        tokens.fail(tokens.unexpected(), "`[`", f"as in `{functional_text(word, ['classifier.h'], 'p')}`")
    draw, first, last = _draw(tokens)
    tokens.expect("(")
    value, groups = _value(tokens), 1
    if kind.shown > 1 and tokens.accept(","):
        place, number = tokens.start, _number(tokens, constants, "a number")
        if number.denominator != 1 or number < 1:
            message = f"{number_text(number)} is no number of groups"
            raise NotationError(message, place, tokens.last_end, "a whole number, 1 or more")
        groups = int(number)
    tokens.expect(")")
    return Of(word, (Expected(draw, value, start=first, end=last),), groups=groups, start=start, end=tokens.last_end)


def _draw(tokens: Tokens) -> tuple[str, int, int]:
    """`E[q]` -> q and its columns."""
    tokens.take()
    tokens.expect("[")
    start = tokens.start
    name = tokens.name("a distribution, as in `E[q]`")
    end = tokens.last_end
    if tokens.peek() != "]":
        tokens.fail(tokens.unexpected(), "`]`", f"`E[{name}]` names one distribution")
    tokens.take()
    return name, start, end


def _joint(tokens: Tokens, kind: FunctionalKind) -> None:
    """What stands between two arguments."""
    mark = kind.text_joint.strip()
    if mark != "," and tokens.peek() != mark:
        tokens.fail(tokens.unexpected(), f"`{mark}`", f"a {kind.noun} is written `{kind.text.format(f'a {mark} b')}`")
    tokens.expect(mark)


def _mix(tokens: Tokens) -> FactorUse | Expected:
    if tokens.peek() != "E":
        return _factor(tokens)
    draw, first, last = _draw(tokens)
    return Expected(draw, _factor(tokens), start=first, end=last)


def _mean(tokens: Tokens, function: str, values: int) -> Expected:
    if tokens.peek() != "E":
        hint = f"`E[q] {function}(a, b)` compares example by example, `{function}(E[q] a, E[p] b)` means"
        if values == 1:
            hint = f"`E[q] {function}(a)` is of each example, `{function}(E[q] a)` of the mean"
        start, message = tokens.start, f"nothing says at whose samples `{function}` is taken"
        raise NeedsExpectation(message, start, start + max(1, len(tokens.peek())), "`E[...]`", hint)
    draw, first, last = _draw(tokens)
    return Expected(draw, _value(tokens), start=first, end=last)


def _inner(tokens: Tokens, constants: Mapping[str, Fraction]) -> Of:
    word, start = tokens.peek(), tokens.start
    if word == "max":
        return _max(tokens, constants, _inner)
    if word not in _OF_EXAMPLES:
        alone = f"`{word}[...](...)` stands alone: it is of all examples of a batch" if word in FUNCTIONALS else ""
        named = tokens.peek(1) == "." and tokens.peek(2).isidentifier()
        row = f"what a row computes is added up by `sum({word}.{tokens.peek(2)})`" if named else ""
        tokens.fail(tokens.unexpected(), _INNER, alone or row or _as_in(word))
    kind = FUNCTIONALS[tokens.take()]
    if kind.at_sample:
        return Of(word, (_factor(tokens),), start=start, end=tokens.last_end)
    tokens.expect("(")
    if kind.moves:
        if tokens.peek() == "stop":
            tokens.fail("`vat` under `stop` has no gradient", "a factor", "it stops what it compares with itself")
        factor, move = _factor(tokens), _move(tokens, constants)
        tokens.expect(")")
        return Of(word, (factor,), move, start=start, end=tokens.last_end)
    one = _factor if kind.kinds else _value
    arguments: list[FactorUse | ValueUse | Expected] = [one(tokens)]
    while len(arguments) < kind.least or (len(arguments) < kind.shown and tokens.peek() == kind.text_joint.strip()):
        _joint(tokens, kind)
        arguments.append(one(tokens))
    tokens.expect(")")
    return Of(word, tuple(arguments), start=start, end=tokens.last_end)


def _move(tokens: Tokens, constants: Mapping[str, Fraction]) -> Move:
    """`, x, 0.25 * radius, 10`."""
    _comma(tokens)
    start = tokens.start
    variable = tokens.name("the variable that is moved")
    _comma(tokens)
    named, times = tokens.kind() == "name" and tokens.peek() not in constants, ""
    radius = Fraction(1) if named else _positive(tokens, constants, "radius", ", or a variable")
    if named or (tokens.peek() == "*" and tokens.take()):
        times = tokens.name("a variable of size 1")
    _comma(tokens)
    xi = _positive(tokens, constants, "xi", "")
    return Move(variable, radius, times, xi, start, tokens.last_end)


def _comma(tokens: Tokens) -> None:
    if not tokens.accept(","):
        tokens.fail(tokens.unexpected(), "`,`", _AS_VAT)


def _positive(tokens: Tokens, constants: Mapping[str, Fraction], what: str, other: str) -> Fraction:
    """A number above 0, or a constant."""
    start = tokens.start
    value = _number(tokens, constants, f"a number above 0{other}", _AS_VAT)
    if value <= 0:
        message = f"{what} is {number_text(value)}" + (": nothing is moved" if not value else "")
        raise NotationError(message, start, tokens.last_end, "a number above 0", _AS_VAT)
    return value


def _stop(tokens: Tokens) -> bool:
    """Take `stop`, if it is next."""
    return tokens.peek() == "stop" and bool(tokens.take())


def _factor(tokens: Tokens) -> FactorUse:
    start, stopped = tokens.start, _stop(tokens)
    draw = tokens.name("a factor, as in `p(x|z)`")
    if not tokens.accept("("):
        tokens.fail("a factor is written `p(x|z)`", expected="`(`")
    taken: set[str] = set()
    variables = tokens.names(taken)
    given = _arguments(tokens) if tokens.accept("|") else ()
    tokens.expect(")")
    return FactorUse(draw, variables, given, stopped, start, tokens.last_end)


def _arguments(tokens: Tokens) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    while not found or tokens.accept(","):
        if tokens.peek() in found:
            tokens.fail(f"`{tokens.peek()}` stands twice in one factor", expected="each variable once")
        own = tokens.name("a variable")
        found[own] = tokens.name("a variable") if tokens.accept("=") else own
    return tuple(found.items())


def _value(tokens: Tokens) -> ValueUse:
    start, stopped = tokens.start, _stop(tokens)
    name = tokens.name("a variable, or a row as in `decoder.x`")
    if tokens.peek() not in ("(", "."):
        return ValueUse(name, stopped, start, tokens.last_end)
    return ValueUse(reference_after(tokens, name), stopped, start, tokens.last_end)
