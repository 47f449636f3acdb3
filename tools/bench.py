"""Times the planned step against plain PyTorch loops of the same model, in one process, interleaved.

    tools/bench specs/amm_mnist.yaml --batch-size 100 --repeat 7
    tools/bench specs/amm_mnist.yaml --scale constants.K=10,100 --scale training.batch_size=16,512
    tools/bench specs/amm_mnist.yaml --games 3
    tools/bench specs/amm_mnist.yaml --epoch --data-dir DIR
    tools/bench specs/infogan_mnist.yaml --batch-size 128 --threads 1 --cpu-time
    tools/bench specs/amm_mnist.yaml --set games.joint.gradient_penalty=null --variants idiomatic,pixyz,planned

Prints medians, ratios, examples a second, peak memory (each variant in a process of its own), the time of the compiler,
and the share of the machine's measured matrix-multiply peak that the planned step reaches. Data are random: what is
timed is the step, from a batch of images to updated weights. Models of games alone are compared with the loops of
`plain.py`, those without penalties with pixyz too, where it is installed; infogan_mnist and aae_mnist with
theirs in `by_hand.py`. `--cpu-time` counts what this process computes, on a machine that is busy with others. `--scale`
and `--games` print how the planned step alone grows; `--epoch` times one epoch of the spec's own data.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
import by_hand
import growth
import plain

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import Dataset
from ammgraph.data.records import Split
from ammgraph.nn.model import one_hot
from ammgraph.plan import cost
from ammgraph.plan.draws import FromData, FromNetwork, FromPrior
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_spec
from ammgraph.spec.schema import Normal, Uniform
from ammgraph.train.trainer import Trainer

VARIANTS = (*plain.LOOPS, "pixyz", "planned", "planned-bfloat16", "planned-float64")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=7, help="timed steps of each variant")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE")
    parser.add_argument(
        "--variants", type=variants, help=f"of {','.join(VARIANTS)} (default: all that there are but pixyz and float64)"
    )
    parser.add_argument("--cpu-time", action="store_true", help="seconds of this process, not of the clock on the wall")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--scale", action="append", default=[], type=growth.axis, metavar="A.B=VALUE,VALUE")
    parser.add_argument("--games", type=int, metavar="N", help="the first game, played 1 to N times on the same draws")
    parser.add_argument("--epoch", action="store_true", help="one epoch of the spec's data, end to end")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "float64"))
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--cell", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.epoch:
        print(json.dumps(growth.epoch(options), indent=1))
        return
    if options.scale or options.games:
        axes = [growth.games_axis(options.spec, options.set, options.games)] if options.games else []
        records = growth.table(options, [*axes, *options.scale])
        print(json.dumps(records, indent=1) if options.json else growth.text(records))
        return
    started = time.perf_counter()
    plan = compile_spec(load_spec(options.spec, [f"training.batch_size={options.batch_size}", *options.set]))
    compile_seconds = time.perf_counter() - started
    clock = time.process_time if options.cpu_time else time.perf_counter
    loops = loops_of(plan, options.spec)
    if options.variants is None:
        options.variants = [*(name for name in loops if name != "pixyz"), "planned", "planned-bfloat16"]
    missing = [name for name in options.variants if not name.startswith("planned") and name not in loops]
    if missing == ["pixyz"]:
        parser.error(
            "pixyz needs `pip install pixyz==0.3.3 ipython`, and games without penalties, of the same variables"
        )
    if missing:
        written = " and ".join(by_hand.MODELS)
        parser.error(f"no {', '.join(missing)} of {options.spec}: of those with terms, {written} have `idiomatic`")
    if options.cell:
        name = "planned" if options.precision == "float32" else f"planned-{options.precision}"
        (seconds,) = interleaved(steps(plan, [name], loops), options.repeat, clock).values()
        print(json.dumps(growth.cell(plan, statistics.median(seconds), peak_resident_kib())))
        return
    if options.memory_of:
        step = steps(plan, [options.memory_of], loops)[options.memory_of]
        for _ in range(2):
            step()
        print(peak_resident_kib())
        return
    times = interleaved(steps(plan, options.variants, loops), options.repeat, clock)
    result = summary(plan, options, times, compile_seconds)
    print(json.dumps(result, indent=1) if options.json else text(result))


def variants(names: str) -> list[str]:
    """A list of variants, checked."""
    found = names.split(",")
    unknown = [name for name in found if name not in VARIANTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; expected some of {', '.join(VARIANTS)}")
    return found


def loops_of(plan: Plan, spec: str) -> dict[str, Callable[[], Callable[[], None]]]:
    """Plain loop -> what makes its step: those of any model of games, or the one written for a spec with terms."""
    if not plan.terms:
        loops = {
            name: lambda loop=loop: partial(loop, plain.PlainModel(plan), batches(plan))
            for name, loop in plain.LOOPS.items()
        }
        return loops | in_pixyz(plan)
    model = by_hand.MODELS.get(Path(spec).stem)
    return {} if model is None else {"idiomatic": lambda: model(plan.draws[0].batch_size).step}


def in_pixyz(plan: Plan) -> dict[str, Callable[[], Callable[[], None]]]:
    """The step in pixyz, where it is installed and can say the model."""
    if find_spec("pixyz") is None or not sayable_in_pixyz(plan):
        return {}
    from in_pixyz import Step

    return {"pixyz": lambda: Step(plan, batches(plan))}


def sayable_in_pixyz(plan: Plan) -> bool:
    """Games of Jensen and Shannon without penalties; each of two draws of the same variables, whose priors are N(0, 1)
    and uniform categories.
    """
    for game in plan.games:
        drawn = [plan.draw(name) for side in (game.real, game.fake) for _, name in side]
        variables = [{name for factor in draw.factors for name in factor.variables} for draw in drawn]
        if game.objective != "jensen_shannon" or game.penalties or len(drawn) != 2 or variables[0] != variables[1]:
            return False
        for factor in (factor for draw in drawn for factor in draw.factors):
            origin = factor.origin
            prior = Uniform if plan.variable(factor.variables[0]).kind == "categorical" else Normal
            if isinstance(origin, FromData | FromNetwork):
                continue
            if not isinstance(origin, FromPrior) or not isinstance(origin.prior, prior):
                return False
    return True


def steps(
    plan: Plan, names: list[str], loops: dict[str, Callable[[], Callable[[], None]]]
) -> dict[str, Callable[[], None]]:
    """Variant -> one step."""
    made: dict[str, Callable[[], None]] = {}
    for name in names:
        if name.startswith("planned"):
            precision = name.partition("-")[2] or "float32"
            trainer = Trainer(plan, random_dataset(plan), 0, torch.device("cpu"), precision)
            made[name] = trainer.advance
        else:
            made[name] = loops[name]()
    return made


def interleaved(
    variants: dict[str, Callable[[], None]], repeat: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each step; the variants take turns, so that what disturbs one disturbs all."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for step in variants.values():
        step()
    for _ in range(repeat):
        for name, step in variants.items():
            started = clock()
            step()
            times[name].append(clock() - started)
    return times


def summary(
    plan: Plan, options: argparse.Namespace, times: dict[str, list[float]], compile_seconds: float
) -> dict[str, Any]:
    medians = {name: statistics.median(found) for name, found in times.items()}
    peak = matrix_multiply_peak(clock=time.process_time if options.cpu_time else time.perf_counter)
    forward = sum(cost.forward_cost(plan, plan.turns).values())
    return {
        "spec": options.spec,
        "batch_size": options.batch_size,
        "threads": options.threads,
        "torch": torch.__version__,
        "compile_seconds": round(compile_seconds, 4),
        "median_seconds": {name: round(value, 5) for name, value in medians.items()},
        "examples_per_second": {name: round(options.batch_size / value, 1) for name, value in medians.items()},
        "ratio_to": {
            reference: {name: round(medians[name] / medians[reference], 3) for name in medians if name != reference}
            for reference in ("idiomatic", "shared")
            if reference in medians
        },
        "peak_memory_mib": {name: memory(options, name) for name in medians},
        "step_allocates_mib": round(allocated(plan) / 2**20),
        "step_estimated_mib": round(cost.memory(plan).total / 2**20),
        "forward_multiply_adds": forward,
        "matrix_multiply_peak": round(peak),
        # A loop of `plain.py` knows one schedule, every player once a step; one of `by_hand.py` the spec's.
        "same_updates": bool(plan.terms) or sum(turn.steps for turn in plan.turns) == 1,
        "share_of_peak": round(3 * forward / medians["planned"] / peak, 3) if "planned" in medians else None,
    }


def text(result: dict[str, Any]) -> str:
    lines = [
        f"{result['spec']}, batch {result['batch_size']}, {result['threads']} threads, torch {result['torch']}",
        f"  compiled in {result['compile_seconds']:.3f} s",
        f"  {'variant':<20}{'seconds a step':>15}{'examples/s':>12}{'of idiomatic':>14}{'of shared':>11}{'MiB':>8}",
    ]
    median = result["median_seconds"]
    for name, seconds in median.items():
        ratios = [
            seconds / median[reference] if reference in median else float("nan")
            for reference in ("idiomatic", "shared")
        ]
        lines.append(
            f"  {name:<20}{seconds:>15.4f}{result['examples_per_second'][name]:>12,.0f}"
            f"{ratios[0]:>14.2f}{ratios[1]:>11.2f}{result['peak_memory_mib'][name]:>8,}"
        )
    lines.append(
        f"  a planned step's tensors with weights and optimizer states take {result['step_allocates_mib']:,} MiB; "
        f"estimated: {result['step_estimated_mib']:,} MiB"
    )
    if result["share_of_peak"] is not None:
        peak = f"{result['matrix_multiply_peak'] / 1e9:.0f} G multiply-adds/s"
        lines.append(
            f"  {result['forward_multiply_adds']:,} multiply-adds forward; counted three times, the planned step "
            f"reaches {result['share_of_peak']:.0%} of the measured {peak}"
        )
    if not result["same_updates"]:
        lines.append(
            "  the schedules differ: a plain loop updates every player once, the planned step as the spec says"
        )
    return "\n".join(lines)


def memory(options: argparse.Namespace, name: str) -> int:
    """Peak resident MiB of two steps of one variant, in a process of its own."""
    command = [sys.executable, __file__, options.spec, "--batch-size", str(options.batch_size), "--memory-of", name]
    command += ["--threads", str(options.threads), *(word for value in options.set for word in ("--set", value))]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) // 1024


def allocated(plan: Plan) -> int:
    """Bytes of tensors that a planned step holds at its peak, weights and optimizer states included."""
    trainer = Trainer(plan, random_dataset(plan), 0, torch.device("cpu"))
    trainer.advance()
    states = [state for optimizer in trainer.optimizers.values() for state in optimizer.state.values()]
    tensors = [*trainer.model.state_dict().values(), *(entry for state in states for entry in state.values())]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as taken:
        trainer.advance()
    events = [event for event in taken.profiler.kineto_results.events() if event.name() == "[memory]"]
    held, peak = 0, 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak + sum(tensor.nbytes for tensor in tensors)


def peak_resident_kib() -> int:
    """This process's own peak; getrusage would count what the process that started it had."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def matrix_multiply_peak(size: int = 1536, clock: Callable[[], float] = time.perf_counter) -> float:
    """Multiply-adds a second of the best of some float32 products."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    a @ b
    best = float("inf")
    for _ in range(5):
        started = clock()
        a @ b
        best = min(best, clock() - started)
    return size**3 / best


def random_dataset(plan: Plan) -> Dataset:
    shape = next(variable.shape for variable in plan.variables if variable.kind == "image")
    count = 4 * max(draw.batch_size for draw in plan.draws)
    split = Split(torch.randint(0, 256, (count, *shape), dtype=torch.uint8), torch.arange(count) % 10)
    labeled = torch.arange(count // 2)
    return Dataset("random", split, None, None, labeled, tuple("0123456789"), "random pixels")


def batches(plan: Plan) -> plain.Batches:
    found: plain.Batches = {}
    for draw in plan.draws:
        for factor in draw.factors:
            if isinstance(factor.origin, FromData):
                for name, field in factor.origin.fields:
                    variable = plan.variable(name)
                    found.setdefault(draw.name, {})[name] = (
                        torch.rand(draw.batch_size, *variable.shape)
                        if field == "image"
                        else one_hot(torch.arange(draw.batch_size) % 10, variable.shape[0], torch.float32)
                    )
    return found


if __name__ == "__main__":
    main()
