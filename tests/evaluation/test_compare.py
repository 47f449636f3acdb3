"""Runs of one model with several seeds are one column: mean and standard deviation as numpy computes them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import HERE, LABELED, TINY
from tiny_runs import make_run

from ammgraph.diagnostics import RunError
from ammgraph.evaluation import compare, results
from ammgraph.evaluation.compare import as_json, compare_runs, lines, rows
from ammgraph.runs import record
from ammgraph.spec.load import load_spec


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three seeds of one model and one run of another."""
    root = tmp_path_factory.mktemp("compared")
    made = [make_run(root / f"tiny-{seed}", TINY, seed=seed, steps=2) for seed in range(3)]
    return [*made, make_run(root / "labeled", LABELED, steps=2)]


def test_runs_of_equal_plans_are_a_group(folders: list[Path]) -> None:
    first, second = compare_runs(folders, HERE)
    assert [run.evaluation.seed for run in first.runs] == [0, 1, 2]
    assert len(second.runs) == 1
    assert first.plan != second.plan
    assert all((folder / "evaluation.json").exists() for folder in folders)


def test_means_and_deviations_are_numpy_s(folders: list[Path]) -> None:
    group = compare_runs(folders, HERE)[0]
    evaluations = [results.read(folder) for folder in folders[:3]]
    compared = 0
    for row in rows(group):
        wanted = {name: getattr(row.result, name) for name in ("variable", "rule", "protocol", "fitted_on")}
        values = [evaluation.find(row.result.name, **wanted).value for evaluation in evaluations]
        assert list(row.values) == values
        assert row.mean == pytest.approx(np.mean(values))
        assert row.std == pytest.approx(np.std(values, ddof=1), abs=1e-15)
        compared += 1
    assert compared > 15
    assert not [row for row in rows(group) if row.result.name == "component_use"]


def test_one_run_has_no_deviation(folders: list[Path]) -> None:
    group = compare_runs(folders[:1], HERE)[0]
    assert {row.std for row in rows(group)} == {None}
    assert not [line for line in lines([group]) if "+-" in line]


def test_what_stands_in_evaluation_json_is_taken_from_there(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare_runs(folders, HERE)
    monkeypatch.setattr(compare, "evaluate_run", lambda *_: pytest.fail("evaluated again"))
    compare_runs(folders, HERE)
    with pytest.raises(pytest.fail.Exception):
        compare_runs(folders, HERE, again=True)
    with pytest.raises(pytest.fail.Exception):
        compare_runs(folders, HERE, split="validation")


def test_a_split_that_was_not_scored_is_scored(folders: list[Path]) -> None:
    groups = compare_runs(folders[:2], HERE, split="validation")
    assert {row.result.split for row in rows(groups[0])} == {"validation"}
    assert {row.result.split for row in rows(compare_runs(folders[2:3] + folders[:1], HERE)[0])} == {"train"}


def test_the_table(folders: list[Path]) -> None:
    text = lines(compare_runs(folders, HERE, split="train"))
    assert text[0] == "[1] tiny: 3 runs, seeds 0, 1, 2; step 2; 1,600 training images"
    assert text[1].startswith("[2] ")
    assert text[1].endswith("1 run, seed 0; step 2; 1,600 training images")
    head = next(line for line in text if line.lstrip().startswith("[1]") and "[2]" in line)
    first, second = head.index("[1]"), head.index("[2]")
    clustering = next(line for line in text if line.startswith("clustering error of y, one-to-one  "))
    assert "posterior" in clustering
    assert "+-" in clustering[first:second]
    assert clustering[second:].strip() == "-"
    classification = next(line for line in text if line.startswith("classification error of y"))
    assert classification[first:second].strip() == "-"
    assert classification[second:].strip().endswith(" %")
    assert text[-1] == "mean +- standard deviation of the sample (n - 1)"


def test_the_table_for_tools(folders: list[Path]) -> None:
    content = json.loads(json.dumps(as_json(compare_runs(folders, HERE, split="train")), allow_nan=False))
    assert content["standard_deviation"] == "of the sample, divided by n - 1"
    first = content["groups"][0]
    assert [run["seed"] for run in first["runs"]] == [0, 1, 2]
    assert first["measures"][0]["n"] == 3
    assert len(first["measures"][0]["values"]) == 3
    assert first["runs"][1]["curves"] == [
        {"step": 2, "epoch": 0.5, "y/one_to_one_error": 0.51, "examples": 197},
    ]


def test_what_is_no_fair_comparison_is_said(folders: list[Path], tmp_path: Path) -> None:
    compare_runs(folders, HERE)
    twin = Path(shutil.copytree(folders[0], tmp_path / "twin"))
    record.append(twin / "metrics.jsonl", {"step": 9, "epoch": 2.0})
    text = "\n".join(lines(compare_runs([folders[0], twin], HERE, split="train")))
    assert "warning: a seed occurs twice: these runs are no independent trials" in text
    assert f"warning: {twin} was evaluated at step 2 and is at step 9 now" in text


def test_runs_of_other_steps_or_another_precision_are_no_trials_of_one_experiment(
    folders: list[Path], tmp_path: Path
) -> None:
    compare_runs(folders, HERE)
    longer, coarse, slower = (
        Path(shutil.copytree(folders[1], tmp_path / name)) for name in ("longer", "coarse", "slow")
    )
    results.write(longer, replace(results.read(longer), step=5))
    options = json.loads((coarse / "run.json").read_text())
    (coarse / "run.json").write_text(json.dumps(options | {"precision": "bfloat16"}))
    spec = json.loads((slower / "spec.json").read_text())
    spec["training"]["optimizers"]["default"]["learning_rate"] = 1e-7
    (slower / "spec.json").write_text(json.dumps(spec))
    results.write(slower, replace(results.read(slower), plan="another"))
    groups = compare_runs([folders[0], longer, coarse, slower, folders[2]], HERE)
    assert [[run.folder for run in group.runs] for group in groups] == [
        [folders[0], folders[2]],
        [longer],
        [coarse],
        [slower],
    ]
    text = lines(groups)
    rate = spec["training"]["optimizers"]["default"]["learning_rate"]
    told = [line.strip() for line in text if line.startswith("    /")]
    path = "training.optimizers.default.learning_rate"
    was = load_spec(folders[0] / "spec.json").written["training"]["optimizers"]["default"]["learning_rate"]
    assert told == [
        f"{folders[0]}: precision=float32, {path}={was}",
        f"{longer}: precision=float32, {path}={was}",
        f"{coarse}: precision=bfloat16, {path}={was}",
        f"{slower}: precision=float32, {path}={rate}",
    ]
    assert [line.partition("; step ")[2][0] for line in text if "; step " in line] == ["2", "5", "2", "2"]


def test_best_states_of_whichever_step_are_trials_of_one_experiment(folders: list[Path], tmp_path: Path) -> None:
    compare_runs(folders, HERE)
    kept = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in (folders[0], folders[2])]
    for folder, step in zip(kept, (1, 2), strict=True):
        spec = json.loads((folder / "spec.json").read_text())
        spec["evaluation"] = {"keep": "best reconstruction_error", "every_epochs": 0.025}
        (folder / "spec.json").write_text(json.dumps(spec))
        results.write(folder, replace(results.read(folder), step=step))
        record.append(folder / "metrics.jsonl", {"step": 3, "epoch": 1.0})
    (group,) = compare_runs(kept, HERE)
    assert [run.folder for run in group.runs] == kept
    assert compare.warnings(group) == []
    text = "\n".join(lines((group,)))
    assert "2 runs, seeds 0, 2; best states of 3 steps: 1, 2; " in text
    record.append(kept[1] / "metrics.jsonl", {"step": 4, "epoch": 1.2})  # one that went on
    assert len(compare_runs(kept, HERE)) == 2


def test_runs_of_one_model_on_other_data_are_groups_of_their_own(folders: list[Path], tmp_path: Path) -> None:
    """By fingerprints where both runs have them, whatever the data are called; by their description where not."""
    compare_runs(folders, HERE, split="train")

    def on(name: str, seed: int, data: str, sha256: str | None) -> Path:
        folder = Path(shutil.copytree(folders[seed], tmp_path / name))
        options = json.loads((folder / "run.json").read_text())
        fingerprint = {"train": sha256} if sha256 else None
        (folder / "run.json").write_text(json.dumps(options | {"data_sha256": fingerprint}))
        results.write(folder, replace(results.read(folder), data=data, data_sha256=fingerprint))
        return folder

    easy, hard = on("easy", 0, "a.npz: 9 images", "e" * 64), on("hard", 1, "a.npz: 9 images", "f" * 64)
    moved = on("moved", 2, "b.npz: 9 images", "e" * 64)
    groups = compare_runs([easy, hard, moved], HERE)
    assert [[run.folder for run in group.runs] for group in groups] == [[easy, moved], [hard]]
    text = lines(groups)
    assert text[0].startswith("[1] tiny: 2 runs, seeds 0, 2;")
    assert text[1] == (
        "    warning: the model of [2] on other data, hence apart; here a.npz: 9 images (SHA-256 eeeeeeeeeeee)"
    )
    assert text[2].startswith("[2] tiny: 1 run, seed 1;")
    assert text[3] == (
        "    warning: the model of [1] on other data, hence apart; here a.npz: 9 images (SHA-256 ffffffffffff)"
    )
    assert [group["data"][-14:] for group in as_json(groups)["groups"]] == [" eeeeeeeeeeee)", " ffffffffffff)"]
    old, older = on("old", 0, "a.npz: 9 images", None), on("older", 1, "b.npz: 9 images", None)
    assert [len(group.runs) for group in compare_runs([old, older], HERE)] == [1, 1]
    assert [len(group.runs) for group in compare_runs([old, hard], HERE)] == [2]


def test_scored_on_other_data_is_other_data(folders: list[Path], tmp_path: Path) -> None:
    compare_runs(folders, HERE, split="train")
    twin = Path(shutil.copytree(folders[1], tmp_path / "twin"))
    results.write(twin, replace(results.read(twin), data_sha256={"train": "f" * 64}))
    assert len(compare_runs([folders[0], twin], HERE, split="train")) == 2


def test_a_value_that_one_run_lacks(folders: list[Path], tmp_path: Path) -> None:
    compare_runs(folders, HERE, split="train")
    twin = Path(shutil.copytree(folders[1], tmp_path / "twin"))
    evaluation = results.read(twin)
    results.write(twin, replace(evaluation, results=tuple(r for r in evaluation.results if r.name != "ari")))
    group = compare_runs([folders[0], twin], HERE, split="train")[0]
    row = next(row for row in rows(group) if row.result.name == "ari")
    assert row.values[1] is None
    assert row.std is None
    assert any(line.endswith("(n = 1)") for line in lines([group]))


def test_what_cannot_be_compared(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing to compare"):
        compare_runs([], HERE)
    with pytest.raises(RunError, match="tiny-0 is named twice"):
        compare_runs([folders[0], folders[0]], HERE)
    with pytest.raises(RunError, match="is no run directory"):
        compare_runs([tmp_path], HERE)


def test_what_was_scored_last_decides_nothing(folders: list[Path]) -> None:
    """Test images unless asked, or training ones where there is no test split; another split leaves no trace."""
    before = compare_runs(folders[:1], HERE)[0].runs[0].evaluation
    assert compare_runs(folders[:1], HERE, split="validation")[0].runs[0].evaluation.split == "validation"
    after = compare_runs(folders[:1], HERE)[0].runs[0].evaluation
    assert (before.split, after.split) == ("train", "train")


def test_runs_on_other_data_are_compared_on_test_or_training_images_of_each(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare_runs(folders, HERE, split="train")
    tested = Path(shutil.copytree(folders[0], tmp_path / "tested"))
    evaluation = results.read(tested)
    assert evaluation is not None
    scored = tuple(replace(result, split="test") for result in evaluation.of("train"))
    results.write(tested, replace(evaluation, data="with a test set", data_sha256=None, split="test", results=scored))
    monkeypatch.setattr(compare, "evaluate_run", lambda *_: pytest.fail("evaluated again"))
    for order in ([tested, folders[1]], [folders[1], tested]):
        groups = compare_runs(order, HERE)
        splits = {run.folder: run.evaluation.split for group in groups for run in group.runs}
        assert splits == {tested: "test", folders[1]: "train"}
