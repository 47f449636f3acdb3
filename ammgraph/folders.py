"""What a run directory, and a folder of trials, is made of: every name is written here alone.

`run.json` is written last: a folder without it holds no run, whatever else a kill has left there.
"""

from pathlib import Path

SPEC = "spec.json"  # the resolved spec: after `extends` and `--set`
PLAN = "plan.txt"  # the plan as text
ENVIRONMENT = "environment.json"  # versions, device, processes, threads
OPTIONS = "run.json"  # seed, precision, data folder, what the data were, how often to log and save, the command
METRICS = "metrics.jsonl"  # one line a record
CHECKPOINTS = "checkpoints"  # the newest states; empty before the first
BEST = "best"  # the state that `evaluation.keep` has chosen
SAMPLES = "samples"  # of the same noise, at looks in training
TENSORBOARD = "tensorboard"  # where it is installed
WANDB = "wandb"  # what Weights & Biases keeps of it, where it was asked for
LOGGED = "logged.json"  # which loggers a run writes to beside its metrics, and its name there
DIVERGED = "diverged.txt"  # where training has diverged, and what to do; gone when the run goes on
LOCK = "lock"  # held by the process that trains
EVALUATION = "evaluation.json"  # what was found at the end, or later
REPORT = "report.html"

TRIALS = "trials.json"  # the seeds, and what all trials are trained with
SPECS = "spec"  # with the resolved spec as NAME.json
ANY_TRIAL = "seed-*"


def trial_folder(folder: Path, seed: int) -> Path:
    """The run directory of one trial."""
    return folder / f"seed-{seed}"


def trial_log(folder: Path, seed: int) -> Path:
    """What a trial has to say that is trained beside others."""
    return folder / f"seed-{seed}.log"


SWEEP = "sweep.json"  # what is varied, what is measured, and what all trials are trained with
TRIED = "tried.json"  # the trials, and what came of them
DATABASE = "sweep.db"  # Optuna's, unless it has another


def tried_folder(folder: Path, number: int) -> Path:
    """The run directory of one trial of a sweep."""
    return folder / f"trial-{number}"


def tried_claim(folder: Path, number: int) -> Path:
    """Held by the process that has taken this trial of a sweep."""
    return folder / f"trial-{number}.lock"
