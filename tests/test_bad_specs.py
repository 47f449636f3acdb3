"""Every wrong spec of `bad_specs/` gives exactly its diagnostics: code, place, line, text.

A case is `NAME.yaml`, or `NAME.set` with one override a line (then of `_base.yaml` unless there is a `NAME.yaml`), and
`NAME.txt`, what a person reads. A name that begins with `_` is a part of other cases.
"""

import difflib
import os
from pathlib import Path

import pytest

from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import CODES, WARNINGS, SpecError
from ammgraph.spec.load import load_spec

FOLDER = Path(__file__).parent / "bad_specs"
CASES = sorted({path.stem for path in FOLDER.iterdir() if path.suffix in (".yaml", ".set") and path.stem[0] != "_"})
UPDATE = "AMMGRAPH_UPDATE_GOLDEN"


def diagnose(case: str) -> SpecError:
    """The error of a case, in the folder of the cases so that files go by their names."""
    overrides = FOLDER / f"{case}.set"
    spec = f"{case}.yaml" if (FOLDER / f"{case}.yaml").exists() else "_base.yaml"
    arguments = overrides.read_text(encoding="utf-8").splitlines() if overrides.exists() else []
    with pytest.raises(SpecError) as caught:
        compile_spec(load_spec(spec, arguments))
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_wrong_spec_gives_its_diagnostics(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    actual = str(diagnose(case)) + "\n"
    golden = FOLDER / f"{case}.txt"
    if os.environ.get(UPDATE):
        golden.write_text(actual, encoding="utf-8")
    expected = golden.read_text(encoding="utf-8") if golden.exists() else ""
    difference = difflib.unified_diff(expected.splitlines(), actual.splitlines(), f"{case}.txt", "now", lineterm="")
    hint = f"If the change is meant: {UPDATE}=1 pytest {Path(__file__).name}, then review the diff in git"
    assert actual == expected, "\n".join([*difference, hint])


def test_base_of_the_wrong_specs_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    compile_spec(load_spec("_base.yaml"))


def test_every_code_has_a_case() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.txt"))
    assert [code for code in CODES if f"error[{code}]" not in text and code not in WARNINGS] == []


def test_every_expected_text_belongs_to_a_case() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.txt")) == CASES


def test_there_are_sixty_cases_and_none_gives_a_traceback() -> None:
    assert len(CASES) >= 60
    assert not [path.name for path in FOLDER.glob("*.txt") if "Traceback" in path.read_text(encoding="utf-8")]
