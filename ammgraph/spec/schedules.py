"""Numbers that change in training: breakpoints, or a schedule by its name, both the same frozen value."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    InstanceOf,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from ammgraph.spec.notation import LARGEST_NUMBER, number_text
from ammgraph.spec.values import (
    ARITHMETIC_SCHEMA,
    Model,
    NonNegative,
    Positive,
    at_least_zero,
    entries_of,
    number_of,
    of_length,
    problem,
    require_one_of,
    wrong_type,
)

Unit = Literal["epochs", "steps"]
Points: TypeAlias = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Schedule:
    """A number that may change in training: linear between breakpoints (time, value), constant outside them.

    Time is counted in passes through the data, or in steps. With `cosine` the number goes from the last breakpoint but
    one, a at s, to the last one, b at e, by b + (a - b) (1 + cos(pi (t - s) / (e - s))) / 2 (Loshchilov & Hutter 2017).
    """

    points: Points
    by: Unit = "epochs"
    cosine: bool = False

    def at(self, epoch: float, step: float = 0.0) -> float:
        """The value at a (fractional) epoch, or at a step; at two breakpoints of one time the later one counts."""
        time = epoch if self.by == "epochs" else step
        earlier = [point for point in self.points if point[0] <= time]
        later = [point for point in self.points if point[0] > time]
        if not earlier or not later:
            return (earlier[-1] if earlier else later[0])[1]
        (start, first), (end, last) = earlier[-1], later[0]
        if self.cosine and len(later) == 1:
            return last + (first - last) * (1 + math.cos(math.pi * (time - start) / (end - start))) / 2
        return first + (last - first) * (time - start) / (end - start)

    @property
    def changes(self) -> bool:
        """Whether it is more than one number."""
        return len({value for _, value in self.points}) > 1

    @property
    def ends(self) -> float:
        """The value after the last breakpoint."""
        return self.points[-1][1]

    def times(self, factor: float) -> "Schedule":
        """The same course of `factor` times the values, to two digits."""
        points = tuple((time, float(f"{factor * value:.2g}")) for time, value in self.points)
        return Schedule(points, self.by, self.cosine)

    @property
    def written(self) -> str:
        """As a spec says it, in YAML's flow style."""
        unit = "" if self.by == "epochs" else f", by: {self.by}"
        if self.cosine:
            (start, first), (end, last) = self.points[-2:]
            warmup = f", warmup: {start:g}" if start else ""
            return f"{{cosine: [{first:g}, {last:g}], over: {end:g}{warmup}{unit}}}"
        if len(self.points) == 1:
            return f"{self.ends:g}"
        points = f"[{', '.join(f'[{time:g}, {value:g}]' for time, value in self.points)}]"
        return f"{{points: {points}{unit}}}" if unit else points

    def __str__(self) -> str:
        if len(self.points) == 1:
            return number_text(self.ends)
        unit = "" if self.by == "epochs" else " steps"
        course = " -> ".join(f"{number_text(value)} @{number_text(time)}{unit}" for time, value in self.points)
        return course + (" by a cosine" if self.cosine else "")


def points_of(value: object, info: ValidationInfo, unit: str = "epoch") -> Points:
    """The breakpoints [time, value] of a list, in ascending order of time."""
    what = f"a list of [{unit}, value] pairs"
    if not isinstance(value, list) or not value or not all(isinstance(p, list) and len(p) == 2 for p in value):
        raise wrong_type(value, f"a number, or {what}" if unit == "epoch" else what)
    points = entries_of(value, lambda point: _breakpoint(point, info))
    if any(first[0] > second[0] for first, second in pairwise(points)):
        raise problem(
            "out-of-range", f"the {unit}s of {{place}} do not increase", expected=f"{unit}s in ascending order"
        )
    for index, (time, _) in enumerate(points):
        after = [other for other, _ in points[index + 1 :]]
        at_once = time == 0 or (index > 0 and points[index - 1][0] == time)
        if at_once and after[:1] == [time]:
            message = f"{{place}} never holds: the next one does from {unit} {number_text(time)} on"
            expected = f"two values at one {unit}, which make a jump; one at {unit} 0"
            raise problem("out-of-range", message, at=(index,), expected=expected)
    return points


def _breakpoint(point: Any, info: ValidationInfo) -> tuple[float, float]:
    time, value = entries_of(point, lambda number: at_least_zero(number_of(number, info)))
    return time, value


_POINT_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "number", "minimum": 0, "maximum": float(LARGEST_NUMBER)}, ARITHMETIC_SCHEMA]
}
_POINTS_SCHEMA: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "array", "items": _POINT_SCHEMA, "minItems": 2, "maxItems": 2},
}


def _points_by(value: object, info: ValidationInfo) -> Points:
    by = info.data.get("by", "epochs")
    return points_of(value, info, "step" if by == "steps" else "epoch")


Ends = Annotated[tuple[NonNegative, NonNegative], of_length(2, "[first, last]")]


class NamedSchedule(Model):
    """A number that changes, by the name of its course: exactly one of `cosine`, `linear`, `constant`, `points`."""

    by: Unit = Field("epochs", description="What `over`, `warmup` and `points` count.", examples=["steps"])
    cosine: Ends | None = Field(
        None,
        description="[first, last]: half a cosine from one to the other, b + (a - b) (1 + cos(pi t)) / 2 with t from 0 "
        "to 1 (Loshchilov & Hutter 2017).",
        examples=[[2e-4, 0]],
    )
    linear: Ends | None = Field(
        None, description="[first, last]: a straight line from one to the other.", examples=[[1, 0]]
    )
    constant: NonNegative | None = Field(None, description="One value, after a `warmup`.", examples=[2e-4])
    points: Annotated[Points, BeforeValidator(_points_by), WithJsonSchema(_POINTS_SCHEMA)] | None = Field(
        None, description="Breakpoints [time, value], as without a name.", examples=[[[0, 0], [1000, 2e-4]]]
    )
    over: Positive | None = Field(
        None,
        description="When the last value is reached, the `warmup` included; it holds from then on.",
        examples=[100],
    )
    warmup: Positive | None = Field(
        None, description="How long it rises before, in a straight line from 0 to its first value.", examples=[5]
    )

    @model_validator(mode="after")
    def _has_a_course(self) -> Self:
        require_one_of(("cosine", "linear", "constant", "points"), dict(self))
        course = next(name for name in ("cosine", "linear", "constant", "points") if getattr(self, name) is not None)
        if course in ("cosine", "linear") and self.over is None:
            raise problem("missing-key", f"`{course}` has no end: {{place}} has no `over`", stands_at="key")
        for key, takers in (("over", ("cosine", "linear")), ("warmup", ("cosine", "linear", "constant"))):
            if getattr(self, key) is not None and course not in takers:
                message = f"`{course}` takes no `{key}`"
                raise problem("conflicting-keys", message, at=(key,), stands_at="key", hint=_INSTEAD[course])
        if course == "constant" and self.warmup is None:
            hint = "a number that does not change is written as it is"
            raise problem("missing-key", "`constant` has no `warmup`", stands_at="key", hint=hint)
        if self.over is not None and self.warmup is not None and self.warmup >= self.over:
            found = f"`warmup` {number_text(self.warmup)}, `over` {number_text(self.over)}"
            raise problem(
                "out-of-range", "{place} is never reached", at=("over",), found=found, expected="more than `warmup`"
            )
        return self

    @property
    def schedule(self) -> Schedule:
        """The value that it says."""
        if self.points is not None:
            return Schedule(self.points, self.by)
        ends: Sequence[float] = self.cosine or self.linear or (self.constant or 0.0,)
        start = self.warmup or 0.0
        course = [(start, ends[0]), *((self.over or 0.0, value) for value in ends[1:])]
        rise = [(0.0, 0.0)] if start else []
        return Schedule((*rise, *course), self.by, self.cosine is not None)


_INSTEAD = {
    "constant": "a constant does not end; `linear` and `cosine` do",
    "points": "breakpoints say when each value is reached",
}


def _written(value: object, info: ValidationInfo) -> Schedule:
    if isinstance(value, list):
        return Schedule(points_of(value, info))
    return Schedule(((0.0, at_least_zero(number_of(value, info))),))


def _is_named(value: object) -> str:
    return "by its name" if isinstance(value, dict) else "by breakpoints"


_Named = Annotated[NamedSchedule, AfterValidator(lambda named: named.schedule)]
_Written = Annotated[
    InstanceOf[Schedule],
    BeforeValidator(_written),
    WithJsonSchema({"anyOf": [*_POINT_SCHEMA["anyOf"], _POINTS_SCHEMA]}),
]
if TYPE_CHECKING:
    Scheduled: TypeAlias = Schedule
else:
    Scheduled = Annotated[
        Annotated[_Written, Tag("by breakpoints")] | Annotated[_Named, Tag("by its name")], Discriminator(_is_named)
    ]
