"""`ammgraph new`: any two factorizations that are a model give a spec that compiles; any others are told where."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from random_factorizations import factorizations
from tiny import trainer_of

from ammgraph.diagnostics import SpecError
from ammgraph.plan.draws import FromNetwork
from ammgraph.plan.plan import Plan
from ammgraph.start.json_schema import SCHEMA_LINE
from ammgraph.start.sketch import new_spec
from ammgraph.start.typed import Typed

AMM = Typed("q(x) q(z|x) q(y|x,z)", "p(y) p(z|y) p(x|y,z)", image=(("", (1, 28, 28)),))


def plan_of(typed: Typed) -> Plan:
    return new_spec(typed, "mine.yaml", "ammgraph new mine.yaml")[1]


def problems_of(**typed: object) -> list[str]:
    given = {"q": "q(x) q(z|x)", "p": "p(z) p(x|z)"} | typed
    with pytest.raises(SpecError) as caught:
        plan_of(Typed(**given))  # type: ignore[arg-type]
    return str(caught.value).split("\n\n")


def test_kinds_follow_from_names_and_options_say_otherwise() -> None:
    plan = plan_of(AMM)
    kinds = [(variable.name, variable.kind, variable.shape) for variable in plan.variables]
    assert kinds[:3] == [("x", "image", (1, 28, 28)), ("y", "categorical", (10, 1, 1)), ("z", "real", (64, 1, 1))]
    typed = Typed(
        "q(photo) q(kind|photo) q(y|photo,kind)",
        "p(y) p(kind) p(photo|y,kind)",
        image=(("photo", (3, 16, 16)),),
        categorical=(("kind", 4),),
        real=(("y", 8),),
    )
    kinds = [(variable.name, variable.kind, variable.shape) for variable in plan_of(typed).variables]
    assert kinds[:3] == [("photo", "image", (3, 16, 16)), ("kind", "categorical", (4, 1, 1)), ("y", "real", (8, 1, 1))]


def test_each_factor_has_a_network_named_by_what_it_does() -> None:
    plan = plan_of(AMM)
    factors = {factor.text: factor.value for draw in (plan.draw("q"), plan.draw("p")) for factor in draw.factors}
    assert factors == {
        "q(x)": "data", "q(z|x)": "encoder_z.z", "q(y|x,z)": "encoder_y.y",
        "p(y)": "uniform", "p(z|y)": "prior.z", "p(x|y,z)": "decoder.x",
    }  # fmt: skip


def test_labels_come_from_the_data_and_their_frequencies_are_the_prior() -> None:
    plan = plan_of(Typed("q(x,y) q(z|x,y)", "p(y) p(z) p(x|y,z)"))
    factors = {factor.text: factor.value for draw in plan.draws for factor in draw.factors}
    assert (factors["q(x,y)"], factors["p(y)"], factors["p(z)"]) == ("data.labeled", "empirical", "normal")
    assert plan.data.labeled is not None
    assert plan.data.labeled.count == "all"


@pytest.mark.parametrize(
    ("image", "data", "expected"),
    [
        ((1, 28, 28), "", "mnist"),
        ((3, 32, 32), "", "svhn"),
        ((1, 8, 8), "", "digits"),
        ((3, 64, 64), "", "npz"),
        ((1, 28, 28), "folder", "folder"),
    ],
)
def test_the_data_are_those_of_that_size(image: tuple[int, int, int], data: str, expected: str) -> None:
    assert plan_of(Typed(AMM.q, AMM.p, image=(("", image),), data=data)).data.dataset == expected


def test_without_a_size_images_are_as_large_as_those_of_the_data() -> None:
    assert plan_of(Typed(AMM.q, AMM.p, data="svhn")).variable("x").shape == (3, 32, 32)


@pytest.mark.parametrize("size", [*range(1, 41), 63, 64, 65, 100, 127, 128, 129, 200, 255, 256])
def test_networks_fit_images_of_every_square_size(size: int) -> None:
    plan = plan_of(Typed("q(x) q(z|x)", "p(z) p(x|z)", image=(("", (3, size, size)),), data="npz"))
    assert plan.network("decoder").row("x").out_shape == (3, size, size)
    # What the linear row reads is no larger than 7x7 of 256 channels.
    assert all(row.in_shape[1] <= 7 for row in plan.network("encoder").rows if row.op == "linear")


@pytest.mark.parametrize("height", [1, 8, 9, 31, 256])
def test_images_that_are_not_square_are_read_and_drawn(height: int) -> None:
    typed = Typed("q(x) q(z|x) q(y|x,z)", "p(x) p(y) p(z|x,y)", image=(("", (4, height, 50)),))
    assert plan_of(typed).variable("x").shape == (4, height, 50)
    for shape in ((4, height, 50), (4, 50, height)):
        plan = plan_of(Typed("q(x) q(z|x)", "p(z) p(x|z)", image=(("", shape),), data="npz"))
        assert plan.network("decoder").row("x").out_shape == shape


def test_batch_norm_is_in_what_draws_and_not_in_the_discriminator() -> None:
    plan = plan_of(AMM)
    normed = {network.name: any(row.batchnorm for row in network.rows) for network in plan.networks}
    assert normed == {
        "encoder_z": True, "encoder_y": True, "prior": False, "decoder": True, "critic": False, "mover": False
    }  # fmt: skip


def test_vectors_are_of_the_data_and_dense_networks_read_and_draw_them() -> None:
    plan = plan_of(Typed("q(x) q(y|x) q(z|x,y)", "p(y) p(z|y) p(x|y,z)", vector=(("", 5),), categorical=(("y", 4),)))
    kinds = [(variable.name, variable.kind, variable.shape, variable.vector) for variable in plan.variables]
    assert kinds[:3] == [
        ("x", "real", (5, 1, 1), True), ("y", "categorical", (4, 1, 1), False), ("z", "real", (8, 1, 1), False)
    ]  # fmt: skip
    assert (plan.data.dataset, plan.data.path) == ("npz", "vectors.npz")
    assert {row.op for network in plan.networks for row in network.rows} == {"conv", None}
    assert {row.width for network in plan.networks for row in network.rows if row.op} == {1}
    drawn = plan.network("decoder").row("x")
    assert (drawn.out_shape, drawn.activation, drawn.batchnorm) == ((5, 1, 1), None, False)
    assert [(row.name, row.noise) for row in plan.network("mover").rows] == [("x_again", 1)]
    text, _ = new_spec(Typed("q(x) q(y|x)", "p(y) p(x|y)", vector=(("x", 5),)), "mine.yaml", "ammgraph new mine.yaml")
    term = "E[r] KL(q(y|x) || q(y|x=x_again)) + E[r] H(q(y|x)) - 0.6 * H(E[r] q(y|x))"
    assert f'  again: {{minimize: "{term}", weight: 12}}\n' in text
    assert "the same vectors a second time" in text
    assert "image" not in text


@pytest.mark.parametrize(("data", "size", "classes"), [("wine", 13, 3), ("breast_cancer", 30, 2), ("iris", 4, 3)])
def test_vectors_of_a_data_set_have_its_size_and_its_classes(data: str, size: int, classes: int) -> None:
    plan = plan_of(Typed("q(x) q(z|x) q(y|z)", "p(y) p(z|y) p(x|z)", data=data))
    assert plan.variable("x").shape == (size, 1, 1)
    assert plan.variable("y").shape == (classes, 1, 1)
    assert plan.data.dataset == data
    assert [variable.name for variable in plan.variables if variable.vector] == ["x"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_vectors_of_another_name_and_in_a_table(kind: str) -> None:
    plan = plan_of(Typed("q(v) q(z|v)", "p(z) p(v|z)", vector=(("v", 7),), data=kind))
    assert plan.variable("v").shape == (7, 1, 1)
    assert (plan.data.dataset, plan.data.path) == (kind, f"table.{kind}")
    [problem] = problems_of(vector=(("w", 7),))
    assert problem.startswith("error[unknown-variable]: `--vector` names `w`, which no factor has")


def test_a_deterministic_variable_has_no_noise() -> None:
    plan = plan_of(Typed("q(x) q(z|x)", "p(z) p(x|z)", deterministic=("z",)))
    origin = plan.draw("q").factor_of("z").origin
    assert isinstance(origin, FromNetwork)
    assert not any(plan.network("encoder").row(row).random for row in origin.closure)


def test_what_one_side_alone_draws_may_lead_to_what_both_draw() -> None:
    # h is marginalised; the discriminator compares x and z.
    plan = plan_of(Typed("q(x) q(h|x) q(z|x,h)", "p(z) p(x|z)"))
    assert [variable for _, variable in plan.game("joint").reads] == ["x", "z"]


@settings(max_examples=60, deadline=None)
@given(factorizations())
def test_every_pair_of_acyclic_factorizations_is_a_model(typed: Typed) -> None:
    plan = plan_of(typed)
    for draw, text in ((plan.draw("q"), typed.q), (plan.draw("p"), typed.p)):
        assert {factor.text.partition("|")[0].rstrip(")") for factor in draw.factors} == {
            factor.partition("|")[0].rstrip(")") for factor in text.split()
        }
    assert not plan.warnings


@pytest.mark.parametrize(
    "typed",
    [
        Typed("q(x) q(z|x)", "p(z) p(x|z)", deterministic=("z",), data="digits"),
        Typed("q(x) q(y1|x) q(y2|x,y1) q(z|x,y1,y2)", "p(y1) p(y2) p(z|y1,y2) p(x|y1,y2,z)", data="digits"),
        Typed("q(x,y) q(z1|x,y) q(z2|z1)", "p(z2) p(z1|z2,y) p(y) p(x|z1,y)", data="digits"),
    ],
    ids=["bigan", "two categorical variables", "a hierarchy"],
)
def test_a_new_spec_takes_a_step(typed: Typed, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(new_spec(typed, str(path), "ammgraph new")[0])
    trainer = trainer_of(path, "training.batch_size=2")
    before = trainer.state_dict()["model"]
    before = {name: value.clone() for name, value in before.items()}
    trainer.advance()
    after = trainer.state_dict()["model"]
    changed = {name.split(".")[1] for name in before if not before[name].equal(after[name])}
    assert len(changed) >= 3


def test_a_discriminator_for_each_clique_where_that_determines_the_joint() -> None:
    chain = plan_of(Typed("q(x) q(z|x) q(y|z)", "p(y) p(z|y) p(x|z)"))
    assert {game.name: [name for _, name in game.reads] for game in chain.games} == {
        "x_z": ["x", "z"],
        "y_z": ["y", "z"],
    }
    assert [game.name for game in plan_of(AMM).games] == ["joint"]  # p(x|y,z) joins all three
    # The two sides together have a circle of four without a chord, x z1 y z2: no cliques would do.
    circle = plan_of(Typed("q(x) q(z1|x) q(z2|x) q(y)", "p(y) p(z1|y) p(z2|y) p(x)"))
    assert [game.name for game in circle.games] == ["joint"]


def test_components_start_apart_and_keep_their_variance() -> None:
    text, plan = new_spec(AMM, "mine.yaml", "")
    assert "bias: false, initializer: {weights: {normal: 1.5}}}" in text
    assert plan.network("prior").parameters == 10 * 64  # the means alone


@pytest.mark.parametrize(
    ("q", "p", "term", "again"),
    [
        ("q(x) q(y|x) q(z|x,y)", "p(y) p(z|y) p(x|y,z)", "KL(q(y|x) || q(y|x=x_again))", ["x_again"]),
        ("q(x) q(z|x) q(y|z)", "p(y) p(z|y) p(x|z)", "KL(q(y|z) || q(y|z=z_again))", ["x_again", "z_again"]),
        ("q(x) q(z|x)", "p(z) p(x|z)", "", []),
        ("q(x,y) q(z|x,y)", "p(y) p(z) p(x|y,z)", "", []),
        ("q(x) q(z|x) q(y|x,z)", "p(z) p(y|z) p(x|y,z)", "", []),
    ],
    ids=["q1", "y through z", "no category", "labels", "a category without a prior"],
)
def test_categories_that_have_a_prior_are_inferred_again_from_the_moved_image(
    q: str, p: str, term: str, again: list[str]
) -> None:
    text, plan = new_spec(Typed(q, p, data="digits"), "mine.yaml", "")
    assert [variable.name for variable in plan.variables if variable.name.endswith("_again")] == again
    assert term in text
    assert len(plan.terms) == bool(term)


# ------------------------------------------------------------------------------------------------ what is wrong


def test_a_circle_is_told_in_the_argument() -> None:
    assert problems_of(q="q(x) q(z|x,y) q(y|x,z)", p="p(y) p(z|y) p(x|y,z)") == [
        "error[factor-cycle]: the factors of `q` depend on each other in a circle\n"
        "  --> --q:1:6\n"
        "   |\n"
        "1  | q(x) q(z|x,y) q(y|x,z)\n"
        "   |      ^^^^^^^^\n"
        "   = found: `q(z|x,y)`, `q(y|x,z)`\n"
        "   = expected: an order in which every condition is drawn before it is needed"
    ]


@pytest.mark.parametrize(
    ("typed", "code", "place"),
    [
        ({"q": "q(x) q(z|x"}, "notation", "--q:1:11"),
        ({"q": "q(x) q(|x)"}, "notation", "--q:1:8"),
        ({"q": "q(x) nonsense"}, "notation", "--q:1:14"),
        ({"q": ""}, "notation", "--q:1:1"),
        ({"p": "q(z) p(x|z)"}, "wrong-head", "--p:1:1"),
        ({"q": "q(x) q(z|x) q( z | x )"}, "duplicate-factor", "--q:1:13"),
        ({"q": "q(x) q(z|x) q(z)"}, "variable-drawn-twice", "--q:1:13"),
        ({"q": "q(x) q(zeros|x)", "p": "p(zeros) p(x|zeros)"}, "bad-name", "--q:1:6"),
        ({"p": "p(x|z)"}, "missing-factor", "--p:1:1"),
        ({"q": "q(x) q(z|x) q(h|x)"}, "missing-factor", "--p:1:1"),
        ({"q": "q(x) q(z,w|x)", "p": "p(z) p(w) p(x|z,w)"}, "wrong-origin", "--q:1:6"),
        ({"q": "q(x,z)", "p": "p(z) p(x|z)"}, "wrong-origin", "--q:1:1"),
        ({"image": (("", (1, 8, 8)),), "data": "mnist"}, "data-mismatch", "--image:1:1"),
        ({"real": (("h", 3),)}, "unknown-variable", "--real:1:1"),
        ({"real": (("z", 3),), "categorical": (("w", 3),)}, "unknown-variable", "--categorical:1:1"),
        ({"deterministic": ("zz",)}, "unknown-variable", "--deterministic:1:1"),
        ({"deterministic": ("z", "x")}, "wrong-type", "--deterministic:2:1"),
        ({"term": ("-E[q] log p(x|z)", "E[q] KL(q(z|x) || p(w))"), "game": False}, "unknown-factor", "--term:2:1"),
        ({"term": ("E[q] log",), "game": False}, "notation", "--term:1:1"),
    ],
)
def test_what_is_wrong_is_told_where_it_was_typed(typed: dict[str, object], code: str, place: str) -> None:
    first = problems_of(**typed)[0].split("\n")
    assert first[0].startswith(f"error[{code}]: "), first
    assert first[1].strip() == f"--> {place}"


def test_too_few_categories_for_the_labels_are_told_at_the_option() -> None:
    (problem,) = problems_of(q="q(x,y) q(z|x,y)", p="p(y) p(z) p(x|y,z)", categorical=(("y", 5),))[:1]
    assert "--> --categorical:1:1" in problem
    assert "`y` has 5 categories, but `mnist` has 10 classes" in problem


@pytest.mark.parametrize("game", [False, True])
def test_terms_stand_in_place_of_a_game_or_beside_it(game: bool) -> None:
    terms = ("-E[q] log p(x|z)", "E[q] KL(q(z|x) || p(z))")
    plan = plan_of(Typed("q(x) q(z|x)", "p(z) p(x|z)", image=(("", (1, 8, 8)),), term=terms, game=game))
    assert [term.name for term in plan.terms] == ["term_1", "term_2"]
    assert [game.name for game in plan.games] == ["joint"] * game
    assert {network.name for network in plan.networks} == {"encoder", "decoder"} | ({"critic"} if game else set())


def test_the_skeleton_explains_itself() -> None:
    text, _ = new_spec(AMM, "mine.yaml", "ammgraph new mine.yaml ...")
    assert text.startswith(
        f"{SCHEMA_LINE}\n# q(x)  q(z|x)  q(y|x,z)   against   p(y)  p(z|y)  p(x|y,z)\n"
        "# Made by: ammgraph new mine.yaml ..."
    )
    assert "\n# Run: ammgraph train mine.yaml\n" in text


def test_a_prior_of_label_frequencies_says_what_uses_no_label() -> None:
    text, _ = new_spec(Typed("q(x,y) q(z|x,y)", "p(y) p(z) p(x|y,z)", data="digits"), "mine.yaml", "")
    assert "    p(y): empirical  # the labels' frequencies; `uniform` uses no label here\n" in text


def test_two_factorizations_without_an_image_of_the_data_are_refused_and_told_how_one_becomes_one() -> None:
    (problem,) = problems_of(q="q(photo) q(z|photo)", p="p(z) p(photo|z)")
    assert problem.startswith("error[missing-factor]: no factor draws an image from the data")
    assert "hint: `--image photo:1x28x28` says that `photo` is an image" in problem
    plan = plan_of(Typed("q(photo) q(z|photo)", "p(z) p(photo|z)", image=(("photo", (1, 28, 28)),)))
    assert [factor.value for factor in plan.draw("q").factors] == ["data", "encoder.z"]
    (problem,) = problems_of(q="q(x) q(z|x)", p="p(z) p(x|z)", real=(("x", 5),))
    assert "hint: `--image x:1x28x28` says that `x` is an image" in problem
