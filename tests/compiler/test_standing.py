"""What stands for a variable is of its type, or is refused (`tests/bad_specs`); of another range, and it is told."""

from small_specs import plan_of

DARK = "variables: {x2: {type: image, shape: [1, 8, 8], range: [-1, 1]}}\n"
AGAIN = "`x2` stands for `x` and has another range", "[-1, 1]", "[0, 1]"


def told(text: str) -> list[tuple[str, str, str, str]]:
    """The warnings about ranges: what, found, expected, and where in the text."""
    lines = ("ammgraph: 1\nextends: small_base.yaml\n" + text).splitlines()
    found = [warning for warning in plan_of(text).warnings if "stands for" in warning.message]
    return [
        (w.message, w.found, w.expected, lines[w.span.line - 1][w.span.column - 1 : w.span.end_column - 1])
        for w in found
    ]


def test_a_sample_of_another_range_is_told() -> None:
    text = DARK + "distributions: {r: {r(x2): q.x}}\nterms: {t: {minimize: 'E[r] l2(encoder(x=x2).h)'}}\n"
    assert told(text) == [
        ("`x` stands for `x2` and has another range", "[0, 1]", "[-1, 1]", "q.x"),
        (*AGAIN, "encoder(x=x2).h"),
    ]
    assert told(text.replace("range: [-1, 1]", "range: [0, 1]")) == []


def test_a_network_that_reads_images_of_two_ranges_is_told() -> None:
    text = DARK + "distributions: {r: {r(x2): data, 'r(y|x2)': encoder(x=x2).y}}\n"
    text += "terms: {t: {minimize: 'E[r] KL(q(z|x=x2) || p(z|y)) - E[r] log p(y)'}}\n"
    assert told(text) == [(*AGAIN, "encoder(x=x2).y"), (*AGAIN, "q(z|x=x2)")]


def test_a_network_of_its_own_reads_images_of_another_range_which_data_is_scaled_to() -> None:
    text = DARK + "networks: {other: {layers: {h: {input: x2, op: linear, channels: 2}}}}\n"
    text += "distributions: {r: {r(x2): data}}\nterms: {t: {minimize: 'E[r] l2(other.h)'}}\n"
    assert plan_of(text).warnings == ()
