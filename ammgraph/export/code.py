"""Python as text: names that may be written, numbers, lines that fit. Knows no model."""

import builtins
import keyword
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

WIDTH = 88  # as formatters have it unless told otherwise
# Names that the code of an export uses itself.
_OWN = {"torch", "nn", "F", "Tensor", "Noise", "Path", "self", "noise", "losses", "part", "at", "d", "sizes", "epoch"}
_TAKEN = _OWN | set(keyword.kwlist) | set(dir(builtins))


def variable_name(name: str) -> str:
    """A name as a local variable."""
    return f"{name}_" if name in _TAKEN else name


def attribute_names(wanted: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """A name as an attribute of a module, for each: no keyword, nothing that a module has, all different."""
    names: dict[str, str] = {}
    used = set(taken)
    for name in wanted:
        candidate = name
        while keyword.iskeyword(candidate) or hasattr(nn.Module, candidate) or candidate in used:
            candidate += "_"
        used.add(candidate)
        names[name] = candidate
    return names


def class_name(name: str) -> str:
    """`critic_xz` -> `CriticXz`."""
    return "".join(word[0].upper() + word[1:] for word in name.split("_") if word)


def number(value: float) -> str:
    """A number as Python writes it; whole ones without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def text(value: str) -> str:
    """A string literal."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def call(head: str, arguments: Sequence[str], indent: str, tail: str = "") -> list[str]:
    """`head(a, b)tail` on one line if it fits, else an argument a line."""
    return _listed(f"{indent}{head}(", arguments, f"){tail}", indent)


def returned(pairs: Mapping[str, str], indent: str) -> list[str]:
    """`return {"a": value, "b": value}` on one line if it fits, else an entry a line."""
    return _listed(f"{indent}return {{", [f"{text(name)}: {value}" for name, value in pairs.items()], "}", indent)


def _listed(head: str, parts: Sequence[str], tail: str, indent: str) -> list[str]:
    line = f"{head}{', '.join(parts)}{tail}"
    if len(line) <= WIDTH:
        return [line]
    return [head, *(f"{indent}    {part}," for part in parts), f"{indent}{tail}"]


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
