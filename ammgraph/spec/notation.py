"""The notation of a spec: text in, frozen values out; printing a value gives the canonical text back.

    factor      q(z,y|x)                         keys of a distribution
    reference   encoder(x=x2).z                  a row of a network under a binding, or a variable of a distribution
    input       y1 + z1        x5 | y2 | z2      what a row reads: `*`, then `+`, then `|`, which joins channels
    side        1/2 p + 1/2 r                    one side of a game
    number      2 * (K + 1)                      arithmetic of constants, exact

All are LL(1) over one list of tokens. Errors are `NotationError` with the columns they mean; nothing here knows a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ammgraph.spec.tokens import NUMBERS, NotationError, Tokens

LARGEST_NUMBER, _SMALLEST = 10**37, Fraction(1, 10**300)  # single precision ends at 3.4e38, and doubles what it draws
_LARGEST_PART = 10**1000  # of an exact fraction's numerator and denominator: a bound on the work of arithmetic
LARGEST_COUNT = 10**15  # what a model could never hold is refused by its memory, with the number


@dataclass(frozen=True)
class Factor:
    """A factor head(variables | given) of a distribution, as in `q(z|x,y)`."""

    head: str
    variables: tuple[str, ...]
    given: tuple[str, ...] = ()

    def __str__(self) -> str:
        given = "|" + ",".join(self.given) if self.given else ""
        return f"{self.head}({','.join(self.variables)}{given})"

    def canonical(self, order: Mapping[str, int]) -> "Factor":
        """The same factor with its variables and conditions in the order in which variables are declared."""

        def place(name: str) -> tuple[int, str]:
            return order.get(name, len(order)), name

        return Factor(self.head, tuple(sorted(self.variables, key=place)), tuple(sorted(self.given, key=place)))


@dataclass(frozen=True)
class Reference:
    """`owner(local=variable, ...).name`: a row of a network, or a variable of another distribution."""

    owner: str
    name: str
    bindings: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        bound = ", ".join(f"{local}={variable}" for local, variable in self.bindings)
        return f"{self.owner}({bound}).{self.name}" if bound else f"{self.owner}.{self.name}"

    @property
    def binding(self) -> tuple[tuple[str, str], ...]:
        """What the call binds, in one order and without `x=x`, which changes nothing."""
        return tuple(sorted((local, variable) for local, variable in self.bindings if local != variable))

    @property
    def call(self) -> str:
        """Without its row, `encoder` or `encoder(x=x2)`: equal for calls that share an evaluation in a draw (R2)."""
        return str(Reference(self.owner, "", self.binding)).removesuffix(".")


@dataclass(frozen=True)
class Named:
    """A row or a variable read by name; `start` is its column in the input's text."""

    name: str
    start: int = field(default=0, compare=False)  # spaces mean nothing

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Zeros:
    """`zeros(n)`: n channels of zeros, 1x1."""

    channels: int

    def __str__(self) -> str:
        return f"zeros({self.channels})"


@dataclass(frozen=True)
class Times:
    """`a * b`, element by element."""

    factors: tuple[Named | Zeros, ...]

    def __str__(self) -> str:
        return " * ".join(map(str, self.factors))


@dataclass(frozen=True)
class Input:
    """What a row reads: the concatenation along channels of sums. `((a, b), (c,))` is `a + b | c`."""

    parts: tuple[tuple[Named | Zeros | Times, ...], ...]

    def __str__(self) -> str:
        return " | ".join(" + ".join(str(atom) for atom in part) for part in self.parts)

    @property
    def names(self) -> tuple[Named, ...]:
        """The names read, in order of reading, each as often as it is read."""
        atoms = [atom for part in self.parts for summand in part for atom in factors_of(summand)]
        return tuple(atom for atom in atoms if isinstance(atom, Named))

    @property
    def single(self) -> bool:
        """Whether it is one thing as it is."""
        return len(self.parts) == 1 and len(self.parts[0]) == 1 and not isinstance(self.parts[0][0], Times)


def factors_of(summand: Named | Zeros | Times) -> tuple[Named | Zeros, ...]:
    """What is multiplied, or the one thing that stands alone."""
    return summand.factors if isinstance(summand, Times) else (summand,)


@dataclass(frozen=True)
class Call:
    """A word with numeric arguments: `normal`, `uniform(-1, 1)`, `data.labeled` (a dotted word has none)."""

    word: str
    arguments: tuple[Fraction, ...] = ()

    def __str__(self) -> str:
        return self.word + (f"({', '.join(number_text(value) for value in self.arguments)})" if self.arguments else "")


def number_text(value: Fraction | float) -> str:
    """A number as a person writes it: 10, 0.5, 1/3."""
    is_ratio = isinstance(value, Fraction) and 1 < value.denominator < 10**6
    if isinstance(value, Fraction) and is_ratio and Fraction(repr(float(value))) != value:
        return f"{value.numerator}/{value.denominator}"
    return repr(float(value)).removesuffix(".0")


def head_and_rest(distribution: str) -> tuple[str, str]:
    """`q_labeled` -> `q`, with which its factors begin, and `labeled`."""
    head, _, rest = distribution.partition("_")
    return head, rest


def side_text(summands: Sequence[tuple[Fraction | float, str]]) -> str:
    """One side of a game: `q`, `0.5 p + 0.5 r`."""
    return " + ".join(name if weight == 1 else f"{number_text(weight)} {name}" for weight, name in summands)


def parse_factor(text: str) -> Factor:
    """`q(z,y|x)` -> Factor('q', ('z', 'y'), ('x',)). Spaces mean nothing."""
    tokens = Tokens(text)
    head = tokens.name("a distribution's letter, as in `q(z|x)`")
    if not tokens.accept("("):
        tokens.fail("a factor is written `q(z|x)`", expected="`(`")
    taken: set[str] = set()
    variables = tokens.names(taken)
    given = tokens.names(taken) if tokens.accept("|") else ()
    if tokens.at_end:
        tokens.fail("the factor's parenthesis is not closed", expected="`)`")
    tokens.expect(")")
    tokens.end()
    return Factor(head, variables, given)


def parse_reference(text: str) -> Reference:
    """`encoder(x=x2).z` -> Reference('encoder', 'z', (('x', 'x2'),))."""
    tokens = Tokens(text)
    owner = tokens.name("a network's name, as in `encoder.z`")
    reference = reference_after(tokens, owner)
    tokens.end()
    return reference


def parse_source(text: str, constants: Mapping[str, Fraction]) -> Reference | Call:
    """What draws a factor, as a word: `data.faces.labeled`, `uniform(-1, 1)`, `encoder(x=x2).z`, `q.y`."""
    tokens = Tokens(text)
    word = tokens.name("`data`, a prior, or a row as in `encoder.z`")
    if word == "data":
        expected = "`labeled`, `unlabeled` or the name of a data set"
        while tokens.accept("."):
            word += "." + tokens.name(expected)
            expected = "`labeled` or `unlabeled`"
        tokens.end()
        return Call(word)
    if tokens.peek() == "(" and tokens.peek(2) != "=":
        tokens.accept("(")
        arguments = [_sum(tokens, constants)]
        while tokens.accept(","):
            arguments.append(_sum(tokens, constants))
        tokens.expect(")")
        tokens.end()
        return Call(word, tuple(arguments))
    if tokens.at_end:
        return Call(word)
    reference = reference_after(tokens, word)
    tokens.end()
    return reference


def parse_input(text: str, constants: Mapping[str, Fraction]) -> Input:
    """`y1 + z1`, `x5 | y2 | z2`, `gate * h`, `zeros(64)` -> Input."""
    tokens = Tokens(text)
    parts = []
    while True:
        summands = [_summand(tokens, constants)]
        while tokens.accept("+"):
            summands.append(_summand(tokens, constants))
        parts.append(tuple(summands))
        if not tokens.accept("|"):
            break
    tokens.end()
    return Input(tuple(parts))


def parse_name(text: str) -> Named:
    """A row or a variable by its name."""
    tokens = Tokens(text)
    start = tokens.start
    name = tokens.name("the name of a row or a variable")
    tokens.end()
    return Named(name, start)


def parse_side(text: str) -> tuple[tuple[Fraction, str], ...]:
    """`1/2 p + 1/2 r` -> ((1/2, 'p'), (1/2, 'r')); a bare name has weight 1."""
    tokens = Tokens(text)
    summands = []
    while True:
        weight, first = Fraction(1), tokens.start
        if tokens.kind() == "number":
            weight = tokens.number()
            if tokens.accept("/"):
                start = tokens.start
                divisor = tokens.number()
                if divisor == 0:
                    raise NotationError("division by zero", start, tokens.last_end)
                weight /= divisor
            weight = _in_range(weight, tokens, first)
            tokens.accept("*")
        summands.append((weight, tokens.name("a distribution's name, as in `q` or `1/2 p + 1/2 r`")))
        if not tokens.accept("+"):
            break
    tokens.end()
    return tuple(summands)


def parse_number(text: str, constants: Mapping[str, Fraction]) -> Fraction:
    """Arithmetic of numbers and constants with + - * / and parentheses, exact: `1/2`, `2 * (K + 1)`."""
    tokens = Tokens(text)
    value = _sum(tokens, constants)
    tokens.end()
    return value


def reference_after(tokens: Tokens, owner: str) -> Reference:
    """The rest of a reference whose owner has been taken."""
    bindings = []
    if tokens.accept("("):
        while True:
            local = tokens.name("a name inside the network, as in `encoder(x=x2).z`")
            tokens.expect("=")
            bindings.append((local, tokens.name("a variable")))
            if not tokens.accept(","):
                break
        tokens.expect(")")
    if not tokens.accept("."):
        tokens.fail(f"`{owner}` needs a row after it", expected=f"a row, as in `{owner}.NAME`")
    return Reference(owner, tokens.name("a row"), tuple(bindings))


def _summand(tokens: Tokens, constants: Mapping[str, Fraction]) -> Named | Zeros | Times:
    factors = [_atom(tokens, constants)]
    while tokens.accept("*"):
        factors.append(_atom(tokens, constants))
    return Times(tuple(factors)) if len(factors) > 1 else factors[0]


def _atom(tokens: Tokens, constants: Mapping[str, Fraction]) -> Named | Zeros:
    start = tokens.start
    name = tokens.name("a row, a variable or `zeros(n)`")
    if name != "zeros":
        return Named(name, start)
    tokens.expect("(")
    inner = tokens.start
    channels = _sum(tokens, constants)
    if channels.denominator != 1 or not 1 <= channels <= LARGEST_COUNT:
        message = f"`zeros` takes a whole number of channels, not {number_text(channels)}"
        raise NotationError(message, inner, tokens.last_end, expected="a whole number from 1 to 1e15")
    tokens.expect(")")
    return Zeros(int(channels))


def _sum(tokens: Tokens, constants: Mapping[str, Fraction]) -> Fraction:
    start = tokens.start
    value = _product(tokens, constants)
    while tokens.peek() in ("+", "-"):
        sign = 1 if tokens.take() == "+" else -1
        value = _bounded(value + sign * _product(tokens, constants), tokens, start)
    return _in_range(value, tokens, start)


def _in_range(value: Fraction, tokens: Tokens, start: int) -> Fraction:
    """The value, if a float holds it."""
    if abs(value) > LARGEST_NUMBER:
        raise NotationError("the number is too large", start, tokens.last_end, expected=NUMBERS)
    if 0 < abs(value) < _SMALLEST:
        raise NotationError("the number is too small", start, tokens.last_end, expected="0, or at least 1e-300")
    return value


def _bounded(value: Fraction, tokens: Tokens, start: int) -> Fraction:
    """The value, if it has not more digits than anyone needs: exact fractions double theirs with every product."""
    if max(abs(value.numerator), value.denominator) > _LARGEST_PART:
        message = "the exact value has more than 1,000 digits"
        expected = "fewer factors, or a rounded number, as `0.333`"
        raise NotationError(message, start, tokens.last_end, expected=expected)
    return value


def _product(tokens: Tokens, constants: Mapping[str, Fraction]) -> Fraction:
    first = tokens.start
    value = _operand(tokens, constants)
    while tokens.peek() in ("*", "/"):
        operator, start = tokens.take(), tokens.start
        operand = _operand(tokens, constants)
        if operator == "/" and operand == 0:
            raise NotationError("division by zero", start, tokens.last_end)
        value = _bounded(value * operand if operator == "*" else value / operand, tokens, first)
    return value


def _operand(tokens: Tokens, constants: Mapping[str, Fraction]) -> Fraction:
    if tokens.accept("-"):
        return -_operand(tokens, constants)
    if tokens.accept("("):
        value = _sum(tokens, constants)
        tokens.expect(")")
        return value
    if tokens.kind() == "number":
        return tokens.number()
    start = tokens.start
    name = tokens.name("a number or a constant")
    if name not in constants:
        known = ", ".join(f"`{constant}`" for constant in constants) or "none is declared"
        raise NotationError(
            f"`{name}` is not a constant", start, tokens.last_end, expected=f"a number or a constant ({known})"
        )
    return constants[name]
