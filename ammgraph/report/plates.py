"""A figure with the words under it, and what all figures share: colours, letters, legends.

No pyplot, hence no global state and nothing to close. Figures are drawn about four inches wide, so that a phone shows
them nearly at the size they were made for. The palettes are safe for the colour-blind. A figure has no background, and
its ink is light where the page is dark.
"""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ammgraph.evaluation.metrics import Array
from ammgraph.report.labels import fonts

S = TypeVar("S")

WIDTH = 4.2  # inches
LETTER, LINE, HANDLE = 0.075, 0.17, 0.4  # inches that a letter, a line, and what stands before a label in a legend take
COLUMN_SPACING = 0.9
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito
STYLE: Any = {
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",  # a text is a text, which can be found and copied
    "svg.hashsalt": "ammgraph",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
PIXELS = 82  # of a screen, at least, for an inch of a figure: its smallest letters, of 8 points, are 9 pixels high
SMALLEST = 8  # points
CREATOR = "ammgraph report"
NAMES = {"{http://www.w3.org/1999/xlink}href": "href"}  # of attributes, as HTML knows them
REFERENCE = re.compile(r"url\(#([^)]+)\)")


@dataclass(frozen=True, eq=False)
class Plate:
    """A figure with what stands under it, and what is said in its place."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure
    wide: bool = False  # better over the whole width of a page than beside another

    @property
    def narrowest(self) -> int:
        """Pixels of a screen that it needs for its letters to be read."""
        return math.ceil(PIXELS * self.figure.get_figwidth())

    def inline(self, place: str) -> Markup:
        """The figure as a part of a page, the same for the same data: `place` begins its ids, fonts are the page's."""
        root = ElementTree.fromstring(self._svg(None))
        for parent in list(root.iter()):
            for style in parent.findall("{http://www.w3.org/2000/svg}style"):
                parent.remove(style)  # it would be one of the whole page
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
            element.attrib = {NAMES.get(key, key): _inlined(key, text, place) for key, text in element.items()}
        root.attrib |= {"role": "img", "aria-label": self.alt, "style": f"min-width:{self.narrowest}px"}
        return Markup(ElementTree.tostring(root, encoding="unicode"))

    def alone(self) -> bytes:
        """The figure as an SVG file of its own, which `is_figure` knows again: black whatever stands around it."""
        return self._svg(CREATOR)

    def _svg(self, creator: str | None) -> bytes:
        buffer, told = io.BytesIO(), {"Creator": creator} if creator else dict.fromkeys(("Creator", "Format", "Type"))
        with mpl.rc_context(style()):
            self.figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, **told})
        return buffer.getvalue()


def _inlined(name: str, text: str, place: str) -> str:
    """The text of an attribute as it stands in a page beside other figures."""
    if name == "id":
        return place + text
    if name.endswith("href"):
        return f"#{place}{text[1:]}" if text.startswith("#") else "".join(text.split())
    if name == "style":
        parts = (part for part in text.split("; ") if not part.startswith("font-family:"))
        return "; ".join(parts)
    return REFERENCE.sub(rf"url(#{place}\1)", text)


def style() -> Any:
    """Of every figure, as matplotlib's `rc`: in a file, texts name their fonts, then any without serifs."""
    return {**STYLE, "font.family": (*fonts(), "sans-serif"), "font.sans-serif": fonts()}


def blank(across: float, height: float) -> Figure:
    """A figure of so many inches."""
    return Figure(figsize=(across, height), layout="constrained")


def of_more(shown: Array, size: int) -> str:
    """What is said where not all are shown."""
    return f" Of {size:,} the {len(shown):,} with the most images." if len(shown) < size else ""


def label_decades(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis on which everything is drawn: as many of 1, 2, 5, 10, ... as have room."""
    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    few = MaxNLocator(4) if decades < 0.7 else LogLocator(subs=(1, 2, 5) if decades < 2.2 else (1,), numticks=7)
    axis.set_major_locator(few)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def told_apart(index: int, colours: Sequence[str], shapes: Sequence[S], alike: int) -> tuple[str, S]:
    """Of the index-th of many: a colour, and a shape that changes every few of them, for who sees fewer colours."""
    place = index % len(colours)
    return colours[place], shapes[(index // len(colours) + place // alike) % len(shapes)]


def legend(figure: Figure, axes: Axes, ncols: int, **how: Any) -> None:
    """A legend that is read by rows: matplotlib fills columns."""
    entries = list(zip(*axes.get_legend_handles_labels(), strict=True))
    by_rows = [entry for column in range(ncols) for entry in entries[column::ncols]]
    handles, names = zip(*by_rows, strict=True)
    figure.legend(handles, names, ncols=ncols, columnspacing=COLUMN_SPACING, **how)


def legend_columns(letters: int, most: int) -> int:
    """How many entries of so many letters stand side by side within the width of a figure."""
    return max(1, min(most, int(WIDTH / (HANDLE + LETTER * letters))))
