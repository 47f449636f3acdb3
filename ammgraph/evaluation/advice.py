"""Which changes of a spec may be advised: those with which it compiles."""

from collections.abc import Sequence
from functools import lru_cache

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import SpecError
from ammgraph.plan.changes import Change, by_constant
from ammgraph.spec.load import load_text
from ammgraph.spec.schema import Spec


def possible(spec: Spec, written: str, changes: Sequence[Change]) -> tuple[Change, ...]:
    """Those with which a spec, as it is written, compiles; of a number that is written as a constant the constant's."""
    found = (by_constant(spec, change) for change in changes)
    return tuple(change for change in found if _compiles(written, change.override))


@lru_cache(1000)
def _compiles(written: str, override: str) -> bool:
    """Of a spec, which is the same for each of several trials, and after an evaluation and on a page."""
    try:
        compile_spec(load_text(written, overrides=(override,)))
    except SpecError:
        return False
    return True
