"""What shells complete is what is parsed: verbs, options, choices, the specs that ship."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from tiny_runs import Run

from ammgraph.cli import VERBS
from ammgraph.spec.shipped import shipped_specs


def completed(script: str, folder: Path, *words: str) -> set[str]:
    """What bash offers at the end of these words."""
    ask = '\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _ammgraph; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", script + ask, "bash", "ammgraph", *words]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert found.stderr == ""
    return set(found.stdout.splitlines())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("tr",), ("train",)),
        (("co",), ("compare", "copy", "completion")),
        (("train", "--tr"), ("--trials",)),
        (("train", "--precision", ""), ("float32", "tf32", "bfloat16", "float64")),
        (("show", "a.yaml", "--section", "g"), ("games",)),
        (("compare", "--format", ""), ("text", "json", "csv", "latex", "markdown", "html")),
        (("show", "amm_mnist_q"), ("amm_mnist_q1", "amm_mnist_q2")),
        (("completion", ""), ("bash", "zsh", "fish", "mine.yaml", "my run")),
        (("report", "mi"), ("mine.yaml",)),
        (("report", "my"), ("my run",)),
        (("train", "--run-dir", ""), ("mine.yaml", "my run")),
        (("export", "-"), ("-o", "--output", "--onnx", "--help")),
    ],
    ids=" ".join,
)
def test_bash_completes(words: tuple[str, ...], offered: tuple[str, ...], ammgraph: Run, tmp_path: Path) -> None:
    code, script, err = ammgraph("completion", "bash")
    assert (code, err) == (0, "")
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "my run").mkdir()
    assert completed(script, tmp_path, *words) == set(offered)


def options_of(verb: str, ammgraph: Run) -> set[str]:
    """What the help of a verb lists."""
    return set(re.findall(r"^ +(?:-\w,? .*?)?(--[\w-]+)", ammgraph(verb, "--help")[1], re.MULTILINE)) - {"--help"}


@pytest.mark.parametrize("verb", VERBS)
def test_every_shell_knows_every_option_of_a_verb(verb: str, ammgraph: Run) -> None:
    options = options_of(verb, ammgraph)
    _, bash, _ = ammgraph("completion", "bash")
    (words,) = re.findall(rf'^    "{verb} -"\*\) words="(.*)";;$', bash, re.MULTILINE)
    assert {word for word in words.split() if word.startswith("--")} == options | {"--help"}
    _, zsh, _ = ammgraph("completion", "zsh")
    (found,) = re.findall(rf'^    "{verb} -"\*\) found=\((.*)\); _describe', zsh, re.MULTILINE)
    assert {word.partition(":")[0] for word in shlex.split(found) if word.startswith("--")} == options
    _, fish, _ = ammgraph("completion", "fish")
    lines = [line for line in fish.splitlines() if f"__fish_seen_subcommand_from {verb}'" in line]
    assert {f"--{name}" for line in lines for name in re.findall(r" -l ([\w-]+)", line)} == options
    assert f" -a {verb} -d " in fish


def test_specs_are_offered_where_a_spec_is_asked_for(ammgraph: Run) -> None:
    for shell, pattern in (("zsh", r'"train "\*\) compadd -- (.*);;'), ("fish", r"from train' -a '(.*)'")):
        (found,) = re.findall(pattern, ammgraph("completion", shell)[1])
        assert found.split() == list(shipped_specs())
