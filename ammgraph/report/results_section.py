"""What the page says of an evaluation: the chief numbers, and every number with its protocol and what was published."""

from collections.abc import Sequence

from ammgraph.diagnostics import counted
from ammgraph.evaluation.results import SPLITS, Evaluation, Result
from ammgraph.plan.plan import Plan
from ammgraph.report.page import Table
from ammgraph.spec.measures import words
from ammgraph.spec.published import Published
from ammgraph.start.listing import published_value

ERRORS = ("clustering_error", "classification_error")


def headline(plan: Plan, evaluation: Evaluation, split: str) -> list[tuple[str, str]]:
    """The few numbers that one looks for first, each with what it is of: of several categories which one."""
    errors, compared, others = [], [], []
    results = evaluation.of(split)
    clustered = {result.variable for result in results if result.name == "clustering_error"}
    decided = {result.variable for result in results if result.name in ERRORS}
    for result in results:
        of = f" of {result.variable}" if len(decided) > 1 else ""
        first = result.protocol == evaluation.protocol_of(result.variable)
        chief = (first and result.fitted_on == split) or result.name == "classification_error"
        if result.name in ERRORS and chief and result.part == "model":
            parts = (f"{words(result.name)}{of} by {result.by}", result.protocol, result.on)
            errors.append((result.shown, ", ".join(filter(None, parts))))
        elif result.name == "clustering_error" and chief:
            compared.append(
                (result.shown, f"k-means on the same images{', beside that' if of else ''}{of}, {result.protocol}")
            )
        elif result.name == "components_in_use" and result.rule == "posterior" and result.variable in clustered:
            others.append(
                (result.shown.split()[0], f"components in use by {result.by}, {result.protocol}; {result.on}")
            )
        elif result.name == "reconstruction_error":
            others.append(
                (result.shown.split()[0], f"mean squared reconstruction error of {result.variable}; {result.on}")
            )
    for number in plan.published:
        trials = "" if number.trials is None else f", {counted(number.trials, 'trial')}"
        compared.append((_value(number), f"published {words(number.metric)}, {number.source}{trials}"))
    return [*errors, *compared, *others]


def result_tables(plan: Plan, results: Sequence[Result]) -> list[Table]:
    """Every number that is one number: rules for a category side by side, then the rest, then what was published."""
    numbers = [result for result in results if not isinstance(result.value, tuple)]
    ruled = dict.fromkeys(result.variable for result in numbers if result.rule)
    tables = [
        *(_by_rule(variable, [r for r in numbers if r.rule and r.variable == variable]) for variable in ruled),
        _others([result for result in numbers if not result.rule]),
        _published(plan.published),
    ]
    return [table for table in tables if table.rows]


def _by_rule(variable: str, results: Sequence[Result]) -> Table:
    """A row for each measure and protocol, a column for each rule."""
    columns = list(dict.fromkeys((result.by, result.on) for result in results))
    rows: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for result in results:
        row = rows.setdefault((result.name, _protocol(result)), {})
        row[result.by, result.on] = result.shown
    head = (variable, *(f"{by}, {on}" for by, on in columns))
    cells = (
        (", ".join(filter(None, (words(name), protocol))), *(row.get(column, "") for column in columns))
        for (name, protocol), row in rows.items()
    )
    return Table(head, tuple(cells), kind="results")


def _others(results: Sequence[Result]) -> Table:
    rows = tuple(
        (
            f"{result.measure} of {result.variable}",
            result.shown,
            f"{result.examples:,} {SPLITS[result.split]}",
            "; ".join(filter(None, (result.by, _protocol(result)))),
        )
        for result in results
    )
    head = ("Measure", "Value", "Vectors" if any(r.example == "vector" for r in results) else "Images", "How")
    return Table(head, rows, right=(1, 2), kind="how")


def _published(published: Sequence[Published]) -> Table:
    rows = tuple(
        (words(number.metric), _value(number), str(number.trials or ""), number.source) for number in published
    )
    return Table(("Published", "Value", "Trials", "Source"), rows, right=(1, 2))


def _protocol(result: Result) -> str:
    return ", ".join(filter(None, (result.protocol, result.fitted and f"fitted on {result.fitted}")))


def _value(number: Published) -> str:
    return published_value(number).replace("+-", "±")
