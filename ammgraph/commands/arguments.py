"""What can be typed: the parser of the command line, each verb with an example. Decides and prints nothing else."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ammgraph import __version__
from ammgraph.commands import kinds
from ammgraph.terminal import one_line

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
SECTIONS = ("distributions", "networks", "games", "step", "latex", "cost")
DRAWN = ("distributions", "step")  # the sections that are pictures too
Run = Callable[[argparse.Namespace], int]


def parser(verbs: Mapping[str, Run]) -> argparse.ArgumentParser:
    """The parser; the chosen verb's function is `run` of what it gives."""
    found = _Parser(
        prog="ammgraph",
        description="A declarative compiler for adversarial latent-variable models.",
        epilog=f"Example: ammgraph train specs/amm_digits.yaml\nBegin with {TUTORIAL}",
        formatter_class=_Formatter,
    )
    found.add_argument("--version", action="version", version=f"ammgraph {__version__}")
    subparsers = found.add_subparsers(required=True, metavar="COMMAND")
    for name, add in _VERBS.items():
        add(subparsers).set_defaults(run=verbs[name])
    return found


class _Parser(argparse.ArgumentParser):
    """Says what was typed wrong without sending it to the terminal: names of files may be a stranger's."""

    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps examples as they are written, at a width that does not depend on the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=110)


def _verb(subparsers: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"Example: {example}",
        formatter_class=_Formatter,
    )
    return found


def _train(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "train",
        "train a spec, or go on with a run",
        "ammgraph train specs/amm_mnist.yaml --set training.epochs=20 --seed 1",
    )
    source = found.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "spec", nargs="?", type=kinds.spec, metavar="SPEC", help="a spec, as in specs/amm_digits.yaml or amm_digits"
    )
    source.add_argument(
        "--resume", type=kinds.path, metavar="RUN", help="go on with a run, or with trials, at the newest checkpoint"
    )
    _set(found)
    _data(found)
    _device(found, "; with --trials several, as in cuda:0,cuda:1 or cpu,cpu: a trial at a time on each")
    found.add_argument("--run-dir", type=kinds.path, metavar="DIR", help="the new run directory (default: runs/SPEC-N)")
    found.add_argument(
        "--force", action="store_true", help="begin a run in a folder that holds other files; those in the way go"
    )
    found.add_argument("--seed", type=kinds.seed, help="seed of initialisation, data order and noise (default: 0)")
    found.add_argument(
        "--trials",
        type=kinds.positive,
        metavar="N",
        help="train N seeds from --seed on, one after another or one on each --device; ends with mean and standard "
        "deviation",
    )
    found.add_argument(
        "--dry-run",
        action="store_true",
        help="a few steps that leave no file: gradients, memory and time measured; absent data are made up",
    )
    found.add_argument(
        "--precision", choices=("float32", "bfloat16", "float64"), help="of the arithmetic (default: float32)"
    )
    found.add_argument(
        "--log-every", type=kinds.positive, metavar="STEPS", help="steps between two lines (default: 50)"
    )
    found.add_argument(
        "--checkpoint-seconds",
        type=kinds.seconds,
        metavar="S",
        help="least time between two checkpoints (default: 60)",
    )
    return found


def _validate(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers, "validate", "check specs and say what is wrong, and where", "ammgraph validate specs/*.yaml"
    )
    found.add_argument("specs", nargs="+", type=kinds.spec, metavar="SPEC")
    _set(found)
    _format(found)
    return found


def _show(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "show",
        "print or draw what a spec means: factorizations, layer tables, games, step, LaTeX, cost",
        "ammgraph show specs/amm_mnist.yaml --format svg > amm_mnist.svg",
    )
    found.add_argument("spec", type=kinds.spec, metavar="SPEC")
    _set(found)
    found.add_argument("--section", action="append", choices=SECTIONS, help="only this; may be repeated")
    found.add_argument("--plan", action="store_true", help="the plan alone, as runs store and compare it")
    found.add_argument(
        "--format",
        choices=("text", "json", "svg", "mermaid", "dot"),
        default="text",
        help="json: the whole plan; svg, mermaid, dot: the models of q and p, and the flow of a step (default: text)",
    )
    return found


def _diff(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "diff",
        "what changes from one spec, or run, to another, as a model and not as text",
        "ammgraph diff specs/ali_mnist.yaml specs/conditional_ali_mnist.yaml",
    )
    found.add_argument("first", type=kinds.spec, metavar="A", help="a spec, or a run directory")
    found.add_argument("second", type=kinds.spec, metavar="B")
    _set(found)
    found.add_argument("--exit-code", action="store_true", help="exit with 1 where they differ; else 0 in any case")
    _format(found)
    return found


def _evaluate(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "evaluate",
        "score the newest checkpoint of a run, and write its evaluation.json",
        "ammgraph evaluate runs/amm_digits-1",
    )
    _run(found)
    _data(found)
    _device(found)
    _split(found)
    found.add_argument(
        "--quality", action="store_true", help="score samples too: FID, KID, inception score, precision, recall"
    )
    found.add_argument(
        "--weights",
        type=kinds.path,
        metavar="PATH",
        help="torch-fidelity's Inception weights for --quality (default: a classifier trained on the spot)",
    )
    _format(found)
    return found


def _report(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "report",
        "write one HTML page of a run: model, results, figures, how to reproduce it",
        "ammgraph report runs/amm_digits-1",
    )
    _run(found)
    _data(found)
    _device(found)
    _split(found)
    _output(found, ".html, with its arrays beside it as .npz (default: report.html in the run directory)")
    found.add_argument("--no-map", action="store_true", help="leave out the t-SNE map, the slowest figure")
    found.add_argument("--seed", type=kinds.seed, default=0, help="seed of samples and choices of images (default: 0)")
    return found


def _compare(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "compare",
        "a table of runs: mean and standard deviation over the seeds of each model",
        "ammgraph compare runs/amm_mnist-* runs/amm_mnist_q1-*",
    )
    found.add_argument("run_dirs", nargs="+", type=kinds.path, metavar="RUN")
    _data(found)
    _device(found)
    _split(found)
    found.add_argument("--again", action="store_true", help="evaluate every run anew")
    _format(found)
    return found


def _sample(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "sample",
        "draw images from the synthesis side of a run",
        "ammgraph sample runs/amm_digits-1 --component 3 --count 20 --output threes.png",
    )
    _run(found)
    _output(found, ".png or .npz (default: samples.png)", "samples.png")
    found.add_argument("--component", type=kinds.count, metavar="K", help="only this component, counted from 0")
    found.add_argument("--count", type=kinds.positive, metavar="N", help="images of each component (default: 10)")
    found.add_argument(
        "--interpolate", type=kinds.positive, metavar="N", help="N images on a line between two draws of z"
    )
    found.add_argument("--seed", type=kinds.seed, default=0, help="seed of the noise (default: 0)")
    _device(found)
    return found


def _encode(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "encode",
        "labels, posteriors and embeddings of your own images",
        "ammgraph encode runs/amm_digits-1 images.npz --output codes.csv",
    )
    _run(found)
    found.add_argument(
        "images", type=kinds.path, metavar="IMAGES", help="an image, a folder of images, or an .npz with `images`"
    )
    _output(found, ".csv or .npz (default: encoded.csv)", "encoded.csv")
    _device(found)
    return found


def _specs(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "specs",
        "list the specs that ship, with what was published; `ammgraph copy` copies one",
        "ammgraph specs --format json",
    )
    _format(found)
    return found


def _copy(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "copy",
        "copy a spec that ships, and what it extends; nothing is overwritten",
        "ammgraph copy amm_mnist_q1 mine.yaml",
    )
    found.add_argument("name", metavar="NAME", help="as `ammgraph specs` lists it")
    found.add_argument(
        "path", nargs="?", type=kinds.path, metavar="PATH", help="the new file, or a folder (default: NAME.yaml)"
    )
    return found


def _new(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "new",
        "write a spec with comments from two factorizations, ready to train",
        'ammgraph new mine.yaml --q "q(x) q(z|x) q(y|x,z)" --p "p(y) p(z|y) p(x|y,z)" --image 1x28x28',
    )
    found.add_argument("path", type=kinds.path, metavar="FILE", help="the new spec, as in mine.yaml; never overwritten")
    found.add_argument("--q", required=True, metavar="FACTORS", help="the inference side, as a product of factors")
    found.add_argument("--p", required=True, metavar="FACTORS", help="the synthesis side")
    found.add_argument(
        "--image",
        action="append",
        default=[],
        type=kinds.image,
        metavar="CxHxW",
        help="size of the images: variables whose names begin with x; NAME:CxHxW for another (default: as the data's)",
    )
    found.add_argument(
        "--categorical",
        action="append",
        default=[],
        type=kinds.sized,
        metavar="NAME:K",
        help="a categorical variable; names that begin with y or c are, with K = 10; may be repeated",
    )
    found.add_argument(
        "--real",
        action="append",
        default=[],
        type=kinds.sized,
        metavar="NAME:N",
        help="a real vector (default: N = 64)",
    )
    found.add_argument(
        "--deterministic",
        action="append",
        default=[],
        metavar="NAME",
        help="a real variable that networks draw without noise, as BiGAN's z",
    )
    found.add_argument(
        "--data",
        default="",
        choices=("digits", "mnist", "svhn", "npz", "folder"),
        help="the data set (default: the one whose images have this size, else npz)",
    )
    return found


def _schema(subparsers: Any) -> argparse.ArgumentParser:
    return _verb(
        subparsers,
        "schema",
        "print the JSON Schema of specs, by which editors complete and explain keys",
        "ammgraph schema > ammgraph.schema.json",
    )


def _explain(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "explain",
        "say what a diagnostic means, with a wrong and a right example; without a code list all",
        "ammgraph explain condition-mismatch",
    )
    found.add_argument("code", nargs="?", metavar="CODE", help="as in the brackets of a message")
    return found


def _export(subparsers: Any) -> argparse.ArgumentParser:
    found = _verb(
        subparsers,
        "export",
        "write a run as a program that needs PyTorch alone: model.py and weights.pt",
        "ammgraph export runs/amm_digits-1 --output digits",
    )
    _run(found)
    found.add_argument(
        "-o",
        "--output",
        type=kinds.path,
        metavar="DIR",
        help="the folder of the export (default: `export` in the run directory)",
    )
    found.add_argument(
        "--onnx",
        action="store_true",
        help="what is inferred from an image, and images from latents, as ONNX too; needs ammgraph[onnx]",
    )
    return found


_VERBS: dict[str, Callable[[Any], argparse.ArgumentParser]] = {
    "train": _train,
    "validate": _validate,
    "show": _show,
    "diff": _diff,
    "evaluate": _evaluate,
    "report": _report,
    "compare": _compare,
    "sample": _sample,
    "encode": _encode,
    "export": _export,
    "specs": _specs,
    "copy": _copy,
    "new": _new,
    "schema": _schema,
    "explain": _explain,
}


def _run(found: argparse.ArgumentParser) -> None:
    found.add_argument("run_dir", type=kinds.path, metavar="RUN", help="a run directory, as in runs/amm_digits-1")


def _set(found: argparse.ArgumentParser) -> None:
    found.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=VALUE",
        help="write one value of the spec, after `extends`; `null` removes; may be repeated",
    )
    found.add_argument(
        "--allow-outside", action="store_true", help="let `extends` lead out of the spec's folder, in a spec you trust"
    )


def _data(found: argparse.ArgumentParser) -> None:
    found.add_argument(
        "--data-dir",
        type=kinds.path,
        metavar="DIR",
        help="folder of MNIST's and SVHN's files, and of relative `data.path`s",
    )
    found.add_argument("--no-download", action="store_true", help="never fetch a data set")


def _device(found: argparse.ArgumentParser, more: str = "") -> None:
    found.add_argument("--device", default="auto", help=f"auto, cpu, cuda or cuda:N (default: auto){more}")


def _output(found: argparse.ArgumentParser, what: str, default: str | None = None) -> None:
    found.add_argument("--output", type=kinds.path, default=default, metavar="FILE", help=what)
    found.add_argument(
        "--force", action="store_true", help="replace the file, also where no command like this one has written it"
    )


def _split(found: argparse.ArgumentParser) -> None:
    found.add_argument(
        "--split", choices=("test", "validation", "train"), help="images to score (default: test, else train)"
    )


def _format(found: argparse.ArgumentParser) -> None:
    found.add_argument("--format", choices=("text", "json"), default="text")
