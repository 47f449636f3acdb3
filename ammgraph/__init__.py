"""ammgraph: a declarative compiler for adversarial latent-variable models.

    spec = ammgraph.load_spec("specs/amm_digits.yaml", overrides=["training.epochs=2"])
    plan = ammgraph.compile_spec(spec)
    run = ammgraph.fit(spec, seed=1)
    ammgraph.evaluate(run)

Names are loaded when they are used, so that a spec is read and compiled without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ammgraph.api import Run, build, evaluate, fit, resume
    from ammgraph.diagnostics import RunError, SpecError
    from ammgraph.evaluation.results import Evaluation
    from ammgraph.plan.plan import Plan
    from ammgraph.show.notebook import compile_spec
    from ammgraph.spec.load import load_spec
    from ammgraph.spec.schema import Spec

__version__ = "0.1.0"

__all__ = [
    "Evaluation",
    "Plan",
    "Run",
    "RunError",
    "Spec",
    "SpecError",
    "__version__",
    "build",
    "compile_spec",
    "evaluate",
    "fit",
    "load_spec",
    "resume",
]

_MODULES = {
    "Evaluation": "ammgraph.evaluation.results",
    "Plan": "ammgraph.plan.plan",
    "Run": "ammgraph.api",
    "RunError": "ammgraph.diagnostics",
    "Spec": "ammgraph.spec.schema",
    "SpecError": "ammgraph.diagnostics",
    "build": "ammgraph.api",
    "compile_spec": "ammgraph.show.notebook",
    "evaluate": "ammgraph.api",
    "fit": "ammgraph.api",
    "load_spec": "ammgraph.spec.load",
    "resume": "ammgraph.api",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
