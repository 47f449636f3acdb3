"""The commands that read specs: what they print and where, their exit codes, and what happens when they are misused."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import FOLDER, TERMS, TINY, command, environment
from tiny_runs import Run

from ammgraph import __version__
from ammgraph.commands import show
from ammgraph.commands.verbs import VERBS
from ammgraph.runs import checkpoint

BAD = FOLDER / "bad_specs" / "duplicate_key.yaml"

# ------------------------------------------------------------------------------------------------ help and usage


@pytest.mark.parametrize("name", VERBS)
def test_every_command_has_help_with_an_example(name: str, ammgraph: Run) -> None:
    code, out, err = ammgraph(name, "--help")
    assert (code, err) == (0, "")
    assert f"Example: ammgraph {name} " in out
    assert max(map(len, out.splitlines())) <= 110


def test_help_names_every_command(ammgraph: Run) -> None:
    code, out, _ = ammgraph("--help")
    assert code == 0
    assert all(re.search(rf"^ +{name}\b", out, re.MULTILINE) for name in VERBS)
    assert "Example: ammgraph train specs/amm_digits.yaml" in out
    assert Path(re.findall(r"Begin with (.*)", out)[0]).is_file()


def test_the_version(ammgraph: Run) -> None:
    assert ammgraph("--version") == (0, f"ammgraph {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: COMMAND"),
        (("fly",), "invalid choice: 'fly'"),
        (("trian", "a.yaml"), "; did you mean `train`?\n"),
        (("train", "a.yaml", "--trails", "5"), "unrecognized arguments: --trails 5; did you mean `--trials`?\n"),
        (("show", "a.yaml", "--section", "gmes"), "; did you mean `games`?\n"),
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


def test_a_model_that_reads_no_data_is_refused(ammgraph: Run, tmp_path: Path) -> None:
    spec = """
        ammgraph: 1
        data: {dataset: digits}
        variables: {z: {type: real, size: 1}}
        networks: {critic: {layers: {d: {input: z, channels: 1, width: 1}}}}
        distributions: {q: {q(z): normal}, p: {p(z): "normal(1, 1)"}}
        games: {joint: {match: [q, p], discriminator: critic.d, objective: jensen_shannon}}
        training: {batch_size: 20, steps: 1, optimizers: {default: {name: adam, learning_rate: 0.05}}}
        """
    path = tmp_path / "noise.yaml"
    path.write_text(spec, encoding="utf-8")
    code, output, _ = ammgraph("validate", path)
    assert code == 1
    assert "[no-data]: a step reads nothing of the data" in output
    assert output.endswith(f"{path}: a model of no data\n")
    code, output, _ = ammgraph("validate", path, "--format", "json")
    assert (code, json.loads(output)[0]["valid"]) == (1, False)


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
    assert (  # a mean and a standard deviation with n - 1 of 1.43, 1.44, 2.76, 1.76, 2.58
        "measured: clustering error 1.99 +- 0.63 %, 5 seeds, 13 minutes each, augmented or moved images"
        " (--precision bfloat16)\n"
    ) in out
    code, out, err = ammgraph("specs", "--format", "markdown")
    assert (code, err) == (0, "")
    assert (
        "| `amm_mnist_pairs` | 10 | mnist |  | clustering error 3.32 +- 0.39 % "
        "| clustering error 1.99 +- 0.63 %, 5 seeds (*) (--precision bfloat16) | 13 |\n"
    ) in out
    assert "| `samm_svhn` | 10 | svhn | 1,000 | classification error 5.60 +- 0.45 % |  |  |\n" in out
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


def test_new_says_what_validate_would_warn_of(ammgraph: Run) -> None:
    code, out, err = ammgraph(
        *("new", "turned.yaml", "--q", "q(x) q(z|x)", "--p", "p(z) p(x|z)", "--image", "1x8x8"),
        *("--term", "E[q] log p(x|z)"),
    )
    assert code == 0
    assert err.startswith("warning[suspicious-sign]: `log p(x|z)` is minimised")
    assert "--> turned.yaml:" in err
    assert out.startswith("turned.yaml: ")


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


@pytest.mark.parametrize(
    ("spec", "section"),
    [
        *((TINY, section) for section in show.SECTIONS if section != "terms"),
        *((TERMS, section) for section in show.SECTIONS if section != "games"),
    ],
)
def test_show_prints_one_section(spec: Path, section: str, ammgraph: Run) -> None:
    _, whole, _ = ammgraph("show", spec)
    code, out, err = ammgraph("show", spec, "--section", section)
    assert (code, err) == (0, "")
    assert out.strip()
    assert out.strip() in whole
    assert len(out) < len(whole) - 100


def test_a_section_of_nothing_says_so_and_is_else_left_out(ammgraph: Run) -> None:
    assert ammgraph("show", TINY, "--section", "terms") == (0, "no terms\n", "")
    assert ammgraph("show", TERMS, "--section", "games") == (0, "no games\n", "")
    for spec in (TINY, TERMS):
        _, whole, _ = ammgraph("show", spec)
        assert "\n\n\n" not in whole
        assert "no " not in {line[:3] for line in whole.splitlines()}


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
    assert found.stderr == "error: cannot write the output: No space left on device\n"


def test_a_command_that_has_said_everything_ends_without_a_look_at_every_object_for_cycles() -> None:
    asked = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0))"
    script = f"{asked}; from ammgraph.cli import main; main(['explain', 'unknown-key'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nTrue\n")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_new_asks_how_many_numbers_a_record_of_a_table_has(ammgraph: Run, kind: str, tmp_path: Path) -> None:
    """A size that nobody typed would be met by no table but that of wines."""
    words = ("new", tmp_path / "mine.yaml", "--q", "q(x) q(z|x)", "--p", "p(z) p(x|z)", "--data", kind)
    code, out, err = ammgraph(*words)
    assert (code, out) == (1, "")
    assert err == (f"error: `--data {kind}` is a table of yours: say how many numbers a record has, by `--vector N`\n")
    assert not (tmp_path / "mine.yaml").exists()
    assert ammgraph(*words, "--vector", 7)[0] == 0
