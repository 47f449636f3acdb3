"""`torchrun -m ammgraph train`: the commands of the page about it, a stop, and an error that is told once."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tiny import PATIENCE, TINY, command
from tiny_runs import Run, lines_of, state_of

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "ammgraph" / "docs" / "many-gpus.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```shell\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def start(words: list[str], folder: Path) -> subprocess.Popen[str]:
    assert words[0] == "torchrun"
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *words[1:]],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def two(*words: object) -> list[str]:
    return ["torchrun", "--standalone", "--nproc-per-node=2", "-m", "ammgraph", "train", *map(str, words)]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "specs").symlink_to(ROOT / "specs")
    one_machine, two_machines = (shlex.split(block.replace("\\\n", "")) for block in BLOCKS)
    process = start(
        [*one_machine, "--set", "training.epochs=null", "--set", "training.steps=3", "--log-every", "1"], tmp_path
    )
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert err.count("trained 3 steps") == 1
    assert "2 processes on cpu" in err
    assert out.count("\nk-means ") == 1
    folder = tmp_path / "runs" / "amm_digits-1"
    assert [line["step"] for line in lines_of(folder) if "evaluation" not in line] == [1, 2, 3]
    assert json.loads((folder / "environment.json").read_text())["processes"] == 2
    assert json.loads((folder / "run.json").read_text())["command"].startswith(shlex.join(one_machine))

    # The same command on each of two machines, here two that have one address.
    words = [word.replace("HOST:29400", f"localhost:{free_port()}") for word in two_machines]
    words += ["--set", "training.steps=5", "--log-every", "1"]
    machines = [start(words, tmp_path) for _ in range(2)]
    ends = [machine.communicate(timeout=PATIENCE) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], ends
    assert sum(err.count("trained 5 steps") for _, err in ends) == 1
    assert [line["step"] for line in lines_of(folder) if "evaluation" not in line] == [1, 2, 3, 4, 5]
    assert {path.name for path in (folder / "samples").iterdir()} == {"x-step-000000003.png", "x-step-000000005.png"}


def test_a_stop_saves_once_and_any_number_of_processes_goes_on(tmp_path: Path, ammgraph: Run) -> None:
    folder = tmp_path / "run"
    process = start(two(TINY, "--run-dir", folder, "--set", "training.steps=1000000", "--log-every", "1"), tmp_path)
    began = time.monotonic()
    while len(lines_of(folder)) <= 3 and process.poll() is None and time.monotonic() - began < PATIENCE:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    stopped = re.findall(r"^stopped at step ([\d,]+); go on with\n  (.*)$", err, flags=re.MULTILINE)
    assert len(stopped) == 1, err
    step = int(stopped[0][0].replace(",", ""))
    assert stopped[0][1] == shlex.join(two("--resume", folder))
    assert state_of(folder)["step"] == step
    assert [line["step"] for line in lines_of(folder) if "evaluation" not in line] == list(range(1, step + 1))
    assert "Traceback" not in err.partition("stopped at step")[0]
    code, _, err = ammgraph("train", "--resume", folder, "--set", f"training.steps={step + 2}")
    assert code == 0, err
    assert [line["step"] for line in lines_of(folder) if "evaluation" not in line][-2:] == [step + 1, step + 2]


def test_an_error_is_told_once_and_ends_every_process(tmp_path: Path) -> None:
    """Started as batch systems do, without torchrun; the second machine has another spec."""
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            command("train", TINY, "--set", f"training.batch_size={size}"),
            cwd=tmp_path,
            env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, size in enumerate((40, 20))
    ]
    said = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1]
    assert said[1] == ""
    assert re.fullmatch(
        r"error: process 1 has another plan than process 0: 1:[0-9a-f]{64}, not 1:[0-9a-f]{64}; "
        r"every machine needs the same spec, data and versions\n",
        said[0],
    )
    assert list(tmp_path.iterdir()) == []


# What is alive when Python ends, and holds tensors, may end the process with SIGABRT: "terminate called without an
# active exception".
ENDING = """
import os, sys
from ammgraph.diagnostics import RunError
from ammgraph.train.ranks import joined

def threads():
    return {open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")}

def exchange(end):
    with joined() as ranks:
        assert ranks.any(ranks.first)
        assert "pt_gloo_runloop" in threads()
        if end == "error":
            raise RunError("told once")

for port, end in zip(sys.argv[1:], ("good", "error")):
    os.environ["MASTER_PORT"] = port
    try:
        exchange(end)
    except (RunError, SystemExit) as error:
        assert end == "error", error
    else:
        assert end == "good"
    print(end, sorted(name for name in threads() if "gloo" in name or "tcpstore" in name))
"""


def test_no_thread_of_the_connection_outlives_it() -> None:
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "LOCAL_WORLD_SIZE": "2"}
    ports = [str(free_port()) for _ in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ENDING, *ports],
            env=os.environ | place | {"RANK": str(rank), "LOCAL_RANK": str(rank), "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    assert [process.communicate(timeout=PATIENCE)[0] for process in processes] == ["good []\nerror []\n"] * 2
    assert [process.returncode for process in processes] == [0, 0]


def test_statistics_of_each_process_need_as_many_processes_as_before(tmp_path: Path, ammgraph: Run) -> None:
    process = ("--set", "training.batchnorm.statistics=process")
    code, _, err = ammgraph("train", TINY, "--run-dir", "run", *process, "--set", "training.steps=1")
    assert code == 0, err
    path = tmp_path / "run" / "environment.json"
    path.write_text(path.read_text().replace('"processes": 1', '"processes": 2'))
    code, _, err = ammgraph("train", "--resume", "run", "--set", "training.steps=2")
    assert (code, err) == (
        1,
        "error: the run began with 2 processes, each with its own statistics of batch norm; go on with as many\n",
    )
