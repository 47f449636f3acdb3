"""Questions about a plan: what a sample depends on, what is taken from the data, what generates and what infers."""

from collections.abc import Iterable
from typing import Literal

from ammgraph.plan.draws import DrawPlan, FactorPlan, FromData, FromNetwork, FromPrior
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import PassPlan
from ammgraph.spec.data_sets import MAIN_FIELDS


def ancestry(draw: DrawPlan, *variables: str) -> tuple[FactorPlan, ...]:
    """The factors that samples of the variables depend on, their own included, in the order of sampling.

    A factor that takes another distribution's sample stands for itself: what it takes is not followed. Empty where a
    condition is never drawn.
    """
    needed, open_names = set(), list(variables)
    while open_names:
        name = open_names.pop()
        if not draw.produces(name):
            return ()
        if name not in needed:
            needed.add(name)
            open_names += draw.factor_of(name).given
    return tuple(factor for factor in draw.factors if needed & set(factor.variables))


def fields_of(factors: Iterable[FactorPlan]) -> dict[str, str]:
    """What is taken from a record of the data: variable -> image | vector | label."""
    return {
        name: field for factor in factors if isinstance(factor.origin, FromData) for name, field in factor.origin.fields
    }


def names_of(factors: Iterable[FactorPlan]) -> dict[str, str]:
    """What of it has a name: variable -> array or column."""
    return {
        name: field for factor in factors if isinstance(factor.origin, FromData) for name, field in factor.origin.named
    }


def field_name(plan: Plan, variable: str) -> str:
    """The array or the column that a variable is; "" where that has no name of its own."""
    declared = plan.data.fields.get(variable, "")
    return "" if declared in MAIN_FIELDS else declared


def label_name(plan: Plan, variable: str) -> str | None:
    """The field whose labels tell about a category, "" for the record's label; None where another variable owns it."""
    if variable in plan.data.fields:
        return field_name(plan, variable)
    factors = [factor for draw in plan.draws for factor in draw.factors]
    labels = [name for name, kind in fields_of(factors).items() if kind == "label"]
    others = [name for name in {*labels, *plan.data.fields} if plan.variable(name).kind == "categorical"]
    return None if others and variable not in others else ""


def record_fields(plan: Plan) -> tuple[tuple[str, str], ...]:
    """(kind, name) of all that is taken of a record, in the order of the variables; "" is the name of what has none."""
    factors = [factor for draw in plan.draws for factor in draw.factors]
    kinds, names = fields_of(factors), names_of(factors)
    found = {v.name: (kinds[v.name], names.get(v.name, "")) for v in plan.variables if v.name in kinds}
    for readout in plan.readouts:
        name = label_name(plan, readout.variable)
        if name is not None:
            found.setdefault(readout.variable, ("label", name))
    order = [variable.name for variable in plan.variables if variable.name in found]
    return tuple(dict.fromkeys(found[name] for name in order))


EXAMPLES = frozenset({"image", "vector"})  # what a record is an example of, beside its label


def record_kind(plan: Plan) -> Literal["image", "vector"]:
    """What a record of the data is an example of."""
    return "vector" if any(variable.vector for variable in plan.variables) else "image"


def from_image_alone(draw: DrawPlan, *variables: str) -> bool:
    """Whether samples of the variables depend on an image or a vector of the data, and on no label."""
    taken = set(fields_of(ancestry(draw, *variables)).values())
    return bool(taken) and taken <= EXAMPLES


def main_example(plan: Plan) -> str:
    """The name of the field that is the example where one alone is meant: the first one, or "" without a name."""
    names = [name for kind, name in record_fields(plan) if kind != "label"]
    return "" if "" in names or not names else names[0]


def from_main_example(plan: Plan, draw: DrawPlan, *variables: str) -> bool:
    """Whether samples of the variables depend on that example, and on nothing else of a record."""
    factors = ancestry(draw, *variables)
    names, needed = names_of(factors), {*variables, *(name for factor in factors for name in factor.given)}
    taken = {names.get(name, "") for name in fields_of(factors) if name in needed}
    return from_image_alone(draw, *variables) and taken == {main_example(plan)}


def drawn_by_network(draw: DrawPlan, variable: str) -> bool:
    """Whether the distribution draws the variable by a network."""
    return draw.produces(variable) and isinstance(draw.factor_of(variable).origin, FromNetwork)


def generating_draw(plan: Plan, variable: str) -> DrawPlan | None:
    """The first distribution that draws the variable by a network from priors alone, if any."""
    for draw in plan.draws:
        if drawn_by_network(draw, variable) and all(
            isinstance(factor.origin, FromPrior | FromNetwork) for factor in ancestry(draw, variable)
        ):
            return draw
    return None


def inferring_draw(plan: Plan, variable: str) -> DrawPlan | None:
    """A distribution that draws the variable by a network from an example, if any; rather one that needs no label."""
    found = []
    for draw in plan.draws:
        factors = ancestry(draw, variable) if drawn_by_network(draw, variable) else ()
        read = set(fields_of(factors).values())
        if read & EXAMPLES and all(isinstance(factor.origin, FromData | FromNetwork) for factor in factors):
            found.append(("label" in read, draw))
    return min(found, key=lambda item: item[0])[1] if found else None


def examples_of(plan: Plan, found: PassPlan, row: str) -> list[int]:
    """How many examples of each of its draws a row of a pass has: each with every value of one enumerated, if need be.

    That is where the pass reads the variable, and the row is not shared by its values.
    """
    read = [variable for _, variable in found.evaluation.bindings]
    counts = []
    for draw in (plan.draw(name) for name in found.draws):
        over = [] if draw.enumerated is None else [name for name in draw.enumerated.variables if name in read]
        every = bool(over) and row not in found.shared
        counts.append(draw.batch_size * (plan.variable(over[0]).shape[0] if every else 1))
    return counts


def _is_prior(factor: FactorPlan) -> bool:
    """Whether a factor is drawn by a prior, or by learned weights."""
    learned = isinstance(factor.origin, FromNetwork) and factor.density.kind == "categorical" and not factor.given
    return learned or isinstance(factor.origin, FromPrior)


def prior_category(plan: Plan, draw: DrawPlan, variable: str) -> str:
    """The first categorical variable that a prior or learned weights draw and the variable depends on, or ""."""
    names = [factor.variables[0] for factor in ancestry(draw, variable) if _is_prior(factor)]
    return next((name for name in names if plan.variable(name).kind == "categorical"), "")
