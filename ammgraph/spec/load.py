"""A file and overrides -> `Spec`, or a `SpecError` with every problem of the first stage that found any.

The stages: YAML, merging, names and factors, constants, schema.
"""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ammgraph.diagnostics import stop_if
from ammgraph.folders import SPEC
from ammgraph.spec.data import names_of
from ammgraph.spec.merge import merge, read_chain
from ammgraph.spec.names import canonical_factors, check_names, constant_values, table_at
from ammgraph.spec.schema import Spec
from ammgraph.spec.shipped import spec_path
from ammgraph.spec.source import Entry, Scalar, Table, plain, source_map
from ammgraph.spec.translate import diagnostics_of

OF_EVERY_KIND = ("learning_rate",)  # what an optimizer takes from the default though it is of another kind


def load_spec(
    source: str | os.PathLike[str] | Mapping[str, Any], overrides: Sequence[str] = (), *, allow_outside: bool = False
) -> Spec:
    """The spec in a file, with what it extends merged in and overrides (`a.b=VALUE`) written last.

    Args:
        source: the file, or the bare name of a spec that ships; or a spec itself, as a text of more than one line or
            as a mapping of what a file would hold. What such a one extends lies in the current folder.
        overrides: as after `--set`.
        allow_outside: whether `extends` may lead out of the file's folder, which a stranger's spec should not.

    Raises:
        SpecError: the spec is wrong; it holds all problems of the first stage that found any.
        TypeError: a mapping holds what no file could; the overrides are one text.
    """
    if isinstance(overrides, str):  # each of its letters would be one
        raise TypeError(f"`overrides` is {overrides[:60]!r}, expected a list of texts, as ['training.epochs=3']")
    if isinstance(source, Mapping):
        return _load(SPEC, overrides, json.dumps(source, indent=1, ensure_ascii=False, default=_plain), False)
    if isinstance(source, str) and "\n" in source:
        return load_text(source, overrides=overrides)
    return _load(spec_path(os.fspath(source)), overrides, None, allow_outside)


def load_text(text: str, file: str = "spec.yaml", overrides: Sequence[str] = ()) -> Spec:
    """The spec in a text, as if it stood in `file`, against which `extends` is resolved."""
    return _load(file, overrides, text, allow_outside=False)


def _plain(value: object) -> object:
    """What a mapping may hold beside what JSON knows: mappings of other types, and numbers of numpy's."""
    if isinstance(value, Mapping):
        return dict(value)
    of_numpy = getattr(value, "tolist", None)
    if of_numpy is not None:
        return of_numpy()
    raise TypeError(f"a spec holds mappings, lists, texts and numbers, not {type(value).__name__}: {value!r:.60}")


def _load(file: str, overrides: Sequence[str], text: str | None, allow_outside: bool) -> Spec:
    written, problems = read_chain(file, overrides, text, allow_outside)
    texts = written.texts
    stop_if(problems, texts)
    tree, problems = merge(written)
    stop_if(problems, texts)
    return load_tree(tree, texts)


def load_tree(merged: Table, texts: Mapping[str, str]) -> Spec:
    """The spec of a tree with what it extends merged in.

    Raises:
        SpecError: it is none; with the tree, which tells more when what is wrong is mended.
    """
    tree, problems = canonical_factors(merged, texts)
    problems += check_names(tree)
    stop_if(problems, texts, merged)
    constants, problems = constant_values(tree, texts)
    stop_if(problems, texts, merged)
    resolved = _with_default_optimizer(tree)
    source = source_map(resolved, texts)
    data = plain(resolved)
    try:
        context = {"constants": constants, "data_sets": names_of(data.get("data"))}
        spec = Spec.model_validate(data, context=context)
    except ValidationError as error:
        stop_if(diagnostics_of(error, data, source), texts, merged)
        raise
    spec._source = source
    spec._tree = merged
    spec._written = plain(tree)
    spec._used_constants = frozenset(constants.used)
    return spec


def _with_default_optimizer(tree: Table) -> Table:
    """Each optimizer with the keys of `default` that it does not write; of another kind with its rate alone."""
    optimizers = table_at(tree, "training", "optimizers")
    default = table_at(optimizers, "default")
    if not default.entries:
        return tree
    entries = {name: _over(default, entry) for name, entry in optimizers.entries.items()}
    training = tree.entries["training"]
    assert isinstance(training.value, Table)
    section = Entry(training.value.entries["optimizers"].key_span, Table(entries, optimizers.span))
    table = Table({**training.value.entries, "optimizers": section}, training.value.span)
    return Table({**tree.entries, "training": Entry(training.key_span, table)}, tree.span)


def _over(default: Table, entry: Entry) -> Entry:
    if not isinstance(entry.value, Table):
        return entry
    same = _kind(entry.value) in (None, _kind(default))
    common = {key: value for key, value in default.entries.items() if same or key in OF_EVERY_KIND}
    return Entry(entry.key_span, Table({**common, **entry.value.entries}, entry.value.span))


def _kind(optimizer: Table) -> object:
    entry = optimizer.entries.get("name")
    return entry.value.value if entry is not None and isinstance(entry.value, Scalar) else None
