"""How weights begin: name -> what draws them. One entry each, read by everything."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Initializer:
    """A distribution of weights with one number: `torch` of a weight, and of `arguments` by name."""

    torch: str
    arguments: Callable[[float, float], dict[str, float]]  # of its number and the fan-in
    meaning: str
    example: float
    positive: bool = False  # its number is more than 0, else at least 0


def _gain(gain: float, fan_in: float) -> dict[str, float]:
    return {"gain": gain}


INITIALIZERS: dict[str, Initializer] = {
    "normal": Initializer("nn.init.normal_", lambda s, _: {"std": s}, "N(0, s^2), the number is s.", 0.02),
    "uniform": Initializer("nn.init.uniform_", lambda a, _: {"a": -a, "b": a}, "U(-a, a), the number is a.", 0.05),
    "xavier_normal": Initializer("nn.init.xavier_normal_", _gain, "Glorot's normal; the number is the gain.", 1, True),
    "xavier_uniform": Initializer(
        "nn.init.xavier_uniform_", _gain, "Glorot's uniform; the number is the gain.", 1, True
    ),
    "kaiming_normal": Initializer(
        "nn.init.normal_",
        lambda slope, fan_in: {"std": math.sqrt(2 / (1 + slope**2)) / math.sqrt(fan_in)},
        "He's normal for a leaky ReLU whose slope is the number. The fan-in of a `conv_transpose` is the "
        "mean number of inputs that reach an output.",
        0.2,
    ),
    "orthogonal": Initializer(
        "nn.init.orthogonal_", _gain, "A random orthogonal matrix; the number is the gain.", 1, True
    ),
}
