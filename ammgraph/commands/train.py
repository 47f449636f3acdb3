"""`ammgraph train`: train a spec, or go on with a run; with `--trials` several seeds of it."""

from ammgraph.commands.train_options import TrainOptions as Options
from ammgraph.diagnostics import RunError

EXAMPLE = "ammgraph train specs/amm_mnist.yaml --set training.epochs=20 --seed 1"


def run(options: Options) -> int:
    """0 where the end was reached; see `train_run`, `train_trials` and `dry_run`."""
    from ammgraph.commands.dry_run import dry_run
    from ammgraph.commands.session import train_run
    from ammgraph.commands.trials import is_trials, train_trials

    if options.force and not options.run_dir:
        raise RunError("`--force` serves `--run-dir`, which is not given: it lets a run begin among other files")
    if options.resume and options.allow_outside:
        raise RunError("`--resume` goes on with a spec that has no `extends` any more; it takes no `--allow-outside`")
    if options.dry_run:
        return dry_run(options)
    if options.trials or (options.resume and is_trials(options.resume)):
        return train_trials(options)
    return train_run(options)
