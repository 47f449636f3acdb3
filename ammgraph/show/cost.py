"""What a plan costs, as text."""

from ammgraph.diagnostics import counted
from ammgraph.plan.cost import bytes_text, evaluation_text, forward_cost, memory, memory_text
from ammgraph.plan.evaluation_cost import evaluation_memory, known_counts
from ammgraph.plan.plan import Plan
from ammgraph.show.text import table


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
    found = memory(plan)
    held = f"  memory of a step, about {bytes_text(found.total)}: {memory_text(found)}"
    scored, fitted = known_counts(plan)
    needed = evaluation_memory(plan, scored, fitted)
    images = f" of {counted(scored, 'image')}" if scored else " without its scores"
    later = f"  memory of an evaluation{images}, about {bytes_text(needed.total)}: {evaluation_text(needed)}"
    return "\n".join(["cost", *table(rows, right=(1, 2, 3)), held, later])


def row_memory(plan: Plan) -> dict[str, dict[str, str]]:
    """Network -> row -> what the row takes of a step's memory, as text."""
    found: dict[str, dict[str, str]] = {network.name: {} for network in plan.networks}
    for network, row, share in memory(plan).rows:
        found[network][row] = bytes_text(share)
    return found
