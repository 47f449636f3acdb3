import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ammgraph.spec.notation import Reference
from ammgraph.spec.schema import (
    DataSource,
    Empirical,
    Mixture,
    Normal,
    Probabilities,
    RandomMeans,
    SourceValue,
    Spec,
    Uniform,
    Variable,
)

SOURCE: TypeAdapter[Any] = TypeAdapter(SourceValue)


@pytest.mark.parametrize(
    ("written", "source", "printed"),
    [
        ("data", DataSource("all"), "data"),
        ("data.labeled", DataSource("labeled"), "data.labeled"),
        ("data.unlabeled", DataSource("unlabeled"), "data.unlabeled"),
        ("uniform", Uniform(), "uniform"),
        ("uniform(-1,1)", Uniform((-1, 1)), "uniform(-1, 1)"),
        ("normal", Normal(), "normal"),
        ("normal(0, 1)", Normal(), "normal"),
        ("normal(0, 1/2)", Normal(0, 0.5), "normal(0, 0.5)"),
        ("empirical", Empirical(), "empirical"),
        ([0.25, "3/4"], Probabilities((0.25, 0.75)), "[0.25, 0.75]"),
        ("encoder(x=x2).z", Reference("encoder", "z", (("x", "x2"),)), "encoder(x=x2).z"),
        (
            {"mixture": {"means": {"normal": 2}}},
            Mixture(means=RandomMeans(normal=2, seed=0), scale=1),
            "{mixture: {means: {normal: 2, seed: 0}, scale: 1}}",
        ),
        (
            {"mixture": {"means": [[0, 1], [2, 3]], "scale": 0.5}},
            Mixture(means=((0, 1), (2, 3)), scale=0.5),
            "{mixture: {means: 2 means, scale: 0.5}}",
        ),
    ],
)
def test_what_draws_a_factor(written: object, source: object, printed: str):
    assert SOURCE.validate_python(written) == source
    assert str(SOURCE.validate_python(written)) == printed


@pytest.mark.parametrize(
    "written",
    ["dat", "encoder", "data(1)", "normal(1)", "normal(0, 0)", "uniform(1, 1)", "empirical(1)", 3, True, [-1], {}],
)
def test_what_draws_nothing(written: object):
    with pytest.raises(ValidationError):
        SOURCE.validate_python(written)


def test_error_in_a_mixture_keeps_its_path():
    with pytest.raises(ValidationError) as caught:
        SOURCE.validate_python({"mixture": {"means": {"normal": -1}, "scales": 1}})
    assert [tuple(part for part in line["loc"] if part != "random") for line in caught.value.errors()] == [
        ("mixture", "means", "normal"),
        ("mixture", "scales"),
    ]


def test_variable_is_told_by_its_type():
    variable: TypeAdapter[Any] = TypeAdapter(Variable)
    image = variable.validate_python({"type": "image", "shape": [1, 28, 28]})
    assert (image.shape, image.range) == ((1, 28, 28), (0.0, 1.0))
    for wrong in (
        {"type": "image", "shape": [1, 28]},
        {"type": "categorical", "size": 1},
        {"type": "real", "shape": [1]},
    ):
        with pytest.raises(ValidationError):
            variable.validate_python(wrong)


def test_every_key_of_a_spec_is_described_for_editors():
    schema = json.loads(json.dumps(Spec.model_json_schema()))
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {
        "ammgraph",
        "data",
        "variables",
        "networks",
        "distributions",
        "training",
    }
    assert schema["$defs"]["LambdaPenalty"]["properties"].keys() == {"lambda", "every"}
    assert all("description" in value for value in schema["$defs"]["Row"]["properties"].values())
