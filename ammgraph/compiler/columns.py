"""Which columns a row may have beside which others, whatever the shapes."""

from collections.abc import Iterator

from ammgraph.compiler.rows import Table
from ammgraph.diagnostics import Diagnostic
from ammgraph.layers.operations import OPERATIONS
from ammgraph.layers.weights import WEIGHT_NORMS
from ammgraph.spec.schema import Row, Spec

LAYER_COLUMNS = ("shape", "heads", "stride", "padding", "bias", "initializer", *WEIGHT_NORMS)


def check_columns(spec: Spec, table: Table) -> Iterator[Diagnostic]:
    """The columns of every row fit together, whatever the shapes."""
    for name, row in table.rows.items():
        path = ("networks", table.network, "layers", name)
        operation = table.operation(name, spec)
        yield from _contradictions(spec, path, row, operation)
        if operation is None:
            for column in LAYER_COLUMNS:
                if getattr(row, column) is not None:
                    yield Diagnostic(
                        "not-a-layer",
                        f"row `{name}` has `{column}` but is no layer: it only combines its inputs",
                        spec.source.key(*path, column),
                        expected="a `width`, or no such column",
                    )
        else:
            does, columns = OPERATIONS[operation], OPERATIONS[operation].columns
            learned = ("bias", "initializer", *WEIGHT_NORMS) if does.weights is not None else ()
            learned += ("shape",) if does.shaped else ()
            for column in ("width", *LAYER_COLUMNS):
                if getattr(row, column) is not None and column not in columns + learned:
                    yield Diagnostic(
                        "not-a-layer",
                        f"row `{name}` is {operation} and has no `{column}`",
                        spec.source.key(*path, column),
                        expected=", ".join(f"`{other}`" for other in ("channels", *columns, *learned)) + " alone",
                    )
            if "width" in columns and row.width is None:
                yield Diagnostic(
                    "not-a-layer",
                    f"row `{name}` is a {operation} without a width",
                    spec.source.key(*path),
                    expected="`width: N`",
                )
        stated = row.channels is not None or row.shape is not None
        if operation is not None and not stated and OPERATIONS[operation].own is None:
            yield Diagnostic(
                "not-a-layer",
                f"row `{name}` is a layer without channels",
                spec.source.key(*path),
                expected="`channels: N`",
            )


def _contradictions(spec: Spec, path: tuple[str, ...], row: Row, operation: str | None) -> Iterator[Diagnostic]:
    """Columns of which a row has one at most."""
    if len(row.weight_norms) > 1:
        yield Diagnostic(
            "conflicting-keys",
            f"row `{path[-1]}` has {' and '.join(f'`{norm}`' for norm in row.weight_norms)}",
            spec.source.key(*path, row.weight_norms[-1]),
            expected="one of them",
            hint=f"`{row.weight_norms[0]}: null` removes it if it is inherited",
        )
    if row.choose is not None and operation is not None:
        yield Diagnostic(
            "conflicting-keys",
            f"row `{path[-1]}` is a layer, and chooses among channels",
            spec.source.key(*path, "choose"),
            found=f"`{operation}`",
            expected="a row of its own without `width` and `op`",
        )
    if row.batchnorm and row.norm is not None:
        yield Diagnostic(
            "conflicting-keys",
            f"row `{path[-1]}` has `batchnorm` and `norm`",
            spec.source.key(*path, "norm"),
            expected="one of them",
            hint="`batchnorm: null` removes it if it is inherited",
        )
    if row.pool is not None and row.upsample is not None:
        yield Diagnostic(
            "conflicting-keys",
            f"row `{path[-1]}` has `pool` and `upsample`",
            spec.source.key(*path, "upsample"),
            expected="one of them, or two rows",
            hint="`pool: null` removes it if it is inherited",
        )
    if row.shape is not None and row.channels is not None:
        yield Diagnostic(
            "conflicting-keys",
            f"row `{path[-1]}` has `channels` and `shape`",
            spec.source.key(*path, "shape"),
            expected="one of them",
            hint="`channels: null` removes it if it is inherited",
        )
