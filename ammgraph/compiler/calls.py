"""Calls of networks: what each name inside stands for, and what a drawn row reads.

A factor drawn by a row of a network has as conditions exactly the variables which that row reads (language rule R1).
"""

from collections.abc import Iterator

from ammgraph.compiler.resolved import Call, Declared, Resolved
from ammgraph.diagnostics import Diagnostic, Note, did_you_mean
from ammgraph.plan.networks import shape_text
from ammgraph.spec.notation import Factor, Reference


def check_calls(resolved: Resolved) -> Iterator[Diagnostic]:
    """Every call binds each name that it reads, once, to a variable; and no row is two variables at once."""
    for index, call in enumerate(resolved.calls):
        yield from _bindings_fit(resolved, call)
        yield from _names_are_bound(resolved, call)
        for other in resolved.calls[:index]:
            same_row = other.reference.name == call.reference.name and other.reference.call == call.reference.call
            if other.scope == call.scope and same_row and call.variable and other.variable != call.variable:
                yield Diagnostic(
                    "variable-drawn-twice",
                    f"`{call.variable}` and `{other.variable}` are one row of one evaluation",
                    resolved.spec.source.value(*call.path),
                    found=f"`{call.reference}` twice in `{call.scope}`",
                    expected="a row for each variable",
                    notes=(Note(f"`{other.variable}` is drawn here", resolved.spec.source.key(*other.path)),),
                )


def _bindings_fit(resolved: Resolved, call: Call) -> Iterator[Diagnostic]:
    span, bound, table = resolved.spec.source.value(*call.path), set(), call.table
    for local, variable in call.reference.bindings:
        if local not in table.free and local not in table.rows:
            yield Diagnostic(
                "unknown-name",
                f"`{table.network}` reads no `{local}`",
                span,
                hint=did_you_mean(local, table.free),
            )
        if variable not in resolved.variables:
            yield Diagnostic(
                "unknown-variable",
                f"`{variable}` is not a variable",
                span,
                hint=did_you_mean(variable, resolved.variables),
            )
        if local in bound:
            yield Diagnostic("bad-binding", f"`{local}` is bound twice in `{call.reference}`", span)
        elif local == call.reference.name and call.variable:
            yield Diagnostic(
                "bad-binding",
                f"row `{local}` is drawn here, as `{call.variable}`, and stands for no other variable",
                span,
                found=f"`{local}={variable}`",
                expected=f"`{Reference(call.reference.owner, call.reference.name)}`",
            )
        bound.add(local)


def _names_are_bound(resolved: Resolved, call: Call) -> Iterator[Diagnostic]:
    """A name that one call binds, and that is no variable, is bound by every call that reads it."""
    elsewhere = {local for other in resolved.calls_of(call.table.network) for local, _ in other.reference.bindings}
    for local in sorted(call.names & elsewhere - set(call.bound)):
        yield Diagnostic(
            "bad-binding",
            f"`{call.reference}` reads `{local}`, which is no variable and not bound here",
            resolved.spec.source.value(*call.path),
            expected=f"`{Reference(call.reference.owner, call.reference.name, ((local, 'VARIABLE'),))}`",
        )


def check_inputs(resolved: Resolved) -> Iterator[Diagnostic]:
    """A name that a network reads from outside stands for variables of one shape."""
    for call in resolved.calls:
        network, shapes = call.table.network, resolved.inputs[call.table.network]
        for local in call.table.free:
            variable = call.bound.get(local)
            if variable in resolved.variables and resolved.variables[variable].shape != shapes[local]:
                yield Diagnostic(
                    "shape-mismatch",
                    f"`{local}` of `{network}` stands for variables of different shapes",
                    resolved.spec.source.value(*call.path),
                    found=f"`{variable}` {shape_text(resolved.variables[variable].shape)}, "
                    f"elsewhere {shape_text(shapes[local])}",
                    expected="one shape",
                )


def check_conditions(resolved: Resolved) -> Iterator[Diagnostic]:
    """A factor's conditions are exactly the variables that its row reads, stopping at variables (R1)."""
    order = {name: index for index, name in enumerate(resolved.variables)}
    for factor in (factor for factors in resolved.declared.values() for factor in factors):
        reference = factor.reference
        if reference is None or reference.owner not in resolved.tables:
            continue
        reads, written = set(resolved.call(factor.draw, reference).reads.values()), set(factor.factor.given)
        if reads == written:
            continue
        actual = Factor(factor.factor.head, factor.factor.variables, tuple(reads)).canonical(order)
        place = resolved.spec.source.key("networks", reference.owner, "layers", reference.name)
        yield Diagnostic(
            "condition-mismatch",
            _condition_message(factor, reads - written, written - reads),
            resolved.spec.source.key(*factor.path),
            found=f"`{reference}` reads {_listing(reads)}",
            expected=f"conditions {_listing(written)}",
            hint=f"write `{actual}`, or change what row `{reference.name}` reads",
            notes=(Note(f"row `{reference.name}` stands here", place),),
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
