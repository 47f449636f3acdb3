"""Strips in a run directory: what is kept of a run, read back, and left out."""

import logging
from pathlib import Path

import numpy as np
import pytest

from ammgraph.diagnostics import RunError
from ammgraph.evaluation.metrics import Array
from ammgraph.runs import strips


def images(channels: int = 1, seed: int = 0) -> Array:
    shape = (strips.COLUMNS, channels, 5, 7)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def looked_at(folder: Path, steps: list[int], last: int) -> list[int]:
    """Keep what is due of the looks at these steps; which ones there are then."""
    for step in steps:
        if strips.due(folder, step, last):
            strips.keep(folder, step, {"x": images(seed=step)})
    return list(strips.read(folder, "x", (1, 5, 7), last))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_strip_is_read_as_it_was_kept_of_each_variable(channels: int, tmp_path: Path) -> None:
    strips.keep(tmp_path, 30, {"x": images(channels), "x_2": images(3, seed=1)})
    (found,) = strips.read(tmp_path, "x", (channels, 5, 7), 10**9).values()
    np.testing.assert_array_equal(found, images(channels))
    np.testing.assert_array_equal(strips.read(tmp_path, "x_2", (3, 5, 7), 10**9)[30], images(3, seed=1))
    assert strips.read(tmp_path, "z", (1, 5, 7), 10**9) == {}


def test_of_a_long_run_the_first_look_and_the_first_of_each_tenth_are_kept(tmp_path: Path) -> None:
    assert looked_at(tmp_path, list(range(17, 1701, 17)), 1700) == [17, *range(170, 1701, 170)]
    assert len(list((tmp_path / "samples").iterdir())) == 11


def test_of_a_short_run_every_look_is_kept(tmp_path: Path) -> None:
    assert looked_at(tmp_path, [3, 6, 9, 10], 10) == [3, 6, 9, 10]


def test_what_lies_beyond_the_run_is_not_read(tmp_path: Path) -> None:
    looked_at(tmp_path, [4, 8, 12, 16], 16)
    strips.keep(tmp_path, 999, {"x": images()})
    assert list(strips.read(tmp_path, "x", (1, 5, 7), 16)) == [4, 8, 12, 16]


def test_of_a_run_that_was_made_longer_as_few_are_read(tmp_path: Path) -> None:
    looked_at(tmp_path, list(range(1, 101)), 100)
    assert looked_at(tmp_path, list(range(101, 1001)), 1000) == [1, *range(100, 1001, 100)]


def test_a_run_that_goes_on_keeps_what_one_that_never_stopped_keeps(tmp_path: Path) -> None:
    steps = [3, *range(7, 120, 7), 120]
    whole = looked_at(tmp_path / "whole", steps, 120)
    looked_at(tmp_path / "killed", steps[:13], 120)
    strips.cut(tmp_path / "killed", 50)  # where its checkpoint stands
    assert looked_at(tmp_path / "killed", [step for step in steps if step > 50], 120) == whole


def test_a_cut_forgets_what_comes_after_a_step_and_nothing_else(tmp_path: Path) -> None:
    strips.cut(tmp_path, 0)
    looked_at(tmp_path, [10, 20, 30], 30)
    mine = tmp_path / "samples" / "mine-step-40.png"
    mine.touch()
    strips.cut(tmp_path, 20)
    assert list(strips.read(tmp_path, "x", (1, 5, 7), 10**9)) == [10, 20]
    assert mine.exists()


def test_what_is_no_strip_of_the_model_is_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    looked_at(tmp_path, [10, 20, 30, 40], 40)
    folder = tmp_path / "samples"
    (folder / "x-step-000000010.png").write_bytes(b"no image")
    (folder / "x-step-000000020.png").write_bytes((folder / "x-step-000000030.png").read_bytes()[:-60])
    strips.keep(tmp_path, 30, {"x": images(channels=3)})
    with caplog.at_level(logging.WARNING):
        assert list(strips.read(tmp_path, "x", (1, 5, 7), 10**9)) == [40]
    assert [f"{folder}/x-step-0000000{step}.png is left out: " in caplog.text for step in (10, 20, 30)] == [True] * 3
    assert "x-step-000000030.png is left out: it holds no 10 images of 1x5x7" in caplog.text


def test_nothing_is_written_through_a_link_or_where_a_file_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "samples").symlink_to(tmp_path)
    with pytest.raises(RunError, match=r"cannot write .*x-step-000000001\.png: samples is a link"):
        strips.keep(tmp_path / "run", 1, {"x": images()})
    (tmp_path / "samples").touch()
    with pytest.raises(RunError, match=r"cannot write .*samples/x-step-000000001\.png"):
        strips.keep(tmp_path, 1, {"x": images()})
