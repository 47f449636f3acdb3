"""Whatever objectives, penalties, games, schedules and averages a spec puts together: it trains, and as by hand."""

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from plain_trainer import COSTS, PlainTrainer
from tiny import CPU

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.synthetic import synthetic_data
from ammgraph.diagnostics import SpecError
from ammgraph.spec.load import load_text
from ammgraph.train.trainer import Trainer

STEPS = 6
ENCODER = {
    "h": {"input": "x", "op": "linear", "channels": 4, "batchnorm": True, "activation": "tanh"},
    "y": {"input": "h", "op": "linear", "channels": 3, "activation": "softmax"},
    "z_mu": {"input": "h | y", "op": "linear", "channels": 2, "dropout": 0.25},
    "z_sigma": {"input": "h", "op": "linear", "channels": 2, "activation": "expn"},
    "z": {"input": "z_mu + z_sigma"},
}
DECODER = {
    "h": {"input": "y | z", "op": "linear", "channels": 4, "activation": "tanh"},
    "x": {"input": "h", "op": "conv_transpose", "channels": 1, "width": 2, "activation": "sigmoid"},
}
CRITIC = {
    "h": {"input": "x | y | z", "op": "linear", "channels": 4, "activation": "leaky_relu 0.2"},
    "d": {"input": "h", "op": "linear", "channels": 1},
}
GENERATORS = ["encoder", "decoder"]
NUMBER = {"gradient_penalty": "lambda", "roth_penalty": "gamma", "r1_penalty": "gamma"}
OTHER = {"none": "r1_penalty", "gradient_penalty": "roth_penalty", "roth_penalty": "r1_penalty"}
OTHER |= {"r1_penalty": "gradient_penalty"}
# What a spec chooses among. A second penalty is of another kind, and due at other steps.
CHOICES: dict[str, tuple[Any, ...]] = {
    "objective": tuple(COSTS),
    "penalty": ("none", *NUMBER),
    "every": (1, 2),
    "second": ("none", "same game", "game of the same critic", "game of its own critic"),
    "schedule": ("absent", "alternating", "n to 1", "draw: same"),
    "trains": ("all", "first without decoder", "second the critic alone"),
    "batch": ("joint", "separate"),
    "ema": (None, 0.9),
    "batchnorm": (False, True),
}
Choice = Mapping[str, Any]


def written(choice: Choice) -> dict[str, Any]:
    """The spec as plain data."""
    critics = ["critic", *(["judge"] if choice["second"] == "game of its own critic" else [])]
    rows = {name: {"h": CRITIC["h"] | {"batchnorm": choice["batchnorm"]}, "d": CRITIC["d"]} for name in critics}
    return {
        "ammgraph": 1,
        "data": {"dataset": "npz", "path": "images.npz"},
        "variables": {
            "x": {"type": "image", "shape": [1, 2, 2]},
            "y": {"type": "categorical", "size": 3},
            "z": {"type": "real", "size": 2},
        },
        "networks": {name: {"layers": rows} for name, rows in {"encoder": ENCODER, "decoder": DECODER, **rows}.items()},
        "distributions": {
            "q": {"q(x)": "data", "q(y|x)": "encoder.y", "q(z|x,y)": "encoder.z"},
            "p": {"p(y)": "uniform", "p(z)": "normal", "p(x|y,z)": "decoder.x"},
        },
        "games": games(choice),
        "training": {
            "batch_size": 4,
            "steps": STEPS,
            "optimizers": {
                "default": {"name": "adam", "learning_rate": 0.01, "betas": [0.5, 0.99]},
                "encoder": {"name": "sgd", "learning_rate": 0.05, "momentum": 0.5},
            },
            "initializer": {"weights": {"normal": 0.8}, "biases": 0.1},
            **({} if choice["ema"] is None else {"ema": {"default": choice["ema"], "critic": 0}}),
            **({} if choice["schedule"] == "absent" else {"schedule": schedule(choice["schedule"], critics)}),
        },
    }


def games(choice: Choice) -> dict[str, Any]:
    plain = {"match": ["q", "p"], "discriminator": "critic.d", "batch": choice["batch"]}
    found = {"first": plain | {"objective": choice["objective"]} | paid(choice["penalty"], choice["every"])}
    more = paid(OTHER[choice["penalty"]], 3)
    if choice["second"] == "same game":
        found["first"] |= more
    elif choice["second"] != "none":
        critic = "critic.d" if "same" in choice["second"] else "judge.d"
        found["second"] = plain | {"discriminator": critic, "objective": "hinge", "weight": "1/2"} | more
    return {
        name: game | ({"trains": trains(choice)[name]} if name in trains(choice) else {})
        for name, game in found.items()
    }


def paid(kind: str, every: int) -> dict[str, Any]:
    return {} if kind == "none" else {kind: {NUMBER[kind]: 0.7, **({"every": every} if every > 1 else {})}}


def trains(choice: Choice) -> dict[str, list[str]]:
    if choice["trains"] == "first without decoder":
        return {"first": ["critic", "encoder"]}
    critic = "judge" if choice["second"] == "game of its own critic" else "critic"
    return {"second": [critic]} if choice["trains"].startswith("second") else {}


def schedule(kind: str, critics: list[str]) -> list[dict[str, Any]]:
    return {
        "alternating": [{"update": critics}, {"update": GENERATORS}],
        "n to 1": [{"update": critics, "steps": 3}, {"update": GENERATORS}],
        # The critics learn at the batch that the encoder has moved on, and then once more with the decoder.
        "draw: same": [
            {"update": ["encoder"]},
            {"update": critics, "draw": "same"},
            {"update": ["decoder", *critics], "draw": "same"},
        ],
    }[kind]


def meaningful(choice: Choice) -> bool:
    """No two choices are the same spec."""
    alone = choice["second"] in ("none", "same game")
    return not (choice["penalty"] == "none" and choice["every"] > 1) and not (
        alone and choice["trains"].startswith("second")
    )


def everything() -> Iterator[Choice]:
    found = (dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values()))
    return filter(meaningful, found)


def pairs(choice: Choice) -> set[tuple[Any, ...]]:
    return set(itertools.combinations(choice.items(), 2))


def covering() -> list[Choice]:
    """Choices in which every two values of different keys that can meet do; greedily among a thousand at random."""
    pool = random.Random(0).sample(list(everything()), 1000)
    wanted = set().union(*map(pairs, pool))
    found = []
    while wanted:
        best = max(pool, key=lambda choice: len(pairs(choice) & wanted))
        wanted -= pairs(best)
        found.append(best)
    return found


def train(choice: Choice, by_hand: bool) -> bool:
    """Whether it is a model; where it is, it trains, and to the weights that a plain trainer finds."""
    try:
        plan = compile_spec(load_text(json.dumps(written(choice))))
    except SpecError:
        return False
    dataset = synthetic_data(plan.data, (1, 2, 2), 3, 40)
    trainer = Trainer(plan, dataset, 0, CPU, "float64")
    plain = PlainTrainer(plan, dataset, trains(choice), choice["batch"] == "joint")
    for _ in range(STEPS):
        trainer.advance()
        if by_hand:
            plain.advance()
    trainer.check()
    if by_hand:
        compare(trainer.model, plain.model, choice)
    if by_hand and choice["ema"] is not None:
        assert trainer.averaged is not None
        compare(trainer.averaged, plain.averaged, choice)
    return True


def compare(found: torch.nn.Module, expected: torch.nn.Module, choice: Choice) -> None:
    for (name, a), (_, b) in zip(found.named_parameters(), expected.named_parameters(), strict=True):
        error = float((a - b).detach().abs().max())
        assert error < 1e-10, f"{name} differs by {error} in {dict(choice)}"


def test_every_two_choices_train_together_and_as_by_hand() -> None:
    chosen = covering()
    models = [choice for choice in chosen if train(choice, by_hand=True)]
    assert len(models) > 0.7 * len(chosen)


@pytest.mark.slow
@pytest.mark.parametrize("objective", COSTS)
def test_every_combination_trains_and_a_tenth_of_them_as_by_hand(objective: str) -> None:
    chosen, tried, models = random.Random(1), 0, 0
    for choice in everything():
        if choice["objective"] == objective and not choice["batchnorm"]:
            tried += 1
            models += train(choice, by_hand=chosen.random() < 0.1)
    assert models > 0.7 * tried
