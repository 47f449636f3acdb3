"""A text of the notation as tokens: names, numbers, marks; what is wrong with it, by its columns."""

import re
from fractions import Fraction

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z][A-Za-z0-9_]*)|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)|(?P<mark>[-+*/|(),.=]))"
)
NUMBERS = "a number from -1e37 to 1e37, as single precision holds"
_LONGEST = 200  # characters: far beyond any notation a person writes, and a bound on recursion


class NotationError(ValueError):
    """Text that is not in the notation; [start, end) are columns of that text, from 0."""

    code = "notation"

    def __init__(self, message: str, start: int, end: int, expected: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.start, self.end, self.expected, self.hint = message, start, end, expected, hint


class Tokens:
    """The tokens of one text, read from left to right."""

    def __init__(self, text: str, token: re.Pattern[str] = _TOKEN) -> None:
        self.text, self.position = text, 0
        self.tokens: list[tuple[str, str, int, int]] = []  # kind, text, and columns [start, end)
        if len(text) > _LONGEST:
            raise NotationError(
                f"{len(text)} characters are too many here", 0, len(text), expected=f"at most {_LONGEST}"
            )
        column = 0
        while text[column:].strip():
            match = token.match(text, column)
            if match is None:
                column += len(text[column:]) - len(text[column:].lstrip())
                raise NotationError(f"unexpected character `{text[column]}`", column, column + 1)
            kind = str(match.lastgroup)
            self.tokens.append((kind, match.group(kind), match.start(kind), match.end(kind)))
            column = match.end()

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.position == len(self.tokens)

    @property
    def start(self) -> int:
        """The column of the next token."""
        return len(self.text) if self.at_end else self.tokens[self.position][2]

    @property
    def last_end(self) -> int:
        """The column after the last one taken."""
        return self.tokens[self.position - 1][3] if self.position else 0

    def peek(self, ahead: int = 0) -> str:
        """The next token, or the one `ahead` of it."""
        index = self.position + ahead
        return self.tokens[index][1] if index < len(self.tokens) else ""

    def kind(self) -> str:
        """name, number, mark, or nothing."""
        return "" if self.at_end else self.tokens[self.position][0]

    def take(self) -> str:
        """The next token, which is then taken."""
        text = self.peek()
        self.position += 1
        return text

    def accept(self, mark: str) -> bool:
        """Take a mark, if it is next."""
        if self.kind() == "mark" and self.peek() == mark:
            self.position += 1
            return True
        return False

    def expect(self, mark: str) -> None:
        """Take a mark, which must be next."""
        if not self.accept(mark):
            self.fail(self.unexpected(), expected=f"`{mark}`")

    def name(self, expected: str) -> str:
        """Take a name, which must be next."""
        if self.kind() != "name":
            self.fail(self.unexpected(), expected=expected)
        return self.take()

    def number(self) -> Fraction:
        """Take a number, which must be next."""
        if self.kind() != "number":
            self.fail(self.unexpected(), expected="a number")
        digits, _, exponent = self.peek().lower().partition("e")
        if len(exponent.lstrip("+-")) > 3:
            self.fail(f"the exponent {exponent} is too large", expected=NUMBERS)
        if len(digits) > 1 and digits[0] == "0" and digits[1] != ".":
            self.fail("a number has no leading zero", expected=f"`{self.peek().lstrip('0') or '0'}`")
        return Fraction(self.take())

    def names(self, taken: set[str]) -> tuple[str, ...]:
        """Variables between commas, none of them taken; they are then."""
        names: list[str] = []
        while not names or self.accept(","):
            if self.peek() in taken:
                self.fail(f"`{self.peek()}` stands twice in one factor", expected="each variable once")
            names.append(self.name("a variable"))
            taken.add(names[-1])
        return tuple(names)

    def end(self) -> None:
        """Nothing may be left."""
        if not self.at_end:
            self.fail(self.unexpected(), expected="nothing more")

    def fail(self, message: str, expected: str = "", hint: str = "") -> None:
        """Raise at the next token."""
        end = self.start + 1 if self.at_end else self.tokens[self.position][3]
        raise NotationError(message, self.start, end, expected, hint)

    def unexpected(self) -> str:
        """What is said of the next token."""
        return "the text ends too early" if self.at_end else f"unexpected `{self.peek()}`"
