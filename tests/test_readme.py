"""Every command that the README shows runs, and its tables and texts name what there is."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import Run

from ammgraph.cli import VERBS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.strip()
    for block in re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
OPTUNA = find_spec("optuna") is not None
# A few steps instead of minutes; everything else is run as it stands.
SHORT = ("--set", "training.epochs=null", "--set", "training.steps=3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a clone, with a small MNIST in DATA."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "specs").symlink_to(ROOT / "specs")
    raw = folder / "DATA" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, count in (("train", 150), ("t10k", 50)):
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        _write_idx(raw / f"{name}-images-idx3-ubyte", images)
        _write_idx(raw / f"{name}-labels-idx1-ubyte", labels)
    return folder


def test_commands_are_shown_and_each_is_run_below() -> None:
    verbs = [command.split()[:2] for command in COMMANDS]
    assert ["tools/ammgraph", "train"] in verbs
    assert ["tools/test"] in verbs
    assert {verb[1] for verb in verbs if verb[0] == "ammgraph"} == set(VERBS)


def test_the_commands_of_the_readme_do_what_it_says(
    folder: Path, ammgraph: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    # In order, as a reader would type them: the last ones go on with the run that the first one makes.
    for command in COMMANDS:
        words = shlex.split(command.partition(" > ")[0])
        if words[0] == "tools/test":
            continue  # what runs this test
        extra: tuple[str, ...] = ()
        if words[1] in ("train", "sweep") and "--resume" not in words:
            extra = SHORT
            if "training.epochs=1" in words:  # how long it trains, too, is said once
                place = words.index("training.epochs=1")
                words = [*words[: place - 1], *words[place + 1 :]]
        if not OPTUNA and "runs/sweep" in words:
            continue  # tests/test_sweep.py says why
        if "DATA" in words:
            extra += ("--set", "data.validation=20", "--set", "training.batch_size=20", "--no-download")
        target = words[words.index(">") + 1] if ">" in words else None
        code, out, err = ammgraph(*(words[1:-2] if target else words[1:]), *extra)
        # The one wrong spec of the README shows what the compiler says.
        expected = 1 if words[1] == "validate" else 0
        assert code == expected, f"{command}\n{out}{err}"
        if target is not None:
            picture = f"specs/results/{target}"
            assert f"]({picture})" in README
            assert out == (ROOT / picture).read_text(encoding="utf-8")


def test_the_wrong_factor_of_the_readme_is_explained_where_it_stands(
    folder: Path, ammgraph: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    command = next(command for command in COMMANDS if " validate " in command)
    _, out, _ = ammgraph(*shlex.split(command)[1:])
    shown = re.search(r"```text\n(.*?)\n```", README, flags=re.DOTALL)
    assert shown is not None
    assert out.rstrip() == shown.group(1)


def test_every_spec_that_ships_is_in_the_table_and_no_other() -> None:
    table = README.partition("## Specs")[2].partition("## A run")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE) for name in re.findall("`(.*?)`", row)
    }
    assert named == {path.stem for path in (ROOT / "specs").glob("*.yaml")}


def test_the_yaml_of_the_readme_is_that_of_a_spec_that_ships() -> None:
    from ammgraph.spec.load import load_spec

    spec = load_spec(ROOT / "specs" / "amm_mnist_q1.yaml")
    block = re.search(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert block is not None
    for factor in re.findall(r"^    ([qp]\(.*?\)):", block.group(1), flags=re.MULTILINE):
        assert factor in spec.distributions["q"] or factor in spec.distributions["p"]


def _write_idx(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(int(size).to_bytes(4, "big") for size in values.shape)
    path.write_bytes(header + values.tobytes())
