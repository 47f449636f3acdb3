"""Throws changed and generated specs at the compiler and the trainer; whatever is no clean answer is a failure.

    tools/fuzz --examples 100000 --seed 1 --minutes 120 --json

Every example is a number: `--only N` looks at one again. A quarter are generated from the schema, the rest are shipped
specs with one to four changes. The work is done in a process that is replaced where it hangs or dies.
"""

import argparse
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]

from examine import Verdict, examine  # noqa: E402
from generate import generated  # noqa: E402
from mutate import mutant  # noqa: E402

HANGS_AFTER = 15.0  # seconds of processor without an answer: a machine that is busy hangs nobody
ASLEEP_AFTER = 600.0  # seconds without an answer
DEAD = ("hangs", "the process died")
SMALL = (
    ROOT / "tests" / "tiny.yaml",
    ROOT / "tests" / "tiny_labeled.yaml",
    ROOT / "tests" / "bad_specs" / "_base.yaml",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=120.0, help="stop then, whatever is left")
    parser.add_argument("--only", type=int, metavar="N", help="print example N and what becomes of it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.only is not None:
        file, text = example(options.seed, options.only)
        print(text, examine(text, file, set()), sep="\n")
        return
    result = fuzz(options.seed, options.examples, 60 * options.minutes)
    print(json.dumps(result, indent=1) if options.json else report(result))
    sys.exit(bool(result["failures"]))


@cache
def bases() -> dict[str, str]:
    """File -> text of the specs that are changed: those that are shipped, and small ones that step fast."""
    return {str(path): path.read_text(encoding="utf-8") for path in (*sorted((ROOT / "specs").glob("*.yaml")), *SMALL)}


def example(seed: int, number: int) -> tuple[str, str]:
    """(file, text) of one example."""
    generator = random.Random(f"{seed}/{number}")
    if generator.random() < 0.25:
        return "generated.yaml", generated(generator)
    return mutant(bases(), generator)


def fuzz(seed: int, examples: int, seconds: float) -> dict[str, object]:
    """Examine examples 0, 1, ... until all are done or the time is over."""
    started, outcomes, failures, slowest, number = time.monotonic(), Counter[str](), [], 0.0, 0
    while number < examples and time.monotonic() - started < seconds:
        here, there = multiprocessing.Pipe()
        worker = multiprocessing.Process(target=_work, args=(there, seed, number, examples), daemon=True)
        worker.start()
        there.close()
        while number < examples and time.monotonic() - started < seconds:
            try:
                verdict = here.recv() if _answers(here, worker.pid or 0) else Verdict("failure", "hangs")
            except EOFError:
                verdict = Verdict("failure", "the process died")
            outcomes[verdict.outcome] += 1
            slowest = max(slowest, verdict.seconds)
            if verdict.failure:
                failures.append({"example": number, "failure": verdict.failure})
                print(f"example {number}: {verdict.failure}", file=sys.stderr, flush=True)
            number += 1
            if verdict.failure in DEAD:
                break
        worker.kill()
        worker.join()

    shown = [
        failure if failure["failure"] in DEAD else {**failure, "text": minimal(seed, int(str(failure["example"])))}
        for failure in failures[:20]
    ]
    return {
        "seed": seed,
        "examples": number,
        "outcomes": dict(sorted(outcomes.items())),
        "slowest_seconds": round(slowest, 3),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "failures": shown + failures[20:],
    }


def _answers(here: Connection, pid: int) -> bool:
    """Whether an answer comes before the worker has computed, or slept, for too long."""
    began, first = time.monotonic(), _processor_seconds(pid)
    while not here.poll(1.0):
        if _processor_seconds(pid) - first > HANGS_AFTER or time.monotonic() - began > ASLEEP_AFTER:
            return False
    return True


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0  # it has died, and the pipe says so
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _work(answers: Connection, seed: int, first: int, last: int) -> None:
    torch.set_num_threads(1)
    stepped: set[str] = set()
    for number in range(first, last):
        file, text = example(seed, number)
        answers.send(examine(text, file, stepped))


def minimal(seed: int, number: int, seconds: float = 60.0) -> str:
    """The text of a failing example without the lines that the failure does not need."""
    file, text = example(seed, number)
    failure, started = examine(text, file, set()).failure, time.monotonic()
    if not failure:
        return text
    lines, size = text.split("\n"), max(1, text.count("\n") // 2)
    while size and time.monotonic() - started < seconds:
        for start in range(0, len(lines), size):
            fewer = lines[:start] + lines[start + size :]
            if examine("\n".join(fewer), file, set()).failure[:40] == failure[:40]:
                lines = fewer
                break
        else:
            size //= 2
    return "\n".join(lines)


def report(result: dict[str, object]) -> str:
    """The result as text."""
    return "\n".join(f"{name}: {value}" for name, value in result.items())


if __name__ == "__main__":
    main()
