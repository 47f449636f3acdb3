"""Samples given a user's own examples: what a distribution reads from data is handed in, everything else is drawn.

Distributions whose samples it takes are drawn too, each once. Networks run in eval mode; noise has a seed of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ammgraph.data.records import Split
from ammgraph.diagnostics import RunError, alternatives, nearest
from ammgraph.evaluation.examples import Example, example_on
from ammgraph.evaluation.synthesis import sampling_sites
from ammgraph.nn.enumeration import in_evaluation
from ammgraph.nn.model import Draw, Model, draw_noise, one_hot, record_tensors, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.draws import Density, DrawPlan, FactorPlan, FromData, FromDraw
from ammgraph.plan.evaluation_cost import BATCH
from ammgraph.plan.plan import Plan, ReconstructionPlan
from ammgraph.plan.queries import data_sets_of, drawn_by_network, fields_of, names_of

Places = Mapping[str, frozenset[str]]  # distribution -> variables of it


@dataclass(frozen=True)
class Start:
    """A distribution that draws a variable by a network, from an example of the data.

    Args:
        source: the name by which it is asked for.
        variable: what is drawn.
        draw: what draws it; of a reconstruction p(x|z) at z of q, it takes these samples.
        plan: the compiled spec, with that distribution among its own.
    """

    source: str
    variable: str
    draw: DrawPlan
    plan: Plan

    @property
    def reads(self) -> tuple[str, ...]:
        """The images, vectors and labels that it starts from."""
        return tuple(dict.fromkeys(found.variable for found in _read(self.plan, _needed(self, {}))))


@dataclass(frozen=True)
class Chain:
    """All that a sample is drawn from.

    Args:
        start: what is sampled, and by which distribution.
        needed: what it depends on.
        given: distribution -> category of each variable that is not drawn there.
        example: what a user's example is.
        reads: the variable that is that example.
    """

    start: Start
    needed: Places
    given: Mapping[str, Mapping[str, int]]
    example: Example
    reads: str

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of what is held of each sample."""
        return tuple(name for names in self.needed.values() for name in names)

    @property
    def text(self) -> str:
        """The factors in the order of sampling, a distribution after those that it takes samples of."""
        parts = [_factors(self.start.plan.draw(name), self.needed[name]) for name in _order(self.start, self.needed)]
        return ", ".join(" ".join(factor.text for factor in factors if factor.text) for factors in parts)


def starts_of(plan: Plan) -> tuple[Start, ...]:
    """What can be sampled from an example: what data have too, reconstructions, other images, real latents.

    Other images are those of no data, as an example that a term has moved.
    """
    found = [Start(draw.name, v.name, draw, plan) for v in plan.variables for draw in _from_data(plan, v.name)]
    of_data = {
        name for draw in plan.draws for f in draw.factors if isinstance(f.origin, FromData) for name in f.variables
    }
    observed = [start for start in found if plan.variable(start.variable).observed]
    first = [start for start in observed if start.variable in of_data]
    images = [start for start in observed if start not in first]
    latents = [start for start in found if plan.variable(start.variable).kind == "real" and start not in observed]
    return (*first, *(_reconstruction(plan, item) for item in plan.reconstructions), *images, *latents)


def start_of(plan: Plan, variable: str | None, source: str | None) -> Start:
    """The first that is of this variable and this distribution.

    Raises:
        RunError: there is none.
    """
    starts = starts_of(plan)
    if not starts:
        raise RunError("no distribution draws anything by networks from an example: leave `examples` out")
    names, sources = (
        list(dict.fromkeys(found)) for found in zip(*((s.variable, s.source) for s in starts), strict=True)
    )
    for asked, known in ((variable, names), (source, sources)):
        if asked is not None and asked not in known:
            hint = nearest(asked, known)
            what = "is drawn by no network" if known is names else "draws nothing by networks"
            raise RunError(
                f"`{asked}` {what} from an example; expected {alternatives(known)}{f'; {hint}' if hint else ''}"
            )
    found = next((s for s in starts if variable in (None, s.variable) and source in (None, s.source)), None)
    if found is None:
        there = alternatives([s.source for s in starts if s.variable == variable])
        raise RunError(f"`{source}` does not draw `{variable}` from an example; expected {there}")
    return found


def chain_of(start: Start, given: Mapping[str, int]) -> Chain:
    """All that a sample depends on, where some categories are given.

    A category is given to the distribution that is sampled and, where that takes it from another, to that one too; to
    those that it takes samples of, where it has no such category itself.

    Raises:
        RunError: a category is not there, or what is read from data is not one example.
    """
    everything = _needed(start, {})
    _check_given(start, everything, given)
    fixed: dict[str, dict[str, int]] = {}
    for name, value in given.items():
        for draw, variable in _places(start, everything, start.draw.name, name):
            fixed.setdefault(draw, {})[variable] = value
    needed = _needed(start, fixed)
    read = [found for found in _read(start.plan, needed) if found.variable not in fixed.get(found.draw, {})]
    example = _one_example(start, read)
    return Chain(start, needed, fixed, example_on(start.plan, example.of, example.variable), example.variable)


@torch.no_grad()
def sample_chain(model: Model, chain: Chain, examples: Tensor, count: int, seed: int) -> dict[str, Tensor]:
    """`count` samples of each of R examples, one after the other: (R * count, ...) by variable.

    Beside the variable everything that it depends on, apart from the examples. Of two samples of one name, as of q and
    of r, it is the one that was drawn later.

    Args:
        model: the networks.
        chain: what is drawn.
        examples: as the model reads them, see `Split`.
        count: of each.
        seed: of the noise.
    """
    like = next(model.parameters())
    generator = torch.Generator(like.device).manual_seed(seed)
    records = Split(examples, torch.zeros(len(examples), dtype=torch.int64), chain.example.kind)
    places = torch.arange(len(examples)).repeat_interleave(count)
    parts = []
    for at in places.split(BATCH):
        drawn: dict[str, Draw] = {}
        for name in _order(chain.start, chain.needed):
            drawn[name] = _drawn(model, chain, name, records.at(at).to(like.device), drawn, generator)
        parts.append(_told(chain, drawn))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _drawn(
    model: Model, chain: Chain, name: str, records: Split, others: Mapping[str, Draw], generator: torch.Generator
) -> Draw:
    """One draw of a distribution of the chain."""
    plan, like, size = chain.start.plan, next(model.parameters()), len(records)
    draw, needed = plan.draw(name), chain.needed[name]
    factors = _factors(draw, needed)
    given = {
        variable: one_hot(torch.full((size,), value, device=like.device), plan.variable(variable).shape[0], like.dtype)
        for variable, value in chain.given.get(name, {}).items()
    }
    data = record_tensors(plan, fields_of(factors), records, like.dtype, names=names_of(factors))
    sites = sampling_sites(plan, factors, size)
    noise = {site.name: draw_noise(site, generator, like.device, like.dtype) for site in sites}
    found = sample_draw(model, draw, data, noise, Mode.EVAL, others, given=given, batch=size, only=needed)
    if draw.enumerated is None or not (needed - given.keys()).issuperset(draw.enumerated.variables):
        return found
    found = in_evaluation(model, plan, draw, found)  # with the most probable value, in whose place one is drawn
    assert found.enumerated is not None
    probabilities = found.enumerated.probabilities
    values = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
    sample = one_hot(values, probabilities.shape[1], like.dtype)
    return replace(found, samples={**found.samples, found.enumerated.variable: sample})


def _told(chain: Chain, drawn: Mapping[str, Draw]) -> dict[str, Tensor]:
    """Of all draws, the last one first, what is no example."""
    told: dict[str, Tensor] = {}
    for name in reversed(list(drawn)):
        for factor in _factors(chain.start.plan.draw(name), chain.needed[name]):
            for variable in set(factor.variables) & chain.needed[name]:
                known = variable in chain.given.get(name, {})
                if known or not isinstance(_origin_of(chain.start.plan, name, variable), FromData):
                    told.setdefault(variable, drawn[name].samples[variable])
    return told


# ------------------------------------------------------------------------------------------------ what it depends on


def _from_data(plan: Plan, variable: str) -> Iterator[DrawPlan]:
    for draw in plan.draws:
        if drawn_by_network(draw, variable) and data_sets_of(plan, draw, variable):
            yield draw


def _reconstruction(plan: Plan, item: ReconstructionPlan) -> Start:
    """p(x|z) at the z that q has inferred of an example, as a distribution of its own."""
    factor = plan.draw(item.generate).factor_of(item.variable)
    taken = tuple(
        FactorPlan("", (name,), (), "", FromDraw(item.infer, name), Density("deterministic"), needed=True)
        for name in factor.given
    )
    name = f"{item.generate} of {item.infer}"  # no name that a spec can have
    draw = DrawPlan(name, plan.draw(item.generate).batch_size, (*taken, factor))
    return Start(item.generate, item.variable, draw, replace(plan, draws=(*plan.draws, draw)))


def _needed(start: Start, given: Mapping[str, Mapping[str, int]]) -> Places:
    """What the sample depends on, by distribution; what is given depends on nothing."""
    found: dict[str, set[str]] = {}
    pending = [(start.draw.name, start.variable)]
    while pending:
        name, variable = pending.pop()
        if variable in found.setdefault(name, set()):
            continue
        found[name].add(variable)
        if variable in given.get(name, {}):
            continue
        factor = start.plan.draw(name).factor_of(variable)
        pending += [(name, condition) for condition in factor.given]
        if isinstance(factor.origin, FromDraw):
            pending.append((factor.origin.draw, factor.origin.variable))
    return {name: frozenset(variables) for name, variables in found.items()}


def _order(start: Start, needed: Places) -> list[str]:
    """The distributions, each after those that it takes samples of."""
    order: list[str] = []

    def visit(name: str) -> None:
        for other in _taken(start.plan.draw(name), needed[name]):
            if other in needed:
                visit(other)
        if name not in order:
            order.append(name)

    visit(start.draw.name)
    return order


def _taken(draw: DrawPlan, variables: frozenset[str]) -> list[str]:
    """The distributions whose samples those of the variables are."""
    origins = [factor.origin for factor in _factors(draw, variables)]
    return list(dict.fromkeys(origin.draw for origin in origins if isinstance(origin, FromDraw)))


def _factors(draw: DrawPlan, variables: frozenset[str]) -> tuple[FactorPlan, ...]:
    return tuple(factor for factor in draw.factors if variables & set(factor.variables))


def _origin_of(plan: Plan, name: str, variable: str) -> object:
    """Where a sample comes from in the end."""
    origin = plan.draw(name).factor_of(variable).origin
    return _origin_of(plan, origin.draw, origin.variable) if isinstance(origin, FromDraw) else origin


class _Read(NamedTuple):
    """What a distribution takes from a record of a data set: an image, a vector or a label, and its own name if any."""

    of: str
    kind: str
    field: str
    variable: str
    draw: str


def _read(plan: Plan, needed: Places) -> list[_Read]:
    """In the order of the variables."""
    order = [variable.name for variable in plan.variables]
    found = [
        _Read(factor.origin.source.of, kind, factor.origin.names.get(variable, ""), variable, name)
        for name, variables in needed.items()
        for factor in _factors(plan.draw(name), variables)
        if isinstance(factor.origin, FromData)
        for variable, kind in factor.origin.fields
        if variable in variables
    ]
    return sorted(found, key=lambda read: order.index(read.variable))


def _one_example(start: Start, read: list[_Read]) -> _Read:
    """The example that is read, where it is one and no label."""
    asked = f"`{start.variable}` of `{start.source}`"
    label = next((found.variable for found in read if found.kind == "label"), None)
    if label is not None:
        raise RunError(
            f"{asked} depends on the label `{label}` of a record, and examples have none; give it, `--set {label}=K`"
        )
    if not read:
        raise RunError(f"{asked} depends on no example where these categories are given: leave `examples` out")
    fields = {(found.of, found.field): f"`{found.variable}`" for found in read}
    if len(fields) > 1:
        what = "several data sets" if len({of for of, _ in fields}) > 1 else "several fields of a record"
        raise RunError(f"{asked} depends on {' and '.join(fields.values())}, of {what}, and `examples` are of one")
    return read[0]


# -------------------------------------------------------------------------------------------------- what is given


def _check_given(start: Start, needed: Places, given: Mapping[str, int]) -> None:
    names = sorted({name for variables in needed.values() for name in variables})
    found = [start.plan.variable(name) for name in names]
    check_categories({v.name: v.shape[0] for v in found if v.kind == "categorical"}, start.variable, given)


def check_categories(sizes: Mapping[str, int], name: str, given: Mapping[str, int]) -> None:
    """The categories that are given are some that a sample of `name` depends on, of these sizes.

    Raises:
        RunError: which is not.
    """
    for variable, value in given.items():
        if variable not in sizes:
            hint = nearest(variable, sizes)
            there = alternatives(sizes) if sizes else f"none: `{name}` depends on no category"
            raise RunError(f"`{variable}` cannot be given, expected {there}{f'; {hint}' if hint else ''}")
        if not 0 <= value < sizes[variable]:
            raise RunError(
                f"`{variable}` has {sizes[variable]} categories, from 0 to {sizes[variable] - 1}, not {value}"
            )


def _places(start: Start, needed: Places, name: str, variable: str) -> set[tuple[str, str]]:
    """Where a category is given: in this distribution and the one that it is taken from, or in those it is made of."""
    draw = start.plan.draw(name)
    if variable in needed[name]:
        origin = draw.factor_of(variable).origin
        before = _places(start, needed, origin.draw, origin.variable) if isinstance(origin, FromDraw) else set()
        return {(name, variable), *before}
    return {place for other in _taken(draw, needed[name]) for place in _places(start, needed, other, variable)}
