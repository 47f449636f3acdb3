"""Pictures of boxes, lines and measured text as SVG: what is put beside or below something never overlaps it.

Every element carries its colours as attributes, which a page's CSS may override by the element's class.
"""

import html
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

# Widths of the characters from space to ~ in hundredths of an em, of DejaVu Sans, which is wider than `FONT`.
_WIDTHS = (
    *(32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 34, 34),
    *(84, 84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79, 60, 79, 69, 63, 61, 73, 68, 99),
    *(69, 61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35, 63, 63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52),
    *(39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84),
)
_BOLD = 1.2  # at most so much wider
FONT = "Helvetica, Arial, sans-serif"
INK, SOFT, LINE, SHADE, PAPER = "#1c2126", "#5a646e", "#9aa5b0", "#cfd8e3", "#ffffff"


@dataclass(frozen=True)
class Picture:
    """Elements of SVG and the space that they take, from (0, 0) on."""

    width: float
    height: float
    elements: tuple[str, ...] = ()

    def at(self, x: float, y: float) -> "Picture":
        """The picture moved to (x, y)."""
        if (x, y) == (0, 0) or not self.elements:
            return replace(self, width=self.width + x, height=self.height + y)
        moved = f'<g transform="translate({x:.1f} {y:.1f})">{"".join(self.elements)}</g>'
        return Picture(self.width + x, self.height + y, (moved,))


def text_width(text: str, size: float, bold: bool = False) -> float:
    """The width of a line of text, in the units of `size`, at most."""
    return sum(map(_character_width, text)) / 100 * size * (_BOLD if bold else 1)


def label(text: str, size: float, kind: str = "source", colour: str = SOFT, bold: bool = False) -> Picture:
    """A line of text."""
    weight = ' font-weight="bold"' if bold else ""
    element = (
        f'<text class="{kind}" x="0" y="{size:.1f}" font-family="{FONT}" font-size="{size:g}"{weight} '
        f'fill="{colour}">{html.escape(text)}</text>'
    )
    return Picture(text_width(text, size, bold), 1.3 * size, (element,))


def wrapped(words: Sequence[str], size: float, width: float) -> Picture:
    """Words in as many lines as the width asks for."""
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return below([label(line, size) for line in lines], 0)


def beside(pictures: Sequence[Picture], gap: float, align: Literal["top", "bottom"] = "top") -> Picture:
    """Pictures from left to right."""
    height = max(picture.height for picture in pictures)
    x = 0.0
    elements: list[str] = []
    for picture in pictures:
        y = height - picture.height if align == "bottom" else 0.0
        elements += picture.at(x, y).elements
        x += picture.width + gap
    return Picture(x - gap, height, tuple(elements))


def below(pictures: Sequence[Picture], gap: float) -> Picture:
    """Pictures from top to bottom."""
    y = 0.0
    elements: list[str] = []
    for picture in pictures:
        elements += picture.at(0, y).elements
        y += picture.height + gap
    return Picture(max((picture.width for picture in pictures), default=0), max(0.0, y - gap), tuple(elements))


def frame(picture: Picture, padding: float, kind: str = "plate", fill: str = "none", radius: float = 10) -> Picture:
    """A picture in a box with round corners."""
    width, height = picture.width + 2 * padding, picture.height + 2 * padding
    box = (
        f'<rect class="{kind}" x="0.5" y="0.5" width="{width - 1:.1f}" height="{height - 1:.1f}" rx="{radius:g}" '
        f'fill="{fill}" stroke="{LINE}"/>'
    )
    return Picture(width, height, (box, *picture.at(padding, padding).elements))


def svg(picture: Picture, description: str, alone: bool = False) -> str:
    """The `<svg>`: part of a page, or a document of its own on white paper."""
    width, height = f"{picture.width:.0f}", f"{picture.height:.0f}"
    name = html.escape(description, quote=True)
    view = f'viewBox="0 0 {width} {height}"'
    body = "".join(picture.elements)
    if not alone:
        return f'<svg class="diagram" role="img" aria-label="{name}" {view} style="max-width:{width}px">{body}</svg>'
    paper = f'<rect width="{width}" height="{height}" fill="{PAPER}"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" {view}>'
    return f"{head}<title>{name}</title>{paper}{body}</svg>\n"


def _character_width(character: str) -> float:
    code = ord(character)
    if 32 <= code < 127:
        return _WIDTHS[code - 32]
    return 110 if unicodedata.east_asian_width(character) in "WF" else 85
