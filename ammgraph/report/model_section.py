"""What a plan says, as a part of the report: factorizations, graphical models, games and losses, layer tables."""

from collections.abc import Sequence

from ammgraph.plan.plan import DrawPlan, GamePlan, NetworkPlan, Plan, RowPlan, TermPlan, shape_text
from ammgraph.report.mathematics import formula_html
from ammgraph.report.page import Markup, Table, code_block, details, element, join, paragraph, section, text
from ammgraph.show.diagram import flows, same_model
from ammgraph.show.drawing import flow_svg, model_svg
from ammgraph.show.latex import factorization, game_formulas, term_formula
from ammgraph.show.text import optimizer_text, step_text
from ammgraph.spec.notation import number_text, side_text


def model_section(plan: Plan, notes: Sequence[str]) -> Markup:
    """The model: everything that was decided before training began."""
    return section(
        "model",
        "The model",
        _formulas([factorization(draw) for draw in plan.draws]),
        _diagrams(plan),
        _variables(plan),
        *(_game(plan, game) for game in plan.games),
        *(_term(plan, term) for term in plan.terms),
        _networks(plan),
        details("One step of training, as it is executed", *_steps(plan), code_block(step_text(plan))),
        _notes(notes),
    )


def _formulas(formulas: Sequence[str]) -> Markup:
    return Markup(f'<div class="formulas">{"".join(map(formula_html, formulas))}</div>')


def _diagrams(plan: Plan) -> Markup:
    """Every factorization once; what is drawn twice says so."""
    groups: list[list[DrawPlan]] = []
    for draw in plan.draws:
        alike = next((group for group in groups if same_model(group[0], draw)), None)
        if alike is None:
            groups.append([draw])
        else:
            alike.append(draw)
    figures = [
        f"<figure>{model_svg(plan, group[0])}<figcaption>{_diagram_caption(group)}</figcaption></figure>"
        for group in groups
    ]
    legend = paragraph("Shaded: taken from the data. Beside each variable: the network or the prior that draws it.")
    return join([Markup(f'<div class="models">{"".join(figures)}</div>'), legend])


def _steps(plan: Plan) -> list[Markup]:
    return [Markup(f'<div class="wide-diagram" tabindex="0">{flow_svg(flow)}</div>') for flow in flows(plan)]


def _diagram_caption(group: Sequence[DrawPlan]) -> Markup:
    names = " and ".join(draw.name for draw in group)
    twice = ", drawn independently" if len(group) > 1 else ""
    return Markup(f"<strong>{text(names)}</strong>{twice}")


def _variables(plan: Plan) -> Markup:
    rows = []
    for variable in plan.variables:
        extent = "" if variable.range is None else f"[{', '.join(map(number_text, variable.range))}]"
        drawn = [factor for draw in plan.draws for factor in draw.factors if variable.name in factor.variables]
        sources = dict.fromkeys(f"{factor.text}: {factor.value}" for factor in drawn)
        rows.append((variable.name, variable.kind, shape_text(variable.shape), extent, "; ".join(sources)))
    return Table(("Variable", "Kind", "Shape", "Range", "Drawn by"), tuple(rows)).markup()


# --------------------------------------------------------------------------------------------------- games


def _game(plan: Plan, game: GamePlan) -> Markup:
    formulas = [formula for formula in game_formulas(plan, game) if formula is not None]
    reads = ", ".join(variable for _, variable in game.reads)
    opening = (
        f"{game.discriminator} reads {reads} and tells {side_text(game.real)} (real) from "
        f"{side_text(game.fake)} (fake). "
        f"Objective: {game.objective.replace('_', '-')}, on its logit d; ζ is softplus."
    )
    return join(
        [
            element("h3", text(f"Game {game.name}")),
            paragraph(opening),
            *([_formulas(formulas)] if formulas else []),
            _players(plan, game),
        ]
    )


def _term(plan: Plan, term: TermPlan) -> Markup:
    """What is minimised, by whom."""
    trained = [f"{name}, through {' and '.join(dict(term.paths)[name])}" for name in plan.players(term.name, "value")]
    told = f"Weight {term.weight}. It trains {'; '.join(trained)}." if trained else "No turn takes it."
    return join([element("h3", text(f"Term {term.name}")), _formulas([term_formula(term)]), paragraph(told)])


def _players(plan: Plan, game: GamePlan) -> Markup:
    """Who minimises which loss, and through which samples."""
    paths = dict(game.paths)
    against = ", ".join(plan.players(game.name, "discriminator"))
    sides = [f"{name}, through {' and '.join(paths[name])}" for name in plan.players(game.name, "generator")]
    if not against and not sides:
        return paragraph("No turn plays it.")
    trained = [f"The discriminator's loss trains {against}."] if against else []
    trained += [f"The sides' loss trains {'; '.join(sides)}."] if sides else []
    return paragraph(" ".join(trained))


# --------------------------------------------------------------------------------------------------- networks


def _networks(plan: Plan) -> Markup:
    folded = [
        details(
            f"{network.name}: {len(network.rows)} rows, {network.parameters:,} parameters, "
            f"{network.multiply_adds:,} multiply-adds an image",
            paragraph(f"Optimizer: {optimizer_text(network.optimizer)}{_averaged(network)}."),
            _layers(network),
        )
        for network in plan.networks
    ]
    return join([element("h3", text(f"Networks: {plan.parameters:,} parameters")), *folded])


def _averaged(network: NetworkPlan) -> str:
    return "" if network.ema is None else f"; weights averaged with decay {number_text(network.ema)}"


COLUMNS = (
    *("Row", "Input", "Layer", "Channels", "Width", "Stride", "Pad"),
    *("Dropout", "Batch norm", "Activation", "Pool", "Output", "Parameters", "Multiply-adds"),
)
NUMBERS = ("Channels", "Width", "Stride", "Pad", "Dropout", "Parameters", "Multiply-adds")


def _layers(network: NetworkPlan) -> Markup:
    """The layer table with the columns of the paper's tables; those in which nothing stands are left out."""
    rows = [(name, "", *[""] * 9, shape_text(shape), "", "") for name, shape in network.inputs]
    rows += [_layer(row) for row in network.rows]
    kept = [index for index in range(len(COLUMNS)) if any(row[index] for row in rows)]
    head = tuple(COLUMNS[index] for index in kept)
    right = tuple(place for place, name in enumerate(head) if name in NUMBERS)
    return Table(head, tuple(tuple(row[index] for index in kept) for row in rows), right=right, kind="layers").markup()


def _layer(row: RowPlan) -> tuple[str, ...]:
    convolves = row.op in ("conv", "conv_transpose")
    return (
        row.name,
        str(row.input),
        "" if row.op is None else row.op.replace("_", " "),
        "" if row.op is None else str(row.inner_shape[0]),
        str(row.width) if convolves else "",
        str(row.stride) if convolves else "",
        str(row.padding) if convolves and row.padding else "",
        number_text(row.dropout) if row.dropout else "",
        "yes" if row.batchnorm else "",
        "" if row.activation is None else str(row.activation),
        "" if row.pool is None else str(row.pool),
        shape_text(row.out_shape),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.multiply_adds:,}" if row.multiply_adds else "",
    )


def _notes(notes: Sequence[str]) -> Markup:
    if not notes:
        return Markup("")
    items = "".join(f"<li>{text(' '.join(note.split()))}</li>" for note in notes)
    return join([element("h3", text("Readings and remarks of the spec")), Markup(f'<ul class="notes">{items}</ul>')])
