"""Run directories: made once, held by one process, read back or refused with a reason."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ammgraph.diagnostics import RunError
from ammgraph.runs import run
from ammgraph.runs.run import RunOptions
from ammgraph.spec.load import load_spec, load_text

CPU = torch.device("cpu")
OPTIONS = RunOptions("tiny", 3, "float32", "/data", 10, 2.5, "ammgraph train tiny.yaml")


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        ("ammgraph train a.yaml", []),
        ("ammgraph train a.yaml --set constants.K=20 --seed 1 --set=data.seed=3", ["constants.K=20", "data.seed=3"]),
        ("ammgraph sweep a.yaml --set constants.K=3 --vary b=1,2 --set b=1", ["constants.K=3", "b=1"]),
        ("ammgraph train a.yaml --set 'networks.d.layers.h.input=x | z'", ["networks.d.layers.h.input=x | z"]),
        # of which a title says nothing, and which may be others when a run goes on
        ("ammgraph train a.yaml --set training.epochs=5 --set training.steps=null --set evaluation={}", []),
        ("ammgraph train a.yaml --set training.epochs_=5", ["training.epochs_=5"]),
        ("ammgraph train a.yaml --set constants.K=20 --set 'title=K is 20'", []),
        ("no 'command --set a=b", []),
    ],
)
def test_what_was_set_in_a_spec_stands_in_the_command(said: str, changes: list[str]) -> None:
    assert replace(OPTIONS, command=said).changes == changes


def test_new_folders_are_numbered(tmp_path: Path) -> None:
    assert [run.new_folder(tmp_path / "runs", "a").name for _ in range(3)] == ["a-1", "a-2", "a-3"]
    assert run.new_folder(tmp_path / "runs", "b").name == "b-1"
    (tmp_path / "runs" / "a-2").rmdir()
    assert run.new_folder(tmp_path / "runs", "a").name == "a-2"


def test_no_two_processes_get_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Path.mkdir

    def slower(path: Path, *arguments: Any, **options: Any) -> None:
        if path.name == "a-1":
            make(path, parents=True, exist_ok=True)  # another process was faster
        make(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", slower)
    assert run.new_folder(tmp_path, "a").name == "a-2"


def test_a_folder_under_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunError, match=r"cannot make the run directory .*a-1"):
        run.new_folder(tmp_path / "runs", "a")
    with pytest.raises(RunError, match="cannot write the run directory"), run.locked(tmp_path / "runs" / "a"):
        pass


def test_a_run_directory_holds_what_was_asked_for(tmp_path: Path) -> None:
    run.create(tmp_path, OPTIONS, {"ammgraph": 1, "title": "é 😀"}, "the plan\n", CPU)
    names = ["checkpoints", "environment.json", "plan.txt", "run.json", "spec.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert run.read_options(tmp_path) == OPTIONS
    assert json.loads((tmp_path / "spec.json").read_text()) == {"ammgraph": 1, "title": "é 😀"}
    assert (tmp_path / "plan.txt").read_text() == "the plan\n"
    found = json.loads((tmp_path / "environment.json").read_text())
    assert found["torch"] == torch.__version__
    assert found["device"] == "cpu"


def test_a_stored_spec_is_read_as_it_was_written(tmp_path: Path) -> None:
    spec = load_spec(Path(__file__).parents[1] / "tiny.yaml", ["title='é 😀 \\ and: #'", "training.steps=1 + 2"])
    again = load_text(run.spec_text(spec.written).decode())
    assert again.model_dump() == spec.model_dump()
    assert again.title == "é 😀 \\ and: #"


def test_a_run_directory_is_not_used_twice(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    folder.mkdir()
    run.create(folder, OPTIONS, {"a": 1}, "", CPU)
    with pytest.raises(RunError) as error:
        run.create(folder, OPTIONS, {"a": 2}, "", CPU)
    assert str(error.value) == (
        f"{folder} holds a run already; go on with `ammgraph train --resume '{folder}'`, or name another"
    )
    assert json.loads((folder / "spec.json").read_text()) == {"a": 1}


def test_one_process_holds_a_run_directory(tmp_path: Path) -> None:
    with run.locked(tmp_path / "new" / "a"):
        with pytest.raises(RunError, match="another process is training in"), run.locked(tmp_path / "new" / "a"):
            pass
        with run.locked(tmp_path / "new" / "b"):
            pass
    with run.locked(tmp_path / "new" / "a"):
        pass


def test_a_folder_without_a_run_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    reasons = {".": r"it has no run\.json", "absent": "there is nothing of that name", "file": "it is a file"}
    for name, reason in reasons.items():
        folder = tmp_path / name
        with pytest.raises(RunError, match=rf"is no run directory: {reason}$"):
            run.read_options(folder)


def test_a_run_that_is_not_there_is_told_with_the_one_that_is_near(tmp_path: Path) -> None:
    (tmp_path / "digits-1").mkdir()
    (tmp_path / "digits-1" / "run.json").write_text("")
    with pytest.raises(RunError) as caught:
        run.read_options(tmp_path / "digits-2")
    assert str(caught.value).endswith(f"there is nothing of that name; did you mean `{tmp_path / 'digits-1'}`?")


def test_a_file_in_the_way_of_a_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    said = f"cannot write the run directory .*: {tmp_path / 'file'} is a file$"
    with pytest.raises(RunError, match=said), run.locked(tmp_path / "file" / "run"):
        pass


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Invalid JSON"),
        ("[]", "Input should be"),
        ('{"name": "a"}', "`seed`: Field required"),
        ('{"seed": "many"}', "`name`: Field required"),
    ],
)
def test_a_damaged_run_json_says_what_is_wrong(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=rf"run\.json is damaged: {reason}"):
        run.read_options(tmp_path)


def test_a_precision_that_is_none_is_refused(tmp_path: Path) -> None:
    run.create(tmp_path, OPTIONS, {}, "", CPU)
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace("float32", "float16"))
    with pytest.raises(RunError, match="`precision`: Input should be 'float32', 'tf32', 'bfloat16' or 'float64'"):
        run.read_options(tmp_path)


def test_a_new_run_begins_in_an_empty_folder_or_where_one_was_cut_short(tmp_path: Path) -> None:
    for name in ("absent", "empty"):
        run.refuse_foreign(tmp_path / name)
        (tmp_path / "empty").mkdir(exist_ok=True)
    for names in (["spec.json"], ["environment.json", "mine"], [".git"], ["lock", "spec.json", "mine"]):
        folder = tmp_path / "-".join(names)
        folder.mkdir()
        for name in names:
            (folder / name).write_text("mine")
        foreign = [name for name in names if "lock" not in names or name == "mine"]
        with pytest.raises(RunError) as error:
            run.refuse_foreign(folder)
        assert str(error.value).startswith(
            f"{folder} holds files that are no run's ({', '.join(foreign)}); name a folder "
        )
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in (*run.BEGUN, "0123456789abcdef.run.json.new"):
        (begun / name).touch()
    run.refuse_foreign(begun)


@pytest.mark.parametrize("name", ["lock", *run.OWN_FOLDERS])
def test_a_run_directory_with_a_link_where_a_run_writes_is_not_trained_in(name: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).symlink_to(victim if name == "lock" else tmp_path)
    with pytest.raises(RunError, match=f"{name} is a link, and nothing is written through links: remove it"):
        run.locked(folder).__enter__()
    assert victim.read_text() == "mine"
    (folder / name).unlink()  # as it says
    with run.locked(folder):
        pass


def test_a_lock_that_has_a_second_name_is_not_cut_off(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "lock").hardlink_to(tmp_path / "victim")
    with run.locked(tmp_path):
        assert (tmp_path / "victim").read_text() == "mine"


def test_the_environment_keeps_up_with_later_sessions(tmp_path: Path) -> None:
    run.create(tmp_path, OPTIONS, {}, "", CPU)
    path = tmp_path / "environment.json"
    began, before = json.loads(path.read_text()), path.read_bytes()
    assert run.keep_up(tmp_path, CPU, 1) == []
    assert path.read_bytes() == before
    path.write_text(json.dumps({**began, "threads": 77, "executable": "/elsewhere"}))
    now = began["threads"]
    assert run.keep_up(tmp_path, CPU, 1) == [f"threads 77, now {now} (`OMP_NUM_THREADS=77` keeps them)"]
    assert json.loads(path.read_text())["since"] == [{"threads": now, "executable": began["executable"]}]
    assert run.keep_up(tmp_path, CPU, 2) == ["processes 1, now 2"]
    assert [list(since) for since in json.loads(path.read_text())["since"]] == [
        ["threads", "executable"],
        ["processes"],
    ]
    assert run.processes_of(tmp_path) == 1
    for text in ("", "[]", '{"since": 3}', '{"since": ["a"]}'):
        path.write_text(text)
        assert run.keep_up(tmp_path, CPU, 1) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "`gpu` is no device; expected `auto`, `cpu`, `cuda` or `cuda:N`"),
        ("", "`` is no device; expected `auto`, `cpu`, `cuda` or `cuda:N`"),
        ("cuda:x", "`cuda:x` is no device; expected `auto`, `cpu`, `cuda` or `cuda:N`"),
        ("meta", "device `meta` is not supported; expected `auto`, `cpu`, `cuda` or `cuda:N`"),
        ("cuda:99", f"there is no device `cuda:99`: {torch.cuda.device_count()} CUDA devices are visible"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(RunError) as error:
        run.choose_device(name)
    assert str(error.value) == message


def test_the_automatic_device_is_cuda_where_there_is_one() -> None:
    assert run.choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert run.choose_device("cpu") == CPU


def test_the_number_of_processes_is_that_a_run_began_with(tmp_path: Path) -> None:
    run.create(tmp_path, OPTIONS, {}, "", CPU, processes=3)
    assert run.processes_of(tmp_path) == 3
    for text in ("", "[]", "{}", '{"processes": "many"}'):  # of an older version, or damaged
        (tmp_path / "environment.json").write_text(text)
        assert run.processes_of(tmp_path) == 1
    (tmp_path / "environment.json").unlink()
    assert run.processes_of(tmp_path) == 1
