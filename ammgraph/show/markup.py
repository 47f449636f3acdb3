"""Graphical models and the flow of a step in Mermaid and in Graphviz's DOT: `diagram`'s data come in, text goes out.

Nodes have numbers for names, so that no word of either language can clash with a variable's; texts are quoted.
"""

from collections.abc import Iterator, Sequence

from ammgraph.plan.plan import Plan
from ammgraph.show.canvas import SHADE
from ammgraph.show.diagram import Box, Model, flows, pairs


def mermaid(plan: Plan, models: bool = True, steps: bool = True) -> str:
    """A flowchart: a sub-graph for each distribution, with its plate's N, and one for each turn of a step."""
    lines = ["flowchart LR"]
    for group, model in enumerate(_models(plan) if models else ()):
        lines.append(f"  subgraph m{group} [{_mermaid_text([_heading(model)])}]")
        lines.append(f"    direction {'BT' if _rises(model) else 'TB'}")
        names = {node.variable: f"m{group}n{index}" for index, node in enumerate(model.nodes)}
        for node in model.nodes:
            kind = ":::observed" if node.observed else ""
            lines.append(f"    {names[node.variable]}(({_mermaid_text([node.variable, node.source])})){kind}")
        lines += [f"    {names[start]} --> {names[end]}" for start, end in model.edges]
        lines.append("  end")
    for group, flow in enumerate(flows(plan) if steps else ()):
        lines.append(f"  subgraph s{group} [{_mermaid_text([flow.title])}]")
        lines.append("    direction LR")
        lines += [f"    s{group}b{index}[{_mermaid_text(_lines(box))}]" for index, box in enumerate(flow.boxes)]
        lines += [f"    s{group}b{start} --> s{group}b{end}" for start, end in flow.edges]
        lines.append("  end")
    lines.append(f"  classDef observed fill:{SHADE}")
    return "\n".join(lines) + "\n"


def dot(plan: Plan, models: bool = True, steps: bool = True) -> str:
    """A directed graph: a cluster for each distribution, with its plate's N, and one for each turn of a step."""
    lines = ["digraph {", "  compound=true; newrank=true", "  node [fontname=Helvetica]; graph [fontname=Helvetica]"]
    lines += [f"  label={_dot_text([plan.title])}; labelloc=t"] if plan.title else []
    for group, model in enumerate(_models(plan) if models else ()):
        lines.append(f"  subgraph cluster_m{group} {{")
        lines.append(f"    label={_dot_text([_heading(model)])}; style=rounded")
        names = {node.variable: f"m{group}n{index}" for index, node in enumerate(model.nodes)}
        for node in model.nodes:
            shade = f', style=filled, fillcolor="{SHADE}"' if node.observed else ""
            lines.append(f"    {names[node.variable]} [label={_dot_text([node.variable, node.source])}{shade}]")
        # Graphviz puts the start of an edge above its end; `dir=back` turns the picture over, as inference is drawn.
        for start, end in model.edges:
            turned = (names[end], names[start], " [dir=back]") if _rises(model) else (names[start], names[end], "")
            lines.append(f"    {turned[0]} -> {turned[1]}{turned[2]}")
        lines.append("  }")
    for group, flow in enumerate(flows(plan) if steps else ()):
        lines.append(f"  subgraph cluster_s{group} {{")
        lines.append(f"    label={_dot_text([flow.title])}; style=rounded; node [shape=box, style=rounded]")
        lines += [f"    s{group}b{index} [label={_dot_text(_lines(box))}]" for index, box in enumerate(flow.boxes)]
        lines += [f"    s{group}b{start} -> s{group}b{end}" for start, end in flow.edges]
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def _models(plan: Plan) -> Iterator[Model]:
    return (model for pair in pairs(plan) for model in pair)


def _heading(model: Model) -> str:
    role = f" ({model.role})" if model.role else ""
    return f"{model.name}{role}: {' '.join(model.factors)}, N = {model.batch}"


def _rises(model: Model) -> bool:
    """Whether inference rises from the data, as in `drawing`."""
    return any(node.observed and node.source != "given" for node in model.nodes)


def _lines(box: Box) -> list[str]:
    return [box.title, *box.lines]


def _mermaid_text(lines: Sequence[str]) -> str:
    """A quoted text; what Mermaid or HTML would read is written as an entity."""
    escaped = (
        line.replace("#", "#35;").replace("&", "#amp;").replace("<", "#lt;").replace(">", "#gt;") for line in lines
    )
    return '"' + "<br/>".join(line.replace('"', "#quot;").replace("`", "#96;") for line in escaped) + '"'


def _dot_text(lines: Sequence[str]) -> str:
    """A quoted text, lines centred."""
    return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in lines) + '"'
