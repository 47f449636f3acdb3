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
    phases = [forward_cost(plan, plan.turns_of(phase)) for phase in plan.stages]
    steps = [f"a step of phase {index}" for index in range(1, 1 + len(phases))] if plan.phases else ["a step"]
    heads = [f"{'forward multiply-adds ' if index == 0 else ''}{step}" for index, step in enumerate(steps)]
    rows: list[tuple[str, ...]] = [("network", "parameters", "multiply-adds an example", *heads)]
    for network in plan.networks:
        forward = [f"{found[network.name]:,}" for found in phases]
        rows.append((network.name, f"{network.parameters:,}", f"{network.multiply_adds:,}", *forward))
    rows.append(("sum", f"{plan.parameters:,}", "", *(f"{sum(found.values()):,}" for found in phases)))
    found = memory(plan)
    held = f"  memory of a step, about {bytes_text(found.total)}: {memory_text(found)}"
    scored, fitted = known_counts(plan)
    needed = evaluation_memory(plan, scored, fitted)
    images = f" of {counted(scored, 'image')}" if scored else " without its scores"
    later = f"  memory of an evaluation{images}, about {bytes_text(needed.total)}: {evaluation_text(needed)}"
    return "\n".join(["cost", *table(rows, right=range(1, len(rows[0]))), held, later])


def row_memory(plan: Plan) -> dict[str, dict[str, str]]:
    """Network -> row -> what the row takes of a step's memory, as text."""
    found: dict[str, dict[str, str]] = {network.name: {} for network in plan.networks}
    for network, row, share in memory(plan).rows:
        found[network][row] = bytes_text(share)
    return found
