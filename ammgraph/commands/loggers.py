"""Where a run's metrics and samples go beside its own files: an entry of `LOGGERS` each, which `--log` names.

A run that goes on is written to the same run there. A logger that fails while a run trains is told of and given up:
the run goes on, and its own files have everything.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from ammgraph.diagnostics import RunError
from ammgraph.folders import LOGGED, SAMPLES, SPEC, TENSORBOARD, WANDB
from ammgraph.terminal import one_line, say

NONE = "none"
Numbers: TypeAlias = dict[str, float]


@dataclass(frozen=True)
class Logged:
    """The run that is written: its directory, the step at which this session begins, what it is trained with.

    `known_as` is what the logger knows it by since an earlier session; empty in the first one.
    """

    folder: Path
    step: int
    name: str
    settings: Mapping[str, Any]
    known_as: str = ""


@dataclass(frozen=True)
class Written:
    """A logger at work: what takes the numbers of a step, what ends it, what it knows the run by, and what takes the
    picture of a variable's samples at a step, a PNG.
    """

    write: Callable[[Numbers, int], object]
    close: Callable[[], object]
    known_as: str = ""
    show: Callable[[str, Path, int], object] = lambda *_: None


@dataclass(frozen=True)
class Logger:
    """A logger: the module that it needs, the package that has it, what begins to write, and what else helps."""

    module: str
    package: str
    begin: Callable[[Logged], Written]
    otherwise: str = ""  # what helps where it cannot begin


def _tensorboard(run: Logged) -> Written:
    from torch.utils.tensorboard import SummaryWriter

    boards: list[Any] = []  # a session that trains nothing writes no file

    def write(numbers: Numbers, step: int) -> None:
        if not boards:
            boards.append(SummaryWriter(str(run.folder / TENSORBOARD), purge_step=run.step + 1))
        for name, value in numbers.items():
            boards[0].add_scalar(name, value, step)

    def show(name: str, picture: Path, step: int) -> None:
        import numpy as np
        from PIL import Image

        with Image.open(picture) as image:
            boards[0].add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    return Written(write, lambda: [board.close() for board in boards], show=show)


def _mlflow(run: Logged) -> Written:
    """A run of MLflow, where `MLFLOW_TRACKING_URI` says or MLflow would put it."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient()
    known_as = run.known_as
    if known_as:
        client.update_run(known_as, status="RUNNING")
    else:
        experiment = client.get_experiment_by_name(run.name)
        number = client.create_experiment(run.name) if experiment is None else experiment.experiment_id
        known_as = client.create_run(number, run_name=str(run.folder)).info.run_id
        settings = [Param(_plain(key), str(value)[:500]) for key, value in run.settings.items()]
        client.log_batch(known_as, params=settings)
        client.log_artifact(known_as, str(run.folder / SPEC))

    def write(numbers: Numbers, step: int) -> None:
        now = int(1000 * time.time())
        client.log_batch(known_as, [Metric(_plain(name), value, now, step) for name, value in numbers.items()])

    def show(_: str, picture: Path, step: int) -> None:
        client.log_artifact(known_as, str(picture), SAMPLES)

    return Written(write, lambda: client.set_terminated(known_as), known_as, show)


def _wandb(run: Logged) -> Written:
    """A run of Weights & Biases, whose own files lie in the run directory; `WANDB_MODE=offline` sends nothing."""
    import wandb

    begun: Any = wandb.init(
        project=run.name,
        name=str(run.folder),
        id=run.known_as or None,
        resume="allow" if run.known_as else None,
        config=dict(run.settings),
        dir=str(run.folder),
        settings=wandb.Settings(console="off"),
    )

    def write(numbers: Numbers, step: int) -> None:
        begun.log(numbers, step=step)

    def show(name: str, picture: Path, step: int) -> None:
        begun.log({name: wandb.Image(str(picture))}, step=step)

    return Written(write, begun.finish, str(begun.id), show)


LOGGERS: dict[str, Logger] = {
    TENSORBOARD: Logger(TENSORBOARD, TENSORBOARD, _tensorboard),
    "mlflow": Logger("mlflow", "mlflow-skinny", _mlflow),
    WANDB: Logger(WANDB, WANDB, _wandb, "`WANDB_MODE=offline` needs no key and no network"),
}


def installed(name: str) -> bool:
    """Whether what a logger needs is there."""
    return find_spec(LOGGERS[name].module) is not None


def check_loggers(asked: str | None) -> None:
    """Refuse loggers that are asked for and cannot be had, before anything is trained.

    Raises:
        RunError: one is not installed.
    """
    for name in _names(asked):
        if not installed(name):
            raise RunError(f"`--log {name}` needs {LOGGERS[name].package}: pip install 'ammgraph[{name}]'")


@contextmanager
def logged(asked: str | None, run: Logged) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What is called with every line of the metrics, and writes it to every logger.

    Args:
        asked: as after `--log`; None is what the run was written to before, else TensorBoard where it is installed.
        run: what is written.
    """
    from ammgraph.runs import strips

    before = _known(run.folder)
    names = _names(asked) if asked is not None else _names(",".join(before)) if before else [TENSORBOARD]
    with ExitStack() as stack:
        begun = {name: _begin(name, run, before.get(name, "")) for name in names if before or asked or installed(name)}
        written = {name: found for name, found in begun.items() if found is not None}
        for name, found in written.items():
            stack.callback(_guarded, name, found.close)
        if asked is not None:
            known = {name: "" for name in asked.split(",")} | {name: found.known_as for name, found in written.items()}
            _keep(run.folder, before, known)

        def write(line: dict[str, Any]) -> None:
            numbers, step = _numbers(line), line["step"]
            pictures = strips.at(run.folder, step) if "evaluation" in line else {}

            def tell(found: Written) -> None:
                found.write(numbers, step)
                for variable, picture in pictures.items():
                    found.show(f"{SAMPLES}/{variable}", picture, step)

            for name, found in list(written.items()):
                if not _guarded(name, partial(tell, found)):
                    del written[name]

        yield write


def _names(asked: str | None) -> Sequence[str]:
    return [name for name in (asked or "").split(",") if name in LOGGERS]


def _begin(name: str, run: Logged, known_as: str) -> Written | None:
    found: list[Written] = []
    logger = LOGGERS[name]
    asked = Logged(**{**vars(run), "known_as": known_as})
    _guarded(name, lambda: found.append(logger.begin(asked)), "is not written", logger.otherwise)
    return found[0] if found else None


def _guarded(name: str, act: Callable[[], object], what: str = "is not written any more", otherwise: str = "") -> bool:
    """Whether it could be done; a logger is a stranger's program, and none of its failures ends a run."""
    try:
        act()
    except Exception as error:
        reason = one_line(str(error) or type(error).__name__).partition("\\n")[0]
        say(f"warning: {name} {what}: {reason}{f'; {otherwise}' if otherwise else ''}")
        return False
    return True


def _numbers(line: Mapping[str, Any]) -> Numbers:
    """The numbers of a line; vectors are left out."""
    found = {**line, **line.get("evaluation", {})}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float) and name != "step"}


def _plain(name: str) -> str:
    """A name of letters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _known(folder: Path) -> dict[str, str]:
    """What the run was written to before, and what it is known by there; nothing where that cannot be read."""
    try:
        found = json.loads((folder / LOGGED).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return {name: str(found[name]) for name in (*LOGGERS, NONE) if name in found} if isinstance(found, dict) else {}


def _keep(folder: Path, before: Mapping[str, str], known: Mapping[str, str]) -> None:
    """Write down where the run is written from now on."""
    from ammgraph.runs import files

    if known == before:
        return
    try:
        files.write(folder / LOGGED, (json.dumps({**known}, indent=1) + "\n").encode())
    except OSError as error:
        raise RunError(f"cannot write {folder / LOGGED}: {error.strerror or error}") from error
