"""A YAML parser's error -> one plain sentence at its place; the parser's own words never pass.

`SENTENCES` holds every error that PyYAML's scanner and parser can raise.
"""

import re
from collections.abc import Sequence

import yaml

from ammgraph.diagnostics import Diagnostic, Note, Span

_SEE_LINE = "see line"  # the hint depends on the line
# pattern of the parser's "context: problem" -> sentence, hint; the first that matches counts
SENTENCES: dict[str, tuple[str, str]] = {
    r"found character '\\t' that cannot start": ("a tab cannot indent or separate", "write spaces"),
    r"found character .* that cannot start": ("a value cannot begin with this character", "quotes make it a text"),
    r"could not find expected ':'": ("a line is neither `key: value` nor part of a value", "is a `:` missing?"),
    r"mapping values are not allowed": ("a `:` stands where no key can be", _SEE_LINE),
    r"mapping keys are not allowed": ("a `?` stands where no key can be", "a text that begins with `? ` needs quotes"),
    r"sequence entries are not allowed": (
        "a `-` stands where no list can begin",
        "a list's first `-` needs a line of its own",
    ),
    r"expected ',' or '\]'": (
        "a `[` is not closed with `]`, or a comma is missing",
        "a text with `,`, `[`, `{` or `: ` in a list needs quotes",
    ),
    r"expected ',' or '\}'": (
        "a `{` is not closed with `}`, or a comma is missing",
        "a text with `,`, `[`, `{` or `: ` in braces needs quotes",
    ),
    r"expected the node content": (
        "a value is missing here",
        "a text that begins with `,`, `]`, `}` or `?` needs quotes",
    ),
    r"expected <block end>, but found ':'": ("a `:` has no key before it", ""),
    r"expected <block end>, but found '(\?|<block|-)": (
        "this line's indentation fits no line above",
        "entries of one mapping or list begin in one column",
    ),
    r"expected <block end>": (
        "the value has ended before this",
        "a text with quotes, braces or brackets inside needs quotes around all of it",
    ),
    r"expected '<document start>'": ("the document has ended before this", "a spec is one mapping of sections"),
    r"unexpected (end of stream|document separator)": ("a quoted text is not closed", "the closing quote is missing"),
    r"unknown escape|quoted scalar: expected escape": (
        "an escape in a quoted text is wrong",
        "in double quotes `\\` begins an escape; single quotes have none",
    ),
    r"directive|incompatible YAML|duplicate tag handle": (
        "a `%` directive is not part of a spec's YAML",
        "take the line away",
    ),
    r"ing a (tag|node):": ("a tag is not part of a spec's YAML", "a text that begins with `!` needs quotes"),
    r"an (alias|anchor):": (
        "`&` and `*` are not part of a spec's YAML",
        "a text that begins with `&` or `*` needs quotes",
    ),
    r"block scalar": (
        "after `|` or `>` the text begins on the next line",
        "a text that begins with `|` or `>` needs quotes",
    ),
}
# what a note calls that which the parser was reading
_OPENED = {
    "flow sequence": "the list begins here",
    "flow mapping": "the mapping begins here",
    "quoted scalar": "the text begins here",
}


def in_plain_words(error: yaml.MarkedYAMLError, lines: Sequence[str], file: str) -> Diagnostic:
    """The diagnostic of a parser's error, with a note at what is still open."""
    context = error.context or ""
    matching = (words for pattern, words in SENTENCES.items() if re.search(pattern, f"{context}: {error.problem}"))
    sentence, hint = next(matching, ("this is not YAML", ""))
    span = _span(error.problem_mark or error.context_mark, lines, file)
    opened = next((text for word, text in _OPENED.items() if word in context), None)
    place = _span(error.context_mark, lines, file)
    notes = (Note(opened, place),) if opened is not None and place != span else ()
    hint = _about_colon(span, lines) if hint == _SEE_LINE else hint
    return Diagnostic("yaml-syntax", sentence, span, hint=hint, notes=notes)


def _about_colon(span: Span, lines: Sequence[str]) -> str:
    if ": " in lines[span.line - 1][: span.column - 1]:
        return "a text with `: ` needs quotes; a nested key needs a line of its own"
    return "this line is indented too far, or the line above lacks its `:`"


def _span(mark: yaml.Mark | None, lines: Sequence[str], file: str) -> Span:
    if mark is None:
        return Span(file, 1, 1, 2)
    line, column = mark.line, mark.column
    if line == len(lines) - 1 and not lines[line].strip():  # the end of the file: show its last line
        line = max((index for index, text in enumerate(lines) if text.strip()), default=0)
        column = len(lines[line].rstrip())
    return Span(file, line + 1, column + 1, column + 2)
