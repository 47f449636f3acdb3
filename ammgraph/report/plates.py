"""A figure with the words under it, and what all figures share: colours, letters, legends.

No pyplot, hence no global state and nothing to close. Figures are drawn about four inches wide, so that a phone shows
them nearly at the size they were made for. The palettes are safe for the colour-blind. A figure has no background, and
its ink is light where the page is dark.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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
    "svg.fonttype": "path",
    "svg.hashsalt": "ammgraph",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
PIXELS = 82  # of a screen, at least, for an inch of a figure: its smallest letters, of 8 points, are 9 pixels high
SMALLEST = 8  # points
CREATOR = "ammgraph report"
# What matplotlib writes of black and grey, and what stands there on a dark page. Texts on a colour keep theirs.
DARK = """<style>@media (prefers-color-scheme:dark){svg{fill:#e4e8ec}
[style*="stroke: #000000"]{stroke:#e4e8ec!important}[style*="fill: #000000"]{fill:#e4e8ec!important}
[style*="stroke: #dddddd"]{stroke:#2e363e!important}[style*="stroke: #666666"]{stroke:#9aa5b0!important}}</style>"""


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

    def encoded(self) -> bytes:
        """The figure as SVG, the same bytes for the same data; light on a dark page."""
        return self._svg(None).replace(b"<defs>", DARK.encode() + b"<defs>", 1)

    def alone(self) -> bytes:
        """The figure as an SVG file of its own, which `is_figure` knows again: black whatever stands around it."""
        return self._svg(CREATOR)

    def _svg(self, creator: str | None) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(style()):
            self.figure.savefig(buffer, format="svg", dpi=200, metadata={"Date": None, "Creator": creator})
        return buffer.getvalue()


def style() -> Any:
    """Of every figure, as matplotlib's `rc`."""
    return {**STYLE, "font.family": fonts()}


def blank(across: float, height: float) -> Figure:
    """A figure of so many inches."""
    return Figure(figsize=(across, height), layout="constrained")


def of_more(shown: Array, size: int) -> str:
    """What is said where not all are shown."""
    return f" Of {size:,} the {len(shown):,} with the most images." if len(shown) < size else ""


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
