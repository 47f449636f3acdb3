"""The plan for tools: its keys are pinned, and its values are those of the plan."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import ALTERNATING, EMA, LABELED, TINY, plan_of

from ammgraph.plan.identity import plan_hash
from ammgraph.show.as_json import as_json
from ammgraph.spec.shipped import shipped_specs

ROW = (
    *("name", "input", "op", "channels", "width", "stride", "padding", "bias", "dropout", "batchnorm", "activation"),
    *("pool", "initializer", "in_shape", "inner_shape", "out_shape", "parameters", "multiply_adds", "memory"),
)
KEYS = {
    "": (
        *("version", "title", "plan_hash", "variables", "networks", "distributions", "games", "turns", "readouts"),
        *("reconstructions", "training", "data", "evaluation", "published", "cost", "warnings"),
    ),
    "variables": ("name", "kind", "shape", "range"),
    "networks": ("name", "inputs", "optimizer", "ema", "parameters", "multiply_adds", "rows"),
    "networks.inputs": ("name", "shape"),
    "networks.rows": ROW,
    "distributions": ("name", "batch_size", "factors", "latex"),
    "distributions.factors": ("text", "variables", "given", "value", "origin", "density", "needed"),
    "games": (
        *("name", "real", "fake", "objective", "weight", "discriminator", "reads", "penalties", "gradients"),
        "latex",
    ),
    "games.penalties": ("kind", "weight", "every", "own_pass"),
    "games.latex": ("value", "discriminator", "generator"),
    "turns": ("update", "steps", "redraw", "draws", "passes", "games", "losses", "objectives", "noise"),
    "turns.passes": (
        *("kind", "evaluation", "network", "bindings", "row", "rows", "draws", "batch", "sides", "every"),
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
    biases = [row["channels"] * (row["bias"] + 2 * row["batchnorm"]) for row in rows if row["op"] == "conv"]
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


def test_what_changes_with_the_epoch_is_a_list_of_breakpoints() -> None:
    found = as_json(plan_of(TINY, "training.optimizers.default.learning_rate=[[0, 1e-3], [10, 0]]"))
    assert found["networks"][0]["optimizer"]["learning_rate"] == [[0, 0.001], [10, 0]]
    assert found["games"][0]["weight"] == 1
