"""Python as text: names that may be written, numbers, lines that fit. Knows no model."""

import builtins
import keyword
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from torch import nn

from ammgraph.export import helpers
from ammgraph.formulas.expression import Leaf
from ammgraph.formulas.functions import FUNCTIONALS, FUNCTIONS
from ammgraph.formulas.notation import Spelling
from ammgraph.nn import functions, moves

WIDTH = 88  # as formatters have it unless told otherwise
# What no name of a spec may be called in an export: words of Python, and what every export defines or imports.
TAKEN = {
    *keyword.kwlist,
    *dir(builtins),
    *dir(helpers),
    *dir(functions),
    *dir(moves),
    "Path",
    "Model",
    "WEIGHTS",
    "load",
    "main",
}
# What an attribute of a module may not be called.
ATTRIBUTES = {*keyword.kwlist, *dir(nn.Module())}


class Names:
    """The names of one scope: every thing is called what it wants to be, with `_` behind it where that is taken.

    Args:
        taken: what nothing may be called.
        things: what is called by its own name where it can be, whatever is named before it.
    """

    def __init__(self, taken: Iterable[str], things: Iterable[str] = ()) -> None:
        self._taken, self._names = set(taken), dict[str, str]()
        for thing in sorted(dict.fromkeys(things), key=self._taken.__contains__):
            self.of(thing)

    def of(self, thing: str, wanted: str = "") -> str:
        """The name of a thing, the same whenever it is asked for; `thing` itself unless another name is wanted."""
        if thing not in self._names:
            name = wanted or thing
            while name in self._taken:
                name += "_"
            self._taken.add(name)
            self._names[thing] = name
        return self._names[thing]

    def __contains__(self, name: str) -> bool:
        return name in self._taken


def class_names(networks: Iterable[str]) -> dict[str, str]:
    """Network -> its class: `critic_xz` -> `CriticXz`."""
    names = Names(TAKEN)
    return {
        name: names.of(name, "".join(word[0].upper() + word[1:] for word in name.split("_") if word))
        for name in networks
    }


def number(value: float) -> str:
    """A number as Python writes it; whole ones without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def spelling(
    leaf: Callable[[Leaf], str],
    mean: Callable[[str], str] = "torch.mean({})".format,
    functional: Callable[[str, Sequence[str]], str] = lambda name, arguments: f"{name}({', '.join(arguments)})",
) -> Spelling:
    """How Python writes an expression, given its leaves."""
    return Spelling(
        number=number,
        leaf=leaf,
        function=lambda name, argument: f"{FUNCTIONS[name].torch}({argument})",
        weighted=lambda support, argument: f"weighted({leaf(support)}, {argument})",
        mean=lambda _, argument: mean(argument),
        functional=functional,
        batch=lambda name, _, arguments: f"{FUNCTIONALS[name].torch}({', '.join(arguments)})",
        floor=lambda argument, least: f"at_least({argument}, {least})",
        times=" * ",
        power=lambda base: f"{base}**2" if base.isidentifier() else f"{base} ** 2",
    )


def text(value: str) -> str:
    """A string literal."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def call(head: str, arguments: Sequence[str], indent: str, tail: str = "") -> list[str]:
    """`head(a, b)tail` on one line if it fits, else an argument a line."""
    return listed(f"{indent}{head}(", arguments, f"){tail}", indent)


def returned(pairs: Mapping[str, str], indent: str) -> list[str]:
    """`return {"a": value, "b": value}` on one line if it fits, else an entry a line."""
    return listed(f"{indent}return {{", [f"{text(name)}: {value}" for name, value in pairs.items()], "}", indent)


def listed(head: str, parts: Sequence[str], tail: str, indent: str) -> list[str]:
    """`head a, b tail` on one line if it fits, else a part a line, and of a call that does not fit an argument."""
    line = f"{head}{', '.join(parts)}{tail}"
    if len(line) <= WIDTH:
        return [line]
    deeper = f"{indent}    "
    return [head, *(row for part in parts for row in _part(part, deeper)), f"{indent}{tail}"]


def _part(part: str, indent: str) -> list[str]:
    line = f"{indent}{part},"
    if len(line) <= WIDTH or not is_call(part):
        return [line]
    helper, _, rest = part.partition("(")
    return call(helper, arguments_of(rest), indent, ",")


def is_call(code: str) -> bool:
    """Whether it is one call of a function, `normal_log(a, b)`, `torch.mean(a)`."""
    helper, _, rest = code.partition("(")
    depths = list(accumulate((character in "([") - (character in ")]") for character in rest))
    named = all(name.isidentifier() for name in helper.split("."))
    return named and depths.index(-1) == len(rest) - 1 if -1 in depths else False


def arguments_of(rest: str) -> list[str]:
    """`a, b(c, d))` -> `a`, `b(c, d)`."""
    found, depth = [""], 0
    for character in rest.removesuffix(")"):
        depth += (character in "([") - (character in ")]")
        found += [""] if character == "," and depth == 0 else []
        found[-1] += "" if character == "," and depth == 0 else character
    return [argument.strip() for argument in found]


def commented(line: str, comment: str) -> list[str]:
    """A line with a comment behind it, or above it where both do not fit."""
    if len(line) + 4 + len(comment) <= WIDTH:
        return [f"{line}  # {comment}"]
    indent = line[: len(line) - len(line.lstrip())]
    return [f"{indent}# {comment}", line]


def docstring(content: str, indent: str) -> list[str]:
    """A docstring; of one line where it fits. Paragraphs are filled, indented lines stay as they are."""
    safe = content.replace("\\", "\\\\").replace('"""', "'''")
    if "\n" not in safe and len(indent) + len(safe) + 6 <= WIDTH and not safe.endswith('"'):
        return [f'{indent}"""{safe}"""']
    lines: list[str] = []
    for line in safe.split("\n"):
        # A first line stands behind three quotation marks, and a last one may stand before three.
        lead = 0 if lines else 6
        hang = " " * (len(line) - len(line.lstrip()))
        filled = textwrap.wrap(line, WIDTH - len(indent) - lead, subsequent_indent=hang, break_long_words=False)
        lines += filled or [""]
    return [f'{indent}"""{lines[0]}', *(f"{indent}{line}".rstrip() for line in lines[1:]), f'{indent}"""']
