"""Terms: what a model minimises beside its games, as text and as frozen values; printing gives the canonical text back.

term      ['-'] product {('+' | '-') product}            product   [coefficient '*'] item
item      'E' '[' d ']' inner        a mean over the batch of a distribution d
        | 'H' '(' mix ')' | 'KL' '(' mix '||' mix ')'        of the mean distribution of a batch
        | ('l1' | 'l2') '(' mean ',' mean ')'                of two means
inner     'log' factor | 'H' '(' factor ')' | 'KL' '(' factor '||' factor ')' | ('l1' | 'l2') '(' value [',' value] ')'
mix       'E' '[' d ']' factor | factor                  mean      'E' '[' d ']' value
factor    d '(' names ['|' argument {',' argument}] ')'  argument  variable ['=' variable]
value     variable | network ['(' argument {',' argument} ')'] '.' row
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from ammgraph.diagnostics import alternatives, nearest
from ammgraph.formulas.functions import FUNCTIONALS, FunctionalKind, functional_text
from ammgraph.spec.notation import NotationError, Reference, Tokens, number_text, reference_after

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z][A-Za-z0-9_]*)|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<mark>\|\||[-+*/|(),.=\[\]]))"
)
_ITEM = alternatives(["E[...]", *(f"{name}(...)" for name, kind in FUNCTIONALS.items() if not kind.at_sample)])
_INNER = f"{alternatives(FUNCTIONALS)}, as in `E[q] log p(x|z)`"

# What other libraries call the parts of a loss -> a term that says it.
_SAID = {
    **dict.fromkeys(("mse", "mse_loss", "l2_loss", "squared_error"), "E[q] l2(x, decoder.x)"),
    **dict.fromkeys(("mae", "l1_loss"), "E[q] l1(x, decoder.x)"),
    **dict.fromkeys(
        ("loss", "losses", "nll", "bce", "likelihood", "reconstruction", "autoencoder"), "-E[q] log p(x|z)"
    ),
    **dict.fromkeys(("ce", "cross_entropy"), "-E[q] log c(y|x)"),
    **dict.fromkeys(("kl", "kld", "kl_divergence"), "E[q] KL(q(z|x) || p(z))"),
    **dict.fromkeys(("entropy", "h"), "E[q] H(q(y|x))"),
    **dict.fromkeys(("ln", "log_prob"), "E[q] log p(x|z)"),
    **dict.fromkeys(("elbo", "vae"), "E[q] KL(q(z|x) || p(z)) - E[q] log p(x|z)"),
}


@dataclass(frozen=True)
class FactorUse:
    """`c(y|x=v)`: a factor of a distribution, where a condition may stand for another variable than its own."""

    draw: str
    variables: tuple[str, ...]
    given: tuple[tuple[str, str], ...] = ()  # condition -> the variable that it stands for
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        given = ",".join(own if own == other else f"{own}={other}" for own, other in self.given)
        return f"{self.draw}({','.join(self.variables)}{'|' + given if given else ''})"


@dataclass(frozen=True)
class ValueUse:
    """`x`, a variable's sample, or `decoder(z=v).x`, a row of a network."""

    name: str | Reference
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return str(self.name)


@dataclass(frozen=True)
class Of:
    """A function of factors or values, of one example; or, of means, of a batch."""

    function: str  # of `formulas.functions.FUNCTIONALS`
    arguments: tuple["FactorUse | ValueUse | Expected", ...]
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return functional_text(self.function, list(map(str, self.arguments)))


@dataclass(frozen=True)
class Expected:
    """`E[d] v`: the mean over the batch of this step's draw of d."""

    draw: str
    of: Of | FactorUse | ValueUse
    start: int = field(default=0, compare=False)  # of the draw's name
    end: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return f"E[{self.draw}] {self.of}"


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


def said_as(word: str) -> str:
    """A term that says what a word of other libraries means, or nothing."""
    return _SAID.get(word.lower(), "")


def hint_of_section(word: str) -> str:
    """A hint for a word of other libraries that stands where no term is; nothing for other words."""
    return f'a section `terms` says it: `NAME: {{minimize: "{said_as(word)}"}}`' if said_as(word) else ""


def factors_of(term: Term) -> Iterator[FactorUse]:
    """Every factor that a term names."""
    for found in (argument for _, item in term.parts for argument in _arguments_of(item)):
        if isinstance(found, FactorUse):
            yield found


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
        parts.append((sign * coefficient, _item(tokens)))
        if tokens.peek() not in ("+", "-"):
            break
        sign = 1 if tokens.take() == "+" else -1
    if tokens.peek() in ("*", "/"):
        tokens.fail("a number stands before what it multiplies", hint="as in `2 * E[q] log p(x|z)`")
    tokens.end()
    return Term(tuple(parts))


def _coefficient(tokens: Tokens, constants: Mapping[str, Fraction]) -> Fraction:
    if tokens.kind() == "number":
        start, value = tokens.start, tokens.number()
        if tokens.accept("/"):
            divisor = tokens.number()
            if divisor == 0:
                raise NotationError("division by zero", start, tokens.last_end)
            value /= divisor
    elif tokens.kind() == "name" and tokens.peek() not in ("E", *FUNCTIONALS):
        start, name = tokens.start, tokens.peek()
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


def _as_in(word: str) -> str:
    return f"as in `{said_as(word)}`" if said_as(word) else ""


def _item(tokens: Tokens) -> Expected | Of:
    word, start = tokens.peek(), tokens.start
    if word == "E":
        draw, first, last = _draw(tokens)
        if tokens.peek() == "E":
            tokens.fail("an expectation holds no other", _INNER, "its distribution draws all that is read")
        return Expected(draw, _inner(tokens), first, last)
    if word not in FUNCTIONALS:
        tokens.fail(tokens.unexpected(), _ITEM, _as_in(word))
    kind = FUNCTIONALS[tokens.take()]
    if kind.at_sample:
        factor = _factor(tokens)
        hint = f"as in `E[q] {word} {factor}`, if `q` draws them"
        message = f"nothing says at whose samples `{factor}` is scored"
        raise NeedsExpectation(message, start, tokens.last_end, "`E[...]`", hint)
    tokens.expect("(")
    arguments: list[FactorUse | ValueUse | Expected] = []
    while len(arguments) < kind.shown:
        if arguments:
            _joint(tokens, kind)
        arguments.append(_mix(tokens) if kind.kinds else _mean(tokens, word))
    tokens.expect(")")
    return Of(word, tuple(arguments), start, tokens.last_end)


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
    return Expected(draw, _factor(tokens), first, last)


def _mean(tokens: Tokens, function: str) -> Expected:
    if tokens.peek() != "E":
        hint = f"`E[q] {function}(a, b)` compares example by example, `{function}(E[q] a, E[p] b)` means"
        start, message = tokens.start, f"nothing says at whose samples `{function}` is taken"
        raise NeedsExpectation(message, start, start + max(1, len(tokens.peek())), "`E[...]`", hint)
    draw, first, last = _draw(tokens)
    return Expected(draw, _value(tokens), first, last)


def _inner(tokens: Tokens) -> Of:
    word, start = tokens.peek(), tokens.start
    if word not in FUNCTIONALS:
        tokens.fail(tokens.unexpected(), _INNER, _as_in(word))
    kind = FUNCTIONALS[tokens.take()]
    if kind.at_sample:
        return Of(word, (_factor(tokens),), start, tokens.last_end)
    tokens.expect("(")
    one = _factor if kind.kinds else _value
    arguments: list[FactorUse | ValueUse | Expected] = [one(tokens)]
    while len(arguments) < kind.least or (len(arguments) < kind.shown and tokens.peek() == kind.text_joint.strip()):
        _joint(tokens, kind)
        arguments.append(one(tokens))
    tokens.expect(")")
    return Of(word, tuple(arguments), start, tokens.last_end)


def _factor(tokens: Tokens) -> FactorUse:
    start = tokens.start
    draw = tokens.name("a factor, as in `p(x|z)`")
    if not tokens.accept("("):
        tokens.fail("a factor is written `p(x|z)`", expected="`(`")
    taken: set[str] = set()
    variables = tokens.names(taken)
    given = _arguments(tokens) if tokens.accept("|") else ()
    tokens.expect(")")
    return FactorUse(draw, variables, given, start, tokens.last_end)


def _arguments(tokens: Tokens) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    while not found or tokens.accept(","):
        if tokens.peek() in found:
            tokens.fail(f"`{tokens.peek()}` stands twice in one factor", expected="each variable once")
        own = tokens.name("a variable")
        found[own] = tokens.name("a variable") if tokens.accept("=") else own
    return tuple(found.items())


def _value(tokens: Tokens) -> ValueUse:
    start = tokens.start
    name = tokens.name("a variable, or a row as in `decoder.x`")
    if tokens.peek() not in ("(", "."):
        return ValueUse(name, start, tokens.last_end)
    return ValueUse(reference_after(tokens, name), start, tokens.last_end)
