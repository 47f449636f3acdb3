"""Batch norm needs two numbers of each channel: two examples, or two positions of one."""

from collections.abc import Iterator

from ammgraph.diagnostics import Diagnostic
from ammgraph.plan.plan import Plan
from ammgraph.spec.schema import Spec


def check_statistics(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """No batch norm over 1x1 positions sees a single example, of which there is no variance."""
    for network, row, draw in dict.fromkeys(lone_rows(plan)):
        sizes = spec.training.batch_size
        key = () if not isinstance(sizes, dict) else (draw if draw in sizes else "default",)
        yield Diagnostic(
            "out-of-range",
            f"batch norm of `{network}.{row}` has one number a channel: one example of `{draw}`, at 1x1 positions",
            spec.source.value("training", "batch_size", *key),
            found="`1`",
            expected="2 or more, or no batch norm in this row",
        )


def lone_rows(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """(network, row, draw) of every batch norm of a step that sees one number of each channel."""
    for found in (found for turn in plan.turns for found in turn.passes):
        network = plan.network(found.evaluation.network)
        for row in map(network.row, found.rows):
            if found.batch_of(row.name) == 1 and row.batchnorm and row.inner_shape[1:] == (1, 1):
                yield network.name, row.name, found.draws[0]
