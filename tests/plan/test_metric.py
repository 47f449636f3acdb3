"""What a run records is named in one way."""

import pytest

from ammgraph.plan.metric import Metric


@pytest.mark.parametrize(
    ("name", "owner", "what"),
    [
        ("joint/discriminator", "joint", "discriminator"),
        ("q.y/use", "q.y", "use"),
        ("y/bayes/one_to_one_error", "y/bayes", "one_to_one_error"),
        ("step", "", "step"),
    ],
)
def test_a_metric_is_read_as_it_is_written(name: str, owner: str, what: str) -> None:
    assert Metric.of(name) == Metric(owner, what)
    assert str(Metric(owner, what)) == name


def test_a_draws_category_has_a_variable() -> None:
    assert Metric.of("q_labeled.y/use").variable == "y"
