"""The names of a spec: identifiers, reserved words, factors and constants, checked on the tree before the schema is.

Factor keys become canonical here, so that `q( x )` and `q(x)` are one key and paths hold the canonical text.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from ammgraph.diagnostics import Diagnostic, Note, Problems, did_you_mean
from ammgraph.formulas.functions import FUNCTIONALS
from ammgraph.spec.notation import Factor, head_and_rest, parse_factor, parse_number
from ammgraph.spec.priors import prior_words
from ammgraph.spec.source import Entry, Node, Scalar, Table, part_of, plain
from ammgraph.spec.tokens import NotationError

RESERVED = (
    *("data", *prior_words(), "mixture", "bayes", "zeros", "parameter"),
    *("E", *FUNCTIONALS, "max", "stop", "default"),
)
LONGEST_NAME = 64
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NAMED = ("constants", "variables", "networks", "distributions", "games", "terms")


def check_names(tree: Table) -> Iterator[Diagnostic]:
    """Names are identifiers, apart from the reserved words, and none means two things."""
    for section in _NAMED:
        for name, entry in table_at(tree, section).entries.items():
            yield from _is_identifier(name, entry)
            if name in RESERVED and section not in ("constants", "games", "terms"):
                yield _reserved(name, entry)
    for network in table_at(tree, "networks").entries.values():
        for name, entry in table_at(network.value, "layers").entries.items():
            yield from _is_identifier(name, entry)
            if name == "zeros":  # any other reserved word is unambiguous as a row
                yield _reserved(name, entry)
    yield from _disjoint(tree, "distributions", "networks")
    yield from _disjoint(tree, "games", "distributions")  # both name the random tensors of a step
    yield from _disjoint(tree, "terms", "games")  # both name losses
    yield from _disjoint(tree, "constants", "variables")


def canonical_factors(tree: Table, texts: Mapping[str, str]) -> tuple[Table, list[Diagnostic]]:
    """The tree with canonical factor keys, and the factors that are none, are double or have another's letter."""
    problems = Problems(texts)
    distributions = table_at(tree, "distributions")
    order = {name: place for place, name in enumerate(table_at(tree, "variables").entries)}
    entries = {}
    for name, entry in distributions.entries.items():
        if isinstance(entry.value, Table):
            factors = _canonical(name, entry.value, order, texts, problems)
            entries[name] = replace(entry, value=factors)
        else:
            problems += _check_alias(name, entry, distributions)
            entries[name] = entry
    if not entries:
        return tree, problems
    section = replace(tree.entries["distributions"], value=Table(entries, distributions.span))
    return Table({**tree.entries, "distributions": section}, tree.span), problems


class Constants(dict[str, Fraction]):
    """Exact values by name, and which of them were looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Fraction:
        self.used.add(name)
        return super().__getitem__(name)


def constant_values(tree: Table, texts: Mapping[str, str]) -> tuple[Constants, list[Diagnostic]]:
    """The constants' exact values; each may use those written before it."""
    values = Constants()
    problems = Problems(texts)
    constants = table_at(tree, "constants").entries
    wrong: set[str] = set()  # what is wrong with them is not told again where they are used
    for name, entry in constants.items():
        node = entry.value
        if not isinstance(node, Scalar) or isinstance(node.value, bool) or node.value is None:
            message = f"`{name}` is not a number"
            wrong.add(name)
            problems.append(
                Diagnostic("wrong-type", message, node.span, expected="a number or arithmetic of earlier constants")
            )
            continue
        try:
            values[name] = (
                parse_number(node.value, values) if isinstance(node.value, str) else Fraction(repr(node.value))
            )
        except NotationError as error:
            follows = any(error.message == f"`{other}` is not a constant" for other in wrong)
            wrong.add(name)
            if follows:
                continue
            span = part_of(node.span, texts, error.start, error.end)
            later = [other for other in constants if error.message == f"`{other}` is not a constant"]
            hint = f"`{later[0]}` is not written before `{name}`" if later else error.hint
            problems.append(Diagnostic("notation", error.message, span, expected=error.expected, hint=hint))
    return values, problems


def table_at(node: Node, *path: str) -> Table:
    """The mapping at a path; an empty one where there is none: what it should be is the schema's business."""
    for name in path:
        entry = node.entries.get(name) if isinstance(node, Table) else None
        node = entry.value if entry is not None else Table({}, node.span)
    return node if isinstance(node, Table) else Table({}, node.span)


def _is_identifier(name: str, entry: Entry) -> Iterator[Diagnostic]:
    if not _IDENTIFIER.fullmatch(name) or len(name) > LONGEST_NAME:
        expected = "a letter, then letters, digits and `_`"
        expected += f", at most {LONGEST_NAME} characters" if len(name) > LONGEST_NAME else ""
        hint = "a factor stands below its distribution, two spaces further right" if "(" in name else ""
        yield Diagnostic("bad-name", f"`{name}` is not a name", entry.key_span, expected=expected, hint=hint)


def _reserved(name: str, entry: Entry) -> Diagnostic:
    return Diagnostic("bad-name", f"`{name}` is a word of the language", entry.key_span, expected="another name")


def _disjoint(tree: Table, section: str, other: str) -> Iterator[Diagnostic]:
    others = table_at(tree, other).entries
    for name, entry in table_at(tree, section).entries.items():
        if name in others:
            message = f"`{name}` is both in `{section}` and in `{other}`"
            note = Note(f"`{name}` in `{other}`", others[name].key_span)
            yield Diagnostic("name-clash", message, entry.key_span, hint="rename one of them", notes=(note,))


def _canonical(
    distribution: str, table: Table, order: Mapping[str, int], texts: Mapping[str, str], problems: list[Diagnostic]
) -> Table:
    entries: dict[str, Entry] = {}
    for written, entry in table.entries.items():
        try:
            factor = parse_factor(written).canonical(order)
        except NotationError as error:
            span = part_of(entry.key_span, texts, error.start, error.end)
            problems.append(Diagnostic("notation", error.message, span, expected=error.expected, hint=error.hint))
            continue
        key = str(factor)
        if key in entries:
            note = Note(f"`{key}` is first written here", entries[key].key_span)
            problems.append(Diagnostic("duplicate-factor", f"`{key}` is written twice", entry.key_span, notes=(note,)))
        problems += _check_head(distribution, factor, entry, written)
        entries[key] = entry
    return Table(entries, table.span)


def _check_head(distribution: str, factor: Factor, entry: Entry, written: str) -> Iterator[Diagnostic]:
    head, _ = head_and_rest(distribution)
    if factor.head != head:
        message = f"a factor of `{distribution}` begins with `{head}`"
        expected = str(Factor(head, factor.variables, factor.given))
        yield Diagnostic("wrong-head", message, entry.key_span, found=f"`{written}`", expected=f"`{expected}`")


def _check_alias(name: str, entry: Entry, distributions: Table) -> Iterator[Diagnostic]:
    """A distribution that is a text names the distribution that it is another draw of."""
    node = entry.value
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return  # the schema says what a distribution is
    named = distributions.entries.get(node.value)
    whole = [other for other, value in distributions.entries.items() if isinstance(value.value, Table)]
    if named is None:
        message = f"there is no distribution `{node.value}`"
        yield Diagnostic("bad-alias", message, node.span, hint=did_you_mean(node.value, whole))
    elif node.value == name:
        yield Diagnostic("bad-alias", f"`{name}` is drawn as itself", node.span, hint=did_you_mean("", whole))
    elif not isinstance(named.value, Table):
        first = plain(named.value)
        hint = f"write `{first}`" if first in whole else did_you_mean("", whole)
        note = Note(f"`{node.value}` has no factors of its own", named.key_span)
        message = f"`{node.value}` is itself another draw"
        yield Diagnostic("bad-alias", message, node.span, hint=hint, notes=(note,))
