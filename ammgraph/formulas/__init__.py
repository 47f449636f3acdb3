"""Formulas as data: what is minimised, written once, evaluated by torch and printed as text, LaTeX and code."""
