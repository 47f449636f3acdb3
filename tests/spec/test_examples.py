"""What is written at a place of a spec: the example of its key, as the message of a wrong type shows it."""

from typing import Any

import pytest
from tiny import TINY

from ammgraph.diagnostics import SpecError
from ammgraph.spec.examples import example_at, flow
from ammgraph.spec.load import load_spec
from ammgraph.spec.source import parse, plain


@pytest.mark.parametrize(
    ("path", "example"),
    [
        (("data",), {"dataset": "digits"}),
        (("variables", "z"), {"type": "real", "size": 16}),
        (("games", "joint", "gradient_penalty"), {"lambda": 10}),  # under the name that is written
        (("games", "joint", "match"), ["q", "p"]),
        (("training", "optimizers", "critic", "betas"), [0.5, 0.999]),
        (("training", "schedule", 1), {"update": ["critic"], "steps": 5}),
        (("networks", "encoder", "layers", "h"), {"input": "x", "channels": 64, "width": 8}),
        (("networks", "encoder"), None),
        (("nothing", "of", "it"), None),
    ],
    ids=str,
)
def test_a_place_has_the_example_of_its_key_or_of_the_first_entry(path: tuple[str | int, ...], example: Any) -> None:
    assert example_at(path) == example


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data=digits", "a mapping, as `{dataset: digits}`"),
        ("variables.z=6", "a mapping, as `{type: real, size: 16}`"),
        ("training.ema=0.99", "a mapping, as `{default: 0.999}`"),
        ("games.joint.match=q", "a list, as `[q, p]`"),
        ("networks.encoder=3", ""),
    ],
)
def test_a_wrong_type_is_told_what_is_written_there(override: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(TINY, [override])
    (problem,) = [found for found in caught.value.diagnostics if found.code == "wrong-type"]
    assert problem.expected == expected


@pytest.mark.parametrize(
    "value",
    [
        {"q(z|x,y)": "encoder.z", "n": 3},
        [1, 2.5, 1e-4, True, None],
        "a: b",
        "-x",
        "",
        {"a": [{"b": "c, d"}]},
        "1e5",
        "yes",
        "true",
        "null",
    ],
)
def test_what_is_shown_is_read_as_the_same(value: Any) -> None:
    tree, problems = parse(f"v: {flow(value)}", "spec.yaml")
    assert not problems
    assert tree is not None
    assert plain(tree) == {"v": value}
