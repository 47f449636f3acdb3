"""The commands: what they print and where, their exit codes, and what happens when they are stopped or misused."""

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import FOLDER, LABELED, TINY, command, differences, environment, run_command
from tiny_runs import Run, files_of, lines_of, state_of

from ammgraph import __version__, cli
from ammgraph.evaluation import classifier, quality
from ammgraph.train import checkpoint, run

COMMANDS = (
    *("train", "validate", "show", "evaluate", "report", "compare", "sample", "encode", "export"),
    *("diff", "specs", "copy", "new"),
)
BAD = FOLDER / "bad_specs" / "duplicate_key.yaml"

# ------------------------------------------------------------------------------------------------ help and usage


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, ammgraph: Run) -> None:
    code, out, err = ammgraph(name, "--help")
    assert (code, err) == (0, "")
    assert f"Example: ammgraph {name} " in out
    assert max(map(len, out.splitlines())) <= 110


def test_help_names_every_command(ammgraph: Run) -> None:
    code, out, _ = ammgraph("--help")
    assert code == 0
    assert all(re.search(rf"^ +{name} ", out, re.MULTILINE) for name in COMMANDS)
    assert "Example: ammgraph train specs/amm_digits.yaml" in out
    assert Path(re.findall(r"Begin with (.*)", out)[0]).is_file()


def test_the_version(ammgraph: Run) -> None:
    assert ammgraph("--version") == (0, f"ammgraph {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("fly",), "invalid choice: 'fly'"),
        (("train",), "one of the arguments SPEC --resume is required"),
        (("train", "a.yaml", "--resume", "runs/a-1"), "not allowed with argument"),
        (("train", "a.yaml", "--seed", "-1"), "`-1` is no seed: expected a whole number from 0 to 2^63 - 1"),
        (("train", "a.yaml", "--seed", "1.5"), "`1.5` is no seed"),
        (("train", "a.yaml", "--seed", str(2**63)), "is no seed"),
        (("train", "a.yaml", "--precision", "float16"), "invalid choice: 'float16'"),
        (("train", "a.yaml", "--log-every", "0"), "`0`: expected a whole number, at least 1"),
        (("train", "a.yaml", "--checkpoint-seconds", "nan"), "`nan`: expected a number of seconds, at least 0"),
        (("train", "a.yaml", "--checkpoint-seconds", "soon"), "`soon`: expected a number of seconds, at least 0"),
        (("validate",), "the following arguments are required: SPEC"),
        (("show", "a.yaml", "--section", "shapes"), "invalid choice: 'shapes'"),
        (("evaluate", "a", "--split", "all"), "invalid choice: 'all'"),
        (("report",), "the following arguments are required: RUN"),
        (("compare",), "the following arguments are required: RUN"),
        (("compare", "a", "--format", "yaml"), "invalid choice: 'yaml'"),
        (("sample", "a", "--component", "-1"), "`-1`: expected a whole number, at least 0"),
        (("sample", "a", "--count", "0"), "`0`: expected a whole number, at least 1"),
        (("encode", "a"), "the following arguments are required: IMAGES"),
        (("train", "a.yaml", "--trials", "0"), "`0`: expected a whole number, at least 1"),
        (("copy",), "the following arguments are required: NAME"),
        (("new", "a.yaml", "--q", "q(x)"), "the following arguments are required: --p"),
        (("new", "a", "--q", "", "--p", "", "--image", "28x28"), "`28x28`: expected channels, height and width, as in"),
        (("new", "a", "--q", "", "--p", "", "--image", "1x0x1"), "`1x0x1`: expected channels, height and width"),
        (("new", "a", "--q", "", "--p", "", "--real", "64"), "`64`: expected a variable and its size, as in y:10"),
    ],
)
def test_a_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], message: str, ammgraph: Run) -> None:
    code, out, err = ammgraph(*arguments)
    assert (code, out) == (2, "")
    assert message in err


# ------------------------------------------------------------------------------------------------ validate


def test_a_valid_spec_is_one_line(ammgraph: Run) -> None:
    code, out, err = ammgraph("validate", TINY)
    assert (code, err) == (0, "")
    assert out == f"{TINY}: valid; q(x) q(y|x) q(z|x), p(y) p(z|y) p(x|y,z); 4,224 parameters\n"


def test_all_files_are_reported(ammgraph: Run) -> None:
    code, out, err = ammgraph("validate", BAD, TINY, "absent.yaml")
    assert (code, err) == (1, "\n`ammgraph explain CODE` says more\n")
    assert "error[duplicate-key]" in out
    assert f"{BAD}: " in out
    assert f"{TINY}: valid; " in out
    assert "error[unreadable-spec]" in out
    assert out.rstrip().endswith("absent.yaml: 1 error")


def test_json_is_on_stdout_alone_and_has_positions(ammgraph: Run) -> None:
    code, out, err = ammgraph("validate", "--format", "json", BAD, TINY)
    assert (code, err) == (1, "")
    bad, good = json.loads(out)
    assert good == {"spec": str(TINY), "valid": True, "warnings": []}
    assert (bad["spec"], bad["valid"]) == (str(BAD), False)
    for found in bad["errors"]:
        assert found["span"]["file"] == str(BAD)
        assert found["span"]["line"] >= 1
        assert 1 <= found["span"]["column"] < found["span"]["end_column"]
        assert found["code"] == "duplicate-key"
        assert found["message"]


def test_validate_takes_overrides(ammgraph: Run) -> None:
    code, out, _ = ammgraph("validate", TINY, "--set", "games.joint.objective=poker")
    assert code == 1
    assert "--set:1:" in out
    assert "poker" in out


# ------------------------------------------------------------------------------------------------ diff


def test_diff_tells_models_apart_and_exits_with_1_only_where_asked(ammgraph: Run) -> None:
    code, out, err = ammgraph("diff", "amm_mnist", "amm_mnist_fixed_prior")
    assert (code, err) == (0, "")
    assert out == (
        "~ prior of z: network components.z -> {mixture: {means: {normal: 1, seed: 0}, scale: 1}}\n"
        "- network components: 5 rows, 9,152 parameters\n"
        "  parameters: 1,164,183 -> 1,155,031\n"
    )
    assert ammgraph("diff", "--exit-code", "amm_mnist", "amm_mnist_fixed_prior")[0] == 1
    code, out, err = ammgraph("diff", "--exit-code", TINY, TINY)
    assert (code, out, err) == (0, f"{TINY} and {TINY} are the same model\n", "")
    code, out, _ = ammgraph("diff", "--format", "json", "amm_mnist", "amm_mnist_k20")
    assert (code, json.loads(out)["same"]) == (0, False)


def test_diff_takes_a_run(ammgraph: Run, finished: Path) -> None:
    code, out, err = ammgraph("diff", finished, finished / "spec.json")
    assert (code, err) == (0, "")
    assert out.endswith("are the same model\n")


def test_diff_of_a_wrong_spec_says_what_is_wrong(ammgraph: Run) -> None:
    code, out, err = ammgraph("diff", TINY, BAD)
    assert (code, out) == (1, "")
    assert "error[duplicate-key]" in err


# ------------------------------------------------------------------------------------------------ specs, copy, new


def test_specs_lists_what_ships_with_its_published_numbers(ammgraph: Run) -> None:
    code, out, err = ammgraph("specs")
    assert (code, err) == (0, "")
    assert (
        "amm_mnist: AMM on MNIST, K = 10, as printed\n"
        "  q(x) q(z|x) q(y|x)    1,164,183 parameters\n"
        "  p(y) p(z|y) p(x|y,z)\n"
        "  published: clustering error 3.32 +- 0.39 %, 10 trials (Table 1)\n"
    ) in out
    assert "published: classification error 5.60 +- 0.45 %, 10 trials (Table 2)\n" in out
    code, out, err = ammgraph("specs", "--format", "json")
    assert (code, err) == (0, "")
    listed = {spec["name"]: spec for spec in json.loads(out)}
    assert set(listed) == {path.stem for path in (FOLDER.parent / "specs").glob("*.yaml")}
    assert listed["amm_mnist"]["parameters"] == 1_164_183
    (number,) = listed["samm_svhn"]["published"]
    assert (number["metric"], number["value"], number["source"]) == ("classification_error", 5.6, "Table 2")


def test_a_copy_validates_and_is_not_overwritten(ammgraph: Run) -> None:
    assert ammgraph("copy", "amm_mnist_q1", "mine.yaml") == (0, "mine.yaml\namm_mnist.yaml\nammgraph.schema.json\n", "")
    code, out, _ = ammgraph("validate", "mine.yaml")
    assert (code, out[:19]) == (0, "mine.yaml: valid; q")
    code, out, err = ammgraph("copy", "amm_mnist_q1", "mine.yaml")
    assert (code, out) == (1, "")
    assert err.startswith("error: `mine.yaml` is there already and is not overwritten")


def test_new_writes_a_spec_that_validates_and_says_how_to_go_on(ammgraph: Run) -> None:
    new = ("new", "my model.yaml", "--q", "q(x) q(z|x)", "--p", "p(z) p(x|z)", "--image", "1x8x8", "--real", "z:5")
    code, out, err = ammgraph(*new)
    assert (code, err) == (0, "")
    first, *_, last = out.splitlines()
    assert first.startswith("my model.yaml: q(x) q(z|x), p(z) p(x|z); ")
    assert last == "  ammgraph train 'my model.yaml'"
    assert "# Made by: ammgraph new 'my model.yaml' --q 'q(x) q(z|x)'" in Path("my model.yaml").read_text()
    code, out, _ = ammgraph("validate", "my model.yaml")
    assert code == 0
    code, out, err = ammgraph(*new)
    assert (code, out) == (1, "")
    assert err == "error: `my model.yaml` is there already and is not overwritten; choose another name\n"


def test_new_says_in_the_argument_what_is_wrong_and_writes_nothing(ammgraph: Run) -> None:
    code, out, err = ammgraph("new", "mine.yaml", "--q", "q(x) q(z|x)", "--p", "p(z) p(x|z,y)")
    assert (code, out) == (1, "")
    assert "  --> --p:1:1\n   |\n1  | p(z) p(x|z,y)\n   | ^^^^^^^^^^^^^\n" in err
    assert not Path("mine.yaml").exists()


def test_a_shipped_spec_is_known_by_its_bare_name(ammgraph: Run) -> None:
    code, out, err = ammgraph("show", "ali_mnist", "--section", "latex")
    assert (code, err) == (0, "")
    assert "q(x, z) = q(x)" in out


# ------------------------------------------------------------------------------------------------ show


def test_show_prints_every_section(ammgraph: Run) -> None:
    code, out, err = ammgraph("show", TINY)
    assert (code, err) == (0, "")
    openings = ("tiny", "data ", "variables", "distributions", "network critic", "game joint", "step ", "%", "cost")
    places = [re.search(rf"^{opening}", out, re.MULTILINE) for opening in openings]
    assert None not in places
    starts = [place.start() for place in places if place is not None]
    assert starts == sorted(starts)


@pytest.mark.parametrize("section", cli.SECTIONS)
def test_show_prints_one_section(section: str, ammgraph: Run) -> None:
    _, whole, _ = ammgraph("show", TINY)
    code, out, err = ammgraph("show", TINY, "--section", section)
    assert (code, err) == (0, "")
    assert out.strip()
    assert out.strip() in whole
    assert len(out) < len(whole) - 100


def test_show_draws_and_prints_nothing_else(ammgraph: Run) -> None:
    for form, opening in (("svg", "<svg xmlns="), ("mermaid", "flowchart LR\n"), ("dot", "digraph {\n")):
        code, out, err = ammgraph("show", TINY, "--format", form)
        assert (code, err, out[: len(opening)]) == (0, "", opening)
        _, models, _ = ammgraph("show", TINY, "--format", form, "--section", "distributions")
        _, step, _ = ammgraph("show", TINY, "--format", form, "--section", "step")
        assert "generator loss" not in models
        assert "uniform" in models
        assert "generator loss" in step
        assert "real in joint" not in step


def test_show_gives_the_whole_plan_to_tools(ammgraph: Run) -> None:
    code, out, err = ammgraph("show", TINY, "--format", "json")
    assert (code, err) == (0, "")
    assert json.loads(out)["cost"]["parameters"] == 4224


def test_warnings_leave_the_output_alone(ammgraph: Run) -> None:
    code, out, err = ammgraph("show", TINY, "--format", "json", "--set", "variables.x.range=[-1, 1]")
    assert code == 0
    assert err.lstrip().startswith("warning[support-mismatch]")
    assert [warning["code"] for warning in json.loads(out)["warnings"]] == ["support-mismatch"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--plan", "--format", "svg"),
            "`--plan` is the whole plan as text: it takes neither `--section` nor `--format`",
        ),
        (("--format", "json", "--section", "games"), "`--format json` is the whole plan: it takes no `--section`"),
        (("--format", "dot", "--section", "games"), "`--format dot` draws the sections distributions and step only"),
    ],
)
def test_forms_of_show_that_exclude_each_other(arguments: tuple[str, ...], message: str, ammgraph: Run) -> None:
    assert ammgraph("show", TINY, *arguments) == (1, "", f"error: {message}\n")


def test_show_plan_is_what_a_run_stores(ammgraph: Run, finished: Path) -> None:
    code, out, _ = ammgraph("show", "--plan", TINY)
    assert code == 0
    assert out == (finished / "plan.txt").read_text()


def test_show_of_a_wrong_spec_says_what_is_wrong_on_stderr(ammgraph: Run) -> None:
    code, out, err = ammgraph("show", BAD)
    assert (code, out) == (1, "")
    assert "error[duplicate-key]" in err
    assert re.search(r"\n\n1 error; `ammgraph explain duplicate-key` says more\n$", err)


@pytest.mark.parametrize("arguments", [("validate", TINY, BAD), ("show", TINY), ("show", "--plan", TINY)])
def test_looking_at_a_spec_never_loads_torch(arguments: tuple[object, ...]) -> None:
    program = (
        "import sys\nfrom ammgraph.cli import main\nmain(sys.argv[1:])\n"
        "heavy = ('torch', 'numpy', 'scipy', 'sklearn', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    assert found.stderr.splitlines()[-1] == "[]"


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    for arguments in (("show", TINY), ("validate", *[TINY] * 3)):
        words = " ".join(map(shlex.quote, command(*arguments)))
        found = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {words} | true; sleep 0.1"],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (found.returncode, found.stderr) == (0, "")


def test_training_goes_on_when_nobody_reads_its_progress(tmp_path: Path) -> None:
    words = " ".join(map(shlex.quote, command("train", TINY, "--run-dir", "run", "--log-every", 1)))
    script = f"set -o pipefail; {words} 2>&1 >results | head -1 >seen"
    found = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment(), check=False)
    assert found.returncode == 0
    assert (tmp_path / "seen").read_text() == "tiny\n"
    assert checkpoint.load_newest(tmp_path / "run" / "checkpoints")[0] == 13
    assert "clustering error of y, one-to-one" in (tmp_path / "results").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_under_the_output_is_no_bug(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(
            command("validate", TINY), env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert found.returncode == 1
    assert found.stderr == "error: [Errno 28] No space left on device\n"


# ------------------------------------------------------------------------------------------------ train


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 13 steps that came to its end; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert cli.main(["train", str(TINY), "--run-dir", str(folder), "--log-every", "5", "--seed", "2"]) == 0
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to write in."""
    return Path(shutil.copytree(finished, tmp_path / "copied"))


def test_training_writes_a_run_directory_and_prints_its_results(ammgraph: Run, tmp_path: Path) -> None:
    code, out, err = ammgraph("train", TINY, "--log-every", 5)
    assert code == 0
    folder = tmp_path / "runs" / "tiny-1"
    assert {"spec.json", "plan.txt", "run.json", "environment.json", "metrics.jsonl"} <= set(files_of(folder))
    first, *rest = out.splitlines()
    assert first == "on 1,600 training images:"
    shown = [re.split(r"  +", line.strip())[:-1] for line in rest]
    assert shown[:4] == [
        ["clustering error of y, one-to-one", "q(y|x)"],
        ["clustering error of y, one-to-one", "p(y|z)"],
        ["clustering error of y, one-to-one", "k-means"],
        ["clustering error of y, one-to-one, fitted on validation images", "q(y|x)"],
    ]
    assert ["reconstruction error of x"] in shown
    assert "model   q = q(x) q(y|x) q(z|x)   p = p(y) p(z|y) p(x|y,z)" in err
    assert f"run     {Path('runs/tiny-1')}, seed 0, cpu, float32, steps 0 to 13 (40 an epoch)" in err
    assert "\nstep 5/13  epoch 0.1  joint: D " in err
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
    _, trained, _ = ammgraph("train", TINY, "--run-dir", "run")
    code, out, err = ammgraph("evaluate", "run")
    assert (code, err) == (0, "")
    assert out == f"run at step 13\n{trained}"


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
    assert "classification error of y " in out
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
        (("--resume", "nowhere"), "error: nowhere is no run directory: it has no run.json"),
        ((BAD,), "error[duplicate-key]"),
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
    code, out, err = ammgraph("train", TINY, "--run-dir", "run", "--set", explode, "--checkpoint-seconds", 0)
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    found = re.fullmatch(
        r"error: (?:the \w+'s loss|`\w+`) of (?:game )?`joint` is (?:nan|inf) at step (\d+); "
        r"the last good checkpoint is untouched",
        last,
    )
    assert found, last
    assert checkpoint.load_newest(Path("run/checkpoints"))[0] == int(found[1]) - 1


def test_an_unexpected_exception_is_a_bug(ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(cli, "_compile", broken)
    code, out, err = ammgraph("show", TINY)
    assert (code, out) == (3, "")
    assert err.startswith("Traceback")
    assert err.endswith(
        f"this is a bug in ammgraph {__version__}: please report it with the spec and the lines above\n"
    )


def test_an_interrupt_outside_the_training_is_exit_code_130(ammgraph: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_compile", interrupted)
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


def test_ctrl_c_saves_and_the_printed_command_goes_on_to_the_same_end(tmp_path: Path) -> None:
    folder = tmp_path / "my run"
    code, step, lines = stopped_by(
        signal.SIGINT, tmp_path, TINY, "--run-dir", folder.name, "--set", "training.steps=100000"
    )
    assert code == 130
    assert step >= 21
    assert lines[-2:] == [f"stopped at step {step:,}; go on with", "  ammgraph train --resume 'my run'"]
    assert not any("Traceback" in line for line in lines)
    end = f"training.steps={step + 20}"
    words = shlex.split(lines[-1])[1:]
    resumed = run_command(*words, "--set", end, folder=tmp_path)
    assert resumed.returncode == 0
    assert f"steps {step:,} to {step + 20:,}" in resumed.stderr
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
    for path in Path("run/checkpoints").iterdir():
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


# ------------------------------------------------------------------------------------------------ evaluate


def test_evaluate_as_json(ammgraph: Run, finished: Path) -> None:
    before = files_of(finished)
    code, out, err = ammgraph("evaluate", finished, "--format", "json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["step"], found["split"], found["seed"]) == (13, "train", 2)
    assert {"clustering_error", "nmi", "reconstruction_error"} <= {result["name"] for result in found["results"]}
    assert all(result["examples"] == 1600 for result in found["results"])
    assert found == json.loads((finished / "evaluation.json").read_text())
    assert files_of(finished) == before


def test_evaluate_of_another_split(ammgraph: Run, copied: Path) -> None:
    code, out, _ = ammgraph("evaluate", copied, "--split", "validation")
    assert code == 0
    assert out.startswith(f"{copied} at step 13\non 197 validation images:\n")


def test_an_evaluation_with_the_quality_of_samples(
    ammgraph: Run, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(quality, "QualityOptions", partial(quality.QualityOptions, count=40))
    monkeypatch.setattr(classifier, "STEPS", 20)
    assert "FID" not in ammgraph("evaluate", copied)[1]
    code, out, err = ammgraph("evaluate", copied, "--quality")
    assert (code, err) == (0, "")
    assert "  FID(classifier) of x" in out


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"width": 8', '"width": 7', "error["),
        ('"channels": 16', '"channels": 17', "are of another plan"),
        ('"validation": 197', '"validation": 198', "are of another plan"),
        ('"ammgraph": 1', '"ammgraph": 1,', "error[yaml-syntax]"),
    ],
)
def test_an_edited_spec_is_noticed_and_nothing_changed(
    before: str, after: str, message: str, ammgraph: Run, finished: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(finished, tmp_path / "edited")
    path = folder / "spec.json"
    path.write_text(path.read_text().replace(before, after, 1))
    files = files_of(folder)
    for arguments in (("evaluate", folder), ("train", "--resume", folder)):
        code, out, err = ammgraph(*arguments)
        assert (code, out) == (1, "")
        assert message in err
        assert "Traceback" not in err
    assert files_of(folder) == files


def test_averaged_weights_are_evaluated_where_the_spec_says_so(ammgraph: Run) -> None:
    more = ("--set", "training.ema={default: 0.5}", "--set", "evaluation.weights=ema")
    _, trained, _ = ammgraph("train", TINY, "--run-dir", "run", *more)
    assert trained.startswith("on 1,600 training images, averaged weights:\n")
    assert ammgraph("evaluate", "run")[1] == f"run at step 13\n{trained}"
    state = state_of(Path("run"))
    assert differences(state["model"], state["averaged"])


# ------------------------------------------------------------------------------------------------ what is made of a run


VERBS_OF_A_RUN = (
    ("evaluate", "{run}"),
    ("report", "{run}", "--no-map"),
    ("compare", "{run}"),
    ("sample", "{run}"),
    ("encode", "{run}", "one.png"),
)


def test_report_prints_the_path_of_the_page(ammgraph: Run, copied: Path) -> None:
    code, out, err = ammgraph("report", copied, "--no-map", "--split", "validation")
    assert (code, out, err) == (0, f"{copied / 'report.html'}\n", "")
    page = (copied / "report.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert "t-SNE" not in page


def test_compare_prints_a_table(ammgraph: Run, finished: Path, copied: Path) -> None:
    before = files_of(finished)
    code, out, err = ammgraph("compare", finished, copied)
    assert (code, err) == (0, "")
    head, warning, *_ = out.splitlines()
    assert head == "[1] tiny: 2 runs, seeds 2, 2; step 13; 1,600 training images"
    assert warning == "    warning: a seed occurs twice: these runs are no independent trials"
    assert out.endswith("\nmean +- standard deviation of the sample (n - 1)\n")
    assert files_of(finished) == before


def test_compare_as_json(ammgraph: Run, copied: Path) -> None:
    code, out, err = ammgraph("compare", copied, "--format", "json", "--split", "validation", "--again")
    assert (code, err) == (0, "")
    (group,) = json.loads(out)["groups"]
    assert [(run["folder"], run["split"]) for run in group["runs"]] == [(str(copied), "validation")]
    assert {measure["examples"] for measure in group["measures"]} == {197}


def test_compare_of_one_run_twice(ammgraph: Run, finished: Path) -> None:
    assert ammgraph("compare", finished, finished) == (
        1,
        "",
        f"error: {finished} is named twice; a run counts once\n",
    )


def test_sample_prints_the_path_of_the_images(ammgraph: Run, finished: Path) -> None:
    before = files_of(finished)
    assert ammgraph("sample", finished) == (0, "samples.png\n", "")
    with Image.open("samples.png") as image:
        assert image.size == (10 * 10 - 2, 10 * 10 - 2)
    more = ("--component", 3, "--count", 2, "--interpolate", 5, "--seed", 7, "--output", "line.npz")
    assert ammgraph("sample", finished, *more) == (0, "line.npz\n", "")
    with np.load("line.npz") as arrays:
        assert arrays["x"].shape == (10, 1, 8, 8)
        assert set(arrays["y"].tolist()) == {3}
    assert files_of(finished) == before


def test_encode_prints_the_path_of_the_table(ammgraph: Run, finished: Path) -> None:
    before = files_of(finished)
    Image.new("L", (8, 8)).save("one.png")
    assert ammgraph("encode", finished, "one.png") == (0, "encoded.csv\n", "")
    head, line = Path("encoded.csv").read_text().splitlines()
    assert head.startswith("image,y,y_posterior_0,")
    assert line.startswith("one.png,")
    assert ammgraph("encode", finished, "one.png", "--output", "one.npz") == (0, "one.npz\n", "")
    assert files_of(finished) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample", "{run}", "--component", 10), "there is no component 10: `y` has 10, from 0 to 9"),
        (("sample", "{run}", "--interpolate", 1), "`interpolate` is 1, expected at least 2"),
        (("sample", "{run}", "--output", "a.jpg"), "`a.jpg`: expected a name that ends in .png (a grid) or .npz (arr"),
        (("sample", "{run}", "--output", "no/a.png"), "cannot write no/a.png: No such file or directory"),
        (("encode", "{run}", "absent.png"), "there is no absent.png"),
        (("encode", "{run}", "big.png"), "the images are 1x9x9, but `x` is 1x8x8 (channels, height, width)"),
        (("encode", "{run}", "big.png", "--output", "a.txt"), "`a.txt`: expected a name that ends in .npz or .csv"),
        (("evaluate", "{run}", "--weights", "a.pth"), "`--weights` serves `--quality`, which is not asked for"),
        (("evaluate", "{run}", "--quality", "--weights", "a.pth"), "cannot read"),
        (("evaluate", "{run}", "--device", "cpu,cpu"), "`cpu,cpu` is no device; expected `auto`, `cpu`, `cuda` or"),
        *(
            ((verb, "{run}", "--split", "test"), "digits has no split `test` here, only `train`, `validation`: ")
            for verb in ("evaluate", "report", "compare")
        ),
    ],
)
def test_what_cannot_be_done_with_a_run_says_why(
    arguments: tuple[object, ...], message: str, ammgraph: Run, finished: Path
) -> None:
    before = files_of(finished)
    Image.new("L", (9, 9)).save("big.png")
    code, out, err = ammgraph(*(finished if word == "{run}" else word for word in arguments))
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {message}"), err
    assert len(err.splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == ["big.png"]
    assert files_of(finished) == before


@pytest.mark.parametrize("arguments", VERBS_OF_A_RUN, ids=lambda arguments: arguments[0])
def test_a_foreign_folder_is_no_run(arguments: tuple[str, ...], ammgraph: Run, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "run.json").write_text('{"steps": 3}')
    Image.new("L", (8, 8)).save("one.png")
    before = files_of(tmp_path)
    for folder, message in (
        (".", "error: . is no run directory: it has no run.json\n"),
        ("foreign", f"error: {Path('foreign/run.json')} is damaged: `name`: Field required\n"),
    ):
        assert ammgraph(*(word.format(run=folder) for word in arguments)) == (1, "", message)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("arguments", VERBS_OF_A_RUN, ids=lambda arguments: arguments[0])
def test_every_verb_warns_of_a_damaged_checkpoint(arguments: tuple[str, ...], ammgraph: Run, copied: Path) -> None:
    newest = copied / "checkpoints" / "step-000000013.pt"
    for suffix in (".pt", ".sha256"):
        shutil.copy(newest.with_suffix(suffix), newest.with_name(f"step-000000014{suffix}"))
    damaged = newest.with_name("step-000000014.pt")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (copied / "evaluation.json").unlink()
    Image.new("L", (8, 8)).save("one.png")
    code, _, err = ammgraph(*(word.format(run=copied) for word in arguments))
    warning = "warning: step-000000014.pt is damaged: its checksum differs; an older checkpoint is used\n"
    assert (code, err) == (0, warning)


def test_torch_is_told_nothing_about_threads(ammgraph: Run) -> None:
    threads = torch.get_num_threads()
    ammgraph("train", TINY, "--set", "training.steps=1")
    assert torch.get_num_threads() == threads


# ------------------------------------------------------------------------------------------------ train --dry-run


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
    for words in (("--resume", finished), (TINY, "--trials", "2"), (TINY, "--run-dir", "r")):
        code, out, err = ammgraph("train", *words, "--dry-run")
        assert (code, out) == (1, "")
        assert "`--dry-run` tries a spec and keeps nothing; it takes no `--" in err


def test_a_dry_run_of_what_cannot_learn_is_exit_code_1(ammgraph: Run) -> None:
    huge = "training.initializer.weights.normal=1e30"  # two layers of it exceed single precision
    code, out, _ = ammgraph("train", TINY, "--dry-run", "--set", huge)
    assert code == 1
    assert re.search(r"^error: the gradient of network `critic` is (nan|inf)$", out, re.MULTILINE)
