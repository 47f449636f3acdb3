"""How a plan looks where Python prints it: as text, and as HTML in a notebook. Whatever a spec says is escaped."""

from dataclasses import fields

from ammgraph.compiler.compile import compile_spec as compiled
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import GamePlan
from ammgraph.show.drawing import figure_svg
from ammgraph.show.text import formula_text, table
from ammgraph.spec.notation import side_text
from ammgraph.spec.notebook import html_block, html_table
from ammgraph.spec.schema import Spec


class ShownPlan(Plan):
    """A plan that shows itself: as text, as tables and as a picture."""

    def __repr__(self) -> str:
        return plan_summary(self)

    def _repr_html_(self) -> str:
        return plan_html(self)

    def _repr_svg_(self) -> str:
        return figure_svg(self)


def compile_spec(spec: Spec) -> Plan:
    """The plan of a spec, as it shows itself.

    Raises:
        SpecError: the spec is not a model; every problem of the first stage that found one.
    """
    plan = compiled(spec)
    return ShownPlan(**{field.name: getattr(plan, field.name) for field in fields(plan)})


def plan_summary(plan: Plan) -> str:
    """Title, factorizations, networks with their parameters, games, terms."""
    head, *networks = _networks(plan)
    lines = [f"Plan: {plan.title}" if plan.title else "Plan"]
    lines += table(_distributions(plan)[1:])
    lines += table([head, *networks], right=(1, 2))
    lines += table(_games(plan)[1:])
    lines += table(_terms(plan)[1:])
    return "\n".join(lines)


def plan_html(plan: Plan) -> str:
    """The same as tables."""
    sections = (_distributions(plan), _networks(plan), _games(plan), _terms(plan))
    return html_block(plan.title or "Plan", [html_table(head, rows) for head, *rows in sections if rows])


def _distributions(plan: Plan) -> list[tuple[str, ...]]:
    rows = [(draw.name, "= " + " ".join(factor.text for factor in draw.written)) for draw in plan.draws]
    return [("distribution", "factors"), *rows]


def _networks(plan: Plan) -> list[tuple[str, ...]]:
    rows = [(network.name, f"{network.parameters:,}", f"{network.multiply_adds:,}") for network in plan.networks]
    total = ("sum", f"{plan.parameters:,}", "")
    return [("network", "parameters", "multiply-adds an example"), *rows, total]


def _games(plan: Plan) -> list[tuple[str, ...]]:
    rows = [
        (
            f"game {game.name}",
            f"{side_text(game.real)} against {side_text(game.fake)}",
            str(game.discriminator),
            game.objective,
            _penalties(plan, game),
        )
        for game in plan.games
    ]
    return [("game", "real against fake", "discriminator", "objective", "penalties"), *rows]


def _terms(plan: Plan) -> list[tuple[str, ...]]:
    rows = [(f"term {term.name}", formula_text(term.value), f"weight {term.weight}") for term in plan.terms]
    return [("term", "value", "weight"), *rows]


def _penalties(plan: Plan, game: GamePlan) -> str:
    """The penalties that are taken: those of a discriminator that learns."""
    if not any(game.name in turn.games for turn in plan.turns):
        return "no turn plays it"
    if not plan.players(game.name, "discriminator"):
        return ""
    return ", ".join(penalty.kind for penalty in game.penalties)
