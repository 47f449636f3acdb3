"""The metrics: means by hand, what is not finite is found and named, lines are JSON."""

import json
import math
import os
from pathlib import Path

import pytest
import torch

from ammgraph.diagnostics import RunError
from ammgraph.runs import record
from ammgraph.runs.record import Recorder


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value)


def test_a_flush_gives_the_means_since_the_last_one() -> None:
    recorder = Recorder()
    recorder.add(1, {"a": scalar(1.0), "b": torch.tensor([0.0, 4.0, 1.0])})
    recorder.add(2, {"a": scalar(2.0), "b": torch.tensor([1.0, 8.0, 1.0])})
    assert recorder.flush() == {"a": 1.5, "b": [0.5, 6.0, 1.0]}
    recorder.add(3, {"a": scalar(7.0), "b": torch.tensor([0.0, 0.0, 0.0])})
    assert recorder.flush() == {"a": 7.0, "b": [0.0, 0.0, 0.0]}


def test_values_are_told_by_their_names_in_whichever_order_a_step_gives_them() -> None:
    recorder, resumed = Recorder(), Recorder()
    recorder.add(1, {"encoder/gradient_norm": scalar(1.0), "decoder/gradient_norm": scalar(5.0)})
    resumed.load_state_dict(recorder.state_dict(), torch.device("cpu"))
    for each in (recorder, resumed):
        each.add(2, {"decoder/gradient_norm": scalar(7.0), "encoder/gradient_norm": scalar(2.0)})
        assert each.flush() == {"encoder/gradient_norm": 1.5, "decoder/gradient_norm": 6.0}


def test_means_are_taken_in_double_precision() -> None:
    recorder = Recorder()
    for step, value in enumerate((2.0**24, 1.0, 1.0, 1.0)):  # in float32 2^24 + 1 is 2^24
        recorder.add(step, {"a": scalar(value)})
    assert recorder.flush() == {"a": 4194300.0}  # (2^24 + 3) / 4 = 4194304.75, six digits


def test_small_numbers_keep_six_digits() -> None:
    recorder = Recorder()
    recorder.add(1, {"a": scalar(1.25e-9)})
    assert recorder.flush() == {"a": 1.25e-9}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named_with_its_first_step(bad: float) -> None:
    recorder = Recorder()
    for step in (11, 12, 13):
        recorder.add(
            step,
            {
                "joint/discriminator": scalar(1.0),
                "q.y/use": torch.tensor([0.5, 0.5]),
                "joint/generator": scalar(1.0 if step == 11 else bad),
                "critic/gradient_norm": scalar(bad if step == 13 else 1.0),
            },
        )
    with pytest.raises(RunError, match=rf"^the generator's loss of game `joint` is {bad} at step 12$"):
        recorder.check()
    with pytest.raises(RunError):
        recorder.flush()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("joint/discriminator", "the discriminator's loss of game `joint`"),
        ("joint/generator", "the generator's loss of game `joint`"),
        ("critic/gradient_norm", "the gradient of network `critic`"),
        ("joint/gradient_penalty", "`gradient_penalty` of `joint`"),
        ("q.y/entropy", "`entropy` of `q.y`"),
        ("prior/value", "the value of term `prior`"),
    ],
)
def test_the_sentence_is_in_the_specs_words(name: str, sentence: str) -> None:
    recorder = Recorder()
    recorder.add(1, {"a": torch.zeros(3), name: scalar(math.nan)})
    with pytest.raises(RunError) as error:
        recorder.check()
    assert str(error.value) == f"{sentence} is nan at step 1"


def test_a_finite_or_empty_recorder_passes_the_check() -> None:
    recorder = Recorder()
    recorder.check()
    recorder.add(1, {"a": scalar(3e38)})
    recorder.check()


def test_a_recorder_goes_on_where_another_stood() -> None:
    first, second = Recorder(), Recorder()
    first.add(4, {"a": scalar(1.0), "b": torch.tensor([1.0, 2.0])})
    second.load_state_dict(first.state_dict(), torch.device("cpu"))
    values = {"a": scalar(math.nan), "b": torch.tensor([3.0, 4.0])}
    first.add(5, values)
    second.add(5, values)
    for recorder in (first, second):
        with pytest.raises(RunError, match=r"^`a` of `` is nan at step 5$"):
            recorder.check()
    empty = Recorder()
    empty.load_state_dict(Recorder().state_dict(), torch.device("cpu"))
    empty.add(1, {"a": scalar(2.0)})
    assert empty.flush() == {"a": 2.0}


def test_lines_are_json_objects_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    record.append(path, {"step": 1, "a": 0.5, "b": [1.0, 2.0]})
    record.append(path, {"step": 2, "evaluation": {"a": math.nan, "b": [math.inf, 1.0], "n": 3}})
    lines = path.read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail) for line in lines] == record.read(path)
    assert record.read(path) == [
        {"step": 1, "a": 0.5, "b": [1.0, 2.0]},
        {"step": 2, "evaluation": {"a": None, "b": [None, 1.0], "n": 3}},
    ]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    record.append(path, {"step": 1})
    with path.open("a") as file:
        file.write('{"step": 2, "a"')
    assert record.read(path) == [{"step": 1}]


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        "[1]",
        '{"step": -1}',
        '{"step": 1.5}',
        '{"step": true}',
        '{"step": 9223372036854775808}',
        '{"step": 1, "a": "text"}',
        '{"step": 1, "a": NaN}',
        '{"step": 1, "a": 1e999}',
        '{"step": 1, "a": 1e200}',
        '{"step": 1, "a": [[1]]}',
        '{"step": 1, "a": {"b": 1}}',
        '{"step": 1, "epoch": null}',
        '{"step": 1, "evaluation": 3}',
        '{"step": 1, "evaluation": {"a": {}}}',
        '{"step": 1, "a": ' + "9" * 10_000 + "}",
    ],
)
def test_a_line_that_is_no_record_is_left_out_and_told(
    line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{line}\n{{"step": 2, "a": null, "b": [1, null]}}\n')
    assert record.read(path) == [{"step": 2, "a": None, "b": [1, None]}]
    assert caplog.messages == [f"{path}: damaged lines are left out: 1"]
    assert record.cut(path, 5) == 1


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(RunError, match=r"cannot read .*metrics\.jsonl: it is a device, a pipe or a socket"):
        record.read(tmp_path / "metrics.jsonl")


def test_a_cut_forgets_what_comes_after_a_step(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 2, 3):
        record.append(path, {"step": step})
    record.cut(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 2}\n'
    record.cut(path, 0)
    assert path.read_text() == ""


def test_no_file_is_no_line(tmp_path: Path) -> None:
    assert record.read(tmp_path / "metrics.jsonl") == []


def test_a_file_that_cannot_be_written_is_an_error_of_the_run(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "metrics.jsonl"
    with pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl: No such file or directory"):
        record.append(path, {"step": 1})
    with pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl: No such file or directory"):
        record.cut(path, 1)


def test_time_of_training_is_of_each_phase_its_steps_at_the_last_rate_of_it() -> None:
    """Phase 1: 200 steps at 0.5 s, as it was told last; phase 2: 100 at 0.1 s. Evaluations have no rate."""
    lines = [
        {"step": 100, "phase": 1, "seconds_per_step": 9.0},
        {"step": 200, "phase": 1, "seconds_per_step": 0.5},
        {"step": 200, "phase": 1, "evaluation": {}},
        {"step": 300, "phase": 2, "seconds_per_step": 0.1},
    ]
    assert record.training_seconds(lines) == pytest.approx(200 * 0.5 + 100 * 0.1)
    assert record.training_seconds([{"step": 7, "seconds_per_step": 2}]) == 14
    assert record.training_seconds(lines[2:3]) is None
    assert record.training_clock(lines) == ((0, 0.0), (200, 100.0), (300, 110.0))
    assert record.training_clock(lines[2:3]) == ()
