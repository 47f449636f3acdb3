"""Layer tables: the shape, the parameters and the cost of every row, without torch.

conv            (in + 2 padding - width) // stride + 1
conv_transpose  (in - 1) stride - 2 padding + width
linear          flattens; width means nothing
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ammgraph.compiler.order import in_order
from ammgraph.diagnostics import Diagnostic, did_you_mean
from ammgraph.plan.plan import RowPlan, Shape, shape_text
from ammgraph.spec.notation import Input, Zeros
from ammgraph.spec.schema import CATEGORICAL_ACTIVATIONS, Row, Spec

LAYER_COLUMNS = ("stride", "padding", "bias", "initializer")


def conv_size(size: int, width: int, stride: int, padding: int) -> int:
    """floor((size + 2 padding - width) / stride) + 1; below 1 where the kernel does not fit."""
    return (size + 2 * padding - width) // stride + 1


def conv_transpose_size(size: int, width: int, stride: int, padding: int) -> int:
    """(size - 1) stride - 2 padding + width."""
    return (size - 1) * stride - 2 * padding + width


@dataclass(frozen=True)
class Table:
    """A layer table before its shapes are known: rows by name in computing order, and the names read from outside."""

    network: str
    rows: Mapping[str, Row]
    order: tuple[str, ...]
    free: tuple[str, ...]

    def operation(self, name: str, spec: Spec) -> str | None:
        """The operation of a row: None where it only combines."""
        row = self.rows[name]
        if row.op is not None:
            return row.op
        return spec.networks[self.network].defaults.op if row.width is not None else None

    def needed(self, row: str, given: frozenset[str]) -> tuple[str, ...]:
        """The rows computed for `row`, in computing order, when the names in `given` are not computed."""
        found, open_rows = set(), [row]
        while open_rows:
            name = open_rows.pop()
            if name in found:
                continue
            found.add(name)
            open_rows += [
                atom.name for atom in self.rows[name].input.names if atom.name in self.rows and atom.name not in given
            ]
        return tuple(name for name in self.order if name in found)

    def reads(self, row: str, given: frozenset[str]) -> frozenset[str]:
        """The given names and the names from outside that `row` depends on."""
        names = {atom.name for name in self.needed(row, given) for atom in self.rows[name].input.names}
        return frozenset(name for name in names if name in given or name not in self.rows)


def order_rows(spec: Spec, network: str, problems: list[Diagnostic]) -> Table | None:
    """The table's rows in an order in which they can be computed: topological, ties by position in the spec."""
    rows = spec.networks[network].layers
    edges = ((atom.name, name) for name, row in rows.items() for atom in row.input.names if atom.name in rows)
    order, cycle = in_order(tuple(rows), edges)
    if cycle:
        problems.append(
            Diagnostic(
                "row-cycle",
                f"the rows of `{network}` read each other in a circle",
                spec.source.value("networks", network, "layers", cycle[0], "input"),
                found=" -> ".join(f"`{name}`" for name in [*cycle, cycle[0]]),
                expected="rows that can be computed one after another",
            )
        )
        return None
    free = tuple(dict.fromkeys(atom.name for row in rows.values() for atom in row.input.names if atom.name not in rows))
    return Table(network, rows, order, free)


def check_columns(spec: Spec, table: Table) -> Iterator[Diagnostic]:
    """The columns of every row fit together, whatever the shapes."""
    for name, row in table.rows.items():
        path = ("networks", table.network, "layers", name)
        operation = table.operation(name, spec)
        if operation is None:
            for column in LAYER_COLUMNS:
                if getattr(row, column) is not None:
                    yield Diagnostic(
                        "not-a-layer",
                        f"row `{name}` has `{column}` but is no layer: it only combines its inputs",
                        spec.source.key(*path, column),
                        expected="a `width`, or no such column",
                    )
        elif operation == "linear":
            for column in ("width", "stride", "padding"):
                if getattr(row, column) is not None:
                    yield Diagnostic(
                        "not-a-layer",
                        f"row `{name}` is linear and has no `{column}`",
                        spec.source.key(*path, column),
                        expected="`channels` alone",
                    )
        elif row.width is None:
            yield Diagnostic(
                "not-a-layer",
                f"row `{name}` is a {operation} without a width",
                spec.source.key(*path),
                expected="`width: N`",
            )
        if operation is not None and row.channels is None:
            yield Diagnostic(
                "not-a-layer",
                f"row `{name}` is a layer without channels",
                spec.source.key(*path),
                expected="`channels: N`",
            )


def infer_rows(
    spec: Spec, table: Table, inputs: Mapping[str, Shape], outputs: frozenset[str], problems: list[Diagnostic]
) -> tuple[RowPlan, ...]:
    """Every row with its shapes and cost; a row after a bad one is left out, so that one mistake is told once.

    Args:
        spec: the spec.
        table: the network's layer table.
        inputs: the shapes of the names that it reads from outside.
        outputs: its rows that are read from outside.
        problems: where mistakes are added.
    """
    shapes: dict[str, Shape] = dict(inputs)
    plans = []
    for name in table.order:
        if any(atom.name not in shapes for atom in table.rows[name].input.names):
            continue
        found: list[Diagnostic] = []
        plan = _infer_row(spec, table, name, shapes, outputs, found)
        problems += found
        if plan is not None:
            shapes[name] = plan.out_shape
            plans.append(plan)
    return tuple(plans)


def unknown_names(spec: Spec, table: Table, known: frozenset[str]) -> Iterator[Diagnostic]:
    """Every name that a row reads is a row, a variable or bound by a call."""
    for name, row in table.rows.items():
        for atom in row.input.names:
            if atom.name not in table.rows and atom.name not in known:
                yield Diagnostic(
                    "unknown-name",
                    f"row `{name}` of `{table.network}` reads `{atom.name}`, which is neither a row nor a variable",
                    spec.source.within(
                        "networks",
                        table.network,
                        "layers",
                        name,
                        "input",
                        start=atom.start,
                        end=atom.start + len(atom.name),
                    ),
                    hint=did_you_mean(atom.name, [*table.rows, *known]),
                )


def _infer_row(
    spec: Spec,
    table: Table,
    name: str,
    shapes: Mapping[str, Shape],
    outputs: frozenset[str],
    problems: list[Diagnostic],
) -> RowPlan | None:
    row = table.rows[name]
    path = ("networks", table.network, "layers", name)
    in_shape = _input_shape(spec, path, row.input, shapes, problems)
    if in_shape is None:
        return None
    operation = table.operation(name, spec)
    inner = _operation_shape(spec, path, row, operation, in_shape, problems)
    if inner is None:
        return None
    out_shape = _pooled_shape(spec, path, row, inner, problems)
    if out_shape is None:
        return None
    misplaced = _misplaced_activation(spec, path, row, inner)
    if misplaced is not None:
        problems.append(misplaced)
        return None
    bias = operation is not None and (_needs_bias(table, name, outputs) if row.bias is None else row.bias)
    own = row.initializer
    common = spec.training.initializer
    kernel = row.width or 1
    weights = _weight_count(operation, in_shape, inner, kernel)
    return RowPlan(
        name=name,
        input=row.input,
        in_shape=in_shape,
        inner_shape=inner,
        out_shape=out_shape,
        op=operation,  # type: ignore[arg-type]
        width=kernel,
        stride=row.stride or 1,
        padding=row.padding or 0,
        bias=bias,
        dropout=row.dropout or 0.0,
        batchnorm=bool(row.batchnorm),
        activation=row.activation,
        pool=row.pool,
        weights=own.weights if own is not None and own.weights is not None else common.weights,
        biases=own.biases if own is not None and own.biases is not None else common.biases,
        parameters=weights + (inner[0] if bias else 0) + (2 * inner[0] if row.batchnorm else 0),
        multiply_adds=weights * _positions(operation, in_shape, inner),
    )


def _input_shape(
    spec: Spec, path: tuple[str, ...], read: Input, shapes: Mapping[str, Shape], problems: list[Diagnostic]
) -> Shape | None:
    parts = []
    for part in read.parts:
        atoms = [((atom.channels, 1, 1) if isinstance(atom, Zeros) else shapes[atom.name]) for atom in part]
        texts = [f"`{atom}` {shape_text(shape)}" for atom, shape in zip(part, atoms, strict=True)]
        if len({shape[0] for shape in atoms}) > 1 or _extent(atoms) is None:
            problems.append(
                Diagnostic(
                    "shape-mismatch",
                    f"row `{path[-1]}` adds things of different shapes",
                    spec.source.value(*path, "input"),
                    found=" + ".join(texts),
                    expected="equal channels, and equal height and width or 1x1",
                )
            )
            return None
        parts.append((atoms[0][0], *(_extent(atoms) or (1, 1))))
    extent = _extent(parts)
    if extent is None:
        problems.append(
            Diagnostic(
                "shape-mismatch",
                f"row `{path[-1]}` joins things of different height and width",
                spec.source.value(*path, "input"),
                found=" | ".join(f"{shape_text(shape)}" for shape in parts),
                expected="equal height and width, or 1x1, which is repeated",
            )
        )
        return None
    return (sum(shape[0] for shape in parts), *extent)


def _extent(shapes: list[Shape]) -> tuple[int, int] | None:
    extents = {shape[1:] for shape in shapes} - {(1, 1)}
    if len(extents) > 1:
        return None
    return extents.pop() if extents else (1, 1)


def _operation_shape(
    spec: Spec, path: tuple[str, ...], row: Row, operation: str | None, in_shape: Shape, problems: list[Diagnostic]
) -> Shape | None:
    name = path[-1]
    channels, height, width = in_shape
    if operation is None:
        if row.channels is not None and row.channels != channels:
            problems.append(
                Diagnostic(
                    "channels-mismatch",
                    f"row `{name}` has {channels} channels, but says {row.channels}",
                    spec.source.value(*path, "channels"),
                    found=f"{channels}, from `{row.input}`",
                    expected=f"{row.channels}",
                    hint="a row without a width passes its input's channels on; a layer has `width: N` or `op: linear`",
                )
            )
            return None
        return in_shape
    out = row.channels or 0
    if operation == "linear":
        return (out, 1, 1)
    kernel, stride, padding = row.width or 1, row.stride or 1, row.padding or 0
    size = conv_size if operation == "conv" else conv_transpose_size
    formula = {
        "conv": "(in + 2 * padding - width) // stride + 1",
        "conv_transpose": "(in - 1) * stride - 2 * padding + width",
    }[operation]
    result = (out, size(height, kernel, stride, padding), size(width, kernel, stride, padding))
    if min(result[1:]) < 1 or (operation == "conv" and padding >= kernel):
        too_much = operation == "conv" and min(result[1:]) >= 1
        problems.append(
            Diagnostic(
                "kernel-mismatch",
                f"the kernel of row `{name}` does not fit its input",
                spec.source.value(*path, "padding" if too_much or operation == "conv_transpose" else "width"),
                found=f"input {shape_text(in_shape)}, width {kernel}, stride {stride}, padding {padding}",
                expected="padding below the width" if too_much else "at least one output position",
                hint=f"output size: {formula}",
            )
        )
        return None
    return result


def _pooled_shape(
    spec: Spec, path: tuple[str, ...], row: Row, inner: Shape, problems: list[Diagnostic]
) -> Shape | None:
    if row.pool is None:
        return inner
    size = row.pool.size
    if inner[1] % size or inner[2] % size:
        problems.append(
            Diagnostic(
                "pool-mismatch",
                f"the windows of `{row.pool}` do not tile row `{path[-1]}`",
                spec.source.value(*path, "pool"),
                found=f"{inner[1]}x{inner[2]} positions",
                expected=f"height and width divisible by {size}",
            )
        )
        return None
    return (inner[0], inner[1] // size, inner[2] // size)


def _misplaced_activation(spec: Spec, path: tuple[str, ...], row: Row, inner: Shape) -> Diagnostic | None:
    """Some activations act on one position alone, and some on several."""
    name, single = row.activation.name if row.activation is not None else "", inner[1:] == (1, 1)
    if name in CATEGORICAL_ACTIVATIONS and not single:
        problem = f"chooses among channels, but row `{path[-1]}` has more than one position"
        expected = f"{inner[0]}x1x1"
    elif name == "random_affine" and single:
        problem = f"moves what stands at other positions, and row `{path[-1]}` has only one"
        expected = "an image, or rows of a height and a width"
    else:
        return None
    return Diagnostic(
        "shape-mismatch",
        f"`{name}` {problem}",
        spec.source.value(*path, "activation"),
        found=shape_text(inner),
        expected=expected,
    )


def _needs_bias(table: Table, name: str, outputs: frozenset[str]) -> bool:
    """A constant before batch norm is subtracted again: no bias where nothing else reads the row (R7)."""
    row = table.rows[name]
    if row.batchnorm:
        return False
    readers = [other for other in table.rows.values() if any(atom.name == name for atom in other.input.names)]
    plain = row.activation is None and row.pool is None and name not in outputs
    normalised = [
        reader.batchnorm and reader.width is None and reader.op is None and not reader.dropout for reader in readers
    ]
    return not (plain and readers and all(normalised))


def _weight_count(operation: str | None, in_shape: Shape, inner: Shape, kernel: int) -> int:
    if operation is None:
        return 0
    if operation == "linear":
        return in_shape[0] * in_shape[1] * in_shape[2] * inner[0]
    return in_shape[0] * inner[0] * kernel * kernel


def _positions(operation: str | None, in_shape: Shape, inner: Shape) -> int:
    """How often each weight is used for one example."""
    if operation == "linear":
        return 1
    reference = in_shape if operation == "conv_transpose" else inner
    return reference[1] * reference[2]
