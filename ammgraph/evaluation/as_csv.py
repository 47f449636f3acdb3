"""Arrays by name as a table in CSV: a line an example, a column a number."""

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ammgraph.data.tables import no_formula
from ammgraph.evaluation.metrics import Array


def csv_text(first: str, names: Sequence[str], values: Mapping[str, Array], titles: Mapping[str, Sequence[str]]) -> str:
    """The text of a table.

    Args:
        first: the title of the first column.
        names: its cells, one a line.
        values: name -> (N,) or (N, n).
        titles: name -> titles of its n columns, which they keep; `name_0`, `name_1`, ... unless given. Where such a
            title is another column's already, all of that name have a number behind it: `name_2_0`, `name_2_1`, ...
    """
    table = io.StringIO(newline="")
    csv.writer(table).writerows(_lines(first, names, values, titles))
    return table.getvalue()


def _lines(
    first: str, names: Sequence[str], values: Mapping[str, Array], titles: Mapping[str, Sequence[str]]
) -> Iterator[list[str]]:
    taken = {title for own in titles.values() for title in own}
    head, columns = _free(taken, first, [first])[0], list[Sequence[str]]()
    for name, part in values.items():
        own = titles.get(name) or _free(taken, name, _titles(name, part))
        columns.append(own)
    yield [head, *(no_formula(title) for own in columns for title in own)]
    parts = [part[:, np.newaxis] if part.ndim == 1 else part for part in values.values()]
    for place, name in enumerate(names):
        cells = (value for part in parts for value in part[place].tolist())
        yield [no_formula(name), *(no_formula(v) if isinstance(v, str) else f"{v:.7g}" for v in cells)]


def _titles(name: str, values: Array) -> list[str]:
    return [name] if values.ndim == 1 else [f"{name}_{place}" for place in range(values.shape[1])]


def _free(taken: set[str], name: str, titles: Sequence[str]) -> list[str]:
    """The titles that a name has, or `name_2` and so on where one of these is taken; they are taken then."""
    ends = [title.removeprefix(name) for title in titles]
    tried = (name if number == 1 else f"{name}_{number}" for number in itertools.count(1))
    found = next(own for one in tried if not taken.intersection(own := [f"{one}{end}" for end in ends]))
    taken.update(found)
    return found
