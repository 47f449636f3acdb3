"""What `ammgraph sweep` is asked for."""

from dataclasses import dataclass
from pathlib import Path

from ammgraph.commands import kinds
from ammgraph.commands.arguments import OfSpec, option, positional, switch
from ammgraph.commands.train_options import HowToTrain
from ammgraph.spec.vary import Axis


@dataclass(frozen=True)
class Source:
    """A spec to vary, or a sweep to go on with."""

    spec: str | None = positional(
        "a spec, as in specs/amm_digits.yaml or amm_digits", "SPEC", nargs="?", type=kinds.spec_name, either=True
    )
    resume: Path | None = option(
        "go on with a sweep, also beside other processes that do", type=kinds.path, metavar="SWEEP", either=True
    )


@dataclass(frozen=True)
class SweepOptions(HowToTrain, OfSpec, Source):
    """What is typed."""

    vary: tuple[Axis, ...] = option(
        "what is tried for one value of the spec: LOW..HIGH, LOW..HIGH:log (ratios, not differences) or A,B,C; the key "
        "as for --set; may be repeated",
        action="append",
        type=kinds.axis,
        metavar="A.B=VALUES",
    )
    metric: str | None = option(
        "what is best, of the validation examples, as in reconstruction_error or y/nmi", type=kinds.name
    )
    trials: int | None = option("how many values are tried (default: 20)", type=kinds.positive, metavar="N")
    no_prune: bool = switch("train every trial to its end, also one that is worse than half of the others there")
    storage: str | None = option(
        "a database of Optuna's for several machines that share the folder (default: a file of the folder)",
        type=kinds.name,
        metavar="URL",
    )
    run_dir: Path | None = option("the sweep's new folder (default: runs/SPEC-N)", type=kinds.path, metavar="DIR")
    seed: int | None = option("seed of every trial, and of what is tried (default: 0)", type=kinds.seed)
