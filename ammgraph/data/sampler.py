"""Batches of positions for one data factor: random, without end, resumable to the bit, without a word to the host."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError


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
        order = state["order"].to(self._indices)
        if not torch.equal(order.sort().values, self._indices.sort().values):
            raise RunError(
                f"the checkpoint draws from {len(order):,} examples, this run from {len(self._indices):,}, not the "
                "same ones; resume with the data, `data.seed` and labelled subset that the run began with"
            )
        try:
            self._generator.set_state(state["generator"])
        except RuntimeError as error:
            raise RunError(
                f"the checkpoint's generator of batches is not of a {self._generator.device.type} device; resume on "
                "the kind of device that the run began on"
            ) from error
        self._order, self._position = order, state["position"]

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
