"""A run as a program of its own: plan and weights come in, PyTorch code that knows nothing of ammgraph goes out."""
