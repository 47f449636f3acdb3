"""What a figure shows follows from the plan, and what does not apply is absent."""

from pathlib import Path

import numpy as np
import pytest
import torch
from shown import KINDS, images, untrained, write_spec
from tiny import PHASES, TERMS
from tiny import plan_of as tiny_plan

from ammgraph.evaluation.evaluate import ask
from ammgraph.evaluation.synthesis import component_means
from ammgraph.report import curves as curves_module
from ammgraph.report.curve_figures import draw_curves
from ammgraph.report.curves import collect_curves
from ammgraph.report.views import (
    EmbeddingView,
    InterpolationView,
    MatrixView,
    PairsView,
    SamplesView,
    View,
    ViewOptions,
    as_arrays,
    collect_views,
)

SMALL = ViewOptions(columns=3, pairs=6, interpolations=4, steps=5, embedded=0)


def views_of(path: Path, options: ViewOptions = SMALL) -> dict[str, View]:
    model, plan = untrained(path)
    split, classes = images()
    return {view.name: view for view in collect_views(model, plan, split, classes, options)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("amm", ["samples_x", "matrix_y", "matrix_y_bayes", "pairs_x", "interpolation_x"]),
        ("samm", ["samples_x", "matrix_y", "matrix_y_bayes", "pairs_x", "interpolation_x"]),
        ("independent", ["samples_x", "matrix_y", "pairs_x", "interpolation_x"]),
        ("ali", ["samples_x", "pairs_x", "interpolation_x"]),
        ("conditional", ["samples_x", "pairs_x", "interpolation_x"]),
    ],
)
def test_a_model_shows_what_applies_to_it_and_nothing_else(tmp_path: Path, kind: str, expected: list[str]) -> None:
    assert list(views_of(write_spec(tmp_path, kind))) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_array_is_finite_and_every_image_lies_between_0_and_1(tmp_path: Path, kind: str) -> None:
    views = views_of(write_spec(tmp_path, kind))
    for name, array in as_arrays(tuple(views.values())).items():
        assert np.isfinite(array).all(), name
        if array.ndim > 3:
            assert array.dtype == np.float32
            assert 0 <= array.min() <= array.max() <= 1, name


def test_looking_twice_shows_the_same_and_another_seed_something_else(tmp_path: Path) -> None:
    path = write_spec(tmp_path, "amm")
    first, again = (as_arrays(tuple(views_of(path).values())) for _ in range(2))
    other = as_arrays(tuple(views_of(path, ViewOptions(seed=1, columns=3, pairs=6, embedded=0)).values()))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["samples_x/generated"], other["samples_x/generated"])


def test_looking_moves_neither_running_statistics_nor_the_global_generator(tmp_path: Path) -> None:
    model, plan = untrained(write_spec(tmp_path, "amm"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    collect_views(model, plan, *images(), SMALL)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_images_of_a_row_are_those_that_the_posterior_assigns_to_it(tmp_path: Path) -> None:
    path = write_spec(tmp_path, "amm")
    model, plan = untrained(path)
    split, _ = images()
    chosen = ask(model, plan, split).scores["y", "posterior"].argmax(1)
    view = views_of(path)["samples_x"]
    assert isinstance(view, SamplesView)
    assert view.rule == "q(y|x)"
    assert sorted(view.categories) == list(range(10))
    assert view.sizes.tolist() == np.bincount(chosen, minlength=10)[view.categories].tolist()
    for row, category in enumerate(view.categories):
        members = np.flatnonzero(chosen == category)
        few = len(members) <= 3  # else the first, the one in the middle and the last: data may be sorted by class
        places = [*range(len(members))] if few else [0, round((len(members) - 1) / 2), len(members) - 1]
        mine = split.images[torch.from_numpy(members[places])].float()
        assert view.shown[row] == len(mine)
        scaled = mine / 255 if split.images.dtype == torch.uint8 else mine
        assert np.allclose(view.assigned[row, : len(mine)], scaled)


def test_of_many_categories_those_with_the_most_images_are_shown(tmp_path: Path) -> None:
    path = write_spec(tmp_path, "amm", "constants: {K: 300}\n")
    model, plan = untrained(path)
    split, _ = images()
    sizes = np.bincount(ask(model, plan, split).scores["y", "posterior"].argmax(1), minlength=300)
    views = views_of(path, ViewOptions(columns=3, pairs=6, embedded=20))
    view, embedding = views["samples_x"], views["embedding_z"]
    assert isinstance(view, SamplesView)
    assert isinstance(embedding, EmbeddingView)
    assert view.generated.shape == (50, 3, 1, 8, 8)
    assert view.num_categories == embedding.num_components == 300
    assert view.sizes.tolist() == sizes[view.categories].tolist()
    assert view.sizes.sum() == np.sort(sizes)[-50:].sum()
    assert np.array_equal(embedding.components, np.sort(view.categories))
    assert len(embedding.means) == 50


def test_a_label_that_the_model_takes_assigns_images_where_nothing_infers_it(tmp_path: Path) -> None:
    view = views_of(write_spec(tmp_path, "conditional"))["samples_x"]
    assert isinstance(view, SamplesView)
    assert (view.rule, view.category) == ("label", "y")
    assert view.sizes.sum() == 60


def test_without_a_category_rows_of_samples_mean_nothing(tmp_path: Path) -> None:
    view = views_of(write_spec(tmp_path, "ali"))["samples_x"]
    assert isinstance(view, SamplesView)
    assert (view.category, view.rule) == ("", "")
    assert view.generated.shape == (5, 3, 1, 8, 8)


def test_rows_of_a_confusion_matrix_are_classes_and_rows_of_a_cluster_matrix_are_clusters(tmp_path: Path) -> None:
    split, _ = images()
    labels = np.bincount(split.labels.numpy(), minlength=10)
    clusters, confusion = (views_of(write_spec(tmp_path, kind))["matrix_y"] for kind in ("amm", "samm"))
    assert isinstance(clusters, MatrixView)
    assert isinstance(confusion, MatrixView)
    assert not clusters.supervised
    assert clusters.counts.sum(0).tolist() == labels.tolist()
    assert confusion.supervised
    assert confusion.counts.sum(1).tolist() == labels.tolist()


def test_an_interpolation_ends_in_images_of_two_classes_and_next_to_them_their_reconstructions(tmp_path: Path) -> None:
    path = write_spec(tmp_path, "amm")
    linear = views_of(path)["interpolation_x"]
    switched = views_of(path, ViewOptions(interpolations=4, steps=5, embedded=0, category_path="switch"))[
        "interpolation_x"
    ]
    assert isinstance(linear, InterpolationView)
    assert isinstance(switched, InterpolationView)
    assert linear.images.shape == (4, 7, 1, 8, 8)
    assert linear.paths == (("y", "linear"), ("z", "linear"))
    assert switched.paths == (("y", "switch"), ("z", "linear"))
    for column in (0, 1, 5, 6):  # both originals and both ends of the path
        assert np.allclose(linear.images[:, column], switched.images[:, column])


def test_pairs_hold_the_image_and_what_comes_of_it(tmp_path: Path) -> None:
    view = views_of(write_spec(tmp_path, "ali"))["pairs_x"]
    assert isinstance(view, PairsView)
    assert view.originals.shape == view.rebuilt.shape == (6, 1, 8, 8)
    assert not np.allclose(view.originals, view.rebuilt)


def test_the_means_of_components_are_those_of_the_network_and_stand_on_the_map(tmp_path: Path) -> None:
    path = write_spec(tmp_path, "amm")
    model, plan = untrained(path)
    category, means = component_means(model, plan, "z")
    row = model.network("components").row("z_mu")
    assert row.weight is not None
    assert row.bias is not None
    assert category == "y"
    assert torch.allclose(means, row.weight.flatten(1).T + row.bias)
    view = views_of(path, ViewOptions(columns=1, embedded=30))["embedding_z"]
    assert isinstance(view, EmbeddingView)
    assert (view.points.shape, view.means.shape) == ((30, 2), (10, 2))


def test_without_components_the_map_has_no_means(tmp_path: Path) -> None:
    view = views_of(write_spec(tmp_path, "ali"), ViewOptions(columns=1, embedded=20))["embedding_z"]
    assert isinstance(view, EmbeddingView)
    assert len(view.means) == 0


def test_more_clusters_than_classes_and_fewer(tmp_path: Path) -> None:
    for size in (3, 14):
        path = write_spec(tmp_path, "amm", f"constants: {{K: {size}}}\n")
        view = views_of(path)["matrix_y"]
        assert isinstance(view, MatrixView)
        assert view.counts.shape == (size, 10)


# --------------------------------------------------------------------------------------------------- curves

LINES = [
    {"step": 5, "epoch": 1.0, "joint/discriminator": 1.0, "joint/generator": 1.5, "joint/accuracy": 0.5},
    {"step": 5, "epoch": 1.0, "evaluation": {"examples": 7, "y/one_to_one_error": 0.5, "x/reconstruction_error": 0.1}},
    {"step": 10, "epoch": 2.0, "joint/discriminator": None, "joint/generator": 1.2, "joint/accuracy": 0.75},
    {
        "step": 10,
        "epoch": 2.0,
        "evaluation": {"examples": 7, "y/one_to_one_error": 0.25, "x/reconstruction_error": 0.2},
    },
]


def test_curves_are_the_lines_of_the_metrics_with_gaps_for_null(tmp_path: Path) -> None:
    _, plan = untrained(write_spec(tmp_path, "amm"))
    last = {"step": 15, "epoch": 3.0, "joint/discriminator": 1.0, "joint/generator": 1.1, "joint/accuracy": 0.6}
    curves = collect_curves(plan, [*LINES, last])
    arrays = curves_module.as_arrays(curves)
    assert [panel.name for panel in curves.panels] == ["errors", "reconstruction", "losses_joint", "accuracy"]
    assert arrays["curves/errors/y, one-to-one/values"].tolist() == [50, 25]
    assert arrays["curves/accuracy/critic.p/values"].tolist() == [50, 75, 60]
    assert np.isnan(arrays["curves/losses_joint/discriminator/values"]).tolist() == [False, True, False]
    assert curves.steps_per_epoch == 5


def test_every_term_has_its_curve() -> None:
    lines = [{"step": step, "reconstruction/value": 9.0 - step, "classes/value": 2.0} for step in (1, 2)]
    panels = collect_curves(tiny_plan(TERMS), lines).panels
    assert [(panel.title, panel.unit) for panel in panels] == [
        ("Term reconstruction", "nats"),
        ("Term classes", "nats"),
    ]
    assert panels[0].curves[0].values.tolist() == [8, 7]


def test_learning_rates_that_change_have_their_curves() -> None:
    lines = [{"step": step, "encoder/learning_rate": 0.1 / step} for step in (1, 2)]
    (panel,) = collect_curves(tiny_plan(TERMS), lines).panels
    assert (panel.title, [curve.label for curve in panel.curves]) == ("Learning rates that change", ["encoder"])
    assert panel.curves[0].values.tolist() == [0.1, 0.05]


def test_use_of_categories_is_a_table_over_steps(tmp_path: Path) -> None:
    _, plan = untrained(write_spec(tmp_path, "amm"))
    lines = [{"step": step, "epoch": step, "q.y/use": [0.1] * 10, "q.y/entropy": 2.0} for step in (1, 2, 3)]
    curves = collect_curves(plan, lines)
    assert curves.uses[0].shares.shape == (10, 3)
    assert curves.panels[0].level == (pytest.approx(np.log(10)), "ln 10: uniform")


def test_a_run_without_records_has_no_curves(tmp_path: Path) -> None:
    _, plan = untrained(write_spec(tmp_path, "amm"))
    assert collect_curves(plan, []).panels == ()
    assert collect_curves(plan, LINES[:2]).panels == ()  # one point is no curve


def test_curves_of_phases_are_marked_where_a_phase_begins() -> None:
    lines = [(50, 1), (60, 1), (70, 2), (80, 2), (90, 3), (100, 3)]
    records = [{"step": step, "epoch": step / 10, "phase": phase, "reconstruction/value": 1.0} for step, phase in lines]
    plan = tiny_plan(PHASES)
    curves = collect_curves(plan, records)
    assert curves.phases == (60, 80)
    (plate,) = draw_curves(curves)
    assert plate.caption.endswith("Dotted: phases begin after step 60, 80.")
    assert collect_curves(plan, [{**record, "phase": 1} for record in records]).phases == ()
