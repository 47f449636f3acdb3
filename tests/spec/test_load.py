import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY
from work import calls_at_most

from ammgraph.diagnostics import SpecError
from ammgraph.spec.load import load_spec, load_text
from ammgraph.spec.notation import Reference
from ammgraph.spec.schedules import Schedule
from ammgraph.spec.schema import Spec
from ammgraph.spec.training import Adam, AdamW, Sgd

BASE = Path(__file__).parent.parent / "bad_specs" / "_base.yaml"
TEXT = BASE.read_text(encoding="utf-8")


def codes(text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_text(text, overrides=overrides)
    return [problem.code for problem in caught.value.diagnostics]


def spec_or_error(load: Callable[[], Spec]) -> Spec | SpecError:
    try:
        return load()
    except SpecError as error:
        return error


def test_spec_is_loaded_with_its_values_read():
    spec = load_spec(BASE)
    assert spec.constants == {"K": 10}
    assert spec.variables["y"].size == 10
    assert spec.distributions["q"]["q(z|x)"] == Reference("encoder", "z")
    assert spec.networks["decoder"].layers["h"].channels == 26
    assert spec.games["joint"].weight == Schedule(((0.0, 1.0),))
    assert spec.training.initializer.weights.normal == 0.02


def test_every_value_knows_its_place():
    spec = load_text(TEXT, "amm.yaml", ["training.epochs=3"])
    assert str(spec.source.key("distributions", "p", "p(x|y,z)")) == "amm.yaml:46:5"
    assert str(spec.source.value("constants", "K")) == "amm.yaml:4:16"
    assert str(spec.source.value("training", "epochs")) == "--set:1:17"
    place = spec.source.within("networks", "encoder", "layers", "z", "input", start=7, end=14)
    assert (place.line, place.column, place.end_column) == (20, 25, 32)


def test_factor_keys_are_canonical_in_paths():
    text = TEXT.replace("p(x|y,z)", "p( x | z, y )")
    spec = load_text(text)
    assert "p(x|y,z)" in spec.distributions["p"]
    assert spec.source.key("distributions", "p", "p(x|y,z)").line == 46


def test_resolved_spec_loads_again_and_is_the_same():
    spec = load_spec(BASE, ["constants.K=12", "training.optimizers.critic.learning_rate=1e-5"])
    again = load_text(json.dumps(spec.written, indent=2))
    assert again.model_dump() == spec.model_dump()
    assert again.written == spec.written
    assert "name" not in spec.written["training"]["optimizers"]["critic"], "as written, before the default fills in"


def test_networks_optimizer_merges_over_the_default_and_one_of_another_kind_takes_its_rate():
    optimizers = [
        "critic={learning_rate: 1e-5}",
        "encoder={name: adam, betas: [0, 0.9]}",
        "decoder={name: sgd, learning_rate: 1}",
        "components={name: adamw}",
    ]
    trained = load_spec(BASE, [f"training.optimizers.{optimizer}" for optimizer in optimizers]).training.optimizers
    rate = Schedule(((0.0, 2e-4),))
    assert trained["default"] == Adam(name="adam", learning_rate="2e-4", betas=[0.5, 0.999])
    assert trained["critic"] == Adam(name="adam", learning_rate="1e-5", betas=[0.5, 0.999])
    assert trained["encoder"] == Adam(name="adam", learning_rate="2e-4", betas=[0, 0.9])
    assert trained["encoder"].learning_rate == rate
    assert trained["decoder"] == Sgd(name="sgd", learning_rate=1)
    # of another kind it takes the rate alone
    assert trained["components"] == AdamW(name="adamw", learning_rate="2e-4", betas=[0.9, 0.999])


def test_value_from_the_default_optimizer_stands_where_the_default_does():
    spec = load_spec(BASE, ["training.optimizers.critic.betas=[0, 0.9]"])
    places = spec.source
    path = ("training", "optimizers", "critic")
    assert places.value(*path, "learning_rate") == places.value("training", "optimizers", "default", "learning_rate")
    assert places.value(*path, "betas").file == "--set"


def test_constants_reach_every_number():
    spec = load_spec(BASE, ["constants.K=6", "constants.R=K / 1e4", "training.optimizers.default.learning_rate=R"])
    assert spec.variables["y"].size == 6
    assert spec.training.optimizers["default"].learning_rate.at(0) == 6e-4


def test_a_stage_reports_all_it_sees_and_then_stops():
    assert codes("a: &b 1\na: 2\nc:\n", "x") == ["bad-override", "yaml-feature", "duplicate-key", "empty-value"]
    assert codes("variables: {1x: 3}\ndistributions:\n  q:\n    p(x): data\n    q(: data\nseed: 3\n") == [
        "bad-name",
        "wrong-head",
        "notation",
    ]
    assert codes("constants: {K: L, M: 1 +}\nseed: 3\n") == ["notation", "notation"]
    assert codes(TEXT.replace("epochs: 10", "epochs: 0") + "seed: 3\n") == ["out-of-range", "unknown-key"]


def test_path_belongs_to_files_of_ones_own():
    assert load_spec(BASE, ["data={dataset: npz, path: digits.npz}"]).data.path == "digits.npz"
    assert codes(TEXT, "data={dataset: folder}") == ["missing-key"]
    assert codes(TEXT, "data.path=digits.npz") == ["conflicting-keys"]


def test_length_is_in_epochs_or_in_steps():
    assert load_spec(BASE, ["training.epochs=null", "training.steps=20"]).training.steps == 20
    assert codes(TEXT, "training.steps=20") == ["conflicting-keys"]
    assert codes(TEXT, "training.epochs=null") == ["missing-key"]


def test_spec_is_frozen():
    spec = load_spec(BASE)
    with pytest.raises(ValueError, match="frozen"):
        spec.title = "another"


def test_loading_is_little_work_and_needs_neither_torch_nor_networkx():
    code = (
        "import sys, ammgraph.spec.load; sys.exit(any(name in sys.modules for name in ('torch', 'networkx', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with calls_at_most(1_000_000):
        load_spec(BASE)


LINES = TEXT.splitlines()
BITS = st.sampled_from(
    [*"{}[]:,|()\"'-?&*!%#\t 0", "null", "1e999", "1/0", "K", "x", "[]", "{}", "''", "-1", "true", ": ", "- "]
)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(TEXT)), st.integers(0, 8), BITS | st.text(max_size=8))
def test_spec_that_is_changed_anywhere_is_a_spec_or_a_spec_error(place: int, removed: int, added: str):
    text = TEXT[:place] + added + TEXT[place + removed :]
    outcome = spec_or_error(lambda: load_text(text))
    if isinstance(outcome, SpecError):
        assert outcome.diagnostics
        for problem in outcome.diagnostics:
            line = outcome.sources[problem.span.file].split("\n")[problem.span.line - 1]
            assert 1 <= problem.span.column <= len(line) + 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*LINES, "a: 1", "  - b", "distributions: {q: p}"]), max_size=12))
def test_lines_in_any_order_are_a_spec_or_a_spec_error(lines: list[str]):
    assert isinstance(spec_or_error(lambda: load_text("\n".join(lines))), Spec | SpecError)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=25) | st.sampled_from(["a=", "training.epochs=", "data.x={"]), max_size=3))
def test_any_override_is_taken_or_a_spec_error(overrides: list[str]):
    outcome = spec_or_error(lambda: load_spec(BASE, overrides))
    assert str(outcome).encode()


def test_places_cover_the_whole_tree():
    spec = load_spec(BASE)
    paths = [path for path in spec.source.values if path]
    assert len(paths) == 136
    assert all(spec.source.value(*path).file == str(BASE) for path in paths)


def test_a_spec_is_read_from_a_path_a_text_or_a_mapping() -> None:
    from_path = load_spec(TINY)
    text = TINY.read_text(encoding="utf-8")
    from_text = load_spec(text)
    from_mapping = load_spec(yaml.safe_load(text.replace("1e-3", "0.001")))
    assert from_path.written == from_text.written == from_mapping.written
    assert from_text.source.value("training").file == "spec.yaml"
    assert from_mapping.source.value("training").file == "spec.json"


def test_a_mapping_may_extend_a_file_and_be_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TINY.parent)
    spec = load_spec({"ammgraph": 1, "extends": "tiny.yaml", "training": {"steps": 2}}, ["constants.K=12"])
    assert (spec.training.steps, spec.constants["K"]) == (2, 12)


def test_texts_in_a_mapping_are_texts_and_numbers_of_numpy_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TINY.parent)
    spec = load_spec({"ammgraph": 1, "extends": "tiny.yaml", "title": "1e-4", "data": {"seed": np.int64(3)}})
    assert (spec.title, spec.data.seed) == ("1e-4", 3)


def test_a_mistake_in_a_mapping_has_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TINY.parent)
    with pytest.raises(SpecError, match=r"error\[unknown-value\](.|\n)*--> spec\.json:\d+:\d+"):
        load_spec({"ammgraph": 1, "extends": "tiny.yaml", "training": {"optimizers": {"default": {"name": "adamm"}}}})
    with pytest.raises(TypeError, match="a spec holds mappings, lists, texts and numbers, not set"):
        load_spec({"ammgraph": {1}})


def test_what_is_inherited_for_another_kind_is_taken_away_as_its_hint_says() -> None:
    child = (
        f"ammgraph: 1\nextends: {BASE.name}\nvariables: {{x: {{type: real, size: 64%s}}}}\n"
        "training: {optimizers: {default: {name: sgd%s}}}\n"
    )
    with pytest.raises(SpecError) as caught:
        load_text(child % ("", ""), str(BASE.with_name("child.yaml")))
    hints = [problem.hint.partition(";")[0] for problem in caught.value.diagnostics]
    assert hints == [f"it is inherited, and `{key}: null` takes it away" for key in ("shape", "range", "betas")]
    load_text(child % (", shape: null, range: null", ", betas: null"), str(BASE.with_name("child.yaml")))


def test_and_what_set_finds_is_taken_away_by_another_set() -> None:
    kind, key = "training.optimizers.default.name=sgd", "training.optimizers.default.betas=null"
    with pytest.raises(SpecError) as caught:
        load_text(TEXT, overrides=(kind,))
    (problem,) = caught.value.diagnostics
    assert problem.hint.startswith(f"it is inherited, and `--set {key}` takes it away; valid here: ")
    load_text(TEXT, overrides=(kind, key))
