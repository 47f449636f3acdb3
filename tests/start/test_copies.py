"""The specs that ship: they are found where they lie, copied whole and with their comments, and overwrite nothing."""

import tomllib
from pathlib import Path

import pytest
from tiny import plan_of

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import RunError
from ammgraph.plan.identity import plan_hash
from ammgraph.spec import shipped
from ammgraph.spec.load import load_spec
from ammgraph.spec.shipped import shipped_specs, spec_path
from ammgraph.start.copies import copy_spec

ROOT = Path(__file__).parent.parent.parent


def test_every_spec_of_the_repository_ships() -> None:
    assert shipped_specs() == {path.stem: path for path in sorted((ROOT / "specs").glob("*.yaml"))}


def test_in_an_installed_package_they_lie_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, beside = tmp_path / "ammgraph" / "specs", tmp_path / "specs"
    for folder, name in ((inside, "mine"), (beside, "someone_elses")):
        folder.mkdir(parents=True)
        (folder / f"{name}.yaml").write_text("")
    monkeypatch.setattr(shipped, "FOLDERS", (inside, beside))
    assert shipped_specs() == {"mine": inside / "mine.yaml"}


def test_the_wheel_holds_every_package_and_the_specs() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent for path in (ROOT / "ammgraph").rglob("*.py")}
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(tool["packages"]) == packages | {"ammgraph.specs"}
    assert tool["package-dir"]["ammgraph.specs"] == "specs"
    assert tool["package-data"] == {
        "ammgraph": ["docs/*.md", "docs/*.yaml", "py.typed"],
        "ammgraph.report": ["*.jinja", "*.css"],
        "ammgraph.specs": ["*.yaml", "*.schema.json"],
    }


def test_a_bare_name_is_a_shipped_spec_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("run/spec.json", "trials/spec/mine.json", "several/spec/a.json", "several/spec/b.json"):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text("{}")
    assert [spec_path(folder) for folder in ("run", "trials", "several")] == [
        "run/spec.json",
        "trials/spec/mine.json",
        "several",
    ]
    assert spec_path("ali_mnist") == str(ROOT / "specs" / "ali_mnist.yaml")
    assert spec_path("ali_mnist.yaml") == "ali_mnist.yaml"
    assert spec_path("specs/ali_mnist") == "specs/ali_mnist"
    assert spec_path("no_such_spec") == "no_such_spec"
    (tmp_path / "ali_mnist").write_text("")
    assert spec_path("ali_mnist") == "ali_mnist"


@pytest.mark.parametrize("name", sorted(shipped_specs()))
def test_a_copy_is_the_same_model_with_the_same_comments(name: str, tmp_path: Path) -> None:
    first, *parents = copy_spec(name, tmp_path / "mine.yaml")
    assert first == tmp_path / "mine.yaml"
    assert first.read_bytes() == shipped_specs()[name].read_bytes()
    *parents, schema = parents
    assert schema.name in first.read_text().splitlines()[0]
    assert {path.stem for path in parents} <= set(shipped_specs()) - {name}
    assert plan_hash(compile_spec(load_spec(first))) == plan_hash(plan_of(shipped_specs()[name]))


def test_a_copy_has_the_shipped_name_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert copy_spec("amm_mnist_q1") == (
        *(Path("amm_mnist_q1.yaml"), Path("amm_mnist.yaml")),
        Path("ammgraph.schema.json"),
    )
    (tmp_path / "folder").mkdir()
    folder = tmp_path / "folder"
    assert copy_spec("ali_mnist", folder) == (folder / "ali_mnist.yaml", folder / "ammgraph.schema.json")
    # What is extended is there already, as it ships.
    assert copy_spec("amm_mnist_q2") == (Path("amm_mnist_q2.yaml"),)


def test_nothing_is_overwritten_and_nothing_half_copied(tmp_path: Path) -> None:
    (tmp_path / "amm_mnist.yaml").write_text("mine")
    with pytest.raises(RunError, match=r"amm_mnist\.yaml` is there already and is not overwritten"):
        copy_spec("amm_mnist_q1", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["amm_mnist.yaml"]
    with pytest.raises(RunError, match="is there already"):
        copy_spec("amm_mnist", tmp_path)
    assert (tmp_path / "amm_mnist.yaml").read_text() == "mine"
    with pytest.raises(RunError, match="has the name of a spec that `amm_mnist_q2` extends"):
        copy_spec("amm_mnist_q2", tmp_path / "amm_mnist.yaml")
    with pytest.raises(RunError, match="cannot be written: no such file or directory"):
        copy_spec("amm_mnist", tmp_path / "absent" / "mine.yaml")


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no spec `amm_mnits` ships; did you mean `amm_mnist`\?"):
        copy_spec("amm_mnits", tmp_path)
    with pytest.raises(RunError, match="`ammgraph specs` lists them"):
        copy_spec("zzz", tmp_path)


def test_a_run_directory_means_its_spec(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{}")
    assert spec_path(str(tmp_path)) == str(tmp_path / "spec.json")
