"""`extends` and `--set`: a chain of trees and a list of overrides -> one tree, each value with the place it came from.

One parent, merged by key. Networks merge down to the columns of their rows, a distribution or a game replaces the
inherited one, lists and scalars replace. Only a written null removes, and it must remove something.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ammgraph.diagnostics import Diagnostic, Problems, Span, did_you_mean, nearest
from ammgraph.spec.notation import Factor, parse_factor
from ammgraph.spec.shipped import shipped_specs
from ammgraph.spec.source import LARGEST_FILE, Entry, Items, Node, Scalar, Table, decode, parse, printable
from ammgraph.spec.tokens import NotationError

OVERRIDES = "--set"  # the name of the file whose lines are the overrides
LONGEST_CHAIN = 20
REACHED = ("published", "measured")  # on the spec's own data
NOT_INHERITED = ("extends", "title", "notes", *REACHED)
SAME_DATA = ("validation", "seed", "scale")  # keys of `data` that leave what is scored as it is


@dataclass(frozen=True)
class Override:
    """`--set a.b.c=VALUE`: the keys of the path with their places, and the value."""

    path: tuple[tuple[str, Span], ...]
    value: Node


@dataclass(frozen=True)
class Written:
    """All that was written: the trees from the first ancestor to the spec itself, the overrides, the texts."""

    trees: tuple[Table, ...]
    overrides: tuple[Override, ...]
    texts: dict[str, str]


def read_chain(
    file: str, overrides: Sequence[str], text: str | None = None, allow_outside: bool = False
) -> tuple[Written, list[Diagnostic]]:
    """Read a spec (from `text` where it is given), the specs that it extends and the overrides."""
    inside = None if allow_outside or "\0" in file else os.path.realpath(os.path.dirname(file))
    trees: list[Table] = []
    texts: dict[str, str] = {}
    problems: list[Diagnostic] = []
    place: Span | None = None
    name: str | None = file
    while name is not None:
        source, found = (text, []) if text is not None and place is None else _read(name, place)
        if place is not None and sum(map(len, texts.values())) + len(source) > LARGEST_FILE:
            problems.append(
                Diagnostic("extends", "specs that extend each other are larger than 128 KiB together", place)
            )
            break
        texts[name] = printable(source)
        tree, more = parse(source, name) if not found else (None, ())
        problems += [*found, *more]
        if not found and not more and not isinstance(tree, Table):
            problems.append(_no_mapping(tree, name))
        if not isinstance(tree, Table):
            break
        trees.append(tree)
        name, place, found = _parent(tree, name, list(texts), inside)
        problems += found
    texts[OVERRIDES] = "\n".join(printable(argument.replace("\n", " ")) for argument in overrides)
    read = [_override(argument, line) for line, argument in enumerate(overrides, start=1)]
    problems += [problem for _, found in read for problem in found]
    return Written(tuple(reversed(trees)), tuple(override for override, _ in read if override), texts), problems


def merge(written: Written) -> tuple[Table, list[Diagnostic]]:
    """The one tree of a chain and its overrides."""
    problems = Problems(written.texts)
    tree = Table({}, written.trees[-1].span)
    for child in written.trees:
        inherited = {name: entry for name, entry in tree.entries.items() if name not in NOT_INHERITED}
        tree = _merged(Table(inherited, tree.span), child, (), problems)
    if any(map(_gives_other_data, written.overrides)):
        tree = Table({name: entry for name, entry in tree.entries.items() if name not in REACHED}, tree.span)
    for override in written.overrides:
        tree = _overridden(tree, override.path, override.value, problems)
    entries = {name: entry for name, entry in tree.entries.items() if name != "extends"}
    return Table(entries, tree.span), problems


def _gives_other_data(override: Override) -> bool:
    """Whether what was published for a spec is of other data or other labels than it has now."""
    names = [name for name, _ in override.path]
    return names[0] == "data" and not set(names[1:]) & set(SAME_DATA)


def _read(file: str, place: Span | None) -> tuple[str, list[Diagnostic]]:
    """A file's text; where it cannot be read the problem stands at `place`, the `extends:` that names it."""
    try:
        with open(file, "rb", opener=_without_waiting) as stream:
            os.set_blocking(stream.fileno(), True)
            return decode(stream.read(LARGEST_FILE + 1), file)
    except FileNotFoundError:
        message = f"there is no file `{printable(file)}`"
    except IsADirectoryError:
        message = f"`{printable(file)}` is a folder"
    except (OSError, ValueError) as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "it is no file name"
        message = f"`{printable(file)}` cannot be read: {reason}"
    hint = nearest(os.path.basename(file), _specs_beside(file))
    if place is None:
        hint = hint or _shipped(file)
        return "", [Diagnostic("unreadable-spec", message, Span(file, 1, 1, 2), hint=hint)]
    return "", [Diagnostic("extends", message, place, hint=hint)]


def _without_waiting(file: str, flags: int) -> int:
    """A named pipe that nobody writes to is empty."""
    return os.open(file, flags | os.O_NONBLOCK)


def _shipped(file: str) -> str:
    """A hint with the name of a spec that ships, as `amm_digits` for `specs/amm_digits.yaml`; one near it."""
    name = os.path.basename(file).removesuffix(".yaml")
    if name in shipped_specs():
        return f"`{name}` ships with ammgraph: write its bare name, or `ammgraph copy {name}` for a copy of your own"
    near = nearest(name, shipped_specs())
    return f"{near} It ships with ammgraph" if near else ""


def _specs_beside(file: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(os.path.dirname(file) or ".") if name.endswith((".yaml", ".yml")))
    except (OSError, ValueError):
        return []


def _no_mapping(tree: Node | None, file: str) -> Diagnostic:
    expected = "a mapping of sections: `ammgraph: 1`, `data: ...`, `variables: ...`"
    if tree is None or (isinstance(tree, Scalar) and tree.value == ""):
        return Diagnostic("unreadable-spec", "the file is empty", Span(file, 1, 1, 2), expected=expected)
    found = "a list" if isinstance(tree, Items) else "a single value"
    return Diagnostic("wrong-type", "a spec is a mapping", tree.span, found=found, expected=expected)


def _parent(
    tree: Table, file: str, chain: Sequence[str], inside: str | None
) -> tuple[str | None, Span | None, list[Diagnostic]]:
    """The file that a spec extends, the place where it says so, and what is wrong with that.

    Links resolved, it lies in the folder `inside`, the first spec's, or below; anywhere where that is None.
    """
    entry = tree.entries.get("extends")
    if entry is None or _is_null(entry.value):
        return None, None, []
    span, value = entry.value.span, entry.value
    if not isinstance(value, Scalar) or not isinstance(value.value, str) or not value.value:
        hint = "there is one parent; it may extend another" if isinstance(value, Items) else ""
        return (
            None,
            None,
            [
                Diagnostic(
                    "extends", "`extends` takes one file", span, expected="a path, as in `amm_mnist.yaml`", hint=hint
                )
            ],
        )
    name = os.path.normpath(os.path.join(os.path.dirname(file), value.value))
    if any(os.path.realpath(name) == os.path.realpath(earlier) for earlier in chain if "\0" not in name):
        circle = " -> ".join(f"`{printable(link)}`" for link in [*chain, name])
        return None, None, [Diagnostic("extends", "a spec extends itself", span, found=circle)]
    if len(chain) == LONGEST_CHAIN:
        return None, None, [Diagnostic("extends", f"more than {LONGEST_CHAIN} specs extend each other", span)]
    if inside is not None and "\0" not in name:
        real = os.path.realpath(name)
        if os.path.commonpath([inside, real]) != inside:
            message = "`extends` leads out of the spec's folder"
            expected, hint = "a file in the folder of the spec or below", "`--allow-outside` lets a spec that you trust"
            found = f"`{printable(os.path.relpath(real, inside))}`"
            return None, None, [Diagnostic("extends", message, span, found=found, expected=expected, hint=hint)]
    return name, span, []


def _merged(
    parent: Table, child: Table, path: tuple[str, ...], problems: list[Diagnostic], replaced: Node | None = None
) -> Table:
    """`child` over `parent`; `replaced` is what was inherited where the child takes its place as a whole."""
    entries = dict(parent.entries)
    for name, entry in child.entries.items():
        inherited = entries.get(name)
        if _is_null(entry.value):
            if inherited is None:
                problems.append(_nothing_to_remove(name, entry.key_span, parent, replaced))
            else:
                del entries[name]
        elif isinstance(entry.value, Table):
            merges = inherited is not None and isinstance(inherited.value, Table) and not is_unit((*path, name))
            base = inherited.value if inherited is not None and merges else Table({}, entry.value.span)
            assert isinstance(base, Table)
            whole = inherited if inherited is not None and not merges else None
            table = _merged(base, entry.value, (*path, name), problems, None if whole is None else whole.value)
            entries[name] = Entry(entry.key_span, table, None if whole is None else whole.key_span)
        else:
            _nothing_is_removed_in_a_list(entry.value, path, problems)
            entries[name] = entry
    return Table(entries, child.span)


def _nothing_is_removed_in_a_list(node: Node, path: tuple[str, ...], problems: list[Diagnostic]) -> None:
    """A list replaces the inherited one, so that a null in one of its mappings has nothing to remove."""
    for value in node.values if isinstance(node, Items) else ():
        if isinstance(value, Table):
            _merged(Table({}, value.span), value, path, problems)
        else:
            _nothing_is_removed_in_a_list(value, path, problems)


def is_unit(path: Sequence[str]) -> bool:
    """Whether what stands at `path` replaces the inherited as a whole."""
    if path[0] in ("distributions", "games", "terms"):
        return len(path) == 2
    if path[:2] == ("training", "optimizers"):
        return len(path) == 4  # a rate with its course
    return path[0] == "networks" and len(path) == 5  # a column of a row


def _override(argument: str, line: int) -> tuple[Override | None, list[Diagnostic]]:
    """`a.b.c=VALUE`, the `line`th override, read as line `line` of one file."""
    whole = Span(OVERRIDES, line, 1, max(2, len(argument) + 1))
    example = "`path=value`, as in `training.epochs=3`"
    if printable(argument) != argument or "\n" in argument:
        return None, [Diagnostic("bad-override", "an override is one line of printable text", whole, expected=example)]
    path, equals, value = argument.partition("=")
    if not equals:
        return None, [Diagnostic("bad-override", "an override needs a `=`", whole, expected=example)]
    keys = _keys(path, line)
    if not all(key for key, _ in keys):
        return None, [Diagnostic("bad-override", "a key of the path is empty", whole, expected=example)]
    if keys[0][0] in ("extends", "ammgraph"):
        return None, [Diagnostic("bad-override", f"`{keys[0][0]}` cannot be overridden", keys[0][1])]
    offset = len(path) + 1
    tree, problems = parse("\n" * (line - 1) + " " * offset + value, OVERRIDES)
    if not problems and (tree is None or (isinstance(tree, Scalar) and tree.value == "" and not value.strip())):
        hint = f"`{path.strip()}=null` removes an inherited value"
        return None, [Diagnostic("bad-override", "there is no value after the `=`", whole, expected=example, hint=hint)]
    return (Override(tuple(keys), tree) if tree is not None else None), [*problems]


def _keys(path: str, line: int) -> list[tuple[str, Span]]:
    keys, column = [], 1
    for part in path.split("."):
        key = part.strip()
        start = column + len(part) - len(part.lstrip())
        keys.append((key, Span(OVERRIDES, line, start, start + max(1, len(key)))))
        column += len(part) + 1
    return keys


def _overridden(table: Table, path: Sequence[tuple[str, Span]], value: Node, problems: list[Diagnostic]) -> Table:
    (written, span), rest = path[0], path[1:]
    name = _same_key(written, table)
    existing = table.entries.get(name)
    entries = dict(table.entries)
    if _is_null(value) and existing is None:
        problems.append(_nothing_to_remove(name, span, table))
    elif not rest and _is_null(value):
        del entries[name]
    elif not rest:
        clean = _merged(Table({}, span), Table({name: Entry(span, value)}, span), (), problems)
        entries[name] = clean.entries[name]
    else:
        inside = Table({}, span) if existing is None else existing.value
        key_span = span if existing is None else existing.key_span
        if isinstance(inside, Table):
            entries[name] = Entry(key_span, _overridden(inside, rest, value, problems))
        elif isinstance(inside, Items) and rest[0][0].isdecimal():
            entries[name] = Entry(key_span, _in_list(name, inside, rest, value, problems))
        else:
            message = f"`{name}` is not a mapping, so `{rest[0][0]}` cannot be set in it"
            hint = "a list is written whole, as in `a.b=[1, 2]`, or by entries, as in `a.b.1=1`"
            hint = hint if isinstance(inside, Items) else ""
            problems.append(Diagnostic("bad-override", message, span, hint=hint))
    return Table(entries, table.span)


def _in_list(
    name: str, items: Items, path: Sequence[tuple[str, Span]], value: Node, problems: list[Diagnostic]
) -> Items:
    """The list with one entry, or what is in it, set anew; entries count from 1."""
    (number, span), rest = path[0], path[1:]
    place = int(number[:9]) - 1
    if not 0 <= place < len(items.values):
        expected = f"1 to {len(items.values)}"
        problems.append(Diagnostic("bad-override", f"`{name}` has no entry {number[:9]}", span, expected=expected))
        return items
    # An entry is set as the value of a key is; what is said of it is said in the same words.
    entry = Table({number: Entry(span, items.values[place])}, span)
    changed = _overridden(entry, ((number, span), *rest), value, problems)
    found = changed.entries.get(number)
    values = [*items.values[:place], *([] if found is None else [found.value]), *items.values[place + 1 :]]
    return Items(type(items.values)(values), items.span)


def _same_key(written: str, table: Table) -> str:
    """The key of the table that means the same: factors are the same whatever the order and the spaces."""
    if written in table.entries or "(" not in written:
        return written
    factor = _factor(written)
    return next((key for key in table.entries if factor is not None and _factor(key) == factor), written)


def _factor(text: str) -> Factor | None:
    try:
        return parse_factor(text).canonical({})
    except NotationError:
        return None


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _nothing_to_remove(name: str, span: Span, inherited: Table, replaced: Node | None = None) -> Diagnostic:
    message = f"`null` removes an inherited value, but there is no `{name}` to remove"
    if isinstance(replaced, Table) and name in replaced.entries:
        hint = (
            "what stands here takes the place of the inherited one as a whole, so that a key that is left out is gone"
        )
        return Diagnostic("nothing-to-remove", message, span, hint=hint)
    return Diagnostic("nothing-to-remove", message, span, hint=did_you_mean(name, inherited.entries))
