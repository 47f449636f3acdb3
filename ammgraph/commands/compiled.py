"""A spec that is named on the command line, compiled; and sentences about specs that several verbs print."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ammgraph.commands.arguments import OfSpec
from ammgraph.diagnostics import Diagnostic, SpecError, counted

if TYPE_CHECKING:
    from ammgraph.plan.plan import Plan
    from ammgraph.spec.schema import Spec


def compiled(path: str, options: OfSpec) -> "tuple[Spec, Plan]":
    """The spec with what is `--set` in it, and its plan."""
    from ammgraph.compiler.compile import compile_spec
    from ammgraph.spec.load import load_spec

    spec = load_spec(Path(path), options.set, allow_outside=options.allow_outside)
    return spec, compile_spec(spec)


def told_at_once(error: SpecError) -> SpecError:
    """What is wrong with a spec beside what the stage at hand has found, with that."""
    from ammgraph.compiler.every_problem import every_problem

    return every_problem(error)


def summary(plan: "Plan") -> str:
    """A plan in a line: its distributions, and how many parameters it has."""
    sides = ", ".join(f"{' '.join(factor.text for factor in draw.written)}" for draw in plan.draws)
    return f"{sides}; {counted(plan.parameters, 'parameter')}"


def more(found: Sequence[Diagnostic]) -> str:
    """Where diagnostics are explained."""
    codes = dict.fromkeys(diagnostic.code for diagnostic in found)
    return f"`ammgraph explain {next(iter(codes)) if len(codes) == 1 else 'CODE'}` says more"
