"""YAML text -> a tree of plain values in which every key and every value knows its place.

YAML is read as version 1.2 with the scalars true, false, null, numbers without leading zeros, and text; keys are text
as written. What makes a spec ambiguous (duplicate keys, empty values, aliases, tags, merge keys) is refused here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, TypeAlias

import yaml

from ammgraph.diagnostics import MOST_PROBLEMS, Diagnostic, Note, Span
from ammgraph.spec.yaml_errors import in_plain_words

Path: TypeAlias = tuple[str | int, ...]
Event: TypeAlias = Any  # a yaml.Event; its stubs know neither anchors and tags nor that marks are there

LARGEST_FILE = 1 << 17  # bytes; the largest that a person ever wrote has 10,000
MOST_ENTRIES = 1000  # of one mapping or list
DEEPEST_NESTING = 40

# The sections of a spec that hold things by name, for hints.
_SECTIONS = ("data", "constants", "variables", "networks", "distributions", "games", "terms", "training", "evaluation")
_LONGEST_NUMBER = 200  # characters; a longer one stays text, and the notation refuses it
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
# What libyaml takes and PyYAML's own scanner refuses, or ends elsewhere.
_TAKEN_BY_ONE = re.compile(r"[\t?]|[|>][-+0-9]*#|[ #]\Z")
# What no line of a spec holds: control characters, the line breaks that only YAML 1.1 knows, marks of byte order.
_UNPRINTABLE = re.compile(r"[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, a number, true, false or null."""

    value: str | int | float | bool | None
    span: Span


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    values: tuple["Node", ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of a mapping and the place of its key."""

    key_span: Span
    value: "Node"
    replaces: Span | None = None  # the key of what it takes the place of, as a whole


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping."""

    entries: Mapping[str, Entry]
    span: Span


Node: TypeAlias = Scalar | Items | Table


class SourceMap:
    """Path of a value -> where its key and its value were written. A path that was not written stands at its parent.

    `replaced` has the keys of what was inherited and stands there no more.
    """

    def __init__(
        self,
        keys: Mapping[Path, Span],
        values: Mapping[Path, Span],
        texts: Mapping[str, str],
        replaced: Mapping[Path, Span] | None = None,
    ) -> None:
        self.keys, self.values, self.texts = dict(keys), dict(values), dict(texts)
        self.replaced = dict(replaced or {})

    def key(self, *path: str | int) -> Span:
        """The span of the key at the end of `path`."""
        while path not in self.keys and path not in self.values:
            path = path[:-1]
        return self.keys.get(path, self.values[path])

    def value(self, *path: str | int) -> Span:
        """The span of the value at `path`, on its first line."""
        if path in self.values:
            return self.values[path]
        return self.key(*path)

    def within(self, *path: str | int, start: int, end: int) -> Span:
        """Columns [start, end), from 0, of the text at `path`; the whole of it where they cannot be told."""
        return part_of(self.value(*path), self.texts, start, end)


def part_of(span: Span, texts: Mapping[str, str], start: int, end: int) -> Span:
    """Columns [start, end), from 0, of the plain or quoted text at `span`; all of it where they cannot be told."""
    written = texts[span.file].split("\n")[span.line - 1][span.column - 1 : span.end_column - 1]
    quote = written[:1]
    quoted = quote in ("'", '"')
    inner = written[1:].removesuffix(quote) if quoted else written
    escaped = quote in ("|", ">") or (quote == '"' and "\\" in inner) or (quote == "'" and "'" in inner)
    if escaped or not 0 <= start < end <= len(inner) + 1:
        return span
    first = span.column + quoted
    return Span(span.file, span.line, first + start, first + end)


def _why_empty(name: str, place: Span, entries: Mapping[str, Entry]) -> str:
    """A hint: what stands below it at the same depth would be its value if it stood further right."""
    after = next((key for key, entry in entries.items() if entry.key_span.line > place.line), "")
    removes = f"`{name}: null` removes an inherited value"
    if not after or after in _SECTIONS or (name not in _SECTIONS and "(" not in after):
        return removes
    return f"`{after}` stands as deep as `{name}`: two spaces more before what belongs to `{name}`; or {removes}"


def source_map(tree: Node, texts: Mapping[str, str]) -> SourceMap:
    """The places of all keys and values of a tree."""
    keys: dict[Path, Span] = {}
    values: dict[Path, Span] = {}
    replaced: dict[Path, Span] = {}

    def visit(path: Path, node: Node) -> None:
        values[path] = node.span
        if isinstance(node, Table):
            for name, entry in node.entries.items():
                keys[*path, name] = entry.key_span
                if entry.replaces is not None:
                    replaced[*path, name] = entry.replaces
                visit((*path, name), entry.value)
        elif isinstance(node, Items):
            for index, value in enumerate(node.values):
                visit((*path, index), value)

    visit((), tree)
    return SourceMap(keys, values, texts, replaced)


def plain(node: Node) -> Any:
    """The tree as dicts, lists and scalars."""
    if isinstance(node, Table):
        return {name: plain(entry.value) for name, entry in node.entries.items()}
    if isinstance(node, Items):
        return [plain(value) for value in node.values]
    return node.value


def scalar(text: str) -> str | int | float | bool | None:
    """What an unquoted text means: true, false, null, a number (`1e-4`, not `010`), or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return text if number in (float("inf"), float("-inf")) else number
    return text


def decode(content: bytes, file: str) -> tuple[str, list[Diagnostic]]:
    """The text of a file, its lines ended by a newline alone, and what is wrong with its bytes."""
    if len(content) > LARGEST_FILE:
        message = "the file is larger than 128 KiB"
        return "", [Diagnostic("unreadable-spec", message, Span(file, 1, 1, 2), expected="a few kilobytes of YAML")]
    text = content.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        message = f"byte 0x{content[error.start]:02x} is not UTF-8"
        return text, [Diagnostic("unreadable-spec", message, _end_of(before, file), expected="a text in UTF-8")]
    return text, []


@lru_cache(maxsize=128)
def parse(text: str, file: str) -> tuple[Node | None, tuple[Diagnostic, ...]]:
    """The tree of one YAML document, or None where there is none to speak of, and everything wrong with its YAML.

    A run reads its spec several times, a sweep for every trial: most of what reading takes is PyYAML's, here.
    """
    problems = tuple(
        Diagnostic(
            "yaml-syntax",
            f"character U+{ord(match[0]):04X} cannot stand in a spec",
            _end_of(text[: match.start()], file),
        )
        for match in islice(_UNPRINTABLE.finditer(text), MOST_PROBLEMS + 1)
    )
    if problems:
        return None, problems
    if not _TAKEN_BY_ONE.search(text):
        composer = _Composer(text, file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # libyaml: six times as fast
        tree = composer.document()
        if not composer.problems:
            return tree, ()
    composer = _Composer(text, file, yaml.SafeLoader)  # whose words and marks are told
    tree = composer.document()
    return tree, tuple(sorted(composer.problems, key=lambda found: found.span))


def printable(text: str) -> str:
    """The text with a replacement character for each one that a terminal should not get."""
    return _UNPRINTABLE.sub("\ufffd", text)


class _Composer:
    """Turns the events of a document into nodes; what is wrong collects in `problems`."""

    def __init__(self, text: str, file: str, loader: Any) -> None:
        self.lines, self.file = text.split("\n"), file
        self.events: Iterator[Event] = yaml.parse(text, Loader=loader)
        self.problems: list[Diagnostic] = []
        self.flow = 0  # how many `{` and `[` are open
        self.last = Span(file, 1, 1, 2)

    def document(self) -> Node | None:
        tree: Node | None = None
        try:
            for event in self.events:
                if isinstance(event, yaml.DocumentStartEvent):
                    self._start(event)
                    if tree is not None:
                        self._refuse("a second document", self._span(event), "one document a file; take the `---` away")
                        return tree
                elif isinstance(event, yaml.NodeEvent):
                    tree = self._node(event, 0)
        except yaml.MarkedYAMLError as error:
            self.problems.append(in_plain_words(error, self.lines, self.file))
        except (ValueError, OverflowError):  # PyYAML converts `"\UFFFFFFFF"` unchecked
            self._report("yaml-syntax", "an escape in the text after this names no character", self.last)
        except _TooDeep:
            self._refuse("nesting this deep", self.last, f"at most {DEEPEST_NESTING} levels")
        except _TooLong:
            self._refuse(f"a mapping or a list of more than {MOST_ENTRIES:,} entries", self.last, "")
        except _TooMany:
            pass
        return tree

    def _start(self, event: Event) -> None:
        if event.version or event.tags:
            line = next(index for index, text in enumerate(self.lines, start=1) if text.startswith("%"))
            self._refuse("a `%` directive", Span(self.file, line, 1, 2), "a spec is YAML 1.2; take the line away")

    def _node(self, event: Event, depth: int) -> Node:
        self.last = span = self._span(event)
        if depth > DEEPEST_NESTING:
            raise _TooDeep
        if isinstance(event, yaml.AliasEvent):
            self._refuse("an alias", span, "write the value again, or share it through `extends:` or `constants:`")
            return Scalar("", span)
        if event.anchor is not None:
            self._refuse("an anchor", span, "write the value again, or share it through `extends:` or `constants:`")
        if event.tag is not None:
            self._refuse("a tag", span, "a value's type follows from its place; quotes make a text")
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(self._value(event, span), span)
        self.flow += bool(event.flow_style)
        node = self._table(span, depth) if isinstance(event, yaml.MappingStartEvent) else self._items(span, depth)
        self.flow -= bool(event.flow_style)
        return node

    def _value(self, event: Event, span: Span) -> str | int | float | bool | None:
        if _UNPRINTABLE.search(event.value):
            self._report("yaml-syntax", "an escape in this text stands for a control character", span)
            return printable(event.value)
        if event.style:
            return event.value
        if self.flow and event.value.count("(") > event.value.count(")"):
            hint = "in `{...}` and `[...]` a comma separates: quote the text, or write one entry a line"
            self._report("split-by-comma", "a comma ends this text inside its parenthesis", span, hint)
            return event.value
        return scalar(event.value)

    def _items(self, span: Span, depth: int) -> Items:
        values: list[Node] = []
        for event in self.events:
            if isinstance(event, yaml.SequenceEndEvent):
                return Items(tuple(values), self._first_line(span, event, [value.span for value in values]))
            values.append(self._node(event, depth + 1))
            if len(values) > MOST_ENTRIES:
                raise _TooLong
            if _is_empty(event):
                hint = "take the `-` or the comma away, or write the value"
                self._report("empty-value", "an entry of the list is empty", values[-1].span, hint)
        raise AssertionError("a list without an end")

    def _table(self, span: Span, depth: int) -> Table:
        entries: dict[str, Entry] = {}
        spans: list[Span] = []
        empty: list[tuple[str, Span]] = []
        for event in self.events:
            if isinstance(event, yaml.MappingEndEvent):
                for key, place in empty:
                    self._report("empty-value", f"`{key}` has no value", place, _why_empty(key, place, entries))
                return Table(entries, self._first_line(span, event, spans))
            self.last = key_span = self._span(event)
            if len(entries) == MOST_ENTRIES:
                raise _TooLong
            name = self._key(event, depth)
            value_event = next(self.events)
            value = self._node(value_event, depth + 1)
            spans += [key_span, value.span]
            if name is None or self._is_tail(name):
                continue
            if _is_empty(value_event):
                empty.append((name, key_span))
            elif name in entries:
                note = Note(f"`{name}` is first written here", entries[name].key_span)
                self._report("duplicate-key", f"`{name}` is written twice", key_span, "", note)
            entries.setdefault(name, Entry(key_span, value))
        raise AssertionError("a mapping without an end")

    def _key(self, event: Event, depth: int) -> str | None:
        """The text of a key; None, with the problem noted, where it is none that could be looked up."""
        problems = len(self.problems)
        if not isinstance(event, yaml.ScalarEvent):
            span = self._span(event)
            self._node(event, depth + 1)
            if not isinstance(event, yaml.AliasEvent):
                self._refuse("a mapping or a list as a key", span, "keys are text; quote a key that holds `[` or `{`")
            return None
        span = self._node(event, depth).span
        if _is_empty(event):
            self._report("yaml-syntax", "a `:` has no key before it", span)
        elif not event.style and event.value == "<<":
            self._refuse("a merge key", span, "`extends:` merges whole specs")
        return event.value if len(self.problems) == problems else None

    def _is_tail(self, text: str) -> bool:
        """Whether a key is what a comma cut off a parenthesis, as `y)` of `q(z|x,y)`; that has been said."""
        was_split = bool(self.problems) and self.problems[-1].code == "split-by-comma"
        return self.flow > 0 and was_split and text.count(")") > text.count("(")

    def _refuse(self, what: str, span: Span, hint: str) -> None:
        self._report("yaml-feature", f"{what} is not part of a spec's YAML", span, hint)

    def _report(self, code: str, message: str, span: Span, hint: str = "", *notes: Note) -> None:
        self.problems.append(Diagnostic(code, message, span, hint=hint, notes=notes))
        if len(self.problems) > MOST_PROBLEMS:
            raise _TooMany

    def _span(self, event: Event) -> Span:
        start, end = event.start_mark, event.end_mark
        if isinstance(event, yaml.ScalarEvent) and event.style in ("|", ">"):
            header = self.lines[start.line][start.column :].partition(" #")[0].rstrip()
            return Span(self.file, start.line + 1, start.column + 1, start.column + 1 + len(header))
        if start.line == end.line:
            return Span(self.file, start.line + 1, start.column + 1, max(end.column, start.column + 1) + 1)
        return Span(self.file, start.line + 1, start.column + 1, len(self.lines[start.line].rstrip()) + 1)

    def _first_line(self, span: Span, end: Event, children: list[Span]) -> Span:
        """The part of a list or a mapping that stands on its first line."""
        mark = end.end_mark
        if mark.line == span.line - 1 and mark.column >= span.column:
            return Span(span.file, span.line, span.column, mark.column + 1)
        ends = [child.end_column for child in children if child.line == span.line]
        return Span(span.file, span.line, span.column, max([span.column + 1, *ends]))


class _TooDeep(Exception):
    """Mappings and lists in each other beyond `DEEPEST_NESTING`."""


class _TooLong(Exception):
    """A mapping or a list of more than `MOST_ENTRIES` entries."""


class _TooMany(Exception):
    """More problems than are told."""


def _is_empty(event: Event) -> bool:
    """Whether nothing was written: quotes make an empty text, which is something."""
    return isinstance(event, yaml.ScalarEvent) and event.value == "" and not event.style


def _end_of(text: str, file: str) -> Span:
    """The place of the character after `text`."""
    line = text.count("\n") + 1
    column = len(text) - (text.rfind("\n") + 1) + 1
    return Span(file, line, column, column + 1)
