"""HTML: text comes in and is escaped, elements go out; and the frame of a page that asks no network for anything.

Functions that take `str` escape it; those that take `Markup` are given HTML that is already safe.
"""

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NewType

from ammgraph.terminal import escaped

Markup = NewType("Markup", str)


def text(value: object) -> Markup:
    """Any value as text that a browser shows and never obeys."""
    return Markup(html.escape(escaped(str(value)), quote=True))


def join(parts: Iterable[Markup], between: str = "") -> Markup:
    """Pieces of HTML one after another."""
    return Markup(between.join(parts))


def element(tag: str, content: Markup, **attributes: str) -> Markup:
    """`<tag name="value">content</tag>`; values are escaped, `class_` is `class`, `aria_label` is `aria-label`."""
    names = {name: name.rstrip("_").replace("_", "-") for name in attributes}
    written = "".join(f' {names[name]}="{text(value)}"' for name, value in attributes.items())
    return Markup(f"<{tag}{written}>{content}</{tag}>")


def section(identifier: str, title: str, *content: Markup) -> Markup:
    """A part of the page with a heading, which the contents link to."""
    head = element("h2", text(title), id=f"{identifier}-title")
    return element("section", join([head, *content]), id=identifier, aria_labelledby=f"{identifier}-title")


def paragraph(value: str) -> Markup:
    """A paragraph of plain text."""
    return element("p", text(value))


def details(summary: str, *content: Markup) -> Markup:
    """What is folded away until it is asked for."""
    return element("details", join([element("summary", text(summary)), *content]))


def code_block(value: str) -> Markup:
    """Text as it is, in a box that scrolls."""
    return Markup(f'<pre tabindex="0"><code>{text(value)}</code></pre>')


@dataclass(frozen=True)
class Table:
    """A table of plain text; `right` are the columns of numbers, `strong` the rows that matter most."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    right: tuple[int, ...] = ()
    strong: tuple[int, ...] = ()
    kind: str = "plain"

    def markup(self) -> Markup:
        """The table, in a box that scrolls where it is too wide."""
        head = self._row(self.head, "th", ' scope="col"')
        body = "".join(self._row(row, "td", "", index in self.strong) for index, row in enumerate(self.rows))
        caption = f"<caption>{text(self.caption)}</caption>" if self.caption else ""
        table = f'<table class="{text(self.kind)}">{caption}'
        table += f"<thead>{head}</thead><tbody>{body}</tbody></table>"
        return Markup(f'<div class="scroll" tabindex="0">{table}</div>')

    def _row(self, cells: Sequence[str], tag: str, attributes: str, strong: bool = False) -> str:
        kinds = [' class="number"' if index in self.right else "" for index in range(len(cells))]
        written = (f"<{tag}{attributes}{kind}>{text(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        kind = ' class="strong"' if strong else ""
        return f"<tr{kind}>{''.join(written)}</tr>"


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names and values, one under the other; empty values are left out."""
    rows = (f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs if value)
    return Markup(f'<dl class="facts">{"".join(rows)}</dl>')


def image(data: bytes, form: str, alt: str) -> Markup:
    """An image that the page carries in itself."""
    kind = {"svg": "image/svg+xml", "png": "image/png"}[form]
    encoded = base64.b64encode(data).decode("ascii")
    return Markup(f'<img src="data:{kind};base64,{encoded}" alt="{text(alt)}">')


def figure(identifier: str, number: int, title: str, caption: str, picture: Markup, wide: bool = False) -> Markup:
    """A numbered figure with its caption; a wide one takes the whole width of the page."""
    words = f"<strong>Figure {number}. {text(title)}.</strong> {text(caption)}"
    kind = ' class="wide"' if wide else ""
    return Markup(f'<figure id="{text(identifier)}"{kind}>{picture}<figcaption>{words}</figcaption></figure>')


def document(title: str, body: Markup) -> str:
    """The whole file. Its policy forbids what it never does: scripts, and requests of any kind."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'{GENERATOR}\n<meta name="color-scheme" content="light dark">\n'
        f'<link rel="icon" href="data:,">\n<title>{text(title)}</title>\n<style>{CSS}</style>\n</head>\n'
        f"<body>\n{body}\n</body>\n</html>\n"
    )


GENERATOR = '<meta name="generator" content="ammgraph">'
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

CSS = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1c2126;--soft:#5a646e;--line:#dde2e7;--tint:#f5f7f9;--mark:#0b5cad;
--shade:#cfd8e3}
@media (prefers-color-scheme:dark){:root{--paper:#14181c;--ink:#e4e8ec;--soft:#9aa5b0;--line:#2e363e;--tint:#1b2127;
--mark:#7db8f5;--shade:#46525f}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main,header,footer,nav{max-width:1040px;margin:0 auto;padding:0 20px}
header{padding-top:44px}
h1{font-size:clamp(1.6rem,1.2rem + 2vw,2.3rem);line-height:1.2;margin:0 0 .4rem;letter-spacing:-.015em;
overflow-wrap:anywhere}
h2{font-size:1.4rem;margin:3rem 0 .9rem;padding-top:1rem;border-top:1px solid var(--line);letter-spacing:-.01em}
h3{font-size:1.05rem;margin:1.8rem 0 .5rem;overflow-wrap:anywhere}
p{margin:.5rem 0;max-width:46rem;overflow-wrap:anywhere}
.lead{color:var(--soft);font-size:1.02rem;max-width:none}.lead span{display:inline-block;margin-right:1.8em}
nav ul{display:flex;flex-wrap:wrap;gap:.3rem 1.3rem;list-style:none;margin:1.2rem 0 0;padding:0;font-size:.95rem}
a{color:var(--mark);text-decoration:none}a:hover{text-decoration:underline}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:1.6rem 0 .5rem;padding:0;
list-style:none}
.tiles li{border:1px solid var(--line);border-radius:8px;padding:12px 14px;background:var(--tint)}
.tiles strong{display:block;font-size:1.45rem;line-height:1.25;font-weight:650;font-variant-numeric:tabular-nums}
.tiles span{display:block;font-size:.82rem;color:var(--soft);line-height:1.35}
.formulas{margin:.6rem 0}
.formula{display:block;padding:.34rem 0 .34rem 1.6rem;text-indent:-1.6rem;line-height:2.1;font-size:1.06rem}
.formula svg{text-indent:0;fill:currentColor;display:inline-block;overflow:visible;margin-right:.1em;max-width:100%}
code.formula{font-size:.85rem;overflow-wrap:anywhere;line-height:1.5}
.models figcaption{text-align:center}
.models{display:flex;flex-wrap:wrap;gap:16px;margin:1rem 0}
.models figure{flex:1 1 260px;margin:0;display:flex;flex-direction:column;justify-content:flex-end;
border:1px solid var(--line);border-radius:8px;padding:14px;background:var(--tint)}
.diagram{display:block;width:100%;height:auto;margin:0 auto}
.diagram .node{fill:var(--paper);stroke:var(--ink)}.diagram .observed{fill:var(--shade)}
.diagram .edge{stroke:var(--ink)}.diagram .head,.diagram .name{fill:var(--ink)}.diagram .source{fill:var(--soft)}
.diagram .plate,.diagram .box{stroke:var(--line)}.diagram .box{fill:var(--paper)}
.wide-diagram{overflow-x:auto;margin:.7rem 0}.wide-diagram .diagram{min-width:820px}
figcaption{font-size:.88rem;color:var(--soft);line-height:1.45;margin-top:.5rem;overflow-wrap:anywhere}
figcaption strong{color:var(--ink)}
.plates{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:30px 26px;align-items:start}
.plates figure{margin:0;min-width:0}.plates figure.wide{grid-column:1/-1}.plates .wide img{max-width:740px}
.plates img{display:block;width:100%;height:auto;background:#fff;
border:1px solid var(--line);border-radius:6px;padding:6px}
.scroll,pre{overflow-x:auto;max-width:100%;margin:.7rem 0;border:1px solid var(--line);border-radius:8px}
pre{padding:12px 14px;background:var(--tint);font-size:.84rem;line-height:1.5}
code,pre{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
.wrap{white-space:pre-wrap;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%;font-size:.88rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding:9px 12px;font-size:.85rem}
th,td{text-align:left;padding:6px 12px;border-top:1px solid var(--line);white-space:nowrap;vertical-align:top}
thead th{border-top:0;color:var(--soft);font-weight:600;background:var(--tint);vertical-align:bottom}
.results th{white-space:normal;min-width:8.5em}.results th:nth-child(n+2),.results td:nth-child(n+2){text-align:right}
.layers{font-size:.8rem}.layers th,.layers td{padding:4px 8px}
.how td:last-child{white-space:normal;min-width:16em}.how td:first-child{white-space:normal;min-width:9em}
.results td:first-child,.results th:first-child{white-space:normal;min-width:11em;position:sticky;left:0;
background:var(--paper)}.results th:first-child{background:var(--tint)}
.number{text-align:right}tr.strong td{font-weight:650}
details{border:1px solid var(--line);border-radius:8px;margin:.6rem 0;padding:0 14px}
details[open]{padding-bottom:6px}
summary{cursor:pointer;padding:9px 0;font-weight:550;overflow-wrap:anywhere}
.facts{display:grid;gap:0;margin:.6rem 0;border:1px solid var(--line);border-radius:8px;overflow:hidden}
.facts div{display:grid;grid-template-columns:minmax(110px,190px) 1fr;gap:14px;padding:7px 14px}
.facts div+div{border-top:1px solid var(--line)}
dt{color:var(--soft);font-size:.9rem}dd{margin:0;overflow-wrap:anywhere;font-size:.93rem}
ul.notes{padding-left:1.2rem;max-width:46rem}ul.notes li{margin:.35rem 0;overflow-wrap:anywhere}
footer{color:var(--soft);font-size:.85rem;padding-top:2.2rem;padding-bottom:3rem}
@media (max-width:600px){body{font-size:15.5px}main,header,footer,nav{padding-left:16px;padding-right:16px}
header{padding-top:26px}.facts div{grid-template-columns:1fr;gap:0}.tiles{grid-template-columns:1fr 1fr}
.tiles strong{font-size:1.2rem}}
@media print{details{break-inside:avoid}figure{break-inside:avoid}nav{display:none}}
"""
