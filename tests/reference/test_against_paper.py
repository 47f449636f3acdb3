"""ammgraph against Tables 3-10, Algorithms 1 and 2 and eq. 18 written by hand: same weights, same noise, float64."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny import plan_of
from torch import Tensor, nn

from ammgraph.nn.model import Draw, Model, build, critic_inputs, critic_logits, draw_noise, one_hot, sample_draw
from ammgraph.nn.networks import Mode
from ammgraph.plan.plan import Plan
from ammgraph.spec.load import load_spec
from ammgraph.train.step import Outcome, take_turn
from reference import amm

SPECS = Path(__file__).parents[2] / "specs"
K = 10
FREQUENCIES = [0.07, 0.19, 0.14, 0.12, 0.10, 0.09, 0.08, 0.08, 0.07, 0.06]  # uneven, as SVHN's
TOLERANCE = 1e-10

# Name in the reference -> name in ammgraph. What is not listed has the same name.
ROWS = {"z_from_y": "z_y", "y_from_z": "y_z", "z_from_y1": "z_y1", "z_from_y2": "z_y2"}
PARTS = {
    "norm.scale": "gain",
    "norm.shift": "shift",
    "norm.running_mean": "running_mean",
    "norm.running_variance": "running_variance",
}


# ---------------------------------------------------------------------- both implementations


@dataclass(frozen=True)
class Ammgraph:
    """A compiled spec with random weights, one batch of data, one set of noise, and the turn that it took with them."""

    plan: Plan
    model: Model
    data: dict[str, dict[str, Tensor]]
    noise: dict[str, Tensor]
    outcome: Outcome
    draws: dict[str, Draw]
    logits: dict[str, Tensor]  # by draw


@dataclass(frozen=True)
class Mnist:
    ours: Ammgraph
    tables: dict[str, nn.Module]
    paper: amm.Iteration1


@dataclass(frozen=True)
class Svhn:
    ours: Ammgraph
    tables: dict[str, nn.Module]
    paper: amm.Iteration2


def compiled(name: str, *overrides: str) -> Plan:
    return plan_of(SPECS / f"{name}.yaml", *overrides)


def narrowed(name: str, by: int) -> list[str]:
    """Overrides that divide the printed widths of Tables 7, 9 and 10."""
    spec = load_spec(SPECS / f"{name}.yaml")
    return [
        f"networks.{network}.layers.{row}.channels={columns.channels // by}"
        for network in ("encoder", "decoder", "critic")
        for row, columns in spec.networks[network].layers.items()
        if columns.channels in (96, 128, 192, 256, 288, 384, 512)
    ]


def randomize(model: Model, generator: torch.Generator) -> None:
    """Weights at which every part matters: no bias, shift or running statistic is 0, no gain 1, no logit small."""
    for name, tensor in [*model.networks.named_parameters(), *model.networks.named_buffers()]:
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if name.endswith("weight"):
            value = noise * (2 * tensor.shape[0] / tensor.numel()) ** 0.5
        elif name.endswith(("gain", "running_variance")):
            value = 0.5 + noise.abs()
        else:
            value = 0.3 * noise
        with torch.no_grad():
            tensor.copy_(value)


def random_data(plan: Plan, generator: torch.Generator) -> dict[str, dict[str, Tensor]]:
    data: dict[str, dict[str, Tensor]] = {}
    for draw in plan.draws:
        if draw.name.startswith("q"):
            image = plan.variable("x").shape
            data[draw.name] = {"x": torch.rand(draw.batch_size, *image, generator=generator, dtype=torch.float64)}
        if draw.name == "q_labeled":
            labels = torch.randint(K, (draw.batch_size,), generator=generator)
            data[draw.name]["y"] = one_hot(labels, K, torch.float64)
    return data


def random_noise(plan: Plan, generator: torch.Generator) -> dict[str, Tensor]:
    device = torch.device("cpu")
    return {site.name: draw_noise(site, generator, device, torch.float64) for site in plan.turns[0].sites}


def prepared(plan: Plan, seed: int = 0) -> tuple[Model, dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    model = build(plan, generator, torch.tensor(FREQUENCIES)).double()
    randomize(model, generator)
    return model, random_data(plan, generator), random_noise(plan, generator)


def drawn(plan: Plan, model: Model, data: dict[str, dict[str, Tensor]], noise: dict[str, Tensor]) -> dict[str, Draw]:
    """Every distribution of the turn, without moving a running statistic."""
    draws: dict[str, Draw] = {}
    for name in plan.turns[0].draws:
        draws[name] = sample_draw(model, plan.draw(name), data.get(name, {}), noise, Mode.FROZEN, draws)
    return draws


def logits_by_draw(plan: Plan, model: Model, draws: dict[str, Draw], noise: dict[str, Tensor]) -> dict[str, Tensor]:
    (critic,) = plan.turns[0].passes_of("scored")
    inputs = critic_inputs(critic, draws)
    joint = critic_logits(model, critic, inputs, noise, Mode.FROZEN)
    return dict(zip(critic.draws, joint.chunk(len(critic.draws)), strict=True))


def taken(plan: Plan, model: Model, data: dict[str, dict[str, Tensor]], noise: dict[str, Tensor]) -> Ammgraph:
    draws = drawn(plan, model, data, noise)
    logits = logits_by_draw(plan, model, draws, noise)
    outcome = take_turn(model, plan, plan.turns[0], data, noise, epoch=0.0)
    return Ammgraph(plan, model, data, noise, outcome, draws, logits)


def our_name(name: str) -> str:
    """`y1a_norm.scale` -> `rows.row_y1a.gain`, `z_from_y.weight` -> `rows.row_z_y.weight`."""
    row, part = name.rsplit(".", 1)
    if row.endswith("_norm"):
        row, part = row.removesuffix("_norm"), PARTS[f"norm.{part}"]
    return f"rows.row_{ROWS.get(row, row)}.{part}"


def copy_weights(model: Model, tables: dict[str, nn.Module]) -> None:
    """From ammgraph to the reference: every parameter and running statistic of the one is one of the other."""
    for network, table in tables.items():
        ours = model.network(network).state_dict()
        assert sorted(map(our_name, table.state_dict())) == sorted(ours)
        table.load_state_dict({name: ours[our_name(name)] for name in table.state_dict()})


def masks(noise: dict[str, Tensor], evaluation: str, part: slice = slice(None)) -> dict[str, Tensor]:
    """Row -> its dropout mask in an evaluation; `part` of the batch."""
    prefix, suffix = f"{evaluation}/", ".mask"
    return {
        site.removeprefix(prefix).removesuffix(suffix): tensor[part]
        for site, tensor in noise.items()
        if site.startswith(prefix) and site.endswith(suffix)
    }


def categories(uniform: Tensor, probabilities: list[float]) -> Tensor:
    """The k with P(y < k) <= u < P(y <= k), as one-hot vectors."""
    chosen = [sum(u >= sum(probabilities[: k + 1]) for k in range(K - 1)) for u in uniform.tolist()]
    return torch.eye(K, dtype=torch.float64)[chosen][:, :, None, None]


MNIST = {"amm_mnist": amm.Table3, "amm_mnist_q1": amm.Table3ReadingY, "amm_mnist_q2": amm.Table3ReadingZ}
SAMM = {"samm_svhn": amm.Table7, "samm_svhn_q1": amm.Table7ReadingY}


@pytest.fixture(scope="module", params=MNIST)
def mnist(request: pytest.FixtureRequest) -> Mnist:
    plan = compiled(request.param, "training.batch_size=3")
    model, data, noise = prepared(plan)
    tables: dict[str, nn.Module] = {
        "encoder": MNIST[request.param](K),
        "components": amm.Table4(K),
        "decoder": amm.Table5(K),
        "critic": amm.Table6(K),
    }
    for table in tables.values():
        table.double()
    copy_weights(model, tables)
    paper = amm.algorithm1(
        **tables,
        x=data["q"]["x"],
        y=categories(noise["p/y"], [1 / K] * K),
        noise=amm.Noise1(
            masks_of_q=masks(noise, "q/encoder"),
            eps_y=noise["q/encoder/y_sigma.eps"],
            eps_z=noise["q/encoder/z_sigma.eps"],
            masks_of_components=masks(noise, "p/components"),
            eps_of_components=noise["p/components/z_sigma.eps"],
            masks_of_decoder=masks(noise, "p/decoder"),
            masks_of_rho_q=masks(noise, "joint/critic", slice(0, 3)),
            masks_of_rho_p=masks(noise, "joint/critic", slice(3, 6)),
            coefficient=noise["joint.penalty/critic/coefficient"],
            masks_of_penalty=masks(noise, "joint.penalty/critic"),
        ),
        weight=10.0,
    )
    return Mnist(taken(plan, model, data, noise), tables, paper)


def noise_of_game(noise: dict[str, Tensor], game: str, of_q: slice, of_p: slice) -> amm.Noise2:
    both = "unlabeled+labeled/critic"  # one batch: q_unlabeled, p_unlabeled, q_labeled, p_labeled
    return amm.Noise2(
        eps_y=noise.get(f"q_{game}/encoder/y_sigma.eps"),
        eps_z=noise[f"q_{game}/encoder/z_sigma.eps"],
        eps_of_components=noise[f"p_{game}/components/z_sigma.eps"],
        masks_of_rho_q=masks(noise, both, of_q),
        masks_of_rho_p=masks(noise, both, of_p),
        coefficient=noise[f"{game}.penalty/critic/coefficient"],
        masks_of_penalty=masks(noise, f"{game}.penalty/critic"),
    )


WIDTHS = [pytest.param(8, id="an eighth of the widths"), pytest.param(1, id="full", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=WIDTHS)
def narrow(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(scope="module", params=SAMM)
def svhn(request: pytest.FixtureRequest, narrow: int) -> Svhn:
    plan = compiled(request.param, "training.batch_size=2", *narrowed(request.param, narrow))
    model, data, noise = prepared(plan)
    tables: dict[str, nn.Module] = {
        "encoder": SAMM[request.param](K, narrow),
        "components": amm.Table8(K),
        "decoder": amm.Table9(K, narrow),
        "critic": amm.Table10(K, narrow),
    }
    for table in tables.values():
        table.double()
    copy_weights(model, tables)
    paper = amm.algorithm2(
        **tables,
        x_u=data["q_unlabeled"]["x"],
        y_u=categories(noise["p_unlabeled/y"], FREQUENCIES),
        x_l=data["q_labeled"]["x"],
        label=data["q_labeled"]["y"],
        y_l=categories(noise["p_labeled/y"], FREQUENCIES),
        noise_u=noise_of_game(noise, "unlabeled", slice(0, 2), slice(2, 4)),
        noise_l=noise_of_game(noise, "labeled", slice(4, 6), slice(6, 8)),
        weight=0.01,
    )
    return Svhn(taken(plan, model, data, noise), tables, paper)


# ---------------------------------------------------------------------- agreement


def deviation(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest number of the tensor."""
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1e-3)).item()


def gradients(case: Mnist | Svhn) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, ammgraph's and the reference's gradient, of every parameter."""
    for network in case.tables:
        names = [name for name, _ in case.ours.model.network(network).named_parameters()]
        ours = dict(zip(names, case.ours.outcome.gradients[network], strict=True))
        paper = getattr(case.paper, network)
        assert sorted(map(our_name, paper)) == sorted(ours)
        for name, expected in paper.items():
            yield f"{network}.{name}", ours[our_name(name)], expected


def statistics(case: Mnist | Svhn) -> Iterator[tuple[str, Tensor, Tensor]]:
    for network, table in case.tables.items():
        ours = dict(case.ours.model.network(network).named_buffers())
        for name, expected in table.named_buffers():
            yield f"{network}.{name}", ours[our_name(name)], expected


def agree(triples: Iterator[tuple[str, Tensor, Tensor]]) -> None:
    deviations = {name: deviation(found, expected) for name, found, expected in triples}
    worst = max(deviations, key=deviations.__getitem__)
    print(f"{len(deviations)} tensors, largest deviation {deviations[worst]:.1e} at {worst}")
    assert {name: value for name, value in deviations.items() if not value <= TOLERANCE} == {}


def test_algorithm_1_logits_agree(mnist: Mnist) -> None:
    ours, paper = mnist.ours, mnist.paper
    agree(iter([("q", ours.logits["q"], paper.logits_q), ("p", ours.logits["p"], paper.logits_p)]))


def test_algorithm_1_losses_and_the_penalty_agree(mnist: Mnist) -> None:
    values, paper = mnist.ours.outcome.values, mnist.paper
    agree(
        iter(
            [
                ("L_D", values["joint/discriminator"], paper.loss_d),
                ("L_G", values["joint/generator"], paper.loss_x_and_components + paper.loss_y_and_z),
                ("eq. 18", values["joint/gradient_penalty"], paper.penalty),
            ]
        )
    )


def test_algorithm_1_every_gradient_agrees(mnist: Mnist) -> None:
    agree(gradients(mnist))


def test_algorithm_1_running_statistics_agree(mnist: Mnist) -> None:
    agree(statistics(mnist))


def test_algorithm_1_comparison_is_not_empty(mnist: Mnist) -> None:
    assert all(expected.abs().max() > 1e-6 for _, _, expected in gradients(mnist))
    assert len(list(gradients(mnist))) == sum(len(list(table.parameters())) for table in mnist.tables.values())


def test_algorithm_2_logits_agree(svhn: Svhn) -> None:
    ours, paper = svhn.ours, svhn.paper
    agree(
        iter(
            [
                ("q, unlabelled", ours.logits["q_unlabeled"], paper.unlabeled.logits_q),
                ("p, unlabelled", ours.logits["p_unlabeled"], paper.unlabeled.logits_p),
                ("q, labelled", ours.logits["q_labeled"], paper.labeled.logits_q),
                ("p, labelled", ours.logits["p_labeled"], paper.labeled.logits_p),
            ]
        )
    )


@pytest.mark.parametrize("game", ["unlabeled", "labeled"])
def test_algorithm_2_losses_and_the_penalty_agree(svhn: Svhn, game: str) -> None:
    values, paper = svhn.ours.outcome.values, getattr(svhn.paper, game)
    assert svhn.ours.plan.game(game).weight.at(0) == 0.5  # ammgraph's values are those before the game's weight
    agree(
        iter(
            [
                ("L_D", 0.5 * values[f"{game}/discriminator"], paper.loss_d),
                ("L_G", 0.5 * values[f"{game}/generator"], paper.loss_q + paper.loss_p),
                ("eq. 18", values[f"{game}/gradient_penalty"], paper.penalty),
            ]
        )
    )


def test_algorithm_2_every_gradient_agrees(svhn: Svhn) -> None:
    agree(gradients(svhn))


def test_algorithm_2_running_statistics_agree(svhn: Svhn) -> None:
    agree(statistics(svhn))


def test_algorithm_2_comparison_is_not_empty(svhn: Svhn) -> None:
    assert all(expected.abs().max() > 1e-6 for _, _, expected in gradients(svhn))
    assert len(list(gradients(svhn))) == sum(len(list(table.parameters())) for table in svhn.tables.values())


# ---------------------------------------------------------------------- the reference itself


def size(table: nn.Module) -> int:
    return sum(parameter.numel() for parameter in table.parameters())


def test_reference_has_the_paper_s_numbers_of_parameters() -> None:
    assert [size(table(10)) for table in (amm.Table3, amm.Table4, amm.Table5, amm.Table6)] == [
        411_796,
        9_152,
        402_178,
        341_057,
    ]
    assert [size(table(30)) for table in (amm.Table7, amm.Table8, amm.Table9, amm.Table10)] == [
        1_867_676,
        3_968,
        6_324_230,
        1_949_761,
    ]


def test_reference_batch_norm_is_that_of_pytorch() -> None:
    h = torch.randn(3, 5, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, theirs = amm.BatchNorm(5).double(), nn.BatchNorm2d(5).double()
    for _ in range(2):
        assert deviation(ours(h), theirs(h)) < 1e-14
    assert deviation(ours.running_mean, theirs.running_mean) < 1e-14
    assert deviation(ours.running_variance, theirs.running_var) < 1e-14


# ---------------------------------------------------------------------- what the factorizations claim


def moved(plan: Plan, draw: str, change: Callable[[dict, dict], None]) -> set[str]:
    """The variables of a draw whose samples change when data or noise do; everything else, masks included, stays."""
    model, data, noise = prepared(plan)
    before = drawn(plan, model, data, noise)[draw].samples
    data, noise = {name: dict(tensors) for name, tensors in data.items()}, dict(noise)
    change(data, noise)
    after = drawn(plan, model, data, noise)[draw].samples
    return {variable for variable in before if not torch.equal(before[variable], after[variable])}


def add_to(site: str) -> Callable[[dict, dict], None]:
    def change(data: dict, noise: dict) -> None:
        noise[site] = noise[site] + 1 / (1 + torch.arange(noise[site].shape[1]))[:, None, None]

    return change


FACTORIZATIONS = {
    "amm_mnist": ({"y"}, {"z"}),  # eq. 15
    "amm_mnist_q1": ({"y", "z"}, {"z"}),  # eq. 6
    "amm_mnist_q2": ({"y"}, {"y", "z"}),  # eq. 7
}


@pytest.mark.parametrize("name", FACTORIZATIONS)
def test_the_noise_of_y_and_of_z_moves_what_the_factorization_says(name: str) -> None:
    plan = compiled(name, "training.batch_size=2")
    by_eps_of_y, by_eps_of_z = FACTORIZATIONS[name]
    assert moved(plan, "q", add_to("q/encoder/y_sigma.eps")) == by_eps_of_y
    assert moved(plan, "q", add_to("q/encoder/z_sigma.eps")) == by_eps_of_z


def other_labels(data: dict, noise: dict) -> None:
    data["q_labeled"]["y"] = data["q_labeled"]["y"].roll(1, dims=1)


@pytest.mark.parametrize(("name", "expected"), [("samm_svhn", {"y"}), ("samm_svhn_q1", {"y", "z"})])
def test_the_label_moves_z_in_samm_q1_and_not_in_samm_as_printed(name: str, expected: set[str]) -> None:
    plan = compiled(name, "training.batch_size=2", *narrowed(name, 8))
    assert moved(plan, "q_labeled", other_labels) == expected


@pytest.mark.parametrize("name", SAMM)
def test_the_labelled_game_leaves_the_gradient_of_the_inference_of_y_alone(name: str) -> None:
    plan = compiled(name, "training.batch_size=2", *narrowed(name, 8))
    model, data, noise = prepared(plan)
    before = taken(plan, model, data, noise).outcome.gradients["encoder"]
    other_labels(data, noise)
    after = taken(plan, model, data, noise).outcome.gradients["encoder"]
    changed = {}
    for (parameter, _), old, new in zip(model.network("encoder").named_parameters(), before, after, strict=True):
        row = parameter.split(".")[1].removeprefix("row_")
        changed[row] = changed.get(row, 0) + deviation(new, old)
    assert all(value < 1e-12 for row, value in changed.items() if row.startswith("y"))
    assert all(value > 1e-6 for row, value in changed.items() if not row.startswith("y"))
