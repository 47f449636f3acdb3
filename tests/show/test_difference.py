"""The difference of two models: told in the words of the model, and silent about what is text alone."""

import json
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from tiny import ALTERNATING, INFORMED, LABELED, TERMS, TINY

from ammgraph.compiler.compile import compile_spec
from ammgraph.plan.identity import plan_hash
from ammgraph.plan.plan import Plan
from ammgraph.show.difference import difference_json, difference_text, differences
from ammgraph.spec.load import load_spec, load_text
from ammgraph.spec.schema import Spec
from ammgraph.spec.shipped import shipped_specs


@cache
def model(path: Path, *overrides: str) -> tuple[Spec, Plan]:
    spec = load_spec(path, overrides)
    return spec, compile_spec(spec)


def lines(first: tuple[Spec, Plan], second: tuple[Spec, Plan]) -> list[str]:
    return difference_text(differences(first, second), first[1], second[1])


def changed(*overrides: str, path: Path = TINY) -> list[str]:
    """What changes with some overrides, without the last line, which counts parameters."""
    return lines(model(path), model(path, *overrides))[:-1]


def test_terms_and_the_turns_that_take_them_are_told() -> None:
    assert changed(*(f"terms.{part}" for part in (
        "prior=null", "reconstruction.weight=2", "more={minimize: 'E[q] l2(encoder.h)', trains: [encoder]}",
    )), path=TERMS) == [
        "~ term reconstruction: weight 1 -> 2",
        "- term prior: E_q KL(q(z|x) || p(z)) + E_q KL(q(y|x) || p(y)), weight 0 @0 -> 1 @0.5",
        "+ term more: E_q l2(encoder.h), trains encoder",
    ]  # fmt: skip
    turns = (
        "training.schedule=[{update: [critic], games: [g], terms: [information_c, information_s]}, "
        "{update: [generator], games: [g], terms: [features]}]"
    )
    assert changed(turns, path=INFORMED) == [
        "~ training: schedule critic in g, information_c, information_s; "
        "generator in g, features, information_c, information_s -> "
        "critic in g, information_c, information_s; generator in g, features"
    ]


def test_a_variant_is_told_in_a_few_lines() -> None:
    specs = shipped_specs()
    assert lines(model(specs["ali_mnist"]), model(specs["conditional_ali_mnist"])) == [
        "~ data: labeled.count none -> all, labeled.choice none -> random",
        "+ variable y: categorical(10)",
        "- q(x): data",
        "~ q(z|x) -> q(z|x,y)",
        "+ q(x,y): data.labeled",
        "~ p(x|z) -> p(x|z,y)",
        "+ p(y): empirical",
        "+ row encoder.e: input y, conv 128 w1 s1 p0 (normal 0.01, biases 0)",
        "+ row encoder.h4: input h3 | e",
        "+ row decoder.h0: input z | y",
        "+ row critic.y1: input y, conv 64 w1 s1 p0 (normal 0.01, biases 0) leaky_relu 0.01",
        "~ row encoder.z_mu: input h3 -> h4",
        "~ row encoder.z_sigma: input h3 -> h4",
        "~ row decoder.h1: input z -> h0",
        "~ row critic.p0: input x3 | z2 -> x3 | z2 | y1, output 256x1x1 -> 320x1x1",
        "~ game joint: reads x, z -> x, y, z",
        "  parameters: 1,486,754 -> 1,522,914 (encoder 451,648 -> 469,440, decoder 443,329 -> 444,609, "
        "critic 591,777 -> 608,865)",
    ]


@pytest.mark.parametrize("name", sorted(shipped_specs()))
def test_written_out_or_extended_it_is_the_same_model(name: str) -> None:
    path = shipped_specs()[name]
    first = model(path)
    # As a run stores it: one file without comments; titles and notes left out, and every mapping in another order.
    written = {key: value for key, value in first[0].written.items() if key not in ("title", "notes", "published")}
    text = json.dumps(dict(reversed(written.items())))
    spec = load_text(text, "spec.json")
    second = spec, compile_spec(spec)
    assert differences(first, second) == ()
    assert lines(first, second) == [f"  parameters: {first[1].parameters:,}"]


def test_comments_and_order_and_another_way_to_write_a_number_make_no_difference() -> None:
    data = yaml.safe_load(TINY.read_text())
    data["networks"] = {
        name: {**network, "layers": dict(reversed(network["layers"].items()))}
        for name, network in reversed(data["networks"].items())
    }
    # PyYAML reads `2e-4` as text and would quote it; both are numbers of a spec.
    spec = load_text("# another comment\n" + json.dumps(data), str(TINY))
    assert differences(model(TINY), (spec, compile_spec(spec))) == ()
    assert changed("training.batchnorm={momentum: 1/10}") == []
    assert changed("games.joint.weight=1") == []


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("data.validation=100", "~ data: validation 197 -> 100"),
        ("variables.x.range=[-1, 1]", "~ variable x: image 1x8x8 in [0, 1] -> image 1x8x8 in [-1, 1]"),
        (
            "distributions.p.p(y)=[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]",
            "~ prior of y: uniform -> [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]",
        ),
        ("training.batch_size=20", "~ batch of q: 40 -> 20"),
        ("networks.encoder.layers.h.noise=0.1", "~ row encoder.h: noise 0 -> 0.1"),
        (
            "networks.critic.layers.p={input: h, op: max, channels: 1}",
            "~ row critic.p: op conv -> max, bias yes -> none, weights normal 0.02 -> none, biases 0 -> none, "
            "width 1 -> none, stride 1 -> none, padding 0 -> none",
        ),
        ("games.joint.objective=hinge", "~ game joint: objective jensen_shannon -> hinge"),
        ("games.joint.weight=1/2", "~ game joint: weight 1 -> 0.5"),
        ("games.joint.batch=separate", "~ game joint: batch joint -> separate"),
        ("games.joint.gradient_penalty=null", "~ game joint: gradient_penalty 1 -> none"),
        ("games.joint.gradient_penalty.every=4", "~ game joint: gradient_penalty 1 -> 1 every 4 steps"),
        ("games.joint.roth_penalty={gamma: 2}", "~ game joint: roth_penalty none -> 2"),
        ("training.batchnorm={momentum: 0.2}", "~ training: batchnorm.momentum 0.1 -> 0.2"),
        ("evaluation.weights=last", ""),
        ("title=another", ""),
        ("notes=another", ""),
    ],
)
def test_every_kind_of_change_by_hand(override: str, line: str) -> None:
    found = changed(override)
    assert found[:1] == ([line] if line else []), found


def test_an_optimizer_is_told_once_for_all_networks_that_share_the_change() -> None:
    names = ", ".join(network.name for network in model(TINY)[1].networks)
    (line,) = changed("training.optimizers.default.betas=[0.1, 0.9]")
    assert line.startswith(f"~ optimizer of {names}: betas ")
    assert line.endswith(" -> 0.1, 0.9")
    (line,) = changed("training.optimizers.critic={name: sgd, learning_rate: 1}")
    assert line.startswith("~ optimizer of critic: adam, learning rate ")
    assert line.endswith("-> sgd, learning rate 1, momentum 0")
    assert changed("training.ema={critic: 0.9}") == ["~ optimizer of critic: ema none -> 0.9"]


def test_initial_weights_are_told_once_for_all_rows() -> None:
    rows = sum(row.op is not None for network in model(TINY)[1].networks for row in network.rows)
    (line,) = changed("training.initializer={weights: {normal: 0.5}}")
    assert line.startswith(f"~ initial weights of {rows} rows: ")
    assert line.endswith(" -> normal 0.5")


def test_a_schedule_is_told_turn_by_turn() -> None:
    (line,) = changed(ALTERNATING)
    assert line == (
        "~ training: schedule all at once -> critic x 2 in joint; decoder, encoder in joint; "
        "components in joint, same draw"
    )


def test_the_two_directions_mirror_each_other() -> None:
    specs = shipped_specs()
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    for first, second in pairwise(sorted(specs)):
        there = differences(model(specs[first]), model(specs[second]))
        back = differences(model(specs[second]), model(specs[first]))
        mirrored = {
            (turned[change.kind], change.what, frozenset((name, after, before) for name, before, after in change.parts))
            for change in back
        }
        assert mirrored == {(change.kind, change.what, frozenset(change.parts)) for change in there}


def test_models_with_another_plan_differ_and_their_json_says_so() -> None:
    specs = {name: model(path) for name, path in shipped_specs().items()} | {"tiny": model(TINY), "l": model(LABELED)}
    first = specs["amm_mnist"]
    for other in specs.values():
        changes = differences(first, other)
        found = json.loads(json.dumps(difference_json(changes, first[1], other[1])))
        assert found["same"] == (not changes) == (plan_hash(first[1]) == plan_hash(other[1]))
        assert found["parameters"] == {"before": first[1].parameters, "after": other[1].parameters}
        for change in found["changes"]:
            assert change["kind"] in ("added", "removed", "changed")
            for part in change["parts"]:
                assert (part["before"] is None) == (change["kind"] == "added")
                assert (part["after"] is None) == (change["kind"] == "removed")
