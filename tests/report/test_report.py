"""The report: one file that holds everything and shows what applies; a spec is text to it, and a run is left alone."""

import hashlib
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from shown import run_of, write_spec
from tiny import HERE

from ammgraph.diagnostics import RunError
from ammgraph.evaluation import results
from ammgraph.evaluation.loading import load_run
from ammgraph.report import report as module
from ammgraph.report import run_section
from ammgraph.report.report import ReportOptions, report_run
from ammgraph.report.views import MatrixView, ViewOptions

OPTIONS = ReportOptions(
    split="validation",
    baseline=False,
    views=ViewOptions(columns=2, pairs=4, interpolations=2, steps=3, embedded=20),
)
VOID = {"meta", "link", "img", "br", "wbr", "path", "circle", "polygon"}


class Page(HTMLParser):
    """The elements of a page, checked for balance while they are read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    found = {}
    for kind in ("amm", "samm", "ali", "independent"):
        more = "published: [{metric: clustering_error, value: 3.32, std: 0.39, trials: 10, source: Table 1}]\n"
        spec = write_spec(folder, kind, more if kind == "amm" else "")
        found[kind] = report_run(run_of(folder, spec), HERE, options=OPTIONS)
    return found


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_a_page_asks_no_network_and_runs_no_script(pages: dict[str, Path]) -> None:
    for path in pages.values():
        text = path.read_text(encoding="utf-8")
        page = Page(text)
        for tag, attributes in page.tags:
            assert tag not in ("script", "iframe", "object", "embed", "form")
            assert not any(name.startswith("on") for name in attributes)
            for name in ("src", "href", "srcset", "action", "poster", "data"):
                target = attributes.get(name)
                assert target is None or target.startswith(("data:", "#")), (tag, target)
        assert "@import" not in text
        assert "url(" not in text.replace("url(#", "")  # of the page itself
        assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text).replace("http-equiv", "")


def test_a_page_is_balanced_with_unique_ids_whose_links_lead_somewhere(pages: dict[str, Path]) -> None:
    for path in pages.values():
        page = read(path)
        ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
        assert max(ids.values()) == 1
        targets = {attributes.get("href") or "" for tag, attributes in page.tags if tag == "a"}
        assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)
        assert [tag for tag, _ in page.tags if tag in ("h1", "main", "header", "footer", "title")].count("h1") == 1
        assert ("html", {"lang": "en"}) in page.tags


def test_every_picture_says_what_it_shows(pages: dict[str, Path]) -> None:
    for path in pages.values():
        page = read(path)
        assert not [tag for tag, _ in page.tags if tag == "img"]
        figures = [attributes for tag, attributes in page.tags if tag == "figure" and "id" in attributes]
        assert len(figures) > 5
        graphs = [attributes for tag, attributes in page.tags if tag == "svg"]
        assert len(graphs) > len(figures)
        assert all(attributes.get("role") == "img" and attributes.get("aria-label") for attributes in graphs)


@pytest.mark.parametrize(
    ("kind", "there", "absent"),
    [
        ("amm", ["Cluster matrix of q(y|x)", "Cluster matrix of p(y|z)", "Samples for each value of y"], ["Confusion"]),
        (
            "samm",
            ["Confusion matrix of q(y|x)", "Confusion matrix of p(y|z)", "classification error"],
            ["Cluster matrix"],
        ),
        ("independent", ["Cluster matrix of q(y|x)", "Samples for each value of y"], ["p(y|z)", "the means of z"]),
        ("ali", ["Samples of x", "Reconstructions of x"], ["Cluster", "Confusion", "clustering", "for each value"]),
    ],
)
def test_a_page_shows_what_applies(pages: dict[str, Path], kind: str, there: list[str], absent: list[str]) -> None:
    text = read(pages[kind]).text
    for words in (*there, "Interpolation", "Map of z", "Losses", "Game", "Networks:", f"tiny {kind}"):
        assert words in text, words
    for words in absent:
        assert words not in text, words


def test_numbers_stand_with_their_protocol_and_examples_beside_what_was_published(pages: dict[str, Path]) -> None:
    text = read(pages["amm"]).text
    assert "clustering error, one-to-one, fitted on 197 validation images" in text
    assert "q(y|x), 197 validation images" in text
    assert "3.32 ± 0.39 %" in text
    assert "Table 1" in text


def test_the_headline_and_figures_come_first_and_the_model_is_folded(pages: dict[str, Path]) -> None:
    page = read(pages["amm"])
    shown = [attributes["id"] for tag, attributes in page.tags if tag == "section" and attributes.get("id")]
    assert shown == ["figures", "health", "results", "training", "model", "run"]
    text = pages["amm"].read_text(encoding="utf-8")
    head, _, rest = text.partition("</header>")
    assert head.index("clustering error by q(y|x), one-to-one") < head.index("published clustering error, Table 1, 10")
    assert re.search(r'<a href="#health">Health: (nothing is wrong|\d+ faults?)</a>', head)
    model = rest[rest.index('<section id="model"') :]
    assert model.index("<details") < model.index("<math")
    assert "<details open" not in text


def test_the_run_is_told_with_the_command_that_repeats_it(pages: dict[str, Path]) -> None:
    text = read(pages["amm"]).text
    assert "ammgraph train amm.yaml --set a.b='<c>'" in text
    assert "13 steps" in text
    assert f"torch {torch.__version__}" in text
    assert "scikit-learn" in text


def test_the_data_of_the_figures_lie_beside_the_page(pages: dict[str, Path]) -> None:
    with np.load(pages["amm"].with_name("report.npz")) as arrays:
        assert arrays["samples_x/generated"].shape == (10, 2, 1, 8, 8)
        assert arrays["matrix_y/counts"].sum() == 197
        assert "curves/losses_joint/discriminator/values" in arrays


def test_the_formulas_stand_there_as_mathml_and_as_latex(pages: dict[str, Path]) -> None:
    page = read(pages["amm"])
    assert [tag for tag, _ in page.tags].count("math") > 5
    assert r"p(y, z, x) = p(y) \, p(z \mid y) \, p(x \mid y, z)" in page.text


HOSTILE = '</style><script>alert(1)</script><img src=x onerror="alert(2)">&amp;'


def test_what_a_spec_says_is_text_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quoted = HOSTILE.replace("'", "''")
    more = f"notes: ['{quoted}']\npublished: [{{metric: nmi, value: 1, unit: fraction, source: '{quoted}'}}]\n"
    spec = write_spec(tmp_path, "ali", more)
    spec.write_text(spec.read_text().replace("title: tiny ali", f"title: '{quoted}'"), encoding="utf-8")
    folder = run_of(tmp_path, spec)
    (folder / "environment.json").write_text('{"device": "<script>", "torch": "</dd>", "threads": "<b>"}')
    monkeypatch.setattr(run_section, "_duration", lambda _: HOSTILE)
    evaluated = module.evaluation_of(load_run(folder, HERE), OPTIONS)
    foreign = [replace(result, by=HOSTILE, void=HOSTILE) for result in evaluated.results]
    results.write(folder, replace(evaluated, results=tuple(foreign)))
    matrix = MatrixView("matrix_y", "y", HOSTILE, False, True, np.eye(2, dtype=np.int64), (HOSTILE, "b"))
    monkeypatch.setattr(module, "collect_views", lambda *_: [matrix])
    page = read(report_run(folder, HERE, options=OPTIONS))
    # twice the title, the note, the source, the duration, of an evaluation both texts, of a class its name and its rule
    assert page.text.count("<script>alert(1)</script>") >= 8
    assert not [tag for tag, _ in page.tags if tag in ("script", "b")]
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]


def test_a_report_changes_nothing_else_in_the_run_and_the_second_is_the_first(pages: dict[str, Path]) -> None:
    path = pages["independent"]
    before = contents(path.parent)
    report_run(path.parent, HERE, options=OPTIONS)
    assert contents(path.parent) == before


def test_a_run_without_its_checkpoint_is_refused_and_left_alone(tmp_path: Path) -> None:
    folder = run_of(tmp_path, write_spec(tmp_path, "ali"))
    for file in (folder / "checkpoints").iterdir():
        file.unlink()
    before = contents(folder)
    with pytest.raises(RunError, match="no usable checkpoint"):
        report_run(folder, HERE, options=OPTIONS)
    assert contents(folder) == before


def test_a_run_without_records_or_environment_still_has_a_page(tmp_path: Path) -> None:
    folder = run_of(tmp_path, write_spec(tmp_path, "ali"))
    (folder / "metrics.jsonl").unlink()
    (folder / "environment.json").write_text("not JSON")
    page = read(report_run(folder, HERE, options=OPTIONS))
    assert "Losses" not in page.text
    assert "Reconstructions" in page.text


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
