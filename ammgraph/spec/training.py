"""What a person wrote under `training`, as `schema` is for the whole spec: initial weights, optimizers, its length."""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, create_model, model_validator

from ammgraph.layers.initializers import INITIALIZERS
from ammgraph.spec.notation import number_text
from ammgraph.spec.phases import Phase, Turn, check_phases
from ammgraph.spec.schedules import Schedule, Scheduled
from ammgraph.spec.source import Path
from ammgraph.spec.values import (
    Count,
    Model,
    NonNegative,
    Number,
    OrArithmetic,
    Positive,
    Share,
    number_of,
    of_length,
    require_one_of,
)

# ---------------------------------------------------------------------------------------- initial weights


if TYPE_CHECKING:

    class _Initial(Model):
        """The keys of the table of initial weights."""

else:
    _Initial = create_model(
        "_Initial",
        __base__=Model,
        **{
            name: (
                (Positive if entry.positive else NonNegative) | None,
                Field(None, description=entry.meaning, examples=[entry.example]),
            )
            for name, entry in INITIALIZERS.items()
        },
    )


class Weights(_Initial):
    """How weights are drawn at initialisation: exactly one of the keys."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        require_one_of(tuple(INITIALIZERS), dict(self))
        return self

    def __str__(self) -> str:
        name, number = self.chosen
        return f"{name} {number_text(number)}"

    @property
    def chosen(self) -> tuple[str, float]:
        """The one key and its number."""
        return next((name, number) for name, number in self if number is not None)


class Initializer(Model):
    """Initial weights and biases."""

    weights: Weights = Field(
        default_factory=lambda: Weights.model_validate({"normal": 0.02}),
        description="How weights are drawn; N(0, 0.02^2) unless given.",
        examples=[{"normal": 0.02}],
    )
    biases: Number = Field(0.0, description="The constant that every bias starts from.", examples=[0])


# ---------------------------------------------------------------------------------------- optimizers


class Optimizer(Model):
    """An optimizer, made by `function` of `torch.optim` from the learning rate and its arguments."""

    function: ClassVar[str]
    fast: ClassVar[str] = "fused"  # torch's word for its fastest way to update many tensors
    slots: ClassVar[int]
    if TYPE_CHECKING:
        name: str
        learning_rate: Schedule
        gradient_clip: float | None

    @property
    def arguments(self) -> dict[str, Any]:
        """By torch's names, all but the rate."""
        names = {"epsilon": "eps", "decay": "alpha"}
        ours = ("name", "learning_rate", "gradient_clip")
        own = {names.get(name, name): value for name, value in self if name not in ours}
        return own | {self.fast: True}

    @property
    def states(self) -> int:
        """Numbers that it keeps for each parameter."""
        return self.slots

    def __str__(self) -> str:
        """With every number that it uses."""
        values = {name: number_text(value) if isinstance(value, float) else value for name, value in self}
        settings = [
            f"{name.replace('_', ' ')} {', '.join(map(number_text, value)) if isinstance(value, tuple) else value}"
            for name, value in values.items()
            if name != "name" and (name, value) not in (("weight_decay", "0"), ("gradient_clip", None))
        ]
        return f"{self.name}, {', '.join(settings)}"


Clip = Annotated[
    Positive | None,
    Field(
        None,
        description="Largest norm of the network's gradient, all of its parameters together: a longer one, g, becomes "
        "g c / (|g| + 1e-6) with this number c; absent: as it is.",
        examples=[1],
    ),
]


class Adam(Optimizer):
    """Adam (Kingma & Ba 2014)."""

    function, slots = "Adam", 2
    name: Literal["adam"] = Field(description="Adam.", examples=["adam"])
    learning_rate: Scheduled = Field(description="Step size, a number or a schedule.", examples=[2e-4])
    betas: Annotated[tuple[Share, Share], of_length(2, "[beta1, beta2]")] = Field(
        (0.9, 0.999),
        description="Decay of the two moving averages, [beta1, beta2], per update.",
        examples=[[0.5, 0.999]],
    )
    epsilon: Positive = Field(1e-8, description="Added to the root of the second moment.", examples=[1e-8])
    weight_decay: NonNegative = Field(0.0, description="Factor of w added to w's gradient.", examples=[0])
    gradient_clip: Clip


class AdamW(Adam):
    """Adam with weight decay of its own (Loshchilov & Hutter 2019)."""

    function = "AdamW"
    name: Literal["adamw"] = Field(description="Adam, decaying weights beside it.", examples=["adamw"])  # type: ignore[assignment]
    weight_decay: NonNegative = Field(
        0.01,
        description="Factor of the learning rate and w taken from w at each update, whatever its gradient.",
        examples=[0.01],
    )


class Sgd(Optimizer):
    """Stochastic gradient descent with momentum."""

    function = "SGD"
    name: Literal["sgd"] = Field(description="Gradient descent.", examples=["sgd"])
    learning_rate: Scheduled = Field(description="Step size, a number or a schedule.", examples=[0.01])
    momentum: Share = Field(0.0, description="Decay of the accumulated gradient, per update.", examples=[0.9])
    weight_decay: NonNegative = Field(0.0, description="Factor of w added to w's gradient.", examples=[0])
    gradient_clip: Clip

    @property
    def states(self) -> int:
        """The accumulated gradient, if any."""
        return int(self.momentum > 0)


class RmsProp(Optimizer):
    """RMSprop (Tieleman & Hinton 2012)."""

    function, fast, slots = "RMSprop", "foreach", 1
    name: Literal["rmsprop"] = Field(description="RMSprop.", examples=["rmsprop"])
    learning_rate: Scheduled = Field(description="Step size, a number or a schedule.", examples=[1e-3])
    decay: Share = Field(0.99, description="Decay of the average of squared gradients, per update.", examples=[0.9])
    epsilon: Positive = Field(1e-8, description="Added to the root of that average.", examples=[1e-8])
    weight_decay: NonNegative = Field(0.0, description="Factor of w added to w's gradient.", examples=[0])
    gradient_clip: Clip


AnyOptimizer = Annotated[Adam | AdamW | Sgd | RmsProp, Field(discriminator="name")]


class BatchNorm(Model):
    """Batch normalisation (Ioffe & Szegedy 2015)."""

    momentum: Annotated[float, Field(gt=0, le=1), BeforeValidator(number_of), OrArithmetic()] = Field(
        0.1, description="Weight of the new batch in the running statistics.", examples=[0.1]
    )
    epsilon: Positive = Field(1e-5, description="Added to the variance.", examples=[1e-5])
    statistics: Literal["batch", "process"] = Field(
        "batch",
        description="With several processes: of the whole batch, or of each process's part of it.",
        examples=["process"],
    )


def _is_mapping(value: object) -> str:
    return "by distribution" if isinstance(value, dict) else "one"


BatchSize = Annotated[
    Annotated[Count, Tag("one")] | Annotated[dict[str, Count], Field(min_length=1), Tag("by distribution")],
    Discriminator(_is_mapping),
]


class Training(Model):
    """How the networks are trained."""

    batch_size: BatchSize = Field(
        description="Examples per batch; by distribution as `{default: 100, q_labeled: 50}`.", examples=[100]
    )
    epochs: Positive | None = Field(
        None, description="Length in passes through `data`; this or `steps`.", examples=[100]
    )
    steps: Count | None = Field(None, description="Length in steps (updates); this or `epochs`.", examples=[10000])
    optimizers: dict[str, AnyOptimizer] = Field(
        min_length=1,
        description="`default`, and networks by name, merged over the default; of another kind with its rate alone.",
        examples=[{"default": {"name": "adam", "learning_rate": 2e-4, "betas": [0.5, 0.999]}}],
    )
    initializer: Initializer = Field(
        default_factory=Initializer,
        description="Initial weights and biases of all rows.",
        examples=[{"weights": {"normal": 0.02}, "biases": 0}],
    )
    batchnorm: BatchNorm = Field(
        default_factory=BatchNorm, description="Constants of every batch normalisation.", examples=[{"momentum": 0.1}]
    )
    ema: dict[str, Share] = Field(
        default_factory=dict,
        description="Exponential moving average of weights: decay per step, `default` and networks by name.",
        examples=[{"default": 0.999}],
    )
    schedule: tuple[Turn, ...] | None = Field(
        None,
        min_length=1,
        description="Alternating turns; absent: one turn in which every network takes its gradient at the same point.",
        examples=[[{"update": ["critic"], "steps": 5}, {"update": ["encoder", "decoder", "components"]}]],
    )
    phases: tuple[Phase, ...] | None = Field(
        None,
        min_length=1,
        description="Parts of training, one after another, in place of `epochs`, `steps` and `schedule`.",
        examples=[[{"epochs": 50, "schedule": [{"update": ["encoder", "decoder"]}]}, {"epochs": 300}]],
    )

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if self.phases is None:
            require_one_of(("epochs", "steps", "phases"), dict(self), "training")
        else:
            check_phases(self.phases, dict(self))
        return self

    @property
    def stages(self) -> tuple[tuple[Path, Phase], ...]:
        """What trains, in order, each with the place where it is written: the phases, or the section as one."""
        if self.phases is None:
            whole = Phase.model_construct(epochs=self.epochs, steps=self.steps, schedule=self.schedule)
            return ((("training",), whole),)
        pairs = enumerate(self.phases)
        return tuple((("training", "phases", index), phase) for index, phase in pairs if phase.fit is None)

    @property
    def most_epochs(self) -> float:
        """A number of epochs after which no step comes: N steps are no more than N epochs."""
        return sum(phase.epochs or float(phase.steps or 0) for _, phase in self.stages)

    @property
    def known_steps(self) -> int | None:
        """The number of steps, where the spec alone says it."""
        steps = [phase.steps for _, phase in self.stages]
        known = [number for number in steps if number is not None]
        return sum(known) if len(known) == len(steps) else None
