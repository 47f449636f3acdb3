r"""The functions that formulas are made of: name -> how each notation writes it.

`{}` is the argument. `torch` is the function's name in a module that writes `import torch` and `from torch.nn import
functional as F`, so that what runs is what is exported.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Function:
    """A function of every element, in every notation."""

    torch: str
    text: str
    latex: str


FUNCTIONS: dict[str, Function] = {
    "softplus": Function("F.softplus", "sp({})", r"\zeta({})"),
    "relu": Function("F.relu", "relu({})", r"\max(0, {})"),
    "sigmoid": Function("torch.sigmoid", "s({})", r"\sigma({})"),
}


@dataclass(frozen=True)
class FunctionalKind:
    """A function of distributions or values, in every notation; `torch` is its name in `nn.functions`, `{}` the kind.

    `{}` holds its arguments, joined by `text_joint` or `latex_joint`, of which the first `shown` are written.
    """

    torch: str
    text: str
    latex: str
    meaning: str
    text_joint: str = ", "
    latex_joint: str = " - "
    shown: int = 2

    @property
    def in_nats(self) -> bool:
        """Whether its numbers are nats."""
        return self.meaning.endswith("in nats")


FUNCTIONALS: dict[str, FunctionalKind] = {
    "log": FunctionalKind("{}_log", "log {}", r"\log {}", "log density at the sample, in nats", shown=1),
    "H": FunctionalKind("{}_entropy", "H({})", r"\mathrm{{H}}\left[{}\right]", "entropy, in nats"),
    "KL": FunctionalKind(
        "{}_divergence",
        "KL({})",
        r"\mathrm{{KL}}\left({}\right)",
        "Kullback-Leibler divergence of two distributions of one kind, in closed form, in nats",
        text_joint=" || ",
        latex_joint=r" \,\|\, ",
    ),
    "l1": FunctionalKind("distance_1", "l1({})", r"\lVert {} \rVert_1", "sum of |a - b| over elements; of |a| alone"),
    "l2": FunctionalKind(
        "distance_2", "l2({})", r"\lVert {} \rVert_2^2", "sum of (a - b)^2 over elements; of a^2 alone"
    ),
}


def functional_text(name: str, arguments: Sequence[str]) -> str:
    """`KL(q(z|x) || p(z))`."""
    function = FUNCTIONALS[name]
    return function.text.format(function.text_joint.join(arguments[: function.shown]))


def functional_latex(name: str, arguments: Sequence[str]) -> str:
    r"""`\lVert x - y \rVert_2^2`."""
    function = FUNCTIONALS[name]
    return function.latex.format(function.latex_joint.join(arguments[: function.shown]))
