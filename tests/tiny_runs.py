"""Run directories of tiny models, for tests of what is made of a run, and what is in them."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import trainer_of

from ammgraph.runs import checkpoint, record, run
from ammgraph.runs.run import RunOptions
from ammgraph.show.text import plan_text
from ammgraph.spec.load import load_spec
from ammgraph.train.trainer import Trainer

# A command in this process: exit code, stdout, stderr.
Run = Callable[..., tuple[int, str, str]]


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[], None]) -> None:
    """Do something at the `number`-th step of all trials together."""
    advance, steps = Trainer.advance, iter(range(1, 1000))

    def counted(trainer: Trainer) -> None:
        if next(steps) == number:
            act()
        advance(trainer)

    monkeypatch.setattr(Trainer, "advance", counted)


def make_run(folder: Path, spec: Path, *overrides: str, seed: int = 0, steps: int = 3) -> Path:
    """A run directory as `ammgraph train` leaves it, with one line of metrics and a checkpoint at each of two steps."""
    trainer = trainer_of(spec, *overrides, seed=seed)
    folder.mkdir(parents=True)
    command = shlex.join(["ammgraph", "train", str(spec), *(word for value in overrides for word in ("--set", value))])
    options = RunOptions(spec.stem, seed, "float32", None, 50, 60.0, command)
    run.create(folder, options, load_spec(spec, overrides).written, plan_text(trainer.plan), trainer.device)
    for _ in range(steps):
        trainer.advance()
        if trainer.step >= steps - 1:
            checkpoint.save(folder / "checkpoints", trainer.step, trainer.state_dict())
    evaluation = {"y/one_to_one_error": 0.5 + 0.01 * seed, "examples": 197}
    record.append(folder / "metrics.jsonl", {"step": steps, "epoch": 0.5, "evaluation": evaluation})
    return folder


def state_of(folder: Path) -> dict[str, Any]:
    """The newest checkpoint."""
    return checkpoint.load_newest(folder / "checkpoints")[1]


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """The metrics, without how long they took."""
    lines = record.read(folder / "metrics.jsonl")
    return [{key: value for key, value in line.items() if not key.startswith("seconds")} for line in lines]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
