"""What a user installs: the wheel, in an environment and a folder that hold nothing of the checkout."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from tiny import environment

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "ammgraph" / "docs" / "installed.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:sh|console)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
SHORT = ("--set", "training.epochs=null", "--set", "training.steps=2")
BUILT = ("ammgraph", "specs", "pyproject.toml", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout gets no `build` and no `egg-info`."""
    source = tmp_path_factory.mktemp("source")
    for name in BUILT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", "dist", "."], cwd=source, check=True)
    (found,) = (source / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheel, and sees what it depends on."""
    folder = tmp_path_factory.mktemp("environment") / "env"
    venv.create(folder)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # The folders alone: what an editable installation adds to them is not seen.
    others = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "others.pth").write_text("".join(f"{path}\n" for path in others))
    return python.parent


@pytest.mark.slow
def test_an_installed_wheel_works_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    settings = {name: value for name, value in environment().items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*words: str) -> str:
        found = subprocess.run(
            [str(installed / words[0]), *words[1:]], cwd=tmp_path, env=settings, capture_output=True, text=True
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    where = run("python", "-c", "import ammgraph; print(ammgraph.__file__)").strip()
    assert Path(where).is_relative_to(installed.parent)
    shipped = {path.stem for path in (ROOT / "specs").glob("*.yaml")}
    assert shipped == {line.partition(":")[0] for line in run("ammgraph", "specs").splitlines() if line[:1].isalpha()}
    assert run("ammgraph", "validate", "amm_digits").startswith(f"{Path(where).parent}{os.sep}specs")
    assert "condition-mismatch" in run("ammgraph", "explain", "condition-mismatch")
    assert sorted(path.name for path in tmp_path.iterdir()) == []
    for command in COMMANDS:
        short = SHORT if command.startswith("ammgraph train") else ()
        run(*shlex.split(command), *short)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ammgraph.schema.json", "mine.yaml", "own.yaml", "runs"]


@pytest.mark.slow
def test_what_pypi_shows_links_to_no_file_of_a_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        shown = message_from_bytes(files.read(name))
    assert shown["Description-Content-Type"] == "text/markdown"
    assert shown.get_payload().strip() == PAGE.strip()
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert links
    assert all(link.startswith("https://") for link in links)


@pytest.mark.slow
def test_a_wheel_holds_the_package_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"ammgraph"}
    packaged = {name for name in names if name.endswith((".py", ".jinja", ".css", ".md"))}
    ours = [path for path in (ROOT / "ammgraph").rglob("*") if path.suffix in (".py", ".jinja", ".css")]
    assert {path.relative_to(ROOT).as_posix() for path in ours} <= packaged
    assert {f"ammgraph/docs/{path.name}" for path in (ROOT / "ammgraph" / "docs").glob("*.md")} <= packaged
