"""Which labels are one class: a text is read as a person reads it."""

import pytest

from ammgraph.data.labels import in_order, is_number, missing_word, one_spelling


def test_space_around_a_label_is_none_of_it() -> None:
    assert one_spelling(["a ", "a", " b", " ", ""]) == ["a", "a", "b", "", ""]


def test_equal_numbers_are_one_class_where_all_are_numbers() -> None:
    assert one_spelling(["0", "0.0", " 0", "", "1e1", "10"]) == ["0", "0", "0", "", "10", "10"]
    assert one_spelling(["0", "0.0", "x"]) == ["0", "0.0", "x"]
    assert one_spelling(["01", "02"]) == ["01", "02"]
    long = ["9007199254740993", "9007199254740992"]  # one float, and two labels
    assert one_spelling(long) == long


@pytest.mark.parametrize("text", ["1", "-1.5", "+2e-3", " 7 ", ".5", "5.", "1E5"])
def test_numbers_are_ascii_digits(text: str) -> None:
    assert is_number(text)


@pytest.mark.parametrize("text", ["1_000", "\uff11\uff12", "\u0661\u0662", "1,5", "0x10", "12%", "", "1 000", "1+2j"])
def test_what_python_or_another_script_takes_for_a_number_is_none(text: str) -> None:
    assert not is_number(text)


def test_words_for_a_missing_label_are_told() -> None:
    assert missing_word(["a", " NA", "None"]) == (1, "NA")
    assert missing_word(["nan"]) == (0, "nan")
    assert missing_word(["a", "", "none", "Nancy", "na"]) is None


@pytest.mark.parametrize("spelt", ["NAN", "+nan", "-NaN", "nAn"])
def test_no_number_however_it_is_spelt_is_a_missing_label(spelt: str) -> None:
    assert missing_word(["1", f" {spelt}", "2"]) == (1, spelt)
    assert missing_word(["1", "banan", "nancy"]) is None


def test_whole_numbers_are_in_their_own_order_before_texts() -> None:
    assert sorted(["10", "x", "9", "-1", "a"], key=in_order) == ["-1", "9", "10", "a", "x"]
