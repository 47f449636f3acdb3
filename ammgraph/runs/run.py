"""A run directory: what was asked for, and what came of it. `ammgraph.folders` names its parts."""

import contextlib
import fcntl
import itertools
import json
import os
import platform
import shlex
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from ammgraph import __version__
from ammgraph.data.given import Given
from ammgraph.data.vectors import Scaling
from ammgraph.diagnostics import RunError, nearest
from ammgraph.folders import (
    ANY_TRIAL,
    BEST,
    CHECKPOINTS,
    DIVERGED,
    ENVIRONMENT,
    EVALUATION,
    LOCK,
    LOGGED,
    METRICS,
    OPTIONS,
    PLAN,
    SAMPLES,
    SPEC,
    SWEEP,
    TENSORBOARD,
    TRIALS,
    WANDB,
)
from ammgraph.plan.cost import Precision as Precision
from ammgraph.runs import checkpoint, files, strips
from ammgraph.spec.schema import Data
from ammgraph.terminal import command, overrides_of

# Folders that training writes into, beside the run directory itself.
OWN_FOLDERS = (CHECKPOINTS, BEST, SAMPLES, TENSORBOARD, WANDB)
# Parts of a spec of which its title says nothing, or which may change when a run goes on.
APART = ("notes", "published", "measured", "evaluation", "training.epochs", "training.steps", "training.phases")
SINCE = "since"  # in environment.json: what was another in later sessions
# What a run that was cut short before its run.json has left.
BEGUN = (LOCK, SPEC, PLAN, ENVIRONMENT, CHECKPOINTS)


@dataclass(frozen=True)
class Start:
    """Where the weights of a network came from."""

    run: str
    network: str
    step: int
    checkpoint_sha256: str


@dataclass(frozen=True)
class RunOptions:
    """What a run was started with, beside its spec."""

    name: str
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    precision: Precision
    data_dir: str | None
    log_every: Annotated[int, Field(ge=1, lt=2**63)]
    checkpoint_seconds: Annotated[float, Field(ge=0, lt=1e9)]
    command: str
    data_sha256: dict[str, str] | None = None  # of every split; None where it was not recorded
    scaling: Scaling | None = None  # of vectors
    starts: dict[str, Start] | None = None  # of networks that begin with what an earlier run has learned
    data_given: str | None = None  # in Python: the arrays with their shapes and types
    data_path: str | None = None  # a relative `data.path` as the spec has it: what `--data-dir` finds after a move
    scalings: dict[str, Scaling] | None = None  # of vectors, by data set, where these have names
    data_paths: dict[str, str] | None = None  # relative paths, by data set, where these have names

    @property
    def every_scaling(self) -> dict[str, Scaling]:
        """How vectors are scaled, by data set; "" is the name of one without."""
        return ({} if self.scaling is None else {"": self.scaling}) | (self.scalings or {})

    @property
    def changes(self) -> list[str]:
        """What was `--set` in its spec, as `constants.K=20`, beside the title; nothing where that was set too."""
        found = [(text.partition("=")[0], text) for text in overrides_of(self.command)]
        own = [text for key, text in found if not any(f"{key}.".startswith(f"{part}.") for part in APART)]
        return [] if any(key == "title" for key, _ in found) else own

    def scaling_of(self, name: str) -> Scaling | None:
        """How the vectors of a data set are scaled."""
        return self.every_scaling.get(name)


def new_folder(parent: Path, name: str) -> Path:
    """Make `parent/name-N` with the first free number N.

    Raises:
        RunError: it cannot be made.
    """
    for number in itertools.count(1):
        folder = parent / f"{name}-{number}"
        try:
            files.make_folder(parent)
            folder.mkdir()  # which fails where another process was faster
            files.sync_folder(parent)
            return folder
        except FileExistsError:
            if not parent.is_dir():
                raise RunError(f"cannot make the run directory {folder}: {parent} is no folder") from None
        except OSError as error:
            raise RunError(f"cannot make the run directory {folder}: {error.strerror or error}") from error
    raise AssertionError("numbers do not end")


def refuse_foreign(folder: Path, own: Collection[str] = BEGUN, *, may_force: bool = False) -> None:
    """A new run is begun in an empty folder, or where one was begun and cut short: that one left its lock.

    Raises:
        RunError: the folder holds files that are no run's; `--force` is advised to who has it.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not files.is_leftover(entry.name))
    except OSError:  # it is not there, or is no folder: whoever makes it says so
        return
    foreign = [name for name in names if name not in own] if LOCK in names else names
    if foreign:
        more = ", ..." if len(foreign) > 3 else ""
        force = ", or say `--force`: files of a run's names are then replaced" if may_force else ""
        raise RunError(
            f"{folder} holds files that are no run's ({', '.join(foreign[:3])}{more}); name a folder that is new or "
            f"empty{force}"
        )


def refuse_trials(folder: Path) -> None:
    """A folder of trials, or of a sweep, is not one run's.

    Raises:
        RunError: it holds trials, or a sweep.
    """
    if (folder / TRIALS).exists():
        again = command("train", "--resume", folder)
        raise RunError(f"{folder} holds trials; go on with `{again}`, or name another")
    if (folder / SWEEP).exists():
        again = command("sweep", "--resume", folder)
        raise RunError(f"{folder} holds a sweep; go on with `{again}`, or name another")


def create(
    folder: Path, options: RunOptions, written: dict[str, Any], plan: str, device: torch.device, processes: int = 1
) -> None:
    """Begin a run in a directory that is locked.

    Raises:
        RunError: the folder holds a run already, or cannot be written.
    """
    refuse_trials(folder)
    if (folder / OPTIONS).exists():
        raise RunError(
            f"{folder} holds a run already; go on with `{command('train', '--resume', folder)}`, or name another"
        )
    if any(checkpoint.has_checkpoint(folder / name) for name in (CHECKPOINTS, BEST)):
        raise RunError(f"{folder} holds checkpoints of a run whose {OPTIONS} is gone; name another")
    contents = {
        SPEC: spec_text(written),
        PLAN: plan.encode(),
        ENVIRONMENT: json.dumps(environment(device, processes), indent=1).encode() + b"\n",
        OPTIONS: options_text(options),
    }
    try:
        files.make_folder(folder / CHECKPOINTS)  # before run.json: a run without it was copied without it
        for name in (METRICS, EVALUATION, LOGGED, DIVERGED):  # what another run has left
            (folder / name).unlink(missing_ok=True)
        if (folder / SAMPLES).is_file():
            (folder / SAMPLES).unlink()
        strips.cut(folder, 0)
        for name, content in contents.items():
            files.write(folder / name, content)
    except OSError as error:
        raise RunError(f"cannot write the run directory {folder}: {_why_not(error)}") from error


def renew(folder: Path, written: dict[str, Any], plan: str) -> None:
    """Let the run be what it is asked to be from now on, as a longer one."""
    try:
        files.write(folder / SPEC, spec_text(written))
        files.write(folder / PLAN, plan.encode())
    except OSError as error:
        raise RunError(f"cannot write the run directory {folder}: {_why_not(error)}") from error


def spec_text(written: dict[str, Any]) -> bytes:
    """A resolved spec as JSON that is YAML too: characters as they are, for YAML knows no surrogate pairs."""
    return _encoded(json.dumps(written, indent=1, ensure_ascii=False) + "\n")


def options_text(options: Any) -> bytes:
    """The options of a run, or of trials, as JSON."""
    return _encoded(json.dumps(asdict(options), indent=1, ensure_ascii=False) + "\n")


def _encoded(text: str) -> bytes:
    """As UTF-8, which the path of a file need not be.

    Raises:
        RunError: it holds such a path.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        line = text[: error.end].rpartition("\n")[2] + text[error.end :].partition("\n")[0]
        raise RunError(
            f"a run keeps where its data are, and this path is no UTF-8: {line.strip()[:200]}; "
            "rename that folder or file"
        ) from error


def is_run(folder: Path) -> bool:
    """Whether the folder holds a run, or the checkpoints of one: neither is ever overwritten."""
    return (folder / OPTIONS).exists() or checkpoint.has_checkpoint(folder / CHECKPOINTS)


def read_options(folder: Path) -> RunOptions:
    """What a run was started with.

    Raises:
        RunError: the folder is no run directory.
    """
    try:
        return files.read_as(RunOptions, folder / OPTIONS)
    except (FileNotFoundError, NotADirectoryError) as error:
        if (folder / TRIALS).is_file():
            raise RunError(_of_trials(folder)) from error
        if (folder / SWEEP).is_file():
            again = command("sweep", "--resume", folder)
            raise RunError(
                f"{folder} holds a sweep; `{again}` goes on with it, `{command('report', folder)}` shows it"
            ) from error
        begun = (folder / LOCK).exists() and not checkpoint.has_checkpoint(folder / CHECKPOINTS)
        retry = f"train its spec with `--run-dir {shlex.quote(str(folder))}`"
        if not folder.is_dir():
            what = "it is a file" if folder.exists() else "there is nothing of that name"
            beside = f"; the folder {folder.parent} is one" if (folder.parent / OPTIONS).exists() else _near(folder)
            raise RunError(f"{folder} is no run directory: {what}{beside}") from error
        advice = f"; it was stopped before it began: {retry}" if begun else _inside(folder)
        raise RunError(f"{folder} is no run directory: it has no {OPTIONS}{advice}") from error


def _why_not(error: OSError) -> str:
    """Why a folder cannot be made or written."""
    return f"{error.filename} is a file" if isinstance(error, FileExistsError) else error.strerror or str(error)


def _near(folder: Path) -> str:
    """Which run, trials or sweep beside it was meant by a folder that is not there."""
    there = {path.parent for name in (OPTIONS, TRIALS, SWEEP) for path in folder.parent.glob(f"*/{name}")}
    hint = "" if folder.exists() else nearest(str(folder), sorted(map(str, there)))
    return f"; {hint}" if hint else ""


def _inside(folder: Path) -> str:
    """Which runs, trials and sweeps lie in a folder that is none."""
    names = sorted({str(path.parent) for name in (OPTIONS, TRIALS, SWEEP) for path in folder.glob(f"*/{name}")})
    told = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
    return f"; of what lies in it {told} {'are runs' if len(names) > 1 else 'is one'}" if names else ""


def _of_trials(folder: Path) -> str:
    """What one run's commands say of a folder that `--trials` has made."""
    found = sorted(
        (path.parent for path in folder.glob(f"{ANY_TRIAL}/{OPTIONS}")), key=lambda path: (len(path.name), path)
    )
    if not found:
        return f"{folder} holds trials, of which none has begun; `{command('train', '--resume', folder)}` trains them"
    return (
        f"{folder} holds trials, a run directory each: name one, as {shlex.quote(str(found[0]))}, or give all of them "
        f"to `{command('compare', folder)}`"
    )


def processes_of(folder: Path) -> int:
    """With how many processes a run began; 1 where it was not recorded."""
    found = read_environment(folder).get("processes")
    return found if isinstance(found, int) else 1


def read_environment(folder: Path) -> dict[str, Any]:
    """`environment.json`, as far as it can be read; a stranger's may hold anything."""
    try:
        found = json.loads(files.read(folder / ENVIRONMENT))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def moved_data(data_sets: Mapping[str, Data], settings: RunOptions, directory: Path | None) -> dict[str, Data]:
    """The data of a run that are now in `directory`: by their relative path, or else their name, if they are there."""
    if directory is None:
        return dict(data_sets)
    paths = settings.data_paths or {"": settings.data_path or ""}
    return {name: _moved(data, paths.get(name, ""), directory) for name, data in data_sets.items()}


def _moved(data: Data, relative: str, directory: Path) -> Data:
    if data.path is None:
        return data
    relative = relative or Path(data.path).name
    there = (directory.expanduser() / relative).exists()
    return data.model_copy(update={"path": relative}) if there else data


def needs_given(folder: Path, settings: RunOptions, place: "Place") -> None:
    """A run does not keep data that were given in Python.

    Raises:
        RunError: they are not given again.
    """
    if settings.data_given is None or place.given is not None:
        return
    found = f", SHA-256 {settings.data_sha256['train'][:12]}" if settings.data_sha256 else ""
    raise RunError(
        f"the data of {folder} were given in Python, and a run does not keep them: {settings.data_given}{found}; give "
        f"them again, as by `ammgraph.Run({str(folder)!r}).evaluate(data=(x, y))`"
    )


def keep_up(folder: Path, device: torch.device, processes: int) -> list[str]:
    """Write to `environment.json` what is another in this session than before.

    Returns:
        What of it decides the bits of the steps to come, each with its value before and now.

    Raises:
        RunError: the disk refuses.
    """
    path = folder / ENVIRONMENT
    began = read_environment(folder)
    later = began.pop(SINCE, [])
    sessions = [began, *later] if isinstance(later, list) else []
    if (
        not began or not sessions or not all(isinstance(session, dict) for session in sessions)
    ):  # of an older version, or damaged
        return []
    before = {key: value for session in sessions for key, value in session.items()}
    now = environment(device, processes)
    changed = {key: value for key, value in now.items() if before.get(key) != value}
    if not changed:
        return []
    try:
        files.write(path, (json.dumps({**sessions[0], SINCE: [*sessions[1:], changed]}, indent=1) + "\n").encode())
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    deciding = [key for key in ("torch", "device", "processes", "threads") if key in changed and key in before]
    if device.type == "cuda" and "threads" in deciding:
        deciding.remove("threads")
    advice = {"threads": f" (`OMP_NUM_THREADS={before.get('threads')!r:.5}` keeps them)"}
    return [f"{key} {before[key]!r:.60}, now {now[key]!r}{advice.get(key, '')}" for key in deciding]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run directory, which is made if need be, against a second process; a kill's leftovers are removed.

    Raises:
        RunError: another process trains there, or the directory cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            files.make_folder(folder)
            for name in OWN_FOLDERS:
                files.refuse_link(folder / name)
            lock = stack.enter_context(files.opened(folder / LOCK, os.O_RDWR))
        except OSError as error:
            raise RunError(f"cannot write the run directory {folder}: {_why_not(error)}") from error
        _lock(lock, folder)
        for place in (folder, folder / CHECKPOINTS, folder / SAMPLES):
            files.remove_leftovers(place)
        yield


def _lock(file: int, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(f"another process is training in {folder}") from error
    except OSError as error:
        raise RunError(
            f"cannot lock {folder / LOCK}: {error.strerror}; put the run on a file system that has locks"
        ) from error


@dataclass(frozen=True)
class Place:
    """Where a run is trained, or asked.

    Args:
        device: where the model goes; the data stay where they are.
        data_dir: the folder of the data's files, where it is not the one that the run was trained with.
        download: whether absent files of data sets with a name may be fetched.
        given: the data themselves, where they are given in Python.
    """

    device: torch.device
    data_dir: Path | None = None
    download: bool = True
    given: Given | None = None


def choose_device(name: str) -> torch.device:
    """`auto` is the first CUDA device where there is one, else the CPU.

    Raises:
        RunError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RunError(f"`{name}` is no device; expected `auto`, `cpu`, `cuda` or `cuda:N`") from error
    if device.type not in ("cpu", "cuda"):
        raise RunError(f"device `{name}` is not supported; expected `auto`, `cpu`, `cuda` or `cuda:N`")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise RunError(f"there is no device `{name}`: {torch.cuda.device_count()} CUDA devices are visible")
    return device


def environment(device: torch.device, processes: int = 1) -> dict[str, Any]:
    """Versions and hardware, for the record."""
    return {
        "ammgraph": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "processes": processes,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "executable": sys.executable,
    }
