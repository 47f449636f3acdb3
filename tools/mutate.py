"""Random changes of specs, at the level of text and at the level of values; the same seed gives the same change."""

import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

from ammgraph.spec.source import parse, plain

CHARACTERS = [
    *"{}[]:,|()\"'-?&*!%#\t\n 0129.eK=+/",
    "\u00e9",
    "\u0663",
    "\u200b",
    "\U0001f600",
    "\x1b",
    "\x00",
    "\ufeff",
    "\u2028",
]
# Written as they stand: what no plain value could become.
RAW = (
    *(
        "1e12",
        "1e400",
        "-1",
        "0",
        "9**9**9",
        "9" * 300,
        "1e-320",
        ".nan",
        ".inf",
        "0x10",
        "010",
        "1_000",
        "null",
        "~",
        "true",
    ),
    *(
        "[]",
        "{}",
        "''",
        '"\\u0000"',
        "1/3",
        "K",
        "2 * K",
        "1/0",
        "(((K)))",
        "-(-(-1))",
        "zeros(1e12)",
        "x",
        "y + z",
        "x | y | z",
    ),
    *(
        "&a 1",
        "*a",
        "!!python/object:os.system x",
        "!x 1",
        "<<",
        "data",
        "uniform",
        "normal",
        "encoder.z",
        "critic.p",
        "q",
        "p",
    ),
    *(
        "\u0130",
        "a" * 5000,
        "\U0001f600",
        "'\u202e'",
        "expn",
        "softmax",
        "max 2",
        "leaky_relu -1",
        "[[0, 1], [5, 0]]",
        "1e9",
    ),
    *(
        "linear",
        "conv_transpose",
        "hinge",
        "wasserstein",
        "separate",
        "[0.5, 0.5]",
        "{mixture: {means: {normal: 1}}}",
        "empirical",
    ),
)
_MARK = "\ue000"


def mutant(texts: dict[str, str], generator: random.Random) -> tuple[str, str]:
    """(file, text) of one changed spec: a file of `texts` changed one to four times."""
    file = generator.choice(sorted(texts))
    if generator.random() < 0.4:
        text = texts[file]
        for _ in range(generator.choice((1, 1, 2, 4))):
            text = generator.choice(_TEXT_CHANGES)(text, generator)
        return file, text
    tree, pool = _copy(_tree(texts[file])), _pool(tuple(texts.values()))
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        _change_tree(tree, pool, generator)
    return file, _written(tree)


def _delete_lines(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    start = generator.randrange(len(lines))
    del lines[start : start + generator.choice((1, 1, 2, 5))]
    return "\n".join(lines)


def _duplicate_lines(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    start = generator.randrange(len(lines))
    there = generator.randrange(len(lines) + 1)
    lines[there:there] = lines[start : start + generator.choice((1, 1, 2, 5))]
    return "\n".join(lines)


def _swap_lines(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    first, second = generator.randrange(len(lines)), generator.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return "\n".join(lines)


def _indent_lines(text: str, generator: random.Random) -> str:
    lines = text.split("\n")
    place = generator.randrange(len(lines))
    spaces = generator.choice((-2, -1, 1, 2, 4))
    lines[place] = " " * spaces + lines[place] if spaces > 0 else lines[place][-spaces:]
    return "\n".join(lines)


def _flip_character(text: str, generator: random.Random) -> str:
    place = generator.randrange(len(text) + 1)
    return text[:place] + generator.choice(CHARACTERS) + text[place + generator.choice((0, 1)) :]


def _delete_span(text: str, generator: random.Random) -> str:
    place = generator.randrange(len(text) + 1)
    return text[:place] + text[place + generator.randrange(1, 40) :]


def _insert_raw(text: str, generator: random.Random) -> str:
    place = generator.randrange(len(text) + 1)
    return text[:place] + generator.choice(RAW) + text[place:]


def _swap_words(text: str, generator: random.Random) -> str:
    words = text.split(" ")
    first, second = generator.randrange(len(words)), generator.randrange(len(words))
    words[first], words[second] = words[second], words[first]
    return " ".join(words)


_TEXT_CHANGES: list[Callable[[str, random.Random], str]] = [
    *(_delete_lines, _duplicate_lines, _swap_lines, _indent_lines),
    *(_flip_character, _flip_character, _delete_span, _insert_raw, _swap_words),
]


@cache
def _pool(texts: tuple[str, ...]) -> list[tuple[Any, Any]]:
    return [place for text in texts for place in _places(_tree(text))]


@cache
def _tree(text: str) -> Any:
    found, _ = parse(text, "mutated.yaml")
    return plain(found) if found is not None else {}


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """(mapping or list, key or index) of every value."""
    found = []
    if isinstance(tree, dict | list):
        for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
            found.append((tree, key))
            found += _places(tree[key])
    return found


def _change_tree(tree: Any, pool: list[tuple[Any, Any]], generator: random.Random) -> None:
    places = _places(tree)
    if not places:
        return
    holder, key = generator.choice(places)
    kind = generator.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        other = generator.choice(pool)[1]
        holder[str(other) if generator.random() < 0.8 else generator.choice(RAW)] = holder.pop(key)
    elif kind == 2:
        holder[key] = _MARK + generator.choice(RAW) + _MARK
    elif kind == 3:
        there, name = generator.choice(places)
        holder[key], there[name] = _copy(there[name]), _copy(holder[key])
    elif kind == 4:
        values = [there[name] for there, name in pool if name == key]
        holder[key] = _copy(generator.choice(values)) if values else None
    elif kind == 5:
        there, name = generator.choice(pool)
        holder[key] = _copy(there[name])
    elif kind == 6 and isinstance(holder, dict):
        there, name = generator.choice(pool)
        holder[str(name)] = _copy(there[name])
    else:
        holder[key] = generator.choice(
            ([holder[key]], {str(key): holder[key]}, str(holder[key]), None, 0, -1, 1.5, True)
        )


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _written(tree: Any) -> str:
    """A tree as JSON, which is YAML; marked texts stand there without their quotes."""
    text = json.dumps(tree, indent=1, ensure_ascii=False)
    parts = text.replace('\\"', "\ue001").split(_MARK)
    for index in range(1, len(parts), 2):
        parts[index - 1] = parts[index - 1].removesuffix('"')
        if index + 1 < len(parts):
            parts[index + 1] = parts[index + 1].removeprefix('"')
        parts[index] = parts[index].replace("\\\\", "\\")
    return "".join(parts).replace("\ue001", '\\"')
