"""The trainer: executes a plan, knows no model."""
