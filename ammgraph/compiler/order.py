"""What must come before what, in the compiler's three graphs: rows, factors, distributions."""

import heapq
from collections.abc import Hashable, Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

N = TypeVar("N", bound=Hashable)


def in_order(nodes: Sequence[N], edges: Iterable[tuple[N, N]]) -> tuple[tuple[N, ...], list[N]]:
    """The nodes in topological order, ties by position; or none, and a circle from its first node on."""
    position = {node: index for index, node in enumerate(nodes)}
    sorter = TopologicalSorter({index: () for index in range(len(nodes))})
    for before, after in edges:
        sorter.add(position[after], position[before])
    try:
        sorter.prepare()
    except CycleError as error:
        circle = error.args[1][1:]
        start = circle.index(min(circle))
        return (), [nodes[index] for index in circle[start:] + circle[:start]]
    order, ready = [], sorted(sorter.get_ready())
    while ready:  # a heap
        order.append(first := heapq.heappop(ready))
        sorter.done(first)
        for index in sorter.get_ready():
            heapq.heappush(ready, index)
    return tuple(nodes[index] for index in order), []
