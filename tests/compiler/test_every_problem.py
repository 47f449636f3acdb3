"""All mistakes of a spec are told at once, and nothing that only follows from one of them."""

from collections import Counter
from itertools import combinations
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from small_specs import FOLDER
from test_bad_specs import CASES, diagnose
from tiny import TERMS

from ammgraph.compiler.compile import compile_spec
from ammgraph.compiler.every_problem import every_problem
from ammgraph.diagnostics import SpecError
from ammgraph.spec.load import load_spec, load_text

BAD = FOLDER / "bad_specs"
ELEVEN = """
    ammgraph: 1
    extends: _base.yaml
    constants: {L: Q + 1}                                             # 1  no such constant
    data: {labelled: {count: 100}}                                    # 2  no such key
    networks:
      encoder:
        layers:
          h: {activation: leakyrelu 0.2}                              # 3  no such activation
          z_mu: {input: hh}                                           # 4  no such row
      critic:
        layers:
          h1: {dropout: 1.2}                                          # 5  no share
    distributions:
      q:
        q(x): data
        q(y|x): encodr.y                                              # 6  no such network
        q(z|x): encoder.z
      p:
        p(y): uniform
        p(z|y): components.zz                                         # 7  no such row
        p(x|y,z): decoder.x
    games:
      joint: {match: [q, r], discriminator: critic.p, objective: h}   # 8, 9  no such distribution, no such objective
    terms:
      more: {minimize: "E[q] log s(x|z)"}                             # 10  no such distribution
    training:
      schedule: [{update: [critc]}]                                   # 11  no such network
    """
# What is wrong with these beside what is told first.
MORE = {
    "term_of_pairs_of_one_example": ["out-of-range"],
    "words_of_other_libraries": ["unknown-key", "unknown-key"],
}


def told(text: str) -> list[tuple[int, str]]:
    """Line and code of every problem, of a text beside the wrong specs."""
    with pytest.raises(SpecError) as caught:
        compile_spec(load_text(dedent(text).removeprefix("\n"), str(BAD / "case.yaml")))
    return [(found.span.line, found.code) for found in every_problem(caught.value).diagnostics]


def test_eleven_mistakes_of_every_stage_are_told_at_once() -> None:
    assert told(ELEVEN) == [
        (3, "notation"),
        (4, "unknown-key"),
        (8, "unknown-value"),
        (9, "unknown-name"),
        (12, "out-of-range"),
        (16, "unknown-network"),
        (20, "unknown-row"),
        (23, "unknown-distribution"),
        (23, "unknown-value"),
        (25, "unknown-distribution"),
        (27, "unknown-network"),
    ]


@pytest.mark.parametrize("line", [3, 4, 8, 9, 12, 16, 20, 25, 27])
def test_one_mistake_alone_is_told_alone(line: int) -> None:
    lines = dedent(ELEVEN).removeprefix("\n").splitlines()
    mended = {
        3: "constants: {L: 2}",
        4: "data: {labeled: {count: 100}}",
        8: "      h: {activation: leaky_relu 0.2}",
        9: "      z_mu: {input: h}",
        12: "      h1: {dropout: 0.2}",
        16: "    q(y|x): encoder.y",
        20: "    p(z|y): components.z",
        23: "  joint: {match: [q, p], discriminator: critic.p, objective: hinge}",
        25: '  more: {minimize: "-E[q] log p(x|y,z)"}',
        27: "  schedule: [{update: [critic, encoder, decoder, components]}]",
    }
    text = "\n".join(mended.get(n, old) if n != line else old for n, old in enumerate(lines, start=1))
    assert [place for place, _ in told(text)] == [line]


@pytest.mark.parametrize("case", CASES)
def test_a_spec_with_one_kind_of_mistake_is_told_nothing_else(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    error = diagnose(case)
    more = [found.code for found in every_problem(error).diagnostics if found not in error.diagnostics]
    assert more == MORE.get(case, [])


# Mistakes of one spec in places of their own, each with what is told of it.
APART = {
    "data.dataset=digist": "unknown-value",
    "data.validation=none": "notation",
    "distributions.l={'l(x,y)': data.labeled, 'l(z|x,y)': encoder.z}": "no-labels",
    "networks.encoder.layers.h.activation=rely": "unknown-value",
    "networks.decoder.layers.x.width=7": "shape-mismatch",
    "networks.classifier.layers.h.dropout=20": "out-of-range",
    "terms.classes.minimize=-E[p] log c(y|z)": "unknown-factor",
    "terms.prior.weights=1": "unknown-key",
    "training.batch_size=0": "out-of-range",
    "training.epochs=3": "conflicting-keys",
    "training.optimizers.default.name=adm": "unknown-value",
    "evalution={every_epochs: 1}": "unknown-key",
}


@pytest.mark.parametrize("pair", list(combinations(APART, 2)), ids=" and ".join)
def test_of_two_mistakes_neither_hides_the_other(pair: tuple[str, str]) -> None:
    with pytest.raises(SpecError) as caught:
        compile_spec(load_spec(TERMS, pair))
    codes = Counter(found.code for found in every_problem(caught.value).diagnostics)
    assert codes >= Counter(APART[mistake] for mistake in pair)
    assert codes.total() == 2 + ("l={" in "".join(pair))


@pytest.mark.parametrize("activation", ["gumbel_straight_through", "gumbel_straight_through 0", "sofmax", "softmax 2"])
def test_what_a_row_is_stays_what_it_is_where_its_activation_is_written_wrong(activation: str) -> None:
    """A categorical factor has a density whatever the number: no term of it is refused for that."""
    text = f"""
        ammgraph: 1
        extends: _base.yaml
        networks: {{encoder: {{layers: {{y: {{activation: {activation}}}}}}}}}
        terms: {{sure: {{minimize: "E[q] H(q(y|x))"}}}}
        """
    assert [line for line, _ in told(text)] == [3]


def test_the_command_tells_them_all(ammgraph: Any, tmp_path: Path) -> None:
    base = (BAD / "_base.yaml").read_text(encoding="utf-8")
    (tmp_path / "_base.yaml").write_text(base, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(dedent(ELEVEN), encoding="utf-8")
    code, output, _ = ammgraph("validate", tmp_path / "mine.yaml")
    assert code == 1
    assert output.rstrip().endswith(": 11 errors")


def test_what_is_no_yaml_is_told_as_it_is() -> None:
    with pytest.raises(SpecError) as caught:
        load_text("a: [1", "spec.yaml")
    assert every_problem(caught.value) is caught.value


@pytest.mark.parametrize(
    ("section", "codes"),
    [
        (
            "training: {optimizers: {default: {name: AdamW, lr: 1, clip_norm: 1}}}",
            ["unknown-value"] + 2 * ["unknown-key"],
        ),
        (
            "training: {optimizers: {critic: {name: adagrad, learning_rate: -1, momentum: 2}}}",
            ["unknown-value"] + 2 * ["out-of-range"],
        ),
        ("variables: {w: {type: normal, prior: normal}}", ["unknown-value", "unknown-key"]),
        ("variables: {w: {prior: normal}}", ["missing-key", "unknown-key"]),
        ("variables: {w: {type: picture, shape: [1, 8, 8], range: [1, 0]}}", ["unknown-value", "out-of-range"]),
    ],
)
def test_keys_of_a_section_whose_kind_is_unknown_are_told_with_it(section: str, codes: list[str]) -> None:
    assert told(f"ammgraph: 1\nextends: _base.yaml\n{section}\n") == [(3, code) for code in codes]


@pytest.mark.parametrize("case", ["data_sets_wrong", "data_set_with_the_name_of_a_key"])
def test_what_is_wrong_with_one_of_several_data_sets_leaves_its_factors_alone(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(BAD)
    error = diagnose(case)
    assert every_problem(error).diagnostics == error.diagnostics


def test_of_a_data_set_that_is_left_unsaid_neither_shape_nor_classes_are_expected() -> None:
    with pytest.raises(SpecError) as caught:
        compile_spec(load_spec(FOLDER / "tiny_two_data_sets.yaml", ["data.faces.path=null"]))
    assert [problem.code for problem in every_problem(caught.value).diagnostics] == ["missing-key"]
