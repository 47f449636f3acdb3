"""Every verb's options: typed, read and spelled again."""

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ammgraph import cli
from ammgraph.commands.arguments import spelled, typed_fields

WORDS = {
    "train": "a.yaml --set constants.K=3 --set=-x --data-dir d --no-download --device cpu,cpu --seed 3 --trials 2 "
    "--precision float64 --log-every 7 --checkpoint-seconds 0.5 --force --run-dir r --dry-run --allow-outside",
    "validate": "a.yaml b.yaml --format json",
    "show": "a.yaml --section games --section step --plan",
    "diff": "a.yaml b.yaml --exit-code",
    "evaluate": "r --split train --quality --weights w --device cpu",
    "report": "r --output page.html --no-map --seed 2 --force",
    "compare": "r s --again --no-download",
    "sample": "r --component 0 --count 2 --interpolate 3 --examples a.npz --output grid.png",
    "encode": "r images.npz --output codes.npz",
    "export": "r -o e --onnx",
    "specs": "--format json",
    "copy": "ali_mnist here.yaml",
    "schema": "",
    "explain": "condition-mismatch",
    "completion": "zsh",
}


@pytest.mark.parametrize("verb", WORDS)
def test_options_that_are_spelled_are_read_as_what_they_were(verb: str) -> None:
    run, options = cli.parsed([verb, *WORDS[verb].split()])
    assert run is import_module(f"ammgraph.commands.{verb}").run
    _, again = cli.parsed([verb, *spelled(options)])
    names = [found.name for found in typed_fields(type(options))]
    assert [getattr(again, name) for name in names] == [getattr(options, name) for name in names]


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_a_module_with_frozen_options(verb: str) -> None:
    module = import_module(f"ammgraph.commands.{verb}")
    assert module.EXAMPLE.startswith(f"ammgraph {verb} ")
    assert module.Options.__dataclass_params__.frozen
    for found in dataclasses.fields(module.Options):
        assert hash(found.default if found.default is not dataclasses.MISSING else 0) is not None


def test_no_namespace_leaves_the_edge() -> None:
    package = Path(cli.__file__).parent
    using = {path.name for path in package.rglob("*.py") if "Namespace" in path.read_text(encoding="utf-8")}
    assert using == {"cli.py", "arguments.py"}


def test_what_must_be_typed_is_typed_once(ammgraph: Any, tmp_path: Path) -> None:
    words = ("--q", "q(x) q(z|x)", "--q", "q(x)", "--p", "p(z) p(x|z)")
    code, _, said = ammgraph("new", tmp_path / "mine.yaml", *words)
    assert code == 2
    assert "argument --q: given twice" in said


@pytest.mark.parametrize(
    "words",
    [
        ("validate", "amm_digits", "--set", "training.epochs=1", "--set", " training . epochs =2"),
        ("sample", "run", "--set", "y=1", "--set", "y=2"),
    ],
)
def test_a_key_is_set_once(ammgraph: Any, words: tuple[str, ...]) -> None:
    code, out, said = ammgraph(*words)
    assert (code, out) == (2, "")
    assert "argument --set: `" in said
    assert "is set twice" in said
