"""The page of a sweep: labels that can be read, and no word of test examples where there are none."""

import itertools
from pathlib import Path

import pytest
from tiny import TINY
from tiny_runs import make_run

from ammgraph.report import sweep as module
from ammgraph.report.sweep import report_sweep
from ammgraph.runs import files
from ammgraph.runs.run import RunOptions, options_text, read_options
from ammgraph.runs.sweeps import Sweep, Tried, write_tried

RATE = "training.optimizers.default.learning_rate"


def swept(*rates: float) -> tuple[Sweep, tuple[Tried, ...]]:
    options = RunOptions("tiny", 0, "float32", None, 50, 60.0, "ammgraph sweep tiny.yaml")
    vary = (f"{RATE}=1e-9..1e9:log",)
    sweep = Sweep(vary, "x/reconstruction_error", "lower", 4, False, "tiny", None, None, options)
    looks = [((1, 0.2 + 0.01 * number),) for number in range(len(rates))]
    tried = (
        Tried(number, (rate,), "finished", looks[number][0][1], looks[number]) for number, rate in enumerate(rates)
    )
    return sweep, tuple(tried)


@pytest.mark.parametrize(
    "rates",
    [
        (1.8e-4, 3.1e-4, 9.3e-4, 2.4e-3),
        (1e-4, 9.9e-3),
        (1e-9, 1e9),
        (3.1e-4, 3.3e-4),
        (1.1e-3, 4.9e-3),
        (1e-5, 1.5e-3),
        (2e-3,),
    ],
)
def test_labels_of_a_logarithmic_axis_stand_apart(rates: tuple[float, ...]) -> None:
    sweep, tried = swept(*rates)
    _, plate = module._plates(sweep, tried)
    plate.figure.draw_without_rendering()
    axes = plate.figure.axes[0]
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    ticks = [*axes.xaxis.get_major_ticks(), *axes.xaxis.get_minor_ticks()]
    shown = [tick.label1 for tick in ticks if tick.label1.get_text() and low <= tick.get_loc() <= high]
    assert len(shown) >= 2
    for text in shown:
        assert float(text.get_text()) == pytest.approx(text.get_position()[0])  # as it is written
    for first, second in itertools.combinations([text.get_window_extent() for text in shown], 2):
        assert not first.overlaps(second)


def test_looks_are_counted_in_whole_numbers() -> None:
    plate, _ = module._plates(*swept(1e-3, 2e-3))
    plate.figure.draw_without_rendering()
    low, high = plate.figure.axes[0].get_xlim()
    assert [tick for tick in plate.figure.axes[0].get_xticks() if low <= tick <= high] == [1]


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        (("train", "validation", "test"), True),
        (("train", "validation"), False),
        (("a/train", "a/test", "b/train"), False),
        (("a/train", "a/test", "b/train", "b/test"), True),
        ((), False),
    ],
)
def test_test_examples_are_spoken_of_where_there_are_some(splits: tuple[str, ...], told: bool, tmp_path: Path) -> None:
    sweep, tried = swept(1e-3)
    folder = tmp_path / "s"
    run = make_run(folder / "trial-0", TINY)
    options = read_options(run)
    options_with = RunOptions(**{**vars(options), "data_sha256": dict.fromkeys(splits, "0" * 64)})
    files.write(run / "run.json", options_text(options_with))
    files.write(folder / "sweep.json", options_text(sweep))
    write_tried(folder, tried)
    page = report_sweep(folder).read_text()
    assert "the number of the best trial is the best of many, so that it flatters." in page
    assert ("test examples" in page) == ("test label" in page) == told
    assert (f"<code>ammgraph evaluate {folder}</code>" in page) == told
