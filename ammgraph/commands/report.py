"""`ammgraph report`: write the HTML page of a run, of trials or of a sweep."""

from dataclasses import dataclass
from pathlib import Path

from ammgraph.commands import arguments, kinds
from ammgraph.commands.arguments import OfScores, option, switch
from ammgraph.diagnostics import RunError
from ammgraph.folders import REPORT

EXAMPLE = "ammgraph report runs/amm_digits-1"


@dataclass(frozen=True)
class Options(OfScores):
    """What is typed."""

    run_dir: Path = arguments.run()
    output: Path | None = arguments.output(
        f".html, with its arrays beside it as .npz (default: {REPORT} in the run directory)"
    )
    force: bool = arguments.force()
    figures: Path | None = option(
        "write every figure there too, as SVG, and what it draws as CSV", type=kinds.path, metavar="DIR"
    )
    no_map: bool = switch("leave out the t-SNE map, the slowest figure")
    seed: int = option("seed of samples and choices of images (default: 0)", type=kinds.seed, default=0)


def run(options: Options) -> int:
    """0 where it is written."""
    from ammgraph.api.run import Run
    from ammgraph.commands.run_folders import all_trials
    from ammgraph.report.comparison import report_trials
    from ammgraph.report.report import report_options
    from ammgraph.report.sweep import report_sweep
    from ammgraph.runs.sweeps import is_sweep
    from ammgraph.runs.trials import is_trials

    if is_sweep(options.run_dir):
        if options.split or options.no_map or options.seed:
            raise RunError("the page of a sweep shows its trials, and takes no `--split`, `--no-map` or `--seed`")
        print(report_sweep(options.run_dir, options.output, options.figures, options.force))
        return 0
    if not is_trials(options.run_dir):
        page = Run(options.run_dir).report(
            options.output,
            split=options.split,
            tsne=not options.no_map,
            seed=options.seed,
            figures=options.figures,
            force=options.force,
            device=options.device,
            data_dir=options.data_dir,
            download=options.download,
        )
        print(page)
        return 0
    shown = report_options(options.split, not options.no_map, options.seed, options.figures)
    folders, page = all_trials(options.run_dir), options.output or options.run_dir / REPORT
    for path in report_trials(folders, page, options.place(), shown, force=options.force):
        print(path)
    return 0
