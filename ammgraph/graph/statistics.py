"""Batch norm needs two numbers of each channel: two examples, or two positions of one."""

from collections.abc import Iterator, Mapping, Sequence

from ammgraph.diagnostics import Diagnostic
from ammgraph.graph.plan import DrawPlan, FromNetwork, GamePlan, NetworkPlan, TurnPlan
from ammgraph.spec.schema import Spec


def check_statistics(
    spec: Spec,
    turns: Sequence[TurnPlan],
    draws: Mapping[str, DrawPlan],
    games: Mapping[str, GamePlan],
    networks: Mapping[str, NetworkPlan],
) -> Iterator[Diagnostic]:
    """No batch norm over 1x1 positions sees a single example, of which there is no variance."""
    for network, row, draw in dict.fromkeys(lone_rows(turns, draws, games, networks)):
        sizes = spec.training.batch_size
        key = () if not isinstance(sizes, dict) else (draw if draw in sizes else "default",)
        yield Diagnostic(
            "out-of-range",
            f"batch norm of `{network}.{row}` has one number a channel: one example of `{draw}`, at 1x1 positions",
            spec.source.value("training", "batch_size", *key),
            found="`1`",
            expected="2 or more, or no batch norm in this row",
        )


def lone_rows(
    turns: Sequence[TurnPlan],
    draws: Mapping[str, DrawPlan],
    games: Mapping[str, GamePlan],
    networks: Mapping[str, NetworkPlan],
) -> Iterator[tuple[str, str, str]]:
    """(network, row, draw) of every batch norm of a step that sees one number of each channel."""
    for network, rows, drawn in _evaluations(turns, draws, games):
        if sum(draws[name].batch_size for name in drawn) == 1:
            for row in map(networks[network].row, rows):
                if row.batchnorm and row.inner_shape[1:] == (1, 1):
                    yield network, row.name, drawn[0]


def _evaluations(
    turns: Sequence[TurnPlan], draws: Mapping[str, DrawPlan], games: Mapping[str, GamePlan]
) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(network, rows, the draws whose samples are one batch) of whatever a step evaluates."""
    for turn in turns:
        for name in turn.draws:
            for factor in draws[name].factors:
                if factor.needed and isinstance(factor.origin, FromNetwork):
                    yield factor.origin.evaluation.network, factor.origin.rows, (name,)
        for critic in turn.passes:
            yield critic.evaluation.network, critic.rows, critic.draws
        for game in map(games.__getitem__, turn.penalized):
            for penalty in game.penalties:
                if penalty.evaluation is not None:
                    yield penalty.evaluation.network, penalty.rows, (game.real[0][1],)
