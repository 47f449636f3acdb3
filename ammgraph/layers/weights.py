"""What a layer makes of its weights v before it applies them: name of the column -> what computes it. One entry each.

`torch` is a function of `nn.functions`, called with v, the axis of its output channels, and the layer's own tensors, in
their order. What runs is what is exported.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Sizes: TypeAlias = tuple[int, ...]


def along(shape: Sizes, axis: int) -> Sizes:
    """The shape of one number for each output channel, which multiplies a weight: (n, 1, 1, 1)."""
    return tuple(size if place == axis else 1 for place, size in enumerate(shape))


@dataclass(frozen=True)
class WeightNorm:
    """The weights that a layer applies, as a function of v, which starts as the initializer says.

    Args:
        torch: what computes them.
        meaning: the equation first, for the language reference.
        begin: a function of `nn.functions`: v, axis and a generator -> how the layer's own tensors start.
        learns: the tensors that learn beside v: name -> shape, of v's shape and axis.
        keeps: those that do not, which checkpoints hold.
        step: a function of `nn.functions`, taken before every turn of training: v, axis, the tensors -> them anew.
        exported: what wraps a module in an exported program, called with it and `dim`, v's axis.
        stored: tensor of ours -> the name of its own in the wrapped module.
    """

    torch: str
    meaning: str
    begin: str
    exported: str
    stored: dict[str, str]
    learns: Callable[[Sizes, int], dict[str, Sizes]] = lambda shape, axis: {}
    keeps: Callable[[Sizes, int], dict[str, Sizes]] = lambda shape, axis: {}
    step: str = ""


WEIGHT_NORMS: dict[str, WeightNorm] = {
    "weightnorm": WeightNorm(
        "length_times_direction",
        "w = g v / |v| for each output channel, g learns, and starts as |v|: as the initializer draws them "
        "(Salimans & Kingma 2016).",
        begin="lengths",
        exported="nn.utils.parametrizations.weight_norm",
        stored={"length": "parametrizations.weight.original0", "weight": "parametrizations.weight.original1"},
        learns=lambda shape, axis: {"length": along(shape, axis)},
    ),
    "spectralnorm": WeightNorm(
        "over_largest_singular_value",
        "w = v / s(v), s the largest singular value of v, a row for each output channel: by power iteration, once "
        "before every turn of training (Miyato et al. 2018).",
        begin="singular_vectors",
        exported="spectral_norm",
        stored={
            "weight": "parametrizations.weight.original",
            "left": "parametrizations.weight.0.left",
            "right": "parametrizations.weight.0.right",
        },
        keeps=lambda shape, axis: {"left": (shape[axis],), "right": (math.prod(shape) // shape[axis],)},
        step="power_iteration",
    ),
}
