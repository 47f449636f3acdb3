"""Pictures of a plan: what they show, and that nothing in them runs over anything else, however long the names."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from random_factorizations import factorizations
from tiny import INFORMED, LABELED, TERMS, TINY, plan_of

from ammgraph.plan.plan import Plan
from ammgraph.show.canvas import text_width
from ammgraph.show.diagram import flows, model_of, pairs
from ammgraph.show.drawing import figure_svg, flow_svg, model_svg
from ammgraph.spec.shipped import shipped_specs
from ammgraph.start.sketch import new_spec
from ammgraph.start.typed import Typed

LONG = Typed(
    "q(photograph) q(kind_of_object|photograph) q(continuous_style|photograph,kind_of_object)"
    " q(w|photograph,continuous_style) q(c|photograph,w)",
    "p(kind_of_object) p(continuous_style|kind_of_object) p(w) p(c|w,continuous_style,kind_of_object)"
    " p(photograph|kind_of_object,continuous_style,w,c)",
    image=(("photograph", (1, 28, 28)),),
    categorical=(("kind_of_object", 10),),
)


@cache
def width_of(text: str, weight: str) -> float:
    """Of a text of size 1 in matplotlib's font: no part of a glyph is further right than its control points."""
    path = TextPath((0, 0), text.replace("$", ""), size=100, prop=FontProperties(family="DejaVu Sans", weight=weight))
    return float(path.vertices[:, 0].max(initial=0)) / 100


class Area(NamedTuple):
    """A rectangle of the picture, and what stands in it."""

    what: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Area") -> bool:
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)

    def holds(self, other: "Area") -> bool:
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


def areas_of(svg: str) -> tuple[list[Area], list[Area], list[list[tuple[float, float]]]]:
    """Texts, boxes and edges of a picture, in its own coordinates; a text as wide as matplotlib's font makes it."""
    texts: list[Area] = []
    boxes: list[Area] = []
    edges: list[list[tuple[float, float]]] = []

    def visit(element: ElementTree.Element, x: float, y: float) -> None:
        if move := element.get("transform"):
            dx, dy = map(float, re.findall(r"-?[\d.]+", move))
            x, y = x + dx, y + dy
        kind = element.tag.rpartition("}")[2]
        if kind == "text":
            size, text = float(element.get("font-size", "0")), element.text or ""
            weight = element.get("font-weight", "normal")
            width = width_of(text, weight) * size
            left = x + float(element.get("x", "0")) - (width / 2 if element.get("text-anchor") == "middle" else 0)
            base = y + float(element.get("y", "0"))
            texts.append(Area(text, left, base - 0.72 * size, left + width, base + 0.2 * size))
        elif kind == "rect" and element.get("class"):
            left, top, width, height = (float(element.get(name, "0")) for name in ("x", "y", "width", "height"))
            boxes.append(Area(element.get("class", ""), x + left, y + top, x + left + width, y + top + height))
        elif kind == "path":
            edges.append([(x + a, y + b) for a, b in points_of(element.get("d", ""))])
        for child in element:
            visit(child, x, y)

    visit(ElementTree.fromstring(svg), 0, 0)
    return texts, boxes, edges


def points_of(path: str) -> list[tuple[float, float]]:
    """Points on `M x y C ... V y`, close to each other."""
    x, y, x1, y1, x2, y2, x3, y3, *down = map(float, re.findall(r"-?[\d.]+", path))
    points = []
    for step in range(41):
        t = step / 40
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
        points.append(
            (
                sum(w * value for w, value in zip(weights, (x, x1, x2, x3), strict=True)),
                sum(w * value for w, value in zip(weights, (y, y1, y2, y3), strict=True)),
            )
        )
    return points + [(x3, y3 + (down[0] - y3) * step / 10) for step in range(1, 11)] if down else points


def problems_of(svg: str) -> list[str]:
    texts, boxes, edges = areas_of(svg)
    solid = [box for box in boxes if box.what != "plate"]
    problems = []
    for index, text in enumerate(texts):
        problems += [f"{text.what} over {other.what}" for other in texts[:index] if text.overlaps(other)]
        problems += [f"{text.what} out of {box}" for box in boxes if text.overlaps(box) and not box.holds(text)]
    for index, box in enumerate(boxes):
        others = [other for other in boxes[:index] if box.overlaps(other)]
        problems += [f"{box} over {other}" for other in others if not (other.holds(box) or box.holds(other))]
    # Nodes are round at their ends: a rim counts from its upright part on.
    inner = [inside(box, 7 if box.what.startswith("node") else 1) for box in solid]
    for edge in edges:
        points = [inside(Area("edge", x, y, x, y), -0.5) for x, y in edge]
        whole = inside(Area("edge", *map(min, zip(*edge, strict=True)), *map(max, zip(*edge, strict=True))), -0.5)
        near = [area for area in (*texts, *inner) if area.overlaps(whole)]
        problems += [f"an edge over {area.what}" for area in near if any(point.overlaps(area) for point in points)]
    return problems


def inside(area: Area, margin: float) -> Area:
    return Area(area.what, area.left + margin, area.top + margin, area.right - margin, area.bottom - margin)


# ------------------------------------------------------------------------------------------------ what is shown


def test_a_model_shades_data_and_draws_an_arrow_for_each_condition() -> None:
    plan = plan_of(TINY)
    for name, observed in (("q", 1), ("p", 0)):
        svg = model_svg(plan, plan.draw(name))
        root = ElementTree.fromstring(svg)
        kinds = [element.get("class", "") for element in root.iter() if element.tag == "rect"]
        assert kinds.count("node") + kinds.count("node observed") == 3
        assert kinds.count("node observed") == observed
        assert svg.count("<polygon") == sum(len(factor.given) for factor in plan.draw(name).factors)


def test_inference_rises_from_the_image_and_synthesis_comes_down_to_it() -> None:
    plan = plan_of(TINY)
    for name, at_the_bottom in (("q", "x"), ("p", "x")):
        texts, _, _ = areas_of(model_svg(plan, plan.draw(name)))
        lowest = max((text for text in texts if len(text.what) == 1), key=lambda text: text.bottom)
        assert lowest.what == at_the_bottom


def test_every_game_has_its_pair_real_first() -> None:
    labeled = pairs(plan_of(LABELED))
    assert [[(model.name, model.role) for model in pair] for pair in labeled] == [
        [("q_unlabeled", "real in unlabeled"), ("p_unlabeled", "fake in unlabeled")],
        [("q_labeled", "real in labeled"), ("p_labeled", "fake in labeled")],
    ]
    observed = {model.name: [node.variable for node in model.nodes if node.observed] for p in labeled for model in p}
    assert observed == {"q_unlabeled": ["x"], "p_unlabeled": [], "q_labeled": ["x", "y"], "p_labeled": []}


def test_a_node_says_what_draws_it() -> None:
    plan = plan_of(TINY)
    nodes = model_of(plan, plan.draw("p")).nodes
    assert [(node.variable, node.source) for node in nodes] == [
        ("x", "decoder"), ("y", "uniform"), ("z", "components")
    ]  # fmt: skip


def test_the_flow_leads_from_draws_over_passes_and_losses_to_updates() -> None:
    (flow,) = flows(plan_of(TINY))
    stages = {
        stage: [index for index, box in enumerate(flow.boxes) if box.stage == stage]
        for stage in ("draw", "pass", "loss", "update")
    }
    assert [flow.boxes[index].title for index in stages["draw"]] == ["q, 40 examples", "p, 40 examples"]
    assert [flow.boxes[index].title for index in stages["pass"]] == ["critic.p", "critic.p"]
    assert [flow.boxes[index].title for index in stages["loss"]] == ["discriminator loss", "generator loss"]
    assert [flow.boxes[index].lines for index in stages["update"]] == [
        ("critic",), ("encoder", "components", "decoder")
    ]  # fmt: skip
    q, p, critic, penalty, against, sides, first, second = range(8)
    assert set(flow.edges) == {
        (q, critic), (p, critic), (q, penalty), (p, penalty),
        (critic, against), (penalty, against), (critic, sides), (against, first), (sides, second),
    }  # fmt: skip


def test_alternating_turns_have_a_flow_each() -> None:
    schedule = "training.schedule=[{update: [critic], steps: 2}, {update: [encoder, components, decoder], draw: same}]"
    plan = plan_of(TINY, schedule)
    assert [flow.title for flow in flows(plan)] == ["Turn 1 of 2, 2 times: draws anew", "Turn 2 of 2: draws as before"]
    assert [flow.boxes[-1].lines for flow in flows(plan)] == [("critic",), ("encoder", "components", "decoder")]


# ------------------------------------------------------------------------------------------------ nothing overlaps


def test_what_overlaps_is_seen() -> None:
    text = '<text font-size="10" x="{}" y="{}">words</text>'
    node = '<rect class="node" x="0" y="0" width="40" height="40"/>'
    edge = '<path d="M20 -20C20 0 20 40 20 60"/>'
    assert problems_of(f"<svg>{text.format(0, 10)}{text.format(20, 12)}</svg>") == ["words over words"]
    assert [problem[:12] for problem in problems_of(f"<svg>{node}{text.format(30, 12)}</svg>")] == ["words out of"]
    assert problems_of(f"<svg>{node}{edge}</svg>") == ["an edge over node"]
    assert problems_of(f"<svg>{edge}{text.format(5, 12)}</svg>") == ["an edge over words"]
    assert problems_of(f'<svg>{node}<g transform="translate(50 0)">{text.format(0, 12)}{edge}</g></svg>') == [
        "an edge over words"
    ]


def test_no_text_is_wider_than_measured() -> None:
    """In DejaVu Sans, wider than the fonts asked for."""
    for bold in (False, True):
        for text in ("q(photograph|kind_of_object)", "WWWW iiii", "adam, rate 0.0002", "0.5 (E_q sp(-d))"):
            width = 12 * width_of(text, "bold" if bold else "normal")
            assert width <= text_width(text, 12, bold) <= 1.35 * width
    assert text_width("図", 10) > 10


@pytest.mark.parametrize("name", sorted(shipped_specs()))
def test_pictures_of_shipped_specs_are_clean(name: str) -> None:
    plan = plan_of(shipped_specs()[name])
    assert problems_of(figure_svg(plan)) == []


def test_long_names_and_long_ways_around_are_clean() -> None:
    plan = new_spec(LONG, "mine.yaml", "ammgraph new")[1]
    assert problems_of(figure_svg(plan)) == []


@settings(max_examples=25, deadline=None)
@given(factorizations())
def test_pictures_of_any_model_are_clean(typed: Typed) -> None:
    plan = new_spec(typed, "mine.yaml", "ammgraph new")[1]
    assert problems_of(figure_svg(plan)) == []


# ------------------------------------------------------------------------------------------------ well-formed


@pytest.mark.parametrize("title", ["a <b> & \"c\" 'd'", "図 ☃", "x" * 300])
def test_any_title_is_text(title: str) -> None:
    plan = plan_titled(title)
    root = ElementTree.fromstring(figure_svg(plan))
    assert title in [element.text for element in root.iter()]


def test_a_picture_asks_for_nothing_and_is_the_same_each_time() -> None:
    plan = plan_of(TINY)
    svg = figure_svg(plan)
    assert not re.search(r"<script|<style|<image|href|url\(|\bid=", svg)
    assert svg == figure_svg(plan)
    assert flow_svg(flows(plan)[0]).startswith("<svg class=")


def plan_titled(title: str) -> Plan:
    return replace(plan_of(TINY), title=title)


def test_the_pictures_of_the_repository_are_those_of_its_specs() -> None:
    """`ammgraph show specs/NAME.yaml --format svg > NAME.svg`."""
    pictures = sorted((Path(__file__).parent.parent.parent / "specs" / "results").glob("*.svg"))
    assert pictures
    for picture in pictures:
        assert picture.read_text(encoding="utf-8") == figure_svg(plan_of(shipped_specs()[picture.stem]))


def test_a_flow_leads_from_draws_through_what_terms_ask_for_to_terms() -> None:
    (flow,) = flows(plan_of(TERMS))
    titles = [box.title for box in flow.boxes]
    assert titles == [
        *("q, 40 examples", "p, 40 examples", "decoder", "classifier", "classifier", "as drawn in q"),
        *("terms reconstruction, prior", "term classes", "adam, rate 0.001", "adam, rate 0.001"),
    ]
    assert flow.edges == ((0, 2), (1, 3), (0, 4), (0, 5), (2, 6), (5, 6), (3, 7), (4, 7), (6, 8), (7, 9))
    assert flow.boxes[3].lines == ("h y.raw", "at p, 40 examples")
    assert flow.boxes[6].lines[0] == "-E_q log p(x|y,z)"
    _, generator = flows(plan_of(INFORMED))
    loss = next(box for box in generator.boxes if box.stage == "loss")
    assert loss.title == "generator loss and terms information_c, information_s, features"
    assert loss.lines[1:3] == ("- E_p log r(c|x)", "+ 0.5 (-E_p log r(s|x))")
    assert "discriminator" not in flow_svg(flow)
