"""Enumerated variables as code: samples with every value of one, and the probabilities of the values."""

from collections.abc import Callable
from dataclasses import dataclass

from ammgraph.export.calls import posteriors
from ammgraph.export.code import Names, text
from ammgraph.formulas.expression import Scored, Support, Value
from ammgraph.plan.draws import FromBayes, ScorePlan
from ammgraph.plan.enumeration import Needed
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import TurnPlan


@dataclass(frozen=True)
class Every:
    """What the code of a turn calls things that have every value of a variable.

    Args:
        plan: the compiled spec.
        turn: whose losses are written.
        local: the names of the function.
        drawn: draw -> what its samples are called.
        evaluations: those that scores ask for.
    """

    plan: Plan
    turn: TurnPlan
    local: Names
    drawn: Callable[[str], str]
    evaluations: tuple[Needed, ...]

    def samples(self, draw: str, over: str) -> str:
        """The samples of a draw, each with every value of a variable."""
        return self.local.of(f"every {over} of {draw}", f"{draw}_every_{over}")

    def size(self, over: str) -> int:
        """How many values a variable has."""
        return self.plan.variable(over).shape[0]

    def values(self, draw: str, over: str) -> str:
        """The values alone, each once."""
        return f"every_value({self.size(over)}, 1, {self.some(draw)})"

    def some(self, draw: str) -> str:
        """Some sample of a draw, for its kind and number."""
        factor = next(factor for factor in self.turn.drawn(self.plan.draw(draw)).factors if factor.needed)
        return f"{self.drawn(draw)}[{text(factor.variables[0])}]"

    def is_alone(self, evaluation: str) -> bool:
        """Whether an evaluation reads nothing but the variable, and is computed once at every value of it."""
        return any(found.alone for found in self.evaluations if found.evaluation.name == evaluation)

    def result(self, score: ScorePlan, name: str, told: Callable[[str], str]) -> str:
        """A row of the evaluation of a score, or what stands before its activation (`NAME.raw`).

        One that does not depend on the variable is computed beneath, and repeated.
        """
        evaluation, row = score.evaluation, name.removesuffix(".raw")
        assert evaluation is not None
        for found in self.evaluations:
            if evaluation.over and found.evaluation == evaluation and row not in found.rows:
                return f"each({told(f'{evaluation.beneath.name}/{name}')}, {self.size(evaluation.over)})"
        return told(f"{evaluation.name}/{name}")

    def logits(self, name: str, draw: str) -> str:
        """The logits of a posterior `q(y|z)` at a draw's samples, (B, K)."""
        own, _, rest = name.partition("(")
        variable = rest.partition("|")[0].removesuffix(")")
        return self.local.of(
            f"logits of {name} at {draw}", f"{draw}_{'' if own == draw else f'{own}_'}{variable}_logits"
        )

    def probabilities(self, support: Support) -> str:
        """Those of the values that a draw enumerates, (B, K)."""
        factor = self.plan.draw(support.draw).factor_of(support.variable)
        if isinstance(factor.origin, FromBayes):
            return f"torch.softmax({self.logits(support.factor, support.draw)}, dim=1)"
        return f"{self.drawn(support.draw)}[{text(support.variable)}].flatten(1)"

    @property
    def needed(self) -> tuple[tuple[str, str], ...]:
        """(draw, variable) of all samples that are taken with every value of a variable."""
        found = [(score.draw, score.rule) for score in posteriors(self.plan, self.turn)]
        for leaf in (leaf for loss in self.turn.losses for leaf in loss.leaves):
            if isinstance(leaf, Scored | Value) and leaf.over:
                found.append((leaf.draw, leaf.over))
            elif isinstance(leaf, Support):
                found.append((leaf.draw, leaf.variable))
        return tuple(dict.fromkeys(found))
