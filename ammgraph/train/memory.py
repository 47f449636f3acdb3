"""Whether a step fits into the machine, asked before anything is allocated; what is said where memory ends; how weights
lie in memory, and how the CPU's is kept from one step to the next.
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ammgraph.data.records import machine_memory
from ammgraph.diagnostics import RunError, counted, is_out_of_memory
from ammgraph.nn.model import Model
from ammgraph.plan.cost import Precision, bytes_text, evaluation_advice, evaluation_text, memory, memory_text
from ammgraph.plan.evaluation_cost import evaluation_memory
from ammgraph.plan.plan import Plan

# mallopt's parameters, in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


@torch.no_grad()
def matrices_in_rows(plan: Plan, model: Model) -> Model:
    """The same model; weights that are used as matrices lie row by row, else every pass would copy them into that."""
    for network in plan.networks:
        for row in network.rows:
            weight = model.network(network.name).row(row.name).weight
            if row.is_product and weight is not None:
                weight.data = torch.empty_like(weight, memory_format=torch.contiguous_format).copy_(weight)
    return model


def check_memory(plan: Plan, device: torch.device, precision: Precision = "float32") -> None:
    """The machine has the memory that a step is estimated to need.

    Raises:
        RunError: it has not; with both numbers and what to do.
    """
    needed, there = memory(plan, precision), memory_of(device)
    if needed.total <= there:
        return
    network, row, share = needed.rows[0]
    batch = plan.epoch_batch * (there - needed.weights) // max(1, needed.activations)
    advice = (
        f"lower `training.batch_size`, which is {plan.epoch_batch:,}, to {batch:,} or less"
        if 1 <= batch < plan.epoch_batch
        else "use fewer channels"
    )
    raise RunError(
        f"a step needs about {bytes_text(needed.total)} of memory ({memory_text(needed)}; "
        f"row `{row}` of `{network}` the most, {bytes_text(share)}), and {device} has {bytes_text(there)}; {advice}"
    )


def check_evaluation_memory(plan: Plan, scored: int, fitted: int) -> None:
    """The machine has the memory that an evaluation, or a report, is estimated to need.

    Args:
        plan: the compiled spec.
        scored: images that are scored.
        fitted: images on which assignments are fitted as well.

    Raises:
        RunError: it has not.
    """
    needed, there = evaluation_memory(plan, scored, fitted), machine_memory()
    if needed.total > there:
        raise RunError(
            f"an evaluation of {counted(scored, 'image')} needs about {bytes_text(needed.total)} of memory "
            f"({evaluation_text(needed)}), and the machine has {bytes_text(there)}; {evaluation_advice(needed)}"
        )


@contextmanager
def explained(plan: Plan, precision: Precision, doing: str) -> Iterator[None]:
    """Turn what Python, torch and CUDA raise where memory ends into an error that says what takes it.

    Raises:
        RunError: memory ended.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        needed, reason = memory(plan, precision), " ".join(str(error).partition("\n")[0].split())[:200]
        raise RunError(
            f"out of memory while {doing}{f' ({reason})' if reason else ''}; with `training.batch_size` "
            f"{plan.epoch_batch:,} a step is estimated to need {bytes_text(needed.total)} ({memory_text(needed)}), "
            "beside the data and the program; give the process more memory, or begin another run with smaller batches"
        ) from error


def keep_pages() -> None:
    """Let the process keep memory that tensors have left, for the next ones.

    glibc gives the pages of large tensors back to the system and takes them anew, zeroed, in every step: half of the
    time of `amm_mnist` at batch 512. Kept, they cost memory where tensors of many sizes come and go. Other C libraries
    have policies of their own and are left alone.
    """
    if platform.libc_ver()[0] == "glibc":
        c = ctypes.CDLL(None)
        c.mallopt(_TRIM_THRESHOLD, -1)
        c.mallopt(_MMAP_MAX, 0)


def memory_of(device: torch.device) -> int:
    """Bytes that a device has: of the CPU what the machine or its container has, used or not."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return machine_memory()
