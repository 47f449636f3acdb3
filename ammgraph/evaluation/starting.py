"""Networks that begin with what an earlier run has learned, `networks.NAME.from`; the earlier run is left as it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ammgraph.diagnostics import RunError, SpecError, did_you_mean
from ammgraph.evaluation.loading import LoadedModel, load_model
from ammgraph.folders import OPTIONS
from ammgraph.nn.model import Model
from ammgraph.nn.networks import Network
from ammgraph.plan.networks import NetworkPlan
from ammgraph.plan.plan import Plan
from ammgraph.runs import checkpoint
from ammgraph.runs.run import Start


def begin_from(plan: Plan, models: Sequence[Model]) -> dict[str, Start]:
    """Give every network that says `from` the weights that the earlier run's spec says are evaluated.

    Its rows are those of the earlier network, by name and shape, or some of them; a batch norm takes its statistics
    along, a spectral norm its vectors.

    Args:
        plan: of the run that begins.
        models: its weights, and their averages; changed in place.

    Returns:
        By network what it began as.

    Raises:
        RunError: there is no such run, network or row, or a row has another shape.
    """
    loaded: dict[Path, LoadedModel] = {}
    found: dict[str, Start] = {}
    for network in plan.networks:
        if not network.start:
            continue
        folder, name = _place(network)
        if folder not in loaded:
            loaded[folder] = _loaded(network, folder)
        earlier = loaded[folder]
        source = _source(network, earlier, name)
        _check_rows(network, source)
        weights = source.state_dict()
        for model in models:
            _copy(model.network(network.name), weights)
        digest = checkpoint.checksum(earlier.state, earlier.step)
        found[network.name] = Start(str(folder.absolute()), name, earlier.step, digest)
    return found


def _place(network: NetworkPlan) -> tuple[Path, str]:
    """The run, and its network: the path is a run's, or has the network's name behind it."""
    path = Path(network.start).expanduser()
    if not (path / OPTIONS).is_file() and (path.parent / OPTIONS).is_file():
        return path.parent, path.name
    return path, network.name


def _loaded(network: NetworkPlan, folder: Path) -> LoadedModel:
    try:
        return load_model(folder, torch.device("cpu"))
    except (RunError, SpecError) as error:
        first, *lines = error.lines if isinstance(error, RunError) else str(error).splitlines()
        raise RunError(f"`{network.name}` cannot begin as `{network.start}`: {first}", lines) from error


def _source(network: NetworkPlan, earlier: LoadedModel, name: str) -> Network:
    names = [found.name for found in earlier.plan.networks]
    if name not in names:
        hint = did_you_mean(name, names)
        raise RunError(
            f"`{network.name}` cannot begin as `{network.start}`: that run has no network `{name}`"
            + (f"; {hint}" if hint else "")
        )
    return earlier.model.network(name)


def _check_rows(network: NetworkPlan, source: Network) -> None:
    """Every row that has weights has the same in the earlier network.

    Raises:
        RunError: naming every row that has not.
    """
    problems = []
    for row in network.rows:
        own = _shapes(Network(network, 0.1, 1e-5), row.name)
        if not own:
            continue
        if row.name not in source.plans:
            problems.append(f"it has no row `{row.name}`; {did_you_mean(row.name, source.plans)}")
            continue
        there = _shapes(source, row.name)
        problems += [
            f"row `{row.name}` has {_said(own, part)} here and {_said(there, part)} there"
            for part in dict.fromkeys([*own, *there])
            if own.get(part) != there.get(part)
        ]
    if problems:
        raise RunError(f"`{network.name}` cannot begin as `{network.start}`:", problems)


def _shapes(network: Network, row: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.row(row).state_dict().items()}


def _said(shapes: Mapping[str, tuple[int, ...]], part: str) -> str:
    return f"{part} {'x'.join(map(str, shapes[part]))}" if part in shapes else f"no {part}"


@torch.no_grad()
def _copy(network: Network, weights: Mapping[str, torch.Tensor]) -> None:
    for name, value in network.state_dict().items():
        value.copy_(weights[name])
