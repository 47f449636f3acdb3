"""HTML: values come in and are escaped, a page goes out that asks no network for anything.

The words of the page stand in `*.html.jinja`. There everything is text, which a browser shows and never obeys, but what
is `Markup` already: the SVG of `show` and the MathML of `mathematics`.
"""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ammgraph.diagnostics import counted
from ammgraph.plan.networks import shape_text
from ammgraph.report.mathematics import formula
from ammgraph.runs.outputs import head_of
from ammgraph.spec.notation import number_text, side_text
from ammgraph.terminal import escaped

GENERATOR = Markup('<meta name="generator" content="ammgraph">')


@dataclass(frozen=True)
class Table:
    """A table of plain text; `right` are the columns of numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()
    kind: str = "plain"


def rendered(template: str, **values: object) -> str:
    """The whole file."""
    return _ENVIRONMENT.get_template(template).render(values)


def is_page(path: Path) -> bool:
    """Whether a file is a page that was made here."""
    return GENERATOR.encode() in head_of(path, 4096)


def _finalized(value: object) -> object:
    return value if isinstance(value, Markup) else escaped(str(value))


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    finalize=_finalized,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.globals |= {"GENERATOR": GENERATOR}
_ENVIRONMENT.filters |= {
    "counted": counted,
    "formula": formula,
    "number": number_text,
    "shape": shape_text,
    "side": side_text,
}
