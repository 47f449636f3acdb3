"""A typed pair of factorizations -> the text of a spec that compiles; what is wrong is told at what was typed."""

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import SpecError
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_text
from ammgraph.start.skeleton import skeleton
from ammgraph.start.typed import Typed


def new_spec(typed: Typed, file: str, command: str) -> tuple[str, Plan]:
    """The spec `file` of what was typed, and its plan.

    Raises:
        SpecError: the two factorizations are no model; every problem stands at the option that holds it.
    """
    written = skeleton(typed, file, command)
    try:
        return written.text, compile_spec(load_text(written.text, file))
    except SpecError as error:
        raise written.in_typed_words(error, file) from None
