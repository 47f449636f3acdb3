"""What `ammgraph train` is asked for."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ammgraph.commands import kinds
from ammgraph.commands.arguments import DEVICE, OfData, OfSpec, option, positional, switch
from ammgraph.commands.loggers import LOGGERS

if TYPE_CHECKING:
    from ammgraph.plan.cost import Precision


@dataclass(frozen=True)
class Source:
    """A spec to begin with, or a run to go on with."""

    spec: str | None = positional(
        "a spec, as in specs/amm_digits.yaml or amm_digits", "SPEC", nargs="?", type=kinds.spec_name, either=True
    )
    resume: Path | None = option(
        "go on with a run, or with trials, at the newest checkpoint", type=kinds.path, metavar="RUN", either=True
    )


@dataclass(frozen=True)
class HowToTrain(OfData):
    """What a run, or each of several, is trained with."""

    precision: "Precision | None" = option(
        "of the arithmetic (default: float32); tf32: float32 whose products an NVIDIA GPU rounds to 10 bits",
        choices=("float32", "tf32", "bfloat16", "float64"),
    )
    log_every: int | None = option("steps between two lines (default: 50)", type=kinds.positive, metavar="STEPS")
    checkpoint_seconds: float | None = option(
        "least time between two checkpoints (default: 60)", type=kinds.seconds, metavar="S"
    )
    log: str | None = option(
        f"write the metrics there too: some of {', '.join(LOGGERS)}, with commas; or none (default: tensorboard where "
        "it is installed)",
        type=kinds.loggers,
        metavar="NAMES",
    )


@dataclass(frozen=True)
class TrainOptions(HowToTrain, OfSpec, Source):
    """What is typed; `typed` are the words themselves, which `run.json` records.

    A trial is asked for by the session of all trials, which says what the record is: `known_as`.
    """

    device: str = option(
        f"{DEVICE}; with --trials several, as in cuda:0,cuda:1 or cpu,cpu: a trial at a time on each", default="auto"
    )
    run_dir: Path | None = option("the new run directory (default: runs/SPEC-N)", type=kinds.path, metavar="DIR")
    force: bool = switch("begin a run in a folder that holds other files; those in the way go")
    seed: int | None = option("seed of initialisation, data order and noise (default: 0)", type=kinds.seed)
    trials: int | None = option(
        "train N seeds from --seed on, one after another or one on each --device; ends with mean and standard "
        "deviation",
        type=kinds.positive,
        metavar="N",
    )
    dry_run: bool = switch(
        "a few steps that leave no file: gradients, memory and time measured; absent data are made up"
    )
    known_as: str = option(argparse.SUPPRESS, default="")
    typed: tuple[str, ...] = ()
