"""What a plan costs before anything trains: parameters and multiply-adds."""

from collections.abc import Sequence

from ammgraph.graph.plan import FromNetwork, NetworkPlan, Plan
from ammgraph.graph.text import table


def forward_cost(plan: Plan) -> dict[str, int]:
    """Network -> multiply-adds of all its forward passes in one step, at the plan's batch sizes."""
    total = {network.name: 0 for network in plan.networks}
    for turn in plan.turns:
        for name in turn.draws:
            draw = plan.draw(name)
            for factor in draw.factors:
                if factor.needed and isinstance(factor.origin, FromNetwork):
                    network = plan.network(factor.origin.evaluation.network)
                    total[network.name] += turn.steps * draw.batch_size * _rows_cost(network, factor.origin.rows)
        for critic in turn.passes:
            network = plan.network(critic.evaluation.network)
            examples = sum(plan.draw(name).batch_size for name in critic.draws)
            total[network.name] += turn.steps * examples * _rows_cost(network, critic.rows)
        for name in turn.games:
            game = plan.game(name)
            for penalty in game.penalties:
                if penalty.evaluation is not None:
                    network = plan.network(penalty.evaluation.network)
                    examples = plan.draw(game.real[0][1]).batch_size
                    total[network.name] += turn.steps * examples * _rows_cost(network, penalty.rows)
    return total


def cost_text(plan: Plan) -> str:
    """Parameters, and multiply-adds of forward passes: of one example, and of one step with all its passes.

    A backward pass costs about twice its forward pass, a penalty's own pass about three times more.
    """
    forward = forward_cost(plan)
    rows: list[tuple[str, ...]] = [
        ("network", "parameters", "multiply-adds an example", "forward multiply-adds a step")
    ]
    rows += [
        (network.name, f"{network.parameters:,}", f"{network.multiply_adds:,}", f"{forward[network.name]:,}")
        for network in plan.networks
    ]
    rows.append(("sum", f"{plan.parameters:,}", "", f"{sum(forward.values()):,}"))
    return "\n".join(["cost", *table(rows, right=(1, 2, 3))])


def _rows_cost(network: NetworkPlan, rows: Sequence[str]) -> int:
    return sum(network.row(name).multiply_adds for name in rows)
