"""The page of results names every file, number, figure and check that a finished run has."""

import re
from pathlib import Path

from documents import DOCS
from tiny import HERE

from ammgraph import folders
from ammgraph.report.report import ReportOptions, report_run
from ammgraph.report.views import ViewOptions
from ammgraph.runs import record
from ammgraph.spec.faults import FAULTS

PAGE = (DOCS / "results.md").read_text(encoding="utf-8")


def first_cells(heading: str) -> list[str]:
    """The first cells of the tables of a section, which ends at the next heading of its kind."""
    level = heading.partition(" ")[0]
    section = re.split(rf"^{level} ", PAGE.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^\| (.*?) \| ", section, flags=re.MULTILINE)


def test_every_name_that_a_folder_may_hold_is_explained() -> None:
    rows = " ".join(first_cells("## What lies in the folder"))
    names = [name for key, name in vars(folders).items() if key.isupper() and key != "ANY_TRIAL"]
    trials = (folders.trial_folder(Path(), 0), folders.trial_log(Path(), 0))
    assert [name for name in [*names, *map(str, trials)] if f"`{name}`" not in rows] == []


def test_every_file_of_a_finished_run_is_explained(copied: Path) -> None:
    report_run(copied, HERE, options=ReportOptions(baseline=False, views=ViewOptions(embedded=0)))
    rows = " ".join(first_cells("## What lies in the folder"))
    assert [path.name for path in copied.iterdir() if f"`{path.name}`" not in rows] == []


def test_every_name_of_the_log_is_explained(finished: Path) -> None:
    rows = re.findall(r"`([^`]+)`", " ".join(first_cells("### `metrics.jsonl`")))
    explained = {name.rpartition("/")[2] for name in rows}
    lines = [line for line in record.read(finished / folders.METRICS) if "evaluation" not in line]
    assert {name.rpartition("/")[2] for line in lines for name in line} <= explained
    assert lines


def test_every_figure_of_the_page_is_explained(copied: Path) -> None:
    options = ViewOptions(columns=2, pairs=4, interpolations=2, embedded=20)
    page = report_run(copied, HERE, options=ReportOptions(baseline=False, views=options)).read_text("utf-8")
    titles = re.findall(r"<strong>Figure \d+\. (.*?)\.</strong>", page)
    explained = {word for cell in first_cells("## The page") for word in re.findall(r"(?:^|, )(\w+)", cell)}
    assert len(titles) > 8
    assert [title for title in titles if title.split()[0] not in explained] == []


def test_every_check_of_health_is_linked() -> None:
    rows = [cell for cell in first_cells("## Health") if cell.startswith("[")]
    assert rows == [f"[`{code}`](when-it-does-not-work.md#{code})" for code in FAULTS]
