"""pydantic's errors -> diagnostics in the spec's words, at the key or the value that they mean.

`SENTENCES` and the codes of `schema.problem` are all that can be met; pydantic's own wording never passes.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from ammgraph.diagnostics import CODES, MOST_PROBLEMS, Diagnostic, Note, alternatives, did_you_mean, nearest
from ammgraph.spec.examples import example_at, flow
from ammgraph.spec.merge import OVERRIDES
from ammgraph.spec.said import hint_of_objective, hint_of_section, hint_of_word
from ammgraph.spec.source import Path, SourceMap
from ammgraph.spec.values import describe

_KINDS = ("type", "name")  # keys that say of which kind a variable or an optimizer is


def diagnostics_of(error: ValidationError, data: object, source: SourceMap) -> list[Diagnostic]:
    """The diagnostics of a validation that failed on `data`."""
    lines = [line for line in error.errors(include_url=False) if not _is_echo(line)]
    return [_diagnostic(line, data, source) for line in lines[: MOST_PROBLEMS + 1]]


def _is_echo(line: Mapping[str, Any]) -> bool:
    """Whether pydantic calls a list too short only because its entries are wrong, which has been said."""
    return line["type"] == "too_short" and bool(line["input"])


def _diagnostic(line: Mapping[str, Any], data: object, source: SourceMap) -> Diagnostic:
    kind, context = line["type"], line.get("ctx", {})
    path = written_path((*line["loc"], *context.get("at", ())), data)
    if kind in CODES:
        return _of_problem(line, path, source)
    return SENTENCES[kind](path, line, source)


def written_path(loc: Path, data: object) -> Path:
    """The part of pydantic's `loc` that was written: tags of unions are left out, and so is a key that is missing."""
    path: list[str | int] = []
    for step in loc:
        if isinstance(data, list):
            data = dict(enumerate(data))
        if isinstance(data, dict) and step in data:
            data = data[step]
            path.append(step)
    return tuple(path)


def _of_problem(line: Mapping[str, Any], path: Path, source: SourceMap) -> Diagnostic:
    code, context = line["type"], line["ctx"]
    span = source.value(*path)
    if "end" in context:
        span = source.within(*path, start=context.get("start", 0), end=context["end"])
    if context.get("stands_at") == "key":
        span = source.key(*path)
    hint = context.get("hint", "")
    if "valid" in context:
        near = nearest(context["name"], context["valid"])
        listed = "" if context.get("expected") else did_you_mean(context["name"], context["valid"])
        hint = near or hint or listed
    if code == "unknown-key":
        hint = "; ".join(filter(None, (_inherited(path, source), hint)))
    message = context["message"].replace("{place}", called(path))
    found = context.get("found", describe(line["input"]) if code == "wrong-type" else "")
    return Diagnostic(code, message, span, found, context.get("expected", ""), hint)


def _inherited(path: Path, source: SourceMap) -> str:
    """How a key is taken away that an extended spec wrote for another kind than the one written later beside it."""
    files = [file for file in source.texts if file != OVERRIDES]
    order = {OVERRIDES: -1} | {file: place for place, file in enumerate(files)}  # from the last written to the first
    kinds = [span.file for key, span in source.keys.items() if key[:-1] == path[:-1] and key[-1] in _KINDS]
    if not kinds or order[kinds[0]] >= order[source.key(*path).file]:
        return ""
    written = f"`--set {'.'.join(map(str, path))}=null`" if kinds[0] == OVERRIDES else f"`{path[-1]}: null`"
    return f"it is inherited, and {written} takes it away"


def called(path: Path) -> str:
    """What a message calls the value at a path: its key, or its number in a list."""
    if not path:
        return "the spec"
    if isinstance(path[-1], int):
        return f"entry {path[-1] + 1} of {called(path[:-1])}"
    return f"`{path[-1]}`"


def _missing(path: Path, line: Mapping[str, Any], source: SourceMap) -> Diagnostic:
    place, inherited = source.key(*path), source.replaced.get(path)
    if inherited is None:
        hint = _other_data_sets(path, source) if line["loc"][-1] == "dataset" and place.file == OVERRIDES else ""
        return Diagnostic("missing-key", f"{called(path)} has no `{line['loc'][-1]}`", place, hint=hint)
    return Diagnostic(
        "missing-key",
        f"{called(path)} has no `{line['loc'][-1]}`",
        place,
        hint="it takes the place of the inherited one as a whole: write all of it; "
        "`--set` changes one of its values for a run",
        notes=(Note(f"the inherited {called(path)} stands here", inherited),),
    )


def _other_data_sets(path: Path, source: SourceMap) -> str:
    """Which data sets there are beside the one that `--set` names."""
    others = [str(key[1]) for key in source.keys if key[:-1] == path[:-1] == ("data",) and key != path]
    return did_you_mean(str(path[-1]), others)


def _no_tag(path: Path, line: Mapping[str, Any], source: SourceMap) -> Diagnostic:
    key = line["ctx"]["discriminator"].strip("'")
    return Diagnostic("missing-key", f"{called(path)} has no `{key}`", source.key(*path))


def _unknown_tag(path: Path, line: Mapping[str, Any], source: SourceMap) -> Diagnostic:
    key = line["ctx"]["discriminator"].strip("'")
    valid = _quoted(line["ctx"]["expected_tags"])
    return _unknown_value((*path, key), line["ctx"]["tag"], valid, source)


def _no_literal(path: Path, line: Mapping[str, Any], source: SourceMap) -> Diagnostic:
    return _unknown_value(path, line["input"], _quoted(line["ctx"]["expected"]), source)


def _unknown_value(path: Path, value: object, valid: list[str], source: SourceMap) -> Diagnostic:
    found = describe(value)
    hint = _meant(path, value, valid) if isinstance(value, str) else ""
    if isinstance(value, list) and path[-1] == "dataset":
        hint = "several data sets have names, `data: {a: {dataset: ...}, b: {dataset: ...}}`"
    return Diagnostic(
        "unknown-value",
        f"{called(path)} cannot be {found}",
        source.value(*path),
        expected=alternatives(valid),
        hint=hint,
    )


def _meant(path: Path, value: str, valid: list[str]) -> str:
    """What a word may mean that is none of the valid ones."""
    game = hint_of_objective(value) if path[-1] == "objective" else ""
    return (
        hint_of_word(str(path[-1]), value)
        or nearest(value, valid)
        or "; where there is no discriminator, ".join(filter(None, (game, hint_of_section(value))))
    )


def _quoted(text: str) -> list[str]:
    """The words of pydantic's `'a', 'b' or 'c'`; a number has no quotes there."""
    return [quoted or number for quoted, number in re.findall(r"'([^']*)'|(\d+)", text)]


def _is_no(what: str, hint: str = "") -> Callable[[Path, Mapping[str, Any], SourceMap], Diagnostic]:
    def wrong_type(path: Path, line: Mapping[str, Any], source: SourceMap) -> Diagnostic:
        message, example = f"{called(path)} is not {what}", example_at(path)
        expected = f"{what}, as `{flow(example)}`" if example is not None and describe(example) == what else ""
        return Diagnostic("wrong-type", message, source.value(*path), describe(line["input"]), expected, hint)

    return wrong_type


def _bound(words: str, key: str) -> Callable[[Path, Mapping[str, Any], SourceMap], Diagnostic]:
    def out_of_range(path: Path, line: Mapping[str, Any], source: SourceMap) -> Diagnostic:
        message, bound = f"{called(path)} is out of range", f"{line['ctx'][key]:.12g}"
        return Diagnostic("out-of-range", message, source.value(*path), describe(line["input"]), f"{words} {bound}")

    return out_of_range


def _empty(path: Path, line: Mapping[str, Any], source: SourceMap) -> Diagnostic:
    return Diagnostic("out-of-range", f"{called(path)} is empty", source.value(*path), expected="at least one entry")


def _no_text(path: Path, line: Mapping[str, Any], source: SourceMap) -> Diagnostic:
    return Diagnostic("out-of-range", f"{called(path)} is an empty text", source.value(*path))


SENTENCES: Mapping[str, Callable[[Path, Mapping[str, Any], SourceMap], Diagnostic]] = {
    "missing": _missing,
    "union_tag_not_found": _no_tag,
    "union_tag_invalid": _unknown_tag,
    "literal_error": _no_literal,
    "model_type": _is_no("a mapping"),
    "model_attributes_type": _is_no("a mapping"),
    "dict_type": _is_no("a mapping"),
    "tuple_type": _is_no("a list"),
    "string_type": _is_no("a text", hint="quotes make a text of a number"),
    "bool_type": _is_no("`true` or `false`", hint="YAML 1.2 knows these two, without quotes"),
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "too_short": _empty,
    "string_too_short": _no_text,
}
