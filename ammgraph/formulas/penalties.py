"""Penalties on a discriminator's gradient, to be weighted. One entry each, read by everything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ammgraph.formulas.expression import (
    Apply,
    Expression,
    Logit,
    Mean,
    Number,
    Product,
    Slope,
    Square,
    Sum,
    minus,
    plus,
    times,
)
from ammgraph.formulas.objectives import Share


@dataclass(frozen=True)
class Penalty:
    """A penalty as a function of the logits of REAL and of FAKE, or of its own evaluation between them."""

    value: Callable[[Sequence[Share], Sequence[Share], str], Expression]
    weight: str  # the key of its weight in a spec
    between: bool  # whether it takes a pass of its own between the i-th REAL and the i-th FAKE
    meaning: str
    example: float  # of its weight


def _slope(share: Share) -> Expression:
    return Square(Slope(share[1].draw, share[1].evaluation))


def _gradient_penalty(real: Sequence[Share], fake: Sequence[Share], evaluation: str) -> Expression:
    return Mean("", Square(Sum((Slope("", evaluation), minus(Number(1.0))))))


def _roth_penalty(real: Sequence[Share], fake: Sequence[Share], evaluation: str) -> Expression:
    def sure(logit: Logit) -> Expression:
        return Apply("sigmoid", logit)

    terms = [
        *(
            times(s[0], Mean(s[1].draw, Product((Square(Sum((Number(1.0), minus(sure(s[1]))))), _slope(s)))))
            for s in real
        ),
        *(times(s[0], Mean(s[1].draw, Product((Square(sure(s[1])), _slope(s))))) for s in fake),
    ]
    return Product((Number(0.5), plus(*terms)))


def _r1_penalty(real: Sequence[Share], fake: Sequence[Share], evaluation: str) -> Expression:
    return Product((Number(0.5), plus(*(times(share[0], Mean(share[1].draw, _slope(share))) for share in real))))


PENALTIES: dict[str, Penalty] = {
    "gradient_penalty": Penalty(
        _gradient_penalty, "lambda", True, "Eq. 18 between REAL and FAKE (Gulrajani et al. 2017).", 10
    ),
    "roth_penalty": Penalty(_roth_penalty, "gamma", False, "The Jensen-Shannon regulariser of Roth et al. 2017.", 0.1),
    "r1_penalty": Penalty(
        _r1_penalty, "gamma", False, "R1 (Mescheder et al. 2018): the squared gradient norm at REAL.", 1
    ),
}
