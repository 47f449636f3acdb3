"""Adversarial objectives: what each player pays for one example with the logit d. One entry each, read by everything.

REAL is the side to which a discriminator says 1. A loss is the mean over the batch, times a distribution's share of its
side; the networks on both sides pay the sum of both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ammgraph.formulas.expression import (
    Apply,
    Expression,
    Logit,
    Number,
    Product,
    Square,
    Sum,
    mean,
    minus,
    plus,
    replaced,
    times,
)

Role: TypeAlias = Literal["discriminator", "generator"]
Share: TypeAlias = tuple[float, Logit]  # of a side: its weight, and the logits of its samples


@dataclass(frozen=True)
class Objective:
    """Four functions of d: what the discriminator pays on REAL and on FAKE, what the sides' networks pay there."""

    discriminator: tuple[Expression, Expression]
    generator: tuple[Expression, Expression]
    meaning: str
    value: Literal["", "log D", "d"] = ""  # the value function for which both play: of D = s(d), of d, or none
    in_nats: bool = False
    blind: tuple[float, str] | None = None  # what both players pay where the discriminator cannot tell


_D = Logit()
_ONE = Number(1.0)
_HALF = Number(0.5)


def _softplus(argument: Expression) -> Expression:
    return Apply("softplus", argument)


_AT_ONE: Expression = Product((_HALF, Square(Sum((_D, minus(_ONE))))))
_AT_ZERO: Expression = Product((_HALF, Square(_D)))

OBJECTIVES: dict[str, Objective] = {
    "jensen_shannon": Objective(
        discriminator=(_softplus(minus(_D)), _softplus(_D)),
        generator=(_softplus(_D), _softplus(minus(_D))),
        meaning="-log s(d) on REAL, -log(1 - s(d)) on FAKE, the sides with labels swapped; each ln 2 at d = 0 "
        "(Algorithm 1 of the AMM paper; Dumoulin et al. 2017)",
        value="log D",
        in_nats=True,
        blind=(2 * math.log(2), "2 ln 2"),
    ),
    "minimax": Objective(
        discriminator=(_softplus(minus(_D)), _softplus(_D)),
        generator=(minus(_softplus(minus(_D))), minus(_softplus(_D))),
        meaning="the value function of eq. 13, which the sides minimise; it saturates where the discriminator is sure; "
        "ln 2, ln 2, -ln 2, -ln 2 at d = 0",
        value="log D",
        in_nats=True,
    ),
    "wasserstein": Objective(
        discriminator=(minus(_D), _D),
        generator=(_D, minus(_D)),
        meaning="E_FAKE[d] - E_REAL[d], the opposite for the sides; 0 at d = 0 (Arjovsky et al. 2017)",
        value="d",
    ),
    "least_squares": Objective(
        discriminator=(_AT_ONE, _AT_ZERO),
        generator=(_AT_ZERO, _AT_ONE),
        meaning="(d - 1)^2 / 2 on REAL, d^2 / 2 on FAKE, labels swapped for the sides; 1/2, 0, 0, 1/2 at d = 0 "
        "(Mao et al. 2017)",
    ),
    "hinge": Objective(
        discriminator=(Apply("relu", Sum((_ONE, minus(_D)))), Apply("relu", Sum((_ONE, _D)))),
        generator=(_D, minus(_D)),
        meaning="max(0, 1 - d) on REAL, max(0, 1 + d) on FAKE; d and -d for the sides; 1, 1, 0, 0 at d = 0 "
        "(Lim & Ye 2017)",
    ),
}


def loss(objective: str, role: Role, real: Sequence[Share], fake: Sequence[Share]) -> Expression:
    """sum_r w_r E_r[f_REAL(d)] + sum_f w_f E_f[f_FAKE(d)], f the role's functions.

    Under `jensen_shannon` a blind discriminator (all logits 0, weights of a side sum to 1) pays 2 ln 2 = 1.3863 nats,
    and so do the sides' networks.
    """
    on_real, on_fake = getattr(OBJECTIVES[objective], role)
    terms = [_paid(cost, share) for cost, side in ((on_real, real), (on_fake, fake)) for share in side]
    return plus(*terms)


def _paid(cost: Expression, share: Share) -> Expression:
    weight, logit = share
    return times(weight, mean(logit.draw, replaced(cost, lambda _: logit)))
