"""From a spec to networks, and to a trained run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast, get_args

from ammgraph.api import arguments, watch
from ammgraph.api.model import Model
from ammgraph.api.run import Run
from ammgraph.api.steps import CHECKPOINT_SECONDS, LOG_EVERY, PathLike, new_training
from ammgraph.api.watch import Callbacks, State
from ammgraph.data.given import read_given
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import counted_labels
from ammgraph.runs import run
from ammgraph.runs.data import read_data, refuse_given
from ammgraph.runs.run import Place, Precision, RunOptions
from ammgraph.spec.load import load_spec
from ammgraph.spec.schema import Spec
from ammgraph.spec.source import printable
from ammgraph.train.streams import initial_model
from ammgraph.train.trainer import Report


def build(plan: Plan, seed: int = 0, *, data_dir: PathLike | None = None, download: bool = True) -> Model:
    """The networks of a plan on the CPU, initialised as `fit` initialises them with that seed.

    Args:
        plan: a compiled spec.
        seed: the run's seed.
        data_dir: the folder of the data's files; read for an `empirical` prior alone, which counts labels.
        download: whether absent files of data sets with a name may be fetched.

    Raises:
        RunError: the data are needed and not there, or the seed is none.
    """
    seed = arguments.whole("seed", seed)
    folder = None if data_dir is None else Path(data_dir)
    dataset = read_data(plan, folder, download) if counted_labels(plan) else None
    return Model(plan, initial_model(plan, seed, dataset))


def fit(
    spec: Spec | PathLike | Mapping[str, Any],
    *,
    data: Any = None,
    run_dir: PathLike | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "float32",
    data_dir: PathLike | None = None,
    download: bool = True,
    log_every: int = LOG_EVERY,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    report: Report | None = None,
    after_step: Callable[[State], object] | None = None,
    after_evaluation: Callable[[State, dict[str, Any]], object] | None = None,
    stop: Callable[[State], bool] | None = None,
) -> Run:
    """Train a spec from its first step to its last in a new run directory.

    An interrupt saves after the step at hand, then raises `KeyboardInterrupt`, after the last step too; so does an
    exception of a callback, which then goes on. `Run.resume` goes on with the run.

    Args:
        spec: a spec, or what `load_spec` takes.
        data: `(x, y)`, x alone, a `torch.utils.data.Dataset`, or a mapping of `x_train`, `y_train`, `x_test`, `y_test`,
            in place of the data that the spec names; what it holds out, labels and scales stays. x are vectors (N, D),
            or images (N, H, W), (N, C, H, W) or (N, H, W, C), uint8 or floats in [0, 1]; y labels (N,).
        run_dir: the new run directory; `runs/SPEC-N` unless given.
        seed: of initialisation, data order and noise.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        precision: of the arithmetic.
        data_dir: the folder of files of data sets with a name, and of a relative `data.path`.
        download: whether absent files of data sets with a name may be fetched.
        log_every: steps between two lines of the metrics.
        checkpoint_seconds: least time between two checkpoints.
        report: called with every line of the metrics.
        after_step: called after every step, and what is written about it.
        after_evaluation: called with the state and what an evaluation in training found, by name.
        stop: asked after every step; where it gives True the run is saved and left there.

    Raises:
        RunError: an argument is none, the data are not there or not the model's, the folder holds a run, a value is not
            finite.
        SpecError: the spec is wrong.
    """
    seed, log_every = arguments.whole("seed", seed), arguments.whole("log_every", log_every, 1)
    checkpoint_seconds = arguments.seconds("checkpoint_seconds", checkpoint_seconds)
    arguments.functions(report=report, after_step=after_step, after_evaluation=after_evaluation, stop=stop)
    precision = cast(Precision, arguments.word("precision", precision, get_args(Precision)))
    spec = spec if isinstance(spec, Spec) else load_spec(spec)
    name = printable(Path(spec.source.value().file).stem)
    given = None if data is None else read_given(data)
    if given is not None:
        refuse_given(spec)
        spec = spec.given()
    where = str(Path(data_dir).absolute()) if data_dir is not None else None
    settings = RunOptions(name, seed, precision, where, log_every, checkpoint_seconds, command="")
    folder = None if run_dir is None else Path(run_dir)
    if folder:
        run.refuse_trials(folder)
        if not run.is_run(folder):
            run.refuse_foreign(folder)
    place = Place(run.choose_device(device), download=download, given=given)
    with new_training(spec, settings, folder, place) as training:
        watch.train(training, Callbacks(report, after_step, after_evaluation, stop))
    return Run(training.folder, data=given)
