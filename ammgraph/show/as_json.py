"""A plan as plain data for tools, `show --format json`. Keys are stable; a change of their meaning raises `version`.

version, title, plan_hash
variables        [{name, kind, shape [C, H, W], range}]
networks         [{name, inputs, optimizer, ema, parameters, multiply_adds, rows}]; a row has the columns of a layer
                 table as they take effect, `in_shape`, `inner_shape` (before `pool`), `out_shape`, `parameters`,
                 `multiply_adds` of one example, and `memory`, its bytes in one step; a network that begins as one of an
                 earlier run has `from`, one that is not trained `trainable`, false
distributions    [{name, batch_size, factors, latex}]; a factor has `text`, `variables`, `given`, `value`, `density`,
                 `needed`, and `origin`, whose `kind` is data, prior, draw, network or bayes; `enumerated` says that
                 its variable has every value
games            [{name, real, fake, objective, weight, discriminator, reads, penalties, gradients, latex}]; those
                 penalties that are taken, gradients of the networks that learn from the game, null for a loss that
                 nobody minimises
terms            [{name, value, weight, scores, gradients, latex}]; a score is what a factor or a row needs of its
                 network at a draw's samples, in `raw` what is computed up to its activation alone; one `over` a
                 variable at every value of it; a posterior has `parts`
turns            [{update, steps, redraw, draws, needs, taken, passes, games, terms, losses, objectives, noise}], in the
                 order of one step; `needs` has the variables of those draws of which other turns draw more, `taken` the
                 evaluations that are as another draw's has computed them; a pass is `drawn`
                 within a draw, `asked` for by terms at a draw's samples (`stopped`: without gradient, `kept`: without
                 a trace in running statistics; over a variable it `takes` rows and samples of the examples themselves,
                 repeated for every value, and `chooses` from rows), `moved` (taken twice with the variable `moves`
                 moved), `scored` by a discriminator at draws' samples (rows that are `shared` by all values of an
                 enumerated variable at its `examples`, the others at its `batch`; one that is `within` an asked pass is
                 computed by that), or `between` two draws'
readouts, reconstructions, features, training, data, evaluation, published, cost, warnings

Where the spec has phases, `training` has phases [{epochs, steps, turns, fits, forward_multiply_adds}]: `turns` are
positions from 0, `fits` what is set before the phase; and `cost` has the multiply-adds of the phase that takes most.

A weight or a rate is a number, or a list of [epoch, value] where it changes; {points, by, cosine} where its points
count steps or it ends with a cosine.
"""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from ammgraph.diagnostics import as_json as diagnostic_json
from ammgraph.formulas.expression import Expression
from ammgraph.formulas.penalties import PENALTIES
from ammgraph.plan.cost import forward_cost, memory
from ammgraph.plan.draws import (
    Density,
    DrawPlan,
    EvaluationPlan,
    FactorPlan,
    FromBayes,
    FromData,
    FromDraw,
    FromPrior,
    Origin,
    ScorePlan,
    Site,
)
from ammgraph.plan.identity import plan_hash
from ammgraph.plan.networks import NetworkPlan, RowPlan
from ammgraph.plan.plan import Plan, ReadoutPlan
from ammgraph.plan.turns import GamePlan, LossPlan, PassPlan, PhasePlan, TermPlan, TurnPlan
from ammgraph.show import latex
from ammgraph.show.text import formula_text
from ammgraph.spec.columns import Activation, Norm, Pool, Upsample
from ammgraph.spec.notation import Input, Reference
from ammgraph.spec.schema import Schedule

VERSION = 2
Json = dict[str, Any]


def as_json(plan: Plan) -> Json:
    """The whole plan, as it stands above."""
    held, forward = memory(plan), [forward_cost(plan, plan.turns_of(phase)) for phase in plan.stages]
    shares = {(network, row): share for network, row, share in held.rows}
    return {
        "version": VERSION,
        "title": plan.title,
        "plan_hash": plan_hash(plan),
        "variables": [_fields(variable, "name", "kind", "shape", "range") for variable in plan.variables],
        "networks": [_network(network, shares) for network in plan.networks],
        "distributions": [_distribution(draw) for draw in plan.draws],
        "games": [_game(plan, game) for game in plan.games],
        "terms": [_term(plan, term) for term in plan.terms],
        "turns": [_turn(turn) for turn in plan.turns],
        "readouts": [_readout(readout) for readout in plan.every_readout],
        "reconstructions": [_fields(found, "variable", "infer", "generate") for found in plan.reconstructions],
        "features": None if plan.features is None else {"row": plan.features.name, "draw": plan.features.draw},
        "training": {
            "epoch_source": str(plan.epoch_source),
            "epoch_batch": plan.epoch_batch,
            "epochs": plan.epochs,
            "steps": plan.steps,
            **({"phases": [_phase(plan, phase) for phase in plan.phases]} if plan.phases else {}),
            "batchnorm": {"momentum": plan.momentum, "epsilon": plan.epsilon},
        },
        "data": {name: _plain(data) for name, data in plan.data_sets} or _plain(plan.data),
        "evaluation": _plain(plan.evaluation),
        "published": [_plain(number) for number in plan.published],
        "cost": {
            "parameters": plan.parameters,
            "forward_multiply_adds": max(forward, key=lambda found: sum(found.values())),
            "memory": {"weights": held.weights, "activations": held.activations, "total": held.total},
        },
        "warnings": [diagnostic_json(warning) for warning in plan.warnings],
    }


def _phase(plan: Plan, phase: PhasePlan) -> Json:
    fields = ("factor", "network", "mean", "log_variance", "variable", "to", "full")
    return {
        **_fields(phase, "epochs", "steps"),
        "turns": list(range(phase.first, phase.first + phase.count)),
        "fits": [{**_fields(fit, *fields), "log_variance": fit.log_variance or None} for fit in phase.fits],
        "forward_multiply_adds": forward_cost(plan, plan.turns_of(phase)),
    }


def _network(network: NetworkPlan, shares: dict[tuple[str, str], int]) -> Json:
    return {
        "name": network.name,
        "inputs": [{"name": name, "shape": list(shape)} for name, shape in network.inputs],
        **_fields(network, "optimizer", "ema", "parameters", "multiply_adds"),
        **({"from": network.start} if network.start else {}),
        **({} if network.trainable else {"trainable": False}),
        "rows": [_row(row, shares.get((network.name, row.name), 0)) for row in network.rows],
    }


def _row(row: RowPlan, share: int) -> Json:
    return {
        **_fields(row, "name", "input", "op"),
        "choose": row.choose or None,
        "channels": row.inner_shape[0],
        **{name: _plain(row.columns.get(name)) for name in ("width", "stride", "padding", "heads")},
        **_fields(row, "bias", "noise", "dropout", "batchnorm", "norm", "activation", "pool", "upsample"),
        "initializer": _fields(row, "weights", "biases") if row.linear is not None else None,
        "weight_norm": row.weight_norm or None,
        **_fields(row, "in_shape", "inner_shape", "out_shape", "parameters", "multiply_adds"),
        "memory": share,
    }


def _distribution(draw: DrawPlan) -> Json:
    factors = [_factor(factor) for factor in draw.written]
    return {**_fields(draw, "name", "batch_size"), "factors": factors, "latex": latex.factorization(draw)}


def _factor(factor: FactorPlan) -> Json:
    return {
        **_fields(factor, "text", "variables", "given", "value"),
        "origin": _origin(factor.origin),
        "density": _density(factor.density),
        "needed": factor.needed,
        "enumerated": factor.enumerated,
    }


def _density(density: Density) -> Json:
    return {**_fields(density, "kind", "mean"), "log_variance": density.log_variance or None, "full": density.full}


def _origin(origin: Origin) -> Json:
    if isinstance(origin, FromData):
        named = {"named": origin.names} if origin.named else {}
        return {"kind": "data", "source": str(origin.source), "fields": dict(origin.fields), **named}
    if isinstance(origin, FromPrior):
        prior = str(origin.prior)
        return {"kind": "prior", "prior": prior, "given": origin.given or None, "noise": _site(origin.site)}
    if isinstance(origin, FromDraw):
        return {"kind": "draw", "distribution": origin.draw, "variable": origin.variable}
    if isinstance(origin, FromBayes):
        return {"kind": "bayes", "distribution": origin.distribution, "score": _score(origin.score)}
    return {"kind": "network", **_evaluation(origin.evaluation), **_fields(origin, "row", "rows", "closure")}


def _game(plan: Plan, game: GamePlan) -> Json:
    learning, learns = plan.players(game.name, "generator"), bool(plan.players(game.name, "discriminator"))
    value, against, beside = latex.game_formulas(plan, game)
    return {
        "name": game.name,
        "real": [{"weight": weight, "distribution": draw} for weight, draw in game.real],
        "fake": [{"weight": weight, "distribution": draw} for weight, draw in game.fake],
        **_fields(game, "objective", "weight", "discriminator"),
        "reads": [{"name": name, "variable": variable} for name, variable in game.reads],
        "penalties": [
            {**_fields(p, "kind", "weight", "every"), "own_pass": PENALTIES[p.kind].between}
            for p in (game.penalties if learns else ())
        ],
        "gradients": _gradients((network, through) for network, through in game.paths if network in learning),
        "latex": {"value": value, "discriminator": against, "generator": beside},
    }


def _term(plan: Plan, term: TermPlan) -> Json:
    learning = plan.players(term.name, "value")
    return {
        **_fields(term, "name", "value", "weight"),
        "scores": [_score(score) for score in term.scores],
        "gradients": _gradients((network, through) for network, through in term.paths if network in learning),
        "latex": latex.term_formula(term),
    }


def _score(score: ScorePlan) -> Json:
    return {
        "name": score.name,
        "distribution": score.draw or None,
        **(_evaluation(score.evaluation) if score.evaluation else {"evaluation": None}),
        "row": score.row or None,
        **_fields(score, "rows", "raw", "reads", "stopped"),
        "density": _density(score.density) if score.density else None,
        "prior": _origin(score.prior) if score.prior else None,
        "over": score.over or None,
        "parts": [{"variable": variable, **_score(part)} for variable, part in score.parts],
    }


def _gradients(paths: Iterable[tuple[str, tuple[str, ...]]]) -> list[Json]:
    return [{"network": network, "through": list(through)} for network, through in paths]


def _turn(turn: TurnPlan) -> Json:
    return {
        **_fields(turn, "update", "steps", "redraw", "draws"),
        "needs": {
            draw.name: [name for factor in draw.factors if factor.needed for name in factor.variables]
            for draw in turn.partial
        },
        "taken": [{"evaluation": name, "drawn": drawn} for name, drawn in turn.taken],
        "passes": [_pass(found) for found in turn.passes],
        **_fields(turn, "games", "terms"),
        "losses": [_loss(loss) for loss in turn.losses],
        "objectives": [
            {**_fields(objective, "through", "losses", "networks"), "latex": latex.player(turn, objective)}
            for objective in turn.shares
        ],
        "noise": [_site(site) for site in turn.sites],
    }


def _pass(found: PassPlan) -> Json:
    return {
        "kind": found.kind,
        **_evaluation(found.evaluation),
        **_fields(found, "row", "rows", "raw", "draws", "batch"),
        "sides": [{"game": game, "side": side} for game, side in found.sides],
        **_fields(found, "every", "stopped", "kept", "moves", "takes", "chooses", "shared", "examples", "within"),
    }


def _loss(loss: LossPlan) -> Json:
    return {**_fields(loss, "name", "value", "weights", "every"), "gradients": _gradients(loss.paths)}


def _evaluation(evaluation: EvaluationPlan) -> Json:
    return {"evaluation": evaluation.name, "network": evaluation.network, "bindings": dict(evaluation.bindings)}


def _site(site: Site) -> Json:
    return _fields(site, "name", "kind", "batch", "shape", "dropout", "every")


def _readout(readout: ReadoutPlan) -> Json:
    bayes = readout.bayes
    return {
        "variable": readout.variable,
        "distribution": readout.draw,
        "supervised": readout.supervised,
        "bayes": None if bayes is None else {"distribution": bayes.draw, "evidence": list(bayes.evidence)},
    }


def _fields(value: object, *names: str) -> Json:
    """Those fields of a plan, by their own names."""
    return {name: _plain(getattr(value, name)) for name in names}


def _plain(value: object) -> Any:
    """What is no number, word, list or section of the spec, as it is written; a schedule as above."""
    if isinstance(value, Schedule):
        if value.by == "steps" or value.cosine:
            return {name: _plain(getattr(value, name)) for name in ("points", "by", "cosine")}
        return value.ends if len(value.points) == 1 else _plain(value.points)
    if isinstance(value, BaseModel):  # defaults included, without keys that hold nothing
        return {name: _plain(entry) for name, entry in value if entry is not None}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Expression):
        return formula_text(value)
    return str(value) if isinstance(value, Input | Reference | Activation | Norm | Pool | Upsample) else value
