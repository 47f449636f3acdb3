"""Graphical models and the flow of a step as SVG: `diagram`'s data come in, pictures without ids or scripts go out.

Variables stand in layers, each below all that it depends on; where the data are given the picture is turned over, so
that inference rises from the image and synthesis comes down to it. An edge that passes a layer has a place of its own
in it, and all edges leave and enter upright: none runs through a variable or its label.
"""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ammgraph.plan.draws import DrawPlan
from ammgraph.plan.plan import Plan
from ammgraph.show.canvas import INK, PAPER, SHADE, Picture, below, beside, frame, label, svg, text_width, wrapped
from ammgraph.show.diagram import Box, Flow, Model, Node, flows, model_of, pairs

RADIUS, DOWN, GAP = 20.0, 86.0, 26.0
NAME, SOURCE, TITLE = 17.0, 12.0, 14.0
BYPASS = 7.0  # half the place of an edge in a layer that it passes
PORT = 11.0  # between two edges on one circle, at most
LONGEST = 30  # characters of a name or a label; a longer one is cut in the middle


@dataclass(frozen=True)
class Place:
    """A variable, or an edge that passes a layer (then `node` is None), around (0, 0): how far it extends."""

    key: str
    node: Node | None
    left: float
    right: float


def figure_svg(plan: Plan, models: bool = True, steps: bool = True) -> str:
    """A document: the distributions of each game side by side, and the flow of each turn of a step."""
    parts = []
    if models:
        parts += [_pair(pair) for pair in pairs(plan)]
    if steps:
        parts += [_flow(flow) for flow in flows(plan)]
    title = [label(plan.title, 18, "name", INK, bold=True)] if plan.title else []
    legend = ["Shaded: from the data. Beside each variable: the network or the prior that draws it."] if models else []
    logits = "; d: the discriminator's logit; sp: softplus" if plan.games else ""
    legend += [f"E_q: mean over the examples of q{logits}."] if steps else []
    page = below([*title, *parts, below([label(line, SOURCE) for line in legend], 2)], 26)
    page = page.at(20, 20)
    page = Picture(page.width + 20, page.height + 20, page.elements)
    sides = ", ".join(" ".join(factor.text for factor in draw.written) for draw in plan.draws)
    return svg(page, f"{plan.title or 'Model'}: {sides}", alone=True)


def model_svg(plan: Plan, draw: DrawPlan) -> str:
    """The graphical model of one distribution, for a page."""
    model = model_of(plan, draw)
    return svg(_plate(model), f"Graphical model: {' '.join(model.factors)}")


def flow_svg(flow: Flow) -> str:
    """One turn of a step, for a page."""
    return svg(_flow(flow), flow.title)


def _pair(pair: Sequence[Model]) -> Picture:
    panels = []
    for model in pair:
        role = [label(model.role, SOURCE)] if model.role else []
        head = beside([label(_cut(model.name), TITLE, "name", INK, bold=True), *role], 10, "bottom")
        plate = _plate(model)
        panels.append(below([head, plate, wrapped(model.factors, SOURCE, max(plate.width, 190))], 8))
    return beside(panels, 36)


# ------------------------------------------------------------------------------------------------ graphical models


def _plate(model: Model) -> Picture:
    graph = _graph(model)
    count = label(f"N = {model.batch}", SOURCE)
    width = max(graph.width, count.width)
    corner = Picture(width, count.height, count.at(width - count.width, 0).elements)
    return frame(below([graph, corner], 6), 14)


def _graph(model: Model) -> Picture:
    layers, edges = _layers(model)
    layers = _without_crossings(layers, edges)
    middle = _positions(layers)
    upwards = any(node.observed and node.source != "given" for node in model.nodes)
    rows = {
        place.key: (len(layers) - 1 - index if upwards else index)
        for index, layer in enumerate(layers)
        for place in layer
    }
    places = {place.key: place for layer in layers for place in layer}
    left = min(middle[key] - place.left for key, place in places.items())
    right = max(middle[key] + place.right for key, place in places.items())
    spots = {key: (middle[key] - left, RADIUS + 2 + DOWN * rows[key]) for key in places}
    turn = -1 if upwards else 1
    elements = _edges(places, edges, spots, turn)
    elements += [_node(place.node, *spots[key]) for key, place in places.items() if place.node is not None]
    return Picture(right - left + 2, DOWN * (len(layers) - 1) + 2 * RADIUS + 4, tuple(elements))


def _layers(model: Model) -> tuple[list[list[Place]], list[tuple[str, str]]]:
    """Variables by the longest way from a root, and edges from layer to layer, by way of places in those they pass."""
    import networkx as nx  # 0.2 seconds

    graph: nx.DiGraph = nx.DiGraph()
    names = [node.variable for node in model.nodes]
    graph.add_nodes_from(names)
    graph.add_edges_from(model.edges)
    depth = {name: index for index, layer in enumerate(nx.topological_generations(graph)) for name in layer}
    layers: list[list[Place]] = [[] for _ in range(1 + max(depth.values()))]
    edges = []
    for start, end in model.edges:
        last = start
        for passed in range(depth[start] + 1, depth[end]):
            key = f"{start} {end} {passed}"  # names hold no spaces
            layers[passed].append(Place(key, None, BYPASS, BYPASS))
            edges.append((last, key))
            last = key
        edges.append((last, end))
    for node in model.nodes:
        half = _half_width(node)
        source = text_width(_cut(node.source), SOURCE) + 6
        layers[depth[node.variable]].append(Place(node.variable, node, half, half + source))
    return layers, edges


def _without_crossings(layers: list[list[Place]], edges: Sequence[tuple[str, str]]) -> list[list[Place]]:
    """Each layer ordered by the mean place of its neighbours, down and up in turns; nothing exact is needed."""
    for sweep in range(6):
        order = range(1, len(layers)) if sweep % 2 == 0 else range(len(layers) - 2, -1, -1)
        for index in order:
            fixed = layers[index - 1 if sweep % 2 == 0 else index + 1]
            rank = {place.key: spot - (len(fixed) - 1) / 2 for spot, place in enumerate(fixed)}

            def mean(place: Place, rank: dict[str, float] = rank) -> float:
                near = [
                    rank[a if b == place.key else b] for a, b in edges if place.key in (a, b) and {a, b} & set(rank)
                ]
                return sum(near) / len(near) if near else 0.0

            layers[index] = sorted(layers[index], key=mean)
    return layers


def _positions(layers: Sequence[Sequence[Place]]) -> dict[str, float]:
    """Where each place stands in its layer: variables around one axis, nothing nearer to another than `GAP`."""
    middle: dict[str, float] = {}
    for layer in layers:
        x, row = 0.0, {}
        for index, place in enumerate(layer):
            x += place.left if index else 0.0
            row[place.key] = x
            x += place.right + GAP
        own = [row[place.key] for place in layer if place.node is not None] or list(row.values())
        middle |= {key: x - (own[0] + own[-1]) / 2 for key, x in row.items()}
    return middle


def _edges(
    places: dict[str, Place], edges: Sequence[tuple[str, str]], spots: dict[str, tuple[float, float]], turn: int
) -> list[str]:
    """Curves that leave and enter upright; those at one side of a variable stand beside each other."""
    elements = []
    for start, end in edges:
        first = _port(places[start], sorted({b for a, b in edges if a == start}, key=lambda key: spots[key][0]), end)
        last = _port(places[end], sorted({a for a, b in edges if b == end}, key=lambda key: spots[key][0]), start)
        x1, y1 = spots[start][0] + first[0], spots[start][1] + turn * first[1]
        x2, y2 = spots[end][0] + last[0], spots[end][1] - turn * last[1]
        tip = y2 - turn * 9 if places[end].node is not None else y2
        bend = (tip - y1) / 2
        path = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {tip - bend:.1f} {x2:.1f} {tip:.1f}"
        if places[end].node is None:
            path += f"V{spots[end][1] + turn * RADIUS:.1f}"
        elements.append(f'<path class="edge" d="{path}" fill="none" stroke="{INK}" stroke-width="1.4"/>')
        if places[end].node is not None:
            corners = f"{x2:.1f},{y2:.1f} {x2 - 4:.1f},{tip:.1f} {x2 + 4:.1f},{tip:.1f}"
            elements.append(f'<polygon class="head" points="{corners}" fill="{INK}"/>')
    return elements


def _port(place: Place, neighbours: Sequence[str], neighbour: str) -> tuple[float, float]:
    """Where an edge touches a variable, from its middle: across, and away from it."""
    if place.node is None:
        return 0.0, RADIUS
    across = min(PORT, 1.5 * RADIUS / len(neighbours)) * (neighbours.index(neighbour) - (len(neighbours) - 1) / 2)
    beyond = max(0.0, abs(across) - (_half_width(place.node) - RADIUS))
    return across, math.sqrt(RADIUS**2 - beyond**2) + 1.5


def _half_width(node: Node) -> float:
    """Half a circle's width, or that of a long name's box with round ends."""
    name = text_width(_cut(node.variable), NAME)
    return RADIUS if name <= 1.6 * RADIUS else name / 2 + 12


def _node(node: Node, x: float, y: float) -> str:
    half, kind = _half_width(node), "node observed" if node.observed else "node"
    name, source = html.escape(_cut(node.variable)), label(_cut(node.source), SOURCE)
    return (
        f'<rect class="{kind}" x="{x - half:.1f}" y="{y - RADIUS:.1f}" width="{2 * half:.1f}" height="{2 * RADIUS:g}" '
        f'rx="{RADIUS:g}" fill="{SHADE if node.observed else PAPER}" stroke="{INK}" stroke-width="1.4"/>'
        f'<text class="name" x="{x:.1f}" y="{y + NAME / 3.2:.1f}" font-family="Georgia, Times New Roman, serif" '
        f'font-style="italic" font-size="{NAME:g}" text-anchor="middle" fill="{INK}">{name}</text>'
        + "".join(source.at(x + half + 6, y - 0.75 * SOURCE).elements)
    )


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}...{text[-LONGEST // 2 + 3 :]}"


# ------------------------------------------------------------------------------------------------ the flow of a step


Spot: TypeAlias = tuple[float, float, float, float]  # a box: left, right, middle, height
STAGES = (("draw",), ("ask", "pass"), ("loss",), ("update",))


def _flow(flow: Flow) -> Picture:
    columns = [[index for index, box in enumerate(flow.boxes) if box.stage in stages] for stages in STAGES]
    passes = "passes" if any(box.stage == "ask" for box in flow.boxes) else "passes of the discriminator"
    heads = [label(text, SOURCE, bold=True) for text in ("draws", passes, "losses", "updates")]
    texts = [_box_text(box) for box in flow.boxes]
    widths = [max(head.width, *(texts[i].width for i in column)) for head, column in zip(heads, columns, strict=True)]
    boxes = [
        frame(Picture(widths[index], texts[i].height, texts[i].elements), 9, "box", PAPER, 6)
        for i, index in ((i, next(n for n, column in enumerate(columns) if i in column)) for i in range(len(texts)))
    ]
    heights = [sum(boxes[i].height + 16 for i in column) - 16 for column in columns]
    tallest, top = max(heights), heads[0].height + 8
    elements: list[str] = []
    spots: dict[int, Spot] = {}
    x = 0.0
    for head, column, width, height in zip(heads, columns, widths, heights, strict=True):
        elements += head.at(x, 0).elements
        y = top + (tallest - height) / 2
        for index in column:
            elements += boxes[index].at(x, y).elements
            spots[index] = (x, x + boxes[index].width, y + boxes[index].height / 2, boxes[index].height)
            y += boxes[index].height + 16
        x += width + 18 + 56
    elements += [_wire(spots[start], spots[end], flow, start, end) for start, end in flow.edges]
    body = Picture(x - 56, top + tallest, tuple(elements))
    return below([label(flow.title, TITLE, "name", INK, bold=True), body], 12)


def _box_text(box: Box) -> Picture:
    lines = [label(_cut_line(box.title), SOURCE, "name", INK, bold=True)]
    return below(lines + [label(_cut_line(line), SOURCE) for line in box.lines], 1)


def _wire(start: Spot, end: Spot, flow: Flow, a: int, b: int) -> str:
    """From the right of a box to the left of one in the next column; the ends at one box stand below each other."""
    x1, y1 = start[1], _end(start, [other for first, other in flow.edges if first == a], b)
    x2, y2 = end[0] - 8, _end(end, [first for first, other in flow.edges if other == b], a)
    curve = f"M{x1:.1f} {y1:.1f}C{x1 + 28:.1f} {y1:.1f} {x2 - 28:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    corners = f"{x2 + 8:.1f},{y2:.1f} {x2:.1f},{y2 - 3.5:.1f} {x2:.1f},{y2 + 3.5:.1f}"
    return (
        f'<path class="edge" d="{curve}" fill="none" stroke="{INK}" stroke-width="1.2"/>'
        f'<polygon class="head" points="{corners}" fill="{INK}"/>'
    )


def _end(spot: Spot, others: Sequence[int], other: int) -> float:
    apart = min(8.0, (spot[3] - 12) / len(others))
    return spot[2] + apart * (others.index(other) - (len(others) - 1) / 2)


def _cut_line(text: str) -> str:
    return text if len(text) <= 3 * LONGEST else f"{text[: 3 * LONGEST - 3]}..."
