"""Tables of runs for other programs: CSV that csv reads, LaTeX that a paper takes."""

import csv
import statistics
from pathlib import Path

import pytest

from ammgraph.evaluation.compare import ComparedRun, Group, Row, lines, spread_of
from ammgraph.evaluation.compare_tables import as_csv, as_latex, as_markdown
from ammgraph.evaluation.results import Evaluation, Result
from ammgraph.report.comparison import comparison_page


def result(value: float | None, name: str = "clustering_error", unit: str = "fraction") -> Result:
    return Result(name, "y", value, unit, 50, "test", "posterior", "q(y|x)", "one-to-one", "test")


def run(name: str, seed: int, *results: Result, title: str = "A & B_1 <i>") -> ComparedRun:
    evaluation = Evaluation(title, name, "p" + title, seed, 3, "last", "digits", "test", results)
    return ComparedRun(Path(name), evaluation, 3, ())


ERRORS, NMI = (0.1, 0.25, 0.2), (0.61234, 0.63456)
GROUPS = (
    Group(
        "A & B_1 <i>",
        "p",
        (
            run("one", 4, result(ERRORS[0]), result(NMI[0], "nmi", "")),
            run("two", 5, result(ERRORS[1])),
            run("=three", 6, result(ERRORS[2]), result(NMI[1], "nmi", "")),
        ),
    ),
    Group("other", "o", (run("four", 0, result(0.5), title="other"),)),
)


def test_a_line_for_each_run_and_number_then_mean_and_deviation() -> None:
    table = list(csv.DictReader(as_csv(GROUPS).splitlines()))
    errors = [line for line in table if line["measure"] == "clustering_error" and line["model"] == "A & B_1 <i>"]
    assert [line["seed"] for line in errors] == ["4", "5", "6", "mean", "std"]
    assert [float(line["value"]) for line in errors[:3]] == list(ERRORS)
    assert float(errors[3]["value"]) == pytest.approx(statistics.fmean(ERRORS), abs=1e-15)
    assert float(errors[4]["value"]) == pytest.approx(statistics.stdev(ERRORS), abs=1e-15)
    assert [line["run"] for line in errors] == ["one", "two", "'=three", "", ""]
    assert {line["unit"] for line in errors} == {"fraction"}
    lacking = [line["value"] for line in table if line["measure"] == "nmi"]
    assert lacking[:3] == [repr(NMI[0]), "", repr(NMI[1])]
    assert [line["seed"] for line in table if line["model"] == "other"] == ["0"]


def test_a_table_for_booktabs() -> None:
    head, legend = as_latex(GROUPS).splitlines()[:2]
    assert head.startswith("% [1] A & B_1 <i>: 3 runs, seeds 4, 5, 6; step ")
    assert legend.startswith("% [2] other: 1 run, seed 0; step ")
    assert as_latex(GROUPS).splitlines()[3:] == [
        r"\begin{tabular}{llrr}",
        r"\toprule",
        r"Measure & Rule & A \& B\_1 <i> & other \\",
        r"\midrule",
        r"clustering error of y, one-to-one, \% & posterior & $18.33 \pm 7.64$ & $50.00$ \\",
        r"NMI of y, one-to-one & posterior & $0.623 \pm 0.016$ & -- \\",
        r"\midrule",
        r"seeds & & 3 & 1 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_a_model_without_a_measure_says_so() -> None:
    """As a GAN, whose samples are scored by `--quality` alone."""
    head = as_markdown([*GROUPS, Group("gan", "g", (run("five", 0, title="gan"),))]).splitlines()[2]
    assert head == "* [3] gan: 1 run, seed 0; step 3; nothing is scored"


def test_a_row_that_one_run_lacks_stays_and_each_run_is_shown() -> None:
    text = lines(GROUPS)
    assert any(line.endswith("0.623 +- 0.016 (n = 2)  -") for line in text)
    place = text.index("[1] each run, seeds 4, 5, 6")
    assert [line.split()[-4:] for line in text[place + 1 : place + 3]] == [
        ["10.00", "25.00", "20.00", "%"],
        ["posterior", "0.6123", "-", "0.6346"],
    ]


def test_the_page_takes_names_as_text_and_asks_for_nothing() -> None:
    page = comparison_page(GROUPS)
    assert "<i>" not in page
    assert "A &amp; B_1 &lt;i&gt;" in page
    assert "18.33 ± 7.64 %" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("values", "unit", "shown"),
    [
        ((0.1, 0.2), "fraction", ("15.00", "7.07")),
        ((0.61234, 0.63456), "", ("0.623", "0.016")),
        ((9.0, 10.0), "components", ("9.50", "0.71")),
        ((150.0, 250.0), "nats", ("200", "71")),
        ((0.5, 0.5), "nats", ("0.5", "0")),
        ((0.5, 0.5 + 1e-9), "nats", ("0.500000", "0.000000")),
        ((0.61234,), "", ("0.6123", "")),
        ((None,), "nats", ("-", "")),
    ],
)
def test_mean_and_deviation_are_rounded_at_one_place(
    values: tuple[float | None, ...], unit: str, shown: tuple[str, str]
) -> None:
    assert spread_of(Row(result(values[0], unit=unit), values)) == shown


def test_a_table_in_markdown() -> None:
    first, second, _, *table = as_markdown(GROUPS).splitlines()
    assert first == "* [1] A & B_1 <i>: 3 runs, seeds 4, 5, 6; step 3; 50 test images"
    assert second == "* [2] other: 1 run, seed 0; step 3; 50 test images"
    assert table[:2] == ["| measure | rule | [1] | [2] |", "| --- | --- | --- | --- |"]
    assert table[2] == "| clustering error of y, one-to-one | posterior | 18.33 +- 7.64 % | 50.00 % |"


def test_columns_of_one_name_are_numbered_in_latex() -> None:
    twins = (GROUPS[0], Group(GROUPS[0].name, "q", GROUPS[1].runs))
    assert r"Measure & Rule & A \& B\_1 <i> [1] & A \& B\_1 <i> [2] \\" in as_latex(twins).splitlines()
