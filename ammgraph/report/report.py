"""`report.html`: a run directory comes in, one page that holds everything goes out, and asks no network for anything.

the model     what was decided: factorizations, graphs, games, layer tables
the results   every number with its protocol, beside what was published
the figures   what a model of this kind can show
the training  its curves
the run       how it came about, and how to repeat it
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ammgraph import __version__
from ammgraph.data.dataset import fingerprints
from ammgraph.diagnostics import RunError
from ammgraph.evaluation import results as results_module
from ammgraph.evaluation.loading import LoadedRun, load_run
from ammgraph.evaluation.metrics import Array
from ammgraph.evaluation.results import SPLITS, Evaluation, Result
from ammgraph.evaluation.score import evaluate_loaded, find_split
from ammgraph.folders import METRICS, REPORT, SPEC
from ammgraph.plan.identity import plan_hash
from ammgraph.plan.plan import Plan
from ammgraph.report import curves as curves_module
from ammgraph.report import views as views_module
from ammgraph.report.curves import Record, collect_curves
from ammgraph.report.figures import Plate, draw, draw_curves
from ammgraph.report.model_section import model_section
from ammgraph.report.page import (
    GENERATOR,
    Markup,
    Table,
    document,
    element,
    facts,
    figure,
    image,
    join,
    paragraph,
    section,
    text,
)
from ammgraph.report.views import ViewOptions, collect_views
from ammgraph.runs import record
from ammgraph.runs.outputs import check_output, head_of, is_npz, npz, write_output
from ammgraph.runs.run import Place, read_environment, read_options
from ammgraph.spec.measures import words
from ammgraph.spec.schema import Published


@dataclass(frozen=True)
class ReportOptions:
    """What a report shows, and how much of it."""

    split: str | None = None  # None: test or, where there is none, train
    baseline: bool = True  # k-means on the same images
    views: ViewOptions = field(default_factory=ViewOptions)
    arrays: str = "report.npz"  # the name of the file of its arrays, beside the page


@dataclass(frozen=True, eq=False)
class Report:
    """A finished report: the page, and the data of its figures."""

    page: str
    arrays: dict[str, Array]


def report_run(
    folder: Path,
    place: Place,
    options: ReportOptions | None = None,
    output: Path | None = None,
    force: bool = False,
) -> Path:
    """Write a page, and the arrays of its figures beside it; nothing else in the run directory is changed.

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
    check_output(page, _is_page, force)
    check_output(arrays, lambda path: is_npz(path, "report") or _is_page(page), force)
    loaded = load_run(folder, place)
    report = build_report(loaded, evaluation_of(loaded, options), replace(options, arrays=arrays.name))
    write_output(arrays, npz(report.arrays, "report"))
    write_output(page, report.page.encode("utf-8"))
    return page


def _is_page(path: Path) -> bool:
    return GENERATOR.encode() in head_of(path, 4096)


def evaluation_of(loaded: LoadedRun, options: ReportOptions) -> Evaluation:
    """What `evaluation.json` says of the same weights and split, else a new evaluation."""
    name, _ = find_split(loaded.dataset, options.split)
    try:
        found = results_module.read(loaded.folder)
    except RunError:
        found = None
    state = (plan_hash(loaded.plan), loaded.settings.seed, loaded.step, loaded.weights)
    if (
        found is not None
        and (found.plan, found.seed, found.step, found.weights) == state
        and found.is_on(loaded.dataset.description, fingerprints(loaded.dataset))
        and found.of(name)
    ):
        return found
    return evaluate_loaded(loaded, name, options.baseline)


def build_report(loaded: LoadedRun, evaluation: Evaluation, options: ReportOptions) -> Report:
    """The report of a loaded run. Reads its records; writes nothing."""
    name, split = find_split(loaded.dataset, options.split)
    results = evaluation.of(name)
    views = collect_views(loaded.model, loaded.plan, split, loaded.dataset.classes, options.views)
    records = record.read(loaded.folder / METRICS)
    curves = collect_curves(loaded.plan, records)
    shown = [draw(view, f"{SPLITS[name]} images") for view in views]
    trained = list(draw_curves(curves))
    spec_notes = loaded.spec.notes
    notes = (spec_notes,) if isinstance(spec_notes, str) else spec_notes
    body = join(
        [
            _header(loaded, results, name, bool(trained)),
            element(
                "main",
                join(
                    [
                        model_section(loaded.plan, [note for note in notes if note.strip()]),
                        _results(loaded.plan, results, len(split), name, loaded.weights),
                        _plates("figures", "Figures", shown, 1),
                        _plates("training", "Training", trained, len(shown) + 1) if trained else Markup(""),
                        _run(loaded, records),
                    ]
                ),
            ),
            _footer(options.arrays),
        ],
        "\n",
    )
    return Report(
        document(f"{loaded.title} | ammgraph", body), views_module.as_arrays(views) | curves_module.as_arrays(curves)
    )


# --------------------------------------------------------------------------------------------------- parts of the page


def _header(loaded: LoadedRun, results: Sequence[Result], split: str, trained: bool) -> Markup:
    sides = join(
        element("span", text(f"{draw.name} = {' '.join(factor.text for factor in draw.written)}"))
        for draw in loaded.plan.draws
    )
    links = [("model", "The model"), ("results", "Results"), ("figures", "Figures")]
    links += [("training", "Training")] if trained else []
    links += [("run", "The run")]
    items = "".join(f'<li><a href="#{target}">{text(label)}</a></li>' for target, label in links)
    title = element("h1", text(loaded.title))
    lead = element("p", sides, class_="lead")
    tiles = "".join(
        f"<li><strong>{text(value)}</strong><span>{text(label)}</span></li>"
        for value, label in _headline(loaded, results, split)
    )
    return Markup(
        f'<header>{title}{lead}<ul class="tiles">{tiles}</ul></header><nav aria-label="Contents"><ul>{items}</ul></nav>'
    )


def _headline(loaded: LoadedRun, results: Sequence[Result], split: str) -> list[tuple[str, str]]:
    """The few numbers that one looks for first, each with what it is a number of."""
    errors, others = [], []
    clustered = {result.variable for result in results if result.name == "clustering_error"}
    for result in results:
        on = f"{result.examples:,} {SPLITS[result.split]} images"
        chief = (result.protocol == "one-to-one" and result.fitted_on == split) or result.name == "classification_error"
        if result.name in ("clustering_error", "classification_error") and chief and result.rule != "k-means":
            errors.append(
                (
                    result.shown,
                    ", ".join((f"{words(result.name)} by {result.by}", *filter(None, [result.protocol]), on)),
                )
            )
        elif result.name == "components_in_use" and result.rule == "posterior" and result.variable in clustered:
            others.append((result.shown.split()[0], f"components in use by {result.by}, {result.protocol}; {on}"))
        elif result.name == "reconstruction_error":
            others.append((result.shown.split()[0], f"mean squared reconstruction error of {result.variable}; {on}"))
    published = [(_published(n), f"published {words(n.metric)}, {_origin(n)}") for n in loaded.plan.published]
    return [*errors, *published, *others, (f"{loaded.plan.parameters:,}", "parameters")]


def _results(plan: Plan, results: Sequence[Result], examples: int, split: str, weights: str) -> Markup:
    """Every number that is one number: rules for a category side by side, then the rest, then what was published."""
    numbers = [result for result in results if not isinstance(result.value, tuple)]
    which = "averaged" if weights == "ema" else "last"
    ruled = dict.fromkeys(result.variable for result in numbers if result.rule)
    return section(
        "results",
        "Results",
        paragraph(
            f"On {examples:,} {SPLITS[split]} images, with the {which} weights. Networks run in eval mode with every "
            "noise at its mean. Labels serve for the score alone, and where the spec hands them to the model."
        ),
        *(paragraph(f"Void: {why}.") for why in dict.fromkeys(result.void for result in numbers if result.void)),
        *(_by_rule(variable, [r for r in numbers if r.rule and r.variable == variable]) for variable in ruled),
        _others([result for result in numbers if not result.rule]),
        _published_table(plan.published),
    )


def _by_rule(variable: str, results: Sequence[Result]) -> Markup:
    """A row for each measure and protocol, a column for each rule."""
    columns = list(dict.fromkeys((result.by, result.examples, result.split) for result in results))
    rows: dict[tuple[str, str], dict[tuple[str, int, str], str]] = {}
    for result in results:
        row = rows.setdefault((result.name, _protocol(result)), {})
        row[result.by, result.examples, result.split] = result.shown
    head = (variable, *(f"{by}, {examples:,} {SPLITS[split]} images" for by, examples, split in columns))
    cells = (
        (", ".join(part for part in (words(name), protocol) if part), *(row.get(column, "") for column in columns))
        for (name, protocol), row in rows.items()
    )
    return Table(head, tuple(cells), kind="results").markup()


def _others(results: Sequence[Result]) -> Markup:
    if not results:
        return Markup("")
    rows = tuple(
        (
            f"{words(result.name)} of {result.variable}",
            result.shown,
            f"{result.examples:,} {SPLITS[result.split]}",
            "; ".join(part for part in (result.by, _protocol(result)) if part),
        )
        for result in results
    )
    return Table(("Measure", "Value", "Images", "How"), rows, right=(1, 2), kind="how").markup()


def _published_table(published: Sequence[Published]) -> Markup:
    if not published:
        return Markup("")
    rows = tuple(
        (words(number.metric), _published(number), "" if number.trials is None else str(number.trials), number.source)
        for number in published
    )
    return Table(("Published", "Value", "Trials", "Source"), rows, right=(1, 2)).markup()


def _protocol(result: Result) -> str:
    fitted = f"fitted on {result.fitted_examples:,} {SPLITS[result.fitted_on]} images" if result.fitted_on else ""
    return ", ".join(part for part in (result.protocol, fitted) if part)


def _published(number: Published) -> str:
    spread = "" if number.std is None else f" ± {number.std:g}"
    return f"{number.value:g}{spread}{' %' if number.unit == 'percent' else ''}"


def _origin(number: Published) -> str:
    return number.source + ("" if number.trials is None else f", {number.trials} trials")


def _plates(identifier: str, title: str, plates: Sequence[Plate], first: int) -> Markup:
    figures = (
        figure(
            f"figure-{number}",
            number,
            plate.title,
            plate.caption,
            image(plate.encoded(), plate.form, plate.alt),
            plate.wide,
        )
        for number, plate in enumerate(plates, first)
    )
    return section(identifier, title, Markup(f'<div class="plates">{join(figures)}</div>'))


def _run(loaded: LoadedRun, records: Sequence[Record]) -> Markup:
    plan, settings = loaded.plan, loaded.settings
    environment = read_environment(loaded.folder)
    epoch = records[-1].get("epoch") if records else None
    batches = dict.fromkeys(f"{draw.batch_size}" for draw in plan.draws)
    pairs = [
        ("Seed", str(settings.seed)),
        ("Trained", f"{loaded.step:,} steps" + (f", {epoch:.4g} epochs" if isinstance(epoch, int | float) else "")),
        ("Batch", ", ".join(batches)),
        ("Duration", _duration(records)),
        ("Precision", settings.precision),
        ("Weights", "averaged" if loaded.weights == "ema" else "last"),
        ("Data", loaded.dataset.description),
        (
            "Device",
            f"{environment.get('device', '')}, {environment.get('threads', '?')} threads" if environment else "",
        ),
        ("Machine", str(environment.get("platform", ""))),
        (
            "Versions",
            ", ".join(f"{name} {environment[name]}" for name in ("ammgraph", "torch", "python") if name in environment),
        ),
        ("Directory", str(loaded.folder)),
        ("Warnings", "; ".join(loaded.warnings)),
    ]
    command = Markup(f'<pre class="wrap"><code>{text(settings.command)}</code></pre>')
    return section(
        "run",
        "The run",
        facts(pairs),
        element("h3", text("To repeat it")),
        command,
        paragraph(f"The run directory holds the whole spec as it was used ({SPEC}), and every record ({METRICS})."),
    )


def _footer(arrays: str) -> Markup:
    words = f"Written by ammgraph {__version__}. The arrays behind every figure are in {arrays}, beside this page."
    return element("footer", text(words))


# --------------------------------------------------------------------------------------------------- records and files


def _duration(records: Sequence[Record]) -> str:
    """Time of training, from the mean time of a step in the last session."""
    rates = [line["seconds_per_step"] for line in records if isinstance(line.get("seconds_per_step"), int | float)]
    if not rates:
        return ""
    seconds = round(rates[-1] * records[-1]["step"])
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    shown = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
    return f"about {shown}: {rates[-1]:.3g} s a step"
