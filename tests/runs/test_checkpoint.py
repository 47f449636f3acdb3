"""Checkpoints: whole or not at all, the newest valid one is found, nothing but tensors and plain data is loaded."""

import errno
import hashlib
import os
import pickle
import random
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from ammgraph.diagnostics import RunError
from ammgraph.runs import checkpoint, files


def state(step: int) -> dict[str, object]:
    return {"step": step, "weights": torch.full((50,), float(step)), "names": ["a", "b"]}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path / "checkpoints", 7, state(7))
    assert path.name == "step-000000007.pt"
    step, found, passed_over = checkpoint.load_newest(tmp_path / "checkpoints")
    assert (step, found["step"], found["names"], passed_over) == (7, 7, ["a", "b"], [])
    assert torch.equal(found["weights"], torch.full((50,), 7.0))


def test_the_checksum_is_that_of_the_file(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, state(1))
    assert path.with_suffix(".sha256").read_text() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_the_newest_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 30, 1000):
        checkpoint.save(tmp_path, step, state(step))
    assert names(tmp_path) == [
        "step-000000030.pt",
        "step-000000030.sha256",
        "step-000001000.pt",
        "step-000001000.sha256",
    ]


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for step in (999_999_999, 1_000_000_000):
        checkpoint.save(tmp_path, step, state(step))
    assert checkpoint.load_newest(tmp_path)[0] == 1_000_000_000


def test_a_file_without_its_checksum_does_not_count(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, state(1))
    path = checkpoint.save(tmp_path, 2, state(2))
    path.with_suffix(".sha256").unlink()
    assert checkpoint.load_newest(tmp_path)[::2] == (
        1,
        [
            "step-000000002.pt has no checksum: step-000000002.sha256 is missing. Copy it too or, if the file is "
            f"whole, write it in {tmp_path} by `sha256sum step-000000002.pt > step-000000002.sha256`"
        ],
    )
    subprocess.run("sha256sum step-000000002.pt > step-000000002.sha256", cwd=tmp_path, shell=True, check=True)
    assert checkpoint.load_newest(tmp_path)[::2] == (2, [])


def test_a_checksum_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, state(1)).with_suffix(".sha256")
    path.unlink()
    path.mkdir()
    with pytest.raises(RunError, match=r"step-000000001\.pt is damaged: its checksum cannot be read: Is a directory"):
        checkpoint.load_newest(tmp_path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_one_whose_numbers_are_not_finite_is_passed_over(number: float, tmp_path: Path) -> None:
    """An older version of ammgraph may have saved it."""
    checkpoint.save(tmp_path, 1, state(1))
    checkpoint.save(tmp_path, 2, {"step": 2, "nested": [{"weights": torch.tensor([0.0, number])}]})
    assert checkpoint.load_newest(tmp_path)[::2] == (
        1,
        ["step-000000002.pt holds numbers that are not finite (`nested/0/weights`): training had diverged"],
    )


@pytest.mark.parametrize(
    ("place", "number"),
    [
        (("optimizers", "critic", "state", 0, "exp_avg_sq"), -1e-9),  # Adam's second moment
        (("optimizers", "critic", "state", 0, "square_avg"), -1.0),  # RMSprop's
        (("optimizers", "critic", "state", 0, "step"), -1.0),
        (("model", "networks.critic.h.running_variance"), -1e-9),
    ],
)
def test_one_with_a_negative_mean_of_squares_is_passed_over(
    place: tuple[str | int, ...], number: float, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path, 1, state(1))
    value: Any = torch.tensor([0.0, number])
    for key in reversed(place):
        value = {key: value}
    checkpoint.save(tmp_path, 2, {"step": 2, **value})
    where = "/".join(str(key) for key in place)
    assert checkpoint.load_newest(tmp_path)[::2] == (
        1,
        [
            f"step-000000002.pt holds negative numbers where none can be (`{where}`): it was changed, or another "
            "program wrote it"
        ],
    )


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    for step, suffix in ((2, ".pt"), (3, ".sha256")):
        checkpoint.save(tmp_path, 1, state(1))
        path = checkpoint.save(tmp_path, step, state(step)).with_suffix(suffix)
        path.unlink()
        os.mkfifo(path)
        _, _, (problem, *_) = checkpoint.load_newest(tmp_path)
        assert problem.endswith("it is a device, a pipe or a socket, no file")


def test_files_that_are_copied_without_their_checksums_are_neither_used_nor_taken_for_none(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, state(1)).with_suffix(".sha256").unlink()
    assert checkpoint.has_checkpoint(tmp_path)
    with pytest.raises(RunError, match=r"step-000000001\.pt has no checksum: step-000000001\.sha256 is missing"):
        checkpoint.load_newest(tmp_path)


def test_a_checkpoint_under_the_name_of_another_step_is_refused(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 1, state(1))
    write(tmp_path, 2, path.read_bytes())
    assert checkpoint.load_newest(tmp_path)[::2] == (1, ["step-000000002.pt is no checkpoint of step 2"])


def test_a_folder_that_is_absent_or_empty_holds_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        assert not checkpoint.has_checkpoint(folder)
        with pytest.raises(RunError, match=r"no usable checkpoint in .*: there is none"):
            checkpoint.load_newest(folder)


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_truncated_newest_one_is_passed_over(length: int, tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, state(1))
    path = checkpoint.save(tmp_path, 2, state(2))
    path.write_bytes(path.read_bytes()[:length])
    step, found, passed_over = checkpoint.load_newest(tmp_path)
    assert (step, found["step"]) == (1, 1)
    assert passed_over == ["step-000000002.pt is damaged: its checksum differs"]


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, state(1))
    path = checkpoint.save(tmp_path, 2, state(2))
    whole, choose = path.read_bytes(), random.Random(0)
    for _ in range(100):
        place = choose.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert checkpoint.load_newest(tmp_path)[0] == 1
    path.write_bytes(whole)
    assert checkpoint.load_newest(tmp_path)[0] == 2


def test_a_damaged_checksum_is_noticed(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, state(1))
    path = checkpoint.save(tmp_path, 2, state(2))
    path.with_suffix(".sha256").write_bytes(b"\xff\xfe")
    assert checkpoint.load_newest(tmp_path)[0] == 1


def test_a_file_that_vanished_is_passed_over(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, state(1))
    checkpoint.save(tmp_path, 2, state(2)).unlink()
    assert checkpoint.load_newest(tmp_path)[2] == ["step-000000002.pt was not finished, or was removed"]


def test_where_none_is_usable_the_error_says_why_of_each(tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint.save(tmp_path, step, state(step)).write_bytes(b"nothing")
    assert checkpoint.has_checkpoint(tmp_path)
    with pytest.raises(RunError) as error:
        checkpoint.load_newest(tmp_path)
    assert str(error.value) == (
        f"no usable checkpoint in {tmp_path}: step-000000002.pt is damaged: its checksum differs; "
        "step-000000001.pt is damaged: its checksum differs"
    )


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("exploded",))


def write(folder: Path, step: int, content: bytes) -> None:
    (folder / f"step-{step:09d}.pt").write_bytes(content)
    (folder / f"step-{step:09d}.sha256").write_text(hashlib.sha256(content).hexdigest())


def test_a_pickle_bomb_is_refused_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"step": 3, "weights": Bomb()}, tmp_path / "bomb")
    write(tmp_path, 3, (tmp_path / "bomb").read_bytes())
    with pytest.raises(RunError, match=r"step-000000003\.pt is no checkpoint: UnpicklingError"):
        checkpoint.load_newest(tmp_path)
    write(tmp_path, 3, pickle.dumps(Bomb()))
    with pytest.raises(RunError, match=r"step-000000003\.pt is no checkpoint"):
        checkpoint.load_newest(tmp_path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(10**12),
        torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (10**12,), check_invariants=True),
        torch.empty(10**12, device="meta"),
    ],
    ids=["expanded", "sparse", "meta"],
)
def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path, tensor: torch.Tensor) -> None:
    torch.save({"step": 3, "nested": [{"weights": tensor}]}, tmp_path / "huge")
    write(tmp_path, 3, (tmp_path / "huge").read_bytes())
    with pytest.raises(RunError, match=r"step-000000003\.pt is no checkpoint: (ValueError|UserWarning)"):
        checkpoint.load_newest(tmp_path)


def test_an_archive_that_grows_when_it_is_read_is_refused(tmp_path: Path) -> None:
    torch.save({"step": 3, "weights": torch.zeros(1 << 22)}, tmp_path / "plain")
    bomb = tmp_path / "bomb"
    with zipfile.ZipFile(tmp_path / "plain") as plain, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for part in plain.infolist():
            packed.writestr(part.filename, plain.read(part))
    assert bomb.stat().st_size < 1 << 17
    write(tmp_path, 3, bomb.read_bytes())
    with pytest.raises(RunError, match=r"step-000000003\.pt is no checkpoint: ValueError"):
        checkpoint.load_newest(tmp_path)


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list")
    write(tmp_path, 3, (tmp_path / "list").read_bytes())
    with pytest.raises(RunError, match=r"step-000000003\.pt is no checkpoint"):
        checkpoint.load_newest(tmp_path)
    write(tmp_path, 3, b"no archive")
    with pytest.raises(RunError, match=r"step-000000003\.pt is no checkpoint"):
        checkpoint.load_newest(tmp_path)


def test_a_full_disk_leaves_the_earlier_ones_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, state(1))
    before = names(tmp_path)

    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="No space left on device; earlier checkpoints are untouched"):
            checkpoint.save(tmp_path, 2, state(2))
    assert names(tmp_path) == before
    assert checkpoint.load_newest(tmp_path)[0] == 1


def test_a_crash_after_the_checksum_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file = files.write

    def crash(path: Path, content: bytes) -> None:
        if path.suffix == ".pt":
            raise KeyboardInterrupt
        write_file(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", crash)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path / "first", 1, state(1))
    assert not checkpoint.has_checkpoint(tmp_path / "first")
    checkpoint.save(tmp_path, 1, state(1))
    with monkeypatch.context() as patch:
        patch.setattr(files, "write", crash)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, 2, state(2))
    assert checkpoint.load_newest(tmp_path)[::2] == (1, ["step-000000002.pt was not finished, or was removed"])
    checkpoint.save(tmp_path, 3, state(3))
    assert [name for name in names(tmp_path) if name != "first"] == [
        "step-000000001.pt",
        "step-000000001.sha256",
        "step-000000003.pt",
        "step-000000003.sha256",
    ]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write the checkpoint"):
        checkpoint.save(tmp_path / "file" / "checkpoints", 1, state(1))


def test_a_run_that_goes_on_before_damaged_ones_keeps_its_own(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 10, state(10))
    for step in (20, 30):
        write(tmp_path, step, b"damaged")
    assert checkpoint.load_newest(tmp_path)[0] == 10
    checkpoint.save(tmp_path, 15, state(15))
    assert checkpoint.load_newest(tmp_path)[::2] == (15, [])
    assert [name for name in names(tmp_path) if name.endswith(".pt")] == ["step-000000010.pt", "step-000000015.pt"]
