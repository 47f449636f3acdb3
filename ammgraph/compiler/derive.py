"""What follows from a factorization for free: densities, the Bayes classifier of eq. 19, what a model can tell."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from ammgraph.plan.draws import Density, DrawPlan, FactorPlan, FromBayes, FromData, FromNetwork, FromPrior
from ammgraph.plan.networks import RowPlan, VariablePlan
from ammgraph.plan.plan import BayesPlan, Plan, ReadoutPlan, ReconstructionPlan
from ammgraph.plan.queries import data_sets_of
from ammgraph.spec.notation import Input, Named, Zeros


def density_of(name: str, rows: Mapping[str, RowPlan], stops: frozenset[str]) -> Density:
    """The density that the kind of a row gives: `a + expn(b)` is N(a, exp b), a softmax is categorical, ... (R16).

    Args:
        name: the row that is drawn.
        rows: the rows of its network.
        stops: rows that hold samples of variables, which are given.
    """
    row = rows[name]
    kind = None if row.activation is None else row.activation.kind.density
    plain = row.passes_on and not row.resized
    noisy = [atom for atom in row.input.names if _is_noise(atom, rows)]
    mean = _without_noise(row.input, rows, row.in_shape[0])
    if kind == "categorical":
        return Density("categorical", mean=mean if plain else None)
    if kind == "bernoulli" and not row.resized:
        return Density("bernoulli")
    if plain and row.activation is None and len(noisy) == 1 and mean is not None:
        noise = rows[noisy[0].name]
        read = [*(atom.name for atom in mean.names), *noise.reads]
        if noise.out_shape == row.out_shape and not noise.resized and not _reads_noise(read, rows, stops):
            assert noise.activation is not None
            return Density("normal", mean=mean, log_variance=noise.name, full=noise.activation.kind.triangle)
    return Density("implicit" if _reads_noise([name], rows, stops - {name}) else "deterministic")


def noise_below(name: str, rows: Mapping[str, RowPlan], stops: frozenset[str]) -> frozenset[str]:
    """The rows of noise, `expn` or `cholesky`, that a row is made of, given the samples in `stops`."""
    seen: set[str] = set()
    open_names = [name]
    while open_names:
        found = open_names.pop()
        if found in rows and found not in seen and (found == name or found not in stops):
            seen.add(found)
            open_names += rows[found].reads
    return frozenset(found for found in seen if _is_noise(Named(found), rows))


def plan_readouts(
    draws: Sequence[DrawPlan], variables: Mapping[str, VariablePlan], named: Collection[str]
) -> tuple[ReadoutPlan, ...]:
    """Every categorical variable that a distribution infers from the data by a network, and how else it can be read.

    One that a distribution draws by chance beside the data, as which way each image is turned, says nothing of them,
    unless it is among the variables that are `named` fields of a record.
    """
    readouts = []
    for name, variable in variables.items():
        if variable.kind != "categorical":
            continue
        inferring = [draw for draw in draws if draw.produces(name) and _infers(draw, name)]
        if not inferring:
            continue
        supervised = any(draw.produces(name) and isinstance(draw.factor_of(name).origin, FromData) for draw in draws)
        by_chance = any(draw.produces(name) and _is_by_chance(draw, name) for draw in draws)
        if by_chance and not supervised and name not in named:
            continue
        readouts.append(ReadoutPlan(name, inferring[0].name, supervised, _bayes(name, draws, inferring[0])))
    return tuple(readouts)


def plan_further_readouts(plan: Plan) -> tuple[ReadoutPlan, ...]:
    """The same of each further data set: what the first distribution infers from its records alone."""

    def of_each(readout: ReadoutPlan) -> Iterator[ReadoutPlan]:
        known = [data_sets_of(plan, plan.draw(readout.draw), readout.variable)]
        for draw in plan.draws:
            if draw.produces(readout.variable) and _infers(draw, readout.variable):
                of = data_sets_of(plan, draw, readout.variable)
                if len(of) == 1 and of not in known:
                    known.append(of)
                    bayes = _bayes(readout.variable, plan.draws, draw)
                    yield replace(readout, draw=draw.name, bayes=bayes, further=True)

    return tuple(found for readout in plan.readouts for found in of_each(readout))


def plan_reconstructions(
    draws: Sequence[DrawPlan], variables: Mapping[str, VariablePlan]
) -> tuple[ReconstructionPlan, ...]:
    """Examples that one distribution takes from data and infers latents of, and that another draws from them."""
    found = []
    for name, variable in variables.items():
        if variable.observed:
            drawing = [draw for draw in draws if draw.produces(name)]
            pairs = (
                ReconstructionPlan(name, infer.name, generate.name)
                for generate in drawing
                for infer in drawing
                if isinstance(generate.factor_of(name).origin, FromNetwork)
                and isinstance(infer.factor_of(name).origin, FromData)
                and generate.factor_of(name).given
                and all(infer.produces(latent) for latent in generate.factor_of(name).given)
            )
            found += [pair for pair in [next(pairs, None)] if pair is not None]
    return tuple(found)


def _is_noise(atom: Named, rows: Mapping[str, RowPlan]) -> bool:
    row = rows.get(atom.name)
    return row is not None and row.activation is not None and row.activation.kind.density == "normal"


def _without_noise(read: Input, rows: Mapping[str, RowPlan], channels: int) -> Input | None:
    """The input less its `expn` summands: zeros where nothing is left, None where noise is one part of several."""
    parts = tuple(
        tuple(atom for atom in part if not (isinstance(atom, Named) and _is_noise(atom, rows))) for part in read.parts
    )
    if parts == ((),):
        return Input(((Zeros(channels),),))
    return Input(parts) if all(parts) else None


def _reads_noise(names: Sequence[str], rows: Mapping[str, RowPlan], stops: frozenset[str]) -> bool:
    """Some row that these depend on is random, given the samples in `stops`."""
    seen: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if name in seen or name in stops or name not in rows:
            continue
        seen.add(name)
        row = rows[name]
        if row.random:
            return True
        open_names += row.reads
    return False


def _infers(draw: DrawPlan, variable: str) -> bool:
    """The variable is drawn by a network, or has a posterior, and the distribution starts from data."""
    return isinstance(draw.factor_of(variable).origin, FromNetwork | FromBayes) and _starts_from_data(draw)


def _is_by_chance(draw: DrawPlan, variable: str) -> bool:
    """The variable is drawn by its prior, and the distribution starts from data."""
    return isinstance(draw.factor_of(variable).origin, FromPrior) and _starts_from_data(draw)


def _starts_from_data(draw: DrawPlan) -> bool:
    return any(isinstance(factor.origin, FromData) for factor in draw.factors)


def _bayes(variable: str, draws: Sequence[DrawPlan], infer: DrawPlan) -> BayesPlan | None:
    for draw in draws:
        if not draw.produces(variable) or not _is_prior(draw.factor_of(variable)):
            continue
        evidence = [
            factor.variables[0]
            for factor in draw.factors
            if variable in factor.given
            and _is_evidence(factor)
            and all(map(infer.produces, factor.variables + factor.given))
        ]
        while told := [name for name in evidence if _is_told_more(draw, variable, name, evidence)]:
            evidence = [name for name in evidence if name not in told]
        if evidence:
            return BayesPlan(variable, draw.name, tuple(evidence))
    return None


def _is_told_more(draw: DrawPlan, variable: str, name: str, evidence: Sequence[str]) -> bool:
    """Whether a condition of the evidence says something of the variable itself, which its density leaves out.

    So p(a|x,y,z) is none where p(x|y,z) is: p(y|a,x,z) is more than p(y) p(a|x,y,z).
    """

    def depends(other: str) -> bool:
        if other == variable or other in evidence or not draw.produces(other):
            return False
        return any(one == variable or depends(one) for one in draw.factor_of(other).given)

    return any(map(depends, draw.factor_of(name).given))


def _is_prior(factor: FactorPlan) -> bool:
    """The factor has probabilities without conditions: by a prior, or by a network that reads no variable."""
    learned = isinstance(factor.origin, FromNetwork) and factor.density.kind == "categorical" and not factor.given
    return learned or isinstance(factor.origin, FromPrior)


def _is_evidence(factor: FactorPlan) -> bool:
    """The factor has a closed density."""
    density = factor.origin.prior.density if isinstance(factor.origin, FromPrior) else factor.density.kind
    return density == "normal"
