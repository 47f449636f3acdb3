"""What a plan decides, as canonical data: two plans are one where it is equal, however they are printed.

A field that has its default is left out, so that a decision which the language learns later leaves the identities of
older plans alone. A default that changes its meaning, or a value that means something else, raises `VERSION`.
"""

import hashlib
import json
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from typing import Any

from pydantic import BaseModel

from ammgraph.folders import ENVIRONMENT, SPEC
from ammgraph.plan.draws import FactorPlan, FromData, FromDraw, FromNetwork, FromPrior
from ammgraph.plan.networks import NetworkPlan, RowPlan
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import GamePlan, LossPlan, TermPlan
from ammgraph.spec.priors import PRIORS
from ammgraph.spec.schema import Data, Evaluation

VERSION = 1

# What only describes, follows from the rest, or may change between two parts of one run.
DESCRIPTIVE: dict[type, frozenset[str]] = {
    Plan: frozenset(
        {
            "title",
            "epochs",
            "steps",
            "readouts",
            "further_readouts",
            "reconstructions",
            "features",
            "published",
            "warnings",
        }
    ),
    FactorPlan: frozenset({"text", "value"}),
    GamePlan: frozenset({"paths"}),
    LossPlan: frozenset({"paths"}),
    TermPlan: frozenset({"paths"}),
    NetworkPlan: frozenset({"start"}),  # which only the first step sees
    RowPlan: frozenset({"parameters", "multiply_adds"}),
    Data: frozenset({"path", "fields"}),  # the factors' origins say which field a variable takes
    Evaluation: frozenset({"every_epochs", "features", "keep"}),
}

# Kinds that stand in the same place and may have the same fields.
KINDS: dict[type, str] = {
    FromData: "data",
    FromPrior: "prior",
    FromDraw: "draw",
    FromNetwork: "network",
    **{prior: kind.word for prior, kind in PRIORS.items()},
}


def identity(plan: Plan) -> dict[str, Any]:
    """Everything that a plan decides, as plain data: version and plan.

    Titles, comments, published numbers, paths, the length of training, which is that of its last phase, and the times
    of evaluation decide nothing.
    """
    *earlier, last = plan.stages
    open_end = (*earlier, replace(last, epochs=None, steps=None)) if plan.phases else ()
    return {"version": VERSION, "plan": _canonical(replace(plan, phases=open_end))}


def plan_hash(plan: Plan) -> str:
    """`VERSION:` and the SHA-256 of the identity: equal for specs that decide the same."""
    text = json.dumps(identity(plan), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{VERSION}:{hashlib.sha256(text.encode()).hexdigest()}"


def of_another_version(recorded: str) -> str:
    """Why a recorded hash cannot be compared with one of this version, or nothing."""
    version, _, rest = recorded.partition(":")
    if version == str(VERSION) and rest:
        return ""
    told = f"identity {version}" if rest and version.isdecimal() and len(version) < 10 else "plans as printed text"
    return (
        f"it was written by an ammgraph that compares {told}, and this one compares identity {VERSION}; use the "
        f"version that {ENVIRONMENT} names, or train the run's {SPEC} anew"
    )


def _canonical(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): _canonical(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(entry) for entry in value]
    word, defaults = _deciding(value.__class__)
    kind = {"kind": word} if word else {}
    given = {name: getattr(value, name) for name in defaults}
    return kind | {
        name: _canonical(entry) for name, entry in given.items() if defaults[name] is MISSING or defaults[name] != entry
    }


@cache
def _deciding(of: type) -> tuple[str, dict[str, Any]]:
    """The word of a kind, and the defaults of those of its fields that decide something."""
    if issubclass(of, BaseModel):
        found = {
            name: MISSING if field.is_required() else field.get_default(call_default_factory=True)
            for name, field in of.model_fields.items()
        }
    elif is_dataclass(of):
        found = {field.name: field.default for field in fields(of)}
    else:
        raise TypeError(f"{of.__name__} has no canonical form")
    left_out = next((DESCRIPTIVE[kind] for kind in of.__mro__ if kind in DESCRIPTIVE), frozenset[str]())
    return KINDS.get(of, ""), {name: default for name, default in found.items() if name not in left_out}
