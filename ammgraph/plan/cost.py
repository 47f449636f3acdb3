"""What a plan costs before anything trains: parameters, multiply-adds, and bytes of memory."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ammgraph.diagnostics import Diagnostic, counted
from ammgraph.plan.draws import FromData, FromPrior
from ammgraph.plan.enumeration import repeated
from ammgraph.plan.evaluation_cost import EvaluationMemory, evaluation_memory, known_counts
from ammgraph.plan.networks import RowPlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import TurnPlan
from ammgraph.spec.schema import Spec

LARGEST_MEMORY = 1 << 43  # bytes: more than one machine has for a step; `train` asks the machine at hand
Precision: TypeAlias = Literal["float32", "tf32", "bfloat16", "float64"]
_WEIGHT_BYTES: dict[Precision, int] = {"float32": 4, "tf32": 4, "bfloat16": 4, "float64": 8}
_ACTIVATION_BYTES: dict[Precision, int] = {"float32": 4, "tf32": 4, "bfloat16": 2, "float64": 8}


@dataclass(frozen=True)
class Memory:
    """Bytes that one step of training must hold at once; data sets and a library's own buffers come on top."""

    weights: int  # weights, their gradients, the optimizers' states, averages, statistics of batch norm
    activations: int  # batches, noise, and what the turn that needs most keeps for its backward passes
    rows: tuple[tuple[str, str, int], ...]  # (network, row, its share in bytes), the largest first

    @property
    def total(self) -> int:
        """Bytes in all."""
        return self.weights + self.activations


def memory(plan: Plan, precision: Precision = "float32") -> Memory:
    """The memory of one step, from shapes alone.

    weights      for each parameter: itself, its gradient, the optimizer's numbers (Adam 2, RMSprop 1, SGD with momentum
                 1, else 0), and its average where any network is averaged; twice the channels of a batch norm; the
                 vectors of a spectral norm
    activations  for each row computed, its weights once more where they are normalised; what is repeated for every
                 value of a category; at its batch size: its sum or concatenation, its input after noise, its input
                 after dropout and the scaled mask, the results of the operation, normalisation, activation and pool;
                 twice that in a penalty, whose gradient is differentiated again; a row's result alone where no gradient
                 flows through it; of two passes at moved samples the second; of the losses' passes and each penalty's
                 own pass, one after the other, what needs most

    In bfloat16 a number of an activation takes two bytes and one of a weight four.
    """
    width = _WEIGHT_BYTES[precision]
    averaged = any(network.ema is not None for network in plan.networks)
    shares: Counter[tuple[str, str]] = Counter()
    for network in plan.networks:
        for row in network.rows:
            statistics = 2 * row.inner_shape[0] * row.batchnorm + sum(map(math.prod, row.kept.values()))
            learned = 1 + network.optimizer.states if network.trainable else 0
            copies = (1 + learned + averaged) * row.parameters + (1 + averaged) * statistics
            shares[network.name, row.name] += width * copies
    weights = shares.total()
    turns = [_turn_memory(plan, turn, _ACTIVATION_BYTES[precision]) for turn in plan.turns]
    common, rows = max(turns, key=lambda turn: turn[0] + turn[1].total())
    shares += rows
    ordered = sorted(shares.items(), key=lambda entry: -entry[1])
    return Memory(weights, common + rows.total(), tuple((*place, share) for place, share in ordered))


def check_memory(spec: Spec, plan: Plan) -> list[Diagnostic]:
    """A step, an evaluation and a report fit into some machine."""
    found = memory(plan)
    if found.total > LARGEST_MEMORY:
        network, row, share = found.rows[0]
        return [
            Diagnostic(
                "too-large",
                f"a step of training needs about {bytes_text(found.total)} of memory",
                spec.source.value("networks", network, "layers", row, "channels"),
                found=f"{memory_text(found)}; row `{row}` of `{network}` alone {bytes_text(share)}",
                expected=f"at most {bytes_text(LARGEST_MEMORY)}",
                hint="fewer channels or positions, or a smaller `training.batch_size`",
            )
        ]
    scored, fitted = known_counts(plan)
    needed = evaluation_memory(plan, scored, fitted)
    if needed.total <= LARGEST_MEMORY:
        return []
    return [
        Diagnostic(
            "too-large",
            f"an evaluation of {counted(scored, 'image')} needs about {bytes_text(needed.total)} of memory",
            spec.source.value(*(("variables", needed.variable, "size") if needed.variable else ("variables",))),
            found=evaluation_text(needed),
            expected=f"at most {bytes_text(LARGEST_MEMORY)}",
            hint=evaluation_advice(needed),
        )
    ]


def memory_text(found: Memory) -> str:
    """What the memory is for, as in `weights with gradients and optimizer states 18 MiB, activations 484 MiB`."""
    return (
        f"weights with gradients and optimizer states {bytes_text(found.weights)}, "
        f"activations {bytes_text(found.activations)}"
    )


def evaluation_text(found: EvaluationMemory) -> str:
    """What the memory is for, as in `scores 41.1 MiB, of `y` the most; beside them 12.0 MiB`."""
    most = f", of `{found.variable}` the most" if found.variable else ""
    return f"scores {bytes_text(found.scores)}{most}; beside them {bytes_text(found.other)}"


def evaluation_advice(found: EvaluationMemory) -> str:
    """What makes it less."""
    return f"fewer categories of `{found.variable}`" if found.scores > found.other else "smaller images or networks"


def bytes_text(count: int) -> str:
    """2147483648 -> `2.0 GiB`."""
    size, units = float(count), ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:,.0f} {units[0]}" if units[0] == "bytes" or size >= 100 else f"{size:.1f} {units[0]}"


def forward_cost(plan: Plan, turns: Sequence[TurnPlan]) -> dict[str, int]:
    """Network -> multiply-adds of all its forward passes in a step of these turns, at the plan's batch sizes."""
    total = {network.name: 0 for network in plan.networks}
    for turn in turns:
        for found in turn.passes:
            network = plan.network(found.evaluation.network)
            adds = sum(found.batch_of(name) * network.row(name).multiply_adds for name in found.computed)
            total[network.name] += turn.steps * found.times * adds // found.every
    return total


def _turn_memory(plan: Plan, turn: TurnPlan, width: int) -> tuple[int, Counter[tuple[str, str]]]:
    """(bytes of batches and noise, bytes of each row) that a turn keeps."""
    flows = any(objective.through == "samples" for objective in turn.objectives)
    sloped = frozenset().union(*(loss.sloped for loss in turn.losses))
    common = sum(site.batch * math.prod(site.shape) * (1 if site.kind == "mask" else width) for site in turn.sites)
    for draw in (turn.drawn(plan.draw(name)) for name in turn.draws):
        taken = [f.variables for f in draw.factors if f.needed and isinstance(f.origin, FromData | FromPrior)]
        shapes = [plan.variable(variable).shape for variables in taken for variable in variables]
        common += width * draw.batch_size * sum(math.prod(shape) for shape in shapes)
    rows: Counter[tuple[str, str]] = Counter()
    alternatives = [rows]  # a pass between samples begins when the backward passes of the others have ended
    for found in turn.passes:
        network = plan.network(found.evaluation.network)
        held = Counter[tuple[str, str]]()
        for row in (network.row(name) for name in found.computed):
            flows_here = not found.stopped if found.kind == "asked" else found.kind != "drawn" or flows
            kept = _kept(row) if flows_here else math.prod(row.out_shape)
            twice = 1 + (found.evaluation.name in sloped)
            held[network.name, row.name] += twice * width * (found.batch_of(row.name) * kept + row.applied)
        for name in repeated(network, found):
            shape = dict(network.inputs).get(name) or network.row(name.removesuffix(".raw")).out_shape
            held[network.name, name.removesuffix(".raw")] += width * found.batch * math.prod(shape)
        if found.kind == "between":
            alternatives.append(held)
        else:
            rows += held
    return common, max(alternatives, key=Counter.total)


def _kept(row: RowPlan) -> int:
    """Numbers of one example that a row keeps for its backward pass."""
    before, inner, after = math.prod(row.in_shape), math.prod(row.inner_shape), math.prod(row.out_shape)
    combines = not row.input.single
    steps = (row.op is not None or bool(row.choose)) + row.normalised + (row.activation is not None)
    copies = combines + bool(row.noise) + 2 * bool(row.dropout)
    inside = 0 if row.operation is None else row.operation.held(row.in_shape, row.inner_shape, row.heads)
    return before * copies + inside + inner * steps + (after if row.resized else 0)
