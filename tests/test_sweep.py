"""A sweep: trials that are runs like any other, chosen by validation examples; killed at any moment, it goes on."""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from postgresql import a_postgresql_server
from tiny import PATIENCE, TINY, command, differences, environment
from tiny_runs import Run, at_step, files_of, lines_of, make_run, state_of

from ammgraph.diagnostics import RunError
from ammgraph.folders import tried_folder
from ammgraph.runs import record
from ammgraph.runs.run import RunOptions
from ammgraph.runs.study import FIRST_PRUNED, Study
from ammgraph.runs.sweeps import Sweep, Tried, best_of, ranked, read_sweep, read_tried

RATE = "training.optimizers.default.learning_rate=1e-4..1e-2:log"
BATCH = "training.batch_size=32,40,64"
METRIC = ("--metric", "reconstruction_error")
# Looks after steps 4, 8, 12 and 13; by 40 of 1,600 images a step.
LOOKS = ("--set", "evaluation.every_epochs=0.1")


@pytest.fixture
def _optuna() -> None:
    pytest.importorskip("optuna", reason="a sweep needs Optuna: pip install 'ammgraph[sweep]'")


needs_optuna = pytest.mark.usefixtures("_optuna")


def each_step_is_written_once(run: Path) -> bool:
    """Whether the looks and the lines of training of a run stand in order, none twice."""
    lines = record.read(run / "metrics.jsonl")
    looks = [line["step"] for line in lines if "evaluation" in line]
    steps = [line["step"] for line in lines if "evaluation" not in line]
    return looks == sorted(set(looks)) and steps == sorted(set(steps))


def all_are_different(tried: tuple[Tried, ...]) -> bool:
    return len({one.values for one in tried}) == len(tried)


def is_as_if_trained_alone(run: Path, folder: Path, ammgraph: Run) -> bool:
    """Whether the command that the trial's record has gives the same bits."""
    words = shlex.split(json.loads((run / "run.json").read_text())["command"])
    assert words[0] == "ammgraph"
    assert ammgraph(*words[1:], "--run-dir", folder, "--log-every", 5)[0] == 0
    return differences(state_of(run), state_of(folder)) == [] and lines_of(run) == lines_of(folder)


# ------------------------------------------------------------------------------------------------ trials


@needs_optuna
def test_a_sweep_tries_every_value_in_a_run_of_its_own_and_says_which_is_best(ammgraph: Run, tmp_path: Path) -> None:
    code, out, err = ammgraph(
        *(
            "sweep",
            TINY,
            "--vary",
            RATE,
            "--vary",
            BATCH,
            *METRIC,
            "--trials",
            3,
            "--run-dir",
            "s",
            "--seed",
            2,
            *LOOKS,
        ),
        *("--log-every", 5),
    )
    assert code == 0, err
    folder = Path("s")
    sweep, tried = read_sweep(folder), read_tried(folder)
    assert (sweep.metric, sweep.better) == ("x/reconstruction_error", "lower")
    assert [one.state for one in tried] == ["finished"] * 3
    assert all_are_different(tried)
    for one in tried:
        run = tried_folder(folder, one.number)
        written = json.loads((run / "spec.json").read_text())["training"]
        batch, rate = written["batch_size"], written["optimizers"]["default"]["learning_rate"]
        assert one.values == (rate, str(batch))
        assert 1e-4 <= rate <= 1e-2
        looks = [line["evaluation"]["x/reconstruction_error"] for line in lines_of(run) if "evaluation" in line]
        assert one.looks == tuple(enumerate(looks, start=1))
        assert one.value == looks[-1]
        assert {found["split"] for found in json.loads((run / "evaluation.json").read_text())["results"]} == {
            "validation"
        }
    best = min(tried, key=lambda one: one.value or 0.0)
    assert f"\nbest: s/trial-{best.number}\nNext: ammgraph report s\n" in out
    assert out.splitlines()[1].split() == [str(best.number), f"{best.value:.5g}", str(best.values[0]), best.values[1]]
    assert (
        f"trial-{best.number} ({best.number + 1} of 3): x/reconstruction_error {best.value:.5g}, the best so far" in err
    )
    assert is_as_if_trained_alone(folder / "trial-1", tmp_path / "alone", ammgraph)


@needs_optuna
def test_what_is_varied_may_be_what_makes_it_a_spec(ammgraph: Run) -> None:
    epochs = ("--vary", "training.epochs=1/40,1/20", "--vary", BATCH, *METRIC, "--trials", 2, "--run-dir", "s")
    assert "`--set training.steps=null` for one run" in ammgraph("sweep", TINY, *epochs)[2]
    code, _, err = ammgraph("sweep", TINY, "--set", "training.steps=null", *epochs)
    assert code == 0, err
    for one in read_tried(Path("s")):
        training = json.loads((tried_folder(Path("s"), one.number) / "spec.json").read_text())["training"]
        assert ("steps" in training, str(training["epochs"])) == (False, one.values[0])
    assert ammgraph("sweep", "--resume", "s", "--trials", 3)[0] == 0
    code, _, err = ammgraph("sweep", TINY, "--set", "training.steps=null", "--vary", BATCH, *METRIC)
    assert (code, err.splitlines()[0]) == (
        1,
        "error[missing-key]: `training` needs exactly one of `epochs`, `steps`, `phases`",
    )


@needs_optuna
def test_a_sweep_that_is_stopped_goes_on_where_the_trial_stood(
    ammgraph: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        at_step(patch, 13 + 6, lambda: signal.raise_signal(signal.SIGINT))
        code, out, err = ammgraph(
            *("sweep", TINY, "--vary", RATE, *METRIC, "--trials", 3, "--run-dir", "s", "--log-every", 5, *LOOKS),
        )
    assert (code, out) == (130, "")
    assert err.endswith("go on with the sweep by\n  ammgraph sweep --resume s\n")
    folder = Path("s")
    assert state_of(folder / "trial-1")["step"] == 6
    first, begun = files_of(folder / "trial-0"), (folder / "trial-1" / "run.json").stat().st_mtime_ns
    code, out, err = ammgraph("sweep", "--resume", folder)
    assert code == 0, err
    assert "trial-0" not in err
    assert "trial-1 (2 of 3): " in err
    assert "which goes on in s/trial-1\n" in err
    assert files_of(folder / "trial-0") == first
    assert (folder / "trial-1" / "run.json").stat().st_mtime_ns == begun
    tried = read_tried(folder)
    assert [one.state for one in tried] == ["finished"] * 3
    assert all_are_different(tried)
    for one in tried:
        assert [look for look, _ in one.looks] == [1, 2, 3, 4]
        assert each_step_is_written_once(tried_folder(folder, one.number))
    assert is_as_if_trained_alone(folder / "trial-1", tmp_path / "alone", ammgraph)
    (folder / "tried.json").unlink()  # as after a kill right behind the last trial
    assert ammgraph("sweep", "--resume", folder)[0] == 0  # nothing is left
    assert read_tried(folder) == tried
    assert ammgraph("sweep", "--resume", folder, "--trials", 4)[0] == 0
    assert len(read_tried(folder)) == 4


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def storage(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """`--storage` of a sweep: none, which is a file of SQLite, and a server that runs for this test."""
    if request.param == "SQLite":
        yield ()
        return
    pytest.importorskip("psycopg", reason="a sweep on PostgreSQL needs its driver: pip install 'ammgraph[postgresql]'")
    with a_postgresql_server() as address:
        yield ("--storage", address)


@needs_optuna
@pytest.mark.slow
def test_a_sweep_of_two_processes_that_are_killed_loses_nothing_and_tries_nothing_twice(
    storage: tuple[str, ...], ammgraph: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    words = ("sweep", TINY, "--vary", RATE, "--vary", "training.batch_size=32..64", *METRIC, "--trials", 12)
    more = ("--set", "training.steps=60", *LOOKS, "--run-dir", folder, "--checkpoint-seconds", 0, "--log-every", 5)
    processes = [subprocess.Popen(command(*words, *more, *storage), env=environment(), stderr=subprocess.DEVNULL)]
    _wait(lambda: (folder / "sweep.json").exists(), processes)
    processes.append(_again(folder, *storage))
    _wait(lambda: len(read_tried(folder)) >= 5 and len(_under_way(folder)) == 2, processes)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = read_tried(folder)
    cut = _under_way(folder)
    ended = {path: files_of(path) for path in folder.glob("trial-*") if (path / "evaluation.json").exists()}
    begun = {run: (run / "run.json").stat().st_mtime_ns for run in cut}
    assert cut
    assert ended
    processes = [_again(folder, *storage), _again(folder, *storage)]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0]
    tried = read_tried(folder)
    assert [one.number for one in tried] == list(range(12))
    assert {one.state for one in tried} <= {"finished", "pruned"}
    assert all_are_different(tried)
    assert {path.name for path in folder.glob("trial-*") if path.is_dir()} == {f"trial-{n}" for n in range(12)}
    for one in before:  # what had been found is as it was
        assert tried[one.number].values == one.values
        assert one.state == "begun" or tried[one.number] == one
    assert {path: files_of(path) for path in ended} == ended
    assert {run: (run / "run.json").stat().st_mtime_ns for run in cut} == begun
    for one in tried:
        run = tried_folder(folder, one.number)
        assert each_step_is_written_once(run)
        looks = [line["evaluation"][read_sweep(folder).metric] for line in lines_of(run) if "evaluation" in line]
        assert one.looks == tuple(enumerate(looks, start=1))
        assert one.state == "pruned" or state_of(run)["step"] == 60
    whole = [run for run in cut if state_of(run)["step"] == 60]
    for number, run in enumerate(whole):
        assert is_as_if_trained_alone(run, tmp_path / f"alone-{number}", ammgraph)


def _again(folder: Path, *storage: str) -> "subprocess.Popen[bytes]":
    words = command("sweep", "--resume", folder, *storage)
    return subprocess.Popen(words, env=environment(), stderr=subprocess.DEVNULL)


def _under_way(folder: Path) -> list[Path]:
    """Trials with a checkpoint and without an end."""
    runs = [path for path in folder.glob("trial-*") if path.is_dir() and any((path / "checkpoints").glob("*.sha256"))]
    return [run for run in runs if not (run / "evaluation.json").exists()]


def _wait(done: Callable[[], bool], processes: list["subprocess.Popen[bytes]"]) -> None:
    until = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < until
        assert all(process.poll() is None for process in processes)
        time.sleep(0.02)


@needs_optuna
def test_a_trial_that_fails_by_what_is_tried_is_told_and_the_others_go_on(ammgraph: Run) -> None:
    vary = ("--vary", "training.batch_size=40,1601,32")
    code, out, err = ammgraph("sweep", TINY, *vary, *METRIC, "--trials", 9, "--run-dir", "s")
    assert code == 0, err
    tried = read_tried(Path("s"))
    assert sorted((one.values[0], one.state) for one in tried) == [
        ("1601", "failed"),
        ("32", "finished"),
        ("40", "finished"),
    ]
    (failed,) = [one for one in tried if one.state == "failed"]
    assert failed.reason.startswith("a batch of 1601 is larger than data")
    assert f"trial-{failed.number} ({failed.number + 1} of 9) has failed: a batch of 1601 is larger" in err
    assert "3 trials: 2 finished, 1 failed; lower is better, by validation examples\n" in out
    assert "what is varied has no more than 3 combinations\n" in out


@needs_optuna
def test_a_sweep_of_which_every_trial_failed_says_so_and_why_wherever_it_is_asked(ammgraph: Run) -> None:
    words = ("sweep", TINY, "--vary", "training.batch_size=1601,1602", *METRIC, "--run-dir", "s", "--log", "none")
    code, out, err = ammgraph(*words)
    told = "s holds a sweep of which every trial has failed (2 trials), most often (1 of 2): a batch of 160"
    assert code == 1
    assert out == (
        "2 trials: 2 failed; lower is better, by validation examples\nwhat is varied has no more than 2 combinations\n"
    )
    assert f"\nerror: {told}" in err
    for again in ("compare s", "sample s --output s.png", "evaluate s", "sweep --resume s"):
        code, _, err = ammgraph(*again.split())
        assert code == 1
        assert f"error: {told}" in err
        assert err.endswith("; vary other values in a new sweep; `ammgraph report s` shows why each failed\n")
    assert ammgraph("report", "s")[0] == 0
    assert Path("s/report.html").read_text().count("is larger than") == 2


@needs_optuna
def test_a_disk_that_refuses_is_no_trial_s_failure(ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise RunError("cannot write x: no space left") from OSError("no space left")

    with monkeypatch.context() as patch:
        at_step(patch, 3, full)
        code, _, err = ammgraph("sweep", TINY, "--vary", BATCH, *METRIC, "--trials", 2, "--run-dir", "s")
    assert code == 1
    assert "error: cannot write x: no space left" in err
    assert ammgraph("sweep", "--resume", "s")[0] == 0
    tried = read_tried(Path("s"))
    assert [one.state for one in tried] == ["finished", "finished"]
    assert all_are_different(tried)


@needs_optuna
def test_what_is_made_of_runs_is_made_of_a_sweep(ammgraph: Run) -> None:
    words = ("--vary", BATCH, *METRIC, "--trials", 3, "--run-dir", "s", "--log", "none")
    assert ammgraph("sweep", TINY, *words)[0] == 0
    best = best_of(read_sweep(Path("s")), read_tried(Path("s")))
    assert best is not None
    code, out, _ = ammgraph("report", "s", "--figures", "figures")
    assert (code, out) == (0, "s/report.html\n")
    page = Path("s/report.html").read_text()
    assert f"<code>s/trial-{best.number}</code>" in page
    assert f"<code>training.batch_size={best.values[0]}\n</code>" in page
    assert all(f'<td class="number">{one.value:.5g}</td>' in page for one in read_tried(Path("s")))
    assert {path.name for path in Path("figures").iterdir()} == {
        f"{name}.{kind}" for name in ("looks", "axis_1_training_batch_size") for kind in ("svg", "csv")
    }
    assert ammgraph("report", "s", "--split", "test")[2].startswith("error: the page of a sweep shows its trials, and")
    code, out, err = ammgraph("compare", "s")
    assert code == 0
    assert out.count("validation images") == 3
    code, _, err = ammgraph("sample", "s", "--output", "s.png")
    assert (code, err) == (
        0,
        f"s holds a sweep: this is of s/trial-{best.number}, its best trial; name another for its own\n",
    )
    code, _, err = ammgraph("train", "--resume", "s")
    assert (code, err) == (
        1,
        "error: s holds a sweep; `ammgraph sweep --resume s` goes on with it, `ammgraph report s` shows it\n",
    )
    assert ammgraph("train", TINY, "--run-dir", "s", "--force")[0] == 1


# ------------------------------------------------------------------------------------------------ what is refused


@needs_optuna
def test_evaluate_of_a_sweep_without_test_examples_says_which_are_scored(ammgraph: Run) -> None:
    words = ("--vary", "training.batch_size=32,40", *METRIC, "--trials", 1, "--run-dir", "s", "--log", "none")
    assert ammgraph("sweep", TINY, *words)[0] == 0
    _, out, err = ammgraph("evaluate", "s")
    assert "on 1,600 training images:" in out
    told = (
        "the data have no test examples: the best trial is scored on the training examples, which it has learned; "
        "`--split validation` scores it on those that chose it\n"
    )
    assert told in err
    _, out, err = ammgraph("evaluate", "s", "--split", "validation")
    assert "on 197 validation images:" in out
    assert told not in err
    assert told not in ammgraph("evaluate", "s/trial-0")[2]


@needs_optuna
def test_a_trial_of_a_sweep_stays_what_the_sweep_s_table_says_and_a_copy_goes_on(ammgraph: Run, tmp_path: Path) -> None:
    words = ("--vary", "training.batch_size=32,40", *METRIC, "--trials", 1, "--run-dir", "s", "--log", "none")
    assert ammgraph("sweep", TINY, *words)[0] == 0
    before = files_of(tmp_path)
    longer = ("--set", "training.steps=80")
    for place in ("s/trial-0", "s/../s/trial-0/"):
        code, out, err = ammgraph("train", "--resume", place, *longer)
        assert (code, out) == (1, "")
        assert err.startswith(
            f"error: {Path(place)} is a trial of the sweep s, whose table says what it was trained with, and stays as "
            "it is; copy the folder, and go on with the copy: `cp -r "
        )
    assert files_of(tmp_path) == before
    subprocess.run(shlex.split(err.partition("`")[2].partition("`")[0]), check=True)
    code, _, err = ammgraph("train", "--resume", "trial-0-longer", *longer)
    assert code == 0, err
    assert state_of(Path("trial-0-longer"))["step"] == 80
    assert {f"s/{path}": text for path, text in files_of(tmp_path / "s").items()} == before
    assert ammgraph("train", "--resume", "s/trial-0")[0] == 0  # as one that was stopped


NONE_HELD_OUT = ("--set", "data.validation=0")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((*METRIC,), "a sweep varies something: say what, as by `--vary training.batch_size=32,64,128`"),
        (("--vary", BATCH), "say what is best, by `--metric`, as in `--metric reconstruction_error`"),
        (
            ("--vary", BATCH, *METRIC, *NONE_HELD_OUT),
            "a sweep chooses by validation examples, and digits has none here: hold some out, as by "
            "`--set data.validation=179`",
        ),
        (
            ("--vary", BATCH, "--metric", "test/clustering_error"),
            "`test/clustering_error` is of test examples, and a sweep chooses by validation examples: test labels "
            "choose nothing; write `--metric clustering_error`",
        ),
        (
            ("--vary", BATCH, "--metric", "train/reconstruction_error"),
            "`train/reconstruction_error` is of training examples, and a sweep chooses by validation examples: a model "
            "fits its own training examples; write `--metric reconstruction_error`",
        ),
        (
            ("--vary", BATCH, "--metric", "FID"),
            "no look at the validation examples finds `FID`; it finds `y/one_to_one_error`, ",
        ),
        (
            ("--vary", BATCH, *METRIC, "--set", "training.batch_size=3"),
            "`training.batch_size` is said twice; `--vary` and `--set` say each value once",
        ),
        (("--vary", BATCH, *METRIC, "--trials", "10001"), "`--trials` is 10,001, expected at most 10,000"),
        (
            ("--vary", "data.validation=100..200", *METRIC),
            "`data.validation` decides which examples trials are compared on, or when: it is the same for all; set it "
            "by `--set`",
        ),
    ],
)
def test_what_cannot_be_swept_is_refused_and_leaves_nothing(
    words: tuple[str, ...], told: str, ammgraph: Run, tmp_path: Path
) -> None:
    code, out, err = ammgraph("sweep", TINY, *words)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {told}")
    assert list(tmp_path.iterdir()) == []


@needs_optuna
@pytest.mark.parametrize("metric", [(), METRIC])
def test_a_model_of_which_a_look_measures_nothing_has_no_sweep(
    metric: tuple[str, ...], ammgraph: Run, tmp_path: Path
) -> None:
    code, out, err = ammgraph("sweep", "gan_mnist", "--vary", BATCH, *metric)
    assert (code, out, list(tmp_path.iterdir())) == (1, "", [])
    assert "there is nothing that a sweep can choose by" in err


@needs_optuna
@pytest.mark.parametrize(
    ("spec", "metric"),
    [("amm_digits", "reconstruction_error"), ("vat_mnist", "classification_error"), ("imsat_mnist", "nmi")],
)
def test_the_measure_that_is_named_is_one_of_the_model(spec: str, metric: str, ammgraph: Run) -> None:
    told = f"error: say what is best, by `--metric`, as in `--metric {metric}`\n"
    assert ammgraph("sweep", spec, "--vary", BATCH) == (1, "", told)


@needs_optuna
@pytest.mark.parametrize(
    ("first", "again"),
    [
        ((*METRIC, *NONE_HELD_OUT), (*METRIC, "--set", "data.validation=179")),
        (("--metric", "test/clustering_error"), ("--metric", "clustering_error")),
    ],
)
def test_what_the_refusal_says_works(first: tuple[str, ...], again: tuple[str, ...], ammgraph: Run) -> None:
    code, _, err = ammgraph("sweep", TINY, "--vary", BATCH, *first)
    assert code == 1
    assert " ".join(again[-2:]) in err
    assert ammgraph("sweep", TINY, "--vary", BATCH, *again, "--trials", 1)[0] == 0


@pytest.mark.parametrize(
    ("vary", "told"),
    [
        ("training.learning_rate=1e-4..1e-2:log", "error[unknown-key]: unknown key `learning_rate`"),
        ("training.batch_size=0..64", "error[out-of-range]"),
        ("training.optimizers.default.name=adam,adamm", "error[unknown-value]"),
    ],
)
def test_what_no_spec_takes_is_refused_where_it_stands(vary: str, told: str, ammgraph: Run, tmp_path: Path) -> None:
    code, out, err = ammgraph("sweep", TINY, "--vary", vary, *METRIC)
    assert (code, out) == (1, "")
    assert err.startswith(told)
    assert "--> --set:1:" in err
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_vary_is_a_wrong_usage(ammgraph: Run) -> None:
    code, _, err = ammgraph("sweep", TINY, "--vary", "training.batch_size=5", *METRIC)
    assert code == 2
    assert "`training.batch_size=5` varies nothing: expected two different values or more" in err


def test_without_optuna_a_sweep_says_how_to_install_it(ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, out, err = ammgraph("sweep", TINY, "--vary", BATCH, *METRIC)
    assert (code, out) == (1, "")
    assert err == "error: a sweep needs Optuna, which is not installed: pip install 'ammgraph[sweep]'\n"


@needs_optuna
def test_a_folder_that_holds_something_else_is_left_alone(ammgraph: Run, tmp_path: Path) -> None:
    words = ("sweep", TINY, "--vary", BATCH, *METRIC, "--run-dir")
    make_run(tmp_path / "run", TINY)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    before = files_of(tmp_path)
    assert ammgraph(*words, "run")[2] == "error: run holds a run; name another\n"
    assert ammgraph(*words, "full")[2] == (
        "error: full holds files that are no run's (file); name a folder that is new or empty\n"
    )
    assert ammgraph("sweep", "--resume", "full")[2] == "error: full holds no sweep: it has no sweep.json\n"
    assert files_of(tmp_path) == before


@needs_optuna
def test_what_a_sweep_keeps_cannot_be_changed(ammgraph: Run, study: Study) -> None:
    for words in (("--vary", BATCH), METRIC, ("--set", "training.steps=3"), ("--seed", 1), ("--no-prune",)):
        code, _, err = ammgraph("sweep", "--resume", study.folder, *words)
        assert (code, err.startswith("error: a sweep keeps its spec, what it varies and measures")) == (1, True)
    assert ammgraph("sweep", "--resume", study.folder, "--allow-outside")[2] == (
        "error: a sweep keeps its spec, which has no `extends` any more; `--resume` takes no `--allow-outside`\n"
    )
    assert ammgraph("sweep", "--resume", study.folder, "--trials", 1)[2] == (
        "error: the sweep has 20 trials; `--trials` can only give it more\n"
    )
    assert ammgraph("sweep", "--resume", study.folder, "--storage", "sqlite:///other.db")[0] == 1


# ------------------------------------------------------------------------------------------------ the study


def sweep_of(*vary: str, trials: int = 20, prune: bool = True, storage: str | None = None) -> Sweep:
    options = RunOptions("tiny", 0, "float32", None, 50, 60.0, "ammgraph train tiny.yaml")
    return Sweep(vary, "x/reconstruction_error", "lower", trials, prune, "study", storage, None, options)


@pytest.fixture
def study(_optuna: None, tmp_path: Path) -> Study:
    return begun(tmp_path / "study", sweep_of("a=1..4", "b=x,y,z"))


def begun(folder: Path, sweep: Sweep) -> Study:
    from ammgraph.runs.run import options_text

    folder.mkdir()
    (folder / "sweep.json").write_bytes(options_text(sweep))
    return Study(folder, sweep)


def test_all_of_a_finite_space_is_tried_and_nothing_twice(study: Study) -> None:
    found = []
    for place in range(12):
        with study.claimed() as claim:
            assert claim is not None
            found.append(claim.values)
            study.end(claim.number, "finished" if place % 3 else "failed", 0.5)
    assert sorted(found) == [(a, b) for a in (1, 2, 3, 4) for b in ("x", "y", "z")]
    with study.claimed() as claim:
        assert claim is None


def test_two_processes_never_have_the_same_trial_and_what_one_leaves_the_next_one_takes(study: Study) -> None:
    other = Study(study.folder, read_sweep(study.folder))
    with ExitStack() as stack:
        claims = [stack.enter_context(one.claimed()) for one in (study, other, study)]
        assert [claim.number for claim in claims if claim] == [0, 1, 2]
        stack.pop_all().close()  # as when the processes end
    with study.claimed() as first, other.claimed() as second:
        assert (first, second) == tuple(claims[:2])
        assert first is not None
        study.end(first.number, "finished", 1.0)
    with study.claimed() as claim:
        assert claim == claims[1]


def test_a_trial_is_pruned_where_it_is_worse_than_half_of_those_before(study: Study) -> None:
    for number in range(FIRST_PRUNED):
        with study.claimed() as claim:
            assert claim is not None
            assert [study.report(number, look, 1.0 / look + number) for look in (1, 2, 3)] == [False] * 3
            study.end(number, "finished", 1.0)
    with study.claimed() as claim:
        assert claim is not None
        assert not study.report(claim.number, 1, 9.0)  # too early
        assert study.report(claim.number, 2, 9.0)
        assert study.report(claim.number, 2, 0.0)  # what is known is not written again
        study.end(claim.number, "pruned")
    tried = study.tried()
    assert (tried[-1].state, tried[-1].value, tried[-1].looks) == ("pruned", 9.0, ((1, 9.0), (2, 9.0)))
    kept = Study(study.folder, sweep_of("a=1..4", "b=x,y,z", prune=False))
    with kept.claimed() as claim:
        assert claim is not None
        assert not kept.report(claim.number, 2, 9.0)


def test_the_best_is_of_those_that_have_come_to_their_end() -> None:
    sweep = sweep_of("a=1..4")
    tried = (
        Tried(0, (1,), "finished", 0.5),
        Tried(1, (2,), "pruned", 0.1),
        Tried(2, (3,), "finished", 0.4),
        Tried(3, (4,), "failed", None),
    )
    assert [one.number for one in ranked(sweep, tried)] == [2, 0, 1, 3]
    assert best_of(sweep, tried) == tried[2]
    assert best_of(sweep, tried[1:2]) is None


@needs_optuna
def test_a_database_of_one_s_own_has_the_trials_and_its_password_is_written_nowhere(
    ammgraph: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"sqlite:///{tmp_path / 'mine.db'}"
    words = ("--vary", BATCH, *METRIC, "--trials", 1, "--run-dir", "s")
    assert ammgraph("sweep", TINY, *words, "--storage", address)[0] == 0
    assert read_sweep(Path("s")).storage == address
    assert not (Path("s") / "sweep.db").exists()
    assert ammgraph("sweep", "--resume", "s", "--trials", 2)[0] == 0
    for wrong in ("nonsense", "sqlite:////no/such/folder/a.db", "unknown://me:secret@localhost:1/x"):
        code, _, err = ammgraph("sweep", TINY, *words[:-1], "t", "--storage", wrong)
        assert code == 1
        assert err.startswith("error: the sweep's database cannot be used: ")
        assert "secret" not in err
        assert not Path("t").exists()
    monkeypatch.setitem(sys.modules, "psycopg", None)
    code, _, err = ammgraph("sweep", TINY, *words[:-1], "t", "--storage", "postgresql+psycopg://me:secret@localhost/x")
    assert (code, Path("t").exists()) == (1, False)
    assert err == (
        "error: `postgresql+psycopg://me:***@localhost/x` needs the driver `psycopg`, not installed here; "
        "`pip install 'ammgraph[postgresql]'` brings that of `postgresql+psycopg://`\n"
    )
    from ammgraph.runs.study import without_password

    hidden = without_password("postgresql://me:secret@host/x")
    assert hidden == "postgresql://me:***@host/x"
    with pytest.raises(RunError, match=r"has a password, which is not kept; say it again, as by .*--storage"):
        begun(tmp_path / "u", sweep_of("a=1..4", storage=hidden))
