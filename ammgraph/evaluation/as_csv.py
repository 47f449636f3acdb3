"""Arrays by name as a table in CSV: a line an example, a column a number."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ammgraph.evaluation.metrics import Array


def csv_text(first: str, names: Sequence[str], values: Mapping[str, Array], titles: Mapping[str, Sequence[str]]) -> str:
    """The text of a table.

    Args:
        first: the title of the first column.
        names: its cells, one a line.
        values: name -> (N,) or (N, n).
        titles: name -> titles of its n columns; `name_0`, `name_1`, ... unless given.
    """
    table = io.StringIO(newline="")
    csv.writer(table).writerows(_lines(first, names, values, titles))
    return table.getvalue()


def _lines(
    first: str, names: Sequence[str], values: Mapping[str, Array], titles: Mapping[str, Sequence[str]]
) -> Iterator[list[str]]:
    columns = [_columns(name, part, titles.get(name)) for name, part in values.items()]
    yield [first, *(_no_formula(title) for own, _ in columns for title in own)]
    for place, name in enumerate(names):
        cells = (value for _, part in columns for value in part[place].tolist())
        yield [_no_formula(name), *(_no_formula(v) if isinstance(v, str) else f"{v:.7g}" for v in cells)]


def _no_formula(text: str) -> str:
    """The text with an apostrophe before what a spreadsheet would compute.

    Reference:
        OWASP, CSV Injection.
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")) else text


def _columns(name: str, values: Array, titles: Sequence[str] | None) -> tuple[Sequence[str], Array]:
    if values.ndim == 1:
        return [name], values[:, np.newaxis]
    return titles or [f"{name}_{place}" for place in range(values.shape[1])], values
