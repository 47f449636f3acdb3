"""Evaluation: a trained model -> numbers."""
