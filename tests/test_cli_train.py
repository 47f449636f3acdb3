"""`ammgraph train`: what it prints and writes, what it refuses, how it is stopped and goes on."""

import json
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from tiny import FOLDER, LABELED, TINY, command, differences, environment
from tiny_runs import Run, files_of, lines_of, state_of

from ammgraph import __version__, cli
from ammgraph.commands import show
from ammgraph.runs import checkpoint, run

READOUT = "clustering error of y, one-to-one"

# ------------------------------------------------------------------------------------------------ train


def test_training_writes_a_run_directory_and_prints_its_results(ammgraph: Run, tmp_path: Path) -> None:
    code, out, err = ammgraph("train", TINY, "--log-every", 5)
    assert code == 0
    folder = tmp_path / "runs" / "tiny-1"
    assert {"spec.json", "plan.txt", "run.json", "environment.json", "metrics.jsonl"} <= set(files_of(folder))
    result, baseline, *verdict, where, following = out.splitlines()
    assert re.fullmatch(r"clustering error of y, one-to-one, by q\(y\|x\)  [\d.]+ %, on 1,600 training images", result)
    assert re.fullmatch(r"k-means +[\d.]+ %", baseline)
    assert verdict[0].startswith("health: ")
    assert where == f"run: {Path('runs/tiny-1')}"
    assert following == f"Next: ammgraph report {Path('runs/tiny-1')}"
    assert "model   q = q(x) q(y|x) q(z|x)   p = p(y) p(z|y) p(x|y,z)" in err
    assert f"run     {Path('runs/tiny-1')}, seed 0, cpu, float32, steps 0 to 13 (40 an epoch)" in err
    assert re.search(r"\nstep 1/13  .*\nstep 5/13  epoch 0\.1  q\.y: \d+/10 in use  joint: D ", err)
    assert "trained 13 steps; this session took 0:0" in err
    assert ammgraph("train", TINY)[0] == 0
    assert (tmp_path / "runs" / "tiny-2").is_dir()


def test_the_same_command_gives_the_same_bits_and_another_seed_others(ammgraph: Run, finished: Path) -> None:
    for name, seed in (("again", 2), ("other", 3)):
        assert ammgraph("train", TINY, "--run-dir", name, "--log-every", "5", "--seed", seed)[0] == 0
    assert differences(state_of(finished), state_of(Path("again"))) == []
    assert lines_of(finished) == lines_of(Path("again"))
    assert differences(state_of(finished)["model"], state_of(Path("other"))["model"])


def test_the_numbers_printed_at_the_end_are_those_of_evaluate(ammgraph: Run) -> None:
    _, trained, _ = ammgraph("train", TINY, "--run-dir", "my run")
    code, out, err = ammgraph("evaluate", "my run")
    assert (code, err) == (0, "")
    first, *scored = out.splitlines()
    assert (first, scored[0]) == ("my run at step 13", "on 1,600 training images:")
    shown = [re.split(r"  +", line.strip()) for line in scored]
    values = {rule: value for label, rule, value in (line for line in shown if len(line) == 3) if label == READOUT}
    assert set(values) == {"q(y|x)", "p(y|z)", "k-means"}
    lines = trained.splitlines()
    assert lines[0] == f"{READOUT}, by q(y|x)  {values['q(y|x)']}, on 1,600 training images"
    assert lines[1].startswith("k-means  ")
    assert lines[1].endswith(f"  {values['k-means']}")
    health = scored.index(next(line for line in scored if line.startswith("health: ")))
    assert lines[2:] == [*scored[health:], "run: my run", "Next: ammgraph report 'my run'"]


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_other_precisions_train_are_resumed_and_evaluated(precision: str, ammgraph: Run) -> None:
    assert ammgraph("train", TINY, "--run-dir", "run", "--precision", precision, "--set", "training.steps=3")[0] == 0
    assert json.loads(Path("run/run.json").read_text())["precision"] == precision
    code, _, err = ammgraph("train", "--resume", "run", "--set", "training.steps=5")
    assert code == 0
    assert f"{precision}, steps 3 to 5" in err
    assert ammgraph("evaluate", "run")[0] == 0
    code, _, err = ammgraph("train", "--resume", "run", "--precision", "float32")
    assert (code, err) == (1, f"error: the run began in {precision}; `--resume` cannot change it to float32\n")


def test_labels_give_a_classification_error(ammgraph: Run) -> None:
    _, out, _ = ammgraph("train", LABELED, "--set", "training.steps=2")
    assert out.startswith("classification error of y, by q(y|x)  ")
    assert "clustering" not in out
    assert "k-means" not in out


def test_a_run_directory_is_not_used_twice(ammgraph: Run, finished: Path) -> None:
    before = files_of(finished)
    code, out, err = ammgraph("train", TINY, "--run-dir", finished)
    assert (code, out) == (1, "")
    assert "holds a run already; go on with `ammgraph train --resume " in err
    assert files_of(finished) == before


def test_two_processes_do_not_train_in_one_directory(ammgraph: Run, finished: Path) -> None:
    before = files_of(finished)
    with run.locked(finished):
        for arguments in (("--resume", finished), (TINY, "--run-dir", finished)):
            code, out, err = ammgraph("train", *arguments)
            assert (code, out, err) == (1, "", f"error: another process is training in {finished}\n")
    assert files_of(finished) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TINY, "--device", "tpu"), "error: `tpu` is no device; expected `auto`, `cpu`, `cuda` or `cuda:N`"),
        ((TINY, "--device", "cuda:99"), "error: there is no device `cuda:99`"),
        ((TINY, "--set", "training.batch_size=1601"), "error: a batch of 1601 is larger than data"),
        ((TINY, "--set", "data.validation=1797"), "error: `data.validation` holds out 1,797 of 1,797"),
        ((TINY, "--run-dir", TINY), "error: cannot write the run directory"),
        (("--resume", "."), "error: . is no run directory: it has no run.json"),
        (("--resume", "nowhere"), "error: nowhere is no run directory: there is nothing of that name"),
        ((FOLDER / "bad_specs" / "duplicate_key.yaml",), "error[duplicate-key]"),
        (("absent.yaml",), "error[unreadable-spec]"),
    ],
)
def test_what_cannot_train_says_why(arguments: tuple[object, ...], message: str, ammgraph: Run) -> None:
    code, out, err = ammgraph("train", *arguments)
    assert (code, out) == (1, "")
    assert err.startswith(message)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--seed", "5"), "error: a run keeps its directory and its seed (2); `--resume` takes neither"),
        (("--run-dir", "other"), "error: a run keeps its directory and its seed (2); `--resume` takes neither"),
        (("--allow-outside",), "error: `--resume` goes on with a spec that has no `extends` any more; it takes no "),
        (("--set", "constants.K=12"), "are of another plan"),
        (("--set", "data.seed=1"), "are of another "),
    ],
)
def test_what_a_run_keeps_cannot_be_changed(
    arguments: tuple[str, ...], message: str, ammgraph: Run, finished: Path
) -> None:
    before = files_of(finished)
    code, out, err = ammgraph("train", "--resume", finished, *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert files_of(finished) == before


def test_a_loss_that_is_not_finite_is_exit_code_1(ammgraph: Run) -> None:
    explode = "training.optimizers.default={name: sgd, learning_rate: 1e+15}"
    code, out, err = ammgraph("train", TINY, "--run-dir", "run", "--set", explode)
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    found = re.fullmatch(
        r"error: (?:the \w+'s loss|`\w+`) of (?:game )?`joint` is (?:nan|inf) at step 2; "
        r"no checkpoint was written yet; training has diverged: begin a new run with lower learning rates, "
        r"as by `--set 'training\.optimizers\.default\.learning_rate=1e\+14' \(now 1000000000000000\)`",
        last,
    )
    assert found, last
    assert not checkpoint.has_checkpoint(Path("run/checkpoints"))


def test_an_unexpected_exception_is_a_bug(ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(show, "compiled", broken)
    code, out, err = ammgraph("show", TINY)
    assert (code, out) == (3, "")
    assert err.startswith("Traceback")
    assert err.endswith(
        f"this is a bug in ammgraph {__version__}: please report it with the spec and the lines above\n"
    )


def test_an_interrupt_outside_the_training_is_exit_code_130(ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(show, "compiled", interrupted)
    assert ammgraph("show", TINY) == (130, "", "interrupted\n")


# ------------------------------------------------------------------------------------------------ stopping, resuming


def stopped_by(number: int, folder: Path, *arguments: object) -> tuple[int, int, list[str]]:
    """Train, send a signal at the third line of the log: exit code, the step it stopped at, stderr."""
    words = command("train", *arguments, "--log-every", 7)
    with subprocess.Popen(words, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            if line.startswith("step 21/"):
                process.send_signal(number)
    step = int(re.search(r"stopped at step ([\d,]+)", "\n".join(lines))[1].replace(",", ""))  # type: ignore[index]
    return process.returncode, step, lines


def test_ctrl_c_saves_and_the_printed_command_goes_on_to_the_same_end(tmp_path: Path, ammgraph: Run) -> None:
    folder = tmp_path / "my run"
    code, step, lines = stopped_by(
        signal.SIGINT, tmp_path, TINY, "--run-dir", folder.name, "--set", "training.steps=100000"
    )
    assert code == 130
    assert step >= 21
    assert lines[-2:] == [f"stopped at step {step:,}; go on with", "  ammgraph train --resume 'my run'"]
    assert not any("Traceback" in line for line in lines)
    end = f"training.steps={step + 20}"
    program, *words = shlex.split(lines[-1])
    assert program == "ammgraph"
    code, _, err = ammgraph(*words, "--set", end)
    assert code == 0
    assert f"steps {step:,} to {step + 20:,}" in err
    whole = tmp_path / "whole"
    assert cli.main(["train", str(TINY), "--run-dir", str(whole), "--set", end, "--log-every", "7"]) == 0
    assert differences(state_of(whole), state_of(folder)) == []
    assert lines_of(folder) == lines_of(whole)


def test_sigterm_saves_and_exits_143(tmp_path: Path, ammgraph: Run) -> None:
    code, step, _ = stopped_by(signal.SIGTERM, tmp_path, LABELED, "--run-dir", "run", "--set", "training.steps=100000")
    assert code == 143
    assert checkpoint.load_newest(tmp_path / "run" / "checkpoints")[0] == step
    code, _, err = ammgraph("train", "--resume", "run", "--set", f"training.steps={step + 1}")
    assert code == 0
    assert f"steps {step:,} to {step + 1:,}" in err


def test_a_run_that_never_saved_begins_anew(ammgraph: Run, finished: Path) -> None:
    assert ammgraph("train", TINY, "--run-dir", "run", "--log-every", 5, "--seed", 2)[0] == 0
    for path in [*Path("run/checkpoints").iterdir(), Path("run/evaluation.json")]:
        path.unlink()
    code, _, err = ammgraph("train", "--resume", "run")
    assert code == 0
    assert "steps 0 to 13" in err
    assert differences(state_of(finished), state_of(Path("run"))) == []
    assert lines_of(finished) == lines_of(Path("run"))


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(ammgraph: Run, finished: Path) -> None:
    assert ammgraph("train", TINY, "--run-dir", "run", "--checkpoint-seconds", 0, "--log-every", 5, "--seed", 2)[0] == 0
    newest = Path("run/checkpoints/step-000000013.pt")
    newest.write_bytes(newest.read_bytes()[:-100])
    code, out, err = ammgraph("evaluate", "run")
    warning = "warning: step-000000013.pt is damaged: its checksum differs; an older checkpoint is used\n"
    assert (code, err) == (0, warning)
    assert out.startswith("run at step 12\n")
    code, _, err = ammgraph("train", "--resume", "run")
    assert code == 0
    assert err.startswith(warning)
    assert differences(state_of(finished), state_of(Path("run"))) == []
    assert lines_of(finished) == lines_of(Path("run"))


def test_how_often_a_run_logs_and_saves_is_kept_on_resuming(ammgraph: Run) -> None:
    stop = ("--set", "training.steps=4", "--log-every", 3, "--checkpoint-seconds", 0)
    assert ammgraph("train", TINY, "--run-dir", "run", *stop)[0] == 0
    assert ammgraph("train", "--resume", "run", "--set", "training.steps=7")[0] == 0
    steps = [line["step"] for line in lines_of(Path("run")) if "evaluation" not in line]
    assert steps == [3, 4, 6, 7]
    assert sorted(path.stem for path in Path("run/checkpoints").glob("*.pt")) == ["step-000000006", "step-000000007"]


def test_a_run_that_was_lengthened_is_as_long_from_then_on(ammgraph: Run) -> None:
    assert ammgraph("train", TINY, "--run-dir", "run", "--set", "training.steps=2")[0] == 0
    assert ammgraph("train", "--resume", "run", "--set", "training.steps=4")[0] == 0
    assert json.loads(Path("run/spec.json").read_text())["training"]["steps"] == 4
    code, _, err = ammgraph("train", "--resume", "run")
    assert (code, "it has trained 4 steps, and 4 are asked for" in err) == (0, True)
    ammgraph("train", "--resume", "run", "--set", "training.steps=3")  # there is nothing to do, and nothing to record
    assert json.loads(Path("run/spec.json").read_text())["training"]["steps"] == 4
    assert ammgraph("evaluate", "run")[0] == 0


@pytest.mark.parametrize("changed", ["title=other", "evaluation.every_epochs=1/20", "evaluation.keep=null"])
def test_what_would_change_nothing_of_a_run_at_its_end_is_refused(changed: str, ammgraph: Run) -> None:
    keep = ("--set", "training.steps=2", "--set", "evaluation.keep=best reconstruction_error")
    assert ammgraph("train", TINY, "--run-dir", "run", *keep)[0] == 0
    before = Path("run/spec.json").read_bytes()
    assert ammgraph("train", "--resume", "run", *keep)[0] == 0  # what it is already is asked for
    code, _, err = ammgraph("train", "--resume", "run", "--set", changed)
    assert (code, Path("run/spec.json").read_bytes()) == (1, before)
    assert err.startswith(f"error: run has come to its end, after 2 steps, and `{changed}` would change nothing of it")
    assert ammgraph("train", "--resume", "run", "--set", changed, "--set", "training.steps=3")[0] == 0
    assert Path("run/spec.json").read_bytes() != before


# ------------------------------------------------------------------------------------------------ train --dry-run


def test_beside_the_title_stands_what_was_set(ammgraph: Run) -> None:
    words = ("--set", "constants.K=12", "--set", "training.steps=2", "--set", "networks.decoder.layers.h.channels=8")
    assert ammgraph("train", TINY, "--run-dir", "run", *words)[2].startswith(
        "tiny, with constants.K=12, networks.decoder.layers.h.channels=8\n  model "
    )
    code, _, err = ammgraph("train", "--resume", "run", "--set", "training.steps=3")
    assert (code, err.startswith("tiny, with constants.K=12, ")) == (0, True)


def test_a_dry_run_measures_and_leaves_no_file(ammgraph: Run) -> None:
    code, out, err = ammgraph("train", TINY, "--dry-run")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["joint", "generator", "components"] in [line[:3] for line in lines]
    assert ["decoder", "1,281"] in [line[:2] for line in lines]
    assert "an epoch of 40 steps, 0:0" in out
    assert out.endswith("nothing was written\n")
    assert list(Path.cwd().iterdir()) == []


def test_a_dry_run_makes_up_data_that_are_not_at_hand(ammgraph: Run, tmp_path: Path) -> None:
    where = ("--data-dir", tmp_path, "--set", "training.batch_size=10")
    code, out, _ = ammgraph("train", FOLDER.parent / "specs" / "ali_mnist.yaml", "--dry-run", *where)
    assert code == 0
    assert "synthetic images of 1x28x28 in place of `mnist`" in out
    assert f"MNIST is not in {tmp_path}/MNIST/raw" in out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_takes_a_spec_alone(ammgraph: Run, finished: Path) -> None:
    of_a_run = (("--run-dir", "r"), ("--log", "none"), ("--log-every", 5), ("--checkpoint-seconds", 0))
    for words in (("--resume", finished), (TINY, "--trials", "2"), *((TINY, *words) for words in of_a_run)):
        code, out, err = ammgraph("train", *words, "--dry-run")
        assert (code, out) == (1, "")
        named = next(word for word in words if str(word).startswith("--"))
        assert err == f"error: `--dry-run` tries a spec and keeps nothing; it takes no `{named}`\n"


def test_a_dry_run_of_what_cannot_learn_is_exit_code_1(ammgraph: Run) -> None:
    huge = "training.initializer.weights.normal=1e30"  # two layers of it exceed single precision
    code, out, _ = ammgraph("train", TINY, "--dry-run", "--set", huge)
    assert code == 1
    assert re.search(r"^error: the gradient of network `critic` is (nan|inf)$", out, re.MULTILINE)


def test_what_does_not_fit_an_earlier_run_is_told_line_by_line(ammgraph: Run, finished: Path) -> None:
    wider = ("--set", "networks.encoder.layers.h.channels=9", "--set", f"networks.encoder.from={finished}")
    code, out, err = ammgraph("train", TINY, "--run-dir", "next", *wider)
    assert (code, out) == (1, "")
    first, *rows = err[err.index("error: ") :].splitlines()
    assert first == f"error: `encoder` cannot begin as `{finished}`:"
    assert len(rows) > 1
    assert all(row.startswith("  row `") and row.endswith(" there") for row in rows)


def test_the_number_at_the_end_is_told_with_the_step_that_was_kept(ammgraph: Run, tmp_path: Path) -> None:
    keep = ("--set", "evaluation.keep=best reconstruction_error", "--set", "evaluation.every_epochs=1/20")
    code, out, err = ammgraph("train", TINY, "--run-dir", "kept", *keep)
    assert code == 0
    step = checkpoint.load_newest(tmp_path / "kept" / "best")[0]
    assert out.splitlines()[0].endswith(f"on 1,600 training images, of the best state, step {step}")
    assert "trained 13 steps" in err
    assert ammgraph("report", "kept", "--no-map")[0] == 0
    words = " ".join(re.sub(r"<[^>]+>", " ", (tmp_path / "kept" / "report.html").read_text()).split())
    assert re.search(r"Trained 13 steps, 0\.\d+ epochs", words)
    assert f"Weights best, of step {step}" in words
    assert "with the best weights" in words
