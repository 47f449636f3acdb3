"""Plan -> text: plans as tables, LaTeX, JSON, drawings, differences."""
