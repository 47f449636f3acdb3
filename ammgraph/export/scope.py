"""What the code of a turn's losses calls things, and how its lines are laid out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ammgraph.export.calls import Call, Function, needed_of
from ammgraph.export.code import WIDTH, Names, arguments_of, call, is_call, text
from ammgraph.export.enumeration import Every
from ammgraph.formulas.expression import Leaf, Logit, Slope, Support
from ammgraph.plan.draws import ScorePlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import PassPlan, TurnPlan

INDENT = " " * 8


@dataclass(frozen=True)
class Scope:
    """The turn that is written, and what its code calls things: methods by function, networks, logits of samples."""

    plan: Plan
    turn: TurnPlan
    methods: Mapping[Function, str]
    networks: Mapping[str, str]
    constants: Mapping[str, str]
    local: Names
    scores: tuple[ScorePlan, ...]

    @property
    def passes(self) -> tuple[PassPlan, ...]:
        """The passes of discriminators."""
        return discriminator_passes(self.turn)

    def samples(self, draw: str) -> str:
        """The samples of a distribution."""
        return self.local.of(draw)

    @property
    def every(self) -> Every:
        """What has every value of an enumerated variable."""
        return Every(self.plan, self.turn, self.local, self.samples, needed_of(self.plan, self.scores))

    def read(self, draw: str, variables: Sequence[str]) -> str:
        """The samples of a distribution for a pass that reads these variables."""
        factor = self.plan.draw(draw).enumerated
        over = next((name for name in variables if factor is not None and name in factor.variables), "")
        return self.every.samples(draw, over) if over else self.samples(draw)

    def of(self, what: str, evaluation: str, draw: str = "") -> str:
        """What belongs to a pass, or to the samples of one distribution in it: `d`, `d_q`, `slope_q_joint`."""
        index = next(index for index, found in enumerate(self.passes) if found.evaluation.name == evaluation)
        between = self.passes[index].kind == "between"
        name = "_".join([what, *([draw] if draw else []), *(["between"] if between else [])]) + self._suffix(index)
        return self.local.of(f"{what} of {draw} in {index}", name)

    def leaf(self, leaf: Leaf) -> str:
        """A logit or a norm of slopes; the probabilities of enumerated values."""
        if isinstance(leaf, Support):
            return self.every.probabilities(leaf)
        assert isinstance(leaf, Logit | Slope), "games read logits"
        return self.of("d" if isinstance(leaf, Logit) else "slope", leaf.evaluation, leaf.draw)

    def _suffix(self, index: int) -> str:
        """What tells the names of one pass from those of others of its kind: its game, or its number."""
        alike = [found for found in self.passes if found.kind == self.passes[index].kind]
        if len(alike) == 1:
            return ""
        games = [{game for game, _ in found.sides} for found in alike]
        own = {game for game, _ in self.passes[index].sides}
        return f"_{next(iter(own))}" if len(own) == 1 and games.count(own) == 1 else f"_{index + 1}"


def discriminator_passes(turn: TurnPlan) -> tuple[PassPlan, ...]:
    """The passes of discriminators in a turn."""
    return (*turn.passes_of("scored"), *turn.passes_of("between"))


def result_name(scope: Scope, name: str) -> str:
    """What the result `EVALUATION/ROW` of a call is called."""
    return scope.local.of(name, re.sub(r"\W+", "_", name))


def comprehension(name: str, value: str, variable: str, over: Sequence[str]) -> list[str]:
    """`name = [value for variable in (over)]` on one line, or three, or four."""
    loop = f"for {variable} in ({', '.join(over)}{',' if len(over) == 1 else ''})"
    line, inner = f"{INDENT}{name} = [{value} {loop}]", f"{INDENT}    "
    if len(line) <= WIDTH:
        return [line]
    body = [f"{inner}{value} {loop}"]
    return [f"{INDENT}{name} = [", *(body if len(body[0]) <= WIDTH else [inner + value, inner + loop]), f"{INDENT}]"]


def method(
    scope: Scope, step: Call, target: str, inputs: Sequence[str], more: Sequence[str] = (), tail: str = ""
) -> list[str]:
    """`target = self.NETWORK.METHOD(inputs, noise, more)tail`."""
    name = scope.methods[step.function]
    head = f"self.{scope.networks[step.function.network]}" + ("" if name == "forward" else f".{name}")
    return call(f"{target} = {head}", [*inputs, f"part(noise, {text(step.evaluation)})", *more], INDENT, tail)


def closed(head: str, inner: str) -> list[str]:
    """`head(inner)` on one line, on three, or a factor or an argument of it a line."""
    line, deeper = f"{head}({inner})", f"{INDENT}    "
    if len(line) <= WIDTH:
        return [line]
    first, *factors = inner.split(" * ")
    body = [deeper + inner]
    if len(body[0]) > WIDTH and is_call(inner):
        helper, _, rest = inner.partition("(")
        body = call(helper, arguments_of(rest), deeper)
    elif len(body[0]) > WIDTH:
        body = [deeper + first, *(f"{deeper}* {factor}" for factor in factors)]
    return [f"{head}(", *body, f"{INDENT})"]
