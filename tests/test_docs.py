"""The documents: every example runs, every output shown is what is printed, every code and key is there."""

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from documents import DOCS, refreshed, with_tables
from language_tables import (
    DEFINITIONS,
    PARTS,
    SECTIONS,
    activations_table,
    functionals_table,
    keys_table,
    measures_table,
    objectives_table,
    penalties_table,
    sources_table,
)

from ammgraph.commands.explain import FAULTS_PAGE, explanations
from ammgraph.compiler.compile import compile_spec
from ammgraph.diagnostics import CODES, WARNINGS
from ammgraph.spec.faults import FAULTS
from ammgraph.spec.load import load_text
from ammgraph.spec.measures import MEASURES
from ammgraph.spec.names import RESERVED
from ammgraph.spec.source import parse, plain
from ammgraph.start.listing import listed, listing_markdown

ROOT = Path(__file__).parent.parent
UPDATE = "AMMGRAPH_UPDATE_GOLDEN"
PAGES = sorted(DOCS.glob("*.md"))
TABLES = {
    "objectives": objectives_table,
    "penalties": penalties_table,
    "functionals": functionals_table,
    "keys": keys_table,
    "activations": activations_table,
    "sources": sources_table,
    "measures": measures_table,
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_runs_and_every_output_is_what_is_printed(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page.stem == "sweeps":
        pytest.importorskip("optuna", reason="a sweep needs Optuna: pip install 'ammgraph[sweep]'")
    monkeypatch.chdir(tmp_path)
    written = page.read_text(encoding="utf-8")
    actual = refreshed(written, tmp_path, TABLES)
    if os.environ.get(UPDATE):
        page.write_text(actual, encoding="utf-8")
        return
    difference = difflib.unified_diff(written.splitlines(), actual.splitlines(), page.name, "now", lineterm="")
    hint = f"If the change is meant: {UPDATE}=1 pytest {Path(__file__).name}, then review the diff in git"
    assert actual == written, "\n".join([*difference, hint])


def test_the_readme_shows_what_the_specs_say_that_they_reach() -> None:
    page = ROOT / "README.md"
    written = page.read_text(encoding="utf-8")
    reached = [spec for spec in listed() if spec.measured]
    actual = with_tables(written, {"measured": lambda: f"\n{listing_markdown(reached)}\n\n"})
    if os.environ.get(UPDATE):
        page.write_text(actual, encoding="utf-8")
        return
    assert actual == written


def test_the_paper_s_tables_are_what_their_commands_print(ammgraph: Any) -> None:
    page = ROOT / "RESULTS.md"
    written = page.read_text(encoding="utf-8")
    commands = re.findall(r"^ammgraph (compare --summary (?:.*\\\n)*.*)$", written, flags=re.MULTILINE)
    printed = [ammgraph(*command.replace("\\\n", " ").split()) for command in commands]
    assert [(code, err) for code, _, err in printed] == [(0, "")] * 2
    tables = {f"table {place}": lambda out=out: f"\n{out}\n" for place, (_, out, _) in enumerate(printed, start=1)}
    actual = with_tables(written, tables)
    if os.environ.get(UPDATE):
        page.write_text(actual, encoding="utf-8")
        return
    assert actual == written


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]+`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)  # `pull_away[p](f)`
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


def test_each_loss_that_has_no_name_is_a_term_of_the_example_below() -> None:
    page = (DOCS / "language.md").read_text("utf-8")
    section = page.partition("**Losses that have no name here.**")[2].partition("\n### ")[0]
    losses = re.findall(r"^\| `(.*?)` \|", section, flags=re.MULTILINE)
    example = section.partition("```yaml\n")[2].partition("```")[0]
    assert len(losses) == 3
    assert losses[0] in example
    for loss in losses:
        text = f"extends: base.yaml\n{example.replace(losses[0], loss)}"
        assert compile_spec(load_text(text, file=str(DOCS / "example.yaml"))).warnings == ()


def test_the_words_that_name_nothing_are_told() -> None:
    page = (DOCS / "diagnostics.md").read_text("utf-8")
    told = page.partition("These words are\n")[2].partition(".\n")[0]
    assert sorted(re.findall(r"`(\w+)`", told)) == sorted(RESERVED)


def test_the_base_spec_is_shown_whole() -> None:
    assert f"```yaml\n{(DOCS / 'base.yaml').read_text(encoding='utf-8')}```" in (DOCS / "language.md").read_text(
        "utf-8"
    )


def test_every_page_is_in_the_table_of_contents_and_that_in_the_readme() -> None:
    contents = (DOCS / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if page.name != "README.md" and f"({page.name})" not in contents] == []
    assert "(ammgraph/docs/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------ keys


def test_the_reference_has_every_section_of_the_schema() -> None:
    sections = {name for name in DEFINITIONS if not name.endswith("Variant")}
    assert sections == set(SECTIONS) | PARTS


# Where a section stands in `every_key.yaml`.
STANDS: dict[str, tuple[str | int, ...]] = {
    "Spec": (),
    "Data": ("data",),
    "Labeled": ("data", "labeled"),
    "ImageVariable": ("variables", "x"),
    "CategoricalVariable": ("variables", "y"),
    "RealVariable": ("variables", "z"),
    "Network": ("networks", "encoder"),
    "TableDefaults": ("networks", "encoder", "defaults"),
    "Row": ("networks", "encoder", "layers", "h"),
    "RowInitializer": ("networks", "encoder", "layers", "h", "initializer"),
    "SourceMapping": ("distributions", "p", "p(z|y)"),
    "Mixture": ("distributions", "p", "p(z|y)", "mixture"),
    "RandomMeans": ("distributions", "p", "p(z|y)", "mixture", "means"),
    "Game": ("games", "joint"),
    "Term": ("terms", "likelihood"),
    "LambdaPenalty": ("games", "joint", "gradient_penalty"),
    "GammaPenalty": ("games", "joint", "roth_penalty"),
    "Training": ("training",),
    "Adam": ("training", "optimizers", "default"),
    "AdamW": ("training", "optimizers", "decoder"),
    "Sgd": ("training", "optimizers", "encoder"),
    "RmsProp": ("training", "optimizers", "critic"),
    "NamedSchedule": ("training", "optimizers", "encoder", "learning_rate"),
    "Initializer": ("training", "initializer"),
    "Weights": ("training", "initializer", "weights"),
    "BatchNorm": ("training", "batchnorm"),
    "Turn": ("training", "schedule", 0),
    "Phase": ("training", "phases", 0),
    "Evaluation": ("evaluation",),
    "Published": ("published", 0),
    "Measured": ("measured", 0),
}
EXCLUDED: dict[str, tuple[str, ...]] = {
    "steps": ("epochs",),
    "epochs": ("steps",),
    "phases": ("epochs", "steps", "schedule"),
    "dataset": ("path", "columns", "label"),
    "cosine": ("linear",),
    "constant": ("linear", "over"),
    "points": ("linear", "over", "warmup"),
    "resize": ("path", "columns", "label", "scale"),
    "grayscale": ("path", "columns", "label", "scale"),
}
# What else has to be there.
BESIDE = {"resize": {"dataset": "mnist"}, "grayscale": {"dataset": "mnist"}}


@pytest.mark.parametrize("section", SECTIONS)
def test_the_example_of_a_key_stands_in_a_spec_that_loads(section: str) -> None:
    file = ROOT / "tests" / ("compiler/every_phase.yaml" if section == "Phase" else "start/schema_keys.yaml")
    tree, _ = parse(file.read_text(encoding="utf-8"), file.name)
    assert tree is not None
    for key, schema in DEFINITIONS[section]["properties"].items():
        for example in schema.get("examples", []):
            spec = place = plain(tree)
            stands = (*STANDS[section][:-1], 1) if key in ("fit", "to") else STANDS[section]  # the entry that fits
            for step in stands:
                place = place[step]
            one = section in ("Weights", "SourceMapping")
            removed = [name for name in place if name != key] if one else EXCLUDED.get(key, ())
            for name in removed:
                place.pop(name, None)
            place |= {**BESIDE.get(key, {}), key: example}
            load_text(json.dumps(spec))


# ------------------------------------------------------------------------------------------------ codes


def test_the_page_of_codes_has_each_once_in_the_order_of_the_list() -> None:
    assert list(explanations()) == sorted(explanations(), key=list(CODES).index)
    assert set(explanations()) == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_code_has_its_meaning_a_wrong_example_its_message_and_a_right_one(code: str) -> None:
    text = explanations()[code]
    assert text.startswith(f"{CODES[code]}\n")
    wrong, _, right = text.partition("Right:")
    message = re.findall(r"```text\n(.*?)```", wrong, flags=re.DOTALL)[-1]
    kind = "warning" if code in WARNINGS else "error"
    assert re.findall(r"^(error|warning)\[([a-z-]+)\]", message, flags=re.MULTILINE) == [(kind, code)]
    assert "Wrong:" in wrong
    assert right.count("```") == 2


def test_the_page_of_faults_has_each_once_with_how_it_is_measured_and_what_to_try() -> None:
    found = explanations(FAULTS_PAGE)
    assert list(found) == list(FAULTS)
    for code, meaning in FAULTS.items():
        assert found[code].startswith(f"{meaning}\n\nMeasured: ")
        assert "fault:" in found[code].lower()
        assert re.search(r"^(What to try|Why and what to try): ", found[code], flags=re.MULTILINE)


def test_explain_prints_the_section_of_a_fault(ammgraph: Any) -> None:
    code, out, err = ammgraph("explain", "latent-mismatch")
    assert (code, err) == (0, "")
    assert out == f"health: latent-mismatch\n\n{explanations(FAULTS_PAGE)['latent-mismatch']}\n"
    assert ammgraph("explain", "latent-mismatch:") == (0, out, "")  # as it is printed


def test_explain_prints_the_section_of_a_code(ammgraph: Any) -> None:
    code, out, err = ammgraph("explain", "condition-mismatch")
    assert (code, err) == (0, "")
    assert out == f"error[condition-mismatch]\n\n{explanations()['condition-mismatch']}\n"
    # As it is printed, it can be pasted.
    assert ammgraph("explain", "error[condition-mismatch]") == (0, out, "")
    assert ammgraph("explain", "support-mismatch")[1].startswith("warning[support-mismatch]\n")


def test_explain_says_what_a_word_of_specs_means(ammgraph: Any) -> None:
    code, out, _ = ammgraph("explain", "nmi")
    assert (code, out.splitlines()[0]) == (0, f"nmi, measure: {MEASURES['nmi'].meaning}")
    assert ammgraph("explain", "vat")[1].startswith("vat, function of a term: KL(")


def test_explain_lists_the_codes(ammgraph: Any) -> None:
    code, out, _ = ammgraph("explain")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [*CODES, *FAULTS]


def test_explain_knows_no_other_code(ammgraph: Any) -> None:
    code, out, err = ammgraph("explain", "condition-mismach")
    assert (code, out) == (1, "")
    assert err == "error: no diagnostic has the code `condition-mismach`; did you mean `condition-mismatch`?\n"
    assert "`ammgraph explain` lists them" in ammgraph("explain", "E0308")[2]
