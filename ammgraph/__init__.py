"""ammgraph: a declarative compiler for adversarial latent-variable models.

    spec = ammgraph.load_spec("specs/amm_digits.yaml", overrides=["training.epochs=2"])
    plan = ammgraph.compile_spec(spec)
    run = ammgraph.fit(spec, seed=1)
    run.evaluate()

Names are loaded when they are used, so that a spec is read and compiled without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ammgraph.api.estimator import Estimator as Estimator
    from ammgraph.api.fit import build as build
    from ammgraph.api.fit import fit as fit
    from ammgraph.api.model import Model as Model
    from ammgraph.api.register import register_activation as register_activation
    from ammgraph.api.register import register_module as register_module
    from ammgraph.api.register import register_objective as register_objective
    from ammgraph.api.run import Run as Run
    from ammgraph.api.run import compare as compare
    from ammgraph.diagnostics import RunError as RunError
    from ammgraph.diagnostics import SpecError as SpecError
    from ammgraph.evaluation.results import Evaluation as Evaluation
    from ammgraph.plan.plan import Plan as Plan
    from ammgraph.show.notebook import compile_spec as compile_spec
    from ammgraph.spec.load import load_spec as load_spec
    from ammgraph.spec.schema import Spec as Spec

__version__ = "0.1.0"

_MODULES = {
    "Estimator": "ammgraph.api.estimator",
    "Evaluation": "ammgraph.evaluation.results",
    "Model": "ammgraph.api.model",
    "Plan": "ammgraph.plan.plan",
    "Run": "ammgraph.api.run",
    "RunError": "ammgraph.diagnostics",
    "Spec": "ammgraph.spec.schema",
    "SpecError": "ammgraph.diagnostics",
    "build": "ammgraph.api.fit",
    "compare": "ammgraph.api.run",
    "compile_spec": "ammgraph.show.notebook",
    "fit": "ammgraph.api.fit",
    "load_spec": "ammgraph.spec.load",
    "register_activation": "ammgraph.api.register",
    "register_module": "ammgraph.api.register",
    "register_objective": "ammgraph.api.register",
}

__all__ = [
    "Estimator",
    "Evaluation",
    "Model",
    "Plan",
    "Run",
    "RunError",
    "Spec",
    "SpecError",
    "__version__",
    "build",
    "compare",
    "compile_spec",
    "fit",
    "load_spec",
    "register_activation",
    "register_module",
    "register_objective",
]


if not TYPE_CHECKING:  # to which every name would be there

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
