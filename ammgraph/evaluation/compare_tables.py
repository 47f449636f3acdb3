"""What `compare` writes for other programs: a line for each number of each run, and a table for a paper."""

import csv
import io
from collections.abc import Sequence

from ammgraph.data.table_files import no_formula
from ammgraph.evaluation.compare import Group, Row, legend, measured, rows, spread_of, table
from ammgraph.terminal import one_line

HEAD = ("model", "measure", "variable", "rule", "by", "protocol", "split", "fitted_on", "images", "unit")
_LATEX = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"})
_LATEX[ord("^")] = r"\textasciicircum{}"


def as_csv(groups: Sequence[Group]) -> str:
    """A line for each run and number, then one for their `mean` and one for their `std`, in the units of JSON.

    Which line it is stands under `seed`; percentages are fractions, and nothing is rounded.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow((*HEAD, "run", "seed", "value"))
    for group in groups:
        for row in rows(group):
            result = row.result
            measured = (group.name, result.name, result.variable, result.rule, result.by, result.protocol)
            head = (*measured, result.split, result.fitted_on, result.examples, result.unit)
            for run, value in zip(group.runs, row.values, strict=True):
                writer.writerow((*map(_cell, head), _cell(str(run.folder)), run.evaluation.seed, _number(value)))
            if len(group.runs) > 1:
                for name, value in (("mean", row.mean), ("std", row.std)):
                    writer.writerow((*map(_cell, head), "", name, _number(value)))
    return stream.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _cell(value: object) -> object:
    """A text that a spreadsheet takes for no formula."""
    return no_formula(value) if isinstance(value, str) else value


def as_latex(groups: Sequence[Group]) -> str:
    """A row for each measure, a column for each group; it needs the package booktabs."""
    columns = [measured(group) for group in groups]
    body = []
    for measure in dict.fromkeys(measure for column in columns for measure in column):
        found = next(column[measure] for column in columns if measure in column)
        label = measure[0] + (", %" if found.result.unit == "fraction" else "")
        cells = [_value(column.get(measure)) for column in columns]
        body.append([latex_text(label), latex_text(measure[1]), *cells])
    names = [group.name for group in groups]
    numbered = (f"{name} [{place}]" if names.count(name) > 1 else name for place, name in enumerate(names, start=1))
    head = ["Measure", "Rule", *map(latex_text, numbered)]
    seeds = ["seeds", "", *(str(len(group.runs)) for group in groups)]
    heads = "".join(f"% {one_line(line.strip())}\n" for place in range(len(groups)) for line in legend(groups, place))
    return heads + booktabs("ll" + "r" * len(groups), [head], body, [seeds])


def as_markdown(groups: Sequence[Group]) -> str:
    """A row for each measure, a column for each group; above it what the columns are."""
    heads = [one_line(line.strip()) for place in range(len(groups)) for line in legend(groups, place)]
    head, *body = ([cell.replace("|", "\\|") for cell in row] for row in table(groups))
    rows = [["measure", "rule", *head[2:]], ["---"] * len(head), *body]
    return "".join([*(f"* {line}\n" for line in heads), "\n", *(f"| {' | '.join(row)} |\n" for row in rows)])


def booktabs(columns: str, *parts: Sequence[Sequence[str]]) -> str:
    """Rows of cells that are LaTeX, a rule between the parts; `columns` is the preamble of `tabular`."""
    lines = ["\n".join(" & ".join(row).replace("  ", " ").rstrip() + " \\\\" for row in part) for part in parts]
    return "\n".join(
        [
            "% \\usepackage{booktabs}; mean and standard deviation of the sample (n - 1) over the seeds",
            f"\\begin{{tabular}}{{{columns}}}",
            "\\toprule",
            "\n\\midrule\n".join(lines),
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def _value(row: Row | None) -> str:
    if row is None or row.mean is None:
        return "--"
    mean, std = spread_of(row)
    return f"${mean} \\pm {std}$" if std else f"${mean}$"


def latex_text(text: str) -> str:
    """A text as LaTeX prints it."""
    return " ".join(text.translate(_LATEX).split())
