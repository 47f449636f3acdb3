"""A run on disk: its folder, checkpoints, log, trials and sweeps."""
