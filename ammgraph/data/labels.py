"""Labels as texts, whichever file they come from: what is one class, and what is none."""

from collections.abc import Sequence

# How pandas, R, SQL and Python write a label that is missing.
_MISSING = frozenset(
    ("NA", "<NA>", "N/A", "n/a", "#N/A", "#NA", "NaN", "nan", "-NaN", "-nan", "NaT", "NULL", "Null", "null", "None")
)


def missing_word(labels: Sequence[str]) -> tuple[int, str] | None:
    """The place of the first label that is a word for a missing one, and the word; None where there is none."""
    return next(((place, label.strip()) for place, label in enumerate(labels) if _is_missing(label.strip())), None)


def _is_missing(label: str) -> bool:
    """Whether it is a word for a missing label, or what Python reads as no number, however that is spelt: `NAN`."""
    return label in _MISSING or (label.lower().endswith("nan") and is_number(label))


def is_number(text: str) -> bool:
    """Whether a text is a number, in the digits 0 to 9 and a point, as `-1.5e3`."""
    if "_" in text or not text.strip().isascii():  # Python's float takes 1_000, and the digits of every script
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def one_spelling(labels: Sequence[str]) -> list[str]:
    """Labels without space around them; where all are numbers, equal ones are spelt alike, as the shortest of them."""
    stripped = [label.strip() for label in labels]
    spelt = {label for label in stripped if label}
    if not all(map(is_number, spelt)):
        return stripped
    shortest: dict[float, str] = {}
    for label in sorted(spelt, key=lambda label: (len(label), label)):
        shortest.setdefault(_value(label), label)
    return [shortest[_value(label)] if label else "" for label in stripped]


def in_order(label: str) -> tuple[bool, float, str]:
    """The order of classes: whole numbers by their value, then texts."""
    whole = label.isascii() and label.removeprefix("-").isdecimal()
    return not whole, int(label) if whole else 0, label


def _value(label: str) -> float:
    """Of a number as a text; whole ones are exact, whatever their length."""
    return int(label) if label.removeprefix("-").isdecimal() else float(label)
