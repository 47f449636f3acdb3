"""A plan as plain text, in stable order with aligned columns: what `show --plan` prints and goldens hold."""

from collections.abc import Iterable, Mapping, Sequence

from ammgraph.diagnostics import counted
from ammgraph.formulas.expression import Expression, Leaf, Logit, Scored, Slope, Support, Value, Vat
from ammgraph.formulas.functions import FUNCTIONS, functional_text
from ammgraph.formulas.notation import PRODUCT, SUM, Spelling, written
from ammgraph.formulas.objectives import Role
from ammgraph.layers.operations import sides_text
from ammgraph.plan.draws import Density, FactorPlan, FromBayes, FromData, FromDraw, FromPrior
from ammgraph.plan.games import game_value, penalty_value, weighed
from ammgraph.plan.networks import NetworkPlan, RowPlan, VariablePlan, shape_text
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import on_data_set, record_kind
from ammgraph.plan.turns import FitPlan, GamePlan, PassPlan, PhasePlan, TermPlan, TurnPlan
from ammgraph.spec.notation import number_text, side_text
from ammgraph.spec.schema import RandomMeans, Schedule
from ammgraph.spec.terms import scaled_text


def plan_text(plan: Plan) -> str:
    """The whole plan: data, variables, distributions, networks, games, one step.

    No title, seed, path, length of training or time of evaluation.
    """
    sections = [
        data_text(plan),
        variables_text(plan),
        distributions_text(plan),
        *(network_text(network) for network in plan.networks),
        *(game_text(plan, game) for game in plan.games),
        *(term_text(plan, term) for term in plan.terms),
        step_text(plan),
    ]
    return "\n\n".join(sections) + "\n"


def data_text(plan: Plan) -> str:
    """Where examples come from, what is held out and labelled, how vectors are scaled, which weights are evaluated."""
    kept = "" if plan.evaluation.keep is None else f", of the {plan.evaluation.keep}"
    found = [f"{name} = {_data_set_text(on_data_set(plan, name))}".removeprefix(" = ") for name in plan.data_names]
    return f"data    {'; '.join(found)}; the {plan.evaluation.weights} weights are evaluated{kept}"


def _data_set_text(plan: Plan) -> str:
    labeled = plan.data.labeled
    parts = [plan.data.dataset, f"{plan.data.validation:,} held out"]
    parts += [] if labeled is None else [f"{labeled.count} labelled ({labeled.choice})"]
    if record_kind(plan) == "vector":
        scales = {"standardize": "to mean 0 and standard deviation 1", "minmax": "to [0, 1]", "none": "not at all"}
        parts.append(f"vectors scaled {scales[plan.data.scale]}")
    return ", ".join(parts)


def variables_text(plan: Plan) -> str:
    """One line a variable: name, kind, shape, range; or that it is a vector of the data."""
    rows = [
        (item.name, item.kind, shape_text(item.shape), "of the data" if item.vector else range_text(item))
        for item in plan.variables
    ]
    return "\n".join(["variables", *table(rows)])


def range_text(variable: VariablePlan) -> str:
    """`[-1, 1]`, or nothing."""
    return "" if variable.range is None else f"[{', '.join(map(number_text, variable.range))}]"


def distributions_text(plan: Plan) -> str:
    """Each distribution as a product, and one line a factor: what draws it, its density, whether a step needs it."""
    lines = ["distributions"]
    for draw in plan.draws:
        lines.append(f"  {draw.name} = {' '.join(factor.text for factor in draw.written)}    batch {draw.batch_size}")
        rows = [
            (factor.text, factor.value, density_text(factor.density), "" if factor.needed else "never drawn in a step")
            for factor in draw.written
        ]
        lines += ["  " + line for line in table(rows)]
        lines += [f"      {line}" for factor in draw.written for line in _means(factor)]
    for readout in plan.every_readout:
        kind = "classification" if readout.supervised else "clustering"
        bayes = (
            ""
            if readout.bayes is None
            else f"; Bayes rule in {readout.bayes.draw} from {', '.join(readout.bayes.evidence)}"
        )
        lines.append(f"  reads {readout.variable} off {readout.draw} ({kind}){bayes}")
    lines += [f"  reconstructs {item.variable}: {item.infer}, then {item.generate}" for item in plan.reconstructions]
    lines += [] if plan.features is None else [f"  judges the features {plan.features.name} at {plan.features.draw}"]
    return "\n".join(lines)


def network_text(network: NetworkPlan, memory: Mapping[str, str] | None = None) -> str:
    """A layer table with shapes, parameters, multiply-adds of one example and, where it is given, memory of a step."""
    head = (
        f"network {network.name}: {counted(network.parameters, 'parameter')}, {network.multiply_adds:,} multiply-adds"
    )
    rows: list[tuple[str, ...]] = [("row", "input", "layer", "output", "parameters", "multiply-adds")]
    rows += [(name, "-", "", shape_text(shape), "", "") for name, shape in network.inputs]
    rows += [
        (
            row.name,
            str(row.input),
            layer_text(row),
            shape_text(row.out_shape),
            _count(row.parameters),
            _count(row.multiply_adds),
        )
        for row in network.rows
    ]
    if memory is not None:
        column = ["memory", *("" for _ in network.inputs), *(memory.get(row.name, "-") for row in network.rows)]
        rows = [(*row, cell) for row, cell in zip(rows, column, strict=True)]
    return "\n".join([head, f"  {training_text(network)}", *table(rows, right=(4, 5, 6))])


def layer_text(row: RowPlan) -> str:
    """The columns of a row, in the order in which they act."""
    parts = [f"noise {number_text(row.noise)}"] if row.noise else []
    parts += [f"dropout {number_text(row.dropout)}"] if row.dropout else []
    parts += [f"chosen by {row.choose}"] if row.choose else []
    if row.own is not None:
        parts.append(f"{row.op}, a module given in Python")
    elif row.op is not None and row.linear is None and row.columns:
        parts += [row.op, str(row.inner_shape[0]), *(f"{name} {value}" for name, value in row.columns.items())]
    elif row.op is not None and row.linear is None:
        parts.append(f"{row.op} of {counted(row.inner_shape[0], 'group')}")
    elif row.op is not None:
        size = shape_text(row.inner_shape) if row.shaped else str(row.inner_shape[0])
        parts += [row.op, size, *(f"{name[0]}{sides_text(value)}" for name, value in row.columns.items())]
        parts += [] if row.bias else ["no bias"]
        parts.append(f"({row.weights}" + (f", biases {number_text(row.biases)})" if row.bias else ")"))
    parts += [row.weight_norm] if row.weight_norm else []
    parts += ["batchnorm"] if row.batchnorm else []
    parts += [f"{row.norm} norm"] if row.norm is not None else []
    parts += [str(row.activation)] if row.activation is not None else []
    parts += [str(row.pool)] if row.pool is not None else []
    parts += [f"upsample {row.upsample}"] if row.upsample is not None else []
    return " ".join(parts)


def training_text(network: NetworkPlan) -> str:
    """The optimizer of a network, and how its weights are averaged."""
    averaged = "" if network.ema is None else f"; weights averaged with {number_text(network.ema)}"
    begins = f"; begins as {network.start}" if network.start else ""
    return f"{network.optimizer}{averaged}{begins}" if network.trainable else f"not trained{begins}"


def game_text(plan: Plan, game: GamePlan) -> str:
    """Both sides, and the networks that learn from the game: what each minimises, through which samples."""
    lines = [
        f"game {game.name}: {side_text(game.real)} (REAL) against {side_text(game.fake)} (FAKE), "
        f"weight {game.weight}, {game.objective}",
        f"  {game.discriminator} reads {', '.join(_binding(local, variable) for local, variable in game.reads)}",
    ]
    extra = "".join(f" + {weighted_text(p.weight, penalty_value(game, p))}" for p in game.penalties)
    learning = plan.players(game.name, "generator")
    players = [
        (network, f"minimises {loss_text(game, 'discriminator')}{extra}")
        for network in plan.players(game.name, "discriminator")
    ]
    players += [
        (network, f"minimises {loss_text(game, 'generator')} through {', '.join(samples)}")
        for network, samples in game.paths
        if network in learning
    ]
    return "\n".join(lines + (table(players) or ["  no turn plays it"]))


def term_text(plan: Plan, term: TermPlan) -> str:
    """What is minimised, and the networks that learn from it, through which scores and samples."""
    learning = plan.players(term.name, "value")
    rows = [(network, f"through {', '.join(found)}") for network, found in term.paths if network in learning]
    head = f"term {term.name}: {formula_text(term.value)}, weight {term.weight}"
    return "\n".join([head, *(table(rows) or ["  no turn takes it"])])


def loss_text(game: GamePlan, role: Role) -> str:
    """What a role minimises in a game, without penalties: `E_q sp(-d) + E_p sp(d)`."""
    return formula_text(game_value(game, role))


def weighted_text(weight: Schedule, value: Expression) -> str:
    """A weight times a formula; a number of the formula's is multiplied into it, a schedule stands before it."""
    varies, value = weighed(weight, value)
    return (f"({weight}) " if varies else "") + formula_text(value)


def formula_text(expression: Expression, holds: int = SUM) -> str:
    """An expression as text: d the logit, sp softplus, s the sigmoid; `E_between` of points between samples."""
    return written(expression, _TEXT, holds)


def _leaf_text(leaf: Leaf) -> str:
    match leaf:
        case Logit():
            return "d"
        case Slope():
            return "|grad d|"
        case Scored(factor, _, stopped):
            return f"stop {factor}" if stopped else factor
        case Value(name, _, stopped):
            return f"stop {name}" if stopped else name
        case Vat():
            move = f"{leaf.variable}, {scaled_text(leaf.radius, leaf.times)}, {number_text(leaf.xi)}"
            return functional_text("vat", [leaf.factor, move])
        case Support(_, factor, _):
            return factor


_TEXT = Spelling(
    number=lambda value: "1/2" if value == 0.5 else number_text(value),
    leaf=lambda leaf: _leaf_text(leaf),
    function=lambda name, argument: FUNCTIONS[name].text.format(argument),
    weighted=lambda support, argument: f"sum_{support.variable} {support.factor} {argument}",
    mean=lambda draw, argument: f"E_{draw or 'between'} {argument}",
    functional=functional_text,
    mean_holds=PRODUCT,
    times=" ",
    power=lambda base: f"{base}^2",
)


def step_text(plan: Plan) -> str:
    """The turns of one step: what is drawn and computed in which order, which passes are one batch, who is updated."""
    lines = [f"step    an epoch is one pass of {plan.epoch_source} in batches of {plan.epoch_batch}"]
    for index, phase in enumerate(plan.stages):
        lines += [f"  then {fit_text(fit)}" for fit in phase.fits]
        lines += [f"  {phase_text(plan, index)}"] if plan.phases else []
        for turn in plan.turns_of(phase):
            repeated = f" x {turn.steps}" if turn.steps > 1 else ""
            lines.append(
                f"  turn{repeated}: updates {', '.join(turn.update)}; draws {'anew' if turn.redraw else 'as before'}"
            )
            lines += [f"    {line}" for line in _turn_lines(plan, turn)]
    settings = f"momentum {number_text(plan.momentum)}, epsilon {number_text(plan.epsilon)}"
    own = "; statistics of each process's part of the batch" if plan.statistics == "process" else ""
    lines.append(f"  batch norm: {settings}{own}")
    return "\n".join(lines)


def phase_text(plan: Plan, index: int) -> str:
    """`phase 1 of 2: 50 epochs`; the last one goes on to the end, wherever that is."""
    head = f"phase {index + 1} of {len(plan.stages)}"
    return f"{head}: to the end" if index + 1 == len(plan.stages) else f"{head}: {length_text(plan.stages[index])}"


def length_text(phase: PhasePlan) -> str:
    """`50 epochs`, `1,000 steps`."""
    if phase.steps is not None:
        return counted(phase.steps, "step")
    return f"{number_text(phase.epochs or 0)} epoch{'' if phase.epochs == 1 else 's'}"


def fit_text(fit: FitPlan) -> str:
    """What is fitted, to what, and where it is kept."""
    rows = " and ".join(row for row in (fit.mean, fit.log_variance) if row)
    values = f"the means of {fit.variable} that {fit.to} infers"
    full = " with covariances" if fit.full else ""
    return f"fit {fit.factor} to {values}, {fit.categories} components{full}: columns of {rows} in {fit.network}"


def asked_text(found: PassPlan) -> str:
    """The rows that terms ask for, as `h y.raw`; a raw one up to its activation; and at how many values, if at all."""
    told = ("; no gradient" if found.stopped else "") + (", statistics kept" if found.kept else "")
    rows, over = _rows_text([f"{row}.raw" if row in found.raw else row for row in found.rows]), found.evaluation.over
    taken = " ".join((*found.takes, *found.chooses))
    rows += f" of {taken}" if taken else ""
    if found.alone:
        rows += f", at {counted(found.batch, 'value')} of {over}"
    elif over:
        rows += f", at every {over}, {counted(found.batch, 'example')}"
    return rows + told


def shared_text(found: PassPlan) -> str:
    """The rows of a discriminator that do not depend on an enumerated variable, and at how many examples they are."""
    return f"{' '.join(found.shared)} at {counted(found.examples, 'example')}" if found.shared else ""


def moved_text(found: PassPlan) -> str:
    """The variable that is moved in two passes, and the rows that these compute."""
    rows = _rows_text([f"{row}.raw" if row in found.raw else row for row in found.rows])
    return f"twice more with {found.moves} moved: {rows}; masks and noise as before, statistics kept"


def often_text(every: int) -> str:
    """2 -> `in every 2nd step, 2 times`."""
    return f"in every {ordinal(every)} step, {every} times"


def ordinal(number: int) -> str:
    """2 -> `2nd`."""
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def density_text(density: Density) -> str:
    """The density of a factor, in terms of rows."""
    if density.full:
        return f"N({density.mean}, A A'), A the triangle {density.log_variance}"
    if density.kind == "normal":
        return f"N({density.mean}, exp({density.log_variance}))"
    if density.kind == "categorical":
        return f"categorical, logits {density.mean}" if density.mean is not None else "categorical"
    names = {"bernoulli": "mean, scored as Bernoulli", "implicit": "implicit, no density"}
    return names.get(density.kind, density.kind)


def table(rows: Iterable[Sequence[str]], right: Sequence[int] = (), indent: str = "  ") -> list[str]:
    """Rows of texts as lines with aligned columns, two spaces between them, columns in `right` aligned to the right."""
    cells = [list(row) for row in rows]
    if not cells:
        return []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = []
    for row in cells:
        aligned = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((indent + "  ".join(aligned)).rstrip())
    return lines


def _turn_lines(plan: Plan, turn: TurnPlan) -> list[str]:
    rows = []
    for name in turn.draws:
        draw = turn.drawn(plan.draw(name))
        rows += [
            ("weigh" if factor.enumerated else "draw", factor.text, _origin_text(factor))
            for factor in draw.written
            if factor.needed
        ]
    for found in turn.passes_of("asked"):
        rows.append(("ask", found.evaluation.name, asked_text(found)))
    rows += [("ask", name, f"as drawn for {drawn}") for name, drawn in turn.taken]
    rows += [("move", found.evaluation.name, moved_text(found)) for found in turn.passes_of("moved")]
    for found in turn.passes_of("scored"):
        rows.append(("pass", found.evaluation.name, _scored_text(found)))
    for found in turn.passes_of("between"):
        where = f"between {' and '.join(found.draws)}, {counted(found.batch, 'example')}, statistics kept"
        rows.append(
            ("pass", found.evaluation.name, where if found.every == 1 else f"{where}, {often_text(found.every)}")
        )
    for loss in turn.losses:
        if loss.every > 1:
            rows.append(("loss", loss.name, f"taken {often_text(loss.every)}"))
    for objective in turn.shares:
        rows.append(("gradient", ", ".join(objective.networks), f"of {' + '.join(objective.losses)}"))
    masks = sum(site.kind == "mask" for site in turn.sites)
    moves = sum(site.stream == "perturbation" for site in turn.sites)
    added = sum(site.disturbs and site.kind == "normal" for site in turn.sites) - moves
    told = f"{masks} of them dropout masks" + (f", {added} added to inputs" if added else "")
    told += f", {counted(moves, 'direction')}" if moves else ""
    rows.append(("noise", f"{len(turn.sites)} tensors", told))
    return table(rows, indent="")


def _scored_text(found: PassPlan) -> str:
    sides = ", ".join(f"{game} {side.upper()}" for game, side in found.sides)
    told = f"{' | '.join(found.draws)}, {counted(found.batch, 'example')} as one batch: {sides}"
    told += f"; as asked for {found.within}" if found.within else ""
    return f"{told}; {shared_text(found)}" if found.shared else told


def _origin_text(factor: FactorPlan) -> str:
    origin = factor.origin
    if isinstance(origin, FromData):
        return f"{origin.source}: {', '.join(f'{variable} is its {field}' for variable, field in origin.texts.items())}"
    if isinstance(origin, FromPrior):
        return f"{origin.prior}"
    if isinstance(origin, FromDraw):
        return f"{origin.variable} of {origin.draw}"
    every = f"every {factor.variables[0]}, by " if factor.enumerated else ""
    if isinstance(origin, FromBayes):
        return f"{every}{' '.join(score.name for score in origin.score.computed)} at samples of {origin.score.draw}"
    given = {variable: local for local, variable in origin.evaluation.bindings}
    taken = [name for name in factor.given if given.get(name) is not None]
    rows = [f"{row}.raw" if origin.enumerated and row == origin.row else row for row in origin.rows]
    return f"{every}{origin.evaluation.name}, given {', '.join(taken) or 'nothing'}: {_rows_text(rows)}"


def _rows_text(rows: Sequence[str]) -> str:
    return " ".join(rows) if rows else "already computed"


def _means(factor: FactorPlan) -> list[str]:
    """The means of a fixed mixture that are written out, one line a component."""
    prior = factor.origin.prior if isinstance(factor.origin, FromPrior) else None
    means = prior.kind.means(prior) if prior is not None and prior.kind.means is not None else ()
    lines = [] if isinstance(means, RandomMeans) else [", ".join(map(number_text, mean)) for mean in means]
    return [f"mean {index}: {line}" for index, line in enumerate(lines)]


def _binding(local: str, variable: str) -> str:
    return local if local == variable else f"{local}={variable}"


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"
