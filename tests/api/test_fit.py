"""What `fit` and `build` are called with: anything else is refused before a file is written."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TINY

import ammgraph
from ammgraph.runs.run import read_options

SHORT = ["training.steps=2"]


@pytest.mark.parametrize(
    ("argument", "value", "said"),
    [
        ("seed", -1, "`seed` is -1, expected at least 0"),
        ("seed", 2**63, "`seed` is 9223372036854775808, expected less than 2^63"),
        ("seed", "3", "`seed` is '3', expected a whole number"),
        ("seed", 3.0, "`seed` is 3.0, expected a whole number"),
        ("seed", True, "`seed` is True, expected a whole number"),
        ("seed", None, "`seed` is None, expected a whole number"),
        ("log_every", 0, "`log_every` is 0, expected at least 1"),
        ("log_every", 2.5, "`log_every` is 2.5, expected a whole number"),
        ("checkpoint_seconds", float("inf"), "`checkpoint_seconds` is inf, expected a number of seconds, at least 0"),
        ("checkpoint_seconds", float("nan"), "`checkpoint_seconds` is nan, expected a number of seconds"),
        ("checkpoint_seconds", -1, "`checkpoint_seconds` is -1, expected a number of seconds"),
        ("checkpoint_seconds", "60", "`checkpoint_seconds` is '60', expected a number of seconds"),
        ("precision", "float16", "`precision` is 'float16', expected `float32`, `tf32`, `bfloat16` or `float64`; "),
        ("precision", None, "`precision` is None, expected `float32`"),
        ("after_step", 3, "`after_step` is 3, expected a function"),
        ("after_evaluation", "print", "`after_evaluation` is 'print', expected a function"),
        ("report", [], "`report` is [], expected a function"),
        ("stop", True, "`stop` is True, expected a function"),
    ],
)
def test_an_argument_that_is_none_is_refused_before_a_file_is_written(
    argument: str, value: object, said: str, tmp_path: Path
) -> None:
    with pytest.raises(ammgraph.RunError) as raised:
        ammgraph.fit(TINY, run_dir=tmp_path / "run", **{argument: value})  # type: ignore[arg-type]
    assert str(raised.value).startswith(said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("whole", [np.int64, np.uint8, torch.tensor])
def test_whole_numbers_of_numpy_and_torch_are_whole_numbers(whole: type, tmp_path: Path) -> None:
    spec = ammgraph.load_spec(TINY, SHORT)
    run = ammgraph.fit(
        spec, run_dir=tmp_path / "run", seed=whole(3), log_every=whole(1), checkpoint_seconds=np.float32(2)
    )
    options = read_options(run.folder)
    assert (options.seed, options.log_every, options.checkpoint_seconds) == (3, 1, 2.0)
    assert json.loads((run.folder / "run.json").read_text())["seed"] == 3


def test_the_largest_arguments_are_read_back(tmp_path: Path) -> None:
    spec = ammgraph.load_spec(TINY, SHORT)
    run = ammgraph.fit(spec, run_dir=tmp_path / "run", seed=2**63 - 1, log_every=2**63 - 1, checkpoint_seconds=1e9 - 1)
    assert read_options(run.folder).seed == 2**63 - 1


def test_build_takes_the_seeds_that_fit_takes() -> None:
    plan = ammgraph.compile_spec(ammgraph.load_spec(TINY))
    with pytest.raises(ammgraph.RunError, match="`seed` is -1, expected at least 0"):
        ammgraph.build(plan, -1)
    first, second = (ammgraph.build(plan, seed).state_dict() for seed in (3, np.int64(3)))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_folder_that_holds_something_else_is_refused_with_what_a_call_can_do(tmp_path: Path) -> None:
    for name in ("trials.json", "sweep.json", "file"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("{}")
    spec = ammgraph.load_spec(TINY, SHORT)
    for name, said in (("trials.json", "holds trials; go on with"), ("sweep.json", "holds a sweep; go on with")):
        with pytest.raises(ammgraph.RunError, match=said):
            ammgraph.fit(spec, run_dir=tmp_path / name)
    with pytest.raises(ammgraph.RunError, match=r"\(file\); name a folder that is new or empty$"):
        ammgraph.fit(spec, run_dir=tmp_path / "file")


def test_what_a_run_is_resumed_and_sampled_with_is_refused_too(tmp_path: Path) -> None:
    run = ammgraph.fit(ammgraph.load_spec(TINY, SHORT), run_dir=tmp_path / "run")
    with pytest.raises(ammgraph.RunError, match="`stop` is 3, expected a function"):
        run.resume(["training.steps=3"], stop=3)  # type: ignore[arg-type]
    with pytest.raises(ammgraph.RunError, match=r"`overrides` is 'training\.steps=3', expected a list of texts"):
        run.resume("training.steps=3")
    with pytest.raises(ammgraph.RunError, match="`given` is 3, expected a mapping"):
        run.sample(given=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"`overrides` is 'training\.steps=3', expected a list of texts"):
        ammgraph.load_spec(TINY, "training.steps=3")
