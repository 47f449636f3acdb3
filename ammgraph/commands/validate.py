"""`ammgraph validate`: check specs, and say what is wrong with each."""

import json
import sys
from dataclasses import dataclass

from ammgraph.commands import kinds
from ammgraph.commands.arguments import OfSpec, form, positional
from ammgraph.commands.compiled import compiled, more, summary, told_at_once
from ammgraph.diagnostics import Diagnostic, SpecError, as_json, counted, render

EXAMPLE = "ammgraph validate specs/*.yaml"


@dataclass(frozen=True)
class Options(OfSpec):
    """What is typed."""

    specs: tuple[str, ...] = positional(None, "SPEC", nargs="+", type=kinds.spec)
    format: str = form()


def run(options: Options) -> int:
    """1 where one of them is wrong, else 0."""
    reports = []
    told: list[Diagnostic] = []
    for path in options.specs:
        found: dict[str, object] = {"spec": path, "valid": True}
        try:
            spec, plan = compiled(path, options)
            found["warnings"] = [as_json(warning) for warning in plan.warnings]
            shown = [render(warning, spec.source.texts) for warning in plan.warnings]
            idle = [warning for warning in plan.warnings if warning.code == "no-data"]
            if idle:  # a plan all the same, for who compares two known distributions; no model of data
                told += idle
                found |= {"valid": False, "errors": [as_json(warning) for warning in idle]}
            shown.append(f"{path}: {'a model of no data' if idle else f'valid; {summary(plan)}'}")
        except SpecError as refused:
            error = told_at_once(refused)
            told += error.diagnostics
            found |= {"valid": False, "errors": [as_json(diagnostic) for diagnostic in error.diagnostics]}
            shown = [f"{error}\n\n{path}: {counted(len(error.diagnostics), 'error')}"]
        reports.append(found)
        if options.format == "text":
            print("\n".join(shown))
    if options.format == "json":
        print(json.dumps(reports, indent=1))
    elif told:
        print(f"\n{more(told)}", file=sys.stderr)
    return 1 if told else 0
