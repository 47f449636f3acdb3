"""Settings of every test."""

import os

# Small tensors on shared cores: several threads wait for each other longer than they compute. Read when torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
