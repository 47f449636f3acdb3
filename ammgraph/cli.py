"""The verbs. The only module that prints and chooses exit codes: 0 good, 1 the spec or the run is wrong, 2 usage,
3 a bug in ammgraph, 130 interrupted, 143 terminated. Results go to stdout, everything else to stderr.
"""

import argparse
import errno
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ammgraph import __version__
from ammgraph.diagnostics import Diagnostic, RunError, SpecError, as_json, render

if TYPE_CHECKING:
    from ammgraph.graph.plan import Plan
    from ammgraph.spec.schema import Spec

SECTIONS = ("distributions", "networks", "games", "step", "latex", "cost")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except SpecError as error:
        _print_diagnostics(error, getattr(options, "format", "text"))
        return 1
    except RunError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone: no error of ours, and nothing more can be said to it.
        _close_output()
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _close_output()
            print(f"error: {error}", file=sys.stderr)
            return 1
        traceback.print_exc()
        print(
            f"this is a bug in ammgraph {__version__}: please report it with the spec and the lines above",
            file=sys.stderr,
        )
        return 3


def _close_output() -> None:
    """What is still to be written to stdout goes nowhere, so that Python has nothing to complain about at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def validate(options: argparse.Namespace) -> int:
    """Check specs; say what is wrong with each."""
    failed = 0
    reports = []
    for path in options.specs:
        try:
            spec, plan = _compile(path, options.set)
        except SpecError as error:
            failed += 1
            if options.format == "json":
                reports.append(
                    {"spec": path, "valid": False, "errors": [as_json(found) for found in error.diagnostics]}
                )
            else:
                print(f"{error}\n\n{path}: {_count(len(error.diagnostics), 'error')}")
            continue
        if options.format == "json":
            reports.append({"spec": path, "valid": True, "warnings": [as_json(found) for found in plan.warnings]})
            continue
        for warning in plan.warnings:
            print(_warning(warning, spec))
        sides = ", ".join(f"{' '.join(factor.text for factor in draw.factors)}" for draw in plan.draws)
        print(f"{path}: valid; {sides}; {plan.parameters:,} parameters")
    if options.format == "json":
        print(json.dumps(reports, indent=1))
    return 1 if failed else 0


def show(options: argparse.Namespace) -> int:
    """Print what the compiler made of a spec."""
    from ammgraph.graph.cost import cost_text
    from ammgraph.graph.latex import latex
    from ammgraph.graph.text import (
        data_text,
        distributions_text,
        game_text,
        network_text,
        plan_text,
        step_text,
        variables_text,
    )

    spec, plan = _compile(options.spec, options.set)
    if options.plan:
        print(plan_text(plan), end="")
        return 0
    sections = {
        "distributions": lambda: "\n\n".join((data_text(plan), variables_text(plan), distributions_text(plan))),
        "networks": lambda: "\n\n".join(network_text(network) for network in plan.networks),
        "games": lambda: "\n\n".join(game_text(game) for game in plan.games),
        "step": lambda: step_text(plan),
        "latex": lambda: latex(plan).rstrip(),
        "cost": lambda: cost_text(plan),
    }
    chosen = options.section or SECTIONS
    if not options.section:
        print(plan.title or options.spec, end="\n\n")
    print("\n\n".join(sections[name]() for name in chosen))
    for warning in plan.warnings:
        print(f"\n{_warning(warning, spec)}", file=sys.stderr)
    return 0


def train(options: argparse.Namespace) -> int:
    """Train a spec, or go on with a run."""
    from ammgraph.session import train_run

    return train_run(options)


def evaluate(options: argparse.Namespace) -> int:
    """Score a run's newest checkpoint."""
    from ammgraph.session import evaluate_run

    return evaluate_run(options)


def _compile(path: str, overrides: Sequence[str]) -> "tuple[Spec, Plan]":
    from ammgraph.graph.compile import compile_spec
    from ammgraph.spec.load import load_spec

    spec = load_spec(Path(path), overrides)
    return spec, compile_spec(spec)


def _print_diagnostics(error: SpecError, form: str) -> None:
    if form == "json":
        print(json.dumps([as_json(diagnostic) for diagnostic in error.diagnostics], indent=1))
    else:
        print(f"{error}\n\n{_count(len(error.diagnostics), 'error')}", file=sys.stderr)


def _warning(diagnostic: Diagnostic, spec: "Spec") -> str:
    return render(diagnostic, spec.source.texts).replace("error[", "warning[", 1)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps examples as they are written, at a width that does not depend on the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=110)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ammgraph",
        description="A declarative compiler for adversarial latent-variable models.",
        epilog="Example: ammgraph train specs/amm_digits.yaml",
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"ammgraph {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(verbs)
    _add_validate(verbs)
    _add_show(verbs)
    _add_evaluate(verbs)
    return parser


def _verb(verbs: Any, run: Any, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        run.__name__,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"Example: {example}",
        formatter_class=_Formatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=VALUE",
        help="write one value of the spec, after `extends`; `null` removes; may be repeated",
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of MNIST's and SVHN's files, and of relative `data.path`s"
    )
    parser.add_argument("--no-download", action="store_true", help="never fetch a data set")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def _add_train(verbs: Any) -> None:
    parser = _verb(
        verbs,
        train,
        "train a spec, or go on with a run",
        "ammgraph train specs/amm_mnist.yaml --set training.epochs=20 --seed 1",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("spec", nargs="?", metavar="SPEC", help="a spec, as in specs/amm_digits.yaml")
    source.add_argument("--resume", metavar="RUN", help="go on with a run directory where its newest checkpoint stands")
    _add_set(parser)
    _add_data(parser)
    parser.add_argument("--run-dir", metavar="DIR", help="the new run directory (default: runs/SPEC-N)")
    parser.add_argument("--seed", type=_seed, help="seed of initialisation, data order and noise (default: 0)")
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16", "float64"), help="of the arithmetic (default: float32)"
    )
    parser.add_argument("--log-every", type=_positive, metavar="STEPS", help="steps between two lines (default: 50)")
    parser.add_argument(
        "--checkpoint-seconds",
        type=_seconds,
        metavar="S",
        help="least time between two checkpoints (default: 60)",
    )


def _add_validate(verbs: Any) -> None:
    parser = _verb(verbs, validate, "check specs and say what is wrong, and where", "ammgraph validate specs/*.yaml")
    parser.add_argument("specs", nargs="+", metavar="SPEC")
    _add_set(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")


def _add_show(verbs: Any) -> None:
    parser = _verb(
        verbs,
        show,
        "print the factorizations, shapes, games, step, LaTeX and cost of a spec",
        "ammgraph show specs/amm_mnist.yaml --section latex",
    )
    parser.add_argument("spec", metavar="SPEC")
    _add_set(parser)
    parser.add_argument("--section", action="append", choices=SECTIONS, help="only this; may be repeated")
    parser.add_argument("--plan", action="store_true", help="the plan alone, as runs store and compare it")


def _add_evaluate(verbs: Any) -> None:
    parser = _verb(
        verbs,
        evaluate,
        "score the newest checkpoint of a run: clustering error, classification error, reconstruction",
        "ammgraph evaluate runs/amm_digits-1",
    )
    parser.add_argument("run_dir", metavar="RUN")
    _add_data(parser)
    parser.add_argument(
        "--split", choices=("test", "validation", "train"), help="images to score (default: test, else train)"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"`{text}` is no seed: expected a whole number from 0 to 2^63 - 1")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}`: expected a whole number, at least 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"`{text}`: expected a number of seconds, at least 0")
    return seconds
