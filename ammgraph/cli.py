"""The verbs and their exit codes: 0 good, 1 the spec or the run is wrong, 2 usage, 3 a bug of ours, 130 interrupted,
143 terminated, 129 the terminal was closed. Results go to stdout, everything else to stderr; beside this module only
`session`, `dry_run` and `trials` print.
"""

import argparse
import errno
import json
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ammgraph import __version__
from ammgraph.commands.arguments import DRAWN, SECTIONS, Run, parser
from ammgraph.diagnostics import Diagnostic, RunError, SpecError, as_json, counted, is_out_of_memory, render
from ammgraph.terminal import as_it_is, close_output, escaped, guarded, one_line, open_streams, print_lines

if TYPE_CHECKING:
    from ammgraph.plan.plan import Plan
    from ammgraph.spec.schema import Spec


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    open_streams()
    options = parser(VERBS).parse_args(arguments)
    options.command = sys.argv[1:] if arguments is None else list(arguments)
    logger, handler = logging.getLogger("ammgraph"), _ToStderr()
    logger.addHandler(handler)
    try:
        with guarded():
            return _exit_code(options)
    finally:
        logger.removeHandler(handler)


def _exit_code(options: argparse.Namespace) -> int:
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except SpecError as error:
        _print_diagnostics(error, getattr(options, "format", "text"))
        return 1
    except RunError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone: no error of ours, and nothing more can be said to it.
        close_output()
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            print(f"error: {error}", file=sys.stderr)
            return 1
        if is_out_of_memory(error):
            reason = str(error).partition("\n")[0]
            print(f"error: out of memory{f': {reason}' if reason else ''}", file=sys.stderr)
            return 1
        traceback.print_exc()
        print(
            f"this is a bug in ammgraph {__version__}: please report it with the spec and the lines above",
            file=sys.stderr,
        )
        return 3


class _ToStderr(logging.Handler):
    """What a room has to say beside its result."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"{record.levelname.lower()}: {one_line(record.getMessage())}", file=sys.stderr)


def validate(options: argparse.Namespace) -> int:
    """Check specs; say what is wrong with each."""
    failed = 0
    reports = []
    told: list[Diagnostic] = []
    for path in options.specs:
        try:
            spec, plan = _compile(path, options)
        except SpecError as error:
            failed += 1
            told += error.diagnostics
            if options.format == "json":
                reports.append(
                    {"spec": path, "valid": False, "errors": [as_json(found) for found in error.diagnostics]}
                )
            else:
                print(f"{error}\n\n{path}: {counted(len(error.diagnostics), 'error')}")
            continue
        if options.format == "json":
            reports.append({"spec": path, "valid": True, "warnings": [as_json(found) for found in plan.warnings]})
            continue
        for warning in plan.warnings:
            print(render(warning, spec.source.texts))
        print(f"{path}: valid; {_model(plan)}")
    if options.format == "json":
        print(json.dumps(reports, indent=1))
    elif told:
        print(f"\n{_more(told)}", file=sys.stderr)
    return 1 if failed else 0


def show(options: argparse.Namespace) -> int:
    """Print what the compiler made of a spec."""
    spec, plan = _compile(options.spec, options)
    print(_shown(plan, options), end="")
    for warning in plan.warnings:
        print(f"\n{render(warning, spec.source.texts)}", file=sys.stderr)
    return 0


def _shown(plan: "Plan", options: argparse.Namespace) -> str:
    from ammgraph.show.drawing import figure_svg
    from ammgraph.show.markup import dot, mermaid
    from ammgraph.show.text import plan_text

    chosen = options.section or SECTIONS
    if options.plan and (options.section or options.format != "text"):
        raise RunError("`--plan` is the whole plan as text: it takes neither `--section` nor `--format`")
    if options.plan:
        return plan_text(plan)
    if options.format == "json":
        from ammgraph.show.as_json import as_json as plan_json

        if options.section:
            raise RunError("`--format json` is the whole plan: it takes no `--section`")
        return json.dumps(plan_json(plan), indent=1) + "\n"
    if options.format != "text":
        if options.section and not set(chosen) <= set(DRAWN):
            raise RunError(f"`--format {options.format}` draws the sections {' and '.join(DRAWN)} only")
        draw = {"svg": figure_svg, "mermaid": mermaid, "dot": dot}[options.format]
        return draw(plan, "distributions" in chosen, "step" in chosen)
    head = "" if options.section else f"{plan.title or options.spec}\n\n"
    return head + "\n\n".join(_section(plan, name) for name in chosen) + "\n"


def _section(plan: "Plan", name: str) -> str:
    from ammgraph.show.cost import cost_text, row_memory
    from ammgraph.show.latex import latex
    from ammgraph.show.text import data_text, distributions_text, game_text, network_text, step_text, variables_text

    if name == "distributions":
        return "\n\n".join((data_text(plan), variables_text(plan), distributions_text(plan)))
    if name == "networks":
        memory = row_memory(plan)
        return "\n\n".join(network_text(network, memory[network.name]) for network in plan.networks)
    if name == "games":
        return "\n\n".join(game_text(plan, game) for game in plan.games)
    return {"step": step_text, "latex": latex, "cost": cost_text}[name](plan).rstrip()


def diff(options: argparse.Namespace) -> int:
    """Print what changes from one model to another."""
    from ammgraph.show.difference import difference_json, difference_text, differences

    (spec, plan), (other_spec, other) = _compile(options.first, options), _compile(options.second, options)
    changes = differences((spec, plan), (other_spec, other))
    if options.format == "json":
        print(json.dumps(difference_json(changes, plan, other), indent=1))
    elif not changes:
        print(f"{options.first} and {options.second} are the same model")
    else:
        colours = {"+": "32", "-": "31", "~": "33"} if sys.stdout.isatty() and "NO_COLOR" not in os.environ else {}
        for line in map(escaped, difference_text(changes, plan, other)):
            text = f"\033[{colours[line[0]]}m{line}\033[0m" if line[0] in colours else line
            print(text, file=as_it_is(sys.stdout))
    return 1 if changes and options.exit_code else 0


def train(options: argparse.Namespace) -> int:
    """Train a spec, or go on with a run; with `--trials` several seeds of it."""
    from ammgraph.commands.dry_run import dry_run
    from ammgraph.commands.session import train_run
    from ammgraph.commands.trials import is_trials, train_trials

    if options.force and not options.run_dir:
        raise RunError("`--force` serves `--run-dir`, which is not given: it lets a run begin among other files")
    if options.dry_run:
        return dry_run(options)
    if options.trials or (options.resume and is_trials(Path(options.resume))):
        return train_trials(options)
    return train_run(options)


def evaluate(options: argparse.Namespace) -> int:
    """Score a run's newest checkpoint."""
    from ammgraph import api
    from ammgraph.commands.session import score_lines
    from ammgraph.evaluation import results
    from ammgraph.evaluation.quality import QualityOptions

    if options.weights and not options.quality:
        raise RunError("`--weights` serves `--quality`, which is not asked for")
    quality = QualityOptions(weights=Path(options.weights) if options.weights else None) if options.quality else None
    folder = Path(options.run_dir)
    found = api.evaluate(
        folder,
        split=options.split,
        device=options.device,
        data_dir=options.data_dir,
        download=not options.no_download,
        quality=quality,
    )
    if options.format == "json":
        print(json.dumps(results.as_json(found), indent=1))
    else:
        print(f"{folder} at step {found.step:,}")
        print_lines(score_lines(folder, found))
    return 0


def report(options: argparse.Namespace) -> int:
    """Write a run's HTML page."""
    from ammgraph.report.report import ReportOptions, report_run
    from ammgraph.report.views import ViewOptions
    from ammgraph.runs.run import choose_device

    views = ViewOptions(seed=options.seed, embedded=0) if options.no_map else ViewOptions(seed=options.seed)
    page = report_run(
        Path(options.run_dir),
        choose_device(options.device),
        options.data_dir,
        download=not options.no_download,
        options=ReportOptions(split=options.split, views=views),
        output=Path(options.output) if options.output else None,
        force=options.force,
    )
    print(page)
    return 0


def compare(options: argparse.Namespace) -> int:
    """Print a table of runs."""
    from ammgraph.evaluation import compare as comparison
    from ammgraph.runs.run import choose_device

    groups = comparison.compare_runs(
        [Path(folder) for folder in options.run_dirs],
        choose_device(options.device),
        options.split,
        options.data_dir,
        download=not options.no_download,
        again=options.again,
    )
    if options.format == "json":
        print(json.dumps(comparison.as_json(groups), indent=1))
    else:
        print_lines(comparison.lines(groups))
    return 0


def sample(options: argparse.Namespace) -> int:
    """Draw images from a run."""
    from ammgraph.evaluation.sample import sample_run
    from ammgraph.runs.run import choose_device

    sample_run(
        Path(options.run_dir),
        Path(options.output),
        choose_device(options.device),
        component=options.component,
        count=options.count,
        interpolate=options.interpolate,
        seed=options.seed,
        force=options.force,
    )
    print(options.output)
    return 0


def encode(options: argparse.Namespace) -> int:
    """Encode a user's own images."""
    from ammgraph.evaluation.encode import encode_run
    from ammgraph.runs.run import choose_device

    device = choose_device(options.device)
    encode_run(Path(options.run_dir), Path(options.images), Path(options.output), device, force=options.force)
    print(options.output)
    return 0


def specs(options: argparse.Namespace) -> int:
    """List the specs that ship."""
    from ammgraph.start.listing import listed, listing_json, listing_text

    found = listed()
    print(json.dumps(listing_json(found), indent=1) if options.format == "json" else listing_text(found))
    return 0


def copy(options: argparse.Namespace) -> int:
    """Copy a spec that ships."""
    from ammgraph.start.copies import copy_spec, write_schema

    copied = copy_spec(options.name, Path(options.path) if options.path else None)
    for path in (*copied, write_schema(copied[0].parent)):
        if path is not None:
            print(path)
    return 0


def new(options: argparse.Namespace) -> int:
    """Write a spec from two factorizations."""
    from ammgraph.start.copies import write_new, write_schema
    from ammgraph.start.skeleton import Typed
    from ammgraph.start.sketch import new_spec

    typed = Typed(
        q=" ".join(options.q.split()),
        p=" ".join(options.p.split()),
        image=tuple(options.image),
        categorical=tuple(options.categorical),
        real=tuple(options.real),
        deterministic=tuple(options.deterministic),
        data=options.data,
    )
    path = shlex.quote(options.path)
    text, plan = new_spec(typed, options.path, shlex.join(["ammgraph", *options.command]))
    write_new(Path(options.path), text.encode())
    write_schema(Path(options.path).parent)
    print(f"{options.path}: {_model(plan)}; data: {plan.data.dataset}")
    print("\nNext:")
    print(f"  ammgraph show {path}")
    print(f"  ammgraph show {path} --format svg > {shlex.quote(str(Path(options.path).with_suffix('.svg')))}")
    print(f"  ammgraph train {path} --dry-run")
    print(f"  ammgraph train {path}")
    return 0


def schema(_: argparse.Namespace) -> int:
    """Print the JSON Schema of specs."""
    from ammgraph.start.json_schema import schema_text

    print(schema_text(), end="")
    return 0


def explain(options: argparse.Namespace) -> int:
    """Explain a diagnostic's code, or list all."""
    from ammgraph.commands import explain as explanations

    print(explanations.explain(options.code) if options.code else explanations.listing())
    return 0


def export(options: argparse.Namespace) -> int:
    """Write a run as a program of its own."""
    from ammgraph.export.export import export_run

    folder = Path(options.run_dir)
    output = Path(options.output) if options.output else folder / "export"
    for path in export_run(folder, output, onnx=options.onnx):
        print(path)
    return 0


VERBS: dict[str, Run] = {
    verb.__name__: verb
    for verb in (
        *(train, validate, show, evaluate, report, compare, sample, encode, export),
        *(diff, specs, copy, new, schema, explain),
    )
}


def _compile(path: str, options: argparse.Namespace) -> "tuple[Spec, Plan]":
    from ammgraph.compiler.compile import compile_spec
    from ammgraph.spec.load import load_spec

    spec = load_spec(Path(path), options.set, allow_outside=options.allow_outside)
    return spec, compile_spec(spec)


def _print_diagnostics(error: SpecError, form: str) -> None:
    if form == "json":
        print(json.dumps([as_json(diagnostic) for diagnostic in error.diagnostics], indent=1))
    else:
        print(f"{error}\n\n{counted(len(error.diagnostics), 'error')}; {_more(error.diagnostics)}", file=sys.stderr)


def _more(found: Sequence[Diagnostic]) -> str:
    codes = dict.fromkeys(diagnostic.code for diagnostic in found)
    return f"`ammgraph explain {next(iter(codes)) if len(codes) == 1 else 'CODE'}` says more"


def _model(plan: "Plan") -> str:
    sides = ", ".join(f"{' '.join(factor.text for factor in draw.factors)}" for draw in plan.draws)
    return f"{sides}; {counted(plan.parameters, 'parameter')}"
