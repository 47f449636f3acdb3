"""`ammgraph show`: print or draw what the compiler made of a spec."""

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ammgraph.commands import kinds
from ammgraph.commands.arguments import OfSpec, option, positional, switch
from ammgraph.commands.compiled import compiled
from ammgraph.diagnostics import RunError, render

if TYPE_CHECKING:
    from ammgraph.plan.plan import Plan

EXAMPLE = "ammgraph show specs/amm_mnist.yaml --format svg > amm_mnist.svg"
SECTIONS = ("distributions", "networks", "games", "terms", "step", "latex", "cost")
DRAWN = ("distributions", "step")  # the sections that are pictures too


@dataclass(frozen=True)
class Options(OfSpec):
    """What is typed."""

    spec: str = positional(None, "SPEC", type=kinds.spec)
    section: tuple[str, ...] = option("only this; may be repeated", action="append", choices=SECTIONS)
    plan: bool = switch("the plan alone, as runs store and compare it")
    format: str = option(
        "json: the whole plan; svg, mermaid, dot: the models of q and p, and the flow of a step (default: text)",
        choices=("text", "json", "svg", "mermaid", "dot"),
        default="text",
    )


def run(options: Options) -> int:
    """0 where the spec is valid."""
    spec, plan = compiled(options.spec, options)
    print(_shown(plan, options), end="")
    for warning in plan.warnings:
        print(f"\n{render(warning, spec.source.texts)}", file=sys.stderr)
    return 0


def _shown(plan: "Plan", options: Options) -> str:
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
    texts = {name: _section(plan, name) for name in chosen}
    if options.section:
        return "\n\n".join(text or f"no {name}" for name, text in texts.items()) + "\n"
    return "\n\n".join([plan.title or options.spec, *filter(None, texts.values())]) + "\n"


def _section(plan: "Plan", name: str) -> str:
    from ammgraph.show.cost import cost_text, row_memory
    from ammgraph.show.latex import latex
    from ammgraph.show.text import (
        data_text,
        distributions_text,
        game_text,
        network_text,
        step_text,
        term_text,
        variables_text,
    )

    if name == "distributions":
        return "\n\n".join((data_text(plan), variables_text(plan), distributions_text(plan)))
    if name == "networks":
        memory = row_memory(plan)
        return "\n\n".join(network_text(network, memory[network.name]) for network in plan.networks)
    if name == "games":
        return "\n\n".join(game_text(plan, game) for game in plan.games)
    if name == "terms":
        return "\n\n".join(term_text(plan, term) for term in plan.terms)
    return {"step": step_text, "latex": latex, "cost": cost_text}[name](plan).rstrip()
