"""Tiny models on the digits, for tests of training, evaluation and the commands."""

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.dataset import Dataset, load_data
from ammgraph.plan.plan import Plan
from ammgraph.runs.run import Place
from ammgraph.spec.load import load_spec
from ammgraph.train.trainer import Trainer

FOLDER = Path(__file__).parent
TINY = FOLDER / "tiny.yaml"
LABELED = FOLDER / "tiny_labeled.yaml"
TERMS = FOLDER / "tiny_terms.yaml"  # without a game
PHASES = FOLDER / "tiny_phases.yaml"  # two phases, a fit and a third one
INFORMED = FOLDER / "tiny_informed.yaml"  # a game and terms
ENUMERATED = FOLDER / "tiny_enumerated.yaml"  # a game and terms at every value of a category
CPU = torch.device("cpu")
HERE = Place(CPU)
PATIENCE = 600.0  # seconds until a process counts as hanging: one that waits its turn on a busy machine does not hang

ALTERNATING = (
    "training.schedule=[{update: [critic], steps: 2}, {update: [encoder, decoder]}, {update: [components], draw: same}]"
)
LABELS_ON_BOTH_SIDES = (
    "data.labeled={count: all}",
    "networks.encoder.layers.y=null",
    "networks.decoder.layers.h.batchnorm=false",
    "distributions.q={'q(x,y)': data.labeled, q(z|x): encoder.z}",
    "distributions.p={p(y): q.y, p(z|y): components.z, 'p(x|y,z)': decoder.x}",
)  # p takes the label of data
EMA = "training.ema={default: 0.9, critic: 0}"


@cache
def plan_of(path: Path, *overrides: str) -> Plan:
    return compile_spec(load_spec(path, overrides))


@cache
def data_of(path: Path, *overrides: str) -> Dataset:
    return load_data(plan_of(path, *overrides).data, None)


def trainer_of(path: Path, *overrides: str, seed: int = 0, precision: str = "float32") -> Trainer:
    return Trainer(plan_of(path, *overrides), data_of(path, *overrides), seed, CPU, precision)


def differences(first: Any, second: Any, place: str = "") -> list[str]:
    """The places in which two states differ in any bit."""
    if isinstance(first, torch.Tensor):
        same = isinstance(second, torch.Tensor) and first.dtype == second.dtype and first.shape == second.shape
        return [] if same and torch.equal(first, second) else [place]
    if isinstance(first, dict):
        if not isinstance(second, dict) or list(first) != list(second):
            return [place]
        return [found for key in first for found in differences(first[key], second[key], f"{place}/{key}")]
    if isinstance(first, list | tuple):
        if len(first) != len(second):
            return [place]
        pairs = enumerate(zip(first, second, strict=True))
        return [found for index, (a, b) in pairs for found in differences(a, b, f"{place}/{index}")]
    return [] if first == second else [place]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "ammgraph", *map(str, arguments)]


def environment() -> dict[str, str]:
    """As a person has it: one thread, and output that Python buffers."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"OMP_NUM_THREADS": "1"}
