"""How a spec looks where Python prints it: as text, and as HTML in a notebook. Whatever a spec says is escaped."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from markupsafe import Markup

from ammgraph.diagnostics import counted

if TYPE_CHECKING:
    from ammgraph.spec.schema import Spec


class Shown:
    """How a spec shows itself."""

    def __repr__(self) -> str:
        return spec_text(cast("Spec", self))

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return spec_html(cast("Spec", self))


def spec_text(spec: "Spec") -> str:
    """Title, variables, distributions, networks, games and terms, a line each."""
    lines = [f"Spec: {spec.title or spec.source.value().file}"]
    return "\n".join([*lines, *(f"  {' '.join(map(str, cells))}" for _, rows in _sections(spec) for cells in rows)])


def spec_html(spec: "Spec") -> str:
    """The same as tables."""
    tables = [html_table(head, rows) for head, rows in _sections(spec)]
    return html_block(spec.title or spec.source.value().file, tables)


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table of texts."""

    def line(tag: str, cells: Sequence[str]) -> Markup:
        return Markup("<tr>{}</tr>").format(
            Markup().join(Markup(f"<{tag}>{{}}</{tag}>").format(cell) for cell in cells)
        )

    body = Markup().join(line("td", row) for row in rows)
    return Markup("<table><thead>{}</thead><tbody>{}</tbody></table>").format(line("th", head), body)


def html_block(title: str, parts: Sequence[Markup]) -> Markup:
    """Parts of HTML under a title."""
    return Markup("<div><strong>{}</strong>{}</div>").format(title, Markup().join(parts))


def _sections(spec: "Spec") -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    variables: list[tuple[str, ...]] = [(name, v.type, _size(v)) for name, v in spec.variables.items()]
    distributions: list[tuple[str, ...]] = [
        (name, "=", factors if isinstance(factors, str) else " ".join(factors))
        for name, factors in spec.distributions.items()
    ]
    networks: list[tuple[str, ...]] = [
        (name, counted(len(network.layers), "row")) for name, network in spec.networks.items()
    ]
    games: list[tuple[str, ...]] = [
        (name, " against ".join(str(side) for side in game.match), str(game.discriminator), game.objective)
        for name, game in spec.games.items()
    ]
    terms: list[tuple[str, ...]] = [(name, str(term.minimize), str(term.weight)) for name, term in spec.terms.items()]
    sections: list[tuple[tuple[str, ...], list[tuple[str, ...]]]] = [
        (("variable", "type", "size"), variables),
        (("distribution", "", "factors"), distributions),
        (("network", "rows"), networks),
        (("game", "real against fake", "discriminator", "objective"), games),
        (("term", "minimises", "weight"), terms),
    ]
    return [(head, rows) for head, rows in sections if rows]


def _size(variable: object) -> str:
    shape = getattr(variable, "shape", None) or (getattr(variable, "size", ""),)
    return "x".join(map(str, shape))
