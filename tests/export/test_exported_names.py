"""A spec may call things what Python, PyTorch or the exported program calls other things: the numbers are the same."""

import builtins
import io
import keyword
import random
import re
import tokenize
from typing import Any

import pytest
import torch
from answers import untrained

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.synthetic import synthetic_data
from ammgraph.export.export import exported_weights
from ammgraph.export.source import model_source
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_text
from ammgraph.spec.names import RESERVED
from ammgraph.train.step import take_turn
from ammgraph.train.trainer import Trainer

# V variables, N networks, R rows, D distributions (H their letters), G games.
SPEC = """
ammgraph: 1
data: {dataset: npz, path: images.npz}
variables:
  V0: {type: image, shape: [1, 2, 2]}
  V1: {type: categorical, size: 3}
  V2: {type: real, size: 2}
  V3: {type: real, size: 2}
networks:
  N0:
    layers:
      R0: {input: V0, op: linear, channels: 4, batchnorm: true, dropout: 0.25, activation: tanh}
      V1: {input: R0, op: linear, channels: 3, activation: straight_through}
      R1: {input: R0 | V1 | V3, op: linear, channels: 2}
      R2: {input: R0, op: linear, channels: 2, activation: expn}
      V2: {input: R1 + R2}
  N1: {layers: {V2: {input: zeros(2), channels: 2, width: 1, activation: expn}}}
  N2:
    layers:
      R3: {input: V1 | V2, channels: 4, width: 1, activation: tanh}
      V0: {input: R3, op: conv_transpose, channels: 1, width: 2, activation: sigmoid}
  N3:
    layers:
      R4: {input: V0 | V1 | V2, op: linear, channels: 4, dropout: 0.25, activation: tanh}
      R5: {input: R4, op: linear, channels: 1}
      R6: {input: V1 | V2, op: linear, channels: 1}
  N4: {layers: {R7: {input: V1, channels: 2, width: 1}, V3: {input: R7, activation: expn}}}
distributions:
  D0: {H0(V0): data, H0(V1|V0): N0.V1, H0(V3|V1): N4.V3, "H0(V2|V0,V1,V3)": N0.V2}
  D1: {H1(V1): uniform, H1(V2): N1.V2, "H1(V0|V1,V2)": N2.V0}
  D2: {H2(V0): D0.V0, H2(V1): D1.V1, H2(V2): normal}
games:
  G0: {match: [D0, D1], discriminator: N3.R5, objective: jensen_shannon, batch: separate, roth_penalty: {gamma: 2}}
  G1: {match: [D0, 1/2 D1 + 1/2 D2], discriminator: N3.R5, objective: hinge, weight: 2, r1_penalty: {gamma: 1}}
  G2: {match: [D0, D1], discriminator: N3.R6, objective: minimax, gradient_penalty: {lambda: 1}}
training:
  batch_size: 5
  steps: 3
  optimizers: {default: {name: adam, learning_rate: 1e-3}}
  initializer: {weights: {normal: 0.8}}
"""
SLOTS = [f"{kind}{n}" for kind, count in {"V": 4, "N": 5, "R": 8, "D": 3, "G": 3}.items() for n in range(count)]


def renamed(names: dict[str, str]) -> Plan:
    """The plan with other names; what is not named keeps its slot as a name."""
    text = SPEC
    heads = {f"H{n}": names.get(f"D{n}", f"D{n}").partition("_")[0] for n in range(3)}
    text = re.sub(r"\b([VNRDGH]\d+)\b", r"<\1>", text)
    for slot in (*SLOTS, *heads):
        text = text.replace(f"<{slot}>", (names | heads).get(slot, slot))
    return compile_spec(load_text(text))


def losses(plan: Plan) -> tuple[dict[str, float], dict[str, float]]:
    """The losses of a step in training, and as the exported program finds them."""
    trainer = Trainer(plan, synthetic_data(plan.data, (1, 2, 2), 3, 40), 0, torch.device("cpu"), "float64")
    trainer.model = untrained(plan).to(torch.float64)
    (turn,) = plan.turns
    data, noise = trainer.feed.batches(turn), trainer.noise.of(turn)
    program: dict[str, Any] = {"__name__": "exported", "__file__": "model.py"}
    exec(model_source(plan, trainer.model, plan.title, "Its weights are random."), program)
    model = program["Model"]().to(torch.float64)
    model.load_state_dict(exported_weights(plan, trainer.model))
    draws: dict[str, Any] = {}
    for name in turn.draws:
        taken = [draws[other] for other in list(turn.draws)[:2]] if name == turn.draws[2] else []
        draws[name] = getattr(model.train(), f"draw_{name}")(*data.get(name, {}).values(), *taken, noise)
    found = {name: float(value.detach()) for name, value in model.losses(*draws.values(), noise).items()}
    values = take_turn(trainer.model, plan, turn, data, noise, 0.0).values
    expected = {loss.name: float(loss.weight(0) * values[loss.name]) for loss in turn.losses}
    images = torch.rand(4, 1, 2, 2, dtype=torch.float64)
    with torch.no_grad():
        asked = model.eval().infer(images)
        latents = [torch.rand(4, size, dtype=torch.float64) for size in (3, 2)]
        getattr(model, f"generate_{plan.variables[0].name}")(*latents)
    assert {name: tuple(value.shape) for name, value in asked.items()} == {
        variable.name: (4, variable.shape[0]) for variable in plan.variables[1:]
    }
    return expected, found


def words() -> list[str]:
    """Words of Python, and every name that an exported program of such a spec uses: all that a spec may call things."""
    plan = renamed({})
    source = model_source(plan, untrained(plan), "", "")
    used = {
        found.string for found in tokenize.generate_tokens(io.StringIO(source).readline) if found.type == tokenize.NAME
    }
    python = {*keyword.kwlist, *dir(builtins)}
    more = {
        "critic_b",
        "criticB",
        "type_",
        "training",
        "forward",
        "model",
        "f",
        "path",
        "NOISE",
        "x_norm",
        "x",
        "noise_",
    }
    return sorted(word for word in (used | python | more) - set(RESERVED) - set(SLOTS) if word[0].isalpha())


def rounds(chosen: random.Random, count: int) -> list[dict[str, str]]:
    """So many ways to name every slot, each with words of its own."""
    return [dict(zip(SLOTS, chosen.sample(words(), len(SLOTS)), strict=True)) for _ in range(count)]


def check(names: dict[str, str]) -> None:
    expected, found = losses(renamed(names))
    assert found == pytest.approx(expected, rel=1e-10), names


def test_two_networks_whose_class_has_one_name_are_two_classes() -> None:
    check({"N0": "critic_b", "N2": "criticB", "N3": "Critic_b", "N4": "critic__b", "N1": "CriticB"})


@pytest.mark.parametrize("word", ["model", "f", "path", "NOISE", "training", "noise", "none", "value_error", "draw_D0"])
def test_a_network_may_have_the_name_of_something_else(word: str) -> None:
    check({"N3": word})


@pytest.mark.parametrize(
    "word", ["dropout", "vector", "like", "self", "lambda", "forward", "logit_R6", "draw_V1", "part"]
)
def test_a_row_may_have_the_name_of_something_else(word: str) -> None:
    check({"R4": word})
    check({"R0": word})


def test_a_row_may_have_the_name_that_another_s_batch_norm_or_logits_would_have() -> None:
    check(
        {"R0": "h", "R2": "h_norm", "R1": "y", "R3": "y_logits", "R4": "type_", "V1": "type", "V3": "y_probabilities"}
    )


@pytest.mark.parametrize("word", ["penalty", "a", "v", "draw", "between", "generator", "losses", "d", "norm", "noise"])
def test_a_distribution_may_have_the_name_of_something_else(word: str) -> None:
    check({"D1": word})
    check({"D1": word, "V1": f"{word}_", "D0": f"{word}_{word}"})


def test_any_word_may_be_the_name_of_anything() -> None:
    for names in rounds(random.Random(0), 10):
        check(names)


@pytest.mark.slow
def test_any_word_at_all_may_be_the_name_of_anything() -> None:
    for names in rounds(random.Random(1), 300):
        check(names)
