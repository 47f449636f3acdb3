import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ammgraph.data.on_disk import OnDisk, blocks
from ammgraph.diagnostics import RunError

VALUES = np.random.default_rng(0).random((50, 3)).astype(np.float32)


def as_tensors(rows: np.ndarray, places: np.ndarray | None = None) -> torch.Tensor:
    return torch.from_numpy(rows.astype(np.float64))[:, :, None, None]


@pytest.fixture
def on_disk(tmp_path: Path) -> OnDisk:
    np.save(tmp_path / "x.npy", VALUES)
    return OnDisk.of(np.load(tmp_path / "x.npy", mmap_mode="r"), as_tensors)


def test_what_is_taken_is_what_a_tensor_gives(on_disk: OnDisk) -> None:
    tensor = as_tensors(VALUES)
    assert (on_disk.shape, on_disk.dtype, len(on_disk)) == (tensor.shape, tensor.dtype, 50)
    for at in (slice(None), slice(3, 9), torch.tensor([7, 0, 7, 49])):
        assert torch.equal(on_disk[at], tensor[at])


def test_a_choice_of_a_choice_is_in_its_order(on_disk: OnDisk) -> None:
    first, second = torch.randperm(50)[:20], torch.tensor([4, 4, 19, 0])
    chosen = on_disk.at(first).at(second)
    assert torch.equal(chosen[:], as_tensors(VALUES)[first][second])
    assert len(on_disk.at(first)) == 20


def test_a_function_sees_what_is_taken(on_disk: OnDisk) -> None:
    halved = on_disk.through(lambda values, _: (values / 2).float())
    assert halved.dtype == torch.float32
    assert torch.equal(halved.at(torch.arange(5))[:], (as_tensors(VALUES)[:5] / 2).float())


def test_what_is_taken_may_be_changed_and_the_file_stays(on_disk: OnDisk) -> None:
    on_disk[:].zero_()
    on_disk[torch.arange(3)].zero_()
    assert torch.equal(on_disk[:], as_tensors(VALUES))


def test_blocks_are_all_examples_in_order(on_disk: OnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ammgraph.data.on_disk._BLOCK", 24)
    found = list(blocks(on_disk))
    assert [len(block) for block in found] == [8] * 6 + [2]
    assert torch.equal(torch.cat(found), as_tensors(VALUES))
    assert [len(block) for block in blocks(as_tensors(VALUES))] == [50]


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow_with_what_was_read(tmp_path: Path) -> None:
    array = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (2**21, 64))  # 512 MiB, on no disk
    del array
    on_disk = OnDisk.of(np.load(tmp_path / "x.npy", mmap_mode="r"), as_tensors)
    before = resident()
    for _ in range(200):
        on_disk[torch.randint(0, 2**21, (1000,))]
    assert resident() - before < 2**27


def test_a_file_that_becomes_shorter_is_told(on_disk: OnDisk, tmp_path: Path) -> None:
    os.truncate(tmp_path / "x.npy", 300)
    with pytest.raises(RunError, match=r"x\.npy has become shorter while it was read"):
        on_disk[torch.tensor([49])]


def test_the_rows_that_are_checked_know_their_place(tmp_path: Path) -> None:
    np.save(tmp_path / "long.npy", np.arange(2.0**21).reshape(-1, 2**10))
    seen = []

    def convert(rows: np.ndarray, places: np.ndarray) -> torch.Tensor:
        seen.append((places[0], len(places), rows[0, 0]))
        return as_tensors(rows)

    OnDisk.of(np.load(tmp_path / "long.npy", mmap_mode="r"), convert)
    assert seen == [(0, 1024, 0), (1024, 1024, 2.0**20)]


def test_rows_that_are_taken_know_their_place(on_disk: OnDisk) -> None:
    told = on_disk.through(
        lambda values, places: torch.cat([values[:, 0, 0, 0:1], torch.from_numpy(places)[:, None]], 1)
    )
    chosen = told.at(torch.tensor([40, 3, 7, 3]))
    for found, expected in ((told[5:8], [5, 6, 7]), (chosen[:], [40, 3, 7, 3]), (chosen[torch.tensor([2])], [7])):
        assert found[:, 1].tolist() == expected
        assert found[:, 0].tolist() == VALUES[expected, 0].tolist()
