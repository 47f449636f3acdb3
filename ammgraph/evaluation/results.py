"""What an evaluation found, as data: `Result`, `Evaluation`, and `evaluation.json` to and fro. Knows no model.

Every number stands with what it is a number of: the rule that decided, the protocol, and on how many examples of what.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ammgraph import __version__
from ammgraph.diagnostics import RunError, counted, nearest
from ammgraph.folders import EVALUATION
from ammgraph.runs import files, record
from ammgraph.spec.measures import MEASURES, first_protocol, words
from ammgraph.spec.notebook import html_block, html_table
from ammgraph.terminal import one_line

FORMAT = 1

# What the split names mean in a sentence.
SPLITS = {"train": "training", "validation": "validation", "test": "test"}

# What a file that a stranger wrote may say.
SplitName = Annotated[str, Field(pattern="^(train|validation|test)$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(ge=-record.LARGEST, le=record.LARGEST)]


@dataclass(frozen=True)
class _Form:
    """What every version of `evaluation.json` has."""

    format: int


@dataclass(frozen=True)
class Result:
    """One number, or one number for each component, with its protocol.

    Args:
        name: of the measure: `clustering_error`, `nmi`, `reconstruction_error`, `FID(classifier)`, ...
        variable: what it is about: `y`, `x`, `z`.
        rule: what decided for a cluster or a class: `posterior`, q(y|x); `bayes`, eq. 19; `k-means`; empty elsewhere.
        by: the rule or the source in the spec's notation, as in `q(y|x)`.
        protocol: `one-to-one`, `majority`, `exemplar` for clusters; elsewhere what one must know beside the name.
        value: a fraction, nats, ...: see `unit`. None where it is not finite.
        unit: `fraction`, `nats`, `components`, ...
        examples: how many it was measured on.
        split: which they were: `train`, `validation`, `test`.
        fitted_on: the split on which an assignment of clusters to classes was fitted.
        fitted_examples: how many these were.
        std: standard deviation over subsets, where the measure has one.
        part: of the evaluation: `model`, `baseline` or `quality` of samples.
        assignment: the class that each cluster stands for, or -1, where clusters were assigned.
        void: why there is no value, where the examples could not give one.
        example: what was measured on: an `image` or a `vector`.
    """

    name: str
    variable: str
    value: Number | tuple[Number, ...] | None
    unit: str
    examples: Count
    split: SplitName
    rule: str = ""
    by: str = ""
    protocol: str = ""
    fitted_on: SplitName | Literal[""] = ""
    fitted_examples: Count = 0
    std: Number | None = None
    part: str = "model"
    assignment: tuple[int, ...] = ()
    void: str = ""
    example: Literal["image", "vector"] = "image"

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same measurement in two evaluations."""
        return self.split, self.variable, self.rule, self.by, self.name, self.protocol, self.fitted_on

    @property
    def measure(self) -> str:
        """The measure in words: `mean image error`, of a model of vectors `mean vector error`."""
        return words(self.name).replace("image", self.example)

    @property
    def label(self) -> str:
        """What was measured: `clustering error of y, one-to-one, fitted on validation images`."""
        parts = [f"{self.measure} of {self.variable}"]
        if self.protocol and (self.rule or self.part == "quality"):
            parts.append(self.protocol)
        if self.fitted_on not in ("", self.split):
            parts.append(f"fitted on {SPLITS[self.fitted_on]} {self.example}s")
        return ", ".join(parts)

    @property
    def on(self) -> str:
        """What it was measured on: `197 test images`."""
        return counted(self.examples, f"{SPLITS[self.split]} {self.example}")

    @property
    def fitted(self) -> str:
        """What an assignment was fitted on; empty where there is none."""
        return counted(self.fitted_examples, f"{SPLITS[self.fitted_on]} {self.example}") if self.fitted_on else ""

    @property
    def shown(self) -> str:
        """The value as a person reads it: fractions in percent."""
        if self.value is None:
            return "void" if self.void else "-"
        spread = "" if self.std is None else f" +- {number(self.std, self.unit)}"
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        unit = " %" if self.unit == "fraction" else "" if self.unit in ("", "count") else f" {self.unit}"
        return " ".join(number(value, self.unit) for value in values) + spread + unit


@dataclass(frozen=True)
class Common:
    """What all results of one rule for one variable on one split share."""

    variable: str
    rule: str
    by: str
    split: str
    examples: int

    def result(
        self, name: str, value: float | tuple[float, ...], protocol: str = "", fitted: tuple[str, int] = ("", 0)
    ) -> Result:
        """A number by its measure's name; `fitted` on so many examples of a split."""
        return Result(
            name=name,
            variable=self.variable,
            value=value if isinstance(value, tuple) else finite(value),
            unit=MEASURES[name].unit,
            examples=self.examples,
            split=self.split,
            rule=self.rule,
            by=self.by,
            protocol=protocol or MEASURES[name].protocol,
            fitted_on=fitted[0],
            fitted_examples=fitted[1],
        )


def number(value: float | None, unit: str) -> str:
    """A value of a unit as text, without the unit; fractions in percent."""
    if value is None:
        return "-"
    if unit == "fraction":
        return f"{100 * value:.2f}"
    return f"{value:g}" if unit in ("components", "count") else f"{value:.4g}"


@dataclass(frozen=True)
class Evaluation:
    """Everything that was found out about one state of one run."""

    title: str
    run: str
    plan: str  # the plan's hash: equal for runs of the same model
    seed: Count
    step: Count
    weights: str
    data: str
    split: SplitName  # what was scored last
    results: tuple[Result, ...]
    classes: tuple[str, ...] = ()
    data_sha256: Mapping[str, str] | None = None  # of every split; None where it was not recorded
    own_classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of variables that tell of others

    def __str__(self) -> str:
        return "\n".join(map(one_line, lines(self)))

    def _repr_html_(self) -> str:
        rows = [(result.label, _rule(result), result.shown) for result in self.of(self.split)]
        head = (f"{SPLITS[self.split]} {self.results[0].example}s" if self.results else "", "by", f"step {self.step:,}")
        return html_block(self.title, [html_table(head, rows)])

    def classes_of(self, variable: str) -> tuple[str, ...]:
        """The names of the classes that a category is compared with."""
        return self.own_classes.get(variable, self.classes)

    def protocol_of(self, variable: str) -> str:
        """By which assignment to classes the error of a category is told first."""
        components = (len(result.assignment) for result in self.results if result.variable == variable)
        return first_protocol(max(components, default=0), len(self.classes_of(variable)))

    def of(self, split: str) -> tuple[Result, ...]:
        """The results on one split."""
        return tuple(result for result in self.results if result.split == split)

    def find(self, name: str, **wanted: Any) -> Result | None:
        """The first result of that name whose fields are as wanted, of the split that was scored last unless named.

        Args:
            name: of the measure; see `spec.measures.MEASURES`.
            wanted: fields of a `Result`, as `protocol="one-to-one"`.

        Returns:
            None where a known measure was not made, or not so.

        Raises:
            RunError: there is no such measure, or no such field.
        """
        names = list(dict.fromkeys([*(result.name for result in self.results), *MEASURES]))
        if name.partition("(")[0] not in names and name not in names:
            there = dict.fromkeys(result.name for result in self.results)
            hint = nearest(name, names)
            found = ", ".join(f"`{one}`" for one in there) or "nothing"
            raise RunError(f"no measure is named `{name}`; found {found}{f'; {hint}' if hint else ''}")
        known = [each.name for each in fields_of(Result)]
        if wrong := next((name for name in wanted if name not in known), None):
            hint = nearest(wrong, known)
            expected = ", ".join(f"`{one}`" for one in known)
            raise RunError(f"a result has no `{wrong}`, expected {expected}{f'; {hint}' if hint else ''}")
        wanted = {"split": self.split, **wanted}
        matching = (r for r in self.results if r.name == name and all(getattr(r, k) == v for k, v in wanted.items()))
        return next(matching, None)

    def is_on(self, data: str, data_sha256: Mapping[str, str] | None) -> bool:
        """Whether it is about these data: by their fingerprints or, where one has none, by their description."""
        if self.data_sha256 is None or data_sha256 is None:
            return self.data == data
        return dict(self.data_sha256) == dict(data_sha256)

    def same_state(self, other: "Evaluation") -> bool:
        """Whether both are about the same weights and data, so that the results of one are those of the other."""
        names = ("run", "plan", "seed", "step", "weights", "classes", "own_classes")
        same = all(getattr(self, name) == getattr(other, name) for name in names)
        return same and self.is_on(other.data, other.data_sha256)

    def merged(self, before: "Evaluation | None") -> "Evaluation":
        """With what was found earlier about the same state and not measured again."""
        if before is None or not self.same_state(before):
            return self
        groups = {_group(result) for result in self.results}
        kept = tuple(result for result in before.results if _group(result) not in groups)
        return replace(self, results=self.results + kept)


def _group(result: Result) -> tuple[str, ...]:
    """Results that are measured together. Quality by other features is another measurement."""
    return result.split, result.part, result.name if result.part == "quality" else ""


def finite(value: float) -> float | None:
    """The value, or None where JSON has no word for it."""
    return float(value) if math.isfinite(value) else None


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The content of `evaluation.json`."""
    content = {"format": FORMAT, "ammgraph": __version__, **asdict(evaluation)}
    content["results"] = [_compact(result) for result in evaluation.results]
    if not evaluation.own_classes:
        del content["own_classes"]
    return content


def write(folder: Path, evaluation: Evaluation) -> Path:
    """Write `evaluation.json` of a run, whole or not at all.

    Raises:
        RunError: the disk refuses.
    """
    path = folder / EVALUATION
    try:
        files.write(path, (json.dumps(as_json(evaluation), indent=1, allow_nan=False) + "\n").encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}") from error
    return path


def read(folder: Path) -> Evaluation | None:
    """What `evaluation.json` of a run says; None where there is none.

    Raises:
        RunError: the file is damaged, or of a later version.
    """
    path = folder / EVALUATION
    try:
        form = files.read_as(_Form, path).format
        found = files.read_as(Evaluation, path) if form == FORMAT else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except RunError as error:
        raise RunError(f"{error}; delete it, and evaluate the run again") from error
    if found is None:
        raise RunError(f"{path} has format {form}, expected {FORMAT}; evaluate the run again")
    return found


def lines(evaluation: Evaluation, results: Iterable[Result] | None = None) -> list[str]:
    """A table for a terminal: what, by which rule, its value; what else belongs to a number stands in a note below.

    Args:
        evaluation: what was found.
        results: which results; those on the split that was scored last unless given.
    """
    shown = evaluation.of(evaluation.split) if results is None else tuple(results)
    if not shown:
        why = "the model infers no category from the data and reconstructs nothing"
        judged = "`evaluation: {features: NETWORK.ROW}` has the values of a row judged"
        return [f"nothing is measured: {why}; {judged}"] if results is None else []
    first = max(len(result.label) for result in shown)
    second = max((len(_rule(result)) for result in shown), default=0)
    weights = ", averaged weights" if evaluation.weights == "ema" else ""
    most = max(shown, key=lambda result: result.examples)
    found = [f"on {most.on}{weights}:"]
    # The same measure by different rules stands together, to be compared.
    labels = list(dict.fromkeys(result.label for result in shown))
    ordered = sorted(shown, key=lambda result: labels.index(result.label))
    for place, result in enumerate(ordered):
        others = "" if result.examples == most.examples else f"  (on {result.examples:,})"
        found.append(f"  {result.label:<{first}}  {_rule(result):<{second}}  {result.shown}{others}".rstrip())
        note = _note(result)
        if note and (place + 1 == len(ordered) or _note(ordered[place + 1]) != note):
            found.append(f"      {note}")
    found += [f"  {words}" for words in dict.fromkeys(r.by for r in ordered if r.rule == "k-means")]
    return found + [f"  void: {why}" for why in dict.fromkeys(r.void for r in ordered if r.void)]


def _rule(result: Result) -> str:
    return ("k-means" if result.rule == "k-means" else result.by) if result.rule else ""


def _note(result: Result) -> str:
    """What a number without a rule needs beside it."""
    if result.rule:
        return ""
    if result.part == "quality":
        return result.by
    return "; ".join(text for text in (result.by, result.protocol) if text)


def _compact(result: Result) -> dict[str, Any]:
    """Without what says nothing, but always with value, unit, examples, split and protocol."""
    always = ("name", "variable", "rule", "protocol", "value", "unit", "examples", "split")
    return {
        name: value
        for name, value in asdict(result).items()
        if name in always or value not in ("", 0, None, "model", "image")
    }
