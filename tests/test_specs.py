"""The specs of the paper: they load, compile, have the paper's shapes and sizes, and take a turn of training.

Shapes, parameter counts and costs were worked out by hand from Tables 3-10; published numbers are those of Tables 1, 2.
"""

from pathlib import Path

import pytest
import tiny
import torch

from ammgraph.nn.model import Tensors, build, draw_noise, one_hot
from ammgraph.plan.draws import FromData, FromDraw, FromNetwork
from ammgraph.plan.plan import Plan
from ammgraph.plan.turns import LossPlan, TurnPlan
from ammgraph.spec.load import load_spec
from ammgraph.train.step import take_turn

SPECS = Path(__file__).parent.parent / "specs"
OF_THE_PAPER = (
    *("ali_mnist", "amm_mnist", "amm_mnist_fixed_prior", "amm_mnist_independent", "amm_mnist_k20", "amm_mnist_k30"),
    *("amm_mnist_q1", "amm_mnist_q2", "amm_svhn", "amm_svhn_k10", "amm_svhn_k20", "conditional_ali_mnist"),
    *("samm_mnist", "samm_svhn", "samm_svhn_q1"),
)
EVERY = sorted(path.stem for path in SPECS.glob("*.yaml"))
OF_RESULTS = sorted(str(path.relative_to(SPECS).with_suffix("")) for path in SPECS.glob("results/*/*.yaml"))


def plan_of(name: str, *overrides: str) -> Plan:
    return tiny.plan_of(SPECS / f"{name}.yaml", *overrides)


def test_every_spec_of_the_paper_is_there() -> None:
    assert set(OF_THE_PAPER) <= set(EVERY)


@pytest.mark.parametrize("name", EVERY + OF_RESULTS)
def test_every_spec_compiles_without_a_warning(name: str) -> None:
    assert plan_of(name).warnings == ()


# ------------------------------------------------------------------------------------------------ what stands in them


@pytest.mark.parametrize("name", EVERY + OF_RESULTS)
def test_every_spec_opens_with_paper_published_number_command_and_readings(name: str) -> None:
    lines = (SPECS / f"{name}.yaml").read_text().splitlines()
    header = [line for line in lines[: lines.index("ammgraph: 1")] if line]
    assert all(line.startswith("# ") for line in header)
    for opening in ("# Paper: ", "# Published: ", "# Run: ", "# Readings: "):
        assert sum(line.startswith(opening) for line in header) == 1, opening
    assert any(line.startswith("# Run: ") and f"ammgraph train specs/{name}.yaml" in line for line in header)


@pytest.mark.parametrize("name", EVERY)
def test_every_published_number_of_a_spec_stands_in_its_header(name: str) -> None:
    header = (SPECS / f"{name}.yaml").read_text().partition("ammgraph: 1")[0]
    for number in load_spec(SPECS / f"{name}.yaml").published:
        if number.source in ("Table 1", "Table 2"):
            assert f"{number.value:.2f}" in header or f"{number.value:.1f}" in header
            assert number.std is None or f"{number.std:.2f}" in header
            assert number.source in header


@pytest.mark.parametrize("name", EVERY + OF_RESULTS)
def test_every_spec_has_a_title_and_its_lines_fit_the_page(name: str) -> None:
    spec = load_spec(SPECS / f"{name}.yaml")
    assert spec.title
    assert all(len(line) <= 160 for line in (SPECS / f"{name}.yaml").read_text().splitlines())


# Tables 1 and 2: (metric, value, std) in percent, mean of 10 trials.
MNIST_NUMBERS = {
    10: ("clustering_error", 3.32, 0.39),
    20: ("clustering_error", 3.99, 0.79),
    30: ("clustering_error", 4.01, 1.11),
}
SVHN_NUMBERS = {20: ("clustering_error", 35.0, 5.24), 30: ("clustering_error", 20.4, 0.80)}
SAMM_NUMBER = ("classification_error", 5.60, 0.45)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("amm_mnist", [MNIST_NUMBERS[10]]),
        ("amm_mnist_k20", [MNIST_NUMBERS[20]]),
        ("amm_mnist_k30", [MNIST_NUMBERS[30]]),
        ("amm_mnist_q1", [MNIST_NUMBERS[10]]),
        ("amm_mnist_q2", [MNIST_NUMBERS[10]]),
        ("amm_mnist_independent", []),
        ("amm_mnist_fixed_prior", []),
        ("amm_svhn", [SVHN_NUMBERS[30]]),
        ("amm_svhn_k20", [SVHN_NUMBERS[20]]),
        ("amm_svhn_k10", []),
        ("samm_svhn", [SAMM_NUMBER]),
        ("samm_svhn_q1", [SAMM_NUMBER]),
        ("samm_mnist", []),
        ("ali_mnist", []),
        ("conditional_ali_mnist", []),
    ],
)
def test_a_spec_shows_the_published_numbers_of_its_model_and_no_others(name: str, expected: list[object]) -> None:
    published = plan_of(name).published
    assert [(number.metric, number.value, number.std) for number in published] == expected
    assert all((number.unit, number.trials) == ("percent", 10) for number in published)


@pytest.mark.parametrize(
    ("name", "components", "expected"),
    [
        ("amm_mnist", 20, [MNIST_NUMBERS[20]]),
        ("amm_mnist", 30, [MNIST_NUMBERS[30]]),
        ("amm_mnist", 15, []),
        ("amm_svhn", 20, [SVHN_NUMBERS[20]]),
        ("amm_svhn", 10, []),
        ("amm_mnist_q1", 20, []),
    ],
)
def test_another_number_of_components_shows_another_published_number(
    name: str, components: int, expected: list[object]
) -> None:
    published = plan_of(name, f"constants.K={components}").published
    assert [(number.metric, number.value, number.std) for number in published] == expected


# ------------------------------------------------------------------------------------------------ sizes


def sizes_of(plan: Plan) -> dict[str, int]:
    return {network.name: network.parameters for network in plan.networks}


@pytest.mark.parametrize("k", [10, 20, 30])
def test_parameters_of_tables_3_to_6(k: int) -> None:
    name = {10: "amm_mnist", 20: "amm_mnist_k20", 30: "amm_mnist_k30"}[k]
    assert sizes_of(plan_of(name)) == {
        "encoder": 409_216 + 258 * k,
        "decoder": 400_898 + 128 * k,
        "components": 8_512 + 64 * k,
        "critic": 340_417 + 64 * k,
    }


@pytest.mark.parametrize("k", [10, 20, 30])
def test_parameters_of_tables_7_to_10(k: int) -> None:
    name = {10: "amm_svhn_k10", 20: "amm_svhn_k20", 30: "amm_svhn"}[k]
    assert sizes_of(plan_of(name)) == {
        "encoder": 1_861_856 + 194 * k,
        "decoder": 6_308_870 + 512 * k,
        "components": 128 + 128 * k,
        "critic": 1_946_881 + 96 * k,
    }


def test_parameters_of_the_two_headline_models() -> None:
    assert sizes_of(plan_of("amm_mnist")) == {
        "encoder": 411_796,
        "decoder": 402_178,
        "components": 9_152,
        "critic": 341_057,
    }
    assert sizes_of(plan_of("amm_svhn")) == {
        "encoder": 1_867_676,
        "decoder": 6_324_230,
        "components": 3_968,
        "critic": 1_949_761,
    }
    assert sizes_of(plan_of("samm_svhn")) == {
        "encoder": 1_863_796,
        "decoder": 6_313_990,
        "components": 1_408,
        "critic": 1_947_841,
    }


@pytest.mark.parametrize(
    ("name", "printed", "added"),
    [
        ("amm_mnist_q1", "amm_mnist", 10 * 128),  # W y, without a bias
        ("amm_mnist_q2", "amm_mnist", 64 * 128),  # W z
        ("amm_mnist_independent", "amm_mnist", 0),
        ("amm_mnist_fixed_prior", "amm_mnist", 0),
        ("samm_mnist", "amm_mnist", 10 * 128),
        ("samm_svhn_q1", "samm_svhn", 10 * 192 + 10 * 96),
    ],
)
def test_a_variant_adds_the_weights_that_read_the_sample_and_nothing_else(name: str, printed: str, added: int) -> None:
    sizes, before = sizes_of(plan_of(name)), sizes_of(plan_of(printed))
    assert sizes == {network: before[network] + (added if network == "encoder" else 0) for network in sizes}


@pytest.mark.parametrize(
    ("name", "network", "millions", "digits"),
    [
        ("amm_mnist", "encoder", 6.1, 1),
        ("amm_mnist", "decoder", 6.1, 1),
        ("amm_mnist", "critic", 3.2, 1),
        ("amm_svhn", "encoder", 415, 0),
        ("amm_svhn", "decoder", 97, 0),
        ("amm_svhn", "critic", 412, 0),
    ],
)
def test_multiply_adds_of_an_example(name: str, network: str, millions: float, digits: int) -> None:
    assert round(plan_of(name).network(network).multiply_adds / 1e6, digits) == millions


# ------------------------------------------------------------------------------------------------ shapes, row by row

STREAM = (
    "{0}1 32x27x27, {0}1a 32x27x27, {0}2 32x13x13, {0}2a 32x13x13, {0}3 64x6x6, {0}3a 64x6x6, {0}4 64x4x4, {0}4a 64x4x4"
)
BACK = "{0}1 128, {0}1a 128, {0}2 64x4x4, {0}2a 64x4x4, {0}3 64x6x6, {0}3a 64x6x6, {0}4 32x13x13, {0}4a 32x13x13"
TRUNK = "x1 96x32x32, x2 96x32x32, x3 96x16x16, x4 192x16x16, x5 192x16x16, x6 192x8x8, x7 384x6x6"
SVHN_BACK = (
    "{0}1 512, {0}1a 512, {0}2 256x4x4, {0}2a 256x4x4, {0}3 256x6x6, {0}3a 256x6x6, {0}4 128x13x13, {0}4a 128x13x13"
)
HEADS = "y_mu {k}, y_sigma {k}, y {k}, z_mu 64, z_sigma 64, z 64"


def shapes(*texts: str, k: int) -> dict[str, tuple[int, int, int]]:
    """`y1 32x27x27, y 10` -> row -> (channels, height, width)."""
    found = {}
    for entry in ", ".join(texts).format(k=k).split(", "):
        row, _, sizes = entry.partition(" ")
        channels, height, width = (*(int(size) for size in sizes.split("x")), 1, 1)[:3]
        found[row] = (channels, height, width)
    return found


def both(text: str) -> str:
    return text.format("y") + ", " + text.format("z")


TABLES = {
    3: (both(STREAM), both("{0}5 128, {0}5a 128"), HEADS),
    4: ("z1 64, z2 64, z_mu 64, z_sigma 64, z 64",),
    5: (both(BACK), both("{0}5 32x27x27, {0}5a 32x27x27, {0}6 1x28x28"), "x 1x28x28"),
    6: (
        "x1 32x27x27, x2 32x13x13, x3 64x6x6, x4 64x4x4, x5 128, y1 64, y2 64, z1 64, z2 64",
        "p0 256, p1 256, p2 256, p 1",
    ),
    7: (TRUNK, both("{0}1 192x6x6, {0}1a 192x6x6, {0}2 96x6x6, {0}2a 96"), HEADS),
    8: ("z_mu 64, z_sigma 64, z 64",),
    9: (both(SVHN_BACK), both("{0}5 128x15x15, {0}5a 128x15x15, {0}6 3x32x32"), "x 3x32x32"),
    10: (TRUNK, "x8 192x6x6, x9 96, y1 96, y2 96, z1 96, z2 96, p0 288, p1 288, p2 288, p 1"),
}
MNIST_TABLES = {"encoder": 3, "components": 4, "decoder": 5, "critic": 6}
SVHN_TABLES = {"encoder": 7, "components": 8, "decoder": 9, "critic": 10}


@pytest.mark.parametrize(
    ("name", "tables", "k", "more"),
    [
        ("amm_mnist", MNIST_TABLES, 10, {}),
        ("amm_mnist_k20", MNIST_TABLES, 20, {}),
        ("amm_mnist_k30", MNIST_TABLES, 30, {}),
        ("amm_mnist_q1", MNIST_TABLES, 10, {"encoder": "z_y 128"}),
        ("amm_mnist_q2", MNIST_TABLES, 10, {"encoder": "y_z 128"}),
        ("amm_mnist_independent", MNIST_TABLES, 10, {}),
        ("amm_mnist_fixed_prior", MNIST_TABLES, 10, {}),
        ("samm_mnist", MNIST_TABLES, 10, {"encoder": "z_y 128"}),
        ("amm_svhn", SVHN_TABLES, 30, {}),
        ("amm_svhn_k10", SVHN_TABLES, 10, {}),
        ("amm_svhn_k20", SVHN_TABLES, 20, {}),
        ("samm_svhn", SVHN_TABLES, 10, {}),
        ("samm_svhn_q1", SVHN_TABLES, 10, {"encoder": "z_y1 192, z_y2 96"}),
    ],
)
def test_every_row_has_the_shape_of_its_table(name: str, tables: dict[str, int], k: int, more: dict[str, str]) -> None:
    for network in plan_of(name).networks:
        texts = (*TABLES[tables[network.name]], *([more[network.name]] if network.name in more else []))
        assert {row.name: row.out_shape for row in network.rows} == shapes(*texts, k=k), network.name


def test_rows_of_ali() -> None:
    expected = {
        "encoder": "h1 32x14x14, h2 64x7x7, h3 128, z_mu 64, z_sigma 64, z 64",
        "decoder": "h1 128, h2 64x7x7, h3 32x14x14, x 1x28x28",
        "critic": "x1 32x14x14, x2 64x7x7, x3 128, z1 128, z2 128, p0 256, p1 256, p2 256, p 1",
    }
    for network in plan_of("ali_mnist").networks:
        assert {row.name: row.out_shape for row in network.rows} == shapes(expected[network.name], k=0)


def test_rows_of_conditional_ali_that_read_the_label() -> None:
    plan = plan_of("conditional_ali_mnist")
    reading = {
        ("encoder", "e"): 128,
        ("encoder", "h4"): 256,
        ("decoder", "h0"): 74,
        ("critic", "y1"): 64,
        ("critic", "p0"): 320,
    }
    assert {place: plan.network(place[0]).row(place[1]).out_shape for place in reading} == {
        place: (channels, 1, 1) for place, channels in reading.items()
    }


# ------------------------------------------------------------------------------------------------ models

AS_PRINTED = ["q(x): data", "q(z|x): encoder.z", "q(y|x): encoder.y"]
Q1 = ["q(x): data", "q(y|x): encoder.y", "q(z|x,y): encoder.z"]
LABELED_Q1 = ["q(x,y): data.labeled", "q(z|x,y): encoder.z"]
MIXTURE = ["p(y): uniform", "p(z|y): components.z", "p(x|y,z): decoder.x"]
EMPIRICAL = ["p(y): empirical", "p(z|y): components.z", "p(x|y,z): decoder.x"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("amm_mnist", {"q": AS_PRINTED, "p": MIXTURE}),
        ("amm_mnist_k20", {"q": AS_PRINTED, "p": MIXTURE}),
        ("amm_mnist_k30", {"q": AS_PRINTED, "p": MIXTURE}),
        ("amm_mnist_q1", {"q": Q1, "p": MIXTURE}),
        ("amm_mnist_q2", {"q": ["q(x): data", "q(z|x): encoder.z", "q(y|x,z): encoder.y"], "p": MIXTURE}),
        (
            "amm_mnist_independent",
            {
                "q": ["q(x): data", "q(y|x): encoder.y", "q(z|x): encoder.z"],
                "p": ["p(y): uniform", "p(z): normal", "p(x|y,z): decoder.x"],
            },
        ),
        ("amm_svhn", {"q": AS_PRINTED, "p": MIXTURE}),
        ("amm_svhn_k10", {"q": AS_PRINTED, "p": MIXTURE}),
        ("amm_svhn_k20", {"q": AS_PRINTED, "p": MIXTURE}),
        (
            "samm_svhn",
            {
                "q_unlabeled": AS_PRINTED,
                "q_labeled": ["q(x,y): data.labeled", "q(z|x): encoder.z"],
                "p_unlabeled": EMPIRICAL,
                "p_labeled": EMPIRICAL,
            },
        ),
        (
            "samm_svhn_q1",
            {"q_unlabeled": Q1, "q_labeled": LABELED_Q1, "p_unlabeled": EMPIRICAL, "p_labeled": EMPIRICAL},
        ),
        ("samm_mnist", {"q_unlabeled": Q1, "q_labeled": LABELED_Q1, "p_unlabeled": EMPIRICAL, "p_labeled": EMPIRICAL}),
        ("ali_mnist", {"q": ["q(x): data", "q(z|x): encoder.z"], "p": ["p(z): normal", "p(x|z): decoder.x"]}),
        (
            "conditional_ali_mnist",
            # conditions in the order in which the variables are declared: x, z, and then y
            {"q": LABELED_Q1, "p": ["p(y): empirical", "p(z): normal", "p(x|z,y): decoder.x"]},
        ),
    ],
)
def test_the_factorizations_are_those_of_the_paper(name: str, expected: dict[str, list[str]]) -> None:
    draws = plan_of(name).draws
    assert {draw.name: [f"{factor.text}: {factor.value}" for factor in draw.factors] for draw in draws} == expected


@pytest.mark.parametrize(
    ("name", "weight"), [("amm_mnist", 10), ("amm_svhn", 0.01), ("samm_svhn", 0.01), ("samm_mnist", 10)]
)
def test_the_penalty_is_that_of_section_4_1_in_every_game(name: str, weight: float) -> None:
    for game in plan_of(name).games:
        assert [(penalty.kind, penalty.weight.at(0)) for penalty in game.penalties] == [("gradient_penalty", weight)]


def test_algorithm_2_halves_both_games() -> None:
    for name in ("samm_svhn", "samm_svhn_q1", "samm_mnist"):
        assert {game.name: game.weight.at(0) for game in plan_of(name).games} == {"unlabeled": 0.5, "labeled": 0.5}


@pytest.mark.parametrize("name", ["samm_svhn_q1", "samm_mnist"])
def test_in_algorithm_2_the_labelled_game_computes_no_row_of_y(name: str) -> None:
    """theta_Gy receives the unlabelled term only."""
    origin = plan_of(name).draw("q_labeled").factor_of("z").origin
    of_y = {"y1", "y1a", "y2", "y2a", "y3", "y3a", "y4", "y4a", "y5", "y5a", "y_mu", "y_sigma", "y"}
    assert not of_y & set(origin.rows)


def test_all_optimizers_are_those_of_section_4() -> None:
    for name in OF_THE_PAPER:
        if name.startswith(("amm_mnist", "amm_svhn", "samm")):
            for network in plan_of(name).networks:
                assert (network.optimizer.name, network.optimizer.learning_rate.at(0)) == ("adam", 2e-4)
                assert network.optimizer.betas == (0.5, 0.999)
                assert all((row.weights.normal, row.biases) == (0.02, 0) for row in network.rows)


@pytest.mark.parametrize("name", [name for name in EVERY if "_pairs" in name])
def test_a_game_of_pairs_compares_two_draws_of_y_with_one_label_twice(name: str) -> None:
    plan = plan_of(name)
    target, again = plan.draw("t"), plan.draw("r")
    assert {str(target.factor_of(of).origin) for of in ("y", "y_again")} == {str(FromDraw("p", "y"))}
    assert again.factor_of("y").origin == FromDraw("q", "y")
    reads_z = name.endswith("q2")  # and the second y a z of the moved image, which a network draws
    assert again.factor_of("x" if reads_z else "x_again").origin == FromDraw("q", "x")
    first, second = plan.draw("q").factor_of("y").origin, again.factor_of("y_again").origin
    assert isinstance(first, FromNetwork)
    assert isinstance(second, FromNetwork)
    assert first.evaluation.network == second.evaluation.network
    maps = [site.name for site in plan.turns[0].sites if site.name.endswith("/v.affine")]
    assert {f"{first.evaluation.name}/v.affine", f"{second.evaluation.name}/v.affine"} <= set(maps)
    assert len(maps) == len(set(maps))
    trained = {network for network, _ in plan.game("pair").paths}
    assert trained == {"classifier"} | ({"encoder"} if reads_z else set())


# ------------------------------------------------------------------------------------------------ one turn


def data_of(plan: Plan, turn: TurnPlan, generator: torch.Generator) -> dict[str, Tensors]:
    """Random pixels and labels for every factor that comes from data."""
    data: dict[str, Tensors] = {}
    for name in turn.draws:
        draw = plan.draw(name)
        fields = [
            field for factor in draw.factors if isinstance(factor.origin, FromData) for field in factor.origin.fields
        ]
        values = {}
        for variable, field in fields:
            shape = plan.variable(variable).shape
            if field == "image":
                values[variable] = torch.rand((draw.batch_size, *shape), generator=generator)
            else:
                labels = torch.randint(shape[0], (draw.batch_size,), generator=generator)
                values[variable] = one_hot(labels, shape[0], torch.float32)
        data[name] = values
    return data


def loss_begins(loss: LossPlan) -> float:
    """The first of some epochs in which a loss weighs something."""
    return next((float(epoch) for epoch in range(40) if loss.weight(epoch)), 0.0)


@pytest.mark.parametrize("name", EVERY + OF_RESULTS)
def test_one_turn_gives_finite_losses_and_moves_every_network(name: str) -> None:
    plan = plan_of(name, "training.batch_size=2")
    generator = torch.Generator().manual_seed(0)
    model = build(plan, generator, torch.full((10,), 0.1, dtype=torch.float64))
    moved = set()
    epoch = max((loss_begins(loss) for turn in plan.turns for loss in turn.losses), default=0.0)
    for turn in plan.turns:
        noise = {site.name: draw_noise(site, generator, torch.device("cpu"), torch.float32) for site in turn.sites}
        outcome = take_turn(model, plan, turn, data_of(plan, turn, generator), noise, epoch)
        assert all(torch.isfinite(value).all() for value in outcome.values.values())
        for network, gradients in outcome.gradients.items():
            assert all(torch.isfinite(gradient).all() for gradient in gradients)
            if any(gradient.abs().max() > 0 for gradient in gradients):
                moved.add(network)
    assert moved == {network.name for network in plan.networks if network.parameters}
