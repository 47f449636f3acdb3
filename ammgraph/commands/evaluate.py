"""`ammgraph evaluate`: score a run's newest checkpoint."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ammgraph.commands import arguments, kinds
from ammgraph.commands.arguments import OfScores, form, option, switch
from ammgraph.diagnostics import RunError
from ammgraph.terminal import print_lines, say

if TYPE_CHECKING:
    from ammgraph.evaluation.quality import QualityOptions
    from ammgraph.evaluation.results import Evaluation

EXAMPLE = "ammgraph evaluate runs/amm_digits-1"

WITHOUT_TEST = (
    "the data have no test examples: the best trial is scored on the training examples, which it has learned; "
    "`--split validation` scores it on those that chose it"
)


@dataclass(frozen=True)
class Options(OfScores):
    """What is typed."""

    run_dir: Path = arguments.run()
    quality: bool = switch("score samples too: FID, KID, inception score, precision, recall")
    weights: Path | None = option(
        "torch-fidelity's Inception weights for --quality (default: a classifier trained on the spot)",
        type=kinds.path,
        metavar="PATH",
    )
    inception: bool = switch("--quality by Inception's weights as the extra `quality` brings them")
    format: str = form()


def run(options: Options) -> int:
    """0 where it is scored."""
    from ammgraph.commands.run_folders import one_run
    from ammgraph.commands.session import score_lines
    from ammgraph.runs.sweeps import is_sweep
    from ammgraph.runs.trials import is_trials

    quality = _quality(options)
    if is_trials(options.run_dir):
        return _trials(options, quality)
    folder = one_run(options.run_dir)
    found = _scored(folder, options, quality)
    if is_sweep(options.run_dir) and options.split is None and found.split == "train":
        say(WITHOUT_TEST)
    if options.format == "json":
        print(json.dumps(_as_json(folder, found), indent=1))
    else:
        print_lines([f"{folder} at step {found.step:,}", *score_lines(folder, found)])
    return 0


def _quality(options: Options) -> "QualityOptions | None":
    from ammgraph.evaluation.inception import installed_weights
    from ammgraph.evaluation.quality import QualityOptions

    asked = [flag for flag, given in (("--weights", options.weights), ("--inception", options.inception)) if given]
    if asked and not options.quality:
        raise RunError(f"`{asked[0]}` serves `--quality`, which is not asked for")
    if len(asked) > 1:
        raise RunError("`--weights` and `--inception` both say which weights; one of them is enough")
    if not options.quality:
        return None
    return QualityOptions(weights=installed_weights() if options.inception else options.weights)


def _trials(options: Options, quality: "QualityOptions | None") -> int:
    """Every trial, what it is chiefly about, and all numbers as mean and standard deviation."""
    from ammgraph.api.run import compare
    from ammgraph.commands.run_folders import all_trials
    from ammgraph.commands.session import trial_lines

    told: list[str] = []
    folders = all_trials(options.run_dir)
    found = {folder: _scored(folder, options, quality) for folder in folders}
    compared = compare(
        folders, split=options.split, device=options.device, data_dir=options.data_dir, download=options.download
    )
    if options.format == "json":
        runs = [{"folder": str(folder)} | _as_json(folder, one) for folder, one in found.items()]
        print(json.dumps({"runs": runs, "comparison": compared.to_dict()}, indent=1))
        return 0
    for folder, one in found.items():
        told += [f"step {one.step:,}", *trial_lines(folder, one), ""]
    print_lines([*told, *str(compared).split("\n")])
    return 0


def _scored(folder: Path, options: Options, quality: "QualityOptions | None") -> "Evaluation":
    from ammgraph.api.run import Run

    return Run(folder).evaluate(
        split=options.split,
        quality=quality,
        device=options.device,
        data_dir=options.data_dir,
        download=options.download,
    )


def _as_json(folder: Path, found: "Evaluation") -> dict[str, Any]:
    from ammgraph.evaluation import health, results

    return results.as_json(found) | {"health": health.as_json(health.health_of_run(folder, found))}
