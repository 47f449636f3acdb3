"""Samples of the same noise over time: a run keeps them, training does not notice, the page shows them."""

import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from shown import untrained, write_spec
from tiny import CPU, FOLDER, TINY, differences, trainer_of
from tiny_runs import Run, files_of, lines_of, state_of

from ammgraph import cli
from ammgraph.api import steps
from ammgraph.evaluation.loading import load_model
from ammgraph.evaluation.sample import draw_samples
from ammgraph.evaluation.synthesis import strips_of
from ammgraph.runs import strips
from ammgraph.spec.shipped import shipped_specs

# A look every 4 steps of 40 an epoch, and at the end.
LOOKS = ("--set", "evaluation.every_epochs=1/10", "--set", "training.steps=22", "--checkpoint-seconds", 0)
SEEN = [4, 8, 12, 16, 20, 22]
SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 22 steps that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert cli.main([str(word) for word in ("train", TINY, "--run-dir", folder, *LOOKS)]) == 0
    return folder


@pytest.fixture
def taken(whole: Path, tmp_path: Path) -> Path:
    """A copy of it to write in."""
    return Path(shutil.copytree(whole, tmp_path / "taken"))


def kept(folder: Path) -> dict[str, bytes]:
    return files_of(folder / "samples")


# ------------------------------------------------------------------------------------------------ what is drawn


@pytest.mark.parametrize(
    ("size", "columns"), [(10, range(10)), (4, (0, 0, 0, 1, 1, 2, 2, 2, 3, 3)), (20, range(0, 20, 2))]
)
def test_a_column_is_a_noise_and_a_component_of_which_others_than_ten_are_evenly_chosen(
    size: int, columns: Sequence[int]
) -> None:
    trainer = trainer_of(TINY, f"constants.K={size}")
    found = strips_of(trainer.model, trainer.plan)["x"]
    assert found.shape == (10, *SHAPE)
    for column, component in enumerate(columns):
        alone = draw_samples(trainer.model, trainer.plan, component=component, count=10).images
        np.testing.assert_allclose(found[column].astype(int), alone[column].astype(int), atol=1)
        assert len(np.unique(alone, axis=0)) == 10


@pytest.mark.parametrize(("kind", "each"), [("amm", 1), ("ali", 10), ("conditional", 1)])
def test_they_are_what_sample_draws_with_the_same_seed(kind: str, each: int, tmp_path: Path) -> None:
    model, plan = untrained(write_spec(tmp_path, kind))
    np.testing.assert_array_equal(strips_of(model, plan)["x"], draw_samples(model, plan, count=each, seed=0).images)


@pytest.mark.parametrize("path", [FOLDER / "tiny_vectors.yaml", shipped_specs()["imsat_mnist"]])
def test_of_vectors_and_of_a_model_that_generates_nothing_there_are_none(path: Path) -> None:
    assert strips_of(*untrained(path)) == {}


# ------------------------------------------------------------------------------------------------ what a run keeps


def test_a_run_keeps_what_its_weights_gave_at_each_look(whole: Path) -> None:
    found = strips.read(whole, "x", SHAPE, 10**9)
    assert list(found) == [line["step"] for line in lines_of(whole) if "evaluation" in line] == SEEN
    loaded = load_model(whole, CPU)
    np.testing.assert_array_equal(found[22], draw_samples(loaded.model, loaded.plan, count=1).images)
    assert all((found[step] != found[22]).any() for step in SEEN[:-1])


def test_training_does_not_notice(whole: Path, ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_keep_samples", lambda training, model: None)
    assert ammgraph("train", TINY, "--run-dir", "without", *LOOKS)[0] == 0
    assert not Path("without/samples").exists()
    assert differences(state_of(whole), state_of(Path("without"))) == []
    assert lines_of(whole) == lines_of(Path("without"))


def test_a_run_that_lost_steps_forgets_their_samples_and_takes_them_again(
    whole: Path, taken: Path, ammgraph: Run
) -> None:
    for path in (taken / "checkpoints").glob("step-000000022.*"):  # the one of step 21 is left
        path.unlink()
    (taken / "samples" / "x-step-000000022.png").write_bytes(b"of a life that was lost")
    (taken / "samples" / "0123456789abcdef.x-step-000000022.png.new").touch()
    assert ammgraph("train", "--resume", taken)[0] == 0
    assert kept(taken) == kept(whole)


def test_a_run_that_began_without_them_goes_on_with_them(whole: Path, taken: Path, ammgraph: Run) -> None:
    shutil.rmtree(taken / "samples")
    assert ammgraph("report", taken, "--no-map")[0] == 0
    assert "over time" not in (taken / "report.html").read_text()
    for path in (taken / "checkpoints").glob("step-000000022.*"):
        path.unlink()
    assert ammgraph("train", "--resume", taken)[0] == 0
    assert kept(taken) == {"x-step-000000022.png": kept(whole)["x-step-000000022.png"]}
    assert differences(state_of(whole), state_of(taken)) == []


def test_averaged_weights_are_shown_where_these_are_evaluated(ammgraph: Run) -> None:
    ema = ("--set", "training.ema={default: 0.9, critic: 0}", "--set", "evaluation.weights=ema")
    assert ammgraph("train", TINY, "--run-dir", "run", *LOOKS, *ema)[0] == 0
    loaded = load_model(Path("run"), CPU)
    assert loaded.weights == "ema"
    drawn = draw_samples(loaded.model, loaded.plan, count=1)
    np.testing.assert_array_equal(strips.read(Path("run"), "x", SHAPE, 10**9)[22], drawn.images)


# ------------------------------------------------------------------------------------------------ the page


def test_the_page_has_a_row_for_each_look_and_its_pixels_as_a_table(taken: Path, ammgraph: Run) -> None:
    code, _, err = ammgraph("report", taken, "--no-map", "--figures", "figures")
    assert code == 0, err
    page = (taken / "report.html").read_text()
    assert ". Samples of x over time.</strong> x drawn from p at 6 evaluations in training: " in page
    rows = list(csv.DictReader(io.StringIO(Path("figures/strips_x.csv").read_text())))
    assert [int(row["step"]) for row in rows] == [step for step in SEEN for _ in range(10)]
    assert [row["category"] for row in rows] == [row["column"] for row in rows] == [*map(str, range(10))] * 6
    pixels = np.array([[float(row[f"c0_y{y}_x{x}"]) for y in range(8) for x in range(8)] for row in rows])
    images = np.concatenate([*strips.read(taken, "x", SHAPE, 10**9).values()])
    np.testing.assert_allclose(pixels.reshape(images.shape), images / 255, rtol=1e-6)
    with np.load(taken / "report.npz") as arrays:
        np.testing.assert_allclose(arrays["strips_x/images"].reshape(images.shape), images / 255, rtol=1e-6)
    assert "<text" in Path("figures/strips_x.svg").read_text()


def test_a_single_look_is_no_figure(copied: Path, ammgraph: Run) -> None:
    assert len(kept(copied)) == 1
    assert ammgraph("report", copied, "--no-map")[0] == 0
    assert "over time" not in (copied / "report.html").read_text()


def test_a_file_in_their_place_keeps_no_run_from_going_on(taken: Path, ammgraph: Run) -> None:
    shutil.rmtree(taken / "samples")
    (taken / "samples").write_text("a friend's notes")
    code, _, err = ammgraph("train", "--resume", taken, "--set", "training.steps=26", "--log", "none")
    assert code == 0, err
    assert f"{taken / 'samples'} is a file, where samples over time would go: none are kept; remove it" in err
    assert (taken / "samples").read_text() == "a friend's notes"
    assert lines_of(taken)[-1]["step"] == 26


def test_a_new_run_replaces_such_a_file_where_it_is_forced_to(tmp_path: Path, ammgraph: Run) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "samples").write_text("a friend's notes")
    assert ammgraph("train", TINY, "--run-dir", folder, *LOOKS)[0] == 1
    code, _, err = ammgraph("train", TINY, "--run-dir", folder, "--force", *LOOKS)
    assert code == 0, err
    assert len(kept(folder)) == len(SEEN)
