"""What stands on a real terminal while a run trains, as tmux keeps it: bar, step, time left, components in use."""

import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import PATIENCE, TINY, command

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux: apt install tmux")

BAR = re.compile(r"^([━╸╺]{10,})  step ([\d,]+)/200  ([\d,]+) examples/s  (\d+:\d\d) left$")


class Terminal:
    """A window of tmux, of a server of its own."""

    def __init__(self, socket: Path, columns: int) -> None:
        self.socket, self.columns = socket, columns

    def tmux(self, *words: str) -> str:
        found = subprocess.run(
            ["tmux", "-f", "/dev/null", "-S", str(self.socket), *words], capture_output=True, text=True, check=True
        )
        return found.stdout

    def run(self, words: list[str], folder: Path) -> None:
        shell = f"cd {shlex.quote(str(folder))}; LC_ALL=C.UTF-8 OMP_NUM_THREADS=1 {shlex.join(words)}; sleep 1000"
        self.tmux(
            "-u", "new-session", "-d", "-x", str(self.columns), "-y", "24", "env", "-u", "COLUMNS", "sh", "-c", shell
        )

    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.tmux("capture-pane", "-p").splitlines()]


@pytest.fixture
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    found = Terminal(tmp_path / "socket", request.param)
    yield found
    subprocess.run(["tmux", "-S", str(found.socket), "kill-server"], capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [80, 100], indirect=True, ids=str)
def test_a_terminal_shows_bar_step_time_left_and_components_in_use(terminal: Terminal, tmp_path: Path) -> None:
    terminal.run(
        command("train", TINY, "--run-dir", "run", "--log-every", 5, "--set", "training.steps=200", "--no-download"),
        tmp_path,
    )
    seen, until = list[tuple[str, str, int]](), time.monotonic() + PATIENCE
    while time.monotonic() < until:
        lines = terminal.lines()
        assert max(map(len, lines)) <= terminal.columns
        bars = [place for place, line in enumerate(lines) if BAR.match(line)]
        assert len(bars) <= 1  # it stays in its place
        if bars and not (seen and (lines[bars[0]], lines[bars[0] + 1]) == seen[-1][:2]):
            seen.append((lines[bars[0]], lines[bars[0] + 1], bars[0]))
        if any(line.startswith("Next: ammgraph report run") for line in lines):
            break
        time.sleep(0.02)
    else:
        pytest.fail("\n".join(terminal.lines()))
    steps = [int(found[2].replace(",", "")) for bar, _, _ in seen if (found := BAR.match(bar))]
    assert len(set(steps)) > 5
    assert steps == sorted(steps)
    assert steps[-1] == 200
    assert all(len(bar) == terminal.columns for bar, _, _ in seen)
    below = [line for _, line, _ in seen if line]
    assert below
    assert all(re.match(r"q\.y: \d+/10 in use  joint: D \d", line) for line in below)
