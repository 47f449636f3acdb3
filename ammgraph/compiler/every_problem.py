"""Every mistake of a spec at once: the problems of the stage that refused it, and those of the stages behind.

What a stage has refused is mended as far as it takes to go on: a key that may be left out is, one that may not has
another value, a row is a layer of the shape that it needs; a factor, a game or a term is left out. What then follows
from the mending is not told: a later problem counts where it is about names, notation and single values, and elsewhere
where nothing mended is mentioned.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from ammgraph.compiler.compile import PARTIAL, compile_spec
from ammgraph.diagnostics import Diagnostic, SpecError, nearest
from ammgraph.layers.activations import ACTIVATIONS
from ammgraph.spec.data import names_of
from ammgraph.spec.load import load_tree
from ammgraph.spec.schema import Variable
from ammgraph.spec.source import Entry, Items, Node, Path, Scalar, SourceMap, Table, parse, plain, source_map
from ammgraph.spec.training import AnyOptimizer
from ammgraph.spec.values import Model

MOST_ROUNDS = 24
# What is wrong with a name, a notation or one value is wrong whatever else is.
_OWN = frozenset(
    {
        *("notation", "bad-name", "name-clash", "duplicate-factor", "wrong-head", "bad-alias"),
        *("unknown-key", "conflicting-keys", "wrong-type", "unknown-value", "out-of-range"),
        *("unknown-name", "unknown-variable", "unknown-network", "unknown-row", "unknown-distribution"),
        *("unknown-game", "unknown-term", "variable-drawn-twice"),
    }
)
# What later stages do not mind.
_PASSED = frozenset({"condition-mismatch", "no-labels"})
# What is wrong with a value itself, whatever it serves.
_OF_VALUES = frozenset({"unknown-key", "wrong-type", "unknown-value", "out-of-range", "notation"})
# What is wrong with a section once a key of it was taken away.
_OF_LESS = frozenset({"missing-key", "out-of-range"})
# What is about the whole follows from anything that is left out.
_OF_THE_WHOLE = frozenset({*PARTIAL, "no-gradient", "missing-factor", "too-large"})
_INSTEAD = {
    "training": "{batch_size: 10, steps: 10, optimizers: {default: {name: sgd, learning_rate: 1}}}",
    "data": "{dataset: npz, path: data.npz}",  # whose shapes and classes nobody knows
}
# What must be there, and has another value.
_FILLED: dict[Path, str] = {
    ("data", "dataset"): "npz",
    ("data", "path"): "data.npz",
    ("training", "batch_size"): "10",
    ("training", "optimizers"): "{default: {name: sgd, learning_rate: 1}}",
}
_LEFT_OUT = ("activation", "dropout", "noise", "batchnorm", "norm", "initializer", "weightnorm", "spectralnorm", "bias")
_ROW, _VARIABLE, _OPTIMIZER = "{input: zeros(1)}", "{type: real, size: 1}", "{name: sgd, learning_rate: 1}"


def _kinds(union: object, key: str) -> dict[str, type[Model]]:
    """What a union of sections tells apart by a key."""
    members: tuple[type[Model], ...] = get_args(get_args(union)[0])
    return {get_args(member.model_fields[key].annotation)[0]: member for member in members}


# Sections of several kinds, by where they stand: the key that says which, and the kinds.
_KINDS: dict[Path, tuple[str, dict[str, type[Model]]]] = {
    ("variables",): ("type", _kinds(Variable, "type")),
    ("training", "optimizers"): ("name", _kinds(AnyOptimizer, "name")),
}


def every_problem(error: SpecError) -> SpecError:
    """The error with the problems of later stages beside its own; itself where its spec cannot be mended."""
    if not isinstance(error.rest, Table):
        return error
    texts, tree, found = error.sources, error.rest, list(error.diagnostics)
    mended, now = _Mended(), list(error.diagnostics)
    passed: set[str] = set(PARTIAL)
    for _ in range(MOST_ROUNDS):
        more = {problem.code for problem in now} & _PASSED - passed
        before, tree = tree, mended.without(tree, texts, [problem for problem in now if problem.code not in _PASSED])
        if tree is before and not more:
            break
        passed |= more
        try:
            compile_spec(load_tree(tree, texts), passed=passed)
            break
        except SpecError as later:
            now = list(later.diagnostics)
            found += mended.news(tree, texts, now)
        except Exception:  # of a spec that nobody wrote; what is wrong with the one that was written is told
            break
    return SpecError(found, texts)


def _activation_meant(written: object) -> str:
    """The activation whose name is written, or is nearest, with a number that it may have."""
    word = str(written).strip().partition(" ")[0]
    name = next((known for known in ACTIVATIONS if nearest(word, ACTIVATIONS) == nearest(known, [known])), "")
    parameter = ACTIVATIONS[name].parameter if name else None
    return name if parameter is None else f"{name} {parameter.example:g}"


@dataclass
class _Mended:
    """What was mended so far: places, and the names on which nothing more can be said."""

    places: set[Path] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def news(self, tree: Table, texts: Mapping[str, str], found: Iterable[Diagnostic]) -> list[Diagnostic]:
        """Those problems that do not follow from what was mended."""
        places = source_map(tree, texts)
        return [problem for problem in found if not self._follows(problem, tree, _path(places, problem))]

    def _follows(self, problem: Diagnostic, tree: Table, path: Path) -> bool:
        if not path or problem.code in _OF_THE_WHOLE:
            return True
        if any(path[: len(place)] == place for place in self.places):
            return True
        if problem.code in _OF_LESS and any(place[: len(path)] == path for place in self.places):
            return True
        return problem.code not in _OWN and self._mentions(tree, _unit(path))

    def _mentions(self, tree: Table, unit: Path) -> bool:
        """Whether a unit is about a name that was mended."""
        about = unit[:2] if unit[0] == "networks" else unit
        return bool(self.names & _words([*map(str, about), *_texts(_at(tree, about))]))

    def without(self, tree: Table, texts: Mapping[str, str], found: Sequence[Diagnostic]) -> Table:
        """The tree without what is refused."""
        places = source_map(tree, texts)
        for problem in found:
            if problem.code not in _OF_THE_WHOLE:
                tree = self._mend(tree, problem, _path(places, problem))
        return tree

    def _mend(self, tree: Table, problem: Diagnostic, path: Path) -> Table:
        """Without one problem: the smallest part that can be left out, or more where that was done before."""
        section, depth = str(path[0]) if path else "", len(path)
        unit = _unit(path)
        again = any(place[: len(unit)] == unit for place in self.places)
        if not path:
            missing = _MISSING.match(problem.message)
            return self._written(tree, (missing[1],), _INSTEAD.get(missing[1], "")) if missing else tree
        if not again and unit[:-1] in _KINDS and _KINDS[unit[:-1]][0] in (path[-1], _missing_key(problem)):
            return self._of_a_kind(tree, unit)
        if path[:2] == ("training", "optimizers") and depth > 2:
            return self._written(tree, path[:3], _OPTIMIZER)
        if section == "data" and depth > 1 and path[1] in names_of(plain(tree).get("data")):
            self.names.add(str(path[1]))
            named = problem.code != "bad-name"
            return self._written(tree, path[:2], _INSTEAD["data"]) if named else self._removed(tree, path[:2])
        key = (*path[:1], _missing_key(problem)) if depth == 1 else path[:2]
        if key in _FILLED and key not in self.places:
            return self._written(tree, key, _FILLED[key])
        if section in _INSTEAD and depth > 1 and not again:
            self.names |= {str(path[1]), *(("data",) if section == "data" and problem.code not in _OF_VALUES else ())}
            return self._removed(tree, path)
        if section in _INSTEAD:
            self.names.add(section)
            return self._written(tree, (section,), _INSTEAD[section])
        if section in ("variables", "constants") and depth > 1:
            self.names.add(str(path[1]))
            return self._written(tree, path[:2], _VARIABLE if section == "variables" else "2")
        if section == "networks" and depth > 3 and unit not in self.places:
            return self._of_a_row(tree, problem, path)
        if section == "networks" and depth > 1:
            self.names.add(str(path[1]))
            return self._dropped(tree, path[:2])
        if section == "distributions" and depth > 1:
            self.names |= {str(path[1]), *_words(map(str, path[2:3]))}
            return self._removed(tree, path[:3]) if depth > 2 else self._dropped(tree, path[:2])
        if section == "games" and path[2:] == ("objective",):
            return self._written(tree, path, "hinge")
        kept = section in ("games", "terms") and depth > 2 and path[2] not in ("match", "discriminator", "minimize")
        return self._removed(tree, path[:3] if kept else path[:2])

    def _of_a_kind(self, tree: Table, unit: Path) -> Table:
        """With a kind that there is: the one that has the most of the keys that are written, of these the nearest."""
        key, kinds = _KINDS[unit[:-1]]
        written = _entries(tree, unit)
        said = str(plain(written[key].value)) if key in written else ""
        fitting = {name: len(written.keys() & kind.model_fields) for name, kind in kinds.items()}
        best = [name for name, count in fitting.items() if count == max(fitting.values())]
        near = next((name for name in best if nearest(said, best) == nearest(name, [name])), best[-1])
        self.names |= {str(unit[1])} if unit[0] == "variables" else set()
        return self._written(tree, (*unit, key), near)

    def _of_a_row(self, tree: Table, problem: Diagnostic, path: Path) -> Table:
        """Without a column that may be left out; else a layer of the row's variable, which reads what the row reads."""
        unit, column = path[:4], str(path[4]) if len(path) > 4 else ""
        self.names |= set() if problem.code in _OF_VALUES and column in _LEFT_OUT else {str(path[1])}
        if column in _LEFT_OUT and path[:5] not in self.places:
            written = _at(tree, path[:5])
            meant = _activation_meant(plain(written)) if column == "activation" and written is not None else ""
            return self._written(tree, path[:5], meant) if meant else self._removed(tree, path[:5])
        row = {name: plain(entry.value) for name, entry in _entries(tree, unit).items() if name != column}
        read, activation = row.get("input"), row.get("activation", "none")
        variable = _at(tree, ("variables", str(unit[3])))
        shape = plain(variable) if variable is not None else {}
        size = f"shape: {shape['shape']}" if "shape" in shape else f"channels: {shape.get('size', 1)}"
        layer = f"{{input: {json.dumps(read)}, op: linear, {size}, activation: {json.dumps(activation)}}}"
        layer = layer if isinstance(read, str) and _at(tree, unit) is not None else _ROW
        return self._written(tree, unit, layer)

    def _removed(self, tree: Table, path: Path) -> Table:
        self.places.add(path)
        return _removed(tree, path)

    def _written(self, tree: Table, path: Path, text: str) -> Table:
        self.places.add(path)
        return _written(tree, path, text) if text else tree

    def _dropped(self, tree: Table, path: Path) -> Table:
        """Without a network or a distribution, and without the factors, games, terms and settings that name it."""
        name = str(path[1])
        tree = self._removed(tree, path)
        for place in _units(tree):
            if name in _words(_texts(_at(tree, place))) or place[-1] == name:
                self.names |= {str(place[1])} if place[0] == "distributions" else set()
                tree = _removed(tree, place)
        if name in _words(_texts(_at(tree, ("training",)))):
            tree = _written(tree, ("training",), _INSTEAD["training"])
        return tree


def _missing_key(problem: Diagnostic) -> str:
    """The key that a section has not, where that is the problem."""
    found = _NO_KEY.match(problem.message) if problem.code == "missing-key" else None
    return found[1] if found else ""


_NO_KEY = re.compile(r"`\w+` has no `(\w+)`")
_MISSING = re.compile(r"the spec has no `(\w+)`")


def _path(places: SourceMap, problem: Diagnostic) -> Path:
    """The deepest path whose key or value stands where a problem is."""
    if _MISSING.match(problem.message):
        return ()
    span, found = problem.span, list[Path]([()])
    for spans in (places.keys, places.values):
        for path, place in spans.items():
            same = (place.file, place.line) == (span.file, span.line)
            if same and place.column <= span.column < max(place.end_column, place.column + 1):
                found.append(path)
    return max(found, key=len)


def _unit(path: Path) -> Path:
    """A row, a factor, or an entry of another section."""
    deep = {"networks": 4, "distributions": 3}.get(str(path[0]), 2) if path else 0
    deep = 3 if path[:2] == ("training", "optimizers") else deep
    return path[:deep]


def _units(tree: Table) -> list[Path]:
    """Factors or aliases, games, terms, settings of networks and distributions."""
    found: list[Path] = []
    for section in ("distributions", "games", "terms"):
        for name, value in _entries(tree, (section,)).items():
            factors = [(section, name, text) for text in _entries(tree, (section, name))]
            found += factors if section == "distributions" and isinstance(value.value, Table) else [(section, name)]
    for section in ("optimizers", "ema", "batch_size"):
        found += [("training", section, name) for name in _entries(tree, ("training", section))]
    return [*found, *(("evaluation", name) for name in _entries(tree, ("evaluation",)))]


def _entries(tree: Table, path: Path) -> Mapping[str, Entry]:
    node = _at(tree, path)
    return node.entries if isinstance(node, Table) else {}


def _at(node: Node | None, path: Path) -> Node | None:
    for step in path:
        if isinstance(node, Table):
            entry = node.entries.get(str(step))
            node = None if entry is None else entry.value
        elif isinstance(node, Items) and isinstance(step, int) and step < len(node.values):
            node = node.values[step]
        else:
            return None
    return node


def _texts(node: Node | None) -> Iterable[str]:
    """Every key and every text of a node."""
    if isinstance(node, Scalar):
        yield str(node.value)
    elif isinstance(node, Items):
        for value in node.values:
            yield from _texts(value)
    elif isinstance(node, Table):
        for name, entry in node.entries.items():
            yield name
            yield from _texts(entry.value)


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"[A-Za-z]\w*", text)}


def _removed(tree: Table, path: Path) -> Table:
    """Without what stands at a path; of a list without the whole list."""
    if not path or isinstance(_at(tree, path[:-1]), Items):
        return _removed(tree, path[:-1]) if path else tree
    if path[-1] not in _entries(tree, path[:-1]):
        return tree
    return _changed(tree, path, None)


def _written(tree: Table, path: Path, text: str) -> Table:
    """With another value at a path, where the old one stood."""
    old = _at(tree, path)
    node, _ = parse(text, "")
    assert node is not None
    span = tree.span if old is None else old.span
    return tree if old is not None and plain(old) == plain(node) else _changed(tree, path, _moved(node, span))


def _moved(node: Node, span: object) -> Node:
    """A node all of which stands in one place."""
    if isinstance(node, Table):
        entries = {name: Entry(span, _moved(entry.value, span)) for name, entry in node.entries.items()}  # type: ignore[arg-type]
        return Table(entries, span)  # type: ignore[arg-type]
    if isinstance(node, Items):
        return Items(tuple(_moved(value, span) for value in node.values), span)  # type: ignore[arg-type]
    return replace(node, span=span)  # type: ignore[arg-type]


def _changed(tree: Table, path: Path, value: Node | None) -> Table:
    name, *rest = map(str, path)
    entries = dict(tree.entries)
    entry = entries.get(name)
    if rest:
        if entry is None or not isinstance(entry.value, Table):
            return tree
        entries[name] = replace(entry, value=_changed(entry.value, tuple(rest), value))
    elif value is None:
        del entries[name]
    else:
        entries[name] = Entry(tree.span if entry is None else entry.key_span, value)
    return Table(entries, tree.span)
