"""What was found is kept as it is, with all that a number needs beside it."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ammgraph.diagnostics import RunError
from ammgraph.evaluation.results import Evaluation, Result, as_json, finite, lines, number, read, write

ERROR = Result(
    name="clustering_error",
    variable="y",
    value=0.25,
    unit="fraction",
    examples=10_000,
    split="test",
    rule="posterior",
    by="q(y|x)",
    protocol="majority",
    fitted_on="validation",
    fitted_examples=5000,
)
USE = Result("component_use", "y", (0.5, 0.5), "fraction", 10_000, "test", "bayes", "p(y|z)", "of each component")
FOUND = Evaluation("AMM", "amm", "abc", 3, 100, "last", "digits", "test", (ERROR, USE))


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    assert write(tmp_path, FOUND) == tmp_path / "evaluation.json"
    assert read(tmp_path) == FOUND
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation.json"]


def test_every_entry_says_of_what_and_how_many_it_is() -> None:
    content = json.loads(json.dumps(as_json(FOUND), allow_nan=False))
    assert content["format"] == 1
    assert (content["step"], content["weights"], content["plan"], content["seed"]) == (100, "last", "abc", 3)
    for entry in content["results"]:
        assert {"name", "variable", "rule", "protocol", "value", "unit", "examples", "split"} <= entry.keys()
    assert content["results"][0]["fitted_on"] == "validation"
    assert "fitted_on" not in content["results"][1]


def test_no_evaluation_yet(tmp_path: Path) -> None:
    assert read(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is damaged: Invalid JSON: .*; delete it, and evaluate the run again"),
        ("[]", "is damaged: Input should be an object; delete it, and evaluate the run again"),
        ('{"format": 1}', "is damaged: `title`: Field required; delete it, and evaluate the run again"),
        ('{"format": 99, "results": []}', "has format 99, expected 1; evaluate the run again"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(RunError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("seed", -1, "`seed`: Input should be greater than or equal to 0"),
        ("seed", 2**63, "`seed`: "),
        ("step", "many", "`step`: Input should be a valid integer"),
        ("split", "else", "`split`: String should match pattern"),
        ("title", {}, "`title`: Input should be a valid string"),
        ("classes", [1], "`classes`: *`0`: "),
        ("results", {"a": 1}, "`results`: "),
        ("results", [[]], "`results`: *`0`: "),
        ("value", "half", "`results`: *`0`: *`value`"),
        ("value", 1e200, "`results`: *`0`: *`value`"),
        ("value", [[0.5]], "`results`: *`0`: *`value`"),
        ("examples", -3, "`results`: *`0`: *`examples`: "),
        ("fitted_on", "nowhere", "`results`: *`0`: *`fitted_on`"),
    ],
)
def test_what_a_stranger_wrote_is_read_as_nothing_else(tmp_path: Path, place: str, value: object, message: str) -> None:
    content = json.loads(json.dumps(as_json(FOUND)))
    (content if place in content else content["results"][0])[place] = value
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=rf"evaluation\.json is damaged: {message}.*; delete it, and evaluate"):
        read(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": ' + "9" * 10_000 + "}", '{"format": NaN}', "\ufeff{}"])
def test_json_beyond_all_use_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(RunError, match=r"evaluation\.json is damaged: "):
        read(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "evaluation.json")
    with pytest.raises(RunError, match=r"cannot read .*evaluation\.json: it is a device, a pipe or a socket"):
        read(tmp_path)


def test_a_void_number_says_why() -> None:
    void = replace(ERROR, value=None, void="no two labels")
    assert (void.shown, replace(void, void="").shown) == ("void", "-")
    assert lines(replace(FOUND, results=(void, replace(void, protocol="exemplar"))))[1:] == [
        "  clustering error of y, majority, fitted on validation images  q(y|x)  void",
        "  clustering error of y, exemplar, fitted on validation images  q(y|x)  void",
        "  void: no two labels",
    ]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot write"):
        write(tmp_path / "nowhere", FOUND)


def test_what_is_found_again_replaces_and_the_rest_stays() -> None:
    quality = Result("FID(classifier)", "x", 1.0, "", 50, "test", part="quality")
    inception = replace(quality, name="FID")
    other_split = replace(ERROR, split="train")
    before = replace(FOUND, results=(ERROR, USE, quality, inception, other_split))
    now = replace(FOUND, results=(replace(ERROR, value=0.1), replace(quality, value=2.0)))
    assert now.merged(before).results == (*now.results, inception, other_split)


@pytest.mark.parametrize("change", [{"step": 101}, {"plan": "b"}, {"weights": "ema"}, {"seed": 4}, {"data": "mnist"}])
def test_results_of_another_state_do_not_stay(change: dict[str, object]) -> None:
    now = replace(FOUND, results=())
    assert now.merged(replace(FOUND, **change)).results == ()
    assert now.merged(replace(FOUND, title="other", split="train")).results == FOUND.results
    assert now.merged(None) == now


def test_data_are_the_same_by_their_fingerprints_or_without_them_by_their_description(tmp_path: Path) -> None:
    known = replace(FOUND, data_sha256={"test": "a"})
    write(tmp_path, known)
    assert read(tmp_path) == known
    assert known.is_on("moved elsewhere", {"test": "a"})
    assert not known.is_on(known.data, {"test": "b"})
    assert known.is_on(known.data, None)
    assert FOUND.is_on(FOUND.data, {"test": "b"})
    assert not FOUND.is_on("mnist", {"test": "b"})
    other = replace(known, results=(), data_sha256={"test": "b"})
    assert other.merged(known).results == ()
    assert replace(known, results=(), data="moved elsewhere").merged(known).results == known.results


def test_results_are_found_by_their_fields() -> None:
    assert FOUND.find("clustering_error", protocol="majority") == ERROR
    assert FOUND.find("clustering_error", protocol="one-to-one") is None
    assert FOUND.find("clustering_error", split="train") is None
    assert FOUND.find("FID(classifier)") is None
    assert FOUND.of("test") == (ERROR, USE)


def test_a_measure_or_a_field_that_is_none_is_told_with_those_that_are() -> None:
    with pytest.raises(
        RunError, match=r"no measure is named `clustering_eror`; found `.*; did you mean `clustering_error`"
    ):
        FOUND.find("clustering_eror")
    with pytest.raises(RunError, match=r"a result has no `protocoll`, expected .*; did you mean `protocol`"):
        FOUND.find("clustering_error", protocoll="majority")


def test_lines_for_a_person() -> None:
    density = Result(
        "log_density", "z", -59.148, "nats", 500, "test", by="sum over y of p(y) p(z|y)", protocol="at means"
    )
    none = Result("nmi", "y", None, "", 10_000, "test", "posterior", "q(y|x)")
    assert lines(replace(FOUND, results=(*FOUND.results, none, density))) == [
        "on 10,000 test images:",
        "  clustering error of y, majority, fitted on validation images  q(y|x)  25.00 %",
        "  component use of y, of each component                         p(y|z)  50.00 50.00 %",
        "  NMI of y                                                      q(y|x)  -",
        "  log density of z                                                      -59.15 nats  (on 500)",
        "      sum over y of p(y) p(z|y); at means",
    ]
    (nothing,) = lines(replace(FOUND, results=()))
    assert nothing.startswith(
        "nothing is measured: the model infers no category from the data and reconstructs nothing; "
    )
    assert lines(FOUND, []) == []
    assert lines(replace(FOUND, weights="ema"))[0] == "on 10,000 test images, averaged weights:"


def test_one_measure_by_several_rules_stands_together_and_k_means_is_explained_once() -> None:
    nmi = Result("nmi", "y", 0.5, "", 50, "test", "posterior", "q(y|x)")
    k_means = replace(nmi, rule="k-means", by="k-means on pixels, K = 10", part="baseline")
    ari = replace(nmi, name="ari")
    found = replace(FOUND, results=(nmi, ari, k_means, replace(k_means, name="ari")))
    assert lines(found) == [
        "on 50 test images:",
        "  NMI of y  q(y|x)   0.5",
        "  NMI of y  k-means  0.5",
        "  ARI of y  q(y|x)   0.5",
        "  ARI of y  k-means  0.5",
        "  k-means on pixels, K = 10",
    ]


def test_numbers() -> None:
    assert number(0.03321, "fraction") == "3.32"
    assert number(10.0, "components") == "10"
    assert number(1.23456, "") == "1.235"
    assert number(None, "nats") == "-"
    assert finite(math.nan) is None
    assert finite(2) == 2.0
