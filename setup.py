"""The README as a package index shows it, which has no file of the repository. All else stands in pyproject.toml.

Links and pictures lead into the repository where `[project.urls]` names one; else links are text, which says what file
they mean, and pictures are left out.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)]+)\)")


def described(page: str, repository: str | None) -> str:
    """A page of Markdown whose relative links are absolute, or are none; code is left as it is.

    Args:
        page: the text.
        repository: the address of the repository, without a slash at its end.
    """

    def link(found: re.Match[str]) -> str:
        picture, text, target = found.groups()
        if target.startswith(("https://", "#")):
            return found[0]
        if repository is not None:
            return f"{picture}[{text}]({repository}/{'raw' if picture else 'blob'}/HEAD/{target})"
        return "" if picture else f"`{target}`" if text == target else f"{text} (`{target}`)"

    parts = re.split(r"(^```.*?^```$|`[^`\n]+`)", page, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", "".join(part if part.startswith("`") else LINK.sub(link, part) for part in parts))


if __name__ == "__main__":
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    setup(
        long_description=described(
            (HERE / "README.md").read_text(encoding="utf-8"), project.get("urls", {}).get("Repository")
        ),
        long_description_content_type="text/markdown",
    )
