"""What terms measure, as code: the parameters of distributions, and the helper that each measure of them is."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

from ammgraph.export.code import number, text
from ammgraph.export.enumeration import Every
from ammgraph.formulas.expression import Leaf, Number, Scored, Support, Value, Vat
from ammgraph.formulas.functions import FUNCTIONALS
from ammgraph.plan.draws import FromPrior, ScorePlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import LossPlan
from ammgraph.show.text import formula_text
from ammgraph.spec.notation import Input, Named, factors_of


class Densities:
    """How the code of one loss writes distributions and values; it remembers the kind of what it has written.

    Args:
        plan: the compiled spec.
        loss: of a term.
        constants: site of a prior -> attribute of the model.
        result: `EVALUATION/ROW` -> what the row is called; `VAT` -> what is measured at a moved sample.
        every: what has every value of an enumerated variable.
        moved: a variable that stands for itself and for no sample.
    """

    def __init__(
        self,
        plan: Plan,
        loss: LossPlan,
        constants: Mapping[str, str],
        result: Callable[[str], str],
        every: Every,
        moved: str = "",
    ) -> None:
        self._every, self._moved = every, moved
        self._samples = every.drawn
        self._plan, self._loss, self._constants, self._result = plan, loss, constants, result
        self._kinds: dict[str, str] = {}
        self._pooled: set[str] = set()  # and what has no conditions: of no example

    def leaf(self, leaf: Leaf) -> str:
        """The parameters of a distribution, `mean, log_variance` or `logits`; a sample; a row; probabilities."""
        if isinstance(leaf, Support):
            return self._every.probabilities(leaf)
        assert isinstance(leaf, Scored | Value | Vat), "a term reads no logits"
        if isinstance(leaf, Vat):
            return self._result(f"{formula_text(leaf)} {leaf.draw}")
        score = self._plan.term(self._loss.owner).score(leaf)
        if score is None:
            assert isinstance(leaf, Value)
            samples = self._every.samples(leaf.draw, leaf.over) if leaf.over else self._samples(leaf.draw)
            written, kind = f"{samples}[{text(leaf.name)}]", "value"
        elif isinstance(leaf, Value):
            assert score.evaluation is not None
            written, kind = self._result(f"{score.evaluation.name}/{score.row}"), "value"
            written = self._spread([written], score, leaf.over)[0]
        else:
            assert score.density is not None
            kind = score.density.kind
            found = self._spread(self.parameters(score), score, leaf.over)
            written = ", ".join(map(_stopped, found) if leaf.stopped else found)
            self._pooled |= set() if leaf.draw else {written}
        if leaf.stopped and isinstance(leaf, Value):
            written = _stopped(written)
        self._kinds[written] = kind
        return written

    def log_density(self, variable: str, score: ScorePlan, whole: ScorePlan) -> str:
        """That of a part of a posterior, at every value."""
        assert score.density is not None
        parameters = self._spread(self.parameters(score), score, whole.rule)
        at = f"{self._every.samples(whole.draw, whole.rule)}[{text(variable)}]"
        return f"{FUNCTIONALS['log'].torch.format(score.density.kind)}({', '.join([*parameters, at])})"

    def parameters(self, score: ScorePlan, stopped: bool = False) -> list[str]:
        """`mean` and `log_variance`, or `logits`."""
        if score.rule:
            found = [self._every.logits(score.name, score.draw)]
        else:
            found = self._parameters(score) if score.prior is None else self._prior(score.prior, score)
        return [_stopped(parameter) for parameter in found] if stopped else found

    def _spread(self, parameters: Sequence[str], score: ScorePlan, over: str) -> list[str]:
        """As of each example with each value of a variable, where that is asked for."""
        if not over or (score.prior is not None and not score.over):
            return list(parameters)
        if not score.over:
            return [f"each({parameter}, {self._every.size(over)})" for parameter in parameters]
        like = f"{self._every.samples(score.draw, over)}[{text(over)}]"
        if score.prior is not None:  # a mixture: each value has its mean, and all one scale
            mean, scale = parameters
            return [mean, f"repeated({scale}, {like})"]
        alone = score.evaluation is not None and self._every.is_alone(score.evaluation.name)
        return [f"repeated({parameter}, {like})" if alone else parameter for parameter in parameters]

    def mean(self, argument: str) -> str:
        """Over the batch: a number of numbers, else what is pooled."""
        kind = self._kinds.get(argument)
        if kind is None:
            return f"torch.mean({argument})"
        written = f"{argument}.mean(0, keepdim=True)" if kind == "value" else f"pooled({argument})"
        self._kinds[written] = kind
        self._pooled.add(written)
        return written

    def functional(self, name: str, arguments: Sequence[str]) -> str:
        """A call of a helper; of what is pooled one number."""
        helper = FUNCTIONALS[name].torch.format(self._kinds[arguments[0]])
        return f"{helper}({', '.join(arguments)})" + (".sum()" if self._pooled.issuperset(arguments) else "")

    def _parameters(self, score: ScorePlan) -> list[str]:
        assert score.density is not None
        assert score.evaluation is not None
        if score.density.mean is None:
            return [self._row(score, f"{score.row}.raw")]
        mean = self._input(score.density.mean, score)
        if not score.density.log_variance:
            return [mean]
        spread = self._row(score, f"{score.density.log_variance}.raw")
        if self._is_shared(score, score.density.mean):
            zero = not score.density.mean.names
            mean = f"torch.zeros_like({spread})" if zero else f"{_whole(mean)}.expand_as({spread})"
        return [mean, spread]

    def _is_shared(self, score: ScorePlan, mean: Input) -> bool:
        """Whether all positions of an image have one mean."""
        assert score.evaluation is not None
        assert score.density is not None
        network, variables = self._plan.network(score.network), dict(score.evaluation.bindings)
        rows = {row.name: row.out_shape for row in network.rows}
        shapes = [rows[n.name] if n.name in rows else self._plan.variable(variables[n.name]).shape for n in mean.names]
        alone = all(shape[1:] == (1, 1) for shape in shapes)
        return alone and rows[score.density.log_variance][1:] != (1, 1)

    def _row(self, score: ScorePlan, name: str) -> str:
        return self._every.result(score, name, self._result)

    def _sample(self, score: ScorePlan, variable: str) -> str:
        samples = self._every.samples(score.draw, score.over) if score.over else self._samples(score.draw)
        return f"{samples}[{text(variable)}]"

    def _input(self, read: Input, score: ScorePlan) -> str:
        """A sum, or a concatenation of sums, of rows and samples."""
        assert score.evaluation is not None
        variables, like = dict(score.evaluation.bindings), self._like(score.draw)

        def atom(found: object) -> str:
            if not isinstance(found, Named):
                return f"zeros({like}, {found.channels})"  # type: ignore[attr-defined]
            variable = variables.get(found.name, "")
            given = score.draw and variable and self._plan.draw(score.draw).produces(variable)
            own = self._row(score, found.name)
            if given and variable == self._moved:
                return self._result(variable)
            return self._sample(score, variable) if given else own

        sums = [" + ".join(" * ".join(map(atom, factors_of(summand))) for summand in part) for part in read.parts]
        return sums[0] if len(sums) == 1 else f"torch.cat([{', '.join(sums)}], dim=1)"

    def _like(self, draw: str) -> str:
        """Some sample, for its kind of numbers."""
        return self._every.some(draw or self._plan.term(self._loss.owner).draws[0])

    def _prior(self, origin: FromPrior, score: ScorePlan) -> list[str]:
        if origin.prior.place is None:
            return [f"torch.log(self.{self._constants[origin.site.name]})[None]"]
        location, scale = origin.prior.place

        def constant(value: float) -> str:
            return f"constant({self._like(score.draw)}, {origin.site.shape}, {number(value)})"

        if isinstance(location, Number):
            mean = constant(location.value)
        else:
            given = f"{self._sample(score, origin.given)}.flatten(1)"
            mean = f"vector({given} @ self.{self._constants[origin.site.name]})"
        return [mean, constant(2 * math.log(scale))]


def _stopped(code: str) -> str:
    """The same as a constant."""
    return f"{_whole(code)}.detach()"


def _whole(code: str) -> str:
    """The same, of which a method can be called."""
    return f"({code})" if " " in re.sub(r"\(.*\)|\[.*\]", "", code) else code
