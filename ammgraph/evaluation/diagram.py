"""Graphical models as SVG: a distribution comes in, circles and arrows go out; what comes from the data is shaded.

Variables stand in layers, each below all that it depends on; where the data are given the picture is turned over, so
that inference rises from the image and synthesis comes down to it. No ids, no scripts: several fit into one page.
"""

import html
import math
from dataclasses import dataclass

import networkx as nx

from ammgraph.graph.plan import DrawPlan, FactorPlan, FromData, FromNetwork, Plan

RADIUS = 20.0
ACROSS, DOWN = 118.0, 84.0  # between circles, at least
LETTER = 6.6  # width of a letter beside a circle, about
MARGIN = 30.0
BEND = 46.0


@dataclass(frozen=True)
class Node:
    """A variable at its place."""

    name: str
    x: float
    y: float
    layer: int
    observed: bool
    source: str  # what draws it


def same_model(first: DrawPlan, second: DrawPlan) -> bool:
    """Whether two distributions are one factorization, drawn twice."""
    return [(f.text, f.value) for f in first.factors] == [(f.text, f.value) for f in second.factors]


def diagram_svg(plan: Plan, draw: DrawPlan) -> str:
    """The graphical model of a distribution."""
    nodes = _placed(plan, draw)
    by_name = {node.name: node for node in nodes}
    rights = [node.x + RADIUS + 8 + LETTER * len(node.source) for node in nodes]
    width, height = max(rights) + 8, max(node.y for node in nodes) + RADIUS + MARGIN / 2
    arrows = [
        _arrow(by_name[given], by_name[variable], nodes)
        for factor in draw.factors
        for variable in factor.variables
        for given in factor.given
        if given in by_name
    ]
    label = html.escape(f"Graphical model: {' '.join(factor.text for factor in draw.factors)}", quote=True)
    return (
        f'<svg class="diagram" role="img" aria-label="{label}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'style="max-width:{width:.0f}px">' + "".join(arrows) + "".join(map(_circle, nodes)) + "</svg>"
    )


def _placed(plan: Plan, draw: DrawPlan) -> list[Node]:
    graph: nx.DiGraph = nx.DiGraph()
    factors: dict[str, FactorPlan] = {name: factor for factor in draw.factors for name in factor.variables}
    given = dict.fromkeys(name for factor in draw.factors for name in factor.given)
    names = [variable.name for variable in plan.variables if variable.name in factors or variable.name in given]
    graph.add_nodes_from(names)
    graph.add_edges_from((parent, name) for name, factor in factors.items() for parent in factor.given)
    layers = [sorted(layer, key=names.index) for layer in nx.topological_generations(graph)]
    upwards = any(isinstance(factor.origin, FromData) for factor in draw.factors)
    widest = max(map(len, layers))
    bent = BEND if len(layers) > 2 else 0.0
    longest = max(len(_source(factors.get(name))) for name in names)
    across = max(ACROSS, 2 * RADIUS + 20 + LETTER * longest) if widest > 1 else ACROSS
    nodes = []
    for index, layer in enumerate(layers):
        height = len(layers) - 1 - index if upwards else index
        for place, name in enumerate(layer):
            x = MARGIN + bent + RADIUS + across * (place + (widest - len(layer)) / 2)
            factor = factors.get(name)
            observed = factor is None or isinstance(factor.origin, FromData)
            nodes.append(Node(name, x, MARGIN + DOWN * height, height, observed, _source(factor)))
    return nodes


def _source(factor: FactorPlan | None) -> str:
    if factor is None:
        return "given"
    return factor.origin.evaluation.network if isinstance(factor.origin, FromNetwork) else factor.value


def _arrow(start: Node, end: Node, nodes: list[Node]) -> str:
    """A line to the next layer, or a bow on the left around a circle that would be in the way."""
    low, high = sorted((start.layer, end.layer))
    blocked = any(low < node.layer < high and abs(node.x - start.x) < 2 * RADIUS for node in nodes)
    if not blocked:
        return _line(start, end)
    middle = ((start.x + end.x) / 2 - 2 * BEND, (start.y + end.y) / 2)
    first, last = _rim(start, *middle, RADIUS), _rim(end, *middle, RADIUS + 3)
    curve = f"M{first[0]:.1f} {first[1]:.1f}Q{middle[0]:.1f} {middle[1]:.1f} {last[0]:.1f} {last[1]:.1f}"
    return f'<path class="edge" d="{curve}"/>' + _head(last, math.atan2(last[1] - middle[1], last[0] - middle[0]))


def _line(start: Node, end: Node) -> str:
    first, last = _rim(start, end.x, end.y, RADIUS), _rim(end, start.x, start.y, RADIUS + 3)
    path = f"M{first[0]:.1f} {first[1]:.1f}L{last[0]:.1f} {last[1]:.1f}"
    return f'<path class="edge" d="{path}"/>' + _head(last, math.atan2(end.y - start.y, end.x - start.x))


def _rim(node: Node, x: float, y: float, radius: float) -> tuple[float, float]:
    """The point of a circle around the node that looks towards (x, y)."""
    angle = math.atan2(y - node.y, x - node.x)
    return node.x + radius * math.cos(angle), node.y + radius * math.sin(angle)


def _head(tip: tuple[float, float], angle: float) -> str:
    corners = [tip] + [
        (tip[0] - 9 * math.cos(angle + turn), tip[1] - 9 * math.sin(angle + turn)) for turn in (-0.4, 0.4)
    ]
    return f'<polygon class="head" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in corners)}"/>'


def _circle(node: Node) -> str:
    kind = "node observed" if node.observed else "node"
    name, source = html.escape(node.name), html.escape(node.source)
    size = 17 if len(node.name) <= 2 else max(8, 34 // len(node.name))
    return (
        f'<circle class="{kind}" cx="{node.x:.1f}" cy="{node.y:.1f}" r="{RADIUS:.0f}"/>'
        f'<text class="name" x="{node.x:.1f}" y="{node.y + size / 3.2:.1f}" font-size="{size}">{name}</text>'
        f'<text class="source" x="{node.x + RADIUS + 7:.1f}" y="{node.y + 4:.1f}">{source}</text>'
    )
