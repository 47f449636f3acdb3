"""The estimate of a step's memory against what a step takes, and the machine that is too small."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import CPU, LABELED, TINY, plan_of, trainer_of
from torch.profiler import ProfilerActivity, profile

from ammgraph.api.fit import fit
from ammgraph.diagnostics import RunError
from ammgraph.plan.cost import memory
from ammgraph.plan.evaluation_cost import evaluation_memory
from ammgraph.spec.load import load_spec
from ammgraph.train import memory as machine
from ammgraph.train.memory import check_evaluation_memory, check_memory, memory_of


@pytest.mark.filterwarnings("ignore:Warning. Profiler clears events")  # of torch 2.11
@pytest.mark.parametrize("path", [TINY, LABELED])
@pytest.mark.parametrize("batch", [50, 500])
def test_the_estimate_is_near_what_a_step_allocates(path: object, batch: int) -> None:
    override = f"training.batch_size={batch}"
    trainer = trainer_of(path, override)
    trainer.advance()  # makes the optimizers' states
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as taken:
        trainer.advance()
    events = [event for event in taken.profiler.kineto_results.events() if event.name() == "[memory]"]
    held, peak = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    gradients = 4 * trainer.plan.parameters  # counted with the weights
    estimate = memory(trainer.plan).activations
    assert 0.6 < estimate / (peak - gradients) < 1.5


def test_a_machine_that_is_too_small_is_told_before_anything_is_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(TINY)
    needed = memory(plan)
    check_memory(plan, CPU)
    monkeypatch.setattr(machine, "memory_of", lambda device: needed.weights + needed.activations // 2)
    with pytest.raises(RunError, match=r"a step needs about .* of memory .*lower `training\.batch_size`") as caught:
        check_memory(plan, CPU)
    assert f"to {plan.epoch_batch // 2:,} or less" in str(caught.value)
    monkeypatch.setattr(machine, "memory_of", lambda device: 10)
    with pytest.raises(RunError, match=r"and cpu has 10 bytes; use fewer channels"):
        check_memory(plan, CPU)


def test_an_evaluation_that_the_machine_is_too_small_for_is_told_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needed = evaluation_memory(plan_of(TINY, "constants.K=900"), 1600, 197)
    check_evaluation_memory(plan_of(TINY, "constants.K=900"), 1600, 197)
    monkeypatch.setattr(machine, "machine_memory", lambda: needed.total - 1)
    monkeypatch.setattr(machine, "memory_of", lambda device: needed.total)
    message = r"an evaluation of 1,600 images needs about .* \(scores .*, of `y` the most; .*fewer categories of `y`"
    with pytest.raises(RunError, match=message):
        fit(load_spec(TINY, ["constants.K=900"]), device="cpu", run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_machine_has_memory() -> None:
    assert 1 << 28 < memory_of(CPU) < 1 << 46


LEFT = """
import resource, torch
from ammgraph.train.memory import keep_pages
def mapped():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() >> 20
def grown():
    before = mapped()
    torch.ones(48 << 18)  # 48 MiB, and gone
    return mapped() - before
torch.set_num_threads(1)
grown()
print(grown())
keep_pages()
print(grown(), min(grown() for _ in range(5)))  # where blocks lie decides how often the heap grows
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's policy is left alone")
def test_memory_that_tensors_left_is_kept_for_the_next_ones() -> None:
    """In MiB that are mapped after a tensor and were not before it, no matter how large pages are."""
    run = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, check=True)
    without, first, later = map(int, run.stdout.split())
    assert abs(without) <= 4
    assert first >= 40
    assert abs(later) <= 4
