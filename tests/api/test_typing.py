"""A user's type checker sees wrong arguments."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import ammgraph

spec = ammgraph.load_spec("amm_digits", overrides=["training.epochs=2"])
run = ammgraph.fit(spec, seed=1, precision="float64")
run.sample(component=3, count=4).save("a.png")
model = run.model()
images = model.generate(3, y=[1, 2, 3])
ammgraph.register_activation("mine", lambda x: x)
found: ammgraph.Evaluation = run.evaluate(split="test")

ammgraph.fit(spec, seeds=1)  # call-arg
ammgraph.fit(spec, seed="one")  # arg-type
ammgraph.fit(spec, precision="float16")  # arg-type
run.sample(component="three")  # arg-type
run.evaluate("test")  # call-arg
model.generate("many")  # arg-type
ammgraph.compare(run)  # arg-type
ammgraph.compile_spec("amm_digits")  # arg-type
ammgraph.register_objective("mine", discriminator=("d", "-d", "d"), generator=("d", "d"))  # arg-type
run.metric()  # attr-defined
ammgraph.resume(run)  # attr-defined
number: int = run.plan  # assignment
"""


@pytest.mark.slow
def test_mypy_finds_what_is_wrong_in_a_program_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports=silent", "program.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.findall(r"^program.py:(\d+): error: .*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    found = [(int(line), code) for line, code in told]
    lines = enumerate(PROGRAM.splitlines(), start=1)
    assert found == [(number, line.rpartition("# ")[2]) for number, line in lines if "  # " in line], done.stdout


def test_the_package_says_that_it_has_types() -> None:
    assert (ROOT / "ammgraph" / "py.typed").exists()
    assert '"py.typed"' in (ROOT / "pyproject.toml").read_text()
