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
    "tanh": Function("torch.tanh", "tanh({})", r"\tanh({})"),
    "exp": Function("torch.exp", "exp({})", r"\exp({})"),
    "log": Function("torch.log", "log({})", r"\log({})"),
}


@dataclass(frozen=True)
class FunctionalKind:
    """A function of distributions or values, in every notation; `torch` is its name in `nn.functions`, `{}` the kind.

    `{}` holds its arguments, joined by `text_joint` or `latex_joint`, of which the first `shown` are written; `{1}` is
    the first alone. It takes `least` to `shown` arguments; of means, outside of `E[...]`, all. One `at_sample` is
    written without brackets, reads the sample of its factor as well, and is of one example alone. So is one that
    `moves`: behind its factor stand the variable that is moved, how far, and xi. One `of_batch` is of the values of all
    examples of a draw, which it names, and, where more than one argument is shown, of a number of groups.
    """

    torch: str
    text: str
    latex: str
    noun: str
    meaning: str
    text_joint: str = ", "
    latex_joint: str = " - "
    shown: int = 2
    least: int = 2
    kinds: tuple[str, ...] = ()  # the distributions that it can be taken of; of values where there is none
    at_sample: bool = False
    moves: bool = False
    of_batch: bool = False

    @property
    def of_one_example(self) -> bool:
        """Whether it stands inside of `E[...]` alone."""
        return self.at_sample or self.moves

    @property
    def in_nats(self) -> bool:
        """Whether its numbers are nats."""
        return self.meaning.endswith("in nats")


FUNCTIONALS: dict[str, FunctionalKind] = {
    "log": FunctionalKind(
        "{}_log",
        "log {}",
        r"\log {}",
        "log density",
        "log density at the sample, in nats",
        shown=1,
        least=1,
        kinds=("normal", "categorical", "bernoulli"),
        at_sample=True,
    ),
    "H": FunctionalKind(
        "{}_entropy",
        "H({})",
        r"\mathrm{{H}}\left[{}\right]",
        "entropy",
        "entropy, in nats",
        shown=1,
        least=1,
        kinds=("normal", "categorical"),
    ),
    "KL": FunctionalKind(
        "{}_divergence",
        "KL({})",
        r"\mathrm{{KL}}\left({}\right)",
        "divergence",
        "Kullback-Leibler divergence of two distributions of one kind, in closed form, in nats",
        text_joint=" || ",
        latex_joint=r" \,\|\, ",
        kinds=("normal", "categorical"),
    ),
    "l1": FunctionalKind(
        "distance_1", "l1({})", r"\lVert {} \rVert_1", "distance", "sum of |a - b| over elements; of |a| alone", least=1
    ),
    "l2": FunctionalKind(
        "distance_2",
        "l2({})",
        r"\lVert {} \rVert_2^2",
        "distance",
        "sum of (a - b)^2 over elements; of a^2 alone",
        least=1,
    ),
    "sum": FunctionalKind(
        "total", "sum({})", r"\mathbf{{1}}^{{\top}} {}", "sum", "sum of a over elements", shown=1, least=1
    ),
    "exp": FunctionalKind(
        "total_exp",
        "exp({})",
        r"\mathbf{{1}}^{{\top}} \exp\left({}\right)",
        "exponential",
        "sum of e^a over elements",
        shown=1,
        least=1,
    ),
    "softplus": FunctionalKind(
        "total_softplus",
        "softplus({})",
        r"\mathbf{{1}}^{{\top}} \zeta\left({}\right)",
        "softplus",
        "sum of log(1 + e^a) over elements",
        shown=1,
        least=1,
    ),
    "vat": FunctionalKind(
        "vat",
        "vat({})",
        r"\max_{{\lVert r \rVert_2 \leq {3}}} \mathrm{{KL}}\left(\mathrm{{sg}}\left[{1}\right] \,\|\, {2}\right)",
        "divergence",
        "KL(F || F at x + r), r of length 4 in the direction found at a distance of 10 from x, in nats",
        least=1,
        kinds=("normal", "categorical"),
        moves=True,
    ),
    "pull_away": FunctionalKind(
        "pull_away",
        "pull_away[{draw}]({})",
        r"\mathbb{{E}}_{{{draw}, \, i \ne j}}\left[\cos^2\left({0}_i, {0}_j\right)\right]",
        "pull-away term",
        "squared cosine of the values of two examples, mean over all pairs; 0 where one is 0",
        shown=1,
        least=1,
        of_batch=True,
    ),
    "affinity": FunctionalKind(
        "affinity",
        "affinity[{draw}]({})",
        r"\mathrm{{affinity}}_{{{draw}}}\left({0}\right)",
        "affinity",
        "(sum N - tr N) / ((k - 1) tr N), N = a'a over the batch, a = relu(f), mean over groups of k channels",
        least=1,
        latex_joint=", ",
        of_batch=True,
    ),
    "balance": FunctionalKind(
        "balance",
        "balance[{draw}]({})",
        r"\mathrm{{balance}}_{{{draw}}}\left({0}\right)",
        "balance",
        "the same of V = v'v, v = diag N",
        least=1,
        latex_joint=", ",
        of_batch=True,
    ),
}


def functional_text(name: str, arguments: Sequence[str], draw: str = "") -> str:
    """`KL(q(z|x) || p(z))`; of a batch of a draw, `pull_away[p](classifier.h)`."""
    function = FUNCTIONALS[name]
    return function.text.format(function.text_joint.join(arguments[: function.shown]), draw=draw)


def functional_latex(name: str, arguments: Sequence[str], draw: str = "") -> str:
    r"""`\lVert x - y \rVert_2^2`."""
    function = FUNCTIONALS[name]
    return function.latex.format(function.latex_joint.join(arguments[: function.shown]), *arguments, draw=draw)
