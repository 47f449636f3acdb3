"""What the page says of a plan: factorizations, graphical models, games and losses, layer tables."""

from markupsafe import Markup

from ammgraph.diagnostics import counted
from ammgraph.layers.operations import Sides, sides_text
from ammgraph.plan.draws import DrawPlan
from ammgraph.plan.networks import NetworkPlan, RowPlan, shape_text
from ammgraph.plan.plan import Plan
from ammgraph.report.page import Table
from ammgraph.show.diagram import flows, same_model
from ammgraph.show.drawing import flow_svg, model_svg
from ammgraph.show.latex import factorization, game_formulas, latex, term_formula
from ammgraph.show.text import range_text, step_text, training_text
from ammgraph.spec.notation import number_text


def model_section(plan: Plan) -> dict[str, object]:
    """Everything that was decided before training began, as `model.html.jinja` reads it."""
    games = [(game, [formula for formula in game_formulas(plan, game) if formula]) for game in plan.games]
    return {
        "factorizations": [factorization(draw) for draw in plan.draws],
        "diagrams": _diagrams(plan),
        "variables": _variables(plan),
        "games": games,
        "terms": [(term, term_formula(term)) for term in plan.terms],
        "networks": [(network, training_text(network), _layers(network)) for network in plan.networks],
        "flows": [Markup(flow_svg(flow)) for flow in flows(plan)],
        "step": step_text(plan),
        "latex": latex(plan),
    }


def _diagrams(plan: Plan) -> list[tuple[list[str], Markup]]:
    """Every factorization once, with the names of all that are drawn by it."""
    groups: list[list[DrawPlan]] = []
    for draw in plan.draws:
        alike = next((group for group in groups if same_model(group[0], draw)), None)
        if alike is None:
            groups.append([draw])
        else:
            alike.append(draw)
    return [([draw.name for draw in group], Markup(model_svg(plan, group[0]))) for group in groups]


def _variables(plan: Plan) -> Table:
    rows = []
    for variable in plan.variables:
        drawn = [factor for draw in plan.draws for factor in draw.written if variable.name in factor.variables]
        sources = dict.fromkeys(f"{factor.text}: {factor.value}" for factor in drawn)
        rows.append(
            (variable.name, variable.kind, shape_text(variable.shape), range_text(variable), "; ".join(sources))
        )
    return Table(("Variable", "Kind", "Shape", "Range", "Drawn by"), tuple(rows))


COLUMNS = (
    *("Row", "Input", "Layer", "Channels", "Width", "Stride", "Pad"),
    *("Weight norm", "Noise", "Dropout", "Norm", "Activation", "Pool", "Output", "Parameters", "Multiply-adds"),
)
NUMBERS = ("Channels", "Width", "Stride", "Pad", "Noise", "Dropout", "Parameters", "Multiply-adds")


def _layers(network: NetworkPlan) -> Table:
    """The layer table with the columns of the paper's tables; those in which nothing stands are left out."""
    rows = [(name, "", *[""] * 11, shape_text(shape), "", "") for name, shape in network.inputs]
    rows += [_layer(row) for row in network.rows]
    kept = [index for index in range(len(COLUMNS)) if any(row[index] for row in rows)]
    head = tuple(COLUMNS[index] for index in kept)
    right = tuple(place for place, name in enumerate(head) if name in NUMBERS)
    return Table(head, tuple(tuple(row[index] for index in kept) for row in rows), right=right, kind="layers")


def _layer_name(row: RowPlan) -> str:
    name = (row.op or "").replace("_", " ")
    return f"{name}, {counted(row.heads, 'head')}" if "heads" in row.columns else name


def _sides(sides: Sides | None) -> str:
    return "" if sides is None else sides_text(sides)


def _layer(row: RowPlan) -> tuple[str, ...]:
    return (
        row.name,
        str(row.input),
        f"chosen by {row.choose}" if row.choose else _layer_name(row),
        "" if row.op is None else str(row.inner_shape[0]),
        *(_sides(row.columns.get(name)) for name in ("width", "stride")),
        _sides(row.columns.get("padding") or None),
        row.weight_norm,
        number_text(row.noise) if row.noise else "",
        number_text(row.dropout) if row.dropout else "",
        "batch" if row.batchnorm else str(row.norm or ""),
        "" if row.activation is None else str(row.activation),
        f"upsample {row.upsample}" if row.upsample is not None else str(row.pool or ""),
        shape_text(row.out_shape),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.multiply_adds:,}" if row.multiply_adds else "",
    )
