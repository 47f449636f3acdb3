"""Writing files: whole or not at all, and never through a link, under a name that is known, or into a pipe."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ammgraph.runs import files

Write = Callable[[Path, bytes], None]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the user's, outside the folder that is written to."""
    path = tmp_path / "victim"
    path.write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    return path


def test_a_file_is_written_whole_with_the_users_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write(path, b"one")
    files.write(path, b"two")
    path.with_name("plain").touch()
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode == path.with_name("plain").stat().st_mode
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.json", "plain"]


def test_lines_are_appended(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        files.append(tmp_path / "a.jsonl", line)
    assert (tmp_path / "a.jsonl").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("target", ["victim", "absent"])
def test_a_link_is_replaced_and_what_it_leads_to_left_alone(target: str, victim: Path, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.json"
    path.symlink_to(tmp_path / target)
    files.write(path, b"new")
    assert (path.read_bytes(), path.is_symlink(), victim.read_bytes()) == (b"new", False, b"mine")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("target", ["victim", "absent"])
def test_nothing_is_appended_through_a_link(target: str, victim: Path, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.jsonl"
    path.symlink_to(tmp_path / target)
    with pytest.raises(OSError, match=r"a\.jsonl is a link, and nothing is written through links: remove it"):
        files.append(path, b"more")
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "absent").exists()
    path.unlink()  # as the message says
    files.append(path, b"more")


def test_a_second_name_of_a_file_is_parted_from_it(victim: Path, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.json"
    path.hardlink_to(victim)
    files.write(path, b"new")
    assert victim.read_bytes() == b"mine"


def test_the_name_that_is_written_aside_cannot_be_known_before(
    victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is met all the same, the link there is not followed."""
    path = tmp_path / "folder" / "a.json"
    seen: list[str] = []
    flush = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (seen.extend(os.listdir(path.parent)), flush(number))[1])
    for _ in range(2):
        files.write(path, b"new")
    aside = [name for name in seen if name.endswith(".a.json.new")]
    assert len(aside) == len(set(aside)) == 2
    monkeypatch.setattr("secrets.token_hex", lambda _: "0" * 16)
    path.with_name(f"{'0' * 16}.a.json.new").symlink_to(victim)
    with pytest.raises(FileExistsError):
        files.write(path, b"other")
    assert (victim.read_bytes(), path.read_bytes()) == (b"mine", b"new")


@pytest.mark.parametrize("write", [files.write, files.append])
def test_pipes_and_devices_are_neither_written_nor_replaced(write: Write, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/null")):
        with pytest.raises(OSError, match="it is a device, a pipe or a socket, no file"):
            write(path, b"new")
    assert pipe.is_fifo()
    with pytest.raises(IsADirectoryError):
        write(tmp_path, b"new")


def test_a_name_of_any_length_can_be_written(tmp_path: Path) -> None:
    files.write(tmp_path / ("\N{GREEK SMALL LETTER ALPHA}" * 120), b"new")
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        files.write(tmp_path / ("a" * 256), b"new")


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = ["a.json", "mine.new", "0123456789abcdef.new"]
    for name in [*kept, "0123456789abcdef.a.json.new"]:
        (tmp_path / name).touch()
    files.remove_leftovers(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(kept)
    files.remove_leftovers(tmp_path / "absent")


def test_a_folder_of_ours_is_no_link(victim: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    files.refuse_link(own)
    own.symlink_to(victim.parent / "folder")
    with pytest.raises(OSError, match="own is a link, and nothing is written through links: remove it"):
        files.refuse_link(own)
