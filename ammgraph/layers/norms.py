"""Normalisations of one example's numbers: name -> which of them belong together. One entry each, read by everything.

(x - m) / sqrt(v + 1e-5) * gain + shift, m and v the mean and the variance over all positions of a group of consecutive
channels, gain and shift of each channel; `torch.nn.GroupNorm` has the same formula. Nothing of other examples enters,
in training as in evaluation, and nothing is remembered.
"""

from collections.abc import Callable
from dataclasses import dataclass

EPSILON = 1e-5


@dataclass(frozen=True)
class NormKind:
    """A normalisation by groups of channels.

    Args:
        meaning: for the language reference.
        groups: channels, and the number behind the name -> how many groups.
        counted: it takes a number.
        removes_constants: a number added to a channel before it is subtracted again.
    """

    meaning: str
    groups: Callable[[int, int], int]
    counted: bool = False
    removes_constants: bool = False


NORMS: dict[str, NormKind] = {
    "layer": NormKind("all channels together (Ba et al. 2016)", lambda channels, _: 1),
    "instance": NormKind(
        "every channel for itself (Ulyanov et al. 2016)", lambda channels, _: channels, removes_constants=True
    ),
    "group": NormKind("n groups of consecutive channels (Wu & He 2018)", lambda _, number: number, counted=True),
}
