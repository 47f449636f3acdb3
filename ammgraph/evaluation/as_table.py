"""Arrays by name as a table, CSV or Parquet: a record an example, a column a number."""

import csv
import io
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from ammgraph.data.table_files import no_formula
from ammgraph.evaluation.metrics import Array


def table_columns(
    first: str, names: Sequence[str], values: Mapping[str, Array], titles: Mapping[str, Sequence[str]]
) -> dict[str, Array]:
    """Title -> the cells of its column, in their order.

    Args:
        first: the title of the first column.
        names: its cells, one a record.
        values: name -> (N,) or (N, n).
        titles: name -> titles of its n columns, which they keep; `name_0`, `name_1`, ... unless given. Where such a
            title is another column's already, all of that name have a number behind it: `name_2_0`, `name_2_1`, ...
    """
    taken = {title for own in titles.values() for title in own}
    columns = {_free(taken, first, [first])[0]: np.array(names, dtype=np.str_)}
    for name, part in values.items():
        own = titles.get(name) or _free(taken, name, _titles(name, part))
        columns |= zip(own, part[np.newaxis] if part.ndim == 1 else part.T, strict=True)
    return columns


def csv_text(columns: Mapping[str, Array]) -> str:
    """The text of a table: a line of titles, then a line a record, numbers with seven digits."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(map(no_formula, columns))
    cells = ((_cell(value) for value in column.tolist()) for column in columns.values())
    writer.writerows(zip(*cells, strict=True))
    return table.getvalue()


def _cell(value: object) -> str:
    return no_formula(value) if isinstance(value, str) else f"{value:.7g}"


def _titles(name: str, values: Array) -> list[str]:
    return [name] if values.ndim == 1 else [f"{name}_{place}" for place in range(values.shape[1])]


def _free(taken: set[str], name: str, titles: Sequence[str]) -> list[str]:
    """The titles that a name has, or `name_2` and so on where one of these is taken; they are taken then."""
    ends = [title.removeprefix(name) for title in titles]
    tried = (name if number == 1 else f"{name}_{number}" for number in itertools.count(1))
    found = next(own for one in tried if not taken.intersection(own := [f"{one}{end}" for end in ends]))
    taken.update(found)
    return found
