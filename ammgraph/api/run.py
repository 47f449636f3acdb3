"""Runs: what was trained and what can be asked of it; the commands of these names do no more.

Of several runs there is a table, `compare`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ammgraph.api import arguments, watch
from ammgraph.api.model import Model
from ammgraph.api.steps import PathLike, resumed_training
from ammgraph.api.watch import Callbacks, State
from ammgraph.data.given import Given, read_examples, read_given
from ammgraph.evaluation import chief, compare_tables, results, score
from ammgraph.evaluation import compare as comparing
from ammgraph.evaluation.encode import Encoding, encode_run
from ammgraph.evaluation.loading import load_model
from ammgraph.evaluation.quality import QualityOptions
from ammgraph.evaluation.results import Evaluation
from ammgraph.evaluation.sample import Asked, Samples, sample_run
from ammgraph.evaluation.summary import Summary, summary
from ammgraph.export.export import export_run
from ammgraph.folders import CHECKPOINTS, METRICS, SPEC
from ammgraph.plan.plan import Plan
from ammgraph.runs import checkpoint, record, run
from ammgraph.runs.run import Place
from ammgraph.runs.sweeps import is_sweep, tried_runs
from ammgraph.runs.trials import is_trials, runs_of
from ammgraph.show.notebook import compile_spec
from ammgraph.spec.load import load_spec
from ammgraph.spec.notebook import html_block, html_table
from ammgraph.spec.schema import Spec
from ammgraph.spec.shipped import spec_path
from ammgraph.terminal import one_line
from ammgraph.train.trainer import Report


@dataclass(frozen=True, init=False)
class Run:
    """A run directory; what is in it is read when it is asked for.

    Where a model runs is said by `device`: `auto`, `cpu`, `cuda` or `cuda:N`. Where the data are now, if they have
    moved, by `data_dir`; whether absent files of data sets with a name may be fetched, by `download`. Data that were
    given in Python are given again by `data`, as to `fit`; what `fit` returned remembers them.
    """

    _absolute: Path
    _named: Path = field(compare=False)
    _given: Given | None = field(compare=False)

    def __init__(self, folder: PathLike, *, data: Any = None) -> None:
        object.__setattr__(self, "_absolute", Path(folder).absolute())
        object.__setattr__(self, "_named", Path(folder))
        object.__setattr__(self, "_given", _given(data))

    @property
    def folder(self) -> Path:
        """The run directory, as it was named; where the current folder is another one since, its absolute path."""
        return self._named if self._named.absolute() == self._absolute else self._absolute

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def _repr_html_(self) -> str:
        settings, plan = run.read_options(self.folder), self.plan
        there = checkpoint.has_checkpoint(self.folder / CHECKPOINTS)
        lines = record.read(self.folder / METRICS) if there else []
        step = f"{max((line['step'] for line in lines), default=0):,}"
        rows = [("seed", f"{settings.seed}"), ("precision", settings.precision), ("step", step)]
        parts = [html_table(("run", str(self.folder)), rows)]
        found = results.read(self.folder)
        if found is not None:
            parts.append(html_table(("evaluation", f"step {found.step:,}"), chief.rows(plan, found)))
        return html_block(plan.title or settings.name, parts)

    @property
    def spec(self) -> Spec:
        """The resolved spec that the run is trained with."""
        run.read_options(self.folder)
        return load_spec(self.folder / SPEC)

    @property
    def plan(self) -> Plan:
        """What was decided about it."""
        return compile_spec(self.spec)

    def model(self, device: str = "auto") -> Model:
        """The weights that the spec says are evaluated, of the newest checkpoint.

        Raises:
            RunError: there is no usable checkpoint.
        """
        loaded = load_model(self.folder, run.choose_device(device))
        return Model(loaded.plan, loaded.model, loaded.settings.every_scaling)

    def metrics(self) -> Any:
        """A row for every line of `metrics.jsonl`: losses, gradient norms, use of components.

        Evaluations in training are rows of their own, whose numbers stand under `evaluation/NAME`.

        Returns:
            A `pandas.DataFrame` where pandas is installed, else a list of dicts.

        Raises:
            RunError: no run directory.
        """
        run.read_options(self.folder)
        rows = [_flat(line) for line in record.read(self.folder / METRICS)]
        try:
            from pandas import DataFrame
        except ImportError:
            return rows
        return DataFrame(rows)

    def resume(
        self,
        overrides: Sequence[str] = (),
        *,
        data: Any = None,
        device: str = "auto",
        data_dir: PathLike | None = None,
        download: bool = True,
        report: Report | None = None,
        after_step: Callable[[State], object] | None = None,
        after_evaluation: Callable[[State, dict[str, Any]], object] | None = None,
        stop: Callable[[State], bool] | None = None,
    ) -> "Run":
        """Go on at the newest checkpoint, with the same bits as never having stopped.

        Args:
            overrides: changes of its spec that leave the plan as it is, as `training.epochs=200`.
            data: those that were given in Python.
            device: where it is trained.
            data_dir: where the data are now, if they have moved.
            download: whether absent files may be fetched.
            report: as for `fit`, and so are those that follow.
            after_step: called after every step.
            after_evaluation: called after every evaluation in training.
            stop: asked after every step.

        Raises:
            RunError: no run directory, or one of another plan; and as `fit`.
            SpecError: an override makes the spec wrong.
        """
        arguments.functions(report=report, after_step=after_step, after_evaluation=after_evaluation, stop=stop)
        arguments.texts("overrides", overrides, "['training.epochs=200']")
        settings = run.read_options(self.folder)
        place = Place(run.choose_device(device), _path(data_dir), download, _given(data) or self._given)
        with resumed_training(self.folder, settings, overrides, place) as training:
            watch.train(training, Callbacks(report, after_step, after_evaluation, stop))
        return self

    def evaluate(
        self,
        *,
        split: str | None = None,
        quality: QualityOptions | None = None,
        data: Any = None,
        device: str = "auto",
        data_dir: PathLike | None = None,
        download: bool = True,
    ) -> Evaluation:
        """Score the newest checkpoint: every measure that its model has, each with its rule and protocol.

        What was found is written to the run's `evaluation.json` too.

        Args:
            split: `train`, `validation` or `test`; test unless given or, where there is none, train.
            quality: how the quality of samples is measured; left out unless given.
            data: those that were given in Python.
            device: where the model runs.
            data_dir: where the data are now, if they have moved.
            download: whether absent files may be fetched.

        Raises:
            RunError: no run directory, no usable checkpoint, no data, no such split.
        """
        place = Place(run.choose_device(device), _path(data_dir), download, _given(data) or self._given)
        return score.evaluate_run(self.folder, place, split, quality=quality)

    def sample(
        self,
        component: int | None = None,
        count: int | None = None,
        *,
        interpolate: int | None = None,
        variable: str | None = None,
        source: str | None = None,
        given: Mapping[str, int] = MappingProxyType({}),
        examples: Any = None,
        seed: int = 0,
        output: PathLike | None = None,
        force: bool = False,
        device: str = "auto",
    ) -> Samples:
        """Images or vectors from the synthesis side p, a row for each component; or given examples, a row for each.

        Args:
            component: only this one, from 0.
            count: of each component or example, 10 unless given; with `interpolate` rows.
            interpolate: a row of so many on a straight line between two draws of z.
            variable: the observed variable; the first that priors and networks draw unless given.
            source: the distribution that draws it; the first that does unless given.
            given: categorical variable -> its category, from 0, in place of one that is drawn.
            examples: what a distribution that starts from data reads, as `encode` takes it.
            seed: of the noise.
            output: a `.png`, `.csv`, `.parquet` or `.npz` to write them to; `Samples.save` does it later.
            force: whether a file that is there is replaced whatever it is.
            device: where the model runs.

        Raises:
            RunError: no usable checkpoint, nothing to sample, an argument is none, no such component, the examples are
                not the model's, or the file cannot be written.
        """
        where, seed = run.choose_device(device), arguments.whole("seed", seed)
        component = arguments.maybe_whole("component", component, None)
        count = arguments.maybe_whole("count", count, 1)
        interpolate = arguments.maybe_whole("interpolate", interpolate, 2)
        given = {name: arguments.whole(name, value, None) for name, value in arguments.mapping("given", given).items()}
        asked = Asked(variable, source, given, None if examples is None else _examples(examples))
        return sample_run(self.folder, _path(output), where, component, count, interpolate, seed, force, asked)

    def encode(
        self,
        images: Any,
        *,
        output: PathLike | None = None,
        force: bool = False,
        variable: str | None = None,
        device: str = "auto",
    ) -> Encoding:
        """What the model says about examples: probabilities of categories, means of real latents; see `Encoding`.

        Args:
            images: the path of an image, a folder of images, an `.npz`, or a `.csv` or `.parquet` of vectors; or an
                array of images or vectors, as `fit` takes it.
            output: a `.csv`, `.parquet` or `.npz` to write it to.
            force: whether a file that is there is replaced whatever it is.
            variable: which variable the examples are; the first image or vector of the data unless given.
            device: where the model runs.

        Raises:
            RunError: no usable checkpoint, the examples are not the model's, or the file cannot be written.
        """
        where = run.choose_device(device)
        return encode_run(self.folder, _examples(images), _path(output), where, force, variable)

    def report(
        self,
        output: PathLike | None = None,
        *,
        split: str | None = None,
        tsne: bool = True,
        seed: int = 0,
        figures: PathLike | None = None,
        force: bool = False,
        data: Any = None,
        device: str = "auto",
        data_dir: PathLike | None = None,
        download: bool = True,
    ) -> Path:
        """Write the run's HTML page, and the arrays of its figures beside it.

        Args:
            output: the page, `report.html` in the run directory unless given.
            split: what is shown; test unless given or, where there is none, train.
            tsne: whether the map is drawn, the slowest figure.
            seed: of samples and choices of images.
            figures: a folder for every figure as SVG, and what it draws as CSV.
            force: whether files that are there are replaced whatever they are.
            data: those that were given in Python.
            device: where the model runs.
            data_dir: where the data are now, if they have moved.
            download: whether absent files may be fetched.

        Returns:
            The path of the page.

        Raises:
            RunError: as `evaluate`; the files cannot be written, or are not to be replaced.
        """
        from ammgraph.report.report import report_options, report_run  # loads matplotlib

        place = Place(run.choose_device(device), _path(data_dir), download, _given(data) or self._given)
        shown = report_options(split, tsne, arguments.whole("seed", seed), _path(figures))
        return report_run(self.folder, place, options=shown, output=_path(output), force=force)

    def export(self, output: PathLike | None = None, *, onnx: bool = False) -> tuple[Path, ...]:
        """Write the newest checkpoint as a program that needs PyTorch alone.

        Args:
            output: the folder of the export, `export` in the run directory unless given.
            onnx: whether what can be asked is written as ONNX too.

        Returns:
            The files.

        Raises:
            RunError: no usable checkpoint, an export stands there, or the files cannot be written.
        """
        return export_run(self.folder, _path(output) or self.folder / "export", onnx=onnx)


@dataclass(frozen=True)
class Comparison:
    """Runs beside each other: those of one model on the same data are trials of it, with mean and deviation."""

    groups: tuple[comparing.Group, ...]

    def __str__(self) -> str:
        return "\n".join(map(one_line, comparing.lines(self.groups)))

    def _repr_html_(self) -> str:
        head, *rows = comparing.table(self.groups)
        legend = [(f"[{place + 1}]", group.name) for place, group in enumerate(self.groups)]
        return html_block("Comparison", [html_table(("", "model"), legend), html_table(head, rows)])

    def summary(self, *specs: PathLike) -> Summary:
        """A row for each model, with what was published; and for each spec, a file or the name of one that ships.

        Raises:
            SpecError: a spec is none, or no model.
        """
        named = [Path(spec_path(os.fspath(spec))) for spec in specs]
        return summary([*named, *(run.folder for group in self.groups for run in group.runs)], self.groups)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as `ammgraph compare --format json` prints it."""
        return comparing.as_json(self.groups)

    def to_csv(self) -> str:
        """A line for each number of each run."""
        return compare_tables.as_csv(self.groups)

    def to_latex(self) -> str:
        """A table for booktabs."""
        return compare_tables.as_latex(self.groups)

    def to_markdown(self) -> str:
        """The table, a column for each model."""
        return compare_tables.as_markdown(self.groups)

    def to_html(self) -> str:
        """A page."""
        from ammgraph.report.comparison import comparison_page  # loads matplotlib

        return comparison_page(self.groups)


def compare(
    runs: Run | PathLike | Sequence[Run | PathLike],
    *,
    split: str | None = None,
    again: bool = False,
    device: str = "auto",
    data_dir: PathLike | None = None,
    download: bool = True,
) -> Comparison:
    """Runs, or their directories, beside each other; one that was not evaluated is, which writes its evaluation.

    Args:
        runs: one, or several in the order in which they are shown, of folders of trials and of sweeps each of theirs;
            data that were given in Python are those that a `Run` remembers.
        split: what is compared; unless given test, or train where there is no test split.
        again: evaluate every run anew.
        device: where models run.
        data_dir: where the data are now, if they have moved.
        download: whether absent files may be fetched.

    Raises:
        RunError: no runs, one twice, or one that cannot be evaluated.
    """
    named = [runs] if isinstance(runs, Run | str | os.PathLike) else runs
    found = [each for one in named for each in ([one] if isinstance(one, Run) else map(Run, _runs_in(Path(one))))]
    where = run.choose_device(device)
    places = [(one.folder, Place(where, _path(data_dir), download, one._given)) for one in found]
    return Comparison(comparing.compare_placed(places, split, again))


def _runs_in(folder: Path) -> Sequence[Path]:
    """The runs of a folder of trials that have begun, those that a sweep has tried; else the folder itself."""
    if is_trials(folder):
        return runs_of(folder).begun
    return tried_runs(folder) if is_sweep(folder) else [folder]


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    found = {name: value for name, value in line.items() if name != "evaluation"}
    return found | {f"evaluation/{name}": value for name, value in line.get("evaluation", {}).items()}


def _given(data: Any) -> Given | None:
    return data if data is None or isinstance(data, Given) else read_given(data)


def _examples(examples: Any) -> Path | Tensor:
    return Path(examples) if isinstance(examples, str | os.PathLike) else read_examples(examples)


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)
