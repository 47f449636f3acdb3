"""`report.html`: a run directory comes in, one page that holds everything goes out, and asks no network for anything.

the headline  the number that one looks for, k-means and what was published beside it, a verdict
the figures   what a model of this kind can show
health        what is wrong, and what to try
the results   every number with its protocol, beside what was published
the training  its curves
the model     what was decided: factorizations, graphs, games, layer tables; folded
the run       how it came about, and how to repeat it
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from ammgraph import __version__
from ammgraph.data.dataset import fingerprints
from ammgraph.data.records import Split
from ammgraph.diagnostics import RunError, counted
from ammgraph.evaluation import results as results_module
from ammgraph.evaluation.health import health_of_run
from ammgraph.evaluation.loading import LoadedRun, load_run
from ammgraph.evaluation.metrics import Array
from ammgraph.evaluation.results import SPLITS, Evaluation
from ammgraph.evaluation.score import evaluate_loaded, find_split, scored_split
from ammgraph.folders import METRICS, REPORT, SPEC
from ammgraph.plan.identity import plan_hash
from ammgraph.report import curves as curves_module
from ammgraph.report import run_section
from ammgraph.report import views as views_module
from ammgraph.report.curve_figures import draw_curves
from ammgraph.report.curves import collect_curves
from ammgraph.report.figure_files import Data, check_figures, data_of_curves, data_of_view, write_figures
from ammgraph.report.figures import draw
from ammgraph.report.model_section import model_section
from ammgraph.report.over_time import collect_strips
from ammgraph.report.page import is_page, rendered
from ammgraph.report.plates import Plate
from ammgraph.report.results_section import headline, result_tables
from ammgraph.report.views import View, ViewOptions, collect_views
from ammgraph.runs import record
from ammgraph.runs.outputs import check_output, is_npz, npz, write_output
from ammgraph.runs.run import Place, read_options


@dataclass(frozen=True)
class ReportOptions:
    """What a report shows, and how much of it."""

    split: str | None = None  # None: test or, where there is none, train
    baseline: bool = True  # k-means on the same images
    views: ViewOptions = field(default_factory=ViewOptions)
    arrays: str = "report.npz"  # the name of the file of its arrays, beside the page
    figures: Path | None = None  # a folder for each figure as SVG, and its data as CSV


def report_options(split: str | None, tsne: bool, seed: int, figures: Path | None = None) -> ReportOptions:
    """What a person asks for: a split, whether the map is drawn, the seed of samples and choices, figures as files."""
    views = ViewOptions(seed=seed) if tsne else ViewOptions(seed=seed, embedded=0)
    return ReportOptions(split=split, views=views, figures=figures)


@dataclass(frozen=True, eq=False)
class Report:
    """A finished report: the page, and the data of its figures."""

    page: str
    arrays: dict[str, Array]
    plates: tuple[Plate, ...]
    data: tuple[Data, ...]  # what is drawn in each plate


def report_run(
    folder: Path,
    place: Place,
    options: ReportOptions | None = None,
    output: Path | None = None,
    force: bool = False,
) -> Path:
    """Write a page and the arrays of its figures beside it, and figures as files where they are asked for.

    Nothing else in the run directory is changed.

    An `evaluation.json` of the same weights is taken as it is; otherwise the model is scored now.

    Args:
        folder: the run directory.
        place: its device and its data.
        options: what is shown.
        output: the page, a name in `.html`; `report.html` in the run directory unless given.
        force: whether files that are there are replaced whatever they are; else only those of a report.

    Returns:
        The path of the page.

    Raises:
        RunError: as `load_run`; the split is not there; the files cannot be written, or are not to be replaced.
    """
    options = options or ReportOptions()
    page = output or folder / REPORT
    arrays = page.with_suffix(".npz")
    if page.suffix.lower() != ".html":
        raise RunError(f"`{page}`: expected a name that ends in .html")
    read_options(folder)  # a folder that is no run is told so first
    check_output(page, is_page, force)
    check_output(arrays, lambda path: is_npz(path, "report") or is_page(page), force)
    if options.figures is not None:
        check_figures(options.figures, force)
    loaded = load_run(folder, place)
    report = build_report(loaded, evaluation_of(loaded, options), replace(options, arrays=arrays.name))
    write_output(arrays, npz(report.arrays, "report"))
    write_output(page, report.page.encode("utf-8"))
    if options.figures is not None:
        write_figures(options.figures, report.plates, report.data)
    return page


def evaluation_of(loaded: LoadedRun, options: ReportOptions) -> Evaluation:
    """What `evaluation.json` says of the same weights and split, else a new evaluation."""
    name = scored_split(loaded.dataset, options.split)
    try:
        found = results_module.read(loaded.folder)
    except RunError:
        found = None
    state = (plan_hash(loaded.plan), loaded.settings.seed, loaded.step, loaded.weights)
    if (
        found is not None
        and (found.plan, found.seed, found.step, found.weights) == state
        and found.is_on(loaded.dataset.told, fingerprints(loaded.dataset))
        and found.of(name)
    ):
        return found
    return evaluate_loaded(loaded, name, options.baseline)


def build_report(loaded: LoadedRun, evaluation: Evaluation, options: ReportOptions) -> Report:
    """The report of a loaded run. Reads its records; writes nothing."""
    name = scored_split(loaded.dataset, options.split)
    results = evaluation.of(name)
    shown = [(part, find_split(part.dataset, name)[1]) for part in loaded.parts]
    drawn = [
        (view, f"{SPLITS[name]} {split.kind}s{f' of {part.of}' if part.of else ''}")
        for part, split in shown
        for view in _views(part, split, options.views)
    ]
    records = record.read(loaded.folder / METRICS)
    curves = collect_curves(loaded.plan, records)
    last = max([loaded.step, *(line["step"] for line in records)])
    strips = collect_strips(loaded.plan, loaded.folder, curves, last)
    figures = (*(draw(view, images) for view, images in drawn), *map(draw, strips))
    training = draw_curves(curves)
    notes = loaded.spec.notes
    page = rendered(
        "page.html.jinja",
        title=loaded.title,
        beside=loaded.settings.changes,
        plan=loaded.plan,
        headline=headline(loaded.plan, evaluation, name),
        health=health_of_run(loaded.folder, replace(evaluation, split=name), records),
        model=model_section(loaded.plan),
        notes=[" ".join(note.split()) for note in ((notes,) if isinstance(notes, str) else notes) if note.strip()],
        images=", ".join(counted(len(split), f"{SPLITS[name]} {split.kind}") for _, split in shown),
        weights=run_section.weights(loaded),
        voids=list(dict.fromkeys(result.void for result in results if result.void)),
        tables=result_tables(loaded.plan, results),
        figures=figures,
        training=training,
        facts=run_section.facts(loaded, records),
        unfinished=run_section.unfinished(loaded),
        shipped=loaded.settings.name,
        changes=run_section.changes_of_shipped(loaded),
        command=loaded.settings.command,
        version=__version__,
        arrays=options.arrays,
        files=(SPEC, METRICS),
    )
    every = (*(view for view, _ in drawn), *strips)
    data = (*map(data_of_view, every), *data_of_curves(curves))
    return Report(page, views_module.as_arrays(every) | curves_module.as_arrays(curves), (*figures, *training), data)


def _views(loaded: LoadedRun, split: Split, options: ViewOptions) -> list[View]:
    """The figures about one data set; of several their names say which."""
    views = collect_views(loaded.model, loaded.plan, split, loaded.dataset.classes, options)
    return [replace(view, name=f"{view.name}_{loaded.of}") if loaded.of else view for view in views]
