"""The middle of the chain rule: from a discriminator's logits to its parameters and to the samples that it reads.

Where examples are independent (no batch statistics in the discriminator, no row that several share), a loss L sends
dL/dd_b grad d_b to the samples of example b, whatever the loss. One backward pass then serves the discriminator and
every other player: what it found for the one is scaled, example by example, for the others.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from ammgraph.nn import second
from ammgraph.nn.model import Draw, Model, Tensors, critic_inputs, critic_logits, critic_parts
from ammgraph.nn.networks import Mode
from ammgraph.plan.turns import PassPlan

Reached = list[tuple[Tensor, Tensor]]  # samples, and the gradient of a loss with respect to them


@dataclass(frozen=True)
class Pass:
    """A discriminator pass, cut off from what drew its samples (`inputs`) and from the losses (`logits`).

    One within the pass of a term is cut off from the losses alone: it has no `inputs`, and others' losses go through.
    """

    plan: PassPlan
    samples: tuple[Tensor, ...]  # of all draws, joined along the batch; one for each name that the discriminator reads
    inputs: tuple[Tensor, ...]  # the same values as leaves
    joint: Tensor  # the logits as functions of `inputs` and of the discriminator's parameters
    logits: Tensor  # the same values as a leaf
    slopes: tuple[Tensor, ...]  # grad d of each example, differentiable; empty where no penalty asks for it
    sizes: tuple[int, ...]  # examples of each draw
    independent: bool

    def split(self, joined: Tensor) -> dict[str, Tensor]:
        """What belongs to each draw."""
        return dict(zip(self.plan.draws, joined.split(self.sizes), strict=True))


def pass_critic(model: Model, critic: PassPlan, draws: Mapping[str, Draw], noise: Tensors, sloped: bool) -> Pass:
    """Pass a discriminator over the joined samples of its draws.

    Args:
        model: the networks.
        critic: the pass.
        draws: the samples.
        noise: random tensors by site.
        sloped: whether a penalty takes the gradient of the logits with respect to these samples.
    """
    samples, parts = critic_inputs(critic, draws), critic_parts(critic, draws)
    moved = any(value.requires_grad for value in samples.values())
    inputs = {name: value.detach().requires_grad_(sloped or moved) for name, value in samples.items()}
    with second.sloped() if sloped else nullcontext():
        joint = critic_logits(model, critic, inputs, noise, Mode.TRAIN, parts=parts)
    leaves = tuple(inputs.values())
    network = model.network(critic.evaluation.network).plan
    return Pass(
        plan=critic,
        samples=tuple(samples.values()),
        inputs=leaves,
        joint=joint,
        logits=joint.detach().to(torch.promote_types(joint.dtype, torch.float32)).requires_grad_(),
        slopes=torch.autograd.grad(joint.sum(), leaves, create_graph=True) if sloped else (),
        sizes=parts.logits,
        independent=not critic.shared and not any(network.row(row).batchnorm for row in critic.rows),
    )


def pass_within(critic: PassPlan, rows: Tensors, batch: int) -> Pass:
    """A discriminator's pass whose rows a pass of terms has computed."""
    joint = rows[critic.row].flatten()
    logits = joint.detach().to(torch.promote_types(joint.dtype, torch.float32)).requires_grad_()
    return Pass(critic, (), (), joint, logits, (), (batch,), independent=False)


def pull_back(
    passes: Sequence[Pass],
    parameters: Sequence[Tensor],
    against: Tensor | None,
    sides: Sequence[Tensor],
    penalties: Sequence[Tensor],
) -> tuple[tuple[Tensor | None, ...], list[Reached]]:
    """The gradient of a discriminator, and what its samples get from each of the other players' losses.

    Args:
        passes: all passes of one discriminator in a turn.
        parameters: those of the discriminator.
        against: what it minimises, a function of `logits`; nothing where it does not learn in this turn.
        sides: what the others minimise, functions of `logits`.
        penalties: what it minimises beside `against`, weighted: functions of `joint` and `slopes`.
    """
    others = [_cotangents(side, passes) for side in sides]
    if against is None:
        return (), _one_by_one(passes, others)
    own = _cotangents(against, passes)
    if not others or not all(critic.independent for critic in passes):
        whole = any(critic.plan.within for critic in passes)  # what drew their samples is behind them, and not done yet
        found = _backward(passes, parameters, own, penalties, retain=bool(others) or whole)
        return found, _one_by_one(passes, others)
    pulled: Sequence[Tensor | None]
    if penalties:  # they have taken grad d already: what a loss with dL/dd = 1 sends to the samples
        base = [torch.ones_like(critic.logits) for critic in passes]
        found = _backward(passes, parameters, own, penalties)
        pulled = [slope.detach() for critic in passes for slope in critic.slopes]
    else:
        base = [away_from_zero(cotangent) for cotangent in own]
        both = _backward(passes, [*parameters, *_leaves(passes)], base)
        found, pulled = both[: len(parameters)], both[len(parameters) :]
    ratios = [[u / v for u, v in zip(other, base, strict=True)] for other in others]
    return found, [_reached(passes, pulled, ratio) for ratio in ratios]


def sent_back(
    ends: Iterable[tuple[Tensor, Tensor]],
    targets: Sequence[Tensor],
    numbers: Sequence[Tensor] = (),
    retain: bool = False,
) -> tuple[Tensor | None, ...]:
    """d/dt (sum of <c, e> + sum of numbers) of each target t, where an end e comes with its cotangent c = dL/de.

    `torch.autograd.grad` takes cotangents too, and imports SymPy for that: 0.3 s of every start.
    """
    whole = reduce(add, [*((cotangent * end).sum() for end, cotangent in ends), *numbers])
    return tuple(torch.autograd.grad(whole, targets, retain_graph=retain, allow_unused=True))


def away_from_zero(cotangent: Tensor) -> Tensor:
    """The same numbers, but none smaller than the root of the smallest normal one (1e-19 in float32).

    From an example of which it is sure the discriminator learns nothing, dL/dd = 0, and from that nothing can be
    recovered for the other players, who learn most from it. The root leaves half of the exponent's range to grad d, and
    adds less to the discriminator's gradient than rounding does.
    """
    return torch.copysign(cotangent.abs().clamp(min=torch.finfo(cotangent.dtype).tiny ** 0.5), cotangent)


def _cotangents(loss: Tensor, passes: Sequence[Pass]) -> list[Tensor]:
    """dL/dd of the examples of each pass, rounded as the passes compute."""
    logits = [critic.logits for critic in passes]
    found = torch.autograd.grad(loss, logits, retain_graph=True, materialize_grads=True)
    return [part.to(critic.joint.dtype).to(part.dtype) for part, critic in zip(found, passes, strict=True)]


def _one_by_one(passes: Sequence[Pass], others: Sequence[Sequence[Tensor]]) -> list[Reached]:
    """One backward pass to the samples for every loss."""
    reached = []
    for index, other in enumerate(others):
        leaves = _leaves(passes)  # none where the sides learn by the probabilities of enumerated values alone
        pulled = _backward(passes, leaves, other, retain=index < len(others) - 1) if leaves else ()
        ends = [(critic.joint, part.to(critic.joint.dtype)) for critic, part in _uncut(passes, other)]
        reached.append([*_reached(passes, pulled, None), *ends])
    return reached


def _uncut(passes: Sequence[Pass], cotangents: Sequence[Tensor]) -> list[tuple[Pass, Tensor]]:
    """The passes through which others' losses go on to what drew their samples."""
    both = zip(passes, cotangents, strict=True)
    return [(critic, part) for critic, part in both if critic.plan.within and critic.joint.requires_grad]


def _backward(
    passes: Sequence[Pass],
    targets: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    penalties: Sequence[Tensor] = (),
    retain: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradient with respect to `targets` of the logits times their cotangents, plus the penalties."""
    ends = [(critic.joint, weight.to(critic.joint.dtype)) for critic, weight in zip(passes, cotangents, strict=True)]
    return sent_back(ends, targets, penalties, retain)


def _leaves(passes: Sequence[Pass]) -> list[Tensor]:
    """The inputs that something asks a gradient of: a pass of its own over data or a prior alone has none."""
    return [leaf for critic in passes for leaf in critic.inputs if leaf.requires_grad]


def _reached(passes: Sequence[Pass], pulled: Sequence[Tensor | None], ratios: Sequence[Tensor] | None) -> Reached:
    """What each sample that networks drew gets; example b of a pass times its ratio."""
    rest, reached = iter(pulled), []
    for place, critic in enumerate(passes):
        for sample, leaf in zip(critic.samples, critic.inputs, strict=True):
            gradient = next(rest) if leaf.requires_grad else None
            if gradient is None or not sample.requires_grad:
                continue
            if ratios is not None:
                gradient = (gradient * ratios[place][:, None, None, None]).to(gradient.dtype)
            reached.append((sample, gradient))
    return reached
