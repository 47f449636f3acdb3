"""Several seeds of one spec: each a run like any other, gone on with where they stopped, mean and spread at the end."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import FOLDER, TINY, differences
from tiny_runs import Run, at_step, files_of, lines_of, make_run, state_of

from ammgraph import cli
from ammgraph.commands import loggers, trials
from ammgraph.commands.train_options import TrainOptions
from ammgraph.diagnostics import RunError
from ammgraph.runs import run
from ammgraph.runs.states import NotFinite

BAD = FOLDER / "bad_specs" / "duplicate_key.yaml"
SHORT = ("--set", "training.steps=3")


def error_of(folder: Path) -> float:
    """The clustering error of q(y|x), one-to-one, as evaluation.json has it."""
    found = json.loads((folder / "evaluation.json").read_text())["results"]
    wanted = ("clustering_error", "posterior", "one-to-one", "train")
    (value,) = [r["value"] for r in found if (r["name"], r["rule"], r["protocol"], r.get("fitted_on")) == wanted]
    return float(value)


def test_seeds_one_after_another_end_with_mean_and_spread(ammgraph: Run) -> None:
    title = "tiny \U0001f600"
    code, out, err = ammgraph(
        "train", TINY, "--trials", 3, "--seed", 4, "--run-dir", "t", *SHORT, "--set", f"title={title}"
    )
    assert code == 0
    folders = [Path(f"t/seed-{seed}") for seed in (4, 5, 6)]
    assert {path.name for path in Path("t").iterdir()} == {"spec", "trials.json", "lock", "seed-4", "seed-5", "seed-6"}
    for place, folder in enumerate(folders):
        options = json.loads((folder / "run.json").read_text())
        assert (options["name"], options["seed"]) == ("tiny", 4 + place)
        assert f"trial {place + 1} of 3, seed {4 + place}\n" in err
        assert f"run     {folder}, seed {4 + place}, cpu, float32, steps 0 to 3 " in err
    values = [100 * error_of(folder) for folder in folders]
    assert len(set(values)) > 1
    table = out[out.index("[1] ") :].splitlines()
    assert table[0] == f"[1] {title}: 3 runs, seeds 4, 5, 6; step 3; 1,600 training images"
    cells = [re.split("  +", line) for line in table]
    measure = ["clustering error of y, one-to-one", "posterior"]
    shown, *each = [line[2:] for line in cells if line[:2] == measure]
    assert shown == [f"{statistics.fmean(values):.2f} +- {statistics.stdev(values):.2f} %"]
    assert each == [[f"{values[0]:.2f}", f"{values[1]:.2f}", f"{values[2]:.2f} %"]]
    assert table[-2:] == ["mean +- standard deviation of the sample (n - 1)", "Next: ammgraph report t"]
    for path in (Path("t/spec/tiny.json"), *(folder / "spec.json" for folder in folders)):
        written = json.loads(path.read_text(encoding="utf-8"))
        assert (written["training"]["steps"], written["title"]) == (3, title)


def test_a_trial_is_the_run_of_that_seed(ammgraph: Run) -> None:
    assert ammgraph("train", TINY, "--trials", 2, *SHORT)[0] == 0
    assert ammgraph("train", TINY, "--seed", 1, *SHORT)[0] == 0
    assert differences(state_of(Path("runs/tiny-1/seed-1")), state_of(Path("runs/tiny-2"))) == []
    assert differences(state_of(Path("runs/tiny-1/seed-0"))["model"], state_of(Path("runs/tiny-2"))["model"])


def test_a_stopped_second_trial_goes_on_and_the_first_stays_as_it_is(
    ammgraph: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ("--precision", "float64", "--log-every", 2, *SHORT)
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: signal.raise_signal(signal.SIGINT))
        code, out, err = ammgraph("train", TINY, "--trials", 3, "--run-dir", "my trials", *kept)
    assert code == 130
    assert "standard deviation" not in out
    assert err.endswith("go on with all trials by\n  ammgraph train --resume 'my trials'\n")
    folder = Path("my trials")
    assert state_of(folder / "seed-1")["step"] == 2
    assert not (folder / "seed-2").exists()
    first = files_of(folder / "seed-0")
    code, out, err = ammgraph("train", "--resume", folder)
    assert code == 0
    assert "seeds 0, 1, 2; step 3" in out
    assert f"run     {folder / 'seed-1'}, seed 1, cpu, float64, steps 2 to 3" in err
    assert files_of(folder / "seed-0") == first
    for seed in (1, 2):  # what began before and what begins after the stop
        assert ammgraph("train", TINY, "--run-dir", f"whole-{seed}", "--seed", seed, *kept)[0] == 0
        trial, whole = folder / f"seed-{seed}", Path(f"whole-{seed}")
        assert differences(state_of(trial), state_of(whole)) == []
        assert lines_of(trial) == lines_of(whole)


def test_a_trial_that_begins_later_is_written_where_those_before_it_are(
    ammgraph: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: signal.raise_signal(signal.SIGINT))
        assert ammgraph("train", TINY, "--trials", 3, "--run-dir", "t", "--log", "none", *SHORT)[0] == 130
    assert not Path("t/seed-2").exists()
    assert ammgraph("train", "--resume", "t")[0] == 0
    for seed in range(3):
        assert json.loads(Path(f"t/seed-{seed}/logged.json").read_text()) == {"none": ""}


def test_trials_begin_as_an_earlier_run_from_any_folder(
    ammgraph: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert ammgraph("train", TINY, "--run-dir", "earlier", *SHORT)[0] == 0
    with monkeypatch.context() as patch:
        at_step(patch, 2, lambda: signal.raise_signal(signal.SIGINT))
        words = ("train", TINY, "--trials", 2, "--run-dir", "t", "--set", "networks.encoder.from=earlier", *SHORT)
        assert ammgraph(*words)[0] == 130
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err = ammgraph("train", "--resume", "../t")
    assert code == 0, err
    starts = json.loads(Path("../t/seed-1/run.json").read_text())["starts"]
    assert starts["encoder"]["run"] == str(tmp_path / "earlier")


def test_a_logger_that_is_not_there_is_told_before_a_folder_of_trials_is_made(
    ammgraph: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(loggers.LOGGERS, "wandb", replace(loggers.LOGGERS["wandb"], module="not_there_at_all"))
    code, out, err = ammgraph("train", TINY, "--trials", 2, "--run-dir", "t", "--log", "wandb", *SHORT)
    assert (code, out) == (1, "")
    assert err.startswith("error: `--log wandb` needs wandb: ")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_between_two_steps_of_training_says_how_to_go_on(
    ammgraph: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(trials, "train_trial", interrupted)
    code, out, err = ammgraph("train", TINY, "--trials", 2, "--run-dir", "t", "--device", "cpu")
    assert (code, out) == (130, "")
    assert err.endswith("\n  ammgraph train --resume t --device cpu\n")


def test_a_trial_that_fails_keeps_no_other_from_being_trained(ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RunError("a value is not finite")

    with monkeypatch.context() as patch:
        at_step(patch, 2, fail)
        code, out, err = ammgraph("train", TINY, "--trials", 2, "--run-dir", "t", *SHORT)
    assert code == 1
    assert "\nerror: seed 0: a value is not finite; no checkpoint was written yet\ntrial 2 of 2, seed 1\n" in err
    assert err.endswith("go on with all trials by\n  ammgraph train --resume t\n")
    assert "standard deviation" not in out
    assert state_of(Path("t/seed-1"))["step"] == 3
    code, out, _ = ammgraph("train", "--resume", "t")
    assert code == 0
    assert "seeds 0, 1; step 3" in out


DIVERGES = "training.optimizers.default.learning_rate=1e30"
LOWER = "training.optimizers.default.learning_rate=1e+29"


@pytest.mark.parametrize("devices", ["cpu", "cpu,cpu"])
def test_trials_that_have_diverged_are_told_what_to_lower_and_not_to_go_on(
    devices: str, ammgraph: Run, tmp_path: Path
) -> None:
    words = ("train", TINY, "--trials", 2, "--run-dir", "t", "--device", devices, "--set", DIVERGES)
    code, out, err = ammgraph(*words)
    assert (code, out) == (1, "")
    assert "go on" not in err
    told = f"begin a new run with lower learning rates, as by `--set '{LOWER}' (now 1e+30)`"
    assert err.endswith(f"\nseeds 0, 1: training has diverged: {told}\n")
    for verb in ("report", "compare"):
        code, out, err = ammgraph(verb, "t")
        assert (code, out) == (1, "")
        assert LOWER in err
        assert "go on" not in err
        assert "--resume" not in err


def test_trials_whose_first_step_is_no_number_are_not_told_to_lower_a_rate(ammgraph: Run) -> None:
    huge = "training.initializer={weights: {normal: 1e20}}"
    code, _, err = ammgraph("train", TINY, "--trials", 2, "--run-dir", "t", "--set", huge)
    assert code == 1
    assert "\nseeds 0, 1: no weight has changed yet, so that no learning rate is to blame: " in err
    assert "lower learning rates" not in err


def test_a_trial_that_has_diverged_keeps_no_table_of_the_others_from_being_printed(
    ammgraph: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge() -> None:
        raise NotFinite("`h` is not finite at step 2")

    with monkeypatch.context() as patch:
        at_step(patch, 2, diverge)
        code, out, err = ammgraph("train", TINY, "--trials", 3, "--run-dir", "t", *SHORT)
    assert code == 1
    assert "\n[1] tiny: 2 runs, seeds 1, 2; step 3; " in out
    assert "mean +- standard deviation of the sample (n - 1)" in out
    advice = "training has diverged: begin a new run with lower learning rates, as by "
    assert err.splitlines()[-1].startswith(f"seed 0: {advice}")
    told = f"`h` is not finite at step 2; {advice}"
    code, out, err = ammgraph("compare", "t")
    assert code == 0
    assert f"passed over seed-0 of t: {told}" in err
    assert "was stopped" not in err
    assert ammgraph("compare", "t/seed-0")[2].startswith(f"error: no usable checkpoint in t/seed-0/checkpoints: {told}")
    assert ammgraph("compare", "t/seed-0", "t/seed-1")[2].startswith(
        f"passed over: t/seed-0 has no checkpoint yet: {told}"
    )
    code, out, err = ammgraph("train", "--resume", "t")  # it was no fault of the numbers
    assert (code, "diverged" in err) == (0, False)
    assert not Path("t/seed-0/diverged.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TINY, "--run-dir", "full"), "full holds files that are no run's (file); name a folder that is new or empty"),
        ((TINY, "--run-dir", "full/file"), "cannot write the folder of trials full/file: "),
        ((TINY, "--device", "nonsense"), "`nonsense` is no device; expected `auto`, `cpu`, `cuda` or `cuda:N`"),
        ((TINY, "--device", "cpu,nonsense"), "`nonsense` is no device"),
        ((TINY, "--device", "cpu,cuda:99"), "there is no device `cuda:99`"),
        ((TINY, "--set", "training.batch_size=1601"), "a batch of 1601 is larger than data"),
        ((TINY, "--seed", 2**63 - 1), "2 seeds from 9223372036854775807 on go beyond 2^63 - 1"),
        (("--resume", "full"), "full holds no trials: it has no trials.json; `--resume` takes no `--trials`"),
        ((BAD,), None),
        ((TINY, "--set", "networks.encoder.layers.h.width=9"), None),
    ],
)
def test_what_cannot_be_trained_leaves_nothing_behind(
    arguments: tuple[object, ...], message: str | None, ammgraph: Run, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    code, out, err = ammgraph("train", *arguments, "--trials", 2)
    assert (code, out) == (1, "")
    assert err.startswith("error[" if message is None else f"error: {message}"), err
    assert "Traceback" not in err
    assert files_of(tmp_path) == {"full/file": b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_billion_trials_are_refused_at_once(ammgraph: Run, tmp_path: Path) -> None:
    told = "error: `--trials` is 1,000,000,000, expected at most 10,000\n"
    assert ammgraph("train", TINY, "--trials", 10**9, "--run-dir", "t") == (1, "", told)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def begun(ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two trials of which none was trained yet."""
    with monkeypatch.context() as patch:
        patch.setattr(trials, "_one_after_another", lambda *_: trials.Ended(stopped=143))
        assert ammgraph("train", TINY, "--trials", 2, "--run-dir", "begun")[0] == 143
    return Path("begun")


@pytest.mark.parametrize(
    "arguments",
    [("--set", "training.steps=5"), ("--seed", "0"), ("--trials", "2"), ("--run-dir", "other")],
)
def test_what_trials_keep_cannot_be_changed(arguments: tuple[str, ...], begun: Path, ammgraph: Run) -> None:
    before = files_of(begun)
    code, out, err = ammgraph("train", "--resume", begun, *arguments)
    assert (code, out) == (1, "")
    assert err == (
        "error: trials keep their spec, number, seeds and directory; "
        "`--resume` takes no `--set`, `--trials`, `--seed` or `--run-dir`\n"
    )
    assert files_of(begun) == before


def test_trials_keep_their_precision(begun: Path, ammgraph: Run) -> None:
    assert ammgraph("train", "--resume", begun, "--precision", "bfloat16") == (
        1,
        "",
        "error: the trials began in float32; `--resume` cannot change it to bfloat16\n",
    )


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("", "Invalid JSON"),
        ("[0, 1", "Invalid JSON"),
        ('"01"', "`seeds`: "),
        ("[0.5]", "`seeds`: `0`: "),
        ("null", "`seeds`: "),
        ("[]", "it names no seed"),
    ],
)
def test_damaged_trials_are_refused_and_left_alone(seeds: str, message: str, begun: Path, ammgraph: Run) -> None:
    file = begun / "trials.json"
    options = json.dumps(json.loads(file.read_text())["options"])
    file.write_text(f'{{"seeds": {seeds}, "options": {options}}}')
    before = files_of(begun)
    code, out, err = ammgraph("train", "--resume", begun)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {file} is damaged: {message}")
    assert files_of(begun) == before


def test_two_processes_do_not_train_the_same_trials(begun: Path, ammgraph: Run) -> None:
    with run.locked(begun):
        code, out, err = ammgraph("train", "--resume", begun)
    assert (code, out, err) == (1, "", f"error: another process is training in {begun}\n")


def test_a_run_is_no_trials(ammgraph: Run, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", TINY)
    assert not trials.is_trials(folder)
    code, _, err = ammgraph("train", "--resume", folder, "--trials", 2)
    assert (code, err.startswith(f"error: {folder} holds no trials: ")) == (1, True)


# ------------------------------------------------------------------------------------------------ side by side


def test_trials_side_by_side(ammgraph: Run) -> None:
    code, out, err = ammgraph("train", TINY, "--trials", 2, "--run-dir", "t", "--device", "cpu,cpu", *SHORT)
    assert code == 0, err
    assert out.startswith("[1] tiny: 2 runs, seeds 0, 1; step 3; 1,600 training images\n")
    logs = [Path(f"t/seed-{seed}.log") for seed in (0, 1)]
    assert err.splitlines()[:2] == [f"seed {seed} on cpu; see {log}" for seed, log in enumerate(logs)]
    assert sorted(err.splitlines()[2:]) == ["seed 0 has come to its end", "seed 1 has come to its end"]
    assert "trained 3 steps" in logs[1].read_text()
    assert ammgraph("train", TINY, "--run-dir", "alone", "--seed", 1, *SHORT)[0] == 0
    assert differences(state_of(Path("t/seed-1")), state_of(Path("alone"))) == []
    assert lines_of(Path("t/seed-1")) == lines_of(Path("alone"))


def started_as(
    monkeypatch: pytest.MonkeyPatch, programs: dict[int, str], act: Callable[[int], None] = lambda _: None
) -> list[list[str]]:
    """Trials run these programs instead of training; `act` on their number so far. Their command lines."""
    seen: list[list[str]] = []

    def start(words: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
        seen.append(list(words))
        act(len(seen))
        program = programs[int(log.stem.removeprefix("seed-"))]
        with log.open("ab") as file:
            return subprocess.Popen([sys.executable, "-c", program], stdout=file, stderr=file, start_new_session=True)

    monkeypatch.setattr(trials, "_start", start)
    return seen


def test_a_trial_that_fails_is_told_with_its_log(ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = {0: "import sys; print('error: a pity', file=sys.stderr); sys.exit(1)", 1: "", 2: ""}
    seen = started_as(monkeypatch, programs)
    more = ("--data-dir", "data", "--no-download", "--precision", "float64")
    code, out, err = ammgraph("train", TINY, "--trials", 3, "--run-dir", "t", "--device", "cpu,cpu", *more)
    assert (code, out) == (1, "")
    assert f"seed 0 ended with exit code 1; see {Path('t/seed-0.log')}\n  error: a pity\n" in err
    assert "seed 2 has come to its end\n" in err
    assert err.endswith("go on with all trials by\n  ammgraph train --resume t --device cpu,cpu\n")
    assert cli.parsed(seen[2])[1] == TrainOptions(
        spec=str(Path("t/spec/tiny.json")),
        run_dir=Path("t/seed-2"),
        seed=2,
        device="cpu",
        data_dir=Path("data"),
        download=False,
        precision="float64",
        log_every=50,
        checkpoint_seconds=60.0,
        known_as=f"ammgraph train {TINY} --data-dir data --no-download --precision float64 --seed 2 --device cpu",
        typed=tuple(seen[2]),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_every_trial_and_begins_no_other(
    number: signal.Signals, ammgraph: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit({128 + int(number)}))\n"
        "print('ready', flush=True)\ntime.sleep(600)"
    )
    logs = [Path(f"t/seed-{seed}.log") for seed in (0, 1)]

    def stop_when_both_are_ready() -> None:
        while not all(log.exists() and "ready" in log.read_text() for log in logs):
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    waiting = threading.Thread(target=stop_when_both_are_ready, daemon=True)
    seen = started_as(monkeypatch, dict.fromkeys(range(3), wait), lambda count: waiting.start() if count == 2 else None)
    code, out, err = ammgraph("train", TINY, "--trials", 3, "--run-dir", "t", "--device", "cpu,cpu")
    waiting.join()
    assert (code, out) == (128 + number, "")
    assert len(seen) == 2
    assert all(f"seed {seed} was stopped; see {Path(f't/seed-{seed}.log')}\n" in err for seed in (0, 1))
    assert err.endswith("  ammgraph train --resume t --device cpu,cpu\n")


def test_force_holds_for_the_folders_of_the_trials_too(ammgraph: Run, tmp_path: Path) -> None:
    (tmp_path / "two" / "seed-0").mkdir(parents=True)
    (tmp_path / "two" / "seed-0" / "mine.txt").write_text("mine")
    command = ("train", TINY, "--set", "training.steps=2", "--run-dir", "two", "--trials", 2)
    assert ammgraph(*command)[0] == 1
    assert ammgraph(*command, "--force")[0] == 0
    assert (tmp_path / "two" / "seed-0" / "mine.txt").read_text() == "mine"
    assert ammgraph("train", "--resume", "two")[0] == 0


def test_a_single_run_is_never_begun_in_a_folder_of_trials(ammgraph: Run) -> None:
    assert ammgraph("train", TINY, "--set", "training.steps=2", "--run-dir", "two", "--trials", 2)[0] == 0
    for more in ((), ("--force",)):
        code, _, err = ammgraph("train", TINY, "--run-dir", "two", *more)
        assert (code, err) == (
            1,
            "error: two holds trials; go on with `ammgraph train --resume two`, or name another\n",
        )
