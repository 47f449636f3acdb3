"""`ammgraph sample`: draw images or vectors from the synthesis side of a run."""

from dataclasses import dataclass
from pathlib import Path

from ammgraph.commands import arguments, kinds
from ammgraph.commands.arguments import DEVICE, OF_KEYS, option

EXAMPLE = "ammgraph sample runs/amm_digits-1 --component 3 --count 20 --output threes.png"


@dataclass(frozen=True)
class Options:
    """What is typed."""

    run_dir: Path = arguments.run()
    output: Path | None = arguments.output(
        ".png, a row for each component with its number, .npz, or .csv or .parquet for vectors "
        "(default: samples.png or samples.csv)"
    )
    force: bool = arguments.force()
    component: int | None = option("only this component, counted from 0", type=kinds.count, metavar="K")
    count: int | None = option("samples of each component or example (default: 10)", type=kinds.positive, metavar="N")
    interpolate: int | None = option(
        "a row of N images between two draws of z, on a straight line, of each component; --count: so many rows",
        type=kinds.positive,
        metavar="N",
    )
    variable: str | None = option(
        "the image or the vector to sample (default: the first that priors and networks draw); given --examples, a "
        "latent too",
        metavar="X",
    )
    source: str | None = option("the distribution that draws it (default: the first that does)", "--from", metavar="P")
    set: tuple[tuple[str, int], ...] = option(
        "a category, counted from 0, in place of one that is drawn; may be repeated",
        action=OF_KEYS,
        type=kinds.category,
        metavar="Y=K",
    )
    examples: Path | None = option(
        "what the distribution reads from data, a row each: an image, a folder of images, an .npz, or a .csv or "
        ".parquet of vectors",
        type=kinds.path,
        metavar="FILE",
    )
    seed: int = option("seed of the noise (default: 0)", type=kinds.seed, default=0)
    device: str = option(DEVICE, default="auto")


def run(options: Options) -> int:
    """0 where they are written."""
    from ammgraph.api.run import Run
    from ammgraph.commands.run_folders import one_run
    from ammgraph.runs.outputs import refuse_input

    samples = Run(one_run(options.run_dir)).sample(
        options.component,
        options.count,
        interpolate=options.interpolate,
        variable=options.variable,
        source=options.source,
        given=dict(options.set),
        examples=options.examples,
        seed=options.seed,
        output=options.output,
        force=options.force,
        device=options.device,
    )
    if options.output is None:
        if options.examples is not None:
            refuse_input(samples.default_path, options.examples)
        samples.save(force=options.force)
    print(options.output or samples.default_path)
    return 0
