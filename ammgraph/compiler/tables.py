"""Layer tables as a whole: an order, columns that fit, names that there are, and rows that are variables."""

from collections.abc import Iterator

from ammgraph.compiler.columns import check_columns
from ammgraph.compiler.resolved import Resolved
from ammgraph.diagnostics import Diagnostic, Note, did_you_mean
from ammgraph.plan.networks import shape_text


def check_tables(resolved: Resolved) -> Iterator[Diagnostic]:
    """The rows of every table can be computed one after another, and their columns fit together."""
    for table in resolved.ordered.values():
        if isinstance(table, Diagnostic):
            yield table
        else:
            yield from check_columns(resolved.spec, table)


def check_names(resolved: Resolved) -> Iterator[Diagnostic]:
    """Every name that a row reads is a row, a variable or bound by a call."""
    for network, table in resolved.tables.items():
        known = dict.fromkeys([*table.rows, *resolved.inputs[network], *resolved.variables])
        for name, row in table.rows.items():
            for atom in row.names:
                if atom.name not in known:
                    column = "choose" if atom is row.choose else "input"
                    path, end = ("networks", network, "layers", name, column), atom.start + len(atom.name)
                    yield Diagnostic(
                        "unknown-name",
                        f"row `{name}` of `{network}` reads `{atom.name}`, which is neither a row nor a variable",
                        resolved.spec.source.within(*path, start=atom.start, end=end),
                        hint=did_you_mean(atom.name, known),
                    )


def check_shapes(resolved: Resolved) -> Iterator[Diagnostic]:
    """Every row has a shape; what follows from one that has none is not told."""
    for inferred in resolved.inferred.values():
        yield from inferred.problems


def check_variable_rows(resolved: Resolved) -> Iterator[Diagnostic]:
    """A row named like a variable is that variable: it has its shape, and some distribution draws it (R9)."""
    for network, inferred in resolved.inferred.items():
        calls, rows = resolved.calls_of(network), {row.name: row for row in inferred.rows}
        drawn = {call.reference.name for call in calls if call.variable}
        places = {name: resolved.spec.source.key("networks", network, "layers", name) for name in rows}
        for name in rows:
            if name in resolved.variables and name not in drawn:
                yield Diagnostic(
                    "row-is-no-variable",
                    f"row `{name}` of `{network}` is named like a variable, but no distribution draws it",
                    places[name],
                    expected=f"a factor drawn by `{network}.{name}`, or another name",
                    hint="rename the row",
                )
        for call, (name, local) in ((used, pair) for used in calls for pair in used.bound.items()):
            variable, row = resolved.variables[local], rows.get(name)
            if row is not None and row.out_shape != variable.shape:
                bound = (name, local) in call.reference.bindings
                yield Diagnostic(
                    "shape-mismatch",
                    f"row `{name}` of `{network}` is the variable `{local}`, but has another shape",
                    resolved.spec.source.value(*call.path) if bound else places[name],
                    found=shape_text(row.out_shape),
                    expected=shape_text(variable.shape),
                    notes=(Note(f"row `{name}` stands here", places[name]),) if bound else (),
                )
