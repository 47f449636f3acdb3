"""How the planned step grows: over a grid of settings, with the number of games, and over a whole epoch of real data.

Every cell of a table is a process of its own, so that its peak memory is its own.
"""

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import load_data
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_spec
from ammgraph.train.trainer import Trainer

Setting = tuple[str, tuple[str, ...]]


def axis(text: str) -> tuple[Setting, ...]:
    """`A.B=1,2` -> for every value the overrides that set it; `A.B+C.D=1,2` sets both to the same value."""
    names, equals, values = text.partition("=")
    if not equals or not all(names.split("+")) or not all(values.split(",")):
        raise argparse.ArgumentTypeError(f"expected A.B=VALUE,VALUE or A.B+C.D=VALUE,VALUE, not `{text}`")
    return tuple(
        (f"{names}={value}", tuple(f"{name}={value}" for name in names.split("+"))) for value in values.split(",")
    )


def games_axis(path: str, overrides: list[str], most: int) -> tuple[Setting, ...]:
    """The spec's first game, played once, twice, ... `most` times between the same draws."""
    spec = load_spec(path, overrides)
    first = json.dumps(next(iter(spec.written["games"].values())))
    return tuple(
        (f"{count} game{'s' * (count > 1)}", tuple(f"games.copy{index}={first}" for index in range(2, count + 1)))
        for count in range(1, most + 1)
    )


def table(options: argparse.Namespace, axes: list[tuple[Setting, ...]]) -> list[dict[str, Any]]:
    """One record for each combination of settings."""
    records = []
    for settings in itertools.product(*axes):
        overrides = [*options.set, *(override for _, more in settings for override in more)]
        command = [sys.executable, str(Path(__file__).parent / "bench.py"), options.spec, "--cell"]
        command += ["--batch-size", str(options.batch_size), "--repeat", str(options.repeat)]
        command += ["--precision", options.precision]
        command += ["--threads", str(options.threads), *(word for value in overrides for word in ("--set", value))]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        records.append({"settings": [name for name, _ in settings], **found})
    return records


def cell(plan: Plan, median_seconds: float, peak_kib: int) -> dict[str, Any]:
    """What one process has measured."""
    examples = plan.epoch_batch
    return {
        "batch_size": examples,
        "passes": sum(len(turn.passes_of("scored")) for turn in plan.turns),
        "penalty_passes": sum(len(turn.passes_of("between")) for turn in plan.turns),
        "seconds": round(median_seconds, 5),
        "seconds_an_example": round(median_seconds / examples, 7),
        "peak_memory_mib": peak_kib // 1024,
    }


def text(records: list[dict[str, Any]]) -> str:
    """The records as a table."""
    width = max(len("  ".join(record["settings"])) for record in records) + 2
    lines = [f"  {'':<{width}}{'seconds a step':>15}{'ms an example':>15}{'passes':>8}{'penalties':>11}{'MiB':>8}"]
    for record in records:
        lines.append(
            f"  {'  '.join(record['settings']):<{width}}{record['seconds']:>15.4f}"
            f"{1000 * record['seconds_an_example']:>15.3f}{record['passes']:>8}{record['penalty_passes']:>11}"
            f"{record['peak_memory_mib']:>8,}"
        )
    return "\n".join(lines)


def epoch(options: argparse.Namespace) -> dict[str, Any]:
    """One epoch of the spec's own data, end to end, and the share of it that the batches of data take."""
    plan = compile_spec(load_spec(options.spec, [f"training.batch_size={options.batch_size}", *options.set]))
    dataset = load_data(plan.data, options.data_dir)
    trainer = Trainer(plan, dataset, 0, torch.device("cpu"), options.precision)
    spent = [0.0]

    def timed(part: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            started = time.perf_counter()
            found = part(*arguments)
            spent[0] += time.perf_counter() - started
            return found

        return run

    feed = trainer.feed
    feed.positions, feed.records = timed(feed.positions), timed(feed.records)  # type: ignore[method-assign]
    started = time.perf_counter()
    for _ in range(trainer.steps_per_epoch):
        trainer.advance()
    values = trainer.recorder.flush()
    seconds = time.perf_counter() - started
    return {
        "spec": options.spec,
        "precision": options.precision,
        "steps": trainer.steps_per_epoch,
        "seconds": round(seconds, 2),
        "examples_per_second": round(trainer.steps_per_epoch * plan.epoch_batch / seconds, 1),
        "data_seconds": round(spent[0], 3),
        "data_share": round(spent[0] / seconds, 5),
        "values": len(values),
    }
