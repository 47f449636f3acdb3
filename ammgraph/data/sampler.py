"""Batches of positions for one data factor: random, without end, resumable to the bit, without a word to the host."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError, counted

_WORDS = 624  # of the CPU's generator, a Mersenne twister


def restore(generator: torch.Generator, state: object) -> None:
    """Put a generator where the one stood that gave `state`.

    Raises:
        RunError: the state is of another kind of device, or of no generator.
    """
    own = generator.get_state()
    problem = f"the checkpoint's generator is not of a {generator.device.type} device"
    advice = "resume on the kind of device that the run began on"
    if not isinstance(state, Tensor) or (state.dtype, state.shape) != (own.dtype, own.shape):
        raise RunError(f"{problem}; {advice}")
    if generator.device.type == "cpu":
        # Of bytes 8 to 24: how many of its words are left, and which is the next. torch reads as many from there on.
        left, following = int(state[8:12].clone().view(torch.int32)), int(state[16:24].clone().view(torch.int64))
        if not (0 < left <= _WORDS and 0 <= following <= _WORDS + 1 - left):
            raise RunError(f"{problem}: it reads beyond its words; {advice}")
    try:
        generator.set_state(state)
    except RuntimeError as error:
        raise RunError(f"{problem}; {advice}") from error


class Sampler(Iterator[Tensor]):
    """Batches of `batch_size` positions out of `indices`, each pass in a new random order.

    A pass over n positions is floor(n / batch_size) batches; the rest is dropped. Where n < batch_size there is no such
    pass: a batch then runs over as many permutations as it needs and the next one goes on where it ended, so that no
    position is ever more than one draw ahead of another.

    Permutations are made on the device by a generator of its own; places in them are Python integers, so that drawing
    never waits for the device.
    """

    def __init__(self, indices: Tensor, batch_size: int, seed: int, device: torch.device | str = "cpu") -> None:
        if not len(indices) or batch_size < 1:
            raise ValueError(f"cannot draw batches of {batch_size} from {len(indices)} positions")
        self.batch_size = batch_size
        self._indices = indices.to(device)
        self._generator = torch.Generator(device).manual_seed(seed)
        self._order = self._permuted()
        self._position = 0

    @property
    def batches_per_pass(self) -> int:
        """floor(n / batch_size), the length of an epoch; 1 where there are fewer positions than a batch has."""
        return max(1, len(self._indices) // self.batch_size)

    def __next__(self) -> Tensor:
        """The next positions, int64 (batch_size,), on the device."""
        if len(self._indices) < self.batch_size:
            return self._across_permutations()
        if self._position + self.batch_size > len(self._order):
            self._order, self._position = self._permuted(), 0
        self._position += self.batch_size
        return self._order[self._position - self.batch_size : self._position]

    def state_dict(self) -> dict[str, Any]:
        """Everything that decides the batches to come: generator, current permutation, place in it."""
        return {
            "generator": self._generator.get_state(),
            "order": self._order.cpu().clone(),
            "position": self._position,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the sampler that gave `state` stood.

        Raises:
            RunError: the state belongs to other positions or to another kind of device.
        """
        order, position = state["order"], state["position"]
        if not isinstance(order, Tensor) or order.dtype != torch.int64 or order.dim() != 1:
            raise RunError("the checkpoint holds no order of the examples: `order` is no vector of whole numbers")
        order = order.to(self._indices)
        if not torch.equal(order.sort().values, self._indices.sort().values):
            raise RunError(
                f"the checkpoint draws from {counted(len(order), 'example')}, this run from {len(self._indices):,}, "
                "not the same ones; resume with the data, `data.seed` and labelled subset that the run began with"
            )
        if type(position) is not int or not 0 <= position <= len(order):
            raise RunError(
                f"the checkpoint's place among {counted(len(order), 'example')} is none of them: {position!r:.60}"
            )
        restore(self._generator, state["generator"])
        self._order, self._position = order, position

    def _permuted(self) -> Tensor:
        count = len(self._indices)
        return self._indices[torch.randperm(count, generator=self._generator, device=self._indices.device)]

    def _across_permutations(self) -> Tensor:
        pieces, needed = [], self.batch_size
        while needed:
            if self._position == len(self._order):
                self._order, self._position = self._permuted(), 0
            piece = self._order[self._position : self._position + needed]
            pieces.append(piece)
            needed -= len(piece)
            self._position += len(piece)
        return torch.cat(pieces)
