"""YAML text -> a tree of plain values in which every key and every value knows its place."""

from collections.abc import Mapping
from typing import TypeAlias

from ammgraph.diagnostics import Span

Path: TypeAlias = tuple[str | int, ...]


class SourceMap:
    """Path of a value -> where its key and its value were written. A path that was not written stands at its parent."""

    def __init__(self, keys: Mapping[Path, Span], values: Mapping[Path, Span], texts: Mapping[str, str]) -> None:
        self.keys, self.values, self.texts = dict(keys), dict(values), dict(texts)

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
        """Columns [start, end) of a plain or quoted one-line text at `path`."""
        raise NotImplementedError
