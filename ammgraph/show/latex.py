r"""A plan as mathematics: the factorizations, each game's value function, each player's loss, in LaTeX."""

from collections.abc import Callable, Sequence

from ammgraph.formulas.expression import (
    Expression,
    Leaf,
    Logit,
    Scored,
    Slope,
    Sum,
    Support,
    Value,
    Vat,
    mean,
    minus,
    plus,
    times,
)
from ammgraph.formulas.functions import FUNCTIONS, functional_latex
from ammgraph.formulas.notation import Spelling, written
from ammgraph.formulas.objectives import OBJECTIVES
from ammgraph.plan.draws import DrawPlan, FactorPlan, FromBayes
from ammgraph.plan.games import game_value, penalty_value, weighed
from ammgraph.plan.plan import Plan
from ammgraph.plan.queries import read_of_record
from ammgraph.plan.turns import FitPlan, GamePlan, ObjectivePlan, PenaltyPlan, TermPlan, TurnPlan
from ammgraph.spec.notation import head_and_rest, number_text, parse_factor
from ammgraph.spec.schema import Schedule


def latex(plan: Plan) -> str:
    r"""Lines of LaTeX (amsmath), one formula a line; \zeta is softplus, d the logit, \sigma the sigmoid."""
    lines = ["% factorizations"]
    lines += [factorization(draw) for draw in plan.draws]
    lines += [
        posterior(factor) for draw in plan.draws for factor in draw.written if isinstance(factor.origin, FromBayes)
    ]
    for game in plan.games:
        formulas = [formula for formula in game_formulas(plan, game) if formula is not None]
        lines += ["", f"% game {game.name}{'' if formulas else ', which no turn plays'}", *formulas]
    lines += ["", "% terms", *map(term_formula, plan.terms)] if plan.terms else []
    for number, phase in enumerate(plan.stages, start=1):
        lines += [line for fit in phase.fits for line in ("", f"% before phase {number}", fit_formula(plan, fit))]
        turns, where = plan.turns_of(phase), f" of phase {number}" if plan.phases else ""
        for index, turn in enumerate(turns, start=1):
            lines += ["", f"% players{where}" if len(turns) == 1 else f"% players of turn {index}{where}"]
            lines += players(turn)
    return "\n".join(lines) + "\n"


def game_formulas(plan: Plan, game: GamePlan) -> tuple[str | None, str | None, str | None]:
    """A game's value, the discriminator's loss and that of the networks on both sides; None for what nobody plays."""
    against, beside = (bool(plan.players(game.name, role)) for role in ("discriminator", "generator"))
    return (
        (value_function(game) or None) if against or beside else None,
        discriminator_loss(game) if against else None,
        generator_loss(game) if beside else None,
    )


def fit_formula(plan: Plan, fit: FitPlan) -> str:
    r"""p(z|y=k) = N(mu_k, sigma_k^2), those of max sum_n log sum_k pi_k N(z_n; mu_k, sigma_k^2); z_n inferred."""
    head, variable = fit.factor.partition("(")[0], _variable(fit.variable)
    condition = plan.draw(head).factor_of(fit.variable).given[0]
    factor = _density(head, [fit.variable], []).removesuffix(")") + rf" \mid {_variable(condition)} = k)"
    images = read_of_record(plan.draw(fit.to), fit.variable)
    letter, square = (r"\Sigma", r"\Sigma_k") if fit.full else (r"\sigma", r"\sigma_k^2")
    mixture = rf"\sum_k \pi_k \, \mathcal{{N}}(\bar{{{variable}}}_n; \mu_k, {square})"
    given = ", ".join(f"{_variable(image)}_n" for image in images)
    inferred = rf"\bar{{{variable}}}_n = \mathbb{{E}}_{{{_letter(fit.to)}}}[{variable} \mid {given}]"
    spread = square if fit.log_variance else "1"
    best = rf"\mathrm{{argmax}}_{{\pi, \mu, {letter}}} \sum_n \log {mixture}"
    return rf"{factor} = \mathcal{{N}}(\mu_k, {spread}), \quad (\pi, \mu, {letter}) = {best}, \quad {inferred}"


def factorization(draw: DrawPlan) -> str:
    """q(x,y,z) = q(x) q(y|x) q(z|x,y)."""
    variables = dict.fromkeys(name for factor in draw.written for name in factor.variables)
    given = dict.fromkeys(name for factor in draw.written for name in factor.given if name not in variables)
    return f"{_density(draw.name, list(variables), list(given))} = " + r" \, ".join(
        _density(draw.name, parse_factor(factor.text).variables, factor.given) for factor in draw.written
    )


def posterior(factor: FactorPlan) -> str:
    r"""q(y \mid z) = \frac{p(y) \, p(z \mid y)}{\sum_{y} p(y) \, p(z \mid y)}, Bayes' rule."""
    assert isinstance(factor.origin, FromBayes)
    score = factor.origin.score
    product = r" \, ".join(_factor(part.name) for part in score.computed)
    return rf"{_factor(score.name)} = \frac{{{product}}}{{\sum_{{{_variable(score.rule)}}} {product}}}"


def value_function(game: GamePlan) -> str:
    """V(D, G) = E_q[log D(x, y, z)] + E_p[log(1 - D(x, y, z))], eq. 13; of Wasserstein's E_q[d] - E_p[d].

    Nothing where the players do not play for one value.
    """
    arguments, head = _arguments(game), rf"V_{{{_word(game.name)}}}"
    if OBJECTIVES[game.objective].value == "d":
        value = plus(*(times(w, mean(draw, Logit(draw))) for w, draw in game.real))
        against = [minus(times(w, mean(draw, Logit(draw)))) for w, draw in game.fake]
        return f"{head}(d, G) = {formula(game, plus(*_terms(value), *against))}"
    if OBJECTIVES[game.objective].value == "log D":
        real, fake = _sum(game.real, rf"\log D({arguments})"), _sum(game.fake, rf"\log(1 - D({arguments}))")
        return rf"{head}(D, G) = {real} + {fake}, \quad D = \sigma(d)"
    return ""


def discriminator_loss(game: GamePlan) -> str:
    """What the discriminator minimises, penalties and weight included; a weight that changes with the epoch is w(t)."""
    terms = [formula(game, game_value(game, "discriminator"))]
    terms += [_penalty(game, penalty) for penalty in game.penalties]
    return rf"\mathcal{{L}}^{{D}}_{{{_word(game.name)}}} = {_weighted(game.weight, terms)}"


def generator_loss(game: GamePlan) -> str:
    """What the networks on both sides minimise."""
    terms = [formula(game, game_value(game, "generator"))]
    return rf"\mathcal{{L}}^{{G}}_{{{_word(game.name)}}} = {_weighted(game.weight, terms)}"


def players(turn: TurnPlan) -> list[str]:
    """Which parameters minimise which sum of losses in one turn: each network once, those with one sum together."""
    sums: dict[str, list[str]] = {}
    for objective in turn.shares:
        for network in objective.networks:
            sums.setdefault(network, []).extend(_losses(turn, objective))
    together: dict[tuple[str, ...], list[str]] = {}
    for network, losses in sums.items():
        together.setdefault(tuple(losses), []).append(network)
    return [_minimum(networks, losses) for losses, networks in together.items()]


def player(turn: TurnPlan, objective: ObjectivePlan) -> str:
    """Which parameters minimise which sum of losses, by one gradient."""
    return _minimum(objective.networks, _losses(turn, objective))


def _minimum(networks: Sequence[str], losses: Sequence[str]) -> str:
    parameters = ", ".join(rf"\theta_{{{_word(name)}}}" for name in networks)
    return rf"\min_{{{parameters}}} \; {' + '.join(losses)}"


def _losses(turn: TurnPlan, objective: ObjectivePlan) -> list[str]:
    """The losses of an objective; a discriminator's has its penalties in it."""
    letter = "D" if objective.through == "passes" else "G"
    owners = dict.fromkeys(turn.loss(name).owner for name in objective.losses)
    losses = [rf"\mathcal{{L}}^{{{letter}}}_{{{_word(name)}}}" for name in owners if name not in turn.terms]
    return losses + [_times(turn.loss(f"{name}/value").weights[0], name) for name in owners if name in turn.terms]


def _times(weight: Schedule, term: str) -> str:
    """A term with its weight."""
    written_term = rf"\mathcal{{T}}_{{{_word(term)}}}"
    factor = _factor_of(weight)
    return rf"{factor} \, {written_term}" if factor else written_term


def formula(game: GamePlan, expression: Expression) -> str:
    r"""An expression of a game: d, \nabla d with what the discriminator reads, with hats at points between samples."""

    def leaf(found: Leaf) -> str:
        if isinstance(found, Support):
            return _factor(found.factor)
        between = isinstance(found, Slope) and not found.draw
        names = [rf"\hat{{{_variable(v)}}}" if between else _variable(v) for _, v in game.reads]
        logit = f"d({', '.join(names)})"
        return logit if isinstance(found, Logit) else rf"\lVert \nabla_{{{', '.join(names)}}} {logit} \rVert_2"

    return written(expression, _spelling(leaf))


def term_formula(term: TermPlan) -> str:
    """What a term is, before its weight."""

    def leaf(found: Leaf) -> str:
        if isinstance(found, Support):
            return _factor(found.factor)
        assert isinstance(found, Scored | Value | Vat), "a term reads no logits"
        if isinstance(found, Vat):
            return _vat(found)
        written_leaf = _factor(found.factor) if isinstance(found, Scored) else value(found)
        return rf"\mathrm{{sg}}\left[{written_leaf}\right]" if found.stopped else written_leaf

    def value(found: Value) -> str:
        score = term.score(found)
        if score is None:
            return _variable(found.name)
        row = rf"{_word(score.network)}_{{{_word(score.row)}}}"
        return f"{row}({', '.join(map(_variable, score.reads))})" if score.reads else row

    return rf"\mathcal{{T}}_{{{_word(term.name)}}} = {written(term.value, _spelling(leaf))}"


def _spelling(leaf: Callable[[Leaf], str]) -> Spelling:
    return Spelling(
        number=lambda value: r"\tfrac{1}{2}" if value == 0.5 else _number(value),
        leaf=leaf,
        function=lambda name, argument: FUNCTIONS[name].latex.format(argument),
        weighted=lambda support, argument: (
            rf"\sum_{{{_variable(support.variable)}}} {_factor(support.factor)} \, {argument}"
        ),
        mean=lambda draw, argument: rf"{_mean_of(draw)}\left[{argument}\right]",
        functional=functional_latex,
        batch=lambda name, draw, arguments: functional_latex(name, arguments, _letter(draw)),
        floor=lambda argument, least: rf"\max\left({argument}, {least}\right)",
        times=r" \, ",
        power=lambda base: f"{base}^2",
        brackets=r"\left({}\right)",
    )


def _vat(leaf: Vat) -> str:
    r"""\max_{\lVert r \rVert_2 \leq 4} \mathrm{KL}(\mathrm{sg}[c(y \mid x)] \,\|\, c(y \mid x + r))."""
    factors = [_number(leaf.radius)] if leaf.radius != 1 or not leaf.times else []
    factors += [_variable(leaf.times)] if leaf.times else []
    return functional_latex("vat", [_factor(leaf.factor), _factor(leaf.factor, leaf.variable), r" \, ".join(factors)])


def _factor(text: str, moved: str = "") -> str:
    r"""`c(y|x=v)` -> c(y \mid x = v); c(y \mid x = v + r) where v is moved."""
    draw, _, rest = text.removesuffix(")").partition("(")
    variables, _, given = rest.partition("|")
    ends = {part: " + r" if part.split("=")[-1] == moved else "" for part in given.split(",") if part}
    parts = [" = ".join(map(_variable, part.split("="))) + end for part, end in ends.items()]
    condition = r" \mid " + ", ".join(parts) if parts else ""
    return f"{_letter(draw)}({', '.join(map(_variable, variables.split(',')))}{condition})"


def _terms(expression: Expression) -> tuple[Expression, ...]:
    return expression.terms if isinstance(expression, Sum) else (expression,)


def _sum(side: Sequence[tuple[float, str]], inner: str) -> str:
    return " + ".join(_expectation(weight, draw, inner) for weight, draw in side)


def _penalty(game: GamePlan, penalty: PenaltyPlan) -> str:
    """A penalty with its weight; n 1_{n | t} before one that is taken in every nth step t."""
    often = "" if penalty.every == 1 else rf"{penalty.every} \, 1_{{{penalty.every} \mid t}} \, "
    varies, value = weighed(penalty.weight, penalty_value(game, penalty))
    return often + (r"\lambda(t) \, " if varies else "") + formula(game, value)


def _weighted(weight: Schedule, terms: Sequence[str]) -> str:
    total, factor = " + ".join(terms), _factor_of(weight)
    return rf"{factor} \left({total}\right)" if factor else total


def _factor_of(weight: Schedule) -> str:
    """A constant weight as its number, nothing where that is 1; one that changes with the epoch t as a function."""
    if weight.changes:
        return "w(t)"
    return "" if weight.ends == 1 else _number(weight.ends)


def _expectation(weight: float, draw: str, inner: str) -> str:
    factor = "" if weight == 1 else _number(weight) + r" \, "
    return rf"{factor}{_mean_of(draw)}\left[{inner}\right]"


def _mean_of(draw: str) -> str:
    return rf"\mathbb{{E}}_{{{_letter(draw)}}}" if draw else r"\mathbb{E}"


def _density(draw: str, variables: Sequence[str], given: Sequence[str]) -> str:
    condition = r" \mid " + ", ".join(map(_variable, given)) if given else ""
    return f"{_letter(draw)}({', '.join(map(_variable, variables))}{condition})"


def _arguments(game: GamePlan) -> str:
    return ", ".join(_variable(variable) for _, variable in game.reads)


def _letter(draw: str) -> str:
    head, rest = head_and_rest(draw)
    return rf"{_word(head)}_{{\mathrm{{{rest.replace('_', ' ')}}}}}" if rest else _word(head)


def _variable(name: str) -> str:
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return f"{_word(stem)}_{{{digits}}}" if digits else _word(stem)


def _word(name: str) -> str:
    escaped = name.replace("_", r"\_")
    return escaped if len(name) == 1 else rf"\mathrm{{{escaped}}}"


def _number(value: float) -> str:
    r"""10, 0.5, 2 \cdot 10^{-5}."""
    mantissa, exponent, power = number_text(value).partition("e")
    return rf"{mantissa} \cdot 10^{{{int(power)}}}" if exponent else mantissa
