"""Several seeds of one spec: run after run, or side by side on several devices, and at the end mean and spread.

spec.json     the resolved spec
trials.json   the seeds
seed-N/       a run directory for each
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from ammgraph.diagnostics import RunError
from ammgraph.evaluation import compare
from ammgraph.session import self_contained, train_run
from ammgraph.spec.load import load_spec
from ammgraph.train.run import choose_device, new_folder

FILE = "trials.json"


def is_trials(folder: Path) -> bool:
    """Whether the folder holds trials, not a single run."""
    return (folder / FILE).is_file()


def train_trials(options: argparse.Namespace) -> int:
    """Train every seed, going on where each one stands, then print mean and standard deviation over them.

    Returns:
        0 when all have ended; the exit code of the trial that was stopped otherwise.
    """
    folder, seeds = (_begun if options.resume else _begin)(options)
    devices = options.device.split(",")
    train = _one_after_another if len(devices) == 1 else _side_by_side
    code = train(options, folder, seeds)
    if code:
        print(f"go on with all trials by\n  ammgraph train --resume {folder}", file=sys.stderr)
        return code
    folders = [_folder_of(folder, seed) for seed in seeds]
    device = choose_device(devices[0])
    groups = compare.compare_runs(folders, device, data_dir=options.data_dir, download=not options.no_download)
    print("\n".join(compare.lines(groups)))
    return 0


def _begin(options: argparse.Namespace) -> tuple[Path, list[int]]:
    spec = load_spec(Path(options.spec), options.set)
    folder = Path(options.run_dir) if options.run_dir else new_folder(Path("runs"), Path(options.spec).stem)
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty; go on with `ammgraph train --resume {folder}`, or name another")
    first = options.seed or 0
    seeds = list(range(first, first + options.trials))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(
        json.dumps(self_contained(spec, options.data_dir), indent=1) + "\n", encoding="utf-8"
    )
    (folder / FILE).write_text(json.dumps({"name": Path(options.spec).stem, "seeds": seeds}) + "\n", encoding="utf-8")
    return folder, seeds


def _begun(options: argparse.Namespace) -> tuple[Path, list[int]]:
    folder = Path(options.resume)
    if options.trials or options.seed is not None or options.run_dir:
        raise RunError("trials keep their directory, number and seeds; `--resume` takes none of them")
    try:
        return folder, [int(seed) for seed in json.loads((folder / FILE).read_text(encoding="utf-8"))["seeds"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder / FILE} cannot be read: {error}") from error


def _one_after_another(options: argparse.Namespace, folder: Path, seeds: list[int]) -> int:
    for place, seed in enumerate(seeds):
        print(f"trial {place + 1} of {len(seeds)}, seed {seed}", file=sys.stderr)
        code = train_run(argparse.Namespace(**{**vars(options), **_trial(folder, seed)}))
        if code:
            return code
    return 0


def _side_by_side(options: argparse.Namespace, folder: Path, seeds: list[int]) -> int:
    """A process for each trial, as many at once as there are devices; what each prints goes to `seed-N.log`."""
    free: Queue[str] = Queue()
    for device in options.device.split(","):
        choose_device(device)
        free.put(device)

    def run(seed: int) -> int:
        device = free.get()
        try:
            with (folder / f"seed-{seed}.log").open("a", encoding="utf-8") as log:
                return subprocess.run(
                    [sys.executable, "-m", "ammgraph", *_words(options, folder, seed, device)],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=False,
                ).returncode
        finally:
            free.put(device)

    with ThreadPoolExecutor(free.qsize()) as pool:
        codes = list(pool.map(run, seeds))
    for seed, code in zip(seeds, codes, strict=True):
        if code:
            print(f"seed {seed} ended with exit code {code}; see {folder / f'seed-{seed}.log'}", file=sys.stderr)
    return next((code for code in codes if code), 0)


def _trial(folder: Path, seed: int) -> dict[str, object]:
    """The options that differ from trial to trial: a new run, or the one that stands there."""
    run = _folder_of(folder, seed)
    if (run / "run.json").exists():
        return {"resume": str(run), "spec": None, "run_dir": None, "seed": None, "set": []}
    return {"resume": None, "spec": str(folder / "spec.json"), "run_dir": str(run), "seed": seed, "set": []}


def _words(options: argparse.Namespace, folder: Path, seed: int, device: str) -> list[str]:
    trial = _trial(folder, seed)
    words = ["train", *(["--resume", str(trial["resume"])] if trial["resume"] else [str(trial["spec"])])]
    words += ["--run-dir", str(trial["run_dir"]), "--seed", str(seed)] if trial["run_dir"] else []
    words += ["--device", device]
    for name in ("data_dir", "precision", "log_every", "checkpoint_seconds"):
        if getattr(options, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    return words + (["--no-download"] if options.no_download else [])


def _folder_of(folder: Path, seed: int) -> Path:
    return folder / f"seed-{seed}"
