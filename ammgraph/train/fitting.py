"""What is fitted between two phases: a mixture of normals to inferred values, whose components a layer then holds."""

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor

from ammgraph.diagnostics import RunError, counted
from ammgraph.nn.functions import triangles
from ammgraph.nn.model import Model, Tensors, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.draws import DrawPlan
from ammgraph.plan.networks import NetworkPlan
from ammgraph.plan.queries import ancestry
from ammgraph.plan.turns import FitPlan

RESTARTS = 10  # of which the most likely one is taken

Columns = dict[str, Tensor]  # row -> (n, K), of which column k belongs to component k


@torch.no_grad()
def inferred(model: Model, draw: DrawPlan, variable: str, batches: Iterable[Tensors]) -> Tensor:
    """The variable's values as a distribution infers them, (N, n), in evaluation mode and at the mean of all noise."""
    wanted = frozenset(name for factor in ancestry(draw, variable) for name in factor.variables)
    found = []
    for data in batches:
        size = len(next(iter(data.values())))
        drawn = sample_draw(model, draw, data, {}, Mode.EVAL, batch=size, only=wanted)
        found.append(drawn.samples[variable].flatten(1).double().cpu())
    return torch.cat(found)


def mixture_columns(fit: FitPlan, values: Tensor, seed: int) -> Columns:
    """mu_k and log s_k^2 of the mixture sum_k pi_k N(mu_k, diag s_k^2) that makes values (N, n) most likely.

    Of one with covariances A_k A_k' the numbers of the triangles A_k, row by row, in place of log s_k^2. By expectation
    maximisation from K-means, the best of 10 starts; the weights pi_k are left.

    Raises:
        RunError: there are fewer values than components, or one is not finite.
    """
    if len(values) < fit.categories:
        raise RunError(
            f"`{fit.factor}` has {counted(fit.categories, 'component')}, and there are "
            f"{counted(len(values), 'training example')} to fit them to"
        )
    if not values.isfinite().all():
        raise RunError(f"`{fit.factor}` cannot be fitted: a `{fit.variable}` that `{fit.to}` infers is not finite")
    from sklearn.exceptions import ConvergenceWarning  # 1 second
    from sklearn.mixture import GaussianMixture

    kind = "full" if fit.full else "diag"
    mixture = GaussianMixture(fit.categories, covariance_type=kind, n_init=RESTARTS, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what training starts from need be no optimum
        mixture.fit(values.numpy())
    found = {fit.mean: torch.from_numpy(mixture.means_).T}
    if fit.log_variance:
        covariances = torch.from_numpy(mixture.covariances_)
        found[fit.log_variance] = (triangles(covariances) if fit.full else covariances.log()).T
    return found


@torch.no_grad()
def set_columns(model: Model, network: NetworkPlan, columns: Columns) -> None:
    """Let W e_k + b be column k for every one-hot e_k: W the columns, b = 0."""
    for name, matrix in columns.items():
        row, plan = model.network(network.name).row(name), network.row(name)
        assert row.weight is not None, "a fitted row is a layer"
        by_input = matrix.T if plan.op == "conv_transpose" else matrix
        row.weight.copy_(by_input.reshape(row.weight.shape))
        if row.bias is not None:
            row.bias.zero_()
