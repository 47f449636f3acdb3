r"""A plan as mathematics: the factorizations, each game's value function, each player's loss, in LaTeX."""

from collections.abc import Sequence

from ammgraph.graph.plan import DrawPlan, GamePlan, ObjectivePlan, PenaltyPlan, Plan
from ammgraph.spec.notation import number_text, parse_factor
from ammgraph.spec.schema import Schedule

# objective -> (discriminator on REAL, on FAKE, sides on REAL, on FAKE); %s is the logit
LOSSES = {
    "jensen_shannon": (r"\zeta(-%s)", r"\zeta(%s)", r"\zeta(%s)", r"\zeta(-%s)"),
    "minimax": (r"\zeta(-%s)", r"\zeta(%s)", r"-\zeta(-%s)", r"-\zeta(%s)"),
    "wasserstein": ("-%s", "%s", "%s", "-%s"),
    "least_squares": (
        r"\tfrac{1}{2}(%s - 1)^2",
        r"\tfrac{1}{2}%s^2",
        r"\tfrac{1}{2}%s^2",
        r"\tfrac{1}{2}(%s - 1)^2",
    ),
    "hinge": (r"\max(0, 1 - %s)", r"\max(0, 1 + %s)", "%s", "-%s"),
}


VALUED = ("jensen_shannon", "minimax", "wasserstein")  # objectives with one value, for which both players play


def latex(plan: Plan) -> str:
    r"""Lines of LaTeX (amsmath), one formula a line; \zeta is softplus, d the logit, \sigma the sigmoid."""
    lines = ["% factorizations"]
    lines += [factorization(draw) for draw in plan.draws]
    for game in plan.games:
        formulas = [formula for formula in game_formulas(plan, game) if formula is not None]
        lines += ["", f"% game {game.name}{'' if formulas else ', which no turn plays'}", *formulas]
    for index, turn in enumerate(plan.turns, start=1):
        lines += ["", "% players" if len(plan.turns) == 1 else f"% players of turn {index}"]
        lines += [player(objective) for objective in turn.objectives]
    return "\n".join(lines) + "\n"


def game_formulas(plan: Plan, game: GamePlan) -> tuple[str | None, str | None, str | None]:
    """A game's value, the discriminator's loss and that of the networks on both sides; None for what nobody plays."""
    against, beside = (bool(plan.players(game.name, role)) for role in ("discriminator", "generator"))
    return (
        value_function(game) if game.objective in VALUED and (against or beside) else None,
        discriminator_loss(game) if against else None,
        generator_loss(game) if beside else None,
    )


def factorization(draw: DrawPlan) -> str:
    """q(x,y,z) = q(x) q(y|x) q(z|x,y)."""
    variables = dict.fromkeys(name for factor in draw.factors for name in factor.variables)
    given = dict.fromkeys(name for factor in draw.factors for name in factor.given if name not in variables)
    return f"{_density(draw.name, list(variables), list(given))} = " + r" \, ".join(
        _density(draw.name, parse_factor(factor.text).variables, factor.given) for factor in draw.factors
    )


def value_function(game: GamePlan) -> str:
    """V(D, G) = E_q[log D(x, y, z)] + E_p[log(1 - D(x, y, z))], eq. 13; of Wasserstein's E_q[d] - E_p[d]."""
    arguments, head = _arguments(game), rf"V_{{{_word(game.name)}}}"
    if game.objective == "wasserstein":
        fakes = [_expectation(weight, draw, f"d({arguments})") for weight, draw in game.fake]
        return f"{head}(d, G) = {' - '.join([_sum(game.real, f'd({arguments})'), *fakes])}"
    real, fake = _sum(game.real, rf"\log D({arguments})"), _sum(game.fake, rf"\log(1 - D({arguments}))")
    return rf"{head}(D, G) = {real} + {fake}, \quad D = \sigma(d)"


def discriminator_loss(game: GamePlan) -> str:
    """What the discriminator minimises, penalties and weight included."""
    on_real, on_fake, _, _ = LOSSES[game.objective]
    terms = _sides(game, on_real, on_fake) + [_penalty(game, penalty) for penalty in game.penalties]
    return rf"\mathcal{{L}}^{{D}}_{{{_word(game.name)}}} = {_weighted(game.weight, terms)}"


def generator_loss(game: GamePlan) -> str:
    """What the networks on both sides minimise."""
    _, _, on_real, on_fake = LOSSES[game.objective]
    return rf"\mathcal{{L}}^{{G}}_{{{_word(game.name)}}} = {_weighted(game.weight, _sides(game, on_real, on_fake))}"


def player(objective: ObjectivePlan) -> str:
    """Which parameters minimise which sum of losses, in one turn."""
    letter = "D" if objective.role == "discriminator" else "G"
    parameters = ", ".join(rf"\theta_{{{_word(name)}}}" for name in objective.networks)
    losses = " + ".join(rf"\mathcal{{L}}^{{{letter}}}_{{{_word(name)}}}" for name in objective.games)
    return rf"\min_{{{parameters}}} \; {losses}"


def _sum(side: Sequence[tuple[float, str]], inner: str) -> str:
    return " + ".join(_expectation(weight, draw, inner) for weight, draw in side)


def _sides(game: GamePlan, on_real: str, on_fake: str) -> list[str]:
    logit = f"d({_arguments(game)})"
    sides = ((game.real, on_real), (game.fake, on_fake))
    return [_expectation(weight, draw, loss % logit) for side, loss in sides for weight, draw in side]


def _penalty(game: GamePlan, penalty: PenaltyPlan) -> str:
    """A penalty's term; n 1_{n | t} before one that is taken in every nth step t."""
    often = "" if penalty.every == 1 else rf"{penalty.every} \, 1_{{{penalty.every} \mid t}} \, "
    return often + _penalty_term(game, penalty)


def _penalty_term(game: GamePlan, penalty: PenaltyPlan) -> str:
    arguments, weight = _arguments(game), _schedule(penalty.weight, r"\lambda")
    gradient = rf"\nabla_{{{arguments}}} d({arguments})"
    if penalty.kind == "gradient_penalty":
        hats = ", ".join(rf"\hat{{{_variable(variable)}}}" for _, variable in game.reads)
        factor = "" if weight == "1" else rf"{weight} \, "
        return rf"{factor}\mathbb{{E}}\left[(\lVert \nabla_{{{hats}}} d({hats}) \rVert_2 - 1)^2\right]"
    if penalty.kind == "r1_penalty":
        real = [_expectation(share, draw, rf"\lVert {gradient} \rVert_2^2") for share, draw in game.real]
        return rf"\tfrac{{{weight}}}{{2}} \left({' + '.join(real)}\right)"
    sigma = rf"\sigma(d({arguments}))"
    real = [_expectation(share, draw, rf"(1 - {sigma})^2 \lVert {gradient} \rVert_2^2") for share, draw in game.real]
    fake = [_expectation(share, draw, rf"{sigma}^2 \lVert {gradient} \rVert_2^2") for share, draw in game.fake]
    return rf"\tfrac{{{weight}}}{{2}} \left({' + '.join(real + fake)}\right)"


def _weighted(weight: Schedule, terms: Sequence[str]) -> str:
    total = " + ".join(terms)
    return total if str(weight) == "1" else rf"{_schedule(weight, 'w')} \left({total}\right)"


def _expectation(weight: float, draw: str, inner: str) -> str:
    factor = "" if weight == 1 else _number(weight) + r" \, "
    return rf"{factor}\mathbb{{E}}_{{{_letter(draw)}}}\left[{inner}\right]"


def _density(draw: str, variables: Sequence[str], given: Sequence[str]) -> str:
    condition = r" \mid " + ", ".join(map(_variable, given)) if given else ""
    return f"{_letter(draw)}({', '.join(map(_variable, variables))}{condition})"


def _arguments(game: GamePlan) -> str:
    return ", ".join(_variable(variable) for _, variable in game.reads)


def _letter(draw: str) -> str:
    head, _, rest = draw.partition("_")
    return rf"{_word(head)}_{{\mathrm{{{rest.replace('_', ' ')}}}}}" if rest else _word(head)


def _variable(name: str) -> str:
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return f"{_word(stem)}_{{{digits}}}" if digits else _word(stem)


def _word(name: str) -> str:
    escaped = name.replace("_", r"\_")
    return escaped if len(name) == 1 else rf"\mathrm{{{escaped}}}"


def _schedule(schedule: Schedule, letter: str) -> str:
    """A constant weight as its number, one that changes with the epoch t as a function."""
    return _number(schedule.points[0][1]) if len(schedule.points) == 1 else rf"{letter}(t)"


def _number(value: float) -> str:
    r"""10, 0.5, 2 \cdot 10^{-5}."""
    mantissa, exponent, power = number_text(value).partition("e")
    return rf"{mantissa} \cdot 10^{{{int(power)}}}" if exponent else mantissa
