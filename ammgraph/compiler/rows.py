"""Layer tables: the shape, the parameters and the cost of every row, without torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ammgraph.compiler.biases import needs_bias
from ammgraph.compiler.order import in_order
from ammgraph.diagnostics import Diagnostic, Problems, counted
from ammgraph.layers.initializers import INITIALIZERS
from ammgraph.layers.operations import OPERATIONS, Own, Shape, kernels, pair, sides_text
from ammgraph.plan.networks import RowPlan, shape_text
from ammgraph.spec.notation import Input, Zeros, factors_of
from ammgraph.spec.schema import Row, Spec


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
                atom.name for atom in self.rows[name].names if atom.name in self.rows and atom.name not in given
            ]
        return tuple(name for name in self.order if name in found)

    def reads(self, row: str, given: frozenset[str]) -> frozenset[str]:
        """The given names and the names from outside that `row` depends on."""
        names = {atom.name for name in self.needed(row, given) for atom in self.rows[name].names}
        return frozenset(name for name in names if name in given or name not in self.rows)


@dataclass(frozen=True)
class Inferred:
    """The rows of a table with their shapes, and why others have none."""

    rows: tuple[RowPlan, ...]
    problems: tuple[Diagnostic, ...]


def order_rows(spec: Spec, network: str) -> Table | Diagnostic:
    """The table's rows in an order in which they can be computed: topological, ties by position in the spec."""
    rows = spec.networks[network].layers
    edges = ((atom.name, name) for name, row in rows.items() for atom in row.names if atom.name in rows)
    order, cycle = in_order(tuple(rows), edges)
    if cycle:
        return Diagnostic(
            "row-cycle",
            f"the rows of `{network}` read each other in a circle",
            spec.source.value("networks", network, "layers", cycle[0], "input"),
            found=" -> ".join(f"`{name}`" for name in [*cycle, cycle[0]]),
            expected="rows that can be computed one after another",
        )
    free = tuple(dict.fromkeys(atom.name for row in rows.values() for atom in row.names if atom.name not in rows))
    return Table(network, rows, order, free)


def infer_rows(spec: Spec, table: Table, inputs: Mapping[str, Shape], outputs: frozenset[str]) -> Inferred:
    """Every row with its shapes and cost; a row after a bad one is left out, so that one mistake is told once.

    Args:
        spec: the spec.
        table: the network's layer table.
        inputs: the shapes of the names that it reads from outside.
        outputs: its rows that are read from outside.
    """
    shapes: dict[str, Shape] = dict(inputs)
    plans, problems = [], Problems(spec.source.texts)
    for name in table.order:
        if any(atom.name not in shapes for atom in table.rows[name].names):
            continue
        row = _infer_row(spec, table, name, shapes, outputs)
        if isinstance(row, Diagnostic):
            problems.append(row)
        else:
            shapes[name] = row.out_shape
            plans.append(row)
    return Inferred(tuple(plans), tuple(problems))


def _infer_row(
    spec: Spec, table: Table, name: str, shapes: Mapping[str, Shape], outputs: frozenset[str]
) -> RowPlan | Diagnostic:
    row = table.rows[name]
    path = ("networks", table.network, "layers", name)
    operation = table.operation(name, spec)
    found = _row_shapes(spec, path, row, operation, shapes)
    if isinstance(found, Diagnostic):
        return found
    in_shape, inner, out_shape = found
    does = None if operation is None else OPERATIONS[operation].weights
    own = row.initializer
    common = spec.training.initializer
    plan = RowPlan(
        name=name,
        input=row.input,
        in_shape=in_shape,
        inner_shape=inner,
        out_shape=out_shape,
        op=operation,
        width=row.width or 1,
        stride=row.stride or 1,
        padding=row.padding or 0,
        bias=does is not None and bool(row.bias),
        dropout=row.dropout or 0.0,
        batchnorm=bool(row.batchnorm),
        activation=row.activation,
        pool=row.pool,
        weights=own.weights if own is not None and own.weights is not None else common.weights,
        biases=own.biases if own is not None and own.biases is not None else common.biases,
        parameters=0,
        multiply_adds=0,
        noise=row.noise or 0.0,
        weight_norm="".join(row.weight_norms),
        norm=row.norm,
        upsample=row.upsample,
        heads=row.heads or 1,
        choose="" if row.choose is None else row.choose.name,
    )
    if does is not None and row.bias is None:
        plan = replace(plan, bias=plan.shaped or needs_bias(table.rows, name, outputs))
    if (standing := _weights_of_length_zero(spec, path, plan)) is not None:
        return standing
    return _counted(plan)


def _row_shapes(
    spec: Spec, path: tuple[str, ...], row: Row, operation: str | None, shapes: Mapping[str, Shape]
) -> tuple[Shape, Shape, Shape] | Diagnostic:
    """What a row reads, what its operation makes of it, and what comes out."""
    in_shape = _input_shape(spec, path, row.input, shapes)
    if isinstance(in_shape, Diagnostic):
        return in_shape
    inner = _operation_shape(spec, path, row, operation, shapes, in_shape)
    if isinstance(inner, Diagnostic):
        return inner
    out_shape = _activated_shape(spec, path, row, inner)
    if not isinstance(out_shape, Diagnostic):
        out_shape = _pooled_shape(spec, path, row, out_shape)
    if isinstance(out_shape, Diagnostic):
        return out_shape
    wrong = _misplaced_activation(spec, path, row, inner) or _uneven_norm(spec, path, row, inner)
    return wrong or (in_shape, inner, out_shape)


def _counted(row: RowPlan) -> RowPlan:
    """The row with its cost: what learns, and the multiply-adds of one example."""
    channels = row.inner_shape[0]
    weights = 0 if row.linear is None else math.prod(row.weight_shape)
    weights += 0 if row.own is None else row.own.look(row.in_shape).parameters
    own = sum(map(math.prod, row.learned.values())) + row.units * row.bias + 2 * channels * row.normalised
    uses = 0 if row.linear is None else row.linear.positions(row.in_shape, row.inner_shape)
    other = math.prod(row.in_shape) if row.choose else 0
    other += 0 if row.operation is None else row.operation.multiply_adds(row.in_shape, row.inner_shape)
    return replace(row, parameters=weights + own, multiply_adds=weights * uses + other)


def _chosen_shape(
    spec: Spec, path: tuple[str, ...], name: str, shape: Shape, shapes: Mapping[str, Shape]
) -> Shape | Diagnostic:
    """The shape of one of the runs of channels that a vector chooses from."""
    count, *extent = shapes[name]
    if extent == [1, 1] and shape[0] % count == 0:
        return (shape[0] // count, *shape[1:])
    return Diagnostic(
        "shape-mismatch",
        f"`{name}` cannot choose among the channels of row `{path[-1]}`",
        spec.source.value(*path, "choose"),
        found=f"`{name}` {shape_text(shapes[name])}, channels {shape[0]}",
        expected="a vector whose size divides the channels",
    )


def _weights_of_length_zero(spec: Spec, path: tuple[str, ...], row: RowPlan) -> Diagnostic | None:
    """A weight norm divides by the length of the weights."""
    if not row.weight_norm:
        return None
    name, number = row.weights.chosen
    if any(INITIALIZERS[name].arguments(number, row.fan_in).values()):
        return None
    return Diagnostic(
        "out-of-range",
        f"`{row.weight_norm}` of row `{row.name}` divides by the length of weights that all start as 0",
        spec.source.key(*path, row.weight_norm),
        found=f"`{row.weights}`",
        expected="initial weights other than 0",
    )


def _input_shape(spec: Spec, path: tuple[str, ...], read: Input, shapes: Mapping[str, Shape]) -> Shape | Diagnostic:
    parts = []
    for part in read.parts:
        all_read = [atom for summand in part for atom in factors_of(summand)]
        atoms = [((atom.channels, 1, 1) if isinstance(atom, Zeros) else shapes[atom.name]) for atom in all_read]
        if len({shape[0] for shape in atoms}) > 1 or _extent(atoms) is None:
            texts = {str(atom): f"`{atom}` {shape_text(shape)}" for atom, shape in zip(all_read, atoms, strict=True)}
            found = [" * ".join(texts[str(atom)] for atom in factors_of(summand)) for summand in part]
            does = "adds" if len(part) > 1 else "multiplies"
            return Diagnostic(
                "shape-mismatch",
                f"row `{path[-1]}` {does} things of different shapes",
                spec.source.value(*path, "input"),
                found=" + ".join(found),
                expected="equal channels, and equal height and width or 1x1",
            )
        parts.append((atoms[0][0], *(_extent(atoms) or (1, 1))))
    extent = _extent(parts)
    if extent is None:
        return Diagnostic(
            "shape-mismatch",
            f"row `{path[-1]}` joins things of different height and width",
            spec.source.value(*path, "input"),
            found=" | ".join(f"{shape_text(shape)}" for shape in parts),
            expected="equal height and width, or 1x1, which is repeated",
        )
    return (sum(shape[0] for shape in parts), *extent)


def _extent(shapes: list[Shape]) -> tuple[int, int] | None:
    extents = {shape[1:] for shape in shapes} - {(1, 1)}
    if len(extents) > 1:
        return None
    return extents.pop() if extents else (1, 1)


def _operation_shape(
    spec: Spec,
    path: tuple[str, ...],
    row: Row,
    operation: str | None,
    shapes: Mapping[str, Shape],
    in_shape: Shape,
) -> Shape | Diagnostic:
    name = path[-1]
    if operation is None:
        found = in_shape if row.choose is None else _chosen_shape(spec, path, row.choose.name, in_shape, shapes)
        if not isinstance(found, Diagnostic) and row.channels is not None and _numbers(row, row.channels) != found[0]:
            return Diagnostic(
                "channels-mismatch",
                f"row `{name}` has {found[0]} channels, but says {row.channels}",
                spec.source.value(*path, "channels"),
                found=f"{found[0]}, from `{row.input}`",
                expected=f"{row.channels}",
                hint="a row without a width passes its input's channels on; a layer has `width: N` or `op: linear`",
            )
        return found
    channels, height, width = in_shape
    out, does = _numbers(row, row.channels or 0), OPERATIONS[operation]
    if does.own is not None:
        return _own_shape(spec, path, row, does.own, in_shape)
    if (refused := _uneven_channels(spec, path, row, operation, channels)) is not None:
        return refused
    if does.size is None:
        return (_numbers(row, row.shape[0]), *row.shape[1:]) if row.shape else (out, 1, 1)
    columns = {"width": row.width or 1, "stride": row.stride or 1, "padding": row.padding or 0}
    down, right = kernels(**columns)
    result = (out, does.size(height, down), does.size(width, right))
    fits = min(result[1:]) >= 1
    too_much = does.adds_padding and any(kernel.padding >= kernel.width for kernel in (down, right))
    if not fits or too_much:
        return Diagnostic(
            "kernel-mismatch",
            f"the kernel of row `{name}` does not fit its input",
            spec.source.value(*path, "padding" if fits or not does.adds_padding else "width"),
            found=", ".join([f"input {shape_text(in_shape)}", *(f"{n} {sides_text(v)}" for n, v in columns.items())]),
            expected="padding below the width" if fits else "at least one output position",
            hint=f"output size: {does.formula}",
        )
    return result


def _uneven_channels(spec: Spec, path: tuple[str, ...], row: Row, operation: str, channels: int) -> Diagnostic | None:
    """Groups, runs or heads that the channels cannot be parted into."""
    name, out, does = path[-1], _numbers(row, row.channels or 0), OPERATIONS[operation]
    if does.weights is None and does.runs is None and channels % out:
        return Diagnostic(
            "channels-mismatch",
            f"row `{name}` has {out} groups of channels, which do not divide the {channels} that it reads",
            spec.source.value(*path, "channels"),
            found=f"{channels}, from `{row.input}`",
            expected=f"a divisor of {channels}",
        )
    heads = row.heads or 1
    if does.runs is not None and channels != does.runs * out:
        return Diagnostic(
            "channels-mismatch",
            f"row `{name}` takes {does.runs} runs of {out} channels",
            spec.source.value(*path, "channels"),
            found=f"{channels}, from `{row.input}`",
            expected=f"{does.runs} times `channels`",
        )
    if does.runs is not None and out % heads:
        return Diagnostic(
            "channels-mismatch",
            f"row `{name}` has {counted(heads, 'head')}, which do not divide its {out} channels",
            spec.source.value(*path, "heads"),
            expected=f"a divisor of {out}",
        )
    return None


def _own_shape(spec: Spec, path: tuple[str, ...], row: Row, own: Own, in_shape: Shape) -> Shape | Diagnostic:
    """What a program's module makes of an input of that shape."""
    try:
        found = own.look(in_shape).shape
    except ValueError as error:
        return Diagnostic(
            "shape-mismatch",
            f"the module `{row.op}` cannot stand in row `{path[-1]}`: {error}",
            spec.source.value(*path, "op"),
            found=f"input {shape_text(in_shape)}",
            expected="a module that takes such examples, and learns by gradients",
        )
    if row.channels is not None and _numbers(row, row.channels) != found[0]:
        return Diagnostic(
            "channels-mismatch",
            f"row `{path[-1]}` has {found[0]} channels, but says {row.channels}",
            spec.source.value(*path, "channels"),
            found=f"{shape_text(found)}, from the module `{row.op}`",
            expected=f"{row.channels}",
        )
    return found


def _numbers(row: Row, channels: int) -> int:
    """How many channels an activation takes to give so many: of a triangular matrix as many as it has numbers."""
    packed = row.activation is not None and row.activation.kind.triangle
    return channels * (channels + 1) // 2 if packed else channels


def _activated_shape(spec: Spec, path: tuple[str, ...], row: Row, inner: Shape) -> Shape | Diagnostic:
    """A triangular matrix of n (n + 1) / 2 numbers gives n; any other activation as many as it takes."""
    if row.activation is None or not row.activation.kind.triangle:
        return inner
    size = math.isqrt(2 * inner[0])
    if _numbers(row, size) == inner[0]:
        return (size, *inner[1:])
    return Diagnostic(
        "channels-mismatch",
        f"`{row.activation.name}` takes the n (n + 1) / 2 numbers of a triangle, and row `{path[-1]}` has {inner[0]}",
        spec.source.value(*path, "activation"),
        found=f"{inner[0]}, from `{row.input}`",
        expected=f"{_numbers(row, size)} or {_numbers(row, size + 1)}",
        hint="a layer, `width: 1`, has as many as its `channels` need",
    )


def _pooled_shape(spec: Spec, path: tuple[str, ...], row: Row, inner: Shape) -> Shape | Diagnostic:
    if row.upsample is not None:
        down, right = pair(row.upsample.size)
        return (inner[0], inner[1] * down, inner[2] * right)
    if row.pool is None:
        return inner
    high, wide = pair(row.pool.size)
    if inner[1] % high or inner[2] % wide:
        return Diagnostic(
            "pool-mismatch",
            f"the windows of `{row.pool}` do not tile row `{path[-1]}`",
            spec.source.value(*path, "pool"),
            found=f"{inner[1]}x{inner[2]} positions",
            expected=f"height and width divisible by {sides_text(row.pool.size, ' and ')}",
        )
    return (inner[0], inner[1] // high, inner[2] // wide)


def _misplaced_activation(spec: Spec, path: tuple[str, ...], row: Row, inner: Shape) -> Diagnostic | None:
    """Some activations act on one position alone, and some on several."""
    single = inner[1:] == (1, 1)
    if row.activation is None:
        return None
    if row.activation.kind.of == "channels" and not single:
        does = "mixes" if row.activation.kind.triangle else "chooses among"
        problem = f"{does} channels, but row `{path[-1]}` has more than one position"
        expected = f"{inner[0]}x1x1"
    elif row.activation.kind.of == "places" and single:
        problem = f"moves what stands at other positions, and row `{path[-1]}` has only one"
        expected = "an image, or rows of a height and a width"
    elif row.activation.kind.square and inner[1] != inner[2]:
        problem, expected = f"is of squares, and row `{path[-1]}` is none", "height and width that are equal"
    else:
        return None
    return Diagnostic(
        "shape-mismatch",
        f"`{row.activation.name}` {problem}",
        spec.source.value(*path, "activation"),
        found=shape_text(inner),
        expected=expected,
    )


def _uneven_norm(spec: Spec, path: tuple[str, ...], row: Row, inner: Shape) -> Diagnostic | None:
    """The groups of a normalisation are of equal size, and hold more than one number of an example."""
    if row.norm is None:
        return None
    groups = row.norm.groups_of(inner[0])
    if inner[0] % groups:
        return Diagnostic(
            "channels-mismatch",
            f"row `{path[-1]}` has {groups} groups of channels to normalise, which do not divide its {inner[0]}",
            spec.source.value(*path, "norm"),
            expected=f"a divisor of {inner[0]}",
        )
    if math.prod(inner) == groups:
        return Diagnostic(
            "shape-mismatch",
            f"`{row.norm}` norm of row `{path[-1]}` has groups of one number, which would all become 0",
            spec.source.value(*path, "norm"),
            found=shape_text(inner),
            expected="more positions, or fewer groups, as in `layer`",
        )
    return None
