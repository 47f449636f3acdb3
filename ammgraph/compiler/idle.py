"""Settings that are read and change nothing: rates of 0, averages that nobody uses, defaults that nobody takes."""

from collections.abc import Iterator, Mapping

from ammgraph.compiler.effect import is_zero
from ammgraph.diagnostics import Diagnostic, Span
from ammgraph.plan.draws import FromData, FromNetwork, FromPrior, Origin
from ammgraph.plan.plan import Plan
from ammgraph.spec.data_sets import held_out
from ammgraph.spec.load import OF_EVERY_KIND
from ammgraph.spec.measures import MEASURES
from ammgraph.spec.schema import DataSource, Spec


def idle_settings(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """Every setting that could as well not be there; written defaults say what holds anyway and are none of these."""
    yield from _rates(spec, plan)
    yield from _averages(spec, plan)
    yield from _untaken_defaults(spec, plan)
    yield from _columns(spec, plan)
    yield from _common_columns(spec, plan)
    for name in spec.data_sets:
        yield from _data(spec, plan, name)
    yield from _compared(spec, plan)
    yield from _repeated(spec)
    shown_for = {name for _, _, number in spec.compared for name in number.when}
    for name in spec.constants:
        if name not in spec.used_constants | shown_for:
            yield _idle(f"nothing uses the constant `{name}`", spec.source.key("constants", name))


def _idle(message: str, span: Span, found: str = "") -> Diagnostic:
    return Diagnostic("no-effect", message, span, found=found)


def _origins(plan: Plan) -> list[Origin]:
    return [factor.origin for draw in plan.draws for factor in draw.factors]


def _rates(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    optimizers = spec.training.optimizers
    for network in plan.networks:
        name = network.name
        path = ("training", "optimizers", name if name in optimizers else "default")
        if not network.learns and name in optimizers:
            reason = "has no parameters to optimize" if network.trainable else "has `trainable: false`"
            yield _idle(f"`{name}` {reason}", spec.source.key(*path))
        elif network.learns and is_zero(spec, network.optimizer.learning_rate):
            message = f"the learning rate of `{name}` is 0 all through the training: it never changes"
            yield _idle(message, spec.source.value(*path, "learning_rate"))


def _averages(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    averages = spec.training.ema
    drawing = {origin.evaluation.network for origin in _origins(plan) if isinstance(origin, FromNetwork)}
    used = [found.name for found in plan.networks if found.ema and found.parameters and found.name in drawing]
    if averages and (spec.evaluation.weights == "last" or not used):
        found = (
            "`evaluation.weights` is `last`"
            if spec.evaluation.weights == "last"
            else "no network that draws a variable is averaged"
        )
        yield _idle("nothing uses the averages of weights", spec.source.key("training", "ema"), found)
        return
    for network in plan.networks:
        if network.name in averages and (not network.learns or (network.ema and network.name not in used)):
            reason = "draws no variable" if network.learns else "has no parameters to train"
            message = f"no evaluation uses the average of `{network.name}`, which {reason}"
            yield _idle(message, spec.source.key("training", "ema", network.name))


def _untaken_defaults(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """`default` beside an entry for every network or distribution."""
    training = spec.training
    learning = [network.name for network in plan.networks if network.learns]
    sizes = training.batch_size if isinstance(training.batch_size, dict) else {}
    for key, named, takers in (("ema", training.ema, learning), ("batch_size", sizes, list(spec.distributions))):
        if "default" in named and all(name in named for name in takers):
            yield _idle(f"nothing takes the `default` of `{key}`", spec.source.key("training", key, "default"))
    own = spec.written["training"]["optimizers"]
    common, path = own.get("default", {}), ("training", "optimizers", "default")
    taken = {key for name in learning for key in _inherited(own.get(name, {}), common)}
    if common and not taken:
        yield _idle("no network takes a key of the `default` optimizer", spec.source.key(*path))
    elif "default" in own:
        for key in common:
            if key not in taken and key != "name":
                yield _idle(f"no network takes the `{key}` of the `default` optimizer", spec.source.key(*path, key))


def _inherited(optimizer: Mapping[str, object], common: Mapping[str, object]) -> set[str]:
    """What an optimizer takes from the default, over which it is merged; of another kind its rate alone."""
    same = optimizer.get("name", common.get("name")) == common.get("name")
    return {key for key in common if key not in optimizer and (same or key in OF_EVERY_KIND)}


def _columns(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    for name, network in spec.networks.items():
        for row in plan.network(name).rows:
            own, path = network.layers[row.name].initializer, ("networks", name, "layers", row.name, "initializer")
            if own is not None and own.biases is not None and not row.bias:
                yield _idle(f"row `{row.name}` of `{name}` has no bias", spec.source.key(*path, "biases"))
        takes = any(row.op is None and row.width is not None for row in network.layers.values())
        if "op" in network.defaults.model_fields_set and not takes:
            span = spec.source.key("networks", name, "defaults", "op")
            yield _idle(f"no row of `{name}` takes the default `op`", span, "rows with an `op` or without a `width`")


def _common_columns(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """`training.initializer` and `training.batchnorm`, which some row must take."""
    training = spec.training
    rows = [(spec.networks[found.name].layers[row.name], row) for found in plan.networks for row in found.rows]
    own = [(written.initializer, row) for written, row in rows if row.linear is not None]
    takes = {
        "weights": any(initializer is None or initializer.weights is None for initializer, _ in own),
        "biases": any(row.bias and (initializer is None or initializer.biases is None) for initializer, row in own),
    }
    for key in training.initializer.model_fields_set:
        if not takes[key]:
            message = f"no row takes the `{key}` of `training.initializer`"
            yield _idle(message, spec.source.key("training", "initializer", key))
    if training.batchnorm.model_fields_set and not any(row.batchnorm for _, row in rows):
        yield _idle("no row is batch-normalised", spec.source.key("training", "batchnorm"))


def _data(spec: Spec, plan: Plan, of: str) -> Iterator[Diagnostic]:
    data, path = spec.data_sets[of], spec.data_path(of)
    drawn = [origin for origin in _origins(plan) if isinstance(origin, FromData) and origin.source.of == of]
    read = {variable for origin in drawn for variable, _ in origin.fields}
    whole = str(DataSource("all", of))
    for name in data.fields:
        another_label = any(kind == "label" and other != name for origin in drawn for other, kind in origin.fields)
        tells = name in data.named_fields or another_label  # else it is scored by the record's label anyway
        scored = tells and any(readout.variable == name for readout in plan.readouts)
        if name not in read and not scored:
            message = f"`{name}` takes no field of a record: no factor of it is drawn by `{whole}`"
            yield _idle(message, spec.source.key(*path, "fields", name))
    if "scale" in data.model_fields_set and not any(plan.variable(name).vector for name in read):
        message = f"no factor draws a real vector by `{whole}`: there is nothing to scale"
        yield _idle(message, spec.source.key(*path, "scale"))
    counted = any(isinstance(origin, FromPrior) and origin.prior.kind.counts_labels for origin in _origins(plan))
    if data.labeled is not None and not counted and all(origin.source.part == "all" for origin in drawn):
        found = f"no factor is drawn by `{whole}.labeled`, `{whole}.unlabeled` or `empirical`"
        yield _idle("nothing uses the labelled subset", spec.source.key(*path, "labeled"), found)
    chosen = data.labeled is not None and data.labeled.count != "all"
    splits = data.validation > 0 and held_out(data.dataset) == "random"
    if "seed" in data.model_fields_set and not chosen and not splits:
        message = "nothing is split at random: no example is held out or labelled"
        yield _idle(message, spec.source.key(*path, "seed"))


def _repeated(spec: Spec) -> Iterator[Diagnostic]:
    """A name in a list of names says something once."""
    lists: list[tuple[tuple[str | int, ...], tuple[str, ...] | None]] = [
        (("games", name, "trains"), game.trains) for name, game in spec.games.items()
    ]
    lists += [(("terms", name, "trains"), term.trains) for name, term in spec.terms.items()]
    for path, phase in spec.training.stages:
        for index, turn in enumerate(phase.schedule or ()):
            lists += [((*path, "schedule", index, key), getattr(turn, key)) for key in ("games", "terms")]
    for path, names in lists:
        for place, name in enumerate(names or ()):
            if name in (names or ())[:place]:
                yield _idle(f"`{name}` stands twice in `{path[-1]}`", spec.source.value(*path, place))


def _compared(spec: Spec, plan: Plan) -> Iterator[Diagnostic]:
    """A number to compare with stands beside one of the model's own, of another kind with labels than without."""
    kinds = {
        of for readout in plan.readouts for of in (("classes",) if readout.supervised else ("clusters", "assigned"))
    }
    kinds |= {"features", "clusters", "assigned"} if plan.features is not None else set()
    measured = {name for name, measure in MEASURES.items() if measure.of in kinds}
    for section, index, number in spec.compared:
        if number.metric not in measured:
            found = f"it gives {', '.join(f'`{metric}`' for metric in sorted(measured))}" if measured else ""
            message = f"no evaluation of this model gives a `{number.metric}` to compare with"
            yield _idle(message, spec.source.value(section, index, "metric"), found)
