"""`ammgraph export`: write a run as a program of its own."""

from dataclasses import dataclass
from pathlib import Path

from ammgraph.commands import arguments, kinds
from ammgraph.commands.arguments import option, switch

EXAMPLE = "ammgraph export runs/amm_digits-1 --output digits"


@dataclass(frozen=True)
class Options:
    """What is typed."""

    run_dir: Path = arguments.run()
    output: Path | None = option(
        "the folder of the export (default: `export` in the run directory)",
        "-o",
        "--output",
        type=kinds.path,
        metavar="DIR",
    )
    onnx: bool = switch("what is inferred from an image, and images from latents, as ONNX too; needs ammgraph[onnx]")


def run(options: Options) -> int:
    """0 where it is written."""
    from ammgraph.api.run import Run
    from ammgraph.commands.run_folders import one_run

    for path in Run(one_run(options.run_dir)).export(options.output, onnx=options.onnx):
        print(path)
    return 0
