"""A row for each model: what it infers, from which data, what was published for it, and what its runs have reached.

As the tables of a paper have it. A spec without runs has the numbers that it says itself.
"""

import csv
import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ammgraph.compiler.compile import compile_spec
from ammgraph.data.table_files import no_formula
from ammgraph.evaluation.chief import chief
from ammgraph.evaluation.compare import Group, rows
from ammgraph.evaluation.compare_tables import booktabs, latex_text
from ammgraph.folders import METRICS, SPEC
from ammgraph.runs import record
from ammgraph.runs.run import read_options
from ammgraph.spec.load import load_spec
from ammgraph.spec.notebook import html_block, html_table
from ammgraph.spec.published import Measured
from ammgraph.start.listing import COLUMNS, Listed, listed_spec, listing_json, listing_markdown, listing_row

LEAST_MINUTES = 0.1  # that are told


@dataclass(frozen=True)
class Summary:
    """A row for each model, as `COLUMNS` say."""

    rows: tuple[Listed, ...]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self._table, strict=True)]
        lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in self._table)
        return "\n".join(map(str.rstrip, lines))

    def _repr_html_(self) -> str:
        head, *body = self._table
        return html_block("Summary", [html_table(head, body)])

    @property
    def _table(self) -> list[tuple[str, ...]]:
        return [COLUMNS, *map(listing_row, self.rows)]

    def to_dict(self) -> list[dict[str, object]]:
        """A mapping for each model, as `ammgraph specs --format json` has them."""
        return listing_json(self.rows)

    def to_csv(self) -> str:
        """The cells for a spreadsheet."""
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([map(no_formula, row) for row in self._table])
        return stream.getvalue()

    def to_latex(self) -> str:
        """A table for booktabs."""
        head, *body = ([latex_text(cell).replace("+-", r"$\pm$") for cell in row] for row in self._table)
        return booktabs("lrlrlll", [head], body)

    def to_markdown(self) -> str:
        """A table for a text."""
        return listing_markdown(self.rows) + "\n"


def summary(sources: Sequence[Path], groups: Sequence[Group]) -> Summary:
    """A row for each group of runs and for each spec of which there is none, in the order of the sources.

    Args:
        sources: run directories and files of specs, as they are to be shown.
        groups: of all the runs among them.

    Raises:
        SpecError: a file is no spec, or no model.
    """
    of_runs = {run.folder: _of_runs(group) for group in groups for run in group.runs}
    models: dict[tuple[object, ...], list[Listed]] = {}
    for path in sources:
        row = of_runs[path] if path in of_runs else listed_spec(path.stem, path)
        same = models.setdefault((row.name, row.categories, row.data), [])
        if row not in same:
            same.append(row)
    ran = list(of_runs.values())
    return Summary(tuple(row for same in models.values() for row in [one for one in same if one in ran] or same))


def _of_runs(group: Group) -> Listed:
    """What a spec says, with the chief number of its runs in place of what it says that it reaches."""
    first = group.runs[0]
    row = listed_spec(read_options(first.folder).name, first.folder / SPEC)
    found = chief(compile_spec(load_spec(first.folder / SPEC)), first.evaluation)
    asked = None if found is None else found.result
    values = next((row.known for row in rows(group) if asked is not None and row.result.key == asked.key), [])
    if asked is None or not values:
        return replace(row, measured=())
    percent = asked.unit == "fraction"
    seconds = [record.training_seconds(record.read(run.folder / METRICS)) or 0.0 for run in group.runs]
    reached = Measured.model_construct(  # of a run, whose record may say anything
        when={},
        options="" if asked.split == "test" else f"on {asked.on}",
        metric=asked.name,
        unit="percent" if percent else "fraction",
        values=tuple(100 * value if percent else value for value in values),
        minutes=max(LEAST_MINUTES, statistics.fmean(seconds) / 60),
    )
    protocol = asked.protocol if asked.name == "clustering_error" else row.protocol
    return replace(row, measured=(reached,), protocol=protocol)
