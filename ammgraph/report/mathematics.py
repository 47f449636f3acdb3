r"""LaTeX comes in, inline SVG goes out, without a network and without TeX: matplotlib's mathtext lays it out.

A formula is broken before its relations and its sums into pieces that wrap like words, so that it fits a phone. Glyphs
are outlines in `currentColor`: they follow the page, light or dark.
"""

import functools
import html
import re
from collections.abc import Iterator

from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath

SIZE = 16.0  # units of the outlines; one unit is a sixteenth of the text's size

# What mathtext does not know, in words that it knows.
TRANSLATIONS = (
    (r"\lVert", r"\Vert"),
    (r"\rVert", r"\Vert"),
    (r"\lvert", r"\vert"),
    (r"\rvert", r"\vert"),
    (r"\tfrac", r"\frac"),
)


def formula_html(latex: str) -> str:
    """One formula as a line that wraps: pieces of SVG, with the LaTeX itself for those who cannot see them.

    What mathtext cannot lay out stands there as LaTeX.
    """
    label = html.escape(latex, quote=True)
    try:
        pieces = [piece_svg(piece) for piece in pieces_of(latex)]
    except ValueError:
        return f'<code class="formula">{html.escape(latex)}</code>'
    return f'<span class="formula" role="img" aria-label="{label}">{" ".join(pieces)}</span>'


def pieces_of(latex: str) -> list[str]:
    r"""A formula cut before ` = `, before sums and after `\quad`, outside of braces and of brackets around few terms.

    A bracket around a whole sum is opened, so that its terms wrap as well: `\left(` becomes a plain `(` there.
    """
    cut = [piece for part in latex.split(r"\quad") for piece in _cut(part.strip(), (" = ", " + "))]
    return [opened for piece in cut for opened in _open(piece)]


@functools.lru_cache(maxsize=1024)
def piece_svg(latex: str) -> str:
    """One piece as an `<svg>` that stands on the line of the text around it.

    Raises:
        ValueError: mathtext cannot lay it out.
    """
    text = latex
    for word, known in TRANSLATIONS:
        text = text.replace(word, known)
    if text[:2] in ("= ", "+ "):
        text = text[0] + r"\;" + text[2:]  # at the start mathtext takes it for a sign and sets no space
    outline = TextPath((0, 0), f"${text}$", size=SIZE, prop=FontProperties(math_fontfamily="cm"))
    box = outline.get_extents()
    left, right = box.x0 - 0.5, box.x1 + 0.5
    bottom, top = box.y0 - 0.5, box.y1 + 0.5
    width, height = right - left, top - bottom
    style = f"width:{width / SIZE:.3f}em;height:{height / SIZE:.3f}em;vertical-align:{bottom / SIZE:.3f}em"
    view = f"{left:.2f} {-top:.2f} {width:.2f} {height:.2f}"
    return f'<svg aria-hidden="true" viewBox="{view}" style="{style}"><path d="{_path_data(outline)}"/></svg>'


def _cut(latex: str, marks: tuple[str, ...]) -> Iterator[str]:
    r"""Cut before each mark that no brace, no `\left` and no parenthesis encloses."""
    depth, start, place = 0, 0, 0
    while place < len(latex):
        rest = latex[place:]
        if opened := re.match(r"\\left\W|[{(]", rest):
            depth += 1
            place += len(opened.group())
        elif closed := re.match(r"\\right\W|[})]", rest):
            depth -= 1
            place += len(closed.group())
        elif depth == 0 and place > start and rest.startswith(marks):
            yield latex[start:place].strip()
            start, place = place, place + 3
        else:
            place += 1
    yield latex[start:].strip()


def _open(piece: str) -> list[str]:
    r"""`a \left(b + c\right)` as `a (b`, `+ c)`; any other piece as it is."""
    match = re.fullmatch(r"(.*?)\\left\((.*)\\right\)", piece)
    if match is None or _encloses_more(match.group(2)):
        return [piece]
    terms = list(_cut(match.group(2), (" + ",)))
    if len(terms) == 1:
        return [piece]
    return [f"{match.group(1).rstrip()} ({terms[0]}", *terms[1:-1], f"{terms[-1]})"]


def _encloses_more(inner: str) -> bool:
    r"""Whether the text between the first `\left(` and the last `\right)` is more than what one pair encloses."""
    depth = 0
    for found in re.finditer(r"\\left\W|\\right\W", inner):
        depth += 1 if found.group().startswith(r"\left") else -1
        if depth < 0:
            return True
    return False


def _path_data(outline: Outline) -> str:
    """The outline as SVG path data, y downwards, two decimals."""
    words = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C"}
    parts = []
    for points, code in outline.iter_segments(curves=True, simplify=False):
        if code == Outline.CLOSEPOLY:
            parts.append("Z")
            continue
        pairs = " ".join(f"{_short(x)} {_short(-y)}" for x, y in zip(points[::2], points[1::2], strict=True))
        parts.append(f"{words[code]}{pairs}")
    return "".join(parts)


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
