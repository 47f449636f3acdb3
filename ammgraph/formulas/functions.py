r"""The functions of one number that formulas are made of: name -> how each notation writes it.

`{}` is the argument. `torch` is the function's name in a module that writes `import torch` and `from torch.nn import
functional as F`, so that what runs is what is exported.
"""

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
