"""Names as a figure can draw them: short, each another, in the fonts that this machine has."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from matplotlib import font_manager

from ammgraph.terminal import one_line

BASE = "DejaVu Sans"  # which matplotlib brings along
# Fonts for what it has no characters for, where they are installed.
MORE = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "IPAexGothic", "TakaoPGothic", "NanumGothic", "Droid Sans Fallback"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "SimHei", "Noto Sans", "Noto Sans Devanagari", "Noto Sans Thai"),
)


@dataclass(frozen=True)
class Labels:
    """What stands in a figure for names, and what its caption says about those that do not stand there as they are."""

    texts: tuple[str, ...]
    note: str

    @property
    def longest(self) -> int:
        """The width of the widest, in letters."""
        return max(map(width, self.texts), default=0)


def labels(names: Sequence[str], longest: int = 20) -> Labels:
    """A label for each name: the name, shortened in its middle, or its number where that says more.

    Args:
        names: of anybody's choice.
        longest: letters that a label may have.
    """
    whole = [one_line(name) for name in names]
    short = [_shortened(name, longest) if _is_drawable(name) else "" for name in whole]
    count = Counter(short)
    texts = [text if text and count[text] == 1 else f"#{place}" for place, text in enumerate(short)]
    changed = [f"{text} is {name}" for text, name in zip(texts, whole, strict=True) if text != name]
    return Labels(tuple(map(_plain, texts)), f" {'; '.join(changed)}." if changed else "")


def width(text: str) -> int:
    """Letters that a text is wide; those of East Asia count twice."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


@cache
def fonts() -> tuple[str, ...]:
    """Families in the order in which a character is looked for."""
    return (BASE, *(name for name in MORE if name in set(font_manager.get_font_names())))


@cache
def _characters() -> frozenset[int]:
    paths = [font_manager.findfont(name, fallback_to_default=False) for name in fonts()]
    return frozenset(code for path in paths for code in font_manager.get_font(path).get_charmap())


def _is_drawable(name: str) -> bool:
    return all(ord(character) in _characters() for character in name)


def _shortened(name: str, longest: int) -> str:
    if width(name) <= longest:
        return name
    kept = (longest - 1) * len(name) // width(name)
    return f"{name[: kept - kept // 2]}\N{HORIZONTAL ELLIPSIS}{name[len(name) - kept // 2 :]}"


def _plain(name: str) -> str:
    """A name that matplotlib takes neither for mathematics nor, at a leading underscore, for one to be left out."""
    return (" " if name.startswith("_") else "") + re.sub(r"\$", r"\\$", name)
