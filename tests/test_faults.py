"""What may go wrong with a disk, a file, a terminal or a machine: it is told in a sentence, and nothing is lost."""

import errno
import fcntl
import json
import os
import pty
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import LABELED, TINY, command, differences, environment, plan_of
from tiny_runs import Run, files_of, lines_of, state_of

from ammgraph import cli
from ammgraph.api import steps
from ammgraph.commands import show
from ammgraph.diagnostics import RunError
from ammgraph.plan.cost import bytes_text
from ammgraph.plan.cost import memory as estimated
from ammgraph.runs import checkpoint, files, run
from ammgraph.train.memory import explained
from ammgraph.train.trainer import Trainer

STEPS = ("--set", "training.steps=3")
EVERY = ("--log-every", 1, "--checkpoint-seconds", 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    words = ["train", TINY, "--run-dir", folder, *STEPS, *EVERY]
    assert cli.main([str(word) for word in words]) == 0
    return folder


def same(first: Path, second: Path) -> bool:
    return not differences(state_of(first), state_of(second)) and lines_of(first) == lines_of(second)


# ------------------------------------------------------------------------------------------------ the disk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_refuses_stops_the_run_and_leaves_what_was_saved(
    number: int, whole: Path, ammgraph: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, refused = os.fsync, []

    def refuse(file: int) -> None:
        if "step-000000002.pt" in os.readlink(f"/proc/self/fd/{file}"):
            refused.append(file)
            raise OSError(number, os.strerror(number))
        flush(file)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        code, out, err = ammgraph("train", TINY, "--run-dir", "run", *STEPS, *EVERY)
    assert (code, out, len(refused)) == (1, "", 1)
    assert err.splitlines()[-1] == (
        f"error: cannot write the checkpoint run/checkpoints/step-000000002.pt: {os.strerror(number)}; "
        "earlier checkpoints are untouched; the last good checkpoint is untouched"
    )
    assert state_of(Path("run"))["step"] == 1
    assert not list(Path("run").rglob("*.new"))
    assert ammgraph("train", "--resume", "run")[0] == 0
    assert same(Path("run"), whole)


def test_a_limit_on_the_size_of_files_is_told_and_does_not_kill(ammgraph: Run, whole: Path) -> None:
    """The system would send SIGXFSZ, which Python ignores."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        code, out, err = ammgraph("train", TINY, "--run-dir", "run", *STEPS, *EVERY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (code, out) == (1, "")
    assert "step-000000001.pt: File too large; " in err.splitlines()[-1]
    assert err.endswith("no checkpoint was written yet\n")
    assert ammgraph("train", "--resume", "run")[0] == 0
    assert same(Path("run"), whole)


def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(tmp_path: Path, whole: Path) -> None:
    """A small file system of its own, full before the third checkpoint."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("needs user namespaces")
    size = sum(path.stat().st_size for path in (whole / "checkpoints").glob("*.pt"))
    train, again = (
        " ".join(command("train", *words))
        for words in ((TINY, "--run-dir", "disk/run", *STEPS, *EVERY), ("--resume", "disk/run"))
    )
    script = f"""
    mkdir disk && mount -t tmpfs -o size={size + 80_000} tmpfs disk
    {train} 2> full.txt || echo $? > code.txt
    mount -o remount,size=100m disk
    {again} 2> again.txt && cp -r disk/run saved
    """
    words = ["unshare", "-rm", "bash", "-ec", script]
    subprocess.run(words, cwd=tmp_path, env=environment(), check=True, timeout=300, stdout=subprocess.DEVNULL)
    assert (tmp_path / "code.txt").read_text() == "1\n"
    said = (tmp_path / "full.txt").read_text().splitlines()[-1]
    assert said.startswith("error: cannot write the checkpoint disk/run/checkpoints/step-000000003.pt: No space left")
    assert "steps 2 to 3" in (tmp_path / "again.txt").read_text()
    assert same(tmp_path / "saved", whole)


@pytest.mark.parametrize("folder", ["/proc/run", "/dev/full/run", "/dev/null"])
def test_a_run_directory_that_cannot_be_written_is_told(folder: str, ammgraph: Run) -> None:
    code, out, err = ammgraph("train", TINY, "--run-dir", folder, *STEPS)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: cannot write the run directory {folder}: ")
    assert err.count("\n") == 1


def test_a_file_system_without_locks_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match=r"cannot lock .*lock: No locks available"), run.locked(tmp_path):
        pass


# ------------------------------------------------------------------------------------------------ kill and power cut


def test_what_is_renamed_was_flushed_before_and_its_folder_after(
    tmp_path: Path, ammgraph: Run, spied: list[str]
) -> None:
    """The order of what a power cut must not separate; metrics and samples are ahead of a checkpoint, never behind."""
    assert ammgraph("train", TINY, "--run-dir", "run", "--set", "training.steps=2", *EVERY)[0] == 0
    root = str(tmp_path / "run")
    assert spied[0] == f"flush {tmp_path}"  # the run directory's own entry
    renamed = [place for place, act in enumerate(spied) if act.startswith("rename")]
    for place in renamed:
        path = spied[place].removeprefix("rename ")
        aside = Path(spied[place - 1].removeprefix("flush "))
        assert aside.parent == Path(path).parent
        assert re.fullmatch(rf"[0-9a-f]{{16}}\.{re.escape(Path(path).name)}\.new", aside.name)
        assert spied[place + 1] == f"flush {Path(path).parent}"
    order = [spied[place].removeprefix(f"rename {root}/") for place in renamed]
    assert order == [
        *("spec.json", "plan.txt", "environment.json", "run.json"),
        *("checkpoints/step-000000001.sha256", "checkpoints/step-000000001.pt"),
        "samples/x-step-000000002.png",
        *("checkpoints/step-000000002.sha256", "checkpoints/step-000000002.pt"),
        "evaluation.json",
    ]
    lines = [place for place, act in enumerate(spied) if act == f"flush {root}/metrics.jsonl"]
    assert spied[lines[0] + 1] == f"flush {root}"
    made = spied.index(f"flush {root}")  # the entries of `lock` and `checkpoints`
    saved = [spied.index(f"rename {root}/checkpoints/step-00000000{step}.pt") for step in (1, 2)]
    assert made < lines[0] < saved[0] < lines[1] < saved[1]


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every flush and every renaming, in their order, by path."""
    acts: list[str] = []
    flush, replace = os.fsync, Path.replace

    def flushed(file: int) -> None:
        acts.append(f"flush {os.readlink(f'/proc/self/fd/{file}')}")
        flush(file)

    def replaced(path: Path, target: Path) -> Path:
        acts.append(f"rename {Path(target).absolute()}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", replaced)
    return acts


@pytest.mark.parametrize("written", range(4))
def test_a_run_directory_that_was_cut_short_is_begun_again(
    written: int, ammgraph: Run, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    write = files.write

    def killed(path: Path, content: bytes) -> None:
        if len(list(Path("my run").glob("*.*"))) == written:
            path.with_name(f"0123456789abcdef.{path.name}.new").write_bytes(content[:5])
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", killed)
        assert ammgraph("train", TINY, "--run-dir", "my run", *STEPS, *EVERY)[0] == 130
    code, out, err = ammgraph("train", "--resume", "my run")
    assert (code, out) == (1, "")
    assert err == (
        "error: my run is no run directory: it has no run.json; it was stopped before it began: train its spec with "
        "`--run-dir 'my run'`\n"
    )
    assert ammgraph("train", TINY, "--run-dir", "my run", *STEPS, *EVERY)[0] == 0
    assert same(Path("my run"), whole)
    assert not list(Path("my run").rglob("*.new"))


def test_a_copy_without_its_checkpoints_is_not_trained_over(ammgraph: Run, whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    before = files_of(folder)
    code, out, err = ammgraph("train", "--resume", "run", "--set", "training.steps=1")
    again = "ammgraph train run/spec.json --seed 0 --precision float32 --log-every 1"
    assert (code, out) == (1, "")
    assert err == (
        "error: run has lost its checkpoints, as a copy without them has: copy `checkpoints` too, or train it anew, in "
        f"another directory, by `{again}`\n"
    )
    assert files_of(folder) == before
    assert ammgraph(*again.split()[1:])[0] == 0
    assert not differences(state_of(Path("runs/spec-1"))["model"], state_of(whole)["model"])
    shutil.copytree(whole / "checkpoints", folder / "checkpoints")
    assert ammgraph("train", "--resume", "run")[0] == 0


@pytest.mark.parametrize("trials", [(), ("--trials", 1)])
def test_files_that_are_no_runs_are_overwritten_where_it_is_said_alone(
    trials: tuple[object, ...], ammgraph: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "environment.json").write_text("MINE")
    words = ("train", TINY, "--run-dir", "mine", *STEPS, *trials)
    code, out, err = ammgraph(*words)
    assert (code, out) == (1, "")
    assert err == (
        "error: mine holds files that are no run's (environment.json); name a folder that is new or empty, or say "
        "`--force`: files of a run's names are then replaced\n"
    )
    assert files_of(folder) == {"environment.json": b"MINE"}
    assert ammgraph(*words, "--force")[0] == 0
    code, _, err = ammgraph("train", "--resume", "mine", "--force")
    assert (code, err.startswith("error: `--force` serves `--run-dir`, which is not given")) == (1, True)


def test_what_another_run_has_left_is_no_part_of_the_new_one(ammgraph: Run, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "samples").mkdir(parents=True)
    left = ("metrics.jsonl", "evaluation.json", "logged.json", "samples/x-step-000009999.png")
    for name in left:
        (folder / name).write_text('{"step": 9999}\n')
    assert ammgraph("train", TINY, "--run-dir", "mine", *STEPS, "--force")[0] == 0
    assert not [name for name in left if (folder / name).exists() and "9999" in (folder / name).read_text()]


@pytest.mark.parametrize(("states", "force"), [("checkpoints", ()), ("best", ("--force",))])
def test_checkpoints_without_their_run_are_not_overwritten(
    ammgraph: Run, whole: Path, tmp_path: Path, states: str, force: tuple[str, ...]
) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    (folder / "run.json").unlink()
    (folder / "checkpoints").rename(folder / states)
    before = files_of(folder)
    code, out, err = ammgraph("train", TINY, "--run-dir", "run", *STEPS, *force)
    assert (code, out, err) == (1, "", "error: run holds checkpoints of a run whose run.json is gone; name another\n")
    assert files_of(folder) == before
    assert ammgraph("train", "--resume", "run")[2].startswith("error: run is no run directory: it has no run.json")


def test_trials_that_were_cut_short_are_begun_again(ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write = files.write

    def killed(path: Path, content: bytes) -> None:
        if path.name == "trials.json":
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", killed)
        assert ammgraph("train", TINY, "--trials", 1, "--run-dir", "t", *STEPS)[0] == 130
    assert ammgraph("train", TINY, "--trials", 1, "--run-dir", "t", *STEPS)[0] == 0


def test_a_finished_run_is_not_evaluated_once_more(ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ammgraph("train", TINY, "--trials", 2, "--run-dir", "t", *STEPS)
    evaluate = steps.evaluate_training
    monkeypatch.setattr(steps, "evaluate_training", lambda *_, **__: pytest.fail("evaluated"))
    again = ammgraph("train", "--resume", "t")
    assert (again[0], again[1]) == (0, first[1])
    monkeypatch.setattr(steps, "evaluate_training", evaluate)
    Path("t/seed-0/evaluation.json").unlink()
    assert ammgraph("train", "--resume", "t")[1] == first[1]


def test_a_session_with_other_threads_is_told_that_its_bits_are_others(
    ammgraph: Run, whole: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    began = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps({**began, "threads": 77}))
    code, _, err = ammgraph("train", "--resume", "run", "--set", "training.steps=4")
    assert code == 0
    assert (
        f"warning: run was trained with threads 77, now {began['threads']} (`OMP_NUM_THREADS=77` keeps them): going on "
        "gives other bits than never having stopped\n"
    ) in err


@pytest.mark.parametrize("asked", [3, 2])
def test_a_run_that_is_at_its_end_or_beyond_is_said_to_be_finished(
    asked: int, ammgraph: Run, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    code, _, err = ammgraph("train", "--resume", "run", "--set", f"training.steps={asked}")
    assert code == 0
    assert f"finished: it has trained 3 steps, and {asked} are asked for (40 an epoch)\n" in err
    assert state_of(Path("run"))["step"] == 3


@pytest.mark.parametrize("damage", [b'{"step": 2, "a"\n', b"\xff\xfe\n", b"\0\0\0\n", b"[]\n", b'{"step": "2"}\n'])
def test_a_damaged_line_of_the_metrics_is_told_and_the_others_stay(
    damage: bytes, ammgraph: Run, whole: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    path = folder / "metrics.jsonl"
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, damage, *rest]))
    code, _, err = ammgraph("train", "--resume", "run")
    assert (code, err.splitlines()[0]) == (0, "warning: run/metrics.jsonl: damaged lines were left out: 1")
    assert path.read_bytes().splitlines(keepends=True) == [first, *rest]
    assert second not in path.read_bytes()


# ------------------------------------------------------------------------------------------------ damaged checkpoints


def _swap(folder: Path, newest: Path, _: random.Random) -> None:
    """The checksum of the older one."""
    older = next(path for path in folder.glob("*.sha256") if path.stem != newest.stem)
    newest.with_suffix(".sha256").write_bytes(older.read_bytes())


def _bytes(change: Callable[[bytearray, random.Random], bytes | bytearray]) -> Callable[..., None]:
    def damage(_folder: Path, newest: Path, choose: random.Random) -> None:
        before = newest.read_bytes()
        newest.write_bytes(change(bytearray(before), choose))
        assert newest.read_bytes() != before

    return damage


def _flipped(content: bytearray, choose: random.Random) -> bytearray:
    place = choose.randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8
    return content


def _zeroed(content: bytearray, choose: random.Random) -> bytearray:
    blocks = [place for place in range(0, len(content), 512) if any(content[place : place + 512])]
    place = choose.choice(blocks)
    content[place : place + 512] = bytes(len(content[place : place + 512]))
    return content


def _repeated(content: bytearray, choose: random.Random) -> bytearray:
    place = choose.randrange(len(content))
    return content[:place] + content[max(0, place - 100) :]


DAMAGES: dict[str, Callable[..., None]] = {
    "truncated": _bytes(lambda content, choose: content[: choose.randrange(len(content))]),
    "bit flipped": _bytes(_flipped),
    "block zeroed": _bytes(_zeroed),
    "part repeated": _bytes(_repeated),
    "empty": _bytes(lambda content, choose: b""),
    "gone": lambda folder, newest, choose: newest.unlink(),
    "checksum swapped": _swap,
    "checksum gone": lambda folder, newest, choose: newest.with_suffix(".sha256").unlink(),
    "checksum cut": lambda folder, newest, choose: os.truncate(newest.with_suffix(".sha256"), choose.randrange(64)),
    "the older one's content": lambda folder, newest, choose: shutil.copy(min(folder.glob("*.pt")), newest),
}


def test_every_one_of_200_random_corruptions_is_noticed_and_the_older_one_used(tmp_path: Path, whole: Path) -> None:
    choose, noticed = random.Random(0), 0
    for number in range(200):
        kind = list(DAMAGES)[number % len(DAMAGES)]
        folder = shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints", dirs_exist_ok=True)
        DAMAGES[kind](folder, folder / "step-000000003.pt", choose)
        step, state, passed_over = checkpoint.load_newest(folder)
        assert (step, state["step"], len(passed_over)) == (2, 2, 1), kind
        assert passed_over[0].startswith("step-000000003.pt "), kind
        noticed += 1
    assert noticed == 200


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_told_and_the_run_ends_with_the_same_bits(
    kind: str, ammgraph: Run, whole: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    DAMAGES[kind](folder / "checkpoints", folder / "checkpoints" / "step-000000003.pt", random.Random(1))
    code, _, err = ammgraph("train", "--resume", "run")
    assert code == 0
    assert err.startswith("warning: step-000000003.pt ")
    assert err.splitlines()[0].endswith("; an older checkpoint is used")
    assert "steps 2 to 3" in err
    assert same(folder, whole)


@pytest.mark.parametrize("kind", [kind for kind in DAMAGES if kind not in ("gone", "the older one's content")])
def test_where_no_checkpoint_is_whole_the_run_is_left_alone(
    kind: str, ammgraph: Run, whole: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    for newest in sorted((folder / "checkpoints").glob("*.pt"), reverse=True):
        DAMAGES[kind](folder / "checkpoints", newest, random.Random(1))
    if kind == "checksum swapped":  # the second exchange took the first one's
        (folder / "checkpoints" / "step-000000002.sha256").write_text("0" * 64)
    before = files_of(folder)
    code, out, err = ammgraph("train", "--resume", "run")
    assert (code, out) == (1, "")
    said = "has no checksum: " if kind == "checksum gone" else "is damaged: "
    assert err.startswith(f"error: no usable checkpoint in run/checkpoints: step-000000003.pt {said}")
    assert f"; step-000000002.pt {said}" in err
    assert files_of(folder) == before


# ------------------------------------------------------------------------------------------------ the data


@pytest.fixture
def own_data(tmp_path: Path) -> Path:
    """Random images in a file, and a run of two steps on them that can go on."""
    chosen = np.random.default_rng(0)
    arrays = {
        name: chosen.integers(0, 256, (count, 8, 8), dtype=np.uint8)
        for name, count in (("x_train", 90), ("x_test", 30))
    }
    path = tmp_path / "data.npz"
    np.savez(path, y_train=np.arange(90) % 10, y_test=np.arange(30) % 10, **arrays)
    return path


def npz(path: Path) -> tuple[object, ...]:
    return ("--set", f"data={{dataset: npz, path: {path}, validation: 10}}", "--set", "training.steps=2")


def _changed(path: Path, **new: Callable[[np.ndarray], np.ndarray]) -> None:
    with np.load(path) as file:
        arrays = {name: new.get(name, np.array)(file[name]) for name in file.files}
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x_train": lambda x: np.where(np.arange(x.size).reshape(x.shape) == 700, 255 - x, x)}, "training images"),
        ({"x_train": lambda x: 255 - x}, "training and validation images"),
        ({"y_train": lambda y: y[::-1]}, "training and validation images"),
        ({"x_test": lambda x: x[::-1]}, "test images"),
        ({"x_train": lambda x: x[1:], "y_train": lambda y: y[1:]}, "training and validation images"),
    ],
    ids=["one pixel", "all pixels", "labels", "test", "one less"],
)
def test_data_that_have_changed_are_refused(
    change: dict[str, Callable[[np.ndarray], np.ndarray]], said: str, own_data: Path, ammgraph: Run
) -> None:
    assert ammgraph("train", TINY, "--run-dir", "run", *npz(own_data))[0] == 0
    kept = own_data.read_bytes()
    _changed(own_data, **change)
    before = files_of(Path("run"))
    code, out, err = ammgraph("train", "--resume", "run", "--set", "training.steps=3")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: the {said} are not those that run began with (now {own_data}: ")
    assert "begin a new run. To go on with other data all the same, take `data_sha256` out of run/run.json" in err
    assert files_of(Path("run")) == before
    split = "test" if said == "test images" else "train"
    assert f"warning: the {split} split is not the one that the run began with\n" in ammgraph("evaluate", "run")[2]
    own_data.write_bytes(kept)
    assert ammgraph("train", "--resume", "run", "--set", "training.steps=3")[0] == 0


def test_data_that_have_changed_before_the_first_checkpoint_are_refused_too(own_data: Path, ammgraph: Run) -> None:
    assert ammgraph("train", TINY, "--run-dir", "run", *npz(own_data))[0] == 0
    shutil.rmtree("run/checkpoints")
    _changed(own_data, x_train=lambda x: 255 - x)
    assert "are not those that run began with" in ammgraph("train", "--resume", "run")[2]


def test_data_that_have_vanished_are_named(own_data: Path, ammgraph: Run, tmp_path: Path) -> None:
    assert ammgraph("train", TINY, "--run-dir", "run", *npz(own_data))[0] == 0
    (tmp_path / "elsewhere").mkdir()
    own_data.rename(tmp_path / "elsewhere" / own_data.name)
    code, out, err = ammgraph("train", "--resume", "run", "--set", "training.steps=3")
    told = "if the data have moved, `--data-dir DIR` names the folder in which they lie now"
    assert (code, out, err) == (1, "", f"error: `data.path`: there is no {own_data}; {told}\n")
    assert ammgraph("evaluate", "run", "--data-dir", "elsewhere")[0] == 0


def test_data_that_have_vanished_are_named_as_the_run_knows_them(own_data: Path, ammgraph: Run, tmp_path: Path) -> None:
    relative = Path("sets") / own_data.name
    relative.parent.mkdir()
    own_data.rename(relative)
    assert ammgraph("train", TINY, "--run-dir", "run", *npz(relative))[0] == 0
    (tmp_path / "elsewhere").mkdir()
    relative.parent.rename(tmp_path / "elsewhere" / "sets")
    for where in ((), ("--data-dir", "elsewhere/sets")):
        code, _, err = ammgraph("evaluate", "run", *where)
        assert (code, f"names the folder in which `{relative}` lies now\n" in err) == (1, True), err
    assert ammgraph("evaluate", "run", "--data-dir", "elsewhere")[0] == 0


def test_data_that_vanish_while_training_are_in_memory_and_evaluated_there(
    own_data: Path, ammgraph: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Trainer.advance

    def vanished(trainer: Trainer) -> None:
        own_data.unlink(missing_ok=True)
        advance(trainer)

    monkeypatch.setattr(Trainer, "advance", vanished)
    code, out, _ = ammgraph("train", TINY, "--run-dir", "run", *npz(own_data))
    assert (code, ", on 30 test images\n" in out) == (0, True)
    assert state_of(Path("run"))["step"] == 2
    code, _, err = ammgraph("evaluate", "run")
    assert (code, err.startswith(f"error: `data.path`: there is no {own_data}; if the data have moved, ")) == (1, True)


def test_a_run_that_is_moved_with_its_data_finds_them_by_data_dir(
    own_data: Path, ammgraph: Run, tmp_path: Path
) -> None:
    for place, written in (("old", "data.npz"), ("absolute", str(tmp_path / "absolute" / "data.npz"))):
        (tmp_path / place).mkdir()
        shutil.copy(own_data, tmp_path / place)
        os.chdir(tmp_path / place)
        assert ammgraph("train", TINY, "--run-dir", "run", *npz(Path(written)))[0] == 0
        os.chdir(tmp_path)
        (tmp_path / place).rename(tmp_path / f"{place}-moved")
        moved = f"{place}-moved"
        code, out, err = ammgraph("evaluate", f"{moved}/run", "--data-dir", moved)
        assert (code, "test images" in out, err) == (0, True, "")
        longer = ("--set", "training.steps=3")
        assert ammgraph("train", "--resume", f"{moved}/run", "--data-dir", moved, *longer)[0] == 0


def test_the_data_that_a_resumed_run_is_given_are_evaluated_too(own_data: Path, ammgraph: Run, tmp_path: Path) -> None:
    assert ammgraph("train", TINY, "--run-dir", "run", *npz(own_data))[0] == 0
    own_data.rename(tmp_path / "elsewhere.npz")
    words = ("--set", "training.steps=3", "--set", "data.path=elsewhere.npz")
    code, out, err = ammgraph("train", "--resume", "run", *words)
    assert (code, "test images" in out) == (0, True), err


def test_a_run_that_does_not_know_its_data_goes_on(ammgraph: Run, whole: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(whole, tmp_path / "run")
    path = folder / "run.json"
    before = run.read_options(folder)
    assert set(before.data_sha256 or ()) == {"train", "validation"}
    run_json = path.read_text()
    start = run_json.index(',\n "data_sha256"')
    path.write_text(run_json[:start] + "\n}\n")
    assert run.read_options(folder).data_sha256 is None
    assert ammgraph("train", "--resume", "run")[0] == 0


# ------------------------------------------------------------------------------------------------ signals


def test_a_supervisor_that_asks_twice_is_waited_for() -> None:
    with steps.stop_signals() as received:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        assert received[0] == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_what_is_ignored_stays_ignored() -> None:
    """As `nohup` does it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with steps.stop_signals() as received:
            signal.raise_signal(signal.SIGHUP)
            assert received == []
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_the_last_step_saves_and_the_evaluation_is_made_up_for(
    number: signal.Signals, ammgraph: Run, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Trainer.advance

    def last(trainer: Trainer) -> None:
        advance(trainer)
        if trainer.step == 3:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", last)
        code, out, err = ammgraph("train", TINY, "--trials", 2, "--run-dir", "t", *STEPS, *EVERY)
    assert (code, out) == (128 + number, "")
    assert "stopped before the evaluation; go on with\n  ammgraph train --resume t/seed-0\n" in err
    assert not Path("t/seed-1").exists()
    assert ammgraph("train", "--resume", "t/seed-0")[0] == 0
    assert files_of(Path("t/seed-0"))["evaluation.json"] == files_of(whole)["evaluation.json"]
    assert same(Path("t/seed-0"), whole)


def test_a_closed_terminal_saves_and_exits_129(tmp_path: Path) -> None:
    """The progress bar's screen is gone; what is written to it goes nowhere."""
    ours, theirs = pty.openpty()

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    words = command("train", LABELED, "--run-dir", "run", "--set", "training.steps=100000", "--log-every", 1)
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environment() | {"TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs,
        preexec_fn=own_terminal,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"in use" not in seen:
        seen += os.read(ours, 10_000)
    os.close(ours)
    assert process.wait(timeout=300) == 129
    assert checkpoint.load_newest(tmp_path / "run" / "checkpoints")[0] > 0


def test_progress_that_cannot_be_written_keeps_nobody_from_training(tmp_path: Path, whole: Path) -> None:
    words = command("train", TINY, "--run-dir", "run", *STEPS, *EVERY)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=full, timeout=300, check=False
        )
    assert done.returncode == 0
    assert done.stdout.startswith(b"clustering error of y, one-to-one, by q(y|x)  ")
    assert same(tmp_path / "run", whole)


# ------------------------------------------------------------------------------------------------ memory, clock


def test_out_of_memory_names_the_batch_size_and_what_the_plan_estimated(tmp_path: Path) -> None:
    """The machine has the memory, the process may not take it."""
    more = ("training.batch_size=1600", "networks.decoder.layers.h.channels=20000")
    code = (
        "import resource, sys, ammgraph; from ammgraph import cli\n"
        "ammgraph.fit(ammgraph.load_spec(sys.argv[2], ['training.steps=1']))\n"  # what is loaded once is loaded
        "taken = resource.getpagesize() * int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (taken + (1 << 26),) * 2)\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, "train", TINY, *STEPS, *(word for value in more for word in ("--set", value))]
    done = subprocess.run(
        [str(word) for word in words], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=600
    )
    said = done.stderr.splitlines()[-1]
    assert done.returncode == 1, done.stderr
    assert said.startswith("error: out of memory while training step 1 (")
    total = bytes_text(estimated(plan_of(TINY, *more)).total)
    assert f"; with `training.batch_size` 1,600 a step is estimated to need {total} (weights with gradients" in said
    assert said.endswith("or begin another run with smaller batches; no checkpoint was written yet")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has\nmore lines"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
)
def test_every_way_to_run_out_of_memory_is_known(error: Exception, ammgraph: Run, monkeypatch) -> None:
    plan = plan_of(TINY)
    with pytest.raises(RunError, match="out of memory while testing") as caught, explained(plan, "float32", "testing"):
        raise error
    assert "`training.batch_size` 40 " in str(caught.value)
    assert "\n" not in str(caught.value)

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(show, "compiled", fail)
    code, out, err = ammgraph("show", TINY)
    assert (code, out) == (1, "")
    assert err.startswith("error: out of memory")


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explained(plan_of(TINY), "float32", "testing"):
        raise RuntimeError("shapes do not match")


def test_a_clock_that_goes_backwards_changes_nothing(
    ammgraph: Run, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    assert ammgraph("train", TINY, "--run-dir", "run", *STEPS, *EVERY)[0] == 0
    assert same(Path("run"), whole)
    for name, seconds in (("step-000000002", 2_000_000_000), ("step-000000003", 0)):
        for suffix in (".pt", ".sha256"):
            os.utime(Path("run/checkpoints") / f"{name}{suffix}", (seconds, seconds))
    assert checkpoint.load_newest(Path("run/checkpoints"))[0] == 3
    assert [run.new_folder(Path("runs"), "a").name for _ in range(2)] == ["a-1", "a-2"]
