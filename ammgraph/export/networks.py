"""A layer table as a class: its layers by the names of their rows, and a straight-line function for each use."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ammgraph.diagnostics import counted
from ammgraph.export.calls import Function, shape_of
from ammgraph.export.code import ATTRIBUTES, TAKEN, WIDTH, Names, call, commented, docstring, number
from ammgraph.layers.operations import POOLS, UNSAID, UPSAMPLES, Linear
from ammgraph.plan.networks import NetworkPlan, RowPlan, shape_text
from ammgraph.spec.columns import Activation
from ammgraph.spec.notation import Named, Times, Zeros, factors_of

_INDENT = " " * 8


@dataclass(frozen=True)
class _Table:
    """A network, and what its code calls things: the attributes of its class, the variables of its functions."""

    network: NetworkPlan
    own: Mapping[str, str]
    local: Names


def attributes(network: NetworkPlan) -> dict[str, str]:
    """Row -> attribute of its layer, and `ROW/norm` -> attribute of its normalisation."""
    layers = [row.name for row in network.rows if row.linear]
    names = Names(ATTRIBUTES, layers)
    norms = {
        f"{row.name}/norm": names.of(f"{row.name}/norm", f"{row.name}_norm") for row in network.rows if row.normalised
    }
    return {row: names.of(row) for row in layers} | norms


# Of a network that is not trained.
_STILL = [
    "",
    "    def train(self, mode: bool = True) -> nn.Module:",
    f'{_INDENT}"""It stands still: batch norm by its running statistics, whatever is asked."""',
    f"{_INDENT}return super().train(False)",
]


def network_code(
    network: NetworkPlan, name: str, functions: Mapping[Function, str], momentum: float, epsilon: float
) -> list[str]:
    """The class of a network, called `name`."""
    things = [name for name, _ in network.inputs] + [row.name for row in network.rows]
    table = _Table(network, attributes(network), Names({*TAKEN, "self", "noise", "like"}, things))
    reads = ", ".join(f"{name} {shape_text(shape)}" for name, shape in network.inputs) or "nothing"
    lines = [f"class {name}(nn.Module):"]
    lines += docstring(f"Network `{network.name}`: reads {reads}; {counted(network.parameters, 'parameter')}.", "    ")
    lines += ["", "    def __init__(self) -> None:", f"{_INDENT}super().__init__()"]
    for row in network.rows:
        if row.linear is not None:
            lines += _layer(row, row.linear, table.own[row.name])
            lines += _wrapped(row, row.linear, table.own[row.name])
        if row.norm is not None:
            sizes = [str(row.norm.groups_of(row.inner_shape[0])), str(row.inner_shape[0])]
            lines += call(f"self.{table.own[f'{row.name}/norm']} = nn.GroupNorm", sizes, _INDENT)
        if row.batchnorm:
            numbers = [str(row.inner_shape[0])]
            numbers += [] if epsilon == 1e-5 else [f"eps={number(epsilon)}"]
            numbers += [] if momentum == 0.1 else [f"momentum={number(momentum)}"]
            lines += call(f"self.{table.own[f'{row.name}/norm']} = nn.BatchNorm2d", numbers, _INDENT)
    for function, method in functions.items():
        lines += ["", *_function(table, function, method)]
    lines += [] if network.trainable else _STILL
    return lines


def _layer(row: RowPlan, linear: Linear, attribute: str) -> list[str]:
    inside, outside = row.in_shape[0], row.units
    columns = row.columns
    arguments = [str(inside if columns else math.prod(row.in_shape)), str(outside)]
    arguments += [str(columns.pop("width"))] if columns else []
    arguments += [f"{name}={value}" for name, value in columns.items() if value != UNSAID[name]]
    arguments += [] if row.bias else ["bias=False"]
    return call(f"self.{attribute} = nn.{linear.module}", arguments, _INDENT)


def _wrapped(row: RowPlan, linear: Linear, attribute: str) -> list[str]:
    """What is made of a layer's weights."""
    if row.normed is None:
        return []
    arguments = [f"self.{attribute}", f"dim={linear.axis}"]
    return call(f"self.{attribute} = {row.normed.exported}", arguments, _INDENT)


def _function(table: _Table, function: Function, name: str) -> list[str]:
    network = table.network
    inputs = [table.local.of(given) for given in function.given] or ["like"]
    count = len(function.returns) + len(function.probabilities) + len(function.raw)
    result = "Tensor" if count == 1 else f"tuple[{', '.join(['Tensor'] * count)}]"
    given = ", ".join(f"{name} {shape_text(shape_of(network, name))}" for name in function.given)
    told = [f"{row} {shape_text(network.row(row).out_shape)}" for row in function.returns]
    told += [f"the probabilities of {row} {shape_text(network.row(row).out_shape)}" for row in function.probabilities]
    told += [f"{row} {shape_text(network.row(row).inner_shape)} before its activation" for row in function.raw]
    parameters = ["self", *(f"{name}: Tensor" for name in inputs), "noise: Noise"]
    parameters += ["parts: tuple[list[int], list[int]] | None = None"] if function.shared else []
    lines = call(f"def {name}", parameters, "    ", f" -> {result}:")
    lines += docstring(f"{given or 'As many examples as `like` has'} -> {', '.join(told)}.", _INDENT)
    for row_name in function.shared:
        lines += _row(table, network.row(row_name), inputs[0], function)
    for name in function.repeats:
        lines.append(f"{_INDENT}{table.local.of(name)} = as_often({table.local.of(name)}, parts)")
    for row_name in (row for row in function.rows if row not in function.shared):
        lines += _row(table, network.row(row_name), inputs[-1] if function.shared else inputs[0], function)
    values = [_target(table, row, function) for row in function.returns]
    values += [f"torch.softmax({_logits(table, row)}, dim=1)" for row in function.probabilities]
    values += [_raw(table, row) for row in function.raw]
    return [*lines, f"{_INDENT}return {', '.join(values)}"]


def _target(table: _Table, row: str, function: Function) -> str:
    """The name of a row; where the row is given too, another one."""
    return table.local.of(f"{row}/own", f"{row}_own") if row in function.given else table.local.of(row)


def _raw(table: _Table, row: str) -> str:
    """The name of what stands before the activation of a row that is scored."""
    return table.local.of(f"{row}/raw", f"{row}_raw")


def has_hidden_probabilities(network: NetworkPlan, row: str) -> bool:
    """The row's probabilities are not its value without noise: it is a hard or a tempered category."""
    activation = network.row(row).activation
    return activation is not None and activation.kind.density == "categorical" and activation.name != "softmax"


def _row(table: _Table, row: RowPlan, like: str, function: Function) -> list[str]:
    """Noise, dropout, operation, batch norm, activation, pool: nested as far as they fit into a line."""
    target, own, lines = _target(table, row.name, function), table.own, list[str]()
    value = _input(table, row, like)

    def wrap(before: str, after: str) -> None:
        nonlocal value
        if len(_INDENT) + len(target) + 3 + len(before) + len(value) + len(after) > WIDTH and value != target:
            lines.append(f"{_INDENT}{target} = {value}")
            value = target
        value = f"{before}{value}{after}"

    if row.noise:
        wrap("disturbed(", f', {number(row.noise)}, noise.get("{row.name}.noise"))')
    if row.dropout:
        wrap("dropout(", f', {number(row.dropout)}, noise.get("{row.name}.mask"))')
    if row.choose:
        wrap("chosen(", f", {table.local.of(row.choose)})")
    if row.operation is not None:
        wrap(*_operation(row, row.operation.torch, own.get(row.name, "")))
    if row.normalised:
        wrap(f"self.{own[f'{row.name}/norm']}(", ")")
    others = {name for other in function.rows for name in table.network.row(other).reads} - {*function.given}
    if row.name in function.raw:
        lines += commented(f"{_INDENT}{_raw(table, row.name)} = {value}", shape_text(row.inner_shape))
        value = _raw(table, row.name)
        if row.name not in (*function.returns, *others):
            return lines
    if row.activation is not None:
        if row.name in function.probabilities:
            logits = _logits(table, row.name)
            if value != logits:
                lines += commented(f"{_INDENT}{logits} = {value}", shape_text(row.out_shape))
                value = logits
            if row.name not in (*function.returns, *others):
                return lines
        wrap(*_activation(row.name, row.activation))
    if row.pool is not None:
        wrap(f"{POOLS[row.pool.kind]}(", f", {row.pool.size})")
    if row.upsample is not None:
        wrap(f"{UPSAMPLES[row.upsample.kind]}(", f", scale_factor={row.upsample.size})")
    *before, last = [*lines, f"{_INDENT}{target} = {value}"]
    if len(last) > WIDTH:
        return [*before, f"{_INDENT}# {shape_text(row.out_shape)}", *_long(target, value)]
    return [*before, *commented(last, shape_text(row.out_shape))]


def _operation(row: RowPlan, function: str, layer: str) -> tuple[str, str]:
    """What stands before and after the input of an operation: a function, or the row's layer."""
    if row.linear is None and row.columns:
        return f"{function}(", f", {', '.join(str(value) for value in row.columns.values())})"
    if row.linear is None:
        return f"{function}(groups(", f", {row.inner_shape[0]}), dim=2)"
    if row.shaped:
        return f"self.{layer}(torch.flatten(", f", 1)).unflatten(1, {row.inner_shape})"
    if not row.columns:
        return f"vector(self.{layer}(torch.flatten(", ", 1)))"
    return f"self.{layer}(", ")"


def _logits(table: _Table, row: str) -> str:
    """The name of what a categorical row's activation acts on: the row that it reads, if it does nothing else to it."""
    plan = table.network.row(row)
    if plan.passes_on and plan.input.single and plan.reads:
        return table.local.of(plan.reads[0])
    return table.local.of(f"{row}/logits", f"{row}_logits")


def _long(target: str, value: str) -> list[str]:
    """A sum or a concatenation that does not fit into a line."""
    if value.startswith("torch.cat(["):
        parts = value.removeprefix("torch.cat([").removesuffix("], dim=1)").split(", ")
        head = [f"{_INDENT}{target} = torch.cat(", f"{_INDENT}    [", *(f"{_INDENT}        {part}," for part in parts)]
        return [*head, f"{_INDENT}    ],", f"{_INDENT}    dim=1,", f"{_INDENT})"]
    first, *rest = value.split(" + ")
    return [f"{_INDENT}{target} = (", f"{_INDENT}    {first}", *(f"{_INDENT}    + {x}" for x in rest), f"{_INDENT})"]


def _input(table: _Table, row: RowPlan, like: str) -> str:
    """Products, sums, then concatenation along channels, for which a vector is repeated over height and width."""
    sums = [" + ".join(_product(table, summand, like) for summand in part) for part in row.input.parts]
    if len(sums) == 1:
        return sums[0]
    height, width = row.in_shape[1:]
    parts = []
    for part, value in zip(row.input.parts, sums, strict=True):
        atoms = [atom for summand in part for atom in factors_of(summand)]
        small = (height, width) != (1, 1) and all(_is_vector(table.network, atom) for atom in atoms)
        value = f"({value})" if small and len(atoms) > 1 else value
        parts.append(f"{value}.expand(-1, -1, {height}, {width})" if small else value)
    return f"torch.cat([{', '.join(parts)}], dim=1)"


def _product(table: _Table, summand: Named | Zeros | Times, like: str) -> str:
    return " * ".join(_atom(table, atom, like) for atom in factors_of(summand))


def _atom(table: _Table, atom: Named | Zeros, like: str) -> str:
    return f"zeros({like}, {atom.channels})" if isinstance(atom, Zeros) else table.local.of(atom.name)


def _is_vector(network: NetworkPlan, atom: Named | Zeros) -> bool:
    return isinstance(atom, Zeros) or shape_of(network, atom.name)[1:] == (1, 1)


def _activation(row: str, activation: Activation) -> tuple[str, str]:
    """What stands before and behind the value."""
    kind = activation.kind
    arguments = [] if activation.parameter is None else [number(activation.parameter)]
    arguments += [] if kind.noise is None else [f'noise.get("{row}.{kind.noise.name}")']
    arguments += [f"{name}={value}" for name, value in kind.keywords]
    return f"{kind.torch}(", "".join(f", {argument}" for argument in arguments) + ")"
