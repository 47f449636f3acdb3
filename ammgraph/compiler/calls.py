"""Calls of networks: what each name inside stands for, and what a drawn row reads.

A factor drawn by a row of a network has as conditions exactly the variables which that row reads (language rule R1).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ammgraph.compiler.factors import Declared, Variables
from ammgraph.compiler.rows import Table
from ammgraph.diagnostics import Diagnostic, Note, did_you_mean
from ammgraph.plan.plan import Shape, shape_text
from ammgraph.spec.notation import Factor, Reference
from ammgraph.spec.schema import Spec


@dataclass(frozen=True)
class Use:
    """A network used for one of its rows: by a factor, which the row draws, or by a game as its discriminator."""

    scope: str  # the distribution or the game
    reference: Reference
    variable: str  # the variable drawn; empty for a discriminator
    path: tuple[str | int, ...]

    @cached_property
    def call(self) -> str:
        """Its call, equal for uses of one scope that share an evaluation."""
        return self.reference.call


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
    table: Table,
    uses: Sequence[Use],
    scope: str,
    reference: Reference,
    variables: Variables,
) -> dict[str, str]:
    """Local name -> variable, of one evaluation: bound by the call, drawn here, or of the same name (rules R2, R3)."""
    same = {name: name for name in [*table.rows, *table.free] if name in variables}
    return same | dict(reference.bindings) | _drawn_rows(uses, scope, reference)


def outputs_of(uses: Sequence[Use], network: str) -> frozenset[str]:
    """The rows of a network that something outside of it reads: those drawn, and discriminators."""
    return frozenset(use.reference.name for use in uses if use.reference.owner == network)


def _drawn_rows(uses: Sequence[Use], scope: str, reference: Reference) -> dict[str, str]:
    """Row -> variable, of the factors that share one evaluation."""
    call = reference.call
    return {
        use.reference.name: use.variable for use in uses if use.variable and use.scope == scope and use.call == call
    }


def check_uses(
    spec: Spec,
    variables: Variables,
    tables: Mapping[str, Table],
    uses: Sequence[Use],
) -> Iterator[Diagnostic]:
    """Every call binds each name that it reads, once, to a variable; and no row is two variables at once."""
    for index, use in enumerate(uses):
        yield from _bindings_fit(spec, variables, tables[use.reference.owner], use)
        yield from _names_are_bound(spec, variables, tables[use.reference.owner], uses, use)
        for other in uses[:index]:
            same_row = other.reference.name == use.reference.name and other.call == use.call
            if other.scope == use.scope and same_row and use.variable and other.variable != use.variable:
                yield Diagnostic(
                    "variable-drawn-twice",
                    f"`{use.variable}` and `{other.variable}` are one row of one evaluation",
                    spec.source.value(*use.path),
                    found=f"`{use.reference}` twice in `{use.scope}`",
                    expected="a row for each variable",
                    notes=(Note(f"`{other.variable}` is drawn here", spec.source.key(*other.path)),),
                )


def _bindings_fit(spec: Spec, variables: Variables, table: Table, use: Use) -> Iterator[Diagnostic]:
    span, bound = spec.source.value(*use.path), set()
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
                "unknown-variable",
                f"`{variable}` is not a variable",
                span,
                hint=did_you_mean(variable, variables),
            )
        if local in bound:
            yield Diagnostic("bad-binding", f"`{local}` is bound twice in `{use.reference}`", span)
        elif local == use.reference.name and use.variable:
            yield Diagnostic(
                "bad-binding",
                f"row `{local}` is drawn here, as `{use.variable}`, and stands for no other variable",
                span,
                found=f"`{local}={variable}`",
                expected=f"`{Reference(use.reference.owner, use.reference.name)}`",
            )
        bound.add(local)


def _names_are_bound(
    spec: Spec,
    variables: Variables,
    table: Table,
    uses: Sequence[Use],
    use: Use,
) -> Iterator[Diagnostic]:
    """A name that one call binds, and that is no variable, is bound by every call that reads it."""
    elsewhere = {
        local for other in uses if other.reference.owner == table.network for local, _ in other.reference.bindings
    }
    if use.reference.name not in table.rows:
        return
    bound = locals_of(table, uses, use.scope, use.reference, variables)
    reads = table.reads(use.reference.name, (frozenset(bound) & frozenset(table.rows)) - {use.reference.name})
    for local in sorted(reads & elsewhere - set(bound)):
        yield Diagnostic(
            "bad-binding",
            f"`{use.reference}` reads `{local}`, which is no variable and not bound here",
            spec.source.value(*use.path),
            expected=f"`{Reference(use.reference.owner, use.reference.name, ((local, 'VARIABLE'),))}`",
        )


def network_inputs(
    spec: Spec,
    variables: Variables,
    table: Table,
    uses: Sequence[Use],
    problems: list[Diagnostic],
) -> dict[str, Shape]:
    """The shapes of the names that a network reads from outside: those of the variables they stand for, all equal."""
    shapes: dict[str, Shape] = {}
    for use in uses:
        if use.reference.owner != table.network:
            continue
        bound = locals_of(table, uses, use.scope, use.reference, variables)
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
                    ),
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
