"""Questions about a plan: what a sample depends on, what is taken from the data, what generates and what infers."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Literal

from ammgraph.plan.draws import DrawPlan, FactorPlan, FromData, FromDraw, FromNetwork, FromPrior
from ammgraph.plan.plan import Plan, ReconstructionPlan
from ammgraph.plan.turns import PassPlan


def ancestry(draw: DrawPlan, *variables: str, given: Collection[str] = ()) -> tuple[FactorPlan, ...]:
    """The factors that samples of the variables depend on, their own included, in the order of sampling.

    A factor that takes another distribution's sample stands for itself: what it takes is not followed, and so does one
    whose sample is given. Empty where a condition is never drawn.
    """
    needed, open_names = set(), list(variables)
    while open_names:
        name = open_names.pop()
        if not draw.produces(name):
            return ()
        if name not in needed:
            needed.add(name)
            open_names += () if name in given else draw.factor_of(name).given
    return tuple(factor for factor in draw.factors if needed & set(factor.variables))


def data_sets_of(plan: Plan, draw: DrawPlan, *variables: str) -> frozenset[str]:
    """The data sets that samples of the variables depend on, those of other distributions' samples included."""
    found: set[str] = set()
    for factor in ancestry(draw, *variables):
        if isinstance(factor.origin, FromData):
            found.add(factor.origin.source.of)
        elif isinstance(factor.origin, FromDraw):
            found |= data_sets_of(plan, plan.draw(factor.origin.draw), factor.origin.variable)
    return frozenset(found)


def data_set_of(plan: Plan, variable: str) -> str:
    """The first data set that a factor takes a variable from; the first of all where none does."""
    factors = (factor for draw in plan.draws for factor in draw.factors if variable in factor.variables)
    taken = (factor.origin.source.of for factor in factors if isinstance(factor.origin, FromData))
    return next(taken, plan.data_names[0])


def on_data_set(plan: Plan, name: str) -> Plan:
    """The plan as far as it can be asked about records of one data set alone; itself where there is one.

    Kept is what depends on that data set, and what depends on none: factors, readouts, reconstructions, features. Of
    what others give, the examples are left out; a label stays where a factor that is kept draws it, as a prior does.
    """
    if not plan.data_sets:
        return plan
    alone = frozenset({name})

    def of_it(draw: str, *variables: str) -> bool:
        return data_sets_of(plan, plan.draw(draw), *variables) == alone

    reconstructions = tuple(
        found for found in plan.reconstructions if of_it(found.infer, found.variable, *_decoded_from(plan, found))
    )
    decoders = {(found.generate, found.variable) for found in reconstructions}
    latents = {name for found in reconstructions for name in _decoded_from(plan, found)}

    def kept(draw: DrawPlan, factor: FactorPlan) -> bool:
        decodes = any((draw.name, name) in decoders for name in factor.variables)
        return decodes or data_sets_of(plan, draw, *factor.variables) <= alone

    draws = tuple(
        replace(draw, factors=tuple(factor for factor in draw.factors if kept(draw, factor))) for draw in plan.draws
    )
    every, own = (fields_of(factor for draw in of for factor in draw.factors) for of in (plan.draws, draws))
    drawn = {name for draw in draws for factor in draw.factors for name in factor.variables}
    others = {name for name, kind in every.items() if name not in own and (kind in EXAMPLES or name not in drawn)}
    foreign = others - latents
    return replace(
        plan,
        variables=tuple(variable for variable in plan.variables if variable.name not in foreign),
        draws=draws,
        readouts=tuple(found for found in plan.every_readout if of_it(found.draw, found.variable)),
        further_readouts=(),
        reconstructions=reconstructions,
        features=plan.features if plan.features and of_it(plan.features.draw, *plan.features.reads) else None,
        data=dict(plan.data_sets)[name],
        data_sets=(),
    )


def _decoded_from(plan: Plan, item: ReconstructionPlan) -> tuple[str, ...]:
    """What the generating distribution draws the example from."""
    return plan.draw(item.generate).factor_of(item.variable).given


def fields_of(factors: Iterable[FactorPlan]) -> dict[str, str]:
    """What is taken from a record of the data: variable -> image | vector | label."""
    return {
        name: field for factor in factors if isinstance(factor.origin, FromData) for name, field in factor.origin.fields
    }


def read_of_record(draw: DrawPlan, *variables: str) -> dict[str, str]:
    """What of a record samples of the variables depend on: variable -> image | vector | label.

    A factor that draws an example and its label draws both; where only the example is read, the label is none of these.
    """
    factors = ancestry(draw, *variables)
    needed = needed_of(factors, variables)
    return {name: kind for name, kind in fields_of(factors).items() if name in needed}


def needed_of(factors: Iterable[FactorPlan], variables: Iterable[str]) -> frozenset[str]:
    """The variables and what the factors of their ancestry read: not all that these draw."""
    return frozenset({*variables, *(name for factor in factors for name in factor.given)})


def names_of(factors: Iterable[FactorPlan]) -> dict[str, str]:
    """What of it has a name: variable -> array or column."""
    return {
        name: field for factor in factors if isinstance(factor.origin, FromData) for name, field in factor.origin.named
    }


def field_name(plan: Plan, variable: str) -> str:
    """The array or the column that a variable is; "" where that has no name of its own."""
    return plan.data.named_fields.get(variable, "")


def label_name(plan: Plan, variable: str) -> str | None:
    """The field whose labels tell about a category, "" for the record's label; None where another variable owns it."""
    if variable in plan.data.fields:
        return field_name(plan, variable)
    factors = [factor for draw in plan.draws for factor in draw.factors]
    labels = [name for name, kind in fields_of(factors).items() if kind == "label"]
    others = [name for name in {*labels, *plan.data.fields} if plan.variable(name).kind == "categorical"]
    if plan.data.label is not None and not {"", plan.data.label} & {field_name(plan, name) for name in others}:
        return ""  # a table's own label, which no variable has taken
    return None if others and variable not in others else ""


def counted_labels(plan: Plan) -> dict[str, str]:
    """Variables whose prior is `empirical` -> the label whose classes it counts, "" for the record's own."""
    names = [
        factor.variables[0]
        for draw in plan.draws
        for factor in draw.factors
        if isinstance(factor.origin, FromPrior) and factor.origin.prior.kind.counts_labels
    ]
    return {name: label_name(plan, name) or "" for name in names}


def record_fields(plan: Plan) -> tuple[tuple[str, str], ...]:
    """(kind, name) of all that is taken of a record, in the order of the variables; "" is the name of what has none."""
    factors = [factor for draw in plan.draws for factor in draw.factors]
    kinds, names = fields_of(factors), names_of(factors)
    found = {v.name: (kinds[v.name], names.get(v.name, "")) for v in plan.variables if v.name in kinds}
    for readout in plan.readouts:
        name = label_name(plan, readout.variable)
        if name is not None:
            found.setdefault(readout.variable, ("label", name))
    for variable, name in counted_labels(plan).items():
        found.setdefault(variable, ("label", name))
    order = [variable.name for variable in plan.variables if variable.name in found]
    return tuple(dict.fromkeys(found[name] for name in order))


EXAMPLES = frozenset({"image", "vector"})  # what a record is an example of, beside its label


def record_kind(plan: Plan) -> Literal["image", "vector"]:
    """What a record of the data is an example of."""
    return "vector" if any(variable.vector for variable in plan.variables) else "image"


def from_image_alone(draw: DrawPlan, *variables: str) -> bool:
    """Whether samples of the variables depend on an image or a vector of the data, and on no label."""
    taken = set(read_of_record(draw, *variables).values())
    return bool(taken) and taken <= EXAMPLES


def from_example(draw: DrawPlan, example: str, *variables: str) -> bool:
    """Whether samples of the variables depend on the example of that name, and on nothing else of a record."""
    names = names_of(ancestry(draw, *variables))
    taken = {names.get(name, "") for name in read_of_record(draw, *variables)}
    return from_image_alone(draw, *variables) and taken == {example}


def main_example(plan: Plan) -> str:
    """The name of the field that is the example where one alone is meant: the first one, or "" without a name."""
    names = [name for kind, name in record_fields(plan) if kind != "label"]
    return "" if "" in names or not names else names[0]


def drawn_by_network(draw: DrawPlan, variable: str) -> bool:
    """Whether the distribution draws the variable by a network."""
    return draw.produces(variable) and isinstance(draw.factor_of(variable).origin, FromNetwork)


def generating_draws(plan: Plan, variable: str, given: Collection[str] = ()) -> tuple[DrawPlan, ...]:
    """The distributions that draw the variable by a network from priors, and from what is given, alone."""

    def alone(factor: FactorPlan) -> bool:
        return isinstance(factor.origin, FromPrior | FromNetwork) or set(factor.variables) <= set(given)

    found = [(draw, ancestry(draw, variable, given=given)) for draw in plan.draws if drawn_by_network(draw, variable)]
    return tuple(draw for draw, factors in found if factors and all(map(alone, factors)))


def generating_draw(plan: Plan, variable: str) -> DrawPlan | None:
    """The first distribution that draws the variable by a network from priors alone, if any."""
    return next(iter(generating_draws(plan, variable)), None)


def sampling_draw(plan: Plan, variable: str) -> tuple[DrawPlan, str] | None:
    """The first distribution that draws the variable by networks from priors alone, or from one label beside them.

    With the category whose values are drawn one by one: that label, or one that a prior draws, or "".
    """
    draw = generating_draw(plan, variable)
    if draw is not None:
        return draw, prior_category(plan, draw, variable)
    labelled = ((draw, label_needed(plan, draw, variable)) for draw in plan.draws)
    return next(((draw, label) for draw, label in labelled if label), None)


def label_needed(plan: Plan, draw: DrawPlan, variable: str, given: Collection[str] = ()) -> str:
    """The category that networks draw the variable from and no prior draws, if nothing else has to be given, or ""."""
    if not drawn_by_network(draw, variable):
        return ""
    factors = ancestry(draw, variable, given=given)
    read = {name for factor in factors for name in factor.given}
    others = (factor for factor in factors if not isinstance(factor.origin, FromPrior | FromNetwork))
    needed = {name for factor in others for name in factor.variables if name in read} - set(given)
    name = next(iter(needed), "")
    return name if len(needed) == 1 and plan.variable(name).kind == "categorical" else ""


def inferring_draw(plan: Plan, variable: str) -> DrawPlan | None:
    """A distribution that draws the variable by a network from an example, if any; rather one that needs no label."""
    return next(iter(inferring_draws(plan, variable)), None)


def inferring_draws(plan: Plan, variable: str) -> tuple[DrawPlan, ...]:
    """Such distributions, of those that read the same of a record one; first those that need no label."""
    found = []
    for draw in plan.draws:
        factors = ancestry(draw, variable) if drawn_by_network(draw, variable) else ()
        read = set(fields_of(factors).values())
        if read & EXAMPLES and all(isinstance(factor.origin, FromData | FromNetwork) for factor in factors):
            found.append(("label" in read, draw))
    reading: dict[frozenset[str], DrawPlan] = {}
    for _, draw in sorted(found, key=lambda item: item[0]):
        reading.setdefault(frozenset(read_of_record(draw, variable)), draw)
    return tuple(reading.values())


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
