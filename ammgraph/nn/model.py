"""`build`: Plan -> modules; and the pure functions that draw from distributions and pass discriminators.

Everything random is handed in by name (R8): the same noise gives the same numbers.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ammgraph.data.records import Split, scale_images
from ammgraph.formulas.expression import Leaf, Square
from ammgraph.nn.distributions import Distribution
from ammgraph.nn.functions import each, every_value, repeated_parts
from ammgraph.nn.losses import value
from ammgraph.nn.networks import Mode, Network, evaluate_input, raw
from ammgraph.plan.draws import DrawPlan, FactorPlan, FromBayes, FromData, FromDraw, FromNetwork, FromPrior, Site
from ammgraph.plan.networks import VariablePlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import PassPlan
from ammgraph.spec.priors import CENTRE, NOISE, RandomMeans

Tensors = Mapping[str, Tensor]


class Model(nn.Module):
    """The networks of a plan by name, and the constants of its priors.

    A prior's constant is stored by its site's name: the probabilities of a categorical variable, shape (K,), or the
    means of a fixed mixture, shape (K, n).
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._names = [network.name for network in plan.networks]
        self.networks = nn.ModuleDict(
            {f"network_{network.name}": Network(network, plan.momentum, plan.epsilon) for network in plan.networks}
        )

    def network(self, name: str) -> Network:
        """The network of that name."""
        network = self.networks[f"network_{name}"]
        assert isinstance(network, Network)
        return network

    @cached_property
    def parameters_of(self) -> dict[str, list[nn.Parameter]]:
        """Network -> its parameters, in the order of its rows."""
        return {name: list(self.network(name).parameters()) for name in self._names}

    def constant(self, site: str) -> Tensor:
        """The constant of the prior that draws at `site`."""
        return self.get_buffer(_key(site))


@dataclass(frozen=True)
class Enumerated:
    """A variable that has every value, and the logits of their probabilities, (B, K)."""

    variable: str
    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """Of the values, (B, K)."""
        return torch.softmax(self.logits, dim=1)


@dataclass(frozen=True)
class Draw:
    """One draw of a distribution: a sample of each variable, and every row computed on the way, by evaluation.

    A variable that is enumerated has no sample: of `enumerated` every value is taken with each example.
    """

    samples: dict[str, Tensor]
    rows: dict[str, dict[str, Tensor]]
    batch: int
    enumerated: Enumerated | None = None

    def over(self, variable: str, size: int, names: Iterable[str], like: Tensor) -> dict[str, Tensor]:
        """Samples of each example with each of the K values of a variable, (B K, ...), and those values."""
        found = {name: each(self.samples[name], size) for name in names if name in self.samples and name != variable}
        return found | {variable: every_value(size, self.batch, like)}

    def read(self, variables: Collection[str]) -> dict[str, Tensor]:
        """Samples of variables; where one of them is enumerated, with every value of it."""
        if self.enumerated is None or self.enumerated.variable not in variables:
            return {name: self.samples[name] for name in variables}
        logits = self.enumerated.logits
        return self.over(self.enumerated.variable, logits.shape[1], variables, logits)

    def examples(self, variables: Collection[str]) -> int:
        """How many examples `read` gives."""
        if self.enumerated is None or self.enumerated.variable not in variables:
            return self.batch
        return self.enumerated.logits.numel()

    def logits(self, factor: FactorPlan) -> Tensor:
        """Those of a category that a network draws, without noise, or that is enumerated; (B, K)."""
        if self.enumerated is not None and self.enumerated.variable in factor.variables:
            return self.enumerated.logits
        assert isinstance(factor.origin, FromNetwork)
        rows, mean = self.rows[factor.origin.evaluation.name], factor.density.mean
        return (rows[raw(factor.origin.row)] if mean is None else evaluate_input(mean, rows)).flatten(1)


def build(plan: Plan, generator: torch.Generator, frequencies: Tensor | Mapping[str, Tensor] | None = None) -> Model:
    """The modules of a plan, on the CPU, initialised from `generator`.

    Args:
        plan: a compiled spec.
        generator: the stream of initialisation.
        frequencies: class frequencies of the labelled examples, shape (classes,), for `empirical` priors; by variable
            where these count several labels.
    """
    model = Model(plan)
    for network in plan.networks:
        model.network(network.name).initialize(generator)
        model.network(network.name).requires_grad_(network.trainable)
    for draw in plan.draws:
        for factor in draw.factors:
            if isinstance(factor.origin, FromPrior):
                variable = plan.variable(factor.variables[0])
                own = frequencies.get(variable.name) if isinstance(frequencies, Mapping) else frequencies
                constant = _constant(factor.origin, variable, own, plan)
                if constant is not None:
                    model.register_buffer(_key(factor.origin.site.name), constant)
    return model


def sample_draw(
    model: Model,
    draw: DrawPlan,
    data: Tensors,
    noise: Tensors,
    mode: Mode,
    others: Mapping[str, Draw] | None = None,
    *,
    given: Tensors | None = None,
    batch: int | None = None,
    only: frozenset[str] | None = None,
) -> Draw:
    """Draw the needed variables of a distribution, each once, in the plan's order.

    Args:
        model: the networks.
        draw: the distribution.
        data: variable -> tensor, for the factors that come from data.
        noise: random tensors by site; in `Mode.EVAL` an absent one means the mean.
        mode: batch norm, dropout and noise on inputs.
        others: draws whose samples this one takes.
        given: variables that are handed in and not drawn.
        batch: number of examples, where neither data nor noise decides it.
        only: the variables to draw; those that a training step needs unless given.
    """
    samples: dict[str, Tensor] = dict(given or {})
    rows: dict[str, dict[str, Tensor]] = {}
    size = batch or draw.batch_size
    for factor in draw.factors:
        wanted = factor.needed if only is None else not only.isdisjoint(factor.variables)
        if not wanted or all(variable in samples for variable in factor.variables):
            continue
        origin = factor.origin
        if isinstance(origin, FromBayes):
            continue  # its probabilities follow from samples, see `nn.enumeration`
        if isinstance(origin, FromData):
            taken = (variable for variable in factor.variables if only is None or variable in only)
            samples |= {variable: data[variable] for variable in taken if variable not in samples}
        elif isinstance(origin, FromDraw):
            assert others is not None
            samples[factor.variables[0]] = others[origin.draw].samples[origin.variable]
        elif isinstance(origin, FromPrior):
            absent = mode is Mode.EVAL and origin.site.name not in noise
            drawn = _mean_noise(model, origin.site, size) if absent else noise[origin.site.name]
            samples[factor.variables[0]] = draw_prior(model, origin, drawn, samples)
        else:
            values = rows.setdefault(origin.evaluation.name, {})
            read = {local: samples[variable] for local, variable in origin.evaluation.bindings if variable in samples}
            values |= {local: value for local, value in read.items() if local not in values}
            if origin.enumerated:
                _compute_row(model, origin, values, size, noise, mode)
            else:
                samples[factor.variables[0]] = _draw_row(model, origin, values, size, noise, mode)
    return Draw(samples, rows, size)


@dataclass(frozen=True)
class Parts:
    """Examples of each draw in a batch, and how many logits each example has: one, or one for every value."""

    sizes: tuple[int, ...]
    times: tuple[int, ...]

    @property
    def logits(self) -> tuple[int, ...]:
        """How many logits each draw has."""
        return tuple(size * count for size, count in zip(self.sizes, self.times, strict=True))


def critic_logits(
    model: Model, found: PassPlan, inputs: Tensors, noise: Tensors, mode: Mode, *, parts: Parts | None = None
) -> Tensor:
    """d(x, y, z), the discriminator's logit, shape (B,).

    Args:
        model: the networks.
        found: the pass.
        inputs: by local name, as `critic_inputs` gives them.
        noise: random tensors by site.
        mode: batch norm, dropout and noise on inputs.
        parts: of the batch, where some rows are shared by the values of an enumerated variable.
    """
    values = dict(inputs)
    network, name = model.network(found.evaluation.network), found.evaluation.name
    rows, batch = found.rows, len(next(iter(values.values())))
    if found.shared:
        assert parts is not None
        network.compute(found.shared, values, sum(parts.sizes), noise, name, mode)
        rows, batch = tuple(row for row in rows if row not in found.shared), sum(parts.logits)
        read = dict.fromkeys(local for row in rows for local in network.plans[row].reads)
        once = [local for local in read if local in values and len(values[local]) < batch]
        values |= {local: repeated_parts(values[local], parts.sizes, parts.times) for local in once}
    network.compute(rows, values, batch, noise, name, mode)
    return values[found.row].flatten()


def critic_inputs(critic: PassPlan, draws: Mapping[str, Draw]) -> dict[str, Tensor]:
    """The samples that a discriminator reads, of all its draws, joined along the batch; by local name.

    Those of an enumerated variable are of each example with each value, and so are the others where it shares no rows.
    """
    bindings, found = dict(critic.evaluation.bindings), [draws[name] for name in critic.draws]
    over = {draw.enumerated.variable for draw in found if draw.enumerated is not None}
    once = [draw.samples for draw in found]
    every = [draw.read(bindings.values()) for draw in found]
    return {
        local: torch.cat([part[variable] for part in (once if critic.shared and variable not in over else every)])
        for local, variable in bindings.items()
    }


def critic_parts(critic: PassPlan, draws: Mapping[str, Draw]) -> Parts:
    """What the batch of a pass is made of."""
    found, variables = [draws[name] for name in critic.draws], dict(critic.evaluation.bindings).values()
    sizes = tuple(draw.batch for draw in found)
    return Parts(sizes, tuple(draw.examples(variables) // draw.batch for draw in found))


def draw_prior(model: Model, origin: FromPrior, noise: Tensor, samples: Tensors) -> Tensor:
    """A sample of a prior from its noise: location and scale, or the inverse distribution function of categories."""
    if origin.prior.place is not None:
        leaves: dict[Leaf | Square, Tensor | Distribution] = {NOISE: noise}
        if origin.given:
            leaves[CENTRE] = given_means(model, origin, samples, noise.dtype)[:, :, None, None]
        return value(origin.prior.sample(), leaves)
    probabilities = model.constant(origin.site.name)
    cumulated = probabilities.cumsum(0)
    # Rounding may leave the sum below the largest uniform number, and that number to a category of probability 0.
    index = torch.searchsorted(cumulated / cumulated[-1], noise.to(probabilities.dtype), right=True)
    return one_hot(index.clamp_(max=len(probabilities) - 1), len(probabilities), noise.dtype)


def given_means(model: Model, origin: FromPrior, samples: Tensors, dtype: torch.dtype) -> Tensor:
    """The mean of each example's component of a mixture, (B, n)."""
    return samples[origin.given].flatten(1).to(dtype) @ model.constant(origin.site.name).to(dtype)


def record_tensors(
    plan: Plan,
    fields: Mapping[str, str],
    records: Split,
    dtype: torch.dtype,
    at: Tensor | slice = slice(None),
    names: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Tensor]:
    """The variables that are `fields` of records, from records as they are stored, `at` some positions.

    `names` are those of fields that have one.
    """
    found = {}
    for name, field in fields.items():
        variable, values = plan.variable(name), records.of(field, names.get(name, ""))[at]
        if field == "image":
            low, high = variable.range or (0.0, 1.0)
            found[name] = scale_images(values, low, high, dtype)
        elif field == "vector":
            found[name] = values.to(dtype)
        else:
            found[name] = one_hot(values, variable.shape[0], dtype)
    return found


def one_hot(labels: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Labels (B,) as one-hot vectors (B, size, 1, 1). `F.one_hot` would fetch their range from the device."""
    vectors = torch.zeros(len(labels), size, dtype=dtype, device=labels.device)
    return vectors.scatter_(1, labels[:, None], 1.0)[:, :, None, None]


def draw_noise(site: Site, generator: torch.Generator, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The random tensor of a site: shape (batch, *shape), from its stream's generator."""
    shape = (site.batch, *site.shape)
    if site.kind == "mask":
        return _mask(shape, site.dropout, generator, device)
    if site.kind == "normal":
        return torch.randn(shape, generator=generator, device=device, dtype=dtype)
    uniform = torch.rand(shape, generator=generator, device=device, dtype=dtype)
    if site.kind == "gumbel":
        return -torch.log(-torch.log(uniform.clamp_(min=torch.finfo(dtype).tiny, max=1 - torch.finfo(dtype).eps)))
    return uniform


def _mean_noise(model: Model, site: Site, batch: int) -> Tensor:
    """The noise at which a prior gives its mean; a category, which has none, is the median one."""
    like = next(model.parameters())
    return like.new_full((batch, *site.shape), 0.0 if site.kind == "normal" else 0.5)


def _mask(shape: tuple[int, ...], dropout: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """True with probability 1 - dropout, to 2^-16: four elements a 64-bit word, for the CPU draws words one by one."""
    count = 1
    for size in shape:
        count *= size
    words = torch.empty((count + 3) // 4, dtype=torch.int64, device=device)
    words.random_(-(2**63), None, generator=generator)
    threshold = round(dropout * 2**16) - 2**15
    # 0 below the threshold, else 1, in 16-bit numbers: comparing, and converting booleans, costs four times as much.
    kept = words.view(torch.int16)[:count].clamp_(threshold - 1, threshold).sub_(threshold - 1)
    mask = kept.to(torch.uint8).view(torch.bool)
    if len(shape) < 3:
        return mask.view(shape)
    # In memory as the tensors that it multiplies: channels last.
    return mask.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)


def _draw_row(
    model: Model, origin: FromNetwork, values: dict[str, Tensor], batch: int, noise: Tensors, mode: Mode
) -> Tensor:
    _compute_row(model, origin, values, batch, noise, mode)
    return values[origin.row]


def _compute_row(
    model: Model, origin: FromNetwork, values: dict[str, Tensor], batch: int, noise: Tensors, mode: Mode
) -> None:
    """Compute the row that a factor draws and all before it; one that is enumerated up to its activation."""
    evaluation = origin.evaluation
    # Factors before this one may not have been drawn; a row that is folded into its reader leaves its raw value alone.
    rows = [row for row in origin.closure if row not in values and raw(row) not in values]
    stops = (origin.row,) if origin.enumerated else ()
    model.network(evaluation.network).compute(rows, values, batch, noise, evaluation.name, mode, stops)


def _constant(origin: FromPrior, variable: VariablePlan, frequencies: Tensor | None, plan: Plan) -> Tensor | None:
    kind, size = origin.prior.kind, variable.shape[0]
    if kind.means is not None:
        means = kind.means(origin.prior)
        if isinstance(means, RandomMeans):
            generator = torch.Generator().manual_seed(means.seed)
            return means.normal * torch.randn(plan.variable(origin.given).shape[0], size, generator=generator)
        return torch.tensor(means, dtype=torch.float32)
    if origin.prior.place is not None:
        return None
    assert kind.probabilities is not None
    assert frequencies is not None or not kind.counts_labels, "class frequencies of the labelled examples are needed"
    counted = [] if frequencies is None else frequencies.tolist()
    probabilities = torch.tensor(kind.probabilities(origin.prior, size, counted), dtype=torch.float64)
    return (probabilities / probabilities.sum()).float()


def _key(site: str) -> str:
    return "constant_" + site.replace("/", "__")
