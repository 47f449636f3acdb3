"""The course of training as a person wrote it: turns of a step, and phases, each with a length and turns of its own."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, InstanceOf, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from ammgraph.spec.notation import Factor, parse_factor
from ammgraph.spec.values import FACTOR_PATTERN, Count, Model, Positive, in_notation, problem, text_of


class Turn(Model):
    """One entry of an alternating schedule: which networks are updated, how often, by what."""

    update: tuple[str, ...] = Field(min_length=1, description="Networks updated in this turn.", examples=[["critic"]])
    games: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Games whose losses count; all unless `games` or `terms` is given.",
        examples=[["joint"]],
    )
    terms: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Terms that count; all unless `games` or `terms` is given.",
        examples=[["reconstruction"]],
    )
    steps: Count = Field(1, description="How often the turn is taken in one step of training.", examples=[5])
    draw: Literal["new", "same"] = Field(
        "new",
        description="`new`: data and noise of its own; `same`: those of the turn before.",
        examples=["same"],
    )

    def plays(self, game: str) -> bool:
        """Whether a game counts."""
        return self.terms is None if self.games is None else game in self.games

    def takes(self, term: str) -> bool:
        """Whether a term counts."""
        return self.games is None if self.terms is None else term in self.terms


def _factor(value: object) -> Factor:
    return in_notation(lambda: parse_factor(text_of(value, "a factor, as in `p(z|y)`")))


FactorText = Annotated[
    InstanceOf[Factor],
    BeforeValidator(_factor),
    WithJsonSchema({"type": "string", "pattern": FACTOR_PATTERN}),
]


# Keys of a turn, as one writes them.
_WRITTEN = {
    "update": "update: [encoder]",
    "games": "games: [joint]",
    "terms": "terms: [likelihood]",
    "draw": "draw: new",
}


class Phase(Model):
    """A part of training: `epochs` or `steps`, maybe with a `schedule`; or what is fitted between two of them."""

    epochs: Positive | None = Field(
        None, description="Length of the phase in passes through `data`; this or `steps`.", examples=[50]
    )
    steps: Count | None = Field(None, description="Length of the phase in steps; this or `epochs`.", examples=[10000])
    schedule: tuple[Turn, ...] | None = Field(
        None,
        min_length=1,
        description="The phase's turns; absent: one turn in which every network takes its gradient at the same point.",
        examples=[[{"update": ["encoder", "decoder"], "terms": ["reconstruction"]}]],
    )
    fit: FactorText | None = Field(
        None,
        description="A factor whose components, one for each category, are set when the phase before has ended: to "
        "those of a mixture of normals (scikit-learn's `GaussianMixture`) of its variable's values.",
        examples=["p(z|y)"],
    )
    to: str | None = Field(
        None,
        description="With `fit`: the distribution that infers these values from all training images.",
        examples=["q"],
    )

    @model_validator(mode="before")
    @classmethod
    def _turns_stand_in_its_schedule(cls, value: object) -> object:
        for name in _WRITTEN:
            if isinstance(value, dict) and name in value:
                turn = ", ".join(dict.fromkeys(("update: [encoder]", _WRITTEN[name])))
                hint = f"a phase's turns stand in its `schedule`, as in `schedule: [{{{turn}}}]`"
                raise problem("unknown-key", f"unknown key `{name}`", at=(name,), stands_at="key", hint=hint)
        return value

    @model_validator(mode="after")
    def _trains_or_fits(self) -> Self:
        given = {name for name in ("epochs", "steps", "schedule") if getattr(self, name) is not None}
        if self.fit is not None and given:
            name = min(given)
            expected = "an entry for each, as `{fit: 'p(z|y)', to: q}` and `{epochs: 50}`"
            raise _impossible("one phase fits and trains", at=(name,), expected=expected)
        if (self.fit is None) != (self.to is None):
            written, missing = ("to", "fit") if self.fit is None else ("fit", "to")
            example = "`{fit: 'p(z|y)', to: q}`"
            raise _impossible(f"{{place}} has `{written}` and no `{missing}`", expected=example)
        if self.fit is None and not {"epochs", "steps"} & given:
            raise _impossible("{place} has no length", expected="`epochs` or `steps`, or what is fitted by `fit`")
        if {"epochs", "steps"} <= given:
            raise _impossible("{place} has two lengths", found="`epochs` and `steps`", expected="one of them")
        return self


def check_phases(phases: Sequence[Phase], training: Mapping[str, object]) -> None:
    """Phases stand alone, begin and end with training, and fit a factor once between two of them."""
    for name in ("epochs", "steps", "schedule"):
        if training.get(name) is not None:
            key = "schedule" if name == "schedule" else "steps" if phases[-1].steps is not None else "epochs"
            last = f"training.phases.{len(phases)}.{key}"
            raise _impossible(
                f"`{name}` stands beside `phases`",
                at=(name,),
                expected=f"`{name}` in each phase that trains",
                hint=f"`--set {last}=...` changes the last phase, counted from 1; `{name}: null` removes this one",
            )
    for index, when in ((0, "before anything is trained"), (len(phases) - 1, "and nothing is trained after it")):
        if phases[index].fit is not None:
            raise _impossible(f"`{phases[index].fit}` is fitted {when}", at=("phases", index), expected=_BETWEEN)
    fitted: set[Factor] = set()
    for index, phase in enumerate(phases):
        if phase.fit in fitted:
            message = f"`{phase.fit}` is fitted twice, with nothing trained between"
            raise _impossible(message, at=("phases", index), expected=_BETWEEN)
        fitted = {*fitted, phase.fit} if phase.fit is not None else set()


_BETWEEN = "one `fit` between two phases that train"


def _impossible(message: str, **details: object) -> PydanticCustomError:
    return problem("impossible-phase", message, stands_at="key", **details)
