"""What is wrong with a spec or a run, where, and what to do about it.

A `Diagnostic` is data; `render` is its one text form. Rules yield diagnostics, a stage collects all it can see, and
`SpecError` carries them out. This module imports nothing of ammgraph.
"""

import difflib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

# What each code means, for `ammgraph explain`.
CODES: dict[str, str] = {
    # YAML
    "unreadable-spec": "The file does not exist, is empty, is too large or is not text in UTF-8.",
    "yaml-syntax": "The text is not YAML.",
    "yaml-feature": "A spec has text as keys, and no anchors, aliases, tags, merge keys, directives or more documents.",
    "duplicate-key": "A key stands twice in one mapping; YAML would silently keep the last.",
    "empty-value": "A key has nothing after its colon; what removes an inherited value is a written `null`.",
    "split-by-comma": "In `{...}` and `[...]` a comma ends a text, also between parentheses; quotes prevent it.",
    # extends and --set
    "extends": "The spec named by `extends` cannot be read, or extends the spec that names it.",
    "nothing-to-remove": "A `null` removes an inherited value, but none is inherited.",
    "bad-override": "A `--set` is not `path=value`, or its path does not lead through mappings.",
    # names and notation
    "bad-name": "A name is a letter followed by letters, digits and `_`, and no word of the language.",
    "name-clash": "One name means two things: distributions and networks, games and terms, constants and variables.",
    "notation": "A text is not in the notation of factors, references, inputs, sides, terms or arithmetic.",
    "duplicate-factor": "A factor stands twice in one distribution; order and spaces make no difference.",
    "wrong-head": "The letter of a factor is its distribution's name up to the first `_`.",
    "bad-alias": "A distribution given as a name is another draw of a distribution that has factors of its own.",
    # the schema
    "unknown-key": "A key means nothing at this place.",
    "missing-key": "A key that has no default is not written.",
    "conflicting-keys": "Keys that exclude each other are both written.",
    "wrong-type": "A value is of another kind than its place asks for: a list for a number, a text for a mapping.",
    "unknown-value": "A word is none of those that its place knows.",
    "out-of-range": "A number, an interval or a list is smaller or larger than its place allows.",
    # layer tables
    "row-cycle": "Rows of a table read each other in a circle, so that none can be computed first.",
    "not-a-layer": "A layer has channels, and a width or an `op` without one; a stride or a bias goes with weights.",
    "unknown-name": "A row, a call or a setting names something that is not there.",
    "shape-mismatch": "Shapes that must be equal differ; only a vector, Cx1x1, is repeated over height and width.",
    "channels-mismatch": "A row without width and op has its input's channels; groups of `lse` and `max` divide them.",
    "kernel-mismatch": "A kernel, its stride and its padding leave no output position, or see padding alone.",
    "pool-mismatch": "The windows of a pooling do not overlap and must tile their input.",
    # distributions
    "unknown-variable": "A factor or a call names a variable that is not declared.",
    "unknown-network": "A network is named that is not declared.",
    "unknown-row": "A network has no row of that name.",
    "unknown-distribution": "A distribution is named that is not declared.",
    "variable-drawn-twice": "A distribution has one factor for each of its variables, and each row is one variable.",
    "factor-cycle": "Factors, or distributions, depend on each other in a circle, so that none can be drawn first.",
    "missing-factor": "A distribution that is drawn has a factor for every variable that is read or conditioned on.",
    "condition-mismatch": "The conditions of a factor are exactly the variables that its row reads.",
    "row-is-no-variable": "A row named like a variable is that variable; the row that draws a variable has its name.",
    "bad-binding": "A call binds each name that its row reads once, and never the row that it draws.",
    "wrong-origin": "What draws a factor cannot draw it: its variables or its conditions are others.",
    "no-labels": "Labelled examples are used, and `data.labeled` declares none.",
    "unknown-data-set": "A factor is drawn by a data set that is not there, or by none of several.",
    "data-mismatch": "A variable that data gives has another type, shape or number of classes than the data.",
    "prior-mismatch": "A prior is on another kind of variable, or its numbers do not fit the variable.",
    "batch-mismatch": "Samples that are paired example by example come from batches of different sizes.",
    # terms
    "unknown-factor": "A term names a factor that its distribution does not have.",
    "no-density": "A term scores a factor that has no density: of data, of a deterministic row, of a flat prior.",
    "impossible-term": "A term asks for what has no closed form, compares two kinds, or draws what it can only score.",
    "impossible-enumeration": "A variable that has every value is a category, sampled nowhere, and has probabilities.",
    "needs-expectation": "A term does not say at whose samples a factor or a value is taken: an `E[...]` is missing.",
    # games and training
    "unknown-game": "A game is named that is not declared.",
    "unknown-term": "A term is named that is not declared.",
    "no-objective": "There are neither games nor terms, so that nothing would be minimised.",
    "impossible-game": "A game has two different sides, a logit that reads a variable, and for eq. 18 paired examples.",
    "no-gradient": "A network is to be trained, and no gradient of a game or a term reaches it.",
    "impossible-schedule": "A turn updates each network once, and shares a draw only with a turn that drew it.",
    "impossible-phase": "A phase trains for some epochs or steps, or says what is fitted between two that train.",
    "impossible-fit": "What is fitted is normal given one category, by layers of it, to values inferred from images.",
    "unused": "A row, network, variable or distribution serves nothing.",
    "too-large": "A step or an evaluation takes more memory than any machine has, or a step too many parts to plan.",
    # warnings
    "no-data": "A step of training reads nothing of the data: what is learned would be of noise alone.",
    "no-effect": "What is written changes nothing: without it the model would train and be evaluated as it does.",
    "uneven-game": "A game's sides do not weigh 1 each, nobody plays it, or two games ask for opposite answers.",
    "suspicious-sign": "A log density is minimised, so that what is likely becomes unlikely: a minus is missing.",
    "support-mismatch": "The values of the two sides differ so plainly that a discriminator tells them at once.",
}
MOST_PROBLEMS = 50  # told at once; a spec made to be slow has no more time than it takes to find these
_LONGEST_TEXT, _LONGEST_LINE = 500, 240  # characters shown of a message and of a line
_FEW = 16  # names that a hint tells all of, as the columns of a row
_LONGEST_COMPARED, _MOST_COMPARED = 100, 20  # what takes part in the search of the nearest name, whose work is a square
WARNINGS = ("no-data", "no-effect", "uneven-game", "suspicious-sign", "support-mismatch")  # told, but no error


@dataclass(frozen=True, order=True)
class Span:
    """Part of one line of a source: columns [column, end_column), all counted from 1."""

    file: str
    line: int
    column: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Note:
    """A second place that explains a diagnostic."""

    message: str
    span: Span


@dataclass(frozen=True)
class Diagnostic:
    """One problem: a stable kebab-case code, one sentence in the spec's words, and the place."""

    code: str
    message: str
    span: Span
    found: str = ""
    expected: str = ""
    hint: str = ""
    notes: tuple[Note, ...] = ()


class SpecError(Exception):
    """A spec that is not a model: problems by position, at most `MOST_PROBLEMS`.

    `rest` is the spec's tree, as it was written, where what is wrong is no problem of its YAML.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], rest: object = None) -> None:
        unique = dict.fromkeys(diagnostics)
        found = sorted(unique, key=lambda diagnostic: (diagnostic.span, diagnostic.code))
        self.diagnostics = tuple(found[:MOST_PROBLEMS])
        self.sources, self.rest = dict(sources), rest
        texts = [render(diagnostic, self.sources) for diagnostic in self.diagnostics]
        texts += [f"there are more problems than these {MOST_PROBLEMS}"] if len(found) > MOST_PROBLEMS else []
        super().__init__("\n\n".join(texts))


class Problems(list[Diagnostic]):
    """The problems of a stage, which ends at once where there are more than anyone reads."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        super().__init__()
        self.sources = sources

    def append(self, found: Diagnostic) -> None:
        """One more.

        Raises:
            SpecError: it is one too many.
        """
        super().append(found)
        if len(self) > MOST_PROBLEMS:
            raise SpecError(self, self.sources)

    def __iadd__(self, found: Iterable[Diagnostic]) -> Self:  # type: ignore[override, misc]
        for problem in found:
            self.append(problem)
        return self


class RunError(Exception):
    """A run that cannot start or go on: what happened and what to do, in a sentence or two; details on their lines."""

    def __init__(self, message: str = "", details: Iterable[str] = ()) -> None:
        self.details = tuple(details)
        super().__init__(message)

    @property
    def lines(self) -> tuple[str, ...]:
        """The message and, indented, each of the details."""
        return (super().__str__(), *(f"  {detail}".rstrip() for detail in self.details))

    def __str__(self) -> str:
        return "\n".join(self.lines)


def stop_if(problems: Sequence[Diagnostic], sources: Mapping[str, str], rest: object = None) -> None:
    """Raise `SpecError` if a stage found problems: the border between two stages."""
    if problems:
        raise SpecError(problems, sources, rest)


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A hint from the names valid at that place: the nearest one, or all of them where there are few, or nothing."""
    names = list(dict.fromkeys(valid))
    if near := nearest(name, names):
        return near
    if 0 < len(names) <= _FEW:
        return "valid here: " + ", ".join(f"`{valid_name}`" for valid_name in names)
    return ""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint with the valid name that is nearest, whatever its case, or nothing where none is near."""
    names = [candidate for candidate in valid if len(candidate) <= _LONGEST_COMPARED]
    if len(name) > _LONGEST_COMPARED:
        return ""
    spelt = {other.casefold(): other for other in reversed(names)}
    small, wanted = list(reversed(spelt)), name.casefold()
    if len(small) > _MOST_COMPARED and wanted not in spelt:
        matcher = difflib.SequenceMatcher(b=wanted)
        small = heapq.nlargest(_MOST_COMPARED, small, key=lambda candidate: _bound_of_ratio(matcher, candidate))
    near = [wanted] if wanted in spelt else difflib.get_close_matches(wanted, small, n=1, cutoff=0.6)
    return f"did you mean `{spelt[near[0]]}`?" if near else ""


def _bound_of_ratio(matcher: difflib.SequenceMatcher[str], candidate: str) -> float:
    """At least the ratio that difflib finds, and cheap: the letters that both have, in whatever order."""
    matcher.set_seq1(candidate)
    return matcher.quick_ratio()


def render(diagnostic: Diagnostic, sources: Mapping[str, str]) -> str:
    """The text of a diagnostic: code, message, place, the line verbatim with carets, found, expected, hint, notes."""
    severity = "warning" if diagnostic.code in WARNINGS else "error"
    lines = [f"{severity}[{diagnostic.code}]: {_clipped(diagnostic.message)}", *_excerpt(diagnostic.span, sources)]
    for label in ("found", "expected", "hint"):
        text = getattr(diagnostic, label)
        if text:
            lines.append(f"   = {label}: {_clipped(text)}")
    for note in diagnostic.notes:
        lines += [f"note: {note.message}", *_excerpt(note.span, sources)]
    return "\n".join(lines)


def as_json(diagnostic: Diagnostic) -> dict[str, object]:
    """A diagnostic as plain data, for `--format json`."""
    return asdict(diagnostic)


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."


def _excerpt(span: Span, sources: Mapping[str, str]) -> list[str]:
    lines = sources.get(span.file, "").split("\n")
    if not 1 <= span.line <= len(lines):
        return [f"  --> {span}"]
    text = lines[span.line - 1].rstrip("\r")
    gutter = len(str(span.line))
    start = min(span.column, len(text) + 1)
    end = min(span.end_column, len(text) + 1)
    if len(text) > _LONGEST_LINE:
        cut = max(0, start - 1 - _LONGEST_LINE // 3)
        text = text[cut : cut + _LONGEST_LINE]
        start, end = start - cut, min(end - cut, len(text) + 1)
    carets = "^" * max(1, end - start)
    # A tab stays a tab, so that the carets stand under what they mean.
    indent = "".join("\t" if character == "\t" else " " for character in text[: start - 1])
    return [
        f"{' ' * gutter} --> {span}",
        f"{' ' * gutter}  |",
        f"{span.line:>{gutter}}  | {text}",
        f"{' ' * gutter}  | {indent}{carets}",
    ]


def alternatives(words: Iterable[str]) -> str:
    """`a`, `b` or `c`: what may stand in one place, each as code."""
    *others, last = [f"`{word}`" for word in words]
    return " or ".join(filter(None, [", ".join(others), last]))


def counted(count: int, noun: str) -> str:
    """`1 image`, `1,000 images`, `10 classes`, `2 categories`."""
    ending = "" if count == 1 else "es" if noun.endswith("s") else "s"
    return f"{count:,} {f'{noun[:-1]}ies' if ending and noun.endswith('y') else noun + ending}"


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python, numpy, torch or CUDA raised this for want of memory; torch's CPU says so in words alone."""
    words = ("DefaultCPUAllocator", "not enough memory", "out of memory", "Cannot allocate memory")
    return isinstance(error, MemoryError) or any(word in f"{type(error).__name__} {error}" for word in words)
