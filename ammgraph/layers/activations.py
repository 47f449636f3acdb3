"""Activations: name -> what it takes, where it may stand, what it computes. One entry each, read by everything.

`torch` is `F.`, `torch.` or a function of `nn.functions`, called with x, its number and its noise, as far as there are
such, and `keywords`. What runs is what is exported.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Parameter:
    """The number behind an activation's name."""

    symbol: str
    example: float
    positive: bool = False  # more than 0, else at least 0
    whole: bool = False


@dataclass(frozen=True)
class Noise:
    """The random tensor that an activation takes; without it, in mean mode, it is handed None."""

    name: str
    kind: Literal["normal", "gumbel"]
    shape: tuple[int, ...] = ()  # of one example; as the row's unless given


@dataclass(frozen=True)
class ActivationKind:
    """A function of a row's value x.

    `density` says what a variable's row with it, or what reads such a row, is: noise whose log-variance is x, a choice
    among categories or a Bernoulli variable with logits x.
    """

    torch: str
    meaning: str
    parameter: Parameter | None = None
    noise: Noise | None = None
    of: Literal["element", "channels", "places"] = "element"  # what it reads to give one number
    density: Literal["", "normal", "categorical", "bernoulli"] = ""
    range: tuple[float, float] | Literal["", "input"] = ""  # between what its values lie: nothing, or as its input's
    augments: bool = False  # whether it makes another image of the same thing: data augmentation, where it reads data
    keywords: tuple[tuple[str, int | tuple[int, ...]], ...] = ()
    square: bool = False  # it is of images as high as wide
    triangle: bool = False  # it takes the n (n + 1) / 2 numbers of a triangular matrix, and gives n


_GUMBEL = Noise("gumbel", "gumbel")

ACTIVATIONS: dict[str, ActivationKind] = {
    "cholesky": ActivationKind(
        "cholesky",
        "A eps, eps ~ N(0, 1): noise of covariance A A'; x is A row by row, log A_ii^2 on the diagonal; 0 in mean mode",
        noise=Noise("eps", "normal"),
        of="channels",
        density="normal",
        triangle=True,
    ),
    "elu": ActivationKind("F.elu", "x for x > 0, else exp(x) - 1"),
    "expn": ActivationKind(
        "expn",
        "exp(x / 2) * eps, eps ~ N(0, 1): noise of log-variance x (eq. 20 of the AMM paper); 0 in mean mode",
        noise=Noise("eps", "normal"),
        density="normal",
    ),
    "flip": ActivationKind(
        "torch.flip", "x mirrored, left for right", of="places", range="input", keywords=(("dims", (3,)),)
    ),
    "gumbel_softmax": ActivationKind(
        "gumbel_softmax",
        "softmax((x + Gumbel noise) / t) over channels, t > 0 the number: a relaxed sample",
        Parameter("t", 0.5, positive=True),
        _GUMBEL,
        of="channels",
        density="categorical",
    ),
    "gumbel_straight_through": ActivationKind(
        "gumbel_straight_through",
        "one-hot of argmax(x + Gumbel noise), an exact sample; gradient as `gumbel_softmax t`",
        Parameter("t", 1, positive=True),
        _GUMBEL,
        of="channels",
        density="categorical",
    ),
    "leaky_relu": ActivationKind("F.leaky_relu", "x for x > 0, else s x, s >= 0 the number", Parameter("s", 0.2)),
    "quarter_turn": ActivationKind(
        "quarter_turn",
        "x turned anticlockwise by n quarter turns, n = 0, 1, 2, ... the number; square images alone",
        Parameter("n", 1, whole=True),
        of="places",
        range="input",
        square=True,
    ),
    "random_affine": ActivationKind(
        "random_affine",
        "x at u + s (A u + b) for each place u in [-1, 1]^2; A, b ~ N(0, 1) by example; x in mean mode",
        Parameter("s", 0.1),
        Noise("affine", "normal", (2, 3)),
        of="places",
        range="input",
        augments=True,
    ),
    "relu": ActivationKind("F.relu", "max(x, 0)"),
    "sigmoid": ActivationKind(
        "torch.sigmoid",
        "1 / (1 + exp(-x)); as the row of a variable scored as Bernoulli, drawn as its mean",
        density="bernoulli",
        range=(0.0, 1.0),
    ),
    "softmax": ActivationKind(
        "torch.softmax",
        "exp(x_k) / sum_j exp(x_j) over channels: a probability vector, no sample",
        of="channels",
        density="categorical",
        keywords=(("dim", 1),),
    ),
    "softplus": ActivationKind("F.softplus", "log(1 + exp(x))"),
    "straight_through": ActivationKind(
        "straight_through",
        "one-hot of argmax(x) over channels; gradient of softmax(x)",
        of="channels",
        density="categorical",
    ),
    "tanh": ActivationKind("torch.tanh", "(exp(x) - exp(-x)) / (exp(x) + exp(-x)), in [-1, 1]", range=(-1.0, 1.0)),
}
CATEGORICAL_ACTIVATIONS = tuple(name for name, kind in ACTIVATIONS.items() if kind.density == "categorical")


def ranges_text() -> str:
    """Which activations give which bounds: `sigmoid` gives [0, 1], `tanh` [-1, 1]."""
    bounded = {name: kind.range for name, kind in ACTIVATIONS.items() if isinstance(kind.range, tuple)}
    (first, (low, high)), *others = bounded.items()
    return ", ".join([f"`{first}` gives [{low:g}, {high:g}]", *(f"`{name}` [{a:g}, {b:g}]" for name, (a, b) in others)])
