"""The example of the page about one's own data learns what its images show."""

import json
import re
from pathlib import Path

import pytest
from documents import DOCS, command, refreshed


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_documented_example_ends_below_five_percent(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "your-own-data.md").read_text(encoding="utf-8")
    refreshed(re.sub(r"^ammgraph .*\n", "", page, flags=re.MULTILINE), tmp_path)
    code, printed = command(f"ammgraph train mine.yaml --seed {seed} --run-dir run")
    assert code == 0, printed
    assert one_to_one(tmp_path / "run") < 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_documented_table_ends_below_five_percent(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "your-own-data.md").read_text(encoding="utf-8")
    refreshed(re.sub(r"^ammgraph .*\n", "", page, flags=re.MULTILINE), tmp_path)
    code, printed = command(f"ammgraph train leaves.yaml --seed {seed} --run-dir run")
    assert code == 0, printed
    assert one_to_one(tmp_path / "run", "train") < 5


@pytest.mark.slow
def test_what_new_writes_for_the_same_images_ends_below_five_percent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "your-own-data.md").read_text(encoding="utf-8")
    refreshed(re.sub(r"^ammgraph .*\n", "", page, flags=re.MULTILINE), tmp_path)
    typed = '--q "q(x) q(z|x) q(y|z)" --p "p(y) p(z|y) p(x|z)" --image 3x16x16 --categorical y:3'
    assert command(f"ammgraph new new.yaml {typed}")[0] == 0
    code, printed = command("ammgraph train new.yaml --set training.steps=300 --run-dir run")
    assert code == 0, printed
    assert one_to_one(tmp_path / "run") < 5


def one_to_one(run: Path, split: str = "test") -> float:
    """Clustering error of q's y on the test examples, or those of another split, percent."""
    results = json.loads((run / "evaluation.json").read_text())["results"]
    return 100 * next(
        result["value"]
        for result in results
        if (result["name"], result["by"][:2], result["protocol"]) == ("clustering_error", "q(", "one-to-one")
        and result["split"] == split
    )
