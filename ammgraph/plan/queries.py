"""Questions about a plan: what a sample depends on, what is taken from the data, what generates and what infers."""

from collections.abc import Iterable
from typing import Literal

from ammgraph.plan.draws import DrawPlan, FactorPlan, FromData, FromNetwork, FromPrior
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import PassPlan


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


EXAMPLES = frozenset({"image", "vector"})  # what a record is an example of, beside its label


def record_kind(plan: Plan) -> Literal["image", "vector"]:
    """What a record of the data is an example of."""
    return "vector" if any(variable.vector for variable in plan.variables) else "image"


def from_image_alone(draw: DrawPlan, *variables: str) -> bool:
    """Whether samples of the variables depend on an image or a vector of the data, and on no label."""
    taken = set(fields_of(ancestry(draw, *variables)).values())
    return bool(taken) and taken <= EXAMPLES


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
