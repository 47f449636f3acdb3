"""Closed streams and terminals with few characters are no error, and no name of a stranger moves a cursor."""

import io
import os
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import TINY, command, environment
from tiny_runs import Run

from ammgraph import terminal
from ammgraph.diagnostics import RunError

NEW = ("--q", "q(x) q(z|x)", "--p", "p(z) p(x|z)", "--image", "1x8x8")


def shell(script: str, folder: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment() | more, capture_output=True, check=False
    )


def words(*arguments: object) -> str:
    return shlex.join(command(*arguments))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ümlaut, 日本, 🦊", "plain, ümlaut, 日本, 🦊"),
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\rb\x7f\x9b", "a\\rb\\x7f\\x9b"),
        ("a\u202eb\u2066\u2028", "a\\u202eb\\u2066\\u2028"),
        ("caf\udce9", "caf\\udce9"),
        ("two\n\tlines", "two\n\tlines"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert terminal.escaped(text) == shown
    assert terminal.escaped(shown) == shown
    assert terminal.one_line(text) == shown.replace("\n", "\\n").replace("\t", "\\t")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error_and_no_file_gets_what_is_printed(closed: str, tmp_path: Path) -> None:
    done = shell(f"{words('new', 'a.yaml', *NEW)} {closed}; echo $?", tmp_path)
    assert done.stdout.endswith(b"0\n")
    assert done.stderr == b""
    assert shell(words("new", "b.yaml", *NEW), tmp_path).returncode == 0
    written, expected = ((tmp_path / name).read_text() for name in ("a.yaml", "b.yaml"))
    assert written == expected.replace("b.yaml", "a.yaml").replace('title: "b"', 'title: "a"')
    assert shell(f"{words('validate', 'absent.yaml')} {closed}", tmp_path).returncode == 1


def test_a_stream_that_may_not_be_written_is_told_and_no_bug(tmp_path: Path) -> None:
    done = shell(f"{words('validate', TINY)} 1</dev/null", tmp_path)
    assert (done.returncode, done.stderr) == (1, b"error: cannot write the output: Bad file descriptor\n")
    assert shell(f"{words('validate', TINY)} 2</dev/null", tmp_path).returncode == 0


def test_a_terminal_without_a_character_is_shown_its_code(tmp_path: Path) -> None:
    spec = tmp_path / "fox.yaml"
    spec.write_text(TINY.read_text().replace("title: tiny", "title: 🦊 tiny é"), encoding="utf-8")
    for coding in ("latin-1", "ascii:strict"):
        done = shell(words("show", spec, "--section", "cost"), tmp_path, PYTHONIOENCODING=coding)
        assert (done.returncode, done.stderr) == (0, b"")
        done = shell(words("show", spec), tmp_path, PYTHONIOENCODING=coding)
        assert done.stdout.startswith("\\U0001f98a tiny é\n".encode("latin-1") if coding == "latin-1" else b"\\U0001f9")
        assert (done.returncode, done.stderr) == (0, b"")


def test_names_that_are_not_utf_8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.yaml"
    with open(path, "wb") as file:
        file.write(TINY.read_bytes())
    done = subprocess.run(
        [*command("validate"), path, path + b"2"], capture_output=True, env=environment(), check=False
    )
    assert done.returncode == 1
    assert b"caf\\udce9.yaml: valid; " in done.stdout
    assert b"caf\\udce9.yaml2: 1 error" in done.stdout
    assert b"Traceback" not in done.stderr


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose name, as that of its spec, is no UTF-8."""
    folder = tmp_path_factory.mktemp("odd")
    spec, run = os.fsencode(folder) + b"/caf\xe9.yaml", os.fsencode(folder) + b"/r\xe9"
    with open(spec, "wb") as file:
        file.write(TINY.read_bytes())
    words = [*command("train"), spec, "--run-dir", run, "--set", "training.steps=2"]
    done = subprocess.run(words, capture_output=True, env=environment(), check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    return Path(os.fsdecode(run))


@pytest.mark.parametrize(
    "words",
    [
        *(("evaluate", "RUN"), ("evaluate", "RUN", "--format", "json"), ("report", "RUN", "--no-map")),
        *(("compare", "RUN"), ("copy", "amm_digits", "RUN.yaml")),
        *(("show", "RUN", "--section", "games"), ("validate", "RUN"), ("diff", "RUN", "RUN"), ("export", "RUN")),
        *(("sample", "RUN", "--output", "RUN/s.png"), ("encode", "RUN", "images.npz", "--output", "RUN/c.csv")),
        ("train", "--resume", "RUN", "--set", "training.steps=3"),
        ("new", "RUN-new.yaml", "--q", "q(x) q(z|x)", "--p", "p(z) p(x|z)"),
        ("train", TINY, "--run-dir", "RUN-trials", "--trials", 1, "--set", "training.steps=1"),
    ],
    ids=lambda words: " ".join(map(str, words[:2])),
)
def test_a_run_whose_name_is_not_utf_8_is_one_as_any_other(
    words: tuple[object, ...], odd_run: Path, ammgraph: Run
) -> None:
    np.savez("images.npz", images=np.zeros((2, 8, 8), np.uint8))
    code, out, err = ammgraph(*(str(word).replace("RUN", str(odd_run)) for word in words))
    assert (code, "Traceback" in out + err) == (0, False), err


@pytest.mark.parametrize("trials", [(), ("--trials", 1)])
def test_data_in_a_folder_whose_name_is_not_utf_8_are_refused_before_they_are_trained_on(
    trials: tuple[object, ...], ammgraph: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    monkeypatch.chdir(folder)
    np.savez("data.npz", x_train=np.full((90, 8, 8), 255, np.uint8), y_train=np.arange(90) % 10)
    own = ("--set", "data={dataset: npz, path: data.npz}", "--set", "training.steps=1", "--run-dir", tmp_path / "run")
    told = f'this path is no UTF-8: "path": "{tmp_path}/caf\\udce9/data.npz"; rename that folder or file'
    code, out, err = ammgraph("train", TINY, *own, *trials)
    assert (code, out, told in err) == (1, "", True), err
    code, out, err = ammgraph("train", TINY, "--data-dir", folder, *own, *trials)
    assert (code, out, "this path is no UTF-8" in err) == (1, "", True), err


def test_classes_whose_names_are_not_utf_8_are_trained_reported_and_encoded(ammgraph: Run, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name in (b"a", b"caf\xe9"):
        folder = tmp_path / "data" / os.fsdecode(name)
        folder.mkdir(parents=True)
        for number in range(30):
            pixels = generator.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    own = ("--set", "data={dataset: folder, path: data}", "--set", "training.steps=1", "--run-dir", "run")
    for arguments in (
        ("train", TINY, *own),
        ("report", "run", "--no-map"),
        ("encode", "run", "data", "--output", "codes.csv"),
    ):
        code, out, err = ammgraph(*arguments)
        assert (code, "Traceback" in out + err) == (0, False), err
    assert "caf\\udce9/0.png" in Path("codes.csv").read_text(encoding="utf-8")


def test_no_name_reaches_the_terminal_as_a_control_character(ammgraph: Run) -> None:
    for arguments, expected in (
        (("validate", "\x1b[2J.yaml"), 1),
        (("evaluate", "\x1b[2J\nerror: fake"), 1),
        (("train", TINY, "--seed", "\x1b[2J"), 2),
    ):
        code, out, err = ammgraph(*arguments)
        assert code == expected
        assert "\x1b" not in out + err
        assert "\\x1b[2J" in out + err
        assert "\nerror: fake" not in err


def test_a_warning_is_one_line_without_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.guarded():
        warnings.simplefilter("always")
        warnings.warn("odd\x1b", UserWarning, stacklevel=1)
        print("a result")
    assert capsys.readouterr() == ("a result\n", "warning: odd\\x1b\n")


def test_control_sequences_of_our_own_go_below_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with terminal.guarded():
        print("\x1b[1m", file=sys.stderr)
        print("\x1b[2m", file=terminal.screen(sys.stderr))
    assert file.getvalue() == "\\x1b[1m\n\x1b[2m\n"
    assert sys.stderr is file


def test_a_result_that_is_not_written_is_an_error_a_reader_that_has_gone_is_none() -> None:
    class Full(io.StringIO):
        error: OSError = OSError(28, "No space left on device")

        def write(self, _: str) -> int:
            raise self.error

        def fileno(self) -> int:
            return taken

    taken = os.open(os.devnull, os.O_WRONLY)
    before, sys.stdout = sys.stdout, Full()
    try:
        with terminal.guarded(), pytest.raises(RunError, match="cannot write the output: No space left on device"):
            print("a result")
        Full.error = BrokenPipeError()
        with terminal.guarded(), pytest.raises(BrokenPipeError):
            print("a result")
    finally:
        sys.stdout = before
        os.close(taken)
