"""What is seen of a training: two lines in their place on a terminal of any width, a line after another elsewhere."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
import time
from pathlib import Path
from threading import Event

import pytest
from tiny import ALTERNATING, LABELED, PATIENCE, TINY, command, data_of, environment, trainer_of
from tiny_runs import lines_of

from ammgraph.commands import progress
from ammgraph.commands.progress import clock, display, fitted, told
from ammgraph.evaluation.evaluate import evaluate
from ammgraph.train.trainer import fit


def test_a_clock() -> None:
    assert [clock(seconds) for seconds in (0, 59.4, 59.6, 3599, 3600, 36061)] == [
        "0:00",
        "0:59",
        "1:00",
        "59:59",
        "1:00:00",
        "10:01:01",
    ]


@pytest.mark.parametrize(("path", "overrides"), [(TINY, ()), (TINY, (ALTERNATING,)), (LABELED, ())])
@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_shown_on_a_terminal_and_in_a_file(
    path: Path, overrides: tuple[str, ...], terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    it = trainer_of(path, *overrides)
    with display(it) as (show, first):
        fit(
            it,
            tmp_path,
            evaluate=lambda model: evaluate(model, it.plan, data_of(path).train),
            report=show,
            glimpse=first,
        )
    text = screen.getvalue()
    games = [game.name for game in it.plan.games]
    assert all(f"{game}: D " in text for game in games)
    assert "examples/s" in text
    assert "entropy" in text
    assert "step 13/13" in text
    assert ("q.y: " in text and "/10 in use" in text) == (path == TINY)
    measure = "y/classification_error" if path == LABELED else "y/one_to_one_error"
    assert f"  epoch {it.epoch:.1f}: {measure} " in text
    assert ("y/components_in_use " in text) == (path == TINY)
    assert "(1,600 images)" in text
    if not terminal:
        assert "\x1b" not in text
        first_line, last_line = text.splitlines()[:2]
        assert first_line.startswith("step 1/13  epoch 0.")
        assert last_line.startswith(f"step 13/13  epoch {it.epoch:.1f}  ")
        assert last_line.endswith("0:00 left")


def on_terminal(columns: int, folder: Path, *words: object) -> list[str]:
    """The lines that a command draws in a pseudo terminal, each that stood there at some time, without its colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    settings = {name: value for name, value in environment().items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        command(*words), cwd=folder, env={**settings, "TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        drawn = b""
        try:
            while found := os.read(ours, 65536):
                drawn += found
        except OSError:  # Linux ends a terminal that nobody writes to with an error
            pass
    os.close(ours)
    assert process.returncode == 0, drawn.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode("utf-8"))
    return [line for line in re.split(r"[\r\n]+", text) if line]


@pytest.mark.parametrize("columns", [80, 100])
def test_a_terminal_shows_bar_step_rate_time_and_components_on_two_lines(columns: int, tmp_path: Path) -> None:
    lines = on_terminal(columns, tmp_path, "train", TINY, "--run-dir", "run", "--no-download")
    bars = [line for line in lines if "━" in line]
    assert all(len(line) == columns for line in bars)
    assert re.fullmatch(r"[━╸╺]{10,}  step 0/13  -:-- left", bars[0])
    assert re.fullmatch(r"[━╸╺]{10,}  step 13/13  [\d,]+ examples/s  0:00 left", bars[-1])
    below = [line for line in lines if " in use  joint: D " in line]
    assert all(len(line) <= columns and re.match(r"q\.y: \d+/10 in use  joint: D \d", line) for line in below)
    assert lines.index(below[0]) < next(place for place, line in enumerate(lines) if "step 13/13" in line)
    assert [line["step"] for line in lines_of(tmp_path / "run") if "evaluation" not in line] == [13]


def test_the_first_step_is_shown_and_written_nowhere(tmp_path: Path) -> None:
    shown: list[int] = []
    glimpsed: list[dict[str, object]] = []
    it = trainer_of(TINY)
    fit(it, tmp_path, report=lambda line: shown.append(line["step"]), glimpse=glimpsed.append, log_every=5)
    (line,) = glimpsed
    assert (shown, line["step"]) == ([5, 10, 13], 1)
    assert [line["step"] for line in lines_of(tmp_path)] == shown
    alone = trainer_of(TINY)
    (tmp_path / "alone").mkdir()
    fit(alone, tmp_path / "alone", log_every=5)
    assert lines_of(tmp_path / "alone") == lines_of(tmp_path)
    assert told(it, line)[0].startswith("q.y: ")


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (20, "one  two  three"),
        (15, "one  two  three"),
        (14, "one  two …"),
        (10, "one  two …"),
        (9, "one …"),
        (5, "one …"),
        (2, "on"),
    ],
)
def test_a_line_is_cut_from_the_right(width: int, line: str) -> None:
    assert fitted(["one", "two", "three"], width) == line


def test_nothing_is_being_drawn_when_the_display_has_ended() -> None:
    """Python aborts where a thread still writes when it shuts down."""
    begun, under_way = Event(), list[bool]()

    def slow() -> None:
        under_way.append(True)
        begun.set()
        time.sleep(0.3)
        under_way.pop()

    with progress._again_and_again(slow):
        assert begun.wait(PATIENCE)
    assert under_way == []
