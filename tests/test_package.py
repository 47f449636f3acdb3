"""What the package says of itself: the citation, the extras."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

import ammgraph

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


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
