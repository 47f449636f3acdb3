"""Distributions: is each one a factorization, and what draws each of its factors.

A distribution's factors form a directed acyclic graph over the variables; a factor drawn by a row of a network has as
conditions exactly the variables which that row reads (language rule R1).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from ammgraph.diagnostics import Diagnostic, Note, did_you_mean
from ammgraph.graph.plan import Shape, VariablePlan, shape_text
from ammgraph.graph.rows import Table
from ammgraph.spec.notation import Factor, Reference, parse_factor
from ammgraph.spec.schema import (
    DataSource,
    Empirical,
    ImageVariable,
    Mixture,
    Normal,
    Probabilities,
    RandomMeans,
    Source,
    Spec,
    Uniform,
)

Variables = Mapping[str, VariablePlan]


@dataclass(frozen=True)
class Declared:
    """A factor as a distribution declares it; an alias shares its target's factors, places included."""

    draw: str
    factor: Factor
    source: Source
    path: tuple[str, ...]

    @property
    def network(self) -> Reference | None:
        """The row that draws the factor, if one does."""
        return self.source if isinstance(self.source, Reference) else None


@dataclass(frozen=True)
class Use:
    """A network used for one of its rows: by a factor, which the row draws, or by a game as its discriminator."""

    scope: str  # the distribution or the game
    reference: Reference
    variable: str  # the variable drawn; empty for a discriminator
    path: tuple[str | int, ...]


def plan_variables(spec: Spec) -> dict[str, VariablePlan]:
    """The declared variables with their shapes; vectors are (size, 1, 1)."""
    plans = {}
    for name, variable in spec.variables.items():
        if isinstance(variable, ImageVariable):
            plans[name] = VariablePlan(name, "image", variable.shape, variable.range)
        else:
            plans[name] = VariablePlan(name, variable.type, (variable.size, 1, 1))
    return plans


def declared_factors(spec: Spec) -> dict[str, tuple[Declared, ...]]:
    """Every distribution's factors in the order of the spec."""
    declared = {}
    for name, value in spec.distributions.items():
        target = value if isinstance(value, str) else name
        factors = spec.distributions[target]
        assert not isinstance(factors, str), "an alias of an alias is refused while loading"
        declared[name] = tuple(
            Declared(name, parse_factor(text), source, ("distributions", target, text))
            for text, source in factors.items()
        )
    return declared


def check_factors(
    spec: Spec, variables: Variables, declared: Mapping[str, Sequence[Declared]], tables: Mapping[str, Table | None]
) -> Iterator[Diagnostic]:
    """Each distribution is a factorization of declared variables, and each factor's origin can draw it."""
    for factors in declared.values():
        yield from _variables_exist(spec, variables, factors)
        yield from _variables_are_produced_once(spec, factors)
        yield from _factors_are_acyclic(spec, factors)
        for factor in factors:
            if all(name in variables for name in factor.factor.variables + factor.factor.given):
                yield from _origin_fits(spec, variables, declared, tables, factor)


def sampling_order(factors: Sequence[Declared]) -> tuple[Declared, ...]:
    """The factors in the order of sampling: topological, ties by position in the spec."""
    producer = {name: index for index, declared in enumerate(factors) for name in declared.factor.variables}
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(factors)))
    graph.add_edges_from(
        (producer[name], index)
        for index, declared in enumerate(factors)
        for name in declared.factor.given
        if name in producer
    )
    return tuple(factors[index] for index in nx.lexicographical_topological_sort(graph))


def order_draws(spec: Spec, declared: Mapping[str, Sequence[Declared]]) -> tuple[tuple[str, ...], list[Diagnostic]]:
    """The distributions in an order in which one may take another's samples."""
    graph = nx.DiGraph()
    graph.add_nodes_from(declared)
    taken = [
        (factor.source.owner, factor)
        for factors in declared.values()
        for factor in factors
        if isinstance(factor.source, Reference) and factor.source.owner in declared
    ]
    graph.add_edges_from((owner, factor.draw) for owner, factor in taken)
    position = {name: index for index, name in enumerate(declared)}
    try:
        return tuple(nx.lexicographical_topological_sort(graph, key=position.__getitem__)), []
    except nx.NetworkXUnfeasible:
        cycle = [edge[0] for edge in nx.find_cycle(graph)]
        first = next(factor for owner, factor in taken if factor.draw in cycle and owner in cycle)
        problem = Diagnostic(
            "factor-cycle",
            "distributions take each other's samples in a circle",
            spec.source.value(*first.path),
            found=" -> ".join(f"`{name}`" for name in [*cycle, cycle[0]]),
        )
        return tuple(declared), [problem]


def uses_of(declared: Mapping[str, Sequence[Declared]], spec: Spec) -> list[Use]:
    """Every place that names a row of a network."""
    uses = [
        Use(factor.draw, factor.network, factor.factor.variables[0], factor.path)
        for factors in declared.values()
        for factor in factors
        if factor.network is not None and factor.network.owner in spec.networks
    ]
    games = [Use(name, game.discriminator, "", ("games", name, "discriminator")) for name, game in spec.games.items()]
    return uses + [use for use in games if use.reference.owner in spec.networks]


def locals_of(
    table: Table, uses: Sequence[Use], scope: str, reference: Reference, variables: Variables
) -> dict[str, str]:
    """Local name -> variable, of one evaluation: bound by the call, drawn here, or of the same name (rules R2, R3)."""
    same = {name: name for name in [*table.rows, *table.free] if name in variables}
    drawn = {
        use.reference.name: use.variable
        for use in uses
        if use.variable
        and (use.scope, use.reference.owner, use.reference.bindings) == (scope, reference.owner, reference.bindings)
    }
    return same | dict(reference.bindings) | drawn


def check_uses(
    spec: Spec, variables: Variables, tables: Mapping[str, Table], uses: Sequence[Use]
) -> Iterator[Diagnostic]:
    """Every call names rows and names that the network has, and variables that exist."""
    for use in uses:
        table, span = tables[use.reference.owner], spec.source.value(*use.path)
        for local, variable in use.reference.bindings:
            if local not in table.free and local not in table.rows:
                yield Diagnostic(
                    "unknown-name",
                    f"`{use.reference.owner}` reads no `{local}`",
                    span,
                    hint=did_you_mean(local, table.free),
                )
            if variable not in variables:
                yield Diagnostic(
                    "unknown-variable", f"`{variable}` is not a variable", span, hint=did_you_mean(variable, variables)
                )


def network_inputs(
    spec: Spec, variables: Variables, table: Table, uses: Sequence[Use], problems: list[Diagnostic]
) -> dict[str, Shape]:
    """The shapes of the names that a network reads from outside: those of the variables bound to them, everywhere the same."""
    shapes: dict[str, Shape] = {}
    known = set(variables)
    for use in uses:
        if use.reference.owner != table.network:
            continue
        bound = locals_of(table, uses, use.scope, use.reference, variables)
        known |= set(bound)
        for local in table.free:
            variable = bound.get(local)
            if variable is None or variable not in variables:
                continue
            shape = variables[variable].shape
            if shapes.setdefault(local, shape) != shape:
                problems.append(
                    Diagnostic(
                        "shape-mismatch",
                        f"`{local}` of `{table.network}` stands for variables of different shapes",
                        spec.source.value(*use.path),
                        found=f"`{variable}` {shape_text(shape)}, elsewhere {shape_text(shapes[local])}",
                        expected="one shape",
                    )
                )
    for name in table.free:
        if name in variables:
            shapes.setdefault(name, variables[name].shape)
    return shapes


def check_conditions(
    spec: Spec,
    variables: Variables,
    declared: Mapping[str, Sequence[Declared]],
    tables: Mapping[str, Table],
    uses: Sequence[Use],
) -> Iterator[Diagnostic]:
    """A factor's conditions are exactly the variables that its row reads, stopping at variables (R1)."""
    for factors in declared.values():
        for factor in factors:
            reference = factor.network
            if reference is None or reference.owner not in tables:
                continue
            table = tables[reference.owner]
            bound = locals_of(table, uses, factor.draw, reference, variables)
            given = frozenset(bound) & frozenset(table.rows)
            reads = {bound[name] for name in table.reads(reference.name, given) if name in bound}
            written = set(factor.factor.given)
            if reads == written:
                continue
            actual = Factor(factor.factor.head, factor.factor.variables, tuple(reads))
            actual = actual.canonical({name: index for index, name in enumerate(variables)})
            yield Diagnostic(
                "condition-mismatch",
                _condition_message(factor, reads - written, written - reads),
                spec.source.key(*factor.path),
                found=f"`{reference}` reads {_listing(reads)}",
                expected=f"conditions {_listing(written)}",
                hint=f"write `{actual}`, or change what row `{reference.name}` reads",
                notes=(
                    Note(
                        f"row `{reference.name}` stands here",
                        spec.source.key("networks", reference.owner, "layers", reference.name),
                    ),
                ),
            )


def _condition_message(factor: Declared, missing: set[str], unread: set[str]) -> str:
    parts = []
    if unread:
        parts.append(f"its row never reads {_listing(unread)}")
    if missing:
        parts.append(f"its row also reads {_listing(missing)}")
    return f"`{factor.factor}`: {' and '.join(parts)}"


def _listing(names: set[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "nothing"


def _variables_exist(spec: Spec, variables: Variables, factors: Sequence[Declared]) -> Iterator[Diagnostic]:
    for factor in factors:
        for name in dict.fromkeys(factor.factor.variables + factor.factor.given):
            if name not in variables:
                yield Diagnostic(
                    "unknown-variable",
                    f"`{factor.factor}` names `{name}`, which is not a variable",
                    spec.source.key(*factor.path),
                    hint=did_you_mean(name, variables),
                )


def _variables_are_produced_once(spec: Spec, factors: Sequence[Declared]) -> Iterator[Diagnostic]:
    first: dict[str, Declared] = {}
    for factor in factors:
        for name in factor.factor.variables:
            if name in factor.factor.given:
                yield Diagnostic(
                    "factor-cycle",
                    f"`{factor.factor}` draws `{name}` given itself",
                    spec.source.key(*factor.path),
                    expected="a variable on one side of the bar",
                )
            if name in first:
                yield Diagnostic(
                    "variable-drawn-twice",
                    f"`{name}` is drawn twice in `{factor.draw}`",
                    spec.source.key(*factor.path),
                    found=f"`{first[name].factor}` and `{factor.factor}`",
                    expected="one factor for each variable",
                    notes=(Note("drawn first here", spec.source.key(*first[name].path)),),
                )
            first.setdefault(name, factor)


def _factors_are_acyclic(spec: Spec, factors: Sequence[Declared]) -> Iterator[Diagnostic]:
    producer = {name: factor for factor in factors for name in factor.factor.variables}
    graph = nx.DiGraph()
    for factor in factors:
        graph.add_edges_from(
            (given, name)
            for given in factor.factor.given
            for name in factor.factor.variables
            if given in producer and given != name
        )
    try:
        cycle = [edge[0] for edge in nx.find_cycle(graph)]
    except nx.NetworkXNoCycle:
        return
    first = min((producer[name] for name in cycle), key=lambda factor: spec.source.key(*factor.path))
    texts = dict.fromkeys(str(producer[name].factor) for name in cycle)
    yield Diagnostic(
        "factor-cycle",
        f"the factors of `{first.draw}` depend on each other in a circle",
        spec.source.key(*first.path),
        found=", ".join(f"`{text}`" for text in texts),
        expected="an order in which every condition is drawn before it is needed",
    )


def _origin_fits(
    spec: Spec,
    variables: Variables,
    declared: Mapping[str, Sequence[Declared]],
    tables: Mapping[str, Table | None],
    factor: Declared,
) -> Iterator[Diagnostic]:
    source, head = factor.source, factor.factor
    span = spec.source.value(*factor.path)
    if isinstance(source, DataSource):
        yield from _data_fits(spec, variables, factor)
        return
    if len(head.variables) != 1:
        yield Diagnostic(
            "wrong-origin",
            f"`{head}` draws {len(head.variables)} variables at once, which only data can",
            span,
            found=f"`{source}`",
            expected="one factor for each variable",
        )
        return
    variable = variables[head.variables[0]]
    if isinstance(source, Reference):
        yield from _reference_fits(spec, variables, declared, tables, factor, source)
    elif isinstance(source, Mixture):
        yield from _mixture_fits(spec, variables, factor, source)
    else:
        if head.given:
            yield Diagnostic(
                "wrong-origin",
                f"`{head}` has conditions, but `{source}` reads none",
                span,
                expected=f"`{Factor(head.head, head.variables)}`, or a network's row",
            )
        yield from _support_fits(spec, factor, variable)


def _data_fits(spec: Spec, variables: Variables, factor: Declared) -> Iterator[Diagnostic]:
    head, span = factor.factor, spec.source.value(*factor.path)
    if head.given:
        yield Diagnostic(
            "wrong-origin", f"`{head}` has conditions, but data reads none", span, expected="a factor without `|`"
        )
    if factor.source != DataSource("all") and spec.data.labeled is None:
        yield Diagnostic(
            "no-labels",
            f"`{factor.source}` needs labelled examples, and none are declared",
            span,
            expected="`labeled: {count: N}` in `data`",
            notes=(Note("`data` stands here", spec.source.key("data")),),
        )
    taken: dict[str, str] = {}
    for name in head.variables:
        field = field_of(spec, variables[name])
        if field is None:
            yield Diagnostic(
                "wrong-origin",
                f"`{name}` is a real vector, and the data has no such field",
                span,
                found="fields `image` and `label`",
                expected="an image or a categorical variable",
            )
        elif field in taken:
            yield Diagnostic(
                "wrong-origin",
                f"`{taken[field]}` and `{name}` are both the {field} of one record",
                span,
                expected="one variable for each field",
                hint="factors of their own draw independent records",
            )
        else:
            taken[field] = name
            yield from _data_shape_fits(spec, variables[name], span)


# data set -> image shape, number of classes
KNOWN_DATA: dict[str, tuple[Shape, int]] = {
    "digits": ((1, 8, 8), 10),
    "mnist": ((1, 28, 28), 10),
    "svhn": ((3, 32, 32), 10),
}


def _data_shape_fits(spec: Spec, variable: VariablePlan, span: object) -> Iterator[Diagnostic]:
    known = KNOWN_DATA.get(spec.data.dataset)
    if known is None:
        return
    note = (Note("the data set is chosen here", spec.source.value("data", "dataset")),)
    if variable.kind == "image" and variable.shape != known[0]:
        yield Diagnostic(
            "data-mismatch",
            f"`{variable.name}` is {shape_text(variable.shape)}, but the images of `{spec.data.dataset}` are {shape_text(known[0])}",
            spec.source.value("variables", variable.name, "shape"),
            expected=f"`shape: [{', '.join(str(size) for size in known[0])}]`",
            notes=note,
        )
    if variable.kind == "categorical" and variable.shape[0] < known[1]:
        yield Diagnostic(
            "data-mismatch",
            f"`{variable.name}` has {variable.shape[0]} categories, but `{spec.data.dataset}` has {known[1]} classes",
            spec.source.value("variables", variable.name, "size"),
            expected=f"at least {known[1]}",
            notes=note,
        )


def field_of(spec: Spec, variable: VariablePlan) -> str | None:
    """The field of a record that a variable takes: as declared, else by its type (R12)."""
    by_type = {"image": "image", "categorical": "label"}
    return spec.data.fields.get(variable.name, by_type.get(variable.kind))


def _reference_fits(
    spec: Spec,
    variables: Variables,
    declared: Mapping[str, Sequence[Declared]],
    tables: Mapping[str, Table | None],
    factor: Declared,
    source: Reference,
) -> Iterator[Diagnostic]:
    head, span = factor.factor, spec.source.value(*factor.path)
    if source.owner in declared:
        if source.bindings or head.given:
            yield Diagnostic(
                "wrong-origin",
                f"`{head}` takes a sample of `{source.owner}` as it is",
                span,
                found=f"`{source}`",
                expected=f"`{Factor(head.head, head.variables)}: {source.owner}.{source.name}`",
            )
        drawn = [name for other in declared[source.owner] for name in other.factor.variables]
        if source.name not in drawn:
            yield Diagnostic(
                "missing-factor",
                f"`{source.owner}` draws no `{source.name}`",
                span,
                hint=did_you_mean(source.name, drawn),
            )
        elif source.name in variables and variables[source.name].shape != variables[head.variables[0]].shape:
            yield Diagnostic(
                "shape-mismatch",
                f"`{head.variables[0]}` and `{source}` have different shapes",
                span,
                found=shape_text(variables[source.name].shape),
                expected=shape_text(variables[head.variables[0]].shape),
            )
        return
    if source.owner not in spec.networks:
        yield Diagnostic(
            "unknown-network",
            f"`{source.owner}` is neither a network nor a distribution",
            span,
            hint=did_you_mean(source.owner, [*spec.networks, *declared]),
        )
        return
    layers = spec.networks[source.owner].layers
    if source.name not in layers:
        yield Diagnostic(
            "unknown-row", f"`{source.owner}` has no row `{source.name}`", span, hint=did_you_mean(source.name, layers)
        )
    elif source.name != head.variables[0] and not source.bindings:
        yield Diagnostic(
            "row-is-no-variable",
            f"`{head}` draws `{head.variables[0]}`, but `{source}` is another row's name",
            span,
            found=f"row `{source.name}`",
            expected=f"a row named `{head.variables[0]}`",
            hint=f"a row named like a variable is that variable: rename the row, or bind names, as in `{source.owner}(a=b).{source.name}`",
        )


def _mixture_fits(spec: Spec, variables: Variables, factor: Declared, source: Mixture) -> Iterator[Diagnostic]:
    head, span = factor.factor, spec.source.key(*factor.path)
    variable = variables[head.variables[0]]
    given = [variables[name] for name in head.given]
    if variable.kind != "real" or len(given) != 1 or given[0].kind != "categorical":
        yield Diagnostic(
            "wrong-origin",
            f"`{head}` is no mixture",
            span,
            expected="a real variable given one categorical variable, as in `p(z|y)`",
        )
    elif not isinstance(source.means, RandomMeans):
        sizes = sorted({len(mean) for mean in source.means})
        if len(source.means) != given[0].shape[0] or sizes != [variable.shape[0]]:
            yield Diagnostic(
                "prior-mismatch",
                f"the means of `{head}` do not fit its variables",
                spec.source.value(*factor.path, "mixture", "means"),
                found=f"{len(source.means)} means of length {' and '.join(map(str, sizes))}",
                expected=f"{given[0].shape[0]} means of length {variable.shape[0]}",
            )


def _support_fits(spec: Spec, factor: Declared, variable: VariablePlan) -> Iterator[Diagnostic]:
    source, span = factor.source, spec.source.value(*factor.path)
    categorical = variable.kind == "categorical"
    fits = {
        Uniform: (categorical and source == Uniform())
        or (not categorical and isinstance(source, Uniform) and source.bounds is not None),
        Normal: not categorical,
        Empirical: categorical,
        Probabilities: categorical,
    }[type(source)]
    if not fits:
        expected = (
            "`uniform`, `empirical` or a list of probabilities" if categorical else "`normal` or `uniform(low, high)`"
        )
        yield Diagnostic(
            "prior-mismatch",
            f"`{source}` is no prior of `{variable.name}`, which is {'categorical' if categorical else f'a {variable.kind}'}",
            span,
            expected=expected,
        )
    elif isinstance(source, Empirical) and spec.data.labeled is None:
        yield Diagnostic(
            "no-labels",
            "`empirical` counts the classes of the labelled examples, and none are declared",
            span,
            expected="`labeled: {count: N}` in `data`",
            notes=(Note("`data` stands here", spec.source.key("data")),),
        )
    elif isinstance(source, Probabilities):
        total = sum(source.values)
        if len(source.values) != variable.shape[0] or abs(total - 1) > 1e-6:
            yield Diagnostic(
                "prior-mismatch",
                f"the probabilities of `{variable.name}` do not fit it",
                span,
                found=f"{len(source.values)} numbers with sum {total:.6g}",
                expected=f"{variable.shape[0]} numbers with sum 1",
            )
