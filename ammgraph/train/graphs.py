"""Steps as graphs of the device: the first step of a kind is taken as it is, the second one captured, then replayed.

A captured step is a function of buffers that stay where they are: positions of records, and what schedules give, are
copied into them before it is replayed. Its random numbers come from generators that the graph knows, whose places after
a replay are those that they would have had without. What were some 800 launches of kernels is one.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from ammgraph.train.act import Kind, Numbers
from ammgraph.train.streams import Positions

logger = logging.getLogger(__name__)

Values: TypeAlias = dict[str, Tensor]
Work: TypeAlias = Callable[[Sequence[Positions], Numbers], Values]


class Backend(Protocol):
    """What makes of a step one that is replayed."""

    def first(self, step: Callable[[], Values]) -> Values:
        """Take a step as it is, so that libraries choose their algorithms and optimizers have their states."""

    def capture(self, step: Callable[[], Values]) -> Callable[[], Values]:
        """What takes the step, as often as it is called; nothing is taken now."""

    def clear(self) -> None:
        """All that was captured is gone."""


class CudaGraphs:
    """CUDA graphs on the current device.

    All share one pool of memory, as none reads what another has given.

    Args:
        generators: those that a step draws random numbers from.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self._generators = generators
        self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    def first(self, step: Callable[[], Values]) -> Values:
        """A step on the stream on which the next one of its kind is captured."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            values = step()
        torch.cuda.current_stream().wait_stream(self._stream)
        return values

    def capture(self, step: Callable[[], Values]) -> Callable[[], Values]:
        """A step as a graph."""
        graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            values = step()

        def replay() -> Values:
            graph.replay()
            return values

        return replay

    def clear(self) -> None:
        """A pool whose last graph is gone takes no other one."""
        self._pool = torch.cuda.graph_pool_handle()


class Captured:
    """One kind of step, as a function of buffers of its own."""

    def __init__(
        self, work: Work, positions: Sequence[Positions], numbers: Numbers, like: Tensor, backend: Backend
    ) -> None:
        self._positions = [{name: found.clone() for name, found in places.items()} for places in positions]
        self._held = numbers
        # Optimizers read a rate as a double, those of CUDA as a float.
        rate = torch.float32 if like.is_cuda else torch.float64
        self._numbers = Numbers(
            {name: like.new_tensor(weight) for name, weight in numbers.weights.items()},
            {name: like.new_tensor(found, dtype=rate) for name, found in numbers.rates.items()},
        )
        self._replay = backend.capture(lambda: work(self._positions, self._numbers))

    def __call__(self, positions: Sequence[Positions], numbers: Numbers) -> Values:
        """The same operations at these positions, with these numbers; the next time overwrites what it gives."""
        for buffers, places in zip(self._positions, positions, strict=True):
            for name, found in places.items():
                buffers[name].copy_(found)
        for tensors, held, new in zip(_parts(self._numbers), _parts(self._held), _parts(numbers), strict=True):
            for name, number in new.items():
                if number != held[name]:
                    tensors[name].fill_(number)
        self._held = numbers
        return self._replay()


class Graphs:
    """The kinds of step that have been taken, and those of them that are captured.

    Args:
        like: a weight; numbers become tensors of its kind, where it is.
        backend: what captures.
    """

    def __init__(self, like: Tensor, backend: Backend) -> None:
        self._like, self._backend = like, backend
        self._captured: dict[Kind, Captured | None] = {}
        self.problem = ""  # why steps are no longer captured

    def clear(self) -> None:
        """Forget what is captured: the state that steps change lies elsewhere now, or a phase has ended."""
        self._captured.clear()
        self._backend.clear()

    def take(self, kind: Kind, work: Work, positions: Sequence[Positions], numbers: Numbers) -> Values:
        """A step of a kind; what it gives is overwritten by the next one."""
        if self.problem:
            return work(positions, numbers)
        if kind not in self._captured:
            self._captured[kind] = None
            return self._backend.first(lambda: work(positions, numbers))
        found = self._captured[kind]
        if found is None:
            try:
                found = Captured(work, positions, numbers, self._like, self._backend)
            except RuntimeError as error:
                self.clear()
                self.problem = " ".join(str(error).split())[:200]
                logger.warning(f"steps are taken one operation at a time: they cannot be captured: {self.problem}")
                return work(positions, numbers)
            self._captured[kind] = found
        return found(positions, numbers)


def _parts(numbers: Numbers) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return numbers.weights, numbers.rates
