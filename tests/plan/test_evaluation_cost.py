"""The memory of an evaluation: by hand, from shapes and the number of images, and refused where no machine has it."""

import pytest
from small_specs import plan_of, problems_of

from ammgraph.plan.evaluation_cost import evaluation_memory, known_counts
from ammgraph.show.cost import cost_text

ANY_SIZE = ("networks.decoder.layers.h.channels=null", "networks.critic.layers.h.channels=null")
MNIST = tuple(f"networks.{row}.width=28" for row in ("encoder.layers.h", "decoder.layers.x", "critic.layers.hx"))
WITHOUT_EQ_19 = "distributions.p={p(y): uniform, p(z): normal, 'p(x|y,z)': decoder.x}"


def test_every_image_has_a_score_for_every_category_by_every_rule() -> None:
    found = evaluation_memory(plan_of(), scored=1000, fitted=200)
    assert found.variable == "y"
    assert found.scores == 8 * 10 * (2 * (1000 + 200) + 1000)  # q(y|x) and eq. 19; one table more is worked on
    one = evaluation_memory(plan_of("networks: {components: null}", WITHOUT_EQ_19), scored=1000, fitted=200)
    assert one.scores == 8 * 10 * (1000 + 200 + 1000)


def test_it_grows_with_the_categories_and_not_with_their_square() -> None:
    few, many = (evaluation_memory(plan_of("", f"constants.K={size}", *ANY_SIZE), 10_000) for size in (1000, 100_000))
    assert many.scores == 100 * few.scores
    assert many.other <= 100 * few.other


def test_what_comes_and_goes_is_the_largest_of_its_kind() -> None:
    plan = plan_of()
    pixels = 64
    assert evaluation_memory(plan, scored=10_000).other == 3 * 4 * 10_000 * pixels  # k-means
    assert evaluation_memory(plan, scored=10**9).other == 3 * 4 * 10_000 * pixels
    assert evaluation_memory(plan, scored=1).other == evaluation_memory(plan, scored=0).other > 3 * 4 * 16 * 10 * pixels


def test_data_sets_with_a_name_have_known_counts() -> None:
    assert known_counts(plan_of("", "data.validation=97")) == (1700, 97)
    mnist = plan_of("", "data={dataset: mnist, validation: 5000}", "variables.x.shape=[1, 28, 28]", *MNIST)
    assert known_counts(mnist) == (10_000, 5000)
    assert known_counts(plan_of("", "data={dataset: npz, path: a.npz}")) == (0, 0)


def test_cost_shows_it() -> None:
    assert "memory of an evaluation of 1,797 images, about" in cost_text(plan_of())
    assert "memory of an evaluation without its scores, about" in cost_text(plan_of("", "data={dataset: npz, path: a}"))


def test_what_no_machine_holds_is_refused_at_its_variable() -> None:
    (problem,) = problems_of("", "constants.K=6e8", *ANY_SIZE)
    assert problem.code == "too-large"
    assert problem.message.startswith("an evaluation of 1,797 images needs about")
    assert "of `y` the most" in problem.found
    assert problem.hint == "fewer categories of `y`"


@pytest.mark.parametrize("size", [10, 100_000])
def test_what_some_machine_holds_is_no_error_of_the_spec(size: int) -> None:
    plan_of("", f"constants.K={size}", *ANY_SIZE)
