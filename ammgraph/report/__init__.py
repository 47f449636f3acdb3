"""The page of a run: views, figures, HTML."""
