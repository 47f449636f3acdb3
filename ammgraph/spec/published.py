"""What stands beside a run's own numbers: those of the literature, and those that the spec itself has reached."""

import statistics
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from ammgraph.spec.measures import MEASURES
from ammgraph.spec.values import Count, Model, NonNegative, Number, Positive, problem

if TYPE_CHECKING:
    ComparedMetric = str
else:
    ComparedMetric = Literal[tuple(name for name, measure in MEASURES.items() if measure.agreement)]


class Compared(Model):
    """A number to compare with."""

    when: dict[str, Number] = Field(
        default_factory=dict,
        description="Values of constants for which the number holds.",
        examples=[{"K": 10}],
    )
    metric: ComparedMetric = Field(description="What was measured.", examples=["clustering_error"])
    unit: Literal["percent", "fraction"] = Field(
        "percent", description="`percent`, 0 to 100, or `fraction`, 0 to 1.", examples=["percent"]
    )


def possible(value: float, info: ValidationInfo) -> float:
    """The number, if its unit allows it: at most all, and not less than nothing; the adjusted Rand index from -1 on."""
    most = 100 if info.data.get("unit", "percent") == "percent" else 1
    least = -most if info.data.get("metric") == "ari" else 0
    if not least <= value <= most:
        expected = f"a number from {least} to {most}"
        raise problem("out-of-range", "{place} is none in its unit", found=f"`{value:g}`", expected=expected)
    return value


class Published(Compared):
    """A number from the literature, shown beside a run's own."""

    value: Annotated[Number, AfterValidator(possible)] = Field(description="The number, in `unit`.", examples=[3.32])
    std: NonNegative | None = Field(None, description="Standard deviation over trials, in `unit`.", examples=[0.39])
    trials: Count | None = Field(None, description="Number of trials.", examples=[10])
    source: str = Field(min_length=1, description="Where it stands.", examples=["Table 1"])


class Measured(Compared):
    """What runs of the spec as it stands have reached, each with its last weights; seeds 0, 1, ..."""

    values: tuple[Annotated[Number, AfterValidator(possible)], ...] = Field(
        min_length=1, description="A number a seed, from seed 0 on, in `unit`.", examples=[[14.2, 16.3, 13.1]]
    )
    minutes: Positive = Field(description="Minutes of training a seed.", examples=[0.5])
    options: str = Field(
        "", description="What the command had beside the spec and the seed.", examples=["--precision bfloat16"]
    )

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """The standard deviation over seeds, with n - 1; nothing of one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None
