"""Modules and pure functions: Plan -> what torch runs."""
