"""The model as a class: its networks, what its distributions draw, and what can be asked of it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from ammgraph.evaluation.synthesis import sampling_sites
from ammgraph.export.calls import Call, Function, Step, draw_steps, needed_factors
from ammgraph.export.code import ATTRIBUTES, TAKEN, Names, call, class_names, docstring, returned, spelling, text
from ammgraph.export.networks import has_hidden_probabilities
from ammgraph.formulas.expression import Leaf
from ammgraph.formulas.notation import written
from ammgraph.nn.model import Model
from ammgraph.plan.draws import (
    DrawPlan,
    FactorPlan,
    FromBayes,
    FromData,
    FromDraw,
    FromNetwork,
    FromPrior,
    ScorePlan,
    Site,
)
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import (
    ancestry,
    drawn_by_network,
    from_image_alone,
    generating_draw,
    inferring_draws,
    on_data_set,
    read_of_record,
)
from ammgraph.spec.priors import CENTRE, NOISE

_INDENT = " " * 8


@dataclass(frozen=True)
class Drawing:
    """A function of the model that draws: `sample` draws everything that an image needs, also what no step does."""

    name: str
    draw: DrawPlan
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Asking:
    """A function of the model that gives means and probabilities: `infer` from an image, `generate` an image."""

    name: str
    draw: DrawPlan
    given: tuple[str, ...]
    steps: tuple[Step, ...]
    results: tuple[str, ...]
    posterior: ScorePlan | None = None  # of a result that Bayes' rule gives


# How a posterior at samples that are called by the names of their variables is written, and its logits are called.
Posterior: TypeAlias = Callable[[ScorePlan, Sequence[str], Names], tuple[list[str], str]]


@dataclass(frozen=True)
class _Code:
    """What the code of the model calls things: methods and attributes by function, network and site; variables."""

    plan: Plan
    methods: Mapping[Function, str]
    networks: Mapping[str, str]
    constants: Mapping[str, str]
    local: Names
    posterior: Posterior

    def variable(self, name: str) -> str:
        """A variable of the model, or another result of a call, as `y/probabilities`."""
        return self.local.of(name, re.sub(r"\W+", "_", name))

    def draw(self, name: str) -> str:
        """The samples of a distribution."""
        return self.local.of(f"draw {name}", name)


def drawings(plan: Plan) -> list[Drawing]:
    """What a step draws; and of images that come from priors all that they need, if a step does not draw it."""
    found = []
    for draw in plan.draws:
        if any(draw.name in turn.draws for turn in plan.turns):
            found.append(Drawing(f"draw_{draw.name}", draw, draw_steps(plan, needed_factors(draw))))
    sampled = sampled_draw(plan)
    if sampled is not None:
        draw, factors = sampled
        if not all(factor.needed for factor in factors) or all(item.draw != draw for item in found):
            found.append(Drawing(f"sample_{draw.name}", draw, draw_steps(plan, factors)))
    return found


def sampled_draw(plan: Plan) -> tuple[DrawPlan, tuple[FactorPlan, ...]] | None:
    """The distribution that draws images from priors, and the factors that it takes for that."""
    for variable in plan.variables:
        draw = generating_draw(plan, variable.name) if variable.observed else None
        if draw is not None:
            return draw, ancestry(draw, variable.name)
    return None


def extra_sites(plan: Plan) -> list[Site]:
    """The random tensors that sampling takes and no step does."""
    sampled = sampled_draw(plan)
    if sampled is None:
        return []
    draw, factors = sampled
    known = {site.name for turn in plan.turns for site in turn.sites}
    return [site for site in sampling_sites(plan, factors, draw.batch_size) if site.name not in known]


def _decoding_draw(plan: Plan, variable: str) -> DrawPlan | None:
    """What draws the variable from others: from priors alone, else, of an example of the data, from whatever it is."""
    example = any(
        isinstance(factor.origin, FromData) and variable in factor.variables
        for draw in plan.draws
        for factor in draw.factors
    )
    decoders = (draw for draw in plan.draws if example and drawn_by_network(draw, variable))
    return generating_draw(plan, variable) or next(decoders, None)


def askings(plan: Plan) -> list[Asking]:
    """Inference from an image alone, one function for each distribution; images from their latents."""
    wanted: dict[str, list[str]] = {}
    for variable in plan.variables:
        read = [plan.draw(readout.draw) for readout in plan.every_readout if readout.variable == variable.name]
        latent = [draw for of in plan.data_names for draw in inferring_draws(on_data_set(plan, of), variable.name)]
        for asked in read or map(plan.draw, dict.fromkeys(found.name for found in latent)):
            alone = _is_inferred(asked, variable.name) and from_image_alone(asked, variable.name)
            if alone and not variable.observed:
                wanted.setdefault(asked.name, []).append(variable.name)
    found = []
    for name, variables in wanted.items():
        draw = plan.draw(name)
        factors = ancestry(draw, *variables)
        drawn = [factor for factor in factors if not isinstance(factor.origin, FromData | FromBayes)]
        scores = [factor.origin.score for factor in factors if isinstance(factor.origin, FromBayes)]
        given = tuple(read_of_record(draw, *variables))
        if any(not isinstance(factor.origin, FromNetwork) for factor in drawn):
            continue
        steps = _with_probabilities(plan, draw_steps(plan, drawn), variables)
        results = tuple(v.name for v in plan.variables if v.name in variables)
        verb = "infer" if len(wanted) == 1 else f"infer_{name}"
        found.append(Asking(verb, draw, given, steps, results, next(iter(scores), None)))
    for variable in plan.variables:
        generating = _decoding_draw(plan, variable.name) if variable.observed else None
        if generating is not None and generating.factor_of(variable.name).given:
            factor = generating.factor_of(variable.name)
            steps = draw_steps(plan, [factor])
            found.append(Asking(f"generate_{variable.name}", generating, factor.given, steps, (variable.name,)))
    return found


def _is_inferred(draw: DrawPlan, variable: str) -> bool:
    return drawn_by_network(draw, variable) or isinstance(draw.factor_of(variable).origin, FromBayes)


def model_code(
    plan: Plan, model: Model, names: Mapping[Function, str], losses: Sequence[str], posterior: Posterior
) -> list[str]:
    """The class `Model`; `losses` are the lines of its functions of losses."""
    networks = network_attributes(plan)
    lines = ["class Model(nn.Module):"]
    lines += docstring("The networks, and what is drawn with them, inferred by them and minimised.", "    ")
    lines += ["", "    def __init__(self) -> None:", f"{_INDENT}super().__init__()"]
    classes = class_names(networks)
    lines += [f"{_INDENT}self.{networks[name]} = {classes[name]}()" for name in networks]
    constants = constant_attributes(plan, model)
    for attribute, shape in constants.values():
        size = ", ".join(map(str, shape))
        lines += call("self.register_buffer", [text(attribute), f"torch.zeros({size})"], _INDENT)
    local = Names({*TAKEN, "self", "noise"}, [variable.name for variable in plan.variables])
    code = _Code(
        plan, names, networks, {site: attribute for site, (attribute, _) in constants.items()}, local, posterior
    )
    for drawing in drawings(plan):
        lines += ["", *_drawing_code(code, drawing)]
    for asking in askings(plan):
        lines += ["", *_asking_code(code, asking)]
    return [*lines, *losses]


def network_attributes(plan: Plan) -> dict[str, str]:
    """Network -> attribute of the model."""
    functions = {drawing.name for drawing in drawings(plan)} | {asking.name for asking in askings(plan)}
    networks = [network.name for network in plan.networks]
    names = Names(ATTRIBUTES | functions | set(turn_names(plan).values()), networks)
    return {name: names.of(name) for name in networks}


def turn_names(plan: Plan) -> dict[int, str]:
    """The name of the function of losses of each turn: `losses`, or `losses_1`, `losses_2`, ..."""
    if len(plan.turns) == 1:
        return {0: "losses"}
    return {index: f"losses_{index + 1}" for index in range(len(plan.turns))}


def constant_attributes(plan: Plan, model: Model) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Site of a prior with a constant -> (attribute of the model, shape)."""
    sites = [
        factor.origin.site.name
        for draw in plan.draws
        for factor in draw.factors
        if isinstance(factor.origin, FromPrior) and _has_constant(factor)
    ]
    names = Names({*ATTRIBUTES, *network_attributes(plan).values()})
    attributes = {site: names.of(site, f"{site.replace('/', '_')}_constant") for site in sites}
    return {site: (attribute, tuple(model.constant(site).shape)) for site, attribute in attributes.items()}


def _has_constant(factor: FactorPlan) -> bool:
    assert isinstance(factor.origin, FromPrior)
    return factor.origin.prior.place is None or bool(factor.origin.given)


def _drawing_code(code: _Code, drawing: Drawing) -> list[str]:
    data: list[str] = []
    others: list[str] = []
    body: list[str] = []
    drawn: list[str] = []
    for step in drawing.steps:
        if isinstance(step, Call):
            body += _call_code(code, step, _examples(code, drawing, drawn))
            drawn += [name for name in step.results if "/" not in name]
            continue
        drawn += step.variables
        if isinstance(step.origin, FromData):
            data += step.variables
        elif isinstance(step.origin, FromDraw):
            others.append(step.origin.draw)
            taken = f"{code.draw(step.origin.draw)}[{text(step.origin.variable)}]"
            body.append(f"{_INDENT}{code.variable(step.variables[0])} = {taken}")
        else:
            body += _prior(code, step)
    said = [factor.text for factor in drawing.draw.factors if set(factor.variables) & set(drawn)]
    parameters = ["self", *(f"{code.variable(name)}: Tensor" for name in data)]
    parameters += [f"{code.draw(name)}: dict[str, Tensor]" for name in dict.fromkeys(others)] + ["noise: Noise"]
    lines = _signature(drawing.name, parameters, "dict[str, Tensor]")
    lines += docstring(" ".join(said), _INDENT)
    lines += body
    return [*lines, *returned({name: code.variable(name) for name in drawn}, _INDENT)]


def _examples(code: _Code, drawing: Drawing, drawn: Sequence[str]) -> str:
    """What has as many examples as are drawn: a variable, or else as many as the noise has, or as a step draws."""
    if drawn:
        return code.variable(drawn[0])
    calls = [step for step in drawing.steps if isinstance(step, Call)]
    sites = [
        f"{step.evaluation}/{row.name}.{tensor.name}"
        for step in calls
        for row in code.plan.network(step.function.network).rows
        if row.name in step.function.rows
        for tensor in row.tensors
        if not tensor.disturbs
    ]
    priors = [step.origin for step in drawing.steps if isinstance(step, FactorPlan)]
    sites += [origin.site.name for origin in priors if isinstance(origin, FromPrior)]
    return f"examples(self, {f'len(noise[{text(sites[0])}])' if sites else drawing.draw.batch_size})"


def _asking_code(code: _Code, asking: Asking) -> list[str]:
    plan = code.plan
    parameters = ["self", *(f"{code.variable(name)}: Tensor" for name in asking.given)]
    lines = _signature(asking.name, parameters, "dict[str, Tensor]")
    said = ", ".join(asking.draw.factor_of(name).text for name in asking.results)
    kinds = {plan.variable(name).kind for name in asking.results}
    what = {"categorical": "probabilities", "real": "means", "image": "means"}
    sentence = " and ".join(dict.fromkeys(what[kind] for kind in sorted(kinds, reverse=True)))
    shapes = ", ".join(f"{name} (B, {plan.variable(name).shape[0]})" for name in asking.results)
    if kinds == {"image"}:
        read = {"an image" if plan.variable(name).kind == "image" else "vectors (B, n)" for name in asking.given}
        shapes = f"{' and '.join(sorted(read, reverse=True))} in, an image out"
    lines += docstring(f"The {sentence} of {said}: {shapes}. For `model.eval()`.", _INDENT)
    lines.append(f"{_INDENT}noise: Noise = {{}}")
    for name in asking.given:
        if plan.variable(name).kind != "image":
            lines.append(f"{_INDENT}{code.variable(name)} = vector({code.variable(name)})")
    for step in asking.steps:
        assert isinstance(step, Call)
        lines += _call_code(code, step, code.variable(asking.given[0]))
    told = {name for step in asking.steps if isinstance(step, Call) for name in step.results}
    values = {}
    if asking.posterior is not None:
        lines_of, logits = code.posterior(
            asking.posterior, asking.draw.factor_of(asking.posterior.rule).given, code.local
        )
        lines += lines_of
    for name in asking.results:
        if asking.posterior is not None and name == asking.posterior.rule:
            values[name] = f"torch.softmax({logits}, dim=1)"
            continue
        value = code.variable(probabilities_of(name) if probabilities_of(name) in told else name)
        values[name] = value if plan.variable(name).kind == "image" else f"{value}.flatten(1)"
    return [*lines, *returned(values, _INDENT)]


def _call_code(code: _Code, step: Call, like: str) -> list[str]:
    """`y, z = self.encoder.draw_y_z(x, part(noise, "q/encoder"))`; a network that reads nothing is handed `like`."""
    method = code.methods[step.function]
    target = ", ".join(code.variable(result) for result in step.results)
    head = f"{target} = self.{code.networks[step.function.network]}" + ("" if method == "forward" else f".{method}")
    arguments = [code.variable(name) for name in step.arguments] or [like]
    return call(head, [*arguments, f"part(noise, {text(step.evaluation)})"], _INDENT)


def _signature(name: str, parameters: Sequence[str], result: str) -> list[str]:
    return call(f"def {name}", parameters, "    ", f" -> {result}:")


def _prior(code: _Code, factor: FactorPlan) -> list[str]:
    assert isinstance(factor.origin, FromPrior)
    prior, site, given = factor.origin.prior, factor.origin.site.name, factor.origin.given
    name, noise = code.variable(factor.variables[0]), f"noise[{text(site)}]"
    if prior.place is None:
        return call(f"{name} = categorical", [f"self.{code.constants[site]}", noise], _INDENT)
    leaves: dict[Leaf, str] = {NOISE: noise}
    if given:
        leaves[CENTRE] = f"vector({code.variable(given)}.flatten(1) @ self.{code.constants[site]})"
    return [f"{_INDENT}{name} = {written(prior.sample(), spelling(leaves.__getitem__))}"]


def _with_probabilities(plan: Plan, steps: Sequence[Step], wanted: Sequence[str]) -> tuple[Step, ...]:
    """Categories are told as probabilities; as samples too where a later function reads them, or as nothing else."""
    told: list[Step] = []
    for index, step in enumerate(steps):
        assert isinstance(step, Call)
        function, network = step.function, plan.network(step.function.network)
        count = len(function.returns)
        pairs = list(zip(function.returns, step.results[:count], strict=True))
        weighed = list(
            zip(function.probabilities, step.results[count:], strict=True)
        )  # have every value, and no sample
        soft = {row for row, name in pairs if name in wanted and has_hidden_probabilities(network, row)}
        read = {name for later in steps[index + 1 :] if isinstance(later, Call) for name in later.arguments}
        kept = [(row, name) for row, name in pairs if row not in soft or name in read]
        more = [*weighed, *((row, probabilities_of(name)) for row, name in pairs if row in soft)]
        function = replace(function, returns=tuple(row for row, _ in kept), probabilities=tuple(row for row, _ in more))
        told.append(replace(step, function=function, results=tuple(name for _, name in [*kept, *more])))
    return tuple(told)


def probabilities_of(variable: str) -> str:
    """A categorical variable's probabilities beside its sample, as a result of a call."""
    return f"{variable}/probabilities"
