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
TENSORBOARD = "tensorboard"  # where it is installed
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
