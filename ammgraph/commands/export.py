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
    from ammgraph.commands.run_folders import one_run
    from ammgraph.export.export import export_run

    folder = one_run(options.run_dir)
    for path in export_run(folder, options.output or folder / "export", onnx=options.onnx):
        print(path)
    return 0
