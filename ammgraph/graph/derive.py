"""What follows from a factorization for free: densities, the Bayes classifier of eq. 19, what can be read off a model."""

from collections.abc import Mapping, Sequence

from ammgraph.graph.factors import Variables
from ammgraph.graph.plan import (
    BayesPlan,
    Density,
    DrawPlan,
    FactorPlan,
    FromData,
    FromDraw,
    FromNetwork,
    FromPrior,
    ReadoutPlan,
    ReconstructionPlan,
    RowPlan,
)
from ammgraph.spec.notation import Input, Named
from ammgraph.spec.schema import CATEGORICAL_ACTIVATIONS, Mixture


def density_of(row: RowPlan, rows: Mapping[str, RowPlan]) -> Density:
    """The density that the kind of a row gives: `a + expn(b)` is N(a, exp(b)), a softmax is categorical, ... (R16)."""
    if row.activation is not None and row.activation.name in CATEGORICAL_ACTIVATIONS:
        return Density("categorical", mean=_without_noise(row.input, rows) if row.op is None else None)
    if row.activation is not None and row.activation.name == "sigmoid":
        return Density("bernoulli")
    if (
        row.op is None
        and row.activation is None
        and not row.batchnorm
        and row.pool is None
        and len(row.input.parts) == 1
    ):
        noisy = [atom for atom in row.input.names if _is_noise(atom, rows)]
        mean = _without_noise(row.input, rows)
        if len(noisy) == 1 and mean is not None:
            return Density("normal", mean=mean, log_variance=noisy[0].name)
    return Density("deterministic")


def plan_readouts(draws: Sequence[DrawPlan], variables: Variables) -> tuple[ReadoutPlan, ...]:
    """Every categorical variable that some distribution infers from the data by a network, and how else it can be read."""
    readouts = []
    for name, variable in variables.items():
        if variable.kind != "categorical":
            continue
        inferring = [draw for draw in draws if draw.produces(name) and _infers(draw, name)]
        if not inferring:
            continue
        supervised = any(draw.produces(name) and isinstance(draw.factor_of(name).origin, FromData) for draw in draws)
        readouts.append(ReadoutPlan(name, inferring[0].name, supervised, _bayes(name, draws, inferring[0])))
    return tuple(readouts)


def plan_reconstructions(draws: Sequence[DrawPlan], variables: Variables) -> tuple[ReconstructionPlan, ...]:
    """data -> latents -> data, where one distribution infers all that another's network for the data reads."""
    found = []
    for name, variable in variables.items():
        if variable.kind != "image":
            continue
        generating = [
            draw for draw in draws if draw.produces(name) and isinstance(draw.factor_of(name).origin, FromNetwork)
        ]
        inferring = [
            draw for draw in draws if draw.produces(name) and isinstance(draw.factor_of(name).origin, FromData)
        ]
        for generate in generating[:1]:
            given = generate.factor_of(name).given
            for infer in inferring[:1]:
                if given and all(infer.produces(latent) for latent in given):
                    found.append(ReconstructionPlan(name, infer.name, generate.name))
    return tuple(found)


def _is_noise(atom: Named, rows: Mapping[str, RowPlan]) -> bool:
    row = rows.get(atom.name)
    return row is not None and row.activation is not None and row.activation.name == "expn"


def _without_noise(read: Input, rows: Mapping[str, RowPlan]) -> Input | None:
    """The input less its `expn` summands; None where nothing is left."""
    parts = tuple(
        tuple(atom for atom in part if not (isinstance(atom, Named) and _is_noise(atom, rows))) for part in read.parts
    )
    return Input(parts) if all(parts) else None


def _infers(draw: DrawPlan, variable: str) -> bool:
    """The variable is drawn by a network, and the distribution starts from data."""
    return isinstance(draw.factor_of(variable).origin, FromNetwork) and any(
        isinstance(factor.origin, FromData) for factor in draw.factors
    )


def _bayes(variable: str, draws: Sequence[DrawPlan], infer: DrawPlan) -> BayesPlan | None:
    for draw in draws:
        if not draw.produces(variable) or not isinstance(draw.factor_of(variable).origin, FromPrior):
            continue
        evidence = [
            factor.variables[0]
            for factor in draw.factors
            if variable in factor.given and _is_evidence(factor, variable) and infer.produces(factor.variables[0])
        ]
        if evidence:
            return BayesPlan(variable, draw.name, tuple(evidence))
    return None


def _is_evidence(factor: FactorPlan, variable: str) -> bool:
    """p(z|..., y) has a closed density in z, and its conditions besides y can be inferred."""
    mixture = isinstance(factor.origin, FromPrior) and isinstance(factor.origin.prior, Mixture)
    return (
        (mixture or factor.density.kind == "normal")
        and not isinstance(factor.origin, FromDraw)
        and variable in factor.given
    )
