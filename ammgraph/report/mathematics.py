r"""LaTeX comes in, MathML goes out, which a browser sets in the page's own ink.

A formula is broken before its relations and its terms into pieces that wrap like words, so that it fits a phone.
"""

import html
import re
from itertools import pairwise
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from markupsafe import Markup

_TOKEN = re.compile(r"\\(?:left|right)\W|\\\w+|\\\W| [-=+] |.")


def formula(latex: str) -> Markup:
    """One formula as pieces of MathML between which a line may end."""
    return Markup("<wbr>").join(map(mathml, pieces_of(latex)))


def pieces_of(latex: str) -> list[str]:
    r"""A formula cut before ` = ` and the terms of sums and after `\quad`, but within no brace and no bracket.

    Brackets around sums, `\left(`, are no such brackets: their terms wrap as well, between a plain `(` and `)`.
    """
    pieces, depth = [""], 0
    for token in _TOKEN.findall(latex):
        if depth == 0 and token in (r"\left(", r"\right)"):
            pieces[-1] += token[-1]
            continue
        cut = depth == 0 and token in (" = ", " + ", " - ")
        pieces += ["{}"] if cut else []  # the empty group keeps the sign between two things
        pieces[-1] += token
        pieces += [""] if depth == 0 and token == r"\quad" else []
        depth += (token[-1] in "([{") - (token[-1] in ")]}")
    return [piece.strip() for piece in pieces]


def mathml(latex: str) -> Markup:
    """A piece of a formula as `<math>`."""
    math = convert_to_element(latex.replace(r"\log ", r"\log \, "))
    math.attrib.clear()
    for element in math.iter():
        element.text = element.text and html.unescape(element.text)  # `tostring` escapes what is to be escaped
        if element.text == "max":
            element.tag = "mi"  # a name, with no space of an operator around it
        if element.text == "‖":
            element.set("stretchy", "false")
    for row in math.iter():
        for before, sign in pairwise(row):
            if sign.text == "−" and before.text in ("(", "[", "="):
                sign.set("form", "prefix")
    return Markup(ElementTree.tostring(math, encoding="unicode"))
