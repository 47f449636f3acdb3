"""`ammgraph sweep`: try values of a spec, each in a run of its own, and find the best by validation examples."""

from ammgraph.commands.sweep_options import SweepOptions as Options
from ammgraph.diagnostics import RunError

EXAMPLE = (
    "ammgraph sweep specs/amm_digits.yaml --set data.validation=297 "
    "--vary training.batch_size=32,64,128\n         --metric reconstruction_error --trials 12"
)


def run(options: Options) -> int:
    """0 where every trial has come to its end; see `sweep`."""
    from ammgraph.commands.sweeping import sweep

    if options.resume is None and not options.vary:
        raise RunError("a sweep varies something: say what, as by `--vary training.batch_size=32,64,128`")
    return sweep(options)
