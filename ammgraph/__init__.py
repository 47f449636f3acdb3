"""ammgraph: a declarative compiler for adversarial latent-variable models."""

__version__ = "0.1.0"
