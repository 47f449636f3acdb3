"""`ammgraph evaluate`: score a run's newest checkpoint."""

import json
from dataclasses import dataclass
from pathlib import Path

from ammgraph.commands import arguments, kinds
from ammgraph.commands.arguments import OfScores, form, option, switch
from ammgraph.diagnostics import RunError
from ammgraph.terminal import print_lines

EXAMPLE = "ammgraph evaluate runs/amm_digits-1"


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
    format: str = form()


def run(options: Options) -> int:
    """0 where it is scored."""
    from ammgraph.commands.session import score_lines
    from ammgraph.evaluation import health, results
    from ammgraph.evaluation.quality import QualityOptions
    from ammgraph.evaluation.score import evaluate_run

    if options.weights and not options.quality:
        raise RunError("`--weights` serves `--quality`, which is not asked for")
    quality = QualityOptions(weights=options.weights) if options.quality else None
    found = evaluate_run(options.run_dir, options.place(), options.split, quality=quality)
    if options.format == "json":
        verdict = health.health_of_run(options.run_dir, found)
        print(json.dumps(results.as_json(found) | {"health": health.as_json(verdict)}, indent=1))
    else:
        print(f"{options.run_dir} at step {found.step:,}")
        print_lines(score_lines(options.run_dir, found))
    return 0
