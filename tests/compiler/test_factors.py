"""Distributions: factorizations, conditions, what may draw what; evaluations and the rows that they compute."""

import pytest
from small_specs import origin_of, plan_of, problem_of, problems_of

from ammgraph.plan.draws import FromData, FromDraw, FromNetwork, FromPrior
from ammgraph.spec.schema import DataSource, Uniform


def distribution(name: str, *factors: str) -> str:
    return "distributions:\n" + f"  {name}:\n" + "".join(f"    {factor}\n" for factor in factors)


MIXTURE = ("p(y): uniform", "p(z|y): components.z", "p(x|y,z): decoder.x")
# The encoder with z reading the sampled y.
Z_READS_Y = "networks: {encoder: {layers: {z_mu: {input: h | y}}}}\n"


TWO_IMAGES = """
variables:
  x2: {type: image, shape: [1, 8, 8]}
  z2: {type: real, size: 4}
networks:
  critic: {layers: {hx2: {input: x2, op: linear, channels: 2}, h: {input: hx | y | z | hx2 | z2, channels: 26}}}
distributions:
  q:
    q(x): data
    q(x2): data
    q(y|x): encoder.y
    q(z|x): encoder.z
    q(z2|x2): encoder(x=x2).z
  p:
    p(y): uniform
    p(z|y): components.z
    p(z2): normal
    p(x|y,z): decoder.x
    p(x2|y,z2): decoder(z=z2).x
"""


def test_factors_are_sampled_in_an_order_in_which_every_condition_is_drawn() -> None:
    plan = plan_of(distribution("p", "p(x|y,z): decoder.x", "p(z|y): components.z", "p(y): uniform"))
    assert [factor.text for factor in plan.draw("p").factors] == ["p(y)", "p(z|y)", "p(x|y,z)"]


def test_where_order_is_free_it_is_that_of_the_spec() -> None:
    q = distribution("q", "q(z|x): encoder.z", "q(y|x): encoder.y", "q(x): data")
    assert [factor.text for factor in plan_of(q).draw("q").factors] == ["q(x)", "q(z|x)", "q(y|x)"]


def test_spaces_and_the_order_of_conditions_mean_nothing() -> None:
    spaced = distribution("p", '"p( y )": uniform', "p(z | y): components.z", "p(x | z, y): decoder.x")
    assert plan_of(spaced) == plan_of()


def test_a_circle_of_factors_is_an_error_at_the_first_of_them() -> None:
    text = distribution("p", "p(y|z): components.y", "p(z|y): components.z", "p(x|y,z): decoder.x")
    problem = next(problem for problem in problems_of(text) if problem.code == "factor-cycle")
    assert problem.message == "the factors of `p` depend on each other in a circle"
    assert problem.found == "`p(y|z)`, `p(z|y)`"


def test_a_variable_has_one_factor() -> None:
    problem = problems_of(distribution("p", *MIXTURE, "p(z): normal"))[0]
    assert (problem.code, problem.found) == ("variable-drawn-twice", "`p(z|y)` and `p(z)`")
    assert [note.message for note in problem.notes] == ["drawn first here"]


def test_a_mistake_in_a_distribution_is_told_once_though_it_is_drawn_again() -> None:
    text = distribution("p", *MIXTURE, "p(z): normal") + "  p_again: p\n"
    assert problem_of(text) == "variable-drawn-twice: `z` is drawn twice in `p`"


def test_only_data_draws_several_variables_at_once() -> None:
    message = problem_of(distribution("p", "p(y,z): normal", "p(x|y,z): decoder.x"))
    assert message == "wrong-origin: `p(y,z)` draws 2 variables at once, which only data can"


def test_a_distribution_without_a_needed_factor_cannot_be_matched() -> None:
    problem = problems_of(distribution("p", "p(z|y): components.z", "p(x|y,z): decoder.x"))[0]
    assert (problem.code, problem.message) == ("missing-factor", "`p` has no factor for `y`")
    assert problem.expected == "a factor `p(y)` or `p(y|...)`"


# ------------------------------------------------------------------------------------------------ conditions (R1)


def test_a_factor_says_everything_that_its_row_reads() -> None:
    problem = problems_of(Z_READS_Y)[0]
    assert problem.message == "`q(z|x)`: its row also reads `y`"
    assert problem.hint.startswith("write `q(z|x,y)`")


def test_a_factor_says_nothing_that_its_row_does_not_read() -> None:
    problem = problems_of(distribution("q", "q(x): data", "q(y|x): encoder.y", "q(z|x,y): encoder.z"))[0]
    assert (problem.code, problem.message) == ("condition-mismatch", "`q(z|x,y)`: its row never reads `y`")


def test_conditions_stop_at_variables() -> None:
    """The z that reads y and h reads x through h, and y as a variable: what y reads is none of z's business."""
    plan = plan_of(Z_READS_Y + distribution("q", "q(x): data", "q(y|x): encoder.y", "q(z|x,y): encoder.z"))
    assert plan.draw("q").factor_of("z").given == ("x", "y")
    only_y = "networks: {encoder: {layers: {z_mu: {input: y}, z_sigma: {input: y}}}}\n"
    plan = plan_of(only_y + distribution("q", "q(x): data", "q(y|x): encoder.y", "q(z|y): encoder.z"))
    assert plan.draw("q").factor_of("z").given == ("y",)


# ------------------------------------------------------------------------------------------------ evaluations (R2)


def test_factors_of_one_network_share_an_evaluation_and_compute_each_row_once() -> None:
    draw = plan_of().draw("q")
    y, z = origin_of(draw, "y"), origin_of(draw, "z")
    assert y.evaluation == z.evaluation
    assert y.rows == ("h", "a", "y")
    assert z.rows == ("z_mu", "z_sigma", "z")
    assert z.closure == ("h", "z_mu", "z_sigma", "z")


def test_a_row_named_like_a_variable_that_comes_from_elsewhere_is_not_computed() -> None:
    """With labels, y's row holds the label, and the rows that serve only y are not computed (Algorithm 2)."""
    plan = plan_of(
        "data: {labeled: {count: 100}}\n"
        + Z_READS_Y
        + distribution("q", "q(x): data", "q(y|x): encoder.y", "q(z|x,y): encoder.z")
        + "  q_labeled:\n    q(x,y): data.labeled\n    q(z|x,y): encoder.z\n"
        + "games: {labeled: {match: [q_labeled, p], discriminator: critic.d, objective: jensen_shannon}}\n"
    )
    assert origin_of(plan.draw("q_labeled"), "z").rows == ("h", "z_mu", "z_sigma", "z")
    assert origin_of(plan.draw("q"), "z").rows == ("z_mu", "z_sigma", "z")


def test_another_binding_is_another_evaluation() -> None:
    plan = plan_of(TWO_IMAGES)
    draw = plan.draw("q")
    first, second = origin_of(draw, "z"), origin_of(draw, "z2")
    assert (first.evaluation.name, second.evaluation.name) == ("q/encoder", "q/encoder(x=x2)")
    assert dict(second.evaluation.bindings) == {"x": "x2", "z": "z2", "y": "y"}
    assert second.rows == ("h", "z_mu", "z_sigma", "z")
    assert draw.factor_of("z2").given == ("x2",)


def test_the_row_that_is_drawn_stands_for_no_other_variable() -> None:
    text = TWO_IMAGES.replace("p(z2): normal", "p(z2|y): components(z=z2).z")
    assert problem_of(text) == "bad-binding: row `z` is drawn here, as `z2`, and stands for no other variable"


def test_binding_a_name_to_the_variable_of_that_name_changes_nothing() -> None:
    bound = plan_of(distribution("q", "q(x): data", "q(y|x): encoder(x=x).y", "q(z|x): encoder.z")).draw("q")
    assert origin_of(bound, "y").evaluation == origin_of(bound, "z").evaluation
    assert origin_of(bound, "z").rows == ("z_mu", "z_sigma", "z")


def test_one_row_of_one_evaluation_is_one_variable() -> None:
    text = TWO_IMAGES.replace("q(z2|x2): encoder(x=x2).z", "q(z2|x2): encoder(x=x2).z\n    q(w|x2): encoder(x=x2).z")
    text = text.replace("variables:", "variables:\n  w: {type: real, size: 4}")
    assert problem_of(text) == "variable-drawn-twice: `w` and `z2` are one row of one evaluation"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("encoder(v=x2).z", "unknown-name: `encoder` reads no `v`"),
        ("encoder(x=nothing).z", "unknown-variable: `nothing` is not a variable"),
        ("encoder(x=x2, x=x).z", "bad-binding: `x` is bound twice in `encoder(x=x2, x=x).z`"),
        ("encoder(x=z).z", "shape-mismatch: `x` of `encoder` stands for variables of different shapes"),
    ],
)
def test_a_call_binds_names_that_there_are_once_and_to_one_shape(call: str, message: str) -> None:
    problems = problems_of(TWO_IMAGES.replace("encoder(x=x2).z", call))
    assert message in [f"{problem.code}: {problem.message}" for problem in problems]


def test_a_name_that_is_no_variable_is_bound_in_every_call_that_reads_it() -> None:
    text = "networks: {decoder: {layers: {h: {input: y | code}}}}\n"
    text += distribution("p", "p(y): uniform", "p(z|y): components.z", "p(x|y,z): decoder(code=z).x")
    assert plan_of(text).draw("p").factor_of("x").given == ("y", "z")
    text += "  r:\n    r(y): uniform\n    r(z): normal\n    r(x|y,z): decoder.x\n"
    text += "games: {second: {match: [q, r], discriminator: critic.d, objective: hinge}}\n"
    assert problem_of(text) == "bad-binding: `decoder.x` reads `code`, which is no variable and not bound here"


def test_a_bound_row_has_the_shape_of_its_variable() -> None:
    text = distribution("q", "q(x): data", "q(y|x): encoder.y", "q(z|y): encoder(h=y).z")
    problem = problems_of(text)[0]
    assert (problem.code, problem.found, problem.expected) == ("shape-mismatch", "6x1x1", "10x1x1")


# ------------------------------------------------------------------------------------------------ names of rows (R9)


def test_a_row_named_like_a_variable_has_its_shape() -> None:
    problem = problems_of("variables: {z: {size: 5}}\nnetworks: {critic: {layers: {h: {channels: 21}}}}")[0]
    assert problem.code == "shape-mismatch"


def test_a_row_named_like_a_variable_is_drawn_somewhere() -> None:
    text = "networks: {critic: {layers: {z: {input: hx, op: linear, channels: 4}}}}"
    message = problems_of(text)[0].message
    assert message == "row `z` of `critic` is named like a variable, but no distribution draws it"


def test_the_row_that_draws_a_variable_has_its_name() -> None:
    problem = problems_of(distribution("q", "q(x): data", "q(y|x): encoder.a", "q(z|x): encoder.z"))[0]
    assert (problem.code, problem.found) == ("row-is-no-variable", "row `a`")
    assert problem.hint == "rename the row, or draw it again from another variable, as in `encoder(x=x_again).a`"


def test_a_call_that_binds_a_name_to_itself_draws_a_variable_of_another_name() -> None:
    shape = list(plan_of().variable("x").shape)
    again = f"variables: {{x_again: {{type: image, shape: {shape}}}}}\n"
    (problem,) = problems_of(again + distribution("r", "r(y): q.y", "r(z): q.z", "r(x_again|y,z): decoder.x"))
    assert problem.hint == "rename the row, or call the network for it: in `decoder(y=y).x` the row is `x_again`"
    text = again + distribution("r", "r(x): q.x", "r(y): q.y", "r(z): q.z", "r(x_again|y,z): decoder(y=y).x")
    text += 'terms: {reconstruction: {minimize: "E[r] l2(x_again, x)"}}'
    factor = plan_of(text).draw("r").factor_of("x_again")
    assert isinstance(factor.origin, FromNetwork)
    assert (factor.origin.row, factor.text) == ("x", "r(x_again|y,z)")
    assert dict(plan_of(text).term("reconstruction").paths).keys() == {"decoder", "encoder"}


def test_a_row_that_reads_nothing_from_outside_can_only_be_renamed() -> None:
    net = "networks: {net: {layers: {a: {input: zeros(4), width: 1, channels: 4}}}}\n"
    problem = problems_of(net + distribution("p", "p(y): uniform", "p(z): net.a", "p(x|y,z): decoder.x"))[0]
    assert (problem.code, problem.hint) == ("row-is-no-variable", "rename the row")


# ------------------------------------------------------------------------------------------------ origins


def test_data_gives_fields_by_the_type_of_the_variable() -> None:
    text = "data: {labeled: {count: all}}\n" + distribution("q", "q(x,y): data.labeled", "q(z|x): encoder.z")
    text += "networks: {encoder: {layers: {a: null, y: null}}}\n"
    origin = plan_of(text).draw("q").factor_of("y").origin
    assert origin == FromData(DataSource("labeled"), (("x", "image"), ("y", "label")))


def test_priors_name_their_random_tensor() -> None:
    origin = plan_of().draw("p").factor_of("y").origin
    assert isinstance(origin, FromPrior)
    assert origin.prior == Uniform()
    assert (origin.site.name, origin.site.kind, origin.site.batch, origin.site.shape) == ("p/y", "uniform", 4, ())


def test_a_real_prior_takes_a_random_number_for_every_dimension() -> None:
    text = "networks: {components: null}\n" + distribution("p", "p(y): uniform", "p(z): {0}", "p(x|y,z): decoder.x")
    for prior, kind in (("normal", "normal"), ("normal(1, 2)", "normal"), ("uniform(-1, 1)", "uniform")):
        origin = plan_of(text.replace("{0}", prior)).draw("p").factor_of("z").origin
        assert isinstance(origin, FromPrior)
        assert (origin.site.kind, origin.site.shape) == (kind, (4, 1, 1))


def test_a_mixture_is_a_prior_given_the_category() -> None:
    source = "{mixture: {means: {normal: 1}, scale: 2}}"
    text = "networks: {components: null}\n"
    text += distribution("p", "p(y): uniform", f"p(z|y): {source}", "p(x|y,z): decoder.x")
    origin = plan_of(text).draw("p").factor_of("z").origin
    assert isinstance(origin, FromPrior)
    assert origin.given == "y"


def test_a_sample_of_another_distribution_is_taken_example_by_example() -> None:
    plan = plan_of(distribution("p", "p(y): q.y", "p(z|y): components.z", "p(x|y,z): decoder.x"))
    assert plan.draw("p").factor_of("y").origin == FromDraw("q", "y")
    assert [draw.name for draw in plan.draws] == ["q", "p"]


def test_a_distribution_is_drawn_before_its_samples_are_taken() -> None:
    plan = plan_of(
        distribution("q", "q(x): data", "q(y): p.y", "q(z|x): encoder.z")
        + "networks: {encoder: {layers: {a: null, y: null}}}\n"
    )
    assert [draw.name for draw in plan.draws] == ["p", "q"]


def test_distributions_do_not_take_each_others_samples_in_a_circle() -> None:
    text = "networks: {encoder: {layers: {a: null, y: null}}}\n"
    text += distribution("q", "q(x): data", "q(y): p.y", "q(z|x): encoder.z")
    text += "  p:\n    p(y): q.y\n    p(z|y): components.z\n    p(x|y,z): decoder.x\n"
    assert problem_of(text) == "factor-cycle: distributions take each other's samples in a circle"


def test_samples_are_taken_between_batches_of_one_size() -> None:
    text = distribution("p", "p(y): q.y", "p(z|y): components.z", "p(x|y,z): decoder.x")
    problem = problems_of(text, "training.batch_size={default: 4, p: 8}")[0]
    assert (problem.code, problem.found) == ("batch-mismatch", "8 and 4 examples")
    told = problems_of(text, "training.batch_size={q: 4}")
    assert [problem.code for problem in told] == ["missing-key"]  # and no mismatch with a size that nobody has written


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        ("p(y): normal", "prior-mismatch: `normal` is no prior of `y`, which is of type categorical"),
        ("p(y): uniform(0, 1)", "prior-mismatch: `uniform(0, 1)` is no prior of `y`, which is of type categorical"),
        ("p(y): [0.5, 0.5]", "prior-mismatch: the probabilities of `y` do not fit it"),
        (
            "p(y): empirical",
            "no-labels: `empirical` counts the classes of the labelled examples, and none are declared",
        ),
        ("p(y): data.labeled", "no-labels: `data.labeled` needs labelled examples, and none are declared"),
        ("p(y): q.w", "missing-factor: `q` draws no `w`"),
        ("p(y): q.z", "shape-mismatch: `y` and `q.z` have different shapes"),
        ("p(y): nothing.y", "unknown-network: `nothing` is neither a network nor a distribution"),
        ("p(y): encoder.nothing", "unknown-row: `encoder` has no row `nothing`"),
        ("p(y): {mixture: {means: {normal: 1}}}", "wrong-origin: `p(y)` is no mixture"),
    ],
)
def test_an_origin_fits_its_variable(factor: str, message: str) -> None:
    assert problem_of(distribution("p", factor, *MIXTURE[1:])) == message


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        ("p(z): uniform", "prior-mismatch: `uniform` is no prior of `z`, which is of type real"),
        ("p(z): data", "wrong-origin: `z` is a real vector, and the data has no such field"),
        ("p(z|y): normal", "wrong-origin: `p(z|y)` has conditions, but `normal` reads none"),
        ("p(z|y): q.z", "wrong-origin: `p(z|y)` takes a sample of `q` as it is"),
        (
            "p(z|y): {mixture: {means: [[1, 2], [3, 4]]}}",
            "prior-mismatch: the means of `p(z|y)` do not fit its variables",
        ),
    ],
)
def test_an_origin_fits_a_real_variable(factor: str, message: str) -> None:
    text = "networks: {components: null}\n" + distribution("p", "p(y): uniform", factor, "p(x|y,z): decoder.x")
    assert problem_of(text) == message


def test_labels_fit_into_the_categories() -> None:
    text = "data: {labeled: {count: all}}\n"
    text += distribution("p", "p(y): empirical", "p(z|y): components.z", "p(x|y,z): decoder.x")
    assert plan_of(text).draw("p").produces("y")
    problem = problems_of(text, "constants.K=7")[0]
    assert (problem.code, problem.message) == ("data-mismatch", "`y` has 7 categories, but `digits` has 10 classes")


def test_images_have_the_shape_of_the_data_set() -> None:
    problem = problems_of("variables: {x: {shape: [1, 28, 28]}}")[0]
    assert (problem.code, problem.found, problem.expected) == ("data-mismatch", "1x28x28", "`shape: [1, 8, 8]`")


def test_a_field_is_taken_by_a_variable_of_its_type() -> None:
    text = "data: {fields: {z: image}}\nnetworks: {encoder: {layers: {z: null, z_mu: null, z_sigma: null}}}\n"
    problem = problem_of(text + distribution("q", "q(x): data", "q(y|x): encoder.y", "q(z): data"))
    assert problem == "data-mismatch: `z` takes the image of a record, but is of type real"


def test_one_record_has_one_image() -> None:
    text = "variables: {w: {type: image, shape: [1, 8, 8]}}\n"
    problem = problems_of(text + distribution("q", "q(x,w): data", "q(y|x): encoder.y", "q(z|x): encoder.z"))[0]
    assert (problem.code, problem.message) == ("wrong-origin", "`x` and `w` are both the image of one record")
