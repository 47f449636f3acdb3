"""The tools: scripts that can be run, and a benchmark whose loops run for every kind of game."""

import importlib
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tiny import ALTERNATING, INFORMED, LABELED, TINY, plan_of
from tiny_runs import make_run

from ammgraph.data.dataset import load_data
from ammgraph.runs import checkpoint, record
from ammgraph.train.streams import initial_model

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path for path in (ROOT / "tools").iterdir() if path.is_file() and not path.suffix)
VARIANTS = "idiomatic,shared,planned,planned-bfloat16"
KINDS = [(TINY, ()), (LABELED, ()), (TINY, (ALTERNATING,))]


@contextmanager
def tool(name: str, *imported: str) -> Iterator[ModuleType]:
    """A module of tools/, and what it imports from there, for as long as it is used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        yield importlib.import_module(name)
    for other in (name, *imported):
        sys.modules.pop(other, None)


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    with tool("bench", "by_hand", "growth", "plain") as module:
        yield module


def run(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str, str]:
    """One benchmark in this process."""
    monkeypatch.setattr(sys, "argv", ["bench.py", *map(str, words)])
    threads, code = torch.get_num_threads(), 0
    try:
        bench.main()
    except SystemExit as error:
        code = int(error.code or 0)
    finally:
        torch.set_num_threads(threads)
    return code, *capsys.readouterr()


def test_there_are_tools() -> None:
    assert {path.name for path in SCRIPTS} >= {"ammgraph", "bench", "check", "crash", "setup", "test"}


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_a_script_is_executable_bash_that_stops_at_errors(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert os.access(path, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "set -euo pipefail\n" in text
    subprocess.run(["bash", "-n", path], check=True)
    named = {ROOT / word for word in re.findall(r"\btools/[\w.]+", text)}
    assert all(tool.is_file() for tool in named), named


def test_ci_runs_the_readmes_test_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "Install and test:\n\n```console\ntools/test\n```" in readme
    assert "tools/test" in ci
    assert ci.index("rm -rf .venv") < ci.index("tools/setup dev") < ci.index("tools/test")


# A `python -m pip` that is set to something, and a uv; both write what they are asked and told.
SET_PIP = """#!/usr/bin/env bash
case "$*" in
    *"config list"*) printf '%s\\n' ":env:.find-links='here'" "global.find-links='there'" \\
        "global.extra-index-url='https://a/simple\\\\nhttps://b/simple'" ;;
    *) echo "pip ${*: -2}" >> said ;;
esac
"""
UV = """#!/usr/bin/env bash
echo "uv $UV_FIND_LINKS, $UV_INDEX, $UV_CONSTRAINT" >> said
exit "$UV_ENDS"
"""


@pytest.mark.parametrize("ends", [0, 1])
def test_an_installation_tells_uv_what_pip_is_set_to_and_takes_pip_where_uv_fails(ends: int, tmp_path: Path) -> None:
    for folder in ("tools", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("tools/setup", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name, script in (("python", SET_PIP), ("uv", UV)):
        (tmp_path / ".venv" / "bin" / name).write_text(script)
        (tmp_path / ".venv" / "bin" / name).chmod(0o755)
    settings = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    settings |= {"UV_ENDS": str(ends), "UV_CONSTRAINT": "own.txt"}
    for _ in range(2):  # the second time there is nothing to do
        subprocess.run([tmp_path / "tools" / "setup", "dev"], env=settings, check=True, capture_output=True)
    by_uv = "uv here, https://a/simple https://b/simple, own.txt"
    said = ["pip install uv", by_uv, *(["pip --editable .[dev]"] if ends else [])]
    assert (tmp_path / "said").read_text().splitlines() == said


@pytest.mark.parametrize(("path", "overrides"), KINDS, ids=["tiny", "two games", "alternating"])
def test_plain_loops_change_every_weight_that_the_planned_step_changes(
    path: Path, overrides: tuple[str, ...], bench: ModuleType
) -> None:
    plan = plan_of(path, *overrides)
    for name, loop in bench.plain.LOOPS.items():
        model = bench.plain.PlainModel(plan)
        before = [p.detach().clone() for p in model.critic_parameters + model.generator_parameters]
        loop(model, bench.batches(plan))
        after = model.critic_parameters + model.generator_parameters
        assert sum(p.numel() for p in after) == plan.parameters
        assert all(p.isfinite().all() for p in after)
        assert not [p.shape for p, old in zip(after, before, strict=True) if torch.equal(p, old)], name


@pytest.mark.parametrize(("path", "overrides"), KINDS, ids=["tiny", "two games", "alternating"])
def test_a_benchmark_as_json(
    path: Path,
    overrides: tuple[str, ...],
    bench: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bench, "memory", lambda *_: 7)
    more = [word for override in overrides for word in ("--set", override)]
    code, out, err = run(bench, monkeypatch, capsys, path, "--batch-size", 10, "--repeat", 2, "--json", *more)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["spec"], found["batch_size"]) == (str(path), 10)
    names = VARIANTS.split(",")
    assert list(found["median_seconds"]) == list(found["examples_per_second"]) == names
    assert found["peak_memory_mib"] == dict.fromkeys(names, 7)
    assert all(seconds > 0 for seconds in found["median_seconds"].values())
    assert set(found["ratio_to"]["idiomatic"]) == {*names} - {"idiomatic"}
    assert 0 <= found["share_of_peak"] < 1
    assert found["same_updates"] == (not overrides)


def test_a_benchmark_as_a_table(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "memory", lambda *_: 7)
    few = (TINY, "--batch-size", 10, "--repeat", 1, "--variants")
    _, out, _ = run(bench, monkeypatch, capsys, *few, "shared,planned")
    head, _, columns, shared, planned, size, note = out.splitlines()
    assert head.startswith(f"{TINY}, batch 10, {torch.get_num_threads()} threads, torch ")
    assert columns.split("  ")[1] == "variant"
    assert shared.split()[3:] == ["nan", "1.00", "7"]
    assert planned.split()[0] == "planned"
    assert size == "  a planned step's tensors with weights and optimizer states take 0 MiB; estimated: 0 MiB"
    assert "multiply-adds forward; counted three times, the planned step reaches" in note
    # Without the planned step there is nothing to hold against the machine's peak.
    _, out, _ = run(bench, monkeypatch, capsys, *few, "shared,idiomatic", "--set", ALTERNATING)
    assert out.splitlines()[-1].startswith("  the schedules differ: ")
    code, out, err = run(bench, monkeypatch, capsys, *few, "planned,fast")
    assert (code, out) == (2, "")
    assert "unknown fast; expected some of idiomatic, shared, pixyz, planned" in err


def test_pixyz_is_timed_where_it_is_installed_and_can_say_the_model(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (alone,) = (game.name for game in plan_of(TINY).games)
    code, out, err = run(bench, monkeypatch, capsys, TINY, "--repeat", 1, "--variants", "pixyz,planned")
    assert (code, out) == (2, "")
    assert "games without penalties, of the same variables" in err
    pytest.importorskip("pixyz")
    plan = plan_of(TINY, *(f"games.{alone}.{penalty.kind}=null" for penalty in plan_of(TINY).games[0].penalties))
    step = bench.loops_of(plan, str(TINY))["pixyz"]()
    networks = step.model.networks.values()
    before = [p.detach().clone() for network in networks for p in network.parameters()]
    step()
    after = [p for network in networks for p in network.parameters()]
    assert sum(p.numel() for p in after) == plan.parameters
    assert not [p.shape for p, old in zip(after, before, strict=True) if torch.equal(p, old)]


@pytest.mark.parametrize("spec", ["infogan_mnist", "aae_mnist"])
def test_a_loop_by_hand_has_the_spec_s_weights_and_changes_every_one(spec: str, bench: ModuleType) -> None:
    plan = plan_of(ROOT / "specs" / f"{spec}.yaml", "training.batch_size=4")
    assert set(bench.loops_of(plan, f"{spec}.yaml")) == {"idiomatic"}
    model = bench.by_hand.MODELS[spec](4)
    weights = [p for network in model.networks for p in network.parameters()]
    planned = initial_model(plan, 0, None).parameters()
    matrices = [sorted(p.numel() for p in found if p.dim() > 1) for found in (weights, planned)]
    assert matrices[0] == matrices[1]
    before = [p.detach().clone() for p in weights]
    model.step()
    assert all(p.isfinite().all() for p in weights)
    assert not [p.shape for p, old in zip(weights, before, strict=True) if torch.equal(p, old)]


def test_a_spec_with_terms_has_no_loop_but_the_one_that_is_written_for_it(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "memory", lambda *_: 7)
    few = (INFORMED, "--batch-size", 10, "--repeat", 1, "--cpu-time")
    _, out, _ = run(bench, monkeypatch, capsys, *few, "--json")
    assert list(json.loads(out)["median_seconds"]) == ["planned", "planned-bfloat16"]
    code, out, err = run(bench, monkeypatch, capsys, *few, "--variants", "shared,planned")
    assert (code, out) == (2, "")
    assert f"no shared of {INFORMED}: of those with terms, infogan_mnist and aae_mnist have `idiomatic`" in err


def test_the_memory_of_a_variant_is_that_of_its_process(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(bench, monkeypatch, capsys, TINY, "--batch-size", 10, "--memory-of", "shared")
    assert 50 * 1024 < int(out) < 64 * 1024**2


def test_the_peak_is_a_rate(bench: ModuleType) -> None:
    peak = bench.matrix_multiply_peak(64)
    assert math.isfinite(peak)
    assert peak > 1e6


def test_a_cell_of_a_table_of_growth(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(bench, monkeypatch, capsys, TINY, "--batch-size", 10, "--repeat", 2, "--cell")
    found = json.loads(out)
    assert (found["batch_size"], found["passes"], found["penalty_passes"]) == (10, 1, 1)
    assert found["seconds_an_example"] == pytest.approx(found["seconds"] / 10, abs=1e-6)
    assert found["peak_memory_mib"] > 50


def test_growth_over_settings_is_a_process_for_each_combination(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def measured(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        cell = {"seconds": 0.5, "seconds_an_example": 0.05, "passes": 1, "penalty_passes": 2, "peak_memory_mib": 7}
        return subprocess.CompletedProcess(command, 0, json.dumps(cell), "")

    monkeypatch.setattr(bench.growth.subprocess, "run", measured)
    grid = ("--scale", "constants.K=10,20", "--scale", "training.batch_size+training.steps=3,4")
    _, out, _ = run(bench, monkeypatch, capsys, TINY, *grid, "--set", "data.validation=7")
    settings = [[b for a, b in itertools.pairwise(command) if a == "--set"] for command in commands]
    assert settings == [
        ["data.validation=7", f"constants.K={k}", f"training.batch_size={n}", f"training.steps={n}"]
        for k in (10, 20)
        for n in (3, 4)
    ]
    head, *lines = out.splitlines()
    assert head.split() == ["seconds", "a", "step", "ms", "an", "example", "passes", "penalties", "MiB"]
    assert [line.split()[:2] for line in lines] == [
        [f"constants.K={k}", f"training.batch_size+training.steps={n}"] for k in (10, 20) for n in (3, 4)
    ]
    assert lines[0].split()[2:] == ["0.5000", "50.000", "1", "2", "7"]
    code, _, err = run(bench, monkeypatch, capsys, TINY, "--scale", "constants.K")
    assert code == 2
    assert "expected A.B=VALUE,VALUE" in err


def test_more_games_between_the_same_draws_take_no_more_passes_of_the_discriminator(bench: ModuleType) -> None:
    one, two, three = bench.growth.games_axis(str(TINY), [], 3)
    assert [name for name, _ in (one, two, three)] == ["1 game", "2 games", "3 games"]
    plans = [plan_of(TINY, *overrides) for _, overrides in (one, two, three)]
    assert [len(plan.games) for plan in plans] == [1, 2, 3]
    cells = [bench.growth.cell(plan, 1.0, 2048) for plan in plans]
    assert [(found["passes"], found["penalty_passes"]) for found in cells] == [(1, 1), (1, 2), (1, 3)]


def test_an_epoch_is_timed_with_the_share_of_its_data(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(bench, monkeypatch, capsys, TINY, "--batch-size", 400, "--epoch", "--precision", "bfloat16")
    found = json.loads(out)
    assert (found["steps"], found["precision"]) == (4, "bfloat16")
    assert 0 < found["data_share"] < 1
    assert found["data_seconds"] < found["seconds"]


# ------------------------------------------------------------------------------------------------ crash


@pytest.fixture(scope="module")
def crash() -> Iterator[ModuleType]:
    with tool("crash") as module:
        yield module


def test_a_few_kills_lose_nothing(tmp_path: Path) -> None:
    words = [sys.executable, ROOT / "tools" / "crash.py", TINY, "--kills", 5, "--steps", 13, "--folder", tmp_path]
    done = subprocess.run([str(word) for word in [*words, "--json"]], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr or done.stdout
    found = json.loads(done.stdout)
    assert found["tried"] == found["survived"] == sum(found["moments"].values()) >= 5
    assert (found["lost"], found["problems"]) == (0, [])
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_would_lose_is_found(crash: ModuleType, tmp_path: Path) -> None:
    """The comparison can fail: bits, a gap, a repeated step, another evaluation, a file left behind, no checkpoint."""
    whole = make_run(tmp_path / "whole", TINY)
    for step in (1, 2, 3):
        record.append(whole / "metrics.jsonl", {"step": step, "epoch": 0.1, "seconds_per_step": step, "a/loss": 0.5})
    (whole / "evaluation.json").write_text("{}")
    lines = (whole / "metrics.jsonl").read_text().splitlines(keepends=True)
    place = whole / "checkpoints"

    def problems(change: Callable[[Path], object]) -> list[str]:
        folder = shutil.copytree(whole, tmp_path / "other", dirs_exist_ok=True)
        change(folder)
        found = crash.differences(whole, folder)
        shutil.rmtree(folder)
        return found

    def one_bit(folder: Path) -> None:
        _, state, _ = checkpoint.load_newest(place)
        moment = state["optimizers"]["critic"]["state"][0]["exp_avg"].view(torch.int32)
        moment.view(-1)[0] ^= 1
        checkpoint.save(folder / "checkpoints", 3, state)

    metrics = "metrics.jsonl"
    assert problems(lambda folder: None) == []
    assert (
        problems(lambda folder: (folder / metrics).write_text("".join(lines).replace('step": 3,', 'step": 4,'))) != []
    )
    assert problems(one_bit) == ["the states differ in /optimizers/critic/state/0/exp_avg"]
    gap, twice = "".join(lines[:-1]), "".join([*lines, lines[-1]])
    assert problems(lambda folder: (folder / metrics).write_text(gap))[0] == "metrics.jsonl has the steps [1, 2]"
    assert (
        problems(lambda folder: (folder / metrics).write_text(twice))[0] == "metrics.jsonl has the steps [1, 2, 3, 3]"
    )
    evaluated_twice = "".join([lines[0], *lines])
    assert problems(lambda folder: (folder / metrics).write_text(evaluated_twice)) == ["metrics.jsonl has other lines"]
    assert problems(lambda folder: (folder / "evaluation.json").write_text("[]")) == ["evaluation.json differs"]
    assert problems(lambda folder: (folder / "a.new").write_text("")) == ["left behind: a.new"]
    assert "no usable checkpoint" in problems(lambda folder: shutil.rmtree(folder / "checkpoints"))[0]


def test_where_a_kill_has_hit(crash: ModuleType, tmp_path: Path) -> None:
    saved = tmp_path / "checkpoints"
    saved.mkdir()
    assert crash.moment(tmp_path) == "before the run was begun"
    (tmp_path / "spec.json.new").touch()
    assert crash.moment(tmp_path) == "writing the run's description"
    (tmp_path / "spec.json.new").rename(tmp_path / "run.json")
    assert crash.moment(tmp_path) == "before the first checkpoint"
    for name, said in (
        ("step-000000001.sha256.new", "writing a checksum"),
        ("step-000000001.sha256", "between a checksum and its checkpoint"),
        ("step-000000001.pt.new", "writing a checkpoint"),
        ("step-000000001.pt", "elsewhere"),
    ):
        (saved / name).touch()
        assert crash.moment(tmp_path) == said
        if name.endswith(".new"):
            (saved / name).unlink()
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    assert crash.moment(tmp_path) == "within a line of the metrics"


# ------------------------------------------------------------------------------------------------ labels alone


@pytest.fixture(scope="module")
def supervised() -> Iterator[ModuleType]:
    with tool("supervised") as module:
        yield module


def test_labels_alone_train_the_network_of_y_and_no_other(supervised: ModuleType) -> None:
    plan = plan_of(LABELED)
    dataset = load_data(plan.data, None)
    readout = next(readout for readout in plan.readouts if readout.supervised)
    model, before = supervised.train(plan, readout, dataset, 0, 30, 100), initial_model(plan, 0, dataset)
    changed = {
        name
        for (name, new), old in zip(model.named_parameters(), before.parameters(), strict=True)
        if (new != old).any()
    }
    origin = plan.draw(readout.draw).factor_of(readout.variable).origin
    assert {name.rpartition("row_")[2].partition(".")[0] for name in changed} == set(origin.closure)
    assert all("encoder" in name for name in changed)


def test_labels_alone_as_a_command(
    supervised: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(supervised, monkeypatch, capsys, LABELED, "--steps", 200, "--trials", 2)
    assert (code, err) == (0, "")
    first, *seeds, mean = out.splitlines()
    assert "20 labelled, 200 steps" in first
    errors = [float(re.fullmatch(rf"seed {n}: classification error (.+) % on .+ images", seeds[n])[1]) for n in (0, 1)]
    assert all(error < 60 for error in errors), "chance is 90"
    assert mean.startswith(f"mean +- std (n - 1): {sum(errors) / 2:.2f} +- ")
    monkeypatch.setattr(sys, "argv", ["supervised.py", str(TINY)])
    with pytest.raises(SystemExit, match="no categorical variable is inferred and has labels"):
        supervised.main()
    monkeypatch.setattr(sys, "argv", ["supervised.py", str(ROOT / "specs" / "ali_ssl_mnist.yaml")])
    with pytest.raises(SystemExit, match=re.escape("`s(y|x,z)` reads z, which labels do not train")):
        supervised.main()


@pytest.mark.parametrize("spec", ["samm_mnist_smooth", "triple_gan_mnist", "sgan_mnist", "bad_gan_mnist", "vat_mnist"])
def test_labels_alone_find_the_noise_of_a_network_wherever_a_turn_passes_it(supervised: ModuleType, spec: str) -> None:
    """Of the first turn, of a later phase, or of a conditional that is scored at other draws than its own."""
    plan = plan_of(ROOT / "specs" / f"{spec}.yaml")
    readout = next(readout for readout in plan.readouts if readout.supervised)
    origin = plan.draw(readout.draw).factor_of(readout.variable).origin
    network, name = plan.network(origin.evaluation.network), origin.evaluation.name
    rows = [network.row(row) for row in origin.closure]
    disturbing = {f"{name}/{row.name}.{tensor.name}" for row in rows for tensor in row.tensors if tensor.disturbs}
    assert disturbing <= set(supervised._sites(plan, origin.evaluation))


# ------------------------------------------------------------------------------------------------ runs condensed


def test_a_run_is_condensed_to_one_line_an_epoch(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", TINY, "constants.Z=3", "training.batch_size=50")
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "condense.py", folder], capture_output=True, text=True, check=True
    )
    head, *epochs = map(json.loads, done.stdout.splitlines())
    assert (head["name"], head["seed"]) == ("tiny", 0)
    assert head["set"] == ["constants.Z=3", "training.batch_size=50"]
    measured = [line for line in metrics if "evaluation" in line]
    assert [line["step"] for line in epochs] == [line["step"] for line in measured]
    for line, full in zip(epochs, measured, strict=True):
        for key, value in full["evaluation"].items():
            assert line[key] == pytest.approx(value, rel=1e-4), key


def test_a_gpu_report_says_what_agrees_what_it_takes_and_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tool("gpu", "bench", "by_hand", "growth", "plain") as gpu:
        report = gpu.Report(tmp_path, 60)
        assert gpu.agreement("amm_digits", "cpu", batch=2) == 0
        with report.stage("times"):
            gpu.times(report, {"amm_digits": 2, "no_such_spec": 2}, "cpu", steps=1)
        assert report.command([sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"], 2) != 0
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert set(figures["times/amm_digits/float32"]) == {"step", "in a row", "share of peak"}
    assert "no_such_spec" in figures["times/no_such_spec/bfloat16 failed"]
    text = (tmp_path / "report.txt").read_text(encoding="utf-8")
    assert text == capsys.readouterr().out
    assert text.endswith("   begun\n")


@pytest.mark.slow
def test_a_gpu_machine_s_command_runs_on_a_cpu_and_goes_on_with_the_run(tmp_path: Path) -> None:
    words = [ROOT / "tools" / "gpu", "--device", "cpu", "--few", "--seconds", "300", "--out", tmp_path]
    words += ["--train", "specs/amm_digits.yaml", "--set", "training.epochs=null", "--set", "training.steps=3"]
    subprocess.run([str(word) for word in words], check=True, cwd=ROOT)
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert figures["train"] == 0
    assert not [name for name in figures if name.endswith("failed")]
    with tarfile.open(tmp_path / "run.tgz") as archive:
        assert "run/run.json" in archive.getnames()
