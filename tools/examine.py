"""What must hold of any text taken for a spec: it shows, builds and steps, or there are diagnostics with places."""

import json
import time
import unicodedata
from dataclasses import dataclass

import torch

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import SpecError, as_json
from ammgraph.nn.model import Tensors, build, draw_noise, one_hot
from ammgraph.plan.cost import memory
from ammgraph.plan.draws import FromData
from ammgraph.plan.identity import plan_hash
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import TurnPlan
from ammgraph.show.cost import cost_text
from ammgraph.show.latex import latex
from ammgraph.show.text import plan_text
from ammgraph.spec.load import load_text
from ammgraph.train.step import take_turn

LONGEST = 2.0  # seconds of processor for loading, compiling and showing
LARGEST_STEP = 1 << 28  # bytes; what is larger is not stepped
SLOW_STEP = 1 << 22  # multiply-adds of an example; of what is slower one in sixteen is stepped
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Verdict:
    """What became of a text: `invalid`, `shown`, `stepped`, `too large to step`, or a failure with its reason."""

    outcome: str
    failure: str = ""
    seconds: float = 0.0


def examine(text: str, file: str, stepped: set[str] | None = None) -> Verdict:
    """Load, compile and show a text; where it is a model, take a step at batch 2.

    Args:
        text: the spec.
        file: where it stands, for `extends`.
        stepped: hashes of plans that need no further step; None takes no step at all.
    """
    started = time.process_time()
    try:
        try:
            plan = compile_spec(load_text(text, file))
            shown = [plan.title, plan_text(plan), latex(plan), cost_text(plan)]
            problem = next((f"shows {problem}" for part in shown if (problem := unprintable(part))), "")
        except SpecError as error:
            plan, problem = None, wrong_diagnostics(error)
        seconds = time.process_time() - started
        if problem or seconds > LONGEST:
            return Verdict("failure", problem or f"{seconds:.1f} s", seconds)
        if plan is None:
            return Verdict("invalid", seconds=seconds)
        return Verdict("shown" if stepped is None else _step(text, file, stepped), seconds=seconds)
    except Exception as error:  # whatever it is, it is a bug
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename.rpartition('/')[2]}:{place.tb_lineno}" if place else ""
        return Verdict(
            "failure", f"{type(error).__name__} in {where}: {str(error)[:200]}", time.process_time() - started
        )


def wrong_diagnostics(error: SpecError) -> str:
    """What is wrong with an error, or nothing: it has a diagnostic, each with a code, a sentence and a place."""
    if not error.diagnostics:
        return "an error without a diagnostic"
    for found in error.diagnostics:
        for span in (found.span, *(note.span for note in found.notes)):
            lines = error.sources.get(span.file, "").split("\n")
            if not (1 <= span.line <= len(lines) and 1 <= span.column <= len(lines[span.line - 1]) + 1):
                return f"{found.code} stands at {span}, where nothing is"
            if span.end_column <= span.column:
                return f"{found.code} at {span} has no extent"
        if not found.message or not found.code:
            return "a diagnostic without a sentence"
        json.dumps(as_json(found))
    return unprintable(str(error)) and f"an error shows {unprintable(str(error))}"


def unprintable(text: str) -> str:
    """The first character that a terminal should not get, or nothing."""
    bad = next((c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cs")), "")
    return f"U+{ord(bad):04X}" if bad else ""


def _step(text: str, file: str, stepped: set[str]) -> str:
    plan = compile_spec(load_text(text, file, ["training.batch_size=2"]))
    key = plan_hash(plan)
    if key in stepped:
        return "shown"
    stepped.add(key)
    cost = sum(network.multiply_adds for network in plan.networks)
    if memory(plan).total > LARGEST_STEP or cost > 64 * SLOW_STEP:
        return "too large to step"
    if cost > SLOW_STEP and int(key.rpartition(":")[2][:8], 16) % 16:
        return "shown"
    generator = torch.Generator().manual_seed(0)
    categories = max((variable.shape[0] for variable in plan.variables if variable.kind == "categorical"), default=1)
    model = build(plan, generator, torch.full((min(categories, 10),), 0.1, dtype=torch.float64))
    for turn in plan.turns:
        noise = {site.name: draw_noise(site, generator, CPU, torch.float32) for site in turn.sites}
        take_turn(model, plan, turn, _data(plan, turn, generator), noise, epoch=0.0)
    return "stepped"


def _data(plan: Plan, turn: TurnPlan, generator: torch.Generator) -> dict[str, Tensors]:
    found: dict[str, Tensors] = {}
    for draw in (plan.draw(name) for name in turn.draws):
        values = {}
        for factor in draw.factors:
            for variable, field in factor.origin.fields if isinstance(factor.origin, FromData) else ():
                shape = plan.variable(variable).shape
                values[variable] = (
                    torch.rand((draw.batch_size, *shape), generator=generator)
                    if field == "image"
                    else one_hot(
                        torch.randint(shape[0], (draw.batch_size,), generator=generator), shape[0], torch.float32
                    )
                )
        found[draw.name] = values
    return found
