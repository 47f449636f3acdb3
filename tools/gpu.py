"""Checks, times and trains on a machine with a GPU, in one command that ends before its time is up.

    tools/gpu --prepare --data-dir DIR
    tools/gpu --seconds 540 --out DIR
    tools/gpu --device cpu --few --seconds 60 --out DIR

The first fills .gpu/, here, with wheels of what a bare machine lacks and with MNIST; `--run RUN` adds a run that an
earlier call trained, to go on with it. The others, there: the tests that need a GPU; a step's gradients on GPU and CPU
in float64; times of a step of five specs, with the share of the measured bfloat16 peak; then training, or going on,
in the time that is left. DIR gets `report.txt`, `figures.json`, and the run as `run.tgz`. A stage that fails is
reported, and the others go on.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CARRIED = ROOT / ".gpu"
SPECS = {"amm_digits": 100, "amm_mnist_pairs": 200, "amm_mnist": 100, "amm_svhn": 100, "samm_svhn": 100}
# Those of the dependencies that come with torch on such a machine, or are installed there.
THERE = {"torch", "torchvision", "numpy", "scipy", "scikit-learn", "matplotlib", "rich"}
TESTS = ["pytest", "hypothesis"]
AFTER_TRAINING = 45  # seconds for the evaluation, and to pack the run
TRAINED = "specs/amm_mnist.yaml"
WITHOUT_END = ["training.epochs=1000", "evaluation.every_epochs=5"]  # what is trained until the time is up


class Report:
    """What was found, as text and as figures, written down as it is found."""

    def __init__(self, folder: Path, seconds: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.figures, self._end = folder, dict[str, Any](), time.monotonic() + seconds
        self._text = folder / "report.txt"
        self._text.write_text("", encoding="utf-8")

    @property
    def left(self) -> float:
        """Seconds until everything has to be written."""
        return self._end - time.monotonic()

    def say(self, text: str) -> None:
        """A line, on the terminal and in the report."""
        print(text, flush=True)
        with self._text.open("a", encoding="utf-8") as stream:
            print(text, file=stream)

    def keep(self, name: str, value: Any) -> None:
        """A figure, for tools."""
        self.figures[name] = value
        (self.folder / "figures.json").write_text(json.dumps(self.figures, indent=1), encoding="utf-8")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """One part; what fails in it is reported, and the next begins."""
        self.say(f"== {name} ({self.left:.0f} s left)")
        try:
            yield
        except Exception as error:
            self.say(f"{name} failed: {type(error).__name__}: {error}")
            self.keep(f"{name} failed", f"{type(error).__name__}: {error}")

    def command(self, words: list[str], seconds: float) -> int:
        """Run a program for so long at most; its last lines are the report's."""
        log = self.folder / "command.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(words, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT)
            try:
                code = process.wait(max(seconds, 1))
            except subprocess.TimeoutExpired:
                process.terminate()  # `train` saves, and goes on another time
                code = process.wait()
        lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
        for line in lines[-40:]:
            self.say(f"   {line}")
        log.unlink()
        return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prepare", action="store_true", help="here: fill .gpu/")
    parser.add_argument("--run", type=Path, help="with --prepare: a run to go on with")
    parser.add_argument("--data-dir", type=Path, help="with --prepare: where MNIST is; else where data are")
    parser.add_argument("--seconds", type=float, default=540, help="for all of it")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-report")))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--few", action="store_true", help="the smallest spec and few steps alone: a rehearsal")
    parser.add_argument("--train", default=TRAINED, metavar="SPEC", help=f"default: {TRAINED}, until the time is up")
    parser.add_argument("--set", action="append", metavar="A.B=VALUE", help="of the spec that is trained")
    options = parser.parse_args()
    if options.prepare:
        prepare(options.data_dir, options.run)
        return
    report = Report(options.out, options.seconds)
    specs = dict(list(SPECS.items())[:1]) if options.few else SPECS
    with report.stage("machine"):
        machine(report, options.device)
    with report.stage("tests"):
        files = [f"tests/train/{name}.py" for name in ("test_syncs", "test_graphs")]
        words = [sys.executable, "-m", "pytest", *files, "-k", "cuda", "-p", "no:cacheprovider"]
        report.keep("tests", report.command(words, min(110, report.left / 4)))
    with report.stage("agreement"):
        for name in [name for name in specs if name != "amm_mnist_pairs"]:
            worst = agreement(name, options.device)
            report.say(f"{name}: largest relative difference of a gradient on cpu and {options.device}: {worst:.1e}")
            report.keep(f"agreement/{name}", worst)
    with report.stage("times"):
        times(report, specs, options.device, steps=3 if options.few else 40)
    with report.stage("training"):
        train(report, options)
    report.say(f"== done ({report.left:.0f} s left)")


# ------------------------------------------------------------------------------------------------ here


def prepare(data_dir: Path | None, run: Path | None) -> None:
    """Fill .gpu/ with wheels for Python 3.12 on Linux, MNIST and a run."""
    if data_dir is None or not (data_dir / "MNIST").is_dir():
        raise SystemExit(
            "--prepare needs --data-dir DIR, with DIR/MNIST as `ammgraph train specs/amm_mnist.yaml` left it"
        )
    exclude = ROOT / ".git" / "info" / "exclude"
    if exclude.parent.is_dir() and "/.gpu/" not in (exclude.read_text() if exclude.exists() else "").split():
        with exclude.open("a", encoding="utf-8") as stream:
            stream.write("/.gpu/\n")
    wheels = CARRIED / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {text: text.partition(">")[0].partition("<")[0] for text in project["dependencies"]}
    alone = [text for text, name in names.items() if name == "torch-fidelity"]
    whole = [text for text, name in names.items() if name not in THERE and text not in alone] + TESTS
    target = ["--python-version", "3.12", "--implementation", "cp", "--only-binary", ":all:", "--dest", str(wheels)]
    target += [word for tag in ("2_17", "2014", "2_28") for word in ("--platform", _platform(tag))]
    for words in (whole, ["--no-deps", *alone]):
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *target, *words], check=True)
    with tarfile.open(CARRIED / "mnist.tgz", "w:gz") as archive:
        archive.add(data_dir / "MNIST", "MNIST")
    if run is not None:
        with tarfile.open(CARRIED / "run.tgz", "w:gz") as archive:
            archive.add(run, "run")
    size = sum(path.stat().st_size for path in CARRIED.rglob("*") if path.is_file())
    print(f".gpu/: {size / 2**20:.0f} MiB; carry it along, and there: tools/gpu --seconds 540 --out DIR")


def _platform(tag: str) -> str:
    return f"manylinux{tag}_x86_64" if tag == "2014" else f"manylinux_{tag}_x86_64"


# ------------------------------------------------------------------------------------------------ there


def machine(report: Report, device: str) -> None:
    """Card, versions, commit."""
    import torch

    found = {
        "card": torch.cuda.get_device_name() if device == "cuda" else "none",
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
        ).stdout.strip(),
    }
    for name, value in found.items():
        report.keep(name, value)
    report.say(", ".join(f"{name} {value}" for name, value in found.items()))


def trainer_of(name: str, batch: int, device: str, precision: Any) -> Any:
    """A trainer of a spec on random images."""
    import torch
    from bench import random_dataset

    from ammgraph.compiler.compile import compile_spec
    from ammgraph.spec.load import load_spec
    from ammgraph.train.trainer import Trainer

    plan = compile_spec(load_spec(str(ROOT / "specs" / f"{name}.yaml"), [f"training.batch_size={batch}"]))
    torch.manual_seed(0)
    return Trainer(plan, random_dataset(plan), 0, torch.device(device), precision)


def agreement(name: str, device: str, batch: int = 4) -> float:
    """The largest |g_device - g_cpu| / max |g_cpu| of a tensor over all gradients of a turn, in float64."""
    from ammgraph.train.step import take_turn

    sides = {place: trainer_of(name, batch, place, "float64") for place in dict.fromkeys(("cpu", device))}
    plan = sides["cpu"].plan
    turn = plan.turns[0]
    data, noise = sides["cpu"].feed.batches(turn), sides["cpu"].noise.of(turn, 0)
    found = {
        place: take_turn(trainer.model, plan, turn, moved(data, place), moved(noise, place), 0.0).gradients
        for place, trainer in sides.items()
    }
    pairs = [
        pair for network in found["cpu"] for pair in zip(found["cpu"][network], found[device][network], strict=True)
    ]
    return max(((a - b.cpu()).abs().max() / a.abs().max().clamp_min(1e-30)).item() for a, b in pairs)


def moved(tree: Mapping[str, Any], device: str) -> dict[str, Any]:
    """A mapping of mappings of tensors, on a device."""
    return {name: moved(part, device) if isinstance(part, Mapping) else part.to(device) for name, part in tree.items()}


def times(report: Report, specs: Mapping[str, int], device: str, steps: int) -> None:
    """Seconds of a step, each by itself and in a row without waiting, and the share of the measured peak."""
    import torch

    from ammgraph.plan import cost

    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    peak = matrix_multiply_peak(device, wait)
    report.say(f"bfloat16 products: {peak / 1e12:.3g} T multiply-adds/s")
    report.keep("peak", peak)
    for name, batch in specs.items():
        kinds = [("float32", True), ("tf32", True), ("bfloat16", True), ("bfloat16", False)]
        for precision, captured in kinds if device == "cuda" else [("float32", False), ("bfloat16", False)]:
            how = precision + (" captured" if captured else "")
            with report.stage(f"times/{name}/{how}"):
                trainer = trainer_of(name, batch, device, precision)
                trainer.graphs = trainer.graphs if captured else None
                for _ in range(5 if steps > 5 else 1):
                    trainer.advance()
                if trainer.graphs is not None and trainer.graphs.problem:
                    report.say(f"not captured: {trainer.graphs.problem}")
                single = statistics.median(seconds(trainer.advance, wait) for _ in range(steps))
                row = seconds(lambda trainer=trainer: [trainer.advance() for _ in range(steps)], wait) / steps
                share = 3 * sum(cost.forward_cost(trainer.plan, trainer.plan.turns).values()) / row / peak
                report.say(
                    f"batch {batch}: {1e3 * single:.2f} ms, in a row {1e3 * row:.2f} ms, {share:.1%} of the peak"
                )
                report.keep(f"times/{name}/{how}", {"step": single, "in a row": row, "share of peak": share})


def seconds(run: Callable[[], object], wait: Callable[[], None]) -> float:
    """How long it takes until the device has done it."""
    wait()
    started = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - started


def matrix_multiply_peak(device: str, wait: Callable[[], None]) -> float:
    """Multiply-adds a second of the best of some bfloat16 products."""
    import torch

    size = 8192 if device == "cuda" else 512
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return size**3 / min(seconds(lambda: a @ b, wait) for _ in range(10))


def train(report: Report, options: argparse.Namespace) -> None:
    """Train in the time that is left, or go on with the run that was brought along; evaluate it, and pack it."""
    run, data = options.out / "run", options.data_dir
    if (CARRIED / "mnist.tgz").exists() and data is None:
        data = options.out / "data"
        with tarfile.open(CARRIED / "mnist.tgz") as archive:
            archive.extractall(data, filter="data")
    where = ["--data-dir", str(data)] if data is not None else []
    ammgraph = [sys.executable, "-m", "ammgraph"]
    if (CARRIED / "run.tgz").exists():
        with tarfile.open(CARRIED / "run.tgz") as archive:
            archive.extractall(options.out, filter="data")
        words = [*ammgraph, "train", "--resume", str(run), *where]
    else:
        chosen = options.set or (WITHOUT_END if options.train == TRAINED else [])
        settings = [word for value in chosen for word in ("--set", value)]
        words = [*ammgraph, "train", options.train, *settings, *where, "--precision", "bfloat16"]
        words += ["--run-dir", str(run), "--device", options.device]
    report.keep("train", report.command(words, report.left - AFTER_TRAINING))
    if not (run / "run.json").exists():
        report.say("no run was begun in the time that was left")
        return
    report.command([*ammgraph, "evaluate", str(run), *where], min(report.left - 10, AFTER_TRAINING))
    if (run / "evaluation.json").exists():
        report.keep("evaluation", json.loads((run / "evaluation.json").read_text(encoding="utf-8")))
    with tarfile.open(options.out / "run.tgz", "w:gz") as archive:
        archive.add(run, "run")


if __name__ == "__main__":
    main()
