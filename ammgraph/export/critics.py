"""Discriminators at samples, as code: one batch of several distributions, or points between two."""

from collections.abc import Sequence

from ammgraph.export.calls import Call, enumerated_by, pass_call
from ammgraph.export.code import WIDTH, listed, text
from ammgraph.export.scope import INDENT, Scope, closed, comprehension, discriminator_passes, method
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import examples_of
from ammgraph.plan.turns import PassPlan


def critic_calls(plan: Plan) -> list[Call]:
    """Every pass of a discriminator."""
    passes = [found for turn in plan.turns for found in discriminator_passes(turn)]
    return [pass_call(plan, found) for found in passes]


def scored_code(scope: Scope, found: PassPlan) -> list[str]:
    """One batch through a discriminator: `at` are its inputs, `d` its logits, `d_q` those of q's samples."""
    step, name = pass_call(scope.plan, found), found.evaluation.name
    sides = ", ".join(f"{game} {side.upper()}" for game, side in found.sides)
    sloped = _is_sloped(scope, found)
    over = enumerated_by(scope.plan, found)
    draws, plain = (
        [of(draw) for draw in found.draws] for of in (lambda d: scope.read(d, step.arguments), scope.samples)
    )
    at, d, once = (
        scope.of("at", name),
        scope.of("d", name),
        [v for v in step.arguments if found.shared and v not in over],
    )
    lines = [f"{INDENT}# d = {found.evaluation.network}.{found.row}({', '.join(step.arguments)}) of {sides}"]
    variables = [text(argument) for argument in step.arguments if argument not in once]
    value = f"tracked({_joined(draws)})" if sloped else _joined(draws)
    lines += comprehension(at, value, "v", variables)
    inputs, more = [f"*{at}"], list[str]()
    if found.shared:
        before, parts = scope.of("once", name), scope.of("parts", name)
        lines += comprehension(before, _joined(plain), "v", [text(argument) for argument in once]) if once else []
        lines += _parts(scope, found, parts)
        inputs, more = [*([f"*{before}"] if once else []), *inputs], [parts]
    lines += _critic(scope, step, d, inputs, more)
    values = {"d": d} | ({"slope": f"slopes({d}, {at})"} if sloped else {})
    if len(draws) == 1:
        return [*lines, *(f"{INDENT}{scope.of(what, name, found.draws[0])} = {of}" for what, of in values.items())]
    sizes = scope.of("sizes", name)
    lines += comprehension(sizes, f"len(draw[{variables[0]}])", "draw", draws)
    for what, of in values.items():
        parts = ", ".join(scope.of(what, name, draw) for draw in found.draws)
        if len(f"{INDENT}{parts} = {of}.split({sizes})") > WIDTH and what != of:
            joined = scope.of("slopes", name)
            lines.append(f"{INDENT}{joined} = {of}")
            of = joined
        lines += closed(f"{INDENT}{parts} = {of}.split", sizes)
    return lines


def _joined(draws: Sequence[str]) -> str:
    """The samples `v` of these, as one batch."""
    return f"{draws[0]}[v]" if len(draws) == 1 else f"torch.cat([{', '.join(f'{draw}[v]' for draw in draws)}])"


def _parts(scope: Scope, found: PassPlan, target: str) -> list[str]:
    """How many examples each draw has, and how often each of these stands in the batch."""
    examples, logits = (examples_of(scope.plan, found, row) for row in (found.shared[0], found.row))
    times = [count // size for count, size in zip(logits, examples, strict=True)]
    sizes = [f"len({scope.every.some(draw)})" for draw in found.draws]
    return listed(f"{INDENT}{target} = (", [f"[{', '.join(sizes)}]", str(times)], ")", INDENT)


def between_code(scope: Scope, found: PassPlan) -> list[str]:
    """A pass between the i-th samples of two distributions."""
    step, name = pass_call(scope.plan, found), found.evaluation.name
    start, end = (scope.samples(draw) for draw in found.draws)
    a, at, d = scope.of("a", name), scope.of("at", name), scope.of("d", name)
    lines = [f"{INDENT}# The same between the i-th of {' and the i-th of '.join(found.draws)}"]
    lines.append(f"{INDENT}{a} = noise[{text(f'{name}/coefficient')}]")
    variables = [text(argument) for argument in step.arguments]
    lines += comprehension(at, f"interpolated({start}[v], {end}[v], {a})", "v", variables)
    passed = _critic(scope, step, d, [f"*{at}"])
    if any(row.batchnorm for row in scope.plan.network(step.function.network).rows):
        critic = scope.networks[step.function.network]
        passed = [f"{INDENT}with statistics_kept(self.{critic}):", *(f"    {line}" for line in passed)]
    return [*lines, *passed, f"{INDENT}{scope.of('slope', name)} = slopes({d}, {at})"]


def _is_sloped(scope: Scope, found: PassPlan) -> bool:
    return any(found.evaluation.name in loss.sloped for loss in scope.turn.losses)


def _critic(scope: Scope, step: Call, target: str, inputs: Sequence[str], more: Sequence[str] = ()) -> list[str]:
    return method(scope, step, target, inputs, more, ".flatten()")
