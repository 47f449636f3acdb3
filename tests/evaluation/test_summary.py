"""A row for each model, as the tables of a paper: of its runs, or of what its spec says."""

import csv
import json
import shutil
import statistics
from pathlib import Path

import pytest
from tiny import HERE, LABELED, TINY
from tiny_runs import Run, make_run

import ammgraph
from ammgraph.evaluation import results
from ammgraph.evaluation.compare import compare_runs
from ammgraph.evaluation.summary import summary
from ammgraph.runs import record


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two seeds of one model, and a run of another, with the rates of 90 s and 30 s of training."""
    root = tmp_path_factory.mktemp("summed")
    made = [make_run(root / f"tiny-{seed}", TINY, seed=seed, steps=2) for seed in range(2)]
    made.append(make_run(root / "labeled", LABELED, steps=2))
    for folder, rate in zip(made, (45.0, 15.0, 60.0), strict=True):
        record.append(folder / "metrics.jsonl", {"step": 2, "epoch": 1.0, "seconds_per_step": rate})
    return made


def test_runs_stand_by_their_chief_number_and_the_time_that_a_seed_took(folders: list[Path]) -> None:
    tiny, labeled = summary(folders, compare_runs(folders, HERE)).rows
    found = [results.read(folder).find("clustering_error", protocol="one-to-one") for folder in folders[:2]]  # type: ignore[union-attr]
    reached = tiny.measured[0]
    assert (tiny.name, tiny.categories, tiny.data, tiny.labels) == ("tiny", (10,), "digits", "")
    assert reached.values == pytest.approx([100 * one.value for one in found])  # type: ignore[union-attr, operator]
    assert (reached.metric, reached.unit, reached.minutes) == ("clustering_error", "percent", 1.0)
    assert (labeled.measured[0].metric, labeled.labels) == ("classification_error", "20")


def test_a_spec_without_runs_has_what_it_says_itself_and_one_with_runs_gives_them_its_place(
    folders: list[Path], tmp_path: Path
) -> None:
    said = tmp_path / "other.yaml"
    published = "published: [{metric: clustering_error, value: 3.32, std: 0.39, source: Table 1}]"
    measured = "measured: [{metric: clustering_error, values: [2, 4], minutes: 13}]"
    said.write_text(f"{TINY.read_text('utf-8')}\n{published}\n{measured}\n", encoding="utf-8")
    found = summary([TINY, said, folders[2], *folders[:2]], compare_runs(folders, HERE))
    rows = found.rows
    assert [row.name for row in rows] == ["tiny", "other", "tiny_labeled"]
    assert rows[0].measured
    errors = [100 * float(line["value"]) for line in _values(folders[:2])]
    lines = str(found).splitlines()
    assert lines[0].split()[:5] == ["spec", "K", "data", "labels", "published"]
    tiny = f"{statistics.fmean(errors):.2f} +- {statistics.stdev(errors):.2f} %, 2 seeds"
    assert lines[1].startswith("tiny  ")
    assert lines[1].endswith(f"clustering error {tiny} (on 1,600 training images)  1")
    assert lines[2].endswith(
        "clustering error 3.32 +- 0.39 %  clustering error 3.00 +- 1.41 %, 2 seeds" + " " * 30 + "13"
    )
    table = list(csv.reader(found.to_csv().splitlines()))
    assert table[2] == [
        *("other", "10", "digits", "", "clustering error 3.32 +- 0.39 %"),
        *("clustering error 3.00 +- 1.41 %, 2 seeds", "13"),
    ]
    cells = r"clustering error 3.32 $\pm$ 0.39 \% & clustering error 3.00 $\pm$ 1.41 \%, 2 seeds & 13"
    assert rf"other & 10 & digits & & {cells} \\" in found.to_latex().splitlines()


def _values(folders: list[Path]) -> list[dict[str, float]]:
    groups = compare_runs(folders, HERE)
    evaluations = [run.evaluation for run in groups[0].runs]
    return [{"value": one.find("clustering_error", protocol="one-to-one").value} for one in evaluations]  # type: ignore[union-attr, dict-item]


def test_the_command(ammgraph: Run, folders: list[Path]) -> None:
    code, out, err = ammgraph("compare", "--summary", "gmvae_mnist", *folders, "--format", "json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [row["name"] for row in found] == ["gmvae_mnist", "tiny", "tiny_labeled"]
    assert found[0]["published"][0]["value"] == 7.23
    assert found[1]["measured"][0]["metric"] == "clustering_error"
    code, out, err = ammgraph("compare", "--summary", "gmvae_mnist", folders[2], "--format", "markdown")
    assert out.startswith("| spec | K | data |")
    assert out.splitlines()[2].startswith(
        "| `gmvae_mnist` | 30 | mnist |  | clustering error by majority 7.23 +- 1.60 % |"
    )
    assert len(out.splitlines()) == 4


def test_what_a_summary_cannot_be(ammgraph: Run, folders: list[Path], tmp_path: Path) -> None:
    code, out, err = ammgraph("compare", "--summary", folders[0], "--format", "html")
    assert (code, out) == (1, "")
    assert err == (
        "error: `--summary` is text, JSON, CSV, LaTeX or Markdown; the page of `--format html` has every number\n"
    )
    code, out, err = ammgraph("compare", "gmvae_mnist")
    assert (code, out) == (1, "")
    assert err == "error: gmvae_mnist is a spec and no run; `--summary` shows what was published for it\n"
    code, out, err = ammgraph("compare", "--summary", "gmvae_mnst")
    assert (code, out) == (1, "")
    assert err == "error: gmvae_mnst is no run directory, and no spec that ships; did you mean `gmvae_mnist`?\n"
    code, out, err = ammgraph("compare", "--summary", tmp_path / "nothing.yaml")
    assert (code, out) == (1, "")
    assert err.startswith("error[unreadable-spec]: there is no file")


def test_from_python(folders: list[Path]) -> None:
    found = ammgraph.compare(folders[:2], device="cpu").summary("gmvae_mnist", TINY)
    assert [row.name for row in found.rows] == ["gmvae_mnist", "tiny"]
    assert found.rows[1].measured
    assert found.to_markdown().startswith("| spec | K |")
    assert "<td>gmvae_mnist</td>" in found._repr_html_()


def test_runs_that_are_no_trials_of_one_experiment_are_told(ammgraph: Run, folders: list[Path], tmp_path: Path) -> None:
    again = Path(shutil.copytree(folders[0], tmp_path / "again"))
    code, out, err = ammgraph("compare", "--summary", folders[0], again)
    assert (code, err) == (0, "warning: tiny: a seed occurs twice: these runs are no independent trials\n")
    assert "2 seeds" in out


def test_a_model_without_categories_stands_by_the_number_that_it_has(ammgraph: Run, tmp_path: Path) -> None:
    factorizations = ("--q", "q(x) q(z|x)", "--p", "p(z) p(x|z)")
    assert ammgraph("new", tmp_path / "ali.yaml", *factorizations, "--data", "digits")[0] == 0
    folder = make_run(tmp_path / "ali", tmp_path / "ali.yaml", "training.batch_size=20", steps=2)
    code, out, err = ammgraph("compare", "--summary", folder)
    assert (code, err) == (0, "")
    assert "reconstruction error" in out
