"""YAML text in, `Spec` out: what was written, checked as far as one value alone can be, each with its place."""
