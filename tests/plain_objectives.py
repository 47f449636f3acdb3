"""The objectives and penalties as people write them in torch: the second formulas that losses are held against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Objective:
    """What each player pays for one example with logit d."""

    discriminator_real: Callable[[Tensor], Tensor]
    discriminator_fake: Callable[[Tensor], Tensor]
    generator_real: Callable[[Tensor], Tensor]
    generator_fake: Callable[[Tensor], Tensor]


def _softplus_of_minus(d: Tensor) -> Tensor:
    return F.softplus(-d)


def _identity(d: Tensor) -> Tensor:
    return d


def _minus(d: Tensor) -> Tensor:
    return -d


JENSEN_SHANNON = Objective(_softplus_of_minus, F.softplus, F.softplus, _softplus_of_minus)
"""-log s(d) on REAL, -log(1 - s(d)) on FAKE, s the sigmoid; the sides' networks pay the same with the labels swapped.

At d = 0 each of the four is ln 2. Algorithm 1 of the paper; Dumoulin et al., arXiv:1606.00704.
"""

MINIMAX = Objective(_softplus_of_minus, F.softplus, lambda d: -F.softplus(-d), lambda d: -F.softplus(d))
"""The value function itself, eq. 13: the sides' networks minimise E_q[log s(d)] + E_p[log(1 - s(d))].

It saturates where the discriminator is sure. At d = 0: ln 2, ln 2, -ln 2, -ln 2.
"""

WASSERSTEIN = Objective(_minus, _identity, _identity, _minus)
"""E_fake[d] - E_real[d] for the discriminator, the opposite for the sides. At d = 0 all are 0. Arjovsky et al. 2017."""

LEAST_SQUARES = Objective(
    lambda d: 0.5 * (d - 1) ** 2, lambda d: 0.5 * d**2, lambda d: 0.5 * d**2, lambda d: 0.5 * (d - 1) ** 2
)
"""(d - 1)^2 / 2 on REAL, d^2 / 2 on FAKE, labels swapped for the sides. At d = 0: 1/2, 0, 0, 1/2. Mao et al. 2017."""

HINGE = Objective(lambda d: F.relu(1 - d), lambda d: F.relu(1 + d), _identity, _minus)
"""max(0, 1 - d) on REAL, max(0, 1 + d) on FAKE; d and -d for the sides. At d = 0: 1, 1, 0, 0. Lim & Ye 2017."""

OBJECTIVES = {
    "jensen_shannon": JENSEN_SHANNON,
    "minimax": MINIMAX,
    "wasserstein": WASSERSTEIN,
    "least_squares": LEAST_SQUARES,
    "hinge": HINGE,
}


def discriminator_loss(
    objective: Objective, real: Sequence[tuple[float, Tensor]], fake: Sequence[tuple[float, Tensor]]
) -> Tensor:
    """sum_r w_r E[f_real(d_r)] + sum_f w_f E[f_fake(d_f)] over weighted sides.

    Under `jensen_shannon` a blind discriminator (all logits 0, weights 1) pays 2 ln 2 = 1.3863 nats.

    Args:
        objective: one of `OBJECTIVES`.
        real: (weight, logits) of the REAL side's distributions, logits of any shape.
        fake: the same of the FAKE side.
    """
    return _weighted(objective.discriminator_real, real) + _weighted(objective.discriminator_fake, fake)


def generator_loss(
    objective: Objective, real: Sequence[tuple[float, Tensor]], fake: Sequence[tuple[float, Tensor]]
) -> Tensor:
    """The sum of both sides' losses, paid by the networks that draw what the discriminator reads.

    Under `jensen_shannon` it is E_real[softplus(d)] + E_fake[softplus(-d)]: 2 ln 2 at a blind discriminator.
    """
    return _weighted(objective.generator_real, real) + _weighted(objective.generator_fake, fake)


def _weighted(function: Callable[[Tensor], Tensor], side: Sequence[tuple[float, Tensor]]) -> Tensor:
    terms = [function(logits).mean() if weight == 1 else weight * function(logits).mean() for weight, logits in side]
    return terms[0] if len(terms) == 1 else torch.stack(terms).sum()


def squared_norms(gradients: Sequence[Tensor]) -> Tensor:
    """||g_b||_2^2 of each example's gradient over all inputs jointly, shape (B,)."""
    return torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0)


def gradient_penalty(gradients: Sequence[Tensor]) -> Tensor:
    """E[(||grad_{x,y,z} d||_2 - 1)^2], eq. 18: one norm over all inputs. 1 where the gradient is 0.

    Args:
        gradients: of the logit with respect to each input, at the interpolated points, each of shape (B, ...).

    Reference:
        Gulrajani et al., Improved Training of Wasserstein GANs, arXiv:1704.00028.
    """
    joint = torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)
    # vector_norm has gradient 0 at 0, where a square root of a sum of squares has none.
    return (torch.linalg.vector_norm(joint, dim=1) - 1).square().mean()


def roth_penalty(real: Sequence[tuple[float, Tensor, Tensor]], fake: Sequence[tuple[float, Tensor, Tensor]]) -> Tensor:
    """1/2 (E_real[(1 - s(d))^2 ||grad d||^2] + E_fake[s(d)^2 ||grad d||^2]), s the sigmoid; to be weighted by gamma.

    Args:
        real: (weight, logits (B,), squared gradient norms (B,)) of the REAL side's distributions.
        fake: the same of the FAKE side.

    Reference:
        Roth et al., Stabilizing Training of Generative Adversarial Networks through Regularization, arXiv:1705.09367.
    """
    on_real = [weight * ((1 - torch.sigmoid(logits)).square() * norms).mean() for weight, logits, norms in real]
    on_fake = [weight * (torch.sigmoid(logits).square() * norms).mean() for weight, logits, norms in fake]
    return 0.5 * torch.stack(on_real + on_fake).sum()


def r1_penalty(real: Sequence[tuple[float, Tensor]]) -> Tensor:
    """1/2 E_real[||grad d||^2]; to be weighted by gamma.

    Args:
        real: (weight, squared gradient norms (B,)) of the REAL side's distributions.

    Reference:
        Mescheder et al., Which Training Methods for GANs do actually Converge?, arXiv:1801.04406.
    """
    return 0.5 * torch.stack([weight * norms.mean() for weight, norms in real]).sum()
