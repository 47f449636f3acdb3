"""`ammgraph encode`: what a run's model says about a user's own images or vectors."""

from dataclasses import dataclass
from pathlib import Path

from ammgraph.commands import arguments, kinds
from ammgraph.commands.arguments import DEVICE, option, positional

EXAMPLE = "ammgraph encode runs/amm_digits-1 images.npz --output codes.csv"


@dataclass(frozen=True)
class Options:
    """What is typed."""

    run_dir: Path = arguments.run()
    images: Path = positional(
        "an image, a folder of images, an .npz, or a .csv or .parquet of vectors", "IMAGES", type=kinds.path
    )
    output: Path = arguments.output(".csv, .parquet or .npz (default: encoded.csv)", "encoded.csv")
    force: bool = arguments.force()
    variable: str | None = option(
        "which variable the examples are (default: the first image or vector of the data)", metavar="X"
    )
    device: str = option(DEVICE, default="auto")


def run(options: Options) -> int:
    """0 where they are written."""
    from ammgraph.api.run import Run
    from ammgraph.commands.run_folders import one_run

    run = Run(one_run(options.run_dir))
    run.encode(
        options.images,
        output=options.output,
        force=options.force,
        variable=options.variable,
        device=options.device,
    )
    print(options.output)
    return 0
