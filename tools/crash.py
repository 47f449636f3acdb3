"""Kills a training process with SIGKILL at random moments, resumes it until it has come to its end, and compares.

    tools/crash specs/amm_digits.yaml --kills 100

Whole runs are trained so, one after another, until there were enough kills. Every run saves after each step and logs
each step. What must hold of each, against a run of `ammgraph train` that nothing interrupted: the same bits of weights,
averages, optimizers' states, streams of data and noise; the same lines in `metrics.jsonl`, each step once; the same
`samples` and `evaluation.json`; nothing half-written left behind.

Half of the kills come after a random time; the others wait then for a file that is being written. A process is a fork
of this one, which has read torch and trains nothing itself, so that a kill costs a second and not five.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Of this process and its children: with one thread each, no fork leaves another thread's lock behind.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import torch

from ammgraph import cli
from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import load_data
from ammgraph.folders import CHECKPOINTS, EVALUATION, METRICS, OPTIONS, SAMPLES
from ammgraph.runs import checkpoint
from ammgraph.spec.load import load_spec

PATIENCE = 600.0  # seconds that one process may take to its end
WRITE_PATIENCE = 2.0  # seconds to wait for a file that is being written
SETTINGS = ("--device", "cpu", "--log-every", "1", "--checkpoint-seconds", "0")


@dataclass
class Counts:
    """What the kills found, and what came of them."""

    runs: int = 0
    kills: int = 0
    survived: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", nargs="?", default="specs/amm_digits.yaml")
    parser.add_argument("--kills", type=int, default=100, help="at least so many (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--steps", type=int, default=60, help="of a run (default: 60)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE")
    parser.add_argument("--data-dir", metavar="DIR")
    parser.add_argument("--folder", type=Path, help="where runs are trained (default: a temporary folder)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="crash-", dir=options.folder))
    started = time.monotonic()
    try:
        counts = crash(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {
        "spec": options.spec,
        "steps": options.steps,
        "seed": options.seed,
        "runs": counts.runs,
        "tried": counts.kills,
        "survived": counts.survived,
        "lost": counts.kills - counts.survived,
        "moments": dict(counts.moments.most_common()),
        "problems": counts.lost,
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(result, indent=1) if options.json else text(result))
    return 1 if counts.lost else 0


def crash(options: argparse.Namespace, folder: Path) -> Counts:
    overrides = ["training.epochs=null", f"training.steps={options.steps}", *options.set]
    if compile_spec(load_spec(options.spec)).epochs is None:
        del overrides[0]
    words = [options.spec, *SETTINGS, *(word for value in overrides for word in ("--set", value))]
    words += ["--data-dir", options.data_dir] if options.data_dir else []
    warm_up(options)
    whole = folder / "whole"
    command = [sys.executable, "-m", "ammgraph", "train", *words, "--run-dir", str(whole)]
    here = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[1])}  # the same ammgraph as in the forks
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE, env=here)
    life = Life(words, folder / "timed", folder / "log")
    begun = time.monotonic()
    life.start()
    life.wait(PATIENCE, lambda: checkpoint.has_checkpoint(life.folder / CHECKPOINTS))
    start_up = time.monotonic() - begun
    if life.end() != 0:
        raise SystemExit(f"a run that nothing interrupted fails:\n{life.said()}")
    training = time.monotonic() - begun - start_up
    choose, counts = random.Random(options.seed), Counts()
    while counts.kills < options.kills:
        run_folder = folder / f"run-{counts.runs}"
        kills, problems = one_run(Life(words, run_folder, folder / "log"), choose, start_up, training, counts)
        problems += differences(whole, run_folder)
        counts.runs += 1
        counts.kills += kills
        counts.survived += 0 if problems else kills
        counts.lost += [f"run {counts.runs}: {problem}" for problem in problems]
        shutil.rmtree(run_folder, ignore_errors=True)
    return counts


def warm_up(options: argparse.Namespace) -> None:
    """Load what a training process loads, once for all forks."""
    import sklearn.cluster  # noqa: F401
    import torchvision  # noqa: F401

    import ammgraph.commands.trials  # noqa: F401

    directory = Path(options.data_dir) if options.data_dir else None
    load_data(compile_spec(load_spec(options.spec, options.set)).data, directory, download=False)


class Life:
    """One process that trains a run: begins it, or goes on with it where it was begun."""

    def __init__(self, words: list[str], folder: Path, log: Path) -> None:
        self.words, self.folder, self.log = words, folder, log
        self.process = 0
        self.code: int | None = None

    def start(self) -> None:
        """Fork; the child is `ammgraph train`."""
        begun = (self.folder / OPTIONS).exists()
        words = ["train", "--resume", str(self.folder)] if begun else ["train", *self.words]
        words += [] if begun else ["--run-dir", str(self.folder)]
        self.code, self.process = None, os.fork()
        if self.process:
            return
        code = 3
        try:
            file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            code = cli.main(words)
            sys.stdout.flush()
        finally:
            os._exit(code)

    def running(self) -> bool:
        if self.code is None:
            found, status = os.waitpid(self.process, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if found else None
        return self.code is None

    def wait(self, seconds: float, condition: Callable[[], object] = lambda: False, pause: float = 0.001) -> None:
        """Until the time is over, the condition holds, or the process has ended."""
        until = time.monotonic() + seconds
        while self.running() and time.monotonic() < until and not condition():
            time.sleep(pause)

    def kill(self) -> bool:
        """Whether there was still somebody to be killed."""
        if not self.running():
            return False
        os.kill(self.process, signal.SIGKILL)
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        return self.code == -signal.SIGKILL

    def end(self) -> int:
        self.wait(PATIENCE)
        self.kill()
        assert self.code is not None
        return self.code

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]


def one_run(
    life: Life, choose: random.Random, start_up: float, training: float, counts: Counts
) -> tuple[int, list[str]]:
    """Kill, resume, kill, ... to the end of the plan: how many kills, and what went wrong."""
    kills = 0
    while True:
        begun = (life.folder / OPTIONS).exists()
        life.start()
        # About ten lives a run. There is but one beginning: the first two lives end early, no later one is aimed at it.
        # Lives become longer, so that a machine that has become slower comes to an end too.
        longest = 1.2 * start_up if kills < 2 else 1.05**kills * (start_up + training / 5)
        life.wait(choose.uniform(0, longest))
        if choose.random() < 0.5 and (begun or kills < 2):
            life.wait(WRITE_PATIENCE, lambda: half_written(life.folder), pause=0)
        if not life.kill():
            problems = [] if life.code == 0 else [f"exit code {life.code}: {life.said().strip().splitlines()[-1:]}"]
            return kills, problems
        kills += 1
        counts.moments[moment(life.folder)] += 1


def half_written(folder: Path) -> list[str]:
    """The files of a run that are being written."""
    places = (folder, folder / CHECKPOINTS, folder / SAMPLES)
    return [name for place in places for name in names(place) if name.endswith(".new")]


def names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def moment(folder: Path) -> str:
    """Where a kill has hit, as far as the run directory shows it."""
    writing = half_written(folder)
    saved = names(folder / CHECKPOINTS)
    metrics = folder / METRICS
    if writing:
        kinds = {".pt.new": "a checkpoint", ".sha256.new": "a checksum", ".jsonl.new": "the metrics, cut back"}
        kinds[".png.new"] = "samples"
        what = next((text for suffix, text in kinds.items() if writing[0].endswith(suffix)), "the run's description")
        return f"writing {what}"
    if not (folder / OPTIONS).exists():
        return "before the run was begun"
    if {Path(name).stem for name in saved if name.endswith(".sha256")} - {
        Path(name).stem for name in saved if name.endswith(".pt")
    }:
        return "between a checksum and its checkpoint"
    if metrics.exists() and metrics.read_bytes()[-1:] not in (b"", b"\n"):
        return "within a line of the metrics"
    return "before the first checkpoint" if not saved else "elsewhere"


def differences(whole: Path, killed: Path) -> list[str]:
    """In what the two runs differ, though they must not."""
    try:
        expected, found = (checkpoint.load_newest(folder / CHECKPOINTS)[1] for folder in (whole, killed))
        problems = [f"the states differ in {place}" for place in unequal(expected, found)]
        lines, again = lines_of(whole), lines_of(killed)
    except Exception as error:  # whatever it is, this run is lost
        return [f"{type(error).__name__}: {error}"]
    steps = [line["step"] for line in again if "evaluation" not in line]
    if steps != list(range(1, expected["step"] + 1)):
        problems.append(f"{METRICS} has the steps {steps}")
    if lines != again:
        problems.append(f"{METRICS} has other lines")
    if samples_of(whole) != samples_of(killed):
        problems.append(f"{SAMPLES} differs")
    if (whole / EVALUATION).read_bytes() != (killed / EVALUATION).read_bytes():
        problems.append(f"{EVALUATION} differs")
    left = [str(path.relative_to(killed)) for path in killed.rglob("*.new")]
    return problems + ([f"left behind: {', '.join(left)}"] if left else [])


def samples_of(folder: Path) -> dict[str, bytes]:
    """The samples that were kept in training."""
    return {name: (folder / SAMPLES / name).read_bytes() for name in names(folder / SAMPLES)}


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The metrics, without how long they took; every line must be one."""
    lines = [json.loads(line) for line in (folder / METRICS).read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith("seconds")} for line in lines]


def unequal(first: Any, second: Any, place: str = "") -> list[str]:
    """The places in which two states differ in any bit."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = first.dtype == second.dtype and first.shape == second.shape
        return [] if same and raw(first) == raw(second) else [place]
    if type(first) is not type(second):
        return [place]
    if isinstance(first, dict | list | tuple):
        keys = [list(each) if isinstance(each, dict) else list(range(len(each))) for each in (first, second)]
        if keys[0] != keys[1]:
            return [place]
        return [found for key in keys[0] for found in unequal(first[key], second[key], f"{place}/{key}")]
    return [] if first == second else [place]


def raw(tensor: torch.Tensor) -> bytes:
    return bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()) if tensor.numel() else b""


def text(result: dict[str, Any]) -> str:
    head = (
        f"{result['spec']}, {result['steps']} steps, {result['runs']} runs, {result['seconds']:.0f} s: "
        f"{result['tried']} kills tried, {result['survived']} survived, {result['lost']} lost"
    )
    moments = [f"  {count:>5}  {moment}" for moment, count in result["moments"].items()]
    return "\n".join([head, *moments, *(f"  LOST: {problem}" for problem in result["problems"])])


if __name__ == "__main__":
    sys.exit(main())
