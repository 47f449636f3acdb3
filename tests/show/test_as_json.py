"""The plan for tools: its keys are pinned, and its values are those of the plan."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import ALTERNATING, EMA, INFORMED, LABELED, TERMS, TINY, plan_of

from ammgraph.plan.identity import plan_hash
from ammgraph.show.as_json import as_json
from ammgraph.spec.shipped import shipped_specs

ROW = (
    *("name", "input", "op", "choose", "channels", "width", "stride", "padding", "heads"),
    *("bias", "noise", "dropout"),
    *("batchnorm", "norm", "activation", "pool", "upsample", "initializer", "weight_norm"),
    *("in_shape", "inner_shape", "out_shape", "parameters", "multiply_adds", "memory"),
)
KEYS = {
    "": (
        *("version", "title", "plan_hash", "variables", "networks", "distributions", "games", "terms", "turns"),
        *("readouts", "reconstructions", "features", "training", "data", "evaluation", "published", "cost", "warnings"),
    ),
    "variables": ("name", "kind", "shape", "range"),
    "networks": ("name", "inputs", "optimizer", "ema", "parameters", "multiply_adds", "rows"),
    "networks.inputs": ("name", "shape"),
    "networks.rows": ROW,
    "distributions": ("name", "batch_size", "factors", "latex"),
    "distributions.factors": ("text", "variables", "given", "value", "origin", "density", "needed", "enumerated"),
    "games": (
        *("name", "real", "fake", "objective", "weight", "discriminator", "reads", "penalties", "gradients"),
        "latex",
    ),
    "games.penalties": ("kind", "weight", "every", "own_pass"),
    "games.latex": ("value", "discriminator", "generator"),
    "turns": (
        "update",
        "steps",
        "redraw",
        "draws",
        "needs",
        "taken",
        "passes",
        "games",
        "terms",
        "losses",
        "objectives",
        "noise",
    ),
    "turns.passes": (
        *("kind", "evaluation", "network", "bindings", "row", "rows", "raw", "draws", "batch", "sides", "every"),
        *("stopped", "kept", "moves", "takes", "chooses", "shared", "examples", "within"),
    ),
    "turns.losses": ("name", "value", "weights", "every", "gradients"),
    "turns.objectives": ("through", "losses", "networks", "latex"),
    "turns.noise": ("name", "kind", "batch", "shape", "dropout", "every"),
    "training": ("epoch_source", "epoch_batch", "epochs", "steps", "batchnorm"),
    "cost": ("parameters", "forward_multiply_adds", "memory"),
    "cost.memory": ("weights", "activations", "total"),
}


def at(found: Any, path: str) -> list[dict[str, Any]]:
    """Everything at a path, through lists."""
    here = [found]
    for name in path.split(".") if path else ():
        here = [item for value in here for item in (value[name] if isinstance(value[name], list) else [value[name]])]
    return here


@pytest.mark.parametrize("path", KEYS)
def test_the_keys_are_these(path: str) -> None:
    found = as_json(plan_of(TINY))
    assert at(found, path)
    for item in at(found, path):
        assert tuple(item) == KEYS[path]


@pytest.mark.parametrize(
    ("path", "overrides"), [(TINY, (ALTERNATING, EMA)), (LABELED, ()), *((p, ()) for p in shipped_specs().values())]
)
def test_it_is_json_and_adds_up(path: Path, overrides: tuple[str, ...]) -> None:
    plan = plan_of(path, *overrides)
    found = json.loads(json.dumps(as_json(plan), allow_nan=False))
    assert found == json.loads(json.dumps(as_json(plan)))
    rows = at(found, "networks.rows")
    assert sum(row["parameters"] for row in rows) == found["cost"]["parameters"] == plan.parameters
    weights = [row["in_shape"][0] * row["channels"] * row["width"] ** 2 for row in rows if row["op"] == "conv"]
    biases = [
        row["channels"] * (row["bias"] + 2 * row["batchnorm"] + (row["weight_norm"] == "weightnorm"))
        for row in rows
        if row["op"] == "conv"
    ]
    assert [row["parameters"] for row in rows if row["op"] == "conv"] == [
        sum(p) for p in zip(weights, biases, strict=True)
    ]
    assert found["plan_hash"] == plan_hash(plan)
    memory = found["cost"]["memory"]
    assert memory["total"] == memory["weights"] + memory["activations"] > sum(row["memory"] for row in rows) > 0


def test_origins_say_where_a_sample_comes_from() -> None:
    found = as_json(plan_of(LABELED))
    origins = {f"{draw['name']}: {f['text']}": f["origin"] for draw in found["distributions"] for f in draw["factors"]}
    assert origins["q_labeled: q(x,y)"] == {
        "kind": "data", "source": "data.labeled", "fields": {"x": "image", "y": "label"},
    }  # fmt: skip
    assert {origin["kind"] for origin in origins.values()} == {"data", "prior", "network"}


def test_a_term_has_its_value_its_scores_and_whom_it_reaches() -> None:
    found = as_json(plan_of(TERMS))
    keys = ("name", "value", "weight", "scores", "gradients", "latex")
    assert [tuple(term) for term in found["terms"]] == [keys] * 3
    first, second, _ = found["terms"]
    assert first["value"] == "-E_q log p(x|y,z)"
    assert first["gradients"] == [
        {"network": "decoder", "through": ["p(x|y,z)"]}, {"network": "encoder", "through": ["q.y", "q.z"]}
    ]  # fmt: skip
    assert [(score["name"], score["distribution"], score["raw"]) for score in first["scores"]] == [
        ("p(x|y,z)", "q", ["x"])
    ]
    assert second["weight"] == [[0, 0], [0.5, 1]]
    assert [score["evaluation"] for score in second["scores"]] == ["q/encoder", None, "q/encoder", None]
    assert found["games"] == []
    (turn,) = found["turns"]
    assert turn["terms"] == ["reconstruction", "prior", "classes"]
    asked = [(found["evaluation"], found["rows"], found["raw"]) for found in turn["passes"] if found["kind"] == "asked"]
    assert asked == [
        ("q/decoder", ["h", "x"], ["x"]), ("p/classifier", ["h", "y"], ["y"]), ("q/classifier", ["h", "y"], ["y"])
    ]  # fmt: skip
    json.dumps(as_json(plan_of(INFORMED)), allow_nan=False)


def test_what_changes_with_the_epoch_is_a_list_of_breakpoints() -> None:
    found = as_json(plan_of(TINY, "training.optimizers.default.learning_rate=[[0, 1e-3], [10, 0]]"))
    assert found["networks"][0]["optimizer"]["learning_rate"] == [[0, 0.001], [10, 0]]
    assert found["games"][0]["weight"] == 1


def test_a_course_in_steps_or_by_a_cosine_is_a_mapping() -> None:
    rate = "{cosine: [1e-3, 0], over: 10, warmup: 2, by: steps}"
    found = as_json(plan_of(TINY, f"training.optimizers.default.learning_rate={rate}"))
    expected = {"points": [[0, 0], [2, 0.001], [10, 0]], "by": "steps", "cosine": True}
    assert found["networks"][0]["optimizer"]["learning_rate"] == expected


def test_a_row_says_what_normalises_resizes_and_chooses() -> None:
    rows = {
        "c": "{input: x, channels: 4, width: [3, 2], stride: [1, 2], norm: group 2, weightnorm: true, "
        "pool: avg 2 by 4}",
        "u": "{input: c, upsample: nearest 2 by 3}",
        "m": "{input: u | u, choose: k}",
        "k": "{input: y, channels: 2, width: 1, activation: softmax}",
        "hx": "{input: m, op: linear, channels: 16}",
    }
    plan = plan_of(TINY, *(f"networks.critic.layers.{name}={row}" for name, row in rows.items()))
    network = next(network for network in as_json(plan)["networks"] if network["name"] == "critic")
    found = {row["name"]: row for row in json.loads(json.dumps(network["rows"]))}
    assert {name: found["c"][name] for name in ("width", "stride", "padding", "norm", "weight_norm", "pool")} == {
        "width": [3, 2], "stride": [1, 2], "padding": 0, "norm": "group 2", "weight_norm": "weightnorm",
        "pool": "avg 2 by 4",
    }  # fmt: skip
    assert (found["u"]["upsample"], found["m"]["choose"], found["u"]["choose"]) == ("nearest 2 by 3", "k", None)
