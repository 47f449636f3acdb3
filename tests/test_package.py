"""What the package says of itself: the README as an index shows it, the citation, the extras."""

import importlib
import re
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import ammgraph

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = "https://example.org/ammgraph"


@pytest.fixture(scope="module")
def described() -> Callable[[str, str | None], str]:
    found: Callable[[str, str | None], str] = runpy.run_path(str(ROOT / "setup.py"))["described"]
    return found


def links(page: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", re.sub(r"^```.*?^```$|`[^`\n]+`", "", page, flags=re.DOTALL | re.MULTILINE))


def test_every_link_of_the_package_s_description_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    importlib.import_module("setuptools")  # which brings distutils
    read = importlib.import_module("distutils.core").run_setup("setup.py", stop_after="init")
    text = read.metadata.long_description
    assert [link for link in links(text) if not link.startswith("https://")] == []
    assert "https://arxiv.org/abs/1807.05344" in links(text)
    assert "readme" in PROJECT["dynamic"]


def test_without_an_address_links_are_text_and_pictures_are_left_out(described: Any) -> None:
    page = "[Begin](docs/a.md#b), [LICENSE](LICENSE), [paper](https://arxiv.org).\n\n![A graph](a.svg)\n\nEnd."
    assert described(page, None) == "Begin (`docs/a.md#b`), `LICENSE`, [paper](https://arxiv.org).\n\nEnd."


def test_with_one_they_lead_into_the_repository(described: Any) -> None:
    page = "[tutorial](docs/a.md#b) ![A graph](a.svg) [here](#there)"
    to_page, to_picture = f"{ADDRESS}/blob/HEAD/docs/a.md#b", f"{ADDRESS}/raw/HEAD/a.svg"
    assert described(page, ADDRESS) == f"[tutorial]({to_page}) ![A graph]({to_picture}) [here](#there)"
    own = [link.removeprefix(ADDRESS) for link in links(described(README, ADDRESS)) if link.startswith(ADDRESS)]
    assert len(own) == len([link for link in links(README) if not link.startswith("https://")])
    assert all((ROOT / re.sub(r"^/(blob|raw)/HEAD/|#.*", "", link)).exists() for link in own)


def test_code_is_left_as_it_is(described: Any) -> None:
    page = "`f[p](x)` and\n```python\nf[p](x)\n```\n"
    assert described(page, None) == page


def test_the_citation_is_of_this_package() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cited["title"], cited["version"]) == (PROJECT["name"], ammgraph.__version__)
    assert (cited["abstract"], cited["license"]) == (PROJECT["description"], PROJECT["license"])
    assert (cited["authors"], cited["keywords"]) == (PROJECT["authors"], PROJECT["keywords"])
    assert PROJECT["authors"][0]["name"] in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert cited["references"][0]["url"] in README


def test_every_extra_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ", README.partition("| extra |")[2].partition("\n\n")[0], flags=re.MULTILINE)
    assert rows == list(PROJECT["optional-dependencies"])
